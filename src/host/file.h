/* SPDX-License-Identifier: MIT */
/*
 * Files and memory of the host. Each failure is told with the path and a hint. Any thread: nothing
 * is kept here.
 */
#ifndef HAKO_HOST_FILE_H
#define HAKO_HOST_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

/*
 * Open for reading, a regular file or block device only (a directory, FIFO or socket is refused by
 * name). Sets *fd and *size (bytes).
 */
int file_open(const char *path, bool writable, int *fd, uint64_t *size, struct err *err);

/* Bytes in an open regular file or block device; negative errno otherwise. */
int64_t file_size(int fd);

/*
 * Lock a whole open file against other processes and other opens: exclusive for a writer, shared
 * for readers. Open-file-description lock, so it goes with the descriptor. -EAGAIN when somebody
 * else holds it and keeps it for half a second, which is how long this may take; with a sentence
 * that says so (and the holder's pid where the host tells it).
 */
int file_lock(int fd, bool exclusive, const char *path, struct err *err);

/* Read exactly len bytes at off into dst, going on after short reads and EINTR. -EIO at end of
 * file. */
int file_read_at(int fd, void *dst, size_t len, uint64_t off);

/* Page-aligned anonymous memory, reserved but not committed. NULL and a sentence on failure. */
void *host_map(size_t size, struct err *err);
/*
 * The same for what is large and mostly stays untouched: each page that is touched takes that page
 * only, where the host would give a huge one unasked. NULL when there is no memory.
 */
void *host_map_sparse(size_t size);
/* Of either; NULL is fine. */
void host_unmap(void *p, size_t size);
/* Zero memory of host_map() again and give it back to the host. */
void host_clear(void *p, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A block backend: where a disk's bytes live. Requests are asynchronous; each is answered exactly
 * once, on the loop's thread, and never from inside blk_submit().
 *
 * Threads: open and close on the set-up thread; the rest on the loop's thread.
 */
#ifndef HAKO_BLOCK_BLK_H
#define HAKO_BLOCK_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;
struct loop;

/* FLUSH covers every write that was answered before it was submitted: it is answered when those are
 * on stable storage. */
enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH };

/* Embedded in its owner, who keeps it, its iovec and its buffers in place until done(). */
struct blk_req {
	enum blk_op op;
	bool durable; /* WRITE: answer when the bytes are on stable storage */
	uint64_t off; /* bytes; the caller has checked off + len against blk_capacity() */
	uint64_t len; /* bytes, the sum of iov */
	const struct iovec *iov;
	int iovcnt;
	/* 0 or a negative errno. `more`: another answer of this backend follows at once, so the
	 * owner may put off what it does once per batch. */
	void (*done)(struct blk_req *req, int res, bool more);

	/* The backend's */
	struct blk_req *next;
	uint64_t moved; /* bytes read or written so far */
	int res;
};

struct blk;

struct blk_config {
	const char *path;
	bool readonly;
	struct loop *loop;
};

/* A raw image file or block device. Locks it: exclusive when writable, shared when read-only. */
int blk_open_raw(struct blk **blk, const struct blk_config *config, struct err *err);

/*
 * Bytes the guest sees: the file's length rounded up to 512. The tail beyond the file's end reads
 * as zeros and a write into it extends the file to the whole sector at most.
 */
uint64_t blk_capacity(const struct blk *blk);
bool blk_readonly(const struct blk *blk);

void blk_submit(struct blk *blk, struct blk_req *req);
/* Call idle(arg) once, on the loop's thread, when no request is in flight: at once if so now. */
void blk_drain(struct blk *blk, void (*idle)(void *arg), void *arg);
/* No request in flight; the loop's thread has ended or this is it. */
void blk_close(struct blk *blk);

#endif

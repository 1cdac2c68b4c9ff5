/* SPDX-License-Identifier: MIT */
/* The file system: a tar archive on a disk. */
#ifndef TARFS_H
#define TARFS_H

#include "disk.h"

enum { NAME_MAX = 256 };

struct tar_file {
	char name[NAME_MAX + 1];
	char type;  /* '0': a file, '5': a directory; the others as in ustar */
	u64 size;   /* bytes */
	u64 header; /* the sector of its header; its contents follow */
};

void tarfs_mount(struct disk *d);
/* The files one by one; NULL: there are not so many. */
const struct tar_file *tarfs_get(unsigned index);
const struct tar_file *tarfs_find(const char *name);
/* Up to `size` bytes from `offset`, a multiple of SECTOR, into whole sectors of memory. */
enum disk_result tarfs_read(const struct tar_file *f, u64 offset, void *to, size_t size);
/* The file then has this and no other contents. Says itself what went wrong. */
bool tarfs_write(const char *name, const char *contents, size_t size);

#endif

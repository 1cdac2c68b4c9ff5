/* SPDX-License-Identifier: MIT */
/*
 * What was on a disk before a test wrote to it, kept in a file until it is put back: beside an
 * image, or for a device in /var/tmp. So a test that is killed costs nothing: the next one puts
 * back each sector that still has what the test wrote.
 */
#ifndef HAKO_MACHINE_DISK_KEEP_H
#define HAKO_MACHINE_DISK_KEEP_H

#include <stdint.h>

struct err;

enum { KEEP_MAX = 64 * 1024 }; /* bytes */

struct disk_keep {
	char *path;    /* on the heap */
	uint64_t seed; /* of keep_pattern() */
	uint64_t off;  /* on the disk, bytes */
	uint32_t len;
	uint8_t data[KEEP_MAX]; /* what was there */
};

/* Where the disk `path` has its file. 0 or a negative errno. */
int keep_init(struct disk_keep *keep, const char *path, struct err *err);
void keep_fini(struct disk_keep *keep);
/* 1: there is one, from a test that was killed; 0: there is none; or a negative errno. */
int keep_load(struct disk_keep *keep, struct err *err);
/* Write seed, off, len and data; when it returns, they are on the host's disk. */
int keep_save(const struct disk_keep *keep, struct err *err);
/* The data is back in its place: the file is of no use any more. */
void keep_drop(const struct disk_keep *keep);

/* What the test writes to the sector at byte `off` of the disk: nothing else looks like it. */
void keep_pattern(const struct disk_keep *keep, uint64_t off, uint8_t sector[512]);

#endif

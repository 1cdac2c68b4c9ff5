/* SPDX-License-Identifier: MIT */
/*
 * Disk images: make an empty one, look at one, test one.
 *
 * Threads: each function does its work on the calling thread and returns when it is done; several
 * may be called at once. Nothing that they are given is kept.
 */
#ifndef HAKO_DISK_H
#define HAKO_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "hako/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { HAKO_SECTOR_SIZE = 512 };

struct hako_disk_create_options {
	const char *path;
	uint64_t size;    /* bytes, a multiple of HAKO_SECTOR_SIZE, not 0 */
	bool overwrite;   /* replace an existing file; without it that is -EEXIST */
	bool preallocate; /* give the file its room on the host now; without it, it grows */
	/*
	 * Called now and then with the bytes done and the size, from the calling thread; a result
	 * other than 0 gives up (-ECANCELED). May be NULL.
	 */
	int (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/*
 * Make a raw image that reads as zeros. The file appears under its name only when it is complete;
 * on failure nothing is left behind and a file that was to be replaced is as it was. -EINVAL for a
 * size or name that cannot be, -EEXIST without overwrite, -EAGAIN when what was to be replaced is
 * in use, -ENOSPC when preallocation finds no room, -ECANCELED by progress(), or what the host
 * says.
 */
int hako_disk_create(const struct hako_disk_create_options *options, struct hako_err *err);

struct hako_disk_details {
	uint64_t bytes;     /* length of the file or device */
	uint64_t sectors;   /* what a guest sees, HAKO_SECTOR_SIZE each: bytes rounded up */
	uint64_t allocated; /* bytes that it takes on the host; for a device, bytes */
	bool block_device;
	/* What the first bytes look like: "ext4 file system", "GPT partition table", "all zeros",
	 * "unknown data". */
	char contents[64];
	bool container; /* it is in a format of its own, and a guest would see that: a
			 * warning, too */
	/* Why a guest may not see what the user expects, a sentence; "" when there is no doubt. */
	char warning[256];
};

/* Reads only. -EISDIR, -EINVAL for what is no file and no block device, or what the host says. */
int hako_disk_inspect(const char *path, struct hako_disk_details *details, struct hako_err *err);

struct hako_disk; /* hako/vm.h */

struct hako_disk_test_options {
	const struct hako_disk *disk;
	/* Write too. What was there is kept in a file until it is back in its place, so that a test
	 * that is killed in between loses nothing: the next one puts it back. Without it, the disk
	 * is opened read-only and only read. */
	bool write;
	unsigned ms; /* how long each measurement takes, milliseconds; 0: none is made */
	/*
	 * What was found: each from the calling thread, any of them NULL; strings and bytes are
	 * good during the call. step(): a check that was passed, and what it showed.
	 * first_sector(): HAKO_SECTOR_SIZE bytes. A step() that returns other than 0 gives up
	 * (-ECANCELED), with everything put back.
	 */
	int (*step)(void *arg, const char *what, const char *found);
	void (*first_sector)(void *arg, const uint8_t *bytes);
	void *arg;
};

/*
 * Drive a disk as a guest's driver does, through its registers and a virtqueue, and compare what it
 * says with its file. 0, or the first check that was not passed: -EIO for a wrong answer, -EAGAIN
 * for a disk in use, -EINVAL for a value of the disk that cannot be, or what the host says.
 */
int hako_disk_test(const struct hako_disk_test_options *options, struct hako_err *err);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The initial RAM disk: any file that the guest's kernel can make sense of, an opaque run of bytes
 * to hako.
 */
#ifndef HAKO_BOOT_INITRD_H
#define HAKO_BOOT_INITRD_H

#include <stdint.h>

#include "mem/gmem.h"

struct err;

struct initrd {
	const char *path; /* the caller's */
	int fd;
	uint64_t size; /* bytes, not 0 */
};

/* -EINVAL for an empty file, or one that is a kernel. On failure there is nothing to close. */
int initrd_open(struct initrd *initrd, const char *path, struct err *err);
void initrd_close(struct initrd *initrd);
/* Copy to gpa, where the layout has found room. */
int initrd_load(const struct initrd *initrd, struct gmem *mem, gpa_t gpa, struct err *err);

#endif

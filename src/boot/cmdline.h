/* SPDX-License-Identifier: MIT */
/*
 * The kernel command line.
 */
#ifndef HAKO_BOOT_CMDLINE_H
#define HAKO_BOOT_CMDLINE_H

#include <stdbool.h>

struct err;

struct cmdline_config {
	const char *base;   /* NULL: the default */
	const char *append; /* added after a space, or NULL */

	/* What the default depends on. */
	bool disk;          /* there is a disk: it is the root */
	bool disk_readonly; /* and the root is mounted read-only */
	bool no_reboot;     /* a panic shall end the run, not hang it */
};

/* What Linux takes on arm64, the final NUL included (arch/arm64/include/uapi/asm/setup.h). */
enum { CMDLINE_SIZE_ARM64 = 2048 };

/* *out is the caller's to free. -E2BIG with both lengths when it is longer than the kernel takes.
 */
int cmdline_arm64(char **out, const struct cmdline_config *config, struct err *err);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The kernel command line.
 */
#ifndef HAKO_BOOT_CMDLINE_H
#define HAKO_BOOT_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

struct err;

struct cmdline_config {
	const char *base;   /* NULL: the default */
	const char *append; /* added after a space, or NULL */

	/* What the default depends on. */
	const char *console; /* the name of the serial port's device, "ttyS0" */
	bool no_reboot;      /* a panic shall end the run, not hang it */

	const char *root;   /* what the root is on, "/dev/vda" or "PARTUUID=..."; NULL: no disk */
	bool root_readonly; /* it is mounted read-only */
	bool root_always; /* it is told behind a base that is given too; else the default has it */

	size_t size; /* what the kernel takes, CMDLINE_SIZE_* */
};

/* What Linux takes, the final NUL included (COMMAND_LINE_SIZE in arch/.../uapi/asm/setup.h). */
enum { CMDLINE_SIZE_ARM64 = 2048, CMDLINE_SIZE_RISCV = 1024, CMDLINE_SIZE_X86 = 2048 };

/* *out is the caller's to free. -E2BIG with both lengths when it is longer than the
 * kernel takes. */
int cmdline_make(char **out, const struct cmdline_config *config, struct err *err);

#endif

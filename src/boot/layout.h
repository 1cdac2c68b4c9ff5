/* SPDX-License-Identifier: MIT */
/*
 * Where kernel, initrd and device tree go in RAM, so that they never overlap, whatever their sizes.
 */
#ifndef HAKO_BOOT_LAYOUT_H
#define HAKO_BOOT_LAYOUT_H

#include <stdint.h>

#include "mem/gmem.h"

struct err;
struct kernel;

struct layout {
	gpa_t kernel, initrd, dtb; /* initrd is 0 when there is none */
};

/*
 * ram_base is 2 MiB-aligned. The tree is 8-byte aligned and must not straddle a 2 MiB boundary; the
 * initrd is page-aligned and lies, with the kernel, in a 1 GiB-aligned window of 32 GiB
 * (booting.rst). A sentence with the sizes and the --mem that would do when it does not fit.
 */
int layout_arm64(struct layout *l, gpa_t ram_base, uint64_t ram_size, const struct kernel *k,
		 uint64_t initrd_size, uint64_t dtb_size, struct err *err);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Where kernel, initrd and device tree go in RAM, so that they never overlap, whatever their sizes.
 *
 *	RAM start                                                       RAM end
 *	| kernel, with its bss | device tree, own 2 MiB block | initrd | free |       arm64
 *	| device tree | kernel | free | initrd | free |             arm64, an ELF file
 *	| firmware | kernel | free | initrd | page for firmware | device tree |       RISC-V
 *	| tables (boot/x86.h), to 1 MiB | free | kernel | free | initrd |             x86
 *
 * The rules are those of Linux, Documentation/arch/arm64/booting.rst, arch/riscv/boot.rst and
 * arch/x86/boot.rst. Where these leave a choice hako does as QEMU, as kernels of one's own making
 * expect it. On RISC-V they take the memory behind them as free. On arm64 those that are ELF files
 * look for the tree at the start of RAM (QEMU, docs/system/arm/virt.rst, "Hardware configuration
 * information for bare-metal programming"): it is there if they leave room for it.
 */
#ifndef HAKO_BOOT_LAYOUT_H
#define HAKO_BOOT_LAYOUT_H

#include <stdint.h>

#include "mem/gmem.h"

struct err;
struct kernel;

enum { DTB_SIZE_MAX = 2 << 20 }; /* booting.rst, section 2 */

struct layout_config {
	gpa_t ram_base; /* a multiple of 2 MiB */
	uint64_t ram_size;
	const struct kernel *kernel;
	uint64_t initrd_size; /* bytes, 0: none */
	uint64_t dtb_size;    /* bytes to reserve if there is a choice, up to DTB_SIZE_MAX */
	gpa_t dtb_addr;       /* where the tree must go, 0: anywhere */
	const struct kernel *firmware; /* RISC-V; NULL: none */
	uint64_t tables;               /* x86: bytes at the start of RAM that are taken */
};

struct layout {
	gpa_t kernel, initrd, dtb; /* initrd is 0 when there is none */
	uint64_t dtb_size;         /* bytes that there are for the tree */
	/* RISC-V: where the firmware goes (with an ELF file, where it starts), and a page for what
	 * it is told. */
	gpa_t firmware, firmware_page;
};

/*
 * The tree is 8-byte aligned and does not straddle a 2 MiB boundary (one asked for elsewhere is
 * refused); the initrd is page-aligned. -ENOMEM, with the sizes and the memory that would do, when
 * they do not fit; -EINVAL for an ELF file that does not lie in RAM.
 */
int layout_arm64(struct layout *l, const struct layout_config *config, struct err *err);
/* The same; -EINVAL too for an ELF file in the firmware's way. */
int layout_riscv(struct layout *l, const struct layout_config *config, struct err *err);
/*
 * x86: RAM is what lies below 4 GiB. There is no tree. -EINVAL for an ELF file that does not lie in
 * what is free of it, -EFBIG for an initrd that does not end where the kernel wants it.
 */
int layout_x86(struct layout *l, const struct layout_config *config, struct err *err);

#endif

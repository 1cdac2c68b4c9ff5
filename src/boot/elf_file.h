/* SPDX-License-Identifier: MIT */
/*
 * ELF files as kernels and firmware: what a linker makes, loaded by the physical addresses of its
 * segments (gABI, chapters 4 and 5). Hostile like every other kernel file.
 *
 * On x86 a note tells whether the entry is a 32-bit one (Xen, docs/misc/pvh.pandoc and
 * xen/include/public/elfnote.h: XEN_ELFNOTE_PHYS32_ENTRY); without it e_entry is Linux's 64-bit
 * entry (arch/x86/boot.rst, "64-bit Boot Protocol").
 */
#ifndef HAKO_BOOT_ELF_FILE_H
#define HAKO_BOOT_ELF_FILE_H

#include "boot/kernel.h"

struct err;

/*
 * `k` has its source and is an ELF file for one of `arch`, arm64, RISC-V's or x86: fill in which,
 * segments and entry.
 */
int elf_file_open(struct kernel *k, unsigned arch, struct err *err);
int elf_file_load(const struct kernel *k, struct gmem *mem, struct err *err);

#endif

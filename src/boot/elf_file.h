/* SPDX-License-Identifier: MIT */
/*
 * ELF files for RISC-V, as kernels and firmware: what a linker makes, loaded by the physical
 * addresses of its segments (gABI, chapters 4 and 5). Hostile like every other kernel file.
 */
#ifndef HAKO_BOOT_ELF_FILE_H
#define HAKO_BOOT_ELF_FILE_H

#include "boot/kernel.h"

struct err;

/* `k` has its source and is an ELF file for RISC-V: fill in arch, segments and entry. */
int elf_file_open(struct kernel *k, struct err *err);
int elf_file_load(const struct kernel *k, struct gmem *mem, struct err *err);

#endif

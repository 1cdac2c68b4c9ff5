/* SPDX-License-Identifier: MIT */
/*
 * What an x86 kernel finds in memory when it begins: below 1 MiB, the tables that tell it about its
 * machine, and those that its first CPU begins with.
 *
 *	0x00500  GDT               0x20000  command line
 *	0x06000  start info        0x9fc00  MP table (boot/mptable.h)
 *	0x07000  zero page         0xe0000  ACPI tables (boot/acpi.h)
 *	0x08000  setup data        0xffff0  where firmware would begin
 *	0x09000  page tables       0x100000 free for the kernel
 *
 * A kernel is entered in one of two ways, and finds the zero page or the start info:
 *
 * - Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst): in long mode, the first 4 GiB
 *   mapped to themselves, RSI at the zero page (arch/x86/zero-page.rst), which has the bzImage's
 *   setup header in it.
 * - PVH (Xen, docs/misc/pvh.pandoc, xen/include/public/arch-x86/hvm/start_info.h): in 32-bit
 *   protected mode without paging, EBX at the start info.
 */
#ifndef HAKO_BOOT_X86_H
#define HAKO_BOOT_X86_H

#include <stdint.h>

#include "mem/gmem.h"

struct err;
struct kernel;

enum {
	X86_GDT = 0x500,
	X86_START_INFO = 0x6000,
	X86_ZERO_PAGE = 0x7000,
	X86_SETUP_DATA = 0x8000,
	X86_PAGE_TABLES = 0x9000,
	X86_CMDLINE = 0x20000,
	X86_MPTABLE = 0x9fc00, /* the last KiB of base memory, where it is looked for */
	X86_BASE_MEMORY_END = 0xa0000,
	X86_ACPI = 0xe0000,
	X86_ACPI_END = 0xffff0,
	/* A kernel that knows no better way to reset jumps here in real mode (Linux does, with
	 * hardware-reduced ACPI and no EFI): there is code that has the keyboard controller
	 * do it. */
	X86_RESET = 0xffff0,
	X86_TABLES_END = 0x100000,
};

/* Selectors of the GDT; both kinds of kernel have it with code of their width (boot.rst, "64-bit
 * Boot Protocol"). */
enum { X86_BOOT_CS = 0x10, X86_BOOT_DS = 0x18, X86_GDT_SIZE = 4 * 8 };

struct x86_boot_config {
	uint64_t ram_low;  /* bytes from address 0 */
	uint64_t ram_high; /* bytes from 4 GiB */
	const struct kernel *kernel;
	const char *cmdline;
	gpa_t initrd; /* 0: none */
	uint64_t initrd_size;
	gpa_t rsdp; /* ACPI's root; 0: none */
};

/* Write all of the above but MP table and ACPI tables into cleared memory. */
int x86_boot_load(const struct x86_boot_config *config, struct gmem *mem, struct err *err);

#endif

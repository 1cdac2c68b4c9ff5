/* SPDX-License-Identifier: MIT */
/*
 * Page tables: 39 bits of virtual address, pages of 4 KiB, hence three levels of tables, numbered 1
 * to 3 (DDI0487 D8.2, "Translation process", and D8.3, "Translation table descriptor formats"). A
 * table is a page of descriptors; a descriptor is either the address of a table of the next level,
 * or maps what its place stands for: a page, or at a higher level a "block".
 */
#include "kernel.h"

/* D8.3.1 and D8.3.2. */
#define DESC_UXN (1ULL << 54) /* no execution in EL0 */
#define DESC_PXN (1ULL << 53) /* no execution in EL1 */
enum {
	DESC_BLOCK = 1,
	DESC_TABLE = 3,
	DESC_PAGE = 3,
	DESC_ATTR_SHIFT = 2,
	DESC_READ_ONLY = 1 << 7,
	DESC_INNER_SHAREABLE = 3 << 8,
	DESC_AF = 1 << 10, /* accessed: set from the start, or the CPU faults to tell us */
	LAST_LEVEL = 3,
	ENTRIES = 512,
};

/* MAIR_EL1 (D19.2): what the attribute numbers in descriptors mean. */
enum { ATTR_DEVICE = 0, ATTR_MEMORY = 1, MAIR = 0xff00 }; /* nGnRnE; write-back, inner and outer */

/* TCR_EL1 (D19.2): TTBR0 only; 4 KiB pages; tables are read from shareable, write-back memory. */
#define TCR_T0SZ     (64ULL - 39)
#define TCR_IRGN0_WB (1ULL << 8)
#define TCR_ORGN0_WB (1ULL << 10)
#define TCR_SH0_IS   (3ULL << 12)
#define TCR_EPD1     (1ULL << 23)
#define TCR_IPS_40   (2ULL << 32)

enum { SCTLR_M = 1 << 0, SCTLR_C = 1 << 2, SCTLR_I = 1 << 12 };

#define DESC_ADDRESS 0x0000fffffffff000ULL

static u64 *next_table(u64 *desc)
{
	if (!*desc)
		*desc = (uintptr_t)pages_alloc(1) | DESC_TABLE;
	return (u64 *)(uintptr_t)(*desc & DESC_ADDRESS);
}

/* Maps the pages from start to end at their own addresses, by the largest blocks that fit. */
static void map(u64 *root, uintptr_t start, uintptr_t end, enum access access)
{
	u64 bits = DESC_AF | DESC_UXN | (access & EXECUTE ? 0 : DESC_PXN) |
		   (access & WRITE ? 0 : (u64)DESC_READ_ONLY) |
		   (access & DEVICE ? (u64)ATTR_DEVICE << DESC_ATTR_SHIFT
				    : (u64)ATTR_MEMORY << DESC_ATTR_SHIFT | DESC_INNER_SHAREABLE);

	while (start < end) {
		u64 *table = root;

		for (int level = 1;; level++) {
			int shift = 12 + (LAST_LEVEL - level) * 9;
			u64 size = 1ULL << shift;
			u64 *desc = &table[start >> shift & (ENTRIES - 1)];

			if (level == LAST_LEVEL ||
			    (!(start & (size - 1)) && end - start >= size && !*desc)) {
				*desc = start | bits |
					(level == LAST_LEVEL ? DESC_PAGE : DESC_BLOCK);
				start += size;
				break;
			}
			table = next_table(desc);
		}
	}
}

void arch_paging_on(const struct boot_info *info)
{
	u64 *root = pages_alloc(1);

	if (READ_SYSREG("currentel") >> 2 != 1)
		panic("the kernel was not started in EL1");
	/* Not mapped: the null page, memory below the kernel, and the stack's guard. */
	map(root, (uintptr_t)text_start, (uintptr_t)text_end, READ | EXECUTE);
	map(root, (uintptr_t)text_end, (uintptr_t)rodata_end, READ);
	map(root, (uintptr_t)rodata_end, (uintptr_t)stack_guard, READ | WRITE);
	map(root, (uintptr_t)stack_guard + PAGE_SIZE, info->ram_end, READ | WRITE);
	map(root, GICD_BASE, GICD_BASE + GIC_SIZE, READ | WRITE | DEVICE);
	map(root, UART_BASE, UART_BASE + PAGE_SIZE, READ | WRITE | DEVICE);
	map(root, VIRTIO_BASE, VIRTIO_BASE + VIRTIO_SLOTS * VIRTIO_STRIDE, READ | WRITE | DEVICE);
	WRITE_SYSREG("mair_el1", MAIR);
	WRITE_SYSREG("tcr_el1",
		     TCR_T0SZ | TCR_IRGN0_WB | TCR_ORGN0_WB | TCR_SH0_IS | TCR_EPD1 | TCR_IPS_40);
	WRITE_SYSREG("ttbr0_el1", (uintptr_t)root);
	/* The entries above are seen by translations below, and no older ones are remembered. */
	__asm__ volatile("dsb sy\n\ttlbi vmalle1\n\tic iallu\n\tdsb sy\n\tisb" ::: "memory");
	WRITE_SYSREG("sctlr_el1", READ_SYSREG("sctlr_el1") | SCTLR_M | SCTLR_C | SCTLR_I);
}

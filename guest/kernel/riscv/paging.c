/* SPDX-License-Identifier: MIT */
/*
 * Page tables: Sv39 on a 64-bit hart, Sv32 on a 32-bit one (volume II, "Sv32: Page-Based 32-bit
 * Virtual-Memory Systems" and the next section). A table is a page of entries; an entry is either
 * the address of a table of the next level, or a leaf that maps what its place stands for: a page,
 * or at a higher level a "megapage" or "gigapage".
 */
#include "kernel.h"

typedef uintptr_t pte_t;

/* Volume II, figures "Sv32 page table entry" and "Sv39 page table entry"; satp's MODE field. */
enum {
	PTE_V = 1 << 0,
	PTE_R = 1 << 1,
	PTE_W = 1 << 2,
	PTE_X = 1 << 3,
	PTE_A = 1 << 6, /* accessed and dirty: set from the start, or a hart may fault to be told */
	PTE_D = 1 << 7,
	PTE_PPN_SHIFT = 10,
#if __riscv_xlen == 64
	LEVELS = 3,
	INDEX_BITS = 9,
	SATP_MODE_SHIFT = 60,
	SATP_MODE = 8,
#else
	LEVELS = 2,
	INDEX_BITS = 10,
	SATP_MODE_SHIFT = 31,
	SATP_MODE = 1,
#endif
};

static pte_t entry(uintptr_t at, pte_t bits)
{
	return at / PAGE_SIZE << PTE_PPN_SHIFT | bits | PTE_V;
}

static pte_t *next_table(pte_t *pte)
{
	if (!*pte)
		*pte = entry((uintptr_t)pages_alloc(1), 0);
	return (pte_t *)(*pte >> PTE_PPN_SHIFT << 12);
}

/* Maps the pages from start to end at their own addresses, by the largest leaves that fit. */
static void map(pte_t *root, uintptr_t start, uintptr_t end, enum access access)
{
	pte_t bits = (access & READ ? PTE_R : 0) | (access & WRITE ? PTE_W | PTE_D : 0) |
		     (access & EXECUTE ? PTE_X : 0) | PTE_A;

	while (start < end) {
		pte_t *table = root;
		int level = LEVELS - 1;

		for (;; level--) {
			int shift = 12 + level * INDEX_BITS;
			uintptr_t size = (uintptr_t)1 << shift;
			pte_t *pte = &table[start >> shift & ((1 << INDEX_BITS) - 1)];

			if (!level || (!(start & (size - 1)) && end - start >= size && !*pte)) {
				*pte = entry(start, bits);
				start += size;
				break;
			}
			table = next_table(pte);
		}
	}
}

void arch_paging_on(const struct boot_info *info)
{
	pte_t *root = pages_alloc(1);

	/* Not mapped: the null page, the firmware below the kernel, and the stack's guard. */
	map(root, (uintptr_t)text_start, (uintptr_t)text_end, READ | EXECUTE);
	map(root, (uintptr_t)text_end, (uintptr_t)rodata_end, READ);
	map(root, (uintptr_t)rodata_end, (uintptr_t)stack_guard, READ | WRITE);
	map(root, (uintptr_t)stack_guard + PAGE_SIZE, info->ram_end, READ | WRITE);
	map(root, PLIC_BASE, PLIC_BASE + PLIC_SIZE, READ | WRITE);
	map(root, UART_BASE, UART_BASE + PAGE_SIZE, READ | WRITE);
	map(root, VIRTIO_BASE, VIRTIO_BASE + VIRTIO_SLOTS * VIRTIO_STRIDE, READ | WRITE);
	WRITE_CSR("satp", (uintptr_t)SATP_MODE << SATP_MODE_SHIFT | (uintptr_t)root / PAGE_SIZE);
	/* The entries above are seen by translations below, and no older ones are remembered. */
	__asm__ volatile("sfence.vma" ::: "memory");
}

/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guests: page tables. 4 KiB granule, DDI0487 D8.3.
 */
#include "guest.h"

static u64 pool_next = TABLES;
u64 *flat_root;

u64 *pt_page(void)
{
	u64 *p = (u64 *)pool_next;

	if (pool_next == SCRATCH)
		bail("no page left for tables");
	pool_next += PAGE;
	for (unsigned i = 0; i < PAGE / 8; i++)
		p[i] = 0;
	return p;
}

int pt_start(unsigned tsz)
{
	return tsz < 25 ? 0 : tsz < 34 ? 1 : tsz < 43 ? 2 : 3;
}

u64 *pt_entry(u64 *root, int start, u64 va, int level)
{
	for (int l = start;; l++) {
		u64 *e = &root[va >> (12 + 9 * (3 - l)) & 511];

		if (l == level)
			return e;
		if (!(*e & PT_VALID))
			*e = (u64)pt_page() | PT_VALID | PT_TABLE;
		root = (u64 *)(*e & PT_ADDR);
	}
}

void pt_map(u64 *root, int start, u64 va, u64 pa, int level, u64 attr)
{
	*pt_entry(root, start, va, level) = pa | attr | (level == 3 ? PT_TABLE : 0);
}

static void map_pages(u64 va, u64 end, u64 attr)
{
	for (; va < end; va += PAGE)
		pt_map(flat_root, 1, va, va, 3, attr);
}

static void flat_init(void)
{
	u64 dev = PT_VALID | PT_DEVICE | PT_AF | PT_PXN | PT_UXN;

	flat_root = pt_page();
	for (u64 pa = 0x08000000; pa < 0x0c000000; pa += BLOCK2M)
		pt_map(flat_root, 1, pa, pa, 2, dev);
	for (u64 pa = TABLES; pa < RAM_END; pa += BLOCK2M)
		pt_map(flat_root, 1, pa, pa, 2, PT_KRW);
	map_pages((u64)image_start, (u64)el0_start, PT_MEM | PT_RO | PT_UXN);
	map_pages((u64)el0_start, (u64)el0_end, PT_MEM | PT_RO | PT_USER);
	map_pages((u64)el0_end, (u64)el0_data_start, PT_KRW);
	map_pages((u64)el0_data_start, (u64)el0_data_end, PT_URW);
}

void tlbi_all(void)
{
	asm volatile("dsb ishst\n\ttlbi vmalle1is\n\tdsb ish\n\tisb" ::: "memory");
}

void tlbi_va(u64 va)
{
	asm volatile(
		"dsb ishst\n\ttlbi vaae1is, %0\n\tdsb ish\n\tisb" ::"r"(va >> 12 & 0xfffffffffffULL)
		: "memory");
}

void mmu_set(u64 tcr, u64 ttbr0, u64 ttbr1)
{
	sctlr(READ_REG(sctlr_el1) & ~(u64)SCTLR_M);
	/* Attr0 Normal write-back, Attr1 Device-nGnRE, Attr2 Normal non-cacheable */
	WRITE_REG(mair_el1, 0x4404ff);
	WRITE_REG(tcr_el1, tcr);
	WRITE_REG(ttbr0_el1, ttbr0);
	WRITE_REG(ttbr1_el1, ttbr1);
	ISB();
	tlbi_all();
	sctlr(READ_REG(sctlr_el1) | SCTLR_M);
}

void mmu_on(void)
{
	if (!flat_root)
		flat_init();
	mmu_set(TCR_PLAIN | TCR_T0SZ(25) | TCR_T1SZ(25) | BIT(TCR_EPD1), (u64)flat_root, 0);
}

void mmu_off(void)
{
	sctlr(READ_REG(sctlr_el1) & ~(u64)SCTLR_M);
}

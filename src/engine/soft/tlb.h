/* SPDX-License-Identifier: MIT */
/*
 * The soft TLB: from a virtual page to host memory in one compare.
 *
 * A context holds the translations of one translation regime (an exception level and address
 * space), so that changing the address space changes a pointer. Entries are direct-mapped, 4 KiB
 * each.
 *
 * A data access of `size` bytes at va may use entry va<..:12> when ((va + size - 1) &
 * TLB_PAGE_MASK) equals the entry's read (write) tag: that also sends an access that crosses a page
 * to the slow path. Only normal RAM gets tags; a page that holds decoded code never has a write
 * tag, so that each store to it is seen. Everything without a tag takes the slow path.
 */
#ifndef HAKO_ENGINE_SOFT_TLB_H
#define HAKO_ENGINE_SOFT_TLB_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct code_page;

enum { TLB_D_ENTRIES = 512, TLB_X_ENTRIES = 256 };

#define TLB_PAGE_MASK (~(uint64_t)0xfff)
#define TLB_NO_TAG    (~(uint64_t)0) /* equal to no page address */

struct tlb_entry {
	uint64_t r, w;    /* virtual page, or TLB_NO_TAG */
	uintptr_t addend; /* host address - virtual address */
	uint8_t block;    /* log2 of the size of the mapping it was cut from */
	bool global;
};

/* Execution: from a virtual page to its decoded instructions. */
struct tlb_xentry {
	uint64_t va; /* virtual page, or TLB_NO_TAG */
	struct code_page *page;
	uint8_t block;
	bool global;
};

struct tlb {
	struct tlb_entry d[TLB_D_ENTRIES];
	struct tlb_xentry x[TLB_X_ENTRIES];
	/* What it may hold: global entries, others, and entries with address bit 55 clear. */
	bool any_global, any_local, any_low;
	/* Addresses of entries cut from blocks larger than a page, none if first > last. */
	uint64_t block_first, block_last;
};

static inline struct tlb_entry *tlb_d(struct tlb *t, uint64_t va)
{
	return &t->d[(va >> 12) % TLB_D_ENTRIES];
}
static inline struct tlb_xentry *tlb_x(struct tlb *t, uint64_t va)
{
	return &t->x[(va >> 12) % TLB_X_ENTRIES];
}

/* An entry for `va`, cut from a block of 1 << block bytes, was added. */
static inline void tlb_added(struct tlb *t, uint64_t va, unsigned block, bool global)
{
	t->any_global |= global;
	t->any_local |= !global;
	t->any_low |= !(va >> 55 & 1);
	if (block > 12) {
		uint64_t first = va >> block << block, last = first + ((1ULL << block) - 1);
		t->block_first = first < t->block_first ? first : t->block_first;
		t->block_last = last > t->block_last ? last : t->block_last;
	}
}

/* Forget everything. */
void tlb_flush(struct tlb *t);
/* Forget a range of pages, and whatever was cut from a block that holds one of them. */
void tlb_flush_range(struct tlb *t, uint64_t va, uint64_t pages);
/* Forget the entries that are not global. */
void tlb_flush_local(struct tlb *t);
/* Forget where a page of decoded instructions is. */
void tlb_unmap_code(struct tlb *t, const struct code_page *page);

#endif

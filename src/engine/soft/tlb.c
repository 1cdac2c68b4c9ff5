/* SPDX-License-Identifier: MIT */
/*
 * Invalidation of the soft TLB. Filling it is the business of each guest architecture's MMU.
 */
#include "engine/soft/tlb.h"

#include "base/bits.h"

static const struct tlb_entry no_entry = { .r = TLB_NO_TAG, .w = TLB_NO_TAG };
static const struct tlb_xentry no_xentry = { .va = TLB_NO_TAG };

void tlb_flush(struct tlb *t)
{
	for (unsigned i = 0; i < TLB_D_ENTRIES; i++)
		t->d[i] = no_entry;
	for (unsigned i = 0; i < TLB_X_ENTRIES; i++)
		t->x[i] = no_xentry;
	t->any_global = t->any_local = t->any_low = false;
	t->block_first = ~0ULL;
	t->block_last = 0;
}

/* Does the block that was mapped at `tag` meet [first, last] (addresses of pages)? */
static bool meets(uint64_t tag, unsigned block, uint64_t first, uint64_t last)
{
	if (tag == TLB_NO_TAG)
		return false;
	uint64_t base = tag >> block << block;
	return base <= last && first <= base + ((1ULL << block) - 1);
}

void tlb_flush_range(struct tlb *t, uint64_t va, uint64_t pages)
{
	uint64_t first = va & TLB_PAGE_MASK, last = first + (pages - 1) * 4096;

	if (last < first) /* beyond the end of the address space */
		last = TLB_PAGE_MASK;
	if (!bit(va, 55) && !t->any_low)
		return;
	bool blocks = first <= t->block_last && t->block_first <= last + 4095;
	if (!blocks && pages < 64) {
		/* No entry here was cut from a larger block: only a page's own slots can
		 * hold it. */
		for (uint64_t a = first; pages--; a += 4096) {
			struct tlb_entry *e = tlb_d(t, a);
			if (e->r == a || e->w == a)
				*e = no_entry;
			struct tlb_xentry *x = tlb_x(t, a);
			if (x->va == a)
				*x = no_xentry;
		}
		return;
	}
	for (unsigned i = 0; i < TLB_D_ENTRIES; i++) {
		struct tlb_entry *e = &t->d[i];
		if (meets(e->r, e->block, first, last) || meets(e->w, e->block, first, last))
			*e = no_entry;
	}
	for (unsigned i = 0; i < TLB_X_ENTRIES; i++)
		if (meets(t->x[i].va, t->x[i].block, first, last))
			t->x[i] = no_xentry;
}

void tlb_flush_local(struct tlb *t)
{
	if (!t->any_local)
		return;
	for (unsigned i = 0; i < TLB_D_ENTRIES; i++)
		if (!t->d[i].global)
			t->d[i] = no_entry;
	for (unsigned i = 0; i < TLB_X_ENTRIES; i++)
		if (!t->x[i].global)
			t->x[i] = no_xentry;
	t->any_local = false;
}

void tlb_unmap_code(struct tlb *t, const struct code_page *page)
{
	for (unsigned i = 0; i < TLB_X_ENTRIES; i++)
		if (t->x[i].page == page)
			t->x[i] = no_xentry;
}

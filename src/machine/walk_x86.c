/* SPDX-License-Identifier: MIT */
/*
 * x86 address translation, told in words: paging of 4 and 5 levels, PAE and 32 bits (SDM 3A, 4.3 to
 * 4.5). Segments are taken as flat, which their bases are in 64-bit mode.
 */
#include <stdio.h>

#include "base/bits.h"
#include "base/endian.h"
#include "machine/debug.h"
#include "machine/vm.h"
#include "machine/walk.h"

/* CR0, CR4, EFER, and entries of tables */
enum { CR0_WP = 16, CR0_PG = 31, CR4_PSE = 4, CR4_PAE = 5, CR4_LA57 = 12, EFER_LMA = 10 };
enum { PRESENT = 0, WRITABLE = 1, USER = 2, PAGE_SIZE_BIT = 7, NO_EXECUTE = 63 };
#define ADDRESS 0x000ffffffffff000ULL

/* How addresses are cut up. */
struct shape {
	const char *name;
	unsigned levels, index_bits, entry_size, va_bits;
};

static const struct shape shapes[] = {
	{ "32-bit", 2, 10, 4, 32 },
	{ "PAE", 3, 9, 8, 32 },
	{ "4-level", 4, 9, 8, 48 },
	{ "5-level", 5, 9, 8, 57 },
};

static const struct shape *shape(uint64_t cr4, uint64_t efer)
{
	if (bit(efer, EFER_LMA))
		return &shapes[bit(cr4, CR4_LA57) ? 3 : 2];
	return &shapes[bit(cr4, CR4_PAE) ? 1 : 0];
}

/* Is an entry of this level the last one? */
static bool is_leaf(const struct shape *s, unsigned level, uint64_t entry, uint64_t cr4)
{
	if (level == 1)
		return true;
	if (!bit(entry, PAGE_SIZE_BIT) || level > 3)
		return false;
	if (s->entry_size == 4)
		return bit(cr4, CR4_PSE);
	return level == 2 || s->levels > 3; /* 1 GiB: in long mode only */
}

/* What is wrong with the access, as all levels together allow it; NULL: nothing. */
static const char *denied(uint64_t all, bool no_execute, uint64_t cr0, const struct walk_access *a)
{
	if (!a->access)
		return NULL;
	if (a->level == 3 && !bit(all, USER))
		return "it is the supervisor's (U/S is 0 at some level)";
	if (a->access == DEBUG_WRITE && !bit(all, WRITABLE) && (a->level == 3 || bit(cr0, CR0_WP)))
		return "it is read-only (R/W is 0 at some level)";
	if (a->access == DEBUG_EXEC && no_execute)
		return "it may not be executed (XD is 1 at some level)";
	return NULL;
}

void walk_x86(struct vm_cpu *cpu, const struct walk_access *a, struct walk *w)
{
	uint64_t cr0 = debug_reg(cpu, "cr0"), cr3 = debug_reg(cpu, "cr3");
	uint64_t cr4 = debug_reg(cpu, "cr4"), efer = debug_reg(cpu, "efer");
	const struct shape *s = shape(cr4, efer);
	uint64_t all = ~0ULL, va = s->va_bits == 32 ? a->va & UINT32_MAX : a->va;
	bool no_execute = false;

	if (!bit(cr0, CR0_PG)) {
		snprintf(w->how, sizeof(w->how), "not translated: CR0.PG is 0");
		w->ok = true;
		w->pa = a->va & UINT32_MAX;
		return;
	}
	w->translated = true;
	uint64_t base = cr3 & (s->levels == 3 ? 0xffffffe0 : ADDRESS);
	snprintf(w->how, sizeof(w->how), "%s paging, tables at 0x%llx (CR3)", s->name, ull(base));
	if (s->va_bits != 32 && (uint64_t)sign_extend(va, s->va_bits) != va) {
		snprintf(w->why, sizeof(w->why),
			 "the address is not canonical: bits %u to 63 are not equal",
			 s->va_bits - 1);
		return;
	}
	for (unsigned level = s->levels;; level--) {
		unsigned shift = 12 + s->index_bits * (level - 1);
		unsigned top = shift + s->index_bits - 1 < s->va_bits ? shift + s->index_bits - 1
								      : s->va_bits - 1;
		typeof(&w->steps[0]) step = &w->steps[w->n++];
		le64_t raw = { 0 };

		step->level = level;
		step->at = base + bits(va, top, shift) * s->entry_size;
		step->read = gmem_read(cpu->vm->mem, step->at, &raw, s->entry_size) == 0;
		if (!step->read) {
			snprintf(step->meaning, sizeof(step->meaning), "no memory is there");
			snprintf(w->why, sizeof(w->why), "the level-%u table is not in memory",
				 level);
			return;
		}
		uint64_t entry = step->entry = le64_get(raw), addr = entry & ADDRESS;
		if (!bit(entry, PRESENT)) {
			snprintf(step->meaning, sizeof(step->meaning), "not present (bit 0 is 0)");
			snprintf(w->why, sizeof(w->why), "the level-%u entry is not present",
				 level);
			return;
		}
		/* PAE's four first entries have no rights of their own. */
		if (s->levels != 3 || level < 3)
			all &= entry;
		no_execute |= s->entry_size == 8 && bit(entry, NO_EXECUTE);
		if (!is_leaf(s, level, entry, cr4)) {
			snprintf(step->meaning, sizeof(step->meaning), "a table at 0x%llx",
				 ull(addr));
			base = addr;
			continue;
		}
		addr &= ~mask_low(shift);
		if (s->entry_size == 4 && level == 2) /* PSE-36 */
			addr |= bits(entry, 20, 13) << 32;
		snprintf(step->meaning, sizeof(step->meaning), "%u %s at 0x%llx, %s, %s%s",
			 shift == 30 ? 1U : (1U << shift) >> (shift > 20 ? 20 : 10),
			 shift == 30  ? "GiB"
			 : shift > 20 ? "MiB"
				      : "KiB",
			 ull(addr), bit(entry, WRITABLE) ? "read-write" : "read-only",
			 bit(entry, USER) ? "user" : "supervisor",
			 s->entry_size == 8 && bit(entry, NO_EXECUTE) ? ", XD" : "");
		w->pa = addr | (va & mask_low(shift));
		const char *no = denied(all, no_execute, cr0, a);
		snprintf(w->why, sizeof(w->why), "%s", no ? no : "");
		w->ok = !no;
		return;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * RISC-V address translation, told in words: Sv32, Sv39, Sv48 (volume II of the manual, version
 * 20240411, chapter 10). Physical memory protection is not looked at.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "machine/debug.h"
#include "machine/vm.h"
#include "machine/walk.h"

enum { V = 0, R = 1, W = 2, X = 3, U = 4, G = 5, A = 6, D = 7 };
enum { LEVEL_U = 0, LEVEL_S = 1, LEVEL_M = 3 };
#define SUM   BIT(18)
#define MXR   BIT(19)
#define ADUE  BIT(61)
#define PBMTE BIT(62)

/* What is wrong with an access by this leaf; NULL: nothing. */
static const char *denied(uint64_t pte, uint64_t status, const struct walk_access *a)
{
	bool readable = bit(pte, R) || ((status & MXR) && bit(pte, X));

	if (!a->access)
		return NULL;
	if (a->level == LEVEL_U && !bit(pte, U))
		return "the page is not for U-mode (U = 0)";
	if (a->level == LEVEL_S && bit(pte, U) && a->access == DEBUG_EXEC)
		return "S-mode never executes a page of U-mode (U = 1)";
	if (a->level == LEVEL_S && bit(pte, U) && !(status & SUM))
		return "S-mode may touch a page of U-mode (U = 1) only while sstatus.SUM is set";
	if (a->access == DEBUG_READ && !readable)
		return "the page is not readable (R = 0)";
	if (a->access == DEBUG_WRITE && !bit(pte, W))
		return "the page is not writable (W = 0)";
	if (a->access == DEBUG_EXEC && !bit(pte, X))
		return "the page is not executable (X = 0)";
	return NULL;
}

static void describe_leaf(char *text, size_t size, uint64_t pte, uint64_t pa, unsigned shift)
{
	snprintf(text, size, "%llu %s at 0x%llx, %c%c%c%c%s%s%s",
		 shift >= 30   ? 1ULL << (shift - 30)
		 : shift >= 20 ? 1ULL << (shift - 20)
			       : 1ULL << (shift - 10),
		 shift >= 30   ? "GiB"
		 : shift >= 20 ? "MiB"
			       : "KiB",
		 ull(pa), bit(pte, R) ? 'r' : '-', bit(pte, W) ? 'w' : '-', bit(pte, X) ? 'x' : '-',
		 bit(pte, U) ? 'u' : '-', bit(pte, G) ? ", global" : "",
		 bit(pte, A) ? ", accessed" : "", bit(pte, D) ? ", dirty" : "");
}

void walk_rv(struct vm_cpu *cpu, const struct walk_access *a, struct walk *w)
{
	bool wide = cpu->vm->kernel.arch == KERNEL_RV64;
	uint64_t satp = debug_reg(cpu, "satp"), status = debug_reg(cpu, "sstatus");
	bool pbmte = wide && (debug_reg(cpu, "menvcfg") & PBMTE);
	bool adue = (wide ? debug_reg(cpu, "menvcfg") : debug_reg(cpu, "menvcfgh") << 32) & ADUE;
	unsigned mode = (unsigned)(wide ? satp >> 60 : satp >> 31 & 1);
	unsigned levels = !wide ? 2 : mode == 9 ? 4 : 3, width = wide ? 9 : 10;
	size_t size = wide ? 8 : 4;
	uint64_t base = (wide ? bits(satp, 43, 0) : bits(satp, 21, 0)) << 12;
	uint64_t va = wide ? a->va : (uint32_t)a->va;

	if (a->level == LEVEL_M || mode == 0) {
		snprintf(w->how, sizeof(w->how), "%s",
			 mode ? "not translated in M-mode" : "not translated: satp.MODE is 0");
		w->ok = true;
		w->pa = va;
		return;
	}
	w->translated = true;
	snprintf(w->how, sizeof(w->how), "Sv%u, tables at 0x%llx (satp)", 12 + levels * width,
		 ull(base));
	if (wide && (uint64_t)sign_extend(va, 12 + levels * width) != va) {
		snprintf(w->why, sizeof(w->why),
			 "the address is not canonical: bits 63 to %u must all be as bit %u",
			 12 + levels * width, 11 + levels * width);
		return;
	}
	for (unsigned level = levels; level--;) {
		unsigned shift = 12 + level * width;
		uint8_t bytes[8] = { 0 };
		typeof(&w->steps[0]) s = &w->steps[w->n++];

		s->level = level;
		s->at = base + (va >> shift & mask_low(width)) * size;
		s->read = gmem_read(cpu->vm->mem, s->at, bytes, size) == 0;
		if (!s->read) {
			snprintf(s->meaning, sizeof(s->meaning), "no memory is there");
			snprintf(w->why, sizeof(w->why), "the level-%u table is not in memory",
				 level);
			return;
		}
		le64_t raw;
		memcpy(&raw, bytes, sizeof(raw));
		uint64_t pte = s->entry = le64_get(raw);
		uint64_t next = (wide ? bits(pte, 53, 10) : bits(pte, 31, 10)) << 12;
		if (!bit(pte, V)) {
			snprintf(s->meaning, sizeof(s->meaning), "not valid (V = 0)");
			snprintf(w->why, sizeof(w->why), "the level-%u entry is not valid", level);
			return;
		}
		if (!bit(pte, R) && bit(pte, W)) {
			snprintf(s->meaning, sizeof(s->meaning), "reserved: W without R");
			snprintf(w->why, sizeof(w->why),
				 "the level-%u entry has W without R, which is reserved", level);
			return;
		}
		/* Svpbmt: 1 and 2 in a leaf, where menvcfg lets them; 3 is reserved (chapter 13) */
		uint64_t pbmt = wide ? bits(pte, 62, 61) : 0;
		if (pbmt && (pbmt == 3 || !pbmte || !(bit(pte, R) || bit(pte, X)))) {
			snprintf(s->meaning, sizeof(s->meaning), "a memory type (PBMT) of %llu",
				 ull(pbmt));
			snprintf(w->why, sizeof(w->why),
				 "the level-%u entry has a PBMT of %llu, %s", level, ull(pbmt),
				 pbmt == 3 ? "which is reserved"
				 : pbmte   ? "and is a table"
					   : "and menvcfg.PBMTE is 0");
			return;
		}
		if (wide && (bit(pte, 63) || bits(pte, 60, 54))) {
			snprintf(s->meaning, sizeof(s->meaning), "reserved bits are set");
			snprintf(w->why, sizeof(w->why),
				 "the level-%u entry has reserved bits set (63, 60 to 54)", level);
			return;
		}
		if (!bit(pte, R) && !bit(pte, X)) {
			snprintf(s->meaning, sizeof(s->meaning), "a table at 0x%llx", ull(next));
			if (level == 0 || (pte & (BIT(A) | BIT(D) | BIT(U)))) {
				snprintf(w->why, sizeof(w->why),
					 level ? "the level-%u entry is a table with A, D or U "
						 "set, which is reserved"
					       : "the level-%u entry is a table, where only a "
						 "page can be",
					 level);
				return;
			}
			base = next;
			continue;
		}
		describe_leaf(s->meaning, sizeof(s->meaning), pte, next, shift);
		w->pa = next | (va & mask_low(shift));
		const char *no = denied(pte, status, a);
		if (next & mask_low(shift))
			no = "the superpage does not begin at a multiple of its size";
		if (!no && a->access && !adue && !bit(pte, A))
			no = "the page's A is clear, and menvcfg.ADUE leaves that to software";
		if (!no && a->access == DEBUG_WRITE && !adue && !bit(pte, D))
			no = "the page's D is clear, and menvcfg.ADUE leaves that to software";
		snprintf(w->why, sizeof(w->why), "%s", no ? no : "");
		w->ok = !no;
		return;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * AArch64 address translation, told in words: stage 1 of the EL1&0 regime (DDI0487 D8). The
 * software CPU has the granule of 4 KiB alone, and takes the others for that; the host's CPU (KVM)
 * may have 16 and 64 KiB, too.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "machine/debug.h"
#include "machine/vm.h"
#include "machine/walk.h"

/* SCTLR_EL1, TCR_EL1 (D17.2.118, D17.2.139) and descriptors (D8.3) */
enum { SCTLR_M = 0, SCTLR_WXN = 19 };
enum { EPD0 = 7, EPD1 = 23, TBI0 = 37, TBI1 = 38, HA = 39, HD = 40, E0PD0 = 55, E0PD1 = 56 };
/* hako's CPU has so many bits of physical address (ID_AA64MMFR0_EL1.PARange) */
enum { PA_BITS = 40 };
enum { VALID = 0, TABLE = 1, AP1 = 6, AP2 = 7, AF = 10, DBM = 51, PXN = 53, UXN = 54 };
enum { TABLE_PXN = 59, TABLE_UXN = 60, TABLE_AP0 = 61, TABLE_AP1 = 62 };
#define ADDRESS 0x0000fffffffff000ULL

/* TCR_EL1.TG0 and TG1: log2 of the granule's bytes. */
static unsigned granule(const struct vm_cpu *cpu, uint64_t tcr, bool upper)
{
	static const uint8_t tg0[4] = { 12, 16, 14, 12 }, tg1[4] = { 12, 14, 12, 16 };

	if (cpu->vm->engine_ops == &engine_soft)
		return 12;
	return upper ? tg1[bits(tcr, 31, 30)] : tg0[bits(tcr, 15, 14)];
}

/* What is wrong with an access by this descriptor; NULL: nothing. */
static const char *denied(uint64_t desc, uint64_t hier, uint64_t tcr, uint64_t sctlr,
			  const struct walk_access *a)
{
	bool el0 = bit(desc, AP1) && !bit(hier, TABLE_AP0);
	bool managed = bit(tcr, HA) && bit(tcr, HD) && bit(desc, DBM);
	bool writable = (!bit(desc, AP2) || managed) && !bit(hier, TABLE_AP1);
	bool pxn = bit(desc, PXN) || bit(hier, TABLE_PXN);
	bool uxn = bit(desc, UXN) || bit(hier, TABLE_UXN);

	if (!a->access)
		return NULL;
	if (!bit(desc, AF) && !bit(tcr, HA))
		return "its access flag (AF) is clear, and TCR_EL1.HA leaves that to software";
	if (a->access == DEBUG_EXEC) {
		if (a->level == 0)
			return uxn ? "UXN forbids EL0 to execute it"
			       : bit(sctlr, SCTLR_WXN) && el0 && writable ? "it is writable, and "
									    "SCTLR_EL1.WXN is set"
									  : NULL;
		return pxn                                 ? "PXN forbids EL1 to execute it"
		       : el0 && writable                   ? "EL1 never executes what EL0 can write"
		       : bit(sctlr, SCTLR_WXN) && writable ? "it is writable, and SCTLR_EL1.WXN "
							     "is set"
							   : NULL;
	}
	if (a->level == 0 && !el0)
		return "it is not for EL0 (AP[1] = 0)";
	if (a->level == 1 && el0 && a->pan)
		return "it is EL0's (AP[1] = 1), and PSTATE.PAN keeps EL1 from it";
	if (a->access == DEBUG_WRITE && !writable)
		return "it is read-only (AP[2] = 1)";
	return NULL;
}

static void describe_leaf(char *text, size_t size, uint64_t desc, uint64_t pa, unsigned shift,
			  uint64_t mair)
{
	unsigned attr = (unsigned)(mair >> (8 * bits(desc, 4, 2))) & 0xff;

	snprintf(text, size, "%u %s at 0x%llx, %s, EL0 %s, %s%s%s%s", 1U << shift % 10,
		 shift >= 30   ? "GiB"
		 : shift >= 20 ? "MiB"
			       : "KiB",
		 ull(pa), bit(desc, AP2) ? "read-only" : "read-write",
		 bit(desc, AP1) ? "too" : "not", attr & 0xf0 ? "Normal" : "Device",
		 bit(desc, PXN) ? ", PXN" : "", bit(desc, UXN) ? ", UXN" : "",
		 bit(desc, AF) ? "" : ", AF = 0");
}

/* Is the address in one of the two halves, and are there tables for that? Else: why not. */
static const char *in_range(uint64_t va, uint64_t tcr, unsigned va_bits, unsigned el)
{
	bool upper = bit(va, 55);
	unsigned top = bit(tcr, upper ? TBI1 : TBI0) ? 55 : 63;

	if (el == 0 && bit(tcr, upper ? E0PD1 : E0PD0))
		return upper ? "TCR_EL1.E0PD1 is set: upper addresses are not for EL0"
			     : "TCR_EL1.E0PD0 is set: lower addresses are not for EL0";
	if (bits(va, top, va_bits) != (upper ? mask_low(top - va_bits + 1) : 0))
		return "the address is between the two ranges that TCR_EL1.T0SZ and T1SZ give";
	if (bit(tcr, upper ? EPD1 : EPD0))
		return upper ? "TCR_EL1.EPD1 is set: there are no tables for upper addresses"
			     : "TCR_EL1.EPD0 is set: there are no tables for lower addresses";
	return NULL;
}

void walk_a64(struct vm_cpu *cpu, const struct walk_access *a, struct walk *w)
{
	uint64_t sctlr = debug_reg(cpu, "SCTLR_EL1"), tcr = debug_reg(cpu, "TCR_EL1");
	bool upper = bit(a->va, 55);
	uint64_t ttbr = debug_reg(cpu, upper ? "TTBR1_EL1" : "TTBR0_EL1");
	unsigned tsz = (unsigned)(upper ? bits(tcr, 21, 16) : bits(tcr, 5, 0));
	uint64_t va = bit(tcr, upper ? TBI1 : TBI0) ? (uint64_t)sign_extend(a->va, 56) : a->va;
	const char *no;

	if (!bit(sctlr, SCTLR_M)) {
		unsigned top = bit(tcr, upper ? TBI1 : TBI0) ? 55 : 63;
		snprintf(w->how, sizeof(w->how), "not translated: SCTLR_EL1.M is 0");
		w->pa = va & mask_low(PA_BITS);
		w->ok = !bits(va, top, PA_BITS);
		if (!w->ok)
			snprintf(w->why, sizeof(w->why),
				 "the address is beyond the %d bits of physical address", PA_BITS);
		return;
	}
	w->translated = true;
	/* The range that hako's CPU takes the field into (FEAT_TTST is not there) */
	tsz = tsz < 16 ? 16 : tsz > 39 ? 39 : tsz;
	/* Each level takes the bits that a table of one granule has entries for; the first, the
	 * rest.
	 */
	unsigned page = granule(cpu, tcr, upper), index = page - 3;
	unsigned va_bits = 64 - tsz, level = 4 - (va_bits - page + index - 1) / index;
	uint64_t base = bits(ttbr, 47, 1) << 1, hier = 0;
	base &= ~mask_low(va_bits - (page + index * (3 - level)) + 3);
	snprintf(w->how, sizeof(w->how), "%u bits, %stables at 0x%llx (TTBR%d_EL1)", va_bits,
		 page == 14   ? "pages of 16 KiB, "
		 : page == 16 ? "pages of 64 KiB, "
			      : "",
		 ull(base), upper);
	if ((no = in_range(va, tcr, va_bits, a->level))) {
		snprintf(w->why, sizeof(w->why), "%s", no);
		return;
	}
	/* TCR_EL1.IPS */
	static const uint8_t ips_bits[8] = { 32, 36, 40, 42, 44, 48, 48, 48 };
	unsigned pa_bits = ips_bits[bits(tcr, 34, 32)];
	pa_bits = pa_bits < PA_BITS ? pa_bits : PA_BITS;
	if (base >> pa_bits) {
		snprintf(w->why, sizeof(w->why),
			 "the tables are beyond the %u bits of physical address (TCR_EL1.IPS)",
			 pa_bits);
		return;
	}
	for (;; level++) {
		unsigned shift = page + index * (3 - level);
		unsigned top = shift + index < va_bits ? shift + index - 1 : va_bits - 1;
		typeof(&w->steps[0]) s = &w->steps[w->n++];
		le64_t raw = { 0 };

		s->level = level;
		s->at = base + bits(va, top, shift) * 8;
		s->read = gmem_read(cpu->vm->mem, s->at, &raw, sizeof(raw)) == 0;
		if (!s->read) {
			snprintf(s->meaning, sizeof(s->meaning), "no memory is there");
			snprintf(w->why, sizeof(w->why), "the level-%u table is not in memory",
				 level);
			return;
		}
		uint64_t desc = s->entry = le64_get(raw), addr = desc & ADDRESS & ~mask_low(page);
		if (!bit(desc, VALID)) {
			snprintf(s->meaning, sizeof(s->meaning), "not valid (bit 0 is 0)");
			snprintf(w->why, sizeof(w->why), "the level-%u entry is not valid", level);
			return;
		}
		bool table = bit(desc, TABLE) && level < 3;
		/* Blocks: 4 KiB: levels 1 and 2; the others: 2 (D8.3.1) */
		bool leaf = bit(desc, TABLE) == (level == 3) && level >= (page == 12 ? 1 : 2);
		if (leaf)
			addr &= ~mask_low(shift);
		if ((table || leaf) && addr >> pa_bits) {
			snprintf(s->meaning, sizeof(s->meaning), "a %s at 0x%llx",
				 table ? "table" : "block", ull(addr));
			snprintf(w->why, sizeof(w->why),
				 "the level-%u entry points beyond the %u bits of physical address "
				 "(TCR_EL1.IPS)",
				 level, pa_bits);
			return;
		}
		if (table) {
			snprintf(s->meaning, sizeof(s->meaning), "a table at 0x%llx", ull(addr));
			hier |= desc;
			base = addr;
			continue;
		}
		if (!leaf) {
			snprintf(s->meaning, sizeof(s->meaning), "a block, which level %u has not",
				 level);
			snprintf(w->why, sizeof(w->why),
				 "the level-%u entry is a block (bit 1 is 0), and there are none "
				 "at that level",
				 level);
			return;
		}
		describe_leaf(s->meaning, sizeof(s->meaning), desc, addr, shift,
			      debug_reg(cpu, "MAIR_EL1"));
		w->pa = addr | (va & mask_low(shift));
		no = denied(desc, hier, tcr, sctlr, a);
		snprintf(w->why, sizeof(w->why), "%s", no ? no : "");
		w->ok = !no;
		return;
	}
}

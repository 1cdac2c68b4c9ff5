/* SPDX-License-Identifier: MIT */
/*
 * Self-hosted debug (DDI0487 D2): software step, breakpoints, watchpoints.
 *
 * A vCPU for which step or a breakpoint may apply runs one instruction at a time, with this looked
 * at before each; every other vCPU pays nothing. Pages with watchpoints get no TLB tags, so that
 * each access to them takes the slow path, which asks here.
 */
#include "engine/soft/a64/mmu.h"

enum { MDSCR_SS = 0, MDSCR_KDE = 13, MDSCR_MDE = 15, OSLSR_OSLK = 1, DAIF_D = 9 };
/* ISS (D17.2.37); of a step exception also ISV, and EX: an exclusive load was stepped */
enum { IFSC_DEBUG = 0x22, ISS_STEP_ISV = 1 << 24, ISS_STEP_EX = 1 << 6 };

/* AArch64.GenerateDebugExceptions(): from EL0 always, from EL1 with KDE and PSTATE.D clear. */
static bool enabled_from(const struct a64_cpu *c, unsigned el)
{
	if (bit(c->sys.oslsr, OSLSR_OSLK))
		return false;
	return el == 0 || (bit(c->sys.mdscr_el1, MDSCR_KDE) && !bit(c->daif, DAIF_D));
}

/*
 * Which levels a DBGBCR or DBGWCR takes part in: bits 2:1 (PMC, PAC), with HMC and SSC zero, the
 * only values that mean anything without EL2 and EL3 (D2.8.3, D2.9.4).
 */
static bool level_matches(uint64_t control, unsigned el)
{
	return bit(control, 0) && !bit(control, 13) && bits(control, 15, 14) == 0 &&
	       bit(control, el ? 1 : 2);
}

/* Breakpoint types (DBGBCR.BT<3:1>): address, context ID. BT<0>: linked. */
enum { BT_ADDRESS = 0, BT_CONTEXT = 1 };

/* The context-aware breakpoint that another one is linked to. */
static bool link_matches(const struct a64_cpu *c, unsigned n)
{
	/* The highest-numbered ones are context-aware: ID_AA64DFR0_EL1.CTX_CMPs */
	if (n < A64_N_BRPS - A64_N_CTX_BRPS || n >= A64_N_BRPS)
		return false;
	uint64_t control = c->sys.dbgbcr[n];
	return bit(control, 0) && bits(control, 23, 20) == (BT_CONTEXT << 1 | 1) &&
	       (uint32_t)c->sys.dbgbvr[n] == c->sys.contextidr_el1;
}

static bool breakpoint_matches(const struct a64_cpu *c, unsigned n)
{
	uint64_t control = c->sys.dbgbcr[n], value = c->sys.dbgbvr[n];
	if (!level_matches(control, c->el))
		return false;
	switch (bits(control, 23, 20)) {
	case BT_ADDRESS << 1 | 1:
		if (!link_matches(c, (unsigned)bits(control, 19, 16)))
			return false;
		/* fallthrough */
	case BT_ADDRESS << 1: return sign_extend(value & ~3ULL, 49) == (int64_t)c->pc;
	case BT_CONTEXT << 1:
		return n >= A64_N_BRPS - A64_N_CTX_BRPS && (uint32_t)value == c->sys.contextidr_el1;
	default: return false;
	}
}

static bool watchpoint_enabled(const struct a64_cpu *c, unsigned n)
{
	return bit(c->sys.dbgwcr[n], 0) && bit(c->sys.mdscr_el1, MDSCR_MDE) &&
	       !bit(c->sys.oslsr, OSLSR_OSLK);
}

/* The bytes that a watchpoint watches: first and last (D2.9.5). */
static bool watched_range(const struct a64_cpu *c, unsigned n, uint64_t *first, uint64_t *last)
{
	uint64_t control = c->sys.dbgwcr[n];
	uint64_t base = (uint64_t)sign_extend(c->sys.dbgwvr[n] & ~3ULL, 49);
	unsigned mask = (unsigned)bits(control, 28, 24), bas = (unsigned)bits(control, 12, 5);
	if (mask) {
		*first = base & ~mask_low(mask);
		*last = *first + mask_low(mask);
		return true;
	}
	if (!bas)
		return false;
	/* A run of set bits; anything else is CONSTRAINED UNPREDICTABLE: the span is watched. */
	*first = base + (unsigned)__builtin_ctz(bas);
	*last = base + 31 - (unsigned)__builtin_clz(bas);
	return true;
}

void a64_debug_changed(struct a64_cpu *c)
{
	bool mde = bit(c->sys.mdscr_el1, MDSCR_MDE) && !bit(c->sys.oslsr, OSLSR_OSLK);
	bool one = bit(c->sys.mdscr_el1, MDSCR_SS), watch = false;
	for (unsigned n = 0; n < A64_N_BRPS; n++)
		one |= mde && bit(c->sys.dbgbcr[n], 0);
	for (unsigned n = 0; n < A64_N_WRPS; n++)
		watch |= watchpoint_enabled(c, n);
	c->one_by_one = one;
	/* Watched pages must lose their tags, and may have them again when nothing is watched. */
	if (watch || c->watching)
		a64_flush_all_tlbs(c);
	c->watching = watch;
	atomic_store_explicit(&c->vcpu.attention, 1, memory_order_relaxed);
}

bool a64_debug_return_ss(const struct a64_cpu *c, uint64_t spsr)
{
	if (!bit(c->sys.mdscr_el1, MDSCR_SS) || bit(c->sys.oslsr, OSLSR_OSLK))
		return false;
	/* To where debug exceptions are enabled, from where they are not */
	bool to = bits(spsr, 3, 2) == 0 || (bit(c->sys.mdscr_el1, MDSCR_KDE) && !bit(spsr, DAIF_D));
	return !enabled_from(c, c->el) && to && bit(spsr, 21);
}

bool a64_debug_one_by_one(const struct a64_cpu *c)
{
	return c->one_by_one && enabled_from(c, c->el);
}

void a64_debug_before(struct a64_cpu *c)
{
	if (bit(c->sys.mdscr_el1, MDSCR_SS)) {
		/* D2.12.3: active-pending takes the exception, active-not-pending runs one
		 * instruction */
		if (!c->ss)
			a64_raise_at(c, c->el ? A64_EC_STEP_SAME : A64_EC_STEP_LOWER,
				     IFSC_DEBUG | c->step_iss, c->pc);
		c->ss = false;
		c->in_step = true;
	}
	if (!bit(c->sys.mdscr_el1, MDSCR_MDE))
		return;
	for (unsigned n = 0; n < A64_N_BRPS; n++)
		if (breakpoint_matches(c, n))
			a64_raise_at(c, c->el ? A64_EC_BREAKPOINT_SAME : A64_EC_BREAKPOINT_LOWER,
				     IFSC_DEBUG, c->pc);
}

/* LDXR, LDAXR, LDXP, LDAXP (C4.1.94): o2 0, L 1; without bit 31, o1 says CASP */
static bool load_exclusive(uint32_t w)
{
	return (w & 0x3fc00000) == 0x08400000 && (bit(w, 31) || !bit(w, 21));
}

void a64_debug_after(struct a64_cpu *c, uint32_t word)
{
	if (c->in_step)
		c->step_iss = ISS_STEP_ISV | (load_exclusive(word) ? ISS_STEP_EX : 0);
	c->in_step = false;
}

bool a64_watched_page(const struct a64_cpu *c, uint64_t page)
{
	uint64_t first, last;
	for (unsigned n = 0; n < A64_N_WRPS; n++)
		if (watchpoint_enabled(c, n) && watched_range(c, n, &first, &last) &&
		    first <= page + 4095 && page <= last)
			return true;
	return false;
}

void a64_watch(struct a64_cpu *c, uint64_t va, unsigned len, unsigned el, bool write)
{
	uint64_t first, last;
	if (!enabled_from(c, c->el))
		return;
	for (unsigned n = 0; n < A64_N_WRPS; n++) {
		uint64_t control = c->sys.dbgwcr[n];
		if (!watchpoint_enabled(c, n) || !level_matches(control, el) ||
		    !bit(control, write ? 4 : 3) || !watched_range(c, n, &first, &last) ||
		    last < va || va + len - 1 < first)
			continue;
		if (bit(control, 20) && !link_matches(c, (unsigned)bits(control, 19, 16)))
			continue;
		c->sys.far_el1 = va > first ? va : first;
		a64_raise(c, c->el ? A64_EC_WATCHPOINT_SAME : A64_EC_WATCHPOINT_LOWER,
			  IFSC_DEBUG | (write ? A64_ISS_WNR : 0));
	}
}

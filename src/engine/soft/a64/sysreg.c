/* SPDX-License-Identifier: MIT */
/*
 * The system registers of this CPU, and what it says it is (DDI0487 D17).
 *
 * What the ID registers offer is exactly what the instruction tables and mmu.c have. What costs a
 * software CPU dearly and gains the guest nothing (pointer authentication, SVE, MTE) is not
 * offered.
 */
#include "engine/soft/a64/sysreg.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/soft/a64/mmu.h"

#define R                          (A64_R1)
#define RW                         (A64_R1 | A64_W1)
#define RW0                        (A64_R1 | A64_W1 | A64_R0 | A64_W0)
#define S(op0, op1, crn, crm, op2) A64_SYSREG(op0, op1, crn, crm, op2)
#define FIELD(f)                   offsetof(struct a64_sys, f)

/* SCTLR_EL1: what can be set, and what reads as one (D17.2.118) */
#define SCTLR_RES1 (BIT(7) | BIT(8) | BIT(11) | BIT(20) | BIT(22) | BIT(28) | BIT(29))
#define SCTLR_SET                                                                            \
	(BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(9) | BIT(12) | BIT(14) | BIT(15) | \
	 BIT(16) | BIT(18) | BIT(19) | BIT(23) | BIT(26))
enum { SCTLR_UMA = 9, SCTLR_DZE = 14, SCTLR_UCT = 15, SCTLR_UCI = 26 };

/* TCR_EL1: E0PD, HA, HD, TBI, AS, IPS and the halves for TTBR0 and TTBR1 (D17.2.139) */
#define TCR_SET ((mask_low(41) & ~(BIT(6) | BIT(35))) | BIT(55) | BIT(56))

typedef const struct a64_sysreg *reg_t;

static uint64_t *slot(struct a64_cpu *c, reg_t r)
{
	return (uint64_t *)(void *)((char *)&c->sys + r->offset);
}

static void write_sctlr(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	uint64_t was = c->sys.sctlr_el1;
	c->sys.sctlr_el1 = (v & SCTLR_SET) | SCTLR_RES1;
	/* M, A and WXN decide what TLB entries allow */
	if ((was ^ v) & (BIT(0) | BIT(1) | BIT(19)))
		a64_flush_all_tlbs(c);
	if ((was ^ v) & BIT(0))
		c->vcpu.debug.remapped = a64_op_va(c, c->cur) + 4;
	a64_state_changed(c);
}

static void write_tcr(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->sys.tcr_el1 = v & TCR_SET;
	a64_flush_all_tlbs(c);
	a64_asid_changed(c);
}

static void write_ttbr(struct a64_cpu *c, reg_t r, uint64_t v)
{
	*slot(c, r) = v;
	a64_asid_changed(c);
}

static void write_mair(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->sys.mair_el1 = v;
	a64_flush_all_tlbs(c);
}

static void write_cpacr(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->sys.cpacr_el1 = v & (3u << 20);
	a64_state_changed(c);
}

/* ---- PSTATE and friends ---- */

static uint64_t read_sp_el0(struct a64_cpu *c, reg_t r)
{
	/* With PSTATE.SP = 0 the register is in use and this encoding is UNDEFINED (C5.2.21). */
	(void)r;
	if (!c->spsel)
		a64_undefined(c);
	return c->sys.sp_bank[0];
}

static void write_sp_el0(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	if (!c->spsel)
		a64_undefined(c);
	c->sys.sp_bank[0] = v;
}

static uint64_t read_currentel(struct a64_cpu *c, reg_t r)
{
	(void)r;
	return (uint64_t)c->el << 2;
}

static uint64_t read_spsel(struct a64_cpu *c, reg_t r)
{
	(void)r;
	return c->spsel;
}

static void write_spsel(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	a64_set_pstate(c, (a64_pstate(c) & ~1ULL) | (v & 1));
}

static uint64_t read_pan(struct a64_cpu *c, reg_t r)
{
	(void)r;
	return (uint64_t)c->pan << 22;
}

static void write_pan(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->pan = bit(v, 22);
	a64_state_changed(c);
}

static uint64_t read_nzcv(struct a64_cpu *c, reg_t r)
{
	(void)r;
	return (uint64_t)a64_nzcv(c) << 28;
}

static void write_nzcv(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	a64_set_nzcv(c, (unsigned)bits(v, 31, 28));
}

static uint64_t read_daif(struct a64_cpu *c, reg_t r)
{
	(void)r;
	return c->daif;
}

static void write_daif(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->daif = (uint32_t)v & (0xf << 6);
	a64_check_interrupts(c);
}

static void fp_check(struct a64_cpu *c)
{
	if (c->fp_trapped)
		a64_raise(c, A64_EC_FP_ACCESS, 1u << 24 | 0xeu << 20);
}

static uint64_t read_fpcr(struct a64_cpu *c, reg_t r)
{
	(void)r;
	fp_check(c);
	return c->fpcr;
}

static void write_fpcr(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	fp_check(c);
	c->fpcr = (uint32_t)v & (3u << FPCR_RMODE_SHIFT | FPCR_FZ | FPCR_DN | FPCR_AHP);
}

static uint64_t read_fpsr(struct a64_cpu *c, reg_t r)
{
	(void)r;
	fp_check(c);
	return c->fpsr;
}

static void write_fpsr(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	fp_check(c);
	c->fpsr = (uint32_t)v & (FPSR_QC | FPSR_IDC | 0x1f);
}

static uint64_t read_isr(struct a64_cpu *c, reg_t r)
{
	(void)r;
	uint32_t lines = atomic_load(&c->vcpu.irq_lines);
	return (uint64_t)(lines >> VCPU_IRQ & 1) << 7 | (uint64_t)(lines >> VCPU_FIQ & 1) << 6;
}

/* ---- identification ---- */

static uint64_t read_mpidr(struct a64_cpu *c, reg_t r)
{
	(void)r;
	return BIT(31) | c->vcpu.index;
}

static uint64_t read_dczid(struct a64_cpu *c, reg_t r)
{
	/* 64-byte blocks; DZP where DC ZVA is not permitted */
	(void)r;
	return 4 | (c->el == 0 && !bit(c->sys.sctlr_el1, SCTLR_DZE) ? 1u << 4 : 0);
}

static uint64_t read_ccsidr(struct a64_cpu *c, reg_t r)
{
	/* sets - 1, ways - 1, log2(line) - 4: L1 32 KiB, 8 ways; L2 1 MiB, 16 ways; lines of 64 */
	(void)r;
	switch (c->sys.csselr_el1) {
	case 0:
	case 1: return 63u << 13 | 7u << 3 | 2;
	case 2: return 1023u << 13 | 15u << 3 | 2;
	default: return 0;
	}
}

/* RNDR: from the host's generator; NZCV 0000 says that it worked (FEAT_RNG). */
static uint64_t read_rndr(struct a64_cpu *c, reg_t r)
{
	(void)r;
	uint64_t v = 0;
	bool ok = getrandom(&v, sizeof(v), 0) == (ssize_t)sizeof(v);
	a64_set_nzcv(c, ok ? 0 : 4);
	return ok ? v : 0;
}

/* ---- generic timer (D12, D17.8) ---- */

/* EL0 may use a counter or timer if CNTKCTL_EL1 lets it; `bit_number` is the control. */
static void timer_check(struct a64_cpu *c, unsigned bit_number)
{
	if (c->el == 0 && !bit(c->sys.cntkctl_el1, bit_number)) {
		uint32_t w = c->cur->word;
		a64_raise(c, A64_EC_SYSREG, a64_sysreg_iss(w));
	}
}
enum { EL0PCTEN = 0, EL0VCTEN = 1, EL0VTEN = 8, EL0PTEN = 9 };

static uint64_t read_cntvct(struct a64_cpu *c, reg_t r)
{
	(void)r;
	timer_check(c, EL0VCTEN);
	return a64_counter(c);
}

static uint64_t read_cntpct(struct a64_cpu *c, reg_t r)
{
	(void)r;
	timer_check(c, EL0PCTEN);
	return a64_counter(c);
}

static uint64_t read_cntfrq(struct a64_cpu *c, reg_t r)
{
	(void)r;
	if (c->el == 0 && !(c->sys.cntkctl_el1 & 3))
		timer_check(c, EL0VCTEN);
	return c->sys.cntfrq;
}

/* Writable at the highest level that there is; it only tells, the rate stays (D17.8.1). */
static void write_cntfrq(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->sys.cntfrq = (uint32_t)v;
}

/* CTL: ENABLE, IMASK, and ISTATUS, which is whether the condition is met while enabled */
static uint64_t ctl_value(struct a64_cpu *c, uint64_t ctl, uint64_t cval)
{
	return ctl | ((ctl & 1) && a64_counter(c) >= cval ? 4 : 0);
}

#define TIMER(x, control)                                                    \
	static uint64_t read_##x##_ctl(struct a64_cpu *c, reg_t r)           \
	{                                                                    \
		(void)r;                                                     \
		timer_check(c, control);                                     \
		return ctl_value(c, c->sys.x##_ctl, c->sys.x##_cval);        \
	}                                                                    \
	static void write_##x##_ctl(struct a64_cpu *c, reg_t r, uint64_t v)  \
	{                                                                    \
		(void)r;                                                     \
		timer_check(c, control);                                     \
		c->sys.x##_ctl = v & 3;                                      \
		a64_timer_update(c);                                         \
	}                                                                    \
	static uint64_t read_##x##_cval(struct a64_cpu *c, reg_t r)          \
	{                                                                    \
		(void)r;                                                     \
		timer_check(c, control);                                     \
		return c->sys.x##_cval;                                      \
	}                                                                    \
	static void write_##x##_cval(struct a64_cpu *c, reg_t r, uint64_t v) \
	{                                                                    \
		(void)r;                                                     \
		timer_check(c, control);                                     \
		c->sys.x##_cval = v;                                         \
		a64_timer_update(c);                                         \
	}                                                                    \
	static uint64_t read_##x##_tval(struct a64_cpu *c, reg_t r)          \
	{                                                                    \
		(void)r;                                                     \
		timer_check(c, control);                                     \
		return (uint32_t)(c->sys.x##_cval - a64_counter(c));         \
	}                                                                    \
	static void write_##x##_tval(struct a64_cpu *c, reg_t r, uint64_t v) \
	{                                                                    \
		(void)r;                                                     \
		timer_check(c, control);                                     \
		c->sys.x##_cval = a64_counter(c) + (uint64_t)(int32_t)v;     \
		a64_timer_update(c);                                         \
	}
TIMER(cntv, EL0VTEN)
TIMER(cntp, EL0PTEN)

/* ---- debug: registers that a kernel probes and saves; no halting debug ---- */

static void write_oslar(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->sys.oslsr = (v & 1) << 1;
	a64_debug_changed(c);
}

static void write_debug(struct a64_cpu *c, reg_t r, uint64_t v)
{
	*slot(c, r) = v & r->value;
	a64_debug_changed(c);
}

static uint64_t read_oslsr(struct a64_cpu *c, reg_t r)
{
	(void)r;
	return c->sys.oslsr | BIT(3); /* OSLM: the OS lock is implemented */
}

static void write_claimset(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->sys.dbgclaim |= v & 0xff;
}

static void write_claimclr(struct a64_cpu *c, reg_t r, uint64_t v)
{
	(void)r;
	c->sys.dbgclaim &= ~(v & 0xff);
}

#define STATE(enc, access, f, name)                            \
	{                                                      \
		enc, access, FIELD(f), name, ~0ULL, NULL, NULL \
	}
#define MASKED(enc, access, f, name, mask)                    \
	{                                                     \
		enc, access, FIELD(f), name, mask, NULL, NULL \
	}
#define SPECIAL(enc, f, name, wr)                        \
	{                                                \
		enc, RW, FIELD(f), name, ~0ULL, NULL, wr \
	}
#define CONST(enc, access, name, value)                            \
	{                                                          \
		enc, access, A64_NO_STATE, name, value, NULL, NULL \
	}
#define FUNC(enc, access, name, rd, wr)                    \
	{                                                  \
		enc, access, A64_NO_STATE, name, 0, rd, wr \
	}
#define ID(crm, op2, name, value) CONST(S(3, 0, 0, crm, op2), R, name, value)

/* DBGBVR: VA[48:2], sign-extended; DBGBCR: E, PMC, BAS, HMC, SSC, LBN, BT (D17.3) */
#define BREAKPOINT(n)                                                                             \
	{ S(2, 0, 0, n, 4), RW, FIELD(dbgbvr[n]), "DBGBVR" #n "_EL1", ~3ULL, NULL, write_debug }, \
	{                                                                                         \
		S(2, 0, 0, n, 5), RW, FIELD(dbgbcr[n]), "DBGBCR" #n "_EL1", 0xffe1e7, NULL,       \
			write_debug                                                               \
	}
/* DBGWCR: E, PAC, LSC, BAS, HMC, SSC, LBN, WT, MASK */
#define WATCHPOINT(n)                                                                             \
	{ S(2, 0, 0, n, 6), RW, FIELD(dbgwvr[n]), "DBGWVR" #n "_EL1", ~3ULL, NULL, write_debug }, \
	{                                                                                         \
		S(2, 0, 0, n, 7), RW, FIELD(dbgwcr[n]), "DBGWCR" #n "_EL1", 0x1f1fffff, NULL,     \
			write_debug                                                               \
	}

/* Sorted by encoding; a test checks that it is. */
static const struct a64_sysreg table[] = {
	STATE(S(2, 0, 0, 0, 2), RW, osdtrrx_el1, "OSDTRRX_EL1"),
	BREAKPOINT(0),
	WATCHPOINT(0),
	BREAKPOINT(1),
	WATCHPOINT(1),
	MASKED(S(2, 0, 0, 2, 0), RW, mdccint_el1, "MDCCINT_EL1", BIT(30) | BIT(29)),
	/* SS, TDCC, KDE, MDE */
	{ S(2, 0, 0, 2, 2), RW, FIELD(mdscr_el1), "MDSCR_EL1", BIT(0) | BIT(12) | BIT(13) | BIT(15),
	  NULL, write_debug },
	BREAKPOINT(2),
	WATCHPOINT(2),
	STATE(S(2, 0, 0, 3, 2), RW, osdtrtx_el1, "OSDTRTX_EL1"),
	BREAKPOINT(3),
	WATCHPOINT(3),
	BREAKPOINT(4),
	BREAKPOINT(5),
	STATE(S(2, 0, 0, 6, 2), RW, oseccr_el1, "OSECCR_EL1"),
	CONST(S(2, 0, 1, 0, 0), R, "MDRAR_EL1", 0),
	FUNC(S(2, 0, 1, 0, 4), A64_W1, "OSLAR_EL1", NULL, write_oslar),
	FUNC(S(2, 0, 1, 1, 4), R, "OSLSR_EL1", read_oslsr, NULL),
	MASKED(S(2, 0, 1, 3, 4), RW, osdlr_el1, "OSDLR_EL1", 1),
	CONST(S(2, 0, 1, 4, 4), RW, "DBGPRCR_EL1", 0),
	{ S(2, 0, 7, 8, 6), RW, A64_NO_STATE, "DBGCLAIMSET_EL1", 0xff, NULL, write_claimset },
	SPECIAL(S(2, 0, 7, 9, 6), dbgclaim, "DBGCLAIMCLR_EL1", write_claimclr),
	CONST(S(2, 0, 7, 14, 6), R, "DBGAUTHSTATUS_EL1", 0),
	CONST(S(2, 3, 0, 1, 0), R, "MDCCSR_EL0", 0),
	CONST(S(2, 3, 0, 4, 0), RW, "DBGDTR_EL0", 0),
	CONST(S(2, 3, 0, 5, 0), RW, "DBGDTRRX_EL0", 0),

	/* Implementer 0 is reserved for software (D17.2.97); architecture by ID registers. */
	CONST(S(3, 0, 0, 0, 0), R, "MIDR_EL1", 0x000f4b00),
	FUNC(S(3, 0, 0, 0, 5), R, "MPIDR_EL1", read_mpidr, NULL),
	CONST(S(3, 0, 0, 0, 6), R, "REVIDR_EL1", 0),
	/* EL0 and EL1 AArch64 only; FP and AdvSIMD without FP16; GIC system registers;
	 * CSV2, CSV3 */
	ID(4, 0, "ID_AA64PFR0_EL1", 0x11 | 1ULL << 24 | 1ULL << 56 | 1ULL << 60),
	/* Armv8 debug, 6 breakpoints, 4 watchpoints, 2 of the former context-aware; no PMU, no
	   trace */
	ID(5, 0, "ID_AA64DFR0_EL1",
	   0x6 | (A64_N_BRPS - 1) << 12 | (A64_N_WRPS - 1) << 20 | (A64_N_CTX_BRPS - 1) << 28),
	/* AES and PMULL, SHA1, SHA256, CRC32, LSE, RDM, DotProd, FlagM, TLBI ranges, RNDR */
	ID(6, 0, "ID_AA64ISAR0_EL1",
	   2ULL << 4 | 1ULL << 8 | 1ULL << 12 | 1ULL << 16 | 2ULL << 20 | 1ULL << 28 | 1ULL << 44 |
		   1ULL << 52 | 2ULL << 56 | 1ULL << 60),
	ID(6, 1, "ID_AA64ISAR1_EL1", 1ULL << 20), /* LRCPC */
	/* 40-bit PA, 16-bit ASID; granules: 4 KiB only (64 KiB: 15 means no) */
	ID(7, 0, "ID_AA64MMFR0_EL1", 2ULL | 2ULL << 4 | 15ULL << 24),
	ID(7, 1, "ID_AA64MMFR1_EL1", 2ULL | 1ULL << 20), /* HAFDBS with dirty state, PAN */
	/* E0PD: with it, Linux need not unmap itself from EL0 to hide its random address */
	ID(7, 2, "ID_AA64MMFR2_EL1", 1ULL << 60),
	SPECIAL(S(3, 0, 1, 0, 0), sctlr_el1, "SCTLR_EL1", write_sctlr),
	MASKED(S(3, 0, 1, 0, 1), RW, actlr_el1, "ACTLR_EL1", 0),
	SPECIAL(S(3, 0, 1, 0, 2), cpacr_el1, "CPACR_EL1", write_cpacr),
	SPECIAL(S(3, 0, 2, 0, 0), ttbr0_el1, "TTBR0_EL1", write_ttbr),
	SPECIAL(S(3, 0, 2, 0, 1), ttbr1_el1, "TTBR1_EL1", write_ttbr),
	SPECIAL(S(3, 0, 2, 0, 2), tcr_el1, "TCR_EL1", write_tcr),
	STATE(S(3, 0, 4, 0, 0), RW, spsr_el1, "SPSR_EL1"),
	STATE(S(3, 0, 4, 0, 1), RW, elr_el1, "ELR_EL1"),
	FUNC(S(3, 0, 4, 1, 0), RW, "SP_EL0", read_sp_el0, write_sp_el0),
	FUNC(S(3, 0, 4, 2, 0), RW, "SPSel", read_spsel, write_spsel),
	FUNC(S(3, 0, 4, 2, 2), R, "CurrentEL", read_currentel, NULL),
	FUNC(S(3, 0, 4, 2, 3), RW, "PAN", read_pan, write_pan),
	MASKED(S(3, 0, 5, 1, 0), RW, afsr0_el1, "AFSR0_EL1", 0),
	MASKED(S(3, 0, 5, 1, 1), RW, afsr1_el1, "AFSR1_EL1", 0),
	MASKED(S(3, 0, 5, 2, 0), RW, esr_el1, "ESR_EL1", BIT(37) - 1),
	STATE(S(3, 0, 6, 0, 0), RW, far_el1, "FAR_EL1"),
	STATE(S(3, 0, 7, 4, 0), RW, par_el1, "PAR_EL1"),
	SPECIAL(S(3, 0, 10, 2, 0), mair_el1, "MAIR_EL1", write_mair),
	MASKED(S(3, 0, 10, 3, 0), RW, amair_el1, "AMAIR_EL1", 0),
	MASKED(S(3, 0, 12, 0, 0), RW, vbar_el1, "VBAR_EL1", ~0x7ffULL),
	CONST(S(3, 0, 12, 0, 1), R, "RVBAR_EL1", 0),
	FUNC(S(3, 0, 12, 1, 0), R | A64_SHOWN, "ISR_EL1", read_isr, NULL),
	MASKED(S(3, 0, 13, 0, 1), RW, contextidr_el1, "CONTEXTIDR_EL1", 0xffffffff),
	STATE(S(3, 0, 13, 0, 4), RW, tpidr_el1, "TPIDR_EL1"),
	MASKED(S(3, 0, 14, 1, 0), RW, cntkctl_el1, "CNTKCTL_EL1", 0x3ff),
	FUNC(S(3, 1, 0, 0, 0), R, "CCSIDR_EL1", read_ccsidr, NULL),
	/* L1 split, L2 unified; coherence is to L2, and none is needed for instructions */
	CONST(S(3, 1, 0, 0, 1), R, "CLIDR_EL1", 3 | 4 << 3 | 2 << 24),
	CONST(S(3, 1, 0, 0, 7), R, "AIDR_EL1", 0),
	MASKED(S(3, 2, 0, 0, 0), RW, csselr_el1, "CSSELR_EL1", 0xf),
	/* PIPT, lines of 64; DIC and IDC: stores to code are seen without cache maintenance */
	CONST(S(3, 3, 0, 0, 1), R | A64_C0, "CTR_EL0",
	      BIT(31) | BIT(29) | BIT(28) | 4 << 24 | 4 << 20 | 4 << 16 | 3 << 14 | 4),
	FUNC(S(3, 3, 0, 0, 7), R | A64_R0, "DCZID_EL0", read_dczid, NULL),
	FUNC(S(3, 3, 2, 4, 0), R | A64_R0, "RNDR", read_rndr, NULL),
	FUNC(S(3, 3, 2, 4, 1), R | A64_R0, "RNDRRS", read_rndr, NULL),
	FUNC(S(3, 3, 4, 2, 0), RW0, "NZCV", read_nzcv, write_nzcv),
	FUNC(S(3, 3, 4, 2, 1), RW | A64_C0, "DAIF", read_daif, write_daif),
	FUNC(S(3, 3, 4, 4, 0), RW0, "FPCR", read_fpcr, write_fpcr),
	FUNC(S(3, 3, 4, 4, 1), RW0, "FPSR", read_fpsr, write_fpsr),
	STATE(S(3, 3, 13, 0, 2), RW0, tpidr_el0, "TPIDR_EL0"),
	STATE(S(3, 3, 13, 0, 3), RW | A64_R0, tpidrro_el0, "TPIDRRO_EL0"),
	FUNC(S(3, 3, 14, 0, 0), RW | A64_R0, "CNTFRQ_EL0", read_cntfrq, write_cntfrq),
	FUNC(S(3, 3, 14, 0, 1), R | A64_R0, "CNTPCT_EL0", read_cntpct, NULL),
	FUNC(S(3, 3, 14, 0, 2), R | A64_R0 | A64_SHOWN, "CNTVCT_EL0", read_cntvct, NULL),
	FUNC(S(3, 3, 14, 2, 0), RW0, "CNTP_TVAL_EL0", read_cntp_tval, write_cntp_tval),
	FUNC(S(3, 3, 14, 2, 1), RW0 | A64_SHOWN, "CNTP_CTL_EL0", read_cntp_ctl, write_cntp_ctl),
	FUNC(S(3, 3, 14, 2, 2), RW0 | A64_SHOWN, "CNTP_CVAL_EL0", read_cntp_cval, write_cntp_cval),
	FUNC(S(3, 3, 14, 3, 0), RW0, "CNTV_TVAL_EL0", read_cntv_tval, write_cntv_tval),
	FUNC(S(3, 3, 14, 3, 1), RW0 | A64_SHOWN, "CNTV_CTL_EL0", read_cntv_ctl, write_cntv_ctl),
	FUNC(S(3, 3, 14, 3, 2), RW0 | A64_SHOWN, "CNTV_CVAL_EL0", read_cntv_cval, write_cntv_cval),
};

/* Identification space that says nothing reads as zero (D17.1.3: op0 3, op1 0, CRn 0, CRm 1..7). */
static const struct a64_sysreg id_zero = CONST(0, R, "ID_*", 0);

const struct a64_sysreg *a64_sysreg_table(unsigned *count)
{
	*count = ARRAY_SIZE(table);
	return table;
}

const struct a64_sysreg *a64_sysreg_find(unsigned encoding)
{
	size_t lo = 0, hi = ARRAY_SIZE(table);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (table[mid].encoding == encoding)
			return &table[mid];
		if (table[mid].encoding < encoding)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (encoding >= S(3, 0, 0, 1, 0) && encoding <= S(3, 0, 0, 7, 7))
		return &id_zero;
	return NULL;
}

/* Trapped access: the instruction's fields as ISS has them (D17.2.37, MSR, MRS or System). */
uint32_t a64_sysreg_iss(uint32_t w)
{
	return (uint32_t)(bits(w, 20, 19) << 20 | bits(w, 7, 5) << 17 | bits(w, 18, 16) << 14 |
			  bits(w, 15, 12) << 10 | bits(w, 4, 0) << 5 | bits(w, 11, 8) << 1 |
			  bit(w, 21));
}

/* May this access be made now? Raises the exception if not. */
static void check_access(struct a64_cpu *c, reg_t r, uint32_t w, bool write)
{
	unsigned need = c->el ? (write ? A64_W1 : A64_R1) : (write ? A64_W0 : A64_R0);
	if (r->access & need)
		return;
	if (c->el == 0 && (r->access & A64_C0) && (!write || r->write)) {
		/* CTR_EL0 under UCT, DAIF under UMA */
		unsigned control = r->write ? SCTLR_UMA : SCTLR_UCT;
		if (bit(c->sys.sctlr_el1, control))
			return;
		a64_raise(c, A64_EC_SYSREG, a64_sysreg_iss(w));
	}
	a64_undefined(c);
}

uint64_t a64_sysreg_read(struct a64_cpu *c, const struct a64_sysreg *r, uint32_t w)
{
	check_access(c, r, w, false);
	if (r->read)
		return r->read(c, r);
	return r->offset == A64_NO_STATE ? r->value : *slot(c, r);
}

void a64_sysreg_write(struct a64_cpu *c, const struct a64_sysreg *r, uint32_t w, uint64_t v)
{
	check_access(c, r, w, true);
	if (r->write)
		r->write(c, r, v);
	else if (r->offset != A64_NO_STATE)
		*slot(c, r) = v & r->value;
}

void a64_sysreg_reset(struct a64_cpu *c)
{
	memset(&c->sys, 0, sizeof(c->sys));
	c->sys.sctlr_el1 = SCTLR_RES1 | BIT(23);
	c->sys.cntfrq = A64_CNTFRQ;
	c->sys.oslsr = BIT(1); /* the OS lock is set at reset */
}

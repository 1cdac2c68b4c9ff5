/* SPDX-License-Identifier: MIT */
/*
 * Executors of system instructions: exceptions, barriers, hints, PSTATE, system registers, and the
 * SYS space of cache, TLB and translation operations (DDI0487 C4.1.93, C5).
 */
#include "engine/soft/a64/alu.h"
#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/mmu.h"
#include "engine/soft/a64/sysreg.h"

#define EXEC(name)     void a64_exec_##name(struct a64_cpu *c, uint32_t w)
#define F(name, field) a64_##name##_##field(w)

enum { SCTLR_UMA = 9, SCTLR_DZE = 14, SCTLR_NTWI = 16, SCTLR_NTWE = 18, SCTLR_UCI = 26 };

/* ---- exceptions ---- */

EXEC(SVC)
{
	c->in_step = false; /* complete: what follows is the exception (D2.12.5) */
	a64_raise_at(c, A64_EC_SVC, F(SVC, imm16), c->pc);
}

/* The firmware is hako's: the call goes to the machine, execution goes on behind it. */
EXEC(HVC)
{
	(void)w;
	if (c->el == 0)
		a64_undefined(c);
	c->exit = VCPU_CALL;
	c->leave = true;
}

EXEC(BRK)
{
	a64_raise(c, A64_EC_BRK, F(BRK, imm16));
}

EXEC(ERET)
{
	(void)w;
	if (c->el == 0)
		a64_undefined(c);
	a64_eret(c);
}

/* ---- hints ---- */

EXEC(HINT)
{
	(void)c;
	(void)w;
}

EXEC(YIELD)
{
	(void)w;
	(void)c;
}

static void trap_wfx(struct a64_cpu *c, unsigned control, uint32_t ti)
{
	if (c->el == 0 && !bit(c->sys.sctlr_el1, control))
		a64_raise(c, A64_EC_WFX, 1u << 24 | 0xeu << 20 | ti);
}

/* The run loop sleeps: see run.c. Any interrupt that is signalled ends it, masked or not. */
EXEC(WFI)
{
	(void)w;
	trap_wfx(c, SCTLR_NTWI, 0);
	c->wait = A64_WAIT_INTERRUPT;
}

EXEC(WFE)
{
	(void)w;
	trap_wfx(c, SCTLR_NTWE, 1);
	if (atomic_exchange(&c->vcpu.events, 0))
		c->wfe_idle = 0;
	else
		c->wait = A64_WAIT_EVENT;
}

EXEC(SEV)
{
	(void)w;
	struct engine *e = c->vcpu.engine;
	for (unsigned i = 0; i < e->cfg.n_vcpus; i++) {
		if (e->vcpus[i] && !atomic_exchange(&e->vcpus[i]->events, 1))
			soft_attend(e->vcpus[i]);
	}
}

EXEC(SEVL)
{
	(void)w;
	atomic_store(&c->vcpu.events, 1);
}

/* ---- barriers ---- */

EXEC(DMB)
{
	(void)c;
	(void)w;
	atomic_thread_fence(memory_order_seq_cst);
}

EXEC(DSB)
{
	(void)w;
	atomic_thread_fence(memory_order_seq_cst);
	soft_dsb(&c->vcpu);
}

/* Decoded instructions may be stale until here: the run loop does what others asked
 * for (soft.h). */
EXEC(ISB)
{
	(void)c;
	(void)w;
}

/* ---- PSTATE ---- */

EXEC(MSR_PAN)
{
	if (c->el == 0)
		a64_undefined(c);
	c->pan = F(MSR_PAN, CRm) & 1;
	a64_state_changed(c);
}

EXEC(MSR_SPSel)
{
	if (c->el == 0)
		a64_undefined(c);
	a64_set_pstate(c, (a64_pstate(c) & ~1ULL) | (F(MSR_SPSel, CRm) & 1));
}

static void check_daif(struct a64_cpu *c, uint32_t w)
{
	if (c->el == 0 && !bit(c->sys.sctlr_el1, SCTLR_UMA))
		a64_raise(c, A64_EC_SYSREG, a64_sysreg_iss(w));
}

EXEC(MSR_DAIFSet)
{
	check_daif(c, w);
	c->daif |= F(MSR_DAIFSet, CRm) << 6;
}

EXEC(MSR_DAIFClr)
{
	check_daif(c, w);
	c->daif &= ~(F(MSR_DAIFClr, CRm) << 6);
	a64_check_interrupts(c);
}

/* ---- system registers ---- */

/* The GIC's CPU interface: ICC_PMR_EL1, and op1 0, CRn 12, CRm 8 and up (IHI 0069, 12.2) */
static bool is_icc(unsigned encoding)
{
	return encoding == A64_SYSREG(3, 0, 4, 6, 0) ||
	       (encoding >= A64_SYSREG(3, 0, 12, 8, 0) && encoding <= A64_SYSREG(3, 0, 12, 15, 7));
}

EXEC(MRS)
{
	unsigned encoding = (unsigned)bits(w, 20, 5);
	const struct a64_sysreg *r = a64_sysreg_find(encoding);
	uint64_t v;
	if (r)
		v = a64_sysreg_read(c, r, w);
	else if (!is_icc(encoding) || c->el == 0 || !c->vcpu.wiring.icc ||
		 c->vcpu.wiring.icc->read(c->vcpu.wiring.icc_dev, c->vcpu.index, encoding, &v))
		a64_undefined(c);
	a64_xw(c, F(MRS, Rt), v);
}

EXEC(MSR)
{
	unsigned encoding = (unsigned)bits(w, 20, 5);
	const struct a64_sysreg *r = a64_sysreg_find(encoding);
	uint64_t v = a64_xr(c, F(MSR, Rt));
	if (r)
		a64_sysreg_write(c, r, w, v);
	else if (!is_icc(encoding) || c->el == 0 || !c->vcpu.wiring.icc ||
		 c->vcpu.wiring.icc->write(c->vcpu.wiring.icc_dev, c->vcpu.index, encoding, v))
		a64_undefined(c);
}

/* ---- SYS: caches, translation, TLB ---- */

enum sys_kind {
	SYS_NOP,
	SYS_DC_ZVA,
	SYS_DC_VA,
	SYS_IC_VA,
	SYS_IC_ALL,
	SYS_AT,
	SYS_TLBI,
	SYS_RTLBI
};
enum { EL0_UCI = 1, EL0_DZE = 2 };

struct sys_op {
	uint16_t encoding;
	const char *name;
	uint8_t kind;
	uint8_t el0;    /* the control that lets EL0 use it, or 0: EL1 only */
	uint8_t detail; /* AT: bit 0 write, bit 1 EL0; TLBI: kind | SHAREABLE */
};
enum { SHAREABLE = 0x80 };

#define S(op1, crn, crm, op2) A64_SYSREG(1, op1, crn, crm, op2)
#define TLBI_OPS(crm, suffix, flag)                                                      \
	{ S(0, 8, crm, 0), "VMALLE1" suffix, SYS_TLBI, 0, A64_TLBI_ALL | flag },         \
		{ S(0, 8, crm, 1), "VAE1" suffix, SYS_TLBI, 0, A64_TLBI_VA | flag },     \
		{ S(0, 8, crm, 2), "ASIDE1" suffix, SYS_TLBI, 0, A64_TLBI_ASID | flag }, \
		{ S(0, 8, crm, 3), "VAAE1" suffix, SYS_TLBI, 0, A64_TLBI_VAA | flag },   \
		{ S(0, 8, crm, 5), "VALE1" suffix, SYS_TLBI, 0, A64_TLBI_VA | flag },    \
	{                                                                                \
		S(0, 8, crm, 7), "VAALE1" suffix, SYS_TLBI, 0, A64_TLBI_VAA | flag       \
	}
#define RTLBI_OPS(crm, suffix, flag)                                                     \
	{ S(0, 8, crm, 1), "RVAE1" suffix, SYS_RTLBI, 0, A64_TLBI_VA | flag },           \
		{ S(0, 8, crm, 3), "RVAAE1" suffix, SYS_RTLBI, 0, A64_TLBI_VAA | flag }, \
		{ S(0, 8, crm, 5), "RVALE1" suffix, SYS_RTLBI, 0, A64_TLBI_VA | flag },  \
	{                                                                                \
		S(0, 8, crm, 7), "RVAALE1" suffix, SYS_RTLBI, 0, A64_TLBI_VAA | flag     \
	}

/* C5.3 to C5.5. Memory is coherent, so cleaning and invalidating data does nothing but fault. */
static const struct sys_op sys_ops[] = {
	{ S(0, 7, 1, 0), "IC IALLUIS", SYS_IC_ALL, 0, 0 },
	{ S(0, 7, 5, 0), "IC IALLU", SYS_IC_ALL, 0, 0 },
	{ S(3, 7, 5, 1), "IC IVAU", SYS_IC_VA, EL0_UCI, 0 },
	{ S(0, 7, 6, 1), "DC IVAC", SYS_DC_VA, 0, 0 },
	{ S(0, 7, 6, 2), "DC ISW", SYS_NOP, 0, 0 },
	{ S(0, 7, 10, 2), "DC CSW", SYS_NOP, 0, 0 },
	{ S(0, 7, 14, 2), "DC CISW", SYS_NOP, 0, 0 },
	{ S(3, 7, 4, 1), "DC ZVA", SYS_DC_ZVA, EL0_DZE, 0 },
	{ S(3, 7, 10, 1), "DC CVAC", SYS_DC_VA, EL0_UCI, 0 },
	{ S(3, 7, 11, 1), "DC CVAU", SYS_DC_VA, EL0_UCI, 0 },
	{ S(3, 7, 14, 1), "DC CIVAC", SYS_DC_VA, EL0_UCI, 0 },
	{ S(0, 7, 8, 0), "AT S1E1R", SYS_AT, 0, 0 },
	{ S(0, 7, 8, 1), "AT S1E1W", SYS_AT, 0, 1 },
	{ S(0, 7, 8, 2), "AT S1E0R", SYS_AT, 0, 2 },
	{ S(0, 7, 8, 3), "AT S1E0W", SYS_AT, 0, 3 },
	TLBI_OPS(7, "", 0),
	TLBI_OPS(3, "IS", SHAREABLE),
	TLBI_OPS(1, "OS", SHAREABLE),
	RTLBI_OPS(6, "", 0),
	RTLBI_OPS(2, "IS", SHAREABLE),
	RTLBI_OPS(5, "OS", SHAREABLE),
};

static const struct sys_op *sys_find(unsigned encoding)
{
	for (size_t i = 0; i < ARRAY_SIZE(sys_ops); i++)
		if (sys_ops[i].encoding == encoding)
			return &sys_ops[i];
	return NULL;
}

static void tlbi(struct a64_cpu *c, const struct sys_op *op, uint64_t v)
{
	struct a64_tlbi t = {
		.kind = op->detail & ~SHAREABLE,
		.asid = a64_asid(c, v),
		.va = (uint64_t)sign_extend(bits(v, 43, 0) << 12, 56),
		.pages = 1,
	};
	if (op->kind == SYS_RTLBI) {
		/* C5.5: BaseADDR, and (NUM + 1) << (5 * SCALE + 1) granules; another granule:
		 * nothing */
		if (bits(v, 47, 46) != 1)
			return;
		t.va = (uint64_t)sign_extend(bits(v, 36, 0) << 12, 49);
		t.pages = (bits(v, 43, 39) + 1) << (5 * bits(v, 45, 44) + 1);
	}
	a64_tlbi(c, &t, op->detail & SHAREABLE);
}

EXEC(SYS)
{
	const struct sys_op *op = sys_find((unsigned)bits(w, 20, 5));
	uint64_t v = a64_xr(c, F(SYS, Rt));
	if (!op || (c->el == 0 && !op->el0))
		a64_undefined(c);
	if (c->el == 0 && !bit(c->sys.sctlr_el1, op->el0 == EL0_DZE ? SCTLR_DZE : SCTLR_UCI))
		a64_raise(c, A64_EC_SYSREG, a64_sysreg_iss(w));
	switch ((enum sys_kind)op->kind) {
	case SYS_NOP:
	case SYS_IC_ALL: break; /* stores to code are tracked: nothing is ever stale */
	case SYS_DC_ZVA: a64_zero_block(c, v); break;
	case SYS_DC_VA: a64_probe_maintenance(c, v); break;
	case SYS_IC_VA: a64_ic_ivau(c, v); break;
	case SYS_AT: a64_at(c, v, op->detail & 2 ? 0 : 1, op->detail & 1, false); break;
	case SYS_TLBI:
	case SYS_RTLBI: tlbi(c, op, v); break;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Executors of the base set's loads and stores, exclusives and atomics included: base.insn,
 * C4.1.94.
 *
 * Order in each: address, memory (may fault), then registers and write-back, so that a fault
 * changes nothing.
 */
#include "engine/soft/a64/alu.h"
#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/mmu.h"
#include "engine/soft/cas16.h"

#define EXEC(name)     void a64_exec_##name(struct a64_cpu *c, uint32_t w)
#define F(name, field) a64_##name##_##field(w)

/* A base register; SP must be aligned when SCTLR_EL1 says so (D1.3.10.2, SP alignment checking). */
static uint64_t base(struct a64_cpu *c, unsigned rn)
{
	if (rn == 31 && (c->x[A64_SP] & c->sp_mask))
		a64_raise(c, A64_EC_SP_ALIGN, 0);
	return a64_xr_sp(c, rn);
}

/* Sign-extend a loaded value of 1 << size bytes to 64, or to 32 bits zero-extended. */
static uint64_t extend(uint64_t v, unsigned size, bool to32)
{
	v = (uint64_t)sign_extend(v, 8u << size);
	return to32 ? (uint32_t)v : v;
}

/* ---- literal ---- */

static uint64_t literal(const struct a64_cpu *c, uint32_t imm19)
{
	return a64_op_va(c, c->cur) + ((uint64_t)sign_extend(imm19, 19) << 2);
}

EXEC(LDR_lit)
{
	uint64_t v = a64_load(c, literal(c, F(LDR_lit, imm19)), F(LDR_lit, sf) ? 8 : 4);
	a64_xw(c, F(LDR_lit, Rt), v);
}

EXEC(LDRSW_lit)
{
	uint64_t v = a64_load(c, literal(c, F(LDRSW_lit, imm19)), 4);
	a64_xw(c, F(LDRSW_lit, Rt), extend(v, 2, false));
}

/* ---- prefetch: a hint ---- */

#define PREFETCH(name)   \
	EXEC(name)       \
	{                \
		(void)c; \
		(void)w; \
	}
PREFETCH(PRFM_lit)
PREFETCH(PRFM_imm)
PREFETCH(PRFM_reg)
PREFETCH(PRFUM)

/* ---- one register: address forms by name, then store, load, load signed ---- */

#define AT_UIMM(name) base(c, F(name, Rn)) + ((uint64_t)F(name, imm12) << F(name, size))
#define AT_SIMM(name) base(c, F(name, Rn)) + (uint64_t)sign_extend(F(name, imm9), 9)
#define AT_POST(name) base(c, F(name, Rn))
#define AT_REG(name)                                                               \
	base(c, F(name, Rn)) + a64_extend(a64_xr(c, F(name, Rm)), F(name, option), \
					  F(name, S) ? F(name, size) : 0)
#define NO_WB(name)
#define WB_PRE(name)  a64_xw_sp(c, F(name, Rn), va);
#define WB_POST(name) a64_xw_sp(c, F(name, Rn), va + (uint64_t)sign_extend(F(name, imm9), 9));

#define STORE(name, at, wb)                                                    \
	EXEC(name)                                                             \
	{                                                                      \
		uint64_t va = at(name);                                        \
		a64_store(c, va, 1u << F(name, size), a64_xr(c, F(name, Rt))); \
		wb(name)                                                       \
	}
#define LOAD(name, at, wb)                                         \
	EXEC(name)                                                 \
	{                                                          \
		uint64_t va = at(name);                            \
		uint64_t v = a64_load(c, va, 1u << F(name, size)); \
		wb(name) a64_xw(c, F(name, Rt), v);                \
	}
#define LOADS(name, at, wb)                                                            \
	EXEC(name)                                                                     \
	{                                                                              \
		uint64_t va = at(name);                                                \
		uint64_t v = a64_load(c, va, 1u << F(name, size));                     \
		wb(name) a64_xw(c, F(name, Rt), extend(v, F(name, size), F(name, w))); \
	}
STORE(STR_imm, AT_UIMM, NO_WB)
LOAD(LDR_imm, AT_UIMM, NO_WB)
LOADS(LDRS_imm, AT_UIMM, NO_WB)
STORE(STUR, AT_SIMM, NO_WB)
LOAD(LDUR, AT_SIMM, NO_WB)
LOADS(LDURS, AT_SIMM, NO_WB)
STORE(STR_post, AT_POST, WB_POST)
LOAD(LDR_post, AT_POST, WB_POST)
LOADS(LDRS_post, AT_POST, WB_POST)
STORE(STR_pre, AT_SIMM, WB_PRE)
LOAD(LDR_pre, AT_SIMM, WB_PRE)
LOADS(LDRS_pre, AT_SIMM, WB_PRE)
STORE(STR_reg, AT_REG, NO_WB)
LOAD(LDR_reg, AT_REG, NO_WB)
LOADS(LDRS_reg, AT_REG, NO_WB)

/* Unprivileged: as EL0 would access it, at EL1 (C3.2.5) */
EXEC(STTR)
{
	uint64_t va = AT_SIMM(STTR);
	a64_store_in(c, a64_unpriv_tlb(c), va, 1u << F(STTR, size), a64_xr(c, F(STTR, Rt)));
}

EXEC(LDTR)
{
	uint64_t va = AT_SIMM(LDTR);
	a64_xw(c, F(LDTR, Rt), a64_load_in(c, a64_unpriv_tlb(c), va, 1u << F(LDTR, size)));
}

EXEC(LDTRS)
{
	uint64_t va = AT_SIMM(LDTRS);
	uint64_t v = a64_load_in(c, a64_unpriv_tlb(c), va, 1u << F(LDTRS, size));
	a64_xw(c, F(LDTRS, Rt), extend(v, F(LDTRS, size), F(LDTRS, w)));
}

/* ---- pairs ---- */

struct pair {
	uint64_t va, wb;
	bool writeback;
};

static struct pair pair_address(struct a64_cpu *c, unsigned mode, unsigned rn, unsigned imm7,
				unsigned scale)
{
	uint64_t b = base(c, rn);
	uint64_t off = b + ((uint64_t)sign_extend(imm7, 7) << scale);
	return (struct pair){ .va = mode == 1 ? b : off, .wb = off, .writeback = mode & 1 };
}

EXEC(STP)
{
	bool sf = F(STP, sf);
	struct pair p = pair_address(c, F(STP, mode), F(STP, Rn), F(STP, imm7), sf ? 3 : 2);
	uint64_t a = a64_xr(c, F(STP, Rt)), b = a64_xr(c, F(STP, Rt2));
	if (sf) {
		uint64_t both[2] = { a, b };
		a64_st(c, p.va, both, 16, 8);
	} else {
		uint32_t both[2] = { (uint32_t)a, (uint32_t)b };
		a64_st(c, p.va, both, 8, 4);
	}
	if (p.writeback)
		a64_xw_sp(c, F(STP, Rn), p.wb);
}

EXEC(LDP)
{
	bool sf = F(LDP, sf);
	struct pair p = pair_address(c, F(LDP, mode), F(LDP, Rn), F(LDP, imm7), sf ? 3 : 2);
	uint64_t a, b;
	if (sf) {
		uint64_t both[2];
		a64_ld(c, p.va, both, 16, 8);
		a = both[0];
		b = both[1];
	} else {
		uint32_t both[2];
		a64_ld(c, p.va, both, 8, 4);
		a = both[0];
		b = both[1];
	}
	if (p.writeback)
		a64_xw_sp(c, F(LDP, Rn), p.wb);
	a64_xw(c, F(LDP, Rt), a);
	a64_xw(c, F(LDP, Rt2), b);
}

EXEC(LDPSW)
{
	struct pair p = pair_address(c, F(LDPSW, mode), F(LDPSW, Rn), F(LDPSW, imm7), 2);
	uint32_t both[2];
	a64_ld(c, p.va, both, 8, 4);
	if (p.writeback)
		a64_xw_sp(c, F(LDPSW, Rn), p.wb);
	a64_xw(c, F(LDPSW, Rt), extend(both[0], 2, false));
	a64_xw(c, F(LDPSW, Rt2), extend(both[1], 2, false));
}

/* ---- ordered ---- */

/*
 * Hosts are x86-64 (TSO) or AArch64. A sequentially consistent store followed by any later
 * sequentially consistent or acquire load stays in order, which is what STLR before LDAR needs.
 */
static void ordered_check(struct a64_cpu *c, uint64_t va, unsigned size, bool write)
{
	if (va & (size - 1))
		a64_data_abort(c, va, A64_FSC_ALIGNMENT, write ? A64_ISS_WNR : 0);
}

EXEC(STLR)
{
	uint64_t va = base(c, F(STLR, Rn));
	unsigned size = 1u << F(STLR, size);
	ordered_check(c, va, size, true);
	atomic_thread_fence(memory_order_release);
	a64_store(c, va, size, a64_xr(c, F(STLR, Rt)));
	atomic_thread_fence(memory_order_seq_cst);
}

#define LOAD_ACQUIRE(name)                                 \
	EXEC(name)                                         \
	{                                                  \
		uint64_t va = base(c, F(name, Rn));        \
		unsigned size = 1u << F(name, size);       \
		ordered_check(c, va, size, false);         \
		uint64_t v = a64_load(c, va, size);        \
		atomic_thread_fence(memory_order_acquire); \
		a64_xw(c, F(name, Rt), v);                 \
	}
LOAD_ACQUIRE(LDAR)
LOAD_ACQUIRE(LDAPR)

/* ---- atomic memory operations ---- */

enum rmw { RMW_ADD, RMW_CLR, RMW_EOR, RMW_SET, RMW_SMAX, RMW_SMIN, RMW_UMAX, RMW_UMIN, RMW_SWP };

static uint64_t combine(enum rmw op, unsigned size, uint64_t m, uint64_t s)
{
	unsigned n = 8 * size;
	int64_t sm = sign_extend(m, n), ss = sign_extend(s, n);
	s &= mask_low(n);
	switch (op) {
	case RMW_ADD: return m + s;
	case RMW_CLR: return m & ~s;
	case RMW_EOR: return m ^ s;
	case RMW_SET: return m | s;
	case RMW_SMAX: return sm > ss ? m : s;
	case RMW_SMIN: return sm < ss ? m : s;
	case RMW_UMAX: return m > s ? m : s;
	case RMW_UMIN: return m < s ? m : s;
	default: return s;
	}
}

static void read_modify_write(struct a64_cpu *c, enum rmw op, unsigned size, unsigned rs,
			      unsigned rn, unsigned rt)
{
	gpa_t gpa;
	void *p = a64_atomic_host(c, base(c, rn), size, A64_READ_MODIFY_WRITE, &gpa);
	uint64_t s = a64_xr(c, rs), old = soft_atomic_load(p, size);
	while (!soft_compare_swap(p, size, &old, combine(op, size, old, s)))
		;
	a64_atomic_done(c, gpa, size);
	a64_xw(c, rt, old);
}

#define RMW(name, op)                                                                   \
	EXEC(name)                                                                      \
	{                                                                               \
		read_modify_write(c, op, 1u << F(name, size), F(name, Rs), F(name, Rn), \
				  F(name, Rt));                                         \
	}
RMW(LDADD, RMW_ADD)
RMW(LDCLR, RMW_CLR)
RMW(LDEOR, RMW_EOR)
RMW(LDSET, RMW_SET)
RMW(LDSMAX, RMW_SMAX)
RMW(LDSMIN, RMW_SMIN)
RMW(LDUMAX, RMW_UMAX)
RMW(LDUMIN, RMW_UMIN)
RMW(SWP, RMW_SWP)

EXEC(CAS)
{
	unsigned size = 1u << F(CAS, size);
	gpa_t gpa;
	void *p = a64_atomic_host(c, base(c, F(CAS, Rn)), size, A64_READ_MODIFY_WRITE, &gpa);
	uint64_t old = a64_xr(c, F(CAS, Rs)) & mask_low(8 * size);
	if (soft_compare_swap(p, size, &old, a64_xr(c, F(CAS, Rt))))
		a64_atomic_done(c, gpa, size);
	a64_xw(c, F(CAS, Rs), old);
}

EXEC(CASP)
{
	unsigned rs = F(CASP, Rs), rt = F(CASP, Rt);
	gpa_t gpa;
	if (F(CASP, sz)) {
		void *p = a64_atomic_host(c, base(c, F(CASP, Rn)), 16, A64_READ_MODIFY_WRITE, &gpa);
		uint64_t old[2] = { a64_xr(c, rs), a64_xr(c, rs + 1) };
		uint64_t new[2] = { a64_xr(c, rt), a64_xr(c, rt + 1) };
		if (soft_compare_swap16(c->vcpu.engine, p, old, new))
			a64_atomic_done(c, gpa, 16);
		a64_xw(c, rs, old[0]);
		a64_xw(c, rs + 1, old[1]);
	} else {
		void *p = a64_atomic_host(c, base(c, F(CASP, Rn)), 8, A64_READ_MODIFY_WRITE, &gpa);
		uint64_t old = a64_xr(c, rs + 1) << 32 | (uint32_t)a64_xr(c, rs);
		uint64_t new = a64_xr(c, rt + 1) << 32 | (uint32_t)a64_xr(c, rt);
		if (soft_compare_swap(p, 8, &old, new))
			a64_atomic_done(c, gpa, 8);
		a64_xw(c, rs, (uint32_t)old);
		a64_xw(c, rs + 1, old >> 32);
	}
}

/* ---- exclusives ---- */

/*
 * The monitor remembers address, size and the value that was read; the store succeeds when memory
 * still holds that value. (A value that changed and changed back is not noticed; no lock or counter
 * built on exclusives can tell, since its success depends on nothing but the value.)
 */
static void monitor(struct a64_cpu *c, uint64_t va, unsigned size, uint64_t lo, uint64_t hi)
{
	c->excl_valid = true;
	c->excl_va = va;
	c->excl_size = (uint8_t)size;
	c->excl_lo = lo;
	c->excl_hi = hi;
}

static bool monitored(struct a64_cpu *c, uint64_t va, unsigned size)
{
	bool ok = c->excl_valid && c->excl_va == va && c->excl_size == size;
	c->excl_valid = false;
	return ok;
}

EXEC(LDXR)
{
	uint64_t va = base(c, F(LDXR, Rn));
	unsigned size = 1u << F(LDXR, size);
	gpa_t gpa;
	uint64_t v = soft_atomic_load(a64_atomic_host(c, va, size, A64_LOAD_EXCLUSIVE, &gpa), size);
	monitor(c, va, size, v, 0);
	a64_xw(c, F(LDXR, Rt), v);
}

EXEC(STXR)
{
	uint64_t va = base(c, F(STXR, Rn));
	unsigned size = 1u << F(STXR, size);
	gpa_t gpa;
	/* The faults of a store come first, whatever the monitor says. */
	void *p = a64_atomic_host(c, va, size, A64_STORE_EXCLUSIVE, &gpa);
	uint64_t old = c->excl_lo;
	bool ok =
		monitored(c, va, size) && soft_compare_swap(p, size, &old, a64_xr(c, F(STXR, Rt)));
	if (ok)
		a64_atomic_done(c, gpa, size);
	a64_xw(c, F(STXR, Rs), !ok);
}

EXEC(LDXP)
{
	uint64_t va = base(c, F(LDXP, Rn));
	unsigned size = F(LDXP, sz) ? 16 : 8;
	gpa_t gpa;
	void *p = a64_atomic_host(c, va, size, A64_LOAD_EXCLUSIVE, &gpa);
	if (size == 16) {
		/*
		 * Two loads: the pair need not be read as one, but must be when STXP succeeds, and
		 * that compares both (B2.9.5).
		 */
		uint64_t lo = soft_atomic_load(p, 8);
		uint64_t hi = soft_atomic_load((uint8_t *)p + 8, 8);
		monitor(c, va, size, lo, hi);
		a64_xw(c, F(LDXP, Rt), lo);
		a64_xw(c, F(LDXP, Rt2), hi);
	} else {
		uint64_t v = soft_atomic_load(p, 8);
		monitor(c, va, size, v, 0);
		a64_xw(c, F(LDXP, Rt), (uint32_t)v);
		a64_xw(c, F(LDXP, Rt2), v >> 32);
	}
}

EXEC(STXP)
{
	uint64_t va = base(c, F(STXP, Rn));
	unsigned size = F(STXP, sz) ? 16 : 8;
	uint64_t a = a64_xr(c, F(STXP, Rt)), b = a64_xr(c, F(STXP, Rt2));
	gpa_t gpa;
	void *p = a64_atomic_host(c, va, size, A64_STORE_EXCLUSIVE, &gpa);
	bool ok;
	if (size == 16) {
		uint64_t old[2] = { c->excl_lo, c->excl_hi }, new[2] = { a, b };
		ok = monitored(c, va, size) && soft_compare_swap16(c->vcpu.engine, p, old, new);
	} else {
		uint64_t old = c->excl_lo;
		ok = monitored(c, va, size) && soft_compare_swap(p, 8, &old, b << 32 | (uint32_t)a);
	}
	if (ok)
		a64_atomic_done(c, gpa, size);
	a64_xw(c, F(STXP, Rs), !ok);
}

EXEC(CLREX)
{
	(void)w;
	c->excl_valid = false;
}

/* SPDX-License-Identifier: MIT */
/*
 * The handlers of the RISC-V interpreter and the executors, for RV32 and RV64; dispatch.inc says
 * how one goes on to the next. Numbers of sections are those of volume I (cpu.h).
 */
#include "engine/soft/rv/interp.h"

#include "engine/soft/access.h"
#include "engine/soft/fp.h"
#include "engine/soft/rv/rvc.h"

/* ---- what executors use ---- */

static uint64_t pc_of(const struct rv_cpu *c)
{
	return rv_op_va(c, c->cur);
}

static void rv_xw(struct rv_cpu *c, unsigned rd, uint64_t v)
{
	c->x[rd ? rd : RV_SINK] = v;
}

static uint64_t rv_load(struct rv_cpu *c, uint64_t va, unsigned size)
{
	const struct tlb_entry *e = tlb_d(c->tlb, va);
	if (likely(((va + size - 1) & TLB_PAGE_MASK) == e->r))
		return soft_load((const void *)(uintptr_t)(va + e->addend), size);
	return rv_load_slow(c, va, size);
}

static void rv_store(struct rv_cpu *c, uint64_t va, unsigned size, uint64_t v)
{
	const struct tlb_entry *e = tlb_d(c->tlb, va);
	if (likely(((va + size - 1) & TLB_PAGE_MASK) == e->w))
		soft_store((void *)(uintptr_t)(va + e->addend), size, v);
	else
		rv_store_slow(c, va, size, v);
}

/* ---- floating point: AArch64's library, in RISC-V's terms ---- */

static void f_write64(struct rv_cpu *c, unsigned rd, uint64_t v)
{
	c->f[rd] = v;
	c->csr.mstatus |= RV_FS;
}

/* Single precision is NaN-boxed; what is not is read as the canonical NaN (22.2). */
static void f_write32(struct rv_cpu *c, unsigned rd, uint32_t v)
{
	f_write64(c, rd, 0xffffffff00000000ULL | v);
}
static uint32_t f_read32(const struct rv_cpu *c, unsigned rs)
{
	return c->f[rs] >> 32 == 0xffffffff ? (uint32_t)c->f[rs] : 0x7fc00000;
}

/* The environment of one instruction with rounding mode field `rm` (21.2). */
static struct fpenv f_env(struct rv_cpu *c, unsigned rm, uint32_t *flags)
{
	static const uint32_t fpcr[] = {
		FP_RN << FPCR_RMODE_SHIFT,
		FP_RZ << FPCR_RMODE_SHIFT,
		FP_RM << FPCR_RMODE_SHIFT,
		FP_RP << FPCR_RMODE_SHIFT,
		FP_RISCV_RMM,
	};
	if (rm == 7)
		rm = c->frm;
	if (rm > 4)
		rv_illegal(c);
	/* With NX set already the library may use the host's arithmetic; NX only accumulates. */
	*flags = c->fflags & 1 ? FPSR_IXC : 0;
	return (struct fpenv){ fpcr[rm] | FPCR_DN | FP_RISCV_TINY_AFTER, flags };
}

static void f_flags(struct rv_cpu *c, uint32_t fpsr)
{
	uint32_t v = (fpsr & FPSR_IXC ? 1u : 0) | (fpsr & FPSR_UFC ? 2u : 0) |
		     (fpsr & FPSR_OFC ? 4u : 0) | (fpsr & FPSR_DZC ? 8u : 0) |
		     (fpsr & FPSR_IOC ? 16u : 0);
	if (v & ~c->fflags) {
		c->fflags |= v;
		c->csr.mstatus |= RV_FS;
	}
}

/* FCLASS: one of ten bits (21.9) */
static uint64_t f_class(uint64_t v, unsigned fraction_bits, unsigned exp_bits)
{
	bool sign = bit(v, fraction_bits + exp_bits);
	uint64_t exp = v >> fraction_bits & mask_low(exp_bits), frac = v & mask_low(fraction_bits);
	if (exp == mask_low(exp_bits))
		return frac ? (bit(frac, fraction_bits - 1) ? BIT(9) : BIT(8))
			    : (sign ? BIT(0) : BIT(7));
	if (exp == 0)
		return frac ? (sign ? BIT(2) : BIT(5)) : (sign ? BIT(3) : BIT(4));
	return sign ? BIT(1) : BIT(6);
}

/* Minimum and maximum: the number beats a NaN, even a signalling one; -0 is less than +0 (21.6). */
#define MINMAX(T, w, inf, quiet, canonical)                                                       \
	static bool f_nan##w(T v)                                                                 \
	{                                                                                         \
		return (T)(v << 1) > (T)(inf << 1);                                               \
	}                                                                                         \
	static T f_minmax##w(const struct fpenv *e, T a, T b, bool is_max)                        \
	{                                                                                         \
		bool na = f_nan##w(a), nb = f_nan##w(b);                                          \
		if (!na && !nb)                                                                   \
			return is_max ? fp##w##_max(e, a, b) : fp##w##_min(e, a, b);              \
		if ((na && !(a & quiet)) || (nb && !(b & quiet)))                                 \
			*e->fpsr |= FPSR_IOC;                                                     \
		return na ? (nb ? canonical : b) : a;                                             \
	}                                                                                         \
	/* Conversion to an integer: a NaN becomes the largest (21.7). */                         \
	static uint64_t f_to_int##w(const struct fpenv *e, T a, bool is_unsigned, unsigned width) \
	{                                                                                         \
		if (!f_nan##w(a))                                                                 \
			return fp##w##_to_fixed(e, a, 0, is_unsigned, fp_rmode(e), width);        \
		*e->fpsr |= FPSR_IOC;                                                             \
		return mask_low(is_unsigned ? width : width - 1);                                 \
	}
MINMAX(uint32_t, 32, 0x7f800000u, BIT(22), 0x7fc00000u)
MINMAX(uint64_t, 64, 0x7ff0000000000000ULL, BIT(51), 0x7ff8000000000000ULL)

/* ---- executors and handlers, for each width ---- */

#define XLEN         64
#define XLEN_NAME(n) rv64_##n
#include "engine/soft/rv/exec.inc"
#include "engine/soft/rv/handlers.inc"
#undef XLEN
#undef XLEN_NAME
#define XLEN         32
#define XLEN_NAME(n) rv32_##n
#include "engine/soft/rv/exec.inc"
#include "engine/soft/rv/handlers.inc"

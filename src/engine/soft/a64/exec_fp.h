/* SPDX-License-Identifier: MIT */
/*
 * What the executors of scalar and of vector floating point share: the library of fp.h, completed
 * so that each instruction is one function of element values, fp32_NAME() and fp64_NAME(), with the
 * environment first. FMLA and its kind take the accumulator before the factors.
 */
#ifndef HAKO_ENGINE_SOFT_A64_EXEC_FP_H
#define HAKO_ENGINE_SOFT_A64_EXEC_FP_H

#include "engine/soft/a64/cpu.h"
#include "engine/soft/a64/exec.h"
#include "engine/soft/fp.h"

static inline struct fpenv fp_env(struct a64_cpu *c)
{
	return (struct fpenv){ c->fpcr, &c->fpsr };
}

/* A scalar result: the rest of the register is zero. */
static inline void fp32_set(struct a64_cpu *c, unsigned d, uint32_t v)
{
	c->v[d] = (union a64_vreg){ .d = { v } };
}
static inline void fp64_set(struct a64_cpu *c, unsigned d, uint64_t v)
{
	c->v[d] = (union a64_vreg){ .d = { v } };
}

#define FP_UNARY(T, w, name, value)                                \
	static inline T fp##w##_##name(const struct fpenv *e, T n) \
	{                                                          \
		(void)e;                                           \
		return (T)(value);                                 \
	}
#define FP_BINARY(T, w, name, value)                                    \
	static inline T fp##w##_##name(const struct fpenv *e, T n, T m) \
	{                                                               \
		return (T)(value);                                      \
	}
#define FP_TERNARY(T, w, name, value)                                        \
	static inline T fp##w##_##name(const struct fpenv *e, T a, T n, T m) \
	{                                                                    \
		return (T)(value);                                           \
	}

#define FP_FIXED(T, w, name, value)                                                \
	static inline T fp##w##_##name(const struct fpenv *e, T n, unsigned fbits) \
	{                                                                          \
		return (T)(value);                                                 \
	}

/* clang-format off */
#define FP_ELEMENT_OPS(T, w)                                                                      \
	FP_UNARY(T, w, mov, n)                                                                    \
	FP_UNARY(T, w, neg, n ^ (T)1 << (w - 1))                                                  \
	FP_UNARY(T, w, abs, n & (T)-1 >> 1)                                                       \
	FP_UNARY(T, w, rintn, fp##w##_round_int(e, n, FP_RN, false))                              \
	FP_UNARY(T, w, rintp, fp##w##_round_int(e, n, FP_RP, false))                              \
	FP_UNARY(T, w, rintm, fp##w##_round_int(e, n, FP_RM, false))                              \
	FP_UNARY(T, w, rintz, fp##w##_round_int(e, n, FP_RZ, false))                              \
	FP_UNARY(T, w, rinta, fp##w##_round_int(e, n, FP_RA, false))                              \
	FP_UNARY(T, w, rintx, fp##w##_round_int(e, n, fp_rmode(e), true))                         \
	FP_UNARY(T, w, rinti, fp##w##_round_int(e, n, fp_rmode(e), false))                        \
	/* conversions to and from an integer of the same size */                                 \
	FP_UNARY(T, w, cvtns, fp##w##_to_fixed(e, n, 0, false, FP_RN, w))                         \
	FP_UNARY(T, w, cvtnu, fp##w##_to_fixed(e, n, 0, true, FP_RN, w))                          \
	FP_UNARY(T, w, cvtps, fp##w##_to_fixed(e, n, 0, false, FP_RP, w))                         \
	FP_UNARY(T, w, cvtpu, fp##w##_to_fixed(e, n, 0, true, FP_RP, w))                          \
	FP_UNARY(T, w, cvtms, fp##w##_to_fixed(e, n, 0, false, FP_RM, w))                         \
	FP_UNARY(T, w, cvtmu, fp##w##_to_fixed(e, n, 0, true, FP_RM, w))                          \
	FP_UNARY(T, w, cvtzs, fp##w##_to_fixed(e, n, 0, false, FP_RZ, w))                         \
	FP_UNARY(T, w, cvtzu, fp##w##_to_fixed(e, n, 0, true, FP_RZ, w))                          \
	FP_UNARY(T, w, cvtas, fp##w##_to_fixed(e, n, 0, false, FP_RA, w))                         \
	FP_UNARY(T, w, cvtau, fp##w##_to_fixed(e, n, 0, true, FP_RA, w))                          \
	FP_UNARY(T, w, scvtf, fp##w##_from_fixed(e, n, 0, false, fp_rmode(e), w))                 \
	FP_UNARY(T, w, ucvtf, fp##w##_from_fixed(e, n, 0, true, fp_rmode(e), w))                  \
	/* the same, fixed-point */                                                                \
	FP_FIXED(T, w, cvtzs_fixed, fp##w##_to_fixed(e, n, fbits, false, FP_RZ, w))               \
	FP_FIXED(T, w, cvtzu_fixed, fp##w##_to_fixed(e, n, fbits, true, FP_RZ, w))                \
	FP_FIXED(T, w, scvtf_fixed, fp##w##_from_fixed(e, n, fbits, false, fp_rmode(e), w))       \
	FP_FIXED(T, w, ucvtf_fixed, fp##w##_from_fixed(e, n, fbits, true, fp_rmode(e), w))        \
	/* comparisons: a mask */                                                                 \
	FP_BINARY(T, w, cmeq, fp##w##_eq(e, n, m) ? -1 : 0)                                       \
	FP_BINARY(T, w, cmge, fp##w##_ge(e, n, m) ? -1 : 0)                                       \
	FP_BINARY(T, w, cmgt, fp##w##_gt(e, n, m) ? -1 : 0)                                       \
	FP_BINARY(T, w, acge, fp##w##_cmge(e, fp##w##_abs(e, n), fp##w##_abs(e, m)))              \
	FP_BINARY(T, w, acgt, fp##w##_cmgt(e, fp##w##_abs(e, n), fp##w##_abs(e, m)))              \
	FP_UNARY(T, w, cmeqz, fp##w##_cmeq(e, n, 0))                                              \
	FP_UNARY(T, w, cmgez, fp##w##_cmge(e, n, 0))                                              \
	FP_UNARY(T, w, cmgtz, fp##w##_cmgt(e, n, 0))                                              \
	FP_UNARY(T, w, cmlez, fp##w##_cmge(e, 0, n))                                              \
	FP_UNARY(T, w, cmltz, fp##w##_cmgt(e, 0, n))                                              \
	FP_BINARY(T, w, abd, fp##w##_abs(e, fp##w##_sub(e, n, m)))                                \
	FP_BINARY(T, w, nmul, fp##w##_neg(e, fp##w##_mul(e, n, m)))                               \
	/* A NaN that is negated here comes out negated. */                                       \
	FP_TERNARY(T, w, mulsub, fp##w##_muladd(e, a, fp##w##_neg(e, n), m))                      \
	FP_TERNARY(T, w, nmuladd, fp##w##_muladd(e, fp##w##_neg(e, a), fp##w##_neg(e, n), m))     \
	FP_TERNARY(T, w, nmulsub, fp##w##_muladd(e, fp##w##_neg(e, a), n, m))

FP_ELEMENT_OPS(uint32_t, 32)
FP_ELEMENT_OPS(uint64_t, 64)
/* clang-format on */

/* The fraction bits of a fixed-point conversion whose immh:immb is `imm`, and whether its elements
 * are doubles. */
static inline bool fp_imm_is_double(unsigned immh)
{
	return immh & 8;
}
static inline unsigned fp_imm_fbits(unsigned immh, unsigned immb)
{
	return (fp_imm_is_double(immh) ? 128 : 64) - (immh << 3 | immb);
}

/* The second operand of a multiplication by element: the element H:L (or H) of V[M:Rm] in all
 * elements. */
static inline union a64_vreg fp_element(const struct a64_cpu *c, bool is_double, unsigned m,
					unsigned rm, unsigned h, unsigned l)
{
	const union a64_vreg *v = &c->v[m << 4 | rm];
	const uint64_t s = v->s[h << 1 | l] * 0x100000001ULL;

	return is_double ? (union a64_vreg){ .d = { v->d[h], v->d[h] } }
			 : (union a64_vreg){ .d = { s, s } };
}

#define FP_ELEMENT(NAME)                                                         \
	fp_element(c, a64_##NAME##_sz(w), a64_##NAME##_M(w), a64_##NAME##_Rm(w), \
		   a64_##NAME##_H(w), a64_##NAME##_L(w))

#endif

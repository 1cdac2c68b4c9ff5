/* SPDX-License-Identifier: MIT */
/*
 * Where the host's floating point gives exactly what AArch64's would, flags included. Each function
 * here answers false when it cannot be sure; fp.c then does the work on integers. Only fp.c
 * includes this.
 *
 * The host computes IEEE 754 binary32 and binary64, rounds to nearest even, keeps subnormals and
 * masks all exceptions: an x86-64 process's initial MXCSR, which nothing in hako changes. fp.c is
 * compiled without contraction and without any of -ffast-math. Nothing reads the host's flags, so
 * what is left to show is that the guest's flags would not change, and that no mode matters.
 *
 * - Operands are zero or normal ("plain"). So no NaN is chosen or made quiet, no operand is flushed
 *   (FZ, IDC), and infinity comes up only by overflow or division by zero.
 * - The result is finite and its magnitude is above the smallest normal ("sure"). So OFC and DZC
 *   are not raised, and the result was not tiny before rounding: what is tiny rounds to at most the
 *   smallest normal. So neither FZ nor UFC matters.
 * - Or the result is zero, for a reason that makes it exact; its sign is IEEE 754's.
 * - What remains is IXC. It is already set, or the operation is exact.
 * - The guest rounds to nearest even, or the operation is exact.
 */
#ifndef HAKO_ENGINE_SOFT_FP_FAST_H
#define HAKO_ENGINE_SOFT_FP_FAST_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "engine/soft/a64/cpu.h"
#include "engine/soft/fp.h"

/* The guest rounds as the host does, and may be inexact. */
static inline bool fast_rounding(const struct fpenv *e)
{
	return (*e->fpsr & FPSR_IXC) && fp_rmode(e) == FP_RN;
}

#define FP_FAST(T, w, F, fbits, FMA, SQRT)                                                      \
	union fast##w {                                                                         \
		T u;                                                                            \
		F f;                                                                            \
	};                                                                                      \
	static inline F host##w(T a)                                                            \
	{                                                                                       \
		return (union fast##w){ .u = a }.f;                                             \
	}                                                                                       \
	static inline T guest##w(F a)                                                           \
	{                                                                                       \
		return (union fast##w){ .f = a }.u;                                             \
	}                                                                                       \
	static inline bool zero##w(T a)                                                         \
	{                                                                                       \
		return (T)(a << 1) == 0;                                                        \
	}                                                                                       \
	/* Zero or normal: the exponent plus one, modulo its range, is 2 or more. */            \
	static inline bool plain##w(T a)                                                        \
	{                                                                                       \
		const T smallest = (T)1 << fbits;                                               \
		return (T)((T)(a + smallest) << 1) >= smallest << 2 || zero##w(a);              \
	}                                                                                       \
	/* Finite, and above the smallest normal in magnitude */                                \
	static inline bool sure##w(T a)                                                         \
	{                                                                                       \
		const T smallest = (T)1 << fbits, infinity = (T)((T)-1 >> 1 >> fbits << fbits); \
		const T m = a & (T)((T)-1 >> 1);                                                \
		return m > smallest && m < infinity;                                            \
	}                                                                                       \
	/* A sum is a multiple of the smallest subnormal, so it is zero only if it is exact. */ \
	static inline bool fast##w##_add(const struct fpenv *e, T a, T b, T *r)                 \
	{                                                                                       \
		if (!fast_rounding(e) || !plain##w(a) || !plain##w(b))                          \
			return false;                                                           \
		*r = guest##w(host##w(a) + host##w(b));                                         \
		return sure##w(*r) || zero##w(*r);                                              \
	}                                                                                       \
	static inline bool fast##w##_sub(const struct fpenv *e, T a, T b, T *r)                 \
	{                                                                                       \
		return fast##w##_add(e, a, b ^ (T)1 << (w - 1), r);                             \
	}                                                                                       \
	static inline bool fast##w##_mul(const struct fpenv *e, T a, T b, T *r)                 \
	{                                                                                       \
		if (!fast_rounding(e) || !plain##w(a) || !plain##w(b))                          \
			return false;                                                           \
		*r = guest##w(host##w(a) * host##w(b));                                         \
		return sure##w(*r) || zero##w(a) || zero##w(b);                                 \
	}                                                                                       \
	static inline bool fast##w##_div(const struct fpenv *e, T a, T b, T *r)                 \
	{                                                                                       \
		if (!fast_rounding(e) || !plain##w(a) || !plain##w(b) || zero##w(b))            \
			return false;                                                           \
		*r = guest##w(host##w(a) / host##w(b));                                         \
		return sure##w(*r) || zero##w(a);                                               \
	}                                                                                       \
	/* The root of a normal number is normal and not the smallest. */                       \
	static inline bool fast##w##_sqrt(const struct fpenv *e, T a, T *r)                     \
	{                                                                                       \
		if (!fast_rounding(e) || !plain##w(a) || a >> (w - 1))                          \
			return false;                                                           \
		*r = guest##w(SQRT(host##w(a)));                                                \
		return true;                                                                    \
	}                                                                                       \
	/* Only a zero factor makes a zero sure: a product may underflow, or nearly cancel. */  \
	static inline bool fast##w##_muladd(const struct fpenv *e, T c, T a, T b, T *r)         \
	{                                                                                       \
		if (!fast_rounding(e) || !plain##w(a) || !plain##w(b) || !plain##w(c))          \
			return false;                                                           \
		*r = guest##w(FMA(host##w(a), host##w(b), host##w(c)));                         \
		return sure##w(*r) || (zero##w(*r) && (zero##w(a) || zero##w(b)));              \
	}                                                                                       \
	/* Comparing is exact in every mode. */                                                 \
	static inline bool fast##w##_order(T a, T b, int *order)                                \
	{                                                                                       \
		if (!plain##w(a) || !plain##w(b))                                               \
			return false;                                                           \
		*order = (host##w(a) > host##w(b)) - (host##w(a) < host##w(b));                 \
		return true;                                                                    \
	}                                                                                       \
	/* Equal operands may be zeros of different sign. */                                    \
	static inline bool fast##w##_max(T a, T b, T *r)                                        \
	{                                                                                       \
		int order;                                                                      \
		if (!fast##w##_order(a, b, &order) || order == 0)                               \
			return false;                                                           \
		*r = order > 0 ? a : b;                                                         \
		return true;                                                                    \
	}                                                                                       \
	static inline bool fast##w##_min(T a, T b, T *r)                                        \
	{                                                                                       \
		int order;                                                                      \
		if (!fast##w##_order(a, b, &order) || order == 0)                               \
			return false;                                                           \
		*r = order < 0 ? a : b;                                                         \
		return true;                                                                    \
	}                                                                                       \
	/* Toward zero, where no result saturates */                                            \
	static inline bool fast##w##_to_integer(const struct fpenv *e, T a, bool is_unsigned,   \
						unsigned width, uint64_t *r)                    \
	{                                                                                       \
		const F f = host##w(a);                                                         \
		if (!plain##w(a) || !(f > -0x1p63f && f < 0x1p63f))                             \
			return false;                                                           \
		const int64_t v = (int64_t)f;                                                   \
		*r = (uint64_t)v & mask_low(width);                                             \
		if (is_unsigned ? (v < 0 || *r != (uint64_t)v) : sign_extend(*r, width) != v)   \
			return false;                                                           \
		return (*e->fpsr & FPSR_IXC) || (F)v == f;                                      \
	}                                                                                       \
	static inline bool fast##w##_from_integer(const struct fpenv *e, uint64_t n,            \
						  bool is_unsigned, enum fp_round r,            \
						  unsigned width, T *x)                         \
	{                                                                                       \
		const uint64_t exact = 2ULL << fbits; /* from -2^p to 2^p */                    \
		if (is_unsigned) {                                                              \
			n &= mask_low(width);                                                   \
			*x = guest##w((F)n);                                                    \
			if (n <= exact)                                                         \
				return true;                                                    \
		} else {                                                                        \
			const int64_t s = sign_extend(n, width);                                \
			*x = guest##w((F)s);                                                    \
			if ((uint64_t)s + exact <= 2 * exact)                                   \
				return true;                                                    \
		}                                                                               \
		return (*e->fpsr & FPSR_IXC) && r == FP_RN;                                     \
	}

FP_FAST(uint32_t, 32, float, 23, fmaf, sqrtf)
FP_FAST(uint64_t, 64, double, 52, fma, sqrt)

/* Exact: a single is a double, and none becomes subnormal. */
static inline bool fast64_from_fp32(uint32_t a, uint64_t *r)
{
	*r = guest64((double)host32(a));
	return plain32(a);
}
static inline bool fast32_from_fp64(const struct fpenv *e, uint64_t a, uint32_t *r)
{
	if (!plain64(a))
		return false;
	*r = guest32((float)host64(a));
	return zero64(a) || (fast_rounding(e) && sure32(*r));
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * AArch64 floating point, exact: rounding modes, default NaN, flush to zero, NaN propagation and
 * cumulative flags as DDI0487 shared/functions/float has them (without FEAT_AFP and FEAT_FP16).
 *
 * Values are bit patterns, so no host conversion can touch them. Where the host's own arithmetic
 * provably gives the same result and flags, it is used; everywhere else, integer arithmetic.
 *
 * fpcr is the guest's FPCR, *fpsr its FPSR: flags are only ever added.
 */
#ifndef HAKO_ENGINE_SOFT_A64_FP_H
#define HAKO_ENGINE_SOFT_A64_FP_H

#include <stdbool.h>
#include <stdint.h>

struct fpenv {
	uint32_t fpcr;
	uint32_t *fpsr;
};

/* Rounding, as FPCR.RMode encodes it, and ties-away for FRINTA and FCVTA. */
enum fp_round { FP_RN, FP_RP, FP_RM, FP_RZ, FP_RA };

#define FP_ARITH(T, w)                                                                            \
	T fp##w##_add(const struct fpenv *e, T a, T b);                                           \
	T fp##w##_sub(const struct fpenv *e, T a, T b);                                           \
	T fp##w##_mul(const struct fpenv *e, T a, T b);                                           \
	T fp##w##_div(const struct fpenv *e, T a, T b);                                           \
	T fp##w##_sqrt(const struct fpenv *e, T a);                                               \
	/* addend + a * b with one rounding (FPMulAdd) */                                         \
	T fp##w##_muladd(const struct fpenv *e, T addend, T a, T b);                              \
	T fp##w##_mulx(const struct fpenv *e, T a, T b);                                          \
	T fp##w##_max(const struct fpenv *e, T a, T b);                                           \
	T fp##w##_min(const struct fpenv *e, T a, T b);                                           \
	T fp##w##_maxnm(const struct fpenv *e, T a, T b);                                         \
	T fp##w##_minnm(const struct fpenv *e, T a, T b);                                         \
	/* FRECPS and FRSQRTS: 2 - a * b and (3 - a * b) / 2, fused */                            \
	T fp##w##_recip_step(const struct fpenv *e, T a, T b);                                    \
	T fp##w##_rsqrt_step(const struct fpenv *e, T a, T b);                                    \
	T fp##w##_recip_estimate(const struct fpenv *e, T a);                                     \
	T fp##w##_rsqrt_estimate(const struct fpenv *e, T a);                                     \
	T fp##w##_recpx(const struct fpenv *e, T a);                                              \
	/* FPRoundInt; exact: FRINTX sets IXC */                                                  \
	T fp##w##_round_int(const struct fpenv *e, T a, enum fp_round r, bool exact);             \
	/* FPCompare: NZCV in bits 3..0; signal: FCMPE */                                         \
	unsigned fp##w##_compare(const struct fpenv *e, T a, T b, bool signal);                   \
	bool fp##w##_eq(const struct fpenv *e, T a, T b);                                         \
	bool fp##w##_ge(const struct fpenv *e, T a, T b);                                         \
	bool fp##w##_gt(const struct fpenv *e, T a, T b);                                         \
	/* FPToFixed: to an integer of `width` (32 or 64) bits with `fbits` fraction bits; the    \
	 * result of a 32-bit one is zero-extended. Saturates, IOC. */                            \
	uint64_t fp##w##_to_fixed(const struct fpenv *e, T a, unsigned fbits, bool is_unsigned,   \
				  enum fp_round r, unsigned width);                               \
	/* FixedToFP: from the low `width` bits */                                                \
	T fp##w##_from_fixed(const struct fpenv *e, uint64_t v, unsigned fbits, bool is_unsigned, \
			     enum fp_round r, unsigned width);

FP_ARITH(uint32_t, 32)
FP_ARITH(uint64_t, 64)

/* FPConvert; half precision follows FPCR.AHP. */
uint64_t fp64_from_fp32(const struct fpenv *e, uint32_t a);
uint32_t fp32_from_fp64(const struct fpenv *e, uint64_t a);
uint32_t fp32_from_fp16(const struct fpenv *e, uint16_t a);
uint64_t fp64_from_fp16(const struct fpenv *e, uint16_t a);
uint16_t fp16_from_fp32(const struct fpenv *e, uint32_t a);
uint16_t fp16_from_fp64(const struct fpenv *e, uint64_t a);
/* FCVTXN: round to odd */
uint32_t fp32_from_fp64_odd(const struct fpenv *e, uint64_t a);

/* URECPE and URSQRTE */
uint32_t fp_urecpe(uint32_t a);
uint32_t fp_ursqrte(uint32_t a);

/* The rounding mode that FPCR asks for. */
static inline enum fp_round fp_rmode(const struct fpenv *e)
{
	return (enum fp_round)((e->fpcr >> 22) & 3);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Floating point, exact, for every guest architecture: rounding modes, default NaN, flush to zero,
 * NaN propagation and cumulative flags as DDI0487 shared/functions/float has them (without FEAT_AFP
 * and FEAT_FP16). What RISC-V does otherwise is asked for by the two bits named FP_RISCV.
 *
 * Values are bit patterns, so no host conversion can touch them. Where the host's own arithmetic
 * provably gives the same result and flags, it is used; everywhere else, integer arithmetic.
 *
 * fpcr has the form of AArch64's FPCR, *fpsr of its FPSR: flags are only ever added.
 */
#ifndef HAKO_ENGINE_SOFT_FP_H
#define HAKO_ENGINE_SOFT_FP_H

#include <stdbool.h>
#include <stdint.h>

/* FPCR (DDI0487 C5.2.8): the fields that this CPU has. */
enum {
	FPCR_RMODE_SHIFT = 22, /* RN, RP, RM, RZ */
	FPCR_FZ = 1 << 24,
	FPCR_DN = 1 << 25,
	FPCR_AHP = 1 << 26,
};
/* FPSR (C5.2.10): cumulative exception bits. */
enum {
	FPSR_IOC = 1 << 0,
	FPSR_DZC = 1 << 1,
	FPSR_OFC = 1 << 2,
	FPSR_UFC = 1 << 3,
	FPSR_IXC = 1 << 4,
	FPSR_IDC = 1 << 7,
	FPSR_QC = 1 << 27,
};
/* In places of FPCR that are RES0: what RISC-V does otherwise. */
enum {
	FP_RISCV_RMM = 1 << 0,        /* round to nearest, ties away, whatever RMode says */
	FP_RISCV_TINY_AFTER = 1 << 1, /* underflow: tiny after rounding (volume I, 21.2) */
};

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
	if (e->fpcr & FP_RISCV_RMM)
		return FP_RA;
	return (enum fp_round)(e->fpcr >> FPCR_RMODE_SHIFT & 3);
}

#endif

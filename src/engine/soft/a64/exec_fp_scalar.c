/* SPDX-License-Identifier: MIT */
/*
 * Executors of scalar floating point: the floating-point instructions proper, and the Advanced SIMD
 * ones on one element. A scalar result zeroes the rest of its register.
 */
#include "engine/soft/a64/exec_fp.h"

/*
 * One, two and three operands. SZ: the field that tells double from single, ftype or sz. The
 * operands beyond Rn are registers by value, in terms of c and w.
 */

#define SCALAR_1(NAME, SZ, op)                                                  \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                     \
	{                                                                       \
		const struct fpenv e = fp_env(c);                               \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)];              \
		if (a64_##NAME##_##SZ(w))                                       \
			fp64_set(c, a64_##NAME##_Rd(w), fp64_##op(&e, n.d[0])); \
		else                                                            \
			fp32_set(c, a64_##NAME##_Rd(w), fp32_##op(&e, n.s[0])); \
	}

#define SCALAR_2M(NAME, SZ, op, M)                                                      \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                             \
	{                                                                               \
		const struct fpenv e = fp_env(c);                                       \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)], m = M;               \
		if (a64_##NAME##_##SZ(w))                                               \
			fp64_set(c, a64_##NAME##_Rd(w), fp64_##op(&e, n.d[0], m.d[0])); \
		else                                                                    \
			fp32_set(c, a64_##NAME##_Rd(w), fp32_##op(&e, n.s[0], m.s[0])); \
	}
#define SCALAR_2(NAME, SZ, op) SCALAR_2M(NAME, SZ, op, c->v[a64_##NAME##_Rm(w)])

#define SCALAR_3AM(NAME, SZ, op, A, M)                                                          \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                                     \
	{                                                                                       \
		const struct fpenv e = fp_env(c);                                               \
		const union a64_vreg a = A, n = c->v[a64_##NAME##_Rn(w)], m = M;                \
		if (a64_##NAME##_##SZ(w))                                                       \
			fp64_set(c, a64_##NAME##_Rd(w), fp64_##op(&e, a.d[0], n.d[0], m.d[0])); \
		else                                                                            \
			fp32_set(c, a64_##NAME##_Rd(w), fp32_##op(&e, a.s[0], n.s[0], m.s[0])); \
	}

/* Floating-point data-processing (1 source) */
SCALAR_1(FMOV_s, ftype, mov)
SCALAR_1(FABS_s, ftype, abs)
SCALAR_1(FNEG_s, ftype, neg)
SCALAR_1(FSQRT_s, ftype, sqrt)
SCALAR_1(FRINTN_s, ftype, rintn)
SCALAR_1(FRINTP_s, ftype, rintp)
SCALAR_1(FRINTM_s, ftype, rintm)
SCALAR_1(FRINTZ_s, ftype, rintz)
SCALAR_1(FRINTA_s, ftype, rinta)
SCALAR_1(FRINTX_s, ftype, rintx)
SCALAR_1(FRINTI_s, ftype, rinti)

void a64_exec_FCVT(struct a64_cpu *c, uint32_t w)
{
	enum { S, D, H = 3 }; /* ftype and opc */
	const struct fpenv e = fp_env(c);
	const union a64_vreg *n = &c->v[a64_FCVT_Rn(w)];
	uint64_t r = 0;

	switch (a64_FCVT_ftype(w) << 2 | a64_FCVT_opc(w)) {
	case S << 2 | D: r = fp64_from_fp32(&e, n->s[0]); break;
	case S << 2 | H: r = fp16_from_fp32(&e, n->s[0]); break;
	case D << 2 | S: r = fp32_from_fp64(&e, n->d[0]); break;
	case D << 2 | H: r = fp16_from_fp64(&e, n->d[0]); break;
	case H << 2 | S: r = fp32_from_fp16(&e, n->h[0]); break;
	case H << 2 | D: r = fp64_from_fp16(&e, n->h[0]); break;
	}
	fp64_set(c, a64_FCVT_Rd(w), r);
}

/* Floating-point data-processing (2 source) */
SCALAR_2(FMUL_s, ftype, mul)
SCALAR_2(FDIV_s, ftype, div)
SCALAR_2(FADD_s, ftype, add)
SCALAR_2(FSUB_s, ftype, sub)
SCALAR_2(FMAX_s, ftype, max)
SCALAR_2(FMIN_s, ftype, min)
SCALAR_2(FMAXNM_s, ftype, maxnm)
SCALAR_2(FMINNM_s, ftype, minnm)
SCALAR_2(FNMUL, ftype, nmul)

/* Floating-point data-processing (3 source) */
#define SCALAR_3(NAME, op) \
	SCALAR_3AM(NAME, ftype, op, c->v[a64_##NAME##_Ra(w)], c->v[a64_##NAME##_Rm(w)])
SCALAR_3(FMADD, muladd)
SCALAR_3(FMSUB, mulsub)
SCALAR_3(FNMADD, nmuladd)
SCALAR_3(FNMSUB, nmulsub)

/* Floating-point compare, conditional compare. `m` in terms of c and w; signal: FCMPE */

static unsigned compare(struct a64_cpu *c, bool is_double, const union a64_vreg *n,
			const union a64_vreg *m, bool signal)
{
	const struct fpenv e = fp_env(c);

	return is_double ? fp64_compare(&e, n->d[0], m->d[0], signal)
			 : fp32_compare(&e, n->s[0], m->s[0], signal);
}
static const union a64_vreg zero;

#define COMPARE(NAME, m, signal)                                                                \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                                     \
	{                                                                                       \
		a64_set_nzcv(c, compare(c, a64_##NAME##_ftype(w), &c->v[a64_##NAME##_Rn(w)], m, \
					signal));                                               \
	}
COMPARE(FCMP, &c->v[a64_FCMP_Rm(w)], false)
COMPARE(FCMP_z, &zero, false)
COMPARE(FCMPE, &c->v[a64_FCMPE_Rm(w)], true)
COMPARE(FCMPE_z, &zero, true)

#define CONDITIONAL_COMPARE(NAME, signal)                                                   \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                                 \
	{                                                                                   \
		unsigned nzcv = a64_##NAME##_nzcv(w);                                       \
		if (a64_cond(c, a64_##NAME##_cond(w)))                                      \
			nzcv = compare(c, a64_##NAME##_ftype(w), &c->v[a64_##NAME##_Rn(w)], \
				       &c->v[a64_##NAME##_Rm(w)], signal);                  \
		a64_set_nzcv(c, nzcv);                                                      \
	}
CONDITIONAL_COMPARE(FCCMP, false)
CONDITIONAL_COMPARE(FCCMPE, true)

void a64_exec_FCSEL(struct a64_cpu *c, uint32_t w)
{
	const bool first = a64_cond(c, a64_FCSEL_cond(w));
	const union a64_vreg *v = &c->v[first ? a64_FCSEL_Rn(w) : a64_FCSEL_Rm(w)];

	fp64_set(c, a64_FCSEL_Rd(w), a64_FCSEL_ftype(w) ? v->d[0] : v->s[0]);
}

/* VFPExpandImm(): imm8 is a:b:cdefgh, the exponent NOT(b), b repeated, cd; the fraction efgh. */
void a64_exec_FMOV_si(struct a64_cpu *c, uint32_t w)
{
	const unsigned d = a64_FMOV_si_Rd(w);
	const uint64_t imm8 = a64_FMOV_si_imm8(w);
	const uint64_t a = imm8 >> 7, cdefgh = imm8 & 0x3f;
	const bool b = imm8 & 0x40;

	if (a64_FMOV_si_ftype(w))
		fp64_set(c, d, a << 63 | (b ? 0xffULL << 54 : 1ULL << 62) | cdefgh << 48);
	else
		fp32_set(c, d, (uint32_t)(a << 31 | (b ? 0x1fU << 25 : 1U << 30) | cdefgh << 19));
}

/* Conversion between floating-point and integer or fixed-point, with a general register */

#define TO_GENERAL(NAME, fbits, is_unsigned, round)                                             \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                                     \
	{                                                                                       \
		const struct fpenv e = fp_env(c);                                               \
		const union a64_vreg *n = &c->v[a64_##NAME##_Rn(w)];                            \
		const unsigned width = a64_##NAME##_sf(w) ? 64 : 32;                            \
		a64_xw(c, a64_##NAME##_Rd(w),                                                   \
		       a64_##NAME##_ftype(w)                                                    \
			       ? fp64_to_fixed(&e, n->d[0], fbits, is_unsigned, round, width)   \
			       : fp32_to_fixed(&e, n->s[0], fbits, is_unsigned, round, width)); \
	}
#define FROM_GENERAL(NAME, fbits, is_unsigned)                                                \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                                   \
	{                                                                                     \
		const struct fpenv e = fp_env(c);                                             \
		const enum fp_round r = fp_rmode(&e);                                         \
		const uint64_t n = a64_xr(c, a64_##NAME##_Rn(w));                             \
		const unsigned d = a64_##NAME##_Rd(w), width = a64_##NAME##_sf(w) ? 64 : 32;  \
		if (a64_##NAME##_ftype(w))                                                    \
			fp64_set(c, d, fp64_from_fixed(&e, n, fbits, is_unsigned, r, width)); \
		else                                                                          \
			fp32_set(c, d, fp32_from_fixed(&e, n, fbits, is_unsigned, r, width)); \
	}
TO_GENERAL(FCVTNS_g, 0, false, FP_RN)
TO_GENERAL(FCVTNU_g, 0, true, FP_RN)
TO_GENERAL(FCVTPS_g, 0, false, FP_RP)
TO_GENERAL(FCVTPU_g, 0, true, FP_RP)
TO_GENERAL(FCVTMS_g, 0, false, FP_RM)
TO_GENERAL(FCVTMU_g, 0, true, FP_RM)
TO_GENERAL(FCVTZS_g, 0, false, FP_RZ)
TO_GENERAL(FCVTZU_g, 0, true, FP_RZ)
TO_GENERAL(FCVTAS_g, 0, false, FP_RA)
TO_GENERAL(FCVTAU_g, 0, true, FP_RA)
TO_GENERAL(FCVTZS_gf, 64 - a64_FCVTZS_gf_scale(w), false, FP_RZ)
TO_GENERAL(FCVTZU_gf, 64 - a64_FCVTZU_gf_scale(w), true, FP_RZ)
FROM_GENERAL(SCVTF_g, 0, false)
FROM_GENERAL(UCVTF_g, 0, true)
FROM_GENERAL(SCVTF_gf, 64 - a64_SCVTF_gf_scale(w), false)
FROM_GENERAL(UCVTF_gf, 64 - a64_UCVTF_gf_scale(w), true)

void a64_exec_FMOV_to_w(struct a64_cpu *c, uint32_t w)
{
	a64_xw(c, a64_FMOV_to_w_Rd(w), c->v[a64_FMOV_to_w_Rn(w)].s[0]);
}
void a64_exec_FMOV_from_w(struct a64_cpu *c, uint32_t w)
{
	fp32_set(c, a64_FMOV_from_w_Rd(w), (uint32_t)a64_xr(c, a64_FMOV_from_w_Rn(w)));
}
void a64_exec_FMOV_to_x(struct a64_cpu *c, uint32_t w)
{
	a64_xw(c, a64_FMOV_to_x_Rd(w), c->v[a64_FMOV_to_x_Rn(w)].d[0]);
}
void a64_exec_FMOV_from_x(struct a64_cpu *c, uint32_t w)
{
	fp64_set(c, a64_FMOV_from_x_Rd(w), a64_xr(c, a64_FMOV_from_x_Rn(w)));
}
void a64_exec_FMOV_hi_to_x(struct a64_cpu *c, uint32_t w)
{
	a64_xw(c, a64_FMOV_hi_to_x_Rd(w), c->v[a64_FMOV_hi_to_x_Rn(w)].d[1]);
}
/* The only one here that keeps the rest of the register. */
void a64_exec_FMOV_hi_from_x(struct a64_cpu *c, uint32_t w)
{
	c->v[a64_FMOV_hi_from_x_Rd(w)].d[1] = a64_xr(c, a64_FMOV_hi_from_x_Rn(w));
}

/* Advanced SIMD scalar three same */
SCALAR_2(FMULX_s, sz, mulx)
SCALAR_2(FCMEQ_s, sz, cmeq)
SCALAR_2(FCMGE_s, sz, cmge)
SCALAR_2(FCMGT_s, sz, cmgt)
SCALAR_2(FACGE_s, sz, acge)
SCALAR_2(FACGT_s, sz, acgt)
SCALAR_2(FABD_s, sz, abd)
SCALAR_2(FRECPS_s, sz, recip_step)
SCALAR_2(FRSQRTS_s, sz, rsqrt_step)

/* Advanced SIMD scalar two-register miscellaneous */
SCALAR_1(FCMEQ_sz, sz, cmeqz)
SCALAR_1(FCMGE_sz, sz, cmgez)
SCALAR_1(FCMGT_sz, sz, cmgtz)
SCALAR_1(FCMLE_sz, sz, cmlez)
SCALAR_1(FCMLT_sz, sz, cmltz)
SCALAR_1(FCVTNS_s, sz, cvtns)
SCALAR_1(FCVTNU_s, sz, cvtnu)
SCALAR_1(FCVTPS_s, sz, cvtps)
SCALAR_1(FCVTPU_s, sz, cvtpu)
SCALAR_1(FCVTMS_s, sz, cvtms)
SCALAR_1(FCVTMU_s, sz, cvtmu)
SCALAR_1(FCVTZS_s, sz, cvtzs)
SCALAR_1(FCVTZU_s, sz, cvtzu)
SCALAR_1(FCVTAS_s, sz, cvtas)
SCALAR_1(FCVTAU_s, sz, cvtau)
SCALAR_1(SCVTF_s, sz, scvtf)
SCALAR_1(UCVTF_s, sz, ucvtf)
SCALAR_1(FRECPE_s, sz, recip_estimate)
SCALAR_1(FRSQRTE_s, sz, rsqrt_estimate)
SCALAR_1(FRECPX, sz, recpx)

void a64_exec_FCVTXN_s(struct a64_cpu *c, uint32_t w)
{
	const struct fpenv e = fp_env(c);

	fp32_set(c, a64_FCVTXN_s_Rd(w), fp32_from_fp64_odd(&e, c->v[a64_FCVTXN_s_Rn(w)].d[0]));
}

/* Advanced SIMD scalar pairwise: both elements of one register */
#define SCALAR_PAIR(NAME, op)                                                           \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                             \
	{                                                                               \
		const struct fpenv e = fp_env(c);                                       \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)];                      \
		if (a64_##NAME##_sz(w))                                                 \
			fp64_set(c, a64_##NAME##_Rd(w), fp64_##op(&e, n.d[0], n.d[1])); \
		else                                                                    \
			fp32_set(c, a64_##NAME##_Rd(w), fp32_##op(&e, n.s[0], n.s[1])); \
	}
SCALAR_PAIR(FADDP_sp, add)
SCALAR_PAIR(FMAXP_sp, max)
SCALAR_PAIR(FMINP_sp, min)
SCALAR_PAIR(FMAXNMP_sp, maxnm)
SCALAR_PAIR(FMINNMP_sp, minnm)

/* Advanced SIMD scalar x indexed element */
SCALAR_3AM(FMLA_se, sz, muladd, c->v[a64_FMLA_se_Rd(w)], FP_ELEMENT(FMLA_se))
SCALAR_3AM(FMLS_se, sz, mulsub, c->v[a64_FMLS_se_Rd(w)], FP_ELEMENT(FMLS_se))
SCALAR_2M(FMUL_se, sz, mul, FP_ELEMENT(FMUL_se))
SCALAR_2M(FMULX_se, sz, mulx, FP_ELEMENT(FMULX_se))

/* Advanced SIMD scalar shift by immediate: fixed-point conversion */
#define SCALAR_FIXED(NAME, op)                                                         \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                            \
	{                                                                              \
		const struct fpenv e = fp_env(c);                                      \
		const unsigned immh = a64_##NAME##_immh(w);                            \
		const unsigned fbits = fp_imm_fbits(immh, a64_##NAME##_immb(w));       \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)];                     \
		if (fp_imm_is_double(immh))                                            \
			fp64_set(c, a64_##NAME##_Rd(w), fp64_##op(&e, n.d[0], fbits)); \
		else                                                                   \
			fp32_set(c, a64_##NAME##_Rd(w), fp32_##op(&e, n.s[0], fbits)); \
	}
SCALAR_FIXED(FCVTZS_sf, cvtzs_fixed)
SCALAR_FIXED(FCVTZU_sf, cvtzu_fixed)
SCALAR_FIXED(SCVTF_sf, scvtf_fixed)
SCALAR_FIXED(UCVTF_sf, ucvtf_fixed)

/* SPDX-License-Identifier: MIT */
/*
 * Executors of Advanced SIMD floating point on vectors. A 64-bit result (Q = 0) zeroes the upper
 * half of its register. Operands are copied first: the result may be one of their registers.
 */
#include "engine/soft/a64/exec_fp.h"

/*
 * One, two and three operands, element by element. Vectors of doubles always have two: sz = 1 with
 * Q = 0 is unallocated. M: the second operand, in terms of c and w.
 */

#define VECTOR_1(NAME, op)                                                     \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                    \
	{                                                                      \
		const struct fpenv e = fp_env(c);                              \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)];             \
		union a64_vreg r = { 0 };                                      \
		if (a64_##NAME##_sz(w)) {                                      \
			for (unsigned i = 0; i < 2; i++)                       \
				r.d[i] = fp64_##op(&e, n.d[i]);                \
		} else {                                                       \
			for (unsigned i = 0; i < 2U << a64_##NAME##_Q(w); i++) \
				r.s[i] = fp32_##op(&e, n.s[i]);                \
		}                                                              \
		c->v[a64_##NAME##_Rd(w)] = r;                                  \
	}

#define VECTOR_2M(NAME, op, M)                                                 \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                    \
	{                                                                      \
		const struct fpenv e = fp_env(c);                              \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)], m = M;      \
		union a64_vreg r = { 0 };                                      \
		if (a64_##NAME##_sz(w)) {                                      \
			for (unsigned i = 0; i < 2; i++)                       \
				r.d[i] = fp64_##op(&e, n.d[i], m.d[i]);        \
		} else {                                                       \
			for (unsigned i = 0; i < 2U << a64_##NAME##_Q(w); i++) \
				r.s[i] = fp32_##op(&e, n.s[i], m.s[i]);        \
		}                                                              \
		c->v[a64_##NAME##_Rd(w)] = r;                                  \
	}
#define VECTOR_2(NAME, op) VECTOR_2M(NAME, op, c->v[a64_##NAME##_Rm(w)])

#define VECTOR_3M(NAME, op, M)                                                  \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                     \
	{                                                                       \
		const struct fpenv e = fp_env(c);                               \
		const union a64_vreg a = c->v[a64_##NAME##_Rd(w)];              \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)], m = M;       \
		union a64_vreg r = { 0 };                                       \
		if (a64_##NAME##_sz(w)) {                                       \
			for (unsigned i = 0; i < 2; i++)                        \
				r.d[i] = fp64_##op(&e, a.d[i], n.d[i], m.d[i]); \
		} else {                                                        \
			for (unsigned i = 0; i < 2U << a64_##NAME##_Q(w); i++)  \
				r.s[i] = fp32_##op(&e, a.s[i], n.s[i], m.s[i]); \
		}                                                               \
		c->v[a64_##NAME##_Rd(w)] = r;                                   \
	}
#define VECTOR_3(NAME, op) VECTOR_3M(NAME, op, c->v[a64_##NAME##_Rm(w)])

/* Pairwise: neighbours of n make the lower half of the result, those of m the upper. */
#define VECTOR_PAIR(NAME, op)                                                                    \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                                      \
	{                                                                                        \
		const struct fpenv e = fp_env(c);                                                \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)], m = c->v[a64_##NAME##_Rm(w)]; \
		const unsigned half = 1U << a64_##NAME##_Q(w);                                   \
		union a64_vreg r = { 0 };                                                        \
		if (a64_##NAME##_sz(w)) {                                                        \
			r.d[0] = fp64_##op(&e, n.d[0], n.d[1]);                                  \
			r.d[1] = fp64_##op(&e, m.d[0], m.d[1]);                                  \
		} else {                                                                         \
			for (unsigned i = 0; i < half; i++) {                                    \
				r.s[i] = fp32_##op(&e, n.s[2 * i], n.s[2 * i + 1]);              \
				r.s[half + i] = fp32_##op(&e, m.s[2 * i], m.s[2 * i + 1]);       \
			}                                                                        \
		}                                                                                \
		c->v[a64_##NAME##_Rd(w)] = r;                                                    \
	}

/* Advanced SIMD three same */
VECTOR_2(FADD_v, add)
VECTOR_2(FSUB_v, sub)
VECTOR_2(FMUL_v, mul)
VECTOR_2(FMULX_v, mulx)
VECTOR_2(FDIV_v, div)
VECTOR_2(FABD_v, abd)
VECTOR_3(FMLA_v, muladd)
VECTOR_3(FMLS_v, mulsub)
VECTOR_2(FMAX_v, max)
VECTOR_2(FMIN_v, min)
VECTOR_2(FMAXNM_v, maxnm)
VECTOR_2(FMINNM_v, minnm)
VECTOR_PAIR(FADDP_v, add)
VECTOR_PAIR(FMAXP_v, max)
VECTOR_PAIR(FMINP_v, min)
VECTOR_PAIR(FMAXNMP_v, maxnm)
VECTOR_PAIR(FMINNMP_v, minnm)
VECTOR_2(FCMEQ_v, cmeq)
VECTOR_2(FCMGE_v, cmge)
VECTOR_2(FCMGT_v, cmgt)
VECTOR_2(FACGE_v, acge)
VECTOR_2(FACGT_v, acgt)
VECTOR_2(FRECPS_v, recip_step)
VECTOR_2(FRSQRTS_v, rsqrt_step)

/* Advanced SIMD vector x indexed element */
VECTOR_3M(FMLA_ve, muladd, FP_ELEMENT(FMLA_ve))
VECTOR_3M(FMLS_ve, mulsub, FP_ELEMENT(FMLS_ve))
VECTOR_2M(FMUL_ve, mul, FP_ELEMENT(FMUL_ve))
VECTOR_2M(FMULX_ve, mulx, FP_ELEMENT(FMULX_ve))

/* Advanced SIMD two-register miscellaneous */
VECTOR_1(FABS_v, abs)
VECTOR_1(FNEG_v, neg)
VECTOR_1(FSQRT_v, sqrt)
VECTOR_1(FRINTN_v, rintn)
VECTOR_1(FRINTP_v, rintp)
VECTOR_1(FRINTM_v, rintm)
VECTOR_1(FRINTZ_v, rintz)
VECTOR_1(FRINTA_v, rinta)
VECTOR_1(FRINTX_v, rintx)
VECTOR_1(FRINTI_v, rinti)
VECTOR_1(FCVTNS_v, cvtns)
VECTOR_1(FCVTNU_v, cvtnu)
VECTOR_1(FCVTPS_v, cvtps)
VECTOR_1(FCVTPU_v, cvtpu)
VECTOR_1(FCVTMS_v, cvtms)
VECTOR_1(FCVTMU_v, cvtmu)
VECTOR_1(FCVTZS_v, cvtzs)
VECTOR_1(FCVTZU_v, cvtzu)
VECTOR_1(FCVTAS_v, cvtas)
VECTOR_1(FCVTAU_v, cvtau)
VECTOR_1(SCVTF_v, scvtf)
VECTOR_1(UCVTF_v, ucvtf)
VECTOR_1(FCMEQ_vz, cmeqz)
VECTOR_1(FCMGE_vz, cmgez)
VECTOR_1(FCMGT_vz, cmgtz)
VECTOR_1(FCMLE_vz, cmlez)
VECTOR_1(FCMLT_vz, cmltz)
VECTOR_1(FRECPE_v, recip_estimate)
VECTOR_1(FRSQRTE_v, rsqrt_estimate)

/* On unsigned fractions of 32 bits */
#define VECTOR_ESTIMATE(NAME, estimate)                                \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)            \
	{                                                              \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)];     \
		union a64_vreg r = { 0 };                              \
		for (unsigned i = 0; i < 2U << a64_##NAME##_Q(w); i++) \
			r.s[i] = estimate(n.s[i]);                     \
		c->v[a64_##NAME##_Rd(w)] = r;                          \
	}
VECTOR_ESTIMATE(URECPE, fp_urecpe)
VECTOR_ESTIMATE(URSQRTE, fp_ursqrte)

/* Narrow results go to the lower half of the register and zero the upper; those of FCVTN2 and
 * FCVTXN2 (Q = 1) go to the upper half and keep the lower. */
static void set_half(struct a64_cpu *c, unsigned d, bool upper, uint64_t v)
{
	c->v[d] = upper ? (union a64_vreg){ .d = { c->v[d].d[0], v } }
			: (union a64_vreg){ .d = { v } };
}

void a64_exec_FCVTN(struct a64_cpu *c, uint32_t w)
{
	const struct fpenv e = fp_env(c);
	const union a64_vreg *n = &c->v[a64_FCVTN_Rn(w)];
	union a64_vreg r = { 0 };

	for (unsigned i = 0; a64_FCVTN_sz(w) && i < 2; i++)
		r.s[i] = fp32_from_fp64(&e, n->d[i]);
	for (unsigned i = 0; !a64_FCVTN_sz(w) && i < 4; i++)
		r.h[i] = fp16_from_fp32(&e, n->s[i]);
	set_half(c, a64_FCVTN_Rd(w), a64_FCVTN_Q(w), r.d[0]);
}

void a64_exec_FCVTXN_v(struct a64_cpu *c, uint32_t w)
{
	const struct fpenv e = fp_env(c);
	const union a64_vreg *n = &c->v[a64_FCVTXN_v_Rn(w)];
	union a64_vreg r = { 0 };

	for (unsigned i = 0; i < 2; i++)
		r.s[i] = fp32_from_fp64_odd(&e, n->d[i]);
	set_half(c, a64_FCVTXN_v_Rd(w), a64_FCVTXN_v_Q(w), r.d[0]);
}

/* FCVTL2 (Q = 1) reads the upper half. */
void a64_exec_FCVTL(struct a64_cpu *c, uint32_t w)
{
	const struct fpenv e = fp_env(c);
	const union a64_vreg n = { .d = { c->v[a64_FCVTL_Rn(w)].d[a64_FCVTL_Q(w)] } };
	union a64_vreg r;

	for (unsigned i = 0; a64_FCVTL_sz(w) && i < 2; i++)
		r.d[i] = fp64_from_fp32(&e, n.s[i]);
	for (unsigned i = 0; !a64_FCVTL_sz(w) && i < 4; i++)
		r.s[i] = fp32_from_fp16(&e, n.h[i]);
	c->v[a64_FCVTL_Rd(w)] = r;
}

/* Advanced SIMD across lanes, of four singles. Reduce() pairs neighbours first, which decides
 * between NaNs. */
#define ACROSS(NAME, op)                                                \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)             \
	{                                                               \
		const struct fpenv e = fp_env(c);                       \
		const union a64_vreg *n = &c->v[a64_##NAME##_Rn(w)];    \
		const uint32_t lo = fp32_##op(&e, n->s[0], n->s[1]);    \
		const uint32_t hi = fp32_##op(&e, n->s[2], n->s[3]);    \
		fp32_set(c, a64_##NAME##_Rd(w), fp32_##op(&e, lo, hi)); \
	}
ACROSS(FMAXV, max)
ACROSS(FMINV, min)
ACROSS(FMAXNMV, maxnm)
ACROSS(FMINNMV, minnm)

/* Advanced SIMD shift by immediate: fixed-point conversion */
#define VECTOR_FIXED(NAME, op)                                                   \
	void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)                      \
	{                                                                        \
		const struct fpenv e = fp_env(c);                                \
		const unsigned immh = a64_##NAME##_immh(w);                      \
		const unsigned fbits = fp_imm_fbits(immh, a64_##NAME##_immb(w)); \
		const union a64_vreg n = c->v[a64_##NAME##_Rn(w)];               \
		union a64_vreg r = { 0 };                                        \
		if (fp_imm_is_double(immh)) {                                    \
			for (unsigned i = 0; i < 2; i++)                         \
				r.d[i] = fp64_##op(&e, n.d[i], fbits);           \
		} else {                                                         \
			for (unsigned i = 0; i < 2U << a64_##NAME##_Q(w); i++)   \
				r.s[i] = fp32_##op(&e, n.s[i], fbits);           \
		}                                                                \
		c->v[a64_##NAME##_Rd(w)] = r;                                    \
	}
VECTOR_FIXED(FCVTZS_vf, cvtzs_fixed)
VECTOR_FIXED(FCVTZU_vf, cvtzu_fixed)
VECTOR_FIXED(SCVTF_vf, scvtf_fixed)
VECTOR_FIXED(UCVTF_vf, ucvtf_fixed)

/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD integer arithmetic (DDI0487 C4.1, "Data Processing -- Scalar Floating-Point and
 * Advanced SIMD"): three same, three different, by element, two-register miscellaneous, across
 * lanes and pairwise. Shifts by immediate are in exec_simd_shift.c, data movement in
 * exec_simd_move.c.
 *
 * One line per instruction: the operation on lanes n, m and d (the old destination). A line named
 * without suffix defines all forms that the table has of it.
 */
#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/simd.h"

#define EXEC(NAME) void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)

/* The operand of a by-element instruction, in every lane. */
static union a64_vreg element(const struct a64_cpu *c, unsigned size, unsigned l, unsigned m,
			      unsigned rm, unsigned h)
{
	if (size == 1)
		return simd_dup(1, c->v[rm].h[h << 2 | l << 1 | m]);
	return simd_dup(2, c->v[m << 4 | rm].s[h << 1 | l]);
}

#define ELEMENT(NAME)                                                                              \
	element(c, a64_##NAME##_size(w), a64_##NAME##_L(w), a64_##NAME##_M(w), a64_##NAME##_Rm(w), \
		a64_##NAME##_H(w))
#define REGISTER(NAME) c->v[a64_##NAME##_Rm(w)]
#define NO_OPERAND(NAME)      \
	{                     \
		.d = { 0, 0 } \
	}

/* ---- Same width, cheap: loops that the compiler vectorises ---- */

#define SAME(NAME, OPERAND, S, ...)                                                     \
	EXEC(NAME)                                                                      \
	{                                                                               \
		const union a64_vreg vn = c->v[a64_##NAME##_Rn(w)], vm = OPERAND(NAME), \
				     vd = c->v[a64_##NAME##_Rd(w)];                     \
		union a64_vreg r;                                                       \
                                                                                        \
		LANES_BY_SIZE(LANES, a64_##NAME##_size(w), S, __VA_ARGS__)              \
		simd_write(c, a64_##NAME##_Rd(w), a64_##NAME##_Q(w), &r);               \
	}

/* The scalar form, of which only the 64-bit one exists. */
#define SCALAR_64(NAME, OPERAND, S, ...)                                                        \
	EXEC(NAME)                                                                              \
	{                                                                                       \
		const union a64_vreg vm = OPERAND(NAME);                                        \
		const S##64_t n = (S##64_t)c->v[a64_##NAME##_Rn(w)].d[0], m = (S##64_t)vm.d[0]; \
                                                                                                \
		(void)m;                                                                        \
		simd_write_scalar(c, a64_##NAME##_Rd(w), (uint64_t)(__VA_ARGS__));              \
	}

#define SAME_REG(NAME, S, ...) SAME(NAME, REGISTER, S, __VA_ARGS__)
#define SAME_REG_SCALAR(NAME, S, ...)              \
	SAME(NAME##_vec, REGISTER, S, __VA_ARGS__) \
	SCALAR_64(NAME##_scalar, REGISTER, S, __VA_ARGS__)
#define SAME_REG_ELEM(NAME, S, ...)                \
	SAME(NAME##_vec, REGISTER, S, __VA_ARGS__) \
	SAME(NAME##_elem, ELEMENT, S, __VA_ARGS__)
#define SAME_UNARY(NAME, S, ...) SAME(NAME, NO_OPERAND, S, __VA_ARGS__)
#define SAME_UNARY_SCALAR(NAME, S, ...)              \
	SAME(NAME##_vec, NO_OPERAND, S, __VA_ARGS__) \
	SCALAR_64(NAME##_scalar, NO_OPERAND, S, __VA_ARGS__)

/* |n - m|, subtracted without a sign so that nothing overflows. */
#define ABSOLUTE_DIFFERENCE (n > m ? (uint64_t)n - (uint64_t)m : (uint64_t)m - (uint64_t)n)

/* Unsigned arithmetic at the width of unsigned int or more, so that nothing overflows. */
SAME_REG_SCALAR(ADD, uint, n + m)
SAME_REG_SCALAR(SUB, uint, n - m)
SAME_REG_SCALAR(CMGT_reg, int, n > m ? -1 : 0)
SAME_REG_SCALAR(CMHI, uint, n > m ? -1 : 0)
SAME_REG_SCALAR(CMGE_reg, int, n >= m ? -1 : 0)
SAME_REG_SCALAR(CMHS, uint, n >= m ? -1 : 0)
SAME_REG_SCALAR(CMEQ_reg, uint, n == m ? -1 : 0)
SAME_REG_SCALAR(CMTST, uint, (n & m) != 0 ? -1 : 0)
SAME_REG(SMAX, int, n > m ? n : m)
SAME_REG(UMAX, uint, n > m ? n : m)
SAME_REG(SMIN, int, n < m ? n : m)
SAME_REG(UMIN, uint, n < m ? n : m)
SAME_REG(SABD, int, ABSOLUTE_DIFFERENCE)
SAME_REG(UABD, uint, ABSOLUTE_DIFFERENCE)
SAME_REG(SABA, int, (uint64_t)d + ABSOLUTE_DIFFERENCE)
SAME_REG(UABA, uint, (uint64_t)d + ABSOLUTE_DIFFERENCE)
SAME_REG_ELEM(MUL, uint, 1u * n * m)
SAME_REG_ELEM(MLA, uint, d + 1u * n * m)
SAME_REG_ELEM(MLS, uint, d - 1u * n * m)

SAME_UNARY_SCALAR(CMGT_zero, int, n > 0 ? -1 : 0)
SAME_UNARY_SCALAR(CMGE_zero, int, n >= 0 ? -1 : 0)
SAME_UNARY_SCALAR(CMEQ_zero, uint, n == 0 ? -1 : 0)
SAME_UNARY_SCALAR(CMLE_zero, int, n <= 0 ? -1 : 0)
SAME_UNARY_SCALAR(CMLT_zero, int, n < 0 ? -1 : 0)
SAME_UNARY_SCALAR(ABS, int, n < 0 ? 0 - (uint64_t)n : (uint64_t)n)
SAME_UNARY_SCALAR(NEG, uint, 0u - n)
SAME_UNARY(CLZ_vec, uint,
	   n == 0 ? 8 * (int)sizeof(n) : __builtin_clzll(n) - (64 - 8 * (int)sizeof(n)))
/* The sign bit itself does not count. */
SAME_UNARY(CLS_vec, int, __builtin_clrsbll(n) - (64 - 8 * (int)sizeof(n)))

/* Bitwise: no element size. */
#define BITWISE(NAME, OPERAND, ...)                                                     \
	EXEC(NAME)                                                                      \
	{                                                                               \
		const union a64_vreg vn = c->v[a64_##NAME##_Rn(w)], vm = OPERAND(NAME), \
				     vd = c->v[a64_##NAME##_Rd(w)];                     \
		union a64_vreg r;                                                       \
                                                                                        \
		LANES(uint64_t, d, __VA_ARGS__)                                         \
		simd_write(c, a64_##NAME##_Rd(w), a64_##NAME##_Q(w), &r);               \
	}

BITWISE(AND_vec, REGISTER, (n & m))
BITWISE(BIC_vec_reg, REGISTER, n & ~m)
BITWISE(ORR_vec_reg, REGISTER, n | m)
BITWISE(ORN_vec, REGISTER, n | ~m)
BITWISE(EOR_vec, REGISTER, n ^ m)
BITWISE(BSL, REGISTER, m ^ (d & (n ^ m)))
BITWISE(BIT, REGISTER, d ^ (m & (d ^ n)))
BITWISE(BIF, REGISTER, d ^ (~m & (d ^ n)))
BITWISE(NOT, NO_OPERAND, ~n)

/* The product of two polynomials over {0,1} of degree 7. */
static unsigned polynomial_product(unsigned n, unsigned m)
{
	unsigned r = 0;

	for (unsigned i = 0; i < 8; i++)
		r ^= n >> i & 1 ? m << i : 0;
	return r;
}

EXEC(PMUL)
{
	const union a64_vreg vn = c->v[a64_PMUL_Rn(w)], vm = c->v[a64_PMUL_Rm(w)], vd = vn;
	union a64_vreg r;

	LANES(uint8_t, b, polynomial_product(n, m))
	simd_write(c, a64_PMUL_Rd(w), a64_PMUL_Q(w), &r);
}

/* Eight bytes at once: in each, the sum of its bits, or its bits reversed. */
static uint64_t count_bits(uint64_t n)
{
	n -= n >> 1 & 0x5555555555555555;
	n = (n & 0x3333333333333333) + (n >> 2 & 0x3333333333333333);
	return (n + (n >> 4)) & 0x0f0f0f0f0f0f0f0f;
}

static uint64_t reverse_bits(uint64_t n)
{
	n = (n & 0x5555555555555555) << 1 | (n >> 1 & 0x5555555555555555);
	n = (n & 0x3333333333333333) << 2 | (n >> 2 & 0x3333333333333333);
	return (n & 0x0f0f0f0f0f0f0f0f) << 4 | (n >> 4 & 0x0f0f0f0f0f0f0f0f);
}

BITWISE(CNT, NO_OPERAND, count_bits(n))
BITWISE(RBIT_vec, NO_OPERAND, reverse_bits(n))

/* Reverse the elements of `size` in containers of 1 << container bytes. */
static void reverse(struct a64_cpu *c, unsigned rd, unsigned rn, unsigned q, unsigned size,
		    unsigned container)
{
	const unsigned flip = (1u << container) - (1u << size);
	const union a64_vreg n = c->v[rn];
	union a64_vreg r;

	for (unsigned i = 0; i < 16; i++)
		r.b[i] = n.b[i ^ flip];
	simd_write(c, rd, q, &r);
}

#define REVERSE(NAME, CONTAINER)                                                      \
	EXEC(NAME)                                                                    \
	{                                                                             \
		reverse(c, a64_##NAME##_Rd(w), a64_##NAME##_Rn(w), a64_##NAME##_Q(w), \
			a64_##NAME##_size(w), CONTAINER);                             \
	}

REVERSE(REV16_vec, 1)
REVERSE(REV32_vec, 2)
REVERSE(REV64_vec, 3)

/* ---- Pairs: n and m are an even element of Vm:Vn and the odd one above it ---- */

#define LANES_PAIRWISE(T, F, ...)                                       \
	for (unsigned i = 0; i < 16 / sizeof(T); i++) {                 \
		const T n = (T)both.F[2 * i], m = (T)both.F[2 * i + 1]; \
		r.F[i] = (__typeof__(r.F[0]))(__VA_ARGS__);             \
	}

#define PAIRWISE(NAME, S, ...)                                                                    \
	EXEC(NAME)                                                                                \
	{                                                                                         \
		const union simd_two both = simd_concat(                                          \
			&c->v[a64_##NAME##_Rn(w)], &c->v[a64_##NAME##_Rm(w)], a64_##NAME##_Q(w)); \
		union a64_vreg r;                                                                 \
                                                                                                  \
		LANES_BY_SIZE(LANES_PAIRWISE, a64_##NAME##_size(w), S, __VA_ARGS__)               \
		simd_write(c, a64_##NAME##_Rd(w), 1, &r);                                         \
	}

PAIRWISE(ADDP_vec, uint, n + m)
PAIRWISE(SMAXP, int, n > m ? n : m)
PAIRWISE(UMAXP, uint, n > m ? n : m)
PAIRWISE(SMINP, int, n < m ? n : m)
PAIRWISE(UMINP, uint, n < m ? n : m)

EXEC(ADDP_scalar)
{
	const union a64_vreg *n = &c->v[a64_ADDP_scalar_Rn(w)];

	simd_write_scalar(c, a64_ADDP_scalar_Rd(w), n->d[0] + n->d[1]);
}

/* The elements of a pair, summed at twice the width. */
#define LANES_PAIR(TN, FN, T, F, ...)                                   \
	for (unsigned i = 0; i < 16 / sizeof(T); i++) {                 \
		const T n = (TN)vn.FN[2 * i], m = (TN)vn.FN[2 * i + 1]; \
		const T d = (T)vd.F[i];                                 \
		(void)d;                                                \
		r.F[i] = (__typeof__(r.F[0]))(__VA_ARGS__);             \
	}

#define PAIR_LONG(NAME, S, ...)                                                                    \
	EXEC(NAME)                                                                                 \
	{                                                                                          \
		const union a64_vreg vn = c->v[a64_##NAME##_Rn(w)], vd = c->v[a64_##NAME##_Rd(w)]; \
		union a64_vreg r;                                                                  \
                                                                                                   \
		LANES_LONG_BY_SIZE(LANES_PAIR, a64_##NAME##_size(w), S, __VA_ARGS__)               \
		simd_write(c, a64_##NAME##_Rd(w), a64_##NAME##_Q(w), &r);                          \
	}

PAIR_LONG(SADDLP, int, n + m)
PAIR_LONG(UADDLP, uint, n + m)
PAIR_LONG(SADALP, int, (uint64_t)d + (uint64_t)(n + m))
PAIR_LONG(UADALP, uint, d + n + m)

/* ---- Across lanes ---- */

/* x starts as element 0 and takes in every other element n. */
#define ACROSS(NAME, S, LONG, ...)                                               \
	EXEC(NAME)                                                               \
	{                                                                        \
		const union a64_vreg *v = &c->v[a64_##NAME##_Rn(w)];             \
		const unsigned size = a64_##NAME##_size(w);                      \
		union a64_vreg r = { .d = { 0, 0 } };                            \
		S##64_t x = ACROSS_GET_##S(v, size, 0);                          \
                                                                                 \
		for (unsigned i = 1; i < 8u << a64_##NAME##_Q(w) >> size; i++) { \
			const S##64_t n = ACROSS_GET_##S(v, size, i);            \
                                                                                 \
			x = __VA_ARGS__;                                         \
		}                                                                \
		simd_set(&r, size + LONG, 0, (uint64_t)x);                       \
		simd_write(c, a64_##NAME##_Rd(w), 1, &r);                        \
	}
#define ACROSS_GET_int  simd_get_signed
#define ACROSS_GET_uint simd_get

ACROSS(ADDV, uint, 0, x + n)
ACROSS(SADDLV, int, 1, x + n)
ACROSS(UADDLV, uint, 1, x + n)
ACROSS(SMAXV, int, 0, n > x ? n : x)
ACROSS(UMAXV, uint, 0, n > x ? n : x)
ACROSS(SMINV, int, 0, n < x ? n : x)
ACROSS(UMINV, uint, 0, n < x ? n : x)

/* ---- Long, wide and narrow: Q selects the half of the narrow register ---- */

#define LONG(NAME, OPERAND, S, ...)                                                            \
	EXEC(NAME)                                                                             \
	{                                                                                      \
		const unsigned q = a64_##NAME##_Q(w);                                          \
		const union a64_vreg m_all = OPERAND(NAME);                                    \
		const union a64_vreg vn = simd_part(&c->v[a64_##NAME##_Rn(w)], q),             \
				     vm = simd_part(&m_all, q), vd = c->v[a64_##NAME##_Rd(w)]; \
		union a64_vreg r;                                                              \
                                                                                               \
		LANES_LONG_BY_SIZE(LANES_LONG, a64_##NAME##_size(w), S, __VA_ARGS__)           \
		simd_write(c, a64_##NAME##_Rd(w), 1, &r);                                      \
	}
#define LONG_REG(NAME, S, ...) LONG(NAME, REGISTER, S, __VA_ARGS__)
#define LONG_REG_ELEM(NAME, S, ...)                \
	LONG(NAME##_vec, REGISTER, S, __VA_ARGS__) \
	LONG(NAME##_elem, ELEMENT, S, __VA_ARGS__)

LONG_REG(SADDL, int, n + m)
LONG_REG(UADDL, uint, n + m)
LONG_REG(SSUBL, int, n - m)
LONG_REG(USUBL, uint, n - m)
LONG_REG(SABDL, int, n > m ? n - m : m - n)
LONG_REG(UABDL, uint, n > m ? n - m : m - n)
LONG_REG(SABAL, int, (uint64_t)d + (uint64_t)(n > m ? n - m : m - n))
LONG_REG(UABAL, uint, d + (n > m ? n - m : m - n))
LONG_REG_ELEM(SMULL, int, (n * m))
LONG_REG_ELEM(UMULL, uint, (n * m))
LONG_REG_ELEM(SMLAL, int, (uint64_t)d + (uint64_t)(n * m))
LONG_REG_ELEM(UMLAL, uint, d + n * m)
LONG_REG_ELEM(SMLSL, int, (uint64_t)d - (uint64_t)(n * m))
LONG_REG_ELEM(UMLSL, uint, d - n * m)

#define WIDE(NAME, S, ...)                                                                         \
	EXEC(NAME)                                                                                 \
	{                                                                                          \
		const union a64_vreg vn = c->v[a64_##NAME##_Rn(w)],                                \
				     vm = simd_part(&c->v[a64_##NAME##_Rm(w)], a64_##NAME##_Q(w)); \
		union a64_vreg r;                                                                  \
                                                                                                   \
		LANES_LONG_BY_SIZE(LANES_WIDE, a64_##NAME##_size(w), S, __VA_ARGS__)               \
		simd_write(c, a64_##NAME##_Rd(w), 1, &r);                                          \
	}

WIDE(SADDW, int, (uint64_t)n + (uint64_t)m)
WIDE(UADDW, uint, n + m)
WIDE(SSUBW, int, (uint64_t)n - (uint64_t)m)
WIDE(USUBW, uint, n - m)

EXEC(SHLL)
{
	const union a64_vreg vn = simd_part(&c->v[a64_SHLL_Rn(w)], a64_SHLL_Q(w));
	const union a64_vreg vm = vn, vd = vn;
	union a64_vreg r;

	LANES_LONG_BY_SIZE(LANES_LONG, a64_SHLL_size(w), uint, (uint64_t)n << 4 * sizeof(n))
	simd_write(c, a64_SHLL_Rd(w), 1, &r);
}

EXEC(PMULL_8)
{
	const union a64_vreg vn = simd_part(&c->v[a64_PMULL_8_Rn(w)], a64_PMULL_8_Q(w)),
			     vm = simd_part(&c->v[a64_PMULL_8_Rm(w)], a64_PMULL_8_Q(w)), vd = vn;
	union a64_vreg r;

	LANES_LONG(uint8_t, b, uint16_t, h, polynomial_product(n, m))
	simd_write(c, a64_PMULL_8_Rd(w), 1, &r);
}

/* The high half of each wide element. */
#define NARROW(NAME, OPERAND, ...)                                                      \
	EXEC(NAME)                                                                      \
	{                                                                               \
		const union a64_vreg vn = c->v[a64_##NAME##_Rn(w)], vm = OPERAND(NAME); \
		union a64_vreg r;                                                       \
                                                                                        \
		LANES_NARROW_BY_SIZE(a64_##NAME##_size(w), uint, __VA_ARGS__)           \
		simd_write_part(c, a64_##NAME##_Rd(w), a64_##NAME##_Q(w), &r);          \
	}
#define HALF  (4 * sizeof(n))
#define ROUND (UINT64_C(1) << (HALF - 1))

NARROW(ADDHN, REGISTER, ((uint64_t)n + m) >> HALF)
NARROW(RADDHN, REGISTER, ((uint64_t)n + m + ROUND) >> HALF)
NARROW(SUBHN, REGISTER, ((uint64_t)n - m) >> HALF)
NARROW(RSUBHN, REGISTER, ((uint64_t)n - m + ROUND) >> HALF)
NARROW(XTN, NO_OPERAND, n)

/* ---- Dot product: four bytes into a word ---- */

#define DOT(NAME, S, OPERAND)                                                           \
	EXEC(NAME)                                                                      \
	{                                                                               \
		const union a64_vreg vn = c->v[a64_##NAME##_Rn(w)], vm = OPERAND(NAME); \
		union a64_vreg r = c->v[a64_##NAME##_Rd(w)];                            \
                                                                                        \
		for (unsigned i = 0; i < 16; i++)                                       \
			r.s[i / 4] += (uint32_t)((S##8_t)vn.b[i] * (S##8_t)vm.b[i]);    \
		simd_write(c, a64_##NAME##_Rd(w), a64_##NAME##_Q(w), &r);               \
	}
#define DOT_ELEMENT(NAME) \
	element(c, 2, a64_##NAME##_L(w), a64_##NAME##_M(w), a64_##NAME##_Rm(w), a64_##NAME##_H(w))

DOT(SDOT_vec, int, REGISTER)
DOT(UDOT_vec, uint, REGISTER)
DOT(SDOT_elem, int, DOT_ELEMENT)
DOT(UDOT_elem, uint, DOT_ELEMENT)

/* ---- Exact: halving, saturating, rounding, variable shifts ---- */

#define EXACT_SIGNED_int  true
#define EXACT_SIGNED_uint false

/* All operands of one width. COUNT is of lanes, from the size. */
#define EXACT(NAME, OP, S, OPERAND, COUNT)                                                      \
	EXEC(NAME)                                                                              \
	{                                                                                       \
		const uint8_t size = (uint8_t)a64_##NAME##_size(w);                             \
		const struct simd_shape shape = {                                               \
			.n = size,                                                              \
			.m = size,                                                              \
			.d = size,                                                              \
			.bits = (uint8_t)(8 << size),                                           \
			.n_signed = EXACT_SIGNED_##S,                                           \
			.m_signed = EXACT_SIGNED_##S,                                           \
			.d_signed = EXACT_SIGNED_##S,                                           \
		};                                                                              \
		const union a64_vreg vm = OPERAND(NAME);                                        \
                                                                                                \
		c->v[a64_##NAME##_Rd(w)] =                                                      \
			simd_lanes(c, OP##_lane, shape, COUNT(NAME), &c->v[a64_##NAME##_Rn(w)], \
				   &vm, &c->v[a64_##NAME##_Rd(w)]);                             \
	}
#define ALL_LANES(NAME) (8u << a64_##NAME##_Q(w) >> a64_##NAME##_size(w))
#define ONE_LANE(NAME)  1

#define EXACT_REG(NAME, S, ...)    \
	LANE_OP(NAME, __VA_ARGS__) \
	EXACT(NAME, NAME, S, REGISTER, ALL_LANES)
#define EXACT_REG_SCALAR(NAME, S, ...)                  \
	LANE_OP(NAME, __VA_ARGS__)                      \
	EXACT(NAME##_vec, NAME, S, REGISTER, ALL_LANES) \
	EXACT(NAME##_scalar, NAME, S, REGISTER, ONE_LANE)
#define EXACT_REG_ELEM_SCALAR(NAME, S, ...)             \
	EXACT_REG_SCALAR(NAME, S, __VA_ARGS__)          \
	EXACT(NAME##_elem, NAME, S, ELEMENT, ALL_LANES) \
	EXACT(NAME##_scalar_elem, NAME, S, ELEMENT, ONE_LANE)
#define EXACT_UNARY_SCALAR(NAME, S, ...)                  \
	LANE_OP(NAME, __VA_ARGS__)                        \
	EXACT(NAME##_vec, NAME, S, NO_OPERAND, ALL_LANES) \
	EXACT(NAME##_scalar, NAME, S, NO_OPERAND, ONE_LANE)

EXACT_REG(SHADD, int, (n + m) >> 1)
EXACT_REG(UHADD, uint, (n + m) >> 1)
EXACT_REG(SRHADD, int, (n + m + 1) >> 1)
EXACT_REG(URHADD, uint, (n + m + 1) >> 1)
EXACT_REG(SHSUB, int, (n - m) >> 1)
EXACT_REG(UHSUB, uint, (n - m) >> 1)

EXACT_REG_SCALAR(SQADD, int, simd_sat_signed(c, n + m, bits))
EXACT_REG_SCALAR(UQADD, uint, simd_sat_unsigned(c, n + m, bits))
EXACT_REG_SCALAR(SQSUB, int, simd_sat_signed(c, n - m, bits))
EXACT_REG_SCALAR(UQSUB, uint, simd_sat_unsigned(c, n - m, bits))
EXACT_UNARY_SCALAR(SQABS, int, simd_sat_signed(c, n < 0 ? -n : n, bits))
EXACT_UNARY_SCALAR(SQNEG, int, simd_sat_signed(c, -n, bits))

EXACT_REG_ELEM_SCALAR(SQDMULH, int, simd_sat_signed(c, 2 * n * m >> bits, bits))
EXACT_REG_ELEM_SCALAR(SQRDMULH, int,
		      simd_sat_signed(c, (2 * n * m + ((simd_wide)1 << (bits - 1))) >> bits, bits))

/* FEAT_RDM: the accumulator at the scale of the product, one rounding, one saturation. */
static simd_wide round_accumulate(struct a64_cpu *c, simd_wide d, simd_wide product, unsigned bits)
{
	simd_wide one = (simd_wide)1 << bits;

	return simd_sat_signed(c, (d * one + 2 * product + one / 2) >> bits, bits);
}

EXACT_REG_ELEM_SCALAR(SQRDMLAH, int, round_accumulate(c, d, (n * m), bits))
EXACT_REG_ELEM_SCALAR(SQRDMLSH, int, round_accumulate(c, d, 0 - n * m, bits))

EXACT_REG_SCALAR(SSHL, int, simd_shift(n, (int8_t)m, false, bits))
EXACT_REG_SCALAR(USHL, uint, simd_shift(n, (int8_t)m, false, bits))
EXACT_REG_SCALAR(SRSHL, int, simd_shift(n, (int8_t)m, true, bits))
EXACT_REG_SCALAR(URSHL, uint, simd_shift(n, (int8_t)m, true, bits))
EXACT_REG_SCALAR(SQSHL_reg, int, simd_sat_signed(c, simd_shift(n, (int8_t)m, false, bits), bits))
EXACT_REG_SCALAR(UQSHL_reg, uint, simd_sat_unsigned(c, simd_shift(n, (int8_t)m, false, bits), bits))
EXACT_REG_SCALAR(SQRSHL, int, simd_sat_signed(c, simd_shift(n, (int8_t)m, true, bits), bits))
EXACT_REG_SCALAR(UQRSHL, uint, simd_sat_unsigned(c, simd_shift(n, (int8_t)m, true, bits), bits))

/* Two signs: the old destination takes in a source of the other sign. */
#define EXACT_MIXED(NAME, COUNT, OP, N_SIGNED)                                                  \
	EXEC(NAME)                                                                              \
	{                                                                                       \
		const uint8_t size = (uint8_t)a64_##NAME##_size(w);                             \
		const struct simd_shape shape = {                                               \
			.n = size,                                                              \
			.m = size,                                                              \
			.d = size,                                                              \
			.bits = (uint8_t)(8 << size),                                           \
			.n_signed = N_SIGNED,                                                   \
			.d_signed = !N_SIGNED,                                                  \
		};                                                                              \
		const union a64_vreg *vn = &c->v[a64_##NAME##_Rn(w)];                           \
                                                                                                \
		c->v[a64_##NAME##_Rd(w)] = simd_lanes(c, OP##_lane, shape, COUNT(NAME), vn, vn, \
						      &c->v[a64_##NAME##_Rd(w)]);               \
	}

LANE_OP(SUQADD, simd_sat_signed(c, d + n, bits))
EXACT_MIXED(SUQADD_vec, ALL_LANES, SUQADD, false)
EXACT_MIXED(SUQADD_scalar, ONE_LANE, SUQADD, false)
LANE_OP(USQADD, simd_sat_unsigned(c, d + n, bits))
EXACT_MIXED(USQADD_vec, ALL_LANES, USQADD, true)
EXACT_MIXED(USQADD_scalar, ONE_LANE, USQADD, true)

/* Saturating doubling multiply long: the product and the sum saturate one after the other. */
#define EXACT_LONG(NAME, OP, OPERAND, Q, COUNT)                                             \
	EXEC(NAME)                                                                          \
	{                                                                                   \
		const uint8_t size = (uint8_t)a64_##NAME##_size(w);                         \
		const struct simd_shape shape = {                                           \
			.n = size,                                                          \
			.m = size,                                                          \
			.d = (uint8_t)(size + 1),                                           \
			.bits = (uint8_t)(8 << size),                                       \
			.n_signed = true,                                                   \
			.m_signed = true,                                                   \
			.d_signed = true,                                                   \
		};                                                                          \
		const union a64_vreg m_all = OPERAND(NAME),                                 \
				     vn = simd_part(&c->v[a64_##NAME##_Rn(w)], Q(NAME)),    \
				     vm = simd_part(&m_all, Q(NAME));                       \
                                                                                            \
		c->v[a64_##NAME##_Rd(w)] = simd_lanes(c, OP##_lane, shape, COUNT, &vn, &vm, \
						      &c->v[a64_##NAME##_Rd(w)]);           \
	}
#define Q_FIELD(NAME)  a64_##NAME##_Q(w)
#define Q_SCALAR(NAME) 0

#define EXACT_LONG_ALL(NAME, ...)                                   \
	LANE_OP(NAME, __VA_ARGS__)                                  \
	EXACT_LONG(NAME##_vec, NAME, REGISTER, Q_FIELD, 8u >> size) \
	EXACT_LONG(NAME##_elem, NAME, ELEMENT, Q_FIELD, 8u >> size) \
	EXACT_LONG(NAME##_scalar, NAME, REGISTER, Q_SCALAR, 1)      \
	EXACT_LONG(NAME##_scalar_elem, NAME, ELEMENT, Q_SCALAR, 1)

EXACT_LONG_ALL(SQDMULL, simd_sat_signed(c, 2 * n * m, 2 * bits))
EXACT_LONG_ALL(SQDMLAL, simd_sat_signed(c, d + simd_sat_signed(c, 2 * n * m, 2 * bits), 2 * bits))
EXACT_LONG_ALL(SQDMLSL, simd_sat_signed(c, d - simd_sat_signed(c, 2 * n * m, 2 * bits), 2 * bits))

/* Saturating narrow: the vector form writes half Q, the scalar form one lane. */
#define NARROW_SHAPE(NAME, N_SIGNED)                                                          \
	{                                                                                     \
		.n = (uint8_t)(a64_##NAME##_size(w) + 1), .d = (uint8_t)a64_##NAME##_size(w), \
		.bits = (uint8_t)(8 << a64_##NAME##_size(w)), .n_signed = N_SIGNED,           \
	}
#define EXACT_NARROW(NAME, N_SIGNED, ...)                                              \
	LANE_OP(NAME, __VA_ARGS__)                                                     \
	EXEC(NAME##_vec)                                                               \
	{                                                                              \
		const struct simd_shape shape = NARROW_SHAPE(NAME##_vec, N_SIGNED);    \
		const union a64_vreg *vn = &c->v[a64_##NAME##_vec_Rn(w)];              \
		const union a64_vreg r =                                               \
			simd_lanes(c, NAME##_lane, shape, 8u >> shape.d, vn, vn, vn);  \
                                                                                       \
		simd_write_part(c, a64_##NAME##_vec_Rd(w), a64_##NAME##_vec_Q(w), &r); \
	}                                                                              \
	EXEC(NAME##_scalar)                                                            \
	{                                                                              \
		const struct simd_shape shape = NARROW_SHAPE(NAME##_scalar, N_SIGNED); \
		const union a64_vreg *vn = &c->v[a64_##NAME##_scalar_Rn(w)];           \
                                                                                       \
		c->v[a64_##NAME##_scalar_Rd(w)] =                                      \
			simd_lanes(c, NAME##_lane, shape, 1, vn, vn, vn);              \
	}

EXACT_NARROW(SQXTN, true, simd_sat_signed(c, n, bits))
EXACT_NARROW(UQXTN, false, simd_sat_unsigned(c, n, bits))
EXACT_NARROW(SQXTUN, true, simd_sat_unsigned(c, n, bits))

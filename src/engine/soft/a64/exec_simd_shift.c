/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD shift by immediate, vector and scalar (DDI0487 C4.1, "Advanced SIMD shift by
 * immediate" and "Advanced SIMD scalar shift by immediate").
 *
 * immh:immb holds the element size, as the highest set bit of immh, and the amount: a right shift
 * by 1 to the width of the (narrow) element, or a left shift by 0 to that width less 1.
 */
#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/simd.h"

#define EXEC(NAME) void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)

/* log2 of the bytes of the element, from immh */
static unsigned immh_size(unsigned immh)
{
	return 31 - (unsigned)__builtin_clz(immh);
}

#define SIZE(NAME)      immh_size(a64_##NAME##_immh(w))
#define IMMH_IMMB(NAME) (a64_##NAME##_immh(w) << 3 | a64_##NAME##_immb(w))
#define RIGHT(NAME)     ((16u << SIZE(NAME)) - IMMH_IMMB(NAME))
#define LEFT(NAME)      (IMMH_IMMB(NAME) - (8u << SIZE(NAME)))

/* ---- Same width: n and the old destination d, shifted by `by` ---- */

#define SHIFT(NAME, S, AMOUNT, ...)                                                       \
	EXEC(NAME##_vec)                                                                  \
	{                                                                                 \
		const union a64_vreg vn = c->v[a64_##NAME##_vec_Rn(w)], vm = vn,          \
				     vd = c->v[a64_##NAME##_vec_Rd(w)];                   \
		const unsigned by = AMOUNT(NAME##_vec);                                   \
		union a64_vreg r;                                                         \
                                                                                          \
		LANES_BY_SIZE(LANES, SIZE(NAME##_vec), S, __VA_ARGS__)                    \
		simd_write(c, a64_##NAME##_vec_Rd(w), a64_##NAME##_vec_Q(w), &r);         \
	}                                                                                 \
	EXEC(NAME##_scalar)                                                               \
	{                                                                                 \
		const S##64_t n = (S##64_t)c->v[a64_##NAME##_scalar_Rn(w)].d[0],          \
			      d = (S##64_t)c->v[a64_##NAME##_scalar_Rd(w)].d[0];          \
		const unsigned by = AMOUNT(NAME##_scalar);                                \
                                                                                          \
		(void)d;                                                                  \
		simd_write_scalar(c, a64_##NAME##_scalar_Rd(w), (uint64_t)(__VA_ARGS__)); \
	}

/* By the full width at most, which C's operator cannot do at once. */
#define TRUNCATED(n) ((n) >> (by - 1) >> 1)
/* (n + (1 << (by - 1))) >> by, without the intermediate bit */
#define ROUNDED(n) (((n) >> (by - 1) >> 1) + ((n) >> (by - 1) & 1))
/* All ones in the type of n. */
#define ONES ((__typeof__(n))-1)

SHIFT(SSHR, int, RIGHT, TRUNCATED(n))
SHIFT(USHR, uint, RIGHT, TRUNCATED(n))
SHIFT(SRSHR, int, RIGHT, ROUNDED(n))
SHIFT(URSHR, uint, RIGHT, ROUNDED(n))
SHIFT(SSRA, int, RIGHT, (uint64_t)d + (uint64_t)TRUNCATED(n))
SHIFT(USRA, uint, RIGHT, d + TRUNCATED(n))
SHIFT(SRSRA, int, RIGHT, (uint64_t)d + (uint64_t)ROUNDED(n))
SHIFT(URSRA, uint, RIGHT, d + ROUNDED(n))
SHIFT(SRI, uint, RIGHT, (d & ~TRUNCATED(ONES)) | TRUNCATED(n))
SHIFT(SHL, uint, LEFT, n << by)
SHIFT(SLI, uint, LEFT, (d & ~(ONES << by)) | n << by)

/* ---- Long and narrow ---- */

#define SHIFT_LONG(NAME, S)                                                                        \
	EXEC(NAME)                                                                                 \
	{                                                                                          \
		const union a64_vreg vn = simd_part(&c->v[a64_##NAME##_Rn(w)], a64_##NAME##_Q(w)), \
				     vm = vn, vd = vn;                                             \
		const unsigned by = LEFT(NAME);                                                    \
		union a64_vreg r;                                                                  \
                                                                                                   \
		LANES_LONG_BY_SIZE(LANES_LONG, SIZE(NAME), S, (uint64_t)n << by)                   \
		simd_write(c, a64_##NAME##_Rd(w), 1, &r);                                          \
	}

SHIFT_LONG(SSHLL, int)
SHIFT_LONG(USHLL, uint)

#define SHIFT_NARROW(NAME, ...)                                                \
	EXEC(NAME)                                                             \
	{                                                                      \
		const union a64_vreg vn = c->v[a64_##NAME##_Rn(w)], vm = vn;   \
		const unsigned by = RIGHT(NAME);                               \
		union a64_vreg r;                                              \
                                                                               \
		LANES_NARROW_BY_SIZE(SIZE(NAME), uint, __VA_ARGS__)            \
		simd_write_part(c, a64_##NAME##_Rd(w), a64_##NAME##_Q(w), &r); \
	}

SHIFT_NARROW(SHRN, TRUNCATED(n))
SHIFT_NARROW(RSHRN, ROUNDED(n))

/* ---- Saturating: m is the amount, as simd_shift() takes it ---- */

static union a64_vreg saturating(struct a64_cpu *c, simd_op *op, unsigned size, bool is_signed,
				 bool narrow, unsigned count, int by, unsigned rn)
{
	const struct simd_shape shape = {
		.n = (uint8_t)(size + narrow),
		.d = (uint8_t)size,
		.bits = (uint8_t)(8 << size),
		.n_signed = is_signed,
		.m_signed = true,
	};
	const union a64_vreg vn = c->v[rn], vm = simd_dup(0, (uint64_t)by);

	return simd_lanes(c, op, shape, count, &vn, &vm, &vn);
}

#define SATURATING_LEFT(NAME, IS_SIGNED, ...)                                                  \
	LANE_OP(NAME, __VA_ARGS__)                                                             \
	EXEC(NAME##_vec)                                                                       \
	{                                                                                      \
		const unsigned size = SIZE(NAME##_vec);                                        \
                                                                                               \
		c->v[a64_##NAME##_vec_Rd(w)] =                                                 \
			saturating(c, NAME##_lane, size, IS_SIGNED, false,                     \
				   8u << a64_##NAME##_vec_Q(w) >> size, (int)LEFT(NAME##_vec), \
				   a64_##NAME##_vec_Rn(w));                                    \
	}                                                                                      \
	EXEC(NAME##_scalar)                                                                    \
	{                                                                                      \
		c->v[a64_##NAME##_scalar_Rd(w)] =                                              \
			saturating(c, NAME##_lane, SIZE(NAME##_scalar), IS_SIGNED, false, 1,   \
				   (int)LEFT(NAME##_scalar), a64_##NAME##_scalar_Rn(w));       \
	}

SATURATING_LEFT(SQSHL_imm, true, simd_sat_signed(c, simd_shift(n, (int)m, false, bits), bits))
SATURATING_LEFT(UQSHL_imm, false, simd_sat_unsigned(c, simd_shift(n, (int)m, false, bits), bits))
SATURATING_LEFT(SQSHLU, true, simd_sat_unsigned(c, simd_shift(n, (int)m, false, bits), bits))

#define SATURATING_NARROW(NAME, IS_SIGNED, ...)                                             \
	LANE_OP(NAME, __VA_ARGS__)                                                          \
	EXEC(NAME##_vec)                                                                    \
	{                                                                                   \
		const unsigned size = SIZE(NAME##_vec);                                     \
		const union a64_vreg r =                                                    \
			saturating(c, NAME##_lane, size, IS_SIGNED, true, 8u >> size,       \
				   -(int)RIGHT(NAME##_vec), a64_##NAME##_vec_Rn(w));        \
                                                                                            \
		simd_write_part(c, a64_##NAME##_vec_Rd(w), a64_##NAME##_vec_Q(w), &r);      \
	}                                                                                   \
	EXEC(NAME##_scalar)                                                                 \
	{                                                                                   \
		c->v[a64_##NAME##_scalar_Rd(w)] =                                           \
			saturating(c, NAME##_lane, SIZE(NAME##_scalar), IS_SIGNED, true, 1, \
				   -(int)RIGHT(NAME##_scalar), a64_##NAME##_scalar_Rn(w));  \
	}

/* The source is twice as wide as `bits`. */
SATURATING_NARROW(SQSHRN, true, simd_sat_signed(c, simd_shift(n, (int)m, false, 2 * bits), bits))
SATURATING_NARROW(SQRSHRN, true, simd_sat_signed(c, simd_shift(n, (int)m, true, 2 * bits), bits))
SATURATING_NARROW(UQSHRN, false, simd_sat_unsigned(c, simd_shift(n, (int)m, false, 2 * bits), bits))
SATURATING_NARROW(UQRSHRN, false, simd_sat_unsigned(c, simd_shift(n, (int)m, true, 2 * bits), bits))
SATURATING_NARROW(SQSHRUN, true, simd_sat_unsigned(c, simd_shift(n, (int)m, false, 2 * bits), bits))
SATURATING_NARROW(SQRSHRUN, true, simd_sat_unsigned(c, simd_shift(n, (int)m, true, 2 * bits), bits))

/* SPDX-License-Identifier: MIT */
/*
 * What the Advanced SIMD executors share: elements of a vector register, and loops over lanes.
 *
 * Two kinds of loop. LANES and its relatives have a fixed element type and always run over the
 * whole register, so that the compiler vectorises them; the half that Q = 0 leaves out is cleared
 * when the result is written. simd_lanes() calls a function per lane with exact (128-bit)
 * operands: for what saturates, rounds or shifts by a variable amount.
 */
#ifndef HAKO_ENGINE_SOFT_A64_SIMD_H
#define HAKO_ENGINE_SOFT_A64_SIMD_H

#include <stdint.h>

#include "engine/soft/a64/cpu.h"

/* Wide enough for any intermediate value of 64-bit elements. */
typedef __int128 simd_wide;

/* Element i of 1 << size bytes. */
static inline uint64_t simd_get(const union a64_vreg *v, unsigned size, unsigned i)
{
	switch (size) {
	case 0: return v->b[i];
	case 1: return v->h[i];
	case 2: return v->s[i];
	default: return v->d[i];
	}
}

static inline int64_t simd_get_signed(const union a64_vreg *v, unsigned size, unsigned i)
{
	switch (size) {
	case 0: return (int8_t)v->b[i];
	case 1: return (int16_t)v->h[i];
	case 2: return (int32_t)v->s[i];
	default: return (int64_t)v->d[i];
	}
}

static inline void simd_set(union a64_vreg *v, unsigned size, unsigned i, uint64_t x)
{
	switch (size) {
	case 0: v->b[i] = (uint8_t)x; break;
	case 1: v->h[i] = (uint16_t)x; break;
	case 2: v->s[i] = (uint32_t)x; break;
	default: v->d[i] = x;
	}
}

/*
 * Registers are written whole, through a host vector: a 16-byte load that follows two 8-byte stores
 * waits until they have left the store buffer, and the next instruction often makes one.
 */
typedef uint64_t simd_2d __attribute__((vector_size(16), may_alias));

static inline union a64_vreg simd_pair(uint64_t low, uint64_t high)
{
	union a64_vreg r;

	*(simd_2d *)&r = (simd_2d){ low, high };
	return r;
}

/* A register with x in every lane. */
static inline union a64_vreg simd_dup(unsigned size, uint64_t x)
{
	static const uint64_t ones[] = { 0x0101010101010101, 0x0001000100010001, 0x100000001, 1 };
	const uint64_t lanes = (x & mask_low(8u << size)) * ones[size];

	return simd_pair(lanes, lanes);
}

/* Half q of v, at the low end: the operand of a long instruction ("Vpart"). */
static inline union a64_vreg simd_part(const union a64_vreg *v, unsigned q)
{
	return simd_pair(v->d[q], 0);
}

/* V[rd] = r, of which only the low half counts if Q = 0. */
static inline void simd_write(struct a64_cpu *c, unsigned rd, unsigned q, const union a64_vreg *r)
{
	static const simd_2d keep[2] = { { ~UINT64_C(0), 0 }, { ~UINT64_C(0), ~UINT64_C(0) } };

	*(simd_2d *)&c->v[rd] = *(const simd_2d *)r & keep[q];
}

/* The result of a narrowing instruction goes to half q; only the lower half clears the other. */
static inline void simd_write_part(struct a64_cpu *c, unsigned rd, unsigned q,
				   const union a64_vreg *r)
{
	c->v[rd] = q ? simd_pair(c->v[rd].d[0], r->d[0]) : simd_pair(r->d[0], 0);
}

static inline void simd_write_scalar(struct a64_cpu *c, unsigned rd, uint64_t x)
{
	c->v[rd] = simd_pair(x, 0);
}

/*
 * r.F[i] = expression of n, m and d, the elements of vn, vm and vd. T is the type of the operands:
 * the unsigned type of the element array F or its signed twin. Elements narrower than int are
 * promoted as C does; the result is truncated.
 */
#define LANES(T, F, ...)                                                \
	for (unsigned i = 0; i < 16 / sizeof(T); i++) {                 \
		const T n = (T)vn.F[i], m = (T)vm.F[i], d = (T)vd.F[i]; \
		(void)n;                                                \
		(void)m;                                                \
		(void)d;                                                \
		r.F[i] = (__typeof__(r.F[0]))(__VA_ARGS__);             \
	}

/* The same for long instructions: n and m are elements of TN in FN, extended to T. */
#define LANES_LONG(TN, FN, T, F, ...)                                       \
	for (unsigned i = 0; i < 16 / sizeof(T); i++) {                     \
		const T n = (TN)vn.FN[i], m = (TN)vm.FN[i], d = (T)vd.F[i]; \
		(void)n;                                                    \
		(void)m;                                                    \
		(void)d;                                                    \
		r.F[i] = (__typeof__(r.F[0]))(__VA_ARGS__);                 \
	}

/* Wide instructions: n is of T already, m is narrow. */
#define LANES_WIDE(TN, FN, T, F, ...)                       \
	for (unsigned i = 0; i < 16 / sizeof(T); i++) {     \
		const T n = (T)vn.F[i], m = (TN)vm.FN[i];   \
		r.F[i] = (__typeof__(r.F[0]))(__VA_ARGS__); \
	}

/* Narrowing instructions: n and m are of T in F, the result in FN. */
#define LANES_NARROW(FN, T, F, ...)                           \
	for (unsigned i = 0; i < 16 / sizeof(T); i++) {       \
		const T n = (T)vn.F[i], m = (T)vm.F[i];       \
		(void)m;                                      \
		r.FN[i] = (__typeof__(r.FN[0]))(__VA_ARGS__); \
	}

/* Run the loop for the element size; S is int or uint. */
#define LANES_BY_SIZE(LOOP, size, S, ...)            \
	switch (size) {                              \
	case 0: LOOP(S##8_t, b, __VA_ARGS__) break;  \
	case 1: LOOP(S##16_t, h, __VA_ARGS__) break; \
	case 2: LOOP(S##32_t, s, __VA_ARGS__) break; \
	default: LOOP(S##64_t, d, __VA_ARGS__)       \
	}

/* size is that of the narrow elements, 0 to 2. */
#define LANES_LONG_BY_SIZE(LOOP, size, S, ...)                   \
	switch (size) {                                          \
	case 0: LOOP(S##8_t, b, S##16_t, h, __VA_ARGS__) break;  \
	case 1: LOOP(S##16_t, h, S##32_t, s, __VA_ARGS__) break; \
	default: LOOP(S##32_t, s, S##64_t, d, __VA_ARGS__)       \
	}

#define LANES_NARROW_BY_SIZE(size, S, ...)                      \
	switch (size) {                                         \
	case 0: LANES_NARROW(b, S##16_t, h, __VA_ARGS__) break; \
	case 1: LANES_NARROW(h, S##32_t, s, __VA_ARGS__) break; \
	default: LANES_NARROW(s, S##64_t, d, __VA_ARGS__)       \
	}

/*
 * One lane of an exact operation: n, m and d are elements of the sources and of the old
 * destination, `bits` is the width of the narrow elements. Sets FPSR.QC where it saturates.
 */
typedef simd_wide simd_op(struct a64_cpu *c, simd_wide n, simd_wide m, simd_wide d, unsigned bits);

/* Define simd_op NAME_lane with the value of the expression. */
#define LANE_OP(NAME, ...)                                                                     \
	static simd_wide NAME##_lane(struct a64_cpu *c, simd_wide n, simd_wide m, simd_wide d, \
				     unsigned bits)                                            \
	{                                                                                      \
		(void)c;                                                                       \
		(void)n;                                                                       \
		(void)m;                                                                       \
		(void)d;                                                                       \
		(void)bits;                                                                    \
		return __VA_ARGS__;                                                            \
	}

/* The operands of simd_lanes(): log2 of the bytes of each one's elements, and their sign. */
struct simd_shape {
	uint8_t n, m, d; /* of sources and destination */
	uint8_t bits;    /* passed to the operation */
	bool n_signed, m_signed, d_signed;
};

/* r = the first `count` lanes of op; the rest is zero. */
static inline union a64_vreg simd_lanes(struct a64_cpu *c, simd_op *op, struct simd_shape s,
					unsigned count, const union a64_vreg *vn,
					const union a64_vreg *vm, const union a64_vreg *vd)
{
	union a64_vreg r = { .d = { 0, 0 } };

	for (unsigned i = 0; i < count; i++) {
		simd_wide n = s.n_signed ? (simd_wide)simd_get_signed(vn, s.n, i)
					 : (simd_wide)simd_get(vn, s.n, i);
		simd_wide m = s.m_signed ? (simd_wide)simd_get_signed(vm, s.m, i)
					 : (simd_wide)simd_get(vm, s.m, i);
		simd_wide d = s.d_signed ? (simd_wide)simd_get_signed(vd, s.d, i)
					 : (simd_wide)simd_get(vd, s.d, i);

		simd_set(&r, s.d, i, (uint64_t)op(c, n, m, d, s.bits));
	}
	return r;
}

/*
 * n shifted left by s, or right by -s: exact, except that what is certain to overflow (or to be all
 * sign) is not computed further. `bits` is the width of n.
 */
static inline simd_wide simd_shift(simd_wide n, int s, bool round, unsigned bits)
{
	int right = -s > (int)bits ? (int)bits + 1 : -s;

	if (s >= (int)bits)
		return (simd_wide)((n > 0) - (n < 0)) * ((simd_wide)1 << bits);
	if (s >= 0)
		return n * ((simd_wide)1 << s);
	return (n + (round ? (simd_wide)1 << (right - 1) : 0)) >> right;
}

/* Two registers as one sequence of elements. */
union simd_two {
	union a64_vreg v[2];
	uint8_t b[32];
	uint16_t h[16];
	uint32_t s[8];
	uint64_t d[4];
};

/* The elements of a, then those of b, each of 8 << q bytes; then zeros. */
static inline union simd_two simd_concat(const union a64_vreg *a, const union a64_vreg *b,
					 unsigned q)
{
	if (q)
		return (union simd_two){ .v = { *a, *b } };
	return (union simd_two){ .v = { simd_pair(a->d[0], b->d[0]), simd_pair(0, 0) } };
}

/* SignedSatQ() and UnsignedSatQ(): v in `bits` bits; FPSR.QC if it does not fit. */
static inline simd_wide simd_sat(struct a64_cpu *c, simd_wide v, simd_wide min, simd_wide max)
{
	if (v >= min && v <= max)
		return v;
	c->fpsr |= FPSR_QC;
	return v < min ? min : max;
}

static inline simd_wide simd_sat_signed(struct a64_cpu *c, simd_wide v, unsigned bits)
{
	simd_wide max = ((simd_wide)1 << (bits - 1)) - 1;

	return simd_sat(c, v, -max - 1, max);
}

static inline simd_wide simd_sat_unsigned(struct a64_cpu *c, simd_wide v, unsigned bits)
{
	return simd_sat(c, v, 0, ((simd_wide)1 << bits) - 1);
}

#endif

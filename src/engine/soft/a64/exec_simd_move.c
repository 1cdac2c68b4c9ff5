/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD data movement (DDI0487 C4.1): copy, permute, extract, table lookup, modified
 * immediate.
 */
#include <string.h>

#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/simd.h"

#define EXEC(NAME) void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)

/* ---- Copy: the lowest set bit of imm5 is the element size, the bits above it are the
 * index ---- */

static unsigned imm5_size(unsigned imm5)
{
	return (unsigned)__builtin_ctz(imm5);
}

static unsigned imm5_index(unsigned imm5)
{
	return imm5 >> (imm5_size(imm5) + 1);
}

EXEC(DUP_elem)
{
	const unsigned imm5 = a64_DUP_elem_imm5(w), size = imm5_size(imm5);
	const union a64_vreg r =
		simd_dup(size, simd_get(&c->v[a64_DUP_elem_Rn(w)], size, imm5_index(imm5)));

	simd_write(c, a64_DUP_elem_Rd(w), a64_DUP_elem_Q(w), &r);
}

EXEC(DUP_elem_scalar)
{
	const unsigned imm5 = a64_DUP_elem_scalar_imm5(w);

	simd_write_scalar(
		c, a64_DUP_elem_scalar_Rd(w),
		simd_get(&c->v[a64_DUP_elem_scalar_Rn(w)], imm5_size(imm5), imm5_index(imm5)));
}

EXEC(DUP_gen)
{
	const union a64_vreg r =
		simd_dup(imm5_size(a64_DUP_gen_imm5(w)), a64_xr(c, a64_DUP_gen_Rn(w)));

	simd_write(c, a64_DUP_gen_Rd(w), a64_DUP_gen_Q(w), &r);
}

EXEC(SMOV)
{
	const unsigned imm5 = a64_SMOV_imm5(w);
	const int64_t x = simd_get_signed(&c->v[a64_SMOV_Rn(w)], imm5_size(imm5), imm5_index(imm5));

	a64_xw(c, a64_SMOV_Rd(w), a64_SMOV_Q(w) ? (uint64_t)x : (uint32_t)x);
}

EXEC(UMOV)
{
	const unsigned imm5 = a64_UMOV_imm5(w);

	a64_xw(c, a64_UMOV_Rd(w),
	       simd_get(&c->v[a64_UMOV_Rn(w)], imm5_size(imm5), imm5_index(imm5)));
}

EXEC(INS_gen)
{
	const unsigned imm5 = a64_INS_gen_imm5(w);

	simd_set(&c->v[a64_INS_gen_Rd(w)], imm5_size(imm5), imm5_index(imm5),
		 a64_xr(c, a64_INS_gen_Rn(w)));
}

EXEC(INS_elem)
{
	const unsigned imm5 = a64_INS_elem_imm5(w), size = imm5_size(imm5);
	const unsigned from = a64_INS_elem_imm4(w) >> size;

	simd_set(&c->v[a64_INS_elem_Rd(w)], size, imm5_index(imm5),
		 simd_get(&c->v[a64_INS_elem_Rn(w)], size, from));
}

/* ---- Permute: LOOP(F) fills r from vn and vm, elements F ---- */

#define PERMUTE_BY_SIZE(size, LOOP) \
	switch (size) {             \
	case 0: LOOP(b) break;      \
	case 1: LOOP(h) break;      \
	case 2: LOOP(s) break;      \
	default: LOOP(d)            \
	}

#define INTERLEAVE(F)                                       \
	for (unsigned i = 0; i < 8 / sizeof(r.F[0]); i++) { \
		r.F[2 * i] = vn.F[i];                       \
		r.F[2 * i + 1] = vm.F[i];                   \
	}

#define TRANSPOSE(F)                                            \
	for (unsigned i = 0; i < 16 / sizeof(r.F[0]); i += 2) { \
		r.F[i] = vn.F[i + odd];                         \
		r.F[i + 1] = vm.F[i + odd];                     \
	}

#define DEINTERLEAVE(F)                                    \
	for (unsigned i = 0; i < 16 / sizeof(r.F[0]); i++) \
		r.F[i] = both.F[2 * i + odd];

/* The lower or upper half of an operand of 8 << q bytes, at the low end. */
static union a64_vreg half(const union a64_vreg *v, unsigned q, unsigned upper)
{
	return simd_pair(q ? v->d[upper] : v->d[0] >> 32 * upper, 0);
}

#define ZIP(NAME, UPPER)                                                             \
	EXEC(NAME)                                                                   \
	{                                                                            \
		const unsigned q = a64_##NAME##_Q(w);                                \
		const union a64_vreg vn = half(&c->v[a64_##NAME##_Rn(w)], q, UPPER), \
				     vm = half(&c->v[a64_##NAME##_Rm(w)], q, UPPER); \
		union a64_vreg r;                                                    \
                                                                                     \
		PERMUTE_BY_SIZE(a64_##NAME##_size(w), INTERLEAVE)                    \
		simd_write(c, a64_##NAME##_Rd(w), q, &r);                            \
	}
#define TRN(NAME, ODD)                                                                             \
	EXEC(NAME)                                                                                 \
	{                                                                                          \
		const union a64_vreg vn = c->v[a64_##NAME##_Rn(w)], vm = c->v[a64_##NAME##_Rm(w)]; \
		const unsigned odd = ODD;                                                          \
		union a64_vreg r;                                                                  \
                                                                                                   \
		PERMUTE_BY_SIZE(a64_##NAME##_size(w), TRANSPOSE)                                   \
		simd_write(c, a64_##NAME##_Rd(w), a64_##NAME##_Q(w), &r);                          \
	}
#define UZP(NAME, ODD)                                                                            \
	EXEC(NAME)                                                                                \
	{                                                                                         \
		const union simd_two both = simd_concat(                                          \
			&c->v[a64_##NAME##_Rn(w)], &c->v[a64_##NAME##_Rm(w)], a64_##NAME##_Q(w)); \
		const unsigned odd = ODD;                                                         \
		union a64_vreg r;                                                                 \
                                                                                                  \
		PERMUTE_BY_SIZE(a64_##NAME##_size(w), DEINTERLEAVE)                               \
		simd_write(c, a64_##NAME##_Rd(w), 1, &r);                                         \
	}

ZIP(ZIP1, 0)
ZIP(ZIP2, 1)
TRN(TRN1, 0)
TRN(TRN2, 1)
UZP(UZP1, 0)
UZP(UZP2, 1)

/* ---- Extract and table lookup ---- */

EXEC(EXT)
{
	const unsigned q = a64_EXT_Q(w), bytes = 8u << q;
	uint8_t both[32] = { 0 };
	union a64_vreg r;

	memcpy(both, c->v[a64_EXT_Rn(w)].b, bytes);
	memcpy(both + bytes, c->v[a64_EXT_Rm(w)].b, bytes);
	memcpy(r.b, both + a64_EXT_imm4(w), 16);
	simd_write(c, a64_EXT_Rd(w), q, &r);
}

/* r is what an index outside the table leaves; the table is V[rn] onwards, modulo 32. */
static void look_up(struct a64_cpu *c, unsigned rd, unsigned rn, unsigned rm, unsigned len,
		    unsigned q, union a64_vreg r)
{
	const union a64_vreg m = c->v[rm];
	union a64_vreg table[4];

	for (unsigned i = 0; i <= len; i++)
		table[i] = c->v[(rn + i) % 32];
	for (unsigned i = 0; i < 16; i++) {
		if (m.b[i] < 16 * (len + 1))
			r.b[i] = table[m.b[i] / 16].b[m.b[i] % 16];
	}
	simd_write(c, rd, q, &r);
}

EXEC(TBL)
{
	look_up(c, a64_TBL_Rd(w), a64_TBL_Rn(w), a64_TBL_Rm(w), a64_TBL_len(w), a64_TBL_Q(w),
		(union a64_vreg){ .d = { 0, 0 } });
}

EXEC(TBX)
{
	look_up(c, a64_TBX_Rd(w), a64_TBX_Rn(w), a64_TBX_Rm(w), a64_TBX_len(w), a64_TBX_Q(w),
		c->v[a64_TBX_Rd(w)]);
}

/* ---- Modified immediate ---- */

/* AdvSIMDExpandImm() for cmode 0 to 14 of the instructions that do not take 64 bits: 64 bits of the
 * value before MVNI and BIC invert it. */
static uint64_t expand_immediate(unsigned cmode, uint64_t imm8)
{
	if (cmode < 8) /* 32-bit, shifted by bytes */
		return simd_dup(2, imm8 << 8 * (cmode >> 1)).d[0];
	if (cmode < 12) /* 16-bit, shifted by bytes */
		return simd_dup(1, imm8 << 8 * (cmode >> 1 & 1)).d[0];
	if (cmode < 14) /* 32-bit, ones shifted in */
		return simd_dup(2, cmode & 1 ? imm8 << 16 | 0xffff : imm8 << 8 | 0xff).d[0];
	return simd_dup(0, imm8).d[0];
}

#define IMM8(NAME) (a64_##NAME##_abc(w) << 5 | a64_##NAME##_defgh(w))
#define IMMEDIATE(NAME, ...)                                                              \
	EXEC(NAME)                                                                        \
	{                                                                                 \
		const uint64_t imm = expand_immediate(a64_##NAME##_cmode(w), IMM8(NAME)); \
		const union a64_vreg vn = { .d = { imm, imm } }, vm = vn,                 \
				     vd = c->v[a64_##NAME##_Rd(w)];                       \
		union a64_vreg r;                                                         \
                                                                                          \
		LANES(uint64_t, d, __VA_ARGS__)                                           \
		simd_write(c, a64_##NAME##_Rd(w), a64_##NAME##_Q(w), &r);                 \
	}

IMMEDIATE(MOVI, n)
IMMEDIATE(MVNI, ~n)
IMMEDIATE(ORR_vec_imm, d | n)
IMMEDIATE(BIC_vec_imm, d & ~n)

/* Each bit of the immediate is a byte of the result. */
EXEC(MOVI_64)
{
	const unsigned imm8 = IMM8(MOVI_64);
	union a64_vreg r;

	for (unsigned i = 0; i < 16; i++)
		r.b[i] = bit(imm8, i % 8) ? 0xff : 0;
	simd_write(c, a64_MOVI_64_Rd(w), a64_MOVI_64_Q(w), &r);
}

/* VFPExpandImm(): sign a, exponent NOT(b):b..b:c:d with e_bits bits, fraction e:f:g:h. */
static uint64_t expand_fp(uint64_t imm8, unsigned e_bits, unsigned f_bits)
{
	const uint64_t b = imm8 >> 6 & 1;
	const uint64_t exponent =
		(b ? (UINT64_C(1) << (e_bits - 1)) - 4 : UINT64_C(1) << (e_bits - 1)) |
		(imm8 >> 4 & 3);

	return (imm8 >> 7) << (e_bits + f_bits) | exponent << f_bits | (imm8 & 15) << (f_bits - 4);
}

EXEC(FMOV_vec_imm_s)
{
	const union a64_vreg r = simd_dup(2, expand_fp(IMM8(FMOV_vec_imm_s), 8, 23));

	simd_write(c, a64_FMOV_vec_imm_s_Rd(w), a64_FMOV_vec_imm_s_Q(w), &r);
}

EXEC(FMOV_vec_imm_d)
{
	c->v[a64_FMOV_vec_imm_d_Rd(w)] = simd_dup(3, expand_fp(IMM8(FMOV_vec_imm_d), 11, 52));
}

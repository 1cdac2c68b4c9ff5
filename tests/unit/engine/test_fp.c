/* SPDX-License-Identifier: MIT */
/*
 * AArch64 floating point: against the host's IEEE 754 arithmetic in all rounding modes, on edge
 * values and random ones, and what the manual adds to IEEE 754, case by case. Every operation is
 * also run with IXC set before, which lets the library use its fast paths: nothing else may change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "engine/soft/a64/cpu.h"
#include "engine/soft/fp.h"

enum {
	IOC = FPSR_IOC,
	DZC = FPSR_DZC,
	OFC = FPSR_OFC,
	UFC = FPSR_UFC,
	IXC = FPSR_IXC,
	IDC = FPSR_IDC,
	FZ = FPCR_FZ,
	DN = FPCR_DN,
	AHP = FPCR_AHP,
};
static const uint32_t rmode[] = { 0, 1 << 22, 2 << 22, 3 << 22 };
static const int host_rmode[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };

/* By pointer: what compilers put in the place of a call is for rounding to nearest only. */
static double (*volatile rint64)(double) = rint;
static float (*volatile rint32)(float) = rintf;

/* Bit patterns of numbers, at run time so that the host's flags are raised at run time. */
static double to_double(uint64_t a)
{
	double f;

	memcpy(&f, &a, sizeof(f));
	return f;
}
static float to_float(uint64_t a)
{
	const uint32_t low = (uint32_t)a;
	float f;

	memcpy(&f, &low, sizeof(f));
	return f;
}
static uint64_t of_double(double f)
{
	uint64_t a;

	memcpy(&a, &f, sizeof(a));
	return a;
}
static uint64_t of_float(float f)
{
	uint32_t a;

	memcpy(&a, &f, sizeof(a));
	return a;
}

enum ieee_op {
	ADD,
	SUB,
	MUL,
	DIV,
	SQRT,
	RINTX,
	MULADD,
	TO_OTHER,
	FROM_S64,
	FROM_U64,
	FROM_S32,
	N_OPS
};
static const unsigned operands[N_OPS] = { 2, 2, 2, 2, 1, 1, 3, 1, 1, 1, 1 };

#define REFERENCE(w, F, other, fma, sqrt, rint)                                      \
	static uint64_t host##w(enum ieee_op op, uint64_t a, uint64_t b, uint64_t c) \
	{                                                                            \
		const volatile F x = to_##F(a), y = to_##F(b), z = to_##F(c);        \
		const volatile uint64_t n = a;                                       \
		volatile F r = 0;                                                    \
		volatile other o;                                                    \
		switch (op) {                                                        \
		case ADD: r = x + y; break;                                          \
		case SUB: r = x - y; break;                                          \
		case MUL: r = x * y; break;                                          \
		case DIV: r = x / y; break;                                          \
		case SQRT: r = sqrt(x); break;                                       \
		case RINTX: r = rint(x); break;                                      \
		case MULADD: r = fma(x, y, z); break;                                \
		case TO_OTHER: o = (other)x; return of_##other(o);                   \
		case FROM_S64: r = (F)(int64_t)n; break;                             \
		case FROM_U64: r = n ? (F)n : 0; break;                              \
		case FROM_S32: r = (F)(int32_t)n; break;                             \
		case N_OPS: break;                                                   \
		}                                                                    \
		return of_##F(r);                                                    \
	}
REFERENCE(32, float, double, fmaf, sqrtf, rint32)
REFERENCE(64, double, float, fma, sqrt, rint64)

#define GUEST(T, w, ow)                                                                          \
	static uint64_t guest##w(const struct fpenv *e, enum ieee_op op, uint64_t n, uint64_t m, \
				 uint64_t l)                                                     \
	{                                                                                        \
		const T a = (T)n, b = (T)m, c = (T)l;                                            \
		switch (op) {                                                                    \
		case ADD: return fp##w##_add(e, a, b);                                           \
		case SUB: return fp##w##_sub(e, a, b);                                           \
		case MUL: return fp##w##_mul(e, a, b);                                           \
		case DIV: return fp##w##_div(e, a, b);                                           \
		case SQRT: return fp##w##_sqrt(e, a);                                            \
		case RINTX: return fp##w##_round_int(e, a, fp_rmode(e), true);                   \
		case MULADD: return fp##w##_muladd(e, c, a, b);                                  \
		case TO_OTHER: return fp##ow##_from_fp##w(e, a);                                 \
		case FROM_S64: return fp##w##_from_fixed(e, n, 0, false, fp_rmode(e), 64);       \
		case FROM_U64: return fp##w##_from_fixed(e, n, 0, true, fp_rmode(e), 64);        \
		case FROM_S32: return fp##w##_from_fixed(e, n, 0, false, fp_rmode(e), 32);       \
		case N_OPS: break;                                                               \
		}                                                                                \
		return 0;                                                                        \
	}
GUEST(uint32_t, 32, 64)
GUEST(uint64_t, 64, 32)

static uint32_t host_flags(void)
{
	const int raised = fetestexcept(FE_ALL_EXCEPT);

	return (raised & FE_INVALID ? IOC : 0U) | (raised & FE_DIVBYZERO ? DZC : 0U) |
	       (raised & FE_OVERFLOW ? OFC : 0U) | (raised & FE_UNDERFLOW ? UFC : 0U) |
	       (raised & FE_INEXACT ? IXC : 0U);
}

static bool is_nan(unsigned w, uint64_t a)
{
	return w == 64 ? a << 1 > 0x7ffULL << 53 : (uint32_t)(a << 1) > 0xffU << 24;
}
static bool is_smallest_normal(unsigned w, uint64_t a)
{
	return w == 64 ? a << 1 == 1ULL << 53 : (uint32_t)(a << 1) == 1U << 24;
}

/* One operation in every rounding mode, with IXC clear and set before. */
static void compare_with_host(unsigned w, enum ieee_op op, uint64_t a, uint64_t b, uint64_t c)
{
	const unsigned rw = op == TO_OTHER ? 96 - w : w;

	for (int mode = 0; mode < 4; mode++) {
		fesetround(host_rmode[mode]);
		feclearexcept(FE_ALL_EXCEPT);
		const uint64_t want = (w == 64 ? host64 : host32)(op, a, b, c);
		const uint32_t want_flags = host_flags();
		fesetround(FE_TONEAREST);

		uint32_t flags = 0, flags_after_ixc = IXC;
		const struct fpenv e = { rmode[mode], &flags };
		const struct fpenv after_ixc = { rmode[mode], &flags_after_ixc };
		const uint64_t got = (w == 64 ? guest64 : guest32)(&e, op, a, b, c);
		const uint64_t again = (w == 64 ? guest64 : guest32)(&after_ixc, op, a, b, c);

		/* Which NaN is the host's own choice. x86-64 detects tininess after rounding. For
		 * infinity times zero plus a quiet NaN, IEEE 754 leaves IOC open. */
		uint32_t open = is_smallest_normal(rw, want) ? UFC : 0;
		if (op == MULADD && is_nan(w, c))
			open |= IOC;
		if (again != got || flags_after_ixc != (flags | IXC) ||
		    (is_nan(rw, want) ? !is_nan(rw, got) : got != want) ||
		    ((flags ^ want_flags) & ~open))
			fail_msg("op %d of fp%u, mode %d: %#llx %#llx %#llx: %#llx or %#llx flags "
				 "%#x, not %#llx flags %#x",
				 op, w, mode, (unsigned long long)a, (unsigned long long)b,
				 (unsigned long long)c, (unsigned long long)got,
				 (unsigned long long)again, flags, (unsigned long long)want,
				 want_flags);
	}
}

static const uint64_t edges64[] = {
	0,
	1,
	0x0008000000000000,
	0x000fffffffffffff,
	0x0010000000000000, /* the smallest normal */
	0x0010000000000001,
	0x001fffffffffffff,
	0x0370000000000000,
	0x1ff0000000000000, /* near the root of the smallest normal */
	0x2000000000000001,
	0x369fffffffffffff, /* half the smallest subnormal single */
	0x36a0000000000001,
	0x380fffffffffffff, /* the smallest normal single */
	0x3810000000000000,
	0x3fe0000000000000,
	0x3fefffffffffffff,
	0x3ff0000000000000, /* 1 */
	0x3ff0000000000001,
	0x3ff8000000000000,
	0x4004000000000000, /* 2.5 */
	0x41dfffffffc00000, /* 2^31 - 1 */
	0x4330000000000001,
	0x43e0000000000000, /* 2^63 */
	0x47efffffe0000000, /* the largest single */
	0x47effffff0000000,
	0x5fe0000000000001, /* near the root of the largest */
	0x7fe0000000000000,
	0x7fefffffffffffff,
	0x7ff0000000000000,
	0x7ff8000000000000,
	0x7ff0000000000001, /* a signalling NaN */
};
static const uint64_t edges32[] = {
	0,          1,          0x00400000, 0x007fffff, 0x00800000, 0x00800001, 0x00ffffff,
	0x0c800000, 0x1f800000, 0x20000001, 0x3effffff, 0x3f000000, 0x3f7fffff, 0x3f800000,
	0x3f800001, 0x3fc00000, 0x40200000, 0x4b000001, 0x4effffff, 0x5f000000, 0x5f000001,
	0x7f000000, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x7f800001,
};

static uint64_t edge(unsigned w, size_t i)
{
	const uint64_t v = w == 64 ? edges64[i / 2] : edges32[i / 2];

	return v | (uint64_t)(i & 1) << (w - 1);
}
static size_t n_edges(unsigned w)
{
	return 2 * (w == 64 ? ARRAY_SIZE(edges64) : ARRAY_SIZE(edges32));
}

static void edges(void **state)
{
	(void)state;
	for (unsigned w = 32; w <= 64; w += 32) {
		const size_t n = n_edges(w);
		for (unsigned op = 0; op < N_OPS; op++) {
			const size_t nb = operands[op] > 1 ? n : 1, nc = operands[op] > 2 ? n : 1;
			/* All pairs, and of the triples a share. */
			for (size_t a = 0; a < n; a++) {
				for (size_t b = 0; b < nb; b++) {
					for (size_t c = a * b % 3; c < nc; c += 3)
						compare_with_host(w, (enum ieee_op)op, edge(w, a),
								  edge(w, b), edge(w, c));
					if (nc == 1)
						compare_with_host(w, (enum ieee_op)op, edge(w, a),
								  edge(w, b), 0);
				}
			}
		}
	}
}

static uint64_t random_state = 1;
static uint64_t random64(void)
{
	/* splitmix64 */
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}
/* A number with an exponent near that of 1, or anywhere, and often few bits of fraction. */
static uint64_t random_number(unsigned w)
{
	const unsigned fbits = w == 64 ? 52 : 23;
	const uint64_t r = random64(), all = mask_low(w - 1 - fbits);
	const uint64_t exp = r & 3 ? (all >> 1) - 20 + (r >> 2) % 40 : r >> 2;
	uint64_t frac = random64() & mask_low(fbits);

	if (r >> 60 & 1)
		frac &= ~mask_low((unsigned)(r >> 50) % (fbits + 1));
	return r >> 63 << (w - 1) | (exp & all) << fbits | frac;
}

static void random_numbers(void **state)
{
	(void)state;
	for (unsigned w = 32; w <= 64; w += 32) {
		for (unsigned op = 0; op < N_OPS; op++) {
			for (int i = 0; i < 10000; i++) {
				const uint64_t a = random_number(w), b = random_number(w);
				/* sums that cancel, or nearly */
				const uint64_t c =
					i & 1 ? random_number(w) : host64(MUL, a, b, 0) ^ BIT(63);
				compare_with_host(w, (enum ieee_op)op, a, b, c);
			}
		}
	}
}

/* FPToFixed() against scaling and rounding in doubles, which is exact. */
static void to_integers(void **state)
{
	(void)state;
	for (int i = 0; i < 40000; i++) {
		const uint64_t a = i < 62 ? edge(64, (size_t)i) : random_number(64);
		const double x = to_double(a);
		const unsigned width = i & 1 ? 64 : 32, fbits = (unsigned)i >> 1 & 7;
		const bool is_unsigned = i & 16;
		const double scaled = ldexp(x, (int)fbits), low = floor(scaled);
		const double min = is_unsigned ? 0 : -ldexp(1, (int)width - 1);
		const double end = ldexp(1, (int)width - !is_unsigned);

		for (int r = FP_RN; r <= FP_RA; r++) {
			const double want = r == FP_RN   ? rint(scaled)
					    : r == FP_RP ? ceil(scaled)
					    : r == FP_RM ? low
					    : r == FP_RZ ? trunc(scaled)
							 : round(scaled);
			uint32_t flags = 0, flags_after_ixc = IXC;
			const uint64_t got = fp64_to_fixed(&(struct fpenv){ 0, &flags }, a, fbits,
							   is_unsigned, (enum fp_round)r, width);
			const uint64_t again =
				fp64_to_fixed(&(struct fpenv){ 0, &flags_after_ixc }, a, fbits,
					      is_unsigned, (enum fp_round)r, width);
			const uint64_t max = mask_low(is_unsigned ? width : width - 1);

			assert_true(got == again && flags_after_ixc == (flags | IXC));
			if (isnan(x)) {
				assert_true(got == 0 && flags == IOC);
			} else if (want < min) {
				assert_true(got == (is_unsigned ? 0 : max + 1) && flags == IOC);
			} else if (want >= end) {
				assert_true(got == max && flags == IOC);
			} else {
				const uint64_t v = want < 0 ? 0 - (uint64_t)-want : (uint64_t)want;
				assert_true(got == (v & mask_low(width)));
				assert_true(flags == (want == scaled ? 0U : (uint32_t)IXC));
			}
		}
	}
}

/* Half precision: every value there and back, and rounding against rint(). */
static void halves(void **state)
{
	uint32_t flags = 0;
	struct fpenv e = { 0, &flags };

	(void)state;
	for (unsigned h = 0; h < 0x10000; h++) {
		const unsigned exp = h >> 10 & 31, frac = h & 0x3ff;
		for (e.fpcr = 0;; e.fpcr = AHP) {
			if (exp == 31 && !e.fpcr) {
				const uint64_t d = fp64_from_fp16(&e, (uint16_t)h);
				assert_true(frac ? isnan(to_double(d)) : isinf(to_double(d)));
				assert_int_equal(fp16_from_fp64(&e, d), frac ? h | 0x200 : h);
				continue;
			}
			const double x =
				(h & 0x8000 ? -1 : 1) *
				(exp ? ldexp(1024 + frac, (int)exp - 25) : ldexp(frac, -24));
			flags = 0;
			assert_true(fp64_from_fp16(&e, (uint16_t)h) == of_double(x));
			assert_true(fp32_from_fp16(&e, (uint16_t)h) == of_float((float)x));
			assert_int_equal(fp16_from_fp64(&e, of_double(x)), h);
			assert_int_equal(fp16_from_fp32(&e, (uint32_t)of_float((float)x)), h);
			assert_int_equal(flags, 0);
			if (e.fpcr)
				break;
		}
	}
	for (int i = 0; i < 40000; i++) {
		const int mode = i & 3;
		const double x =
			ldexp((double)random64(), -(int)(random64() % 60) - 48) * (i & 4 ? 1 : -1);
		const int exp = ilogb(x) < -14 ? -14 : ilogb(x);
		fesetround(host_rmode[mode]);
		const double want = ldexp(rint64(ldexp(x, 10 - exp)), exp - 10);
		fesetround(FE_TONEAREST);
		e.fpcr = rmode[mode];
		flags = 0;
		const uint16_t got = fp16_from_fp64(&e, of_double(x));
		const uint32_t got_flags = flags;
		if (fabs(want) < 65536) {
			assert_true(fp64_from_fp16(&e, got) == of_double(want));
			assert_int_equal(got_flags,
					 (want == x ? 0 : IXC) |
						 (want != x && fabs(x) < 0x1p-14 ? UFC : 0));
		} else {
			const bool inf = mode == 0 || mode == (x > 0 ? 1 : 2);
			assert_int_equal(got & 0x7fff, inf ? 0x7c00 : 0x7bff);
			assert_int_equal(got_flags, OFC | IXC);
		}
	}
}

/* What the manual says beyond IEEE 754. */

enum fact_op {
	F_ADD,
	F_SUB,
	F_MUL,
	F_MULX,
	F_DIV,
	F_SQRT,
	F_MULADD,
	F_MAX,
	F_MIN,
	F_MAXNM,
	F_MINNM,
	F_RECPS,
	F_RSQRTS,
	F_RECPE,
	F_RSQRTE,
	F_RECPX,
	F_RINTX,
	F_TO_DOUBLE,
	F_TO_HALF,
	F_FROM_HALF,
	F_CMP,
	F_CMPE,
	F_EQ,
	F_GE
};

static uint64_t fact(const struct fpenv *e, enum fact_op op, uint32_t a, uint32_t b, uint32_t c)
{
	switch (op) {
	case F_ADD: return fp32_add(e, a, b);
	case F_SUB: return fp32_sub(e, a, b);
	case F_MUL: return fp32_mul(e, a, b);
	case F_MULX: return fp32_mulx(e, a, b);
	case F_DIV: return fp32_div(e, a, b);
	case F_SQRT: return fp32_sqrt(e, a);
	case F_MULADD: return fp32_muladd(e, c, a, b);
	case F_MAX: return fp32_max(e, a, b);
	case F_MIN: return fp32_min(e, a, b);
	case F_MAXNM: return fp32_maxnm(e, a, b);
	case F_MINNM: return fp32_minnm(e, a, b);
	case F_RECPS: return fp32_recip_step(e, a, b);
	case F_RSQRTS: return fp32_rsqrt_step(e, a, b);
	case F_RECPE: return fp32_recip_estimate(e, a);
	case F_RSQRTE: return fp32_rsqrt_estimate(e, a);
	case F_RECPX: return fp32_recpx(e, a);
	case F_RINTX: return fp32_round_int(e, a, fp_rmode(e), true);
	case F_TO_DOUBLE: return fp64_from_fp32(e, a);
	case F_TO_HALF: return fp16_from_fp32(e, a);
	case F_FROM_HALF: return fp32_from_fp16(e, (uint16_t)a);
	case F_CMP: return fp32_compare(e, a, b, false);
	case F_CMPE: return fp32_compare(e, a, b, true);
	case F_EQ: return fp32_eq(e, a, b);
	case F_GE: return fp32_ge(e, a, b);
	}
	return 0;
}

static void facts(void **state)
{
	enum {
		ONE = 0x3f800000,
		TWO = 0x40000000,
		INF = 0x7f800000,
		DEFAULT = 0x7fc00000,
		Q1 = 0x7fc00001, /* quiet NaNs */
		Q2 = 0x7fc00002,
		S1 = 0x7f800001, /* signalling NaNs, and the quiet ones they become */
		S2 = 0x7f800002,
		QS1 = 0x7fc00001,
		QS2 = 0x7fc00002,
		DENORMAL = 0x00400000, /* a subnormal */
		MIN = 0x00800000,      /* the smallest normal */
		MAX = 0x7f7fffff,
	};
	const uint32_t neg = 1U << 31, RP = rmode[FP_RP], RM = rmode[FP_RM], RZ = rmode[FP_RZ];
	const struct {
		enum fact_op op;
		uint32_t fpcr, a, b, c;
		uint64_t want;
		uint32_t flags;
	} table[] = {
		/* Which NaN: signalling ones first, then the order of the operands. */
		{ F_ADD, 0, Q1, Q2, 0, Q1, 0 },
		{ F_ADD, 0, Q1, S2, 0, QS2, IOC },
		{ F_ADD, 0, S1, S2, 0, QS1, IOC },
		{ F_ADD, 0, ONE, neg | Q2, 0, neg | Q2, 0 },
		{ F_SUB, 0, ONE, Q2, 0, Q2, 0 },
		{ F_ADD, DN, neg | Q2, ONE, 0, DEFAULT, 0 },
		{ F_ADD, DN, neg | S2, ONE, 0, DEFAULT, IOC },
		{ F_MULADD, 0, Q1, Q2, neg | Q1, neg | Q1, 0 }, /* the addend first */
		{ F_MULADD, 0, Q1, S2, Q1, QS2, IOC },
		{ F_MULADD, 0, S1, Q2, neg | S2, neg | QS2, IOC },
		{ F_MULADD, 0, INF, 0, Q2, DEFAULT, IOC },
		{ F_MULADD, 0, 0, neg | INF, S2, QS2, IOC },
		/* The default NaN is positive. */
		{ F_ADD, 0, INF, neg | INF, 0, DEFAULT, IOC },
		{ F_MUL, 0, neg | INF, 0, 0, DEFAULT, IOC },
		{ F_DIV, 0, 0, neg, 0, DEFAULT, IOC },
		{ F_SQRT, 0, neg | ONE, 0, 0, DEFAULT, IOC },
		{ F_SQRT, 0, neg, 0, 0, neg, 0 },
		{ F_MULADD, 0, INF, ONE, neg | INF, DEFAULT, IOC },
		/* Flush to zero: of operands IDC, even beside a NaN; of results UFC and not IXC. */
		{ F_ADD, FZ, DENORMAL, ONE, 0, ONE, IDC },
		{ F_ADD, FZ, neg | DENORMAL, Q1, 0, Q1, IDC },
		{ F_DIV, FZ, ONE, neg | DENORMAL, 0, neg | INF, IDC | DZC },
		{ F_MUL, FZ, MIN, 0x3f000000, 0, 0, UFC },
		{ F_SUB, FZ, MIN, MIN + 1, 0, neg, UFC },
		{ F_CMP, FZ, DENORMAL, neg | DENORMAL, 0, 6, IDC },
		{ F_MAX, FZ, neg | DENORMAL, neg | ONE, 0, neg, IDC },
		{ F_RINTX, FZ | RP, DENORMAL, 0, 0, 0, IDC },
		{ F_TO_DOUBLE, FZ, DENORMAL, 0, 0, 0, IDC },
		{ F_FROM_HALF, FZ, 1, 0, 0, 0x33800000, 0 },
		{ F_TO_HALF, FZ, 0x33800000, 0, 0, 1, 0 },
		/* Tiny before rounding, though the result is normal */
		{ F_MUL, 0, MIN + 1, 0x3f7ffffe, 0, MIN, UFC | IXC },
		{ F_MUL, FZ, MIN + 1, 0x3f7ffffe, 0, 0, UFC },
		/* An exact subnormal raises nothing. */
		{ F_MUL, 0, MIN, 0x3f000000, 0, DENORMAL, 0 },
		/* Zero by cancellation is negative only towards minus infinity. */
		{ F_SUB, 0, ONE, ONE, 0, 0, 0 },
		{ F_SUB, RM, ONE, ONE, 0, neg, 0 },
		{ F_ADD, RM, 0, 0, 0, 0, 0 },
		{ F_MULADD, RM, ONE, ONE, neg | ONE, neg, 0 },
		/* Overflow */
		{ F_ADD, 0, MAX, MAX, 0, INF, OFC | IXC },
		{ F_ADD, RZ, MAX, MAX, 0, MAX, OFC | IXC },
		{ F_ADD, RP, neg | MAX, neg | MAX, 0, neg | MAX, OFC | IXC },
		/* FMULX */
		{ F_MULX, 0, neg | INF, 0, 0, neg | TWO, 0 },
		{ F_MULX, 0, S1, 0, 0, QS1, IOC },
		/* Maximum and minimum: zeros have an order, NaNs win; but for FMAXNM quiet ones. */
		{ F_MAX, 0, neg, 0, 0, 0, 0 },
		{ F_MIN, 0, 0, neg, 0, neg, 0 },
		{ F_MAX, 0, Q1, ONE, 0, Q1, 0 },
		{ F_MAXNM, 0, Q1, ONE, 0, ONE, 0 },
		{ F_MINNM, 0, neg | INF, Q1, 0, neg | INF, 0 },
		{ F_MAXNM, 0, Q1, S2, 0, QS2, IOC },
		{ F_MINNM, 0, Q1, Q2, 0, Q1, 0 },
		/* Comparison */
		{ F_CMP, 0, Q1, ONE, 0, 3, 0 },
		{ F_CMP, 0, S1, ONE, 0, 3, IOC },
		{ F_CMPE, 0, Q1, ONE, 0, 3, IOC },
		{ F_CMP, 0, neg, 0, 0, 6, 0 },
		{ F_CMP, 0, neg | ONE, DENORMAL, 0, 8, 0 },
		{ F_CMP, 0, INF, MAX, 0, 2, 0 },
		{ F_EQ, 0, Q1, Q1, 0, 0, 0 },
		{ F_GE, 0, Q1, Q1, 0, 0, IOC },
		/* Steps: fused, a NaN first operand comes out negated. */
		{ F_RECPS, 0, ONE, ONE, 0, ONE, 0 },
		{ F_RECPS, 0, INF, neg, 0, TWO, 0 },
		{ F_RECPS, 0, Q1, ONE, 0, neg | Q1, 0 },
		{ F_RSQRTS, 0, ONE, ONE, 0, ONE, 0 },
		{ F_RSQRTS, 0, 0, INF, 0, 0x3fc00000, 0 },
		{ F_RSQRTS, 0, MAX, TWO, 0, neg | MAX, IXC },
		/* Estimates */
		{ F_RECPE, 0, ONE, 0, 0, 0x3f7f8000, 0 },
		{ F_RECPE, 0, neg | TWO, 0, 0, neg | 0x3eff8000, 0 },
		{ F_RECPE, 0, 0, 0, 0, INF, DZC },
		{ F_RECPE, 0, neg | 1, 0, 0, neg | INF, OFC | IXC },
		{ F_RECPE, RZ, neg | 1, 0, 0, neg | MAX, OFC | IXC },
		{ F_RECPE, 0, MAX, 0, 0, 0x00200000, 0 },
		{ F_RECPE, FZ, MAX, 0, 0, 0, UFC },
		{ F_RSQRTE, 0, ONE, 0, 0, 0x3f7f8000, 0 },
		{ F_RSQRTE, 0, 0x40800000, 0, 0, 0x3eff8000, 0 },
		{ F_RSQRTE, 0, neg, 0, 0, neg | INF, DZC },
		{ F_RSQRTE, 0, neg | ONE, 0, 0, DEFAULT, IOC },
		{ F_RECPX, 0, neg | ONE, 0, 0, neg | 0x40000000, 0 },
		{ F_RECPX, 0, 0, 0, 0, 0x7f000000, 0 },
		{ F_RECPX, 0, INF, 0, 0, 0, 0 },
		/* Conversion: a NaN keeps the top of its fraction, or is lost with AHP. */
		{ F_TO_DOUBLE, 0, neg | S1, 0, 0, 0xfff8000020000000, IOC },
		{ F_TO_HALF, 0, neg | 0x7fd55555, 0, 0, 0xfeaa, 0 },
		{ F_TO_HALF, DN, neg | 0x7fd55555, 0, 0, 0x7e00, 0 },
		{ F_TO_HALF, AHP, neg | Q1, 0, 0, 0x8000, IOC },
		{ F_TO_HALF, AHP, neg | INF, 0, 0, 0xffff, IOC },
		{ F_TO_HALF, AHP, 0x47ffe000, 0, 0, 0x7fff, 0 },
		{ F_TO_HALF, AHP, 0x47fff000, 0, 0, 0x7fff, IOC },
		{ F_TO_HALF, 0, 0x477ff000, 0, 0, 0x7c00, OFC | IXC },
		{ F_FROM_HALF, AHP, 0x7fff, 0, 0, 0x47ffe000, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		uint32_t flags = 0, flags_after_ixc = IXC;
		const uint64_t got = fact(&(struct fpenv){ table[i].fpcr, &flags }, table[i].op,
					  table[i].a, table[i].b, table[i].c);
		const uint64_t again = fact(&(struct fpenv){ table[i].fpcr, &flags_after_ixc },
					    table[i].op, table[i].a, table[i].b, table[i].c);

		if (got != table[i].want || flags != table[i].flags || again != got ||
		    flags_after_ixc != (flags | IXC))
			fail_msg("fact %zu: %#llx flags %#x", i, (unsigned long long)got, flags);
	}
}

/* Estimates have 8 bits: the relative error of a reciprocal is below 2^-8. */
static void estimates(void **state)
{
	uint32_t flags = 0;
	const struct fpenv e = { 0, &flags };

	(void)state;
	for (int i = 0; i < 20000; i++) {
		const uint64_t a = random_number(64) & INT64_MAX;
		const double x = to_double(a);
		if (!(x >= 0x1p-1020 && x < 0x1p1020))
			continue;
		const double r = to_double(fp64_recip_estimate(&e, a));
		const double s = to_double(fp64_rsqrt_estimate(&e, a));
		assert_true(fabs(r * x - 1) < 0x1p-8);
		assert_true(fabs(s * sqrt(x) - 1) < 0x1p-8);
	}
	assert_int_equal(flags, 0);
	assert_true(fp_urecpe(0x7fffffff) == 0xffffffff);
	assert_true(fp_urecpe(0x80000000) == 0xff800000);
	assert_true(fp_urecpe(0xffffffff) == 0x80000000);
	assert_true(fp_ursqrte(0x3fffffff) == 0xffffffff);
	assert_true(fp_ursqrte(0x40000000) == 0xff800000);
}

/* FCVTXN: an inexact result is odd, and never infinity. */
static void to_odd(void **state)
{
	uint32_t flags = 0;
	const struct fpenv e = { rmode[FP_RP], &flags };

	(void)state;
	assert_true(fp32_from_fp64_odd(&e, 0x3ff0000000000001) == 0x3f800001);
	assert_true(fp32_from_fp64_odd(&e, 0x3ff0000030000000) == 0x3f800001);
	assert_int_equal(flags, IXC);
	assert_true(fp32_from_fp64_odd(&e, 0x7fefffffffffffff) == 0x7f7fffff);
	assert_int_equal(flags, IXC | OFC);
	assert_true(fp32_from_fp64_odd(&e, 0x0000000000000001) == 1);
	assert_int_equal(flags, IXC | OFC | UFC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges),       cmocka_unit_test(random_numbers),
		cmocka_unit_test(to_integers), cmocka_unit_test(halves),
		cmocka_unit_test(facts),       cmocka_unit_test(estimates),
		cmocka_unit_test(to_odd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

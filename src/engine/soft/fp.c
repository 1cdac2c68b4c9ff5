/* SPDX-License-Identifier: MIT */
/*
 * Floating point on integers (DDI0487, shared/functions/float; Armv8.0: no FEAT_AFP, no
 * FEAT_FP16, no trapped exceptions).
 *
 * Every operation works the way the manual's pseudocode does: unpack() takes a bit pattern to a
 * kind and an exact value sig * 2^exp; the operation forms its exact result, or one that differs
 * from it only far below the last place ("jammed": every bit that was lost is or-ed into bit 0);
 * round_pack() rounds that once and raises the flags. One copy serves all formats: a struct format
 * says which. fp_fast.h has the cases in which the host's arithmetic does the same.
 */
#include "engine/soft/fp.h"

#include "base/bits.h"
#include "engine/soft/fp_fast.h"

__extension__ typedef unsigned __int128 u128;

struct format {
	unsigned size;  /* bits in all */
	unsigned fbits; /* bits of fraction */
	int bias;
};
static const struct format half = { 16, 10, 15 };
static const struct format single = { 32, 23, 127 };
static const struct format dbl = { 64, 52, 1023 };

enum kind { ZERO, FINITE, INFINITE, QUIET_NAN, SIGNALLING_NAN };

struct num {
	enum kind kind;
	bool sign;
	int exp;      /* FINITE: the value is sig * 2^exp */
	uint64_t sig; /* ZERO: 0 */
	uint64_t raw; /* the bit pattern, after a flush of the input to zero */
};

/* A result or a term on its way to rounding. */
struct wide {
	bool sign;
	int exp;
	u128 sig;
};

static void flag(const struct fpenv *e, uint32_t flags)
{
	*e->fpsr |= flags;
}

static bool flushes(const struct format *f, const struct fpenv *e)
{
	return (e->fpcr & FPCR_FZ) && f->size != 16;
}
/* Half precision without infinities and NaNs */
static bool alternative(const struct format *f, const struct fpenv *e)
{
	return f->size == 16 && (e->fpcr & FPCR_AHP);
}

/* The bit patterns that results are made of. */

static uint64_t sign_bit(const struct format *f, bool sign)
{
	return (uint64_t)sign << (f->size - 1);
}
static uint64_t magnitude(const struct format *f, uint64_t raw)
{
	return raw & mask_low(f->size - 1);
}
static uint64_t zero(const struct format *f, bool sign)
{
	return sign_bit(f, sign);
}
static uint64_t max_exp(const struct format *f)
{
	return mask_low(f->size - 1 - f->fbits);
}
static uint64_t infinity(const struct format *f, bool sign)
{
	return sign_bit(f, sign) | max_exp(f) << f->fbits;
}
static uint64_t max_normal(const struct format *f, bool sign)
{
	return infinity(f, sign) - 1;
}
static uint64_t quiet_bit(const struct format *f)
{
	return BIT(f->fbits - 1);
}
static uint64_t default_nan(const struct format *f)
{
	return infinity(f, false) | quiet_bit(f);
}

/* FPUnpack(), FPUnpackCV() */
static struct num unpack(const struct format *f, const struct fpenv *e, uint64_t raw)
{
	const uint64_t frac = raw & mask_low(f->fbits);
	const uint64_t exp = magnitude(f, raw) >> f->fbits;
	struct num x = { .sign = bit(raw, f->size - 1), .raw = raw };

	if (exp == max_exp(f) && !alternative(f, e)) {
		x.kind = !frac ? INFINITE : frac & quiet_bit(f) ? QUIET_NAN : SIGNALLING_NAN;
	} else if (exp) {
		x.kind = FINITE;
		x.sig = frac | BIT(f->fbits);
		x.exp = (int)exp - f->bias - (int)f->fbits;
	} else if (frac && flushes(f, e)) {
		flag(e, FPSR_IDC);
		x.raw = zero(f, x.sign);
	} else if (frac) {
		x.kind = FINITE;
		x.sig = frac;
		x.exp = 1 - f->bias - (int)f->fbits;
	}
	return x;
}

static bool is_nan(const struct num *x)
{
	return x->kind >= QUIET_NAN;
}

/* Where a number stands among the numbers that are not NaNs; the two zeros stand together. */
static int64_t rank(const struct format *f, const struct num *x)
{
	const int64_t m = (int64_t)magnitude(f, x->raw);

	return x->sign ? -m : m;
}

static struct wide widen(const struct num *x)
{
	return (struct wide){ x->sign, x->exp, x->sig };
}
static struct wide product(const struct num *x, const struct num *y)
{
	return (struct wide){ x->sign != y->sign, x->exp + y->exp, (u128)x->sig * y->sig };
}

static unsigned leading_zeros(u128 v)
{
	const uint64_t hi = (uint64_t)(v >> 64);

	return (unsigned)(hi ? __builtin_clzll(hi) : 64 + __builtin_clzll((uint64_t)v));
}
static u128 shift_right_jam(u128 v, unsigned n)
{
	if (n == 0)
		return v;
	if (n >= 128)
		return v != 0;
	return v >> n | ((v << (128 - n)) != 0);
}

static uint64_t invalid(const struct format *f, const struct fpenv *e)
{
	flag(e, FPSR_IOC);
	return default_nan(f);
}

/* Does rounding make the magnitude larger? `rest` is what is below the last place, in units of
 * 2^-128 of it. */
static bool rounds_up(enum fp_round r, bool sign, bool odd, u128 rest)
{
	const u128 tie = (u128)1 << 127;

	switch (r) {
	case FP_RN: return rest > tie || (rest == tie && odd);
	case FP_RP: return rest && !sign;
	case FP_RM: return rest && sign;
	case FP_RZ: return false;
	case FP_RA: return rest >= tie;
	}
	return false;
}

static bool overflows_to_infinity(enum fp_round r, bool sign)
{
	return r == FP_RN || r == FP_RA || (r == FP_RP && !sign) || (r == FP_RM && sign);
}

/*
 * FPRound() of a value that is not zero. to_odd: instead of rounding as r says, which is then
 * FP_RZ, set the last bit of an inexact result.
 */
static uint64_t round_pack(const struct format *f, const struct fpenv *e, enum fp_round r,
			   bool to_odd, struct wide x)
{
	const unsigned lz = leading_zeros(x.sig);
	const unsigned drop = 127 - f->fbits;
	u128 sig = x.sig << lz;
	int exp = x.exp + 127 - (int)lz + f->bias; /* the biased exponent */
	bool rounds_to_normal = false;

	if (exp < 1) {
		/* Tiny is what was tiny before rounding. A flushed result is not inexact. */
		if (flushes(f, e)) {
			flag(e, FPSR_UFC);
			return zero(f, x.sign);
		}
		/* One place below the normal numbers, rounding at full precision may reach them. */
		rounds_to_normal = exp == 0 &&
				   !(~(uint64_t)(sig >> drop) & mask_low(f->fbits + 1)) &&
				   rounds_up(r, x.sign, true, sig << (128 - drop));
		sig = shift_right_jam(sig, (unsigned)(1 - exp));
		exp = 0;
	}

	uint64_t mantissa = (uint64_t)(sig >> drop);
	const u128 rest = sig << (128 - drop);
	if (rest && exp == 0 && !(e->fpcr & FP_RISCV_TINY_AFTER && rounds_to_normal))
		flag(e, FPSR_UFC);
	if (rounds_up(r, x.sign, mantissa & 1, rest))
		mantissa++;
	if (to_odd && rest)
		mantissa |= 1;

	/* The implicit one, and a carry out of the fraction, count the exponent up. */
	const uint64_t up = mantissa >> f->fbits;
	const uint64_t packed_exp = (uint64_t)(exp ? exp - 1 : 0) + up;
	if (alternative(f, e)) {
		if (packed_exp > max_exp(f)) {
			flag(e, FPSR_IOC);
			return sign_bit(f, x.sign) | mask_low(f->size - 1);
		}
	} else if (packed_exp >= max_exp(f)) {
		flag(e, FPSR_OFC | FPSR_IXC);
		return overflows_to_infinity(r, x.sign) ? infinity(f, x.sign)
							: max_normal(f, x.sign);
	}
	if (rest)
		flag(e, FPSR_IXC);
	return sign_bit(f, x.sign) | packed_exp << f->fbits | (mantissa & mask_low(f->fbits));
}

static uint64_t round_as_asked(const struct format *f, const struct fpenv *e, struct wide x)
{
	return round_pack(f, e, fp_rmode(e), false, x);
}

/* FPProcessNaN() */
static uint64_t process_nan(const struct format *f, const struct fpenv *e, const struct num *x)
{
	if (x->kind == SIGNALLING_NAN)
		flag(e, FPSR_IOC);
	return e->fpcr & FPCR_DN ? default_nan(f) : x->raw | quiet_bit(f);
}

/* FPProcessNaNs(), FPProcessNaNs3(): the first signalling NaN, else the first quiet one. */
static bool process_nans(const struct format *f, const struct fpenv *e, const struct num *x,
			 unsigned n, uint64_t *result)
{
	for (int kind = SIGNALLING_NAN; kind >= QUIET_NAN; kind--) {
		for (unsigned i = 0; i < n; i++) {
			if ((int)x[i].kind == kind) {
				*result = process_nan(f, e, &x[i]);
				return true;
			}
		}
	}
	return false;
}

/* Infinity times zero, in either order */
static bool is_inf_zero(const struct num *x, const struct num *y)
{
	return (x->kind == INFINITE && y->kind == ZERO) || (x->kind == ZERO && y->kind == INFINITE);
}

/* The leading one to bit 126, which leaves room for a carry. */
static struct wide normalize(struct wide x)
{
	const unsigned lz = leading_zeros(x.sig);

	x.exp += 1 - (int)lz;
	x.sig <<= lz - 1; /* no term has more than 106 bits */
	return x;
}

/*
 * (x + y) * 2^scale, rounded. Terms have at most 106 bits, so that normalized ones have their 21
 * lowest bits clear: where leading bits cancel, the exponents differ by at most one and the shift
 * loses nothing; where they do not, what it loses is far below the last place.
 */
static uint64_t sum(const struct format *f, const struct fpenv *e, struct wide x, struct wide y,
		    int scale)
{
	struct wide s;

	if (!x.sig && !y.sig)
		return zero(f, x.sign == y.sign ? x.sign : fp_rmode(e) == FP_RM);
	if (!x.sig || !y.sig) {
		s = x.sig ? x : y;
	} else {
		x = normalize(x);
		y = normalize(y);
		if (x.exp < y.exp) {
			s = x;
			x = y;
			y = s;
		}
		y.sig = shift_right_jam(y.sig, (unsigned)(x.exp - y.exp));
		s.exp = x.exp;
		s.sign = x.sig >= y.sig ? x.sign : y.sign;
		s.sig = x.sign == y.sign ? x.sig + y.sig
			: x.sig >= y.sig ? x.sig - y.sig
					 : y.sig - x.sig;
		if (!s.sig)
			return zero(f, fp_rmode(e) == FP_RM);
	}
	s.exp += scale;
	return round_as_asked(f, e, s);
}

/* FPAdd(); with negate FPSub(), which is not an addition of -b: a NaN b keeps its sign. */
static uint64_t add(const struct format *f, const struct fpenv *e, uint64_t a, uint64_t b,
		    bool negate)
{
	struct num x[2] = { unpack(f, e, a), unpack(f, e, b) };
	uint64_t result;

	if (process_nans(f, e, x, 2, &result))
		return result;
	x[1].sign ^= negate;
	if (x[0].kind == INFINITE && x[1].kind == INFINITE && x[0].sign != x[1].sign)
		return invalid(f, e);
	for (int i = 0; i < 2; i++) {
		if (x[i].kind == INFINITE)
			return infinity(f, x[i].sign);
	}
	return sum(f, e, widen(&x[0]), widen(&x[1]), 0);
}

/* FPMul(); with extended FPMulX() */
static uint64_t mul(const struct format *f, const struct fpenv *e, uint64_t a, uint64_t b,
		    bool extended)
{
	const struct num x[2] = { unpack(f, e, a), unpack(f, e, b) };
	const bool sign = x[0].sign != x[1].sign;
	uint64_t result;

	if (process_nans(f, e, x, 2, &result))
		return result;
	if (is_inf_zero(&x[0], &x[1])) {
		const struct wide two = { sign, 1, 1 };
		return extended ? round_as_asked(f, e, two) : invalid(f, e);
	}
	if (x[0].kind == INFINITE || x[1].kind == INFINITE)
		return infinity(f, sign);
	if (x[0].kind == ZERO || x[1].kind == ZERO)
		return zero(f, sign);
	return round_as_asked(f, e, product(&x[0], &x[1]));
}

/* A finite number with the leading one of its significand at bit 63 */
static struct num left_justify(struct num x)
{
	const int lz = __builtin_clzll(x.sig);

	x.sig <<= lz;
	x.exp -= lz;
	return x;
}

/* FPDiv() */
static uint64_t divide(const struct format *f, const struct fpenv *e, uint64_t a, uint64_t b)
{
	struct num x[2] = { unpack(f, e, a), unpack(f, e, b) };
	const bool sign = x[0].sign != x[1].sign;
	uint64_t result;

	if (process_nans(f, e, x, 2, &result))
		return result;
	if (x[0].kind == x[1].kind && x[0].kind != FINITE)
		return invalid(f, e);
	if (x[0].kind == INFINITE)
		return infinity(f, sign);
	if (x[1].kind == ZERO) {
		flag(e, FPSR_DZC);
		return infinity(f, sign);
	}
	if (x[0].kind == ZERO || x[1].kind == INFINITE)
		return zero(f, sign);

	x[0] = left_justify(x[0]);
	x[1] = left_justify(x[1]);
	const u128 dividend = (u128)x[0].sig << 63;
	const u128 quotient = dividend / x[1].sig; /* at least 2^62: bit 0 is far down */
	return round_as_asked(f, e,
			      (struct wide){ sign, x[0].exp - x[1].exp - 63,
					     quotient | (quotient * x[1].sig != dividend) });
}

/* FPSqrt() */
static uint64_t square_root(const struct format *f, const struct fpenv *e, uint64_t a)
{
	struct num x = unpack(f, e, a);

	if (is_nan(&x))
		return process_nan(f, e, &x);
	if (x.kind == ZERO)
		return zero(f, x.sign);
	if (x.sign)
		return invalid(f, e);
	if (x.kind == INFINITE)
		return infinity(f, false);

	/* An even exponent; the lowest bits of a justified significand are clear. */
	x = left_justify(x);
	if (x.exp & 1) {
		x.sig >>= 1;
		x.exp++;
	}
	/* The integer root of sig * 2^64, a bit at a time from the top; what remains says whether
	 * it is exact. */
	u128 rest = (u128)x.sig << 64, root = 0;
	for (u128 try = (u128)1 << 126; try; try >>= 2) {
		if (rest >= root + try) {
			rest -= root + try;
			root = root >> 1 | try;
		} else {
			root >>= 1;
		}
	}
	return round_as_asked(f, e,
			      (struct wide){ false, (x.exp - 64) / 2 - 1, root << 1 | !!rest });
}

/* FPMulAdd() */
static uint64_t mul_add(const struct format *f, const struct fpenv *e, uint64_t addend, uint64_t a,
			uint64_t b)
{
	const struct num x[3] = { unpack(f, e, addend), unpack(f, e, a), unpack(f, e, b) };
	const bool inf_zero = is_inf_zero(&x[1], &x[2]);
	const bool inf_product = x[1].kind == INFINITE || x[2].kind == INFINITE;
	const bool product_sign = x[1].sign != x[2].sign;
	uint64_t result;

	if (x[0].kind == QUIET_NAN && inf_zero)
		return invalid(f, e);
	if (process_nans(f, e, x, 3, &result))
		return result;
	if (inf_zero || (x[0].kind == INFINITE && inf_product && x[0].sign != product_sign))
		return invalid(f, e);
	if (x[0].kind == INFINITE)
		return infinity(f, x[0].sign);
	if (inf_product)
		return infinity(f, product_sign);
	return sum(f, e, widen(&x[0]), product(&x[1], &x[2]), 0);
}

/* FPRecipStepFused(), FPRSqrtStepFused(): (from - a * b) * 2^scale */
static uint64_t step(const struct format *f, const struct fpenv *e, uint64_t a, uint64_t b,
		     unsigned from, int scale)
{
	/* A NaN a comes out negated, too. */
	const struct num x[2] = { unpack(f, e, a ^ sign_bit(f, true)), unpack(f, e, b) };
	struct wide p = product(&x[0], &x[1]);
	uint64_t result;

	if (process_nans(f, e, x, 2, &result))
		return result;
	if (is_inf_zero(&x[0], &x[1]))
		p.sig = 0;
	else if (x[0].kind == INFINITE || x[1].kind == INFINITE)
		return infinity(f, p.sign);
	return sum(f, e, (struct wide){ false, 0, from }, p, scale);
}

/* FPMax(), FPMin() of unpacked numbers */
static uint64_t max_min(const struct format *f, const struct fpenv *e, const struct num x[2],
			bool max)
{
	uint64_t result;

	if (process_nans(f, e, x, 2, &result))
		return result;
	if (x[0].kind == ZERO && x[1].kind == ZERO)
		return zero(f, max ? x[0].sign && x[1].sign : x[0].sign || x[1].sign);
	return (rank(f, &x[0]) > rank(f, &x[1])) == max ? x[0].raw : x[1].raw;
}

static uint64_t max_min_any(const struct format *f, const struct fpenv *e, uint64_t a, uint64_t b,
			    bool max)
{
	const struct num x[2] = { unpack(f, e, a), unpack(f, e, b) };

	return max_min(f, e, x, max);
}

/* FPMaxNum(), FPMinNum(): a single quiet NaN gives way to the other operand. */
static uint64_t max_min_num(const struct format *f, const struct fpenv *e, uint64_t a, uint64_t b,
			    bool max)
{
	struct num x[2] = { unpack(f, e, a), unpack(f, e, b) };

	if ((x[0].kind == QUIET_NAN) != (x[1].kind == QUIET_NAN)) {
		struct num *nan = x[0].kind == QUIET_NAN ? &x[0] : &x[1];
		*nan = (struct num){ .kind = INFINITE, .sign = max, .raw = infinity(f, max) };
	}
	return max_min(f, e, x, max);
}

/* The outcome of a comparison, as NZCV. */
enum { LESS = 8, EQUAL = 6, GREATER = 2, UNORDERED = 3 };

/* FPCompare() and its kin. signal: a quiet NaN is invalid as well. */
static unsigned compare(const struct format *f, const struct fpenv *e, uint64_t a, uint64_t b,
			bool signal)
{
	const struct num x = unpack(f, e, a), y = unpack(f, e, b);

	if (is_nan(&x) || is_nan(&y)) {
		if (signal || x.kind == SIGNALLING_NAN || y.kind == SIGNALLING_NAN)
			flag(e, FPSR_IOC);
		return UNORDERED;
	}
	const int64_t rx = rank(f, &x), ry = rank(f, &y);
	return rx < ry ? LESS : rx > ry ? GREATER : EQUAL;
}

/*
 * The magnitude of a finite number times 2^scale as an integer, rounded; all ones if it has more
 * than 64 bits.
 */
static uint64_t round_to_integer(const struct num *x, int scale, enum fp_round r, bool *inexact)
{
	const int exp = x->exp + scale;
	uint64_t v;

	*inexact = false;
	if (!x->sig)
		return 0;
	if (exp >= 0)
		return exp > __builtin_clzll(x->sig) ? UINT64_MAX : x->sig << exp;
	/* 53 bits of significand, so shifts above 64 differ in nothing. */
	const u128 fixed = (u128)x->sig << 64 >> (exp < -64 ? 64 : -exp);
	v = (uint64_t)(fixed >> 64);
	*inexact = (uint64_t)fixed != 0;
	return v + rounds_up(r, x->sign, v & 1, fixed << 64);
}

/* FPToFixed() */
static uint64_t to_fixed(const struct format *f, const struct fpenv *e, uint64_t a, unsigned fbits,
			 bool is_unsigned, enum fp_round r, unsigned width)
{
	const struct num x = unpack(f, e, a);
	const uint64_t max = mask_low(is_unsigned ? width : width - 1);
	const uint64_t limit = !x.sign ? max : is_unsigned ? 0 : max + 1;
	bool inexact = false;
	uint64_t v;

	if (is_nan(&x)) {
		flag(e, FPSR_IOC);
		return 0;
	}
	v = x.kind == INFINITE ? UINT64_MAX : round_to_integer(&x, (int)fbits, r, &inexact);
	/* All ones is no value of 53 significant bits. */
	if (v > limit || v == UINT64_MAX) {
		flag(e, FPSR_IOC);
		v = limit;
	} else if (inexact) {
		flag(e, FPSR_IXC);
	}
	return (x.sign ? -v : v) & mask_low(width);
}

/* FixedToFP() */
static uint64_t from_fixed(const struct format *f, const struct fpenv *e, uint64_t v,
			   unsigned fbits, bool is_unsigned, enum fp_round r, unsigned width)
{
	const uint64_t n = is_unsigned ? v & mask_low(width) : (uint64_t)sign_extend(v, width);
	const bool sign = !is_unsigned && bit(n, 63);

	if (!n)
		return zero(f, false);
	return round_pack(f, e, r, false, (struct wide){ sign, -(int)fbits, sign ? 0 - n : n });
}

/* FPRoundInt() */
static uint64_t round_int(const struct format *f, const struct fpenv *e, uint64_t a,
			  enum fp_round r, bool exact)
{
	const struct num x = unpack(f, e, a);
	bool inexact;

	if (is_nan(&x))
		return process_nan(f, e, &x);
	if (x.kind != FINITE || x.exp >= 0)
		return x.raw;
	const uint64_t v = round_to_integer(&x, 0, r, &inexact);
	if (inexact && exact)
		flag(e, FPSR_IXC);
	return v ? round_pack(f, e, r, false, (struct wide){ x.sign, 0, v }) : zero(f, x.sign);
}

/* FPConvert(); to_odd: FPConvert() with FPRounding_ODD */
static uint64_t convert(const struct format *to, const struct format *from, const struct fpenv *e,
			uint64_t a, bool to_odd)
{
	const struct num x = unpack(from, e, a);

	if (is_nan(&x)) {
		/* FPConvertNaN(): the fraction keeps its top, and becomes quiet. */
		const uint64_t frac = x.raw << (64 - from->fbits) >> (64 - to->fbits);

		if (x.kind == SIGNALLING_NAN || alternative(to, e))
			flag(e, FPSR_IOC);
		if (alternative(to, e))
			return zero(to, x.sign);
		if (e->fpcr & FPCR_DN)
			return default_nan(to);
		return infinity(to, x.sign) | quiet_bit(to) | frac;
	}
	if (x.kind == INFINITE && alternative(to, e)) {
		flag(e, FPSR_IOC);
		return sign_bit(to, x.sign) | mask_low(to->size - 1);
	}
	if (x.kind == INFINITE)
		return infinity(to, x.sign);
	if (x.kind == ZERO)
		return zero(to, x.sign);
	return round_pack(to, e, to_odd ? FP_RZ : fp_rmode(e), to_odd, widen(&x));
}

/* RecipEstimate(): of 0.5 <= a / 512 < 1, in steps of 1/256 of 1 <= r / 256 < 2 */
static unsigned estimate_reciprocal(unsigned a)
{
	return ((1u << 19) / (a * 2 + 1) + 1) / 2;
}

/* RecipSqrtEstimate(): of 0.25 <= a / 512 < 1 */
static unsigned estimate_reciprocal_sqrt(unsigned a)
{
	unsigned b = 512;

	a = a < 256 ? a * 2 + 1 : ((a & ~1u) + 1) * 2;
	/* The manual counts b up from 512 while a * (b + 1)^2 < 2^28. */
	for (unsigned step = 256; step; step >>= 1) {
		if (a * (b + step) * (b + step) < 1u << 28)
			b += step;
	}
	return (b + 1) / 2;
}

/* FPRecipEstimate() */
static uint64_t recip_estimate(const struct format *f, const struct fpenv *e, uint64_t a)
{
	const struct num x = unpack(f, e, a);

	if (is_nan(&x))
		return process_nan(f, e, &x);
	if (x.kind == INFINITE)
		return zero(f, x.sign);
	if (x.kind == ZERO) {
		flag(e, FPSR_DZC);
		return infinity(f, x.sign);
	}
	/* 1 <= sig / 2^63 < 2 */
	const struct num j = left_justify(x);
	const int exp = j.exp + 63;
	if (exp < -f->bias - 1) {
		flag(e, FPSR_OFC | FPSR_IXC);
		return overflows_to_infinity(fp_rmode(e), x.sign) ? infinity(f, x.sign)
								  : max_normal(f, x.sign);
	}
	if (exp >= f->bias - 1 && flushes(f, e)) {
		flag(e, FPSR_UFC);
		return zero(f, x.sign);
	}
	/* The result is exact as the estimate has it; a subnormal one has room for its 9 bits. */
	const int result_exp = f->bias - 1 - exp; /* biased */
	uint64_t mantissa = (uint64_t)estimate_reciprocal((unsigned)(j.sig >> 55))
			    << (f->fbits - 8);
	if (result_exp < 1)
		return sign_bit(f, x.sign) | mantissa >> (1 - result_exp);
	mantissa &= mask_low(f->fbits);
	return sign_bit(f, x.sign) | (uint64_t)result_exp << f->fbits | mantissa;
}

/* FPRSqrtEstimate() */
static uint64_t rsqrt_estimate(const struct format *f, const struct fpenv *e, uint64_t a)
{
	const struct num x = unpack(f, e, a);

	if (is_nan(&x))
		return process_nan(f, e, &x);
	if (x.kind == ZERO) {
		flag(e, FPSR_DZC);
		return infinity(f, x.sign);
	}
	if (x.sign)
		return invalid(f, e);
	if (x.kind == INFINITE)
		return zero(f, false);
	/* The operand is scaled by an even power of two into [0.25, 1). */
	const struct num j = left_justify(x);
	const int exp = j.exp + 63 + f->bias; /* biased */
	const unsigned scaled = (unsigned)(j.sig >> (exp & 1 ? 56 : 55));
	const int result_exp = (3 * f->bias - 1 - exp) / 2;
	const uint64_t frac = estimate_reciprocal_sqrt(scaled) & 0xff;
	return (uint64_t)result_exp << f->fbits | frac << (f->fbits - 8);
}

/* FPRecpX() */
static uint64_t recpx(const struct format *f, const struct fpenv *e, uint64_t a)
{
	const struct num x = unpack(f, e, a);
	const uint64_t exp = magnitude(f, a) >> f->fbits;

	if (is_nan(&x))
		return process_nan(f, e, &x);
	return sign_bit(f, x.sign) | (exp ? exp ^ max_exp(f) : max_exp(f) - 1) << f->fbits;
}

/* The entry points: the host's arithmetic where fp_fast.h allows it, else the above. */
#define FP_LIBRARY(T, w, f)                                                                        \
	T fp##w##_add(const struct fpenv *e, T a, T b)                                             \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_add(e, a, b, &r) ? r : (T)add(f, e, a, b, false);                 \
	}                                                                                          \
	T fp##w##_sub(const struct fpenv *e, T a, T b)                                             \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_sub(e, a, b, &r) ? r : (T)add(f, e, a, b, true);                  \
	}                                                                                          \
	T fp##w##_mul(const struct fpenv *e, T a, T b)                                             \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_mul(e, a, b, &r) ? r : (T)mul(f, e, a, b, false);                 \
	}                                                                                          \
	T fp##w##_mulx(const struct fpenv *e, T a, T b)                                            \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_mul(e, a, b, &r) ? r : (T)mul(f, e, a, b, true);                  \
	}                                                                                          \
	T fp##w##_div(const struct fpenv *e, T a, T b)                                             \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_div(e, a, b, &r) ? r : (T)divide(f, e, a, b);                     \
	}                                                                                          \
	T fp##w##_sqrt(const struct fpenv *e, T a)                                                 \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_sqrt(e, a, &r) ? r : (T)square_root(f, e, a);                     \
	}                                                                                          \
	T fp##w##_muladd(const struct fpenv *e, T addend, T a, T b)                                \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_muladd(e, addend, a, b, &r) ? r : (T)mul_add(f, e, addend, a, b); \
	}                                                                                          \
	T fp##w##_recip_step(const struct fpenv *e, T a, T b)                                      \
	{                                                                                          \
		return (T)step(f, e, a, b, 2, 0);                                                  \
	}                                                                                          \
	T fp##w##_rsqrt_step(const struct fpenv *e, T a, T b)                                      \
	{                                                                                          \
		return (T)step(f, e, a, b, 3, -1);                                                 \
	}                                                                                          \
	T fp##w##_max(const struct fpenv *e, T a, T b)                                             \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_max(a, b, &r) ? r : (T)max_min_any(f, e, a, b, true);             \
	}                                                                                          \
	T fp##w##_min(const struct fpenv *e, T a, T b)                                             \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_min(a, b, &r) ? r : (T)max_min_any(f, e, a, b, false);            \
	}                                                                                          \
	T fp##w##_maxnm(const struct fpenv *e, T a, T b)                                           \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_max(a, b, &r) ? r : (T)max_min_num(f, e, a, b, true);             \
	}                                                                                          \
	T fp##w##_minnm(const struct fpenv *e, T a, T b)                                           \
	{                                                                                          \
		T r;                                                                               \
		return fast##w##_min(a, b, &r) ? r : (T)max_min_num(f, e, a, b, false);            \
	}                                                                                          \
	unsigned fp##w##_compare(const struct fpenv *e, T a, T b, bool signal)                     \
	{                                                                                          \
		int order;                                                                         \
		if (fast##w##_order(a, b, &order))                                                 \
			return order < 0 ? LESS : order > 0 ? GREATER : EQUAL;                     \
		return compare(f, e, a, b, signal);                                                \
	}                                                                                          \
	bool fp##w##_eq(const struct fpenv *e, T a, T b)                                           \
	{                                                                                          \
		return fp##w##_compare(e, a, b, false) == EQUAL;                                   \
	}                                                                                          \
	bool fp##w##_ge(const struct fpenv *e, T a, T b)                                           \
	{                                                                                          \
		const unsigned nzcv = fp##w##_compare(e, a, b, true);                              \
		return nzcv == EQUAL || nzcv == GREATER;                                           \
	}                                                                                          \
	bool fp##w##_gt(const struct fpenv *e, T a, T b)                                           \
	{                                                                                          \
		return fp##w##_compare(e, a, b, true) == GREATER;                                  \
	}                                                                                          \
	T fp##w##_recip_estimate(const struct fpenv *e, T a)                                       \
	{                                                                                          \
		return (T)recip_estimate(f, e, a);                                                 \
	}                                                                                          \
	T fp##w##_rsqrt_estimate(const struct fpenv *e, T a)                                       \
	{                                                                                          \
		return (T)rsqrt_estimate(f, e, a);                                                 \
	}                                                                                          \
	T fp##w##_recpx(const struct fpenv *e, T a)                                                \
	{                                                                                          \
		return (T)recpx(f, e, a);                                                          \
	}                                                                                          \
	T fp##w##_round_int(const struct fpenv *e, T a, enum fp_round r, bool exact)               \
	{                                                                                          \
		return (T)round_int(f, e, a, r, exact);                                            \
	}                                                                                          \
	uint64_t fp##w##_to_fixed(const struct fpenv *e, T a, unsigned fbits, bool is_unsigned,    \
				  enum fp_round r, unsigned width)                                 \
	{                                                                                          \
		uint64_t v;                                                                        \
		if (r == FP_RZ && !fbits && fast##w##_to_integer(e, a, is_unsigned, width, &v))    \
			return v;                                                                  \
		return to_fixed(f, e, a, fbits, is_unsigned, r, width);                            \
	}                                                                                          \
	T fp##w##_from_fixed(const struct fpenv *e, uint64_t v, unsigned fbits, bool is_unsigned,  \
			     enum fp_round r, unsigned width)                                      \
	{                                                                                          \
		T x;                                                                               \
		if (!fbits && fast##w##_from_integer(e, v, is_unsigned, r, width, &x))             \
			return x;                                                                  \
		return (T)from_fixed(f, e, v, fbits, is_unsigned, r, width);                       \
	}

FP_LIBRARY(uint32_t, 32, &single)
FP_LIBRARY(uint64_t, 64, &dbl)

uint64_t fp64_from_fp32(const struct fpenv *e, uint32_t a)
{
	uint64_t r;

	return fast64_from_fp32(a, &r) ? r : convert(&dbl, &single, e, a, false);
}
uint32_t fp32_from_fp64(const struct fpenv *e, uint64_t a)
{
	uint32_t r;

	return fast32_from_fp64(e, a, &r) ? r : (uint32_t)convert(&single, &dbl, e, a, false);
}
uint32_t fp32_from_fp16(const struct fpenv *e, uint16_t a)
{
	return (uint32_t)convert(&single, &half, e, a, false);
}
uint64_t fp64_from_fp16(const struct fpenv *e, uint16_t a)
{
	return convert(&dbl, &half, e, a, false);
}
uint16_t fp16_from_fp32(const struct fpenv *e, uint32_t a)
{
	return (uint16_t)convert(&half, &single, e, a, false);
}
uint16_t fp16_from_fp64(const struct fpenv *e, uint64_t a)
{
	return (uint16_t)convert(&half, &dbl, e, a, false);
}
uint32_t fp32_from_fp64_odd(const struct fpenv *e, uint64_t a)
{
	return (uint32_t)convert(&single, &dbl, e, a, true);
}

/* UnsignedRecipEstimate() */
uint32_t fp_urecpe(uint32_t a)
{
	return bit(a, 31) ? estimate_reciprocal(a >> 23) << 23 : UINT32_MAX;
}
/* UnsignedRSqrtEstimate() */
uint32_t fp_ursqrte(uint32_t a)
{
	return a >> 30 ? estimate_reciprocal_sqrt(a >> 23) << 23 : UINT32_MAX;
}

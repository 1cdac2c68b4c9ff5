/* SPDX-License-Identifier: MIT */
/*
 * See rng.h.
 */
#include "rng.h"

#include "base/bits.h"

/* splitmix64 */
uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

struct rng rng_case(uint64_t seed, uint64_t index)
{
	struct rng r = { seed ^ index << 32 };

	r.state = rng_next(&r) ^ index;
	return r;
}

/* Values of w bits that end, begin or break something. */
uint64_t edge_int(struct rng *r, unsigned w)
{
	uint64_t all = mask_low(w), v;

	switch (rng_below(r, 8)) {
	case 0: v = 0; break;
	case 1: v = all; break;
	case 2: v = 1ULL << (w - 1); break;
	case 3: v = all >> 1; break;
	case 4: v = rng_below(r, 8); break;
	case 5: v = 1ULL << rng_below(r, w); break;
	case 6: v = (1ULL << rng_below(r, w)) - 1; break;
	default: v = rng_next(r); break;
	}
	switch (rng_below(r, 8)) {
	case 0: v++; break;
	case 1: v--; break;
	case 2: v = ~v; break;
	case 3: v = 0 - v; break;
	default: break;
	}
	return v & all;
}

uint64_t edge_x(struct rng *r)
{
	uint64_t v;

	switch (rng_below(r, 4)) {
	case 0: return rng_next(r);
	case 1: v = edge_int(r, 32); return bit(v, 0) ? v : (uint64_t)sign_extend(v, 32);
	case 2: return rng_next(r) >> rng_below(r, 64);
	default: return edge_int(r, 64);
	}
}

/* A floating-point value with e exponent and m fraction bits. */
uint64_t edge_fp(struct rng *r, unsigned e, unsigned m)
{
	uint64_t bias = mask_low(e - 1), top = mask_low(e), exponent, fraction;

	switch (rng_below(r, 12)) {
	case 0: exponent = 0; break;
	case 1: exponent = 1; break;
	case 2: exponent = top; break;
	case 3: exponent = top - 1; break;
	case 4:
	case 5:
	case 6: exponent = bias - 2 + rng_below(r, 4); break;
	/* sums that cancel or round; the reach of integers of up to 64 bits */
	case 7: exponent = bias + rng_below(r, m + 4); break;
	case 8: exponent = bias - rng_below(r, bias < m + 4 ? bias : m + 4); break;
	case 9: exponent = bias + 29 + 32 * rng_below(r, 2) + rng_below(r, 5); break;
	/* the ends of the narrower formats, subnormals included */
	case 10: {
		static const int ends[] = { 16, -14, -24, -25, 128, -126, -149, -150 };

		exponent = bias + (uint64_t)ends[rng_below(r, 8)] + rng_below(r, 3) - 1;
		break;
	}
	default: exponent = rng_next(r); break;
	}
	exponent &= top;
	switch (rng_below(r, 10)) {
	case 0:
	case 1: fraction = 0; break;
	case 2: fraction = ~0ULL; break;
	case 3: fraction = 1ULL << (m - 1); break;
	case 4: fraction = rng_below(r, 4); break;
	case 5: fraction = 1ULL << rng_below(r, m); break;
	/* halfway between two values of a narrower format, or next to it */
	case 6: fraction = (rng_next(r) << 1 | 1) << rng_below(r, m); break;
	case 7: fraction = ((rng_next(r) << 1 | 1) << rng_below(r, m)) + rng_below(r, 3) - 1; break;
	default: fraction = rng_next(r); break;
	}
	return (rng_next(r) & 1) << (e + m) | exponent << m | (fraction & mask_low(m));
}

/* SPDX-License-Identifier: MIT */
/*
 * Random numbers, and values that end, begin or break something.
 *
 * Everything is a function of the random state passed in, so a seed gives the same cases again.
 */
#ifndef HAKO_TESTS_INSN_RNG_H
#define HAKO_TESTS_INSN_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};
uint64_t rng_next(struct rng *r);
/* below n, n > 0 */
uint64_t rng_below(struct rng *r, uint64_t n);
static inline bool rng_one_in(struct rng *r, uint64_t n)
{
	return rng_below(r, n) == 0;
}
/* The state for case `index` of a run with `seed`. */
struct rng rng_case(uint64_t seed, uint64_t index);

/* A value of w bits; of a 64-bit register; a floating-point value, e exponent, m fraction bits. */
uint64_t edge_int(struct rng *r, unsigned w);
uint64_t edge_x(struct rng *r);
uint64_t edge_fp(struct rng *r, unsigned e, unsigned m);

#endif

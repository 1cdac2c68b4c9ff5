/* SPDX-License-Identifier: MIT */
/*
 * Test cases: random instructions from the pattern table, and machine states that matter to them.
 *
 * Everything is a function of the random state passed in, so a seed gives the same cases again.
 */
#ifndef HAKO_TESTS_INSN_GEN_H
#define HAKO_TESTS_INSN_GEN_H

#include <stdbool.h>
#include <stdint.h>

#include "a64_decode.h"
#include "record.h"

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

/* A word that decodes to `insn` and may be run; false when none was found. */
bool gen_word(struct rng *r, enum a64_insn insn, uint32_t *word);

/* One instruction, which must be one that gen_word() could give. rec->slot is set by the caller. */
void gen_single(struct rng *r, uint32_t word, struct insn_record *rec);

/* Straight-line code (with forward branches) of instructions picked from insns[n]. */
void gen_stream(struct rng *r, const enum a64_insn *insns, unsigned n, struct insn_record *rec);

/*
 * For the question "is this word an instruction at all": any word, preferably close to a line of
 * the table, in a state in which loads and stores stay harmless.
 */
void gen_any(struct rng *r, struct insn_record *rec);

#endif

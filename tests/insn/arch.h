/* SPDX-License-Identifier: MIT */
/*
 * What the test needs to know about an architecture: its lines (the instruction table's, and what
 * the architecture counts besides), its test cases, and when two outcomes are the same. The test is
 * linked once with each architecture; the directories have the same files.
 */
#ifndef HAKO_TESTS_INSN_ARCH_H
#define HAKO_TESTS_INSN_ARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "record.h"
#include "rng.h"

enum kind { KIND_SINGLE, KIND_STREAM, KIND_ANY };
enum { ARCH_MAX_LINES = 1024, ARCH_MAX_CPUS = 4 };

/*
 * A variant of the architecture, chosen by arch_init(): its name, the oracle's -cpu values, and the
 * lines, of which line 0 stands for no instruction.
 */
struct arch {
	const char *cpus[ARCH_MAX_CPUS];
	unsigned n_lines;
};
const struct arch *arch_init(const char *variant); /* NULL: there is none of that name */

const char *arch_name(unsigned line);
unsigned arch_line(uint32_t word);
/* Why no word of the line is run. */
const char *arch_not_run(unsigned line);

/* A word that is of the line and may be run; false when none was found. */
bool gen_word(struct rng *r, unsigned line, uint32_t *word);
/* One instruction, which must be one that gen_word() could give. rec->slot is set by the caller. */
void gen_single(struct rng *r, uint32_t word, struct insn_record *rec);
/* Straight-line code (with forward branches) of instructions picked from lines[n]. */
void gen_stream(struct rng *r, const unsigned *lines, unsigned n, struct insn_record *rec);
/*
 * For the question "is this word an instruction at all": any word, preferably close to a line of
 * the table, in a state in which loads and stores stay harmless. `index` counts these cases.
 */
void gen_any(struct rng *r, uint64_t index, struct insn_record *rec);

/* An instruction without effect that is as long as `word`, and where an instruction is. */
uint32_t arch_nop(uint32_t word);
uint64_t arch_pc(const struct insn_record *rec, uint32_t index);
/* Which of the CPUs the record needs. */
unsigned arch_cpu(const struct insn_record *rec);

/* Is ours as good as theirs? With `out`, also say where not. */
bool arch_same(const struct insn_record *rec, const struct insn_result *ours,
	       const struct insn_result *theirs, FILE *out);
/* The oracle executes the word, hako finds it undefined (or the other way round), rightly. */
const char *arch_hidden(uint32_t word);
const char *arch_missing(uint32_t word);
/* arch_hidden() is not to be believed of what this one of the CPUs executes; -1: always is. */
int arch_hidden_cpu(void);

/* The instruction's operands before it, and the registers that are operands of every one. */
void arch_print_operands(const struct insn_record *rec, uint32_t word);
void arch_print_state(const struct insn_record *rec);

/* Macros for arch_same(): `ok` and `out` are its own. */
#define CHECK(cond, ...)                                   \
	do {                                               \
		if (!(cond)) {                             \
			ok = false;                        \
			if (out)                           \
				fprintf(out, __VA_ARGS__); \
		}                                          \
	} while (0)

const char *stop_name(uint32_t stop);

#endif

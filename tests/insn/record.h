/* SPDX-License-Identifier: MIT */
/*
 * What the test and the oracle's runner say to each other: a test case is a record, its outcome a
 * result. Also the layout of the test's small address space, which is the same on both sides.
 *
 * The runner (runner.c, a bare program of the guest's architecture) reads batches from its standard
 * input and writes the results to its standard output: struct insn_batch, then that many records;
 * back come that many results, each followed by the scratch memory where INSN_BATCH_MEM asks for
 * it. Both ends are little-endian.
 *
 * Shared by the host's compiler and the runner's: only fixed-width types.
 */
#ifndef HAKO_TESTS_INSN_RECORD_H
#define HAKO_TESTS_INSN_RECORD_H

#include <stdint.h>

/* Two pages of data, with nothing mapped around them. */
#define SCRATCH_BASE 0x10007000ULL
#define SCRATCH_SIZE 0x2000ULL
#define SCRATCH_END  (SCRATCH_BASE + SCRATCH_SIZE)

enum { INSN_BATCH_MAX = 256, INSN_CODE_MAX = 96 };

/* struct insn_state, which has a pc; where code is: slot_pc() */
#include "state.h"

enum {
	INSN_MEM = 1, /* fill the scratch memory before and sum it after */
	/*
	 * End at an undefined instruction, so that the outcome is a signal with its PC. Otherwise
	 * the code may end in a jump to the runner (AArch64; it costs TPIDR_EL0).
	 */
	INSN_TRAP = 2,
};

struct insn_record {
	struct insn_state in; /* pc is ignored */
	uint64_t mem_seed;    /* contents of the scratch memory; 0: all zero */
	uint32_t flags, n;
	uint32_t slot, pad; /* where the code goes, below INSN_BATCH_MAX */
	uint32_t code[INSN_CODE_MAX];
};

enum insn_stop {
	STOP_END,  /* ran to the end of the code (of a record without INSN_TRAP) */
	STOP_ILL,  /* undefined instruction at pc */
	STOP_SEGV, /* instruction or data abort other than alignment */
	STOP_BUS,  /* misaligned PC or data */
	STOP_TRAP, /* BRK and its like */
	STOP_SP,   /* hako only: misaligned SP as a base */
	STOP_OTHER,
};

/* What is wrong with hako's side whatever the oracle says. */
enum insn_note {
	NOTE_AGAIN = 1, /* the second run ended in this, the first did not */
	NOTE_WNR = 2,   /* ESR_EL1.WnR of a data abort */
	NOTE_STEP = 4,  /* single steps were not single */
	NOTE_TVAL = 8,  /* RISC-V: stval of an illegal instruction or a breakpoint */
};

struct insn_result {
	struct insn_state out; /* AArch64: tpidr is meaningful unless STOP_END */
	uint64_t mem_sum;
	uint64_t far; /* faulting address of STOP_SEGV */
	uint32_t stop;
	uint32_t notes; /* hako only: enum insn_note */
};

enum { INSN_BATCH_MEM = 1 };
struct insn_batch {
	uint32_t n, flags;
};

static inline void scratch_fill(uint64_t *mem, uint64_t seed)
{
	uint64_t v = seed;

	for (unsigned i = 0; i < SCRATCH_SIZE / 8; i++) {
		mem[i] = v ^ v >> 31;
		if (seed)
			v = v * 0xd1342543de82ef95ULL + 0x9e3779b97f4a7c15ULL;
	}
}

static inline uint64_t scratch_sum(const uint64_t *mem)
{
	uint64_t sum = 1;

	for (unsigned i = 0; i < SCRATCH_SIZE / 8; i++)
		sum = (sum ^ mem[i]) * 0xd1342543de82ef95ULL + (sum >> 47);
	return sum;
}

#endif

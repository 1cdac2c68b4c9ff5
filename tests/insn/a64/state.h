/* SPDX-License-Identifier: MIT */
/*
 * AArch64's part of record.h: the registers, and where code is.
 */
#ifndef HAKO_TESTS_INSN_A64_STATE_H
#define HAKO_TESTS_INSN_A64_STATE_H

#include <stdint.h>

enum {
	SLOT_WORDS = 256,
	SLOT_CODE = 64,      /* index of the first tested word in a slot */
	SLOT_LITERALS = 248, /* from here on a slot holds words of the runner's own */
};

/*
 * A slot of code per record of a batch, again with nothing around them within reach of a B. The
 * code of every fourth slot begins 16 words before the end of a page.
 */
#define CODE_PAGES     0x21000000ULL
#define CODE_BASE      (CODE_PAGES + 0x1000 - SLOT_CODE * 4 - 64)
#define CODE_PAGES_END (CODE_PAGES + 0x1000 + INSN_BATCH_MAX * SLOT_WORDS * 4)

struct insn_state {
	uint64_t x[31], sp, pc;
	uint64_t nzcv; /* in bits 31..28 */
	uint64_t tpidr;
	uint32_t fpcr, fpsr;
	uint64_t v[32][2];
};

/* Offsets that runner.S uses. */
_Static_assert(__builtin_offsetof(struct insn_state, sp) == 248, "layout");
_Static_assert(__builtin_offsetof(struct insn_state, nzcv) == 264, "layout");
_Static_assert(__builtin_offsetof(struct insn_state, v) == 288, "layout");

static inline uint64_t slot_pc(unsigned slot)
{
	return CODE_BASE + (uint64_t)slot * SLOT_WORDS * 4 + SLOT_CODE * 4;
}

#endif

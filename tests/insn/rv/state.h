/* SPDX-License-Identifier: MIT */
/*
 * RISC-V's part of record.h: the registers, and where code is. The same for RV32 (whose registers
 * are sign-extended) and RV64.
 *
 * x31 holds the address of the code: the runner needs one register to go there. A word of the
 * record's code is an instruction; one of 2 bytes takes only 2 in memory.
 */
#ifndef HAKO_TESTS_INSN_RV_STATE_H
#define HAKO_TESTS_INSN_RV_STATE_H

#include <stdint.h>

/*
 * A slot of code per record of a batch, with nothing around them within reach of a JAL. The code of
 * one slot in eight begins 2 bytes before the end of a page, of another one 46 bytes before it.
 */
enum { SLOT_BEFORE = 240, SLOT_SIZE = 960, SLOT_PITCH = 1024 };
#define CODE_PAGES     0x21000000ULL
#define CODE_PAGES_END (CODE_PAGES + 0x2000 + INSN_BATCH_MAX * SLOT_PITCH)

/* At the end of the last page is half of an instruction of 4 bytes. */
enum { LAST_HALF = 0x0003 };

struct insn_state {
	uint64_t x[32], f[32], pc;
	uint32_t fcsr, pad;
};

/* Offsets that runner.S uses. */
_Static_assert(__builtin_offsetof(struct insn_state, f) == 256, "layout");
_Static_assert(__builtin_offsetof(struct insn_state, pc) == 512, "layout");
_Static_assert(__builtin_offsetof(struct insn_state, fcsr) == 520, "layout");

static inline uint64_t slot_pc(unsigned slot)
{
	return CODE_PAGES + 0x1000 + (uint64_t)slot * SLOT_PITCH - (slot & 4 ? 46 : 2);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What is in a slot of code: zeros, which are no instruction, around the code.
 */
#ifndef HAKO_TESTS_INSN_RV_SLOT_H
#define HAKO_TESTS_INSN_RV_SLOT_H

#include "record.h"

static inline unsigned insn_length(uint32_t w)
{
	return (w & 3) == 3 ? 4 : 2;
}

static inline void slot_fill(uint16_t *halves, const struct insn_record *rec)
{
	unsigned at = SLOT_BEFORE / 2;

	for (unsigned i = 0; i < SLOT_SIZE / 2; i++)
		halves[i] = 0;
	for (uint32_t i = 0; i < rec->n && i < INSN_CODE_MAX; i++) {
		halves[at++] = (uint16_t)rec->code[i];
		if (insn_length(rec->code[i]) == 4)
			halves[at++] = (uint16_t)(rec->code[i] >> 16);
	}
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What is in a slot of code.
 */
#ifndef HAKO_TESTS_INSN_A64_SLOT_H
#define HAKO_TESTS_INSN_A64_SLOT_H

#include "record.h"

/* A slot before the runner adds its own words: the code, and UDF (C6.2.387) everywhere else. */
static inline void slot_fill(uint32_t *words, const struct insn_record *rec)
{
	for (uint32_t i = 0; i < SLOT_WORDS; i++)
		words[i] = 0x5500 + i;
	for (uint32_t i = 0; i < rec->n && i < INSN_CODE_MAX; i++)
		words[SLOT_CODE + i] = rec->code[i];
}

#endif

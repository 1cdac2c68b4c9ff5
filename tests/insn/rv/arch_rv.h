/* SPDX-License-Identifier: MIT */
/*
 * What RISC-V's files of the test share.
 */
#ifndef HAKO_TESTS_INSN_RV_ARCH_RV_H
#define HAKO_TESTS_INSN_RV_ARCH_RV_H

#include "arch.h"

extern bool rv_is_64; /* set once, by arch_init() */

/* The instruction of 32 bits that the word stands for, or 0. */
uint32_t rv_word(uint32_t word);

/* Why the word's outcome is not compared, or NULL. */
const char *quirk_excluded(uint32_t word);
/* May not even be run in the oracle. */
const char *quirk_never_run(uint32_t word);

/* The oracle is wrong unless bits 31..0 of rs1 hold a 1. */
bool quirk_needs_low_bit(uint32_t word);

#endif

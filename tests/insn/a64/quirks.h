/* SPDX-License-Identifier: MIT */
/*
 * What a comparison with QEMU's user mode leaves out, each with its reason. Nothing is tolerated
 * that is not listed here.
 */
#ifndef HAKO_TESTS_INSN_QUIRKS_H
#define HAKO_TESTS_INSN_QUIRKS_H

#include <stdbool.h>
#include <stdint.h>

/* Words that are never run. NULL, or why. */
const char *quirk_never_run(uint32_t word);

/* Words whose outcome is not compared: those, and what user mode does not have. NULL, or why. */
const char *quirk_excluded(uint32_t word);

/* One of the MSR, MRS and SYS words that are run; `n` picks it, Rt is 0. */
uint32_t quirk_system_word(unsigned n);

/* The outcome is CONSTRAINED UNPREDICTABLE or UNKNOWN (DDI0487 K1): not generated. NULL, or why. */
const char *quirk_unpredictable(uint32_t word);

/* Words that QEMU executes and hako rightly leaves undefined. NULL, or the feature. */
const char *quirk_hidden(uint32_t word);

/* Words that QEMU leaves undefined although they are allocated. NULL, or why. */
const char *quirk_missing(uint32_t word);

/* The oracle takes addresses that must fault: only good ones are tried. NULL, or what. */
const char *quirk_unchecked_address(uint32_t word);

/* Does the word need the oracle with every feature (-cpu max)? */
bool quirk_needs_max(uint32_t word);

#endif

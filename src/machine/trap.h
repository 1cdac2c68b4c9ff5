/* SPDX-License-Identifier: MIT */
/*
 * A trap of the guest in words, by its architecture's manual.
 */
#ifndef HAKO_MACHINE_TRAP_H
#define HAKO_MACHINE_TRAP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/debug.h"

struct trap_words {
	char what[96];      /* "store", "timer interrupt", "illegal instruction 0x0" */
	char cause[64];     /* what the manual calls it, and its number */
	uint8_t access;     /* of enum debug_access: it was an access, to `addr`; 0: it was none */
	bool mapping;       /* which the page tables are to blame for */
	const char *why;    /* or which has this reason; NULL: none to be told here */
	char in[16];        /* "S-mode", "EL1": where it came from */
	const char *vector; /* the register with the handler's address */
};

void trap_words_a64(const struct debug_trap *trap, struct trap_words *words);
void trap_words_rv(const struct debug_trap *trap, struct trap_words *words);

#endif

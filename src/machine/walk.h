/* SPDX-License-Identifier: MIT */
/*
 * A guest virtual address, translated on behalf of a person: step by step, in words, and without a
 * trace in the guest (no access flags are set). It reads the vCPU's registers and the tables in
 * guest memory, so it is the same under every engine.
 *
 * Threads: the vCPU is parked.
 */
#ifndef HAKO_MACHINE_WALK_H
#define HAKO_MACHINE_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/debug.h"

struct vm_cpu;

/* Who accesses what. */
struct walk_access {
	uint64_t va;
	uint8_t access; /* one of enum debug_access, or 0: just where is it? */
	uint8_t level;  /* exception level, RISC-V's privilege, x86's (0 to 3) */
	bool pan;       /* arm64: PSTATE.PAN */
};

enum { WALK_STEPS = 5 };

struct walk {
	char how[64];    /* which tables, and where they begin */
	bool translated; /* false: addresses are physical, there are no steps */
	unsigned n;
	struct {
		unsigned level;
		uint64_t at, entry; /* guest physical address of the entry, and what it says */
		bool read;          /* there is memory at `at` */
		char meaning[96];
	} steps[WALK_STEPS];
	bool ok;
	uint64_t pa;   /* ok: where the address is */
	char why[128]; /* not ok: why the access may not be done, as a clause */
};

void walk_va(struct vm_cpu *cpu, const struct walk_access *access, struct walk *walk);

/* The guest architectures' own. */
void walk_a64(struct vm_cpu *cpu, const struct walk_access *access, struct walk *walk);
void walk_rv(struct vm_cpu *cpu, const struct walk_access *access, struct walk *walk);
void walk_x86(struct vm_cpu *cpu, const struct walk_access *access, struct walk *walk);

#endif

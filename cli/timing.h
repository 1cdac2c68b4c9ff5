/* SPDX-License-Identifier: MIT */
/*
 * hako run --timing: what happened when in a run, and how often the guest was left for what.
 *
 * Times are since exec. No clock of the kernel tells a process when that was, to better than 10 ms,
 * so it is reckoned: the time when the command begins, less the CPU time that the process has used
 * by then. That is too late by as long as the process waited before: for a page of the program that
 * was not in memory, or for a CPU.
 */
#ifndef HAKO_CLI_TIMING_H
#define HAKO_CLI_TIMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hako/vm.h"

enum { TIMING_COUNTERS_MAX = 64 };

struct timing {
	bool wanted, json;
	uint64_t exec; /* CLOCK_MONOTONIC, ns */
	struct hako_moment moments[HAKO_N_EVENTS];
	struct hako_counter counters[TIMING_COUNTERS_MAX];
	size_t n_counters;
	char names[TIMING_COUNTERS_MAX][32];
	char engine[16], machine[16];
};

/* As early as can be. */
void timing_begin(struct timing *t);
/* After the run, while the VM is there. */
void timing_take(struct timing *t, const struct hako_vm *vm);
/* On the standard error: lines for a reader, or a line of JSON as hako(1) describes it. */
void timing_print(const struct timing *t, enum hako_outcome outcome);

/* "poweroff" */
const char *outcome_name(enum hako_outcome outcome);

#endif

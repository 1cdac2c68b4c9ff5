/* SPDX-License-Identifier: MIT */
/*
 * The oracle: runner.c under qemu-aarch64, as a child process at the end of two pipes.
 */
#ifndef HAKO_TESTS_INSN_ORACLE_H
#define HAKO_TESTS_INSN_ORACLE_H

#include <stdbool.h>
#include <sys/types.h>

#include "record.h"

struct oracle {
	const char *qemu, *runner, *cpu;
	pid_t pid; /* 0: not running */
	int to, from;
};

/* Each of these ends the program with a message when the oracle cannot be started at all. */
void oracle_start(struct oracle *o);
void oracle_stop(struct oracle *o);

/*
 * Send a batch, and later take its results. `mem` (SCRATCH_SIZE bytes) only for a batch of one.
 * False: the oracle has died or hangs; it has been started again, and nothing came back.
 */
bool oracle_send(struct oracle *o, const struct insn_record *recs, unsigned n, bool mem);
bool oracle_take(struct oracle *o, struct insn_result *results, unsigned n, void *mem);

#endif

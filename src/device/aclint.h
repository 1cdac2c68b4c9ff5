/* SPDX-License-Identifier: MIT */
/*
 * ACLINT, the timer and software interrupts of RISC-V harts (RISC-V ACLINT specification 1.0),
 * laid out as SiFive's CLINT: MSIP per hart, MTIMECMP per hart, and MTIME, which counts the
 * machine's clock at ACLINT_TIMEBASE.
 *
 * Threads: register accesses come from vCPU threads, timers fire on the control loop; one mutex
 * inside.
 */
#ifndef HAKO_DEVICE_ACLINT_H
#define HAKO_DEVICE_ACLINT_H

#include <stdbool.h>
#include <stdint.h>

struct aclint;
struct bus;
struct clock;
struct err;
struct log;

enum {
	ACLINT_SIZE = 0x10000, /* of MSWI and MTIMER, one behind the other, as a CLINT has them */
	ACLINT_TIMEBASE = 10000000, /* Hz; the harts' too, see machine/riscv.c */
	ACLINT_MAX_CPUS = 16,
};

struct aclint_config {
	struct bus *bus;
	uint64_t base;
	unsigned n_cpus; /* 1 to ACLINT_MAX_CPUS */
	struct clock *clock;
	/* A hart's MSIP and MTIP; called with the ACLINT's mutex held. */
	void (*msip)(void *arg, unsigned cpu, bool level);
	void (*mtip)(void *arg, unsigned cpu, bool level);
	/*
	 * The guest wrote MTIME, or a reset undid that: it is now `ahead` ticks (modulo 2^64) ahead
	 * of the machine's clock, and so must the harts' `time` be. With the mutex held; NULL: none
	 * of the harts' business.
	 */
	void (*time_set)(void *arg, uint64_t ahead);
	void *arg;
	struct log *log;
};

int aclint_create(struct aclint **aclint, const struct aclint_config *config, struct err *err);
/* No vCPU runs; the clock may, and so call mtip() until this returns. */
void aclint_destroy(struct aclint *aclint);
/* No interrupt, no timer armed, MTIME back to the machine's clock. */
void aclint_reset(struct aclint *aclint);

/* Is a timer interrupt still to come? For telling a dead guest. */
bool aclint_any_armed(struct aclint *aclint);

#endif

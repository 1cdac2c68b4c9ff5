/* SPDX-License-Identifier: MIT */
/*
 * AArch64 system registers as a table (sysreg.c): encoding, name, who may access it, where it
 * lives.
 */
#ifndef HAKO_ENGINE_SOFT_A64_SYSREG_H
#define HAKO_ENGINE_SOFT_A64_SYSREG_H

#include "base/a64_sysreg.h"
#include "engine/soft/a64/cpu.h"

struct a64_sysreg {
	uint16_t encoding; /* A64_SYSREG() */
	uint8_t access;    /* A64_R0 ..., A64_SHOWN */
	uint16_t offset;   /* in struct a64_sys, or A64_NO_STATE */
	const char *name;
	uint64_t value; /* without state: what it reads; with state: the bits that can be written */
	/* NULL: value and state say it all */
	uint64_t (*read)(struct a64_cpu *c, const struct a64_sysreg *r);
	void (*write)(struct a64_cpu *c, const struct a64_sysreg *r, uint64_t v);
};

/* Readable and writable at EL0 and EL1; C: at EL0, if the register's own control allows (EL0
 * traps). SHOWN: to debuggers too, as is what has state; its functions judge nothing. */
enum { A64_R0 = 1, A64_W0 = 2, A64_R1 = 4, A64_W1 = 8, A64_C0 = 16, A64_SHOWN = 32 };

enum { A64_NO_STATE = 0xffff };

/* NULL: not a register that this CPU has. */
const struct a64_sysreg *a64_sysreg_find(unsigned encoding);
/* Access with the checks of the current exception level; `w` is the MRS or MSR, for
 * the syndrome. */
uint64_t a64_sysreg_read(struct a64_cpu *c, const struct a64_sysreg *r, uint32_t w);
void a64_sysreg_write(struct a64_cpu *c, const struct a64_sysreg *r, uint32_t w, uint64_t v);
/* The syndrome of a trapped MSR, MRS or SYS. */
uint32_t a64_sysreg_iss(uint32_t w);
/* For the test that the table is sorted and complete. */
const struct a64_sysreg *a64_sysreg_table(unsigned *count);

/* Generic timer (timer.c) */
uint64_t a64_counter(const struct a64_cpu *c);
/* Look at both timers: set their interrupt lines and arm the machine's clock. */
void a64_timer_update(struct a64_cpu *c);
/* Is a timer enabled, unmasked and still to come? */
bool a64_timer_armed(const struct a64_cpu *c);
enum { A64_CNTFRQ = 62500000, A64_CNT_SHIFT = 4 }; /* 16 ns a tick, so that ticks are ns >> 4 */

void a64_sysreg_reset(struct a64_cpu *c);

#endif

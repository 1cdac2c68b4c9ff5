/* SPDX-License-Identifier: MIT */
/*
 * Debugging from outside (engine/debug.h), as far as it does not depend on the guest's
 * architecture.
 *
 * A vCPU that is not being debugged pays one look at `active` each time that it enters decoded
 * code, and nothing in there:
 *  - A breakpoint is an op of its own. Decoding puts it at every place in a page whose offset is a
 *    breakpoint's, since ops know no virtual addresses; its handler leaves to the run loop, which
 *    knows, and either stops there or runs that one instruction by itself.
 *  - Pages with watchpoints get no TLB tags, so that accesses to them take the slow path, which
 *    asks soft_watch(). What the instruction has done so far is undone, and the vCPU stops before
 *    it.
 *
 * Threads: the vCPU's own; and whoever has parked it. Points change while all are parked.
 */
#ifndef HAKO_ENGINE_SOFT_DEBUG_H
#define HAKO_ENGINE_SOFT_DEBUG_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/debug.h"

struct op;
struct vcpu;

/* Of an engine. */
struct soft_points {
	struct debug_point points[DEBUG_POINTS_MAX];
	unsigned n, n_break, n_watch;
};

/* Of a vCPU. */
struct soft_debug {
	bool active;   /* the run loop must call soft_debug_next() */
	bool due;      /* and nothing may come before it: no interrupt, no sleep */
	bool step;     /* after the next instruction, stop */
	bool stop_due; /* vcpu_run shall return VCPU_DEBUG */
	struct debug_stop stop;
	struct op *lifted;        /* a breakpoint's place, decoded as if there were none */
	struct debug_insn *trace; /* a ring of the last instructions, or NULL */
	size_t trace_size;
	uint64_t traced;   /* instructions put into it */
	uint64_t remapped; /* behind the instruction that changed the translation last */
	bool returned;     /* from a trap, and nothing was executed since */

	const struct debug_trap_ops *traps; /* NULL: nobody watches */
	void *traps_arg;
	/* While nobody does: how often `fault` has come, and no return from a trap since. */
	unsigned nested;
	bool any_opener;
	struct debug_trap fault, opener; /* as in debug_stop */
};

/* What the run loop does at pc, while `active`. */
enum soft_next { SOFT_GO, SOFT_ONE, SOFT_STOP };
enum soft_next soft_debug_next(struct vcpu *v, uint64_t pc);

/* Decoding the op of the page at this offset: is it a breakpoint's place? */
bool soft_break_here(const struct vcpu *v, const struct op *op, unsigned off);
/* The op is about to be run alone: no breakpoint there, until soft_debug_next() is called again. */
void soft_break_lift(struct vcpu *v, const struct op *op);

/* The instruction is about to be run alone. */
void soft_traced(struct vcpu *v, uint64_t pc, uint32_t word);
void soft_debug_fini(struct vcpu *v);

/* Is something in this page watched? */
bool soft_watched_page(const struct vcpu *v, uint64_t page);
/* An access, about to be done. True: the instruction must not be done, the vCPU stops. */
bool soft_watch(struct vcpu *v, uint64_t va, uint64_t len, enum debug_access access);

/* A trap was taken: every one while `traps`, else those that are from the level they are taken to
 * and no interrupts. */
void soft_trapped(struct vcpu *v, const struct debug_trap *trap);
/* A trap returns. Only while `traps`; else `nested` becomes 0. */
void soft_returned(struct vcpu *v, uint64_t pc);

extern const struct debug_ops soft_debug_ops;

#endif

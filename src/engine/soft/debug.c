/* SPDX-License-Identifier: MIT */
/*
 * Breakpoints, watchpoints, steps and traps for a debugger outside the guest: debug.h.
 */
#include "engine/soft/debug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "engine/soft/soft.h"

static void changed(struct vcpu *v)
{
	struct soft_debug *d = &v->debug;

	d->due = d->step || d->stop_due;
	d->active = d->due || d->lifted || d->trace || v->engine->points.n_break;
}

static void stop(struct vcpu *v, struct debug_stop why)
{
	v->debug.stop = why;
	v->debug.stop_due = true;
	changed(v);
}

static bool breakpoint_at(const struct soft_points *p, uint64_t va, uint64_t mask)
{
	for (unsigned i = 0; i < p->n; i++)
		if ((p->points[i].access & DEBUG_EXEC) && !((p->points[i].va ^ va) & mask))
			return true;
	return false;
}

enum soft_next soft_debug_next(struct vcpu *v, uint64_t pc)
{
	struct soft_debug *d = &v->debug;
	const struct soft_points *p = &v->engine->points;

	/* All zeros: not decoded. So the breakpoint comes back when it is. */
	if (d->lifted)
		*d->lifted = (struct op){ 0 };
	d->lifted = NULL;
	changed(v);
	if (d->stop_due) {
		d->stop_due = d->step = false;
		changed(v);
		return SOFT_STOP;
	}
	if (d->step) {
		stop(v, (struct debug_stop){ .why = DEBUG_STEPPED });
		return SOFT_ONE;
	}
	if (breakpoint_at(p, pc, ~0ULL)) {
		d->stop = (struct debug_stop){ .why = DEBUG_BREAKPOINT };
		return SOFT_STOP;
	}
	/* Another page's, at the same offset; or nothing. */
	return d->trace || breakpoint_at(p, pc, GMEM_PAGE_SIZE - 1) ? SOFT_ONE : SOFT_GO;
}

bool soft_break_here(const struct vcpu *v, const struct op *op, unsigned off)
{
	const struct soft_points *p = &v->engine->points;

	return unlikely(p->n_break) && op != v->debug.lifted &&
	       breakpoint_at(p, off, GMEM_PAGE_SIZE - 1);
}

void soft_break_lift(struct vcpu *v, const struct op *op)
{
	if (!v->engine->points.n_break)
		return;
	/* ops are only const to those who run them */
	v->debug.lifted = (struct op *)(uintptr_t)op;
	*v->debug.lifted = (struct op){ 0 };
}

/* ---- traces ---- */

void soft_traced(struct vcpu *v, uint64_t pc, uint32_t word)
{
	struct soft_debug *d = &v->debug;

	if (d->trace)
		d->trace[d->traced++ % d->trace_size] =
			(struct debug_insn){ .pc = pc, .word = word };
}

static int trace_insns(struct engine *e, size_t n)
{
	for (unsigned i = 0; i < e->cfg.n_vcpus; i++) {
		struct vcpu *v = e->vcpus[i];
		if (!v)
			continue;
		v->debug.trace = calloc(n, sizeof(*v->debug.trace));
		if (!v->debug.trace)
			return -ENOMEM;
		v->debug.trace_size = n;
		changed(v);
	}
	return 0;
}

static bool traced(struct vcpu *v, size_t back, struct debug_insn *insn)
{
	const struct soft_debug *d = &v->debug;

	if (back >= d->trace_size || back >= d->traced)
		return false;
	*insn = d->trace[(d->traced - 1 - back) % d->trace_size];
	insn->name = v->engine->arch->insn_name(v->engine, insn->word);
	return true;
}

void soft_debug_fini(struct vcpu *v)
{
	free(v->debug.trace);
}

/* ---- watchpoints ---- */

bool soft_watched_page(const struct vcpu *v, uint64_t page)
{
	const struct soft_points *p = &v->engine->points;

	for (unsigned i = 0; p->n_watch && i < p->n; i++) {
		const struct debug_point *w = &p->points[i];
		if (!(w->access & DEBUG_EXEC) && w->va <= page + (GMEM_PAGE_SIZE - 1) &&
		    page <= w->va + (w->len - 1))
			return true;
	}
	return false;
}

bool soft_watch(struct vcpu *v, uint64_t va, uint64_t len, enum debug_access access)
{
	const struct soft_points *p = &v->engine->points;

	for (unsigned i = 0; i < p->n; i++) {
		const struct debug_point *w = &p->points[i];
		if (!(w->access & access) || va + (len - 1) < w->va || w->va + (w->len - 1) < va)
			continue;
		stop(v, (struct debug_stop){
				.why = DEBUG_WATCHPOINT,
				.addr = va > w->va ? va : w->va,
				.access = (enum debug_access)w->access,
			});
		return true;
	}
	return false;
}

/* ---- traps ---- */

/* More often than any program would have a fault on purpose and leave its handler by a jump. */
enum { NESTED_LIMIT = 10000 };

static void nested(struct vcpu *v, const struct debug_trap *trap)
{
	struct soft_debug *d = &v->debug;

	/* A debugger sees for itself. */
	if (d->due)
		return;
	if (trap->kind == DEBUG_TRAP_CALL) {
		/* It may be what finds no handler, and comes from wherever it likes to. */
		d->fault = *trap;
		d->nested = 1;
	} else if (!d->nested || trap->pc != d->fault.pc || trap->cause != d->fault.cause) {
		d->any_opener = d->nested;
		d->opener = d->fault;
		d->fault = *trap;
		d->nested = 1;
	} else if (d->nested < NESTED_LIMIT && ++d->nested == NESTED_LIMIT) {
		stop(v, (struct debug_stop){ .why = DEBUG_NESTED,
					     .any_opener = d->any_opener,
					     .fault = d->fault,
					     .opener = d->opener });
	}
}

void soft_trapped(struct vcpu *v, const struct debug_trap *trap)
{
	if (!v->debug.traps)
		nested(v, trap);
	else if (v->debug.traps->trap(v->debug.traps_arg, v->index, trap))
		stop(v, (struct debug_stop){ .why = DEBUG_TRAPPED });
}

void soft_returned(struct vcpu *v, uint64_t pc)
{
	v->debug.returned = true;
	v->debug.traps->returned(v->debug.traps_arg, v->index, pc);
}

/* ---- debug_ops ---- */

static bool reg(struct engine *e, size_t n, struct debug_reg *out)
{
	return e->arch->reg(e, n, out);
}

static bool reg_get(struct vcpu *v, size_t n, void *val)
{
	return v->engine->arch->reg_get(v, n, val);
}

static bool reg_set(struct vcpu *v, size_t n, const void *val)
{
	return v->engine->arch->reg_set(v, n, val);
}

static int set_points(struct engine *e, const struct debug_point *points, size_t n)
{
	struct soft_points *p = &e->points;

	if (n > DEBUG_POINTS_MAX)
		return -ENOSPC;
	p->n = (unsigned)n;
	p->n_break = p->n_watch = 0;
	for (size_t i = 0; i < n; i++) {
		p->points[i] = points[i];
		*(points[i].access & DEBUG_EXEC ? &p->n_break : &p->n_watch) += 1;
	}
	/* What is decoded, and what has tags, was so under the points of before. */
	for (unsigned i = 0; i < e->cfg.n_vcpus; i++) {
		struct vcpu *v = e->vcpus[i];
		if (!v)
			continue;
		v->debug.lifted = NULL;
		changed(v);
		e->arch->forget(v);
	}
	return 0;
}

static void step(struct vcpu *v, bool on, uint32_t insn)
{
	(void)insn;
	v->debug.step = on;
	if (!on)
		v->debug.stop_due = false;
	changed(v);
}

static struct debug_stop stopped(struct vcpu *v)
{
	return v->debug.stop;
}

static void watch_traps(struct engine *e, const struct debug_trap_ops *ops, void *arg)
{
	for (unsigned i = 0; i < e->cfg.n_vcpus; i++)
		if (e->vcpus[i]) {
			e->vcpus[i]->debug.traps = ops;
			e->vcpus[i]->debug.traps_arg = arg;
		}
}

const struct debug_ops soft_debug_ops = {
	.reg = reg,
	.reg_get = reg_get,
	.reg_set = reg_set,
	.set_points = set_points,
	.step = step,
	.trace_insns = trace_insns,
	.traced = traced,
	.stopped = stopped,
	.watch_traps = watch_traps,
};

/* SPDX-License-Identifier: MIT */
/*
 * A mark: when something happened first. Whoever does the thing hits the mark each time, which
 * costs one load after the first; whoever wants to know owns it.
 *
 * Threads: any thread may hit. Read it when none does any more.
 */
#ifndef HAKO_BASE_MARK_H
#define HAKO_BASE_MARK_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/bits.h"

/* Zero-initialise. */
struct mark {
	_Atomic uint64_t at; /* CLOCK_MONOTONIC, ns; 0: it has not happened */
	uint64_t cpu;        /* CPU time that the process had used by then, ns */
};

void mark_first(struct mark *mark);

/* NULL: nobody wants to know. */
static inline void mark_hit(struct mark *mark)
{
	if (mark && unlikely(!atomic_load_explicit(&mark->at, memory_order_relaxed)))
		mark_first(mark);
}

#endif

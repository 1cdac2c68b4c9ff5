/* SPDX-License-Identifier: MIT */
/*
 * How ops are dispatched: what every guest architecture's interpreter begins with.
 *
 * The includer has defined `cpu_t`, its vCPU. A handler does its instruction and goes to the next
 * op's handler itself (a tail call where the compiler makes one, else a return to the run loop). It
 * returns NULL when the run loop must look. `table` is the table of handlers in force: debugging
 * passes one in which every handler stops.
 */
#ifndef HAKO_ENGINE_SOFT_DISPATCH_H
#define HAKO_ENGINE_SOFT_DISPATCH_H

#include "engine/soft/code.h"

typedef const struct op *handler(cpu_t *c, const struct op *op, const void *table);

/*
 * Sanitizers keep frames alive, and unoptimised code does not make tail calls: the loop there. A
 * function that passes on the address of a local must not end in GO: no compiler makes that a tail
 * call.
 */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TAIL_CALLS 1
#else
#define TAIL_CALLS 0
#endif

/* Go on at another op. */
#if TAIL_CALLS
#define GO(o)                                                                \
	do {                                                                 \
		const struct op *o_ = (o);                                   \
		return ((handler *const *)table)[o_->handler](c, o_, table); \
	} while (0)
#else
#define GO(o)                \
	do {                 \
		(void)table; \
		return (o);  \
	} while (0)
#endif

#define UNUSED (void)c, (void)op, (void)table

#endif

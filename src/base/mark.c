/* SPDX-License-Identifier: MIT */
/*
 * Marks.
 */
#include "base/mark.h"

#include "base/ns.h"

void mark_first(struct mark *mark)
{
	uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), at = host_ns();
	uint64_t never = 0;

	/* Of two threads that come here at once, one is first. */
	if (atomic_compare_exchange_strong(&mark->at, &never, at))
		mark->cpu = cpu;
}

/* SPDX-License-Identifier: MIT */
/*
 * Marks.
 */
#include "base/mark.h"

#include <time.h>

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void mark_first(struct mark *mark)
{
	uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), at = clock_ns(CLOCK_MONOTONIC);
	uint64_t never = 0;

	/* Of two threads that come here at once, one is first. */
	if (atomic_compare_exchange_strong(&mark->at, &never, at))
		mark->cpu = cpu;
}

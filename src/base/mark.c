/* SPDX-License-Identifier: MIT */
/*
 * Marks.
 */
#include "base/mark.h"

#include <time.h>

#include "base/ns.h"

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void mark_first(struct mark *mark)
{
	uint64_t cpu = cpu_ns(), at = host_ns();
	uint64_t never = 0;

	/* Of two threads that come here at once, one is first. */
	if (atomic_compare_exchange_strong(&mark->at, &never, at))
		mark->cpu = cpu;
}

/* SPDX-License-Identifier: MIT */
/*
 * The host's time in nanoseconds, by clock_gettime(2). host_ns() always goes on, from some moment
 * of no meaning.
 *
 * What a guest's time is, is bus/clock.h.
 */
#ifndef HAKO_BASE_NS_H
#define HAKO_BASE_NS_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL

/* One of the host's clocks, in nanoseconds. Any thread. */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline uint64_t host_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The host's time that always goes on: since some moment of no meaning; clock_gettime(2).
 *
 * What a guest's time is, is bus/clock.h.
 */
#ifndef HAKO_BASE_NS_H
#define HAKO_BASE_NS_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL

/* CLOCK_MONOTONIC, in nanoseconds. Any thread. */
static inline uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

#endif

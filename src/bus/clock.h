/* SPDX-License-Identifier: MIT */
/*
 * The machine's clock: guest timers and device timeouts read it and arm it, and nothing in a
 * machine reads the host's clock behind its back. Nanoseconds since the machine was built, without
 * those in which it was made to stand still; monotonic.
 *
 * Threads: any thread may read, arm and disarm. fire() runs on the control loop's thread, which is
 * also the only one to stop the clock and let it go on.
 */
#ifndef HAKO_BUS_CLOCK_H
#define HAKO_BUS_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock;
struct err;
struct loop;

/*
 * A timer, embedded in its owner; zero-initialise, then set fire. fire() is called disarmed and
 * without a lock: it may arm the timer again, or free it.
 */
struct clock_timer {
	void (*fire)(struct clock_timer *timer);
	uint64_t deadline; /* ns; meaningful while armed */
	size_t slot;       /* place in the clock's heap + 1; 0 when not armed */
};

int clock_create(struct clock **clock, struct loop *loop, struct err *err);
/* No timer may be armed. */
void clock_destroy(struct clock *clock);

uint64_t clock_now(const struct clock *clock);
/* Seconds since 1970, UTC, for a real-time clock device. This one never stands still. */
uint64_t clock_wall_seconds(const struct clock *clock);
/* The same in nanoseconds. */
uint64_t clock_wall_ns(const struct clock *clock);

/*
 * Stand still, as for a debugger: the time stays what it is, and no timer fires. clock_go() goes on
 * from there. Twice is as once. Nobody but the control thread may read the clock meanwhile, so
 * vCPUs are parked: one that is just reading could see it go back.
 */
void clock_stop(struct clock *clock);
void clock_go(struct clock *clock);

/* When the first of all timers is due, UINT64_MAX: none is armed. Maybe over when it
 * is returned. */
uint64_t clock_next(struct clock *clock);

/*
 * Fire once at `deadline` (or at once if it is past). Arming an armed timer moves it. -ENOMEM.
 * Costs one timerfd_settime when it becomes due before all others, otherwise no system call.
 * UINT64_MAX is never.
 */
int clock_arm(struct clock *clock, struct clock_timer *timer, uint64_t deadline);
/*
 * After it returns, fire() will not begin. Called from another thread than the loop's it also waits
 * for a fire() that is under way; so it must not be called with a lock held that fire() takes.
 */
void clock_disarm(struct clock *clock, struct clock_timer *timer);
/* Like clock_disarm, but never waits: fire() may still be running on the loop's thread. */
void clock_cancel(struct clock *clock, struct clock_timer *timer);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The machine's clock: a binary heap of timers, earliest first, and one timerfd(2) in the control
 * loop.
 *
 * The timerfd is set when a timer becomes due earlier than what it is set to. It is left alone when
 * the earliest timer goes away or moves back: then it wakes the loop once for nothing and is set
 * anew, which costs less than a system call for each timer that never fires.
 */
#include "bus/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"
#include "host/loop.h"

#define NEVER UINT64_MAX

struct clock {
	struct loop *loop;
	struct loop_source source; /* the timerfd */

	/* Written by the control thread under the lock; read without it. */
	_Atomic uint64_t epoch;   /* CLOCK_MONOTONIC when it began, later by what it stood still */
	_Atomic uint64_t stopped; /* what it shows while it stands still, else NEVER */

	pthread_mutex_t lock;      /* guards all below and each timer's deadline and slot */
	struct clock_timer **heap; /* heap[i] is due no later than heap[2i + 1], heap[2i + 2] */
	size_t n, room;
	uint64_t set_to;            /* the deadline the timerfd is set to, or NEVER */
	bool serving;               /* the loop is in serve() and will set the timerfd itself */
	struct clock_timer *firing; /* whose fire() is under way; only compared */
	unsigned waiting;           /* threads in clock_disarm() until that is over */
	pthread_cond_t fired;       /* firing has become NULL */
	pthread_cond_t no_waiting;  /* waiting has become 0 */
};

uint64_t clock_now(const struct clock *clock)
{
	uint64_t stopped = atomic_load(&clock->stopped);

	return stopped == NEVER ? host_ns() - atomic_load(&clock->epoch) : stopped;
}

uint64_t clock_wall_seconds(const struct clock *clock)
{
	return clock_wall_ns(clock) / NS_PER_S;
}

uint64_t clock_wall_ns(const struct clock *clock)
{
	(void)clock;
	return clock_ns(CLOCK_REALTIME);
}

/* The heap. slot is the index + 1. */

static void put(struct clock *clock, size_t i, struct clock_timer *timer)
{
	clock->heap[i] = timer;
	timer->slot = i + 1;
}

/* Place i is free to fill: let `timer` rise or sink from there to where it belongs. */
static void settle(struct clock *clock, size_t i, struct clock_timer *timer)
{
	while (i && timer->deadline < clock->heap[(i - 1) / 2]->deadline) {
		put(clock, i, clock->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < clock->n &&
		    clock->heap[child + 1]->deadline < clock->heap[child]->deadline)
			child++;
		if (child >= clock->n || timer->deadline <= clock->heap[child]->deadline)
			break;
		put(clock, i, clock->heap[child]);
		i = child;
	}
	put(clock, i, timer);
}

static void take_out(struct clock *clock, struct clock_timer *timer)
{
	size_t i = timer->slot - 1;
	struct clock_timer *end;

	if (!timer->slot)
		return;
	end = clock->heap[--clock->n];
	if (end != timer)
		settle(clock, i, end);
	timer->slot = 0;
}

static uint64_t earliest(const struct clock *clock)
{
	return clock->n ? clock->heap[0]->deadline : NEVER;
}

static bool stands_still(const struct clock *clock)
{
	return atomic_load(&clock->stopped) != NEVER;
}

/* Set the timerfd to the earliest deadline. The lock is held. */
static void set_timerfd(struct clock *clock)
{
	uint64_t epoch = atomic_load(&clock->epoch);
	uint64_t deadline = stands_still(clock) ? NEVER : earliest(clock);
	/* A deadline too far to add is as good as never, and it stays one. */
	uint64_t at = deadline > UINT64_MAX - epoch ? UINT64_MAX : epoch + deadline;
	struct itimerspec when = { 0 }; /* disarmed, timerfd_create(2) */

	if (deadline != NEVER) {
		when.it_value.tv_sec = (time_t)(at / NS_PER_S);
		when.it_value.tv_nsec = (long)(at % NS_PER_S);
	}
	clock->set_to = deadline;
	timerfd_settime(clock->source.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* The timerfd has expired: fire what is due. Loop thread. */
static void serve(struct loop_source *source, uint32_t events)
{
	struct clock *clock = container_of(source, struct clock, source);
	uint64_t expirations;

	(void)events;
	if (read(source->fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		return;

	pthread_mutex_lock(&clock->lock);
	clock->serving = true;
	/* No more than were armed at the start: a timer that arms itself for the past again and
	 * again gets its turn in the loop, and so do the others there. */
	for (size_t left = clock->n; left && clock->n; left--) {
		struct clock_timer *timer = clock->heap[0];

		/* It may have expired just before the clock was stopped. */
		if (stands_still(clock) || timer->deadline > clock_now(clock))
			break;
		take_out(clock, timer);
		clock->firing = timer;
		pthread_mutex_unlock(&clock->lock);
		timer->fire(timer); /* may arm it again, or free it */
		pthread_mutex_lock(&clock->lock);
		clock->firing = NULL;
		/* Let those who wait disarm the timer before it could fire once more. */
		if (clock->waiting) {
			pthread_cond_broadcast(&clock->fired);
			while (clock->waiting)
				pthread_cond_wait(&clock->no_waiting, &clock->lock);
		}
	}
	clock->serving = false;
	set_timerfd(clock);
	pthread_mutex_unlock(&clock->lock);
}

int clock_create(struct clock **clock, struct loop *loop, struct err *err)
{
	struct clock *c = calloc(1, sizeof(*c));
	int code;

	if (!c)
		return err_set(err, -ENOMEM, "cannot create the machine's clock: out of memory");
	c->loop = loop;
	atomic_init(&c->epoch, host_ns());
	atomic_init(&c->stopped, NEVER);
	c->set_to = NEVER;
	c->source = (struct loop_source){ .events = LOOP_IN, .ready = serve };
	c->source.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->source.fd < 0) {
		code = err_set(err, -errno, "cannot create the machine's clock: timerfd: %s",
			       strerror(errno));
		goto fail;
	}
	code = loop_add(loop, &c->source);
	if (code) {
		err_set(err, code, "cannot watch the machine's clock: %s", strerror(-code));
		goto fail_fd;
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->fired, NULL);
	pthread_cond_init(&c->no_waiting, NULL);
	*clock = c;
	return 0;

fail_fd:
	close(c->source.fd);
fail:
	free(c);
	return code;
}

void clock_destroy(struct clock *clock)
{
	if (!clock)
		return;
	loop_del(clock->loop, &clock->source);
	close(clock->source.fd);
	pthread_cond_destroy(&clock->no_waiting);
	pthread_cond_destroy(&clock->fired);
	pthread_mutex_destroy(&clock->lock);
	free(clock->heap);
	free(clock);
}

void clock_stop(struct clock *clock)
{
	pthread_mutex_lock(&clock->lock);
	if (!stands_still(clock)) {
		atomic_store(&clock->stopped, clock_now(clock));
		if (!clock->serving)
			set_timerfd(clock);
	}
	pthread_mutex_unlock(&clock->lock);
}

void clock_go(struct clock *clock)
{
	pthread_mutex_lock(&clock->lock);
	if (stands_still(clock)) {
		/* In this order: who reads in between finds it standing still. */
		atomic_store(&clock->epoch, host_ns() - atomic_load(&clock->stopped));
		atomic_store(&clock->stopped, NEVER);
		if (!clock->serving)
			set_timerfd(clock);
	}
	pthread_mutex_unlock(&clock->lock);
}

uint64_t clock_next(struct clock *clock)
{
	pthread_mutex_lock(&clock->lock);
	uint64_t next = earliest(clock);
	pthread_mutex_unlock(&clock->lock);
	return next;
}

/* Room for one more timer. The lock is held. */
static int grow(struct clock *clock)
{
	size_t room = clock->room ? clock->room * 2 : 16;
	struct clock_timer **heap;

	if (clock->n < clock->room)
		return 0;
	heap = realloc(clock->heap, room * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	clock->heap = heap;
	clock->room = room;
	return 0;
}

int clock_arm(struct clock *clock, struct clock_timer *timer, uint64_t deadline)
{
	int code = 0;

	pthread_mutex_lock(&clock->lock);
	if (!timer->slot) {
		code = grow(clock);
		if (code)
			goto out;
		timer->deadline = deadline;
		clock->n++;
		settle(clock, clock->n - 1, timer);
	} else {
		timer->deadline = deadline;
		settle(clock, timer->slot - 1, timer);
	}
	if (!clock->serving && earliest(clock) < clock->set_to)
		set_timerfd(clock);
out:
	pthread_mutex_unlock(&clock->lock);
	return code;
}

void clock_disarm(struct clock *clock, struct clock_timer *timer)
{
	pthread_mutex_lock(&clock->lock);
	take_out(clock, timer);
	if (clock->firing == timer && !loop_is_current(clock->loop)) {
		clock->waiting++;
		while (clock->firing)
			pthread_cond_wait(&clock->fired, &clock->lock);
		take_out(clock, timer); /* fire() may have armed it again */
		if (!--clock->waiting)
			pthread_cond_signal(&clock->no_waiting);
	}
	pthread_mutex_unlock(&clock->lock);
}

void clock_cancel(struct clock *clock, struct clock_timer *timer)
{
	pthread_mutex_lock(&clock->lock);
	take_out(clock, timer);
	pthread_mutex_unlock(&clock->lock);
}

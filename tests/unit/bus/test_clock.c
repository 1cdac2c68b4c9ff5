/* SPDX-License-Identifier: MIT */
/*
 * The clock: order, arming again from fire(), disarming against a fire() under way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/clock.h"
#include "host/loop.h"
#include "host/thread.h"

#define MS 1000000ULL

struct world {
	struct loop *loop;
	struct clock *clock;
	unsigned fired;
};

struct alarm {
	struct clock_timer timer;
	struct world *w;
	unsigned count, order; /* times fired; its turn among all */
	uint64_t at;           /* when it fired last */
	unsigned again;        /* times to arm itself again, `step` later */
	uint64_t step;
	bool stop;
};

static void fire(struct clock_timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);

	assert_int_equal(timer->slot, 0);
	a->count++;
	a->at = clock_now(a->w->clock);
	a->order = ++a->w->fired;
	if (a->again) {
		a->again--;
		clock_arm(a->w->clock, timer, a->step ? a->at + a->step : 0);
	} else if (a->stop) {
		loop_stop(a->w->loop);
	}
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	return loop_create(&w->loop, NULL) || clock_create(&w->clock, w->loop, NULL);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	clock_destroy(w->clock);
	loop_destroy(w->loop);
	free(w);
	return 0;
}

static void time_passes(void **state)
{
	struct world *w = *state;
	uint64_t a = clock_now(w->clock), b, wall;
	struct timespec before, after;

	assert_true(a < 60000 * MS); /* since the machine was built */
	usleep(2000);
	b = clock_now(w->clock);
	assert_true(b >= a + 2 * MS);
	/* Not time(): it reads a coarser clock, which may still be in the second before. */
	clock_gettime(CLOCK_REALTIME, &before);
	wall = clock_wall_seconds(w->clock);
	clock_gettime(CLOCK_REALTIME, &after);
	assert_true(wall >= (uint64_t)before.tv_sec && wall <= (uint64_t)after.tv_sec);
	clock_destroy(NULL);
}

/* What a pause of this length would have made due. */
static void it_stands_still(void **state)
{
	struct world *w = *state;
	struct alarm due = { .timer.fire = fire, .w = w };
	struct alarm soon = { .timer.fire = fire, .w = w };
	struct alarm end = { .timer.fire = fire, .w = w, .stop = true };
	struct clock *host;
	struct alarm until = { .timer.fire = fire, .w = w, .stop = true };

	/* Expired already, and the loop has not looked yet. */
	assert_int_equal(clock_arm(w->clock, &due.timer, clock_now(w->clock)), 0);
	usleep(1000);
	clock_stop(w->clock);
	uint64_t now = clock_now(w->clock);
	assert_int_equal(clock_arm(w->clock, &soon.timer, now + 2 * MS), 0);
	assert_true(clock_next(w->clock) <= now);

	/* A second clock in the same loop does not care. */
	assert_int_equal(clock_create(&host, w->loop, NULL), 0);
	assert_int_equal(clock_arm(host, &until.timer, clock_now(host) + 20 * MS), 0);
	clock_stop(w->clock); /* twice is as once */
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(until.count, 1);
	assert_int_equal(due.count + soon.count, 0);
	assert_true(clock_now(w->clock) == now);

	clock_go(w->clock);
	clock_go(w->clock);
	assert_true(clock_now(w->clock) >= now);
	assert_int_equal(clock_arm(w->clock, &end.timer, now + 4 * MS), 0);
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(due.count + soon.count + end.count, 3);
	assert_true(clock_next(w->clock) == UINT64_MAX);
	assert_true(due.order < soon.order && soon.order < end.order);
	assert_true(soon.at >= now + 2 * MS);

	/* All of the host's time but what it stood still: no more than since it was
	 * stopped first. */
	uint64_t before = clock_now(host), from = clock_now(w->clock);
	clock_stop(w->clock);
	usleep(20000);
	clock_go(w->clock);
	uint64_t to = clock_now(w->clock), after = clock_now(host);
	assert_true(to - from <= after - before - 20 * MS);
	clock_destroy(host);
}

static void timers_fire_in_order_and_not_early(void **state)
{
	/* Neither sorted nor all different; the heap must do it. */
	static const unsigned due[] = { 9, 3, 12, 3, 1, 7, 5, 0, 20, 2, 11, 4, 6, 8, 10, 15, 14 };
	enum { N = ARRAY_SIZE(due) };
	struct world *w = *state;
	struct alarm a[N] = { 0 };
	uint64_t base = clock_now(w->clock);

	for (unsigned i = 0; i < N; i++) {
		a[i] = (struct alarm){ .timer.fire = fire, .w = w, .stop = due[i] == 20 };
		assert_int_equal(clock_arm(w->clock, &a[i].timer, base + due[i] * MS / 4), 0);
	}
	/* Take two out of the middle, move one. */
	clock_disarm(w->clock, &a[5].timer);
	clock_cancel(w->clock, &a[10].timer);
	assert_int_equal(clock_arm(w->clock, &a[2].timer, base + 19 * MS / 4), 0);
	assert_int_equal(loop_run(w->loop), 0);

	assert_int_equal(w->fired, N - 2);
	assert_int_equal(a[5].count + a[10].count, 0);
	assert_int_equal(a[2].order, N - 3);
	for (unsigned i = 0; i < N; i++) {
		if (!a[i].count || i == 2)
			continue;
		assert_int_equal(a[i].count, 1);
		assert_true(a[i].at >= base + due[i] * MS / 4);
		for (unsigned k = 0; k < N; k++)
			if (a[k].count && k != 2 && due[k] < due[i])
				assert_true(a[k].order < a[i].order);
	}
}

static void arming_moves(void **state)
{
	struct world *w = *state;
	struct alarm a = { .timer.fire = fire, .w = w, .stop = true };
	uint64_t base = clock_now(w->clock);

	/* Far away and back. Later and later, so that the timerfd wakes for nothing in between. */
	assert_int_equal(clock_arm(w->clock, &a.timer, UINT64_MAX), 0);
	assert_int_equal(clock_arm(w->clock, &a.timer, UINT64_MAX - 1), 0);
	assert_int_equal(clock_arm(w->clock, &a.timer, base + 1 * MS), 0);
	assert_int_equal(clock_arm(w->clock, &a.timer, base + 3 * MS), 0);
	assert_int_equal(clock_arm(w->clock, &a.timer, base + 4 * MS), 0);
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(a.count, 1);
	assert_true(a.at >= base + 4 * MS);
}

static void the_past_is_at_once(void **state)
{
	struct world *w = *state;
	struct alarm a = { .timer.fire = fire, .w = w, .stop = true };

	assert_int_equal(clock_arm(w->clock, &a.timer, 0), 0);
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(a.count, 1);
}

static void arming_from_fire(void **state)
{
	struct world *w = *state;
	struct alarm a = { .timer.fire = fire, .w = w, .again = 5, .step = MS, .stop = true };
	uint64_t base = clock_now(w->clock);

	clock_arm(w->clock, &a.timer, 0);
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(a.count, 6);
	assert_true(a.at >= base + 5 * MS);
}

struct bystander {
	struct loop_task task;
	struct loop *loop;
};

static void stop_soon(struct loop_task *task)
{
	loop_stop(container_of(task, struct bystander, task)->loop);
}

static void a_timer_always_due_starves_nobody(void **state)
{
	struct world *w = *state;
	struct alarm a = { .timer.fire = fire, .w = w, .again = UINT32_MAX };
	struct bystander b = { .task.run = stop_soon, .loop = w->loop };

	clock_arm(w->clock, &a.timer, 0);
	loop_post(w->loop, &b.task);
	assert_int_equal(loop_run(w->loop), 0);
	assert_true(a.count <= 2);
	clock_disarm(w->clock, &a.timer);
	assert_int_equal(a.timer.slot, 0);
}

static void disarm_from_fire(struct clock_timer *timer)
{
	struct alarm *a = container_of(timer, struct alarm, timer);

	a->count++;
	clock_arm(a->w->clock, timer, 0);
	clock_disarm(a->w->clock, timer); /* its own, under way: does not wait for itself */
	loop_stop(a->w->loop);
}

static void a_timer_may_disarm_itself(void **state)
{
	struct world *w = *state;
	struct alarm a = { .timer.fire = disarm_from_fire, .w = w };

	clock_arm(w->clock, &a.timer, 0);
	assert_int_equal(loop_run(w->loop), 0);
	loop_stop(w->loop);
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(a.count, 1);
	clock_disarm(w->clock, &a.timer);
}

static void the_heap_holds_under_random_use(void **state)
{
	enum { N = 200 };
	struct world *w = *state;
	struct alarm *a = calloc(N, sizeof(*a));
	uint64_t base = clock_now(w->clock), last = 0;
	unsigned live = 0;

	srand(1);
	for (unsigned i = 0; i < N; i++)
		a[i] = (struct alarm){ .timer.fire = fire, .w = w };
	for (unsigned i = 0; i < 20 * N; i++) {
		struct alarm *x = &a[rand() % N];

		if (rand() % 3)
			assert_int_equal(
				clock_arm(w->clock, &x->timer, base + (uint64_t)(rand() % 1000)),
				0);
		else
			clock_cancel(w->clock, &x->timer);
	}
	for (unsigned i = 0; i < N; i++)
		live += a[i].timer.slot != 0;
	usleep(1);
	while (w->fired < live) { /* all are due: each turn fires all there are */
		loop_stop(w->loop);
		assert_int_equal(loop_run(w->loop), 0);
	}
	for (unsigned turn = 1; turn <= live; turn++)
		for (unsigned i = 0; i < N; i++)
			if (a[i].order == turn) {
				assert_true(a[i].timer.deadline >= last);
				last = a[i].timer.deadline;
			}
	assert_int_equal(w->fired, live);
	free(a);
}

/* Threads */

static void *run_loop(void *loop)
{
	loop_run(loop);
	return NULL;
}

/* A timer of one thread that fires on the loop's; `used` goes once it is disarmed. */
struct shared {
	struct clock_timer timer;
	struct world *w;
	unsigned *used;
	atomic_bool begun; /* fire() is under way */
	useconds_t takes;  /* how long it stays so */
	bool rearm;
};

static void use(struct clock_timer *timer)
{
	struct shared *s = container_of(timer, struct shared, timer);

	atomic_store(&s->begun, true);
	usleep(s->takes);
	if (s->rearm)
		clock_arm(s->w->clock, timer, 0);
	++*s->used;
}

static void disarm_waits_for_fire(void **state)
{
	struct world *w = *state;
	pthread_t t;

	assert_int_equal(thread_create(&t, "loop", run_loop, w->loop, NULL), 0);
	for (unsigned i = 0; i < 20; i++) {
		struct shared s = { .timer.fire = use, .w = w, .rearm = i % 2, .takes = 500 };

		s.used = calloc(1, sizeof(*s.used));
		clock_arm(w->clock, &s.timer, 0);
		while (!atomic_load(&s.begun))
			usleep(20);
		clock_disarm(w->clock, &s.timer);
		/* Armed again each time, it may have had more turns before the disarming. */
		assert_true(s.rearm ? *s.used >= 1 : *s.used == 1);
		assert_int_equal(s.timer.slot, 0);
		free(s.used); /* not used any more, nor is s itself */
	}
	loop_stop(w->loop);
	pthread_join(t, NULL);
}

static void disarm_at_any_moment(void **state)
{
	struct world *w = *state;
	unsigned fired = 0;
	pthread_t t;

	assert_int_equal(thread_create(&t, "loop", run_loop, w->loop, NULL), 0);
	for (unsigned i = 0; i < 2000; i++) {
		struct shared s = { .timer.fire = use, .w = w, .rearm = i % 2 };

		s.used = calloc(1, sizeof(*s.used));
		clock_arm(w->clock, &s.timer, 0);
		if (i % 3)
			clock_arm(w->clock, &s.timer, clock_now(w->clock) + i % 50 * 1000);
		while (i % 16 == 1 && !atomic_load(&s.begun)) /* now and then, let it begin */
			usleep(20);
		clock_disarm(w->clock, &s.timer);
		fired += *s.used;
		free(s.used);
	}
	loop_stop(w->loop);
	pthread_join(t, NULL);
	assert_true(fired > 0);
}

struct churn {
	struct world *w;
	struct clock_timer *timer; /* shared between the threads */
	unsigned seed;
};

static void churn_fire(struct clock_timer *timer)
{
	(void)timer;
}

static void *churn(void *arg)
{
	struct churn *c = arg;

	for (unsigned i = 0; i < 2000; i++) {
		switch (rand_r(&c->seed) % 4) {
		case 0: clock_disarm(c->w->clock, c->timer); break;
		case 1: clock_cancel(c->w->clock, c->timer); break;
		default:
			clock_arm(c->w->clock, c->timer,
				  clock_now(c->w->clock) + (unsigned)rand_r(&c->seed) % 20000);
		}
	}
	return NULL;
}

static void threads_share_a_timer(void **state)
{
	struct world *w = *state;
	struct clock_timer timer = { .fire = churn_fire };
	struct churn c[2];
	pthread_t loop, t[2];

	assert_int_equal(thread_create(&loop, "loop", run_loop, w->loop, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		c[i] = (struct churn){ .w = w, .timer = &timer, .seed = i };
		assert_int_equal(thread_create(&t[i], "churn", churn, &c[i], NULL), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	clock_disarm(w->clock, &timer);
	loop_stop(w->loop);
	pthread_join(loop, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(time_passes),
		TEST(it_stands_still),
		TEST(timers_fire_in_order_and_not_early),
		TEST(arming_moves),
		TEST(the_past_is_at_once),
		TEST(arming_from_fire),
		TEST(a_timer_always_due_starves_nobody),
		TEST(a_timer_may_disarm_itself),
		TEST(the_heap_holds_under_random_use),
		TEST(disarm_waits_for_fire),
		TEST(disarm_at_any_moment),
		TEST(threads_share_a_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

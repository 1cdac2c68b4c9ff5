/* SPDX-License-Identifier: MIT */
/*
 * Marks: the first time stays, and of many threads one is first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "base/mark.h"

static uint64_t now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void first_stays(void **state)
{
	struct mark m = { 0 };
	uint64_t before = now(CLOCK_MONOTONIC), at, cpu;

	(void)state;
	mark_hit(NULL);
	assert_true(m.at == 0);
	mark_hit(&m);
	at = m.at;
	cpu = m.cpu;
	assert_true(at >= before && at <= now(CLOCK_MONOTONIC));
	assert_true(cpu > 0 && cpu <= now(CLOCK_PROCESS_CPUTIME_ID));
	for (int i = 0; i < 1000; i++)
		mark_hit(&m);
	assert_true(m.at == at && m.cpu == cpu);
}

enum { THREADS = 4, MARKS = 2000 };

struct race {
	pthread_barrier_t start;
	struct mark marks[MARKS];
};

static void *hit_all(void *arg)
{
	struct race *r = arg;

	pthread_barrier_wait(&r->start);
	for (int i = 0; i < MARKS; i++)
		mark_hit(&r->marks[i]);
	return NULL;
}

static void one_is_first(void **state)
{
	static struct race r;
	pthread_t threads[THREADS];

	(void)state;
	pthread_barrier_init(&r.start, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hit_all, &r), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&r.start);
	for (int i = 0; i < MARKS; i++)
		assert_true(r.marks[i].at && r.marks[i].cpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_stays),
		cmocka_unit_test(one_is_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

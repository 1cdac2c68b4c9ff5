/* SPDX-License-Identifier: MIT */
/*
 * Compare and swap of 16 bytes: by the host's instruction, and without one (cas16_lock.c).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bits.h"
#include "engine/soft/cas16.h"
#include "engine/soft/soft.h"

enum { THREADS = 3, ROUNDS = 20000 };

struct shared {
	struct engine engine;
	_Alignas(16) uint64_t pair[2];
};

static void init(struct shared *s, uint64_t low, uint64_t high)
{
	*s = (struct shared){ .pair = { low, high } };
	pthread_mutex_init(&s->engine.pair_lock, NULL);
}

static void one_by_one(void **state)
{
	static const struct {
		uint64_t old[2];
		bool swaps;
	} cases[] = { { { 1, 2 }, true }, { { 0, 2 }, false }, { { 1, 0 }, false } };
	static const uint64_t new[2] = { 3, 4 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t old[2] = { cases[i].old[0], cases[i].old[1] };
		struct shared s;

		init(&s, 1, 2);
		assert_int_equal(soft_compare_swap16(&s.engine, s.pair, old, new), cases[i].swaps);
		assert_int_equal(old[0], 1);
		assert_int_equal(old[1], 2);
		assert_int_equal(s.pair[0], cases[i].swaps ? 3 : 1);
		assert_int_equal(s.pair[1], cases[i].swaps ? 4 : 2);
		pthread_mutex_destroy(&s.engine.pair_lock);
	}
}

/* Adds 1 to the first half and 2 to the second, both at once. */
static void *add_both(void *arg)
{
	struct shared *s = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t old[2] = { 0, 0 }, new[2];

		do {
			new[0] = old[0] + 1;
			new[1] = old[1] + 2;
		} while (!soft_compare_swap16(&s->engine, s->pair, old, new));
	}
	return NULL;
}

/* One that knows nothing of pairs. */
static void *add_high(void *arg)
{
	struct shared *s = arg;

	for (unsigned i = 0; i < ROUNDS; i++)
		__atomic_fetch_add(&s->pair[1], 1ULL << 32, __ATOMIC_SEQ_CST);
	return NULL;
}

static void all_at_once(void **state)
{
	pthread_t threads[THREADS];
	struct shared s;

	(void)state;
	init(&s, 0, 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, i ? add_both : add_high, &s), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s.pair[0], (THREADS - 1) * ROUNDS);
	assert_int_equal(s.pair[1], (uint64_t)ROUNDS << 32 | 2 * (THREADS - 1) * ROUNDS);
	pthread_mutex_destroy(&s.engine.pair_lock);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_by_one),
		cmocka_unit_test(all_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Threads: the name is cut, signals stay out, the creator keeps its own mask.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>

#include "base/err.h"
#include "host/thread.h"

struct seen {
	pthread_barrier_t named;
	char name[16];
	sigset_t mask;
};

static void *look(void *arg)
{
	struct seen *s = arg;

	pthread_barrier_wait(&s->named);
	pthread_getname_np(pthread_self(), s->name, sizeof(s->name));
	pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
	return s;
}

static void name_and_signals(void **state)
{
	struct err e = ERR_INIT;
	sigset_t before, after;
	struct seen s = { 0 };
	pthread_t t;
	void *result;

	(void)state;
	pthread_barrier_init(&s.named, NULL, 2);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(thread_create(&t, "a-name-longer-than-linux-keeps", look, &s, &e), 0);
	pthread_barrier_wait(&s.named);
	pthread_join(t, &result);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	pthread_barrier_destroy(&s.named);

	assert_ptr_equal(result, &s);
	assert_string_equal(s.name, "a-name-longer-t");
	assert_true(sigismember(&s.mask, SIGINT));
	assert_true(sigismember(&s.mask, SIGTERM));
	assert_true(sigismember(&s.mask, SIGALRM));
	assert_false(sigismember(&s.mask, SIGSEGV));
	assert_int_equal(sigismember(&after, SIGINT), sigismember(&before, SIGINT));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(name_and_signals) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

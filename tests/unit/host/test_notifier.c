/* SPDX-License-Identifier: MIT */
/*
 * Notifier: set many times is seen once; it can be polled.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>

#include "base/err.h"
#include "host/notifier.h"

static void set_twice_is_seen_once(void **state)
{
	struct err e = ERR_INIT;
	struct notifier n;

	(void)state;
	assert_int_equal(notifier_init(&n, &e), 0);
	assert_false(notifier_clear(&n));
	notifier_set(&n);
	notifier_set(&n);
	assert_true(notifier_clear(&n));
	assert_false(notifier_clear(&n));
	notifier_fini(&n);
	assert_int_equal(n.rfd, -1);
	notifier_fini(&n);
}

static void can_be_polled(void **state)
{
	struct pollfd p = { .events = POLLIN };
	struct notifier n;

	(void)state;
	assert_int_equal(notifier_init(&n, NULL), 0);
	p.fd = n.rfd;
	assert_int_equal(poll(&p, 1, 0), 0);
	errno = 5;
	notifier_set(&n);
	assert_int_equal(errno, 5);
	assert_int_equal(poll(&p, 1, 0), 1);
	notifier_fini(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_twice_is_seen_once),
		cmocka_unit_test(can_be_polled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

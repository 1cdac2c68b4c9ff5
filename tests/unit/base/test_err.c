/* SPDX-License-Identifier: MIT */
/*
 * Errors: the first failure wins, long sentences are cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void returns_the_code_and_keeps_the_sentence(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&e, -ENOENT, "no '%s' (%d)", "disk.img", 7), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(e.msg, "no 'disk.img' (7)");
}

static void first_failure_wins(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, -EIO, "first");
	assert_int_equal(err_set(&e, -ENOMEM, "second"), -ENOMEM);
	assert_int_equal(e.code, -EIO);
	assert_string_equal(e.msg, "first");
}

static void null_is_allowed(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EINVAL, "unheard"), -EINVAL);
}

static void long_sentences_are_cut(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	err_set(&e, -EIO, "%0700d", 1);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(returns_the_code_and_keeps_the_sentence),
		cmocka_unit_test(first_failure_wins),
		cmocka_unit_test(null_is_allowed),
		cmocka_unit_test(long_sentences_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

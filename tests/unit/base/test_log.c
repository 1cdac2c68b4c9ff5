/* SPDX-License-Identifier: MIT */
/*
 * Log: levels, one harmless line per message, the limit on what a guest can cause.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/log.h"

struct heard {
	unsigned count;
	enum log_level level;
	char who[32], text[2048];
};

static void hear(void *arg, enum log_level level, const char *who, const char *text)
{
	struct heard *h = arg;

	h->count++;
	h->level = level;
	snprintf(h->who, sizeof(h->who), "%s", who);
	snprintf(h->text, sizeof(h->text), "%s", text);
}

static void messages_reach_the_sink(void **state)
{
	struct heard h = { 0 };
	struct log log;

	(void)state;
	log_init(&log, LOG_WARN, hear, &h);
	log_msg(&log, LOG_WARN, "blk0", "sector %d", 12);
	assert_int_equal(h.count, 1);
	assert_int_equal(h.level, LOG_WARN);
	assert_string_equal(h.who, "blk0");
	assert_string_equal(h.text, "sector 12");
	log_msg(&log, LOG_INFO, "blk0", "too quiet to hear");
	assert_int_equal(h.count, 1);
	log_msg(NULL, LOG_ERROR, "blk0", "nobody listens");
	log_fini(&log);
}

static void control_bytes_are_replaced(void **state)
{
	struct heard h = { 0 };
	struct log log;

	(void)state;
	log_init(&log, LOG_DEBUG, hear, &h);
	log_msg(&log, LOG_INFO, "uart",
		"a\nb\x1b[2Jc\x7f"
		"d");
	assert_string_equal(h.text, "a?b?[2Jc?d");
	log_fini(&log);
}

static void long_messages_are_cut(void **state)
{
	struct log_limit limit = { 0 };
	struct heard h = { 0 };
	struct log log;

	(void)state;
	log_init(&log, LOG_DEBUG, hear, &h);
	log_msg(&log, LOG_INFO, "x", "%05000d", 1);
	assert_int_equal(strlen(h.text), 1023);
	/* The count of those held back still fits behind a message that was cut. */
	limit.held = 3;
	log_guest(&log, &limit, LOG_INFO, "x", "%05000d", 1);
	assert_non_null(strstr(h.text, "0 (3 more were held back)"));
	log_fini(&log);
}

static void a_guest_is_limited(void **state)
{
	struct log_limit limit = { 0 };
	struct heard h = { 0 };
	struct log log;

	(void)state;
	log_init(&log, LOG_WARN, hear, &h);
	for (int i = 0; i < 100; i++) {
		log_guest(&log, &limit, LOG_WARN, "blk0", "bad descriptor %d", i);
		log_guest(&log, &limit, LOG_DEBUG, "blk0", "dropped: does not count");
	}
	assert_int_equal(h.count, LOG_LIMIT_BURST);
	assert_int_equal(limit.held, 100 - LOG_LIMIT_BURST);

	limit.window_ns -= LOG_LIMIT_NS; /* as if that time had passed */
	log_guest(&log, &limit, LOG_WARN, "blk0", "again");
	assert_string_equal(h.text, "again (92 more were held back)");
	log_guest(&log, &limit, LOG_WARN, "blk0", "and again");
	assert_string_equal(h.text, "and again");
	log_guest(NULL, &limit, LOG_WARN, "blk0", "nobody listens");
	log_fini(&log);
}

static void *talk(void *arg)
{
	for (int i = 0; i < 500; i++)
		log_msg(arg, LOG_INFO, "cpu", "%d", i);
	return NULL;
}

static void threads_may_talk_at_once(void **state)
{
	struct heard h = { 0 };
	struct log log;
	pthread_t t[2];

	(void)state;
	log_init(&log, LOG_INFO, hear, &h);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, talk, &log), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(h.count, 1000);
	log_fini(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_reach_the_sink),
		cmocka_unit_test(control_bytes_are_replaced),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(a_guest_is_limited),
		cmocka_unit_test(threads_may_talk_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

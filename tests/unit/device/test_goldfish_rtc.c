/* SPDX-License-Identifier: MIT */
/*
 * Goldfish RTC: the time, setting it, the alarm and its interrupt; accesses that no driver would
 * make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "device/goldfish_rtc.h"
#include "device/rig.h"
#include "host/loop.h"

#define BASE 0x101000ULL

enum {
	TIME_LOW = 0x00,
	TIME_HIGH = 0x04,
	ALARM_LOW = 0x08,
	ALARM_HIGH = 0x0c,
	IRQ_ENABLED = 0x10,
	CLEAR_ALARM = 0x14,
	ALARM_STATUS = 0x18,
	CLEAR_INTERRUPT = 0x1c,
};

struct fixture {
	struct rig r;
	struct goldfish_rtc *rtc;
};

static uint32_t rd(struct fixture *f, uint64_t off)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->r.bus, BASE + off, 4, &val), 0);
	return (uint32_t)val;
}
static void wr(struct fixture *f, uint64_t off, uint64_t val)
{
	assert_int_equal(bus_write(f->r.bus, BASE + off, 4, val & 0xffffffff), 0);
}
/* As Linux does it: read low half first, written high half first. */
static uint64_t now(struct fixture *f)
{
	uint64_t low = rd(f, TIME_LOW);

	return (uint64_t)rd(f, TIME_HIGH) << 32 | low;
}
static void set_time(struct fixture *f, uint64_t ns)
{
	wr(f, TIME_HIGH, ns >> 32);
	wr(f, TIME_LOW, ns);
}
static void set_alarm(struct fixture *f, uint64_t ns)
{
	wr(f, ALARM_HIGH, ns >> 32);
	wr(f, ALARM_LOW, ns);
	wr(f, IRQ_ENABLED, 1);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;

	assert_non_null(f);
	rig_init(&f->r);
	assert_int_equal(
		goldfish_rtc_create(&f->rtc, f->r.bus, BASE, rig_irq(&f->r, 11), f->r.clock, &err),
		0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	goldfish_rtc_destroy(f->rtc);
	rig_fini(&f->r);
	free(f);
	return 0;
}

static void time_of_day(void **state)
{
	struct fixture *f = *state;
	uint64_t host = (uint64_t)time(NULL) * NS_PER_S, first = now(f), high;

	assert_in_range(first, host, host + 10 * NS_PER_S);
	poll(NULL, 0, 2);
	assert_true(now(f) > first + NS_PER_MS);
	/* The high half is latched. */
	set_time(f, 0xffffffff);
	rd(f, TIME_LOW);
	high = rd(f, TIME_HIGH);
	poll(NULL, 0, 2);
	assert_int_equal(rd(f, TIME_HIGH), high);
	rd(f, TIME_LOW);
	assert_true(rd(f, TIME_HIGH) >= 1);
	/* The high half alone sets nothing. */
	set_time(f, 1000 * NS_PER_S);
	wr(f, TIME_HIGH, 0x7fffffff);
	assert_in_range(now(f), 1000 * NS_PER_S, 1010 * NS_PER_S);
	goldfish_rtc_reset(f->rtc); /* the time goes on */
	assert_in_range(now(f), 1000 * NS_PER_S, 1010 * NS_PER_S);
}

static void alarm_rings(void **state)
{
	struct fixture *f = *state;
	uint64_t at = now(f) + 5 * NS_PER_MS;

	assert_int_equal(rd(f, ALARM_STATUS), 0);
	set_alarm(f, at);
	assert_int_equal(rd(f, ALARM_STATUS), 1);
	assert_int_equal(rd(f, ALARM_LOW), (uint32_t)at);
	assert_int_equal(rd(f, ALARM_HIGH), at >> 32);
	assert_false(f->r.irq);
	rig_run_ms(&f->r, 5000);
	assert_true(f->r.irq);
	assert_true(now(f) >= at);
	assert_int_equal(rd(f, ALARM_STATUS), 0);
	wr(f, IRQ_ENABLED, 0);
	assert_false(f->r.irq);
	wr(f, IRQ_ENABLED, 3);
	assert_int_equal(rd(f, IRQ_ENABLED), 1);
	assert_true(f->r.irq);
	wr(f, CLEAR_INTERRUPT, 1);
	assert_false(f->r.irq);

	/* In the past, it rings at once; but without the interrupt, silently. */
	set_alarm(f, 5);
	assert_true(f->r.irq);
	wr(f, CLEAR_INTERRUPT, 1);
	wr(f, IRQ_ENABLED, 0);
	wr(f, ALARM_HIGH, 0);
	wr(f, ALARM_LOW, 5);
	assert_false(f->r.irq);
	wr(f, IRQ_ENABLED, 1);
	assert_true(f->r.irq);
	wr(f, CLEAR_INTERRUPT, 1);

	/* Cancelled. */
	set_alarm(f, now(f) + 3 * NS_PER_MS);
	wr(f, CLEAR_ALARM, 1);
	assert_int_equal(rd(f, ALARM_STATUS), 0);
	rig_run_ms(&f->r, 8);
	assert_false(f->r.irq);

	/* The time is set to it, and further than that. */
	set_alarm(f, now(f) + 1000 * NS_PER_S);
	set_time(f, now(f) + 1000 * NS_PER_S - 3 * NS_PER_MS);
	rig_run_ms(&f->r, 5000);
	assert_true(f->r.irq);
	wr(f, CLEAR_INTERRUPT, 1);
	set_alarm(f, now(f) + 1000 * NS_PER_S);
	set_time(f, now(f) + 2000 * NS_PER_S);
	assert_true(f->r.irq);

	/* A reset takes all of it away. */
	set_alarm(f, now(f) + 3 * NS_PER_MS);
	goldfish_rtc_reset(f->rtc);
	assert_false(f->r.irq);
	assert_int_equal(rd(f, ALARM_STATUS) | rd(f, IRQ_ENABLED), 0);
	wr(f, IRQ_ENABLED, 1);
	rig_run_ms(&f->r, 8);
	assert_false(f->r.irq);
	set_alarm(f, UINT64_MAX); /* destroyed with an alarm to come */
}

static void random_accesses(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 17, val;

	assert_int_equal(bus_read(f->r.bus, BASE, 1, &val), -EINVAL);
	assert_int_equal(bus_read(f->r.bus, BASE, 8, &val), -EINVAL);
	for (uint64_t off = 0x20; off < GOLDFISH_RTC_SIZE; off += 4) {
		wr(f, off, 0xffffffff);
		assert_int_equal(rd(f, off), 0);
	}
	for (unsigned i = 0; i < 100000; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		if (seed & 64)
			rd(f, seed / 128 % 9 * 4);
		else
			wr(f, seed / 128 % 9 * 4, seed >> 32);
		if (seed % 64 == 0)
			goldfish_rtc_reset(f->rtc);
		if (seed % 64 == 1) {
			loop_stop(f->r.loop);
			assert_int_equal(loop_run(f->r.loop), 0);
		}
		assert_true(!f->r.irq || rd(f, IRQ_ENABLED));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(time_of_day, setup, teardown),
		cmocka_unit_test_setup_teardown(alarm_rings, setup, teardown),
		cmocka_unit_test_setup_teardown(random_accesses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

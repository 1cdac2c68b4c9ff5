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

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "bus/irq.h"
#include "device/goldfish_rtc.h"
#include "host/loop.h"

#define BASE      0x101000ULL
#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL

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
	struct loop *loop;
	struct clock *clock;
	struct bus *bus;
	struct goldfish_rtc *rtc;
	bool irq;
};

static void set_irq(void *chip, unsigned pin, bool level)
{
	struct fixture *f = chip;

	assert_int_equal(pin, 11);
	assert_true(f->irq != level);
	f->irq = level;
}

static const struct irq_ops irq_ops = { .set = set_irq };

static uint32_t rd(struct fixture *f, uint64_t off)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->bus, BASE + off, 4, &val), 0);
	return (uint32_t)val;
}
static void wr(struct fixture *f, uint64_t off, uint64_t val)
{
	assert_int_equal(bus_write(f->bus, BASE + off, 4, val & 0xffffffff), 0);
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
static void run_ms(struct fixture *f, unsigned ms)
{
	for (unsigned i = 0; i < ms && !f->irq; i++) {
		poll(NULL, 0, 1);
		loop_stop(f->loop);
		assert_int_equal(loop_run(f->loop), 0);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;

	assert_non_null(f);
	assert_int_equal(loop_create(&f->loop, &err), 0);
	assert_int_equal(clock_create(&f->clock, f->loop, &err), 0);
	assert_int_equal(bus_create(&f->bus, &err), 0);
	assert_int_equal(
		goldfish_rtc_create(&f->rtc, f->bus, BASE,
				    (struct irq_line){ .ops = &irq_ops, .chip = f, .pin = 11 },
				    f->clock, &err),
		0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	goldfish_rtc_destroy(f->rtc);
	bus_destroy(f->bus);
	clock_destroy(f->clock);
	loop_destroy(f->loop);
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
	assert_false(f->irq);
	run_ms(f, 5000);
	assert_true(f->irq);
	assert_true(now(f) >= at);
	assert_int_equal(rd(f, ALARM_STATUS), 0);
	wr(f, IRQ_ENABLED, 0);
	assert_false(f->irq);
	wr(f, IRQ_ENABLED, 3);
	assert_int_equal(rd(f, IRQ_ENABLED), 1);
	assert_true(f->irq);
	wr(f, CLEAR_INTERRUPT, 1);
	assert_false(f->irq);

	/* In the past, it rings at once; but without the interrupt, silently. */
	set_alarm(f, 5);
	assert_true(f->irq);
	wr(f, CLEAR_INTERRUPT, 1);
	wr(f, IRQ_ENABLED, 0);
	wr(f, ALARM_HIGH, 0);
	wr(f, ALARM_LOW, 5);
	assert_false(f->irq);
	wr(f, IRQ_ENABLED, 1);
	assert_true(f->irq);
	wr(f, CLEAR_INTERRUPT, 1);

	/* Cancelled. */
	set_alarm(f, now(f) + 3 * NS_PER_MS);
	wr(f, CLEAR_ALARM, 1);
	assert_int_equal(rd(f, ALARM_STATUS), 0);
	run_ms(f, 8);
	assert_false(f->irq);

	/* The time is set to it, and further than that. */
	set_alarm(f, now(f) + 1000 * NS_PER_S);
	set_time(f, now(f) + 1000 * NS_PER_S - 3 * NS_PER_MS);
	run_ms(f, 5000);
	assert_true(f->irq);
	wr(f, CLEAR_INTERRUPT, 1);
	set_alarm(f, now(f) + 1000 * NS_PER_S);
	set_time(f, now(f) + 2000 * NS_PER_S);
	assert_true(f->irq);

	/* A reset takes all of it away. */
	set_alarm(f, now(f) + 3 * NS_PER_MS);
	goldfish_rtc_reset(f->rtc);
	assert_false(f->irq);
	assert_int_equal(rd(f, ALARM_STATUS) | rd(f, IRQ_ENABLED), 0);
	wr(f, IRQ_ENABLED, 1);
	run_ms(f, 8);
	assert_false(f->irq);
	set_alarm(f, UINT64_MAX); /* destroyed with an alarm to come */
}

static void random_accesses(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 17, val;

	assert_int_equal(bus_read(f->bus, BASE, 1, &val), -EINVAL);
	assert_int_equal(bus_read(f->bus, BASE, 8, &val), -EINVAL);
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
			loop_stop(f->loop);
			assert_int_equal(loop_run(f->loop), 0);
		}
		assert_true(!f->irq || rd(f, IRQ_ENABLED));
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

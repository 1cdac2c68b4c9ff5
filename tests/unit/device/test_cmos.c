/* SPDX-License-Identifier: MIT */
/*
 * CMOS: the time in every form, setting it, update in progress, interrupts, the memory beside it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "bus/bus.h"
#include "bus/clock.h"
#include "device/cmos.h"
#include "device/rig.h"
#include "host/loop.h"

enum {
	SECONDS = 0x00,
	MINUTES = 0x02,
	HOURS = 0x04,
	DAY_OF_WEEK = 0x06,
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	CENTURY = 0x32,

	B_24H = 1 << 1,
	B_BINARY = 1 << 2,
	B_SET = 1 << 7,
};

struct fixture {
	struct rig r;
	struct cmos *cmos;
};

static uint8_t rd(struct fixture *f, uint8_t index)
{
	uint64_t val = 0;

	assert_int_equal(bus_write(f->r.bus, 0x70, 1, index), 0);
	assert_int_equal(bus_read(f->r.bus, 0x71, 1, &val), 0);
	assert_true(val <= 0xff);
	return (uint8_t)val;
}
static void wr(struct fixture *f, uint8_t index, uint8_t val)
{
	assert_int_equal(bus_write(f->r.bus, 0x70, 1, index), 0);
	assert_int_equal(bus_write(f->r.bus, 0x71, 1, val), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	rig_init(&f->r);
	assert_int_equal(cmos_create(&f->cmos, f->r.bus, rig_irq(&f->r, 8), f->r.clock, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cmos_destroy(f->cmos);
	rig_fini(&f->r);
	free(f);
	return 0;
}

static int from_bcd(uint8_t v)
{
	assert_true((v & 0xf) < 10 && v >> 4 < 10);
	return (v >> 4) * 10 + (v & 0xf);
}

/* As Linux reads it: wait until no update is in progress; then it is safe for 244 us. */
static time_t read_once(struct fixture *f)
{
	struct tm t = { 0 };

	while (rd(f, REG_A) & 0x80)
		;
	t.tm_sec = from_bcd(rd(f, SECONDS));
	t.tm_min = from_bcd(rd(f, MINUTES));
	t.tm_hour = from_bcd(rd(f, HOURS));
	t.tm_mday = from_bcd(rd(f, DAY));
	t.tm_mon = from_bcd(rd(f, MONTH)) - 1;
	t.tm_year = from_bcd(rd(f, CENTURY)) * 100 + from_bcd(rd(f, YEAR)) - 1900;
	return timegm(&t);
}

/* This thread may be held up for longer than that. */
static time_t read_bcd(struct fixture *f)
{
	time_t first, second = read_once(f);

	do {
		first = second;
		second = read_once(f);
	} while (first != second);
	return second;
}

static void the_time(void **state)
{
	struct fixture *f = *state;
	uint64_t before = clock_wall_seconds(f->r.clock);
	time_t seen = read_bcd(f);

	assert_true((uint64_t)seen >= before);
	assert_true((uint64_t)seen <= clock_wall_seconds(f->r.clock));
	assert_int_equal(rd(f, REG_D), 0x80);
	assert_int_equal(rd(f, REG_B), B_24H);
}

/* Set to what no clock shows by itself, with the clock stopped, in each form. */
static void set(struct fixture *f, uint8_t b, const uint8_t time[8])
{
	static const uint8_t regs[8] = { SECONDS, MINUTES, HOURS, DAY_OF_WEEK,
					 DAY,     MONTH,   YEAR,  CENTURY };

	wr(f, REG_B, b | B_SET);
	for (unsigned i = 0; i < 8; i++)
		wr(f, regs[i], time[i]);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(rd(f, regs[i]), time[i]);
	wr(f, REG_B, b);
}

static void forms(void **state)
{
	/* 1999-12-31 23:59:30, a Friday */
	static const uint8_t bcd[8] = { 0x30, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x19 };
	static const uint8_t binary[8] = { 30, 59, 23, 6, 31, 12, 99, 19 };
	static const uint8_t pm[8] = { 0x30, 0x59, 0x91, 6, 0x31, 0x12, 0x99, 0x19 };
	static const uint8_t midnight[8] = { 0x30, 0, 0x12, 7, 1, 1, 0, 0x20 };
	const time_t at = 946684770;
	struct fixture *f = *state;

	set(f, B_24H, bcd);
	assert_in_range(read_bcd(f) - at, 0, 5);
	wr(f, REG_B, B_24H | B_BINARY);
	assert_int_equal(rd(f, YEAR), 99);
	assert_int_equal(rd(f, CENTURY), 19);
	assert_int_equal(rd(f, HOURS), 23);
	assert_int_equal(rd(f, DAY_OF_WEEK), 6);
	wr(f, REG_B, 0);
	assert_int_equal(rd(f, HOURS), 0x91); /* 11 p.m. */

	set(f, B_24H | B_BINARY, binary);
	wr(f, REG_B, B_24H);
	assert_in_range(read_bcd(f) - at, 0, 5);
	set(f, 0, pm);
	wr(f, REG_B, B_24H);
	assert_in_range(read_bcd(f) - at, 0, 5);
	set(f, 0, midnight);
	assert_int_equal(rd(f, HOURS), 0x12);
	wr(f, REG_B, B_24H);
	assert_int_equal(rd(f, HOURS), 0);
	assert_in_range(read_bcd(f) - (at + 60), 0, 5);

	/* Without SET, one register at a time. */
	wr(f, YEAR, 0x42);
	assert_int_equal(rd(f, YEAR), 0x42);
	assert_int_equal(rd(f, CENTURY), 0x20);
}

/* UIP is set in the last 2228 us of each second and only then; looked at from both sides. */
static void update_in_progress(void **state)
{
	enum { SECOND = 1000000000, BEGIN = SECOND - 2228000 };
	struct fixture *f = *state;
	bool seen_clear = false, seen_set = false;

	while (!seen_clear || !seen_set) {
		uint64_t before = clock_wall_ns(f->r.clock);
		bool uip = rd(f, REG_A) & 0x80;
		uint64_t after = clock_wall_ns(f->r.clock);

		if (before / SECOND != after / SECOND)
			continue;
		if (after % SECOND < BEGIN) {
			assert_false(uip);
			seen_clear = true;
		} else if (before % SECOND >= BEGIN) {
			assert_true(uip);
			seen_set = true;
		}
	}
	wr(f, REG_B, B_24H | B_SET);
	assert_int_equal(rd(f, REG_A) & 0x80, 0);
}

static void memory(void **state)
{
	struct fixture *f = *state;
	uint64_t val;

	for (unsigned i = 0x0e; i < 0x80; i++)
		if (i != CENTURY)
			wr(f, (uint8_t)i, (uint8_t)(i * 3));
	cmos_reset(f->cmos);
	for (unsigned i = 0x0e; i < 0x80; i++)
		if (i != CENTURY)
			assert_int_equal(rd(f, (uint8_t)(i | 0x80)), (uint8_t)(i * 3));
	wr(f, REG_D, 0);
	assert_int_equal(rd(f, REG_D), 0x80);
	wr(f, REG_B, 0x72);
	cmos_reset(f->cmos);
	assert_int_equal(rd(f, REG_B), 0x02); /* no interrupts */
	assert_int_equal(bus_read(f->r.bus, 0x70, 1, &val), 0);
	assert_int_equal(val, 0xff);
	assert_int_equal(bus_read(f->r.bus, 0x70, 2, &val), -EINVAL);
}

/* Run the loop, as long as it takes, until the line is up; and read what it is for. */
static uint8_t wait_irq(struct fixture *f)
{
	uint8_t c;

	while (!f->r.irq) {
		poll(NULL, 0, 1);
		loop_stop(f->r.loop);
		assert_int_equal(loop_run(f->r.loop), 0);
	}
	c = rd(f, REG_C);
	assert_false(f->r.irq);
	return c;
}

static void interrupts(void **state)
{
	/* 2026-01-01 11:59:58 p.m.; the alarm at midnight */
	static const uint8_t before[8] = { 0x58, 0x59, 0x91, 5, 1, 1, 0x26, 0x20 };
	struct fixture *f = *state;
	unsigned n;

	/* Each second. */
	rd(f, REG_C);
	wr(f, REG_B, B_24H | 0x10);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(wait_irq(f) & 0x90, 0x90);
	/* At 1024 Hz, as it starts; at 2 Hz; and never. */
	wr(f, REG_B, B_24H | 0x40);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(wait_irq(f) & 0xc0, 0xc0);
	wr(f, REG_A, 0x2f);
	rd(f, REG_C);
	assert_int_equal(wait_irq(f) & 0xc0, 0xc0);
	wr(f, REG_A, 0x20);
	rd(f, REG_C);
	assert_int_equal(rd(f, REG_C) & 0x40, 0);

	/* The alarm, with a 12-hour clock; a second before it there is none. */
	wr(f, 0x01, 0);
	wr(f, 0x03, 0);
	wr(f, 0x05, 0x12);
	set(f, 0, before);
	rd(f, REG_C);
	wr(f, REG_B, 0x20);
	assert_int_equal(wait_irq(f) & 0xb0, 0xb0);
	assert_int_equal(rd(f, HOURS), 0x12);
	assert_int_equal(rd(f, DAY), 2);
	/* Whatever the time: each second. */
	wr(f, 0x01, 0xff);
	wr(f, 0x03, 0xc0);
	wr(f, 0x05, 0xc0);
	assert_int_equal(wait_irq(f) & 0xa0, 0xa0);

	/* None after a reset; what happens is told all the same. */
	wr(f, REG_B, B_24H | 0x70);
	cmos_reset(f->cmos);
	n = f->r.changes;
	for (uint8_t second = rd(f, SECONDS); rd(f, SECONDS) == second;)
		;
	assert_int_equal(rd(f, REG_C) & 0x90, 0x10);
	assert_int_equal(f->r.changes, n);
}

/* Every value at every register: nothing breaks, and it is a number of two digits at most. */
static void nonsense(void **state)
{
	struct fixture *f = *state;

	for (unsigned reg = 0; reg < 0x80; reg++) {
		for (unsigned val = 0; val < 0x100; val++) {
			wr(f, (uint8_t)reg, (uint8_t)val);
			for (unsigned i = 0; i < 0x0e; i++)
				rd(f, (uint8_t)i);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_time, setup, teardown),
		cmocka_unit_test_setup_teardown(forms, setup, teardown),
		cmocka_unit_test_setup_teardown(update_in_progress, setup, teardown),
		cmocka_unit_test_setup_teardown(interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(memory, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

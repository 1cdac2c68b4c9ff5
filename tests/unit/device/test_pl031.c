/* SPDX-License-Identifier: MIT */
/*
 * PL031: time, setting it, the alarm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "bus/bus.h"
#include "device/pl031.h"
#include "device/rig.h"

#define BASE 0x09010000ULL

enum { DR = 0, MR = 4, LR = 8, CR = 12, IMSC = 16, RIS = 20, MIS = 24, ICR = 28 };

struct fixture {
	struct rig r;
	struct pl031 *rtc;
};

static uint32_t rd(struct fixture *f, uint64_t off)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->r.bus, BASE + off, 4, &val), 0);
	return (uint32_t)val;
}
static void wr(struct fixture *f, uint64_t off, uint32_t val)
{
	assert_int_equal(bus_write(f->r.bus, BASE + off, 4, val), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;

	assert_non_null(f);
	rig_init(&f->r);
	assert_int_equal(pl031_create(&f->rtc, f->r.bus, BASE, rig_irq(&f->r, 2), f->r.clock, &err),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pl031_destroy(f->rtc);
	rig_fini(&f->r);
	free(f);
	return 0;
}

static void registers(void **state)
{
	static const uint8_t id[] = { 0x31, 0x10, 0x04, 0, 0x0d, 0xf0, 0x05, 0xb1 };
	struct fixture *f = *state;
	uint32_t now = (uint32_t)time(NULL);
	uint64_t val;

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(rd(f, 0xfe0 + 4 * i), id[i]);
	assert_in_range(rd(f, DR), now, now + 5);
	assert_int_equal(rd(f, CR), 1);
	wr(f, CR, 0); /* cannot be stopped */
	assert_int_equal(rd(f, CR), 1);
	assert_int_equal(rd(f, MR) | rd(f, LR) | rd(f, IMSC) | rd(f, RIS) | rd(f, MIS), 0);
	wr(f, IMSC, ~0u);
	assert_int_equal(rd(f, IMSC), 1);
	wr(f, DR, 1); /* read-only */
	assert_in_range(rd(f, DR), now, now + 5);
	wr(f, LR, 0xfffffffe); /* wraps without harm */
	assert_int_equal(rd(f, LR), 0xfffffffe);
	val = rd(f, DR) - 0xfffffffeU;
	assert_in_range((uint32_t)val, 0, 5);
	pl031_reset(f->rtc);
	val = rd(f, DR) - 0xfffffffeU;
	assert_in_range((uint32_t)val, 0, 5); /* the time goes on */
	assert_int_equal(rd(f, LR) | rd(f, IMSC), 0);
	for (unsigned size = 1; size <= 4; size *= 2)
		for (uint64_t off = 0; off < 0x1000; off += size) {
			bus_write(f->r.bus, BASE + off, size, ~0ULL);
			bus_read(f->r.bus, BASE + off, size, &val);
		}
}

static void alarm_fires(void **state)
{
	struct fixture *f = *state;

	wr(f, LR, 1000);
	wr(f, MR, 1001);
	wr(f, IMSC, 1);
	assert_false(f->r.irq);
	rig_run_ms(&f->r, 5000);
	assert_true(f->r.irq);
	assert_in_range(rd(f, DR), 1001, 1002);
	assert_int_equal(rd(f, RIS), 1);
	assert_int_equal(rd(f, MIS), 1);
	wr(f, IMSC, 0);
	assert_false(f->r.irq);
	wr(f, IMSC, 1);
	assert_true(f->r.irq);
	wr(f, ICR, 1);
	assert_false(f->r.irq);
	assert_int_equal(rd(f, RIS), 0);
}

static void alarm_now_past_and_moved(void **state)
{
	struct fixture *f = *state;

	wr(f, IMSC, 1);
	wr(f, LR, 5000);
	wr(f, MR, 4000); /* past */
	assert_false(f->r.irq);
	wr(f, MR, rd(f, DR)); /* now, give or take the turn of a second */
	rig_run_ms(&f->r, 1500);
	if (f->r.irq)
		wr(f, ICR, 1);
	wr(f, MR, 100000); /* far away */
	rig_run_ms(&f->r, 20);
	assert_false(f->r.irq);
	wr(f, LR, 100000); /* the clock is set to it */
	assert_true(f->r.irq);
	wr(f, ICR, 1);
	wr(f, MR, 200000);
	pl031_reset(f->rtc);
	wr(f, LR, 200000); /* forgotten by the reset */
	assert_int_equal(rd(f, RIS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(alarm_fires, setup, teardown),
		cmocka_unit_test_setup_teardown(alarm_now_past_and_moved, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

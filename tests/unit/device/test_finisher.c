/* SPDX-License-Identifier: MIT */
/*
 * Test finisher: each way to end, and everything else that ends nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "bus/bus.h"
#include "device/finisher.h"

#define BASE 0x100000ULL

struct fixture {
	struct bus *bus;
	struct finisher *finisher;
	unsigned ends, end, code;
};

static void end(void *arg, enum finisher_end how, unsigned code)
{
	struct fixture *f = arg;

	f->ends++;
	f->end = how;
	f->code = code;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;
	struct finisher_config config;

	assert_non_null(f);
	assert_int_equal(bus_create(&f->bus, &err), 0);
	config = (struct finisher_config){ .bus = f->bus, .base = BASE, .end = end, .arg = f };
	assert_int_equal(finisher_create(&f->finisher, &config, &err), 0);
	assert_int_equal(finisher_create(&f->finisher, &config, &err), -EEXIST);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	finisher_destroy(f->finisher);
	bus_destroy(f->bus);
	free(f);
	return 0;
}

static void ends(void **state)
{
	static const struct {
		unsigned size;
		uint32_t val;
		unsigned end, code;
	} cases[] = {
		{ 4, 0x5555, FINISHER_PASS, 0 },      { 2, 0x5555, FINISHER_PASS, 0 },
		{ 4, 0x00015555, FINISHER_PASS, 0 },  { 4, 0x3333, FINISHER_FAIL, 0 },
		{ 4, 0x002a3333, FINISHER_FAIL, 42 }, { 4, 0xffff3333, FINISHER_FAIL, 0xffff },
		{ 4, 0x7777, FINISHER_RESET, 0 },     { 2, 0x7777, FINISHER_RESET, 0 },
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(bus_write(f->bus, BASE, cases[i].size, cases[i].val), 0);
		assert_int_equal(f->ends, i + 1);
		assert_int_equal(f->end, cases[i].end);
		assert_int_equal(f->code, cases[i].code);
	}
}

static void nothing_else_ends(void **state)
{
	struct fixture *f = *state;
	uint64_t val;

	for (uint64_t low = 0; low < 0x10000; low++)
		if (low != 0x5555 && low != 0x3333 && low != 0x7777)
			assert_int_equal(bus_write(f->bus, BASE, 4, low | 0x12340000), 0);
	for (uint64_t off = 4; off < FINISHER_SIZE; off += 4)
		assert_int_equal(bus_write(f->bus, BASE + off, 4, 0x5555), 0);
	assert_int_equal(bus_write(f->bus, BASE, 1, 0x55), -EINVAL);
	assert_int_equal(bus_write(f->bus, BASE, 8, 0x5555), -EINVAL);
	for (uint64_t off = 0; off < FINISHER_SIZE; off += 4) {
		assert_int_equal(bus_read(f->bus, BASE + off, 4, &val), 0);
		assert_int_equal(val, 0);
	}
	assert_int_equal(f->ends, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ends, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_else_ends, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

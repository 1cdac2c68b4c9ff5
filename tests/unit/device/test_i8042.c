/* SPDX-License-Identifier: MIT */
/*
 * Keyboard controller and ACPI registers: what resets and powers off, and that nothing else does;
 * the answers that a driver which looks for a keyboard gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"
#include "device/acpi_pm.h"
#include "device/i8042.h"

#define ACPI_BASE 0x600

struct fixture {
	struct bus *bus;
	struct i8042 *kbc;
	struct acpi_pm *pm;
	struct log log;
	unsigned resets, offs;
};

static void pulsed(void *arg)
{
	((struct fixture *)arg)->resets++;
}

static void ended(void *arg, enum acpi_pm_end end)
{
	struct fixture *f = arg;

	if (end == ACPI_PM_END_RESET)
		f->resets++;
	else
		f->offs++;
}

static void no_log(void *arg, enum log_level level, const char *who, const char *text)
{
	(void)arg;
	(void)level;
	(void)who;
	(void)text;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct i8042_config kbc = { .reset = pulsed, .arg = f };
	struct acpi_pm_config pm = { .base = ACPI_BASE, .end = ended, .arg = f };
	struct i8042_config on_bus = kbc;

	assert_non_null(f);
	log_init(&f->log, LOG_DEBUG, no_log, NULL);
	assert_int_equal(bus_create(&f->bus, NULL), 0);
	on_bus.bus = pm.bus = f->bus;
	pm.log = &f->log;
	assert_int_equal(i8042_create(&f->kbc, &on_bus, NULL), 0);
	assert_int_equal(acpi_pm_create(&f->pm, &pm, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	i8042_destroy(f->kbc);
	acpi_pm_destroy(f->pm);
	bus_destroy(f->bus);
	log_fini(&f->log);
	free(f);
	return 0;
}

static void out(struct fixture *f, uint64_t port, uint8_t val)
{
	assert_int_equal(bus_write(f->bus, port, 1, val), 0);
}
static uint8_t in(struct fixture *f, uint64_t port)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->bus, port, 1, &val), 0);
	return (uint8_t)val;
}
/* A command that has an answer. */
static uint8_t ask(struct fixture *f, uint8_t command)
{
	uint8_t val;

	out(f, 0x64, command);
	assert_int_equal(in(f, 0x64) & 1, 1);
	val = in(f, 0x60);
	assert_int_equal(in(f, 0x64) & 1, 0);
	return val;
}

static void kbc_resets(void **state)
{
	struct fixture *f = *state;

	out(f, 0x64, 0xfe);
	assert_int_equal(f->resets, 1);
	out(f, 0x64, 0xf0);
	assert_int_equal(f->resets, 2);
	out(f, 0x64, 0xd1); /* the output port, bit 0 clear */
	out(f, 0x60, 0xfe);
	assert_int_equal(f->resets, 3);
	/* Other commands, and pulses of other pins. */
	for (unsigned command = 0; command < 0x100; command++)
		if (command < 0xf0 || (command & 1))
			out(f, 0x64, (uint8_t)command);
	out(f, 0x64, 0xd1);
	out(f, 0x60, 0xdf); /* A20, as everybody does it */
	assert_int_equal(f->resets, 3);
}

/* What Linux does to see whether there is one (drivers/input/serio/i8042.c). */
static void kbc_answers(void **state)
{
	struct fixture *f = *state;
	uint8_t mode;

	assert_int_equal(in(f, 0x64) & 3, 0);
	assert_int_equal(ask(f, 0xaa), 0x55);
	assert_int_equal(ask(f, 0xab), 0);
	assert_int_not_equal(ask(f, 0xa9), 0); /* no second port */
	mode = ask(f, 0x20);
	out(f, 0x64, 0x60);
	out(f, 0x60, mode | 0x10);
	assert_int_equal(ask(f, 0x20), mode | 0x10);
	out(f, 0x64, 0xae);
	assert_int_equal(ask(f, 0x20), mode);
	out(f, 0x64, 0xa8);
	assert_int_equal(ask(f, 0x20) & 0x20, 0x20);
	out(f, 0x64, 0xd2);
	out(f, 0x60, 0x42);
	assert_int_equal(in(f, 0x60), 0x42);
	/* A command for the keyboard: nobody is there. */
	out(f, 0x60, 0xff);
	assert_int_equal(in(f, 0x64) & 0x41, 0x41);
	assert_int_equal(in(f, 0x60), 0xfe);
	assert_int_equal(in(f, 0x64) & 0x41, 0);
	assert_int_equal(f->resets, 0);

	out(f, 0x64, 0x60);
	i8042_reset(f->kbc);
	out(f, 0x60, 0);
	assert_int_equal(ask(f, 0x20), mode); /* the parameter was not waited for any more */
}

static void acpi_ends(void **state)
{
	struct fixture *f = *state;

	out(f, ACPI_BASE + ACPI_PM_SLEEP_STATUS, 0x80);
	assert_int_equal(in(f, ACPI_BASE + ACPI_PM_SLEEP_STATUS), 0);
	for (unsigned val = 0; val < 0x100; val++) {
		bool off = val >> 5 & 1 && (val >> 2 & 7) == ACPI_PM_S5;
		unsigned offs = f->offs;

		out(f, ACPI_BASE + ACPI_PM_SLEEP_CONTROL, (uint8_t)val);
		assert_int_equal(f->offs - offs, off);
	}
	assert_int_equal(f->resets, 0);
	for (unsigned val = 0; val < 0x100; val++)
		out(f, ACPI_BASE + ACPI_PM_RESET, (uint8_t)val);
	assert_int_equal(f->resets, 1);
}

static void no_room(void **state)
{
	struct fixture *f = *state;
	const struct i8042_config kbc = { .bus = f->bus, .reset = pulsed, .arg = f };
	struct err err = ERR_INIT;
	struct i8042 *second;

	assert_int_equal(i8042_create(&second, &kbc, &err), -EEXIST);
	assert_int_equal(bus_read(f->bus, 0x60, 2, &(uint64_t){ 0 }), -ENXIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kbc_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(kbc_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(acpi_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(no_room, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

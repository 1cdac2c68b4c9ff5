/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables: that they hang together, and say what they were told. With an argument, write the
 * DSDT of a machine with 16 disks to that file, for tests/unit/boot/test_dsdt.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/acpi.h"
#include "boot/aml.h"

enum { BASE = 0xe0000, ROOM = 0x20000, DISKS = 16 };

static void make(unsigned n_cpus, unsigned n_disks, size_t room, int code, uint8_t **tables,
		 size_t *size)
{
	struct acpi_virtio virtio[DISKS];
	const struct acpi_config config = {
		.base = BASE,
		.size_max = room,
		.n_cpus = n_cpus,
		.lapic = 0xfee00000,
		.ioapic = 0xfec00000,
		.uart_port = 0x3f8,
		.uart_gsi = 4,
		.rtc_port = 0x70,
		.rtc_gsi = 8,
		.sleep_control = 0x600,
		.sleep_status = 0x601,
		.reset = 0x602,
		.reset_value = 1,
		.s5 = 5,
		.virtio = virtio,
		.n_virtio = n_disks,
	};
	struct err err = ERR_INIT;

	for (unsigned i = 0; i < n_disks; i++)
		virtio[i] = (struct acpi_virtio){ 0xd0000000 + i * 0x1000, 0x1000, 5 + i };
	assert_int_equal(acpi_tables(&config, (void **)tables, size, &err), code);
	if (code)
		assert_non_null(strstr(err.msg, "do not fit"));
}

static uint64_t get(const uint8_t *at, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)at[i] << 8 * i;
	return v;
}

static uint8_t sum(const uint8_t *at, size_t n)
{
	uint8_t total = 0;

	while (n--)
		total = (uint8_t)(total + at[n]);
	return total;
}

/* The table at a guest address, whole and with a good checksum. */
static const uint8_t *table(const uint8_t *tables, size_t size, uint64_t at, const char *signature)
{
	const uint8_t *t = tables + (at - BASE);

	assert_true(at >= BASE && range_ok(at - BASE, 36, size));
	assert_memory_equal(t, signature, 4);
	assert_true(range_ok(at - BASE, get(t + 4, 4), size));
	assert_int_equal(sum(t, get(t + 4, 4)), 0);
	return t;
}

static const uint8_t *find(const uint8_t *tables, size_t size, const char *signature)
{
	const uint8_t *xsdt;

	assert_memory_equal(tables, "RSD PTR ", 8);
	assert_int_equal(tables[15], 2);
	assert_int_equal(sum(tables, 20), 0);
	assert_int_equal(sum(tables, 36), 0);
	xsdt = table(tables, size, get(tables + 24, 8), "XSDT");
	for (size_t i = 36; i < get(xsdt + 4, 4); i += 8) {
		uint64_t at = get(xsdt + i, 8);

		if (memcmp(tables + (at - BASE), signature, 4) == 0)
			return table(tables, size, at, signature);
	}
	fail_msg("there is no %s", signature);
	return NULL;
}

/* A port of one byte (ACPI 6.4, 5.2.3.2). */
static void check_port(const uint8_t *gas, uint64_t port)
{
	assert_int_equal(gas[0], 1);
	assert_int_equal(gas[1], 8);
	assert_int_equal(get(gas + 4, 8), port);
}

static void fadt(void **state)
{
	const uint8_t *t;
	uint8_t *tables;
	size_t size;

	(void)state;
	make(1, 1, ROOM, 0, &tables, &size);
	t = find(tables, size, "FACP");
	assert_int_equal(get(t + 4, 4), 276);
	assert_int_equal(get(t + 112, 4) & (1 << 20 | 1 << 10), 1 << 20 | 1 << 10);
	assert_int_equal(get(t + 109, 2) & 2, 0); /* no 8042 */
	check_port(t + 116, 0x602);
	assert_int_equal(t[128], 1);
	check_port(t + 244, 0x600);
	check_port(t + 256, 0x601);
	assert_int_equal(get(t + 40, 4), get(t + 140, 8));
	table(tables, size, get(t + 140, 8), "DSDT");
	free(tables);
}

static void madt(void **state)
{
	unsigned cpus = 0, ioapics = 0;
	uint8_t *tables;
	const uint8_t *t;
	size_t size;

	(void)state;
	make(8, 0, ROOM, 0, &tables, &size);
	t = find(tables, size, "APIC");
	assert_int_equal(get(t + 36, 4), 0xfee00000);
	for (size_t i = 44; i < get(t + 4, 4); i += t[i + 1]) {
		assert_true(t[i + 1] >= 6);
		if (t[i] == 0) {
			assert_int_equal(t[i + 3], cpus);
			assert_int_equal(get(t + i + 4, 4), 1);
			cpus++;
		} else if (t[i] == 1) {
			assert_int_equal(get(t + i + 4, 4), 0xfec00000);
			assert_int_equal(get(t + i + 8, 4), 0);
			ioapics++;
		}
	}
	assert_int_equal(cpus, 8);
	assert_int_equal(ioapics, 1);
	free(tables);
}

static void no_room(void **state)
{
	uint8_t *tables;
	size_t size;

	(void)state;
	make(8, DISKS, ROOM, 0, &tables, &size);
	free(tables);
	for (size_t room = 1; room < size; room += 13)
		make(8, DISKS, room, -E2BIG, &tables, &size);
	make(8, DISKS, size, 0, &tables, &size);
	free(tables);
}

/* As the specification's own example of it: EISAID("PNP0501") is 0x0105d041. */
static void aml_terms(void **state)
{
	static const uint8_t want[] = {
		0x10, 0x81, 0x03, 0x00, '\\', '_',  'S',  'B',  '_', /* Scope (\_SB_) */
		0x5b, 0x82, 0x87, 0x02, 0x00, 'A',  'B',  'C',  'D', /* Device (ABCD) */
		0x08, '_',  'H',  'I',  'D',  0x0c, 0x41, 0xd0, 0x05, 0x01, 0x08,
		'_',  'C',  'R',  'S',  0x11, 0x80, 0x01, 0x00, 0x0b, 0x0a, 0x00, /* Buffer (10) */
		0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 0x01, 0x08, 0x79, 0x00,
	};
	struct aml *a = malloc(sizeof(*a));

	(void)state;
	assert_non_null(a);
	aml_init(a);
	aml_scope(a, "_SB_");
	aml_device(a, "ABCD");
	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_crs(a);
	aml_crs_io(a, 0x3f8, 8);
	assert_false(aml_ok(a));
	aml_end(a);
	aml_end(a);
	aml_end(a);
	assert_true(aml_ok(a));
	assert_int_equal(a->len, sizeof(want));
	for (size_t i = 0; i < sizeof(want); i++)
		if (a->bytes[i] != want[i])
			fail_msg("byte %zu is %#x and not %#x", i, a->bytes[i], want[i]);
	free(a);
}

static void aml_limits(void **state)
{
	struct aml *a = malloc(sizeof(*a));

	(void)state;
	assert_non_null(a);
	aml_init(a);
	aml_end(a); /* of nothing */
	assert_false(aml_ok(a));
	aml_init(a);
	for (unsigned i = 0; i < AML_DEPTH_MAX + 1; i++)
		aml_device(a, "ABCD");
	for (unsigned i = 0; i < AML_DEPTH_MAX + 1; i++)
		aml_end(a);
	assert_false(aml_ok(a));
	aml_init(a);
	for (unsigned i = 0; i < AML_SIZE_MAX; i++) {
		aml_crs(a);
		aml_crs_irq(a, i);
		aml_end(a);
	}
	assert_false(aml_ok(a));
	assert_true(a->len <= AML_SIZE_MAX);
	free(a);
}

static int write_dsdt(const char *path)
{
	FILE *file = fopen(path, "w");
	const uint8_t *t;
	uint8_t *tables;
	size_t size;
	int res;

	make(2, DISKS, ROOM, 0, &tables, &size);
	t = find(tables, size, "FACP");
	t = table(tables, size, get(t + 140, 8), "DSDT");
	res = !file || fwrite(t, get(t + 4, 4), 1, file) != 1;
	if (file && fclose(file))
		res = 1;
	free(tables);
	return res;
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(fadt),       cmocka_unit_test(madt),
		cmocka_unit_test(no_room),    cmocka_unit_test(aml_terms),
		cmocka_unit_test(aml_limits),
	};

	if (argc > 1)
		return write_dsdt(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

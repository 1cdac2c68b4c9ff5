/* SPDX-License-Identifier: MIT */
/*
 * The registers of a machine with hardware-reduced ACPI (ACPI 6.4, 4.8.3.7 and 4.8.3.6), a byte
 * each: sleep control, sleep status, reset.
 *
 * Threads: vCPU threads. It keeps nothing, and has no lock.
 */
#ifndef HAKO_DEVICE_ACPI_PM_H
#define HAKO_DEVICE_ACPI_PM_H

#include <stdint.h>

struct acpi_pm;
struct bus;
struct err;
struct log;

/* Offsets, and what the tables have to say of them. */
enum {
	ACPI_PM_SLEEP_CONTROL = 0,
	ACPI_PM_SLEEP_STATUS = 1,
	ACPI_PM_RESET = 2,
	ACPI_PM_SIZE = 4,

	ACPI_PM_RESET_VALUE = 1,
	ACPI_PM_S5 = 5, /* the sleep type that powers off; there is no other */
};

enum acpi_pm_end { ACPI_PM_END_POWEROFF, ACPI_PM_END_RESET };

struct acpi_pm_config {
	struct bus *bus; /* of ports */
	uint64_t base;
	/* On the vCPU's thread, inside its OUT. */
	void (*end)(void *arg, enum acpi_pm_end end);
	void *arg;
	struct log *log;
};

int acpi_pm_create(struct acpi_pm **pm, const struct acpi_pm_config *config, struct err *err);
void acpi_pm_destroy(struct acpi_pm *pm);

#endif

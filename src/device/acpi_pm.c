/* SPDX-License-Identifier: MIT */
/*
 * Power-off and reset by ACPI's registers. There is no sleep to wake from, so the status is always
 * zero.
 */
#include "device/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"

/* The sleep control register (ACPI 6.4, table 4.18). */
enum { SLP_TYP_HI = 4, SLP_TYP_LO = 2, SLP_EN = 5 };

struct acpi_pm {
	struct acpi_pm_config config;
	struct bus_region region;
	struct log_limit limit;
};

static uint64_t acpi_pm_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	(void)size;
	return 0;
}

static void acpi_pm_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct acpi_pm *pm = dev;
	const struct acpi_pm_config *c = &pm->config;

	(void)size; /* 1 */
	if (off == ACPI_PM_RESET && val == ACPI_PM_RESET_VALUE)
		c->end(c->arg, ACPI_PM_END_RESET);
	else if (off == ACPI_PM_SLEEP_CONTROL && bit(val, SLP_EN) &&
		 bits(val, SLP_TYP_HI, SLP_TYP_LO) == ACPI_PM_S5)
		c->end(c->arg, ACPI_PM_END_POWEROFF);
	else if (off != ACPI_PM_SLEEP_STATUS) /* drivers clear it before they sleep */
		log_guest(c->log, &pm->limit, LOG_DEBUG, "acpi",
			  "write of %#llx at %#llx, which ends nothing", (unsigned long long)val,
			  (unsigned long long)off);
}

static const struct bus_ops acpi_pm_ops = { .read = acpi_pm_read, .write = acpi_pm_write };

int acpi_pm_create(struct acpi_pm **out, const struct acpi_pm_config *config, struct err *err)
{
	struct acpi_pm *pm = calloc(1, sizeof(*pm));
	int ret;

	if (!pm)
		return err_set(err, -ENOMEM, "ACPI registers: out of memory");
	pm->config = *config;
	pm->region = (struct bus_region){
		.name = "ACPI registers",
		.base = config->base,
		.size = ACPI_PM_SIZE,
		.min_access = 1,
		.max_access = 1,
		.ops = &acpi_pm_ops,
		.dev = pm,
	};
	ret = bus_add(config->bus, &pm->region, err);
	if (ret) {
		free(pm);
		return ret;
	}
	*out = pm;
	return 0;
}

void acpi_pm_destroy(struct acpi_pm *pm)
{
	if (!pm)
		return;
	bus_del(pm->config.bus, &pm->region);
	free(pm);
}

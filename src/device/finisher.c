/* SPDX-License-Identifier: MIT */
/*
 * SiFive test finisher. There is no manual; the values are those of the device trees that name it,
 * and of QEMU's documentation of its `virt` machine. Reads are zero.
 */
#include "device/finisher.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"

struct finisher {
	struct finisher_config config;
	struct bus_region region;
	struct log_limit limit;
};

static uint64_t finisher_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	(void)size;
	return 0;
}

static void finisher_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct finisher *finisher = dev;
	const struct finisher_config *config = &finisher->config;

	(void)size;
	if (off == 0) {
		switch (val & 0xffff) {
		case FINISHER_FAIL:
			config->end(config->arg, FINISHER_FAIL, (unsigned)(val >> 16));
			return;
		case FINISHER_PASS: config->end(config->arg, FINISHER_PASS, 0); return;
		case FINISHER_RESET: config->end(config->arg, FINISHER_RESET, 0); return;
		}
	}
	log_guest(config->log, &finisher->limit, LOG_DEBUG, "finisher",
		  "write of %#llx at %#llx, which ends nothing", (unsigned long long)val,
		  (unsigned long long)off);
}

static const struct bus_ops finisher_ops = { .read = finisher_read, .write = finisher_write };

int finisher_create(struct finisher **out, const struct finisher_config *config, struct err *err)
{
	struct finisher *finisher = calloc(1, sizeof(*finisher));
	int ret;

	if (!finisher)
		return err_set(err, -ENOMEM, "test finisher: out of memory");
	finisher->config = *config;
	finisher->region = (struct bus_region){
		.name = "test finisher",
		.base = config->base,
		.size = FINISHER_SIZE,
		.min_access = 2,
		.max_access = 4,
		.ops = &finisher_ops,
		.dev = finisher,
	};
	ret = bus_add(config->bus, &finisher->region, err);
	if (ret) {
		free(finisher);
		return ret;
	}
	*out = finisher;
	return 0;
}

void finisher_destroy(struct finisher *finisher)
{
	if (!finisher)
		return;
	bus_del(finisher->config.bus, &finisher->region);
	free(finisher);
}

/* SPDX-License-Identifier: MIT */
/*
 * Which engines there are, and which of them this host can run.
 */
#include "hako/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"

static void probe_kvm(struct hako_engine *engine)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	char host[160];

	if (fd >= 0)
		snprintf(host, sizeof(host), "/dev/kvm opens");
	else if (errno == ENOENT)
		snprintf(host, sizeof(host), "/dev/kvm does not exist");
	else
		snprintf(host, sizeof(host), "/dev/kvm does not open: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	engine->available = false;
	snprintf(engine->note, sizeof(engine->note),
		 "the host's hardware virtualization; not built in this version (%s); use soft",
		 host);
}

static void probe_soft(struct hako_engine *engine)
{
	engine->available = true;
	snprintf(engine->note, sizeof(engine->note),
		 "hako's own CPU in software: arm64, riscv64 and riscv32 guests on every host");
}

/* Fastest first. */
static const struct {
	const char *name;
	void (*probe)(struct hako_engine *engine);
} engine_table[] = {
	{ "kvm", probe_kvm },
	{ "soft", probe_soft },
};

size_t hako_engines(struct hako_engine *engines, size_t max)
{
	for (size_t i = 0; i < ARRAY_SIZE(engine_table) && i < max; i++) {
		engines[i].name = engine_table[i].name;
		engine_table[i].probe(&engines[i]);
	}
	return ARRAY_SIZE(engine_table);
}

const char *const *hako_machines(void)
{
	static const char *const machines[] = { "arm64", "riscv64", "riscv32", NULL };

	return machines;
}

const char *hako_version(void)
{
	return HAKO_VERSION;
}

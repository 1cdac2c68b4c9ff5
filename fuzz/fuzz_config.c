/* SPDX-License-Identifier: MIT */
/*
 * A configuration file (cli/config_file.h) that is the input: what it leaves must be whole, and
 * what is wrong with it is told once.
 */
#include "fuzz.h"

#include <stdarg.h>
#include <stdbool.h>

#include "cli/config_file.h"
#include "cli/say.h"

/* What the command would say, and is not said here. */
static unsigned told;
static const char *place;

static void listen(const char *fmt, va_list args)
{
	char text[256];

	fuzz_check(vsnprintf(text, sizeof(text), fmt, args) > 0);
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	listen(fmt, args);
	va_end(args);
}

int say_usage(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	listen(fmt, args);
	va_end(args);
	told++;
	fuzz_check(!place || (strncmp(place, "fuzz: ", 6) == 0 && strlen(place) <= 1024));
	return -1;
}

void say_where(const char *where)
{
	place = where;
}

/* Options of each kind, under names of hako run. */
struct settings {
	const char *engine;
	unsigned number, verbose;
	uint64_t size, entry;
	bool quiet;
	size_t length;
};

static int set_lint(void *target, const char *value)
{
	struct settings *s = target;

	s->length = value ? strlen(value) : 0;
	return s->length == 1 ? say_usage("that is short") : 0;
}

#define AT(field) .off = offsetof(struct settings, field)

static const struct opt opts[] = {
	{ .name = "engine", .arg = "NAME", .kind = OPT_STRING, AT(engine) },
	{ .name = "number", .arg = "N", .kind = OPT_NUMBER, AT(number) },
	{ .name = "size", .arg = "SIZE", .kind = OPT_SIZE, AT(size) },
	{ .name = "entry", .arg = "ADDR", .kind = OPT_ADDR, AT(entry) },
	{ .name = "lint", .arg = "MODE", .optional = true, .kind = OPT_CALL, .set = set_lint },
	{ .name = "verbose", .kind = OPT_COUNT, AT(verbose) },
	{ .name = "quiet", .kind = OPT_FLAG, AT(quiet) },
	{ .name = "config", .arg = "FILE", .first = true, .kind = OPT_CALL, .set = set_lint },
	OPT_END,
};

static void check_text(const char *text)
{
	volatile size_t length = text ? strlen(text) : 0;

	(void)length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hako_disk disks[HAKO_DISKS_MAX];
	struct hako_vm_config config = { .disks = disks, .mem = HAKO_MEM_DEFAULT, .cpus = 1 };
	struct settings settings = { 0 };
	const struct config_file_target target = {
		.config = &config, .disks = disks, .opts = opts, .opts_target = &settings
	};
	struct config_file *file;
	unsigned roots = 0;
	int res;

	told = 0;
	res = config_file_parse(&file, "fuzz", (const char *)data, size, &target);
	fuzz_check(!place);
	fuzz_check(res == 0 || res == -1);
	fuzz_check(told == (res ? 1 : 0));
	fuzz_check(config.n_disks <= HAKO_DISKS_MAX);
	fuzz_check(config.cpus >= 1 && config.cpus <= HAKO_CPUS_MAX);
	fuzz_check(config.mem <= HAKO_MEM_MAX);
	for (size_t i = 0; i < config.n_disks; i++) {
		fuzz_check(disks[i].path && *disks[i].path);
		fuzz_check((unsigned)disks[i].cache <= HAKO_CACHE_UNSAFE);
		fuzz_check((unsigned)disks[i].aio <= HAKO_AIO_THREADS);
		check_text(disks[i].serial);
		check_text(disks[i].partuuid);
		roots += disks[i].root;
	}
	fuzz_check(roots <= 1);
	check_text(config.kernel);
	check_text(config.initrd);
	check_text(config.cmdline);
	check_text(settings.engine);
	if (file)
		config_file_say_notes(file);
	config_file_free(file);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * hako disk: make, look at and test disk images.
 */
#include "hako/disk.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "disk_opt.h"
#include "say.h"
#include "tty.h"

struct disk_options {
	bool force, preallocate, write;
};

static const struct opt disk_opts[] = {
	{ .group = "For create",
	  .name = "force",
	  .letter = 'f',
	  .help = "replace FILE if it exists; what it holds is lost",
	  .kind = OPT_FLAG,
	  .off = offsetof(struct disk_options, force) },
	{ .name = "preallocate",
	  .letter = 'p',
	  .help = "take the room on the host now; without it, as it is used",
	  .kind = OPT_FLAG,
	  .off = offsetof(struct disk_options, preallocate) },
	{ .group = "For test",
	  .name = "write",
	  .letter = 'w',
	  .help = "write too; what was there is put back, by the next test if\n"
		  "this one is killed",
	  .kind = OPT_FLAG,
	  .off = offsetof(struct disk_options, write) },
	OPT_END,
};

/* "64 MiB", "1.5 GiB" */
static const char *human(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned unit = 0;
	double v = (double)bytes;

	while (v >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		unit++;
	}
	snprintf(text, size, v == (double)(uint64_t)v ? "%.0f %s" : "%.1f %s", v, units[unit]);
	return text;
}

/* ---- Create ---- */

enum { BAR = 40 };

/* On a terminal, a bar; *arg, a bool, says that there is one. */
static int on_progress(void *arg, uint64_t done, uint64_t total)
{
	static const char full[] = "########################################"; /* BAR of them */
	double part = (double)done / (double)total;
	char text[32];

	if (isatty(STDERR_FILENO)) {
		fprintf(stderr, "\r[%-*.*s] %3u %% of %s ", BAR, (int)(part * BAR), full,
			(unsigned)(part * 100), human(total, text, sizeof(text)));
		*(bool *)arg = true;
	}
	return tty_signal();
}

static int disk_create(const struct disk_options *o, const char *size, const char *path)
{
	struct hako_disk_create_options create = { .path = path,
						   .overwrite = o->force,
						   .preallocate = o->preallocate,
						   .progress = on_progress };
	bool shown = false;
	struct hako_err err = { 0 };
	char text[32];
	const char *why;
	uint64_t other;
	int r;

	if (parse_size(size, &create.size, &why) < 0) {
		if (parse_size(path, &other, &why) == 0)
			say_usage("the size comes first: hako disk create %s %s", path, size);
		else
			say_usage("'%s' is no size: %s", size, why);
		return EXIT_USAGE;
	}
	if (create.size == 0 || create.size % HAKO_SECTOR_SIZE || create.size > INT64_MAX) {
		if (create.size && create.size < 1 << 16)
			say_usage("%s is %" PRIu64
				  " bytes, and a disk has a multiple of %d; did you "
				  "mean %" PRIu64 "M?",
				  size, create.size, HAKO_SECTOR_SIZE, create.size);
		else
			say_usage(
				"a disk cannot have the size %s: it needs a multiple of %d bytes, "
				"more than 0 and less than 8 EiB",
				size, HAKO_SECTOR_SIZE);
		return EXIT_USAGE;
	}

	tty_signals(NULL, NULL, NULL);
	create.arg = &shown;
	r = hako_disk_create(&create, &err);
	if (shown)
		fprintf(stderr, "\r%*s\r", BAR + 30, "");
	if (r < 0) {
		say("%s", err.msg);
		return tty_signal() ? 128 + tty_signal() : EXIT_FAILED;
	}
	printf("%s: %" PRIu64 " bytes (%s), %" PRIu64 " sectors of %d bytes\n", path, create.size,
	       human(create.size, text, sizeof(text)), create.size / HAKO_SECTOR_SIZE,
	       HAKO_SECTOR_SIZE);
	return EXIT_OK;
}

/* ---- Info ---- */

static int disk_info(const char *path)
{
	struct hako_disk_details d;
	struct hako_err err = { 0 };
	char text[32], allocated[32];

	if (hako_disk_inspect(path, &d, &err) < 0) {
		say("%s", err.msg);
		return EXIT_FAILED;
	}
	printf("file:       %s%s\n", path, d.block_device ? " (block device)" : "");
	printf("bytes:      %" PRIu64 " (%s)\n", d.bytes, human(d.bytes, text, sizeof(text)));
	printf("sectors:    %" PRIu64 " of %d bytes\n", d.sectors, HAKO_SECTOR_SIZE);
	printf("allocated:  %" PRIu64 " (%s)\n", d.allocated,
	       human(d.allocated, allocated, sizeof(allocated)));
	printf("contents:   %s\n", d.contents);
	if (d.warning[0])
		printf("warning:    %s\n", d.warning);
	return EXIT_OK;
}

/* ---- Test ---- */

static int on_step(void *arg, const char *what, const char *found)
{
	(void)arg;
	printf("  %-15s %s\n", what, found);
	fflush(stdout);
	return tty_signal();
}

/* As hexdump -C: lines like the one before are one "*". */
static void on_first_sector(void *arg, const uint8_t *bytes)
{
	enum { WIDTH = 16 };
	bool same = false;

	(void)arg;
	putchar('\n');
	for (unsigned at = 0; at < HAKO_SECTOR_SIZE; at += WIDTH) {
		const uint8_t *line = bytes + at;

		if (at && memcmp(line, line - WIDTH, WIDTH) == 0) {
			if (!same)
				printf("  *\n");
			same = true;
			continue;
		}
		same = false;
		printf("  %08x ", at);
		for (unsigned i = 0; i < WIDTH; i++)
			printf("%s %02x", i == WIDTH / 2 ? " " : "", line[i]);
		printf("  |");
		for (unsigned i = 0; i < WIDTH; i++)
			putchar(isprint(line[i]) ? line[i] : '.');
		printf("|\n");
	}
	printf("  %08x\n\n", HAKO_SECTOR_SIZE);
}

enum { MEASURE_MS = 500 };

static int disk_test(const struct disk_options *o, const char *text)
{
	struct hako_disk disk;
	struct hako_disk_test_options test = { .disk = &disk,
					       .write = o->write,
					       .ms = MEASURE_MS,
					       .step = on_step,
					       .first_sector = on_first_sector };
	struct hako_err err = { 0 };
	char *keep;
	int r = disk_opt_parse(text, &disk, &keep), status = EXIT_USAGE;

	if (r == 0 && disk.readonly && o->write) {
		say_usage("--write cannot be used with ro");
	} else if (r == 0) {
		tty_signals(NULL, NULL, NULL);
		r = hako_disk_test(&test, &err);
		if (r < 0)
			say("%s", err.msg);
		else
			printf("%s is all right%s\n", disk.path,
			       o->write ? "" : "; nothing was written (--write does)");
		status = r == 0 ? EXIT_OK : tty_signal() ? 128 + tty_signal() : EXIT_FAILED;
	}
	free(keep);
	return status;
}

/* ---- The command ---- */

struct verb {
	const char *name;
	int n_args; /* behind the name */
	const char *usage;
	bool force, preallocate, write; /* the options that it takes */
};

static const struct verb verbs[] = {
	{ .name = "create",
	  .n_args = 2,
	  .usage = "'hako disk create' takes a size and a file: hako disk create 64M disk.img",
	  .force = true,
	  .preallocate = true },
	{ .name = "info",
	  .n_args = 1,
	  .usage = "'hako disk info' takes one file: hako disk info disk.img" },
	{ .name = "test",
	  .n_args = 1,
	  .usage = "'hako disk test' takes one file: hako disk test disk.img",
	  .write = true },
};
enum { N_VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static int run_disk(const struct command *command, int argc, char **argv)
{
	struct disk_options o = { 0 };
	const struct verb *verb = verbs;
	const char *near, *extra;
	int status;

	if (command_parse(command, &o, &argc, argv, &status))
		return status;
	if (argc == 0) {
		say_usage("'hako disk' needs to know what to do: create, info or test");
		return EXIT_USAGE;
	}
	while (verb < verbs + N_VERBS && strcmp(argv[0], verb->name) != 0)
		verb++;
	if (verb == verbs + N_VERBS) {
		near = nearest(argv[0], &verbs[0].name, N_VERBS, sizeof(verbs[0]));
		if (near)
			say_usage("'hako disk' cannot '%s'; did you mean '%s'?", argv[0], near);
		else
			say_usage("'hako disk' cannot '%s', only create, info and test", argv[0]);
		return EXIT_USAGE;
	}
	extra = o.force && !verb->force               ? "--force is for 'hako disk create'"
		: o.preallocate && !verb->preallocate ? "--preallocate is for 'hako disk create'"
		: o.write && !verb->write             ? "--write is for 'hako disk test'"
						      : NULL;
	if (extra || argc != 1 + verb->n_args) {
		say_usage("%s", extra ? extra : verb->usage);
		return EXIT_USAGE;
	}
	if (strcmp(verb->name, "create") == 0)
		return disk_create(&o, argv[1], argv[2]);
	if (strcmp(verb->name, "info") == 0)
		return disk_info(argv[1]);
	return disk_test(&o, argv[1]);
}

const struct command command_disk = {
	.name = "disk",
	.summary = "make an empty disk image, tell what one holds, or test it",
	.usage = "hako disk create SIZE FILE [--force] [--preallocate]\n"
		 "       hako disk info FILE\n"
		 "       hako disk test FILE[,OPTION...] [--write]",
	.about = "Images are raw: the bytes of the disk, nothing else. SIZE is a number of bytes, "
		 "or\n"
		 "with K, M, G or T behind it of powers of 1024. A test drives the disk as a "
		 "guest's\n"
		 "driver does; OPTION is as for the --disk of 'hako run'.",
	.opts = disk_opts,
	.run = run_disk,
};

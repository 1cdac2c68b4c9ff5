/* SPDX-License-Identifier: MIT */
/*
 * hako disk: make and look at disk images.
 */
#include "hako/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "say.h"
#include "tty.h"

struct disk_options {
	bool force, preallocate;
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

struct progress {
	struct timespec start;
	bool shown;
};

enum { PROGRESS_AFTER_MS = 1000 };

static int on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;
	struct timespec now;
	long ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (now.tv_sec - p->start.tv_sec) * 1000 + (now.tv_nsec - p->start.tv_nsec) / 1000000;
	if (ms >= PROGRESS_AFTER_MS && isatty(STDERR_FILENO)) {
		char text[32];

		fprintf(stderr, "\r%3u %% of %s ", (unsigned)((double)done / (double)total * 100),
			human(total, text, sizeof(text)));
		p->shown = true;
	}
	return tty_signal();
}

static int disk_create(const struct disk_options *o, const char *size, const char *path)
{
	struct hako_disk_create_options create = { .path = path,
						   .overwrite = o->force,
						   .preallocate = o->preallocate,
						   .progress = on_progress };
	struct progress progress = { 0 };
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
	clock_gettime(CLOCK_MONOTONIC, &progress.start);
	create.arg = &progress;
	r = hako_disk_create(&create, &err);
	if (progress.shown)
		fprintf(stderr, "\r%*s\r", 40, "");
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

static int run_disk(const struct command *command, int argc, char **argv)
{
	static const char *const verbs[] = { "create", "info" };
	struct disk_options options = { 0 };
	const char *near;
	int status;

	if (command_parse(command, &options, &argc, argv, &status))
		return status;
	if (argc == 0) {
		say_usage("'hako disk' needs to know what to do: create or info");
		return EXIT_USAGE;
	}
	if (strcmp(argv[0], "create") == 0) {
		if (argc == 3)
			return disk_create(&options, argv[1], argv[2]);
		say_usage("'hako disk create' takes a size and a file: hako disk create 64M "
			  "disk.img");
		return EXIT_USAGE;
	}
	if (strcmp(argv[0], "info") == 0) {
		if (options.force || options.preallocate) {
			say_usage("--%s is for 'hako disk create'",
				  options.force ? "force" : "preallocate");
			return EXIT_USAGE;
		}
		if (argc == 2)
			return disk_info(argv[1]);
		say_usage("'hako disk info' takes one file: hako disk info disk.img");
		return EXIT_USAGE;
	}
	near = nearest(argv[0], verbs, sizeof(verbs) / sizeof(verbs[0]), sizeof(verbs[0]));
	if (near)
		say_usage("'hako disk' cannot '%s'; did you mean '%s'?", argv[0], near);
	else
		say_usage("'hako disk' cannot '%s', only create and info", argv[0]);
	return EXIT_USAGE;
}

const struct command command_disk = {
	.name = "disk",
	.summary = "make an empty disk image, or tell what one holds",
	.usage = "hako disk create SIZE FILE [--force] [--preallocate]\n"
		 "       hako disk info FILE",
	.about = "Images are raw: the bytes of the disk, nothing else. SIZE is a number of bytes, "
		 "or\n"
		 "with K, M, G or T behind it of powers of 1024.",
	.opts = disk_opts,
	.run = run_disk,
};

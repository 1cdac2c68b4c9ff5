/* SPDX-License-Identifier: MIT */
/*
 * --disk FILE[,OPTION...], from a table.
 */
#include "disk_opt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opt.h"
#include "say.h"

enum sub_kind {
	SUB_FLAG,   /* bool */
	SUB_TEXT,   /* const char * */
	SUB_CHOICE, /* an enum: the number of the word */
	SUB_NUMBER, /* uint32_t, 1 to `max`, in units of `unit` */
	SUB_SIZE,   /* uint64_t, bytes, not 0 */
	SUB_OFFER,  /* on or off; bool, which says that it is off */
	SUB_FORMAT, /* raw, and nothing else */
};

struct sub {
	const char *name;
	const char *shown; /* with its value, for the list of all */
	enum sub_kind kind;
	size_t off; /* in struct hako_disk */
	const char *const *words;
	uint32_t max, unit;
};

/* By enum hako_cache and so on. */
static const char *const cache_words[] = { "writeback", "writethrough", "none", "unsafe", NULL };
static const char *const aio_words[] = { "auto", "io_uring", "threads", NULL };
static const char *const transport_words[] = { "auto", "modern", "legacy", NULL };
static const char *const on_error_words[] = { "report", "stop", NULL };
/* What a machine offers unless told not to. */
static const char *const no_words[] = { "on", "off", NULL };

#define AT(field)     .off = offsetof(struct hako_disk, field)
#define CHOICE(field) .kind = SUB_CHOICE, AT(field), .words = field##_words

static const struct sub subs[] = {
	{ "ro", "ro", .kind = SUB_FLAG, AT(readonly) },
	{ "serial", "serial=TEXT", .kind = SUB_TEXT, AT(serial) },
	{ "format", "format=raw", .kind = SUB_FORMAT },
	{ "cache", "cache=MODE", CHOICE(cache) },
	{ "aio", "aio=WAY", CHOICE(aio) },
	{ "iops", "iops=N", .kind = SUB_NUMBER, AT(iops), .max = 1000000000, .unit = 1 },
	{ "bps", "bps=SIZE", .kind = SUB_SIZE, AT(bps) },
	{ "root", "root", .kind = SUB_FLAG, AT(root) },
	{ "partuuid", "partuuid=UUID", .kind = SUB_TEXT, AT(partuuid) },
	{ "burst", "burst=SECONDS", .kind = SUB_NUMBER, AT(burst_ms), .max = 3600, .unit = 1000 },
	{ "on-error", "on-error=WAY", CHOICE(on_error) },
	{ "record", "record=FILE", .kind = SUB_TEXT, AT(record) },
	{ "transport", "transport=VERSION", CHOICE(transport) },
	{ "queues", "queues=N", .kind = SUB_NUMBER, AT(queues), .max = HAKO_QUEUES_MAX, .unit = 1 },
	{ "block-size", "block-size=BYTES", .kind = SUB_NUMBER, AT(block_size),
	  .max = HAKO_BLOCK_SIZE_MAX, .unit = 1 },
	{ "packed", "packed=on|off", .kind = SUB_OFFER, AT(no_packed), .words = no_words },
	{ "event-idx", "event-idx=on|off", .kind = SUB_OFFER, AT(no_event_idx), .words = no_words },
	{ "indirect", "indirect=on|off", .kind = SUB_OFFER, AT(no_indirect), .words = no_words },
};
enum { N_SUBS = sizeof(subs) / sizeof(subs[0]) };

static int unknown(const char *name)
{
	static const char comma[] = "a comma in a file name is written ',,'";
	const char *near = nearest(name, &subs[0].name, N_SUBS, sizeof(subs[0]));
	char all[320];

	if (strcmp(name, "readonly") == 0 || strcmp(name, "read-only") == 0)
		near = "ro";
	if (near)
		return say_usage("--disk has no '%s'; did you mean '%s'? (%s)", name, near, comma);
	return say_usage(
		"--disk has no '%s': after the file come %s (%s)", name,
		word_list(all, sizeof(all), &subs[0].shown, N_SUBS, sizeof(subs[0]), " and "),
		comma);
}

/* The number of `value` among the words, or -1 after telling why not. */
static int choose(const struct sub *sub, const char *value)
{
	const char *near;
	char all[64];
	int n = 0;

	for (; sub->words[n]; n++) {
		if (strcmp(value, sub->words[n]) == 0)
			return n;
	}
	near = nearest(value, sub->words, (size_t)n, sizeof(sub->words[0]));
	if (near)
		return say_usage("--disk: %s cannot be '%s'; did you mean '%s'?", sub->name, value,
				 near);
	return say_usage(
		"--disk: %s can be %s, not '%s'", sub->name,
		word_list(all, sizeof(all), sub->words, (size_t)n, sizeof(sub->words[0]), " or "),
		value);
}

static int set_number(const struct sub *sub, void *field, const char *value)
{
	unsigned long v = 0;
	char *end = NULL;
	uint32_t number;

	errno = 0;
	if (*value >= '0' && *value <= '9')
		v = strtoul(value, &end, 10);
	if (!end || *end || errno || v < 1 || v > sub->max)
		return say_usage("--disk: %s is a whole number from 1 to %" PRIu32 ", not '%s'",
				 sub->name, sub->max, value);
	number = (uint32_t)v * sub->unit;
	memcpy(field, &number, sizeof(number));
	return 0;
}

static int set_size(const struct sub *sub, void *field, const char *value)
{
	const char *why = "it needs a size, as in bps=50M";
	uint64_t size = 0;

	if (*value && parse_size(value, &size, &why) == 0) {
		why = "nothing could be read or written";
		memcpy(field, &size, sizeof(size));
	}
	return size ? 0 : say_usage("--disk: %s cannot be '%s': %s", sub->name, value, why);
}

_Static_assert(sizeof(enum hako_cache) == sizeof(int), "a choice is an int");

int disk_opt_set(struct hako_disk *disk, const char *name, const char *value)
{
	const char *given = value ? value : "";
	const struct sub *sub = subs;
	void *field;
	int choice;

	while (sub < subs + N_SUBS && strcmp(name, sub->name) != 0)
		sub++;
	if (sub == subs + N_SUBS)
		return unknown(name);
	field = (char *)disk + sub->off;
	switch (sub->kind) {
	case SUB_FLAG:
		if (value)
			return say_usage("--disk: %s takes no value, such as '%s'", name, value);
		*(bool *)field = true;
		return 0;
	case SUB_TEXT:
		if (!*given)
			return say_usage("--disk: %s needs a value, as in %s=mydisk", name, name);
		*(const char **)field = value;
		return 0;
	case SUB_CHOICE:
		choice = choose(sub, given);
		if (choice >= 0)
			memcpy(field, &choice, sizeof(choice));
		return choice < 0 ? -1 : 0;
	case SUB_OFFER:
		choice = choose(sub, given);
		*(bool *)field = choice == 1;
		return choice < 0 ? -1 : 0;
	case SUB_NUMBER: return set_number(sub, field, given);
	case SUB_SIZE: return set_size(sub, field, given);
	case SUB_FORMAT:
		if (strcmp(given, "raw") != 0)
			return say_usage("--disk: format can only be raw, not '%s'; convert the "
					 "image with 'qemu-img convert -O raw'",
					 given);
		return 0;
	}
	return -1;
}

int disk_opt_set_bool(struct hako_disk *disk, const char *name, bool value)
{
	const struct sub *sub = subs;

	while (sub < subs + N_SUBS && strcmp(name, sub->name) != 0)
		sub++;
	if (sub == subs + N_SUBS)
		return unknown(name);
	if (sub->kind == SUB_OFFER)
		return disk_opt_set(disk, name, value ? "on" : "off");
	if (sub->kind != SUB_FLAG)
		return say_usage("--disk: %s is not true or false, as in %s", name, sub->shown);
	return value ? disk_opt_set(disk, name, NULL) : 0;
}

/*
 * Cut the next part off *rest, in place: up to a single comma. Two commas stand for one. NULL at
 * the end.
 */
static char *next_part(char **rest)
{
	char *part = *rest, *from = part, *to = part;

	if (!part)
		return NULL;
	for (; *from; from++) {
		if (*from == ',' && from[1] != ',')
			break;
		if (*from == ',')
			from++;
		*to++ = *from;
	}
	*rest = *from ? from + 1 : NULL;
	*to = 0;
	return part;
}

int disk_opt_parse(const char *text, struct hako_disk *disk, char **keep)
{
	char *rest = *keep = strdup(text), *part, *value;

	*disk = (struct hako_disk){ 0 };
	if (!rest)
		return say_usage("out of memory");
	disk->path = next_part(&rest);
	if (!*disk->path)
		return say_usage("--disk '%s' names no file", text);
	while ((part = next_part(&rest))) {
		value = strchr(part, '=');
		if (value)
			*value++ = 0;
		if (disk_opt_set(disk, part, value) < 0)
			return -1;
	}
	return 0;
}

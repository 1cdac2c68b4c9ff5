/* SPDX-License-Identifier: MIT */
/*
 * A VM from a JSON file: a table of keys for each kind of object, walked along with the file.
 */
#include "config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_opt.h"
#include "say.h"

enum { FILE_MAX = 1 << 20, NOTES_MAX = 32, WHERE_MAX = 512 };

struct config_file {
	json_t *root;
	char **texts; /* numbers, as text */
	size_t n_texts;
	char *notes[NOTES_MAX];
	size_t n_notes;
};

/* ToyVMM's list of features, one of it. */
struct feature {
	const char *name;
	bool enable;
};

/* A token bucket: `size` tokens in `refill_time` ms. */
struct bucket {
	uint64_t size, refill_ms;
};

struct loading {
	struct config_file *file;
	const struct config_file_target *target;
	char where[WHERE_MAX]; /* "vm.json: drives[1].path_on_host" */
	size_t root;           /* the length of "vm.json: " in it */

	/* The object that is under way. */
	struct hako_disk *disk;
	const char *partuuid;
	struct bucket bandwidth, ops, *bucket; /* that one of them */
	struct feature feature;

	const json_t *ids[HAKO_DISKS_MAX]; /* of drives; NULL: it has none */
};

enum key_kind {
	KEY_TEXT,
	KEY_BOOL,
	KEY_NUMBER, /* whole, 0 or more */
	KEY_OBJECT, /* keys: its own; NULL: set() walks through it */
	KEY_LIST,   /* of objects, with keys each */
	KEY_IGNORED,
	KEY_REFUSED, /* but for an empty list, which asks for nothing */
};

/* A value of the kind that its key says. */
union value {
	const char *text;
	bool yes;
	uint64_t number;
	json_t *object;
};

struct key {
	const char *name;
	enum key_kind kind;
	/* Of an object, and of each in a list: before its keys are set, the keys. Or NULL. */
	int (*begin)(struct loading *l);
	const struct key *keys;
	/* The value; of an object, when its keys are set; or NULL. 0, or -1 after telling. */
	int (*set)(struct loading *l, union value v);
	const char *why; /* ignored, refused */
};

/* ---- Words about it ---- */

/* What cannot be kept for want of memory is not said. */
static void note(struct loading *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct loading *l, const char *fmt, ...)
{
	struct config_file *f = l->file;
	char *text, *line;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	if (f->n_notes < NOTES_MAX && asprintf(&line, "%s is ignored: %s", l->where, text) >= 0)
		f->notes[f->n_notes++] = line;
	free(text);
}

static const char *kind_of(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT: return "an object";
	case JSON_ARRAY: return "a list";
	case JSON_STRING: return "a string";
	case JSON_INTEGER: return "a number";
	case JSON_REAL: return "a number with a fraction";
	case JSON_TRUE: return "true";
	case JSON_FALSE: return "false";
	case JSON_NULL: break;
	}
	return "null";
}

static int wrong_kind(const char *wanted, const json_t *value)
{
	return say_usage("%s is wanted here, and not %s", wanted, kind_of(value));
}

/* ---- Walking ---- */

/* Go to a key of the object at where[0..len). */
static void where_key(struct loading *l, size_t len, const char *name)
{
	snprintf(l->where + len, sizeof(l->where) - len, "%s%s", len > l->root ? "." : "", name);
}

static int walk(struct loading *l, const struct key *keys, json_t *object);

static int walk_list(struct loading *l, const struct key *key, json_t *list)
{
	size_t len = strlen(l->where);

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);
		int res = 0;

		snprintf(l->where + len, sizeof(l->where) - len, "[%zu]", i);
		if (!json_is_object(item))
			return wrong_kind("an object", item);
		if (key->begin)
			res = key->begin(l);
		if (!res)
			res = walk(l, key->keys, item);
		if (!res && key->set)
			res = key->set(l, (union value){ .object = item });
		if (res)
			return res;
		l->where[len] = 0;
	}
	return 0;
}

static int set_key(struct loading *l, const struct key *key, json_t *value)
{
	int res = 0;

	switch (key->kind) {
	case KEY_TEXT:
		if (!json_is_string(value))
			return wrong_kind("a string", value);
		return key->set(l, (union value){ .text = json_string_value(value) });
	case KEY_BOOL:
		if (!json_is_boolean(value))
			return wrong_kind("true or false", value);
		return key->set(l, (union value){ .yes = json_is_true(value) });
	case KEY_NUMBER:
		if (!json_is_integer(value))
			return wrong_kind("a whole number", value);
		if (json_integer_value(value) < 0)
			return say_usage("it is 0 or more, and not %" JSON_INTEGER_FORMAT,
					 json_integer_value(value));
		return key->set(l, (union value){ .number = (uint64_t)json_integer_value(value) });
	case KEY_OBJECT:
		if (!json_is_object(value))
			return wrong_kind("an object", value);
		if (key->begin)
			res = key->begin(l);
		if (!res && key->keys)
			res = walk(l, key->keys, value);
		return res || !key->set ? res : key->set(l, (union value){ .object = value });
	case KEY_LIST:
		if (!json_is_array(value))
			return wrong_kind("a list", value);
		return walk_list(l, key, value);
	case KEY_IGNORED: note(l, "%s", key->why); return 0;
	case KEY_REFUSED:
		if (json_is_array(value) && !json_array_size(value))
			return 0;
		return say_usage("%s", key->why);
	}
	return -1;
}

static const struct key *find_key(const struct key *keys, const char *name)
{
	const char *near;
	size_t n = 0;

	for (; keys[n].name; n++)
		if (strcmp(keys[n].name, name) == 0)
			return &keys[n];
	near = nearest(name, &keys[0].name, n, sizeof(keys[0]));
	if (near)
		say_usage("there is no such key; did you mean '%s'?", near);
	else
		say_usage("there is no such key");
	return NULL;
}

static int walk(struct loading *l, const struct key *keys, json_t *object)
{
	size_t len = strlen(l->where);
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		const struct key *key;

		where_key(l, len, name);
		key = find_key(keys, name);
		if (!key)
			return -1;
		if (!json_is_null(value) && set_key(l, key, value) < 0)
			return -1;
		l->where[len] = 0;
	}
	return 0;
}

/* ---- boot-source ---- */

static int set_path(const char **path, const char *text)
{
	if (!*text)
		return say_usage("the name of a file is wanted here, and it is empty");
	*path = text;
	return 0;
}

static int set_kernel(struct loading *l, union value v)
{
	if (l->target->config->kernel)
		return say_usage("the kernel is named twice: kernel_image_path is Firecracker's "
				 "word for it, kernel_path ToyVMM's");
	return set_path(&l->target->config->kernel, v.text);
}

static int set_initrd(struct loading *l, union value v)
{
	return set_path(&l->target->config->initrd, v.text);
}

static int set_boot_args(struct loading *l, union value v)
{
	l->target->config->cmdline = v.text;
	return 0;
}

static const struct key boot_source_keys[] = {
	{ "kernel_image_path", KEY_TEXT, .set = set_kernel },
	{ "kernel_path", KEY_TEXT, .set = set_kernel },
	{ "initrd_path", KEY_TEXT, .set = set_initrd },
	{ "boot_args", KEY_TEXT, .set = set_boot_args },
	{ .name = NULL },
};

/* ---- machine-config ---- */

static int set_vcpu_count(struct loading *l, union value v)
{
	if (v.number < 1 || v.number > HAKO_CPUS_MAX)
		return say_usage("a machine cannot have %" PRIu64 " CPUs; it can have 1 to %d",
				 v.number, HAKO_CPUS_MAX);
	l->target->config->cpus = (unsigned)v.number;
	return 0;
}

static int set_mem_size(struct loading *l, union value v)
{
	if (v.number > HAKO_MEM_MAX >> 20)
		return say_usage("a machine cannot have %" PRIu64
				 " MiB of memory; it can have up to %llu",
				 v.number, HAKO_MEM_MAX >> 20);
	l->target->config->mem = v.number << 20;
	return 0;
}

static int set_smt(struct loading *l, union value v)
{
	if (v.yes)
		note(l, "each CPU is a core of its own");
	return 0;
}

static int set_track_dirty_pages(struct loading *l, union value v)
{
	if (v.yes)
		note(l, "there are no snapshots that would need it");
	return 0;
}

static int set_cpu_template(struct loading *l, union value v)
{
	(void)l;
	if (strcmp(v.text, "None") == 0)
		return 0;
	return say_usage("CPU templates such as '%s' are unknown here: a guest sees what its "
			 "engine has; take the key out",
			 v.text);
}

static int set_huge_pages(struct loading *l, union value v)
{
	if (strcmp(v.text, "2M") == 0 || strcmp(v.text, "Transparent") == 0)
		note(l, "memory is the host's to back, as its settings for transparent huge pages "
			"say");
	else if (strcmp(v.text, "None") != 0)
		return say_usage("it is None, Transparent or 2M, and not '%s'", v.text);
	return 0;
}

static const struct key machine_config_keys[] = {
	{ "vcpu_count", KEY_NUMBER, .set = set_vcpu_count },
	{ "mem_size_mib", KEY_NUMBER, .set = set_mem_size },
	{ "smt", KEY_BOOL, .set = set_smt },
	{ "ht_enabled", KEY_BOOL, .set = set_smt }, /* Firecracker before 1.0 */
	{ "cpu_template", KEY_TEXT, .set = set_cpu_template },
	{ "track_dirty_pages", KEY_BOOL, .set = set_track_dirty_pages },
	{ "track_dirty_page", KEY_BOOL, .set = set_track_dirty_pages }, /* ToyVMM */
	{ "huge_pages", KEY_TEXT, .set = set_huge_pages },
	{ .name = NULL },
};

/* ---- Rate limiters ---- */

static int begin_bandwidth(struct loading *l)
{
	l->bucket = &l->bandwidth;
	return 0;
}

static int begin_ops(struct loading *l)
{
	l->bucket = &l->ops;
	return 0;
}

static int set_bucket_size(struct loading *l, union value v)
{
	l->bucket->size = v.number;
	return 0;
}

static int set_bucket_refill(struct loading *l, union value v)
{
	l->bucket->refill_ms = v.number;
	return 0;
}

static int set_once(struct loading *l, union value v)
{
	if (v.number)
		note(l, "there is no credit that is given once, only one that fills again");
	return 0;
}

static const struct key bucket_keys[] = {
	{ "size", KEY_NUMBER, .set = set_bucket_size },
	{ "refill_time", KEY_NUMBER, .set = set_bucket_refill },
	{ "one_time_burst", KEY_NUMBER, .set = set_once },
	{ .name = NULL },
};

static const struct key rate_limiter_keys[] = {
	{ "bandwidth", KEY_OBJECT, .begin = begin_bandwidth, .keys = bucket_keys },
	{ "ops", KEY_OBJECT, .begin = begin_ops, .keys = bucket_keys },
	{ .name = NULL },
};

static int rate_limiter_begin(struct loading *l)
{
	l->bandwidth = l->ops = (struct bucket){ 0 };
	return 0;
}

/* Tokens in a second; 0: no limit, as a bucket without a size or a time is none. */
static int per_second(const struct bucket *b, const char *what, uint64_t max, uint64_t *rate)
{
	unsigned __int128 exact;

	*rate = 0;
	if (!b->size || !b->refill_ms)
		return 0;
	exact = (unsigned __int128)b->size * 1000 / b->refill_ms;
	*rate = exact > max ? max : (uint64_t)exact;
	if (*rate)
		return 0;
	return say_usage("%s: %" PRIu64 " in %" PRIu64 " ms is less than one a second, the lowest "
			 "limit that hako has",
			 what, b->size, b->refill_ms);
}

static int set_rate_limiter(struct loading *l, union value v)
{
	const struct bucket *a = &l->bandwidth, *b = &l->ops;
	uint64_t bps, iops, burst;

	(void)v;
	if (per_second(a, "bandwidth", UINT64_MAX, &bps) < 0 ||
	    per_second(b, "ops", UINT32_MAX, &iops) < 0)
		return -1;
	l->disk->bps = bps;
	l->disk->iops = (uint32_t)iops;
	/* hako has one burst for both; the shorter lets no more through than either allows. */
	burst = !bps ? b->refill_ms : !iops ? a->refill_ms : 0;
	if (bps && iops)
		burst = a->refill_ms < b->refill_ms ? a->refill_ms : b->refill_ms;
	if (bps && iops && a->refill_ms != b->refill_ms)
		note(l, "the longer refill_time, for there is one for both: %" PRIu64 " ms", burst);
	l->disk->burst_ms = burst > UINT32_MAX ? UINT32_MAX : (uint32_t)burst;
	return 0;
}

/* ---- drives ---- */

static int set_drive_id(struct loading *l, union value v)
{
	(void)l;
	return *v.text ? 0 : say_usage("a name is wanted here, and it is empty");
}

static int set_drive_path(struct loading *l, union value v)
{
	return set_path(&l->disk->path, v.text);
}

static int set_is_root(struct loading *l, union value v)
{
	const struct hako_vm_config *c = l->target->config;

	for (size_t i = 0; v.yes && i < c->n_disks; i++)
		if (c->disks[i].root)
			return say_usage("only one drive can be the root, and drives[%zu] is", i);
	l->disk->root = v.yes;
	return 0;
}

static int set_is_read_only(struct loading *l, union value v)
{
	l->disk->readonly = v.yes;
	return 0;
}

static int set_partuuid(struct loading *l, union value v)
{
	l->partuuid = v.text;
	return 0;
}

static int set_cache_type(struct loading *l, union value v)
{
	if (strcmp(v.text, "Unsafe") == 0)
		l->disk->cache = HAKO_CACHE_UNSAFE;
	else if (strcmp(v.text, "Writeback") == 0)
		l->disk->cache = HAKO_CACHE_WRITEBACK;
	else
		return say_usage("it is Unsafe or Writeback, and not '%s'", v.text);
	return 0;
}

static int set_io_engine(struct loading *l, union value v)
{
	if (strcmp(v.text, "Sync") == 0)
		l->disk->aio = HAKO_AIO_THREADS;
	else if (strcmp(v.text, "Async") == 0)
		l->disk->aio = HAKO_AIO_IO_URING;
	else
		return say_usage("it is Sync or Async, and not '%s'", v.text);
	return 0;
}

/* ---- hako ---- */

/* A scalar as the text of a command line; NULL after telling why not. */
static const char *as_text(struct loading *l, const json_t *value)
{
	struct config_file *f = l->file;
	char **texts, *text;

	if (json_is_string(value))
		return json_string_value(value);
	if (!json_is_integer(value)) {
		wrong_kind("a string or a whole number", value);
		return NULL;
	}
	texts = realloc(f->texts, (f->n_texts + 1) * sizeof(*texts));
	if (texts)
		f->texts = texts;
	if (!texts || asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0) {
		say_usage("out of memory");
		return NULL;
	}
	return f->texts[f->n_texts++] = text;
}

/* Options that have a key of their own. */
struct elsewhere {
	const char *name, *key;
};

static int is_elsewhere(const struct elsewhere *list, const char *name)
{
	for (; list->name; list++)
		if (strcmp(name, list->name) == 0)
			return say_usage("the key for it is %s", list->key);
	return 0;
}

static const struct elsewhere of_command[] = {
	{ "kernel", "boot-source.kernel_image_path" },
	{ "initrd", "boot-source.initrd_path" },
	{ "cmdline", "boot-source.boot_args" },
	{ "disk", "drives" },
	{ "cpus", "machine-config.vcpu_count" },
	{ "mem", "machine-config.mem_size_mib" },
	{ NULL, NULL },
};

static const struct elsewhere of_disk[] = {
	{ "ro", "is_read_only" },
	{ "root", "is_root_device" },
	{ "partuuid", "partuuid, of the drive" },
	{ NULL, NULL },
};

static int set_option(struct loading *l, const char *name, const json_t *value)
{
	const struct opt *opts = l->target->opts, *o = opt_find(opts, name);
	const char *near, *text = NULL;

	if (is_elsewhere(of_command, name) < 0)
		return -1;
	if (!o) {
		near = nearest(name, &opts->name, opt_count(opts), sizeof(*opts));
		if (near)
			return say_usage("'hako run' has no option --%s; did you mean '%s'?", name,
					 near);
		return say_usage("'hako run' has no option --%s", name);
	}
	if (o->first)
		return say_usage("--%s is for the command line", name);
	if (json_is_boolean(value) && (!o->arg || o->optional))
		return json_is_true(value) ? opt_set(o, l->target->opts_target, NULL) : 0;
	if (!o->arg)
		return wrong_kind("true or false", value);
	text = as_text(l, value);
	return text ? opt_set(o, l->target->opts_target, text) : -1;
}

static int set_drive_option(struct loading *l, const char *name, const json_t *value)
{
	const char *text;

	if (is_elsewhere(of_disk, name) < 0)
		return -1;
	if (json_is_boolean(value))
		return disk_opt_set_bool(l->disk, name, json_is_true(value));
	text = as_text(l, value);
	return text ? disk_opt_set(l->disk, name, text) : -1;
}

/* Each key of "hako" is an option, for set(). */
static int walk_options(struct loading *l, json_t *object,
			int (*set)(struct loading *l, const char *name, const json_t *value))
{
	size_t len = strlen(l->where);
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		where_key(l, len, name);
		if (!json_is_null(value) && set(l, name, value) < 0)
			return -1;
		l->where[len] = 0;
	}
	return 0;
}

static int set_hako(struct loading *l, union value v)
{
	return walk_options(l, v.object, set_option);
}

static int set_drive_hako(struct loading *l, union value v)
{
	return walk_options(l, v.object, set_drive_option);
}

/* ---- A drive ---- */

static const struct key drive_keys[] = {
	{ "drive_id", KEY_TEXT, .set = set_drive_id },
	{ "path_on_host", KEY_TEXT, .set = set_drive_path },
	{ "is_root_device", KEY_BOOL, .set = set_is_root },
	{ "is_read_only", KEY_BOOL, .set = set_is_read_only },
	{ "partuuid", KEY_TEXT, .set = set_partuuid },
	{ "cache_type", KEY_TEXT, .set = set_cache_type },
	{ "io_engine", KEY_TEXT, .set = set_io_engine },
	{ "rate_limiter", KEY_OBJECT, .keys = rate_limiter_keys, .begin = rate_limiter_begin,
	  .set = set_rate_limiter },
	{ "socket", KEY_REFUSED,
	  .why = "hako cannot use disks that another process serves; name an image by "
		 "path_on_host" },
	{ "hako", KEY_OBJECT, .set = set_drive_hako },
	{ .name = NULL },
};

static int drive_begin(struct loading *l)
{
	const struct config_file_target *t = l->target;

	if (t->config->n_disks == HAKO_DISKS_MAX)
		return say_usage("this is one drive too many; a machine can have %d",
				 HAKO_DISKS_MAX);
	l->disk = &t->disks[t->config->n_disks];
	*l->disk = (struct hako_disk){ 0 };
	l->partuuid = NULL;
	return 0;
}

static int drive_end(struct loading *l, union value v)
{
	struct hako_vm_config *c = l->target->config;
	const json_t *id = json_object_get(v.object, "drive_id");

	if (!l->disk->path)
		return say_usage("path_on_host is missing, the name of the image");
	for (size_t i = 0; json_is_string(id) && i < c->n_disks; i++)
		if (l->ids[i] && json_equal(id, l->ids[i]))
			return say_usage("drives[%zu] has the drive_id '%s' too", i,
					 json_string_value(id));
	l->ids[c->n_disks] = json_is_string(id) ? id : NULL;
	if (l->disk->root && l->partuuid) /* of others it means nothing */
		l->disk->partuuid = l->partuuid;
	c->n_disks++;
	return 0;
}

/* ---- features, ToyVMM's ---- */

static int set_feature_name(struct loading *l, union value v)
{
	l->feature.name = v.text;
	return 0;
}

static int set_feature_enable(struct loading *l, union value v)
{
	l->feature.enable = v.yes;
	return 0;
}

static const struct key feature_keys[] = {
	{ "feature", KEY_TEXT, .set = set_feature_name },
	{ "enable", KEY_BOOL, .set = set_feature_enable },
	{ .name = NULL },
};

static int feature_begin(struct loading *l)
{
	l->feature = (struct feature){ 0 };
	return 0;
}

static int feature_end(struct loading *l, union value v)
{
	(void)v;
	if (!l->feature.name)
		return say_usage("feature is missing, the name of the feature");
	if (strcmp(l->feature.name, "acpi") != 0)
		return say_usage("there is no feature '%s', only acpi", l->feature.name);
	note(l, "a machine describes itself in each way that its kernels know; 'acpi=off' among "
		"the boot_args makes a kernel do without");
	return 0;
}

/* ---- The file ---- */

#define NO_NETWORK "hako has no network devices yet; take it out"

static const struct key top_keys[] = {
	{ "boot-source", KEY_OBJECT, .keys = boot_source_keys },
	{ "drives", KEY_LIST, .begin = drive_begin, .keys = drive_keys, .set = drive_end },
	{ "machine-config", KEY_OBJECT, .keys = machine_config_keys },
	{ "features", KEY_LIST, .begin = feature_begin, .keys = feature_keys, .set = feature_end },
	{ "hako", KEY_OBJECT, .set = set_hako },
	{ "network-interfaces", KEY_REFUSED, .why = NO_NETWORK },
	{ "mmds-config", KEY_REFUSED, .why = "it is about the network, and " NO_NETWORK },
	{ "vsock", KEY_REFUSED, .why = "hako has no vsock device; take it out" },
	{ "pmem", KEY_REFUSED, .why = "hako has no persistent memory; make it a drive" },
	{ "memory-hotplug", KEY_REFUSED,
	  .why = "hako gives all memory at the start: take it out, and add to mem_size_mib" },
	{ "cpu-config", KEY_REFUSED,
	  .why = "CPU templates are unknown here: a guest sees what its engine has; take it out" },
	{ "serial", KEY_REFUSED,
	  .why = "the guest's serial port is the standard input and output: take it out, and "
		 "redirect these" },
	{ "balloon", KEY_IGNORED,
	  .why = "there is no balloon, and the guest keeps all its memory" },
	{ "entropy", KEY_IGNORED,
	  .why = "there is no virtio-rng; the guest gets a seed when it boots" },
	{ "logger", KEY_IGNORED,
	  .why = "messages go to the standard error; --quiet and --verbose choose which" },
	{ "metrics", KEY_IGNORED, .why = "figures are told at the end, with --timing=json" },
	{ .name = NULL },
};

int config_file_parse(struct config_file **file, const char *name, const char *text, size_t size,
		      const struct config_file_target *target)
{
	static const char mark[] = "\xef\xbb\xbf";
	struct loading l = { .target = target };
	json_error_t err;
	int res;

	*file = l.file = calloc(1, sizeof(*l.file));
	if (!l.file)
		return say_usage("out of memory");
	/* The mark of UTF-8 that some editors begin a file with (RFC 8259, 8.1). */
	if (size >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0)
		text += strlen(mark), size -= strlen(mark);
	l.file->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &err);
	if (!l.file->root)
		return say_usage("%s, line %d, column %d: %s", name, err.line, err.column,
				 err.text);
	if (!json_is_object(l.file->root))
		return say_usage("%s: an object is wanted, {...}, and not %s", name,
				 kind_of(l.file->root));
	/* Half of it is enough for the name: the rest is for the place in it. */
	snprintf(l.where, sizeof(l.where), "%.*s: ", WHERE_MAX / 2, name);
	l.root = strlen(l.where);
	say_where(l.where);
	res = walk(&l, top_keys, l.file->root);
	say_where(NULL);
	return res;
}

/* The bytes of a file, on the heap; NULL after telling why not. */
static char *read_all(const char *path, size_t *size)
{
	char *text = NULL;
	struct stat st;
	ssize_t n = -1;
	/* Not to wait for whoever may write to a FIFO. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) < 0) {
		say_usage("the configuration '%s' cannot be opened: %s; check the path", path,
			  strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		say_usage("the configuration '%s' is %s, and not a file", path,
			  S_ISDIR(st.st_mode)    ? "a directory"
			  : S_ISFIFO(st.st_mode) ? "a FIFO"
						 : "a device");
	} else if (st.st_size > FILE_MAX) {
		say_usage("'%s' is no configuration: it has %lld bytes, and more than %d are too "
			  "many",
			  path, (long long)st.st_size, FILE_MAX);
	} else if (!(text = malloc(FILE_MAX))) {
		say_usage("out of memory");
	} else {
		for (*size = 0; *size < FILE_MAX; *size += (size_t)n) {
			n = read(fd, text + *size, FILE_MAX - *size);
			if (n <= 0)
				break;
		}
		if (n < 0) {
			say_usage("the configuration '%s' cannot be read: %s", path,
				  strerror(errno));
			free(text);
			text = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	return text;
}

int config_file_load(struct config_file **file, const char *path,
		     const struct config_file_target *target)
{
	size_t size;
	char *text = read_all(path, &size);
	int res;

	*file = NULL;
	if (!text)
		return -1;
	res = config_file_parse(file, path, text, size, target);
	free(text);
	return res;
}

void config_file_say_notes(const struct config_file *file)
{
	for (size_t i = 0; i < file->n_notes; i++)
		say("%s", file->notes[i]);
}

void config_file_free(struct config_file *file)
{
	if (!file)
		return;
	for (size_t i = 0; i < file->n_texts; i++)
		free(file->texts[i]);
	for (size_t i = 0; i < file->n_notes; i++)
		free(file->notes[i]);
	free(file->texts);
	json_decref(file->root);
	free(file);
}

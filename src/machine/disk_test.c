/* SPDX-License-Identifier: MIT */
/*
 * hako_disk_test(): a disk behind a virtio slot, and a driver for it, in this process. Everything
 * that the disk is asked goes through its registers and its queue; what it answers is compared with
 * what its file says to pread().
 *
 *	the caller's thread: struct mmio_driver --bus--> virtio_mmio --doorbell--> I/O thread:
 *	virtio_blk, blk ... interrupt --> notifier --> the caller's thread
 *
 * Writing. What is changed is kept in a file first (disk_keep.h), written with a pattern, read
 * back, and put back. Speed is measured by writing what has been read from the same place, which
 * changes nothing at any moment.
 */
#include "hako/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/log.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "hako/vm.h"
#include "host/file.h"
#include "host/loop.h"
#include "host/thread.h"
#include "machine/disk_dev.h"
#include "machine/disk_keep.h"
#include "machine/public.h"
#include "mem/gmem.h"
#include "virtio/blk_wire.h"
#include "virtio/mmio.h"
#include "virtio/mmio_driver.h"
#include "virtio/virtio.h"

/* Any will do. */
#define RAM  0x40000000ULL
#define SLOT 0x0a000000ULL

enum { DEPTH = 32, SLOT_DATA = 128 * 1024 }; /* requests at once, and the data of each */
enum { RAM_SIZE = 8 << 20 };

struct tester {
	const struct hako_disk_test_options *o;
	const char *path;
	struct err *err;
	struct log log;
	char said[256]; /* what the device logged last; read while it is quiet */

	struct gmem *mem;
	struct bus *bus;
	struct loop *loop;
	pthread_t thread;
	bool has_thread;
	struct disk_dev disk;
	struct virtio_mmio *mmio;
	struct mmio_driver driver;
	bool has_driver;

	int fd;                        /* the file, opened once more */
	uint64_t file_size;            /* bytes */
	uint64_t bytes;                /* what the device says that it has */
	uint32_t block;                /* bytes */
	gpa_t header, status, data;    /* [DEPTH] each */
	int slot_of[MMIO_DRIVER_SIZE]; /* by head */

	struct disk_keep keep;
};

/* ---- What is told ---- */

/* A check was passed. -ECANCELED when the caller has had enough. */
static int passed(struct tester *t, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int passed(struct tester *t, const char *what, const char *fmt, ...)
{
	char found[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(found, sizeof(found), fmt, ap);
	va_end(ap);
	if (t->o->step && t->o->step(t->o->arg, what, found))
		return err_set(t->err, -ECANCELED, "given up: the test of '%s' is not complete",
			       t->path);
	return 0;
}

static int not_passed(struct tester *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int not_passed(struct tester *t, const char *fmt, ...)
{
	char why[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return err_set(t->err, -EIO, "the disk '%s' is not right: %s%s%s", t->path, why,
		       t->said[0] ? "; " : "", t->said);
}

static void device_says(void *arg, enum log_level level, const char *who, const char *text)
{
	struct tester *t = arg;

	(void)level;
	snprintf(t->said, sizeof(t->said), "%s: %s", who, text);
}

/* ---- Requests ---- */

struct test_request {
	uint32_t type;
	uint64_t sector;
	uint32_t len;    /* bytes of data */
	unsigned pieces; /* that the data is cut into */
};

/* The data of slot 0. */
static uint8_t *slot_data(const struct tester *t)
{
	return mmio_driver_ptr(&t->driver, t->data, SLOT_DATA);
}

/* Add a request in slot i, whose data is there. */
static void add(struct tester *t, unsigned i, const struct test_request *r)
{
	const struct req_header h = { .type = le32(r->type), .sector = le64(r->sector) };
	gpa_t data = t->data + (uint64_t)i * SLOT_DATA;
	struct mmio_buf buf[18] = { { t->header + i * sizeof(h), sizeof(h) } };
	unsigned n = 1, n_out;
	int head;

	*(uint8_t *)mmio_driver_ptr(&t->driver, t->status + i, 1) = 0xff;
	memcpy(mmio_driver_ptr(&t->driver, buf[0].gpa, sizeof(h)), &h, sizeof(h));
	for (uint32_t at = 0; at < r->len;) {
		uint32_t part = n < r->pieces ? r->len / r->pieces : r->len - at;

		buf[n++] = (struct mmio_buf){ data + at, part };
		at += part;
	}
	n_out = r->type == VIRTIO_BLK_T_OUT ? n : 1;
	buf[n++] = (struct mmio_buf){ t->status + i, 1 };
	head = mmio_driver_add(&t->driver, buf, n_out, n - n_out);
	t->slot_of[head] = (int)i; /* there is room: see setup() */
}

/* Wait for one: its slot, with *status and *len; or a negative errno, told. */
static int wait_one(struct tester *t, uint8_t *status, uint32_t *len)
{
	int head = mmio_driver_wait(&t->driver, len), slot;

	*status = 0xff;
	if (head < 0)
		return head == -ETIMEDOUT
			       ? not_passed(t, "it does not answer")
			       : not_passed(t, "its queue is broken (%s)", strerror(-head));
	slot = t->slot_of[head];
	*status = *(uint8_t *)mmio_driver_ptr(&t->driver, t->status + (unsigned)slot, 1);
	return slot;
}

static const char *type_name(uint32_t type)
{
	return type == VIRTIO_BLK_T_IN      ? "read"
	       : type == VIRTIO_BLK_T_OUT   ? "write"
	       : type == VIRTIO_BLK_T_FLUSH ? "flush"
					    : "request for the identity";
}

/* One request in slot 0; its answer must be `want`. */
static int ask_for(struct tester *t, const struct test_request *r, uint8_t want)
{
	uint32_t len,
		all = (r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID ? r->len : 0) +
		      1;
	uint8_t status;
	int res;

	t->said[0] = 0;
	add(t, 0, r);
	mmio_driver_kick(&t->driver);
	res = wait_one(t, &status, &len);
	if (res < 0)
		return res;
	if (status != want)
		return not_passed(t,
				  "a %s of %" PRIu32 " bytes at sector %" PRIu64
				  " was answered with status %u, not %u",
				  type_name(r->type), r->len, r->sector, status, want);
	if (want == VIRTIO_BLK_S_OK && len != all)
		return not_passed(t,
				  "a %s of %" PRIu32 " bytes says that %" PRIu32
				  " bytes were written to memory, not %" PRIu32,
				  type_name(r->type), r->len, len, all);
	return 0;
}

static int ask(struct tester *t, uint32_t type, uint64_t off, uint32_t len, unsigned pieces)
{
	const struct test_request r = { type, off / SECTOR, len, pieces };

	return ask_for(t, &r, VIRTIO_BLK_S_OK);
}

static int flush(struct tester *t)
{
	return t->driver.features & BIT(VIRTIO_BLK_F_FLUSH) ? ask(t, VIRTIO_BLK_T_FLUSH, 0, 0, 0)
							    : 0;
}

/* ---- What the file says ---- */

/* As a disk has it: zeros behind the end. */
static int read_file(struct tester *t, uint64_t off, uint8_t *dst, uint32_t len)
{
	uint64_t there = off < t->file_size ? t->file_size - off : 0;
	size_t n = there < len ? (size_t)there : len;
	int res = file_read_at(t->fd, dst, n, off);

	memset(dst + n, 0, len - n);
	return res ? err_set(t->err, res, "cannot read '%s': %s", t->path, strerror(-res)) : 0;
}

/* Has the file what slot 0 has? */
static int compare(struct tester *t, uint64_t off, uint32_t len)
{
	const uint8_t *data = slot_data(t);
	uint8_t *file = malloc(len);
	uint32_t i = 0;
	int res = file ? read_file(t, off, file, len)
		       : err_set(t->err, -ENOMEM, "cannot test '%s': out of memory", t->path);

	while (!res && i < len && data[i] == file[i])
		i++;
	if (!res && i < len)
		res = not_passed(t,
				 "byte %u of sector %" PRIu64
				 " is 0x%02x in the file and 0x%02x through the device",
				 i % SECTOR, (off + i) / SECTOR, file[i], data[i]);
	free(file);
	return res;
}

/* ---- Reading ---- */

static int check_identity(struct tester *t)
{
	char id[ID_BYTES + 1] = "";
	int res = ask(t, VIRTIO_BLK_T_GET_ID, 0, ID_BYTES, 1);

	if (res)
		return res;
	memcpy(id, slot_data(t), ID_BYTES);
	return passed(t, "identity", "'%s'", id);
}

static int check_first(struct tester *t)
{
	int res = ask(t, VIRTIO_BLK_T_IN, 0, t->block, 1);

	if (!res)
		res = compare(t, 0, t->block);
	if (!res)
		res = passed(t, "one sector", "as in the file");
	if (!res && t->o->first_sector)
		t->o->first_sector(t->o->arg, slot_data(t));
	return res;
}

/* As long as a request gets here, and cut into descriptors; at the beginning and at the end. */
static int check_many(struct tester *t)
{
	uint32_t len = t->bytes < SLOT_DATA ? (uint32_t)t->bytes : SLOT_DATA;
	const uint64_t offs[] = { 0, align_down((t->bytes - len) / 2, t->block), t->bytes - len };
	unsigned pieces = len >= 16 * t->block ? 16 : 1;

	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		int res = ask(t, VIRTIO_BLK_T_IN, offs[i], len, pieces);

		if (!res)
			res = compare(t, offs[i], len);
		if (res)
			return res;
	}
	return passed(t, "many sectors",
		      "%u in %u piece%s, at 0, %" PRIu64 " and %" PRIu64 ", as in the file",
		      len / SECTOR, pieces, pieces == 1 ? "" : "s", offs[1] / SECTOR,
		      offs[2] / SECTOR);
}

/* virtio 1.2, 5.2.6.2 leaves it open, but there is nothing else that a disk could do. */
static int check_end(struct tester *t)
{
	const struct test_request beyond = { VIRTIO_BLK_T_IN, t->bytes / SECTOR, t->block, 1 };
	int res = ask_for(t, &beyond, VIRTIO_BLK_S_IOERR);

	return res ? res
		   : passed(t, "behind the end", "sector %" PRIu64 " is refused", beyond.sector);
}

static int check_flush(struct tester *t)
{
	int res = flush(t);

	if (res)
		return res;
	return passed(t, "flush",
		      t->driver.features & BIT(VIRTIO_BLK_F_FLUSH) ? "done" : "is not offered");
}

/* ---- Speed ---- */

/*
 * Requests of `len` bytes, DEPTH at a time, for a while: sequential, from the beginning on and
 * again from there. Writes only ever write to a place what slot i has read from it: `places` are as
 * many as there are slots.
 */
static int measure(struct tester *t, const char *what, uint32_t type, uint32_t len)
{
	uint64_t places = t->bytes / len, next = 0, done = 0, start, ns, end;
	unsigned depth = places < DEPTH ? (unsigned)places : DEPTH, busy = 0;
	struct test_request r = { VIRTIO_BLK_T_IN, 0, len, 1 };
	uint8_t status;
	uint32_t used;
	int slot;

	if (type == VIRTIO_BLK_T_OUT)
		places = t->file_size / len < depth ? t->file_size / len : depth;
	if (!places)
		return passed(t, what, "the disk is too small to tell");
	if (type == VIRTIO_BLK_T_OUT) {
		depth = (unsigned)places;
		for (unsigned i = 0; i < depth; i++) {
			r.sector = i * (uint64_t)len / SECTOR;
			add(t, i, &r);
		}
		mmio_driver_kick(&t->driver);
		for (unsigned i = 0; i < depth; i++) {
			slot = wait_one(t, &status, &used);
			if (slot < 0)
				return slot;
			if (status != VIRTIO_BLK_S_OK)
				return not_passed(t, "a read failed (status %u)", status);
		}
	}

	r.type = type;
	start = host_ns();
	end = start + t->o->ms * 1000000ULL;
	for (unsigned i = 0; i < depth; i++, busy++, next++) {
		r.sector = next % places * len / SECTOR;
		add(t, i, &r);
	}
	mmio_driver_kick(&t->driver);
	while (busy) {
		slot = wait_one(t, &status, &used);
		if (slot < 0)
			return slot;
		busy--;
		if (status != VIRTIO_BLK_S_OK)
			return not_passed(t, "a %s failed after %" PRIu64 " others (status %u)",
					  type_name(type), done, status);
		done++;
		if (host_ns() >= end)
			continue;
		r.sector = type == VIRTIO_BLK_T_OUT ? (uint64_t)slot * len / SECTOR
						    : next++ % places * len / SECTOR;
		add(t, (unsigned)slot, &r);
		busy++;
		mmio_driver_kick(&t->driver);
	}
	if (type == VIRTIO_BLK_T_OUT) {
		slot = flush(t);
		if (slot < 0)
			return slot;
	}
	ns = host_ns() - start;
	return passed(t, what, "%.0f MiB/s, %.0f requests/s (%" PRIu32 " KiB each, %u at once)",
		      (double)(done * len) / 1048576 / ((double)ns / 1e9),
		      (double)done / ((double)ns / 1e9), len / 1024, depth);
}

static int measure_all(struct tester *t, uint32_t type)
{
	const char *what = type == VIRTIO_BLK_T_IN ? "reading" : "writing";
	int res = measure(t, what, type, SLOT_DATA);

	return res ? res : measure(t, what, type, t->block > 4096 ? t->block : 4096);
}

/* ---- Writing ---- */

/* Write what is in slot 0, and see it through the device and in the file. */
static int write_and_see(struct tester *t, uint64_t off, uint32_t len, unsigned pieces)
{
	uint8_t *written = malloc(len);
	int res;

	if (!written)
		return err_set(t->err, -ENOMEM, "cannot test '%s': out of memory", t->path);
	memcpy(written, slot_data(t), len);
	res = ask(t, VIRTIO_BLK_T_OUT, off, len, pieces);
	if (!res)
		res = flush(t);
	memset(slot_data(t), 0, len);
	if (!res)
		res = ask(t, VIRTIO_BLK_T_IN, off, len, pieces);
	if (!res && memcmp(written, slot_data(t), len) != 0)
		res = not_passed(t, "what was written at sector %" PRIu64 " is not what is read",
				 off / SECTOR);
	if (!res)
		res = compare(t, off, len);
	free(written);
	return res;
}

static void fill_pattern(struct tester *t, uint32_t len)
{
	for (uint32_t i = 0; i < len; i += SECTOR)
		keep_pattern(&t->keep, t->keep.off + i, slot_data(t) + i);
}

/* Put back what was there, wherever the pattern is; *n sectors. */
static int put_back(struct tester *t, unsigned *n)
{
	struct disk_keep *k = &t->keep;
	uint8_t *data = slot_data(t), pattern[SECTOR];
	int res = ask(t, VIRTIO_BLK_T_IN, k->off, k->len, 1);

	*n = 0;
	for (uint32_t i = 0; !res && i < k->len; i += SECTOR) {
		keep_pattern(k, k->off + i, pattern);
		if (memcmp(data + i, pattern, SECTOR) == 0) {
			memcpy(data + i, k->data + i, SECTOR);
			++*n;
		}
	}
	if (!res && *n)
		res = write_and_see(t, k->off, k->len, 1);
	if (!res)
		keep_drop(k);
	return res;
}

/* A test that was killed has left something. */
static int check_left_over(struct tester *t)
{
	int res = keep_load(&t->keep, t->err);
	unsigned n;

	if (res <= 0)
		return res;
	if (!t->o->write)
		return err_set(t->err, -EIO,
			       "a test of '%s' that wrote was killed, and what was there before is "
			       "in '%s'; test it with writes again to have it put back",
			       t->path, t->keep.path);
	if (!range_ok(t->keep.off, t->keep.len, t->bytes))
		return err_set(t->err, -EIO,
			       "'%s' is from a test of another disk than '%s', a larger one; look "
			       "whether it can be removed",
			       t->keep.path, t->path);
	res = put_back(t, &n);
	return res ? res
		   : passed(t, "put back",
			    "%u sectors at %" PRIu64 ", from an earlier test that was killed", n,
			    t->keep.off / SECTOR);
}

static int check_writes(struct tester *t)
{
	struct disk_keep *k = &t->keep;
	/* Only what the file has already: a longer file would not be as it was. */
	uint64_t whole = align_down(t->file_size, t->block);
	struct err kept;
	unsigned n;
	int res, back;

	k->len = whole < KEEP_MAX ? (uint32_t)whole : KEEP_MAX;
	k->off = align_down((whole - k->len) / 2, t->block);
	if (!k->len)
		return passed(t, "writing", "the file is too short for a whole block");
	res = ask(t, VIRTIO_BLK_T_IN, k->off, k->len, 1);
	if (res)
		return res;
	memcpy(k->data, slot_data(t), k->len);
	res = keep_save(k, t->err);
	if (res)
		return res;

	/* The first block by itself, then the rest in pieces. */
	fill_pattern(t, t->block);
	res = write_and_see(t, k->off, t->block, 1);
	fill_pattern(t, k->len);
	if (!res)
		res = write_and_see(t, k->off, k->len, k->len >= 16 * t->block ? 16 : 1);

	/* Whatever that was, put it back; that this fails is worse news. */
	kept = *t->err;
	*t->err = (struct err)ERR_INIT;
	back = put_back(t, &n);
	if (back)
		*t->err = (struct err)ERR_INIT;
	if (back)
		return err_set(t->err, back,
			       "what was on '%s' at sector %" PRIu64
			       " could not be put back; it is in '%s', for another test to do so",
			       t->path, k->off / SECTOR, k->path);
	*t->err = kept;
	return res ? res
		   : passed(t, "writes",
			    "%u sectors at %" PRIu64
			    ", seen in the file, and put back as they were",
			    k->len / SECTOR, k->off / SECTOR);
}

/* ---- The whole ---- */

static const struct {
	unsigned bit;
	const char *name;
} features[] = {
	{ VIRTIO_BLK_F_SIZE_MAX, "SIZE_MAX" },
	{ VIRTIO_BLK_F_SEG_MAX, "SEG_MAX" },
	{ VIRTIO_BLK_F_RO, "RO" },
	{ VIRTIO_BLK_F_BLK_SIZE, "BLK_SIZE" },
	{ VIRTIO_BLK_F_FLUSH, "FLUSH" },
	{ VIRTIO_BLK_F_TOPOLOGY, "TOPOLOGY" },
	{ VIRTIO_BLK_F_CONFIG_WCE, "CONFIG_WCE" },
	{ VIRTIO_BLK_F_MQ, "MQ" },
	{ VIRTIO_BLK_F_DISCARD, "DISCARD" },
	{ VIRTIO_BLK_F_WRITE_ZEROES, "WRITE_ZEROES" },
	{ VIRTIO_BLK_F_SECURE_ERASE, "SECURE_ERASE" },
	{ VIRTIO_F_ANY_LAYOUT, "ANY_LAYOUT" },
	{ VIRTIO_F_INDIRECT_DESC, "INDIRECT_DESC" },
	{ VIRTIO_F_EVENT_IDX, "EVENT_IDX" },
	{ VIRTIO_F_VERSION_1, "VERSION_1" },
	{ VIRTIO_F_RING_PACKED, "RING_PACKED" },
	{ VIRTIO_F_IN_ORDER, "IN_ORDER" },
	{ VIRTIO_F_NOTIFICATION_DATA, "NOTIFICATION_DATA" },
	{ VIRTIO_F_RING_RESET, "RING_RESET" },
};

static int check_device(struct tester *t)
{
	uint64_t offered = mmio_driver_offered(&t->driver);
	char names[400] = "";
	size_t len = 0;
	int res;

	res = passed(t, "capacity", "%" PRIu64 " sectors of %d bytes, blocks of %" PRIu32,
		     t->bytes / SECTOR, SECTOR, t->block);
	if (res)
		return res;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (!(offered & BIT(features[i].bit)))
			continue;
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len ? " " : "",
					features[i].name);
		offered &= ~BIT(features[i].bit);
	}
	if (offered)
		snprintf(names + len, sizeof(names) - len, " and 0x%" PRIx64, offered);
	return passed(t, "features", "%s", names);
}

static int run(struct tester *t)
{
	int res = check_left_over(t);

	if (!res)
		res = check_device(t);
	if (!res)
		res = check_identity(t);
	if (!res)
		res = check_first(t);
	if (!res)
		res = check_many(t);
	if (!res)
		res = check_end(t);
	if (!res && t->o->write)
		res = check_writes(t);
	if (!res)
		res = check_flush(t);
	if (!res && t->o->ms)
		res = measure_all(t, VIRTIO_BLK_T_IN);
	if (!res && t->o->ms && t->o->write)
		res = measure_all(t, VIRTIO_BLK_T_OUT);
	return res;
}

static void *io_thread(void *arg)
{
	loop_run(((struct tester *)arg)->loop);
	return NULL;
}

/* The machine: memory, a bus with one slot, a loop with its thread. */
static int setup(struct tester *t, const struct hako_disk *disk)
{
	struct err *err = t->err;
	struct disk_dev_config config = {
		.disk = disk, .name = "disk", .queues = 1, .log = &t->log
	};
	struct virtio_mmio_config slot = {
		.name = "disk",
		.base = SLOT,
		.irq = mmio_driver_irq(&t->driver),
		.log = &t->log,
		.legacy = disk->transport == HAKO_VIRTIO_MMIO_LEGACY,
		.without = disk_dev_without(disk),
	};
	int res = loop_create(&t->loop, err);

	config.loop = t->loop;
	if (!res)
		res = disk_dev_open(&t->disk, &config, err);
	if (!res)
		res = file_open(t->path, false, &t->fd, &t->file_size, err);
	if (!res && !t->file_size)
		res = err_set(err, -ENODATA,
			      "'%s' is empty: a disk of no sectors cannot be tested; 'hako disk "
			      "create' makes one that can",
			      t->path);
	if (!res)
		res = gmem_create(&t->mem, err);
	if (!res)
		res = gmem_add_ram(t->mem, RAM, RAM_SIZE, err);
	if (!res)
		res = bus_create(&t->bus, err);
	if (!res) {
		res = mmio_driver_init(&t->driver, t->bus, SLOT, t->mem, RAM, RAM_SIZE, err);
		t->has_driver = !res;
	}
	slot.bus = t->bus;
	slot.mem = t->mem;
	if (!res)
		res = virtio_mmio_create(&t->mmio, &slot, t->disk.dev, err);
	if (!res) {
		res = thread_create(&t->thread, "io", io_thread, t, err);
		t->has_thread = !res;
	}
	/* All that this test needs; and the ring has room for DEPTH requests of 3 descriptors. */
	if (!res)
		res = mmio_driver_begin(&t->driver, VIRTIO_ID_BLOCK,
					BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ANY_LAYOUT) |
						BIT(VIRTIO_BLK_F_BLK_SIZE) |
						BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_MQ),
					err);
	if (res)
		return res;
	t->header = mmio_driver_alloc(&t->driver, DEPTH * sizeof(struct req_header));
	t->status = mmio_driver_alloc(&t->driver, DEPTH);
	t->data = mmio_driver_alloc(&t->driver, (uint64_t)DEPTH * SLOT_DATA);
	t->bytes =
		mmio_driver_config(&t->driver, offsetof(struct config_space, capacity), 8) * SECTOR;
	t->block = (uint32_t)mmio_driver_config(&t->driver, offsetof(struct config_space, blk_size),
						4);
	if (t->bytes != align_down(align_up(t->file_size, SECTOR), t->block))
		return not_passed(
			t, "it says that it has %" PRIu64 " bytes, and its file has %" PRIu64,
			t->bytes, t->file_size);
	return 0;
}

static void teardown(struct tester *t)
{
	virtio_mmio_destroy(t->mmio); /* a queue is active only once there is the thread */
	if (t->has_thread) {
		loop_stop(t->loop);
		pthread_join(t->thread, NULL);
	}
	disk_dev_close(&t->disk);
	if (t->has_driver)
		mmio_driver_fini(&t->driver);
	bus_destroy(t->bus);
	gmem_destroy(t->mem);
	loop_destroy(t->loop);
	if (t->fd >= 0)
		close(t->fd);
}

int hako_disk_test(const struct hako_disk_test_options *o, struct hako_err *public_err)
{
	struct err ignored = ERR_INIT, *err = public_err ? err_of(public_err) : &ignored;
	struct hako_disk disk = *o->disk;
	struct tester *t;
	int res;

	if (!disk.path || !*disk.path)
		return err_set(err, -EINVAL, "the disk needs a file name");
	res = disk_dev_check(&disk, err);
	if (res)
		return res;
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(err, -ENOMEM, "cannot test '%s': out of memory", disk.path);
	t->o = o;
	t->path = disk.path;
	t->err = err;
	t->fd = -1;
	log_init(&t->log, LOG_WARN, device_says, t);
	disk.on_error = HAKO_ON_ERROR_REPORT; /* to us */
	disk.readonly = !o->write;
	res = setup(t, &disk);
	t->said[0] = 0; /* about the image: not why a request fails */
	if (!res) {
		res = keep_init(&t->keep, t->path, err);
		if (!res)
			res = run(t);
		keep_fini(&t->keep);
	}
	teardown(t);
	log_fini(&t->log);
	free(t);
	return res;
}

/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk (virtio 1.2, 5.2) from the driver's side, on a real file, with the device on a loop
 * thread of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"
#include "vrig.h"

enum { OK = 0, IOERR = 1, UNSUPP = 2 }; /* 5.2.6 */
enum {
	F_SEG_MAX = 2,
	F_RO = 5,
	F_BLK_SIZE = 6,
	F_FLUSH = 9,
	F_TOPOLOGY = 10,
	F_CONFIG_WCE = 11,
	F_MQ = 12,
	F_DISCARD = 13,
	F_WRITE_ZEROES = 14,
};
enum { SECTOR = 512, DATA_MAX = 256 * 1024 };

/* How the driver reaches the device: the test's argument. */
static const struct variant {
	const char *name;
	bool legacy;
	uint64_t features; /* that the driver takes, of those that a test wants */
} variants[] = {
	{ "split", false, ~(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER)) },
	{ "packed", false, ~BIT(VIRTIO_F_IN_ORDER) },
	{ "split-in-order", false, ~BIT(VIRTIO_F_RING_PACKED) },
	{ "packed-in-order", false, ~0ULL },
	{ "legacy", true, ~0ULL },
};
static const struct variant *variant = variants;

/* Status of a device that is driven and well. */
static uint32_t status_ok(void)
{
	return VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |
	       (variant->legacy ? 0 : VIRTIO_STATUS_FEATURES_OK);
}

struct t {
	struct vrig rig;
	char path[VRIG_PATH_MAX];
	uint64_t bytes; /* in the file */
	struct vdriver *d;
	struct vd_queue q;
	struct vd_blk r;
	gpa_t data; /* DATA_MAX bytes */
};

static void start(struct t *t, uint16_t size, uint64_t features)
{
	assert_int_equal(vd_begin(t->d, features & variant->features), 0);
	assert_int_equal(vd_queue_init(t->d, &t->q, 0, size), 0);
	vd_go(t->d);
}

static void begin_queues(struct t *t, uint64_t bytes, bool readonly, uint16_t size,
			 uint64_t features, uint16_t queues)
{
	memset(t, 0, sizeof(*t));
	t->bytes = bytes;
	vrig_init(&t->rig, 64 << 20);
	t->rig.queues = queues;
	t->rig.legacy = variant->legacy;
	vrig_file(t->path, bytes);
	assert_int_equal(vrig_disk(&t->rig, t->path, readonly, NULL), 0);
	t->d = &t->rig.driver;
	vd_blk_init(t->d, &t->r);
	t->data = vd_alloc(t->d, DATA_MAX, 4096);
	start(t, size, features);
}

static void begin_with(struct t *t, uint64_t bytes, bool readonly, uint16_t size, uint64_t features)
{
	begin_queues(t, bytes, readonly, size, features, 1);
}

static void begin(struct t *t, uint64_t bytes)
{
	begin_with(t, bytes, false, 128, ~0ULL);
}

static void end(struct t *t)
{
	vrig_fini(&t->rig);
	unlink(t->path);
}

static void *ptr(struct t *t, gpa_t gpa, uint64_t len)
{
	return vd_ptr(t->d, gpa, len);
}

/* One request with one data buffer at t->data. */
static int request(struct t *t, uint32_t type, uint64_t sector, uint32_t len, uint32_t *used_len)
{
	struct vd_buf b = { t->data, len };

	return vd_blk_do(&t->q, &t->r, type, sector, &b, len ? 1 : 0, used_len);
}

static bool is_pattern(const uint8_t *p, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t want = vrig_pattern(off + i);

		if (memcmp(p + i, &want, 8))
			return false;
	}
	return true;
}

static size_t file_bytes(const struct t *t)
{
	struct stat st;

	assert_int_equal(stat(t->path, &st), 0);
	return (size_t)st.st_size;
}

static void read_file(const struct t *t, void *dst, uint64_t off, size_t len)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, dst, len, (off_t)off), len);
	close(fd);
}

/* The device is done for: NEEDS_RESET, and an interrupt says so (2.1.2). A reset brings it back. */
static void check_needs_reset_and_recovery(struct t *t)
{
	uint32_t cause;

	do {
		assert_int_equal(vd_wait_irq(&t->rig.irq), 0);
		cause = vd_get(t->d, VD_INTERRUPT_STATUS);
		vd_set(t->d, VD_INTERRUPT_ACK, cause);
	} while (!(cause & 2)); /* used buffers of before */
	assert_true(vd_get(t->d, VD_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	start(t, 128, ~0ULL);
	assert_int_equal(vd_get(t->d, VD_STATUS), status_ok());
	assert_int_equal(request(t, VD_BLK_IN, 1, SECTOR, NULL), OK);
	assert_true(is_pattern(ptr(t, t->data, SECTOR), SECTOR, SECTOR));
}

/* Identity and configuration */

static void test_config(void **state)
{
	struct t t;

	(void)state;
	begin(&t, 1 << 20);
	assert_int_equal(vd_get(t.d, VD_DEVICE_ID), VIRTIO_ID_BLOCK);
	assert_int_equal(vd_offered(t.d) & 0xffffff,
			 BIT(F_SEG_MAX) | BIT(F_BLK_SIZE) | BIT(F_FLUSH) | BIT(F_TOPOLOGY) |
				 BIT(F_CONFIG_WCE) | BIT(F_DISCARD) | BIT(F_WRITE_ZEROES));
	vd_reset(t.d); /* 2.5.2: all of it is there before FEATURES_OK */
	assert_int_equal(vd_config(t.d, 0, 8), 2048);
	assert_int_equal(vd_config(t.d, 12, 4), vd_get(t.d, VD_QUEUE_NUM_MAX) - 2); /* seg_max */
	assert_int_equal(vd_config(t.d, 20, 4), 512);                               /* blk_size */
	assert_int_equal(vd_config(t.d, 8, 4), 0);
	assert_int_equal(vd_config(t.d, 32, 1), 1); /* writeback */
	assert_int_equal(vd_config(t.d, 33, 1), 0); /* 5.2.5.2: padding */
	assert_int_equal(vd_config(t.d, 34, 2), 0); /* num_queues: MQ is not offered */
	assert_true(vd_config(t.d, 36, 4) > 0);     /* class 9: discard limits */
	assert_true(vd_config(t.d, 40, 4) > 0);
	assert_true(vd_config(t.d, 44, 4) > 0);
	assert_true(vd_config(t.d, 48, 4) > 0); /* those of write zeroes */
	assert_true(vd_config(t.d, 52, 4) > 0);
	assert_true(vd_config(t.d, 56, 1) <= 1);
	assert_int_equal(vd_config(t.d, 57, 1), 0);
	assert_int_equal(vd_config(t.d, 58, 2), 0);
	for (uint32_t off = 60; off < 256; off += 4) /* secure erase: not offered */
		assert_int_equal(vd_config(t.d, off, 4), 0);
	end(&t);
}

static void test_get_id(void **state)
{
	static const char id[20] = "hako-0001";
	uint32_t len;
	struct t t;

	(void)state;
	begin(&t, 4096);
	for (unsigned round = 0; round < 2; round++) { /* class 17: identity lost at reset */
		memset(ptr(&t, t.data, 64), 0xee, 64);
		assert_int_equal(request(&t, VD_BLK_GET_ID, 0, 20, &len), OK);
		assert_int_equal(len, 21);
		assert_memory_equal(ptr(&t, t.data, 20), id, 20);
		assert_int_equal(request(&t, VD_BLK_GET_ID, 0, 64, &len), OK);
		assert_int_equal(len, 20); /* a gap, then the status */
		assert_int_equal(((uint8_t *)ptr(&t, t.data, 64))[20], 0xee);
		assert_int_equal(request(&t, VD_BLK_GET_ID, 0, 4, &len), OK); /* class 12 */
		assert_int_equal(len, 5);
		assert_int_equal(request(&t, VD_BLK_GET_ID, 0, 0, &len), OK);
		assert_int_equal(len, 1);
		start(&t, 128, ~0ULL);
	}
	end(&t);
}

/* Reading and writing */

static void test_read_write(void **state)
{
	static const uint32_t lens[] = { 512, 1024, 4096, 65536, DATA_MAX };
	uint8_t back[SECTOR];
	struct t t;

	(void)state;
	begin(&t, 1 << 20);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		uint64_t sector = 3 + 100 * i;

		memset(ptr(&t, t.data, lens[i]), 0xee, lens[i]);
		assert_int_equal(request(&t, VD_BLK_IN, sector, lens[i], NULL), OK);
		assert_true(is_pattern(ptr(&t, t.data, lens[i]), sector * SECTOR, lens[i]));
	}
	memset(ptr(&t, t.data, SECTOR), 0x3c, SECTOR);
	assert_int_equal(request(&t, VD_BLK_OUT, 7, SECTOR, NULL), OK);
	assert_int_equal(request(&t, VD_BLK_FLUSH, 0, 0, NULL), OK);
	read_file(&t, back, 7 * SECTOR, SECTOR);
	assert_memory_equal(back, ptr(&t, t.data, SECTOR), SECTOR);
	read_file(&t, back, 8 * SECTOR, SECTOR);
	assert_true(is_pattern(back, 8 * SECTOR, SECTOR));
	end(&t);
}

/* 2.7.4.1, 5.2.6.1: the device may assume no arrangement. Header, data and status in buffers cut
 * anywhere: `cut_out` and `cut_in` are the lengths of the readable and the writable ones. */
struct layout {
	uint32_t type;
	unsigned n_out, n_in;
	uint32_t cut[40];
};

static const struct layout layouts[] = {
	/* header in single bytes; data and status in one buffer */
	{ VD_BLK_IN, 16, 1, { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 513 } },
	/* header, and something behind it; data cut at odd places */
	{ VD_BLK_IN, 2, 5, { 3, 29, 1, 510, 1, 511, 2 } },
	{ VD_BLK_IN, 3, 2, { 4, 4, 8, 1024, 1 } },
	/* header and data in one buffer */
	{ VD_BLK_OUT, 1, 1, { 16 + 512, 1 } },
	{ VD_BLK_OUT, 4, 1, { 7, 10, 511, 1024, 1 } },
	{ VD_BLK_OUT, 2, 1, { 15, 1 + 512, 1 } },
	/* more writable bytes than a status: the last one is it */
	{ VD_BLK_OUT, 2, 3, { 16, 512, 5, 6, 7 } },
	{ VD_BLK_FLUSH, 1, 2, { 16, 1, 1 } },
};

static void check_layout(struct t *t, const struct layout *l, bool indirect)
{
	struct vd_buf b[40];
	uint64_t sector = htole64(5), out_len = 0, in_len = 0, data, at;
	uint32_t type = htole32(l->type), len;
	uint8_t *out, *in;
	gpa_t gpa = t->data;
	uint16_t head;

	/* Readable bytes lie in one piece in memory, then the writable ones; only the descriptors
	 * cut them up. */
	for (unsigned i = 0; i < l->n_out + l->n_in; i++) {
		b[i] = (struct vd_buf){ gpa, l->cut[i] };
		gpa += l->cut[i];
		*(i < l->n_out ? &out_len : &in_len) += l->cut[i];
	}
	out = ptr(t, t->data, out_len);
	in = ptr(t, t->data + out_len, in_len);
	memset(out, 0, 16);
	memcpy(out, &type, 4);
	memcpy(out + 8, &sector, 8);
	for (at = 16; at < out_len; at++)
		out[at] = (uint8_t)(at * 5);
	memset(in, 0xee, in_len);

	assert_true(vd_add(&t->q, b, l->n_out, l->n_in, indirect) >= 0);
	vd_kick(&t->q);
	assert_int_equal(vd_wait(&t->q, &head, &len), 0);
	assert_int_equal(in[in_len - 1], OK);
	if (l->type == VD_BLK_IN) {
		assert_int_equal(len, in_len);
		assert_true(is_pattern(in, 5 * SECTOR, in_len - 1));
		return;
	}
	/* Class 26: only the last byte was written; it is a prefix only when it is the first. */
	assert_int_equal(len, in_len == 1 ? 1 : 0);
	for (at = 0; at + 1 < in_len; at++)
		assert_int_equal(in[at], 0xee);
	data = l->type == VD_BLK_OUT ? out_len - 16 : 0;
	if (data) {
		uint8_t back[2048];

		read_file(t, back, 5 * SECTOR, data);
		assert_memory_equal(back, out + 16, data);
	}
}

static void test_layouts(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++)
		for (unsigned indirect = 0; indirect < 2; indirect++) {
			struct t t;

			begin(&t, 65536);
			check_layout(&t, &layouts[i], indirect);
			end(&t);
		}
}

/* 2.7.8.2, class 26: the used length never says more than was written. */
static void test_used_length(void **state)
{
	uint32_t len;
	struct t t;

	(void)state;
	begin(&t, 4096);
	assert_int_equal(request(&t, VD_BLK_IN, 0, 4096, &len), OK);
	assert_int_equal(len, 4097);
	assert_int_equal(request(&t, VD_BLK_OUT, 0, 512, &len), OK);
	assert_int_equal(len, 1);
	assert_int_equal(request(&t, VD_BLK_FLUSH, 0, 0, &len), OK);
	assert_int_equal(len, 1);
	memset(ptr(&t, t.data, 512), 0xee, 512);
	assert_int_equal(request(&t, VD_BLK_IN, 8, 512, &len), IOERR);
	assert_int_equal(len, 0);
	assert_int_equal(*(uint8_t *)ptr(&t, t.data, 1), 0xee);
	assert_int_equal(request(&t, VD_BLK_IN, 8, 0, &len), OK);
	assert_int_equal(len, 1);
	end(&t);
}

/* Class 28: unknown types are answered. */
static void test_unknown_type(void **state)
{
	static const uint32_t types[] = { 2, 3, 9, 10, 12, 100, 0x80000000, 0xffffffff };
	uint32_t len;
	struct t t;

	(void)state;
	begin(&t, 4096);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(request(&t, types[i], 0, 512, &len), UNSUPP);
		assert_int_equal(len, 0);
	}
	/* Files cannot erase securely. Of its data nothing is written, but the status is. */
	assert_int_equal(request(&t, VD_BLK_SECURE_ERASE, 0, 512, &len), UNSUPP);
	assert_int_equal(len, 1);
	/* 5.2.6.3: FLUSH by another name, which only legacy drivers know. */
	assert_int_equal(request(&t, 5, 0, 0, &len), variant->legacy ? OK : UNSUPP);
	assert_int_equal(vd_get(t.d, VD_STATUS), status_ok());
	end(&t);
}

/* Classes 7, 8 and 28: every edge of the disk, by sector and by length. */
static void test_capacity(void **state)
{
	enum { SECTORS = 64 };
	static const struct {
		uint64_t sector;
		uint32_t len;
		int status;
	} cases[] = {
		{ 0, SECTORS * SECTOR, OK },
		{ 0, (SECTORS + 1) * SECTOR, IOERR },
		{ SECTORS - 1, SECTOR, OK },
		{ SECTORS - 1, 2 * SECTOR, IOERR },
		{ SECTORS, SECTOR, IOERR },
		{ SECTORS + 1, SECTOR, IOERR },
		{ 1ULL << 54, SECTOR, IOERR },
		{ 1ULL << 55, SECTOR, IOERR }, /* times 512 is 0 */
		{ (1ULL << 55) + 1, SECTOR, IOERR },
		{ UINT64_MAX, SECTOR, IOERR },
		{ UINT64_MAX >> 9, SECTOR, IOERR },
		{ 0, 1, IOERR },
		{ 0, 511, IOERR },
		{ 0, 513, IOERR },
		{ SECTORS - 1, 511, IOERR },
	};
	uint8_t *before = malloc(SECTORS * SECTOR), *after = malloc(SECTORS * SECTOR);
	struct t t;

	(void)state;
	begin(&t, SECTORS * SECTOR);
	read_file(&t, before, 0, SECTORS * SECTOR);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		if (request(&t, VD_BLK_IN, cases[i].sector, cases[i].len, NULL) != cases[i].status)
			fail_msg("read, case %u", i);
		/* What was read is written back, or nothing is. */
		if (cases[i].status != OK)
			memset(ptr(&t, t.data, cases[i].len), 0xee, cases[i].len);
		if (request(&t, VD_BLK_OUT, cases[i].sector, cases[i].len, NULL) != cases[i].status)
			fail_msg("write, case %u", i);
	}
	assert_int_equal(file_bytes(&t), SECTORS * SECTOR);
	read_file(&t, after, 0, SECTORS * SECTOR);
	assert_memory_equal(before, after, SECTORS * SECTOR);
	end(&t);
	free(before);
	free(after);
}

/* Class 7: each buffer fits, all of them together do not. */
static void test_cumulative_length(void **state)
{
	struct vd_buf b[64];
	struct t t;

	(void)state;
	begin(&t, 32 * SECTOR);
	memset(ptr(&t, t.data, SECTOR), 0xee, SECTOR);
	for (unsigned i = 0; i < 64; i++)
		b[i] = (struct vd_buf){ t.data, SECTOR };
	assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_OUT, 0, b, 33, NULL), IOERR);
	assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_OUT, 31, b, 2, NULL), IOERR);
	assert_int_equal(request(&t, VD_BLK_IN, 31, SECTOR, NULL), OK);
	assert_true(is_pattern(ptr(&t, t.data, SECTOR), 31 * SECTOR, SECTOR));
	assert_int_equal(file_bytes(&t), 32 * SECTOR);
	end(&t);
}

/* 5.2.6.2 */
static void test_readonly(void **state)
{
	uint8_t back[SECTOR];
	uint32_t len;
	struct t t;

	(void)state;
	memset(&t, 0, sizeof(t));
	begin_with(&t, 4096, true, 16, ~0ULL);
	assert_true(vd_offered(t.d) & BIT(F_RO));
	memset(ptr(&t, t.data, SECTOR), 0xee, SECTOR);
	assert_int_equal(request(&t, VD_BLK_OUT, 0, SECTOR, &len), IOERR);
	assert_int_equal(len, 1);
	read_file(&t, back, 0, SECTOR);
	assert_true(is_pattern(back, 0, SECTOR));
	assert_int_equal(request(&t, VD_BLK_IN, 0, SECTOR, NULL), OK);
	assert_true(is_pattern(ptr(&t, t.data, SECTOR), 0, SECTOR));
	assert_int_equal(request(&t, VD_BLK_FLUSH, 0, 0, NULL), OK);
	end(&t);
}

static void test_tail_sector(void **state)
{
	uint8_t zero[24] = { 0 };
	struct t t;

	(void)state;
	begin(&t, 1000);
	assert_int_equal(vd_config(t.d, 0, 8), 2);
	memset(ptr(&t, t.data, 1024), 0xee, 1024);
	assert_int_equal(request(&t, VD_BLK_IN, 0, 1024, NULL), OK);
	assert_true(is_pattern(ptr(&t, t.data, 1000), 0, 1000));
	assert_memory_equal(ptr(&t, t.data + 1000, 24), zero, 24);
	assert_int_equal(request(&t, VD_BLK_IN, 2, SECTOR, NULL), IOERR);
	end(&t);
}

/* Class 25 */
static void test_truncated_underneath(void **state)
{
	uint32_t len;
	struct t t;

	(void)state;
	begin(&t, 65536);
	assert_int_equal(truncate(t.path, 8192), 0);
	assert_int_equal(request(&t, VD_BLK_IN, 0, 8192, NULL), OK);
	assert_int_equal(request(&t, VD_BLK_IN, 8, 8192, &len), IOERR);
	assert_int_equal(len, 0);
	assert_int_equal(request(&t, VD_BLK_IN, 64, 512, NULL), IOERR);
	assert_non_null(strstr(t.rig.last, "sector 64"));
	assert_int_equal(vd_get(t.d, VD_STATUS), status_ok());
	end(&t);
}

/* Class 24: no room on the host is an error of the request; the device goes on. */
static void test_no_space(void **state)
{
	struct rlimit old, low;
	struct t t;

	(void)state;
	begin(&t, 1 << 20);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = 65536;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(request(&t, VD_BLK_OUT, 512, SECTOR, NULL), IOERR);
	assert_int_equal(request(&t, VD_BLK_OUT, 0, SECTOR, NULL), OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(request(&t, VD_BLK_OUT, 512, SECTOR, NULL), OK);
	end(&t);
}

/* DISCARD and WRITE_ZEROES */

struct segment {
	uint64_t sector;
	uint32_t n, flags;
};

/* One request of `bytes` of segments. */
static int segments(struct t *t, uint32_t type, const struct segment *s, uint32_t bytes)
{
	struct vd_buf b[2] = { { t->data, bytes }, { t->data + 3, bytes - 3 } };

	assert_true(bytes <= DATA_MAX);
	memcpy(ptr(t, t->data, bytes), s, bytes);
	if (bytes <= 3)
		return vd_blk_do(&t->q, &t->r, type, 0, b, 1, NULL);
	b[0].len = 3; /* cut anywhere */
	return vd_blk_do(&t->q, &t->r, type, 0, b, 2, NULL);
}

static bool is_zero(const struct t *t, uint64_t sector, uint64_t n)
{
	static uint8_t back[1 << 20];

	read_file(t, back, sector * SECTOR, n * SECTOR);
	for (size_t i = 0; i < n * SECTOR; i++)
		if (back[i])
			return false;
	return true;
}

static bool is_untouched(const struct t *t, uint64_t sector, uint64_t n)
{
	static uint8_t back[1 << 20];

	read_file(t, back, sector * SECTOR, n * SECTOR);
	return is_pattern(back, sector * SECTOR, n * SECTOR);
}

/* 5.2.6.2: reads return zeros afterwards, with or without unmap, and nothing else changes. */
static void test_write_zeroes(void **state)
{
	struct segment s[3];
	struct t t;

	(void)state;
	for (uint32_t unmap = 0; unmap < 2; unmap++) {
		begin(&t, 1 << 20);
		s[0] = (struct segment){ 3, 5, unmap };
		assert_int_equal(segments(&t, VD_BLK_WRITE_ZEROES, s, 16), OK);
		assert_true(is_zero(&t, 3, 5));
		assert_true(is_untouched(&t, 0, 3) && is_untouched(&t, 8, 2040));
		s[0] = (struct segment){ 100, 1, unmap };
		s[1] = (struct segment){ 200, 0, unmap };
		s[2] = (struct segment){ 2047, 1, unmap };
		assert_int_equal(segments(&t, VD_BLK_WRITE_ZEROES, s, 48), OK);
		assert_true(is_zero(&t, 100, 1) && is_zero(&t, 2047, 1));
		assert_true(is_untouched(&t, 8, 92) && is_untouched(&t, 101, 1946));
		assert_int_equal(file_bytes(&t), 1 << 20);
		end(&t);
	}
}

static void test_discard(void **state)
{
	struct segment s[2] = { { 8, 1024, 0 }, { 2040, 8, 0 } };
	struct t t;

	(void)state;
	begin(&t, 1 << 20);
	assert_int_equal(segments(&t, VD_BLK_DISCARD, s, 32), OK);
	assert_true(is_untouched(&t, 0, 8) && is_untouched(&t, 1032, 1008));
	assert_int_equal(file_bytes(&t), 1 << 20);
	assert_int_equal(request(&t, VD_BLK_IN, 8, 4096, NULL), OK);
	end(&t);
}

/* Class 8, and what else can be wrong with a segment: refused whole, before anything is done. */
static void test_bad_segments(void **state)
{
	static const struct {
		struct segment s;
		int zeroes, discard;
	} cases[] = {
		{ { 2048, 1, 0 }, IOERR, IOERR },
		{ { 2047, 2, 0 }, IOERR, IOERR },
		{ { UINT64_MAX, 1, 0 }, IOERR, IOERR },
		{ { 1ULL << 55, 8, 0 }, IOERR, IOERR }, /* times 512 is 0 */
		{ { UINT64_MAX - 6, 8, 0 }, IOERR, IOERR },
		{ { 0, UINT32_MAX, 0 }, IOERR, IOERR },
		{ { 1, 1, 2 }, UNSUPP, UNSUPP },
		{ { 1, 1, 0x80000000 }, UNSUPP, UNSUPP },
		{ { 1, 1, 3 }, UNSUPP, UNSUPP },
	};
	struct segment s[300] = { { 0, 0, 0 } };
	uint32_t n;
	struct t t;

	(void)state;
	begin(&t, 1 << 20);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		s[0] = (struct segment){ 16, 8, 0 }; /* a good one before it */
		s[1] = cases[i].s;
		if (segments(&t, VD_BLK_WRITE_ZEROES, s, 32) != cases[i].zeroes ||
		    segments(&t, VD_BLK_DISCARD, s, 32) != cases[i].discard)
			fail_msg("case %u", i);
	}
	s[1] = (struct segment){ 1, 1, 1 };
	assert_int_equal(segments(&t, VD_BLK_DISCARD, s, 32), UNSUPP); /* unmap in a discard */
	for (n = 1; n < 48; n++)
		if (n % 16) /* not whole segments */
			assert_int_equal(segments(&t, VD_BLK_WRITE_ZEROES, s, n), IOERR);
	n = (uint32_t)vd_config(t.d, 52, 4); /* max_write_zeroes_seg */
	for (unsigned i = 0; i <= n; i++)
		s[i] = (struct segment){ 20, 1, 0 };
	assert_int_equal(segments(&t, VD_BLK_WRITE_ZEROES, s, 16 * (n + 1)), UNSUPP);
	assert_true(is_untouched(&t, 0, 2048));
	assert_int_equal(segments(&t, VD_BLK_WRITE_ZEROES, s, 16 * n), OK);
	assert_true(is_zero(&t, 20, 1));
	end(&t);

	/* Not agreed on: not done. Not on a disk that cannot be written. */
	memset(&t, 0, sizeof(t));
	begin_with(&t, 1 << 20, false, 128, ~(BIT(F_DISCARD) | BIT(F_WRITE_ZEROES)));
	s[0] = (struct segment){ 16, 8, 0 };
	assert_int_equal(segments(&t, VD_BLK_WRITE_ZEROES, s, 16), UNSUPP);
	assert_int_equal(segments(&t, VD_BLK_DISCARD, s, 16), UNSUPP);
	assert_true(is_untouched(&t, 0, 2048));
	end(&t);
	begin_with(&t, 1 << 20, true, 128, ~0ULL);
	assert_false(vd_offered(t.d) & (BIT(F_DISCARD) | BIT(F_WRITE_ZEROES) | BIT(F_CONFIG_WCE)));
	assert_int_equal(segments(&t, VD_BLK_WRITE_ZEROES, s, 16), UNSUPP);
	assert_int_equal(segments(&t, VD_BLK_DISCARD, s, 16), UNSUPP);
	assert_true(is_untouched(&t, 0, 2048));
	end(&t);
}

/* Several queues */

static void test_queues(void **state)
{
	enum { QUEUES = 4 };
	struct vd_queue q[QUEUES];
	struct vd_blk r[QUEUES];
	gpa_t data[QUEUES];
	struct t t;

	(void)state;
	memset(&t, 0, sizeof(t));
	begin_queues(&t, 1 << 20, false, 128, ~0ULL, QUEUES);
	assert_true(vd_offered(t.d) & BIT(F_MQ));
	assert_int_equal(vd_config(t.d, 34, 2), QUEUES);
	assert_int_equal(vd_begin(t.d, variant->features), 0);
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_int_equal(vd_queue_init(t.d, &q[i], i, (uint16_t)(16 << i)), 0);
		vd_blk_init(t.d, &r[i]);
		data[i] = vd_alloc(t.d, 4096, 4096);
	}
	assert_int_equal(vd_queue_init(t.d, &t.q, QUEUES, 16), -ENODEV);
	vd_go(t.d);
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < QUEUES; i++) {
			struct vd_buf b = { data[i], 4096 };

			assert_true(vd_blk_add(&q[i], &r[i], VD_BLK_IN, 8 * round + i, &b, 1,
					       round & 1) >= 0);
			vd_kick(&q[i]);
		}
		for (unsigned i = 0; i < QUEUES; i++) {
			assert_int_equal(vd_wait(&q[i], &(uint16_t){ 0 }, &(uint32_t){ 0 }), 0);
			assert_int_equal(vd_blk_status(t.d, &r[i]), OK);
			assert_true(
				is_pattern(ptr(&t, data[i], 4096), (8 * round + i) * SECTOR, 4096));
		}
	}
	/* One goes, the others stay. */
	if (t.d->features & BIT(VIRTIO_F_RING_RESET)) {
		vd_set(t.d, VD_QUEUE_SEL, 1);
		vd_set(t.d, VD_QUEUE_RESET, 1);
		assert_int_equal(vd_queue_init(t.d, &q[1], 1, 64), 0);
		for (unsigned i = 0; i < QUEUES; i++) {
			struct vd_buf b = { data[i], 4096 };

			assert_int_equal(vd_blk_do(&q[i], &r[i], VD_BLK_IN, 0, &b, 1, NULL), OK);
		}
	}
	end(&t);
}

/* 5.2.5.2: the file grows or shrinks, and the driver is told. */

static void resize(void *arg)
{
	struct t *t = arg;

	assert_true(virtio_blk_resize(t->rig.dev) >= 0);
}

static void test_resize(void **state)
{
	uint32_t generation = 0;
	struct t t;

	(void)state;
	begin(&t, 1 << 20);
	if (!variant->legacy)
		generation = vd_get(t.d, VD_CONFIG_GENERATION);
	vrig_on_loop(&t.rig, resize, &t); /* nothing has changed */
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	assert_int_equal(truncate(t.path, 2 << 20), 0);
	assert_int_equal(request(&t, VD_BLK_IN, 2048, SECTOR, NULL), IOERR);
	vrig_settle(&t.rig); /* the interrupt comes after the answer */
	vd_set(t.d, VD_INTERRUPT_ACK, 1);
	vrig_on_loop(&t.rig, resize, &t);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 2);
	assert_int_equal(vd_config(t.d, 0, 8), 4096);
	if (!variant->legacy)
		assert_int_not_equal(vd_get(t.d, VD_CONFIG_GENERATION), generation);
	assert_int_equal(request(&t, VD_BLK_IN, 2048, SECTOR, NULL), OK);
	assert_int_equal(truncate(t.path, 512), 0);
	vrig_on_loop(&t.rig, resize, &t);
	assert_int_equal(vd_config(t.d, 0, 8), 1);
	assert_int_equal(request(&t, VD_BLK_IN, 1, SECTOR, NULL), IOERR);
	end(&t);
}

/* Requests that cannot be answered */

static void test_no_header(void **state)
{
	struct vd_buf b[2];
	struct t t;

	(void)state;
	begin(&t, 4096);
	for (uint32_t len = 0; len < 16; len += 5) {
		b[0] = (struct vd_buf){ t.data, len };
		b[1] = (struct vd_buf){ t.data + 64, 513 };
		*(uint8_t *)ptr(&t, t.data + 64 + 512, 1) = 0xee;
		assert_true(vd_add(&t.q, len ? b : b + 1, len ? 1 : 0, 1, false) >= 0);
		vd_kick(&t.q);
		check_needs_reset_and_recovery(&t);
		assert_int_equal(*(uint8_t *)ptr(&t, t.data + 64 + 512, 1), 0xee);
	}
	end(&t);
}

/* Class 28: the status in a readable buffer is no status. */
static void test_no_status(void **state)
{
	struct vd_buf b[2];
	struct t t;

	(void)state;
	begin(&t, 4096);
	memset(ptr(&t, t.data, 64), 0, 64);
	b[0] = (struct vd_buf){ t.data, 16 };
	b[1] = (struct vd_buf){ t.data + 32, 1 };
	assert_true(vd_add(&t.q, b, 2, 0, false) >= 0);
	vd_kick(&t.q);
	check_needs_reset_and_recovery(&t);
	end(&t);
}

/* Classes 1 and 16: a malformed ring with requests in flight. Those are answered all the same. */
static void test_malformed_with_requests_in_flight(void **state)
{
	struct vd_buf b;
	uint32_t len;
	uint16_t head;
	struct t t;
	int h;

	(void)state;
	begin(&t, 1 << 20);
	b = (struct vd_buf){ t.data, DATA_MAX }; /* long: it takes the way over the pool */
	h = vd_blk_add(&t.q, &t.r, VD_BLK_IN, 0, &b, 1, false);
	assert_true(h >= 0);
	vd_add_malformed(&t.q);
	vd_kick(&t.q);
	assert_int_equal(vd_wait(&t.q, &head, &len), 0);
	assert_int_equal(head, h);
	assert_int_equal(vd_blk_status(t.d, &t.r), OK);
	assert_true(is_pattern(ptr(&t, t.data, DATA_MAX), 0, DATA_MAX));
	check_needs_reset_and_recovery(&t);
	end(&t);
}

/* Many requests */

enum { DEPTH = 128, EACH = 4096 };

struct many {
	struct vd_blk r[DEPTH];
	gpa_t data[DEPTH];
	uint64_t sector[DEPTH];
	int slot_of[VD_QUEUE_SIZE_MAX]; /* by head; -1: free */
	unsigned in_flight, started, ended;
};

static void many_init(struct t *t, struct many *m)
{
	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i < DEPTH; i++) {
		vd_blk_init(t->d, &m->r[i]);
		m->data[i] = vd_alloc(t->d, EACH, 4096);
	}
	for (unsigned i = 0; i < VD_QUEUE_SIZE_MAX; i++)
		m->slot_of[i] = -1;
}

static void many_add(struct t *t, struct many *m, unsigned slot)
{
	struct vd_buf b[2] = { { m->data[slot], 1024 }, { m->data[slot] + 1024, EACH - 1024 } };
	int head;

	m->sector[slot] = (m->started * 37) % (t->bytes / SECTOR - EACH / SECTOR);
	memset(ptr(t, m->data[slot], EACH), 0xee, EACH);
	head = vd_blk_add(&t->q, &m->r[slot], VD_BLK_IN, m->sector[slot], b, 2, true);
	assert_true(head >= 0);
	assert_int_equal(m->slot_of[head], -1);
	m->slot_of[head] = (int)slot;
	m->in_flight++;
	m->started++;
}

/* Judge one answer; the slot that is free again. */
static unsigned many_end(struct t *t, struct many *m, uint16_t head, uint32_t len)
{
	unsigned slot;

	assert_true(m->slot_of[head] >= 0);
	slot = (unsigned)m->slot_of[head];
	m->slot_of[head] = -1;
	assert_int_equal(len, EACH + 1);
	assert_int_equal(vd_blk_status(t->d, &m->r[slot]), OK);
	assert_true(is_pattern(ptr(t, m->data[slot], EACH), m->sector[slot] * SECTOR, EACH));
	m->in_flight--;
	m->ended++;
	return slot;
}

/* Class 18: a full queue, again and again, answered in whatever order. */
static void test_full_queue(void **state)
{
	static struct many m;
	struct t t;

	(void)state;
	begin_with(&t, 8 << 20, false, 128, ~0ULL);
	many_init(&t, &m);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < DEPTH; i++)
			many_add(&t, &m, i);
		vd_kick(&t.q);
		while (m.in_flight) {
			uint32_t len;
			uint16_t head;

			assert_int_equal(vd_wait(&t.q, &head, &len), 0);
			many_end(&t, &m, head, len);
		}
	}
	assert_int_equal(vd_used_idx(&t.q), 20 * DEPTH);
	end(&t);
}

/*
 * Class 13: a driver that sleeps until the interrupt and kicks only when asked, with one request in
 * flight, a few, and a full queue. A kick or an interrupt lost anywhere is a driver that waits for
 * ever.
 */
static void check_no_wake_up_lost(uint64_t features)
{
	static const unsigned depths[] = { 1, 3, DEPTH };
	enum { TOTAL = 20000 };
	static struct many m;
	unsigned idle[DEPTH], n_idle = DEPTH;
	struct t t;

	begin_with(&t, 8 << 20, false, 128, features);
	many_init(&t, &m);
	for (unsigned i = 0; i < DEPTH; i++)
		idle[i] = i;
	while (m.ended < TOTAL) {
		uint32_t len;
		uint16_t head;

		while (m.in_flight < depths[m.ended / 1000 % ARRAY_SIZE(depths)])
			many_add(&t, &m, idle[--n_idle]);
		vd_kick(&t.q);
		if (vd_used(&t.q, &head, &len)) {
			vd_interrupts(&t.q, false);
			idle[n_idle++] = many_end(&t, &m, head, len);
		} else if (!vd_interrupts(&t.q, true)) {
			assert_int_equal(vd_wait_irq(&t.rig.irq), 0);
			vd_set(t.d, VD_INTERRUPT_ACK, vd_get(t.d, VD_INTERRUPT_STATUS));
		}
	}
	end(&t); /* with requests in flight */
}

static void test_no_wake_up_lost_event_idx(void **state)
{
	(void)state;
	check_no_wake_up_lost(~0ULL);
}

static void test_no_wake_up_lost_flags(void **state)
{
	(void)state;
	check_no_wake_up_lost(~BIT(VIRTIO_F_EVENT_IDX));
}

/* More in one kick than the device takes in one go, and a reset in the middle of it. */
static void test_whole_ring_at_once(void **state)
{
	struct vd_buf b[2];
	struct t t;

	(void)state;
	begin_with(&t, 4096, false, VD_QUEUE_SIZE_MAX, ~0ULL);
	for (unsigned round = 0; round < 20; round++) {
		memset(ptr(&t, t.data, 16), 0, 16);
		*(uint8_t *)ptr(&t, t.data, 1) = VD_BLK_GET_ID;
		b[0] = (struct vd_buf){ t.data, 16 };
		b[1] = (struct vd_buf){ t.data + 64, 21 };
		for (unsigned i = 0; i < VD_QUEUE_SIZE_MAX; i++)
			assert_true(vd_add(&t.q, b, 1, 1, true) >= 0);
		vd_kick_always(&t.q);
		vd_kick(&t.q);
		for (unsigned i = 0; (round & 1) && i < VD_QUEUE_SIZE_MAX; i++)
			assert_int_equal(vd_wait(&t.q, &(uint16_t){ 0 }, &(uint32_t){ 0 }), 0);
		if (!(round & 1))
			start(&t, VD_QUEUE_SIZE_MAX, ~0ULL);
	}
	end(&t);
}

/* Class 17: after a reset nothing of the old requests is written any more. */
static void test_reset_with_io_outstanding(void **state)
{
	enum { LEN = 1 << 20, N = 16 };
	struct vd_blk r[N];
	gpa_t data, mark;
	struct t t;

	(void)state;
	begin(&t, 16 << 20);
	data = vd_alloc(t.d, (uint64_t)N * LEN, 4096);
	for (unsigned i = 0; i < N; i++)
		vd_blk_init(t.d, &r[i]);
	mark = t.d->next;
	for (unsigned round = 0; round < 5; round++) {
		uint8_t *p = ptr(&t, data, (uint64_t)N * LEN);
		uint16_t used;

		for (unsigned i = 0; i < N; i++) {
			struct vd_buf b = { data + i * LEN, LEN };

			assert_true(vd_blk_add(&t.q, &r[i], VD_BLK_IN, 2048 * i, &b, 1, false) >=
				    0);
		}
		vd_kick(&t.q);
		vd_set(t.d, VD_STATUS, 0);
		assert_int_equal(vd_get(t.d, VD_STATUS), 0);
		used = vd_used_idx(&t.q);
		memset(p, 0x5a, (size_t)N * LEN);
		assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
		assert_false(t.rig.irq.level);
		vrig_settle(&t.rig);
		assert_int_equal(vd_used_idx(&t.q), used);
		t.d->next = mark; /* the same ring memory again */
		start(&t, 128, ~0ULL);
		assert_int_equal(request(&t, VD_BLK_IN, 1, SECTOR, NULL), OK);
		for (size_t i = 0; i < (size_t)N * LEN; i++)
			if (p[i] != 0x5a)
				fail_msg("round %u: byte %zu changed after reset", round, i);
		assert_int_equal(vd_config(t.d, 0, 8), (16 << 20) / SECTOR);
	}
	end(&t);
}

/* Interrupts wanted or not (2.7.7): the line stays low for a driver that polls. */
static void test_no_unwanted_interrupt(void **state)
{
	struct t t;

	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		begin_with(&t, 65536, false, 16, event_idx ? ~0ULL : ~BIT(VIRTIO_F_EVENT_IDX));
		for (unsigned i = 0; i < 100; i++) {
			vd_interrupts(&t.q, false);
			assert_int_equal(request(&t, VD_BLK_IN, i, SECTOR, NULL), OK);
		}
		assert_int_equal(t.rig.irq.rises, 0);
		vd_interrupts(&t.q, true);
		assert_int_equal(request(&t, VD_BLK_IN, 0, SECTOR, NULL), OK);
		assert_int_equal(vd_wait_irq(&t.rig.irq), 0);
		assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 1);
		end(&t);
	}
}

static void test_lock_conflict(void **state)
{
	struct err err = ERR_INIT;
	struct vrig second;
	struct t t;

	(void)state;
	begin(&t, 4096);
	vrig_init(&second, 1 << 20);
	assert_int_equal(vrig_disk(&second, t.path, false, &err), -EAGAIN);
	assert_non_null(strstr(err.msg, t.path));
	vrig_fini(&second);
	end(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_get_id),
		cmocka_unit_test(test_read_write),
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_used_length),
		cmocka_unit_test(test_unknown_type),
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_cumulative_length),
		cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_tail_sector),
		cmocka_unit_test(test_truncated_underneath),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_write_zeroes),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_bad_segments),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_no_header),
		cmocka_unit_test(test_no_status),
		cmocka_unit_test(test_malformed_with_requests_in_flight),
		cmocka_unit_test(test_full_queue),
		cmocka_unit_test(test_no_wake_up_lost_event_idx),
		cmocka_unit_test(test_no_wake_up_lost_flags),
		cmocka_unit_test(test_whole_ring_at_once),
		cmocka_unit_test(test_reset_with_io_outstanding),
		cmocka_unit_test(test_no_unwanted_interrupt),
		cmocka_unit_test(test_lock_conflict),
	};

	for (unsigned i = 0; argc > 1 && i < ARRAY_SIZE(variants); i++)
		if (!strcmp(argv[1], variants[i].name))
			variant = &variants[i];
	return cmocka_run_group_tests_name("virtio-blk", tests, NULL, NULL);
}

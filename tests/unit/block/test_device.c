/* SPDX-License-Identifier: MIT */
/*
 * The raw block backend on block devices: loop devices over a file, with blocks of 512 and of 4096
 * bytes. What they are, freeing and zeroing what is not whole blocks, direct I/O of less than a
 * block, another size. And what is recorded of it (block/record.h).
 *
 * Skipped where loop devices cannot be had: one must be root, and the kernel must have them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/err.h"
#include "block/blk.h"
#include "block/record.h"
#include "host/loop.h"

enum { SIZE = 4 << 20 };

/* The test's argument. */
struct kind {
	uint32_t block;
	enum blk_cache cache;
	enum blk_aio aio;
};

struct t {
	struct kind kind;
	char file[256], device[32], record[300];
	int fd; /* of the device: it is freed when the last is closed */
	struct loop *loop;
	struct blk *blk;
	struct loop_task go;
	struct blk_req req;
	struct iovec iov;
	int res;
};

static void answered(void *arg, struct blk_req *first)
{
	struct t *t = arg;

	assert_ptr_equal(first, &t->req);
	t->res = first->res;
	loop_stop(t->loop);
}

static void go(struct loop_task *task)
{
	struct t *t = container_of(task, struct t, go);

	blk_submit(t->blk, &t->req);
}

/* One request, to its end. `buf` is NULL for those without data. */
static int request(struct t *t, enum blk_op op, uint64_t off, uint64_t len, void *buf)
{
	t->iov = (struct iovec){ buf, len };
	t->req = (struct blk_req){ .op = op,
				   .off = off,
				   .len = len,
				   .iov = &t->iov,
				   .iovcnt = buf ? 1 : 0,
				   .may_unmap = true };
	t->go.run = go;
	blk_answer_to(t->blk, answered, t);
	loop_post(t->loop, &t->go);
	assert_int_equal(loop_run(t->loop), 0);
	return t->res;
}

/* A loop device of `size` bytes, or the reason why there is none. */
static const char *attach(struct t *t, uint64_t size)
{
	const char *dir = getenv("TMPDIR");
	struct loop_config config = { .block_size = t->kind.block,
				      .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), n, file;

	if (control < 0)
		return strerror(errno);
	snprintf(t->file, sizeof(t->file), "%s/hako-dev-XXXXXX", dir ? dir : "/tmp");
	file = mkstemp(t->file);
	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, (off_t)size), 0);
	config.fd = (uint32_t)file;
	/* Somebody else may take the free one first. */
	for (unsigned i = 0; i < 20; i++) {
		n = ioctl(control, LOOP_CTL_GET_FREE);
		snprintf(t->device, sizeof(t->device), "/dev/loop%d", n);
		t->fd = n < 0 ? -1 : open(t->device, O_RDWR | O_CLOEXEC);
		if (t->fd >= 0 && ioctl(t->fd, LOOP_CONFIGURE, &config) == 0)
			break;
		if (t->fd >= 0)
			close(t->fd);
		t->fd = -1;
		if (n < 0 || errno != EBUSY)
			break;
	}
	n = errno;
	close(file);
	close(control);
	if (t->fd >= 0)
		return NULL;
	unlink(t->file);
	return strerror(n);
}

static void open_disk(struct t *t)
{
	struct err err = ERR_INIT;
	const struct blk_config config = {
		.path = t->device,
		.cache = t->kind.cache,
		.aio = t->kind.aio,
		.record = t->record,
		.loop = t->loop,
	};

	if (blk_open_raw(&t->blk, &config, &err))
		fail_msg("%s", err.msg);
}

static void begin(struct t *t, void **state)
{
	const char *why;

	memset(t, 0, sizeof(*t));
	t->kind = *(const struct kind *)*state;
	why = attach(t, SIZE);
	if (why) {
		print_message("no loop device with blocks of %u bytes: %s\n", t->kind.block, why);
		skip();
	}
	snprintf(t->record, sizeof(t->record), "%s.record", t->file);
	assert_int_equal(loop_create(&t->loop, NULL), 0);
	open_disk(t);
}

static void end(struct t *t)
{
	blk_close(t->blk);
	loop_destroy(t->loop);
	close(t->fd);
	unlink(t->record);
	unlink(t->file);
}

static uint8_t *room(size_t len, uint8_t fill)
{
	uint8_t *p = aligned_alloc(4096, align_up(len, 4096));

	assert_non_null(p);
	memset(p, fill, len);
	return p;
}

/* Is [off, off + len) all of these? */
static void check(struct t *t, uint64_t off, size_t len, uint8_t what)
{
	uint8_t *p = room(len, (uint8_t)~what);

	assert_int_equal(request(t, BLK_READ, off, len, p), 0);
	for (size_t i = 0; i < len; i++)
		if (p[i] != what)
			fail_msg("byte %llu is 0x%02x, not 0x%02x", (unsigned long long)(off + i),
				 p[i], what);
	free(p);
}

static void fill(struct t *t, uint64_t off, size_t len, uint8_t what)
{
	uint8_t *p = room(len, what);

	assert_int_equal(request(t, BLK_WRITE, off, len, p), 0);
	free(p);
}

static uint64_t allocated(const struct t *t)
{
	struct stat st;

	assert_int_equal(stat(t->file, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void test_limits(void **state)
{
	struct blk_limits l;
	struct t t;

	begin(&t, state);
	blk_limits(t.blk, &l);
	assert_int_equal(blk_capacity(t.blk), SIZE);
	assert_int_equal(l.logical_block, t.kind.block);
	assert_true(l.physical_block >= l.logical_block);
	assert_true(l.discard_max > 0 && l.zero_max > 0);
	end(&t);
}

/* Also of 512 bytes, which is less than a block of one kind, and not aligned in memory. */
static void test_read_write(void **state)
{
	uint8_t *p;
	struct t t;

	begin(&t, state);
	fill(&t, 0, 1 << 20, 0x11);
	fill(&t, 4096 + 512, 512, 0x22);
	p = room(4096, 0x33);
	assert_int_equal(request(&t, BLK_WRITE, 65536 - 512, 1024, p + 1), 0);
	free(p);
	assert_int_equal(request(&t, BLK_FLUSH, 0, 0, NULL), 0);
	check(&t, 4096, 512, 0x11);
	check(&t, 4096 + 512, 512, 0x22);
	check(&t, 4096 + 1024, 512, 0x11);
	check(&t, 65536 - 1024, 512, 0x11);
	check(&t, 65536 - 512, 1024, 0x33);
	check(&t, 65536 + 512, 8192, 0x11);
	/* The last block, and nothing behind it. */
	fill(&t, SIZE - 512, 512, 0x44);
	check(&t, SIZE - 512, 512, 0x44);
	end(&t);
}

/* The room is freed on the host. What is not whole blocks stays, which is allowed. */
static void test_discard(void **state)
{
	uint64_t before;
	struct t t;

	begin(&t, state);
	fill(&t, 0, 2 << 20, 0x55);
	assert_int_equal(request(&t, BLK_FLUSH, 0, 0, NULL), 0);
	before = allocated(&t);
	assert_int_equal(request(&t, BLK_DISCARD, 0, 1 << 20, NULL), 0);
	assert_true(allocated(&t) <= before - (1 << 20) + 65536);
	assert_int_equal(request(&t, BLK_DISCARD, (1 << 20) + 512, 1024, NULL), 0);
	check(&t, 1 << 20, 512, 0x55);
	check(&t, (1 << 20) + 1536, 65536, 0x55);
	end(&t);
}

/* 5.2.6.2: zeros afterwards, whatever the device can do, and nothing else is touched. */
static void test_zero(void **state)
{
	static const struct {
		uint64_t off, len;
	} ranges[] = { { 65536, 65536 }, { 512, 512 }, { 4096 - 512, 1024 }, { 8192, 12288 } };
	struct t t;

	begin(&t, state);
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		fill(&t, 0, 256 << 10, 0x66);
		assert_int_equal(request(&t, BLK_ZERO, ranges[i].off, ranges[i].len, NULL), 0);
		check(&t, ranges[i].off, ranges[i].len, 0);
		check(&t, 0, ranges[i].off, 0x66);
		check(&t, ranges[i].off + ranges[i].len, 4096, 0x66);
	}
	end(&t);
}

/* The device is given another size while it is open. */
static void test_resize(void **state)
{
	struct t t;

	begin(&t, state);
	assert_int_equal(blk_refresh_capacity(t.blk), 0);
	assert_int_equal(truncate(t.file, 2 * SIZE), 0);
	assert_int_equal(ioctl(t.fd, LOOP_SET_CAPACITY, 0), 0);
	assert_int_equal(blk_refresh_capacity(t.blk), 1);
	assert_int_equal(blk_capacity(t.blk), 2 * SIZE);
	fill(&t, 2 * SIZE - 4096, 4096, 0x77);
	check(&t, 2 * SIZE - 4096, 4096, 0x77);
	end(&t);
}

/* Each change, what it wrote, and its end, in order; reads are none. */
static void test_record(void **state)
{
	struct record_entry e;
	uint64_t last = 0, ids[4];
	char magic[16];
	uint8_t data[512];
	struct t t;
	FILE *f;

	static const struct {
		enum record_kind kind;
		uint64_t off, len;
		unsigned id;
	} want[] = {
		{ RECORD_WRITE, 8192, 512, 0 },    { RECORD_END, 0, 0, 0 },
		{ RECORD_FLUSH, 0, 0, 1 },         { RECORD_END, 0, 0, 1 },
		{ RECORD_ZERO, 65536, 4096, 2 },   { RECORD_END, 0, 0, 2 },
		{ RECORD_DISCARD, 4096, 8192, 3 }, { RECORD_END, 0, 0, 3 },
	};

	begin(&t, state);
	fill(&t, 8192, 512, 0x88);
	check(&t, 8192, 512, 0x88);
	assert_int_equal(request(&t, BLK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(request(&t, BLK_ZERO, 65536, 4096, NULL), 0);
	assert_int_equal(request(&t, BLK_DISCARD, 4096, 8192, NULL), 0);
	blk_close(t.blk);

	f = fopen(t.record, "re");
	assert_non_null(f);
	assert_int_equal(fread(magic, sizeof(magic), 1, f), 1);
	assert_memory_equal(magic, RECORD_MAGIC, sizeof(magic));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(fread(&e, sizeof(e), 1, f), 1);
		assert_int_equal(le32_get(e.kind), want[i].kind);
		assert_int_equal(le64_get(e.off), want[i].off);
		assert_int_equal(le64_get(e.len), want[i].len);
		assert_int_equal(le32_get(e.durable), t.kind.cache == BLK_CACHE_WRITETHROUGH);
		assert_true(le64_get(e.ns) >= last);
		last = le64_get(e.ns);
		if (want[i].kind == RECORD_WRITE) {
			assert_int_equal(fread(data, sizeof(data), 1, f), 1);
			assert_int_equal(data[0], 0x88);
			assert_int_equal(data[511], 0x88);
		}
		if (want[i].kind != RECORD_END)
			ids[want[i].id] = le64_get(e.id);
		assert_int_equal(le64_get(e.id), ids[want[i].id]);
	}
	assert_int_equal(fread(&e, 1, 1, f), 0);
	fclose(f);

	/* It is not overwritten. */
	{
		const struct blk_config config = { .path = t.device,
						   .record = t.record,
						   .loop = t.loop };
		struct err err = ERR_INIT;

		assert_int_equal(blk_open_raw(&t.blk, &config, &err), -EEXIST);
		assert_non_null(strstr(err.msg, t.record));
	}
	unlink(t.record);
	open_disk(&t);
	end(&t);
}

int main(void)
{
	static struct kind kinds[] = {
		{ 512, BLK_CACHE_WRITEBACK, BLK_AIO_AUTO },
		{ 512, BLK_CACHE_NONE, BLK_AIO_AUTO },
		{ 4096, BLK_CACHE_WRITETHROUGH, BLK_AIO_AUTO },
		{ 4096, BLK_CACHE_NONE, BLK_AIO_AUTO },
		{ 4096, BLK_CACHE_NONE, BLK_AIO_THREADS },
	};
	static const struct {
		const char *name;
		CMUnitTestFunction run;
	} tests[] = {
		{ "limits", test_limits },   { "read and write", test_read_write },
		{ "discard", test_discard }, { "zero", test_zero },
		{ "resize", test_resize },   { "record", test_record },
	};
	struct CMUnitTest all[ARRAY_SIZE(kinds) * ARRAY_SIZE(tests)];
	char names[ARRAY_SIZE(all)][64];
	size_t n = 0;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < ARRAY_SIZE(tests); i++, n++) {
			snprintf(names[n], sizeof(names[n]), "%s, blocks of %u, cache %d, aio %d",
				 tests[i].name, kinds[k].block, (int)kinds[k].cache,
				 (int)kinds[k].aio);
			all[n] = (struct CMUnitTest){ .name = names[n],
						      .test_func = tests[i].run,
						      .initial_state = &kinds[k] };
		}
	return _cmocka_run_group_tests("block devices", all, n, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The raw block backend: bytes, ends of files, errors, order of answers; each by threads and by
 * io_uring, and in each cache mode. The loop runs on the test's own thread.
 *
 * Files are below TMPDIR or /tmp. A kind of disk that the host cannot have is skipped, and the
 * reason is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/err.h"
#include "block/blk.h"
#include "host/loop.h"

enum { REQS_MAX = 128, FLOOD = 1200 };

/* The kind of disk that a test is run on: its initial state. */
struct kind {
	const char *name;
	enum blk_aio aio;
	enum blk_cache cache;
};

struct t {
	struct kind kind;
	uint64_t iops, bps;
	char path[256];
	struct loop *loop;
	struct blk *blk;
	struct loop_task go;

	struct slot {
		struct blk_req req;
		int res;
		unsigned order; /* of the answers, from 0 */
	} slot[FLOOD];
	unsigned n, answered, batches;
	bool together;
};

static uint8_t pattern(uint64_t off)
{
	return (uint8_t)(off * 7 + (off >> 8) * 13 + (off >> 16));
}

static void begin_file(struct t *t, void **state, size_t size)
{
	const char *dir = getenv("TMPDIR");
	uint8_t *p = malloc(size + 1);
	int fd;

	memset(t, 0, sizeof(*t));
	t->kind = *(const struct kind *)*state;
	snprintf(t->path, sizeof(t->path), "%s/hako-raw-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(t->path);
	assert_true(fd >= 0);
	for (size_t i = 0; i < size; i++)
		p[i] = pattern(i);
	assert_int_equal(write(fd, p, size), size);
	close(fd);
	free(p);
	assert_int_equal(loop_create(&t->loop, NULL), 0);
}

static int open_disk(struct t *t, struct blk **blk, bool readonly, struct err *err)
{
	const struct blk_config config = {
		.path = t->path,
		.readonly = readonly,
		.aio = t->kind.aio,
		.cache = t->kind.cache,
		.iops = t->iops,
		.bps = t->bps,
		.burst_ms = 100,
		.loop = t->loop,
	};

	return blk_open_raw(blk, &config, err);
}

static void begin(struct t *t, void **state, size_t size)
{
	begin_file(t, state, size);
	assert_int_equal(open_disk(t, &t->blk, false, NULL), 0);
}

static void end(struct t *t)
{
	blk_close(t->blk);
	loop_destroy(t->loop);
	unlink(t->path);
}

static void answered(void *arg, struct blk_req *first)
{
	struct t *t = arg;

	assert_true(loop_is_current(t->loop));
	t->batches++;
	for (struct blk_req *req = first; req; req = req->next) {
		struct slot *s = container_of(req, struct slot, req);

		s->res = req->res;
		s->order = t->answered;
		if (++t->answered == t->n)
			loop_stop(t->loop);
	}
}

static void go(struct loop_task *task)
{
	struct t *t = container_of(task, struct t, go);

	for (unsigned i = 0; i < t->n; i++) {
		t->slot[i].req.next = t->together && i + 1 < t->n ? &t->slot[i + 1].req : NULL;
		if (!t->together)
			blk_submit(t->blk, &t->slot[i].req);
	}
	if (t->together)
		blk_submit(t->blk, &t->slot[0].req);
}

/* Submit the first n requests at once, and wait for all answers. */
static void run(struct t *t, unsigned n)
{
	t->n = n;
	t->answered = t->batches = 0;
	t->together = !t->together; /* in turn */
	t->go.run = go;
	blk_answer_to(t->blk, answered, t);
	loop_post(t->loop, &t->go);
	assert_int_equal(loop_run(t->loop), 0);
	assert_int_equal(t->answered, n);
	assert_true(t->batches >= 1 && t->batches <= n);
}

static int io(struct t *t, enum blk_op op, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	t->slot[0].req = (struct blk_req){
		.op = op, .off = off, .len = len, .iov = &iov, .iovcnt = op <= BLK_WRITE ? 1 : 0
	};
	run(t, 1);
	return t->slot[0].res;
}

static int zero(struct t *t, uint64_t off, uint64_t len, bool may_unmap, bool durable)
{
	t->slot[0].req = (struct blk_req){
		.op = BLK_ZERO, .off = off, .len = len, .may_unmap = may_unmap, .durable = durable
	};
	run(t, 1);
	return t->slot[0].res;
}

static void check_zeros(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(p[i], 0);
}

static void check_pattern(const uint8_t *p, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != pattern(off + i))
			fail_msg("byte %zu of the read at %llu is wrong", i,
				 (unsigned long long)off);
}

static size_t file_bytes(const struct t *t)
{
	struct stat st;

	assert_int_equal(stat(t->path, &st), 0);
	return (size_t)st.st_size;
}

/* What the file takes on the host. */
static uint64_t file_room(const struct t *t)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0); /* some file systems count late */
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return (uint64_t)st.st_blocks * 512;
}

/* Short reads of the page cache, long ones of the pool. */
static void test_read(void **state)
{
	static const size_t lens[] = { 512, 4096, 65536, 128 * 1024, 512 * 1024 };
	uint8_t *buf = malloc(1 << 20);
	struct t t;

	begin(&t, state, 1 << 20);
	assert_int_equal(blk_capacity(t.blk), 1 << 20);
	assert_false(blk_readonly(t.blk));
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		for (uint64_t off = 0; off + lens[i] <= 1 << 20; off += 128 * 1024) {
			memset(buf, 0xee, lens[i]);
			assert_int_equal(io(&t, BLK_READ, off, buf, lens[i]), 0);
			check_pattern(buf, off, lens[i]);
		}
	assert_int_equal(io(&t, BLK_READ, 512, buf, 0), 0);
	end(&t);
	free(buf);
}

/* What is over at once is all there; and it is no more than a read may be. */
static void test_read_now(void **state)
{
	static const size_t lens[] = { 0, 512, 4096, 512 * 1024 };
	uint8_t *buf = malloc(1 << 20);
	unsigned n = 0;
	struct t t;

	begin(&t, state, 1 << 20);
	/* A hole behind it, of which the host may have nothing in its page cache. */
	assert_int_equal(truncate(t.path, 2 << 20), 0);
	assert_int_equal(blk_refresh_capacity(t.blk), 1);
	for (uint64_t off = 0; off < 2 << 20; off += 1 << 20) {
		for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
			struct iovec iov = { buf, lens[i] };
			struct blk_req req = { .op = BLK_READ,
					       .off = off,
					       .len = lens[i],
					       .iov = &iov,
					       .iovcnt = 1,
					       .moved = lens[i] /* of the one before */ };

			memset(buf, 0xee, lens[i]);
			if (!blk_read_now(t.blk, &req))
				continue;
			n += off == 0;
			assert_true(lens[i] <= 128 * 1024);
			if (off)
				check_zeros(buf, lens[i]);
			else
				check_pattern(buf, off, lens[i]);
			req.op = BLK_WRITE;
			assert_false(blk_read_now(t.blk, &req));
		}
	}
	/* The file was just written; some file systems do not know RWF_NOWAIT. */
	if (t.kind.cache == BLK_CACHE_NONE)
		assert_int_equal(n, 0);
	else if (n != 3)
		print_message("# %s: %u of 3 reads were over at once\n", t.kind.name, n);
	end(&t);

	begin_file(&t, state, 4096);
	t.iops = 1000;
	assert_int_equal(open_disk(&t, &t.blk, false, NULL), 0);
	t.slot[0].req = (struct blk_req){ .op = BLK_READ };
	assert_false(blk_read_now(t.blk, &t.slot[0].req)); /* it counts */
	end(&t);
	free(buf);
}

/* Buffers of odd lengths, some hundreds of them; the file partly in the cache and partly not. */
static void test_many_buffers(void **state)
{
	enum { N = 256, LEN = 128 * 1024 };
	struct iovec iov[N];
	uint8_t *buf = malloc(LEN);
	struct t t;
	int fd;

	begin(&t, state, 2 * LEN);
	fd = open(t.path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0);
	for (unsigned round = 0; round < 8; round++) {
		size_t at = 0;

		for (unsigned i = 0; i < N; i++) {
			size_t len = i == N - 1 ? LEN - at : 1 + (i * 97 + round) % 700;

			iov[i] = (struct iovec){ buf + at, len };
			at += len;
		}
		/* What is dropped from the cache is read by a thread, from where the loop
		 * stopped. */
		posix_fadvise(fd, LEN + 4096 * round, LEN, POSIX_FADV_DONTNEED);
		memset(buf, 0xee, LEN);
		t.slot[0].req = (struct blk_req){
			.op = BLK_READ, .off = LEN, .len = LEN, .iov = iov, .iovcnt = N
		};
		run(&t, 1);
		assert_int_equal(t.slot[0].res, 0);
		check_pattern(buf, LEN, LEN);
	}
	close(fd);
	end(&t);
	free(buf);
}

static void test_write(void **state)
{
	uint8_t buf[4096], back[4096];
	struct t t;

	begin(&t, state, 65536);
	for (unsigned durable = 0; durable < 2; durable++) {
		struct iovec iov[3] = { { buf, 1 }, { buf + 1, 511 }, { buf + 512, 3584 } };

		memset(buf, 0x40 + (int)durable, sizeof(buf));
		t.slot[0].req = (struct blk_req){ .op = BLK_WRITE,
						  .durable = durable,
						  .off = 8192,
						  .len = 4096,
						  .iov = iov,
						  .iovcnt = 3 };
		run(&t, 1);
		assert_int_equal(t.slot[0].res, 0);
		assert_int_equal(io(&t, BLK_READ, 8192, back, 4096), 0);
		assert_memory_equal(buf, back, 4096);
	}
	assert_int_equal(io(&t, BLK_READ, 4096, back, 4096), 0);
	check_pattern(back, 4096, 4096);
	assert_int_equal(io(&t, BLK_READ, 12288, back, 4096), 0);
	check_pattern(back, 12288, 4096);
	assert_int_equal(io(&t, BLK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(file_bytes(&t), 65536);
	end(&t);
}

/* Class 18: many at once, of every kind; each is answered once. */
static void test_many_requests(void **state)
{
	enum { LEN = 160 * 1024 };
	uint8_t *buf = malloc((size_t)REQS_MAX * LEN);
	struct iovec iov[REQS_MAX];
	struct t t;

	begin(&t, state, 1 << 20);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < REQS_MAX; i++) {
			size_t len = i % 3 == 0 ? LEN : 512 * (1 + i % 5);

			iov[i] = (struct iovec){ buf + (size_t)i * LEN, len };
			t.slot[i].req = (struct blk_req){ .op = i % 8 == 7 ? BLK_FLUSH : BLK_READ,
							  .off = 512 * (i + round),
							  .len = len,
							  .iov = &iov[i],
							  .iovcnt = 1 };
		}
		run(&t, REQS_MAX);
		for (unsigned i = 0; i < REQS_MAX; i++) {
			assert_int_equal(t.slot[i].res, 0);
			if (t.slot[i].req.op == BLK_READ)
				check_pattern(iov[i].iov_base, t.slot[i].req.off, iov[i].iov_len);
		}
	}
	end(&t);
	free(buf);
}

/* A file that is no whole number of sectors: the guest sees the last one filled up with zeros, and
 * may write it. */
static void test_tail(void **state)
{
	uint8_t buf[1024], zero[24] = { 0 };
	struct t t;

	begin(&t, state, 1000);
	assert_int_equal(blk_capacity(t.blk), 1024);
	for (unsigned round = 0; round < 2; round++) {
		memset(buf, 0xee, sizeof(buf));
		assert_int_equal(io(&t, BLK_READ, 0, buf, 1024), 0);
		check_pattern(buf, 0, 1000);
		assert_memory_equal(buf + 1000, zero, 24);
		assert_int_equal(io(&t, BLK_READ, 512, buf, 512), 0);
		check_pattern(buf, 512, 488);
		assert_memory_equal(buf + 488, zero, 24);
	}
	assert_int_equal(file_bytes(&t), 1000);
	memset(buf, 0x77, 512);
	assert_int_equal(io(&t, BLK_WRITE, 512, buf, 512), 0);
	assert_int_equal(file_bytes(&t), 1024);
	assert_int_equal(io(&t, BLK_READ, 0, buf, 1024), 0);
	check_pattern(buf, 0, 512);
	assert_int_equal(buf[1023], 0x77);
	assert_int_equal(blk_capacity(t.blk), 1024);
	end(&t);
}

/* Class 25: somebody cuts the file under a running guest. */
static void test_truncated_underneath(void **state)
{
	uint8_t buf[4096];
	struct t t;

	begin(&t, state, 65536);
	assert_int_equal(truncate(t.path, 10000), 0);
	assert_int_equal(io(&t, BLK_READ, 4096, buf, 4096), 0);
	check_pattern(buf, 4096, 4096);
	assert_int_equal(io(&t, BLK_READ, 8192, buf, 4096), -EIO); /* half of it is gone */
	assert_int_equal(io(&t, BLK_READ, 32768, buf, 4096), -EIO);
	assert_int_equal(blk_capacity(t.blk), 65536);
	end(&t);
}

static void test_readonly(void **state)
{
	uint8_t buf[512] = { 1 };
	struct blk *other;
	struct t t;

	begin_file(&t, state, 4096);
	assert_int_equal(open_disk(&t, &t.blk, true, NULL), 0);
	assert_true(blk_readonly(t.blk));
	assert_int_equal(io(&t, BLK_WRITE, 0, buf, 512), -EROFS);
	assert_int_equal(io(&t, BLK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(io(&t, BLK_READ, 0, buf, 512), 0);
	check_pattern(buf, 0, 512);
	assert_int_equal(open_disk(&t, &other, true, NULL), 0); /* readers share */
	blk_close(other);
	end(&t);
}

static void test_lock(void **state)
{
	struct err err = ERR_INIT;
	struct blk *other;
	struct t t;

	begin(&t, state, 4096);
	assert_int_equal(open_disk(&t, &other, false, &err), -EAGAIN);
	assert_non_null(strstr(err.msg, t.path));
	assert_int_equal(open_disk(&t, &other, true, NULL), -EAGAIN);
	end(&t);
}

static void test_open_errors(void **state)
{
	const struct blk_config none = { .path = "/nonexistent/disk.img" };
	const struct blk_config dir = { .path = "/" };
	struct err err = ERR_INIT, err_dir = ERR_INIT, err_perm = ERR_INIT;
	struct blk *blk;
	struct t t;

	assert_int_equal(blk_open_raw(&blk, &none, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/disk.img"));
	assert_null(strstr(err.msg, ",ro"));
	assert_int_not_equal(blk_open_raw(&blk, &dir, &err_dir), 0);
	assert_int_not_equal(err_dir.code, 0);
	if (geteuid() == 0) /* root may write everything */
		return;
	begin_file(&t, state, 512);
	chmod(t.path, 0444);
	assert_int_equal(open_disk(&t, &blk, false, &err_perm), -EACCES);
	assert_non_null(strstr(err_perm.msg, ",ro"));
	end(&t);
}

/* Class 24: a disk that is full, played by a limit on the size of files. A write that goes over it
 * is cut short first. */
static void test_no_space(void **state)
{
	struct rlimit old, low;
	uint8_t *buf = calloc(1, 65536);
	struct t t;

	begin(&t, state, 4096);
	blk_close(t.blk);
	assert_int_equal(truncate(t.path, 1 << 20), 0);
	assert_int_equal(open_disk(&t, &t.blk, false, NULL), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = 128 * 1024;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(io(&t, BLK_WRITE, 65536, buf, 65536), 0);
	assert_int_equal(io(&t, BLK_WRITE, 98304, buf, 65536), -EFBIG);
	assert_int_equal(io(&t, BLK_WRITE, 1 << 19, buf, 512), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(io(&t, BLK_WRITE, 1 << 19, buf, 512), 0);
	end(&t);
	free(buf);
}

static void test_empty_file(void **state)
{
	struct t t;

	begin(&t, state, 0);
	assert_int_equal(blk_capacity(t.blk), 0);
	assert_int_equal(io(&t, BLK_FLUSH, 0, NULL, 0), 0);
	end(&t);
}

/* BLK_ZERO: zeros from the first byte to the last and not one more, with or without holes. */
static void test_zero(void **state)
{
	static const struct {
		uint64_t off, len;
	} ranges[] = {
		{ 512, 512 }, { 4096, 8192 }, { 65536 - 512, 131072 + 1024 }, { 300032, 0 }
	};
	enum { SIZE = 512 * 1024 };
	uint8_t *buf = malloc(SIZE);
	struct t t;

	for (unsigned mode = 0; mode < 4; mode++) {
		begin(&t, state, SIZE);
		for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
			assert_int_equal(zero(&t, ranges[i].off, ranges[i].len, mode & 1, mode & 2),
					 0);
		assert_int_equal(io(&t, BLK_READ, 0, buf, SIZE), 0);
		for (uint64_t at = 0; at < SIZE; at += 512) {
			bool zeroed = false;

			for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
				zeroed |= at >= ranges[i].off && at - ranges[i].off < ranges[i].len;
			if (zeroed)
				check_zeros(buf + at, 512);
			else
				check_pattern(buf + at, at, 512);
		}
		assert_int_equal(file_bytes(&t), SIZE);
		/* And they can be written again. */
		memset(buf, 0x5a, 8192);
		assert_int_equal(io(&t, BLK_WRITE, 65536, buf, 8192), 0);
		memset(buf, 0, 8192);
		assert_int_equal(io(&t, BLK_READ, 65536, buf, 8192), 0);
		assert_int_equal(buf[0], 0x5a);
		assert_int_equal(buf[8191], 0x5a);
		end(&t);
	}
	free(buf);
}

/* In the last sector, of which the file has but a part. */
static void test_zero_tail(void **state)
{
	uint8_t buf[1024];
	struct t t;

	for (unsigned unmap = 0; unmap < 2; unmap++) {
		begin(&t, state, 1000);
		assert_int_equal(zero(&t, 512, 512, unmap, false), 0);
		memset(buf, 0xee, sizeof(buf));
		assert_int_equal(io(&t, BLK_READ, 0, buf, 1024), 0);
		check_pattern(buf, 0, 512);
		check_zeros(buf + 512, 512);
		assert_true(file_bytes(&t) <= 1024);
		end(&t);
	}
}

static void test_discard(void **state)
{
	enum { SIZE = 1 << 20 };
	uint8_t *buf = malloc(SIZE);
	uint64_t room, left;
	struct blk_limits l;
	struct t t;

	begin(&t, state, SIZE);
	blk_limits(t.blk, &l);
	assert_true(is_pow2(l.logical_block) && l.logical_block >= 512);
	assert_true(is_pow2(l.physical_block) && l.physical_block >= l.logical_block);
	assert_true(l.discard_max && l.discard_max % 512 == 0);
	assert_true(l.zero_max && l.zero_max % 512 == 0);

	room = file_room(&t);
	assert_int_equal(io(&t, BLK_DISCARD, 65536, NULL, SIZE / 2), 0);
	left = file_room(&t);
	if (left >= room)
		print_message("# this file system frees nothing\n");
	else
		assert_true(room - left >= SIZE / 4);
	assert_int_equal(io(&t, BLK_READ, 0, buf, SIZE), 0);
	check_pattern(buf, 0, 65536);
	check_pattern(buf + 65536 + SIZE / 2, 65536 + SIZE / 2, SIZE / 2 - 65536);
	if (left < room) {
		check_zeros(buf + 65536, SIZE / 2); /* a hole */
		assert_int_equal(zero(&t, 0, SIZE, true, false), 0);
		assert_true(file_room(&t) < left);
	}
	assert_int_equal(io(&t, BLK_DISCARD, 512, NULL, 512), 0); /* less than a block */
	assert_int_equal(io(&t, BLK_DISCARD, 512, NULL, 0), 0);
	assert_int_equal(file_bytes(&t), SIZE);
	end(&t);

	begin_file(&t, state, SIZE);
	assert_int_equal(open_disk(&t, &t.blk, true, NULL), 0);
	blk_limits(t.blk, &l);
	assert_int_equal(l.discard_max, 0);
	assert_int_equal(l.zero_max, 0);
	assert_int_equal(io(&t, BLK_DISCARD, 0, NULL, 4096), -EROFS);
	assert_int_equal(zero(&t, 0, 4096, true, false), -EROFS);
	assert_int_equal(io(&t, BLK_READ, 0, buf, SIZE), 0);
	check_pattern(buf, 0, SIZE);
	end(&t);
	free(buf);
}

/* Writes of every alignment at once, neighbours in the same block: none is lost. */
static void test_neighbours(void **state)
{
	enum { SIZE = REQS_MAX * 1024, ROUNDS = 16 };
	uint8_t *buf = aligned_alloc(4096, SIZE + 4096), *back = malloc(SIZE);
	struct iovec iov[REQS_MAX];
	struct t t;

	begin(&t, state, SIZE);
	for (unsigned round = 0; round < ROUNDS; round++) {
		/* In odd rounds the buffers are nowhere aligned. */
		uint8_t *from = buf + (round & 1);
		unsigned n = 0;

		for (unsigned i = 0; i < SIZE; i++)
			from[i] = (uint8_t)(pattern(i) + round + 1);
		for (uint64_t at = 0; at < SIZE && n < REQS_MAX;) {
			uint64_t len = n % 5 == 4 ? 4096 : 512 * (1 + (n + round) % 3);

			if (len == 4096)
				at = align_up(at, 4096);
			if (at + len > SIZE)
				break;
			iov[n] = (struct iovec){ from + at, len };
			t.slot[n].req = (struct blk_req){ .op = BLK_WRITE,
							  .durable = n % 16 == 0,
							  .off = at,
							  .len = len,
							  .iov = &iov[n],
							  .iovcnt = 1 };
			memset(back + at, 0, len);
			at += len;
			n++;
		}
		run(&t, n);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(t.slot[i].res, 0);
		assert_int_equal(io(&t, BLK_READ, 0, back, SIZE), 0);
		for (unsigned i = 0; i < n; i++)
			assert_memory_equal(back + t.slot[i].req.off, iov[i].iov_base,
					    iov[i].iov_len);
	}
	end(&t);
	free(back);
	free(buf);
}

/* More than a ring holds, each of them slow: from the disk, not from the cache. */
static void test_cold(void **state)
{
	enum { LEN = 8192, SIZE = REQS_MAX * LEN };
	uint8_t *buf = malloc(SIZE);
	struct iovec iov[REQS_MAX];
	struct t t;
	int fd;

	begin(&t, state, SIZE);
	fd = open(t.path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0);
	for (unsigned round = 0; round < 4; round++) {
		posix_fadvise(fd, 0, SIZE, POSIX_FADV_DONTNEED);
		memset(buf, 0xee, SIZE);
		for (unsigned i = 0; i < REQS_MAX; i++) {
			iov[i] = (struct iovec){ buf + (size_t)i * LEN, LEN };
			t.slot[i].req = (struct blk_req){ .op = BLK_READ,
							  .off = i * LEN,
							  .len = LEN,
							  .iov = &iov[i],
							  .iovcnt = 1 };
		}
		run(&t, REQS_MAX);
		check_pattern(buf, 0, SIZE);
	}
	close(fd);
	end(&t);
	free(buf);
}

/* More at once than a ring holds (256 to be begun, 512 under way). */
static void test_flood(void **state)
{
	static struct iovec iov[FLOOD];
	uint8_t *buf = aligned_alloc(4096, FLOOD * 512), *back = malloc(FLOOD * 512);
	struct t t;

	begin(&t, state, FLOOD * 512);
	for (unsigned round = 0; round < 8; round++) {
		bool write = round & 1;

		for (size_t i = 0; write && i < FLOOD * 512; i++)
			buf[i] = (uint8_t)(pattern(i) ^ round);
		for (unsigned i = 0; i < FLOOD; i++) {
			iov[i] = (struct iovec){ buf + (size_t)i * 512, 512 };
			t.slot[i].req = (struct blk_req){ .op = write ? BLK_WRITE : BLK_READ,
							  .off = i * 512,
							  .len = 512,
							  .iov = &iov[i],
							  .iovcnt = 1 };
		}
		run(&t, FLOOD);
		for (unsigned i = 0; i < FLOOD; i++)
			assert_int_equal(t.slot[i].res, 0);
		if (write)
			memcpy(back, buf, FLOOD * 512);
		else if (round)
			assert_memory_equal(buf, back, FLOOD * 512);
		else
			check_pattern(buf, 0, FLOOD * 512);
		if (!write)
			memset(buf, 0xee, FLOOD * 512);
	}
	end(&t);
	free(back);
	free(buf);
}

/* Somebody gives the image another length, and the disk is told to look. */
static void test_resize(void **state)
{
	uint8_t buf[4096];
	struct t t;

	begin(&t, state, 65536);
	assert_int_equal(blk_refresh_capacity(t.blk), 0);
	assert_int_equal(truncate(t.path, 131072), 0);
	assert_int_equal(blk_capacity(t.blk), 65536);
	assert_int_equal(blk_refresh_capacity(t.blk), 1);
	assert_int_equal(blk_capacity(t.blk), 131072);
	assert_int_equal(io(&t, BLK_READ, 131072 - 4096, buf, 4096), 0);
	check_zeros(buf, 4096);
	memset(buf, 0x31, 4096);
	assert_int_equal(io(&t, BLK_WRITE, 131072 - 4096, buf, 4096), 0);
	assert_int_equal(truncate(t.path, 8192), 0);
	assert_int_equal(blk_refresh_capacity(t.blk), 1);
	assert_int_equal(blk_capacity(t.blk), 8192);
	assert_int_equal(blk_refresh_capacity(t.blk), 0);
	assert_int_equal(io(&t, BLK_READ, 4096, buf, 4096), 0);
	check_pattern(buf, 4096, 4096);
	end(&t);
}

/* A disk that is closed lets go of its file at once. */
static void test_reopen(void **state)
{
	uint8_t buf[4096];
	struct t t;

	begin(&t, state, 65536);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(io(&t, BLK_READ, 4096, buf, 4096), 0);
		blk_close(t.blk);
		assert_int_equal(open_disk(&t, &t.blk, false, NULL), 0);
	}
	end(&t);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Requests and bytes a second: a burst at first, then in time. */
static void test_rate(void **state)
{
	enum { N = 40, LEN = 8192 };
	uint8_t *buf = malloc(N * LEN);
	struct iovec iov[N];
	struct t t;

	for (unsigned bytes = 0; bytes < 2; bytes++) {
		double start, took;

		begin_file(&t, state, N * LEN);
		t.iops = bytes ? 0 : 100;
		t.bps = bytes ? 100 * LEN : 0;
		assert_int_equal(open_disk(&t, &t.blk, false, NULL), 0);
		for (unsigned i = 0; i < N; i++) {
			iov[i] = (struct iovec){ buf + (size_t)i * LEN, LEN };
			t.slot[i].req = (struct blk_req){ .op = i & 1 ? BLK_WRITE : BLK_READ,
							  .off = i * LEN,
							  .len = LEN,
							  .iov = &iov[i],
							  .iovcnt = 1 };
		}
		start = seconds();
		run(&t, N);
		took = seconds() - start;
		for (unsigned i = 0; i < N; i++)
			assert_int_equal(t.slot[i].res, 0);
		/* 10 at once, and the first that is too many; the rest 10 ms apart. */
		assert_true(took > (N - 12) / 100.0);
		end(&t);
	}
	free(buf);
}

/* A flush does not wait for what is held, which here is for a second. */
static void test_rate_flush(void **state)
{
	uint8_t buf[2][512];
	const struct iovec iov[2] = { { buf[0], 512 }, { buf[1], 512 } };
	struct t t;

	begin_file(&t, state, 65536);
	t.iops = 1;
	assert_int_equal(open_disk(&t, &t.blk, false, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		t.slot[i].req = (struct blk_req){
			.op = BLK_WRITE, .off = i * 512, .len = 512, .iov = &iov[i], .iovcnt = 1
		};
	t.slot[2].req = (struct blk_req){ .op = BLK_FLUSH };
	run(&t, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(t.slot[i].res, 0);
	assert_true(t.slot[2].order < t.slot[1].order);
	end(&t);
}

/* A host that lets nobody have an io_uring, as containers often do. */
static void test_filtered(void **state)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = { ARRAY_SIZE(code), code };
	struct err err = ERR_INIT;
	uint8_t buf[4096];
	int status;
	struct t t;
	pid_t child;

	begin_file(&t, state, 65536);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
			_exit(77);
		t.kind.aio = BLK_AIO_IO_URING;
		if (!open_disk(&t, &t.blk, false, &err) || !strstr(err.msg, "aio=threads"))
			_exit(1);
		t.kind.aio = BLK_AIO_AUTO;
		if (open_disk(&t, &t.blk, false, NULL) || io(&t, BLK_READ, 4096, buf, 4096))
			_exit(2);
		blk_close(t.blk);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		print_message("# the host takes no filter of system calls\n");
	else
		assert_int_equal(WEXITSTATUS(status), 0);
	t.blk = NULL;
	end(&t);
}

/* ---- The kinds of disks ---- */

static const struct kind kinds[] = {
	{ "threads", BLK_AIO_THREADS, BLK_CACHE_WRITEBACK },
	{ "threads, writethrough", BLK_AIO_THREADS, BLK_CACHE_WRITETHROUGH },
	{ "threads, none", BLK_AIO_THREADS, BLK_CACHE_NONE },
	{ "threads, unsafe", BLK_AIO_THREADS, BLK_CACHE_UNSAFE },
	{ "io_uring", BLK_AIO_IO_URING, BLK_CACHE_WRITEBACK },
	{ "io_uring, writethrough", BLK_AIO_IO_URING, BLK_CACHE_WRITETHROUGH },
	{ "io_uring, none", BLK_AIO_IO_URING, BLK_CACHE_NONE },
	{ "io_uring, unsafe", BLK_AIO_IO_URING, BLK_CACHE_UNSAFE },
	{ "auto", BLK_AIO_AUTO, BLK_CACHE_WRITEBACK },
};

static const struct {
	const char *name;
	CMUnitTestFunction run;
} tests[] = {
	{ "read", test_read },
	{ "read now", test_read_now },
	{ "many buffers", test_many_buffers },
	{ "write", test_write },
	{ "many requests", test_many_requests },
	{ "tail", test_tail },
	{ "truncated underneath", test_truncated_underneath },
	{ "readonly", test_readonly },
	{ "lock", test_lock },
	{ "open errors", test_open_errors },
	{ "no space", test_no_space },
	{ "empty file", test_empty_file },
	{ "zero", test_zero },
	{ "zero tail", test_zero_tail },
	{ "discard", test_discard },
	{ "neighbours", test_neighbours },
	{ "cold", test_cold },
	{ "flood", test_flood },
	{ "resize", test_resize },
	{ "reopen", test_reopen },
};

/* In the place of the tests of a kind that the host cannot have. */
static void test_skipped(void **state)
{
	(void)state;
	skip();
}

/* Can the host have it? If not, say why. */
static bool possible(const struct kind *kind)
{
	void *initial = (void *)(uintptr_t)kind, **state = &initial;
	struct err err = ERR_INIT;
	bool yes;
	struct t t;

	begin_file(&t, state, 4096);
	yes = open_disk(&t, &t.blk, false, &err) == 0;
	if (!yes)
		print_message("# %s: skipped: %s\n", kind->name, err.msg);
	end(&t);
	return yes;
}

int main(void)
{
	static struct CMUnitTest list[ARRAY_SIZE(kinds) * ARRAY_SIZE(tests) + 5];
	static char names[ARRAY_SIZE(list)][64];
	size_t n = 0;

	signal(SIGXFSZ, SIG_IGN); /* of test_no_space: hako's threads block it */
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (!possible(&kinds[k])) {
			list[n].name = kinds[k].name;
			list[n++].test_func = test_skipped;
			continue;
		}
		for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
			snprintf(names[n], sizeof(names[n]), "%s: %s", kinds[k].name,
				 tests[i].name);
			list[n].name = names[n];
			list[n].test_func = tests[i].run;
			list[n++].initial_state = (void *)(uintptr_t)&kinds[k];
		}
	}
	/* These take long, or are about how a disk is opened: not for each kind. */
	list[n++] = (struct CMUnitTest){ .name = "threads: rate",
					 .test_func = test_rate,
					 .initial_state = (void *)(uintptr_t)&kinds[0] };
	list[n++] = (struct CMUnitTest){ .name = "threads: rate, a flush",
					 .test_func = test_rate_flush,
					 .initial_state = (void *)(uintptr_t)&kinds[0] };
	list[n++] = (struct CMUnitTest){ .name = "auto: rate",
					 .test_func = test_rate,
					 .initial_state = (void *)(uintptr_t)&kinds[8] };
	list[n++] = (struct CMUnitTest){ .name = "auto: rate, a flush",
					 .test_func = test_rate_flush,
					 .initial_state = (void *)(uintptr_t)&kinds[8] };
	list[n++] = (struct CMUnitTest){ .name = "filtered",
					 .test_func = test_filtered,
					 .initial_state = (void *)(uintptr_t)&kinds[0] };
	return _cmocka_run_group_tests("raw", list, n, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The raw block backend: bytes, ends of files, errors, order of answers. The loop runs on the
 * test's own thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/err.h"
#include "block/blk.h"
#include "host/loop.h"

enum { REQS_MAX = 128 };

struct t {
	char path[256];
	struct loop *loop;
	struct blk *blk;
	struct loop_task go;

	struct slot {
		struct blk_req req;
		struct t *t;
		int res;
	} slot[REQS_MAX];
	unsigned n, answered, batches;
	bool submitting, last_more, idle;
};

static uint8_t pattern(uint64_t off)
{
	return (uint8_t)(off * 7 + (off >> 8) * 13 + (off >> 16));
}

static void begin_file(struct t *t, size_t size)
{
	const char *dir = getenv("TMPDIR");
	uint8_t *p = malloc(size + 1);
	int fd;

	memset(t, 0, sizeof(*t));
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
	const struct blk_config config = { .path = t->path, .readonly = readonly, .loop = t->loop };

	return blk_open_raw(blk, &config, err);
}

static void begin(struct t *t, size_t size)
{
	begin_file(t, size);
	assert_int_equal(open_disk(t, &t->blk, false, NULL), 0);
}

static void end(struct t *t)
{
	blk_close(t->blk);
	loop_destroy(t->loop);
	unlink(t->path);
}

static void done(struct blk_req *req, int res, bool more)
{
	struct t *t = container_of(req, struct slot, req)->t;

	assert_false(t->submitting); /* never from inside blk_submit() */
	assert_true(loop_is_current(t->loop));
	container_of(req, struct slot, req)->res = res;
	t->last_more = more;
	t->batches += !more;
	if (++t->answered == t->n)
		loop_stop(t->loop);
}

static void idle(void *arg)
{
	struct t *t = arg;

	assert_int_equal(t->answered, t->n);
	t->idle = true;
}

static void go(struct loop_task *task)
{
	struct t *t = container_of(task, struct t, go);

	t->submitting = true;
	for (unsigned i = 0; i < t->n; i++)
		blk_submit(t->blk, &t->slot[i].req);
	t->submitting = false;
	blk_drain(t->blk, idle, t);
}

/* Submit the first n requests at once, and wait for all answers. */
static void run(struct t *t, unsigned n)
{
	t->n = n;
	t->answered = t->batches = 0;
	t->idle = false;
	t->go.run = go;
	for (unsigned i = 0; i < n; i++) {
		t->slot[i].t = t;
		t->slot[i].req.done = done;
	}
	loop_post(t->loop, &t->go);
	assert_int_equal(loop_run(t->loop), 0);
	assert_int_equal(t->answered, n);
	assert_false(t->last_more);
	assert_true(t->batches >= 1 && t->batches <= n);
	assert_true(t->idle);
}

static int io(struct t *t, enum blk_op op, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	t->slot[0].req = (struct blk_req){
		.op = op, .off = off, .len = len, .iov = &iov, .iovcnt = op == BLK_FLUSH ? 0 : 1
	};
	run(t, 1);
	return t->slot[0].res;
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

/* Short reads of the page cache, long ones of the pool. */
static void test_read(void **state)
{
	static const size_t lens[] = { 512, 4096, 65536, 128 * 1024, 512 * 1024 };
	uint8_t *buf = malloc(1 << 20);
	struct t t;

	(void)state;
	begin(&t, 1 << 20);
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

/* Buffers of odd lengths, some hundreds of them; the file partly in the cache and partly not. */
static void test_many_buffers(void **state)
{
	enum { N = 256, LEN = 128 * 1024 };
	struct iovec iov[N];
	uint8_t *buf = malloc(LEN);
	struct t t;
	int fd;

	(void)state;
	begin(&t, 2 * LEN);
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

	(void)state;
	begin(&t, 65536);
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

	(void)state;
	begin(&t, 1 << 20);
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

	(void)state;
	begin(&t, 1000);
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

	(void)state;
	begin(&t, 65536);
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

	(void)state;
	begin_file(&t, 4096);
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

	(void)state;
	begin(&t, 4096);
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

	(void)state;
	assert_int_equal(blk_open_raw(&blk, &none, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/disk.img"));
	assert_null(strstr(err.msg, ",ro"));
	assert_int_not_equal(blk_open_raw(&blk, &dir, &err_dir), 0);
	assert_int_not_equal(err_dir.code, 0);
	if (geteuid() == 0) /* root may write everything */
		return;
	begin_file(&t, 512);
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

	(void)state;
	begin(&t, 4096);
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

	(void)state;
	begin(&t, 0);
	assert_int_equal(blk_capacity(t.blk), 0);
	assert_int_equal(io(&t, BLK_FLUSH, 0, NULL, 0), 0);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),        cmocka_unit_test(test_many_buffers),
		cmocka_unit_test(test_write),       cmocka_unit_test(test_many_requests),
		cmocka_unit_test(test_tail),        cmocka_unit_test(test_truncated_underneath),
		cmocka_unit_test(test_readonly),    cmocka_unit_test(test_lock),
		cmocka_unit_test(test_open_errors), cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_empty_file),
	};

	return cmocka_run_group_tests_name("raw", tests, NULL, NULL);
}

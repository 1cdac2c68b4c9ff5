/* SPDX-License-Identifier: MIT */
/*
 * When a disk says that something is durable, the host was asked to make it so: after the writes
 * that are meant, and with success. The backend's system calls come here first. Threads only: what
 * an io_uring is given does not pass by.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/err.h"
#include "block/blk.h"
#include "host/loop.h"

enum { N = 8, BLOCK = 4096 };

/* What happened, as numbers that only grow: when each write was over, and when a sync began that
 * succeeded, and ended. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned now, written[N], sync_began, sync_ended, syncs, sync_errno;

static unsigned tick(void)
{
	unsigned t;

	pthread_mutex_lock(&lock);
	t = ++now;
	pthread_mutex_unlock(&lock);
	return t;
}

int fdatasync(int fd)
{
	unsigned began = tick();
	int res = (int)syscall(SYS_fdatasync, fd);

	pthread_mutex_lock(&lock);
	syncs++;
	if (sync_errno) {
		errno = (int)sync_errno;
		res = -1;
	} else if (began > sync_began) {
		sync_began = began;
		sync_ended = ++now;
	}
	pthread_mutex_unlock(&lock);
	return res;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	ssize_t res = syscall(SYS_pwritev, fd, iov, n, (long)off, 0L);

	if (res > 0)
		written[off / BLOCK] = tick();
	return res;
}

struct t {
	char path[256];
	struct loop *loop;
	struct blk *blk;
	struct loop_task go;
	uint8_t data[BLOCK];
	struct iovec iov;
	unsigned n, answered, answered_at[N];
	int res[N];
	struct slot {
		struct blk_req req;
		unsigned i;
	} slot[N];
};

static void answered(void *arg, struct blk_req *first)
{
	struct t *t = arg;

	for (struct blk_req *req = first; req; req = req->next) {
		struct slot *s = container_of(req, struct slot, req);

		t->res[s->i] = req->res;
		t->answered_at[s->i] = tick();
		if (++t->answered == t->n)
			loop_stop(t->loop);
	}
}

static void go(struct loop_task *task)
{
	struct t *t = container_of(task, struct t, go);

	for (unsigned i = 0; i + 1 < t->n; i++)
		t->slot[i].req.next = &t->slot[i + 1].req;
	blk_submit(t->blk, &t->slot[0].req);
}

static void begin(struct t *t, enum blk_cache cache)
{
	const char *dir = getenv("TMPDIR");
	struct blk_config config = { .path = t->path, .cache = cache, .aio = BLK_AIO_THREADS };
	int fd;

	memset(t, 0, sizeof(*t));
	now = sync_began = sync_ended = syncs = sync_errno = 0;
	memset(written, 0, sizeof(written));
	snprintf(t->path, sizeof(t->path), "%s/hako-durable-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(t->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, N * BLOCK), 0);
	close(fd);
	assert_int_equal(loop_create(&t->loop, NULL), 0);
	config.loop = t->loop;
	assert_int_equal(blk_open_raw(&t->blk, &config, NULL), 0);
	blk_answer_to(t->blk, answered, t);
	t->iov = (struct iovec){ t->data, BLOCK };
	t->go.run = go;
}

static void end(struct t *t)
{
	blk_close(t->blk);
	loop_destroy(t->loop);
	unlink(t->path);
}

static void put(struct t *t, unsigned i, enum blk_op op, bool durable)
{
	t->slot[i] = (struct slot){ .i = i };
	t->slot[i].req = (struct blk_req){ .op = op,
					   .durable = durable,
					   .off = op == BLK_FLUSH ? 0 : (uint64_t)i * BLOCK,
					   .len = op == BLK_FLUSH ? 0 : BLOCK,
					   .iov = &t->iov,
					   .iovcnt = op == BLK_WRITE };
}

/* Submit slots 0 to n - 1 together; all answers are there when it returns. */
static void run(struct t *t, unsigned n)
{
	t->n = n;
	t->answered = 0;
	loop_post(t->loop, &t->go);
	assert_int_equal(loop_run(t->loop), 0);
}

static void test_flush(void **state)
{
	struct t t;

	(void)state;
	begin(&t, BLK_CACHE_WRITEBACK);
	for (unsigned i = 0; i < N; i++)
		put(&t, i, BLK_WRITE, false);
	run(&t, N);
	assert_int_equal(syncs, 0); /* nobody has asked */
	put(&t, 0, BLK_FLUSH, false);
	run(&t, 1);
	assert_int_equal(t.res[0], 0);
	for (unsigned i = 0; i < N; i++)
		assert_true(written[i] && written[i] < sync_began);
	assert_true(sync_ended < t.answered_at[0]);
	end(&t);
}

/* Writes that are durable by themselves, because they say so or because all are. */
static void test_durable_writes(void **state)
{
	struct t t;

	(void)state;
	for (int all = 0; all < 2; all++) {
		begin(&t, all ? BLK_CACHE_WRITETHROUGH : BLK_CACHE_WRITEBACK);
		for (unsigned i = 0; i < N; i++) {
			put(&t, 0, BLK_WRITE, !all);
			run(&t, 1);
			assert_int_equal(t.res[0], 0);
			assert_true(written[0] < sync_began && sync_ended < t.answered_at[0]);
		}
		put(&t, 0, BLK_ZERO, !all);
		run(&t, 1);
		assert_int_equal(syncs, N + 1);
		put(&t, 0, BLK_DISCARD, !all);
		run(&t, 1);
		assert_int_equal(syncs, N + 2);
		end(&t);
	}
}

/* What could not be made durable is not said to be. */
static void test_sync_fails(void **state)
{
	struct t t;

	(void)state;
	begin(&t, BLK_CACHE_WRITEBACK);
	sync_errno = EIO;
	put(&t, 0, BLK_WRITE, true);
	put(&t, 1, BLK_WRITE, false);
	run(&t, 2);
	assert_int_equal(t.res[0], -EIO);
	assert_int_equal(t.res[1], 0);
	put(&t, 0, BLK_FLUSH, false);
	run(&t, 1);
	assert_int_equal(t.res[0], -EIO);
	sync_errno = 0;
	run(&t, 1);
	assert_int_equal(t.res[0], 0);
	end(&t);
}

static void test_unsafe(void **state)
{
	struct t t;

	(void)state;
	begin(&t, BLK_CACHE_UNSAFE);
	put(&t, 0, BLK_WRITE, true);
	put(&t, 1, BLK_FLUSH, false);
	run(&t, 2);
	assert_int_equal(t.res[0] | t.res[1], 0);
	assert_int_equal(syncs, 0);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_durable_writes),
		cmocka_unit_test(test_sync_fails),
		cmocka_unit_test(test_unsafe),
	};

	return cmocka_run_group_tests_name("durable", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk over a block backend that answers when the test says so: batches, order, and what
 * reaches the disk at all. The backend is this file: it defines the functions of block/blk.h.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/err.h"
#include "block/blk.h"
#include "virtio/virtio.h"
#include "vrig.h"

enum { OK = 0, IOERR = 1 };
enum { F_FLUSH = 9, SECTOR = 512, SECTORS = 16, DEPTH = 16 };

struct blk {
	bool readonly;
	atomic_uint n; /* requests held */
	struct blk_req *held[DEPTH];
};

int blk_open_raw(struct blk **blk, const struct blk_config *config, struct err *err)
{
	(void)err;
	*blk = calloc(1, sizeof(**blk));
	(*blk)->readonly = config->readonly;
	return 0;
}

uint64_t blk_capacity(const struct blk *blk)
{
	(void)blk;
	return (uint64_t)SECTORS * SECTOR;
}

bool blk_readonly(const struct blk *blk)
{
	return blk->readonly;
}

void blk_submit(struct blk *blk, struct blk_req *req)
{
	unsigned n = atomic_load(&blk->n);

	assert_true(n < DEPTH);
	blk->held[n] = req;
	atomic_store(&blk->n, n + 1);
}

void blk_drain(struct blk *blk, void (*idle)(void *arg), void *arg)
{
	assert_int_equal(blk->n, 0);
	idle(arg);
}

void blk_close(struct blk *blk)
{
	free(blk);
}

struct t {
	struct vrig rig;
	struct vdriver *d;
	struct vd_queue q;
	struct vd_blk r[DEPTH];
	struct vd_buf data[DEPTH];
	int head[DEPTH];
};

static void begin(struct t *t, bool readonly, uint64_t features)
{
	memset(t, 0, sizeof(*t));
	vrig_init(&t->rig, 8 << 20);
	assert_int_equal(vrig_disk(&t->rig, "fake", readonly, NULL), 0);
	t->d = &t->rig.driver;
	for (unsigned i = 0; i < DEPTH; i++) {
		vd_blk_init(t->d, &t->r[i]);
		t->data[i] = (struct vd_buf){ vd_alloc(t->d, SECTOR, SECTOR), SECTOR };
	}
	assert_int_equal(vd_begin(t->d, features), 0);
	assert_int_equal(vd_queue_init(t->d, &t->q, 0, 64), 0);
	vd_go(t->d);
}

static void add(struct t *t, unsigned i, uint32_t type, uint64_t sector)
{
	t->head[i] = vd_blk_add(&t->q, &t->r[i], type, sector, &t->data[i],
				type == VD_BLK_FLUSH ? 0 : 1, false);
	assert_true(t->head[i] >= 0);
}

/* Kick, and wait until the backend holds n requests. */
static void kick(struct t *t, unsigned n)
{
	vd_kick(&t->q);
	while (atomic_load(&t->rig.blk->n) < n)
		sched_yield();
}

struct answer {
	struct t *t;
	unsigned from, to; /* held[from .. to), backwards if from > to */
	int res;
};

static void answer_run(void *arg)
{
	const struct answer *a = arg;
	struct blk *blk = a->t->rig.blk;
	int step = a->from < a->to ? 1 : -1;

	for (unsigned i = a->from; i != a->to; i = (unsigned)((int)i + step)) {
		struct blk_req *req = step > 0 ? blk->held[i] : blk->held[i - 1];

		req->done(req, a->res, (unsigned)((int)i + step) != a->to);
	}
}

/* Answer in one batch, on the loop. */
static void answer(struct t *t, unsigned from, unsigned to, int res)
{
	struct answer a = { t, from, to, res };

	vrig_on_loop(&t->rig, answer_run, &a);
}

static void end(struct t *t)
{
	t->rig.blk->n = 0;
	vrig_fini(&t->rig);
}

/* One used idx and one interrupt for a whole batch; used entries in the order of the answers. */
static void test_batch(void **state)
{
	struct t t;

	(void)state;
	begin(&t, false, ~BIT(VIRTIO_F_IN_ORDER));
	for (unsigned i = 0; i < DEPTH; i++)
		add(&t, i, VD_BLK_IN, i);
	kick(&t, DEPTH);
	for (unsigned i = 0; i < DEPTH; i++)
		assert_int_equal(t.rig.blk->held[i]->off, i * SECTOR);
	assert_int_equal(vd_used_idx(&t.q), 0);
	assert_int_equal(t.rig.irq.rises, 0);
	answer(&t, DEPTH, 4, 0);
	assert_int_equal(vd_used_idx(&t.q), DEPTH - 4);
	assert_int_equal(t.rig.irq.rises, 1);
	for (unsigned i = DEPTH; i-- > 4;) {
		uint32_t len;
		uint16_t head;

		assert_true(vd_used(&t.q, &head, &len));
		assert_int_equal(head, t.head[i]);
		assert_int_equal(len, SECTOR + 1);
	}
	answer(&t, 0, 4, -EIO);
	for (unsigned i = 0; i < 4; i++) {
		uint32_t len;
		uint16_t head;

		assert_true(vd_used(&t.q, &head, &len));
		assert_int_equal(head, t.head[i]);
		assert_int_equal(len, 0);
		assert_int_equal(vd_blk_status(t.d, &t.r[i]), IOERR);
	}
	end(&t);
}

/* 2.6.2: with IN_ORDER, an answer waits for those before it. */
static void test_in_order(void **state)
{
	struct t t;

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		begin(&t, false, packed ? ~0ULL : ~BIT(VIRTIO_F_RING_PACKED));
		for (unsigned i = 0; i < DEPTH; i++)
			add(&t, i, VD_BLK_IN, i);
		kick(&t, DEPTH);
		answer(&t, 1, 3, 0);
		answer(&t, 8, DEPTH, -EIO);
		assert_int_equal(vd_used_idx(&t.q), 0);
		assert_int_equal(t.rig.irq.rises, 0);
		answer(&t, 0, 1, 0);
		assert_int_equal(vd_used_idx(&t.q), 3);
		assert_int_equal(t.rig.irq.rises, 1);
		answer(&t, 8, 3, 0);
		assert_int_equal(vd_used_idx(&t.q), DEPTH);
		for (unsigned i = 0; i < DEPTH; i++) {
			uint32_t len;
			uint16_t head;

			assert_true(vd_used(&t.q, &head, &len));
			assert_int_equal(head, t.head[i]);
			assert_int_equal(len, i < 8 ? SECTOR + 1 : 0);
			assert_int_equal(vd_blk_status(t.d, &t.r[i]), i < 8 ? OK : IOERR);
		}
		end(&t);
	}
}

/* 5.2.6.2: a driver without FLUSH has every write on the disk before it is answered; one with it
 * says when. */
static void test_write_through(void **state)
{
	struct t t;

	(void)state;
	for (unsigned flush = 0; flush < 2; flush++) {
		begin(&t, false, flush ? ~0ULL : ~BIT(F_FLUSH));
		add(&t, 0, VD_BLK_OUT, 3);
		kick(&t, 1);
		assert_int_equal(t.rig.blk->held[0]->op, BLK_WRITE);
		assert_int_equal(t.rig.blk->held[0]->durable, !flush);
		add(&t, 1, VD_BLK_FLUSH, 0);
		kick(&t, 2);
		assert_int_equal(t.rig.blk->held[1]->op, BLK_FLUSH);
		answer(&t, 0, 1, 0);
		assert_int_equal(vd_used_idx(&t.q), 1); /* the flush is not over */
		answer(&t, 1, 2, -EIO);
		assert_int_equal(vd_used_idx(&t.q), 2);
		assert_int_equal(vd_blk_status(t.d, &t.r[0]), OK);
		assert_int_equal(vd_blk_status(t.d, &t.r[1]), IOERR);
		end(&t);
	}
}

/* What is refused is refused before the backend hears of it. */
static void test_refused_requests_stay_here(void **state)
{
	struct t t;

	(void)state;
	begin(&t, true, ~0ULL);
	assert_int_equal(vd_blk_do(&t.q, &t.r[0], VD_BLK_OUT, 0, t.data, 1, NULL), IOERR);
	assert_int_equal(vd_blk_do(&t.q, &t.r[0], VD_BLK_IN, SECTORS, t.data, 1, NULL), IOERR);
	assert_int_equal(vd_blk_do(&t.q, &t.r[0], 77, 0, t.data, 1, NULL), 2);
	t.data[0].len = 100;
	assert_int_equal(vd_blk_do(&t.q, &t.r[0], VD_BLK_IN, 0, t.data, 1, NULL), IOERR);
	assert_int_equal(t.rig.blk->n, 0);
	end(&t);
}

static void *answer_later(void *arg)
{
	struct t *t = arg;

	answer(t, 0, 2, 0);
	answer(t, 2, 3, 0);
	return NULL;
}

/* 2.4.1: a reset waits for the last answer, and they still reach the used ring. */
static void test_reset_waits_for_answers(void **state)
{
	pthread_t thread;
	struct t t;

	(void)state;
	begin(&t, false, ~0ULL);
	for (unsigned i = 0; i < 3; i++)
		add(&t, i, VD_BLK_IN, i);
	kick(&t, 3);
	pthread_create(&thread, NULL, answer_later, &t);
	vd_set(t.d, VD_STATUS, 0);
	assert_int_equal(vd_used_idx(&t.q), 3);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	pthread_join(thread, NULL);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_write_through),
		cmocka_unit_test(test_refused_requests_stay_here),
		cmocka_unit_test(test_reset_waits_for_answers),
	};

	return cmocka_run_group_tests_name("virtio-blk order", tests, NULL, NULL);
}

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
#include "bus/bus.h"
#include "virtio/virtio.h"
#include "vrig.h"

enum { OK = 0, IOERR = 1 };
enum { F_FLUSH = 9, F_CONFIG_WCE = 11, SECTOR = 512, SECTORS = 16, DEPTH = 16 };

struct blk {
	bool readonly;
	atomic_uint n; /* requests held */
	struct blk_req *held[DEPTH];
	blk_answered_fn *answered;
	void *arg;
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

void blk_limits(const struct blk *blk, struct blk_limits *limits)
{
	*limits = (struct blk_limits){
		.logical_block = 512,
		.physical_block = 4096,
		.block_offset = 1024,
		.io_min = 8192,
		.io_opt = 65536,
		.discard_max = blk->readonly ? 0 : 4096,
		.zero_max = blk->readonly ? 0 : 2048,
		.erase_max = blk->readonly ? 0 : 4096,
		.discard_align = 4096,
		.zero_may_unmap = true,
	};
}

int blk_refresh_capacity(struct blk *blk)
{
	(void)blk;
	return 0;
}

void blk_answer_to(struct blk *blk, blk_answered_fn *answered, void *arg)
{
	blk->answered = answered;
	blk->arg = arg;
}

bool blk_read_now(struct blk *blk, struct blk_req *req)
{
	(void)blk;
	(void)req;
	return false;
}

void blk_submit(struct blk *blk, struct blk_req *first)
{
	for (struct blk_req *req = first; req; req = req->next) {
		unsigned n = atomic_load(&blk->n);

		assert_true(n < DEPTH);
		blk->held[n] = req;
		atomic_store(&blk->n, n + 1);
	}
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

static void attach_idle(struct t *t, bool readonly)
{
	assert_int_equal(vrig_disk(&t->rig, "fake", readonly, NULL), 0);
	t->d = &t->rig.driver;
	for (unsigned i = 0; i < DEPTH; i++) {
		vd_blk_init(t->d, &t->r[i]);
		t->data[i] = (struct vd_buf){ vd_alloc(t->d, SECTOR, SECTOR), SECTOR };
	}
}

static void attach(struct t *t, bool readonly, uint64_t features)
{
	attach_idle(t, readonly);
	assert_int_equal(vd_begin(t->d, features), 0);
	assert_int_equal(vd_queue_init(t->d, &t->q, 0, 64), 0);
	vd_go(t->d);
}

static void begin(struct t *t, bool readonly, uint64_t features)
{
	memset(t, 0, sizeof(*t));
	vrig_init(&t->rig, 8 << 20);
	attach(t, readonly, features);
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
	struct blk_req *first = NULL, **end = &first;

	for (unsigned i = a->from; i != a->to; i = (unsigned)((int)i + step)) {
		struct blk_req *req = step > 0 ? blk->held[i] : blk->held[i - 1];

		req->res = a->res;
		req->next = NULL;
		*end = req;
		end = &req->next;
	}
	blk->answered(blk->arg, first);
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

/* A batch has answers for several queues: each is told of its own. */
static void test_batch_of_queues(void **state)
{
	struct vd_queue q[2];
	uint16_t head;
	uint32_t len;
	struct t t;

	(void)state;
	memset(&t, 0, sizeof(t));
	vrig_init(&t.rig, 8 << 20);
	t.rig.queues = 2;
	attach_idle(&t, false);
	assert_int_equal(vd_begin(t.d, ~0ULL), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vd_queue_init(t.d, &q[i], i, 64), 0);
	vd_go(t.d);
	for (unsigned i = 0; i < 4; i++) {
		t.head[i] = vd_blk_add(&q[i % 2], &t.r[i], VD_BLK_IN, i, &t.data[i], 1, false);
		vd_kick(&q[i % 2]);
		while (atomic_load(&t.rig.blk->n) < i + 1)
			sched_yield();
	}
	answer(&t, 0, 2, 0); /* the last one is the second queue's */
	for (unsigned i = 0; i < 2; i++) {
		assert_true(vd_used(&q[i], &head, &len));
		assert_int_equal(head, t.head[i]);
	}
	answer(&t, 4, 2, 0); /* the first one's */
	for (unsigned i = 0; i < 2; i++) {
		assert_true(vd_used(&q[i], &head, &len));
		assert_int_equal(head, t.head[2 + i]);
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
		begin(&t, false, flush ? ~0ULL : ~(BIT(F_FLUSH) | BIT(F_CONFIG_WCE)));
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

/* virtio 1.2, 5.2.6.2, 5.2.5.2: with CONFIG_WCE, the `writeback` field says, at any time; a reset
 * forgets it. Only 0 and 1 are values of it, and no other byte of the configuration can
 * be written. */
static void test_config_wce(void **state)
{
	enum { WRITEBACK = 32 };
	struct t t;

	(void)state;
	begin(&t, false, ~0ULL);
	for (unsigned i = 0; i < 6; i++) {
		static const uint8_t set[6] = { 1, 0, 7, 1, 0xff, 0 };
		static const bool durable[6] = { false, true, true, false, false, true };

		for (uint32_t off = 0; off < 72; off++)
			bus_write(t.rig.bus, VRIG_SLOT + VD_CONFIG + off, 1,
				  off == WRITEBACK ? set[i] : 0xff);
		assert_int_equal(vd_config(t.d, WRITEBACK, 1), durable[i] ? 0 : 1);
		assert_int_equal(vd_config(t.d, 0, 8), SECTORS);
		add(&t, i, VD_BLK_OUT, i);
		kick(&t, i + 1);
		assert_int_equal(t.rig.blk->held[i]->durable, durable[i]);
	}
	answer(&t, 0, 6, 0);
	vd_reset(t.d);
	assert_int_equal(vd_config(t.d, WRITEBACK, 1), 1);
	end(&t);
}

/* 5.2.4: what suits the backend, in units of the logical block. */
static void test_limits(void **state)
{
	struct t t;

	(void)state;
	begin(&t, false, ~0ULL);
	assert_int_equal(vd_config(t.d, 20, 4), 512);
	assert_int_equal(vd_config(t.d, 24, 1), 3);
	assert_int_equal(vd_config(t.d, 25, 1), 2);
	assert_int_equal(vd_config(t.d, 26, 2), 16);
	assert_int_equal(vd_config(t.d, 28, 4), 128);
	assert_int_equal(vd_config(t.d, 36, 4), 8); /* max_discard_sectors */
	assert_int_equal(vd_config(t.d, 44, 4), 8); /* discard_sector_alignment */
	assert_int_equal(vd_config(t.d, 48, 4), 4);
	assert_int_equal(vd_config(t.d, 56, 1), 1);
	end(&t);
}

/* The same with blocks of another size: capacity and limits stay in sectors of 512 bytes. */
static void test_block_size(void **state)
{
	struct err err = ERR_INIT;
	struct t t;

	(void)state;
	memset(&t, 0, sizeof(t));
	vrig_init(&t.rig, 8 << 20);
	t.rig.block_size = 4096;
	attach(&t, false, ~0ULL);
	assert_int_equal(vd_config(t.d, 0, 8), SECTORS);
	assert_int_equal(vd_config(t.d, 20, 4), 4096);
	assert_int_equal(vd_config(t.d, 24, 1), 0);
	assert_int_equal(vd_config(t.d, 25, 1), 0);
	assert_int_equal(vd_config(t.d, 26, 2), 2);
	assert_int_equal(vd_config(t.d, 28, 4), 16);
	assert_int_equal(vd_config(t.d, 36, 4), 8);
	end(&t);

	memset(&t, 0, sizeof(t));
	vrig_init(&t.rig, 8 << 20);
	t.rig.block_size = 65536; /* the disk has 8 KiB */
	assert_int_equal(vrig_disk(&t.rig, "fake", false, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "65536"));
	vrig_fini(&t.rig);
}

struct told {
	unsigned times;
	struct virtio_blk_failure first;
};

static void tell(void *arg, const struct virtio_blk_failure *failure)
{
	struct told *told = arg;

	if (!told->times++)
		told->first = *failure;
}

/* Where errors stop the machine: the owner is told, the driver never; others are answered, and the
 * queue can be stopped. */
static void test_failure_is_not_answered(void **state)
{
	const uint32_t segments[8] = { 1, 0, 1, 0, 3, 0, 1, 0 }; /* sectors 1 and 3 */
	struct told told = { 0 };
	uint16_t head;
	uint32_t len;
	struct t t;

	(void)state;
	memset(&t, 0, sizeof(t));
	vrig_init(&t.rig, 8 << 20);
	t.rig.failed = tell;
	t.rig.failed_arg = &told;
	attach(&t, false, ~BIT(VIRTIO_F_IN_ORDER));
	memcpy(vd_ptr(t.d, t.data[2].gpa, sizeof(segments)), segments, sizeof(segments));
	t.data[2].len = sizeof(segments);
	add(&t, 0, VD_BLK_OUT, 5);
	add(&t, 1, VD_BLK_IN, 6);
	add(&t, 2, VD_BLK_DISCARD, 0);
	kick(&t, 3);
	answer(&t, 0, 1, -ENOSPC);
	assert_int_equal(told.times, 1);
	assert_string_equal(told.first.what, "write");
	assert_int_equal(told.first.sector, 5);
	assert_int_equal(told.first.bytes, SECTOR);
	assert_int_equal(told.first.code, -ENOSPC);
	assert_int_equal(vd_used_idx(&t.q), 0);
	answer(&t, 2, 3, -EIO); /* the first segment; the second never begins */
	assert_int_equal(told.times, 2);
	assert_int_equal(t.rig.blk->n, 3);
	assert_int_equal(vd_used_idx(&t.q), 0);
	answer(&t, 1, 2, 0);
	assert_true(vd_used(&t.q, &head, &len));
	assert_int_equal(head, t.head[1]);
	assert_int_equal(vd_blk_status(t.d, &t.r[0]), 0xff);
	assert_int_equal(vd_blk_status(t.d, &t.r[1]), OK);
	assert_int_equal(vd_blk_status(t.d, &t.r[2]), 0xff);
	vd_reset(t.d);
	end(&t);
}

/* Segments one after the other, an error ends them; over the limit none begins. */
static void test_segments(void **state)
{
	uint32_t *p;
	struct t t;

	(void)state;
	for (unsigned fails = 0; fails < 2; fails++) {
		begin(&t, false, ~0ULL);
		p = vd_ptr(t.d, t.data[0].gpa, 64);
		for (unsigned i = 0; i < 3; i++) {
			p[4 * i] = 4 * i; /* sector */
			p[4 * i + 2] = i == 1 ? 0 : i + 1;
			p[4 * i + 3] = i == 2; /* unmap */
		}
		t.data[0].len = 48;
		add(&t, 0, VD_BLK_WRITE_ZEROES, 0);
		kick(&t, 1);
		assert_int_equal(t.rig.blk->held[0]->op, BLK_ZERO);
		assert_int_equal(t.rig.blk->held[0]->off, 0);
		assert_int_equal(t.rig.blk->held[0]->len, SECTOR);
		assert_false(t.rig.blk->held[0]->may_unmap);
		answer(&t, 0, 1, fails ? -EIO : 0);
		if (!fails) {
			assert_int_equal(vd_used_idx(&t.q), 0);
			assert_int_equal(t.rig.blk->n, 2);
			assert_int_equal(t.rig.blk->held[1]->off, 8 * SECTOR);
			assert_int_equal(t.rig.blk->held[1]->len, 3 * SECTOR);
			assert_true(t.rig.blk->held[1]->may_unmap);
			answer(&t, 1, 2, 0);
		}
		assert_int_equal(vd_used_idx(&t.q), 1);
		assert_int_equal(vd_blk_status(t.d, &t.r[0]), fails ? IOERR : OK);
		assert_int_equal(t.rig.blk->n, fails ? 1 : 2);
		p[2] = 5; /* one sector over max_write_zeroes_sectors */
		t.data[0].len = 16;
		while (vd_used(&t.q, &(uint16_t){ 0 }, &(uint32_t){ 0 }))
			;
		assert_int_equal(vd_blk_do(&t.q, &t.r[1], VD_BLK_WRITE_ZEROES, 0, t.data, 1, NULL),
				 IOERR);
		end(&t);
	}
}

/* Where the backend can do it. No flag, and no more than max_secure_erase_sectors. */
static void test_secure_erase(void **state)
{
	const uint32_t good[4] = { 3, 0, 5, 0 }, flag[4] = { 3, 0, 5, 1 }, many[4] = { 3, 0, 9, 0 };
	struct t t;

	(void)state;
	begin(&t, false, ~0ULL);
	assert_true(vd_offered(t.d) & BIT(16));
	assert_int_equal(vd_config(t.d, 60, 4), 8); /* max_secure_erase_sectors */
	assert_true(vd_config(t.d, 64, 4) > 0);
	assert_int_equal(vd_config(t.d, 68, 4), 8);
	t.data[0].len = 16;
	memcpy(vd_ptr(t.d, t.data[0].gpa, 16), flag, 16);
	assert_int_equal(vd_blk_do(&t.q, &t.r[0], VD_BLK_SECURE_ERASE, 0, t.data, 1, NULL), 2);
	memcpy(vd_ptr(t.d, t.data[0].gpa, 16), many, 16);
	assert_int_equal(vd_blk_do(&t.q, &t.r[0], VD_BLK_SECURE_ERASE, 0, t.data, 1, NULL), IOERR);
	memcpy(vd_ptr(t.d, t.data[0].gpa, 16), good, 16);
	add(&t, 0, VD_BLK_SECURE_ERASE, 0);
	kick(&t, 1);
	assert_int_equal(t.rig.blk->held[0]->op, BLK_ERASE);
	assert_int_equal(t.rig.blk->held[0]->off, 3 * SECTOR);
	assert_int_equal(t.rig.blk->held[0]->len, 5 * SECTOR);
	answer(&t, 0, 1, 0);
	assert_int_equal(vd_blk_status(t.d, &t.r[0]), OK);
	end(&t);

	begin(&t, true, ~0ULL);
	assert_false(vd_offered(t.d) & BIT(16));
	end(&t);
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
		cmocka_unit_test(test_batch_of_queues),
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_write_through),
		cmocka_unit_test(test_config_wce),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_block_size),
		cmocka_unit_test(test_failure_is_not_answered),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_secure_erase),
		cmocka_unit_test(test_refused_requests_stay_here),
		cmocka_unit_test(test_reset_waits_for_answers),
	};

	return cmocka_run_group_tests_name("virtio-blk order", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The deep tier of the lint, on a queue without a transport: for each rule a driver that breaks it
 * and no other, and drivers that are right in every way that there is, some of them on a thread of
 * their own, of which nothing is said.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "virtio/virtio.h"
#include "vqrig.h"

enum { SIZE = 8, IN = 64 };

#define PACKED    BIT(VIRTIO_F_RING_PACKED)
#define EVENT_IDX BIT(VIRTIO_F_EVENT_IDX)
#define INDIRECT  BIT(VIRTIO_F_INDIRECT_DESC)
#define IN_ORDER  BIT(VIRTIO_F_IN_ORDER)

static void answer_one(struct vqrig *rig)
{
	struct vq_chain *c;

	vqrig_take(rig, &c);
	vqrig_answer(rig, c);
}

/* ---- Notifications ---- */

/* n times round: the driver makes a chain available and has it back, and notifies `kicks` times. */
static void busy(struct vqrig *rig, unsigned n, unsigned kicks)
{
	uint16_t head;
	uint32_t len;

	while (n--) {
		vqrig_offer(rig, IN, false);
		atomic_fetch_add(&rig->kicks, kicks);
		answer_one(rig);
		assert_true(vd_used(&rig->q, &head, &len));
	}
}

/* The device is busy for long, and says so; the driver notifies for each chain all the same. */
static void kick_while_busy(struct vqrig *rig)
{
	atomic_fetch_add(&rig->kicks, 100); /* from before */
	vqrig_begin(rig->vq);
	busy(rig, 40, 1);
	vq_kicks(rig->vq);
	atomic_fetch_add(&rig->kicks, 100); /* wanted again */
}

/* It is busy often. */
static void kick_when_busy(struct vqrig *rig)
{
	for (unsigned i = 0; i < 20; i++) {
		vqrig_begin(rig->vq);
		busy(rig, 4, 1);
		vq_kicks(rig->vq);
	}
}

/* Available, asked for, and not a word. */
static void kick_missing(struct vqrig *rig)
{
	const struct vq_outside kicked = { .kicked = true }, quiet = { .kicked = false };

	assert_false(vq_kicks(rig->vq));
	vq_stalled(rig->vq, quiet); /* nothing to say */
	vqrig_offer(rig, IN, false);
	vq_stalled(rig->vq, kicked); /* the device has not looked yet */
	assert_int_equal(lint_count(rig->lint, LINT_KICK_MISSING), 0);
	vq_stalled(rig->vq, quiet);
}

/* ---- Changes in flight ---- */

/* idx first, then the entry: the device takes what was there a lap before. */
static void idx_early(struct vqrig *rig)
{
	struct vq_chain *c;

	for (unsigned i = 0; i < SIZE; i++) {
		uint16_t head;
		uint32_t len;

		vqrig_offer(rig, 0, false);
		answer_one(rig);
		assert_true(vd_used(&rig->q, &head, &len));
	}
	vd_desc_set(&rig->d, rig->q.desc, 5, rig->buf, 16, 0, 0);
	vd_avail_set(&rig->q, rig->q.avail_idx, 3);
	vd_desc_set(&rig->d, rig->q.desc, 3, rig->buf, 16, 0, 0);
	vd_avail_idx_set(&rig->q, ++rig->q.avail_idx);
	vqrig_take(rig, &c);
	vd_avail_set(&rig->q, (uint16_t)(rig->q.avail_idx - 1), 5);
	vqrig_answer(rig, c);
}

static void desc_changed(struct vqrig *rig)
{
	struct vq_chain *c;
	uint16_t head = vqrig_offer(rig, IN, false);

	vqrig_take(rig, &c);
	((uint8_t *)vd_ptr(&rig->d, rig->q.desc + 16ULL * head, 16))[8] ^= 1;
	vqrig_answer(rig, c);
}

static void table_changed(struct vqrig *rig)
{
	struct vq_chain *c;

	vqrig_offer(rig, IN, true);
	vqrig_take(rig, &c);
	((uint8_t *)vd_ptr(&rig->d, rig->q.tables, 32))[16 + 8] ^= 1;
	vqrig_answer(rig, c);
}

static void header_changed(struct vqrig *rig)
{
	struct vq_chain *c;

	vqrig_offer(rig, IN, false);
	vqrig_take(rig, &c);
	*(uint8_t *)vd_ptr(&rig->d, rig->buf + 15, 1) ^= 1;
	vqrig_answer(rig, c);
}

/* Segments, behind the header. */
static void segments_changed(struct vqrig *rig)
{
	const struct vd_buf buf[] = { { rig->buf, 8 }, { rig->buf + 8, 24 } };
	struct vq_chain *c;

	assert_true(vd_add(&rig->q, buf, 2, 0, false) >= 0);
	vd_publish(&rig->q);
	vqrig_take(rig, &c);
	*(uint8_t *)vd_ptr(&rig->d, rig->buf + 31, 1) ^= 1;
	vqrig_answer(rig, c);
}

/* ---- Shapes ---- */

static void id_reused(struct vqrig *rig)
{
	struct vq_chain *a, *b;

	vqrig_offer(rig, IN, false);
	vqrig_offer(rig, IN, false);
	/* The id counts in the last descriptor of a list: those of the second are 2 and 3. */
	*(uint8_t *)vd_ptr(&rig->d, rig->q.desc + 16 * 3 + 12, 1) = 0;
	vqrig_take(rig, &a);
	vqrig_take(rig, &b);
	vqrig_answer(rig, a);
	vqrig_answer(rig, b);
}

static void table_flags(struct vqrig *rig)
{
	vqrig_offer(rig, IN, true);
	*(uint8_t *)vd_ptr(&rig->d, rig->q.tables + 14, 1) |= VD_NEXT;
	answer_one(rig);
}

static void next_order(struct vqrig *rig)
{
	vd_desc_set(&rig->d, rig->q.desc, 0, rig->buf, 16, VD_NEXT, 2);
	vd_desc_set(&rig->d, rig->q.desc, 2, rig->buf, 16, 0, 0);
	vd_avail_set(&rig->q, rig->q.avail_idx++, 0);
	vd_publish(&rig->q);
	answer_one(rig);
}

static void next_order_in_table(struct vqrig *rig)
{
	vd_desc_set(&rig->d, rig->q.tables, 0, rig->buf, 16, VD_NEXT, 2);
	vd_desc_set(&rig->d, rig->q.tables, 2, rig->buf, 16, 0, 0);
	vd_desc_set(&rig->d, rig->q.desc, 0, rig->q.tables, 48, VD_INDIRECT, 0);
	vd_avail_set(&rig->q, rig->q.avail_idx++, 0);
	vd_publish(&rig->q);
	answer_one(rig);
}

static void buffer_in_ring(struct vqrig *rig)
{
	const struct vd_buf buf[] = { { rig->buf, 16 }, { rig->q.used + 8, 8 } };

	assert_true(vd_add(&rig->q, buf, 1, 1, false) >= 0);
	vd_publish(&rig->q);
	answer_one(rig);
}

/* ---- Barriers: what a CPU tells of stores (gmem_stored()) ---- */

struct cpu {
	struct vqrig *rig;
	unsigned number;
	uint64_t fences, nth;
};

/* A store of the vCPU's, of what is in memory already. */
static void stored(struct cpu *c, gpa_t gpa, size_t len)
{
	c->nth++;
	gmem_stored(c->rig->mem, &(struct gmem_store){ .gpa = gpa,
						       .len = len,
						       .cpu = c->number,
						       .pc = 0x1000 + c->nth,
						       .nth = c->nth,
						       .fences = c->fences });
}

static gpa_t desc_of(const struct vqrig *rig, unsigned i)
{
	return rig->q.desc + 16ULL * i;
}

static gpa_t entry_of(const struct vqrig *rig, unsigned i)
{
	return rig->q.avail + 4 + 2ULL * i;
}

static gpa_t idx_of(const struct vqrig *rig)
{
	return rig->q.avail + 2;
}

/* Once round with a barrier in each place but that one: 1 before the entry, 2 before idx. */
static void no_barrier(struct vqrig *rig, unsigned but)
{
	struct cpu c = { .rig = rig };
	uint16_t head = vqrig_offer(rig, IN, false);

	stored(&c, desc_of(rig, head), 16);
	c.fences += but != 1;
	stored(&c, entry_of(rig, 0), 2);
	c.fences += but != 2;
	stored(&c, idx_of(rig), 2);
}

static void no_barrier_before_idx(struct vqrig *rig)
{
	no_barrier(rig, 2);
	assert_non_null(strstr(rig->last, "entry 0 stored at pc 0x1002, then idx at pc 0x1003"));
}

/* The entry was there already, and the second descriptor of the chain was not. */
static void no_barrier_but_for_the_entry(struct vqrig *rig)
{
	struct cpu c = { .rig = rig };

	vqrig_offer(rig, IN, false);
	stored(&c, desc_of(rig, 0), 16);
	stored(&c, entry_of(rig, 0), 2);
	c.fences++;
	stored(&c, desc_of(rig, 1) + 8, 4);
	stored(&c, idx_of(rig), 2);
	assert_non_null(strstr(rig->last, "descriptor 1 stored at pc 0x1003"));
}

/* Two at once, and the first is right; and idx by a store of all 8 bytes around it, but for the
 * entry of the second. */
static void no_barrier_of_the_second(struct vqrig *rig)
{
	struct cpu c = { .rig = rig };

	vqrig_offer(rig, 0, false);
	vqrig_offer(rig, 0, false);
	stored(&c, entry_of(rig, 0), 2);
	c.fences++;
	stored(&c, entry_of(rig, 1), 2);
	stored(&c, idx_of(rig) - 2, 6);
	assert_non_null(strstr(rig->last, "entry 1 stored"));
}

/* From 255 to 256, a byte at a time: half-way, idx is 0. */
static void no_barrier_and_two_bytes(struct vqrig *rig)
{
	static const uint8_t half[2], whole[2] = { 0, 1 };
	struct cpu c = { .rig = rig };
	uint16_t head;
	uint32_t len;

	for (unsigned i = 0; i < 255; i++) {
		vqrig_offer(rig, 0, false);
		stored(&c, entry_of(rig, i % SIZE), 2);
		c.fences++;
		stored(&c, idx_of(rig), 1);
		stored(&c, idx_of(rig) + 1, 1);
		answer_one(rig);
		assert_true(vd_used(&rig->q, &head, &len));
	}
	vqrig_offer(rig, 0, false);
	stored(&c, entry_of(rig, 255 % SIZE), 2);
	vd_put(&rig->d, idx_of(rig), half, 2);
	stored(&c, idx_of(rig), 1);
	vd_put(&rig->d, idx_of(rig), whole, 2);
	assert_int_equal(lint_count(rig->lint, LINT_NO_BARRIER), 0);
	stored(&c, idx_of(rig) + 1, 1);
}

static void no_barrier_before_flags(struct vqrig *rig)
{
	struct cpu c = { .rig = rig };

	vqrig_offer(rig, IN, false);
	stored(&c, desc_of(rig, 0), 14);
	stored(&c, desc_of(rig, 1), 14);
	c.fences++;
	stored(&c, desc_of(rig, 1) + 14, 2);
	stored(&c, desc_of(rig, 0) + 14, 2);
	assert_non_null(strstr(rig->last, "descriptor 1 stored at pc 0x1003, then flags of the"));
}

/* On the second lap. */
static void no_barrier_behind_the_end(struct vqrig *rig)
{
	struct cpu c = { .rig = rig };
	uint16_t head;
	uint32_t len;

	for (unsigned i = 0; i <= SIZE; i++) {
		vqrig_offer(rig, 0, false);
		stored(&c, desc_of(rig, i % SIZE), 14);
		c.fences += i < SIZE;
		assert_int_equal(lint_count(rig->lint, LINT_NO_BARRIER), 0);
		stored(&c, desc_of(rig, i % SIZE) + 14, 2);
		answer_one(rig);
		assert_true(vd_used(&rig->q, &head, &len));
	}
}

static const struct {
	enum lint_id rule;
	void (*driver)(struct vqrig *rig);
	uint64_t features;
} slips[] = {
	{ LINT_KICK_SUPPRESSED, kick_while_busy, 0 },
	{ LINT_KICK_SUPPRESSED, kick_while_busy, EVENT_IDX },
	{ LINT_KICK_SUPPRESSED, kick_when_busy, 0 },
	{ LINT_KICK_SUPPRESSED, kick_when_busy, EVENT_IDX },
	{ LINT_KICK_MISSING, kick_missing, 0 },
	{ LINT_KICK_MISSING, kick_missing, EVENT_IDX },
	{ LINT_KICK_MISSING, kick_missing, PACKED },
	{ LINT_KICK_MISSING, kick_missing, PACKED | EVENT_IDX },
	{ LINT_IDX_EARLY, idx_early, 0 },
	{ LINT_DESC_CHANGED, desc_changed, 0 },
	{ LINT_DESC_CHANGED, desc_changed, PACKED },
	{ LINT_DESC_CHANGED, table_changed, INDIRECT },
	{ LINT_DESC_CHANGED, table_changed, INDIRECT | PACKED },
	{ LINT_HEADER_CHANGED, header_changed, 0 },
	{ LINT_HEADER_CHANGED, header_changed, PACKED },
	{ LINT_HEADER_CHANGED, segments_changed, 0 },
	{ LINT_HEADER_CHANGED, segments_changed, PACKED },
	{ LINT_ID_REUSED, id_reused, PACKED },
	{ LINT_TABLE_FLAGS, table_flags, INDIRECT | PACKED },
	{ LINT_NEXT_ORDER, next_order, IN_ORDER },
	{ LINT_NEXT_ORDER, next_order_in_table, INDIRECT | IN_ORDER },
	{ LINT_BUFFER_IN_RING, buffer_in_ring, 0 },
	{ LINT_NO_BARRIER, no_barrier_before_idx, 0 },
	{ LINT_NO_BARRIER, no_barrier_but_for_the_entry, 0 },
	{ LINT_NO_BARRIER, no_barrier_of_the_second, 0 },
	{ LINT_NO_BARRIER, no_barrier_and_two_bytes, 0 },
	{ LINT_NO_BARRIER, no_barrier_before_flags, PACKED },
	{ LINT_NO_BARRIER, no_barrier_behind_the_end, PACKED },
};

/* A CPU that would tell of stores. */
static void watched(struct gmem_observer *obs)
{
	(void)obs;
}
static void written(struct gmem_observer *obs, gpa_t gpa, size_t len)
{
	(void)obs;
	(void)gpa;
	(void)len;
}

/* Memory that such a CPU uses, which a queue is in. */
static void watch(struct vqrig *rig, struct gmem_observer *cpu, uint64_t features)
{
	vqrig_init(rig, VQ_WATCH_DEEP);
	*cpu = (struct gmem_observer){ .written = written, .watched = watched };
	gmem_observe(rig->mem, cpu);
	vqrig_setup(rig, SIZE, features);
}

/* This rule, or LINT_RULES: none, was broken, and no other. */
static void assert_found(struct vqrig *rig, enum lint_id rule, uint64_t slip)
{
	for (unsigned i = 0; i < LINT_RULES; i++)
		if ((i == rule) != (lint_count(rig->lint, (enum lint_id)i) != 0))
			fail_msg("driver 0x%" PRIx64 ": %s %s found (%s)", slip, lint_rules[i].id,
				 i == rule ? "was not" : "was", rig->last);
}

static void test_each_slip_is_found(void **state)
{
	struct gmem_observer cpu;
	struct vqrig rig;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(slips); i++) {
		assert_true(lint_rules[slips[i].rule].deep);
		watch(&rig, &cpu, slips[i].features);
		slips[i].driver(&rig);
		assert_found(&rig, slips[i].rule, i);
		vqrig_fini(&rig);
	}
}

/* ---- Silence ---- */

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/*
 * One thread plays both sides: chains of all lengths, direct and indirect, answered in any order;
 * what is the driver's again is written over at once. A descriptor of its own for each buffer,
 * since the one page of the rig would be shared.
 */
static void play(uint64_t features, uint32_t seed)
{
	struct vq_chain *flying[SIZE];
	gpa_t page[SIZE];
	struct vqrig rig;
	unsigned n = 0;

	vqrig_init(&rig, VQ_WATCH_DEEP);
	vqrig_setup(&rig, SIZE, features);
	for (unsigned i = 0; i < SIZE; i++)
		page[i] = vd_alloc(&rig.d, 4096, 64);
	for (unsigned step = 0; step < 4000; step++) {
		uint32_t r = next_random(&seed);

		if (r % 3 == 0) {
			unsigned out = 1 + r / 8 % 3, in = r / 64 % 3, at = rig.q.free_head;
			struct vd_buf buf[6];

			if (rig.q.n_free < out + in)
				continue;
			memset(vd_ptr(&rig.d, page[at], 4096), (int)(r >> 3), 4096);
			for (unsigned i = 0; i < out + in; i++)
				buf[i] = (struct vd_buf){ page[at] + 100 * i, 1 + r % 90 };
			vd_add(&rig.q, buf, out, in,
			       (features & INDIRECT) && out + in > 1 && r / 512 % 2);
			vd_publish(&rig.q);
		} else if (r % 3 == 1 && n < SIZE) {
			if (vq_pop(rig.vq, &flying[n], 1) == 1)
				n++;
		} else if (n) {
			unsigned k = r / 16 % n;
			uint16_t head;
			uint32_t len;

			vqrig_answer(&rig, flying[k]);
			flying[k] = flying[--n];
			while (vd_used(&rig.q, &head, &len))
				memset(vd_ptr(&rig.d, page[head], 4096), 0xee, 4096);
		}
	}
	assert_found(&rig, LINT_RULES, features);
	vqrig_fini(&rig);
}

static void test_silence(void **state)
{
	(void)state;
	for (uint32_t k = 0; k < 16; k++)
		play((k & 1 ? INDIRECT : 0) | (k & 2 ? EVENT_IDX : 0) | (k & 4 ? PACKED : 0) |
			     (k & 8 ? IN_ORDER : 0),
		     k + 1);
}

/* A notification that comes late is no slip, nor one for nothing (2.9), nor any in the
 * packed ring. */
static void test_kicks_that_are_no_slip(void **state)
{
	struct vqrig rig;

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		vqrig_init(&rig, VQ_WATCH_DEEP);
		vqrig_setup(&rig, SIZE, packed ? PACKED : 0);
		for (unsigned i = 0; i < 100; i++) {
			vqrig_begin(rig.vq);
			busy(&rig, 2, 1);
			vq_kicks(rig.vq);
			vqrig_begin(rig.vq);
			atomic_fetch_add(&rig.kicks, 100);
			vq_kicks(rig.vq);
			atomic_fetch_add(&rig.kicks, 100);
		}
		if (packed)
			kick_while_busy(&rig);
		assert_found(&rig, LINT_RULES, packed);
		vqrig_fini(&rig);
	}
}

/* Data of a write may change while it is under way: Linux does that to pages of files. */
static void test_data_may_change(void **state)
{
	struct vd_buf buf[2];
	struct vq_chain *c;
	struct vqrig rig;

	(void)state;
	vqrig_init(&rig, VQ_WATCH_DEEP);
	vqrig_setup(&rig, SIZE, 0);
	buf[0] = (struct vd_buf){ rig.buf, 16 };
	buf[1] = (struct vd_buf){ rig.buf + 512, 1024 };
	assert_true(vd_add(&rig.q, buf, 2, 0, false) >= 0);
	vd_publish(&rig.q);
	vqrig_take(&rig, &c);
	memset(vd_ptr(&rig.d, rig.buf + 512, 1024), 0xee, 1024);
	vqrig_answer(&rig, c);
	assert_found(&rig, LINT_RULES, 0);
	vqrig_fini(&rig);
}

/* Once round for each thing that a driver may do, or that nobody could be sure about. */
static void test_barriers_that_are_no_slip(void **state)
{
	struct gmem_observer observer;
	struct vqrig rig;
	uint16_t head;
	uint32_t len;

	(void)state;
	for (unsigned k = 0; k < 6; k++) {
		struct cpu c = { .rig = &rig }, other = { .rig = &rig, .number = 1 };

		watch(&rig, &observer, 0);
		switch (k) {
		case 0: /* one barrier does for both; none is owed before the entry */
			no_barrier(&rig, 1);
			break;
		case 1: /* the next chain is prepared behind the barrier */
			vqrig_offer(&rig, 0, false);
			stored(&c, desc_of(&rig, 0), 16);
			stored(&c, entry_of(&rig, 0), 2);
			c.fences++;
			stored(&c, desc_of(&rig, 1), 16);
			stored(&c, entry_of(&rig, 1), 2);
			stored(&c, idx_of(&rig), 2);
			break;
		case 2: /* prepared by one, published by another */
			vqrig_offer(&rig, 0, false);
			stored(&other, desc_of(&rig, 0), 16);
			stored(&other, entry_of(&rig, 0), 2);
			stored(&c, idx_of(&rig), 2);
			break;
		case 3: /* all by one store, or by one that crosses a page */
			vqrig_offer(&rig, 0, false);
			stored(&c, entry_of(&rig, 0), 2);
			c.nth--;
			stored(&c, rig.q.avail, 8);
			break;
		case 4: /* a ring that is cleared, and idx that does not move */
			stored(&c, desc_of(&rig, 0), 16ULL * SIZE);
			stored(&c, rig.q.avail, 64);
			stored(&c, idx_of(&rig), 2);
			break;
		default: /* forgotten with the queue: set up anew, nothing of it was stored yet */
			vqrig_offer(&rig, 0, false);
			stored(&c, entry_of(&rig, 0), 2);
			vqrig_setup(&rig, SIZE, 0);
			vqrig_offer(&rig, 0, false);
			stored(&c, idx_of(&rig), 2);
			answer_one(&rig);
			assert_true(vd_used(&rig.q, &head, &len));
		}
		assert_found(&rig, LINT_RULES, k);
		vqrig_fini(&rig);
	}
}

/* Where no CPU tells of stores, nothing is watched. */
static void test_no_cpu_that_tells(void **state)
{
	struct vqrig rig;

	(void)state;
	vqrig_init(&rig, VQ_WATCH_DEEP);
	vqrig_setup(&rig, SIZE, 0);
	assert_false(gmem_watchable(rig.mem));
	no_barrier(&rig, 2);
	assert_found(&rig, LINT_RULES, 0);
	vqrig_fini(&rig);
}

/* Two threads, so that notifications and the device's wishes meet in every way. */
struct race {
	struct vqrig rig;
	atomic_bool quit;
};

static void *device(void *arg)
{
	struct race *r = arg;
	struct vq_chain *c;

	while (!atomic_load(&r->quit)) {
		unsigned n = atomic_exchange(&r->rig.kicks, 0);

		if (!n) {
			sched_yield();
			continue;
		}
		vq_kicked(r->rig.vq, n);
		do {
			vqrig_begin(r->rig.vq);
			while (vq_pop(r->rig.vq, &c, 1) == 1)
				vqrig_answer(&r->rig, c);
		} while (vq_kicks(r->rig.vq));
	}
	return NULL;
}

static void race(uint64_t features)
{
	pthread_t thread;
	struct race r = { 0 };
	uint32_t seed = 1;

	vqrig_init(&r.rig, VQ_WATCH_DEEP);
	vqrig_setup(&r.rig, SIZE, features);
	assert_int_equal(pthread_create(&thread, NULL, device, &r), 0);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned burst = 1 + next_random(&seed) % 3;
		uint16_t head;
		uint32_t len;

		for (unsigned k = 0; k < burst && r.rig.q.n_free >= 2; k++)
			vqrig_offer(&r.rig, IN, false);
		if (vd_wants_kick(&r.rig.q))
			atomic_fetch_add(&r.rig.kicks, 1);
		for (unsigned spin = 0; spin < i % 512; spin++)
			__asm__ volatile("" ::: "memory");
		assert_int_equal(r.rig.q.n_free >= 2 || !vd_wait(&r.rig.q, &head, &len), 1);
		while (vd_used(&r.rig.q, &head, &len))
			;
	}
	atomic_store(&r.quit, true);
	pthread_join(thread, NULL);
	assert_found(&r.rig, LINT_RULES, features);
	vqrig_fini(&r.rig);
}

static void test_silence_of_two(void **state)
{
	(void)state;
	race(0);
	race(EVENT_IDX);
	race(PACKED);
	race(PACKED | EVENT_IDX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_slip_is_found),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_data_may_change),
		cmocka_unit_test(test_kicks_that_are_no_slip),
		cmocka_unit_test(test_barriers_that_are_no_slip),
		cmocka_unit_test(test_no_cpu_that_tells),
		cmocka_unit_test(test_silence_of_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

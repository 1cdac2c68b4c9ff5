/* SPDX-License-Identifier: MIT */
/*
 * The split virtqueue (virtio 1.2, 2.7) against a driver that keeps the rules and one that does
 * not. One thread, no transport.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "vdriver.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"
#include "vqrig.h"

#define RAM VQRIG_RAM
enum { RAM_SIZE = VQRIG_RAM_SIZE, SIZE = 8 };

static uint64_t features_of(bool indirect, bool event_idx)
{
	return (indirect ? BIT(VIRTIO_F_INDIRECT_DESC) : 0) |
	       (event_idx ? BIT(VIRTIO_F_EVENT_IDX) : 0);
}

/* A queue of `size`, with the event index and indirect descriptors or without. */
static void begin(struct vqrig *t, uint16_t size, bool indirect, bool event_idx)
{
	vqrig_init(t, 0);
	vqrig_setup(t, size, features_of(indirect, event_idx));
}

static void desc(struct vqrig *t, unsigned i, gpa_t addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	vd_desc_set(&t->d, t->q.desc, i, addr, len, flags, next);
}

static void make_available(struct vqrig *t, uint16_t head)
{
	vd_avail_set(&t->q, t->q.avail_idx++, head);
	vd_publish(&t->q);
}

/* Chains as they should be */

static void test_pop_empty(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	assert_int_equal(vq_in_flight(t.vq), 0);
	assert_false(vq_publish(t.vq));
	vqrig_fini(&t);
}

/* 2.7.4.1: any arrangement of descriptors; lengths and addresses reach the device unchanged. */
static void check_chain(bool indirect)
{
	struct vqrig t;
	struct vd_buf b[4];
	uint16_t head;
	uint32_t len;
	int h;

	begin(&t, SIZE, true, true);
	for (unsigned i = 0; i < 4; i++)
		b[i] = (struct vd_buf){ t.buf + 100 * i, 1 + i };
	h = vd_add(&t.q, b, 1, 3, indirect);
	assert_true(h >= 0);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0); /* not published yet */
	vd_publish(&t.q);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	assert_int_equal(t.c->slot, h);
	assert_int_equal(t.c->n_out, 1);
	assert_int_equal(t.c->n_in, 3);
	assert_int_equal(t.c->out_len, 1);
	assert_int_equal(t.c->in_len, 2 + 3 + 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_ptr_equal(t.c->iov[i].iov_base, vd_ptr(&t.d, b[i].gpa, b[i].len));
		assert_int_equal(t.c->iov[i].iov_len, b[i].len);
	}
	assert_int_equal(vq_in_flight(t.vq), 1);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	vqrig_push(t.vq, t.c, 7);
	assert_int_equal(vd_used_idx(&t.q), 0); /* only vq_publish() shows it */
	assert_true(vq_publish(t.vq));
	assert_true(vd_used(&t.q, &head, &len));
	assert_int_equal(head, h);
	assert_int_equal(len, 7);
	assert_int_equal(vq_in_flight(t.vq), 0);
	vqrig_fini(&t);
}

static void test_direct(void **state)
{
	(void)state;
	check_chain(false);
}

static void test_indirect(void **state)
{
	(void)state;
	check_chain(true);
}

/* 2.7.5.3.2: direct descriptors, then one indirect; its WRITE flag means nothing. */
static void test_direct_then_indirect(void **state)
{
	struct vqrig t;
	gpa_t table;

	(void)state;
	begin(&t, SIZE, true, true);
	table = t.buf + 1001; /* no alignment is asked of a table */
	vd_desc_set(&t.d, table, 0, t.buf + 32, 16, VD_NEXT, 2);
	vd_desc_set(&t.d, table, 2, t.buf + 64, 8, VD_WRITE, 0);
	desc(&t, 5, t.buf, 16, VD_NEXT, 1);
	desc(&t, 1, table, 48, VD_INDIRECT | VD_WRITE, 0);
	make_available(&t, 5);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	assert_int_equal(t.c->slot, 5);
	assert_int_equal(t.c->n_out, 2);
	assert_int_equal(t.c->n_in, 1);
	assert_int_equal(t.c->out_len, 32);
	assert_ptr_equal(t.c->iov[2].iov_base, vd_ptr(&t.d, t.buf + 64, 8));
	vqrig_fini(&t);
}

/* As long as the queue: the longest that a chain may be, both ways. Class 6: after a smaller
 * configuration of the same queue. */
static void test_longest_chain(void **state)
{
	struct vd_buf b[VQ_CHAIN_MAX];
	struct vq_state s;
	struct vqrig t;

	(void)state;
	begin(&t, 2, true, true);
	vd_queue_layout(&t.d, &t.q, 0, VQ_CHAIN_MAX);
	s = vqrig_state(&t.q);
	assert_int_equal(vq_setup(t.vq, &s, features_of(true, true)), 0);
	for (unsigned i = 0; i < VQ_CHAIN_MAX; i++)
		b[i] = (struct vd_buf){ t.buf + i, 1 };
	for (unsigned i = 0; i < 2; i++) {
		assert_true(vd_add(&t.q, b, 1, VQ_CHAIN_MAX - 1, i) >= 0);
		vd_publish(&t.q);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
		assert_int_equal(t.c->in_len, VQ_CHAIN_MAX - 1);
		vqrig_push(t.vq, t.c, 0);
		vq_publish(t.vq);
		assert_true(vd_used(&t.q, &(uint16_t){ 0 }, &(uint32_t){ 0 }));
	}
	vqrig_fini(&t);
}

/* Indices are 16 bits and wrap many times; heads come back in another order than they went. */
static void test_wrap(void **state)
{
	struct vq_chain *c[SIZE];
	struct vd_buf b;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	b = (struct vd_buf){ t.buf, 64 };
	for (unsigned round = 0; round < 3 * 65536 / SIZE; round++) {
		for (unsigned i = 0; i < SIZE; i++)
			assert_true(vd_add(&t.q, &b, 0, 1, round & 1) >= 0);
		vd_publish(&t.q);
		for (unsigned i = 0; i < SIZE; i++)
			assert_int_equal(vq_pop(t.vq, &c[i], 1), 1);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
		for (unsigned i = 0; i < SIZE; i++)
			vqrig_push(t.vq, c[(i * 3 + round) % SIZE], round);
		assert_true(vq_publish(t.vq));
		for (unsigned i = 0; i < SIZE; i++) {
			uint16_t head;
			uint32_t len;

			assert_true(vd_used(&t.q, &head, &len));
			assert_int_equal(head, c[(i * 3 + round) % SIZE]->slot);
			assert_int_equal(len, round);
		}
		vd_interrupts(&t.q, true);
	}
	vqrig_fini(&t);
}

/* A queue goes on from saved state; the reset one has forgotten everything. */
static void test_state(void **state)
{
	struct vd_buf b;
	struct vq_state s;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, false);
	b = (struct vd_buf){ t.buf, 64 };
	for (unsigned i = 0; i < 3; i++) {
		assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
		vd_publish(&t.q);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
		vqrig_push(t.vq, t.c, i);
	}
	assert_true(vq_publish(t.vq));
	s = *vq_state(t.vq);
	vq_reset(t.vq);
	assert_int_equal(vq_state(t.vq)->size, 0);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	assert_false(vq_kicks(t.vq));
	assert_int_equal(vq_setup(t.vq, &s, features_of(true, false)), 0);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
	vd_publish(&t.q);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	vqrig_push(t.vq, t.c, 3);
	assert_true(vq_publish(t.vq));
	for (uint32_t i = 0, len; i < 4; i++) {
		assert_true(vd_used(&t.q, &(uint16_t){ 0 }, &len));
		assert_int_equal(len, i);
	}
	vqrig_fini(&t);
}

/* Class 3: what was judged is what is used, whatever the driver writes afterwards. */
static void test_double_fetch(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	desc(&t, 0, t.buf, 16, VD_WRITE, 0);
	make_available(&t, 0);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	desc(&t, 0, 0, UINT32_MAX, VD_NEXT, 0xffff);
	vd_avail_set(&t.q, 0, 0xffff);
	assert_int_equal(t.c->iov[0].iov_len, 16);
	assert_int_equal(t.c->in_len, 16);
	vqrig_push(t.vq, t.c, 16);
	vq_publish(t.vq);
	assert_int_equal(vd_used_idx(&t.q), 1);
	vqrig_fini(&t);
}

/* Writes by the device drop decoded code: its buffers' and the used ring's. */
struct seen {
	struct gmem_observer obs;
	gpa_t at[16];
	size_t len[16];
	unsigned n;
};

static void seen_written(struct gmem_observer *obs, gpa_t gpa, size_t len)
{
	struct seen *s = container_of(obs, struct seen, obs);

	if (s->n < ARRAY_SIZE(s->at)) {
		s->at[s->n] = gpa;
		s->len[s->n++] = len;
	}
}

static void test_writes_are_reported(void **state)
{
	struct seen seen = { .obs.written = seen_written };
	const struct gmem_region *r;
	struct vd_buf b[2];
	struct vq_state s;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, false);
	gmem_observe(t.mem, &seen.obs);
	s = vqrig_state(&t.q);
	assert_int_equal(vq_setup(t.vq, &s, features_of(true, false)), 0);
	r = gmem_find(t.mem, RAM);
	for (uint64_t i = 0; i < r->size / GMEM_PAGE_SIZE; i++)
		r->flags[i] = GMEM_PAGE_CODE;
	b[0] = (struct vd_buf){ t.buf, 64 };
	b[1] = (struct vd_buf){ t.buf + 64, 512 };
	assert_true(vd_add(&t.q, b, 1, 1, false) >= 0);
	vd_publish(&t.q);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.at[0], t.q.used); /* flags: no kicks */
	seen.n = 0;
	vqrig_push(t.vq, t.c, 1);
	assert_true(seen.n >= 2);
	assert_int_equal(seen.at[0], b[1].gpa);
	assert_int_equal(seen.len[0], b[1].len);
	assert_int_equal(seen.at[1], t.q.used + 4); /* the entry */
	seen.n = 0;
	vq_publish(t.vq);
	assert_true(seen.n >= 1);
	assert_int_equal(seen.at[0], t.q.used); /* flags and idx */
	vqrig_fini(&t);
}

/* Malformed rings: each is -EPROTO, once and for all, and leaves no trace in guest memory. */

struct bad {
	const char *name;
	void (*make)(struct vqrig *t);
	const char *why; /* part of what the log says */
};

static void bad_head(struct vqrig *t)
{
	make_available(t, SIZE);
}

static void bad_next(struct vqrig *t)
{
	desc(t, 0, t->buf, 16, VD_NEXT, SIZE);
	make_available(t, 0);
}

static void bad_loop(struct vqrig *t)
{
	desc(t, 0, t->buf, 16, VD_NEXT, 1);
	desc(t, 1, t->buf, 16, VD_NEXT, 0);
	make_available(t, 0);
}

static void bad_loop_on_itself(struct vqrig *t)
{
	desc(t, 3, t->buf, 16, VD_NEXT | VD_WRITE, 3);
	make_available(t, 3);
}

static void indirect_chain(struct vqrig *t, unsigned n, uint32_t each)
{
	for (unsigned i = 0; i < n; i++)
		vd_desc_set(&t->d, t->buf, i, RAM, each,
			    (uint16_t)(VD_WRITE | (i < n - 1 ? VD_NEXT : 0)), (uint16_t)(i + 1));
	desc(t, 0, t->buf, 16 * n, VD_INDIRECT, 0);
	make_available(t, 0);
}

static void bad_longer_than_queue(struct vqrig *t)
{
	indirect_chain(t, SIZE + 1, 16);
}

static void bad_indirect_not_negotiated(struct vqrig *t)
{
	indirect_chain(t, 1, 16);
}

static void bad_indirect_nested(struct vqrig *t)
{
	vd_desc_set(&t->d, t->buf, 0, t->buf + 256, 16, VD_INDIRECT, 0);
	vd_desc_set(&t->d, t->buf + 256, 0, t->buf, 16, 0, 0);
	desc(t, 0, t->buf, 16, VD_INDIRECT, 0);
	make_available(t, 0);
}

static void bad_indirect_into_itself(struct vqrig *t)
{
	vd_desc_set(&t->d, t->buf, 0, t->buf, 16, VD_INDIRECT, 0);
	desc(t, 0, t->buf, 16, VD_INDIRECT, 0);
	make_available(t, 0);
}

/* Found by fuzzing: the table is the ring's own descriptor table, which made a walk without end. */
static void bad_indirect_into_ring(struct vqrig *t)
{
	desc(t, 0, t->q.desc, 16 * SIZE, VD_INDIRECT, 0);
	make_available(t, 0);
}

static void bad_indirect_with_next(struct vqrig *t)
{
	vd_desc_set(&t->d, t->buf, 0, t->buf + 256, 16, 0, 0);
	desc(t, 0, t->buf, 16, VD_INDIRECT | VD_NEXT, 1);
	desc(t, 1, t->buf, 16, 0, 0);
	make_available(t, 0);
}

static void bad_indirect_empty(struct vqrig *t)
{
	desc(t, 0, t->buf, 0, VD_INDIRECT, 0);
	make_available(t, 0);
}

static void bad_indirect_odd(struct vqrig *t)
{
	vd_desc_set(&t->d, t->buf, 0, t->buf + 256, 16, 0, 0);
	desc(t, 0, t->buf, 24, VD_INDIRECT, 0);
	make_available(t, 0);
}

static void bad_indirect_outside_ram(struct vqrig *t)
{
	desc(t, 0, RAM + RAM_SIZE - 16, 32, VD_INDIRECT, 0);
	make_available(t, 0);
}

static void bad_indirect_next(struct vqrig *t)
{
	vd_desc_set(&t->d, t->buf, 0, t->buf + 256, 16, VD_NEXT, 2);
	desc(t, 0, t->buf, 32, VD_INDIRECT, 0);
	make_available(t, 0);
}

static void bad_order(struct vqrig *t)
{
	desc(t, 0, t->buf, 16, VD_WRITE | VD_NEXT, 1);
	desc(t, 1, t->buf, 16, 0, 0);
	make_available(t, 0);
}

static void bad_order_in_table(struct vqrig *t)
{
	vd_desc_set(&t->d, t->buf, 0, t->buf + 256, 16, 0, 0);
	desc(t, 0, t->buf + 512, 16, VD_WRITE | VD_NEXT, 1);
	desc(t, 1, t->buf, 16, VD_INDIRECT, 0);
	make_available(t, 0);
}

static void bad_empty_buffer(struct vqrig *t)
{
	desc(t, 0, t->buf, 0, 0, 0);
	make_available(t, 0);
}

static void bad_outside_ram(struct vqrig *t)
{
	desc(t, 0, t->buf, 16, VD_WRITE | VD_NEXT, 1);
	desc(t, 1, RAM - 8, 16, VD_WRITE, 0);
	make_available(t, 0);
}

static void bad_over_end_of_ram(struct vqrig *t)
{
	desc(t, 0, RAM + RAM_SIZE - 8, 9, VD_WRITE, 0);
	make_available(t, 0);
}

static void bad_wrapping_address(struct vqrig *t)
{
	desc(t, 0, UINT64_MAX - 7, 16, VD_WRITE, 0);
	make_available(t, 0);
}

static void bad_avail_ahead(struct vqrig *t)
{
	desc(t, 0, t->buf, 16, 0, 0);
	vd_avail_idx_set(&t->q, SIZE + 1);
}

static void bad_avail_back(struct vqrig *t)
{
	vd_avail_idx_set(&t->q, (uint16_t)-1);
}

static const struct bad bads[] = {
	{ "head beyond the table", bad_head, "head beyond" },
	{ "next beyond the table", bad_next, "index beyond" },
	{ "loop", bad_loop, "loops" },
	{ "loop on itself", bad_loop_on_itself, "loops" },
	{ "longer than the queue", bad_longer_than_queue, "longer than the queue" },
	{ "indirect not negotiated", bad_indirect_not_negotiated, "not negotiated" },
	{ "indirect nested", bad_indirect_nested, "inside an indirect" },
	{ "indirect into itself", bad_indirect_into_itself, "inside an indirect" },
	{ "indirect into the ring", bad_indirect_into_ring, "inside an indirect" },
	{ "indirect with next", bad_indirect_with_next, "with NEXT" },
	{ "indirect empty", bad_indirect_empty, "multiple of 16" },
	{ "indirect of 1.5 entries", bad_indirect_odd, "multiple of 16" },
	{ "indirect outside RAM", bad_indirect_outside_ram, "table is not in RAM" },
	{ "next beyond the indirect table", bad_indirect_next, "index beyond" },
	{ "readable after writable", bad_order, "2.7.4.2" },
	{ "readable after writable, in a table", bad_order_in_table, "2.7.4.2" },
	{ "empty buffer", bad_empty_buffer, "empty or not in RAM" },
	{ "buffer outside RAM", bad_outside_ram, "empty or not in RAM" },
	{ "buffer over the end of RAM", bad_over_end_of_ram, "empty or not in RAM" },
	{ "buffer that wraps", bad_wrapping_address, "empty or not in RAM" },
	{ "avail idx too far ahead", bad_avail_ahead, "more than the queue size ahead" },
	{ "avail idx back", bad_avail_back, "more than the queue size ahead" },
};

static void test_malformed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bads); i++) {
		struct vqrig t;
		int got;

		begin(&t, SIZE, bads[i].make != bad_indirect_not_negotiated, i & 1);
		bads[i].make(&t);
		got = vq_pop(t.vq, &t.c, 1);
		if (got != -EPROTO)
			fail_msg("%s: vq_pop gives %d", bads[i].name, got);
		if (!strstr(t.last, bads[i].why))
			fail_msg("%s: said '%s'", bads[i].name, t.last);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), -EPROTO);
		assert_int_equal(vq_in_flight(t.vq), 0);
		assert_true(vq_state(t.vq)->broken);
		assert_true(vq_kicks(t.vq)); /* vq_pop() has something to say */
		assert_false(vq_publish(t.vq));
		assert_int_equal(vd_used_idx(&t.q), 0);
		vqrig_fini(&t);
	}
}

/* 2.7.5.2, class 7: every buffer is in RAM, but together they are more than 2^32 bytes. */
static void test_too_many_bytes(void **state)
{
	struct vd_buf b[129];
	struct vqrig t;

	(void)state;
	for (unsigned n = 128; n <= 129; n++) { /* 128 of 32 MiB are exactly 2^32 */
		begin(&t, VQ_CHAIN_MAX, true, true);
		for (unsigned i = 0; i < n; i++)
			b[i] = (struct vd_buf){ RAM, RAM_SIZE };
		assert_true(vd_add(&t.q, b, 0, n, false) >= 0);
		vd_publish(&t.q);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), n == 128 ? 1 : -EPROTO);
		vqrig_fini(&t);
	}
}

/* Class 1 (3.3.1): a head again while it is in flight. The first use of it still ends well. */
static void test_duplicate_head(void **state)
{
	struct vq_chain *other;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	desc(&t, 2, t.buf, 16, VD_WRITE, 0);
	make_available(&t, 2);
	make_available(&t, 2);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	assert_int_equal(vq_pop(t.vq, &other, 1), -EPROTO);
	assert_int_equal(vq_in_flight(t.vq), 1);
	vqrig_push(t.vq, t.c, 16);
	vq_publish(t.vq);
	assert_int_equal(vd_used_idx(&t.q), 1);
	assert_int_equal(vq_in_flight(t.vq), 0);
	vqrig_fini(&t);
}

/* Class 5: what is in flight is bounded by the queue, however often the driver asks. */
static void test_in_flight_bound(void **state)
{
	unsigned n = 0;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	for (uint16_t i = 0; i < SIZE; i++)
		desc(&t, i, t.buf, 16, 0, 0);
	for (unsigned i = 0; i < 3 * SIZE; i++) {
		make_available(&t, (uint16_t)(i % SIZE));
		n += vq_pop(t.vq, &t.c, 1) == 1;
	}
	assert_int_equal(n, SIZE);
	assert_int_equal(vq_in_flight(t.vq), SIZE);
	vqrig_fini(&t); /* with all of them in flight */
}

/* Many at a time: taken in order, given back in any; what is malformed ends what is taken, and
 * costs those before it nothing. */
static void many(uint64_t features)
{
	const bool in_order = features & BIT(VIRTIO_F_IN_ORDER);
	static const unsigned back[5] = { 4, 0, 2, 1, 3 };
	struct vq_chain *c[SIZE], *answer[5];
	struct vqrig rig;
	const struct vd_buf empty = { 0 };
	uint16_t head[5];

	vqrig_init(&rig, 0);
	vqrig_setup(&rig, SIZE, features | BIT(VIRTIO_F_INDIRECT_DESC));
	for (unsigned i = 0; i < 5; i++)
		head[i] = vqrig_offer(&rig, 16 + i, true);
	assert_int_equal(vq_pop(rig.vq, c, 3), 3);
	assert_int_equal(vq_pop(rig.vq, c + 3, 5), 2);
	assert_int_equal(vq_pop(rig.vq, c + 5, 3), 0);
	assert_int_equal(vq_in_flight(rig.vq), 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(c[i]->in_len, 16 + i);
		c[i]->written = i + 1;
	}
	for (unsigned i = 0; i < 5; i++)
		answer[i] = c[back[i]];
	vq_push(rig.vq, answer, 5);
	assert_int_equal(vq_in_flight(rig.vq), 0);
	vq_publish(rig.vq);
	for (unsigned i = 0; i < 5; i++) {
		unsigned k = in_order ? i : back[i];
		uint16_t h;
		uint32_t len;

		assert_true(vd_used(&rig.q, &h, &len));
		assert_int_equal(h, head[k]);
		assert_int_equal(len, k + 1);
	}
	vqrig_offer(&rig, 16, true);
	vqrig_offer(&rig, 32, true);
	assert_true(vd_add(&rig.q, &empty, 0, 1, true) >= 0);
	vd_publish(&rig.q);
	assert_int_equal(vq_pop(rig.vq, c, SIZE), 2);
	assert_true(vq_state(rig.vq)->broken);
	assert_int_equal(vq_pop(rig.vq, c + 2, SIZE - 2), -EPROTO);
	vq_push(rig.vq, c, 2);
	vq_publish(rig.vq);
	assert_true(vd_used(&rig.q, &head[0], &(uint32_t){ 0 }));
	assert_true(vd_used(&rig.q, &head[0], &(uint32_t){ 0 }));
	vqrig_fini(&rig);
}

static void test_many(void **state)
{
	(void)state;
	many(0);
	many(BIT(VIRTIO_F_IN_ORDER));
	many(BIT(VIRTIO_F_RING_PACKED));
	many(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER));
}

/* While somebody looks, no kick is asked for; a chain that came without one is told of at
 * the end. */
static void awake(uint64_t features)
{
	struct vqrig rig;
	struct vq_chain *c;

	vqrig_init(&rig, 0);
	vqrig_setup(&rig, SIZE, features | BIT(VIRTIO_F_INDIRECT_DESC));
	assert_false(vq_kicks(rig.vq));
	vqrig_offer(&rig, 16, true);
	assert_true(vd_wants_kick(&rig.q));
	assert_false(vq_awake(rig.vq, true));
	assert_true(vq_kicks(rig.vq)); /* there is more, */
	assert_int_equal(vq_pop(rig.vq, &c, 1), 1);
	assert_false(vq_kicks(rig.vq)); /* there is none, and none is asked for */
	vqrig_offer(&rig, 16, true);
	assert_false(vd_wants_kick(&rig.q));
	assert_true(vq_awake(rig.vq, false));
	assert_int_equal(vq_pop(rig.vq, &c, 1), 1);
	assert_false(vq_kicks(rig.vq));
	vqrig_offer(&rig, 16, true);
	assert_true(vd_wants_kick(&rig.q));
	vqrig_fini(&rig);
}

static void test_awake(void **state)
{
	(void)state;
	awake(0);
	awake(BIT(VIRTIO_F_EVENT_IDX));
	awake(BIT(VIRTIO_F_RING_PACKED));
	awake(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_EVENT_IDX));
}

static void test_reject(void **state)
{
	struct vd_buf b;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	b = (struct vd_buf){ t.buf, 64 };
	assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
	vd_publish(&t.q);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	vq_reject(t.vq, t.c, LINT_BLK_SHORT, "for a test");
	assert_int_equal(vq_in_flight(t.vq), 0);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), -EPROTO);
	assert_false(vq_publish(t.vq));
	assert_int_equal(vd_used_idx(&t.q), 0);
	vqrig_fini(&t);
}

/* Class 2, 2.7.1: what is not a ring is refused before it is used. */
static void test_setup_refuses(void **state)
{
	const gpa_t end_of_ram = RAM + RAM_SIZE;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	for (unsigned i = 0; i < 11; i++) {
		struct vq_state s = vqrig_state(&t.q);

		switch (i) {
		case 0: s.size = 0; break;
		case 1: s.size = 3; break;
		case 2: s.size = 2 * VQ_SIZE_MAX; break;
		case 3: s.desc += 8; break;
		case 4: s.avail += 1; break;
		case 5: s.used += 2; break;
		case 6: s.desc = end_of_ram - 16 * SIZE + 16; break;
		case 7: s.avail = end_of_ram - 6 - 2 * SIZE + 2; break;
		case 8: s.used = end_of_ram - 6 - 8 * SIZE + 2; break;
		case 9: s.desc = 0xfffffffffffffff0ULL; break;
		case 10: s.used = 0; break;
		}
		if (vq_setup(t.vq, &s, features_of(true, true)) != -EINVAL)
			fail_msg("case %u was not refused", i);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
		assert_false(vq_publish(t.vq));
	}
	vqrig_fini(&t);
}

/* 2.7.10.2: without the event index, the words after the rings are not the queue's: they need not
 * even be RAM, and avail_event is never written. */
static void test_no_event_words(void **state)
{
	struct vq_state s;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, false);
	s = vqrig_state(&t.q);
	s.avail = RAM + RAM_SIZE - 4 - 2 * SIZE;
	assert_int_equal(vq_setup(t.vq, &s, features_of(true, false)), 0);
	assert_int_equal(vq_setup(t.vq, &s, features_of(true, true)), -EINVAL);
	s = vqrig_state(&t.q);
	s.used = RAM + RAM_SIZE - 4 - 8 * SIZE;
	assert_int_equal(vq_setup(t.vq, &s, features_of(true, false)), 0);
	assert_int_equal(vq_setup(t.vq, &s, features_of(true, true)), -EINVAL);

	s = vqrig_state(&t.q);
	assert_int_equal(vq_setup(t.vq, &s, features_of(true, false)), 0);
	memset(vd_ptr(&t.d, t.q.used + 4 + 8 * SIZE, 2), 0xa5, 2);
	desc(&t, 0, t.buf, 16, 0, 0);
	make_available(&t, 0);
	vqrig_begin(t.vq);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	vq_kicks(t.vq);
	vqrig_push(t.vq, t.c, 0);
	vq_publish(t.vq);
	assert_int_equal(vd_avail_event(&t.q), 0xa5a5);
	vqrig_fini(&t);
}

/* 2.7.10: kicks off and on, and the buffer that came in between. */
static void test_kicks(void **state)
{
	struct vqrig t;

	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		begin(&t, SIZE, true, event_idx);
		for (uint16_t i = 0; i < SIZE; i++)
			desc(&t, i, t.buf, 16, 0, 0);
		assert_int_equal(vqrig_begin(t.vq), 0);
		assert_int_equal(vd_used_flags(&t.q), event_idx ? 0 : 1);
		make_available(&t, 0);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
		make_available(&t, 1);
		assert_true(vq_kicks(t.vq));
		assert_int_equal(vd_used_flags(&t.q), 0);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
		assert_false(vq_kicks(t.vq));
		if (event_idx)
			assert_int_equal(vd_avail_event(&t.q), 2);
		vqrig_fini(&t);
	}
}

/* 2.7.7.2 without the event index: flags decide, used_event is ignored. */
static void test_irq_by_flags(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, false);
	vd_used_event_set(&t.q, 100);
	assert_true(vqrig_use(&t, 1));
	assert_true(vqrig_use(&t, 2));
	vqrig_take_used(&t);
	vd_avail_flags_set(&t.q, 1);
	assert_false(vqrig_use(&t, 1));
	vd_avail_flags_set(&t.q, 0);
	assert_false(vq_publish(t.vq)); /* nothing new */
	assert_true(vqrig_use(&t, 1));
	vqrig_fini(&t);
}

/* 2.7.7.2 with it: used_event decides, in 16-bit arithmetic; flags are ignored. */
static void test_irq_by_event(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	vd_avail_flags_set(&t.q, 1);
	/* Around the whole circle of indices, so that each comparison also happens at the wrap. */
	for (unsigned at = 0; at < 65536 + 64; at += 5) {
		uint16_t idx = vd_used_idx(&t.q);

		vd_used_event_set(&t.q, idx); /* the next entry */
		assert_true(vqrig_use(&t, 1));
		vd_used_event_set(&t.q, idx); /* passed already */
		assert_false(vqrig_use(&t, 1));
		vd_used_event_set(&t.q, (uint16_t)(idx + 4)); /* the one after the next two */
		assert_false(vqrig_use(&t, 2));
		assert_true(vqrig_use(&t, 1));
		vqrig_take_used(&t);
	}
	vqrig_fini(&t);
}

/* Class 14's half that lives here: one decision for a whole batch, and none lost over it. */
static void test_irq_over_batch(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, true, true);
	vd_used_event_set(&t.q, 2);
	assert_true(vqrig_use(&t, SIZE)); /* crosses it in the middle */
	vqrig_take_used(&t);
	vd_used_event_set(&t.q, 2 * SIZE);
	assert_false(vqrig_use(&t, SIZE));
	vqrig_take_used(&t);
	assert_true(vqrig_use(&t, 1));
	vqrig_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pop_empty),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_indirect),
		cmocka_unit_test(test_direct_then_indirect),
		cmocka_unit_test(test_longest_chain),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_double_fetch),
		cmocka_unit_test(test_writes_are_reported),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_too_many_bytes),
		cmocka_unit_test(test_duplicate_head),
		cmocka_unit_test(test_in_flight_bound),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_awake),
		cmocka_unit_test(test_reject),
		cmocka_unit_test(test_setup_refuses),
		cmocka_unit_test(test_no_event_words),
		cmocka_unit_test(test_kicks),
		cmocka_unit_test(test_irq_by_flags),
		cmocka_unit_test(test_irq_by_event),
		cmocka_unit_test(test_irq_over_batch),
	};

	return cmocka_run_group_tests_name("vq", tests, NULL, NULL);
}

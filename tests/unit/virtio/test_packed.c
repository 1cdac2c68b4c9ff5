/* SPDX-License-Identifier: MIT */
/*
 * The packed virtqueue (virtio 1.2, 2.8) against a driver that keeps the rules and one that does
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
enum { RAM_SIZE = VQRIG_RAM_SIZE, SIZE = 7 }; /* no power of two: none is asked for */

#define ALL                                                                                  \
	(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) | \
	 BIT(VIRTIO_F_VERSION_1))

static void begin(struct vqrig *t, uint16_t size, uint64_t features)
{
	vqrig_init(t, 0);
	vqrig_setup(t, size, features);
}

/* A descriptor as the driver writes it on the lap of `index`. */
static void desc(struct vqrig *t, uint32_t index, gpa_t addr, uint32_t len, uint16_t id,
		 unsigned flags)
{
	vd_desc_set(&t->d, t->q.desc, index % t->q.size, addr, len, id,
		    (uint16_t)(flags | vd_packed_avail(&t->q, index)));
}

static uint16_t flags_at(struct vqrig *t, unsigned i)
{
	uint16_t flags;

	memcpy(&flags, vd_ptr(&t->d, t->q.desc + 16ULL * i + 14, 2), 2);
	return le16toh(flags);
}

static void used_at(struct vqrig *t, unsigned i, uint16_t *id, uint32_t *len)
{
	const uint8_t *p = vd_ptr(&t->d, t->q.desc + 16ULL * i, 16);

	memcpy(len, p + 8, 4);
	memcpy(id, p + 12, 2);
}

/* Chains as they should be */

static void test_empty(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	assert_false(vq_publish(t.vq));
	assert_false(vq_kicks(t.vq));
	/* 2.8.1: neither of the lap before, nor used */
	vd_desc_set(&t.d, t.q.desc, 0, t.buf, 16, 0, VD_USED);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	vd_desc_set(&t.d, t.q.desc, 0, t.buf, 16, 0, VD_USED | VD_AVAIL);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	assert_int_equal(vq_in_flight(t.vq), 0);
	vqrig_fini(&t);
}

/* A list; the id is the last one's; the used descriptor comes where the list began, and both sides
 * go on behind it. */
static void test_list(void **state)
{
	uint32_t len;
	uint16_t id;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL);
	desc(&t, 2, t.buf + 64, 3, 0xbeef, VD_WRITE);
	desc(&t, 1, t.buf + 32, 2, 77, VD_WRITE | VD_NEXT);
	desc(&t, 0, t.buf, 1, 88, VD_NEXT);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	assert_int_equal(t.c->n_out, 1);
	assert_int_equal(t.c->n_in, 2);
	assert_int_equal(t.c->in_len, 5);
	assert_ptr_equal(t.c->iov[1].iov_base, vd_ptr(&t.d, t.buf + 32, 2));
	assert_int_equal(vq_pop(t.vq, &(struct vq_chain *){ NULL }, 1), 0);
	vqrig_push(t.vq, t.c, 4);
	assert_int_equal(flags_at(&t, 0), VD_NEXT | VD_AVAIL); /* not published */
	assert_true(vq_publish(t.vq));
	assert_int_equal(flags_at(&t, 0), VD_WRITE | VD_AVAIL | VD_USED);
	used_at(&t, 0, &id, &len);
	assert_int_equal(id, 0xbeef);
	assert_int_equal(len, 4);
	assert_int_equal(vq_state(t.vq)->next_avail, 3);
	assert_int_equal(vq_state(t.vq)->next_used, 3);
	vqrig_fini(&t);
}

/* 2.8.8: entries of an indirect table follow each other, and only WRITE counts of their flags. */
static void test_indirect(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL);
	vd_desc_set(&t.d, t.buf, 0, t.buf + 512, 10, 5, VD_INDIRECT | VD_NEXT);
	vd_desc_set(&t.d, t.buf, 1, t.buf + 1024, 20, 6, VD_WRITE | VD_AVAIL);
	vd_desc_set(&t.d, t.buf, 2, t.buf + 2048, 30, 7, VD_WRITE | VD_NEXT);
	desc(&t, 0, t.buf, 48, 4, VD_INDIRECT | VD_WRITE);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	assert_int_equal(t.c->n_out, 1);
	assert_int_equal(t.c->n_in, 2);
	assert_int_equal(t.c->out_len, 10);
	assert_int_equal(t.c->in_len, 50);
	vqrig_push(t.vq, t.c, 0);
	vq_publish(t.vq);
	assert_int_equal(flags_at(&t, 0), VD_AVAIL | VD_USED); /* nothing written: no WRITE */
	assert_int_equal(vq_state(t.vq)->next_avail, 1);
	vqrig_fini(&t);
}

/* Laps without end, lists of every length, answers in another order than they came. */
static void test_laps(void **state)
{
	static const uint16_t sizes[] = { 1, 2, 7, 8, 255, 256 };
	struct vqrig t;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++) {
		const uint16_t size = sizes[k];
		struct vq_chain *c[256];
		int head[256];
		unsigned n;

		begin(&t, size, ALL);
		for (unsigned round = 0; round < 300; round++) {
			for (n = 0; n < 256; n++) {
				unsigned len = (round + n) % 3 + 1;
				struct vd_buf b[3] = { { t.buf, 16 },
						       { t.buf + 64, 16 },
						       { t.buf + 128, 16 } };

				if (len > size)
					len = size;
				head[n] = vd_add(&t.q, b, 0, len, (round + n) % 5 == 0);
				if (head[n] < 0)
					break;
			}
			vd_publish(&t.q);
			for (unsigned i = 0; i < n; i++)
				assert_int_equal(vq_pop(t.vq, &c[i], 1), 1);
			assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
			assert_int_equal(vq_in_flight(t.vq), n);
			for (unsigned i = n; i-- > 0;) {
				vqrig_push(t.vq, c[i], i + 1);
				if (i % 4 == 3)
					vq_publish(t.vq);
			}
			vq_publish(t.vq);
			for (unsigned i = n; i-- > 0;) {
				uint32_t len;
				uint16_t h;

				assert_true(vd_used(&t.q, &h, &len));
				assert_int_equal(h, head[i]);
				assert_int_equal(len, i + 1);
			}
			assert_false(vd_used(&t.q, &(uint16_t){ 0 }, &(uint32_t){ 0 }));
			assert_int_equal(t.q.n_free, size);
		}
		vqrig_fini(&t);
	}
}

/* The driver sees none of a batch before all of it is there. */
static void test_batch(void **state)
{
	struct vq_chain *c[3];
	struct vd_buf b;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL);
	b = (struct vd_buf){ t.buf, 16 };
	for (unsigned i = 0; i < 3; i++)
		assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
	vd_publish(&t.q);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vq_pop(t.vq, &c[i], 1), 1);
	for (unsigned i = 0; i < 3; i++) {
		vqrig_push(t.vq, c[i], 1);
		assert_int_equal(vd_used_idx(&t.q), 0);
	}
	assert_true(vq_publish(t.vq));
	assert_int_equal(vd_used_idx(&t.q), 3);
	vqrig_fini(&t);
}

/* A queue goes on from saved state, in the middle of a lap. */
static void test_state(void **state)
{
	struct vd_buf b;
	struct vq_state s;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL);
	b = (struct vd_buf){ t.buf, 16 };
	for (unsigned i = 0; i < 100; i++) {
		assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
		vd_publish(&t.q);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
		vqrig_push(t.vq, t.c, i);
		vq_publish(t.vq);
		assert_true(vd_used(&t.q, &(uint16_t){ 0 }, &(uint32_t){ 0 }));
		s = *vq_state(t.vq);
		assert_int_equal(vq_setup(t.vq, &s, ALL), 0);
	}
	s.next_avail = SIZE;
	assert_int_equal(vq_setup(t.vq, &s, ALL), -EINVAL);
	vqrig_fini(&t);
}

/* Malformed rings */

static void bad_empty(struct vqrig *t)
{
	desc(t, 0, t->buf, 0, 0, 0);
}

static void bad_outside(struct vqrig *t)
{
	desc(t, 1, RAM - 8, 16, 0, VD_WRITE);
	desc(t, 0, t->buf, 8, 0, VD_NEXT | VD_WRITE);
}

static void bad_order(struct vqrig *t)
{
	desc(t, 1, t->buf, 8, 0, 0);
	desc(t, 0, t->buf, 8, 0, VD_NEXT | VD_WRITE);
}

/* Class 4: a list without end. */
static void bad_endless(struct vqrig *t)
{
	for (unsigned i = 0; i < SIZE; i++)
		desc(t, i, t->buf, 8, 0, VD_NEXT);
}

static void bad_nested(struct vqrig *t)
{
	vd_desc_set(&t->d, t->buf, 0, t->buf, 16, 0, VD_INDIRECT);
	desc(t, 1, t->buf, 16, 0, VD_INDIRECT);
	desc(t, 0, t->buf, 16, 0, VD_NEXT);
}

static void bad_indirect_next(struct vqrig *t)
{
	desc(t, 1, t->buf, 16, 0, 0);
	desc(t, 0, t->buf, 16, 0, VD_INDIRECT | VD_NEXT);
}

static void bad_table_empty(struct vqrig *t)
{
	desc(t, 0, t->buf, 0, 0, VD_INDIRECT);
}

static void bad_table_odd(struct vqrig *t)
{
	desc(t, 0, t->buf, 17, 0, VD_INDIRECT);
}

static void bad_table_outside(struct vqrig *t)
{
	desc(t, 0, RAM + RAM_SIZE - 16, 32, 0, VD_INDIRECT);
}

static void bad_table_long(struct vqrig *t)
{
	for (unsigned i = 0; i < SIZE + 1; i++)
		vd_desc_set(&t->d, t->buf, i, t->buf, 16, 0, 0);
	desc(t, 0, t->buf, 16 * (SIZE + 1), 0, VD_INDIRECT);
}

static void bad_table_huge(struct vqrig *t)
{
	vd_desc_set(&t->d, RAM, 0, t->buf, 16, 0, 0);
	desc(t, 0, RAM, RAM_SIZE, 0, VD_INDIRECT);
}

static void bad_table_of_itself(struct vqrig *t)
{
	desc(t, 0, t->q.desc, 16 * SIZE, 0, VD_INDIRECT | VD_WRITE);
}

static const struct bad {
	void (*make)(struct vqrig *t);
	const char *why;
} bads[] = {
	{ bad_empty, "empty or not in RAM" },
	{ bad_outside, "empty or not in RAM" },
	{ bad_order, "2.7.4.2" },
	{ bad_endless, "list longer" },
	{ bad_nested, "together with NEXT" },
	{ bad_indirect_next, "together with NEXT" },
	{ bad_table_empty, "multiple of 16" },
	{ bad_table_odd, "multiple of 16" },
	{ bad_table_outside, "not in RAM" },
	{ bad_table_long, "longer than the queue" },
	{ bad_table_huge, "empty or not in RAM" },
	{ bad_table_of_itself, "" }, /* only has to end */
};

static void test_malformed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bads); i++) {
		uint8_t before[16 * SIZE];
		struct vqrig t;

		begin(&t, SIZE, ALL);
		bads[i].make(&t);
		memcpy(before, vd_ptr(&t.d, t.q.desc, sizeof(before)), sizeof(before));
		if (vq_pop(t.vq, &t.c, 1) != -EPROTO)
			fail_msg("case %u is not refused", i);
		if (!strstr(t.last, bads[i].why))
			fail_msg("case %u: said '%s'", i, t.last);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), -EPROTO);
		assert_int_equal(vq_in_flight(t.vq), 0);
		assert_true(vq_kicks(t.vq));
		assert_false(vq_publish(t.vq));
		assert_memory_equal(before, vd_ptr(&t.d, t.q.desc, sizeof(before)), sizeof(before));
		vqrig_fini(&t);
	}
}

static void test_indirect_not_negotiated(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL & ~BIT(VIRTIO_F_INDIRECT_DESC));
	vd_desc_set(&t.d, t.buf, 0, t.buf + 512, 10, 0, 0);
	desc(&t, 0, t.buf, 16, 0, VD_INDIRECT);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), -EPROTO);
	assert_non_null(strstr(t.last, "not negotiated"));
	vqrig_fini(&t);
}

/* Classes 1 and 5: what is in flight is marked available again, lap after lap; the same
 * id twice. */
static void test_in_flight_bound(void **state)
{
	struct vq_chain *c[SIZE];
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL);
	for (unsigned i = 0; i < SIZE; i++)
		desc(&t, i, t.buf, 16, 3, VD_WRITE); /* the id is the driver's affair */
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_equal(vq_pop(t.vq, &c[i], 1), 1);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	for (unsigned i = 0; i < SIZE; i++)
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(c[i]->slot, c[j]->slot);
	vqrig_push(t.vq, c[0], 0); /* one free, and a list of two */
	desc(&t, SIZE + 1, t.buf, 16, 3, 0);
	desc(&t, SIZE, t.buf, 16, 3, VD_NEXT);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), -EPROTO);
	assert_int_equal(vq_in_flight(t.vq), SIZE - 1);
	for (unsigned i = 1; i < SIZE; i++) /* those in flight end well */
		vqrig_push(t.vq, c[i], 0);
	vq_publish(t.vq);
	assert_int_equal(vq_in_flight(t.vq), 0);
	vqrig_fini(&t);

	begin(&t, SIZE, ALL);
	for (unsigned i = 0; i < SIZE; i++)
		desc(&t, i, t.buf, 16, 3, VD_WRITE);
	for (unsigned i = 0; i < SIZE; i++)
		assert_int_equal(vq_pop(t.vq, &c[i], 1), 1);
	desc(&t, SIZE, t.buf, 16, 3, VD_WRITE);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), -EPROTO);
	vqrig_fini(&t); /* with all of them in flight */
}

/* Class 3: what was judged is what is used. */
static void test_double_fetch(void **state)
{
	uint32_t len;
	uint16_t id;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL);
	desc(&t, 1, t.buf, 16, 9, VD_WRITE);
	desc(&t, 0, t.buf, 16, 9, VD_WRITE | VD_NEXT);
	assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
	desc(&t, 1, 0, UINT32_MAX, 1, VD_NEXT);
	desc(&t, 0, 0, UINT32_MAX, 1, 0);
	assert_int_equal(t.c->iov[1].iov_len, 16);
	vqrig_push(t.vq, t.c, 32);
	vq_publish(t.vq);
	used_at(&t, 0, &id, &len);
	assert_int_equal(id, 9);
	assert_int_equal(vq_state(t.vq)->next_used, 2);
	vqrig_fini(&t);
}

static void test_reject(void **state)
{
	struct vd_buf b;
	struct vqrig t;

	(void)state;
	for (unsigned in_order = 0; in_order < 2; in_order++) {
		struct vq_chain *first;

		begin(&t, SIZE, ALL | (in_order ? BIT(VIRTIO_F_IN_ORDER) : 0));
		b = (struct vd_buf){ t.buf, 16 };
		assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
		assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
		vd_publish(&t.q);
		assert_int_equal(vq_pop(t.vq, &first, 1), 1);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
		vq_reject(t.vq, t.c, LINT_BLK_SHORT, "for a test");
		assert_int_equal(vq_pop(t.vq, &t.c, 1), -EPROTO);
		vqrig_push(t.vq, first, 0);
		vq_publish(t.vq);
		assert_int_equal(vd_used_idx(&t.q), 1);
		assert_int_equal(vq_in_flight(t.vq), 0);
		vqrig_fini(&t);
	}
}

static void test_setup_refuses(void **state)
{
	const gpa_t end_of_ram = RAM + RAM_SIZE;
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL);
	for (unsigned i = 0; i < 8; i++) {
		struct vq_state s = vqrig_state(&t.q);

		switch (i) {
		case 0: s.size = 0; break;
		case 1: s.size = VQ_SIZE_MAX + 1; break;
		case 2: s.desc += 8; break;
		case 3: s.avail += 2; break;
		case 4: s.used += 2; break;
		case 5: s.desc = end_of_ram - 16 * SIZE + 16; break;
		case 6: s.avail = end_of_ram; break;
		case 7: s.used = 0xfffffffffffffffcULL; break;
		}
		if (vq_setup(t.vq, &s, ALL) != -EINVAL)
			fail_msg("case %u was not refused", i);
		assert_int_equal(vq_pop(t.vq, &t.c, 1), 0);
	}
	vqrig_fini(&t);
}

/* Wake-ups (2.8.14) */

/* Write the driver area: the event at an index, and flags. */
static void event(struct vqrig *t, uint32_t index, uint16_t flags)
{
	uint16_t *p = vd_ptr(&t->d, t->q.avail, 4);

	p[0] = htole16((uint16_t)(index % SIZE | (index / SIZE & 1 ? 0 : 0x8000)));
	p[1] = htole16(flags);
}

static void test_irq(void **state)
{
	struct vqrig t;

	(void)state;
	begin(&t, SIZE, ALL & ~BIT(VIRTIO_F_EVENT_IDX));
	assert_true(vqrig_use(&t, 1));
	event(&t, 0, 1);
	assert_false(vqrig_use(&t, 1));
	event(&t, 0, 2); /* means nothing without the event index */
	assert_true(vqrig_use(&t, 1));
	vqrig_take_used(&t);
	vqrig_fini(&t);

	begin(&t, SIZE, ALL);
	/* At every place of the ring, on both laps. */
	for (unsigned round = 0; round < 20 * SIZE; round++) {
		event(&t, t.q.taken, 2);
		assert_true(vqrig_use(&t, 1));
		event(&t, t.q.taken, 2); /* passed */
		assert_false(vqrig_use(&t, 1));
		vqrig_take_used(&t);
		event(&t, t.q.taken + 2, 2);
		assert_false(vqrig_use(&t, 2));
		assert_true(vqrig_use(&t, 1));
		vqrig_take_used(&t);
		event(&t, t.q.taken + 2, 2);
		assert_true(vqrig_use(&t, 4)); /* crossed in the middle */
		vqrig_take_used(&t);
		event(&t, 0, 1);
		assert_false(vqrig_use(&t, 1));
		event(&t, 0, 0);
		assert_true(vqrig_use(&t, 1));
		vqrig_take_used(&t);
	}
	vqrig_fini(&t);
}

static void test_kicks(void **state)
{
	struct vd_buf b;
	struct vqrig t;

	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		begin(&t, SIZE, event_idx ? ALL : ALL & ~BIT(VIRTIO_F_EVENT_IDX));
		b = (struct vd_buf){ t.buf, 16 };
		for (unsigned i = 0; i < 10 * SIZE; i++) {
			assert_false(vq_kicks(t.vq));
			assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
			assert_true(vd_wants_kick(&t.q));
			vqrig_begin(t.vq);
			assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
			vqrig_push(t.vq, t.c, 0);
			assert_true(vd_add(&t.q, &b, 0, 1, false) >= 0);
			assert_false(vd_wants_kick(&t.q));
			assert_true(vq_kicks(t.vq));
			assert_int_equal(vq_pop(t.vq, &t.c, 1), 1);
			vqrig_push(t.vq, t.c, 0);
			vq_publish(t.vq);
			vqrig_take_used(&t);
		}
		vqrig_fini(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_indirect),
		cmocka_unit_test(test_laps),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_indirect_not_negotiated),
		cmocka_unit_test(test_in_flight_bound),
		cmocka_unit_test(test_double_fetch),
		cmocka_unit_test(test_reject),
		cmocka_unit_test(test_setup_refuses),
		cmocka_unit_test(test_irq),
		cmocka_unit_test(test_kicks),
	};

	return cmocka_run_group_tests_name("packed vq", tests, NULL, NULL);
}

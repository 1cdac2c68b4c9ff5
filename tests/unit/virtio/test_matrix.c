/* SPDX-License-Identifier: MIT */
/*
 * A disk in every combination of what a driver can choose: legacy or modern registers, split or
 * packed ring, event index, indirect descriptors, order, notification data, one queue or four. Each
 * does the same work, twice, with a reset between: all kinds of requests in buffers of odd shapes,
 * a full ring, the ring round and round, answers of every status with their used lengths. The lint
 * watches, strict; with the argument "deep", the deep one too.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "virtio/virtio.h"
#include "vrig.h"

enum { SECTOR = 512, SIZE = 16, QUEUES = 4, SECTORS = 256, RAM = 32 << 20 };
enum { OK = 0, IOERR = 1, UNSUPP = 2 };
/* virtio 1.2, 5.2.3 */
enum { F_FLUSH = 9, F_WCE = 11, F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14 };

static bool deep;

struct t {
	struct vrig rig;
	char path[VRIG_PATH_MAX];
	struct vdriver *d;
	unsigned n_queues;
	uint64_t features;
	bool indirect;
	struct vd_queue q[QUEUES];
	struct vd_blk r[QUEUES][SIZE];
	gpa_t data[QUEUES]; /* 16 sectors */
};

static void *ptr(struct t *t, gpa_t gpa, uint64_t len)
{
	return vd_ptr(t->d, gpa, len);
}

static void fail_here(const struct t *t, const char *what)
{
	fail_msg("%s: %s, features 0x%" PRIx64 ", %u queues; the log: %s", what,
		 t->rig.legacy ? "legacy" : "modern", t->features, t->n_queues, t->rig.last);
}

static void check(const struct t *t, bool good, const char *what)
{
	if (!good)
		fail_here(t, what);
}

/* Take the interrupts that came, so that none is left. */
static void acknowledge(struct t *t)
{
	uint32_t raised = vd_get(t->d, VD_INTERRUPT_STATUS);

	if (raised)
		vd_set(t->d, VD_INTERRUPT_ACK, raised);
}

/* One request, and how it ends: status and used length. */
static void one(struct t *t, unsigned q, uint32_t type, uint64_t sector, const struct vd_buf *data,
		unsigned n, uint8_t status, uint32_t used)
{
	struct vd_blk *r = &t->r[q][0];
	uint32_t len;
	uint16_t head;

	vd_interrupts(&t->q[q], true);
	check(t, vd_blk_add(&t->q[q], r, type, sector, data, n, t->indirect) >= 0, "no room");
	vd_kick(&t->q[q]);
	check(t, !vd_wait(&t->q[q], &head, &len), "no answer");
	check(t, vd_blk_status(t->d, r) == status, "another status");
	check(t, len == used, "another used length");
	check(t, !vd_wait_irq(&t->rig.irq), "no interrupt");
	acknowledge(t);
}

/* Four sectors in buffers of 1, 511, 1024 and 512 bytes, the last of them first in memory. */
static void odd_shape(const struct t *t, unsigned q, struct vd_buf buf[4])
{
	gpa_t at = t->data[q] + SECTOR;

	buf[0] = (struct vd_buf){ at, 1 };
	buf[1] = (struct vd_buf){ at + 1, 511 };
	buf[2] = (struct vd_buf){ at + 512, 1024 };
	buf[3] = (struct vd_buf){ t->data[q], 512 };
}

static void all_kinds(struct t *t, unsigned q)
{
	const uint64_t at = 16 * q;
	struct vd_buf buf[4], id = { t->data[q], 20 }, sector = { t->data[q], SECTOR };
	struct vd_buf segment = { t->data[q], 16 };
	uint8_t *p = ptr(t, t->data[q], 16 * SECTOR);

	for (unsigned i = 0; i < 4 * SECTOR; i++)
		p[i] = (uint8_t)(i * 7 + q);
	odd_shape(t, q, buf);
	one(t, q, VD_BLK_OUT, at, buf, 4, OK, 1);
	memset(p, 0, 4 * SECTOR);
	one(t, q, VD_BLK_IN, at, buf, 4, OK, 4 * SECTOR + 1);
	for (unsigned i = 0; i < 4 * SECTOR; i++)
		check(t, p[i] == (uint8_t)(i * 7 + q), "another byte comes back");
	one(t, q, VD_BLK_FLUSH, 0, NULL, 0, OK, 1);
	one(t, q, VD_BLK_GET_ID, 0, &id, 1, OK, 21);
	check(t, !memcmp(p, "hako-0001", 10), "another identity");
	one(t, q, VD_BLK_IN, at + 1, &sector, 1, OK, SECTOR + 1);
	if (t->features & BIT(F_WRITE_ZEROES)) {
		memset(p, 0, 16);
		p[0] = (uint8_t)at; /* below 256 */
		p[8] = 2;
		one(t, q, VD_BLK_WRITE_ZEROES, 0, &segment, 1, OK, 1);
		memset(p, 0xee, SECTOR);
		one(t, q, VD_BLK_IN, at + 1, &sector, 1, OK, SECTOR + 1);
		for (unsigned i = 0; i < SECTOR; i++)
			check(t, !p[i], "a zero is none");
	}
}

/* As many as fit, made available at once, answered each in its place. */
static void full_ring(struct t *t, unsigned q)
{
	const unsigned each = t->indirect ? 1 : 3, n = SIZE / each;
	uint16_t heads[SIZE], head;
	uint32_t len;

	vd_interrupts(&t->q[q], true);
	for (unsigned i = 0; i < n; i++) {
		struct vd_buf b = { t->data[q] + i * SECTOR, SECTOR };
		int h = vd_blk_add(&t->q[q], &t->r[q][i], VD_BLK_IN, 64 + i, &b, 1, t->indirect);

		check(t, h >= 0, "the ring is full too early");
		heads[i] = (uint16_t)h;
	}
	vd_kick(&t->q[q]);
	for (unsigned i = 0; i < n; i++) {
		check(t, !vd_wait(&t->q[q], &head, &len), "too few answers");
		check(t, len == SECTOR + 1, "another length");
		if (t->features & BIT(VIRTIO_F_IN_ORDER))
			check(t, head == heads[i], "another order");
	}
	check(t, !vd_used(&t->q[q], &head, &len), "too many answers");
	for (unsigned i = 0; i < n; i++) {
		uint64_t word;

		check(t, vd_blk_status(t->d, &t->r[q][i]) == OK, "one failed");
		memcpy(&word, ptr(t, t->data[q] + i * SECTOR, 8), 8);
		check(t, word == vrig_pattern((64 + i) * SECTOR), "the data of another");
	}
	check(t, !vd_wait_irq(&t->rig.irq), "no interrupt for all of them");
	acknowledge(t);
}

/* Without interrupts, some laps of the ring. */
static void laps(struct t *t)
{
	for (unsigned i = 0; i < 5 * SIZE; i++)
		for (unsigned q = 0; q < t->n_queues; q++) {
			struct vd_buf b = { t->data[q], SECTOR };
			uint64_t word;

			vd_interrupts(&t->q[q], false);
			check(t,
			      vd_blk_do(&t->q[q], &t->r[q][0], VD_BLK_IN, 64 + i, &b, 1, NULL) ==
				      OK,
			      "a read on some lap failed");
			memcpy(&word, ptr(t, b.gpa, 8), 8);
			check(t, word == vrig_pattern((64 + i) * SECTOR),
			      "the data of another lap");
		}
	acknowledge(t);
}

static void work(struct t *t)
{
	check(t, !vd_begin(t->d, t->features | BIT(VIRTIO_F_VERSION_1)), "features refused");
	t->features = t->d->features;
	for (unsigned q = 0; q < t->n_queues; q++)
		check(t, !vd_queue_init(t->d, &t->q[q], q, SIZE), "no queue");
	vd_go(t->d);
	for (unsigned q = 0; q < t->n_queues; q++) {
		all_kinds(t, q);
		full_ring(t, q);
	}
	laps(t);
	vd_reset(t->d);
	check(t, !vd_get(t->d, VD_INTERRUPT_STATUS) && !t->rig.irq.level, "an interrupt is left");
}

static void combination(bool legacy, uint64_t features, unsigned n_queues)
{
	struct t t;

	memset(&t, 0, sizeof(t));
	vrig_init(&t.rig, RAM);
	t.rig.legacy = legacy;
	t.rig.lint = LINT_STRICT;
	t.rig.lint_deep = deep;
	t.rig.notification_data = true;
	t.rig.queues = (uint16_t)n_queues;
	t.d = &t.rig.driver;
	t.n_queues = n_queues;
	t.indirect = features & BIT(VIRTIO_F_INDIRECT_DESC);
	t.features = features | BIT(F_FLUSH) | BIT(F_WCE) | BIT(F_DISCARD) | BIT(F_WRITE_ZEROES) |
		     (n_queues > 1 ? BIT(F_MQ) : 0) | (legacy ? BIT(VIRTIO_F_ANY_LAYOUT) : 0);
	vrig_file(t.path, SECTORS * SECTOR);
	assert_int_equal(vrig_disk(&t.rig, t.path, false, NULL), 0);
	for (unsigned q = 0; q < n_queues; q++) {
		t.data[q] = vd_alloc(t.d, 16 * SECTOR, SECTOR);
		for (unsigned i = 0; i < SIZE; i++)
			vd_blk_init(t.d, &t.r[q][i]);
	}
	work(&t);
	check(&t, (t.features & features) == features, "a feature is not there");
	work(&t);
	check(&t, !t.rig.said, "the log has something to say");
	vrig_fini(&t.rig);
	unlink(t.path);
}

static void test_matrix(void **state)
{
	static const uint8_t choices[] = { VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
					   VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER,
					   VIRTIO_F_NOTIFICATION_DATA };
	enum { LEGACY_CHOICES = 2 }; /* the first ones; the others came later */

	(void)state;
	for (unsigned legacy = 0; legacy < 2; legacy++) {
		unsigned n = legacy ? LEGACY_CHOICES : ARRAY_SIZE(choices);

		for (unsigned k = 0; k < 1U << n; k++) {
			uint64_t features = 0;

			for (unsigned i = 0; i < n; i++)
				features |= k >> i & 1 ? BIT(choices[i]) : 0;
			combination(legacy, features, 1);
			combination(legacy, features, QUEUES);
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),
	};

	deep = argc > 1 && strcmp(argv[1], "deep") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

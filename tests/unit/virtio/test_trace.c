/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder: what it holds and forgets, and whose turn it is when a queue stands still,
 * for both rings, with the event index and without.
 */
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
#include "vqrig.h"
#include "vrig.h"

enum { SIZE = 8 };

#define PACKED    BIT(VIRTIO_F_RING_PACKED)
#define EVENT_IDX BIT(VIRTIO_F_EVENT_IDX)

static const uint64_t kinds[] = { 0, EVENT_IDX, PACKED, PACKED | EVENT_IDX };

/* Lines of a dump: how many, the last one, and how many have the words looked for. */
struct lines {
	unsigned n, found;
	const char *words;
	char last[200], first[200];
};

static void line(void *arg, const char *text)
{
	struct lines *l = arg;

	snprintf(l->last, sizeof(l->last), "%s", text);
	if (!l->n++)
		snprintf(l->first, sizeof(l->first), "%s", text);
	l->found += l->words && strstr(text, l->words);
}

static unsigned found(struct vqrig *rig, const char *words)
{
	struct lines l = { .words = words };

	vq_dump(rig->vq, line, &l);
	return l.found;
}

/* Whose turn, and that the reason has these words in it. */
static void assert_turn(struct vqrig *rig, enum vq_turn turn, bool kicked, bool irq,
			const char *words)
{
	const struct vq_outside outside = { .kicked = kicked, .irq = irq };
	char why[240];

	assert_int_equal(vq_turn(rig->vq, outside, why, sizeof(why)), turn);
	if (!strstr(why, words))
		fail_msg("'%s' does not say '%s'", why, words);
}

static void test_record(void **state)
{
	struct vq_chain *c;
	struct vqrig rig;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		vqrig_init(&rig, VQ_WATCH_TRACE);
		vqrig_setup(&rig, SIZE, kinds[k]);
		assert_int_equal(found(&rig, "set up with 8 entries"), 1);
		vq_kicks(rig.vq);
		vqrig_offer(&rig, 100, false);
		vq_kicked(rig.vq, 3);
		assert_int_equal(found(&rig, "notified 3 times"), 1);
		vqrig_take(&rig, &c);
		assert_int_equal(found(&rig, "to read 16 bytes in 1 buffers, to write 100 in 1"),
				 1);
		assert_int_equal(found(&rig, "  read  0x"), 1);
		assert_int_equal(found(&rig, "  write 0x"), 1);
		vqrig_answer(&rig, c);
		assert_int_equal(found(&rig, "done, used.len 100"), 1);
		assert_int_equal(found(&rig, "shown, an interrupt is wanted"), 1);
		vq_publish(rig.vq); /* nothing new, nothing said */
		assert_int_equal(found(&rig, "shown"), 1);
		vq_interrupted(rig.vq);
		assert_int_equal(found(&rig, "interrupt raised"), 1);
		vqrig_fini(&rig);
	}
}

/* It forgets the oldest and says how many. */
static void test_forgets(void **state)
{
	struct lines l = { .words = "notified" };
	struct vqrig rig;

	(void)state;
	vqrig_init(&rig, VQ_WATCH_TRACE);
	vqrig_setup(&rig, SIZE, 0);
	for (unsigned i = 0; i < 1500; i++)
		vq_kicked(rig.vq, 1);
	vq_dump(rig.vq, line, &l);
	assert_non_null(strstr(l.first, "477 older events are forgotten")); /* and the set-up */
	assert_int_equal(l.found, 1024);
	assert_int_equal(vq_events(rig.vq), 1501);
	vqrig_fini(&rig);
}

static void test_turns(void **state)
{
	struct vq_chain *c;
	struct vqrig rig;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		bool packed = kinds[k] & PACKED;

		vqrig_init(&rig, VQ_WATCH_TRACE);
		assert_turn(&rig, VQ_TURN_NOBODYS, false, false, "not in use");
		vqrig_setup(&rig, SIZE, kinds[k]);
		vq_kicks(rig.vq);
		assert_turn(&rig, VQ_TURN_NOBODYS, false, false, "all is answered");
		vqrig_offer(&rig, 100, false);
		/* It is there, the device waits for word of it, and none has come. */
		assert_turn(&rig, VQ_TURN_DRIVERS, false, false,
			    packed ? "the driver's turn, 2.8.21.2" : "the driver's turn, 2.7.10.1");
		assert_turn(&rig, VQ_TURN_DRIVERS, false, false,
			    kinds[k] & EVENT_IDX ? "avail_event 0 asks" : "flags 0 asks");
		assert_turn(&rig, VQ_TURN_DEVICES, true, false, "has come: the device's turn");
		vqrig_begin(rig.vq);
		assert_turn(&rig, VQ_TURN_DEVICES, false, false, "while it is busy: the device's");
		vqrig_take(&rig, &c);
		vq_kicks(rig.vq);
		assert_turn(&rig, VQ_TURN_DEVICES, false, false, "1 requests are taken");
		vqrig_answer(&rig, c);
		assert_turn(&rig, VQ_TURN_DRIVERS, false, true, "not acknowledged: the driver's");
		assert_turn(&rig, VQ_TURN_NOBODYS, false, false, "all is answered, up to ");
		vqrig_fini(&rig);
	}
}

static void test_broken(void **state)
{
	struct vq_chain *c;
	struct vqrig rig;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		vqrig_init(&rig, VQ_WATCH_TRACE);
		vqrig_setup(&rig, SIZE, kinds[k]);
		vd_add_malformed(&rig.q);
		vd_publish(&rig.q);
		assert_true(vq_pop(rig.vq, &c, 1) < 0);
		assert_int_equal(found(&rig, "malformed at 0"), 1);
		assert_turn(&rig, VQ_TURN_DRIVERS, false, false, "to reset the device");
		vqrig_fini(&rig);
	}
}

/* Nobody looks on: nothing is kept, and the questions have answers all the same. */
static void test_off(void **state)
{
	struct lines l = { 0 };
	struct vqrig rig;

	(void)state;
	vqrig_init(&rig, 0);
	vqrig_setup(&rig, SIZE, 0);
	vqrig_offer(&rig, 100, false);
	vq_kicked(rig.vq, 1);
	vq_interrupted(rig.vq);
	assert_int_equal(vq_events(rig.vq), 0);
	vq_dump(rig.vq, line, &l);
	assert_int_equal(l.n, 0);
	assert_turn(&rig, VQ_TURN_DEVICES, true, false, "idx is 1");
	vqrig_fini(&rig);
}

/* Through the transport: a driver that makes something available and does not say so is told of
 * after some looks, once; a dump says how things stand. */
static void test_stall(void **state)
{
	char path[VRIG_PATH_MAX];
	struct vd_queue q;
	struct vrig rig;
	struct vd_blk r;
	unsigned said;

	(void)state;
	vrig_init(&rig, 8 << 20);
	rig.trace = true;
	vrig_file(path, 1 << 16);
	assert_int_equal(vrig_disk(&rig, path, false, NULL), 0);
	assert_int_equal(vd_begin(&rig.driver, BIT(VIRTIO_F_VERSION_1)), 0);
	vd_blk_init(&rig.driver, &r);
	virtio_mmio_look(rig.mmio, true);
	assert_non_null(strstr(rig.last, "dev0.q0: the queue is not in use"));
	assert_int_equal(vd_queue_init(&rig.driver, &q, 0, SIZE), 0);
	vd_go(&rig.driver);
	for (unsigned i = 0; i < 9; i++) /* with nothing to do, nothing is said */
		virtio_mmio_look(rig.mmio, false);
	assert_int_equal(rig.said, 1);
	assert_true(vd_blk_add(&q, &r, VD_BLK_GET_ID, 0, NULL, 0, false) >= 0);
	vd_publish(&q);
	for (unsigned i = 0; i < 20; i++)
		virtio_mmio_look(rig.mmio, false);
	assert_non_null(strstr(rig.last, "nothing happens: idx is 1, taken are those up to 0"));
	said = rig.said;
	virtio_mmio_look(rig.mmio, false);
	assert_int_equal(rig.said, said);
	vd_kick_always(&q);
	assert_int_equal(vd_wait_irq(&rig.irq), 0);
	virtio_mmio_look(rig.mmio, true);
	assert_non_null(strstr(rig.last, "not acknowledged: the driver's turn"));
	vrig_fini(&rig);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record), cmocka_unit_test(test_forgets),
		cmocka_unit_test(test_turns),  cmocka_unit_test(test_broken),
		cmocka_unit_test(test_off),    cmocka_unit_test(test_stall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

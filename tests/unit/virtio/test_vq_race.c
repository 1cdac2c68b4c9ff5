/* SPDX-License-Identifier: MIT */
/*
 * Lost wake-ups (virtio 1.2, 2.7.7, 2.7.10 and 2.8.14): a driver and a device on two threads, each
 * of which sleeps unless the other says, by the event index or the flags, that it need not be told.
 * Where vq_kicks() or vq_publish() lacks its barrier, both may sleep in the end. It is a matter of
 * luck: on x86, with a processor for each thread, a missing barrier mostly shows within some
 * thousand hand-overs; on a busy host a run may miss it.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/bits.h"
#include "vdriver.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"

#define RAM 0x80000000ULL
enum { RAM_SIZE = 4 << 20, SIZE = 8, HANDOVERS = 50000 };

struct t {
	struct gmem *mem;
	struct vdriver d;
	struct vd_queue q;
	struct vq *vq;
	atomic_bool kick, irq, quit;
	unsigned popped; /* the device's; read when it is over */
};

/* Wait for a wake-up and take it; false when it does not come. */
static bool sleep_until(atomic_bool *wake, const atomic_bool *quit)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned spins = 0; !atomic_exchange(wake, false); spins++) {
		if (quit && atomic_load(quit))
			return false;
		if (spins % 1024 != 1023)
			continue;
		sched_yield();
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (!quit && now.tv_sec - start.tv_sec > VD_PATIENCE_S)
			return false;
	}
	return true;
}

static void *device(void *arg)
{
	struct t *t = arg;
	struct vq_chain c;

	while (sleep_until(&t->kick, &t->quit)) {
		do {
			vq_kicks(t->vq, false);
			while (vq_pop(t->vq, &c) == 1) {
				vq_push(t->vq, &c, 0);
				if (vq_publish(t->vq))
					atomic_store(&t->irq, true);
				t->popped++;
			}
		} while (vq_kicks(t->vq, true));
	}
	return NULL;
}

static void check(uint64_t features)
{
	struct vq_state s = { .size = SIZE };
	struct vd_buf b;
	pthread_t thread;
	struct t t;
	bool stuck = false;

	memset(&t, 0, sizeof(t));
	assert_int_equal(gmem_create(&t.mem, NULL), 0);
	assert_int_equal(gmem_add_ram(t.mem, RAM, RAM_SIZE, NULL), 0);
	vd_init(&t.d, t.mem, NULL, 0, RAM, RAM_SIZE);
	t.d.features = features;
	vd_queue_layout(&t.d, &t.q, 0, SIZE);
	b = (struct vd_buf){ vd_alloc(&t.d, 64, 64), 64 };
	assert_int_equal(vq_create(&t.vq, t.mem, NULL, "q"), 0);
	s.desc = t.q.desc;
	s.avail = t.q.avail;
	s.used = t.q.used;
	assert_int_equal(vq_setup(t.vq, &s, t.d.features), 0);
	assert_int_equal(pthread_create(&thread, NULL, device, &t), 0);

	for (unsigned i = 0; i < HANDOVERS && !stuck; i++) {
		uint32_t len;
		uint16_t head;

		/* The driver hands over at the moment at which the device goes to sleep, and goes
		 * to sleep itself at the moment at which the device hands back. */
		vd_add(&t.q, &b, 0, 1, false);
		if (vd_wants_kick(&t.q))
			atomic_store(&t.kick, true);
		for (unsigned spin = 0; spin < i * 7 % 2048; spin++)
			__asm__ volatile("" ::: "memory");
		while (!vd_used(&t.q, &head, &len) && !stuck)
			if (!vd_interrupts(&t.q, true))
				stuck = !sleep_until(&t.irq, NULL);
		vd_interrupts(&t.q, false);
	}
	atomic_store(&t.quit, true);
	pthread_join(thread, NULL);
	if (stuck)
		fail_msg("a wake-up was lost after %u chains", t.popped);
	assert_int_equal(t.popped, HANDOVERS);
	vq_destroy(t.vq);
	gmem_destroy(t.mem);
}

static void test_event_idx(void **state)
{
	(void)state;
	check(BIT(VIRTIO_F_EVENT_IDX));
}

static void test_flags(void **state)
{
	(void)state;
	check(0);
}

static void test_packed_event_idx(void **state)
{
	(void)state;
	check(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_EVENT_IDX));
}

static void test_packed_flags(void **state)
{
	(void)state;
	check(BIT(VIRTIO_F_RING_PACKED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_idx),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_packed_event_idx),
		cmocka_unit_test(test_packed_flags),
	};

	return cmocka_run_group_tests_name("vq race", tests, NULL, NULL);
}

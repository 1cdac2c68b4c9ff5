/* SPDX-License-Identifier: MIT */
/*
 * Legacy virtio over MMIO (virtio 1.2, 4.2.4, 2.7.2, 2.7.3, 3.1.2) with a virtio-blk behind it:
 * what drivers from before virtio 1.0 rely on. Most of the registers that both versions have are in
 * test_mmio.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "bus/bus.h"
#include "virtio/virtio.h"
#include "vrig.h"

enum { SECTOR = 512, SIZE = 16, OK = 0 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };

struct t {
	struct vrig rig;
	char path[VRIG_PATH_MAX];
	struct vdriver *d;
	struct vd_queue q;
	struct vd_blk r;
	struct vd_buf data; /* one sector */
};

static void begin(struct t *t)
{
	memset(t, 0, sizeof(*t));
	vrig_init(&t->rig, 8 << 20);
	t->rig.legacy = true;
	vrig_file(t->path, 65536);
	assert_int_equal(vrig_disk(&t->rig, t->path, false, NULL), 0);
	t->d = &t->rig.driver;
	t->d->legacy = true;
	vd_blk_init(t->d, &t->r);
	t->data = (struct vd_buf){ vd_alloc(t->d, SECTOR, SECTOR), SECTOR };
}

static void end(struct t *t)
{
	vrig_fini(&t->rig);
	unlink(t->path);
}

static void read_sector(struct t *t, uint64_t sector)
{
	uint64_t want = vrig_pattern(sector * SECTOR);

	memset(vd_ptr(t->d, t->data.gpa, SECTOR), 0xee, SECTOR);
	assert_int_equal(vd_blk_do(&t->q, &t->r, VD_BLK_IN, sector, &t->data, 1, NULL), OK);
	assert_memory_equal(vd_ptr(t->d, t->data.gpa, 8), &want, 8);
}

/* 4.2.4: version 1, an identity, and nothing offered that came with virtio 1.0. */
static void test_offer(void **state)
{
	struct t t;
	uint64_t offered;

	(void)state;
	begin(&t);
	assert_int_equal(vd_get(t.d, VD_MAGIC), 0x74726976);
	assert_int_equal(vd_get(t.d, VD_VERSION), 1);
	assert_int_equal(vd_get(t.d, VD_DEVICE_ID), VIRTIO_ID_BLOCK);
	offered = vd_offered(t.d);
	assert_int_equal(offered >> 32, 0);
	assert_true(offered & BIT(VIRTIO_F_ANY_LAYOUT));
	assert_true(offered & BIT(VIRTIO_F_INDIRECT_DESC));
	assert_true(offered & BIT(VIRTIO_F_EVENT_IDX));
	/* Registers of version 2 are not there. */
	vd_set(t.d, VD_QUEUE_READY, 1);
	assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 0);
	assert_int_equal(vd_get(t.d, VD_QUEUE_RESET), 0);
	vd_set(t.d, VD_STATUS, ACKNOWLEDGE);
	assert_int_equal(vd_get(t.d, VD_VERSION), 1);
	vd_reset(t.d);
	assert_int_equal(vd_get(t.d, VD_VERSION), 1);
	end(&t);
}

/* 3.1.2: reset, status, features, queue, go. */
static void test_by_the_book(void **state)
{
	struct t t;

	(void)state;
	for (unsigned features = 0; features < 4; features++) {
		begin(&t);
		for (unsigned round = 0; round < 2; round++) {
			assert_int_equal(
				vd_begin(t.d,
					 (features & 1 ? BIT(VIRTIO_F_EVENT_IDX) : 0) |
						 (features & 2 ? BIT(VIRTIO_F_INDIRECT_DESC) : 0)),
				0);
			assert_int_equal(vd_queue_init(t.d, &t.q, 0, SIZE), 0);
			vd_go(t.d);
			assert_int_equal(vd_get(t.d, VD_STATUS), ACKNOWLEDGE | DRIVER | DRIVER_OK);
			for (unsigned i = 0; i < 100; i++)
				read_sector(&t, i);
			assert_int_equal(vd_wait_irq(&t.rig.irq), 0);
			assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 1);
			vd_set(t.d, VD_INTERRUPT_ACK, 1);
			assert_false(t.rig.irq.level);
			assert_int_equal(vd_config(t.d, 0, 8), 65536 / SECTOR);
		}
		end(&t);
	}
}

/* The least that drivers get away with: no features, no QueueAlign, no QueueNum check, not even
 * DRIVER_OK before the first request, polling. */
static void test_sloppy_driver(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	vd_set(t.d, VD_STATUS, 0);
	vd_set(t.d, VD_STATUS, ACKNOWLEDGE);
	vd_set(t.d, VD_STATUS, ACKNOWLEDGE | DRIVER);
	vd_queue_layout(t.d, &t.q, 0, SIZE);
	vd_set(t.d, VD_GUEST_PAGE_SIZE, VD_PAGE);
	vd_set(t.d, VD_QUEUE_SEL, 0);
	vd_set(t.d, VD_QUEUE_NUM, SIZE);
	vd_set(t.d, VD_QUEUE_ALIGN, 0);
	vd_set(t.d, VD_QUEUE_PFN, (uint32_t)(t.q.desc / VD_PAGE));
	read_sector(&t, 3);
	vd_set(t.d, VD_STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK);
	read_sector(&t, 4);
	end(&t);
}

/* A page number without a page size is an address; FEATURES_OK on a device that has none. */
static void test_no_page_size(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	vd_set(t.d, VD_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	vd_queue_layout(t.d, &t.q, 0, SIZE);
	vd_set(t.d, VD_QUEUE_SEL, 0);
	vd_set(t.d, VD_QUEUE_NUM, SIZE);
	vd_set(t.d, VD_QUEUE_PFN, (uint32_t)t.q.desc);
	assert_non_null(strstr(t.rig.last, "GuestPageSize"));
	vd_set(t.d, VD_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	read_sector(&t, 3);
	end(&t);
}

/* Linux writes GuestPageSize when it finds the slot, and resets the device after that. The
 * machine's reset forgets it. */
static void test_page_size_before_reset(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	vd_set(t.d, VD_GUEST_PAGE_SIZE, VD_PAGE);
	for (unsigned round = 0; round < 2; round++) {
		vd_reset(t.d);
		vd_set(t.d, VD_STATUS, ACKNOWLEDGE);
		vd_set(t.d, VD_STATUS, ACKNOWLEDGE | DRIVER);
		vd_queue_layout(t.d, &t.q, 0, SIZE);
		vd_legacy_pfn(t.d, &t.q);
		vd_set(t.d, VD_STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK);
		read_sector(&t, 3);
	}
	virtio_mmio_reset(t.rig.mmio);
	vd_queue_layout(t.d, &t.q, 0, SIZE);
	vd_set(t.d, VD_QUEUE_SEL, 0);
	vd_set(t.d, VD_QUEUE_NUM, SIZE);
	vd_set(t.d, VD_QUEUE_PFN, (uint32_t)t.q.desc); /* an address again */
	read_sector(&t, 4);
	end(&t);
}

/* 2.7.2: the used ring lies at the next multiple of QueueAlign. */
static void test_queue_align(void **state)
{
	static const uint32_t aligns[] = { 4, 64, 512, 4096, 65536 };
	struct t t;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(aligns); i++) {
		begin(&t);
		assert_int_equal(vd_begin(t.d, BIT(VIRTIO_F_EVENT_IDX)), 0);
		vd_queue_layout(t.d, &t.q, 0, SIZE);
		t.d->next += 65536 + 4096; /* room for the parts */
		t.q.avail = t.q.desc + 16 * SIZE;
		t.q.used = align_up(t.q.avail + 6 + 2 * SIZE, aligns[i]);
		vd_set(t.d, VD_QUEUE_SEL, 0);
		vd_set(t.d, VD_QUEUE_NUM, SIZE);
		vd_set(t.d, VD_QUEUE_ALIGN, 12); /* no power of two */
		vd_set(t.d, VD_QUEUE_ALIGN, aligns[i]);
		vd_set(t.d, VD_QUEUE_PFN, (uint32_t)(t.q.desc / VD_PAGE));
		read_sector(&t, 5);
		end(&t);
	}
}

/* GuestPageSize is the unit of QueuePFN. */
static void test_page_size(void **state)
{
	static const uint32_t pages[] = { 1, 512, 4096, 65536 };
	struct t t;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		begin(&t);
		assert_int_equal(vd_begin(t.d, 0), 0);
		t.d->next = align_up(t.d->next, 65536);
		vd_queue_layout(t.d, &t.q, 0, SIZE);
		vd_set(t.d, VD_GUEST_PAGE_SIZE, 3000); /* no power of two */
		vd_set(t.d, VD_GUEST_PAGE_SIZE, pages[i]);
		vd_set(t.d, VD_QUEUE_SEL, 0);
		vd_set(t.d, VD_QUEUE_NUM, SIZE);
		vd_set(t.d, VD_QUEUE_PFN, (uint32_t)(t.q.desc / pages[i]));
		assert_int_equal(vd_get(t.d, VD_QUEUE_PFN), t.q.desc / pages[i]);
		read_sector(&t, 5);
		end(&t);
	}
}

/* QueuePFN reads back; 0 stops the queue at once; a reset zeroes all of it. */
static void test_stop(void **state)
{
	uint16_t used;
	struct t t;

	(void)state;
	begin(&t);
	assert_int_equal(vd_begin(t.d, ~0ULL), 0);
	assert_int_equal(vd_queue_init(t.d, &t.q, 0, SIZE), 0);
	vd_go(t.d);
	read_sector(&t, 1);
	vd_set(t.d, VD_QUEUE_NUM, 4); /* not while it works */
	read_sector(&t, 2);
	vd_set(t.d, VD_QUEUE_PFN, 0);
	assert_int_equal(vd_get(t.d, VD_QUEUE_PFN), 0);
	used = vd_used_idx(&t.q);
	assert_true(vd_blk_add(&t.q, &t.r, VD_BLK_IN, 0, &t.data, 1, false) >= 0);
	vd_publish(&t.q);
	vd_kick_always(&t.q);
	assert_int_equal(vd_queue_init(t.d, &t.q, 0, SIZE), 0); /* another ring */
	read_sector(&t, 3);
	assert_int_equal(vd_used_idx(&t.q), 1);
	assert_int_equal(used, 2);
	vd_reset(t.d);
	vd_set(t.d, VD_QUEUE_SEL, 0);
	assert_int_equal(vd_get(t.d, VD_QUEUE_PFN), 0);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	assert_false(t.rig.irq.level);
	for (uint32_t sel = 1; sel < 3; sel++) { /* no such queue */
		vd_set(t.d, VD_QUEUE_SEL, sel);
		assert_int_equal(vd_get(t.d, VD_QUEUE_NUM_MAX), 0);
		vd_set(t.d, VD_QUEUE_PFN, 5);
		assert_int_equal(vd_get(t.d, VD_QUEUE_PFN), 0);
	}
	end(&t);
}

/* Features written when the queue works already: it goes on where it was, under the new ones. */
static void test_late_features(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	assert_int_equal(vd_begin(t.d, 0), 0);
	assert_int_equal(vd_queue_init(t.d, &t.q, 0, SIZE), 0);
	read_sector(&t, 1);
	vd_set(t.d, VD_DRIVER_FEATURES_SEL, 0);
	vd_set(t.d, VD_DRIVER_FEATURES, (uint32_t)BIT(VIRTIO_F_INDIRECT_DESC) | 1U << 30);
	assert_int_equal(t.rig.dev->acked, BIT(VIRTIO_F_INDIRECT_DESC));
	assert_true(vd_blk_add(&t.q, &t.r, VD_BLK_IN, 0, &t.data, 1, true) >= 0);
	vd_kick(&t.q);
	assert_int_equal(vd_wait(&t.q, &(uint16_t){ 0 }, &(uint32_t){ 0 }), 0);
	assert_int_equal(vd_blk_status(t.d, &t.r), OK);
	assert_int_equal(vd_used_idx(&t.q), 2);
	end(&t);
}

/* 2.4.1: silence after reset, with requests under way. */
static void test_reset_under_way(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	for (unsigned round = 0; round < 50; round++) {
		gpa_t mark = t.d->next;
		uint16_t used;

		assert_int_equal(vd_begin(t.d, 0), 0);
		assert_int_equal(vd_queue_init(t.d, &t.q, 0, SIZE), 0);
		for (unsigned i = 0; i < 4; i++)
			assert_true(vd_blk_add(&t.q, &t.r, VD_BLK_IN, i, &t.data, 1, false) >= 0);
		vd_kick(&t.q);
		vd_set(t.d, round & 1 ? VD_STATUS : VD_QUEUE_PFN, 0);
		used = vd_used_idx(&t.q);
		memset(vd_ptr(t.d, t.data.gpa, SECTOR), 0x5a, SECTOR);
		assert_true(used == 0 || used == 4);
		vd_reset(t.d);
		assert_int_equal(vd_used_idx(&t.q), used);
		assert_int_equal(*(uint8_t *)vd_ptr(t.d, t.data.gpa, 1), 0x5a);
		t.d->next = mark;
	}
	end(&t);
}

/* A ring that cannot be is an error, not a crash, whatever the page size makes of the number. */
static void test_ring_outside_ram(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vd_begin(t.d, 0), 0);
		vd_set(t.d, VD_GUEST_PAGE_SIZE, i == 0 ? 1U << 31 : VD_PAGE);
		vd_set(t.d, VD_QUEUE_SEL, 0);
		vd_set(t.d, VD_QUEUE_NUM, i == 1 ? 12 : SIZE);
		vd_set(t.d, VD_QUEUE_ALIGN, i == 2 ? 1U << 31 : VD_PAGE);
		vd_set(t.d, VD_QUEUE_PFN, i == 0 ? UINT32_MAX : (uint32_t)(VRIG_RAM / VD_PAGE));
		assert_true(vd_get(t.d, VD_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	}
	assert_int_equal(vd_begin(t.d, 0), 0);
	assert_int_equal(vd_queue_init(t.d, &t.q, 0, SIZE), 0);
	read_sector(&t, 9);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offer),
		cmocka_unit_test(test_by_the_book),
		cmocka_unit_test(test_sloppy_driver),
		cmocka_unit_test(test_no_page_size),
		cmocka_unit_test(test_page_size_before_reset),
		cmocka_unit_test(test_queue_align),
		cmocka_unit_test(test_page_size),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_late_features),
		cmocka_unit_test(test_reset_under_way),
		cmocka_unit_test(test_ring_outside_ram),
	};

	return cmocka_run_group_tests_name("legacy mmio", tests, NULL, NULL);
}

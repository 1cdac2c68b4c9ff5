/* SPDX-License-Identifier: MIT */
/*
 * What virtio 1.2 asks of a device and no other test looks at; tests/clauses.txt has all of it, and
 * which test is for what.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "bus/bus.h"
#include "virtio/virtio.h"
#include "vqrig.h"
#include "vrig.h"

enum { SECTOR = 512, SECTORS = 128, SIZE = 16, OK = 0 };
enum { F_FLUSH = 9, F_WCE = 11, F_WRITE_ZEROES = 14 }; /* 5.2.3 */
enum { WRITEBACK = 32, MAY_UNMAP = 56 };               /* 5.2.4 */
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4 };

#define V1       BIT(VIRTIO_F_VERSION_1)
#define PACKED   BIT(VIRTIO_F_RING_PACKED)
#define INDIRECT BIT(VIRTIO_F_INDIRECT_DESC)

struct t {
	struct vrig rig;
	char path[VRIG_PATH_MAX];
	struct vdriver *d;
	struct vd_queue q;
	struct vd_blk r;
	struct vd_buf data; /* one sector */
};

static void begin(struct t *t, bool legacy, uint64_t without)
{
	memset(t, 0, sizeof(*t));
	vrig_init(&t->rig, 16 << 20);
	t->rig.legacy = legacy;
	t->rig.without = without;
	vrig_file(t->path, SECTORS * SECTOR);
	assert_int_equal(vrig_disk(&t->rig, t->path, false, NULL), 0);
	t->d = &t->rig.driver;
	t->d->legacy = legacy;
	vd_blk_init(t->d, &t->r);
	t->data = (struct vd_buf){ vd_alloc(t->d, SECTOR, SECTOR), SECTOR };
}

static void end(struct t *t)
{
	vrig_fini(&t->rig);
	unlink(t->path);
}

static void up(struct t *t, uint64_t features)
{
	assert_int_equal(vd_begin(t->d, V1 | features), 0);
	assert_int_equal(vd_queue_init(t->d, &t->q, 0, SIZE), 0);
	vd_go(t->d);
}

/* ---- Rings ---- */

/*
 * Copies of guest memory, to see that the device leaves it alone. The device may look for requests
 * at any time, so a request is made available and copied, and then compared, on the loop, where
 * nothing of the device is under way.
 */
struct copies {
	struct t *t;
	struct copy {
		const uint8_t *at;
		uint8_t *was;
		size_t len;
	} copy[5];
	unsigned n;
	bool same;
};

static void will_copy(struct copies *c, gpa_t gpa, size_t len)
{
	c->copy[c->n] = (struct copy){ vd_ptr(c->t->d, gpa, len), malloc(len), len };
	assert_non_null(c->copy[c->n++].was);
}

static void publish_and_copy(void *arg)
{
	struct copies *c = arg;

	vd_publish(&c->t->q);
	for (unsigned i = 0; i < c->n; i++)
		memcpy(c->copy[i].was, c->copy[i].at, c->copy[i].len);
}

static void compare(void *arg)
{
	struct copies *c = arg;

	c->same = true;
	for (unsigned i = 0; i < c->n; i++) {
		c->same &= memcmp(c->copy[i].at, c->copy[i].was, c->copy[i].len) == 0;
		free(c->copy[i].was);
	}
}

/* 2.7.5.1, 2.8.15: what is the device's to read only stays as it is: headers, data, indirect
 * tables, and in the split ring descriptors and available ring. */
static void test_readable_is_not_written(void **state)
{
	static const uint32_t types[] = { VD_BLK_OUT, VD_BLK_IN, VD_BLK_FLUSH, VD_BLK_GET_ID, 99 };
	struct t t;

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		bool indirect = k & 1, packed = k & 2;

		begin(&t, false, 0);
		up(&t, INDIRECT | (packed ? PACKED : 0));
		for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
			struct copies c = { .t = &t };
			uint16_t head;
			uint32_t len;

			memset(vd_ptr(t.d, t.data.gpa, SECTOR), 0x5a, SECTOR);
			assert_true(vd_blk_add(&t.q, &t.r, types[i], 0, &t.data, 1, indirect) >= 0);
			will_copy(&c, t.r.header, 16);
			will_copy(&c, t.q.tables, (size_t)16 * VD_TABLE_MAX * SIZE);
			will_copy(&c, packed ? t.q.avail : t.q.desc, packed ? 4 : 16 * SIZE);
			will_copy(&c, t.q.avail, packed ? 4 : 4 + 2 * SIZE);
			if (types[i] == VD_BLK_OUT)
				will_copy(&c, t.data.gpa, SECTOR);
			vrig_on_loop(&t.rig, publish_and_copy, &c);
			vd_kick_always(&t.q);
			assert_int_equal(vd_wait(&t.q, &head, &len), 0);
			vrig_on_loop(&t.rig, compare, &c);
			assert_true(c.same);
		}
		end(&t);
	}
}

/* 2.8.15: a descriptor is the driver's again once it is used, whatever is done after. */
static void test_used_descriptor_stays(void **state)
{
	struct vq_chain *a, *b;
	struct vqrig rig;
	uint8_t was[16], *used;

	(void)state;
	vqrig_init(&rig, 0);
	vqrig_setup(&rig, SIZE, PACKED);
	vqrig_offer(&rig, 64, false);
	vqrig_offer(&rig, 64, false);
	vqrig_take(&rig, &a);
	vqrig_take(&rig, &b);
	vqrig_answer(&rig, b);
	used = vd_ptr(&rig.d, rig.q.desc, 16);
	memcpy(was, used, 16);
	vqrig_answer(&rig, a);
	vq_publish(rig.vq);
	vqrig_begin(rig.vq);
	vq_kicks(rig.vq);
	assert_memory_equal(used, was, 16);
	vqrig_fini(&rig);
}

/* 2.8.7: of an indirect table's descriptors only WRITE counts, and of the one that points to it,
 * WRITE does not. */
static void test_packed_indirect_ignores(void **state)
{
	struct vq_chain *c;
	struct vqrig rig;

	(void)state;
	vqrig_init(&rig, 0);
	vqrig_setup(&rig, SIZE, PACKED | INDIRECT);
	vd_desc_set(&rig.d, rig.q.tables, 0, rig.buf, 16, 0xffff,
		    VD_NEXT | VD_INDIRECT | VD_AVAIL | VD_USED);
	vd_desc_set(&rig.d, rig.q.tables, 1, rig.buf + 16, 16, 0x1234, VD_WRITE);
	vd_desc_set(&rig.d, rig.q.desc, 0, rig.q.tables, 32, 5, VD_INDIRECT | VD_WRITE | VD_AVAIL);
	vqrig_take(&rig, &c);
	assert_int_equal(c->n_out, 1);
	assert_int_equal(c->n_in, 1);
	assert_int_equal(c->out_len, 16);
	vqrig_answer(&rig, c);
	assert_int_equal(*(uint8_t *)vd_ptr(&rig.d, rig.q.desc + 12, 1), 5);
	vqrig_fini(&rig);
}

/* 2.7.10.2, 2.8.16: notifications without anything new do no harm. */
static void test_spurious_notifications(void **state)
{
	struct t t;

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		begin(&t, false, 0);
		up(&t, packed ? PACKED : 0);
		for (unsigned i = 0; i < 100; i++)
			vd_kick_always(&t.q);
		for (unsigned i = 0; i < 3 * SIZE; i++) {
			assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_IN, i, &t.data, 1, NULL), OK);
			vd_kick_always(&t.q);
		}
		assert_int_equal(vd_used_idx(&t.q), 3 * SIZE);
		assert_int_equal(vd_get(t.d, VD_STATUS) & VIRTIO_STATUS_NEEDS_RESET, 0);
		end(&t);
	}
}

/* ---- Registers ---- */

/* 4.2.2.1: a reset clears InterruptStatus, and QueueReady of each queue. */
static void test_reset_clears(void **state)
{
	struct t t;

	(void)state;
	begin(&t, false, 0);
	up(&t, 0);
	assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_IN, 0, &t.data, 1, NULL), OK);
	assert_int_equal(vd_wait_irq(&t.rig.irq), 0);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS),
			 1); /* and no bit of what did not happen */
	assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 1);
	vd_reset(t.d);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	assert_false(t.rig.irq.level);
	vd_set(t.d, VD_QUEUE_SEL, 0);
	assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 0);
	end(&t);
}

/* 2.4.1: after it, silence: what was made available before is not touched by kicks. */
static void test_silence_after_reset(void **state)
{
	struct t t;

	(void)state;
	begin(&t, false, 0);
	up(&t, 0);
	vd_reset(t.d);
	assert_true(vd_blk_add(&t.q, &t.r, VD_BLK_IN, 0, &t.data, 1, false) >= 0);
	vd_publish(&t.q);
	for (unsigned i = 0; i < 10; i++)
		vd_kick_always(&t.q);
	assert_int_equal(vd_begin(t.d, V1), 0); /* by now it would have been looked at */
	assert_int_equal(vd_used_idx(&t.q), 0);
	assert_int_equal(vd_blk_status(t.d, &t.r), 0xff);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	end(&t);
}

/* 4.2.2.1: QueueReset is 0 on reset and once the queue is enabled again. */
static void test_queue_reset_reads_zero(void **state)
{
	struct t t;

	(void)state;
	begin(&t, false, 0);
	up(&t, BIT(VIRTIO_F_RING_RESET));
	assert_int_equal(vd_get(t.d, VD_QUEUE_RESET), 0);
	vd_set(t.d, VD_QUEUE_RESET, 1);
	assert_int_equal(vd_get(t.d, VD_QUEUE_RESET), 0);
	assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 0);
	/* 2.6.1.1.1: all of its state is as at first. */
	assert_int_equal(vd_queue_init(t.d, &t.q, 0, SIZE / 2), 0);
	assert_int_equal(vd_get(t.d, VD_QUEUE_RESET), 0);
	assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_IN, 0, &t.data, 1, NULL), OK);
	assert_int_equal(vd_used_idx(&t.q), 1);
	vd_reset(t.d);
	assert_int_equal(vd_get(t.d, VD_QUEUE_RESET), 0);
	end(&t);
}

/* 4.2.4: QueuePFN reads back what was written, and 0 once the queue is out of use. */
static void test_legacy_pfn_reads_back(void **state)
{
	struct t t;

	(void)state;
	begin(&t, true, 0);
	up(&t, 0);
	vd_set(t.d, VD_QUEUE_SEL, 0);
	assert_int_equal(vd_get(t.d, VD_QUEUE_PFN), t.q.desc / VD_PAGE);
	vd_reset(t.d);
	assert_int_equal(vd_get(t.d, VD_QUEUE_PFN), 0);
	end(&t);
}

/* ---- Block ---- */

/* 5.2.5.2: without FLUSH, a driver that can switch the cache finds it off; what is offered is both
 * or FLUSH alone. */
static void test_wce_without_flush(void **state)
{
	struct t t;

	(void)state;
	begin(&t, false, 0);
	assert_int_equal(vd_begin(t.d, V1 | BIT(F_WCE) | BIT(F_FLUSH)), 0);
	assert_int_equal(vd_config(t.d, WRITEBACK, 1), 1);
	assert_int_equal(vd_begin(t.d, V1 | BIT(F_WCE)), 0);
	assert_int_equal(vd_config(t.d, WRITEBACK, 1), 0);
	assert_int_equal(vd_begin(t.d, V1 | BIT(F_WCE) | BIT(F_FLUSH)), 0);
	assert_int_equal(vd_config(t.d, WRITEBACK, 1), 1);
	end(&t);

	begin(&t, false, BIT(F_FLUSH));
	assert_int_equal(vd_offered(t.d) & (BIT(F_FLUSH) | BIT(F_WCE)), 0);
	end(&t);
	begin(&t, false, BIT(F_WCE));
	assert_int_equal(vd_offered(t.d) & (BIT(F_FLUSH) | BIT(F_WCE)), BIT(F_FLUSH));
	end(&t);
}

static blkcnt_t blocks_of(const struct t *t)
{
	struct stat st;
	int fd = open(t->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0); /* some file systems count late */
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_blocks;
}

/* 5.2.6.2: write_zeroes_may_unmap says whether the host gets sectors back; without the flag, it
 * never does. */
static void test_may_unmap_is_honest(void **state)
{
	blkcnt_t before, kept, after;
	uint8_t *segment;
	bool may;
	struct t t;

	(void)state;
	begin(&t, false, 0);
	up(&t, BIT(F_FLUSH) | BIT(F_WRITE_ZEROES));
	if (!(t.d->features & BIT(F_WRITE_ZEROES))) {
		end(&t);
		skip();
	}
	may = vd_config(t.d, MAY_UNMAP, 1);
	before = blocks_of(&t);
	segment = vd_ptr(t.d, t.data.gpa, 16);
	memset(segment, 0, 16);
	segment[8] = SECTORS;
	t.data.len = 16;
	assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_WRITE_ZEROES, 0, &t.data, 1, NULL), OK);
	kept = blocks_of(&t);
	segment[12] = 1; /* unmap */
	assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_WRITE_ZEROES, 0, &t.data, 1, NULL), OK);
	after = blocks_of(&t);
	assert_true(before > 0 && kept >= before);
	assert_true(may ? after < before : after >= before);
	end(&t);
}

static void writeback_write(struct t *t, uint8_t val)
{
	assert_int_equal(bus_write(t->rig.bus, VRIG_SLOT + VD_CONFIG + WRITEBACK, 1, val), 0);
}

/* 3.1.2, 5.2.5.3: a legacy driver writes the configuration when it likes, and no status or feature
 * bit undoes that. */
static void test_legacy_cache_mode(void **state)
{
	struct t t;

	(void)state;
	for (uint8_t mode = 0; mode < 2; mode++) {
		begin(&t, true, 0);
		vd_reset(t.d);
		writeback_write(&t, mode);
		assert_int_equal(vd_config(t.d, WRITEBACK, 1), mode);
		vd_set(t.d, VD_STATUS, ACKNOWLEDGE);
		vd_set(t.d, VD_STATUS, ACKNOWLEDGE | DRIVER);
		assert_int_equal(vd_config(t.d, WRITEBACK, 1), mode);
		vd_set(t.d, VD_DRIVER_FEATURES_SEL, 0);
		vd_set(t.d, VD_DRIVER_FEATURES, BIT(F_WCE)); /* and not FLUSH */
		assert_int_equal(vd_config(t.d, WRITEBACK, 1), mode);
		vd_set(t.d, VD_STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK);
		assert_int_equal(vd_config(t.d, WRITEBACK, 1), mode);
		end(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readable_is_not_written),
		cmocka_unit_test(test_used_descriptor_stays),
		cmocka_unit_test(test_packed_indirect_ignores),
		cmocka_unit_test(test_spurious_notifications),
		cmocka_unit_test(test_reset_clears),
		cmocka_unit_test(test_silence_after_reset),
		cmocka_unit_test(test_queue_reset_reads_zero),
		cmocka_unit_test(test_legacy_pfn_reads_back),
		cmocka_unit_test(test_wce_without_flush),
		cmocka_unit_test(test_may_unmap_is_honest),
		cmocka_unit_test(test_legacy_cache_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

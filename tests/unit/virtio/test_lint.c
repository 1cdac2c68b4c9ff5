/* SPDX-License-Identifier: MIT */
/*
 * The lint: for each rule a driver that breaks it and no other, which is found by the right number;
 * drivers that do all right, of which nothing is said; one that does as beginners do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "bus/bus.h"
#include "virtio/lint.h"
#include "virtio/virtio.h"
#include "vrig.h"

enum { SECTOR = 512, SIZE = 16, CAPACITY = 128, RAM = 80 << 20, OK = 0, IOERR = 1 };
enum {
	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,
	FEATURES_OK = 8,
	NEEDS_RESET = 64,
	FAILED = 128
};
/* virtio 1.2, 5.2.3, 5.2.4 */
enum {
	F_SIZE_MAX = 1,
	F_SEG_MAX = 2,
	F_FLUSH = 9,
	F_WCE = 11,
	F_DISCARD = 13,
	F_WRITE_ZEROES = 14
};
enum { SIZE_MAX_AT = 8, BLK_SIZE_AT = 20, WRITEBACK_AT = 32, MAX_DISCARD_AT = 36 };

#define V1       BIT(VIRTIO_F_VERSION_1)
#define INDIRECT BIT(VIRTIO_F_INDIRECT_DESC)
#define SEGMENTS (BIT(F_DISCARD) | BIT(F_WRITE_ZEROES))

struct t {
	struct vrig rig;
	char path[VRIG_PATH_MAX];
	struct vdriver *d;
	struct vd_queue q;
	struct vd_blk r;
	struct vd_buf data; /* one sector */
	bool left_out;      /* the host's file system cannot do what it takes */
};

/* How the disk is to be, beside the usual. */
enum { LEGACY = 1, READONLY = 2, LIMITS = 4 };
enum { SEG_MAX = 3, SIZE_MAX_BYTES = 1024 };

static void begin(struct t *t, enum lint_level level, unsigned kind)
{
	bool legacy = kind & LEGACY;

	memset(t, 0, sizeof(*t));
	vrig_init(&t->rig, RAM);
	t->rig.legacy = legacy;
	t->rig.lint = level;
	t->rig.lint_deep = true;
	if (kind & LIMITS) {
		t->rig.seg_max = SEG_MAX;
		t->rig.size_max = SIZE_MAX_BYTES;
	}
	vrig_file(t->path, CAPACITY * SECTOR);
	assert_int_equal(vrig_disk(&t->rig, t->path, kind & READONLY, NULL), 0);
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

/* Everything right, up to DRIVER_OK. */
static void up(struct t *t, uint64_t features)
{
	assert_int_equal(vd_begin(t->d, V1 | features), 0);
	assert_int_equal(vd_queue_init(t->d, &t->q, 0, SIZE), 0);
	vd_go(t->d);
}

static void acknowledge(struct t *t)
{
	assert_int_equal(vd_wait_irq(&t->rig.irq), 0);
	vd_set(t->d, VD_INTERRUPT_ACK, vd_get(t->d, VD_INTERRUPT_STATUS));
}

/* One request, its interrupt acknowledged; its status. */
static int request(struct t *t, uint32_t type, uint64_t sector, const struct vd_buf *data,
		   unsigned n)
{
	int status = vd_blk_do(&t->q, &t->r, type, sector, data, n, NULL);

	acknowledge(t);
	return status;
}

static void read_sector(struct t *t)
{
	assert_int_equal(request(t, VD_BLK_IN, 0, &t->data, 1), OK);
}

/* Wait until the device has given up on the ring. */
static void wait_needs_reset(struct t *t)
{
	while (!(vd_get(t->d, VD_STATUS) & NEEDS_RESET))
		usleep(1000);
}

static void identify(struct t *t)
{
	vd_get(t->d, VD_MAGIC);
	vd_get(t->d, VD_VERSION);
	vd_get(t->d, VD_DEVICE_ID);
}

/* Identified, reset, ACKNOWLEDGE and DRIVER set, features read. */
static void met(struct t *t)
{
	identify(t);
	vd_reset(t->d);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | DRIVER);
	t->d->features = vd_offered(t->d);
}

static void accept(struct t *t, uint64_t features)
{
	vd_set(t->d, VD_DRIVER_FEATURES_SEL, 0);
	vd_set(t->d, VD_DRIVER_FEATURES, (uint32_t)features);
	if (t->d->legacy)
		return;
	vd_set(t->d, VD_DRIVER_FEATURES_SEL, 1);
	vd_set(t->d, VD_DRIVER_FEATURES, (uint32_t)(features >> 32));
}

/* ---- Status and features ---- */

static void status_cleared(struct t *t)
{
	up(t, 0);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | DRIVER_OK | FEATURES_OK);
}

static void not_reset(struct t *t)
{
	identify(t);
	vd_get(t->d, VD_STATUS);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE);
}

static void reset_not_awaited(struct t *t)
{
	identify(t);
	vd_set(t->d, VD_STATUS, 0);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE);
}

static void step_skipped(struct t *t)
{
	identify(t);
	vd_reset(t->d);
	vd_set(t->d, VD_STATUS, DRIVER);
}

static void on_after_failed(struct t *t)
{
	identify(t);
	vd_reset(t->d);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | FAILED);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | FAILED | DRIVER);
}

static void features_late(struct t *t)
{
	assert_int_equal(vd_begin(t->d, V1), 0);
	vd_set(t->d, VD_DRIVER_FEATURES, 0);
}

static void feature_not_offered(struct t *t)
{
	met(t);
	accept(t, V1 | BIT(VIRTIO_F_ANY_LAYOUT));
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

static void no_version_1(struct t *t)
{
	assert_int_equal(vd_begin(t->d, 0), 0);
}

static void features_ok_not_read(struct t *t)
{
	met(t);
	accept(t, V1);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static void no_features_ok(struct t *t)
{
	met(t);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK);
}

static void early_kick(struct t *t)
{
	assert_int_equal(vd_begin(t->d, V1), 0);
	assert_int_equal(vd_queue_init(t->d, &t->q, 0, SIZE), 0);
	vd_kick_always(&t->q);
	vd_go(t->d);
}

static void features_not_written(struct t *t)
{
	met(t);
	vd_set(t->d, VD_GUEST_PAGE_SIZE, VD_PAGE);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK);
}

static void early_config_write(struct t *t)
{
	met(t);
	bus_write(t->rig.bus, VRIG_SLOT + VD_CONFIG + WRITEBACK_AT, 1, 0);
}

/* ---- Registers and configuration ---- */

static void identity_not_read(struct t *t)
{
	vd_get(t->d, VD_VERSION);
	vd_get(t->d, VD_DEVICE_ID);
	vd_reset(t->d);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE);
}

static void reg_width(struct t *t)
{
	uint64_t val;

	bus_read(t->rig.bus, VRIG_SLOT + VD_STATUS, 1, &val);
}

static void reg_none(struct t *t)
{
	vd_get(t->d, 0x0e0);
}

static void config_none(struct t *t)
{
	vd_config(t->d, 0x80, 4);
}

static void reg_direction(struct t *t)
{
	vd_get(t->d, VD_QUEUE_SEL);
	vd_set(t->d, VD_MAGIC, 0);
}

static void device_features_sel(struct t *t)
{
	vd_get(t->d, VD_DEVICE_FEATURES);
}

static void driver_features_sel(struct t *t)
{
	vd_set(t->d, VD_DRIVER_FEATURES, 0);
}

static void config_width(struct t *t)
{
	vd_config(t->d, BLK_SIZE_AT, 2);
}

static void config_64_bits(struct t *t)
{
	uint64_t val;

	bus_read(t->rig.bus, VRIG_SLOT + VD_CONFIG, 8, &val);
	assert_int_equal(val, CAPACITY);
}

static void config_feature(struct t *t)
{
	vd_config(t->d, SIZE_MAX_AT, 4);
}

static void generation_before(struct t *t)
{
	vd_config(t->d, 0, 4);
	vd_config(t->d, 4, 4);
	vd_get(t->d, VD_CONFIG_GENERATION);
}

static void generation_after(struct t *t)
{
	assert_int_equal(vd_begin(t->d, V1), 0);
	vd_get(t->d, VD_CONFIG_GENERATION);
	vd_config(t->d, 0, 4);
	vd_config(t->d, 4, 4);
	vd_go(t->d);
}

static void config_early(struct t *t)
{
	met(t);
	vd_config(t->d, WRITEBACK_AT, 1);
}

static void ack_undefined(struct t *t)
{
	up(t, 0);
	vd_set(t->d, VD_INTERRUPT_ACK, 4);
}

static void ack_not_raised(struct t *t)
{
	up(t, 0);
	vd_set(t->d, VD_INTERRUPT_ACK, 1);
}

static void never_acked(struct t *t)
{
	up(t, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vd_blk_do(&t->q, &t->r, VD_BLK_IN, i, &t->data, 1, NULL), OK);
}

/* ---- Queues ---- */

/* Up to where queues are set up; queue 0 is selected and its maximum read. */
static void before_queue(struct t *t)
{
	assert_int_equal(vd_begin(t->d, V1), 0);
	vd_set(t->d, VD_QUEUE_SEL, 0);
	assert_int_not_equal(vd_get(t->d, VD_QUEUE_NUM_MAX), 0);
	vd_queue_layout(t->d, &t->q, 0, SIZE);
}

static void place(struct t *t, uint32_t size, gpa_t desc, gpa_t avail, gpa_t used)
{
	vd_set(t->d, VD_QUEUE_NUM, size);
	vd_set64(t->d, VD_QUEUE_DESC, desc);
	vd_set64(t->d, VD_QUEUE_DRIVER, avail);
	vd_set64(t->d, VD_QUEUE_DEVICE, used);
	vd_set(t->d, VD_QUEUE_READY, 1);
	vd_go(t->d);
}

static void queue_too_large(struct t *t)
{
	before_queue(t);
	vd_set(t->d, VD_QUEUE_NUM, 512);
}

static void queue_max_not_read(struct t *t)
{
	assert_int_equal(vd_begin(t->d, V1), 0);
	vd_set(t->d, VD_QUEUE_SEL, 0);
	vd_set(t->d, VD_QUEUE_NUM, SIZE);
}

static void queue_in_use(struct t *t)
{
	up(t, 0);
	vd_set(t->d, VD_QUEUE_NUM, SIZE);
}

static void queue_stop_not_read(struct t *t)
{
	up(t, 0);
	vd_set(t->d, VD_QUEUE_READY, 0);
	vd_set(t->d, VD_QUEUE_SEL, 0);
}

static void queue_none(struct t *t)
{
	before_queue(t);
	vd_set(t->d, VD_QUEUE_SEL, 5);
	vd_set(t->d, VD_QUEUE_NUM, SIZE);
}

static void queue_size(struct t *t)
{
	before_queue(t);
	place(t, 12, t->q.desc, t->q.avail, t->q.used);
}

static void queue_align(struct t *t)
{
	before_queue(t);
	place(t, SIZE, t->q.desc + 8, t->q.avail, t->q.used);
}

static void queue_not_ram(struct t *t)
{
	before_queue(t);
	place(t, SIZE, 0x1000, t->q.avail, t->q.used);
}

static void queue_overlap(struct t *t)
{
	before_queue(t);
	place(t, SIZE, t->q.desc, t->q.avail, t->q.desc + 16);
}

static void queue_reset(struct t *t)
{
	up(t, 0);
	vd_set(t->d, VD_QUEUE_RESET, 1);
}

static void kick_none(struct t *t)
{
	up(t, 0);
	vd_set(t->d, VD_QUEUE_NOTIFY, 7);
}

static void kick_not_ready(struct t *t)
{
	before_queue(t);
	vd_go(t->d);
	vd_set(t->d, VD_QUEUE_NOTIFY, 0);
}

static void queue_reset_not_read(struct t *t)
{
	up(t, BIT(VIRTIO_F_RING_RESET));
	vd_set(t->d, VD_QUEUE_RESET, 1);
	vd_set(t->d, VD_QUEUE_SEL, 0);
}

/* ---- Rings ---- */

static void offer(struct t *t, uint16_t head)
{
	vd_avail_set(&t->q, t->q.avail_idx++, head);
	vd_kick(&t->q);
	wait_needs_reset(t);
}

static void desc(struct t *t, unsigned i, uint32_t len, uint16_t flags, uint16_t next)
{
	vd_desc_set(t->d, t->q.desc, i, t->data.gpa, len, flags, next);
}

static void idx_jumps(struct t *t)
{
	up(t, 0);
	vd_avail_idx_set(&t->q, SIZE + 1);
	vd_kick_always(&t->q);
	wait_needs_reset(t);
}

static void head_beyond(struct t *t)
{
	up(t, 0);
	offer(t, SIZE);
}

static void next_beyond(struct t *t)
{
	up(t, 0);
	desc(t, 0, 16, VD_NEXT, SIZE);
	offer(t, 0);
}

static void chain_loops(struct t *t)
{
	up(t, 0);
	desc(t, 0, 16, VD_NEXT, 0);
	offer(t, 0);
}

static void chain_bytes(struct t *t)
{
	enum { N = 66, LEN = 64 << 20 };
	struct vd_buf buf[N];

	assert_int_equal(vd_begin(t->d, V1 | INDIRECT), 0);
	assert_int_equal(vd_queue_init(t->d, &t->q, 0, 128), 0);
	vd_go(t->d);
	for (unsigned i = 0; i < N; i++)
		buf[i] = (struct vd_buf){ VRIG_RAM, LEN };
	assert_true(vd_add(&t->q, buf, N, 0, true) >= 0);
	vd_kick(&t->q);
	wait_needs_reset(t);
}

static void in_flight(struct t *t)
{
	int head;

	up(t, 0);
	head = vd_blk_add(&t->q, &t->r, VD_BLK_IN, 0, &t->data, 1, false);
	assert_true(head >= 0);
	offer(t, (uint16_t)head);
	acknowledge(t); /* of NEEDS_RESET, and perhaps of the first */
}

static void writable_first(struct t *t)
{
	up(t, 0);
	desc(t, 0, 16, VD_NEXT | VD_WRITE, 1);
	desc(t, 1, 16, 0, 0);
	offer(t, 0);
}

static void buffer_nowhere(struct t *t)
{
	const struct vd_buf buf = { 0x1000, 16 };

	up(t, 0);
	assert_true(vd_add(&t->q, &buf, 1, 0, false) >= 0);
	vd_kick(&t->q);
	wait_needs_reset(t);
}

static void indirect_not_agreed(struct t *t)
{
	up(t, 0);
	desc(t, 0, 16, VD_INDIRECT, 0);
	offer(t, 0);
}

static void indirect_nested(struct t *t)
{
	up(t, INDIRECT);
	vd_desc_set(t->d, t->q.desc, 0, t->q.tables, 32, VD_INDIRECT, 0);
	vd_desc_set(t->d, t->q.tables, 0, t->q.tables + 64, 16, VD_INDIRECT, 0);
	offer(t, 0);
}

static void indirect_next(struct t *t)
{
	up(t, INDIRECT);
	vd_desc_set(t->d, t->q.desc, 0, t->q.tables, 32, VD_INDIRECT | VD_NEXT, 1);
	offer(t, 0);
}

static void indirect_length(struct t *t)
{
	up(t, INDIRECT);
	vd_desc_set(t->d, t->q.desc, 0, t->q.tables, 17, VD_INDIRECT, 0);
	offer(t, 0);
}

static void avail_flags(struct t *t)
{
	up(t, 0);
	vd_avail_flags_set(&t->q, 2);
	read_sector(t);
}

static void avail_flags_event_idx(struct t *t)
{
	up(t, BIT(VIRTIO_F_EVENT_IDX));
	vd_avail_flags_set(&t->q, 1);
	read_sector(t);
}

static void list_long(struct t *t)
{
	assert_int_equal(vd_begin(t->d, V1 | BIT(VIRTIO_F_RING_PACKED)), 0);
	assert_int_equal(vd_queue_init(t->d, &t->q, 0, 4), 0);
	vd_go(t->d);
	/* The first last: it shows the device the others. The id, then the flags. */
	for (unsigned i = 4; i-- > 0;)
		desc(t, i, 16, 0, VD_NEXT | VD_AVAIL);
	vd_kick_always(&t->q);
	wait_needs_reset(t);
}

static void ring_not_cleared(struct t *t)
{
	before_queue(t);
	*(uint8_t *)vd_ptr(t->d, t->q.used, 1) = 1;
	place(t, SIZE, t->q.desc, t->q.avail, t->q.used);
}

/* The driver area of the packed ring: flags behind the position. */
static void event_area(struct t *t, uint64_t features, uint8_t flags)
{
	up(t, BIT(VIRTIO_F_RING_PACKED) | features);
	*(uint8_t *)vd_ptr(t->d, t->q.avail + 2, 1) = flags;
	read_sector(t);
}

static void event_flags(struct t *t)
{
	event_area(t, 0, 2);
}

static void event_flags_reserved(struct t *t)
{
	event_area(t, BIT(VIRTIO_F_EVENT_IDX), 3);
}

/* The second descriptor of a list has the right contents, but is not marked available. */
static void tail_late(struct t *t)
{
	uint8_t *flags;

	up(t, BIT(VIRTIO_F_RING_PACKED));
	assert_true(vd_blk_add(&t->q, &t->r, VD_BLK_IN, 0, &t->data, 1, false) >= 0);
	flags = vd_ptr(t->d, t->q.desc + 16 + 14, 2);
	*flags &= (uint8_t)~VD_AVAIL;
	vd_kick(&t->q);
	acknowledge(t);
}

static void kick_empty(struct t *t)
{
	up(t, 0);
	vd_kick_always(&t->q);
}

/* A driver that accepts all that is offered, and has a split ring. */
static void kick_other_ring(struct t *t)
{
	gpa_t ring;

	up(t, BIT(VIRTIO_F_RING_PACKED));
	ring = t->q.avail;
	*(uint16_t *)vd_ptr(t->d, ring + 2, 2) = 1;
	vd_kick_always(&t->q);
}

/* ---- Block ---- */

static void blk_short(struct t *t)
{
	const struct vd_buf buf[] = { { t->r.header, 8 }, { t->r.status, 1 } };

	up(t, 0);
	assert_true(vd_add(&t->q, buf, 1, 1, false) >= 0);
	vd_kick(&t->q);
	wait_needs_reset(t);
}

static void blk_capacity(struct t *t)
{
	up(t, 0);
	request(t, VD_BLK_IN, CAPACITY, &t->data, 1);
}

static void blk_capacity_write(struct t *t)
{
	up(t, 0);
	request(t, VD_BLK_OUT, UINT64_MAX, &t->data, 1);
}

static void blk_length(struct t *t)
{
	up(t, 0);
	t->data.len = 100;
	request(t, VD_BLK_IN, 0, &t->data, 1);
}

static void blk_type(struct t *t)
{
	up(t, 0);
	request(t, 99, 0, NULL, 0);
}

static void blk_flush_sector(struct t *t)
{
	up(t, BIT(F_FLUSH));
	assert_int_equal(request(t, VD_BLK_FLUSH, 1, NULL, 0), OK);
}

static void blk_flush_data(struct t *t)
{
	up(t, BIT(F_FLUSH));
	assert_int_equal(request(t, VD_BLK_FLUSH, 0, &t->data, 1), OK);
}

static void blk_get_id(struct t *t)
{
	up(t, 0);
	t->data.len = 19;
	request(t, VD_BLK_GET_ID, 0, &t->data, 1);
}

/* WRITE_ZEROES, or DISCARD, with the segment {sector 0, sectors, flags}, cut to `bytes`. */
static void segments(struct t *t, uint32_t type, uint64_t features, uint32_t sectors, uint8_t flags,
		     uint32_t bytes)
{
	uint8_t *p;

	up(t, features);
	if ((t->d->features & features) != features) {
		t->left_out = true;
		return;
	}
	p = vd_ptr(t->d, t->data.gpa, SECTOR);
	for (unsigned i = 0; i < 4; i++)
		p[8 + i] = (uint8_t)(sectors >> (8 * i));
	p[12] = flags;
	t->data.len = bytes;
	request(t, type, 0, &t->data, 1);
}

static void blk_segment_size(struct t *t)
{
	segments(t, VD_BLK_DISCARD, SEGMENTS, 1, 0, 15);
}

static void blk_segments(struct t *t)
{
	segments(t, VD_BLK_DISCARD, SEGMENTS, 1, 0, 17 * 16);
}

static void blk_segment_capacity(struct t *t)
{
	segments(t, VD_BLK_WRITE_ZEROES, SEGMENTS, CAPACITY + 1, 0, 16);
}

static void blk_segment_long(struct t *t)
{
	uint64_t max = vd_config(t->d, MAX_DISCARD_AT, 4);

	t->left_out = !max || max == UINT32_MAX;
	if (!t->left_out)
		segments(t, VD_BLK_DISCARD, SEGMENTS, (uint32_t)max + 1, 0, 16);
}

static void blk_segment_flags(struct t *t)
{
	segments(t, VD_BLK_DISCARD, SEGMENTS, 1, 1, 16);
}

static void blk_not_agreed(struct t *t)
{
	segments(t, VD_BLK_DISCARD, 0, 1, 0, 16);
}

static void blk_size_max(struct t *t)
{
	t->data = (struct vd_buf){ vd_alloc(t->d, 2 * SIZE_MAX_BYTES, SECTOR), SIZE_MAX_BYTES };
	up(t, BIT(F_SIZE_MAX) | BIT(F_SEG_MAX));
	assert_int_equal(request(t, VD_BLK_IN, 0, &t->data, 1), OK);
	t->data.len += SECTOR;
	assert_int_equal(request(t, VD_BLK_IN, 0, &t->data, 1), OK);
}

static void blk_seg_max(struct t *t)
{
	const struct vd_buf data[SEG_MAX + 1] = { t->data, t->data, t->data, t->data };

	up(t, BIT(F_SIZE_MAX) | BIT(F_SEG_MAX));
	assert_int_equal(request(t, VD_BLK_IN, 0, data, SEG_MAX), OK);
	assert_int_equal(request(t, VD_BLK_IN, 0, data, SEG_MAX + 1), OK);
}

static void blk_ro(struct t *t)
{
	up(t, 0);
}

static void blk_never_flushed(struct t *t)
{
	up(t, BIT(F_FLUSH));
	assert_int_equal(request(t, VD_BLK_OUT, 0, &t->data, 1), OK);
}

/* A request with data for the device to read, and to write; its status. */
static uint8_t both_ways(struct t *t, uint8_t type, uint32_t out, uint32_t in)
{
	struct vd_buf buf[4] = { { t->r.header, 16 } };
	unsigned n = 1, n_out;
	uint16_t head;
	uint32_t len;

	up(t, 0);
	vd_put(t->d, t->r.header, NULL, 16);
	vd_put(t->d, t->r.header, &type, 1);
	if (out)
		buf[n++] = (struct vd_buf){ t->data.gpa, out };
	n_out = n;
	if (in)
		buf[n++] = (struct vd_buf){ t->data.gpa, in };
	buf[n++] = (struct vd_buf){ t->r.status, 1 };
	assert_true(vd_add(&t->q, buf, n_out, n - n_out, false) >= 0);
	vd_kick(&t->q);
	assert_int_equal(vd_wait(&t->q, &head, &len), 0);
	acknowledge(t);
	return vd_blk_status(t->d, &t->r);
}

static void blk_direction_read(struct t *t)
{
	assert_int_equal(both_ways(t, VD_BLK_IN, SECTOR, 0), IOERR);
}

static void blk_direction_write(struct t *t)
{
	assert_int_equal(both_ways(t, VD_BLK_OUT, 0, SECTOR), IOERR);
}

static void blk_direction_both(struct t *t)
{
	assert_int_equal(both_ways(t, VD_BLK_IN, SECTOR, SECTOR), OK);
}

/* ---- Legacy ---- */

static void legacy_page_size(struct t *t)
{
	met(t);
	accept(t, 0);
	vd_queue_layout(t->d, &t->q, 0, SIZE);
	vd_set(t->d, VD_QUEUE_SEL, 0);
	vd_get(t->d, VD_QUEUE_NUM_MAX);
	vd_set(t->d, VD_QUEUE_NUM, SIZE);
	vd_set(t->d, VD_QUEUE_ALIGN, VD_PAGE);
	vd_set(t->d, VD_QUEUE_PFN, (uint32_t)t->q.desc);
}

static void legacy_page_size_odd(struct t *t)
{
	vd_set(t->d, VD_GUEST_PAGE_SIZE, 3000);
}

static void legacy_align(struct t *t)
{
	assert_int_equal(vd_begin(t->d, 0), 0);
	vd_queue_layout(t->d, &t->q, 0, SIZE);
	vd_set(t->d, VD_QUEUE_SEL, 0);
	vd_get(t->d, VD_QUEUE_NUM_MAX);
	vd_set(t->d, VD_QUEUE_NUM, SIZE);
	vd_set(t->d, VD_QUEUE_PFN, (uint32_t)(t->q.desc / VD_PAGE));
}

static void legacy_align_odd(struct t *t)
{
	vd_set(t->d, VD_QUEUE_ALIGN, 3000);
}

static void legacy_layout(struct t *t)
{
	const struct vd_buf buf[] = { { t->r.header, 16 }, { t->data.gpa, SECTOR + 1 } };
	uint16_t head;
	uint32_t len;

	t->data.gpa = vd_alloc(t->d, SECTOR + 1, 1);
	up(t, 0);
	assert_true(vd_add(&t->q, (struct vd_buf[]){ buf[0], { t->data.gpa, SECTOR + 1 } }, 1, 1,
			   false) >= 0);
	vd_kick(&t->q);
	assert_int_equal(vd_wait(&t->q, &head, &len), 0);
	acknowledge(t);
}

static void legacy_features_ok(struct t *t)
{
	met(t);
	accept(t, 0);
	vd_set(t->d, VD_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

static const struct {
	enum lint_id rule;
	void (*driver)(struct t *t);
	unsigned kind;
} slips[] = {
	{ LINT_STATUS_CLEARED, status_cleared, 0 },
	{ LINT_NOT_RESET, not_reset, 0 },
	{ LINT_RESET_NOT_AWAITED, reset_not_awaited, 0 },
	{ LINT_STEP_SKIPPED, step_skipped, 0 },
	{ LINT_ON_AFTER_FAILED, on_after_failed, 0 },
	{ LINT_FEATURES_LATE, features_late, 0 },
	{ LINT_FEATURE_NOT_OFFERED, feature_not_offered, 0 },
	{ LINT_NO_VERSION_1, no_version_1, 0 },
	{ LINT_FEATURES_OK_NOT_READ, features_ok_not_read, 0 },
	{ LINT_NO_FEATURES_OK, no_features_ok, 0 },
	{ LINT_EARLY_KICK, early_kick, 0 },
	{ LINT_FEATURES_IGNORED, features_not_written, LEGACY },
	{ LINT_EARLY_CONFIG_WRITE, early_config_write, 0 },
	{ LINT_IDENTITY_NOT_READ, identity_not_read, 0 },
	{ LINT_REG_WIDTH, reg_width, 0 },
	{ LINT_REG_NONE, reg_none, 0 },
	{ LINT_REG_NONE, config_none, 0 },
	{ LINT_REG_DIRECTION, reg_direction, 0 },
	{ LINT_FEATURES_SEL, device_features_sel, 0 },
	{ LINT_FEATURES_SEL, driver_features_sel, 0 },
	{ LINT_CONFIG_WIDTH, config_width, 0 },
	{ LINT_CONFIG_WIDTH, config_64_bits, 0 },
	{ LINT_CONFIG_WIDTH, config_64_bits, LEGACY },
	{ LINT_CONFIG_FEATURE, config_feature, 0 },
	{ LINT_CONFIG_GENERATION, generation_before, 0 },
	{ LINT_CONFIG_GENERATION, generation_after, 0 },
	{ LINT_CONFIG_EARLY, config_early, 0 },
	{ LINT_ACK_UNDEFINED, ack_undefined, 0 },
	{ LINT_ACK_NOT_RAISED, ack_not_raised, 0 },
	{ LINT_NEVER_ACKED, never_acked, 0 },
	{ LINT_QUEUE_TOO_LARGE, queue_too_large, 0 },
	{ LINT_QUEUE_MAX_NOT_READ, queue_max_not_read, 0 },
	{ LINT_QUEUE_IN_USE, queue_in_use, 0 },
	{ LINT_QUEUE_STOP_NOT_READ, queue_stop_not_read, 0 },
	{ LINT_QUEUE_NONE, queue_none, 0 },
	{ LINT_QUEUE_SIZE, queue_size, 0 },
	{ LINT_QUEUE_ALIGN, queue_align, 0 },
	{ LINT_QUEUE_NOT_RAM, queue_not_ram, 0 },
	{ LINT_QUEUE_OVERLAP, queue_overlap, 0 },
	{ LINT_QUEUE_RESET, queue_reset, 0 },
	{ LINT_KICK_NONE, kick_none, 0 },
	{ LINT_KICK_NONE, kick_not_ready, 0 },
	{ LINT_QUEUE_RESET_NOT_READ, queue_reset_not_read, 0 },
	{ LINT_IDX_JUMPS, idx_jumps, 0 },
	{ LINT_HEAD, head_beyond, 0 },
	{ LINT_NEXT, next_beyond, 0 },
	{ LINT_CHAIN_LONG, chain_loops, 0 },
	{ LINT_CHAIN_BYTES, chain_bytes, 0 },
	{ LINT_IN_FLIGHT, in_flight, 0 },
	{ LINT_WRITABLE_FIRST, writable_first, 0 },
	{ LINT_BUFFER, buffer_nowhere, 0 },
	{ LINT_INDIRECT_NOT_AGREED, indirect_not_agreed, 0 },
	{ LINT_INDIRECT_NESTED, indirect_nested, 0 },
	{ LINT_INDIRECT_NEXT, indirect_next, 0 },
	{ LINT_INDIRECT_LENGTH, indirect_length, 0 },
	{ LINT_AVAIL_FLAGS, avail_flags, 0 },
	{ LINT_AVAIL_FLAGS, avail_flags_event_idx, 0 },
	{ LINT_LIST_LONG, list_long, 0 },
	{ LINT_RING_NOT_CLEARED, ring_not_cleared, 0 },
	{ LINT_EVENT_FLAGS, event_flags, 0 },
	{ LINT_EVENT_FLAGS, event_flags_reserved, 0 },
	{ LINT_TAIL_LATE, tail_late, 0 },
	{ LINT_KICK_EMPTY, kick_empty, 0 },
	{ LINT_KICK_EMPTY, kick_other_ring, 0 },
	{ LINT_BLK_SHORT, blk_short, 0 },
	{ LINT_BLK_CAPACITY, blk_capacity, 0 },
	{ LINT_BLK_CAPACITY, blk_capacity_write, 0 },
	{ LINT_BLK_CAPACITY, blk_segment_capacity, 0 },
	{ LINT_BLK_LENGTH, blk_length, 0 },
	{ LINT_BLK_TYPE, blk_type, 0 },
	{ LINT_BLK_FLUSH_SECTOR, blk_flush_sector, 0 },
	{ LINT_BLK_FLUSH_DATA, blk_flush_data, 0 },
	{ LINT_BLK_GET_ID, blk_get_id, 0 },
	{ LINT_BLK_SEGMENT_SIZE, blk_segment_size, 0 },
	{ LINT_BLK_SEGMENTS, blk_segments, 0 },
	{ LINT_BLK_SEGMENT_LONG, blk_segment_long, 0 },
	{ LINT_BLK_SEGMENT_FLAGS, blk_segment_flags, 0 },
	{ LINT_BLK_NOT_AGREED, blk_not_agreed, 0 },
	{ LINT_BLK_SIZE_MAX, blk_size_max, LIMITS },
	{ LINT_BLK_SEG_MAX, blk_seg_max, LIMITS },
	{ LINT_BLK_RO, blk_ro, READONLY },
	{ LINT_BLK_NEVER_FLUSHED, blk_never_flushed, 0 },
	{ LINT_BLK_DIRECTION, blk_direction_read, 0 },
	{ LINT_BLK_DIRECTION, blk_direction_write, 0 },
	{ LINT_BLK_DIRECTION, blk_direction_both, 0 },
	{ LINT_LEGACY_PAGE_SIZE, legacy_page_size, LEGACY },
	{ LINT_LEGACY_PAGE_SIZE_ODD, legacy_page_size_odd, LEGACY },
	{ LINT_LEGACY_ALIGN, legacy_align, LEGACY },
	{ LINT_LEGACY_ALIGN_ODD, legacy_align_odd, LEGACY },
	{ LINT_LEGACY_LAYOUT, legacy_layout, LEGACY },
	{ LINT_LEGACY_FEATURES_OK, legacy_features_ok, LEGACY },
};

/* These rules, and no others, were broken. */
static void assert_found(struct t *t, const enum lint_id *rules, size_t n, unsigned slip)
{
	struct lint *lint = virtio_mmio_lint(t->rig.mmio);

	for (unsigned i = 0; i < LINT_RULES; i++) {
		bool want = false;

		for (size_t k = 0; k < n; k++)
			want |= rules[k] == i;
		if (want != (lint_count(lint, (enum lint_id)i) != 0))
			fail_msg("driver %u: %s %s found (%s)", slip, lint_rules[i].id,
				 want ? "was not" : "was", t->rig.last);
	}
}

static void test_each_slip_is_found(void **state)
{
	struct t t;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(slips); i++) {
		begin(&t, LINT_WARN, slips[i].kind);
		slips[i].driver(&t);
		vd_reset(t.d);
		assert_found(&t, &slips[i].rule, t.left_out ? 0 : 1, i);
		end(&t);
	}
}

/* A driver that knows of the cache has done nothing wrong where nobody asks for a flush. */
static void test_nobody_flushes(void **state)
{
	struct t t;

	(void)state;
	begin(&t, LINT_WARN, 0);
	up(&t, BIT(F_FLUSH));
	assert_int_equal(vd_config(t.d, WRITEBACK_AT, 1), 1);
	assert_int_equal(request(&t, VD_BLK_OUT, 0, &t.data, 1), OK);
	vd_reset(t.d);
	assert_found(&t, NULL, 0, 0);
	/* It counts since the reset only. */
	up(&t, BIT(F_FLUSH));
	assert_int_equal(request(&t, VD_BLK_OUT, 0, &t.data, 1), OK);
	vd_reset(t.d);
	assert_found(&t, &(const enum lint_id){ LINT_BLK_NEVER_FLUSHED }, 1, 0);
	end(&t);
}

static void test_empty_slot(void **state)
{
	const enum lint_id rule = LINT_EMPTY_SLOT;
	struct t t;

	(void)state;
	memset(&t, 0, sizeof(t));
	vrig_init(&t.rig, 8 << 20);
	t.rig.lint = LINT_WARN;
	vrig_attach(&t.rig, NULL);
	t.d = &t.rig.driver;
	identify(&t);
	assert_found(&t, NULL, 0, 0);
	vd_get(t.d, VD_STATUS);
	vd_config(t.d, 0, 4);
	assert_found(&t, &rule, 1, 0);
	vrig_fini(&t.rig);
}

/* A device with two features of which one needs the other. */
enum { F_BASE = 1, F_ON_TOP = 2 };

static uint64_t two_features(struct virtio_dev *dev)
{
	(void)dev;
	return BIT(F_BASE) | BIT(F_ON_TOP);
}

static const struct virtio_feature_need two_needs[] = { { F_ON_TOP, F_BASE, false },
							{ 0, 0, false } };
static const struct virtio_ops two_ops = {
	.name = "two", .id = 63, .features = two_features, .needs = two_needs
};

static void test_feature_needs(void **state)
{
	const enum lint_id rule = LINT_FEATURE_NEEDS;
	struct virtio_dev dev = { .ops = &two_ops };
	struct t t;

	(void)state;
	/* 2.2.2: the one is not offered without the other. */
	memset(&t, 0, sizeof(t));
	vrig_init(&t.rig, 8 << 20);
	t.rig.without = BIT(F_BASE);
	vrig_attach(&t.rig, &dev);
	assert_int_equal(vd_offered(&t.rig.driver) & 7, 0);
	vrig_fini(&t.rig);

	memset(&t, 0, sizeof(t));
	vrig_init(&t.rig, 8 << 20);
	t.rig.lint = LINT_WARN;
	t.d = &t.rig.driver;
	vrig_attach(&t.rig, &dev);
	assert_int_equal(vd_begin(t.d, V1 | BIT(F_BASE)), 0);
	assert_int_equal(vd_begin(t.d, V1 | BIT(F_BASE) | BIT(F_ON_TOP)), 0);
	assert_found(&t, NULL, 0, 0);
	assert_int_not_equal(vd_begin(t.d, V1 | BIT(F_ON_TOP)), 0);
	assert_found(&t, &rule, 1, 0);
	vrig_fini(&t.rig);
}

/* Each finding with its place, what was seen first, and how often. */
static void test_findings(void **state)
{
	struct lint_finding f;
	struct lint *lint;
	struct t t;

	(void)state;
	begin(&t, LINT_WARN, 0);
	lint = virtio_mmio_lint(t.rig.mmio);
	up(&t, BIT(F_FLUSH));
	assert_false(lint_finding(lint, 0, &f));
	request(&t, VD_BLK_FLUSH, 7, NULL, 0);
	request(&t, VD_BLK_FLUSH, 8, NULL, 0);
	vd_set(t.d, VD_QUEUE_NOTIFY, 9);
	assert_true(lint_finding(lint, 0, &f));
	assert_int_equal(f.rule, LINT_BLK_FLUSH_SECTOR);
	assert_int_equal(f.queue, 0);
	assert_int_equal(f.count, 2);
	assert_non_null(strstr(f.saw, "sector 7"));
	assert_true(lint_finding(lint, 1, &f));
	assert_int_equal(f.rule, LINT_KICK_NONE);
	assert_int_equal(f.queue, -1);
	assert_false(lint_finding(lint, 2, &f));
	end(&t);
}

/* The driver of tests/lib does all by the book. */
static void test_silence(void **state)
{
	struct t t;

	(void)state;
	for (unsigned k = 0; k < 24; k++) {
		uint64_t features = (k & 1 ? INDIRECT : 0) | (k & 2 ? BIT(VIRTIO_F_EVENT_IDX) : 0) |
				    BIT(F_FLUSH) | BIT(F_WCE) | SEGMENTS | BIT(VIRTIO_F_IN_ORDER);
		unsigned kind = k / 4 % 3;

		begin(&t, LINT_STRICT, kind == 0 ? LEGACY : 0);
		for (unsigned round = 0; round < 2; round++) {
			up(&t, features | (kind == 2 ? BIT(VIRTIO_F_RING_PACKED) : 0));
			assert_int_equal(vd_config(t.d, 0, 8), CAPACITY);
			vd_config(t.d, WRITEBACK_AT, 1);
			for (unsigned i = 0; i < 3 * SIZE; i++) {
				vd_interrupts(&t.q, true);
				read_sector(&t);
			}
			vd_interrupts(&t.q, true);
			assert_int_equal(request(&t, VD_BLK_FLUSH, 0, NULL, 0), OK);
			vd_interrupts(&t.q, true);
			t.data.len = 20;
			assert_int_equal(request(&t, VD_BLK_GET_ID, 0, &t.data, 1), OK);
			t.data.len = SECTOR;
			vd_reset(t.d);
		}
		assert_found(&t, NULL, 0, k);
		assert_int_equal(t.rig.said, 0);
		end(&t);
	}
}

/* As in a first driver of one's own: features neither read nor written, QueueNumMax not looked at,
 * no QueueAlign, DRIVER_OK written without the bits before it, 64 bits of configuration at once,
 * interrupts neither switched off nor acknowledged. It works all the same. */
static void test_first_driver(void **state)
{
	const enum lint_id rules[] = { LINT_FEATURES_IGNORED, LINT_QUEUE_MAX_NOT_READ,
				       LINT_LEGACY_ALIGN,     LINT_STATUS_CLEARED,
				       LINT_CONFIG_WIDTH,     LINT_NEVER_ACKED };
	struct t t;

	(void)state;
	begin(&t, LINT_WARN, LEGACY);
	identify(&t);
	vd_set(t.d, VD_STATUS, 0);
	vd_set(t.d, VD_STATUS, vd_get(t.d, VD_STATUS) | ACKNOWLEDGE);
	vd_set(t.d, VD_STATUS, vd_get(t.d, VD_STATUS) | DRIVER);
	vd_set(t.d, VD_GUEST_PAGE_SIZE, VD_PAGE);
	vd_queue_layout(t.d, &t.q, 0, SIZE);
	vd_set(t.d, VD_QUEUE_SEL, 0);
	vd_set(t.d, VD_QUEUE_NUM, SIZE);
	vd_set(t.d, VD_QUEUE_PFN, (uint32_t)(t.q.desc / VD_PAGE));
	vd_set(t.d, VD_STATUS, DRIVER_OK);
	config_64_bits(&t);
	assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_IN, 0, &t.data, 1, NULL), OK);
	assert_int_equal(vd_blk_do(&t.q, &t.r, VD_BLK_OUT, 0, &t.data, 1, NULL), OK);
	vd_reset(t.d);
	assert_found(&t, rules, ARRAY_SIZE(rules), 0);
	end(&t);
}

/* Once per rule and place, however often; a summary at reset. */
static void test_said_once(void **state)
{
	struct t t;

	(void)state;
	begin(&t, LINT_WARN, 0);
	up(&t, BIT(F_FLUSH));
	for (unsigned i = 0; i < 5; i++)
		request(&t, VD_BLK_FLUSH, 7, NULL, 0);
	assert_int_equal(t.rig.said, 1);
	assert_non_null(strstr(t.rig.last, "lint V505 MUST 5.2.6.1: saw "));
	assert_non_null(strstr(t.rig.last, "sector 7; right: "));
	assert_int_equal(lint_count(virtio_mmio_lint(t.rig.mmio), LINT_BLK_FLUSH_SECTOR), 5);
	vd_reset(t.d);
	assert_int_equal(t.rig.said, 2);
	assert_non_null(strstr(t.rig.last, "lint: 1 rule broken: V505 5 times"));
	vd_reset(t.d); /* nothing new */
	assert_int_equal(t.rig.said, 2);
	end(&t);
}

/* After a broken MUST the device wants a reset and takes no more; after it, all is well. */
static void test_strict(void **state)
{
	struct t t;

	(void)state;
	begin(&t, LINT_STRICT, 0);
	up(&t, BIT(F_FLUSH));
	request(&t, VD_BLK_FLUSH, 0, &t.data, 1); /* only a SHOULD */
	read_sector(&t);
	assert_int_equal(vd_get(t.d, VD_STATUS) & NEEDS_RESET, 0);
	request(&t, VD_BLK_FLUSH, 7, NULL, 0);
	wait_needs_reset(&t);
	assert_true(vd_blk_add(&t.q, &t.r, VD_BLK_IN, 0, &t.data, 1, false) >= 0);
	vd_kick_always(&t.q);
	vd_reset(t.d);
	assert_int_equal(vd_used_idx(&t.q), 3);
	up(&t, BIT(F_FLUSH));
	read_sector(&t);
	/* on the control plane */
	vd_set(t.d, VD_QUEUE_NOTIFY, 7);
	assert_int_equal(vd_get(t.d, VD_STATUS) & NEEDS_RESET, NEEDS_RESET);
	end(&t);
}

/* Rules are in order, and each has all its parts. */
static void test_table(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LINT_RULES; i++) {
		const struct lint_rule *r = &lint_rules[i];

		assert_true(r->id && r->section && r->what && r->in_linux);
		assert_true(!i || strcmp(lint_rules[i - 1].id, r->id) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),          cmocka_unit_test(test_each_slip_is_found),
		cmocka_unit_test(test_nobody_flushes), cmocka_unit_test(test_empty_slot),
		cmocka_unit_test(test_silence),        cmocka_unit_test(test_first_driver),
		cmocka_unit_test(test_said_once),      cmocka_unit_test(test_strict),
		cmocka_unit_test(test_feature_needs),  cmocka_unit_test(test_findings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO (virtio 1.2, 2.1 to 2.5 and 4.2): what the transport owes a driver, with a
 * device that does nothing but what a test tells it. The test's thread is the vCPU.
 */
#include <errno.h>
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
#include "bus/bus.h"
#include "host/loop.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"
#include "vrig.h"

enum { QUEUES = 2, QUEUE_MAX = 64, CONFIG_BYTES = 10 };

#define FEATURE_A BIT(3)
#define FEATURES  (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_RESET) | VQ_FEATURES | FEATURE_A)

/* The ring does not matter here. */
#define SPLIT (~BIT(VIRTIO_F_RING_PACKED))

struct fake {
	struct virtio_dev dev;
	uint8_t config[CONFIG_BYTES];
	int start_result;
	bool slow_stop; /* stop() leaves the answer to fake_let_go() */

	struct vq *vq[QUEUES]; /* the loop's */
	atomic_uint starts[QUEUES], kicks[QUEUES], stops[QUEUES];
	struct {
		void (*stopped)(void *arg);
		void *arg;
	} held[QUEUES];
};

struct t {
	struct vrig rig;
	struct fake fake;
	struct vdriver *d;
	struct vd_queue q[QUEUES];
};

static struct fake *fake(struct virtio_dev *dev)
{
	return container_of(dev, struct fake, dev);
}

static uint64_t fake_features(struct virtio_dev *dev)
{
	(void)dev;
	return FEATURE_A;
}

/* The transport must keep accesses inside config; ASan watches. */
static void fake_config_read(struct virtio_dev *dev, uint32_t off, void *dst, size_t len)
{
	assert_true(range_ok(off, len, CONFIG_BYTES));
	memcpy(dst, fake(dev)->config + off, len);
}

static void fake_config_write(struct virtio_dev *dev, uint32_t off, const void *src, size_t len)
{
	assert_true(range_ok(off, len, CONFIG_BYTES));
	memcpy(fake(dev)->config + off, src, len);
}

static int fake_start(struct virtio_dev *dev, unsigned q, struct vq *vq)
{
	struct fake *f = fake(dev);

	f->vq[q] = vq;
	atomic_fetch_add(&f->starts[q], 1);
	return f->start_result;
}

static void fake_kick(struct virtio_dev *dev, unsigned q)
{
	atomic_fetch_add(&fake(dev)->kicks[q], 1);
}

static void fake_stop(struct virtio_dev *dev, unsigned q, void (*stopped)(void *arg), void *arg)
{
	struct fake *f = fake(dev);

	if (f->slow_stop) {
		f->held[q].stopped = stopped;
		f->held[q].arg = arg;
	}
	atomic_fetch_add(&f->stops[q], 1);
	if (!f->slow_stop)
		stopped(arg);
}

static const struct virtio_ops fake_ops = {
	.name = "fake",
	.id = 42,
	.n_queues = QUEUES,
	.queue_size_max = QUEUE_MAX,
	.config_size = CONFIG_BYTES,
	.features = fake_features,
	.config_read = fake_config_read,
	.config_write = fake_config_write,
	.start = fake_start,
	.kick = fake_kick,
	.stop = fake_stop,
};

static void wait_for(atomic_uint *counter, unsigned at_least)
{
	while (atomic_load(counter) < at_least)
		sched_yield();
}

static void begin_with(struct t *t, bool notification_data, enum lint_level lint)
{
	memset(t, 0, sizeof(*t));
	vrig_init(&t->rig, 4 << 20);
	t->rig.notification_data = notification_data;
	t->rig.lint = lint;
	t->fake.dev.ops = &fake_ops;
	t->fake.dev.loop = t->rig.loop;
	for (unsigned i = 0; i < CONFIG_BYTES; i++)
		t->fake.config[i] = (uint8_t)(0x10 + i);
	vrig_attach(&t->rig, &t->fake.dev);
	t->d = &t->rig.driver;
}

static void begin(struct t *t)
{
	begin_with(t, false, LINT_OFF);
}

static void end(struct t *t)
{
	vrig_fini(&t->rig);
}

/* All that was asked of the loop before is done after. */
static void settle(struct t *t)
{
	vrig_settle(&t->rig);
}

/* Up to DRIVER_OK, both queues started. */
static void start_all(struct t *t)
{
	assert_int_equal(vd_begin(t->d, SPLIT), 0);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(vd_queue_init(t->d, &t->q[i], i, 16), 0);
	vd_go(t->d);
	settle(t);
}

/* Registers */

static void check_identity(struct t *t, uint32_t id)
{
	assert_int_equal(vd_get(t->d, VD_MAGIC), 0x74726976);
	assert_int_equal(vd_get(t->d, VD_VERSION), 2);
	assert_int_equal(vd_get(t->d, VD_DEVICE_ID), id);
	assert_int_equal(vd_get(t->d, VD_VENDOR_ID), 0x554d4551);
}

static void test_identity(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	check_identity(&t, 42);
	start_all(&t);
	check_identity(&t, 42);
	vd_reset(t.d);
	check_identity(&t, 42);
	end(&t);
}

/* 4.2.2: an empty slot says so and is otherwise silent. */
static void test_empty_slot(void **state)
{
	struct vrig rig;
	struct t *t = &(struct t){ .d = &rig.driver };
	uint64_t val;

	(void)state;
	vrig_init(&rig, 1 << 20);
	vrig_attach(&rig, NULL);
	check_identity(t, 0);
	for (uint32_t reg = 0x10; reg < VIRTIO_MMIO_SIZE; reg += 4) {
		vd_set(t->d, reg, 0xffffffff);
		assert_int_equal(vd_get(t->d, reg), 0);
		vd_set(t->d, reg, 0);
	}
	assert_int_equal(bus_read(rig.bus, VRIG_SLOT + VD_CONFIG, 1, &val), 0);
	assert_int_equal(val, 0);
	check_identity(t, 0);
	vrig_fini(&rig);
}

/* 4.2.2.2: registers are read and written in 32 bits; what is not there reads 0, and a register
 * that is only one of readable and writable is not the other. */
static void test_access_rules(void **state)
{
	static const uint32_t write_only[] = { VD_DEVICE_FEATURES_SEL, VD_DRIVER_FEATURES,
					       VD_DRIVER_FEATURES_SEL, VD_QUEUE_SEL,
					       VD_QUEUE_NUM,           VD_QUEUE_NOTIFY,
					       VD_INTERRUPT_ACK,       VD_QUEUE_DESC,
					       VD_QUEUE_DRIVER + 4,    VD_QUEUE_DEVICE };
	uint64_t val;
	struct t t;

	(void)state;
	begin(&t);
	for (unsigned i = 0; i < ARRAY_SIZE(write_only); i++)
		assert_int_equal(vd_get(t.d, write_only[i]), 0);
	vd_set(t.d, VD_MAGIC, 0);
	vd_set(t.d, VD_DEVICE_ID, 7);
	vd_set(t.d, VD_CONFIG_GENERATION, 7);
	vd_set(t.d, 0x0f0, 7); /* nothing there */
	assert_int_equal(vd_get(t.d, 0x0f0), 0);
	check_identity(&t, 42);

	for (unsigned size = 1; size <= 2; size++) {
		assert_int_equal(bus_read(t.rig.bus, VRIG_SLOT + VD_MAGIC, size, &val), 0);
		assert_int_equal(val, 0);
		assert_int_equal(bus_write(t.rig.bus, VRIG_SLOT + VD_STATUS, size, 1), 0);
		assert_int_equal(vd_get(t.d, VD_STATUS), 0);
	}
	assert_int_equal(bus_read(t.rig.bus, VRIG_SLOT + VD_MAGIC, 8, &val), 0);
	assert_int_equal(val, 0);
	assert_int_equal(bus_read(t.rig.bus, VRIG_SLOT + 2, 4, &val), -EINVAL);
	end(&t);
}

/* 4.2.2: no shared memory, whichever is selected; no queue being reset. */
static void test_absent_parts(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	for (uint32_t sel = 0; sel < 2; sel++) {
		vd_set(t.d, VD_SHM_SEL, sel * 255);
		for (uint32_t reg = VD_SHM_LEN; reg <= VD_SHM_BASE + 4; reg += 4)
			assert_int_equal(vd_get(t.d, reg), 0xffffffff);
	}
	assert_int_equal(vd_get(t.d, VD_QUEUE_RESET), 0);
	vd_set(t.d, VD_QUEUE_RESET, 1);
	assert_int_equal(vd_get(t.d, VD_QUEUE_RESET), 0);
	end(&t);
}

/* Features and status */

/* 2.2.2, 6.2: what is offered, and nothing of other transports or beyond 64 bits. */
static void test_offer(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	assert_int_equal(vd_offered(t.d), FEATURES);
	assert_int_equal(vd_offered(t.d) & (BIT(37) | BIT(39) | BIT(41)), 0);
	for (uint32_t sel = 2; sel < 70; sel++) {
		vd_set(t.d, VD_DEVICE_FEATURES_SEL, sel);
		assert_int_equal(vd_get(t.d, VD_DEVICE_FEATURES), 0);
	}
	end(&t);
}

static bool features_ok(struct t *t, uint32_t low, uint32_t high, uint32_t beyond)
{
	vd_reset(t->d);
	vd_set(t->d, VD_STATUS, 1);
	vd_set(t->d, VD_STATUS, 3);
	vd_set(t->d, VD_DRIVER_FEATURES_SEL, 0);
	vd_set(t->d, VD_DRIVER_FEATURES, low);
	vd_set(t->d, VD_DRIVER_FEATURES_SEL, 1);
	vd_set(t->d, VD_DRIVER_FEATURES, high);
	vd_set(t->d, VD_DRIVER_FEATURES_SEL, 2);
	vd_set(t->d, VD_DRIVER_FEATURES, beyond);
	vd_set(t->d, VD_STATUS, 3 | VIRTIO_STATUS_FEATURES_OK);
	return vd_get(t->d, VD_STATUS) & VIRTIO_STATUS_FEATURES_OK;
}

/* 2.2.2: an invalid subset is refused, a valid one accepted, and again after reset. */
static void test_features_ok(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	for (unsigned round = 0; round < 2; round++) {
		assert_true(features_ok(&t, (uint32_t)FEATURE_A, 1, 0));
		assert_int_equal(t.fake.dev.acked, FEATURE_A | BIT(VIRTIO_F_VERSION_1));
		assert_true(features_ok(&t, 0, 1, 0));
		assert_int_equal(t.fake.dev.acked, BIT(VIRTIO_F_VERSION_1));
		assert_false(features_ok(&t, 1, 1, 0)); /* not offered */
		assert_false(features_ok(&t, 0, 3, 0));
		assert_false(features_ok(&t, 0, 1, 1));
		assert_true(features_ok(&t, (uint32_t)FEATURE_A, 0, 0)); /* no VERSION_1 */
		assert_int_equal(t.fake.dev.acked, FEATURE_A);
	}
	end(&t);
}

/* 2.2.1: too late. */
static void test_features_after_ok(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	assert_true(features_ok(&t, 0, 1, 0));
	vd_set(t.d, VD_DRIVER_FEATURES_SEL, 0);
	vd_set(t.d, VD_DRIVER_FEATURES, (uint32_t)FEATURE_A);
	vd_set(t.d, VD_STATUS, 3 | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
	assert_int_equal(t.fake.dev.acked, BIT(VIRTIO_F_VERSION_1));
	end(&t);
}

/* 2.1.1, 3.1.1: the bits of Status only ever come, and in order. */
static void test_status(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	assert_int_equal(vd_get(t.d, VD_STATUS), 0);
	vd_set(t.d, VD_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
	vd_set(t.d, VD_STATUS, VIRTIO_STATUS_DRIVER); /* clears ACKNOWLEDGE */
	assert_int_equal(vd_get(t.d, VD_STATUS), 3);
	vd_set(t.d, VD_STATUS, 3 | VIRTIO_STATUS_DRIVER_OK); /* skips FEATURES_OK */
	assert_int_equal(vd_get(t.d, VD_STATUS), 3);
	vd_set(t.d, VD_STATUS, 3 | VIRTIO_STATUS_NEEDS_RESET | 0xffffff00); /* not the driver's */
	assert_int_equal(vd_get(t.d, VD_STATUS), 3);
	vd_set(t.d, VD_STATUS, 3 | VIRTIO_STATUS_FAILED);
	assert_int_equal(vd_get(t.d, VD_STATUS), 3 | VIRTIO_STATUS_FAILED);
	vd_set(t.d, VD_STATUS, 0);
	assert_int_equal(vd_get(t.d, VD_STATUS), 0);
	end(&t);
}

/* Queues */

/* 2.1.2: nothing happens before DRIVER_OK; then what waits is found without another kick. */
static void test_nothing_before_driver_ok(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	assert_int_equal(vd_begin(t.d, SPLIT), 0);
	assert_int_equal(vd_queue_init(t.d, &t.q[0], 0, 16), 0);
	vd_kick_always(&t.q[0]);
	settle(&t);
	assert_int_equal(t.fake.starts[0], 0);
	assert_int_equal(t.fake.kicks[0], 0);
	vd_go(t.d);
	settle(&t);
	assert_int_equal(t.fake.starts[0], 1);
	assert_true(t.fake.kicks[0] >= 1);
	assert_int_equal(t.fake.starts[1], 0);                   /* not ready */
	assert_int_equal(vd_queue_init(t.d, &t.q[1], 1, 16), 0); /* late, but possible */
	settle(&t);
	assert_int_equal(t.fake.starts[1], 1);
	end(&t);
}

static void test_kick_reaches_its_queue(void **state)
{
	unsigned before[QUEUES];
	struct t t;

	(void)state;
	begin(&t);
	start_all(&t);
	for (unsigned i = 0; i < QUEUES; i++)
		before[i] = t.fake.kicks[i];
	vd_kick_always(&t.q[1]);
	wait_for(&t.fake.kicks[1], before[1] + 1);
	assert_int_equal(t.fake.kicks[0], before[0]);
	vd_set(t.d, VD_QUEUE_NOTIFY, QUEUES);
	vd_set(t.d, VD_QUEUE_NOTIFY, 0xffffffff);
	vd_set(t.d, VD_QUEUE_NOTIFY, 0x10000);
	settle(&t);
	assert_int_equal(t.fake.kicks[0], before[0]);
	assert_int_equal(t.fake.kicks[1], before[1] + 1);
	end(&t);
}

/* Class 11: any queue may be selected, few are there. */
static void test_queue_select(void **state)
{
	static const uint32_t none[] = { QUEUES, 64, 0x7fffffff, 0x80000000, 0xffffffff };
	struct t t;

	(void)state;
	begin(&t);
	for (uint32_t i = 0; i < QUEUES; i++) {
		vd_set(t.d, VD_QUEUE_SEL, i);
		assert_int_equal(vd_get(t.d, VD_QUEUE_NUM_MAX), QUEUE_MAX);
		assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
		vd_set(t.d, VD_QUEUE_SEL, none[i]);
		assert_int_equal(vd_get(t.d, VD_QUEUE_NUM_MAX), 0);
		vd_set(t.d, VD_QUEUE_NUM, 16);
		vd_set64(t.d, VD_QUEUE_DESC, VRIG_RAM);
		vd_set(t.d, VD_QUEUE_READY, 1);
		assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 0);
		vd_set(t.d, VD_QUEUE_READY, 0);
	}
	end(&t);
}

/* Class 2: what the driver writes to a ready queue changes nothing. */
static void test_frozen_when_ready(void **state)
{
	const struct vq_state *s;
	struct t t;

	(void)state;
	begin(&t);
	assert_int_equal(vd_begin(t.d, SPLIT), 0);
	assert_int_equal(vd_queue_init(t.d, &t.q[0], 0, 16), 0);
	for (unsigned round = 0; round < 2; round++) { /* before and after DRIVER_OK */
		vd_set(t.d, VD_QUEUE_NUM, 64);
		vd_set64(t.d, VD_QUEUE_DESC, 0);
		vd_set64(t.d, VD_QUEUE_DRIVER, 0);
		vd_set64(t.d, VD_QUEUE_DEVICE, UINT64_MAX);
		vd_set(t.d, VD_QUEUE_READY, 1);
		vd_go(t.d);
		settle(&t);
		assert_int_equal(t.fake.starts[0], 1);
		s = vq_state(t.fake.vq[0]);
		assert_int_equal(s->size, 16);
		assert_int_equal(s->desc, t.q[0].desc);
		assert_int_equal(s->avail, t.q[0].avail);
		assert_int_equal(s->used, t.q[0].used);
	}
	end(&t);
}

/* Class 16, 2.1.2: a queue that cannot be is an error that the driver is told of. */
static void test_bad_queue_needs_reset(void **state)
{
	struct t t;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		begin(&t);
		assert_int_equal(vd_begin(t.d, SPLIT), 0);
		vd_queue_layout(t.d, &t.q[0], 0, 16);
		vd_set(t.d, VD_QUEUE_SEL, 0);
		vd_set(t.d, VD_QUEUE_NUM, i == 0 ? 12 : i == 1 ? QUEUE_MAX * 2 : 16);
		vd_set64(t.d, VD_QUEUE_DESC, t.q[0].desc + (i == 2 ? 8 : 0));
		vd_set64(t.d, VD_QUEUE_DRIVER, t.q[0].avail);
		vd_set64(t.d, VD_QUEUE_DEVICE, i == 3 ? VRIG_SLOT : t.q[0].used);
		vd_set(t.d, VD_QUEUE_READY, 1);
		assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
		vd_go(t.d);
		assert_true(vd_get(t.d, VD_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
		assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 2);
		assert_true(t.rig.irq.level);
		settle(&t);
		assert_int_equal(t.fake.starts[0], 0);
		assert_true(t.rig.said > 0);
		vd_reset(t.d);
		assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
		assert_false(t.rig.irq.level);
		start_all(&t);
		assert_int_equal(t.fake.starts[0], 1);
		end(&t);
	}
}

static void test_failed_start_needs_reset(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	t.fake.start_result = -ENOMEM;
	start_all(&t);
	assert_true(vd_get(t.d, VD_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 2);
	vd_reset(t.d);
	assert_int_equal(t.fake.stops[0], 0); /* it never started */
	end(&t);
}

static void say_needs_reset(void *arg)
{
	struct t *t = arg;

	t->fake.dev.host->ops->needs_reset(t->fake.dev.host);
}

/* Class 16: the device's own word. */
static void test_device_needs_reset(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	start_all(&t);
	vrig_on_loop(&t.rig, say_needs_reset, &t);
	assert_true(vd_get(t.d, VD_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 2);
	assert_true(t.rig.irq.level);
	vd_set(t.d, VD_INTERRUPT_ACK, 2);
	vrig_on_loop(&t.rig, say_needs_reset, &t); /* told once */
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	vd_reset(t.d);

	/* Before DRIVER_OK there is nobody to tell. */
	assert_int_equal(vd_begin(t.d, SPLIT), 0);
	vrig_on_loop(&t.rig, say_needs_reset, &t);
	assert_true(vd_get(t.d, VD_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	end(&t);
}

/* Quiescence (2.4.1, 4.2.2.2) */

/* Another vCPU: it waits until the device was told to stop, tries to see the end too early, and
 * lets the device come to rest. */
struct other {
	struct t *t;
	unsigned queues; /* mask of the queues that are being stopped */
	atomic_bool released, seen_early;
	atomic_uint reading;
	pthread_t thread, reader;
};

static void raise_and_let_go(void *arg)
{
	struct other *o = arg;
	struct fake *f = &o->t->fake;

	/* The last answers of a device that finishes what it has. */
	f->dev.host->ops->queue_irq(f->dev.host, 0);
	atomic_store(&o->released, true);
	for (unsigned i = 0; i < QUEUES; i++)
		if (f->held[i].stopped) {
			void (*stopped)(void *) = f->held[i].stopped;

			f->held[i].stopped = NULL;
			stopped(f->held[i].arg);
		}
}

static void *other_reader(void *arg)
{
	struct other *o = arg;

	atomic_store(&o->reading, 1);
	vd_get(o->t->d, VD_STATUS); /* must not come back before the device is at rest */
	if (!atomic_load(&o->released))
		atomic_store(&o->seen_early, true);
	return NULL;
}

static void *other_run(void *arg)
{
	struct other *o = arg;

	for (unsigned i = 0; i < QUEUES; i++)
		if (o->queues & (1U << i))
			wait_for(&o->t->fake.stops[i], 1);
	/* The first vCPU is asleep in its write now, or about to be; its lock keeps the reader out
	 * either way. */
	pthread_create(&o->reader, NULL, other_reader, o);
	wait_for(&o->reading, 1);
	for (int i = 0; i < 100; i++)
		sched_yield();
	/* The control thread is not kept waiting: the device may be slow, or hang. */
	virtio_mmio_look(o->t->rig.mmio, false);
	vrig_on_loop(&o->t->rig, raise_and_let_go, o);
	pthread_join(o->reader, NULL);
	return NULL;
}

static void test_reset_waits(void **state)
{
	struct other o = { .queues = 3 };
	struct t t;

	(void)state;
	begin(&t);
	start_all(&t);
	o.t = &t;
	t.fake.slow_stop = true;
	pthread_create(&o.thread, NULL, other_run, &o);
	vd_set(t.d, VD_STATUS, 0);
	assert_true(o.released);
	/* 2.4.1, 4.2.2.1: silence, and everything at zero. */
	assert_int_equal(vd_get(t.d, VD_STATUS), 0);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	assert_false(t.rig.irq.level);
	for (uint32_t i = 0; i < QUEUES; i++) {
		vd_set(t.d, VD_QUEUE_SEL, i);
		assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 0);
	}
	pthread_join(o.thread, NULL);
	assert_false(o.seen_early);
	t.fake.slow_stop = false;
	start_all(&t);
	assert_int_equal(t.fake.starts[0], 2);
	end(&t);
}

static void test_queue_stop_waits(void **state)
{
	struct other o = { .queues = 2 };
	unsigned kicks;
	struct t t;

	(void)state;
	begin_with(&t, false, LINT_WARN);
	start_all(&t);
	o.t = &t;
	t.fake.slow_stop = true;
	pthread_create(&o.thread, NULL, other_run, &o);
	vd_set(t.d, VD_QUEUE_SEL, 1);
	vd_set(t.d, VD_QUEUE_READY, 0);
	assert_true(o.released);
	assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 0);
	pthread_join(o.thread, NULL);
	assert_false(o.seen_early);
	/* The other queue has not noticed; this one hears no kicks, and can come back. */
	assert_int_equal(t.fake.stops[0], 0);
	kicks = t.fake.kicks[1];
	vd_kick_always(&t.q[1]);
	vd_kick_always(&t.q[0]);
	wait_for(&t.fake.kicks[0], 2);
	assert_int_equal(t.fake.kicks[1], kicks);
	assert_int_equal(vd_queue_init(t.d, &t.q[1], 1, 32), 0);
	settle(&t);
	assert_int_equal(t.fake.starts[1], 2);
	assert_int_equal(vq_state(t.fake.vq[1])->size, 32);
	t.fake.slow_stop = false;
	end(&t);
}

/* 2.6.1: QueueReset brings one queue back to nothing, and only where it was agreed on. */
static void test_ring_reset(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	for (unsigned agreed = 0; agreed < 2; agreed++) {
		assert_int_equal(vd_begin(t.d, agreed ? SPLIT : SPLIT & ~BIT(VIRTIO_F_RING_RESET)),
				 0);
		for (unsigned i = 0; i < QUEUES; i++)
			assert_int_equal(vd_queue_init(t.d, &t.q[i], i, 16), 0);
		vd_go(t.d);
		settle(&t);
		vd_set(t.d, VD_QUEUE_SEL, 1);
		vd_set(t.d, VD_QUEUE_RESET, 1);
		assert_int_equal(vd_get(t.d, VD_QUEUE_RESET), 0);
		assert_int_equal(vd_get(t.d, VD_QUEUE_READY), !agreed);
		vd_set(t.d, VD_QUEUE_SEL, QUEUES); /* no such queue */
		vd_set(t.d, VD_QUEUE_RESET, 1);
		vd_set(t.d, VD_QUEUE_SEL, 0);
		assert_int_equal(vd_get(t.d, VD_QUEUE_READY), 1);
		assert_int_equal(vd_get(t.d, VD_STATUS), 15);
	}
	assert_int_equal(t.fake.stops[0], 1); /* by the reset in vd_begin() */
	assert_int_equal(t.fake.stops[1], 2);
	/* It comes back with another size. */
	assert_int_equal(vd_queue_init(t.d, &t.q[1], 1, 32), 0);
	settle(&t);
	assert_int_equal(t.fake.starts[1], 3);
	assert_int_equal(vq_state(t.fake.vq[1])->size, 32);
	end(&t);
}

/* 2.9: with NOTIFICATION_DATA a kick says more than its queue, which may be any 16 bits. */
static void test_notification_data(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	start_all(&t);
	assert_false(t.d->features & BIT(VIRTIO_F_NOTIFICATION_DATA));
	end(&t);
	begin_with(&t, true, LINT_OFF);
	for (unsigned packed = 0; packed < 2; packed++) {
		unsigned before;

		assert_int_equal(vd_begin(t.d, packed ? ~0ULL : SPLIT), 0);
		assert_true(t.d->features & BIT(VIRTIO_F_NOTIFICATION_DATA));
		for (unsigned i = 0; i < QUEUES; i++)
			assert_int_equal(vd_queue_init(t.d, &t.q[i], i, 16), 0);
		vd_go(t.d);
		settle(&t);
		for (uint32_t i = 0; i < 40; i++) {
			before = t.fake.kicks[1];
			vd_set(t.d, VD_QUEUE_NOTIFY, 1 | i * 0x01010000);
			wait_for(&t.fake.kicks[1], before + 1);
		}
		before = t.fake.kicks[0];
		vd_set(t.d, VD_QUEUE_NOTIFY, 0x00010000 | QUEUES);
		settle(&t);
		assert_int_equal(t.fake.kicks[0], before);
		vd_kick_always(&t.q[0]);
		wait_for(&t.fake.kicks[0], before + 1);
	}
	end(&t);
}

/* Starting and stopping as fast as one can, with kicks between: each start has its stop. */
static void test_restart_storm(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	for (unsigned i = 0; i < 200; i++) {
		gpa_t mark = t.d->next;

		assert_int_equal(vd_begin(t.d, SPLIT), 0);
		assert_int_equal(vd_queue_init(t.d, &t.q[0], 0, 16), 0);
		vd_go(t.d);
		vd_kick_always(&t.q[0]);
		if (i & 1)
			vd_set(t.d, VD_QUEUE_READY, 0);
		t.d->next = mark;
	}
	vd_reset(t.d);
	assert_int_equal(t.fake.starts[0], 200);
	assert_int_equal(t.fake.stops[0], 200);
	end(&t);
}

/* The machine's reset line does what Status=0 does. */
static void test_machine_reset(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	start_all(&t);
	virtio_mmio_reset(t.rig.mmio);
	assert_int_equal(vd_get(t.d, VD_STATUS), 0);
	assert_int_equal(t.fake.stops[0], 1);
	assert_int_equal(t.fake.stops[1], 1);
	end(&t);
}

/* Interrupts */

static void say_queue(void *arg)
{
	struct virtio_host *host = ((struct t *)arg)->fake.dev.host;

	host->ops->queue_irq(host, 0);
}

static void say_both(void *arg)
{
	struct virtio_host *host = ((struct t *)arg)->fake.dev.host;

	host->ops->queue_irq(host, 0);
	host->ops->config_change(host, NULL);
}

/* Class 15: a level that stays until every cause is acknowledged; reading acknowledges nothing. */
static void test_interrupt_level(void **state)
{
	struct t t;

	(void)state;
	begin(&t);
	start_all(&t);
	assert_false(t.rig.irq.level);
	vrig_on_loop(&t.rig, say_both, &t);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 3);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 3);
	assert_true(t.rig.irq.level);
	vd_set(t.d, VD_INTERRUPT_ACK, 1);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 2);
	assert_true(t.rig.irq.level);
	vd_set(t.d, VD_INTERRUPT_ACK, 0xfffffffc); /* bits that are not raised */
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 2);
	vd_set(t.d, VD_INTERRUPT_ACK, 2);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS), 0);
	assert_false(t.rig.irq.level);
	end(&t);
}

enum { RAISES = 20000 };

static void raise_next(struct loop_task *task);
struct raiser {
	struct loop_task task;
	struct t *t;
	atomic_uint raised;
};

static void raise_next(struct loop_task *task)
{
	struct raiser *r = container_of(task, struct raiser, task);
	struct virtio_host *host = r->t->fake.dev.host;

	host->ops->queue_irq(host, 0);
	if (atomic_fetch_add(&r->raised, 1) + 1 < RAISES)
		loop_post(r->t->rig.loop, task);
}

/* The line follows InterruptStatus, however raising and acknowledging meet. */
static void test_interrupt_race(void **state)
{
	struct raiser r = { .task.run = raise_next };
	struct t t;

	(void)state;
	begin(&t);
	start_all(&t);
	r.t = &t;
	loop_post(t.rig.loop, &r.task);
	while (atomic_load(&r.raised) < RAISES)
		vd_set(t.d, VD_INTERRUPT_ACK, 1);
	settle(&t);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS) != 0, t.rig.irq.level);
	vd_set(t.d, VD_INTERRUPT_ACK, 1);
	assert_false(t.rig.irq.level);
	end(&t);
}

/* Registers that an engine reads from memory (mmio_mirror.c) */

static int mirror_add(void *arg, uint64_t addr, const void *memory)
{
	const uint8_t **page = arg;

	assert_int_equal(addr, VRIG_SLOT);
	assert_null(*page);
	*page = memory;
	return 0;
}

static void mirror_del(void *arg, uint64_t addr)
{
	const uint8_t **page = arg;

	assert_int_equal(addr, VRIG_SLOT);
	assert_non_null(*page);
	*page = NULL;
}

static const struct bus_engine_ops mirror_ops = { .mirror_add = mirror_add,
						  .mirror_del = mirror_del };

static void acknowledge(struct t *t, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		vd_get(t->d, VD_INTERRUPT_STATUS);
		vd_set(t->d, VD_INTERRUPT_ACK, 1);
	}
}

static uint32_t word(const uint8_t *page, unsigned off)
{
	uint32_t val;

	memcpy(&val, page + off, sizeof(val));
	return val;
}

static void test_mirror(void **state)
{
	const uint8_t *page = NULL;
	struct t t;

	(void)state;
	begin(&t);
	bus_set_engine(t.rig.bus, &mirror_ops, &page);
	acknowledge(&t, 100); /* no driver is at work */
	assert_null(page);
	start_all(&t);
	acknowledge(&t, 15);
	assert_null(page);
	vd_get(t.d, VD_STATUS); /* something else: the count begins anew */
	acknowledge(&t, 15);
	assert_null(page);
	acknowledge(&t, 1);
	assert_non_null(page);

	/* What is in it is what the registers say, and nothing behind them. */
	for (unsigned off = 0; off < VD_CONFIG; off += 4)
		assert_int_equal(word(page, off), vd_get(t.d, off));
	for (unsigned off = VD_CONFIG; off < VIRTIO_MMIO_SIZE; off++)
		assert_int_equal(page[off], vd_config(t.d, off - VD_CONFIG, 1));
	for (unsigned off = VIRTIO_MMIO_SIZE; off < BUS_MIRROR_SIZE; off++)
		assert_int_equal(page[off], 0xff);

	/* Interrupts come and go with it there. */
	vrig_on_loop(&t.rig, say_queue, &t);
	assert_int_equal(word(page, VD_INTERRUPT_STATUS), 1);
	vd_set(t.d, VD_INTERRUPT_ACK, 1);
	assert_int_equal(word(page, VD_INTERRUPT_STATUS), 0);
	vd_kick_always(&t.q[0]);
	assert_non_null(page);

	/* Whatever else changes takes it away; and next time it takes longer to come. */
	vd_set(t.d, VD_QUEUE_SEL, 1);
	assert_null(page);
	acknowledge(&t, 31);
	assert_null(page);
	acknowledge(&t, 1);
	assert_non_null(page);
	vrig_on_loop(&t.rig, say_both, &t); /* a change of the configuration */
	assert_null(page);
	vd_set(t.d, VD_INTERRUPT_ACK, 3);
	acknowledge(&t, 64);
	assert_non_null(page);
	vrig_on_loop(&t.rig, say_needs_reset, &t);
	assert_null(page);
	acknowledge(&t, 1000);
	assert_null(page);
	start_all(&t); /* a reset, and a driver at work again */
	acknowledge(&t, 128);
	assert_non_null(page);
	assert_int_equal(word(page, VD_STATUS), vd_get(t.d, VD_STATUS));
	virtio_mmio_reset(t.rig.mmio);
	assert_null(page);
	start_all(&t);
	acknowledge(&t, 256);
	assert_non_null(page);
	end(&t);
	assert_null(page);
}

/* Configuration */

/* 2.5.2: readable before FEATURES_OK, in 1, 2 and 4 bytes, little-endian. Class 11: never beyond
 * its end, at no offset and no width. */
static void test_config(void **state)
{
	uint64_t val;
	struct t t;

	(void)state;
	begin(&t);
	for (uint32_t off = 0; off < VIRTIO_MMIO_SIZE - VD_CONFIG; off++)
		for (unsigned size = 1; size <= 4; size *= 2) {
			uint64_t want = 0;

			if (off % size)
				continue;
			if (off + size <= CONFIG_BYTES)
				for (unsigned i = 0; i < size; i++)
					want |= (uint64_t)(0x10 + off + i) << (8 * i);
			assert_int_equal(vd_config(t.d, off, size), want);
			assert_int_equal(
				bus_write(t.rig.bus, VRIG_SLOT + VD_CONFIG + off, size, want), 0);
		}
	/* Wider than 4.2.2.2 allows, but drivers do it. */
	assert_int_equal(bus_read(t.rig.bus, VRIG_SLOT + VD_CONFIG, 8, &val), 0);
	assert_int_equal(val, 0x1716151413121110);
	assert_int_equal(bus_read(t.rig.bus, VRIG_SLOT + VD_CONFIG + 8, 8, &val), 0);
	assert_int_equal(val, 0);
	assert_int_equal(bus_write(t.rig.bus, VRIG_SLOT + VD_CONFIG + 4, 2, 0xbbaa), 0);
	assert_int_equal(vd_config(t.d, 4, 1), 0xaa);
	assert_int_equal(vd_config(t.d, 5, 1), 0xbb);
	end(&t);
}

/* 2.5.1: the generation tells of a change, also of one that the driver was not interrupted for. */
static void test_config_generation(void **state)
{
	uint32_t generation;
	struct t t;

	(void)state;
	begin(&t);
	generation = vd_get(t.d, VD_CONFIG_GENERATION);
	assert_int_equal(vd_get(t.d, VD_CONFIG_GENERATION), generation);
	vrig_on_loop(&t.rig, say_both, &t);
	assert_int_not_equal(vd_get(t.d, VD_CONFIG_GENERATION), generation);
	assert_int_equal(vd_get(t.d, VD_INTERRUPT_STATUS) & 2, 0); /* no DRIVER_OK */
	end(&t);
}

/* Life */

static void test_create_fails_cleanly(void **state)
{
	struct fake other = { .dev.ops = &fake_ops };
	struct virtio_mmio *mmio = NULL;
	struct err err = ERR_INIT;
	struct virtio_mmio_config config;
	struct t t;

	(void)state;
	begin(&t);
	config = (struct virtio_mmio_config){
		.name = "late", .base = VRIG_SLOT + 0x100, .bus = t.rig.bus, .mem = t.rig.mem
	};
	other.dev.loop = t.rig.loop;
	assert_int_equal(virtio_mmio_create(&mmio, &config, &other.dev, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "late"));
	assert_null(mmio);
	check_identity(&t, 42);
	start_all(&t);
	end(&t); /* with the queues running */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_empty_slot),
		cmocka_unit_test(test_access_rules),
		cmocka_unit_test(test_absent_parts),
		cmocka_unit_test(test_offer),
		cmocka_unit_test(test_features_ok),
		cmocka_unit_test(test_features_after_ok),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_nothing_before_driver_ok),
		cmocka_unit_test(test_kick_reaches_its_queue),
		cmocka_unit_test(test_queue_select),
		cmocka_unit_test(test_frozen_when_ready),
		cmocka_unit_test(test_bad_queue_needs_reset),
		cmocka_unit_test(test_failed_start_needs_reset),
		cmocka_unit_test(test_device_needs_reset),
		cmocka_unit_test(test_reset_waits),
		cmocka_unit_test(test_queue_stop_waits),
		cmocka_unit_test(test_ring_reset),
		cmocka_unit_test(test_notification_data),
		cmocka_unit_test(test_restart_storm),
		cmocka_unit_test(test_machine_reset),
		cmocka_unit_test(test_interrupt_level),
		cmocka_unit_test(test_interrupt_race),
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_config_generation),
		cmocka_unit_test(test_create_fails_cleanly),
	};

	return cmocka_run_group_tests_name("mmio", tests, NULL, NULL);
}

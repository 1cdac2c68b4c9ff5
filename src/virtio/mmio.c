/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO, version 2 (virtio 1.2, 4.2).
 *
 * Threads. Registers are accessed on vCPU threads, under `lock`. The queues live on the device's
 * loop: the kick of a queue is a notifier that its doorbell sets and the loop watches, and starting
 * and stopping it are tasks posted to the loop. Starting does not wait. Stopping does, since its
 * end is what the driver's read-back of Status or QueueReady shows (2.4.1, 4.2.2.2): the vCPU
 * sleeps on `quiet` with the lock released, and while it sleeps no other vCPU gets past enter(). So
 * the loop may take the lock at any time, and no thread waits for the loop while holding it.
 *
 *      a queue:   idle --DRIVER_OK, QueueReady=1--> active --Status=0, QueueReady=0--> idle
 *                                                     loop: queue_start ... queue_stop, stopped
 *
 * The interrupt: InterruptStatus and the line change together under `irq_lock`, so the line is up
 * exactly while a bit is set, however raising (loop) and acknowledging (vCPU) meet. Lock order:
 * lock, irq_lock, then whatever the interrupt controller takes.
 */
#include "virtio/mmio.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"
#include "host/loop.h"
#include "host/notifier.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"

/* 4.2.2, table 4.1 */
enum {
	MAGIC = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	SHM_SEL = 0x0ac,
	SHM_LEN_LOW = 0x0b0,
	SHM_LEN_HIGH = 0x0b4,
	SHM_BASE_LOW = 0x0b8,
	SHM_BASE_HIGH = 0x0bc,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

#define MAGIC_VALUE  0x74726976U /* "virt" */
#define VENDOR_VALUE 0x4f4b4148U /* "HAKO"; any value will do */

/* InterruptStatus (4.2.2) */
enum { INT_USED_BUFFER = 1, INT_CONFIG_CHANGE = 2 };

struct queue {
	struct virtio_mmio *mmio;
	unsigned index;
	struct vq *vq;

	/* Under the lock. The registers as the driver wrote them; frozen while ready. */
	struct vq_state regs;
	bool active; /* vq is the loop's */

	/* The loop's, while active. */
	bool watched, started;
	struct notifier kick;
	struct loop_source source;
	struct loop_task start, stop;
};

struct virtio_mmio {
	struct virtio_host host; /* what the device sees */
	char name[32];
	struct virtio_dev *dev; /* NULL: an empty slot */
	struct bus *bus;
	struct gmem *mem;
	struct log *log;
	struct irq_line irq;
	struct bus_region region;

	pthread_mutex_t lock;
	pthread_cond_t quiet;   /* a queue has come to rest, or a stop is over */
	bool stopping;          /* a vCPU waits for queues to come to rest */
	struct log_limit limit; /* the messages about what the driver does */
	uint8_t status;
	uint32_t device_features_sel, driver_features_sel;
	uint64_t driver_features;
	bool driver_features_high; /* the driver asked for a bit above 63 */
	uint32_t queue_sel;
	uint32_t generation;

	pthread_mutex_t irq_lock;
	_Atomic uint32_t interrupt_status; /* written under irq_lock, read without */

	unsigned n_queues;
	struct queue queue[];
};

#define driver_wrong(m, ...) log_guest((m)->log, &(m)->limit, LOG_WARN, (m)->name, __VA_ARGS__)

/* Interrupts */

static void irq_raise(struct virtio_mmio *m, uint32_t bits)
{
	pthread_mutex_lock(&m->irq_lock);
	m->interrupt_status |= bits;
	irq_set(&m->irq, true);
	pthread_mutex_unlock(&m->irq_lock);
}

static void irq_acknowledge(struct virtio_mmio *m, uint32_t bits)
{
	pthread_mutex_lock(&m->irq_lock);
	m->interrupt_status &= ~bits;
	irq_set(&m->irq, m->interrupt_status != 0);
	pthread_mutex_unlock(&m->irq_lock);
}

/* The lock is held. 2.1.2: tell the driver by a configuration change, once it is there to hear. */
static void needs_reset(struct virtio_mmio *m)
{
	if (m->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	m->status |= VIRTIO_STATUS_NEEDS_RESET;
	if (m->status & VIRTIO_STATUS_DRIVER_OK)
		irq_raise(m, INT_CONFIG_CHANGE);
}

/* What the device asks for, on its loop */

static struct virtio_mmio *host_mmio(struct virtio_host *host)
{
	return container_of(host, struct virtio_mmio, host);
}

static void host_queue_irq(struct virtio_host *host, unsigned q)
{
	(void)q; /* one line for all queues */
	irq_raise(host_mmio(host), INT_USED_BUFFER);
}

static void host_config_irq(struct virtio_host *host)
{
	struct virtio_mmio *m = host_mmio(host);

	pthread_mutex_lock(&m->lock);
	m->generation++;
	if (m->status & VIRTIO_STATUS_DRIVER_OK)
		irq_raise(m, INT_CONFIG_CHANGE);
	pthread_mutex_unlock(&m->lock);
}

static void host_needs_reset(struct virtio_host *host)
{
	struct virtio_mmio *m = host_mmio(host);

	pthread_mutex_lock(&m->lock);
	needs_reset(m);
	pthread_mutex_unlock(&m->lock);
}

static const struct virtio_host_ops host_ops = {
	.queue_irq = host_queue_irq,
	.config_irq = host_config_irq,
	.needs_reset = host_needs_reset,
};

/* Queues, on the loop */

static void queue_kicked(struct loop_source *source, uint32_t events)
{
	struct queue *q = container_of(source, struct queue, source);
	struct virtio_dev *dev = q->mmio->dev;

	(void)events;
	notifier_clear(&q->kick);
	if (q->started)
		dev->ops->kick(dev, q->index);
}

static void queue_start(struct loop_task *task)
{
	struct queue *q = container_of(task, struct queue, start);
	struct virtio_dev *dev = q->mmio->dev;

	q->watched = !loop_add(dev->loop, &q->source);
	if (!q->watched)
		log_msg(q->mmio->log, LOG_ERROR, q->mmio->name,
			"cannot watch the doorbell of queue %u", q->index);
	q->started = q->watched && !dev->ops->start(dev, q->index, q->vq);
	if (q->started)
		/* The driver may have made buffers available before DRIVER_OK. */
		dev->ops->kick(dev, q->index);
	else
		host_needs_reset(&q->mmio->host);
}

static void queue_stopped(void *arg)
{
	struct queue *q = arg;
	struct virtio_mmio *m = q->mmio;

	q->started = false;
	pthread_mutex_lock(&m->lock);
	q->active = false;
	pthread_cond_broadcast(&m->quiet);
	pthread_mutex_unlock(&m->lock);
}

static void queue_stop(struct loop_task *task)
{
	struct queue *q = container_of(task, struct queue, stop);
	struct virtio_dev *dev = q->mmio->dev;

	if (q->watched)
		loop_del(dev->loop, &q->source);
	q->watched = false;
	notifier_clear(&q->kick); /* a kick belongs to the queue that it was meant for */
	if (q->started)
		dev->ops->stop(dev, q->index, queue_stopped, q);
	else
		queue_stopped(q);
}

/* Queues, on a vCPU, the lock held */

static void queue_activate(struct virtio_mmio *m, struct queue *q)
{
	uint64_t acked = m->dev->acked;

	if (m->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	if (vq_setup(q->vq, &q->regs, acked & BIT(VIRTIO_F_INDIRECT_DESC),
		     acked & BIT(VIRTIO_F_EVENT_IDX))) {
		needs_reset(m);
		return;
	}
	q->active = true;
	loop_post(m->dev->loop, &q->start);
}

static bool any_active(const struct queue *q, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (q[i].active)
			return true;
	return false;
}

/* Bring n queues to rest and wait for it. */
static void queues_stop(struct virtio_mmio *m, struct queue *q, unsigned n)
{
	assert(!m->dev || !any_active(q, n) || !loop_is_current(m->dev->loop));
	m->stopping = true;
	for (unsigned i = 0; i < n; i++)
		if (q[i].active)
			loop_post(m->dev->loop, &q[i].stop);
	while (any_active(q, n))
		pthread_cond_wait(&m->quiet, &m->lock);
	m->stopping = false;
	pthread_cond_broadcast(&m->quiet);
	for (unsigned i = 0; i < n; i++) {
		vq_reset(q[i].vq);
		q[i].regs.ready = 0;
	}
}

/* 2.4, 4.2.2.1: everything but the device's identity and its configuration goes back to zero. */
static void reset(struct virtio_mmio *m)
{
	queues_stop(m, m->queue, m->n_queues);
	for (unsigned i = 0; i < m->n_queues; i++)
		memset(&m->queue[i].regs, 0, sizeof(m->queue[i].regs));
	m->status = 0;
	m->device_features_sel = m->driver_features_sel = 0;
	m->driver_features = 0;
	m->driver_features_high = false;
	m->queue_sel = 0;
	if (m->dev)
		m->dev->acked = 0;
	irq_acknowledge(m, ~0U);
}

/* Registers. All run under the lock. */

/* The queue that QueueSel selects, or NULL: there is none of that number. */
static struct queue *selected(struct virtio_mmio *m)
{
	return m->queue_sel < m->n_queues ? &m->queue[m->queue_sel] : NULL;
}

/* The selected queue, if its configuration may change now. */
static struct queue *configurable(struct virtio_mmio *m)
{
	struct queue *q = selected(m);

	if (!q)
		driver_wrong(m, "queue %u set up, there are %u", m->queue_sel, m->n_queues);
	else if (q->regs.ready)
		driver_wrong(m, "queue %u changed while QueueReady is 1 (4.2.2.2)", q->index);
	return q && !q->regs.ready ? q : NULL;
}

static uint32_t magic_read(struct virtio_mmio *m)
{
	(void)m;
	return MAGIC_VALUE;
}

static uint32_t version_read(struct virtio_mmio *m)
{
	(void)m;
	return 2;
}

static uint32_t device_id_read(struct virtio_mmio *m)
{
	return m->dev ? m->dev->ops->id : 0;
}

static uint32_t vendor_id_read(struct virtio_mmio *m)
{
	(void)m;
	return VENDOR_VALUE;
}

static uint32_t device_features_read(struct virtio_mmio *m)
{
	uint64_t features = m->dev->ops->features(m->dev);

	return m->device_features_sel > 1 ? 0
					  : (uint32_t)(features >> (32 * m->device_features_sel));
}

static void device_features_sel_write(struct virtio_mmio *m, uint32_t val)
{
	m->device_features_sel = val;
}

static void driver_features_write(struct virtio_mmio *m, uint32_t val)
{
	if (m->status & VIRTIO_STATUS_FEATURES_OK) {
		driver_wrong(m, "features written after FEATURES_OK (2.2.1)");
	} else if (m->driver_features_sel > 1) {
		m->driver_features_high |= val != 0;
	} else {
		unsigned shift = 32 * m->driver_features_sel;

		m->driver_features &= ~((uint64_t)UINT32_MAX << shift);
		m->driver_features |= (uint64_t)val << shift;
	}
}

static void driver_features_sel_write(struct virtio_mmio *m, uint32_t val)
{
	m->driver_features_sel = val;
}

static void queue_sel_write(struct virtio_mmio *m, uint32_t val)
{
	m->queue_sel = val;
}

static uint32_t queue_num_max_read(struct virtio_mmio *m)
{
	return selected(m) ? m->dev->ops->queue_size_max : 0;
}

static void queue_num_write(struct virtio_mmio *m, uint32_t val)
{
	struct queue *q = configurable(m);

	if (!q)
		return;
	if (val > m->dev->ops->queue_size_max) {
		driver_wrong(m, "QueueNum %u is over QueueNumMax %u (4.2.2.2)", val,
			     m->dev->ops->queue_size_max);
		val = 0; /* no size that can be set up */
	}
	q->regs.size = (uint16_t)val;
}

static uint32_t queue_ready_read(struct virtio_mmio *m)
{
	struct queue *q = selected(m);

	return q ? q->regs.ready : 0;
}

static void queue_ready_write(struct virtio_mmio *m, uint32_t val)
{
	struct queue *q = selected(m);

	if (!q) {
		driver_wrong(m, "QueueReady of queue %u, there are %u", m->queue_sel, m->n_queues);
	} else if (!(val & 1)) {
		queues_stop(m, q, 1);
	} else if (!q->regs.ready) {
		q->regs.ready = 1;
		if (m->status & VIRTIO_STATUS_DRIVER_OK)
			queue_activate(m, q);
	}
}

/* Numbers of queues that exist are doorbells and never get here. */
static void queue_notify_write(struct virtio_mmio *m, uint32_t val)
{
	driver_wrong(m, "kick for queue %u, there are %u", val, m->n_queues);
}

static uint32_t interrupt_status_read(struct virtio_mmio *m)
{
	return m->interrupt_status;
}

static void interrupt_ack_write(struct virtio_mmio *m, uint32_t val)
{
	if (val & ~m->interrupt_status)
		driver_wrong(m, "InterruptACK 0x%x of bits not raised (4.2.2.2)", val);
	irq_acknowledge(m, val);
}

static uint32_t status_read(struct virtio_mmio *m)
{
	return m->status;
}

/* 2.2.2: may the driver have just these features? */
static bool features_acceptable(struct virtio_mmio *m)
{
	uint64_t beyond = m->driver_features & ~m->dev->ops->features(m->dev);

	if (beyond || m->driver_features_high)
		driver_wrong(m, "features 0x%llx%s accepted but not offered (2.2.1)",
			     (unsigned long long)beyond,
			     m->driver_features_high ? " and some above 63" : "");
	else if (!(m->driver_features & BIT(VIRTIO_F_VERSION_1)))
		driver_wrong(m, "VERSION_1 not accepted, and this device has no other (6.1)");
	else
		return true;
	return false;
}

static void status_write(struct virtio_mmio *m, uint32_t val)
{
	const uint32_t drivers = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
				 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK |
				 VIRTIO_STATUS_FAILED;
	uint8_t set = (uint8_t)(val & drivers & ~m->status);

	if (val == 0) {
		reset(m);
		return;
	}
	if (m->status & drivers & ~val)
		driver_wrong(m, "Status 0x%x written over 0x%x clears bits (2.1.1)", val,
			     m->status);
	m->status |=
		set & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FAILED);
	if ((set & VIRTIO_STATUS_FEATURES_OK) && features_acceptable(m)) {
		m->status |= VIRTIO_STATUS_FEATURES_OK;
		m->dev->acked = m->driver_features;
	}
	if (set & VIRTIO_STATUS_DRIVER_OK) {
		if (!(m->status & VIRTIO_STATUS_FEATURES_OK)) {
			driver_wrong(m, "DRIVER_OK without FEATURES_OK (3.1.1)");
			return;
		}
		m->status |= VIRTIO_STATUS_DRIVER_OK;
		for (unsigned i = 0; i < m->n_queues; i++)
			if (m->queue[i].regs.ready)
				queue_activate(m, &m->queue[i]);
	}
}

/* Addresses come in two halves. */
static void half_set(gpa_t *gpa, unsigned shift, uint32_t val)
{
	*gpa &= ~((uint64_t)UINT32_MAX << shift);
	*gpa |= (uint64_t)val << shift;
}

#define ADDRESS_WRITES(part)                                               \
	static void part##_low_write(struct virtio_mmio *m, uint32_t val)  \
	{                                                                  \
		struct queue *q = configurable(m);                         \
                                                                           \
		if (q)                                                     \
			half_set(&q->regs.part, 0, val);                   \
	}                                                                  \
	static void part##_high_write(struct virtio_mmio *m, uint32_t val) \
	{                                                                  \
		struct queue *q = configurable(m);                         \
                                                                           \
		if (q)                                                     \
			half_set(&q->regs.part, 32, val);                  \
	}
ADDRESS_WRITES(desc)
ADDRESS_WRITES(avail) /* the "driver area" */
ADDRESS_WRITES(used)  /* the "device area" */

/* There is no shared memory, whatever SHMSel says (2.10.2, 4.2.2). */
static uint32_t shm_read(struct virtio_mmio *m)
{
	(void)m;
	return UINT32_MAX;
}

static void shm_sel_write(struct virtio_mmio *m, uint32_t val)
{
	(void)m;
	(void)val;
}

/* RING_RESET is not offered: no queue is ever being reset. */
static uint32_t queue_reset_read(struct virtio_mmio *m)
{
	(void)m;
	return 0;
}

static uint32_t generation_read(struct virtio_mmio *m)
{
	return m->generation;
}

/* NULL: not readable, not writable. `empty`: also there when the slot is empty. */
static const struct reg {
	const char *name;
	uint32_t (*read)(struct virtio_mmio *m);
	void (*write)(struct virtio_mmio *m, uint32_t val);
	bool empty;
} regs[CONFIG / 4] = {
	[MAGIC / 4] = { "MagicValue", magic_read, NULL, true },
	[VERSION / 4] = { "Version", version_read, NULL, true },
	[DEVICE_ID / 4] = { "DeviceID", device_id_read, NULL, true },
	[VENDOR_ID / 4] = { "VendorID", vendor_id_read, NULL, true },
	[DEVICE_FEATURES / 4] = { "DeviceFeatures", device_features_read, NULL, false },
	[DEVICE_FEATURES_SEL / 4] = { "DeviceFeaturesSel", NULL, device_features_sel_write, false },
	[DRIVER_FEATURES / 4] = { "DriverFeatures", NULL, driver_features_write, false },
	[DRIVER_FEATURES_SEL / 4] = { "DriverFeaturesSel", NULL, driver_features_sel_write, false },
	[QUEUE_SEL / 4] = { "QueueSel", NULL, queue_sel_write, false },
	[QUEUE_NUM_MAX / 4] = { "QueueNumMax", queue_num_max_read, NULL, false },
	[QUEUE_NUM / 4] = { "QueueNum", NULL, queue_num_write, false },
	[QUEUE_READY / 4] = { "QueueReady", queue_ready_read, queue_ready_write, false },
	[QUEUE_NOTIFY / 4] = { "QueueNotify", NULL, queue_notify_write, false },
	[INTERRUPT_STATUS / 4] = { "InterruptStatus", interrupt_status_read, NULL, false },
	[INTERRUPT_ACK / 4] = { "InterruptACK", NULL, interrupt_ack_write, false },
	[STATUS / 4] = { "Status", status_read, status_write, false },
	[QUEUE_DESC_LOW / 4] = { "QueueDescLow", NULL, desc_low_write, false },
	[QUEUE_DESC_HIGH / 4] = { "QueueDescHigh", NULL, desc_high_write, false },
	[QUEUE_DRIVER_LOW / 4] = { "QueueDriverLow", NULL, avail_low_write, false },
	[QUEUE_DRIVER_HIGH / 4] = { "QueueDriverHigh", NULL, avail_high_write, false },
	[QUEUE_DEVICE_LOW / 4] = { "QueueDeviceLow", NULL, used_low_write, false },
	[QUEUE_DEVICE_HIGH / 4] = { "QueueDeviceHigh", NULL, used_high_write, false },
	[SHM_SEL / 4] = { "SHMSel", NULL, shm_sel_write, false },
	[SHM_LEN_LOW / 4] = { "SHMLenLow", shm_read, NULL, false },
	[SHM_LEN_HIGH / 4] = { "SHMLenHigh", shm_read, NULL, false },
	[SHM_BASE_LOW / 4] = { "SHMBaseLow", shm_read, NULL, false },
	[SHM_BASE_HIGH / 4] = { "SHMBaseHigh", shm_read, NULL, false },
	[QUEUE_RESET / 4] = { "QueueReset", queue_reset_read, NULL, false },
	[CONFIG_GENERATION / 4] = { "ConfigGeneration", generation_read, NULL, false },
};

/* Accesses */

/* Take the lock, but not in the middle of another vCPU's reset. */
static void enter(struct virtio_mmio *m)
{
	pthread_mutex_lock(&m->lock);
	while (m->stopping)
		pthread_cond_wait(&m->quiet, &m->lock);
}

static void leave(struct virtio_mmio *m)
{
	pthread_mutex_unlock(&m->lock);
}

/* The register at an offset below CONFIG; NULL if there is none or the access does not suit it. */
static const struct reg *reg_find(struct virtio_mmio *m, uint64_t off, unsigned size, bool write)
{
	const struct reg *r = &regs[off / 4];
	const char *what = write ? "write" : "read";

	if (size != 4)
		driver_wrong(m, "%s of %u bytes at 0x%03x: registers are 32 bits wide (4.2.2.2)",
			     what, size, (unsigned)off);
	else if (!m->dev && !r->empty)
		driver_wrong(m, "%s at 0x%03x although DeviceID is 0 (4.2.3.1.1)", what,
			     (unsigned)off);
	else if (!r->name)
		driver_wrong(m, "%s at 0x%03x, where no register is (4.2.2)", what, (unsigned)off);
	else if (write ? !r->write : !r->read)
		driver_wrong(m, "%s of %s, which is %s-only (4.2.2)", what, r->name,
			     write ? "read" : "write");
	else
		return r;
	return NULL;
}

/* Is the access inside the device's configuration? 4.2.2.2: of any width up to 32 bits. */
static bool config_ok(struct virtio_mmio *m, uint64_t off, unsigned size)
{
	return size <= 4 && m->dev && range_ok(off, size, m->dev->ops->config_size);
}

static uint64_t mmio_read(void *dev, uint64_t off, unsigned size)
{
	struct virtio_mmio *m = dev;
	uint64_t val = 0;

	enter(m);
	if (off < CONFIG) {
		const struct reg *r = reg_find(m, off, size, false);

		if (r)
			val = r->read(m);
	} else if (config_ok(m, off - CONFIG, size)) {
		uint8_t b[4] = { 0 };

		/* Multi-byte fields are little-endian (2.5.1). */
		m->dev->ops->config_read(m->dev, (uint32_t)(off - CONFIG), b, size);
		for (unsigned i = 0; i < size; i++)
			val |= (uint64_t)b[i] << (8 * i);
	}
	leave(m);
	return val;
}

static void mmio_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct virtio_mmio *m = dev;

	enter(m);
	if (off < CONFIG) {
		const struct reg *r = reg_find(m, off, size, true);

		if (r)
			r->write(m, (uint32_t)val);
	} else if (config_ok(m, off - CONFIG, size)) {
		uint8_t b[4];

		for (unsigned i = 0; i < size; i++)
			b[i] = (uint8_t)(val >> (8 * i));
		m->dev->ops->config_write(m->dev, (uint32_t)(off - CONFIG), b, size);
	}
	leave(m);
}

static const struct bus_ops mmio_bus_ops = { .read = mmio_read, .write = mmio_write };

/* Life */

static int queue_init(struct virtio_mmio *m, struct queue *q, unsigned index, struct err *err)
{
	char name[48];
	int code;

	q->mmio = m;
	q->index = index;
	q->start.run = queue_start;
	q->stop.run = queue_stop;
	q->source.ready = queue_kicked;
	q->source.events = LOOP_IN;
	code = notifier_init(&q->kick, err);
	if (code)
		return code;
	q->source.fd = q->kick.rfd;
	snprintf(name, sizeof(name), "%s.q%u", m->name, index);
	code = vq_create(&q->vq, m->mem, m->log, name);
	if (code) {
		err_set(err, code, "cannot set up queue %u of %s: out of memory", index, m->name);
		goto fail;
	}
	code = bus_doorbell_add(m->bus, &m->region, QUEUE_NOTIFY, index, &q->kick);
	if (code) {
		err_set(err, code, "cannot set up the doorbell of queue %u of %s: %s", index,
			m->name, strerror(-code));
		goto fail;
	}
	return 0;

fail:
	vq_destroy(q->vq);
	notifier_fini(&q->kick);
	return code;
}

static void queue_fini(struct queue *q)
{
	bus_doorbell_del(q->mmio->bus, &q->mmio->region, QUEUE_NOTIFY, q->index);
	vq_destroy(q->vq);
	notifier_fini(&q->kick);
}

static void mmio_free(struct virtio_mmio *m)
{
	while (m->n_queues)
		queue_fini(&m->queue[--m->n_queues]);
	if (m->region.ops)
		bus_del(m->bus, &m->region);
	if (m->dev)
		m->dev->host = NULL;
	pthread_cond_destroy(&m->quiet);
	pthread_mutex_destroy(&m->irq_lock);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

int virtio_mmio_create(struct virtio_mmio **mmio, const struct virtio_mmio_config *config,
		       struct virtio_dev *dev, struct err *err)
{
	unsigned n = dev ? dev->ops->n_queues : 0;
	struct virtio_mmio *m = calloc(1, sizeof(*m) + n * sizeof(m->queue[0]));
	int code;

	if (!m)
		return err_set(err, -ENOMEM, "cannot create the virtio slot %s: out of memory",
			       config->name);
	m->host.ops = &host_ops;
	snprintf(m->name, sizeof(m->name), "%s", config->name);
	m->dev = dev;
	m->bus = config->bus;
	m->mem = config->mem;
	m->log = config->log;
	m->irq = config->irq;
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->irq_lock, NULL);
	pthread_cond_init(&m->quiet, NULL);
	if (dev)
		dev->host = &m->host;

	m->region = (struct bus_region){
		.name = m->name,
		.base = config->base,
		.size = VIRTIO_MMIO_SIZE,
		.min_access = 1,
		.max_access = 4,
		.ops = &mmio_bus_ops,
		.dev = m,
	};
	code = bus_add(m->bus, &m->region, err);
	if (code) {
		m->region.ops = NULL;
		goto fail;
	}
	for (; m->n_queues < n; m->n_queues++) {
		code = queue_init(m, &m->queue[m->n_queues], m->n_queues, err);
		if (code)
			goto fail;
	}
	*mmio = m;
	return 0;

fail:
	mmio_free(m);
	return code;
}

void virtio_mmio_reset(struct virtio_mmio *mmio)
{
	enter(mmio);
	reset(mmio);
	leave(mmio);
}

void virtio_mmio_destroy(struct virtio_mmio *mmio)
{
	if (!mmio)
		return;
	virtio_mmio_reset(mmio);
	mmio_free(mmio);
}

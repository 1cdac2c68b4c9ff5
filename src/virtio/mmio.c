/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO (virtio 1.2, 4.2): the core of both versions of the transport. Their registers,
 * where they differ, are in mmio_modern.c and mmio_legacy.c; see mmio_slot.h.
 *
 * Threads. Registers are accessed on vCPU threads, under `lock`. The queues live on the device's
 * loop: the kick of a queue is a notifier that its doorbell sets and the loop watches, and starting
 * and stopping it are tasks posted to the loop. Starting does not wait. Stopping does, since its
 * end is what the driver's read-back of Status or QueueReady shows (2.4.1, 4.2.2.2): the vCPU
 * sleeps on `quiet` with the lock released, and while it sleeps no other vCPU gets past enter(). So
 * the loop may take the lock at any time, and no thread waits for the loop while holding it.
 *
 *      a queue:   idle --DRIVER_OK, QueueReady=1--> active --Status=0, QueueReady=0--> idle
 *          (legacy)       QueuePFN=n                           Status=0, QueuePFN=0
 *                                                     loop: queue_start ... queue_stop, stopped
 *
 * The interrupt: InterruptStatus and the line change together under `irq_lock`, so the line is up
 * exactly while a bit is set, however raising (loop) and acknowledging (vCPU) meet. Lock order:
 * lock, irq_lock, then whatever the interrupt controller takes.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "virtio/mmio_slot.h"

/* InterruptStatus (4.2.2) */
enum { INT_USED_BUFFER = 1, INT_CONFIG_CHANGE = 2 };

/* Interrupts */

static void irq_raise(struct virtio_mmio *m, uint32_t bits)
{
	pthread_mutex_lock(&m->irq_lock);
	if (unlikely(m->interrupt_status & bits))
		lint_interrupt(m->lint);
	m->interrupt_status |= bits;
	mmio_mirror_interrupt(m); /* before the driver can look */
	irq_set(&m->irq, true);
	pthread_mutex_unlock(&m->irq_lock);
}

static void irq_acknowledge(struct virtio_mmio *m, uint32_t bits)
{
	pthread_mutex_lock(&m->irq_lock);
	m->interrupt_status &= ~bits;
	mmio_mirror_interrupt(m);
	irq_set(&m->irq, m->interrupt_status != 0);
	pthread_mutex_unlock(&m->irq_lock);
}

/* The lock is held. 2.1.2: tell the driver by a configuration change, once it is there to hear. */
static void needs_reset(struct virtio_mmio *m)
{
	if (m->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	mmio_mirror_off(m);
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
	struct virtio_mmio *m = host_mmio(host);

	irq_raise(m, INT_USED_BUFFER); /* one line for all queues */
	vq_interrupted(m->queue[q].vq);
}

static void host_config_change(struct virtio_host *host, void (*change)(struct virtio_dev *dev))
{
	struct virtio_mmio *m = host_mmio(host);

	pthread_mutex_lock(&m->lock);
	mmio_mirror_off(m);
	if (change)
		change(m->dev);
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
	.config_change = host_config_change,
	.needs_reset = host_needs_reset,
};

/* Queues, on the loop */

/* A kick, unless a strict lint has had enough: then the device takes no more, and says so. */
static inline void queue_kick(struct mmio_queue *q)
{
	struct virtio_mmio *m = q->mmio;

	if (unlikely(m->tripped))
		host_needs_reset(&m->host);
	else
		m->dev->ops->kick(m->dev, q->index);
}

/* On the loop: kicks are taken; how many. */
static uint64_t queue_kicks(struct mmio_queue *q)
{
	uint64_t n = notifier_clear(&q->kick);

	if (unlikely(q->unkicked) && n) {
		q->unkicked = false;
		vq_first_kick(q->vq);
	}
	return n;
}

static uint64_t take_kicks(void *arg)
{
	return queue_kicks(arg);
}

static void queue_kicked(struct loop_source *source, uint32_t events)
{
	struct mmio_queue *q = container_of(source, struct mmio_queue, source);

	(void)events;
	vq_kicked(q->vq, queue_kicks(q));
	if (q->started)
		queue_kick(q);
}

static void queue_start(struct loop_task *task)
{
	struct mmio_queue *q = container_of(task, struct mmio_queue, start);
	struct virtio_dev *dev = q->mmio->dev;

	if (loop_add(dev->loop, &q->source))
		log_msg(q->mmio->log, LOG_ERROR, q->mmio->name,
			"cannot watch the doorbell of queue %u", q->index);
	q->started = q->source.watched && !dev->ops->start(dev, q->index, q->vq);
	if (q->started)
		/* The driver may have made buffers available before DRIVER_OK. */
		queue_kick(q);
	else
		host_needs_reset(&q->mmio->host);
}

static void queue_stopped(void *arg)
{
	struct mmio_queue *q = arg;
	struct virtio_mmio *m = q->mmio;

	q->started = false;
	pthread_mutex_lock(&m->lock);
	q->active = false;
	pthread_cond_broadcast(&m->quiet);
	pthread_mutex_unlock(&m->lock);
}

static void queue_stop(struct loop_task *task)
{
	struct mmio_queue *q = container_of(task, struct mmio_queue, stop);
	struct virtio_dev *dev = q->mmio->dev;

	loop_del(dev->loop, &q->source);
	queue_kicks(q); /* a kick belongs to the queue that it was meant for */
	if (q->started)
		dev->ops->stop(dev, q->index, queue_stopped, q);
	else
		queue_stopped(q);
}

/* Queues, on a vCPU, the lock held */

bool mmio_kicked(const struct mmio_queue *q)
{
	struct pollfd p = { .fd = q->kick.rfd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

void mmio_queue_activate(struct virtio_mmio *m, struct mmio_queue *q)
{
	if (m->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	if (vq_setup(q->vq, &q->regs, m->dev->acked)) {
		needs_reset(m);
		return;
	}
	q->active = true;
	q->unkicked = m->lint && !mmio_kicked(q); /* before its time: another rule's */
	loop_post(m->dev->loop, &q->start);
}

static bool any_active(const struct mmio_queue *q, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (q[i].active)
			return true;
	return false;
}

void mmio_queues_pause(struct virtio_mmio *m, struct mmio_queue *q, unsigned n)
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
}

void mmio_queues_stop(struct virtio_mmio *m, struct mmio_queue *q, unsigned n)
{
	mmio_queues_pause(m, q, n);
	for (unsigned i = 0; i < n; i++) {
		vq_reset(q[i].vq);
		q[i].regs.ready = 0;
	}
}

/*
 * Notifications of queues that are not set up reach nobody: the doorbell takes them, and the loop
 * does not watch it. Under the lock; after that they are gone.
 */
static void judge_kicks(struct virtio_mmio *m)
{
	if (!m->lint || !(m->status & VIRTIO_STATUS_DRIVER_OK))
		return;
	for (unsigned i = 0; i < m->n_queues; i++) {
		struct mmio_queue *q = &m->queue[i];
		if (q->regs.ready || q->pfn || !mmio_kicked(q))
			continue;
		notifier_clear(&q->kick);
		lint_report(m->lint, LINT_KICK_NONE, QUEUE_NOTIFY,
			    "kick for queue %u, which is not ready (QueueReady, legacy: QueuePFN, "
			    "is 0)",
			    i);
	}
}

/* Status := 0 (2.4, 4.2.2.1): everything but the device's identity and configuration is as new. */
static void reset(struct virtio_mmio *m)
{
	judge_kicks(m);
	mmio_queues_stop(m, m->queue, m->n_queues);
	for (unsigned i = 0; i < m->n_queues; i++) {
		memset(&m->queue[i].regs, 0, sizeof(m->queue[i].regs));
		m->queue[i].pfn = m->queue[i].align = 0;
		notifier_clear(&m->queue[i].kick);
	}
	m->status = 0;
	m->device_features_sel = m->driver_features_sel = 0;
	m->driver_features = 0;
	m->driver_features_high = false;
	m->queue_sel = 0;
	if (m->dev && m->dev->ops->reset)
		m->dev->ops->reset(m->dev);
	if (m->dev)
		m->dev->acked = 0;
	irq_acknowledge(m, ~0U);
	lint_reset(m->lint, false);
}

/* Registers. All run under the lock. */

uint64_t mmio_offered(const struct virtio_mmio *m)
{
	const struct virtio_feature_need *need = m->dev->ops->needs;
	uint64_t offered = (m->dev->ops->features(m->dev) | VQ_FEATURES | m->version->features) &
			   m->version->possible & ~m->without;

	/* 2.2.2. The table has what others need before these. */
	for (; need && need->feature; need++)
		if (!(offered & BIT(need->needs)))
			offered &= ~BIT(need->feature);
	return offered;
}

bool mmio_complete(const struct virtio_mmio *m, uint64_t features,
		   const struct virtio_feature_need **lacks)
{
	const struct virtio_feature_need *need = m->dev->ops->needs;

	for (; need && need->feature; need++) {
		*lacks = need;
		if (!need->offer_only && (features & BIT(need->feature)) &&
		    !(features & BIT(need->needs)))
			return false;
	}
	return true;
}

struct mmio_queue *mmio_selected(struct virtio_mmio *m)
{
	return m->queue_sel < m->n_queues ? &m->queue[m->queue_sel] : NULL;
}

static uint32_t magic_read(struct virtio_mmio *m)
{
	lint_identity_read(m->lint, LINT_READ_MAGIC);
	return MMIO_MAGIC;
}

static uint32_t version_read(struct virtio_mmio *m)
{
	lint_identity_read(m->lint, LINT_READ_VERSION);
	return m->version->number;
}

static uint32_t device_id_read(struct virtio_mmio *m)
{
	lint_identity_read(m->lint, LINT_READ_DEVICE_ID);
	return m->dev ? m->dev->ops->id : 0;
}

static uint32_t vendor_id_read(struct virtio_mmio *m)
{
	(void)m;
	return MMIO_VENDOR_VALUE;
}

uint32_t mmio_features_word(const struct virtio_mmio *m)
{
	unsigned sel = m->device_features_sel;

	return sel > 1 ? 0 : (uint32_t)(mmio_offered(m) >> (32 * sel));
}

static uint32_t device_features_read(struct virtio_mmio *m)
{
	lint_features_read(m->lint);
	return mmio_features_word(m);
}

static void device_features_sel_write(struct virtio_mmio *m, uint32_t val)
{
	lint_features_sel(m->lint, false);
	m->device_features_sel = val;
}

static void driver_features_sel_write(struct virtio_mmio *m, uint32_t val)
{
	lint_features_sel(m->lint, true);
	m->driver_features_sel = val;
}

static void queue_sel_write(struct virtio_mmio *m, uint32_t val)
{
	lint_queue_sel(m->lint);
	m->queue_sel = val;
}

static uint32_t queue_num_max_read(struct virtio_mmio *m)
{
	lint_queue_max_read(m->lint, m->queue_sel);
	return mmio_selected(m) ? m->dev->ops->queue_size_max : 0;
}

/* Doorbells (see queue_init) take the plain numbers of queues that exist; the rest gets here. */
static void queue_notify_write(struct virtio_mmio *m, uint32_t val)
{
	/* 4.2.2, 2.9: with NOTIFICATION_DATA the number has company, which we need not know. */
	uint32_t index = m->dev->acked & BIT(VIRTIO_F_NOTIFICATION_DATA) ? val & 0xffff : val;

	if (index < m->n_queues)
		notifier_set(&m->queue[index].kick);
	else
		driver_wrong(m, LINT_KICK_NONE, QUEUE_NOTIFY, "kick for queue %u, there are %u",
			     index, m->n_queues);
}

static uint32_t interrupt_status_read(struct virtio_mmio *m)
{
	return m->interrupt_status;
}

static void interrupt_ack_write(struct virtio_mmio *m, uint32_t val)
{
	lint_interrupt_ack(m->lint, val, m->interrupt_status, m->status);
	irq_acknowledge(m, val);
	mmio_mirror_acknowledged(m);
}

static uint32_t status_read(struct virtio_mmio *m)
{
	lint_status_read(m->lint, m->status);
	return m->status;
}

static void status_write(struct virtio_mmio *m, uint32_t val)
{
	if (val == 0) {
		reset(m);
		return;
	}
	lint_status_write(m->lint, m->status, (uint8_t)val);
	if (m->status & STATUS_DRIVERS & ~val)
		driver_wrong(m, LINT_STATUS_CLEARED, STATUS,
			     "Status 0x%x written over 0x%x clears bits (2.1.1)", val, m->status);
	m->version->status_set(m, (uint8_t)(val & STATUS_DRIVERS & ~m->status));
	if (m->status & VIRTIO_STATUS_DRIVER_OK)
		mark_hit(m->driver_ok);
}

/* What both versions have. */
static const struct mmio_reg common[CONFIG / 4] = {
	[MAGIC_VALUE / 4] = { "MagicValue", magic_read, NULL, true },
	[VERSION / 4] = { "Version", version_read, NULL, true },
	[DEVICE_ID / 4] = { "DeviceID", device_id_read, NULL, true },
	[VENDOR_ID / 4] = { "VendorID", vendor_id_read, NULL, true },
	[DEVICE_FEATURES / 4] = { "DeviceFeatures", device_features_read, NULL, false },
	[DEVICE_FEATURES_SEL / 4] = { "DeviceFeaturesSel", NULL, device_features_sel_write, false },
	[DRIVER_FEATURES_SEL / 4] = { "DriverFeaturesSel", NULL, driver_features_sel_write, false },
	[QUEUE_SEL / 4] = { "QueueSel", NULL, queue_sel_write, false },
	[QUEUE_NUM_MAX / 4] = { "QueueNumMax", queue_num_max_read, NULL, false },
	[QUEUE_NOTIFY / 4] = { "QueueNotify", NULL, queue_notify_write, false },
	[INTERRUPT_STATUS / 4] = { "InterruptStatus", interrupt_status_read, NULL, false },
	[INTERRUPT_ACK / 4] = { "InterruptACK", NULL, interrupt_ack_write, false },
	[STATUS / 4] = { "Status", status_read, status_write, false },
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
	if (unlikely(m->tripped))
		needs_reset(m);
	pthread_mutex_unlock(&m->lock);
}

/* The register at an offset below CONFIG; NULL if there is none or the access does not suit it. */
static const struct mmio_reg *reg_find(struct virtio_mmio *m, uint64_t off, unsigned size,
				       bool write)
{
	const struct mmio_reg *own = &m->version->regs[off / 4],
			      *r = own->name ? own : &common[off / 4];
	const char *what = write ? "write" : "read";
	const unsigned place = (unsigned)off / 4;

	if (size != 4 || off % 4)
		driver_wrong(m, LINT_REG_WIDTH, place,
			     "%s of %u bytes at 0x%03x: registers are 32 bits wide (4.2.2.2)", what,
			     size, (unsigned)off);
	else if (!m->dev && !r->empty)
		driver_wrong(m, LINT_EMPTY_SLOT, place,
			     "%s at 0x%03x although DeviceID is 0 (4.2.3.1.1)", what,
			     (unsigned)off);
	else if (!r->name)
		driver_wrong(m, LINT_REG_NONE, place, "%s at 0x%03x, where no register is (4.2.2)",
			     what, (unsigned)off);
	else if (write ? !r->write : !r->read)
		driver_wrong(m, LINT_REG_DIRECTION, place, "%s of %s, which is %s-only (4.2.2)",
			     what, r->name, write ? "read" : "write");
	else
		return r;
	return NULL;
}

/* Is the access inside the device's configuration? */
static bool config_ok(struct virtio_mmio *m, uint64_t off, unsigned size)
{
	if (size > 4) /* answered all the same: there are drivers that do it */
		driver_wrong(m, LINT_CONFIG_WIDTH, (unsigned)off,
			     "access of %u bytes to the configuration: 4 at most (4.2.2.2)", size);
	if (m->dev && range_ok(off, size, m->dev->ops->config_size))
		return true;
	lint_report(m->lint, m->dev ? LINT_REG_NONE : LINT_EMPTY_SLOT, (CONFIG + (unsigned)off) / 4,
		    "%u bytes at 0x%x of the configuration", size, (unsigned)off);
	return false;
}

static uint64_t mmio_read(void *dev, uint64_t off, unsigned size)
{
	struct virtio_mmio *m = dev;
	uint64_t val = 0;

	mark_hit(m->touched);
	enter(m);
	if (off != INTERRUPT_STATUS)
		mmio_mirror_read(m);
	if (off < CONFIG) {
		const struct mmio_reg *r = reg_find(m, off, size, false);

		if (r)
			val = r->read(m);
	} else if (config_ok(m, off - CONFIG, size)) {
		uint8_t b[8] = { 0 };

		lint_config_read(m->lint, m->dev, mmio_offered(m), m->status,
				 (uint32_t)(off - CONFIG), size);
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

	mark_hit(m->touched);
	enter(m);
	/* Kicks come here only when the doorbell is not the engine's. */
	if (off != INTERRUPT_ACK && off != QUEUE_NOTIFY)
		mmio_mirror_off(m);
	if (off < CONFIG) {
		const struct mmio_reg *r = reg_find(m, off, size, true);

		if (r)
			r->write(m, (uint32_t)val);
	} else if (config_ok(m, off - CONFIG, size)) {
		uint8_t b[8];

		lint_config_write(m->lint, m->status, (uint32_t)(off - CONFIG));
		for (unsigned i = 0; i < size; i++)
			b[i] = (uint8_t)(val >> (8 * i));
		m->dev->ops->config_write(m->dev, (uint32_t)(off - CONFIG), b, size);
	}
	leave(m);
}

static const struct bus_ops mmio_bus_ops = { .read = mmio_read, .write = mmio_write };

/* Life */

static int queue_init(struct virtio_mmio *m, struct mmio_queue *q, unsigned index, struct err *err)
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
	vq_lint(q->vq, m->lint, index);
	if (m->watch && vq_watch(q->vq, m->watch)) {
		code = err_set(err, -ENOMEM, "cannot watch queue %u of %s: out of memory", index,
			       m->name);
		goto fail;
	}
	if (m->watch & VQ_WATCH_DEEP)
		vq_watch_kicks_by(q->vq, take_kicks, q);
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

static void queue_fini(struct mmio_queue *q)
{
	bus_doorbell_del(q->mmio->bus, &q->mmio->region, QUEUE_NOTIFY, q->index);
	vq_destroy(q->vq);
	notifier_fini(&q->kick);
}

static void mmio_free(struct virtio_mmio *m)
{
	mmio_mirror_fini(m);
	while (m->n_queues)
		queue_fini(&m->queue[--m->n_queues]);
	if (m->region.ops)
		bus_del(m->bus, &m->region);
	if (m->dev) {
		m->dev->host = NULL;
		m->dev->lint = NULL;
	}
	lint_destroy(m->lint);
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
	m->version = config->legacy ? &mmio_legacy : &mmio_modern;
	m->without = config->without;
	if (!config->notification_data)
		m->without |= BIT(VIRTIO_F_NOTIFICATION_DATA);
	snprintf(m->name, sizeof(m->name), "%s", config->name);
	m->dev = dev;
	m->bus = config->bus;
	m->mem = config->mem;
	m->log = config->log;
	m->irq = config->irq;
	m->touched = config->touched;
	m->driver_ok = config->driver_ok;
	m->watch = (config->trace ? VQ_WATCH_TRACE : 0) |
		   (config->lint != LINT_OFF && config->lint_deep ? VQ_WATCH_DEEP : 0);
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->irq_lock, NULL);
	pthread_cond_init(&m->quiet, NULL);
	if (dev)
		dev->host = &m->host;
	if (config->lint != LINT_OFF) {
		m->lint = lint_create(config->lint, config->lint_deep, config->legacy, m->name,
				      m->log, &m->tripped);
		if (!m->lint) {
			code = err_set(err, -ENOMEM, "cannot watch the driver of %s: out of memory",
				       config->name);
			goto fail;
		}
		lint_names(m->lint, config->name_pc, config->name_arg);
		if (dev)
			dev->lint = m->lint;
	}

	m->region = (struct bus_region){
		.name = m->name,
		.base = config->base,
		.size = VIRTIO_MMIO_SIZE,
		.min_access = 1,
		.max_access = 8,
		.ops = &mmio_bus_ops,
		.dev = m,
	};
	code = bus_add(m->bus, &m->region, err);
	if (code) {
		m->region.ops = NULL;
		goto fail;
	}
	code = mmio_mirror_init(m, err);
	if (code)
		goto fail;
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
	mmio_mirror_off(mmio);
	reset(mmio);
	mmio->page_size = 0; /* what a driver's own reset leaves alone, see mmio_slot.h */
	lint_reset(mmio->lint, true);
	leave(mmio);
}

/* Looking at the queues, on the loop */

enum { STILL = 4 }; /* looks without a change, after which a queue whose turn it is stands still */

struct look {
	struct loop_task task;
	struct virtio_mmio *m;
	bool dump, done;
};

static void trace_line(void *arg, const char *text)
{
	struct mmio_queue *q = arg;
	char who[48];

	snprintf(who, sizeof(who), "%s.q%u", q->mmio->name, q->index);
	log_msg(q->mmio->log, LOG_TRACE, who, "%s", text);
}

static void queue_look(struct mmio_queue *q, bool dump)
{
	struct vq_outside outside = {
		.kicked = mmio_kicked(q),
		.irq = q->mmio->interrupt_status & INT_USED_BUFFER,
	};
	char why[240], line[300];
	enum vq_turn turn = vq_turn(q->vq, outside, why, sizeof(why));

	q->still = turn != VQ_TURN_NOBODYS && vq_events(q->vq) == q->events ? q->still + 1 : 0;
	q->events = vq_events(q->vq);
	if (q->still == STILL)
		vq_stalled(q->vq, outside);
	if (!(q->mmio->watch & VQ_WATCH_TRACE) || (!dump && q->still != STILL))
		return;
	vq_dump(q->vq, trace_line, q);
	snprintf(line, sizeof(line), "%s%s", dump ? "" : "nothing happens: ", why);
	trace_line(q, line);
}

static void look_run(struct loop_task *task)
{
	struct look *look = container_of(task, struct look, task);
	struct virtio_mmio *m = look->m;

	/* One that is not started is no business of the loop's. */
	for (unsigned i = 0; i < m->n_queues; i++)
		if (m->queue[i].started)
			queue_look(&m->queue[i], look->dump);
		else if (look->dump && (m->watch & VQ_WATCH_TRACE))
			trace_line(&m->queue[i], "the queue is not in use");
	pthread_mutex_lock(&m->lock);
	look->done = true;
	pthread_cond_broadcast(&m->quiet);
	pthread_mutex_unlock(&m->lock);
}

void virtio_mmio_look(struct virtio_mmio *m, bool dump)
{
	struct look look = { .task.run = look_run, .m = m, .dump = dump };

	if (!m->dev)
		return;
	if (m->lint) {
		/* Not enter(): what a reset waits for may be a disk that never answers, and the
		 * control thread has others to serve. */
		pthread_mutex_lock(&m->lock);
		if (!m->stopping)
			judge_kicks(m);
		leave(m);
	}
	if (!m->watch)
		return;
	pthread_mutex_lock(&m->lock);
	loop_post(m->dev->loop, &look.task);
	while (!look.done)
		pthread_cond_wait(&m->quiet, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

struct lint *virtio_mmio_lint(struct virtio_mmio *mmio)
{
	return mmio->lint;
}

void virtio_mmio_destroy(struct virtio_mmio *mmio)
{
	if (!mmio)
		return;
	virtio_mmio_reset(mmio);
	mmio_free(mmio);
}

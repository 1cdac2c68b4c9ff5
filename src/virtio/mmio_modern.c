/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO, version 2 (virtio 1.2, 4.2.2): its registers. All run under the lock.
 */
#include <string.h>

#include "base/bits.h"
#include "virtio/mmio_slot.h"

/* The selected queue, if its configuration may change now. */
static struct mmio_queue *configurable(struct virtio_mmio *m)
{
	struct mmio_queue *q = mmio_selected(m);

	if (!q)
		driver_wrong(m, LINT_QUEUE_NONE, 0, "queue %u set up, there are %u", m->queue_sel,
			     m->n_queues);
	else if (q->regs.ready)
		driver_wrong(m, LINT_QUEUE_IN_USE, q->index,
			     "queue %u changed while QueueReady is 1 (4.2.2.2)", q->index);
	return q && !q->regs.ready ? q : NULL;
}

static void driver_features_write(struct virtio_mmio *m, uint32_t val)
{
	lint_features_write(m->lint);
	if (m->status & VIRTIO_STATUS_FEATURES_OK) {
		driver_wrong(m, LINT_FEATURES_LATE, 0,
			     "features written after FEATURES_OK (2.2.1)");
	} else if (m->driver_features_sel > 1) {
		m->driver_features_high |= val != 0;
	} else {
		unsigned shift = 32 * m->driver_features_sel;

		m->driver_features &= ~((uint64_t)UINT32_MAX << shift);
		m->driver_features |= (uint64_t)val << shift;
	}
}

static void queue_num_write(struct virtio_mmio *m, uint32_t val)
{
	struct mmio_queue *q = configurable(m);

	if (!q)
		return;
	lint_queue_size(m->lint, q->index, val);
	if (val > m->dev->ops->queue_size_max) {
		driver_wrong(m, LINT_QUEUE_TOO_LARGE, q->index,
			     "QueueNum %u is over QueueNumMax %u (4.2.2.2)", val,
			     m->dev->ops->queue_size_max);
		val = 0; /* no size that can be set up */
	}
	q->regs.size = (uint16_t)val;
}

static uint32_t queue_ready_read(struct virtio_mmio *m)
{
	struct mmio_queue *q = mmio_selected(m);

	lint_queue_ready_read(m->lint);
	return q ? q->regs.ready : 0;
}

static void queue_ready_write(struct virtio_mmio *m, uint32_t val)
{
	struct mmio_queue *q = mmio_selected(m);

	if (!q) {
		driver_wrong(m, LINT_QUEUE_NONE, 1, "QueueReady of queue %u, there are %u",
			     m->queue_sel, m->n_queues);
	} else if (!(val & 1)) {
		if (q->regs.ready)
			lint_queue_stopped(m->lint, q->index);
		mmio_queues_stop(m, q, 1);
	} else if (!q->regs.ready) {
		lint_queue_started(m->lint);
		q->regs.ready = 1;
		if (m->status & VIRTIO_STATUS_DRIVER_OK)
			mmio_queue_activate(m, q);
	}
}

/* 2.2.2: may the driver have just these features? */
static bool features_acceptable(struct virtio_mmio *m)
{
	uint64_t beyond = m->driver_features & ~mmio_offered(m);
	const struct virtio_feature_need *lacks;

	if (beyond || m->driver_features_high)
		driver_wrong(m, LINT_FEATURE_NOT_OFFERED, 0,
			     "features 0x%llx%s accepted but not offered (2.2.1)",
			     (unsigned long long)beyond,
			     m->driver_features_high ? " and some above 63" : "");
	else if (!mmio_complete(m, m->driver_features, &lacks))
		driver_wrong(m, LINT_FEATURE_NEEDS, 0,
			     "feature %u accepted without %u, which it needs (2.2.1)",
			     lacks->feature, lacks->needs);
	else
		return true;
	return false;
}

/* A driver must accept VERSION_1 (6.1). A device may then refuse to go on (6.2), but on QEMU such
 * drivers work, xv6's for one, and here too: the registers are all that it makes a
 * difference to. */
static void judge_version(const struct virtio_mmio *m)
{
	if (!(m->driver_features & BIT(VIRTIO_F_VERSION_1)))
		lint_report(m->lint, LINT_NO_VERSION_1, 0, "VERSION_1 not accepted");
}

static void status_set(struct virtio_mmio *m, uint8_t set)
{
	m->status |=
		set & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FAILED);
	if ((set & VIRTIO_STATUS_FEATURES_OK) && features_acceptable(m)) {
		judge_version(m);
		m->status |= VIRTIO_STATUS_FEATURES_OK;
		m->dev->acked = m->driver_features;
		if (m->dev->ops->agreed)
			m->dev->ops->agreed(m->dev);
	}
	if (!(set & VIRTIO_STATUS_DRIVER_OK))
		return;
	if (!(m->status & VIRTIO_STATUS_FEATURES_OK)) {
		driver_wrong(m, LINT_NO_FEATURES_OK, 0, "DRIVER_OK without FEATURES_OK (3.1.1)");
		return;
	}
	m->status |= VIRTIO_STATUS_DRIVER_OK;
	for (unsigned i = 0; m->lint && i < m->n_queues; i++)
		if (mmio_kicked(&m->queue[i]))
			lint_report(m->lint, LINT_EARLY_KICK, i, "queue %u kicked before DRIVER_OK",
				    i);
	for (unsigned i = 0; i < m->n_queues; i++)
		if (m->queue[i].regs.ready)
			mmio_queue_activate(m, &m->queue[i]);
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
		struct mmio_queue *q = configurable(m);                    \
                                                                           \
		if (q)                                                     \
			half_set(&q->regs.part, 0, val);                   \
	}                                                                  \
	static void part##_high_write(struct virtio_mmio *m, uint32_t val) \
	{                                                                  \
		struct mmio_queue *q = configurable(m);                    \
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

/* 4.2.2: 1 while the queue is being reset. A write waits until it is, so nobody sees that. */
static uint32_t queue_reset_read(struct virtio_mmio *m)
{
	lint_queue_reset_read(m->lint);
	return 0;
}

/* 2.6.1: one queue back to as it was before it was set up, the others untouched. */
static void queue_reset_write(struct virtio_mmio *m, uint32_t val)
{
	struct mmio_queue *q = mmio_selected(m);

	if (!(m->dev->acked & BIT(VIRTIO_F_RING_RESET)))
		driver_wrong(m, LINT_QUEUE_RESET, 0, "QueueReset without RING_RESET (2.6.1)");
	else if (!q)
		driver_wrong(m, LINT_QUEUE_NONE, 2, "QueueReset of queue %u, there are %u",
			     m->queue_sel, m->n_queues);
	else if (val & 1) {
		lint_queue_reset(m->lint, q->index);
		mmio_queues_stop(m, q, 1);
		memset(&q->regs, 0, sizeof(q->regs));
	}
}

static uint32_t generation_read(struct virtio_mmio *m)
{
	lint_generation_read(m->lint);
	return m->generation;
}

static const struct mmio_reg regs[CONFIG / 4] = {
	[DRIVER_FEATURES / 4] = { "DriverFeatures", NULL, driver_features_write, false },
	[QUEUE_NUM / 4] = { "QueueNum", NULL, queue_num_write, false },
	[QUEUE_READY / 4] = { "QueueReady", queue_ready_read, queue_ready_write, false },
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
	[QUEUE_RESET / 4] = { "QueueReset", queue_reset_read, queue_reset_write, false },
	[CONFIG_GENERATION / 4] = { "ConfigGeneration", generation_read, NULL, false },
};

const struct mmio_version mmio_modern = {
	.number = 2,
	.features = BIT(VIRTIO_F_VERSION_1) | /* 6.2 */
		    BIT(VIRTIO_F_NOTIFICATION_DATA) | BIT(VIRTIO_F_RING_RESET),
	.possible = ~0ULL,
	.regs = regs,
	.status_set = status_set,
};

/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO, version 1 (virtio 1.2, 4.2.4, 2.7.2, 3.1.2): its registers, as drivers from
 * before virtio 1.0 know them. All run under the lock.
 *
 * A queue's rings lie in one piece at QueuePFN x GuestPageSize: descriptors, available ring, and at
 * the next multiple of QueueAlign the used ring. The queue works from the moment that QueuePFN is
 * written: there is no FEATURES_OK, and drivers use the device before DRIVER_OK (3.1.2).
 */
#include "base/bits.h"
#include "virtio/mmio_slot.h"

/* What a driver leaves unwritten: 4096 has always been the alignment of the used ring, and a page
 * number without a page size an address. */
enum { ALIGN_DEFAULT = 4096, PAGE_SIZE_DEFAULT = 1 };

/* The selected queue, if it exists. */
static struct mmio_queue *existing(struct virtio_mmio *m)
{
	struct mmio_queue *q = mmio_selected(m);

	if (!q)
		driver_wrong(m, LINT_QUEUE_NONE, 0, "queue %u set up, there are %u", m->queue_sel,
			     m->n_queues);
	return q;
}

/* The selected queue, if its configuration may change now. */
static struct mmio_queue *configurable(struct virtio_mmio *m)
{
	struct mmio_queue *q = existing(m);

	if (!q || !q->pfn)
		return q;
	driver_wrong(m, LINT_QUEUE_IN_USE, q->index,
		     "queue %u changed while QueuePFN is not 0 (4.2.4)", q->index);
	return NULL;
}

/* A queue that works already goes on under the features that are known now. */
static void driver_features_write(struct virtio_mmio *m, uint32_t val)
{
	uint64_t offered = mmio_offered(m);

	lint_features_write(m->lint);
	if (m->driver_features_sel) /* there are 32 bits of them */
		return;
	if (val & ~offered)
		driver_wrong(m, LINT_FEATURE_NOT_OFFERED, 0,
			     "features 0x%llx accepted but not offered (2.2.1)",
			     (unsigned long long)(val & ~offered));
	m->driver_features = val & offered;
	mmio_queues_pause(m, m->queue, m->n_queues);
	m->dev->acked = m->driver_features;
	for (unsigned i = 0; i < m->n_queues; i++) {
		struct mmio_queue *q = &m->queue[i];

		if (!vq_state(q->vq)->size)
			continue;
		q->regs = *vq_state(q->vq);
		mmio_queue_activate(m, q);
	}
}

static void guest_page_size_write(struct virtio_mmio *m, uint32_t val)
{
	if (!is_pow2(val))
		driver_wrong(m, LINT_LEGACY_PAGE_SIZE_ODD, 0,
			     "GuestPageSize %u is not a power of two (4.2.4)", val);
	else
		m->page_size = val;
}

static void queue_num_write(struct virtio_mmio *m, uint32_t val)
{
	struct mmio_queue *q = configurable(m);

	if (!q)
		return;
	lint_queue_size(m->lint, q->index, val);
	if (val > m->dev->ops->queue_size_max)
		driver_wrong(m, LINT_QUEUE_TOO_LARGE, q->index,
			     "QueueNum %u is over QueueNumMax %u (4.2.4)", val,
			     m->dev->ops->queue_size_max);
	else
		q->regs.size = (uint16_t)val;
}

static void queue_align_write(struct virtio_mmio *m, uint32_t val)
{
	struct mmio_queue *q = configurable(m);

	if (!q)
		return;
	if (!is_pow2(val))
		driver_wrong(m, LINT_LEGACY_ALIGN_ODD, q->index,
			     "QueueAlign %u is not a power of two (4.2.4)", val);
	else
		q->align = val;
}

static uint32_t queue_pfn_read(struct virtio_mmio *m)
{
	struct mmio_queue *q = mmio_selected(m);

	return q ? q->pfn : 0;
}

/* 2.7.2: where the parts of the ring lie. */
static void place(struct vq_state *s, gpa_t at, uint32_t align)
{
	s->desc = at;
	s->avail = at + 16ULL * s->size;
	s->used = align_up(s->avail + 2ULL * (3 + s->size), align);
}

static void queue_pfn_write(struct virtio_mmio *m, uint32_t val)
{
	struct mmio_queue *q = existing(m);
	uint32_t page = m->page_size ? m->page_size : PAGE_SIZE_DEFAULT;

	if (!q)
		return;
	if (q->pfn)
		mmio_queues_stop(m, q, 1);
	q->pfn = val;
	if (!val) {
		q->regs = (struct vq_state){ 0 };
		q->align = 0;
		return;
	}
	if (!m->page_size)
		driver_wrong(m, LINT_LEGACY_PAGE_SIZE, q->index,
			     "QueuePFN written before GuestPageSize (4.2.4): taken for an address");
	if (!q->align)
		lint_report(m->lint, LINT_LEGACY_ALIGN, q->index,
			    "QueuePFN 0x%x and no QueueAlign before it: taken for %u", val,
			    (unsigned)ALIGN_DEFAULT);
	q->regs = (struct vq_state){
		.size = q->regs.size ? q->regs.size : m->dev->ops->queue_size_max,
		.ready = 1,
	};
	place(&q->regs, (uint64_t)val * page, q->align ? q->align : ALIGN_DEFAULT);
	mmio_queue_activate(m, q);
}

static void status_set(struct virtio_mmio *m, uint8_t set)
{
	if (set & VIRTIO_STATUS_FEATURES_OK)
		driver_wrong(m, LINT_LEGACY_FEATURES_OK, 0,
			     "FEATURES_OK set, which a legacy device does not know (3.1.2)");
	m->status |= set;
}

static const struct mmio_reg regs[CONFIG / 4] = {
	[DRIVER_FEATURES / 4] = { "GuestFeatures", NULL, driver_features_write, false },
	[GUEST_PAGE_SIZE / 4] = { "GuestPageSize", NULL, guest_page_size_write, false },
	[QUEUE_NUM / 4] = { "QueueNum", NULL, queue_num_write, false },
	[QUEUE_ALIGN / 4] = { "QueueAlign", NULL, queue_align_write, false },
	[QUEUE_PFN / 4] = { "QueuePFN", queue_pfn_read, queue_pfn_write, false },
};

const struct mmio_version mmio_legacy = {
	.number = 1,
	.features = BIT(VIRTIO_F_ANY_LAYOUT),
	.possible = UINT32_MAX, /* 4.2.4: nothing of virtio 1.0 and after */
	.regs = regs,
	.status_set = status_set,
};

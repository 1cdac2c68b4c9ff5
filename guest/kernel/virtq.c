/* SPDX-License-Identifier: MIT */
/*
 * The split virtqueue (virtio 1.2, 2.7): three arrays in memory.
 *
 *      descriptor table             available ring              used ring
 *      +-----------------------+    (we write, the device       (the device writes,
 *    0 | addr len flags next --+-+   reads)                      we read)
 *    1 | addr len flags next <-+-+  idx: 1                      idx: 1
 *    2 | ...                   |    ring: 0, ...                ring: {0, 513}, ...
 *      +-----------------------+
 *
 * A request is a chain of descriptors, each a piece of memory that the device reads or writes. The
 * number of the first one goes into the available ring; once it is in the used ring, the chain is
 * ours again. Both idx count up for ever, modulo 65536; the ring's place is idx modulo its size.
 *
 * The device looks whenever it likes. So the order of writes is all that protects us: first the
 * descriptors, then the ring's element, then idx; and when reading, the other way around.
 */
#include "virtio.h"

/*
 * Both layouts of registers take this one layout of memory, which legacy devices expect (2.7.2):
 * the table, behind it the available ring, and on the next page the used ring.
 */
bool virtq_init(struct virtq *q, struct virtio *dev, u16 index, u16 size)
{
	virtio_write(dev, QUEUE_SEL, index);
	/* 4.2.3.2: the queue must not be in use. */
	if (virtio_read(dev, dev->legacy ? QUEUE_PFN : QUEUE_READY))
		return false;
	u32 max = virtio_read(dev, QUEUE_NUM_MAX);
	/* 2.7: a power of two, which halves stay. 0: the device has no such queue. */
	while (size > max)
		size /= 2;
	if (!size)
		return false;

	size_t table = size * sizeof(struct virtq_desc);
	size_t avail = sizeof(struct virtq_avail) + (size + 1u) * sizeof(u16);
	size_t used = sizeof(struct virtq_used) + size * sizeof(struct virtq_used_elem) + 2;
	size_t used_at = ALIGN_UP(table + avail, PAGE_SIZE);
	u8 *memory = pages_alloc(ALIGN_UP(used_at + used, PAGE_SIZE) / PAGE_SIZE);

	*q = (struct virtq){
		.dev = dev,
		.index = index,
		.size = size,
		.desc = (void *)memory,
		.avail = (void *)(memory + table),
		.used = (void *)(memory + used_at),
	};
	virtio_write(dev, QUEUE_NUM, size);
	fence_all(); /* the zeros are there before the device is told where */
	if (dev->legacy) {
		virtio_write(dev, QUEUE_ALIGN, PAGE_SIZE);
		virtio_write(dev, QUEUE_PFN, (u32)((uintptr_t)memory / PAGE_SIZE));
		return true;
	}
	u64 desc_at = (uintptr_t)q->desc, avail_at = (uintptr_t)q->avail;
	u64 used_ring_at = (uintptr_t)q->used;
	virtio_write(dev, QUEUE_DESC_LOW, (u32)desc_at);
	virtio_write(dev, QUEUE_DESC_HIGH, (u32)(desc_at >> 32));
	virtio_write(dev, QUEUE_DRIVER_LOW, (u32)avail_at);
	virtio_write(dev, QUEUE_DRIVER_HIGH, (u32)(avail_at >> 32));
	virtio_write(dev, QUEUE_DEVICE_LOW, (u32)used_ring_at);
	virtio_write(dev, QUEUE_DEVICE_HIGH, (u32)(used_ring_at >> 32));
	virtio_write(dev, QUEUE_READY, 1);
	return true;
}

/* 2.7.13. */
void virtq_add(struct virtq *q, u16 head)
{
	q->avail->ring[q->next_avail % q->size] = head;
	fence_write(); /* 2.7.13.3.1: the chain and the element before idx */
	q->avail->idx = ++q->next_avail;
}

void virtq_notify(struct virtq *q)
{
	/*
	 * 2.7.13.4.1: idx must be seen before we look at the flag, or we may miss that the device
	 * has just gone to sleep; and before the notification, which is a write to a device.
	 */
	fence_all();
	if (!(q->used->flags & VIRTQ_USED_F_NO_NOTIFY))
		virtio_write(q->dev, QUEUE_NOTIFY, q->index);
}

/* 2.7.14. */
bool virtq_take(struct virtq *q, struct virtq_used_elem *elem)
{
	if (q->used->idx == q->next_used)
		return false;
	fence_read(); /* idx before the element, and before all that the device wrote */
	elem->id = q->used->ring[q->next_used % q->size].id;
	elem->len = q->used->ring[q->next_used % q->size].len;
	q->next_used++;
	return true;
}

void virtq_interrupts(struct virtq *q, bool on)
{
	q->avail->flags = on ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT; /* 2.7.7 */
	fence_all();
}

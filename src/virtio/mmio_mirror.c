/* SPDX-License-Identifier: MIT */
/*
 * Registers that a guest reads without leaving it.
 *
 * A driver at work touches two registers for each interrupt: it reads InterruptStatus and writes
 * InterruptACK. With an engine on the host's CPU each access costs a way out of the guest and back,
 * so where the engine can (bus_mirror_add()), reads are answered by a page of memory with all
 * registers in it. Nobody sees such reads, and what is in the page must be right. So there is one
 * only while a driver does nothing but work: it comes after a number of acknowledgements in a row
 * with no access between them but reads of InterruptStatus, and goes before any other write has an
 * effect, and before the device changes what can be read. While it is there, nothing in it changes
 * but InterruptStatus. What the lint misses are reads, at such times, that no write comes before.
 *
 * A driver that is at rest again and again, but not for long, would have a page made and unmade
 * each time, which is dear: the number doubles each time.
 *
 * Threads: all under the slot's lock, but for mmio_mirror_interrupt(): under irq_lock, which is
 * what InterruptStatus is guarded by, in the page too.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "virtio/mmio_front.h"

enum { CALM_FIRST = 16, CALM_MAX = 1 << 16 };

static void put(struct virtio_mmio *m, unsigned off, uint32_t val)
{
	le32_t word = le32(val);

	memcpy(m->mirror + off, &word, sizeof(word));
}

void mmio_mirror_interrupt(struct virtio_mmio *m)
{
	/* One store, since the guest may read it now. */
	if (m->mirror)
		atomic_store_explicit((_Atomic uint32_t *)(void *)(m->mirror + INTERRUPT_STATUS),
				      le32(m->interrupt_status).raw, memory_order_release);
}

/* What mmio_read() gives, without its being the driver that reads. */
static void fill(struct virtio_mmio *m)
{
	const struct mmio_queue *q = mmio_selected(m);

	memset(m->mirror, 0, VIRTIO_MMIO_SIZE);
	/* Behind the registers is nothing, which reads as ones. */
	memset(m->mirror + VIRTIO_MMIO_SIZE, 0xff, BUS_MIRROR_SIZE - VIRTIO_MMIO_SIZE);
	put(m, MAGIC_VALUE, MMIO_MAGIC);
	put(m, VERSION, m->front->version);
	put(m, DEVICE_ID, m->dev->ops->id);
	put(m, VENDOR_ID, MMIO_VENDOR_VALUE);
	put(m, DEVICE_FEATURES, mmio_features_word(m));
	put(m, QUEUE_NUM_MAX, q ? m->dev->ops->queue_size_max : 0);
	put(m, QUEUE_READY, q ? q->regs.ready : 0);
	put(m, STATUS, m->status);
	for (unsigned off = SHM_LEN_LOW; off <= SHM_BASE_HIGH; off += 4)
		put(m, off, UINT32_MAX); /* no shared memory */
	put(m, CONFIG_GENERATION, m->generation);
	m->dev->ops->config_read(m->dev, 0, m->mirror + CONFIG, m->dev->ops->config_size);
	pthread_mutex_lock(&m->irq_lock);
	mmio_mirror_interrupt(m);
	pthread_mutex_unlock(&m->irq_lock);
}

static void on(struct virtio_mmio *m)
{
	/* The two versions differ in what can be read, and the old one is not for speed. */
	if (m->front != &mmio_modern || CONFIG + m->dev->ops->config_size > VIRTIO_MMIO_SIZE) {
		m->no_mirror = true;
		return;
	}
	if (!m->mirror) {
		void *page = aligned_alloc(BUS_MIRROR_SIZE, BUS_MIRROR_SIZE);

		pthread_mutex_lock(&m->irq_lock);
		m->mirror = page;
		pthread_mutex_unlock(&m->irq_lock);
	}
	if (!m->mirror)
		return;
	fill(m);
	m->mirrored = bus_mirror_add(m->bus, &m->region, m->mirror) == 0;
	m->no_mirror = !m->mirrored;
}

void mmio_mirror_off(struct virtio_mmio *m)
{
	m->calm = 0;
	if (!m->mirrored)
		return;
	bus_mirror_del(m->bus, &m->region);
	m->mirrored = false;
	if (m->calm_needed < CALM_MAX)
		m->calm_needed *= 2;
}

void mmio_mirror_acknowledged(struct virtio_mmio *m)
{
	if (m->mirrored || m->no_mirror)
		return;
	if (!m->calm_needed)
		m->calm_needed = CALM_FIRST;
	if (++m->calm >= m->calm_needed && (m->status & VIRTIO_STATUS_DRIVER_OK) &&
	    !(m->status & VIRTIO_STATUS_NEEDS_RESET))
		on(m);
}

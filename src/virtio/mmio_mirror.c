/* SPDX-License-Identifier: MIT */
/*
 * Registers that a guest reads without leaving it.
 *
 * A driver at work touches two registers for each interrupt: it reads InterruptStatus and writes
 * InterruptACK. With an engine on the host's CPU each access costs a way out of the guest and back,
 * so where the engine can (bus_mirror_add()), reads are answered by a page of memory with all
 * registers in it. Nobody sees such reads, and what is in the page must be right. So there is one
 * only while drivers do nothing but work: it comes after a number of acknowledgements in a row with
 * no access between them but reads of InterruptStatus, and goes before any other write has an
 * effect, and before a device changes what can be read. While it is there, nothing in it changes
 * but InterruptStatus. What the lint misses are reads, at such times, that no write comes before.
 *
 * Slots may share a page, each with a part of it. Then all of those with a device must be at work,
 * or rest after work: a slot is shown, its part of the page is right, from the first
 * acknowledgement until something is written or changed. What an empty slot has never changes.
 *
 * Drivers that are at rest again and again, but not for long, would have a page made and unmade
 * each time, which is dear: the number doubles each time.
 *
 * Threads: all under the slot's lock, but for mmio_mirror_interrupt(): under irq_lock, which is
 * what InterruptStatus is guarded by, in the page too. What slots share is under the page's lock,
 * taken last.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "bus/bus.h"
#include "virtio/mmio_slot.h"

enum { CALM_FIRST = 16, CALM_MAX = 1 << 16, SLOTS = BUS_MIRROR_SIZE / VIRTIO_MMIO_SIZE };

struct mmio_page {
	uint64_t addr;
	struct virtio_mmio *slots[SLOTS]; /* until the vCPUs run they come, and go when those do */

	pthread_mutex_t lock;
	uint8_t *memory;             /* once it was needed */
	unsigned n_devices, n_shown; /* slots with a device; those whose part is right */
	unsigned calm, calm_needed;  /* acknowledgements in a row; and how many it takes */
	bool never;                  /* this engine, or a slot, cannot have that */
	atomic_bool on;              /* reads come from it; changed under the lock */
};

static unsigned place(const struct virtio_mmio *m)
{
	return (unsigned)(m->region.base % BUS_MIRROR_SIZE / VIRTIO_MMIO_SIZE);
}

static void put(uint8_t *part, unsigned off, uint32_t val)
{
	le32_t word = le32(val);

	memcpy(part + off, &word, sizeof(word));
}

void mmio_mirror_interrupt(struct virtio_mmio *m)
{
	if (!m->mirror)
		return;
	/* One store, since the guest may read it now. */
	atomic_store_explicit((_Atomic uint32_t *)(void *)(m->mirror + INTERRUPT_STATUS),
			      le32(m->interrupt_status).raw, memory_order_release);
	bus_mirror_written(m->bus, m->mirror + INTERRUPT_STATUS, sizeof(uint32_t));
}

/* What mmio_read() gives, without its being the driver that reads. */
static void fill(struct virtio_mmio *m, uint8_t *part)
{
	const struct mmio_queue *q = mmio_selected(m);

	memset(part, 0, VIRTIO_MMIO_SIZE);
	put(part, MAGIC_VALUE, MMIO_MAGIC);
	put(part, VERSION, m->version->number);
	put(part, VENDOR_ID, MMIO_VENDOR_VALUE);
	if (!m->dev)
		return;
	put(part, DEVICE_ID, m->dev->ops->id);
	put(part, DEVICE_FEATURES, mmio_features_word(m));
	put(part, QUEUE_NUM_MAX, q ? m->dev->ops->queue_size_max : 0);
	put(part, QUEUE_READY, q ? q->regs.ready : 0);
	put(part, STATUS, m->status);
	for (unsigned off = SHM_LEN_LOW; off <= SHM_BASE_HIGH; off += 4)
		put(part, off, UINT32_MAX); /* no shared memory */
	put(part, CONFIG_GENERATION, m->generation);
	m->dev->ops->config_read(m->dev, 0, part + CONFIG, m->dev->ops->config_size);
}

/* Memory for the page, under its lock; NULL: there is none. */
static uint8_t *memory(struct mmio_page *page)
{
	if (page->memory)
		return page->memory;
	page->memory = aligned_alloc(BUS_MIRROR_SIZE, BUS_MIRROR_SIZE);
	if (!page->memory)
		return NULL;
	/* Where no register is reads as ones. */
	memset(page->memory, 0xff, BUS_MIRROR_SIZE);
	for (unsigned i = 0; i < SLOTS; i++)
		if (page->slots[i] && !page->slots[i]->dev)
			fill(page->slots[i], page->memory + i * VIRTIO_MMIO_SIZE);
	return page->memory;
}

static void show(struct virtio_mmio *m)
{
	struct mmio_page *page = m->page;
	uint8_t *part;

	pthread_mutex_lock(&page->lock);
	part = memory(page);
	pthread_mutex_unlock(&page->lock);
	if (!part)
		return;
	part += place(m) * VIRTIO_MMIO_SIZE;
	fill(m, part);
	pthread_mutex_lock(&m->irq_lock);
	m->mirror = part;
	mmio_mirror_interrupt(m);
	pthread_mutex_unlock(&m->irq_lock);
	m->shown = true;
	pthread_mutex_lock(&page->lock);
	page->n_shown++;
	pthread_mutex_unlock(&page->lock);
}

void mmio_mirror_off(struct virtio_mmio *m)
{
	struct mmio_page *page = m->page;

	if (!page || !m->dev)
		return;
	pthread_mutex_lock(&page->lock);
	page->calm = 0;
	if (m->shown) {
		m->shown = false;
		page->n_shown--;
	}
	if (page->on) {
		bus_mirror_del(m->bus, page->addr);
		page->on = false;
		if (page->calm_needed < CALM_MAX)
			page->calm_needed *= 2;
	}
	pthread_mutex_unlock(&page->lock);
}

void mmio_mirror_read(struct virtio_mmio *m)
{
	struct mmio_page *page = m->page;

	if (!page || !m->dev)
		return;
	pthread_mutex_lock(&page->lock);
	page->calm = 0;
	pthread_mutex_unlock(&page->lock);
}

void mmio_mirror_acknowledged(struct virtio_mmio *m)
{
	struct mmio_page *page = m->page;

	if (!page || atomic_load_explicit(&page->on, memory_order_relaxed) ||
	    !(m->status & VIRTIO_STATUS_DRIVER_OK) || (m->status & VIRTIO_STATUS_NEEDS_RESET))
		return;
	if (!m->shown)
		show(m);
	pthread_mutex_lock(&page->lock);
	if (++page->calm >= page->calm_needed && page->n_shown == page->n_devices && !page->on &&
	    !page->never) {
		bus_mirror_written(m->bus, page->memory, BUS_MIRROR_SIZE);
		page->on = bus_mirror_add(m->bus, page->addr, page->memory) == 0;
		page->never = !page->on;
	}
	pthread_mutex_unlock(&page->lock);
}

/* A neighbour's page, or a new one. */
static struct mmio_page *find_page(const struct virtio_mmio *m, uint64_t addr)
{
	struct mmio_page *page;

	for (unsigned i = 0; i < SLOTS; i++) {
		const struct bus_region *r = bus_find(m->bus, addr + i * VIRTIO_MMIO_SIZE);

		if (r && r != &m->region && r->ops == m->region.ops)
			return ((struct virtio_mmio *)r->dev)->page;
	}
	page = calloc(1, sizeof(*page));
	if (page) {
		page->addr = addr;
		page->calm_needed = CALM_FIRST;
		pthread_mutex_init(&page->lock, NULL);
	}
	return page;
}

int mmio_mirror_init(struct virtio_mmio *m, struct err *err)
{
	m->page = find_page(m, align_down(m->region.base, BUS_MIRROR_SIZE));
	if (!m->page)
		return err_set(err, -ENOMEM, "no memory for the virtio slot %s", m->name);
	m->page->slots[place(m)] = m;
	m->page->n_devices += m->dev != NULL;
	/* The two versions differ in what can be read, and the old one is not for speed. */
	if (m->dev &&
	    (m->version != &mmio_modern || CONFIG + m->dev->ops->config_size > VIRTIO_MMIO_SIZE))
		m->page->never = true;
	return 0;
}

void mmio_mirror_fini(struct virtio_mmio *m)
{
	struct mmio_page *page = m->page;
	bool last = true;

	if (!page)
		return;
	mmio_mirror_off(m);
	page->n_devices -= m->dev != NULL;
	page->slots[place(m)] = NULL;
	for (unsigned i = 0; i < SLOTS; i++)
		last &= !page->slots[i];
	m->page = NULL;
	pthread_mutex_lock(&m->irq_lock);
	m->mirror = NULL;
	pthread_mutex_unlock(&m->irq_lock);
	if (!last)
		return;
	pthread_mutex_destroy(&page->lock);
	free(page->memory);
	free(page);
}

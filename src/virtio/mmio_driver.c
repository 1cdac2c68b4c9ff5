/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of virtio over MMIO; see mmio_driver.h.
 *
 * The ring's parts lie in one piece (virtio 1.2, 2.7.2), which is good for both versions. Event
 * indices are not taken: flags are enough for a driver that kicks once per batch and sleeps until
 * it is answered.
 */
#include "virtio/mmio_driver.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "bus/bus.h"
#include "virtio/mmio_regs.h"
#include "virtio/virtio.h"

/* 2.7.5 */
struct desc {
	le64_t addr;
	le32_t len;
	le16_t flags, next;
};
_Static_assert(sizeof(struct desc) == 16, "2.7.5");
enum { DESC_F_NEXT = 1, DESC_F_WRITE = 2 };

/* 2.7.8 */
struct used_elem {
	le32_t id, len;
};

/* Offsets into the available ring (2.7.6) and the used ring (2.7.8) */
enum { RING_FLAGS = 0, RING_IDX = 2, RING_ENTRIES = 4 };
enum { USED_F_NO_NOTIFY = 1 };

enum { PAGE = 4096 }; /* GuestPageSize, QueueAlign */

enum { PATIENCE_MS = 30000 };

/* ---- Registers and memory ---- */

static uint32_t get(const struct mmio_driver *d, uint32_t reg)
{
	uint64_t val = 0;

	bus_read(d->bus, d->base + reg, 4, &val);
	return (uint32_t)val;
}

static void set(struct mmio_driver *d, uint32_t reg, uint32_t val)
{
	bus_write(d->bus, d->base + reg, 4, val);
}

/* Registers come in pairs: the high word is 4 above the low one. */
static void set64(struct mmio_driver *d, uint32_t reg, uint64_t val)
{
	set(d, reg, (uint32_t)val);
	set(d, reg + 4, (uint32_t)(val >> 32));
}

gpa_t mmio_driver_alloc(struct mmio_driver *d, uint64_t size)
{
	gpa_t gpa = d->next;

	size = align_up(size, PAGE);
	assert(size <= d->end - d->next);
	d->next += size;
	return gpa;
}

void *mmio_driver_ptr(const struct mmio_driver *d, gpa_t gpa, uint64_t len)
{
	void *p = NULL;
	int res = gmem_map(d->mem, gpa, len, GMEM_READ, &p);

	assert(!res);
	(void)res;
	return p;
}

static uint16_t load16(const struct mmio_driver *d, gpa_t gpa)
{
	uint16_t val = 0;

	gmem_load16(d->mem, gpa, &val);
	return val;
}

/* ---- Setting up ---- */

static void irq_changed(void *chip, unsigned pin, bool level)
{
	struct mmio_driver *d = chip;

	(void)pin;
	if (level)
		notifier_set(&d->irq);
}

struct irq_line mmio_driver_irq(struct mmio_driver *d)
{
	static const struct irq_ops ops = { .set = irq_changed };

	return (struct irq_line){ .ops = &ops, .chip = d };
}

int mmio_driver_init(struct mmio_driver *d, struct bus *bus, uint64_t base, struct gmem *mem,
		     gpa_t ram, uint64_t size, struct err *err)
{
	*d = (struct mmio_driver){
		.bus = bus, .base = base, .mem = mem, .next = ram, .end = ram + size
	};
	return notifier_init(&d->irq, err);
}

void mmio_driver_fini(struct mmio_driver *d)
{
	notifier_fini(&d->irq);
}

/* Write 0 to Status and read until it is 0. */
static void reset(struct mmio_driver *d)
{
	set(d, STATUS, 0);
	while (get(d, STATUS)) /* hako's registers wait by themselves; others may not */
		;
}

/* Reads in two halves, hence the selectors, hence not really const; nobody else is there. */
uint64_t mmio_driver_offered(const struct mmio_driver *d)
{
	uint64_t low;

	bus_write(d->bus, d->base + DEVICE_FEATURES_SEL, 4, 0);
	low = get(d, DEVICE_FEATURES);
	bus_write(d->bus, d->base + DEVICE_FEATURES_SEL, 4, 1);
	return low | (uint64_t)get(d, DEVICE_FEATURES) << 32;
}

uint64_t mmio_driver_config(const struct mmio_driver *d, uint32_t off, unsigned width)
{
	uint64_t low = 0, high = 0;
	uint32_t before;

	if (width < 8) {
		bus_read(d->bus, d->base + CONFIG + off, width, &low);
		return low;
	}
	do {
		before = d->legacy ? 0 : get(d, CONFIG_GENERATION);
		low = get(d, CONFIG + off);
		high = get(d, CONFIG + off + 4);
	} while (!d->legacy && get(d, CONFIG_GENERATION) != before);
	return low | high << 32;
}

/* Lay the ring out and make it known. */
static void queue_begin(struct mmio_driver *d, uint16_t size)
{
	uint64_t used = align_up(16ULL * size + 6 + 2ULL * size, PAGE);
	gpa_t ring = mmio_driver_alloc(d, used + 6 + 8ULL * size);

	d->size = d->n_free = size;
	d->desc = ring;
	d->avail = ring + 16ULL * size;
	d->used = ring + used;
	d->avail_idx = d->last_used = d->free_head = 0;
	for (uint16_t i = 0; i < size; i++)
		d->link[i] = (uint16_t)(i + 1);
	set(d, QUEUE_NUM, size);
	if (d->legacy) {
		set(d, QUEUE_ALIGN, PAGE);
		set(d, QUEUE_PFN, (uint32_t)(ring / PAGE));
		return;
	}
	set64(d, QUEUE_DESC_LOW, d->desc);
	set64(d, QUEUE_DRIVER_LOW, d->avail);
	set64(d, QUEUE_DEVICE_LOW, d->used);
	set(d, QUEUE_READY, 1);
}

static int refused(struct err *err, const char *what)
{
	return err_set(err, -ENODEV, "the virtio device cannot be driven: %s", what);
}

int mmio_driver_begin(struct mmio_driver *d, uint16_t device_id, uint64_t want, struct err *err)
{
	uint32_t status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER, max;

	if (get(d, MAGIC_VALUE) != MMIO_MAGIC || get(d, DEVICE_ID) != device_id)
		return refused(err, "it is not there");
	d->legacy = get(d, VERSION) == 1;
	reset(d);
	set(d, STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
	set(d, STATUS, status);
	d->features = mmio_driver_offered(d) & want;
	set(d, DRIVER_FEATURES_SEL, 0);
	set(d, DRIVER_FEATURES, (uint32_t)d->features);
	if (d->legacy) {
		set(d, GUEST_PAGE_SIZE, PAGE);
	} else {
		set(d, DRIVER_FEATURES_SEL, 1);
		set(d, DRIVER_FEATURES, (uint32_t)(d->features >> 32));
		status |= VIRTIO_STATUS_FEATURES_OK;
		set(d, STATUS, status);
		if (!(get(d, STATUS) & VIRTIO_STATUS_FEATURES_OK))
			return refused(err, "it refuses the features");
	}
	set(d, QUEUE_SEL, 0);
	max = get(d, QUEUE_NUM_MAX);
	if (!max)
		return refused(err, "it has no queue");
	while (!is_pow2(max)) /* 2.7: the split ring wants that */
		max &= max - 1;
	queue_begin(d, (uint16_t)(max < MMIO_DRIVER_SIZE ? max : MMIO_DRIVER_SIZE));
	set(d, STATUS, status | VIRTIO_STATUS_DRIVER_OK);
	if (get(d, STATUS) != (status | VIRTIO_STATUS_DRIVER_OK))
		return refused(err, "it needs a reset at once");
	return 0;
}

/* ---- The ring ---- */

int mmio_driver_add(struct mmio_driver *d, const struct mmio_buf *buf, unsigned n_out,
		    unsigned n_in)
{
	struct desc *table = mmio_driver_ptr(d, d->desc, 16ULL * d->size);
	unsigned n = n_out + n_in;
	uint16_t head = d->free_head, at = head;
	le16_t entry = le16(head);

	if (n > d->n_free)
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++) {
		unsigned flags = (i >= n_out ? DESC_F_WRITE : 0U) | (i + 1 < n ? DESC_F_NEXT : 0U);

		table[at] = (struct desc){
			.addr = le64(buf[i].gpa),
			.len = le32(buf[i].len),
			.flags = le16((uint16_t)flags),
			.next = le16(flags & DESC_F_NEXT ? d->link[at] : 0),
		};
		at = d->link[at];
	}
	d->free_head = at;
	d->n_free = (uint16_t)(d->n_free - n);
	d->count[head] = (uint16_t)n;
	gmem_write(d->mem, d->avail + RING_ENTRIES + 2ULL * (d->avail_idx & (d->size - 1U)), &entry,
		   sizeof(entry));
	d->avail_idx++;
	return head;
}

void mmio_driver_kick(struct mmio_driver *d)
{
	gmem_store16(d->mem, d->avail + RING_IDX, d->avail_idx); /* release */
	/* 2.7.13.4.1: what is available is seen before the device's wish is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(load16(d, d->used + RING_FLAGS) & USED_F_NO_NOTIFY))
		set(d, QUEUE_NOTIFY, 0);
}

static void chain_free(struct mmio_driver *d, uint16_t head)
{
	uint16_t last = head;

	for (unsigned i = 1; i < d->count[head]; i++)
		last = d->link[last];
	d->link[last] = d->free_head;
	d->free_head = head;
	d->n_free = (uint16_t)(d->n_free + d->count[head]);
	d->count[head] = 0;
}

/* Sleep until the device interrupts, and acknowledge it: what it has published by then is found by
 * whoever looks afterwards, and what it publishes later interrupts again. */
static int interrupt_wait(struct mmio_driver *d)
{
	struct pollfd fd = { .fd = d->irq.rfd, .events = POLLIN };
	int res;

	do {
		res = poll(&fd, 1, PATIENCE_MS);
	} while (res < 0 && errno == EINTR);
	if (res <= 0)
		return res < 0 ? -errno : -ETIMEDOUT;
	notifier_clear(&d->irq);
	set(d, INTERRUPT_ACK, get(d, INTERRUPT_STATUS));
	return 0;
}

int mmio_driver_wait(struct mmio_driver *d, uint32_t *len)
{
	struct used_elem e;
	uint32_t head;
	int res;

	while (load16(d, d->used + RING_IDX) == d->last_used) {
		res = interrupt_wait(d);
		if (res)
			return res;
	}
	gmem_read(d->mem, d->used + RING_ENTRIES + 8ULL * (d->last_used & (d->size - 1U)), &e,
		  sizeof(e));
	d->last_used++;
	head = le32_get(e.id);
	*len = le32_get(e.len);
	if (head >= d->size || !d->count[head])
		return -EPROTO;
	chain_free(d, (uint16_t)head);
	return (int)head;
}

/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of virtio; see vdriver.h. Numbers of sections are those of virtio 1.2.
 */
#include "vdriver.h"

#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "bus/bus.h"
#include "virtio/virtio.h"

/* The test rig is broken, not the device under test: nothing sensible can follow. */
#define rig_assert(cond)                                                                   \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                           \
		}                                                                          \
	} while (0)

/* Interrupt line */

static void irq_changed(void *chip, unsigned pin, bool level)
{
	struct vd_irq *irq = chip;

	(void)pin;
	if (atomic_exchange(&irq->level, level) != level && level)
		atomic_fetch_add(&irq->rises, 1);
}

static const struct irq_ops irq_ops = { .set = irq_changed };

struct irq_line vd_irq_line(struct vd_irq *irq)
{
	return (struct irq_line){ .ops = &irq_ops, .chip = irq };
}

/* Memory and registers */

void vd_init(struct vdriver *d, struct gmem *mem, struct bus *bus, uint64_t base, gpa_t ram,
	     uint64_t size)
{
	*d = (struct vdriver){
		.mem = mem, .bus = bus, .base = base, .next = ram, .end = ram + size
	};
}

void *vd_ptr(struct vdriver *d, gpa_t gpa, uint64_t len)
{
	void *p = NULL;

	rig_assert(!gmem_map(d->mem, gpa, len, GMEM_READ, &p));
	return p;
}

/* As a guest of the software CPU stores: engine/soft/access.h. */
#if defined(__SANITIZE_THREAD__)
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))
#else
#define UNSEEN
#endif
static UNSEEN void put_unseen(volatile uint8_t *to, const uint8_t *from, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		to[i] = from ? from[i] : 0;
}

void vd_put(struct vdriver *d, gpa_t gpa, const void *src, uint64_t len)
{
	uint8_t *to = vd_ptr(d, gpa, len);

	if (d->racy)
		put_unseen(to, src, len);
	else if (src)
		memcpy(to, src, len);
	else
		memset(to, 0, len);
}

gpa_t vd_alloc(struct vdriver *d, uint64_t size, uint64_t align)
{
	gpa_t gpa = align_up(d->next, align);

	rig_assert(gpa <= d->end && size <= d->end - gpa);
	d->next = gpa + size;
	vd_put(d, gpa, NULL, size);
	return gpa;
}

uint32_t vd_get(struct vdriver *d, uint32_t reg)
{
	uint64_t val = 0;

	rig_assert(!bus_read(d->bus, d->base + reg, 4, &val));
	return (uint32_t)val;
}

void vd_set(struct vdriver *d, uint32_t reg, uint32_t val)
{
	rig_assert(!bus_write(d->bus, d->base + reg, 4, val));
}

void vd_set64(struct vdriver *d, uint32_t reg, uint64_t val)
{
	vd_set(d, reg, (uint32_t)val);
	vd_set(d, reg + 4, (uint32_t)(val >> 32));
}

uint64_t vd_config(struct vdriver *d, uint32_t off, unsigned size)
{
	uint64_t val = 0;
	uint32_t before;

	if (size == 8) { /* 4.2.2.2: no access is wider than 32 bits; 2.5.1: until it is whole */
		do {
			before = d->legacy ? 0 : vd_get(d, VD_CONFIG_GENERATION);
			val = vd_config(d, off, 4);
			val |= vd_config(d, off + 4, 4) << 32;
		} while (!d->legacy && vd_get(d, VD_CONFIG_GENERATION) != before);
		return val;
	}
	rig_assert(!bus_read(d->bus, d->base + VD_CONFIG + off, size, &val));
	return val;
}

uint64_t vd_offered(struct vdriver *d)
{
	uint64_t low;

	vd_set(d, VD_DEVICE_FEATURES_SEL, 0);
	low = vd_get(d, VD_DEVICE_FEATURES);
	vd_set(d, VD_DEVICE_FEATURES_SEL, 1);
	return low | (uint64_t)vd_get(d, VD_DEVICE_FEATURES) << 32;
}

/* Initialisation */

void vd_reset(struct vdriver *d)
{
	vd_set(d, VD_STATUS, 0);
	while (vd_get(d, VD_STATUS))
		sched_yield();
}

int vd_begin(struct vdriver *d, uint64_t want)
{
	uint32_t status = VIRTIO_STATUS_ACKNOWLEDGE;

	/* 4.2.3.1.1 */
	if (vd_get(d, VD_MAGIC) != 0x74726976)
		return -ENODEV;
	d->legacy = vd_get(d, VD_VERSION) == 1;
	if (!vd_get(d, VD_DEVICE_ID))
		return -ENODEV;
	vd_reset(d);
	vd_set(d, VD_STATUS, status);
	status |= VIRTIO_STATUS_DRIVER;
	vd_set(d, VD_STATUS, status);
	d->features = vd_offered(d) & want;
	vd_set(d, VD_DRIVER_FEATURES_SEL, 0);
	vd_set(d, VD_DRIVER_FEATURES, (uint32_t)d->features);
	if (d->legacy) {
		vd_set(d, VD_GUEST_PAGE_SIZE, VD_PAGE);
		return 0;
	}
	vd_set(d, VD_DRIVER_FEATURES_SEL, 1);
	vd_set(d, VD_DRIVER_FEATURES, (uint32_t)(d->features >> 32));
	status |= VIRTIO_STATUS_FEATURES_OK;
	vd_set(d, VD_STATUS, status);
	return vd_get(d, VD_STATUS) & VIRTIO_STATUS_FEATURES_OK ? 0 : -ENOTSUP;
}

void vd_queue_layout(struct vdriver *d, struct vd_queue *q, unsigned index, uint16_t size)
{
	*q = (struct vd_queue){ .d = d, .index = index, .size = size, .n_free = size };
	q->packed = d->features & BIT(VIRTIO_F_RING_PACKED);
	rig_assert((q->packed || is_pow2(size)) && size <= VD_QUEUE_SIZE_MAX);
	q->event_idx = d->features & BIT(VIRTIO_F_EVENT_IDX);
	q->in_sequence = !q->packed && (d->features & BIT(VIRTIO_F_IN_ORDER));
	for (uint16_t i = 0; i < size; i++)
		q->link[i] = (uint16_t)(i + 1);
	if (q->in_sequence)
		q->link[size - 1] = 0;
	/* 2.7: sizes and alignments of the parts; 2.7.2: in one piece */
	q->desc = vd_alloc(d, 16ULL * size, d->legacy ? VD_PAGE : 16);
	q->avail = vd_alloc(d, q->packed ? 4 : 6 + 2ULL * size, q->packed ? 4 : 2);
	q->used = vd_alloc(d, 6 + 8ULL * size, d->legacy ? VD_PAGE : 4);
	q->tables = vd_alloc(d, 16ULL * VD_TABLE_MAX * size, 16);
}

void vd_legacy_pfn(struct vdriver *d, struct vd_queue *q)
{
	vd_set(d, VD_QUEUE_SEL, q->index);
	vd_set(d, VD_QUEUE_NUM, q->size);
	vd_set(d, VD_QUEUE_ALIGN, VD_PAGE);
	vd_set(d, VD_QUEUE_PFN, (uint32_t)(q->desc / VD_PAGE));
}

int vd_queue_init(struct vdriver *d, struct vd_queue *q, unsigned index, uint16_t size)
{
	vd_set(d, VD_QUEUE_SEL, index);
	if (vd_get(d, d->legacy ? VD_QUEUE_PFN : VD_QUEUE_READY) || !vd_get(d, VD_QUEUE_NUM_MAX))
		return -ENODEV;
	if (size > vd_get(d, VD_QUEUE_NUM_MAX))
		return -EINVAL;
	vd_queue_layout(d, q, index, size);
	if (d->legacy) {
		vd_legacy_pfn(d, q);
		return 0;
	}
	vd_set(d, VD_QUEUE_NUM, size);
	vd_set64(d, VD_QUEUE_DESC, q->desc);
	vd_set64(d, VD_QUEUE_DRIVER, q->avail);
	vd_set64(d, VD_QUEUE_DEVICE, q->used);
	vd_set(d, VD_QUEUE_READY, 1);
	return 0;
}

void vd_go(struct vdriver *d)
{
	vd_set(d, VD_STATUS, vd_get(d, VD_STATUS) | VIRTIO_STATUS_DRIVER_OK);
}

/* Fields of the ring */

static uint16_t *field16(struct vd_queue *q, gpa_t gpa)
{
	return vd_ptr(q->d, gpa, 2);
}

static uint16_t load16(struct vd_queue *q, gpa_t gpa)
{
	return le16toh(__atomic_load_n(field16(q, gpa), __ATOMIC_ACQUIRE));
}

static void store16(struct vd_queue *q, gpa_t gpa, uint16_t val)
{
	val = htole16(val);
	if (q->d->racy)
		vd_put(q->d, gpa, &val, 2);
	else
		__atomic_store_n(field16(q, gpa), val, __ATOMIC_RELEASE);
}

/* 2.7.6, 2.7.8: where the fields lie */
static gpa_t used_event_at(const struct vd_queue *q)
{
	return q->packed ? q->avail : q->avail + 4 + 2ULL * q->size;
}

static gpa_t avail_event_at(const struct vd_queue *q)
{
	return q->packed ? q->used : q->used + 4 + 8ULL * q->size;
}

/* Where the packed ring's flags of an index are. */
static gpa_t packed_flags_at(const struct vd_queue *q, uint32_t index)
{
	return q->desc + 16ULL * (index % q->size) + 14;
}

/* Wrap counter: 1 on even laps. */
static bool packed_wrap(const struct vd_queue *q, uint32_t index)
{
	return !(index / q->size & 1);
}

/* A position and its wrap counter, as in the event structures (2.8.14). */
static uint16_t packed_off_wrap(const struct vd_queue *q, uint32_t index)
{
	return (uint16_t)(index % q->size | (packed_wrap(q, index) ? 1U << 15 : 0));
}

uint16_t vd_packed_avail(const struct vd_queue *q, uint32_t index)
{
	return packed_wrap(q, index) ? VD_AVAIL : VD_USED;
}

uint16_t vd_packed_used(const struct vd_queue *q, uint32_t index)
{
	return packed_wrap(q, index) ? VD_AVAIL | VD_USED : 0;
}

/* Is there a used descriptor at this index? */
static bool packed_is_used(struct vd_queue *q, uint32_t index)
{
	uint16_t flags = load16(q, packed_flags_at(q, index)); /* acquire: the rest comes after */

	return (flags & (VD_AVAIL | VD_USED)) == vd_packed_used(q, index);
}

void vd_desc_set(struct vdriver *d, gpa_t table, unsigned i, gpa_t addr, uint32_t len,
		 uint16_t flags, uint16_t next)
{
	const gpa_t at = table + 16ULL * i;

	addr = htole64(addr);
	len = htole32(len);
	flags = htole16(flags);
	next = htole16(next);
	vd_put(d, at, &addr, 8);
	vd_put(d, at + 8, &len, 4);
	vd_put(d, at + 12, &flags, 2);
	/* In a packed ring these are the flags, which the device may be looking at, and which show
	 * it the rest. */
	if (d->racy)
		vd_put(d, at + 14, &next, 2);
	else
		__atomic_store_n((uint16_t *)vd_ptr(d, at + 14, 2), next, __ATOMIC_RELEASE);
}

void vd_avail_set(struct vd_queue *q, uint16_t at, uint16_t head)
{
	store16(q, q->avail + 4 + 2ULL * (at & (q->size - 1U)), head);
}

void vd_avail_idx_set(struct vd_queue *q, uint16_t idx)
{
	store16(q, q->avail + 2, idx); /* release: entries and descriptors come first */
}

void vd_avail_flags_set(struct vd_queue *q, uint16_t flags)
{
	store16(q, q->avail, flags);
}

void vd_used_event_set(struct vd_queue *q, uint16_t idx)
{
	store16(q, used_event_at(q), idx);
}

/* Packed: taken ones and those that wait. */
static uint16_t packed_used_count(struct vd_queue *q)
{
	uint16_t n = q->last_used;
	uint32_t at = q->taken;

	while (at - q->taken < q->size && packed_is_used(q, at)) {
		const uint8_t *id = vd_ptr(q->d, packed_flags_at(q, at) - 2, 2);
		uint16_t count = q->count[(id[0] | id[1] << 8) % VD_QUEUE_SIZE_MAX];

		at += count ? count : 1;
		n++;
	}
	return n;
}

uint16_t vd_used_idx(struct vd_queue *q)
{
	if (q->packed)
		return packed_used_count(q);
	return load16(q, q->used + 2); /* acquire: entries come after */
}

uint16_t vd_used_flags(struct vd_queue *q)
{
	return load16(q, q->used);
}

uint16_t vd_avail_event(struct vd_queue *q)
{
	return load16(q, avail_event_at(q));
}

/* Chains */

static void table_set(struct vd_queue *q, gpa_t table, const struct vd_buf *buf, unsigned n_out,
		      unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned write = i >= n_out ? VD_WRITE : 0, next = i < n - 1 ? VD_NEXT : 0;

		if (q->packed) /* 2.8.8: nothing but WRITE counts */
			vd_desc_set(q->d, table, i, buf[i].gpa, buf[i].len, 0, (uint16_t)write);
		else
			vd_desc_set(q->d, table, i, buf[i].gpa, buf[i].len,
				    (uint16_t)(write | next), next ? (uint16_t)(i + 1) : 0);
	}
}

/* Write one descriptor of the packed ring, its flags last; those of the first that is not published
 * yet are held back, since they show it and all that follow. The device may be looking at them. */
static void packed_desc(struct vd_queue *q, const struct vd_buf *buf, uint16_t id, unsigned flags)
{
	const gpa_t at = q->desc + 16ULL * (q->next % q->size);
	uint64_t addr = htole64(buf->gpa);
	uint32_t len = htole32(buf->len);

	id = htole16(id);
	vd_put(q->d, at, &addr, 8);
	vd_put(q->d, at + 8, &len, 4);
	vd_put(q->d, at + 12, &id, 2);
	flags |= vd_packed_avail(q, q->next);
	if (q->next == q->published)
		q->first_flags = (uint16_t)flags;
	else
		store16(q, packed_flags_at(q, q->next), (uint16_t)flags);
	q->next++;
}

static void packed_add(struct vd_queue *q, uint16_t id, const struct vd_buf *buf, unsigned n_out,
		       unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		packed_desc(q, &buf[i], id,
			    (i >= n_out ? VD_WRITE : 0U) | (i < n - 1 ? VD_NEXT : 0U));
}

static uint16_t split_add(struct vd_queue *q, uint16_t head, const struct vd_buf *buf,
			  unsigned n_out, unsigned n)
{
	uint16_t at = head;

	for (unsigned i = 0; i < n; i++, at = q->link[at])
		vd_desc_set(q->d, q->desc, at, buf[i].gpa, buf[i].len,
			    (uint16_t)((i >= n_out ? VD_WRITE : 0) | (i < n - 1 ? VD_NEXT : 0)),
			    i < n - 1 ? q->link[at] : 0);
	return at;
}

int vd_add(struct vd_queue *q, const struct vd_buf *buf, unsigned n_out, unsigned n_in,
	   bool indirect)
{
	unsigned n = n_out + n_in, used = indirect ? 1 : n;
	uint16_t head = q->free_head;
	struct vd_buf table = { q->tables + 16ULL * VD_TABLE_MAX * head, 16 * n };

	rig_assert(n && n <= VD_TABLE_MAX);
	if (used > q->n_free)
		return -ENOSPC;
	if (indirect)
		table_set(q, table.gpa, buf, n_out, n);
	if (q->packed) {
		q->free_head = q->link[head];
		if (indirect)
			packed_desc(q, &table, head, VD_INDIRECT);
		else
			packed_add(q, head, buf, n_out, n);
	} else {
		if (indirect) {
			vd_desc_set(q->d, q->desc, head, table.gpa, table.len, VD_INDIRECT, 0);
			q->free_head = q->link[head];
		} else {
			q->free_head = split_add(q, head, buf, n_out, n);
		}
		vd_avail_set(q, q->avail_idx++, head);
	}
	q->n_free = (uint16_t)(q->n_free - used);
	q->count[head] = (uint16_t)used;
	return head;
}

void vd_add_malformed(struct vd_queue *q)
{
	const struct vd_buf nowhere = { 0, 0 };

	if (q->packed)
		packed_desc(q, &nowhere, 0, 0);
	else
		vd_avail_set(q, q->avail_idx++, 0xfffe);
}

void vd_publish(struct vd_queue *q)
{
	if (!q->packed) {
		vd_avail_idx_set(q, q->avail_idx);
	} else if (q->next != q->published) {
		store16(q, packed_flags_at(q, q->published), q->first_flags); /* release */
		q->published = q->next;
	}
}

void vd_kick_always(struct vd_queue *q)
{
	uint32_t val = q->index;

	if (q->d->notify) {
		q->d->notify(q->d, q->index);
		return;
	}
	/* 2.9 */
	if ((q->d->features & BIT(VIRTIO_F_NOTIFICATION_DATA)) && q->packed)
		val |= (uint32_t)packed_off_wrap(q, q->next) << 16;
	else if (q->d->features & BIT(VIRTIO_F_NOTIFICATION_DATA))
		val |= (uint32_t)q->avail_idx << 16;
	vd_set(q->d, VD_QUEUE_NOTIFY, val);
}

/* 2.8.14.1: the device's wish. */
static bool packed_kick_wanted(struct vd_queue *q, uint32_t old)
{
	uint16_t flags = load16(q, q->used + 2) & 3, event = load16(q, q->used), off;

	if (flags != 2)
		return flags != 1;
	off = event & 0x7fff;
	if (event >> 15 != packed_wrap(q, q->next))
		off = (uint16_t)(off - q->size);
	return (uint16_t)(q->next % q->size - off - 1) < (uint16_t)(q->next - old);
}

bool vd_wants_kick(struct vd_queue *q)
{
	uint16_t old = q->kicked_idx, new = q->avail_idx;
	uint32_t packed_old = q->kicked;

	vd_publish(q);
	q->kicked_idx = new;
	q->kicked = q->next;
	/* The device turns kicks on, then looks at the ring: see vq_kicks(). */
	__sync_synchronize();
	if (q->packed)
		return packed_kick_wanted(q, packed_old);
	if (q->event_idx)
		return (uint16_t)(new - vd_avail_event(q) - 1) < (uint16_t)(new - old);
	return !(vd_used_flags(q) & 1);
}

bool vd_kick(struct vd_queue *q)
{
	bool wanted = vd_wants_kick(q);

	if (wanted)
		vd_kick_always(q);
	return wanted;
}

/* Back to the free list. A head that is not in flight: the test wrote its own descriptors. */
static void head_free(struct vd_queue *q, uint16_t head)
{
	uint16_t at = head;

	if (!q->count[head])
		return;
	if (!q->in_sequence) {
		for (unsigned i = 1; i < q->count[head] && !q->packed; i++)
			at = q->link[at];
		q->link[at] = q->free_head;
		q->free_head = head;
	}
	q->n_free = (uint16_t)(q->n_free + q->count[head]);
	q->count[head] = 0;
}

static bool packed_used(struct vd_queue *q, uint16_t *head, uint32_t *len)
{
	const uint8_t *p;
	uint16_t id, flags;
	uint32_t l;

	if (!packed_is_used(q, q->taken))
		return false;
	p = vd_ptr(q->d, q->desc + 16ULL * (q->taken % q->size), 16);
	memcpy(&l, p + 8, 4);
	memcpy(&id, p + 12, 2);
	flags = load16(q, packed_flags_at(q, q->taken));
	*head = le16toh(id);
	rig_assert(*head < q->size);
	*len = flags & VD_WRITE ? le32toh(l) : 0; /* 2.8.6 */
	q->taken += q->count[*head] ? q->count[*head] : 1;
	return true;
}

static bool split_used(struct vd_queue *q, uint16_t *head, uint32_t *len)
{
	uint32_t e[2]; /* id, len (2.7.8) */

	if (vd_used_idx(q) == q->last_used)
		return false;
	memcpy(e, vd_ptr(q->d, q->used + 4 + 8ULL * (q->last_used & (q->size - 1U)), 8), 8);
	rig_assert(le32toh(e[0]) < q->size);
	*head = (uint16_t)le32toh(e[0]);
	*len = le32toh(e[1]);
	return true;
}

bool vd_used(struct vd_queue *q, uint16_t *head, uint32_t *len)
{
	if (!(q->packed ? packed_used(q, head, len) : split_used(q, head, len)))
		return false;
	q->last_used++;
	head_free(q, *head);
	return true;
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

int vd_wait(struct vd_queue *q, uint16_t *head, uint32_t *len)
{
	time_t start = now();

	while (!vd_used(q, head, len)) {
		if (now() - start > VD_PATIENCE_S)
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

int vd_wait_irq(const struct vd_irq *irq)
{
	time_t start = now();

	while (!atomic_load(&irq->level)) {
		if (now() - start > VD_PATIENCE_S)
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

bool vd_interrupts(struct vd_queue *q, bool on)
{
	if (q->packed) {
		if (q->event_idx && on)
			store16(q, q->avail, packed_off_wrap(q, q->taken));
		store16(q, q->avail + 2, !on ? 1 : q->event_idx ? 2 : 0);
	} else if (q->event_idx) {
		/* Off: half the circle of indices away. Just behind what was taken would not do: a
		 * device that has published but not yet decided would find it crossed. */
		vd_used_event_set(q, (uint16_t)(q->last_used + (on ? 0 : 0x8000)));
	} else {
		vd_avail_flags_set(q, on ? 0 : 1);
	}
	__sync_synchronize(); /* see vq_publish() */
	if (!on)
		return false;
	return q->packed ? packed_is_used(q, q->taken) : vd_used_idx(q) != q->last_used;
}

/* Block requests */

void vd_blk_init(struct vdriver *d, struct vd_blk *r)
{
	r->header = vd_alloc(d, 16, 16);
	r->status = vd_alloc(d, 1, 1);
}

int vd_blk_add(struct vd_queue *q, struct vd_blk *r, uint32_t type, uint64_t sector,
	       const struct vd_buf *data, unsigned n, bool indirect)
{
	struct vd_buf buf[VD_TABLE_MAX];
	static const uint8_t no_status = 0xff;
	bool out = type == VD_BLK_OUT || type == VD_BLK_DISCARD || type == VD_BLK_WRITE_ZEROES ||
		   type == VD_BLK_SECURE_ERASE;

	rig_assert(n <= VD_TABLE_MAX - 2);
	type = htole32(type);
	sector = htole64(sector);
	vd_put(q->d, r->header, &type, 4);
	vd_put(q->d, r->header + 4, NULL, 4); /* reserved */
	vd_put(q->d, r->header + 8, &sector, 8);
	vd_put(q->d, r->status, &no_status, 1);
	buf[0] = (struct vd_buf){ r->header, 16 };
	for (unsigned i = 0; i < n; i++)
		buf[1 + i] = data[i];
	buf[1 + n] = (struct vd_buf){ r->status, 1 };
	return vd_add(q, buf, 1 + (out ? n : 0), 1 + (out ? 0 : n), indirect);
}

uint8_t vd_blk_status(struct vdriver *d, const struct vd_blk *r)
{
	return *(uint8_t *)vd_ptr(d, r->status, 1);
}

int vd_blk_do(struct vd_queue *q, struct vd_blk *r, uint32_t type, uint64_t sector,
	      const struct vd_buf *data, unsigned n, uint32_t *used_len)
{
	uint32_t len;
	uint16_t head;
	int code = vd_blk_add(q, r, type, sector, data, n, false);

	if (code < 0)
		return code;
	vd_kick(q);
	code = vd_wait(q, &head, &len);
	if (code)
		return code;
	if (used_len)
		*used_len = len;
	return vd_blk_status(q->d, r);
}

/* SPDX-License-Identifier: MIT */
/*
 * The packed virtqueue (virtio 1.2, 2.8): one ring of descriptors, which the driver marks available
 * and the device, overwriting some of them, used.
 *
 *      AVAIL == wrap counter != USED    available: the driver has written it on this lap
 *      AVAIL == USED == wrap counter    used: the device has
 *
 * Each side has a position and a wrap counter of its own, which starts at 1 and flips whenever the
 * position comes round. A list of n descriptors is answered by one used descriptor, after which
 * both sides go n descriptors on. The driver's id of a list is any number; chains in flight have
 * slots of ours.
 */
#include <errno.h>

#include "virtio/vq_inflight.h"

/* 2.8.13: the descriptor as it lies in guest memory. Packed: see vq_split.c. */
struct wire_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
} __attribute__((packed));
_Static_assert(sizeof(struct wire_desc) == DESC_SIZE, "2.8.13");

/* 2.8.14: who wants to be told of what. The driver area and the device area are one each. */
struct wire_event {
	uint16_t off_wrap; /* position, and in bit 15 the wrap counter there */
	uint16_t flags;
};
enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2, EVENT_FLAGS = 3 };
enum { EVENT_ALIGN = 4 }; /* 2.8.10 */

static inline bool pos_wrap(uint16_t pos)
{
	return !(pos & VQ_POS_LAP);
}

static inline uint16_t pos_add(uint16_t pos, uint16_t n, uint16_t size)
{
	uint16_t at = (uint16_t)((pos & VQ_POS_MASK) + n);

	if (at < size)
		return (uint16_t)((pos & VQ_POS_LAP) | at);
	return (uint16_t)(((pos & VQ_POS_LAP) ^ VQ_POS_LAP) | (at - size));
}

static struct wire_desc *ring_desc(const struct vq *vq, uint16_t pos)
{
	return (struct wire_desc *)vq->desc + (pos & VQ_POS_MASK);
}

/* The ring is aligned, the type only does not say so. */
static uint16_t *flags_of(struct wire_desc *d)
{
	return (uint16_t *)(void *)((uint8_t *)d + offsetof(struct wire_desc, flags));
}

/* Acquire: the rest of a list is read after the flags that make it available. */
static inline uint16_t load_flags(struct wire_desc *d)
{
	const uint16_t *p = flags_of(d);
	uint16_t v;

	fetch_begin(p, sizeof(v));
	v = __atomic_load_n(p, __ATOMIC_ACQUIRE);
	fetch_end(p, sizeof(v), FETCH_CALL_FLAGS);
	return le16toh(v);
}

static inline bool is_available(uint16_t flags, bool wrap)
{
	return !!(flags & DESC_F_AVAIL) == wrap && !!(flags & DESC_F_USED) != wrap;
}

static bool available_at(const struct vq *vq, uint16_t pos)
{
	return is_available(load_flags(ring_desc(vq, pos)), pos_wrap(pos));
}

static int packed_setup(struct vq *vq)
{
	const uint16_t size = vq->s.size;

	if ((vq->s.next_avail & VQ_POS_MASK) >= size || (vq->s.next_used & VQ_POS_MASK) >= size)
		return -EINVAL; /* saved state that cannot be */
	if (vq_part_map(vq, "descriptor ring", vq->s.desc, (size_t)DESC_SIZE * size, DESC_ALIGN,
			GMEM_WRITE, &vq->desc) ||
	    vq_part_map(vq, "driver area", vq->s.avail, sizeof(struct wire_event), EVENT_ALIGN,
			GMEM_READ, &vq->avail) ||
	    vq_part_map(vq, "device area", vq->s.used, sizeof(struct wire_event), EVENT_ALIGN,
			GMEM_WRITE, &vq->used))
		return -EINVAL;
	if (vq->resume && vq_inflight_packed_setup(vq, available_at)) {
		vq_wrong(vq, LINT_IN_FLIGHT,
			 "the area of what is in flight, for %u descriptors, "
			 "does not add up",
			 size);
		return -EINVAL;
	}
	vq->packed.descs = vq->packed.batch_descs = 0;
	vq->packed.owes_irq = false;
	vq->packed.n_free = size;
	for (uint16_t i = 0; i < size; i++) /* slot 0 on top */
		vq->free[i] = (uint16_t)(size - 1 - i);
	return 0;
}

/* 2.8.8: in an indirect table every entry is a buffer, and WRITE the only flag. */
static inline __attribute__((always_inline)) const struct vq_fault *
table_read(struct vq *vq, struct vq_walk *walk, gpa_t gpa, uint32_t len)
{
	const volatile struct wire_desc *w;
	void *table;
	const struct vq_fault *why = vq_table_map(vq, gpa, len, &table);

	w = table;
	for (uint32_t i = 0; !why && i < len / DESC_SIZE; i++) {
		uint64_t addr;
		uint32_t buf_len;
		uint16_t flags;

		fetch_begin(&w[i], sizeof(*w));
		addr = le64toh(w[i].addr);
		buf_len = le32toh(w[i].len);
		flags = le16toh(w[i].flags);
		fetch_end(&w[i], sizeof(*w), FETCH_CHAIN);
		why = vq_walk_add(vq, walk, addr, buf_len, flags & DESC_F_WRITE);
	}
	return why;
}

/* For the lint: the rest of a list is not available although its first descriptor is (2.8.17). It
 * counts as if it were. */
static __attribute__((cold, noinline)) void tail_wrong(struct vq *vq, uint16_t pos)
{
	lint_report(vq->lint, LINT_TAIL_LATE, vq->index,
		    "queue %u: descriptor %u of a list is not available, and those before it are",
		    vq->index, pos & VQ_POS_MASK);
}

/*
 * Read a list from the next available position on; `flags` are those of its first descriptor. Of a
 * list that is taken `again`, descriptors come from where they were kept.
 */
static inline __attribute__((always_inline)) const struct vq_fault *
list_read(struct vq *vq, struct vq_walk *walk, struct vq_slot *s, uint16_t flags, bool again)
{
	const uint16_t size = vq->s.size;
	uint16_t pos = vq->s.next_avail;

	for (uint16_t n = 1;; n++) {
		const volatile struct wire_desc *w = ring_desc(vq, pos);
		struct vq_inflight_desc d;
		const struct vq_fault *why;

		if (again) {
			if (!vq_inflight_packed_again(vq, s, n, &d))
				return FAULT(LINT_NEXT, "what is kept of it does not add up");
		} else {
			/* All but the flags, which were read before. */
			fetch_begin(w, offsetof(struct wire_desc, flags));
			d = (struct vq_inflight_desc){ le64toh(w->addr), le32toh(w->len), w->id,
						       flags };
			fetch_end(w, offsetof(struct wire_desc, flags), FETCH_CALL);
			if (unlikely(vq->tracked))
				vq_inflight_packed_desc(vq, s, n, &d);
		}
		/* 2.8.9: the id is that of the last descriptor. */
		s->id = d.id;
		s->count = n;
		if (d.flags & DESC_F_INDIRECT) {
			/* 2.8.19: alone, never in a list */
			if (n > 1 || d.flags & DESC_F_NEXT)
				return FAULT(LINT_INDIRECT_NEXT, "INDIRECT together with NEXT");
			return table_read(vq, walk, d.addr, d.len);
		}
		why = vq_walk_add(vq, walk, d.addr, d.len, d.flags & DESC_F_WRITE);
		if (why || !(d.flags & DESC_F_NEXT))
			return why;
		if (n == size - vq->packed.descs)
			return FAULT(LINT_LIST_LONG, "list longer than what is free of the ring");
		pos = pos_add(pos, 1, size);
		if (again)
			continue;
		flags = load_flags(ring_desc(vq, pos));
		if (unlikely(!is_available(flags, pos_wrap(pos))))
			tail_wrong(vq, pos);
	}
}

static bool packed_publish(struct vq *vq);

/* Give a list a slot: there is a free one, for each in flight has at least one descriptor. */
static inline __attribute__((always_inline)) int list_take(struct vq *vq, struct vq_chain **chain,
							   uint16_t flags, bool again)
{
	struct vq_slot *s = &vq->slot[vq->free[vq->packed.n_free - 1]];
	struct vq_walk walk = vq_walk_begin(vq, s->chain.slot);
	const struct vq_fault *why = list_read(vq, &walk, s, flags, again);

	why = vq_walk_end(vq, &walk, &s->chain, why);
	if (unlikely(why))
		return vq_chain_broken(vq, &s->chain, why);
	vq_chain_taken(vq, s);
	vq->packed.n_free--;
	vq->packed.descs = (uint16_t)(vq->packed.descs + s->count);
	*chain = &s->chain;
	return 1;
}

static __attribute__((noinline)) int take_again(struct vq *vq, struct vq_chain **chain)
{
	int r;

	if (vq->packed.descs == vq->s.size)
		return vq_broken(vq, 0, FAULT(LINT_IN_FLIGHT, "more in flight than the ring has"));
	r = list_take(vq, chain, 0, true);
	vq->next_again++;
	return r;
}

static inline __attribute__((always_inline)) int pop_one(struct vq *vq, struct vq_chain **chain)
{
	const uint16_t pos = vq->s.next_avail;
	/*
	 * Acquire. The driver writes a list, then the flags of its first descriptor. Were the rest
	 * loaded before them, we could see what was there a lap before.
	 */
	uint16_t flags = load_flags(ring_desc(vq, pos));
	const struct vq_slot *s;
	int r;

	if (unlikely(vq->next_again < vq->n_again))
		return take_again(vq, chain);
	if (!is_available(flags, pos_wrap(pos)))
		return 0;
	if (vq->packed.descs == vq->s.size) /* this is one of those in flight, marked again */
		return vq_broken(vq, pos & VQ_POS_MASK,
				 FAULT(LINT_IN_FLIGHT, "more available than the ring has (3.3.1)"));
	/* The area's free list has room for one batch at a time. */
	if (unlikely(vq->tracked && vq->packed.batch_descs))
		vq->packed.owes_irq |= packed_publish(vq);
	r = list_take(vq, chain, flags, false);
	if (unlikely(r < 0))
		return r;
	s = vq_slot_of(*chain);
	if (unlikely(vq->tracked))
		vq_inflight_packed_taken(vq, s);
	vq->s.next_avail = pos_add(pos, s->count, vq->s.size);
	return 1;
}

static int packed_pop(struct vq *vq, struct vq_chain **chain, unsigned max)
{
	unsigned n = 0;
	int got = 0;

	while (n < max && (got = pop_one(vq, &chain[n])) == 1) {
		fetch_call_over(true);
		n++;
	}
	vq->in_flight += n;
	return n ? (int)n : got;
}

static void put_one(struct vq *vq, struct vq_slot *s)
{
	const uint32_t written = s->chain.written;
	const uint16_t pos = vq->s.next_used;
	struct wire_desc *d = ring_desc(vq, pos);
	/* 2.8.6: the length counts with WRITE only. */
	uint16_t flags = (uint16_t)((pos_wrap(pos) ? DESC_F_AVAIL | DESC_F_USED : 0) |
				    (written ? DESC_F_WRITE : 0));

	d->id = s->id;
	d->len = htole32(written);
	/* The driver looks at used descriptors in order. So all but the first of a batch can have
	 * their flags at once; those of the first show all of them. */
	if (vq->packed.batch_descs) {
		ring_store16(flags_of(d), flags);
	} else {
		vq->packed.batch_at = pos;
		vq->packed.batch_flags = flags;
	}
	vq_written(vq, vq->s.desc + (uint64_t)DESC_SIZE * (pos & VQ_POS_MASK), DESC_SIZE);
	vq->packed.batch_descs = (uint16_t)(vq->packed.batch_descs + s->count);
	vq->packed.descs = (uint16_t)(vq->packed.descs - s->count);
	s->state = VQ_SLOT_FREE;
	vq->free[vq->packed.n_free++] = s->chain.slot;
	vq->s.next_used = pos_add(pos, s->count, vq->s.size);
	if (unlikely(vq->tracked))
		vq_inflight_packed_put(vq, s);
}

static void packed_put(struct vq *vq, struct vq_chain *const *chain, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put_one(vq, vq_slot_of(chain[i]));
}

/* 2.8.14: has the batch of n descriptors up to `pos` reached the event? One with the other wrap
 * counter is on the lap before. */
static bool event_reached(const struct vq *vq, uint16_t off_wrap, uint16_t pos, uint16_t n)
{
	uint16_t event = off_wrap & VQ_POS_MASK, new = pos &VQ_POS_MASK;

	if (!!(off_wrap & VQ_POS_LAP) != pos_wrap(pos))
		event = (uint16_t)(event - vq->s.size);
	return ring_event_passed(event, new, (uint16_t)(new - n));
}

/* 2.8.10, 2.8.14: for the lint. */
static __attribute__((cold, noinline)) void flags_wrong(struct vq *vq, uint16_t flags)
{
	lint_report(vq->lint, LINT_EVENT_FLAGS, vq->index, "queue %u: flags 0x%x%s", vq->index,
		    flags, vq->event_idx ? "" : " without EVENT_IDX");
}

/* Does the driver want to be told of the batch of n descriptors that it sees now? */
static bool irq_wanted(struct vq *vq, uint16_t n)
{
	const struct wire_event *driver = vq->avail;
	uint16_t flags;

	/* Full barrier: store flags, then load the driver's wish; see split_publish(). */
	ring_full_barrier();
	flags = ring_load16_acquire(&driver->flags);
	if (unlikely(flags > (vq->event_idx ? EVENT_DESC : EVENT_DISABLE)))
		flags_wrong(vq, flags);
	switch (flags & EVENT_FLAGS) {
	case EVENT_DISABLE: return false;
	case EVENT_DESC: /* 2.8.10: with the event index only */
		return !vq->event_idx ||
		       event_reached(vq, ring_load16(&driver->off_wrap), vq->s.next_used, n);
	default: return true;
	}
}

static bool packed_publish(struct vq *vq)
{
	const uint16_t n = vq->packed.batch_descs;
	bool owed = vq->packed.owes_irq;

	vq->packed.owes_irq = false;
	if (!n)
		return owed;
	vq->packed.batch_descs = 0;
	if (unlikely(vq->tracked))
		vq_inflight_packed_publish(vq);
	/* Release: see split_publish(). */
	ring_store16_release(flags_of(ring_desc(vq, vq->packed.batch_at)), vq->packed.batch_flags);
	vq_written(vq, vq->s.desc + (uint64_t)DESC_SIZE * (vq->packed.batch_at & VQ_POS_MASK),
		   DESC_SIZE);
	if (unlikely(vq->tracked))
		vq_inflight_packed_published(vq);
	return irq_wanted(vq, n) || owed;
}

static bool packed_kicks(struct vq *vq, bool on)
{
	struct wire_event *device = vq->used;
	const uint16_t pos = vq->s.next_avail;

	if (vq->event_idx && on) {
		/* Once the driver has passed it, there is nothing to switch off. */
		ring_store16(&device->off_wrap, pos ^ VQ_POS_LAP);
		ring_store16_release(&device->flags, EVENT_DESC);
		vq_written(vq, vq->s.used, sizeof(*device));
	} else if (!vq->event_idx) {
		ring_store16(&device->flags, on ? EVENT_ENABLE : EVENT_DISABLE);
		vq->kicks_on = on;
		vq_written(vq, vq->s.used, sizeof(*device));
	}
	if (!on)
		return false;
	/* Full barrier: store the wish, then load the flags; see split_kicks(). */
	ring_full_barrier();
	return is_available(load_flags(ring_desc(vq, pos)), pos_wrap(pos));
}

static void packed_look(const struct vq *vq, struct vq_look *look)
{
	const struct wire_event *driver = vq->avail, *device = vq->used;
	const uint16_t pos = vq->s.next_avail;

	*look = (struct vq_look){
		.available = is_available(load_flags(ring_desc(vq, pos)), pos_wrap(pos)),
		.driver = pos & VQ_POS_MASK,
		.kicks_off = (ring_load16(&device->flags) & EVENT_FLAGS) == EVENT_DISABLE,
		.kick_event = ring_load16(&device->off_wrap) & VQ_POS_MASK,
		.irqs_off = (ring_load16(&driver->flags) & EVENT_FLAGS) == EVENT_DISABLE,
		.irq_event = ring_load16(&driver->off_wrap) & VQ_POS_MASK,
	};
}

static void packed_digest(const struct vq *vq, uint16_t slot, uint16_t pos, bool judge,
			  struct vq_digest *digest)
{
	const struct wire_desc *w = ring_desc(vq, pos);
	void *host;

	digest->entry = 0;
	digest->ring = digest->table = VQ_HASH_INIT;
	for (uint16_t n = 0; n < vq->slot[slot].count; n++)
		digest->ring = vq_hash(digest->ring, ring_desc(vq, pos_add(pos, n, vq->s.size)),
				       DESC_SIZE);
	if (judge) {
		digest->table_at = le64toh(w->addr);
		digest->table_len =
			load_flags(ring_desc(vq, pos)) & DESC_F_INDIRECT ? le32toh(w->len) : 0;
	}
	if (gmem_map(vq->mem, digest->table_at, digest->table_len, GMEM_READ, &host))
		return; /* none, for one */
	digest->table = vq_hash(digest->table, host, digest->table_len);
	w = host;
	for (uint32_t i = 0; judge && i < digest->table_len / DESC_SIZE; i++)
		if (le16toh(w[i].flags) & ~DESC_F_WRITE) {
			lint_report(vq->lint, LINT_TABLE_FLAGS, vq->index,
				    "queue %u: flags 0x%x of entry %u in an indirect table",
				    vq->index, le16toh(w[i].flags), i);
			return;
		}
}

static bool packed_available(const struct vq *vq)
{
	return available_at(vq, vq->s.next_avail);
}

const struct vq_ring vq_packed = {
	.setup = packed_setup,
	.pop = packed_pop,
	.put = packed_put,
	.publish = packed_publish,
	.kicks = packed_kicks,
	.available = packed_available,
	.look = packed_look,
	.digest = packed_digest,
};

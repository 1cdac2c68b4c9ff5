/* SPDX-License-Identifier: MIT */
/*
 * The split virtqueue (virtio 1.2, 2.7), with indirect descriptors and the event index. A chain's
 * slot is the index of its first descriptor.
 */
#include <errno.h>
#include <stddef.h>

#include "virtio/vq_inflight.h"

/* 2.7.5: the descriptor as it lies in guest memory. Packed, since an indirect table has no
 * alignment (2.7.5.3 asks for none). */
struct wire_desc {
	uint64_t addr;
	uint32_t len;
	uint32_t tail; /* 15:0 flags, 31:16 next */
} __attribute__((packed));
_Static_assert(sizeof(struct wire_desc) == DESC_SIZE, "2.7.5");

/* 2.7.6: used_event follows the ring. */
struct wire_avail {
	uint16_t flags, idx, ring[];
};
enum { AVAIL_F_NO_INTERRUPT = 1 };

/* 2.7.8: avail_event follows the ring. */
struct wire_used_elem {
	uint32_t id, len;
};
struct wire_used {
	uint16_t flags, idx;
	struct wire_used_elem ring[];
};
enum { USED_F_NO_NOTIFY = 1 };

/* 2.7: alignment of the parts. */
enum { AVAIL_ALIGN = 2, USED_ALIGN = 4 };

/* A descriptor, copied and in host byte order. */
struct desc {
	uint64_t addr;
	uint32_t len, tail;
};
#define DESC_NEXT(i)     ((uint32_t)(i) << 16) /* in a tail */
#define DESC_INDEX(tail) (((tail) >> 16) - 1)  /* that `next` follows */

static inline uint16_t flags_of(struct desc d)
{
	return (uint16_t)d.tail;
}

static inline uint16_t next_of(struct desc d)
{
	return (uint16_t)(d.tail >> 16);
}

static const struct wire_avail *avail(const struct vq *vq)
{
	return vq->avail;
}

static struct wire_used *used(const struct vq *vq)
{
	return vq->used;
}

/* The driver's; valid with the event index only. */
static const uint16_t *used_event(const struct vq *vq)
{
	return &avail(vq)->ring[vq->s.size];
}

static uint16_t *avail_event(const struct vq *vq)
{
	return (uint16_t *)(void *)&used(vq)->ring[vq->s.size];
}

static size_t used_bytes(const struct vq *vq)
{
	return sizeof(struct wire_used) + sizeof(struct wire_used_elem) * vq->s.size +
	       (vq->event_idx ? 2 : 0);
}

static int split_setup(struct vq *vq)
{
	const uint16_t size = vq->s.size;
	/* Without the event index, the two bytes after each ring are not the queue's (2.7.10.2:
	 * some drivers keep other things there). */
	size_t avail_bytes =
		sizeof(struct wire_avail) + sizeof(uint16_t) * size + (vq->event_idx ? 2 : 0);

	if (!is_pow2(size)) {
		vq_wrong(vq, LINT_QUEUE_SIZE, "queue size %u is not a power of two (2.7)", size);
		return -EINVAL;
	}
	if (vq_part_map(vq, "descriptor table", vq->s.desc, (size_t)DESC_SIZE * size, DESC_ALIGN,
			GMEM_READ, &vq->desc) ||
	    vq_part_map(vq, "available ring", vq->s.avail, avail_bytes, AVAIL_ALIGN, GMEM_READ,
			&vq->avail) ||
	    vq_part_map(vq, "used ring", vq->s.used, used_bytes(vq), USED_ALIGN, GMEM_WRITE,
			&vq->used))
		return -EINVAL;
	if (vq->resume)
		vq_inflight_split_setup(vq, ring_load16(&used(vq)->idx));
	/* Of a fresh queue, what the device has not written yet. */
	if (vq->lint && !vq->s.next_avail && !vq->s.next_used && ring_load16(&used(vq)->flags))
		lint_report(vq->lint, LINT_RING_NOT_CLEARED, vq->index,
			    "queue %u: flags of the used ring 0x%x", vq->index,
			    ring_load16(&used(vq)->flags));
	return 0;
}

/* The one read of a descriptor: volatile, so that no later use of a field goes back to memory that
 * the guest may have changed in between. */
static inline struct desc desc_read(const void *table, size_t i, enum fetch_life life)
{
	const volatile struct wire_desc *w = (const struct wire_desc *)table + i;
	struct desc d;

	fetch_begin(w, sizeof(*w));
	d.addr = le64toh(w->addr);
	d.len = le32toh(w->len);
	d.tail = le32toh(w->tail);
	fetch_end(w, sizeof(*w), life);
	return d;
}

#define FAULT_NEXT      FAULT(LINT_NEXT, "descriptor index beyond the table")
#define FAULT_NESTED    FAULT(LINT_INDIRECT_NESTED, "INDIRECT inside an indirect table")
#define FAULT_IN_FLIGHT FAULT(LINT_IN_FLIGHT, "head is in flight already (3.3.1)")

/* Go through an indirect table of `entries`, of which `d` is the next descriptor. */
static __attribute__((noinline)) const struct vq_fault *
table_walk(struct vq *vq, struct vq_walk *w, const void *table, uint32_t entries, struct desc d)
{
	for (;;) {
		const struct vq_fault *why;

		if (d.tail & DESC_F_INDIRECT)
			return FAULT(LINT_INDIRECT_NESTED, "INDIRECT inside an indirect table");
		why = vq_walk_add(vq, w, d.addr, d.len, d.tail & DESC_F_WRITE);
		if (why || !(d.tail & DESC_F_NEXT))
			return why;
		if (next_of(d) >= entries)
			return FAULT_NEXT;
		d = desc_read(table, next_of(d), FETCH_CHAIN);
	}
}

/* Read an indirect table, which `d` is for. */
static const struct vq_fault *table_read(struct vq *vq, struct vq_walk *w, struct desc d)
{
	const struct vq_fault *why;
	void *table;

	if (d.tail & DESC_F_NEXT)
		return FAULT(LINT_INDIRECT_NEXT, "INDIRECT together with NEXT");
	why = vq_table_map(vq, d.addr, d.len, &table);
	if (why)
		return why;
	return table_walk(vq, w, table, d.len / DESC_SIZE, desc_read(table, 0, FETCH_CHAIN));
}

/* The chain is whole, if `why` is NULL. */
static inline const struct vq_fault *taken(struct vq *vq, struct vq_slot *s,
					   const struct vq_walk *w, const struct vq_fault *why)
{
	why = vq_walk_end(vq, w, &s->chain, why);
	if (likely(!why))
		vq_chain_taken(vq, s);
	return why;
}

/*
 * Walk the chain whose first descriptor is its slot, and is `d`. Direct descriptors may come first
 * and end in one indirect table (2.7.5.3.2), whose WRITE flag is ignored. NULL, or what is wrong
 * with it.
 */
static __attribute__((noinline)) const struct vq_fault *
chain_take(struct vq *vq, struct vq_slot *s, uint64_t addr, uint32_t len, uint32_t tail)
{
	struct vq_walk w = vq_walk_begin(vq, s->chain.slot);
	struct desc d = { addr, len, tail };
	const struct vq_fault *why;

	for (;;) {
		if (d.tail & DESC_F_INDIRECT) {
			why = table_read(vq, &w, d);
			break;
		}
		why = vq_walk_add(vq, &w, d.addr, d.len, d.tail & DESC_F_WRITE);
		if (why || !(d.tail & DESC_F_NEXT))
			break;
		if (next_of(d) >= vq->s.size) {
			why = FAULT_NEXT;
			break;
		}
		d = desc_read(vq->desc, next_of(d), FETCH_CALL);
	}
	return taken(vq, s, &w, why);
}

/* table_walk() for table_take(), from the descriptor at `t` on, which is `d` and whose buffer is to
 * be at `v`; `len`: bytes so far. `writable`: the readable ones are all there. */
static __attribute__((noinline)) const struct vq_fault *
table_finish(struct vq *vq, struct vq_slot *s, struct iovec *v, uint64_t len, bool writable,
	     const struct wire_desc *t, const struct wire_desc *end, struct desc d)
{
	struct iovec *first = s->chain.iov, *in = first + s->chain.n_out;
	const struct wire_desc *table = t - (v - first);
	struct vq_walk w = { .v = v, .first = first, .end = first + vq->chain_max, .len = len };

	if (writable && v > in) {
		w.in = in;
		w.out_len = s->chain.out_len;
	}
	return taken(vq, s, &w, table_walk(vq, &w, table, (uint32_t)(end - table), d));
}

/*
 * The same as chain_take() where `d` is an indirect table of up to table_max bytes. It is made for
 * what Linux sends, and where most of a request's instructions would be: descriptors one after the
 * other, first the readable ones, so that each is compared with what is expected of it, and buffers
 * in the region of RAM where the last ones were. From the first that is something else on, it is
 * table_finish()'s.
 */
static inline __attribute__((always_inline)) const struct vq_fault *
table_take(struct vq *vq, struct vq_slot *s, struct desc d)
{
	uint32_t expected = DESC_F_NEXT | DESC_NEXT(1);
	const struct wire_desc *t, *end;
	struct iovec *v = s->chain.iov;
	uint64_t len = 0;
	void *p;

	if (unlikely(d.len % DESC_SIZE || !vq_map_here(vq, d.addr, d.len, &p)))
		return chain_take(vq, s, d.addr, d.len, d.tail);
	fetch_chain(vq, s->chain.slot);
	t = p;
	end = (const struct wire_desc *)((const uint8_t *)p + d.len);
	for (;;) {
		d = desc_read(t, 0, FETCH_CHAIN);
		if (d.tail != expected)
			break;
		if (unlikely(!vq_map_here(vq, d.addr, d.len, &v->iov_base)))
			return table_finish(vq, s, v, len, false, t, end, d);
		v++->iov_len = d.len;
		len += d.len;
		expected += DESC_NEXT(1);
		if (unlikely(++t == end))
			return FAULT_NEXT;
	}
	s->chain.n_out = (uint16_t)DESC_INDEX(expected);
	s->chain.out_len = len;
	for (expected |= DESC_F_WRITE; d.tail == expected; d = desc_read(t, 0, FETCH_CHAIN)) {
		if (unlikely(!vq_map_here(vq, d.addr, d.len, &v->iov_base)))
			goto finish;
		v++->iov_len = d.len;
		len += d.len;
		expected += DESC_NEXT(1);
		if (unlikely(++t == end))
			return FAULT_NEXT;
	}
	/* The last one. */
	if (unlikely(flags_of(d) != DESC_F_WRITE || !vq_map_here(vq, d.addr, d.len, &v->iov_base)))
		goto finish;
	v->iov_len = d.len;
	len += d.len;
	if (unlikely(len > VQ_CHAIN_BYTES_MAX))
		return FAULT_CHAIN_BYTES;
	s->chain.n_in = (uint16_t)(DESC_INDEX(expected) + 1 - s->chain.n_out);
	s->chain.in_len = len - s->chain.out_len;
	s->state = VQ_SLOT_TAKEN;
	return NULL;

finish:
	return table_finish(vq, s, v, len, true, t, end, d);
}

/* Those that were in flight when another process served the ring. */
static __attribute__((noinline)) unsigned take_again(struct vq *vq, struct vq_chain **chain,
						     unsigned max)
{
	const struct vq_fault *why;
	unsigned n = 0;

	while (n < max && vq->next_again < vq->n_again) {
		uint16_t head = vq->again[vq->next_again++];
		struct vq_slot *s = &vq->slot[head];
		struct desc d;

		if (s->state != VQ_SLOT_FREE) {
			vq_broken(vq, head, FAULT_IN_FLIGHT);
			break;
		}
		d = desc_read(vq->desc, head, FETCH_CALL);
		why = chain_take(vq, s, d.addr, d.len, d.tail);
		if (why) {
			vq_chain_broken(vq, &s->chain, why);
			break;
		}
		chain[n++] = &s->chain;
	}
	if (vq->next_again == vq->n_again)
		vq->next_again = vq->n_again = 0;
	return n;
}

/* The chain at `head`. False: it is none. */
static inline __attribute__((always_inline)) bool pop_one(struct vq *vq, uint16_t head,
							  struct vq_chain **chain)
{
	const struct vq_fault *why;
	struct vq_slot *s;
	struct desc d;

	if (unlikely(head >= vq->s.size)) {
		vq_broken(vq, head, FAULT(LINT_HEAD, "head beyond the descriptor table"));
		return false;
	}
	s = &vq->slot[head];
	*chain = &s->chain;
	if (unlikely(s->state != VQ_SLOT_FREE)) {
		vq_broken(vq, head, FAULT_IN_FLIGHT);
		return false;
	}
	d = desc_read(vq->desc, head, FETCH_CALL);
	if (likely(flags_of(d) == DESC_F_INDIRECT && d.len <= vq->table_max)) {
		why = table_take(vq, s, d);
	} else {
		why = chain_take(vq, s, d.addr, d.len, d.tail);
		if (!why && vq->tracked)
			vq_inflight_split_taken(vq, head);
	}
	if (unlikely(why))
		vq_chain_broken(vq, &s->chain, why);
	return !why;
}

static int split_pop(struct vq *vq, struct vq_chain **chain, unsigned max)
{
	struct vq_chain **c = chain, **end;
	const struct wire_avail *a = avail(vq);
	const size_t mask = vq->s.size - 1U;
	size_t next = vq->s.next_avail;
	/*
	 * Acquire. The driver writes descriptors and ring entries, then idx. Were they loaded
	 * before idx, we could see the new idx and an entry from the lap before.
	 */
	unsigned ready = (uint16_t)(ring_load16_acquire(&a->idx) - next);

	if (unlikely(ready > vq->s.size))
		return vq_broken(
			vq, 0,
			FAULT(LINT_IDX_JUMPS, "available index more than the queue size ahead"));
	if (unlikely(vq->n_again)) {
		unsigned n = take_again(vq, c, max);

		c += n;
		max = vq->s.broken ? 0 : max - n;
	}
	end = c + (ready < max ? ready : max);
	while (c < end && likely(pop_one(vq, ring_load16(&a->ring[next & mask]), c))) {
		vq->s.next_avail = (uint16_t)++next;
		c++;
		fetch_call_over(true);
	}
	vq->in_flight += (unsigned)(c - chain);
	return likely(c > chain) || !vq->s.broken ? (int)(c - chain) : -EPROTO;
}

static inline void put_one(struct wire_used_elem *e, struct vq_chain *c)
{
	ring_store32(&e->id, c->slot);
	ring_store32(&e->len, c->written);
	vq_slot_of(c)->state = VQ_SLOT_FREE;
}

/* split_put() for a queue that is not plain. */
static __attribute__((noinline)) void put_besides(struct vq *vq, struct vq_chain *const *chain,
						  unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		size_t at = vq->s.next_used++ & (vq->s.size - 1U);

		put_one(&used(vq)->ring[at], chain[i]);
		vq_written(vq, vq->s.used + offsetof(struct wire_used, ring[at]),
			   sizeof(struct wire_used_elem));
		if (vq->tracked)
			vq_inflight_split_put(vq, chain[i]->slot);
	}
}

static void split_put(struct vq *vq, struct vq_chain *const *chain, unsigned n)
{
	const size_t mask = vq->s.size - 1U, end = vq->s.next_used + (size_t)n;
	struct wire_used *const u = used(vq);

	if (unlikely(!vq->plain)) {
		put_besides(vq, chain, n);
		return;
	}
	for (size_t next = vq->s.next_used; next != end; next++)
		put_one(&u->ring[next & mask], *chain++);
	vq->s.next_used = (uint16_t)end;
}

/* What else there is to it, of a queue that is not plain, or with flags that are not as they have
 * to be (2.7.7.1): those are for the lint, and count as if they were right. */
static __attribute__((noinline)) bool publish_besides(struct vq *vq, uint16_t flags, bool right,
						      bool irq)
{
	vq_written(vq, vq->s.used, sizeof(struct wire_used));
	if (vq->tracked)
		vq_inflight_split_published(vq);
	if (!right)
		lint_report(vq->lint, LINT_AVAIL_FLAGS, vq->index, "queue %u: flags 0x%x%s",
			    vq->index, flags, vq->event_idx ? " with EVENT_IDX" : "");
	return irq;
}

static bool split_publish(struct vq *vq)
{
	uint16_t old = vq->s.signalled, new = vq->s.next_used, flags;
	bool right, irq;

	if (old == new)
		return false;
	/*
	 * Release. The driver reads idx, then the entries and the data. Were idx stored before
	 * them, the driver could take a length or data that is not there yet.
	 */
	ring_store16_release(&used(vq)->idx, new);
	vq->s.signalled = new;

	/*
	 * Full barrier: store idx, then load used_event or flags. The driver does it the other way
	 * round: it asks for an interrupt (stores used_event or flags), then loads idx once more.
	 * Without a barrier on both sides both may load the old value: it sleeps without having
	 * seen our entry, and we do not wake it.
	 */
	ring_full_barrier();
	flags = ring_load16(&avail(vq)->flags);
	if (likely(vq->event_idx)) {
		right = !flags;
		irq = ring_event_passed(ring_load16(used_event(vq)), new, old);
	} else {
		right = flags <= AVAIL_F_NO_INTERRUPT;
		irq = !(flags & AVAIL_F_NO_INTERRUPT);
	}
	if (unlikely(!vq->plain || !right))
		return publish_besides(vq, flags, right, irq);
	return irq;
}

/* What was written is to be reported. */
static __attribute__((noinline)) void kicks_reported(struct vq *vq)
{
	gpa_t event = vq->s.used + used_bytes(vq) - sizeof(uint16_t);

	vq_written(vq, vq->event_idx ? event : vq->s.used, sizeof(uint16_t));
}

static bool split_kicks(struct vq *vq, bool on)
{
	/* With the event index, flags stay 0 (2.7.10.2). While avail_event lies behind, the driver
	 * passes it without a kick: there is nothing to switch off. */
	if (vq->event_idx && !on)
		return false;
	if (vq->event_idx) {
		ring_store16(avail_event(vq), vq->s.next_avail);
	} else {
		ring_store16(&used(vq)->flags, on ? 0 : USED_F_NO_NOTIFY);
		vq->kicks_on = on;
	}
	if (unlikely(vq->reports))
		kicks_reported(vq);
	if (!on)
		return false;
	/*
	 * Full barrier: store flags or avail_event, then load avail idx. The driver stores idx,
	 * then loads flags or avail_event. Without a barrier on both sides the driver may see kicks
	 * off while we see an empty ring: its buffer waits for ever.
	 */
	ring_full_barrier();
	return ring_load16(&avail(vq)->idx) != vq->s.next_avail;
}

static void split_look(const struct vq *vq, struct vq_look *look)
{
	uint16_t idx = ring_load16_acquire(&avail(vq)->idx);

	*look = (struct vq_look){
		.available = idx != vq->s.next_avail,
		.driver = idx,
		.kicks_off = ring_load16(&used(vq)->flags) & USED_F_NO_NOTIFY,
		.kick_event = vq->event_idx ? ring_load16(avail_event(vq)) : 0,
		.irqs_off = ring_load16(&avail(vq)->flags) & AVAIL_F_NO_INTERRUPT,
		.irq_event = vq->event_idx ? ring_load16(used_event(vq)) : 0,
	};
}

/* 2.7.5.2, 2.7.5.3.1: with IN_ORDER, what `next` has to be. */
static void judge_next(const struct vq *vq, size_t i, size_t entries, bool in_table, uint16_t next)
{
	size_t right = in_table || i + 1 < entries ? i + 1 : 0;

	if (next != right)
		lint_report(vq->lint, LINT_NEXT_ORDER, vq->index,
			    "queue %u: next of %s %zu is %u, not %zu, with IN_ORDER", vq->index,
			    in_table ? "entry" : "descriptor", i, next, right);
}

static void split_digest(const struct vq *vq, uint16_t slot, uint16_t pos, bool judge,
			 struct vq_digest *digest)
{
	const void *table = vq->desc;
	size_t entries = vq->s.size, i = slot;
	bool in_table = false;
	void *host;

	digest->entry = ring_load16(&avail(vq)->ring[pos & (vq->s.size - 1U)]);
	digest->ring = digest->table = VQ_HASH_INIT;
	/* What is there now may be anything, and a chain of no end. */
	for (unsigned n = 0; i < entries && n <= VQ_SIZE_MAX; n++) {
		struct desc d = desc_read(table, i, FETCH_CALL);
		uint64_t *hash = in_table ? &digest->table : &digest->ring;

		*hash = vq_hash(*hash, &d, sizeof(d));
		if (d.tail & DESC_F_INDIRECT) {
			if (in_table || gmem_map(vq->mem, d.addr, d.len, GMEM_READ, &host))
				return;
			table = host;
			in_table = true;
			entries = d.len / DESC_SIZE;
			i = 0;
			continue;
		}
		if (!(d.tail & DESC_F_NEXT))
			return;
		if (judge && vq->in_order)
			judge_next(vq, i, entries, in_table, next_of(d));
		i = next_of(d);
	}
}

static bool split_available(const struct vq *vq)
{
	return ring_load16(&avail(vq)->idx) != vq->s.next_avail;
}

const struct vq_ring vq_split = {
	.setup = split_setup,
	.pop = split_pop,
	.put = split_put,
	.publish = split_publish,
	.kicks = split_kicks,
	.available = split_available,
	.look = split_look,
	.digest = split_digest,
};

/* SPDX-License-Identifier: MIT */
/*
 * The split virtqueue (virtio 1.2, 2.7), with indirect descriptors and the event index. A chain's
 * slot is the index of its first descriptor.
 */
#include <errno.h>

#include "virtio/vq_inflight.h"

/* 2.7.5: the descriptor as it lies in guest memory. Packed, since an indirect table has no
 * alignment (2.7.5.3 asks for none). */
struct wire_desc {
	uint64_t addr;
	uint64_t rest; /* 31:0 len, 47:32 flags, 63:48 next */
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
	uint32_t len;
	uint16_t flags, next;
};

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
 * the guest may have changed in between. Two loads: what follows the address is one word. */
static inline struct desc desc_read(const void *table, size_t i, enum fetch_life life)
{
	const volatile struct wire_desc *w = (const struct wire_desc *)table + i;
	uint64_t addr, rest;

	fetch_begin(w, sizeof(*w));
	addr = le64toh(w->addr);
	rest = le64toh(w->rest);
	fetch_end(w, sizeof(*w), life);
	return (struct desc){
		.addr = addr,
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48),
	};
}

#define FAULT_NEXT      FAULT(LINT_NEXT, "descriptor index beyond the table")
#define FAULT_NESTED    FAULT(LINT_INDIRECT_NESTED, "INDIRECT inside an indirect table")
#define FAULT_IN_FLIGHT FAULT(LINT_IN_FLIGHT, "head is in flight already (3.3.1)")

/* Read an indirect table, which `d` is for, from its first descriptor on. */
static const struct vq_fault *table_read(struct vq *vq, struct vq_walk *w, struct desc d)
{
	const uint32_t entries = d.len / DESC_SIZE;
	const struct vq_fault *why = NULL;
	uint32_t i = 0;
	void *table;

	if (d.flags & DESC_F_NEXT)
		return FAULT(LINT_INDIRECT_NEXT, "INDIRECT together with NEXT");
	why = vq_table_map(vq, d.addr, d.len, &table);
	while (!why) {
		if (i >= entries)
			return FAULT_NEXT;
		d = desc_read(table, i, FETCH_CHAIN);
		if (d.flags & DESC_F_INDIRECT)
			return FAULT_NESTED;
		why = vq_walk_add(vq, w, d.addr, d.len, d.flags & DESC_F_WRITE);
		if (!(d.flags & DESC_F_NEXT))
			break;
		i = d.next;
	}
	return why;
}

/*
 * Walk the chain whose first descriptor is its slot, and is `d`. Direct descriptors may come first
 * and end in one indirect table (2.7.5.3.2), whose WRITE flag is ignored. NULL, or what is wrong
 * with it.
 */
static __attribute__((noinline)) const struct vq_fault *chain_take(struct vq *vq, struct vq_slot *s,
								   struct desc d)
{
	struct vq_walk w = vq_walk_begin(vq, s->chain.slot);
	const struct vq_fault *why;

	for (;;) {
		if (d.flags & DESC_F_INDIRECT) {
			why = table_read(vq, &w, d);
			break;
		}
		why = vq_walk_add(vq, &w, d.addr, d.len, d.flags & DESC_F_WRITE);
		if (why || !(d.flags & DESC_F_NEXT))
			break;
		if (d.next >= vq->s.size) {
			why = FAULT_NEXT;
			break;
		}
		d = desc_read(vq->desc, d.next, FETCH_CALL);
	}
	why = vq_walk_end(vq, &w, &s->chain, why);
	if (likely(!why))
		vq_chain_taken(vq, s);
	return why;
}

/*
 * The same of a chain that is one indirect table, of a queue that is not `slow`: what Linux makes,
 * and where most of a request's instructions would be. It knows little at a time, and what is wrong
 * breaks the queue at once.
 */
static inline __attribute__((always_inline)) const struct vq_fault *
table_take(struct vq *vq, struct vq_slot *s, struct desc d)
{
	const uint32_t entries = d.len / DESC_SIZE;
	struct iovec *const first = s->chain.iov, *v = first, *in;
	const struct iovec *const end = first + vq->chain_max;
	const struct vq_fault *why;
	uint64_t len = 0, out_len;
	void *table;

	fetch_chain(vq, s->chain.slot);
	why = vq_table_map(vq, d.addr, d.len, &table);
	if (unlikely(why))
		return why;
	d = desc_read(table, 0, FETCH_CHAIN);
	while (!(d.flags & (DESC_F_WRITE | DESC_F_INDIRECT))) {
		why = vq_buffer_put(vq, &v, end, d.addr, d.len, GMEM_READ);
		if (unlikely(why))
			return why;
		len += d.len;
		if (unlikely(!(d.flags & DESC_F_NEXT)))
			goto readable_only;
		if (unlikely(d.next >= entries))
			return FAULT_NEXT;
		d = desc_read(table, d.next, FETCH_CHAIN);
	}
readable_only:
	in = v;
	out_len = len;
	while (d.flags & (DESC_F_WRITE | DESC_F_INDIRECT)) {
		if (unlikely(d.flags & DESC_F_INDIRECT))
			return FAULT_NESTED;
		why = vq_buffer_put(vq, &v, end, d.addr, d.len, GMEM_WRITE);
		if (unlikely(why))
			return why;
		len += d.len;
		if (!(d.flags & DESC_F_NEXT))
			goto whole;
		if (unlikely(d.next >= entries))
			return FAULT_NEXT;
		d = desc_read(table, d.next, FETCH_CHAIN);
	}
	if (v != in)
		return FAULT_WRITABLE_FIRST;
whole:
	if (unlikely(len > VQ_CHAIN_BYTES_MAX))
		return FAULT_CHAIN_BYTES;
	s->chain.n_out = (uint16_t)(in - first);
	s->chain.n_in = (uint16_t)(v - in);
	s->chain.out_len = out_len;
	s->chain.in_len = len - out_len;
	vq_chain_taken(vq, s);
	return NULL;
}

/* One that was in flight when another process served the ring. */
static __attribute__((noinline)) int take_again(struct vq *vq, struct vq_chain **chain)
{
	uint16_t head = vq->again[vq->next_again++];
	struct vq_slot *s = &vq->slot[head];
	const struct vq_fault *why;

	if (vq->next_again == vq->n_again)
		vq->next_again = vq->n_again = 0;
	if (s->state != VQ_SLOT_FREE)
		return vq_broken(vq, head, FAULT_IN_FLIGHT);
	why = chain_take(vq, s, desc_read(vq->desc, head, FETCH_CALL));
	if (why)
		return vq_chain_broken(vq, &s->chain, why);
	*chain = &s->chain;
	return 1;
}

/* The chain at next_avail. */
static inline __attribute__((always_inline)) int pop_one(struct vq *vq, struct vq_chain **chain)
{
	const unsigned size = vq->s.size;
	uint16_t head = ring_load16(&avail(vq)->ring[vq->s.next_avail & (size - 1)]);
	struct vq_slot *s;
	const struct vq_fault *why;
	struct desc d;

	if (unlikely(head >= size))
		return vq_broken(vq, head, FAULT(LINT_HEAD, "head beyond the descriptor table"));
	s = &vq->slot[head];
	if (unlikely(s->state != VQ_SLOT_FREE))
		return vq_broken(vq, head, FAULT_IN_FLIGHT);
	d = desc_read(vq->desc, head, FETCH_CALL);
	if (likely((d.flags & (DESC_F_INDIRECT | DESC_F_NEXT)) == DESC_F_INDIRECT && !vq->slow))
		why = table_take(vq, s, d);
	else
		why = chain_take(vq, s, d);
	if (unlikely(why))
		return vq_chain_broken(vq, &s->chain, why);
	if (unlikely(vq->tracked))
		vq_inflight_split_taken(vq, head);
	vq->s.next_avail++;
	*chain = &s->chain;
	return 1;
}

static int split_pop(struct vq *vq, struct vq_chain **chain, unsigned max)
{
	unsigned n = 0, ready;
	int got = 1;

	while (unlikely(vq->n_again) && n < max && (got = take_again(vq, &chain[n])) == 1)
		n++;
	if (unlikely(got < 0))
		return n ? (int)n : got;
	/*
	 * Acquire. The driver writes descriptors and ring entries, then idx. Were they loaded
	 * before idx, we could see the new idx and an entry from the lap before.
	 */
	ready = (uint16_t)(ring_load16_acquire(&avail(vq)->idx) - vq->s.next_avail);
	if (unlikely(ready > vq->s.size)) {
		got = vq_broken(
			vq, 0,
			FAULT(LINT_IDX_JUMPS, "available index more than the queue size ahead"));
		return n ? (int)n : got;
	}
	for (max = ready < max - n ? n + ready : max; n < max; n++) {
		got = pop_one(vq, &chain[n]);
		if (unlikely(got < 0))
			return n ? (int)n : got;
		fetch_call_over(true);
	}
	return (int)n;
}

static void split_put(struct vq *vq, struct vq_chain *const *chain, unsigned n)
{
	const unsigned mask = vq->s.size - 1U;

	for (unsigned i = 0; i < n; i++) {
		struct vq_chain *c = chain[i];
		unsigned at = vq->s.next_used++ & mask;
		struct wire_used_elem *e = &used(vq)->ring[at];

		ring_store32(&e->id, c->slot);
		ring_store32(&e->len, c->written);
		vq_written(vq, vq->s.used + sizeof(struct wire_used) + at * sizeof(*e), sizeof(*e));
		vq_slot_of(c)->state = VQ_SLOT_FREE;
		if (unlikely(vq->tracked))
			vq_inflight_split_put(vq, c->slot);
	}
}

/* 2.7.7.1: for the lint; they count as if they were right. */
static __attribute__((cold, noinline)) void flags_wrong(struct vq *vq, uint16_t flags)
{
	lint_report(vq->lint, LINT_AVAIL_FLAGS, vq->index, "queue %u: flags 0x%x%s", vq->index,
		    flags, vq->event_idx ? " with EVENT_IDX" : "");
}

static bool split_publish(struct vq *vq)
{
	uint16_t old = vq->s.signalled, new = vq->s.next_used, flags;

	if (old == new)
		return false;
	/*
	 * Release. The driver reads idx, then the entries and the data. Were idx stored before
	 * them, the driver could take a length or data that is not there yet.
	 */
	ring_store16_release(&used(vq)->idx, new);
	vq_written(vq, vq->s.used, sizeof(struct wire_used));
	vq->s.signalled = new;
	if (unlikely(vq->tracked))
		vq_inflight_split_published(vq);

	/*
	 * Full barrier: store idx, then load used_event or flags. The driver does it the other way
	 * round: it asks for an interrupt (stores used_event or flags), then loads idx once more.
	 * Without a barrier on both sides both may load the old value: it sleeps without having
	 * seen our entry, and we do not wake it.
	 */
	ring_full_barrier();
	flags = ring_load16(&avail(vq)->flags);
	if (unlikely(flags > (vq->event_idx ? 0 : AVAIL_F_NO_INTERRUPT)))
		flags_wrong(vq, flags);
	if (!vq->event_idx)
		return !(flags & AVAIL_F_NO_INTERRUPT);
	return ring_event_passed(ring_load16(used_event(vq)), new, old);
}

static bool split_kicks(struct vq *vq, bool on)
{
	if (!vq->event_idx) {
		ring_store16(&used(vq)->flags, on ? 0 : USED_F_NO_NOTIFY);
		vq_written(vq, vq->s.used, sizeof(struct wire_used));
	} else if (on) {
		/* flags stay 0 (2.7.10.2). While avail_event lies behind, the driver passes it
		 * without a kick: there is nothing to switch off. */
		ring_store16(avail_event(vq), vq->s.next_avail);
		vq_written(vq, vq->s.used + used_bytes(vq) - sizeof(uint16_t), sizeof(uint16_t));
	}
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
		if (d.flags & DESC_F_INDIRECT) {
			if (in_table || gmem_map(vq->mem, d.addr, d.len, GMEM_READ, &host))
				return;
			table = host;
			in_table = true;
			entries = d.len / DESC_SIZE;
			i = 0;
			continue;
		}
		if (!(d.flags & DESC_F_NEXT))
			return;
		if (judge && vq->in_order)
			judge_next(vq, i, entries, in_table, d.next);
		i = d.next;
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

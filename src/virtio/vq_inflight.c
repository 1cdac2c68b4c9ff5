/* SPDX-License-Identifier: MIT */
/*
 * What a queue has in flight, kept in memory that outlives this process, so that another one can
 * take it up (QEMU, docs/interop/vhost-user.rst, "Inflight I/O tracking", where both layouts and
 * the order of the steps come from).
 *
 * A process may end between any two stores here. Those that it has made are in the area then, and
 * no others: so the order of the program is what counts, and the accesses below are volatile to
 * keep the compiler to it. The area is shared with a front end that may write anything into it:
 * indices out of it are checked, and all that a chain consists of is judged as if it came from the
 * ring.
 *
 * Split: desc[head] says whether that chain is in flight, and its place in the order. Those of the
 * batch being published are linked from last_batch_head, until used_idx says that they are done.
 *
 * Packed: a chain's descriptors are copied into entries of a free list, for used descriptors are
 * written over them in the ring; the first entry says how many there are, and which is the last.
 * free_head and used_idx run ahead of old_free_head and old_used_idx while a batch is published.
 */
#include "virtio/vq_inflight.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct split_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next; /* in the last batch */
	uint64_t counter;
};

struct split_area {
	uint64_t features; /* 0 */
	uint16_t version;  /* 0: nothing in it yet */
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct split_desc desc[];
};
_Static_assert(sizeof(struct split_area) == 16 && sizeof(struct split_desc) == 16, "vhost-user");

struct packed_desc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next; /* free entry, or entry of the same chain */
	uint16_t last, num;
	uint64_t counter;
	uint16_t id, flags;
	uint32_t len;
	uint64_t addr;
};

struct packed_area {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head, old_free_head;
	uint16_t used_idx, old_used_idx;
	uint8_t used_wrap_counter, old_used_wrap_counter;
	uint8_t padding[7];
	struct packed_desc desc[];
};
_Static_assert(offsetof(struct packed_area, desc) == 32 && sizeof(struct packed_desc) == 32,
	       "vhost-user");

enum { AREA_VERSION = 1, AREA_ALIGN = 64 };

static volatile struct split_area *split_area(const struct vq *vq)
{
	return vq->tracked;
}

static volatile struct packed_area *packed_area(const struct vq *vq)
{
	return vq->tracked;
}

size_t vq_inflight_bytes(uint16_t size, bool packed)
{
	size_t bytes = packed ? sizeof(struct packed_area) + size * sizeof(struct packed_desc)
			      : sizeof(struct split_area) + size * sizeof(struct split_desc);

	return align_up(bytes, AREA_ALIGN);
}

void vq_resume(struct vq *vq, void *area)
{
	vq->resume = true;
	vq->tracked = area;
}

unsigned vq_resumed(const struct vq *vq)
{
	return (unsigned)vq->n_again - vq->next_again;
}

/* Chains to be taken again, in the order in which they were taken first. */

struct found {
	uint64_t counter;
	uint16_t head;
};

static int by_counter(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->counter < y->counter ? -1 : x->counter > y->counter;
}

static void set_again(struct vq *vq, struct found *found, uint16_t n)
{
	qsort(found, n, sizeof(*found), by_counter);
	for (uint16_t i = 0; i < n; i++)
		vq->again[i] = found[i].head;
	vq->n_again = n;
	vq->next_again = 0;
	vq->counter = n ? found[n - 1].counter + 1 : 0;
}

/* Split */

void vq_inflight_split_setup(struct vq *vq, uint16_t used_idx)
{
	volatile struct split_area *a = split_area(vq);
	const uint16_t size = vq->s.size;
	struct found found[VQ_SIZE_MAX];
	uint16_t n = 0;

	vq->s.next_used = vq->s.signalled = used_idx;
	if (!a)
		return;
	if (a->version != AREA_VERSION || a->desc_num != size) {
		a->version = 0; /* whoever comes while this is half done begins again */
		for (uint16_t i = 0; i < size; i++)
			a->desc[i].inflight = 0;
		a->features = 0;
		a->desc_num = size;
		a->used_idx = used_idx;
		a->version = AREA_VERSION;
		return;
	}
	/* The index was published, but maybe not all of its chains are marked as over. */
	if (a->used_idx != used_idx) {
		uint16_t left = (uint16_t)(used_idx - a->used_idx), head = a->last_batch_head;

		for (; left && left <= size && head < size; left--) {
			a->desc[head].inflight = 0;
			head = a->desc[head].next;
		}
		a->used_idx = used_idx;
	}
	for (uint16_t i = 0; i < size; i++)
		if (a->desc[i].inflight)
			found[n++] = (struct found){ a->desc[i].counter, i };
	set_again(vq, found, n);
	vq->s.next_avail = (uint16_t)(used_idx + n);
}

void vq_inflight_split_taken(struct vq *vq, uint16_t head)
{
	volatile struct split_desc *d = &split_area(vq)->desc[head];

	d->counter = vq->counter++;
	d->inflight = 1;
}

void vq_inflight_split_put(struct vq *vq, uint16_t head)
{
	volatile struct split_area *a = split_area(vq);

	a->desc[head].next = a->last_batch_head;
	a->last_batch_head = head;
	/* Until it is published the driver cannot know, and has to leave the head alone. So a batch
	 * is never longer than the queue. */
	vq->slot[head].state = VQ_SLOT_UNSEEN;
	vq->batch[vq->n_batch++] = head;
}

void vq_inflight_split_published(struct vq *vq)
{
	volatile struct split_area *a = split_area(vq);

	while (vq->n_batch) {
		uint16_t head = vq->batch[--vq->n_batch];

		a->desc[head].inflight = 0;
		vq->slot[head].state = VQ_SLOT_FREE;
	}
	a->used_idx = vq->s.next_used;
}

/* Packed */

static void packed_begin(struct vq *vq, volatile struct packed_area *a)
{
	const uint16_t size = vq->s.size;

	a->version = 0;
	for (uint16_t i = 0; i < size; i++) {
		a->desc[i].inflight = 0;
		a->desc[i].next = (uint16_t)(i + 1);
	}
	a->features = 0;
	a->desc_num = size;
	a->free_head = a->old_free_head = 0;
	a->used_idx = a->old_used_idx = vq->s.next_used & VQ_POS_MASK;
	a->used_wrap_counter = a->old_used_wrap_counter = !(vq->s.next_used & VQ_POS_LAP);
	a->version = AREA_VERSION;
}

/* Is the batch that was being published visible to the driver? */
static bool packed_committed(const struct vq *vq, volatile struct packed_area *a,
			     bool (*available)(const struct vq *vq, uint16_t pos))
{
	uint16_t at = a->old_used_idx;

	if (at >= vq->s.size)
		return false;
	return !available(vq, (uint16_t)(at | (a->old_used_wrap_counter ? 0 : VQ_POS_LAP)));
}

int vq_inflight_packed_setup(struct vq *vq, bool (*available)(const struct vq *vq, uint16_t pos))
{
	volatile struct packed_area *a = packed_area(vq);
	const uint16_t size = vq->s.size;
	struct found found[VQ_SIZE_MAX];
	uint16_t n = 0, at, free;
	unsigned descs = 0;

	if (!a)
		return 0;
	if (a->version != AREA_VERSION || a->desc_num != size) {
		packed_begin(vq, a);
		return 0;
	}
	if ((a->used_idx != a->old_used_idx || a->used_wrap_counter != a->old_used_wrap_counter) &&
	    packed_committed(vq, a, available)) {
		a->old_free_head = a->free_head;
		a->old_used_idx = a->used_idx;
		a->old_used_wrap_counter = a->used_wrap_counter;
	} else {
		a->free_head = a->old_free_head;
		a->used_idx = a->old_used_idx;
		a->used_wrap_counter = a->old_used_wrap_counter;
	}
	free = a->free_head;
	for (uint16_t i = 0; i < size && free < size; i++) {
		a->desc[free].inflight = 0;
		free = a->desc[free].next;
	}
	for (uint16_t i = 0; i < size; i++) {
		if (!a->desc[i].inflight)
			continue;
		found[n++] = (struct found){ a->desc[i].counter, i };
		descs += a->desc[i].num;
	}
	at = a->used_idx;
	if (at >= size || descs > size)
		return -EINVAL;
	set_again(vq, found, n);
	vq->s.next_used = (uint16_t)(at | (a->used_wrap_counter ? 0 : VQ_POS_LAP));
	at = (uint16_t)(at + descs);
	vq->s.next_avail =
		at < size ? (uint16_t)((vq->s.next_used & VQ_POS_LAP) | at)
			  : (uint16_t)(((vq->s.next_used & VQ_POS_LAP) ^ VQ_POS_LAP) | (at - size));
	return 0;
}

void vq_inflight_packed_desc(struct vq *vq, struct vq_slot *s, uint16_t n,
			     const struct vq_inflight_desc *d)
{
	volatile struct packed_area *a = packed_area(vq);
	uint16_t at = n == 1 ? a->old_free_head : vq->free_entry;

	if (at >= vq->s.size) /* nothing that we have written */
		at = 0;
	if (n == 1)
		s->head = at;
	s->last = at;
	a->desc[at].addr = d->addr;
	a->desc[at].len = d->len;
	a->desc[at].flags = d->flags;
	a->desc[at].id = d->id;
	vq->free_entry = a->desc[at].next;
}

void vq_inflight_packed_taken(struct vq *vq, const struct vq_slot *s)
{
	volatile struct packed_area *a = packed_area(vq);
	volatile struct packed_desc *head = &a->desc[s->head];

	head->num = s->count;
	head->last = s->last;
	head->counter = vq->counter++;
	head->inflight = 1;
	/* Until here it was among the free ones, and would have been found there. */
	a->free_head = vq->free_entry;
	a->old_free_head = vq->free_entry;
}

bool vq_inflight_packed_again(struct vq *vq, struct vq_slot *s, uint16_t n,
			      struct vq_inflight_desc *d)
{
	volatile struct packed_area *a = packed_area(vq);
	uint16_t at = n == 1 ? vq->again[vq->next_again] : vq->free_entry;

	if (at >= vq->s.size)
		return false;
	if (n == 1)
		s->head = at;
	s->last = at;
	d->addr = a->desc[at].addr;
	d->len = a->desc[at].len;
	d->flags = a->desc[at].flags;
	d->id = a->desc[at].id;
	vq->free_entry = a->desc[at].next;
	return true;
}

void vq_inflight_packed_put(struct vq *vq, const struct vq_slot *s)
{
	volatile struct packed_area *a = packed_area(vq);

	a->desc[s->last].next = a->free_head;
	a->free_head = s->head;
	vq->batch[vq->n_batch++] = s->head;
}

void vq_inflight_packed_publish(struct vq *vq)
{
	volatile struct packed_area *a = packed_area(vq);

	a->used_idx = vq->s.next_used & VQ_POS_MASK;
	a->used_wrap_counter = !(vq->s.next_used & VQ_POS_LAP);
}

void vq_inflight_packed_published(struct vq *vq)
{
	volatile struct packed_area *a = packed_area(vq);

	while (vq->n_batch)
		a->desc[vq->batch[--vq->n_batch]].inflight = 0;
	a->old_free_head = a->free_head;
	a->old_used_idx = a->used_idx;
	a->old_used_wrap_counter = a->used_wrap_counter;
}

/* SPDX-License-Identifier: MIT */
/*
 * Barriers between what is made available and the telling of it; see vq_order.h. Numbers of
 * sections are those of virtio 1.2.
 *
 * Of each entry and descriptor it is known which vCPU stored to it last, and how many barriers that
 * one had had by then. When a store moves idx (of the packed ring: makes the descriptor available
 * that the device waits for), what becomes available by it is looked at, and nothing else: a driver
 * may prepare the next chain behind the barrier. If one of these was stored by the same vCPU, and
 * there was no barrier since, nothing kept the two apart.
 *
 * No finding, since nobody could be sure: what another vCPU had stored (a lock orders the two, or
 * nothing does); what came by the very same store (a wide one is seen whole); what was stored
 * before the queue was watched; tables and buffers, which are anywhere.
 */
#include "virtio/vq_order.h"

#include <stdlib.h>

#include "base/bits.h"
#include "virtio/vq_ring.h"
#include "virtio/vq_watch.h"

/* Offsets: 2.7.5, 2.7.6, 2.8.13. In a packed descriptor, flags are the last two bytes. */
enum { AVAIL_IDX = 2, AVAIL_RING = 4, SPLIT_FLAGS = 12, SPLIT_NEXT = 14, PACKED_FLAGS = 14 };

/* The last store to some bytes. */
struct stored {
	uint64_t fences, nth, pc;
	unsigned by; /* 1 + the vCPU; 0: nobody since the set-up */
};

struct vq_order {
	struct vq *vq;
	struct gmem_watch desc, avail; /* packed: all is in desc */
	unsigned watching;             /* of them */
	struct stored at_desc[VQ_SIZE_MAX];
	struct stored at_entry[VQ_SIZE_MAX]; /* packed: to the flags of the descriptor */
	uint16_t next; /* split: idx; packed: where the next chain begins, as in vq_state */
};

struct vq_order *vq_order_create(void)
{
	return calloc(1, sizeof(struct vq_order));
}

void vq_order_destroy(struct vq_order *o)
{
	free(o);
}

static bool hits(const struct gmem_store *s, gpa_t gpa, size_t len)
{
	return ranges_meet(gpa, len, s->gpa, s->len);
}

/* Remember the store for each of the elements of `size` bytes from `base` on of which it hits the
 * bytes [from, to). */
static void remember(struct stored *at, const struct gmem_store *s, gpa_t base, unsigned n,
		     unsigned size, unsigned from, unsigned to)
{
	const uint64_t first = s->gpa > base ? (s->gpa - base) / size : 0;

	for (uint64_t i = first; i < n && base + i * size < s->gpa + s->len; i++)
		if (hits(s, base + i * size + from, to - from))
			at[i] = (struct stored){
				.fences = s->fences,
				.nth = s->nth,
				.pc = s->pc,
				.by = s->cpu + 1,
			};
}

/* Was that stored by the same vCPU, and with no barrier before this store? */
static bool together(const struct stored *at, const struct gmem_store *s)
{
	return at->by == s->cpu + 1 && at->fences == s->fences && at->nth != s->nth;
}

static void found(const struct vq_order *o, const struct gmem_store *s, const struct stored *at,
		  const char *what, unsigned i, const char *last)
{
	char here[96], there[96];

	lint_pc(o->vq->lint, s->pc, here, sizeof(here));
	lint_pc(o->vq->lint, at->pc, there, sizeof(there));
	lint_report(o->vq->lint, LINT_NO_BARRIER, o->vq->index,
		    "queue %u: %s %u stored at pc %s, then %s at pc %s, with no barrier between",
		    o->vq->index, what, i, there, last, here);
}

/* ---- split ---- */

static gpa_t desc_at(const struct vq *vq, unsigned i, unsigned off)
{
	return vq->s.desc + (gpa_t)i * DESC_SIZE + off;
}

/* The descriptor of a chain that was stored last without a barrier, or -1. Whether it is a good
 * chain is for others to judge. */
static int split_chain(const struct vq_order *o, const struct gmem_store *s, uint16_t head)
{
	const struct vq *vq = o->vq;
	uint16_t flags;

	for (unsigned n = 0; n < vq->s.size && head < vq->s.size; n++) {
		if (together(&o->at_desc[head], s))
			return head;
		if (gmem_load16(vq->mem, desc_at(vq, head, SPLIT_FLAGS), &flags) ||
		    !(flags & DESC_F_NEXT) ||
		    gmem_load16(vq->mem, desc_at(vq, head, SPLIT_NEXT), &head))
			break;
	}
	return -1;
}

static void split_published(struct vq_order *o, const struct gmem_store *s)
{
	const struct vq *vq = o->vq;
	const gpa_t at = vq->s.avail + AVAIL_IDX;
	const bool whole = s->gpa <= at && at + 2 - s->gpa <= s->len;
	uint16_t idx, head, n;

	if (gmem_load16(vq->mem, at, &idx))
		return;
	n = (uint16_t)(idx - o->next);
	for (uint16_t k = 0; n <= vq->s.size && k < n; k++) {
		unsigned i = (uint16_t)(o->next + k) % vq->s.size;
		int desc = -1;

		if (together(&o->at_entry[i], s)) {
			found(o, s, &o->at_entry[i], "entry", i, "idx");
			break;
		}
		if (!gmem_load16(vq->mem, vq->s.avail + AVAIL_RING + 2 * i, &head))
			desc = split_chain(o, s, head);
		if (desc >= 0) {
			found(o, s, &o->at_desc[desc], "descriptor", (unsigned)desc, "idx");
			break;
		}
	}
	/* By bytes, as compilers do it for what may not be aligned, it may seem to
	 * jump half-way. */
	if (n <= vq->s.size || whole)
		o->next = idx;
}

static void split_avail(struct gmem_watch *w, const struct gmem_store *s)
{
	struct vq_order *o = container_of(w, struct vq_order, avail);
	const struct vq *vq = o->vq;

	/* First: what comes by the same store is there with idx. */
	if (hits(s, vq->s.avail + AVAIL_IDX, 2))
		split_published(o, s);
	remember(o->at_entry, s, vq->s.avail + AVAIL_RING, vq->s.size, 2, 0, 2);
}

static void split_desc(struct gmem_watch *w, const struct gmem_store *s)
{
	struct vq_order *o = container_of(w, struct vq_order, desc);

	remember(o->at_desc, s, o->vq->s.desc, o->vq->s.size, DESC_SIZE, 0, DESC_SIZE);
}

/* ---- packed ---- */

/* Was the descriptor at a position made available on this lap (2.8.1)? It may be used by now. */
static bool packed_made(const struct vq *vq, uint16_t pos)
{
	uint16_t flags;

	return !gmem_load16(vq->mem, desc_at(vq, pos & VQ_POS_MASK, PACKED_FLAGS), &flags) &&
	       !!(flags & DESC_F_AVAIL) == !(pos & VQ_POS_LAP);
}

static uint16_t packed_after(const struct vq *vq, uint16_t pos)
{
	return (pos & VQ_POS_MASK) + 1 < vq->s.size ? (uint16_t)(pos + 1)
						    : (uint16_t)(~pos & VQ_POS_LAP);
}

/* The flags of the descriptor that the device waits for were stored. What is available behind it
 * becomes so by them. */
static void packed_published(struct vq_order *o, const struct gmem_store *s)
{
	const struct vq *vq = o->vq;
	const unsigned head = o->next & VQ_POS_MASK;
	const struct stored *at = NULL;
	unsigned i = head;

	for (unsigned n = 0; n < vq->s.size && packed_made(vq, o->next); n++) {
		unsigned k = o->next & VQ_POS_MASK;

		if (!at && together(&o->at_desc[k], s))
			at = &o->at_desc[i = k];
		if (!at && k != head && together(&o->at_entry[k], s))
			at = &o->at_entry[i = k];
		o->next = packed_after(vq, o->next);
	}
	if (at)
		found(o, s, at, "descriptor", i, "flags of the first one");
}

static void packed_desc(struct gmem_watch *w, const struct gmem_store *s)
{
	struct vq_order *o = container_of(w, struct vq_order, desc);
	const struct vq *vq = o->vq;

	if (hits(s, desc_at(vq, o->next & VQ_POS_MASK, PACKED_FLAGS), 2))
		packed_published(o, s);
	remember(o->at_desc, s, vq->s.desc, vq->s.size, DESC_SIZE, 0, PACKED_FLAGS);
	remember(o->at_entry, s, vq->s.desc, vq->s.size, DESC_SIZE, PACKED_FLAGS, DESC_SIZE);
}

/* ---- life ---- */

void vq_order_setup(struct vq *vq)
{
	const bool packed = vq->ring == &vq_packed;
	struct vq_order *o = vq->watch->order;

	*o = (struct vq_order){ .vq = vq, .next = vq->s.next_avail };
	o->desc.gpa = vq->s.desc;
	o->desc.len = (uint64_t)vq->s.size * DESC_SIZE;
	o->desc.stored = packed ? packed_desc : split_desc;
	o->avail.gpa = vq->s.avail;
	o->avail.len = AVAIL_RING + 2 * (uint64_t)vq->s.size;
	o->avail.stored = split_avail;
	/* Where no CPU tells of stores, nothing is found. */
	if (!gmem_watch(vq->mem, &o->desc))
		o->watching++;
	if (o->watching && !packed && !gmem_watch(vq->mem, &o->avail))
		o->watching++;
}

void vq_order_reset(struct vq *vq)
{
	struct vq_order *o = vq->watch->order;

	if (o->watching > 1)
		gmem_unwatch(vq->mem, &o->avail);
	if (o->watching)
		gmem_unwatch(vq->mem, &o->desc);
	o->watching = 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The deep tier of the lint; see vq_shadow.h.
 *
 * Changes are looked for when a chain is given back, before the driver can know: until then it may
 * touch nothing of it. Two things are the driver's again earlier, and are then not looked at. An
 * entry of the available ring, or a descriptor of the packed ring, may be written anew as soon as
 * as many chains were used as were available before it, since the driver cannot have more in the
 * ring than fit. And with chains that come back out of order, the packed ring's
 * descriptors are written over by the device itself, just there.
 *
 * Notifications are counted in the time between vq_pop() and vq_kicks(), and so are the
 * entries that become available in it: none of these is to be notified of. A CPU that was about to
 * notify may do so late, once, so what counts is more than LATE_MEAN in one such time and the next,
 * by LATE_SUM over all. Notifications for nothing new do not count: they are allowed (virtio
 * 1.2, 2.9), and in the packed ring all are (2.8.16).
 */
#include "virtio/vq_shadow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "virtio/vq_ring.h"
#include "virtio/vq_watch.h"

enum { HEADER = 16, DATA_MIN = 512 }; /* bytes: before data, and of those at least */
enum { LATE_MEAN = 2, LATE_SUM = 16 };

struct shadow_chain {
	bool again;   /* taken before this queue was watched: not judged */
	uint16_t pos; /* where it was taken, */
	uint64_t at;  /* and as a count, as vq_shadow has it */
	struct vq_digest seen;
	uint64_t readable;
};

struct vq_shadow {
	struct shadow_chain chain[VQ_SIZE_MAX]; /* by slot */
	uint64_t taken, used; /* split: chains; packed: descriptors; since the set-up */
	uint16_t last_used;   /* next_used, up to which they are counted */
	bool kicks_on;
	uint16_t idx;  /* the available index when they went off */
	unsigned late; /* notifications since then and before, less what is to be expected */
};

struct vq_shadow *vq_shadow_create(void)
{
	return calloc(1, sizeof(struct vq_shadow));
}

void vq_shadow_destroy(struct vq_shadow *s)
{
	free(s);
}

static struct vq_shadow *shadow(const struct vq *vq)
{
	return vq->watch->shadow;
}

/* ---- Chains in flight ---- */

/*
 * What the device reads of a chain, but for data of a write. Those may change: Linux writes pages
 * of files while programs go on writing to them, and writes them again later. The standard has
 * nothing against it (3.3.1 is about descriptors and rings).
 */
static uint64_t digest_readable(const struct vq *vq, const struct vq_chain *c)
{
	const struct vq_buf *buf = vq_bufs_of(vq, c);
	uint64_t total = 0, hash = VQ_HASH_INIT;
	size_t left;

	for (unsigned i = 0; i < c->n_out; i++)
		total += buf[i].len;
	left = total < HEADER + DATA_MIN ? HEADER + DATA_MIN : HEADER;
	for (unsigned i = 0; i < c->n_out && left; i++) {
		size_t n = buf[i].len < left ? buf[i].len : left;
		void *host;

		/* Not the chain's iovec: the device may have eaten that up. */
		if (gmem_map(vq->mem, buf[i].gpa, n, GMEM_READ, &host))
			continue;
		hash = vq_hash(hash, host, n);
		left -= n;
	}
	return hash;
}

/* A buffer that the device would write over the ring itself. */
static void judge_places(const struct vq *vq, const struct vq_chain *c)
{
	const struct vq_buf *buf = vq_bufs_of(vq, c);

	for (unsigned i = c->n_out; i < (unsigned)c->n_out + c->n_in; i++)
		for (unsigned k = 0; k < vq->n_parts; k++) {
			const struct vq_part *p = &vq->part[k];

			if (ranges_meet(buf[i].gpa, buf[i].len, p->gpa, p->len))
				lint_report(vq->lint, LINT_BUFFER_IN_RING, vq->index,
					    "queue %u: head %u has 0x%" PRIx64
					    ", %u bytes, written, and the ring is at 0x%" PRIx64,
					    vq->index, c->slot, buf[i].gpa, buf[i].len, p->gpa);
		}
}

/* The driver's name for the chain, packed: is another one of that name in flight? */
static void judge_id(const struct vq *vq, uint16_t slot)
{
	for (unsigned i = 0; i < vq->s.size; i++)
		if (i != slot && vq->slot[i].state != VQ_SLOT_FREE &&
		    vq->slot[i].id == vq->slot[slot].id) {
			lint_report(vq->lint, LINT_ID_REUSED, vq->index,
				    "queue %u: id %u while another of that id is in flight",
				    vq->index, vq->slot[slot].id);
			return;
		}
}

void vq_shadow_pop(struct vq *vq, const struct vq_chain *c, uint16_t pos, bool again)
{
	struct vq_shadow *s = shadow(vq);
	struct shadow_chain *sc = &s->chain[c->slot];

	sc->again = again;
	if (again)
		return;
	sc->pos = pos;
	sc->at = s->taken;
	s->taken += vq->ring == &vq_packed ? vq->slot[c->slot].count : 1;
	vq->ring->digest(vq, c->slot, pos, true, &sc->seen);
	sc->readable = digest_readable(vq, c);
	judge_places(vq, c);
	if (vq->ring == &vq_packed)
		judge_id(vq, c->slot);
}

/* Count what was used since the last time. At most a ring full: each chain given back
 * comes here. */
static void count_used(const struct vq *vq)
{
	struct vq_shadow *s = shadow(vq);
	const unsigned size = vq->s.size;
	unsigned n;

	if (vq->ring != &vq_packed) {
		n = (uint16_t)(vq->s.next_used - s->last_used);
	} else {
		/* Positions on two laps, see vq_state. */
		unsigned now = (vq->s.next_used & 0x7fffU) + (vq->s.next_used >> 15) * size;
		unsigned then = (s->last_used & 0x7fffU) + (s->last_used >> 15) * size;

		n = (now + 2 * size - then) % (2 * size);
	}
	s->used += n;
	s->last_used = vq->s.next_used;
}

void vq_shadow_push(struct vq *vq, const struct vq_chain *c)
{
	const uint16_t slot = c->slot;
	const struct shadow_chain *sc = &shadow(vq)->chain[slot];
	struct vq_digest now = sc->seen;
	bool whole;

	count_used(vq);
	if (sc->again)
		return;
	whole = sc->at >= shadow(vq)->used; /* the driver cannot have come round yet */
	vq->ring->digest(vq, slot, sc->pos, false, &now);
	if (whole && now.entry != sc->seen.entry)
		lint_report(vq->lint, LINT_IDX_EARLY, vq->index,
			    "queue %u: head %u at %u of the available ring, which is %u now",
			    vq->index, sc->seen.entry, sc->pos, now.entry);
	else if ((whole || vq->ring != &vq_packed) && now.ring != sc->seen.ring)
		lint_report(vq->lint, LINT_DESC_CHANGED, vq->index,
			    "queue %u: a descriptor of head %u differs from when it was taken",
			    vq->index, slot);
	else if (now.table != sc->seen.table)
		lint_report(
			vq->lint, LINT_DESC_CHANGED, vq->index,
			"queue %u: the indirect table of head %u differs from when it was taken",
			vq->index, slot);
	if (digest_readable(vq, c) != sc->readable)
		lint_report(
			vq->lint, LINT_HEADER_CHANGED, vq->index,
			"queue %u: what is read of head %u before its data differs from when it "
			"was taken",
			vq->index, slot);
}

/* ---- Notifications ---- */

/* Where the driver is. */
static uint16_t driver_at(const struct vq *vq)
{
	struct vq_look look;

	vq->ring->look(vq, &look);
	return look.driver;
}

void vq_shadow_setup(struct vq *vq)
{
	struct vq_shadow *s = shadow(vq);

	s->taken = s->used = 0;
	s->last_used = vq->s.next_used;
	s->kicks_on = true;
	s->late = 0;
}

void vq_shadow_kicks_on(struct vq *vq, uint64_t kicks)
{
	struct vq_shadow *s = shadow(vq);
	uint16_t made;

	if (s->kicks_on)
		return;
	s->kicks_on = true;
	if (vq->ring == &vq_packed)
		return;
	made = (uint16_t)(driver_at(vq) - s->idx);
	s->late += (unsigned)(kicks < made ? kicks : made);
	s->late -= s->late < LATE_MEAN ? s->late : LATE_MEAN;
	if (s->late <= LATE_SUM)
		return;
	s->late = 0;
	lint_report(vq->lint, LINT_KICK_SUPPRESSED, vq->index,
		    "queue %u: %" PRIu64 " notifications and %u new entries while %s", vq->index,
		    kicks, made,
		    vq->event_idx ? "avail_event had been passed" : "flags of the used ring was 1");
}

void vq_shadow_kicks_off(struct vq *vq)
{
	struct vq_shadow *s = shadow(vq);

	if (s->kicks_on)
		s->idx = driver_at(vq);
	s->kicks_on = false;
}

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
 * Notifications are counted against credits, so that no race between the two sides is ever called
 * a slip: a kick that the driver decided on before it could see the device's wish has its credit.
 *
 *      event index     each value of avail_event is passed once, and gives one kick
 *      flags           each entry that became available while the flag was 0 gives one, and of
 *                      those under a flag of 1 as many as CPUs may have read it late
 *
 * A descriptor of the packed ring is no reason not to notify twice (2.8.16), so this is for the
 * split ring.
 */
#include "virtio/vq_shadow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vq_ring.h"
#include "virtio/vq_watch.h"

enum { HEADER = 16, DATA_MIN = 512 }; /* bytes: before data, and of those at least */
enum { LATE = 16 };                   /* CPUs that may have read the flag just before it changed */
enum { CREDITS_MAX = 64 };

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
	int credits;    /* notifications that may still come */
	uint16_t event; /* the last avail_event */
	uint16_t idx;   /* the available index up to which entries have given credits */
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
	const struct vq_buf *buf = &vq->buf[(size_t)c->slot * VQ_ROW];
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
	const struct vq_buf *buf = &vq->buf[(size_t)c->slot * VQ_ROW];

	for (unsigned i = c->n_out; i < (unsigned)c->n_out + c->n_in; i++)
		for (unsigned k = 0; k < vq->n_parts; k++) {
			const struct vq_part *p = &vq->part[k];

			if (buf[i].gpa < p->gpa + p->len && p->gpa < buf[i].gpa + buf[i].len)
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
		if (i != slot && vq->slot[i].in_flight && vq->slot[i].id == vq->slot[slot].id) {
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

/* Count what was used since the last time. At most a ring full: each chain given back comes here.
 */
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

void vq_shadow_push(struct vq *vq, uint16_t slot)
{
	const struct shadow_chain *sc = &shadow(vq)->chain[slot];
	const struct vq_slot *s = &vq->slot[slot];
	const struct vq_chain c = { .slot = slot, .n_out = s->n_out };
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
	if (digest_readable(vq, &c) != sc->readable)
		lint_report(
			vq->lint, LINT_HEADER_CHANGED, vq->index,
			"queue %u: what is read of head %u before its data differs from when it "
			"was taken",
			vq->index, slot);
}

/* ---- Notifications ---- */

static bool counted(const struct vq *vq)
{
	return vq->ring != &vq_packed;
}

static void credit(struct vq_shadow *s, unsigned n)
{
	if (n > CREDITS_MAX)
		n = CREDITS_MAX;
	s->credits += (int)n;
	if (s->credits > CREDITS_MAX)
		s->credits = CREDITS_MAX;
}

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
	s->event = 0;
	s->idx = vq->s.next_avail;
	/* For the avail_event that is there, and for a queue that begins again where it was. */
	s->credits = 2;
}

void vq_shadow_kicks_begin(struct vq *vq, bool on)
{
	struct vq_shadow *s = shadow(vq);
	uint16_t idx, n;

	if (!counted(vq) || vq->event_idx || !on || s->kicks_on)
		return;
	/* Before the flag becomes 0: these entries should not have been kicked for, but their CPU
	 * may read the flag only after that. */
	idx = driver_at(vq);
	n = (uint16_t)(idx - s->idx);
	credit(s, n < LATE ? n : LATE);
	s->idx = idx;
}

void vq_shadow_kicks(struct vq *vq, bool on)
{
	struct vq_shadow *s = shadow(vq);
	uint16_t idx;

	if (!counted(vq))
		return;
	if (vq->event_idx) {
		if (on && s->event != vq->s.next_avail)
			credit(s, 1);
		if (on)
			s->event = vq->s.next_avail;
		return;
	}
	/* After the flag became 1: whoever makes more available reads it, see split_kicks(). */
	if (!on && s->kicks_on) {
		idx = driver_at(vq);
		credit(s, (uint16_t)(idx - s->idx));
		s->idx = idx;
	}
	s->kicks_on = on;
}

void vq_shadow_kicked(struct vq *vq, uint64_t n)
{
	struct vq_shadow *s = shadow(vq);

	if (!counted(vq))
		return;
	if (!vq->event_idx && s->kicks_on) {
		uint16_t idx = driver_at(vq);

		credit(s, (uint16_t)(idx - s->idx));
		s->idx = idx;
	}
	s->credits -= n < 2 * CREDITS_MAX ? (int)n : 2 * CREDITS_MAX;
	if (s->credits >= 0)
		return;
	lint_report(vq->lint, LINT_KICK_SUPPRESSED, vq->index,
		    "queue %u: %d notifications more than %s asked for", vq->index, -s->credits,
		    vq->event_idx ? "avail_event has" : "flags has");
	s->credits = 0;
}

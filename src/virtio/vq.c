/* SPDX-License-Identifier: MIT */
/*
 * The virtqueue (virtio 1.2, 2.6 to 2.8), but for the layout of its ring: chains in flight and
 * their buffers.
 *
 * The rings are mapped once, at set-up: regions of guest RAM stay where they are for the life of
 * the VM. All that is read from them is read exactly once, into a local, and judged there.
 */
#include "virtio/vq.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "host/file.h"
#include "virtio/vq_ring.h"
#include "virtio/vq_watch.h"

enum { VQ_ROOM = VQ_SIZE_MAX * VQ_ROW }; /* descriptors of all rows, one for each chain */

/* Life */

int vq_create(struct vq **vq, struct gmem *mem, struct log *log, const char *name)
{
	struct vq *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	/* Zero pages until a chain touches them: a row costs memory only once it was that long. */
	q->slot = calloc(VQ_SIZE_MAX, sizeof(*q->slot));
	q->iov = host_map_sparse(VQ_ROOM * sizeof(*q->iov));
	q->buf = host_map_sparse(VQ_ROOM * sizeof(*q->buf));
	if (!q->slot || !q->iov || !q->buf) {
		vq_destroy(q);
		return -ENOMEM;
	}
	q->mem = mem;
	q->log = log;
	snprintf(q->name, sizeof(q->name), "%s", name);
	vq_detour(q);
	*vq = q;
	return 0;
}

void vq_destroy(struct vq *vq)
{
	if (!vq)
		return;
	vq_reset(vq);
	vq_watch_free(vq);
	free(vq->slot);
	host_unmap(vq->iov, VQ_ROOM * sizeof(*vq->iov));
	host_unmap(vq->buf, VQ_ROOM * sizeof(*vq->buf));
	free(vq);
}

void vq_lint(struct vq *vq, struct lint *lint, unsigned index)
{
	vq->lint = lint;
	vq->index = index;
}

int vq_part_map(struct vq *vq, const char *what, gpa_t gpa, size_t len, unsigned align,
		enum gmem_access access, void **host)
{
	if (gpa % align) {
		vq_wrong(vq, LINT_QUEUE_ALIGN, "%s at 0x%llx is not aligned to %u (2.7.1, 2.8.10)",
			 what, (unsigned long long)gpa, align);
		return -EINVAL;
	}
	if (gmem_map(vq->mem, gpa, len, access, host)) {
		vq_wrong(vq, LINT_QUEUE_NOT_RAM, "%s at 0x%llx, %zu bytes, is not in RAM", what,
			 (unsigned long long)gpa, len);
		return -EINVAL;
	}
	for (unsigned i = 0; vq->lint && i < vq->n_parts; i++)
		if (ranges_meet(gpa, len, vq->part[i].gpa, vq->part[i].len))
			lint_report(vq->lint, LINT_QUEUE_OVERLAP, vq->index,
				    "%s at 0x%llx, %zu bytes, over what is at 0x%llx", what,
				    (unsigned long long)gpa, len,
				    (unsigned long long)vq->part[i].gpa);
	vq->part[vq->n_parts++] = (struct vq_part){ gpa, len, access };
	return 0;
}

int vq_setup(struct vq *vq, const struct vq_state *state, uint64_t features)
{
	const struct vq_ring *ring = features & BIT(VIRTIO_F_RING_PACKED) ? &vq_packed : &vq_split;
	struct vq_state s = *state;
	bool resume = vq->resume;
	int bad;
	void *tracked = vq->tracked;

	vq_reset(vq);
	if (!s.size || s.size > VQ_SIZE_MAX) {
		vq_wrong(vq, LINT_QUEUE_SIZE, "queue size %u is not from 1 to %u (2.7, 2.8.10)",
			 s.size, (unsigned)VQ_SIZE_MAX);
		return -EINVAL;
	}
	vq->s = s;
	vq->s.broken = 0;
	vq->indirect = features & BIT(VIRTIO_F_INDIRECT_DESC);
	vq->event_idx = features & BIT(VIRTIO_F_EVENT_IDX);
	vq->in_order = features & BIT(VIRTIO_F_IN_ORDER);
	vq->chain_max = s.size < VQ_CHAIN_MAX ? s.size : VQ_CHAIN_MAX;
	vq->reports = gmem_observed(vq->mem) || vq->watch;
	vq->slow = vq->reports || vq->in_order;
	vq->resume = resume;
	vq->tracked = tracked;
	vq->plain = !vq->slow && !tracked && vq->indirect;
	vq->table_max = vq->plain ? vq->chain_max * DESC_SIZE : 0;
	vq->kicks_on = !vq->event_idx || vq->watch;
	for (uint16_t i = 0; i < s.size; i++)
		vq->slot[i].chain =
			(struct vq_chain){ .slot = i, .iov = &vq->iov[(size_t)i * VQ_ROW] };
	bad = ring->setup(vq);
	fetch_call_over(false); /* not for guests: the lint may look twice */
	if (bad) {
		vq_reset(vq);
		return -EINVAL;
	}
	vq->ring = ring;
	vq_detour(vq);
	if (vq->watch)
		vq_watch_setup(vq, features);
	return 0;
}

/* Let go of a slot's buffers: the device will not touch them any more. */
static void buffers_release(struct vq *vq, uint16_t slot)
{
	const struct vq_chain *c = &vq->slot[slot].chain;
	const struct vq_buf *buf = vq_bufs_of(vq, c) + c->n_out;

	for (unsigned i = 0; vq->reports && i < c->n_in; i++)
		gmem_unmap(vq->mem, buf[i].gpa, buf[i].len, GMEM_WRITE);
}

void vq_reset(struct vq *vq)
{
	if (vq->watch && vq->ring)
		vq_watch_reset(vq);
	for (uint16_t i = 0; i < vq->s.size; i++) {
		if (vq->slot[i].state == VQ_SLOT_TAKEN) {
			fetch_chain_over(vq, i);
			buffers_release(vq, i);
		}
		vq->slot[i].state = VQ_SLOT_FREE;
	}
	while (vq->n_parts) {
		const struct vq_part *p = &vq->part[--vq->n_parts];

		gmem_unmap(vq->mem, p->gpa, p->len, p->access);
	}
	vq->ring = NULL;
	vq->resume = false;
	vq->tracked = NULL;
	vq->n_again = vq->next_again = vq->n_batch = 0;
	memset(&vq->s, 0, sizeof(vq->s));
	vq_detour(vq);
	vq->awake = vq->kicks_on = false;
	vq->in_flight = 0;
	vq->first = vq->n_order = 0;
	vq->desc = vq->avail = vq->used = NULL;
	vq->ram_size = 0;
}

const struct vq_state *vq_state(const struct vq *vq)
{
	return &vq->s;
}

bool vq_available(const struct vq *vq)
{
	bool there = vq->ring && !vq->s.broken && vq->ring->available(vq);

	fetch_call_over(true);
	return there;
}

void vq_first_kick(struct vq *vq)
{
	/* Nobody lets a ring go round before the first kick, so at 0 nothing was ever taken. */
	if (!vq->lint || !vq->ring || vq->s.broken || vq->s.next_avail || vq_available(vq))
		return;
	lint_report(vq->lint, LINT_KICK_EMPTY, vq->index,
		    "queue %u notified, and nothing was ever available: %s", vq->index,
		    vq->ring == &vq_packed ? "the ring is packed, since RING_PACKED was accepted, "
					     "and its first descriptor is not marked"
					   : "idx of the available ring is 0");
}

unsigned vq_in_flight(const struct vq *vq)
{
	return vq->in_flight;
}

/* Taking chains */

int vq_broken(struct vq *vq, unsigned at, const struct vq_fault *why)
{
	char values[64] = "";

	vq->s.broken = 1;
	vq_detour(vq);
	if (why->rule == LINT_BUFFER)
		snprintf(values, sizeof(values), ": %u bytes at 0x%llx", vq->lost_len,
			 (unsigned long long)vq->lost_gpa);
	vq_wrong(vq, why->rule, "malformed ring at available index %u, descriptor %u: %s%s",
		 vq->s.next_avail, at, why->text, values);
	return -EPROTO;
}

void vq_keep_buffers(struct vq *vq, const struct vq_chain *c)
{
	struct vq_buf *buf = vq_bufs_of(vq, c);

	for (unsigned i = 0; i < (unsigned)c->n_out + c->n_in; i++)
		buf[i] = (struct vq_buf){
			.gpa = gmem_gpa(vq->mem, c->iov[i].iov_base),
			.len = (uint32_t)c->iov[i].iov_len,
		};
}

int vq_chain_broken(struct vq *vq, const struct vq_chain *c, const struct vq_fault *why)
{
	const struct vq_buf *buf = vq_bufs_of(vq, c);

	fetch_call_over(false); /* loops come by the same place again */
	fetch_chain_over(vq, c->slot);
	for (unsigned i = c->n_out; vq->reports && i < (unsigned)c->n_out + c->n_in; i++)
		gmem_unmap(vq->mem, buf[i].gpa, buf[i].len, GMEM_WRITE);
	return vq_broken(vq, c->slot, why);
}

void *vq_map_elsewhere(struct vq *vq, gpa_t gpa, uint32_t len, enum gmem_access access)
{
	const struct gmem_region *region = gmem_find(vq->mem, gpa);
	void *host;

	if (gmem_map(vq->mem, gpa, len, access, &host)) {
		vq->lost_gpa = gpa;
		vq->lost_len = len;
		return NULL;
	}
	if (region) {
		vq->ram_base = region->base;
		vq->ram_size = region->size;
		vq->ram_host = region->host;
	}
	return host;
}

static void kicks_off(struct vq *vq)
{
	vq->kicks_on = false;
	if (vq->watch)
		vq_watch_kicks(vq, false);
	else
		vq->ring->kicks(vq, false);
	fetch_call_over(true);
}

static __attribute__((noinline)) int pop_detour(struct vq *vq, struct vq_chain **chain,
						unsigned max)
{
	if (vq->s.broken || !vq->ring)
		return vq->s.broken ? -EPROTO : 0;
	if (vq->kicks_on)
		kicks_off(vq);
	return vq->watch ? vq_watch_pop(vq, chain, max) : vq->ring->pop(vq, chain, max);
}

int vq_pop(struct vq *vq, struct vq_chain **chain, unsigned max)
{
	int got;

	if (unlikely(vq->detour || vq->kicks_on))
		got = pop_detour(vq, chain, max);
	else
		got = vq->ring->pop(vq, chain, max);
	fetch_call_over(!vq->s.broken);
	return got;
}

/* Giving them back */

/* IN_ORDER (2.6.2): used entries in the order of the available ones, so those that were pushed wait
 * for the ones before them. */
static void put_in_order(struct vq *vq)
{
	while (vq->n_order) {
		struct vq_slot *s = &vq->slot[vq->order[vq->first]];
		struct vq_chain *chain = &s->chain;

		if (s->state != VQ_SLOT_DONE)
			return;
		vq->first = (uint16_t)((vq->first + 1) % VQ_SIZE_MAX);
		vq->n_order--;
		vq->ring->put(vq, &chain, 1);
	}
}

/* To a queue that is watched, reported, or answers in order. */
static __attribute__((noinline)) void push_slow(struct vq *vq, struct vq_chain *const *chain,
						unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vq_chain *c = chain[i];

		if (vq->watch)
			vq_watch_push(vq, c);
		buffers_release(vq, c->slot);
		if (vq->in_order)
			vq_slot_of(c)->state = VQ_SLOT_DONE;
		else
			vq->ring->put(vq, &c, 1);
	}
	put_in_order(vq);
}

void vq_push(struct vq *vq, struct vq_chain *const *chain, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fetch_chain_over(vq, chain[i]->slot);
	vq->in_flight -= n;
	if (likely(!vq->slow))
		vq->ring->put(vq, chain, n);
	else
		push_slow(vq, chain, n);
}

void vq_reject(struct vq *vq, struct vq_chain *chain, enum lint_id rule, const char *why)
{
	fetch_chain_over(vq, chain->slot);
	buffers_release(vq, chain->slot);
	vq->in_flight--;
	vq_slot_of(chain)->state = VQ_SLOT_FREE;
	vq_broken(vq, chain->slot, &(const struct vq_fault){ rule, why });
}

static __attribute__((noinline)) bool publish_detour(struct vq *vq)
{
	if (!vq->ring)
		return false;
	return vq->watch ? vq_watch_publish(vq) : vq->ring->publish(vq);
}

bool vq_publish(struct vq *vq)
{
	bool irq = unlikely(vq->detour) ? publish_detour(vq) : vq->ring->publish(vq);

	fetch_call_over(true);
	return irq;
}

static __attribute__((noinline)) bool kicks_detour(struct vq *vq)
{
	if (vq->s.broken || !vq->ring)
		return vq->s.broken;
	vq->kicks_on = true;
	return vq_watch_kicks(vq, true);
}

bool vq_kicks(struct vq *vq)
{
	bool more;

	if (vq->awake)
		return vq->s.broken || vq_available(vq);
	more = unlikely(vq->detour) ? kicks_detour(vq) : vq->ring->kicks(vq, true);
	fetch_call_over(true);
	return more;
}

bool vq_awake(struct vq *vq, bool awake)
{
	vq->awake = awake;
	if (!awake)
		return vq_kicks(vq);
	if (vq->kicks_on && vq->ring && !vq->s.broken)
		kicks_off(vq);
	return false;
}

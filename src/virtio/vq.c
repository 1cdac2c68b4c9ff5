/* SPDX-License-Identifier: MIT */
/*
 * The virtqueue, but for the layout of its ring: chains in flight and their buffers.
 *
 * The rings are mapped once, at set-up: regions of guest RAM stay where they are for the life of
 * the VM. All that is read from them is read exactly once, into a local, and judged there.
 */
#include "virtio/vq.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vq_ring.h"

/* 2.7.5.2: no chain is longer than this. */
#define CHAIN_BYTES_MAX (1ULL << 32)

/* Life */

int vq_create(struct vq **vq, struct gmem *mem, struct log *log, const char *name)
{
	struct vq *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	/* Zero pages until a chain touches them: a row costs memory only once it was that long. */
	q->iov = calloc((size_t)VQ_SIZE_MAX * VQ_ROW, sizeof(*q->iov));
	q->buf = calloc((size_t)VQ_SIZE_MAX * VQ_ROW, sizeof(*q->buf));
	if (!q->iov || !q->buf) {
		vq_destroy(q);
		return -ENOMEM;
	}
	q->mem = mem;
	q->log = log;
	snprintf(q->name, sizeof(q->name), "%s", name);
	*vq = q;
	return 0;
}

void vq_destroy(struct vq *vq)
{
	if (!vq)
		return;
	vq_reset(vq);
	free(vq->iov);
	free(vq->buf);
	free(vq);
}

int vq_part_map(struct vq *vq, const char *what, gpa_t gpa, size_t len, unsigned align,
		enum gmem_access access, void **host)
{
	if (gpa % align) {
		log_guest(vq->log, &vq->limit, LOG_WARN, vq->name,
			  "%s at 0x%llx is not aligned to %u (2.7.1, 2.8.10)", what,
			  (unsigned long long)gpa, align);
		return -EINVAL;
	}
	if (gmem_map(vq->mem, gpa, len, access, host)) {
		log_guest(vq->log, &vq->limit, LOG_WARN, vq->name,
			  "%s at 0x%llx, %zu bytes, is not in RAM", what, (unsigned long long)gpa,
			  len);
		return -EINVAL;
	}
	vq->part[vq->n_parts++] = (struct vq_part){ gpa, len, access };
	return 0;
}

int vq_setup(struct vq *vq, const struct vq_state *state, uint64_t features)
{
	const struct vq_ring *ring = features & BIT(VIRTIO_F_RING_PACKED) ? &vq_packed : &vq_split;
	struct vq_state s = *state;

	vq_reset(vq);
	if (!s.size || s.size > VQ_SIZE_MAX) {
		log_guest(vq->log, &vq->limit, LOG_WARN, vq->name,
			  "queue size %u is not from 1 to %u (2.7, 2.8.10)", s.size,
			  (unsigned)VQ_SIZE_MAX);
		return -EINVAL;
	}
	vq->s = s;
	vq->s.broken = 0;
	vq->indirect = features & BIT(VIRTIO_F_INDIRECT_DESC);
	vq->event_idx = features & BIT(VIRTIO_F_EVENT_IDX);
	vq->in_order = features & BIT(VIRTIO_F_IN_ORDER);
	if (ring->setup(vq)) {
		vq_reset(vq);
		return -EINVAL;
	}
	vq->ring = ring;
	return 0;
}

/* Let go of a slot's buffers: the device will not touch them any more. */
static void buffers_release(struct vq *vq, uint16_t slot)
{
	const struct vq_slot *s = &vq->slot[slot];
	const struct vq_buf *buf = &vq->buf[(size_t)slot * VQ_ROW + s->n_out];

	for (unsigned i = 0; i < s->n_in; i++)
		gmem_unmap(vq->mem, buf[i].gpa, buf[i].len, GMEM_WRITE);
}

void vq_reset(struct vq *vq)
{
	for (uint16_t i = 0; i < vq->s.size; i++) {
		if (vq->slot[i].in_flight && !vq->slot[i].done)
			buffers_release(vq, i);
		vq->slot[i].in_flight = vq->slot[i].done = false;
	}
	while (vq->n_parts) {
		const struct vq_part *p = &vq->part[--vq->n_parts];

		gmem_unmap(vq->mem, p->gpa, p->len, p->access);
	}
	vq->ring = NULL;
	memset(&vq->s, 0, sizeof(vq->s));
	vq->in_flight = 0;
	vq->first = vq->n_order = 0;
	vq->desc = vq->avail = vq->used = NULL;
}

const struct vq_state *vq_state(const struct vq *vq)
{
	return &vq->s;
}

unsigned vq_in_flight(const struct vq *vq)
{
	return vq->in_flight;
}

/* Taking chains */

int vq_broken(struct vq *vq, unsigned at, const char *why)
{
	vq->s.broken = 1;
	log_guest(vq->log, &vq->limit, LOG_WARN, vq->name,
		  "malformed ring at available index %u, descriptor %u: %s", vq->s.next_avail, at,
		  why);
	return -EPROTO;
}

int vq_chain_broken(struct vq *vq, const struct vq_chain *c, const char *why)
{
	const struct vq_buf *buf = &vq->buf[(size_t)c->slot * VQ_ROW];

	for (unsigned i = c->n_out; i < (unsigned)c->n_out + c->n_in; i++)
		gmem_unmap(vq->mem, buf[i].gpa, buf[i].len, GMEM_WRITE);
	return vq_broken(vq, c->slot, why);
}

const char *vq_chain_add(struct vq *vq, struct vq_chain *c, gpa_t gpa, uint32_t len, bool write)
{
	unsigned n = (unsigned)c->n_out + c->n_in;
	void *host;

	/* 2.7.5.3.1: no chain is longer than the queue. This also ends loops. */
	if (n == vq->s.size)
		return "chain loops or is longer than the queue";
	if (!write && c->n_in)
		return "device-readable after device-writable (2.7.4.2)";
	if (len > CHAIN_BYTES_MAX - c->out_len - c->in_len)
		return "chain of more than 2^32 bytes (2.7.5.2)";
	if (!len || gmem_map(vq->mem, gpa, len, write ? GMEM_WRITE : GMEM_READ, &host))
		return "buffer is empty or not in RAM";

	c->iov[n] = (struct iovec){ .iov_base = host, .iov_len = len };
	vq->buf[(size_t)c->slot * VQ_ROW + n] = (struct vq_buf){ .gpa = gpa, .len = len };
	if (write) {
		c->n_in++;
		c->in_len += len;
	} else {
		c->n_out++;
		c->out_len += len;
	}
	return NULL;
}

const char *vq_table_map(struct vq *vq, gpa_t gpa, uint32_t len, void **table)
{
	if (!vq->indirect)
		return "INDIRECT was not negotiated";
	if (!len || len % DESC_SIZE)
		return "the length of an indirect table is not a multiple of 16";
	if (gmem_map(vq->mem, gpa, len, GMEM_READ, table))
		return "indirect table is not in RAM";
	return NULL;
}

void vq_chain_taken(struct vq *vq, const struct vq_chain *c)
{
	struct vq_slot *s = &vq->slot[c->slot];

	s->in_flight = true;
	s->n_out = c->n_out;
	s->n_in = c->n_in;
	vq->in_flight++;
	if (unlikely(vq->in_order))
		vq->order[(vq->first + vq->n_order++) % VQ_SIZE_MAX] = c->slot;
}

int vq_pop(struct vq *vq, struct vq_chain *chain)
{
	if (unlikely(vq->s.broken || !vq->ring))
		return vq->s.broken ? -EPROTO : 0;
	return vq->ring->pop(vq, chain);
}

/* Giving them back */

/* IN_ORDER (2.6.2): used entries in the order of the available ones, so those that were pushed wait
 * for the ones before them. */
static void put_in_order(struct vq *vq)
{
	while (vq->n_order) {
		uint16_t slot = vq->order[vq->first];

		if (!vq->slot[slot].done)
			return;
		vq->first = (uint16_t)((vq->first + 1) % VQ_SIZE_MAX);
		vq->n_order--;
		vq->slot[slot].in_flight = vq->slot[slot].done = false;
		vq->ring->put(vq, slot, vq->slot[slot].written);
	}
}

void vq_push(struct vq *vq, struct vq_chain *chain, uint32_t written)
{
	struct vq_slot *s = &vq->slot[chain->slot];

	buffers_release(vq, chain->slot);
	vq->in_flight--;
	if (unlikely(vq->in_order)) {
		s->done = true;
		s->written = written;
		put_in_order(vq);
		return;
	}
	s->in_flight = false;
	vq->ring->put(vq, chain->slot, written);
}

void vq_reject(struct vq *vq, struct vq_chain *chain, const char *why)
{
	buffers_release(vq, chain->slot);
	vq->in_flight--;
	vq->slot[chain->slot].in_flight = false;
	if (vq->in_order)
		vq->n_order--; /* it was the last one */
	vq_broken(vq, chain->slot, why);
}

bool vq_publish(struct vq *vq)
{
	return vq->ring && vq->ring->publish(vq);
}

bool vq_kicks(struct vq *vq, bool on)
{
	return vq->ring && !vq->s.broken && vq->ring->kicks(vq, on);
}

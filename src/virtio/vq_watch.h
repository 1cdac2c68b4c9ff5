/* SPDX-License-Identifier: MIT */
/*
 * Those who look on while a queue works: the flight recorder (vq_trace.c), and the deep tier of the
 * lint (vq_shadow.c, vq_order.c).
 *
 * vq.c calls what is below where vq->watch is not NULL, that is: where somebody asked for it by
 * vq_watch(). Nobody looks on by default, and then each call has one branch that is never taken.
 *
 * Threads: the device's loop, as all of vq.h.
 */
#ifndef HAKO_VIRTIO_VQ_WATCH_H
#define HAKO_VIRTIO_VQ_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/vq.h"

struct vq_order;
struct vq_shadow;
struct vq_trace;

struct vq_watch {
	struct vq_trace *trace;   /* NULL: no recorder */
	struct vq_shadow *shadow; /* NULL: the lint, if there is one, is not deep */
	struct vq_order *order;   /* the same */
	vq_take_kicks_fn *take;   /* NULL: notifications are not counted */
	void *take_arg;
	bool kicks_on;        /* the device has asked for notifications, and found the ring empty */
	uint16_t avail, used; /* the state's next_avail and next_used, when last looked at */
	uint64_t events;      /* so many things have happened */
};

void vq_watch_free(struct vq *vq);
/* The queue was set up, or is about to be forgotten. */
void vq_watch_setup(struct vq *vq, uint64_t features);
void vq_watch_reset(struct vq *vq);
/* vq_pop(), vq_publish() and vq_kicks() with somebody looking on, as in struct vq_ring. */
int vq_watch_pop(struct vq *vq, struct vq_chain **chain, unsigned max);
bool vq_watch_publish(struct vq *vq);
bool vq_watch_kicks(struct vq *vq, bool on);
/* A chain is about to be given back. */
void vq_watch_push(struct vq *vq, const struct vq_chain *chain);

#endif

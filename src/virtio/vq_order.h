/* SPDX-License-Identifier: MIT */
/*
 * Of the deep lint: does the driver keep what it makes available apart from the telling of it, by a
 * barrier (virtio 1.2, 2.7.13.3.1; packed: 2.8.21.1.1)? No device can know by looking at memory. A
 * CPU of hako's own can: it tells of each store to the ring, and of barriers (gmem_watch()).
 *
 * Internal to the virtqueue; vq_watch.c calls it where the lint is deep. Threads: as vq_setup();
 * what it sees comes on the vCPUs' threads, one at a time.
 */
#ifndef HAKO_VIRTIO_VQ_ORDER_H
#define HAKO_VIRTIO_VQ_ORDER_H

#include "virtio/vq.h"

struct vq_order;

struct vq_order *vq_order_create(void); /* NULL: out of memory */
void vq_order_destroy(struct vq_order *order);

/* The queue was set up; it is about to be forgotten. vq->watch->order as it is. */
void vq_order_setup(struct vq *vq);
void vq_order_reset(struct vq *vq);

#endif

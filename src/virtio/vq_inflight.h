/* SPDX-License-Identifier: MIT */
/*
 * Inside the virtqueue: what is in flight, kept where the next process finds it; see vq_resume() in
 * vq.h. The rings call these where a queue has an area (vq->tracked), and set-up calls them always.
 */
#ifndef HAKO_VIRTIO_VQ_INFLIGHT_H
#define HAKO_VIRTIO_VQ_INFLIGHT_H

#include "virtio/vq_ring.h"

/* Positions of the split ring, as the area and the used ring's index tell them; the chains to take
 * again. */
void vq_inflight_split_setup(struct vq *vq, uint16_t used_idx);
void vq_inflight_split_taken(struct vq *vq, uint16_t head);
void vq_inflight_split_put(struct vq *vq, uint16_t head);
/* The index of the used ring is stored. */
void vq_inflight_split_published(struct vq *vq);

/* A descriptor of the packed ring. */
struct vq_inflight_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

/* `available`: is there an available descriptor at a position? -EINVAL: the area cannot be. */
int vq_inflight_packed_setup(struct vq *vq, bool (*available)(const struct vq *vq, uint16_t pos));
/* The n-th descriptor of a chain is `d`, n from 1. */
void vq_inflight_packed_desc(struct vq *vq, struct vq_slot *s, uint16_t n,
			     const struct vq_inflight_desc *d);
/* That was its last one. */
void vq_inflight_packed_taken(struct vq *vq, const struct vq_slot *s);
/* The n-th descriptor of the next chain to take again. False: the area cannot be. */
bool vq_inflight_packed_again(struct vq *vq, struct vq_slot *s, uint16_t n,
			      struct vq_inflight_desc *d);
void vq_inflight_packed_put(struct vq *vq, const struct vq_slot *s);
/* Before and after the flags that show a batch are stored. */
void vq_inflight_packed_publish(struct vq *vq);
void vq_inflight_packed_published(struct vq *vq);

#endif

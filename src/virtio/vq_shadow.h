/* SPDX-License-Identifier: MIT */
/*
 * The deep tier of the lint: what a driver does wrong that only shows when somebody remembers. The
 * shadow of a queue holds of each chain in flight what its descriptors, its table and what is read
 * of it before data looked like when it was taken, and keeps account of notifications.
 *
 * Internal to the virtqueue; vq_watch.c calls it where the lint is deep. The device's loop.
 */
#ifndef HAKO_VIRTIO_VQ_SHADOW_H
#define HAKO_VIRTIO_VQ_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/vq.h"

struct vq_shadow;

struct vq_shadow *vq_shadow_create(void); /* NULL: out of memory */
void vq_shadow_destroy(struct vq_shadow *shadow);

/* Each with vq->watch->shadow as it is; see vq_watch.h for when they are called. */
void vq_shadow_setup(struct vq *vq);
/* `pos`: where the chain was taken; `again`: nobody knows where. */
void vq_shadow_pop(struct vq *vq, const struct vq_chain *chain, uint16_t pos, bool again);
void vq_shadow_push(struct vq *vq, const struct vq_chain *chain);
/* Notifications are about to be asked for, and so many have come since they were not; they are not
 * any more. */
void vq_shadow_kicks_on(struct vq *vq, uint64_t kicks);
void vq_shadow_kicks_off(struct vq *vq);

#endif

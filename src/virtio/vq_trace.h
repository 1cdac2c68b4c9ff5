/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder of a queue: what was notified, taken, answered, published, with times, in a
 * ring of fixed size that forgets the oldest. Internal to the virtqueue; see vq.h for who asks for
 * it, and vq_watch.h.
 */
#ifndef HAKO_VIRTIO_VQ_TRACE_H
#define HAKO_VIRTIO_VQ_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/vq.h"

struct vq_trace;

enum vq_event_kind {
	VQ_EV_SETUP, /* a: features; pos: size */
	VQ_EV_RESET,
	VQ_EV_KICK,    /* a: notifications seen at once */
	VQ_EV_HEAD,    /* slot, pos, n_out buffers of a bytes, n_in of b */
	VQ_EV_BUFFER,  /* a: address, b: length; flag: writable */
	VQ_EV_MORE,    /* a: buffers left out */
	VQ_EV_BROKEN,  /* pos */
	VQ_EV_DONE,    /* slot, a: used length */
	VQ_EV_PUBLISH, /* pos; flag: an interrupt is wanted */
	VQ_EV_KICKS,   /* pos; flag: asked for, else not wanted */
	VQ_EV_IRQ,
};

struct vq_event {
	uint64_t ns; /* CLOCK_MONOTONIC; filled in */
	uint64_t a, b;
	uint16_t slot, pos, n_out, n_in;
	uint8_t kind; /* enum vq_event_kind */
	bool flag;
};

struct vq_trace *vq_trace_create(void); /* NULL: out of memory */
void vq_trace_destroy(struct vq_trace *trace);
void vq_trace_add(struct vq_trace *trace, struct vq_event event);
/* All that is in it, oldest first, a line each. */
void vq_trace_dump(const struct vq_trace *trace, vq_line_fn *line, void *arg);

#endif

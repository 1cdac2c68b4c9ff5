/* SPDX-License-Identifier: MIT */
/*
 * A queue without a transport: guest memory, the driver's side (vdriver.h), the device's side
 * (virtio/vq.h), a log that remembers its last line. The test plays both sides, and the transport
 * where it tells the queue of a notification.
 *
 * Threads: one.
 */
#ifndef HAKO_TESTS_VQRIG_H
#define HAKO_TESTS_VQRIG_H

#include <stdatomic.h>

#include "base/log.h"
#include "vdriver.h"
#include "virtio/lint.h"
#include "virtio/vq.h"

#define VQRIG_RAM 0x80000000ULL
enum { VQRIG_RAM_SIZE = 32 << 20 };

struct vqrig {
	struct gmem *mem;
	struct vdriver d;
	struct vd_queue q;
	struct vq *vq;
	gpa_t buf;          /* a page for buffers */
	struct vq_chain *c; /* for the test: one that it has taken */
	struct log log;
	struct lint *lint; /* deep, where the queue is watched so; else NULL */
	atomic_bool tripped;
	atomic_uint kicks; /* notifications that the device has not taken */
	unsigned said;     /* messages */
	char last[512];    /* the last one */
};

/* `watch` is for vq_watch(), 0: nobody looks on. Not set up yet. */
void vqrig_init(struct vqrig *rig, unsigned watch);
/* A queue of `size` entries. Fails the program when the device refuses it. */
void vqrig_setup(struct vqrig *rig, uint16_t size, uint64_t features);
void vqrig_fini(struct vqrig *rig);

/* The queue as the driver tells a transport of it. */
struct vq_state vqrig_state(const struct vd_queue *q);

/* The driver: make a chain available, 16 readable bytes and `in` writable ones; its head. */
uint16_t vqrig_offer(struct vqrig *rig, uint32_t in, bool indirect);
/* The device: take a chain that must be there, give it back, show what was given back. */
void vqrig_take(struct vqrig *rig, struct vq_chain **chain);
void vqrig_answer(struct vqrig *rig, struct vq_chain *chain);
/* Have `n` more chains used; is the driver to be interrupted? And the driver takes all that are. */
bool vqrig_use(struct vqrig *rig, unsigned n);
void vqrig_take_used(struct vqrig *rig);

/* The device begins to take chains: it wants no kicks. It takes none yet; 0, or the queue is
 * broken. */
static inline int vqrig_begin(struct vq *vq)
{
	struct vq_chain *none;

	return vq_pop(vq, &none, 0);
}

/* Give one chain back. */
static inline void vqrig_push(struct vq *vq, struct vq_chain *chain, uint32_t written)
{
	chain->written = written;
	vq_push(vq, &chain, 1);
}

#endif

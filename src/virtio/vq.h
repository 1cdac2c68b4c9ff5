/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue as a device sees it (virtio 1.2, 2.6 to 2.8): chains of buffers come out, used
 * lengths go in, many at a time. The device never knows how the ring is laid out.
 *
 *      driver                                device
 *   split ring
 *     descriptor table {addr,len,flags,next}  read once per descriptor, into the chain
 *     available ring   idx, ring[]            idx load-acquire; entry read once
 *     used ring        idx, ring[{id,len}]    entries, then idx store-release, once per batch
 *   packed ring
 *     descriptors      {addr,len,id,flags}    flags load-acquire, the rest read once; used ones are
 *                                             written over them, the first one's flags last
 *
 * Everything in the rings is hostile. vq_pop copies each descriptor once, bounds the chain by the
 * queue size, refuses what is already in flight, and maps every buffer before the device sees it; a
 * malformed ring is -EPROTO and stops the queue (the transport then sets NEEDS_RESET), never
 * "empty". Chains in flight when that happens can still be pushed.
 *
 * Threads: everything is called on the loop thread of the device, except vq_setup and vq_reset,
 * which are called while the device is stopped.
 */
#ifndef HAKO_VIRTIO_VQ_H
#define HAKO_VIRTIO_VQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/bits.h"
#include "mem/gmem.h"
#include "virtio/lint.h"
#include "virtio/virtio.h"

struct log;

/* Entries of any queue, and buffers in a chain, which 2.7.5.3.1 bounds by the entries too. */
enum { VQ_SIZE_MAX = 1024, VQ_CHAIN_MAX = 256 };

/* Features that queues have, whatever the device. */
#define VQ_FEATURES                                                                          \
	(BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_RING_PACKED) | \
	 BIT(VIRTIO_F_IN_ORDER))

/* What a queue is: plain state, the part that a snapshot saves. avail and used are the packed
 * ring's driver area and device area; its positions have bit 15 set while their wrap counter
 * is 0. */
struct vq_state {
	uint16_t size;  /* entries, of the split ring a power of two; 0 when not set up */
	uint8_t ready;  /* the transport's: the driver says that the fields are final */
	uint8_t broken; /* a malformed ring was seen */
	gpa_t desc, avail, used;
	uint16_t next_avail; /* index of the next available entry to read */
	uint16_t next_used;  /* index of the next used entry to write */
	uint16_t signalled;  /* split: next_used when the last interrupt was decided */
};

/*
 * One request's buffers. iov[0..n_out) are device-readable, iov[n_out..n_out+n_in) device-writable;
 * none is empty. The device may change the elements of iov while it works through them. The queue
 * keeps chain and iov in place until vq_push or vq_reject.
 */
struct vq_chain {
	struct iovec *iov;
	uint64_t out_len, in_len; /* bytes; their sum is at most 2^32 (2.7.5.2) */
	uint16_t slot;            /* below the queue's size; no other chain in flight has it */
	uint16_t n_out, n_in;
	/* The device's, for vq_push(): the length of the prefix of the writable bytes that was
	 * written (2.7.8.2). */
	uint32_t written;
	/* The device's, for what it has by slot: NULL after vq_setup(), and left alone then. */
	void *owner;
};

struct vq;

/* Room for VQ_SIZE_MAX chains is set aside here; no later call allocates. `name` is copied. */
int vq_create(struct vq **vq, struct gmem *mem, struct log *log, const char *name);
void vq_destroy(struct vq *vq);

/* Tell this lint what the driver does wrong; NULL, as at first: none. `index` is the queue's. */
void vq_lint(struct vq *vq, struct lint *lint, unsigned index);

/*
 * Freeze a validated copy of what the driver configured and go on from the state's indices (a fresh
 * queue has them all 0). `features` are those agreed on. -EINVAL with the reason in the log when
 * the rings are misaligned, outside RAM or the size is not acceptable. Observers of the memory
 * are attached before.
 */
int vq_setup(struct vq *vq, const struct vq_state *state, uint64_t features);
/*
 * The next vq_setup() goes on with a ring that another process may have served before: of a split
 * ring, next_used is what the used ring says. With an area of vq_inflight_bytes() bytes, all zero
 * at first, what is in flight is kept there, and chains that it says were in flight are popped
 * first, again; positions are what it says then, not what the state says. NULL: no area. The area
 * is in place until vq_reset().
 */
void vq_resume(struct vq *vq, void *area);
size_t vq_inflight_bytes(uint16_t size, bool packed);
/* After vq_setup(): how many chains were in flight and are to be popped again. */
unsigned vq_resumed(const struct vq *vq);

/* Forget the queue. Chains still in flight are given up: nothing reaches the used ring any more. */
void vq_reset(struct vq *vq);
const struct vq_state *vq_state(const struct vq *vq);

/*
 * Take what is available, in order, up to `max` chains: how many. Fewer than `max`: no other is
 * known to be available, which vq_kicks() tells, and until then no kicks are asked for (2.7.10).
 * What is malformed ends it and breaks the queue; -EPROTO if no chain came before that, and from
 * then on.
 */
int vq_pop(struct vq *vq, struct vq_chain **chain, unsigned max);
/*
 * Give `n` chains back, with their `written` set. Visible to the driver after vq_publish(), with
 * IN_ORDER once those popped before them are pushed too.
 */
void vq_push(struct vq *vq, struct vq_chain *const *chain, unsigned n);
/*
 * A chain cannot even be answered (no room for a status, say): let go of its buffers without a used
 * entry. The queue is broken from now on; the broken rule and `why` go to the lint, or `why` to the
 * log.
 */
void vq_reject(struct vq *vq, struct vq_chain *chain, enum lint_id rule, const char *why);
/* Publish all pushed entries at once; true when the driver wants an interrupt for them (2.7.7). */
bool vq_publish(struct vq *vq);

/*
 * Ask for kicks again. True if more is available already: the driver may have seen that none were
 * asked for, so the device must go on with vq_pop(); or if the queue is broken, which that will
 * say.
 */
bool vq_kicks(struct vq *vq);

/*
 * For those who look again and again instead of being told: is anything available that was not
 * popped yet? While the queue is awake, vq_kicks() asks for no kicks. To let it sleep asks for
 * them, and is true if something is available that nobody may have kicked for.
 */
bool vq_available(const struct vq *vq);
bool vq_awake(struct vq *vq, bool awake);

/* The first kick since vq_setup(): the lint is told if there never was anything available. */
void vq_first_kick(struct vq *vq);

/* Chains popped and not pushed yet. */
unsigned vq_in_flight(const struct vq *vq);

/*
 * For those who look on (vq_watch.h). All but vq_watch() do nothing, or find nothing, where nobody
 * does.
 */
enum {
	VQ_WATCH_TRACE = 1, /* the flight recorder */
	VQ_WATCH_DEEP = 2,  /* the deep tier of the lint; goes with vq_lint() */
};
/* Before vq_setup(), once. -ENOMEM. */
int vq_watch(struct vq *vq, unsigned what);
/* For VQ_WATCH_DEEP: take back the notifications that have come; how many? While the device is busy
 * with the ring, it would look anyway. */
typedef uint64_t vq_take_kicks_fn(void *arg);
void vq_watch_kicks_by(struct vq *vq, vq_take_kicks_fn *take, void *arg);
/* The transport has seen `n` notifications of the driver; it has raised the queue's interrupt. */
void vq_kicked(struct vq *vq, uint64_t n);
void vq_interrupted(struct vq *vq);

/* What the transport knows of a queue. */
struct vq_outside {
	bool kicked; /* a notification has come, and the device has not been told */
	bool irq;    /* the interrupt was raised, and the driver has not acknowledged it */
};
/* Whose turn it is. */
enum vq_turn { VQ_TURN_NOBODYS, VQ_TURN_DRIVERS, VQ_TURN_DEVICES };
/* And why, in a sentence with the section of virtio 1.2. */
enum vq_turn vq_turn(struct vq *vq, struct vq_outside outside, char *why, size_t size);
/* Nothing has happened for some seconds: tell the lint if a notification is missing. */
void vq_stalled(struct vq *vq, struct vq_outside outside);
/* Has anything happened? A number that then is another. */
uint64_t vq_events(const struct vq *vq);
/* All that the recorder holds, oldest first, a line each. */
typedef void vq_line_fn(void *arg, const char *line);
void vq_dump(const struct vq *vq, vq_line_fn *line, void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Inside a session: its rings (ring.c), and what they share with its messages (session.c).
 *
 *      a ring:   idle --vhost_ring_start()--> running --vhost_rings_rest()--> stopping --> idle
 *
 * Threads: as session.h says.
 */
#ifndef HAKO_VHOST_RING_H
#define HAKO_VHOST_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/log.h"
#include "host/loop.h"
#include "vhost/channel.h"
#include "vhost/memory.h"
#include "vhost/relief.h"
#include "vhost/session.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"

struct err;
struct message;

struct ring {
	struct vhost_session *s;
	unsigned index;
	struct vq *vq;

	/* What the front end says. `state` has the size and the positions; after a rest, those that
	 * the ring had then. */
	struct vq_state state;
	struct vhost_vring_addr addr;
	bool has_addr, kicked, enabled;
	int kick_fd;         /* -1: to be polled */
	int call_fd, err_fd; /* -1: nobody wants to know */
	bool call_waits;     /* call_fd has no O_NONBLOCK */

	bool running, stopping; /* the device has it; and is to give it back */
	bool poll_posted;       /* the task is the loop's */
	bool err_told;
	struct loop_source source;
	struct loop_task poll;
};

struct vhost_session {
	struct virtio_host host; /* what the device sees */
	struct virtio_dev *dev;
	struct loop *loop;
	struct log *log;
	struct log_limit *limit;
	const char *name;
	uint64_t without;
	bool alone;                     /* there is one CPU, for us and for who kicks */
	unsigned spin_wait, spin_pause; /* kicks until the next try to wait awake; and after that */
	void (*ended)(void *arg);
	void *arg;

	struct vhost_channel ch;
	struct loop_source source;
	const struct message *message; /* being handled */
	union vhost_payload reply;
	size_t reply_size;
	int reply_fd; /* -1: none */

	uint64_t features; /* what the front end has set: the device's, the rings', vhost's */
	uint64_t protocol; /* the same of protocol features */
	uint8_t status;    /* virtio 1.2, 2.1 */
	int backend_fd;    /* socket for requests of ours, or -1 */
	struct vhost_memory memory;
	_Atomic bool shrunk; /* vhost_session_fault() had to step in */
	struct vhost_relief *relief;

	struct vhost_map inflight; /* what is in flight, by ring */
	uint64_t inflight_size;
	uint16_t inflight_queues, inflight_queue_size;

	unsigned n_stopping; /* rings on their way to rest */
	bool resting;        /* `rested` goes on when there are none of them any more */
	bool ending;
	struct loop_task rested;

	unsigned n_used; /* the first so many rings: later ones have never run */
	unsigned n_rings;
	struct ring ring[];
};

#define said(s, level, ...)                                                          \
	((s)->limit ? log_guest((s)->log, (s)->limit, level, (s)->name, __VA_ARGS__) \
		    : log_msg((s)->log, level, (s)->name, __VA_ARGS__))

static inline bool packed(const struct vhost_session *s)
{
	return s->features & BIT(VIRTIO_F_RING_PACKED);
}

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Shared memory that the front end has taken away is told by now, if it was touched. */
static inline void check_memory(struct vhost_session *s)
{
	if (likely(!s->shrunk) || s->ending)
		return;
	said(s, LOG_ERROR,
	     "the front end made a file of its shared memory shorter: its connection is closed");
	vhost_session_end(s);
}

/* The session has its memory; -ENOMEM. _fini() after either. */
int vhost_ring_init(struct ring *r, struct vhost_session *s, unsigned index, struct err *err);
void vhost_ring_fini(struct ring *r);
/* Has the front end said all that it takes, and does it want it? */
bool vhost_ring_may_run(const struct ring *r);
int vhost_ring_start(struct ring *r, struct err *err);
/* Bring n rings to rest. True if they are; else s->rested is posted when they are,
 * if s->resting. */
bool vhost_rings_rest(struct vhost_session *s, struct ring *r, unsigned n);

/*
 * Write to an eventfd. That waits when nothing can be added to it, unless O_NONBLOCK is set, which
 * is for the front end to say, for it reads the same open file. So if it is not set, look first.
 * What a front end still can do is to fill its own eventfd and take O_NONBLOCK away: then it has a
 * server that waits until it reads, or until relief.c ends that.
 */
void vhost_ring_signal(int fd, bool waits);
/* virtio_host_ops.queue_irq */
void vhost_ring_queue_irq(struct virtio_host *host, unsigned q);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user front end: for unit tests, fuzzers and benchmarks, in the server's process or out of
 * it. Memory that it shares, rings in it by vdriver.h, and messages, good ones and any others.
 *
 * Threads: one, which waits for replies.
 */
#ifndef HAKO_TESTS_VFRONT_H
#define HAKO_TESTS_VFRONT_H

#include <stddef.h>
#include <stdint.h>

#include "vdriver.h"
#include "vhost/proto.h"

/* Where the guest has its memory, where the front end says that it has it, and where in its file it
 * begins: all of them different, so that none passes for another. */
#define VF_GUEST  0x40000000ULL
#define VF_USER   0x7f1200000000ULL
#define VF_OFFSET 0x3000ULL

enum { VF_QUEUES = 4 };

struct vfront {
	int sock;
	uint64_t features, protocol; /* agreed on */
	int memfd;
	uint64_t ram; /* bytes */
	void *map;    /* the whole file */
	struct gmem *gmem;
	struct vdriver driver;
	int kick[VF_QUEUES], call[VF_QUEUES];
	int inflight_fd; /* -1: none */
	struct vhost_inflight inflight;
};

/* Shared memory of `ram` bytes; no connection yet. Aborts where it cannot be had. */
void vf_init(struct vfront *f, uint64_t ram);
void vf_fini(struct vfront *f);

/* Connect to the server at `path`, waiting for it to be there. 0, or a negative errno. */
int vf_connect(struct vfront *f, const char *path);
void vf_disconnect(struct vfront *f);

/* Any message at all. 0, or a negative errno. */
int vf_send(struct vfront *f, uint32_t request, uint32_t flags, const void *payload, size_t size,
	    const int *fds, unsigned n_fds);
/*
 * The next reply: the bytes of its payload, which are in *payload, as many as there is room for; a
 * descriptor that comes with it is in *fd (NULL: there must be none). -ECONNRESET: the server has
 * closed the connection; -ETIMEDOUT; -EPROTO: it is no reply to `request`.
 */
int vf_reply(struct vfront *f, uint32_t request, void *payload, size_t room, int *fd);

/* Send, and ask for an answer where there is none by itself: 0 for a good one, -EREMOTEIO for a bad
 * one, or as vf_reply(). */
int vf_call(struct vfront *f, uint32_t request, const void *payload, size_t size, const int *fds,
	    unsigned n_fds);
/* Send without a payload, and get a number. */
int vf_get(struct vfront *f, uint32_t request, uint64_t *val);

/* Agree on all that is offered of these, and share the memory. */
int vf_begin(struct vfront *f, uint64_t features, uint64_t protocol);
/* The one region. */
struct vhost_region vf_region(const struct vfront *f);
/* Get an area for what is in flight, or use the one that is there; all queues of `size`. */
int vf_track(struct vfront *f, uint16_t n_queues, uint16_t size);
/* Lay out a queue in memory and start it. */
int vf_queue(struct vfront *f, struct vd_queue *q, unsigned index, uint16_t size);
/* Start one that is laid out, from `base` on. */
int vf_start(struct vfront *f, struct vd_queue *q, uint32_t base);
/* Stop it: its base. */
int vf_stop(struct vfront *f, unsigned index, uint32_t *base);

#endif

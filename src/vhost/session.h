/* SPDX-License-Identifier: MIT */
/*
 * One front end, from when it connects until it has gone: its messages, its memory, its rings. To
 * the device it is what a transport is (virtio_host_ops).
 *
 *      socket --> channel.c --> a message, judged by its line in the table of session.c
 *                                 |  rings that it concerns come to rest first
 *                                 v
 *                               its handler; then rings that may run are started (again)
 *
 * A ring runs while it has a size, addresses and a kick, and is enabled. To be at rest means that
 * nothing of it is in flight: memory, sizes and positions change only then, and a front end that
 * goes away is not followed by the next before its last request is over.
 *
 * Threads: all of it on the device's loop, but for vhost_session_fault().
 */
#ifndef HAKO_VHOST_SESSION_H
#define HAKO_VHOST_SESSION_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct log;
struct log_limit;
struct virtio_dev;
struct vhost_relief;
struct vhost_session;

struct vhost_session_config {
	int fd; /* a connected Unix stream socket, the session's from now on, also on failure */
	struct virtio_dev *dev;
	struct log *log;
	struct log_limit *limit;     /* as in struct vhost_server_config */
	const char *name;            /* for the log; in place as long as the session */
	uint64_t without;            /* features not to be offered */
	struct vhost_relief *relief; /* outlives the session */
	/* The front end has gone, or was sent away: nothing is in flight any more. Destroy it. */
	void (*ended)(void *arg);
	void *arg;
};

int vhost_session_create(struct vhost_session **session, const struct vhost_session_config *config,
			 struct err *err);
/* Send the front end away; ended() is called when that is done, not from in here. */
void vhost_session_end(struct vhost_session *session);
/* From ended() on. */
void vhost_session_destroy(struct vhost_session *session);

/* For a handler of SIGBUS, on any thread: is `addr` in memory of the front end, which it has taken
 * away? Then there are zeros in its place now, and the session is about to end. */
bool vhost_session_fault(struct vhost_session *session, void *addr);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A device behind a Unix socket: front ends are served one after the other. One that connects while
 * another is served waits for its turn.
 *
 * Threads: create and destroy on the set-up thread, while the device's loop does not run; the rest
 * on that loop, but for vhost_server_fault().
 */
#ifndef HAKO_VHOST_SERVER_H
#define HAKO_VHOST_SERVER_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct log;
struct log_limit;
struct virtio_dev;
struct vhost_server;

struct vhost_server_config {
	const char *path; /* of the socket */
	struct virtio_dev *dev;
	struct log *log;
	/* Of what front ends cause, which may try again and again; NULL: no limit. In place as
	 * long as the server. */
	struct log_limit *limit;
	const char *name; /* for the log; in place as long as the server */
	uint64_t without; /* features not to be offered */
	bool once;        /* done when the first front end has gone */
	/* Readable when vhost_server_stop() is about to be called by the loop, which may be waiting
	 * for the front end at the moment (vhost/relief.h); -1: none. */
	int stop_fd;
	/* Nothing is served any more, and nothing in flight: vhost_server_stop(), or `once`. */
	void (*done)(void *arg);
	void *arg;
};

/*
 * Makes the socket. One that nobody listens at any more, left over from a server that was killed,
 * is replaced; -EADDRINUSE where another server listens, -EEXIST where something else has the name.
 */
int vhost_server_create(struct vhost_server **server, const struct vhost_server_config *config,
			struct err *err);
/* Send the front end away and take no other: done() is called. */
void vhost_server_stop(struct vhost_server *server);
/* After done(), or while nothing has connected. Removes the socket. */
void vhost_server_destroy(struct vhost_server *server);

/* As vhost_session_fault(), for whatever is being served. */
bool vhost_server_fault(struct vhost_server *server, void *addr);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A disk image for other virtual machine monitors: a vhost-user-blk server on a Unix socket. Front
 * ends, such as QEMU, connect to it one after the other and get the disk as their guest's
 * virtio-blk (QEMU, docs/interop/vhost-user.rst).
 *
 *	hako_vhost_blk_create(&server, &config, &err);
 *	hako_vhost_blk_run(server, &err);          until hako_vhost_blk_stop()
 *	hako_vhost_blk_destroy(server);
 *
 * Threads: create, run and destroy are called by one thread, which is the one that serves. The
 * library installs no signal handlers.
 */
#ifndef HAKO_VHOST_H
#define HAKO_VHOST_H

#include <stdbool.h>

#include "hako/err.h"
#include "hako/vm.h"

#ifdef __cplusplus
extern "C" {
#endif

struct hako_vhost_blk;

enum { HAKO_VHOST_QUEUES = 16 };

struct hako_vhost_blk_config {
	const char *socket; /* path; a socket that nobody listens at any more is replaced */
	/* Front ends may use up to disk.queues queues, 0: HAKO_VHOST_QUEUES. disk.transport and
	 * disk.root mean nothing here. */
	struct hako_disk disk;
	bool once; /* hako_vhost_blk_run() returns when the first front end has gone */

	hako_log_fn *log; /* NULL: standard error */
	void *log_arg;
	enum hako_log_level log_level; /* messages above it are dropped */
};

/*
 * Opens the image and makes the socket. What is pointed to may go afterwards. -EINVAL for a value
 * that cannot be, -EAGAIN for an image in use, -EADDRINUSE for a socket that another program
 * serves, or what the host says. *server is NULL on failure.
 */
int hako_vhost_blk_create(struct hako_vhost_blk **server,
			  const struct hako_vhost_blk_config *config, struct hako_err *err);

/*
 * Serve. 0 when it was stopped, or once; a negative errno when hako itself failed, and -EIO when
 * the image did, with on_error HAKO_ON_ERROR_STOP: the front end has no answer then, and another
 * server does the request again if the front end keeps track of what is in flight.
 */
int hako_vhost_blk_run(struct hako_vhost_blk *server, struct hako_err *err);

/* Any thread, and signal handlers. Stop soon: what is in flight is answered first. Sticky. */
void hako_vhost_blk_stop(struct hako_vhost_blk *server);
/* The same; look whether the image has another length now, and if so tell the front end. */
void hako_vhost_blk_resize(struct hako_vhost_blk *server);

/*
 * For a handler of SIGBUS: a front end's memory is files, and it may make one shorter that cannot
 * be sealed; to touch what is missing then raises SIGBUS at `addr`. True: that was it; zeros are
 * there now, and the front end is about to be sent away. False: it was something else.
 */
bool hako_vhost_blk_fault(struct hako_vhost_blk *server, void *addr);

/* Not while hako_vhost_blk_run() is under way. NULL is allowed. Removes the socket. */
void hako_vhost_blk_destroy(struct hako_vhost_blk *server);

#ifdef __cplusplus
}
#endif

#endif

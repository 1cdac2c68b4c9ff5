/* SPDX-License-Identifier: MIT */
/*
 * The socket of a vhost-user session: whole messages with their file descriptors.
 *
 * Nothing here waits: a message arrives in any number of pieces, and a front end that does not read
 * what it is told loses its connection. Loop thread.
 */
#ifndef HAKO_VHOST_CHANNEL_H
#define HAKO_VHOST_CHANNEL_H

#include <stddef.h>

#include "vhost/proto.h"

struct err;

enum { VHOST_FDS_MAX = 16 }; /* with one message; more than any has */

struct vhost_msg {
	struct vhost_header h;
	union vhost_payload p;
	int fd[VHOST_FDS_MAX];
	unsigned n_fds;
};

struct vhost_channel {
	int fd;
	size_t got; /* bytes of header and payload so far */
	struct vhost_msg in;
};

/* `fd` is a connected stream socket and the channel's from now on. */
void vhost_channel_init(struct vhost_channel *ch, int fd);
void vhost_channel_fini(struct vhost_channel *ch);

/*
 * Go on reading. 1: ch->in is a whole message, the channel's until the next call, which closes the
 * descriptors that are still in it; 0: not yet; -ECONNRESET: the front end has gone; or what is
 * wrong with what it sent, a negative errno and a sentence.
 */
int vhost_channel_read(struct vhost_channel *ch, struct err *err);

/* Take the first descriptor of the message, or -1, out of it: it is the caller's. */
int vhost_msg_fd(struct vhost_msg *msg);

/* Send the reply to `to`, with a payload of `size` bytes and one descriptor, or -1. */
int vhost_channel_reply(struct vhost_channel *ch, const struct vhost_header *to,
			const void *payload, size_t size, int fd, struct err *err);

/* Send a message without a payload to another socket, such as the one for a back end's requests. */
int vhost_send(int fd, uint32_t request);

#endif

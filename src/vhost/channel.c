/* SPDX-License-Identifier: MIT */
/*
 * Messages over a Unix stream socket; unix(7), cmsg(3).
 *
 * A read never goes past the end of a message, for descriptors come with the bytes that they were
 * sent with.
 */
#include "vhost/channel.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"

void vhost_channel_init(struct vhost_channel *ch, int fd)
{
	memset(ch, 0, sizeof(*ch));
	ch->fd = fd;
}

static void drop_fds(struct vhost_msg *msg)
{
	while (msg->n_fds) {
		int fd = msg->fd[--msg->n_fds];

		if (fd >= 0)
			close(fd);
	}
}

void vhost_channel_fini(struct vhost_channel *ch)
{
	drop_fds(&ch->in);
	if (ch->fd >= 0)
		close(ch->fd);
	ch->fd = -1;
}

int vhost_msg_fd(struct vhost_msg *msg)
{
	int fd = msg->n_fds ? msg->fd[0] : -1;

	if (fd >= 0)
		msg->fd[0] = -1;
	return fd;
}

/* Keep the descriptors that came with a piece. False: more than any message has. */
static bool take_fds(struct vhost_msg *msg, struct msghdr *mh)
{
	bool fit = !(mh->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (msg->n_fds < VHOST_FDS_MAX) {
				msg->fd[msg->n_fds++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* One piece, `want` bytes at most, to `to`. As recvmsg(2), or a negative errno. */
static ssize_t read_piece(struct vhost_channel *ch, void *to, size_t want)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VHOST_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { to, want };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	do {
		n = recvmsg(ch->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return take_fds(&ch->in, &mh) ? n : -E2BIG;
}

int vhost_channel_read(struct vhost_channel *ch, struct err *err)
{
	struct vhost_msg *m = &ch->in;
	const size_t head = sizeof(m->h);

	if (ch->got >= head && ch->got == head + m->h.size) { /* the one before */
		drop_fds(m);
		ch->got = 0;
	}
	for (;;) {
		bool in_head = ch->got < head;
		size_t end = in_head ? head : head + m->h.size;
		uint8_t *to =
			in_head ? (uint8_t *)&m->h + ch->got : (uint8_t *)&m->p + (ch->got - head);
		ssize_t n;

		if (ch->got == end)
			return 1;
		n = read_piece(ch, to, end - ch->got);
		if (n == -EAGAIN)
			return 0;
		if (n == -E2BIG)
			return err_set(err, -EPROTO, "more than %d file descriptors with a message",
				       VHOST_FDS_MAX);
		if (n == 0 || n == -ECONNRESET)
			return ch->got ? err_set(err, -EPROTO,
						 "the connection ended within a message")
				       : -ECONNRESET;
		if (n < 0)
			return err_set(err, (int)n, "cannot read from the socket: %s",
				       strerror((int)-n));
		ch->got += (size_t)n;
		if (ch->got == head && m->h.size > sizeof(m->p))
			return err_set(err, -EPROTO,
				       "message %u with %u bytes of payload: none has more than "
				       "%zu",
				       m->h.request, m->h.size, sizeof(m->p));
	}
}

int vhost_channel_reply(struct vhost_channel *ch, const struct vhost_header *to,
			const void *payload, size_t size, int fd, struct err *err)
{
	struct vhost_header h = { to->request, VHOST_FLAG_VERSION | VHOST_FLAG_REPLY,
				  (uint32_t)size };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)payload, size } };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = size ? 2 : 1 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(ch->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)(sizeof(h) + size))
		return 0;
	if (n >= 0 || errno == EAGAIN)
		return err_set(err, -EPROTO, "it does not read its replies");
	return err_set(err, -errno, "cannot write to the socket: %s", strerror(errno));
}

int vhost_send(int fd, uint32_t request)
{
	const struct vhost_header h = { request, VHOST_FLAG_VERSION, 0 };
	ssize_t n;

	do {
		n = send(fd, &h, sizeof(h), MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n == sizeof(h) ? 0 : n < 0 ? -errno : -EPROTO;
}

/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user front end; see vfront.h.
 */
#include "vfront.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"

#define must(cond)                                                                         \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                           \
		}                                                                          \
	} while (0)

static void notify(struct vdriver *d, unsigned index)
{
	const struct vfront *f = container_of(d, struct vfront, driver);
	const uint64_t one = 1;

	must(write(f->kick[index], &one, sizeof(one)) == sizeof(one));
}

void vf_init(struct vfront *f, uint64_t ram)
{
	struct err err = ERR_INIT;

	memset(f, 0, sizeof(*f));
	f->sock = f->inflight_fd = -1;
	f->ram = ram;
	f->memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	must(f->memfd >= 0 && !ftruncate(f->memfd, (off_t)(VF_OFFSET + ram)));
	f->map = mmap(NULL, VF_OFFSET + ram, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
	must(f->map != MAP_FAILED);
	must(!gmem_create(&f->gmem, &err));
	must(!gmem_add_mapped(f->gmem, VF_GUEST, ram, (uint8_t *)f->map + VF_OFFSET, &err));
	vd_init(&f->driver, f->gmem, NULL, 0, VF_GUEST, ram);
	f->driver.notify = notify;
	for (unsigned i = 0; i < VF_QUEUES; i++) {
		f->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		must(f->kick[i] >= 0 && f->call[i] >= 0);
	}
}

void vf_fini(struct vfront *f)
{
	vf_disconnect(f);
	for (unsigned i = 0; i < VF_QUEUES; i++) {
		close(f->kick[i]);
		close(f->call[i]);
	}
	if (f->inflight_fd >= 0)
		close(f->inflight_fd);
	gmem_destroy(f->gmem);
	munmap(f->map, VF_OFFSET + f->ram);
	close(f->memfd);
}

int vf_connect(struct vfront *f, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct timespec nap = { .tv_nsec = 10000000 };

	must(strlen(path) < sizeof(addr.sun_path));
	memcpy(addr.sun_path, path, strlen(path));
	vf_disconnect(f);
	f->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(f->sock >= 0);
	for (unsigned i = 0; i < VD_PATIENCE_S * 100; i++) {
		if (!connect(f->sock, (struct sockaddr *)&addr, sizeof(addr)))
			return 0;
		nanosleep(&nap, NULL);
	}
	return -errno;
}

void vf_disconnect(struct vfront *f)
{
	if (f->sock >= 0)
		close(f->sock);
	f->sock = -1;
}

int vf_send(struct vfront *f, uint32_t request, uint32_t flags, const void *payload, size_t size,
	    const int *fds, unsigned n_fds)
{
	struct vhost_header h = { request, flags, (uint32_t)size };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)payload, size } };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control;
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = size ? 2 : 1 };
	ssize_t n;

	must(n_fds <= 32);
	if (n_fds) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	n = sendmsg(f->sock, &mh, MSG_NOSIGNAL);
	return n == (ssize_t)(sizeof(h) + size) ? 0 : n < 0 ? -errno : -EIO;
}

/* All of `len` bytes, and a descriptor. */
static int get(struct vfront *f, void *to, size_t len, int *fd)
{
	uint8_t *p = to;

	while (len) {
		struct pollfd wait = { .fd = f->sock, .events = POLLIN };
		union {
			struct cmsghdr align;
			char bytes[CMSG_SPACE(sizeof(int))];
		} control;
		struct iovec iov = { p, len };
		struct msghdr mh = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		struct cmsghdr *c;
		ssize_t n;

		if (poll(&wait, 1, VD_PATIENCE_S * 1000) <= 0)
			return -ETIMEDOUT;
		n = recvmsg(f->sock, &mh, MSG_CMSG_CLOEXEC);
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		c = CMSG_FIRSTHDR(&mh);
		if (c && c->cmsg_type == SCM_RIGHTS)
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int vf_reply(struct vfront *f, uint32_t request, void *payload, size_t room, int *fd)
{
	struct vhost_header h;
	uint8_t all[4096];
	int got = -1, r = get(f, &h, sizeof(h), &got);

	if (!r && (h.request != request || h.flags != (VHOST_FLAG_VERSION | VHOST_FLAG_REPLY) ||
		   h.size > sizeof(all)))
		r = -EPROTO;
	if (!r)
		r = get(f, all, h.size, &got);
	if (!r)
		memcpy(payload, all, h.size < room ? h.size : room);
	if (fd)
		*fd = got;
	else if (got >= 0)
		r = -EPROTO;
	return r ? r : (int)h.size;
}

int vf_call(struct vfront *f, uint32_t request, const void *payload, size_t size, const int *fds,
	    unsigned n_fds)
{
	uint64_t val = 0;
	int r = vf_send(f, request, VHOST_FLAG_VERSION | VHOST_FLAG_NEED_REPLY, payload, size, fds,
			n_fds);

	if (!r)
		r = vf_reply(f, request, &val, sizeof(val), NULL);
	if (r < 0)
		return r;
	return r != sizeof(val) ? -EPROTO : val ? -EREMOTEIO : 0;
}

int vf_get(struct vfront *f, uint32_t request, uint64_t *val)
{
	int r = vf_send(f, request, VHOST_FLAG_VERSION, NULL, 0, NULL, 0);

	if (!r)
		r = vf_reply(f, request, val, sizeof(*val), NULL);
	return r < 0 ? r : r == sizeof(*val) ? 0 : -EPROTO;
}

static int set(struct vfront *f, uint32_t request, uint64_t val)
{
	return vf_send(f, request, VHOST_FLAG_VERSION, &val, sizeof(val), NULL, 0);
}

struct vhost_region vf_region(const struct vfront *f)
{
	return (struct vhost_region){ VF_GUEST, f->ram, VF_USER, VF_OFFSET };
}

int vf_begin(struct vfront *f, uint64_t features, uint64_t protocol)
{
	const uint64_t vhosts = BIT(VHOST_F_LOG_ALL) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	struct vhost_mem_table t = { .n = 1, .region = { vf_region(f) } };
	uint64_t offered;
	int r = vf_get(f, VHOST_GET_FEATURES, &offered);

	f->features = offered & features;
	f->driver.features = f->features & ~vhosts;
	if (!r)
		r = vf_get(f, VHOST_GET_PROTOCOL_FEATURES, &offered);
	f->protocol = offered & protocol;
	if (!r)
		r = set(f, VHOST_SET_PROTOCOL_FEATURES, f->protocol);
	if (!r)
		r = vf_send(f, VHOST_SET_OWNER, VHOST_FLAG_VERSION, NULL, 0, NULL, 0);
	if (!r)
		r = set(f, VHOST_SET_FEATURES, f->features);
	return r ? r : vf_call(f, VHOST_SET_MEM_TABLE, &t, 8 + sizeof(t.region[0]), &f->memfd, 1);
}

int vf_track(struct vfront *f, uint16_t n_queues, uint16_t size)
{
	int r = 0;

	if (f->inflight_fd < 0) {
		f->inflight = (struct vhost_inflight){ .n_queues = n_queues, .queue_size = size };
		r = vf_send(f, VHOST_GET_INFLIGHT_FD, VHOST_FLAG_VERSION, &f->inflight,
			    sizeof(f->inflight), NULL, 0);
		if (!r)
			r = vf_reply(f, VHOST_GET_INFLIGHT_FD, &f->inflight, sizeof(f->inflight),
				     &f->inflight_fd);
		if (r < 0)
			return r;
	}
	return vf_call(f, VHOST_SET_INFLIGHT_FD, &f->inflight, sizeof(f->inflight), &f->inflight_fd,
		       1);
}

int vf_start(struct vfront *f, struct vd_queue *q, uint32_t base)
{
	const uint32_t i = q->index;
	const struct vhost_vring_state num = { i, q->size }, from = { i, base }, on = { i, 1 };
	const struct vhost_vring_addr addr = {
		.index = i,
		.desc = q->desc - VF_GUEST + VF_USER,
		.used = q->used - VF_GUEST + VF_USER,
		.avail = q->avail - VF_GUEST + VF_USER,
		.log = q->used,
	};
	const uint64_t index = i;
	int r = vf_call(f, VHOST_SET_VRING_NUM, &num, sizeof(num), NULL, 0);

	if (!r)
		r = vf_call(f, VHOST_SET_VRING_BASE, &from, sizeof(from), NULL, 0);
	if (!r)
		r = vf_call(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	if (!r)
		r = vf_call(f, VHOST_SET_VRING_KICK, &index, sizeof(index), &f->kick[i], 1);
	if (!r)
		r = vf_call(f, VHOST_SET_VRING_CALL, &index, sizeof(index), &f->call[i], 1);
	return r ? r : vf_call(f, VHOST_SET_VRING_ENABLE, &on, sizeof(on), NULL, 0);
}

int vf_queue(struct vfront *f, struct vd_queue *q, unsigned index, uint16_t size)
{
	vd_queue_layout(&f->driver, q, index, size);
	return vf_start(f, q, q->packed ? 0x80008000 : 0);
}

int vf_stop(struct vfront *f, unsigned index, uint32_t *base)
{
	struct vhost_vring_state s = { index, 0 };
	int r = vf_send(f, VHOST_GET_VRING_BASE, VHOST_FLAG_VERSION, &s, sizeof(s), NULL, 0);

	if (!r)
		r = vf_reply(f, VHOST_GET_VRING_BASE, &s, sizeof(s), NULL);
	*base = s.num;
	return r < 0 ? r : r == sizeof(s) && s.index == index ? 0 : -EPROTO;
}

/* SPDX-License-Identifier: MIT */
/*
 * Emptying eventfds that somebody waits for; epoll(7), eventfd(2), poll(2), readv(2).
 */
#include "vhost/relief.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "host/notifier.h"
#include "host/thread.h"

enum { PAUSE_MS = 10 }; /* between two looks, once it has begun */

/* What an event is of. Front ends are counted: an event may be of one that has gone since. */
enum { OF_WAKE, OF_STOP, OF_FRONT_END };

struct vhost_relief {
	pthread_t thread;
	bool runs;
	int epfd;
	struct notifier wake;

	pthread_mutex_t lock;
	bool over;
	bool going; /* the front end has gone, or is to go */
	int sock;   /* -1: there is none */
	uint64_t front_end;
	int fd[VHOST_RELIEF_MAX];
};

/* Takes what is there and does not wait for what is not: its owner may read it too. */
static void empty(int fd)
{
	uint64_t count;
	struct iovec iov = { &count, sizeof(count) };
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	ssize_t n;

	if (poll(&p, 1, 0)) /* room in it, or an error: nobody waits */
		return;
	n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	(void)n;
}

/* True: look again. */
static bool relieve(struct vhost_relief *r, const struct epoll_event *events, int n, bool *over)
{
	bool going;

	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < n; i++) {
		uint64_t of = events[i].data.u64;

		if (of == OF_WAKE)
			notifier_clear(&r->wake);
		else if (of == OF_STOP || of == r->front_end)
			r->going = r->sock >= 0;
	}
	for (unsigned i = 0; r->going && i < VHOST_RELIEF_MAX; i++)
		if (r->fd[i] >= 0)
			empty(r->fd[i]);
	going = r->going;
	*over = r->over;
	pthread_mutex_unlock(&r->lock);
	return going;
}

static void *relief_thread(void *arg)
{
	struct vhost_relief *r = arg;
	bool going = false, over = false;

	while (!over) {
		struct epoll_event events[3];
		int n = epoll_wait(r->epfd, events, 3, going ? PAUSE_MS : -1);

		going = relieve(r, events, n, &over);
	}
	return NULL;
}

/* Each event is reported once: what it is about stays so. */
static int watch(struct vhost_relief *r, int fd, uint32_t events, uint64_t of)
{
	struct epoll_event ev = { .events = events, .data.u64 = of };

	return epoll_ctl(r->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int vhost_relief_create(struct vhost_relief **relief, int stop_fd, struct err *err)
{
	struct vhost_relief *r = calloc(1, sizeof(*r));
	int code;

	if (!r)
		return err_set(err, -ENOMEM, "cannot serve front ends: out of memory");
	r->sock = -1;
	r->front_end = OF_FRONT_END;
	memset(r->fd, 0xff, sizeof(r->fd));
	pthread_mutex_init(&r->lock, NULL);
	r->epfd = epoll_create1(EPOLL_CLOEXEC);
	r->wake = (struct notifier){ -1, -1 };
	code = r->epfd < 0 ? -errno : notifier_init(&r->wake, err);
	if (!code)
		code = watch(r, r->wake.rfd, EPOLLIN, OF_WAKE);
	if (!code && stop_fd >= 0)
		code = watch(r, stop_fd, EPOLLIN | EPOLLET, OF_STOP);
	if (code)
		err_set(err, code, "cannot watch front ends: %s", strerror(-code));
	else
		code = thread_create(&r->thread, "relief", relief_thread, r, err);
	r->runs = !code;
	if (code)
		vhost_relief_destroy(r);
	else
		*relief = r;
	return code;
}

void vhost_relief_destroy(struct vhost_relief *r)
{
	if (!r)
		return;
	if (r->runs) {
		pthread_mutex_lock(&r->lock);
		r->over = true;
		pthread_mutex_unlock(&r->lock);
		notifier_set(&r->wake);
		pthread_join(r->thread, NULL);
	}
	notifier_fini(&r->wake);
	if (r->epfd >= 0)
		close(r->epfd);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void vhost_relief_attach(struct vhost_relief *r, int sock)
{
	pthread_mutex_lock(&r->lock);
	r->sock = sock;
	r->front_end++;
	/* Without memory for that: then only vhost_relief_begin() tells. */
	watch(r, sock, EPOLLRDHUP | EPOLLET, r->front_end);
	pthread_mutex_unlock(&r->lock);
}

void vhost_relief_set(struct vhost_relief *r, unsigned i, int fd)
{
	assert(i < VHOST_RELIEF_MAX);
	pthread_mutex_lock(&r->lock);
	r->fd[i] = fd;
	pthread_mutex_unlock(&r->lock);
}

void vhost_relief_begin(struct vhost_relief *r)
{
	pthread_mutex_lock(&r->lock);
	r->going = r->sock >= 0;
	pthread_mutex_unlock(&r->lock);
	notifier_set(&r->wake);
}

void vhost_relief_detach(struct vhost_relief *r)
{
	pthread_mutex_lock(&r->lock);
	epoll_ctl(r->epfd, EPOLL_CTL_DEL, r->sock, NULL);
	r->sock = -1;
	r->going = false;
	memset(r->fd, 0xff, sizeof(r->fd));
	pthread_mutex_unlock(&r->lock);
}

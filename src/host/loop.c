/* SPDX-License-Identifier: MIT */
/*
 * Event loop on Linux: epoll(7) for descriptors, a list under a mutex for tasks, and a notifier
 * that brings epoll_wait() back for tasks and for loop_stop().
 *
 * One turn: wait, serve the descriptors that are ready, run the tasks that were posted by then.
 * What they post or make ready meanwhile has its turn in the next round, so neither kind can
 * starve the other.
 */
#include "host/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/notifier.h"

enum { LOOP_BATCH = 32 }; /* events fetched by one epoll_wait() */

struct loop {
	int epfd;
	struct notifier wake;

	/* The pthread_self() of the thread in loop_run(), 0 when there is none. Any thread compares
	 * it with its own, and only its own thread's answer is "yes": relaxed is enough. */
	atomic_uintptr_t thread;

	/*
	 * Guards what follows and each task's `next` and `queued`. The notifier is set with it
	 * held: the loop cannot act on a post or a stop, and so nobody can destroy the loop
	 * because of it, before whoever posted is done with the loop.
	 */
	pthread_mutex_t lock;
	struct loop_task *first, **last;
	bool stop;

	/* There is something new under the lock, which the loop takes only then. Set with it held;
	 * the loop clears it before it takes the lock, so nothing is missed. */
	atomic_bool attention;

	/* Loop thread: the batch being served. loop_del() strikes its source out. */
	struct epoll_event batch[LOOP_BATCH];
	int n_batch;
};

int loop_create(struct loop **loop, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL }; /* NULL: the notifier */
	struct loop *l = calloc(1, sizeof(*l));
	int code;

	if (!l)
		return err_set(err, -ENOMEM, "cannot create an event loop: out of memory");
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		code = err_set(err, -errno, "cannot create an event loop: %s", strerror(errno));
		goto fail;
	}
	code = notifier_init(&l->wake, err);
	if (code)
		goto fail_epoll;
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wake.rfd, &ev) < 0) {
		code = err_set(err, -errno, "cannot watch an eventfd: %s", strerror(errno));
		goto fail_wake;
	}
	pthread_mutex_init(&l->lock, NULL);
	l->last = &l->first;
	*loop = l;
	return 0;

fail_wake:
	notifier_fini(&l->wake);
fail_epoll:
	close(l->epfd);
fail:
	free(l);
	return code;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	pthread_mutex_destroy(&loop->lock);
	notifier_fini(&loop->wake);
	close(loop->epfd);
	free(loop);
}

/* Descriptors */

/* What a source asks for is what epoll is asked for. EPOLLHUP and EPOLLERR are always on;
 * epoll_ctl(2). */
#define SAME(ours, theirs) _Static_assert((uint32_t)(ours) == (uint32_t)(theirs), #theirs)
SAME(LOOP_IN, EPOLLIN);
SAME(LOOP_OUT, EPOLLOUT);
SAME(LOOP_HUP, EPOLLHUP | EPOLLERR);
SAME(LOOP_EDGE, EPOLLET);

int loop_add(struct loop *loop, struct loop_source *source)
{
	struct epoll_event ev = { .events = source->events, .data.ptr = source };

	if (source->watched)
		return 0;
	if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, source->fd, &ev) < 0)
		return -errno;
	source->watched = true;
	return 0;
}

int loop_mod(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = source };

	if (epoll_ctl(loop->epfd, EPOLL_CTL_MOD, source->fd, &ev) < 0)
		return -errno;
	source->events = events;
	return 0;
}

void loop_del(struct loop *loop, struct loop_source *source)
{
	if (!source->watched)
		return;
	source->watched = false;
	epoll_ctl(loop->epfd, EPOLL_CTL_DEL, source->fd, NULL);
	for (int i = 0; i < loop->n_batch; i++)
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].events = 0;
}

static void serve_batch(struct loop *loop)
{
	for (int i = 0; i < loop->n_batch; i++) {
		const struct epoll_event *ev = &loop->batch[i];
		struct loop_source *source = ev->data.ptr;
		uint32_t events = ev->events;

		if (!events) /* struck out: `source` may be gone */
			continue;
		if (!source) {
			notifier_clear(&loop->wake);
			continue;
		}
		events &= source->events | LOOP_HUP; /* loop_mod() may have come in between */
		if (events)
			source->ready(source, events);
	}
	loop->n_batch = 0;
}

/* Tasks */

void loop_post(struct loop *loop, struct loop_task *task)
{
	pthread_mutex_lock(&loop->lock);
	if (!task->queued) {
		/* A list that is not empty has its wake-up under way, and the loop's own thread
		 * looks at the list before it waits again. */
		bool wake = !loop->first && !loop_is_current(loop);

		task->queued = true;
		task->next = NULL;
		*loop->last = task;
		loop->last = &task->next;
		atomic_store_explicit(&loop->attention, true, memory_order_relaxed);
		if (wake)
			notifier_set(&loop->wake);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* Run what is on the list now, not what is posted meanwhile. The lock is held, but not in run(). */
static void run_tasks(struct loop *loop)
{
	struct loop_task **end = loop->last;

	while (loop->first) {
		struct loop_task *task = loop->first;
		bool final = &task->next == end;

		loop->first = task->next;
		if (!loop->first)
			loop->last = &loop->first;
		task->queued = false;
		pthread_mutex_unlock(&loop->lock);
		task->run(task); /* may post the task again, or free it */
		pthread_mutex_lock(&loop->lock);
		if (final)
			break;
	}
}

/* epoll_wait(), but for being a point of cancellation: where there are threads, that costs many
 * times what the rest of it does. Without a signal mask, nobody looks at its size. */
static int wait_events(struct loop *loop, int timeout_ms)
{
	return (int)syscall(SYS_epoll_pwait, loop->epfd, loop->batch, LOOP_BATCH, timeout_ms, NULL);
}

int loop_run(struct loop *loop)
{
	bool left = true; /* an earlier run may have left tasks that wake nobody any more */
	bool stop = false;

	atomic_store_explicit(&loop->thread, (uintptr_t)pthread_self(), memory_order_relaxed);
	do {
		int n = wait_events(loop, left ? 0 : -1);

		if (n < 0 && errno != EINTR) {
			int code = -errno;

			atomic_store_explicit(&loop->thread, 0, memory_order_relaxed);
			return code;
		}
		loop->n_batch = n < 0 ? 0 : n;
		serve_batch(loop);

		/*
		 * Relaxed is enough: whoever sets it goes on to set the notifier, unless one is set
		 * already and not yet cleared, or this is that thread. So should the old value be
		 * seen here, the wait ends at once.
		 */
		if (likely(!left && !atomic_load_explicit(&loop->attention, memory_order_relaxed)))
			continue;
		atomic_store_explicit(&loop->attention, false, memory_order_relaxed);
		pthread_mutex_lock(&loop->lock);
		/* Taken before the tasks run: what a thread posts before it calls loop_stop() is
		 * on the list by then and is still run. */
		stop = loop->stop;
		loop->stop = false;
		run_tasks(loop);
		left = loop->first;
		pthread_mutex_unlock(&loop->lock);
	} while (!stop);
	atomic_store_explicit(&loop->thread, 0, memory_order_relaxed);
	return 0;
}

void loop_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stop = true;
	atomic_store_explicit(&loop->attention, true, memory_order_relaxed);
	notifier_set(&loop->wake);
	pthread_mutex_unlock(&loop->lock);
}

bool loop_is_current(const struct loop *loop)
{
	return atomic_load_explicit(&loop->thread, memory_order_relaxed) ==
	       (uintptr_t)pthread_self();
}

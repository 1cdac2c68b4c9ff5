/* SPDX-License-Identifier: MIT */
/*
 * A small pool of threads, created as they are needed and kept. A few are enough: they exist so
 * that a sleeping disk does not stop the loop, and to keep a few requests in the disk's own queue.
 */
#include "block/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "block/blk.h"
#include "host/loop.h"
#include "host/thread.h"

enum { POOL_THREADS = 4 };

/* A queue of requests, linked by `next`. */
struct list {
	struct blk_req *first, **last;
};

struct pool {
	struct loop *loop;
	int (*work)(void *arg, struct blk_req *req);
	void *arg;

	/* The loop's thread only */
	unsigned in_flight;
	struct list ready;       /* completed without a thread */
	struct loop_task answer; /* posted when something is ready or finished */
	void (*idle)(void *arg);
	void *idle_arg;
	unsigned n_threads;
	pthread_t thread[POOL_THREADS];

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t wake;  /* todo is not empty, or quit */
	struct list todo, finished;
	unsigned n_todo, n_idle; /* requests on todo; threads that wait, or are being woken */
	bool quit;
};

static void list_init(struct list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct list *l, struct blk_req *req)
{
	req->next = NULL;
	*l->last = req;
	l->last = &req->next;
}

static struct blk_req *list_take(struct list *l)
{
	struct blk_req *req = l->first;

	if (!req)
		return NULL;
	l->first = req->next;
	if (!l->first)
		l->last = &l->first;
	return req;
}

/* Move all of `from` to the end of `to`. */
static void list_join(struct list *to, struct list *from)
{
	if (!from->first)
		return;
	*to->last = from->first;
	to->last = from->last;
	list_init(from);
}

static void *pool_thread(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct blk_req *req = list_take(&p->todo);
		bool first;

		if (!req) {
			if (p->quit)
				break;
			p->n_idle++;
			pthread_cond_wait(&p->wake, &p->lock);
			p->n_idle--;
			continue;
		}
		p->n_todo--;
		pthread_mutex_unlock(&p->lock);
		req->res = p->work(p->arg, req);
		pthread_mutex_lock(&p->lock);
		first = !p->finished.first;
		list_add(&p->finished, req);
		/* Later ones join the batch, up to when the loop takes it. */
		if (first)
			loop_post(p->loop, &p->answer);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void pool_answer(struct loop_task *task)
{
	struct pool *p = container_of(task, struct pool, answer);
	struct list batch;
	struct blk_req *req;

	list_init(&batch);
	list_join(&batch, &p->ready);
	pthread_mutex_lock(&p->lock);
	list_join(&batch, &p->finished);
	pthread_mutex_unlock(&p->lock);

	while ((req = list_take(&batch))) {
		p->in_flight--;
		req->done(req, req->res, batch.first); /* may submit again, or free req */
	}
	if (!p->in_flight && p->idle) {
		void (*idle)(void *) = p->idle;

		p->idle = NULL;
		idle(p->idle_arg);
	}
}

int pool_create(struct pool **pool, struct loop *loop, int (*work)(void *arg, struct blk_req *req),
		void *arg, struct err *err)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(err, -ENOMEM, "cannot create a thread pool: out of memory");
	p->loop = loop;
	p->work = work;
	p->arg = arg;
	p->answer.run = pool_answer;
	list_init(&p->ready);
	list_init(&p->todo);
	list_init(&p->finished);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	*pool = p;
	return 0;
}

void pool_destroy(struct pool *pool)
{
	if (!pool)
		return;
	assert(!pool->in_flight);
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->thread[i], NULL);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void pool_submit(struct pool *pool, struct blk_req *req)
{
	bool grow;

	pool->in_flight++;
	pthread_mutex_lock(&pool->lock);
	list_add(&pool->todo, req);
	pool->n_todo++;
	grow = pool->n_todo > pool->n_idle;
	if (pool->n_idle)
		pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);

	if (!grow || pool->n_threads == POOL_THREADS)
		return;
	if (!thread_create(&pool->thread[pool->n_threads], "block", pool_thread, pool, NULL)) {
		pool->n_threads++;
	} else if (!pool->n_threads) {
		/* Nobody will ever come for it. Slow, but right: do it here. */
		pthread_mutex_lock(&pool->lock);
		list_take(&pool->todo);
		pool->n_todo--;
		pthread_mutex_unlock(&pool->lock);
		pool->in_flight--;
		pool_complete(pool, req, pool->work(pool->arg, req));
	}
}

void pool_complete(struct pool *pool, struct blk_req *req, int res)
{
	pool->in_flight++;
	req->res = res;
	if (!pool->ready.first) /* else it is posted: pool_answer() takes all */
		loop_post(pool->loop, &pool->answer);
	list_add(&pool->ready, req);
}

void pool_drain(struct pool *pool, void (*idle)(void *arg), void *arg)
{
	if (!pool->in_flight) {
		idle(arg);
		return;
	}
	assert(!pool->idle);
	pool->idle = idle;
	pool->idle_arg = arg;
}

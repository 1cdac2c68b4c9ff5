/* SPDX-License-Identifier: MIT */
/*
 * A small pool of threads, created as they are needed and kept. A few are enough: they exist so
 * that a sleeping disk does not stop the loop, and to keep a few requests in the disk's own queue.
 */
#include "block/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/loop.h"
#include "host/thread.h"

enum { POOL_THREADS = 4 };

struct pool {
	struct pool_config config;

	/* The loop's thread only */
	struct loop_task answer; /* posted when something is finished */
	unsigned n_threads;
	pthread_t thread[POOL_THREADS];

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t wake;  /* todo is not empty, or quit */
	struct reqs todo, finished;
	unsigned n_todo, n_idle; /* requests on todo; threads that wait, or are being woken */
	bool quit;
};

static void *pool_thread(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct blk_req *req = reqs_take(&p->todo);
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
		req->res = p->config.work(p->config.arg, req);
		pthread_mutex_lock(&p->lock);
		first = !p->finished.first;
		reqs_add(&p->finished, req);
		/* Later ones join the batch, up to when the loop takes it. */
		if (first)
			loop_post(p->config.loop, &p->answer);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void pool_answer(struct loop_task *task)
{
	struct pool *p = container_of(task, struct pool, answer);
	struct reqs batch;

	reqs_init(&batch);
	pthread_mutex_lock(&p->lock);
	reqs_join(&batch, &p->finished);
	pthread_mutex_unlock(&p->lock);
	p->config.finished(p->config.arg, &batch);
}

int pool_create(struct pool **pool, const struct pool_config *config, struct err *err)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(err, -ENOMEM, "cannot create a thread pool: out of memory");
	p->config = *config;
	p->answer.run = pool_answer;
	reqs_init(&p->todo);
	reqs_init(&p->finished);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	*pool = p;
	return 0;
}

void pool_destroy(struct pool *pool)
{
	if (!pool)
		return;
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

bool pool_submit(struct pool *pool, struct blk_req *req)
{
	bool grow;

	pthread_mutex_lock(&pool->lock);
	reqs_add(&pool->todo, req);
	pool->n_todo++;
	grow = pool->n_todo > pool->n_idle;
	if (pool->n_idle)
		pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);

	if (!grow || pool->n_threads == POOL_THREADS)
		return true;
	if (!thread_create(&pool->thread[pool->n_threads], "block", pool_thread, pool, NULL)) {
		pool->n_threads++;
	} else if (!pool->n_threads) {
		/* Nobody will ever come for it. */
		pthread_mutex_lock(&pool->lock);
		reqs_take(&pool->todo);
		pool->n_todo--;
		pthread_mutex_unlock(&pool->lock);
		return false;
	}
	return true;
}

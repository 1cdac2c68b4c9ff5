/* SPDX-License-Identifier: MIT */
/*
 * Event loop: sources that come and go inside callbacks, tasks from other threads, stopping.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/loop.h"
#include "host/notifier.h"
#include "host/thread.h"

static int set_up(void **state)
{
	return loop_create((struct loop **)state, NULL);
}

static int tear_down(void **state)
{
	loop_destroy(*state);
	return 0;
}

/* A source that counts, and on its first event does what the test says. */
struct watched {
	struct loop_source source;
	struct loop *loop;
	int fds[2];
	unsigned count;
	uint32_t events;
	void (*then)(struct watched *w);
	struct watched *other;
};

static void ready(struct loop_source *source, uint32_t events)
{
	struct watched *w = container_of(source, struct watched, source);

	assert_true(loop_is_current(w->loop));
	w->count++;
	w->events = events;
	if (w->then)
		w->then(w);
}

static void watch(struct watched *w, struct loop *loop, void (*then)(struct watched *w))
{
	*w = (struct watched){ .loop = loop, .then = then };
	assert_int_equal(pipe(w->fds), 0);
	w->source = (struct loop_source){ .fd = w->fds[0], .events = LOOP_IN, .ready = ready };
	assert_int_equal(loop_add(loop, &w->source), 0);
}

static void unwatch(struct watched *w)
{
	loop_del(w->loop, &w->source);
	close(w->fds[0]);
	close(w->fds[1]);
}

static void stop(struct watched *w)
{
	loop_stop(w->loop);
}

static void stop_is_sticky_and_ends_one_run(void **state)
{
	struct loop *loop = *state;
	struct watched w;

	loop_stop(loop);
	loop_stop(loop);
	assert_int_equal(loop_run(loop), 0);
	assert_false(loop_is_current(loop));
	/* The second run is not ended by the first one's stop: it reaches the source. */
	watch(&w, loop, stop);
	assert_int_equal(write(w.fds[1], "x", 1), 1);
	while (!w.count)
		assert_int_equal(loop_run(loop), 0);
	assert_int_equal(w.events, LOOP_IN);
	unwatch(&w);
}

static void del_other(struct watched *w)
{
	/* Both were ready and fetched together. Whoever is first deletes the other. */
	if (w->other->count == 0) {
		unwatch(w->other);
		free(w->other);
	}
	loop_stop(w->loop);
}

static void del_inside_a_callback(void **state)
{
	struct loop *loop = *state;
	struct watched *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));

	watch(a, loop, del_other);
	watch(b, loop, del_other);
	a->other = b;
	b->other = a;
	assert_int_equal(write(a->fds[1], "x", 1), 1);
	assert_int_equal(write(b->fds[1], "x", 1), 1);
	assert_int_equal(loop_run(loop), 0); /* a second callback would use freed memory */
	/* Ready in the order in which they became so: a is the one that is left. */
	assert_int_equal(a->count, 1);
	unwatch(a);
	free(a);
}

static void del_self(struct watched *w)
{
	loop_stop(w->loop);
	unwatch(w);
}

static void del_itself(void **state)
{
	struct loop *loop = *state;
	struct watched w;

	watch(&w, loop, del_self);
	assert_int_equal(write(w.fds[1], "x", 1), 1);
	assert_int_equal(loop_run(loop), 0);
	loop_stop(loop);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(w.count, 1);
}

static void mute_other(struct watched *w)
{
	assert_int_equal(loop_mod(w->loop, &w->other->source, 0), 0);
	loop_stop(w->loop);
}

static void mod_counts_for_events_already_fetched(void **state)
{
	struct loop *loop = *state;
	struct watched a, b;

	watch(&a, loop, mute_other);
	watch(&b, loop, mute_other);
	a.other = &b;
	b.other = &a;
	assert_int_equal(write(a.fds[1], "x", 1), 1);
	assert_int_equal(write(b.fds[1], "x", 1), 1);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(a.count + b.count, 1);
	unwatch(&a);
	unwatch(&b);
}

static void hang_up_is_always_reported(void **state)
{
	struct loop *loop = *state;
	struct watched w;

	watch(&w, loop, stop);
	assert_int_equal(loop_mod(loop, &w.source, 0), 0);
	close(w.fds[1]);
	assert_int_equal(loop_run(loop), 0);
	assert_true(w.events & LOOP_HUP);
	assert_false(w.events & ~(uint32_t)LOOP_HUP);
	loop_del(loop, &w.source);
	close(w.fds[0]);
}

static void files_cannot_be_watched(void **state)
{
	struct loop_source s = { .events = LOOP_IN, .ready = ready };
	FILE *f = tmpfile();

	assert_non_null(f);
	s.fd = fileno(f);
	assert_int_equal(loop_add(*state, &s), -EPERM);
	loop_del(*state, &s);
	fclose(f);
	s.fd = -1;
	assert_int_equal(loop_add(*state, &s), -EBADF);
	assert_int_equal(loop_mod(*state, &s, LOOP_OUT), -EBADF);
}

/* Adding what is there, and taking off what is not. */
static void twice_is_as_once(void **state)
{
	struct loop *loop = *state;
	struct watched w;

	watch(&w, loop, stop);
	assert_true(w.source.watched);
	assert_int_equal(loop_add(loop, &w.source), 0);
	assert_int_equal(write(w.fds[1], "x", 1), 1);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(w.count, 1);
	loop_del(loop, &w.source);
	assert_false(w.source.watched);
	loop_del(loop, &w.source);
	loop_stop(loop);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(w.count, 1);
	assert_int_equal(loop_add(loop, &w.source), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(w.count, 2);
	unwatch(&w);
}

/* Tasks */

struct job {
	struct loop_task task;
	struct loop *loop;
	unsigned count, again; /* times run; times to post itself again */
	bool stop, once;       /* stop the loop when done; free it */
	unsigned *clock, when; /* a counter of all jobs, and where it stood */
};

static void work(struct loop_task *task)
{
	struct job *j = container_of(task, struct job, task);

	j->count++;
	if (j->clock)
		j->when = ++*j->clock;
	if (j->again) {
		j->again--;
		loop_post(j->loop, task);
	} else if (j->stop) {
		loop_stop(j->loop);
	}
	if (j->once)
		free(j);
}

static void tasks_run_once_and_in_order(void **state)
{
	struct loop *loop = *state;
	unsigned clock = 0;
	struct job j[3];

	for (int i = 0; i < 3; i++)
		j[i] = (struct job){ .task.run = work, .loop = loop, .clock = &clock };
	loop_post(loop, &j[1].task);
	loop_post(loop, &j[0].task);
	loop_post(loop, &j[1].task); /* stays where it is */
	loop_post(loop, &j[2].task);
	loop_stop(loop); /* what was posted before is still run */
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(j[0].count + j[1].count + j[2].count, 3);
	assert_int_equal(j[1].when, 1);
	assert_int_equal(j[0].when, 2);
	assert_int_equal(j[2].when, 3);
}

static void a_task_may_free_itself(void **state)
{
	struct job *j = malloc(sizeof(*j));

	*j = (struct job){ .task.run = work, .loop = *state, .once = true, .stop = true };
	loop_post(*state, &j->task);
	assert_int_equal(loop_run(*state), 0);
}

static void a_task_that_posts_itself_starves_nobody(void **state)
{
	struct loop *loop = *state;
	struct job j = { .task.run = work, .loop = loop, .again = UINT32_MAX };
	struct watched w;

	watch(&w, loop, stop);
	assert_int_equal(write(w.fds[1], "x", 1), 1);
	loop_post(loop, &j.task);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(w.count, 1);
	assert_in_range(j.count, 1, 2);
	unwatch(&w);
	/* It is still posted: the next run goes on with it without being woken. */
	j.again = 2;
	j.stop = true;
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(j.again, 0);
}

enum { POSTERS = 2, POSTS = 2000 };

struct poster {
	struct loop_task task;
	struct loop *loop;
	atomic_uint *left; /* tasks that all posters have yet to see run */
	atomic_bool done;  /* the task has run, post it again */
	unsigned runs;     /* not atomic: only the loop's thread touches it */
};

static void count_run(struct loop_task *task)
{
	struct poster *p = container_of(task, struct poster, task);

	p->runs++;
	atomic_store(&p->done, true);
	if (atomic_fetch_sub(p->left, 1) == 1)
		loop_stop(p->loop);
}

static void *post_many(void *arg)
{
	struct poster *p = arg;

	for (unsigned i = 0; i < POSTS; i++) {
		atomic_store(&p->done, false);
		loop_post(p->loop, &p->task);
		while (!atomic_load(&p->done))
			sched_yield();
	}
	return NULL;
}

static void posts_from_threads_are_never_lost(void **state)
{
	struct poster p[POSTERS];
	atomic_uint left = POSTERS * POSTS;
	pthread_t t[POSTERS];

	for (int i = 0; i < POSTERS; i++) {
		p[i] = (struct poster){ .task.run = count_run, .loop = *state, .left = &left };
		assert_int_equal(thread_create(&t[i], "poster", post_many, &p[i], NULL), 0);
	}
	assert_int_equal(loop_run(*state), 0);
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(p[i].runs, POSTS);
	}
}

static void *run_and_destroy(void *arg)
{
	struct loop *loop = arg;
	int code = loop_run(loop);

	loop_destroy(loop);
	return (void *)(intptr_t)code;
}

/* Whoever sees a stop take effect may destroy the loop: loop_stop() is done with it by then. */
static void stop_from_another_thread(void **state)
{
	(void)state;
	for (int i = 0; i < 500; i++) {
		struct loop *loop;
		pthread_t t;
		void *code;

		assert_int_equal(loop_create(&loop, NULL), 0);
		assert_int_equal(thread_create(&t, "loop", run_and_destroy, loop, NULL), 0);
		assert_false(loop_is_current(loop));
		if (i % 2) /* let it wait for events; else it may not yet run at all */
			usleep(50);
		loop_stop(loop);
		pthread_join(t, &code);
		assert_null(code);
	}
	loop_destroy(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stop_is_sticky_and_ends_one_run),
		TEST(del_inside_a_callback),
		TEST(del_itself),
		TEST(mod_counts_for_events_already_fetched),
		TEST(hang_up_is_always_reported),
		TEST(files_cannot_be_watched),
		TEST(twice_is_as_once),
		TEST(tasks_run_once_and_in_order),
		TEST(a_task_may_free_itself),
		TEST(a_task_that_posts_itself_starves_nobody),
		TEST(posts_from_threads_are_never_lost),
		cmocka_unit_test(stop_from_another_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

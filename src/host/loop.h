/* SPDX-License-Identifier: MIT */
/*
 * An event loop: file descriptors that become ready, and tasks posted from other threads.
 *
 * A VM has one control loop (console, timers, signals) and one loop per I/O thread. What is
 * attached to a loop runs on that loop's thread only and needs no lock against its neighbours.
 */
#ifndef HAKO_HOST_LOOP_H
#define HAKO_HOST_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;

/* A unit of work, embedded in its owner. Free to post again once it has begun to run. */
struct loop_task {
	struct loop_task *next;
	void (*run)(struct loop_task *task);
	bool queued; /* owned by the loop, under its lock */
};

/*
 * LOOP_EDGE, in what a source asks for: each event is reported once, as it happens. For an eventfd
 * this means once per write or less, whether it is read or not. LOOP_HUP is a hang-up, an error, or
 * both. The values are epoll's: none is translated for each event.
 */
enum loop_event { LOOP_IN = 1, LOOP_OUT = 4, LOOP_HUP = 8 | 16, LOOP_EDGE = 1U << 31 };

/* A watched descriptor, embedded in its owner, who keeps the descriptor open until loop_del(). */
struct loop_source {
	int fd;
	/* LOOP_IN, LOOP_OUT or both. LOOP_HUP (hang-up or error) is always reported, and again
	 * and again until loop_del(). */
	uint32_t events;
	void (*ready)(struct loop_source *source, uint32_t events);
	bool watched; /* between loop_add() and loop_del(), which set it */
};

int loop_create(struct loop **loop, struct err *err);
/* After loop_run() has returned. Tasks still posted are dropped. */
void loop_destroy(struct loop *loop);

/* Run until loop_stop(); the calling thread becomes the loop's thread. 0 or a negative errno. */
int loop_run(struct loop *loop);
/*
 * Any thread; not from a signal handler. Ends one loop_run(). Sticky: one that has not yet begun
 * returns after one turn. Tasks that the caller posted before are still run.
 */
void loop_stop(struct loop *loop);

/*
 * Loop thread, or before loop_run(). A descriptor that cannot be polled (a regular file) is -EPERM.
 * To add what is watched already, or to take off what is not, changes nothing.
 */
int loop_add(struct loop *loop, struct loop_source *source);
int loop_mod(struct loop *loop, struct loop_source *source, uint32_t events);
/* After it returns, ready() is not called again, even for an event already fetched. */
void loop_del(struct loop *loop, struct loop_source *source);

/* Any thread. Runs each task once, in order; a task already queued stays queued once. Allocates
 * nothing. */
void loop_post(struct loop *loop, struct loop_task *task);

/* Is the caller the loop's thread? For assertions. */
bool loop_is_current(const struct loop *loop);

#endif

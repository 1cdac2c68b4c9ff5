/* SPDX-License-Identifier: MIT */
/*
 * Threads with a name. Signals are blocked in them (but for those of a fault of their own, such as
 * SIGSEGV): signals belong to the main thread.
 */
#ifndef HAKO_HOST_THREAD_H
#define HAKO_HOST_THREAD_H

#include <pthread.h>

struct err;

/* `name` is cut to 15 bytes, what Linux keeps. Join with pthread_join(). */
int thread_create(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg,
		  struct err *err);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user server in a test's own process: a disk in a temporary file, a loop with its thread,
 * a socket, a log that remembers.
 *
 * Threads: one sets up and tears down; the loop has its own.
 */
#ifndef HAKO_TESTS_VBACK_H
#define HAKO_TESTS_VBACK_H

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/log.h"
#include "host/loop.h"
#include "host/notifier.h"
#include "vrig.h"

struct vback {
	char disk[VRIG_PATH_MAX], path[VRIG_PATH_MAX];
	struct loop *loop;
	pthread_t thread;
	struct log log;
	pthread_mutex_t lock; /* of what was said */
	char said[4096];      /* all messages since the last vback_said(), a line each */
	struct blk *blk;
	struct virtio_dev *dev;
	struct vhost_server *server;
	struct notifier stop; /* set: the server ends, and with it the thread */
	struct loop_source stop_source;
	bool ended; /* by that, and the thread is joined */
};

/* A disk of `size` bytes with vrig_file()'s pattern. Aborts where it cannot be had. */
void vback_init(struct vback *b, uint64_t size, uint16_t queues);
void vback_fini(struct vback *b);
/* Was something said that contains `text`? Waits for it; forgets all that was said. */
bool vback_said(struct vback *b, const char *text);
/* Run fn(b) on the loop's thread and wait for it. */
void vback_on_loop(struct vback *b, void (*fn)(void *arg));

#endif

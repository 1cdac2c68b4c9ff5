/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user server to be tested; see vback.h.
 */
#include "vback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "block/blk.h"
#include "host/loop.h"
#include "host/thread.h"
#include "vhost/server.h"
#include "virtio/blk.h"

static void must(int code, const struct err *err)
{
	if (!code)
		return;
	fprintf(stderr, "the server cannot be set up: %s\n", err->msg);
	abort();
}

static void *back_thread(void *arg)
{
	struct vback *b = arg;

	loop_run(b->loop);
	return NULL;
}

static void back_said(void *arg, enum log_level level, const char *who, const char *text)
{
	struct vback *b = arg;
	size_t len;

	(void)level;
	pthread_mutex_lock(&b->lock);
	len = strlen(b->said);
	snprintf(b->said + len, sizeof(b->said) - len, "%s: %s\n", who, text);
	pthread_mutex_unlock(&b->lock);
}

bool vback_said(struct vback *b, const char *text)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	bool found = false;

	for (unsigned i = 0; i < VD_PATIENCE_S * 1000 && !found; i++) {
		pthread_mutex_lock(&b->lock);
		found = strstr(b->said, text);
		if (found)
			b->said[0] = 0;
		pthread_mutex_unlock(&b->lock);
		if (!found)
			nanosleep(&nap, NULL);
	}
	if (!found)
		fprintf(stderr, "not said: %s\nbut: %s\n", text, b->said);
	return found;
}

static void done(void *arg)
{
	struct vback *b = arg;

	loop_stop(b->loop);
}

static void stop_ready(struct loop_source *source, uint32_t events)
{
	struct vback *b = container_of(source, struct vback, stop_source);

	(void)events;
	notifier_clear(&b->stop);
	vhost_server_stop(b->server);
}

void vback_init(struct vback *b, uint64_t size, uint16_t queues)
{
	struct err err = ERR_INIT;
	struct blk_config blk = { .path = b->disk };
	struct virtio_blk_config dev = { .name = "disk", .queues = queues, .seg_max = 126 };
	struct vhost_server_config server = { .name = "vhost", .done = done, .arg = b };

	memset(b, 0, sizeof(*b));
	vrig_file(b->disk, size);
	snprintf(b->path, sizeof(b->path), "%.*s.sock", VRIG_PATH_MAX - 10, b->disk);
	log_init(&b->log, LOG_INFO, back_said, b);
	pthread_mutex_init(&b->lock, NULL);
	must(loop_create(&b->loop, &err), &err);
	blk.loop = dev.loop = b->loop;
	must(blk_open_raw(&b->blk, &blk, &err), &err);
	dev.blk = b->blk;
	dev.log = server.log = &b->log;
	must(virtio_blk_create(&b->dev, &dev, &err), &err);
	must(notifier_watch(&b->stop, b->loop, &b->stop_source, stop_ready, &err), &err);
	server.path = b->path;
	server.stop_fd = b->stop.rfd;
	server.dev = b->dev;
	must(vhost_server_create(&b->server, &server, &err), &err);
	must(thread_create(&b->thread, "io", back_thread, b, &err), &err);
}

struct call {
	struct loop_task task;
	void (*fn)(void *arg);
	void *arg;
	atomic_bool done;
};

static void call_run(struct loop_task *task)
{
	struct call *c = container_of(task, struct call, task);

	c->fn(c->arg);
	atomic_store(&c->done, true);
}

void vback_on_loop(struct vback *b, void (*fn)(void *arg))
{
	struct call c = { .task.run = call_run, .fn = fn, .arg = b };
	const struct timespec nap = { .tv_nsec = 100000 };

	loop_post(b->loop, &c.task);
	while (!atomic_load(&c.done))
		nanosleep(&nap, NULL);
}

void vback_fini(struct vback *b)
{
	if (!b->ended) {
		notifier_set(&b->stop);
		pthread_join(b->thread, NULL);
	}
	loop_del(b->loop, &b->stop_source);
	notifier_fini(&b->stop);
	vhost_server_destroy(b->server);
	virtio_blk_destroy(b->dev);
	blk_close(b->blk);
	loop_destroy(b->loop);
	log_fini(&b->log);
	pthread_mutex_destroy(&b->lock);
	unlink(b->disk);
}

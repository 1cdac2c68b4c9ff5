/* SPDX-License-Identifier: MIT */
/*
 * A rig for virtio devices; see vrig.h.
 */
#include "vrig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "block/blk.h"
#include "bus/bus.h"
#include "host/loop.h"
#include "host/thread.h"
#include "virtio/blk.h"

static void must(int code, const struct err *err)
{
	if (!code)
		return;
	fprintf(stderr, "the test rig cannot be set up: %s\n", err->msg);
	abort();
}

static void *rig_thread(void *arg)
{
	struct vrig *rig = arg;

	loop_run(rig->loop);
	return NULL;
}

static void rig_said(void *arg, enum log_level level, const char *who, const char *text)
{
	struct vrig *rig = arg;

	(void)level;
	snprintf(rig->last, sizeof(rig->last), "%s: %s", who, text);
	atomic_fetch_add(&rig->said, 1);
}

void vrig_init(struct vrig *rig, uint64_t ram)
{
	struct err err = ERR_INIT;

	memset(rig, 0, sizeof(*rig));
	log_init(&rig->log, LOG_INFO, rig_said, rig);
	must(gmem_create(&rig->mem, &err), &err);
	must(gmem_add_ram(rig->mem, VRIG_RAM, ram, &err), &err);
	must(bus_create(&rig->bus, &err), &err);
	must(loop_create(&rig->loop, &err), &err);
	must(thread_create(&rig->thread, "io", rig_thread, rig, &err), &err);
	vd_init(&rig->driver, rig->mem, rig->bus, VRIG_SLOT, VRIG_RAM, ram);
}

void vrig_attach(struct vrig *rig, struct virtio_dev *dev)
{
	struct err err = ERR_INIT;
	const struct virtio_mmio_config config = {
		.name = "dev0",
		.base = VRIG_SLOT,
		.irq = vd_irq_line(&rig->irq),
		.bus = rig->bus,
		.mem = rig->mem,
		.log = &rig->log,
		.legacy = rig->legacy,
		.notification_data = rig->notification_data,
		.without = rig->without,
		.lint = rig->lint,
		.lint_deep = rig->lint_deep,
		.trace = rig->trace,
	};

	must(virtio_mmio_create(&rig->mmio, &config, dev, &err), &err);
}

int vrig_disk(struct vrig *rig, const char *path, bool readonly, struct err *err)
{
	const struct blk_config backend = {
		.path = path,
		.readonly = readonly,
		.loop = rig->loop,
	};
	struct virtio_blk_config config = {
		.name = "vda",
		.serial = "hako-0001",
		.loop = rig->loop,
		.log = &rig->log,
		.queues = rig->queues,
		.size_max = rig->size_max,
		.seg_max = rig->seg_max,
		.block_size = rig->block_size,
		.failed = rig->failed,
		.failed_arg = rig->failed_arg,
	};
	int code = blk_open_raw(&rig->blk, &backend, err);

	if (code)
		return code;
	config.blk = rig->blk;
	code = virtio_blk_create(&rig->dev, &config, err);
	if (code)
		return code;
	vrig_attach(rig, rig->dev);
	return 0;
}

void vrig_fini(struct vrig *rig)
{
	virtio_mmio_destroy(rig->mmio);
	virtio_blk_destroy(rig->dev);
	loop_stop(rig->loop);
	pthread_join(rig->thread, NULL);
	blk_close(rig->blk);
	loop_destroy(rig->loop);
	bus_destroy(rig->bus);
	gmem_destroy(rig->mem);
	log_fini(&rig->log);
}

struct call {
	struct loop_task task;
	void (*fn)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void call_run(struct loop_task *task)
{
	struct call *c = container_of(task, struct call, task);

	c->fn(c->arg);
	pthread_mutex_lock(&c->lock);
	c->done = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

void vrig_on_loop(struct vrig *rig, void (*fn)(void *arg), void *arg)
{
	struct call c = { .task.run = call_run, .fn = fn, .arg = arg };

	pthread_mutex_init(&c.lock, NULL);
	pthread_cond_init(&c.cond, NULL);
	loop_post(rig->loop, &c.task);
	pthread_mutex_lock(&c.lock);
	while (!c.done)
		pthread_cond_wait(&c.cond, &c.lock);
	pthread_mutex_unlock(&c.lock);
	pthread_cond_destroy(&c.cond);
	pthread_mutex_destroy(&c.lock);
}

static void nothing(void *arg)
{
	(void)arg;
}

void vrig_settle(struct vrig *rig)
{
	vrig_on_loop(rig, nothing, NULL);
}

uint64_t vrig_pattern(uint64_t off)
{
	return off * 0x9e3779b97f4a7c15ULL + 1;
}

void vrig_file(char *path, uint64_t size)
{
	const char *dir = getenv("TMPDIR");
	FILE *f;
	int fd;

	snprintf(path, VRIG_PATH_MAX, "%s/hako-test-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(path);
	f = fd < 0 ? NULL : fdopen(fd, "wb");
	if (!f) {
		perror(path);
		abort();
	}
	for (uint64_t off = 0; off < size; off += 8) {
		uint64_t word = vrig_pattern(off);

		fwrite(&word, 1, size - off < 8 ? size - off : 8, f);
	}
	fclose(f);
}

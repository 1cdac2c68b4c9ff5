/* SPDX-License-Identifier: MIT */
/*
 * hako/vhost.h: a disk, a loop for it, a server in front of it.
 */
#include "hako/vhost.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "host/loop.h"
#include "host/notifier.h"
#include "machine/disk_dev.h"
#include "machine/public.h"
#include "vhost/server.h"

struct hako_vhost_blk {
	struct loop *loop;
	struct log log;
	struct log_limit limit;
	hako_log_fn *log_fn;
	void *log_arg;
	struct disk_dev disk;
	struct vhost_server *server;
	struct notifier stop, resize;
	struct loop_source stop_source, resize_source;
	struct err failure; /* of the disk, which ended it all */
};

static void log_out(void *arg, enum log_level level, const char *who, const char *text)
{
	struct hako_vhost_blk *v = arg;

	v->log_fn(v->log_arg, (enum hako_log_level)level, who, text);
}

static void done(void *arg)
{
	struct hako_vhost_blk *v = arg;

	loop_stop(v->loop);
}

static void stop_ready(struct loop_source *source, uint32_t events)
{
	struct hako_vhost_blk *v = container_of(source, struct hako_vhost_blk, stop_source);

	(void)events;
	notifier_clear(&v->stop);
	vhost_server_stop(v->server);
}

static void resize_ready(struct loop_source *source, uint32_t events)
{
	struct hako_vhost_blk *v = container_of(source, struct hako_vhost_blk, resize_source);
	int code;

	(void)events;
	notifier_clear(&v->resize);
	code = virtio_blk_resize(v->disk.dev);
	if (code < 0)
		log_msg(&v->log, LOG_ERROR, "blk0", "cannot look at the image's length: %s",
			strerror(-code));
	else
		log_msg(&v->log, LOG_INFO, "blk0", "%s",
			code ? "has another length now" : "has the length that it had");
}

/* on_error HAKO_ON_ERROR_STOP */
static void disk_failed(void *arg, const struct virtio_blk_failure *failure)
{
	struct hako_vhost_blk *v = arg;

	err_set(&v->failure, -EIO,
		"stopped, as on-error=stop wants it: %s of %llu bytes at sector %llu failed: %s",
		failure->what, (unsigned long long)failure->bytes,
		(unsigned long long)failure->sector, strerror(-failure->code));
	hako_vhost_blk_stop(v);
}

/* A driver reads seg_max before anybody knows how long its queues will be, and a request must fit
 * into one (virtio 1.2, 2.7.5.3.1): front ends' usual 128 entries, less header and status. */
enum { SEG_MAX = 128 - 2 };

static int build(struct hako_vhost_blk *v, const struct hako_vhost_blk_config *config,
		 struct err *err)
{
	struct disk_dev_config disk = {
		.disk = &config->disk,
		.name = "blk0",
		.queues = HAKO_VHOST_QUEUES,
		.seg_max = SEG_MAX,
		.log = &v->log,
		.failed = disk_failed,
		.failed_arg = v,
	};
	struct vhost_server_config server = {
		.path = config->socket,
		.log = &v->log,
		.limit = &v->limit,
		.name = "vhost",
		.without = disk_dev_without(&config->disk),
		.once = config->once,
		.done = done,
		.arg = v,
	};
	int code = disk_dev_check(&config->disk, err);

	if (!code)
		code = loop_create(&v->loop, err);
	if (!code)
		code = notifier_watch(&v->stop, v->loop, &v->stop_source, stop_ready, err);
	if (!code)
		code = notifier_watch(&v->resize, v->loop, &v->resize_source, resize_ready, err);
	if (code)
		return code;
	disk.loop = v->loop;
	code = disk_dev_open(&v->disk, &disk, err);
	if (code)
		return code;
	server.dev = v->disk.dev;
	server.stop_fd = v->stop.rfd;
	return vhost_server_create(&v->server, &server, err);
}

int hako_vhost_blk_create(struct hako_vhost_blk **server,
			  const struct hako_vhost_blk_config *config, struct hako_err *public_err)
{
	struct err *err = err_of(public_err);
	struct hako_vhost_blk *v = calloc(1, sizeof(*v));
	int code;

	*server = NULL;
	if (!v)
		return err_set(err, -ENOMEM, "no memory for a server");
	v->log_fn = config->log;
	v->log_arg = config->log_arg;
	log_init(&v->log, (enum log_level)config->log_level, config->log ? log_out : NULL, v);
	v->stop = v->resize = (struct notifier){ -1, -1 };
	code = build(v, config, err);
	if (code)
		hako_vhost_blk_destroy(v);
	else
		*server = v;
	return code;
}

int hako_vhost_blk_run(struct hako_vhost_blk *v, struct hako_err *public_err)
{
	struct err *err = err_of(public_err);
	int code = loop_run(v->loop);

	if (code)
		return err_set(err, code, "cannot wait for events: %s", strerror(-code));
	return v->failure.code ? err_set(err, v->failure.code, "%s", v->failure.msg) : 0;
}

void hako_vhost_blk_stop(struct hako_vhost_blk *v)
{
	notifier_set(&v->stop);
}

void hako_vhost_blk_resize(struct hako_vhost_blk *v)
{
	notifier_set(&v->resize);
}

bool hako_vhost_blk_fault(struct hako_vhost_blk *v, void *addr)
{
	return v->server && vhost_server_fault(v->server, addr);
}

void hako_vhost_blk_destroy(struct hako_vhost_blk *v)
{
	if (!v)
		return;
	vhost_server_destroy(v->server);
	disk_dev_close(&v->disk);
	loop_destroy(v->loop);
	notifier_fini(&v->stop);
	notifier_fini(&v->resize);
	log_fini(&v->log);
	free(v);
}

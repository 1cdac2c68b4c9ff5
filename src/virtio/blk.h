/* SPDX-License-Identifier: MIT */
/*
 * virtio block device (virtio 1.2, 5.2) over a block backend.
 */
#ifndef HAKO_VIRTIO_BLK_H
#define HAKO_VIRTIO_BLK_H

#include <stdint.h>

struct blk;
struct err;
struct log;
struct loop;
struct mark;
struct virtio_dev;

struct virtio_blk_config {
	const char *name;   /* for the log; copied */
	const char *serial; /* at most 20 bytes (5.2.6), NULL: the name */
	struct blk *blk;    /* backend; must outlive the device */
	struct loop *loop;  /* the device's I/O loop; the backend's too */
	struct log *log;
	uint16_t queues;             /* 1 to VIRTIO_BLK_QUEUES_MAX; 0: 1 */
	struct mark *read, *written; /* of the first of these requests; or NULL */
};

enum { VIRTIO_BLK_QUEUES_MAX = 64 };

/* Read-only follows the backend. */
int virtio_blk_create(struct virtio_dev **dev, const struct virtio_blk_config *config,
		      struct err *err);
/*
 * Look whether the backend has another length now, and if so tell the driver (5.2.5.2). Loop
 * thread. 1 if it has, 0 if not, or a negative errno.
 */
int virtio_blk_resize(struct virtio_dev *dev);
/* Stopped, or never started. */
void virtio_blk_destroy(struct virtio_dev *dev);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * virtio block device (virtio 1.2, 5.2) over a block backend.
 */
#ifndef HAKO_VIRTIO_BLK_H
#define HAKO_VIRTIO_BLK_H

#include <stdbool.h>

struct blk;
struct err;
struct log;
struct loop;
struct virtio_dev;

struct virtio_blk_config {
	const char *name;   /* for the log; copied */
	const char *serial; /* at most 20 bytes (5.2.6), NULL: the name */
	struct blk *blk;    /* backend; must outlive the device */
	struct loop *loop;  /* the device's I/O loop; the backend's too */
	struct log *log;
};

/* Read-only follows the backend. */
int virtio_blk_create(struct virtio_dev **dev, const struct virtio_blk_config *config,
		      struct err *err);
/* Stopped, or never started. */
void virtio_blk_destroy(struct virtio_dev *dev);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * virtio block device (virtio 1.2, 5.2) over a block backend.
 */
#ifndef HAKO_VIRTIO_BLK_H
#define HAKO_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

struct blk;
struct err;
struct log;
struct loop;
struct mark;
struct virtio_dev;

/* A request that the backend could not do. */
struct virtio_blk_failure {
	const char *what; /* "write" */
	uint64_t sector, bytes;
	int code; /* negative errno */
};
typedef void virtio_blk_failed_fn(void *arg, const struct virtio_blk_failure *failure);

struct virtio_blk_config {
	const char *name;   /* for the log; copied */
	const char *serial; /* at most 20 bytes (5.2.6), NULL: the name */
	struct blk *blk;    /* backend; must outlive the device */
	struct loop *loop;  /* the device's I/O loop; the backend's too */
	struct log *log;
	uint16_t queues; /* 1 to VIRTIO_BLK_QUEUES_MAX; 0: 1 */
	/* seg_max (5.2.4): buffers of data in a request; 0: what the longest queue has room for. */
	uint16_t seg_max;
	/* blk_size (5.2.4), a power of two from 512, of which the disk's length is a multiple; 0:
	 * the backend's logical block. */
	uint32_t block_size;
	/* size_max (5.2.4): bytes in one of them; 0: not offered, any number. Only the lint cares
	 * whether drivers keep to these two. */
	uint32_t size_max;
	/* NULL: a request that the backend cannot do is an I/O error for the driver. Else it is
	 * told here, on the loop, and never answered: the machine is to be stopped. */
	virtio_blk_failed_fn *failed;
	void *failed_arg;
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
/* Does the backend have a request of it? Loop thread. */
bool virtio_blk_busy(const struct virtio_dev *dev);
/* Stopped, or never started. */
void virtio_blk_destroy(struct virtio_dev *dev);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A disk as its user describes it (struct hako_disk), made: the backend over its file, and the
 * virtio-blk device over that. For machines, and for whoever else serves disks.
 *
 * Threads: set up and taken down by one thread while the loop does not run or the device is
 * stopped; in between, both belong to the loop.
 */
#ifndef HAKO_MACHINE_DISK_DEV_H
#define HAKO_MACHINE_DISK_DEV_H

#include <stdint.h>

#include "virtio/blk.h"

struct blk;
struct err;
struct hako_disk;
struct log;
struct loop;
struct mark;
struct virtio_dev;

struct disk_dev {
	struct blk *blk;
	struct virtio_dev *dev;
};

struct disk_dev_config {
	const struct hako_disk *disk; /* checked; read while it is opened only */
	const char *name;             /* for the log; copied */
	unsigned queues;              /* when the disk does not say */
	uint16_t seg_max;             /* as in struct virtio_blk_config */
	struct loop *loop;
	struct log *log;
	/* With on_error HAKO_ON_ERROR_STOP: as in struct virtio_blk_config. */
	virtio_blk_failed_fn *failed;
	void *failed_arg;
	struct mark *read, *written; /* as there */
};

/* Can a disk be that, as far as can be said without opening its file? -EINVAL. */
int disk_dev_check(const struct hako_disk *disk, struct err *err);
/* Leaves nothing behind on failure. */
int disk_dev_open(struct disk_dev *d, const struct disk_dev_config *config, struct err *err);
/* Also of one that was never opened, and is zeros. */
void disk_dev_close(struct disk_dev *d);

/* The feature bits of queues that the driver of this disk is not offered. */
uint64_t disk_dev_without(const struct hako_disk *disk);

#endif

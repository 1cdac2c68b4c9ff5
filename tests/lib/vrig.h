/* SPDX-License-Identifier: MIT */
/*
 * What a virtio device needs around it: guest memory, a bus, a loop with its thread, a log that
 * remembers, and on request a disk in a temporary file behind a virtio-blk. The driver in it plays
 * the guest.
 *
 * Threads: one thread sets up, drives and tears down; the loop has its own.
 */
#ifndef HAKO_TESTS_VRIG_H
#define HAKO_TESTS_VRIG_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "base/log.h"
#include "vdriver.h"
#include "virtio/blk.h"
#include "virtio/mmio.h"

struct blk;
struct loop;
struct virtio_dev;

#define VRIG_RAM  0x40000000ULL
#define VRIG_SLOT 0x0a000000ULL

struct vrig {
	struct gmem *mem;
	struct bus *bus;
	struct loop *loop;
	pthread_t thread;
	struct log log;
	atomic_uint said; /* log messages */
	char last[512];   /* the last one; read while the device is quiet */
	struct vd_irq irq;
	struct virtio_mmio *mmio;
	struct virtio_dev *dev; /* of vrig_disk() */
	struct blk *blk;
	struct vdriver driver;
	/* Set before a device is attached: the transport's version 1, NOTIFICATION_DATA, and
	 * features that are not offered, the lint; the flight recorder. */
	bool legacy, notification_data, trace, lint_deep;
	uint64_t without;
	enum lint_level lint;
	/* Of the disk: 0 is one queue, the backend's own blocks, no limits. */
	uint16_t queues;
	uint16_t seg_max;
	uint32_t block_size, size_max;
	virtio_blk_failed_fn *failed;
	void *failed_arg;
};

/* Fails the program when a part cannot be had. `ram`: bytes of guest memory. */
void vrig_init(struct vrig *rig, uint64_t ram);
/* Put a device, or NULL, behind the slot. */
void vrig_attach(struct vrig *rig, struct virtio_dev *dev);
/* Open `path` and attach a disk of it. */
int vrig_disk(struct vrig *rig, const char *path, bool readonly, struct err *err);
/* Takes the device away again, and everything else; the loop is stopped. */
void vrig_fini(struct vrig *rig);

/* Run fn(arg) on the loop's thread and wait for it. */
void vrig_on_loop(struct vrig *rig, void (*fn)(void *arg), void *arg);
/* Wait for what the loop still has to do: what follows an answer that can be seen already. */
void vrig_settle(struct vrig *rig);

/* A file of `size` bytes under TMPDIR or /tmp with a pattern that differs in every 8 bytes. `path`
 * has room for VRIG_PATH_MAX. */
enum { VRIG_PATH_MAX = 256 };
void vrig_file(char *path, uint64_t size);
/* The pattern at `off`, a multiple of 8. */
uint64_t vrig_pattern(uint64_t off);

#endif

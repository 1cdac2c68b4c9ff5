/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO (virtio 1.2, 4.2), version 2 or the legacy version 1: one slot of 0x200 bytes
 * and one interrupt line.
 */
#ifndef HAKO_VIRTIO_MMIO_H
#define HAKO_VIRTIO_MMIO_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/irq.h"
#include "virtio/lint.h"

struct bus;
struct err;
struct gmem;
struct log;
struct mark;
struct virtio_dev;
struct virtio_mmio;

enum { VIRTIO_MMIO_SIZE = 0x200 };

struct virtio_mmio_config {
	const char *name; /* "blk0"; copied */
	uint64_t base;    /* guest physical address of the slot */
	struct irq_line irq;
	struct bus *bus;
	struct gmem *mem;
	struct log *log;
	/* Version 1, for drivers from before virtio 1.0, and for no others. The guest is taken to
	 * be little-endian: that version's fields are in its byte order. */
	bool legacy;
	/* Offer NOTIFICATION_DATA. A driver that takes it writes more to QueueNotify than a
	 * doorbell can match, so each kick then goes through the register: slower, above all under
	 * KVM. */
	bool notification_data;
	uint64_t without; /* feature bits that are not offered, for tests and experiments */
	enum lint_level lint;
	bool lint_deep;        /* with a lint: keep account of each request, too */
	lint_name_fn *name_pc; /* lint_names(); or NULL */
	void *name_arg;
	struct mark *touched, *driver_ok; /* a register accessed, DRIVER_OK written; or NULL */
	bool trace;                       /* a flight recorder for each queue (vq.h) */
};

/*
 * Put `dev` (NULL: an empty slot, DeviceID 0) behind a slot. The device must outlive the transport;
 * its loop must run while vCPUs run. Created before the vCPUs run.
 */
int virtio_mmio_create(struct virtio_mmio **mmio, const struct virtio_mmio_config *config,
		       struct virtio_dev *dev, struct err *err);
/* vCPUs stopped, loop still running: waits until the device is quiet. */
void virtio_mmio_destroy(struct virtio_mmio *mmio);
/* The machine's reset line: as if the driver wrote 0 to Status. vCPUs stopped, loop running. */
void virtio_mmio_reset(struct virtio_mmio *mmio);
/*
 * Look at the queues, to be called twice a second: those in which nothing has happened for two
 * seconds although it is somebody's turn are told to the log (with `trace`) and judged (with
 * `lint_deep`). Or, with `dump`, say at
 * once how each of them stands, and what its recorder holds. Any thread but the device's loop,
 * which must be running; waits for it.
 */
void virtio_mmio_look(struct virtio_mmio *mmio, bool dump);
/* What the lint has found; NULL when it is off. */
struct lint *virtio_mmio_lint(struct virtio_mmio *mmio);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of virtio over MMIO (virtio 1.2, 3.1, 4.2), either version, with one split ring
 * (2.7): for hako to drive a device of its own as a guest does, by bus accesses, guest memory and
 * an interrupt. It does what a driver must and nothing else; drivers that misbehave are for tests.
 *
 * Threads: one, which plays the vCPU; the interrupt may come from any.
 */
#ifndef HAKO_VIRTIO_MMIO_DRIVER_H
#define HAKO_VIRTIO_MMIO_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/irq.h"
#include "host/notifier.h"
#include "mem/gmem.h"

struct bus;
struct err;

enum { MMIO_DRIVER_SIZE = 256 }; /* entries of the queue, if the device has as many */

struct mmio_driver {
	struct bus *bus;
	struct gmem *mem;
	uint64_t base; /* of the slot */
	gpa_t next, end;
	struct notifier irq;

	bool legacy;
	uint64_t features; /* agreed on */
	uint16_t size;
	gpa_t desc, avail, used;
	uint16_t avail_idx, last_used;
	uint16_t n_free, free_head;
	uint16_t link[MMIO_DRIVER_SIZE];  /* free list, and the chains in flight */
	uint16_t count[MMIO_DRIVER_SIZE]; /* descriptors in the chain of this head */
};

struct mmio_buf {
	gpa_t gpa;
	uint32_t len; /* bytes, not 0 */
};

/* Guest memory in [ram, ram + size) is the driver's. */
int mmio_driver_init(struct mmio_driver *d, struct bus *bus, uint64_t base, struct gmem *mem,
		     gpa_t ram, uint64_t size, struct err *err);
void mmio_driver_fini(struct mmio_driver *d);
/* What the slot's interrupt is to be connected to. */
struct irq_line mmio_driver_irq(struct mmio_driver *d);

/* Memory for rings and buffers, aligned to pages; the caller has made sure that there is enough. */
gpa_t mmio_driver_alloc(struct mmio_driver *d, uint64_t size);
/* The bytes behind an address that mmio_driver_alloc() gave. */
void *mmio_driver_ptr(const struct mmio_driver *d, gpa_t gpa, uint64_t len);

/* Find the device, agree on `want` of what it offers, make queue 0 ready, and go (3.1.1, 3.1.2). */
int mmio_driver_begin(struct mmio_driver *d, uint16_t device_id, uint64_t want, struct err *err);
/* All that the device offers. */
uint64_t mmio_driver_offered(const struct mmio_driver *d);
/* A field of 1, 2 or 4 bytes, or of 8, in one piece (2.5.1). */
uint64_t mmio_driver_config(const struct mmio_driver *d, uint32_t off, unsigned width);

/* Put a chain into the ring, readable buffers first; its head, or -ENOSPC. */
int mmio_driver_add(struct mmio_driver *d, const struct mmio_buf *buf, unsigned n_out,
		    unsigned n_in);
/* Show the device what was added, and kick it unless it said that it need not be. */
void mmio_driver_kick(struct mmio_driver *d);
/* Wait for a used chain: its head, and in *len the bytes written. -ETIMEDOUT, after half a minute:
 * the device does not answer. */
int mmio_driver_wait(struct mmio_driver *d, uint32_t *len);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Address dispatch: which device answers a physical address.
 *
 * A device sees offsets into its region, never addresses, and only accesses of a width it accepts,
 * naturally aligned. A doorbell is a write whose only effect is to wake someone: the bus sets the
 * notifier and never calls the device, and an engine may do the same in the kernel (ioeventfd).
 *
 * Threads: regions and doorbells are added before the vCPUs run (doorbells may come and go later,
 * under the bus's lock). bus_read and bus_write are called by vCPU threads, concurrently: a device
 * guards its own state.
 */
#ifndef HAKO_BUS_BUS_H
#define HAKO_BUS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct err;
struct notifier;

/* size is 1, 2, 4 or 8; off is a multiple of it. Values above `size` bytes are zero. */
struct bus_ops {
	uint64_t (*read)(void *dev, uint64_t off, unsigned size);
	void (*write)(void *dev, uint64_t off, unsigned size, uint64_t val);
};

/* Filled in by the device's owner, who keeps it in place until bus_del(). */
struct bus_region {
	const char *name;
	uint64_t base, size;            /* guest physical address and bytes */
	uint8_t min_access, max_access; /* widths accepted, bytes */
	const struct bus_ops *ops;
	void *dev;
};

int bus_create(struct bus **bus, struct err *err);
void bus_destroy(struct bus *bus);

/*
 * -EEXIST with both names when it overlaps another region; -EINVAL when it makes no sense: widths
 * that are not 1, 2, 4 or 8, a base that is not a multiple of max_access, a missing function.
 */
int bus_add(struct bus *bus, struct bus_region *region, struct err *err);
void bus_del(struct bus *bus, struct bus_region *region);

/*
 * Dispatch one access. 0; -ENXIO when no region holds the whole access; -EINVAL when the region
 * does not take that width or alignment (an engine turns both into the guest's external abort).
 */
int bus_read(struct bus *bus, uint64_t addr, unsigned size, uint64_t *val);
int bus_write(struct bus *bus, uint64_t addr, unsigned size, uint64_t val);

/* The region that holds addr, or NULL. */
const struct bus_region *bus_find(struct bus *bus, uint64_t addr);

/*
 * Somebody who looks on: told of each access on the vCPU's thread, of a read after it, of a write
 * before it. Set before the vCPUs run; it stays the owner's. While there is one, the engine gets no
 * doorbells nor mirrors, so that none of their accesses is missed.
 */
struct bus_access {
	const struct bus_region *region; /* NULL: nobody's address */
	uint64_t addr, val;
	uint8_t size;
	bool write, refused; /* refused: no region, or not of a width or alignment that it takes */
};
struct bus_tracer {
	void (*access)(struct bus_tracer *tracer, const struct bus_access *access);
};
void bus_trace(struct bus *bus, struct bus_tracer *tracer);
/* An access of hako's own, as the firmware: no tracer is told. */
int bus_read_own(struct bus *bus, uint64_t addr, unsigned size, uint64_t *val);
int bus_write_own(struct bus *bus, uint64_t addr, unsigned size, uint64_t val);

/*
 * A write of `match` (any width the region takes) at `off` sets `notifier` instead of reaching the
 * device. -EEXIST for a second one at the same place and value, -EINVAL for a region that is not on
 * the bus, -ENOMEM. After bus_doorbell_del() the bus does not touch the notifier any more.
 */
int bus_doorbell_add(struct bus *bus, struct bus_region *region, uint64_t off, uint32_t match,
		     struct notifier *notifier);
void bus_doorbell_del(struct bus *bus, struct bus_region *region, uint64_t off, uint32_t match);

/*
 * Reads from memory: from now on an engine that can answers reads of the page at `addr` with what
 * is in `memory`, BUS_MIRROR_SIZE bytes, aligned to that, which nobody is told of; writes come to
 * the regions as ever. The regions in that page lie in it whole, and are all of one kind, with the
 * same ops (-EINVAL). -ENOTSUP where no engine can. The memory is the caller's, who may change it,
 * and says so with bus_mirror_written(), until bus_mirror_del(). One per page.
 */
enum { BUS_MIRROR_SIZE = 4096 };
int bus_mirror_add(struct bus *bus, uint64_t addr, const void *memory);
void bus_mirror_del(struct bus *bus, uint64_t addr);
/* These bytes of such memory were stored to: the guest sees them from now on. Also when it is not
 * in use. */
void bus_mirror_written(struct bus *bus, const void *at, size_t len);

/*
 * What an engine does in the host's kernel for the bus. Any thread.
 *
 * Doorbells: it is told of each, under the bus's lock. doorbell_add() returns 0 when from now on a
 * 4-byte write of `match` at `addr` sets the notifier without a call of bus_write(); if it fails,
 * and for writes of other widths, the bus rings as ever. doorbell_del() comes for those that it
 * took, when the notifier is about to go.
 *
 * Mirrors: mirror_add() is 0 when from now on reads of the page at `addr` are answered with
 * `memory`; mirror_del() ends that. mirror_written() is bus_mirror_written(). All may be NULL.
 */
struct bus_engine_ops {
	int (*doorbell_add)(void *arg, uint64_t addr, uint32_t match, struct notifier *notifier);
	void (*doorbell_del)(void *arg, uint64_t addr, uint32_t match, struct notifier *notifier);
	int (*mirror_add)(void *arg, uint64_t addr, const void *memory);
	void (*mirror_del)(void *arg, uint64_t addr);
	void (*mirror_written)(void *arg, const void *at, size_t len);
};

/* While there is neither doorbell nor mirror. NULL takes them off. */
void bus_set_engine(struct bus *bus, const struct bus_engine_ops *ops, void *arg);

#endif

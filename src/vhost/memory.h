/* SPDX-License-Identifier: MIT */
/*
 * The memory that a front end shares: regions mapped into guest memory (gmem), the addresses by
 * which it tells of rings, and the log of what was written (vhost-user, "Memory access",
 * "Migration").
 *
 * A region's file must be as long as the region is; and where it can be sealed against shrinking (a
 * memfd), it is. Where it cannot (a file in hugetlbfs or tmpfs), a front end may shrink it behind
 * our back: then an access is a SIGBUS, and vhost_memory_fault() is for its handler.
 *
 * Loop thread, but for vhost_memory_fault().
 */
#ifndef HAKO_VHOST_MEMORY_H
#define HAKO_VHOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"
#include "vhost/proto.h"

struct err;

/* A piece of a file, mapped shared. */
struct vhost_map {
	void *base;    /* what was mapped; NULL: nothing */
	size_t length; /* bytes of it */
	uint8_t *data; /* the piece */
};

/* Map [offset, offset + size) of `fd`, which stays the caller's. `what` is for the sentence. */
int vhost_map(struct vhost_map *map, int fd, uint64_t offset, uint64_t size, const char *what,
	      struct err *err);
void vhost_unmap(struct vhost_map *map);
/* For a handler of SIGBUS: if `addr` is in it, put zeros in place of it all; false: it is not. */
bool vhost_map_fault(struct vhost_map *map, void *addr);

enum { VHOST_SLOTS = 48 }; /* regions at a time; below GMEM_REGION_MAX */

struct vhost_slot {
	struct vhost_region r; /* size 0: free */
	struct vhost_map map;
};

enum { VHOST_LOGGED_RINGS = 64 };

struct vhost_memory {
	struct gmem *gmem;
	struct vhost_slot slot[VHOST_SLOTS];

	/* The log. A used ring may be logged at another address than its own. */
	struct gmem_observer observer;
	bool logging;
	struct vhost_map log;
	uint64_t log_size; /* bytes */
	struct vhost_used {
		gpa_t at, log;
		uint64_t len; /* 0: none */
	} used[VHOST_LOGGED_RINGS];
};

int vhost_memory_init(struct vhost_memory *m, struct err *err);
void vhost_memory_fini(struct vhost_memory *m);

/* No range of guest memory is borrowed, and no queue set up, when regions are removed. */
int vhost_memory_add(struct vhost_memory *m, const struct vhost_region *r, int fd, struct err *err);
int vhost_memory_remove(struct vhost_memory *m, const struct vhost_region *r, struct err *err);
void vhost_memory_clear(struct vhost_memory *m);

/* The guest's address of a byte that the front end has at `user`; false: it is in no region. */
bool vhost_memory_find(const struct vhost_memory *m, uint64_t user, gpa_t *gpa);

/* The log: where it is (NULL: nowhere), and whether what is written is noted in it. */
int vhost_memory_log_set(struct vhost_memory *m, const struct vhost_log_base *log, int fd,
			 struct err *err);
void vhost_memory_log_on(struct vhost_memory *m, bool on);
/* Writes to [at, at + len), which is a used ring, are noted at `log` too; len 0: not any more. */
void vhost_memory_log_used(struct vhost_memory *m, unsigned ring, gpa_t at, uint64_t len,
			   gpa_t log);

/* vhost_map_fault() of the regions and the log. */
bool vhost_memory_fault(struct vhost_memory *m, void *addr);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Guest physical memory: the one door through which hako touches a guest's RAM.
 *
 * A whole range is checked, or nothing is done. Guest RAM is shared with running vCPUs, so every
 * field that matters must be read exactly once, into hako's own memory, and judged there. Every
 * write made through this door is reported to observers where it hits a page that holds decoded
 * code, so that a software CPU never executes stale instructions after DMA.
 *
 * Threads: regions are added before vCPUs and I/O threads start and stay for the life of the VM.
 * The accessors may then be called from any thread; ordering between threads is the caller's (the
 * 16-bit load and store are acquire and release).
 */
#ifndef HAKO_MEM_GMEM_H
#define HAKO_MEM_GMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct gmem;

/* A guest physical address. Never a pointer. */
typedef uint64_t gpa_t;

enum { GMEM_PAGE_SHIFT = 12, GMEM_PAGE_SIZE = 1 << GMEM_PAGE_SHIFT };

enum { GMEM_REGION_MAX = 64 }; /* regions that one machine may have */

enum gmem_access { GMEM_READ = 1, GMEM_WRITE = 2 };

struct gmem_region {
	gpa_t base;
	uint64_t size;          /* bytes, a multiple of GMEM_PAGE_SIZE */
	uint8_t *host;          /* where it is mapped */
	_Atomic uint8_t *flags; /* one byte per page, GMEM_PAGE_*; NULL: it never has any */
	bool foreign;           /* of gmem_add_mapped() */
};

/* Page flags. */
enum {
	GMEM_PAGE_CODE = 1,    /* some vCPU holds decoded instructions of this page */
	GMEM_PAGE_TAGGED = 2,  /* some vCPU may store to it without looking (soft.h) */
	GMEM_PAGE_FRESH = 4,   /* decoding it began since this was last cleared (soft.h) */
	GMEM_PAGE_WATCHED = 8, /* vCPUs' stores to it are to be told: gmem_stored() */
};

int gmem_create(struct gmem **mem, struct err *err);
void gmem_destroy(struct gmem *mem);

/*
 * Add zeroed RAM. base and size are multiples of the page size (-EINVAL); regions may touch but not
 * overlap (-EEXIST). Moves the structs gmem_region, so take pointers to them afterwards.
 */
int gmem_add_ram(struct gmem *mem, gpa_t base, uint64_t size, struct err *err);

/*
 * For memory that another process gives and may take away again, where no CPU runs: add what is
 * mapped at `host` and stays the caller's, as above, but of any even address and length; and take
 * it out, when no range of it is borrowed. On the one thread that uses the memory.
 */
int gmem_add_mapped(struct gmem *mem, gpa_t base, uint64_t size, void *host, struct err *err);
void gmem_remove(struct gmem *mem, gpa_t base);

/* Make all RAM zero again, and no page decoded. Nobody else touches the memory meanwhile. */
void gmem_clear(struct gmem *mem);

/* A number of what all RAM holds: another one when it has changed, with all likelihood. Takes a
 * second for some GiB that were written. */
uint64_t gmem_sum(const struct gmem *mem);

/* The regions in order of address, for engines and boot loaders. */
size_t gmem_count(const struct gmem *mem);
const struct gmem_region *gmem_region(const struct gmem *mem, size_t i);
/* The region that holds gpa, or NULL. */
const struct gmem_region *gmem_find(const struct gmem *mem, gpa_t gpa);

/*
 * Copy a range; 0, or -EFAULT if any byte of it is not RAM (then nothing was copied). It may cross
 * from a region into one that touches it. A range of length 0 is good wherever it is.
 */
int gmem_read(struct gmem *mem, gpa_t gpa, void *dst, size_t len);
int gmem_write(struct gmem *mem, gpa_t gpa, const void *src, size_t len);

/* Little-endian ring indices: load-acquire, store-release. -EFAULT outside RAM or when gpa
 * is odd. */
int gmem_load16(struct gmem *mem, gpa_t gpa, uint16_t *val);
int gmem_store16(struct gmem *mem, gpa_t gpa, uint16_t val);

/*
 * Borrow a range of one region for direct access (I/O buffers). -EFAULT if it is not wholly inside
 * one region. A range borrowed with GMEM_WRITE must be given back with gmem_unmap(), which reports
 * the write; it may be given back by another thread. len 0 is -EFAULT.
 */
int gmem_map(struct gmem *mem, gpa_t gpa, size_t len, enum gmem_access access, void **host);
void gmem_unmap(struct gmem *mem, gpa_t gpa, size_t len, enum gmem_access access);

/* Where a borrowed byte is. */
gpa_t gmem_gpa(const struct gmem *mem, const void *host);

/*
 * Observers of writes to pages flagged GMEM_PAGE_CODE. Called on the writing thread, after the
 * bytes are in place, with a range inside one page. Attach before any thread starts.
 */
struct gmem_observer {
	struct gmem_observer *next;
	void (*written)(struct gmem_observer *obs, gpa_t gpa, size_t len);
	bool all; /* of writes to all pages, flagged or not */
	/* NULL: no CPU of its own, or one whose stores it does not see. Pages were flagged as
	 * watched: from soon on, tell of stores to them by gmem_stored(). Any thread. */
	void (*watched)(struct gmem_observer *obs);
};
void gmem_observe(struct gmem *mem, struct gmem_observer *obs);
/* Is there anybody to be told of writes? That changes only while nothing is borrowed, and tells
 * those who write often whether they need to report it at all. */
bool gmem_observed(const struct gmem *mem);
/* One of `all`, on the one thread that uses the memory. */
void gmem_unobserve(struct gmem *mem, struct gmem_observer *obs);

/*
 * Report bytes that were written other than through gmem_write/gmem_unmap (a vCPU's store to a code
 * page). Cheap when no touched page is flagged; bytes outside RAM are ignored.
 *
 * Order: here the bytes are stored, then a full barrier, then the flag is loaded. The engine sets
 * the flag (atomic_fetch_or), then has a full barrier, then loads the bytes to decode. So one of
 * the two sees the other: either the writer reports, or the decoder has the new bytes.
 */
void gmem_written(struct gmem *mem, gpa_t gpa, size_t len);

/* A store that a vCPU has made. */
struct gmem_store {
	gpa_t gpa;
	size_t len; /* inside one page */
	unsigned cpu;
	uint64_t pc;  /* of the instruction, virtual */
	uint64_t nth; /* of this vCPU's; the two halves of one that crosses a page have the same */
	uint64_t
		fences; /* so often has the vCPU kept its stores apart from those that come after */
};

/*
 * Be told of vCPUs' stores to a range, each after it was made, on the thread of the vCPU and one at
 * a time: the order is that of the vCPU's program, and of two vCPUs' stores that of the guest where
 * the guest has one. What vCPUs store before they have heard of the watch is not told. Devices'
 * writes are not. The caller keeps the struct in place until gmem_unwatch(), from which on stored()
 * is not called any more; stored() calls neither of the two.
 *
 * -ENOTSUP: nobody can tell of stores. -EFAULT: the range is not inside one region.
 */
struct gmem_watch {
	struct gmem_watch *next;
	gpa_t gpa;
	uint64_t len; /* not 0 */
	void (*stored)(struct gmem_watch *watch, const struct gmem_store *store);
};
int gmem_watch(struct gmem *mem, struct gmem_watch *watch);
/* Or is it -ENOTSUP? */
bool gmem_watchable(const struct gmem *mem);
void gmem_unwatch(struct gmem *mem, struct gmem_watch *watch);
/* For CPUs: a store to a watched page. */
void gmem_stored(struct gmem *mem, const struct gmem_store *store);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Inside the virtqueue: what its two ring layouts share.
 *
 *      vq.c          life, chains in flight, buffers, order; what a device calls
 *      vq_split.c    descriptor table, available ring, used ring (virtio 1.2, 2.7)
 *      vq_packed.c   one ring of descriptors (2.8)
 */
#ifndef HAKO_VIRTIO_VQ_RING_H
#define HAKO_VIRTIO_VQ_RING_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "virtio/fetch.h"
#include "virtio/lint.h"
#include "virtio/vq.h"

/* 2.7.5, 2.8.6 */
enum { DESC_F_NEXT = 1, DESC_F_WRITE = 2, DESC_F_INDIRECT = 4 };
enum { DESC_F_AVAIL = 1 << 7, DESC_F_USED = 1 << 15 }; /* packed: 2.8.1 */

enum { DESC_SIZE = 16, DESC_ALIGN = 16 }; /* 2.7, 2.8.10 */

/* How a ring stands, for those who look on. */
struct vq_look {
	bool available;  /* there is something to take */
	uint16_t driver; /* split: the available ring's idx; packed: where the device looks next */
	bool kicks_off;  /* the device wants no notifications, */
	uint16_t kick_event; /* with the event index: but for this */
	bool irqs_off;       /* the driver wants no interrupts, */
	uint16_t irq_event;  /* with the event index: but for this */
};

/* What a chain in flight looks like in guest memory, for the deep lint. */
struct vq_digest {
	uint16_t entry; /* split: its entry in the available ring */
	uint64_t ring;  /* hash of its descriptors in the ring, */
	uint64_t table; /* and of those in its indirect table */
	/* packed: where that is; set with `judge`, taken as it is without */
	gpa_t table_at;
	uint32_t table_len;
};
#define VQ_HASH_INIT 0xcbf29ce484222325ULL

/* A hash that tells apart what differs by any bytes; not one that withstands malice. */
static inline uint64_t vq_hash(uint64_t h, const void *p, size_t len)
{
	const uint8_t *b = p;
	uint64_t word;

	for (; len >= sizeof(word); len -= sizeof(word), b += sizeof(word)) {
		memcpy(&word, b, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15ULL + (h >> 29);
	}
	for (; len; len--, b++)
		h = (h ^ *b) * 0x100000001b3ULL;
	return h;
}

/* One layout of the ring. */
struct vq_ring {
	/* Map the parts of vq->s with vq_part_map(). 0 or -EINVAL. */
	int (*setup)(struct vq *vq);
	/* As vq_pop(), with vq->in_flight, vq_publish() and vq_kicks(), of a queue that is set up
	 * and not broken; kicks are switched off by the latter, which keeps vq->kicks_on where
	 * there is something to switch. */
	int (*pop)(struct vq *vq, struct vq_chain **chain, unsigned max);
	bool (*publish)(struct vq *vq);
	bool (*kicks)(struct vq *vq, bool on);
	bool (*available)(const struct vq *vq); /* as vq_available() */
	/* Free the chains' slots, and write used entries, not to be seen before publish(). */
	void (*put)(struct vq *vq, struct vq_chain *const *chain, unsigned n);
	/* Reads the ring and changes nothing. */
	void (*look)(const struct vq *vq, struct vq_look *look);
	/* Look at a chain that was taken at `pos`; `judge`: and tell the lint of what is wrong
	 * with it that the device has no need to see. */
	void (*digest)(const struct vq *vq, uint16_t slot, uint16_t pos, bool judge,
		       struct vq_digest *digest);
};
extern const struct vq_ring vq_split, vq_packed;

/* What gmem_unmap() wants back, if anybody does (vq->reports); kept apart from the iovec, which the
 * device may eat up. */
struct vq_buf {
	gpa_t gpa;
	uint32_t len;
};

enum vq_slot_state {
	VQ_SLOT_FREE,
	VQ_SLOT_TAKEN,  /* popped */
	VQ_SLOT_DONE,   /* pushed; IN_ORDER only: waits for those before it */
	VQ_SLOT_UNSEEN, /* split, tracked: its used entry is written and not published */
};

/* A chain in flight. Its row of vq->iov and its number are set with the queue. */
struct vq_slot {
	struct vq_chain chain;
	uint16_t id, count;  /* packed: the driver's name for it, its descriptors in the ring */
	uint16_t head, last; /* packed, tracked: its entries in the area */
	uint8_t state;       /* enum vq_slot_state */
};

static inline struct vq_slot *vq_slot_of(const struct vq_chain *c)
{
	return container_of(c, struct vq_slot, chain);
}

/* Positions in the packed ring, of vq_state: bit 15 is set while the wrap counter is 0. */
enum { VQ_POS_LAP = 1 << 15, VQ_POS_MASK = VQ_POS_LAP - 1 };

/* A row is longer than a chain, so that the rows of neighbouring slots do not fall on the same
 * cache sets (256 iovecs are exactly one page). */
enum { VQ_ROW = VQ_CHAIN_MAX + 4 };

/* A part of the ring in guest memory. */
struct vq_part {
	gpa_t gpa;
	size_t len;
	enum gmem_access access;
};

struct vq {
	const struct vq_ring *ring; /* NULL: not set up */
	struct vq_state s;
	bool indirect, event_idx, in_order;
	bool reports;       /* somebody is told of what is written, or looks on: vq->buf is kept */
	bool slow;          /* that, or in_order */
	bool plain;         /* none of it, nothing tracked, and indirect tables agreed on */
	uint16_t chain_max; /* buffers */
	uint32_t table_max; /* bytes of a table that has no more entries; 0 if not plain */
	bool detour;        /* not set up, broken or watched: vq_detour() */
	bool awake;         /* somebody looks, and needs no kicks */
	bool kicks_on;      /* to be switched off while chains are taken; with the event index there
			       is nothing to switch, but for who looks on */
	unsigned in_flight; /* popped and not pushed */

	/* Of the ring, mapped: the split ring's parts, or the packed ring's descriptors, driver
	 * area and device area. */
	void *desc, *avail, *used;
	struct {
		uint16_t n_free;      /* slots in vq->free */
		uint16_t descs;       /* descriptors in flight */
		uint16_t batch_at;    /* where the first entry not published is, */
		uint16_t batch_flags; /* its flags, which the driver does not see yet, */
		uint16_t batch_descs; /* and the descriptors of all of them */
		bool owes_irq;        /* of a batch that was published before its time */
	} packed;

	struct vq_slot *slot;       /* [VQ_SIZE_MAX] */
	struct iovec *iov;          /* [VQ_SIZE_MAX][VQ_ROW] */
	struct vq_buf *buf;         /* [VQ_SIZE_MAX][VQ_ROW] */
	uint16_t free[VQ_SIZE_MAX]; /* packed: slots not in flight, a stack */

	/* IN_ORDER: slots in the order in which they were popped, from `first` on, `n_order` */
	uint16_t order[VQ_SIZE_MAX], first, n_order;

	/* vq_resume(): the area, NULL: none; what is to be popped again; see vq_inflight.c */
	bool resume;
	void *tracked;
	uint64_t counter; /* of chains taken */
	uint16_t again[VQ_SIZE_MAX], n_again, next_again;
	uint16_t batch[VQ_SIZE_MAX], n_batch; /* put, and not published */
	uint16_t free_entry;                  /* packed: the next one of the area's list */

	/* The region of RAM where the last buffer was; it stays where it is while the queue is set
	 * up. */
	gpa_t ram_base;
	uint64_t ram_size;
	uint8_t *ram_host;
	/* What was no buffer, the last time; for messages. */
	gpa_t lost_gpa;
	uint32_t lost_len;

	struct vq_part part[3];
	unsigned n_parts;
	struct gmem *mem;
	struct log *log;
	struct log_limit limit;
	struct lint *lint;      /* NULL: none */
	struct vq_watch *watch; /* NULL: nobody looks on */
	unsigned index;         /* the queue's number, for the lint */
	char name[32];
};

/* Of the ring, written. */
static inline void vq_written(struct vq *vq, gpa_t gpa, size_t len)
{
	if (unlikely(vq->reports))
		gmem_written(vq->mem, gpa, len);
}

/* Ring fields. Guest memory may change at any time: one access each, of the field's own width. */

static inline uint16_t ring_load16(const uint16_t *p)
{
	uint16_t v;

	fetch_begin(p, sizeof(v));
	v = __atomic_load_n(p, __ATOMIC_RELAXED);
	fetch_end(p, sizeof(v), FETCH_CALL);
	return le16toh(v);
}

static inline uint16_t ring_load16_acquire(const uint16_t *p)
{
	uint16_t v;

	fetch_begin(p, sizeof(v));
	v = __atomic_load_n(p, __ATOMIC_ACQUIRE);
	fetch_end(p, sizeof(v), FETCH_CALL);
	return le16toh(v);
}

static inline void ring_store16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

static inline void ring_store16_release(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

static inline void ring_store32(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, htole32(v), __ATOMIC_RELAXED);
}

/* Orders a store before it against a load after it. (In this form because gcc refuses the C11 fence
 * under the thread sanitizer.) */
static inline void ring_full_barrier(void)
{
	__sync_synchronize();
}

/* Has an index that moved from `old` (exclusive) to `new` passed `event`? 2.7.7.2, 2.8.7; 16-bit
 * arithmetic. */
static inline bool ring_event_passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

/* What is wrong with a ring: the rule of the lint, and in words. */
struct vq_fault {
	enum lint_id rule;
	const char *text;
};
#define FAULT(rule, text)                                             \
	({                                                            \
		static const struct vq_fault fault_ = { rule, text }; \
		&fault_;                                              \
	})
#define vq_wrong(vq, rule, fmt, ...)                                                            \
	((vq)->lint ? lint_report((vq)->lint, rule, (vq)->index, "queue %u: " fmt, (vq)->index, \
				  __VA_ARGS__)                                                  \
		    : log_guest((vq)->log, &(vq)->limit, LOG_WARN, (vq)->name, fmt, __VA_ARGS__))

/* Map one part of the ring. -EINVAL, with the reason in the log. */
int vq_part_map(struct vq *vq, const char *what, gpa_t gpa, size_t len, unsigned align,
		enum gmem_access access, void **host);

/* gmem_map() of a buffer that is not in the region known; NULL if it is not in RAM. */
void *vq_map_elsewhere(struct vq *vq, gpa_t gpa, uint32_t len, enum gmem_access access);

/* gmem_map() of a buffer in the region known. False: it is not there, or empty. */
static inline bool vq_map_here(const struct vq *vq, gpa_t gpa, uint32_t len, void **host)
{
	uint64_t off = gpa - vq->ram_base, last = off + len - 1;

	/* Where an address below the base has wrapped, and goes on at 0, or there is no length at
	 * all, the last byte is before the first; or both are beyond the size. */
	if (unlikely(last >= vq->ram_size || off > last))
		return false;
	*host = vq->ram_host + off;
	return true;
}

/* gmem_map() of a buffer; NULL if it is empty or not in RAM. */
static inline void *vq_map(struct vq *vq, gpa_t gpa, uint32_t len, enum gmem_access access)
{
	void *host;

	return likely(vq_map_here(vq, gpa, len, &host)) ? host
							: vq_map_elsewhere(vq, gpa, len, access);
}

/* 2.7.5.2: no chain is longer than this. */
#define VQ_CHAIN_BYTES_MAX (1ULL << 32)

/* Put a buffer into a chain's row, whose end is `end`. NULL, or what is wrong with it. */
static inline __attribute__((always_inline)) const struct vq_fault *
vq_buffer_put(struct vq *vq, struct iovec **v, const struct iovec *end, gpa_t gpa, uint32_t len,
	      enum gmem_access access)
{
	void *host = vq_map(vq, gpa, len, access);

	/* 2.7.5.3.1: no chain is longer than the queue. This also ends loops. */
	if (unlikely(*v == end))
		return FAULT(LINT_CHAIN_LONG, "chain loops or is longer than the queue");
	if (unlikely(!host))
		return FAULT(LINT_BUFFER, "a buffer is empty or not in RAM");
	(*v)->iov_base = host;
	(*v)->iov_len = len;
	(*v)++;
	return NULL;
}

/* A chain while its descriptors are read. */
struct vq_walk {
	struct iovec *v, *first, *end; /* next buffer's place, the first's, where there is none */
	struct iovec *in;              /* the first writable one; NULL: none yet */
	uint64_t len, out_len;         /* bytes, and those before `in` */
};

/* Begin a chain in a slot that is free. */
static inline struct vq_walk vq_walk_begin(struct vq *vq, uint16_t slot)
{
	struct iovec *first = vq->slot[slot].chain.iov;

	fetch_chain(vq, slot);
	return (struct vq_walk){ .v = first, .first = first, .end = first + vq->chain_max };
}

#define FAULT_WRITABLE_FIRST \
	FAULT(LINT_WRITABLE_FIRST, "device-readable after device-writable (2.7.4.2)")
#define FAULT_CHAIN_BYTES FAULT(LINT_CHAIN_BYTES, "chain of more than 2^32 bytes (2.7.5.2)")

/* Append a buffer. NULL, or what is wrong with it. */
static inline __attribute__((always_inline)) const struct vq_fault *
vq_walk_add(struct vq *vq, struct vq_walk *w, gpa_t gpa, uint32_t len, bool write)
{
	const struct vq_fault *why;

	if (unlikely(!write && w->in))
		return FAULT_WRITABLE_FIRST;
	if (write && !w->in) {
		w->in = w->v;
		w->out_len = w->len;
	}
	why = vq_buffer_put(vq, &w->v, w->end, gpa, len, write ? GMEM_WRITE : GMEM_READ);
	if (likely(!why))
		w->len += len; /* of VQ_CHAIN_MAX buffers: it does not overflow */
	return why;
}

/* The row of vq->buf that is a chain's. */
static inline struct vq_buf *vq_bufs_of(const struct vq *vq, const struct vq_chain *c)
{
	return &vq->buf[(size_t)c->slot * VQ_ROW];
}

/* Keep what gmem_unmap() wants of a chain. */
void vq_keep_buffers(struct vq *vq, const struct vq_chain *c);

/* That was the last one, or `why` it is no chain. Sets *c in any case; what is wrong with it. */
static inline __attribute__((always_inline)) const struct vq_fault *
vq_walk_end(struct vq *vq, const struct vq_walk *w, struct vq_chain *c, const struct vq_fault *why)
{
	const struct iovec *in = w->in ? w->in : w->v;
	uint64_t out_len = w->in ? w->out_len : w->len;

	c->n_out = (uint16_t)(in - w->first);
	c->n_in = (uint16_t)(w->v - in);
	c->out_len = out_len;
	c->in_len = w->len - out_len;
	if (unlikely(vq->reports))
		vq_keep_buffers(vq, c);
	if (unlikely(w->len > VQ_CHAIN_BYTES_MAX) && !why)
		return FAULT_CHAIN_BYTES;
	return why;
}

/* Map an indirect table. NULL, or what is wrong with it. */
static inline const struct vq_fault *vq_table_map(struct vq *vq, gpa_t gpa, uint32_t len,
						  void **table)
{
	if (unlikely(!vq->indirect))
		return FAULT(LINT_INDIRECT_NOT_AGREED, "INDIRECT was not negotiated");
	if (unlikely(!len || len % DESC_SIZE))
		return FAULT(LINT_INDIRECT_LENGTH,
			     "the length of an indirect table is not a multiple of 16");
	*table = vq_map(vq, gpa, len, GMEM_READ);
	return likely(*table) ? NULL : FAULT(LINT_BUFFER, "an indirect table is not in RAM");
}

/* The chain is whole: it is in flight from now on. */
static inline void vq_chain_taken(struct vq *vq, struct vq_slot *s)
{
	s->state = VQ_SLOT_TAKEN;
	if (unlikely(vq->in_order))
		vq->order[(vq->first + vq->n_order++) % VQ_SIZE_MAX] = s->chain.slot;
}
/* It is no good: let go of its buffers; the queue is broken. Returns -EPROTO. */
int vq_chain_broken(struct vq *vq, const struct vq_chain *c, const struct vq_fault *why);

/* Of those that make a queue one that is served by another way, one has changed. */
static inline void vq_detour(struct vq *vq)
{
	vq->detour = !vq->ring || vq->s.broken || vq->watch;
}

/* The ring is malformed: say why once, and never look at it again. Returns -EPROTO. */
int vq_broken(struct vq *vq, unsigned at, const struct vq_fault *why);

#endif

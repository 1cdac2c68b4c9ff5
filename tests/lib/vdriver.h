/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of virtio over MMIO, either version, and of both rings (virtio 1.2, 2.7, 2.8,
 * 3.1, 4.2): for unit tests, fuzzers and benchmarks. It reaches the device as a guest does, by bus
 * accesses and guest memory, and nothing else.
 *
 * Everything that it knows is open to the test, which may also misbehave: write registers in any
 * order, and descriptors and indices of its own making.
 *
 * Threads: a struct vdriver and its queues belong to one thread, which plays the vCPU.
 */
#ifndef HAKO_TESTS_VDRIVER_H
#define HAKO_TESTS_VDRIVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus/irq.h"
#include "mem/gmem.h"

struct bus;

/* Registers (4.2.2) */
enum {
	VD_MAGIC = 0x000,
	VD_VERSION = 0x004,
	VD_DEVICE_ID = 0x008,
	VD_VENDOR_ID = 0x00c,
	VD_DEVICE_FEATURES = 0x010,
	VD_DEVICE_FEATURES_SEL = 0x014,
	VD_DRIVER_FEATURES = 0x020,
	VD_DRIVER_FEATURES_SEL = 0x024,
	VD_GUEST_PAGE_SIZE = 0x028, /* legacy (4.2.4) */
	VD_QUEUE_SEL = 0x030,
	VD_QUEUE_NUM_MAX = 0x034,
	VD_QUEUE_NUM = 0x038,
	VD_QUEUE_ALIGN = 0x03c, /* legacy */
	VD_QUEUE_PFN = 0x040,   /* legacy */
	VD_QUEUE_READY = 0x044,
	VD_QUEUE_NOTIFY = 0x050,
	VD_INTERRUPT_STATUS = 0x060,
	VD_INTERRUPT_ACK = 0x064,
	VD_STATUS = 0x070,
	VD_QUEUE_DESC = 0x080, /* low word; the high word is 4 above */
	VD_QUEUE_DRIVER = 0x090,
	VD_QUEUE_DEVICE = 0x0a0,
	VD_SHM_SEL = 0x0ac,
	VD_SHM_LEN = 0x0b0,
	VD_SHM_BASE = 0x0b8,
	VD_QUEUE_RESET = 0x0c0,
	VD_CONFIG_GENERATION = 0x0fc,
	VD_CONFIG = 0x100,
};

/* Descriptor flags (2.7.5), and the packed ring's own (2.8.1) */
enum { VD_NEXT = 1, VD_WRITE = 2, VD_INDIRECT = 4, VD_AVAIL = 1 << 7, VD_USED = 1 << 15 };

enum { VD_QUEUE_SIZE_MAX = 256, VD_TABLE_MAX = 256 };

/* An interrupt line that remembers. */
struct vd_irq {
	atomic_bool level;
	atomic_uint rises; /* times that it went from low to high */
};
struct irq_line vd_irq_line(struct vd_irq *irq);

struct vdriver {
	struct gmem *mem;
	struct bus *bus;
	uint64_t base;   /* of the slot */
	gpa_t next, end; /* guest memory not handed out yet */
	uint64_t features;
	bool legacy; /* the transport is version 1; known from vd_begin() on */
	/* It writes memory that the device may be reading, as hostile guests do. That is a race of
	 * the guest, not of the device: ThreadSanitizer does not look at these writes. */
	bool racy;
	void (*notify)(struct vdriver *d, unsigned index); /* NULL: by the register */
};

enum { VD_PAGE = 4096 }; /* the driver's GuestPageSize */

/*
 * A queue. In the split ring a chain's name is its first descriptor; in the packed ring it is an id
 * out of the same free list. Positions in the packed ring are `index % size` on the lap
 * `index / size`, of indices that only ever grow.
 */
struct vd_queue {
	struct vdriver *d;
	unsigned index;
	uint16_t size;
	bool packed, event_idx;
	bool in_sequence; /* split, IN_ORDER: descriptors are used round and round (2.7.5.2) */

	gpa_t desc, avail, used; /* the parts; packed: descriptors, driver area, device area */
	gpa_t tables;            /* an indirect table of VD_TABLE_MAX entries per head */

	uint16_t avail_idx;  /* split: entries made available, published or not */
	uint16_t kicked_idx; /* avail_idx at the last decision whether to kick */
	uint16_t last_used;  /* used entries taken */
	uint16_t n_free;     /* descriptors */
	uint16_t free_head;
	uint16_t link[VD_QUEUE_SIZE_MAX];  /* free list, and the chains in flight */
	uint16_t count[VD_QUEUE_SIZE_MAX]; /* descriptors in the chain of this head */

	/* packed: descriptors made available, those of them published, at the last decision
	 * whether to kick, and descriptors used */
	uint32_t next, published, kicked, taken;
	uint16_t first_flags; /* of the first descriptor not published, if there is one */
};

/* A device-readable or device-writable buffer. */
struct vd_buf {
	gpa_t gpa;
	uint32_t len;
};

/* `ram`: guest memory that the driver may use, [ram, ram + size). */
void vd_init(struct vdriver *d, struct gmem *mem, struct bus *bus, uint64_t base, gpa_t ram,
	     uint64_t size);
/* Zeroed guest memory; the test fails when it runs out. align is a power of two. */
gpa_t vd_alloc(struct vdriver *d, uint64_t size, uint64_t align);
/* Write guest memory; NULL: zeros. */
void vd_put(struct vdriver *d, gpa_t gpa, const void *src, uint64_t len);
/* The bytes behind an address; the test fails if they are not RAM. */
void *vd_ptr(struct vdriver *d, gpa_t gpa, uint64_t len);

uint32_t vd_get(struct vdriver *d, uint32_t reg);
void vd_set(struct vdriver *d, uint32_t reg, uint32_t val);
/* A 64-bit register in two halves, low first. */
void vd_set64(struct vdriver *d, uint32_t reg, uint64_t val);
uint64_t vd_config(struct vdriver *d, uint32_t off, unsigned size);
uint64_t vd_offered(struct vdriver *d);

/* 3.1.1, steps 1 to 6 (3.1.2 for version 1): reset, and agree on `want` of what is offered. 0, or
 * -ENOTSUP when the device refuses FEATURES_OK. */
int vd_begin(struct vdriver *d, uint64_t want);
/* Lay out a queue in guest memory, unknown to any device yet. */
void vd_queue_layout(struct vdriver *d, struct vd_queue *q, unsigned index, uint16_t size);
/* Write QueuePFN and what goes before it, for a queue that is laid out in one piece (2.7.2). */
void vd_legacy_pfn(struct vdriver *d, struct vd_queue *q);
/* Step 7: lay out a queue of `size` entries and make it ready. -ENODEV when there is no such queue,
 * -EINVAL when the device allows less. */
int vd_queue_init(struct vdriver *d, struct vd_queue *q, unsigned index, uint16_t size);
/* Step 8 */
void vd_go(struct vdriver *d);
/* Write 0 to Status and read until it is 0. */
void vd_reset(struct vdriver *d);

/*
 * Put a chain of n_out readable, then n_in writable buffers into the ring, by descriptors of its
 * own or one indirect table. Its head, or -ENOSPC. The device may see it after vd_publish().
 */
int vd_add(struct vd_queue *q, const struct vd_buf *buf, unsigned n_out, unsigned n_in,
	   bool indirect);
void vd_publish(struct vd_queue *q);
/* Publish; does the device want to be told? */
bool vd_wants_kick(struct vd_queue *q);
/* Publish, and kick if the device wants to know (2.7.10.1); whether it did. */
bool vd_kick(struct vd_queue *q);
/* Kick, wanted or not. */
void vd_kick_always(struct vd_queue *q);

/* Take a used entry, if there is one. The chain of its head is free again. */
bool vd_used(struct vd_queue *q, uint16_t *head, uint32_t *len);
/* Wait for one. 0, or -ETIMEDOUT after VD_PATIENCE_S seconds: the device is stuck. */
int vd_wait(struct vd_queue *q, uint16_t *head, uint32_t *len);
/* Wait until the line is up; -ETIMEDOUT as above. */
int vd_wait_irq(const struct vd_irq *irq);
enum { VD_PATIENCE_S = 20 };
/* Ask for interrupts or not (2.7.7.1). True: a used entry has come meanwhile, look again. */
bool vd_interrupts(struct vd_queue *q, bool on);

/* The packed ring's bits of a descriptor made available, or used, at an index (2.8.1). */
uint16_t vd_packed_avail(const struct vd_queue *q, uint32_t index);
uint16_t vd_packed_used(const struct vd_queue *q, uint32_t index);
/* Add what no device can take, as the next chain. */
void vd_add_malformed(struct vd_queue *q);

/* For misbehaviour: single fields of the split ring, but for vd_desc_set(), whose `next` is the id
 * and goes before `flags` in the packed ring, and for vd_used_idx(), which counts there. */
void vd_desc_set(struct vdriver *d, gpa_t table, unsigned i, gpa_t addr, uint32_t len,
		 uint16_t flags, uint16_t next);
void vd_avail_set(struct vd_queue *q, uint16_t at, uint16_t head);
void vd_avail_idx_set(struct vd_queue *q, uint16_t idx);
uint16_t vd_used_idx(struct vd_queue *q);
uint16_t vd_used_flags(struct vd_queue *q);
uint16_t vd_avail_event(struct vd_queue *q);
void vd_avail_flags_set(struct vd_queue *q, uint16_t flags);
void vd_used_event_set(struct vd_queue *q, uint16_t idx);

/* A block request (virtio 1.2, 5.2.6) in guest memory. */
struct vd_blk {
	gpa_t header, status;
};
enum {
	VD_BLK_IN = 0,
	VD_BLK_OUT = 1,
	VD_BLK_FLUSH = 4,
	VD_BLK_GET_ID = 8,
	VD_BLK_DISCARD = 11,
	VD_BLK_WRITE_ZEROES = 13,
	VD_BLK_SECURE_ERASE = 14,
};
/* Room for header and status; may be used again when the request is over. */
void vd_blk_init(struct vdriver *d, struct vd_blk *r);
/* Add a request with n data buffers; head or -ENOSPC. */
int vd_blk_add(struct vd_queue *q, struct vd_blk *r, uint32_t type, uint64_t sector,
	       const struct vd_buf *data, unsigned n, bool indirect);
uint8_t vd_blk_status(struct vdriver *d, const struct vd_blk *r);
/* Add one, kick, wait: its status, or a negative errno. *used_len may be NULL. */
int vd_blk_do(struct vd_queue *q, struct vd_blk *r, uint32_t type, uint64_t sector,
	      const struct vd_buf *data, unsigned n, uint32_t *used_len);

#endif

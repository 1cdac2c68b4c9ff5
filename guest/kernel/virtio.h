/* SPDX-License-Identifier: MIT */
/*
 * virtio: how a driver meets a device (virtio.c), and the queue through which they work together
 * (virtq.c). Sections are those of "Virtual I/O Device (VIRTIO) Version 1.2", whose parts called
 * "Legacy Interface" tell what older devices do otherwise.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "kernel.h"

/* 4.2.2, table 4.1, and 4.2.4, table 4.2 for what only legacy devices have. */
enum virtio_reg {
	MAGIC_VALUE = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	GUEST_PAGE_SIZE = 0x028, /* legacy */
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_ALIGN = 0x03c, /* legacy */
	QUEUE_PFN = 0x040,   /* legacy */
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

enum { VIRTIO_ID_BLOCK = 2 }; /* chapter 5 */

/* Chapter 6. */
enum { VIRTIO_F_VERSION_1 = 32 };

/* InterruptStatus, 4.2.2. */
enum { INTERRUPT_USED = 1 << 0, INTERRUPT_CONFIG = 1 << 1 };

struct virtio {
	uintptr_t base;
	unsigned irq;
	bool legacy;
	u64 features; /* what device and driver both have */
};

static inline bool virtio_has(const struct virtio *dev, unsigned feature)
{
	return dev->features >> feature & 1;
}

static inline u32 virtio_read(const struct virtio *dev, uintptr_t reg)
{
	return mmio_read(dev->base + reg);
}

static inline void virtio_write(const struct virtio *dev, uintptr_t reg, u32 value)
{
	mmio_write(dev->base + reg, value);
}

/* Is there a device of that kind in the slot? Fills in base and legacy. */
bool virtio_find(struct virtio *dev, uintptr_t base, u32 device_id);
/* 3.1.1, as far as the device's features: the driver takes those of `wanted` that it offers. */
bool virtio_begin(struct virtio *dev, u64 wanted);
/* The last step: from now on the device may use its queues. */
bool virtio_driver_ok(struct virtio *dev);
/* Afterwards the device neither reads nor writes memory. */
void virtio_reset(const struct virtio *dev);
/* The driver gives up. */
void virtio_fail(struct virtio *dev);
/* Has the device met an error that only a reset ends (2.1.2)? */
bool virtio_is_broken(const struct virtio *dev);
/* A 64-bit field of the configuration space. */
u64 virtio_config64(const struct virtio *dev, unsigned offset);

/* ---- virtq.c ---- */

/* 2.7.5. Devices are little-endian, as are our CPUs (in legacy devices: as the guest is). */
struct virtq_desc {
	u64 addr;
	u32 len;
	u16 flags;
	u16 next;
};
enum { VIRTQ_DESC_F_NEXT = 1, VIRTQ_DESC_F_WRITE = 2 };

/* 2.7.6 and 2.7.8. */
struct virtq_avail {
	u16 flags;
	u16 idx;
	u16 ring[];
};
enum { VIRTQ_AVAIL_F_NO_INTERRUPT = 1 };

struct virtq_used_elem {
	u32 id;
	u32 len;
};

struct virtq_used {
	u16 flags;
	u16 idx;
	struct virtq_used_elem ring[];
};
enum { VIRTQ_USED_F_NO_NOTIFY = 1 };

/*
 * The other side changes some of this at any time: hence volatile, which makes the compiler do
 * each access once and where it is written. What the CPU makes of the order is up to fences.
 */
struct virtq {
	struct virtio *dev;
	u16 index;
	u16 size;
	volatile struct virtq_desc *desc;
	volatile struct virtq_avail *avail;
	volatile const struct virtq_used *used;
	u16 next_avail; /* what we shall write to avail->idx */
	u16 next_used;  /* up to where we have read the used ring */
};

/* Makes queue number `index` with up to `size` descriptors, and tells the device where it is. */
bool virtq_init(struct virtq *q, struct virtio *dev, u16 index, u16 size);
/* Hands over the chain that begins with this descriptor; the device may begin with it at once. */
void virtq_add(struct virtq *q, u16 head);
/* Tells the device to look, if it wants to be told. */
void virtq_notify(struct virtq *q);
/* Takes the next chain that the device is done with. */
bool virtq_take(struct virtq *q, struct virtq_used_elem *elem);
/* Shall the device interrupt when it is done with a chain? It is a hint: it may anyway. */
void virtq_interrupts(struct virtq *q, bool on);

#endif

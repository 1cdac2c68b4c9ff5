/* SPDX-License-Identifier: MIT */
/*
 * Meeting a virtio device over MMIO (virtio 1.2, 4.2): a device is a page of 32-bit registers.
 *
 * There are two layouts of them. Version 2, "modern", is what the specification describes. Version
 * 1, "legacy", is from before it and still what QEMU has unless told otherwise
 * (-global virtio-mmio.force-legacy=false). They differ in three things, all in this file and in
 * virtq_init(): a legacy device has 32 feature bits and takes whatever the driver accepts; its
 * queue is one block of memory of which it is given the page number; its configuration has no
 * generation.
 *
 * A driver steps through the device's status (2.1), always adding bits:
 *
 *    0 -> ACKNOWLEDGE -> DRIVER -> [features] -> FEATURES_OK -> [queues] -> DRIVER_OK
 */
#include "virtio.h"

/* 2.1 */
enum {
	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,
	FEATURES_OK = 8,
	DEVICE_NEEDS_RESET = 64,
	FAILED = 128,
};

static void add_status(const struct virtio *dev, u32 bits)
{
	virtio_write(dev, STATUS, virtio_read(dev, STATUS) | bits);
}

bool virtio_find(struct virtio *dev, uintptr_t base, u32 device_id)
{
	enum { MAGIC = 0x74726976 }; /* "virt" */

	*dev = (struct virtio){ .base = base };
	/* 4.2.2.2: in this order, and nothing else of a device that is not ours. 0: an
	 * empty slot. */
	if (virtio_read(dev, MAGIC_VALUE) != MAGIC)
		return false;
	u32 version = virtio_read(dev, VERSION);
	dev->legacy = version == 1;
	return (version == 1 || version == 2) && virtio_read(dev, DEVICE_ID) == device_id;
}

static u64 offered(const struct virtio *dev)
{
	/* 32 bits at a time. 4.2.4: of a legacy device's 64 the upper 32 are 0. */
	virtio_write(dev, DEVICE_FEATURES_SEL, 0);
	u64 features = virtio_read(dev, DEVICE_FEATURES);
	if (!dev->legacy) {
		virtio_write(dev, DEVICE_FEATURES_SEL, 1);
		features |= (u64)virtio_read(dev, DEVICE_FEATURES) << 32;
	}
	return features;
}

void virtio_reset(const struct virtio *dev)
{
	virtio_write(dev, STATUS, 0);
	while (virtio_read(dev, STATUS)) /* 2.4.2: until the device says that it is done */
		;
}

bool virtio_begin(struct virtio *dev, u64 wanted)
{
	virtio_reset(dev); /* 4.2.3.1 with 3.1.1 */
	add_status(dev, ACKNOWLEDGE);
	add_status(dev, DRIVER);

	if (!dev->legacy)
		wanted |= 1ULL << VIRTIO_F_VERSION_1; /* 6.1: must be offered, must be taken */
	dev->features = offered(dev) & wanted;
	virtio_write(dev, DRIVER_FEATURES_SEL, 0);
	virtio_write(dev, DRIVER_FEATURES, (u32)dev->features);
	if (dev->legacy) {
		/* 4.2.4: what the page numbers count, before any queue is set up. */
		virtio_write(dev, GUEST_PAGE_SIZE, PAGE_SIZE);
		return true;
	}
	virtio_write(dev, DRIVER_FEATURES_SEL, 1);
	virtio_write(dev, DRIVER_FEATURES, (u32)(dev->features >> 32));
	if (!virtio_has(dev, VIRTIO_F_VERSION_1))
		return false;
	add_status(dev, FEATURES_OK);
	/* 3.1.1, step 6: a device that cannot work with this choice does not keep the bit. */
	return virtio_read(dev, STATUS) & FEATURES_OK;
}

bool virtio_driver_ok(struct virtio *dev)
{
	add_status(dev, DRIVER_OK);
	return !virtio_is_broken(dev);
}

void virtio_fail(struct virtio *dev)
{
	add_status(dev, FAILED);
}

bool virtio_is_broken(const struct virtio *dev)
{
	return virtio_read(dev, STATUS) & DEVICE_NEEDS_RESET;
}

/*
 * 4.2.2.2: fields wider than 32 bits are read in halves, between which the device may change them.
 * Its generation tells (2.5.1); of a legacy device one can only see whether the halves stay.
 */
u64 virtio_config64(const struct virtio *dev, unsigned offset)
{
	u32 low, high, before, after;

	do {
		before = dev->legacy ? virtio_read(dev, CONFIG + offset + 4)
				     : virtio_read(dev, CONFIG_GENERATION);
		low = virtio_read(dev, CONFIG + offset);
		high = virtio_read(dev, CONFIG + offset + 4);
		after = dev->legacy ? high : virtio_read(dev, CONFIG_GENERATION);
	} while (before != after);
	return (u64)high << 32 | low;
}

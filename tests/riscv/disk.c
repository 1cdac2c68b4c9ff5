/* SPDX-License-Identifier: MIT */
/*
 * A disk driver for the legacy registers of virtio-mmio (virtio 1.2, 4.2.4 and 2.7), polling, with
 * one request at a time: shows the capacity and the first sector, and writes to that one.
 *
 * With SLIPS it is the driver that many a first kernel has: it works, and leaves out what works
 * without. Features are neither read nor written, QueueNumMax is not looked at, QueueAlign not
 * written, interrupts are neither switched off nor acknowledged, 64 bits of the configuration are
 * read at once, and only the compiler is kept from moving idx before what it makes available.
 */
#include "guest.h"

#define SLOT 0x10001000

enum {
	MAGIC = 0x00,
	VERSION = 0x04,
	DEVICE_ID = 0x08,
	HOST_FEATURES = 0x10,
	HOST_FEATURES_SEL = 0x14,
	GUEST_FEATURES = 0x20,
	GUEST_FEATURES_SEL = 0x24,
	GUEST_PAGE_SIZE = 0x28,
	QUEUE_SEL = 0x30,
	QUEUE_NUM_MAX = 0x34,
	QUEUE_NUM = 0x38,
	QUEUE_ALIGN = 0x3c,
	QUEUE_PFN = 0x40,
	QUEUE_NOTIFY = 0x50,
	STATUS = 0x70,
	CONFIG = 0x100,

	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,

	PAGE = 4096,
	SIZE = 8,
	SECTOR = 512,
	NEXT = 1,
	DEVICE_WRITES = 2,
	NO_INTERRUPT = 1,
	BLK_IN = 0,
	BLK_OUT = 1,
};

static struct {
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc[SIZE];
	uint16_t avail_flags, avail_idx, avail[SIZE];
	/* In the next page: QueueAlign. */
	uint16_t used_flags __attribute__((aligned(PAGE)));
	uint16_t used_idx;
	struct {
		uint32_t id, len;
	} used[SIZE];
} queue __attribute__((aligned(PAGE)));

static struct {
	uint32_t type, reserved;
	uint64_t sector;
	uint8_t data[SECTOR];
	uint8_t status;
} request;

static volatile uint32_t *reg(unsigned offset)
{
	return (volatile uint32_t *)(uintptr_t)(SLOT + offset);
}

static void fence(void)
{
#ifdef SLIPS
	__asm__ volatile("" ::: "memory");
#else
	__asm__ volatile("fence rw, rw" ::: "memory");
#endif
}

static bool set_up(void)
{
	if (*reg(MAGIC) != 0x74726976 || *reg(VERSION) != 1 || *reg(DEVICE_ID) != 2) {
		print("no legacy disk: magic %x, version %u, device %u\n", *reg(MAGIC),
		      *reg(VERSION), *reg(DEVICE_ID));
		return false;
	}
	*reg(STATUS) = 0;
	*reg(STATUS) |= ACKNOWLEDGE;
	*reg(STATUS) |= DRIVER;
#ifndef SLIPS
	*reg(HOST_FEATURES_SEL) = 0;
	*reg(GUEST_FEATURES_SEL) = 0;
	*reg(GUEST_FEATURES) = *reg(HOST_FEATURES) & 0;
#endif
	*reg(GUEST_PAGE_SIZE) = PAGE;
	*reg(QUEUE_SEL) = 0;
#ifndef SLIPS
	if (*reg(QUEUE_NUM_MAX) < SIZE)
		return false;
#endif
	*reg(QUEUE_NUM) = SIZE;
#ifndef SLIPS
	*reg(QUEUE_ALIGN) = PAGE;
	queue.avail_flags = NO_INTERRUPT;
#endif
	*reg(QUEUE_PFN) = (uint32_t)((uintptr_t)&queue / PAGE);
	*reg(STATUS) |= DRIVER_OK;
	return true;
}

static void describe(unsigned i, void *at, uint32_t len, uint16_t flags)
{
	queue.desc[i].addr = (uintptr_t)at;
	queue.desc[i].len = len;
	queue.desc[i].flags = flags;
	queue.desc[i].next = (uint16_t)(i + 1);
}

/* request.data from or to a sector */
static bool transfer(uint32_t type, uint64_t sector)
{
	uint16_t seen = *(volatile uint16_t *)&queue.used_idx;

	request.type = type;
	request.sector = sector;
	request.status = 0xff;
	describe(0, &request, 16, NEXT);
	describe(1, request.data, SECTOR, (uint16_t)(NEXT | (type == BLK_IN ? DEVICE_WRITES : 0)));
	describe(2, &request.status, 1, DEVICE_WRITES);
	queue.avail[queue.avail_idx % SIZE] = 0;
	fence();
	*(volatile uint16_t *)&queue.avail_idx = (uint16_t)(queue.avail_idx + 1);
	fence();
	*reg(QUEUE_NOTIFY) = 0;
	while (*(volatile uint16_t *)&queue.used_idx == seen)
		;
	fence();
	return request.status == 0;
}

void guest_second(xlen_t hart, xlen_t opaque)
{
	(void)hart;
	(void)opaque;
}

void guest_main(xlen_t hart, const uint8_t *dtb)
{
	static const char hello[] = "hello from the guest\n";

	print("hart %lu of %d bits, tree %x%x%x%x\n", hart, (int)sizeof(xlen_t) * 8, dtb[0], dtb[1],
	      dtb[2], dtb[3]);
	if (!set_up())
		return;
#ifdef SLIPS
	print("capacity %u\n", (unsigned)*(volatile uint64_t *)reg(CONFIG));
#else
	print("capacity %u\n", *reg(CONFIG));
#endif
	if (!transfer(BLK_IN, 0)) {
		print("the read failed\n");
		return;
	}
	print("first: ");
	for (unsigned i = 0; i < SECTOR && request.data[i] && request.data[i] != '\n'; i++)
		put((char)request.data[i]);
	print("\n");
	memcpy(request.data, hello, sizeof(hello) - 1);
	print(transfer(BLK_OUT, 0) ? "written\n" : "the write failed\n");
	print(transfer(BLK_OUT, *reg(CONFIG)) ? "beyond the end?\n" : "the end holds\n");
}

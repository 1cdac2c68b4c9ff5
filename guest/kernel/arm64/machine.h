/* SPDX-License-Identifier: MIT */
/*
 * The arm64 "virt" machine (QEMU, docs/system/arm/virt.rst, and hw/arm/virt.c for the numbers): its
 * memory map, and how a CPU speaks to devices and to memory that devices read.
 */
#ifndef MACHINE_H
#define MACHINE_H

#define ARCH_NAME "arm64"

/* An SPI is 32 more as an INTID (GIC architecture, 2.2.1). */
enum {
	GICD_BASE = 0x08000000,
	GICC_BASE = 0x08010000, /* GICv2 */
	GICR_BASE = 0x080a0000, /* GICv3, of the first CPU */
	GIC_SIZE = 0x01000000,
	UART_BASE = 0x09000000,
	UART_IRQ = 32 + 1,
	VIRTIO_BASE = 0x0a000000,
	VIRTIO_STRIDE = 0x200,
	VIRTIO_IRQ = 32 + 16, /* of the first slot; the others follow */
	VIRTIO_SLOTS = 32,
};

/* Memory accesses are only ordered where a DMB says so: DDI0487 B2.3.12. */
static inline void fence_write(void) /* what is written before is seen before what is after */
{
	__asm__ volatile("dmb oshst" ::: "memory");
}

static inline void fence_read(void)
{
	__asm__ volatile("dmb oshld" ::: "memory");
}

static inline void fence_all(void) /* devices' registers too */
{
	__asm__ volatile("dmb sy" ::: "memory");
}

/*
 * Never more than a plain load or store: a hypervisor that emulates the device is told what to do
 * only for those (DDI0487, ESR_ELx, ISS of a Data Abort, ISV).
 */
static inline u32 mmio_read(uintptr_t at)
{
	u32 value;

	__asm__ volatile("ldr %w0, [%1]" : "=r"(value) : "r"(at) : "memory");
	return value;
}

static inline void mmio_write(uintptr_t at, u32 value)
{
	__asm__ volatile("str %w0, [%1]" ::"r"(value), "r"(at) : "memory");
}

#define READ_SYSREG(name)                                         \
	({                                                        \
		u64 value_;                                       \
		__asm__ volatile("mrs %0, " name : "=r"(value_)); \
		value_;                                           \
	})
#define WRITE_SYSREG(name, value) \
	__asm__ volatile("msr " name ", %0\n\tisb" ::"r"((u64)(value)) : "memory")

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The RISC-V "virt" machine (QEMU, docs/system/riscv/virt.rst), 32 and 64 bits: its memory map, and
 * how a CPU speaks to devices and to memory that devices read.
 */
#ifndef MACHINE_H
#define MACHINE_H

#if __riscv_xlen == 64
#define ARCH_NAME "riscv64"
#else
#define ARCH_NAME "riscv32"
#endif

enum {
	PLIC_BASE = 0x0c000000,
	PLIC_SIZE = 0x00600000,
	UART_BASE = 0x10000000,
	UART_IRQ = 10,
	VIRTIO_BASE = 0x10001000,
	VIRTIO_STRIDE = 0x1000,
	VIRTIO_IRQ = 1, /* of the first slot; the others follow */
	VIRTIO_SLOTS = 8,
};

/*
 * Memory accesses are only ordered where a FENCE says so, and FENCE tells memory (r, w) from
 * devices (i, o): volume I, "Memory Ordering Instructions".
 */
static inline void fence_write(void) /* what is written before is seen before what is after */
{
	__asm__ volatile("fence w, w" ::: "memory");
}

static inline void fence_read(void)
{
	__asm__ volatile("fence r, r" ::: "memory");
}

static inline void fence_all(void) /* devices' registers too */
{
	__asm__ volatile("fence iorw, iorw" ::: "memory");
}

static inline u32 mmio_read(uintptr_t at)
{
	return *(volatile u32 *)at;
}

static inline void mmio_write(uintptr_t at, u32 value)
{
	*(volatile u32 *)at = value;
}

#define READ_CSR(name)                                             \
	({                                                         \
		uintptr_t value_;                                  \
		__asm__ volatile("csrr %0, " name : "=r"(value_)); \
		value_;                                            \
	})
#define WRITE_CSR(name, value) \
	__asm__ volatile("csrw " name ", %0" ::"r"((uintptr_t)(value)) : "memory")
#define SET_CSR(name, bits) \
	__asm__ volatile("csrs " name ", %0" ::"r"((uintptr_t)(bits)) : "memory")
#define CLEAR_CSR(name, bits) \
	__asm__ volatile("csrc " name ", %0" ::"r"((uintptr_t)(bits)) : "memory")

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A hart that only waits for its timer, two seconds: the machine must not take it for dead.
 */
#include "guest.h"

enum { EID_TIME = 0x54494d45, TICKS = 2 * 10000000 };

void guest_second(xlen_t hart, xlen_t opaque)
{
	(void)hart;
	(void)opaque;
}

#ifdef M_MODE
static void wait(void)
{
	volatile uint32_t *mtime = (volatile uint32_t *)0x200bff8;
	volatile uint32_t *mtimecmp = (volatile uint32_t *)0x2004000;
	uint64_t at = ((uint64_t)mtime[1] << 32 | mtime[0]) + TICKS;
	xlen_t mtie = 1 << 7;

	mtimecmp[1] = (uint32_t)(at >> 32);
	mtimecmp[0] = (uint32_t)at;
	__asm__ volatile("csrs mie, %0\n wfi" ::"r"(mtie) : "memory");
}
#else
static void wait(void)
{
	xlen_t low, high = 0, stie = 1 << 5;

	__asm__ volatile("rdtime %0" : "=r"(low));
#if __riscv_xlen == 32
	__asm__ volatile("rdtimeh %0" : "=r"(high));
	high += low + TICKS < low;
#endif
	sbi(EID_TIME, 0, low + TICKS, high, 0, 0, 0);
	__asm__ volatile("csrs sie, %0\n wfi" ::"r"(stie) : "memory");
}
#endif

void guest_main(xlen_t hart, const uint8_t *dtb)
{
	(void)hart;
	(void)dtb;
	wait();
	print("woken\n");
}

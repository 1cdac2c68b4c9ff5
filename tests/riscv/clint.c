/* SPDX-License-Identifier: MIT */
/*
 * The ACLINT's MTIME can be written, and `time` of the hart is what it says (privileged
 * specification, 3.2.1). In M-mode.
 */
#include "guest.h"

#define MTIMECMP ((volatile uint32_t *)0x2004000)
#define MTIME    ((volatile uint32_t *)0x200bff8)
enum { MTIP = 1 << 7, SECOND = 10000000 };

static void check(bool good, const char *what)
{
	print(good ? "good %s\n" : "BAD %s\n", what);
}

static uint64_t now(void)
{
#if __riscv_xlen == 64
	uint64_t t;
	__asm__ volatile("rdtime %0" : "=r"(t));
	return t;
#else
	uint32_t high, low, again;
	do
		__asm__ volatile("rdtimeh %0\n rdtime %1\n rdtimeh %2"
				 : "=r"(high), "=r"(low), "=r"(again));
	while (high != again);
	return (uint64_t)high << 32 | low;
#endif
}

static void write64(volatile uint32_t *reg, uint64_t v)
{
	reg[0] = (uint32_t)v;
	reg[1] = (uint32_t)(v >> 32);
}

static bool pending(void)
{
	xlen_t mip;
	__asm__ volatile("csrr %0, mip" : "=r"(mip));
	return mip & MTIP;
}

/* Is `time` this, or a little later? */
static bool is_now(uint64_t t)
{
	return now() - t < 60ull * SECOND;
}

void guest_main(xlen_t hart, const uint8_t *dtb)
{
	static const uint64_t far = 0x123456789000, early = 5;

	(void)hart;
	(void)dtb;
	check(is_now(0), "time begins with the machine");
	write64(MTIME, far);
	check(is_now(far), "time is what was written to MTIME");
	write64(MTIMECMP, far + 1000ull * SECOND);
	check(!pending(), "a comparison with what is to come");
	write64(MTIMECMP, now() + SECOND / 50);
	__asm__ volatile("csrs mie, %0\n wfi\n csrc mie, %0" ::"r"((xlen_t)MTIP) : "memory");
	check(pending(), "and it comes");
	write64(MTIME, early);
	check(is_now(early), "time can go back");
	check(!pending(), "and what had come has not");
	print("end\n");
}

void guest_second(xlen_t hart, xlen_t opaque)
{
	(void)hart;
	(void)opaque;
}

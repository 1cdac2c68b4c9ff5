/* SPDX-License-Identifier: MIT */
/*
 * Guests that lose their way, one for each value of LOST: what `--debug-guest` says of them is the
 * test (test_lost.py).
 */
#include "guest.h"

typedef uintptr_t word;

void set_vector(void (*handler)(void))
{
#ifdef __riscv
	__asm__ volatile("csrw stvec, %0" : : "r"(handler));
#else
	/* Exceptions from EL1 with SP_EL1 go to 0x200 behind it. */
	__asm__ volatile("msr vbar_el1, %0\n isb" : : "r"((word)handler - 0x200));
#endif
}

__attribute__((noinline)) void store_to(word addr)
{
	*(volatile unsigned *)addr = 1;
}

#if LOST_NO_VECTOR

__attribute__((noinline)) void lost(void)
{
	store_to(0x10);
}

#elif LOST_ILLEGAL

__attribute__((noinline)) void lost(void)
{
	__asm__ volatile(".word 0");
}

#elif LOST_BAD_HANDLER

/* Where the vector is, so nothing before its first instruction. */
__asm__(".pushsection .text\n"
	".balign 2048\n"
	".space 0x200\n"
	".globl handler\n"
#ifdef __riscv
	"handler:	li	t0, 8\n"
	"	sw	zero, 0(t0)\n"
	"	sret\n"
#else
	"handler:	mov	x9, #8\n"
	"	str	wzr, [x9]\n"
	"	eret\n"
#endif
	".popsection\n");
void handler(void);

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	store_to(0x10);
}

#elif LOST_RETRY

__asm__(".pushsection .text\n"
	".balign 2048\n"
	".space 0x200\n"
	".globl handler\n"
#ifdef __riscv
	"handler:	sret\n"
#else
	"handler:	eret\n"
#endif
	".popsection\n");
void handler(void);

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	store_to(0x10);
}

#elif LOST_JUMP

__asm__(".pushsection .text\n"
	".balign 2048\n"
	".space 0x200\n"
	".globl handler\n"
#ifdef __riscv
	"handler:	j	power_off\n"
#else
	"handler:	b	power_off\n"
#endif
	".popsection\n");
void handler(void);

void (*volatile nowhere)(void) = (void (*)(void))0x1234560;

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	nowhere();
}

#elif LOST_SPIN

volatile unsigned used;

/* What a driver does that waits for an answer which never comes. */
__attribute__((noinline)) void wait_for_used(void)
{
	while (!used)
		;
}

__attribute__((noinline)) void lost(void)
{
	wait_for_used();
}

#elif LOST_WAIT

__attribute__((noinline)) void lost(void)
{
	for (;;)
		__asm__ volatile("wfi");
}

#elif LOST_HANDLER_SPINS

__asm__(".pushsection .text\n"
	".balign 2048\n"
	".space 0x200\n"
	".globl handler\n"
#ifdef __riscv
	"handler:	j	handler\n"
#else
	"handler:	b	handler\n"
#endif
	".popsection\n");
void handler(void);

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	store_to(0x10);
}

#elif LOST_PAGING || LOST_UNMAPPED || LOST_READ_ONLY

/* Tables: of the first level, and of the next, for the lowest addresses. */
word root[4096 / sizeof(word)] __attribute__((aligned(4096)));
word low[4096 / sizeof(word)] __attribute__((aligned(4096)));

static void paging_on(void)
{
#ifdef __riscv
	word mode = __riscv_xlen == 64 ? (word)8 << (__riscv_xlen - 4) : (word)1 << 31;

	__asm__ volatile("sfence.vma\n csrw satp, %0\n sfence.vma"
			 :
			 : "r"(mode | (word)root >> 12)
			 : "memory");
#else
	/* 39 bits of address, 4 KiB pages; Normal memory */
	__asm__ volatile("msr mair_el1, %0\n msr tcr_el1, %1\n msr ttbr0_el1, %2\n isb\n"
			 "mrs x9, sctlr_el1\n orr x9, x9, #1\n msr sctlr_el1, x9\n isb"
			 :
			 : "r"(0xffL), "r"(25L | 1L << 23), "r"(root)
			 : "x9", "memory");
#endif
}

void map(void)
{
#ifdef __riscv
	enum { TABLE = 1, RWX = 0xcf, READ_ONLY = 0x43 };
	unsigned shift = __riscv_xlen == 64 ? 30 : 22;
	word here = (word)map >> shift;

	root[here] = here << (shift - 2) | RWX;
	root[0] = (word)low >> 2 | TABLE;
#else
	enum { TABLE = 3, BLOCK = 0x701, READ_ONLY = 0x783 };

	root[1] = 0x40000000 | BLOCK;
	root[0] = (word)low | TABLE;
#endif
#if LOST_READ_ONLY
#ifdef __riscv
	/* A leaf of the last level on 32 bits, of the middle one on 64: both begin at 0 */
	low[0] = READ_ONLY;
#else
	low[0] = 0x40000000 | (READ_ONLY & ~2);
#endif
#endif
}

__attribute__((noinline)) void lost(void)
{
#if !LOST_PAGING
	map();
#endif
	paging_on();
	store_to(0x10);
}

#endif

void guest_main(void)
{
	print("lost\n");
	lost();
	print("found\n");
}

/* There is no second one. */
void guest_second(void)
{
}

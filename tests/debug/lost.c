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

#ifdef __riscv
#define FOR_ARCH(rv, a64) rv
#else
#define FOR_ARCH(rv, a64) a64
#endif
/* The handler, by instructions: it is where the vector is, so nothing comes before the first. */
#define HANDLER(rv, a64)                                         \
	__asm__(".pushsection .text\n"                           \
		".balign 2048\n"                                 \
		".space 0x200\n"                                 \
		".globl handler\n"                               \
		"handler:\n" FOR_ARCH(rv, a64) ".popsection\n"); \
	void handler(void);

__attribute__((noinline)) void store_to(word addr)
{
	*(volatile unsigned *)addr = 1;
}

#if LOST_NO_VECTOR

__attribute__((noinline)) void lost(void)
{
	store_to(0x10);
}

#elif LOST_M_MODE

__attribute__((noinline)) void lost(void)
{
	__asm__ volatile("csrr t0, mhartid" ::: "t0");
}

#elif LOST_EL2

__attribute__((noinline)) void lost(void)
{
	__asm__ volatile("msr hcr_el2, xzr");
}

#elif LOST_ILLEGAL

__attribute__((noinline)) void lost(void)
{
	__asm__ volatile(".word 0");
}

#elif LOST_BAD_HANDLER

HANDLER("	li	t0, 8\n"
	"	sw	zero, 0(t0)\n"
	"	sret\n",
	"	mov	x9, #8\n"
	"	str	wzr, [x9]\n"
	"	eret\n")

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	store_to(0x10);
}

#elif LOST_RETRY

HANDLER("	sret\n", "	eret\n")

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	store_to(0x10);
}

#elif LOST_JUMP

HANDLER("	j	power_off\n", "	b	power_off\n")

void (*volatile nowhere)(void) = (void (*)(void))0x1234560;

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	nowhere();
}

#elif LOST_JUMPS

HANDLER("	j	reset\n", "	b	reset\n")

void (*volatile nowhere)(void) = (void (*)(void))0x1234560;

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	nowhere();
}

#elif LOST_PANIC

HANDLER("	j	power_off\n", "	b	power_off\n")

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	store_to(0x10);
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

HANDLER("	j	handler\n", "	b	handler\n")

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	store_to(0x10);
}

#elif LOST_NULL

HANDLER("	j	handler\n", "	b	handler\n")

void (*volatile hook)(void);

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	hook();
}

#elif LOST_ZEROS

/* The vector is memory that nobody has written code to. */
char zeros[4096] __attribute__((aligned(4096)));

__attribute__((noinline)) void lost(void)
{
	set_vector((void (*)(void))(word)(zeros + 0x200));
	store_to(0x10);
}

#elif LOST_TURNS

/* A handler that faults, at two places in turn. */
HANDLER("	addi	s11, s11, 1\n"
	"	andi	t0, s11, 1\n"
	"	bnez	t0, 1f\n"
	"	lw	zero, 8(zero)\n"
	"1:	sw	zero, 8(zero)\n"
	"	sret\n",
	"	add	x28, x28, #1\n"
	"	mov	x9, #8\n"
	"	tbnz	x28, #0, 1f\n"
	"	ldr	wzr, [x9]\n"
	"1:	str	wzr, [x9]\n"
	"	eret\n")

__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
	store_to(0x10);
}

#elif LOST_STACK

/* Registers go to the stack first, as in any handler. */
HANDLER("	addi	sp, sp, -16\n"
	"	sw	ra, 0(sp)\n",
	"	stp	x29, x30, [sp, #-16]!\n")

__attribute__((noinline)) unsigned deeper(unsigned n)
{
	volatile unsigned here[16] = { n };

	return here[n & 15] == n + 1 ? 0 : deeper(n + 1) + here[n & 15];
}

/* The stack is at the beginning of RAM, and before that is nothing. */
__attribute__((noinline)) void lost(void)
{
	set_vector(handler);
#ifdef __riscv
	__asm__ volatile("mv sp, %0\n call deeper" : : "r"(0x80000000 + 8192));
#else
	__asm__ volatile("mov sp, %0\n bl deeper" : : "r"(0x40000000L + 8192));
#endif
}

#elif LOST_STORM

/* The timer's interrupt, and nothing is done about it but counting. */
__asm__(".pushsection .text\n"
	".balign 2048\n"
	".space 0x280\n"
	".globl handler\n"
#ifdef __riscv
	"handler:	addi	s11, s11, 1\n"
	"	li	t0, 150000\n"
	"	beq	s11, t0, power_off\n"
	"	sret\n"
#else
	"handler:	add	x28, x28, #1\n"
	"	lsr	x9, x28, #17\n"
	"	cbnz	x9, power_off\n"
	"	eret\n"
#endif
	".popsection\n");
void handler(void);
volatile unsigned work;

__attribute__((noinline)) void lost(void)
{
#ifdef __riscv
	set_vector(handler);
	set_timer(1000);
	__asm__ volatile("csrs sie, %0\n csrsi sstatus, 2" : : "r"(0x20));
#else
	__asm__ volatile("msr vbar_el1, %0\n isb" : : "r"((word)handler - 0x280));
	timer_on(1000);
	__asm__ volatile("msr daifclr, #2");
#endif
#ifdef __riscv
	register word n __asm__("s11") = 0;
#else
	register word n __asm__("x28") = 0;
#endif
	for (;;) {
		__asm__ volatile("" : "+r"(n));
		work++;
	}
}

#elif LOST_SELF

/* With interrupts on, and none that could come. */
__attribute__((noinline)) void lost(void)
{
#ifdef __riscv
	__asm__ volatile("csrsi sstatus, 2\n 1: j 1b");
#else
	__asm__ volatile("msr daifclr, #3\n 1: b 1b");
#endif
}

#elif LOST_LOCK

volatile unsigned lock, held;

__attribute__((noinline)) void take_lock(void)
{
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		;
}

/* Takes it, and sleeps on it. */
void guest_second(void)
{
	take_lock();
	held = 1;
	for (;;)
		__asm__ volatile("wfi");
}

__attribute__((noinline)) void lost(void)
{
	start_second();
	while (!held)
		;
	take_lock();
}

#elif LOST_MASKED

/* Sleeps with interrupts masked, and one pending: WFI does not wait. */
__attribute__((noinline)) void lost(void)
{
#ifdef __riscv
	__asm__ volatile("csrsi sie, 2\n csrsi sip, 2");
#else
	timer_on(0);
#endif
	for (;;)
		__asm__ volatile("wfi");
}

#elif LOST_DEAF

/* Waits for a timer whose interrupt was not enabled. */
__attribute__((noinline)) void lost(void)
{
#ifdef __riscv
	set_timer(100);
#else
	__asm__ volatile("msr cntv_tval_el0, %0\n msr cntv_ctl_el0, %1" : : "r"(1000L), "r"(1L));
#endif
	for (;;)
		__asm__ volatile("wfi");
}

#elif LOST_PLIC || LOST_IDLE

/* A device's interrupt is enabled everywhere but in the CPU; or there too: then it is not lost, a
 * key may be pressed, though interrupts are masked while it waits, as Linux does it. */
__attribute__((noinline)) void lost(void)
{
#ifdef __riscv
	*(volatile uint32_t *)(0x0c000000 + 4 * 10) = 1;  /* priority of the UART, source 10 */
	*(volatile uint32_t *)(0x0c002080) = 1 << 10;     /* enable in context 1, hart 0's S-mode */
	*(volatile uint32_t *)(0x0c201000) = 0;           /* threshold */
#if LOST_IDLE
	__asm__ volatile("csrs sie, %0" : : "r"(1 << 9)); /* external */
#else
	__asm__ volatile("csrsi sstatus, 2");
#endif
#else
	uart_on();
#endif
	for (;;)
		__asm__ volatile("wfi");
}

#elif LOST_POLL

/* Not lost: waits for a timer by looking, interrupts off. */
__attribute__((noinline)) void lost(void)
{
#ifdef __riscv
	word pending;

	set_timer(20000000); /* 2 s */
	do
		__asm__ volatile("csrr %0, sip" : "=r"(pending));
	while (!(pending & 0x20));
#else
	word ctl;

	/* 2 s; ENABLE and IMASK, until ISTATUS */
	__asm__ volatile("msr cntv_tval_el0, %0\n msr cntv_ctl_el0, %1"
			 :
			 : "r"(125000000L), "r"(3L));
	do
		__asm__ volatile("mrs %0, cntv_ctl_el0" : "=r"(ctl));
	while (!(ctl & 4));
#endif
}

#elif LOST_COUNT

/* Not lost: it only counts in memory, and no register shows that where it jumps. */
volatile unsigned count, never;

__attribute__((noinline)) void lost(void)
{
	do
		count++;
	while (!never);
}

#elif LOST_CALLS

/* Not lost: it asks the firmware again and again. */
__attribute__((noinline)) void lost(void)
{
	for (;;)
		ask_firmware();
}

#elif LOST_OFF_ON

/* Not lost: the second CPU goes off and is put on, again and again, whoever looks meanwhile. */
volatile unsigned count;

void guest_second(void)
{
	count++;
	stop_second();
}

__attribute__((noinline)) void lost(void)
{
	for (unsigned n = 1; n <= 2000; n++) {
		while (second_is_on())
			;
		if (!start_second()) {
			print("refused\n");
			power_off();
		}
		while (count < n)
			;
	}
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

#if !LOST_LOCK && !LOST_OFF_ON
/* There is no second one. */
void guest_second(void)
{
}
#endif

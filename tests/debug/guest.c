/* SPDX-License-Identifier: MIT */
/*
 * Entry, console, firmware calls.
 */
#include "guest.h"

char stacks[2][4096] __attribute__((aligned(16)));
extern char second_start[];

#ifdef __riscv

__asm__(".pushsection .start, \"ax\"\n"
	".globl	start\n"
	"start:	la	sp, stacks + 4096\n"
	"	call	guest_main\n"
	"	call	power_off\n"
	".globl	second_start\n"
	"second_start:\n"
	"	la	sp, stacks + 8192\n"
	"	call	guest_second\n"
	"1:	j	1b\n"
	".popsection\n");

static long sbi(uintptr_t eid, uintptr_t fid, uintptr_t a0, uintptr_t a1, uintptr_t a2)
{
	register uintptr_t r0 __asm__("a0") = a0;
	register uintptr_t r1 __asm__("a1") = a1;
	register uintptr_t r2 __asm__("a2") = a2;
	register uintptr_t r6 __asm__("a6") = fid;
	register uintptr_t r7 __asm__("a7") = eid;

	__asm__ volatile("ecall" : "+r"(r0), "+r"(r1) : "r"(r2), "r"(r6), "r"(r7) : "memory");
	return (long)r0;
}

enum { EID_HSM = 0x48534d, HART_START = 0, HART_STOP, HART_GET_STATUS };

bool start_second(void)
{
	return !sbi(EID_HSM, HART_START, 1, (uintptr_t)second_start, 0);
}

_Noreturn void stop_second(void)
{
	for (;;)
		sbi(EID_HSM, HART_STOP, 0, 0, 0);
}

bool second_is_on(void)
{
	register uintptr_t r0 __asm__("a0") = 1;
	register uintptr_t r1 __asm__("a1") = 0;
	register uintptr_t r6 __asm__("a6") = HART_GET_STATUS;
	register uintptr_t r7 __asm__("a7") = EID_HSM;

	__asm__ volatile("ecall" : "+r"(r0), "+r"(r1) : "r"(r6), "r"(r7) : "memory");
	return !r1; /* STARTED; on its way to a stop, it is none */
}

static void put(char c)
{
	sbi(1 /* legacy console_putchar */, 0, (unsigned char)c, 0, 0);
}

void ask_firmware(void)
{
	sbi(0x10 /* base */, 0 /* the version of SBI */, 0, 0, 0);
}

void set_timer(unsigned ticks)
{
	uint64_t at;

#if __riscv_xlen == 64
	__asm__ volatile("rdtime %0" : "=r"(at));
#else
	uint32_t low, high;
	__asm__ volatile("rdtime %0\n rdtimeh %1" : "=r"(low), "=r"(high));
	at = (uint64_t)high << 32 | low;
#endif
	at += ticks;
	sbi(0x54494d45 /* TIME */, 0, (uintptr_t)at, (uintptr_t)(at >> 16 >> 16), 0);
}

_Noreturn void power_off(void)
{
	enum { EID_SRST = 0x53525354 };

	for (;;)
		sbi(EID_SRST, 0, 0, 0, 0);
}

_Noreturn void reset(void)
{
	enum { EID_SRST = 0x53525354, COLD = 1 };

	for (;;)
		sbi(EID_SRST, 0, COLD, 0, 0);
}

#else /* arm64 */

/* The header of an Image: Linux, Documentation/arch/arm64/booting.rst, section 4. */
__asm__(".pushsection .start, \"ax\"\n"
	".globl	start\n"
	"start:	b	1f\n"
	"	.long	0\n"
	"	.quad	0x200000\n" /* image.ld: guest_base */
	"	.quad	image_size\n"
	"	.quad	2\n"
	"	.quad	0, 0, 0\n"
	"	.ascii	\"ARM\\x64\"\n"
	"	.long	0\n"
	"1:	adrp	x1, stacks + 4096\n"
	"	add	x1, x1, :lo12:stacks + 4096\n"
	"	mov	sp, x1\n"
	"	mov	x1, #3 << 20\n" /* CPACR_EL1.FPEN */
	"	msr	cpacr_el1, x1\n"
	"	isb\n"
	"	bl	guest_main\n"
	"	bl	power_off\n"
	".globl	second_start\n"
	"second_start:\n"
	"	adrp	x1, stacks + 8192\n"
	"	add	x1, x1, :lo12:stacks + 8192\n"
	"	mov	sp, x1\n"
	"	bl	guest_second\n"
	"1:	b	1b\n"
	".popsection\n");

/* SMCCC: the function in w0. */
static long hvc(uint32_t function, uintptr_t a1, uintptr_t a2, uintptr_t a3)
{
	register uintptr_t r0 __asm__("x0") = function;
	register uintptr_t r1 __asm__("x1") = a1;
	register uintptr_t r2 __asm__("x2") = a2;
	register uintptr_t r3 __asm__("x3") = a3;

	__asm__ volatile("hvc #0" : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3) : : "memory");
	return (long)r0;
}

bool start_second(void)
{
	return !hvc(0xc4000003 /* CPU_ON */, 1, (uintptr_t)second_start, 0);
}

_Noreturn void stop_second(void)
{
	for (;;)
		hvc(0x84000002 /* CPU_OFF */, 0, 0, 0);
}

bool second_is_on(void)
{
	return !hvc(0xc4000004 /* AFFINITY_INFO */, 1, 0, 0);
}

static void put(char c)
{
	*(volatile uint32_t *)0x09000000 /* PL011, DR */ = (unsigned char)c;
}

void ask_firmware(void)
{
	hvc(0x84000000 /* PSCI_VERSION */, 0, 0, 0);
}

static volatile uint32_t *const gicd = (void *)0x08000000, *const gicr = (void *)0x080a0000;

static void gic_on(void)
{
	gicd[0] = 1 << 4 | 1 << 1;                  /* GICD_CTLR: affinity routing, group 1 */
	gicr[0x14 / 4] = 0;                         /* GICR_WAKER */
	__asm__ volatile("msr S3_0_C4_C6_0, %0\n"   /* ICC_PMR_EL1 */
			 "msr S3_0_C12_C12_7, %1\n" /* ICC_IGRPEN1_EL1 */
			 "isb\n"
			 :
			 : "r"(0xffL), "r"(1L));
}

void timer_on(unsigned ticks)
{
	enum { TIMER = 27 /* INTID of the virtual timer */ };
	volatile uint32_t *sgi = gicr + 0x10000 / 4;

	gic_on();
	sgi[0x80 / 4] = ~0u;         /* GICR_IGROUPR0 */
	sgi[0x100 / 4] = 1 << TIMER; /* GICR_ISENABLER0 */
	__asm__ volatile("msr cntv_tval_el0, %0\n msr cntv_ctl_el0, %1\n"
			 :
			 : "r"((uintptr_t)ticks), "r"(1L));
}

void uart_on(void)
{
	gic_on();
	gicd[0x84 / 4] = ~0u;     /* GICD_IGROUPR1: INTIDs 32 to 63 */
	gicd[0x104 / 4] = 1 << 1; /* GICD_ISENABLER1: 33, the UART's */
}

_Noreturn void power_off(void)
{
	for (;;)
		hvc(0x84000008 /* SYSTEM_OFF */, 0, 0, 0);
}

_Noreturn void reset(void)
{
	for (;;)
		hvc(0x84000009 /* SYSTEM_RESET */, 0, 0, 0);
}

#endif

void print(const char *text)
{
	while (*text)
		put(*text++);
}

/* The compiler may ask for it. */
void *memset(void *to, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)c;
	return to;
}

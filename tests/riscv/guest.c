/* SPDX-License-Identifier: MIT */
/*
 * Entry, console, traps and the end of the bare-metal RISC-V guests.
 */
#include "guest.h"

#include <stdarg.h>

#define UART     ((volatile uint8_t *)0x10000000)
#define FINISHER ((volatile uint32_t *)0x100000)

enum { EID_PUTCHAR = 1, EID_SRST = 0x53525354, LSR = 5, LSR_THRE = 1 << 5, FINISHER_PASS = 0x5555 };

uint8_t stacks[2][4096] __attribute__((aligned(16)));
/* In M-mode all harts begin; the first to come is the one that goes on. */
uint32_t taken;

#ifdef M_MODE
#define TVEC "mtvec"
#else
#define TVEC "stvec"
#endif

__asm__(".pushsection .start, \"ax\"\n"
	".globl start, second_start\n"
	"start:\n"
	"	la	t0, trap\n"
	"	csrw	" TVEC ", t0\n"
	"	la	t0, taken\n"
	"	li	t1, 1\n"
	"	amoswap.w t1, t1, (t0)\n"
	"	bnez	t1, 1f\n"
	"	la	sp, stacks + 4096\n"
	"	call	guest_main\n"
	"	call	power_off\n"
	"1:	wfi\n"
	"	j	1b\n"
	"second_start:\n"
	"	la	t0, trap\n"
	"	csrw	" TVEC ", t0\n"
	"	la	sp, stacks + 8192\n"
	"	call	guest_second\n"
	"	j	1b\n"
	".balign 4\n"
	"trap:	la	sp, stacks + 4096\n"
	"	call	trapped\n"
	".popsection\n");

void trapped(void);

#ifndef M_MODE
struct sbiret sbi(xlen_t eid, xlen_t fid, xlen_t a0, xlen_t a1, xlen_t a2, xlen_t a3, xlen_t a4)
{
	register xlen_t r0 __asm__("a0") = a0;
	register xlen_t r1 __asm__("a1") = a1;
	register xlen_t r2 __asm__("a2") = a2;
	register xlen_t r3 __asm__("a3") = a3;
	register xlen_t r4 __asm__("a4") = a4;
	register xlen_t r6 __asm__("a6") = fid;
	register xlen_t r7 __asm__("a7") = eid;

	__asm__ volatile("ecall"
			 : "+r"(r0), "+r"(r1)
			 : "r"(r2), "r"(r3), "r"(r4), "r"(r6), "r"(r7)
			 : "memory");
	return (struct sbiret){ (long)r0, r1 };
}
#endif

void put(char c)
{
#ifdef M_MODE
	while (!(UART[LSR] & LSR_THRE))
		;
	UART[0] = (uint8_t)c;
#else
	sbi(EID_PUTCHAR, 0, (uint8_t)c, 0, 0, 0, 0);
#endif
}

static void print_number(xlen_t v, unsigned base)
{
	char digits[24];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n)
		put(digits[--n]);
}

void print(const char *f, ...)
{
	va_list args;

	va_start(args, f);
	for (; *f; f++) {
		bool wide = f[0] == '%' && f[1] == 'l';

		if (*f != '%') {
			put(*f);
			continue;
		}
		f += 1 + wide;
		if (*f == 's') {
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(*s);
		} else if (*f == 'c') {
			put((char)va_arg(args, int));
		} else if (*f == 'd') {
			long v = wide ? va_arg(args, long) : va_arg(args, int);
			if (v < 0)
				put('-');
			print_number(v < 0 ? -(xlen_t)v : (xlen_t)v, 10);
		} else {
			xlen_t v = wide ? va_arg(args, xlen_t) : va_arg(args, unsigned);
			print_number(v, *f == 'x' ? 16 : 10);
		}
	}
	va_end(args);
}

_Noreturn void power_off(void)
{
#ifdef M_MODE
	*FINISHER = FINISHER_PASS;
#else
	sbi(EID_SRST, 0, 0, 0, 0, 0, 0);
#endif
	for (;;)
		;
}

void trapped(void)
{
	xlen_t cause, epc, tval;

#ifdef M_MODE
	__asm__ volatile("csrr %0, mcause\n csrr %1, mepc\n csrr %2, mtval"
			 : "=r"(cause), "=r"(epc), "=r"(tval));
#else
	__asm__ volatile("csrr %0, scause\n csrr %1, sepc\n csrr %2, stval"
			 : "=r"(cause), "=r"(epc), "=r"(tval));
#endif
	print("trapped: cause %lx at %lx, value %lx\n", cause, epc, tval);
	power_off();
}

/* The compiler may ask for these, and so may guests. */

void *memset(void *to, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)c;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

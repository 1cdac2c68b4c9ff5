/* SPDX-License-Identifier: MIT */
/*
 * An x86-64 guest for a debugger, started by Linux's 64-bit boot protocol: two CPUs that count,
 * SSE, a breakpoint instruction of its own, and a reset.
 */
#include <stdint.h>

enum { COM1 = 0x3f8, LSR_THRE = 1 << 5, ACPI_SLEEP_CONTROL = 0x600, CODE_16 = 0x8000 };

static char stacks[2][8192] __attribute__((aligned(16), used));
volatile unsigned counts[2], done, with_own, own_breakpoints, resets_left;
volatile uint64_t wide;

static inline void outb(uint16_t port, uint8_t val)
{
	__asm__ volatile("outb %0, %1" : : "a"(val), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t val;

	__asm__ volatile("inb %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}

static void print(const char *text)
{
	while (*text) {
		while (!(inb(COM1 + 5) & LSR_THRE))
			;
		outb(COM1, (uint8_t)*text++);
	}
}

__asm__(".pushsection .start, \"ax\"\n"
	".globl	start\n"
	"start:	leaq	stacks + 8192(%rip), %rsp\n"
	"	movq	%cr4, %rax\n"
	"	orq	$0x600, %rax\n" /* OSFXSR, OSXMMEXCPT */
	"	movq	%rax, %cr4\n"
	"	call	guest_main\n"
	"1:	hlt\n"
	"	jmp	1b\n"
	".popsection\n"
	".text\n"
	"on_breakpoint:\n"
	"	incl	own_breakpoints(%rip)\n"
	"	iretq\n"
	/* The second CPU begins in real mode, at CODE_16, and goes straight into long mode. */
	".code16\n"
	"code_16: cli\n"
	"	xorw	%ax, %ax\n"
	"	movw	%ax, %ds\n"
	"	movl	%cs:(code_16_cr3 - code_16), %eax\n"
	"	movl	%eax, %cr3\n"
	"	movl	$0x620, %eax\n" /* PAE, and as above */
	"	movl	%eax, %cr4\n"
	"	movl	$0xc0000080, %ecx\n" /* EFER */
	"	movl	$0x100, %eax\n"      /* LME */
	"	xorl	%edx, %edx\n"
	"	wrmsr\n"
	"	movl	$0x80000001, %eax\n"
	"	movl	%eax, %cr0\n"
	"	lgdtl	%cs:(code_16_gdtr - code_16)\n"
	"	ljmpl	$0x10, $second\n"
	"code_16_cr3:	.long	0\n"
	"code_16_gdtr:	.word	0\n"
	"	.long	0\n"
	"code_16_end:\n"
	".code64\n"
	"second: movl	$0x18, %eax\n"
	"	movl	%eax, %ss\n"
	"	movl	%eax, %ds\n"
	"	leaq	stacks + 16384(%rip), %rsp\n"
	"	call	guest_second\n");

extern char on_breakpoint[], code_16[], code_16_cr3[], code_16_gdtr[], code_16_end[];

static struct gate {
	uint16_t offset_low, selector, kind, offset_middle;
	uint32_t offset_high, zero;
} idt[4];

struct __attribute__((packed)) table {
	uint16_t limit;
	uint64_t base;
};

static void set_idt(void)
{
	struct table t = { sizeof(idt) - 1, (uint64_t)idt };

	idt[3] = (struct gate){ .offset_low = (uint16_t)(uintptr_t)on_breakpoint,
				.selector = 0x10,
				.kind = 0x8e00,
				.offset_middle = (uint16_t)((uintptr_t)on_breakpoint >> 16) };
	__asm__ volatile("lidt %0" : : "m"(t));
}

static void start_second(void)
{
	volatile uint32_t *icr = (volatile uint32_t *)0xfee00300; /* of the local APIC */
	volatile char *to = (volatile char *)CODE_16;
	struct table gdt;
	uint64_t cr3;

	for (char *p = code_16; p < code_16_end; p++)
		*to++ = *p;
	__asm__ volatile("sgdt %0" : "=m"(gdt));
	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	*(volatile uint32_t *)(uintptr_t)(CODE_16 + (code_16_cr3 - code_16)) = (uint32_t)cr3;
	*(volatile uint16_t *)(uintptr_t)(CODE_16 + (code_16_gdtr - code_16)) = gdt.limit;
	*(volatile uint32_t *)(uintptr_t)(CODE_16 + (code_16_gdtr - code_16) + 2) =
		(uint32_t)gdt.base;
	icr[4] = 1 << 24;
	icr[0] = 0x4500; /* INIT */
	icr[0] = 0x4600 | CODE_16 >> 12;
}

__attribute__((noinline)) void work_first(unsigned n)
{
	counts[0] += n;
}

__attribute__((noinline)) void work_second(unsigned n)
{
	counts[1] += n;
}

/* Six places for breakpoints, more than the CPU has debug registers. */
__attribute__((noinline)) void a(void)
{
	__asm__ volatile("nop");
}
__attribute__((noinline)) void b(void)
{
	__asm__ volatile("nop");
}
__attribute__((noinline)) void c(void)
{
	__asm__ volatile("nop");
}
__attribute__((noinline)) void d(void)
{
	__asm__ volatile("nop");
}
__attribute__((noinline)) void e(void)
{
	__asm__ volatile("nop");
}
__attribute__((noinline)) void f(void)
{
	__asm__ volatile("nop");
}

__attribute__((noinline)) void floats(void)
{
	static const double two[2] __attribute__((aligned(16))) = { 2.0, 4.0 };

	__asm__ volatile("movapd %0, %%xmm3" : : "m"(two) : "memory");
}

__attribute__((noinline)) void steps(void)
{
	__asm__ volatile("pushfq\n\tpopq %%rax\n\tmovl $5, %%ecx\n1:\tloop 1b"
			 :
			 :
			 : "rax", "rcx", "cc");
}

void guest_second(void)
{
	for (;;)
		work_second(2);
}

void guest_main(void)
{
	set_idt();
	print("counting\n");
	floats();
	steps();
	if (with_own)
		__asm__ volatile("int3");
	a(), b(), c(), d(), e(), f();
	wide += 1;
	if (resets_left) {
		__asm__ volatile("" : : : "memory");
		outb(0x64, 0xfe); /* the keyboard controller resets the machine */
		for (;;)
			;
	}
	start_second();
	while (!done)
		work_first(1);
	print("done\n");
	outb(ACPI_SLEEP_CONTROL, 1 << 5 | 5 << 2);
}

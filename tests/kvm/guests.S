/* SPDX-License-Identifier: MIT */
/*
 * What the guests of test_x86.c do: small pieces of code, copied into a guest's memory as they are,
 * which tell the test what they see by writing it to a port. See the macros.
 *
 * Unless a label says otherwise, the CPU is in 64-bit mode, all memory is mapped where it is, and
 * interrupts are off.
 */
#define PORT_SAY  0xf0 /* 32 bits: the test keeps it */
#define PORT_STOP 0xf4 /* the test is done */
#define PORT_LOWER 0xf8 /* the test's level line goes down */
#define LAPIC 0xfee00000
#define IOAPIC 0xfec00000
#define DEVICE 0xd0000000

#define SAY outl %eax, $PORT_SAY
#define SAY_THIS(x) \
	movl $(x), %eax; \
	SAY
#define STOP outl %eax, $PORT_STOP
/* Writes to a 32-bit register of memory; clobbers RDX. */
#define STORE(addr, val) \
	movl $(addr), %edx; \
	movl $(val), (%rdx)

/* The 8259s would interrupt too: GSIs below 16 go to both. */
#define NO_8259 \
	movb $0xff, %al; \
	outb %al, $0x21; \
	outb %al, $0xa1

	.section .rodata
	.globl guests, guests_end
	.balign 16
guests:

/* ---- entries ---- */

	.globl guest_long
guest_long: /* RSI, CS, then the RAX that the C part had set */
	movq %rax, %rbx
	movl %esi, %eax
	SAY
	movw %cs, %ax
	movzwl %ax, %eax
	SAY
	movq %rbx, %rax
	shrq $32, %rax
	SAY
	movl $0xc0000080, %ecx /* EFER */
	rdmsr
	SAY
	STOP

	.code32
	.globl guest_protected
guest_protected: /* EBX, CR0 */
	movl %ebx, %eax
	SAY
	movl %cr0, %eax
	SAY
	movl %ss:(%ebx), %eax /* the data segment reaches all */
	SAY
	STOP
	.code64

	.code32
	.globl guest_writes
guest_writes: /* ECX pages from EDI on, every second one; without page tables, which are written too */
1:	movb $1, (%edi)
	addl $0x2000, %edi
	loop 1b
	STOP
	.code64

/* ---- devices ---- */

	.globl guest_ports
guest_ports:
	movb $0x12, %al
	outb %al, $0x80
	movw $0x3456, %ax
	outw %ax, $0x80
	movl $0x789abcde, %eax
	outl %eax, $0x80
	xorl %eax, %eax
	inb $0x80, %al
	SAY
	xorl %eax, %eax
	inw $0x80, %ax
	SAY
	inl $0x80, %eax
	SAY
	/* No device there. */
	movl $0x1234, %edx
	xorl %eax, %eax
	inb %dx, %al
	SAY
	inl %dx, %eax
	SAY
	outl %eax, %dx
	/* A string. */
	leaq ports_text(%rip), %rsi
	movl $(ports_text_end - ports_text), %ecx
	movl $0x80, %edx
	cld
	rep outsb
	movl %ecx, %eax
	SAY
	/* And one that comes in. */
	movl $0x300000, %edi
	movl $4, %ecx
	rep insw
	movl 0x300004, %eax
	SAY
	STOP
ports_text:
	.ascii "hello"
ports_text_end:

	.globl guest_mmio
guest_mmio:
	movl $DEVICE, %ebx
	movb $0x11, (%rbx)
	movw $0x2222, 2(%rbx)
	movl $0x33333333, 4(%rbx)
	movabsq $0x4444444455555555, %rax
	movq %rax, 8(%rbx)
	movzbl 1(%rbx), %eax
	SAY
	movzwl 2(%rbx), %eax
	SAY
	movl 4(%rbx), %eax
	SAY
	movq 8(%rbx), %rax
	SAY
	shrq $32, %rax
	SAY
	/* No device there; and one, but not at an odd address. */
	movl 0x1000(%rbx), %eax
	SAY
	movl %eax, 0x1000(%rbx)
	movl 6(%rbx), %eax
	SAY
	STOP

	.globl guest_doorbell
guest_doorbell:
	movl $DEVICE, %ebx
	movl $7, 0x50(%rbx) /* the doorbell */
	SAY_THIS(1)
	movl $8, 0x50(%rbx) /* another value */
	SAY_THIS(2)
	movw $7, 0x50(%rbx) /* the doorbell, of another width */
	SAY_THIS(3)
	STOP

	.globl guest_mirror
guest_mirror: /* reads, a write, a doorbell */
	movl $DEVICE, %ebx
	movl 0x60(%rbx), %eax
	SAY
	movl $5, 0x64(%rbx)
	movl 0x60(%rbx), %eax
	SAY
	movl $7, 0x50(%rbx)
	movl 0xffc(%rbx), %eax
	SAY
	STOP

/* ---- interrupts ---- */

/*
 * No interrupt comes between STI and HLT, so what follows HLT is where it returns to. But QEMU's
 * emulation of SVM forgets that when the CPU leaves the guest there, and the guest would halt for an
 * interrupt that it has had; then HLT is skipped.
 */
	.macro SKIP_HLT
	movq (%rsp), %rdx
	cmpb $0xf4, (%rdx)
	jne 9f
	incq (%rsp)
9:
	.endm

/* Vectors that the C part puts into the IDT. */
	.globl isr_count
isr_count: /* count in R15, end of interrupt */
	incq %r15
	SKIP_HLT
	movl $LAPIC + 0xb0, %edx
	movl $0, (%rdx)
	iretq

	.globl isr_lower
isr_lower: /* the same for a level: ask for the line to be lowered first */
	incq %r15
	SKIP_HLT
	outl %eax, $PORT_LOWER
	movl $LAPIC + 0xb0, %edx
	movl $0, (%rdx)
	iretq

/* APIC on; vector 0x40 by IOAPIC pin 5, edge. */
	.globl guest_irq_edge
guest_irq_edge:
	NO_8259
	STORE(LAPIC + 0xf0, 0x1ff) /* spurious vector register: enabled */
	STORE(IOAPIC, 0x10 + 2 * 5)
	STORE(IOAPIC + 0x10, 0x40)
	STORE(IOAPIC, 0x11 + 2 * 5)
	STORE(IOAPIC + 0x10, 0)
	xorl %r15d, %r15d
	SAY_THIS(0x5e7)
1:	sti
	hlt
	cli
	movl %r15d, %eax
	SAY
	cmpl $3, %r15d
	jb 1b
	STOP

/* Vector 0x41 by IOAPIC pin 6, level. */
	.globl guest_irq_level
guest_irq_level:
	NO_8259
	STORE(LAPIC + 0xf0, 0x1ff)
	STORE(IOAPIC, 0x10 + 2 * 6)
	STORE(IOAPIC + 0x10, 0x8041)
	STORE(IOAPIC, 0x11 + 2 * 6)
	STORE(IOAPIC + 0x10, 0)
	xorl %r15d, %r15d
	SAY_THIS(0x5e7)
1:	sti
	hlt
	cli
	movl %r15d, %eax
	SAY
	cmpl $2, %r15d
	jb 1b
	STOP

	.globl guest_timer
guest_timer: /* vector 0x40 by the APIC's timer, one shot; then by the TSC deadline */
	STORE(LAPIC + 0xf0, 0x1ff)
	STORE(LAPIC + 0x3e0, 0xb)  /* divide by 1 */
	STORE(LAPIC + 0x320, 0x40) /* LVT: one shot */
	xorl %r15d, %r15d
	STORE(LAPIC + 0x380, 1000000)
	sti
	hlt
	cli
	movl %r15d, %eax
	SAY
	STORE(LAPIC + 0x320, 0x40040) /* TSC deadline */
	mfence
	rdtsc
	addl $1000000, %eax
	adcl $0, %edx
	movl $0x6e0, %ecx
	wrmsr
	sti
	hlt
	cli
	movl %r15d, %eax
	SAY
	STOP

/* ---- other CPUs ---- */

/* Starts CPU 1 at page 9, where the C part has put guest_second, and waits for its sign. */
	.globl guest_starts_second
guest_starts_second:
	STORE(LAPIC + 0xf0, 0x1ff)
	STORE(LAPIC + 0x310, 1 << 24)
	STORE(LAPIC + 0x300, 0x4500)        /* INIT, assert */
	STORE(LAPIC + 0x310, 1 << 24)
	STORE(LAPIC + 0x300, 0x4600 | 0x9)  /* SIPI, page 9 */
	movl $0x80000, %ebx
1:	pause
	cmpl $0x2222, (%rbx)
	jne 1b
	SAY_THIS(0x1111)
	STOP

	.code16
	.globl guest_second, guest_second_end
guest_second: /* in real mode, CS:IP = 0900:0000 */
	movw %cs, %ax
	movzwl %ax, %eax
	outl %eax, $PORT_SAY
	movl $1, %eax
	cpuid
	movl %ebx, %eax
	shrl $24, %eax
	outl %eax, $PORT_SAY
	movw $0x8000, %ax /* at 0x80000, which both can reach */
	movw %ax, %ds
	movl $0x2222, 0
2:	cli
	hlt
	jmp 2b
guest_second_end:
	.code64

/* ---- ends ---- */

	.globl guest_triple_fault
guest_triple_fault: /* after leaving its mark on what a reset must clear */
	SAY_THIS(0x7f)
	STORE(LAPIC + 0xf0, 0x1ff)
	STORE(LAPIC + 0x320, 0x20042) /* periodic */
	STORE(LAPIC + 0x380, 100000000)
	STORE(IOAPIC, 0x10 + 2 * 5)
	STORE(IOAPIC + 0x10, 0x8043)
	movl $0x34, %eax /* the 8254's counter 0, mode 2 */
	outb %al, $0x43
	movl $0x55, %eax
	outb %al, $0x40
	outb %al, $0x40
	movl $0x11, %eax /* an 8259 half set up */
	outb %al, $0x20
	movl $0xc0000082, %ecx /* LSTAR */
	movl $0x12345678, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x277, %ecx /* PAT */
	movl $0x06060606, %eax
	movl %eax, %edx
	wrmsr
	movl $0x200, %ecx /* MTRRs: PHYSBASE0, FIX4K_F8000, DEF_TYPE with the fixed ones */
	movl $0xe0000006, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x26f, %ecx
	movl $0x05050505, %eax
	wrmsr
	movl $0x2ff, %ecx
	movl $0xc06, %eax
	wrmsr
	movl $0x1b, %ecx /* APIC_BASE: x2APIC */
	rdmsr
	orl $0xc00, %eax
	wrmsr
	movq %cr4, %rax
	orq $0x600, %rax /* OSFXSR, OSXMMEXCPT */
	movq %rax, %cr4
	movl $0x300000, %edx
	movl $0x55, %eax
	movl %eax, (%rdx)
	movdqu (%rdx), %xmm3
	movq %rax, %dr0
	pushq $0
	pushq $0
	lidt (%rsp)
	ud2

	.globl guest_after_reset
guest_after_reset: /* what is left of that */
	movl $0xc0000082, %ecx
	rdmsr
	SAY
	movl $0x277, %ecx
	rdmsr
	SAY
	movl $0x200, %ecx
	rdmsr
	SAY
	movl $0x26f, %ecx
	rdmsr
	SAY
	movl $0x2ff, %ecx
	rdmsr
	SAY
	movl $0x1b, %ecx
	rdmsr
	andl $0xc00, %eax
	SAY
	movl $LAPIC + 0x320, %edx
	movl (%rdx), %eax
	SAY
	STORE(IOAPIC, 0x10 + 2 * 5)
	movl $IOAPIC + 0x10, %edx
	movl (%rdx), %eax
	SAY
	movq %dr0, %rax
	SAY
	movq %cr4, %rax
	SAY
	movq %cr4, %rax
	orq $0x200, %rax
	movq %rax, %cr4
	movl $0x300000, %edx
	movdqu %xmm3, (%rdx)
	movl (%rdx), %eax
	SAY
	STOP

	.globl guest_hlt_forever
guest_hlt_forever:
	SAY_THIS(0xa17)
1:	cli
	hlt
	jmp 1b

	.globl guest_spin
guest_spin:
	SAY_THIS(0x591)
1:	jmp 1b

	.globl guest_counts
guest_counts: /* RBX times: count in from a port, and out again */
	xorl %ecx, %ecx
1:	inl $0x84, %eax
	addl %eax, %ecx
	movl %ecx, %eax
	outl %eax, $0x84
	decq %rbx
	jnz 1b
	movl %ecx, %eax
	SAY
	STOP

	.globl guest_cpuid
guest_cpuid: /* EAX to EDX for the leaf in EAX, ECX */
	cpuid
	SAY
	movl %ebx, %eax
	SAY
	movl %ecx, %eax
	SAY
	movl %edx, %eax
	SAY
	STOP

guests_end:
	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guests: the Image header, where CPUs enter, the exception vectors, and the ways to EL0
 * and back. guest.h has the structs; the offsets are checked in guest.c.
 */
#define CPU_FRAME      0
#define CPU_STACK      8
#define CPU_MAIN       16
#define CPU_EL0_SP     24
#define FRAME_SIZE     4096
#define FRAME_SP_EL0   248
#define FRAME_SP_EL1   256
#define FRAME_ELR      264
#define FRAME_SPSR     272
#define FRAME_ESR      280
#define FRAME_FAR      288
#define FRAME_VECTOR   296

/* The header that Linux, Documentation/arch/arm64/booting.rst, section 4, describes. */
	.section .head, "ax"
	.globl image_head
image_head:
	b	start
	.long	0
	.quad	0x200000	/* text_offset */
	.quad	image_size
	.quad	2		/* little endian, 4 KiB pages */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

	.text
start:
	adrp	x1, bss_start
	add	x1, x1, :lo12:bss_start
	adrp	x2, bss_end
	add	x2, x2, :lo12:bss_end
1:	stp	xzr, xzr, [x1], #16
	cmp	x1, x2
	b.lo	1b
	adrp	x1, boot_dtb
	str	x0, [x1, :lo12:boot_dtb]
	adrp	x0, cpus
	add	x0, x0, :lo12:cpus
	b	enter

/* Where PSCI CPU_ON starts a CPU; x0 is its struct cpu. */
	.globl secondary_start
secondary_start:
enter:
	msr	daifset, #15
	msr	spsel, #1
	msr	tpidr_el1, x0
	adrp	x1, vectors
	add	x1, x1, :lo12:vectors
	msr	vbar_el1, x1
	ldr	x2, [x0, #CPU_STACK]
	cbnz	x2, 1f
	/* The first CPU's struct is not filled in yet. */
	adrp	x2, boot_stack_end
	add	x2, x2, :lo12:boot_stack_end
1:	mov	sp, x2
	isb
	ldr	x1, [x0, #CPU_MAIN]
	cbz	x1, boot_main
	br	x1

/*
 * Vectors. x0 waits in TPIDRRO_EL0, which nothing else uses, while the frame is found: everything
 * is saved without using the stack, so that a bad SP can be tested too.
 */
	.section .vectors, "ax"
	.balign	2048
	.globl vectors
vectors:
	.macro vector n
	.balign	128
	msr	tpidrro_el0, x0
	mrs	x0, tpidr_el1
	ldr	x0, [x0, #CPU_FRAME]
	str	x1, [x0, #8]
	mov	x1, #\n
	b	exception_entry
	.endm
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vector	\n
	.endr

	.balign 128
exception_entry:
	str	x1, [x0, #FRAME_VECTOR]
	mrs	x1, tpidrro_el0
	str	x1, [x0]
	stp	x2, x3, [x0, #16]
	stp	x4, x5, [x0, #32]
	stp	x6, x7, [x0, #48]
	stp	x8, x9, [x0, #64]
	stp	x10, x11, [x0, #80]
	stp	x12, x13, [x0, #96]
	stp	x14, x15, [x0, #112]
	stp	x16, x17, [x0, #128]
	stp	x18, x19, [x0, #144]
	stp	x20, x21, [x0, #160]
	stp	x22, x23, [x0, #176]
	stp	x24, x25, [x0, #192]
	stp	x26, x27, [x0, #208]
	stp	x28, x29, [x0, #224]
	mrs	x1, sp_el0
	stp	x30, x1, [x0, #240]
	mov	x1, sp
	mrs	x2, elr_el1
	stp	x1, x2, [x0, #FRAME_SP_EL1]
	mrs	x1, spsr_el1
	mrs	x2, esr_el1
	stp	x1, x2, [x0, #FRAME_SPSR]
	mrs	x1, far_el1
	str	x1, [x0, #FRAME_FAR]
	/* The handler's stack is the rest of the frame; the next frame is for a nested exception. */
	mov	x19, x0
	mrs	x20, tpidr_el1
	add	x1, x0, #FRAME_SIZE
	str	x1, [x20, #CPU_FRAME]
	mov	sp, x1
	bl	exception
	msr	daifset, #15
	mov	x0, x19
	str	x0, [x20, #CPU_FRAME]
	ldp	x1, x2, [x0, #FRAME_SP_EL1]
	mov	sp, x1
	msr	elr_el1, x2
	ldr	x1, [x0, #FRAME_SPSR]
	msr	spsr_el1, x1
	ldp	x30, x1, [x0, #240]
	/* SP_EL0 may be misaligned: MSR does not mind. */
	msr	sp_el0, x1
	ldp	x2, x3, [x0, #16]
	ldp	x4, x5, [x0, #32]
	ldp	x6, x7, [x0, #48]
	ldp	x8, x9, [x0, #64]
	ldp	x10, x11, [x0, #80]
	ldp	x12, x13, [x0, #96]
	ldp	x14, x15, [x0, #112]
	ldp	x16, x17, [x0, #128]
	ldp	x18, x19, [x0, #144]
	ldp	x20, x21, [x0, #160]
	ldp	x22, x23, [x0, #176]
	ldp	x24, x25, [x0, #192]
	ldp	x26, x27, [x0, #208]
	ldp	x28, x29, [x0, #224]
	ldp	x0, x1, [x0]
	eret

	.text
/*
 * void el0_enter(u64 pc, u64 sp, u64 spsr, const u64 args[4]): returns when an exception from there
 * made exception() go to el0_left.
 */
	.globl el0_enter
el0_enter:
	stp	x29, x30, [sp, #-96]!
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	mrs	x4, tpidr_el1
	mov	x5, sp
	str	x5, [x4, #CPU_EL0_SP]
	/* An interrupt between here and ERET would take these registers. */
	msr	daifset, #15
	msr	elr_el1, x0
	msr	sp_el0, x1
	msr	spsr_el1, x2
	mov	x4, x3
	ldp	x0, x1, [x4]
	ldp	x2, x3, [x4, #16]
	eret

	.globl el0_left
el0_left:
	mrs	x4, tpidr_el1
	ldr	x5, [x4, #CPU_EL0_SP]
	mov	sp, x5
	ldp	x19, x20, [sp, #16]
	ldp	x21, x22, [sp, #32]
	ldp	x23, x24, [sp, #48]
	ldp	x25, x26, [sp, #64]
	ldp	x27, x28, [sp, #80]
	ldp	x29, x30, [sp], #96
	ret

	.bss
	.balign	16
	.space	16384
boot_stack_end:
	.globl boot_dtb
boot_dtb:
	.quad	0

	.section .el0.data, "aw", @nobits
	.balign	4096
	.globl el0_stack, el0_data
el0_stack:
	.space	4096
el0_data:
	.space	4 * 4096

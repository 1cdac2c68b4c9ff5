/* SPDX-License-Identifier: MIT */
/*
 * Where the kernel begins, and where exceptions do.
 *
 * The loader reads the header, puts the image text_offset behind the start of memory, and starts one
 * CPU at its first byte in EL1, with the MMU and interrupts off and x0 = the address of the device
 * tree (Linux, Documentation/arch/arm64/booting.rst, sections 2 to 4).
 *
 * The kernel runs on SP_EL0, and exceptions on SP_EL1 (DDI0487 D1.3.2, "EL1t"): an exception because
 * the kernel's stack is full still has room. One that comes from SP_EL1 is a fault in the handler.
 */
#define FRAME_SIZE 288	/* struct frame in trap.c, aligned as SP must be */

	.section .head, "ax"
	.globl	start
start:
	b	1f
	.long	0
	.quad	0x200000	/* text_offset: kernel_base in meson.build */
	.quad	image_size
	.quad	2		/* little endian, 4 KiB pages */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

1:	msr	daifset, #15
	msr	spsel, #1
	adrp	x1, trap_stack_top
	add	x1, x1, :lo12:trap_stack_top
	mov	sp, x1
	msr	spsel, #0
	adrp	x1, stack_top
	add	x1, x1, :lo12:stack_top
	mov	sp, x1
	adrp	x1, vectors
	add	x1, x1, :lo12:vectors
	msr	vbar_el1, x1
	isb
	adrp	x1, bss_start
	add	x1, x1, :lo12:bss_start
	adrp	x2, bss_end
	add	x2, x2, :lo12:bss_end
2:	cmp	x1, x2
	b.hs	3f
	stp	xzr, xzr, [x1], #16
	b	2b
3:	mov	x1, x0		/* kernel_main(CPU, tree) */
	mov	x0, #0
	bl	kernel_main

/* D1.3.1.4: 4 ways to come here, of 4 kinds each, 128 bytes for each. */
	.balign	2048
vectors:
	.set	n, 0
	.rept	16
	.balign	128
	sub	sp, sp, #FRAME_SIZE
	stp	x0, x1, [sp]
	mov	x0, #n
	b	save
	.set	n, n + 1
	.endr

save:
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x1, sp_el0
	stp	x30, x1, [sp, #240]
	mrs	x1, elr_el1
	mrs	x2, spsr_el1
	stp	x1, x2, [sp, #256]
	str	x0, [sp, #272]
	mov	x0, sp
	bl	trap

	/* Only interrupts return, and they never come inside an exception. */
	ldp	x1, x2, [sp, #256]
	msr	elr_el1, x1
	msr	spsr_el1, x2
	ldr	x30, [sp, #240]
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x19, [sp, #144]
	ldp	x20, x21, [sp, #160]
	ldp	x22, x23, [sp, #176]
	ldp	x24, x25, [sp, #192]
	ldp	x26, x27, [sp, #208]
	ldp	x28, x29, [sp, #224]
	ldp	x0, x1, [sp]
	add	sp, sp, #FRAME_SIZE
	eret

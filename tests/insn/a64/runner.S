/* SPDX-License-Identifier: MIT */
/*
 * The runner's way into and out of the tested code, with every register (struct insn_state).
 */
#define SP_	248
#define NZCV	264
#define TPIDR	272
#define FPCR	280
#define FPSR	284
#define V	288

	.text
	.globl _start
_start:
	bl	runner_main
	brk	#0

/* void enter(const struct insn_state *in, uint64_t entry): returns when the code is done */
	.globl enter
enter:
	adrp	x2, saved
	add	x2, x2, :lo12:saved
	stp	x19, x20, [x2]
	stp	x21, x22, [x2, #16]
	stp	x23, x24, [x2, #32]
	stp	x25, x26, [x2, #48]
	stp	x27, x28, [x2, #64]
	stp	x29, x30, [x2, #80]
	mov	x3, sp
	str	x3, [x2, #96]

	.irp	i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \
		16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	ldr	q\i, [x0, #(V + \i * 16)]
	.endr
	ldr	w3, [x0, #FPCR]
	msr	fpcr, x3
	ldr	w3, [x0, #FPSR]
	msr	fpsr, x3
	ldr	x3, [x0, #NZCV]
	msr	nzcv, x3
	ldr	x3, [x0, #TPIDR]
	msr	tpidr_el0, x3
	ldr	x3, [x0, #SP_]
	mov	sp, x3
	clrex
	mov	x30, x1			/* the slot's first word loads the real X30 */
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
	br	x30

/* The end of a slot's code jumps here, with the tested X0 in TPIDR_EL0. */
	.globl	finish
finish:
	adrp	x0, outcome
	add	x0, x0, :lo12:outcome
	str	x1, [x0, #8]
	mrs	x1, tpidr_el0
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
	str	x30, [x0, #240]
	mov	x1, sp
	str	x1, [x0, #SP_]
	mrs	x1, nzcv
	str	x1, [x0, #NZCV]
	mrs	x1, fpcr
	str	w1, [x0, #FPCR]
	mrs	x1, fpsr
	str	w1, [x0, #FPSR]
	.irp	i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \
		16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	str	q\i, [x0, #(V + \i * 16)]
	.endr

/* void leave(void): return from enter(), also out of a signal handler */
	.globl	leave
leave:
	adrp	x2, saved
	add	x2, x2, :lo12:saved
	ldp	x19, x20, [x2]
	ldp	x21, x22, [x2, #16]
	ldp	x23, x24, [x2, #32]
	ldp	x25, x26, [x2, #48]
	ldp	x27, x28, [x2, #64]
	ldp	x29, x30, [x2, #80]
	ldr	x3, [x2, #96]
	mov	sp, x3
	ret

	.bss
	.balign	16
saved:
	.skip	112

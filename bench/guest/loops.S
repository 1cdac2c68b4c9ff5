/* SPDX-License-Identifier: MIT */
/*
 * Loops over one kind of instruction each: x0 is how often, x1 an argument. What one turn of a
 * loop counts as is in micro.c; each ends with SUBS and B.NE.
 */
#include "micro.h"

	.text

	.macro	bench name
	.p2align 6
	.globl	\name
\name:
	.endm

	.macro	again label=1b
	subs	x0, x0, #1
	b.ne	\label
	ret
	.endm

/* What compilers make of integer code: 30 instructions, 4 of them accesses to memory. */
bench b_mix
	mov	x2, #1
	mov	x3, #7
	mov	x4, #0
	mov	x5, x1
1:	ldr	x6, [x1, #8]
	add	x2, x2, x6
	eor	x3, x3, x2, lsr #7
	and	x7, x3, #0xff
	lsl	x8, x7, #3
	ubfx	x9, x2, #4, #9
	ldrb	w10, [x1, x7]
	add	w10, w10, #1
	strb	w10, [x1, x7]
	cmp	x9, #100
	b.hi	2f
	add	x4, x4, #3
2:	csel	x11, x2, x3, lo
	orr	x4, x4, x11
	sub	x12, x4, x8
	madd	x2, x12, x3, x2
	tst	x12, #1
	cset	w13, ne
	add	x4, x4, w13, uxtw
	bic	x3, x3, x9, lsl #2
	ror	x3, x3, #13
	str	x4, [x5, #16]
	mov	x14, x4
	asr	x14, x14, #5
	sxtw	x14, w14
	cbz	x14, 3f
	add	x3, x3, x14
3:	mvn	x15, x3
	subs	x0, x0, #1
	b.ne	1b
	ret

bench b_alu
	mov	x2, #1
	mov	x3, #3
1:	.rept	16
	add	x2, x2, x3
	eor	x2, x2, x3, lsl #1
	.endr
	again

bench b_flags
	mov	x2, #1
	mov	x3, #3
1:	.rept	8
	adds	x2, x2, x3
	adc	x3, x3, xzr
	cmp	x2, x3
	csinc	x2, x2, x3, hi
	.endr
	again

bench b_mul
	mov	x2, #3
	mov	x3, #5
1:	.rept	16
	madd	x2, x2, x3, x3
	.endr
	again

bench b_div
	mov	x2, #-1
	mov	x3, #1
1:	.rept	16
	udiv	x2, x2, x3
	.endr
	again

bench b_nottaken
1:	.rept	16
	cbz	x0, 2f
	.endr
	again
2:	ret

bench b_taken
1:	.rept	16
	cbnz	x0, 2f
	nop
2:
	.endr
	again

bench b_call
	mov	x9, x30
1:	.rept	8
	bl	2f
	.endr
	subs	x0, x0, #1
	b.ne	1b
	ret	x9
2:	ret

bench b_call_far
	mov	x9, x30
1:	.rept	8
	bl	far_ret
	.endr
	subs	x0, x0, #1
	b.ne	1b
	ret	x9

/* 16 places, each jumping to the next through a table */
bench b_indirect
	ldr	x2, =indirect_table
0:	.set	place, 0
	.rept	16
	ldr	x3, [x2, #8 * place]
	br	x3
	.set	place, place + 1
	.endr
indirect_end:
	subs	x0, x0, #1
	b.ne	0b
	ret
	.ltorg

/* One jump with 16 targets in no simple order, as in an interpreter: 4 instructions for each */
bench b_dispatch
	ldr	x2, =dispatch_order
	ldr	x3, =dispatch_table
	mov	x4, #0
dispatch:
	ldrb	w5, [x2, x4]
	add	x4, x4, #1
	ldr	x6, [x3, x5, lsl #3]
	br	x6
dispatch_targets:
	.rept	15
	b	dispatch
	.endr
	subs	x0, x0, #1
	mov	x4, #0
	b.ne	dispatch
	ret
	.ltorg

/* x1: a ring of pointers */
bench b_chase
1:	.rept	16
	ldr	x1, [x1]
	.endr
	again

bench b_load
1:	.rept	8
	ldr	x2, [x1, #8]
	ldr	w3, [x1, #24]
	.endr
	again

bench b_store
1:	.rept	8
	str	x0, [x1, #8]
	str	w0, [x1, #24]
	.endr
	again

/* x1: 4 KiB, copied to the 4 KiB behind it */
bench b_copy
1:	mov	x2, x1
	add	x3, x1, #4096
	mov	x4, #64
2:	ldp	x5, x6, [x2]
	ldp	x7, x8, [x2, #16]
	ldp	x9, x10, [x2, #32]
	ldp	x11, x12, [x2, #48]
	add	x2, x2, #64
	stp	x5, x6, [x3]
	stp	x7, x8, [x3, #16]
	stp	x9, x10, [x3, #32]
	stp	x11, x12, [x3, #48]
	add	x3, x3, #64
	subs	x4, x4, #1
	b.ne	2b
	again

bench b_copy_neon
1:	mov	x2, x1
	add	x3, x1, #4096
	mov	x4, #64
2:	ldp	q0, q1, [x2], #32
	ldp	q2, q3, [x2], #32
	stp	q0, q1, [x3], #32
	stp	q2, q3, [x3], #32
	subs	x4, x4, #1
	b.ne	2b
	again

bench b_set
1:	mov	x2, x1
	mov	x4, #64
2:	stp	xzr, xzr, [x2]
	stp	xzr, xzr, [x2, #16]
	stp	xzr, xzr, [x2, #32]
	stp	xzr, xzr, [x2, #48]
	add	x2, x2, #64
	subs	x4, x4, #1
	b.ne	2b
	again

bench b_zva
	mrs	x5, dczid_el0
	and	x5, x5, #15
	mov	x6, #4
	lsl	x5, x6, x5		// bytes in a block
1:	mov	x2, x1
	add	x3, x1, #4096
2:	dc	zva, x2
	add	x2, x2, x5
	cmp	x2, x3
	b.lo	2b
	again

/* One load from each page of PAGES */
bench b_pages
1:	ldr	x2, =PAGES
	mov	x3, #PAGES_SIZE / 4096
2:	ldr	x4, [x2]
	add	x2, x2, #4096
	subs	x3, x3, #1
	b.ne	2b
	again

bench b_abort
	ldr	x1, =UNMAPPED
1:	ldr	x2, [x1]
	again

bench b_mmio
	ldr	x1, =UART
1:	.rept	4
	ldr	w2, [x1, #0x18]		// UARTFR
	.endr
	again
	.ltorg

bench b_cntvct
1:	.rept	8
	mrs	x2, cntvct_el0
	.endr
	again

bench b_sysreg
1:	.rept	8
	mrs	x2, tpidr_el1
	msr	tpidr_el1, x2
	.endr
	again

bench b_daif
1:	.rept	8
	msr	daifclr, #2
	msr	daifset, #2
	.endr
	again

bench b_exclusive
1:	.rept	8
2:	ldxr	x2, [x1]
	add	x2, x2, #1
	stxr	w3, x2, [x1]
	cbnz	w3, 2b
	.endr
	again

	.arch	armv8.1-a+crypto
bench b_ldadd
	mov	x2, #1
1:	.rept	8
	ldadd	x2, x3, [x1]
	.endr
	again

/* A turn: the other ASID, a load from each of 16 pages, and the same back */
bench b_asid
	ldr	x1, =switched_ttbr
	ldp	x2, x3, [x1]
1:	msr	ttbr0_el1, x3
	isb
	ldr	x1, =SWITCHED
	.rept	16
	ldr	x4, [x1]
	add	x1, x1, #4096
	.endr
	msr	ttbr0_el1, x2
	isb
	ldr	x1, =SWITCHED
	.rept	16
	ldr	x4, [x1]
	add	x1, x1, #4096
	.endr
	again
	.ltorg

/* Drop one page's translation and use it again */
bench b_tlbi
	ldr	x1, =PAGES
	lsr	x2, x1, #12
1:	tlbi	vaae1is, x2
	dsb	ish
	isb
	ldr	x3, [x1]
	again
	.ltorg

/* Write two instructions, make them visible, call them. */
bench b_newcode
	mov	x9, x30
	ldr	x1, =new_code
	ldr	w2, =0xd280000a		// movz x10, #0, which becomes movz x10, #n
1:	bfi	w2, w0, #5, #16
	str	w2, [x1]
	dc	cvau, x1
	dsb	ish
	ic	ivau, x1
	dsb	ish
	isb
	blr	x1
	subs	x0, x0, #1
	b.ne	1b
	ret	x9
	.ltorg

bench b_fadd
	fmov	d0, #1.0
	fmov	d1, #1.5
1:	.rept	16
	fadd	d0, d0, d1
	.endr
	again

bench b_fmul
	fmov	d0, #1.0
	fmov	d1, #1.0
1:	.rept	16
	fmul	d0, d0, d1
	.endr
	again

bench b_fmadd
	fmov	d0, #1.0
	fmov	d1, #0.5
	fmov	d2, #1.25
1:	.rept	16
	fmadd	d0, d0, d1, d2
	.endr
	again

bench b_fdiv
	fmov	d0, #1.5
	fmov	d1, #1.0
1:	.rept	8
	fdiv	d0, d0, d1
	fsqrt	d2, d0
	.endr
	again

bench b_fcvt
	mov	x2, #12345
1:	.rept	4
	scvtf	d0, x2
	fcvt	s1, d0
	fcvt	d0, s1
	fcvtzs	x2, d0
	.endr
	again

bench b_neon_int
	movi	v0.4s, #1
	movi	v1.4s, #3
	movi	v2.16b, #5
1:	.rept	4
	add	v0.4s, v0.4s, v1.4s
	mul	v2.4s, v2.4s, v1.4s
	eor	v0.16b, v0.16b, v2.16b
	ushr	v2.2d, v2.2d, #3
	.endr
	again

bench b_neon_fp
	fmov	v0.4s, #1.0
	fmov	v1.4s, #1.0
	fmov	v2.2d, #1.0
	fmov	v3.2d, #0.5
1:	.rept	4
	fadd	v0.4s, v0.4s, v1.4s
	fmul	v1.4s, v1.4s, v1.4s
	fmla	v2.2d, v3.2d, v3.2d	// with the next, towards 0.25: never subnormal
	fmul	v2.2d, v2.2d, v3.2d
	.endr
	again

bench b_neon_mix
	movi	v0.16b, #1
	movi	v1.16b, #3
1:	.rept	2
	tbl	v2.16b, {v0.16b}, v1.16b
	ext	v0.16b, v0.16b, v2.16b, #5
	zip1	v3.8h, v0.8h, v2.8h
	cmeq	v4.16b, v3.16b, v1.16b
	uaddlv	h5, v4.16b
	umov	w2, v5.h[0]
	dup	v1.16b, w2
	rev64	v0.16b, v0.16b
	.endr
	again

bench b_aes
	movi	v0.16b, #1
	movi	v1.16b, #3
1:	.rept	8
	aese	v0.16b, v1.16b
	aesmc	v0.16b, v0.16b
	.endr
	again

/* As b_indirect, but each place is in a page of its own */
	.p2align 12
bench b_indirect_far
	ldr	x2, =far_table
3:	ldr	x3, [x2]
	br	x3
	.ltorg
	.set	place, 1
	.irp	page, 1, 2, 3, 4, 5, 6, 7
	.p2align 12
	.skip	64 * \page
far_\page:
	ldr	x3, [x2, #8 * \page]
	br	x3
	.endr
	.p2align 12
far_8:	subs	x0, x0, #1
	b.ne	3b
	ret
	.p2align 12
	.skip	512
far_ret:
	ret

	.p2align 12
new_code:
	nop
	ret
	.p2align 12

	.section .rodata
	.p2align 3
indirect_table:
	.set	place, 1
	.rept	16
	.quad	b_indirect_first + 8 * place
	.set	place, place + 1
	.endr
	.set	b_indirect_first, indirect_end - 16 * 8
dispatch_table:
	.set	place, 0
	.rept	16
	.quad	dispatch_targets + 4 * place
	.set	place, place + 1
	.endr
far_table:
	.irp	page, 1, 2, 3, 4, 5, 6, 7, 8
	.quad	far_\page
	.endr
/* The last, 15, ends the turn. */
dispatch_order:
	.byte	3, 9, 0, 12, 7, 1, 14, 5, 10, 2, 8, 13, 4, 11, 6, 9, 2, 2, 7, 0, 11, 5, 3, 14, 1, 8
	.byte	12, 6, 10, 4, 13, 15

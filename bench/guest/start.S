/* SPDX-License-Identifier: MIT */
/*
 * The micro-benchmarks' start at EL1: header, stack, MMU, exception vectors, the way to EL0 and
 * back, and power-off. DDI0487 is the Arm Architecture Reference Manual.
 */
#include "micro.h"

	.section .head, "ax"

/* Linux Documentation/arm64/booting.rst, 4: the header of an Image */
	.globl	_start
_start:
	b	1f
	.word	0
	.quad	0			// text_offset
	.quad	_end - _start		// image_size
	.quad	0xa			// flags: little endian, 4 KiB pages, anywhere in memory
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.word	0

1:	mov	x0, #3 << 20		// CPACR_EL1.FPEN: no traps
	msr	cpacr_el1, x0
	isb
	adrp	x0, stack_top
	mov	sp, x0
	adrp	x0, _start
	bl	mmu_tables		// returns TTBR0_EL1
	msr	ttbr0_el1, x0
	ldr	x0, =MAIR
	msr	mair_el1, x0
	ldr	x0, =TCR
	msr	tcr_el1, x0
	tlbi	vmalle1
	dsb	nsh
	isb
	ldr	x0, =SCTLR
	msr	sctlr_el1, x0
	isb
	ldr	x0, =2f			// from here on, where it was linked
	br	x0
2:	ldr	x0, =stack_top
	mov	sp, x0
	ldr	x0, =vectors
	msr	vbar_el1, x0
	isb
	bl	main
	/* falls through */

	.globl	power_off
power_off:
	ldr	w0, =0x84000008		// PSCI (DEN0022) SYSTEM_OFF
	hvc	#0
3:	wfi
	b	3b
	.ltorg

	.text

/* DDI0487 D1.3.1: a vector table; of its 16 entries, two do something and the others report. */
	.macro	vector to
	.p2align 7
	b	\to
	.endm

	.p2align 11
vectors:
	.rept	4
	vector	unexpected
	.endr
	vector	from_el1
	.rept	3
	vector	unexpected
	.endr
	.p2align 7
	/* From EL0: SVC #0 returns at once, SVC #1 ends user(). */
	mrs	x9, esr_el1
	tst	x9, #0xffff
	b.ne	user_end
	eret
	.rept	7
	vector	unexpected
	.endr

/* An access to nothing is skipped; ESR_EL1.EC is 0x25 for a data abort from the same level. */
from_el1:
	mrs	x9, esr_el1
	lsr	x9, x9, #26
	cmp	x9, #0x25
	b.ne	unexpected
	mrs	x9, far_el1
	lsr	x9, x9, #32
	cmp	x9, #UNMAPPED >> 32
	b.ne	unexpected
	mrs	x9, elr_el1
	add	x9, x9, #4
	msr	elr_el1, x9
	eret

unexpected:
	mrs	x0, esr_el1
	mrs	x1, elr_el1
	mrs	x2, far_el1
	ldr	x3, =stack_top
	mov	sp, x3
	bl	report_exception
	b	power_off

/* user(n): runs n SVCs at EL0. */
	.globl	b_svc
b_svc:
	stp	x29, x30, [sp, #-16]!
	ldr	x9, =USER_CODE
	ldr	x10, =user_code
	and	x10, x10, #0xfff
	add	x9, x9, x10
	msr	elr_el1, x9
	mov	x9, #0x3c0		// SPSR_EL1: EL0, interrupts masked
	msr	spsr_el1, x9
	eret
user_end:
	ldp	x29, x30, [sp], #16
	ret

	.p2align 6
	.globl	user_code
user_code:
	svc	#0
	subs	x0, x0, #1
	b.ne	user_code
	svc	#1

	.bss
	.p2align 12
	.skip	16384
stack_top:
	.skip	4096

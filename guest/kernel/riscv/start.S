/* SPDX-License-Identifier: MIT */
/*
 * Where the kernel begins, and where traps do.
 *
 * The firmware starts one hart here in S-mode, with translation and interrupts off, a0 = its number
 * and a1 = the address of the device tree (Linux, Documentation/arch/riscv/boot.rst, "Register
 * state", which every RISC-V firmware keeps to).
 *
 * A trap (volume II, "Supervisor Trap Vector Base Address") changes no register of the program but
 * pc, and has no stack. sscratch keeps the address of one for it, so that a trap because the
 * kernel's stack is full still has room. While a trap is handled, sscratch is 0; a trap then is a
 * fault in the handler, which goes on using the stack it has.
 */
#if __riscv_xlen == 64
#define SAVE sd
#define LOAD ld
#define W    8
#else
#define SAVE sw
#define LOAD lw
#define W    4
#endif
#define FRAME_SIZE ((36 * W + 15) & ~15)	/* struct frame in trap.c, aligned as the ABI wants */

	.section .head, "ax"
	.globl	start
start:
	lla	sp, stack_top
	lla	t0, bss_start
	lla	t1, bss_end
1:	bgeu	t0, t1, 2f
	SAVE	zero, (t0)
	addi	t0, t0, W
	j	1b
2:	lla	t0, trap_stack_top
	csrw	sscratch, t0
	lla	t0, trap_entry
	csrw	stvec, t0
	csrw	sie, zero
	call	kernel_main

	.balign	4	/* the lowest two bits of stvec are a mode */
trap_entry:
	csrrw	sp, sscratch, sp
	bnez	sp, 1f
	csrrw	sp, sscratch, sp
1:	addi	sp, sp, -FRAME_SIZE
	SAVE	x1, 1 * W(sp)
	.irp	n, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	SAVE	x\n, \n * W(sp)
	.endr
	csrr	t0, sscratch	/* the interrupted sp; or 0, inside a trap */
	bnez	t0, 2f
	addi	t0, sp, FRAME_SIZE
	SAVE	zero, 0 * W(sp)
	j	3f
2:	li	t1, 1
	SAVE	t1, 0 * W(sp)
3:	SAVE	t0, 2 * W(sp)
	csrw	sscratch, zero
	csrr	t0, sepc
	csrr	t1, sstatus
	csrr	t2, scause
	csrr	t3, stval
	SAVE	t0, 32 * W(sp)
	SAVE	t1, 33 * W(sp)
	SAVE	t2, 34 * W(sp)
	SAVE	t3, 35 * W(sp)
	mv	a0, sp
	call	trap

	/* Only interrupts return, and they never come inside a trap. */
	LOAD	t0, 32 * W(sp)
	LOAD	t1, 33 * W(sp)
	csrw	sepc, t0
	csrw	sstatus, t1
	addi	t0, sp, FRAME_SIZE
	csrw	sscratch, t0
	LOAD	x1, 1 * W(sp)
	.irp	n, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	LOAD	x\n, \n * W(sp)
	.endr
	LOAD	sp, 2 * W(sp)
	sret

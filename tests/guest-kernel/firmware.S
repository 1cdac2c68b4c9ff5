/* SPDX-License-Identifier: MIT */
/*
 * The least firmware that the kernel can live with on QEMU's 32-bit "virt" machine, for which
 * Debian has no OpenSBI: it starts the kernel in S-mode, and knows one SBI call, SRST, which it
 * makes a write to the test finisher (QEMU, docs/system/riscv/virt.rst).
 */
#define KERNEL     0x80200000
#define FINISHER   0x100000
#define POWER_OFF  0x5555
#define RESET      0x7777
#define SRST       0x53525354	/* SBI 2.0, chapter 10 */
#define NOT_SUPPORTED -2

	.globl	start
start:
	csrr	t0, mhartid
1:	beqz	t0, 2f
	wfi
	j	1b
2:	lla	t0, trap
	csrw	mtvec, t0
	li	t0, -1		/* all of memory (volume II, "Physical Memory Protection") */
	csrw	pmpaddr0, t0
	li	t0, 0x1f
	csrw	pmpcfg0, t0
	li	t0, 0xb1ff	/* all exceptions but the environment call from S-mode */
	csrw	medeleg, t0
	li	t0, 0x222	/* all supervisor interrupts */
	csrw	mideleg, t0
	li	t0, 7		/* cycle, time, instret */
	csrw	mcounteren, t0
	li	t0, 3 << 11	/* mstatus.MPP: S-mode */
	csrc	mstatus, t0
	li	t0, 1 << 11
	csrs	mstatus, t0
	li	t0, KERNEL
	csrw	mepc, t0
	mret			/* a0 and a1 are as QEMU has set them */

	.balign	4
trap:
	li	t0, SRST
	bne	a7, t0, 2f
	li	t1, FINISHER
	li	t0, POWER_OFF
	beqz	a0, 1f
	li	t0, RESET
1:	sw	t0, (t1)
	j	1b
2:	li	a0, NOT_SUPPORTED
	csrr	t0, mepc
	addi	t0, t0, 4
	csrw	mepc, t0
	mret

/* SPDX-License-Identifier: MIT */
/*
 * The runner's way into and out of the tested code, with every register (struct insn_state). Every
 * record ends in a signal.
 */
#define F	256
#define FCSR	520

#if __riscv_xlen == 64
#define LOAD	ld
#define STORE	sd
#else
#define LOAD	lw
#define STORE	sw
#endif

	.text
	.globl _start
_start:
	.option push
	.option norelax
	la	gp, __global_pointer$
	.option pop
	call	runner_main
	ebreak

/* void enter(const struct insn_state *in, unsigned long entry): returns by leave() */
	.globl	enter
enter:
	la	t0, saved
	STORE	ra, 0(t0)
	STORE	sp, 8(t0)
	STORE	gp, 16(t0)
	STORE	tp, 24(t0)
	STORE	s0, 32(t0)
	STORE	s1, 40(t0)
	.irp	i, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	STORE	s\i, (32 + \i * 8)(t0)
	.endr
	addi	t0, t0, 128
	sc.w	t1, t1, (t0)		/* no reservation is left */
	.irp	i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \
		16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	fld	f\i, (F + \i * 8)(a0)
	.endr
	lw	t0, FCSR(a0)
	fscsr	t0
	mv	x31, a1
	.irp	i, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, \
		16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	LOAD	x\i, (\i * 8)(a0)
	.endr
	LOAD	a0, 80(a0)
	jr	x31

/* The signal handler: what only the FPU knows is saved before any C code runs. */
	.globl	on_signal
on_signal:
	la	t0, outcome
	.irp	i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, \
		16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	fsd	f\i, (F + \i * 8)(t0)
	.endr
	frcsr	t1
	sw	t1, FCSR(t0)
	la	t0, saved
	LOAD	gp, 16(t0)
	j	on_signal_c

/* void leave(void): return from enter(), out of the signal handler */
	.globl	leave
leave:
	la	t0, saved
	LOAD	ra, 0(t0)
	LOAD	sp, 8(t0)
	LOAD	gp, 16(t0)
	LOAD	tp, 24(t0)
	LOAD	s0, 32(t0)
	LOAD	s1, 40(t0)
	.irp	i, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	LOAD	s\i, (32 + \i * 8)(t0)
	.endr
	ret

	.bss
	.balign	16
saved:
	.skip	144

/* SPDX-License-Identifier: MIT */
/*
 * A loop of integer instructions as compilers make them, for RISC-V of 32 and 64 bits, in M-mode on
 * QEMU's "virt" machine and hako's. Prints how many instructions it executed, and how long that took
 * in ticks of `time`, 100 ns; the shortest of several times. Then it powers off.
 */
	.equ	UART, 0x10000000
	.equ	FINISHER, 0x100000
	.equ	ROUNDS, 1000000
	.equ	TIMES, 5
	.equ	MTIME, 0x200bff8

	.section .start, "ax"
	.globl	_start
_start:	csrr	t0, mhartid
1:	bnez	t0, 1b
	la	s0, table
	li	s1, TIMES
	li	s2, -1			/* the shortest */
times:	li	s3, ROUNDS
	li	a0, 1
	li	a1, 7
	li	a2, 0
	li	s5, MTIME
	lw	s4, 0(s5)
begin:	lw	a3, 8(s0)
	add	a0, a0, a3
	srli	a4, a0, 7
	xor	a1, a1, a4
	andi	a5, a1, 255
	add	a6, s0, a5
	lbu	a7, 0(a6)
	addi	a7, a7, 1
	sb	a7, 0(a6)
	slli	t0, a5, 3
	sub	t1, a2, t0
	mul	t2, t1, a1
	add	a0, a0, t2
	sltu	t3, a0, a1
	bgeu	a0, a1, 2f		/* the two ways are equally long */
	addi	a2, a2, 3
	j	3f
2:	addi	a2, a2, 5
	nop
3:	or	a2, a2, t3
	sw	a2, 256(s0)
	lw	t4, 256(s0)
	srai	t4, t4, 5
	add	a1, a1, t4
	not	t5, a1
	xor	a2, a2, t5
	slli	t6, a1, 13
	or	a1, a1, t6
	addi	s3, s3, -1
	bnez	s3, begin
end:	lw	t0, 0(s5)
	sub	t0, t0, s4
	bgeu	t0, s2, 4f
	mv	s2, t0
4:	addi	s1, s1, -1
	bnez	s1, times

	la	a0, said
	call	print
	/* 28 on each way round: those from `begin` to `end`, less the two of the other way */
	li	a0, 28 * ROUNDS
	call	print_number
	mv	a0, s2
	call	print_number
	la	a0, line
	call	print
	li	t0, FINISHER
	li	t1, 0x5555		/* pass */
	sw	t1, 0(t0)
5:	j	5b

print:	li	t0, UART
6:	lbu	t1, 0(a0)
	beqz	t1, 7f
	sb	t1, 0(t0)
	addi	a0, a0, 1
	j	6b
7:	ret

/* A space, and a0 in decimal. */
print_number:
	la	t0, digits_end
	li	t1, 10
8:	remu	t2, a0, t1
	divu	a0, a0, t1
	addi	t2, t2, '0'
	addi	t0, t0, -1
	sb	t2, 0(t0)
	bnez	a0, 8b
	li	t2, ' '
	addi	t0, t0, -1
	sb	t2, 0(t0)
	mv	a0, t0
	j	print

	.data
	.balign	8
table:	.zero	512
	.zero	24
digits_end:
	.byte	0
said:	.asciz	"loop:"
line:	.asciz	"\n"

/* SPDX-License-Identifier: MIT */
/*
 * The smallest kernel that can be noticed: writes a byte to the UART (PL011, where it is on both
 * machines) with its first instructions, then powers off. Made as large as a real kernel by
 * bench/run, image_size included.
 */
	.section .head, "ax"
	.globl	_start
_start:
	b	1f
	.word	0
	.quad	0			// Linux Documentation/arm64/booting.rst, 4: text_offset
	.quad	_end - _start		// image_size
	.quad	0xa			// flags: little endian, 4 KiB pages, anywhere in memory
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.word	0
1:	mov	w2, #0x09000000
	mov	w3, #'!'
	str	w3, [x2]
	ldr	w0, =0x84000008		// PSCI (DEN0022) SYSTEM_OFF
	hvc	#0
	b	.
	.ltorg

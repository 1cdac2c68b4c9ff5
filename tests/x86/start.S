/* SPDX-License-Identifier: MIT */
/*
 * How the guest is entered: in 64-bit mode with the zero page in RSI, or with -DPVH in 32-bit
 * protected mode with the start info in EBX (src/boot/x86.h). For a bzImage the code comes behind
 * what would be its 32-bit entry, BZIMAGE_ENTRY_64 bytes long.
 */
	.section .start, "ax"
#ifdef BZIMAGE
	ud2
	.fill 0x200 - 2, 1, 0xcc
#endif
	.globl start
start:
#ifdef PVH
	movl	$stack_end, %esp
	movl	%ebx, %eax /* -mregparm=1 */
	call	guest
#else
	leaq	stack_end(%rip), %rsp
	movq	%rsi, %rdi
	call	guest
#endif
1:	hlt
	jmp	1b

#ifdef PVH
	.section .note.pvh, "a", @note
	.long	4, 4, 18
	.asciz	"Xen"
	.long	start
#endif

	.bss
	.balign 16
	.skip	16384
stack_end:

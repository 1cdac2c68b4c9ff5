/* SPDX-License-Identifier: MIT */
/*
 * Linux's system calls on x86-64, and where a process starts; the numbers are those of
 * arch/x86/entry/syscalls/syscall_64.tbl.
 */
enum {
	SYS_write = 1,
	SYS_close = 3,
	SYS_lseek = 8,
	SYS_pread64 = 17,
	SYS_pwrite64 = 18,
	SYS_getpid = 39,
	SYS_exit = 60,
	SYS_fsync = 74,
	SYS_reboot = 169,
	SYS_io_setup = 206,
	SYS_io_getevents = 208,
	SYS_io_submit = 209,
	SYS_clock_gettime = 228,
	SYS_openat = 257
};
enum { O_DIRECT = 0x4000 };

static long call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long res;

	__asm__ volatile("syscall"
			 : "=a"(res)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory", "cc");
	return res;
}

__asm__(".globl _start\n"
	"_start:\n"
	"	mov	%rsp, %rdi\n"
	"	xor	%ebp, %ebp\n"
	"	and	$-16, %rsp\n"
	"	call	start\n");

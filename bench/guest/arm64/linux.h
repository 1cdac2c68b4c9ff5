/* SPDX-License-Identifier: MIT */
/*
 * Linux's system calls on arm64, and where a process starts; the numbers are those of
 * include/uapi/asm-generic/unistd.h.
 */
enum {
	SYS_io_setup = 0,
	SYS_io_submit = 2,
	SYS_io_getevents = 4,
	SYS_openat = 56,
	SYS_close = 57,
	SYS_lseek = 62,
	SYS_write = 64,
	SYS_pread64 = 67,
	SYS_pwrite64 = 68,
	SYS_fsync = 82,
	SYS_exit = 93,
	SYS_clock_gettime = 113,
	SYS_reboot = 142,
	SYS_getpid = 172
};
enum { O_DIRECT = 0x10000 };

static long call(long nr, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
			 : "memory", "cc");
	return x0;
}

__asm__(".globl _start\n"
	"_start:\n"
	"	mov	x0, sp\n"
	"	mov	x29, xzr\n"
	"	bl	start\n");

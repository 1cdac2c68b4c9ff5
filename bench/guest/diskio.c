/* SPDX-License-Identifier: MIT */
/*
 * Measures the disk /dev/vda from inside Linux; runs as process 1 of an initramfs, after the
 * modules are loaded (bench/run makes it). Freestanding: nothing but system calls, in ARCH/linux.h.
 *
 * Each argument is TEST:COUNT:
 *
 *	read:MIB    reads that much from the start through the page cache, 1 MiB at a time
 *	write:MIB   writes so, then fsync
 *	dread:MIB, dwrite:MIB   the same with O_DIRECT
 *	rand:N      N reads of 4 KiB at random places, O_DIRECT, one after the other
 *	randq:N     the same, 16 in flight
 *	randqq:N    the same, 32 in flight
 *	randw:N     as rand, but writes
 *
 * and prints "diskio TEST BYTES NANOSECONDS"; then process 1 powers the machine off.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "linux.h"

#define MIB   (1 << 20)
#define BLOCK 4096
#define DEPTH 32

enum { AT_FDCWD = -100, O_RDWR = 2, SEEK_END = 2, CLOCK_MONOTONIC = 1 };

/* include/uapi/linux/aio_abi.h */
struct iocb {
	uint64_t data;
	uint32_t key, rw_flags;
	uint16_t opcode;
	int16_t priority;
	uint32_t fd;
	uint64_t buf, len;
	int64_t offset;
	uint64_t reserved;
	uint32_t flags, resfd;
};

struct io_event {
	uint64_t data, obj;
	int64_t res, res2;
};

static char buffer[MIB] __attribute__((aligned(BLOCK)));

static void say(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	call(SYS_write, 1, (long)s, (long)n, 0, 0);
}

static void say_number(uint64_t v)
{
	char text[24], *p = text + sizeof(text);

	*--p = '\0';
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	say(p);
}

static __attribute__((noreturn)) void power_off(void)
{
	/* include/uapi/linux/reboot.h: the two magic numbers and POWER_OFF */
	for (;;)
		call(SYS_reboot, (long)0xfee1dead, 672274793, 0x4321fedc, 0, 0);
}

static long check(long res, const char *what)
{
	if (res >= 0)
		return res;
	say("diskio: cannot ");
	say(what);
	say(": error ");
	say_number((uint64_t)-res);
	say("\n");
	power_off();
}

static uint64_t now(void)
{
	int64_t ts[2];

	call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)ts, 0, 0, 0);
	return (uint64_t)ts[0] * 1000000000 + (uint64_t)ts[1];
}

static uint64_t next_place(uint64_t *seed, uint64_t size)
{
	*seed = *seed * 6364136223846793005 + 1442695040888963407; /* Knuth's MMIX constants */
	return (*seed >> 24) % (size / BLOCK) * BLOCK;
}

static void sequential(int fd, uint64_t mib, bool write)
{
	for (uint64_t i = 0; i < mib; i++) {
		long n = call(write ? SYS_pwrite64 : SYS_pread64, fd, (long)buffer, MIB,
			      (long)(i * MIB), 0);

		check(n == MIB ? n : n < 0 ? n : -5, write ? "write" : "read");
	}
	if (write)
		check(call(SYS_fsync, fd, 0, 0, 0, 0), "flush");
}

static void one_by_one(int fd, uint64_t n, uint64_t size, bool write)
{
	uint64_t seed = 1;

	while (n--)
		check(call(write ? SYS_pwrite64 : SYS_pread64, fd, (long)buffer, BLOCK,
			   (long)next_place(&seed, size), 0),
		      write ? "write" : "read");
}

static void in_flight(int fd, uint64_t n, uint64_t size, int depth)
{
	struct iocb iocbs[DEPTH], *ready[DEPTH];
	struct io_event events[DEPTH];
	uint64_t seed = 1, started = 0, ended = 0;
	unsigned long context = 0;
	long idle = 0;

	check(call(SYS_io_setup, DEPTH, (long)&context, 0, 0, 0), "set up asynchronous I/O");
	for (int i = 0; i < depth; i++)
		ready[idle++] = &iocbs[i];
	while (ended < n) {
		long submit = idle, done;

		if ((uint64_t)submit > n - started)
			submit = (long)(n - started);
		for (long i = 0; i < submit; i++) {
			struct iocb *cb = ready[i];

			*cb = (struct iocb){ .data = (uint64_t)cb,
					     .fd = (uint32_t)fd,
					     .buf = (uint64_t)&buffer[(cb - iocbs) * BLOCK],
					     .len = BLOCK,
					     .offset = (int64_t)next_place(&seed, size) };
		}
		if (submit)
			check(call(SYS_io_submit, (long)context, submit, (long)ready, 0, 0),
			      "submit");
		started += (uint64_t)submit;
		done = check(call(SYS_io_getevents, (long)context, 1, DEPTH, (long)events, 0),
			     "wait");
		idle = 0;
		for (long i = 0; i < done; i++) {
			check(events[i].res == BLOCK ? 0 : -5, "read");
			ready[idle++] = (struct iocb *)events[i].data;
		}
		ended += (uint64_t)done;
	}
}

static bool is(const char *arg, const char *test)
{
	while (*test)
		if (*arg++ != *test++)
			return false;
	return *arg == ':';
}

static void run(const char *arg)
{
	uint64_t count = 0, size, start, bytes;
	const char *p = arg;
	int fd;

	while (*p && *p != ':')
		p++;
	while (*p && *++p >= '0' && *p <= '9')
		count = count * 10 + (uint64_t)(*p - '0');
	fd = (int)check(call(SYS_openat, AT_FDCWD, (long)"/dev/vda",
			     O_RDWR | (is(arg, "read") || is(arg, "write") ? 0 : O_DIRECT), 0, 0),
			"open /dev/vda");
	size = (uint64_t)check(call(SYS_lseek, fd, 0, SEEK_END, 0, 0), "seek");

	start = now();
	bytes = count * BLOCK;
	if (is(arg, "rand")) {
		one_by_one(fd, count, size, false);
	} else if (is(arg, "randw")) {
		one_by_one(fd, count, size, true);
	} else if (is(arg, "randq")) {
		in_flight(fd, count, size, DEPTH / 2);
	} else if (is(arg, "randqq")) {
		in_flight(fd, count, size, DEPTH);
	} else {
		bytes = count * MIB;
		sequential(fd, count, is(arg, "write") || is(arg, "dwrite"));
	}
	say("diskio ");
	while (*arg && *arg != ':') {
		const char letter[2] = { *arg++, '\0' };

		say(letter);
	}
	say(" ");
	say_number(bytes);
	say(" ");
	say_number(now() - start);
	say("\n");
	call(SYS_close, fd, 0, 0, 0, 0);
}

/* The compiler may want these. */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int c, size_t n)
{
	char *t = to;

	while (n--)
		*t++ = (char)c;
	return to;
}

/* The stack at a process's start: argc, argv[0], argv[1], ..., NULL */
void start(long *stack) __attribute__((noreturn));

void start(long *stack)
{
	char **argv = (char **)(stack + 1);

	for (int i = 0; i < MIB; i += BLOCK)
		buffer[i] = (char)(i >> 12);
	for (long i = 1; i < stack[0]; i++)
		run(argv[i]);
	if (call(SYS_getpid, 0, 0, 0, 0, 0) == 1)
		power_off();
	call(SYS_exit, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

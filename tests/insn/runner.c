/* SPDX-License-Identifier: MIT */
/*
 * The oracle's side of the instruction test: a freestanding Linux program of the guest's
 * architecture, run by QEMU's user mode (or natively on such a machine). It executes each record's
 * code with that record's registers and reports the registers afterwards; see record.h.
 *
 * Built without the C library and without floating point, so nothing here touches those registers
 * between a record's last instruction and their being saved.
 */
#include "record.h"

/* Linux on AArch64 and RISC-V: include/uapi/asm-generic/unistd.h */
enum {
	NR_READ = 63,
	NR_WRITE = 64,
	NR_EXIT = 93,
	NR_SIGALTSTACK = 132,
	NR_SIGACTION = 134,
	NR_MMAP = 222,
};

/* include/uapi/asm-generic/{signal,mman,siginfo}.h */
enum { SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGFPE = 8, SIGSEGV = 11 };
#define SA_SIGINFO 4UL
#define SA_ONSTACK 0x08000000UL
#define SA_NODEFER 0x40000000UL
enum { PROT_RW = 3, PROT_RWX = 7, MAP_PRIVATE_ANON_FIXED = 0x32 };

/* Where no record's SP can be by accident: the kernel would take that for a nested signal. */
#define HANDLER_STACK      0x5b3d1000UL
#define HANDLER_STACK_SIZE 0x10000UL

struct stack {
	void *sp;
	int flags;
	unsigned long size;
};
void enter(const struct insn_state *in, unsigned long entry);
_Noreturn void leave(void);
_Noreturn void runner_main(void);
void *memcpy(void *dst, const void *src, unsigned long n);
void *memset(void *dst, int c, unsigned long n);

/* What the record being run left behind. finish() stores to the start of it. */
extern struct insn_result outcome;
struct insn_result outcome __attribute__((aligned(16)));

static struct insn_record records[INSN_BATCH_MAX] __attribute__((aligned(16)));
static struct insn_result results[INSN_BATCH_MAX];

void *memcpy(void *dst, const void *src, unsigned long n)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	while (n >= 8) {
		*(volatile uint64_t *)(void *)d = *(const uint64_t *)(const void *)s;
		d += 8;
		s += 8;
		n -= 8;
	}
	for (; n; n--)
		*(volatile uint8_t *)d++ = *s++;
	return dst;
}

void *memset(void *dst, int c, unsigned long n)
{
	volatile uint8_t *d = dst;

	while (n--)
		*d++ = (uint8_t)c;
	return dst;
}

static long call(long nr, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
		 unsigned long e, unsigned long f);

static _Noreturn void quit(int code)
{
	for (;;)
		call(NR_EXIT, (unsigned long)code, 0, 0, 0, 0, 0);
}

/* Whole transfers; false at the end of the input. */
static int get(void *buf, unsigned long len)
{
	for (uint8_t *p = buf; len;) {
		long n = call(NR_READ, 0, (unsigned long)p, len, 0, 0, 0);

		if (n == 0)
			return 0;
		if (n < 0)
			quit(3);
		p += n;
		len -= (unsigned long)n;
	}
	return 1;
}

static void put(const void *buf, unsigned long len)
{
	for (const uint8_t *p = buf; len;) {
		long n = call(NR_WRITE, 1, (unsigned long)p, len, 0, 0, 0);

		if (n <= 0)
			quit(4);
		p += n;
		len -= (unsigned long)n;
	}
}

static void set_stop(int sig, const void *info)
{
	/* siginfo_t: the address follows three ints and, for 64 bits, their padding */
	outcome.far = *(const unsigned long *)(const void *)((const uint8_t *)info +
							     (sizeof(long) == 8 ? 16 : 12));
	switch (sig) {
	case SIGILL: outcome.stop = STOP_ILL; break;
	case SIGSEGV: outcome.stop = STOP_SEGV; break;
	case SIGBUS: outcome.stop = STOP_BUS; break;
	case SIGTRAP: outcome.stop = STOP_TRAP; break;
	default: outcome.stop = STOP_OTHER; break;
	}
}

/* struct sigaction, on_signal(), slot_build(), sync_code() */
#include "runner_arch.h"

static void set_up(void)
{
	static const int signals[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV };
	struct stack stack = { (void *)HANDLER_STACK, 0, HANDLER_STACK_SIZE };
	struct sigaction act = { .handler = on_signal,
				 .flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	if (call(NR_MMAP, SCRATCH_BASE, SCRATCH_SIZE, PROT_RW, MAP_PRIVATE_ANON_FIXED,
		 (unsigned long)-1, 0) != (long)SCRATCH_BASE ||
	    call(NR_MMAP, CODE_PAGES, CODE_PAGES_END - CODE_PAGES, PROT_RWX, MAP_PRIVATE_ANON_FIXED,
		 (unsigned long)-1, 0) != (long)CODE_PAGES ||
	    call(NR_MMAP, HANDLER_STACK, HANDLER_STACK_SIZE, PROT_RW, MAP_PRIVATE_ANON_FIXED,
		 (unsigned long)-1, 0) != (long)HANDLER_STACK ||
	    call(NR_SIGALTSTACK, (unsigned long)&stack, 0, 0, 0, 0, 0))
		quit(6);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (call(NR_SIGACTION, (unsigned long)signals[i], (unsigned long)&act, 0, 8, 0, 0))
			quit(7);
}

void runner_main(void)
{
	uint64_t *scratch = (uint64_t *)(unsigned long)SCRATCH_BASE;
	struct insn_batch batch;

	set_up();
	while (get(&batch, sizeof(batch))) {
		if (batch.n > INSN_BATCH_MAX)
			quit(8);
		if (!get(records, batch.n * sizeof(records[0])))
			quit(9);
		for (uint32_t i = 0; i < batch.n; i++) {
			if (records[i].slot >= INSN_BATCH_MAX || records[i].n > INSN_CODE_MAX)
				quit(10);
			slot_build(&records[i]);
		}
		sync_code(CODE_PAGES, CODE_PAGES_END);
		for (uint32_t i = 0; i < batch.n; i++) {
			const struct insn_record *rec = &records[i];

			memset(&outcome.mem_sum, 0, 24);
			outcome.out.pc = slot_pc(rec->slot) + rec->n * 4; /* for STOP_END */
			outcome.stop = STOP_END;
			if (rec->flags & INSN_MEM)
				scratch_fill(scratch, rec->mem_seed);
			enter(&rec->in, slot_entry(rec));
			if (rec->flags & INSN_MEM)
				outcome.mem_sum = scratch_sum(scratch);
			memcpy(&results[i], &outcome, sizeof(outcome));
			if (batch.flags & INSN_BATCH_MEM) {
				put(&results[i], sizeof(results[i]));
				put(scratch, SCRATCH_SIZE);
			}
		}
		if (!(batch.flags & INSN_BATCH_MEM))
			put(results, batch.n * sizeof(results[0]));
	}
	quit(0);
}

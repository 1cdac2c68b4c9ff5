/* SPDX-License-Identifier: MIT */
/*
 * The oracle's side of the instruction test: a freestanding AArch64 Linux program, run by
 * qemu-aarch64 (or natively on an AArch64 machine). It executes each record's code with that
 * record's registers and reports the registers afterwards; see record.h.
 *
 * Built without the C library and with -mgeneral-regs-only, so nothing here touches V, FPCR or
 * FPSR between a record's last instruction and their being saved.
 */
#include "record.h"

/* Linux on AArch64: include/uapi/asm-generic/unistd.h */
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

struct sigaction {
	void (*handler)(int sig, void *info, void *context);
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};
struct stack {
	void *sp;
	int flags;
	uint64_t size;
};
/* arch/arm64/include/uapi/asm/{sigcontext,ucontext}.h */
struct sigcontext {
	uint64_t fault_address, x[31], sp, pc, pstate;
	uint8_t reserved[4096] __attribute__((aligned(16)));
};
struct ucontext {
	uint64_t flags, link;
	struct stack stack;
	uint8_t sigmask[128];
	struct sigcontext mc __attribute__((aligned(16)));
};
struct fpsimd_context {
	uint32_t magic, size;
	uint32_t fpsr, fpcr;
	uint64_t v[32][2];
};
#define FPSIMD_MAGIC 0x46508001u

void enter(const struct insn_state *in, uint64_t entry);
void finish(void);
_Noreturn void leave(void);
_Noreturn void runner_main(void);
void *memcpy(void *dst, const void *src, unsigned long n);
void *memset(void *dst, int c, unsigned long n);

/* What the record being run left behind. finish() stores to the start of it. */
extern struct insn_result outcome;
struct insn_result outcome __attribute__((aligned(16)));

static struct insn_record records[INSN_BATCH_MAX] __attribute__((aligned(16)));
static struct insn_result results[INSN_BATCH_MAX];
static uint8_t handler_stack[65536] __attribute__((aligned(16)));

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

static long call(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register uint64_t x3 __asm__("x3") = d;
	register uint64_t x4 __asm__("x4") = e;
	register uint64_t x5 __asm__("x5") = f;
	register long x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5), "r"(x8)
			 : "memory");
	return (long)x0;
}

static _Noreturn void quit(int code)
{
	for (;;)
		call(NR_EXIT, (uint64_t)code, 0, 0, 0, 0, 0);
}

/* Whole transfers; false at the end of the input. */
static int get(void *buf, uint64_t len)
{
	for (uint8_t *p = buf; len;) {
		long n = call(NR_READ, 0, (uint64_t)p, len, 0, 0, 0);

		if (n == 0)
			return 0;
		if (n < 0)
			quit(3);
		p += n;
		len -= (uint64_t)n;
	}
	return 1;
}

static void put(const void *buf, uint64_t len)
{
	for (const uint8_t *p = buf; len;) {
		long n = call(NR_WRITE, 1, (uint64_t)p, len, 0, 0, 0);

		if (n <= 0)
			quit(4);
		p += n;
		len -= (uint64_t)n;
	}
}

static void on_signal(int sig, void *info, void *context)
{
	const struct ucontext *uc = context;
	const struct sigcontext *mc = &uc->mc;
	const struct fpsimd_context *fp = (const void *)mc->reserved;
	struct insn_state *out = &outcome.out;

	/* siginfo_t: the address follows three ints and their padding */
	outcome.far = *(const uint64_t *)(const void *)((const uint8_t *)info + 16);
	switch (sig) {
	case SIGILL: outcome.stop = STOP_ILL; break;
	case SIGSEGV: outcome.stop = STOP_SEGV; break;
	case SIGBUS: outcome.stop = STOP_BUS; break;
	case SIGTRAP: outcome.stop = STOP_TRAP; break;
	default: outcome.stop = STOP_OTHER; break;
	}
	memcpy(out->x, mc->x, sizeof(out->x));
	out->sp = mc->sp;
	out->pc = mc->pc;
	out->nzcv = mc->pstate & 0xf0000000;
	__asm__ volatile("mrs %0, tpidr_el0" : "=r"(out->tpidr));
	if (fp->magic != FPSIMD_MAGIC)
		quit(5);
	out->fpcr = fp->fpcr;
	out->fpsr = fp->fpsr;
	memcpy(out->v, fp->v, sizeof(out->v));
	leave();
}

/*
 * A slot's own words: it starts with loading X30, which enter() needed for the jump here; and
 * unless it ends in a trap, the code is followed by the way to finish(), which needs one register.
 */
static void slot_build(uint32_t *w, const struct insn_record *rec)
{
	uint64_t lit[2] = { rec->in.x[30], (uint64_t)finish };
	uint32_t end = SLOT_CODE + rec->n;

	slot_fill(w, rec);
	memcpy(w + SLOT_LITERALS, lit, sizeof(lit));
	w[0] = 0x58000000 | SLOT_LITERALS << 5 | 30; /* LDR X30, literal */
	w[1] = 0x14000000 | (SLOT_CODE - 1);         /* B code */
	if (rec->flags & INSN_TRAP)
		return;
	w[end] = 0xd51bd040;                                            /* MSR TPIDR_EL0, X0 */
	w[end + 1] = 0x58000000 | (SLOT_LITERALS + 2 - (end + 1)) << 5; /* LDR X0, literal */
	w[end + 2] = 0xd61f0000;                                        /* BR X0 */
}

/* Make the slots' words visible to instruction fetch (DDI0487 B2.4.4). */
static void sync_code(uint64_t start, uint64_t end)
{
	for (uint64_t p = start; p < end; p += 16)
		__asm__ volatile("dc cvau, %0" ::"r"(p) : "memory");
	__asm__ volatile("dsb ish" ::: "memory");
	for (uint64_t p = start; p < end; p += 16)
		__asm__ volatile("ic ivau, %0" ::"r"(p) : "memory");
	__asm__ volatile("dsb ish\n\tisb" ::: "memory");
}

static void set_up(void)
{
	static const int signals[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV };
	struct stack stack = { handler_stack, 0, sizeof(handler_stack) };
	struct sigaction act = { on_signal, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, 0, 0 };

	if (call(NR_MMAP, SCRATCH_BASE, SCRATCH_SIZE, PROT_RW, MAP_PRIVATE_ANON_FIXED, (uint64_t)-1,
		 0) != (long)SCRATCH_BASE ||
	    call(NR_MMAP, CODE_PAGES, CODE_PAGES_END - CODE_PAGES, PROT_RWX, MAP_PRIVATE_ANON_FIXED,
		 (uint64_t)-1, 0) != (long)CODE_PAGES ||
	    call(NR_SIGALTSTACK, (uint64_t)&stack, 0, 0, 0, 0, 0))
		quit(6);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (call(NR_SIGACTION, (uint64_t)signals[i], (uint64_t)&act, 0, 8, 0, 0))
			quit(7);
}

void runner_main(void)
{
	uint64_t *scratch = (uint64_t *)SCRATCH_BASE;
	uint32_t *code = (uint32_t *)CODE_BASE;
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
			slot_build(code + records[i].slot * SLOT_WORDS, &records[i]);
		}
		sync_code(CODE_PAGES, CODE_PAGES_END);
		for (uint32_t i = 0; i < batch.n; i++) {
			const struct insn_record *rec = &records[i];

			memset(&outcome.mem_sum, 0, 24);
			outcome.out.pc = slot_pc(rec->slot) + rec->n * 4;
			outcome.stop = STOP_END;
			if (rec->flags & INSN_MEM)
				scratch_fill(scratch, rec->mem_seed);
			enter(&rec->in, CODE_BASE + (uint64_t)rec->slot * SLOT_WORDS * 4);
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

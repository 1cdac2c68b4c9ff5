/* SPDX-License-Identifier: MIT */
/*
 * The runner's parts that are AArch64's own: included by runner.c.
 */
#include "slot.h"

struct sigaction {
	void (*handler)(int sig, void *info, void *context);
	unsigned long flags;
	void *restorer;
	uint64_t mask;
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

void finish(void);

static long call(long nr, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
		 unsigned long e, unsigned long f)
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

static void on_signal(int sig, void *info, void *context)
{
	const struct ucontext *uc = context;
	const struct sigcontext *mc = &uc->mc;
	const struct fpsimd_context *fp = (const void *)mc->reserved;
	struct insn_state *out = &outcome.out;

	set_stop(sig, info);
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
static void slot_build(const struct insn_record *rec)
{
	uint32_t *w = (uint32_t *)CODE_BASE + rec->slot * SLOT_WORDS;
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

static uint64_t slot_entry(const struct insn_record *rec)
{
	return CODE_BASE + (uint64_t)rec->slot * SLOT_WORDS * 4;
}

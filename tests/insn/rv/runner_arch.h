/* SPDX-License-Identifier: MIT */
/*
 * The runner's parts that are RISC-V's own: included by runner.c.
 */
#include "slot.h"

struct sigaction {
	void (*handler)(int sig, void *info, void *context);
	unsigned long flags;
	/* Linux has no restorer here; QEMU's user mode has. All zero either way. */
	uint64_t mask[2];
};
/* arch/riscv/include/uapi/asm/{ptrace,ucontext}.h */
struct ucontext {
	/* In RV32 these should be longs; QEMU's user mode has its host's. */
	uint64_t flags, link;
	struct stack stack;
	uint8_t sigmask[128];
	struct {
		unsigned long pc, x[31]; /* x1 .. */
	} mc __attribute__((aligned(16)));
};

void on_signal(int sig, void *info, void *context);
void on_signal_c(int sig, void *info, void *context);

static long call(long nr, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
		 unsigned long e, unsigned long f)
{
	register unsigned long a0 __asm__("a0") = a;
	register unsigned long a1 __asm__("a1") = b;
	register unsigned long a2 __asm__("a2") = c;
	register unsigned long a3 __asm__("a3") = d;
	register unsigned long a4 __asm__("a4") = e;
	register unsigned long a5 __asm__("a5") = f;
	register long a7 __asm__("a7") = nr;

	__asm__ volatile("ecall"
			 : "+r"(a0)
			 : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
			 : "memory");
	return (long)a0;
}

/* From on_signal(), which has saved f and fcsr. */
void on_signal_c(int sig, void *info, void *context)
{
	const struct ucontext *uc = context;
	struct insn_state *out = &outcome.out;

	set_stop(sig, info);
	out->x[0] = 0;
	for (unsigned i = 0; i < 31; i++)
		out->x[i + 1] = (uint64_t)(long)uc->mc.x[i];
	out->pc = (uint64_t)uc->mc.pc;
	leave();
}

static void slot_build(const struct insn_record *rec)
{
	slot_fill((uint16_t *)(unsigned long)(slot_pc(rec->slot) - SLOT_BEFORE), rec);
	*(uint16_t *)(unsigned long)(CODE_PAGES_END - 2) = LAST_HALF;
}

static unsigned long slot_entry(const struct insn_record *rec)
{
	return (unsigned long)slot_pc(rec->slot);
}

static void sync_code(uint64_t start, uint64_t end)
{
	(void)start;
	(void)end;
	__asm__ volatile("fence.i" ::: "memory");
}

/* SPDX-License-Identifier: MIT */
/*
 * Traps: interrupts are given to whom they concern; anything else is a bug in the kernel, and told
 * as well as the CPU lets us (volume II, "Supervisor Cause Register", "Supervisor Trap Value
 * Register").
 */
#include "kernel.h"

#include "plic.h"

/* As start.S fills it. */
struct frame {
	uintptr_t outside; /* this trap is not inside another */
	uintptr_t x[31];   /* x1 to x31 */
	uintptr_t sepc, sstatus, scause, stval;
};
_Static_assert(sizeof(struct frame) == 36 * sizeof(uintptr_t), "start.S knows the offsets");

void trap(const struct frame *f);

static const char *const causes[] = {
	"instruction address misaligned",
	"instruction access fault",
	"illegal instruction",
	"breakpoint",
	"load address misaligned",
	"load access fault",
	"store address misaligned",
	"store access fault",
	"environment call from U-mode",
	"environment call from S-mode",
	"reserved cause",
	"environment call from M-mode",
	"instruction page fault",
	"load page fault",
	"reserved cause",
	"store page fault",
};

/* Volume I, "RISC-V Assembly Programmer's Handbook": what the ABI calls x1 to x31. */
static const char names[31][4] = { "ra", "sp",  "gp",  "tp", "t0", "t1", "t2", "s0",
				   "s1", "a0",  "a1",  "a2", "a3", "a4", "a5", "a6",
				   "a7", "s2",  "s3",  "s4", "s5", "s6", "s7", "s8",
				   "s9", "s10", "s11", "t3", "t4", "t5", "t6" };

void trap(const struct frame *f)
{
	enum { SUPERVISOR_EXTERNAL = 9 };
	const uintptr_t INTERRUPT = (uintptr_t)1 << (__riscv_xlen - 1);

	if (f->scause == (INTERRUPT | SUPERVISOR_EXTERNAL)) {
		plic_handle();
		return;
	}
	printf("\n");
	for (unsigned i = 0; i < ARRAY_SIZE(f->x); i++)
		printf("%3s %p%s", names[i], (void *)f->x[i], i % 4 == 3 ? "\n" : "  ");
	printf("\nsstatus %p", (void *)f->sstatus);
	if (f->stval >= (uintptr_t)stack_guard && f->stval < (uintptr_t)stack_guard + PAGE_SIZE)
		printf("\nthe stack is full");
	panic("%s%s, scause %zx, at pc %p, stval %p", f->outside ? "" : "while handling a trap: ",
	      f->scause < ARRAY_SIZE(causes) ? causes[f->scause] : "unknown trap",
	      (size_t)f->scause, (void *)f->sepc, (void *)f->stval);
}

/* SPDX-License-Identifier: MIT */
/*
 * Exceptions: interrupts are given to whom they concern; anything else is a bug in the kernel, and
 * told as well as the CPU lets us (DDI0487 D1.3.1.4, "Exception vectors"; D19.2, "ESR_EL1").
 */
#include "kernel.h"

#include "gic.h"

/* As start.S fills it. */
struct frame {
	u64 x[31];
	u64 sp;
	u64 elr, spsr;
	u64 vector;
	u64 pad;
};
_Static_assert(sizeof(struct frame) == 288, "start.S knows the offsets");

void trap(const struct frame *f);

/* ESR_EL1.EC, of what a kernel without user programs can meet. */
static const char *class_name(u32 class)
{
	switch (class) {
	case 0x00: return "undefined instruction";
	case 0x07: return "floating point is off";
	case 0x0e: return "illegal execution state";
	case 0x15: return "SVC";
	case 0x18: return "a system register that cannot be accessed";
	case 0x21: return "instruction abort";
	case 0x22: return "pc is not aligned";
	case 0x25: return "data abort";
	case 0x26: return "sp is not aligned";
	case 0x2f: return "SError";
	case 0x3c: return "BRK";
	}
	return "exception";
}

/* ESR_EL1.ISS of an abort: IFSC or DFSC, without the level in the lowest bits. */
static const char *fault_name(u32 status)
{
	switch (status >> 2) {
	case 0: return ", address size";
	case 1: return ", not mapped";
	case 2: return ", access flag";
	case 3: return ", not permitted";
	case 4: return ", external";
	}
	return status == 0x21 ? ", alignment" : "";
}

void trap(const struct frame *f)
{
	/* Vectors 0 to 3: from EL1 on SP_EL0; 4 to 7: on SP_EL1. Each: synchronous, IRQ, FIQ,
	 * SError */
	enum { SP0_IRQ = 1, SPX_SYNC = 4 };

	if (f->vector == SP0_IRQ) {
		gic_handle();
		return;
	}
	u64 esr = READ_SYSREG("esr_el1"), far = READ_SYSREG("far_el1");
	u32 class = esr >> 26 & 0x3f;
	bool is_write = class == 0x25 && esr >> 6 & 1; /* WnR */
	bool is_abort = class == 0x21 || class == 0x25;

	printf("\n");
	for (unsigned i = 0; i < ARRAY_SIZE(f->x); i++)
		printf("x%-2u %p%s", i, (void *)f->x[i], i % 4 == 3 ? "\n" : "  ");
	printf("sp  %p\nspsr %p", (void *)f->sp, (void *)f->spsr);
	if (is_abort && far >= (uintptr_t)stack_guard && far < (uintptr_t)stack_guard + PAGE_SIZE)
		printf("\nthe stack is full");
	panic("%s%s%s%s, esr %llx, at pc %p, far %p",
	      f->vector >= SPX_SYNC ? "while handling an exception: " : "", class_name(class),
	      is_write ? " (write)" : "", is_abort ? fault_name(esr & 0x3f) : "", esr,
	      (void *)f->elr, (void *)far);
}

/* SPDX-License-Identifier: MIT */
/*
 * What can interrupt an AArch64 CPU (DDI0487 D1.3.6), and instructions that look at it.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "machine/debug.h"
#include "machine/irq_view.h"
#include "machine/vm.h"

/* PSTATE and ISR_EL1 have them at the same places. */
enum { F = 6, I = 7 };
/* The timers' CTL registers (D17.11.17) */
enum { ENABLE = 1, IMASK = 2, ISTATUS = 4 };

/* Will it come? */
static bool timer(struct vm_cpu *cpu, const char *ctl, const char *cval)
{
	/* Longer than any kernel waits: that is how some switch it off. */
	const uint64_t hour = 3600 * 62500000ULL;

	return (debug_reg(cpu, ctl) & (ENABLE | ISTATUS)) == ENABLE &&
	       debug_reg(cpu, cval) - debug_reg(cpu, "CNTVCT_EL0") < hour;
}

/* Does it raise its interrupt: enabled, not masked, condition met? */
static bool raised(struct vm_cpu *cpu, const char *ctl)
{
	return (debug_reg(cpu, ctl) & (ENABLE | IMASK | ISTATUS)) == (ENABLE | ISTATUS);
}

void irq_view_a64(struct vm_cpu *cpu, struct irq_view *v)
{
	uint64_t pstate = debug_reg(cpu, "cpsr"), pending = debug_reg(cpu, "ISR_EL1");
	const uint64_t both = BIT(I) | BIT(F);
	const uint8_t all = IRQ_DEVICE | IRQ_TIMER | IRQ_CPU; /* they come by the same two lines */

	*v = (struct irq_view){
		.taken = both & ~pstate ? all : 0,
		.wakes = all,
		.coming = both & ~pstate & pending,
		.pending = both & pending,
		.timer = timer(cpu, "CNTV_CTL_EL0", "CNTV_CVAL_EL0") ||
			 timer(cpu, "CNTP_CTL_EL0", "CNTP_CVAL_EL0"),
	};
	const char *more = "";
	if (!v->pending && (raised(cpu, "CNTV_CTL_EL0") || raised(cpu, "CNTP_CTL_EL0")))
		more = ", though a timer raises its own: the GIC does not let it through (its "
		       "enable bit, group or priority, ICC_PMR_EL1, ICC_IGRPEN1_EL1, GICD_CTLR)";
	snprintf(v->words, sizeof(v->words),
		 "interrupts: PSTATE.I is %d, PSTATE.F is %d; %s is pending%s", bit(pstate, I),
		 bit(pstate, F),
		 !v->pending       ? "none"
		 : bit(pending, I) ? "an IRQ"
				   : "an FIQ",
		 more);
}

bool irq_is_wfi_a64(uint32_t insn)
{
	return insn == 0xd503207f;
}

/* MRS of a register with CRn 12 (ISR_EL1, the GIC's) or 14 (the timers') */
bool irq_is_poll_a64(uint32_t insn)
{
	unsigned crn = insn >> 12 & 15;

	return insn >> 20 == 0xd53 && (crn == 12 || crn == 14);
}

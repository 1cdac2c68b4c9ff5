/* SPDX-License-Identifier: MIT */
/*
 * What can interrupt a RISC-V hart (volume II of the manual, version 20240411, 3.1.6 to 3.1.9 and
 * 10.1.3), and instructions that look at it.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "machine/debug.h"
#include "machine/irq_view.h"
#include "machine/vm.h"

enum { MSTATUS_SIE = 1, MSTATUS_MIE = 3, LEVEL_S = 1, LEVEL_M = 3 };

/* Bits of mip and mie */
static const struct {
	uint8_t bit, kind;
	const char *name;
} irqs[] = {
	{ 1, IRQ_CPU, "supervisor software" },    { 3, IRQ_CPU, "machine software" },
	{ 5, IRQ_TIMER, "supervisor timer" },     { 7, IRQ_TIMER, "machine timer" },
	{ 9, IRQ_DEVICE, "supervisor external" }, { 11, IRQ_DEVICE, "machine external" },
};
#define ALL (BIT(1) | BIT(3) | BIT(5) | BIT(7) | BIT(9) | BIT(11))

static uint8_t kinds(uint64_t set)
{
	unsigned all = 0;

	for (size_t i = 0; i < ARRAY_SIZE(irqs); i++)
		all |= bit(set, irqs[i].bit) ? irqs[i].kind : 0;
	return (uint8_t)all;
}

static void names(uint64_t set, char *text, size_t size)
{
	size_t len = 0;

	snprintf(text, size, "none");
	for (size_t i = 0; i < ARRAY_SIZE(irqs); i++)
		if (bit(set, irqs[i].bit) && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s", len ? ", " : "",
						irqs[i].name);
}

void irq_view_rv(struct vm_cpu *cpu, struct irq_view *v)
{
	uint64_t status = debug_reg(cpu, "mstatus"), mideleg = debug_reg(cpu, "mideleg");
	uint64_t mie = debug_reg(cpu, "mie") & ALL, mip = debug_reg(cpu, "mip") & ALL;
	uint8_t level = debug_level(cpu);
	bool to_m = level < LEVEL_M || bit(status, MSTATUS_MIE);
	bool to_s = level < LEVEL_S || (level == LEVEL_S && bit(status, MSTATUS_SIE));
	char enabled[64], pending[64];
	/* An S-mode kernel knows the registers by these names, and sees what it was given. */
	bool m = level == LEVEL_M;
	uint64_t seen = m ? ALL : mideleg;

	uint64_t taken = mie & ((to_m ? ~mideleg : 0) | (to_s ? mideleg : 0));

	*v = (struct irq_view){
		.taken = kinds(taken),
		.wakes = kinds(mie),
		.coming = taken & mip,
		.pending = mie & mip,
	};
	names(mie & seen, enabled, sizeof(enabled));
	names(mip & seen, pending, sizeof(pending));
	snprintf(v->words, sizeof(v->words),
		 "interrupts: %cstatus.%cIE is %d; enabled in %cie: %s; "
		 "pending in %cip: %s",
		 m ? 'm' : 's', m ? 'M' : 'S', bit(status, m ? MSTATUS_MIE : MSTATUS_SIE),
		 m ? 'm' : 's', enabled, m ? 'm' : 's', pending);
}

bool irq_is_wfi_rv(uint32_t insn)
{
	return insn == 0x10500073;
}

/* CSR instructions, of sip, mip, cycle, time and their high halves */
bool irq_is_poll_rv(uint32_t insn)
{
	unsigned csr = insn >> 20;

	return (insn & 0x7f) == 0x73 && (insn >> 12 & 3) &&
	       (csr == 0x144 || csr == 0x344 || (csr & ~0x81u) == 0xc00);
}

/* SPDX-License-Identifier: MIT */
/*
 * AArch64 exceptions: entry, return, and which interrupts can be taken (DDI0487 D1.3, D1.4).
 */
#include "engine/soft/a64/cpu.h"
#include "engine/soft/a64/mmu.h"

enum {
	SPSR_SS = 1 << 21,
	SPSR_IL = 1 << 20,
	SPSR_PAN = 1 << 22,
	SPSR_DAIF = 0xf << 6,
	DAIF_I = 1 << 7,
	DAIF_F = 1 << 6,
	SCTLR_SA = 1 << 3,
	SCTLR_SA0 = 1 << 4,
	SCTLR_SPAN = 1 << 23,
};

/* From the offset for "current EL, SP0" (D1.3.1.5). */
enum vector { SYNC = 0x000, IRQ = 0x080, FIQ = 0x100 };

uint64_t a64_pstate(const struct a64_cpu *c)
{
	return (uint64_t)a64_nzcv(c) << 28 | (c->pan ? SPSR_PAN : 0) | (c->ss ? SPSR_SS : 0) |
	       (c->il ? SPSR_IL : 0) | c->daif | (uint64_t)c->el << 2 | c->spsel;
}

static void select_sp(struct a64_cpu *c, unsigned el, unsigned spsel)
{
	unsigned was = c->el && c->spsel, now = el && spsel;
	if (was != now) {
		c->sys.sp_bank[was] = c->x[A64_SP];
		c->x[A64_SP] = c->sys.sp_bank[now];
	}
	c->el = (uint8_t)el;
	c->spsel = (uint8_t)spsel;
}

void a64_state_changed(struct a64_cpu *c)
{
	c->sp_mask = c->sys.sctlr_el1 & (c->el ? SCTLR_SA : SCTLR_SA0) ? 15 : 0;
	/* CPACR_EL1.FPEN: 0 and 2 trap both levels, 1 traps EL0, 3 none (D17.2.30) */
	unsigned fpen = (unsigned)bits(c->sys.cpacr_el1, 21, 20);
	c->fp_trapped = !(fpen == 3 || (fpen == 1 && c->el == 1));
	c->tlb = c->el ? &c->ctx[c->pan ? A64_CTX_EL1_PAN : A64_CTX_EL1]
		       : &c->ctx[A64_CTX_EL0 + c->ctx_now];
}

void a64_set_pstate(struct a64_cpu *c, uint64_t spsr)
{
	a64_set_nzcv(c, (unsigned)bits(spsr, 31, 28));
	c->pan = spsr & SPSR_PAN;
	c->ss = spsr & SPSR_SS;
	c->il = spsr & SPSR_IL;
	c->daif = (uint32_t)spsr & SPSR_DAIF;
	select_sp(c, (unsigned)bits(spsr, 3, 2) & 1, (unsigned)spsr & 1);
	a64_state_changed(c);
	a64_check_interrupts(c);
}

/* For soft_trapped(): ESR_EL1, FAR_EL1 and ELR_EL1 are of the one that was taken. */
static void tell(struct a64_cpu *c, enum vector vector, uint8_t from)
{
	enum debug_trap_kind kind = DEBUG_TRAP_FAULT;

	switch (bits(c->sys.esr_el1, 31, 26)) {
	case A64_EC_WFX:
	case A64_EC_SVC:
	case A64_EC_BREAKPOINT_LOWER ... A64_EC_BRK: kind = DEBUG_TRAP_CALL; break;
	case A64_EC_IABT_LOWER:
	case A64_EC_IABT_SAME:
	case A64_EC_PC_ALIGN: kind = DEBUG_TRAP_FETCH; break;
	}
	if (vector != SYNC)
		kind = DEBUG_TRAP_INTERRUPT;
	soft_trapped(&c->vcpu,
		     &(struct debug_trap){ .kind = kind,
					   .cause = c->sys.esr_el1,
					   .pc = c->sys.elr_el1,
					   .addr = c->sys.far_el1,
					   .vector = c->pc,
					   .from = from,
					   .to = 1,
					   .at_once = c->vcpu.debug.returned,
					   .remapped = c->sys.elr_el1 == c->vcpu.debug.remapped });
}

/* Take an exception to EL1 with this return address: state is changed, execution goes on
 * at c->pc. */
static void take(struct a64_cpu *c, enum vector vector, uint64_t return_pc)
{
	uint8_t from = c->el;
	c->sys.spsr_el1 = a64_pstate(c);
	c->sys.elr_el1 = return_pc;
	/* D1.3.1.5: from EL1 with SP_EL0, EL1 with SP_EL1, EL0 */
	unsigned offset = c->el == 0 ? 0x400 : c->spsel ? 0x200 : 0x000;
	c->pc = (c->sys.vbar_el1 & ~0x7ffULL) + offset + vector;
	c->daif = SPSR_DAIF;
	c->il = c->ss = c->in_step = false;
	c->step_iss = 0;
	if (!(c->sys.sctlr_el1 & SCTLR_SPAN))
		c->pan = true;
	c->wfe_idle = 0;
	select_sp(c, 1, 1);
	a64_state_changed(c);
	if (unlikely(c->vcpu.debug.traps || (from && vector == SYNC)))
		tell(c, vector, from);
}

_Noreturn void a64_raise_at(struct a64_cpu *c, enum a64_ec ec, uint32_t iss, uint64_t pc)
{
	c->sys.esr_el1 = (uint64_t)ec << 26 | 1u << 25 | iss; /* IL: a 32-bit instruction */
	/* An instruction that is not complete is not stepped: it will be when it runs again. */
	if (c->in_step)
		c->ss = true;
	take(c, SYNC, pc);
	longjmp(c->unwind, 1);
}

_Noreturn void a64_raise(struct a64_cpu *c, enum a64_ec ec, uint32_t iss)
{
	a64_raise_at(c, ec, iss, a64_op_va(c, c->cur));
}

_Noreturn void a64_undefined(struct a64_cpu *c)
{
	a64_raise(c, A64_EC_UNKNOWN, 0);
}

void a64_eret(struct a64_cpu *c)
{
	uint64_t spsr = c->sys.spsr_el1;
	c->pc = c->sys.elr_el1;
	c->excl_valid = false;
	atomic_store(&c->vcpu.events, 1); /* exception return sets the event register (D1.6.1) */
	if (!a64_debug_return_ss(c, spsr))
		spsr &= ~(uint64_t)SPSR_SS;
	/*
	 * Illegal return (D1.4.2): AArch32 state, EL2 or EL3, the reserved bit, or EL0 with SP_ELx.
	 * NZCV and the masks come from SPSR, the level stays, and the next instruction faults.
	 */
	unsigned m = (unsigned)bits(spsr, 4, 0);
	if (m != 0 && m != 4 && m != 5) {
		spsr = (spsr & ~0x1fULL) | (uint64_t)c->el << 2 | c->spsel | SPSR_IL;
	}
	a64_set_pstate(c, spsr);
	/* TBI: the tag of the target is dropped where the level's regime ignores it (D4.1.1) */
	unsigned upper = bit(c->pc, 55);
	if (bit(c->sys.tcr_el1, upper ? 38 : 37))
		c->pc = (uint64_t)sign_extend(c->pc, 56);
	c->vcpu.debug.nested = 0;
	if (unlikely(c->vcpu.debug.traps))
		soft_returned(&c->vcpu, c->pc);
}

static unsigned takable(const struct a64_cpu *c)
{
	unsigned lines = atomic_load(&c->vcpu.irq_lines);
	if (c->daif & DAIF_I)
		lines &= ~(1u << VCPU_IRQ);
	if (c->daif & DAIF_F)
		lines &= ~(1u << VCPU_FIQ);
	return lines;
}

bool a64_take_interrupt(struct a64_cpu *c)
{
	unsigned lines = takable(c);
	if (!lines)
		return false;
	take(c, lines & 1u << VCPU_FIQ ? FIQ : IRQ, c->pc);
	return true;
}

void a64_check_interrupts(struct a64_cpu *c)
{
	/* Whether software step applies now is for the run loop to say, as is an illegal state. */
	if (takable(c) || unlikely(c->il || c->one_by_one))
		atomic_store_explicit(&c->vcpu.attention, 1, memory_order_relaxed);
}

/* SPDX-License-Identifier: MIT */
/*
 * RISC-V traps: exceptions, interrupts, returns (volume II, 3.1.6 to 3.1.9, 3.3.2, 10.1).
 */
#include "engine/soft/rv/cpu.h"

uint64_t rv_mip(const struct rv_cpu *c)
{
	uint64_t mip = c->csr.mip | atomic_load(&c->vcpu.irq_lines);
	/* Sstc: with menvcfg.STCE, STIP is the comparison and nothing else. */
	if (c->csr.menvcfg & RV_ENVCFG_STCE) {
		mip &= ~BIT(RV_STI);
		if (rv_time(c) >= c->csr.stimecmp)
			mip |= BIT(RV_STI);
	}
	return mip;
}

/* The interrupts that would be taken now, at the level that takes them first. */
static uint64_t takable(const struct rv_cpu *c, bool *to_s)
{
	uint64_t pending = rv_mip(c) & c->csr.mie;
	uint64_t m = pending & ~c->csr.mideleg, s = pending & c->csr.mideleg;

	*to_s = false;
	if (m && (c->priv < RV_M || (c->csr.mstatus & RV_MIE)))
		return m;
	*to_s = true;
	if (s && (c->priv < RV_S || (c->priv == RV_S && (c->csr.mstatus & RV_SIE))))
		return s;
	return 0;
}

void rv_check_interrupts(struct rv_cpu *c)
{
	bool to_s;
	if (takable(c, &to_s))
		atomic_store_explicit(&c->vcpu.attention, 1, memory_order_relaxed);
}

void rv_state_changed(struct rv_cpu *c)
{
	unsigned data = c->priv;

	if ((c->csr.mstatus & RV_MPRV) && c->priv == RV_M)
		data = (unsigned)bits(c->csr.mstatus, 12, 11);
	c->tlb = data == RV_M   ? &c->ctx[RV_CTX_M]
		 : data == RV_S ? &c->ctx[c->csr.mstatus & RV_SUM ? RV_CTX_S_SUM : RV_CTX_S]
				: &c->ctx[RV_CTX_U + c->ctx_now];
	c->tlb_x = c->priv == RV_M   ? &c->ctx[RV_CTX_M]
		   : c->priv == RV_S ? &c->ctx[RV_CTX_S]
				     : &c->ctx[RV_CTX_U + c->ctx_now];
}

static uint64_t vector(const struct rv_cpu *c, uint64_t tvec, uint64_t cause, bool interrupt)
{
	uint64_t base = tvec & ~3ULL;
	return rv_wrap(c, (tvec & 3) == 1 && interrupt ? base + 4 * cause : base);
}

/* For soft_trapped(). */
static void tell(struct rv_cpu *c, uint64_t cause, uint64_t tval, uint64_t pc, uint8_t from)
{
	enum debug_trap_kind kind = DEBUG_TRAP_FAULT;
	uint64_t mask = mask_low(c->xlen64 ? 64 : 32);

	if (cause >> 63)
		kind = DEBUG_TRAP_INTERRUPT;
	else if (cause == RV_BREAKPOINT || (cause >= RV_ECALL_U && cause <= RV_ECALL_M))
		kind = DEBUG_TRAP_CALL;
	else if (cause == RV_INSN_MISALIGNED || cause == RV_INSN_ACCESS || cause == RV_INSN_PAGE)
		kind = DEBUG_TRAP_FETCH;
	soft_trapped(&c->vcpu,
		     &(struct debug_trap){ .kind = kind,
					   .cause = cause,
					   .pc = pc & mask,
					   .addr = tval & mask,
					   .vector = c->pc & mask,
					   .from = from,
					   .to = c->priv,
					   .at_once = c->vcpu.debug.returned,
					   .remapped = !((pc ^ c->vcpu.debug.remapped) & mask) });
}

static void take(struct rv_cpu *c, uint64_t cause, bool interrupt, uint64_t tval, uint64_t pc,
		 bool to_s)
{
	struct rv_csrs *r = &c->csr;
	uint8_t from = c->priv;
	uint64_t coded = cause | (interrupt ? (c->xlen64 ? BIT(63) : 0xffffffff80000000ULL) : 0);

	if (to_s) {
		r->scause = coded;
		r->sepc = pc;
		r->stval = tval;
		r->mstatus = (r->mstatus & ~(RV_SPP | RV_SPIE | RV_SIE)) |
			     (c->priv == RV_S ? RV_SPP : 0) | (r->mstatus & RV_SIE ? RV_SPIE : 0);
		c->priv = RV_S;
		c->pc = vector(c, r->stvec, cause, interrupt);
	} else {
		r->mcause = coded;
		r->mepc = pc;
		r->mtval = tval;
		r->mstatus = (r->mstatus & ~(RV_MPP | RV_MPIE | RV_MIE)) | (uint64_t)c->priv << 11 |
			     (r->mstatus & RV_MIE ? RV_MPIE : 0);
		c->priv = RV_M;
		c->pc = vector(c, r->mtvec, cause, interrupt);
	}
	rv_state_changed(c);
	if (unlikely(c->vcpu.debug.traps || (from == c->priv && !interrupt)))
		tell(c, coded, tval, pc, from);
}

_Noreturn void rv_raise_at(struct rv_cpu *c, enum rv_cause cause, uint64_t tval, uint64_t pc)
{
	/* With hako as the firmware there is nobody in M mode: everything goes to S. */
	bool to_s = c->priv != RV_M && (c->sbi || bit(c->csr.medeleg, cause));
	take(c, cause, false, rv_wrap(c, tval), rv_wrap(c, pc), to_s);
	longjmp(c->unwind, 1);
}

_Noreturn void rv_raise(struct rv_cpu *c, enum rv_cause cause, uint64_t tval)
{
	rv_raise_at(c, cause, tval, rv_op_va(c, c->cur));
}

_Noreturn void rv_illegal(struct rv_cpu *c)
{
	/* tval is the instruction (3.1.16), as it stands in memory, compressed or not. */
	uint64_t pc = rv_op_va(c, c->cur);
	uint32_t w = rv_fetch16(c, pc);
	if ((w & 3) == 3)
		w |= (uint32_t)rv_fetch16(c, pc + 2) << 16;
	rv_raise_at(c, RV_ILLEGAL, w, pc);
}

bool rv_take_interrupt(struct rv_cpu *c)
{
	/* In order of priority (3.1.9) */
	static const uint8_t order[] = { RV_MEI, RV_MSI, RV_MTI, RV_SEI, RV_SSI, RV_STI };
	bool to_s;
	uint64_t which = takable(c, &to_s);

	for (unsigned i = 0; which && i < ARRAY_SIZE(order); i++)
		if (bit(which, order[i])) {
			take(c, order[i], true, 0, rv_wrap(c, c->pc), to_s);
			return true;
		}
	return false;
}

/* Go on there, with the privilege and the mstatus that are set already. */
static void resume(struct rv_cpu *c, uint64_t pc)
{
	c->pc = pc;
	rv_state_changed(c);
	rv_check_interrupts(c);
	c->vcpu.debug.nested = 0;
	if (unlikely(c->vcpu.debug.traps))
		soft_returned(&c->vcpu, c->pc & mask_low(c->xlen64 ? 64 : 32));
}

void rv_mret(struct rv_cpu *c)
{
	struct rv_csrs *r = &c->csr;
	unsigned mpp = (unsigned)bits(r->mstatus, 12, 11);

	c->priv = (uint8_t)mpp;
	r->mstatus =
		(r->mstatus & ~(RV_MPP | RV_MIE)) | RV_MPIE | (r->mstatus & RV_MPIE ? RV_MIE : 0);
	if (mpp != RV_M)
		r->mstatus &= ~RV_MPRV;
	resume(c, r->mepc);
}

void rv_sret(struct rv_cpu *c)
{
	struct rv_csrs *r = &c->csr;

	c->priv = r->mstatus & RV_SPP ? RV_S : RV_U;
	r->mstatus =
		(r->mstatus & ~(RV_SPP | RV_SIE)) | RV_SPIE | (r->mstatus & RV_SPIE ? RV_SIE : 0);
	r->mstatus &= ~RV_MPRV;
	resume(c, r->sepc);
}

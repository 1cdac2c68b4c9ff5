/* SPDX-License-Identifier: MIT */
/*
 * How a RISC-V hart runs: what run.inc leaves to the architecture.
 */
#include <string.h>

#include "engine/soft/access.h"
#include "engine/soft/rv/interp.h"
#include "engine/soft/rv/rvc.h"

enum { N_CTXS = RV_N_CTXS };
#include "engine/soft/run.inc"

static handler *const *handlers(const struct rv_cpu *c)
{
	return c->xlen64 ? rv64_handlers : rv32_handlers;
}

static void run_ops(struct rv_cpu *c, const struct op *op)
{
	handler *const *table = handlers(c);

	while (op)
		op = table[op->handler](c, op, table);
}

/* The table stops behind each op, and an instruction may be behind others. */
static void step_op(struct rv_cpu *c, const struct op *op)
{
	handler *const *table = handlers(c);
	bool insn = false;

	if (op == c->cross) {
		/* It has no place where a breakpoint could be; nor is it looked up for this. */
		soft_traced(&c->vcpu, rv_op_va(c, op), 0);
	} else {
		const struct code_page *page = container_of(c->page, struct code_page, ops[0]);
		unsigned index = (unsigned)(op - c->page);
		uint32_t w = (uint32_t)soft_load(page->host + index * 2, 2);

		/* The second half of one that crosses into another page is not looked up. */
		if ((w & 3) == 3 && index < RV_PAGE_OPS - 1)
			w |= (uint32_t)soft_load(page->host + index * 2 + 2, 2) << 16;
		soft_traced(&c->vcpu, rv_op_va(c, op), w);
		soft_break_lift(&c->vcpu, op);
	}
	while (op && !insn) {
		insn = op->handler > OP_breakpoint;
		op = table[op->handler](c, op, stopping);
	}
	if (op)
		c->pc = rv_op_va(c, op);
}

static bool before(struct rv_cpu *c)
{
	(void)c;
	return false;
}

/* Is a timer interrupt enabled that will come? Of ACLINT's one does not know here. */
static bool timer_will_wake(const struct rv_cpu *c)
{
	uint64_t at = c->csr.stimecmp - atomic_load(&c->vcpu.engine->time_ahead);
	bool sstc = (c->csr.menvcfg & RV_ENVCFG_STCE) && (c->csr.mie & BIT(RV_STI)) &&
		    at <= ~0ULL / RV_NS_PER_TICK;
	return sstc || (c->csr.mie & BIT(RV_MTI));
}

/* WFI: any interrupt that is enabled in mie ends it, whatever the global enables say. */
static void do_wait(struct rv_cpu *c)
{
	if (rv_mip(c) & c->csr.mie)
		c->wait = false;
	else
		soft_sleep(&c->vcpu, 0, !timer_will_wake(c));
}

static void reset(struct vcpu *v)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	c->xlen64 = v->engine->cfg.arch == GUEST_RV64;
	c->sbi = v->wiring.sbi;
	memset(c->x, 0, sizeof(c->x));
	memset(c->f, 0, sizeof(c->f));
	c->fflags = c->frm = 0;
	c->resv_valid = c->wait = false;
	rv_csr_reset(c);
	for (unsigned i = 0; i < RV_N_ASIDS; i++)
		c->ctx_asid[i] = ~0u;
	c->ctx_asid[0] = 0;
	c->ctx_now = 0;
	forget(v);
	c->pc = 0;
	c->priv = c->sbi ? RV_S : RV_M;
	rv_state_changed(c);
	rv_timer_update(c);
}

static uint64_t get(struct vcpu *v, unsigned reg)
{
	const struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	switch (reg) {
	case VCPU_REG_PC: return c->pc;
	case VCPU_REG_RV_STIMECMP: return c->csr.stimecmp;
	case VCPU_REG_RV_SATP: return c->csr.satp;
	case VCPU_REG_RV_SSTATUS: return rv_csr_peek((struct rv_cpu *)(uintptr_t)c, RV_CSR_SSTATUS);
	default: return reg < 32 ? c->x[reg] : 0;
	}
}

static void set(struct vcpu *v, unsigned reg, uint64_t val)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	if (reg > 0 && reg < 32)
		c->x[reg] = rv_wrap(c, val);
	else if (reg == VCPU_REG_PC)
		c->pc = rv_wrap(c, val);
	else if (reg == VCPU_REG_RV_STIMECMP)
		c->csr.stimecmp = val, rv_timer_update(c);
	else if (reg == VCPU_REG_RV_SATP)
		rv_csr_write(c, RV_CSR_SATP, val);
	else if (reg == VCPU_REG_RV_SSTATUS)
		rv_csr_write(c, RV_CSR_SSTATUS, val);
	else if (reg == VCPU_REG_RV_WFI)
		c->wait = val;
}

/* What the instruction table, the CSRs and the MMU have. */
#define EXTENSIONS "_zicbom_zicboz_zicntr_zicond_zicsr_zifencei_zba_zbb_zbs_sstc_svadu_svinval"

static int hart(struct vcpu *v, struct vcpu_hart *hart, struct err *err)
{
	static const struct vcpu_hart rv32 = { "rv32imafdc" EXTENSIONS, "riscv,sv32", RV_TIMEBASE,
					       RV_BLOCK_SIZE, RV_BLOCK_SIZE };
	static const struct vcpu_hart rv64 = { "rv64imafdc" EXTENSIONS "_svpbmt", "riscv,sv48",
					       RV_TIMEBASE, RV_BLOCK_SIZE, RV_BLOCK_SIZE };

	(void)err;
	*hart = v->engine->cfg.arch == GUEST_RV64 ? rv64 : rv32;
	return 0;
}

static void run_fence(struct vcpu *v, const struct soft_job *job)
{
	const struct rv_fence f = { .va = job->a, .pages = job->b, .asid = (uint32_t)job->c };

	rv_fence_here(container_of(v, struct rv_cpu, vcpu), &f);
}

static void fence(struct vcpu *v, uint64_t mask, const struct vcpu_fence *f)
{
	const struct soft_job job = { .run = run_fence, .a = f->va, .b = f->pages, .c = f->asid };

	/* Decoded instructions follow stores by themselves; soft_dsb() waits until they have. */
	if (!f->code) {
		if (bit(mask, v->index))
			run_fence(v, &job);
		soft_ask(v, mask, &job);
	}
	soft_dsb(v);
}

static const char *insn_name(const struct engine *engine, uint32_t word)
{
	bool rv64 = engine->cfg.arch == GUEST_RV64;
	enum rv_insn insn = rv_decode((word & 3) == 3 ? word : rvc_expand((uint16_t)word, rv64));

	return insn == rv_NONE ? "?" : rv_info[insn].name;
}

const struct soft_arch soft_rv = {
	.create = create,
	.destroy = destroy,
	.reset = reset,
	.get = get,
	.set = set,
	.run = run,
	.hart = hart,
	.fence = fence,
	.flush_tlbs = flush_tlbs,
	.forget = forget,
	.protect = protect,
	.unmap_code = unmap_code,
	.pc = under_way,
	.executes = executes,
	.reg = rv_reg,
	.reg_get = rv_reg_get,
	.reg_set = rv_reg_set,
	.insn_name = insn_name,
};

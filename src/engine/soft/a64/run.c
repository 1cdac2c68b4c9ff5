/* SPDX-License-Identifier: MIT */
/*
 * How an AArch64 vCPU runs: what run.inc leaves to the architecture.
 */
#include <string.h>

#include "engine/soft/a64/interp.h"
#include "engine/soft/a64/mmu.h"
#include "engine/soft/a64/sysreg.h"

enum { N_CTXS = A64_N_CTXS };
#include "engine/soft/run.inc"

static void run_ops(struct a64_cpu *c, const struct op *op)
{
	while (op)
		op = a64_handlers[op->handler](c, op, a64_handlers);
}

/* Decode first, then run with a table that stops behind it. */
static void step_op(struct a64_cpu *c, const struct op *op)
{
	struct code_page *page = container_of(c->page, struct code_page, ops[0]);
	unsigned index = (unsigned)(op - c->page);
	uint32_t w = (uint32_t)soft_load(page->host + index * 4, 4);
	c->cur = op;
	soft_traced(&c->vcpu, a64_op_va(c, op), w);
	soft_break_lift(&c->vcpu, op);
	if (op->handler == OP_decode)
		a64_make_op(c, &page->ops[index], w, index);
	op = a64_handlers[op->handler](c, op, stopping);
	if (op)
		c->pc = a64_op_va(c, op);
	a64_debug_after(c, w);
}

static bool before(struct a64_cpu *c)
{
	if (unlikely(c->il))
		a64_raise_at(c, A64_EC_ILLEGAL_STATE, 0, c->pc);
	if (likely(!a64_debug_one_by_one(c)))
		return false;
	a64_debug_before(c);
	return true;
}

/* WFI and WFE: sleep until something happens. */
static void do_wait(struct a64_cpu *c)
{
	struct vcpu *v = &c->vcpu;
	if (c->wait == A64_WAIT_INTERRUPT) {
		if (!atomic_load(&v->irq_lines)) {
			soft_sleep(v, 0, !a64_timer_armed(c));
			if (!atomic_load(&v->irq_lines) && !atomic_load(&v->kicked))
				return; /* a job or a timer to look at: sleep on afterwards */
		}
	} else if (!atomic_load(&v->irq_lines)) {
		/*
		 * A monitor cleared by another CPU's store is an event that we do not see. So WFE
		 * never sleeps long, but longer each time nothing happened: a spin lock gets it
		 * soon, an idle loop costs little.
		 */
		unsigned shift = c->wfe_idle < 10 ? c->wfe_idle : 10;
		c->wfe_idle++;
		soft_sleep(v, 1000ULL << shift, false);
	}
	c->wait = A64_NO_WAIT;
}

static void reset(struct vcpu *v)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	memset(c->x, 0, sizeof(c->x));
	memset(c->v, 0, sizeof(c->v));
	c->fpcr = c->fpsr = 0;
	c->excl_valid = false;
	c->wait = A64_NO_WAIT;
	c->wfe_idle = 0;
	a64_sysreg_reset(c);
	for (unsigned i = 0; i < A64_N_ASIDS; i++)
		c->ctx_asid[i] = ~0u;
	c->ctx_asid[0] = 0;
	c->ctx_now = 0;
	forget(v);
	c->pc = 0;
	c->el = c->spsel = 1;
	a64_set_pstate(c, 0x3c5); /* EL1h, DAIF masked */
	a64_timer_update(c);
}

static uint64_t get(struct vcpu *v, unsigned reg)
{
	const struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	if (reg < 31)
		return c->x[reg];
	switch (reg) {
	case VCPU_REG_SP: return c->x[A64_SP];
	case VCPU_REG_PC: return c->pc;
	case VCPU_REG_PSTATE: return a64_pstate(c);
	default: return 0;
	}
}

static void set(struct vcpu *v, unsigned reg, uint64_t val)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	if (reg < 31)
		c->x[reg] = val;
	else if (reg == VCPU_REG_SP)
		c->x[A64_SP] = val;
	else if (reg == VCPU_REG_PC)
		c->pc = val;
	else if (reg == VCPU_REG_PSTATE)
		a64_set_pstate(c, val);
}

static const char *insn_name(const struct engine *engine, uint32_t word)
{
	enum a64_insn insn = a64_decode(word);

	(void)engine;
	return insn == a64_NONE ? "?" : a64_info[insn].name;
}

const struct soft_arch soft_a64 = {
	.create = create,
	.destroy = destroy,
	.reset = reset,
	.get = get,
	.set = set,
	.run = run,
	.flush_tlbs = flush_tlbs,
	.forget = forget,
	.protect = protect,
	.unmap_code = unmap_code,
	.pc = under_way,
	.executes = executes,
	.reg = a64_reg,
	.reg_get = a64_reg_get,
	.reg_set = a64_reg_set,
	.insn_name = insn_name,
};

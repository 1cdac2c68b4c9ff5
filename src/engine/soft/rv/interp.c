/* SPDX-License-Identifier: MIT */
/*
 * The RISC-V interpreter: executors and handlers for RV32 and RV64, decoding, and the run loop. How
 * ops are dispatched is in dispatch.inc; the AArch64 interpreter has the same shape.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "engine/soft/access.h"
#include "engine/soft/fp.h"
#include "engine/soft/rv/cpu.h"
#include "engine/soft/rv/rvc.h"
#include "host/file.h"
#include "rv_decode.h"

typedef struct rv_cpu cpu_t;
#include "engine/soft/dispatch.inc"

static inline bool attention(const struct rv_cpu *c)
{
	return unlikely(atomic_load_explicit(&c->vcpu.attention, memory_order_relaxed));
}

/* A taken branch inside the page. */
#define BRANCH_TO(o)                             \
	do {                                     \
		const struct op *t_ = (o);       \
		if (attention(c)) {              \
			c->pc = rv_op_va(c, t_); \
			return NULL;             \
		}                                \
		GO(t_);                          \
	} while (0)

/* A branch to anywhere. */
#define JUMP(to)                                                                       \
	do {                                                                           \
		uint64_t va_ = (to);                                                   \
		const struct tlb_xentry *x_ = tlb_x(c->tlb_x, va_);                    \
		if (unlikely(x_->va != (va_ & (TLB_PAGE_MASK | 1))) || attention(c)) { \
			c->pc = va_;                                                   \
			return NULL;                                                   \
		}                                                                      \
		c->page_va = x_->va;                                                   \
		c->page = x_->page->ops;                                               \
		GO(&c->page[va_ % GMEM_PAGE_SIZE / 2]);                                \
	} while (0)

/* ---- what executors use ---- */

static uint64_t pc_of(const struct rv_cpu *c)
{
	return rv_op_va(c, c->cur);
}

static void rv_xw(struct rv_cpu *c, unsigned rd, uint64_t v)
{
	c->x[rd ? rd : RV_SINK] = v;
}

static uint64_t rv_load(struct rv_cpu *c, uint64_t va, unsigned size)
{
	const struct tlb_entry *e = tlb_d(c->tlb, va);
	if (likely(((va + size - 1) & TLB_PAGE_MASK) == e->r))
		return soft_load((const void *)(uintptr_t)(va + e->addend), size);
	return rv_load_slow(c, va, size);
}

static void rv_store(struct rv_cpu *c, uint64_t va, unsigned size, uint64_t v)
{
	const struct tlb_entry *e = tlb_d(c->tlb, va);
	if (likely(((va + size - 1) & TLB_PAGE_MASK) == e->w))
		soft_store((void *)(uintptr_t)(va + e->addend), size, v);
	else
		rv_store_slow(c, va, size, v);
}

/* ---- floating point: AArch64's library, in RISC-V's terms ---- */

static void f_write64(struct rv_cpu *c, unsigned rd, uint64_t v)
{
	c->f[rd] = v;
	c->csr.mstatus |= RV_FS;
}

/* Single precision is NaN-boxed; what is not is read as the canonical NaN (22.2). */
static void f_write32(struct rv_cpu *c, unsigned rd, uint32_t v)
{
	f_write64(c, rd, 0xffffffff00000000ULL | v);
}
static uint32_t f_read32(const struct rv_cpu *c, unsigned rs)
{
	return c->f[rs] >> 32 == 0xffffffff ? (uint32_t)c->f[rs] : 0x7fc00000;
}

/* The environment of one instruction with rounding mode field `rm` (21.2). */
static struct fpenv f_env(struct rv_cpu *c, unsigned rm, uint32_t *flags)
{
	static const uint32_t fpcr[] = {
		FP_RN << FPCR_RMODE_SHIFT,
		FP_RZ << FPCR_RMODE_SHIFT,
		FP_RM << FPCR_RMODE_SHIFT,
		FP_RP << FPCR_RMODE_SHIFT,
		FP_RISCV_RMM,
	};
	if (rm == 7)
		rm = c->frm;
	if (rm > 4)
		rv_illegal(c);
	/* With NX set already the library may use the host's arithmetic; NX only accumulates. */
	*flags = c->fflags & 1 ? FPSR_IXC : 0;
	return (struct fpenv){ fpcr[rm] | FPCR_DN | FP_RISCV_TINY_AFTER, flags };
}

static void f_flags(struct rv_cpu *c, uint32_t fpsr)
{
	uint32_t v = (fpsr & FPSR_IXC ? 1u : 0) | (fpsr & FPSR_UFC ? 2u : 0) |
		     (fpsr & FPSR_OFC ? 4u : 0) | (fpsr & FPSR_DZC ? 8u : 0) |
		     (fpsr & FPSR_IOC ? 16u : 0);
	if (v & ~c->fflags) {
		c->fflags |= v;
		c->csr.mstatus |= RV_FS;
	}
}

/* FCLASS: one of ten bits (21.9) */
static uint64_t f_class(uint64_t v, unsigned fraction_bits, unsigned exp_bits)
{
	bool sign = bit(v, fraction_bits + exp_bits);
	uint64_t exp = v >> fraction_bits & mask_low(exp_bits), frac = v & mask_low(fraction_bits);
	if (exp == mask_low(exp_bits))
		return frac ? (bit(frac, fraction_bits - 1) ? BIT(9) : BIT(8))
			    : (sign ? BIT(0) : BIT(7));
	if (exp == 0)
		return frac ? (sign ? BIT(2) : BIT(5)) : (sign ? BIT(3) : BIT(4));
	return sign ? BIT(1) : BIT(6);
}

/* Minimum and maximum: the number beats a NaN, even a signalling one; -0 is less than +0 (21.6). */
#define MINMAX(T, w, inf, quiet, canonical)                                                       \
	static bool f_nan##w(T v)                                                                 \
	{                                                                                         \
		return (T)(v << 1) > (T)(inf << 1);                                               \
	}                                                                                         \
	static T f_minmax##w(const struct fpenv *e, T a, T b, bool is_max)                        \
	{                                                                                         \
		bool na = f_nan##w(a), nb = f_nan##w(b);                                          \
		if (!na && !nb)                                                                   \
			return is_max ? fp##w##_max(e, a, b) : fp##w##_min(e, a, b);              \
		if ((na && !(a & quiet)) || (nb && !(b & quiet)))                                 \
			*e->fpsr |= FPSR_IOC;                                                     \
		return na ? (nb ? canonical : b) : a;                                             \
	}                                                                                         \
	/* Conversion to an integer: a NaN becomes the largest (21.7). */                         \
	static uint64_t f_to_int##w(const struct fpenv *e, T a, bool is_unsigned, unsigned width) \
	{                                                                                         \
		if (!f_nan##w(a))                                                                 \
			return fp##w##_to_fixed(e, a, 0, is_unsigned, fp_rmode(e), width);        \
		*e->fpsr |= FPSR_IOC;                                                             \
		return mask_low(is_unsigned ? width : width - 1);                                 \
	}
MINMAX(uint32_t, 32, 0x7f800000u, BIT(22), 0x7fc00000u)
MINMAX(uint64_t, 64, 0x7ff0000000000000ULL, BIT(51), 0x7ff8000000000000ULL)

/* ---- handlers ---- */

/* clang-format off */
/* translate() relies on the order of branches and that the 4-byte form follows the 2-byte one. */
#define SHORT_FORMS(X)                                                                             \
	X(li) X(auipc) X(mv) X(addi) X(andi) X(ori) X(xori) X(slti) X(sltiu) X(slli) X(srli)       \
	X(srai) X(add) X(sub) X(and) X(or) X(xor) X(slt) X(sltu) X(sll) X(srl) X(mul) X(addiw)     \
	X(addw) X(subw) X(slliw) X(srliw) X(sraiw) X(sh1add) X(sh2add) X(sh3add) X(add_uw)         \
	X(beq) X(bne) X(blt) X(bge) X(bltu) X(bgeu) X(jal) X(jal_far) X(jalr)                      \
	X(lb) X(lbu) X(lh) X(lhu) X(lw) X(lwu) X(ld) X(sb) X(sh) X(sw) X(sd)
/* clang-format on */

enum {
	OP_decode, /* a zeroed op */
	OP_page_end,
	OP_cross_end,
	OP_breakpoint, /* up to here, none is an instruction */
	OP_illegal,
	OP_fencing,
#define X(name) OP_##name, OP_##name##_4,
	SHORT_FORMS(X)
#undef X
		OP_insn, /* + enum rv_insn */
	N_HANDLERS = OP_insn + rv_N_INSNS
};

static void translate(struct rv_cpu *c, struct op *op, uint32_t w, unsigned length, unsigned index);

#define XLEN         64
#define XLEN_NAME(n) rv64_##n
#include "engine/soft/rv/exec.inc"
#include "engine/soft/rv/interp.inc"
#undef XLEN
#undef XLEN_NAME
#define XLEN         32
#define XLEN_NAME(n) rv32_##n
#include "engine/soft/rv/exec.inc"
#include "engine/soft/rv/interp.inc"

/* ---- decoding ---- */

static uint8_t dst(uint32_t r)
{
	return r ? (uint8_t)r : RV_SINK;
}

/* A branch inside the page; index is RV_PAGE_OPS for an instruction that has no place in one. */
static bool near(unsigned index, int64_t bytes)
{
	int64_t to = (int64_t)index + bytes / 2;
	return index < RV_PAGE_OPS && to >= 0 && to < RV_PAGE_OPS;
}

static bool short_form(struct rv_cpu *c, struct op *op, enum rv_insn insn, uint32_t w,
		       unsigned length, unsigned index)
{
	uint8_t rd = dst(w >> 7 & 31), rs1 = (uint8_t)(w >> 15 & 31), rs2 = (uint8_t)(w >> 20 & 31);
	int32_t imm = (int32_t)w >> 20; /* I format */
	int64_t far;
	unsigned h;

#define SET(handler_, rd_, rn_, imm_)                                                 \
	do {                                                                          \
		*op = (struct op){ .handler = (uint16_t)((handler_) + (length == 4)), \
				   .rd = (rd_),                                       \
				   .rn = (rn_),                                       \
				   .imm = (int32_t)(imm_) };                          \
		return true;                                                          \
	} while (0)
#define REG(handler_)                                                                 \
	do {                                                                          \
		*op = (struct op){ .handler = (uint16_t)((handler_) + (length == 4)), \
				   .rd = rd,                                          \
				   .rn = rs1,                                         \
				   .rm = rs2 };                                       \
		return true;                                                          \
	} while (0)

	switch (insn) {
	case rv_LUI: SET(OP_li, rd, 0, w & 0xfffff000);
	case rv_AUIPC:
		/* imm counts from the page's start, so it must not wrap */
		far = (int64_t)(int32_t)(w & 0xfffff000) + (int64_t)index * 2;
		if (index >= RV_PAGE_OPS || far != (int32_t)far)
			return false;
		SET(OP_auipc, rd, 0, far);
	case rv_ADDI:
		if (rs1 == 0)
			SET(OP_li, rd, 0, imm);
		SET(OP_addi, rd, rs1, imm);
	case rv_ANDI: SET(OP_andi, rd, rs1, imm);
	case rv_ORI: SET(OP_ori, rd, rs1, imm);
	case rv_XORI: SET(OP_xori, rd, rs1, imm);
	case rv_SLTI: SET(OP_slti, rd, rs1, imm);
	case rv_SLTIU: SET(OP_sltiu, rd, rs1, imm);
	case rv_SLLI:
	case rv_SRLI:
	case rv_SRAI: {
		uint32_t n = rv_SLLI_shamt(w);
		if (!c->xlen64 && n > 31)
			return false;
		h = insn == rv_SLLI ? OP_slli : insn == rv_SRLI ? OP_srli : OP_srai;
		SET(h, rd, rs1, n);
	}
	case rv_ADDIW: SET(OP_addiw, rd, rs1, imm);
	case rv_SLLIW: SET(OP_slliw, rd, rs1, rs2);
	case rv_SRLIW: SET(OP_srliw, rd, rs1, rs2);
	case rv_SRAIW: SET(OP_sraiw, rd, rs1, rs2);
	case rv_ADD:
		if (rs1 == 0)
			REG(OP_mv);
		REG(OP_add);
	case rv_SUB: REG(OP_sub);
	case rv_AND: REG(OP_and);
	case rv_OR: REG(OP_or);
	case rv_XOR: REG(OP_xor);
	case rv_SLT: REG(OP_slt);
	case rv_SLTU: REG(OP_sltu);
	case rv_SLL: REG(OP_sll);
	case rv_SRL: REG(OP_srl);
	case rv_MUL: REG(OP_mul);
	case rv_ADDW: REG(OP_addw);
	case rv_SUBW: REG(OP_subw);
	case rv_SH1ADD: REG(OP_sh1add);
	case rv_SH2ADD: REG(OP_sh2add);
	case rv_SH3ADD: REG(OP_sh3add);
	case rv_ADD_UW: REG(OP_add_uw);

	case rv_BEQ: h = OP_beq; break;
	case rv_BNE: h = OP_bne; break;
	case rv_BLT: h = OP_blt; break;
	case rv_BGE: h = OP_bge; break;
	case rv_BLTU: h = OP_bltu; break;
	case rv_BGEU: h = OP_bgeu; break;
	case rv_JAL:
		far = sign_extend(rv_JAL_imm20(w) << 20 | rv_JAL_imm19(w) << 12 |
					  rv_JAL_imm11(w) << 11 | rv_JAL_imm10(w) << 1,
				  21);
		if (near(index, far))
			SET(OP_jal, rd, 0, far / 2);
		SET(OP_jal_far, rd, 0, far);
	case rv_JALR: SET(OP_jalr, rd, rs1, imm);

	case rv_LB: SET(OP_lb, rd, rs1, imm);
	case rv_LBU: SET(OP_lbu, rd, rs1, imm);
	case rv_LH: SET(OP_lh, rd, rs1, imm);
	case rv_LHU: SET(OP_lhu, rd, rs1, imm);
	case rv_LW: SET(OP_lw, rd, rs1, imm);
	case rv_LWU: SET(OP_lwu, rd, rs1, imm);
	case rv_LD: SET(OP_ld, rd, rs1, imm);
	case rv_SB:
	case rv_SH:
	case rv_SW:
	case rv_SD:
		h = insn == rv_SB ? OP_sb : insn == rv_SH ? OP_sh : insn == rv_SW ? OP_sw : OP_sd;
		SET(h, rs2, rs1, sign_extend(rv_SB_imm11(w) << 5 | rv_SB_imm4(w), 12));
	default: return false;
	}
	far = sign_extend(rv_BEQ_imm12(w) << 12 | rv_BEQ_imm11(w) << 11 | rv_BEQ_imm10(w) << 5 |
				  rv_BEQ_imm4(w) << 1,
			  13);
	if (!near(index, far))
		return false;
	SET(h, rs1, rs2, far / 2);
#undef SET
#undef REG
}

/*
 * Does it keep stores before it apart from those after it? FENCE with W on both sides (volume I,
 * 2.7). A release alone does so together with a later acquire, as of a lock (14.1); that this comes
 * is taken for granted.
 */
static bool is_fence(enum rv_insn insn, uint32_t w)
{
	enum { PRED_W = 24, SUCC_W = 20 };

	if (insn == rv_FENCE)
		return bit(w, PRED_W) && bit(w, SUCC_W);
	return insn >= rv_LR && insn <= rv_AMOMAXU && rv_LR_rl(w);
}

static void translate(struct rv_cpu *c, struct op *op, uint32_t w, unsigned length, unsigned index)
{
	enum rv_insn insn = rv_decode(w);
	uint32_t only = c->xlen64 ? rv_ATTR_rv32 : rv_ATTR_rv64;
	bool counted = soft_counts_fences(&c->vcpu) && is_fence(insn, w);

	if (rv_info[insn].attributes & only)
		insn = rv_NONE;
	if (insn != rv_NONE && short_form(c, op, insn, w, length, index))
		return;
	*op = (struct op){ .handler = (uint16_t)(counted ? OP_fencing : OP_insn + insn),
			   .rd = (uint8_t)length,
			   .word = w };
}

const struct op *rv_decode_alone(struct rv_cpu *c, uint32_t w)
{
	const bool wide = (w & 3) == 3;

	translate(c, &c->cross[0], wide ? w : rvc_expand((uint16_t)w, c->xlen64), wide ? 4 : 2,
		  RV_PAGE_OPS);
	c->cross[wide ? 2 : 1] = (struct op){ .handler = OP_cross_end };
	return &c->cross[0];
}

/* ---- the run loop ---- */

/* In the table used for stepping, every handler is this one. */
static const struct op *op_stop(struct rv_cpu *c, const struct op *op, const void *table)
{
	UNUSED;
	return op;
}

static handler *const stopping[N_HANDLERS] = { [0 ... N_HANDLERS - 1] = op_stop };

/* One instruction, for debugging, with a table that stops behind each op. */
static void step_op(struct rv_cpu *c, const struct op *op, handler *const *table)
{
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

/* Is a timer interrupt enabled that will come? Of ACLINT's one does not know here. */
static bool timer_will_wake(const struct rv_cpu *c)
{
	uint64_t at = c->csr.stimecmp - atomic_load(&c->vcpu.engine->time_ahead);
	bool sstc = (c->csr.menvcfg & RV_ENVCFG_STCE) && (c->csr.mie & BIT(RV_STI)) &&
		    at <= ~0ULL / (1000000000 / RV_TIMEBASE);
	return sstc || (c->csr.mie & BIT(RV_MTI));
}

static int rv_run(struct vcpu *v, enum vcpu_exit *exit)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	handler *const *table = c->xlen64 ? rv64_handlers : rv32_handlers;

	c->leave = false;
	(void)_setjmp(c->unwind);
	while (!c->leave) {
		if (atomic_exchange(&v->attention, 0)) {
			soft_do_jobs(v);
			if (atomic_exchange(&v->timer_due, 0))
				rv_timer_update(c);
			if (atomic_exchange(&v->kicked, 0)) {
				c->exit = VCPU_KICKED;
				break;
			}
		}
		if (c->wait && !v->debug.due) {
			/* Any interrupt that is enabled in mie ends it, whatever the global enables
			 * say. */
			if (!(rv_mip(c) & c->csr.mie)) {
				soft_sleep(v, 0, !timer_will_wake(c));
				continue;
			}
			c->wait = false;
		}
		if (likely(!v->debug.due))
			rv_take_interrupt(c);
		v->debug.returned = false;
		if (unlikely(v->debug.active)) {
			enum soft_next next = soft_debug_next(v, c->pc);
			if (next == SOFT_STOP) {
				c->exit = VCPU_DEBUG;
				break;
			}
			if (next == SOFT_ONE) {
				c->wait = false;
				step_op(c, rv_fetch(c, c->pc), table);
				continue;
			}
		}
		for (const struct op *op = rv_fetch(c, c->pc); op;)
			op = table[op->handler](c, op, table);
	}
	*exit = c->exit;
	return 0;
}

/* ---- life of a hart ---- */

static void flush_tlbs(struct vcpu *v)
{
	rv_flush_all_tlbs(container_of(v, struct rv_cpu, vcpu));
}

static void forget(struct vcpu *v)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	rv_flush_all_tlbs(c);
	code_flush(&v->code);
}

static void protect(struct vcpu *v)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	for (unsigned i = 0; i < RV_N_CTXS; i++)
		soft_protect_tlb(v, &c->ctx[i]);
}

static void unmap_code(struct vcpu *v, const struct code_page *page)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	for (unsigned i = 0; i < RV_N_CTXS; i++)
		tlb_unmap_code(&c->ctx[i], page);
}

static uint64_t under_way(const struct vcpu *v)
{
	const struct rv_cpu *c = container_of(v, const struct rv_cpu, vcpu);

	return rv_op_va(c, c->cur);
}

static bool executes(const struct vcpu *v, const struct code_page *page)
{
	return container_of(v, const struct rv_cpu, vcpu)->page == page->ops;
}

static void rv_reset(struct vcpu *v)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
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

static int create(struct engine *engine, unsigned index, const struct vcpu_wiring *wiring,
		  struct vcpu **vcpu, struct err *err)
{
	struct rv_cpu *c = host_map(sizeof(*c), err);
	if (!c)
		return err->code;
	c->xlen64 = engine->cfg.arch == GUEST_RV64;
	c->sbi = wiring->sbi;
	int res = soft_vcpu_init(&c->vcpu, engine, index, wiring, RV_PAGE_OPS, OP_page_end, err);
	if (res) {
		host_unmap(c, sizeof(*c));
		return res;
	}
	rv_reset(&c->vcpu);
	*vcpu = &c->vcpu;
	return 0;
}

static void destroy(struct vcpu *v)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	soft_vcpu_fini(v);
	host_unmap(c, sizeof(*c));
}

static uint64_t get(struct vcpu *v, unsigned reg)
{
	const struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	switch (reg) {
	case VCPU_REG_PC: return c->pc;
	case VCPU_REG_RV_STIMECMP: return c->csr.stimecmp;
	case VCPU_REG_RV_SATP: return c->csr.satp;
	case VCPU_REG_RV_SSTATUS: return rv_csr_peek((struct rv_cpu *)(uintptr_t)c, 0x100);
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
		rv_csr_write(c, 0x180, val);
	else if (reg == VCPU_REG_RV_SSTATUS)
		rv_csr_write(c, 0x100, val);
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
	.reset = rv_reset,
	.get = get,
	.set = set,
	.run = rv_run,
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

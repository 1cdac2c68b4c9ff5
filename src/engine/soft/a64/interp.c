/* SPDX-License-Identifier: MIT */
/*
 * The AArch64 interpreter: decoding into ops, the handlers that run most, and the run loop.
 *
 * dispatch.inc says how ops are dispatched. A handler returns NULL when the run loop must look:
 * after c->pc was set, on attention, or before sleeping.
 *
 * Every line of the instruction tables has a handler that calls its executor with the instruction
 * word. The short forms below exist beside them only for speed; translate() chooses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "engine/soft/a64/alu.h"
#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/mmu.h"
#include "engine/soft/a64/sysreg.h"
#include "host/file.h"

typedef struct a64_cpu cpu_t;
#include "engine/soft/dispatch.inc"

#define HANDLER(name) \
	static const struct op *op_##name(struct a64_cpu *c, const struct op *op, const void *table)
#define NEXT GO(op + 1)

#define RD c->x[op->rd]
#define RN c->x[op->rn]
#define RM c->x[op->rm]

static inline bool attention(const struct a64_cpu *c)
{
	return unlikely(atomic_load_explicit(&c->vcpu.attention, memory_order_relaxed));
}

/* A taken branch inside the page, `o` being the target. */
#define BRANCH_TO(o)                              \
	do {                                      \
		const struct op *t_ = (o);        \
		if (attention(c)) {               \
			c->pc = a64_op_va(c, t_); \
			return NULL;              \
		}                                 \
		GO(t_);                           \
	} while (0)

/* A branch to anywhere. A misaligned target matches no entry and faults in the run loop. */
#define JUMP(to)                                                                       \
	do {                                                                           \
		uint64_t va_ = (to);                                                   \
		const struct tlb_xentry *x_ = tlb_x(c->tlb, va_);                      \
		if (unlikely(x_->va != (va_ & (TLB_PAGE_MASK | 3))) || attention(c)) { \
			c->pc = va_;                                                   \
			return NULL;                                                   \
		}                                                                      \
		c->page_va = x_->va;                                                   \
		c->page = x_->page->ops;                                               \
		GO(&c->page[(va_ >> 2) % A64_PAGE_OPS]);                               \
	} while (0)

static void translate(struct a64_cpu *c, struct op *op, uint32_t w, unsigned index);

/* ---- what is not an instruction ---- */

static void put_breakpoint(struct op *op);

HANDLER(decode)
{
	/* ops are only const to those who run them */
	struct code_page *page = container_of(c->page, struct code_page, ops[0]);
	unsigned index = (unsigned)(op - c->page);
	uint32_t w = (uint32_t)soft_load(page->host + index * 4, 4);
	c->cur = op;
	if (soft_break_here(&c->vcpu, op, index * 4))
		put_breakpoint(&page->ops[index]);
	else
		translate(c, &page->ops[index], w, index);
	GO(op);
}

HANDLER(page_end)
{
	UNUSED;
	JUMP(c->page_va + GMEM_PAGE_SIZE);
}

HANDLER(breakpoint)
{
	UNUSED;
	c->pc = a64_op_va(c, op);
	return NULL;
}

HANDLER(unallocated)
{
	UNUSED;
	c->cur = op;
	a64_undefined(c);
}

/* In the table used for stepping, every handler is this one. */
HANDLER(stop)
{
	UNUSED;
	c->pc = a64_op_va(c, op);
	return NULL;
}

/* ---- every instruction, by its executor ---- */

static _Noreturn void fp_trap(struct a64_cpu *c)
{
	/* ISS: CV and COND as for an unconditional instruction */
	a64_raise(c, A64_EC_FP_ACCESS, 1u << 24 | 0xeu << 20);
}

#define X(name, attributes)                                                \
	HANDLER(insn_##name)                                               \
	{                                                                  \
		c->cur = op;                                               \
		if (((attributes)&a64_ATTR_fp) && unlikely(c->fp_trapped)) \
			fp_trap(c);                                        \
		if ((attributes)&a64_ATTR_end) {                           \
			c->pc = a64_op_va(c, op) + 4;                      \
			a64_exec_##name(c, op->word);                      \
			if (c->wait || c->leave)                           \
				return NULL;                               \
			JUMP(c->pc);                                       \
		}                                                          \
		a64_exec_##name(c, op->word);                              \
		NEXT;                                                      \
	}
a64_INSNS(X)
#undef X

	/* ---- short forms: moves and arithmetic ---- */

	HANDLER(nop)
{
	UNUSED;
	NEXT;
}

HANDLER(mov_imm) /* rd = imm, sign-extended */
{
	RD = (uint64_t)(int64_t)op->imm;
	NEXT;
}

HANDLER(movz) /* rd = rm:ra as 16 bits << rn */
{
	RD = (uint64_t)(uint16_t)op->simm << op->rn;
	NEXT;
}

HANDLER(movk)
{
	RD = (RD & ~(0xffffULL << op->rn)) | (uint64_t)(uint16_t)op->simm << op->rn;
	NEXT;
}

HANDLER(adr) /* imm counts from the page's start */
{
	RD = c->page_va + (uint64_t)(int64_t)op->imm;
	NEXT;
}

HANDLER(adrp)
{
	RD = c->page_va + ((uint64_t)(int64_t)op->imm << 12);
	NEXT;
}

HANDLER(mov64)
{
	RD = RM;
	NEXT;
}

HANDLER(mov32)
{
	RD = (uint32_t)RM;
	NEXT;
}

/* rd = rn op (constant or rm), 64 and 32 bits */
#define BINARY(name, expr)                                   \
	HANDLER(name##64)                                    \
	{                                                    \
		uint64_t a = RN, b = RM;                     \
		RD = (expr);                                 \
		NEXT;                                        \
	}                                                    \
	HANDLER(name##32)                                    \
	{                                                    \
		uint32_t a = (uint32_t)RN, b = (uint32_t)RM; \
		RD = (uint32_t)(expr);                       \
		NEXT;                                        \
	}
BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(and, a &b)
BINARY(orr, a | b)
BINARY(eor, a ^ b)
BINARY(bic, a & ~b)
BINARY(mul, a *b)

#define BINARY_IMM(name, expr)                           \
	HANDLER(name##64)                                \
	{                                                \
		uint64_t a = RN, b = op->word;           \
		RD = (expr);                             \
		NEXT;                                    \
	}                                                \
	HANDLER(name##32)                                \
	{                                                \
		uint32_t a = (uint32_t)RN, b = op->word; \
		RD = (uint32_t)(expr);                   \
		NEXT;                                    \
	}
BINARY_IMM(add_imm, a + b)
BINARY_IMM(sub_imm, a - b)
BINARY_IMM(lsl_imm, a << b)
BINARY_IMM(lsr_imm, a >> b)
HANDLER(asr_imm64)
{
	RD = (uint64_t)((int64_t)RN >> op->word);
	NEXT;
}
HANDLER(asr_imm32)
{
	RD = (uint32_t)((int32_t)RN >> op->word);
	NEXT;
}

/* rd = rn op (rm << ra) */
#define BINARY_LSL(name, expr)                                         \
	HANDLER(name##64)                                              \
	{                                                              \
		uint64_t a = RN, b = RM << op->ra;                     \
		RD = (expr);                                           \
		NEXT;                                                  \
	}                                                              \
	HANDLER(name##32)                                              \
	{                                                              \
		uint32_t a = (uint32_t)RN, b = (uint32_t)RM << op->ra; \
		RD = (uint32_t)(expr);                                 \
		NEXT;                                                  \
	}
BINARY_LSL(add_lsl, a + b)
BINARY_LSL(sub_lsl, a - b)
BINARY_LSL(and_lsl, a &b)
BINARY_LSL(orr_lsl, a | b)
BINARY_LSL(eor_lsl, a ^ b)

/* rd = rn op (rm >> ra) */
#define BINARY_LSR(name, expr)                                         \
	HANDLER(name##64)                                              \
	{                                                              \
		uint64_t a = RN, b = RM >> op->ra;                     \
		RD = (expr);                                           \
		NEXT;                                                  \
	}                                                              \
	HANDLER(name##32)                                              \
	{                                                              \
		uint32_t a = (uint32_t)RN, b = (uint32_t)RM >> op->ra; \
		RD = (uint32_t)(expr);                                 \
		NEXT;                                                  \
	}
BINARY_LSR(add_lsr, a + b)
BINARY_LSR(sub_lsr, a - b)
BINARY_LSR(eor_lsr, a ^ b)

/* rd = rn op (word of rm << ra), 64 bits */
HANDLER(add_uxtw)
{
	RD = RN + ((uint64_t)(uint32_t)RM << op->ra);
	NEXT;
}
HANDLER(add_sxtw)
{
	RD = RN + ((uint64_t)(int64_t)(int32_t)RM << op->ra);
	NEXT;
}
HANDLER(sub_uxtw)
{
	RD = RN - ((uint64_t)(uint32_t)RM << op->ra);
	NEXT;
}
HANDLER(sub_sxtw)
{
	RD = RN - ((uint64_t)(int64_t)(int32_t)RM << op->ra);
	NEXT;
}

/* Logical immediates. Masks that 32 bits can say are in the op itself, sign-extended. */
#define LOGICAL(name, expr)                                      \
	HANDLER(name##_imm)                                      \
	{                                                        \
		uint64_t a = RN, b = (uint64_t)(int64_t)op->imm; \
		RD = (expr);                                     \
		NEXT;                                            \
	}                                                        \
	HANDLER(name##_imm32)                                    \
	{                                                        \
		uint32_t a = (uint32_t)RN, b = op->word;         \
		RD = (uint32_t)(expr);                           \
		NEXT;                                            \
	}
LOGICAL(and, a &b)
LOGICAL(orr, a | b)
LOGICAL(eor, a ^ b)
/* Others of 64 bits: ra + 1 ones, rotated right by rm (N = 1 in the encoding). */
static inline uint64_t mask_of(const struct op *op)
{
	uint64_t ones = ~0ULL >> (63 - op->ra);
	return ones >> (op->rm & 63) | ones << (-op->rm & 63);
}
HANDLER(and_mask)
{
	RD = RN & mask_of(op);
	NEXT;
}
HANDLER(orr_mask)
{
	RD = RN | mask_of(op);
	NEXT;
}

static inline void logic_flags64(struct a64_cpu *c, uint64_t r)
{
	c->nf = c->zf = r;
	c->cf = c->vf = 0;
}
static inline void logic_flags32(struct a64_cpu *c, uint32_t r)
{
	c->nf = (uint64_t)r << 32;
	c->zf = r;
	c->cf = c->vf = 0;
}
HANDLER(ands64)
{
	uint64_t r = RN & RM;
	logic_flags64(c, r);
	RD = r;
	NEXT;
}
HANDLER(ands32)
{
	uint32_t r = (uint32_t)(RN & RM);
	logic_flags32(c, r);
	RD = r;
	NEXT;
}
HANDLER(ands_imm)
{
	uint64_t r = RN & (uint64_t)(int64_t)op->imm;
	logic_flags64(c, r);
	RD = r;
	NEXT;
}
HANDLER(ands_mask)
{
	uint64_t r = RN & mask_of(op);
	logic_flags64(c, r);
	RD = r;
	NEXT;
}
HANDLER(ands_imm32)
{
	uint32_t r = (uint32_t)RN & op->word;
	logic_flags32(c, r);
	RD = r;
	NEXT;
}

/* With flags */
HANDLER(subs64)
{
	RD = a64_subs64(c, RN, RM);
	NEXT;
}
HANDLER(subs32)
{
	RD = a64_subs32(c, (uint32_t)RN, (uint32_t)RM);
	NEXT;
}
HANDLER(subs_imm64)
{
	RD = a64_subs64(c, RN, op->word);
	NEXT;
}
HANDLER(subs_imm32)
{
	RD = a64_subs32(c, (uint32_t)RN, op->word);
	NEXT;
}
HANDLER(adds64)
{
	RD = a64_add_carry(c, true, true, RN, RM, 0);
	NEXT;
}
HANDLER(adds32)
{
	RD = a64_add_carry(c, false, true, RN, RM, 0);
	NEXT;
}
HANDLER(adds_imm64)
{
	RD = a64_add_carry(c, true, true, RN, op->word, 0);
	NEXT;
}
HANDLER(adds_imm32)
{
	RD = a64_add_carry(c, false, true, RN, op->word, 0);
	NEXT;
}

/* Bit fields: rd = extract ra bits of rn at rm */
HANDLER(ubfx)
{
	RD = RN >> op->rm & mask_low(op->ra);
	NEXT;
}
HANDLER(sbfx64)
{
	RD = (uint64_t)sign_extend(RN >> op->rm, op->ra);
	NEXT;
}
HANDLER(sbfx32)
{
	RD = (uint32_t)sign_extend(RN >> op->rm, op->ra);
	NEXT;
}
HANDLER(ubfiz) /* 64 bits, or 32 when the field fits: rd = ra bits of rn << rm */
{
	RD = (RN & mask_low(op->ra)) << op->rm;
	NEXT;
}
HANDLER(uxtb)
{
	RD = (uint8_t)RN;
	NEXT;
}
HANDLER(uxth)
{
	RD = (uint16_t)RN;
	NEXT;
}
HANDLER(sxtw)
{
	RD = (uint64_t)(int64_t)(int32_t)RN;
	NEXT;
}

/* Variable shifts */
HANDLER(lslv64)
{
	RD = RN << (RM & 63);
	NEXT;
}
HANDLER(lslv32)
{
	RD = (uint32_t)RN << (RM & 31);
	NEXT;
}
HANDLER(lsrv64)
{
	RD = RN >> (RM & 63);
	NEXT;
}
HANDLER(lsrv32)
{
	RD = (uint32_t)RN >> (RM & 31);
	NEXT;
}

/* rd = ra + rn * rm */
HANDLER(madd64)
{
	RD = c->x[op->ra] + RN * RM;
	NEXT;
}
HANDLER(madd32)
{
	RD = (uint32_t)(c->x[op->ra] + RN * RM);
	NEXT;
}

/* Selects; ra is the condition */
#define SELECT(name, other)                                               \
	HANDLER(name##64)                                                 \
	{                                                                 \
		uint64_t n = RN, m = RM;                                  \
		RD = a64_cond_holds(c, op->ra) ? n : (other);             \
		NEXT;                                                     \
	}                                                                 \
	HANDLER(name##32)                                                 \
	{                                                                 \
		uint64_t n = RN, m = RM;                                  \
		RD = (uint32_t)(a64_cond_holds(c, op->ra) ? n : (other)); \
		NEXT;                                                     \
	}
SELECT(csel, m)
SELECT(csinc, m + 1)

/* ---- short forms: branches; imm is the distance in ops, or in bytes for the far ones ---- */

HANDLER(b)
{
	BRANCH_TO(op + op->imm);
}

HANDLER(b_far)
{
	JUMP(a64_op_va(c, op) + (uint64_t)(int64_t)op->imm);
}

HANDLER(bl)
{
	c->x[30] = a64_op_va(c, op) + 4;
	BRANCH_TO(op + op->imm);
}

HANDLER(bl_far)
{
	uint64_t va = a64_op_va(c, op);
	c->x[30] = va + 4;
	JUMP(va + (uint64_t)(int64_t)op->imm);
}

HANDLER(br)
{
	JUMP(RN);
}

HANDLER(blr)
{
	uint64_t target = RN;
	c->x[30] = a64_op_va(c, op) + 4;
	JUMP(target);
}

#define BRANCH_IF(name, taken)                   \
	HANDLER(name)                            \
	{                                        \
		if (taken)                       \
			BRANCH_TO(op + op->imm); \
		NEXT;                            \
	}
BRANCH_IF(cbz64, RD == 0)
BRANCH_IF(cbnz64, RD != 0)
BRANCH_IF(cbz32, (uint32_t)RD == 0)
BRANCH_IF(cbnz32, (uint32_t)RD != 0)
BRANCH_IF(tbz, !(RD >> op->rn & 1))
BRANCH_IF(tbnz, RD >> op->rn & 1)
BRANCH_IF(b_eq, a64_cond_holds(c, 0))
BRANCH_IF(b_ne, a64_cond_holds(c, 1))
BRANCH_IF(b_cs, a64_cond_holds(c, 2))
BRANCH_IF(b_cc, a64_cond_holds(c, 3))
BRANCH_IF(b_mi, a64_cond_holds(c, 4))
BRANCH_IF(b_pl, a64_cond_holds(c, 5))
BRANCH_IF(b_vs, a64_cond_holds(c, 6))
BRANCH_IF(b_vc, a64_cond_holds(c, 7))
BRANCH_IF(b_hi, a64_cond_holds(c, 8))
BRANCH_IF(b_ls, a64_cond_holds(c, 9))
BRANCH_IF(b_ge, a64_cond_holds(c, 10))
BRANCH_IF(b_lt, a64_cond_holds(c, 11))
BRANCH_IF(b_gt, a64_cond_holds(c, 12))
BRANCH_IF(b_le, a64_cond_holds(c, 13))

/* ---- short forms: loads and stores ---- */

/*
 * Each comes twice: a fast handler, which asks the soft TLB and touches memory, and `miss_`, which
 * does the same access by the slow path. The fast one calls nothing, so it needs no stack frame; it
 * leaves to the other also when SP is the base and not aligned though it must be (SCTLR_EL1.SA,
 * SA0).
 *
 * In ADDRESS and WRITEBACK, b is the base register's value and va the address.
 */
#define SEXT_IMM ((uint64_t)(int64_t)op->imm)

static inline bool fast(const struct a64_cpu *c, const struct op *op, uint64_t b, uint64_t va,
			unsigned size, uint64_t tag)
{
	return likely(((va + size - 1) & TLB_PAGE_MASK) == tag) &&
	       !(op->rn == A64_SP && unlikely(b & c->sp_mask));
}

/* The base register for the slow path, which may fault. */
static uint64_t base(struct a64_cpu *c, const struct op *op)
{
	c->cur = op;
	if (op->rn == A64_SP && (RN & c->sp_mask))
		a64_raise(c, A64_EC_SP_ALIGN, 0);
	return RN;
}

#define MISS(name)                       \
	static __attribute__((noinline)) \
	const struct op *miss_##name(struct a64_cpu *c, const struct op *op, const void *table)

#define LOAD_FORM(name, size, convert, address, writeback)                               \
	MISS(name)                                                                       \
	{                                                                                \
		uint64_t b = base(c, op), va = address;                                  \
		uint64_t v = a64_load_slow(c, c->tlb, va, size);                         \
		writeback;                                                               \
		RD = convert(v);                                                         \
		NEXT;                                                                    \
	}                                                                                \
	HANDLER(name)                                                                    \
	{                                                                                \
		uint64_t b = RN, va = address;                                           \
		const struct tlb_entry *e = tlb_d(c->tlb, va);                           \
		if (!fast(c, op, b, va, size, e->r))                                     \
			return miss_##name(c, op, table);                                \
		uint64_t v = soft_load((const void *)(uintptr_t)(va + e->addend), size); \
		writeback;                                                               \
		RD = convert(v);                                                         \
		NEXT;                                                                    \
	}
/* A store may hit this very instruction, whose op is then undecoded: what follows goes by a copy.
 */
#define KEEP_OP                         \
	const struct op *next = op + 1; \
	const struct op kept = *op;     \
	op = &kept

#define STORE_FORM(name, size, address, writeback)                         \
	MISS(name)                                                         \
	{                                                                  \
		uint64_t b = base(c, op), va = address;                    \
		KEEP_OP;                                                   \
		a64_store_slow(c, c->tlb, va, size, RD);                   \
		writeback;                                                 \
		GO(next);                                                  \
	}                                                                  \
	HANDLER(name)                                                      \
	{                                                                  \
		uint64_t b = RN, va = address;                             \
		const struct tlb_entry *e = tlb_d(c->tlb, va);             \
		if (!fast(c, op, b, va, size, e->w))                       \
			return miss_##name(c, op, table);                  \
		soft_store((void *)(uintptr_t)(va + e->addend), size, RD); \
		writeback;                                                 \
		NEXT;                                                      \
	}

#define AT_IMM  b + SEXT_IMM
#define AT_BASE b
#define AT_LSL  b + (RM << op->ra)
#define AT_UXTW b + ((uint64_t)(uint32_t)RM << op->ra)
#define AT_SXTW b + ((uint64_t)(int64_t)(int32_t)RM << op->ra)
#define NO_WB   (void)b
#define WB_PRE  RN = va
#define WB_POST RN = va + SEXT_IMM

#define ZEXT(v)      (v)
#define SEXT8_64(v)  (uint64_t)(int64_t)(int8_t)(v)
#define SEXT16_64(v) (uint64_t)(int64_t)(int16_t)(v)
#define SEXT32_64(v) (uint64_t)(int64_t)(int32_t)(v)
#define SEXT8_32(v)  (SEXT8_64(v) & 0xffffffff)
#define SEXT16_32(v) (SEXT16_64(v) & 0xffffffff)

#define LOAD_FORMS(name, size)                               \
	LOAD_FORM(name, size, ZEXT, AT_IMM, NO_WB)           \
	LOAD_FORM(name##_reg, size, ZEXT, AT_LSL, NO_WB)     \
	LOAD_FORM(name##_uxtw, size, ZEXT, AT_UXTW, NO_WB)   \
	LOAD_FORM(name##_sxtw, size, ZEXT, AT_SXTW, NO_WB)   \
	LOAD_FORM(name##_post, size, ZEXT, AT_BASE, WB_POST) \
	LOAD_FORM(name##_pre, size, ZEXT, AT_IMM, WB_PRE)
LOAD_FORMS(ldr8, 1)
LOAD_FORMS(ldr16, 2)
LOAD_FORMS(ldr32, 4)
LOAD_FORMS(ldr64, 8)
LOAD_FORM(ldrs8_64, 1, SEXT8_64, AT_IMM, NO_WB)
LOAD_FORM(ldrs8_32, 1, SEXT8_32, AT_IMM, NO_WB)
LOAD_FORM(ldrs16_64, 2, SEXT16_64, AT_IMM, NO_WB)
LOAD_FORM(ldrs16_32, 2, SEXT16_32, AT_IMM, NO_WB)
LOAD_FORM(ldrs32_64, 4, SEXT32_64, AT_IMM, NO_WB)
LOAD_FORM(ldrs32_64_reg, 4, SEXT32_64, AT_LSL, NO_WB)

#define STORE_FORMS(name, size)                         \
	STORE_FORM(name, size, AT_IMM, NO_WB)           \
	STORE_FORM(name##_reg, size, AT_LSL, NO_WB)     \
	STORE_FORM(name##_uxtw, size, AT_UXTW, NO_WB)   \
	STORE_FORM(name##_sxtw, size, AT_SXTW, NO_WB)   \
	STORE_FORM(name##_post, size, AT_BASE, WB_POST) \
	STORE_FORM(name##_pre, size, AT_IMM, WB_PRE)
STORE_FORMS(str8, 1)
STORE_FORMS(str16, 2)
STORE_FORMS(str32, 4)
STORE_FORMS(str64, 8)

/*
 * Pairs: simm is the offset in bytes, rm the second register. The slow path returns both values: an
 * array handed to it would keep the stack frame alive, and NEXT could not be a tail call.
 */
struct pair {
	uint64_t first, second;
};

static __attribute__((noinline)) struct pair load_pair(struct a64_cpu *c, uint64_t va,
						       unsigned size)
{
	uint64_t both[2] = { 0 };
	a64_ld(c, va, both, 2 * size, size);
	if (size == 8)
		return (struct pair){ both[0], both[1] };
	return (struct pair){ (uint32_t)both[0], both[0] >> 32 };
}

static __attribute__((noinline)) void store_pair(struct a64_cpu *c, uint64_t va, unsigned size,
						 uint64_t first, uint64_t second)
{
	uint64_t both[2] = { first, second };
	if (size == 4)
		both[0] = second << 32 | (uint32_t)first;
	a64_st(c, va, both, 2 * size, size);
}

#define PAIR_FORMS(mode, size, type, address, writeback)                              \
	MISS(ldp##size##mode)                                                         \
	{                                                                             \
		uint64_t b = base(c, op), off = b + (uint64_t)(int64_t)op->simm;      \
		struct pair v = load_pair(c, address, sizeof(type));                  \
		(void)off;                                                            \
		writeback;                                                            \
		RD = v.first;                                                         \
		RM = v.second;                                                        \
		NEXT;                                                                 \
	}                                                                             \
	HANDLER(ldp##size##mode)                                                      \
	{                                                                             \
		uint64_t b = RN, off = b + (uint64_t)(int64_t)op->simm, va = address; \
		const struct tlb_entry *e = tlb_d(c->tlb, va);                        \
		if (!fast(c, op, b, va, 2 * sizeof(type), e->r))                      \
			return miss_ldp##size##mode(c, op, table);                    \
		const char *p = (const char *)(uintptr_t)(va + e->addend);            \
		uint64_t v1 = soft_load(p, sizeof(type));                             \
		uint64_t v2 = soft_load(p + sizeof(type), sizeof(type));              \
		(void)off;                                                            \
		writeback;                                                            \
		RD = v1;                                                              \
		RM = v2;                                                              \
		NEXT;                                                                 \
	}                                                                             \
	MISS(stp##size##mode)                                                         \
	{                                                                             \
		uint64_t b = base(c, op), off = b + (uint64_t)(int64_t)op->simm;      \
		KEEP_OP;                                                              \
		store_pair(c, address, sizeof(type), RD, RM);                         \
		(void)off;                                                            \
		writeback;                                                            \
		GO(next);                                                             \
	}                                                                             \
	HANDLER(stp##size##mode)                                                      \
	{                                                                             \
		uint64_t b = RN, off = b + (uint64_t)(int64_t)op->simm, va = address; \
		const struct tlb_entry *e = tlb_d(c->tlb, va);                        \
		if (!fast(c, op, b, va, 2 * sizeof(type), e->w))                      \
			return miss_stp##size##mode(c, op, table);                    \
		char *p = (char *)(uintptr_t)(va + e->addend);                        \
		soft_store(p, sizeof(type), RD);                                      \
		soft_store(p + sizeof(type), sizeof(type), RM);                       \
		(void)off;                                                            \
		writeback;                                                            \
		NEXT;                                                                 \
	}
PAIR_FORMS(, 64, uint64_t, off, (void)0)
PAIR_FORMS(_post, 64, uint64_t, b, RN = off)
PAIR_FORMS(_pre, 64, uint64_t, off, RN = off)
PAIR_FORMS(, 32, uint32_t, off, (void)0)
PAIR_FORMS(_post, 32, uint32_t, b, RN = off)
PAIR_FORMS(_pre, 32, uint32_t, off, RN = off)

HANDLER(ldr64_lit) /* imm counts from the page's start */
{
	c->cur = op;
	RD = a64_load(c, c->page_va + (uint64_t)(int64_t)op->imm, 8);
	NEXT;
}

/* ---- the table of handlers ---- */

/* clang-format off */
#define SIX(X, name) X(name) X(name##_reg) X(name##_uxtw) X(name##_sxtw) X(name##_post) X(name##_pre)
/* translate() relies on these orders: 64 bits then 32; the six address forms; the modes of pairs. */
#define SHORT_FORMS(X)                                                                             \
	X(nop) X(mov_imm) X(movz) X(movk) X(adr) X(adrp) X(mov64) X(mov32)                         \
	X(add64) X(add32) X(sub64) X(sub32) X(and64) X(and32) X(orr64) X(orr32) X(eor64) X(eor32)  \
	X(bic64) X(bic32) X(mul64) X(mul32)                                                        \
	X(add_imm64) X(add_imm32) X(sub_imm64) X(sub_imm32) X(lsl_imm64) X(lsl_imm32)              \
	X(lsr_imm64) X(lsr_imm32) X(asr_imm64) X(asr_imm32)                                        \
	X(add_lsl64) X(add_lsl32) X(sub_lsl64) X(sub_lsl32) X(and_lsl64) X(and_lsl32)              \
	X(orr_lsl64) X(orr_lsl32) X(eor_lsl64) X(eor_lsl32)                                        \
	X(add_lsr64) X(add_lsr32) X(sub_lsr64) X(sub_lsr32) X(eor_lsr64) X(eor_lsr32)              \
	X(add_uxtw) X(add_sxtw) X(sub_uxtw) X(sub_sxtw)                                            \
	X(and_imm) X(and_imm32) X(orr_imm) X(orr_imm32) X(eor_imm) X(eor_imm32)                    \
	X(and_mask) X(orr_mask) X(ands64) X(ands32) X(ands_imm) X(ands_imm32) X(ands_mask)         \
	X(subs64) X(subs32) X(subs_imm64) X(subs_imm32)                                            \
	X(adds64) X(adds32) X(adds_imm64) X(adds_imm32)                                            \
	X(ubfx) X(sbfx64) X(sbfx32) X(ubfiz) X(uxtb) X(uxth) X(sxtw)                               \
	X(lslv64) X(lslv32) X(lsrv64) X(lsrv32) X(madd64) X(madd32)                                \
	X(csel64) X(csel32) X(csinc64) X(csinc32)                                                  \
	X(b) X(b_far) X(bl) X(bl_far) X(br) X(blr)                                                 \
	X(cbz64) X(cbnz64) X(cbz32) X(cbnz32) X(tbz) X(tbnz)                                       \
	X(b_eq) X(b_ne) X(b_cs) X(b_cc) X(b_mi) X(b_pl) X(b_vs) X(b_vc) X(b_hi) X(b_ls)            \
	X(b_ge) X(b_lt) X(b_gt) X(b_le)                                                            \
	SIX(X, ldr8) SIX(X, ldr16) SIX(X, ldr32) SIX(X, ldr64)                                     \
	X(ldrs8_64) X(ldrs8_32) X(ldrs16_64) X(ldrs16_32) X(ldrs32_64) X(ldrs32_64_reg)            \
	SIX(X, str8) SIX(X, str16) SIX(X, str32) SIX(X, str64)                                     \
	X(ldp64) X(ldp64_post) X(ldp64_pre) X(ldp32) X(ldp32_post) X(ldp32_pre)                    \
	X(stp64) X(stp64_post) X(stp64_pre) X(stp32) X(stp32_post) X(stp32_pre) X(ldr64_lit)
/* clang-format on */

enum {
	OP_decode, /* a zeroed op */
	OP_page_end,
	OP_breakpoint,
	OP_unallocated,
	OP_fencing,
#define X(name) OP_##name,
	SHORT_FORMS(X)
#undef X
		OP_insn, /* + enum a64_insn */
	N_HANDLERS = OP_insn + a64_N_INSNS
};

/* In front of what it counts; soft.h, watched stores. */
static handler *const handlers[N_HANDLERS];
HANDLER(fencing)
{
	c->vcpu.fences++;
	return handlers[OP_insn + a64_decode(op->word)](c, op, table);
}

static handler *const handlers[N_HANDLERS] = { [OP_decode] = op_decode,
					       [OP_page_end] = op_page_end,
					       [OP_breakpoint] = op_breakpoint,
					       [OP_unallocated] = op_unallocated,
					       [OP_fencing] = op_fencing,
#define X(name) [OP_##name] = op_##name,
					       SHORT_FORMS(X)
#undef X
						       [OP_insn + a64_NONE] = op_unallocated,
#define X(name, attributes) [OP_insn + a64_##name] = op_insn_##name,
					       a64_INSNS(X)
#undef X
};

static handler *const stopping[N_HANDLERS] = { [0 ... N_HANDLERS - 1] = op_stop };

/* ---- decoding ---- */

#define F(name, field) a64_##name##_##field(w)

/* Register slots by role: source, destination, and where 31 is SP. */
static uint8_t src(uint32_t r)
{
	return (uint8_t)r;
}
static uint8_t dst(uint32_t r)
{
	return r == 31 ? A64_SINK : (uint8_t)r;
}
static uint8_t sp(uint32_t r)
{
	return r == 31 ? A64_SP : (uint8_t)r;
}

static bool set(struct op *op, unsigned h, uint8_t rd, uint8_t rn, int32_t imm)
{
	*op = (struct op){ .handler = (uint16_t)h, .rd = rd, .rn = rn, .imm = imm };
	return true;
}

static bool set3(struct op *op, unsigned h, uint8_t rd, uint8_t rn, uint8_t rm, uint8_t ra,
		 int16_t simm)
{
	*op = (struct op){
		.handler = (uint16_t)h, .rd = rd, .rn = rn, .rm = rm, .ra = ra, .simm = simm
	};
	return true;
}

/* The 32-bit handler of a pair follows the 64-bit one. */
static unsigned sized(unsigned h64, bool sf)
{
	return h64 + !sf;
}

static bool logical_imm(struct op *op, unsigned h, unsigned h_mask, bool sf, uint8_t rd, uint32_t w)
{
	uint64_t m = a64_bitmask(F(AND_imm, N), F(AND_imm, immr), F(AND_imm, imms));
	uint8_t rn = src(F(AND_imm, Rn));
	if (!sf)
		return set(op, h + 1, rd, rn, (int32_t)(uint32_t)m);
	if ((uint64_t)(int64_t)(int32_t)m == m)
		return set(op, h, rd, rn, (int32_t)m);
	return h_mask && F(AND_imm, N) &&
	       set3(op, h_mask, rd, rn, (uint8_t)F(AND_imm, immr), (uint8_t)F(AND_imm, imms), 0);
}

/* A branch inside the page, `distance` in instructions. */
static bool near(unsigned index, int64_t distance)
{
	int64_t to = (int64_t)index + distance;
	return to >= 0 && to < A64_PAGE_OPS;
}

/* Register offset; `h` is the first of six forms. The fields are the same in all such loads and
 * stores. */
static bool register_offset(struct op *op, unsigned h, uint32_t w, uint8_t rt)
{
	/* by option: UXTW and SXTW have forms of their own, LSL and SXTX take the whole register */
	static const uint8_t form[] = { [2] = 2, [3] = 1, [6] = 3, [7] = 1 };
	uint8_t shift = F(LDR_reg, S) ? (uint8_t)F(LDR_reg, size) : 0;
	return set3(op, h + form[F(LDR_reg, option)], rt, sp(F(LDR_reg, Rn)), src(F(LDR_reg, Rm)),
		    shift, 0);
}

/* A short form for this instruction, if there is one; `index` is its place in the page. */
static bool short_form(struct op *op, enum a64_insn insn, uint32_t w, unsigned index)
{
	static const uint16_t ldr[] = { OP_ldr8, OP_ldr16, OP_ldr32, OP_ldr64 };
	static const uint16_t str[] = { OP_str8, OP_str16, OP_str32, OP_str64 };
	/* sign-extending loads by size, then to 64 or 32 bits */
	static const uint16_t ldrs[][2] = { { OP_ldrs8_64, OP_ldrs8_32 },
					    { OP_ldrs16_64, OP_ldrs16_32 },
					    { OP_ldrs32_64, 0 } };
	bool sf = w >> 31;
	uint8_t rd = dst(w & 31), rn = src(w >> 5 & 31), rm = src(w >> 16 & 31);
	int64_t d;

	switch (insn) {
	case a64_HINT:
	case a64_PRFM_imm: return set(op, OP_nop, 0, 0, 0);
	case a64_MOVZ:
		return set3(op, OP_movz, rd, (uint8_t)(16 * F(MOVZ, hw)), 0, 0,
			    (int16_t)F(MOVZ, imm16));
	case a64_MOVN:
		if (F(MOVN, hw) == 0 && sf)
			return set(op, OP_mov_imm, rd, 0, ~(int32_t)F(MOVN, imm16));
		return false;
	case a64_MOVK:
		/* the upper half is zero already for a 32-bit result of 32-bit moves, but need not
		 * be */
		return sf && set3(op, OP_movk, rd == A64_SINK ? A64_SINK : rd,
				  (uint8_t)(16 * F(MOVK, hw)), 0, 0, (int16_t)F(MOVK, imm16));
	case a64_ADR:
		d = sign_extend(F(ADR, immhi) << 2 | F(ADR, immlo), 21) + index * 4;
		return set(op, OP_adr, rd, 0, (int32_t)d);
	case a64_ADRP:
		d = sign_extend(F(ADRP, immhi) << 2 | F(ADRP, immlo), 21);
		return set(op, OP_adrp, rd, 0, (int32_t)d);

	case a64_ADD_imm:
		return set(op, sized(OP_add_imm64, sf), sp(w & 31), sp(w >> 5 & 31),
			   (int32_t)(F(ADD_imm, imm12) << (F(ADD_imm, sh) ? 12 : 0)));
	case a64_SUB_imm:
		return set(op, sized(OP_sub_imm64, sf), sp(w & 31), sp(w >> 5 & 31),
			   (int32_t)(F(SUB_imm, imm12) << (F(SUB_imm, sh) ? 12 : 0)));
	case a64_ADDS_imm:
		return set(op, sized(OP_adds_imm64, sf), rd, sp(w >> 5 & 31),
			   (int32_t)(F(ADDS_imm, imm12) << (F(ADDS_imm, sh) ? 12 : 0)));
	case a64_SUBS_imm:
		return set(op, sized(OP_subs_imm64, sf), rd, sp(w >> 5 & 31),
			   (int32_t)(F(SUBS_imm, imm12) << (F(SUBS_imm, sh) ? 12 : 0)));
	case a64_AND_imm: return logical_imm(op, OP_and_imm, OP_and_mask, sf, sp(w & 31), w);
	case a64_ORR_imm: return logical_imm(op, OP_orr_imm, OP_orr_mask, sf, sp(w & 31), w);
	case a64_EOR_imm: return logical_imm(op, OP_eor_imm, 0, sf, sp(w & 31), w);
	case a64_ANDS_imm: return logical_imm(op, OP_ands_imm, OP_ands_mask, sf, rd, w);

#define SHIFTED(name, plain, lsl, lsr)                                                          \
	case a64_##name:                                                                        \
		if (F(name, shift) == 1 && (lsr))                                               \
			return set3(op, sized(lsr, sf), rd, rn, rm, (uint8_t)F(name, imm6), 0); \
		if (F(name, shift) != 0)                                                        \
			return false;                                                           \
		if (F(name, imm6) == 0)                                                         \
			return set3(op, sized(plain, sf), rd, rn, rm, 0, 0);                    \
		return (lsl) && set3(op, sized(lsl, sf), rd, rn, rm, (uint8_t)F(name, imm6), 0);
		SHIFTED(ADD_shift, OP_add64, OP_add_lsl64, OP_add_lsr64)
		SHIFTED(SUB_shift, OP_sub64, OP_sub_lsl64, OP_sub_lsr64)
		SHIFTED(AND_shift, OP_and64, OP_and_lsl64, 0)
		SHIFTED(EOR_shift, OP_eor64, OP_eor_lsl64, OP_eor_lsr64)
		SHIFTED(BIC_shift, OP_bic64, 0, 0)
		SHIFTED(ADDS_shift, OP_adds64, 0, 0)
		SHIFTED(SUBS_shift, OP_subs64, 0, 0)
		SHIFTED(ANDS_shift, OP_ands64, 0, 0)
	case a64_ORR_shift:
		if (F(ORR_shift, shift) != 0)
			return false;
		if (F(ORR_shift, imm6))
			return set3(op, sized(OP_orr_lsl64, sf), rd, rn, rm,
				    (uint8_t)F(ORR_shift, imm6), 0);
		return set3(op, sized(rn == A64_ZR ? OP_mov64 : OP_orr64, sf), rd, rn, rm, 0, 0);

	case a64_ADD_ext:
	case a64_SUB_ext: {
		unsigned option = F(ADD_ext, option), shift = F(ADD_ext, imm3);
		bool sub = insn == a64_SUB_ext;
		if (!sf || (option & 3) < 2)
			return false;
		/* UXTX and SXTX take the whole register */
		unsigned h = (option & 3) == 3 ? (sub ? OP_sub_lsl64 : OP_add_lsl64)
			     : option == 2     ? (sub ? OP_sub_uxtw : OP_add_uxtw)
					       : (sub ? OP_sub_sxtw : OP_add_sxtw);
		return set3(op, h, sp(w & 31), sp(w >> 5 & 31), rm, (uint8_t)shift, 0);
	}

	case a64_UBFM: {
		unsigned immr = F(UBFM, immr), imms = F(UBFM, imms), top = sf ? 63 : 31;
		if (imms == top)
			return set(op, sized(OP_lsr_imm64, sf), rd, rn, (int32_t)immr);
		if (imms + 1 == immr)
			return set(op, sized(OP_lsl_imm64, sf), rd, rn, (int32_t)(top - imms));
		if (immr == 0 && imms == 7)
			return set(op, OP_uxtb, rd, rn, 0);
		if (immr == 0 && imms == 15)
			return set(op, OP_uxth, rd, rn, 0);
		if (imms >= immr)
			return set3(op, OP_ubfx, rd, rn, (uint8_t)immr, (uint8_t)(imms - immr + 1),
				    0);
		return set3(op, OP_ubfiz, rd, rn, (uint8_t)(top + 1 - immr), (uint8_t)(imms + 1),
			    0);
	}
	case a64_SBFM: {
		unsigned immr = F(SBFM, immr), imms = F(SBFM, imms), top = sf ? 63 : 31;
		if (imms == top)
			return set(op, sized(OP_asr_imm64, sf), rd, rn, (int32_t)immr);
		if (sf && immr == 0 && imms == 31)
			return set(op, OP_sxtw, rd, rn, 0);
		if (imms >= immr)
			return set3(op, sized(OP_sbfx64, sf), rd, rn, (uint8_t)immr,
				    (uint8_t)(imms - immr + 1), 0);
		return false;
	}
	case a64_LSLV: return set3(op, sized(OP_lslv64, sf), rd, rn, rm, 0, 0);
	case a64_LSRV: return set3(op, sized(OP_lsrv64, sf), rd, rn, rm, 0, 0);
	case a64_MADD:
		if (F(MADD, Ra) == 31)
			return set3(op, sized(OP_mul64, sf), rd, rn, rm, 0, 0);
		return set3(op, sized(OP_madd64, sf), rd, rn, rm, src(F(MADD, Ra)), 0);
	case a64_CSEL: return set3(op, sized(OP_csel64, sf), rd, rn, rm, (uint8_t)F(CSEL, cond), 0);
	case a64_CSINC:
		return set3(op, sized(OP_csinc64, sf), rd, rn, rm, (uint8_t)F(CSINC, cond), 0);

	case a64_B:
		d = sign_extend(F(B, imm26), 26);
		return near(index, d) ? set(op, OP_b, 0, 0, (int32_t)d)
				      : set(op, OP_b_far, 0, 0, (int32_t)(d * 4));
	case a64_BL:
		d = sign_extend(F(BL, imm26), 26);
		return near(index, d) ? set(op, OP_bl, 0, 0, (int32_t)d)
				      : set(op, OP_bl_far, 0, 0, (int32_t)(d * 4));
	case a64_BR:
	case a64_RET: return set(op, OP_br, 0, rn, 0);
	case a64_BLR: return set(op, OP_blr, 0, rn, 0);
	case a64_B_cond:
		d = sign_extend(F(B_cond, imm19), 19);
		if (F(B_cond, cond) >= 14)
			return near(index, d) && set(op, OP_b, 0, 0, (int32_t)d);
		return near(index, d) &&
		       set(op, (unsigned)OP_b_eq + F(B_cond, cond), 0, 0, (int32_t)d);
	case a64_CBZ:
	case a64_CBNZ:
		d = sign_extend(F(CBZ, imm19), 19);
		return near(index, d) && set(op,
					     insn == a64_CBZ ? (sf ? OP_cbz64 : OP_cbz32)
							     : (sf ? OP_cbnz64 : OP_cbnz32),
					     src(w & 31), 0, (int32_t)d);
	case a64_TBZ:
	case a64_TBNZ:
		d = sign_extend(F(TBZ, imm14), 14);
		return near(index, d) && set(op, insn == a64_TBZ ? OP_tbz : OP_tbnz, src(w & 31),
					     (uint8_t)(F(TBZ, b5) << 5 | F(TBZ, b40)), (int32_t)d);

	case a64_LDR_imm:
		return set(op, ldr[F(LDR_imm, size)], rd, sp(w >> 5 & 31),
			   (int32_t)(F(LDR_imm, imm12) << F(LDR_imm, size)));
	case a64_LDUR:
		return set(op, ldr[F(LDUR, size)], rd, sp(w >> 5 & 31),
			   (int32_t)sign_extend(F(LDUR, imm9), 9));
	case a64_STR_imm:
		return set(op, str[F(STR_imm, size)], src(w & 31), sp(w >> 5 & 31),
			   (int32_t)(F(STR_imm, imm12) << F(STR_imm, size)));
	case a64_STUR:
		return set(op, str[F(STUR, size)], src(w & 31), sp(w >> 5 & 31),
			   (int32_t)sign_extend(F(STUR, imm9), 9));
	case a64_LDRS_imm: {
		unsigned h = ldrs[F(LDRS_imm, size)][F(LDRS_imm, w)];
		return set(op, h, rd, sp(w >> 5 & 31),
			   (int32_t)(F(LDRS_imm, imm12) << F(LDRS_imm, size)));
	}
	case a64_LDURS: {
		unsigned h = ldrs[F(LDURS, size)][F(LDURS, w)];
		return set(op, h, rd, sp(w >> 5 & 31), (int32_t)sign_extend(F(LDURS, imm9), 9));
	}
	case a64_LDR_post:
	case a64_LDR_pre:
		return set(op, ldr[F(LDR_post, size)] + (insn == a64_LDR_post ? 4u : 5u), rd,
			   sp(w >> 5 & 31), (int32_t)sign_extend(F(LDR_post, imm9), 9));
	case a64_STR_post:
	case a64_STR_pre:
		return set(op, str[F(STR_post, size)] + (insn == a64_STR_post ? 4u : 5u),
			   src(w & 31), sp(w >> 5 & 31),
			   (int32_t)sign_extend(F(STR_post, imm9), 9));
	case a64_LDR_reg: return register_offset(op, ldr[F(LDR_reg, size)], w, rd);
	case a64_STR_reg: return register_offset(op, str[F(STR_reg, size)], w, src(w & 31));
	case a64_LDRS_reg:
		return F(LDRS_reg, size) == 2 && (F(LDRS_reg, option) & 3) == 3 &&
		       register_offset(op, OP_ldrs32_64_reg - 1u, w, rd);
	case a64_LDP:
	case a64_STP: {
		/* by mode: no-allocate, post-index, offset, pre-index */
		static const uint8_t form[] = { 0, 1, 0, 2 };
		bool load = insn == a64_LDP;
		uint32_t rt2 = F(LDP, Rt2);
		unsigned h = load ? (sf ? OP_ldp64 : OP_ldp32) : (sf ? OP_stp64 : OP_stp32);
		return set3(op, h + form[F(LDP, mode)], load ? rd : src(w & 31), sp(w >> 5 & 31),
			    load ? dst(rt2) : src(rt2), 0,
			    (int16_t)(sign_extend(F(LDP, imm7), 7) * (sf ? 8 : 4)));
	}
	case a64_LDR_lit:
		d = sign_extend(F(LDR_lit, imm19), 19) * 4 + (int64_t)index * 4;
		return F(LDR_lit, sf) && set(op, OP_ldr64_lit, rd, 0, (int32_t)d);
	default: return false;
	}
}

/*
 * Does it keep stores before it apart from those after it, for devices too? A release alone does so
 * together with a later acquire, as of a lock (B2.3.8); that this comes is taken for granted.
 */
static bool is_fence(enum a64_insn insn, uint32_t w)
{
	/* CRm of DMB and DSB (C6.2): domain and types, what is not allocated is SY; of DSB, 0 and 4
	 * are other barriers. */
	enum { NON_SHAREABLE = 1, LOADS = 1, SSBB = 0, PSSBB = 4 };

	switch (insn) {
	case a64_DMB:
	case a64_DSB: {
		unsigned crm = a64_DMB_CRm(w);
		if (insn == a64_DSB && (crm == SSBB || crm == PSSBB))
			return false;
		return !(crm & 3) || (crm >> 2 != NON_SHAREABLE && (crm & 3) != LOADS);
	}
	case a64_STLR: return true;
	case a64_STXR: return a64_STXR_o0(w);
	case a64_STXP: return a64_STXP_o0(w);
	case a64_CAS: return a64_CAS_o0(w);
	case a64_CASP: return a64_CASP_o0(w);
	default: return insn >= a64_LDADD && insn <= a64_SWP && a64_LDADD_R(w);
	}
}

static void translate(struct a64_cpu *c, struct op *op, uint32_t w, unsigned index)
{
	enum a64_insn insn = a64_decode(w);

	if (soft_counts_fences(&c->vcpu) && is_fence(insn, w))
		*op = (struct op){ .handler = OP_fencing, .word = w };
	else if (!short_form(op, insn, w, index))
		*op = (struct op){ .handler = (uint16_t)(OP_insn + insn), .word = w };
}

static void put_breakpoint(struct op *op)
{
	*op = (struct op){ .handler = OP_breakpoint };
}

/* ---- the run loop ---- */

static void run_ops(struct a64_cpu *c, const struct op *op, handler *const *table)
{
	while (op)
		op = handlers[op->handler](c, op, table);
}

/* One instruction, for debugging: decode first, then run with a table that stops behind it. */
static void step_op(struct a64_cpu *c, const struct op *op)
{
	struct code_page *page = container_of(c->page, struct code_page, ops[0]);
	unsigned index = (unsigned)(op - c->page);
	uint32_t w = (uint32_t)soft_load(page->host + index * 4, 4);
	c->cur = op;
	soft_traced(&c->vcpu, a64_op_va(c, op), w);
	soft_break_lift(&c->vcpu, op);
	if (op->handler == OP_decode)
		translate(c, &page->ops[index], w, index);
	op = handlers[op->handler](c, op, stopping);
	if (op)
		c->pc = a64_op_va(c, op);
	a64_debug_after(c, w);
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

static int a64_run(struct vcpu *v, enum vcpu_exit *exit)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);

	c->leave = false;
	/* An instruction that takes an exception comes back here, with c->pc at the vector. */
	(void)_setjmp(c->unwind);
	while (!c->leave) {
		if (atomic_exchange(&v->attention, 0)) {
			soft_do_jobs(v);
			if (atomic_exchange(&v->timer_due, 0))
				a64_timer_update(c);
			if (atomic_exchange(&v->kicked, 0)) {
				c->exit = VCPU_KICKED;
				break;
			}
		}
		if (c->wait && !v->debug.due) {
			do_wait(c);
			continue;
		}
		if (likely(!v->debug.due))
			a64_take_interrupt(c);
		v->debug.returned = false;
		bool one = false;
		if (unlikely(v->debug.active)) {
			enum soft_next next = soft_debug_next(v, c->pc);
			if (next == SOFT_STOP) {
				c->exit = VCPU_DEBUG;
				break;
			}
			if ((one = next == SOFT_ONE))
				c->wait = A64_NO_WAIT;
		}
		if (unlikely(c->il))
			a64_raise_at(c, A64_EC_ILLEGAL_STATE, 0, c->pc);
		if (unlikely(a64_debug_one_by_one(c))) {
			a64_debug_before(c);
			one = true;
		}
		if (unlikely(one)) {
			step_op(c, a64_fetch(c, c->pc));
		} else {
			run_ops(c, a64_fetch(c, c->pc), handlers);
		}
	}
	*exit = c->exit;
	return 0;
}

/* ---- life of a vCPU ---- */

static void flush_tlbs(struct vcpu *v)
{
	a64_flush_all_tlbs(container_of(v, struct a64_cpu, vcpu));
}

static void forget(struct vcpu *v)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	a64_flush_all_tlbs(c);
	code_flush(&v->code);
}

static void protect(struct vcpu *v)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	for (unsigned i = 0; i < A64_N_CTXS; i++)
		soft_protect_tlb(v, &c->ctx[i]);
}

static void unmap_code(struct vcpu *v, const struct code_page *page)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	for (unsigned i = 0; i < A64_N_CTXS; i++)
		tlb_unmap_code(&c->ctx[i], page);
}

static uint64_t under_way(const struct vcpu *v)
{
	const struct a64_cpu *c = container_of(v, const struct a64_cpu, vcpu);

	return a64_op_va(c, c->cur);
}

static bool executes(const struct vcpu *v, const struct code_page *page)
{
	return container_of(v, const struct a64_cpu, vcpu)->page == page->ops;
}

static void a64_reset(struct vcpu *v)
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

static int a64_create(struct engine *engine, unsigned index, const struct vcpu_wiring *wiring,
		      struct vcpu **vcpu, struct err *err)
{
	/* The TLBs make this large: its own mapping is committed as it is used. */
	struct a64_cpu *c = host_map(sizeof(*c), err);
	if (!c)
		return err->code;
	int res = soft_vcpu_init(&c->vcpu, engine, index, wiring, A64_PAGE_OPS, OP_page_end, err);
	if (res) {
		host_unmap(c, sizeof(*c));
		return res;
	}
	a64_reset(&c->vcpu);
	*vcpu = &c->vcpu;
	return 0;
}

static void a64_destroy(struct vcpu *v)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	soft_vcpu_fini(v);
	host_unmap(c, sizeof(*c));
}

static uint64_t a64_get(struct vcpu *v, unsigned reg)
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

static void a64_set(struct vcpu *v, unsigned reg, uint64_t val)
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
	.create = a64_create,
	.destroy = a64_destroy,
	.reset = a64_reset,
	.get = a64_get,
	.set = a64_set,
	.run = a64_run,
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

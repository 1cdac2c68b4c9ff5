/* SPDX-License-Identifier: MIT */
/*
 * The handlers of the AArch64 interpreter. dispatch.inc says how one goes on to the next.
 */
#include "engine/soft/a64/interp.h"

#include "engine/soft/a64/alu.h"
#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/mmu.h"

#define HANDLER(name) \
	static const struct op *op_##name(struct a64_cpu *c, const struct op *op, const void *table)
#define NEXT GO(op + 1)

#define RD c->x[op->rd]
#define RN c->x[op->rn]
#define RM c->x[op->rm]

/* ---- what is not an instruction ---- */

HANDLER(decode)
{
	/* ops are only const to those who run them */
	struct code_page *page = container_of(c->page, struct code_page, ops[0]);
	unsigned index = (unsigned)(op - c->page);
	uint32_t w = (uint32_t)soft_load(page->host + index * 4, 4);
	c->cur = op;
	if (soft_break_here(&c->vcpu, op, index * 4))
		page->ops[index] = (struct op){ .handler = OP_breakpoint };
	else
		a64_make_op(c, &page->ops[index], w, index);
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

/* In front of what it counts; soft.h, watched stores. */
HANDLER(fencing)
{
	c->vcpu.fences++;
	return a64_handlers[OP_insn + a64_decode(op->word)](c, op, table);
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
/* A store may hit this very instruction, whose op is then undecoded: what follows goes by
 * a copy. */
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

handler *const a64_handlers[N_HANDLERS] = { [OP_decode] = op_decode,
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

/* SPDX-License-Identifier: MIT */
/*
 * Inside the RISC-V interpreter: what its three files share. AArch64's has the same shape.
 *
 *	make_op.c     from an instruction to an op
 *	handlers.c    executors, and what executes the ops, for RV32 and RV64
 *	run.c         the run loop, and the life of a hart
 */
#ifndef HAKO_ENGINE_SOFT_RV_INTERP_H
#define HAKO_ENGINE_SOFT_RV_INTERP_H

#include "engine/soft/rv/cpu.h"
#include "rv_decode.h"

typedef struct rv_cpu cpu_t;
enum { OP_BYTES = 2 };
#define ARCH(name) rv_##name
#define CODE_TLB   tlb_x
#include "engine/soft/dispatch.inc"

/* clang-format off */
/* rv_make_op() relies on the order of branches and that the 4-byte form follows the 2-byte one. */
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

extern handler *const rv32_handlers[N_HANDLERS], *const rv64_handlers[N_HANDLERS];

/*
 * Decode `w`, an instruction of `length` bytes, compressed ones expanded, at place `index` of its
 * page; RV_PAGE_OPS: it has no place in one.
 */
void rv_make_op(struct rv_cpu *c, struct op *op, uint32_t w, unsigned length, unsigned index);

#endif

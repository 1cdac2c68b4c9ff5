/* SPDX-License-Identifier: MIT */
/*
 * Inside the AArch64 interpreter: what its three files share.
 *
 *	make_op.c     from an instruction to an op
 *	handlers.c    what executes the ops
 *	run.c         the run loop, and the life of a vCPU
 *
 * Every line of the instruction tables has a handler that calls its executor with the instruction
 * word. The short forms exist beside them only for speed; a64_make_op() chooses.
 */
#ifndef HAKO_ENGINE_SOFT_A64_INTERP_H
#define HAKO_ENGINE_SOFT_A64_INTERP_H

#include "a64_decode.h"
#include "engine/soft/a64/cpu.h"

typedef struct a64_cpu cpu_t;
enum { OP_BYTES = 4 };
#define ARCH(name) a64_##name
#define CODE_TLB   tlb
#include "engine/soft/dispatch.inc"

/* clang-format off */
#define SIX(X, name) X(name) X(name##_reg) X(name##_uxtw) X(name##_sxtw) X(name##_post) X(name##_pre)
/* a64_make_op() relies on these orders: 64 bits then 32; the six address forms; the modes of pairs. */
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

extern handler *const a64_handlers[N_HANDLERS];

/* Decode `w`, the instruction at place `index` of its page. */
void a64_make_op(struct a64_cpu *c, struct op *op, uint32_t w, unsigned index);

#endif

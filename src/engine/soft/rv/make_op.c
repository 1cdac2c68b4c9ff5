/* SPDX-License-Identifier: MIT */
/*
 * From an instruction to an op: a short form's where there is one, else that of its executor.
 */
#include "engine/soft/rv/interp.h"
#include "engine/soft/rv/rvc.h"

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

void rv_make_op(struct rv_cpu *c, struct op *op, uint32_t w, unsigned length, unsigned index)
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

	rv_make_op(c, &c->cross[0], wide ? w : rvc_expand((uint16_t)w, c->xlen64), wide ? 4 : 2,
		   RV_PAGE_OPS);
	c->cross[wide ? 2 : 1] = (struct op){ .handler = OP_cross_end };
	return &c->cross[0];
}

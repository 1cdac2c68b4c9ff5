/* SPDX-License-Identifier: MIT */
/*
 * From an instruction to an op: a short form's where there is one, else that of its executor.
 */
#include "engine/soft/a64/interp.h"

#include "engine/soft/a64/alu.h"

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

void a64_make_op(struct a64_cpu *c, struct op *op, uint32_t w, unsigned index)
{
	enum a64_insn insn = a64_decode(w);

	if (soft_counts_fences(&c->vcpu) && is_fence(insn, w))
		*op = (struct op){ .handler = OP_fencing, .word = w };
	else if (!short_form(op, insn, w, index))
		*op = (struct op){ .handler = (uint16_t)(OP_insn + insn), .word = w };
}

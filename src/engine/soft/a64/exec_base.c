/* SPDX-License-Identifier: MIT */
/*
 * Executors of the base set but for loads, stores and system instructions: base.insn, line by line.
 * This is what each instruction means; handlers.c has shorter forms of the ones that run most.
 */
#include "engine/soft/a64/alu.h"
#include "engine/soft/a64/exec.h"

#define EXEC(name)     void a64_exec_##name(struct a64_cpu *c, uint32_t w)
#define F(name, field) a64_##name##_##field(w)

bool a64_cond(const struct a64_cpu *c, unsigned cond)
{
	return a64_cond_holds(c, cond);
}

static uint64_t pc(const struct a64_cpu *c)
{
	return a64_op_va(c, c->cur);
}

/* ---- PC-relative ---- */

EXEC(ADR)
{
	uint64_t imm = F(ADR, immhi) << 2 | F(ADR, immlo);
	a64_xw(c, F(ADR, Rd), pc(c) + (uint64_t)sign_extend(imm, 21));
}

EXEC(ADRP)
{
	uint64_t imm = F(ADRP, immhi) << 2 | F(ADRP, immlo);
	a64_xw(c, F(ADRP, Rd), (pc(c) & ~0xfffULL) + ((uint64_t)sign_extend(imm, 21) << 12));
}

/* ---- add and subtract ---- */

#define ADDSUB_IMM(name, sub, flags)                                               \
	EXEC(name)                                                                 \
	{                                                                          \
		uint64_t imm = (uint64_t)F(name, imm12) << (F(name, sh) ? 12 : 0); \
		uint64_t a = a64_xr_sp(c, F(name, Rn));                            \
		uint64_t r = a64_addsub(c, F(name, sf), sub, flags, a, imm);       \
		if (flags)                                                         \
			a64_xw(c, F(name, Rd), r);                                 \
		else                                                               \
			a64_xw_sp(c, F(name, Rd), r);                              \
	}
ADDSUB_IMM(ADD_imm, false, false)
ADDSUB_IMM(ADDS_imm, false, true)
ADDSUB_IMM(SUB_imm, true, false)
ADDSUB_IMM(SUBS_imm, true, true)

#define ADDSUB_SHIFT(name, sub, flags)                                                          \
	EXEC(name)                                                                              \
	{                                                                                       \
		uint64_t b = a64_shift_reg(a64_xr(c, F(name, Rm)), F(name, sf), F(name, shift), \
					   F(name, imm6));                                      \
		a64_xw(c, F(name, Rd),                                                          \
		       a64_addsub(c, F(name, sf), sub, flags, a64_xr(c, F(name, Rn)), b));      \
	}
ADDSUB_SHIFT(ADD_shift, false, false)
ADDSUB_SHIFT(ADDS_shift, false, true)
ADDSUB_SHIFT(SUB_shift, true, false)
ADDSUB_SHIFT(SUBS_shift, true, true)

#define ADDSUB_EXT(name, sub, flags)                                                               \
	EXEC(name)                                                                                 \
	{                                                                                          \
		uint64_t b = a64_extend(a64_xr(c, F(name, Rm)), F(name, option), F(name, imm3));   \
		uint64_t r = a64_addsub(c, F(name, sf), sub, flags, a64_xr_sp(c, F(name, Rn)), b); \
		if (flags)                                                                         \
			a64_xw(c, F(name, Rd), r);                                                 \
		else                                                                               \
			a64_xw_sp(c, F(name, Rd), r);                                              \
	}
ADDSUB_EXT(ADD_ext, false, false)
ADDSUB_EXT(ADDS_ext, false, true)
ADDSUB_EXT(SUB_ext, true, false)
ADDSUB_EXT(SUBS_ext, true, true)

#define ADDSUB_CARRY(name, invert, flags)                                           \
	EXEC(name)                                                                  \
	{                                                                           \
		uint64_t b = a64_xr(c, F(name, Rm));                                \
		a64_xw(c, F(name, Rd),                                              \
		       a64_add_carry(c, F(name, sf), flags, a64_xr(c, F(name, Rn)), \
				     invert ? ~b : b, c->cf));                      \
	}
ADDSUB_CARRY(ADC, false, false)
ADDSUB_CARRY(ADCS, false, true)
ADDSUB_CARRY(SBC, true, false)
ADDSUB_CARRY(SBCS, true, true)

#define COND_COMPARE(name, sub, b)                                                        \
	EXEC(name)                                                                        \
	{                                                                                 \
		if (a64_cond(c, F(name, cond)))                                           \
			a64_addsub(c, F(name, sf), sub, true, a64_xr(c, F(name, Rn)), b); \
		else                                                                      \
			a64_set_nzcv(c, F(name, nzcv));                                   \
	}
COND_COMPARE(CCMN_reg, false, a64_xr(c, F(CCMN_reg, Rm)))
COND_COMPARE(CCMP_reg, true, a64_xr(c, F(CCMP_reg, Rm)))
COND_COMPARE(CCMN_imm, false, F(CCMN_imm, imm5))
COND_COMPARE(CCMP_imm, true, F(CCMP_imm, imm5))

/* ---- logical ---- */

static uint64_t logical_flags(struct a64_cpu *c, bool sf, uint64_t r)
{
	c->nf = sf ? r : r << 32;
	c->zf = sf ? r : (uint32_t)r;
	c->cf = c->vf = 0;
	return r;
}

#define LOGICAL_IMM(name, expr)                                                     \
	EXEC(name)                                                                  \
	{                                                                           \
		uint64_t a = a64_xr(c, F(name, Rn));                                \
		uint64_t b = a64_bitmask(F(name, N), F(name, immr), F(name, imms)); \
		a64_xw_sp(c, F(name, Rd), a64_zext(F(name, sf), expr));             \
	}
LOGICAL_IMM(AND_imm, a &b)
LOGICAL_IMM(ORR_imm, a | b)
LOGICAL_IMM(EOR_imm, a ^ b)
EXEC(ANDS_imm)
{
	uint64_t b = a64_bitmask(F(ANDS_imm, N), F(ANDS_imm, immr), F(ANDS_imm, imms));
	uint64_t r = a64_zext(F(ANDS_imm, sf), a64_xr(c, F(ANDS_imm, Rn)) & b);
	a64_xw(c, F(ANDS_imm, Rd), logical_flags(c, F(ANDS_imm, sf), r));
}

#define LOGICAL_SHIFT(name, expr, flags)                                                        \
	EXEC(name)                                                                              \
	{                                                                                       \
		uint64_t a = a64_xr(c, F(name, Rn));                                            \
		uint64_t b = a64_shift_reg(a64_xr(c, F(name, Rm)), F(name, sf), F(name, shift), \
					   F(name, imm6));                                      \
		uint64_t r = a64_zext(F(name, sf), expr);                                       \
		a64_xw(c, F(name, Rd), flags ? logical_flags(c, F(name, sf), r) : r);           \
	}
LOGICAL_SHIFT(AND_shift, a &b, false)
LOGICAL_SHIFT(BIC_shift, a & ~b, false)
LOGICAL_SHIFT(ORR_shift, a | b, false)
LOGICAL_SHIFT(ORN_shift, a | ~b, false)
LOGICAL_SHIFT(EOR_shift, a ^ b, false)
LOGICAL_SHIFT(EON_shift, a ^ ~b, false)
LOGICAL_SHIFT(ANDS_shift, a &b, true)
LOGICAL_SHIFT(BICS_shift, a & ~b, true)

/* ---- moves and bit fields ---- */

EXEC(MOVN)
{
	uint64_t v = ~((uint64_t)F(MOVN, imm16) << (16 * F(MOVN, hw)));
	a64_xw(c, F(MOVN, Rd), a64_zext(F(MOVN, sf), v));
}

EXEC(MOVZ)
{
	a64_xw(c, F(MOVZ, Rd), (uint64_t)F(MOVZ, imm16) << (16 * F(MOVZ, hw)));
}

EXEC(MOVK)
{
	unsigned shift = 16 * F(MOVK, hw);
	uint64_t v = a64_xr(c, F(MOVK, Rd)) & ~(0xffffULL << shift);
	a64_xw(c, F(MOVK, Rd), a64_zext(F(MOVK, sf), v | (uint64_t)F(MOVK, imm16) << shift));
}

/* SBFM, BFM, UBFM (C6.2): either extract imms:immr to the bottom, or insert imms:0 at size
 * - immr */
struct field {
	unsigned from, to, width;
};
static struct field bitfield(unsigned size, unsigned immr, unsigned imms)
{
	if (imms >= immr)
		return (struct field){ immr, 0, imms - immr + 1 };
	return (struct field){ 0, size - immr, imms + 1 };
}

EXEC(SBFM)
{
	unsigned size = F(SBFM, sf) ? 64 : 32;
	struct field f = bitfield(size, F(SBFM, immr), F(SBFM, imms));
	uint64_t v = (uint64_t)sign_extend(a64_xr(c, F(SBFM, Rn)) >> f.from, f.width) << f.to;
	a64_xw(c, F(SBFM, Rd), a64_zext(F(SBFM, sf), v));
}

EXEC(UBFM)
{
	unsigned size = F(UBFM, sf) ? 64 : 32;
	struct field f = bitfield(size, F(UBFM, immr), F(UBFM, imms));
	uint64_t v = (a64_xr(c, F(UBFM, Rn)) >> f.from & mask_low(f.width)) << f.to;
	a64_xw(c, F(UBFM, Rd), a64_zext(F(UBFM, sf), v));
}

EXEC(BFM)
{
	unsigned size = F(BFM, sf) ? 64 : 32;
	struct field f = bitfield(size, F(BFM, immr), F(BFM, imms));
	uint64_t mask = mask_low(f.width) << f.to;
	uint64_t v = a64_xr(c, F(BFM, Rn)) >> f.from << f.to & mask;
	v |= a64_xr(c, F(BFM, Rd)) & ~mask;
	a64_xw(c, F(BFM, Rd), a64_zext(F(BFM, sf), v));
}

EXEC(EXTR)
{
	uint64_t hi = a64_xr(c, F(EXTR, Rn)), lo = a64_xr(c, F(EXTR, Rm));
	unsigned lsb = F(EXTR, imms);
	uint64_t r;
	if (!F(EXTR, sf))
		r = (uint32_t)((hi << 32 | (uint32_t)lo) >> lsb);
	else
		r = lsb ? hi << (64 - lsb) | lo >> lsb : lo;
	a64_xw(c, F(EXTR, Rd), r);
}

/* ---- conditional select ---- */

#define SELECT(name, other)                                                                 \
	EXEC(name)                                                                          \
	{                                                                                   \
		uint64_t b = a64_xr(c, F(name, Rm));                                        \
		uint64_t r = a64_cond(c, F(name, cond)) ? a64_xr(c, F(name, Rn)) : (other); \
		a64_xw(c, F(name, Rd), a64_zext(F(name, sf), r));                           \
	}
SELECT(CSEL, b)
SELECT(CSINC, b + 1)
SELECT(CSINV, ~b)
SELECT(CSNEG, 0 - b)

/* ---- two sources ---- */

EXEC(UDIV)
{
	uint64_t n = a64_zext(F(UDIV, sf), a64_xr(c, F(UDIV, Rn)));
	uint64_t d = a64_zext(F(UDIV, sf), a64_xr(c, F(UDIV, Rm)));
	a64_xw(c, F(UDIV, Rd), d ? n / d : 0);
}

EXEC(SDIV)
{
	uint64_t n = a64_xr(c, F(SDIV, Rn)), d = a64_xr(c, F(SDIV, Rm)), r;
	if (!F(SDIV, sf)) {
		n = (uint64_t)(int32_t)n;
		d = (uint64_t)(int32_t)d;
	}
	/* The one overflow, INT64_MIN / -1, wraps; so does every division by -1. */
	if (d == 0)
		r = 0;
	else if (d == ~0ULL)
		r = 0 - n;
	else
		r = (uint64_t)((int64_t)n / (int64_t)d);
	a64_xw(c, F(SDIV, Rd), a64_zext(F(SDIV, sf), r));
}

#define SHIFT_VAR(name, type)                                                                  \
	EXEC(name)                                                                             \
	{                                                                                      \
		unsigned n = (unsigned)a64_xr(c, F(name, Rm)) & (F(name, sf) ? 63 : 31);       \
		a64_xw(c, F(name, Rd),                                                         \
		       a64_zext(F(name, sf),                                                   \
				a64_shift_reg(a64_xr(c, F(name, Rn)), F(name, sf), type, n))); \
	}
SHIFT_VAR(LSLV, 0)
SHIFT_VAR(LSRV, 1)
SHIFT_VAR(ASRV, 2)
SHIFT_VAR(RORV, 3)

/* Reflected CRC, bit by bit over at most 8 bytes; the polynomials of C6.2.74 and
 * C6.2.75, reversed. */
static uint32_t crc(uint32_t acc, uint64_t v, unsigned bytes, uint32_t poly)
{
	for (unsigned i = 0; i < bytes; i++, v >>= 8) {
		acc ^= (uint8_t)v;
		for (unsigned k = 0; k < 8; k++)
			acc = acc >> 1 ^ (poly & (0 - (acc & 1)));
	}
	return acc;
}

EXEC(CRC32)
{
	a64_xw(c, F(CRC32, Rd),
	       crc((uint32_t)a64_xr(c, F(CRC32, Rn)), a64_xr(c, F(CRC32, Rm)), 1u << F(CRC32, sz),
		   0xedb88320));
}

EXEC(CRC32C)
{
	a64_xw(c, F(CRC32C, Rd),
	       crc((uint32_t)a64_xr(c, F(CRC32C, Rn)), a64_xr(c, F(CRC32C, Rm)),
		   1u << F(CRC32C, sz), 0x82f63b78));
}

/* ---- one source ---- */

EXEC(RBIT)
{
	uint64_t v = a64_xr(c, F(RBIT, Rn));
	v = (v >> 1 & 0x5555555555555555) | (v & 0x5555555555555555) << 1;
	v = (v >> 2 & 0x3333333333333333) | (v & 0x3333333333333333) << 2;
	v = (v >> 4 & 0x0f0f0f0f0f0f0f0f) | (v & 0x0f0f0f0f0f0f0f0f) << 4;
	v = __builtin_bswap64(v);
	a64_xw(c, F(RBIT, Rd), F(RBIT, sf) ? v : v >> 32);
}

EXEC(REV16)
{
	uint64_t v = a64_xr(c, F(REV16, Rn));
	v = (v >> 8 & 0x00ff00ff00ff00ff) | (v & 0x00ff00ff00ff00ff) << 8;
	a64_xw(c, F(REV16, Rd), a64_zext(F(REV16, sf), v));
}

EXEC(REV32)
{
	uint64_t v = __builtin_bswap64(a64_xr(c, F(REV32, Rn)));
	v = v >> 32 | v << 32;
	a64_xw(c, F(REV32, Rd), a64_zext(F(REV32, sf), v));
}

EXEC(REV64)
{
	a64_xw(c, F(REV64, Rd), __builtin_bswap64(a64_xr(c, F(REV64, Rn))));
}

static unsigned clz(uint64_t v, bool sf)
{
	v = sf ? v : v << 32;
	return v ? (unsigned)__builtin_clzll(v) : sf ? 64 : 32;
}

EXEC(CLZ)
{
	a64_xw(c, F(CLZ, Rd), clz(a64_xr(c, F(CLZ, Rn)), F(CLZ, sf)));
}

EXEC(CLS)
{
	bool sf = F(CLS, sf);
	uint64_t v = a64_xr(c, F(CLS, Rn));
	/* Bits equal to the sign bit below it: leading zeros of v ^ (v >> 1), the top
	 * bit excluded. */
	v = sf ? v : (uint64_t)(int32_t)v;
	a64_xw(c, F(CLS, Rd), clz((uint64_t)((int64_t)v >> 1) ^ v, sf) - 1);
}

/* ---- multiply ---- */

EXEC(MADD)
{
	uint64_t p = a64_xr(c, F(MADD, Rn)) * a64_xr(c, F(MADD, Rm));
	a64_xw(c, F(MADD, Rd), a64_zext(F(MADD, sf), a64_xr(c, F(MADD, Ra)) + p));
}

EXEC(MSUB)
{
	uint64_t p = a64_xr(c, F(MSUB, Rn)) * a64_xr(c, F(MSUB, Rm));
	a64_xw(c, F(MSUB, Rd), a64_zext(F(MSUB, sf), a64_xr(c, F(MSUB, Ra)) - p));
}

#define MUL_LONG(name, type, op)                                        \
	EXEC(name)                                                      \
	{                                                               \
		uint64_t n = (uint64_t)(type)a64_xr(c, F(name, Rn));    \
		uint64_t m = (uint64_t)(type)a64_xr(c, F(name, Rm));    \
		a64_xw(c, F(name, Rd), a64_xr(c, F(name, Ra)) op n *m); \
	}
MUL_LONG(SMADDL, int32_t, +)
MUL_LONG(SMSUBL, int32_t, -)
MUL_LONG(UMADDL, uint32_t, +)
MUL_LONG(UMSUBL, uint32_t, -)

EXEC(SMULH)
{
	__int128 p = (__int128)(int64_t)a64_xr(c, F(SMULH, Rn)) * (int64_t)a64_xr(c, F(SMULH, Rm));
	a64_xw(c, F(SMULH, Rd), (uint64_t)(p >> 64));
}

EXEC(UMULH)
{
	unsigned __int128 p = (unsigned __int128)a64_xr(c, F(UMULH, Rn)) * a64_xr(c, F(UMULH, Rm));
	a64_xw(c, F(UMULH, Rd), (uint64_t)(p >> 64));
}

/* ---- flags (FEAT_FlagM) ---- */

EXEC(RMIF)
{
	unsigned n = F(RMIF, imm6), mask = F(RMIF, mask);
	uint64_t v = a64_xr(c, F(RMIF, Rn));
	unsigned nzcv = (unsigned)(n ? v >> n | v << (64 - n) : v) & 15;
	a64_set_nzcv(c, (a64_nzcv(c) & ~mask) | (nzcv & mask));
}

static void setf(struct a64_cpu *c, uint64_t v, unsigned msb)
{
	unsigned n = bit(v, msb), z = (v & mask_low(msb + 1)) == 0;
	a64_set_nzcv(c, n << 3 | z << 2 | c->cf << 1 | (bit(v, msb + 1) ^ n));
}

EXEC(SETF8)
{
	setf(c, a64_xr(c, F(SETF8, Rn)), 7);
}

EXEC(SETF16)
{
	setf(c, a64_xr(c, F(SETF16, Rn)), 15);
}

EXEC(CFINV)
{
	(void)w;
	c->cf ^= 1;
}

/* ---- branches; c->pc already points behind the instruction ---- */

static void branch_if(struct a64_cpu *c, bool taken, uint64_t offset, unsigned width)
{
	if (taken)
		c->pc = pc(c) + ((uint64_t)sign_extend(offset, width) << 2);
}

EXEC(B_cond)
{
	branch_if(c, a64_cond(c, F(B_cond, cond)), F(B_cond, imm19), 19);
}

EXEC(B)
{
	branch_if(c, true, F(B, imm26), 26);
}

EXEC(BL)
{
	c->x[30] = pc(c) + 4;
	branch_if(c, true, F(BL, imm26), 26);
}

EXEC(CBZ)
{
	branch_if(c, a64_zext(F(CBZ, sf), a64_xr(c, F(CBZ, Rt))) == 0, F(CBZ, imm19), 19);
}

EXEC(CBNZ)
{
	branch_if(c, a64_zext(F(CBNZ, sf), a64_xr(c, F(CBNZ, Rt))) != 0, F(CBNZ, imm19), 19);
}

EXEC(TBZ)
{
	unsigned n = F(TBZ, b5) << 5 | F(TBZ, b40);
	branch_if(c, !bit(a64_xr(c, F(TBZ, Rt)), n), F(TBZ, imm14), 14);
}

EXEC(TBNZ)
{
	unsigned n = F(TBNZ, b5) << 5 | F(TBNZ, b40);
	branch_if(c, bit(a64_xr(c, F(TBNZ, Rt)), n), F(TBNZ, imm14), 14);
}

EXEC(BR)
{
	c->pc = a64_xr(c, F(BR, Rn));
}

EXEC(BLR)
{
	uint64_t target = a64_xr(c, F(BLR, Rn));
	c->x[30] = pc(c) + 4;
	c->pc = target;
}

EXEC(RET)
{
	c->pc = a64_xr(c, F(RET, Rn));
}

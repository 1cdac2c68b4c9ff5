/* SPDX-License-Identifier: MIT */
/*
 * Compressed instructions (volume I, chapter 27): each is a shorter way to write one of 32 bits.
 */
#include "engine/soft/rv/rvc.h"

#include "base/bits.h"

enum { OP_IMM = 0x13, OP_IMM_32 = 0x1b, OP = 0x33, OP_32 = 0x3b, LOAD = 0x03, STORE = 0x23 };
enum { LOAD_FP = 0x07, STORE_FP = 0x27, BRANCH = 0x63, JAL = 0x6f, JALR = 0x67, LUI = 0x37 };

/* The formats of 32-bit instructions (2.2) */
static uint32_t r(uint32_t op, uint32_t f3, uint32_t f7, uint32_t rd, uint32_t rs1, uint32_t rs2)
{
	return f7 << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}
static uint32_t i(uint32_t op, uint32_t f3, uint32_t rd, uint32_t rs1, uint32_t imm)
{
	return imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}
static uint32_t s(uint32_t op, uint32_t f3, uint32_t rs1, uint32_t rs2, uint32_t imm)
{
	return (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | (imm & 0x1f) << 7 | op;
}
static uint32_t b(uint32_t f3, uint32_t rs1, uint32_t imm)
{
	return (imm >> 12 & 1) << 31 | (imm >> 5 & 0x3f) << 25 | rs1 << 15 | f3 << 12 |
	       (imm >> 1 & 0xf) << 8 | (imm >> 11 & 1) << 7 | BRANCH;
}
static uint32_t j(uint32_t rd, uint32_t imm)
{
	return (imm >> 20 & 1) << 31 | (imm >> 1 & 0x3ff) << 21 | (imm >> 11 & 1) << 20 |
	       (imm >> 12 & 0xff) << 12 | rd << 7 | JAL;
}

/* Bits hi..lo of the instruction, put at `to`. */
static uint32_t at(uint32_t c, unsigned hi, unsigned lo, unsigned to)
{
	return (uint32_t)bits(c, hi, lo) << to;
}
static uint32_t sext(uint32_t v, unsigned n)
{
	return (uint32_t)sign_extend(v, n);
}

/* The offsets of loads and stores, by width (27.3) */
static uint32_t off_w(uint32_t c)
{
	return at(c, 12, 10, 3) | at(c, 6, 6, 2) | at(c, 5, 5, 6);
}
static uint32_t off_d(uint32_t c)
{
	return at(c, 12, 10, 3) | at(c, 6, 5, 6);
}
static uint32_t off_wsp(uint32_t c)
{
	return at(c, 12, 12, 5) | at(c, 6, 4, 2) | at(c, 3, 2, 6);
}
static uint32_t off_dsp(uint32_t c)
{
	return at(c, 12, 12, 5) | at(c, 6, 5, 3) | at(c, 4, 2, 6);
}
static uint32_t off_j(uint32_t c)
{
	return sext(at(c, 12, 12, 11) | at(c, 11, 11, 4) | at(c, 10, 9, 8) | at(c, 8, 8, 10) |
			    at(c, 7, 7, 6) | at(c, 6, 6, 7) | at(c, 5, 3, 1) | at(c, 2, 2, 5),
		    12);
}
static uint32_t off_b(uint32_t c)
{
	return sext(at(c, 12, 12, 8) | at(c, 11, 10, 3) | at(c, 6, 5, 6) | at(c, 4, 3, 1) |
			    at(c, 2, 2, 5),
		    9);
}

static uint32_t quadrant0(uint32_t c, bool rv64)
{
	uint32_t rd = 8 + (c >> 2 & 7), rs1 = 8 + (c >> 7 & 7);
	switch (c >> 13) {
	case 0: { /* C.ADDI4SPN */
		uint32_t imm = at(c, 12, 11, 4) | at(c, 10, 7, 6) | at(c, 6, 6, 2) | at(c, 5, 5, 3);
		return imm ? i(OP_IMM, 0, rd, 2, imm) : 0;
	}
	case 1: return i(LOAD_FP, 3, rd, rs1, off_d(c));
	case 2: return i(LOAD, 2, rd, rs1, off_w(c));
	case 3: return rv64 ? i(LOAD, 3, rd, rs1, off_d(c)) : i(LOAD_FP, 2, rd, rs1, off_w(c));
	case 5: return s(STORE_FP, 3, rs1, rd, off_d(c));
	case 6: return s(STORE, 2, rs1, rd, off_w(c));
	case 7: return rv64 ? s(STORE, 3, rs1, rd, off_d(c)) : s(STORE_FP, 2, rs1, rd, off_w(c));
	default: return 0;
	}
}

static uint32_t arithmetic(uint32_t c, bool rv64)
{
	uint32_t rd = 8 + (c >> 7 & 7), rs2 = 8 + (c >> 2 & 7);
	uint32_t shamt = at(c, 12, 12, 5) | at(c, 6, 2, 0);
	switch (c >> 10 & 3) {
	case 0: return rv64 || shamt < 32 ? i(OP_IMM, 5, rd, rd, shamt) : 0;
	case 1: return rv64 || shamt < 32 ? i(OP_IMM, 5, rd, rd, shamt | 0x400) : 0;
	case 2: return i(OP_IMM, 7, rd, rd, sext(shamt, 6) & 0xfff);
	default: break;
	}
	switch ((c >> 12 & 1) << 2 | (c >> 5 & 3)) {
	case 0: return r(OP, 0, 0x20, rd, rd, rs2);
	case 1: return r(OP, 4, 0, rd, rd, rs2);
	case 2: return r(OP, 6, 0, rd, rd, rs2);
	case 3: return r(OP, 7, 0, rd, rd, rs2);
	case 4: return rv64 ? r(OP_32, 0, 0x20, rd, rd, rs2) : 0;
	case 5: return rv64 ? r(OP_32, 0, 0, rd, rd, rs2) : 0;
	default: return 0;
	}
}

static uint32_t quadrant1(uint32_t c, bool rv64)
{
	uint32_t rd = c >> 7 & 31;
	uint32_t imm = sext(at(c, 12, 12, 5) | at(c, 6, 2, 0), 6);
	switch (c >> 13) {
	case 0: return i(OP_IMM, 0, rd, rd, imm & 0xfff);
	case 1: /* C.ADDIW, in RV32 C.JAL */
		if (!rv64)
			return j(1, off_j(c));
		return rd ? i(OP_IMM_32, 0, rd, rd, imm & 0xfff) : 0;
	case 2: return i(OP_IMM, 0, rd, 0, imm & 0xfff);
	case 3:
		if (rd == 2) { /* C.ADDI16SP */
			imm = sext(at(c, 12, 12, 9) | at(c, 6, 6, 4) | at(c, 5, 5, 6) |
					   at(c, 4, 3, 7) | at(c, 2, 2, 5),
				   10);
			return imm ? i(OP_IMM, 0, 2, 2, imm & 0xfff) : 0;
		}
		return imm ? (imm & 0xfffff) << 12 | rd << 7 | LUI : 0;
	case 4: return arithmetic(c, rv64);
	case 5: return j(0, off_j(c));
	case 6: return b(0, 8 + (c >> 7 & 7), off_b(c));
	default: return b(1, 8 + (c >> 7 & 7), off_b(c));
	}
}

static uint32_t quadrant2(uint32_t c, bool rv64)
{
	uint32_t rd = c >> 7 & 31, rs2 = c >> 2 & 31;
	uint32_t shamt = at(c, 12, 12, 5) | at(c, 6, 2, 0);
	uint32_t store_w = at(c, 12, 9, 2) | at(c, 8, 7, 6),
		 store_d = at(c, 12, 10, 3) | at(c, 9, 7, 6);
	switch (c >> 13) {
	case 0: return rv64 || shamt < 32 ? i(OP_IMM, 1, rd, rd, shamt) : 0;
	case 1: return i(LOAD_FP, 3, rd, 2, off_dsp(c));
	case 2: return rd ? i(LOAD, 2, rd, 2, off_wsp(c)) : 0;
	case 3:
		if (!rv64)
			return i(LOAD_FP, 2, rd, 2, off_wsp(c));
		return rd ? i(LOAD, 3, rd, 2, off_dsp(c)) : 0;
	case 4:
		if (!(c >> 12 & 1)) {
			if (!rs2)
				return rd ? i(JALR, 0, 0, rd, 0) : 0;
			return r(OP, 0, 0, rd, 0, rs2);
		}
		if (!rs2)
			return rd ? i(JALR, 0, 1, rd, 0) : 0x00100073; /* EBREAK */
		return r(OP, 0, 0, rd, rd, rs2);
	case 5: return s(STORE_FP, 3, 2, rs2, store_d);
	case 6: return s(STORE, 2, 2, rs2, store_w);
	default: return rv64 ? s(STORE, 3, 2, rs2, store_d) : s(STORE_FP, 2, 2, rs2, store_w);
	}
}

uint32_t rvc_expand(uint16_t c, bool rv64)
{
	switch (c & 3) {
	case 0: return quadrant0(c, rv64);
	case 1: return quadrant1(c, rv64);
	case 2: return quadrant2(c, rv64);
	default: return 0;
	}
}

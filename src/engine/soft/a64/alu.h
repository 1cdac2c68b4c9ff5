/* SPDX-License-Identifier: MIT */
/*
 * Integer arithmetic, flags and conditions, shared by the executors and the interpreter's short
 * forms.
 */
#ifndef HAKO_ENGINE_SOFT_A64_ALU_H
#define HAKO_ENGINE_SOFT_A64_ALU_H

#include "engine/soft/a64/cpu.h"

/* A result of 64 or 32 bits as it is written to a register. */
static inline uint64_t a64_zext(bool sf, uint64_t v)
{
	return sf ? v : (uint32_t)v;
}

/* AddWithCarry(), setting NZCV when asked to. */
static inline uint64_t a64_add_carry(struct a64_cpu *c, bool sf, bool flags, uint64_t a, uint64_t b,
				     uint32_t carry)
{
	if (sf) {
		uint64_t t, r;
		bool c1 = __builtin_add_overflow(a, b, &t);
		bool c2 = __builtin_add_overflow(t, (uint64_t)carry, &r);
		if (flags) {
			c->nf = c->zf = r;
			c->cf = c1 | c2;
			c->vf = (uint32_t)(((a ^ r) & (b ^ r)) >> 63);
		}
		return r;
	}
	uint64_t wide = (uint64_t)(uint32_t)a + (uint32_t)b + carry;
	uint32_t r = (uint32_t)wide;
	if (flags) {
		c->nf = (uint64_t)r << 32;
		c->zf = r;
		c->cf = (uint32_t)(wide >> 32);
		c->vf = (((uint32_t)a ^ r) & ((uint32_t)b ^ r)) >> 31;
	}
	return r;
}

static inline uint64_t a64_addsub(struct a64_cpu *c, bool sf, bool sub, bool flags, uint64_t a,
				  uint64_t b)
{
	if (sub)
		return a64_add_carry(c, sf, flags, a, ~b, 1);
	return a64_add_carry(c, sf, flags, a, b, 0);
}

/* The same with less work where the compiler knows the case: a - b. */
static inline uint64_t a64_subs64(struct a64_cpu *c, uint64_t a, uint64_t b)
{
	uint64_t r = a - b;
	c->nf = c->zf = r;
	c->cf = a >= b;
	c->vf = (uint32_t)(((a ^ b) & (a ^ r)) >> 63);
	return r;
}

static inline uint64_t a64_subs32(struct a64_cpu *c, uint32_t a, uint32_t b)
{
	uint32_t r = a - b;
	c->nf = (uint64_t)r << 32;
	c->zf = r;
	c->cf = a >= b;
	c->vf = ((a ^ b) & (a ^ r)) >> 31;
	return r;
}

/* ShiftReg(): LSL, LSR, ASR, ROR by a constant below the operand's size. */
static inline uint64_t a64_shift_reg(uint64_t v, bool sf, unsigned type, unsigned n)
{
	if (!sf) {
		uint32_t s = (uint32_t)v;
		switch (type) {
		case 0: return (uint32_t)(s << n);
		case 1: return s >> n;
		case 2: return (uint32_t)((int32_t)s >> n);
		default: return n ? s >> n | s << (32 - n) : s;
		}
	}
	switch (type) {
	case 0: return v << n;
	case 1: return v >> n;
	case 2: return (uint64_t)((int64_t)v >> n);
	default: return n ? v >> n | v << (64 - n) : v;
	}
}

/* ExtendReg(): option is U/S and log2 of the bytes, then a shift. */
static inline uint64_t a64_extend(uint64_t v, unsigned option, unsigned shift)
{
	unsigned width = 8u << (option & 3);
	v = option & 4 ? (uint64_t)sign_extend(v, width) : v & mask_low(width);
	return v << shift;
}

/* DecodeBitMasks() for logical immediates: an element of imms+1 ones rotated by
 * immr, replicated. */
static inline uint64_t a64_bitmask(unsigned n, unsigned immr, unsigned imms)
{
	unsigned len = 31 - (unsigned)__builtin_clz(n << 6 | (~imms & 0x3f));
	unsigned size = 1u << len, s = imms & (size - 1), r = immr & (size - 1);
	uint64_t v = mask_low(s + 1);
	if (r)
		v = (v >> r | v << (size - r)) & mask_low(size);
	for (; size < 64; size *= 2)
		v |= v << size;
	return v;
}

static inline bool a64_cond_holds(const struct a64_cpu *c, unsigned cond)
{
	bool n = c->nf >> 63, z = c->zf == 0, r;
	switch (cond >> 1) {
	case 0: r = z; break;                      /* EQ, NE */
	case 1: r = c->cf; break;                  /* CS, CC */
	case 2: r = n; break;                      /* MI, PL */
	case 3: r = c->vf; break;                  /* VS, VC */
	case 4: r = c->cf && !z; break;            /* HI, LS */
	case 5: r = n == (bool)c->vf; break;       /* GE, LT */
	case 6: r = n == (bool)c->vf && !z; break; /* GT, LE */
	default: return true;                      /* AL, NV */
	}
	return r != (cond & 1);
}

#endif

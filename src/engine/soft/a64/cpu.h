/* SPDX-License-Identifier: MIT */
/*
 * One AArch64 vCPU of the software engine: its registers, and what executing instructions may use.
 * Hot fields first; translated code may address them later.
 *
 * An instruction that cannot complete never returns to its caller: a64_undefined(), the memory
 * accessors and the other raise functions leave by longjmp to the run loop, which takes the
 * exception with the PC of the instruction that is being executed. So an instruction changes no
 * register before its last possible fault.
 *
 * Threads: everything here belongs to the vCPU's thread, except what soft.h says is shared.
 */
#ifndef HAKO_ENGINE_SOFT_A64_CPU_H
#define HAKO_ENGINE_SOFT_A64_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"

/* A vector register: V0..V31, element 0 at the least significant end (hosts are little-endian). */
union a64_vreg {
	uint8_t b[16];
	uint16_t h[8];
	uint32_t s[4];
	uint64_t d[2];
} __attribute__((aligned(16)));

/* Slots of x[] beyond X0..X30. Decoding picks the slot, so executing never asks "is it register
 * 31?". */
enum {
	A64_ZR = 31,   /* reads as zero; never written */
	A64_SP = 32,   /* the current stack pointer */
	A64_SINK = 33, /* takes writes to the zero register */
	A64_N_SLOTS
};

/* FPCR (DDI0487 C5.2.8): the fields that this CPU has. */
enum {
	A64_FPCR_RMODE_SHIFT = 22, /* RN, RP, RM, RZ */
	A64_FPCR_FZ = 1 << 24,
	A64_FPCR_DN = 1 << 25,
	A64_FPCR_AHP = 1 << 26,
};
/* FPSR (C5.2.10): cumulative exception bits. */
enum {
	A64_FPSR_IOC = 1 << 0,
	A64_FPSR_DZC = 1 << 1,
	A64_FPSR_OFC = 1 << 2,
	A64_FPSR_UFC = 1 << 3,
	A64_FPSR_IXC = 1 << 4,
	A64_FPSR_IDC = 1 << 7,
	A64_FPSR_QC = 1 << 27,
};

struct a64_cpu;

#include "engine/soft/a64/state.h"

/* Read or write a general register by instruction field; 31 is the zero register. */
static inline uint64_t a64_xr(const struct a64_cpu *c, unsigned r)
{
	return c->x[r];
}
static inline void a64_xw(struct a64_cpu *c, unsigned r, uint64_t v)
{
	c->x[r == 31 ? A64_SINK : r] = v;
}
/* The same where 31 is the stack pointer. */
static inline uint64_t a64_xr_sp(const struct a64_cpu *c, unsigned r)
{
	return c->x[r == 31 ? A64_SP : r];
}
static inline void a64_xw_sp(struct a64_cpu *c, unsigned r, uint64_t v)
{
	c->x[r == 31 ? A64_SP : r] = v;
}

/* PSTATE.<N,Z,C,V>, bit 3 to 0. */
static inline unsigned a64_nzcv(const struct a64_cpu *c)
{
	return (unsigned)(c->nf >> 63) << 3 | (unsigned)(c->zf == 0) << 2 | c->cf << 1 | c->vf;
}
static inline void a64_set_nzcv(struct a64_cpu *c, unsigned nzcv)
{
	c->nf = (uint64_t)nzcv >> 3 << 63;
	c->zf = !bit(nzcv, 2);
	c->cf = bit(nzcv, 1);
	c->vf = bit(nzcv, 0);
}
/* ConditionHolds() (DDI0487 shared pseudocode), cond from 0 to 15. */
bool a64_cond(const struct a64_cpu *c, unsigned cond);

/* The instruction is UNDEFINED in this state. */
_Noreturn void a64_undefined(struct a64_cpu *c);

/*
 * Data accesses at the current exception level, little-endian, any alignment. They return, or the
 * instruction faults. `va` may be tagged (TBI).
 */
uint8_t a64_ld8(struct a64_cpu *c, uint64_t va);
uint16_t a64_ld16(struct a64_cpu *c, uint64_t va);
uint32_t a64_ld32(struct a64_cpu *c, uint64_t va);
uint64_t a64_ld64(struct a64_cpu *c, uint64_t va);
/* len from 1 to 64: all bytes are readable (writable), or the instruction faults before any is
 * touched. */
void a64_ld(struct a64_cpu *c, uint64_t va, void *dst, unsigned len);
void a64_st8(struct a64_cpu *c, uint64_t va, uint8_t v);
void a64_st16(struct a64_cpu *c, uint64_t va, uint16_t v);
void a64_st32(struct a64_cpu *c, uint64_t va, uint32_t v);
void a64_st64(struct a64_cpu *c, uint64_t va, uint64_t v);
void a64_st(struct a64_cpu *c, uint64_t va, const void *src, unsigned len);

#endif

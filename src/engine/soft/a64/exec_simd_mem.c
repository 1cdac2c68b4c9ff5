/* SPDX-License-Identifier: MIT */
/*
 * SIMD&FP loads and stores (DDI0487 C4.1, "Loads and Stores"): one register, pairs, multiple and
 * single structures.
 *
 * Whatever may fault comes before the first change of a register. What a store of several registers
 * writes is one access, so that it writes all or nothing.
 */
#include <string.h>

#include "engine/soft/a64/alu.h"
#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/mmu.h"
#include "engine/soft/a64/simd.h"

#define EXEC(NAME) void a64_exec_##NAME(struct a64_cpu *c, uint32_t w)

/* A base register; SP must be aligned when SCTLR_EL1 says so (CheckSPAlignment()). */
static uint64_t base(struct a64_cpu *c, unsigned rn)
{
	const uint64_t va = a64_xr_sp(c, rn);

	if (rn == 31 && unlikely(va & c->sp_mask))
		a64_raise(c, A64_EC_SP_ALIGN, 0);
	return va;
}

#define BASE(NAME)           base(c, a64_##NAME##_Rn(w))
#define WRITE_BASE(NAME, VA) a64_xw_sp(c, a64_##NAME##_Rn(w), VA)

/* a64_ld() and a64_st() where the compiler knows the length: a copy without a call. */
static inline void load_bytes(struct a64_cpu *c, uint64_t va, void *dst, unsigned len,
			      unsigned align)
{
	const struct tlb_entry *e = tlb_d(c->tlb, va);

	if (likely(((va + len - 1) & TLB_PAGE_MASK) == e->r))
		memcpy(dst, (const void *)(uintptr_t)(va + e->addend), len);
	else
		a64_ld(c, va, dst, len, align);
}

static inline void store_bytes(struct a64_cpu *c, uint64_t va, const void *src, unsigned len,
			       unsigned align)
{
	const struct tlb_entry *e = tlb_d(c->tlb, va);

	if (likely(((va + len - 1) & TLB_PAGE_MASK) == e->w))
		memcpy((void *)(uintptr_t)(va + e->addend), src, len);
	else
		a64_st(c, va, src, len, align);
}

/* ---- One register of 1 << scale bytes ---- */

static void load(struct a64_cpu *c, uint64_t va, unsigned scale, unsigned rt)
{
	if (scale == 4) {
		union a64_vreg r;

		load_bytes(c, va, &r, 16, 16);
		c->v[rt] = r;
	} else {
		simd_write_scalar(c, rt, a64_load(c, va, 1u << scale));
	}
}

static void store(struct a64_cpu *c, uint64_t va, unsigned scale, unsigned rt)
{
	if (scale == 4)
		store_bytes(c, va, &c->v[rt], 16, 16);
	else
		a64_store(c, va, 1u << scale, c->v[rt].d[0]);
}

#define SCALE(NAME) (a64_##NAME##_opc1(w) << 2 | a64_##NAME##_size(w))
#define IMM12(NAME) ((uint64_t)a64_##NAME##_imm12(w) << SCALE(NAME))
#define IMM9(NAME)  ((uint64_t)sign_extend(a64_##NAME##_imm9(w), 9))
#define EXTENDED(NAME)                                                    \
	a64_extend(a64_xr(c, a64_##NAME##_Rm(w)), a64_##NAME##_option(w), \
		   a64_##NAME##_S(w) ? SCALE(NAME) : 0)

#define OFFSET(NAME, ACCESS, OFFSET)                                                   \
	EXEC(NAME)                                                                     \
	{                                                                              \
		ACCESS(c, BASE(NAME) + OFFSET(NAME), SCALE(NAME), a64_##NAME##_Rt(w)); \
	}
#define PRE(NAME, ACCESS)                                       \
	EXEC(NAME)                                              \
	{                                                       \
		const uint64_t va = BASE(NAME) + IMM9(NAME);    \
                                                                \
		ACCESS(c, va, SCALE(NAME), a64_##NAME##_Rt(w)); \
		WRITE_BASE(NAME, va);                           \
	}
#define POST(NAME, ACCESS)                                      \
	EXEC(NAME)                                              \
	{                                                       \
		const uint64_t va = BASE(NAME);                 \
                                                                \
		ACCESS(c, va, SCALE(NAME), a64_##NAME##_Rt(w)); \
		WRITE_BASE(NAME, va + IMM9(NAME));              \
	}

OFFSET(LDR_simd_imm, load, IMM12)
OFFSET(STR_simd_imm, store, IMM12)
OFFSET(LDUR_simd, load, IMM9)
OFFSET(STUR_simd, store, IMM9)
OFFSET(LDR_simd_reg, load, EXTENDED)
OFFSET(STR_simd_reg, store, EXTENDED)
PRE(LDR_simd_pre, load)
PRE(STR_simd_pre, store)
POST(LDR_simd_post, load)
POST(STR_simd_post, store)

EXEC(LDR_simd_lit)
{
	const int64_t offset = sign_extend(a64_LDR_simd_lit_imm19(w), 19) * 4;

	load(c, a64_op_va(c, c->cur) + (uint64_t)offset, 2 + a64_LDR_simd_lit_opc(w),
	     a64_LDR_simd_lit_Rt(w));
}

/* ---- Pairs ---- */

static void load_pair(struct a64_cpu *c, uint64_t va, unsigned scale, unsigned rt, unsigned rt2)
{
	union a64_vreg r[2];

	if (scale == 4) {
		load_bytes(c, va, r, 32, 16);
	} else if (scale == 3) {
		uint64_t d[2];

		load_bytes(c, va, d, 16, 8);
		r[0] = simd_pair(d[0], 0);
		r[1] = simd_pair(d[1], 0);
	} else {
		uint32_t s[2];

		load_bytes(c, va, s, 8, 4);
		r[0] = simd_pair(s[0], 0);
		r[1] = simd_pair(s[1], 0);
	}
	c->v[rt] = r[0];
	c->v[rt2] = r[1];
}

static void store_pair(struct a64_cpu *c, uint64_t va, unsigned scale, unsigned rt, unsigned rt2)
{
	const union a64_vreg r[2] = { c->v[rt], c->v[rt2] };

	if (scale == 4)
		store_bytes(c, va, r, 32, 16);
	else if (scale == 3)
		store_bytes(c, va, (uint64_t[]){ r[0].d[0], r[1].d[0] }, 16, 8);
	else
		store_bytes(c, va, (uint32_t[]){ r[0].s[0], r[1].s[0] }, 8, 4);
}

#define PAIR_SCALE(NAME) (2 + a64_##NAME##_opc(w))
#define IMM7(NAME)       ((uint64_t)sign_extend(a64_##NAME##_imm7(w), 7) << PAIR_SCALE(NAME))

#define PAIR(NAME, ACCESS, BEFORE, AFTER, WRITE)                                          \
	EXEC(NAME)                                                                        \
	{                                                                                 \
		const uint64_t va = BASE(NAME) + BEFORE(NAME);                            \
                                                                                          \
		ACCESS(c, va, PAIR_SCALE(NAME), a64_##NAME##_Rt(w), a64_##NAME##_Rt2(w)); \
		WRITE(NAME, va + AFTER(NAME));                                            \
	}
#define ZERO(NAME)          0
#define KEEP_BASE(NAME, VA) (void)0

PAIR(LDNP_simd, load_pair, IMM7, ZERO, KEEP_BASE)
PAIR(STNP_simd, store_pair, IMM7, ZERO, KEEP_BASE)
PAIR(LDP_simd, load_pair, IMM7, ZERO, KEEP_BASE)
PAIR(STP_simd, store_pair, IMM7, ZERO, KEEP_BASE)
PAIR(LDP_simd_pre, load_pair, IMM7, ZERO, WRITE_BASE)
PAIR(STP_simd_pre, store_pair, IMM7, ZERO, WRITE_BASE)
PAIR(LDP_simd_post, load_pair, ZERO, IMM7, WRITE_BASE)
PAIR(STP_simd_post, store_pair, ZERO, IMM7, WRITE_BASE)

/* ---- Multiple structures: `n` registers from V[rt], interleaved by element (not LD1, ST1) ---- */

/* The bytes of the access. */
union structures {
	uint8_t b[64];
	uint16_t h[32];
	uint32_t s[16];
	uint64_t d[8];
};

#define MULTI_BY_SIZE(size, LOOP) \
	switch (size) {           \
	case 0: LOOP(b) break;    \
	case 1: LOOP(h) break;    \
	case 2: LOOP(s) break;    \
	default: LOOP(d)          \
	}
#define DEINTERLEAVE(F)                                         \
	for (unsigned i = 0; i < bytes / sizeof(mem.F[0]); i++) \
		for (unsigned j = 0; j < n; j++)                \
			r[j].F[i] = mem.F[i * n + j];
#define INTERLEAVE(F)                                           \
	for (unsigned i = 0; i < bytes / sizeof(mem.F[0]); i++) \
		for (unsigned j = 0; j < n; j++)                \
			mem.F[i * n + j] = c->v[(rt + j) % 32].F[i];

/* Both return the bytes that they moved. */
static unsigned load_multi(struct a64_cpu *c, uint64_t va, unsigned n, bool interleaved,
			   unsigned size, unsigned q, unsigned rt)
{
	const unsigned bytes = 8u << q;
	union a64_vreg r[4] = { 0 };

	if (interleaved) {
		union structures mem;

		a64_ld(c, va, &mem, n * bytes, 1u << size);
		MULTI_BY_SIZE(size, DEINTERLEAVE)
	} else {
		for (unsigned j = 0; j < n; j++) {
			if (q)
				load_bytes(c, va + j * 16, &r[j], 16, 1u << size);
			else
				load_bytes(c, va + j * 8, &r[j].d[0], 8, 1u << size);
		}
	}
	for (unsigned j = 0; j < n; j++)
		c->v[(rt + j) % 32] = r[j];
	return n * bytes;
}

static unsigned store_multi(struct a64_cpu *c, uint64_t va, unsigned n, bool interleaved,
			    unsigned size, unsigned q, unsigned rt)
{
	const unsigned bytes = 8u << q;
	union structures mem;

	if (interleaved) {
		MULTI_BY_SIZE(size, INTERLEAVE)
	} else {
		for (unsigned j = 0; j < n; j++)
			memcpy(mem.b + j * bytes, &c->v[(rt + j) % 32], bytes);
	}
	if (n * bytes == 16)
		store_bytes(c, va, &mem, 16, 1u << size);
	else
		a64_st(c, va, &mem, n * bytes, 1u << size);
	return n * bytes;
}

/* In the post-indexed forms, Rm of 31 stands for the bytes moved. */
static uint64_t post_index(const struct a64_cpu *c, unsigned rm, unsigned bytes)
{
	return rm == 31 ? bytes : a64_xr(c, rm);
}

#define MULTI(NAME, ACCESS, N, INTERLEAVED)                                                        \
	EXEC(NAME##_multi)                                                                         \
	{                                                                                          \
		ACCESS(c, BASE(NAME##_multi), N(NAME##_multi), INTERLEAVED,                        \
		       a64_##NAME##_multi_size(w), a64_##NAME##_multi_Q(w),                        \
		       a64_##NAME##_multi_Rt(w));                                                  \
	}                                                                                          \
	EXEC(NAME##_multi_post)                                                                    \
	{                                                                                          \
		const uint64_t va = BASE(NAME##_multi_post);                                       \
		const unsigned bytes = ACCESS(                                                     \
			c, va, N(NAME##_multi_post), INTERLEAVED, a64_##NAME##_multi_post_size(w), \
			a64_##NAME##_multi_post_Q(w), a64_##NAME##_multi_post_Rt(w));              \
                                                                                                   \
		WRITE_BASE(NAME##_multi_post,                                                      \
			   va + post_index(c, a64_##NAME##_multi_post_Rm(w), bytes));              \
	}

/* How many registers the opcode of LD1 and ST1 names. */
static unsigned opcode_registers(unsigned opcode)
{
	switch (opcode) {
	case 7: return 1;
	case 10: return 2;
	case 6: return 3;
	default: /* 2 */ return 4;
	}
}

#define N_OPCODE(NAME) opcode_registers(a64_##NAME##_opcode(w))
#define N_2(NAME)      2
#define N_3(NAME)      3
#define N_4(NAME)      4

MULTI(LD1, load_multi, N_OPCODE, false)
MULTI(ST1, store_multi, N_OPCODE, false)
MULTI(LD2, load_multi, N_2, true)
MULTI(ST2, store_multi, N_2, true)
MULTI(LD3, load_multi, N_3, true)
MULTI(ST3, store_multi, N_3, true)
MULTI(LD4, load_multi, N_4, true)
MULTI(ST4, store_multi, N_4, true)

/* ---- Single structures: element `index` of each of n registers ---- */

struct lane {
	unsigned size, index;
};

/* Q:S:size, without the bits that give the size */
static struct lane single_lane(unsigned scale, unsigned q, unsigned s, unsigned size)
{
	if (scale == 2 && size == 1)
		return (struct lane){ 3, q };
	return (struct lane){ scale, (q << 3 | s << 2 | size) >> scale };
}

static unsigned load_single(struct a64_cpu *c, uint64_t va, unsigned n, struct lane at, unsigned rt)
{
	union a64_vreg mem[2];

	a64_ld(c, va, mem, n << at.size, 1u << at.size);
	for (unsigned j = 0; j < n; j++)
		simd_set(&c->v[(rt + j) % 32], at.size, at.index,
			 simd_get(&mem[j << at.size >> 4], at.size, j % (16u >> at.size)));
	return n << at.size;
}

static unsigned store_single(struct a64_cpu *c, uint64_t va, unsigned n, struct lane at,
			     unsigned rt)
{
	union a64_vreg mem[2];

	for (unsigned j = 0; j < n; j++)
		simd_set(&mem[j << at.size >> 4], at.size, j % (16u >> at.size),
			 simd_get(&c->v[(rt + j) % 32], at.size, at.index));
	a64_st(c, va, mem, n << at.size, 1u << at.size);
	return n << at.size;
}

#define SINGLE(NAME, ACCESS, N)                                                                    \
	EXEC(NAME##_single)                                                                        \
	{                                                                                          \
		ACCESS(c, BASE(NAME##_single), N, LANE(NAME##_single), a64_##NAME##_single_Rt(w)); \
	}                                                                                          \
	EXEC(NAME##_single_post)                                                                   \
	{                                                                                          \
		const uint64_t va = BASE(NAME##_single_post);                                      \
		const unsigned bytes = ACCESS(c, va, N, LANE(NAME##_single_post),                  \
					      a64_##NAME##_single_post_Rt(w));                     \
                                                                                                   \
		WRITE_BASE(NAME##_single_post,                                                     \
			   va + post_index(c, a64_##NAME##_single_post_Rm(w), bytes));             \
	}
#define LANE(NAME)                                                               \
	single_lane(a64_##NAME##_scale(w), a64_##NAME##_Q(w), a64_##NAME##_S(w), \
		    a64_##NAME##_size(w))

SINGLE(LD1, load_single, 1)
SINGLE(ST1, store_single, 1)
SINGLE(LD2, load_single, 2)
SINGLE(ST2, store_single, 2)
SINGLE(LD3, load_single, 3)
SINGLE(ST3, store_single, 3)
SINGLE(LD4, load_single, 4)
SINGLE(ST4, store_single, 4)

/* One element to all lanes. */
static unsigned load_replicate(struct a64_cpu *c, uint64_t va, unsigned n, unsigned size,
			       unsigned q, unsigned rt)
{
	union a64_vreg mem[2];

	a64_ld(c, va, mem, n << size, 1u << size);
	for (unsigned j = 0; j < n; j++) {
		const union a64_vreg r =
			simd_dup(size, simd_get(&mem[j << size >> 4], size, j % (16u >> size)));

		simd_write(c, (rt + j) % 32, q, &r);
	}
	return n << size;
}

#define REPLICATE(NAME, N)                                                                   \
	EXEC(NAME)                                                                           \
	{                                                                                    \
		load_replicate(c, BASE(NAME), N, a64_##NAME##_size(w), a64_##NAME##_Q(w),    \
			       a64_##NAME##_Rt(w));                                          \
	}                                                                                    \
	EXEC(NAME##_post)                                                                    \
	{                                                                                    \
		const uint64_t va = BASE(NAME##_post);                                       \
		const unsigned bytes =                                                       \
			load_replicate(c, va, N, a64_##NAME##_post_size(w),                  \
				       a64_##NAME##_post_Q(w), a64_##NAME##_post_Rt(w));     \
                                                                                             \
		WRITE_BASE(NAME##_post, va + post_index(c, a64_##NAME##_post_Rm(w), bytes)); \
	}

REPLICATE(LD1R, 1)
REPLICATE(LD2R, 2)
REPLICATE(LD3R, 3)
REPLICATE(LD4R, 4)

/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD: the edges of each family of integer instructions, encodings that must stay
 * unallocated, and the loads and stores, also when they fault. Memory is a few bytes of the test's
 * own, behind the functions that the executors call for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/soft/a64/exec.h"
#include "engine/soft/a64/mmu.h"

/* ---- memory: MEM_SIZE bytes at MEM_VA; all else faults ---- */

enum { MEM_VA = 0x1000, MEM_SIZE = 64 };
static struct {
	uint8_t bytes[MEM_SIZE];
	unsigned accesses;
} mem;

static void *place(struct a64_cpu *c, uint64_t va, unsigned len)
{
	mem.accesses++;
	if (va < MEM_VA || va + len > MEM_VA + MEM_SIZE)
		longjmp(c->unwind, 1);
	return mem.bytes + (va - MEM_VA);
}

void a64_ld(struct a64_cpu *c, uint64_t va, void *dst, unsigned len, unsigned align)
{
	(void)align;
	memcpy(dst, place(c, va, len), len);
}

void a64_st(struct a64_cpu *c, uint64_t va, const void *src, unsigned len, unsigned align)
{
	(void)align;
	memcpy(place(c, va, len), src, len);
}

uint64_t a64_load_slow(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size)
{
	uint64_t v = 0;

	(void)t;
	a64_ld(c, va, &v, size, size);
	return v;
}

void a64_store_slow(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size, uint64_t v)
{
	(void)t;
	a64_st(c, va, &v, size, size);
}

void a64_raise(struct a64_cpu *c, enum a64_ec ec, uint32_t iss)
{
	(void)iss;
	longjmp(c->unwind, (int)ec);
}

/* ---- the CPU ---- */

static int set_up(void **state)
{
	struct a64_cpu *c = calloc(1, sizeof(*c));

	if (!c)
		return -1;
	c->tlb = &c->ctx[0];
	for (unsigned i = 0; i < TLB_D_ENTRIES; i++)
		c->tlb->d[i].r = c->tlb->d[i].w = TLB_NO_TAG;
	*state = c;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

/* What the executors must not change, except where a test says so. */
static void fill(struct a64_cpu *c)
{
	for (unsigned i = 0; i < 32; i++)
		memset(&c->v[i], (int)(0xa0 + i), sizeof(c->v[i]));
	for (unsigned i = 0; i < 31; i++)
		c->x[i] = i;
	for (unsigned i = 0; i < MEM_SIZE; i++)
		mem.bytes[i] = (uint8_t)i;
	mem.accesses = 0;
	c->fpsr = 0;
}

#define EXECUTE(c, NAME, WORD)                                  \
	do {                                                    \
		assert_int_equal(a64_decode(WORD), a64_##NAME); \
		a64_exec_##NAME(c, WORD);                       \
	} while (0)

static void assert_vreg(const struct a64_cpu *c, unsigned r, uint64_t low, uint64_t high)
{
	assert_int_equal(c->v[r].d[0], low);
	assert_int_equal(c->v[r].d[1], high);
}

/* ---- V0 = operation on V1, V2 and the old V0 ---- */

#define ONES (~UINT64_C(0))
#define CASE(NAME, WORD, ...)                                  \
	{                                                      \
		a64_exec_##NAME, a64_##NAME, WORD, __VA_ARGS__ \
	}

static const struct {
	void (*exec)(struct a64_cpu *c, uint32_t w);
	enum a64_insn insn;
	uint32_t word;
	const char *text;
	uint64_t n[2], m[2], d[2], r[2]; /* low half, high half */
	bool saturates;
} cases[] = {
	/* Saturation. */
	CASE(SQADD_vec, 0x4e220c20, "sqadd v0.16b, v1.16b, v2.16b", { 0x1807f, 0 }, { 0x1ff01, 0 },
	     { 0, 0 }, { 0x2807f, 0 }, 1),
	CASE(UQADD_vec, 0x2e620c20, "uqadd v0.4h, v1.4h, v2.4h", { 1, ONES }, { 1, ONES }, { 0, 0 },
	     { 2, 0 }, 0),
	CASE(UQADD_vec, 0x6ee20c20, "uqadd v0.2d, v1.2d, v2.2d", { ONES, 5 }, { 1, 5 }, { 0, 0 },
	     { ONES, 0xa }, 1),
	CASE(UQSUB_vec, 0x2ea22c20, "uqsub v0.2s, v1.2s, v2.2s", { 0x500000001, 0 },
	     { 0x300000002, 0 }, { 0, 0 }, { 0x200000000, 0 }, 1),
	CASE(SQSUB_scalar, 0x5ee22c20, "sqsub d0, d1, d2", { 0x8000000000000000, ONES },
	     { 1, ONES }, { ONES, ONES }, { 0x8000000000000000, 0 }, 1),
	CASE(SQNEG_vec, 0x6ee07820, "sqneg v0.2d, v1.2d", { 0x8000000000000000, 1 }, { 0, 0 },
	     { 0, 0 }, { 0x7fffffffffffffff, ONES }, 1),
	CASE(SQABS_scalar, 0x5e207820, "sqabs b0, b1", { 0x7f80, ONES }, { 0, 0 }, { ONES, ONES },
	     { 0x7f, 0 }, 1),
	CASE(ABS_vec, 0x4ee0b820, "abs v0.2d, v1.2d", { 0x8000000000000000, ONES }, { 0, 0 },
	     { 0, 0 }, { 0x8000000000000000, 1 }, 0),
	CASE(SUQADD_vec, 0x0e203820, "suqadd v0.8b, v1.8b", { 0xff7f01ff, 0 }, { 0, 0 },
	     { 0x17f80f0, 0 }, { 0x7f7f817f, 0 }, 1),
	CASE(USQADD_vec, 0x2e203820, "usqadd v0.8b, v1.8b", { 0x80fe01ff, 0 }, { 0, 0 },
	     { 0x103ff01, 0 }, { 0x1ff00, 0 }, 1),
	CASE(SQDMULH_vec, 0x4e62b420, "sqdmulh v0.8h, v1.8h, v2.8h", { 0x400000018000, 0 },
	     { 0x400000018000, 0 }, { 0, 0 }, { 0x200000007fff, 0 }, 1),
	CASE(SQRDMULH_elem, 0x4fa2d820, "sqrdmulh v0.4s, v1.4s, v2.s[3]",
	     { 0x80000000, 0x4000000000000001 }, { 0, 0x8000000000000000 }, { 0, 0 },
	     { 0x7fffffff, 0xc0000000ffffffff }, 1),
	CASE(SQRDMLAH_vec, 0x2e828420, "sqrdmlah v0.2s, v1.2s, v2.2s", { 0x4000000080000000, 0 },
	     { 0x4000000080000000, 0 }, { 0x7000000080000000, 0 }, { 0x7fffffff00000000, 0 }, 1),
	CASE(SQRDMLSH_scalar_elem, 0x7f72f820, "sqrdmlsh h0, h1, v2.h[7]", { 0x8000, 0 },
	     { 0, 0x8000000000000000 }, { 0x8000, ONES }, { 0x8000, 0 }, 1),
	CASE(SQDMLAL_vec, 0x0e629020, "sqdmlal v0.4s, v1.4h, v2.4h", { 0x8000, ONES },
	     { 0x8000, ONES }, { 0xffffffff, 0 }, { 0x7ffffffe, 0 }, 1),
	CASE(SQDMLSL_vec, 0x4ea2b020, "sqdmlsl2 v0.2d, v1.4s, v2.4s", { ONES, 0x80000000 },
	     { ONES, 0x80000000 }, { 0xfffffffffffffffe, 0 }, { 0x8000000000000000, 0 }, 1),
	CASE(SQDMULL_scalar, 0x5e62d020, "sqdmull s0, h1, h2", { 0x4000, ONES }, { 0xffff, ONES },
	     { ONES, ONES }, { 0xffff8000, 0 }, 0),
	CASE(SQXTN_vec, 0x0e214820, "sqxtn v0.8b, v1.8h", { 0x7fff800080ff7f, 0 }, { 0, 0 },
	     { ONES, ONES }, { 0x7f807f80, 0 }, 1),
	CASE(UQXTN_vec, 0x6ea14820, "uqxtn2 v0.4s, v1.2d", { 0xffffffff, 0x100000000 }, { 0, 0 },
	     { 7, ONES }, { 7, ONES }, 1),
	CASE(SQXTUN_scalar, 0x7e612820, "sqxtun h0, s1", { 0xffffffff, 0 }, { 0, 0 },
	     { ONES, ONES }, { 0, 0 }, 1),
	/* Shifts: by more than the width, by the width, rounding, inserting. */
	CASE(USHL_vec, 0x6ee24420, "ushl v0.2d, v1.2d, v2.2d", { ONES, ONES }, { 0x80, 0x40 },
	     { 0, 0 }, { 0, 0 }, 0),
	CASE(SSHL_vec, 0x4ee24420, "sshl v0.2d, v1.2d, v2.2d", { 0x8000000000000000, ONES },
	     { 0x80, 0xff01 }, { 0, 0 }, { ONES, 0xfffffffffffffffe }, 0),
	CASE(URSHL_vec, 0x6ee25420, "urshl v0.2d, v1.2d, v2.2d", { 0x8000000000000000, ONES },
	     { 0xc0, 0xbf }, { 0, 0 }, { 1, 0 }, 0),
	CASE(SRSHL_vec, 0x4ee25420, "srshl v0.2d, v1.2d, v2.2d", { 0x8000000000000000, ONES },
	     { 0xc0, 0xff }, { 0, 0 }, { 0, 0 }, 0),
	CASE(SQSHL_reg_vec, 0x4ee24c20, "sqshl v0.2d, v1.2d, v2.2d", { 0, 1 }, { 0x7f, 0x3f },
	     { 0, 0 }, { 0, 0x7fffffffffffffff }, 1),
	CASE(UQSHL_reg_vec, 0x6ee24c20, "uqshl v0.2d, v1.2d, v2.2d", { 1, 1 }, { 0x40, 0x3f },
	     { 0, 0 }, { ONES, 0x8000000000000000 }, 1),
	CASE(SQRSHL_vec, 0x0e225c20, "sqrshl v0.8b, v1.8b, v2.8b", { 0x8080ff7f, 0 },
	     { 0x7ff8f8ff, 0 }, { 0, 0 }, { 0x80000040, 0 }, 1),
	CASE(SQSHLU_vec, 0x2f096420, "sqshlu v0.8b, v1.8b, #1", { 0x80ff7f01, 0 }, { 0, 0 },
	     { 0, 0 }, { 0xfe02, 0 }, 1),
	CASE(SQSHL_imm_scalar, 0x5f7f7420, "sqshl d0, d1, #63", { ONES, ONES }, { 0, 0 }, { 0, 0 },
	     { 0x8000000000000000, 0 }, 0),
	CASE(UQSHL_imm_vec, 0x6f0f7420, "uqshl v0.16b, v1.16b, #7", { 0x201, 0 }, { 0, 0 },
	     { 0, 0 }, { 0xff80, 0 }, 1),
	CASE(SSHR_vec, 0x4f400420, "sshr v0.2d, v1.2d, #64", { 0x8000000000000000, 5 }, { 0, 0 },
	     { 0, 0 }, { ONES, 0 }, 0),
	CASE(USHR_vec, 0x6f400420, "ushr v0.2d, v1.2d, #64", { ONES, 5 }, { 0, 0 }, { 0, 0 },
	     { 0, 0 }, 0),
	CASE(SRSHR_vec, 0x4f402420, "srshr v0.2d, v1.2d, #64",
	     { 0x8000000000000000, 0x7fffffffffffffff }, { 0, 0 }, { 0, 0 }, { 0, 0 }, 0),
	CASE(URSHR_scalar, 0x7f402420, "urshr d0, d1, #64", { 0x8000000000000000, ONES }, { 0, 0 },
	     { ONES, ONES }, { 1, 0 }, 0),
	CASE(SRSRA_vec, 0x0f1f3420, "srsra v0.4h, v1.4h, #1", { 0xffff00017fff, 0 }, { 0, 0 },
	     { 0x1ffff8000, ONES }, { 0x10000c000, 0 }, 0),
	CASE(SRI_vec, 0x6f404420, "sri v0.2d, v1.2d, #64", { ONES, ONES }, { 0, 0 }, { 5, 6 },
	     { 5, 6 }, 0),
	CASE(SRI_vec, 0x2f0c4420, "sri v0.8b, v1.8b, #4", { 0xff0f, ONES }, { 0, 0 },
	     { 0x2121, ONES }, { 0x2f20, 0 }, 0),
	CASE(SLI_vec, 0x2f0f5420, "sli v0.8b, v1.8b, #7", { 0x302, ONES }, { 0, 0 },
	     { 0x55aa, ONES }, { 0xd52a, 0 }, 0),
	CASE(SHRN, 0x4f108420, "shrn2 v0.8h, v1.4s, #16",
	     { 0x12345678ffff0000, 0x8000000000018000 }, { 0, 0 }, { 7, ONES },
	     { 7, 0x800000011234ffff }, 0),
	CASE(RSHRN, 0x0f088c20, "rshrn v0.8b, v1.8h, #8", { 0xffff00ff0080007f, 0 }, { 0, 0 },
	     { ONES, ONES }, { 0x10100, 0 }, 0),
	CASE(SQRSHRUN_vec, 0x2f208c20, "sqrshrun v0.2s, v1.2d, #32",
	     { 0xffffffff7fffffff, 0x7fffffffffffffff }, { 0, 0 }, { 0, 0 },
	     { 0x8000000000000000, 0 }, 1),
	CASE(UQRSHRN_vec, 0x2f0f9c20, "uqrshrn v0.8b, v1.8h, #1", { 0x1ff01fe, 0 }, { 0, 0 },
	     { 0, 0 }, { 0xffff, 0 }, 1),
	CASE(SQSHRN_scalar, 0x5f089420, "sqshrn b0, h1, #8", { 0x8000, ONES }, { 0, 0 },
	     { ONES, ONES }, { 0x80, 0 }, 0),
	CASE(SSHLL, 0x4f3fa420, "sshll2 v0.2d, v1.4s, #31", { 0, 0x8000000000000001 }, { 0, 0 },
	     { 0, 0 }, { 0x80000000, 0xc000000000000000 }, 0),
	CASE(SHLL, 0x2e213820, "shll v0.8h, v1.8b, #8", { 0x8001, ONES }, { 0, 0 }, { 0, 0 },
	     { 0x80000100, 0 }, 0),
	/* Halves, pairs, lanes. */
	CASE(URHADD, 0x6e221420, "urhadd v0.16b, v1.16b, v2.16b", { 0xff01ff, 0 }, { 0xff02ff, 0 },
	     { 0, 0 }, { 0xff02ff, 0 }, 0),
	CASE(SHSUB, 0x4ea22420, "shsub v0.4s, v1.4s, v2.4s", { 0x80000000, 0 }, { 0x7fffffff, 0 },
	     { 0, 0 }, { 0x80000000, 0 }, 0),
	CASE(SABD, 0x4ea27420, "sabd v0.4s, v1.4s, v2.4s", { 0x80000000, 0 }, { 0x7fffffff, 0 },
	     { 0, 0 }, { 0xffffffff, 0 }, 0),
	CASE(RADDHN, 0x2e224020, "raddhn v0.8b, v1.8h, v2.8h", { 0xffff0080, 0 }, { 0, 0 },
	     { 0, 0 }, { 1, 0 }, 0),
	CASE(SUBHN, 0x4e226020, "subhn2 v0.16b, v1.8h, v2.8h", { 0xff0000, 0 }, { 0x1000001, 0 },
	     { 3, ONES }, { 3, 0xffff }, 0),
	CASE(SMULL_vec, 0x4ea2c020, "smull2 v0.2d, v1.4s, v2.4s", { 0, 0x80000000 },
	     { 0, 0x80000000 }, { 0, 0 }, { 0x4000000000000000, 0 }, 0),
	CASE(UMLSL_vec, 0x2e22a020, "umlsl v0.8h, v1.8b, v2.8b", { 0xff, 0 }, { 0xff, 0 }, { 0, 0 },
	     { 0x1ff, 0 }, 0),
	CASE(UADDLV, 0x6e303820, "uaddlv h0, v1.16b", { ONES, ONES }, { 0, 0 }, { ONES, ONES },
	     { 0xff0, 0 }, 0),
	CASE(SADDLV, 0x4eb03820, "saddlv d0, v1.4s", { 0x8000000080000000, 0x80000000 }, { 0, 0 },
	     { ONES, ONES }, { 0xfffffffe80000000, 0 }, 0),
	CASE(ADDV, 0x0e31b820, "addv b0, v1.8b", { 0x8081, ONES }, { 0, 0 }, { ONES, ONES },
	     { 1, 0 }, 0),
	CASE(SMINV, 0x4e71a820, "sminv h0, v1.8h", { 0x7fff, 0x8000000000000000 }, { 0, 0 },
	     { ONES, ONES }, { 0x8000, 0 }, 0),
	CASE(UMAXV, 0x2e30a820, "umaxv b0, v1.8b", { 0x7f, ONES }, { 0, 0 }, { ONES, ONES },
	     { 0x7f, 0 }, 0),
	CASE(ADDP_vec, 0x0ea2bc20, "addp v0.2s, v1.2s, v2.2s", { 0x100000002, ONES },
	     { 0x300000004, ONES }, { 0, 0 }, { 0x700000003, 0 }, 0),
	CASE(ADDP_scalar, 0x5ef1b820, "addp d0, v1.2d", { ONES, 2 }, { 0, 0 }, { ONES, ONES },
	     { 1, 0 }, 0),
	CASE(SADALP, 0x4ea06820, "sadalp v0.2d, v1.4s", { 0x8000000080000000, 0x7fffffff },
	     { 0, 0 }, { 1, 0x7fffffffffffffff }, { 0xffffffff00000001, 0x800000007ffffffe }, 0),
	CASE(UMAXP, 0x6e22a420, "umaxp v0.16b, v1.16b, v2.16b", { 0x80ff01, 0 },
	     { 2, 0x900000000000000 }, { 0, 0 }, { 0x80ff, 0x900000000000002 }, 0),
	CASE(CLS_vec, 0x4ea04820, "cls v0.4s, v1.4s", { 0xffffffff00000000, 0x4000000080000000 },
	     { 0, 0 }, { 0, 0 }, { 0x1f0000001f, 0 }, 0),
	CASE(CLZ_vec, 0x6e604820, "clz v0.8h, v1.8h", { 0x1000080000100, ONES }, { 0, 0 }, { 0, 0 },
	     { 0xf001000000007, 0 }, 0),
	CASE(CNT, 0x0e205820, "cnt v0.8b, v1.8b", { 0x80ff7f00, ONES }, { 0, 0 }, { 0, 0 },
	     { 0x1080700, 0 }, 0),
	CASE(RBIT_vec, 0x2e605820, "rbit v0.8b, v1.8b", { 0x80f001, ONES }, { 0, 0 }, { 0, 0 },
	     { 0x10f80, 0 }, 0),
	CASE(REV32_vec, 0x6e600820, "rev32 v0.8h, v1.8h", { 0x4000300020001, 0 }, { 0, 0 },
	     { 0, 0 }, { 0x3000400010002, 0 }, 0),
	CASE(UDOT_elem, 0x6fa2e020, "udot v0.4s, v1.16b, v2.4b[1]", { 0xff020304, 0 },
	     { 0xff01010100000000, 0 }, { 1, 2 }, { 0xfe0b, 2 }, 0),
	CASE(SDOT_vec, 0x0e829420, "sdot v0.2s, v1.8b, v2.8b", { 0x80ff8080, ONES },
	     { 0x80017f7f, 0 }, { 0, ONES }, { 0xffffc0ff, 0 }, 0),
	CASE(PMUL, 0x2e229c20, "pmul v0.8b, v1.8b, v2.8b", { 0x3ff, ONES }, { 0x3ff, ONES },
	     { 0, 0 }, { 0x555, 0 }, 0),
	CASE(PMULL_8, 0x4e22e020, "pmull2 v0.8h, v1.16b, v2.16b", { 0, 0xff }, { 0, 0xff },
	     { 0, 0 }, { 0x5555, 0 }, 0),
	/* Bits, compares. */
	CASE(BSL, 0x6e621c20, "bsl v0.16b, v1.16b, v2.16b", { 0xaaaa, ONES }, { 0x5555, 0 },
	     { 0xff00, ONES }, { 0xaa55, ONES }, 0),
	CASE(BIT, 0x2ea21c20, "bit v0.8b, v1.8b, v2.8b", { 0xaaaa, ONES }, { 0xff00, ONES },
	     { 0x5555, ONES }, { 0xaa55, 0 }, 0),
	CASE(BIF, 0x6ee21c20, "bif v0.16b, v1.16b, v2.16b", { 0xaaaa, ONES }, { 0xff00, ONES },
	     { 0x5555, 5 }, { 0x55aa, 5 }, 0),
	CASE(CMHI_vec, 0x6e223420, "cmhi v0.16b, v1.16b, v2.16b", { 0x8001, 0 }, { 0x7f01, 0 },
	     { 0, 0 }, { 0xff00, 0 }, 0),
	CASE(CMGT_zero_scalar, 0x5ee08820, "cmgt d0, d1, #0", { 0x8000000000000000, ONES },
	     { 0, 0 }, { ONES, ONES }, { 0, 0 }, 0),
	CASE(CMLE_zero_scalar, 0x7ee09820, "cmle d0, d1, #0", { 0x8000000000000000, ONES },
	     { 0, 0 }, { 0, 0 }, { ONES, 0 }, 0),
	CASE(CMTST_vec, 0x4ee28c20, "cmtst v0.2d, v1.2d, v2.2d", { 0x8000000000000000, 1 },
	     { 0x8000000000000000, 2 }, { 0, 0 }, { ONES, 0 }, 0),
	CASE(CMEQ_reg_vec, 0x2e228c20, "cmeq v0.8b, v1.8b, v2.8b", { ONES, ONES }, { ONES, ONES },
	     { 0, 0 }, { ONES, 0 }, 0),
	CASE(ADD_scalar, 0x5ee28420, "add d0, d1, d2", { ONES, ONES }, { 1, ONES }, { ONES, ONES },
	     { 0, 0 }, 0),
	/* Movement. */
	CASE(ZIP2, 0x0e027820, "zip2 v0.8b, v1.8b, v2.8b", { 0x807060504030201, ONES },
	     { 0x1817161514131211, ONES }, { 0, 0 }, { 0x1808170716061505, 0 }, 0),
	CASE(UZP1, 0x0e821820, "uzp1 v0.2s, v1.2s, v2.2s", { 0x200000001, ONES },
	     { 0x400000003, ONES }, { 0, 0 }, { 0x300000001, 0 }, 0),
	CASE(UZP2, 0x4ec25820, "uzp2 v0.2d, v1.2d, v2.2d", { 1, 2 }, { 3, 4 }, { 0, 0 }, { 2, 4 },
	     0),
	CASE(TRN2, 0x0e426820, "trn2 v0.4h, v1.4h, v2.4h", { 0x4000300020001, ONES },
	     { 0x14001300120011, ONES }, { 0, 0 }, { 0x14000400120002, 0 }, 0),
	CASE(EXT, 0x2e023820, "ext v0.8b, v1.8b, v2.8b, #7", { 0x8877665544332211, ONES },
	     { 0xff, ONES }, { 0, 0 }, { 0xff88, 0 }, 0),
	CASE(EXT, 0x6e027820, "ext v0.16b, v1.16b, v2.16b, #15", { 0, 0x8800000000000000 },
	     { 1, 2 }, { 0, 0 }, { 0x188, 0x200 }, 0),
	CASE(TBL, 0x0e020020, "tbl v0.8b, {v1.16b}, v2.8b", { 0x33221100, 0x9900000000000000 },
	     { 0x10ff0f01, ONES }, { ONES, ONES }, { 0x9911, 0 }, 0),
	CASE(TBX, 0x4e023020, "tbx v0.16b, {v1.16b, v2.16b}, v2.16b", { 0x33221100, 0 },
	     { 0x201f0f02, 0x7700000000000000 }, { 0x44000000, 0x5500000000000000 },
	     { 0x44770022, 0x5500000000000000 }, 0),
	CASE(MOVI, 0x4f006640, "movi v0.4s, #0x12, lsl #24", { 0, 0 }, { 0, 0 }, { 0, 0 },
	     { 0x1200000012000000, 0x1200000012000000 }, 0),
	CASE(MOVI, 0x0f00a640, "movi v0.4h, #0x12, lsl #8", { 0, 0 }, { 0, 0 }, { ONES, ONES },
	     { 0x1200120012001200, 0 }, 0),
	CASE(MVNI, 0x2f00d640, "mvni v0.2s, #0x12, msl #16", { 0, 0 }, { 0, 0 }, { ONES, ONES },
	     { 0xffed0000ffed0000, 0 }, 0),
	CASE(MOVI_64, 0x6f05e4a0, "movi v0.2d, #0xff00ff0000ff00ff", { 0, 0 }, { 0, 0 }, { 0, 0 },
	     { 0xff00ff0000ff00ff, 0xff00ff0000ff00ff }, 0),
	CASE(ORR_vec_imm, 0x4f04b400, "orr v0.8h, #0x80, lsl #8", { 0, 0 }, { 0, 0 }, { 1, 2 },
	     { 0x8000800080008001, 0x8000800080008002 }, 0),
	CASE(BIC_vec_imm, 0x2f0717e0, "bic v0.2s, #0xff", { 0, 0 }, { 0, 0 }, { ONES, ONES },
	     { 0xffffff00ffffff00, 0 }, 0),
	CASE(FMOV_vec_imm_s, 0x4f03f600, "fmov v0.4s, #1.0", { 0, 0 }, { 0, 0 }, { 0, 0 },
	     { 0x3f8000003f800000, 0x3f8000003f800000 }, 0),
	CASE(FMOV_vec_imm_d, 0x6f06f400, "fmov v0.2d, #-0.125", { 0, 0 }, { 0, 0 }, { 0, 0 },
	     { 0xbfc0000000000000, 0xbfc0000000000000 }, 0),
	CASE(INS_elem, 0x6e1f3c20, "mov v0.b[15], v1.b[7]", { 0x9900000000000000, 0 }, { 0, 0 },
	     { 1, 2 }, { 1, 0x9900000000000002 }, 0),
	CASE(DUP_elem, 0x0e1e0420, "dup v0.4h, v1.h[7]", { 0, 0x1234000000000000 }, { 0, 0 },
	     { ONES, ONES }, { 0x1234123412341234, 0 }, 0),
	CASE(DUP_elem_scalar, 0x5e140420, "mov s0, v1.s[2]", { 0, 0x89abcdef }, { 0, 0 },
	     { ONES, ONES }, { 0x89abcdef, 0 }, 0),
};

static void operations(void **state)
{
	struct a64_cpu *c = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t r[2];

		fill(c);
		memcpy(&c->v[0], cases[i].d, 16);
		memcpy(&c->v[1], cases[i].n, 16);
		memcpy(&c->v[2], cases[i].m, 16);
		assert_int_equal(a64_decode(cases[i].word), cases[i].insn);
		cases[i].exec(c, cases[i].word);
		memcpy(r, &c->v[0], 16);
		if (r[0] != cases[i].r[0] || r[1] != cases[i].r[1] ||
		    c->fpsr != (cases[i].saturates ? FPSR_QC : 0))
			fail_msg("%s: %016llx %016llx, fpsr %08x", cases[i].text,
				 (unsigned long long)r[1], (unsigned long long)r[0], c->fpsr);
	}
}

static void general_registers(void **state)
{
	struct a64_cpu *c = *state;

	fill(c);
	c->v[1].d[0] = 0x80;
	EXECUTE(c, SMOV, 0x0e012c23); /* smov w3, v1.b[0] */
	assert_int_equal(c->x[3], 0xffffff80);
	EXECUTE(c, SMOV, 0x4e012c23); /* smov x3, v1.b[0] */
	assert_int_equal(c->x[3], 0xffffffffffffff80);
	EXECUTE(c, UMOV, 0x0e013c23); /* umov w3, v1.b[0] */
	assert_int_equal(c->x[3], 0x80);
	EXECUTE(c, UMOV, 0x4e183c3f); /* mov xzr, v1.d[1] */
	assert_int_equal(c->x[A64_ZR], 0);
	c->x[3] = 0x123456789;
	EXECUTE(c, INS_gen, 0x4e0c1c61); /* mov v1.s[1], w3 */
	assert_vreg(c, 1, 0x2345678900000080, 0xa1a1a1a1a1a1a1a1);
	EXECUTE(c, DUP_gen, 0x0e020c61); /* dup v1.4h, w3 */
	assert_vreg(c, 1, 0x6789678967896789, 0);
	/* Tables and lists of registers wrap around. */
	c->v[0].d[0] = 0x1122334455667788;
	c->v[2].d[0] = 0x1017;
	EXECUTE(c, TBL, 0x0e0223e3); /* tbl v3.8b, {v31.16b, v0.16b}, v2.8b */
	assert_vreg(c, 3, 0xbfbfbfbfbfbf8811, 0);
}

/* No feature that the CPU has defines these. */
static void unallocated(void **state)
{
	static const uint32_t words[] = {
		0x0ee28420, /* add v0.1d */
		0x4ee29c20, /* mul v0.2d */
		0x4e22b420, /* sqdmulh v0.16b */
		0x2ee00820, /* rev32 of doublewords */
		0x0eb1b820, /* addv of two words */
		0x4ef1b820, /* addv of doublewords */
		0x0e080420, /* dup v0.1d */
		0x4e043c20, /* umov x0, v1.s[0] */
		0x2e024020, /* ext v0.8b, #8 */
		0x0f00fc00, /* fmov v0.4h: FEAT_FP16 */
		0x2f00f400, /* fmov v0.1d */
		0x0f420420, /* sshr v0.1d */
		0x5f080420, /* sshr b0 */
		0x0f408420, /* shrn from 128 bits */
		0x0f028020, /* mul by element of bytes */
		0x4ea2e020, /* pmull of words */
		0x0c00c000, /* multiple structures, opcode 12 */
		0x0c408c00, /* ld2 {v0.1d, v1.1d} */
		0x0c410000, /* ld4 with a register that only post-indexing has */
		0x0d404400, /* ld1 of half a halfword index */
		0x0d409400, /* ld1 {v0.d} with S */
		0x0d00c000, /* "st1r" */
		0xec000000, /* ldp, opc 3 */
		0xdc000000, /* ldr literal, opc 3 */
		0x7d800000, /* str of 32 bytes */
		0x3c600800, /* ldr b0 with extend option 0 */
		0xce000c20, /* eor3: FEAT_SHA3 */
		0xce628020, /* sha512h: FEAT_SHA512 */
		0xce60c020, /* sm3partw1: FEAT_SM3 */
		0x4e80a420, /* smmla: FEAT_I8MM */
		0x0e829c20, /* usdot: FEAT_I8MM */
		0x2e42fc20, /* bfdot: FEAT_BF16 */
		0x2e82c420, /* fcmla: FEAT_FCMA */
		0x0e22ec20, /* fmlal: FEAT_FHM */
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		enum a64_insn insn = a64_decode(words[i]);

		if (insn != a64_NONE)
			fail_msg("%08x is %s", words[i], a64_info[insn].name);
	}
}

/* ---- loads and stores ---- */

static void one_register(void **state)
{
	struct a64_cpu *c = *state;

	fill(c);
	c->x[1] = MEM_VA;
	EXECUTE(c, LDR_simd_imm, 0x3d400c20); /* ldr b0, [x1, #3] */
	assert_vreg(c, 0, 3, 0);
	EXECUTE(c, LDR_simd_imm, 0x3dc00420); /* ldr q0, [x1, #16] */
	assert_vreg(c, 0, 0x1716151413121110, 0x1f1e1d1c1b1a1918);
	EXECUTE(c, LDR_simd_post, 0x7c41f420); /* ldr h0, [x1], #31 */
	assert_vreg(c, 0, 0x0100, 0);
	assert_int_equal(c->x[1], MEM_VA + 31);
	EXECUTE(c, LDR_simd_pre, 0xfc5f8c20); /* ldr d0, [x1, #-8]! */
	assert_vreg(c, 0, 0x1e1d1c1b1a191817, 0);
	assert_int_equal(c->x[1], MEM_VA + 23);
	c->x[2] = 0x1fffffffe;
	EXECUTE(c, LDR_simd_reg, 0xbc62d820); /* ldr s0, [x1, w2, sxtw #2] */
	assert_vreg(c, 0, 0x1211100f, 0);
	c->x[A64_SP] = MEM_VA + 16;
	EXECUTE(c, STR_simd_pre, 0x3c9f0fe2); /* str q2, [sp, #-16]! */
	assert_int_equal(c->x[A64_SP], MEM_VA);
	assert_int_equal(mem.bytes[15], 0xa2);
	assert_int_equal(mem.bytes[16], 16);
}

static void pairs(void **state)
{
	struct a64_cpu *c = *state;

	fill(c);
	c->x[1] = MEM_VA + 16;
	EXECUTE(c, LDP_simd_post, 0x2cff0420); /* ldp s0, s1, [x1], #-8 */
	assert_vreg(c, 0, 0x13121110, 0);
	assert_vreg(c, 1, 0x17161514, 0);
	assert_int_equal(c->x[1], MEM_VA + 8);
	EXECUTE(c, LDP_simd, 0x6d400c22); /* ldp d2, d3, [x1] */
	assert_vreg(c, 3, 0x1716151413121110, 0);
	EXECUTE(c, LDNP_simd, 0xac408425); /* ldnp q5, q1, [x1, #16] */
	assert_vreg(c, 1, 0x2f2e2d2c2b2a2928, 0x3736353433323130);
	EXECUTE(c, STP_simd_pre, 0xad808c22); /* stp q2, q3, [x1, #16]! */
	assert_int_equal(c->x[1], MEM_VA + 24);
}

static void structures(void **state)
{
	struct a64_cpu *c = *state;

	fill(c);
	c->x[1] = MEM_VA;
	EXECUTE(c, LD3_multi_post, 0x0cdf403f); /* ld3 {v31.8b, v0.8b, v1.8b}, [x1], #24 */
	assert_vreg(c, 31, 0x15120f0c09060300, 0);
	assert_vreg(c, 0, 0x1613100d0a070401, 0);
	assert_vreg(c, 1, 0x1714110e0b080502, 0);
	assert_int_equal(c->x[1], MEM_VA + 24);
	c->x[1] = MEM_VA;
	c->x[2] = 5;
	EXECUTE(c, LD2_single_post, 0x4de29020); /* ld2 {v0.s, v1.s}[3], [x1], x2 */
	assert_int_equal(c->v[0].s[3], 0x03020100);
	assert_int_equal(c->v[1].s[3], 0x07060504);
	assert_int_equal(c->v[1].s[2], 0);
	assert_int_equal(c->x[1], MEM_VA + 5);
	EXECUTE(c, LD1R, 0x0d40c423); /* ld1r {v3.4h}, [x1] */
	assert_vreg(c, 3, 0x0605060506050605, 0);
	c->x[1] = MEM_VA;
	EXECUTE(c, ST4_multi, 0x4c000c24); /* st4 {v4.2d-v7.2d}, [x1] */
	assert_int_equal(mem.bytes[7], 0xa4);
	assert_int_equal(mem.bytes[8], 0xa5);
	assert_int_equal(mem.bytes[63], 0xa7);
	EXECUTE(c, ST1_single, 0x4d00142b); /* st1 {v11.b}[13], [x1] */
	assert_int_equal(mem.bytes[0], 0xab);
	assert_int_equal(mem.bytes[1], 0xa4);
}

/* An access that faults leaves registers and memory as they were. */
#define FAULTS(c, NAME, WORD)                                      \
	do {                                                       \
		static struct a64_cpu before;                      \
		uint8_t bytes[MEM_SIZE];                           \
                                                                   \
		memcpy(&before, c, sizeof(before));                \
		memcpy(bytes, mem.bytes, MEM_SIZE);                \
		if (setjmp(c->unwind) == 0) {                      \
			EXECUTE(c, NAME, WORD);                    \
			fail_msg("%s does not fault", #NAME);      \
		}                                                  \
		assert_memory_equal(c->x, before.x, sizeof(c->x)); \
		assert_memory_equal(c->v, before.v, sizeof(c->v)); \
		assert_memory_equal(mem.bytes, bytes, MEM_SIZE);   \
	} while (0)

static void faults(void **state)
{
	struct a64_cpu *c = *state;

	fill(c);
	c->x[1] = MEM_VA + MEM_SIZE - 8;
	FAULTS(c, LDR_simd_post, 0x3cc10420);   /* ldr q0, [x1], #16 */
	FAULTS(c, STR_simd_pre, 0x3c808c20);    /* str q0, [x1, #8]! */
	FAULTS(c, LDP_simd_pre, 0x6dc00420);    /* ldp d0, d1, [x1, #0]! */
	FAULTS(c, STP_simd_post, 0xac810420);   /* stp q0, q1, [x1], #32 */
	FAULTS(c, LD1_multi_post, 0x0cdfa020);  /* ld1 {v0.8b, v1.8b}, [x1], #16 */
	FAULTS(c, LD1_multi_post, 0x4cdf2020);  /* ld1 {v0.16b-v3.16b}, [x1], #64 */
	FAULTS(c, ST1_multi_post, 0x4c9f2020);  /* st1 {v0.16b-v3.16b}, [x1], #64 */
	FAULTS(c, LD4_multi_post, 0x0cdf0020);  /* ld4 {v0.8b-v3.8b}, [x1], #32 */
	FAULTS(c, ST3_multi, 0x0c004020);       /* st3 {v0.8b-v2.8b}, [x1] */
	FAULTS(c, LD3_single_post, 0x4ddfb020); /* ld3 {v0.s-v2.s}[3], [x1], #12 */
	FAULTS(c, ST3_single, 0x4d00b020);      /* st3 {v0.s-v2.s}[3], [x1] */
	FAULTS(c, LD2R_post, 0x4dffcc20);       /* ld2r {v0.2d, v1.2d}, [x1], #16 */
	/* SP alignment, where it is checked */
	c->x[A64_SP] = MEM_VA + 8;
	EXECUTE(c, LDR_simd_imm, 0xfd4003e0); /* ldr d0, [sp] */
	c->sp_mask = 15;
	mem.accesses = 0;
	FAULTS(c, LDR_simd_imm, 0xfd4003e0);
	assert_int_equal(mem.accesses, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations),  cmocka_unit_test(general_registers),
		cmocka_unit_test(unallocated), cmocka_unit_test(one_register),
		cmocka_unit_test(pairs),       cmocka_unit_test(structures),
		cmocka_unit_test(faults),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

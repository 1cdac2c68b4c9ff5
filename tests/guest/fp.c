/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: the state of floating point and Advanced SIMD as a kernel handles it: traps,
 * the control and status registers, lazy enabling, switching contexts. What the instructions
 * compute is tests/insn's business.
 */
#include "guest.h"

/* The compiler makes no use of these registers, so the assembler must be told that they exist. */
#define FP ".arch_extension fp\n\t.arch_extension simd\n\t"

static void fpen(u64 v)
{
	WRITE_REG(cpacr_el1, v << 20);
	ISB();
}

static void control(void)
{
	static const struct {
		u64 bits;
		const char *name;
	} fpcr[] = {
		{ 3 << 22, "RMode" },
		{ BIT(24), "FZ" },
		{ BIT(25), "DN" },
		{ BIT(26), "AHP" },
	};
	for (unsigned i = 0; i < ARRAY_LEN(fpcr); i++) {
		WRITE_REG(fpcr, fpcr[i].bits);
		check_eq(READ_REG(fpcr), fpcr[i].bits, "FPCR.%s can be set", fpcr[i].name);
	}
	WRITE_REG(fpcr, 0xff | 7ULL << 32);
	check_eq(READ_REG(fpcr) >> 32, 0, "FPCR has 32 bits");
	WRITE_REG(fpcr, 0);
	WRITE_REG(fpsr, BIT(27) | 0x9f);
	check_eq(READ_REG(fpsr), BIT(27) | 0x9f,
		 "FPSR: QC, IDC, IXC, UFC, OFC, DZC, IOC can be set");
	WRITE_REG(fpsr, 0);
	check_eq(READ_REG(fpsr), 0, "... and cleared");

	static const char *const names[] = { "1 / 0: DZC",
					     "0 / 0: IOC",
					     "1 / 3: IXC",
					     "largest * 2: OFC and IXC",
					     "least / 2 inexactly: UFC and IXC",
					     "a saturated addition: QC",
					     "1 / 1: nothing" };
	static const u64 flags[] = { 2, 1, 16, 4 | 16, 8 | 16, BIT(27), 0 };
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		WRITE_REG(fpsr, 0);
		switch (i) {
		case 0:
			asm volatile(FP "fmov d0, #1.0\n\tmovi d1, #0\n\tfdiv d2, d0, d1" ::
					     : "memory");
			break;
		case 1: asm volatile(FP "movi d1, #0\n\tfdiv d2, d1, d1" ::: "memory"); break;
		case 2:
			asm volatile(FP "fmov d0, #1.0\n\tfmov d1, #3.0\n\tfdiv d2, d0, d1" ::
					     : "memory");
			break;
		case 3:
			asm volatile(
				FP "mov x0, #0x7fefffffffffffff\n\tfmov d0, x0\n\tfmov d1, #2.0\n\t"
				   "fmul d2, d0, d1" ::
					   : "x0", "memory");
			break;
		case 4:
			asm volatile(
				FP
				"mov x0, #3\n\tfmov d0, x0\n\tfmov d1, #0.5\n\tfmul d2, d0, d1" ::
					: "x0", "memory");
			break;
		case 5:
			asm volatile(FP "movi v0.16b, #127\n\tsqadd v0.16b, v0.16b, v0.16b" ::
					     : "memory");
			break;
		case 6: asm volatile(FP "fmov d0, #1.0\n\tfdiv d2, d0, d0" ::: "memory"); break;
		}
		check_eq(READ_REG(fpsr), flags[i], "%s", names[i]);
	}
	WRITE_REG(fpsr, 0);
	asm volatile(FP "fmov d0, #1.0\n\tmovi d1, #0\n\tfdiv d2, d0, d1\n\tfdiv d2, d1, d1" ::
			     : "memory");
	check_eq(READ_REG(fpsr), 3, "FPSR accumulates");

	/* 1 / 3 rounded up and down differ in the last bit; RP is 1, RM 2. */
	u64 up, down;
	WRITE_REG(fpcr, 1 << 22);
	asm volatile(FP "fmov d0, #1.0\n\tfmov d1, #3.0\n\tfdiv d2, d0, d1\n\tfmov %0, d2"
		     : "=r"(up)::"memory");
	WRITE_REG(fpcr, 2 << 22);
	asm volatile(FP "fmov d0, #1.0\n\tfmov d1, #3.0\n\tfdiv d2, d0, d1\n\tfmov %0, d2"
		     : "=r"(down)::"memory");
	check_eq(up - down, 1, "the rounding mode takes effect at once");
	WRITE_REG(fpcr, BIT(25));
	asm volatile(FP "mov x0, #0x7ff8000000000000\n\tmovk x0, #0x1234\n\tfmov d0, x0\n\tfadd "
			"d0, d0, d0\n\tfmov %0, d0"
		     : "=r"(up)::"x0", "memory");
	check_eq(up, 0x7ff8000000000000, "DN: the default NaN");
	WRITE_REG(fpcr, BIT(24));
	WRITE_REG(fpsr, 0);
	asm volatile(FP "mov x0, #1\n\tfmov d0, x0\n\tfadd d0, d0, d0\n\tfmov %0, d0"
		     : "=r"(up)::"x0", "memory");
	check_eq(up, 0, "FZ: denormals are flushed");
	check_eq(READ_REG(fpsr), BIT(7), "FZ: ... and IDC says so");
	WRITE_REG(fpcr, 0);
	/* A write to the lower part of a register clears the rest (C1.2.5). */
	asm volatile(FP "movi v0.16b, #255\n\tfmov d0, xzr\n\tmov %0, v0.d[1]"
		     : "=r"(up)::"memory");
	check_eq(up, 0, "a scalar write clears the upper half");
}

/* ---- lazy enabling: the trap handler turns FP on and the instruction runs again ---- */

static volatile unsigned traps;

static bool on_trap(struct frame *f)
{
	if (f->esr >> 26 != EC_FP)
		return false;
	traps++;
	fpen(3);
	return true;
}

static void lazy(void)
{
	u64 v;

	fpen(3);
	asm volatile(FP "fmov d7, %0" ::"r"(0x1234567890ULL) : "memory");
	this_cpu()->handler = on_trap;
	fpen(0);
	asm volatile(FP "fmov %0, d7" : "=r"(v)::"memory");
	check(traps == 1 && v == 0x1234567890, "a trapped instruction runs again once FP is on");
	asm volatile(FP "fmov %0, d7" : "=r"(v)::"memory");
	check_eq(traps, 1, "and no other traps");
	fpen(0);
	asm volatile(FP "str q7, [%0]" ::"r"((u64)SCRATCH) : "memory");
	check(traps == 2 && read64(SCRATCH) == 0x1234567890, "a trapped store");
	fpen(0);
	asm volatile(FP "ldp q6, q7, [%0], #32\n\tsub %0, %0, #32" ::"r"((u64)SCRATCH) : "memory");
	check_eq(traps, 3, "a trapped load with write-back");
	this_cpu()->handler = 0;
}

/* ---- two contexts ---- */

#define EACH_PAIR(op)                                                                              \
	op " q0, q1, [%0]\n\t" op " q2, q3, [%0, #32]\n\t" op " q4, q5, [%0, #64]\n\t" op          \
	   " q6, q7, [%0, #96]\n\t" op " q8, q9, [%0, #128]\n\t" op " q10, q11, [%0, #160]\n\t" op \
	   " q12, q13, [%0, #192]\n\t" op " q14, q15, [%0, #224]\n\t" op                           \
	   " q16, q17, [%0, #256]\n\t" op " q18, q19, [%0, #288]\n\t" op                           \
	   " q20, q21, [%0, #320]\n\t" op " q22, q23, [%0, #352]\n\t" op                           \
	   " q24, q25, [%0, #384]\n\t" op " q26, q27, [%0, #416]\n\t" op                           \
	   " q28, q29, [%0, #448]\n\t" op " q30, q31, [%0, #480]"

struct context {
	u64 q[64], fpcr, fpsr;
} __attribute__((aligned(16)));

static void save(struct context *c)
{
	asm volatile(FP EACH_PAIR("stp")::"r"(c->q) : "memory");
	c->fpcr = READ_REG(fpcr);
	c->fpsr = READ_REG(fpsr);
}

static void restore(const struct context *c)
{
	asm volatile(FP EACH_PAIR("ldp")::"r"(c->q) : "memory");
	WRITE_REG(fpcr, c->fpcr);
	WRITE_REG(fpsr, c->fpsr);
}

/* x0: adds to each of a few registers, across the whole file; returns the sum of d0, d17, d31 */
EL0_CODE(el0_add,
	 FP "fmov d1, x0\n\tadd d0, d0, d1\n\tadd d17, d17, d1\n\tadd d31, d31, d1\n\t"
	    "fmov x0, d0\n\tfmov x1, d17\n\tfmov x2, d31\n\tadd x0, x0, x1\n\tadd x0, x0, x2");

static void contexts(void)
{
	static struct context one, two, now;
	bool ok = true;

	fpen(3);
	for (unsigned i = 0; i < 64; i++) {
		one.q[i] = 0x1000 + i;
		two.q[i] = 0x20000 + i;
	}
	one.fpcr = BIT(24) | 1 << 22;
	two.fpcr = BIT(25);
	one.fpsr = 1;
	two.fpsr = BIT(27);
	restore(&one);
	save(&now);
	for (unsigned i = 0; i < 64; i++)
		ok &= now.q[i] == one.q[i];
	check(ok && now.fpcr == one.fpcr && now.fpsr == one.fpsr,
	      "all 32 registers, saved and restored");
	u64 sum1 = 0, sum2 = 0;
	for (unsigned n = 0; n < 20; n++) {
		restore(&one);
		sum1 = el0(el0_add, 1, 0, 0);
		save(&one);
		restore(&two);
		sum2 = el0(el0_add, 2, 0, 0);
		save(&two);
	}
	check_eq(sum1, 3 * 0x1000 + 0 + 34 + 62 + 3 * 20, "one of two programs at EL0");
	check_eq(sum2, 3 * 0x20000 + 0 + 34 + 62 + 6 * 20, "the other");
	check(one.fpcr == (BIT(24) | 1 << 22) && two.fpcr == BIT(25), "each with its FPCR");
	check(one.fpsr == 1 && two.fpsr == BIT(27), "and its FPSR");
	/* FPEN 1: EL0 traps, and its registers are untouched. */
	restore(&one);
	fpen(1);
	el0(el0_add, 1, 0, 0);
	check_exc(EC_FP, 0x1e00000, "FPEN 1: EL0 traps");
	save(&now);
	ok = true;
	for (unsigned i = 0; i < 64; i++)
		ok &= now.q[i] == one.q[i];
	check(ok, "... and nothing was changed");
}

/* Accesses over the end of the last page that is there: all or nothing, and FAR. */
static void over_the_end(void)
{
	const u64 va = 0x90000000, end = va + PAGE;

	pt_map(flat_root, 1, va, SCRATCH, 3, PT_KRW);
	DSB();
	ISB();
	fpen(3);
	for (u64 i = 0; i < 64; i += 8)
		write64(end - 64 + i, ~0ULL);
	asm volatile(FP "movi v0.16b, #0\n\tmovi v1.16b, #0" ::: "memory");
	TRY(FP "str q0, [%[a]]", [a] "r"(end - 8));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, end, "str q over the end");
	check_eq(read64(end - 8), ~0ULL, "... writes nothing");
	TRY(FP "st1 {v0.4s}, [%[a]]", [a] "r"(end - 12));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, end, "st1 over the end");
	TRY(FP "ldr q0, [%[a]]", [a] "r"(end - 1));
	check_abort(EC_DABT, FSC_TRANS + 3, end, "ldr q over the end");
	TRY(FP "ldp q0, q1, [%[a]]", [a] "r"(end - 16));
	check_abort(EC_DABT, FSC_TRANS + 3, end, "ldp q, its second register beyond");
	u64 base = TRY(
		FP "mov x0, %[a]\n\tld4 {v0.16b, v1.16b, v2.16b, v3.16b}, [x0], #64", [a] "r"(end -
											      32));
	check(last()->n == 1 && last()->f.far == end && base == end - 32,
	      "ld4 over the end leaves its base");
	u64 v;
	asm volatile(FP "movi v0.16b, #5" ::: "memory");
	TRY(FP "ldr d0, [%[a]]", [a] "r"(end - 4));
	asm volatile(FP "fmov %0, d0" : "=r"(v)::"memory");
	check_eq(v, 0x0505050505050505, "a load that faults leaves its register");
	/* Alignment: of the element, not of the whole */
	sctlr(SCTLR_PLAIN | SCTLR_M | SCTLR_A);
	TRY(FP "ld1 {v0.4s}, [%[a]]", [a] "r"(va + 4));
	check_none("SCTLR_EL1.A: ld1 of words at +4");
	TRY(FP "ld1 {v0.2d}, [%[a]]", [a] "r"(va + 4));
	check_abort(EC_DABT, FSC_ALIGN, va + 4, "SCTLR_EL1.A: ld1 of doublewords at +4");
	TRY(FP "ldr q0, [%[a]]", [a] "r"(va + 8));
	check_abort(EC_DABT, FSC_ALIGN, va + 8, "SCTLR_EL1.A: ldr q at +8");
	TRY(FP "ldp d0, d1, [%[a]]", [a] "r"(va + 8));
	check_none("SCTLR_EL1.A: ldp d at +8");
	sctlr(SCTLR_PLAIN | SCTLR_M);
}

void guest_main(void)
{
	mmu_on();
	fpen(3);
	control();
	lazy();
	contexts();
	over_the_end();
}

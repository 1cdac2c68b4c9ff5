/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: code that is written while it runs. What needs cache maintenance by the Arm ARM
 * (B2.4.4) gets it; where CTR_EL0.IDC and DIC say that none is needed, each case runs without, too.
 * Writes by another CPU are in smp.c, by a device in devices.c.
 */
#include "guest.h"

#define CODE   (SCRATCH + 0x10000ULL) /* written here */
#define X      0x90010000ULL          /* run here */
#define X2     0x90210000ULL          /* or here */
#define RET    0xd65f03c0u
#define MOV(n) (0xd2800000u | (u32)(n) << 5) /* mov x0, #n */

static bool maintain; /* do cache maintenance by address */
static const char *how;

static void sync(u64 at, u64 len)
{
	if (maintain) {
		for (u64 p = at & ~63ULL; p < at + len; p += 64)
			asm volatile("dc cvau, %0" ::"r"(p) : "memory");
		asm volatile("dsb ish" ::: "memory");
		for (u64 p = at & ~63ULL; p < at + len; p += 64)
			asm volatile("ic ivau, %0" ::"r"(p) : "memory");
	}
	asm volatile("dsb ish\n\tisb" ::: "memory");
}

static u64 call(u64 at)
{
	u64 r;
	asm volatile("blr %1\n\tmov %0, x0"
		     : "=r"(r)
		     : "r"(at)
		     : "x0", "x1", "x2", "x3", "x30", "memory");
	return r;
}

static void put(u64 off, u32 word)
{
	write32(CODE + off, word);
}

static void other_page(void)
{
	bool ok = true;

	put(0, MOV(1));
	put(4, RET);
	sync(CODE, 8);
	check_eq(call(X), 1, "%s: new code", how);
	for (unsigned n = 2; n < 200; n++) {
		put(0, MOV(n));
		sync(CODE, 4);
		ok &= call(X) == n && call(X2) == n;
	}
	check(ok, "%s: changed two hundred times, run through two aliases", how);
	/* Through the other end of the alias: written by its own virtual address */
	u64 rw = 0x90410000ULL;
	pt_map(flat_root, 1, rw, CODE, 3, PT_KRW);
	DSB();
	ISB();
	write32(rw, MOV(777));
	sync(rw, 4);
	check_eq(call(X), 777, "%s: written through a third alias", how);
}

/* Every kind of store must be noticed. */
static void kinds(void)
{
	static const char *const names[] = {
		"strb",           "strh",  "str w", "str x", "stp",
		"str unaligned",  "stlr",  "stxr",  "swp",   "cas",
		"ldadd",          "ldset", "stxp",  "sttr",  "str x, the second half",
		"str post-index", "casp"
	};
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		u64 p = CODE;
		/* mov x0, #0x10; ret, and again: changed to #0x11 by 32 in the word */
		put(0, MOV(0x10));
		put(4, RET);
		put(8, MOV(0x10));
		put(12, RET);
		sync(p, 16);
		u64 at = X;
		call(at);
		call(at + 8);
		u64 x = (u64)RET << 32 | MOV(0x11);
		switch (i) {
		case 0: asm volatile("strb %w0, [%1]" ::"r"(0x20), "r"(p) : "memory"); break;
		case 1: asm volatile("strh %w0, [%1]" ::"r"(0x0220), "r"(p) : "memory"); break;
		case 2: asm volatile("str %w0, [%1]" ::"r"(MOV(0x11)), "r"(p) : "memory"); break;
		case 3: asm volatile("str %0, [%1]" ::"r"(x), "r"(p) : "memory"); break;
		case 4: asm volatile("stp %0, %0, [%1]" ::"r"(x), "r"(p) : "memory"); break;
		case 5:
			asm volatile("str %w0, [%1]" ::"r"(MOV(0x11) << 8), "r"(p - 1) : "memory");
			break;
		case 6: asm volatile("stlr %w0, [%1]" ::"r"(MOV(0x11)), "r"(p) : "memory"); break;
		case 7:
			asm volatile("1: ldxr w0, [%1]\n\tstxr w0, %w0, [%1]\n\tcbnz w0, 1b" ::"r"(
					     MOV(0x11)),
				     "r"(p)
				     : "x0", "memory");
			break;
		case 8:
			asm volatile("swp %w0, w0, [%1]" ::"r"(MOV(0x11)), "r"(p) : "x0", "memory");
			break;
		case 9:
			asm volatile("mov w0, %w2\n\tcas w0, %w0, [%1]" ::"r"(MOV(0x11)), "r"(p),
				     "r"(MOV(0x10))
				     : "x0", "memory");
			break;
		case 10:
			asm volatile("ldadd %w0, w0, [%1]" ::"r"(0x20), "r"(p) : "x0", "memory");
			break;
		case 11:
			asm volatile("ldset %w0, w0, [%1]" ::"r"(0x20), "r"(p) : "x0", "memory");
			break;
		case 12:
			asm volatile(
				"1: ldxp x0, x1, [%1]\n\tstxp w0, %0, %0, [%1]\n\tcbnz w0, 1b" ::
					"r"(x),
				"r"(p)
				: "x0", "x1", "memory");
			break;
		case 14:
			asm volatile("str %0, [%1]" ::"r"((u64)MOV(0x11) << 32 | RET), "r"(p + 4)
				     : "memory");
			break;
		case 15:
			asm volatile("str %w1, [%0], #4" : "+r"(p) : "r"(MOV(0x11)) : "memory");
			break;
		case 16:
			asm volatile("mov x0, %2\n\tmov x1, %2\n\tmov x2, %1\n\tmov x3, %1\n\t"
				     "casp x0, x1, x2, x3, [%0]" ::"r"(p),
				     "r"(x), "r"((u64)RET << 32 | MOV(0x10))
				     : "x0", "x1", "x2", "x3", "memory");
			break;
		default: {
			/* STTR needs a page of EL0's. */
			u64 user = 0x90610000ULL;
			pt_map(flat_root, 1, user, CODE, 3, PT_URW);
			DSB();
			ISB();
			asm volatile("sttr %w0, [%1]" ::"r"(MOV(0x11)), "r"(user) : "memory");
		}
		}
		sync(CODE - 1, 17);
		check_eq(call(i == 14 ? at + 8 : at), 0x11, "%s: %s to code", how, names[i]);
	}
	for (u64 off = 0; off < 256; off += 4)
		put(off, off % 8 ? RET : MOV(5));
	sync(CODE, 256);
	check_eq(call(X + 64), 5, "%s: before dc zva", how);
	asm volatile("dc zva, %0" ::"r"(CODE + 64) : "memory");
	sync(CODE, 256);
	TRY_CALL(X + 64);
	/* the whole block of them, skipped one by one */
	check(last()->n == 1ULL << field(READ_REG(dczid_el0), 3, 0) && last()->f.esr == BIT(25) &&
		      last()->f.elr == X + 64,
	      "%s: dc zva of code leaves udf", how);
	check_eq(call(X + 128), 5, "%s: ... and what is behind it", how);
}

/*
 * Code that changes the instructions in front of it, on its own page, in a page that may be both
 * written and executed at EL1.
 */
static void same_page(void)
{
	extern const u32 ahead[], ahead_end[], behind[], behind_end[], counter[], counter_end[];
	const u64 rwx = 0x90810000ULL;

	pt_map(flat_root, 1, rwx, CODE, 3, PT_MEM | PT_UXN);
	DSB();
	ISB();
	for (unsigned i = 0; i < (unsigned)(ahead_end - ahead); i++)
		put(i * 4, ahead[i]);
	sync(CODE, 256);
	u64 (*f)(u64, u64) = (u64(*)(u64, u64))rwx;
	bool ok = true;
	for (unsigned n = 0; n < 100; n++)
		ok &= f(MOV(n), maintain) == n;
	check(ok, "%s: code changes what comes next in it", how);

	for (unsigned i = 0; i < (unsigned)(behind_end - behind); i++)
		put(i * 4, behind[i]);
	sync(CODE, 256);
	/* 1 + 2 + ... + 50: the immediate of an add grows by one in each turn */
	check_eq(f(50, maintain), 50 * 51 / 2, "%s: a loop changes its own body", how);

	/* Data beside code: a counter in the page, which the loop keeps there */
	for (unsigned i = 0; i < (unsigned)(counter_end - counter); i++)
		put(i * 4, counter[i]);
	write64(CODE + 0x800, 0);
	sync(CODE, 256);
	check_eq(f(rwx + 0x800, 5000), 5000, "%s: data on a page of code", how);
	check_eq(read64(CODE + 0x800), 5000, "%s: ... are there", how);
}

asm(".text\n"
    /* x0: instruction to put at 1f; x1: whether to maintain caches */
    "ahead:\n\t"
    "adr x2, 1f\n\tstr w0, [x2]\n\tcbz x1, 2f\n\t"
    "dc cvau, x2\n\tdsb ish\n\tic ivau, x2\n"
    "2:\tdsb ish\n\tisb\n"
    "1:\tmov x0, #0xffff\n\tret\n"
    "ahead_end:\n"
    /* x0: turns */
    "behind:\n\t"
    "mov x3, #0\n\tadr x2, 1f\n\tldr w4, 5f\n\tb 3f\n"
    "1:\tadd x3, x3, #0\n\tsubs x0, x0, #1\n\tb.eq 4f\n"
    "3:\tadd w4, w4, #1024\n\tstr w4, [x2]\n\tcbz x1, 2f\n\t"
    "dc cvau, x2\n\tdsb ish\n\tic ivau, x2\n"
    "2:\tdsb ish\n\tisb\n\tb 1b\n"
    "4:\tmov x0, x3\n\tret\n"
    "5:\tadd x3, x3, #0\n"
    "behind_end:\n"
    /* x0: address, x1: turns */
    "counter:\n"
    "1:\tldr x2, [x0]\n\tadd x2, x2, #1\n\tstr x2, [x0]\n\tsubs x1, x1, #1\n\tb.ne 1b\n\t"
    "ldr x0, [x0]\n\tret\n"
    "counter_end:\n");

/* Code over the end of a page, and a page replaced by another */
static void pages(void)
{
	put(PAGE - 4, MOV(1));
	put(PAGE, RET);
	pt_map(flat_root, 1, X + PAGE, CODE + PAGE, 3, PT_MEM | PT_RO | PT_UXN);
	sync(CODE + PAGE - 4, 8);
	check_eq(call(X + PAGE - 4), 1, "%s: code over the end of a page", how);
	put(PAGE, MOV(2));
	put(PAGE + 4, RET);
	sync(CODE + PAGE, 8);
	check_eq(call(X + PAGE - 4), 2, "%s: ... its second page changed", how);
	put(PAGE - 4, 0xd503201f);
	put(PAGE, MOV(3));
	sync(CODE + PAGE - 4, 8);
	check_eq(call(X + PAGE - 4), 3, "%s: ... both changed", how);

	bool ok = true;
	const u64 other = CODE + 0x40000;
	put(0, MOV(1));
	put(4, RET);
	write32(other, MOV(2));
	write32(other + 4, RET);
	sync(CODE, 8);
	sync(other, 8);
	for (unsigned n = 0; n < 50; n++) {
		u64 *e = pt_entry(flat_root, 1, X, 3);

		*e = 0;
		tlbi_va(X);
		*e = (n % 2 ? other : CODE) | PT_MEM | PT_RO | PT_UXN | PT_TABLE;
		asm volatile("dsb ish\n\tisb" ::: "memory");
		ok &= call(X) == 1 + n % 2;
	}
	check(ok, "%s: another page at the same address, fifty times", how);
	*pt_entry(flat_root, 1, X, 3) = 0;
	tlbi_va(X);
	TRY_CALL(X);
	check_abort(EC_IABT, FSC_TRANS + 3, X, "%s: and none", how);
	pt_map(flat_root, 1, X, CODE, 3, PT_MEM | PT_RO | PT_UXN);
	DSB();
	ISB();
	/* Not an instruction any more, and one again */
	put(0, 0);
	sync(CODE, 4);
	TRY_CALL(X);
	check_exc(EC_UNKNOWN, 0, "%s: code becomes udf", how);
	put(0, MOV(9));
	sync(CODE, 4);
	check_eq(call(X), 9, "%s: and code again", how);
}

/* What EL0 runs, EL1 changes. */
static void for_el0(void)
{
	const u64 user = 0x90a10000ULL;
	bool ok = true;

	pt_map(flat_root, 1, user, CODE + 0x80000, 3, PT_MEM | PT_RO | PT_USER);
	put(0x80004, 0xd4000001 | SVC_DONE << 5);
	for (unsigned n = 0; n < 50; n++) {
		put(0x80000, MOV(n));
		sync(CODE + 0x80000, 8);
		ok &= el0((void *)user, 0, 0, 0) == n;
	}
	check(ok, "%s: code of EL0, changed by EL1", how);
}

void guest_main(void)
{
	const u64 ctr = READ_REG(ctr_el0);

	mmu_on();
	pt_map(flat_root, 1, X, CODE, 3, PT_MEM | PT_RO | PT_UXN);
	pt_map(flat_root, 1, X2, CODE, 3, PT_MEM | PT_RO | PT_UXN);
	DSB();
	ISB();
	for (unsigned i = 0; i < 2; i++) {
		maintain = i == 0;
		how = maintain ? "IC IVAU" : "IDC and DIC";
		if (!maintain && (field(ctr, 29, 28) != 3)) {
			skip("CTR_EL0 has not both", "IDC and DIC");
			continue;
		}
		other_page();
		kinds();
		same_page();
		pages();
		for_el0();
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: address translation (DDI0487 D8) and what accesses do at its edges. The program
 * lives in the flat tree of the lower half; most tests map pages in the upper half.
 */
#include "guest.h"

#define UPPER    0xffff000000000000ULL
#define TCR_TEST (TCR_PLAIN | TCR_T0SZ(25) | TCR_T1SZ(16))

static u64 *top; /* the upper half's tree, from level 0 */

EL0_CODE(el0_load, "ldr x0, [x0]");
EL0_CODE(el0_store, "str x1, [x0]");
EL0_CODE(el0_jump, "br x0");

/* An address that nothing was mapped at before, 2 MiB for itself. */
static u64 fresh(void)
{
	static u64 next = UPPER + (1ULL << 40);

	next += BLOCK2M;
	return next;
}

static void map(u64 va, u64 pa, int level, u64 attr)
{
	pt_map(top, 0, va & ~UPPER, pa, level, attr);
	DSB();
	ISB();
}

static u64 *entry(u64 va, int level)
{
	return pt_entry(top, 0, va & ~UPPER, level);
}

static void unmap(u64 va, int level)
{
	*entry(va, level) = 0;
	tlbi_va(va);
}

/* Memory for tests: page n. */
static u64 page(unsigned n)
{
	return SCRATCH + n * PAGE;
}

static void fill(u64 pa, u64 value)
{
	for (unsigned i = 0; i < PAGE; i += 8)
		write64(pa + i, value);
}

/* Try to read, write or execute at an EL: 0 it works, 1 it faults with fsc as it should, 2 else. */
static int attempt(unsigned el, char kind, u64 va, u64 fsc)
{
	bool ok;

	if (el) {
		switch (kind) {
		case 'r': TRY("ldr x1, [%[a]]", [a] "r"(va)); break;
		case 'w':
			va += 64;
			TRY("str xzr, [%[a]]", [a] "r"(va));
			break;
		default: TRY_CALL(va); break;
		}
		ok = last()->n == 0;
	} else {
		switch (kind) {
		case 'r': el0(el0_load, va, 0, 0); break;
		case 'w':
			va += 64;
			el0(el0_store, va, 0, 0);
			break;
		default:
			va += 4;
			el0(el0_jump, va, 0, 0);
			break;
		}
		ok = last()->f.esr == ((u64)EC_SVC << 26 | BIT(25) | SVC_DONE);
	}
	if (ok)
		return 0;
	u64 ec = (kind == 'x' ? EC_IABT_LOWER : EC_DABT_LOWER) + el;
	u64 iss = fsc | (kind == 'w' ? ISS_WNR : 0);
	if (last()->f.esr == (ec << 26 | BIT(25) | iss) && last()->f.far == va)
		return 1;
	note("el%u %c at %lx: esr %lx far %lx", el, kind, va, last()->f.esr, last()->f.far);
	return 2;
}

/* Code that attempt() can execute: for EL1 at 0, for EL0 at 4. */
static void put_code(u64 pa)
{
	write32(pa, 0xd65f03c0);
	write32(pa + 4, 0xd4000001 | SVC_DONE << 5);
	asm volatile("dc cvau, %0\n\tdsb ish\n\tic iallu\n\tdsb ish\n\tisb" ::"r"(pa) : "memory");
}

/* ---- sizes of the address space ---- */

static void address_sizes(void)
{
	fill(page(0), 0x1111);
	fill(page(1), 0x2222);
	/* The root of the lower half for walks that begin at level 0 */
	u64 *root0 = pt_page();
	root0[0] = (u64)flat_root | PT_VALID | PT_TABLE;

	for (unsigned t1sz = 16; t1sz <= 39; t1sz++) {
		u64 *root = pt_page(), mask = ~0ULL >> t1sz, base = ~mask, end = ~0ULL - PAGE + 1;
		int start = pt_start(t1sz);

		pt_map(root, start, base & mask, page(0), 3, PT_KRW);
		pt_map(root, start, end & mask, page(1), 3, PT_KRW);
		mmu_set(TCR_PLAIN | TCR_T0SZ(25) | TCR_T1SZ(t1sz), (u64)flat_root, (u64)root);
		u64 a = TRY("ldr x0, [%[a]]", [a] "r"(base));
		u64 b = TRY("ldr x0, [%[a]]", [a] "r"(end));
		check(a == 0x1111 && b == 0x2222, "T1SZ %u: first and last page", t1sz);
		TRY("ldr x0, [%[a]]", [a] "r"(base - 8));
		check_abort(EC_DABT, FSC_TRANS, base - 8, "T1SZ %u: the address below", t1sz);
	}
	for (unsigned t0sz = 16; t0sz <= 33; t0sz++) {
		u64 *root = t0sz < 25 ? root0 : flat_root, end = (1ULL << (64 - t0sz)) - PAGE;
		int start = pt_start(t0sz);

		if (t0sz == 33) /* the scratch block is below 2 GiB, its end is free */
			end = 0x7ffff000;
		pt_map(root, start, end, page(1), 3, PT_KRW);
		mmu_set(TCR_PLAIN | TCR_T0SZ(t0sz) | TCR_T1SZ(16), (u64)root, (u64)top);
		check_eq(TRY("ldr x0, [%[a]]", [a] "r"(end)), 0x2222, "T0SZ %u: last page", t0sz);
		TRY("ldr x0, [%[a]]", [a] "r"(end + PAGE));
		check_abort(EC_DABT, FSC_TRANS, end + PAGE, "T0SZ %u: the address above", t0sz);
		TRY("ldr x0, [%[a]]", [a] "r"(BIT(55)));
		check_abort(EC_DABT, FSC_TRANS, BIT(55), "T0SZ %u: between the halves", t0sz);
		TRY("ldr x0, [%[a]]", [a] "r"(BIT(56)));
		check_abort(EC_DABT, FSC_TRANS, BIT(56), "T0SZ %u: a tag without TBI", t0sz);
	}
	/* A table of 16 entries in the middle of a page */
	u64 *root = pt_page() + 16;
	pt_map(root, 2, BIT(22), page(1), 3, PT_KRW);
	mmu_set(TCR_PLAIN | TCR_T0SZ(25) | TCR_T1SZ(39), (u64)flat_root, (u64)root);
	check_eq(TRY("ldr x0, [%[a]]", [a] "r"(~0ULL << 25 | BIT(22))), 0x2222,
		 "a small root table need not begin a page");
}

/* ---- faults, level by level ---- */

static void levels(void)
{
	static const struct {
		char kind;
		unsigned el;
		const char *name;
	} how[] = {
		{ 'r', 1, "read at EL1" }, { 'w', 1, "write at EL1" }, { 'x', 1, "fetch at EL1" },
		{ 'r', 0, "read at EL0" }, { 'w', 0, "write at EL0" }, { 'x', 0, "fetch at EL0" },
	};
	u64 va[4] = { UPPER | 0x123ULL << 39 };

	for (int level = 1; level < 4; level++) {
		va[level] = fresh() + 3 * PAGE + (1ULL << 36 << level);
		entry(va[level], level); /* makes the tables above */
	}
	for (int level = 0; level < 4; level++)
		for (unsigned i = 0; i < ARRAY_LEN(how); i++)
			check_eq((u64)attempt(how[i].el, how[i].kind, va[level],
					      (u64)(FSC_TRANS + level)),
				 1, "nothing at level %d: %s", level, how[i].name);
	/* What is reserved is as good as nothing. */
	u64 none0 = UPPER | 0x124ULL << 39;
	*entry(none0, 0) = SCRATCH | PT_URW;
	check_eq((u64)attempt(1, 'r', none0, FSC_TRANS + 0), 1, "a block at level 0");
	*entry(none0, 0) = 0;
	*entry(va[3], 3) = SCRATCH | PT_URW;
	check_eq((u64)attempt(1, 'r', va[3], FSC_TRANS + 3), 1, "level 3 with bit 1 clear");
	*entry(va[3], 3) = SCRATCH | (PT_URW & ~(u64)PT_VALID) | PT_TABLE;
	check_eq((u64)attempt(1, 'r', va[3], FSC_TRANS + 3), 1, "level 3 with bit 0 clear");

	static const u64 block[4] = { 0, RAM_BASE, SCRATCH, SCRATCH };
	for (int level = 1; level < 4; level++) {
		u64 at = va[level] & ~((1ULL << (12 + 9 * (3 - level))) - 1);

		map(at, block[level], level, PT_URW & ~(u64)PT_AF);
		for (unsigned i = 0; i < ARRAY_LEN(how); i++)
			check_eq((u64)attempt(how[i].el, how[i].kind, at, (u64)(FSC_AF + level)), 1,
				 "AF clear at level %d: %s", level, how[i].name);
		*entry(at, level) |= PT_AF;
		DSB();
		ISB();
		u64 off = SCRATCH - block[level];
		write64(SCRATCH + 8, 0x3333 + (u64)level);
		check_eq(TRY("ldr x0, [%[a]]", [a] "r"(at + off + 8)), 0x3333 + (u64)level,
			 "mapped by level %d", level);
		unmap(at, level);
		map(at, block[level], level, PT_KRW | PT_RO);
		for (unsigned i = 1; i < ARRAY_LEN(how); i++)
			check_eq((u64)attempt(how[i].el, how[i].kind, at, (u64)(FSC_PERM + level)),
				 1, "permission at level %d: %s", level, how[i].name);
		unmap(at, level);
	}
}

/* ---- permissions ---- */

static void one_permission(const char *what, u64 va, u64 ap, bool uxn, bool pxn, bool wxn, bool pan)
{
	/* AArch64.CheckPermission(), in the shared pseudocode */
	bool ur = ap & PT_USER, uw = ur && !(ap & PT_RO), pr = !(pan && ur),
	     pw = !(ap & PT_RO) && !(pan && ur);
	bool ux = !uxn && !(wxn && uw), px = !pxn && !uw && !(wxn && !(ap & PT_RO));
	const bool want[6] = { ur, uw, ux, pr, pw, px };
	static const char kinds[] = "rwx";
	bool good = true;

	sctlr((SCTLR_PLAIN | SCTLR_M) | (wxn ? SCTLR_WXN : 0));
	asm volatile("msr pan, %0" ::"i"(0));
	for (unsigned i = 0; i < 6; i++) {
		if (pan)
			asm volatile("msr pan, #1");
		int got = attempt(i / 3, kinds[i % 3], va, FSC_PERM + 3);

		asm volatile("msr pan, #0");
		if (got != !want[i]) {
			note("EL%u %c: %s", i / 3, kinds[i % 3], want[i] ? "refused" : "allowed");
			good = false;
		}
	}
	sctlr(SCTLR_PLAIN | SCTLR_M);
	check(good, "%s AP %x UXN %u PXN %u WXN %u PAN %u", what, (unsigned)(ap >> 6), uxn, pxn,
	      wxn, pan);
}

static void permissions(void)
{
	u64 va = fresh();

	put_code(page(2));
	for (u64 ap = 0; ap < 4; ap++)
		for (unsigned x = 0; x < 16; x++) {
			bool uxn = x & 1, pxn = x & 2, wxn = x & 4, pan = x & 8;

			unmap(va, 3);
			map(va, page(2), 3,
			    PT_MEM | ap << 6 | (uxn ? PT_UXN : 0) | (pxn ? PT_PXN : 0));
			one_permission("page:", va, ap << 6, uxn, pxn, wxn, pan);
		}
	/* Hierarchical: tables take away. */
	for (int level = 0; level < 3; level++) {
		/* A tree of its own below level 0 */
		u64 at = UPPER | (0x130ULL + (u64)level) << 39;

		for (u64 table = 0; table < 16; table++) {
			u64 bits = table << 59;

			for (u64 ap = 0; ap < 4; ap++) {
				u64 *e = entry(at, 3);
				u64 *t = entry(at, level);

				*e = 0;
				tlbi_va(at);
				*t = (*t & ~(15ULL << 59)) | bits;
				*e = page(2) | PT_MEM | ap << 6 | PT_TABLE;
				tlbi_va(at);
				u64 eff = ap << 6;
				if (bits & PT_TABLE_AP0)
					eff &= ~(u64)PT_USER;
				if (bits & PT_TABLE_AP1)
					eff |= PT_RO;
				one_permission(level == 0   ? "level 0 table:"
					       : level == 1 ? "level 1 table:"
							    : "level 2 table:",
					       at, eff, bits & PT_TABLE_UXN, bits & PT_TABLE_PXN,
					       false, false);
			}
		}
	}
}

/* ---- contiguous, aliases, blocks ---- */

static void mappings(void)
{
	u64 va = fresh();
	bool ok = true;

	for (unsigned i = 0; i < 16; i++) {
		write64(page(16 + i), 0x5500 + i);
		map(va + i * PAGE, page(16 + i), 3, PT_KRW | PT_CONT);
	}
	for (unsigned i = 0; i < 16; i++)
		ok &= read64(va + i * PAGE) == 0x5500 + i;
	check(ok, "sixteen contiguous pages");

	u64 a = fresh(), b = fresh();
	map(a, page(3), 3, PT_KRW);
	map(b, page(3), 3, PT_KRW);
	write64(a + 8, 0x77);
	check_eq(read64(b + 8), 0x77, "two aliases of a page");
	write32(b + 8, 0x88);
	check_eq(read64(a + 8), 0x88, "... the other way");
	check_eq(read64(page(3) + 8), 0x88, "... and the flat one");

	u64 *l1 = entry(UPPER | 0x140ULL << 39, 1);
	*l1 = RAM_BASE | PT_KRW;
	DSB();
	ISB();
	u64 g = (UPPER | 0x140ULL << 39) + (SCRATCH - RAM_BASE);
	write64(page(4) + 16, 0x99);
	check_eq(read64(g + 4 * PAGE + 16), 0x99, "a block of 1 GiB");

	/* An access of every size over the end of a page onto another that lies elsewhere */
	u64 c = fresh();
	map(c, page(6), 3, PT_KRW);
	map(c + PAGE, page(5), 3, PT_KRW);
	for (unsigned i = 1; i < 8; i++) {
		write64(page(6) + PAGE - 8, 0);
		write64(page(5), 0);
		u64 at = c + PAGE - i;
		asm volatile("str %0, [%1]" ::"r"(0x8877665544332211), "r"(at) : "memory");
		u64 low = read64(page(6) + PAGE - 8), high = read64(page(5));
		check(low == 0x8877665544332211 << 8 * (8 - i) &&
			      high == 0x8877665544332211 >> 8 * i,
		      "a store over the end of a page, %u bytes before it", i);
		check_eq(read64(at), 0x8877665544332211, "a load there");
	}
}

/* ---- tags ---- */

static void tags(void)
{
	u64 hi = fresh(), lo = page(8), tag = 0x5aULL << 56;
	u64 hi_tagged = (hi & ~(0xffULL << 56)) | tag, lo_tagged = lo | tag;

	map(hi, page(8), 3, PT_KRW);
	put_code(page(8));
	write64(page(8) + 8, 0xabc);
	for (unsigned tbi = 0; tbi < 4; tbi++) {
		WRITE_REG(tcr_el1, TCR_TEST | (u64)tbi << TCR_TBI0);
		ISB();
		tlbi_all();
		u64 v = TRY("ldr x0, [%[a]]", [a] "r"(lo_tagged + 8));
		if (tbi & 1) {
			check_eq(v, 0xabc, "TBI0: a tagged load");
			TRY("str %[v], [%[a]]", [v] "r"(0xdefULL), [a] "r"(lo_tagged + 8));
			check_eq(read64(lo + 8), 0xdef, "TBI0: a tagged store");
			write64(lo + 8, 0xabc);
			check_eq(TRY("ldxr x1, [%[a]]\n\tadd x1, x1, #1\n\tstxr w0, x1, [%[b]]",
				     [a] "r"(lo_tagged + 8), [b] "r"(lo_tagged + 8)),
				 0, "TBI0: tagged exclusives");
			check_eq(read64(lo + 8), 0xabd, "TBI0: ... store");
			TRY("ldadd %[v], x0, [%[a]]", [v] "r"(~0ULL), [a] "r"(lo_tagged + 8));
			check_eq(read64(lo + 8), 0xabc, "TBI0: a tagged ldadd");
			TRY("ldr x0, [%[a]]", [a] "r"(tag | 0x7000));
			check_abort(EC_DABT, FSC_TRANS + 2, tag | 0x7000,
				    "TBI0: FAR has the tag of what faults");
		} else {
			check_abort(EC_DABT, FSC_TRANS, lo_tagged + 8, "no TBI0: a tag faults");
		}
		v = TRY("ldr x0, [%[a]]", [a] "r"(hi_tagged + 8));
		if (tbi & 2)
			check_eq(v, 0xabc, "TBI1: a tagged load");
		else
			check_abort(EC_DABT, FSC_TRANS, hi_tagged + 8, "no TBI1: a tag faults");
		/* The PC never has a tag where tags are ignored. */
		if (tbi & 1) {
			TRY("adr x1, 77f\n\torr x1, x1, %[t]\n\tbr x1\n77:\tsvc #1", [t] "r"(tag));
			check_eq(last()->f.elr >> 56, 0, "TBI0: a branch drops the tag");
			check_eq(last()->f.esr, (u64)EC_SVC << 26 | BIT(25) | 1,
				 "TBI0: ... and goes on");
			const u64 args[4] = { lo_tagged + 8 };
			pt_map(flat_root, 1, 0x90000000, page(8), 3, PT_URW);
			DSB();
			ISB();
			el0_at((u64)el0_jump | tag, 0, PSTATE_EL0T,
			       (const u64[4]){ (u64)el0_load | tag, args[0] });
			check(last()->f.elr >> 56 == 0 && last()->n == 1,
			      "TBI0: eret and a branch at EL0 drop it too");
		} else {
			TRY_CALL((u64)el0_load | tag);
			check_abort(EC_IABT, FSC_TRANS, (u64)el0_load | tag,
				    "no TBI0: a branch with a tag faults");
		}
	}
	WRITE_REG(tcr_el1, TCR_TEST);
	ISB();
	tlbi_all();
}

/* ---- access flag and dirty state by hardware ---- */

static void hardware_flags(void)
{
	unsigned hafdbs = (unsigned)field(READ_REG(id_aa64mmfr1_el1), 3, 0);
	u64 va = fresh();

	if (hafdbs == 0) {
		skip("no FEAT_HAFDBS", "hardware access flag");
		return;
	}
	WRITE_REG(tcr_el1, TCR_TEST | BIT(TCR_HA));
	ISB();
	tlbi_all();
	map(va, page(2), 3, PT_KRW & ~(u64)PT_AF);
	TRY("ldr x0, [%[a]]", [a] "r"(va));
	check_none("HA: a read of a page with AF clear");
	check(*entry(va, 3) & PT_AF, "HA: ... sets AF");
	unmap(va, 3);
	map(va, page(2), 3, PT_KRW & ~(u64)PT_AF);
	TRY("str xzr, [%[a]]", [a] "r"(va + 64));
	check_none("HA: a write");
	check(*entry(va, 3) & PT_AF, "HA: ... sets AF");
	unmap(va, 3);
	map(va, page(2), 3, (PT_MEM | PT_RO) & ~(u64)PT_AF);
	TRY_CALL(va);
	check_none("HA: a fetch");
	check(*entry(va, 3) & PT_AF, "HA: ... sets AF");
	u64 big = fresh();
	map(big, SCRATCH, 2, PT_KRW & ~(u64)PT_AF);
	TRY("ldr x0, [%[a]]", [a] "r"(big + 5 * PAGE));
	check_none("HA: a read in a block");
	check(*entry(big, 2) & PT_AF, "HA: ... sets AF");
	unmap(big, 2);
	unmap(va, 3);
	map(va, page(2), 3, (PT_KRW | PT_RO | PT_DBM));
	check_eq((u64)attempt(1, 'w', va, FSC_PERM + 3), 1, "HA without HD: DBM is nothing");

	if (hafdbs >= 2) {
		WRITE_REG(tcr_el1, TCR_TEST | BIT(TCR_HA) | BIT(TCR_HD));
		ISB();
		tlbi_all();
		u64 clean = PT_KRW | PT_RO | PT_DBM;
		static const struct {
			const char *name;
			bool dirty;
		} ops[] = {
			{ "ldr", false },          { "ldxr", false },     { "dc cvac", false },
			{ "prfm", false },         { "at s1e1w", false }, { "str", true },
			{ "ldadd", true },         { "dc zva", true },    { "stp", true },
			{ "ldxr and stxr", true }, { "swp xzr", true },
		};
		for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
			unmap(va, 3);
			map(va, page(2), 3, clean);
			switch (i) {
			case 0: TRY("ldr x0, [%[a]]", [a] "r"(va)); break;
			case 1: TRY("ldxr x0, [%[a]]\n\tclrex", [a] "r"(va)); break;
			case 2: TRY("dc cvac, %[a]", [a] "r"(va)); break;
			case 3: TRY("prfm pstl1keep, [%[a]]", [a] "r"(va)); break;
			case 4: TRY("at s1e1w, %[a]\n\tisb\n\tmrs x0, par_el1", [a] "r"(va)); break;
			case 5: TRY("str xzr, [%[a]]", [a] "r"(va + 64)); break;
			case 6: TRY("ldadd xzr, x0, [%[a]]", [a] "r"(va)); break;
			case 7: TRY("dc zva, %[a]", [a] "r"(va + 64)); break;
			case 8: TRY("stp xzr, xzr, [%[a]]", [a] "r"(va + 64)); break;
			case 9:
				TRY("ldxr x1, [%[a]]\n\tstxr w0, x1, [%[a]]", [a] "r"(va + 64));
				break;
			case 10: TRY("swp xzr, x0, [%[a]]", [a] "r"(va + 64)); break;
			}
			check_none("HD: %s of a clean page", ops[i].name);
			check_eq(!(*entry(va, 3) & PT_RO), ops[i].dirty, "HD: ... %s",
				 ops[i].dirty ? "makes it dirty" : "leaves it clean");
		}
		unmap(va, 3);
		map(va, page(2), 3, clean);
		TRY("ldr x0, [%[a]]", [a] "r"(va));
		TRY("str xzr, [%[a]]", [a] "r"(va + 64));
		check(!(*entry(va, 3) & PT_RO), "HD: a write after a read makes it dirty");
		/* Clean again: the next write must be noticed. */
		*entry(va, 3) |= PT_RO;
		tlbi_va(va);
		TRY("str xzr, [%[a]]", [a] "r"(va + 64));
		check(!(*entry(va, 3) & PT_RO), "HD: cleaned, and dirty again");
		unmap(va, 3);
		map(va, page(2), 3, clean & ~(u64)PT_AF);
		TRY("str xzr, [%[a]]", [a] "r"(va + 64));
		check_eq(*entry(va, 3) & (PT_RO | PT_AF), PT_AF, "HD: AF and dirty at once");
		unmap(va, 3);
		map(va, page(2), 3, clean & ~PT_DBM);
		check_eq((u64)attempt(1, 'w', va, FSC_PERM + 3), 1, "HD: read-only without DBM");
		unmap(va, 3);
		map(va, page(2), 3, clean);
		check_eq((u64)attempt(0, 'w', va, FSC_PERM + 3), 1, "HD: not EL0's page");
		check(*entry(va, 3) & PT_RO, "HD: ... and it stays clean");
		unmap(va, 3);
		map(va, page(2), 3, clean | PT_USER);
		check_eq((u64)attempt(0, 'w', va, FSC_PERM + 3), 0, "HD: a write at EL0");
		check(!(*entry(va, 3) & PT_RO), "HD: ... makes it dirty");
		/* A clean page counts as writable for what may not be both (D8.4.1). */
		unmap(va, 3);
		map(va, page(2), 3, PT_MEM | PT_RO | PT_USER | PT_DBM);
		check_eq((u64)attempt(1, 'x', va, FSC_PERM + 3), 1,
			 "HD: what EL0 could write, EL1 does not execute");
		unmap(va, 3);
	} else {
		skip("no hardware dirty state", "hardware dirty state");
	}
	WRITE_REG(tcr_el1, TCR_TEST);
	ISB();
	tlbi_all();
	map(va, page(2), 3, (PT_KRW & ~(u64)PT_AF));
	check_eq((u64)attempt(1, 'r', va, FSC_AF + 3), 1, "without HA again: access flag fault");
}

/* ---- ASIDs ---- */

static u64 asid_ttbr(u64 *root, u64 asid)
{
	return (u64)root | asid << 48;
}

static void asids(void)
{
	const u64 va = 0x2000000000; /* level 1 index 128: the flat tree has nothing there */
	u64 *root[3];

	for (unsigned i = 0; i < 3; i++) {
		root[i] = pt_page();
		for (unsigned k = 0; k < 512; k++)
			root[i][k] = flat_root[k];
		pt_map(root[i], 1, va, page(32 + i), 3, PT_URW | PT_NG);
		pt_map(root[i], 1, va + PAGE, page(40), 3, PT_URW);
		write64(page(32 + i), 0xa0 + i);
	}
	write64(page(40), 0x91);
	write64(page(41), 0x92);

	for (unsigned a1 = 0; a1 < 2; a1++) {
		/* The ASID comes from TTBR0 or from TTBR1; the tables from TTBR0. */
		mmu_set(TCR_TEST | (a1 ? BIT(TCR_A1) : 0), asid_ttbr(root[0], 1),
			asid_ttbr(top, a1 ? 1 : 9));
		bool ok = true;

		for (unsigned n = 0; n < 40; n++) {
			unsigned i = n * 7 % 3;
			u64 asid = i == 2 ? 0x101 : i + 1;

			if (a1)
				WRITE_REG(ttbr1_el1, asid_ttbr(top, 0)); /* a reserved one */
			WRITE_REG(ttbr0_el1, asid_ttbr(root[i], a1 ? 7 : asid));
			if (a1)
				WRITE_REG(ttbr1_el1, asid_ttbr(top, asid));
			ISB();
			ok &= read64(va) == 0xa0 + i;
			ok &= el0(el0_load, va, 0, 0) == 0xa0 + i;
			ok &= read64(va + PAGE) == 0x91;
		}
		check(ok, "A1 %u: each ASID sees its own page, without TLBI", a1);
	}

	mmu_set(TCR_TEST, asid_ttbr(root[0], 1), (u64)top);
	/* TLBI of another ASID need do nothing; of this one it must. */
	el0(el0_load, va, 0, 0);
	read64(va);
	WRITE_REG(ttbr0_el1, asid_ttbr(root[1], 2));
	ISB();
	read64(va);
	el0(el0_load, va, 0, 0);
	*pt_entry(root[0], 1, va, 3) = 0;
	asm volatile("dsb ishst\n\ttlbi aside1is, %0\n\tdsb ish\n\tisb" ::"r"(1ULL << 48)
		     : "memory");
	check_eq(el0(el0_load, va, 0, 0), 0xa1, "TLBI ASIDE1: the current ASID goes on");
	WRITE_REG(ttbr0_el1, asid_ttbr(root[0], 1));
	ISB();
	check_eq((u64)attempt(1, 'r', va, FSC_TRANS + 3), 1,
		 "TLBI ASIDE1 of another ASID: gone, EL1");
	check_eq((u64)attempt(0, 'r', va, FSC_TRANS + 3), 1,
		 "TLBI ASIDE1 of another ASID: gone, EL0");
	/* By address, of an ASID that is not current */
	pt_map(root[0], 1, va, page(32), 3, PT_URW | PT_NG);
	DSB();
	ISB();
	el0(el0_load, va, 0, 0);
	WRITE_REG(ttbr0_el1, asid_ttbr(root[1], 2));
	ISB();
	*pt_entry(root[0], 1, va, 3) = 0;
	asm volatile("dsb ishst\n\ttlbi vae1is, %0\n\tdsb ish\n\tisb" ::"r"(va >> 12 | 1ULL << 48)
		     : "memory");
	check_eq(el0(el0_load, va, 0, 0), 0xa1, "TLBI VAE1: the current ASID goes on");
	WRITE_REG(ttbr0_el1, asid_ttbr(root[0], 1));
	ISB();
	check_eq((u64)attempt(0, 'r', va, FSC_TRANS + 3), 1, "TLBI VAE1 of another ASID: gone");
	/* A global page goes by TLBI VAE1 of any ASID (C5.5: "or is global"). */
	read64(va + PAGE);
	el0(el0_load, va + PAGE, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		*pt_entry(root[i], 1, va + PAGE, 3) = 0;
	asm volatile("dsb ishst\n\ttlbi vae1is, %0\n\tdsb ish\n\tisb" ::"r"((va + PAGE) >> 12 |
									    0x55ULL << 48)
		     : "memory");
	check_eq((u64)attempt(1, 'r', va + PAGE, FSC_TRANS + 3), 1,
		 "TLBI VAE1 of a global page, EL1");
	check_eq((u64)attempt(0, 'r', va + PAGE, FSC_TRANS + 3), 1,
		 "TLBI VAE1 of a global page, EL0");
	/* With AS = 0 the upper half of the ASID does not count (D17.2.139). */
	pt_map(root[0], 1, va, page(32), 3, PT_URW | PT_NG);
	mmu_set(TCR_TEST & ~BIT(36), asid_ttbr(root[0], 0x301), (u64)top);
	el0(el0_load, va, 0, 0);
	*pt_entry(root[0], 1, va, 3) = 0;
	asm volatile("dsb ishst\n\ttlbi aside1is, %0\n\tdsb ish\n\tisb" ::"r"(1ULL << 48)
		     : "memory");
	check_eq((u64)attempt(0, 'r', va, FSC_TRANS + 3), 1,
		 "AS 0: ASID 0x301 is ASID 1, TLBI ASIDE1");
	pt_map(root[0], 1, va, page(32), 3, PT_URW | PT_NG);
	DSB();
	ISB();
	el0(el0_load, va, 0, 0);
	WRITE_REG(ttbr0_el1, asid_ttbr(root[0], 0x401));
	ISB();
	*pt_entry(root[0], 1, va, 3) = 0;
	asm volatile("dsb ishst\n\ttlbi vae1is, %0\n\tdsb ish\n\tisb" ::"r"(va >> 12 | 1ULL << 48)
		     : "memory");
	check_eq((u64)attempt(0, 'r', va, FSC_TRANS + 3), 1, "AS 0: TLBI VAE1");

	/* Many address spaces, more than any CPU keeps */
	bool ok = true;
	mmu_set(TCR_TEST, asid_ttbr(root[1], 2), (u64)top);
	for (unsigned n = 0; n < 200; n++) {
		unsigned i = n % 20;
		u64 *r = root[1 + i % 2];

		WRITE_REG(ttbr0_el1, asid_ttbr(r, 0x100 + i));
		ISB();
		ok &= el0(el0_load, va, 0, 0) == 0xa1 + i % 2;
	}
	check(ok, "twenty ASIDs in turn");
	mmu_set(TCR_TEST, (u64)flat_root, (u64)top);
}

/* ---- TLB maintenance ---- */

#define TLBI(op, arg) \
	asm volatile("dsb ishst\n\ttlbi " op ", %0\n\tdsb ish\n\tisb" ::"r"(arg) : "memory")
#define TLBI0(op) asm volatile("dsb ishst\n\ttlbi " op "\n\tdsb ish\n\tisb" ::: "memory")

static void tlbi_by(unsigned kind, u64 va)
{
	u64 arg = va >> 12 & 0xfffffffffff;

	switch (kind) {
	case 0: TLBI("vae1", arg); break;
	case 1: TLBI("vaae1", arg); break;
	case 2: TLBI("vale1", arg); break;
	case 3: TLBI("vaale1", arg); break;
	case 4: TLBI("vae1is", arg); break;
	case 5: TLBI("vaae1is", arg); break;
	case 6: TLBI("vale1is", arg); break;
	case 7: TLBI("vaale1is", arg); break;
	case 8: TLBI0("vmalle1"); break;
	case 9: TLBI0("vmalle1is"); break;
	case 10: TLBI("aside1", 0ULL); break;
	case 11: TLBI("aside1is", 0ULL); break;
	case 12: TLBI("vaae1os", arg); break;
	case 13: TLBI0("vmalle1os"); break;
	/* ranges: granule 4 KiB, scale 0, num 0: two pages */
	case 14: TLBI("rvae1", (va >> 12 & ~0ULL >> 27) | 1ULL << 46); break;
	case 15: TLBI("rvaae1is", (va >> 12 & ~0ULL >> 27) | 1ULL << 46); break;
	case 16: TLBI("rvale1is", (va >> 12 & ~0ULL >> 27) | 1ULL << 46); break;
	case 17: TLBI("rvaale1os", (va >> 12 & ~0ULL >> 27) | 1ULL << 46); break;
	}
}

static void tlb_maintenance(void)
{
	static const char *const kinds[] = {
		"vae1",    "vaae1",     "vale1",   "vaale1",    "vae1is",   "vaae1is",
		"vale1is", "vaale1is",  "vmalle1", "vmalle1is", "aside1",   "aside1is",
		"vaae1os", "vmalle1os", "rvae1",   "rvaae1is",  "rvale1is", "rvaale1os",
	};
	unsigned tlb = (unsigned)field(READ_REG(id_aa64isar0_el1), 59, 56);
	u64 va = fresh(), ng = fresh();

	put_code(page(2));
	put_code(page(9));
	for (unsigned kind = 0; kind < ARRAY_LEN(kinds); kind++) {
		if ((kind >= 12 && tlb < 1) || (kind >= 14 && tlb < 2)) {
			skip("not in ID_AA64ISAR0_EL1.TLB", "tlbi %s", kinds[kind]);
			continue;
		}
		bool by_asid = kind == 10 || kind == 11;
		u64 at = by_asid ? ng : va, extra = by_asid ? PT_NG : 0;

		/* In every way that a page can be cached: */
		map(at, page(2), 3, PT_MEM | PT_RO | PT_USER | extra);
		map(at + PAGE, page(2), 3, PT_URW | extra);
		bool ok = attempt(1, 'r', at, 0) == 0 && attempt(0, 'r', at, 0) == 0 &&
			  attempt(1, 'x', at, 0) == 0 && attempt(0, 'x', at, 0) == 0 &&
			  attempt(1, 'w', at + PAGE, 0) == 0 && attempt(0, 'w', at + PAGE, 0) == 0;
		TRY("ldtr x0, [%[a]]", [a] "r"(at));
		check(ok, "before tlbi %s", kinds[kind]);
		*entry(at, 3) = 0;
		*entry(at + PAGE, 3) = 0;
		tlbi_by(kind, at);
		if (kind < 8 || kind == 12)
			tlbi_by(kind, at + PAGE);
		ok = attempt(1, 'r', at, FSC_TRANS + 3) == 1 &&
		     attempt(0, 'r', at, FSC_TRANS + 3) == 1 &&
		     attempt(1, 'x', at, FSC_TRANS + 3) == 1 &&
		     attempt(0, 'x', at, FSC_TRANS + 3) == 1 &&
		     attempt(1, 'w', at + PAGE, FSC_TRANS + 3) == 1 &&
		     attempt(0, 'w', at + PAGE, FSC_TRANS + 3) == 1;
		TRY("ldtr x0, [%[a]]", [a] "r"(at));
		ok &= last()->n == 1;
		check(ok, "after tlbi %s all is gone", kinds[kind]);
		/* Break before make: another page there now */
		map(at, page(9), 3, PT_URW | extra);
		write64(page(9) + 8, 0x900 + kind);
		check_eq(read64(at + 8), 0x900 + kind, "another page after tlbi %s", kinds[kind]);
		*entry(at, 3) = 0;
		tlbi_all();
	}
	/* Permissions too: from writable to read-only, to no access from EL0 */
	map(va, page(2), 3, PT_URW);
	attempt(1, 'w', va, 0);
	attempt(0, 'w', va, 0);
	*entry(va, 3) |= PT_RO;
	tlbi_va(va);
	check(attempt(1, 'w', va, FSC_PERM + 3) == 1 && attempt(0, 'w', va, FSC_PERM + 3) == 1,
	      "read-only after TLBI");
	*entry(va, 3) &= ~(u64)PT_USER;
	tlbi_va(va);
	check_eq((u64)attempt(0, 'r', va, FSC_PERM + 3), 1, "not EL0's after TLBI");
	unmap(va, 3);

	/* One TLBI by any address in a block removes all of it. */
	static const u64 offsets[] = { 0, PAGE, 0x100000, BLOCK2M - PAGE };
	for (unsigned i = 0; i < ARRAY_LEN(offsets); i++) {
		u64 big = fresh();
		bool ok = true;

		put_code(SCRATCH + offsets[0]);
		map(big, SCRATCH, 2, PT_MEM | PT_USER | PT_RO);
		for (unsigned k = 0; k < ARRAY_LEN(offsets); k++) {
			put_code(SCRATCH + offsets[k]);
			ok &= attempt(1, 'r', big + offsets[k], 0) == 0;
			ok &= attempt(0, 'r', big + offsets[k], 0) == 0;
			ok &= attempt(1, 'x', big + offsets[k], 0) == 0;
			ok &= attempt(0, 'x', big + offsets[k], 0) == 0;
		}
		check(ok, "before tlbi at %lx of a block", offsets[i]);
		*entry(big, 2) = 0;
		tlbi_by(i % 2 ? 4 : 6, big + offsets[i]);
		for (unsigned k = 0; k < ARRAY_LEN(offsets); k++) {
			ok &= attempt(1, 'r', big + offsets[k], FSC_TRANS + 2) == 1;
			ok &= attempt(0, 'r', big + offsets[k], FSC_TRANS + 2) == 1;
			ok &= attempt(1, 'x', big + offsets[k], FSC_TRANS + 2) == 1;
			ok &= attempt(0, 'x', big + offsets[k], FSC_TRANS + 2) == 1;
		}
		check(ok, "after tlbi at %lx of a block all of it is gone", offsets[i]);
	}
	if (tlb >= 2) {
		/* num 1, scale 1: (1 + 1) * 2^6 = 128 pages */
		u64 many = fresh();
		bool ok = true;

		for (unsigned i = 0; i < 128; i++)
			map(many + i * PAGE, page(i), 3, PT_KRW);
		for (unsigned i = 0; i < 128; i++)
			read64(many + i * PAGE);
		for (unsigned i = 0; i < 128; i++)
			*entry(many + i * PAGE, 3) = 0;
		TLBI("rvaae1is", (many >> 12 & ~0ULL >> 27) | 1ULL << 39 | 1ULL << 44 | 1ULL << 46);
		for (unsigned i = 0; i < 128; i++)
			ok &= attempt(1, 'r', many + i * PAGE, FSC_TRANS + 3) == 1;
		check(ok, "tlbi rvaae1is of 128 pages");
	} else {
		skip("no range TLBI", "tlbi rvaae1is of 128 pages");
	}
	/* A table is replaced: TLBI VAE1 reaches what was cached of the walk. */
	u64 walk = fresh();
	map(walk, page(2), 3, PT_KRW);
	read64(walk);
	*entry(walk, 2) = 0;
	TLBI("vae1is", walk >> 12 & 0xfffffffffff);
	check_eq((u64)attempt(1, 'r', walk, FSC_TRANS + 2), 1, "a table is gone after tlbi vae1is");
}

/* ---- AT ---- */

#define AT(op, va) TRY("at " op ", %[a]\n\tisb\n\tmrs x0, par_el1", [a] "r"(va))

static void check_par_ok(u64 par, u64 pa, u64 attr, u64 sh, const char *name)
{
	/* NS (bit 9) is UNKNOWN in Non-secure state, 10 IMPLEMENTATION DEFINED, 11 RES1 */
	u64 want = attr << 56 | pa | BIT(11) | sh << 7;

	check_eq(par & ~(BIT(9) | BIT(10)), want, "%s", name);
}

static void address_translation(void)
{
	u64 va = fresh(), kro = va + PAGE, urw = va + 2 * PAGE, uro = va + 3 * PAGE,
	    dev = va + 4 * PAGE, nc = va + 5 * PAGE, noaf = va + 6 * PAGE, none = va + 7 * PAGE,
	    osh = va + 8 * PAGE;

	map(va, page(10), 3, PT_KRW);
	map(kro, page(11), 3, PT_KRW | PT_RO);
	map(urw, page(12), 3, PT_URW);
	map(uro, page(13), 3, PT_URW | PT_RO);
	map(dev, page(14), 3, PT_VALID | PT_AF | PT_DEVICE);
	map(nc, page(15), 3, PT_VALID | PT_AF | PT_NC);
	map(noaf, page(15), 3, PT_KRW & ~(u64)PT_AF);
	map(osh, page(16), 3, (PT_KRW & ~(u64)PT_ISH) | 2 << 8);

	check_par_ok(AT("s1e1r", va + 0x123), page(10), 0xff, 3, "at s1e1r, read-write page");
	check_par_ok(AT("s1e1w", va), page(10), 0xff, 3, "at s1e1w, read-write page");
	check_par_ok(AT("s1e1r", kro), page(11), 0xff, 3, "at s1e1r, read-only page");
	check_par_ok(AT("s1e0r", urw), page(12), 0xff, 3, "at s1e0r, EL0's page");
	check_par_ok(AT("s1e0w", urw), page(12), 0xff, 3, "at s1e0w, EL0's page");
	check_par_ok(AT("s1e0r", uro), page(13), 0xff, 3, "at s1e0r, EL0's read-only page");
	check_par_ok(AT("s1e1r", osh), page(16), 0xff, 2, "at s1e1r, outer shareable");
	check_par_ok(AT("s1e1r", dev), page(14), 0x04, 2, "at s1e1r, Device memory");
	check_par_ok(AT("s1e1r", nc), page(15), 0x44, 2, "at s1e1r, Non-cacheable memory");
	/* F, FST in 6:1, RES1 bit 11 */
	check_eq(AT("s1e1w", kro), 1 | (FSC_PERM + 3) << 1 | BIT(11), "at s1e1w, read-only page");
	check_eq(AT("s1e0r", va), 1 | (FSC_PERM + 3) << 1 | BIT(11), "at s1e0r, EL1's page");
	check_eq(AT("s1e0w", uro), 1 | (FSC_PERM + 3) << 1 | BIT(11), "at s1e0w, read-only page");
	check_eq(AT("s1e1r", noaf), 1 | (FSC_AF + 3) << 1 | BIT(11), "at s1e1r, access flag");
	check_eq(AT("s1e1r", none), 1 | (FSC_TRANS + 3) << 1 | BIT(11), "at s1e1r, nothing there");
	check_eq(AT("s1e1r", UPPER - 4096), 1 | FSC_TRANS << 1 | BIT(11),
		 "at s1e1r, between the halves");
	check_none("at does not trap");
	if (field(READ_REG(id_aa64mmfr1_el1), 23, 20)) {
		check_par_ok(TRY("msr pan, #1\n\tat s1e1r, %[a]\n\tmsr pan, #0\n\tisb\n\tmrs x0, "
				 "par_el1",
				 [a] "r"(urw)),
			     page(12), 0xff, 3, "PAN is nothing to at s1e1r");
	}
	/* Nothing that it finds out is remembered wrongly. */
	check_eq((u64)attempt(0, 'r', va, FSC_PERM + 3), 1, "EL0 after at: still not its page");
	check_eq((u64)attempt(1, 'w', kro, FSC_PERM + 3), 1, "EL1 after at: still read-only");
}

/* ---- sizes of output addresses, walks that fail ---- */

static void bad_addresses(void)
{
	u64 va = fresh(), ext = UPPER | 0x150ULL << 39;
	u64 ips32 = TCR_TEST & ~(7ULL << 32);

	WRITE_REG(tcr_el1, ips32);
	ISB();
	tlbi_all();
	map(va, BIT(32) | page(0), 3, PT_KRW);
	TRY("ldr x0, [%[a]]", [a] "r"(va));
	check_abort(EC_DABT, FSC_SIZE + 3, va, "IPS 0: a page above 4 GiB");
	check_eq(AT("s1e1r", va), 1 | (FSC_SIZE + 3) << 1 | BIT(11), "... by at s1e1r");
	unmap(va, 3);
	u64 big = fresh();
	map(big, BIT(32) | SCRATCH, 2, PT_KRW);
	TRY("str x0, [%[a]]", [a] "r"(big + 64));
	check_abort(EC_DABT, (FSC_SIZE + 2) | ISS_WNR, big + 64, "IPS 0: a block above 4 GiB");
	unmap(big, 2);
	u64 tab = UPPER | 0x151ULL << 39;
	*entry(tab, 0) = BIT(33) | page(0) | PT_VALID | PT_TABLE;
	TRY("ldr x0, [%[a]]", [a] "r"(tab));
	check_abort(EC_DABT, FSC_SIZE + 0, tab, "IPS 0: a level 0 table above 4 GiB");
	*entry(tab, 0) = 0;
	*entry(tab, 1) = BIT(33) | page(0) | PT_VALID | PT_TABLE;
	TRY_CALL(tab);
	check_abort(EC_IABT, FSC_SIZE + 1, tab, "IPS 0: a level 1 table above 4 GiB");
	*entry(tab, 1) = 0;
	WRITE_REG(ttbr1_el1, (u64)top | BIT(32));
	ISB();
	tlbi_all();
	TRY("ldr x0, [%[a]]", [a] "r"(va));
	check_abort(EC_DABT, FSC_SIZE + 0, va, "IPS 0: TTBR1 above 4 GiB");
	WRITE_REG(ttbr1_el1, (u64)top);
	WRITE_REG(tcr_el1, TCR_TEST);
	ISB();
	tlbi_all();

	for (int level = 0; level < 3; level++) {
		u64 at = ext | ((u64)(level + 1) << 39);

		*entry(at, level) = NOWHERE | PT_VALID | PT_TABLE;
		DSB();
		ISB();
		TRY("ldr x0, [%[a]]", [a] "r"(at));
		check_abort(EC_DABT, (u64)(FSC_EXT_WALK + level + 1), at,
			    "a level %d table where no memory is: read", level + 1);
		TRY("str x0, [%[a]]", [a] "r"(at));
		check_abort(EC_DABT, (u64)(FSC_EXT_WALK + level + 1) | ISS_WNR, at, "... write");
		TRY_CALL(at);
		check_abort(EC_IABT, (u64)(FSC_EXT_WALK + level + 1), at, "... fetch");
		el0(el0_load, at, 0, 0);
		check_abort(EC_DABT_LOWER, (u64)(FSC_EXT_WALK + level + 1), at, "... read at EL0");
		TRY("at s1e1r, %[a]", [a] "r"(at));
		check_exc(EC_DABT, (u64)(FSC_EXT_WALK + level + 1) | ISS_CM | ISS_WNR,
			  "... at s1e1r takes the abort");
		*entry(at, level) = 0;
		tlbi_va(at);
	}
	u64 hole = fresh();
	map(hole, NOWHERE, 3, PT_VALID | PT_AF | PT_DEVICE);
	TRY("ldr w0, [%[a]]", [a] "r"(hole));
	check_abort(EC_DABT, FSC_EXT, hole, "a read of nothing");
	TRY("str w0, [%[a]]", [a] "r"(hole));
	check_abort(EC_DABT, FSC_EXT | ISS_WNR, hole, "a write of nothing");
	map(hole + PAGE, NOWHERE, 3, PT_MEM | PT_RO);
	TRY_CALL(hole + PAGE);
	check_abort(EC_IABT, FSC_EXT, hole + PAGE, "a fetch of nothing");
}

/* ---- alignment, and accesses over two pages ---- */

static void unaligned(void)
{
	u64 va = fresh(), last_byte = va + PAGE;
	u64 pa = page(20);

	map(va, pa, 3, PT_URW);
	/* the page behind is not there */
	fill(pa, 0x1122334455667788);
	TRY("ldr x0, [%[a]]", [a] "r"(last_byte - 4));
	check_abort(EC_DABT, FSC_TRANS + 3, last_byte, "a load into a missing page");
	TRY("str xzr, [%[a]]", [a] "r"(last_byte - 4));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, last_byte, "a store into a missing page");
	check_eq(read64(pa + PAGE - 8), 0x1122334455667788, "... writes nothing");
	TRY("str wzr, [%[a]]", [a] "r"(last_byte - 1));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, last_byte, "a 4-byte store, 1 byte before");
	TRY("strh wzr, [%[a]]", [a] "r"(last_byte - 1));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, last_byte, "a 2-byte store, 1 byte before");
	TRY("stp xzr, xzr, [%[a]]", [a] "r"(last_byte - 8));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, last_byte,
		    "stp with its second half there");
	TRY("stp xzr, xzr, [%[a]]", [a] "r"(last_byte - 12));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, last_byte, "stp, 12 bytes before");
	check_eq(read64(pa + PAGE - 8), 0x1122334455667788, "... writes nothing");
	TRY("ldp x0, x1, [%[a]]", [a] "r"(last_byte - 8));
	check_abort(EC_DABT, FSC_TRANS + 3, last_byte, "ldp with its second half there");
	check_eq(TRY_IN("mov x1, %[a]", "ldr x2, [x1], #16", "mov x0, x1", [a] "r"(last_byte - 4)),
		 last_byte - 4, "post-index leaves the base when it faults");
	check_eq(TRY_IN("mov x1, %[a]", "ldp x2, x3, [x1, #16]!",
			"mov x0, x1", [a] "r"(last_byte - 24)),
		 last_byte - 24, "pre-index leaves the base when it faults");
	check_eq(TRY_IN("mov x0, #5", "ldr x0, [%[a]]", "", [a] "r"(last_byte - 4)), 5,
		 "a load leaves its register when it faults");
	el0(el0_store, last_byte - 4, 0, 0);
	check_abort(EC_DABT_LOWER, (FSC_TRANS + 3) | ISS_WNR, last_byte, "the same at EL0");
	/* The other way round: the first page is missing. */
	map(va + 2 * PAGE, pa, 3, PT_URW);
	TRY("str xzr, [%[a]]", [a] "r"(va + 2 * PAGE - 4));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, va + 2 * PAGE - 4,
		    "a store from a missing page");
	/* The page behind is read-only. */
	map(va + PAGE, page(21), 3, PT_URW | PT_RO);
	TRY("str xzr, [%[a]]", [a] "r"(last_byte - 4));
	check_abort(EC_DABT, (FSC_PERM + 3) | ISS_WNR, last_byte, "a store into a read-only page");
	TRY("ldr x0, [%[a]]", [a] "r"(last_byte - 4));
	check_none("a load over it");

	/* SCTLR_EL1.A: every unaligned access; exclusive and ordered ones always */
	static const struct {
		const char *name;
		unsigned off;
		bool write;
	} ops[] = {
		{ "ldr x", 4, false },          { "ldrh", 1, false },          { "str w", 2, true },
		{ "ldp x", 4, false },          { "stp x", 4, true },          { "stp w", 2, true },
		{ "ldp x, aligned", 8, false }, { "stp w, aligned", 4, true },
	};
	for (unsigned a = 0; a < 3; a++) {
		u64 base = va;

		if (a == 2) {
			base = fresh();
			map(base, page(22), 3, PT_VALID | PT_AF | PT_DEVICE);
		}
		sctlr(SCTLR_PLAIN | SCTLR_M | (a == 1 ? SCTLR_A : 0));
		for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
			u64 at = base + 128 + ops[i].off;

			switch (i) {
			case 0: TRY("ldr x0, [%[a]]", [a] "r"(at)); break;
			case 1: TRY("ldrh w0, [%[a]]", [a] "r"(at)); break;
			case 2: TRY("str wzr, [%[a]]", [a] "r"(at)); break;
			case 3: TRY("ldp x0, x1, [%[a]]", [a] "r"(at)); break;
			case 4: TRY("stp xzr, xzr, [%[a]]", [a] "r"(at)); break;
			case 5: TRY("stp wzr, wzr, [%[a]]", [a] "r"(at)); break;
			case 6: TRY("ldp x0, x1, [%[a]]", [a] "r"(at)); break;
			case 7: TRY("stp wzr, wzr, [%[a]]", [a] "r"(at)); break;
			}
			const char *where = a == 0   ? "Normal memory"
					    : a == 1 ? "Normal memory with SCTLR_EL1.A"
						     : "Device memory";
			if (a == 0 || i >= 6)
				check_none("%s: %s at +%u", where, ops[i].name, ops[i].off);
			else
				check_abort(EC_DABT, FSC_ALIGN | (ops[i].write ? ISS_WNR : 0), at,
					    "%s: %s at +%u", where, ops[i].name, ops[i].off);
		}
		if (a == 1) {
			TRY("ldr x0, [%[a]]", [a] "r"(va + 5 * PAGE + 1));
			check_abort(EC_DABT, FSC_ALIGN, va + 5 * PAGE + 1,
				    "SCTLR_EL1.A comes before translation");
		}
	}
	sctlr(SCTLR_PLAIN | SCTLR_M);
	u64 odd = va + 132;
	TRY("ldxr x0, [%[a]]", [a] "r"(odd));
	check_abort(EC_DABT, FSC_ALIGN, odd, "ldxr unaligned");
	TRY("ldar x0, [%[a]]", [a] "r"(odd));
	check_abort(EC_DABT, FSC_ALIGN, odd, "ldar unaligned");
	TRY("stlr xzr, [%[a]]", [a] "r"(odd));
	check_abort(EC_DABT, FSC_ALIGN | ISS_WNR, odd, "stlr unaligned");
	TRY("ldxp x0, x1, [%[a]]", [a] "r"(odd + 4));
	check_abort(EC_DABT, FSC_ALIGN, odd + 4, "ldxp unaligned to 16");
	TRY("ldadd xzr, x0, [%[a]]", [a] "r"(odd));
	check(last()->n == 1 &&
		      (last()->f.esr & ~(u64)ISS_WNR) ==
			      ((u64)EC_DABT << 26 | BIT(25) | FSC_ALIGN) &&
		      last()->f.far == odd,
	      "ldadd unaligned");
	/* WnR of what reads and writes: 0 when the read would have faulted too (D17.2.37). */
	TRY("ldadd xzr, x0, [%[a]]", [a] "r"(va + 5 * PAGE));
	check_abort(EC_DABT, FSC_TRANS + 3, va + 5 * PAGE, "ldadd of a missing page is a read");
	TRY("cas x0, x1, [%[a]]", [a] "r"(va + 5 * PAGE));
	check_abort(EC_DABT, FSC_TRANS + 3, va + 5 * PAGE, "cas of a missing page is a read");
	TRY("ldadd xzr, x0, [%[a]]", [a] "r"(va + PAGE));
	check_abort(EC_DABT, (FSC_PERM + 3) | ISS_WNR, va + PAGE,
		    "ldadd of a read-only page is a write");
}

/* ---- unprivileged accesses, EPD, DC ---- */

static void unprivileged(void)
{
	u64 va = fresh(), krw = va, urw = va + PAGE, uro = va + 2 * PAGE;

	map(krw, page(24), 3, PT_KRW);
	map(urw, page(25), 3, PT_URW);
	map(uro, page(26), 3, PT_URW | PT_RO);
	TRY("ldr x0, [%[a]]", [a] "r"(krw));
	TRY("ldtr x0, [%[a]]", [a] "r"(krw));
	check_abort(EC_DABT, FSC_PERM + 3, krw, "ldtr of EL1's page");
	TRY("sttr x0, [%[a]]", [a] "r"(krw));
	check_abort(EC_DABT, (FSC_PERM + 3) | ISS_WNR, krw, "sttr to EL1's page");
	TRY("ldtr x0, [%[a]]", [a] "r"(urw));
	check_none("ldtr of EL0's page");
	TRY("sttr xzr, [%[a]]", [a] "r"(urw));
	check_none("sttr to EL0's page");
	TRY("sttrb wzr, [%[a]]", [a] "r"(uro));
	check_abort(EC_DABT, (FSC_PERM + 3) | ISS_WNR, uro, "sttrb to EL0's read-only page");
	TRY("ldtrsw x0, [%[a]]", [a] "r"(uro));
	check_none("ldtrsw of it");
	TRY("ldtr x0, [%[a]]", [a] "r"(va + 3 * PAGE));
	check_abort(EC_DABT, FSC_TRANS + 3, va + 3 * PAGE, "ldtr of nothing");
	if (field(READ_REG(id_aa64mmfr1_el1), 23, 20)) {
		TRY("msr pan, #1\n\tldtr x0, [%[a]]\n\tmsr pan, #0", [a] "r"(urw));
		check_none("PAN is nothing to ldtr");
		TRY_IN("msr pan, #1", "ldr x0, [%[a]]", "msr pan, #0", [a] "r"(urw));
		check_abort(EC_DABT, FSC_PERM + 3, urw, "PAN stops ldr");
		TRY_IN("msr pan, #1", "str x0, [%[a]]", "msr pan, #0", [a] "r"(urw));
		check_abort(EC_DABT, (FSC_PERM + 3) | ISS_WNR, urw, "PAN stops str");
		TRY_IN("msr pan, #1", "ldxr x0, [%[a]]", "msr pan, #0", [a] "r"(urw));
		check_abort(EC_DABT, FSC_PERM + 3, urw, "PAN stops ldxr");
		TRY_IN("msr pan, #1", "dc zva, %[a]", "msr pan, #0", [a] "r"(urw));
		check_abort(EC_DABT, (FSC_PERM + 3) | ISS_WNR, urw, "PAN stops dc zva");
		TRY_IN("msr pan, #1", "dc civac, %[a]", "msr pan, #0", [a] "r"(urw));
		check_none("PAN is nothing to dc civac");
		TRY_IN("msr pan, #1", "ldr x0, [%[a]]", "msr pan, #0", [a] "r"(krw));
		check_none("PAN is nothing to EL1's page");
		TRY("msr pan, #1\n\tmsr pan, #0\n\tldr x0, [%[a]]", [a] "r"(urw));
		check_none("PAN off again");
	}
	if (field(READ_REG(id_aa64mmfr2_el1), 63, 60)) {
		WRITE_REG(tcr_el1, TCR_TEST | BIT(56));
		ISB();
		tlbi_all();
		check_eq((u64)attempt(0, 'r', urw, FSC_TRANS), 1,
			 "E0PD1: EL0's read is a level 0 fault");
		check_eq((u64)attempt(0, 'x', urw, FSC_TRANS), 1, "E0PD1: EL0's fetch");
		check_eq((u64)attempt(1, 'r', urw, 0), 0, "E0PD1: EL1 reads");
		TRY("ldtr x0, [%[a]]", [a] "r"(urw));
		check_abort(EC_DABT, FSC_TRANS, urw, "E0PD1: ldtr");
		WRITE_REG(tcr_el1, TCR_TEST);
		ISB();
		tlbi_all();
	} else {
		skip("no FEAT_E0PD", "E0PD");
	}
	WRITE_REG(tcr_el1, TCR_TEST | BIT(TCR_EPD1));
	ISB();
	tlbi_all();
	check_eq((u64)attempt(1, 'r', urw, FSC_TRANS), 1, "EPD1: no walk, a level 0 fault");
	check_eq((u64)attempt(0, 'r', urw, FSC_TRANS), 1, "EPD1: at EL0");
	WRITE_REG(tcr_el1, TCR_TEST);
	ISB();
	tlbi_all();
	check_eq((u64)attempt(1, 'r', urw, 0), 0, "without EPD1 again");

	/* EPD0 takes away what we run in, so this runs from an alias in the upper half. */
	extern const u8 epd0_code[];
	u64 code = fresh(), at = (u64)epd0_code & ~(PAGE - 1);
	map(code, at, 3, PT_MEM | PT_RO | PT_UXN);
	map(code + PAGE, at + PAGE, 3, PT_MEM | PT_RO | PT_UXN);
	u64 (*epd0)(u64, u64, u64) = (u64(*)(u64, u64, u64))(code + ((u64)epd0_code & (PAGE - 1)));
	check_eq(epd0(TCR_TEST | BIT(TCR_EPD0), TCR_TEST, SCRATCH), 1 | FSC_TRANS << 1 | BIT(11),
		 "EPD0: a level 0 fault for the lower half");
	check_eq(AT("s1e1r", (u64)SCRATCH) & 1, 0, "without EPD0 again");
}

asm(".text\n"
    "epd0_code:\n\t"
    "msr tcr_el1, x0\n\tisb\n\ttlbi vmalle1\n\tdsb nsh\n\tisb\n\t"
    "at s1e1r, x2\n\tisb\n\tmrs x3, par_el1\n\t"
    "msr tcr_el1, x1\n\tisb\n\tmov x0, x3\n\tret");

static void cache_operations(void)
{
	u64 va = fresh(), ro = va + PAGE, krw = va + 2 * PAGE, dev = va + 3 * PAGE,
	    none = va + 4 * PAGE, pa = page(28);
	const u32 cvau = SYS_WORD(0, 1, 3, 7, 11, 1, 0), ivau = SYS_WORD(0, 1, 3, 7, 5, 1, 0),
		  zva = SYS_WORD(0, 1, 3, 7, 4, 1, 0);

	map(va, pa, 3, PT_URW);
	map(ro, page(29), 3, PT_URW | PT_RO);
	map(krw, page(30), 3, PT_KRW);
	map(dev, page(31), 3, PT_VALID | PT_AF | PT_DEVICE);
	u64 size = 4ULL << field(READ_REG(dczid_el0), 3, 0);
	fill(pa, ~0ULL);
	TRY("dc zva, %[a]", [a] "r"(va + size + 5));
	check(read64(pa + size - 8) == ~0ULL && read64(pa + 2 * size) == ~0ULL,
	      "dc zva leaves the neighbours");
	bool zero = true;
	for (u64 i = size; i < 2 * size; i += 8)
		zero &= read64(pa + i) == 0;
	check(zero, "dc zva zeroes its block, from an address within");
	TRY("dc zva, %[a]", [a] "r"(ro + 5));
	check_abort(EC_DABT, (FSC_PERM + 3) | ISS_WNR, ro + 5,
		    "dc zva of a read-only page: FAR is the argument");
	TRY("dc zva, %[a]", [a] "r"(none + 5));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_WNR, none + 5, "dc zva of nothing");
	run_word(zva, 0, krw + 9, 0, 0);
	check_abort(EC_DABT_LOWER, (FSC_PERM + 3) | ISS_WNR, krw + 9,
		    "dc zva at EL0 of EL1's page");
	TRY("dc zva, %[a]", [a] "r"(dev));
	check_abort(EC_DABT, FSC_ALIGN | ISS_WNR, dev, "dc zva of Device memory");

	TRY("dc cvac, %[a]", [a] "r"(none + 5));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_CM | ISS_WNR, none + 5, "dc cvac of nothing");
	TRY("dc civac, %[a]", [a] "r"(ro));
	check_none("dc civac of a read-only page");
	run_word(cvau, 0, krw + 5, 0, 0);
	check_abort(EC_DABT_LOWER, (FSC_PERM + 3) | ISS_CM | ISS_WNR, krw + 5,
		    "dc cvau at EL0 of EL1's page");
	run_word(cvau, 0, ro, 0, 0);
	check_el0_done("dc cvau at EL0 of its page");
	TRY("ic ivau, %[a]", [a] "r"(none + 5));
	check_abort(EC_DABT, (FSC_TRANS + 3) | ISS_CM | ISS_WNR, none + 5, "ic ivau of nothing");
	run_word(ivau, 0, none + 5, 0, 0);
	check_abort(EC_DABT_LOWER, (FSC_TRANS + 3) | ISS_CM | ISS_WNR, none + 5,
		    "ic ivau of nothing at EL0");
	TRY("prfm pldl1keep, [%[a]]", [a] "r"(none));
	check_none("prfm of nothing");
}

/* ---- MMU off ---- */

static void off(void)
{
	mmu_off();
	TRY("ldr x0, [%[a]]", [a] "r"(SCRATCH + 1ULL));
	check_abort(EC_DABT, FSC_ALIGN, SCRATCH + 1, "MMU off: ldr unaligned");
	TRY("str w0, [%[a]]", [a] "r"(SCRATCH + 2ULL));
	check_abort(EC_DABT, FSC_ALIGN | ISS_WNR, SCRATCH + 2, "MMU off: str unaligned");
	TRY("ldp x0, x1, [%[a]]", [a] "r"(SCRATCH + 4ULL));
	check_abort(EC_DABT, FSC_ALIGN, SCRATCH + 4, "MMU off: ldp unaligned");
	TRY("ldp x0, x1, [%[a]]", [a] "r"(SCRATCH + 8ULL));
	check_none("MMU off: ldp with aligned halves");
	TRY("dc zva, %[a]", [a] "r"((u64)SCRATCH));
	check_abort(EC_DABT, FSC_ALIGN | ISS_WNR, SCRATCH, "MMU off: dc zva");
	TRY("ldr x0, [%[a]]", [a] "r"(BIT(53)));
	check_abort(EC_DABT, FSC_SIZE, BIT(53), "MMU off: an address that no memory can have");
	TRY("ldr x0, [%[a]]", [a] "r"(BIT(60) | SCRATCH));
	check_abort(EC_DABT, FSC_SIZE, BIT(60) | SCRATCH, "MMU off: a tag without TBI");
	TRY_CALL(BIT(53));
	check_abort(EC_IABT, FSC_SIZE, BIT(53), "MMU off: a fetch from there");
	check_par_ok(AT("s1e1r", SCRATCH + 0x2345ULL), SCRATCH + 0x2000, 0, 2, "MMU off: at s1e1r");
	TRY("ldr w0, [%[a]]", [a] "r"((u64)NOWHERE));
	check_abort(EC_DABT, FSC_EXT, NOWHERE, "MMU off: a read of nothing");
}

void guest_main(void)
{
	off();
	mmu_on();
	top = pt_page();
	address_sizes();
	mmu_set(TCR_TEST, (u64)flat_root, (u64)top);
	levels();
	permissions();
	mappings();
	tags();
	hardware_flags();
	asids();
	tlb_maintenance();
	address_translation();
	bad_addresses();
	unaligned();
	unprivileged();
	cache_operations();
}

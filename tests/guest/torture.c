/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: translation under random changes, against a model in plain C. Pages and blocks
 * come, go, move and change their permissions, in two address spaces and a shared upper half; each
 * change is followed by the TLB maintenance that the Arm ARM asks for, of a random kind that is
 * enough. Between changes, accesses of all kinds at both levels must do what the model says.
 * Meanwhile a timer interrupts at random moments.
 */
#include "guest.h"

#define LOW  0x3000000000ULL       /* level 1 index 192: nothing there in the flat tree */
#define HIGH 0xffff000040000000ULL /* in the half that the address spaces share */
enum { REGIONS = 6, PAGES = 24, BACKING = 64, STEPS = 16000 };

/* A region is 2 MiB: one block, or some pages spread over it. */
static const u64 region_base[REGIONS] = {
	LOW, LOW + BLOCK2M, LOW + 16 * BLOCK2M, HIGH, HIGH + BLOCK2M, HIGH + 64 * BLOCK2M,
};

struct mapping {
	bool valid;
	u64 pa;   /* of the page */
	u64 attr; /* AP, XN bits, nG */
};

/* What should be there: by address space (the upper half has one), region and page. */
static struct {
	bool block;
	struct mapping whole, page[PAGES];
} model[2][REGIONS];
static u64 *root[2], *top;
static unsigned space; /* the current one */
static bool pan;
static unsigned ticks, wrong;

static u64 seed = 88172645463325252;
static u64 rnd(u64 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

EL0_CODE(el0_load, "ldr x0, [x0]");
EL0_CODE(el0_store, "str x1, [x0]");
EL0_CODE(el0_jump, "br x0");

static bool on_tick(struct frame *f)
{
	if ((f->vector & 3) != VEC_IRQ)
		return false;
	u64 intid = READ_ICC(ICC_IAR1);
	ticks++;
	WRITE_REG(cntv_tval_el0, READ_REG(cntfrq_el0) / 20000 + rnd(1000));
	ISB();
	WRITE_ICC(ICC_EOIR1, intid);
	return true;
}

/* Page n of a region: spread, and with gaps. */
static u64 page_offset(unsigned n)
{
	return n * 21 % 512 * PAGE;
}

static unsigned model_space(unsigned s, unsigned r)
{
	return r < 3 ? s : 0;
}

static u64 *entry_of(unsigned s, unsigned r, u64 va, int level)
{
	if (r < 3)
		return pt_entry(root[s], 1, va, level);
	return pt_entry(top, 0, va & 0xffffffffffff, level);
}

static u64 asid_of(unsigned s)
{
	return 0x20 + s;
}

static void use_space(unsigned s)
{
	space = s;
	WRITE_REG(ttbr0_el1, (u64)root[s] | asid_of(s) << 48);
	ISB();
}

/* Maintenance for one address, of a kind that is enough; `all`: for a whole 2 MiB region. */
static void invalidate(unsigned s, u64 va, bool ng, bool all)
{
	u64 arg = (va >> 12 & 0xfffffffffff) | asid_of(s) << 48;

	asm volatile("dsb ishst" ::: "memory");
	switch (rnd(all ? 3 : 7)) {
	case 0: asm volatile("tlbi vmalle1"); break;
	case 1: asm volatile("tlbi vmalle1is"); break;
	case 2:
		if (ng)
			asm volatile("tlbi aside1is, %0" ::"r"(asid_of(s) << 48));
		else
			asm volatile("tlbi vmalle1is");
		break;
	case 3: asm volatile("tlbi vae1, %0" ::"r"(arg)); break;
	case 4: asm volatile("tlbi vale1is, %0" ::"r"(arg)); break;
	case 5: asm volatile("tlbi vaae1is, %0" ::"r"(arg)); break;
	default: asm volatile("tlbi vaale1, %0" ::"r"(arg)); break;
	}
	asm volatile("dsb ish\n\tisb" ::: "memory");
}

static u64 random_attr(unsigned r)
{
	/* AP, UXN, PXN; nothing that EL0 can write is executed at EL1 anyway */
	return rnd(4) << 6 | (rnd(2) ? PT_UXN : 0) | (rnd(2) ? PT_PXN : 0) | (r < 3 ? PT_NG : 0);
}

static u64 backing(unsigned n)
{
	return SCRATCH + n * PAGE;
}

/* One random change. */
static void change(void)
{
	unsigned r = (unsigned)rnd(REGIONS), s = model_space((unsigned)rnd(2), r),
		 n = (unsigned)rnd(PAGES);
	u64 base = region_base[r], va = base + page_offset(n);
	bool ng = r < 3;

	if (rnd(12) == 0) {
		/* The region turns from pages to a block or back; or the block changes. */
		u64 *e = entry_of(s, r, base, 2);

		if (*e & PT_VALID && *e & PT_TABLE)
			for (unsigned i = 0; i < 512; i++)
				((u64 *)(*e & PT_ADDR))[i] = 0;
		u64 table = *e & PT_TABLE ? *e : 0;
		static u64 tables[2][REGIONS];
		if (table)
			tables[s][r] = table;
		*e = 0;
		invalidate(s, base, ng, true);
		for (unsigned i = 0; i < PAGES; i++)
			model[s][r].page[i].valid = false;
		model[s][r].block = rnd(2);
		if (model[s][r].block) {
			struct mapping *m = &model[s][r].whole;

			m->valid = true;
			m->attr = random_attr(r);
			m->pa = SCRATCH;
			*e = m->pa | PT_MEM | m->attr;
		} else if (tables[s][r]) {
			*e = tables[s][r];
		}
	} else if (model[s][r].block) {
		/* Another permission for the block: any address in it will do for the TLBI. */
		struct mapping *m = &model[s][r].whole;
		u64 *e = entry_of(s, r, base, 2);

		*e = 0;
		invalidate(s, base + rnd(512) * PAGE, ng, false);
		m->attr = random_attr(r);
		m->valid = rnd(4);
		*e = m->valid ? m->pa | PT_MEM | m->attr : 0;
	} else {
		struct mapping *m = &model[s][r].page[n];
		u64 *e = entry_of(s, r, va, 3);
		bool was = m->valid;

		if (was && rnd(2)) {
			/* Permissions alone may change without a break. */
			m->attr = random_attr(r);
			*e = m->pa | PT_MEM | PT_TABLE | m->attr;
		} else {
			*e = 0;
			if (was)
				invalidate(s, va, ng, false);
			m->valid = rnd(4);
			m->pa = backing((unsigned)rnd(BACKING));
			m->attr = random_attr(r);
			if (m->valid)
				*e = m->pa | PT_MEM | PT_TABLE | m->attr;
			was = false;
		}
		if (was)
			invalidate(s, va, ng, false);
	}
	asm volatile("dsb ish\n\tisb" ::: "memory");
}

/* One random access; the page's contents are its address in memory, and code at 64. */
static void access(void)
{
	unsigned r = (unsigned)rnd(REGIONS), s = model_space(space, r), n = (unsigned)rnd(PAGES);
	u64 va = region_base[r] + page_offset(n);
	bool block = model[s][r].block;
	struct mapping m = block ? model[s][r].whole : model[s][r].page[n];
	bool ur = m.attr & PT_USER, uw = ur && !(m.attr & PT_RO), pr = !(pan && ur),
	     pw = !(m.attr & PT_RO) && pr;
	bool ux = !(m.attr & PT_UXN), px = !(m.attr & PT_PXN) && !uw;
	unsigned el = (unsigned)rnd(2), kind = (unsigned)rnd(4);
	u64 got = 0, ec;
	bool allowed, ok;

	if (block)
		m.pa += page_offset(n);
	if (pan)
		asm volatile("msr pan, #1");
	switch (kind) {
	case 0: /* load */
		allowed = el ? pr : ur;
		ec = EC_DABT_LOWER + el;
		got = el ? TRY("ldr x0, [%[a]]", [a] "r"(va)) : el0(el0_load, va, 0, 0);
		break;
	case 1: /* store */
		allowed = el ? pw : uw;
		ec = EC_DABT_LOWER + el;
		if (el)
			TRY("str %[v], [%[a]]", [a] "r"(va), [v] "r"(m.pa));
		else
			el0(el0_store, va, m.pa, 0);
		got = m.pa;
		break;
	case 2: /* fetch */
		allowed = el ? px : ux;
		ec = EC_IABT_LOWER + el;
		va += 64 + 8 * (1 - el);
		if (el)
			got = TRY_CALL(va);
		else
			got = el0(el0_jump, va, 0, 0);
		got = m.pa;
		break;
	default: /* unprivileged load at EL1 */
		el = 1;
		allowed = ur;
		ec = EC_DABT;
		got = TRY("ldtr x0, [%[a]]", [a] "r"(va));
	}
	asm volatile("msr pan, #0");
	allowed &= m.valid;
	u64 esr = last()->f.esr;
	bool faulted = el ? last()->n != 0 : esr != ((u64)EC_SVC << 26 | BIT(25) | SVC_DONE);
	if (allowed) {
		ok = !faulted && got == m.pa && read64(m.pa) == m.pa;
	} else {
		/* Which level says so depends on how the region is mapped. */
		u64 fsc = m.valid ? FSC_PERM + (block ? 2 : 3) : 0;

		ok = faulted && esr >> 26 == ec && last()->f.far == va &&
		     (esr >> 6 & 1) == (kind == 1) &&
		     (m.valid ? (esr & 63) == fsc : (esr & 60) == FSC_TRANS);
	}
	if (!ok && wrong++ < 10)
		note("el %u kind %u va %lx: model valid %u pa %lx attr %lx, got %lx esr %lx far "
		     "%lx",
		     el, kind, va, m.valid, m.pa, m.attr, got, esr, last()->f.far);
}

void guest_main(void)
{
	mmu_on();
	top = pt_page();
	for (unsigned i = 0; i < 2; i++) {
		root[i] = pt_page();
		for (unsigned k = 0; k < 512; k++)
			root[i][k] = flat_root[k];
	}
	for (u64 pa = SCRATCH; pa < SCRATCH + BLOCK2M; pa += PAGE) {
		write64(pa, pa);
		write32(pa + 64, 0xd65f03c0);
		write32(pa + 72, 0xd4000001 | SVC_DONE << 5);
	}
	asm volatile("dsb ish\n\tic iallu\n\tdsb ish\n\tisb" ::: "memory");
	mmu_set(TCR_PLAIN | TCR_T0SZ(25) | TCR_T1SZ(16), (u64)root[0] | asid_of(0) << 48, (u64)top);
	gic_init();
	gic_enable(INTID_TIMER_VIRT, 0x80, false);
	this_cpu()->handler = on_tick;
	WRITE_REG(cntv_tval_el0, 1000);
	WRITE_REG(cntv_ctl_el0, 1);
	ISB();

	for (unsigned i = 0; i < STEPS; i++) {
		u64 what = rnd(16);

		IRQ_ON();
		if (what == 0)
			use_space((unsigned)rnd(2));
		else if (what == 1)
			pan = rnd(2) && field(READ_REG(id_aa64mmfr1_el1), 23, 20);
		else if (what < 5)
			change();
		else
			access();
		IRQ_OFF();
		if (i % (STEPS / 8) == STEPS / 8 - 1)
			check_eq(wrong, 0, "%u steps as the model says", i + 1);
	}
	WRITE_REG(cntv_ctl_el0, 0);
	check(ticks > 0, "a timer interrupted it");
	note("%u interrupts", ticks);
}

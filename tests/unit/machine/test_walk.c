/* SPDX-License-Identifier: MIT */
/*
 * Translations told in words (machine/walk.h) against those that the software CPU does: random
 * tables, addresses and modes, A64, Sv32, Sv39 and Sv48. Both must allow the same, find the same
 * place, and see the same kind of fault at the same level.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "engine/engine.h"
#include "engine/soft/a64/mmu.h"
#include "engine/soft/rv/cpu.h"
#include "host/loop.h"
#include "machine/debug.h"
#include "machine/vm.h"
#include "machine/walk.h"
#include "mem/gmem.h"

enum {
	RAM = 0x40000000,
	RAM_SIZE = 0x1000000,
	TABLES = RAM,
	N_TABLES = 8,
	DATA = RAM + 0x400000, /* each word has its own address */
	DATA_SIZE = 0x400000,
	ROUNDS = 30,  /* tables and modes */
	WALKS = 4000, /* in each */
};

struct rig {
	struct hako_vm vm;
	struct vm_cpu *cpu; /* the VM's first */
	struct bus *bus;
	struct loop *loop;
	uint64_t seed;
	unsigned good, bad;
};

static void no_timer(void *dev, unsigned cpu, enum vcpu_timer timer, bool level)
{
	(void)dev;
	(void)cpu;
	(void)timer;
	(void)level;
}

static void start(struct rig *r, enum guest_arch arch, enum kernel_arch kernel)
{
	static const struct vcpu_wiring wiring = { .timer_irq = no_timer };
	struct hako_vm *vm = &r->vm;
	struct err err = ERR_INIT;

	memset(r, 0, sizeof(*r));
	r->seed = 1;
	r->cpu = &vm->cpus[0];
	vm->engine_ops = &engine_soft;
	vm->kernel.arch = kernel;
	vm->n_cpus = 1;
	assert_int_equal(gmem_create(&vm->mem, &err), 0);
	assert_int_equal(gmem_add_ram(vm->mem, RAM, RAM_SIZE, &err), 0);
	assert_int_equal(bus_create(&r->bus, &err), 0);
	assert_int_equal(loop_create(&r->loop, &err), 0);
	assert_int_equal(clock_create(&vm->clock, r->loop, &err), 0);
	const struct engine_config config = {
		.arch = arch, .mem = vm->mem, .mmio = r->bus, .clock = vm->clock, .n_vcpus = 1
	};
	assert_int_equal(engine_soft.create(&vm->engine, &config, &err), 0);
	assert_int_equal(engine_soft.vcpu_create(vm->engine, 0, &wiring, &r->cpu->vcpu, &err), 0);
	engine_soft.vcpu_reset(r->cpu->vcpu);
	r->cpu->vm = vm;
	for (gpa_t at = DATA; at < DATA + DATA_SIZE; at += 8) {
		le64_t v = le64(at);
		gmem_write(vm->mem, at, &v, sizeof(v));
	}
}

static void finish(struct rig *r)
{
	engine_soft.vcpu_destroy(r->cpu->vcpu);
	engine_soft.destroy(r->vm.engine);
	clock_destroy(r->vm.clock);
	loop_destroy(r->loop);
	bus_destroy(r->bus);
	gmem_destroy(r->vm.mem);
	/* Neither is so rare that nothing was seen of it. */
	assert_true(r->good > ROUNDS * WALKS / 50 && r->bad > ROUNDS * WALKS / 50);
}

/* xorshift64 */
static uint64_t any(struct rig *r)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return r->seed;
}

static bool one_in(struct rig *r, unsigned n)
{
	return any(r) % n == 0;
}

static uint64_t table_at(struct rig *r)
{
	return TABLES + any(r) % N_TABLES * 4096;
}

static void put(struct rig *r, unsigned i, unsigned size, uint64_t entry)
{
	le64_t v = le64(entry);

	assert_int_equal(gmem_write(r->vm.mem, TABLES + (gpa_t)i * size, &v, size), 0);
}

static bool has(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strstr(text, *words))
			return true;
	return false;
}

static void tell(const struct walk *w, const struct walk_access *a)
{
	print_message("%#llx access %u level %u pan %d: %s: ok %d, pa %#llx, '%s'\n", ull(a->va),
		      a->access, a->level, a->pan, w->how, w->ok, ull(w->pa), w->why);
	for (unsigned i = 0; i < w->n; i++)
		print_message("  level %u at %#llx: %#018llx %s\n", w->steps[i].level,
			      ull(w->steps[i].at), ull(w->steps[i].entry), w->steps[i].meaning);
}

/* ---- AArch64 ---- */

static uint64_t a64_entry(struct rig *r)
{
	/* PXN, UXN and DBM; nG, AF, SH, AP; hierarchical bits */
	uint64_t e = (any(r) & 0xf8e0000000000ffcULL) | (one_in(r, 4) ? 0 : BIT(10));

	if (one_in(r, 8))
		return e; /* not valid */
	if (one_in(r, 3)) /* a table, or a page */
		return e | 3 | table_at(r);
	if (one_in(r, 24))
		return e | 3 | (any(r) & 0xfffffffff000); /* anywhere */
	if (one_in(r, 2))
		return e | 1 | DATA; /* a block, or at the last level nothing */
	return e | 3 | (DATA + (any(r) % DATA_SIZE & ~4095ULL));
}

static uint64_t a64_tcr(struct rig *r)
{
	uint64_t t0sz = 14 + any(r) % 28, t1sz = 14 + any(r) % 28;
	uint64_t tcr = t0sz | t1sz << 16 | (any(r) % 6) << 32 | (any(r) & (3ULL << 37)) |
		       (any(r) & (3ULL << 39));

	if (one_in(r, 6))
		tcr |= any(r) & (BIT(7) | BIT(23) | BIT(55) | BIT(56)); /* EPD, E0PD */
	return tcr;
}

static uint64_t a64_va(struct rig *r, uint64_t tcr)
{
	uint64_t va = any(r);
	bool upper = va & 1;
	unsigned top = 64 - (unsigned)(upper ? bits(tcr, 21, 16) : bits(tcr, 5, 0));

	va = upper ? va | ~mask_low(top) : va & mask_low(top);
	if (one_in(r, 16))
		va ^= BIT(any(r) % 64);
	return va;
}

/* Does the walk tell of this kind of fault? */
static bool a64_kind(const struct walk *w, unsigned fsc)
{
	static const char *const translation[] = {
		"is not valid", "is a block", "between the two", "there are no tables", "E0PD", NULL
	};
	static const char *const size[] = { "bits of physical address", NULL };
	static const char *const external[] = { "is not in memory", NULL };
	static const char *const flag[] = { "(AF)", NULL };
	const char *const *const kinds[] = { size, translation, flag, NULL, NULL, external };
	unsigned kind = fsc >> 2;

	assert_true(kind < ARRAY_SIZE(kinds));
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i] && has(w->why, kinds[i]) != (i == kind))
			return false;
	return true;
}

static void a64_compare(struct rig *r, struct a64_cpu *c)
{
	static const enum a64_access as[] = {
		[DEBUG_READ] = A64_READ, [DEBUG_WRITE] = A64_WRITE, [DEBUG_EXEC] = A64_EXEC
	};
	const struct walk_access a = {
		.va = a64_va(r, c->sys.tcr_el1),
		.access = (uint8_t)(1 << any(r) % 3),
		.level = any(r) & 1,
		.pan = any(r) & 1,
	};
	struct a64_walk t = { 0 };
	struct walk w;

	/* In this order: the CPU's may set flags. */
	walk_va(r->cpu, &a, &w);
	bool ok = a64_translate(c, a.va, as[a.access], a.level, a.pan, &t);
	unsigned level = w.n ? w.steps[w.n - 1].level : 0;
	bool same = ok == w.ok &&
		    (ok ? t.pa == w.pa && !*w.why : (t.fsc & 3) == level && a64_kind(&w, t.fsc));

	if (!same) {
		tell(&w, &a);
		print_message("the CPU: ok %d, pa %#llx, fsc %#x; tcr %#llx sctlr %#llx\n", ok,
			      ull(t.pa), t.fsc, ull(c->sys.tcr_el1), ull(c->sys.sctlr_el1));
	}
	assert_true(same);
	*(ok ? &r->good : &r->bad) += 1;
}

static void a64(void **state)
{
	static struct rig rig;
	struct rig *r = &rig;

	(void)state;
	start(r, GUEST_A64, KERNEL_ARM64);
	struct a64_cpu *c = container_of(r->cpu->vcpu, struct a64_cpu, vcpu);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < N_TABLES * 512; i++)
			put(r, i, 8, a64_entry(r));
		c->sys.tcr_el1 = a64_tcr(r);
		/* M, WXN */
		c->sys.sctlr_el1 = (one_in(r, 20) ? 0 : 1) | (any(r) & BIT(19));
		c->sys.ttbr0_el1 = table_at(r) | (one_in(r, 30) ? any(r) & 0xffff000000000000 : 0);
		c->sys.ttbr1_el1 = table_at(r) | (one_in(r, 30) ? BIT(47) : 0);
		c->sys.mair_el1 = 0xff;
		for (unsigned i = 0; i < WALKS; i++)
			a64_compare(r, c);
	}
	finish(r);
}

/* Granules that the software CPU does not have; the host's may, and with KVM a debugger writes
 * breakpoints to where a walk says that an address is. */
static void a64_granules(void **state)
{
	enum { VALID = 1, TABLE = 2, AF = 1 << 10 };
	static const struct {
		uint64_t tcr; /* T0SZ, T1SZ, TG0, TG1 */
		uint64_t va;
		bool ok;
		uint64_t pa;
		struct {
			uint64_t at, entry; /* in the tables, from TABLES on */
		} entries[4];
	} cases[] = {
		/* 64 KiB, 42 bits of address: levels 2 and 3 (D8.2.8) */
		{ 22 | 1 << 14,
		  0x3fd2345678,
		  true,
		  DATA + 0x5678,
		  { { 0x1fe * 8, (TABLES + 0x10000) | VALID | TABLE },
		    { 0x10000 + 0x1234 * 8, DATA | VALID | TABLE | AF } } },
		/* A block of 512 MiB, in the upper half */
		{ 22 << 16 | 3ULL << 30,
		  0xfffffc0000000000 + 0x20123458,
		  true,
		  0x20123458 - 0x20000000 + 0x40000000,
		  { { 1 * 8, 0x40000000 | VALID | AF } } },
		/* 16 KiB, 48 bits: all four levels, the first of one bit (D8.2.7) */
		{ 16 | 2 << 14,
		  0x800002004abc,
		  true,
		  DATA + 0x4000 + 0xabc,
		  { { 1 * 8, (TABLES + 0x4000) | VALID | TABLE },
		    { 0x4000, (TABLES + 0x8000) | VALID | TABLE },
		    { 0x8000 + 1 * 8, (TABLES + 0xc000) | VALID | TABLE },
		    { 0xc000 + 1 * 8, (DATA + 0x4000) | VALID | TABLE | AF } } },
		/* 16 KiB, 47 bits: a block of 32 MiB; there are none above that */
		{ 17 | 2 << 14,
		  0x2123458,
		  true,
		  0x40123458,
		  { { 0, (TABLES + 0x4000) | VALID | TABLE },
		    { 0x4000 + 1 * 8, 0x40000000 | VALID | AF } } },
		{ 17 | 2 << 14, 0x1000000000, false, 0, { { 1 * 8, 0x40000000 | VALID | AF } } },
	};
	static struct rig rig;
	struct rig *r = &rig;

	(void)state;
	start(r, GUEST_A64, KERNEL_ARM64);
	struct a64_cpu *c = container_of(r->cpu->vcpu, struct a64_cpu, vcpu);
	struct engine_ops other = engine_soft;
	r->vm.engine_ops = &other;
	c->sys.sctlr_el1 = 1;
	c->sys.ttbr0_el1 = c->sys.ttbr1_el1 = TABLES;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct walk_access a = { .va = cases[i].va,
					       .access = DEBUG_READ,
					       .level = 1 };
		struct walk w;

		gmem_clear(r->vm.mem);
		for (unsigned k = 0; k < ARRAY_SIZE(cases[i].entries); k++)
			if (cases[i].entries[k].entry)
				put(r, (unsigned)cases[i].entries[k].at / 8, 8,
				    cases[i].entries[k].entry);
		c->sys.tcr_el1 = cases[i].tcr | 2ULL << 32; /* IPS: 40 bits */
		walk_va(r->cpu, &a, &w);
		if (w.ok != cases[i].ok || (w.ok && w.pa != cases[i].pa))
			tell(&w, &a);
		assert_int_equal(w.ok, cases[i].ok);
		if (w.ok)
			assert_int_equal(w.pa, cases[i].pa);
	}
	r->vm.engine_ops = &engine_soft;
	r->good = r->bad = ROUNDS * WALKS;
	finish(r);
}

/* ---- RISC-V ---- */

static uint64_t rv_entry(struct rig *r, bool wide)
{
	uint64_t flags = any(r) & 0x3ff;
	uint64_t high = wide && one_in(r, 8) ? any(r) & 0xffc0000000000000 : 0;
	uint64_t at;

	if (wide && one_in(r, 8))
		high = (any(r) & 3) << 61; /* Svpbmt */
	if (!one_in(r, 8))
		flags |= 0xc1; /* V, A, D */
	if (one_in(r, 2)) {
		at = table_at(r);
		if (!one_in(r, 8))
			flags = 1;
	} else if (one_in(r, 24)) {
		at = any(r) & (wide ? mask_low(56) : mask_low(34)) & ~4095ULL;
	} else {
		at = one_in(r, 2) ? DATA : DATA + (any(r) % DATA_SIZE & ~4095ULL);
	}
	return high | at >> 2 | flags;
}

static uint64_t rv_va(struct rig *r, unsigned va_bits)
{
	uint64_t va = (uint64_t)sign_extend(any(r), va_bits);

	if (one_in(r, 16))
		va ^= BIT(any(r) % 64);
	return va & ~7ULL; /* one word, aligned */
}

/* setjmp() has a function to itself. */
static __attribute__((noinline)) bool rv_traps(struct rv_cpu *c, const struct walk_access *a,
					       uint64_t *v)
{
	if (setjmp(c->unwind))
		return true;
	if (a->access == DEBUG_READ)
		*v = rv_load_slow(c, a->va, c->xlen64 ? 8 : 4);
	else if (a->access == DEBUG_WRITE)
		rv_store_slow(c, a->va, 4, (uint32_t)*v);
	else
		rv_fetch(c, a->va);
	return false;
}

static void rv_level(struct rv_cpu *c, unsigned priv)
{
	static struct op ops[2]; /* what "is being executed" */

	c->priv = (uint8_t)priv;
	c->page_va = RAM;
	c->page = c->cur = ops;
	rv_state_changed(c);
	rv_flush_all_tlbs(c);
}

/* The words that each fault is told with; what has none of them is a matter of permissions. */
static bool rv_same_fault(const struct walk *w, unsigned cause)
{
	static const char *const access[] = { "is not in memory", NULL };

	return has(w->why, access)
		       ? cause == RV_INSN_ACCESS || cause == RV_LOAD_ACCESS ||
				 cause == RV_STORE_ACCESS
		       : cause == RV_INSN_PAGE || cause == RV_LOAD_PAGE || cause == RV_STORE_PAGE;
}

static void rv_compare(struct rig *r, struct rv_cpu *c, unsigned va_bits)
{
	struct walk_access a = {
		.va = rv_va(r, va_bits),
		.access = (uint8_t)(1 << any(r) % 3),
		.level = any(r) & 1,
	};
	uint64_t v = 0, seen = 0;
	struct walk w;

	if (!c->xlen64)
		a.va = (uint32_t)a.va;
	rv_level(c, a.level);
	walk_va(r->cpu, &a, &w);
	/* A table that is written to may be the one in use; only where the words are
	 * is compared. */
	bool data = w.ok && w.pa - DATA < DATA_SIZE;
	bool ram = w.ok && w.pa - RAM < RAM_SIZE;
	if (ram && !data && a.access == DEBUG_WRITE)
		return;
	v = 0x5ca1ab1e;
	bool trapped = rv_traps(c, &a, &v);
	bool same;
	if (trapped)
		/* Where no memory is, the access fails behind the translation. */
		same = w.ok ? !ram : rv_same_fault(&w, (unsigned)c->csr.mcause);
	else
		same = ram && !*w.why;
	if (same && data && a.access == DEBUG_READ)
		same = (uint32_t)v == (uint32_t)w.pa;
	if (same && data && a.access == DEBUG_WRITE) {
		le64_t back = le64(w.pa);
		gmem_read(r->vm.mem, w.pa, &seen, 4);
		same = (uint32_t)seen == 0x5ca1ab1e;
		gmem_write(r->vm.mem, w.pa, &back, sizeof(back));
	}
	if (!same) {
		tell(&w, &a);
		print_message("the hart: trapped %d, mcause %#llx, value %#llx; satp %#llx mstatus "
			      "%#llx menvcfg %#llx\n",
			      trapped, ull(c->csr.mcause), ull(v), ull(c->csr.satp),
			      ull(c->csr.mstatus), ull(c->csr.menvcfg));
	}
	assert_true(same);
	*(w.ok ? &r->good : &r->bad) += 1;
}

static void rv(enum guest_arch arch, unsigned mode, unsigned va_bits)
{
	static struct rig rig;
	struct rig *r = &rig;
	bool wide = arch == GUEST_RV64;

	start(r, arch, wide ? KERNEL_RV64 : KERNEL_RV32);
	struct rv_cpu *c = container_of(r->cpu->vcpu, struct rv_cpu, vcpu);
	c->csr.mtvec = RAM;
	/* One entry of PMP for everything (3.7.1: NAPOT, RWX) */
	c->csr.pmpaddr[0] = wide ? mask_low(54) : mask_low(32);
	c->csr.pmpcfg[0] = 0x1f;
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < N_TABLES * 4096U / (wide ? 8 : 4); i++)
			put(r, i, wide ? 8 : 4, rv_entry(r, wide));
		bool off = one_in(r, 20);
		c->csr.satp = off    ? 0
			      : wide ? (uint64_t)mode << 60 | table_at(r) >> 12
				     : (uint64_t)sign_extend(BIT(31) | table_at(r) >> 12, 32);
		c->csr.mstatus &= ~(uint64_t)(RV_SUM | RV_MXR);
		c->csr.mstatus |= any(r) & (RV_SUM | RV_MXR);
		c->csr.menvcfg = any(r) & (RV_ENVCFG_ADUE | (wide ? RV_ENVCFG_PBMTE : 0));
		for (unsigned i = 0; i < WALKS / 2; i++)
			rv_compare(r, c, va_bits);
	}
	finish(r);
}

static void sv32(void **state)
{
	(void)state;
	rv(GUEST_RV32, 1, 32);
}

static void sv39(void **state)
{
	(void)state;
	rv(GUEST_RV64, 8, 39);
}

static void sv48(void **state)
{
	(void)state;
	rv(GUEST_RV64, 9, 48);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a64),  cmocka_unit_test(a64_granules), cmocka_unit_test(sv32),
		cmocka_unit_test(sv39), cmocka_unit_test(sv48),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * RISC-V's privileged architecture on the software engine, against volume II of the manual: traps
 * and returns, interrupts, CSRs, translation, physical memory protection. What instructions compute
 * is compared with QEMU in tests/insn; here, besides, are those that its oracle does not have.
 *
 * A test calls what executors call (cpu.h), with the hart in the state that it needs, and sees the
 * trap that comes of it; or it runs a few words of code, which end in the vector's device write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "engine/engine.h"
#include "engine/soft/rv/cpu.h"
#include "engine/told.h"
#include "host/loop.h"
#include "mem/gmem.h"

enum {
	RAM = 0x80000000,
	RAM_SIZE = 0x400000,
	CODE = RAM,
	VECTOR = RAM + 0x800, /* of M and S mode: writes to the device, which kicks the hart */
	ROOT = RAM + 0x10000,
	TABLES = RAM + 0x11000,
	DATA = RAM + 0x200000,
	DEVICE = 0x10000000,
};

/* CSR numbers (volume II, 2.2) */
enum {
	SSTATUS = 0x100,
	SIE = 0x104,
	STVEC = 0x105,
	SEPC = 0x141,
	SIP = 0x144,
	STIMECMP = 0x14d,
	SATP = 0x180,
	MSTATUS = 0x300,
	MISA = 0x301,
	MEDELEG = 0x302,
	MIDELEG = 0x303,
	MIE = 0x304,
	MTVEC = 0x305,
	MCOUNTEREN = 0x306,
	SCOUNTEREN = 0x106,
	MENVCFG = 0x30a,
	MENVCFGH = 0x31a,
	MEPC = 0x341,
	MIP = 0x344,
	PMPCFG0 = 0x3a0,
	PMPADDR0 = 0x3b0,
	MCYCLE = 0xb00,
	MINSTRET = 0xb02,
	MCYCLEH = 0xb80,
	MINSTRETH = 0xb82,
	CYCLE = 0xc00,
	TIME = 0xc01,
	INSTRET = 0xc02,
	CYCLEH = 0xc80,
	INSTRETH = 0xc82,
	MVENDORID = 0xf11,
};

/* Page table entries (10.3.1) */
enum { V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128 };
enum { RWX = V | R | W | X | A | D };

/* Instructions */
#define ECALL      0x00000073u
#define SRET       0x10200073u
#define MRET       0x30200073u
#define WFI        0x10500073u
#define SFENCE_VMA 0x12000073u
#define SW_X0_T0   0x0002a023u /* to the device */
#define LOOP       0x0000006fu

struct rig {
	struct gmem *mem;
	struct bus *bus;
	struct loop *loop;
	struct clock *clock;
	struct engine *engine;
	struct vcpu *vcpu;
	struct rv_cpu *c;
	struct bus_region region;
	struct op ops[2];
	uint64_t next_table;
};

static void device_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct rig *r = dev;
	(void)off;
	(void)size;
	(void)val;
	engine_soft.vcpu_kick(r->vcpu);
}
static uint64_t device_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	(void)size;
	return 0x55;
}
static const struct bus_ops device_ops = { device_read, device_write };

static void put32(struct rig *r, uint64_t gpa, uint32_t v)
{
	assert_int_equal(gmem_write(r->mem, gpa, &v, 4), 0);
}
static void put64(struct rig *r, uint64_t gpa, uint64_t v)
{
	assert_int_equal(gmem_write(r->mem, gpa, &v, 8), 0);
}
static uint64_t get64(struct rig *r, uint64_t gpa)
{
	uint64_t v;
	assert_int_equal(gmem_read(r->mem, gpa, &v, 8), 0);
	return v;
}

static struct rig *rig_create(enum guest_arch arch)
{
	static const struct vcpu_wiring wiring = { 0 };
	static struct rig rig;
	struct rig *r = &rig;
	struct err err = ERR_INIT;

	memset(r, 0, sizeof(*r));
	assert_int_equal(gmem_create(&r->mem, &err), 0);
	assert_int_equal(gmem_add_ram(r->mem, RAM, RAM_SIZE, &err), 0);
	assert_int_equal(bus_create(&r->bus, &err), 0);
	assert_int_equal(loop_create(&r->loop, &err), 0);
	assert_int_equal(clock_create(&r->clock, r->loop, &err), 0);
	r->region = (struct bus_region){ .name = "stop",
					 .base = DEVICE,
					 .size = 0x1000,
					 .min_access = 4,
					 .max_access = 4,
					 .ops = &device_ops,
					 .dev = r };
	assert_int_equal(bus_add(r->bus, &r->region, &err), 0);
	struct engine_config config = {
		.arch = arch, .mem = r->mem, .mmio = r->bus, .clock = r->clock, .n_vcpus = 1
	};
	assert_int_equal(engine_soft.create(&r->engine, &config, &err), 0);
	assert_int_equal(engine_soft.vcpu_create(r->engine, 0, &wiring, &r->vcpu, &err), 0);
	assert_int_equal(engine_soft.vcpu_init(r->vcpu, &err), 0);
	r->c = container_of(r->vcpu, struct rv_cpu, vcpu);
	put32(r, VECTOR, SW_X0_T0);
	put32(r, VECTOR + 4, LOOP);
	r->next_table = TABLES;
	/* What the calls below are the instruction of. */
	r->c->page_va = CODE;
	r->c->page = r->c->cur = r->ops;
	rv_csr_write(r->c, MTVEC, VECTOR);
	rv_csr_write(r->c, STVEC, VECTOR);
	rv_csr_write(r->c, MENVCFG, 0);
	rv_csr_write(r->c, arch == GUEST_RV32 ? MENVCFGH : MENVCFG, 0);
	/* All of memory to S and U: NAPOT */
	rv_csr_write(r->c, PMPADDR0 + 15, arch == GUEST_RV32 ? 0xffffffff : mask_low(54));
	rv_csr_write(r->c, PMPCFG0 + (arch == GUEST_RV32 ? 3 : 2),
		     (uint64_t)0x1f << (arch == GUEST_RV32 ? 24 : 56));
	return r;
}

static void rig_destroy(struct rig *r)
{
	engine_soft.vcpu_destroy(r->vcpu);
	engine_soft.destroy(r->engine);
	bus_del(r->bus, &r->region);
	clock_destroy(r->clock);
	loop_destroy(r->loop);
	bus_destroy(r->bus);
	gmem_destroy(r->mem);
}

static int setup64(void **state)
{
	*state = rig_create(GUEST_RV64);
	return 0;
}
static int setup32(void **state)
{
	*state = rig_create(GUEST_RV32);
	return 0;
}
static int teardown(void **state)
{
	rig_destroy(*state);
	return 0;
}

static void level(struct rig *r, unsigned priv)
{
	r->c->priv = (uint8_t)priv;
	r->c->page_va = CODE;
	r->c->page = r->c->cur = r->ops;
	rv_state_changed(r->c);
}

/*
 * What is called; `n` is the size of an access, and of a CSR whether it is to be written. setjmp()
 * has a function to itself.
 */
enum call { LOAD, STORE, FETCH, CSR, PROBE, RAISE };

static __attribute__((noinline)) bool traps(struct rig *r, enum call call, uint64_t at, unsigned n)
{
	if (setjmp(r->c->unwind))
		return true;
	switch (call) {
	case LOAD: rv_load_slow(r->c, at, n); break;
	case STORE: rv_store_slow(r->c, at, n, 0); break;
	case FETCH: rv_fetch(r->c, at); break;
	case CSR: rv_csr_read(r->c, (unsigned)at, n); break;
	case PROBE: rv_probe_block(r->c, at); break;
	case RAISE: rv_raise(r->c, (enum rv_cause)at, 0);
	}
	return false;
}

/* It traps, to M mode, and the hart is put back to where it was. */
static void faults(struct rig *r, enum call call, uint64_t at, unsigned n, enum rv_cause cause,
		   uint64_t tval)
{
	unsigned priv = r->c->priv;

	assert_true(traps(r, call, at, n));
	assert_int_equal(r->c->csr.mcause, cause);
	assert_int_equal(r->c->csr.mtval, tval);
	level(r, priv);
}
static void works(struct rig *r, enum call call, uint64_t at, unsigned n)
{
	assert_true(!traps(r, call, at, n));
}
static void no_access(struct rig *r, unsigned csr, bool write)
{
	unsigned priv = r->c->priv;

	assert_true(traps(r, CSR, csr, write));
	assert_int_equal(r->c->csr.mcause, RV_ILLEGAL);
	level(r, priv);
}

/* Run words at CODE until the vector. */
static void run(struct rig *r, unsigned priv, const uint32_t *words, unsigned n)
{
	enum vcpu_exit exit;

	for (unsigned i = 0; i < n; i++)
		put32(r, CODE + 4 * i, words[i]);
	r->c->priv = (uint8_t)priv;
	rv_state_changed(r->c);
	engine_soft.vcpu_set(r->vcpu, VCPU_REG_PC, CODE);
	engine_soft.vcpu_set(r->vcpu, 5, DEVICE);
	assert_int_equal(engine_soft.vcpu_run(r->vcpu, &exit), 0);
	assert_int_equal(exit, VCPU_KICKED);
}
static void run1(struct rig *r, unsigned priv, uint32_t word)
{
	const uint32_t words[] = { word, SW_X0_T0, LOOP };
	run(r, priv, words, 3);
}
static bool at_vector(const struct rig *r)
{
	return (uint32_t)r->c->pc == (uint32_t)VECTOR + 4;
}

/* A mapping of one leaf, `level` levels above the last. Returns where its entry is. */
static uint64_t map(struct rig *r, uint64_t va, uint64_t pte, unsigned leaf)
{
	uint64_t table = ROOT;
	unsigned levels = r->c->csr.satp >> 60 == 9 ? 4 : 3;

	for (unsigned i = levels; i--;) {
		uint64_t at = table + (va >> (12 + 9 * i) & 511) * 8;
		if (i == leaf) {
			put64(r, at, pte);
			rv_flush_all_tlbs(r->c);
			return at;
		}
		if (!get64(r, at)) {
			put64(r, at, r->next_table >> 2 | V);
			r->next_table += 0x1000;
		}
		table = get64(r, at) >> 10 << 12;
	}
	return 0;
}
static void translate_on(struct rig *r, unsigned mode)
{
	rv_csr_write(r->c, SATP, (uint64_t)mode << 60 | (uint64_t)ROOT >> 12);
}

/* ---- traps ---- */

static void test_trap_and_return(void **state)
{
	struct rig *r = *state;
	struct rv_csrs *s = &r->c->csr;

	assert_int_equal(r->c->priv, RV_M);
	/* ECALL from each level, not delegated */
	static const struct {
		unsigned priv, cause;
	} calls[] = { { RV_U, RV_ECALL_U }, { RV_S, RV_ECALL_S }, { RV_M, RV_ECALL_M } };
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		s->mstatus = RV_MIE;
		run1(r, calls[i].priv, ECALL);
		assert_true(at_vector(r));
		assert_int_equal(r->c->priv, RV_M);
		assert_int_equal(s->mcause, calls[i].cause);
		assert_int_equal((uint32_t)s->mepc, (uint32_t)CODE);
		assert_int_equal(s->mtval, 0);
		assert_int_equal(s->mstatus & (RV_MPP | RV_MPIE | RV_MIE),
				 calls[i].priv << 11 | RV_MPIE);
	}
	/* delegated: from U to S; never from M */
	rv_csr_write(r->c, MEDELEG, ~0ULL);
	s->mstatus = RV_SIE;
	run1(r, RV_U, ECALL);
	assert_int_equal(r->c->priv, RV_S);
	assert_int_equal(s->scause, RV_ECALL_U);
	assert_int_equal(s->mstatus & (RV_SPP | RV_SPIE | RV_SIE), RV_SPIE);
	run1(r, RV_S, ECALL);
	assert_int_equal(r->c->priv, RV_S);
	assert_true(s->mstatus & RV_SPP);
	s->mcause = 0;
	run1(r, RV_M, 0x00100073); /* EBREAK */
	assert_int_equal(r->c->priv, RV_M);
	assert_int_equal(s->mcause, RV_BREAKPOINT);
	assert_int_equal((uint32_t)s->mtval, (uint32_t)CODE);
	/* MEDELEG has no bit for ECALL from M */
	assert_int_equal(rv_csr_read(r->c, MEDELEG, false), 0xb3ff);

	/* MRET to S: MPP becomes U, MPRV is cleared, MIE is MPIE */
	s->mstatus = RV_S << 11 | RV_MPIE | RV_MPRV;
	s->mepc = CODE + 4;
	run1(r, RV_M, MRET);
	assert_int_equal(r->c->priv, RV_S);
	assert_int_equal(s->mstatus & (RV_MPP | RV_MPIE | RV_MIE | RV_MPRV), RV_MPIE | RV_MIE);
	/* SRET to U */
	s->mstatus = RV_MPRV;
	s->sepc = CODE + 4;
	run1(r, RV_S, SRET);
	assert_int_equal(r->c->priv, RV_U);
	assert_int_equal(s->mstatus & (RV_SPP | RV_SPIE | RV_SIE | RV_MPRV), RV_SPIE);
}

static void illegal_at(struct rig *r, unsigned priv, uint32_t word)
{
	r->c->csr.medeleg = 0;
	r->c->csr.mcause = 99;
	run1(r, priv, word);
	assert_int_equal(r->c->csr.mcause, RV_ILLEGAL);
	assert_int_equal((uint32_t)r->c->csr.mtval, word);
}

static void test_privileged_instructions(void **state)
{
	struct rig *r = *state;

	illegal_at(r, RV_U, SRET);
	illegal_at(r, RV_U, MRET);
	illegal_at(r, RV_S, MRET);
	illegal_at(r, RV_U, WFI);
	illegal_at(r, RV_U, SFENCE_VMA);
	illegal_at(r, RV_U, 0x16000073); /* SINVAL.VMA */
	illegal_at(r, RV_U, 0x18000073); /* SFENCE.W.INVAL */
	r->c->csr.mstatus = RV_TSR | RV_TVM | RV_TW;
	illegal_at(r, RV_S, SRET);
	r->c->csr.mstatus = RV_TSR | RV_TVM | RV_TW;
	illegal_at(r, RV_S, SFENCE_VMA);
	r->c->csr.mstatus = RV_TSR | RV_TVM | RV_TW;
	illegal_at(r, RV_S, WFI);
	r->c->csr.mstatus = RV_TVM;
	illegal_at(r, RV_S, 0x18002573); /* CSRR a0, satp */
	/* with FS off: every floating-point instruction and CSR */
	r->c->csr.mstatus = 0;
	illegal_at(r, RV_M, 0x00053507); /* FLD fa0, (a0) */
	illegal_at(r, RV_M, 0x00302573); /* CSRR a0, fcsr */
	/* CBO.ZERO where it is not enabled */
	illegal_at(r, RV_S, 0x0045200f);
	r->c->csr.menvcfg = RV_ENVCFG_CBZE;
	illegal_at(r, RV_U, 0x0045200f);
}

/* ---- interrupts ---- */

static uint64_t interrupt(const struct rig *r, unsigned n)
{
	return (r->c->xlen64 ? BIT(63) : 0xffffffff80000000ULL) | n;
}

static void test_interrupts(void **state)
{
	static const uint8_t order[] = { RV_MEI, RV_MSI, RV_MTI, RV_SEI, RV_SSI, RV_STI };
	struct rig *r = *state;
	struct rv_csrs *s = &r->c->csr;
	uint32_t all = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		all |= 1u << order[i];
	rv_csr_write(r->c, MIE, ~0ULL);
	assert_int_equal(rv_csr_read(r->c, MIE, false), all);
	r->c->csr.mie = all;
	/* the order of priority, all to M */
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		uint32_t left = 0;
		for (unsigned k = i; k < ARRAY_SIZE(order); k++)
			left |= 1u << order[k];
		s->mip = left;
		s->mstatus = 0;
		level(r, RV_M);
		assert_false(rv_take_interrupt(r->c)); /* MIE is clear */
		s->mstatus = RV_MIE;
		assert_true(rv_take_interrupt(r->c));
		assert_int_equal(s->mcause, interrupt(r, order[i]));
		assert_int_equal(s->mtval, 0);
		s->mstatus = 0;
		level(r, RV_S);
		assert_true(rv_take_interrupt(r->c)); /* below M, MIE does not matter */
		assert_int_equal(s->mcause, interrupt(r, order[i]));
	}
	/* delegated: by SIE in S, always in U, never in M */
	rv_csr_write(r->c, MIDELEG, ~0ULL);
	assert_int_equal(rv_csr_read(r->c, MIDELEG, false), 0x222);
	s->mip = BIT(RV_SSI) | BIT(RV_SEI);
	s->mstatus = RV_MIE | RV_SIE;
	level(r, RV_M);
	assert_false(rv_take_interrupt(r->c));
	s->mstatus = 0;
	level(r, RV_S);
	assert_false(rv_take_interrupt(r->c));
	s->mstatus = RV_SIE;
	assert_true(rv_take_interrupt(r->c));
	assert_int_equal(s->scause, interrupt(r, RV_SEI));
	s->mstatus = 0;
	level(r, RV_U);
	assert_true(rv_take_interrupt(r->c));
	assert_int_equal(r->c->priv, RV_S);
	/* M's go before S's, whatever their numbers */
	s->mip = BIT(RV_SEI) | BIT(RV_MTI);
	s->mstatus = RV_SIE;
	level(r, RV_S);
	assert_true(rv_take_interrupt(r->c));
	assert_int_equal(s->mcause, interrupt(r, RV_MTI));
	/* vectored */
	rv_csr_write(r->c, MTVEC, VECTOR | 1);
	s->mip = BIT(RV_MTI);
	level(r, RV_S);
	assert_true(rv_take_interrupt(r->c));
	assert_int_equal((uint32_t)r->c->pc, (uint32_t)VECTOR + 4 * RV_MTI);
	/* exceptions are not */
	level(r, RV_S);
	s->mip = 0;
	s->mie = 0;
	assert_true(traps(r, RAISE, RV_BREAKPOINT, 0));
	assert_int_equal((uint32_t)r->c->pc, (uint32_t)VECTOR);
	/* sie and sip show what is delegated; of sip, S mode writes SSIP */
	s->mie = all;
	s->mip = BIT(RV_SEI) | BIT(RV_STI) | BIT(RV_MTI);
	s->mideleg = BIT(RV_SSI) | BIT(RV_SEI);
	level(r, RV_S);
	assert_int_equal(rv_csr_read(r->c, SIE, false), BIT(RV_SSI) | BIT(RV_SEI));
	assert_int_equal(rv_csr_read(r->c, SIP, false), BIT(RV_SEI));
	rv_csr_write(r->c, SIP, BIT(RV_SSI));
	assert_int_equal(rv_csr_read(r->c, SIP, false), BIT(RV_SSI) | BIT(RV_SEI));
	rv_csr_write(r->c, SIE, 0);
	assert_int_equal(s->mie, all & ~(BIT(RV_SSI) | BIT(RV_SEI)));
}

/* A pending interrupt that is enabled ends WFI without being taken. */
static void test_wfi(void **state)
{
	struct rig *r = *state;

	r->c->csr.mie = BIT(RV_MTI);
	r->c->csr.mip = BIT(RV_MTI);
	run1(r, RV_M, WFI);
	assert_int_equal((uint32_t)r->c->pc, (uint32_t)CODE + 8);
}

/* mideleg's change alone lets a pending interrupt be taken */
static void test_mideleg_opens(void **state)
{
	/* MIE is set and SSIP pending, delegated: nothing in M mode until it no longer is. */
	static const uint32_t code[] = { 0x30301073 /* CSRW mideleg, x0 */, 0x0040006f /* J +4 */,
					 LOOP };
	struct rig *r = *state;

	r->c->csr.mie = r->c->csr.mip = r->c->csr.mideleg = BIT(RV_SSI);
	r->c->csr.mstatus = RV_MIE;
	run(r, RV_M, code, 3);
	assert_true(at_vector(r));
	assert_int_equal(r->c->csr.mcause, interrupt(r, RV_SSI));
}

/* Setting another bit of mip does not keep the external interrupt that is pending then. */
static void test_mip_modified(void **state)
{
	struct rig *r = *state;

	atomic_fetch_or(&r->vcpu->irq_lines, 1u << RV_SEI);
	run1(r, RV_M, 0x34416573); /* CSRRSI a0, mip, 2 */
	assert_int_equal(r->c->x[10], BIT(RV_SEI));
	assert_int_equal(rv_mip(r->c), BIT(RV_SEI) | BIT(RV_SSI));
	atomic_fetch_and(&r->vcpu->irq_lines, ~(1u << RV_SEI));
	assert_int_equal(rv_mip(r->c), BIT(RV_SSI));
	/* what software wrote stays */
	rv_csr_write(r->c, MIP, BIT(RV_SEI));
	run1(r, RV_M, 0x34416573);
	assert_int_equal(rv_mip(r->c), BIT(RV_SEI) | BIT(RV_SSI));
}

static void test_sstc(void **state)
{
	struct rig *r = *state;

	level(r, RV_S);
	no_access(r, STIMECMP, false);
	r->c->csr.menvcfg = RV_ENVCFG_STCE;
	no_access(r, STIMECMP, false);
	r->c->csr.mcounteren = 2;
	works(r, CSR, STIMECMP, false);
	rv_csr_write(r->c, STIMECMP, 0);
	assert_true(rv_mip(r->c) & BIT(RV_STI));
	rv_csr_write(r->c, STIMECMP, ~0ULL);
	assert_false(rv_mip(r->c) & BIT(RV_STI));
	/* STIP cannot be written then */
	rv_csr_write(r->c, MIP, BIT(RV_STI));
	assert_false(rv_mip(r->c) & BIT(RV_STI));
	r->c->csr.menvcfg = 0;
	rv_csr_write(r->c, MIP, BIT(RV_STI));
	assert_true(rv_mip(r->c) & BIT(RV_STI));
}

/* ---- CSRs ---- */

static void test_csrs(void **state)
{
	struct rig *r = *state;
	bool rv64 = r->c->xlen64;

	works(r, CSR, MVENDORID, false);
	no_access(r, MVENDORID, true); /* read-only */
	no_access(r, 0x7c0, false);    /* there is none */
	if (rv64) {
		no_access(r, 0xc80, false);
		no_access(r, 0x3a1, false);
		no_access(r, MENVCFGH, false);
	} else {
		works(r, CSR, 0xc80, false);
		works(r, CSR, 0x3a1, false);
		works(r, CSR, MENVCFGH, false);
	}
	level(r, RV_S);
	no_access(r, MSTATUS, false);
	no_access(r, CYCLE, false);
	r->c->csr.mcounteren = 3;
	works(r, CSR, CYCLE, false);
	works(r, CSR, TIME, false);
	no_access(r, 0xc02, false);
	level(r, RV_U);
	no_access(r, CYCLE, false); /* scounteren too */
	r->c->csr.scounteren = 1;
	works(r, CSR, CYCLE, false);
	no_access(r, TIME, false);
	no_access(r, SSTATUS, false);
	no_access(r, CYCLE, true);
	level(r, RV_M);
	/* mstatus: MPP has no 2; SD follows FS; XLENs are fixed */
	r->c->csr.mstatus = 0;
	rv_csr_write(r->c, MSTATUS, RV_MPP);
	rv_csr_write(r->c, MSTATUS, 2ULL << 11);
	assert_int_equal(r->c->csr.mstatus & RV_MPP, RV_MPP);
	rv_csr_write(r->c, MSTATUS, RV_FS);
	assert_int_equal(rv_csr_read(r->c, MSTATUS, false),
			 rv64 ? BIT(63) | 0xaULL << 32 | RV_FS : 0xffffffff80000000ULL | RV_FS);
	assert_int_equal(rv_csr_read(r->c, SSTATUS, false),
			 rv64 ? BIT(63) | 2ULL << 32 | RV_FS : 0xffffffff80000000ULL | RV_FS);
	rv_csr_write(r->c, SSTATUS, ~0ULL);
	assert_int_equal(r->c->csr.mstatus, RV_SIE | RV_SPIE | RV_SPP | RV_FS | RV_SUM | RV_MXR);
	/* misa: IMAFDC, S, U */
	assert_int_equal(rv_csr_read(r->c, MISA, false) & 0x3ffffff, 0x14112d);
	rv_csr_write(r->c, MEPC, 0x1235);
	assert_int_equal(rv_csr_read(r->c, MEPC, false), 0x1234);
	/* satp: a mode that is not there leaves all as it was */
	if (rv64) {
		rv_csr_write(r->c, SATP, 8ULL << 60 | 0x123);
		rv_csr_write(r->c, SATP, 10ULL << 60 | 0x456);
		assert_int_equal(r->c->csr.satp, 8ULL << 60 | 0x123);
	}
}

/* Each counter can be written, and that is no business of the other (3.1.10); nor of the half that
 * RV32 has in a register of its own. */
static void test_counters(void **state)
{
	struct rig *r = *state;
	struct rv_cpu *c = r->c;
	uint64_t instret;

	clock_stop(r->clock); /* so they do not count */
	if (c->xlen64) {
		rv_csr_write(c, MCYCLE, 0x1100000022);
		rv_csr_write(c, MINSTRET, 0x3300000044);
		assert_int_equal(rv_csr_read(c, MCYCLE, false), 0x1100000022);
		assert_int_equal(rv_csr_read(c, CYCLE, false), 0x1100000022);
		assert_int_equal(rv_csr_read(c, MINSTRET, false), 0x3300000044);
		assert_int_equal(rv_csr_read(c, INSTRET, false), 0x3300000044);
		rv_csr_write(c, MCYCLE, 0);
		assert_int_equal(rv_csr_read(c, INSTRET, false), 0x3300000044);
	} else {
		rv_csr_write(c, MCYCLEH, 0x11);
		rv_csr_write(c, MCYCLE, 0x22);
		rv_csr_write(c, MINSTRET, 0x44);
		rv_csr_write(c, MINSTRETH, 0x33);
		assert_int_equal(rv_csr_read(c, CYCLEH, false), 0x11);
		assert_int_equal(rv_csr_read(c, CYCLE, false), 0x22);
		assert_int_equal(rv_csr_read(c, INSTRETH, false), 0x33);
		assert_int_equal(rv_csr_read(c, INSTRET, false), 0x44);
		rv_csr_write(c, MCYCLE, 0);
	}
	instret = rv_csr_read(c, INSTRET, false);
	clock_go(r->clock);
	while (rv_csr_read(c, CYCLE, false) == 0)
		;
	assert_int_not_equal(rv_csr_read(c, INSTRET, false), instret);
}

/* ---- translation ---- */

static void test_sv39(void **state)
{
	struct rig *r = *state;
	uint64_t va = 0x3fc0001000, pte, ppn = (uint64_t)DATA >> 2;

	translate_on(r, 8);
	level(r, RV_S);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	faults(r, STORE, va, 4, RV_STORE_PAGE, va);
	faults(r, FETCH, va, 0, RV_INSN_PAGE, va);
	pte = map(r, va, ppn | RWX, 0);
	put32(r, DATA + 8, 0x1234);
	assert_int_equal(rv_load_slow(r->c, va + 8, 4), 0x1234);
	works(r, FETCH, va, 0);
	works(r, STORE, va, 4);
	/* not canonical: bits 63..39 are copies of bit 38 */
	faults(r, LOAD, va | BIT(39), 4, RV_LOAD_PAGE, va | BIT(39));

	/* permissions, one by one */
	map(r, va, ppn | V | R | A | D, 0);
	works(r, LOAD, va, 4);
	faults(r, STORE, va, 4, RV_STORE_PAGE, va);
	faults(r, FETCH, va, 0, RV_INSN_PAGE, va);
	map(r, va, ppn | V | X | A | D, 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	works(r, FETCH, va, 0);
	rv_csr_write(r->c, SSTATUS, RV_MXR);
	works(r, LOAD, va, 4);
	rv_csr_write(r->c, SSTATUS, 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	/* reserved: W without R, bits 60..54, N, and PBMT while it is off */
	static const uint64_t reserved[] = { BIT(54), BIT(60), BIT(61), BIT(62), BIT(63) };
	map(r, va, ppn | V | W | A | D, 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
		map(r, va, ppn | RWX | reserved[i], 0);
		faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	}
	r->c->csr.menvcfg = RV_ENVCFG_PBMTE;
	map(r, va, ppn | RWX | BIT(61), 0);
	works(r, LOAD, va, 4);
	map(r, va, ppn | RWX | BIT(62), 0);
	works(r, LOAD, va, 4);
	map(r, va, ppn | RWX | BIT(61) | BIT(62), 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	r->c->csr.menvcfg = 0;
	/* a pointer in the last level */
	map(r, va, ppn | V, 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);

	/* U pages: U mode only, S mode's data with SUM, never S mode's execution */
	map(r, va, ppn | RWX | U, 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	rv_csr_write(r->c, SSTATUS, RV_SUM);
	works(r, LOAD, va, 4);
	faults(r, FETCH, va, 0, RV_INSN_PAGE, va);
	rv_csr_write(r->c, SSTATUS, 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	level(r, RV_U);
	works(r, LOAD, va, 4);
	works(r, FETCH, va, 0);
	map(r, va, ppn | RWX, 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);

	/* A and D: a fault, or with ADUE an update */
	level(r, RV_S);
	map(r, va, ppn | V | R | W, 0);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	map(r, va, ppn | V | R | W | A, 0);
	works(r, LOAD, va, 4);
	faults(r, STORE, va, 4, RV_STORE_PAGE, va);
	r->c->csr.menvcfg = RV_ENVCFG_ADUE;
	map(r, va, ppn | V | R | W, 0);
	works(r, LOAD, va, 4);
	assert_int_equal(get64(r, pte), ppn | V | R | W | A);
	works(r, STORE, va, 4);
	assert_int_equal(get64(r, pte), ppn | V | R | W | A | D);

	/* MPRV: M mode's data as S mode's, its instructions as ever */
	level(r, RV_M);
	faults(r, LOAD, va, 4, RV_LOAD_ACCESS, va);
	r->c->csr.mstatus = RV_MPRV | (uint64_t)RV_S << 11;
	level(r, RV_M);
	works(r, LOAD, va, 4);
	works(r, FETCH, CODE, 0);
}

static void test_superpages(void **state)
{
	struct rig *r = *state;
	uint64_t va = 0x40000000;

	translate_on(r, 8);
	level(r, RV_S);
	map(r, va, (uint64_t)DATA >> 2 | RWX, 1);
	put32(r, DATA + 0x5008, 0x77);
	assert_int_equal(rv_load_slow(r->c, va + 0x5008, 4), 0x77);
	/* its low bits must be zero */
	map(r, va, ((uint64_t)DATA + 0x1000) >> 2 | RWX, 1);
	faults(r, LOAD, va, 4, RV_LOAD_PAGE, va);
	/* a gigapage */
	map(r, 0x80000000, (uint64_t)RAM >> 2 | RWX, 2);
	assert_int_equal(rv_load_slow(r->c, (uint64_t)DATA + 0x5008, 4), 0x77);
	/* A, D and U are reserved in a pointer */
	put64(r, ROOT + 3 * 8, (uint64_t)TABLES >> 2 | V | A);
	faults(r, LOAD, 0xc0000000, 4, RV_LOAD_PAGE, 0xc0000000);
	/* a table outside RAM is an access fault */
	put64(r, ROOT + 3 * 8, 0x1000 >> 2 | V);
	faults(r, LOAD, 0xc0000000, 4, RV_LOAD_ACCESS, 0xc0000000);
}

static void test_sv48(void **state)
{
	struct rig *r = *state;
	uint64_t va = 0xffff800000003000;

	translate_on(r, 9);
	level(r, RV_S);
	map(r, va, (uint64_t)DATA >> 2 | RWX, 0);
	works(r, LOAD, va, 4);
	faults(r, LOAD, va & mask_low(48), 4, RV_LOAD_PAGE, va & mask_low(48));
}

static void test_sv32(void **state)
{
	struct rig *r = *state;
	uint32_t va = 0xc0401000;

	/* a table, a page, and a megapage */
	put32(r, ROOT + (va >> 22) * 4, (uint32_t)TABLES >> 2 | V);
	put32(r, TABLES + (va >> 12 & 1023) * 4, (uint32_t)DATA >> 2 | RWX);
	put32(r, ROOT + 1 * 4, (uint32_t)RAM >> 2 | RWX);
	put32(r, ROOT + 2 * 4, ((uint32_t)RAM + 0x1000) >> 2 | RWX);
	put32(r, DATA + 4, 0x99);
	rv_csr_write(r->c, SATP, BIT(31) | (uint32_t)ROOT >> 12);
	level(r, RV_S);
	assert_int_equal(rv_load_slow(r->c, va + 4, 4), 0x99);
	/* addresses come sign-extended, as registers are */
	assert_int_equal(rv_load_slow(r->c, (uint64_t)(int64_t)(int32_t)va + 4, 4), 0x99);
	assert_int_equal(rv_load_slow(r->c, 0x400000 + (DATA - RAM) + 4, 4), 0x99);
	faults(r, LOAD, 0x800000, 4, RV_LOAD_PAGE, 0x800000);
	faults(r, LOAD, 0xd0000000, 4, RV_LOAD_PAGE, 0xffffffffd0000000ULL);
}

static void test_asid_and_fence(void **state)
{
	struct rig *r = *state;
	uint64_t va = 0x5000, satp = 8ULL << 60 | (uint64_t)ROOT >> 12;
	uint64_t pte;

	rv_csr_write(r->c, SATP, satp | 1ULL << 44);
	pte = map(r, va, (uint64_t)DATA >> 2 | RWX | U, 0);
	put32(r, DATA, 1);
	put32(r, DATA + 0x1000, 2);
	level(r, RV_U);
	assert_int_equal(rv_load_slow(r->c, va, 4), 1);
	/* another address space looks again; this one may keep what it had, until the fence */
	put64(r, pte, ((uint64_t)DATA + 0x1000) >> 2 | RWX | U);
	rv_csr_write(r->c, SATP, satp | 2ULL << 44);
	assert_int_equal(rv_load_slow(r->c, va, 4), 2);
	rv_csr_write(r->c, SATP, satp | 1ULL << 44);
	rv_fence_here(r->c, &(struct rv_fence){ .va = va, .pages = 1, .asid = 1 });
	assert_int_equal(rv_load_slow(r->c, va, 4), 2);
	/* by every other kind of fence */
	put64(r, pte, (uint64_t)DATA >> 2 | RWX | U);
	rv_fence_here(r->c, &(struct rv_fence){ .asid = 1 });
	assert_int_equal(rv_load_slow(r->c, va, 4), 1);
	put64(r, pte, ((uint64_t)DATA + 0x1000) >> 2 | RWX | U | G);
	rv_fence_here(r->c, &(struct rv_fence){ .asid = ~0u });
	assert_int_equal(rv_load_slow(r->c, va, 4), 2);
	put64(r, pte, (uint64_t)DATA >> 2 | RWX | U | G);
	rv_fence_here(r->c, &(struct rv_fence){ .va = va, .pages = 1, .asid = ~0u });
	assert_int_equal(rv_load_slow(r->c, va, 4), 1);
}

/* ---- physical memory protection ---- */

static void pmp(struct rig *r, unsigned i, uint64_t addr, unsigned cfg)
{
	unsigned per = r->c->xlen64 ? 8 : 4, n = PMPCFG0 + i / per * (per / 4);
	uint64_t v = rv_csr_read(r->c, n, true) & ~(0xffULL << (i % per * 8));

	rv_csr_write(r->c, PMPADDR0 + i, addr);
	rv_csr_write(r->c, n, v | (uint64_t)cfg << (i % per * 8));
}

static void test_pmp(void **state)
{
	enum { PR = 1, PW = 2, PX = 4, TOR = 8, NA4 = 16, NAPOT = 24, L = 0x80 };
	struct rig *r = *state;
	uint64_t at = (uint32_t)DATA, wrapped = rv_wrap(r->c, at);

	/* NA4, in the middle of a page that is otherwise free */
	pmp(r, 0, (at + 0x10) >> 2, NA4 | PR);
	level(r, RV_S);
	works(r, LOAD, at + 0x10, 4);
	works(r, LOAD, at, 4);
	works(r, STORE, at + 0x14, 4);
	faults(r, STORE, at + 0x10, 4, RV_STORE_ACCESS, wrapped + 0x10);
	/* half in, half out */
	faults(r, LOAD, at + 0xe, 4, RV_LOAD_ACCESS, wrapped + 0xe);
	if (r->c->xlen64)
		faults(r, LOAD, at + 0x10, 8, RV_LOAD_ACCESS, wrapped + 0x10);
	/* M mode is bound by locked entries only; partial matches fail for all */
	level(r, RV_M);
	works(r, STORE, at + 0x10, 4);
	faults(r, LOAD, at + 0xe, 4, RV_LOAD_ACCESS, wrapped + 0xe);
	/* NAPOT: 16 bytes */
	pmp(r, 0, at >> 2 | 1, NAPOT);
	level(r, RV_U);
	faults(r, LOAD, at + 12, 4, RV_LOAD_ACCESS, wrapped + 12);
	works(r, LOAD, at + 16, 4);
	/* TOR: [pmpaddr0, pmpaddr1) */
	level(r, RV_M);
	pmp(r, 0, (at + 0x1000) >> 2, 0);
	pmp(r, 1, (at + 0x3000) >> 2, TOR | PX);
	level(r, RV_S);
	works(r, LOAD, at + 0xffc, 4);
	faults(r, LOAD, at + 0x1000, 4, RV_LOAD_ACCESS, wrapped + 0x1000);
	faults(r, LOAD, at + 0x2ffc, 4, RV_LOAD_ACCESS, wrapped + 0x2ffc);
	works(r, FETCH, at + 0x1000, 0);
	works(r, LOAD, at + 0x3000, 4);
	/* W without R is reserved */
	level(r, RV_M);
	pmp(r, 2, 0, NA4 | PW);
	assert_int_equal(r->c->csr.pmpcfg[2], NA4);
	pmp(r, 2, 0, 0);
	/* nothing matches: M only */
	r->c->csr.pmpcfg[15] = 0;
	rv_flush_all_tlbs(r->c);
	works(r, LOAD, at, 4);
	level(r, RV_S);
	faults(r, LOAD, at, 4, RV_LOAD_ACCESS, wrapped);
	/* locked: M mode too, and neither it nor the TOR base before it can be written */
	level(r, RV_M);
	pmp(r, 1, (at + 0x3000) >> 2, TOR | L);
	faults(r, LOAD, at + 0x1000, 4, RV_LOAD_ACCESS, wrapped + 0x1000);
	pmp(r, 1, 0, 0);
	rv_csr_write(r->c, PMPADDR0, 0);
	assert_int_equal(r->c->csr.pmpcfg[1], TOR | L);
	assert_int_equal(r->c->csr.pmpaddr[1], (at + 0x3000) >> 2);
	assert_int_equal(r->c->csr.pmpaddr[0], (at + 0x1000) >> 2);
}

/* ---- instructions that the oracle of tests/insn does not have ---- */

static void test_zicond(void **state)
{
	struct rig *r = *state;
	static const uint64_t conditions[] = { 0, 1, 0x80000000, ~0ULL };

	for (unsigned i = 0; i < ARRAY_SIZE(conditions); i++) {
		uint64_t b = rv_wrap(r->c, conditions[i]);
		r->c->x[11] = 0x1234;
		r->c->x[12] = b;
		run1(r, RV_M, 0x0ec5d533); /* CZERO.EQZ a0, a1, a2 */
		assert_int_equal(r->c->x[10], b ? 0x1234 : 0);
		run1(r, RV_M, 0x0ec5f533); /* CZERO.NEZ */
		assert_int_equal(r->c->x[10], b ? 0 : 0x1234);
	}
}

static void test_cbo(void **state)
{
	struct rig *r = *state;

	for (unsigned i = 0; i < 192; i += 8)
		put64(r, DATA + i, ~0ULL);
	r->c->x[10] = rv_wrap(r->c, (uint32_t)DATA + 64 + 17);
	run1(r, RV_M, 0x0045200f); /* CBO.ZERO (a0) */
	for (unsigned i = 0; i < 192; i += 8)
		assert_int_equal(get64(r, DATA + i), i >= 64 && i < 128 ? 0 : ~0ULL);
	/* cache management faults as a store does (volume I, 19.5.3) */
	if (r->c->xlen64) {
		translate_on(r, 8);
		level(r, RV_S);
		faults(r, PROBE, 0x5000, 0, RV_STORE_PAGE, 0x5000);
		map(r, 0x5000, (uint64_t)DATA >> 2 | V | R | A, 0);
		works(r, PROBE, 0x5000, 0);
	}
}

/* ---- Watched stores ---- */

static const struct between between[] = {
	{ 0x00000013, false }, /* nop */
	{ 0x0330000f, true },  /* fence rw, rw */
	{ 0x0110000f, true },  /* fence w, w */
	{ 0x0ff0000f, true },  /* fence iorw, iorw */
	{ 0x8330000f, true },  /* fence.tso */
	{ 0x0230000f, false }, /* fence r, rw */
	{ 0x0320000f, false }, /* fence rw, r */
	{ 0x0140000f, false }, /* fence w, o */
	{ 0x0410000f, false }, /* fence o, w */
	{ 0x0000100f, false }, /* fence.i */
	{ 0x006ea3af, false }, /* amoadd.w t2, t1, (t4) */
	{ 0x026ea3af, true },  /* amoadd.w.rl */
	{ 0x046ea3af, false }, /* amoadd.w.aq */
	{ 0x186ea3af, false }, /* sc.w t2, t1, (t4) */
	{ 0x1a6ea3af, true },  /* sc.w.rl */
	{ 0x100ea3af, false }, /* lr.w t2, (t4) */
	{ 0x160ea3af, true },  /* lr.w.aqrl */
};

static void watched_stores(void **state)
{
	enum { T3 = 28, T4 = 29, SH_T3 = 0x006e1023 /* sh t1, 0(t3) */ };
	struct rig *r = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(between); i++) {
		const uint32_t code[] = { SH_T3, between[i].insn, SH_T3, SW_X0_T0, LOOP };
		struct told t = { .watch = { .gpa = DATA + 2, .len = 2, .stored = tell } };

		engine_soft.vcpu_set(r->vcpu, T3, DATA + 2);
		engine_soft.vcpu_set(r->vcpu, T4, DATA + 0x100);
		run(r, RV_M, code, ARRAY_SIZE(code));
		assert_int_equal(gmem_watch(r->mem, &t.watch), 0);
		run(r, RV_M, code, ARRAY_SIZE(code));
		assert_int_equal(t.n, 2);
		assert_true(t.of[0].gpa == DATA + 2 && t.of[0].len == 2);
		assert_true((uint32_t)t.of[0].pc == CODE && (uint32_t)t.of[1].pc == CODE + 8);
		assert_true(t.of[0].nth != t.of[1].nth);
		check_apart(&t, &between[i]);
		gmem_unwatch(r->mem, &t.watch);
	}
}

#define RV64(t)                                        \
	{                                              \
		"rv64 " #t, t, setup64, teardown, NULL \
	}
#define RV32(t)                                        \
	{                                              \
		"rv32 " #t, t, setup32, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RV64(test_trap_and_return),
		RV32(test_trap_and_return),
		RV64(test_privileged_instructions),
		RV32(test_privileged_instructions),
		RV64(test_interrupts),
		RV32(test_interrupts),
		RV64(test_wfi),
		RV32(test_wfi),
		RV64(test_mideleg_opens),
		RV32(test_mideleg_opens),
		RV64(test_mip_modified),
		RV32(test_mip_modified),
		RV64(test_sstc),
		RV64(test_csrs),
		RV32(test_csrs),
		RV64(test_counters),
		RV32(test_counters),
		RV64(test_sv39),
		RV64(test_superpages),
		RV64(test_sv48),
		RV32(test_sv32),
		RV64(test_asid_and_fence),
		RV64(test_pmp),
		RV32(test_pmp),
		RV64(test_zicond),
		RV32(test_zicond),
		RV64(test_cbo),
		RV32(test_cbo),
		RV64(watched_stores),
		RV32(watched_stores),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

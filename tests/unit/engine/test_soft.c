/* SPDX-License-Identifier: MIT */
/*
 * The software engine where its parts meet: decoded instructions and stores to them, from the same
 * vCPU and from another; exits in bounded time; the host's stack. Guests of a few instructions, run
 * through engine_soft.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "engine/engine.h"
#include "engine/soft/tlb.h"
#include "engine/told.h"
#include "host/loop.h"
#include "mem/gmem.h"

enum {
	RAM_BASE = 0x40000000,
	RAM_SIZE = 0x1000000,
	TABLE = RAM_BASE, /* level 1: 1 GiB blocks */
	CODE = RAM_BASE + 0x1000,
	DATA = RAM_BASE + 0x3000,
	PATCHED = RAM_BASE + 0x100000, /* a page for each round */
	ROUNDS = 2000,
	MANY = 2000000,
};

struct rig {
	struct gmem *mem;
	struct bus *bus;
	struct loop *loop; /* never runs: no timer is armed */
	struct clock *clock;
	struct engine *engine;
	unsigned n;
	struct vcpu *cpu[2];
};

static void no_timer(void *dev, unsigned cpu, enum vcpu_timer timer, bool level)
{
	(void)dev;
	(void)cpu;
	(void)timer;
	(void)level;
}

static void start(struct rig *r, unsigned n)
{
	static const struct vcpu_wiring wiring = { .timer_irq = no_timer };
	struct err err = ERR_INIT;

	r->n = n;
	assert_int_equal(gmem_create(&r->mem, &err), 0);
	assert_int_equal(gmem_add_ram(r->mem, RAM_BASE, RAM_SIZE, &err), 0);
	assert_int_equal(bus_create(&r->bus, &err), 0);
	assert_int_equal(loop_create(&r->loop, &err), 0);
	assert_int_equal(clock_create(&r->clock, r->loop, &err), 0);
	const struct engine_config config = {
		.mem = r->mem, .mmio = r->bus, .clock = r->clock, .n_vcpus = n
	};
	assert_int_equal(engine_soft.create(&r->engine, &config, &err), 0);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(engine_soft.vcpu_create(r->engine, i, &wiring, &r->cpu[i], &err),
				 0);
		engine_soft.vcpu_reset(r->cpu[i]);
	}
}

static void finish(struct rig *r)
{
	for (unsigned i = 0; i < r->n; i++)
		engine_soft.vcpu_destroy(r->cpu[i]);
	engine_soft.destroy(r->engine);
	clock_destroy(r->clock);
	loop_destroy(r->loop);
	bus_destroy(r->bus);
	gmem_destroy(r->mem);
}

static void set(struct rig *r, unsigned cpu, unsigned reg, uint64_t v)
{
	engine_soft.vcpu_set(r->cpu[cpu], reg, v);
}

static uint64_t get(struct rig *r, unsigned cpu, unsigned reg)
{
	return engine_soft.vcpu_get(r->cpu[cpu], reg);
}

static void load(struct rig *r, gpa_t at, const uint32_t *code, size_t size)
{
	assert_int_equal(gmem_write(r->mem, at, code, size), 0);
}

/* Run a vCPU from `pc` until it calls its firmware. */
static void run(struct rig *r, unsigned cpu, uint64_t pc)
{
	enum vcpu_exit exit;

	set(r, cpu, VCPU_REG_PC, pc);
	assert_int_equal(engine_soft.vcpu_run(r->cpu[cpu], &exit), 0);
	assert_int_equal(exit, VCPU_CALL);
}

/* ---- The host's stack ---- */

static const uint32_t pairs[] = {
	0xa9400440, /* ldp x0, x1, [x2] */
	0xa9010440, /* stp x0, x1, [x2, #16] */
	0xf1000463, /* subs x3, x3, #1 */
	0x54ffffa1, /* b.ne pairs */
	0xd4000002, /* hvc #0 */
};

/* With the MMU off nothing has a TLB tag: every access takes the slow path, however often. */
static void slow_paths_leave_no_frames(void **state)
{
	struct rig r;

	(void)state;
	start(&r, 1);
	load(&r, CODE, pairs, sizeof(pairs));
	set(&r, 0, 2, DATA);
	set(&r, 0, 3, MANY);
	run(&r, 0, CODE);
	assert_int_equal(get(&r, 0, 3), 0);
	finish(&r);
}

/* ---- Stores to the code that does them ---- */

static const uint32_t store_here[] = {
	0xb8004441, /* str w1, [x2], #4 */
	0xd4000002, /* hvc #0 */
};
static const uint32_t store_pair_here[] = {
	0x28811041, /* stp w1, w4, [x2], #8 */
	0xd4000002, /* hvc #0 */
};

static const uint32_t mov_w7_7 = 0x528000e7, hvc_0 = 0xd4000002;

/* A store onto itself, or onto the next instruction, completes: with its write-back, and what it
 * stored is what runs next. */
static void store_onto_itself(void **state)
{
	struct rig r;

	(void)state;
	start(&r, 1);
	for (unsigned ahead = 0; ahead <= 4; ahead += 4) {
		const uint32_t patch = ahead ? mov_w7_7 : hvc_0;
		/* what follows the patched place */
		load(&r, CODE, store_here, sizeof(store_here));
		load(&r, CODE + 8, &hvc_0, 4);
		set(&r, 0, 0, 0x1234);
		set(&r, 0, 1, patch);
		set(&r, 0, 2, CODE + ahead);
		set(&r, 0, 7, 0);
		run(&r, 0, CODE);
		assert_int_equal(get(&r, 0, 0), 0x1234);
		assert_int_equal(get(&r, 0, 2), CODE + ahead + 4);
		assert_int_equal(get(&r, 0, 7), ahead ? 7 : 0);
		assert_int_equal(get(&r, 0, VCPU_REG_PC), CODE + (ahead ? 12 : 8));
	}
	load(&r, CODE, store_pair_here, sizeof(store_pair_here));
	load(&r, CODE + 8, &hvc_0, 4);
	set(&r, 0, 0, 0x1234);
	set(&r, 0, 1, hvc_0);
	set(&r, 0, 4, mov_w7_7);
	set(&r, 0, 2, CODE);
	set(&r, 0, 7, 0);
	run(&r, 0, CODE);
	assert_int_equal(get(&r, 0, 0), 0x1234);
	assert_int_equal(get(&r, 0, 2), CODE + 8);
	assert_int_equal(get(&r, 0, 7), 7);
	finish(&r);
}

/* ---- Exits ---- */

static const uint32_t branch_here = 0x14000000; /* b . */

static void *kick_later(void *arg)
{
	struct rig *r = arg;
	const struct timespec a_while = { .tv_nsec = 20000000 };

	nanosleep(&a_while, NULL);
	engine_soft.vcpu_kick(r->cpu[0]);
	return NULL;
}

static void kick_ends_the_tightest_loop(void **state)
{
	struct rig r;
	pthread_t kicker;
	enum vcpu_exit exit;

	(void)state;
	start(&r, 1);
	load(&r, CODE, &branch_here, sizeof(branch_here));
	set(&r, 0, VCPU_REG_PC, CODE);
	assert_int_equal(pthread_create(&kicker, NULL, kick_later, &r), 0);
	assert_int_equal(engine_soft.vcpu_run(r.cpu[0], &exit), 0);
	assert_int_equal(exit, VCPU_KICKED);
	assert_int_equal(get(&r, 0, VCPU_REG_PC), CODE);
	pthread_join(kicker, NULL);
	finish(&r);
}

/* ---- Code that another vCPU patches ---- */

static const uint32_t mmu_on[] = {
	0xd518a20a, /* msr MAIR_EL1, x10 */
	0xd518204b, /* msr TCR_EL1, x11 */
	0xd518200c, /* msr TTBR0_EL1, x12 */
	0xd5033fdf, /* isb */
	0xd538100e, /* mrs x14, SCTLR_EL1 */
	0xb24001ce, /* orr x14, x14, #0x1 */
	0xd518100e, /* msr SCTLR_EL1, x14 */
	0xd5033fdf, /* isb */
};
static const uint32_t runner[] = {
	0x88dffea1, /* ldar w1, [x21] */
	0x6b18003f, /* cmp w1, w24 */
	0x54ffffc3, /* b.lo runner */
	0xd5033fdf, /* isb */
	0xd63f0280, /* blr x20 */
	0x88dfff21, /* ldar w1, [x25] */
	0x6b18003f, /* cmp w1, w24 */
	0x54ffffa3, /* b.lo runner+0x10 */
	0xd5033fdf, /* isb */
	0xd63f0280, /* blr x20 */
	0x7100041f, /* cmp w0, #1 */
	0x9a9706f7, /* cinc x23, x23, ne */
	0x889fff58, /* stlr w24, [x26] */
	0x91400694, /* add x20, x20, #1, lsl #12 */
	0x11000718, /* add w24, w24, #1 */
	0x6b16031f, /* cmp w24, w22 */
	0x54fffe09, /* b.ls runner */
	0xd4000002, /* hvc #0 */
};
static const uint32_t writer[] = {
	0xb9000282, /* str w2, [x20] */
	0xb9000683, /* str w3, [x20, #4] */
	0xd5033b9f, /* dsb ish */
	0x889ffeb8, /* stlr w24, [x21] */
	0x92401705, /* and x5, x24, #0x3f */
	0xb9004285, /* str w5, [x20, #64] */
	0xf10004a5, /* subs x5, x5, #1 */
	0x54ffffc5, /* b.pl writer+0x14 */
	0xb9000284, /* str w4, [x20] */
	0xd5033b9f, /* dsb ish */
	0x889fff38, /* stlr w24, [x25] */
	0x88dfff41, /* ldar w1, [x26] */
	0x6b18003f, /* cmp w1, w24 */
	0x54ffffc3, /* b.lo writer+0x2c */
	0x91400694, /* add x20, x20, #1, lsl #12 */
	0x11000718, /* add w24, w24, #1 */
	0x6b16031f, /* cmp w24, w22 */
	0x54fffde9, /* b.ls writer */
	0xd4000002, /* hvc #0 */
};

#define MOV_W0_0 0x52800000
#define MOV_W0_1 0x52800020
#define RET      0xd65f03c0

/* What mmu_on needs: RAM is where it is, as one block of normal memory. */
static void map_ram(struct rig *r)
{
	const uint64_t block = RAM_BASE | 1 << 10 | 3 << 8 | 1;

	assert_int_equal(gmem_write(r->mem, TABLE + 8, &block, 8), 0);
}

static void set_mmu(struct rig *r, unsigned cpu)
{
	set(r, cpu, 10, 0xff); /* write-back */
	set(r, cpu, 11, 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2ULL << 32);
	set(r, cpu, 12, TABLE);
}

struct cpu_run {
	struct rig *rig;
	unsigned cpu;
	uint64_t pc;
};

static void *run_thread(void *arg)
{
	struct cpu_run *c = arg;

	run(c->rig, c->cpu, c->pc);
	return NULL;
}

/*
 * In each round the writer makes a function in a new page, lets the runner call it, stores beside
 * it up to 64 times, so that the page may become data again, patches it, and says so after a DSB.
 * Once the runner knows, and has passed an ISB, it must get the new answer, however the two of them
 * and the decoding of the page met.
 */
static void patches_arrive(void **state)
{
	const uint32_t *const code[2] = { runner, writer };
	const size_t size[2] = { sizeof(runner), sizeof(writer) };

	(void)state;
	for (unsigned mmu = 0; mmu <= 1; mmu++) {
		struct rig r;
		struct cpu_run arg[2];
		pthread_t thread[2];

		start(&r, 2);
		map_ram(&r);
		for (unsigned i = 0; i < 2; i++) {
			const gpa_t at = CODE + i * 0x1000;
			load(&r, at, mmu_on, sizeof(mmu_on));
			load(&r, at + sizeof(mmu_on), code[i], size[i]);
			set_mmu(&r, i);
			set(&r, i, 2, MOV_W0_0);
			set(&r, i, 3, RET);
			set(&r, i, 4, MOV_W0_1);
			set(&r, i, 20, PATCHED);
			set(&r, i, 21, DATA);
			set(&r, i, 22, ROUNDS);
			set(&r, i, 23, 0);
			set(&r, i, 24, 1);
			set(&r, i, 25, DATA + 0x100);
			set(&r, i, 26, DATA + 0x200);
			arg[i] = (struct cpu_run){ &r, i, at + (mmu ? 0 : sizeof(mmu_on)) };
		}
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, run_thread, &arg[i]), 0);
		for (unsigned i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		assert_int_equal(get(&r, 0, 23), 0);
		finish(&r);
	}
}

/* ---- Code that becomes data ---- */

static const uint32_t call_and_store[] = {
	0xd63f0280, /* blr x20 */
	0xd2800c85, /* mov x5, #100 */
	0xb9004285, /* str w5, [x20, #64] */
	0xf10004a5, /* subs x5, x5, #1 */
	0x54ffffc1, /* b.ne 0x8 */
	0xd4000002, /* hvc #0 */
	0xb9000284, /* str w4, [x20] */
	0xd63f0280, /* blr x20 */
	0xd4000002, /* hvc #0 */
};

/* Many stores to a page take its flag away; what is decoded there later is new. */
static void code_becomes_data(void **state)
{
	const uint32_t function[] = { MOV_W0_0, RET };
	struct rig r;

	(void)state;
	start(&r, 1);
	map_ram(&r);
	load(&r, CODE, mmu_on, sizeof(mmu_on));
	load(&r, CODE + sizeof(mmu_on), call_and_store, sizeof(call_and_store));
	load(&r, PATCHED, function, sizeof(function));
	set_mmu(&r, 0);
	set(&r, 0, 0, 99);
	set(&r, 0, 4, MOV_W0_1);
	set(&r, 0, 20, PATCHED);
	run(&r, 0, CODE);
	assert_int_equal(get(&r, 0, 0), 0);
	const struct gmem_region *ram = gmem_find(r.mem, RAM_BASE);
	assert_int_equal(ram->flags[(PATCHED - RAM_BASE) / GMEM_PAGE_SIZE] & GMEM_PAGE_CODE, 0);
	assert_int_equal(ram->flags[(CODE - RAM_BASE) / GMEM_PAGE_SIZE] & GMEM_PAGE_CODE,
			 GMEM_PAGE_CODE);
	run(&r, 0, get(&r, 0, VCPU_REG_PC));
	assert_int_equal(get(&r, 0, 0), 1);
	finish(&r);
}

/* ---- Watched stores ---- */

static const struct between between[] = {
	{ 0xd503201f, false }, /* nop */
	{ 0xd5033bbf, true },  /* dmb ish */
	{ 0xd5033abf, true },  /* dmb ishst */
	{ 0xd50339bf, false }, /* dmb ishld */
	{ 0xd5033fbf, true },  /* dmb sy */
	{ 0xd50332bf, true },  /* dmb oshst */
	{ 0xd50337bf, false }, /* dmb nsh */
	{ 0xd50338bf, true },  /* dmb #8, which is SY */
	{ 0xd5033b9f, true },  /* dsb ish */
	{ 0xd5033a9f, true },  /* dsb ishst */
	{ 0xd503399f, false }, /* dsb ishld */
	{ 0xd503309f, false }, /* ssbb */
	{ 0xd503349f, false }, /* pssbb */
	{ 0xd5033fdf, false }, /* isb */
	{ 0x889ffcc4, true },  /* stlr w4, [x6] */
	{ 0x88dffcc4, false }, /* ldar w4, [x6] */
	{ 0x8807fcc4, true },  /* stlxr w7, w4, [x6] */
	{ 0x88077cc4, false }, /* stxr w7, w4, [x6] */
	{ 0xb86400c7, true },  /* ldaddl w4, w7, [x6] */
	{ 0xb8a400c7, false }, /* ldadda w4, w7, [x6] */
	{ 0xb86480c7, true },  /* swpl w4, w7, [x6] */
	{ 0x88a4fcc7, true },  /* casl w4, w7, [x6] */
	{ 0x88a47cc7, false }, /* cas w4, w7, [x6] */
};

static const uint32_t store = 0xb9000041 /* str w1, [x2] */,
		      store_wide = 0xf90000a1 /* str x1, [x5] */,
		      store_release = 0x889ffc41 /* stlr w1, [x2] */;

/* All is decoded, and the page has been stored to, before it is watched: both are forgotten. */
static void watched_stores(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(between); i++) {
		const uint32_t code[] = { store,      between[i].insn, store,
					  store_wide, store_release,   hvc_0 };
		struct told t = { .watch = { .gpa = DATA, .len = 4, .stored = tell } };
		const gpa_t at = CODE + sizeof(mmu_on);
		struct rig r;

		start(&r, 1);
		map_ram(&r);
		load(&r, CODE, mmu_on, sizeof(mmu_on));
		load(&r, at, code, sizeof(code));
		set_mmu(&r, 0);
		set(&r, 0, 2, DATA);
		set(&r, 0, 5, DATA - 2);
		set(&r, 0, 6, DATA + 0x100);
		run(&r, 0, CODE);
		assert_int_equal(gmem_watch(r.mem, &t.watch), 0);
		run(&r, 0, at);
		assert_int_equal(t.n, 4);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(t.of[k].cpu, 0);
		assert_true(t.of[0].gpa == DATA && t.of[0].len == 4);
		assert_true(t.of[0].pc == at && t.of[1].pc == at + 8);
		assert_true(t.of[0].nth != t.of[1].nth);
		check_apart(&t, &between[i]);
		/* The second half of one that crosses into the page; and a release is no longer
		 * together with what comes before it. */
		assert_true(t.of[2].gpa == DATA && t.of[2].len == 6 && t.of[2].pc == at + 12);
		assert_true(t.of[3].fences == t.of[2].fences + 1);
		gmem_unwatch(r.mem, &t.watch);
		run(&r, 0, at);
		assert_int_equal(t.n, 4);
		finish(&r);
	}
}

/* ---- The soft TLB ---- */

static void range_at_the_end(void **state)
{
	static struct tlb t;
	const uint64_t last = ~0xfffULL;

	(void)state;
	tlb_flush(&t);
	*tlb_d(&t, last) = (struct tlb_entry){ .r = last, .w = last, .block = 12 };
	tlb_added(&t, last, 12, false);
	tlb_flush_range(&t, last - 0x1000, 64);
	assert_true(tlb_d(&t, last)->r == TLB_NO_TAG);
	assert_true(tlb_d(&t, last)->w == TLB_NO_TAG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_paths_leave_no_frames),
		cmocka_unit_test(store_onto_itself),
		cmocka_unit_test(kick_ends_the_tightest_loop),
		cmocka_unit_test(patches_arrive),
		cmocka_unit_test(code_becomes_data),
		cmocka_unit_test(range_at_the_end),
		cmocka_unit_test(watched_stores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

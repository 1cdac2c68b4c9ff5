/* SPDX-License-Identifier: MIT */
/*
 * GICv3 as a driver sees it: identification, the set-up sequence of an operating system, level and
 * edge, SGIs, priorities and preemption, both ways of ending an interrupt, routing; and accesses
 * that no driver would make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/a64_sysreg.h"
#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "device/gicv3.h"

enum { N_CPUS = 4, NONE = 1023 };

#define DIST   0x08000000ULL
#define REDIST 0x080a0000ULL

enum {
	PMR = A64_SYSREG(3, 0, 4, 6, 0),
	IAR0 = A64_SYSREG(3, 0, 12, 8, 0),
	EOIR0 = A64_SYSREG(3, 0, 12, 8, 1),
	HPPIR0 = A64_SYSREG(3, 0, 12, 8, 2),
	BPR0 = A64_SYSREG(3, 0, 12, 8, 3),
	AP0R0 = A64_SYSREG(3, 0, 12, 8, 4),
	AP0R1 = A64_SYSREG(3, 0, 12, 8, 5),
	AP1R0 = A64_SYSREG(3, 0, 12, 9, 0),
	AP1R1 = A64_SYSREG(3, 0, 12, 9, 1),
	DIR = A64_SYSREG(3, 0, 12, 11, 1),
	RPR = A64_SYSREG(3, 0, 12, 11, 3),
	SGI1R = A64_SYSREG(3, 0, 12, 11, 5),
	ASGI1R = A64_SYSREG(3, 0, 12, 11, 6),
	SGI0R = A64_SYSREG(3, 0, 12, 11, 7),
	IAR1 = A64_SYSREG(3, 0, 12, 12, 0),
	EOIR1 = A64_SYSREG(3, 0, 12, 12, 1),
	HPPIR1 = A64_SYSREG(3, 0, 12, 12, 2),
	BPR1 = A64_SYSREG(3, 0, 12, 12, 3),
	CTLR = A64_SYSREG(3, 0, 12, 12, 4),
	SRE = A64_SYSREG(3, 0, 12, 12, 5),
	IGRPEN0 = A64_SYSREG(3, 0, 12, 12, 6),
	IGRPEN1 = A64_SYSREG(3, 0, 12, 12, 7),
};

enum { GROUP1 = 0x080, ENABLE = 0x100, DISABLE = 0x180, SET_PEND = 0x200, CLEAR_PEND = 0x280 };
enum { SET_ACTIVE = 0x300, CLEAR_ACTIVE = 0x380, PRIO = 0x400, CFG = 0xc00, ROUTER = 0x6000 };
enum { SGI = 0x10000 }; /* SGI_base in a redistributor */

struct fixture {
	struct bus *bus;
	struct gicv3 *gic;
	bool irq[N_CPUS], fiq[N_CPUS];
	unsigned changes;
};

static void cpu_irq(void *arg, unsigned cpu, bool fiq, bool level)
{
	struct fixture *f = arg;
	bool *input = fiq ? &f->fiq[cpu] : &f->irq[cpu];

	assert_true(cpu < N_CPUS);
	assert_true(*input != level); /* only changes are told */
	*input = level;
	f->changes++;
}

static uint64_t rd(struct fixture *f, uint64_t addr, unsigned size)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->bus, addr, size, &val), 0);
	return val;
}
static void wr(struct fixture *f, uint64_t addr, unsigned size, uint64_t val)
{
	assert_int_equal(bus_write(f->bus, addr, size, val), 0);
}
static uint32_t dist(struct fixture *f, uint64_t off)
{
	return (uint32_t)rd(f, DIST + off, 4);
}
static void dist_set(struct fixture *f, uint64_t off, uint32_t val)
{
	wr(f, DIST + off, 4, val);
}
static uint64_t redist(unsigned cpu)
{
	return REDIST + (uint64_t)cpu * GICV3_REDIST_SIZE;
}
static uint64_t icc(struct fixture *f, unsigned cpu, uint32_t reg)
{
	uint64_t val = 0;

	assert_int_equal(gicv3_icc_read(f->gic, cpu, reg, &val), 0);
	return val;
}
static void icc_set(struct fixture *f, unsigned cpu, uint32_t reg, uint64_t val)
{
	assert_int_equal(gicv3_icc_write(f->gic, cpu, reg, val), 0);
}

/* Set a line of the distributor or, below INTID 32, of CPU 0. */
static void line(struct fixture *f, unsigned intid, bool level)
{
	if (intid >= 32) {
		struct irq_line l = gicv3_spi(f->gic, intid - 32);

		irq_set(&l, level);
	} else {
		gicv3_ppi(f->gic, 0, intid, level);
	}
}
/* One bit of a register with a bit per INTID. */
static void bit_set(struct fixture *f, unsigned reg, unsigned intid)
{
	uint64_t frame = intid < 32 ? redist(0) + SGI : DIST;

	wr(f, frame + reg + intid / 32 * 4, 4, 1u << intid % 32);
}
static unsigned bit_get(struct fixture *f, unsigned reg, unsigned intid)
{
	uint64_t frame = intid < 32 ? redist(0) + SGI : DIST;

	return (unsigned)(rd(f, frame + reg + intid / 32 * 4, 4) >> intid % 32 & 1);
}
static void prio_set(struct fixture *f, unsigned intid, unsigned prio)
{
	wr(f, (intid < 32 ? redist(0) + SGI : DIST) + PRIO + intid, 1, prio);
}
static void edge_set(struct fixture *f, unsigned intid, bool edge)
{
	uint64_t addr = (intid < 32 ? redist(0) + SGI : DIST) + CFG + intid / 16 * 4;
	uint32_t mask = 2u << intid % 16 * 2, val = (uint32_t)rd(f, addr, 4);

	wr(f, addr, 4, edge ? val | mask : val & ~mask);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;

	assert_non_null(f);
	assert_int_equal(bus_create(&f->bus, &err), 0);
	assert_int_equal(gicv3_create(&f->gic,
				      &(struct gicv3_config){ .bus = f->bus,
							      .dist_base = DIST,
							      .redist_base = REDIST,
							      .n_cpus = N_CPUS,
							      .cpu_irq = cpu_irq,
							      .arg = f },
				      &err),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gicv3_destroy(f->gic);
	bus_destroy(f->bus);
	free(f);
	return 0;
}

/* Bring the GIC up in the order in which Linux does, all in group 1 at priority 0xa0. */
static void driver_init(struct fixture *f)
{
	unsigned lines = (dist(f, 4) % 32 + 1) * 32;

	dist_set(f, 0, 0);
	assert_false(dist(f, 0) >> 31); /* RWP */
	for (unsigned i = 32; i < lines; i += 32) {
		dist_set(f, GROUP1 + i / 8, ~0u);
		dist_set(f, CLEAR_ACTIVE + i / 8, ~0u);
		dist_set(f, DISABLE + i / 8, ~0u);
	}
	for (unsigned i = 32; i < lines; i += 16)
		dist_set(f, CFG + i / 4, 0);
	for (unsigned i = 32; i < lines; i += 4)
		dist_set(f, PRIO + i, 0xa0a0a0a0);
	dist_set(f, 0, 1 << 4 | 1 << 1 | 1 << 0);
	for (unsigned i = 32; i < lines; i++)
		wr(f, DIST + ROUTER + 8 * i, 8, 0);

	for (unsigned n = 0; n < N_CPUS; n++) {
		uint64_t r = redist(n);
		uint64_t pmr;

		wr(f, r + 0x14, 4, rd(f, r + 0x14, 4) & ~2ULL); /* WAKER.ProcessorSleep */
		assert_int_equal(rd(f, r + 0x14, 4) & 4, 0);    /* ChildrenAsleep */
		wr(f, r + SGI + GROUP1, 4, ~0u);
		wr(f, r + SGI + CLEAR_ACTIVE, 4, ~0u);
		wr(f, r + SGI + DISABLE, 4, 0xffff0000);
		wr(f, r + SGI + ENABLE, 4, 0xffff);
		for (unsigned i = 0; i < 32; i += 4)
			wr(f, r + SGI + PRIO + i, 4, 0xa0a0a0a0);
		assert_int_equal(rd(f, r, 4) & 8, 0); /* RWP */

		assert_int_equal(icc(f, n, SRE) & 1, 1);
		/* Is there group 0? Then the lowest implemented bit of PMR sticks. */
		pmr = icc(f, n, PMR);
		icc_set(f, n, PMR, 1 << 3);
		assert_int_equal(icc(f, n, PMR), 1 << 3);
		icc_set(f, n, PMR, pmr);
		icc_set(f, n, PMR, 0xf0);
		icc_set(f, n, BPR1, 0);
		icc_set(f, n, CTLR, 0);
		icc_set(f, n, AP0R0, 0);
		icc_set(f, n, AP1R0, 0);
		icc_set(f, n, IGRPEN1, 1);
	}
}

static int setup_driver(void **state)
{
	setup(state);
	driver_init(*state);
	return 0;
}

/*
 * Identification and reset values.
 */

static void identification(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dist(f, 0), 1 << 4 | 1 << 6);   /* CTLR: ARE, DS */
	assert_int_equal(dist(f, 4) % 32, 288 / 32 - 1); /* TYPER.ITLinesNumber */
	assert_int_equal(dist(f, 4) >> 19 & 31, 9);      /* TYPER.IDbits */
	assert_int_equal(dist(f, 4) >> 17 & 1, 0);       /* LPIS */
	assert_int_equal(dist(f, 8) & 0xfff, 0x43b);     /* IIDR: Arm */
	assert_int_equal(dist(f, 0xffe8), 0x3b);         /* PIDR2 */
	assert_int_equal(dist(f, 0xfff0), 0x0d);
	for (unsigned n = 0; n < N_CPUS; n++) {
		uint64_t r = redist(n), typer = rd(f, r + 8, 8);

		assert_int_equal(typer >> 32, n); /* affinity 0.0.0.n */
		assert_int_equal(typer >> 8 & 0xffff, n);
		assert_int_equal(typer >> 4 & 1, n == N_CPUS - 1); /* Last */
		assert_int_equal(typer & 1, 0);                    /* PLPIS */
		assert_int_equal(rd(f, r + 8, 4), (uint32_t)typer);
		assert_int_equal(rd(f, r + 12, 4), typer >> 32);
		assert_int_equal(rd(f, r + 0x14, 4), 6);
		assert_int_equal(rd(f, r + 0xffe8, 4), 0x3b);
		assert_int_equal(rd(f, r + SGI + 0xffe8, 4), 0x3b);
		assert_int_equal(icc(f, n, SRE), 7);
		assert_int_equal(icc(f, n, CTLR) >> 8 & 7, 4); /* PRIbits */
		assert_int_equal(icc(f, n, RPR), 0xff);
		assert_int_equal(icc(f, n, PMR), 0);
		assert_int_equal(icc(f, n, BPR0), 2);
		assert_int_equal(icc(f, n, BPR1), 3);
		assert_int_equal(icc(f, n, IAR0), NONE);
		assert_int_equal(icc(f, n, IAR1), NONE);
		assert_int_equal(icc(f, n, HPPIR0), NONE);
		assert_int_equal(icc(f, n, HPPIR1), NONE);
	}
}

static void undefined_registers(void **state)
{
	struct fixture *f = *state;
	const uint32_t write_only[] = { EOIR0, EOIR1, DIR, SGI0R, SGI1R, ASGI1R };
	const uint32_t read_only[] = { IAR0, IAR1, HPPIR0, HPPIR1, RPR };
	const uint32_t absent[] = { AP0R1, AP1R1, 0, 0xffff, A64_SYSREG(3, 4, 12, 9, 5) };
	uint64_t val;

	for (size_t i = 0; i < ARRAY_SIZE(write_only); i++)
		assert_int_equal(gicv3_icc_read(f->gic, 0, write_only[i], &val), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(read_only); i++)
		assert_int_equal(gicv3_icc_write(f->gic, 0, read_only[i], 0), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		assert_int_equal(gicv3_icc_read(f->gic, 0, absent[i], &val), -ENOENT);
		assert_int_equal(gicv3_icc_write(f->gic, 0, absent[i], 0), -ENOENT);
	}
	assert_int_equal(gicv3_icc_read(f->gic, N_CPUS, PMR, &val), -ENOENT);
	assert_int_equal(gicv3_icc_write(f->gic, N_CPUS, PMR, 0), -ENOENT);
	icc_set(f, 0, SRE, 0);
	assert_int_equal(icc(f, 0, SRE), 7);
}

static void create_checks(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct gicv3_config config = { .bus = f->bus, .cpu_irq = cpu_irq, .arg = f };
	struct gicv3 *gic;

	for (unsigned i = 0; i < 2; i++) {
		config.n_cpus = i ? 17 : 0;
		assert_int_equal(gicv3_create(&gic, &config, &err), -EINVAL);
	}
	config.n_cpus = 1; /* where the other one is; then only its redistributors */
	config.dist_base = DIST;
	assert_int_equal(gicv3_create(&gic, &config, NULL), -EEXIST);
	config.dist_base = 0;
	config.redist_base = REDIST;
	assert_int_equal(gicv3_create(&gic, &config, NULL), -EEXIST);
	config.redist_base = GICV3_DIST_SIZE;
	assert_int_equal(gicv3_create(&gic, &config, NULL), 0);
	gicv3_destroy(gic);
	gicv3_destroy(NULL);
}

static void register_masks(void **state)
{
	struct fixture *f = *state;

	wr(f, DIST + PRIO + 33, 1, 0xff);
	assert_int_equal(dist(f, PRIO + 32), 0xf800);
	assert_int_equal(rd(f, DIST + PRIO + 33, 1), 0xf8);
	wr(f, DIST + ROUTER + 8 * 32, 8, ~0ULL);
	assert_int_equal(rd(f, DIST + ROUTER + 8 * 32, 8), 0xff80ffffffULL);
	wr(f, DIST + ROUTER + 8 * 32, 4, 2);
	assert_int_equal(rd(f, DIST + ROUTER + 8 * 32, 8), 0xff00000002ULL);
	wr(f, DIST + ROUTER + 8 * 32 + 4, 4, 0);
	assert_int_equal(rd(f, DIST + ROUTER + 8 * 32, 8), 2);
	assert_int_equal(rd(f, DIST + ROUTER + 8 * 32, 4), 2);
	/* INTIDs below 32 are not the distributor's. */
	dist_set(f, ENABLE, ~0u);
	dist_set(f, PRIO, ~0u);
	assert_int_equal(dist(f, ENABLE), 0);
	assert_int_equal(dist(f, PRIO), 0);
	assert_int_equal(rd(f, redist(0) + SGI + ENABLE, 4), 0);
	/* The last SPI is there, the one behind it is not. */
	bit_set(f, ENABLE, 287);
	dist_set(f, ENABLE + 36, ~0u);
	assert_int_equal(dist(f, ENABLE + 32), 0x80000000);
	assert_int_equal(dist(f, ENABLE + 36), 0);
	assert_int_equal(dist(f, DISABLE + 32), 0x80000000);
	bit_set(f, DISABLE, 287);
	assert_int_equal(dist(f, ENABLE + 32), 0);
	/* Of ICFGR only the upper bit of each pair is there; SGIs are always edge-triggered. */
	dist_set(f, CFG + 8, ~0u);
	assert_int_equal(dist(f, CFG + 8), 0xaaaaaaaa);
	wr(f, redist(0) + SGI + CFG, 4, 0);
	assert_int_equal(rd(f, redist(0) + SGI + CFG, 4), 0xaaaaaaaa);
	wr(f, redist(0) + SGI + CFG + 4, 4, 0x80000000);
	assert_int_equal(rd(f, redist(0) + SGI + CFG + 4, 4), 0x80000000);
	/* Widths that a register does not have. */
	wr(f, DIST + ENABLE + 4, 1, 0xff);
	wr(f, DIST + ENABLE + 4, 2, 0xffff);
	wr(f, DIST + ENABLE + 8, 8, ~0ULL);
	assert_int_equal(dist(f, ENABLE + 4), 0);
	assert_int_equal(rd(f, DIST + 4, 1), 0);
	/* Without function with one Security state and affinity routing. */
	dist_set(f, 0xd04, ~0u);
	dist_set(f, 0xe08, ~0u);
	dist_set(f, 0x820, ~0u);
	dist_set(f, 0xf00, ~0u);
	assert_int_equal(dist(f, 0xd04) | dist(f, 0xe08) | dist(f, 0x820) | dist(f, 0xf00), 0);
	/* CPU interface. */
	icc_set(f, 0, PMR, ~0ULL);
	assert_int_equal(icc(f, 0, PMR), 0xf8);
	icc_set(f, 0, BPR0, 0);
	assert_int_equal(icc(f, 0, BPR0), 2);
	icc_set(f, 0, BPR1, 0);
	assert_int_equal(icc(f, 0, BPR1), 3);
	icc_set(f, 0, CTLR, ~0ULL);
	assert_int_equal(icc(f, 0, CTLR) & 0x7f, 3);
	assert_int_equal(icc(f, 0, BPR1), 3); /* CBPR: BPR0 + 1 */
	icc_set(f, 0, BPR0, 7);
	assert_int_equal(icc(f, 0, BPR1), 7);
	icc_set(f, 0, BPR1, 5); /* ignored */
	icc_set(f, 0, CTLR, 0);
	assert_int_equal(icc(f, 0, BPR1), 3);
}

/*
 * Delivery.
 */

static void level_spi(void **state)
{
	struct fixture *f = *state;
	const unsigned i = 33;

	line(f, i, true);
	assert_false(f->irq[0]); /* not enabled */
	assert_int_equal(bit_get(f, SET_PEND, i), 1);
	bit_set(f, ENABLE, i);
	assert_true(f->irq[0]);
	assert_false(f->irq[1]);
	assert_int_equal(icc(f, 0, HPPIR1), i);
	assert_int_equal(icc(f, 0, HPPIR0), NONE);
	assert_int_equal(icc(f, 0, IAR0), NONE);
	assert_int_equal(icc(f, 1, IAR1), NONE);
	assert_int_equal(icc(f, 0, IAR1), i);
	assert_false(f->irq[0]);
	assert_int_equal(icc(f, 0, RPR), 0xa0);
	assert_int_equal(icc(f, 0, IAR1), NONE);
	/* Active and pending, as the line is still high. */
	assert_int_equal(bit_get(f, SET_PEND, i), 1);
	assert_int_equal(bit_get(f, SET_ACTIVE, i), 1);
	icc_set(f, 0, EOIR1, i);
	assert_true(f->irq[0]); /* fires again */
	assert_int_equal(icc(f, 0, IAR1), i);
	line(f, i, false);
	assert_int_equal(bit_get(f, SET_PEND, i), 0);
	icc_set(f, 0, EOIR1, i);
	assert_false(f->irq[0]);
	assert_int_equal(icc(f, 0, RPR), 0xff);
	assert_int_equal(bit_get(f, SET_ACTIVE, i), 0);
	/* Gone before it was acknowledged: spurious. */
	line(f, i, true);
	assert_true(f->irq[0]);
	line(f, i, false);
	assert_false(f->irq[0]);
	assert_int_equal(icc(f, 0, IAR1), NONE);
	icc_set(f, 0, EOIR1, NONE); /* ignored */
}

static void level_software_pending(void **state)
{
	struct fixture *f = *state;
	const unsigned i = 40;

	bit_set(f, ENABLE, i);
	bit_set(f, SET_PEND, i);
	assert_true(f->irq[0]);
	/* ICPENDR undoes ISPENDR, but not the line. */
	line(f, i, true);
	bit_set(f, CLEAR_PEND, i);
	assert_true(f->irq[0]);
	line(f, i, false);
	assert_false(f->irq[0]);
	/* Acknowledging undoes ISPENDR as well. */
	bit_set(f, SET_PEND, i);
	assert_int_equal(icc(f, 0, IAR1), i);
	assert_int_equal(bit_get(f, SET_PEND, i), 0);
	icc_set(f, 0, EOIR1, i);
	assert_false(f->irq[0]);
}

static void edge_spi(void **state)
{
	struct fixture *f = *state;
	const unsigned i = 287;

	edge_set(f, i, true);
	bit_set(f, ENABLE, i);
	line(f, i, true);
	line(f, i, false);
	assert_true(f->irq[0]); /* remembered */
	assert_int_equal(icc(f, 0, IAR1), i);
	assert_int_equal(bit_get(f, SET_PEND, i), 0);
	/* An edge while active makes it active and pending: it comes once more. */
	line(f, i, true);
	line(f, i, true);
	assert_int_equal(bit_get(f, SET_PEND, i), 1);
	assert_false(f->irq[0]);
	icc_set(f, 0, EOIR1, i);
	assert_true(f->irq[0]);
	assert_int_equal(icc(f, 0, IAR1), i);
	icc_set(f, 0, EOIR1, i);
	assert_false(f->irq[0]); /* the line being high means nothing */
	line(f, i, false);
	line(f, i, true);
	assert_true(f->irq[0]);
	bit_set(f, CLEAR_PEND, i);
	assert_false(f->irq[0]);
}

static void ppi(void **state)
{
	struct fixture *f = *state;

	wr(f, redist(2) + SGI + ENABLE, 4, 1u << 27);
	gicv3_ppi(f->gic, 0, 27, true); /* of another CPU, where it is not enabled */
	gicv3_ppi(f->gic, 2, 27, true);
	assert_false(f->irq[0]);
	assert_true(f->irq[2]);
	assert_int_equal(icc(f, 2, IAR1), 27);
	assert_int_equal(rd(f, redist(2) + SGI + SET_ACTIVE, 4), 1u << 27);
	assert_int_equal(rd(f, redist(0) + SGI + SET_ACTIVE, 4), 0);
	gicv3_ppi(f->gic, 2, 27, false);
	icc_set(f, 2, EOIR1, 27);
	assert_false(f->irq[2]);
	/* Not PPIs, not CPUs. */
	gicv3_ppi(f->gic, 2, 3, true);
	gicv3_ppi(f->gic, 2, 32, true);
	gicv3_ppi(f->gic, N_CPUS, 27, true);
	assert_int_equal(rd(f, redist(2) + SGI + SET_PEND, 4), 0);
	line(f, 32 + GICV3_N_SPIS, true);
}

static void sgis(void **state)
{
	struct fixture *f = *state;
	const uint64_t intid5 = 5ULL << 24, irm = BIT(40);

	icc_set(f, 0, SGI1R, intid5 | 0x6); /* to CPUs 1 and 2 */
	assert_false(f->irq[0] || f->irq[3]);
	for (unsigned n = 1; n <= 2; n++) {
		assert_true(f->irq[n]);
		assert_int_equal(icc(f, n, IAR1), 5);
		assert_false(f->irq[n]);
	}
	/* Again, while active: comes after its end. */
	icc_set(f, 0, SGI1R, intid5 | 0x2);
	assert_false(f->irq[1]);
	icc_set(f, 2, EOIR1, 5);
	icc_set(f, 1, EOIR1, 5);
	assert_false(f->irq[2]);
	assert_true(f->irq[1]);
	assert_int_equal(icc(f, 1, IAR1), 5);
	icc_set(f, 1, EOIR1, 5);

	icc_set(f, 3, SGI1R, irm | 7 << 24); /* to all others */
	assert_true(f->irq[0] && f->irq[1] && f->irq[2]);
	assert_false(f->irq[3]);
	for (unsigned n = 0; n < 3; n++) {
		assert_int_equal(icc(f, n, IAR1), 7);
		icc_set(f, n, EOIR1, 7);
	}
	icc_set(f, 1, SGI1R, 0x2); /* to itself */
	assert_int_equal(icc(f, 1, IAR1), 0);
	icc_set(f, 1, EOIR1, 0);

	/* Nobody there: other affinities, CPUs that are not, the other group. */
	f->changes = 0;
	icc_set(f, 0, SGI1R, 1ULL << 16 | 0xffff);
	icc_set(f, 0, SGI1R, 1ULL << 32 | 0xffff);
	icc_set(f, 0, SGI1R, 1ULL << 48 | 0xffff);
	icc_set(f, 0, SGI1R, 1ULL << 44 | 0xffff);
	icc_set(f, 0, SGI1R, 0xfff0);
	icc_set(f, 0, SGI0R, 0xffff);
	icc_set(f, 0, ASGI1R, 0xffff);
	assert_int_equal(f->changes, 0);
}

static void group0_is_fiq(void **state)
{
	struct fixture *f = *state;

	icc_set(f, 1, IGRPEN0, 1);
	wr(f, redist(1) + SGI + GROUP1, 4, ~0xcu); /* SGIs 2 and 3 into group 0 */
	icc_set(f, 0, SGI1R, 2 << 24 | 0x2);
	assert_false(f->irq[1] || f->fiq[1]); /* not a group 1 SGI there */
	icc_set(f, 0, SGI0R, 2 << 24 | 0x2);
	assert_true(f->fiq[1]);
	assert_false(f->irq[1]);
	assert_int_equal(icc(f, 1, IAR1), NONE);
	assert_int_equal(icc(f, 1, HPPIR1), NONE);
	assert_int_equal(icc(f, 1, HPPIR0), 2);
	assert_int_equal(icc(f, 1, IAR0), 2);
	assert_int_equal(icc(f, 1, AP0R0), 1u << (0xa0 >> 3));
	assert_int_equal(icc(f, 1, AP1R0), 0);
	icc_set(f, 1, EOIR0, 2);
	assert_int_equal(icc(f, 1, AP0R0), 0);
	icc_set(f, 0, ASGI1R, 3 << 24 | 0x2);
	assert_int_equal(icc(f, 1, IAR0), 3);
	icc_set(f, 1, EOIR0, 3);

	/* The higher priority of both groups is signalled, the other waits. */
	wr(f, redist(1) + SGI + PRIO + 2, 1, 0x40);
	icc_set(f, 0, SGI1R, 9 << 24 | 0x2);
	assert_true(f->irq[1]);
	icc_set(f, 0, SGI0R, 2 << 24 | 0x2);
	assert_true(f->fiq[1]);
	assert_false(f->irq[1]);
	assert_int_equal(icc(f, 1, IAR1), NONE);
	assert_int_equal(icc(f, 1, IAR0), 2);
	icc_set(f, 1, EOIR0, 2);
	assert_true(f->irq[1]);
	/* GICD_CTLR.EnableGrp1 */
	dist_set(f, 0, 1);
	assert_false(f->irq[1]);
	dist_set(f, 0, 2);
	assert_true(f->irq[1]);
	/* ICC_IGRPEN1 */
	icc_set(f, 1, IGRPEN1, 0);
	assert_false(f->irq[1]);
	assert_int_equal(icc(f, 1, HPPIR1), NONE);
	icc_set(f, 1, IGRPEN1, 1);
	assert_int_equal(icc(f, 1, IAR1), 9);
}

static void priorities_and_preemption(void **state)
{
	struct fixture *f = *state;

	prio_set(f, 50, 0x80);
	prio_set(f, 60, 0x40);
	prio_set(f, 61, 0x40);
	prio_set(f, 70, 0xa0);
	for (unsigned i = 50; i <= 70; i++)
		bit_set(f, ENABLE, i);
	line(f, 70, true);
	line(f, 50, true);
	assert_int_equal(icc(f, 0, IAR1), 50);
	assert_false(f->irq[0]); /* 70 does not preempt */
	line(f, 61, true);
	assert_true(f->irq[0]);
	line(f, 60, true);
	assert_int_equal(icc(f, 0, HPPIR1), 60); /* equals: the lowest INTID */
	assert_int_equal(icc(f, 0, IAR1), 60);
	assert_int_equal(icc(f, 0, RPR), 0x40);
	assert_int_equal(icc(f, 0, AP1R0), 1u << (0x40 >> 3) | 1u << (0x80 >> 3));
	assert_false(f->irq[0]); /* 61 neither */
	line(f, 60, false);
	icc_set(f, 0, EOIR1, 60);
	assert_int_equal(icc(f, 0, RPR), 0x80);
	assert_int_equal(icc(f, 0, IAR1), 61);
	line(f, 61, false);
	icc_set(f, 0, EOIR1, 61);
	line(f, 50, false);
	icc_set(f, 0, EOIR1, 50);
	assert_int_equal(icc(f, 0, RPR), 0xff);
	assert_int_equal(icc(f, 0, IAR1), 70);
	line(f, 70, false);
	icc_set(f, 0, EOIR1, 70);

	/* BPR1 = 7: one group of 0x00..0x7f, one of the rest; within a group nothing preempts. */
	icc_set(f, 0, BPR1, 7);
	line(f, 70, true);
	assert_int_equal(icc(f, 0, IAR1), 70);
	assert_int_equal(icc(f, 0, RPR), 0x80);
	line(f, 50, true);
	assert_false(f->irq[0]);
	line(f, 60, true);
	assert_true(f->irq[0]);
	assert_int_equal(icc(f, 0, IAR1), 60);
	assert_int_equal(icc(f, 0, RPR), 0);
	/* CBPR: the same by BPR0 = 6. */
	icc_set(f, 0, EOIR1, 60);
	icc_set(f, 0, BPR1, 3);
	icc_set(f, 0, BPR0, 7);
	assert_true(f->irq[0]);
	icc_set(f, 0, CTLR, 1);
	assert_false(f->irq[0]); /* BPR0 = 7: no preemption at all */
	icc_set(f, 0, BPR0, 6);
	assert_true(f->irq[0]);
}

static void priority_mask(void **state)
{
	struct fixture *f = *state;

	bit_set(f, ENABLE, 34);
	line(f, 34, true);
	assert_true(f->irq[0]);
	icc_set(f, 0, PMR, 0xa0); /* equal is masked */
	assert_false(f->irq[0]);
	assert_int_equal(icc(f, 0, IAR1), NONE);
	assert_int_equal(icc(f, 0, HPPIR1), 34); /* pending all the same */
	icc_set(f, 0, PMR, 0xa8);
	assert_true(f->irq[0]);
	icc_set(f, 0, PMR, 0);
	prio_set(f, 34, 0);
	assert_false(f->irq[0]);
	icc_set(f, 0, PMR, 8);
	assert_true(f->irq[0]);
	/* The lowest priority can never get through. */
	prio_set(f, 34, 0xff);
	icc_set(f, 0, PMR, 0xff);
	assert_false(f->irq[0]);
}

static void split_end(void **state)
{
	struct fixture *f = *state;

	bit_set(f, ENABLE, 34);
	bit_set(f, ENABLE, 35);
	line(f, 34, true);
	assert_int_equal(icc(f, 0, IAR1), 34);
	icc_set(f, 0, DIR, 34); /* ignored: EOImode = 0 */
	assert_int_equal(bit_get(f, SET_ACTIVE, 34), 1);
	icc_set(f, 0, CTLR, 2);
	icc_set(f, 0, EOIR1, 34); /* drops the priority only */
	assert_int_equal(icc(f, 0, RPR), 0xff);
	assert_int_equal(bit_get(f, SET_ACTIVE, 34), 1);
	assert_false(f->irq[0]);
	line(f, 35, true); /* others of the same priority get through meanwhile */
	assert_int_equal(icc(f, 0, IAR1), 35);
	icc_set(f, 0, EOIR1, 35);
	icc_set(f, 1, CTLR, 2);
	icc_set(f, 1, DIR, 34); /* by another CPU, as a thread would */
	assert_true(f->irq[0]);
	icc_set(f, 0, DIR, 1023);
	icc_set(f, 0, DIR, 0xffffff);
	icc_set(f, 0, EOIR1, 0xffffff);
	assert_int_equal(icc(f, 0, IAR1), 34);
	icc_set(f, 0, EOIR1, 300); /* no such INTID */
	assert_int_equal(icc(f, 0, RPR), 0xa0);
	icc_set(f, 0, EOIR0, 34); /* not what is running */
	assert_int_equal(icc(f, 0, RPR), 0xa0);
}

static void active_by_register(void **state)
{
	struct fixture *f = *state;

	bit_set(f, ENABLE, 34);
	bit_set(f, SET_ACTIVE, 34);
	line(f, 34, true);
	assert_false(f->irq[0]);
	bit_set(f, CLEAR_ACTIVE, 34);
	assert_true(f->irq[0]);
	bit_set(f, DISABLE, 34);
	assert_false(f->irq[0]);
	bit_set(f, ENABLE, 34);
	/* Active priorities left behind by somebody hold it back. */
	icc_set(f, 0, AP1R0, 1);
	assert_int_equal(icc(f, 0, RPR), 0);
	assert_false(f->irq[0]);
	icc_set(f, 0, AP1R0, 0);
	assert_true(f->irq[0]);
}

static void routing(void **state)
{
	struct fixture *f = *state;
	const uint64_t router = DIST + ROUTER + 8 * 42;

	bit_set(f, ENABLE, 42);
	line(f, 42, true);
	for (unsigned n = 0; n < N_CPUS; n++) {
		wr(f, router, 8, n);
		for (unsigned k = 0; k < N_CPUS; k++)
			assert_int_equal(f->irq[k], k == n);
	}
	wr(f, router, 8, N_CPUS); /* nobody */
	for (unsigned n = 0; n < N_CPUS; n++)
		assert_false(f->irq[n]);
	wr(f, router, 8, 0x100); /* 0.0.1.0: nobody */
	assert_false(f->irq[0]);
	wr(f, router, 8, BIT(32)); /* 1.0.0.0 */
	assert_false(f->irq[0]);
	/* 1 of N: one that takes it. */
	wr(f, router, 8, BIT(31));
	assert_true(f->irq[0]);
	icc_set(f, 0, IGRPEN1, 0);
	assert_false(f->irq[0]);
	assert_true(f->irq[1]);
	wr(f, redist(1) + 0x14, 4, 2); /* goes to sleep */
	assert_int_equal(rd(f, redist(1) + 0x14, 4), 6);
	assert_false(f->irq[1]);
	assert_true(f->irq[2]);
	assert_int_equal(icc(f, 2, IAR1), 42);
	wr(f, router, 8, 3); /* moved while active: comes at its new place after its end */
	assert_false(f->irq[3]);
	icc_set(f, 2, EOIR1, 42);
	assert_true(f->irq[3]);
	/* 1 of N goes by the group. */
	wr(f, router, 8, BIT(31));
	icc_set(f, 3, IGRPEN0, 1);
	dist_set(f, 0, 3);
	assert_true(f->irq[2]);
	dist_set(f, GROUP1 + 4, ~(1u << (42 - 32)));
	assert_false(f->irq[2]);
	assert_true(f->fiq[3]);
}

static void asleep(void **state)
{
	struct fixture *f = *state;

	gicv3_ppi(f->gic, 0, 30, true);
	wr(f, redist(0) + SGI + ENABLE, 4, 1u << 30);
	assert_true(f->irq[0]);
	wr(f, redist(0) + 0x14, 4, 2);
	assert_false(f->irq[0]);
	wr(f, redist(0) + 0x14, 4, 0);
	assert_true(f->irq[0]);
}

static void any_enabled(void **state)
{
	struct fixture *f = *state;

	assert_false(gicv3_any_enabled(f->gic));
	bit_set(f, ENABLE, 30); /* private: devices cannot raise it */
	assert_false(gicv3_any_enabled(f->gic));
	bit_set(f, ENABLE, 100);
	assert_true(gicv3_any_enabled(f->gic));
	icc_set(f, 0, PMR, 0);
	assert_false(gicv3_any_enabled(f->gic));
	icc_set(f, 0, PMR, 0xf0);
	wr(f, DIST + ROUTER + 800, 8, 9);
	assert_false(gicv3_any_enabled(f->gic));
	wr(f, DIST + ROUTER + 800, 8, 1);
	assert_true(gicv3_any_enabled(f->gic));
	icc_set(f, 1, IGRPEN1, 0);
	assert_false(gicv3_any_enabled(f->gic));
	icc_set(f, 1, IGRPEN1, 1);
	dist_set(f, 0, 1);
	assert_false(gicv3_any_enabled(f->gic));
	dist_set(f, 0, 2);
	line(f, 100, true);
	assert_int_equal(icc(f, 1, IAR1), 100);
	assert_false(gicv3_any_enabled(f->gic)); /* active: cannot come again */
}

static void reset(void **state)
{
	struct fixture *f = *state;

	line(f, 33, true);
	bit_set(f, ENABLE, 33);
	wr(f, DIST + ROUTER + 8 * 34, 8, 3);
	assert_true(f->irq[0]);
	gicv3_reset(f->gic);
	assert_false(f->irq[0]);
	identification(state);
	assert_int_equal(dist(f, ENABLE + 4), 0);
	assert_int_equal(rd(f, DIST + ROUTER + 8 * 34, 8), 0);
	/* The line is the device's and stays. */
	assert_int_equal(dist(f, SET_PEND + 4), 2);
	driver_init(f);
	bit_set(f, ENABLE, 33);
	assert_true(f->irq[0]);
}

/*
 * Hostile.
 */

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* What always holds: an input is up if and only if there is something to acknowledge. */
static void check_inputs(struct fixture *f)
{
	for (unsigned n = 0; n < N_CPUS; n++) {
		assert_false(f->irq[n] && f->fiq[n]);
		if (f->irq[n])
			assert_in_range(icc(f, n, HPPIR1), 0, 287);
		if (f->fiq[n])
			assert_in_range(icc(f, n, HPPIR0), 0, 287);
		if (!f->irq[n])
			assert_int_equal(icc(f, n, IAR1), NONE);
	}
}

static void every_offset(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 1;

	for (unsigned size = 1; size <= 8; size *= 2) {
		for (uint64_t off = 0; off < GICV3_DIST_SIZE; off += size) {
			wr(f, DIST + off, size, random_next(&seed));
			rd(f, DIST + off, size);
		}
		for (uint64_t off = 0; off < 2 * GICV3_REDIST_SIZE; off += size) {
			wr(f, REDIST + off, size, random_next(&seed));
			rd(f, REDIST + off, size);
		}
		check_inputs(f);
	}
}

static void random_accesses(void **state)
{
	static const uint32_t icc_regs[] = { PMR,    IAR0, EOIR0, HPPIR0, BPR0,    AP0R0,  AP1R0,
					     DIR,    RPR,  SGI1R, ASGI1R, SGI0R,   IAR1,   EOIR1,
					     HPPIR1, BPR1, CTLR,  SRE,    IGRPEN0, IGRPEN1 };
	struct fixture *f = *state;
	uint64_t seed = 0x9e3779b97f4a7c15;

	for (unsigned i = 0; i < 300000; i++) {
		uint64_t r = random_next(&seed), val = random_next(&seed);
		unsigned size = 1u << (r >> 8) % 4, cpu = (r >> 12) % N_CPUS;
		uint32_t reg = icc_regs[(r >> 16) % ARRAY_SIZE(icc_regs)];
		uint64_t off;

		if (val & 1)
			val &= 0x1ff;
		switch (r % 8) {
		case 0:
		case 1:
			off = (r >> 32) % (r & 64 ? GICV3_DIST_SIZE : 0x1000);
			wr(f, DIST + align_down(off, size), size, val);
			break;
		case 2:
			off = (r >> 32) % (GICV3_REDIST_SIZE * N_CPUS);
			wr(f, REDIST + align_down(off, size), size, val);
			break;
		case 3:
			wr(f, redist(cpu) + SGI + align_down((r >> 32) % 0x1000, size), size, val);
			break;
		case 4: gicv3_icc_write(f->gic, cpu, reg, val); break;
		case 5: gicv3_icc_read(f->gic, cpu, reg, &val); break;
		case 6: line(f, (unsigned)(32 + (r >> 32) % 300), r & 64); break;
		case 7: gicv3_ppi(f->gic, cpu, (unsigned)(r >> 32) % 40, r & 64); break;
		}
		if (i % 64 == 0)
			check_inputs(f);
	}
}

/* Not asserted, as machines differ: what one interrupt costs. */
static void cost(void **state)
{
	struct fixture *f = *state;
	const unsigned rounds = 200000;
	struct timespec a, b;
	double ns;

	bit_set(f, ENABLE, 33);
	line(f, 33, true);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < rounds; i++)
		icc_set(f, 0, EOIR1, icc(f, 0, IAR1));
	clock_gettime(CLOCK_MONOTONIC, &b);
	ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
	print_message("# IAR and EOIR together: %.0f ns\n", ns / rounds);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < rounds; i++)
		line(f, 33, i & 1);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
	print_message("# a change of a line: %.0f ns\n", ns / rounds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(identification, setup, teardown),
		cmocka_unit_test_setup_teardown(undefined_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(create_checks, setup, teardown),
		cmocka_unit_test_setup_teardown(register_masks, setup, teardown),
		cmocka_unit_test_setup_teardown(level_spi, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(level_software_pending, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(edge_spi, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(ppi, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(sgis, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(group0_is_fiq, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(priorities_and_preemption, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(priority_mask, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(split_end, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(active_by_register, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(routing, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(asleep, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(any_enabled, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(reset, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(every_offset, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(random_accesses, setup_driver, teardown),
		cmocka_unit_test_setup_teardown(cost, setup_driver, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * GICv3 (Arm IHI 0069). Registers are cited by the names under which the manual describes them.
 *
 * What is modelled: one Security state (GICD_CTLR.DS = 1), affinity routing always on (ARE), CPU n
 * at affinity 0.0.0.n, 5 priority bits (32 levels, all of them preemption levels), SGIs, PPIs and
 * GICV3_N_SPIS SPIs, 1-of-N routing. No LPIs, no ITS, no message-based SPIs, no extended ranges.
 *
 * How an interrupt travels: a line (gic_spi_set, gicv3_ppi) or a register write changes a bank, the
 * state of 32 INTIDs as bitmaps. gic_update() then looks for the highest priority pending interrupt
 * of a CPU, nine words of bitmaps, and drives the CPU's IRQ and FIQ inputs. The CPU reads ICC_IAR,
 * which moves the interrupt from pending to active and its priority into the active priorities;
 * ICC_EOIR drops the priority and (EOImode 0) ends the active state.
 *
 * What the architecture leaves UNPREDICTABLE (widths, reserved registers, a deactivation out of
 * turn) reads as zero and is ignored when written, or does what its plain reading suggests.
 */
#include "device/gicv3.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/a64_sysreg.h"
#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"

enum {
	MAX_CPUS = 16,           /* those that one target list of ICC_SGI1R_EL1 names */
	N_SGIS = 16,             /* INTIDs 0..15; PPIs are 16..31 */
	BANK_INTIDS = 32,        /* INTIDs per bank */
	FIRST_SPI = BANK_INTIDS, /* INTID of SPI 0 */
	N_INTIDS = FIRST_SPI + GICV3_N_SPIS,
	N_SPI_BANKS = GICV3_N_SPIS / BANK_INTIDS,
	MAX_BANKS = 32,       /* that the register map has room for */
	INTID_SPECIAL = 1020, /* 1020..1023 name no interrupt */
	INTID_NONE = 1023,    /* spurious: nothing to acknowledge */

	PRIO_BITS = 5,
	PRIO_SHIFT = 8 - PRIO_BITS,
	PRIO_MASK = 0xff & (0xff << PRIO_SHIFT),
	PRIO_IDLE = 0xff, /* running priority while nothing is active */
	/*
	 * Smallest binary points: the value at which all implemented bits are group priority.
	 * BPR0 = n splits above bit n. BPR1 as software in Non-secure state (or without EL3, as
	 * here) sees it counts one more for the same split. IHI0069 ICC_BPR0_EL1, ICC_BPR1_EL1.
	 */
	BPR0_MIN = 7 - PRIO_BITS,
	BPR1_MIN = BPR0_MIN + 1,
};

/* Distributor and redistributor registers that are not per INTID. */
enum {
	GICD_CTLR = 0x0000,
	GICD_TYPER = 0x0004,
	GICD_IIDR = 0x0008,
	GICD_TYPER2 = 0x000c,
	GICD_STATUSR = 0x0010,
	GICD_IROUTER = 0x6000, /* + 8 * INTID, from INTID 32 */

	GICR_CTLR = 0x0000, /* RD_base */
	GICR_IIDR = 0x0004,
	GICR_TYPER = 0x0008,
	GICR_STATUSR = 0x0010,
	GICR_WAKER = 0x0014,
	GICR_SGI_BASE = 0x10000,

	ID_REGS = 0xffd0, /* PIDR4..7, PIDR0..3, CIDR0..3 at the end of each 64 KiB frame */
	ID_REGS_END = 0x10000,
};

enum {
	GICD_CTLR_ENABLE_GRP0 = 1 << 0,
	GICD_CTLR_ENABLE_GRP1 = 1 << 1,
	GICD_CTLR_ARE = 1 << 4,
	GICD_CTLR_DS = 1 << 6,

	/* ITLinesNumber, IDbits = 10 - 1, A3V. No1N = 0, SecurityExtn = 0, LPIS = 0, MBIS = 0. */
	GICD_TYPER_VALUE = (N_INTIDS / 32 - 1) | (9 << 19) | (1 << 24),
	/* Implementer Arm (JEP106 0x43b); product, variant and revision 0. */
	GIC_IIDR_VALUE = 0x43b,

	GICR_TYPER_LAST = 1 << 4,
	GICR_TYPER_PROCESSOR_SHIFT = 8,
	GICR_WAKER_PROCESSOR_SLEEP = 1 << 1,
	GICR_WAKER_CHILDREN_ASLEEP = 1 << 2,

	ICC_CTLR_CBPR = 1 << 0,
	ICC_CTLR_EOIMODE = 1 << 1,
	/* PRIbits; IDbits = 0 (16 bits), A3V. SEIS = 0, RSS = 0, ExtRange = 0, PMHE = 0. */
	ICC_CTLR_FIXED = ((PRIO_BITS - 1) << 8) | (1 << 15),
	ICC_SRE_VALUE = 7, /* SRE, DFB, DIB: the system-register interface is the only one */
};

/* GICD_IROUTER: Aff3 in 39:32, IRM (any CPU) in 31, Aff2 to Aff0 in 23:0 */
#define IROUTER_IRM  BIT(31)
#define IROUTER_AFF  0xff00ffffffULL
#define IROUTER_MASK (IROUTER_AFF | IROUTER_IRM)

/* CPU interface. IHI0069 "AArch64 System register descriptions". */
enum icc_reg {
	ICC_PMR = A64_SYSREG(3, 0, 4, 6, 0),
	ICC_IAR0 = A64_SYSREG(3, 0, 12, 8, 0),
	ICC_EOIR0 = A64_SYSREG(3, 0, 12, 8, 1),
	ICC_HPPIR0 = A64_SYSREG(3, 0, 12, 8, 2),
	ICC_BPR0 = A64_SYSREG(3, 0, 12, 8, 3),
	ICC_AP0R0 = A64_SYSREG(3, 0, 12, 8, 4), /* with 5 priority bits the only one */
	ICC_AP1R0 = A64_SYSREG(3, 0, 12, 9, 0),
	ICC_DIR = A64_SYSREG(3, 0, 12, 11, 1),
	ICC_RPR = A64_SYSREG(3, 0, 12, 11, 3),
	ICC_SGI1R = A64_SYSREG(3, 0, 12, 11, 5),
	ICC_ASGI1R = A64_SYSREG(3, 0, 12, 11, 6),
	ICC_SGI0R = A64_SYSREG(3, 0, 12, 11, 7),
	ICC_IAR1 = A64_SYSREG(3, 0, 12, 12, 0),
	ICC_EOIR1 = A64_SYSREG(3, 0, 12, 12, 1),
	ICC_HPPIR1 = A64_SYSREG(3, 0, 12, 12, 2),
	ICC_BPR1 = A64_SYSREG(3, 0, 12, 12, 3),
	ICC_CTLR = A64_SYSREG(3, 0, 12, 12, 4),
	ICC_SRE = A64_SYSREG(3, 0, 12, 12, 5),
	ICC_IGRPEN0 = A64_SYSREG(3, 0, 12, 12, 6),
	ICC_IGRPEN1 = A64_SYSREG(3, 0, 12, 12, 7),
};

/* 32 INTIDs: bit i, or element i, is INTID 32 * bank + i. */
struct gic_bank {
	uint32_t group;   /* 1: group 1 (IRQ), 0: group 0 (FIQ) */
	uint32_t enabled; /* forwarded to a CPU when pending */
	uint32_t latch;   /* pending by an edge, an SGI or a write of ISPENDR */
	uint32_t line;    /* level of the input */
	uint32_t active;  /* acknowledged, not yet deactivated */
	uint32_t edge;    /* 1: edge-triggered, 0: level-sensitive */
	uint8_t prio[BANK_INTIDS];
};

/* What a snapshot saves. */
struct gic_cpu_state {
	struct gic_bank bank; /* SGIs and PPIs */
	uint32_t waker;       /* GICR_WAKER.ProcessorSleep */
	uint32_t ctlr;        /* ICC_CTLR_EL1: CBPR, EOImode */
	uint32_t pmr;
	uint32_t bpr[2]; /* by group, as are the next two */
	uint32_t igrpen[2];
	uint32_t apr[2]; /* active priorities: bit n is priority n << PRIO_SHIFT */
};

struct gic_state {
	uint32_t ctlr; /* GICD_CTLR: EnableGrp0, EnableGrp1 */
	struct gic_bank spi[N_SPI_BANKS];
	uint64_t irouter[GICV3_N_SPIS];
	struct gic_cpu_state cpu[MAX_CPUS];
};

/* What follows from the state. */
struct gic_cpu {
	uint32_t route[N_SPI_BANKS]; /* SPIs that go to this CPU */
	struct {                     /* highest priority pending interrupt */
		uint16_t intid;      /* INTID_NONE: there is none */
		uint8_t prio, group;
	} hppi;
	bool out[2]; /* the CPU's inputs, by group: FIQ, IRQ */
};

struct gicv3 {
	pthread_mutex_t lock; /* guards all below */
	struct gic_state s;
	struct gic_cpu cpu[MAX_CPUS];
	int8_t target[GICV3_N_SPIS]; /* CPU an SPI goes to; -1: none */

	struct gicv3_config config;
	struct bus_region dist, redist;
	struct log_limit limit;
};

/*
 * The model: banks, routing, the highest priority pending interrupt. With the lock held.
 */

static struct gic_bank *gic_bank(struct gicv3 *gic, unsigned cpu, unsigned intid)
{
	if (intid < FIRST_SPI)
		return &gic->s.cpu[cpu].bank;
	return &gic->s.spi[intid / BANK_INTIDS - 1];
}

static uint32_t bank_pending(const struct gic_bank *bank)
{
	return bank->latch | (bank->line & ~bank->edge);
}

static bool gic_cpu_asleep(const struct gicv3 *gic, unsigned cpu)
{
	return gic->s.cpu[cpu].waker & GICR_WAKER_PROCESSOR_SLEEP;
}

/* Do interrupts of this group reach this CPU: enabled at the distributor, at the CPU, and awake? */
static bool gic_group_on(const struct gicv3 *gic, unsigned cpu, unsigned group)
{
	return bit(gic->s.ctlr, group) && gic->s.cpu[cpu].igrpen[group] &&
	       !gic_cpu_asleep(gic, cpu);
}

/* Which of the INTIDs of a bank are of a group that reaches the CPU? */
static uint32_t gic_group_mask(const struct gicv3 *gic, unsigned cpu, const struct gic_bank *bank)
{
	return (gic_group_on(gic, cpu, 0) ? ~bank->group : 0) |
	       (gic_group_on(gic, cpu, 1) ? bank->group : 0);
}

/* The bits of a priority that decide about preemption. IHI0069 "Priority grouping". */
static uint32_t gic_group_prio_mask(const struct gic_cpu_state *cpu, unsigned group)
{
	if (group == 0 || (cpu->ctlr & ICC_CTLR_CBPR))
		return 0xffu & (0xffu << (cpu->bpr[0] + 1));
	return 0xffu & (0xffu << cpu->bpr[1]);
}

static uint32_t gic_running_prio(const struct gic_cpu_state *cpu)
{
	uint32_t active = cpu->apr[0] | cpu->apr[1];

	return active ? (uint32_t)__builtin_ctz(active) << PRIO_SHIFT : PRIO_IDLE;
}

/* Would an interrupt of this priority be signalled now: above the mask, above what is running? */
static bool gic_preempts(const struct gic_cpu_state *cpu, unsigned prio, unsigned group)
{
	uint32_t running = gic_running_prio(cpu);
	uint32_t mask = gic_group_prio_mask(cpu, group);

	return prio < cpu->pmr && (running == PRIO_IDLE || (prio & mask) < (running & mask));
}

/* Take the best of the candidates (a bitmap) of a bank, if it is better than the best so far. */
static void gic_consider(struct gic_cpu *cpu, const struct gic_bank *bank, unsigned first,
			 uint32_t candidates)
{
	for (; candidates; candidates &= candidates - 1) {
		unsigned i = (unsigned)__builtin_ctz(candidates);

		/* Among equals the lowest INTID wins. */
		if (cpu->hppi.intid != INTID_NONE && bank->prio[i] >= cpu->hppi.prio)
			continue;
		cpu->hppi.intid = (uint16_t)(first + i);
		cpu->hppi.prio = bank->prio[i];
		cpu->hppi.group = (uint8_t)bit(bank->group, i);
	}
}

static void gic_drive(struct gicv3 *gic, unsigned n, unsigned group, bool level)
{
	if (gic->cpu[n].out[group] == level)
		return;
	gic->cpu[n].out[group] = level;
	gic->config.cpu_irq(gic->config.arg, n, group == 0, level);
}

/* Something changed that may matter to this CPU. */
static void gic_update(struct gicv3 *gic, unsigned n)
{
	struct gic_cpu *cpu = &gic->cpu[n];
	const struct gic_cpu_state *state = &gic->s.cpu[n];
	uint32_t grp0 = gic_group_on(gic, n, 0) ? ~0u : 0, grp1 = gic_group_on(gic, n, 1) ? ~0u : 0;
	bool signal;

	cpu->hppi.intid = INTID_NONE;
	for (unsigned b = 0; b <= N_SPI_BANKS; b++) {
		const struct gic_bank *bank = b ? &gic->s.spi[b - 1] : &state->bank;
		uint32_t c = bank_pending(bank) & bank->enabled & ~bank->active;

		if (b)
			c &= cpu->route[b - 1];
		if (unlikely(c))
			gic_consider(cpu, bank, b * BANK_INTIDS,
				     c & ((bank->group & grp1) | (~bank->group & grp0)));
	}
	signal = cpu->hppi.intid != INTID_NONE &&
		 gic_preempts(state, cpu->hppi.prio, cpu->hppi.group);
	gic_drive(gic, n, 0, signal && cpu->hppi.group == 0);
	gic_drive(gic, n, 1, signal && cpu->hppi.group == 1);
}

static void gic_update_all(struct gicv3 *gic)
{
	for (unsigned n = 0; n < gic->config.n_cpus; n++)
		gic_update(gic, n);
}

/* The CPU that GICD_IROUTER names, or -1. For 1-of-N: the first that takes the SPI's group. */
static int gic_find_target(const struct gicv3 *gic, unsigned spi)
{
	uint64_t router = gic->s.irouter[spi];
	const struct gic_bank *bank = &gic->s.spi[spi / BANK_INTIDS];
	unsigned group = bit(bank->group, spi % BANK_INTIDS);

	if (!(router & IROUTER_IRM))
		return (router & IROUTER_AFF) < gic->config.n_cpus ? (int)(router & IROUTER_AFF)
								   : -1;
	for (unsigned n = 0; n < gic->config.n_cpus; n++)
		if (!gic_cpu_asleep(gic, n) && gic->s.cpu[n].igrpen[group])
			return (int)n;
	return -1;
}

static void gic_route(struct gicv3 *gic, unsigned spi)
{
	int old = gic->target[spi], new = gic_find_target(gic, spi);
	unsigned b = spi / BANK_INTIDS;
	uint32_t mask = 1u << spi % BANK_INTIDS;

	if (old >= 0)
		gic->cpu[old].route[b] &= ~mask;
	if (new >= 0)
		gic->cpu[new].route[b] |= mask;
	gic->target[spi] = (int8_t) new;
}

/* What 1-of-N routing depends on changed. */
static void gic_reroute(struct gicv3 *gic)
{
	for (unsigned spi = 0; spi < GICV3_N_SPIS; spi++)
		if (gic->s.irouter[spi] & IROUTER_IRM)
			gic_route(gic, spi);
}

/* An interrupt's state changed: let the CPU that it goes to know. */
static void gic_update_intid(struct gicv3 *gic, unsigned cpu, unsigned intid)
{
	int target = intid < FIRST_SPI ? (int)cpu : gic->target[intid - FIRST_SPI];

	if (target >= 0)
		gic_update(gic, (unsigned)target);
}

static void gic_set_line(struct gicv3 *gic, unsigned cpu, unsigned intid, bool level)
{
	struct gic_bank *bank = gic_bank(gic, cpu, intid);
	uint32_t mask = 1u << intid % BANK_INTIDS;

	if (!!(bank->line & mask) == level)
		return;
	bank->line ^= mask;
	if (level)
		bank->latch |= bank->edge & mask;
	gic_update_intid(gic, cpu, intid);
}

/*
 * Registers per INTID. The distributor (banks 1 on) and SGI_base of a redistributor (bank 0) have
 * them at the same offsets.
 */

enum bank_reg {
	IGROUPR,
	ISENABLER,
	ICENABLER,
	ISPENDR,
	ICPENDR,
	ISACTIVER,
	ICACTIVER,
	IPRIORITYR,
	ICFGR,
	RAZ_WI, /* there, but without function in this configuration */
};

static const struct bank_map {
	uint16_t base; /* bank n's part is at base + n * stride */
	uint8_t stride;
	uint8_t widths; /* sizes accepted, one bit each, as sizes are powers of two */
	enum bank_reg reg;
} bank_map[] = {
	{ 0x080, 4, 4, IGROUPR },     { 0x100, 4, 4, ISENABLER },
	{ 0x180, 4, 4, ICENABLER },   { 0x200, 4, 4, ISPENDR },
	{ 0x280, 4, 4, ICPENDR },     { 0x300, 4, 4, ISACTIVER },
	{ 0x380, 4, 4, ICACTIVER },   { 0x400, 32, 4 | 1, IPRIORITYR },
	{ 0x800, 32, 4 | 1, RAZ_WI },                          /* ITARGETSR: ARE = 1 */
	{ 0xc00, 8, 4, ICFGR },       { 0xd00, 4, 4, RAZ_WI }, /* IGRPMODR: DS = 1 */
	{ 0xe00, 8, 4, RAZ_WI },                               /* NSACR: DS = 1 */
};

static const struct bank_map *bank_map_find(uint64_t off)
{
	for (size_t i = 0; i < ARRAY_SIZE(bank_map); i++) {
		const struct bank_map *m = &bank_map[i];

		if (off >= m->base && off - m->base < (uint64_t)m->stride * MAX_BANKS)
			return m;
	}
	return NULL;
}

/* `rel` is the offset within the bank's part. */
static uint32_t bank_read(const struct gic_bank *bank, enum bank_reg reg, unsigned rel,
			  unsigned size)
{
	uint32_t val = 0;

	switch (reg) {
	case IGROUPR: return bank->group;
	case ISENABLER:
	case ICENABLER: return bank->enabled;
	case ISPENDR:
	case ICPENDR: return bank_pending(bank);
	case ISACTIVER:
	case ICACTIVER: return bank->active;
	case IPRIORITYR:
		for (unsigned i = 0; i < size; i++)
			val |= (uint32_t)bank->prio[rel + i] << 8 * i;
		return val;
	case ICFGR: /* two bits per INTID, the upper one says edge */
		for (unsigned i = 0; i < 16; i++)
			val |= (uint32_t)bit(bank->edge, rel * 4 + i) << (2 * i + 1);
		return val;
	case RAZ_WI: break;
	}
	return 0;
}

static void bank_write(struct gic_bank *bank, enum bank_reg reg, unsigned rel, unsigned size,
		       uint32_t val)
{
	switch (reg) {
	case IGROUPR: bank->group = val; break;
	case ISENABLER: bank->enabled |= val; break;
	case ICENABLER: bank->enabled &= ~val; break;
	case ISPENDR: bank->latch |= val; break;
	/* A level-sensitive input that is high keeps its interrupt pending. */
	case ICPENDR: bank->latch &= ~val; break;
	case ISACTIVER: bank->active |= val; break;
	case ICACTIVER: bank->active &= ~val; break;
	case IPRIORITYR:
		for (unsigned i = 0; i < size; i++)
			bank->prio[rel + i] = (uint8_t)(val >> 8 * i) & PRIO_MASK;
		break;
	case ICFGR:
		for (unsigned i = 0; i < 16; i++) {
			uint32_t mask = 1u << (rel * 4 + i);

			bank->edge = bit(val, 2 * i + 1) ? bank->edge | mask : bank->edge & ~mask;
		}
		break;
	case RAZ_WI: break;
	}
}

/* CoreSight identification of a 64 KiB frame of Arm's; PIDR2.ArchRev = 3 says GICv3. */
static uint32_t id_reg(uint64_t off)
{
	static const uint8_t id[] = { 0x44, 0, 0, 0, 0x92, 0xb4, 0x3b, 0, 0x0d, 0xf0, 0x05, 0xb1 };

	return id[(off - ID_REGS) / 4];
}

/* The part of a 64-bit register that an access of 4 or 8 bytes at `off` reads. */
static uint64_t reg64_read(uint64_t reg, uint64_t off, unsigned size)
{
	return size == 8 ? reg : (uint32_t)(reg >> (off & 4 ? 32 : 0));
}

static uint64_t reg64_write(uint64_t reg, uint64_t off, unsigned size, uint64_t val)
{
	if (size == 8)
		return val;
	return off & 4 ? (reg & 0xffffffff) | val << 32 : (reg & ~0xffffffffULL) | (uint32_t)val;
}

/*
 * Distributor.
 */

static void gic_unknown(struct gicv3 *gic, const char *frame, const char *what, uint64_t off,
			unsigned size)
{
	log_guest(gic->config.log, &gic->limit, LOG_DEBUG, "gic",
		  "%s: %s of %u bytes at %#llx has no effect", frame, what, size,
		  (unsigned long long)off);
}

/* Which SPI does an access to GICD_IROUTER<n> mean? -1: this is not one. */
static int irouter_spi(uint64_t off, unsigned size)
{
	uint64_t first = GICD_IROUTER + 8 * FIRST_SPI;

	if (size < 4 || off < first || off >= first + 8 * GICV3_N_SPIS)
		return -1;
	return (int)((off - first) / 8);
}

/* The bank that an access to the distributor means: NULL where there is none. */
static struct gic_bank *dist_bank(struct gicv3 *gic, const struct bank_map *m, uint64_t off,
				  unsigned size)
{
	unsigned n = (unsigned)(off - m->base) / m->stride;

	/* Bank 0 is in the redistributors, as ARE = 1. */
	return (m->widths & size) && n >= 1 && n <= N_SPI_BANKS ? &gic->s.spi[n - 1] : NULL;
}

static uint64_t gic_dist_read(struct gicv3 *gic, uint64_t off, unsigned size)
{
	const struct bank_map *m = bank_map_find(off);
	int spi = irouter_spi(off, size);

	if (m) {
		struct gic_bank *bank = dist_bank(gic, m, off, size);

		return bank ? bank_read(bank, m->reg, (unsigned)(off - m->base) % m->stride, size)
			    : 0;
	}
	if (spi >= 0)
		return reg64_read(gic->s.irouter[spi], off, size);
	if (size == 4 && off >= ID_REGS && off < ID_REGS_END)
		return id_reg(off);
	if (size == 4) {
		switch (off) {
		/* RWP is never seen: a write is complete when it returns. */
		case GICD_CTLR: return gic->s.ctlr | GICD_CTLR_ARE | GICD_CTLR_DS;
		case GICD_TYPER: return GICD_TYPER_VALUE;
		case GICD_IIDR: return GIC_IIDR_VALUE;
		case GICD_TYPER2:
		case GICD_STATUSR: return 0;
		}
	}
	gic_unknown(gic, "distributor", "read", off, size);
	return 0;
}

static void gic_dist_write(struct gicv3 *gic, uint64_t off, unsigned size, uint64_t val)
{
	const struct bank_map *m = bank_map_find(off);
	int spi = irouter_spi(off, size);

	if (m) {
		struct gic_bank *bank = dist_bank(gic, m, off, size);

		if (!bank)
			return;
		bank_write(bank, m->reg, (unsigned)(off - m->base) % m->stride, size,
			   (uint32_t)val);
		if (m->reg == IGROUPR)
			gic_reroute(gic);
	} else if (spi >= 0) {
		gic->s.irouter[spi] =
			reg64_write(gic->s.irouter[spi], off, size, val) & IROUTER_MASK;
		gic_route(gic, (unsigned)spi);
	} else if (size == 4 && off == GICD_CTLR) {
		gic->s.ctlr = (uint32_t)val & (GICD_CTLR_ENABLE_GRP0 | GICD_CTLR_ENABLE_GRP1);
	} else {
		gic_unknown(gic, "distributor", "write", off, size);
		return;
	}
	gic_update_all(gic);
}

/*
 * Redistributors.
 */

static uint64_t gic_redist_read(struct gicv3 *gic, unsigned n, uint64_t off, unsigned size)
{
	const struct gic_cpu_state *cpu = &gic->s.cpu[n];

	if (off >= GICR_SGI_BASE) {
		uint64_t sgi = off - GICR_SGI_BASE;
		const struct bank_map *m = bank_map_find(sgi);

		if (m && sgi - m->base < m->stride)
			return m->widths & size ? bank_read(&cpu->bank, m->reg,
							    (unsigned)(sgi - m->base), size)
						: 0;
		off = sgi >= ID_REGS ? sgi : off; /* the frame has its own identification */
	}
	if ((off & ~4ULL) == GICR_TYPER && size >= 4) {
		uint64_t typer = (uint64_t)n << 32 | n << GICR_TYPER_PROCESSOR_SHIFT;

		if (n == gic->config.n_cpus - 1)
			typer |= GICR_TYPER_LAST;
		return reg64_read(typer, off, size);
	}
	if (size == 4 && off >= ID_REGS && off < ID_REGS_END)
		return id_reg(off);
	if (size == 4) {
		switch (off) {
		case GICR_CTLR: /* no LPIs; RWP and UWP never seen */
		case GICR_STATUSR: return 0;
		case GICR_IIDR: return GIC_IIDR_VALUE;
		case GICR_WAKER:
			/* The CPU interface follows at once. */
			return cpu->waker | (cpu->waker ? GICR_WAKER_CHILDREN_ASLEEP : 0);
		}
	}
	gic_unknown(gic, "redistributor", "read", off, size);
	return 0;
}

static void gic_redist_write(struct gicv3 *gic, unsigned n, uint64_t off, unsigned size,
			     uint64_t val)
{
	struct gic_cpu_state *cpu = &gic->s.cpu[n];

	if (off >= GICR_SGI_BASE) {
		uint64_t sgi = off - GICR_SGI_BASE;
		const struct bank_map *m = bank_map_find(sgi);

		if (m && sgi - m->base < m->stride) {
			if (!(m->widths & size))
				return;
			bank_write(&cpu->bank, m->reg, (unsigned)(sgi - m->base), size,
				   (uint32_t)val);
			cpu->bank.edge |= (uint32_t)mask_low(N_SGIS); /* SGIs always are */
			gic_update(gic, n);
			return;
		}
	} else if (size == 4 && off == GICR_WAKER) {
		cpu->waker = (uint32_t)val & GICR_WAKER_PROCESSOR_SLEEP;
		gic_reroute(gic);
		gic_update_all(gic);
		return;
	}
	gic_unknown(gic, "redistributor", "write", off, size);
}

/*
 * The bus's side.
 */

static uint64_t dist_read(void *dev, uint64_t off, unsigned size)
{
	struct gicv3 *gic = dev;
	uint64_t val;

	pthread_mutex_lock(&gic->lock);
	val = gic_dist_read(gic, off, size);
	pthread_mutex_unlock(&gic->lock);
	return val;
}

static void dist_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct gicv3 *gic = dev;

	pthread_mutex_lock(&gic->lock);
	gic_dist_write(gic, off, size, val);
	pthread_mutex_unlock(&gic->lock);
}

static uint64_t redist_read(void *dev, uint64_t off, unsigned size)
{
	struct gicv3 *gic = dev;
	uint64_t val;

	pthread_mutex_lock(&gic->lock);
	val = gic_redist_read(gic, (unsigned)(off / GICV3_REDIST_SIZE), off % GICV3_REDIST_SIZE,
			      size);
	pthread_mutex_unlock(&gic->lock);
	return val;
}

static void redist_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct gicv3 *gic = dev;

	pthread_mutex_lock(&gic->lock);
	gic_redist_write(gic, (unsigned)(off / GICV3_REDIST_SIZE), off % GICV3_REDIST_SIZE, size,
			 val);
	pthread_mutex_unlock(&gic->lock);
}

static const struct bus_ops dist_ops = { .read = dist_read, .write = dist_write };
static const struct bus_ops redist_ops = { .read = redist_read, .write = redist_write };

/*
 * CPU interface.
 */

/* ICC_HPPIR: what would be acknowledged, masks and running priority aside. */
static unsigned icc_hppi(const struct gic_cpu *cpu, unsigned group)
{
	return cpu->hppi.group == group ? cpu->hppi.intid : INTID_NONE;
}

/* ICC_IAR: acknowledge. */
static unsigned icc_ack(struct gicv3 *gic, unsigned n, unsigned group)
{
	struct gic_cpu_state *state = &gic->s.cpu[n];
	const struct gic_cpu *cpu = &gic->cpu[n];
	unsigned intid = cpu->hppi.intid;
	struct gic_bank *bank;
	uint32_t mask, prio;

	if (!cpu->out[group])
		return INTID_NONE;
	bank = gic_bank(gic, n, intid);
	mask = 1u << intid % BANK_INTIDS;
	bank->latch &= ~mask;
	bank->active |= mask;
	prio = cpu->hppi.prio & gic_group_prio_mask(state, group);
	state->apr[group] |= 1u << (prio >> PRIO_SHIFT);
	gic_update(gic, n);
	return intid;
}

static void icc_deactivate(struct gicv3 *gic, unsigned n, unsigned intid)
{
	gic_bank(gic, n, intid)->active &= ~(1u << intid % BANK_INTIDS);
	gic_update_intid(gic, n, intid);
}

/* ICC_EOIR: priority drop, and deactivation unless that is left to ICC_DIR. */
static void icc_eoi(struct gicv3 *gic, unsigned n, unsigned group, uint64_t val)
{
	struct gic_cpu_state *cpu = &gic->s.cpu[n];
	unsigned intid = (unsigned)bits(val, 23, 0);
	uint32_t active = cpu->apr[0] | cpu->apr[1];

	if (intid >= N_INTIDS) /* special, or there is no such interrupt */
		return;
	/* The highest active priority is dropped if it is of this group. */
	cpu->apr[group] &= ~(active & -active);
	if (!(cpu->ctlr & ICC_CTLR_EOIMODE))
		icc_deactivate(gic, n, intid);
	gic_update(gic, n);
}

static void icc_dir(struct gicv3 *gic, unsigned n, uint64_t val)
{
	unsigned intid = (unsigned)bits(val, 23, 0);

	if (intid < N_INTIDS && (gic->s.cpu[n].ctlr & ICC_CTLR_EOIMODE))
		icc_deactivate(gic, n, intid);
}

/*
 * ICC_SGI1R: INTID 27:24 to the CPUs of a target list (15:0, of Aff0 16 * RS on) under Aff3.2.1, or
 * with IRM (40) to all but this one. A CPU takes it if it has the SGI in the group asked for.
 */
static void icc_sgi(struct gicv3 *gic, unsigned self, unsigned group, uint64_t val)
{
	uint32_t mask = 1u << bits(val, 27, 24);
	uint64_t aff321 = bits(val, 55, 48) | bits(val, 39, 32) | bits(val, 23, 16);
	uint64_t list = bits(val, 15, 0);

	if (bit(val, 40))
		list = mask_low(MAX_CPUS) & ~BIT(self);
	else if (aff321 || bits(val, 47, 44))
		return; /* nobody there */
	for (list &= mask_low(gic->config.n_cpus); list; list &= list - 1) {
		unsigned n = (unsigned)__builtin_ctzll(list);
		struct gic_bank *bank = &gic->s.cpu[n].bank;

		if (!(bank->group & mask) == !group) {
			bank->latch |= mask;
			gic_update(gic, n);
		}
	}
}

static uint32_t icc_bpr1(const struct gic_cpu_state *cpu)
{
	if (!(cpu->ctlr & ICC_CTLR_CBPR))
		return cpu->bpr[1];
	return cpu->bpr[0] == 7 ? 7 : cpu->bpr[0] + 1;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

int gicv3_icc_read(void *dev, unsigned n, uint32_t reg, uint64_t *val)
{
	struct gicv3 *gic = dev;
	const struct gic_cpu_state *state;
	int ret = 0;

	if (n >= gic->config.n_cpus)
		return -ENOENT;
	state = &gic->s.cpu[n];
	pthread_mutex_lock(&gic->lock);
	switch (reg) {
	case ICC_IAR0: *val = icc_ack(gic, n, 0); break;
	case ICC_IAR1: *val = icc_ack(gic, n, 1); break;
	case ICC_HPPIR0: *val = icc_hppi(&gic->cpu[n], 0); break;
	case ICC_HPPIR1: *val = icc_hppi(&gic->cpu[n], 1); break;
	case ICC_RPR: *val = gic_running_prio(state); break;
	case ICC_PMR: *val = state->pmr; break;
	case ICC_BPR0: *val = state->bpr[0]; break;
	case ICC_BPR1: *val = icc_bpr1(state); break;
	case ICC_AP0R0: *val = state->apr[0]; break;
	case ICC_AP1R0: *val = state->apr[1]; break;
	case ICC_CTLR: *val = state->ctlr | ICC_CTLR_FIXED; break;
	case ICC_SRE: *val = ICC_SRE_VALUE; break;
	case ICC_IGRPEN0: *val = state->igrpen[0]; break;
	case ICC_IGRPEN1: *val = state->igrpen[1]; break;
	default: ret = -ENOENT; /* among them the write-only ones */
	}
	pthread_mutex_unlock(&gic->lock);
	return ret;
}

static void icc_enable_group(struct gicv3 *gic, unsigned n, unsigned group, uint64_t val)
{
	gic->s.cpu[n].igrpen[group] = val & 1;
	if ((val & 1) && gic_cpu_asleep(gic, n))
		log_guest(gic->config.log, &gic->limit, LOG_WARN, "gic",
			  "cpu%u enables group %u while GICR_WAKER says that it sleeps: no "
			  "interrupt will reach it",
			  n, group);
	gic_reroute(gic);
	gic_update_all(gic);
}

int gicv3_icc_write(void *dev, unsigned n, uint32_t reg, uint64_t val)
{
	struct gicv3 *gic = dev;
	struct gic_cpu_state *state;
	int ret = 0;

	if (n >= gic->config.n_cpus)
		return -ENOENT;
	state = &gic->s.cpu[n];
	pthread_mutex_lock(&gic->lock);
	switch (reg) {
	case ICC_EOIR0: icc_eoi(gic, n, 0, val); break;
	case ICC_EOIR1: icc_eoi(gic, n, 1, val); break;
	case ICC_DIR: icc_dir(gic, n, val); break;
	case ICC_SGI1R: icc_sgi(gic, n, 1, val); break;
	/* With one Security state the other one's group 1 is group 0 (IHI0069 ICC_ASGI1R_EL1). */
	case ICC_ASGI1R:
	case ICC_SGI0R: icc_sgi(gic, n, 0, val); break;
	case ICC_IGRPEN0: icc_enable_group(gic, n, 0, val); break;
	case ICC_IGRPEN1: icc_enable_group(gic, n, 1, val); break;
	case ICC_SRE: break;
	case ICC_PMR:
		state->pmr = (uint32_t)val & PRIO_MASK;
		gic_update(gic, n);
		break;
	case ICC_BPR0:
		state->bpr[0] = max_u32((uint32_t)val & 7, BPR0_MIN);
		gic_update(gic, n);
		break;
	case ICC_BPR1:
		if (!(state->ctlr & ICC_CTLR_CBPR))
			state->bpr[1] = max_u32((uint32_t)val & 7, BPR1_MIN);
		gic_update(gic, n);
		break;
	case ICC_AP0R0:
	case ICC_AP1R0:
		state->apr[reg == ICC_AP1R0] = (uint32_t)val;
		gic_update(gic, n);
		break;
	case ICC_CTLR:
		state->ctlr = (uint32_t)val & (ICC_CTLR_CBPR | ICC_CTLR_EOIMODE);
		gic_update(gic, n);
		break;
	default: ret = -ENOENT; /* among them the read-only ones */
	}
	pthread_mutex_unlock(&gic->lock);
	return ret;
}

/*
 * Lines.
 */

static void gic_spi_set(void *chip, unsigned spi, bool level)
{
	struct gicv3 *gic = chip;

	if (spi >= GICV3_N_SPIS)
		return;
	pthread_mutex_lock(&gic->lock);
	gic_set_line(gic, 0, FIRST_SPI + spi, level);
	pthread_mutex_unlock(&gic->lock);
}

static const struct irq_ops gic_spi_ops = { .set = gic_spi_set };

struct irq_line gicv3_spi(struct gicv3 *gic, unsigned spi)
{
	return (struct irq_line){ .ops = &gic_spi_ops, .chip = gic, .pin = spi };
}

void gicv3_ppi(struct gicv3 *gic, unsigned cpu, unsigned intid, bool level)
{
	if (cpu >= gic->config.n_cpus || intid < N_SGIS || intid >= FIRST_SPI)
		return;
	pthread_mutex_lock(&gic->lock);
	gic_set_line(gic, cpu, intid, level);
	pthread_mutex_unlock(&gic->lock);
}

bool gicv3_any_enabled(struct gicv3 *gic)
{
	bool any = false;

	pthread_mutex_lock(&gic->lock);
	for (unsigned spi = 0; spi < GICV3_N_SPIS && !any; spi++) {
		const struct gic_bank *bank = &gic->s.spi[spi / BANK_INTIDS];
		unsigned i = spi % BANK_INTIDS, n = (unsigned)gic->target[spi];

		if (gic->target[spi] < 0)
			continue;
		any = bit(bank->enabled & ~bank->active & gic_group_mask(gic, n, bank), i) &&
		      gic_preempts(&gic->s.cpu[n], bank->prio[i], bit(bank->group, i));
	}
	pthread_mutex_unlock(&gic->lock);
	return any;
}

/*
 * Life.
 */

/* Everything to its reset value, but for the lines, which belong to the devices. */
void gicv3_reset(struct gicv3 *gic)
{
	pthread_mutex_lock(&gic->lock);
	gic->s.ctlr = 0;
	memset(gic->s.irouter, 0, sizeof(gic->s.irouter));
	for (unsigned b = 0; b < N_SPI_BANKS; b++)
		gic->s.spi[b] = (struct gic_bank){ .line = gic->s.spi[b].line };
	for (unsigned n = 0; n < gic->config.n_cpus; n++) {
		struct gic_cpu_state *cpu = &gic->s.cpu[n];

		*cpu = (struct gic_cpu_state){
			.bank = { .line = cpu->bank.line, .edge = (uint32_t)mask_low(N_SGIS) },
			.waker = GICR_WAKER_PROCESSOR_SLEEP,
			.bpr = { BPR0_MIN, BPR1_MIN },
		};
	}
	for (unsigned spi = 0; spi < GICV3_N_SPIS; spi++)
		gic_route(gic, spi);
	gic_update_all(gic);
	pthread_mutex_unlock(&gic->lock);
}

int gicv3_create(struct gicv3 **out, const struct gicv3_config *config, struct err *err)
{
	struct gicv3 *gic;
	int ret;

	if (config->n_cpus < 1 || config->n_cpus > MAX_CPUS)
		return err_set(err, -EINVAL, "GICv3: %u CPUs asked for, 1 to %d are possible",
			       config->n_cpus, MAX_CPUS);
	gic = calloc(1, sizeof(*gic));
	if (!gic)
		return err_set(err, -ENOMEM, "GICv3: out of memory");
	pthread_mutex_init(&gic->lock, NULL);
	gic->config = *config;
	memset(gic->target, -1, sizeof(gic->target));
	gicv3_reset(gic);

	gic->dist = (struct bus_region){
		.name = "GICv3 distributor",
		.base = config->dist_base,
		.size = GICV3_DIST_SIZE,
		.min_access = 1,
		.max_access = 8,
		.ops = &dist_ops,
		.dev = gic,
	};
	gic->redist = (struct bus_region){
		.name = "GICv3 redistributors",
		.base = config->redist_base,
		.size = (uint64_t)GICV3_REDIST_SIZE * config->n_cpus,
		.min_access = 1,
		.max_access = 8,
		.ops = &redist_ops,
		.dev = gic,
	};
	ret = bus_add(config->bus, &gic->dist, err);
	if (ret)
		goto free;
	ret = bus_add(config->bus, &gic->redist, err);
	if (ret)
		goto del_dist;
	*out = gic;
	return 0;

del_dist:
	bus_del(config->bus, &gic->dist);
free:
	pthread_mutex_destroy(&gic->lock);
	free(gic);
	return ret;
}

void gicv3_destroy(struct gicv3 *gic)
{
	if (!gic)
		return;
	bus_del(gic->config.bus, &gic->redist);
	bus_del(gic->config.bus, &gic->dist);
	pthread_mutex_destroy(&gic->lock);
	free(gic);
}

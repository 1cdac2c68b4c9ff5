/* SPDX-License-Identifier: MIT */
/*
 * See side.h. The record runs as a user program does: at EL0, with the MMU on, its pages mapped by
 * tables that look like Linux's. Whatever ends it is an exception to EL1, where an HVC leaves
 * vcpu_run(). So a record also goes through address translation, exception entry and return, and
 * the code cache's invalidation.
 */
#include <err.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "engine/engine.h"
#include "engine/soft/a64/cpu.h"
#include "host/loop.h"
#include "mem/gmem.h"
#include "side.h"
#include "slot.h"

/* Guest physical memory */
enum {
	RAM_BASE = 0x40000000,
	PA_TABLES = RAM_BASE, /* level 0, 1 and three of level 3 with their level 2s */
	PA_VECTORS = RAM_BASE + 0x10000,
	PA_USER = RAM_BASE + 0x20000, /* scratch and code */
	RAM_SIZE = 0x200000,
};
/* EL1's page, at its physical address: out of reach of everything that a record does */
enum { VEC_FROM_EL0 = 0x400, ERET_AT = 0x800, ANY_AT = 0x900 };

/* System instructions, with X0 (C5.1, D17.2) */
#define HVC_0           0xd4000002
#define NOP             0xd503201f
#define ERET            0xd69f03e0
#define TLBI_VMALLE1    0xd508871f
#define MSR_OSLAR_EL1   0xd5101080
#define MSR_MDSCR_EL1   0xd5100240
#define MSR_SCTLR_EL1   0xd5181000
#define MSR_CPACR_EL1   0xd5181040
#define MSR_TTBR0_EL1   0xd5182000
#define MSR_TCR_EL1     0xd5182040
#define MSR_MAIR_EL1    0xd518a200
#define MSR_CNTKCTL_EL1 0xd518e100
#define MSR_VBAR_EL1    0xd518c000

enum { SPSR_SS = 1 << 21, MDSCR_SS = 1 };

/* VMSAv8-64 descriptors (DDI0487 D8.3) */
enum {
	DESC_TABLE = 3,
	DESC_PAGE = 3,
	DESC_EL0 = 1 << 6, /* AP[1] */
	DESC_RO = 1 << 7,  /* AP[2] */
	DESC_ISH = 3 << 8,
	DESC_AF = 1 << 10,
	DESC_NG = 1 << 11,
};
#define DESC_PXN BIT(53)
#define DESC_UXN BIT(54)

/* TCR_EL1: 48-bit TTBR0, 4 KiB granule, write-back tables; TTBR1 off; 40-bit PA;
 * TBI0 (D17.2.131) */
#define TCR                                                                                     \
	(16ULL | 1 << 8 | 1 << 10 | 3 << 12 | 16ULL << 16 | 1 << 23 | 2ULL << 30 | 2ULL << 32 | \
	 BIT(37))
/* SCTLR_EL1 as Linux has it: M, C, SA, SA0, I, DZE, UCT, nTWI, nTWE, EIS, SPAN, EOS, UCI
 * (D17.2.118) */
#define SCTLR                                                                                  \
	(BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(11) | BIT(12) | BIT(14) | BIT(15) | BIT(16) | \
	 BIT(18) | BIT(22) | BIT(23) | BIT(26) | BIT(28) | BIT(29) | BIT(7) | BIT(8))

struct side {
	struct gmem *mem;
	struct bus *bus;
	struct loop *loop; /* never runs: no timer is armed */
	struct clock *clock;
	struct engine *engine;
	struct vcpu *vcpu;
	struct a64_cpu *cpu;
	uint64_t scratch[SCRATCH_SIZE / 8];
	gpa_t next_table;
	bool stepping;
};

static void put64(struct side *s, gpa_t gpa, uint64_t v)
{
	if (gmem_write(s->mem, gpa, &v, 8))
		errx(2, "no RAM at %llx", (unsigned long long)gpa);
}

static void put32(struct side *s, gpa_t gpa, uint32_t v)
{
	if (gmem_write(s->mem, gpa, &v, 4))
		errx(2, "no RAM at %llx", (unsigned long long)gpa);
}

static void map_page(struct side *s, uint64_t va, gpa_t pa, uint64_t attributes)
{
	gpa_t table = PA_TABLES;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		gpa_t entry = table + (va >> shift & 511) * 8;
		uint64_t desc;

		if (gmem_read(s->mem, entry, &desc, 8))
			errx(2, "no RAM for page tables");
		if (!desc) {
			desc = s->next_table | DESC_TABLE;
			s->next_table += GMEM_PAGE_SIZE;
			put64(s, entry, desc);
		}
		table = desc & ~0xfffULL;
	}
	put64(s, table + (va >> 12 & 511) * 8, pa | attributes | DESC_PAGE | DESC_ISH | DESC_AF);
}

/*
 * Where a page of the record's is: the pages are in memory the other way round, so that an access
 * across two of them must look up both.
 */
static gpa_t user_pa(uint64_t va)
{
	uint64_t page = va >= CODE_PAGES ? (CODE_PAGES_END - 1 - va) / GMEM_PAGE_SIZE
					 : 0x100 + (SCRATCH_END - 1 - va) / GMEM_PAGE_SIZE;

	return PA_USER + page * GMEM_PAGE_SIZE + va % GMEM_PAGE_SIZE;
}

static void map_user(struct side *s, uint64_t va, uint64_t end, uint64_t attributes)
{
	for (; va < end; va += GMEM_PAGE_SIZE)
		map_page(s, va, user_pa(va), attributes | DESC_EL0 | DESC_NG | DESC_PXN);
}

static void copy_user(struct side *s, uint64_t va, void *buf, size_t len, bool write)
{
	for (uint8_t *p = buf; len;) {
		size_t n = GMEM_PAGE_SIZE - va % GMEM_PAGE_SIZE;

		n = n < len ? n : len;
		if (write ? gmem_write(s->mem, user_pa(va), p, n)
			  : gmem_read(s->mem, user_pa(va), p, n))
			errx(2, "no RAM at %llx", (unsigned long long)user_pa(va));
		p += n;
		va += n;
		len -= n;
	}
}

static int no_sysreg_read(void *dev, unsigned cpu, uint32_t reg, uint64_t *val)
{
	(void)dev;
	(void)cpu;
	(void)reg;
	*val = 0;
	return 0;
}

static int no_sysreg_write(void *dev, unsigned cpu, uint32_t reg, uint64_t val)
{
	(void)dev;
	(void)cpu;
	(void)reg;
	(void)val;
	return 0;
}

static void no_timer(void *dev, unsigned cpu, enum vcpu_timer timer, bool level)
{
	(void)dev;
	(void)cpu;
	(void)timer;
	(void)level;
}

/* At EL1, until the next HVC. */
static void run_kernel(struct side *s, uint64_t pc)
{
	enum vcpu_exit exit;

	engine_soft.vcpu_set(s->vcpu, VCPU_REG_PC, pc);
	do {
		if (engine_soft.vcpu_run(s->vcpu, &exit))
			errx(2, "vcpu_run failed");
	} while (exit == VCPU_KICKED);
	if (exit != VCPU_CALL)
		errx(2, "exit %d is not an HVC", exit);
}

/* One instruction at EL1. */
static void kernel(struct side *s, uint32_t word, uint64_t x0)
{
	put32(s, PA_VECTORS + ANY_AT, word);
	put32(s, PA_VECTORS + ANY_AT + 4, HVC_0);
	engine_soft.vcpu_set(s->vcpu, VCPU_REG_X0, x0);
	run_kernel(s, PA_VECTORS + ANY_AT);
	if (engine_soft.vcpu_get(s->vcpu, VCPU_REG_PC) != PA_VECTORS + ANY_AT + 8)
		errx(2, "exception from %08x at EL1", word);
}

struct side *side_create(void)
{
	static const struct vcpu_sysreg_ops icc = { no_sysreg_read, no_sysreg_write };
	static const struct vcpu_wiring wiring = { .icc = &icc, .timer_irq = no_timer };
	static struct side side; /* one per program */
	struct side *s = &side;
	struct err err = ERR_INIT;
	struct engine_config config;

	if (gmem_create(&s->mem, &err) || gmem_add_ram(s->mem, RAM_BASE, RAM_SIZE, &err) ||
	    bus_create(&s->bus, &err) || loop_create(&s->loop, &err) ||
	    clock_create(&s->clock, s->loop, &err))
		errx(2, "%s", err.msg);
	config = (struct engine_config){
		.mem = s->mem, .mmio = s->bus, .clock = s->clock, .n_vcpus = 1
	};
	if (engine_soft.create(&s->engine, &config, &err) ||
	    engine_soft.vcpu_create(s->engine, 0, &wiring, &s->vcpu, &err) ||
	    engine_soft.vcpu_init(s->vcpu, &err))
		errx(2, "%s", err.msg);
	s->cpu = container_of(s->vcpu, struct a64_cpu, vcpu);

	s->next_table = PA_TABLES + GMEM_PAGE_SIZE;
	map_page(s, PA_VECTORS, PA_VECTORS, DESC_RO | DESC_UXN);
	map_user(s, SCRATCH_BASE, SCRATCH_END, DESC_UXN);
	map_user(s, CODE_PAGES, CODE_PAGES_END, 0);
	for (unsigned off = 0; off < ERET_AT; off += 0x80)
		put32(s, PA_VECTORS + off, HVC_0);
	put32(s, PA_VECTORS + ERET_AT, ERET);

	engine_soft.vcpu_reset(s->vcpu);
	kernel(s, MSR_VBAR_EL1, PA_VECTORS);
	kernel(s, MSR_OSLAR_EL1, 0); /* else no single steps */
	kernel(s, MSR_CPACR_EL1, 3 << 20);
	kernel(s, MSR_CNTKCTL_EL1, 1 << 1); /* EL0 reads CNTFRQ and CNTVCT */
	kernel(s, MSR_MAIR_EL1, 0xff);      /* normal, write-back */
	kernel(s, MSR_TCR_EL1, TCR);
	kernel(s, MSR_TTBR0_EL1, PA_TABLES);
	kernel(s, MSR_SCTLR_EL1, SCTLR);
	return s;
}

void side_destroy(struct side *s)
{
	engine_soft.vcpu_destroy(s->vcpu);
	engine_soft.destroy(s->engine);
	clock_destroy(s->clock);
	loop_destroy(s->loop);
	bus_destroy(s->bus);
	gmem_destroy(s->mem);
}

const uint8_t *side_scratch(const struct side *s)
{
	return (const uint8_t *)s->scratch;
}

/* What Linux makes of an exception from EL0 (arch/arm64/kernel/entry-common.c, traps.c). */
static enum insn_stop stop_of(uint64_t esr)
{
	switch (bits(esr, 31, 26)) {
	case A64_EC_UNKNOWN:
	case A64_EC_SYSREG:
	case A64_EC_ILLEGAL_STATE: return STOP_ILL;
	case A64_EC_IABT_LOWER: return STOP_SEGV;
	case A64_EC_DABT_LOWER: return bits(esr, 5, 0) == 0x21 ? STOP_BUS : STOP_SEGV;
	case A64_EC_PC_ALIGN: return STOP_BUS;
	case A64_EC_SP_ALIGN: return STOP_SP;
	case A64_EC_BRK: return STOP_TRAP;
	default: return STOP_OTHER;
	}
}

/*
 * ESR_EL1.WnR of a data abort (D17.2.37): stores, and cache maintenance. An atomic instruction
 * reads first, and all of our faults are such that the read already takes them.
 */
static bool writes(uint32_t w)
{
	bool v = bit(w, 26);

	if ((w & 0xfff80000) == 0xd5080000)
		return true;
	if ((w & 0x3b000000) == 0x18000000) /* literal */
		return false;
	if ((w & 0x3f000000) == 0x08000000 && bit(w, 21) && (bit(w, 23) || !bit(w, 31)))
		return false; /* CAS, CASP */
	if ((w & 0x3a000000) == 0x38000000 && !v) {
		bool atomic = !bit(w, 24) && bit(w, 21) && bits(w, 11, 10) == 0;

		return !atomic && bits(w, 23, 22) == 0;
	}
	return !bit(w, 22);
}

/* Leave EL1 by its ERET, and come back with the next exception. */
static void run_user(struct side *s)
{
	run_kernel(s, PA_VECTORS + ERET_AT);
	if (engine_soft.vcpu_get(s->vcpu, VCPU_REG_PC) != PA_VECTORS + VEC_FROM_EL0 + 4)
		errx(2, "not an exception from EL0");
}

/* From the record's state and the instruction `from` to the end of its code. */
static void run(struct side *s, const struct insn_record *rec, uint32_t from, bool step,
		struct insn_result *res)
{
	struct a64_cpu *c = s->cpu;
	struct insn_state *out = &res->out;
	unsigned steps = 0;
	uint64_t at;

	if (step != s->stepping)
		kernel(s, MSR_MDSCR_EL1, step ? MDSCR_SS : 0);
	s->stepping = step;
	if (rec->flags & INSN_MEM) {
		scratch_fill(s->scratch, rec->mem_seed);
		copy_user(s, SCRATCH_BASE, s->scratch, SCRATCH_SIZE, true);
	}
	memcpy(c->x, rec->in.x, sizeof(rec->in.x));
	memcpy(c->v, rec->in.v, sizeof(rec->in.v));
	c->fpcr = rec->in.fpcr;
	c->fpsr = rec->in.fpsr;
	c->sys.tpidr_el0 = rec->in.tpidr;
	c->sys.sp_bank[0] = rec->in.sp;
	c->sys.elr_el1 = slot_pc(rec->slot) + from * 4;
	c->sys.spsr_el1 = rec->in.nzcv; /* EL0t */
	c->sys.far_el1 = 0;
	do {
		if (step)
			c->sys.spsr_el1 |= SPSR_SS;
		run_user(s);
		steps++;
	} while (bits(c->sys.esr_el1, 31, 26) == A64_EC_STEP_LOWER);

	memset(res, 0, sizeof(*res));
	memcpy(out->x, c->x, sizeof(out->x));
	memcpy(out->v, c->v, sizeof(out->v));
	out->sp = c->sys.sp_bank[0];
	out->pc = c->sys.elr_el1;
	out->nzcv = c->sys.spsr_el1 & 0xf0000000;
	out->tpidr = c->sys.tpidr_el0;
	out->fpcr = c->fpcr;
	out->fpsr = c->fpsr;
	res->far = c->sys.far_el1;
	at = (out->pc - slot_pc(rec->slot)) / 4;
	res->stop = stop_of(c->sys.esr_el1);
	if (step && steps == 1 && out->pc != slot_pc(rec->slot))
		res->notes |= NOTE_STEP;
	if (bits(c->sys.esr_el1, 31, 26) == A64_EC_DABT_LOWER && at < rec->n &&
	    bit(c->sys.esr_el1, 6) != writes(rec->code[at]))
		res->notes |= NOTE_WNR;
	if (res->stop == STOP_ILL && !(rec->flags & INSN_TRAP) &&
	    out->pc == slot_pc(rec->slot) + rec->n * 4)
		res->stop = STOP_END;
	if (rec->flags & INSN_MEM) {
		copy_user(s, SCRATCH_BASE, s->scratch, SCRATCH_SIZE, false);
		res->mem_sum = scratch_sum(s->scratch);
	}
}

/* LDXR to STXR does not survive the exceptions of single-stepping. */
static bool has_exclusives(const struct insn_record *rec)
{
	for (uint32_t i = 0; i < rec->n; i++)
		if ((rec->code[i] & 0x3f800000) == 0x08000000)
			return true;
	return false;
}

void side_run(struct side *s, const struct insn_record *rec, struct insn_result *res)
{
	struct insn_result again;
	uint32_t words[SLOT_WORDS];
	unsigned variant = rec->slot & 3;

	slot_fill(words, rec);
	copy_user(s, slot_pc(rec->slot) - SLOT_CODE * 4, words, sizeof(words), true);
	if (variant == 1)
		kernel(s, TLBI_VMALLE1, 0);
	/*
	 * The last NOP of a stream may be where the stream stores another instruction: let it be
	 * decoded before that.
	 */
	for (uint32_t i = rec->n; i-- > 0;)
		if (rec->code[i] == NOP) {
			run(s, rec, i, false, res);
			break;
		}
	run(s, rec, 0, false, res);
	/*
	 * Once more, now that it is decoded and its pages are in the TLB: the same way, kicked, or
	 * in single steps.
	 */
	if (variant == 2)
		engine_soft.vcpu_kick(s->vcpu);
	run(s, rec, 0, variant == 3 && !has_exclusives(rec), &again);
	if (memcmp(res, &again, sizeof(again))) {
		*res = again;
		res->notes |= NOTE_AGAIN;
	}
}

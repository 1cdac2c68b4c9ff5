/* SPDX-License-Identifier: MIT */
/*
 * See side.h. The record runs as a user program does: in U mode, translated by Sv39 or Sv32, its
 * pages mapped by tables that look like Linux's. Whatever ends it is a trap to S mode, where an
 * ECALL leaves vcpu_run(). So a record also goes through address translation, traps and SRET, and
 * the code cache's invalidation.
 */
#include <err.h>
#include <string.h>

#include "arch_rv.h"
#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "engine/engine.h"
#include "engine/soft/rv/cpu.h"
#include "host/loop.h"
#include "mem/gmem.h"
#include "side.h"
#include "slot.h"

/* Guest physical memory */
enum {
	RAM_BASE = 0x40000000,
	PA_TABLES = RAM_BASE, /* the root, then what it needs */
	PA_KERNEL = RAM_BASE + 0x10000,
	PA_USER = RAM_BASE + 0x20000, /* scratch and code */
	RAM_SIZE = 0x200000,
};
/* The kernel's page, at its physical address: out of reach of everything that a record does */
enum { SRET_AT = 0, SFENCE_AT = 0x10, VECTOR_AT = 0x100 };

#define ECALL      0x00000073u
#define SRET       0x10200073u
#define SFENCE_VMA 0x12000073u

/* Page table entries (volume II, 10.3.1) */
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };

struct side {
	struct gmem *mem;
	struct bus *bus;
	struct loop *loop; /* never runs: no timer is armed */
	struct clock *clock;
	struct engine *engine;
	struct vcpu *vcpu;
	struct rv_cpu *cpu;
	uint64_t scratch[SCRATCH_SIZE / 8];
	gpa_t next_table;
};

static void put(struct side *s, gpa_t gpa, const void *buf, size_t len)
{
	if (gmem_write(s->mem, gpa, buf, len))
		errx(2, "no RAM at %llx", (unsigned long long)gpa);
}

static void map_page(struct side *s, uint64_t va, gpa_t pa, uint64_t attributes)
{
	unsigned levels = rv_is_64 ? 3 : 2, index_bits = rv_is_64 ? 9 : 10, size = rv_is_64 ? 8 : 4;
	gpa_t table = PA_TABLES;

	for (unsigned level = levels; level--;) {
		gpa_t at = table + (va >> (12 + level * index_bits) & mask_low(index_bits)) * size;
		uint64_t pte = 0;

		if (level == 0) {
			pte = pa >> 2 | attributes | PTE_V | PTE_A | PTE_D;
			put(s, at, &pte, size);
			return;
		}
		if (gmem_read(s->mem, at, &pte, size))
			errx(2, "no RAM for page tables");
		if (!pte) {
			pte = s->next_table >> 2 | PTE_V;
			s->next_table += GMEM_PAGE_SIZE;
			put(s, at, &pte, size);
		}
		table = pte >> 10 << 12;
	}
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
		map_page(s, va, user_pa(va), attributes | PTE_U);
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

/* In S mode, until the next ECALL. */
static void run_kernel(struct side *s, uint64_t pc)
{
	enum vcpu_exit exit;

	engine_soft.vcpu_set(s->vcpu, VCPU_REG_PC, pc);
	do {
		if (engine_soft.vcpu_run(s->vcpu, &exit))
			errx(2, "vcpu_run failed");
	} while (exit == VCPU_KICKED);
	if (exit != VCPU_CALL)
		errx(2, "exit %d is not an ECALL", exit);
}

struct side *side_create(void)
{
	static const struct vcpu_wiring wiring = { .sbi = true };
	static const uint32_t code[][2] = { { SRET, ECALL }, { SFENCE_VMA, ECALL } };
	static const uint32_t vector = ECALL;
	static struct side side; /* one per program */
	struct side *s = &side;
	struct err err = ERR_INIT;
	struct engine_config config;

	if (gmem_create(&s->mem, &err) || gmem_add_ram(s->mem, RAM_BASE, RAM_SIZE, &err) ||
	    bus_create(&s->bus, &err) || loop_create(&s->loop, &err) ||
	    clock_create(&s->clock, s->loop, &err))
		errx(2, "%s", err.msg);
	config = (struct engine_config){ .arch = rv_is_64 ? GUEST_RV64 : GUEST_RV32,
					 .mem = s->mem,
					 .mmio = s->bus,
					 .clock = s->clock,
					 .n_vcpus = 1 };
	if (engine_soft.create(&s->engine, &config, &err) ||
	    engine_soft.vcpu_create(s->engine, 0, &wiring, &s->vcpu, &err) ||
	    engine_soft.vcpu_init(s->vcpu, &err))
		errx(2, "%s", err.msg);
	s->cpu = container_of(s->vcpu, struct rv_cpu, vcpu);

	s->next_table = PA_TABLES + GMEM_PAGE_SIZE;
	map_page(s, PA_KERNEL, PA_KERNEL, PTE_R | PTE_X);
	map_user(s, SCRATCH_BASE, SCRATCH_END, PTE_R | PTE_W);
	map_user(s, CODE_PAGES, CODE_PAGES_END, PTE_R | PTE_W | PTE_X);
	put(s, PA_KERNEL + SRET_AT, code[0], sizeof(code[0]));
	put(s, PA_KERNEL + SFENCE_AT, code[1], sizeof(code[1]));
	put(s, PA_KERNEL + VECTOR_AT, &vector, sizeof(vector));

	copy_user(s, CODE_PAGES_END - 2, &(uint16_t){ LAST_HALF }, 2, true);
	engine_soft.vcpu_reset(s->vcpu);
	rv_csr_write(s->cpu, 0x105, PA_KERNEL + VECTOR_AT); /* stvec */
	rv_csr_write(s->cpu, 0x10a, RV_ENVCFG_CBZE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBIE);
	rv_csr_write(s->cpu, 0x180, PA_TABLES >> 12 | (rv_is_64 ? 8ULL << 60 : 1ULL << 31));
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

/* What Linux makes of an exception from U mode (arch/riscv/kernel/traps.c). */
static enum insn_stop stop_of(uint64_t cause)
{
	switch (cause) {
	case RV_ILLEGAL: return STOP_ILL;
	case RV_INSN_ACCESS:
	case RV_LOAD_ACCESS:
	case RV_STORE_ACCESS:
	case RV_INSN_PAGE:
	case RV_LOAD_PAGE:
	case RV_STORE_PAGE: return STOP_SEGV;
	case RV_INSN_MISALIGNED:
	case RV_LOAD_MISALIGNED:
	case RV_STORE_MISALIGNED: return STOP_BUS;
	case RV_BREAKPOINT: return STOP_TRAP;
	default: return STOP_OTHER;
	}
}

/* The instruction at pc, which rv_illegal() puts into stval. */
static uint32_t word_at(struct side *s, uint64_t pc)
{
	uint32_t w = 0;

	copy_user(s, pc, &w, 2, false);
	if ((w & 3) == 3)
		copy_user(s, pc, &w, 4, false);
	return w;
}

static void run(struct side *s, const struct insn_record *rec, uint64_t pc, struct insn_result *res)
{
	struct rv_cpu *c = s->cpu;
	struct insn_state *out = &res->out;

	if (rec->flags & INSN_MEM) {
		scratch_fill(s->scratch, rec->mem_seed);
		copy_user(s, SCRATCH_BASE, s->scratch, SCRATCH_SIZE, true);
	}
	memcpy(c->x, rec->in.x, sizeof(rec->in.x));
	c->x[0] = 0;
	c->x[31] = slot_pc(rec->slot);
	memcpy(c->f, rec->in.f, sizeof(rec->in.f));
	c->fflags = rec->in.fcsr & 0x1f;
	c->frm = rec->in.fcsr >> 5 & 7;
	c->resv_valid = false;
	c->csr.mstatus = RV_FS | RV_SPIE; /* SPP: U */
	c->csr.sepc = pc;
	c->csr.stval = 0;
	run_kernel(s, PA_KERNEL + SRET_AT);
	if (engine_soft.vcpu_get(s->vcpu, VCPU_REG_PC) != PA_KERNEL + VECTOR_AT + 4 ||
	    (c->csr.mstatus & RV_SPP))
		errx(2, "not a trap from U mode");

	memset(res, 0, sizeof(*res));
	memcpy(out->x, c->x, sizeof(out->x));
	memcpy(out->f, c->f, sizeof(out->f));
	out->pc = c->csr.sepc;
	out->fcsr = (uint32_t)c->frm << 5 | c->fflags;
	res->far = c->csr.stval;
	res->stop = stop_of(c->csr.scause);
	if (res->stop == STOP_ILL && (uint32_t)res->far != word_at(s, out->pc))
		res->notes |= NOTE_TVAL;
	if (res->stop == STOP_TRAP && res->far != out->pc)
		res->notes |= NOTE_TVAL;
	if (rec->flags & INSN_MEM) {
		copy_user(s, SCRATCH_BASE, s->scratch, SCRATCH_SIZE, false);
		res->mem_sum = scratch_sum(s->scratch);
	}
}

void side_run(struct side *s, const struct insn_record *rec, struct insn_result *res)
{
	struct insn_result again;
	uint16_t halves[SLOT_SIZE / 2];
	unsigned variant = rec->slot & 3;

	slot_fill(halves, rec);
	copy_user(s, slot_pc(rec->slot) - SLOT_BEFORE, halves, sizeof(halves), true);
	if (variant == 1)
		run_kernel(s, PA_KERNEL + SFENCE_AT);
	/*
	 * The last NOP of a stream may be where the stream stores another instruction: let it be
	 * decoded before that.
	 */
	for (uint32_t i = rec->n; i-- > 0;)
		if (rec->code[i] == arch_nop(rec->code[i])) {
			run(s, rec, arch_pc(rec, i), res);
			break;
		}
	run(s, rec, slot_pc(rec->slot), res);
	/* Once more, now that it is decoded and its pages are in the TLB; half of the
	 * time kicked. */
	if (variant == 2)
		engine_soft.vcpu_kick(s->vcpu);
	run(s, rec, slot_pc(rec->slot), &again);
	if (memcmp(res, &again, sizeof(again))) {
		*res = again;
		res->notes |= NOTE_AGAIN;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * AArch64 address translation, stage 1, EL1&0 regime (DDI0487 D8), and the data accesses built on
 * it.
 *
 * The fast path is inline: one compare against the soft TLB. Everything else, that is misses,
 * faults, devices, accesses across a page, tagged addresses and pages with decoded code, is
 * a64_load_slow() and a64_store_slow(), which do one access completely.
 */
#ifndef HAKO_ENGINE_SOFT_A64_MMU_H
#define HAKO_ENGINE_SOFT_A64_MMU_H

#include "engine/soft/a64/cpu.h"
#include "engine/soft/access.h"

/* A64_AT_WRITE: is a write allowed? It leaves the dirty state alone (AT S1E1W). */
enum a64_access { A64_READ, A64_WRITE, A64_EXEC, A64_AT_WRITE };

struct a64_walk {
	uint64_t pa;
	uint8_t block; /* log2 of the bytes mapped by the descriptor */
	bool global;
	bool device;  /* Device memory: unaligned accesses fault */
	uint8_t attr; /* MAIR_EL1 byte */
	uint8_t sh;
	/* What this translation allows at the exception level asked about. */
	bool read, write, exec;
	uint32_t fsc; /* fault status code when translation failed */
};

/* AArch64.TranslateAddress() for one access; false: fault, see fsc. Updates AF and dirty state. */
bool a64_translate(struct a64_cpu *c, uint64_t va, enum a64_access access, unsigned el, bool pan,
		   struct a64_walk *w);

/* Fault status codes (D17.2.37, data abort ISS). */
enum {
	A64_FSC_ADDR_SIZE = 0x00,
	A64_FSC_TRANSLATION = 0x04,
	A64_FSC_ACCESS_FLAG = 0x08,
	A64_FSC_PERMISSION = 0x0c,
	A64_FSC_EXTERNAL = 0x10,
	A64_FSC_EXTERNAL_WALK = 0x14,
	A64_FSC_ALIGNMENT = 0x21,
	A64_FSC_UNSUPPORTED_ATOMIC = 0x35,
};
enum { A64_ISS_WNR = 1 << 6, A64_ISS_CM = 1 << 8 };

/* A data abort at va. */
_Noreturn void a64_data_abort(struct a64_cpu *c, uint64_t va, uint32_t fsc, uint32_t iss);

/* Complete accesses of 1, 2, 4 or 8 bytes through the TLB context `t` (EL0's for LDTR and STTR). */
uint64_t a64_load_slow(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size);
void a64_store_slow(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size, uint64_t val);

/*
 * Host memory for an atomic access of `size` bytes (1..16), which must be aligned to its size;
 * faults as its kind does. *gpa tells where, for a64_atomic_done().
 */
enum a64_atomic { A64_LOAD_EXCLUSIVE, A64_STORE_EXCLUSIVE, A64_READ_MODIFY_WRITE };
void *a64_atomic_host(struct a64_cpu *c, uint64_t va, unsigned size, enum a64_atomic kind,
		      gpa_t *gpa);
/* After an atomic write. */
void a64_atomic_done(struct a64_cpu *c, gpa_t gpa, unsigned size);

/* The context that LDTR and STTR use: EL0's, whatever the current level. */
struct tlb *a64_unpriv_tlb(struct a64_cpu *c);

/* The ops for the instruction at va; takes the fault itself and returns NULL (c->pc is
 * the vector). */
const struct op *a64_fetch(struct a64_cpu *c, uint64_t va);

/* DC ZVA: zero a 64-byte block. */
void a64_zero_block(struct a64_cpu *c, uint64_t va);
/* Cache maintenance by address: the faults that it would take (EL0 needs read permission). */
void a64_probe_maintenance(struct a64_cpu *c, uint64_t va);
/* IC IVAU and IC IALLU: forget decoded instructions. */
void a64_ic_ivau(struct a64_cpu *c, uint64_t va);

/* AT S1E{0,1}{R,W}[P]: result into PAR_EL1. */
void a64_at(struct a64_cpu *c, uint64_t va, unsigned el, bool write, bool pan);

/* TLBI, here and, for the Inner Shareable forms, on every vCPU. */
enum a64_tlbi_kind { A64_TLBI_ALL, A64_TLBI_ASID, A64_TLBI_VA, A64_TLBI_VAA };
struct a64_tlbi {
	enum a64_tlbi_kind kind;
	uint64_t va, pages; /* range of 4 KiB pages */
	uint16_t asid;
};
void a64_tlbi(struct a64_cpu *c, const struct a64_tlbi *t, bool broadcast);

/* The ASID in a TTBR or a TLBI operand: 16 bits, or 8 with TCR_EL1.AS = 0. */
uint16_t a64_asid(const struct a64_cpu *c, uint64_t v);
/* The current ASID or a table base changed: choose the EL0 context, drop what EL1 must not see. */
void a64_asid_changed(struct a64_cpu *c);
void a64_flush_all_tlbs(struct a64_cpu *c);

/* ---- fast path ---- */

static inline uint64_t a64_load_in(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size)
{
	const struct tlb_entry *e = tlb_d(t, va);
	if (likely(((va + size - 1) & TLB_PAGE_MASK) == e->r))
		return soft_load((const void *)(uintptr_t)(va + e->addend), size);
	return a64_load_slow(c, t, va, size);
}

static inline void a64_store_in(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size,
				uint64_t v)
{
	const struct tlb_entry *e = tlb_d(t, va);
	if (likely(((va + size - 1) & TLB_PAGE_MASK) == e->w))
		soft_store((void *)(uintptr_t)(va + e->addend), size, v);
	else
		a64_store_slow(c, t, va, size, v);
}

static inline uint64_t a64_load(struct a64_cpu *c, uint64_t va, unsigned size)
{
	return a64_load_in(c, c->tlb, va, size);
}

static inline void a64_store(struct a64_cpu *c, uint64_t va, unsigned size, uint64_t v)
{
	a64_store_in(c, c->tlb, va, size, v);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * RISC-V address translation (Sv32, Sv39, Sv48), physical memory protection, and data accesses.
 * Volume II, chapters 3.7 (PMP) and 10 (supervisor-level translation).
 *
 * Presented: Svadu (menvcfg.ADUE), Svpbmt (menvcfg.PBMTE), 16-bit ASIDs in RV64, 9-bit in RV32.
 */
#include <string.h>

#include "bus/bus.h"
#include "engine/soft/access.h"
#include "engine/soft/rv/cpu.h"

/* CLEAN: of a cache block; needs what a load needs, faults as a store does (volume I, 19.5.3). */
enum access { READ, WRITE, EXEC, CLEAN };

/* Page table entries (10.3.1) */
enum { PTE_V = 0, PTE_R = 1, PTE_W = 2, PTE_X = 3, PTE_U = 4, PTE_G = 5, PTE_A = 6, PTE_D = 7 };

/* satp.MODE (10.1.11) */
enum { MODE_BARE = 0, MODE_SV32 = 1, MODE_SV39 = 8, MODE_SV48 = 9 };

struct walk {
	uint64_t pa;
	uint8_t block; /* log2 of the bytes that the leaf maps */
	bool global;
	bool read, write, exec; /* what may be done without another look */
};

static _Noreturn void fault(struct rv_cpu *c, uint64_t va, enum access a, bool page)
{
	static const enum rv_cause cause[][2] = {
		[READ] = { RV_LOAD_ACCESS, RV_LOAD_PAGE },
		[WRITE] = { RV_STORE_ACCESS, RV_STORE_PAGE },
		[EXEC] = { RV_INSN_ACCESS, RV_INSN_PAGE },
		[CLEAN] = { RV_STORE_ACCESS, RV_STORE_PAGE },
	};
	rv_raise_at(c, cause[a][page], va, a == EXEC ? c->fetch_pc : rv_op_va(c, c->cur));
}

/* ---- physical memory protection (3.7) ---- */

static unsigned pmp_perm(unsigned cfg)
{
	return cfg & 7;
}

/* The bytes that entry i matches: [*lo, *hi). False: OFF. */
static bool pmp_range(const struct rv_cpu *c, unsigned i, uint64_t *lo, uint64_t *hi)
{
	uint64_t a = c->csr.pmpaddr[i];
	switch (c->csr.pmpcfg[i] >> 3 & 3) {
	case 1: /* TOR */
		*lo = i ? c->csr.pmpaddr[i - 1] << 2 : 0;
		*hi = a << 2;
		return *lo < *hi;
	case 2: /* NA4 */
		*lo = a << 2;
		*hi = *lo + 4;
		return true;
	case 3: { /* NAPOT: n trailing ones: 2^(n+3) bytes */
		uint64_t mask = a ^ (a + 1);
		*lo = (a & ~mask) << 2;
		*hi = *lo + ((mask + 1) << 2);
		if (*hi <= *lo)
			*hi = ~0ULL;
		return true;
	}
	default: return false;
	}
}

/*
 * May [pa, pa + len) be accessed at privilege `priv`? The first entry that matches any byte
 * decides, and it must match all. *whole_page: the same answer holds for the page that holds pa.
 */
static bool pmp_ok(const struct rv_cpu *c, uint64_t pa, unsigned len, enum access a, unsigned priv,
		   bool *whole_page)
{
	static const uint8_t need[] = { [READ] = 1, [WRITE] = 2, [EXEC] = 4, [CLEAN] = 1 };
	uint64_t page = align_down(pa, 4096), lo, hi;
	bool any = false;

	*whole_page = true;
	for (unsigned i = 0; i < RV_N_PMP; i++) {
		if (!pmp_range(c, i, &lo, &hi))
			continue;
		any = true;
		/* An entry that cuts through the page makes the page's answer more than one. */
		if (lo < page + 4096 && page < hi && !(lo <= page && page + 4096 <= hi))
			*whole_page = false;
		if (lo >= pa + len || hi <= pa)
			continue;
		if (lo > pa || hi < pa + len)
			return false;
		if (priv == RV_M && !(c->csr.pmpcfg[i] & 0x80))
			return true;
		return pmp_perm(c->csr.pmpcfg[i]) & need[a];
	}
	/* With entries implemented, S and U need a match; none configured is hako's reset state. */
	return priv == RV_M || (!any && c->sbi);
}

/* ---- translation ---- */

static _Atomic uint64_t *pte_host(struct rv_cpu *c, uint64_t pa)
{
	const struct gmem_region *r = gmem_find(c->vcpu.engine->cfg.mem, pa);
	return r ? (_Atomic uint64_t *)(void *)(r->host + (pa - r->base)) : NULL;
}

/* One entry, 4 or 8 bytes, and its update if nobody changed it meanwhile. */
static uint64_t pte_load(void *host, unsigned size)
{
	return size == 4 ? atomic_load_explicit((_Atomic uint32_t *)host, memory_order_acquire)
			 : atomic_load_explicit((_Atomic uint64_t *)host, memory_order_acquire);
}
static bool pte_swap(void *host, unsigned size, uint64_t old, uint64_t new)
{
	if (size == 8)
		return atomic_compare_exchange_strong((_Atomic uint64_t *)host, &old, new);
	uint32_t old32 = (uint32_t)old;
	return atomic_compare_exchange_strong((_Atomic uint32_t *)host, &old32, (uint32_t) new);
}

/* Does the leaf allow this, at this privilege, with SUM and MXR as they are? */
static bool leaf_allows(const struct rv_cpu *c, uint64_t pte, enum access a, unsigned priv)
{
	bool user = bit(pte, PTE_U);
	if (priv == RV_U ? !user : user && (a == EXEC || !(c->csr.mstatus & RV_SUM)))
		return false;
	switch (a) {
	case READ:
	case CLEAN: return bit(pte, PTE_R) || ((c->csr.mstatus & RV_MXR) && bit(pte, PTE_X));
	case WRITE: return bit(pte, PTE_W);
	default: return bit(pte, PTE_X);
	}
}

static void translate(struct rv_cpu *c, uint64_t va, enum access a, unsigned priv, struct walk *w)
{
	uint64_t satp = c->csr.satp;
	unsigned mode = c->xlen64 ? (unsigned)(satp >> 60) : (unsigned)(satp >> 31 & 1);

	if (priv == RV_M || mode == MODE_BARE) {
		*w = (struct walk){ c->xlen64 ? va : (uint32_t)va, 12, true, true, true, true };
		return;
	}
	unsigned levels = mode == MODE_SV48 ? 4 : mode == MODE_SV39 ? 3 : 2;
	unsigned size = c->xlen64 ? 8 : 4, index_bits = c->xlen64 ? 9 : 10;
	unsigned va_bits = 12 + levels * index_bits;
	uint64_t base = (c->xlen64 ? bits(satp, 43, 0) : bits(satp, 21, 0)) << 12;
	bool global = false;

	if (c->xlen64 && (uint64_t)sign_extend(va, va_bits) != va)
		fault(c, va, a, true);
	for (unsigned level = levels; level--;) {
		unsigned shift = 12 + level * index_bits;
		uint64_t at = base + (va >> shift & mask_low(index_bits)) * size;
		void *host = pte_host(c, at);
		bool whole;
		if (!host || !pmp_ok(c, at, size, READ, RV_S, &whole))
			fault(c, va, a, false);
		uint64_t pte = pte_load(host, size);
	again:
		if (!bit(pte, PTE_V) || (!bit(pte, PTE_R) && bit(pte, PTE_W)))
			fault(c, va, a, true);
		/* Svpbmt's bits, Svnapot's and the reserved ones (10.4.1) */
		if (c->xlen64 && (pte >> 54 & 0x3ff)) {
			bool pbmt = bits(pte, 62, 61) && bits(pte, 62, 61) != 3 &&
				    (c->csr.menvcfg & RV_ENVCFG_PBMTE);
			bool leaf = bit(pte, PTE_R) || bit(pte, PTE_X);
			if (bit(pte, 63) || bits(pte, 60, 54) ||
			    (bits(pte, 62, 61) && !(pbmt && leaf)))
				fault(c, va, a, true);
		}
		uint64_t next = (c->xlen64 ? bits(pte, 53, 10) : bits(pte, 31, 10)) << 12;
		global |= bit(pte, PTE_G);
		if (!bit(pte, PTE_R) && !bit(pte, PTE_X)) {
			if (level == 0 || bit(pte, PTE_A) || bit(pte, PTE_D) || bit(pte, PTE_U))
				fault(c, va, a, true);
			base = next;
			continue;
		}
		if (next & mask_low(shift) || !leaf_allows(c, pte, a, priv))
			fault(c, va, a, true);
		uint64_t want = pte | BIT(PTE_A) | (a == WRITE ? BIT(PTE_D) : 0);
		if (want != pte) {
			/* Svadu: hardware updates A and D; without it, software does after
			 * a fault. */
			if (!(c->csr.menvcfg & RV_ENVCFG_ADUE))
				fault(c, va, a, true);
			if (!pmp_ok(c, at, size, WRITE, RV_S, &whole))
				fault(c, va, a, false);
			if (!pte_swap(host, size, pte, want)) {
				pte = pte_load(host, size);
				goto again;
			}
			gmem_written(c->vcpu.engine->cfg.mem, at, size);
			pte = want;
		}
		*w = (struct walk){
			.pa = next | (va & mask_low(shift)),
			.block = (uint8_t)shift,
			.global = global,
			.read = leaf_allows(c, pte, READ, priv),
			.write = leaf_allows(c, pte, WRITE, priv) && bit(pte, PTE_D),
			.exec = leaf_allows(c, pte, EXEC, priv),
		};
		return;
	}
	fault(c, va, a, true);
}

/* ---- data accesses ---- */

struct place {
	uint8_t *host; /* NULL: a device */
	gpa_t pa;
	_Atomic uint8_t *flags; /* of the page, when it is RAM */
};

/* The privilege of data accesses through a context. */
static unsigned ctx_priv(const struct rv_cpu *c, const struct tlb *t)
{
	unsigned i = (unsigned)(t - c->ctx);
	return i == RV_CTX_M ? RV_M : i < RV_CTX_U ? RV_S : RV_U;
}

static uint64_t key(const struct rv_cpu *c, uint64_t va)
{
	return c->xlen64 ? va : (uint32_t)va;
}

static struct place resolve(struct rv_cpu *c, uint64_t va, unsigned size, enum access a)
{
	struct tlb *t = c->tlb;
	uint64_t page = va & TLB_PAGE_MASK;
	struct tlb_entry *e = tlb_d(t, va);
	struct place p = { 0 };
	struct walk w;
	bool whole;

	if ((a == WRITE ? e->w : e->r) == page) {
		p.host = (uint8_t *)(uintptr_t)(va + e->addend);
		return p;
	}
	unsigned priv = ctx_priv(c, t);
	translate(c, va, a, priv, &w);
	if (!pmp_ok(c, w.pa, size, a, priv, &whole))
		fault(c, va, a, false);
	p.pa = w.pa;
	const struct gmem_region *r = gmem_find(c->vcpu.engine->cfg.mem, w.pa);
	if (!r)
		return p;
	p.host = r->host + (w.pa - r->base);
	p.flags = &r->flags[(w.pa - r->base) >> GMEM_PAGE_SHIFT];

	if (whole && !soft_watched_page(&c->vcpu, page)) {
		bool ok;
		if (e->w != TLB_NO_TAG)
			soft_protect(&c->vcpu);
		bool r_ok = w.read && pmp_ok(c, w.pa, 1, READ, priv, &ok);
		bool w_ok = w.write && pmp_ok(c, w.pa, 1, WRITE, priv, &ok);
		e->r = r_ok ? page : TLB_NO_TAG;
		e->w = w_ok && soft_may_tag_writes(p.flags) ? page : TLB_NO_TAG;
		e->addend = (uintptr_t)p.host - (uintptr_t)va;
		e->block = w.block;
		e->global = w.global;
		tlb_added(t, va, w.block, w.global);
	}
	return p;
}

static unsigned in_page(uint64_t va, unsigned len)
{
	unsigned left = GMEM_PAGE_SIZE - (unsigned)(va % GMEM_PAGE_SIZE);
	return len < left ? len : left;
}

/* After a store to RAM that no write tag covered: decoded instructions may be stale. */
static void stored(struct rv_cpu *c, const struct place *p, unsigned len, bool rest)
{
	if (p->flags)
		soft_stored(&c->vcpu, p->pa, len, rest);
}

/* A debugger's watchpoint. A hit stops before the instruction: engine/soft/debug.h. */
static void watch(struct rv_cpu *c, uint64_t va, unsigned len, enum debug_access access)
{
	if (likely(!c->vcpu.engine->points.n_watch) || !soft_watch(&c->vcpu, va, len, access))
		return;
	c->pc = rv_op_va(c, c->cur);
	longjmp(c->unwind, 1);
}

uint64_t rv_load_slow(struct rv_cpu *c, uint64_t va, unsigned size)
{
	uint64_t v = 0;
	va = key(c, va);
	unsigned first = in_page(va, size);
	struct place p = resolve(c, va, first, READ);

	watch(c, va, size, DEBUG_READ);
	if (first == size) {
		if (p.host)
			return soft_load(p.host, size);
		if (va % size)
			rv_raise(c, RV_LOAD_MISALIGNED, va);
		soft_count(&c->vcpu, SOFT_COUNT_MMIO_READ);
		if (bus_read(c->vcpu.engine->cfg.mmio, p.pa, size, &v))
			fault(c, va, READ, false);
		return v;
	}
	struct place q = resolve(c, key(c, va + first), size - first, READ);
	if (!p.host || !q.host)
		rv_raise(c, RV_LOAD_MISALIGNED, va);
	memcpy(&v, p.host, first);
	memcpy((char *)&v + first, q.host, size - first);
	return v;
}

void rv_store_slow(struct rv_cpu *c, uint64_t va, unsigned size, uint64_t v)
{
	va = key(c, va);
	unsigned first = in_page(va, size);
	struct place p = resolve(c, va, first, WRITE);

	watch(c, va, size, DEBUG_WRITE);
	if (first == size) {
		if (p.host) {
			soft_store(p.host, size, v);
			stored(c, &p, size, false);
			return;
		}
		if (va % size)
			rv_raise(c, RV_STORE_MISALIGNED, va);
		soft_count(&c->vcpu, SOFT_COUNT_MMIO_WRITE);
		if (bus_write(c->vcpu.engine->cfg.mmio, p.pa, size, v & mask_low(8 * size)))
			fault(c, va, WRITE, false);
		return;
	}
	struct place q = resolve(c, key(c, va + first), size - first, WRITE);
	/* That may have taken the first one's write tag away (soft_protect), and told others of
	 * stores up to then: this one must be told by itself. */
	p = resolve(c, va, first, WRITE);
	if (!p.host || !q.host)
		rv_raise(c, RV_STORE_MISALIGNED, va);
	memcpy(p.host, &v, first);
	memcpy(q.host, (char *)&v + first, size - first);
	stored(c, &p, first, false);
	stored(c, &q, size - first, true);
}

void *rv_atomic_host(struct rv_cpu *c, uint64_t va, unsigned size, bool load_only, gpa_t *gpa)
{
	va = key(c, va);
	enum access a = load_only ? READ : WRITE;
	if (va % size)
		rv_raise(c, load_only ? RV_LOAD_MISALIGNED : RV_STORE_MISALIGNED, va);
	struct place p = resolve(c, va, size, a);
	if (!p.host)
		fault(c, va, a, false);
	watch(c, va, size, load_only ? DEBUG_READ : DEBUG_WRITE);
	*gpa = p.flags ? p.pa : ~0ULL;
	return p.host;
}

void rv_atomic_done(struct rv_cpu *c, gpa_t gpa, unsigned size)
{
	if (gpa != ~0ULL)
		soft_stored(&c->vcpu, gpa, size, false);
}

/* CBO.ZERO */
void rv_zero_block(struct rv_cpu *c, uint64_t va)
{
	va = align_down(key(c, va), RV_BLOCK_SIZE);
	struct place p = resolve(c, va, RV_BLOCK_SIZE, WRITE);
	if (!p.host)
		fault(c, va, WRITE, false);
	watch(c, va, RV_BLOCK_SIZE, DEBUG_WRITE);
	memset(p.host, 0, RV_BLOCK_SIZE);
	stored(c, &p, RV_BLOCK_SIZE, false);
}

/* CBO.CLEAN, FLUSH, INVAL: memory is coherent; what remains are the faults of a load or store. */
void rv_probe_block(struct rv_cpu *c, uint64_t va)
{
	struct walk w;
	bool whole;
	va = key(c, va);
	unsigned priv = ctx_priv(c, c->tlb);
	translate(c, va, CLEAN, priv, &w);
	if (!pmp_ok(c, w.pa, 1, CLEAN, priv, &whole))
		fault(c, va, CLEAN, false);
}

/* ---- fetch ---- */

/* PMP cuts through the page: each instruction is looked at by itself, and decoded anew. */
static const struct op *fetch_alone(struct rv_cpu *c, uint64_t va, const uint8_t *host)
{
	uint32_t w = (uint32_t)soft_load(host, 2);

	c->page_va = va;
	c->page = c->cur = c->cross;
	if ((w & 3) == 3)
		w |= (uint32_t)rv_fetch16(c, va + 2) << 16;
	return rv_decode_alone(c, w);
}

const struct op *rv_fetch(struct rv_cpu *c, uint64_t va)
{
	struct tlb *t = c->tlb_x;
	va = key(c, va);
	uint64_t page = va & TLB_PAGE_MASK;
	struct tlb_xentry *x = tlb_x(t, va);

	c->pc = c->fetch_pc = va;
	if (x->va != page) {
		struct walk w;
		bool whole;
		translate(c, va, EXEC, c->priv, &w);
		const struct gmem_region *r = gmem_find(c->vcpu.engine->cfg.mem, w.pa);
		if (!r || !pmp_ok(c, w.pa, 2, EXEC, c->priv, &whole))
			fault(c, va, EXEC, false);
		if (!whole)
			return fetch_alone(c, va, r->host + (w.pa - r->base));
		uint64_t off = align_down(w.pa - r->base, GMEM_PAGE_SIZE);
		x->page = soft_code_page(&c->vcpu, r->base + off, r->host + off,
					 &r->flags[off >> GMEM_PAGE_SHIFT]);
		x->va = page;
		x->block = w.block;
		x->global = w.global;
		tlb_added(t, va, w.block, w.global);
	}
	c->page_va = page;
	c->page = x->page->ops;
	return &c->page[va % GMEM_PAGE_SIZE / 2];
}

uint16_t rv_fetch16(struct rv_cpu *c, uint64_t va)
{
	struct walk w;
	bool whole;
	va = key(c, va);
	c->fetch_pc = rv_op_va(c, c->cur); /* a fault is the instruction's, at its second half */
	translate(c, va, EXEC, c->priv, &w);
	const struct gmem_region *r = gmem_find(c->vcpu.engine->cfg.mem, w.pa);
	if (!r || !pmp_ok(c, w.pa, 2, EXEC, c->priv, &whole))
		fault(c, va, EXEC, false);
	return (uint16_t)soft_load(r->host + (w.pa - r->base), 2);
}

/* ---- TLB maintenance ---- */

void rv_flush_all_tlbs(struct rv_cpu *c)
{
	soft_protect(&c->vcpu);
	for (unsigned i = 0; i < RV_N_CTXS; i++)
		tlb_flush(&c->ctx[i]);
}

void rv_fence_here(struct rv_cpu *c, const struct rv_fence *f)
{
	soft_protect(&c->vcpu);
	for (unsigned i = RV_CTX_S; i < RV_N_CTXS; i++) {
		struct tlb *t = &c->ctx[i];
		/* S mode's contexts follow the current ASID; invalidating too much is allowed. */
		bool mine = f->asid == ~0u || i < RV_CTX_U || c->ctx_asid[i - RV_CTX_U] == f->asid;
		if (!mine)
			continue;
		if (f->pages)
			tlb_flush_range(t, f->va, f->pages);
		else if (f->asid == ~0u)
			tlb_flush(t);
		else
			tlb_flush_local(t);
	}
}

void rv_satp_changed(struct rv_cpu *c)
{
	uint32_t asid =
		(uint32_t)(c->xlen64 ? bits(c->csr.satp, 59, 44) : bits(c->csr.satp, 30, 22));
	unsigned slot = c->ctx_now;

	if (c->ctx_asid[slot] != asid) {
		soft_protect(&c->vcpu);
		unsigned oldest = 0;
		for (slot = 0; slot < RV_N_ASIDS && c->ctx_asid[slot] != asid; slot++)
			if (c->ctx_used[slot] < c->ctx_used[oldest])
				oldest = slot;
		if (slot == RV_N_ASIDS) {
			slot = oldest;
			tlb_flush(&c->ctx[RV_CTX_U + slot]);
			c->ctx_asid[slot] = asid;
		}
		c->ctx_now = slot;
		c->ctx_used[slot] = ++c->ctx_clock;
		tlb_flush_local(&c->ctx[RV_CTX_S]);
		tlb_flush_local(&c->ctx[RV_CTX_S_SUM]);
	}
	rv_state_changed(c);
}

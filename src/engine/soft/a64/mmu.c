/* SPDX-License-Identifier: MIT */
/*
 * AArch64 address translation and data accesses. mmu.h has the contract; DDI0487 D8 the rules.
 *
 * Presented to the guest: 4 KiB granule, 48-bit virtual and 40-bit physical addresses, 16-bit
 * ASIDs, hardware update of the access flag and dirty state (FEAT_HAFDBS), FEAT_PAN, top byte
 * ignore.
 */
#include "engine/soft/a64/mmu.h"

#include <string.h>

#include "base/err.h"
#include "bus/bus.h"

/* PARange 2: 40 bits (ID_AA64MMFR0_EL1) */
enum { PA_BITS = 40 };

enum { SCTLR_M = 1 << 0, SCTLR_A = 1 << 1, SCTLR_WXN = 1 << 19 };

/* TCR_EL1 (D17.2.139) */
enum {
	TCR_EPD0 = 7,
	TCR_A1 = 22,
	TCR_EPD1 = 23,
	TCR_AS = 36,
	TCR_TBI0 = 37,
	TCR_TBI1 = 38,
	TCR_HA = 39,
	TCR_HD = 40,
	TCR_E0PD0 = 55,
	TCR_E0PD1 = 56,
};

/* Descriptors, 4 KiB granule (D8.3) */
#define DESC_ADDR 0x0000fffffffff000ULL
enum {
	DESC_VALID = 0,
	DESC_TABLE = 1,
	DESC_AP1 = 6, /* accessible from EL0 */
	DESC_AP2 = 7, /* read-only */
	DESC_AF = 10,
	DESC_NG = 11,
	DESC_DBM = 51,
	DESC_PXN = 53,
	DESC_UXN = 54,
	TABLE_PXN = 59,
	TABLE_UXN = 60,
	TABLE_AP0 = 61, /* no access from EL0 */
	TABLE_AP1 = 62, /* read-only */
};

/* ---- translation ---- */

static bool tagged_ok(const struct a64_cpu *c, uint64_t va)
{
	return bit(c->sys.tcr_el1, bit(va, 55) ? TCR_TBI1 : TCR_TBI0);
}

/* The address without its tag, where tags are ignored (D8.8). */
static uint64_t untag(const struct a64_cpu *c, uint64_t va)
{
	return tagged_ok(c, va) ? (uint64_t)sign_extend(va, 56) : va;
}

static _Atomic uint64_t *desc_host(struct a64_cpu *c, gpa_t pa)
{
	const struct gmem_region *r = gmem_find(c->vcpu.engine->cfg.mem, pa);
	/* Descriptors are 8-byte aligned, so one that begins in a region lies in it. */
	return r ? (_Atomic uint64_t *)(void *)(r->host + (pa - r->base)) : NULL;
}

static bool fault(struct a64_walk *w, unsigned fsc, unsigned level)
{
	w->fsc = fsc + level;
	return false;
}

/* What AP, PXN, UXN, WXN and PAN allow at an exception level (D8.4). */
static void permissions(const struct a64_cpu *c, uint64_t desc, unsigned el, bool pan,
			struct a64_walk *w)
{
	bool el0 = bit(desc, DESC_AP1), ro = bit(desc, DESC_AP2);
	bool wxn = c->sys.sctlr_el1 & SCTLR_WXN;
	if (el == 0) {
		w->read = el0;
		w->write = el0 && !ro;
		/* Code that EL0 cannot read may still be executed there. */
		w->exec = !bit(desc, DESC_UXN) && !(wxn && w->write);
	} else {
		w->read = !(pan && el0);
		w->write = !ro && !(pan && el0);
		/* What EL0 can write, EL1 never executes. */
		w->exec = !bit(desc, DESC_PXN) && !(el0 && !ro) && !(wxn && !ro);
	}
}

static bool flat(struct a64_cpu *c, uint64_t va, struct a64_walk *w)
{
	/* D8.2.1: stage 1 off: no translation, data is Device-nGnRnE */
	if (bits(va, tagged_ok(c, va) ? 55 : 63, PA_BITS))
		return fault(w, A64_FSC_ADDR_SIZE, 0);
	w->pa = va & mask_low(PA_BITS);
	w->block = 12;
	w->global = true;
	w->device = true;
	w->attr = 0;
	w->sh = 2;
	w->read = w->write = w->exec = true;
	return true;
}

bool a64_translate(struct a64_cpu *c, uint64_t va, enum a64_access access, unsigned el, bool pan,
		   struct a64_walk *w)
{
	if (!(c->sys.sctlr_el1 & SCTLR_M))
		return flat(c, va, w);

	uint64_t tcr = c->sys.tcr_el1;
	bool upper = bit(va, 55);
	unsigned tsz = (unsigned)(upper ? bits(tcr, 21, 16) : bits(tcr, 5, 0));
	tsz = tsz < 16 ? 16 : tsz > 39 ? 39 : tsz;
	unsigned va_bits = 64 - tsz;
	unsigned top = tagged_ok(c, va) ? 55 : 63;
	uint64_t high = bits(va, top, va_bits);
	/* FEAT_E0PD: EL0 must not see whether anything is mapped in a half that is not its own. */
	if (el == 0 && bit(tcr, upper ? TCR_E0PD1 : TCR_E0PD0))
		return fault(w, A64_FSC_TRANSLATION, 0);
	if (bit(tcr, upper ? TCR_EPD1 : TCR_EPD0) ||
	    high != (upper ? mask_low(top - va_bits + 1) : 0))
		return fault(w, A64_FSC_TRANSLATION, 0);

	static const uint8_t ips_bits[8] = { 32, 36, 40, 42, 44, 48, 48, 48 };
	unsigned pa_bits = ips_bits[bits(tcr, 34, 32)];
	pa_bits = pa_bits > PA_BITS ? PA_BITS : pa_bits;

	uint64_t ttbr = upper ? c->sys.ttbr1_el1 : c->sys.ttbr0_el1;
	uint64_t base = bits(ttbr, 47, 1) << 1;
	/* 9 bits of address per level, the first level takes the rest */
	unsigned level = 4 - (va_bits - 12 + 8) / 9;
	uint64_t hier = 0; /* attributes of the tables on the way, ORed */
	_Atomic uint64_t *host;
	uint64_t desc;

	base &= ~mask_low(va_bits - (12 + 9 * (3 - level)) + 3);
	if (base >> pa_bits)
		return fault(w, A64_FSC_ADDR_SIZE, 0);
	for (;; level++) {
		unsigned shift = 12 + 9 * (3 - level);
		unsigned index_top = shift + 8 < va_bits - 1 ? shift + 8 : va_bits - 1;
		host = desc_host(c, base + bits(va, index_top, shift) * 8);
		if (!host)
			return fault(w, A64_FSC_EXTERNAL_WALK, level);
		desc = atomic_load_explicit(host, memory_order_acquire);
	again:
		if (!bit(desc, DESC_VALID))
			return fault(w, A64_FSC_TRANSLATION, level);
		uint64_t addr = desc & DESC_ADDR;
		if (bit(desc, DESC_TABLE) && level < 3) {
			if (addr >> pa_bits)
				return fault(w, A64_FSC_ADDR_SIZE, level);
			hier |= desc;
			base = addr;
			continue;
		}
		if (bit(desc, DESC_TABLE) != (level == 3) || level == 0)
			return fault(w, A64_FSC_TRANSLATION, level);
		addr &= ~mask_low(shift);
		if (addr >> pa_bits)
			return fault(w, A64_FSC_ADDR_SIZE, level);

		uint64_t want = desc;
		if (!bit(desc, DESC_AF)) {
			if (!bit(tcr, TCR_HA))
				return fault(w, A64_FSC_ACCESS_FLAG, level);
			want |= BIT(DESC_AF);
		}
		/* Hierarchical permissions only ever take away (D8.4.2). */
		uint64_t eff = desc;
		bool write = access == A64_WRITE || access == A64_AT_WRITE;
		bool dirty_managed = bit(tcr, TCR_HA) && bit(tcr, TCR_HD) && bit(desc, DESC_DBM);
		if (dirty_managed) /* as good as writable */
			eff &= ~BIT(DESC_AP2);
		eff |= (uint64_t)bit(hier, TABLE_PXN) << DESC_PXN;
		eff |= (uint64_t)bit(hier, TABLE_UXN) << DESC_UXN;
		eff |= (uint64_t)bit(hier, TABLE_AP1) << DESC_AP2;
		if (bit(hier, TABLE_AP0))
			eff &= ~BIT(DESC_AP1);
		permissions(c, eff, el, pan, w);
		if (write ? !w->write : access == A64_READ ? !w->read : !w->exec)
			return fault(w, A64_FSC_PERMISSION, level);
		if (dirty_managed && access == A64_WRITE)
			want &= ~BIT(DESC_AP2);
		if (want != desc) {
			/* Another agent may have changed the descriptor: then judge it anew. */
			if (!atomic_compare_exchange_strong(host, &desc, want))
				goto again;
			gmem_written(c->vcpu.engine->cfg.mem, base + bits(va, index_top, shift) * 8,
				     8);
		}
		/* What is clean stays so in the TLB too: the first write must come here. */
		if (dirty_managed && bit(want, DESC_AP2))
			w->write = false;

		w->pa = addr | (va & mask_low(shift));
		w->block = (uint8_t)shift;
		w->global = !bit(desc, DESC_NG);
		w->attr = (uint8_t)(c->sys.mair_el1 >> (8 * bits(desc, 4, 2)));
		w->device = (w->attr & 0xf0) == 0;
		w->sh = (uint8_t)bits(desc, 9, 8);
		return true;
	}
}

/* ---- faults ---- */

_Noreturn void a64_data_abort(struct a64_cpu *c, uint64_t va, uint32_t fsc, uint32_t iss)
{
	c->sys.far_el1 = va;
	a64_raise(c, c->el ? A64_EC_DABT_SAME : A64_EC_DABT_LOWER, iss | fsc);
}

static _Noreturn void fetch_abort(struct a64_cpu *c, uint64_t va, uint32_t fsc)
{
	c->sys.far_el1 = va;
	a64_raise_at(c, c->el ? A64_EC_IABT_SAME : A64_EC_IABT_LOWER, fsc, va);
}

/* ---- data accesses ---- */

/* Where one access, inside one page, goes: host memory, or the bus. */
struct place {
	uint8_t *host; /* NULL: a device */
	gpa_t pa;
	bool untagged; /* no write tag: a store must look whether it hit code */
	bool device;   /* Device memory, whatever is behind it */
};

static unsigned ctx_of(const struct a64_cpu *c, const struct tlb *t)
{
	return (unsigned)(t - c->ctx);
}

static struct place resolve(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size,
			    bool write)
{
	uint32_t wnr = write ? A64_ISS_WNR : 0;
	uint64_t addr = untag(c, va), page = addr & TLB_PAGE_MASK;
	struct tlb_entry *e = tlb_d(t, addr);
	struct place p = { 0 };

	if ((write ? e->w : e->r) == page) {
		p.host = (uint8_t *)(uintptr_t)(addr + e->addend);
		return p;
	}

	bool aligned = (va & (size - 1)) == 0;
	if (!aligned && (c->sys.sctlr_el1 & SCTLR_A))
		a64_data_abort(c, va, A64_FSC_ALIGNMENT, wnr);
	struct a64_walk w;
	unsigned ctx = ctx_of(c, t);
	if (!a64_translate(c, addr, write ? A64_WRITE : A64_READ, ctx < A64_CTX_EL0,
			   ctx == A64_CTX_EL1_PAN, &w))
		a64_data_abort(c, va, w.fsc, wnr);
	if (w.device && !aligned)
		a64_data_abort(c, va, A64_FSC_ALIGNMENT, wnr);

	p.pa = w.pa;
	p.device = w.device;
	const struct gmem_region *r = gmem_find(c->vcpu.engine->cfg.mem, w.pa);
	if (!r)
		return p;
	p.host = r->host + (w.pa - r->base);
	p.untagged = true;

	/* The fast path looks neither at alignment nor at watchpoints: it gets what
	 * needs neither. */
	if (!w.device && !(c->sys.sctlr_el1 & SCTLR_A) &&
	    !(c->watching && a64_watched_page(c, page)) && !soft_watched_page(&c->vcpu, page)) {
		if (e->w != TLB_NO_TAG)
			soft_protect(&c->vcpu);
		e->r = w.read ? page : TLB_NO_TAG;
		e->w = w.write && soft_may_tag_writes(
					  &r->flags[(w.pa - r->base) >> GMEM_PAGE_SHIFT])
			       ? page
			       : TLB_NO_TAG;
		p.untagged = e->w == TLB_NO_TAG;
		e->addend = (uintptr_t)p.host - (uintptr_t)addr;
		e->block = w.block;
		e->global = w.global;
		tlb_added(t, addr, w.block, w.global);
	}
	return p;
}

static void watch(struct a64_cpu *c, const struct tlb *t, uint64_t va, unsigned len, bool write)
{
	if (unlikely(c->watching))
		a64_watch(c, untag(c, va), len, ctx_of(c, t) < A64_CTX_EL0, write);
	/* A debugger's. A hit stops before the instruction: engine/soft/debug.h. */
	if (unlikely(c->vcpu.engine->points.n_watch) &&
	    soft_watch(&c->vcpu, untag(c, va), len, write ? DEBUG_WRITE : DEBUG_READ)) {
		c->pc = a64_op_va(c, c->cur);
		longjmp(c->unwind, 1);
	}
}

static uint64_t bus_load(struct a64_cpu *c, uint64_t va, gpa_t pa, unsigned size)
{
	uint64_t v;
	soft_count(&c->vcpu, SOFT_COUNT_MMIO_READ);
	if (bus_read(c->vcpu.engine->cfg.mmio, pa, size, &v))
		a64_data_abort(c, va, A64_FSC_EXTERNAL, 0);
	return v;
}

static void bus_store(struct a64_cpu *c, uint64_t va, gpa_t pa, unsigned size, uint64_t v)
{
	soft_count(&c->vcpu, SOFT_COUNT_MMIO_WRITE);
	if (bus_write(c->vcpu.engine->cfg.mmio, pa, size, v))
		a64_data_abort(c, va, A64_FSC_EXTERNAL, A64_ISS_WNR);
}

/* Bytes of [va, va + len) that lie in va's page. */
static unsigned in_page(uint64_t va, unsigned len)
{
	unsigned left = GMEM_PAGE_SIZE - (unsigned)(va % GMEM_PAGE_SIZE);
	return len < left ? len : left;
}

/* The largest aligned piece that a bus takes at once. */
static unsigned piece(gpa_t pa, unsigned len)
{
	unsigned n = 8;
	while (n > len || pa % n)
		n /= 2;
	return n;
}

/* An access of any length that may cross into a second page; both are resolved before either is
 * touched. */
static void access_any(struct a64_cpu *c, struct tlb *t, uint64_t va, void *buf, unsigned len,
		       unsigned align, bool write)
{
	unsigned first = in_page(va, len);
	struct {
		struct place p;
		uint64_t va;
		uint8_t *buf;
		unsigned len;
	} part[2] = {
		{ resolve(c, t, va, align, write), va, buf, first },
	};
	unsigned n = 1;
	if (first < len) {
		part[1].p = resolve(c, t, va + first, 1, write);
		part[1].va = va + first;
		part[1].buf = (uint8_t *)buf + first;
		part[1].len = len - first;
		n = 2;
		/* That may have taken the first one's write tag away (soft_protect), and told
		 * others of stores up to then: this one must be told by itself. */
		if (write)
			part[0].p = resolve(c, t, va, align, true);
		/* A Device page takes no access that crosses into it, nor out of it. */
		if ((!part[0].p.host || !part[1].p.host) && va % align)
			a64_data_abort(c, va, A64_FSC_ALIGNMENT, write ? A64_ISS_WNR : 0);
	}
	watch(c, t, va, len, write);
	for (unsigned i = 0; i < n; i++) {
		const struct place *p = &part[i].p;
		if (p->host && write) {
			memcpy(p->host, part[i].buf, part[i].len);
			if (p->untagged)
				soft_stored(&c->vcpu, p->pa, part[i].len, i > 0);
		} else if (p->host) {
			memcpy(part[i].buf, p->host, part[i].len);
		} else {
			for (unsigned done = 0, k; done < part[i].len; done += k) {
				uint64_t v = 0;
				k = piece(p->pa + done, part[i].len - done);
				if (write) {
					memcpy(&v, part[i].buf + done, k);
					bus_store(c, part[i].va + done, p->pa + done, k, v);
				} else {
					v = bus_load(c, part[i].va + done, p->pa + done, k);
					memcpy(part[i].buf + done, &v, k);
				}
			}
		}
	}
}

uint64_t a64_load_slow(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size)
{
	if (in_page(va, size) == size) {
		struct place p = resolve(c, t, va, size, false);
		watch(c, t, va, size, false);
		return p.host ? soft_load(p.host, size) : bus_load(c, va, p.pa, size);
	}
	uint64_t v = 0;
	access_any(c, t, va, &v, size, size, false);
	return v;
}

void a64_store_slow(struct a64_cpu *c, struct tlb *t, uint64_t va, unsigned size, uint64_t v)
{
	if (in_page(va, size) == size) {
		struct place p = resolve(c, t, va, size, true);
		watch(c, t, va, size, true);
		if (!p.host) {
			bus_store(c, va, p.pa, size, v);
			return;
		}
		soft_store(p.host, size, v);
		if (p.untagged)
			soft_stored(&c->vcpu, p.pa, size, false);
		return;
	}
	access_any(c, t, va, &v, size, size, true);
}

void a64_ld(struct a64_cpu *c, uint64_t va, void *dst, unsigned len, unsigned align)
{
	const struct tlb_entry *e = tlb_d(c->tlb, va);
	if (likely(((va + len - 1) & TLB_PAGE_MASK) == e->r))
		memcpy(dst, (const void *)(uintptr_t)(va + e->addend), len);
	else
		access_any(c, c->tlb, va, dst, len, align, false);
}

void a64_st(struct a64_cpu *c, uint64_t va, const void *src, unsigned len, unsigned align)
{
	const struct tlb_entry *e = tlb_d(c->tlb, va);
	if (likely(((va + len - 1) & TLB_PAGE_MASK) == e->w)) {
		memcpy((void *)(uintptr_t)(va + e->addend), src, len);
	} else {
		uint8_t copy[64];
		memcpy(copy, src, len);
		access_any(c, c->tlb, va, copy, len, align, true);
	}
}

void *a64_atomic_host(struct a64_cpu *c, uint64_t va, unsigned size, enum a64_atomic kind,
		      gpa_t *gpa)
{
	/* WnR of a read-modify-write says "read" for what a read would have faulted on too. */
	uint32_t wnr = kind == A64_STORE_EXCLUSIVE ? A64_ISS_WNR : 0;
	if (va & (size - 1))
		a64_data_abort(c, va, A64_FSC_ALIGNMENT, wnr);
	if (kind == A64_READ_MODIFY_WRITE && tlb_d(c->tlb, va)->w != (va & TLB_PAGE_MASK))
		resolve(c, c->tlb, va, size, false);
	struct place p = resolve(c, c->tlb, va, size, kind != A64_LOAD_EXCLUSIVE);
	if (!p.host)
		a64_data_abort(c, va, A64_FSC_UNSUPPORTED_ATOMIC, wnr);
	watch(c, c->tlb, va, size, kind != A64_LOAD_EXCLUSIVE);
	*gpa = p.untagged ? p.pa : ~0ULL;
	return p.host;
}

void a64_atomic_done(struct a64_cpu *c, gpa_t gpa, unsigned size)
{
	if (gpa != ~0ULL)
		soft_stored(&c->vcpu, gpa, size, false);
}

struct tlb *a64_unpriv_tlb(struct a64_cpu *c)
{
	return &c->ctx[A64_CTX_EL0 + c->ctx_now];
}

/* Faults of cache maintenance tell the address as the instruction has it (FAR_EL1, D17.2.40). */
void a64_zero_block(struct a64_cpu *c, uint64_t va)
{
	enum { BLOCK = 64 };
	static const uint8_t zeros[BLOCK];
	struct place p = resolve(c, c->tlb, va, 1, true);
	unsigned off = va % BLOCK;
	if (!p.host || p.device)
		a64_data_abort(c, va, A64_FSC_ALIGNMENT, A64_ISS_WNR);
	watch(c, c->tlb, va - off, BLOCK, true);
	memcpy(p.host - off, zeros, BLOCK);
	if (p.untagged)
		soft_stored(&c->vcpu, p.pa - off, BLOCK, false);
}

/* PAN is for loads and stores, not for this (D8.4.3). */
void a64_probe_maintenance(struct a64_cpu *c, uint64_t va)
{
	struct a64_walk w;
	if (!a64_translate(c, untag(c, va), A64_READ, c->el, false, &w))
		a64_data_abort(c, va, w.fsc, A64_ISS_CM | A64_ISS_WNR);
}

void a64_ic_ivau(struct a64_cpu *c, uint64_t va)
{
	struct a64_walk w;
	if (!a64_translate(c, untag(c, va), A64_READ, c->el, false, &w))
		a64_data_abort(c, va, w.fsc, A64_ISS_CM | A64_ISS_WNR);
	/* Stores to code are tracked exactly, so nothing is stale; this is for the
	 * manual's sake. */
	soft_code_written(&c->vcpu, w.pa & ~63ULL, 64);
}

/* ---- instruction fetch ---- */

const struct op *a64_fetch(struct a64_cpu *c, uint64_t va)
{
	va = untag(c, va);
	if (va & 3) {
		c->sys.far_el1 = va;
		a64_raise_at(c, A64_EC_PC_ALIGN, 0, va);
	}
	uint64_t page = va & TLB_PAGE_MASK;
	struct tlb_xentry *x = tlb_x(c->tlb, va);
	if (x->va != page) {
		struct a64_walk w;
		if (!a64_translate(c, va, A64_EXEC, c->el, false, &w))
			fetch_abort(c, va, w.fsc);
		const struct gmem_region *r = gmem_find(c->vcpu.engine->cfg.mem, w.pa);
		if (!r)
			fetch_abort(c, va, A64_FSC_EXTERNAL);
		uint64_t off = align_down(w.pa - r->base, GMEM_PAGE_SIZE);
		struct code_page *p = soft_code_page(&c->vcpu, r->base + off, r->host + off,
						     &r->flags[off >> GMEM_PAGE_SHIFT]);
		x->va = page;
		x->page = p;
		x->block = w.block;
		x->global = w.global;
		tlb_added(c->tlb, va, w.block, w.global);
	}
	c->page_va = page;
	c->page = x->page->ops;
	return &c->page[(va >> 2) % A64_PAGE_OPS];
}

/* ---- address translation instructions ---- */

void a64_at(struct a64_cpu *c, uint64_t va, unsigned el, bool write, bool pan)
{
	enum { NON_CACHEABLE = 0x44, OUTER_SHAREABLE = 2 };
	struct a64_walk w;
	bool ok = a64_translate(c, untag(c, va), write ? A64_AT_WRITE : A64_READ, el, pan, &w);
	/* What the walk itself meets is an abort and not a result. */
	if (!ok && (w.fsc & ~3u) == A64_FSC_EXTERNAL_WALK)
		a64_data_abort(c, va, w.fsc, A64_ISS_CM | A64_ISS_WNR);
	/* PAR_EL1 (D17.2.109) */
	if (ok) {
		uint64_t sh = w.device || w.attr == NON_CACHEABLE ? OUTER_SHAREABLE : w.sh;
		c->sys.par_el1 = (uint64_t)w.attr << 56 | (w.pa & 0x0000fffffffff000ULL) |
				 1u << 11 | 1u << 9 | sh << 7;
	} else {
		c->sys.par_el1 = 1u << 11 | (uint64_t)w.fsc << 1 | 1;
	}
}

/* ---- TLB maintenance ---- */

void a64_flush_all_tlbs(struct a64_cpu *c)
{
	soft_protect(&c->vcpu);
	for (unsigned i = 0; i < A64_N_CTXS; i++)
		tlb_flush(&c->ctx[i]);
}

static void tlbi_here(struct a64_cpu *c, const struct a64_tlbi *t)
{
	soft_protect(&c->vcpu);
	for (unsigned i = 0; i < A64_N_CTXS; i++) {
		struct tlb *tlb = &c->ctx[i];
		/* EL1's contexts follow the current ASID; invalidating too much is
		 * always allowed. */
		bool mine = i < A64_CTX_EL0 || c->ctx_asid[i - A64_CTX_EL0] == t->asid;
		switch (t->kind) {
		case A64_TLBI_ALL: tlb_flush(tlb); break;
		case A64_TLBI_ASID:
			if (mine)
				tlb_flush_local(tlb);
			break;
		case A64_TLBI_VA:
			if (mine || tlb->any_global)
				tlb_flush_range(tlb, t->va, t->pages);
			break;
		case A64_TLBI_VAA: tlb_flush_range(tlb, t->va, t->pages); break;
		}
	}
}

static void run_tlbi(struct vcpu *v, const struct soft_job *job)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	tlbi_here(c, &(struct a64_tlbi){ .kind = (enum a64_tlbi_kind)(job->c >> 16),
					 .asid = (uint16_t)job->c,
					 .va = job->a,
					 .pages = job->b });
}

void a64_tlbi(struct a64_cpu *c, const struct a64_tlbi *t, bool broadcast)
{
	tlbi_here(c, t);
	if (broadcast)
		soft_broadcast(&c->vcpu,
			       &(struct soft_job){ .run = run_tlbi,
						   .a = t->va,
						   .b = t->pages,
						   .c = (uint64_t)t->kind << 16 | t->asid });
}

uint16_t a64_asid(const struct a64_cpu *c, uint64_t v)
{
	return (uint16_t)bits(v, bit(c->sys.tcr_el1, TCR_AS) ? 63 : 55, 48);
}

void a64_asid_changed(struct a64_cpu *c)
{
	uint64_t ttbr = bit(c->sys.tcr_el1, TCR_A1) ? c->sys.ttbr1_el1 : c->sys.ttbr0_el1;
	uint32_t asid = a64_asid(c, ttbr);
	unsigned slot = c->ctx_now;

	if (c->ctx_asid[slot] != asid) {
		unsigned oldest = 0;
		soft_protect(&c->vcpu);
		for (slot = 0; slot < A64_N_ASIDS && c->ctx_asid[slot] != asid; slot++)
			if (c->ctx_used[slot] < c->ctx_used[oldest])
				oldest = slot;
		if (slot == A64_N_ASIDS) {
			slot = oldest;
			tlb_flush(&c->ctx[A64_CTX_EL0 + slot]);
			c->ctx_asid[slot] = asid;
		}
		c->ctx_now = slot;
		c->ctx_used[slot] = ++c->ctx_clock;
		tlb_flush_local(&c->ctx[A64_CTX_EL1]);
		tlb_flush_local(&c->ctx[A64_CTX_EL1_PAN]);
		a64_state_changed(c);
	}
}

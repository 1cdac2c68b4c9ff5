/* SPDX-License-Identifier: MIT */
/*
 * The test cases (arch.h). Loads, stores and branches are recognized by the encoding groups of
 * DDI0487 C4.1, not by the table's names, so that a new line of the table needs nothing here.
 */
#include <stddef.h>
#include <string.h>

#include "a64_decode.h"
#include "arch.h"
#include "base/bits.h"
#include "quirks.h"

/* A vector register of one kind of contents. */
enum { V_INT8, V_INT16, V_INT32, V_INT64, V_FP16, V_FP32, V_FP64, V_RANDOM, V_N_KINDS };

static void edge_v(struct rng *r, unsigned kind, uint64_t v[2])
{
	static const struct {
		uint8_t width, e, m;
	} kinds[V_N_KINDS] = {
		{ 8, 0, 0 },   { 16, 0, 0 },  { 32, 0, 0 },   { 64, 0, 0 },
		{ 16, 5, 10 }, { 32, 8, 23 }, { 64, 11, 52 }, { 64, 0, 0 },
	};
	unsigned width = kinds[kind].width;
	bool same = rng_one_in(r, 8);

	v[0] = v[1] = 0;
	for (unsigned i = 0; i < 128; i += width) {
		uint64_t x = kind == V_RANDOM ? rng_next(r)
			     : kinds[kind].e  ? edge_fp(r, kinds[kind].e, kinds[kind].m)
					      : edge_int(r, width);

		if (same && i)
			x = v[0] & mask_low(width);
		v[i / 64] |= x << i % 64;
	}
}

static void gen_state(struct rng *r, struct insn_state *s)
{
	unsigned kind = (unsigned)rng_below(r, V_N_KINDS);
	bool mixed = rng_one_in(r, 4);

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < 31; i++)
		s->x[i] = edge_x(r);
	s->sp = SCRATCH_BASE + SCRATCH_SIZE / 2 + (rng_below(r, 64) - 32) * 16;
	s->nzcv = rng_below(r, 16) << 28;
	s->tpidr = rng_next(r);
	/* AHP, DN, FZ, RMode (C5.2.8) */
	if (!rng_one_in(r, 2))
		s->fpcr = (uint32_t)rng_below(r, 32) << 22;
	/* QC, IDC, IXC..IOC (C5.2.10) */
	if (rng_one_in(r, 4))
		s->fpsr = (uint32_t)rng_next(r) & 0x0800009f;
	for (unsigned i = 0; i < 32; i++)
		edge_v(r, mixed ? (unsigned)rng_below(r, V_N_KINDS) : kind, s->v[i]);
	/* the same value in several registers, also with the other sign: cancellation */
	for (unsigned i = (unsigned)rng_below(r, 12); i; i--) {
		unsigned from = (unsigned)rng_below(r, 32), to = (unsigned)rng_below(r, 32);

		memcpy(s->v[to], s->v[from], 16);
		if (bit(i, 0))
			s->v[to][0] ^= 1ULL << 63;
	}
}

bool gen_word(struct rng *r, unsigned insn, uint32_t *word)
{
	const struct a64_info *info = &a64_info[insn];

	for (unsigned i = 0; i < 5000; i++) {
		uint32_t w = (uint32_t)rng_next(r);

		/* thin out or fill up the free bits; or set a run of them */
		switch (rng_below(r, 8)) {
		case 0: w &= (uint32_t)rng_next(r); break;
		case 1: w |= (uint32_t)rng_next(r); break;
		case 2:
		case 3: {
			uint32_t run = (uint32_t)mask_low((unsigned)rng_below(r, 13))
				       << rng_below(r, 31);

			w = rng_one_in(r, 2) ? w & ~run : w | run;
			break;
		}
		default: break;
		}
		/* Rd == Rn, Rn == Rm, Rd == Rm, Rd == Ra */
		if (rng_one_in(r, 8))
			w = (w & ~31u) | (w >> 5 & 31);
		if (rng_one_in(r, 8))
			w = (w & ~(31u << 16)) | (w >> 5 & 31) << 16;
		if (rng_one_in(r, 12))
			w = (w & ~(31u << 16)) | (w & 31) << 16;
		if (rng_one_in(r, 12))
			w = (w & ~(31u << 10)) | (w & 31) << 10;
		/* system registers: there are few that can be run */
		if ((info->value & 0xffc00000) == 0xd5000000 && !rng_one_in(r, 4)) {
			uint32_t sys = quirk_system_word((unsigned)rng_next(r));

			if ((sys & info->mask) == info->value)
				w = (sys & ~31u) | (w & 31);
		}
		w = (w & ~info->mask) | info->value;
		if (a64_decode(w) == insn && !quirk_excluded(w) && !quirk_unpredictable(w)) {
			*word = w;
			return true;
		}
	}
	return false;
}

/* How an instruction addresses memory. */
struct access {
	bool any;     /* it does */
	bool aligned; /* a misaligned address faults */
	bool safe;    /* only addresses that do not fault are tried */
	bool exclusive;
	bool index; /* Rm is part of the address */
	unsigned size;
	unsigned rn, rm;
	int64_t offset;
	unsigned option, shift; /* of the index */
};

static struct access access_of(uint32_t w)
{
	struct access a = { .rn = (unsigned)bits(w, 9, 5), .rm = (unsigned)bits(w, 20, 16) };
	unsigned size = (unsigned)bits(w, 31, 30), log2 = size;
	bool v = bit(w, 26);

	/* DC and IC by address: Xt */
	if ((w & 0xfff80000) == 0xd5080000) {
		a.any = true;
		a.rn = w & 31;
		a.size = 64;
		a.safe = quirk_unchecked_address(w) != NULL;
		return a;
	}
	if ((w & 0x0a000000) != 0x08000000)
		return a;
	a.any = true;
	a.size = 16;
	if ((w & 0x3f000000) == 0x08000000) { /* exclusive, ordered, compare and swap */
		bool pair = bit(w, 21) && !(bit(w, 23) && bit(w, 21));

		a.aligned = true;
		a.exclusive = !bit(w, 23) && !(bit(w, 21) && !bit(w, 31));
		if (pair && !bit(w, 31)) /* CASP: sz in bit 30 */
			log2 = 2 + bit(w, 30);
		a.size = (1u << log2) << pair;
	} else if ((w & 0xbe000000) == 0x0c000000) { /* vector structures */
		a.size = 64;
	} else if ((w & 0x3b000000) == 0x18000000) { /* literal */
		a.any = false;
	} else if ((w & 0x3a000000) == 0x28000000) { /* pairs */
		log2 = v ? 2 + size : size == 2 ? 3 : 2;
		a.size = 2u << log2;
		if (bits(w, 24, 23) != 1)
			a.offset = sign_extend(bits(w, 21, 15), 7) * (1 << log2);
	} else if ((w & 0x3b000000) == 0x39000000) { /* unsigned offset */
		if (v && bit(w, 23))
			log2 = 4;
		a.size = 1u << log2;
		a.offset = (int64_t)bits(w, 21, 10) << log2;
	} else if ((w & 0x3b000000) == 0x38000000) {
		if (v && bit(w, 23))
			log2 = 4;
		a.size = 1u << log2;
		if (!bit(w, 21)) {
			if (bits(w, 11, 10) != 1)
				a.offset = sign_extend(bits(w, 20, 12), 9);
		} else if (bits(w, 11, 10) == 2) {
			a.index = true;
			a.option = (unsigned)bits(w, 15, 13);
			a.shift = bit(w, 12) ? log2 : 0;
		} else {
			a.aligned = true; /* atomics, LDAPR */
			a.safe = quirk_unchecked_address(w) != NULL;
		}
	}
	return a;
}

/* Somewhere for an access to go: mostly valid, often across the page boundary. */
static uint64_t gen_target(struct rng *r, const struct access *a, bool safe)
{
	uint64_t va, middle = SCRATCH_BASE + SCRATCH_SIZE / 2;

	safe |= a->safe;
	if (rng_one_in(r, 3)) /* across the pages, often */
		va = middle - rng_below(r, 2 * a->size);
	else
		va = SCRATCH_BASE + 64 + rng_below(r, SCRATCH_SIZE - 192);
	if (a->aligned && (safe || !rng_one_in(r, 10)))
		va = align_down(va, a->size);
	else if (!rng_one_in(r, 3))
		va = align_down(va, 16);
	if (safe || !rng_one_in(r, 16))
		return va;
	/* into or over the edge */
	switch (rng_below(r, 3)) {
	case 0: return align_down(SCRATCH_BASE - a->size + rng_below(r, a->size), a->size);
	case 1: return align_down(SCRATCH_END - 2 * a->size + rng_below(r, 2 * a->size + 16), 16);
	default: return align_down(SCRATCH_BASE - 0x10000 + rng_below(r, 0x8000), 64);
	}
}

/* ExtendReg() (DDI0487 shared pseudocode) */
static uint64_t index_value(const struct access *a, uint64_t x)
{
	switch (a->option) {
	case 2: return (uint64_t)(uint32_t)x << a->shift;
	case 6: return (uint64_t)(int64_t)(int32_t)x << a->shift;
	default: return x << a->shift;
	}
}

/* What a register that is both base and index must hold, to come close to va. */
static uint64_t same_base(const struct access *a, uint64_t va)
{
	return a->rn == 31 ? va : va / (1 + (1ULL << a->shift));
}

static uint32_t movz(unsigned rd, uint32_t imm16, unsigned hw)
{
	return 0xd2800000 | hw << 21 | imm16 << 5 | rd;
}

static uint32_t movk(unsigned rd, uint32_t imm16, unsigned hw)
{
	return 0xf2800000 | hw << 21 | imm16 << 5 | rd;
}

/* Set the base register so that the access goes to scratch memory. */
static void set_base(struct rng *r, uint32_t w, struct insn_record *rec)
{
	struct access a = access_of(w);
	uint64_t base;

	if (!a.any)
		return;
	/* A failing STXR may or may not look at its address. */
	base = gen_target(r, &a, a.exclusive && !bit(w, 22)) - (uint64_t)a.offset;
	if (a.index && a.rm == a.rn)
		base = same_base(&a, base);
	else if (a.index && a.rm != 31)
		base -= index_value(&a, rec->in.x[a.rm]);
	rec->flags |= INSN_MEM;
	rec->mem_seed = rng_one_in(r, 4) ? 0 : rng_next(r) | 1;
	/* let compare-and-swap succeed now and then */
	if (!rec->mem_seed && !(a.index && a.rm == 0))
		for (unsigned i = 0; i < 31; i += 2)
			if (rng_one_in(r, 2) && i != a.rm - a.rm % 2)
				rec->in.x[i] = rec->in.x[i + (i < 30)] = 0;
	if (a.rn == 31) {
		rec->in.sp = align_down(base, 16); /* the oracle does not check that */
	} else {
		if (rng_one_in(r, 8)) /* a tag (TBI): the address is sign-extended from bit 55 */
			base ^= rng_next(r) << 56;
		rec->in.x[a.rn] = base;
	}
}

enum branch { BR_NONE, BR_IMM26, BR_IMM19, BR_IMM14, BR_REG };

static enum branch branch_of(uint32_t w)
{
	if ((w & 0x7c000000) == 0x14000000)
		return BR_IMM26;
	if ((w & 0xff000000) == 0x54000000 || (w & 0x7e000000) == 0x34000000)
		return BR_IMM19;
	if ((w & 0x7e000000) == 0x36000000)
		return BR_IMM14;
	if ((w & 0xfe000000) == 0xd6000000)
		return BR_REG;
	return BR_NONE;
}

static bool is_literal(uint32_t w)
{
	return (w & 0x3b000000) == 0x18000000;
}

static uint32_t set_words(uint32_t w, enum branch b, int64_t words)
{
	switch (b) {
	case BR_IMM26: return (w & ~0x03ffffffu) | ((uint32_t)words & 0x03ffffff);
	case BR_IMM19: return (w & ~0x00ffffe0u) | ((uint32_t)words & 0x7ffff) << 5;
	case BR_IMM14: return (w & ~0x0007ffe0u) | ((uint32_t)words & 0x3fff) << 5;
	default: return w;
	}
}

/* Words from the tested instruction to another of its slot's that both sides know. Not 0:
 * a loop. */
static int64_t gen_near(struct rng *r)
{
	int64_t words = (int64_t)(8 + rng_below(r, SLOT_LITERALS - 16)) - SLOT_CODE;

	return words ? words : 1;
}

static bool in_code(uint64_t va)
{
	return va >= CODE_PAGES && va < CODE_PAGES_END;
}

/* Let a branch go to its own slot, or to where nothing is. */
static uint32_t set_branch(struct rng *r, uint32_t w, struct insn_record *rec)
{
	enum branch b = branch_of(w);
	uint64_t pc = slot_pc(rec->slot), to;
	unsigned width = b == BR_IMM26 ? 26 : b == BR_IMM19 ? 19 : 14;
	int64_t words;

	if (is_literal(w)) { /* not the words behind the code, which are the runner's */
		do
			words = gen_near(r);
		while (words > -4 && words < 8);
		return set_words(w, BR_IMM19, words);
	}
	if (b == BR_NONE)
		return w;
	rec->flags |= INSN_TRAP;
	if (b == BR_REG) {
		unsigned rn = (unsigned)bits(w, 9, 5);

		to = pc + (uint64_t)(gen_near(r) * 4);
		if (rng_one_in(r, 3))
			to = 0x30000000 + rng_below(r, 0x10000000);
		else if (rng_one_in(r, 8))
			to = SCRATCH_BASE + rng_below(r, SCRATCH_SIZE);
		/*
		 * A misaligned PC comes before an instruction abort (DDI0487 D1.3.5); the oracle
		 * looks at the page first, so only where it can execute.
		 */
		if (!in_code(to) || rng_below(r, 8))
			to &= ~3ULL;
		if (rng_one_in(r, 8)) /* TBI also drops the tag of a branch's target */
			to |= rng_next(r) << 56;
		if (to == pc)
			to += 4;
		if (rn != 31)
			rec->in.x[rn] = to;
		return w;
	}
	words = sign_extend(rng_next(r), width);
	if (rng_one_in(r, 2) || in_code(pc + (uint64_t)(words * 4)))
		words = gen_near(r);
	return set_words(w, b, words);
}

/* MSR FPCR and FPSR: only fields that the CPU has; for others the oracle's may differ. */
static void set_fpcr(uint32_t w, struct insn_record *rec)
{
	unsigned t = w & 31;

	if (t == 31)
		return;
	if ((w & 0xffffffe0) == 0xd51b4400)
		rec->in.x[t] &= 0x07c00000;
	else if ((w & 0xffffffe0) == 0xd51b4420)
		rec->in.x[t] &= 0x0800009f;
}

void gen_single(struct rng *r, uint32_t word, struct insn_record *rec)
{
	uint32_t slot = rec->slot;

	memset(rec, 0, sizeof(*rec));
	rec->slot = slot;
	gen_state(r, &rec->in);
	set_base(r, word, rec);
	if (rng_one_in(r, 8))
		rec->flags |= INSN_TRAP;
	rec->n = 1;
	rec->code[0] = set_branch(r, word, rec);
	set_fpcr(word, rec);
}

/* Does the instruction only make sense alone? */
static bool solo(uint32_t w)
{
	return branch_of(w) == BR_REG || (w & 0xffc00000) == 0xd5000000 ||
	       (w & 0xff000000) == 0xd4000000 || quirk_needs_max(w);
}

static void emit(struct insn_record *rec, uint32_t w)
{
	rec->code[rec->n++] = w;
}

/* Instructions that let the access of `w` go to scratch memory. False: choose another word. */
static bool emit_base(struct rng *r, uint32_t w, struct insn_record *rec)
{
	struct access a = access_of(w);
	uint64_t base;
	unsigned rn = a.rn;

	if (!a.any)
		return true;
	if (a.exclusive && (!bit(w, 22) || (w & 31) == a.rn || bits(w, 14, 10) == a.rn))
		return false;
	base = gen_target(r, &a, a.exclusive) - (uint64_t)a.offset;
	if (a.index && a.rm == a.rn) {
		base = same_base(&a, base);
	} else if (a.index && a.rm != 31) {
		uint32_t index = (uint32_t)rng_below(r, 0x4000);

		base -= (uint64_t)index << a.shift;
		emit(rec, movz(a.rm, index, 0));
	}
	if (rn == 31) {
		base = align_down(base, 16);
		rn = a.rm == 0 ? 1 : 0;
	}
	emit(rec, movz(rn, base >> 16 & 0xffff, 1));
	emit(rec, movk(rn, base & 0xffff, 0));
	if (a.rn == 31)
		emit(rec, 0x9100001f | rn << 5); /* ADD SP, Xn, #0 */
	rec->flags |= INSN_MEM;
	return true;
}

/*
 * Code that stores an instruction into the stream, further down, and makes it visible (DDI0487
 * B2.4.4). The address is set when the place is known.
 */
struct patch {
	uint32_t at; /* of the first word of this code; 0: none */
	unsigned rt;
};

static void emit_patch(struct rng *r, uint32_t w, struct insn_record *rec, struct patch *p)
{
	unsigned rt = (unsigned)rng_below(r, 30), data = rt + 1;

	*p = (struct patch){ rec->n, rt };
	emit(rec, movz(rt, 0, 0));
	emit(rec, movk(rt, 0, 1));
	emit(rec, movz(data, w & 0xffff, 0));
	emit(rec, movk(data, w >> 16, 1));
	emit(rec, 0xb9000000 | rt << 5 | data); /* STR Wdata, [Xt] */
	/* hako's CTR_EL0.IDC and DIC say that no more is needed, and to QEMU it never is. */
	if (rng_one_in(r, 2)) {
		emit(rec, 0xd50b7b20 | rt); /* DC CVAU, Xt */
		emit(rec, 0xd5033b9f);      /* DSB ISH */
		emit(rec, 0xd50b7520 | rt); /* IC IVAU, Xt */
	}
	emit(rec, 0xd5033b9f); /* DSB ISH */
	emit(rec, 0xd5033fdf); /* ISB */
}

/* The place is here. */
static void emit_patched(struct insn_record *rec, struct patch *p)
{
	uint64_t va = slot_pc(rec->slot) + rec->n * 4;

	rec->code[p->at] = movz(p->rt, va & 0xffff, 0);
	rec->code[p->at + 1] = movk(p->rt, va >> 16 & 0xffff, 1);
	p->at = 0;
	emit(rec, 0xd503201f); /* NOP */
}

/* LDXR, LDXP: the store to match, next to it, which then must succeed. */
static void emit_store_exclusive(struct rng *r, uint32_t load, struct insn_record *rec)
{
	uint32_t store = load & ~(1u << 22 | 31u << 16 | 31u);

	store |= (uint32_t)rng_below(r, 32) << 16 | (uint32_t)rng_below(r, 32);
	if (!quirk_unpredictable(store) && a64_decode(store))
		emit(rec, store);
}

/* Branches go forward, a little, and not between an access and the code that sets its base. */
static void aim_branches(struct rng *r, struct insn_record *rec, const bool *start)
{
	for (uint32_t i = 0; i < rec->n; i++) {
		uint32_t to = i + 1 + (uint32_t)rng_below(r, 4);

		while (to < rec->n && !start[to])
			to++;
		if (to > rec->n)
			to = rec->n;
		rec->code[i] = set_words(rec->code[i], branch_of(rec->code[i]), to - i);
	}
}

void gen_stream(struct rng *r, const unsigned *insns, unsigned n, struct insn_record *rec)
{
	uint32_t slot = rec->slot, end = 24 + (uint32_t)rng_below(r, INSN_CODE_MAX - 44);
	bool base_only = false, patching = rng_one_in(r, 4);
	bool start[INSN_CODE_MAX];
	struct patch patch = { 0 };
	unsigned few[6];

	memset(rec, 0, sizeof(*rec));
	memset(start, 0, sizeof(start));
	rec->slot = slot;
	gen_state(r, &rec->in);
	rec->mem_seed = rng_one_in(r, 8) ? 0 : rng_next(r) | 1;
	/* Half of the streams have only a few lines, so that any two of them come to meet. */
	if (rng_one_in(r, 2)) {
		unsigned n_few = 2 + (unsigned)rng_below(r, ARRAY_SIZE(few) - 1);

		for (unsigned i = 0; i < n_few; i++)
			few[i] = insns[rng_below(r, n)];
		insns = few;
		n = n_few;
	} else {
		base_only = rng_one_in(r, 2);
	}
	/* At most 20 words come of one turn. */
	for (unsigned tries = 0; rec->n < end && tries < 500; tries++) {
		unsigned insn = insns[rng_below(r, n)];
		uint32_t w, before;

		if ((base_only && a64_info[insn].attributes & a64_ATTR_fp) ||
		    !gen_word(r, insn, &w) || solo(w))
			continue;
		start[rec->n] = true;
		if (patch.at && rng_one_in(r, 3)) {
			emit_patched(rec, &patch);
			continue;
		}
		if (patching && rec->n && rng_one_in(r, 8) && !access_of(w).any && !branch_of(w) &&
		    !is_literal(w)) {
			emit_patch(r, w, rec, &patch);
			patching = false;
			continue;
		}
		before = rec->n;
		if (!emit_base(r, w, rec)) {
			rec->n = before;
			continue;
		}
		if (is_literal(w)) /* below the code: what is above depends on the ending */
			w = set_words(w, BR_IMM19,
				      (int64_t)(8 + rng_below(r, SLOT_CODE - 16)) -
					      (int64_t)(SLOT_CODE + rec->n));
		emit(rec, w);
		if (access_of(w).exclusive)
			emit_store_exclusive(r, w, rec);
	}
	if (patch.at)
		emit_patched(rec, &patch);
	if (!rec->n)
		emit(rec, 0xd503201f); /* NOP: every line only makes sense alone */
	aim_branches(r, rec, start);
}

void gen_any(struct rng *r, uint64_t index, struct insn_record *rec)
{
	(void)index;
	uint32_t slot = rec->slot, w;

	memset(rec, 0, sizeof(*rec));
	rec->slot = slot;
	do {
		w = (uint32_t)rng_next(r);
		if (rng_one_in(r, 16)) { /* the system instructions, which few lines stand for */
			w = 0xd5000000 | (w & 0x3fffff);
		} else if (!rng_one_in(r,
				       4)) { /* a line of the table, with one or two bits changed */
			const struct a64_info *info = &a64_info[rng_below(r, a64_N_INSNS)];

			w = (w & ~info->mask) | info->value;
			for (unsigned i = (unsigned)rng_below(r, 3); i; i--)
				w ^= 1u << rng_below(r, 32);
		}
	} while (quirk_never_run(w));
	rec->n = 1;
	rec->flags = INSN_TRAP;
	for (unsigned i = 0; i < 31; i++)
		rec->in.x[i] = SCRATCH_BASE + SCRATCH_SIZE / 2;
	rec->in.sp = SCRATCH_BASE + SCRATCH_SIZE / 2;
	rec->code[0] = set_words(w, branch_of(w), 1);
}

/* SPDX-License-Identifier: MIT */
/*
 * The test cases (arch.h). Loads, stores and branches are recognized by their major opcodes (volume
 * I, chapter 37), compressed ones by the instruction that they stand for.
 */
#include <stddef.h>
#include <string.h>

#include "arch_rv.h"
#include "base/bits.h"
#include "rv_decode.h"
#include "slot.h"

/* Major opcodes */
enum {
	OP_LOAD = 0x03,
	OP_LOAD_FP = 0x07,
	OP_STORE = 0x23,
	OP_STORE_FP = 0x27,
	OP_AMO = 0x2f,
	OP_BRANCH = 0x63,
	OP_JALR = 0x67,
	OP_JAL = 0x6f,
	OP_SYSTEM = 0x73,
};

static unsigned rd_of(uint32_t w)
{
	return w >> 7 & 31;
}
static unsigned rs1_of(uint32_t w)
{
	return w >> 15 & 31;
}

/* ---- states ---- */

static uint64_t extended(uint64_t v)
{
	return rv_is_64 ? v : (uint64_t)(int64_t)(int32_t)v;
}

static void gen_state(struct rng *r, struct insn_state *s, unsigned slot)
{
	unsigned doubles = (unsigned)rng_below(r, 4);

	memset(s, 0, sizeof(*s));
	for (unsigned i = 1; i < 32; i++)
		s->x[i] = extended(edge_x(r));
	s->x[31] = slot_pc(slot);
	for (unsigned i = 0; i < 32; i++) {
		if (rng_below(r, 4) < doubles)
			s->f[i] = edge_fp(r, 11, 52);
		else
			s->f[i] = 0xffffffff00000000ULL | edge_fp(r, 8, 23);
		if (rng_one_in(r, 24)) /* almost a NaN box */
			s->f[i] ^= BIT(32 + rng_below(r, 32));
	}
	/* the same value in several registers, also with the other sign: cancellation */
	for (unsigned i = (unsigned)rng_below(r, 12); i; i--) {
		unsigned from = (unsigned)rng_below(r, 32), to = (unsigned)rng_below(r, 32);

		s->f[to] = s->f[from];
		if (bit(i, 0))
			s->f[to] ^= 1ULL << (s->f[to] >> 32 == 0xffffffff ? 31 : 63);
	}
	s->fcsr = (uint32_t)(rng_one_in(r, 8) ? rng_below(r, 8) : rng_below(r, 5)) << 5;
	if (rng_one_in(r, 3))
		s->fcsr |= (uint32_t)rng_below(r, 32);
}

/* ---- words ---- */

/* How an instruction addresses memory. */
struct access {
	bool any;     /* it does */
	bool aligned; /* a misaligned address faults */
	bool safe;    /* only addresses that do not fault are tried */
	unsigned size, rs1;
	int64_t offset;
};

static struct access access_of(uint32_t word)
{
	uint32_t w = rv_word(word);
	struct access a = { .rs1 = rs1_of(w), .size = 1u << (w >> 12 & 3) };

	switch (w & 0x7f) {
	case OP_LOAD:
	case OP_LOAD_FP:
		a.any = true;
		a.offset = sign_extend(w >> 20, 12);
		break;
	case OP_STORE:
	case OP_STORE_FP:
		a.any = true;
		a.offset = sign_extend((w >> 25) << 5 | rd_of(w), 12);
		break;
	case OP_AMO:
		a.any = a.aligned = true;
		/* A failing SC may or may not look at its address. */
		a.safe = w >> 27 == 3;
		break;
	default: break;
	}
	return a;
}

bool gen_word(struct rng *r, unsigned line, uint32_t *word)
{
	for (unsigned i = 0; i < 3000; i++) {
		uint32_t w = (uint32_t)rng_next(r), wide;

		/* thin out or fill up the free bits */
		switch (rng_below(r, 8)) {
		case 0: w &= (uint32_t)rng_next(r); break;
		case 1: w |= (uint32_t)rng_next(r); break;
		default: break;
		}
		if (line >= rv_N_INSNS) {
			unsigned c = line - rv_N_INSNS;

			w = (w & 0x1ffc) | (c & 7) << 13 | c >> 3;
		} else {
			/* rd == rs1, rs1 == rs2, rd == rs2; x0 */
			if (rng_one_in(r, 8))
				w = (w & ~(31u << 7)) | rs1_of(w) << 7;
			if (rng_one_in(r, 8))
				w = (w & ~(31u << 20)) | rs1_of(w) << 20;
			if (rng_one_in(r, 12))
				w = (w & ~(31u << 20)) | rd_of(w) << 20;
			if (rng_one_in(r, 24))
				w &= ~(31u << 7);
			/* rounding modes: mostly those that are there */
			if ((w >> 12 & 7) > 4 && !rng_one_in(r, 4))
				w |= 7u << 12;
			if ((rv_info[line].value & 0x7f) == OP_SYSTEM) /* fflags, frm, fcsr */
				w = (w & 0xfffff) | (1 + (uint32_t)rng_below(r, 3)) << 20;
			w = (w & ~rv_info[line].mask) | rv_info[line].value;
		}
		wide = rv_word(w);
		if (arch_line(w) != line || !wide || quirk_excluded(wide))
			continue;
		/* x31 is where the code is. */
		if ((access_of(w).any || (wide & 0x7f) == OP_JALR) && rs1_of(wide) == 31)
			continue;
		if (quirk_needs_low_bit(w) && rs1_of(w) == 0)
			continue;
		/* x0 as a base: what is there is the oracle's affair */
		if (access_of(w).any && rs1_of(wide) == 0)
			continue;
		*word = w;
		return true;
	}
	return false;
}

/* Somewhere for an access to go: mostly valid, often across the page boundary. */
static uint64_t gen_target(struct rng *r, const struct access *a, bool safe)
{
	uint64_t va, middle = SCRATCH_BASE + SCRATCH_SIZE / 2;

	safe |= a->safe;
	if (rng_one_in(r, 3))
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

static void set_base(struct rng *r, uint32_t w, struct insn_record *rec)
{
	struct access a = access_of(w);

	if (!a.any)
		return;
	rec->flags |= INSN_MEM;
	rec->mem_seed = rng_one_in(r, 4) ? 0 : rng_next(r) | 1;
	rec->in.x[a.rs1] = gen_target(r, &a, false) - (uint64_t)a.offset;
}

/* ---- branches ---- */

enum branch { BR_NONE, BR_JAL, BR_BRANCH, BR_REG, BR_CJ, BR_CB };

static enum branch branch_of(uint32_t w)
{
	uint32_t wide = rv_word(w) & 0x7f;
	bool compressed = insn_length(w) == 2;

	switch (wide) {
	case OP_JAL: return compressed ? BR_CJ : BR_JAL;
	case OP_BRANCH: return compressed ? BR_CB : BR_BRANCH;
	case OP_JALR: return BR_REG;
	default: return BR_NONE;
	}
}

/* Bits hi..lo of v, put at `to`: the formats J, B, CJ and CB (volume I, 2.3 and 27.2). */
static uint32_t put(int64_t v, unsigned hi, unsigned lo, unsigned to)
{
	return (uint32_t)bits((uint64_t)v, hi, lo) << to;
}

static uint32_t set_offset(uint32_t w, enum branch b, int64_t v)
{
	switch (b) {
	case BR_JAL:
		return (w & 0xfff) | put(v, 20, 20, 31) | put(v, 10, 1, 21) | put(v, 11, 11, 20) |
		       put(v, 19, 12, 12);
	case BR_BRANCH:
		return (w & 0x01fff07f) | put(v, 12, 12, 31) | put(v, 10, 5, 25) | put(v, 4, 1, 8) |
		       put(v, 11, 11, 7);
	case BR_CJ:
		return (w & 0xe003) | put(v, 11, 11, 12) | put(v, 4, 4, 11) | put(v, 9, 8, 9) |
		       put(v, 10, 10, 8) | put(v, 6, 6, 7) | put(v, 7, 7, 6) | put(v, 3, 1, 3) |
		       put(v, 5, 5, 2);
	case BR_CB:
		return (w & 0xe383) | put(v, 8, 8, 12) | put(v, 4, 3, 10) | put(v, 7, 6, 5) |
		       put(v, 2, 1, 3) | put(v, 5, 5, 2);
	default: return w;
	}
}

/* Bytes from the tested instruction to elsewhere in its slot. Not 0: a loop. */
static int64_t gen_near(struct rng *r, int64_t reach)
{
	for (;;) {
		int64_t v = (int64_t)rng_below(r, SLOT_SIZE - 8) - SLOT_BEFORE;

		v &= ~1LL;
		if (v && v >= -reach && v < reach)
			return v;
	}
}

/* Let a branch go to its own slot, or to where nothing is. */
static uint32_t set_branch(struct rng *r, uint32_t w, struct insn_record *rec)
{
	enum branch b = branch_of(w);
	uint32_t wide = rv_word(w);
	uint64_t to;

	switch (b) {
	case BR_NONE: return w;
	case BR_REG:
		to = slot_pc(rec->slot) + (uint64_t)gen_near(r, SLOT_SIZE);
		if (rng_one_in(r, 3))
			to = 0x30000000 + rng_below(r, 0x10000000);
		else if (rng_one_in(r, 8))
			to = SCRATCH_BASE + rng_below(r, SCRATCH_SIZE);
		else if (rng_one_in(r, 16))
			to = CODE_PAGES_END - 2;
		to |= rng_one_in(r, 4); /* JALR drops bit 0 */
		if (rs1_of(wide))
			rec->in.x[rs1_of(wide)] = to - (uint64_t)sign_extend(wide >> 20, 12);
		return w;
	case BR_JAL:
		/* half of them to where nothing is */
		if (rng_one_in(r, 2))
			return set_offset(w, b,
					  -(int64_t)(0x80000 + (rng_below(r, 0x80000) & ~1ULL)));
		return set_offset(w, b, gen_near(r, SLOT_SIZE));
	case BR_BRANCH: return set_offset(w, b, gen_near(r, SLOT_SIZE));
	case BR_CJ: return set_offset(w, b, gen_near(r, SLOT_SIZE));
	default: return set_offset(w, b, gen_near(r, 256));
	}
}

/* ---- cases ---- */

static void begin(struct rng *r, struct insn_record *rec)
{
	uint32_t slot = rec->slot;

	memset(rec, 0, sizeof(*rec));
	rec->slot = slot;
	rec->flags = INSN_TRAP;
	gen_state(r, &rec->in, slot);
}

void gen_single(struct rng *r, uint32_t word, struct insn_record *rec)
{
	begin(r, rec);
	set_base(r, word, rec);
	if (quirk_needs_low_bit(word) && !(uint32_t)rec->in.x[rs1_of(word)])
		rec->in.x[rs1_of(word)] |= 1ULL << rng_below(r, 32);
	rec->n = 1;
	rec->code[0] = set_branch(r, word, rec);
}

static void emit(struct insn_record *rec, uint32_t w)
{
	rec->code[rec->n++] = w;
}

/* rd = v, a positive number of 31 bits: LUI and ADDI */
static void emit_li(struct insn_record *rec, unsigned rd, uint64_t v)
{
	emit(rec, (uint32_t)((v + 0x800) & 0xfffff000) | rd << 7 | 0x37);
	emit(rec, (uint32_t)(v & 0xfff) << 20 | rd << 15 | rd << 7 | 0x13);
}

/* LR: the SC to match, close behind, mostly to the same address */
static void emit_store_conditional(struct rng *r, uint32_t load, struct insn_record *rec)
{
	uint32_t rs2 = 1 + (uint32_t)rng_below(r, 31);

	if (rng_one_in(r, 4)) /* a store in between */
		emit(rec, 0x23 | (load & 0x7000) | (load & 31u << 15) | rs2 << 20);
	if (rng_one_in(r, 8)) /* elsewhere */
		emit(rec, 0x13 | rs1_of(load) << 7 | (load & 31u << 15) |
				  (uint32_t)(rng_one_in(r, 2) ? 16 : -16) << 20);
	emit(rec, 0x1800002f | (load & 0x06007000) | (load & 31u << 15) | rs2 << 20 |
			  (uint32_t)rng_below(r, 32) << 7);
}

/* Code that stores an instruction into the stream, further down. */
struct patch {
	uint32_t at; /* of the first word of this code */
	bool pending;
	unsigned rt;
};

static void emit_patch(struct rng *r, uint32_t w, struct insn_record *rec, struct patch *p)
{
	unsigned rt = 1 + (unsigned)rng_below(r, 28), data = rt + 1;

	*p = (struct patch){ rec->n, true, rt };
	emit_li(rec, rt, 0); /* made right when the place is known */
	/* the data may not be a positive number of 31 bits: LUI and ADDIW wrap where ADDI
	 * does not */
	emit(rec, ((w + 0x800) & 0xfffff000) | data << 7 | 0x37);
	emit(rec, (w & 0xfff) << 20 | data << 15 | data << 7 | (rv_is_64 ? 0x1b : 0x13));
	/* SW, or SH for a compressed one */
	emit(rec, data << 20 | rt << 15 | (insn_length(w) == 4 ? 0x2023 : 0x1023));
	emit(rec, 0x0000100f); /* FENCE.I */
}

/* The place is here. */
static void emit_patched(struct insn_record *rec, struct patch *p, unsigned length)
{
	uint32_t n = rec->n;
	uint64_t va = arch_pc(rec, n);

	rec->n = p->at;
	emit_li(rec, p->rt, va);
	rec->n = n;
	p->pending = false;
	emit(rec, length == 4 ? 0x00000013 : 0x0001);
}

/* Branches go forward, a little, and not between an access and the code that sets its base. */
static void aim_branches(struct rng *r, struct insn_record *rec, const bool *start)
{
	for (uint32_t i = 0; i < rec->n; i++) {
		uint32_t to = i + 1 + (uint32_t)rng_below(r, 4);
		enum branch b = branch_of(rec->code[i]);

		if (b == BR_NONE)
			continue;
		while (to < rec->n && !start[to])
			to++;
		if (to > rec->n)
			to = rec->n;
		rec->code[i] =
			set_offset(rec->code[i], b, (int64_t)(arch_pc(rec, to) - arch_pc(rec, i)));
	}
}

void gen_stream(struct rng *r, const unsigned *lines, unsigned n, struct insn_record *rec)
{
	uint32_t end = 24 + (uint32_t)rng_below(r, INSN_CODE_MAX - 44);
	bool patching = rng_one_in(r, 3), start[INSN_CODE_MAX] = { false };
	struct patch patch = { 0 };
	uint32_t patch_word = 0;
	unsigned few[6];

	begin(r, rec);
	rec->mem_seed = rng_one_in(r, 8) ? 0 : rng_next(r) | 1;
	/* Half of the streams have only a few lines, so that any two of them come to meet. */
	if (rng_one_in(r, 2)) {
		unsigned n_few = 2 + (unsigned)rng_below(r, ARRAY_SIZE(few) - 1);

		for (unsigned i = 0; i < n_few; i++)
			few[i] = lines[rng_below(r, n)];
		lines = few;
		n = n_few;
	}
	/* At most 12 words come of one turn. */
	for (unsigned tries = 0; rec->n < end && tries < 500; tries++) {
		uint32_t w, wide;
		struct access a;

		if (!gen_word(r, lines[rng_below(r, n)], &w))
			continue;
		wide = rv_word(w);
		a = access_of(w);
		if (branch_of(w) == BR_REG || wide == 0x00100073 || quirk_needs_low_bit(w))
			continue;
		start[rec->n] = true;
		if (patch.pending && rng_one_in(r, 3)) {
			emit_patched(rec, &patch, insn_length(patch_word));
			continue;
		}
		if (patching && rec->n && rng_one_in(r, 8) && !a.any && !branch_of(w)) {
			patch_word = w;
			emit_patch(r, w, rec, &patch);
			patching = false;
			continue;
		}
		if (a.any) {
			bool lr = (wide & 0xf800007f) == 0x1000002f;

			/* SC comes with its LR */
			if ((wide & 0xf800007f) == 0x1800002f || (lr && rd_of(wide) == a.rs1))
				continue;
			emit_li(rec, a.rs1, gen_target(r, &a, lr) - (uint64_t)a.offset);
			rec->flags |= INSN_MEM;
			emit(rec, w);
			if (lr)
				emit_store_conditional(r, wide, rec);
			continue;
		}
		emit(rec, w);
	}
	if (patch.pending)
		emit_patched(rec, &patch, insn_length(patch_word));
	if (!rec->n)
		emit(rec, 0x0001); /* C.NOP: every line only makes sense alone */
	aim_branches(r, rec, start);
}

void gen_any(struct rng *r, uint64_t index, struct insn_record *rec)
{
	uint32_t slot = rec->slot, w, wide;

	memset(rec, 0, sizeof(*rec));
	rec->slot = slot;
	rec->flags = INSN_TRAP;
	do {
		w = (uint32_t)rng_next(r);
		if (index % 3 == 0) { /* every one of 16 bits, in no order */
			w = (uint32_t)(index / 3 * 0x9e37 & 0xffff);
			index++;
		} else if (!rng_one_in(r, 4)) { /* a line with one or two bits changed */
			const struct rv_info *info = &rv_info[rng_below(r, rv_N_INSNS)];

			w = (w & ~info->mask) | info->value;
			for (unsigned i = (unsigned)rng_below(r, 3); i; i--)
				w ^= 1u << rng_below(r, 32);
		}
		if ((w & 3) != 3)
			w &= 0xffff;
		wide = rv_word(w);
		/* x31 is where the code is: a loop */
	} while (quirk_never_run(wide ? wide : w) || w == 0 ||
		 (branch_of(w) == BR_REG && rs1_of(wide) == 31));
	rec->n = 1;
	for (unsigned i = 1; i < 31; i++)
		rec->in.x[i] = SCRATCH_BASE + SCRATCH_SIZE / 2;
	rec->in.x[31] = slot_pc(slot);
	rec->code[0] = set_offset(w, branch_of(w), 4);
}

/* SPDX-License-Identifier: MIT */
/*
 * The software CPU's instructions against qemu-aarch64, register by register.
 *
 * Each line of the instruction table is run as often as every other, alone and in straight-line
 * streams, with random fields, registers, flags and memory (gen.c), by hako and by the oracle
 * (runner.c), and the outcomes are compared. In between come words that may not be instructions at
 * all: both must find the same ones undefined. What is left out, and why: quirks.c.
 *
 * The seed is printed; --seed runs the same cases again, --case one of them.
 */
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "gen.h"
#include "oracle.h"
#include "quirks.h"
#include "side.h"

enum { NOP = 0xd503201f, EXIT_SKIP = 77 };

/*
 * Of each GROUP cases, so many are single instructions and so many streams; the rest are words. An
 * odd number, because a case's slot also decides how it is run.
 */
enum { GROUP = 37, GROUP_SINGLES = 27, GROUP_STREAMS = 1 };
enum kind { KIND_SINGLE, KIND_STREAM, KIND_ANY };

struct batch {
	struct oracle oracle;
	unsigned n;
	struct insn_record recs[INSN_BATCH_MAX];
	struct insn_result theirs[INSN_BATCH_MAX], ours[INSN_BATCH_MAX];
	uint64_t index[INSN_BATCH_MAX];
	enum kind kind[INSN_BATCH_MAX];
};

struct line {
	uint64_t runs, failures;
};

struct test {
	uint64_t seed, count, start;
	bool one_case, verbose, words_only;
	const char *only;
	unsigned max_reports; /* of one line */
	struct side *side;
	struct batch *n1, *max; /* by what the oracle's CPU has */
	struct batch *v8;       /* ARMv8.0, only to judge what is hidden */
	enum a64_insn insns[a64_N_INSNS];
	unsigned n_insns;
	struct line lines[a64_N_INSNS];
	uint64_t insns_run, words_run, failures;
};

static const char *const stop_names[] = {
	[STOP_END] = "end",        [STOP_ILL] = "undefined",   [STOP_SEGV] = "abort",
	[STOP_BUS] = "misaligned", [STOP_TRAP] = "breakpoint", [STOP_OTHER] = "other",
};

static const char *stop_name(uint32_t stop)
{
	return stop < ARRAY_SIZE(stop_names) ? stop_names[stop] : "?";
}

/* The word itself is undefined (and not one that it jumped to). */
static bool undefined_itself(const struct insn_record *rec, const struct insn_result *res)
{
	return res->stop == STOP_ILL && res->out.pc == slot_pc(rec->slot);
}

/*
 * Vector registers that a load was to write when it faulted: some may have been written (DDI0487
 * B2.2.1, and the registers are then UNKNOWN).
 */
static uint32_t unknown_v(const struct insn_record *rec, const struct insn_result *res)
{
	uint64_t index = (res->out.pc - slot_pc(rec->slot)) / 4;
	uint32_t w, regs;

	if ((res->stop != STOP_SEGV && res->stop != STOP_BUS) || index >= rec->n)
		return 0;
	w = rec->code[index];
	if ((w & 0x0e400000) == 0x0c400000 && !bit(w, 29)) { /* LD1..LD4: up to four from Vt */
		regs = 0xfu << (w & 31);
		return regs | (uint32_t)(0xfULL << (w & 31) >> 32);
	}
	if ((w & 0x3e400000) == 0x2c400000) /* LDP */
		return 1u << (w & 31) | 1u << (w >> 10 & 31);
	return 0;
}

/* Is ours as good as theirs? With `out`, also say where not. */
static bool same(enum kind kind, const struct insn_record *rec, const struct insn_result *ours,
		 const struct insn_result *theirs, FILE *out)
{
	const struct insn_state *a = &ours->out, *b = &theirs->out;
	uint32_t unknown = unknown_v(rec, theirs);
	bool ok = true;

	if (kind == KIND_ANY) {
		bool undef = undefined_itself(rec, ours);

		if (undef == undefined_itself(rec, theirs))
			return true;
		if (!undef && quirk_missing(rec->code[0]))
			return true;
		if (out)
			fprintf(out, "  hako: %s  oracle: %s\n", undef ? "undefined" : "executed",
				undef ? "executed" : "undefined");
		return false;
	}

	/* QEMU's user mode does not check it (D1.3.4, SCTLR_EL1.SA0), so what comes after is
	 * nothing. */
	if (ours->stop == STOP_SP && a->sp & 15)
		return true;

#define CHECK(cond, ...)                                   \
	do {                                               \
		if (!(cond)) {                             \
			ok = false;                        \
			if (out)                           \
				fprintf(out, __VA_ARGS__); \
		}                                          \
	} while (0)

	CHECK(!(ours->notes & NOTE_AGAIN), "  hako's second run of it is not like the first\n");
	CHECK(!(ours->notes & NOTE_WNR), "  ESR_EL1.WnR is wrong\n");
	CHECK(!(ours->notes & NOTE_STEP), "  hako does not stop after each step\n");
	CHECK(ours->stop == theirs->stop, "  ended by   hako %s  oracle %s\n",
	      stop_name(ours->stop), stop_name(theirs->stop));
	/* Linux does not keep the address's tag; QEMU has no address when the host could not
	 * either. */
	if ((theirs->stop == STOP_SEGV || theirs->stop == STOP_BUS) && theirs->far)
		CHECK(!((ours->far ^ theirs->far) << 8),
		      "  FAR        hako %016" PRIx64 "  oracle %016" PRIx64 "\n", ours->far,
		      theirs->far);
	CHECK(a->pc == b->pc, "  PC         hako %016" PRIx64 "  oracle %016" PRIx64 "\n", a->pc,
	      b->pc);
	for (unsigned i = 0; i < 31; i++)
		CHECK(a->x[i] == b->x[i],
		      "  X%-2u        hako %016" PRIx64 "  oracle %016" PRIx64
		      "  before %016" PRIx64 "\n",
		      i, a->x[i], b->x[i], rec->in.x[i]);
	CHECK(a->sp == b->sp, "  SP         hako %016" PRIx64 "  oracle %016" PRIx64 "\n", a->sp,
	      b->sp);
	CHECK(a->nzcv == b->nzcv, "  NZCV       hako %x  oracle %x  before %x\n",
	      (unsigned)(a->nzcv >> 28), (unsigned)(b->nzcv >> 28), (unsigned)(rec->in.nzcv >> 28));
	CHECK(a->fpcr == b->fpcr, "  FPCR       hako %08x  oracle %08x\n", a->fpcr, b->fpcr);
	CHECK(a->fpsr == b->fpsr, "  FPSR       hako %08x  oracle %08x  before %08x\n", a->fpsr,
	      b->fpsr, rec->in.fpsr);
	for (unsigned i = 0; i < 32; i++)
		CHECK((a->v[i][0] == b->v[i][0] && a->v[i][1] == b->v[i][1]) || bit(unknown, i),
		      "  V%-2u        hako %016" PRIx64 "_%016" PRIx64 "  oracle %016" PRIx64
		      "_%016" PRIx64 "\n",
		      i, a->v[i][1], a->v[i][0], b->v[i][1], b->v[i][0]);
	if (theirs->stop != STOP_END)
		CHECK(a->tpidr == b->tpidr,
		      "  TPIDR_EL0  hako %016" PRIx64 "  oracle %016" PRIx64 "\n", a->tpidr,
		      b->tpidr);
	/* A store that faults may have been made in part (DDI0487 B2.2.1, D1.3). */
	if (rec->flags & INSN_MEM && theirs->stop != STOP_SEGV && theirs->stop != STOP_BUS)
		CHECK(ours->mem_sum == theirs->mem_sum, "  memory differs\n");
#undef CHECK
	return ok;
}

/* Run one record on both sides. */
static void run_one(struct test *t, struct batch *b, const struct insn_record *rec,
		    struct insn_result *ours, struct insn_result *theirs, void *mem)
{
	if (!oracle_send(&b->oracle, rec, 1, true) || !oracle_take(&b->oracle, theirs, 1, mem)) {
		memset(theirs, 0, sizeof(*theirs));
		theirs->stop = STOP_OTHER;
	}
	side_run(t->side, rec, ours);
}

/* Do they differ, ending as `ours` and `theirs` ended? */
static bool differs(struct test *t, struct batch *b, const struct insn_record *rec,
		    const struct insn_result *ours, const struct insn_result *theirs)
{
	struct insn_result o, h;
	uint8_t mem[SCRATCH_SIZE];

	run_one(t, b, rec, &o, &h, mem);
	return o.stop == ours->stop && h.stop == theirs->stop &&
	       !same(KIND_STREAM, rec, &o, &h, NULL);
}

/* Only what is needed to differ; the rest becomes NOPs. Returns the index of the last one. */
static uint32_t shrink(struct test *t, struct batch *b, unsigned i, struct insn_record *rec)
{
	const struct insn_result *ours = &b->ours[i], *theirs = &b->theirs[i];
	uint32_t last = 0;

	/* from the end, so that what an instruction needs goes after it */
	for (uint32_t k = rec->n; k-- > 0;) {
		uint32_t w = rec->code[k];

		rec->code[k] = NOP;
		if (!differs(t, b, rec, ours, theirs)) {
			rec->code[k] = w;
			if (!last)
				last = k;
		}
	}
	return last;
}

static void print_operands(const struct insn_record *rec)
{
	static const struct {
		const char *name;
		unsigned lo;
	} fields[] = { { "d", 0 }, { "n", 5 }, { "a", 10 }, { "m", 16 } };

	for (uint32_t i = 0; i < rec->n; i++) {
		uint32_t w = rec->code[i];

		if (w == NOP && rec->n > 1)
			continue;
		printf("  %08" PRIx64 ": %08x  %s\n", slot_pc(rec->slot) + i * 4, w,
		       a64_info[a64_decode(w)].name);
		for (unsigned f = 0; f < ARRAY_SIZE(fields); f++) {
			unsigned n = w >> fields[f].lo & 31;

			printf("    %s: ", fields[f].name);
			if (n < 31)
				printf("X%-2u %016" PRIx64, n, rec->in.x[n]);
			else
				printf("SP  %016" PRIx64, rec->in.sp);
			printf("  V%-2u %016" PRIx64 "_%016" PRIx64 "\n", n, rec->in.v[n][1],
			       rec->in.v[n][0]);
		}
	}
	printf("    NZCV %x  FPCR %08x  FPSR %08x\n", (unsigned)(rec->in.nzcv >> 28), rec->in.fpcr,
	       rec->in.fpsr);
}

static void print_memory(struct test *t, const uint8_t *theirs)
{
	const uint8_t *ours = side_scratch(t->side);
	unsigned printed = 0;

	for (unsigned i = 0; i < SCRATCH_SIZE && printed < 8; i += 8)
		if (memcmp(ours + i, theirs + i, 8)) {
			uint64_t a, b;

			memcpy(&a, ours + i, 8);
			memcpy(&b, theirs + i, 8);
			printf("  [%08llx] hako %016" PRIx64 "  oracle %016" PRIx64 "\n",
			       SCRATCH_BASE + i, a, b);
			printed++;
		}
}

static void report(struct test *t, struct batch *b, unsigned i)
{
	struct insn_record rec = b->recs[i];
	struct insn_result ours, theirs;
	uint8_t mem[SCRATCH_SIZE];
	enum a64_insn insn;

	t->failures++;
	insn = a64_decode(rec.code[b->kind[i] == KIND_STREAM ? shrink(t, b, i, &rec) : 0]);
	if (t->lines[insn].failures++ >= t->max_reports && !t->verbose)
		return;
	run_one(t, b, &rec, &ours, &theirs, mem);
	printf("MISMATCH %s  case %" PRIu64 " (seed %" PRIu64 ")\n", a64_info[insn].name,
	       b->index[i], t->seed);
	print_operands(&rec);
	if (same(b->kind[i], &rec, &ours, &theirs, stdout))
		printf("  only in its batch, not alone: state is left over\n");
	else if (rec.flags & INSN_MEM && b->kind[i] != KIND_ANY && theirs.stop == STOP_END)
		print_memory(t, mem);
	fflush(stdout);
}

/* The oracle died somewhere in this batch: run its records one by one. */
static void replay(struct test *t, struct batch *b)
{
	uint8_t mem[SCRATCH_SIZE];

	for (unsigned i = 0; i < b->n; i++) {
		run_one(t, b, &b->recs[i], &b->ours[i], &b->theirs[i], mem);
		if (b->theirs[i].stop == STOP_OTHER)
			printf("the oracle does not survive %08x (case %" PRIu64 ")\n",
			       b->recs[i].code[0], b->index[i]);
	}
}

/*
 * quirk_hidden() lists whole encoding groups. What an ARMv8.0 CPU executes is certainly not to be
 * hidden: FEAT_FP16 and the rest came later.
 */
static bool hidden(struct test *t, struct batch *b, unsigned i)
{
	const struct insn_record *rec = &b->recs[i];
	struct insn_result ours, theirs;
	uint8_t mem[SCRATCH_SIZE];

	if (b->kind[i] != KIND_ANY || !undefined_itself(rec, &b->ours[i]) ||
	    undefined_itself(rec, &b->theirs[i]) || !quirk_hidden(rec->code[0]))
		return false;
	run_one(t, t->v8, rec, &ours, &theirs, mem);
	return undefined_itself(rec, &theirs);
}

static void flush(struct test *t, struct batch *b)
{
	bool alive;

	if (!b->n)
		return;
	alive = oracle_send(&b->oracle, b->recs, b->n, false);
	for (unsigned i = 0; alive && i < b->n; i++)
		side_run(t->side, &b->recs[i], &b->ours[i]);
	if (!alive || !oracle_take(&b->oracle, b->theirs, b->n, NULL))
		replay(t, b);
	for (unsigned i = 0; i < b->n; i++)
		if (!same(b->kind[i], &b->recs[i], &b->ours[i], &b->theirs[i], NULL) &&
		    !hidden(t, b, i))
			report(t, b, i);
	b->n = 0;
}

static bool needs_max(const struct insn_record *rec)
{
	for (uint32_t i = 0; i < rec->n; i++)
		if (quirk_needs_max(rec->code[i]))
			return true;
	return false;
}

/* Case `index` of the run goes into its batch. */
static void add_case(struct test *t, uint64_t index)
{
	struct rng r = rng_case(t->seed, index);
	uint64_t in_group = index % GROUP;
	/* The slot is part of the case. */
	struct insn_record rec = { .slot = (uint32_t)(index % INSN_BATCH_MAX) };
	struct batch *b;
	enum kind kind;

	if (t->words_only || (!t->only && in_group >= GROUP_SINGLES + GROUP_STREAMS)) {
		kind = KIND_ANY;
		gen_any(&r, &rec);
	} else if (in_group < GROUP_SINGLES || t->only) {
		uint64_t n = t->only ? index : index / GROUP * GROUP_SINGLES + in_group;
		uint32_t word;

		kind = KIND_SINGLE;
		if (!gen_word(&r, t->insns[n % t->n_insns], &word))
			return;
		gen_single(&r, word, &rec);
	} else {
		kind = KIND_STREAM;
		gen_stream(&r, t->insns, t->n_insns, &rec);
	}
	if (kind == KIND_ANY) {
		t->words_run++;
	} else {
		t->insns_run += rec.n;
		for (uint32_t i = 0; i < rec.n; i++)
			t->lines[a64_decode(rec.code[i])].runs++;
	}

	b = needs_max(&rec) ? t->max : t->n1;
	/* no slot twice in a batch */
	if (b->n && b->index[0] / INSN_BATCH_MAX != index / INSN_BATCH_MAX)
		flush(t, b);
	b->recs[b->n] = rec;
	b->index[b->n] = index;
	b->kind[b->n++] = kind;
}

/* The lines to run, and which are not. */
static void choose(struct test *t)
{
	struct rng r = { 1 };

	for (enum a64_insn i = 1; i < a64_N_INSNS; i++) {
		uint32_t w;

		if (t->only && strcmp(t->only, a64_info[i].name))
			continue;
		if (gen_word(&r, i, &w)) {
			t->insns[t->n_insns++] = i;
		} else {
			const char *why = quirk_excluded(a64_info[i].value);

			printf("not run: %s (%s)\n", a64_info[i].name,
			       why ? why : "no word of it was found");
		}
	}
	if (!t->n_insns && !t->words_only)
		errx(2, "no line of the table is called %s", t->only ? t->only : "anything");
}

static void summary(struct test *t)
{
	unsigned never = 0;

	for (unsigned i = 0; i < t->n_insns && !t->one_case && !t->words_only; i++)
		if (!t->lines[t->insns[i]].runs) {
			printf("%s %s", never ? "" : "never run:", a64_info[t->insns[i]].name);
			never++;
		}
	if (never)
		printf("\n");
	for (unsigned i = 0; i < a64_N_INSNS; i++)
		if (t->lines[i].failures)
			printf("FAIL %-20s %" PRIu64 " of about %" PRIu64 " runs differ\n",
			       a64_info[i].name, t->lines[i].failures, t->lines[i].runs);
	printf("%" PRIu64 " instructions of %u lines, %" PRIu64 " words: %" PRIu64 " differ\n",
	       t->insns_run, t->n_insns, t->words_run, t->failures);
}

static struct batch *batch_create(const char *qemu, const char *runner, const char *cpu)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		err(2, "out of memory");
	b->oracle = (struct oracle){ .qemu = qemu, .runner = runner, .cpu = cpu };
	oracle_start(&b->oracle);
	return b;
}

static void usage(FILE *out)
{
	fputs("usage: test_insn --qemu QEMU --runner RUNNER [option...]\n"
	      "  --seed N     of the random cases (default 1), or \"time\"\n"
	      "  --count N    instructions to run (default 400000)\n"
	      "  --only NAME  one line of the table\n"
	      "  --case N     one case of this seed (with the same --only)\n"
	      "  --words      only the question which words are instructions\n"
	      "  --verbose    every mismatch, not the first few of each line\n"
	      "  --skip WHY   the oracle cannot be built here: say so and do nothing\n",
	      out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "qemu", required_argument, NULL, 'q' },
		{ "runner", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'c' },
		{ "only", required_argument, NULL, 'o' },
		{ "case", required_argument, NULL, 'i' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "words", no_argument, NULL, 'w' },
		{ "skip", required_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct test t = { .seed = 1, .count = 400000, .max_reports = 2 };
	const char *qemu = NULL, *runner = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'q': qemu = optarg; break;
		case 'r': runner = optarg; break;
		case 's':
			t.seed = strcmp(optarg, "time") ? strtoull(optarg, NULL, 0)
							: (uint64_t)time(NULL);
			break;
		case 'c': t.count = strtoull(optarg, NULL, 0); break;
		case 'o': t.only = optarg; break;
		case 'i':
			t.start = strtoull(optarg, NULL, 0);
			t.one_case = true;
			break;
		case 'v': t.verbose = true; break;
		case 'w': t.words_only = true; break;
		case 'k': printf("skipped: %s\n", optarg); return EXIT_SKIP;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	if (!qemu || !runner) {
		usage(stderr);
		return 2;
	}
	printf("seed %" PRIu64 "\n", t.seed);
	t.side = side_create();
	t.n1 = batch_create(qemu, runner, "neoverse-n1");
	t.max = batch_create(qemu, runner, "max");
	t.v8 = batch_create(qemu, runner, "cortex-a72");
	choose(&t);
	for (uint64_t i = t.start; t.one_case ? i == t.start : t.insns_run + t.words_run < t.count;
	     i++)
		add_case(&t, i);
	flush(&t, t.n1);
	flush(&t, t.max);
	summary(&t);
	oracle_stop(&t.n1->oracle);
	oracle_stop(&t.max->oracle);
	oracle_stop(&t.v8->oracle);
	free(t.n1);
	free(t.max);
	free(t.v8);
	side_destroy(t.side);
	return t.failures != 0;
}

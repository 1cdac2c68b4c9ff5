/* SPDX-License-Identifier: MIT */
/*
 * The software CPU's instructions against QEMU's user mode, register by register.
 *
 * Each line of the instruction table is run as often as every other, alone and in straight-line
 * streams, with random fields, registers, flags and memory (each architecture's gen.c), by hako and
 * by the oracle (runner.c), and the outcomes are compared. In between come words that may not be
 * instructions at all: both must find the same ones undefined. What is left out, and why: quirks.c.
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

#include "arch.h"
#include "base/bits.h"
#include "oracle.h"
#include "side.h"

enum { EXIT_SKIP = 77 };

/*
 * Of each GROUP cases, so many are single instructions and so many streams; the rest are words. An
 * odd number, because a case's slot also decides how it is run.
 */
enum { GROUP = 37, GROUP_SINGLES = 27, GROUP_STREAMS = 1, GROUP_WORDS = 9 };
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
	const struct arch *arch;
	struct batch *batches[ARCH_MAX_CPUS]; /* by the oracle's CPU */
	unsigned insns[ARCH_MAX_LINES];
	unsigned n_insns;
	struct line lines[ARCH_MAX_LINES];
	uint64_t insns_run, words_run, failures;
};

static const char *const stop_names[] = {
	[STOP_END] = "end",        [STOP_ILL] = "undefined",   [STOP_SEGV] = "abort",
	[STOP_BUS] = "misaligned", [STOP_TRAP] = "breakpoint", [STOP_OTHER] = "other",
};

const char *stop_name(uint32_t stop)
{
	return stop < ARRAY_SIZE(stop_names) ? stop_names[stop] : "?";
}

/* The word itself is undefined (and not one that it jumped to). */
static bool undefined_itself(const struct insn_record *rec, const struct insn_result *res)
{
	return res->stop == STOP_ILL && res->out.pc == slot_pc(rec->slot);
}

/* Is ours as good as theirs? With `out`, also say where not. */
static bool same(enum kind kind, const struct insn_record *rec, const struct insn_result *ours,
		 const struct insn_result *theirs, FILE *out)
{
	if (kind == KIND_ANY) {
		bool undef = undefined_itself(rec, ours);

		if (undef == undefined_itself(rec, theirs))
			return true;
		if (!undef && arch_missing(rec->code[0]))
			return true;
		if (out)
			fprintf(out, "  hako: %s  oracle: %s\n", undef ? "undefined" : "executed",
				undef ? "executed" : "undefined");
		return false;
	}
	return arch_same(rec, ours, theirs, out);
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

/* Only what is needed to differ; the rest becomes no-operations. Returns the index of the
 * last one. */
static uint32_t shrink(struct test *t, struct batch *b, unsigned i, struct insn_record *rec)
{
	const struct insn_result *ours = &b->ours[i], *theirs = &b->theirs[i];
	uint32_t last = 0;

	/* from the end, so that what an instruction needs goes after it */
	for (uint32_t k = rec->n; k-- > 0;) {
		uint32_t w = rec->code[k];

		rec->code[k] = arch_nop(w);
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
	for (uint32_t i = 0; i < rec->n; i++) {
		uint32_t w = rec->code[i];

		if (w == arch_nop(w) && rec->n > 1)
			continue;
		printf("  %08" PRIx64 ": %08x  %s\n", arch_pc(rec, i), w, arch_name(arch_line(w)));
		arch_print_operands(rec, w);
	}
	arch_print_state(rec);
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
	unsigned insn;

	t->failures++;
	insn = arch_line(rec.code[b->kind[i] == KIND_STREAM ? shrink(t, b, i, &rec) : 0]);
	if (t->lines[insn].failures++ >= t->max_reports && !t->verbose)
		return;
	run_one(t, b, &rec, &ours, &theirs, mem);
	printf("MISMATCH %s  case %" PRIu64 " (seed %" PRIu64 ")\n", arch_name(insn), b->index[i],
	       t->seed);
	print_operands(&rec);
	if (same(b->kind[i], &rec, &ours, &theirs, stdout))
		printf("  only in its batch, not alone: state is left over\n");
	else if (rec.flags & INSN_MEM && b->kind[i] != KIND_ANY && theirs.stop != STOP_SEGV &&
		 theirs.stop != STOP_BUS)
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
 * arch_hidden() lists whole encoding groups. What an older CPU executes is certainly not to be
 * hidden.
 */
static bool hidden(struct test *t, struct batch *b, unsigned i)
{
	const struct insn_record *rec = &b->recs[i];
	struct insn_result ours, theirs;
	uint8_t mem[SCRATCH_SIZE];

	if (b->kind[i] != KIND_ANY || !undefined_itself(rec, &b->ours[i]) ||
	    undefined_itself(rec, &b->theirs[i]) || !arch_hidden(rec->code[0]))
		return false;
	if (arch_hidden_cpu() < 0)
		return true;
	run_one(t, t->batches[arch_hidden_cpu()], rec, &ours, &theirs, mem);
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
		gen_any(&r, t->words_only ? index : index / GROUP * GROUP_WORDS + in_group, &rec);
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
			t->lines[arch_line(rec.code[i])].runs++;
	}

	b = t->batches[arch_cpu(&rec)];
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

	for (unsigned i = 1; i < t->arch->n_lines; i++) {
		uint32_t w;

		if (t->only && strcmp(t->only, arch_name(i)))
			continue;
		if (gen_word(&r, i, &w)) {
			t->insns[t->n_insns++] = i;
		} else {
			const char *why = arch_not_run(i);

			printf("not run: %s (%s)\n", arch_name(i),
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
			printf("%s %s", never ? "" : "never run:", arch_name(t->insns[i]));
			never++;
		}
	if (never)
		printf("\n");
	for (unsigned i = 0; i < t->arch->n_lines; i++)
		if (t->lines[i].failures)
			printf("FAIL %-20s %" PRIu64 " of about %" PRIu64 " runs differ\n",
			       arch_name(i), t->lines[i].failures, t->lines[i].runs);
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
	      "  --variant V  of the architecture: rv32, rv64\n"
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
		{ "variant", required_argument, NULL, 'V' },
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
	const char *qemu = NULL, *runner = NULL, *variant = "";
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'q': qemu = optarg; break;
		case 'r': runner = optarg; break;
		case 'V': variant = optarg; break;
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
	t.arch = arch_init(variant);
	if (!t.arch)
		errx(2, "no architecture %s", variant);
	printf("seed %" PRIu64 "\n", t.seed);
	t.side = side_create();
	for (unsigned i = 0; i < ARCH_MAX_CPUS && t.arch->cpus[i]; i++)
		t.batches[i] = batch_create(qemu, runner, t.arch->cpus[i]);
	choose(&t);
	for (uint64_t i = t.start; t.one_case ? i == t.start : t.insns_run + t.words_run < t.count;
	     i++)
		add_case(&t, i);
	for (unsigned i = 0; i < ARCH_MAX_CPUS && t.batches[i]; i++)
		flush(&t, t.batches[i]);
	summary(&t);
	for (unsigned i = 0; i < ARCH_MAX_CPUS && t.batches[i]; i++) {
		oracle_stop(&t.batches[i]->oracle);
		free(t.batches[i]);
	}
	side_destroy(t.side);
	return t.failures != 0;
}

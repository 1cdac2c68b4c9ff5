/* SPDX-License-Identifier: MIT */
/*
 * AArch64 as the test sees it: see arch.h.
 */
#include "arch.h"

#include <inttypes.h>

#include "a64_decode.h"
#include "base/bits.h"
#include "quirks.h"

enum { CPU_N1, CPU_MAX, CPU_V8 };

const struct arch *arch_init(const char *variant)
{
	static const struct arch a64 = {
		/* as hako's; with every feature; ARMv8.0, only to judge what is hidden */
		.cpus = { [CPU_N1] = "neoverse-n1", [CPU_MAX] = "max", [CPU_V8] = "cortex-a72" },
		.n_lines = a64_N_INSNS,
	};

	return *variant ? NULL : &a64;
}

const char *arch_name(unsigned line)
{
	return a64_info[line].name;
}

unsigned arch_line(uint32_t word)
{
	return a64_decode(word);
}

const char *arch_not_run(unsigned line)
{
	return quirk_excluded(a64_info[line].value);
}

uint32_t arch_nop(uint32_t word)
{
	(void)word;
	return 0xd503201f;
}

uint64_t arch_pc(const struct insn_record *rec, uint32_t index)
{
	return slot_pc(rec->slot) + index * 4;
}

unsigned arch_cpu(const struct insn_record *rec)
{
	for (uint32_t i = 0; i < rec->n; i++)
		if (quirk_needs_max(rec->code[i]))
			return CPU_MAX;
	return CPU_N1;
}

const char *arch_hidden(uint32_t word)
{
	return quirk_hidden(word);
}

const char *arch_missing(uint32_t word)
{
	return quirk_missing(word);
}

int arch_hidden_cpu(void)
{
	return CPU_V8; /* FEAT_FP16 and the rest came later */
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

bool arch_same(const struct insn_record *rec, const struct insn_result *ours,
	       const struct insn_result *theirs, FILE *out)
{
	const struct insn_state *a = &ours->out, *b = &theirs->out;
	uint32_t unknown = unknown_v(rec, theirs);
	bool ok = true;

	/* QEMU's user mode does not check it (D1.3.4, SCTLR_EL1.SA0), so what comes after is
	 * nothing. */
	if (ours->stop == STOP_SP && a->sp & 15)
		return true;

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
	return ok;
}

void arch_print_operands(const struct insn_record *rec, uint32_t w)
{
	static const struct {
		const char *name;
		unsigned lo;
	} fields[] = { { "d", 0 }, { "n", 5 }, { "a", 10 }, { "m", 16 } };

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

void arch_print_state(const struct insn_record *rec)
{
	printf("    NZCV %x  FPCR %08x  FPSR %08x\n", (unsigned)(rec->in.nzcv >> 28), rec->in.fpcr,
	       rec->in.fpsr);
}

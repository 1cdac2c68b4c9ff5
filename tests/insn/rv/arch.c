/* SPDX-License-Identifier: MIT */
/*
 * RISC-V as the test sees it: see arch.h. Lines are those of the instruction table, then one for
 * each quadrant and funct3 of the compressed instructions.
 */
#include <inttypes.h>
#include <string.h>

#include "arch_rv.h"
#include "base/bits.h"
#include "engine/soft/rv/rvc.h"
#include "rv_decode.h"
#include "slot.h"

bool rv_is_64;

const struct arch *arch_init(const char *variant)
{
	/* Svadu, Zicbom and so on are no matter of user mode; Zbc hako does not have. */
	static const struct arch arches[] = {
		{ .cpus = { "rv32,zbc=false" }, .n_lines = rv_N_INSNS + 24 },
		{ .cpus = { "rv64,zbc=false" }, .n_lines = rv_N_INSNS + 24 },
	};

	rv_is_64 = !strcmp(variant, "rv64");
	return rv_is_64 || !strcmp(variant, "rv32") ? &arches[rv_is_64] : NULL;
}

const char *arch_name(unsigned line)
{
	static const char *const compressed[] = {
		"C0.0 ADDI4SPN",  "C0.1 FLD",   "C0.2 LW",   "C0.3 LD/FLW",
		"C0.4 reserved",  "C0.5 FSD",   "C0.6 SW",   "C0.7 SD/FSW",
		"C1.0 ADDI",      "C1.1 ADDIW", "C1.2 LI",   "C1.3 LUI/ADDI16SP",
		"C1.4 ALU",       "C1.5 J",     "C1.6 BEQZ", "C1.7 BNEZ",
		"C2.0 SLLI",      "C2.1 FLDSP", "C2.2 LWSP", "C2.3 LDSP/FLWSP",
		"C2.4 JR/MV/ADD", "C2.5 FSDSP", "C2.6 SWSP", "C2.7 SDSP/FSWSP",
	};

	return line < rv_N_INSNS ? rv_info[line].name : compressed[line - rv_N_INSNS];
}

unsigned arch_line(uint32_t w)
{
	if ((w & 3) != 3)
		return rv_N_INSNS + (w & 3) * 8 + (w >> 13 & 7);
	return rv_decode(w);
}

const char *arch_not_run(unsigned line)
{
	if (line >= rv_N_INSNS)
		return "reserved";
	if (rv_info[line].attributes & (rv_is_64 ? rv_ATTR_rv32 : rv_ATTR_rv64))
		return "of the other width";
	return quirk_excluded(rv_info[line].value);
}

uint32_t rv_word(uint32_t w)
{
	if ((w & 3) != 3)
		return rvc_expand((uint16_t)w, rv_is_64);
	return rv_info[rv_decode(w)].attributes & (rv_is_64 ? rv_ATTR_rv32 : rv_ATTR_rv64) ? 0 : w;
}

uint32_t arch_nop(uint32_t w)
{
	return insn_length(w) == 4 ? 0x00000013 : 0x0001;
}

uint64_t arch_pc(const struct insn_record *rec, uint32_t index)
{
	uint64_t pc = slot_pc(rec->slot);

	for (uint32_t i = 0; i < index; i++)
		pc += insn_length(rec->code[i]);
	return pc;
}

unsigned arch_cpu(const struct insn_record *rec)
{
	(void)rec;
	return 0;
}

int arch_hidden_cpu(void)
{
	return -1;
}

bool arch_same(const struct insn_record *rec, const struct insn_result *ours,
	       const struct insn_result *theirs, FILE *out)
{
	const struct insn_state *a = &ours->out, *b = &theirs->out;
	uint64_t mask = rv_is_64 ? ~0ULL : 0xffffffff;
	bool ok = true;

	CHECK(!(ours->notes & NOTE_AGAIN), "  hako's second run of it is not like the first\n");
	CHECK(!(ours->notes & NOTE_TVAL), "  stval is wrong\n");
	CHECK(ours->stop == theirs->stop, "  ended by   hako %s  oracle %s\n",
	      stop_name(ours->stop), stop_name(theirs->stop));
	/* QEMU has no address when the host could not have one either. */
	if ((theirs->stop == STOP_SEGV || theirs->stop == STOP_BUS) && theirs->far)
		CHECK(!((ours->far ^ theirs->far) & mask),
		      "  stval      hako %016" PRIx64 "  oracle %016" PRIx64 "\n", ours->far,
		      theirs->far);
	CHECK(!((a->pc ^ b->pc) & mask),
	      "  pc         hako %016" PRIx64 "  oracle %016" PRIx64 "\n", a->pc, b->pc);
	for (unsigned i = 0; i < 32; i++)
		CHECK(a->x[i] == b->x[i],
		      "  x%-2u        hako %016" PRIx64 "  oracle %016" PRIx64
		      "  before %016" PRIx64 "\n",
		      i, a->x[i], b->x[i], rec->in.x[i]);
	CHECK(a->fcsr == b->fcsr, "  fcsr       hako %02x  oracle %02x  before %02x\n", a->fcsr,
	      b->fcsr, rec->in.fcsr);
	for (unsigned i = 0; i < 32; i++)
		CHECK(a->f[i] == b->f[i],
		      "  f%-2u        hako %016" PRIx64 "  oracle %016" PRIx64
		      "  before %016" PRIx64 "\n",
		      i, a->f[i], b->f[i], rec->in.f[i]);
	/* A store that faults may have been made in part. */
	if (rec->flags & INSN_MEM && theirs->stop != STOP_SEGV && theirs->stop != STOP_BUS)
		CHECK(ours->mem_sum == theirs->mem_sum, "  memory differs\n");
	return ok;
}

void arch_print_operands(const struct insn_record *rec, uint32_t w)
{
	static const struct {
		const char *name;
		unsigned lo;
	} fields[] = { { "rd", 7 }, { "rs1", 15 }, { "rs2", 20 }, { "rs3", 27 } };
	uint32_t wide = rv_word(w);

	if (wide != w)
		printf("    is %08x  %s\n", wide, rv_info[rv_decode(wide)].name);
	for (unsigned f = 0; f < ARRAY_SIZE(fields); f++) {
		unsigned n = wide >> fields[f].lo & 31;

		printf("    %-4s x%-2u %016" PRIx64 "  f%-2u %016" PRIx64 "\n", fields[f].name, n,
		       rec->in.x[n], n, rec->in.f[n]);
	}
}

void arch_print_state(const struct insn_record *rec)
{
	printf("    fcsr %02x\n", rec->in.fcsr);
}

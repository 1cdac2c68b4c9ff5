/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: synchronous exceptions, what they record and where they go; traps; system
 * registers (DDI0487 D1.3, D17). Faults of translation are in mmu.c.
 */
#include "guest.h"

/* ---- entry ---- */

static void exception_classes(void)
{
	TRY("svc #0x1234");
	check_exc(EC_SVC, 0x1234, "svc at EL1");
	check_eq(last()->f.vector, VEC_EL1H + VEC_SYNC, "svc at EL1h goes to vector 0x200");
	check_eq(last()->f.spsr & 0x1f, PSTATE_EL1H, "spsr says EL1h");
	TRY("brk #0xffff");
	check_exc(EC_BRK, 0xffff, "brk at EL1: ELR is the brk's own address");
	TRY("brk #0");
	check_exc(EC_BRK, 0, "brk #0");
	TRY(".inst 0");
	check_exc(EC_UNKNOWN, 0, "udf #0");

	TRY_IN("mov x1, sp\n\tmsr sp_el0, x1\n\tmsr spsel, #0", "svc #1", "msr spsel, #1");
	check_exc(EC_SVC, 1, "svc at EL1t");
	check_eq(last()->f.vector, VEC_EL1T + VEC_SYNC, "svc at EL1t goes to vector 0");
	check_eq(last()->f.spsr & 0x1f, PSTATE_EL1T, "spsr says EL1t");
	check_eq(last()->spsel, 1, "the handler has SP_EL1");

	TRY_IN("mov x1, #0xb0000000\n\tmsr nzcv, x1\n\tmsr daifclr, #0xc", "svc #2",
	       "mrs x0, nzcv\n\tmsr daifset, #0xf");
	check_eq(last()->f.spsr & 0xf00003c0, 0xb00000c0, "spsr has nzcv and daif of before");
	check_eq(last()->daif, PSTATE_DAIF, "the handler has daif masked");
	check_eq(TRY_IN("mov x1, #0x50000000\n\tmsr nzcv, x1", "svc #3", "mrs x0, nzcv"),
		 0x50000000, "eret gives nzcv back");
}

EL0_CODE(el0_nothing, "nop");
EL0_CODE(el0_svc, "mov x0, #77\n\tsvc #0xabc");
EL0_CODE(el0_brk, "brk #9");
EL0_CODE(el0_hvc, "hvc #0");
EL0_CODE(el0_smc, "smc #0");
EL0_CODE(el0_eret, "eret");
EL0_CODE(el0_ldr_sp, "ldr x0, [sp]");
EL0_CODE(el0_nzcv, "mrs x0, nzcv\n\tmov x1, #0x90000000\n\tmsr nzcv, x1");

static void from_el0(void)
{
	const u64 args[4] = { 0 };

	el0(el0_nothing, 0, 0, 0);
	check_el0_done("EL0 runs");
	check_eq(last()->f.vector, VEC_EL0 + VEC_SYNC,
		 "an exception from EL0 goes to vector 0x400");
	check_eq(last()->f.spsr & 0x1f, PSTATE_EL0T, "spsr says EL0t");
	check_eq(last()->el, 4, "CurrentEL is EL1 then");
	check_eq(el0(el0_svc, 0, 0, 0), 77, "registers come through");
	this_cpu()->pc += 4;
	check_exc(EC_SVC, 0xabc, "svc at EL0");
	el0(el0_brk, 0, 0, 0);
	check_exc(EC_BRK, 9, "brk at EL0");
	el0(el0_hvc, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "hvc at EL0 is undefined");
	el0(el0_smc, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "smc at EL0 is undefined");
	el0(el0_eret, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "eret at EL0 is undefined");
	TRY("smc #0");
	check_exc(EC_UNKNOWN, 0, "smc at EL1 is undefined without EL3");
	check_eq(el0_at((u64)el0_nzcv, 0, PSTATE_EL0T | 6ULL << 28, args), 6ULL << 28,
		 "eret sets nzcv for EL0");
	check_eq(last()->f.spsr >> 28, 9, "spsr has EL0's nzcv");
}

static void pan_on_entry(void)
{
	if (field(READ_REG(id_aa64mmfr1_el1), 23, 20) == 0) {
		skip("no FEAT_PAN", "PAN on exception entry");
		return;
	}
	TRY("svc #0");
	check_eq(last()->pan, 0, "SPAN = 1: PAN stays 0");
	TRY_IN("msr pan, #1", "svc #0", "mrs x0, S3_0_C4_C2_3\n\tmsr pan, #0");
	check_eq(last()->pan, PSTATE_PAN, "SPAN = 1: PAN stays 1");
	check(last()->f.spsr & PSTATE_PAN, "spsr has PAN");
	sctlr(SCTLR_PLAIN & ~(u64)SCTLR_SPAN);
	check_eq(TRY_IN("", "svc #0", "mrs x0, S3_0_C4_C2_3"), 0, "eret gives PAN back");
	check_eq(last()->pan, PSTATE_PAN, "SPAN = 0: PAN is set on entry");
	check(!(last()->f.spsr & PSTATE_PAN), "spsr has PAN of before");
	sctlr(SCTLR_PLAIN);
}

/* ---- illegal exception returns (D1.4.2) ---- */

static void illegal_return(void)
{
	static const struct {
		u8 m;
		const char *name;
	} modes[] = {
		{ 0x01, "EL0 with SP_ELx" },
		{ 0x02, "EL0, M[1]" },
		{ 0x06, "EL1, M[1]" },
		{ 0x07, "EL1h, M[1]" },
		{ 0x08, "EL2t" },
		{ 0x09, "EL2h" },
		{ 0x0c, "EL3t" },
		{ 0x0d, "EL3h" },
		{ 0x13, "AArch32 Supervisor" },
		{ 0x1f, "AArch32 System" },
	};
	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		u64 spsr = modes[i].m | 0xa0000000 | PSTATE_DAIF;

		TRY_IN("adr x1, 88f\n\tmsr elr_el1, x1\n\tmsr spsr_el1, %[spsr]\n\teret", "nop",
		       "", [spsr] "r"(spsr));
		check_exc(EC_ILLEGAL, 0, "illegal return to %s: the next instruction faults",
			  modes[i].name);
		check_eq(last()->f.spsr, PSTATE_IL | 0xa0000000 | PSTATE_DAIF | PSTATE_EL1H,
			 "... with IL and nzcv set, at the old level");
	}
	if (field(READ_REG(id_aa64pfr0_el1), 3, 0) == 1) {
		TRY_IN("adr x1, 88f\n\tmsr elr_el1, x1\n\tmov x1, #0x3d0\n\tmsr spsr_el1, "
		       "x1\n\teret",
		       "nop", "");
		check_exc(EC_ILLEGAL, 0, "illegal return to AArch32 User");
	} else {
		skip("EL0 has AArch32", "illegal return to AArch32 User");
	}
	TRY_IN("adr x1, 88f\n\tmsr elr_el1, x1\n\tmov x1, #0x3c5\n\torr x1, x1, #0x100000\n\t"
	       "msr spsr_el1, x1\n\teret",
	       "nop", "");
	check_exc(EC_ILLEGAL, 0, "a legal return with SPSR.IL set");
	const u64 args[4] = { 0 };
	el0_at((u64)el0_nothing, 0, PSTATE_EL0T | PSTATE_IL, args);
	check_exc(EC_ILLEGAL, 0, "to EL0 with SPSR.IL set");
	check_eq(last()->f.spsr, PSTATE_IL, "... and nothing else in its SPSR");
	check_eq(last()->f.vector, VEC_EL0 + VEC_SYNC, "... from EL0");
	/* A legal one changes the stack pointer in use. */
	TRY_IN("adr x1, 88f\n\tmsr elr_el1, x1\n\tmov x1, sp\n\tmsr sp_el0, x1\n\tmov x1, "
	       "#0x3c4\n\t"
	       "msr spsr_el1, x1\n\teret",
	       "mrs x0, spsel", "msr spsel, #1");
	check_none("return to EL1t");
	check_eq(TRY_IN("adr x1, 88f\n\tmsr elr_el1, x1\n\tmov x1, sp\n\tmsr sp_el0, x1\n\t"
			"mov x1, #0x3c4\n\tmsr spsr_el1, x1\n\teret",
			"mrs x0, spsel", "msr spsel, #1"),
		 0, "... has SPSel 0");
}

/* ---- alignment of PC and SP ---- */

EL0_CODE(el0_br, "br x0");

static void alignment(void)
{
	u64 odd = (u64)el0_nothing + 2;
	const u64 args[4] = { 0 };
	static const struct {
		u64 sa, sa0;
	} sa[] = { { 0, 0 }, { SCTLR_SA, 0 }, { 0, SCTLR_SA0 }, { SCTLR_SA, SCTLR_SA0 } };

	TRY_CALL(odd);
	check_abort(EC_PC_ALIGN, 0, odd, "a call to an address with bit 1 set");
	TRY_CALL(odd - 1);
	check_abort(EC_PC_ALIGN, 0, odd - 1, "a call to an address with bit 0 set");
	el0(el0_br, odd, 0, 0);
	this_cpu()->pc = odd;
	check_abort(EC_PC_ALIGN, 0, odd, "the same at EL0");
	el0_at(odd, 0, PSTATE_EL0T, args);
	check_abort(EC_PC_ALIGN, 0, odd, "eret to a misaligned address");
	check_eq(last()->f.vector, VEC_EL0 + VEC_SYNC, "... is taken from EL0");

	for (unsigned i = 0; i < ARRAY_LEN(sa); i++) {
		u64 stack = (u64)el0_stack + 1024;

		sctlr((SCTLR_PLAIN & ~(u64)(SCTLR_SA | SCTLR_SA0)) | SCTLR_M | sa[i].sa |
		      sa[i].sa0);
		TRY_IN("mov x1, sp\n\tsub sp, sp, #248", "ldr x2, [sp]", "mov sp, x1");
		if (sa[i].sa)
			check_exc(EC_SP_ALIGN, 0, "SA = 1: ldr with a misaligned SP");
		else
			check_none("SA = 0: ldr with a misaligned SP");
		TRY_IN("mov x1, sp\n\tsub sp, sp, #248", "stp xzr, xzr, [sp, #-16]!", "mov sp, x1");
		if (sa[i].sa)
			check_exc(EC_SP_ALIGN, 0, "SA = 1: stp with a misaligned SP");
		else
			check_none("SA = 0: stp with a misaligned SP");
		TRY_IN("mov x1, sp\n\tsub sp, sp, #248", "prfm pldl1keep, [sp]", "mov sp, x1");
		check_none("prfm with a misaligned SP is only a hint");
		TRY_IN("mov x1, sp\n\tsub sp, sp, #248", "add x2, sp, #8", "mov sp, x1");
		check_none("arithmetic with a misaligned SP");
		TRY_IN("mov x1, sp\n\tsub sp, sp, #248", "ldxr x2, [sp]", "mov sp, x1");
		if (sa[i].sa)
			check_exc(EC_SP_ALIGN, 0, "SA = 1: ldxr with a misaligned SP");
		else
			check_none("SA = 0: ldxr with a misaligned SP");
		el0_at((u64)el0_ldr_sp, stack + 8, PSTATE_EL0T, args);
		if (sa[i].sa0)
			check_exc(EC_SP_ALIGN, 0, "SA0 = 1: EL0 with a misaligned SP");
		else
			check_el0_done("SA0 = 0: EL0 with a misaligned SP");
		el0_at((u64)el0_ldr_sp, stack, PSTATE_EL0T, args);
		check_el0_done("EL0 with an aligned SP");
	}
	sctlr(SCTLR_PLAIN | SCTLR_M);
}

/* ---- what is not an instruction ---- */

/* ID registers that say whether an instruction is there. */
static u64 id(char which)
{
	switch (which) {
	case 'p': return READ_REG(id_aa64pfr0_el1);
	case 'P': return READ_REG(id_aa64pfr1_el1);
	case 'i': return READ_REG(id_aa64isar0_el1);
	case 'I': return READ_REG(id_aa64isar1_el1);
	case 'J': return READ_REG(S3_0_C0_C6_2);
	case 'M': return READ_REG(id_aa64mmfr1_el1);
	case 'N': return READ_REG(id_aa64mmfr2_el1);
	case 'z': return READ_REG(S3_0_C0_C4_4);
	default: return 0;
	}
}

static void undefined(void)
{
	/* Where `which` is 0: never allocated, or not in this state. */
	static const struct {
		u32 word;
		const char *name;
		char which;
		u8 lsb, least; /* of the ID field; there from this value on */
	} words[] = {
		{ 0x00000000, "udf #0", 0, 0, 0 },
		{ 0x0000ffff, "udf #0xffff", 0, 0, 0 },
		{ 0xffffffff, "all ones", 0, 0, 0 },
		{ 0xd4000000, "exception class opc 0 LL 0", 0, 0, 0 },
		{ 0xd4200001, "brk with LL 1", 0, 0, 0 },
		{ 0xd4400000, "hlt #0", 0, 0, 0 },
		{ 0xd4a00001, "dcps1", 0, 0, 0 },
		{ 0xd4a00002, "dcps2", 0, 0, 0 },
		{ 0xd4a00003, "dcps3", 0, 0, 0 },
		{ 0xd6bf03e0, "drps", 0, 0, 0 },
		{ 0xd61f0001, "br with op4 1", 0, 0, 0 },
		{ 0xd69f0be0, "eretaa", 'I', 4, 1 },
		{ 0xd65f0bff, "retaa", 'I', 4, 1 },
		{ 0xd71f0800, "braa", 'I', 4, 1 },
		{ 0xdac10000, "pacia x0, x0", 'I', 4, 1 },
		{ 0xf8200400, "ldraa", 'I', 4, 1 },
		{ 0x9ac01000, "irg", 'P', 8, 1 },
		{ 0xd9600000, "ldg", 'P', 8, 2 },
		{ 0xd9200000, "stg", 'P', 8, 1 },
		{ 0x04a00000, "sve add", 'p', 32, 1 },
		{ 0x2518e3e0, "sve ptrue", 'p', 32, 1 },
		{ 0xc00800ff, "sme zero", 'P', 24, 1 },
		{ 0x19000400, "cpyfp", 'J', 16, 1 },
		{ 0xf83f9000, "st64b", 'I', 60, 1 },
		{ 0x1e7e0000, "fjcvtzs", 'I', 12, 1 },
		{ 0x6e40c400, "fcmla", 'I', 16, 1 },
		{ 0x1e284000, "frint32z", 'I', 32, 1 },
		{ 0x6e40ec00, "bfmmla", 'I', 44, 1 },
		{ 0x4e80a400, "smmla", 'I', 52, 1 },
		{ 0xce608000, "sha512h", 'i', 12, 2 },
		{ 0xce000000, "eor3", 'i', 32, 1 },
		{ 0xcec08400, "sm4e", 'i', 40, 1 },
		{ 0xce60c000, "sm3partw1", 'i', 36, 1 },
		{ 0x4e80d400, "sdot by element's neighbour", 0, 0, 0 },
		{ 0x2e009400, "udot", 'i', 44, 1 },
		{ 0xd500401f, "cfinv", 'i', 52, 1 },
		{ 0xd500403f, "xaflag", 'i', 52, 2 },
		{ 0xd500405f, "axflag", 'i', 52, 2 },
		{ 0xd5087900, "at s1e1rp", 'M', 20, 2 },
		{ 0xd50b7c20, "dc cvap", 'I', 0, 1 },
		{ 0xd508811f, "tlbi vmalle1os", 'i', 56, 1 },
		{ 0xd5088620, "tlbi rvae1", 'i', 56, 2 },
		{ 0xd50b7380, "cfp rctx", 'I', 40, 1 },
		{ 0xd500407f, "msr uao, #0", 'N', 4, 1 },
		{ 0xd503405f, "msr dit, #0", 'p', 48, 1 },
		{ 0xd503403f, "msr ssbs, #0", 'P', 4, 2 },
		{ 0xd500419f, "msr pan, #1", 'M', 20, 1 },
		{ 0xd53b2400, "mrs rndr", 'i', 60, 1 },
		{ 0xd53b42a0, "mrs dit", 'p', 48, 1 },
		{ 0x38bfc000, "ldaprb", 'I', 20, 1 },
		{ 0x99000800, "stlur's neighbour", 0, 0, 0 },
		{ 0xd9400000, "ldapur", 'I', 20, 2 },
		{ 0xd5031020, "wfet's neighbour", 0, 0, 0 },
		{ 0xd5031000, "wfet", 'J', 0, 2 },
		{ 0xd50330ff, "sb", 'I', 36, 1 },
		{ 0xd503035f, "msr dit's neighbour", 0, 0, 0 },
		{ 0x1b208000, "maddl with a reserved op31", 0, 0, 0 },
		{ 0x0b000000 | 3u << 22, "add with shift type 3", 0, 0, 0 },
		{ 0x12400000, "and w with N 1", 0, 0, 0 },
		{ 0x13400000, "sbfm w with N 1", 0, 0, 0 },
		{ 0x53008000, "ubfm w with imms 32", 0, 0, 0 },
		{ 0x92600000 | 0x3f << 10, "and with an immediate of all ones", 0, 0, 0 },
		{ 0x88007c00 | 1u << 21, "stxp's neighbour, casp w", 'i', 20, 2 },
		{ 0x3c800000 | 1u << 26 | 3u << 30 | 2u << 22, "stur q with size 3", 0, 0, 0 },
	};
	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		u64 v = id(words[i].which) >> words[i].lsb & 15;

		/* PFR0's FP fields and the like are 15 for "no"; none is in the table. */
		if (words[i].which && v >= words[i].least)
			continue;
		for (unsigned el = 0; el < 2; el++) {
			run_word(words[i].word, el, SCRATCH, 0, 0);
			check_exc(EC_UNKNOWN, 0, "undefined at EL%u: %s", el, words[i].name);
		}
	}
}

/* What has no other meaning in the space of hints is NOP (C4.1.92). */
static void hints(void)
{
	unsigned bad = 0;

	for (unsigned n = 0; n < 128; n++)
		for (unsigned el = 0; el < 2; el++) {
			if (n == 2 || n == 3) /* WFE, WFI */
				continue;
			run_word(0xd503201f | n << 5, el, 0, 0, 0);
			if (el ? last()->n != 0
			       : last()->f.esr != ((u64)EC_SVC << 26 | BIT(25) | SVC_DONE)) {
				note("hint #%u at EL%u", n, el);
				bad++;
			}
		}
	check_eq(bad, 0, "all hints can be executed");
}

/* ---- traps ---- */

static void fp_traps(void)
{
	const u32 fmov = 0x9e6703e0, mrs_fpcr = SYS_WORD(1, 3, 3, 4, 4, 0, 0),
		  msr_fpsr = SYS_WORD(0, 3, 3, 4, 4, 1, 0), ld1 = 0x4c407000, simd_ldr = 0x3dc00000;
	const u32 words[] = { fmov, mrs_fpcr, msr_fpsr, ld1, simd_ldr };

	for (unsigned fpen = 0; fpen < 4; fpen++) {
		WRITE_REG(cpacr_el1, fpen << 20);
		ISB();
		check_eq(READ_REG(cpacr_el1), fpen << 20, "cpacr_el1 keeps FPEN %u", fpen);
		for (unsigned i = 0; i < ARRAY_LEN(words); i++)
			for (unsigned el = 0; el < 2; el++) {
				bool ok = fpen == 3 || (fpen == 1 && el == 1);

				run_word(words[i], el, el ? SCRATCH : (u64)el0_data, 0, 0);
				if (!ok)
					check_exc(EC_FP, 0x1e00000, "FPEN %u traps %x at EL%u",
						  fpen, words[i], el);
				else if (el)
					check_none("FPEN %u lets EL1 use %x", fpen, words[i]);
				else
					check_el0_done("FPEN %u lets EL0 use %x", fpen, words[i]);
			}
		run_word(0x9e670000 | 0xc0000000, 1, 0, 0, 0);
	}
}

static void counter_traps(void)
{
	static const struct {
		u32 word;
		const char *name;
		u16 allow; /* CNTKCTL_EL1 bits, any of which let EL0 do it */
	} regs[] = {
		{ SYS_WORD(1, 3, 3, 14, 0, 0, 3), "mrs cntfrq_el0", 3 },
		{ SYS_WORD(1, 3, 3, 14, 0, 1, 3), "mrs cntpct_el0", 1 },
		{ SYS_WORD(1, 3, 3, 14, 0, 2, 3), "mrs cntvct_el0", 2 },
		{ SYS_WORD(1, 3, 3, 14, 2, 0, 3), "mrs cntp_tval_el0", 1 << 9 },
		{ SYS_WORD(1, 3, 3, 14, 2, 1, 3), "mrs cntp_ctl_el0", 1 << 9 },
		{ SYS_WORD(0, 3, 3, 14, 2, 1, 31), "msr cntp_ctl_el0", 1 << 9 },
		{ SYS_WORD(1, 3, 3, 14, 2, 2, 3), "mrs cntp_cval_el0", 1 << 9 },
		{ SYS_WORD(1, 3, 3, 14, 3, 0, 3), "mrs cntv_tval_el0", 1 << 8 },
		{ SYS_WORD(1, 3, 3, 14, 3, 1, 3), "mrs cntv_ctl_el0", 1 << 8 },
		{ SYS_WORD(0, 3, 3, 14, 3, 1, 31), "msr cntv_ctl_el0", 1 << 8 },
		{ SYS_WORD(0, 3, 3, 14, 3, 2, 31), "msr cntv_cval_el0", 1 << 8 },
	};
	for (unsigned i = 0; i < ARRAY_LEN(regs); i++) {
		for (unsigned b = 0; b < 10; b = b == 1 ? 8 : b + 1) {
			WRITE_REG(cntkctl_el1, BIT(b));
			ISB();
			run_word(regs[i].word, 0, 0, 0, 0);
			if (regs[i].allow & BIT(b))
				check_el0_done("CNTKCTL bit %u lets EL0 %s", b, regs[i].name);
			else
				check_exc(EC_SYSREG, sys_iss(regs[i].word),
					  "CNTKCTL bit %u alone traps %s", b, regs[i].name);
		}
		run_word(regs[i].word, 1, 0, 0, 0);
		check_none("EL1: %s", regs[i].name);
	}
	WRITE_REG(cntkctl_el1, 0);
	run_word(SYS_WORD(0, 3, 3, 14, 0, 1, 0), 0, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "msr cntpct_el0 at EL0 is undefined");
	run_word(SYS_WORD(0, 3, 3, 14, 0, 2, 0), 1, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "msr cntvct_el0 at EL1 is undefined");
}

static void sctlr_traps(void)
{
	static const struct {
		u64 bit;
		u32 word;
		const char *name;
	} ops[] = {
		{ SCTLR_UCI, SYS_WORD(0, 1, 3, 7, 5, 1, 0), "ic ivau" },
		{ SCTLR_UCI, SYS_WORD(0, 1, 3, 7, 10, 1, 0), "dc cvac" },
		{ SCTLR_UCI, SYS_WORD(0, 1, 3, 7, 11, 1, 0), "dc cvau" },
		{ SCTLR_UCI, SYS_WORD(0, 1, 3, 7, 14, 1, 0), "dc civac" },
		{ SCTLR_UCT, SYS_WORD(1, 3, 3, 0, 0, 1, 2), "mrs ctr_el0" },
		{ SCTLR_DZE, SYS_WORD(0, 1, 3, 7, 4, 1, 0), "dc zva" },
		{ SCTLR_UMA, SYS_WORD(1, 3, 3, 4, 2, 1, 7), "mrs daif" },
		{ SCTLR_UMA, SYS_WORD(0, 3, 3, 4, 2, 1, 31), "msr daif" },
		{ SCTLR_UMA, SYS_WORD(0, 0, 3, 4, 15, 6, 31), "msr daifset" },
		{ SCTLR_UMA, SYS_WORD(0, 0, 3, 4, 0, 7, 31), "msr daifclr" },
	};
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		sctlr((SCTLR_PLAIN | SCTLR_M) & ~ops[i].bit);
		run_word(ops[i].word, 0, (u64)el0_data, 0, 0);
		check_exc(EC_SYSREG, sys_iss(ops[i].word), "SCTLR_EL1 traps %s", ops[i].name);
		sctlr(SCTLR_PLAIN | SCTLR_M | ops[i].bit);
		run_word(ops[i].word, 0, (u64)el0_data, 0, 0);
		check_el0_done("SCTLR_EL1 allows %s", ops[i].name);
	}
	sctlr(SCTLR_PLAIN | SCTLR_M);
	run_word(SYS_WORD(0, 1, 0, 7, 6, 1, 0), 0, (u64)el0_data, 0, 0);
	check_exc(EC_UNKNOWN, 0, "dc ivac at EL0 is undefined");
	run_word(SYS_WORD(0, 1, 0, 8, 7, 0, 31), 0, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "tlbi vmalle1 at EL0 is undefined");
	run_word(SYS_WORD(0, 1, 0, 7, 8, 0, 0), 0, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "at s1e1r at EL0 is undefined");
	run_word(SYS_WORD(0, 3, 3, 0, 0, 1, 2), 0, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "msr ctr_el0 at EL0 is undefined");
	sctlr((SCTLR_PLAIN | SCTLR_M) & ~(u64)SCTLR_UCT);
	run_word(SYS_WORD(0, 3, 3, 0, 0, 1, 2), 0, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "msr ctr_el0 at EL0 is undefined with UCT = 0 too");

	sctlr((SCTLR_PLAIN | SCTLR_M) & ~(u64)SCTLR_DZE);
	check_eq(run_word(SYS_WORD(1, 3, 3, 0, 0, 7, 0), 0, 0, 0, 0) >> 4 & 1, 1,
		 "DCZID_EL0.DZP at EL0 with DZE = 0");
	check_eq(READ_REG(dczid_el0) >> 4 & 1, 0, "DCZID_EL0.DZP at EL1");
	run_word(SYS_WORD(0, 1, 3, 7, 4, 1, 0), 1, SCRATCH, 0, 0);
	check_none("DZE is nothing to EL1");

	sctlr((SCTLR_PLAIN | SCTLR_M) & ~(u64)(SCTLR_NTWI | SCTLR_NTWE));
	run_word(0xd503207f, 0, 0, 0, 0);
	check_exc(EC_WFX, 0x1e00000, "nTWI = 0 traps wfi");
	run_word(0xd503205f, 0, 0, 0, 0);
	if (last()->f.esr >> 26 == EC_SVC)
		check_el0_done("nTWE = 0: wfe may complete when an event is there");
	else
		check_exc(EC_WFX, 0x1e00001, "nTWE = 0 traps wfe");
	sctlr(SCTLR_PLAIN | SCTLR_M);
	asm volatile("sevl");
	run_word(0xd503205f, 0, 0, 0, 0);
	check_el0_done("nTWE = 1: wfe at EL0");
}

/* ---- system registers ---- */

static void id_registers(void)
{
	unsigned bad = 0;

	for (u32 crm = 1; crm < 8; crm++)
		for (u32 op2 = 0; op2 < 8; op2++) {
			run_word(SYS_WORD(1, 3, 0, 0, crm, op2, 0), 1, 0, 0, 0);
			if (last()->n) {
				note("crm %u op2 %u", crm, op2);
				bad++;
			}
		}
	check_eq(bad, 0, "all of the identification space can be read at EL1");
	bad = 0;
	for (u32 crm = 0; crm < 8; crm++)
		for (u32 op2 = 0; op2 < 8; op2++) {
			run_word(SYS_WORD(0, 3, 0, 0, crm, op2, 0), 1, 0, 0, 0);
			if (last()->n != 1 || last()->f.esr != BIT(25)) {
				note("crm %u op2 %u", crm, op2);
				bad++;
			}
		}
	check_eq(bad, 0, "none of it can be written");
	bad = 0;
	/* With FEAT_IDST such a read traps as a system register access. */
	bool idst = field(READ_REG(id_aa64mmfr2_el1), 27, 24);
	for (u32 crm = 1; crm < 8; crm++)
		for (u32 op2 = 0; op2 < 8; op2++) {
			u32 w = SYS_WORD(1, 3, 0, 0, crm, op2, 0);

			run_word(w, 0, 0, 0, 0);
			if (last()->n != 1 ||
			    last()->f.esr !=
				    (BIT(25) | (idst ? (u64)EC_SYSREG << 26 | sys_iss(w) : 0))) {
				note("crm %u op2 %u", crm, op2);
				bad++;
			}
		}
	check_eq(bad, 0, "none of it can be read at EL0");

	u64 pfr0 = READ_REG(id_aa64pfr0_el1), mmfr0 = READ_REG(id_aa64mmfr0_el1);
	u64 ctr = READ_REG(ctr_el0), mpidr = READ_REG(mpidr_el1);

	check(field(pfr0, 3, 0) >= 1 && field(pfr0, 7, 4) >= 1, "AArch64 at EL0 and EL1");
	check_eq(field(pfr0, 19, 16) == 15, field(pfr0, 23, 20) == 15,
		 "FP and AdvSIMD go together");
	check(field(mmfr0, 3, 0) <= 6, "PARange is an allocated value");
	check(field(mmfr0, 7, 4) == 0 || field(mmfr0, 7, 4) == 2, "ASIDBits is an allocated value");
	check(field(mmfr0, 31, 28) != 15, "the 4 KiB granule is there");
	check_eq(ctr >> 31, 1, "CTR_EL0 bit 31 is RES1");
	check(field(ctr, 15, 14) >= 2, "L1Ip is VIPT or PIPT");
	check(field(ctr, 3, 0) >= 2 && field(ctr, 19, 16) >= 2, "cache lines of 16 bytes or more");
	check_eq(field(mpidr, 31, 31), 1, "MPIDR_EL1 bit 31 is RES1");
	check_eq(mpidr & 0xff00ffffff, 0, "CPU 0 has affinity 0");
	check(field(READ_REG(dczid_el0), 3, 0) <= 9, "DCZID_EL0.BS is at most 2 KiB");
	check(READ_REG(cntfrq_el0) != 0, "CNTFRQ_EL0 says something");
	check(field(READ_REG(id_aa64dfr0_el1), 3, 0) >= 6, "DebugVer is Armv8's at least");
	check(field(READ_REG(id_aa64dfr0_el1), 15, 12) >= 1 &&
		      field(READ_REG(id_aa64dfr0_el1), 23, 20) >= 1,
	      "two breakpoints and two watchpoints at least");
	check(field(READ_REG(id_aa64dfr0_el1), 31, 28) <= field(READ_REG(id_aa64dfr0_el1), 15, 12),
	      "no more context-aware breakpoints than breakpoints");
	check((READ_REG(oslsr_el1) & 9) == 8, "OSLSR_EL1.OSLM: the OS lock is implemented");

	/* Each breakpoint and watchpoint that is promised exists; no register behind them does. */
	u64 dfr0 = READ_REG(id_aa64dfr0_el1);
	unsigned n[2] = { (unsigned)field(dfr0, 15, 12) + 1, (unsigned)field(dfr0, 23, 20) + 1 };
	for (u32 kind = 0; kind < 2; kind++)
		for (u32 i = 0; i < 16; i++)
			for (u32 op2 = 4 + 2 * kind; op2 < 6 + 2 * kind; op2++) {
				run_word(SYS_WORD(1, 2, 0, 0, i, op2, 0), 1, 0, 0, 0);
				if ((last()->n == 0) != (i < n[kind]))
					check(false, "debug register crm %u op2 %u", i, op2);
			}
}

static void undefined_registers(void)
{
	static const struct {
		u32 word;
		const char *name;
	} el1[] = {
		{ SYS_WORD(1, 3, 0, 0, 0, 1, 0), "mrs S3_0_C0_C0_1" },
		{ SYS_WORD(1, 3, 0, 0, 0, 7, 0), "mrs S3_0_C0_C0_7" },
		{ SYS_WORD(1, 3, 0, 1, 5, 0, 0), "mrs S3_0_C1_C5_0" },
		{ SYS_WORD(1, 3, 0, 2, 5, 7, 0), "mrs S3_0_C2_C5_7" },
		{ SYS_WORD(0, 3, 0, 3, 0, 0, 0), "msr S3_0_C3_C0_0" },
		{ SYS_WORD(1, 3, 3, 4, 3, 7, 0), "mrs S3_3_C4_C3_7" },
		{ SYS_WORD(1, 3, 7, 1, 0, 0, 0), "mrs S3_7_C1_C0_0" },
		{ SYS_WORD(1, 3, 4, 1, 1, 0, 0), "mrs hcr_el2" },
		{ SYS_WORD(0, 3, 4, 12, 0, 0, 0), "msr vbar_el2" },
		{ SYS_WORD(1, 3, 4, 14, 0, 3, 0), "mrs cntvoff_el2" },
		{ SYS_WORD(1, 3, 4, 0, 0, 5, 0), "mrs vmpidr_el2" },
		{ SYS_WORD(1, 3, 6, 1, 1, 0, 0), "mrs scr_el3" },
		{ SYS_WORD(1, 3, 5, 1, 0, 0, 0), "mrs sctlr_el12" },
		{ SYS_WORD(1, 3, 4, 4, 1, 0, 0), "mrs sp_el1" },
		{ SYS_WORD(0, 3, 0, 4, 2, 2, 0), "msr currentel" },
		{ SYS_WORD(1, 2, 0, 1, 0, 4, 0), "mrs oslar_el1" },
		{ SYS_WORD(1, 3, 0, 12, 12, 1, 0), "mrs icc_eoir1_el1" },
		{ SYS_WORD(0, 3, 0, 12, 12, 0, 0), "msr icc_iar1_el1" },
		{ SYS_WORD(1, 3, 0, 12, 11, 5, 0), "mrs icc_sgi1r_el1" },
		{ SYS_WORD(0, 3, 0, 12, 1, 0, 0), "msr isr_el1" },
		{ SYS_WORD(0, 1, 4, 8, 7, 0, 31), "tlbi alle2" },
		{ SYS_WORD(0, 1, 6, 8, 7, 0, 31), "tlbi alle3" },
		{ SYS_WORD(0, 1, 4, 7, 8, 0, 0), "at s1e2r" },
		{ SYS_WORD(0, 1, 4, 7, 8, 4, 0), "at s12e1r" },
		{ SYS_WORD(0, 1, 4, 8, 7, 4, 31), "tlbi alle1" },
		{ SYS_WORD(0, 1, 0, 7, 8, 7, 0), "at s1e1's neighbour" },
	};
	for (unsigned i = 0; i < ARRAY_LEN(el1); i++) {
		run_word(el1[i].word, 1, 0, 0, 0);
		check_exc(EC_UNKNOWN, 0, "undefined at EL1: %s", el1[i].name);
	}

	static const struct {
		u8 op1, crn, crm, op2;
		const char *name;
	} el0s[] = {
		{ 0, 1, 0, 0, "sctlr_el1" },
		{ 0, 1, 0, 2, "cpacr_el1" },
		{ 0, 2, 0, 0, "ttbr0_el1" },
		{ 0, 2, 0, 1, "ttbr1_el1" },
		{ 0, 2, 0, 2, "tcr_el1" },
		{ 0, 4, 0, 0, "spsr_el1" },
		{ 0, 4, 0, 1, "elr_el1" },
		{ 0, 4, 1, 0, "sp_el0" },
		{ 0, 4, 2, 0, "spsel" },
		{ 0, 4, 2, 2, "currentel" },
		{ 0, 5, 2, 0, "esr_el1" },
		{ 0, 6, 0, 0, "far_el1" },
		{ 0, 7, 4, 0, "par_el1" },
		{ 0, 10, 2, 0, "mair_el1" },
		{ 0, 12, 0, 0, "vbar_el1" },
		{ 0, 12, 1, 0, "isr_el1" },
		{ 0, 13, 0, 1, "contextidr_el1" },
		{ 0, 13, 0, 4, "tpidr_el1" },
		{ 0, 14, 1, 0, "cntkctl_el1" },
		{ 0, 4, 6, 0, "icc_pmr_el1" },
		{ 0, 12, 12, 5, "icc_sre_el1" },
		{ 0, 12, 12, 7, "icc_igrpen1_el1" },
		{ 1, 0, 0, 0, "ccsidr_el1" },
		{ 2, 0, 0, 0, "csselr_el1" },
		{ 0, 4, 2, 3, "pan" },
	};
	for (unsigned i = 0; i < ARRAY_LEN(el0s); i++)
		for (unsigned l = 0; l < 2; l++) {
			run_word(SYS_WORD(l, 3, el0s[i].op1, el0s[i].crn, el0s[i].crm, el0s[i].op2,
					  0),
				 0, 0, 0, 0);
			check_exc(EC_UNKNOWN, 0, "undefined at EL0: %s %s", l ? "mrs" : "msr",
				  el0s[i].name);
		}
	run_word(SYS_WORD(0, 3, 3, 13, 0, 3, 0), 0, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "undefined at EL0: msr tpidrro_el0");
	run_word(0xd50040bf, 0, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "undefined at EL0: msr spsel, #0");
	run_word(0xd500419f, 0, 0, 0, 0);
	check_exc(EC_UNKNOWN, 0, "undefined at EL0: msr pan, #1");

	TRY_IN("mov x1, sp\n\tmsr sp_el0, x1\n\tmsr spsel, #0", "mrs x0, sp_el0", "msr spsel, #1");
	check_exc(EC_UNKNOWN, 0, "sp_el0 is undefined at EL1t");
	TRY("mrs x0, sp_el0");
	check_none("sp_el0 at EL1h");
}

#define KEEPS(reg, v, mask)                                                        \
	do {                                                                       \
		u64 was_ = READ_REG(reg);                                          \
		WRITE_REG(reg, v);                                                 \
		check_eq(READ_REG(reg) & (mask), (v) & (mask), #reg " keeps " #v); \
		WRITE_REG(reg, was_);                                              \
	} while (0)

static void registers(void)
{
	KEEPS(tpidr_el0, 0xfedcba9876543210, ~0ULL);
	KEEPS(tpidrro_el0, 0xfedcba9876543211, ~0ULL);
	KEEPS(contextidr_el1, 0x89abcdef, 0xffffffff);
	KEEPS(far_el1, 0xfedcba9876543212, ~0ULL);
	KEEPS(elr_el1, 0xfedcba9876543213, ~0ULL);
	KEEPS(sp_el0, 0xfedcba9876543214, ~0ULL);
	KEEPS(esr_el1, 0x96000047, 0xffffffff);
	KEEPS(spsr_el1, 0x600003c5, 0xffffffff);
	KEEPS(cntkctl_el1, 0x3, 0x3ff);
	KEEPS(csselr_el1, 2, 0xf);
	KEEPS(mair_el1, 0x00000000004404ff, ~0ULL);
	KEEPS(mdscr_el1, BIT(12), BIT(12) | 1);
	u64 vbar = READ_REG(vbar_el1);
	WRITE_REG(vbar_el1, vbar | 0x7ff);
	u64 read = READ_REG(vbar_el1);
	WRITE_REG(vbar_el1, vbar);
	ISB();
	check_eq(read & 0x7ff, 0, "the low bits of VBAR_EL1 are RES0");
	check_eq(READ_REG(CurrentEL), 4, "CurrentEL");
	check_eq(READ_REG(daif), PSTATE_DAIF, "DAIF");
	asm volatile("msr daifclr, #4");
	check_eq(READ_REG(daif), PSTATE_DAIF & ~PSTATE_A, "daifclr #4 clears A");
	asm volatile("msr daifset, #4");
	check_eq(READ_REG(daif), PSTATE_DAIF, "daifset #4 sets A");
	u64 v;
	asm volatile("msr nzcv, %1\n\tmrs %0, nzcv" : "=r"(v) : "r"(~0ULL) : "cc");
	check_eq(v, 0xf0000000, "nzcv has four bits");
	/* The cache that CSSELR_EL1 names, for each level that CLIDR_EL1 tells */
	u64 clidr = READ_REG(clidr_el1);
	for (u64 level = 0;
	     level < 7 && field(clidr, (unsigned)(3 * level + 2), (unsigned)(3 * level)); level++) {
		WRITE_REG(csselr_el1, level << 1);
		ISB();
		check(READ_REG(ccsidr_el1) != 0, "ccsidr_el1 of level %lu", level + 1);
	}
}

/* ---- exclusive monitor ---- */

static void exclusives(void)
{
	u64 a = SCRATCH;

	check_eq(TRY("ldxr x1, [%[a]]\n\tstxr w0, x1, [%[a]]", [a] "r"(a)), 0, "stxr after ldxr");
	check_eq(TRY("ldxr x1, [%[a]]\n\tclrex\n\tstxr w0, x1, [%[a]]", [a] "r"(a)), 1,
		 "stxr fails after clrex");
	check_eq(TRY("ldxr x1, [%[a]]\n\tstxr w0, x1, [%[a]]\n\tstxr w0, x1, [%[a]]", [a] "r"(a)),
		 1, "the second stxr fails");
	check_eq(TRY("ldxr x1, [%[a]]\n\tsvc #0\n\tstxr w0, x1, [%[a]]", [a] "r"(a)), 1,
		 "stxr fails after eret");
	/* The handler's eret does it, not the entry: that is all that one can tell from here. */
	check_eq(TRY("ldxp x1, x2, [%[a]]\n\tstxp w0, x1, x2, [%[a]]", [a] "r"(a)), 0,
		 "stxp after ldxp");
	check_eq(TRY("ldaxr x1, [%[a]]\n\tstlxr w0, x1, [%[a]]", [a] "r"(a)), 0,
		 "stlxr after ldaxr");
}

void guest_main(void)
{
	exception_classes();
	pan_on_entry();
	mmu_on();
	from_el0();
	illegal_return();
	alignment();
	undefined();
	hints();
	fp_traps();
	counter_traps();
	sctlr_traps();
	id_registers();
	undefined_registers();
	registers();
	exclusives();
}

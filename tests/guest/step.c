/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: self-hosted debug (DDI0487 D2): software step, the OS lock, hardware
 * breakpoints and watchpoints.
 */
#include "guest.h"

enum {
	MDSCR_SS = 1 << 0,
	MDSCR_KDE = 1 << 13,
	MDSCR_MDE = 1 << 15,
	EC_BREAKPOINT_LOWER = 0x30,
	EC_BREAKPOINT = 0x31,
	EC_WATCH_LOWER = 0x34,
	EC_WATCH = 0x35,
	DEBUG_FSC = 0x22,
	ISV = 1 << 24, /* of a step's ISS: EX means something */
	EX = 1 << 6,
};

static const u64 no_args[4];

static void mdscr(u64 v)
{
	WRITE_REG(mdscr_el1, v);
	ISB();
}

/* One step at EL0 from pc: the exception is in last(). */
static void step(u64 pc, const u64 args[4])
{
	el0_at(pc, (u64)el0_stack + 2048, PSTATE_EL0T | PSTATE_SS, args);
}

EL0_CODE(el0_line,
	 "nop\n\tmov x0, #5\n\tadd x0, x0, #1\n\tb 1f\n\tnop\n1:\tldr x1, [x2]\n\tcbz xzr, 2f\n"
	 "\tnop\n2:\tbl 3f\n3:\tldxr x1, [x2]\n\tstxr w0, x1, [x2]\n\tsvc #3");

static void stepping(void)
{
	static const struct {
		unsigned at, next;
		bool exclusive;
		const char *name;
	} line[] = {
		{ 0, 1, false, "nop" }, { 1, 2, false, "mov" },  { 2, 3, false, "add" },
		{ 3, 5, false, "b" },   { 5, 6, false, "ldr" },  { 6, 8, false, "cbz" },
		{ 8, 9, false, "bl" },  { 9, 10, true, "ldxr" }, { 10, 11, false, "stxr" },
	};
	const u64 args[4] = { 0, 0, (u64)el0_data, 0 };
	u64 base = (u64)el0_line;

	for (unsigned i = 0; i < ARRAY_LEN(line); i++) {
		step(base + 4 * line[i].at, args);
		this_cpu()->pc = base + 4 * line[i].next;
		check_exc(EC_STEP_LOWER, ISV | DEBUG_FSC | (line[i].exclusive ? EX : 0),
			  "%s: one step", line[i].name);
		check_eq(last()->f.spsr & (PSTATE_SS | 0x1f), PSTATE_EL0T,
			 "... spsr: EL0, SS clear");
		check_eq(last()->f.vector, VEC_EL0 + VEC_SYNC, "... vector 0x400");
	}
	step(base + 4, args);
	check_eq(last()->f.x[0], 5, "the instruction was executed");

	/* SVC is taken, after the step: SS is clear in its SPSR. */
	step(base + 4 * 11, args);
	this_cpu()->pc = base + 4 * 11;
	check_exc(EC_SVC, 3, "svc under step is an svc");
	check_eq(last()->f.spsr & PSTATE_SS, 0, "... with SS clear: the step is done");
	/* With SS clear from the start nothing is executed. */
	el0_at(base + 4, 0, PSTATE_EL0T, args);
	check_eq(last()->f.esr & ~(u64)(ISV | EX), (u64)EC_STEP_LOWER << 26 | BIT(25) | DEBUG_FSC,
		 "SPSR.SS 0: a step exception");
	check(last()->f.elr == base + 4 && last()->f.x[0] == 0, "... before the first instruction");
	/* A fault under step: the instruction is not done, so SS stays for when it runs again. */
	const u64 bad[4] = { 0, 0, 0x7000, 0 };
	step(base + 4 * 5, bad);
	check_abort(EC_DABT_LOWER, FSC_TRANS + 2, 0x7000, "a load that faults under step");
	check_eq(last()->f.spsr & PSTATE_SS, PSTATE_SS, "... with SS still set");
	/* A fetch that faults */
	step(0x7000, args);
	check_abort(EC_IABT_LOWER, FSC_TRANS + 2, 0x7000, "a fetch that faults under step");
	check_eq(last()->f.spsr & PSTATE_SS, PSTATE_SS, "... with SS still set");
}

static void disabled(void)
{
	mdscr(0);
	step((u64)el0_line, (const u64[4]){ 0, 0, (u64)el0_data, 0 });
	this_cpu()->pc = (u64)el0_line + 44;
	check_exc(EC_SVC, 3, "MDSCR_EL1.SS 0: no step");
	mdscr(MDSCR_SS);
	WRITE_REG(oslar_el1, 1);
	ISB();
	check_eq(READ_REG(oslsr_el1) & 2, 2, "OSLSR_EL1.OSLK");
	step((u64)el0_line, (const u64[4]){ 0, 0, (u64)el0_data, 0 });
	this_cpu()->pc = (u64)el0_line + 44;
	check_exc(EC_SVC, 3, "OS lock: no step");
	WRITE_REG(oslar_el1, 0);
	ISB();
	check_eq(READ_REG(oslsr_el1) & 2, 0, "unlocked");
	step((u64)el0_line, no_args);
	this_cpu()->pc = (u64)el0_line + 4;
	check_exc(EC_STEP_LOWER, ISV | DEBUG_FSC, "and steps again");
}

/* ---- step at EL1: KDE, and D clear ---- */

static volatile u64 steps, step_pc[8], step_esr[8];

static bool on_step(struct frame *f)
{
	u64 ec = f->esr >> 26;

	if (ec != EC_STEP && ec != EC_BREAKPOINT && ec != EC_WATCH)
		return false;
	if (steps < ARRAY_LEN(step_pc)) {
		step_pc[steps] = f->elr;
		step_esr[steps] = f->esr;
	}
	steps++;
	if (ec == EC_STEP && steps < 4)
		f->spsr |= PSTATE_SS; /* once more */
	else
		f->spsr = (f->spsr & ~(u64)PSTATE_SS) | PSTATE_D;
	if (ec != EC_STEP)
		WRITE_REG(mdscr_el1, 0);
	return true;
}

static void at_el1(void)
{
	u64 pc, x;

	this_cpu()->handler = on_step;
	steps = 0;
	mdscr(MDSCR_SS | MDSCR_KDE);
	asm volatile("adr %0, 1f\n\tmsr elr_el1, %0\n\tmov %1, #0x1c5\n\torr %1, %1, #0x200000\n\t"
		     "msr spsr_el1, %1\n\tmov %1, #0\n\teret\n"
		     "1:\tadd %1, %1, #1\n\tadd %1, %1, #1\n\tb 2f\n\tnop\n"
		     "2:\tadd %1, %1, #1\n\tadd %1, %1, #1\n\tmsr daifset, #8"
		     : "=&r"(pc), "=&r"(x)::"memory", "cc");
	mdscr(0);
	check_eq(steps, 4, "four steps at EL1");
	check(step_pc[0] == pc + 4 && step_pc[1] == pc + 8 && step_pc[2] == pc + 16 &&
		      step_pc[3] == pc + 20,
	      "... each at the next instruction");
	check_eq(step_esr[0], (u64)EC_STEP << 26 | BIT(25) | ISV | DEBUG_FSC, "... of class 0x33");
	check_eq(x, 4, "... and all was executed once");
	steps = 0;
	mdscr(MDSCR_SS);
	asm volatile("msr daifclr, #8\n\tisb\n\tnop\n\tnop\n\tmsr daifset, #8" ::: "memory");
	check_eq(steps, 0, "KDE 0: no step at EL1");
	mdscr(0);
	this_cpu()->handler = 0;
}

/* ---- breakpoints and watchpoints ---- */

EL0_CODE(el0_three, "nop\n\tnop\n\tnop");
EL0_CODE(el0_load, "ldr x0, [x0]");
EL0_CODE(el0_store, "strb w1, [x0]");
EL0_CODE(el0_load_pair, "ldp x1, x2, [x0]");
EL0_CODE(el0_dc, "dc zva, x0");

static void breakpoints(void)
{
	const u64 ctl = 1 | 2 << 1 | 0xf << 5; /* E, PMC: EL0, BAS */

	WRITE_REG(dbgbvr0_el1, (u64)el0_three + 4);
	WRITE_REG(dbgbcr0_el1, ctl);
	mdscr(MDSCR_MDE);
	el0(el0_three, 0, 0, 0);
	this_cpu()->pc = (u64)el0_three + 4;
	check_exc(EC_BREAKPOINT_LOWER, DEBUG_FSC, "a breakpoint at EL0");
	mdscr(0);
	el0(el0_three, 0, 0, 0);
	check_el0_done("MDE 0: no breakpoint");
	mdscr(MDSCR_MDE);
	WRITE_REG(dbgbcr0_el1, ctl & ~1ULL);
	ISB();
	el0(el0_three, 0, 0, 0);
	check_el0_done("E 0: no breakpoint");
	WRITE_REG(dbgbcr0_el1, (ctl & ~6ULL) | 1 << 1);
	ISB();
	el0(el0_three, 0, 0, 0);
	check_el0_done("PMC EL1: no breakpoint at EL0");
	WRITE_REG(dbgbcr0_el1, 0);
	/* The last breakpoint that there is */
	WRITE_REG(dbgbvr1_el1, (u64)el0_three + 8);
	WRITE_REG(dbgbcr1_el1, ctl);
	ISB();
	el0(el0_three, 0, 0, 0);
	this_cpu()->pc = (u64)el0_three + 8;
	check_exc(EC_BREAKPOINT_LOWER, DEBUG_FSC, "breakpoint 1");
	WRITE_REG(dbgbcr1_el1, 0);

	/* At EL1, with KDE and D clear */
	u64 pc;
	this_cpu()->handler = on_step;
	steps = 0;
	asm volatile("adr %0, 1f\n\tmsr dbgbvr0_el1, %0\n\tmsr dbgbcr0_el1, %1\n\tmsr mdscr_el1, "
		     "%2\n\tisb\n\t"
		     "msr daifclr, #8\n\tisb\n\tnop\n1:\tnop\n\tmsr daifset, #8"
		     : "=&r"(pc)
		     : "r"(1ULL | 1 << 1 | 0xf << 5), "r"((u64)MDSCR_MDE | MDSCR_KDE)
		     : "memory");
	check(steps == 1 && step_pc[0] == pc, "a breakpoint at EL1");
	check_eq(step_esr[0], (u64)EC_BREAKPOINT << 26 | BIT(25) | DEBUG_FSC, "... of class 0x31");
	this_cpu()->handler = 0;
	WRITE_REG(dbgbcr0_el1, 0);
	mdscr(0);
}

static void watchpoints(void)
{
	u64 at = (u64)el0_data + 64;
	const u64 any = 1 | 2 << 1 | 3 << 3; /* E, PAC: EL0, LSC: both */

	WRITE_REG(dbgwvr0_el1, at);
	WRITE_REG(dbgwcr0_el1, any | 0xff << 5);
	mdscr(MDSCR_MDE);
	el0(el0_load, at, 0, 0);
	check_exc(EC_WATCH_LOWER, DEBUG_FSC, "a watchpoint on a load");
	check(last()->f.far >= at && last()->f.far < at + 8, "... FAR is in it");
	el0(el0_store, at + 3, 0, 0);
	check_abort(EC_WATCH_LOWER, DEBUG_FSC | ISS_WNR, at + 3,
		    "a watchpoint on a store of a byte");
	el0(el0_load, at - 8, 0, 0);
	check_el0_done("a load below it");
	el0(el0_load, at + 8, 0, 0);
	check_el0_done("a load above it");
	el0(el0_load_pair, at - 8, 0, 0);
	check_exc(EC_WATCH_LOWER, DEBUG_FSC, "a pair that reaches into it");
	el0(el0_load, at - 4, 0, 0);
	check_exc(EC_WATCH_LOWER, DEBUG_FSC, "an unaligned load that reaches into it");
	el0(el0_dc, at & ~63ULL, 0, 0);
	check_exc(EC_WATCH_LOWER, DEBUG_FSC | ISS_WNR, "dc zva of it");
	/* Loads only, stores only, one byte only */
	WRITE_REG(dbgwcr0_el1, 1 | 2 << 1 | 1 << 3 | 0xff << 5);
	ISB();
	el0(el0_store, at, 0, 0);
	check_el0_done("LSC load: a store");
	el0(el0_load, at, 0, 0);
	check_exc(EC_WATCH_LOWER, DEBUG_FSC, "LSC load: a load");
	WRITE_REG(dbgwcr0_el1, 1 | 2 << 1 | 2 << 3 | 0xff << 5);
	ISB();
	el0(el0_load, at, 0, 0);
	check_el0_done("LSC store: a load");
	WRITE_REG(dbgwcr0_el1, any | 1 << 9);
	ISB();
	el0(el0_store, at + 3, 0, 0);
	check_el0_done("BAS: another byte");
	el0(el0_store, at + 4, 0, 0);
	check_abort(EC_WATCH_LOWER, DEBUG_FSC | ISS_WNR, at + 4, "BAS: this byte");
	/* 64 bytes by MASK */
	WRITE_REG(dbgwvr0_el1, at);
	WRITE_REG(dbgwcr0_el1, any | 0xff << 5 | 6 << 24);
	ISB();
	el0(el0_store, at + 63, 0, 0);
	check_abort(EC_WATCH_LOWER, DEBUG_FSC | ISS_WNR, at + 63, "MASK: 64 bytes");
	el0(el0_store, at + 64, 0, 0);
	check_el0_done("MASK: and no more");
	/* What was watched is ordinary memory again. */
	WRITE_REG(dbgwcr0_el1, 0);
	mdscr(0);
	el0(el0_store, at, 0, 0);
	check_el0_done("not watched any more");

	/* EL1's accesses; PAC EL0 is nothing to them */
	WRITE_REG(dbgwcr0_el1, any | 0xff << 5);
	mdscr(MDSCR_MDE | MDSCR_KDE);
	asm volatile("msr daifclr, #8");
	TRY("ldr x0, [%[a]]", [a] "r"(at));
	check_none("PAC EL0: a load at EL1");
	TRY("ldtr x0, [%[a]]", [a] "r"(at));
	check_exc(EC_WATCH, DEBUG_FSC, "PAC EL0: ldtr at EL1 is as EL0");
	WRITE_REG(dbgwcr0_el1, 1 | 1 << 1 | 3 << 3 | 0xff << 5);
	ISB();
	TRY("str xzr, [%[a]]", [a] "r"(at));
	check_exc(EC_WATCH, DEBUG_FSC | ISS_WNR, "PAC EL1: a store at EL1");
	asm volatile("msr daifset, #8");
	TRY("str xzr, [%[a]]", [a] "r"(at));
	check_none("PSTATE.D masks it");
	WRITE_REG(dbgwcr0_el1, 0);
	mdscr(0);
}

void guest_main(void)
{
	mmu_on();
	WRITE_REG(oslar_el1, 0);
	mdscr(MDSCR_SS);
	stepping();
	disabled();
	at_el1();
	breakpoints();
	watchpoints();
}

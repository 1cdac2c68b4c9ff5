/* SPDX-License-Identifier: MIT */
/*
 * AArch64 exceptions in words: ESR_EL1 (DDI0487 D17.2.37).
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "machine/debug.h"
#include "machine/trap.h"

enum { IABT_LOWER = 0x20, IABT_SAME = 0x21, PC_ALIGN = 0x22, DABT_LOWER = 0x24, DABT_SAME = 0x25 };
enum { ISS_WNR = 6, ISS_CM = 8 };

/* Exception classes that are no abort. */
static const struct {
	uint8_t ec;
	const char *name, *what;
} classes[] = {
	{ 0x00, "unknown reason", "undefined instruction" },
	{ 0x01, "trapped WFI or WFE", "trapped wait" },
	{ 0x07, "access to SIMD or floating point",
	  "floating-point instruction while CPACR_EL1.FPEN traps it" },
	{ 0x0e, "illegal execution state", "illegal return (PSTATE.IL)" },
	{ 0x15, "SVC", "svc" },
	{ 0x18, "trapped MSR, MRS or system instruction", "trapped system instruction" },
	{ 0x22, "PC alignment fault", "jump" },
	{ 0x26, "SP alignment fault", "access by a misaligned stack pointer" },
	{ 0x30, "breakpoint", "breakpoint" },
	{ 0x31, "breakpoint", "breakpoint" },
	{ 0x32, "software step", "software step" },
	{ 0x33, "software step", "software step" },
	{ 0x34, "watchpoint", "watchpoint" },
	{ 0x35, "watchpoint", "watchpoint" },
	{ 0x3c, "BRK", "brk" },
};

/* DFSC and IFSC, but for the level. */
static const char *fault_name(unsigned fsc)
{
	switch (fsc) {
	case 0x21: return "alignment fault";
	case 0x35: return "unsupported exclusive or atomic access";
	}
	switch (fsc & ~3u) {
	case 0x00: return "address size fault";
	case 0x04: return "translation fault";
	case 0x08: return "access flag fault";
	case 0x0c: return "permission fault";
	case 0x10: return "external abort";
	case 0x14: return "external abort on a table walk";
	}
	return "fault";
}

void trap_words_a64(const struct debug_trap *t, struct trap_words *w)
{
	unsigned ec = (unsigned)bits(t->cause, 31, 26), fsc = (unsigned)bits(t->cause, 5, 0);
	bool data = ec == DABT_LOWER || ec == DABT_SAME,
	     fetch = ec == IABT_LOWER || ec == IABT_SAME;

	memset(w, 0, sizeof(*w));
	w->vector = "VBAR_EL1";
	snprintf(w->in, sizeof(w->in), "EL%u", t->from);
	if (t->kind == DEBUG_TRAP_INTERRUPT) {
		snprintf(w->what, sizeof(w->what), "interrupt (%s)",
			 (t->vector & 0x1ff) == 0x100 ? "FIQ" : "IRQ");
		return;
	}
	snprintf(w->what, sizeof(w->what), "exception");
	snprintf(w->cause, sizeof(w->cause), "ESR_EL1 0x%llx: reserved", ull(t->cause));
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (classes[i].ec == ec) {
			snprintf(w->what, sizeof(w->what), "%s", classes[i].what);
			snprintf(w->cause, sizeof(w->cause), "ESR_EL1 0x%llx: %s", ull(t->cause),
				 classes[i].name);
		}
	if (ec == PC_ALIGN) {
		w->access = DEBUG_EXEC;
		w->why = "it is no multiple of 4";
	}
	if (!data && !fetch)
		return;
	bool write = data && bit(t->cause, ISS_WNR) && !bit(t->cause, ISS_CM);
	w->access = fetch ? DEBUG_EXEC : write ? DEBUG_WRITE : DEBUG_READ;
	snprintf(w->what, sizeof(w->what), "%s",
		 fetch                   ? "instruction fetch"
		 : bit(t->cause, ISS_CM) ? "cache maintenance"
		 : write                 ? "store"
					 : "load");
	snprintf(w->cause, sizeof(w->cause), "ESR_EL1 0x%llx: %s", ull(t->cause), fault_name(fsc));
	w->mapping = (fsc & ~3u) != 0x10 && fsc < 0x20;
	w->why = fsc == 0x21 ? "it is misaligned, which this instruction or Device memory does not "
			       "allow; with the MMU off, all memory is Device memory"
		 : fsc == 0x35 ? "exclusive and atomic accesses need memory"
			       : NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * RISC-V traps in words: mcause and scause (volume II, tables 14 and 22).
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "machine/debug.h"
#include "machine/trap.h"

static const struct {
	const char *name, *what;
	uint8_t access;
	bool mapping;
	const char *why;
} exceptions[] = {
	[0] = { "instruction address misaligned", "jump", DEBUG_EXEC, false, "it is odd" },
	[1] = { "instruction access fault", "instruction fetch", DEBUG_EXEC, false, NULL },
	[2] = { "illegal instruction", "illegal instruction", 0, false, NULL },
	[3] = { "breakpoint", "breakpoint", 0, false, NULL },
	[4] = { "load address misaligned", "load", DEBUG_READ, false,
		"it is misaligned, and that is not memory" },
	[5] = { "load access fault", "load", DEBUG_READ, false, NULL },
	[6] = { "store/AMO address misaligned", "store", DEBUG_WRITE, false,
		"it is misaligned, which this instruction or this place does not allow" },
	[7] = { "store/AMO access fault", "store", DEBUG_WRITE, false, NULL },
	[8] = { "environment call from U-mode", "ecall", 0, false, NULL },
	[9] = { "environment call from S-mode", "ecall", 0, false, NULL },
	[11] = { "environment call from M-mode", "ecall", 0, false, NULL },
	[12] = { "instruction page fault", "instruction fetch", DEBUG_EXEC, true, NULL },
	[13] = { "load page fault", "load", DEBUG_READ, true, NULL },
	[15] = { "store/AMO page fault", "store", DEBUG_WRITE, true, NULL },
};

static const char *const interrupts[] = {
	[1] = "supervisor software", [3] = "machine software",    [5] = "supervisor timer",
	[7] = "machine timer",       [9] = "supervisor external", [11] = "machine external",
};

void trap_words_rv(const struct debug_trap *t, struct trap_words *w)
{
	static const char *const levels[] = { "U-mode", "S-mode", "?", "M-mode" };
	bool to_m = t->to == 3;
	uint64_t code = t->cause & 0xff;

	memset(w, 0, sizeof(*w));
	w->vector = to_m ? "mtvec" : "stvec";
	snprintf(w->in, sizeof(w->in), "%s", levels[t->from & 3]);
	if (t->kind == DEBUG_TRAP_INTERRUPT) {
		const char *name = code < ARRAY_SIZE(interrupts) ? interrupts[code] : NULL;
		snprintf(w->what, sizeof(w->what), "%s interrupt", name ? name : "unknown");
		snprintf(w->cause, sizeof(w->cause), "%ccause: interrupt %llu", to_m ? 'm' : 's',
			 ull(code));
		return;
	}
	bool known = code < ARRAY_SIZE(exceptions) && exceptions[code].name;
	snprintf(w->what, sizeof(w->what), "%s", known ? exceptions[code].what : "trap");
	if (code == 2)
		snprintf(w->what, sizeof(w->what), "illegal instruction 0x%llx%s", ull(t->addr),
			 t->addr ? "" : " (zeros are no code)");
	snprintf(w->cause, sizeof(w->cause), "%ccause %llu: %s", to_m ? 'm' : 's', ull(code),
		 known ? exceptions[code].name : "reserved");
	if (known) {
		w->access = exceptions[code].access;
		w->mapping = exceptions[code].mapping;
		w->why = exceptions[code].why;
	}
}

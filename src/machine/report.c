/* SPDX-License-Identifier: MIT */
/*
 * Reports on guests that have lost their way, for those who write kernels (`--debug-guest`).
 *
 * Every trap is looked at as it is taken (lost_trap(), on the vCPU's thread), and every 200 ms
 * whether the vCPUs get anywhere (report_look()). What counts as lost is only what no working
 * kernel does, since a false alarm is worse than none:
 *  - a trap whose handler's first instruction cannot be fetched: the vector was not set up;
 *  - the same fault at the same place again and again, without a return from the handler in
 *    between (it faults itself), or with a return to that very instruction each time;
 *  - an interrupt that comes again before one instruction more is executed, again and again;
 *  - a jump to where no instruction can be fetched, in a kernel. Not when the page tables have just
 *    been changed: Linux enters its virtual addresses by such a fault;
 *  - an end, or a reset, that is asked for in the handler of a fault of the kernel: a panic;
 *  - every CPU off, asleep for ever, or in a loop in which nothing changes (hang.h).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/symbols.h"
#include "bus/bus.h"
#include "machine/debug.h"
#include "machine/hang.h"
#include "machine/irq_view.h"
#include "machine/trace.h"
#include "machine/trap.h"
#include "machine/vm.h"
#include "machine/walk.h"

/* How often the same fault must come. A page fault of a working kernel may come back a
 * few times. */
enum { NESTED_LIMIT = 64, RETRY_LIMIT = 10000, STORM_LIMIT = 100000 };
enum { JUMPS_MAX = 4, PANICS_MAX = 4, NEAR_BYTES = 1024, NULL_BYTES = 4096 };

enum lost {
	LOST_NOT,
	LOST_VECTOR, /* the trap before this one has no handler */
	LOST_NESTED, /* the handler faults */
	LOST_RETRY,  /* the handler does not help */
	LOST_STORM,  /* interrupts leave no time; a device or another CPU may yet end it */
	LOST_JUMP,   /* the handler may yet cope */
};

struct lost_cpu {
	/* Of the vCPU's thread; the control thread's while it is parked. */
	bool any, any_fault;
	struct debug_trap last, fault; /* fault: the last that was no interrupt and no call */
	bool open;                     /* no return since `fault` */
	bool told;                     /* of `fault`, already */
	bool to_fault;                 /* the last return was to it */
	unsigned nested, retries;
	bool elsewhere; /* the nested faults are at more than one place */
	unsigned storm; /* interrupts in a row */
	bool told_storm;
	unsigned jumps, panics;
	bool any_opener;
	struct debug_trap opener; /* the fault in whose handler `fault` was */
	enum lost how;
	struct debug_trap why, before; /* what is reported; LOST_VECTOR: the trap before */
};

struct report {
	struct hako_vm *vm;
	struct lost_cpu cpus[HAKO_CPUS_MAX];
	struct hang *hang;
	bool told_hang;
};

/* ---- watching, on the vCPU's thread ---- */

static bool same(const struct debug_trap *a, const struct debug_trap *b)
{
	return a->pc == b->pc && a->cause == b->cause && a->addr == b->addr && a->from == b->from;
}

/* Does this interrupt come again and again, so that nothing else is done? */
static bool storms(struct lost_cpu *l, const struct debug_trap *t)
{
	bool again = t->kind == DEBUG_TRAP_INTERRUPT && t->at_once &&
		     (l->storm == 0 || (t->pc == l->last.pc && t->cause == l->last.cause));

	l->storm = again ? l->storm + 1 : 0;
	if (l->storm < STORM_LIMIT || l->told_storm)
		return false;
	return l->told_storm = true;
}

static enum lost judge(struct lost_cpu *l, const struct debug_trap *t)
{
	if (storms(l, t))
		return LOST_STORM;
	if (t->kind == DEBUG_TRAP_FETCH && l->any && t->pc == l->last.vector &&
	    t->from == l->last.to) {
		l->before = l->last;
		return LOST_VECTOR;
	}
	if (t->kind == DEBUG_TRAP_INTERRUPT || t->kind == DEBUG_TRAP_CALL)
		return LOST_NOT;
	bool again = l->any_fault && same(t, &l->fault);
	/* Without a return in between, so in the handler of the one before. */
	bool inside = l->any_fault && l->open && t->from;
	bool there = inside && t->pc == l->fault.pc && t->cause == l->fault.cause;
	l->elsewhere = l->nested && (l->elsewhere || !there);
	l->nested = inside ? l->nested + 1 : 0;
	l->retries = again && !l->open && l->to_fault ? l->retries + 1 : 0;
	if (l->nested >= NESTED_LIMIT)
		return LOST_NESTED;
	if (l->retries >= RETRY_LIMIT)
		return LOST_RETRY;
	if (t->kind == DEBUG_TRAP_FETCH && t->from && !t->remapped && l->jumps < JUMPS_MAX) {
		l->jumps++;
		return LOST_JUMP;
	}
	return LOST_NOT;
}

static bool lost_trap(void *arg, unsigned cpu, const struct debug_trap *t)
{
	struct lost_cpu *l = &((struct report *)arg)->cpus[cpu];
	enum lost how = judge(l, t);

	l->any = true;
	l->last = *t;
	if (t->kind == DEBUG_TRAP_CALL) {
		l->any_fault = false;
		l->nested = l->retries = 0;
	} else if (t->kind != DEBUG_TRAP_INTERRUPT) {
		/* The first that is nested has the opener before it. */
		if (l->nested <= 1) {
			l->any_opener = l->nested;
			l->opener = l->fault;
		}
		l->any_fault = l->open = true;
		l->to_fault = l->told = false;
		l->fault = *t;
	}
	if (how) {
		l->how = how;
		l->why = *t;
	}
	return how;
}

static void lost_returned(void *arg, unsigned cpu, uint64_t pc)
{
	struct lost_cpu *l = &((struct report *)arg)->cpus[cpu];

	l->any = false;
	/* From an interrupt that came inside the handler, perhaps; then it is not over. */
	l->open = false;
	l->to_fault = l->any_fault && pc == l->fault.pc;
}

/* ---- telling ---- */

__attribute__((format(printf, 2, 3))) static void tell(struct report *r, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_msg(&r->vm->log, LOG_TRACE, "guest", "%s", text);
}

static bool is_arm64(const struct hako_vm *vm)
{
	return vm->kernel.arch == KERNEL_ARM64;
}

static const char *unit(const struct hako_vm *vm)
{
	return is_arm64(vm) ? "CPU" : "hart";
}

/* An illegal instruction: RISC-V's exception 2, A64's exception class 0. */
static bool is_illegal(const struct hako_vm *vm, const struct debug_trap *t)
{
	return is_arm64(vm) ? !(t->cause >> 26) : t->cause == 2;
}

static void words_of(const struct hako_vm *vm, const struct debug_trap *t, struct trap_words *w)
{
	if (is_arm64(vm))
		trap_words_a64(t, w);
	else
		trap_words_rv(t, w);
}

/* What is at a physical address, to which this access was refused. */
static void refused_at(const struct hako_vm *vm, uint64_t pa, char *text, size_t size)
{
	const struct bus_region *region = bus_find(vm->mmio, pa);

	if (gmem_find(vm->mem, pa))
		snprintf(text, size,
			 "memory is there, but physical memory protection (PMP) "
			 "denies it");
	else if (region)
		snprintf(
			text, size,
			"the device %s is there, and takes accesses of %u to %u bytes at multiples "
			"of their size only",
			region->name, region->min_access, region->max_access);
	else
		snprintf(text, size, "neither memory nor a device is at physical address 0x%llx",
			 ull(pa));
}

/* "store to 0x10 in S-mode: the level-2 entry is not valid", and the walk behind it. */
static void sentence(struct vm_cpu *cpu, const struct debug_trap *t, char *text, size_t size,
		     struct walk *walk)
{
	const struct hako_vm *vm = cpu->vm;
	struct trap_words w;
	char why[160] = "";

	words_of(vm, t, &w);
	memset(walk, 0, sizeof(*walk));
	if (!w.access) {
		uint32_t insn = 0;
		/* RISC-V has it in tval, and so in w.what. */
		if (is_arm64(vm) && is_illegal(vm, t) && debug_insn(cpu, t->pc, &insn))
			snprintf(why, sizeof(why), " 0x%x%s", insn,
				 insn ? "" : " (zeros are no code)");
		snprintf(text, size, "%s%s in %s", w.what, why, w.in);
		return;
	}
	uint64_t addr = t->addr;
	const struct walk_access a = {
		.va = addr,
		.access = w.access,
		.level = t->from,
		.pan = is_arm64(vm) && bit(debug_reg(cpu, "SPSR_EL1"), 22),
	};
	walk_va(cpu, &a, walk);
	if (w.why)
		snprintf(why, sizeof(why), "%s", w.why);
	else if (!walk->ok)
		snprintf(why, sizeof(why), "%s", walk->why);
	else if (w.mapping)
		snprintf(why, sizeof(why), "the page tables allow it now: they have changed since");
	else
		refused_at(vm, walk->pa, why, sizeof(why));
	snprintf(text, size, "%s %s 0x%llx in %s: %s", w.what,
		 w.access == DEBUG_WRITE || strcmp(w.what, "jump") == 0 ? "to"
		 : w.access == DEBUG_EXEC                               ? "at"
									: "from",
		 ull(addr), w.in, why);
}

static void tell_walk(struct report *r, const struct walk *w, uint64_t va)
{
	if (!*w->how)
		return;
	tell(r, "  translation of 0x%llx: %s", ull(va), w->how);
	for (unsigned i = 0; i < w->n; i++) {
		if (w->steps[i].read)
			tell(r, "    level %u: entry at 0x%llx is 0x%016llx: %s", w->steps[i].level,
			     ull(w->steps[i].at), ull(w->steps[i].entry), w->steps[i].meaning);
		else
			tell(r, "    level %u: entry at 0x%llx: %s", w->steps[i].level,
			     ull(w->steps[i].at), w->steps[i].meaning);
	}
	if (w->ok && w->translated)
		tell(r, "    physical address 0x%llx", ull(w->pa));
}

/* The general registers, and those that tell of traps and translation. */
static void tell_registers(struct report *r, struct vm_cpu *cpu)
{
	static const char *const a64[] = { "SP_EL0",    "SP_EL1",    "ESR_EL1",  "FAR_EL1",
					   "ELR_EL1",   "SPSR_EL1",  "VBAR_EL1", "SCTLR_EL1",
					   "TTBR0_EL1", "TTBR1_EL1", "TCR_EL1",  NULL };
	static const char *const rv_s[] = { "sstatus", "scause", "sepc", "stval",    "stvec",
					    "sie",     "sip",    "satp", "sscratch", NULL };
	static const char *const rv_m[] = { "mstatus", "mcause", "mepc", "mtval",    "mtvec",
					    "mie",     "mip",    "satp", "mscratch", NULL };
	const struct debug_ops *ops = cpu->vm->engine_ops->debug;
	const char *const *more = is_arm64(r->vm) ? a64 : debug_level(cpu) == 3 ? rv_m : rv_s;
	struct debug_reg reg;
	const char *feature = NULL;
	char line[200] = "";
	size_t len = 0, n = 0;

	for (size_t i = 0;; i++) {
		bool general = ops->reg(cpu->vm->engine, i, &reg) &&
			       (!feature || strcmp(reg.feature, feature) == 0);
		if (general) {
			feature = reg.feature;
		} else {
			if (!*more)
				break;
			reg.name = *more++;
		}
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%9s %0*llx",
					n ? " " : "", reg.name,
					cpu->vm->kernel.arch == KERNEL_RV32 ? 8 : 16,
					ull(debug_reg(cpu, reg.name)));
		if (++n == 4) {
			tell(r, "%s", line);
			n = len = 0;
		}
	}
	if (n)
		tell(r, "%s", line);
}

static void tell_place(struct report *r, const char *what, uint64_t pc)
{
	char name[96];

	symbols_name(r->vm->symbols, pc, name, sizeof(name));
	tell(r, "  %s 0x%llx%s", what, ull(pc), name);
}

/*
 * MRET, or a CSR that only M-mode has: bits 9:8 of its number are 3 (RISC-V, Privileged
 * Architecture, "CSR Address Mapping Conventions"); the number is in bits 31:20.
 */
static bool is_for_m_mode(uint64_t insn)
{
	const uint64_t mret = 0x30200073;
	bool csr = (insn & 0x7f) == 0x73 && (insn >> 12 & 3);

	return insn == mret || (csr && (insn >> 28 & 3) == 3);
}

/* MRS or MSR of a register that EL1 has not: op1 is 4 or 5 of EL2's, 6 of EL3's
 * (DDI0487 C5.1.2). */
static bool is_for_el2(uint32_t insn)
{
	return (insn & 0xffd00000) == 0xd5100000 && (insn >> 16 & 7) >= 4 && (insn >> 16 & 7) <= 6;
}

/* A program that wants to begin at another level than it is started at: what to do; or NULL. */
static const char *wants_more(struct vm_cpu *cpu, const struct debug_trap *t)
{
	uint32_t insn = 0;

	if (t->kind == DEBUG_TRAP_INTERRUPT)
		return NULL;
	if (cpu->vm->no_firmware && t->cause == 11 && t->from == 3)
		return "that is a call of the firmware (SBI), and there is none: leave out "
		       "--firmware none";
	if (t->from != 1 || !is_illegal(cpu->vm, t))
		return NULL;
	if (is_arm64(cpu->vm))
		return debug_insn(cpu, t->pc, &insn) && is_for_el2(insn)
			       ? "that is for EL2 or EL3 only: CPUs begin at EL1 here"
			       : NULL;
	return is_for_m_mode(t->addr)
		       ? "that is for M-mode only: a kernel that is its own firmware is started "
			 "with --firmware none"
		       : NULL;
}

static void tell_trap(struct report *r, struct vm_cpu *cpu, const struct debug_trap *t)
{
	struct trap_words w;
	struct walk walk;
	char text[320];

	words_of(r->vm, t, &w);
	sentence(cpu, t, text, sizeof(text), &walk);
	if (*w.cause)
		tell(r, "  %s (%s)", text, w.cause);
	else
		tell(r, "  %s", text);
	tell_place(r,
		   t->kind == DEBUG_TRAP_INTERRUPT ? "it came at pc" : "by the instruction at pc",
		   t->pc);
	const char *more = wants_more(cpu, t);
	if (more)
		tell(r, "  %s", more);
	if (t->remapped)
		tell(r,
		     "  which follows the one that changed the address translation: the code that "
		     "runs must be mapped at its own address, too");
	if (w.access)
		tell_walk(r, &walk, t->addr);
}

/* Where the handler is, in case it was meant to be elsewhere. */
static void tell_handler(struct report *r, struct vm_cpu *cpu, const struct debug_trap *t)
{
	struct trap_words w;
	uint64_t at;

	words_of(r->vm, t, &w);
	at = debug_reg(cpu, w.vector);
	tell(r, "  %s is 0x%llx%s", w.vector, ull(at),
	     at ? "" : ": was it never set, or set to 0?");
}

/* An explanation of why the handler of `t` could not be fetched. */
static void tell_vector(struct report *r, struct vm_cpu *cpu, const struct lost_cpu *l)
{
	struct trap_words w;
	struct walk walk;
	char text[320];
	uint64_t vector;

	words_of(r->vm, &l->before, &w);
	vector = debug_reg(cpu, w.vector);
	sentence(cpu, &l->why, text, sizeof(text), &walk);
	tell(r, "a trap of %s %u has no handler: %s is 0x%llx%s", unit(r->vm), cpu->index, w.vector,
	     ull(vector),
	     vector ? ", and that cannot be executed" : "; it was never set, or set to 0");
	tell_trap(r, cpu, &l->before);
	tell(r, "  then, at the handler: %s", text);
	tell_walk(r, &walk, l->why.pc);
}

/* A fault beside the stack pointer: a stack that has overflowed, most often. */
static void tell_stack(struct report *r, struct vm_cpu *cpu, uint64_t addr)
{
	uint64_t sp = debug_reg(cpu, "sp");

	if (addr - (sp - NEAR_BYTES) < 2 * NEAR_BYTES)
		tell(r,
		     "  that is at the stack pointer, 0x%llx: has the stack overflowed, or was "
		     "there never one?",
		     ull(sp));
}

bool report_trapped(struct report *r, struct vm_cpu *cpu)
{
	struct lost_cpu *l = &r->cpus[cpu->index];
	enum lost how = l->how;

	l->how = LOST_NOT;
	switch (how) {
	case LOST_NOT: return false;
	case LOST_VECTOR: tell_vector(r, cpu, l); break;
	case LOST_NESTED:
		tell(r, "the trap handler of %s %u faults itself%s, and so never gets to its end",
		     unit(r->vm), cpu->index, l->elsewhere ? "" : ", at the same place each time");
		tell_trap(r, cpu, &l->why);
		tell_stack(r, cpu, l->why.addr);
		if (l->any_opener) {
			tell(r, "  it was there because of this:");
			tell_trap(r, cpu, &l->opener);
		}
		tell_handler(r, cpu, &l->why);
		break;
	case LOST_RETRY:
		tell(r,
		     "the trap handler of %s %u returns to the instruction that faulted, which "
		     "faults again, and again",
		     unit(r->vm), cpu->index);
		tell_trap(r, cpu, &l->why);
		break;
	case LOST_STORM:
		tell(r,
		     "an interrupt of %s %u comes again as soon as its handler returns, %u times "
		     "now: nothing else gets done",
		     unit(r->vm), cpu->index, (unsigned)STORM_LIMIT);
		tell_trap(r, cpu, &l->why);
		tell(r,
		     "  its cause must end before the handler returns: a timer set to a later "
		     "time, a device's interrupt acknowledged there%s",
		     is_arm64(r->vm) ? "" : ", a pending bit cleared");
		break;
	case LOST_JUMP:
		tell(r, "%s %u jumps to where no instruction is%s", unit(r->vm), cpu->index,
		     l->why.pc < NULL_BYTES ? ": by a null pointer?" : "");
		tell_trap(r, cpu, &l->why);
		tell_place(r, "the return address is",
			   debug_reg(cpu, is_arm64(r->vm) ? "x30" : "ra"));
		break;
	}
	l->told = true;
	tell_registers(r, cpu);
	trace_tell(r->vm, "guest");
	return how != LOST_JUMP && how != LOST_STORM;
}

void report_nested(struct vm_cpu *cpu, const struct debug_stop *stop)
{
	struct hako_vm *vm = cpu->vm;
	/* There is no instruction where the handler should be: what tells is the trap before. */
	bool none = stop->any_opener && stop->fault.pc == stop->fault.vector &&
		    (stop->fault.kind == DEBUG_TRAP_FETCH || is_illegal(vm, &stop->fault));
	const struct debug_trap *t = none ? &stop->opener : &stop->fault;
	const char *more = wants_more(cpu, t);
	struct symbols *own = NULL;
	struct trap_words w;
	struct walk walk;
	char text[320], name[96], how[96] = "its trap handler faults itself, again and again";

	if (vm->told_nested)
		return;
	vm->told_nested = true;
	if (!vm->symbols && vm->kernel.n_segments && vm->kernel.fd >= 0)
		(void)symbols_open(&own, vm->kernel.path, NULL);
	words_of(vm, t, &w);
	sentence(cpu, t, text, sizeof(text), &walk);
	symbols_name(own ? own : vm->symbols, t->pc, name, sizeof(name));
	symbols_close(own);
	if (none)
		snprintf(how, sizeof(how),
			 "a trap has no handler that can be executed (%s is %#llx)", w.vector,
			 ull(debug_reg(cpu, w.vector)));
	log_msg(&vm->log, LOG_WARN, "guest",
		"%s %u is lost, %s: %s, by the instruction at pc %#llx%s; %s", unit(vm), cpu->index,
		how, text, ull(t->pc), name, more ? more : "--debug-guest tells more");
}

/* ---- CPUs that get nowhere ---- */

/* A CPU that will not move again: where it is, and how it got there if that was a fault. */
static void tell_cpu(struct report *r, struct vm_cpu *cpu)
{
	struct lost_cpu *l = &r->cpus[cpu->index];
	const char *wfi = is_arm64(r->vm) ? "waits (WFI)" : "waits (wfi)";
	uint64_t pc = debug_reg(cpu, "pc");
	struct irq_view view;
	char name[96];

	symbols_name(r->vm->symbols, pc, name, sizeof(name));
	irq_view(cpu, &view);
	tell(r, "%s %u %s at pc 0x%llx%s", unit(r->vm), cpu->index, hang_waits(cpu) ? wfi : "spins",
	     ull(pc), name);
	tell(r, "  %s", view.words);
	if (l->any_fault && l->open) {
		tell(r, "  it is in the handler of a trap, and has not returned from it:");
		tell_trap(r, cpu, &l->fault);
	}
	tell_registers(r, cpu);
}

static void tell_cpus(struct report *r)
{
	for (unsigned i = 0; i < r->vm->n_cpus; i++) {
		struct vm_cpu *cpu = &r->vm->cpus[i];
		if (cpu->state == CPU_OFF)
			tell(r, "%s %u is off", unit(r->vm), i);
		else
			tell_cpu(r, cpu);
	}
	trace_tell(r->vm, "guest");
}

bool report_look(struct report *r)
{
	if (r->told_hang || r->vm->paused || !hang_look(r->hang))
		return false;
	r->told_hang = true;
	tell(r, "the guest hangs: it goes round in a loop in which nothing changes, neither a "
		"register nor memory, and nothing can interrupt it");
	tell_cpus(r);
	vm_resume(r->vm);
	return !r->vm->gdb; /* who has a debugger may want to look */
}

void report_stuck(struct report *r)
{
	vm_pause(r->vm);
	tell(r, "the guest waits, and nothing can wake it: no timer is set, and no interrupt is "
		"enabled that could come");
	tell_cpus(r);
	vm_resume(r->vm);
}

void report_ended(struct report *r, const char *how)
{
	for (unsigned i = 0; i < r->vm->n_cpus; i++) {
		struct vm_cpu *cpu = &r->vm->cpus[i];
		struct lost_cpu *l = &r->cpus[i];

		/* Not a user's fault, nor one by which a kernel enters its own addresses. */
		if (l->any_fault && l->open && !l->told && l->fault.from && !l->fault.remapped &&
		    l->panics < PANICS_MAX) {
			l->panics++;
			tell(r,
			     "%s in the handler of a trap of %s %u, which has not returned from "
			     "it: did it panic?",
			     how, unit(r->vm), i);
			tell_trap(r, cpu, &l->fault);
			tell(r, "  registers as they are now, in the handler:");
			tell_registers(r, cpu);
			trace_tell(r->vm, "guest");
		}
		/* But not what has been told often enough: it may reset for ever. */
		*l = (struct lost_cpu){
			.jumps = l->jumps,
			.panics = l->panics,
			.told_storm = l->told_storm,
		};
	}
}

/* ---- life ---- */

int report_create(struct report **out, struct hako_vm *vm, struct err *err)
{
	int res = debug_check(vm, DEBUG_TRAPS, err);
	if (res)
		return res;
	struct report *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(err, -ENOMEM, "no memory for reports");
	r->vm = vm;
	*out = r;
	return hang_create(&r->hang, vm, err);
}

void report_begin(struct report *r)
{
	static const struct debug_trap_ops ops = { .trap = lost_trap, .returned = lost_returned };

	r->vm->engine_ops->debug->watch_traps(r->vm->engine, &ops, r);
}

void report_destroy(struct report *r)
{
	if (r)
		hang_destroy(r->hang);
	free(r);
}

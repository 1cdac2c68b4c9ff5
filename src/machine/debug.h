/* SPDX-License-Identifier: MIT */
/*
 * What a machine does for those who debug its guest: it stops vCPUs for them (debug.c), a server
 * for gdb (gdb.c), and reports on guests that have lost their way (report.c).
 *
 * A vCPU that the engine has stopped says so (debug_stopped) and asks to be held. The control
 * thread parks all of them, and looks at who wanted the stop (debug_look).
 *
 * Threads: the control thread, or while no vCPU runs yet, but for debug_stopped(). Registers may be
 * used while the vCPU is parked.
 */
#ifndef HAKO_MACHINE_DEBUG_H
#define HAKO_MACHINE_DEBUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/debug.h"

struct err;
struct gdb;
struct report;
struct hako_vm;
struct vm_cpu;

/* For printf. */
static inline unsigned long long ull(uint64_t v)
{
	return v;
}

/* On the vCPU's thread: the engine has returned VCPU_DEBUG. It parks soon. */
void debug_stopped(struct vm_cpu *cpu);
/*
 * All vCPUs are parked: tell of those that have stopped. True: the guest will never get any
 * further, the run ends. To keep them parked, vm_pause() was called.
 */
bool debug_look(struct hako_vm *vm);

/* A register of at most 64 bits by its name in the engine's table; 0 if there is none. */
uint64_t debug_reg(struct vm_cpu *cpu, const char *name);
/* What an option asks of the engine. -ENOTSUP and a sentence unless it can. */
enum debug_need { DEBUG_GDB, DEBUG_TRAPS, DEBUG_INSNS };
int debug_check(const struct hako_vm *vm, enum debug_need need, struct err *err);
/* The kernel's names for addresses go into vm->symbols, if anybody wants them. */
int debug_symbols(struct hako_vm *vm, const char *path, struct err *err);
/* With `--trace insn`: begin it; tell the log of the last instructions, all vCPUs parked. */
int debug_trace_insns(struct hako_vm *vm, struct err *err);
void debug_tell_insns(struct hako_vm *vm);
/* Exception level, or privilege, that the vCPU is at; x86: 0 to 3. */
uint8_t debug_level(struct vm_cpu *cpu);

/* The 32 bits at the vCPU's virtual address `va`, if all are in RAM and in one page. Of RISC-V, a
 * compressed instruction and what is behind it. */
bool debug_insn(struct vm_cpu *cpu, uint64_t va, uint32_t *insn);

/*
 * gdb's server: halts the machine before its first instruction, and waits for a client. `where` is
 * a TCP port of the loopback interface, or the path of a socket (it has a slash).
 */
int gdb_create(struct gdb **gdb, struct hako_vm *vm, const char *where, struct err *err);
void gdb_destroy(struct gdb *gdb);
/* Is `where` something that gdb_create() takes? */
int gdb_check(const char *where, struct err *err);
/* A vCPU has stopped for gdb; false: that is of no interest to anybody. */
bool gdb_stopped(struct gdb *gdb, struct vm_cpu *cpu, const struct debug_stop *stop);
/* The machine ends. */
void gdb_ended(struct gdb *gdb, uint8_t status);

/* Every vCPU is parked, and this one goes from trap to trap for ever: one sentence, once, for those
 * who have not asked for reports. */
void report_nested(struct vm_cpu *cpu, const struct debug_stop *stop);

/* Reports on guests that are lost, to the log. */
int report_create(struct report **report, struct hako_vm *vm, struct err *err);
void report_destroy(struct report *report);
/* The vCPUs exist, and none runs yet. */
void report_begin(struct report *report);
/* Every vCPU is parked, this one stopped for a trap. True: the guest will never get any further. */
bool report_trapped(struct report *report, struct vm_cpu *cpu);
/* Every 200 ms: do the CPUs get anywhere? True: they never will, the run ends. */
bool report_look(struct report *report);
/* They never will: all are off or wait. */
void report_stuck(struct report *report);
/* Every vCPU is parked, and the guest has asked for an end or a reset: `how`, "the guest ...". What
 * its CPUs did is forgotten. */
void report_ended(struct report *report, const char *how);

#endif

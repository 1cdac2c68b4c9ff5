/* SPDX-License-Identifier: MIT */
/*
 * What an engine does for debuggers: registers by name, breakpoints, watchpoints, single steps, and
 * a look at every trap. An engine without it has no engine_ops.debug.
 *
 * Addresses are the guest's virtual ones, as the vCPU's own translation has them at that moment.
 *
 * Threads: vCPUs are parked (out of vcpu_run) when their registers are used, and all of them when
 * points are set or traps begin to be watched. debug_trap_ops are called on the vCPU's thread, in
 * the middle of its run, and must not wait for anything.
 */
#ifndef HAKO_ENGINE_DEBUG_H
#define HAKO_ENGINE_DEBUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct err;
struct vcpu;

/* A set of accesses. */
enum debug_access { DEBUG_READ = 1, DEBUG_WRITE = 2, DEBUG_EXEC = 4 };

/*
 * Where a vCPU shall stop: before it executes at `va`, or before an instruction that accesses bytes
 * there. Who wants it to get further takes the point away, steps, and puts it back: so gdb does it
 * for arm64 and RISC-V, since their own CPUs stop there, too. An x86 CPU stops behind it.
 */
struct debug_point {
	uint64_t va, len; /* len: of a watchpoint, bytes, not 0 */
	uint8_t access;   /* DEBUG_EXEC: a breakpoint; or DEBUG_READ and DEBUG_WRITE */
	/* Where engines that write into memory do so for a breakpoint; not mapped: nowhere. */
	bool mapped;
	uint64_t pa;
};
enum { DEBUG_POINTS_MAX = 64 };

/* Why vcpu_run returned VCPU_DEBUG. */
enum debug_why {
	DEBUG_STEPPED,
	DEBUG_BREAKPOINT,
	DEBUG_WATCHPOINT,
	DEBUG_TRAPPED, /* debug_trap_ops.trap asked for it */
	DEBUG_NESTED,  /* nobody did, and nobody watches traps: a handler faults, again and again */
};

/* A register. They are numbered from 0; a value is little-endian. */
struct debug_reg {
	const char *name;    /* as the architecture's manual has it; gdb's where that differs */
	const char *feature; /* which of gdb's target descriptions it belongs to */
	const char *type;    /* gdb's, NULL: an integer */
	uint16_t bits;       /* 32, 64, 80 or 128 */
	bool system;         /* one of many that a debugger shows only when asked */
};
enum { DEBUG_REG_MAX = 16 /* bytes */ };

/* A trap: an exception or interrupt that the vCPU has just taken. */
enum debug_trap_kind {
	DEBUG_TRAP_INTERRUPT,
	DEBUG_TRAP_CALL,  /* asked for: SVC, ECALL, a breakpoint instruction */
	DEBUG_TRAP_FAULT, /* the instruction at pc cannot be executed */
	DEBUG_TRAP_FETCH, /* there is none at pc that could be read */
};
struct debug_trap {
	enum debug_trap_kind kind;
	uint64_t cause;   /* ESR_EL1; mcause or scause */
	uint64_t pc;      /* where it was: what the handler may return to */
	uint64_t addr;    /* FAR_EL1; mtval or stval */
	uint64_t vector;  /* where it goes on */
	uint8_t from, to; /* exception level, or RISC-V's privilege (0 U, 1 S, 3 M) */
	bool at_once;     /* not one instruction was executed since the last return */
	bool remapped;    /* pc follows an instruction that changed the address translation */
};

/*
 * DEBUG_NESTED: the same fault at the same place, thousands of times and at the level of its
 * handler, and not one return from a trap in between. Once each time that it comes to that.
 */
struct debug_stop {
	enum debug_why why;
	uint64_t addr;                   /* of a watchpoint: the address that was accessed */
	enum debug_access access;        /* of a watchpoint: how it was set */
	bool any_opener;                 /* nested: there is one */
	struct debug_trap fault, opener; /* nested: it, and the one in whose handler it first was */
};

struct debug_trap_ops {
	/* True: the vCPU shall stop, before the handler's first instruction. */
	bool (*trap)(void *arg, unsigned cpu, const struct debug_trap *trap);
	/* An exception return, to pc. */
	void (*returned)(void *arg, unsigned cpu, uint64_t pc);
};

/* An instruction that was executed, or faulted. */
struct debug_insn {
	uint64_t pc;
	uint32_t word;    /* as it is in memory, 16 or 32 bits */
	const char *name; /* in the tables of the manual, or "?" */
};

struct debug_ops {
	/* NULL: always. Can this host do it? -ENOTSUP and a sentence. */
	int (*probe)(struct engine *engine, struct err *err);
	/*
	 * There are few points, and some breakpoints are instructions that the engine writes into
	 * guest memory: set_points() is asked when one is added whether it can be had, and they are
	 * set only while the guest runs.
	 */
	bool writes_memory;

	/* The register of this number; false behind the last one. Names stay valid. */
	bool (*reg)(struct engine *engine, size_t n, struct debug_reg *reg);
	/* Bytes as wide as the register. False: it has no value now, or cannot be changed. */
	bool (*reg_get)(struct vcpu *vcpu, size_t reg, void *val);
	bool (*reg_set)(struct vcpu *vcpu, size_t reg, const void *val);

	/* These points and no others, for every vCPU; they outlive a reset. -ENOSPC: too many;
	 * -ENOTSUP: a kind that the engine does not have. None are set then. */
	int (*set_points)(struct engine *engine, const struct debug_point *points, size_t n);
	/*
	 * Bytes into RAM, all of them in one region, so that vCPUs also execute what is there now.
	 * NULL: gmem_write() does it. -EFAULT: there is no RAM.
	 */
	int (*write)(struct engine *engine, uint64_t pa, const void *bytes, size_t len);
	/*
	 * NULL: the guest has no time but the machine's clock. All vCPUs are parked: what else
	 * tells them the time stands still, as clock_stop() makes the clock do; and goes on from
	 * there. As well as the host can; twice is as once.
	 */
	void (*time_stop)(struct engine *engine);
	void (*time_go)(struct engine *engine);
	/* One instruction, without taking interrupts, then VCPU_DEBUG; false takes it back. `insn`
	 * is the one at pc if it could be read, else 0; for engines that write memory. */
	void (*step)(struct vcpu *vcpu, bool on, uint32_t insn);
	/* After VCPU_DEBUG. */
	struct debug_stop (*stopped)(struct vcpu *vcpu);
	/* NULL: it cannot, as with watch_traps.
	 * From now on, remember the last `n` instructions of each vCPU, which makes it slow. Once.
	 * -ENOMEM. */
	int (*trace_insns)(struct engine *engine, size_t n);
	/* The instruction `back` places before the last; false: it is not remembered. */
	bool (*traced)(struct vcpu *vcpu, size_t back, struct debug_insn *insn);
	/* NULL: none any more. */
	void (*watch_traps)(struct engine *engine, const struct debug_trap_ops *ops, void *arg);
};

#endif

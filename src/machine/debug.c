/* SPDX-License-Identifier: MIT */
/*
 * vCPUs that have stopped, and whom that concerns; registers by name. debug.h has the contract.
 */
#include "machine/debug.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "boot/symbols.h"
#include "machine/vm.h"
#include "machine/walk.h"

/* How many instructions of each vCPU `--trace insn` tells. */
enum { INSNS_TRACED = 100 };

void debug_stopped(struct vm_cpu *cpu)
{
	struct hako_vm *vm = cpu->vm;

	pthread_mutex_lock(&vm->lock);
	cpu->stopped = true;
	vm->hold = true;
	pthread_mutex_unlock(&vm->lock);
	notifier_set(&vm->act);
}

bool debug_look(struct hako_vm *vm)
{
	const struct debug_ops *ops = vm->engine_ops->debug;
	bool told = false, lost = false;

	for (unsigned i = 0; i < vm->n_cpus; i++) {
		struct vm_cpu *cpu = &vm->cpus[i];
		if (!cpu->stopped)
			continue;
		struct debug_stop stop = ops->stopped(cpu->vcpu);
		/* One at a time is told. Others meet their breakpoint again when they run on, and
		 * what does not come again is kept for the next look. */
		if (told && stop.why != DEBUG_BREAKPOINT && stop.why != DEBUG_STEPPED)
			continue;
		cpu->stopped = false;
		if (stop.why == DEBUG_NESTED) {
			report_nested(cpu, &stop);
			continue;
		}
		if (stop.why == DEBUG_TRAPPED && !report_trapped(vm->report, cpu))
			continue; /* it may yet help itself */
		if (!told && vm->gdb)
			told = gdb_stopped(vm->gdb, cpu, &stop);
		lost |= stop.why == DEBUG_TRAPPED && !told;
	}
	return lost;
}

uint64_t debug_reg(struct vm_cpu *cpu, const char *name)
{
	const struct debug_ops *ops = cpu->vm->engine_ops->debug;
	struct debug_reg reg;
	uint64_t val[DEBUG_REG_MAX / 8] = { 0 };

	for (size_t i = 0; ops->reg(cpu->vm->engine, i, &reg); i++)
		if (strcmp(reg.name, name) == 0)
			return ops->reg_get(cpu->vcpu, i, val) ? val[0] : 0;
	return 0;
}

int debug_check(const struct hako_vm *vm, enum debug_need need, struct err *err)
{
	static const char *const options[] = {
		[DEBUG_GDB] = "--gdb",
		[DEBUG_TRAPS] = "--debug-guest",
		[DEBUG_INSNS] = "--trace insn",
	};
	const struct debug_ops *ops = vm->engine_ops->debug;

	if (ops && ops->probe) {
		int res = ops->probe(vm->engine, err);
		if (res)
			return res;
	}
	if (ops && (need != DEBUG_TRAPS || ops->watch_traps) &&
	    (need != DEBUG_INSNS || ops->trace_insns))
		return 0;
	/* hako's own CPU, which can, runs all but x86. */
	return err_set(err, -ENOTSUP, "the engine '%s' cannot do %s%s", vm->engine_ops->name,
		       options[need],
		       vm->kernel.arch == KERNEL_X86_64
			       ? "; leave it out: no engine can that runs x86-64 guests"
			       : "; use --engine soft");
}

int debug_symbols(struct hako_vm *vm, const char *path, struct err *err)
{
	if (path)
		return symbols_open(&vm->symbols, path, err);
	/* Those of the kernel, if it is an ELF file that has some. */
	if (vm->kernel.n_segments && vm->kernel.fd >= 0 &&
	    (vm->report || vm->trace || vm->lint_deep))
		(void)symbols_open(&vm->symbols, vm->kernel.path, NULL);
	return 0;
}

int debug_trace_insns(struct hako_vm *vm, struct err *err)
{
	int res = debug_check(vm, DEBUG_INSNS, err);

	if (!res && vm->engine_ops->debug->trace_insns(vm->engine, INSNS_TRACED))
		res = err_set(err, -ENOMEM, "no memory for a trace of instructions");
	return res;
}

void debug_tell_insns(struct hako_vm *vm)
{
	struct debug_insn insn;
	char who[16], name[96];

	for (unsigned i = 0; i < vm->n_cpus; i++) {
		struct vcpu *vcpu = vm->cpus[i].vcpu;
		snprintf(who, sizeof(who), "cpu%u", i);
		for (size_t back = INSNS_TRACED; back--;) {
			if (!vm->engine_ops->debug->traced(vcpu, back, &insn))
				continue;
			symbols_name(vm->symbols, insn.pc, name, sizeof(name));
			/* RISC-V's compressed ones have half the digits. */
			bool half = vm->kernel.arch != KERNEL_ARM64 && (insn.word & 3) != 3;
			log_msg(&vm->log, LOG_TRACE, who, "0x%llx  %8.*x  %-12s%s", ull(insn.pc),
				half ? 4 : 8, insn.word, insn.name, name);
		}
	}
}

uint8_t debug_level(struct vm_cpu *cpu)
{
	if (cpu->vm->kernel.arch == KERNEL_ARM64)
		return (uint8_t)bits(debug_reg(cpu, "cpsr"), 3, 2);
	if (cpu->vm->kernel.arch == KERNEL_X86_64)
		return debug_reg(cpu, "cs") & 3;
	return (uint8_t)debug_reg(cpu, "priv");
}

bool debug_insn(struct vm_cpu *cpu, uint64_t va, uint32_t *insn)
{
	const struct walk_access a = { .va = va, .level = debug_level(cpu) };
	struct walk w;
	le32_t raw;

	walk_va(cpu, &a, &w);
	if (!w.ok || va % GMEM_PAGE_SIZE > GMEM_PAGE_SIZE - sizeof(raw) ||
	    gmem_read(cpu->vm->mem, w.pa, &raw, sizeof(raw)))
		return false;
	*insn = le32_get(raw);
	return true;
}

void walk_va(struct vm_cpu *cpu, const struct walk_access *access, struct walk *walk)
{
	memset(walk, 0, sizeof(*walk));
	if (cpu->vm->kernel.arch == KERNEL_ARM64)
		walk_a64(cpu, access, walk);
	else if (cpu->vm->kernel.arch == KERNEL_X86_64)
		walk_x86(cpu, access, walk);
	else
		walk_rv(cpu, access, walk);
}

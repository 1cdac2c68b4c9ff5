/* SPDX-License-Identifier: MIT */
/*
 * vCPUs that have stopped, and whom that concerns; registers by name. debug.h has the contract.
 */
#include "machine/debug.h"

#include <string.h>

#include "base/bits.h"
#include "machine/vm.h"
#include "machine/walk.h"

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

uint8_t debug_level(struct vm_cpu *cpu)
{
	if (cpu->vm->kernel.arch == KERNEL_ARM64)
		return (uint8_t)bits(debug_reg(cpu, "cpsr"), 3, 2);
	return (uint8_t)debug_reg(cpu, "priv");
}

void walk_va(struct vm_cpu *cpu, const struct walk_access *access, struct walk *walk)
{
	memset(walk, 0, sizeof(*walk));
	if (cpu->vm->kernel.arch == KERNEL_ARM64)
		walk_a64(cpu, access, walk);
	else
		walk_rv(cpu, access, walk);
}

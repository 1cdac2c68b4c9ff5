/* SPDX-License-Identifier: MIT */
/*
 * CPUs that get nowhere: hang.h has what that means.
 *
 * Each is looked at several times in a row, parked each time, and its states are remembered. Who
 * works has new ones. When all have been where they were before often enough, the whole of memory
 * is summed up, and at the next time again: loops that only count in memory differ.
 */
#include "machine/hang.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"
#include "machine/debug.h"
#include "machine/irq_view.h"
#include "machine/trace.h"
#include "machine/vm.h"
#include "machine/vm_disks.h"

/* LOOKS states of a CPU each time; HITS of them must be known ones, of at most STATES. */
enum { STATES = 32, LOOKS = 16, HITS = 24, HITS_MAX = 1024 };
/* A timer later than this is as good as none: so kernels switch it off. */
static const uint64_t hour_ns = 3600 * NS_PER_S;

struct hang_cpu {
	struct {
		uint64_t pc, sum;
	} states[STATES];
	unsigned n, hits;
};

struct hang {
	struct hako_vm *vm;
	struct hang_cpu cpus[HAKO_CPUS_MAX];
	uint64_t events; /* device accesses and firmware calls until the last look */
	unsigned hits;   /* that are enough; more once memory turned out to change */
	bool suspected;  /* memory was summed up */
	uint64_t memory;
};

/* All registers but those of the system in a number. */
static uint64_t sum_of(struct vm_cpu *cpu)
{
	const struct debug_ops *ops = cpu->vm->engine_ops->debug;
	uint64_t sum = 0xcbf29ce484222325; /* FNV-1a */
	struct debug_reg reg;

	for (size_t i = 0; ops->reg(cpu->vm->engine, i, &reg) && !reg.system; i++) {
		uint8_t val[DEBUG_REG_MAX] = { 0 };
		ops->reg_get(cpu->vcpu, i, val);
		for (size_t k = 0; k < sizeof(val); k++)
			sum = (sum ^ val[k]) * 0x100000001b3;
	}
	return sum ^ debug_level(cpu);
}

static bool is_arm64(const struct vm_cpu *cpu)
{
	return cpu->vm->kernel.arch == KERNEL_ARM64;
}

void irq_view(struct vm_cpu *cpu, struct irq_view *view)
{
	if (is_arm64(cpu))
		irq_view_a64(cpu, view);
	else
		irq_view_rv(cpu, view);
}

/* Has it just executed WFI, and would still be in there but for our look at it? */
bool hang_waits(struct vm_cpu *cpu)
{
	struct irq_view view;
	uint32_t insn = 0;

	debug_insn(cpu, debug_reg(cpu, "pc") - 4, &insn);
	irq_view(cpu, &view);
	return !view.pending && (is_arm64(cpu) ? irq_is_wfi_a64(insn) : irq_is_wfi_rv(insn));
}

/* Does the loop that it is in ask for pending interrupts, or the time? */
static bool polls(struct vm_cpu *cpu, const struct hang_cpu *c)
{
	enum { AROUND = 64 /* bytes, each way */ };
	unsigned step = is_arm64(cpu) ? 4 : 2;

	for (unsigned i = 0; i < c->n; i++)
		for (uint64_t at = c->states[i].pc - AROUND; at != c->states[i].pc + AROUND;
		     at += step) {
			uint32_t insn = 0;
			debug_insn(cpu, at, &insn);
			if (is_arm64(cpu) ? irq_is_poll_a64(insn) : irq_is_poll_rv(insn))
				return true;
		}
	return false;
}

/* One look at a parked CPU. True: it has often been where it was before. */
static bool recurs(struct hang *h, struct vm_cpu *cpu)
{
	struct hang_cpu *c = &h->cpus[cpu->index];
	uint64_t pc = debug_reg(cpu, "pc"), sum = sum_of(cpu);

	for (unsigned i = 0; i < c->n; i++)
		if (c->states[i].pc == pc && c->states[i].sum == sum)
			return ++c->hits >= h->hits;
	if (c->n == STATES)
		c->n = c->hits = 0;
	c->states[c->n].pc = pc;
	c->states[c->n++].sum = sum;
	return false;
}

static void forget(struct hang *h)
{
	for (unsigned i = 0; i < h->vm->n_cpus; i++)
		h->cpus[i].n = h->cpus[i].hits = 0;
	h->suspected = false;
}

/* All are parked, and seem to go round. Could anything from outside free this one? */
static bool reachable(struct hang *h, struct vm_cpu *cpu)
{
	struct hako_vm *vm = h->vm;
	struct irq_view view;

	irq_view(cpu, &view);
	if (view.coming)
		return true;
	uint8_t seen = view.taken;
	if (hang_waits(cpu))
		seen |= view.wakes;
	if (polls(cpu, &h->cpus[cpu->index]))
		seen = IRQ_DEVICE | IRQ_TIMER;
	uint64_t timer = clock_next(vm->clock);
	bool due = timer != UINT64_MAX && timer < clock_now(vm->clock) + hour_ns;
	/* From other CPUs nothing comes: they are as this one. */
	return ((seen & IRQ_TIMER) && (due || view.timer)) ||
	       ((seen & IRQ_DEVICE) && vm->board_ops->wakeable(vm));
}

/* How often something happened that ends what was known of CPUs. They are parked, or about to. */
static uint64_t events(struct hang *h)
{
	uint64_t n = trace_count(h->vm);

	for (unsigned i = 0; i < h->vm->n_cpus; i++)
		n += h->vm->cpus[i].calls;
	return n;
}

/* Paused, if true. */
static bool all_recur(struct hang *h)
{
	struct hako_vm *vm = h->vm;

	for (unsigned look = 0; look < LOOKS; look++) {
		bool all = true, any = false;

		vm_pause(vm);
		uint64_t n = events(h);
		if (n != h->events)
			forget(h);
		h->events = n;
		for (unsigned i = 0; i < vm->n_cpus; i++)
			if (vm->cpus[i].state == CPU_ON) {
				any = true;
				all &= recurs(h, &vm->cpus[i]);
			}
		if (all && any)
			return true;
		vm_resume(vm);
	}
	return false;
}

bool hang_look(struct hang *h)
{
	struct hako_vm *vm = h->vm;
	bool free = false;

	if (!all_recur(h))
		return false;
	for (unsigned i = 0; i < vm->n_cpus && !free; i++)
		free = vm->cpus[i].state == CPU_ON && reachable(h, &vm->cpus[i]);
	if (!free)
		free = vm_disks_busy(vm);
	uint64_t memory = free ? 0 : gmem_sum(vm->mem);
	if (!free && h->suspected && memory == h->memory)
		return true;
	if (!free && h->suspected) {
		/* It counts in memory. Do not sum it up each time. */
		forget(h);
		h->hits = h->hits < HITS_MAX ? h->hits * 2 : h->hits;
	} else {
		h->suspected = !free;
		h->memory = memory;
	}
	vm_resume(vm);
	return false;
}

int hang_create(struct hang **out, struct hako_vm *vm, struct err *err)
{
	struct hang *h = calloc(1, sizeof(*h));

	if (!h)
		return err_set(err, -ENOMEM, "no memory for reports");
	h->vm = vm;
	h->hits = HITS;
	*out = h;
	return 0;
}

void hang_destroy(struct hang *h)
{
	free(h);
}

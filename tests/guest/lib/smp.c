/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guests: the other CPUs, and work for them. Work is handed over in memory, with WFE and
 * SEV; it needs neither interrupts nor atomics.
 */
#include "guest.h"

void secondary_start(void);

unsigned cpu_count(void)
{
	unsigned n = 1;

	while (n < MAX_CPUS && psci(PSCI_AFFINITY_INFO, n, 0, 0) >= 0)
		n++;
	return n;
}

static void worker(void)
{
	struct cpu *c = this_cpu();

	sctlr(SCTLR_PLAIN);
	mmu_on();
	for (;;) {
		while (!c->working)
			asm volatile("wfe");
		DMB();
		c->work(c->work_arg);
		DMB();
		c->working = 0;
		DSB();
		asm volatile("sev");
	}
}

void smp_start(void)
{
	mmu_on(); /* the tables are there before the others come */
	for (unsigned i = 1; i < cpu_count(); i++) {
		cpus[i].main = worker;
		DSB();
		if (psci(PSCI_CPU_ON, i, (u64)secondary_start, (u64)&cpus[i]))
			bail("CPU_ON failed");
	}
}

void smp_run(unsigned cpu, void (*work)(u64), u64 arg)
{
	struct cpu *c = &cpus[cpu];

	c->work = work;
	c->work_arg = arg;
	DMB();
	c->working = 1;
	DSB();
	asm volatile("sev");
}

void smp_wait(unsigned cpu)
{
	while (cpus[cpu].working)
		asm volatile("wfe");
	DMB();
}

void smp_all(void (*work)(u64))
{
	unsigned n = cpu_count();

	for (unsigned i = 1; i < n; i++)
		smp_run(i, work, i);
	work(0);
	for (unsigned i = 1; i < n; i++)
		smp_wait(i);
}

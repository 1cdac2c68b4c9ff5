/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: every CPU is off by CPU_OFF. hako sees that nothing can run again.
 */
#include "guest.h"

static void off(u64 i)
{
	(void)i;
	psci(PSCI_CPU_OFF, 0, 0, 0);
	bail("CPU_OFF returned");
}

void guest_main(void)
{
	unsigned n = cpu_count();

	smp_start();
	for (unsigned i = 1; i < n; i++)
		smp_run(i, off, 0);
	bool ok = true;
	for (unsigned i = 1; i < n; i++)
		while (psci(PSCI_AFFINITY_INFO, i, 0, 0) == 0)
			asm volatile("yield");
	check(ok, "the others are off");
	note_plan(11);
	off(0);
}

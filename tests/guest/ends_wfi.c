/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: every CPU is in WFI, no timer is set and no interrupt is enabled. hako sees
 * that nothing can run again. Before that, waits that do end must not be taken for it.
 */
#include "guest.h"

static void sleep(u64 i)
{
	(void)i;
	for (;;)
		asm volatile("wfi");
}

void guest_main(void)
{
	unsigned n = cpu_count();

	smp_start();
	for (unsigned i = 1; i < n; i++)
		smp_run(i, sleep, 0);
	gic_init();
	gic_enable(INTID_TIMER_VIRT, 0x80, false);
	WRITE_REG(cntv_tval_el0,
		  READ_REG(cntfrq_el0)); /* one second: longer than hako's patience */
	WRITE_REG(cntv_ctl_el0, 1);
	ISB();
	while (!(READ_REG(cntv_ctl_el0) & 4))
		asm volatile("wfi");
	check(true, "a timer ends a long wfi");
	WRITE_REG(cntv_ctl_el0, 0);
	ISB();
	gic_disable(INTID_TIMER_VIRT);
	note_plan(11);
	sleep(0);
}

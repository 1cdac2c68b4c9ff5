/* SPDX-License-Identifier: MIT */
/*
 * Two CPUs that count until a debugger sets `done`.
 */
#include "guest.h"

volatile unsigned counts[2], done;

__attribute__((noinline)) void work_first(unsigned n)
{
	counts[0] += n;
}

__attribute__((noinline)) void work_second(unsigned n)
{
	counts[1] += n;
}

void guest_second(void)
{
	for (;;)
		work_second(2);
}

void guest_main(void)
{
	print("counting\n");
	start_second();
	while (!done)
		work_first(1);
	print("done\n");
}

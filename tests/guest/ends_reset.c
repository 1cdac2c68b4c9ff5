/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: PSCI SYSTEM_RESET ends the machine when the runner asked for that
 * (--no-reboot).
 */
#include "guest.h"

void guest_main(void)
{
	check(true, "before the reset");
	note_plan(10);
	psci(PSCI_SYSTEM_RESET, 0, 0, 0);
	bail("SYSTEM_RESET returned");
}

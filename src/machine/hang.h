/* SPDX-License-Identifier: MIT */
/*
 * Do the guest's CPUs still get anywhere? For `--debug-guest`: hang.c asks, report.c tells.
 *
 * They do not when each of them comes back to the very state that it was in before (registers, and
 * all of memory), and nothing from outside can change that: no interrupt that it would take, or
 * see; no timer; no request that a disk still has; no register of a device that it reads, no call
 * of the firmware.
 *
 * Threads: the control thread's.
 */
#ifndef HAKO_MACHINE_HANG_H
#define HAKO_MACHINE_HANG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct hako_vm;
struct hang;
struct vm_cpu;

int hang_create(struct hang **hang, struct hako_vm *vm, struct err *err);
void hang_destroy(struct hang *hang);
/* Called every 200 ms. True: they never will get anywhere; they are left paused (vm_pause()). */
bool hang_look(struct hang *hang);

/* Is this parked CPU in WFI, rather than in a loop? */
bool hang_waits(struct vm_cpu *cpu);

#endif

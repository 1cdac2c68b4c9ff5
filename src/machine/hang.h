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

/* Kinds of interrupts. */
enum { IRQ_DEVICE = 1, IRQ_TIMER = 2, IRQ_CPU = 4 /* another CPU's */ };

/* What could interrupt a CPU that is parked. */
struct irq_view {
	uint8_t taken;   /* kinds that the CPU would take as it is */
	uint8_t wakes;   /* kinds that end WFI: more, where interrupts are masked */
	bool coming;     /* one is pending and will be taken */
	bool pending;    /* one is, masked or not: WFI does not wait */
	bool timer;      /* a timer is yet to come of which the machine's clock does not know */
	char words[256]; /* for the user: what is masked, enabled and pending */
};

/* By the architecture (irq_a64.c, irq_rv.c). */
void irq_view_a64(struct vm_cpu *cpu, struct irq_view *view);
void irq_view_rv(struct vm_cpu *cpu, struct irq_view *view);
void irq_view(struct vm_cpu *cpu, struct irq_view *view);

/* What the instruction at a place is; 32 bits, of which a compressed one uses half. */
bool irq_is_wfi_a64(uint32_t insn);
bool irq_is_wfi_rv(uint32_t insn);
/* Does it read which interrupts are pending, or the time? */
bool irq_is_poll_a64(uint32_t insn);
bool irq_is_poll_rv(uint32_t insn);

#endif

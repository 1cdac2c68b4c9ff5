/* SPDX-License-Identifier: MIT */
/*
 * What could interrupt a CPU of the guest, as its registers stand, and which instructions look at
 * that. For those who ask whether it will ever get further (hang.c), and tell why not (report.c).
 *
 * irq_a64.c and irq_rv.c are by the manuals of the two architectures; irq_view() takes the right
 * one. Registers are read by the engine's names (debug_reg()).
 *
 * Threads: the control thread; the CPU is parked.
 */
#ifndef HAKO_MACHINE_IRQ_VIEW_H
#define HAKO_MACHINE_IRQ_VIEW_H

#include <stdbool.h>
#include <stdint.h>

struct vm_cpu;

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

/* SPDX-License-Identifier: MIT */
/*
 * 16550A UART (TI PC16550D): transmit, receive, 16-byte FIFOs, interrupts, loopback. Eight byte
 * registers, as close together or far apart as the machine has them.
 *
 * Input stays with the host until the guest listens: it takes receive interrupts, or polls LSR.
 *
 * Threads: registers on vCPU threads, input and timers on the control loop; one mutex inside.
 */
#ifndef HAKO_DEVICE_NS16550_H
#define HAKO_DEVICE_NS16550_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/irq.h"

struct bus;
struct clock;
struct console;
struct err;
struct log;
struct ns16550;

struct ns16550_config {
	struct bus *bus;   /* of memory, or of I/O ports */
	uint64_t base;     /* a multiple of max_access */
	uint8_t reg_shift; /* register n is at n << reg_shift: 0 to 12 */
	/* Widest access: 1, 2, 4 or 8. A register is the low byte; what is above is zero. */
	uint8_t max_access;
	struct irq_line irq;
	struct console *con; /* outlives the last register access; the UART attaches itself */
	struct clock *clock;
	struct log *log;
};

int ns16550_create(struct ns16550 **uart, const struct ns16550_config *config, struct err *err);
void ns16550_destroy(struct ns16550 *uart);
void ns16550_reset(struct ns16550 *uart);

#endif

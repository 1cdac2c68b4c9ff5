/* SPDX-License-Identifier: MIT */
/*
 * PL011 UART (Arm DDI 0183): transmit, receive, 32-byte FIFOs, interrupts.
 *
 * Input stays with the host until the guest listens: it takes receive interrupts, or polls DR or
 * FR.
 *
 * Threads: registers on vCPU threads, input on the control loop; one mutex inside.
 */
#ifndef HAKO_DEVICE_PL011_H
#define HAKO_DEVICE_PL011_H

#include <stdint.h>

#include "bus/irq.h"

struct bus;
struct clock;
struct console;
struct err;
struct log;
struct pl011;

/* Attaches itself to `con`, which must outlive its last register access. */
int pl011_create(struct pl011 **uart, struct bus *bus, uint64_t base, struct irq_line irq,
		 struct console *con, struct clock *clock, struct log *log, struct err *err);
void pl011_destroy(struct pl011 *uart);
void pl011_reset(struct pl011 *uart);

#endif

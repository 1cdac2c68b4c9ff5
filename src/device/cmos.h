/* SPDX-License-Identifier: MIT */
/*
 * The PC's real-time clock and its battery-backed memory (Motorola MC146818A), ports 0x70 and 0x71:
 * the wall clock's time in UTC, which a guest may set for itself, with an alarm and an interrupt
 * each second or at a rate.
 *
 * Threads: registers on vCPU threads, interrupts on the control loop too; one mutex inside.
 */
#ifndef HAKO_DEVICE_CMOS_H
#define HAKO_DEVICE_CMOS_H

#include <stdint.h>

#include "bus/irq.h"

struct bus;
struct clock;
struct cmos;
struct err;

enum { CMOS_PORT = 0x70, CMOS_SIZE = 2 };

int cmos_create(struct cmos **cmos, struct bus *ports, struct irq_line irq, struct clock *clock,
		struct err *err);
void cmos_destroy(struct cmos *cmos);
/* No interrupts; the memory and the time stay, as with a battery. */
void cmos_reset(struct cmos *cmos);

#endif

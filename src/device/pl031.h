/* SPDX-License-Identifier: MIT */
/*
 * PL031 real-time clock (Arm DDI 0224): seconds since 1970, which a guest may set for itself, and
 * an alarm.
 *
 * Threads: registers on vCPU threads, the alarm on the control loop; one mutex inside.
 */
#ifndef HAKO_DEVICE_PL031_H
#define HAKO_DEVICE_PL031_H

#include <stdint.h>

#include "bus/irq.h"

struct bus;
struct clock;
struct err;
struct pl031;

int pl031_create(struct pl031 **rtc, struct bus *bus, uint64_t base, struct irq_line irq,
		 struct clock *clock, struct err *err);
void pl031_destroy(struct pl031 *rtc);
/* No alarm and no interrupt; the time goes on as it was set. */
void pl031_reset(struct pl031 *rtc);

#endif

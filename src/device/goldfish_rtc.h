/* SPDX-License-Identifier: MIT */
/*
 * Goldfish real-time clock, as QEMU's RISC-V `virt` machine has it ("google,goldfish-rtc"):
 * nanoseconds since 1970, which a guest may set for itself, and an alarm.
 *
 * Threads: registers on vCPU threads, the alarm on the control loop; one mutex inside.
 */
#ifndef HAKO_DEVICE_GOLDFISH_RTC_H
#define HAKO_DEVICE_GOLDFISH_RTC_H

#include <stdint.h>

#include "bus/irq.h"

struct bus;
struct clock;
struct err;
struct goldfish_rtc;

enum { GOLDFISH_RTC_SIZE = 0x1000 };

int goldfish_rtc_create(struct goldfish_rtc **rtc, struct bus *bus, uint64_t base,
			struct irq_line irq, struct clock *clock, struct err *err);
void goldfish_rtc_destroy(struct goldfish_rtc *rtc);
/* No alarm and no interrupt; the time goes on as it was set. */
void goldfish_rtc_reset(struct goldfish_rtc *rtc);

#endif

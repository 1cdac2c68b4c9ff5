/* SPDX-License-Identifier: MIT */
/*
 * PL031 real-time clock (Arm DDI 0224). Registers are cited by the manual's names less the "RTC"
 * prefix.
 *
 * The counter is the wall clock's seconds plus an offset, which LR sets. The alarm is a match of
 * the counter with MR. The clock's timers count nanoseconds of another clock, whose seconds do not
 * begin when the wall clock's do and which is not set, so the timer sleeps until the last second
 * and then looks often.
 */
#include "device/pl031.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "bus/clock.h"

/* DDI0224 table 3-1 */
enum pl031_reg {
	DR = 0x000,
	MR = 0x004,
	LR = 0x008,
	CR = 0x00c,
	IMSC = 0x010,
	RIS = 0x014,
	MIS = 0x018,
	ICR = 0x01c,
	PERIPH_ID0 = 0xfe0, /* to PCellID3 at 0xffc */
	PL031_SIZE = 0x1000,
};

#define NS_LAST_STEP (10 * NS_PER_MS) /* between looks in the last second before an alarm */

/* What a snapshot saves. */
struct pl031_state {
	uint32_t offset; /* DR less the wall clock's seconds */
	uint32_t mr, lr, imsc, ris;
	uint32_t armed; /* MR was reached neither yet nor before it was written */
};

struct pl031 {
	pthread_mutex_t lock; /* guards all below; taken before the clock's */
	struct pl031_state s;
	bool line;

	struct bus *bus;
	struct bus_region region;
	struct irq_line irq;
	struct clock *clock;
	struct clock_timer alarm;
};

static uint32_t pl031_count(const struct pl031 *rtc)
{
	return (uint32_t)clock_wall_seconds(rtc->clock) + rtc->s.offset;
}

static void pl031_update(struct pl031 *rtc)
{
	bool level = rtc->s.ris & rtc->s.imsc;

	if (level == rtc->line)
		return;
	rtc->line = level;
	irq_set(&rtc->irq, level);
}

/* Raise the alarm if its second has come, else see that we are called again. With the lock. */
static void pl031_look(struct pl031 *rtc)
{
	int32_t left = (int32_t)(rtc->s.mr - pl031_count(rtc));
	uint64_t wait = NS_LAST_STEP;

	if (!rtc->s.armed)
		return;
	if (left <= 0) { /* less when the host's clock was set forward */
		rtc->s.armed = 0;
		rtc->s.ris = 1;
		return;
	}
	if (left > 1)
		wait = ((uint32_t)left - 1) * NS_PER_S;
	/* Without memory for a timer there is no alarm; nobody could be told. */
	clock_arm(rtc->clock, &rtc->alarm, clock_now(rtc->clock) + wait);
}

/* MR or the counter was set. A moment in the past is never reached (it is, after 136 years). */
static void pl031_set_alarm(struct pl031 *rtc)
{
	rtc->s.armed = (int32_t)(rtc->s.mr - pl031_count(rtc)) >= 0;
	if (!rtc->s.armed)
		clock_cancel(rtc->clock, &rtc->alarm);
	pl031_look(rtc);
}

static void pl031_fire(struct clock_timer *timer)
{
	struct pl031 *rtc = container_of(timer, struct pl031, alarm);

	pthread_mutex_lock(&rtc->lock);
	pl031_look(rtc);
	pl031_update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

/* PeriphID0..3: part 0x031, designer Arm 0x41; PCellID0..3. */
static uint32_t pl031_id(uint64_t off)
{
	static const uint8_t id[] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	return id[(off - PERIPH_ID0) / 4];
}

static uint32_t pl031_reg_read(const struct pl031 *rtc, uint64_t off)
{
	switch (off) {
	case DR: return pl031_count(rtc);
	case MR: return rtc->s.mr;
	case LR: return rtc->s.lr;
	case CR: return 1; /* started; only a reset could stop it, and a machine's clock runs */
	case IMSC: return rtc->s.imsc;
	case RIS: return rtc->s.ris;
	case MIS: return rtc->s.ris & rtc->s.imsc;
	}
	return off >= PERIPH_ID0 && off % 4 == 0 ? pl031_id(off) : 0;
}

static void pl031_reg_write(struct pl031 *rtc, uint64_t off, uint32_t val)
{
	switch (off) {
	case MR:
		rtc->s.mr = val;
		pl031_set_alarm(rtc);
		break;
	case LR:
		rtc->s.lr = val;
		rtc->s.offset = val - (uint32_t)clock_wall_seconds(rtc->clock);
		if (rtc->s.armed)
			pl031_set_alarm(rtc);
		break;
	case IMSC: rtc->s.imsc = val & 1; break;
	case ICR: rtc->s.ris &= ~val; break;
	}
}

static uint64_t pl031_read(void *dev, uint64_t off, unsigned size)
{
	struct pl031 *rtc = dev;
	uint64_t val;

	pthread_mutex_lock(&rtc->lock);
	val = pl031_reg_read(rtc, off);
	pthread_mutex_unlock(&rtc->lock);
	return val & mask_low(8 * size);
}

static void pl031_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct pl031 *rtc = dev;

	pthread_mutex_lock(&rtc->lock);
	pl031_reg_write(rtc, off, (uint32_t)(val & mask_low(8 * size)));
	pl031_update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static const struct bus_ops pl031_ops = { .read = pl031_read, .write = pl031_write };

/* The time set by LR outlives a reset, as a battery-backed clock's does. */
void pl031_reset(struct pl031 *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	rtc->s = (struct pl031_state){ .offset = rtc->s.offset };
	clock_cancel(rtc->clock, &rtc->alarm);
	pl031_update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

int pl031_create(struct pl031 **out, struct bus *bus, uint64_t base, struct irq_line irq,
		 struct clock *clock, struct err *err)
{
	struct pl031 *rtc = calloc(1, sizeof(*rtc));
	int ret;

	if (!rtc)
		return err_set(err, -ENOMEM, "PL031: out of memory");
	pthread_mutex_init(&rtc->lock, NULL);
	rtc->bus = bus;
	rtc->irq = irq;
	rtc->clock = clock;
	rtc->alarm.fire = pl031_fire;
	rtc->region = (struct bus_region){
		.name = "PL031 RTC",
		.base = base,
		.size = PL031_SIZE,
		.min_access = 1,
		.max_access = 4,
		.ops = &pl031_ops,
		.dev = rtc,
	};
	ret = bus_add(bus, &rtc->region, err);
	if (ret) {
		pthread_mutex_destroy(&rtc->lock);
		free(rtc);
		return ret;
	}
	*out = rtc;
	return 0;
}

void pl031_destroy(struct pl031 *rtc)
{
	if (!rtc)
		return;
	bus_del(rtc->bus, &rtc->region);
	pl031_reset(rtc); /* so that fire(), if under way, does not arm anew */
	clock_disarm(rtc->clock, &rtc->alarm);
	pthread_mutex_destroy(&rtc->lock);
	free(rtc);
}

/* SPDX-License-Identifier: MIT */
/*
 * Goldfish real-time clock (the Android emulator's "Goldfish virtual hardware", section "Goldfish
 * real-time clock"). Register names are Linux's less the "TIMER" prefix.
 *
 * The time is the wall clock's nanoseconds plus an offset, which writing TIME sets. A 64-bit value
 * is read low half first, which latches the high half, and written high half first: the low half
 * makes it count.
 *
 * The clock's timers count nanoseconds of another clock than the wall's, which can be set; so the
 * timer of an alarm wakes up to look at least every second.
 */
#include "device/goldfish_rtc.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "bus/clock.h"

enum goldfish_rtc_reg {
	TIME_LOW = 0x00,
	TIME_HIGH = 0x04,
	ALARM_LOW = 0x08, /* written: sets the alarm */
	ALARM_HIGH = 0x0c,
	IRQ_ENABLED = 0x10,
	CLEAR_ALARM = 0x14,
	ALARM_STATUS = 0x18, /* 1: an alarm is to come */
	CLEAR_INTERRUPT = 0x1c,
};

/* What a snapshot saves. */
struct goldfish_rtc_state {
	uint64_t offset;               /* the time less the wall clock's */
	uint32_t time_high_read;       /* latched by a read of TIME_LOW */
	uint32_t time_high, alarm_low; /* as written */
	uint32_t alarm_high;
	bool armed, pending, enabled;
};

struct goldfish_rtc {
	pthread_mutex_t lock; /* guards all below; taken before the clock's */
	struct goldfish_rtc_state s;
	bool line;

	struct bus *bus;
	struct bus_region region;
	struct irq_line irq;
	struct clock *clock;
	struct clock_timer alarm;
};

static uint64_t goldfish_rtc_now(const struct goldfish_rtc *rtc)
{
	return clock_wall_ns(rtc->clock) + rtc->s.offset;
}

static void goldfish_rtc_update(struct goldfish_rtc *rtc)
{
	bool level = rtc->s.pending && rtc->s.enabled;

	if (level == rtc->line)
		return;
	rtc->line = level;
	irq_set(&rtc->irq, level);
}

/* Raise the alarm if its time has come, else see that we are called again. With the lock. */
static void goldfish_rtc_look(struct goldfish_rtc *rtc)
{
	struct goldfish_rtc_state *s = &rtc->s;
	uint64_t alarm = (uint64_t)s->alarm_high << 32 | s->alarm_low;
	uint64_t now = goldfish_rtc_now(rtc), wait = alarm - now;

	if (!s->armed) {
		clock_cancel(rtc->clock, &rtc->alarm);
	} else if (alarm <= now) {
		s->armed = false;
		s->pending = true;
		clock_cancel(rtc->clock, &rtc->alarm);
	} else {
		/* Without memory for a timer there is no alarm; nobody could be told. */
		clock_arm(rtc->clock, &rtc->alarm,
			  clock_now(rtc->clock) + (wait < NS_PER_S ? wait : NS_PER_S));
	}
}

static void goldfish_rtc_fire(struct clock_timer *timer)
{
	struct goldfish_rtc *rtc = container_of(timer, struct goldfish_rtc, alarm);

	pthread_mutex_lock(&rtc->lock);
	goldfish_rtc_look(rtc);
	goldfish_rtc_update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static uint32_t goldfish_rtc_reg_read(struct goldfish_rtc *rtc, uint64_t off)
{
	struct goldfish_rtc_state *s = &rtc->s;
	uint64_t now;

	switch (off) {
	case TIME_LOW:
		now = goldfish_rtc_now(rtc);
		s->time_high_read = (uint32_t)(now >> 32);
		return (uint32_t)now;
	case TIME_HIGH: return s->time_high_read;
	case ALARM_LOW: return s->alarm_low;
	case ALARM_HIGH: return s->alarm_high;
	case IRQ_ENABLED: return s->enabled;
	case ALARM_STATUS: return s->armed;
	}
	return 0;
}

static void goldfish_rtc_reg_write(struct goldfish_rtc *rtc, uint64_t off, uint32_t val)
{
	struct goldfish_rtc_state *s = &rtc->s;

	switch (off) {
	case TIME_LOW:
		s->offset = ((uint64_t)s->time_high << 32 | val) - clock_wall_ns(rtc->clock);
		break;
	case TIME_HIGH: s->time_high = val; return;
	case ALARM_LOW:
		s->alarm_low = val;
		s->armed = true;
		break;
	case ALARM_HIGH: s->alarm_high = val; return;
	case IRQ_ENABLED: s->enabled = val & 1; return;
	case CLEAR_ALARM: s->armed = false; break;
	case CLEAR_INTERRUPT: s->pending = false; return;
	default: return;
	}
	goldfish_rtc_look(rtc);
}

static uint64_t goldfish_rtc_read(void *dev, uint64_t off, unsigned size)
{
	struct goldfish_rtc *rtc = dev;
	uint64_t val;

	(void)size; /* 4 */
	pthread_mutex_lock(&rtc->lock);
	val = goldfish_rtc_reg_read(rtc, off);
	pthread_mutex_unlock(&rtc->lock);
	return val;
}

static void goldfish_rtc_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct goldfish_rtc *rtc = dev;

	(void)size;
	pthread_mutex_lock(&rtc->lock);
	goldfish_rtc_reg_write(rtc, off, (uint32_t)val);
	goldfish_rtc_update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static const struct bus_ops goldfish_rtc_ops = {
	.read = goldfish_rtc_read,
	.write = goldfish_rtc_write,
};

void goldfish_rtc_reset(struct goldfish_rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	rtc->s = (struct goldfish_rtc_state){ .offset = rtc->s.offset };
	goldfish_rtc_look(rtc);
	goldfish_rtc_update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

int goldfish_rtc_create(struct goldfish_rtc **out, struct bus *bus, uint64_t base,
			struct irq_line irq, struct clock *clock, struct err *err)
{
	struct goldfish_rtc *rtc = calloc(1, sizeof(*rtc));
	int ret;

	if (!rtc)
		return err_set(err, -ENOMEM, "Goldfish RTC: out of memory");
	pthread_mutex_init(&rtc->lock, NULL);
	rtc->bus = bus;
	rtc->irq = irq;
	rtc->clock = clock;
	rtc->alarm.fire = goldfish_rtc_fire;
	rtc->region = (struct bus_region){
		.name = "Goldfish RTC",
		.base = base,
		.size = GOLDFISH_RTC_SIZE,
		.min_access = 4,
		.max_access = 4,
		.ops = &goldfish_rtc_ops,
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

void goldfish_rtc_destroy(struct goldfish_rtc *rtc)
{
	if (!rtc)
		return;
	bus_del(rtc->bus, &rtc->region);
	clock_disarm(rtc->clock, &rtc->alarm);
	pthread_mutex_destroy(&rtc->lock);
	free(rtc);
}

/* SPDX-License-Identifier: MIT */
/*
 * MC146818A (Motorola data sheet; the names of registers and bits are its own). The century is
 * where the PC/AT has it.
 *
 * The time is the wall clock's plus an offset, which writing the time sets. UIP is set in the last
 * part of each second, so that who sees it clear has 244 us to read the time before it changes
 * (figure 12). While SET is set the time stands still, and what is written counts when SET is
 * cleared.
 *
 * What has happened is found out when somebody looks: from the time then and the time of the look
 * before. With an interrupt enabled, a timer looks when it may be due. It looks each second for an
 * alarm, as the timer counts another clock than the wall's, which can be set.
 */
#include "device/cmos.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "bus/clock.h"

enum cmos_reg {
	SECONDS = 0x00,
	SECONDS_ALARM = 0x01,
	MINUTES = 0x02,
	MINUTES_ALARM = 0x03,
	HOURS = 0x04,
	HOURS_ALARM = 0x05,
	DAY_OF_WEEK = 0x06, /* 1 is Sunday */
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	CENTURY = 0x32,
	N_REGS = 128,

	A_UIP = 1 << 7,
	A_RS = 0x0f,
	A_START = 0x26, /* a 32.768 kHz crystal, 1024 Hz */

	B_24H = 1 << 1,
	B_BINARY = 1 << 2,
	B_SET = 1 << 7,

	/* Interrupts: enabled in register B, there in register C */
	UPDATE = 1 << 4,
	ALARM = 1 << 5,
	PERIODIC = 1 << 6,
	INTERRUPTS = UPDATE | ALARM | PERIODIC,
	C_IRQF = 1 << 7, /* one that is enabled */

	D_VRT = 1 << 7, /* the battery is good */

	HOUR_PM = 1 << 7, /* of 12 */

	ALARM_ANY = 3 << 6, /* an alarm's register that fits whatever the time is */
};

#define UIP_NS (244000 + 1984000) /* the warning, and the update cycle */
enum { DAY_S = 24 * 60 * 60, CRYSTAL_HZ = 32768 };

struct cmos_state {
	uint8_t index;
	uint64_t offset;     /* the time less the wall clock's, ns */
	uint64_t looked;     /* the time of the last look, ns */
	uint8_t flags;       /* register C, without C_IRQF */
	uint8_t reg[N_REGS]; /* the time's registers: only while B_SET */
};

struct cmos {
	pthread_mutex_t lock; /* guards the state; taken before the clock's */
	struct cmos_state s;
	bool line;

	struct bus *bus;
	struct bus_region region;
	struct irq_line irq;
	struct clock *clock;
	struct clock_timer timer;
};

/* ---- Time; with the lock ---- */

static uint64_t now(const struct cmos *cmos)
{
	return clock_wall_ns(cmos->clock) + cmos->s.offset;
}

/* A number up to 99 as register B has it: BCD or binary. */
static uint8_t encode(uint8_t b, int val)
{
	return (uint8_t)(b & B_BINARY ? val : val / 10 << 4 | val % 10);
}

static int decode(uint8_t b, uint8_t reg)
{
	return b & B_BINARY ? reg : (reg >> 4) * 10 + (reg & 0xf);
}

static int decode_hour(uint8_t b, uint8_t reg)
{
	bool pm = !(b & B_24H) && (reg & HOUR_PM);
	int hour = decode(b, reg & (b & B_24H ? 0xff : (uint8_t)~HOUR_PM));

	return b & B_24H ? hour : hour % 12 + (pm ? 12 : 0);
}

static void put_time(struct cmos *cmos)
{
	time_t seconds = (time_t)(now(cmos) / NS_PER_S);
	uint8_t *reg = cmos->s.reg, b = reg[REG_B];
	struct tm t;

	gmtime_r(&seconds, &t);
	reg[SECONDS] = encode(b, t.tm_sec);
	reg[MINUTES] = encode(b, t.tm_min);
	if (b & B_24H)
		reg[HOURS] = encode(b, t.tm_hour);
	else
		reg[HOURS] = (uint8_t)(encode(b, (t.tm_hour + 11) % 12 + 1) |
				       (t.tm_hour >= 12 ? HOUR_PM : 0));
	reg[DAY_OF_WEEK] = encode(b, t.tm_wday + 1);
	reg[DAY] = encode(b, t.tm_mday);
	reg[MONTH] = encode(b, t.tm_mon + 1);
	reg[YEAR] = encode(b, t.tm_year % 100);
	reg[CENTURY] = encode(b, (t.tm_year + 1900) / 100 % 100);
}

/* Make what the registers say the time. Nonsense is what timegm() makes of it. */
static void take_time(struct cmos *cmos)
{
	const uint8_t *reg = cmos->s.reg, b = reg[REG_B];
	struct tm t = {
		.tm_sec = decode(b, reg[SECONDS]),
		.tm_min = decode(b, reg[MINUTES]),
		.tm_hour = decode_hour(b, reg[HOURS]),
		.tm_mday = decode(b, reg[DAY]),
		.tm_mon = decode(b, reg[MONTH]) - 1,
		.tm_year = decode(b, reg[CENTURY]) * 100 + decode(b, reg[YEAR]) - 1900,
	};

	cmos->s.offset = (uint64_t)timegm(&t) * NS_PER_S - clock_wall_ns(cmos->clock);
	cmos->s.looked = now(cmos);
}

/* ---- Interrupts; with the lock ---- */

static bool alarm_fits(const struct cmos_state *s, uint64_t second)
{
	const uint8_t *reg = s->reg, b = reg[REG_B];
	int now = (int)(second % DAY_S);

#define ANY(index) ((reg[index] & ALARM_ANY) == ALARM_ANY)
	return (ANY(SECONDS_ALARM) || decode(b, reg[SECONDS_ALARM]) == now % 60) &&
	       (ANY(MINUTES_ALARM) || decode(b, reg[MINUTES_ALARM]) == now / 60 % 60) &&
	       (ANY(HOURS_ALARM) || decode_hour(b, reg[HOURS_ALARM]) == now / 3600);
#undef ANY
}

/* Periods of the crystal between periodic interrupts (table 5); 0: none. */
static uint64_t period(uint8_t a)
{
	unsigned rs = a & A_RS;

	return rs == 0 ? 0 : rs <= 2 ? 1ULL << (rs + 6) : 1ULL << (rs - 1);
}

static uint64_t crystal(uint64_t ns)
{
	return ns / NS_PER_S * CRYSTAL_HZ + ns % NS_PER_S * CRYSTAL_HZ / NS_PER_S;
}

static void look(struct cmos *cmos)
{
	struct cmos_state *s = &cmos->s;
	uint64_t at = now(cmos), from = s->looked / NS_PER_S, to = at / NS_PER_S;
	uint64_t each = period(s->reg[REG_A]);

	/* A time that went back is a new one. */
	if (at > s->looked && !(s->reg[REG_B] & B_SET)) {
		if (to != from)
			s->flags |= UPDATE;
		/* After a day every alarm has been due. */
		for (uint64_t t = to - from > DAY_S ? to - DAY_S : from; t++ < to;)
			if (alarm_fits(s, t))
				s->flags |= ALARM;
	}
	if (at > s->looked && each && crystal(at) / each != crystal(s->looked) / each)
		s->flags |= PERIODIC;
	s->looked = at;
}

/* The line, and the timer for what is enabled and may come next. */
static void update(struct cmos *cmos)
{
	const struct cmos_state *s = &cmos->s;
	uint8_t enabled = s->reg[REG_B] & INTERRUPTS;
	bool level = s->flags & enabled;
	uint64_t ns = NS_PER_S - s->looked % NS_PER_S, each = period(s->reg[REG_A]);

	if (level != cmos->line) {
		cmos->line = level;
		irq_set(&cmos->irq, level);
	}
	if ((enabled & PERIODIC) && each) {
		uint64_t left = each - crystal(s->looked) % each;
		uint64_t left_ns = left * NS_PER_S / CRYSTAL_HZ + 1;

		ns = left_ns < ns ? left_ns : ns;
	}
	/* One that is up already waits for register C to be read. Without memory for a timer there
	 * are no interrupts; nobody could be told. */
	if (enabled && !level)
		clock_arm(cmos->clock, &cmos->timer, clock_now(cmos->clock) + ns);
	else
		clock_cancel(cmos->clock, &cmos->timer);
}

static void cmos_fire(struct clock_timer *timer)
{
	struct cmos *cmos = container_of(timer, struct cmos, timer);

	pthread_mutex_lock(&cmos->lock);
	look(cmos);
	update(cmos);
	pthread_mutex_unlock(&cmos->lock);
}

/* ---- Registers; with the lock ---- */

static bool is_time(uint8_t index)
{
	switch (index) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case DAY_OF_WEEK:
	case DAY:
	case MONTH:
	case YEAR:
	case CENTURY: return true;
	default: return false;
	}
}

static uint8_t reg_read(struct cmos *cmos, uint8_t index)
{
	struct cmos_state *s = &cmos->s;
	bool set = s->reg[REG_B] & B_SET;
	uint8_t flags;

	if (is_time(index) && !set)
		put_time(cmos);
	switch (index) {
	case REG_A: {
		bool uip = !set && now(cmos) % NS_PER_S >= NS_PER_S - UIP_NS;

		return (uint8_t)(s->reg[REG_A] | (uip ? A_UIP : 0));
	}
	case REG_C: /* reading clears it */
		look(cmos);
		flags = s->flags;
		s->flags = 0;
		update(cmos);
		return (uint8_t)(flags | (flags & s->reg[REG_B] ? C_IRQF : 0));
	case REG_D: return D_VRT;
	default: return s->reg[index];
	}
}

static void reg_write(struct cmos *cmos, uint8_t index, uint8_t val)
{
	struct cmos_state *s = &cmos->s;
	bool set = s->reg[REG_B] & B_SET;

	look(cmos);
	switch (index) {
	case REG_A: s->reg[REG_A] = val & (uint8_t)~A_UIP; break;
	case REG_B:
		if (!set && (val & B_SET))
			put_time(cmos);
		s->reg[REG_B] = val;
		if (set && !(val & B_SET))
			take_time(cmos);
		break;
	case REG_C:
	case REG_D: break; /* read-only */
	default:
		if (is_time(index) && !set)
			put_time(cmos);
		s->reg[index] = val;
		if (is_time(index) && !set)
			take_time(cmos);
	}
	update(cmos);
}

/* ---- Ports ---- */

static uint64_t cmos_read(void *dev, uint64_t off, unsigned size)
{
	struct cmos *cmos = dev;
	uint64_t val;

	(void)size; /* 1 */
	if (off == 0)
		return 0xff; /* the index cannot be read */
	pthread_mutex_lock(&cmos->lock);
	val = reg_read(cmos, cmos->s.index);
	pthread_mutex_unlock(&cmos->lock);
	return val;
}

static void cmos_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct cmos *cmos = dev;

	(void)size;
	pthread_mutex_lock(&cmos->lock);
	if (off == 0)
		cmos->s.index = (uint8_t)(val % N_REGS); /* bit 7 masks NMIs, which never come */
	else
		reg_write(cmos, cmos->s.index, (uint8_t)val);
	pthread_mutex_unlock(&cmos->lock);
}

static const struct bus_ops cmos_ops = { .read = cmos_read, .write = cmos_write };

/* RESET clears the interrupts and nothing else. */
void cmos_reset(struct cmos *cmos)
{
	pthread_mutex_lock(&cmos->lock);
	cmos->s.reg[REG_B] &= (uint8_t)~INTERRUPTS;
	cmos->s.flags = 0;
	update(cmos);
	pthread_mutex_unlock(&cmos->lock);
}

int cmos_create(struct cmos **out, struct bus *ports, struct irq_line irq, struct clock *clock,
		struct err *err)
{
	struct cmos *cmos = calloc(1, sizeof(*cmos));
	int ret;

	if (!cmos)
		return err_set(err, -ENOMEM, "real-time clock: out of memory");
	pthread_mutex_init(&cmos->lock, NULL);
	cmos->s.reg[REG_A] = A_START;
	cmos->s.reg[REG_B] = B_24H;
	cmos->bus = ports;
	cmos->irq = irq;
	cmos->clock = clock;
	cmos->timer.fire = cmos_fire;
	cmos->s.looked = now(cmos);
	cmos->region = (struct bus_region){
		.name = "real-time clock",
		.base = CMOS_PORT,
		.size = CMOS_SIZE,
		.min_access = 1,
		.max_access = 1,
		.ops = &cmos_ops,
		.dev = cmos,
	};
	ret = bus_add(ports, &cmos->region, err);
	if (ret) {
		pthread_mutex_destroy(&cmos->lock);
		free(cmos);
		return ret;
	}
	*out = cmos;
	return 0;
}

void cmos_destroy(struct cmos *cmos)
{
	if (!cmos)
		return;
	bus_del(cmos->bus, &cmos->region);
	clock_disarm(cmos->clock, &cmos->timer);
	pthread_mutex_destroy(&cmos->lock);
	free(cmos);
}

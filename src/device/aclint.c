/* SPDX-License-Identifier: MIT */
/*
 * ACLINT (RISC-V Advanced Core Local Interruptor specification 1.0): an MSWI and an MTIMER
 * device at the offsets of SiFive's CLINT (its section 1.1).
 *
 * MTIME is not kept but computed from the machine's clock. A comparison that is yet to come arms a
 * timer of that clock per hart.
 */
#include "device/aclint.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "bus/clock.h"

enum {
	MSIP = 0x0000,     /* + 4 * hart */
	MTIMECMP = 0x4000, /* + 8 * hart */
	MTIME = 0xbff8,
	NS_PER_TICK = NS_PER_S / ACLINT_TIMEBASE,
};

/* What a snapshot saves. */
struct aclint_state {
	uint64_t ahead; /* MTIME less the clock's ticks */
	struct {
		uint64_t mtimecmp;
		bool compares; /* MTIMECMP was written, half of it maybe, since the reset */
		uint32_t msip; /* bit 0 */
	} cpu[ACLINT_MAX_CPUS];
};

struct aclint_cpu {
	struct aclint *aclint;
	struct clock_timer timer; /* armed while MTIMECMP is to come */
	bool msip, mtip;          /* the hart's inputs */
};

struct aclint {
	pthread_mutex_t lock; /* guards all below; taken before the clock's */
	struct aclint_state s;
	struct aclint_cpu cpu[ACLINT_MAX_CPUS];

	struct aclint_config config;
	struct bus_region region;
	struct log_limit limit;
};

/*
 * The model. With the lock held.
 */

static uint64_t aclint_ticks(const struct aclint *aclint)
{
	return clock_now(aclint->config.clock) / NS_PER_TICK;
}

static uint64_t aclint_mtime(const struct aclint *aclint)
{
	return aclint_ticks(aclint) + aclint->s.ahead;
}

/*
 * MTIMECMP, or what it is compared with, changed: MTIP is the comparison (2.3), and when it
 * will change by itself, a timer tells.
 */
static void aclint_compare(struct aclint *aclint, unsigned i)
{
	struct aclint_cpu *cpu = &aclint->cpu[i];
	struct clock *clock = aclint->config.clock;
	uint64_t ticks = aclint_ticks(aclint), mtime = ticks + aclint->s.ahead;
	uint64_t cmp = aclint->s.cpu[i].mtimecmp;
	bool level = aclint->s.cpu[i].compares && mtime >= cmp;
	uint64_t left = level ? 0 : cmp - mtime;

	/* A deadline past the end of the clock, 584 years, is never. */
	if (level || !aclint->s.cpu[i].compares || left > UINT64_MAX / NS_PER_TICK - ticks)
		clock_cancel(clock, &cpu->timer);
	else
		/* Without memory for a timer there is no interrupt; nobody could be told. */
		clock_arm(clock, &cpu->timer, (ticks + left) * NS_PER_TICK);
	if (level == cpu->mtip)
		return;
	cpu->mtip = level;
	aclint->config.mtip(aclint->config.arg, i, level);
}

static void aclint_compare_all(struct aclint *aclint)
{
	for (unsigned i = 0; i < aclint->config.n_cpus; i++)
		aclint_compare(aclint, i);
}

static void aclint_set_msip(struct aclint *aclint, unsigned i, uint32_t val)
{
	bool level = val & 1; /* the other bits are zero (3.2) */

	aclint->s.cpu[i].msip = level;
	if (level == aclint->cpu[i].msip)
		return;
	aclint->cpu[i].msip = level;
	aclint->config.msip(aclint->config.arg, i, level);
}

static void aclint_set_ahead(struct aclint *aclint, uint64_t ahead)
{
	if (ahead == aclint->s.ahead)
		return;
	aclint->s.ahead = ahead;
	if (aclint->config.time_set)
		aclint->config.time_set(aclint->config.arg, ahead);
	aclint_compare_all(aclint);
}

static void aclint_fire(struct clock_timer *timer)
{
	struct aclint_cpu *cpu = container_of(timer, struct aclint_cpu, timer);
	struct aclint *aclint = cpu->aclint;

	pthread_mutex_lock(&aclint->lock);
	aclint_compare(aclint, (unsigned)(cpu - aclint->cpu));
	pthread_mutex_unlock(&aclint->lock);
}

/*
 * Registers. A 64-bit one takes accesses to its halves, which is all that RV32 has; MSIP is 32 bits
 * wide, and an access of 64 takes two harts' at once.
 */

/* The 64 bits at `off`, a multiple of 8. Harts that are not there read as zero. */
static uint64_t aclint_reg_read(struct aclint *aclint, uint64_t off)
{
	uint64_t hart = off / 4, cmp = (off - MTIMECMP) / 8, val = 0;

	if (off == MTIME)
		return aclint_mtime(aclint);
	if (off >= MTIMECMP && cmp < aclint->config.n_cpus)
		return aclint->s.cpu[cmp].mtimecmp;
	if (hart < aclint->config.n_cpus)
		val = aclint->s.cpu[hart].msip;
	if (hart + 1 < aclint->config.n_cpus)
		val |= (uint64_t)aclint->s.cpu[hart + 1].msip << 32;
	return val;
}

/* Of the 64 bits at `off`, set those in `mask`. */
static void aclint_reg_write(struct aclint *aclint, uint64_t off, uint64_t val, uint64_t mask)
{
	uint64_t hart = off / 4, cmp = (off - MTIMECMP) / 8;

	if (off == MTIME) {
		uint64_t mtime = aclint_mtime(aclint);

		aclint_set_ahead(aclint, aclint->s.ahead + ((mtime & ~mask) | val) - mtime);
	} else if (off >= MTIMECMP && cmp < aclint->config.n_cpus) {
		uint64_t *reg = &aclint->s.cpu[cmp].mtimecmp;

		*reg = (*reg & ~mask) | val;
		aclint->s.cpu[cmp].compares = true;
		aclint_compare(aclint, (unsigned)cmp);
	} else if (hart < aclint->config.n_cpus) {
		if (mask & 1)
			aclint_set_msip(aclint, (unsigned)hart, (uint32_t)val);
		if (mask >> 32 && hart + 1 < aclint->config.n_cpus)
			aclint_set_msip(aclint, (unsigned)hart + 1, (uint32_t)(val >> 32));
	} else {
		log_guest(aclint->config.log, &aclint->limit, LOG_DEBUG, "aclint",
			  "write at %#llx, where no register is", (unsigned long long)off);
	}
}

static uint64_t aclint_read(void *dev, uint64_t off, unsigned size)
{
	struct aclint *aclint = dev;
	unsigned shift = (unsigned)(8 * (off % 8));
	uint64_t val;

	pthread_mutex_lock(&aclint->lock);
	val = aclint_reg_read(aclint, align_down(off, 8));
	pthread_mutex_unlock(&aclint->lock);
	return val >> shift & mask_low(8 * size);
}

static void aclint_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct aclint *aclint = dev;
	unsigned shift = (unsigned)(8 * (off % 8));
	uint64_t mask = mask_low(8 * size) << shift;

	pthread_mutex_lock(&aclint->lock);
	aclint_reg_write(aclint, align_down(off, 8), val << shift & mask, mask);
	pthread_mutex_unlock(&aclint->lock);
}

static const struct bus_ops aclint_ops = { .read = aclint_read, .write = aclint_write };

/*
 * Life.
 */

void aclint_reset(struct aclint *aclint)
{
	pthread_mutex_lock(&aclint->lock);
	for (unsigned i = 0; i < aclint->config.n_cpus; i++) {
		aclint_set_msip(aclint, i, 0);
		/* Unknown after a reset (2.3). Zero, as on QEMU: RV32 programs write the lower half
		 * and are done. But until then there is no interrupt. */
		aclint->s.cpu[i].mtimecmp = 0;
		aclint->s.cpu[i].compares = false;
	}
	/* To zero, says 2.2; but the clock goes on, and `time` with it. */
	aclint_set_ahead(aclint, 0);
	aclint_compare_all(aclint);
	pthread_mutex_unlock(&aclint->lock);
}

bool aclint_any_armed(struct aclint *aclint)
{
	bool armed = false;

	pthread_mutex_lock(&aclint->lock);
	for (unsigned i = 0; i < aclint->config.n_cpus; i++)
		armed = armed || (aclint->s.cpu[i].compares && !aclint->cpu[i].mtip &&
				  aclint->s.cpu[i].mtimecmp != UINT64_MAX);
	pthread_mutex_unlock(&aclint->lock);
	return armed;
}

int aclint_create(struct aclint **out, const struct aclint_config *config, struct err *err)
{
	struct aclint *aclint;
	int ret;

	if (!config->n_cpus || config->n_cpus > ACLINT_MAX_CPUS)
		return err_set(err, -EINVAL, "ACLINT: %u CPUs: it serves 1 to %d", config->n_cpus,
			       ACLINT_MAX_CPUS);
	aclint = calloc(1, sizeof(*aclint));
	if (!aclint)
		return err_set(err, -ENOMEM, "ACLINT: out of memory");
	pthread_mutex_init(&aclint->lock, NULL);
	aclint->config = *config;
	for (unsigned i = 0; i < ACLINT_MAX_CPUS; i++) {
		aclint->cpu[i].aclint = aclint;
		aclint->cpu[i].timer.fire = aclint_fire;
	}
	aclint->region = (struct bus_region){
		.name = "ACLINT",
		.base = config->base,
		.size = ACLINT_SIZE,
		.min_access = 4,
		.max_access = 8,
		.ops = &aclint_ops,
		.dev = aclint,
	};
	ret = bus_add(config->bus, &aclint->region, err);
	if (ret) {
		pthread_mutex_destroy(&aclint->lock);
		free(aclint);
		return ret;
	}
	*out = aclint;
	return 0;
}

void aclint_destroy(struct aclint *aclint)
{
	if (!aclint)
		return;
	bus_del(aclint->config.bus, &aclint->region);
	for (unsigned i = 0; i < aclint->config.n_cpus; i++)
		clock_disarm(aclint->config.clock, &aclint->cpu[i].timer);
	pthread_mutex_destroy(&aclint->lock);
	free(aclint);
}

/* SPDX-License-Identifier: MIT */
/*
 * ACLINT: software interrupts, the time, comparisons now and later, halves of registers; accesses
 * that no driver would make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "device/aclint.h"
#include "host/loop.h"

#define BASE 0x02000000ULL

enum { N_CPUS = 3 };
enum { MSIP = 0, MTIMECMP = 0x4000, MTIME = 0xbff8 };
enum { TICKS_PER_MS = ACLINT_TIMEBASE / 1000 };

struct fixture {
	struct loop *loop;
	struct clock *clock;
	struct bus *bus;
	struct aclint *aclint;
	bool msip[N_CPUS], mtip[N_CPUS];
	uint64_t ahead;
};

static void set_msip(void *arg, unsigned cpu, bool level)
{
	struct fixture *f = arg;

	assert_true(cpu < N_CPUS && f->msip[cpu] != level);
	f->msip[cpu] = level;
}
static void set_mtip(void *arg, unsigned cpu, bool level)
{
	struct fixture *f = arg;

	assert_true(cpu < N_CPUS && f->mtip[cpu] != level);
	f->mtip[cpu] = level;
}
static void time_set(void *arg, uint64_t ahead)
{
	struct fixture *f = arg;

	f->ahead = ahead;
}

static uint64_t rd(struct fixture *f, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->bus, BASE + off, size, &val), 0);
	return val;
}
static void wr(struct fixture *f, uint64_t off, unsigned size, uint64_t val)
{
	assert_int_equal(bus_write(f->bus, BASE + off, size, val), 0);
}
/* Run the loop until the hart's timer interrupt is up, at most for `ms`. */
static void wait_mtip(struct fixture *f, unsigned cpu, unsigned ms)
{
	for (unsigned i = 0; i < ms && !f->mtip[cpu]; i++) {
		poll(NULL, 0, 1);
		loop_stop(f->loop);
		assert_int_equal(loop_run(f->loop), 0);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;
	struct aclint_config config;

	assert_non_null(f);
	assert_int_equal(loop_create(&f->loop, &err), 0);
	assert_int_equal(clock_create(&f->clock, f->loop, &err), 0);
	assert_int_equal(bus_create(&f->bus, &err), 0);
	config = (struct aclint_config){
		.bus = f->bus,
		.base = BASE,
		.n_cpus = N_CPUS,
		.clock = f->clock,
		.msip = set_msip,
		.mtip = set_mtip,
		.time_set = time_set,
		.arg = f,
	};
	assert_int_equal(aclint_create(&f->aclint, &config, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	aclint_destroy(f->aclint);
	bus_destroy(f->bus);
	clock_destroy(f->clock);
	loop_destroy(f->loop);
	free(f);
	return 0;
}

static void software_interrupts(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < N_CPUS; i++) {
		assert_int_equal(rd(f, MSIP + 4 * i, 4), 0);
		wr(f, MSIP + 4 * i, 4, 0xffffffff);
		assert_true(f->msip[i]);
		assert_int_equal(rd(f, MSIP + 4 * i, 4), 1);
		wr(f, MSIP + 4 * i, 4, 0xfffffffe);
		assert_false(f->msip[i]);
		assert_int_equal(rd(f, MSIP + 4 * i, 4), 0);
	}
	wr(f, MSIP + 4 * N_CPUS, 4, 1);
	assert_int_equal(rd(f, MSIP + 4 * N_CPUS, 4), 0);
	/* Two at once, and the last beside one that is not there. */
	wr(f, MSIP, 8, BIT(32));
	assert_true(!f->msip[0] && f->msip[1]);
	assert_int_equal(rd(f, MSIP, 8), BIT(32));
	wr(f, MSIP + 8, 8, BIT(32) | 1);
	assert_true(f->msip[2]);
	assert_int_equal(rd(f, MSIP + 8, 8), 1);
	aclint_reset(f->aclint);
	assert_false(f->msip[1] || f->msip[2]);
	assert_int_equal(rd(f, MSIP, 8), 0);
}

static void time_passes(void **state)
{
	struct fixture *f = *state;
	uint64_t before = clock_now(f->clock), mtime = rd(f, MTIME, 8), again;

	assert_in_range(mtime, before / 100, clock_now(f->clock) / 100);
	poll(NULL, 0, 2);
	again = rd(f, MTIME, 8);
	assert_true(again >= mtime + 2 * TICKS_PER_MS);
	assert_true(rd(f, MTIME, 4) >= again); /* its low half */
	assert_int_equal(rd(f, MTIME + 4, 4), 0);

	/* Set, as a whole and by halves; the harts' time follows, until a reset. */
	wr(f, MTIME, 8, 0);
	assert_true(rd(f, MTIME, 8) < 10000 * TICKS_PER_MS);
	assert_in_range(clock_now(f->clock) / 100 + f->ahead - rd(f, MTIME, 8) + 100, 0, 100);
	wr(f, MTIME + 4, 4, 0x1234);
	assert_int_equal(rd(f, MTIME + 4, 4), 0x1234);
	wr(f, MTIME, 4, 0xffff0000);
	assert_true(rd(f, MTIME, 8) >= 0x1234ffff0000);
	wr(f, MTIME, 8, UINT64_MAX - 5);
	poll(NULL, 0, 1);
	assert_true(rd(f, MTIME, 8) < 10000 * TICKS_PER_MS); /* it wraps */
	aclint_reset(f->aclint);
	assert_int_equal(f->ahead, 0);
	assert_true(rd(f, MTIME, 8) >= again);
}

static void comparisons(void **state)
{
	struct fixture *f = *state;
	uint64_t at;

	for (unsigned i = 0; i < N_CPUS; i++) {
		assert_int_equal(rd(f, MTIMECMP + 8 * i, 8), 0);
		assert_false(f->mtip[i]); /* nobody has asked for it */
		wr(f, MTIMECMP + 8 * i, 8, 0);
		assert_true(f->mtip[i]);
		wr(f, MTIMECMP + 8 * i, 8, UINT64_MAX);
		assert_false(f->mtip[i]);
	}
	wr(f, MTIMECMP + 8 * N_CPUS, 8, 0);
	assert_int_equal(rd(f, MTIMECMP + 8 * N_CPUS, 8), 0);

	at = rd(f, MTIME, 8) + 5 * TICKS_PER_MS;
	wr(f, MTIMECMP + 8, 8, at);
	assert_int_equal(rd(f, MTIMECMP + 8, 8), at);
	assert_false(f->mtip[1]);
	wait_mtip(f, 1, 5000);
	assert_true(f->mtip[1]);
	assert_true(rd(f, MTIME, 8) >= at);
	assert_false(f->mtip[0] || f->mtip[2]);

	/* By halves, as RV32 does it: -1, high, low. */
	at = rd(f, MTIME, 8) + 5 * TICKS_PER_MS;
	wr(f, MTIMECMP + 8, 4, ~0u);
	wr(f, MTIMECMP + 12, 4, (uint32_t)(at >> 32));
	assert_false(f->mtip[1]);
	wr(f, MTIMECMP + 8, 4, (uint32_t)at);
	assert_int_equal(rd(f, MTIMECMP + 8, 4), (uint32_t)at);
	assert_int_equal(rd(f, MTIMECMP + 12, 4), at >> 32);
	assert_false(f->mtip[1]);
	wait_mtip(f, 1, 5000);
	assert_true(f->mtip[1]);

	/* Moved away before it came. */
	wr(f, MTIMECMP, 8, rd(f, MTIME, 8) + 2 * TICKS_PER_MS);
	wr(f, MTIMECMP, 8, UINT64_MAX - 1);
	wait_mtip(f, 0, 5);
	assert_false(f->mtip[0]);
	/* The time comes to it, and goes away from it. */
	wr(f, MTIMECMP, 8, 1ULL << 40);
	wr(f, MTIME, 8, (1ULL << 40) - 2 * TICKS_PER_MS);
	assert_false(f->mtip[0]);
	wait_mtip(f, 0, 5000);
	assert_true(f->mtip[0]);
	wr(f, MTIME, 8, 0);
	assert_false(f->mtip[0]);
	/* A reset of the machine. */
	wr(f, MTIMECMP, 8, 0);
	aclint_reset(f->aclint);
	assert_false(f->mtip[0]);
	assert_int_equal(rd(f, MTIMECMP, 8), 0);
	/* The lower half alone, as programs for RV32 do it that never run for long. */
	wr(f, MTIME, 8, 0);
	wr(f, MTIMECMP, 4, 2 * TICKS_PER_MS);
	wait_mtip(f, 0, 5000);
	assert_true(f->mtip[0]);
}

static void refused(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct aclint *aclint;
	struct aclint_config config = { .bus = f->bus, .base = BASE, .clock = f->clock };
	uint64_t val;

	assert_int_equal(bus_read(f->bus, BASE, 2, &val), -EINVAL);
	assert_int_equal(bus_read(f->bus, BASE + 4, 8, &val), -EINVAL);
	assert_int_equal(aclint_create(&aclint, &config, &err), -EINVAL);
	config.n_cpus = ACLINT_MAX_CPUS + 1;
	assert_int_equal(aclint_create(&aclint, &config, &err), -EINVAL);
	config.n_cpus = 1;
	assert_int_equal(aclint_create(&aclint, &config, &err), -EEXIST);
}

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void random_accesses(void **state)
{
	static const uint16_t places[] = { MSIP, MTIMECMP, MTIME, 0 };
	struct fixture *f = *state;
	uint64_t seed = 42;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t r = random_next(&seed), val = random_next(&seed) >> r % 64;
		unsigned size = r & 64 ? 8 : 4;
		uint64_t off = places[r / 128 % 4] + (r >> 32) % 48;

		off = align_down(r & 512 ? off : r >> 40, size) % ACLINT_SIZE;
		if (r & 1024)
			rd(f, off, size);
		else
			wr(f, off, size, r & 2048 ? val : rd(f, MTIME, 8) + val % 64);
		if (r % 4096 == 0) {
			loop_stop(f->loop);
			assert_int_equal(loop_run(f->loop), 0);
		}
		if (r % 4096 == 1)
			aclint_reset(f->aclint);
		for (unsigned cpu = 0; cpu < N_CPUS; cpu++) {
			assert_int_equal(f->msip[cpu], rd(f, MSIP + 4 * cpu, 4));
			/* It comes when the loop runs, but never too early. */
			assert_true(!f->mtip[cpu] ||
				    rd(f, MTIMECMP + 8 * cpu, 8) <= rd(f, MTIME, 8) || f->ahead);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(software_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(time_passes, setup, teardown),
		cmocka_unit_test_setup_teardown(comparisons, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(random_accesses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

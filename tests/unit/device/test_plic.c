/* SPDX-License-Identifier: MIT */
/*
 * PLIC as a driver sees it: registers, claim and complete, priorities and thresholds, gateways,
 * contexts; and accesses that no driver would make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "device/plic.h"

#define BASE 0x0c000000ULL

enum { N_CPUS = 4, N_CONTEXTS = 2 * N_CPUS };
enum { PENDING = 0x1000, ENABLE = 0x2000, THRESHOLD = 0x200000, CLAIM = 0x200004 };
enum { M0 = 0, S0 = 1, M1 = 2, S1 = 3 }; /* contexts */

struct fixture {
	struct bus *bus;
	struct plic *plic;
	bool out[N_CONTEXTS];
};

static void cpu_irq(void *arg, unsigned cpu, bool is_m, bool level)
{
	struct fixture *f = arg;
	unsigned context = 2 * cpu + !is_m;

	assert_true(cpu < N_CPUS);
	assert_true(f->out[context] != level);
	f->out[context] = level;
}

static uint32_t rd(struct fixture *f, uint64_t off)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->bus, BASE + off, 4, &val), 0);
	return (uint32_t)val;
}
static void wr(struct fixture *f, uint64_t off, uint32_t val)
{
	assert_int_equal(bus_write(f->bus, BASE + off, 4, val), 0);
}
static void line(struct fixture *f, unsigned source, bool level)
{
	struct irq_line l = plic_source(f->plic, source);

	irq_set(&l, level);
}
static void enable(struct fixture *f, unsigned context, unsigned source)
{
	uint64_t off = ENABLE + 0x80 * context + source / 32 * 4;

	wr(f, off, rd(f, off) | 1u << source % 32);
}
static void disable(struct fixture *f, unsigned context, unsigned source)
{
	uint64_t off = ENABLE + 0x80 * context + source / 32 * 4;

	wr(f, off, rd(f, off) & ~(1u << source % 32));
}
static void threshold(struct fixture *f, unsigned context, uint32_t val)
{
	wr(f, THRESHOLD + 0x1000 * context, val);
}
static uint32_t claim(struct fixture *f, unsigned context)
{
	return rd(f, CLAIM + 0x1000 * context);
}
static void complete(struct fixture *f, unsigned context, uint32_t source)
{
	wr(f, CLAIM + 0x1000 * context, source);
}
static bool pending(struct fixture *f, unsigned source)
{
	return rd(f, PENDING + source / 32 * 4) >> source % 32 & 1;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;
	struct plic_config config;

	assert_non_null(f);
	assert_int_equal(bus_create(&f->bus, &err), 0);
	config = (struct plic_config){
		.bus = f->bus, .base = BASE, .n_cpus = N_CPUS, .cpu_irq = cpu_irq, .arg = f
	};
	assert_int_equal(plic_create(&f->plic, &config, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	plic_destroy(f->plic);
	bus_destroy(f->bus);
	free(f);
	return 0;
}

/* Which bits are there. */
static void registers(void **state)
{
	struct fixture *f = *state;

	for (unsigned source = 0; source < PLIC_N_SOURCES; source++) {
		assert_int_equal(rd(f, 4 * source), 0);
		wr(f, 4 * source, ~0u);
		assert_int_equal(rd(f, 4 * source), source ? 7 : 0);
	}
	wr(f, 4 * PLIC_N_SOURCES, ~0u);
	assert_int_equal(rd(f, 4 * PLIC_N_SOURCES), 0);
	for (unsigned i = 0; i < N_CONTEXTS + 2; i++) {
		bool there = i < N_CONTEXTS;

		for (unsigned w = 0; w < 4; w++) {
			uint64_t off = ENABLE + 0x80 * i + 4 * w;

			assert_int_equal(rd(f, off), 0);
			wr(f, off, ~0u);
			assert_int_equal(rd(f, off), !there || w == 3 ? 0 : ~(w ? 0u : 1u));
		}
		threshold(f, i, ~0u);
		assert_int_equal(rd(f, THRESHOLD + 0x1000 * i), there ? 7 : 0);
		assert_int_equal(claim(f, i), 0);
	}
	for (unsigned w = 0; w < 4; w++) { /* read-only */
		wr(f, PENDING + 4 * w, ~0u);
		assert_int_equal(rd(f, PENDING + 4 * w), 0);
	}
	for (unsigned i = 0; i < N_CONTEXTS; i++)
		assert_false(f->out[i]);
	plic_reset(f->plic);
	assert_int_equal(rd(f, 4), 0);
	assert_int_equal(rd(f, ENABLE), 0);
	assert_int_equal(rd(f, THRESHOLD), 0);
}

static void claim_and_complete(void **state)
{
	struct fixture *f = *state;

	line(f, 10, true);
	assert_true(pending(f, 10)); /* whether anyone wants it or not */
	assert_int_equal(claim(f, S0), 0);
	enable(f, S0, 10);
	assert_false(f->out[S0]); /* priority 0 never interrupts */
	assert_int_equal(claim(f, S0), 0);
	wr(f, 4 * 10, 1);
	assert_true(f->out[S0]);
	assert_false(f->out[M0]);
	assert_int_equal(claim(f, S0), 10);
	assert_false(f->out[S0]);
	assert_false(pending(f, 10));
	assert_int_equal(claim(f, S0), 0);

	/* The gateway is closed until completion; a line still high is a new request then. */
	line(f, 10, false);
	line(f, 10, true);
	assert_false(pending(f, 10));
	complete(f, S0, 10);
	assert_true(pending(f, 10));
	assert_true(f->out[S0]);
	assert_int_equal(claim(f, S0), 10);
	line(f, 10, false);
	complete(f, S0, 10);
	assert_false(pending(f, 10));
	assert_false(f->out[S0]);

	/* A request outlives the line that made it. */
	line(f, 10, true);
	line(f, 10, false);
	assert_true(f->out[S0]);
	assert_int_equal(claim(f, S0), 10);

	/* Completion counts only where the source is enabled, but for whoever claimed it. */
	line(f, 10, true);
	complete(f, S1, 10);
	assert_false(f->out[S0]);
	disable(f, S0, 10);
	complete(f, S0, 10);
	enable(f, S0, 10);
	assert_false(f->out[S0]);
	complete(f, S0, 11);
	complete(f, S0, 0);
	complete(f, S0, 96);
	complete(f, S0, ~0u);
	assert_false(f->out[S0]);
	enable(f, S1, 10);
	complete(f, S1, 10);
	assert_true(f->out[S0] && f->out[S1]);
}

static void priorities(void **state)
{
	static const uint8_t order[] = { 95, 31, 32, 64, 1 }, prio[] = { 7, 5, 5, 5, 1 };
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		wr(f, 4 * order[i], prio[i]);
		enable(f, M1, order[i]);
		line(f, order[i], true);
	}
	/* Not above the threshold: no interrupt, but it can be claimed. */
	threshold(f, M1, 7);
	assert_false(f->out[M1]);
	threshold(f, M1, 6);
	assert_true(f->out[M1]);
	assert_int_equal(claim(f, M1), 95);
	assert_false(f->out[M1]);
	assert_int_equal(claim(f, M1), 31);
	threshold(f, M1, 0);
	for (unsigned i = 2; i < ARRAY_SIZE(order); i++) {
		assert_true(f->out[M1]);
		assert_int_equal(claim(f, M1), order[i]);
	}
	assert_false(f->out[M1]);
	/* A priority that changes is a change of the interrupt. */
	complete(f, M1, 1);
	assert_true(f->out[M1]);
	wr(f, 4, 0);
	assert_false(f->out[M1]);
	wr(f, 4, 3);
	assert_true(f->out[M1]);
}

/* Several contexts are told, one gets it. */
static void contexts(void **state)
{
	struct fixture *f = *state;

	wr(f, 4 * 40, 2);
	assert_false(plic_any_enabled(f->plic));
	for (unsigned i = 0; i < N_CONTEXTS; i++)
		enable(f, i, 40);
	assert_true(plic_any_enabled(f->plic));
	line(f, 40, true);
	for (unsigned i = 0; i < N_CONTEXTS; i++)
		assert_true(f->out[i]);
	assert_int_equal(claim(f, S1), 40);
	for (unsigned i = 0; i < N_CONTEXTS; i++) {
		assert_false(f->out[i]);
		assert_int_equal(claim(f, i), 0);
		threshold(f, i, 2);
	}
	assert_false(plic_any_enabled(f->plic));

	/* A reset: the line is still high, and pending, but nobody wants it. */
	plic_reset(f->plic);
	assert_true(pending(f, 40));
	wr(f, 4 * 40, 1);
	enable(f, M0, 40);
	assert_true(f->out[M0]);
	plic_reset(f->plic);
	assert_false(f->out[M0]);
}

static void not_sources(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct plic *plic;
	struct plic_config config = { .bus = f->bus, .base = BASE + PLIC_SIZE, .cpu_irq = cpu_irq };
	uint64_t val;

	line(f, 0, true); /* not connected to anything */
	line(f, PLIC_N_SOURCES, true);
	line(f, ~0u, true);
	for (unsigned w = 0; w < 4; w++)
		assert_int_equal(rd(f, PENDING + 4 * w), 0);
	assert_int_equal(bus_read(f->bus, BASE, 1, &val), -EINVAL);
	assert_int_equal(bus_read(f->bus, BASE, 8, &val), -EINVAL);
	assert_int_equal(plic_create(&plic, &config, &err), -EINVAL);
	config.n_cpus = PLIC_MAX_CPUS + 1;
	assert_int_equal(plic_create(&plic, &config, &err), -EINVAL);
	config.n_cpus = 1;
	config.base = BASE;
	assert_int_equal(plic_create(&plic, &config, &err), -EEXIST);
}

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Each output is what the registers say, whatever was done; nothing claimed is claimed twice. */
static void random_accesses(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 815, claimed[2] = { 0 };

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t r = random_next(&seed);
		unsigned context = (unsigned)(r / 16 % N_CONTEXTS);
		unsigned source = (unsigned)(r / 256 % PLIC_N_SOURCES);
		uint32_t val = (uint32_t)random_next(&seed), got;

		switch (r % 16) {
		case 0: wr(f, (r >> 32) % PLIC_SIZE & ~3ULL, val); break;
		case 1: rd(f, ((r >> 32) % 0x200000) & ~3ULL); break;
		case 2: threshold(f, context, val); break;
		case 3: wr(f, 4 * source, val); break;
		case 4: enable(f, context, source); break;
		case 5: disable(f, context, source); break;
		case 6:
			complete(f, context, source);
			got = rd(f, ENABLE + 0x80 * context + source / 32 * 4);
			if (bit(got, source % 32))
				claimed[source / 64] &= ~BIT(source % 64);
			break;
		case 7:
		case 8:
			got = claim(f, context);
			assert_true(got < PLIC_N_SOURCES);
			if (got) {
				assert_false(bit(claimed[got / 64], got % 64));
				claimed[got / 64] |= BIT(got % 64);
			}
			break;
		default: line(f, source, r & 0x10000); break;
		}
		if (i % 64 == 0)
			for (context = 0; context < N_CONTEXTS; context++) {
				bool want = false;

				for (source = 1; source < PLIC_N_SOURCES; source++)
					want |= pending(f, source) &&
						bit(rd(f,
						       ENABLE + 0x80 * context + source / 32 * 4),
						    source % 32) &&
						rd(f, 4 * source) >
							rd(f, THRESHOLD + 0x1000 * context);
				assert_int_equal(f->out[context], want);
			}
		if (i % 10000 == 9999) {
			plic_reset(f->plic);
			claimed[0] = claimed[1] = 0;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(claim_and_complete, setup, teardown),
		cmocka_unit_test_setup_teardown(priorities, setup, teardown),
		cmocka_unit_test_setup_teardown(contexts, setup, teardown),
		cmocka_unit_test_setup_teardown(not_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(random_accesses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

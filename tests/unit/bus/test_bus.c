/* SPDX-License-Identifier: MIT */
/*
 * Address dispatch: who answers, which widths, doorbells.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "host/notifier.h"
#include "host/thread.h"

struct dev {
	struct bus_region region;
	unsigned reads, writes, size;
	uint64_t off, val;
};

static uint64_t dev_read(void *dev, uint64_t off, unsigned size)
{
	struct dev *d = dev;

	d->reads++;
	d->off = off;
	d->size = size;
	return d->val;
}

static void dev_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct dev *d = dev;

	d->writes++;
	d->off = off;
	d->size = size;
	d->val = val;
}

static const struct bus_ops dev_ops = { .read = dev_read, .write = dev_write };

static struct bus_region *region(struct dev *d, const char *name, uint64_t base, uint64_t size,
				 uint8_t min, uint8_t max)
{
	memset(d, 0, sizeof(*d));
	d->region = (struct bus_region){ .name = name,
					 .base = base,
					 .size = size,
					 .min_access = min,
					 .max_access = max,
					 .ops = &dev_ops,
					 .dev = d };
	return &d->region;
}

static int set_up(void **state)
{
	return bus_create((struct bus **)state, NULL);
}

static int tear_down(void **state)
{
	bus_destroy(*state);
	return 0;
}

static void an_empty_bus_answers_nothing(void **state)
{
	uint64_t val = 7;

	assert_int_equal(bus_read(*state, 0, 4, &val), -ENXIO);
	assert_int_equal(bus_write(*state, UINT64_MAX, 1, 0), -ENXIO);
	assert_int_equal(val, 7);
	bus_destroy(NULL);
}

static void the_right_region_answers(void **state)
{
	struct bus *bus = *state;
	struct dev d[40];
	uint64_t val;

	/* In an order that is not theirs, and with gaps. */
	for (unsigned i = 0; i < 40; i++) {
		unsigned k = i * 7 % 40;

		assert_int_equal(bus_add(bus, region(&d[k], "d", k * 0x400ULL, 0x200, 1, 8), NULL),
				 0);
	}
	for (unsigned k = 0; k < 40; k++) {
		d[k].val = 100 + k;
		assert_int_equal(bus_read(bus, k * 0x400ULL + 0x1f8, 8, &val), 0);
		assert_true(val == 100 + k);
		assert_true(d[k].off == 0x1f8 && d[k].size == 8 && d[k].reads == 1);
		assert_int_equal(bus_read(bus, k * 0x400ULL + 0x200, 1, &val), -ENXIO);
	}
	bus_del(bus, &d[3].region);
	bus_del(bus, &d[3].region); /* not there: nothing happens */
	assert_int_equal(bus_read(bus, 3 * 0x400, 4, &val), -ENXIO);
	assert_int_equal(bus_read(bus, 2 * 0x400, 4, &val), 0);
	assert_int_equal(bus_read(bus, 4 * 0x400, 4, &val), 0);
}

static void widths_and_alignment(void **state)
{
	struct bus *bus = *state;
	struct dev d;
	uint64_t val;

	assert_int_equal(bus_add(bus, region(&d, "regs", 0x1000, 0x100, 2, 4), NULL), 0);
	assert_int_equal(bus_read(bus, 0x1000, 1, &val), -EINVAL);
	assert_int_equal(bus_read(bus, 0x1000, 8, &val), -EINVAL);
	assert_int_equal(bus_read(bus, 0x1000, 3, &val), -EINVAL);
	assert_int_equal(bus_read(bus, 0x1000, 0, &val), -EINVAL);
	assert_int_equal(bus_read(bus, 0x1002, 4, &val), -EINVAL);
	assert_int_equal(bus_write(bus, 0x1001, 2, 0), -EINVAL);
	assert_int_equal(bus_write(bus, 0x10fe, 4, 0), -ENXIO); /* half of it is outside */
	assert_int_equal(bus_write(bus, 0xffe, 4, 0), -ENXIO);
	assert_int_equal(d.reads + d.writes, 0);
	assert_int_equal(bus_write(bus, 0x10fe, 2, 0), 0);
	assert_int_equal(bus_write(bus, 0x10fc, 4, 0), 0);
	assert_int_equal(d.writes, 2);
}

static void values_are_cut_to_their_width(void **state)
{
	struct bus *bus = *state;
	struct dev d;
	uint64_t val;

	assert_int_equal(bus_add(bus, region(&d, "regs", 0, 8, 1, 8), NULL), 0);
	assert_int_equal(bus_write(bus, 0, 2, 0x123456789), 0);
	assert_true(d.val == 0x6789);
	assert_int_equal(bus_write(bus, 0, 8, UINT64_MAX), 0);
	assert_true(d.val == UINT64_MAX);
	assert_int_equal(bus_read(bus, 0, 4, &val), 0);
	assert_true(val == UINT32_MAX);
}

static void regions_do_not_overlap(void **state)
{
	struct bus *bus = *state;
	struct err e = ERR_INIT;
	struct dev a, b;

	assert_int_equal(bus_add(bus, region(&a, "uart", 0x9000000, 0x1000, 1, 4), &e), 0);
	assert_int_equal(bus_add(bus, region(&b, "rtc", 0x9000ff8, 0x1000, 4, 4), &e), -EEXIST);
	assert_non_null(strstr(e.msg, "uart"));
	assert_non_null(strstr(e.msg, "rtc"));
	assert_int_equal(bus_add(bus, region(&b, "rtc", 0x8fff000, 0x1004, 4, 4), NULL), -EEXIST);
	assert_int_equal(bus_add(bus, region(&b, "rtc", 0, UINT64_MAX, 4, 4), NULL), -EEXIST);
	assert_int_equal(bus_add(bus, region(&b, "rtc", 0x9000000, 4, 4, 4), NULL), -EEXIST);
	assert_int_equal(bus_add(bus, region(&b, "rtc", 0x8fff000, 0x1000, 4, 4), NULL), 0);
}

static void malformed_regions_are_refused(void **state)
{
	struct bus *bus = *state;
	struct err e = ERR_INIT;
	struct dev d;

	assert_int_equal(bus_add(bus, region(&d, "x", 0x1000, 0, 1, 4), &e), -EINVAL);
	assert_non_null(strstr(e.msg, "x"));
	assert_int_equal(bus_add(bus, region(&d, "x", 0x1000, 16, 0, 4), NULL), -EINVAL);
	assert_int_equal(bus_add(bus, region(&d, "x", 0x1000, 16, 1, 16), NULL), -EINVAL);
	assert_int_equal(bus_add(bus, region(&d, "x", 0x1000, 16, 1, 3), NULL), -EINVAL);
	assert_int_equal(bus_add(bus, region(&d, "x", 0x1000, 16, 4, 2), NULL), -EINVAL);
	assert_int_equal(bus_add(bus, region(&d, "x", 0x1002, 16, 1, 4), NULL), -EINVAL);
	assert_int_equal(bus_add(bus, region(&d, "x", UINT64_MAX - 7, 16, 1, 4), NULL), -EINVAL);
	region(&d, "x", 0x1000, 16, 1, 4)->ops = NULL;
	assert_int_equal(bus_add(bus, &d.region, NULL), -EINVAL);
	/* To the very top is fine. */
	assert_int_equal(bus_add(bus, region(&d, "x", UINT64_MAX - 15, 16, 1, 4), NULL), 0);
	assert_int_equal(bus_write(bus, UINT64_MAX, 1, 0), 0);
	assert_int_equal(bus_write(bus, UINT64_MAX - 3, 4, 0), 0);
	assert_int_equal(bus_write(bus, UINT64_MAX - 1, 4, 0), -ENXIO);
}

static void doorbells(void **state)
{
	struct bus *bus = *state;
	struct notifier n0, n1;
	struct dev d, other;

	notifier_init(&n0, NULL);
	notifier_init(&n1, NULL);
	assert_int_equal(
		bus_doorbell_add(bus, region(&d, "blk", 0xa000000, 0x200, 1, 4), 0x50, 0, &n0),
		-EINVAL); /* not on the bus */
	assert_int_equal(bus_add(bus, &d.region, NULL), 0);
	assert_int_equal(bus_add(bus, region(&other, "blk", 0xa000200, 0x200, 1, 4), NULL), 0);
	assert_int_equal(bus_doorbell_add(bus, &d.region, 0x200, 0, &n0), -EINVAL);
	assert_int_equal(bus_doorbell_add(bus, &d.region, 0x50, 0, &n0), 0);
	assert_int_equal(bus_doorbell_add(bus, &d.region, 0x50, 1, &n1), 0);
	assert_int_equal(bus_doorbell_add(bus, &d.region, 0x50, 1, &n0), -EEXIST);

	assert_int_equal(bus_write(bus, 0xa000050, 4, 1), 0);
	assert_true(notifier_clear(&n1));
	assert_false(notifier_clear(&n0));
	assert_int_equal(bus_write(bus, 0xa000050, 2, 0xffff0000), 0); /* cut to 0 */
	assert_true(notifier_clear(&n0));
	assert_int_equal(d.writes, 0);

	/* Another value, another offset, another region, a read: the device's. */
	assert_int_equal(bus_write(bus, 0xa000050, 4, 2), 0);
	assert_int_equal(bus_write(bus, 0xa000054, 4, 0), 0);
	assert_int_equal(bus_write(bus, 0xa000250, 4, 0), 0);
	assert_int_equal(bus_write(bus, 0xa000050, 8, 0), -EINVAL);
	assert_int_equal(bus_read(bus, 0xa000050, 4, &(uint64_t){ 0 }), 0);
	assert_int_equal(d.writes, 2);
	assert_int_equal(d.reads, 1);
	assert_int_equal(other.writes, 1);
	assert_false(notifier_clear(&n0) || notifier_clear(&n1));

	bus_doorbell_del(bus, &d.region, 0x50, 0);
	bus_doorbell_del(bus, &d.region, 0x50, 0);
	bus_doorbell_del(bus, &d.region, 0x50, 9);
	assert_int_equal(bus_write(bus, 0xa000050, 4, 0), 0);
	assert_int_equal(d.writes, 3);
	assert_int_equal(bus_write(bus, 0xa000050, 4, 1), 0);
	assert_true(notifier_clear(&n1));

	/* A region takes its doorbells with it. */
	bus_del(bus, &d.region);
	assert_int_equal(bus_add(bus, &d.region, NULL), 0);
	assert_int_equal(bus_write(bus, 0xa000050, 4, 1), 0);
	assert_int_equal(d.writes, 4);
	notifier_fini(&n0);
	notifier_fini(&n1);
}

/* An engine that takes doorbells of even values, and what it was told. */
struct ringer {
	unsigned added, deleted;
	uint64_t addr;
	uint32_t match;
	struct notifier *notifier;
};

static int ringer_add(void *arg, uint64_t addr, uint32_t match, struct notifier *notifier)
{
	struct ringer *r = arg;

	if (match % 2)
		return -ENOSPC;
	*r = (struct ringer){ r->added + 1, r->deleted, addr, match, notifier };
	return 0;
}

static void ringer_del(void *arg, uint64_t addr, uint32_t match, struct notifier *notifier)
{
	struct ringer *r = arg;

	*r = (struct ringer){ r->added, r->deleted + 1, addr, match, notifier };
}

static void an_engine_is_told_of_doorbells(void **state)
{
	static const struct bus_engine_ops ops = { .doorbell_add = ringer_add,
						   .doorbell_del = ringer_del };
	struct bus *bus = *state;
	struct ringer r = { 0 };
	struct notifier n;
	struct dev d;

	notifier_init(&n, NULL);
	bus_set_engine(bus, &ops, &r);
	assert_int_equal(bus_add(bus, region(&d, "blk", 0xa000000, 0x200, 1, 4), NULL), 0);
	assert_int_equal(bus_doorbell_add(bus, &d.region, 0x50, 2, &n), 0);
	assert_int_equal(r.added, 1);
	assert_int_equal(r.addr, 0xa000050);
	assert_int_equal(r.match, 2);
	assert_ptr_equal(r.notifier, &n);
	assert_int_equal(bus_doorbell_add(bus, &d.region, 0x50, 2, &n), -EEXIST);
	assert_int_equal(r.added, 1);

	/* The one that it refuses works all the same, and it hears no more of it. */
	assert_int_equal(bus_doorbell_add(bus, &d.region, 0x50, 3, &n), 0);
	assert_int_equal(bus_write(bus, 0xa000050, 4, 3), 0);
	assert_true(notifier_clear(&n));
	bus_doorbell_del(bus, &d.region, 0x50, 3);
	assert_int_equal(r.deleted, 0);

	/* The one that it took is also rung by what comes to the bus. */
	assert_int_equal(bus_write(bus, 0xa000050, 2, 2), 0);
	assert_true(notifier_clear(&n));
	bus_doorbell_del(bus, &d.region, 0x50, 2);
	assert_int_equal(r.deleted, 1);
	assert_int_equal(r.addr, 0xa000050);
	assert_int_equal(r.match, 2);

	/* A region that goes takes its doorbells with it. */
	assert_int_equal(bus_doorbell_add(bus, &d.region, 0x50, 4, &n), 0);
	bus_del(bus, &d.region);
	assert_int_equal(r.deleted, 2);
	assert_int_equal(r.match, 4);
	bus_set_engine(bus, NULL, NULL);
	notifier_fini(&n);
}

static int mirror_add(void *arg, uint64_t addr, const void *memory)
{
	uint64_t *at = arg;

	assert_non_null(memory);
	*at = addr;
	return 0;
}

static void mirror_del(void *arg, uint64_t addr)
{
	uint64_t *at = arg;

	assert_int_equal(*at, addr);
	*at = 0;
}

static void mirror_written(void *arg, const void *from, size_t len)
{
	uint64_t *at = arg;

	assert_ptr_equal(from, at);
	*at += len;
}

static void a_page_of_one_kind_can_be_mirrored(void **state)
{
	const struct bus_ops other_ops = dev_ops;
	static const struct bus_engine_ops ops = { .mirror_add = mirror_add,
						   .mirror_del = mirror_del,
						   .mirror_written = mirror_written };
	struct bus *bus = *state;
	struct dev d, like, unlike, across;
	uint64_t at = 0;

	assert_int_equal(bus_mirror_add(bus, 0xa000000, bus), -EINVAL);
	assert_int_equal(bus_add(bus, region(&d, "a", 0xa000000, 0x200, 4, 4), NULL), 0);
	assert_int_equal(bus_mirror_add(bus, 0xa000000, bus), -ENOTSUP);
	bus_mirror_written(bus, &at, 4);
	assert_int_equal(at, 0);
	bus_set_engine(bus, &ops, &at);
	assert_int_equal(bus_mirror_add(bus, 0xa000000, bus), 0);
	assert_int_equal(at, 0xa000000);
	bus_mirror_del(bus, 0xa000000);
	assert_int_equal(at, 0);
	bus_mirror_written(bus, &at, 4);
	assert_int_equal(at, 4);
	/* With another of its kind too; not with others, nor in the middle of a page. */
	assert_int_equal(bus_add(bus, region(&like, "b", 0xa000200, 0x200, 4, 4), NULL), 0);
	assert_int_equal(bus_mirror_add(bus, 0xa000000, bus), 0);
	assert_int_equal(bus_mirror_add(bus, 0xa000200, bus), -EINVAL);
	region(&unlike, "c", 0xa000ff0, 0x10, 4, 4)->ops = &other_ops;
	assert_int_equal(bus_add(bus, &unlike.region, NULL), 0);
	assert_int_equal(bus_mirror_add(bus, 0xa000000, bus), -EINVAL);
	/* One that is in two pages is in none. */
	assert_int_equal(bus_add(bus, region(&across, "d", 0xb000800, 0x1000, 4, 4), NULL), 0);
	assert_int_equal(bus_mirror_add(bus, 0xb000000, bus), -EINVAL);
	assert_int_equal(bus_mirror_add(bus, 0xb001000, bus), -EINVAL);
	bus_set_engine(bus, NULL, NULL);
}

/* Doorbells come and go while vCPUs write: each write reaches the notifier or the device. */
struct kicker {
	struct bus *bus;
	atomic_bool stop;
};

static atomic_uint *device_hits(void *dev)
{
	return dev;
}

static uint64_t hit_read(void *dev, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return atomic_load(device_hits(dev));
}

static void hit_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	(void)off;
	(void)size;
	(void)val;
	atomic_fetch_add(device_hits(dev), 1);
}

static void *kick(void *arg)
{
	struct kicker *k = arg;

	while (!atomic_load(&k->stop))
		bus_write(k->bus, 0x50, 4, 0);
	return NULL;
}

static void doorbells_change_while_vcpus_run(void **state)
{
	static const struct bus_ops ops = { .read = hit_read, .write = hit_write };
	atomic_uint hits = 0;
	struct bus_region r = { .name = "blk",
				.size = 0x200,
				.min_access = 1,
				.max_access = 4,
				.ops = &ops,
				.dev = &hits };
	struct kicker k = { .bus = *state };
	pthread_t t[2];

	assert_int_equal(bus_add(*state, &r, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(thread_create(&t[i], "vcpu", kick, &k, NULL), 0);
	for (int i = 0; i < 200; i++) {
		struct notifier n;

		assert_int_equal(notifier_init(&n, NULL), 0);
		assert_int_equal(bus_doorbell_add(*state, &r, 0x50, 0, &n), 0);
		bus_doorbell_del(*state, &r, 0x50, 0);
		notifier_fini(&n); /* nobody may touch it any more */
	}
	atomic_store(&k.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

static void set_pin(void *chip, unsigned pin, bool level)
{
	uint64_t *pins = chip;

	*pins = level ? *pins | BIT(pin) : *pins & ~BIT(pin);
}

static void interrupt_lines(void **state)
{
	static const struct irq_ops ops = { .set = set_pin };
	const struct irq_line open = { 0 };
	uint64_t pins = 0;
	const struct irq_line line = { .ops = &ops, .chip = &pins, .pin = 5 };

	(void)state;
	irq_set(&open, true);
	irq_set(&line, true);
	assert_int_equal(pins, 32);
	irq_set(&line, false);
	assert_int_equal(pins, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_bus_answers_nothing),
		TEST(the_right_region_answers),
		TEST(widths_and_alignment),
		TEST(values_are_cut_to_their_width),
		TEST(regions_do_not_overlap),
		TEST(malformed_regions_are_refused),
		TEST(doorbells),
		TEST(an_engine_is_told_of_doorbells),
		TEST(a_page_of_one_kind_can_be_mirrored),
		TEST(doorbells_change_while_vcpus_run),
		cmocka_unit_test(interrupt_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

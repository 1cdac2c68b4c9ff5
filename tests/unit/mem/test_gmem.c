/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: whole ranges or nothing, to the top of the address space; reports of writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/thread.h"
#include "mem/gmem.h"

enum { PAGE = GMEM_PAGE_SIZE };

#define LOW  0x40000000ULL
#define HIGH (LOW + 4 * PAGE)        /* touches LOW's end */
#define FAR  0x80000000ULL           /* touches nothing */
#define TOP  (UINT64_MAX - PAGE + 1) /* the last page there is */

struct reports {
	struct gmem_observer obs;
	size_t n;
	struct {
		gpa_t gpa;
		size_t len;
	} of[8];
};

static void report(struct gmem_observer *obs, gpa_t gpa, size_t len)
{
	struct reports *r = container_of(obs, struct reports, obs);

	assert_true(r->n < ARRAY_SIZE(r->of));
	assert_true(len && gpa % PAGE + len <= PAGE);
	r->of[r->n].gpa = gpa;
	r->of[r->n].len = len;
	r->n++;
}

static int set_up(void **state)
{
	struct gmem **mem = (struct gmem **)state;

	if (gmem_create(mem, NULL))
		return -1;
	/* Not in order of address. */
	return gmem_add_ram(*mem, FAR, 2 * PAGE, NULL) || gmem_add_ram(*mem, TOP, PAGE, NULL) ||
	       gmem_add_ram(*mem, LOW, 4 * PAGE, NULL) || gmem_add_ram(*mem, HIGH, 2 * PAGE, NULL);
}

static int tear_down(void **state)
{
	gmem_destroy(*state);
	return 0;
}

static void flag(struct gmem *mem, gpa_t gpa)
{
	const struct gmem_region *r = gmem_find(mem, gpa);

	atomic_fetch_or(&r->flags[(gpa - r->base) >> GMEM_PAGE_SHIFT], GMEM_PAGE_CODE);
}

static void regions_are_in_order(void **state)
{
	struct gmem *mem = *state;

	assert_int_equal(gmem_count(mem), 4);
	assert_true(gmem_region(mem, 0)->base == LOW);
	assert_true(gmem_region(mem, 1)->base == HIGH);
	assert_true(gmem_region(mem, 2)->base == FAR);
	assert_true(gmem_region(mem, 3)->base == TOP);
	assert_null(gmem_region(mem, 4));
	assert_null(gmem_find(mem, 0));
	assert_null(gmem_find(mem, LOW - 1));
	assert_ptr_equal(gmem_find(mem, LOW), gmem_region(mem, 0));
	assert_ptr_equal(gmem_find(mem, HIGH - 1), gmem_region(mem, 0));
	assert_ptr_equal(gmem_find(mem, HIGH), gmem_region(mem, 1));
	assert_ptr_equal(gmem_find(mem, UINT64_MAX), gmem_region(mem, 3));
	assert_null(gmem_find(mem, TOP - 1));
}

static void bad_regions_are_refused(void **state)
{
	struct gmem *mem = *state;
	struct err e = ERR_INIT;

	assert_int_equal(gmem_add_ram(mem, 0x1000, 0, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "0x1000"));
	assert_int_equal(gmem_add_ram(mem, 0x1001, PAGE, NULL), -EINVAL);
	assert_int_equal(gmem_add_ram(mem, 0x1000, PAGE + 1, NULL), -EINVAL);
	assert_int_equal(gmem_add_ram(mem, TOP, 2 * PAGE, NULL), -EINVAL);
	e.code = 0;
	assert_int_equal(gmem_add_ram(mem, FAR + PAGE, 2 * PAGE, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "overlap"));
	assert_int_equal(gmem_add_ram(mem, FAR - PAGE, 2 * PAGE, NULL), -EEXIST);
	assert_int_equal(gmem_add_ram(mem, FAR - PAGE, 4 * PAGE, NULL), -EEXIST);
	assert_int_equal(gmem_add_ram(mem, 0, 0 - (uint64_t)PAGE, NULL), -EEXIST);
	assert_int_equal(gmem_add_ram(mem, FAR - PAGE, PAGE, NULL), 0);
	assert_int_equal(gmem_count(mem), 5);

	for (gpa_t at = 0; gmem_count(mem) < GMEM_REGION_MAX; at += 2 * PAGE)
		assert_int_equal(gmem_add_ram(mem, at, PAGE, NULL), 0);
	assert_int_equal(gmem_add_ram(mem, FAR + 8 * PAGE, PAGE, NULL), -ENOSPC);
}

static void ram_too_large_for_the_host_is_refused(void **state)
{
	struct err e = ERR_INIT;
	struct gmem *mem;

	(void)state;
	assert_int_equal(gmem_create(&mem, NULL), 0);
	assert_int_equal(gmem_add_ram(mem, 0, 1ULL << 62, &e), -ENOMEM);
	assert_int_equal(e.code, -ENOMEM);
	assert_int_equal(gmem_count(mem), 0);
	gmem_destroy(mem);
	gmem_destroy(NULL);
}

static void copies(void **state)
{
	struct gmem *mem = *state;
	uint8_t in[100], out[100];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	memset(out, 0xee, sizeof(out));
	assert_int_equal(gmem_read(mem, FAR, out, sizeof(out)), 0);
	for (size_t i = 0; i < sizeof(out); i++)
		assert_int_equal(out[i], 0);

	/* From one region into its neighbour. */
	assert_int_equal(gmem_write(mem, HIGH - 40, in, sizeof(in)), 0);
	assert_int_equal(gmem_read(mem, HIGH - 40, out, sizeof(out)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_memory_equal(gmem_find(mem, HIGH)->host, in + 40, 60);
}

static void a_range_is_copied_whole_or_not_at_all(void **state)
{
	struct gmem *mem = *state;
	uint8_t buf[64], was[64];

	memset(buf, 0x55, sizeof(buf));
	memcpy(was, buf, sizeof(buf));
	assert_int_equal(gmem_write(mem, FAR + 2 * PAGE - 32, buf, 64), -EFAULT);
	assert_int_equal(gmem_find(mem, FAR)->host[2 * PAGE - 1], 0);
	assert_int_equal(gmem_read(mem, FAR + 2 * PAGE - 32, buf, 64), -EFAULT);
	assert_int_equal(gmem_read(mem, FAR - 1, buf, 2), -EFAULT);
	assert_int_equal(gmem_read(mem, 0, buf, 1), -EFAULT);
	assert_int_equal(gmem_read(mem, LOW, buf, SIZE_MAX), -EFAULT);
	assert_memory_equal(buf, was, sizeof(buf));
	assert_int_equal(gmem_read(mem, 0, buf, 0), 0);
	assert_int_equal(gmem_write(mem, UINT64_MAX, buf, 0), 0);
}

static void the_top_of_the_address_space(void **state)
{
	struct gmem *mem = *state;
	uint8_t buf[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	void *host;

	assert_int_equal(gmem_write(mem, UINT64_MAX - 7, buf, 8), 0);
	assert_int_equal(gmem_find(mem, TOP)->host[PAGE - 1], 8);
	assert_int_equal(gmem_write(mem, UINT64_MAX - 6, buf, 8), -EFAULT);
	assert_int_equal(gmem_read(mem, UINT64_MAX, buf, 2), -EFAULT);
	assert_int_equal(gmem_map(mem, TOP, PAGE, GMEM_READ, &host), 0);
	assert_int_equal(gmem_map(mem, TOP, PAGE + 1, GMEM_READ, &host), -EFAULT);
	assert_int_equal(gmem_map(mem, UINT64_MAX, SIZE_MAX, GMEM_READ, &host), -EFAULT);
	/* Not even with RAM at 0 does a range go round. */
	assert_int_equal(gmem_add_ram(mem, 0, PAGE, NULL), 0);
	assert_int_equal(gmem_read(mem, UINT64_MAX, buf, 2), -EFAULT);
}

static void indices(void **state)
{
	struct gmem *mem = *state;
	uint16_t val = 0x1234;

	assert_int_equal(gmem_store16(mem, LOW + 2, 0xbeef), 0);
	assert_int_equal(gmem_find(mem, LOW)->host[2], 0xef); /* little-endian */
	assert_int_equal(gmem_find(mem, LOW)->host[3], 0xbe);
	assert_int_equal(gmem_load16(mem, LOW + 2, &val), 0);
	assert_int_equal(val, 0xbeef);
	assert_int_equal(gmem_load16(mem, UINT64_MAX - 1, &val), 0);
	val = 7;
	assert_int_equal(gmem_load16(mem, LOW + 1, &val), -EFAULT);
	assert_int_equal(gmem_store16(mem, LOW + 3, 1), -EFAULT);
	assert_int_equal(gmem_load16(mem, UINT64_MAX, &val), -EFAULT);
	assert_int_equal(gmem_load16(mem, LOW - 2, &val), -EFAULT);
	assert_int_equal(gmem_store16(mem, FAR + 2 * PAGE, 1), -EFAULT);
	assert_int_equal(val, 7);
}

static void maps(void **state)
{
	struct gmem *mem = *state;
	void *host = NULL;

	assert_int_equal(gmem_map(mem, LOW + 5, 4 * PAGE - 5, GMEM_WRITE, &host), 0);
	assert_ptr_equal(host, gmem_find(mem, LOW)->host + 5);
	gmem_unmap(mem, LOW + 5, 4 * PAGE - 5, GMEM_WRITE);
	/* One region only, though the next one touches it. */
	assert_int_equal(gmem_map(mem, LOW + 5, 4 * PAGE - 4, GMEM_READ, &host), -EFAULT);
	assert_int_equal(gmem_map(mem, LOW, 0, GMEM_READ, &host), -EFAULT);
	assert_int_equal(gmem_map(mem, LOW - 1, 1, GMEM_READ, &host), -EFAULT);
}

static void writes_to_code_are_reported_page_by_page(void **state)
{
	struct gmem *mem = *state;
	struct reports r = { .obs.written = report };
	uint8_t buf[3 * PAGE] = { 0 };

	gmem_observe(mem, &r.obs);
	gmem_written(mem, LOW, 4 * PAGE);
	assert_int_equal(r.n, 0); /* no code yet */

	/* The last page of one region and the first of the next, but not the one between. */
	flag(mem, LOW + 2 * PAGE);
	flag(mem, HIGH);
	assert_int_equal(gmem_write(mem, LOW + 2 * PAGE + 100, buf, 2 * PAGE), 0);
	assert_int_equal(r.n, 2);
	assert_true(r.of[0].gpa == LOW + 2 * PAGE + 100 && r.of[0].len == PAGE - 100);
	assert_true(r.of[1].gpa == HIGH && r.of[1].len == 100);

	r.n = 0;
	assert_int_equal(gmem_write(mem, LOW, buf, 2 * PAGE), 0);
	assert_int_equal(gmem_write(mem, LOW + 3 * PAGE, buf, PAGE), 0);
	assert_int_equal(r.n, 0);
	assert_int_equal(gmem_write(mem, HIGH, buf, 1), 0);
	assert_int_equal(gmem_store16(mem, HIGH + PAGE - 2, 1), 0);
	assert_int_equal(r.n, 2);
	assert_true(r.of[0].gpa == HIGH && r.of[0].len == 1);
	assert_true(r.of[1].gpa == HIGH + PAGE - 2 && r.of[1].len == 2);

	/* Reads are none of the observers' business. */
	r.n = 0;
	assert_int_equal(gmem_read(mem, HIGH, buf, PAGE), 0);
	gmem_unmap(mem, HIGH, PAGE, GMEM_READ);
	assert_int_equal(r.n, 0);
	gmem_unmap(mem, HIGH + 1, 2, GMEM_WRITE);
	gmem_unmap(mem, HIGH + 1, 2, GMEM_READ | GMEM_WRITE);
	assert_int_equal(r.n, 2);
}

static void reports_at_the_edges(void **state)
{
	struct gmem *mem = *state;
	struct reports a = { .obs.written = report }, b = { .obs.written = report };

	gmem_observe(mem, &a.obs);
	gmem_observe(mem, &b.obs);
	flag(mem, TOP);
	flag(mem, FAR + PAGE);
	assert_int_equal(gmem_add_ram(mem, 0, PAGE, NULL), 0);
	flag(mem, 0);
	gmem_written(mem, UINT64_MAX - 1, 100); /* ends at the top, does not go round */
	assert_int_equal(a.n, 1);
	assert_true(a.of[0].gpa == UINT64_MAX - 1 && a.of[0].len == 2);
	gmem_written(mem, FAR + PAGE + 8, 2 * PAGE); /* ends with the region */
	gmem_written(mem, 0x1000, 8);
	gmem_written(mem, FAR + PAGE, 0);
	assert_int_equal(a.n, 2);
	assert_true(a.of[1].gpa == FAR + PAGE + 8 && a.of[1].len == PAGE - 8);
	assert_int_equal(b.n, 2); /* both were told */
}

/*
 * The two-sided order: one thread stores to a page and then looks at its flag, one sets the flag
 * and then looks at the bytes. Never may both see nothing. The two walk over many pages side by
 * side, so that they often meet at one.
 */
enum { RACE_PAGES = 2048, RACE_ROUNDS = 8 };
#define RACE 0x10000000ULL

struct race {
	struct gmem *mem;
	struct gmem_observer obs;
	pthread_barrier_t line;
	bool reported[RACE_PAGES]; /* by the writer's thread */
	bool seen[RACE_PAGES];     /* by the decoder's */
	uint16_t round;
};

static void mark_report(struct gmem_observer *obs, gpa_t gpa, size_t len)
{
	(void)len;
	container_of(obs, struct race, obs)->reported[(gpa - RACE) / PAGE] = true;
}

static void *decode(void *arg)
{
	struct race *race = arg;
	const struct gmem_region *r = gmem_find(race->mem, RACE);
	uint16_t val = 0;

	pthread_barrier_wait(&race->line);
	for (unsigned i = 0; i < RACE_PAGES; i++) {
		atomic_fetch_or(&r->flags[i], GMEM_PAGE_CODE);
		gmem_load16(race->mem, RACE + i * PAGE, &val);
		race->seen[i] = val == race->round;
	}
	return NULL;
}

static void a_write_is_reported_or_seen(void **state)
{
	static struct race race;
	struct gmem *mem = *state;
	const struct gmem_region *r;

	race = (struct race){ .mem = mem, .obs.written = mark_report };
	assert_int_equal(gmem_add_ram(mem, RACE, RACE_PAGES * PAGE, NULL), 0);
	r = gmem_find(mem, RACE);
	gmem_observe(mem, &race.obs);
	pthread_barrier_init(&race.line, NULL, 2);
	for (race.round = 1; race.round <= RACE_ROUNDS; race.round++) {
		pthread_t t;

		for (unsigned i = 0; i < RACE_PAGES; i++) {
			race.reported[i] = race.seen[i] = false;
			atomic_store(&r->flags[i], 0);
			gmem_store16(mem, RACE + i * PAGE, 0);
		}
		assert_int_equal(thread_create(&t, "decoder", decode, &race, NULL), 0);
		pthread_barrier_wait(&race.line);
		for (unsigned i = 0; i < RACE_PAGES; i++)
			gmem_store16(mem, RACE + i * PAGE, race.round);
		pthread_join(t, NULL);
		for (unsigned i = 0; i < RACE_PAGES; i++)
			assert_true(race.reported[i] || race.seen[i]);
	}
	pthread_barrier_destroy(&race.line);
}

/* ---- Watches ---- */

struct watcher {
	struct gmem_watch watch;
	unsigned n;
	struct gmem_store last;
};

static void seen(struct gmem_watch *watch, const struct gmem_store *store)
{
	struct watcher *w = container_of(watch, struct watcher, watch);

	w->n++;
	w->last = *store;
}

struct teller {
	struct gmem_observer obs;
	unsigned begun;
};

static void begun(struct gmem_observer *obs)
{
	container_of(obs, struct teller, obs)->begun++;
}

static bool is_watched(struct gmem *mem, gpa_t gpa)
{
	const struct gmem_region *r = gmem_find(mem, gpa);

	return r->flags[(gpa - r->base) / PAGE] & GMEM_PAGE_WATCHED;
}

/* Pages are flagged as long as anybody watches a byte of them, and each is told of its own. */
static void stores_are_told(void **state)
{
	struct gmem *mem = *state;
	struct teller cpu = { .obs = { .written = report, .watched = begun } };
	struct watcher a = { .watch = { .gpa = LOW + PAGE - 2, .len = 4, .stored = seen } };
	struct watcher b = { .watch = { .gpa = LOW + PAGE + 8, .len = 8, .stored = seen } };
	struct watcher top = { .watch = { .gpa = TOP, .len = PAGE, .stored = seen } };

	assert_int_equal(gmem_watch(mem, &a.watch), -ENOTSUP);
	gmem_observe(mem, &cpu.obs);
	assert_int_equal(gmem_watch(mem, &a.watch), 0);
	assert_int_equal(gmem_watch(mem, &b.watch), 0);
	assert_int_equal(gmem_watch(mem, &top.watch), 0);
	assert_int_equal(cpu.begun, 3);
	assert_true(is_watched(mem, LOW) && is_watched(mem, LOW + PAGE) && is_watched(mem, TOP));
	assert_false(is_watched(mem, LOW + 2 * PAGE) || is_watched(mem, FAR));

	gmem_stored(mem, &(struct gmem_store){ .gpa = LOW + PAGE, .len = 2, .pc = 1 });
	assert_true(a.n == 1 && a.last.pc == 1 && b.n == 0 && top.n == 0);
	gmem_stored(mem, &(struct gmem_store){ .gpa = LOW + PAGE + 2, .len = 6, .pc = 2 });
	assert_true(a.n == 1 && b.n == 0);
	gmem_stored(mem, &(struct gmem_store){ .gpa = LOW + PAGE, .len = 16, .pc = 3 });
	assert_true(a.n == 2 && b.n == 1 && b.last.pc == 3);
	gmem_stored(mem, &(struct gmem_store){ .gpa = UINT64_MAX, .len = 1, .pc = 4 });
	assert_true(top.n == 1 && a.n == 2);

	gmem_unwatch(mem, &a.watch);
	assert_false(is_watched(mem, LOW));
	assert_true(is_watched(mem, LOW + PAGE));
	gmem_stored(mem, &(struct gmem_store){ .gpa = LOW + PAGE, .len = 16 });
	assert_true(a.n == 2 && b.n == 2);
	gmem_unwatch(mem, &b.watch);
	gmem_unwatch(mem, &top.watch);
	assert_false(is_watched(mem, LOW + PAGE) || is_watched(mem, TOP));

	/* A flag of another's stays. */
	flag(mem, LOW);
	assert_int_equal(gmem_watch(mem, &a.watch), 0);
	gmem_unwatch(mem, &a.watch);
	assert_int_equal(gmem_find(mem, LOW)->flags[0], GMEM_PAGE_CODE);

	for (unsigned i = 0; i < 3; i++) {
		struct watcher bad = { .watch = { .gpa = i == 0   ? LOW - 1
							 : i == 1 ? HIGH - 1
								  : LOW,
						  .len = i < 2 ? 2 : 0,
						  .stored = seen } };
		assert_int_equal(gmem_watch(mem, &bad.watch), -EFAULT);
	}
}

/* Any change makes another sum; taking it back, or only reading, does not. */
static void sums(void **state)
{
	struct gmem *mem = *state;
	static const gpa_t at[] = { LOW, LOW + 8, LOW + PAGE - 2, LOW + PAGE, FAR, TOP + PAGE - 2 };
	enum { N = ARRAY_SIZE(at) };
	uint64_t sum[N + 1] = { gmem_sum(mem) };
	uint16_t v;

	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(gmem_load16(mem, at[i], &v), 0);
		assert_true(gmem_sum(mem) == sum[0]);
	}
	for (unsigned i = 0; i < N; i++) {
		gmem_store16(mem, at[i], 1);
		sum[i + 1] = gmem_sum(mem);
		for (unsigned k = 0; k <= i; k++)
			assert_true(sum[k] != sum[i + 1]);
		gmem_store16(mem, at[i], 0);
		assert_true(gmem_sum(mem) == sum[0]);
	}
	/* The same bytes elsewhere */
	gmem_store16(mem, LOW, 1);
	gmem_store16(mem, LOW + PAGE, 2);
	sum[0] = gmem_sum(mem);
	gmem_store16(mem, LOW, 2);
	gmem_store16(mem, LOW + PAGE, 1);
	assert_true(gmem_sum(mem) != sum[0]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(regions_are_in_order),
		TEST(bad_regions_are_refused),
		cmocka_unit_test(ram_too_large_for_the_host_is_refused),
		TEST(stores_are_told),
		TEST(copies),
		TEST(a_range_is_copied_whole_or_not_at_all),
		TEST(the_top_of_the_address_space),
		TEST(indices),
		TEST(maps),
		TEST(sums),
		TEST(writes_to_code_are_reported_page_by_page),
		TEST(reports_at_the_edges),
		TEST(a_write_is_reported_or_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

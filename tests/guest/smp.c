/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: PSCI, and what CPUs do to each other: atomics, order of memory, broadcast TLB
 * maintenance, code written by another CPU, events and interrupts. With one CPU, what is left.
 */
#include "guest.h"

static unsigned n_cpus;
void secondary_start(void);

/* Counters and flags of their own cache lines, in memory that the MMU maps as Normal. */
struct line {
	volatile u64 v;
	u64 pad[7];
} __attribute__((aligned(64)));
static struct line a, b, c, d, flag[MAX_CPUS], barrier_count;
static volatile bool failed;

static u64 load_acquire(volatile u64 *p)
{
	u64 v;
	asm volatile("ldar %0, [%1]" : "=r"(v) : "r"(p) : "memory");
	return v;
}
static void store_release(volatile u64 *p, u64 v)
{
	asm volatile("stlr %0, [%1]" ::"r"(v), "r"(p) : "memory");
}
static u64 fetch_add(volatile u64 *p, u64 v)
{
	u64 old;
	asm volatile("ldaddal %1, %0, [%2]" : "=r"(old) : "r"(v), "r"(p) : "memory");
	return old;
}

/* All of `n` CPUs meet here; `round` counts from 1. */
static void meet(unsigned n, u64 round)
{
	fetch_add(&barrier_count.v, 1);
	asm volatile("sev");
	while (load_acquire(&barrier_count.v) < n * round)
		asm volatile("yield");
}

/* ---- PSCI ---- */

static void psci_calls(void)
{
	static const struct {
		u64 function;
		const char *name;
	} must[] = {
		{ PSCI_VERSION, "PSCI_VERSION" },
		{ 0x84000001, "CPU_SUSPEND" },
		{ 0xc4000001, "CPU_SUSPEND, 64-bit" },
		{ PSCI_CPU_OFF, "CPU_OFF" },
		{ 0x84000003, "CPU_ON" },
		{ PSCI_CPU_ON, "CPU_ON, 64-bit" },
		{ 0x84000004, "AFFINITY_INFO" },
		{ PSCI_AFFINITY_INFO, "AFFINITY_INFO, 64-bit" },
		{ PSCI_SYSTEM_OFF, "SYSTEM_OFF" },
		{ PSCI_SYSTEM_RESET, "SYSTEM_RESET" },
		{ PSCI_FEATURES, "PSCI_FEATURES" },
		{ 0x80000000, "SMCCC_VERSION" },
	};
	s64 version = psci(PSCI_VERSION, 0, 0, 0);
	check(version >> 16 == 1 && version <= 0x1ffff, "PSCI_VERSION is 1.x");
	for (unsigned i = 0; i < ARRAY_LEN(must); i++)
		check(psci(PSCI_FEATURES, must[i].function, 0, 0) >= 0, "PSCI_FEATURES of %s",
		      must[i].name);
	check_eq((u64)psci(PSCI_FEATURES, 0x84000099, 0, 0), (u64)-1, "PSCI_FEATURES of nothing");
	check_eq((u64)psci(0x84000099, 0, 0, 0), (u64)-1, "an unknown function");
	check_eq((u64)psci(PSCI_MIGRATE_INFO_TYPE, 0, 0, 0), 2,
		 "MIGRATE_INFO_TYPE: nothing to migrate");
	check_eq((u64)psci(PSCI_AFFINITY_INFO, 0, 0, 0), 0, "AFFINITY_INFO of this CPU: on");
	for (unsigned i = 1; i < n_cpus; i++)
		check_eq((u64)psci(PSCI_AFFINITY_INFO, i, 0, 0), 1, "AFFINITY_INFO of CPU %u: off",
			 i);
	check_eq((u64)psci(PSCI_AFFINITY_INFO, n_cpus, 0, 0), (u64)-2, "AFFINITY_INFO of no CPU");
	check_eq((u64)psci(PSCI_AFFINITY_INFO, 0x100, 0, 0), (u64)-2,
		 "AFFINITY_INFO of another cluster");
	check_eq((u64)psci(PSCI_CPU_ON, 0, (u64)secondary_start, 0), (u64)-4,
		 "CPU_ON of this CPU: on already");
	check_eq((u64)psci(PSCI_CPU_ON, n_cpus, (u64)secondary_start, 0), (u64)-2,
		 "CPU_ON of no CPU");
	check_eq((u64)psci(PSCI_CPU_ON, 1ULL << 32, (u64)secondary_start, 0), (u64)-2,
		 "CPU_ON: all of the affinity counts");
	/* The 32-bit function has no upper half. */
	check_eq((u64)psci(0x84000004, 1ULL << 32, 0, 0), 0,
		 "AFFINITY_INFO, 32-bit: upper half ignored");
	if (n_cpus > 1 && READ_REG(midr_el1) == 0x000f4b00)
		check_eq((u64)psci(PSCI_CPU_ON, 1, 0x10, 0), (u64)-9, "CPU_ON outside of memory");
	else
		skip("QEMU starts it there", "CPU_ON outside of memory");
}

/* ---- on and off ---- */

static volatile u64 seen[6];
static volatile bool go_off;

static void second_main(void)
{
	seen[0] = READ_REG(CurrentEL);
	seen[1] = READ_REG(sctlr_el1);
	seen[2] = READ_REG(mpidr_el1);
	seen[3] = READ_REG(daif);
	seen[4] = (u64)this_cpu();
	DSB();
	seen[5] = 1;
	while (!go_off)
		;
	psci(PSCI_CPU_OFF, 0, 0, 0);
	seen[5] = 99;
}

static void on_and_off(void)
{
	for (unsigned round = 0; round < 3; round++) {
		seen[5] = 0;
		go_off = false;
		cpus[1].main = second_main;
		DSB();
		check_eq((u64)psci(PSCI_CPU_ON, 1, (u64)secondary_start, (u64)&cpus[1]), 0,
			 "CPU_ON, round %u", round);
		while (!seen[5])
			;
		check_eq((u64)psci(PSCI_CPU_ON, 1, (u64)secondary_start, (u64)&cpus[1]), (u64)-4,
			 "CPU_ON again: on already");
		check_eq(seen[0], 4, "it starts at EL1");
		check_eq(seen[1] & (SCTLR_M | SCTLR_C), 0, "with the MMU off");
		check_eq(seen[2] & 0xff00ffffff, 1, "its affinity");
		check_eq(seen[3], PSTATE_DAIF, "with DAIF masked");
		check_eq(seen[4], (u64)&cpus[1], "with its context in x0");
		check_eq((u64)psci(PSCI_AFFINITY_INFO, 1, 0, 0), 0, "AFFINITY_INFO: on");
		go_off = true;
		while (psci(PSCI_AFFINITY_INFO, 1, 0, 0) != 1)
			;
		check(seen[5] != 99, "CPU_OFF does not return");
	}
	cpus[1].main = 0;
}

/* ---- atomics ---- */

enum { ROUNDS = 3000 };

static void add_lse(u64 i)
{
	(void)i;
	for (unsigned n = 0; n < ROUNDS; n++) {
		asm volatile("ldadd %0, xzr, [%1]" ::"r"(1ULL), "r"(&a.v) : "memory");
		asm volatile("ldaddalb %w0, wzr, [%1]" ::"r"(1), "r"(&b.v) : "memory");
		asm volatile(
			"1: ldr x0, [%0]\n\tadd x1, x0, #1\n\tmov x2, x0\n\tcas x0, x1, [%0]\n\t"
			"cmp x0, x2\n\tb.ne 1b" ::"r"(&c.v)
			: "x0", "x1", "x2", "memory", "cc");
	}
}

static void add_exclusive(u64 i)
{
	(void)i;
	for (unsigned n = 0; n < ROUNDS; n++) {
		asm volatile(
			"1: ldxr x0, [%0]\n\tadd x0, x0, #1\n\tstxr w1, x0, [%0]\n\tcbnz w1, 1b" ::
				"r"(&a.v)
			: "x0", "x1", "memory");
		asm volatile("1: ldaxrh w0, [%0]\n\tadd w0, w0, #1\n\tstlxrh w1, w0, [%0]\n\tcbnz "
			     "w1, 1b" ::"r"(&b.v)
			     : "x0", "x1", "memory");
	}
}

/* A pair that must always be n and 2n. */
static struct {
	volatile u64 one, two;
} pair __attribute__((aligned(64)));

static void add_pair(u64 i)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		u64 x, y;

		if (i % 2)
			asm volatile("1: ldxp %0, %1, [%2]\n\tadd x2, %0, #1\n\tadd x3, %1, #2\n\t"
				     "stxp w4, x2, x3, [%2]\n\tcbnz w4, 1b"
				     : "=&r"(x), "=&r"(y)
				     : "r"(&pair)
				     : "x2", "x3", "x4", "memory");
		else
			asm volatile(
				"ldp x0, x1, [%2]\n1:\tmov x6, x0\n\tmov x7, x1\n\tadd x2, x0, "
				"#1\n\t"
				"add x3, x1, #2\n\tcaspal x0, x1, x2, x3, [%2]\n\tcmp x0, x6\n\t"
				"ccmp x1, x7, #0, eq\n\tb.ne 1b\n\tmov %0, x0\n\tmov %1, x1"
				: "=&r"(x), "=&r"(y)
				: "r"(&pair)
				: "x0", "x1", "x2", "x3", "x6", "x7", "memory", "cc");
		if (y != 2 * x)
			failed = true;
	}
}

static void spin_lock(u64 i)
{
	(void)i;
	for (unsigned n = 0; n < ROUNDS; n++) {
		u64 old;

		do {
			asm volatile("swpa %1, %0, [%2]"
				     : "=r"(old)
				     : "r"(1ULL), "r"(&c.v)
				     : "memory");
			if (old)
				asm volatile("yield");
		} while (old);
		a.v = a.v + 1;
		b.v = b.v + 2;
		store_release(&c.v, 0);
	}
}

/* Ticket lock as kernels have it: WFE until the owner's number comes. */
static void ticket_lock(u64 i)
{
	(void)i;
	for (unsigned n = 0; n < ROUNDS / 10; n++) {
		u64 mine = fetch_add(&c.v, 1), owner;

		for (;;) {
			asm volatile("ldaxr %0, [%1]" : "=r"(owner) : "r"(&d.v) : "memory");
			if (owner == mine)
				break;
			asm volatile("wfe");
		}
		a.v = a.v + 1;
		store_release(&d.v, mine + 1);
		asm volatile("sev");
	}
}

static void atomics(void)
{
	u64 total = (u64)n_cpus * ROUNDS;

	a.v = b.v = c.v = d.v = 0;
	smp_all(add_lse);
	check_eq(a.v, total, "ldadd counts");
	check_eq(b.v, total & 0xff, "ldaddalb counts in its byte");
	check_eq(c.v, total, "cas counts");
	a.v = b.v = 0;
	smp_all(add_exclusive);
	check_eq(a.v, total, "ldxr and stxr count");
	check_eq(b.v, total & 0xffff, "ldaxrh and stlxrh count");
	failed = false;
	smp_all(add_pair);
	check(pair.one == total && pair.two == 2 * total, "stxp and casp count");
	check(!failed, "nobody saw half of a pair");
	a.v = b.v = c.v = 0;
	smp_all(spin_lock);
	check(a.v == total && b.v == 2 * total, "a spin lock of swpa and stlr");
	a.v = c.v = d.v = 0;
	smp_all(ticket_lock);
	check_eq(a.v, (u64)n_cpus * (ROUNDS / 10), "a ticket lock that waits with wfe");
}

/* ---- order ---- */

enum { LITMUS = 3000 };
static struct line data[64];

/* CPU 0 writes data, then the flag; CPU 1 reads the flag, then data. */
static void message_release(u64 i)
{
	for (u64 n = 1; n <= LITMUS; n++) {
		if (i == 0) {
			data[n % 64].v = n;
			store_release(&flag[0].v, n);
			if (n % 64 == 63)
				while (load_acquire(&flag[1].v) < n)
					asm volatile("yield");
		} else {
			u64 f;
			while ((f = load_acquire(&flag[0].v)) < n)
				asm volatile("yield");
			if (data[n % 64].v != n)
				failed = true;
			store_release(&flag[1].v, n);
		}
	}
}

static void message_dmb(u64 i)
{
	for (u64 n = 1; n <= LITMUS; n++) {
		if (i == 0) {
			data[n % 64].v = n;
			asm volatile("dmb ishst" ::: "memory");
			flag[0].v = n;
			if (n % 64 == 63)
				while (flag[1].v < n)
					asm volatile("yield");
		} else {
			while (flag[0].v < n)
				asm volatile("yield");
			asm volatile("dmb ishld" ::: "memory");
			if (data[n % 64].v != n)
				failed = true;
			DMB();
			flag[1].v = n;
		}
	}
}

/* Each writes its own and reads the other's: both reads cannot miss. */
static struct line own[2][256], result[2][256];
static void store_buffering(u64 i)
{
	for (unsigned n = 0; n < 256; n++) {
		meet(2, n + 1);
		own[i][n].v = 1;
		DMB();
		result[i][n].v = own[1 - i][n].v;
	}
}
static void store_buffering_release(u64 i)
{
	for (unsigned n = 0; n < 256; n++) {
		meet(2, n + 1);
		store_release(&own[i][n].v, 1);
		result[i][n].v = load_acquire(&own[1 - i][n].v);
	}
}

static bool both(void (*work)(u64))
{
	failed = false;
	flag[0].v = flag[1].v = barrier_count.v = 0;
	for (unsigned n = 0; n < 256; n++)
		own[0][n].v = own[1][n].v = result[0][n].v = result[1][n].v = 0;
	DMB();
	smp_run(1, work, 1);
	work(0);
	smp_wait(1);
	return !failed;
}

static void memory_order(void)
{
	check(both(message_release), "message passing with stlr and ldar");
	check(both(message_dmb), "message passing with dmb");
	bool ok = both(store_buffering);
	for (unsigned n = 0; n < 256; n++)
		ok &= result[0][n].v || result[1][n].v;
	check(ok, "store buffering with dmb");
	ok = both(store_buffering_release);
	for (unsigned n = 0; n < 256; n++)
		ok &= result[0][n].v || result[1][n].v;
	check(ok, "store buffering with stlr and ldar");
}

/* ---- TLB maintenance for others ---- */

#define SHARED 0x90000000ULL /* the flat tree has nothing there */

static void reader(u64 i)
{
	(void)i;
	for (;;) {
		u64 round = load_acquire(&flag[0].v);
		u64 v = TRY("ldr x0, [%[a]]", [a] "r"(SHARED));

		/* Once CPU 0 says that it is done, only the new page may be there. */
		if (last()->n == 0 && v < round)
			failed = true;
		if (round == ~0ULL)
			return;
		flag[1].v = flag[1].v + 1;
	}
}

/* Writes as long as it may; counts in the page itself. */
static void writer(u64 i)
{
	(void)i;
	while (!load_acquire(&flag[0].v)) {
		TRY("ldr x1, [%[a]]\n\tadd x1, x1, #1\n\tstr x1, [%[a]]", [a] "r"(SHARED));
		flag[1].v = flag[1].v + 1;
	}
}

static void wait_progress(void)
{
	u64 n = load_acquire(&flag[1].v);
	while (load_acquire(&flag[1].v) < n + 2)
		asm volatile("yield");
}

static void shootdown(void)
{
	flag[0].v = flag[1].v = 0;
	failed = false;
	u64 *e = pt_entry(flat_root, 1, SHARED, 3);
	DSB();
	smp_run(1, reader, 0);
	for (u64 round = 1; round <= 30; round++) {
		u64 page = SCRATCH + round * PAGE;

		write64(page, round);
		*e = 0;
		asm volatile("dsb ishst\n\ttlbi vaae1is, %0\n\tdsb ish" ::"r"(SHARED >> 12)
			     : "memory");
		*(volatile u64 *)e = page | PT_KRW | PT_TABLE;
		asm volatile("dsb ishst\n\tisb" ::: "memory");
		/* Not told yet, so that it has the old page in its TLB when we change it again. */
		wait_progress();
		*e = 0;
		asm volatile("dsb ishst\n\ttlbi vaae1is, %0\n\tdsb ish" ::"r"(SHARED >> 12)
			     : "memory");
		write64(page, 0); /* who still sees it, sees the past */
		store_release(&flag[0].v, round);
	}
	store_release(&flag[0].v, ~0ULL);
	smp_wait(1);
	check(!failed, "after TLBI and DSB here, another CPU cannot read the old page");

	unsigned late = 0;
	for (unsigned round = 0; round < 20; round++) {
		flag[0].v = 0;
		*e = SCRATCH | PT_KRW | PT_TABLE;
		DSB();
		smp_run(1, writer, 0);
		wait_progress();
		*e = SCRATCH | PT_KRW | PT_RO | PT_TABLE;
		asm volatile("dsb ishst\n\ttlbi vaae1is, %0\n\tdsb ish" ::"r"(SHARED >> 12)
			     : "memory");
		u64 v = read64(SCRATCH);
		wait_progress();
		if (read64(SCRATCH) != v)
			late++;
		store_release(&flag[0].v, 1);
		smp_wait(1);
		*e = 0;
		tlbi_all();
	}
	check_eq(late, 0,
		 "after TLBI and DSB here, another CPU cannot write a page made read-only");
}

/* ---- code for others ---- */

#define CODE_RW (SCRATCH + 0x100000ULL)
#define CODE_X  0x90100000ULL

static void caller(u64 rounds)
{
	for (u64 n = 1; n <= rounds; n++) {
		while (load_acquire(&flag[0].v) < n)
			asm volatile("yield");
		ISB();
		u64 (*f)(void) = (u64(*)(void))CODE_X;
		if (f() != n)
			failed = true;
		store_release(&flag[1].v, n);
	}
}

static void cross_modification(void)
{
	const u64 rounds = 300;

	failed = false;
	flag[0].v = flag[1].v = 0;
	pt_map(flat_root, 1, CODE_X, CODE_RW, 3, PT_MEM | PT_RO | PT_UXN);
	write32(CODE_RW + 4, 0xd65f03c0); /* ret */
	DSB();
	smp_run(1, caller, rounds);
	for (u64 n = 1; n <= rounds; n++) {
		write32(CODE_RW, 0xd2800000 | (u32)n << 5); /* mov x0, #n */
		asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %1\n\tdsb ish" ::"r"(CODE_RW),
			     "r"(CODE_X)
			     : "memory");
		store_release(&flag[0].v, n);
		while (load_acquire(&flag[1].v) < n)
			asm volatile("yield");
	}
	smp_wait(1);
	check(!failed, "code written here runs there, after IC IVAU, DSB, a flag and ISB");
}

/* One store changes the last instruction of a page and the first of the next, while another CPU
 * comes to that page for the first time. No cache maintenance comes to the store's help. */
#define EDGE_RW (SCRATCH + 0x400000ULL)
#define EDGE_X  0x90600000ULL
enum { EDGES = 100, MOV_1 = 0xd2800020, MOV_2 = 0xd2800040, RET = 0xd65f03c0 };

static u64 edge(u64 n)
{
	return ((u64(*)(void))(EDGE_X + (2 * n + 1) * PAGE - 4))();
}

static void edge_caller(u64 rounds)
{
	for (u64 n = 0; n < rounds; n++) {
		while (load_acquire(&flag[0].v) <= n)
			asm volatile("yield");
		do
			ISB();
		while (edge(n) && load_acquire(&flag[1].v) <= n);
		ISB();
		if (edge(n) != 2)
			failed = true;
		store_release(&flag[2].v, n + 1);
	}
}

static void across_pages(void)
{
	if ((READ_REG(ctr_el0) >> 28 & 3) != 3) {
		skip("code written across the end of a page, too", "CTR_EL0 has not IDC and DIC");
		return;
	}
	failed = false;
	flag[0].v = flag[1].v = flag[2].v = 0;
	for (u64 n = 0; n < 2 * EDGES; n++)
		pt_map(flat_root, 1, EDGE_X + n * PAGE, EDGE_RW + n * PAGE, 3,
		       PT_MEM | PT_RO | PT_UXN);
	DSB();
	smp_run(1, edge_caller, EDGES);
	for (u64 n = 0; n < EDGES; n++) {
		u64 next_page = EDGE_RW + (2 * n + 1) * PAGE;

		write32(next_page - 4, MOV_1);
		write32(next_page, RET);
		write32(next_page + BLOCK2M, 0);
		DSB();
		store_release(&flag[0].v, n + 1);
		for (volatile u64 i = 0; i < n * 8; i++)
			;
		write64(next_page - 4, (u64)RET << 32 | MOV_2);
		asm volatile("dsb ish" ::: "memory");
		store_release(&flag[1].v, n + 1);
		while (load_acquire(&flag[2].v) <= n)
			asm volatile("yield");
	}
	smp_wait(1);
	check(!failed, "code written across the end of a page, too");
}

/*
 * Many changes against many readers. Each slot has a version, odd while CPU 0 changes it: a branch
 * to one of many targets (one of the instructions that may be changed while others run them,
 * B2.2.5) and a page mapped at an address. A reader that saw the same even version before and after
 * must have seen what belongs to it.
 */
enum { SLOTS = 8, TARGETS = 16 };
#define SLOT_CODE  (SCRATCH + 0x180000ULL)
#define SLOT_X     0x90180000ULL
#define SLOT_PAGES 0x90400000ULL
static struct line version[SLOTS], what[SLOTS];
static volatile u64 seen_stable[MAX_CPUS], bad_code, bad_page;

static u64 next(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 11;
}

static void race_reader(u64 i)
{
	u64 seed = 0x9e3779b97f4a7c15 * (i + 1);

	while (!load_acquire(&flag[0].v)) {
		u64 n = next(&seed) % SLOTS, s = load_acquire(&version[n].v), expected = what[n].v;

		ISB();
		u64 code = ((u64(*)(void))(SLOT_X + n * 256))();
		u64 page = TRY("ldr x0, [%[a]]", [a] "r"(SLOT_PAGES + n * PAGE));
		bool missing = last()->n;

		asm volatile("dmb ishld" ::: "memory");
		if (s % 2 || load_acquire(&version[n].v) != s)
			continue;
		if (code != expected)
			fetch_add(&bad_code, 1);
		if (missing || page != expected)
			fetch_add(&bad_page, 1);
		seen_stable[i]++;
	}
}

static void races(void)
{
	u64 seed = 12345;
	/* Each change waits for all CPUs: with more CPUs than the host has, for a long time. */
	const unsigned changes = n_cpus > 2 ? 30 : 200;

	for (u64 t = 0; t < TARGETS; t++) {
		write32(SLOT_CODE + 0x800 + 8 * t, 0xd2800000 | (u32)t << 5); /* mov x0, #t */
		write32(SLOT_CODE + 0x804 + 8 * t, 0xd65f03c0);               /* ret */
		write64(SLOT_CODE + PAGE * (1 + t), t);
	}
	pt_map(flat_root, 1, SLOT_X, SLOT_CODE, 3, PT_MEM | PT_RO | PT_UXN);
	flag[0].v = 0;
	for (unsigned i = 0; i < n_cpus; i++)
		seen_stable[i] = 0;
	for (unsigned c_ = 0; c_ < changes + SLOTS; c_++) {
		u64 n = c_ < SLOTS ? c_ : next(&seed) % SLOTS, t = next(&seed) % TARGETS;
		u64 at = SLOT_CODE + n * 256, x = SLOT_X + n * 256, va = SLOT_PAGES + n * PAGE;
		u64 *e = pt_entry(flat_root, 1, va, 3);

		if (c_ == SLOTS)
			for (unsigned i = 1; i < n_cpus; i++)
				smp_run(i, race_reader, i);
		version[n].v = version[n].v + 1;
		DMB();
		what[n].v = t;
		write32(at, 0x14000000 | (u32)((0x800 + 8 * t - n * 256) / 4)); /* b */
		asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %1\n\tdsb ish" ::"r"(at), "r"(x)
			     : "memory");
		*e = 0;
		asm volatile("dsb ishst\n\ttlbi vale1is, %0\n\tdsb ish" ::"r"(va >> 12) : "memory");
		*(volatile u64 *)e = (SLOT_CODE + PAGE * (1 + t)) | PT_KRW | PT_TABLE;
		asm volatile("dsb ishst\n\tisb" ::: "memory");
		store_release(&version[n].v, version[n].v + 1);
		if (c_ % 16 == 15 && c_ > SLOTS) {
			/* Let the others come to something. */
			u64 was = seen_stable[1];
			while (seen_stable[1] == was)
				asm volatile("yield");
		}
	}
	store_release(&flag[0].v, 1);
	for (unsigned i = 1; i < n_cpus; i++)
		smp_wait(i);
	check_eq(bad_code, 0, "code changed at random is never seen late");
	check_eq(bad_page, 0, "pages moved at random are never seen late");
}

/* ---- events and interrupts ---- */

static void wait_event(u64 i)
{
	/* No SEV comes: the store itself is the event, as it clears the monitor. */
	u64 v;
	asm volatile("sevl");
	do {
		asm volatile("wfe\n\tldaxr %0, [%1]" : "=r"(v) : "r"(&flag[0].v) : "memory");
	} while (v != i);
}

static volatile unsigned irqs[MAX_CPUS], from_intid[MAX_CPUS];

static bool on_irq(struct frame *f)
{
	if ((f->vector & 3) != VEC_IRQ)
		return false;
	unsigned intid = (unsigned)READ_ICC(ICC_IAR1);
	if (intid < 1020) {
		from_intid[this_cpu()->index] = intid;
		WRITE_ICC(ICC_EOIR1, intid);
		irqs[this_cpu()->index]++;
	}
	return true;
}

static void interruptible(u64 want)
{
	unsigned i = (unsigned)this_cpu()->index;

	this_cpu()->handler = on_irq;
	gic_init_cpu();
	gic_enable(2, 0x80, true);
	store_release(&flag[i].v, 1);
	while (irqs[i] < want) {
		/* Masked around WFI, so that it cannot come between looking and sleeping. */
		asm volatile("wfi");
		IRQ_ON();
		ISB();
		IRQ_OFF();
	}
	this_cpu()->handler = 0;
}

static void all_ready(void)
{
	for (unsigned i = 1; i < n_cpus; i++)
		while (!load_acquire(&flag[i].v))
			asm volatile("yield");
}

static void events(void)
{
	flag[0].v = 0;
	smp_run(1, wait_event, 7);
	delay_us(300);
	store_release(&flag[0].v, 7);
	smp_wait(1);
	check(true, "wfe ends when another CPU writes what ldaxr watches");

	gic_init();
	for (unsigned i = 0; i < n_cpus; i++)
		irqs[i] = 0, flag[i].v = 0;
	for (unsigned i = 1; i < n_cpus; i++)
		smp_run(i, interruptible, 4);
	all_ready();
	for (unsigned i = 1; i < n_cpus; i++) {
		WRITE_ICC(ICC_SGI1R, 2ULL << 24 | BIT(i));
		while (irqs[i] < 1)
			asm volatile("yield");
	}
	u64 list = BIT(n_cpus) - 2; /* all but this one */
	WRITE_ICC(ICC_SGI1R, 2ULL << 24 | list);
	bool ok = true;
	for (unsigned i = 1; i < n_cpus; i++) {
		while (irqs[i] < 2)
			asm volatile("yield");
		ok &= irqs[i] == 2 && from_intid[i] == 2;
	}
	check(ok && irqs[0] == 0, "SGIs to a list of CPUs");
	WRITE_ICC(ICC_SGI1R, 2ULL << 24 | BIT(40));
	for (unsigned i = 1; i < n_cpus; i++)
		while (irqs[i] < 3)
			asm volatile("yield");
	check(irqs[0] == 0, "an SGI to all others (IRM)");
	/* An SPI goes where GICD_IROUTER says. */
	const unsigned spi = 101;
	gic_enable(spi, 0x80, true);
	ok = true;
	for (unsigned i = 1; i < n_cpus; i++) {
		write64(GICD + 0x6000 + 8 * spi, i);
		write32(gic_reg(spi, 0x200), 1u << spi % 32);
		while (irqs[i] < 4)
			asm volatile("yield");
		ok &= from_intid[i] == spi;
	}
	check(ok && irqs[0] == 0, "an SPI routed to each CPU in turn");
	for (unsigned i = 1; i < n_cpus; i++)
		smp_wait(i);
}

void guest_main(void)
{
	n_cpus = cpu_count();
	note("%u CPUs", n_cpus);
	psci_calls();
	if (n_cpus > 1)
		on_and_off();
	smp_start();
	atomics();
	if (n_cpus > 1) {
		memory_order();
		shootdown();
		cross_modification();
		across_pages();
		races();
		events();
	}
}

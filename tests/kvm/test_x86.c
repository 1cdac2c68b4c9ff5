/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM on x86-64, with guests of a few instructions (guests.S) and no machine around
 * them: how a vCPU is entered, what it reaches, how it is interrupted, kicked and reset.
 *
 * A guest says what it sees by writing numbers to a port, and ends by a write to another. Skipped
 * where KVM cannot be used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "engine/engine.h"
#include "engine/kvm/kvm.h"
#include "host/notifier.h"
#include "mem/gmem.h"

enum {
	RAM_SIZE = 4 << 20,
	GDT = 0x1000,
	IDT = 0x2000,
	TABLES = 0x3000, /* 6 pages: everything below 4 GiB, where it is */
	SIPI_PAGE = 0x9000,
	SIGN = 0x80000, /* CPU 1 was here */
	STACK = 0x90000,
	CODE = 0x100000,
	DEVICE = 0xd0000000,
	PORT_SAY = 0xf0,
	PORT_STOP = 0xf4,
	PORT_LOWER = 0xf8,
	N_SAID = 64,
};

/* guests.S */
extern const uint8_t guests[], guests_end[];
extern const uint8_t guest_long[], guest_protected[], guest_writes[], guest_ports[], guest_mmio[],
	guest_doorbell[], guest_irq_edge[], guest_irq_level[], guest_timer[], guest_mirror[],
	guest_starts_second[], guest_second[], guest_second_end[], guest_triple_fault[],
	guest_after_reset[], guest_hlt_forever[], guest_spin[], guest_counts[], guest_cpuid[],
	isr_count[], isr_lower[];

/* Selectors of the GDT. */
enum { CS32 = 0x08, DS = 0x10, CS64 = 0x18, TR = 0x20 };

struct access {
	uint64_t off, val;
	unsigned size;
	bool write;
};

struct rig {
	struct gmem *mem;
	struct bus *mmio, *pio;
	struct engine *engine;
	struct vcpu *cpu[2];
	unsigned n_cpus;
	struct bus_region say, bytes, counter, device;
	struct irq_line level;
	uint32_t said[N_SAID];
	_Atomic unsigned n_said;
	unsigned n_heard;
	atomic_bool stopped;
	struct access seen[32]; /* of the port 0x80 and the device */
	unsigned n_seen;
	uint64_t count;   /* port 0x84 */
	uint32_t *mirror; /* what a write to the device adds to */
	struct log log;
	char logged[256]; /* the last message */
};

/* ---- devices ---- */

static uint64_t say_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	(void)size;
	return 0;
}
static void say_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct rig *r = dev;

	(void)size;
	if (off == PORT_LOWER - PORT_SAY) {
		irq_set(&r->level, false);
	} else if (off == PORT_STOP - PORT_SAY) {
		atomic_store(&r->stopped, true);
		for (unsigned i = 0; i < r->n_cpus; i++)
			engine_kvm.vcpu_kick(r->cpu[i]);
	} else {
		unsigned n = atomic_load(&r->n_said);

		if (n < N_SAID) {
			r->said[n] = (uint32_t)val;
			atomic_store(&r->n_said, n + 1);
		}
	}
}
static const struct bus_ops say_ops = { say_read, say_write };

/* Keeps what comes, and answers with bytes that tell the width. */
static uint64_t keep_read(void *dev, uint64_t off, unsigned size)
{
	struct rig *r = dev;

	if (r->n_seen < 32)
		r->seen[r->n_seen++] = (struct access){ off, 0, size, false };
	return 0xf8f7f6f5f4f3f2f0 + size;
}
static void keep_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct rig *r = dev;

	if (r->n_seen < 32)
		r->seen[r->n_seen++] = (struct access){ off, val, size, true };
	if (r->mirror)
		*r->mirror += (uint32_t)val;
}
static const struct bus_ops keep_ops = { keep_read, keep_write };

static uint64_t count_read(void *dev, uint64_t off, unsigned size)
{
	struct rig *r = dev;

	(void)off;
	(void)size;
	return ++r->count;
}
static void count_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	(void)dev;
	(void)off;
	(void)size;
	(void)val;
}
static const struct bus_ops count_ops = { count_read, count_write };

/* ---- the rig ---- */

static void put64(struct rig *r, uint64_t gpa, uint64_t val)
{
	assert_int_equal(gmem_write(r->mem, gpa, &val, sizeof(val)), 0);
}

static uint64_t address(const uint8_t *label)
{
	return CODE + (uint64_t)(label - guests);
}

/* An interrupt gate of 64-bit mode (SDM 3A, 6.14.1). */
static void put_gate(struct rig *r, unsigned vector, const uint8_t *label)
{
	uint64_t to = address(label);

	put64(r, IDT + vector * 16,
	      (to & 0xffff) | (uint64_t)CS64 << 16 | 0x8e00ULL << 32 | (to >> 16 & 0xffff) << 48);
	put64(r, IDT + vector * 16 + 8, to >> 32);
}

static void fill_memory(struct rig *r)
{
	enum { PRESENT_WRITE = 3, LARGE = 0x80 };

	put64(r, GDT, 0);
	put64(r, GDT + CS32, 0x00cf9b000000ffff);
	put64(r, GDT + DS, 0x00cf93000000ffff);
	put64(r, GDT + CS64, 0x00af9b000000ffff);
	put64(r, GDT + TR, 0x0000890000000067); /* an available TSS at 0 */
	put64(r, GDT + TR + 8, 0);
	put64(r, TABLES, (TABLES + 0x1000) | PRESENT_WRITE);
	for (unsigned i = 0; i < 4; i++) {
		put64(r, TABLES + 0x1000 + i * 8, (TABLES + 0x2000 + i * 0x1000) | PRESENT_WRITE);
		for (uint64_t j = 0; j < 512; j++)
			put64(r, TABLES + 0x2000 + i * 0x1000 + j * 8,
			      ((uint64_t)i << 30 | j << 21) | PRESENT_WRITE | LARGE);
	}
	put_gate(r, 0x40, isr_count);
	put_gate(r, 0x41, isr_lower);
	assert_int_equal(gmem_write(r->mem, CODE, guests, (size_t)(guests_end - guests)), 0);
}

static void add(struct rig *r, struct bus *bus, struct bus_region *region, const char *name,
		uint64_t base, uint64_t size, uint8_t max, const struct bus_ops *ops)
{
	*region = (struct bus_region){ name, base, size, 1, max, ops, r };
	assert_int_equal(bus_add(bus, region, NULL), 0);
}

static void keep_log(void *arg, enum log_level level, const char *who, const char *text)
{
	struct rig *r = arg;

	(void)level;
	snprintf(r->logged, sizeof(r->logged), "%s: %s", who, text);
}

static int set_up_cpus(void **state, unsigned n_cpus)
{
	const struct vcpu_wiring wiring = { 0 };
	struct rig *r = calloc(1, sizeof(*r));
	struct err err = ERR_INIT;

	r->n_cpus = n_cpus;
	log_init(&r->log, LOG_WARN, keep_log, r);
	assert_int_equal(gmem_create(&r->mem, &err), 0);
	assert_int_equal(bus_create(&r->mmio, &err), 0);
	assert_int_equal(bus_create(&r->pio, &err), 0);
	add(r, r->pio, &r->say, "say", PORT_SAY, 12, 4, &say_ops);
	add(r, r->pio, &r->bytes, "bytes", 0x80, 4, 4, &keep_ops);
	add(r, r->pio, &r->counter, "counter", 0x84, 4, 4, &count_ops);
	add(r, r->mmio, &r->device, "device", DEVICE, 0x100, 8, &keep_ops);

	const struct engine_config config = {
		.arch = GUEST_X86_64,
		.mem = r->mem,
		.mmio = r->mmio,
		.pio = r->pio,
		.log = &r->log,
		.n_vcpus = n_cpus,
	};
	struct engine_irqchip chip = { 0 };
	int res = engine_kvm.create(&r->engine, &config, &err);
	if (!res)
		res = engine_kvm.irqchip_create(r->engine, &chip, &err);
	for (unsigned i = 0; i < n_cpus && !res; i++)
		res = engine_kvm.vcpu_create(r->engine, i, &wiring, &r->cpu[i], &err);
	assert_int_equal(gmem_add_ram(r->mem, 0, RAM_SIZE, &err), 0);
	if (!res)
		res = engine_kvm.map(r->engine, &err);
	if (res)
		fail_msg("%s", err.msg);
	fill_memory(r);
	*state = r;
	return 0;
}

static int set_up(void **state)
{
	int res = set_up_cpus(state, 1);
	struct rig *r = *state;

	return res ? res : engine_kvm.vcpu_init(r->cpu[0], NULL);
}

static int set_up_two(void **state)
{
	return set_up_cpus(state, 2);
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	for (unsigned i = 0; i < r->n_cpus; i++)
		engine_kvm.vcpu_destroy(r->cpu[i]);
	engine_kvm.destroy(r->engine);
	bus_destroy(r->pio);
	bus_destroy(r->mmio);
	gmem_destroy(r->mem);
	log_fini(&r->log);
	free(r);
	return 0;
}

static void set(struct rig *r, unsigned reg, uint64_t val)
{
	engine_kvm.vcpu_set(r->cpu[0], reg, val);
}

/* CPU 0 begins at the label in 64-bit mode. */
static void start(struct rig *r, const uint8_t *label)
{
	atomic_store(&r->stopped, false);
	set(r, VCPU_REG_X86_GDTR_BASE, GDT);
	set(r, VCPU_REG_X86_GDTR_LIMIT, TR + 15);
	set(r, VCPU_REG_X86_IDTR_BASE, IDT);
	set(r, VCPU_REG_X86_IDTR_LIMIT, 0xfff);
	set(r, VCPU_REG_X86_CR3, TABLES);
	set(r, VCPU_REG_X86_CR4, 1 << 5);           /* PAE */
	set(r, VCPU_REG_X86_EFER, 1 << 8);          /* LME */
	set(r, VCPU_REG_X86_CR0, 0x80000000U | 1U); /* PG, PE */
	set(r, VCPU_REG_X86_CS, CS64);
	for (unsigned reg = VCPU_REG_X86_SS; reg <= VCPU_REG_X86_GS; reg++)
		set(r, reg, DS);
	set(r, VCPU_REG_X86_ES, DS);
	set(r, VCPU_REG_X86_TR, TR);
	set(r, VCPU_REG_X86_LDTR, 0);
	set(r, VCPU_REG_X86_RSP, STACK);
	set(r, VCPU_REG_X86_RIP, address(label));
	set(r, VCPU_REG_X86_RFLAGS, 2);
}

/* Until the guest stops or something else than a kick comes. */
static enum vcpu_exit go(struct rig *r)
{
	enum vcpu_exit exit = VCPU_KICKED;

	while (!atomic_load(&r->stopped) && exit == VCPU_KICKED)
		assert_int_equal(engine_kvm.vcpu_run(r->cpu[0], &exit), 0);
	return exit;
}

/* What the guest said next. */
static void heard_(struct rig *r, uint32_t val, const char *file, int line)
{
	if (r->n_heard >= atomic_load(&r->n_said))
		print_error("the guest says no more, and should %#x\n", val);
	_assert_true(r->n_heard < atomic_load(&r->n_said), "the guest said it", file, line);
	_assert_int_equal(r->said[r->n_heard++], val, file, line);
}
#define heard(r, val) heard_(r, val, __FILE__, __LINE__)

static void heard_all(struct rig *r)
{
	assert_int_equal(r->n_heard, atomic_load(&r->n_said));
}

static void wait_said(struct rig *r, unsigned n)
{
	while (atomic_load(&r->n_said) < n)
		usleep(100);
}

struct stat_arg {
	const char *name;
	uint64_t n;
};

static void find_stat(void *arg, const char *reason, uint64_t n)
{
	struct stat_arg *s = arg;

	if (strcmp(reason, s->name) == 0)
		s->n = n;
}

static uint64_t stat_of(struct rig *r, const char *name)
{
	struct stat_arg s = { name, UINT64_MAX };

	engine_kvm.vcpu_stats(r->cpu[0], find_stat, &s);
	assert_true(s.n != UINT64_MAX);
	return s.n;
}

/* ---- entries and registers ---- */

static void long_mode(void **state)
{
	struct rig *r = *state;

	start(r, guest_long);
	set(r, VCPU_REG_X86_RAX, 0x1234567800000000);
	set(r, VCPU_REG_X86_RSI, 0x7000);
	assert_int_equal(engine_kvm.vcpu_get(r->cpu[0], VCPU_REG_X86_RSI), 0x7000);
	assert_int_equal(engine_kvm.vcpu_get(r->cpu[0], VCPU_REG_X86_CS), CS64);
	assert_int_equal(go(r), VCPU_KICKED);
	heard(r, 0x7000);
	heard(r, CS64);
	heard(r, 0x12345678);
	heard(r, 0x500); /* LME and LMA */
	heard_all(r);
	assert_true(engine_kvm.vcpu_get(r->cpu[0], VCPU_REG_X86_RIP) > address(guest_long));
	assert_int_equal(engine_kvm.vcpu_get(r->cpu[0], VCPU_REG_X86_EFER), 0x500);
}

/* CPU 0 begins at the label in protected mode, without paging. */
static void start_protected(struct rig *r, const uint8_t *label)
{
	atomic_store(&r->stopped, false);
	set(r, VCPU_REG_X86_GDTR_BASE, GDT);
	set(r, VCPU_REG_X86_GDTR_LIMIT, TR + 15);
	set(r, VCPU_REG_X86_CR0, 1);
	set(r, VCPU_REG_X86_CS, CS32);
	set(r, VCPU_REG_X86_DS, DS);
	set(r, VCPU_REG_X86_ES, DS);
	set(r, VCPU_REG_X86_SS, DS);
	set(r, VCPU_REG_X86_TR, TR);
	set(r, VCPU_REG_X86_RIP, address(label));
}

static void protected_mode(void **state)
{
	struct rig *r = *state;

	start_protected(r, guest_protected);
	set(r, VCPU_REG_X86_RBX, 0x300000);
	put64(r, 0x300000, 0xfeedf00d);
	assert_int_equal(go(r), VCPU_KICKED);
	heard(r, 0x300000);
	assert_int_equal(r->said[r->n_heard++] & 0x80000001, 1); /* PE and not PG */
	heard(r, 0xfeedf00d);
	heard_all(r);
}

/* ---- the dirty log ---- */

enum { RAM_PAGES = RAM_SIZE / GMEM_PAGE_SIZE, DIRTY_WORDS = RAM_PAGES / 64 };

static void write_pages(struct rig *r, unsigned first, unsigned n)
{
	start_protected(r, guest_writes);
	set(r, VCPU_REG_X86_RDI, (uint64_t)first * GMEM_PAGE_SIZE);
	set(r, VCPU_REG_X86_RCX, n);
	assert_int_equal(go(r), VCPU_KICKED);
}

/* Exactly n pages are in the log, every second one from the first on. */
static void fetched(struct rig *r, unsigned first, unsigned n)
{
	uint64_t dirty[DIRTY_WORDS];

	memset(dirty, 0xff, sizeof(dirty));
	assert_int_equal(engine_kvm.dirty_fetch(r->engine, 0, dirty, NULL), 0);
	for (unsigned i = 0; i < RAM_PAGES; i++) {
		bool written = i >= first && (i - first) % 2 == 0 && (i - first) / 2 < n;

		if ((dirty[i / 64] >> i % 64 & 1) != written)
			fail_msg("page %#x is %slogged", i, written ? "not " : "");
	}
}

static void the_dirty_log_has_what_was_written(void **state)
{
	struct rig *r = *state;
	struct err err = ERR_INIT;
	uint64_t dirty[DIRTY_WORDS];

	assert_int_equal(engine_kvm.dirty_fetch(r->engine, 0, dirty, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "written"));
	write_pages(r, 0x200, 3);
	assert_int_equal(engine_kvm.dirty_log(r->engine, 0, true, NULL), 0);
	fetched(r, 0, 0);
	write_pages(r, 0x180, 100); /* some of which it has written before */
	fetched(r, 0x180, 100);
	fetched(r, 0, 0);
	write_pages(r, 0x180, 1); /* noted again once it was fetched */
	write_pages(r, 0x182, 1);
	fetched(r, 0x180, 2);
	put64(r, 0x300000, 1); /* not a vCPU's */
	fetched(r, 0, 0);
	assert_int_equal(engine_kvm.dirty_log(r->engine, 0, false, NULL), 0);
	write_pages(r, 0x3ff, 1);
	assert_int_equal(engine_kvm.dirty_fetch(r->engine, 0, dirty, NULL), -ENOENT);
}

static void a_selector_beyond_the_gdt_is_an_error(void **state)
{
	struct rig *r = *state;
	enum vcpu_exit exit;

	start(r, guest_long);
	set(r, VCPU_REG_X86_FS, 0x1000);
	assert_int_equal(engine_kvm.vcpu_run(r->cpu[0], &exit), -EFAULT);
}

/* To run where a device is: an error that says where, and no hang. */
static void what_kvm_cannot_do_is_told(void **state)
{
	struct rig *r = *state;
	enum vcpu_exit exit;

	start(r, guest_long);
	set(r, VCPU_REG_X86_RIP, DEVICE);
	assert_int_equal(engine_kvm.vcpu_run(r->cpu[0], &exit), -EIO);
	assert_non_null(strstr(r->logged, "KVM cannot go on"));
	assert_non_null(strstr(r->logged, "0xd0000000"));
	assert_non_null(strstr(r->logged, "internal error 1): it has no emulation"));
}

/* ---- devices ---- */

static void ports(void **state)
{
	static const struct access seen[] = {
		{ 0, 0x12, 1, true }, { 0, 0x3456, 2, true }, { 0, 0x789abcde, 4, true },
		{ 0, 0, 1, false },   { 0, 0, 2, false },     { 0, 0, 4, false },
		{ 0, 'h', 1, true },  { 0, 'e', 1, true },    { 0, 'l', 1, true },
		{ 0, 'l', 1, true },  { 0, 'o', 1, true },    { 0, 0, 2, false },
		{ 0, 0, 2, false },   { 0, 0, 2, false },     { 0, 0, 2, false },
	};
	struct rig *r = *state;

	start(r, guest_ports);
	assert_int_equal(go(r), VCPU_KICKED);
	heard(r, 0xf1);
	heard(r, 0xf2f2);
	heard(r, 0xf4f3f2f4);
	heard(r, 0xff);
	heard(r, 0xffffffff);
	heard(r, 0);
	heard(r, 0xf2f2f2f2);
	heard_all(r);
	assert_int_equal(r->n_seen, sizeof(seen) / sizeof(seen[0]));
	for (unsigned i = 0; i < r->n_seen; i++)
		assert_memory_equal(&r->seen[i], &seen[i], sizeof(seen[i]));
	assert_true(stat_of(r, "port") > 0);
	assert_true(stat_of(r, "kvm_exits") >= stat_of(r, "port"));
	assert_int_equal(stat_of(r, "mmio"), 0);
}

static void mmio(void **state)
{
	struct rig *r = *state;

	start(r, guest_mmio);
	assert_int_equal(go(r), VCPU_KICKED);
	heard(r, 0xf1);
	heard(r, 0xf2f2);
	heard(r, 0xf4f3f2f4);
	heard(r, 0xf4f3f2f8);
	heard(r, 0xf8f7f6f5);
	heard(r, 0xffffffff);
	heard(r, 0xffffffff);
	heard_all(r);
	assert_int_equal(r->seen[0].val, 0x11);
	assert_int_equal(r->seen[1].val, 0x2222);
	assert_int_equal(r->seen[1].off, 2);
	assert_int_equal(r->seen[2].val, 0x33333333);
	assert_int_equal(r->seen[3].val, 0x4444444455555555);
	assert_int_equal(r->n_seen, 8);
}

static void a_doorbell_does_not_come_to_hako(void **state)
{
	struct rig *r = *state;
	struct notifier bell;

	assert_int_equal(notifier_init(&bell, NULL), 0);
	assert_int_equal(bus_doorbell_add(r->mmio, &r->device, 0x50, 7, &bell), 0);
	start(r, guest_doorbell);
	assert_int_equal(go(r), VCPU_KICKED);
	assert_true(notifier_clear(&bell));
	/* Three writes: the doorbell's is the kernel's; of the others, one rings after all. */
	assert_int_equal(stat_of(r, "mmio"), 2);
	assert_int_equal(r->n_seen, 1);
	assert_int_equal(r->seen[0].val, 8);

	bus_doorbell_del(r->mmio, &r->device, 0x50, 7);
	start(r, guest_doorbell);
	assert_int_equal(go(r), VCPU_KICKED);
	assert_false(notifier_clear(&bell));
	assert_int_equal(stat_of(r, "mmio"), 5);
	assert_int_equal(r->n_seen, 4);
	notifier_fini(&bell);
}

/* Reads come from the page, writes to the device, which changes the page; a doorbell
 * still rings. */
static void a_mirror_answers_reads(void **state)
{
	struct rig *r = *state;
	uint8_t *page = aligned_alloc(BUS_MIRROR_SIZE, BUS_MIRROR_SIZE);
	struct notifier bell;

	memset(page, 0xaa, BUS_MIRROR_SIZE);
	r->mirror = (uint32_t *)(void *)(page + 0x60);
	*r->mirror = 3;
	assert_int_equal(notifier_init(&bell, NULL), 0);
	assert_int_equal(bus_doorbell_add(r->mmio, &r->device, 0x50, 7, &bell), 0);
	assert_int_equal(bus_mirror_add(r->mmio, DEVICE, page), 0);
	start(r, guest_mirror);
	assert_int_equal(go(r), VCPU_KICKED);
	heard(r, 3);
	heard(r, 3 + 5); /* keep_write() */
	heard(r, 0xaaaaaaaa);
	heard_all(r);
	assert_true(notifier_clear(&bell));
	assert_int_equal(r->n_seen, 1);
	assert_true(r->seen[0].write && r->seen[0].off == 0x64 && r->seen[0].val == 5);
	assert_int_equal(stat_of(r, "mmio"), 1);

	/* And without it, all is as before. */
	bus_mirror_del(r->mmio, DEVICE);
	bus_doorbell_del(r->mmio, &r->device, 0x50, 7);
	r->mirror = NULL;
	free(page);
	start(r, guest_mirror);
	assert_int_equal(go(r), VCPU_KICKED);
	assert_int_equal(stat_of(r, "mmio"), 1 + 5);
	notifier_fini(&bell);
}

/* ---- interrupts ---- */

/* Runs the guest on a thread of its own, so that the test can be what is outside. */
static void *run_guest(void *arg)
{
	struct rig *r = arg;

	assert_int_equal(engine_kvm.vcpu_init(r->cpu[0], NULL), 0);
	return (void *)(uintptr_t)go(r);
}

static pthread_t launch(struct rig *r, const uint8_t *label)
{
	pthread_t thread;

	start(r, label);
	assert_int_equal(pthread_create(&thread, NULL, run_guest, r), 0);
	return thread;
}

static enum vcpu_exit land(pthread_t thread)
{
	void *exit;

	assert_int_equal(pthread_join(thread, &exit), 0);
	return (enum vcpu_exit)(uintptr_t)exit;
}

static void an_edge_is_one_interrupt(void **state)
{
	struct rig *r = *state;
	struct irq_line line;
	pthread_t thread;

	assert_int_equal(engine_kvm.irq(r->engine, 5, true, &line, NULL), 0);
	thread = launch(r, guest_irq_edge);
	for (unsigned i = 0; i < 3; i++) {
		wait_said(r, i + 1);
		irq_set(&line, true);
		irq_set(&line, false);
		wait_said(r, i + 2);
	}
	assert_int_equal(land(thread), VCPU_KICKED);
	heard(r, 0x5e7);
	for (uint32_t i = 1; i <= 3; i++)
		heard(r, i);
	heard_all(r);
}

static void a_level_lasts(void **state)
{
	struct rig *r = *state;
	pthread_t thread;

	assert_int_equal(engine_kvm.irq(r->engine, 6, false, &r->level, NULL), 0);
	thread = launch(r, guest_irq_level);
	wait_said(r, 1);
	irq_set(&r->level, true);
	wait_said(r, 2);
	irq_set(&r->level, true);
	assert_int_equal(land(thread), VCPU_KICKED);
	heard(r, 0x5e7);
	heard(r, 1);
	heard(r, 2);
	heard_all(r);
}

static void the_apic_timer_wakes(void **state)
{
	struct rig *r = *state;

	start(r, guest_timer);
	assert_int_equal(go(r), VCPU_KICKED);
	heard(r, 1);
	heard(r, 2);
	heard_all(r);
}

/* ---- kicks and sleep ---- */

static void *run_second(void *arg)
{
	struct rig *r = arg;
	enum vcpu_exit exit;

	assert_int_equal(engine_kvm.vcpu_init(r->cpu[1], NULL), 0);
	while (!atomic_load(&r->stopped))
		assert_int_equal(engine_kvm.vcpu_run(r->cpu[1], &exit), 0);
	return NULL;
}

static void a_kick_before_the_run_is_kept(void **state)
{
	struct rig *r = *state;
	enum vcpu_exit exit = VCPU_CALL;

	start(r, guest_spin);
	engine_kvm.vcpu_kick(r->cpu[0]);
	assert_int_equal(engine_kvm.vcpu_run(r->cpu[0], &exit), 0);
	assert_int_equal(exit, VCPU_KICKED);
	assert_int_equal(atomic_load(&r->n_said), 0);
}

static void stop(struct rig *r, pthread_t thread)
{
	atomic_store(&r->stopped, true);
	engine_kvm.vcpu_kick(r->cpu[0]);
	assert_int_equal(land(thread), VCPU_KICKED);
}

static void stop_from_outside(struct rig *r, const uint8_t *label)
{
	pthread_t thread = launch(r, label);

	wait_said(r, 1);
	stop(r, thread);
}

static void a_kick_stops_a_loop(void **state)
{
	stop_from_outside(*state, guest_spin);
}

static void a_kick_stops_a_cpu_that_no_interrupt_wakes(void **state)
{
	stop_from_outside(*state, guest_hlt_forever);
}

static void what_sleeps_for_good_is_told(void **state)
{
	struct rig *r = *state;
	pthread_t thread = launch(r, guest_hlt_forever);

	wait_said(r, 1);
	while (!engine_kvm.vcpu_stuck(r->cpu[0]))
		usleep(1000);
	assert_true(engine_kvm.vcpu_stuck(r->cpu[0]));
	stop(r, thread);
}

static void what_an_interrupt_wakes_is_not_stuck(void **state)
{
	struct rig *r = *state;
	pthread_t thread = launch(r, guest_irq_edge);

	wait_said(r, 1);
	for (unsigned i = 0; i < 20; i++) {
		assert_false(engine_kvm.vcpu_stuck(r->cpu[0]));
		usleep(1000);
	}
	stop(r, thread);
}

static void a_cpu_that_waits_for_sipi_is_off(void **state)
{
	struct rig *r = *state;
	pthread_t second;

	assert_int_equal(pthread_create(&second, NULL, run_second, r), 0);
	while (!engine_kvm.vcpu_stuck(r->cpu[1]))
		usleep(1000);
	atomic_store(&r->stopped, true);
	engine_kvm.vcpu_kick(r->cpu[1]);
	pthread_join(second, NULL);
}

struct kicker {
	struct rig *rig;
	atomic_bool stop;
};

static void *kick_and_kick(void *arg)
{
	struct kicker *k = arg;

	while (!atomic_load(&k->stop)) {
		engine_kvm.vcpu_kick(k->rig->cpu[0]);
		usleep(50);
	}
	return NULL;
}

/* Each IN and OUT happens once, however often the vCPU is kicked in between. */
static void kicks_lose_nothing(void **state)
{
	enum { TIMES = 3000 };
	struct rig *r = *state;
	struct kicker k = { .rig = r };
	pthread_t thread;

	start(r, guest_counts);
	set(r, VCPU_REG_X86_RBX, TIMES);
	assert_int_equal(pthread_create(&thread, NULL, kick_and_kick, &k), 0);
	assert_int_equal(go(r), VCPU_KICKED);
	atomic_store(&k.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(r->count, TIMES);
	heard(r, TIMES * (TIMES + 1) / 2);
	heard_all(r);
	assert_true(stat_of(r, "kick") > 1);
}

/* ---- a second vCPU ---- */

/* Run until CPU 0, which starts CPU 1, stops both. */
static void run_two(struct rig *r)
{
	pthread_t first, second;

	assert_int_equal(gmem_write(r->mem, SIPI_PAGE, guest_second,
				    (size_t)(guest_second_end - guest_second)),
			 0);
	put64(r, SIGN, 0);
	first = launch(r, guest_starts_second);
	assert_int_equal(pthread_create(&second, NULL, run_second, r), 0);
	assert_int_equal(land(first), VCPU_KICKED);
	pthread_join(second, NULL);
	heard(r, SIPI_PAGE >> 4); /* its CS */
	heard(r, 1);              /* its APIC ID, by CPUID */
	heard(r, 0x1111);
	heard_all(r);
}

static void sipi_starts_the_second(void **state)
{
	run_two(*state);
}

/* It waits for SIPI again. */
static void a_reset_stops_the_second(void **state)
{
	struct rig *r = *state;

	run_two(r);
	assert_int_equal(engine_kvm.reset(r->engine, NULL), 0);
	engine_kvm.vcpu_reset(r->cpu[1]);
	engine_kvm.vcpu_reset(r->cpu[0]);
	run_two(r);
}

/* ---- debuggers ---- */

static uint64_t tsc_of(struct vcpu *v)
{
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} one = { .msrs.nmsrs = 1 };

	one.msrs.entries[0].index = 0x10; /* IA32_TSC */
	assert_int_equal(kvm_ioctl(v->fd, KVM_GET_MSRS, &one), 1);
	return one.msrs.entries[0].data;
}

/* Since Linux 5.16; and there are KVMs that only say yes. */
static bool can_move_tsc(struct vcpu *v)
{
	uint64_t offset = 1 << 20, got = 0;
	struct kvm_device_attr set = { .group = KVM_VCPU_TSC_CTRL,
				       .attr = KVM_VCPU_TSC_OFFSET,
				       .addr = (uintptr_t)&offset },
			       get = set;

	get.addr = (uintptr_t)&got;
	return kvm_ioctl(v->fd, KVM_SET_DEVICE_ATTR, &set) == 0 &&
	       kvm_ioctl(v->fd, KVM_GET_DEVICE_ATTR, &get) == 0 && got == offset;
}

/* Also when gdb has the machine reset meanwhile. Two CPUs have one time. */
static void time_stands_still_for_a_debugger(void **state)
{
	enum { HELD_US = 200000, HELD_NS = 1000 * HELD_US };
	const struct debug_ops *ops = engine_kvm.debug;
	struct rig *r = *state;
	bool tsc_too = can_move_tsc(r->cpu[0]) && can_move_tsc(r->cpu[1]);

	if (!tsc_too)
		printf("# this KVM cannot move a TSC\n");
	for (unsigned reset = 0; reset < 2; reset++) {
		struct kvm_clock_data before = { 0 }, after = { 0 };
		uint64_t tsc = tsc_of(r->cpu[0]), held;

		assert_int_equal(kvm_ioctl(r->engine->vm, KVM_GET_CLOCK, &before), 0);
		ops->time_stop(r->engine);
		usleep(HELD_US);
		ops->time_stop(r->engine); /* as once */
		if (reset) {
			assert_int_equal(engine_kvm.reset(r->engine, NULL), 0);
			engine_kvm.vcpu_reset(r->cpu[0]);
			engine_kvm.vcpu_reset(r->cpu[1]);
		}
		held = tsc_of(r->cpu[0]) - tsc;
		ops->time_go(r->engine);
		assert_int_equal(kvm_ioctl(r->engine->vm, KVM_GET_CLOCK, &after), 0);
		assert_true(after.clock - before.clock < HELD_NS);
		for (unsigned i = 0; i < 2 && tsc_too; i++)
			assert_true(tsc_of(r->cpu[i]) - tsc < held);
	}
}

/* ---- ends ---- */

static void a_triple_fault_resets(void **state)
{
	struct rig *r = *state;
	struct err err = ERR_INIT;

	start(r, guest_triple_fault);
	assert_int_equal(go(r), VCPU_RESET);
	assert_non_null(strstr(r->logged, "triple fault"));
	heard(r, 0x7f);
	/* As a machine does. */
	assert_int_equal(engine_kvm.reset(r->engine, &err), 0);
	engine_kvm.vcpu_reset(r->cpu[0]);
	assert_int_equal(engine_kvm.vcpu_get(r->cpu[0], VCPU_REG_X86_RIP), 0xfff0);
	assert_int_equal(engine_kvm.vcpu_get(r->cpu[0], VCPU_REG_X86_RFLAGS), 2);
	assert_int_equal(engine_kvm.vcpu_get(r->cpu[0], VCPU_REG_X86_CR4), 0);
	assert_int_equal(engine_kvm.vcpu_get(r->cpu[0], VCPU_REG_X86_EFER), 0);
	start(r, guest_after_reset);
	assert_int_equal(go(r), VCPU_KICKED);
	heard(r, 0);          /* LSTAR */
	heard(r, 0x00070406); /* PAT (SDM 3A, 11.12.4) */
	heard(r, 0);          /* IA32_MTRR_PHYSBASE0 */
	heard(r, 0);          /* IA32_MTRR_FIX4K_F8000 */
	heard(r, 0x806);      /* IA32_MTRR_DEF_TYPE: write-back */
	heard(r, 0x800);      /* xAPIC */
	heard(r, 0x10000);    /* timer masked */
	heard(r, 0x10000);    /* IOAPIC pin masked */
	heard(r, 0);          /* DR0 */
	heard(r, 0x20);       /* CR4, as start() sets it */
	heard(r, 0);          /* XMM3 */
	heard_all(r);
}

/* ---- CPUID ---- */

struct leaf {
	uint32_t eax, ebx, ecx, edx;
};

static struct leaf cpuid(struct rig *r, uint32_t leaf, uint32_t index)
{
	start(r, guest_cpuid);
	set(r, VCPU_REG_X86_RAX, leaf);
	set(r, VCPU_REG_X86_RCX, index);
	atomic_store(&r->n_said, 0);
	assert_int_equal(go(r), VCPU_KICKED);
	return (struct leaf){ r->said[0], r->said[1], r->said[2], r->said[3] };
}

static void cpuid_makes_sense(void **state)
{
	struct rig *r = *state;
	struct leaf l;

	/* Two cores of a thread each; this is the first. */
	l = cpuid(r, 1, 0);
	assert_int_equal(l.ebx >> 24, 0);
	assert_int_equal(l.ebx >> 16 & 0xff, 2);
	assert_true(l.edx & 1U << 28); /* HTT */
	assert_true(l.ecx & 1U << 31); /* a hypervisor */
	assert_true(l.ecx & 1U << 24); /* TSC deadline */
	assert_false(l.ecx & 1U << 5); /* VMX */
	if (cpuid(r, 0, 0).eax >= 0xb) {
		l = cpuid(r, 0xb, 0);
		assert_int_equal(l.eax, 0);
		assert_int_equal(l.ebx, 1);
		assert_int_equal(l.ecx, 0x100);
		l = cpuid(r, 0xb, 1);
		assert_int_equal(l.eax, 1);
		assert_int_equal(l.ebx, 2);
		assert_int_equal(l.ecx, 0x201);
		assert_int_equal(l.edx, 0);
	}
	assert_int_equal(cpuid(r, 7, 0).edx & (1U << 22 | 1U << 24 | 1U << 25), 0); /* AMX */
	l = cpuid(r, 0x80000001, 0);
	assert_false(l.ecx & 1U << 2); /* SVM */
	assert_true(l.edx & 1U << 29); /* long mode */
	/* KVM says who it is, and has a clock. */
	l = cpuid(r, 0x40000000, 0);
	assert_int_equal(l.ebx, 0x4b4d564b); /* "KVMK" */
	l = cpuid(r, 0x40000001, 0);
	assert_true(l.eax & 1U << 3);
}

/* ---- what can be wrong with the host ---- */

static void refused(const char *path, int code, const char *says)
{
	struct err err = ERR_INIT;

	assert_int_equal(kvm_open(path, &err), code);
	if (!strstr(err.msg, says))
		fail_msg("'%s' is not in '%s'", says, err.msg);
	assert_non_null(strstr(err.msg, path));
}

static void no_kvm_is_told(void **state)
{
	char path[] = "/tmp/hako-kvm-XXXXXX";
	int fd = mkstemp(path), status;
	pid_t child;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	refused("/nonexistent/kvm", -ENOENT, "nested virtualization");
	refused("/dev/null", -ENOTTY, "not KVM's device");
	refused("/tmp", -EISDIR, "does not open");

	/* As a user who may not; as root, by becoming one. */
	for (mode_t mode = 0; mode <= 060; mode += 060) {
		assert_int_equal(chmod(path, mode), 0);
		child = fork();
		if (child == 0) {
			struct err err = ERR_INIT;

			if (geteuid() == 0 &&
			    (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0))
				_exit(2);
			_exit(kvm_open(path, &err) != -EACCES ||
			      !strstr(err.msg, "usermod -aG kvm") ||
			      !strstr(err.msg, "chmod g+rw") != (mode != 0));
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
	unlink(path);
}

/* No more descriptors: the device is the last, and the VM would be one more. */
static void a_vm_that_cannot_be_made_is_told(void **state)
{
	struct rlimit limit, none;
	struct err err = ERR_INIT;
	int probe = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	close(probe);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)probe + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int res = engine_kvm.probe(GUEST_X86_64, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(res, -EMFILE);
	assert_non_null(strstr(err.msg, "cannot create a virtual machine"));
	assert_non_null(strstr(err.msg, "ulimit -n"));
}

static void too_many_cpus_are_told(void **state)
{
	struct rig *r = *state;
	const struct engine_config config = {
		.arch = GUEST_X86_64,
		.mem = r->mem,
		.mmio = r->mmio,
		.pio = r->pio,
		.n_vcpus = 1 << 20,
	};
	struct err err = ERR_INIT;
	struct engine *e = NULL;

	assert_int_equal(engine_kvm.create(&e, &config, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "1048576"));
	assert_null(e);
}

static void memory_beyond_the_cpu_is_told(void **state)
{
	struct rig *r = *state;
	struct err err = ERR_INIT;

	assert_int_equal(gmem_add_ram(r->mem, 1ULL << 52, RAM_SIZE, &err), 0);
	assert_int_equal(engine_kvm.map(r->engine, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "less memory"));
}

static void other_guests_are_told(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(engine_kvm.probe(GUEST_A64, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "x86-64"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TWO(f)  cmocka_unit_test_setup_teardown(f, set_up_two, tear_down)

int main(void)
{
	const struct CMUnitTest host[] = {
		cmocka_unit_test(no_kvm_is_told),
		cmocka_unit_test(other_guests_are_told),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_kvm_is_told),
		cmocka_unit_test(other_guests_are_told),
		cmocka_unit_test(a_vm_that_cannot_be_made_is_told),
		TEST(long_mode),
		TEST(protected_mode),
		TEST(the_dirty_log_has_what_was_written),
		TEST(a_selector_beyond_the_gdt_is_an_error),
		TEST(what_kvm_cannot_do_is_told),
		TEST(ports),
		TEST(mmio),
		TEST(a_doorbell_does_not_come_to_hako),
		TEST(a_mirror_answers_reads),
		TEST(an_edge_is_one_interrupt),
		TEST(a_level_lasts),
		TEST(the_apic_timer_wakes),
		TEST(a_kick_before_the_run_is_kept),
		TEST(a_kick_stops_a_loop),
		TEST(a_kick_stops_a_cpu_that_no_interrupt_wakes),
		TEST(kicks_lose_nothing),
		TEST(what_sleeps_for_good_is_told),
		TEST(what_an_interrupt_wakes_is_not_stuck),
		TWO(a_cpu_that_waits_for_sipi_is_off),
		TWO(sipi_starts_the_second),
		TWO(time_stands_still_for_a_debugger),
		TEST(a_triple_fault_resets),
		TWO(a_reset_stops_the_second),
		TWO(cpuid_makes_sense),
		TEST(too_many_cpus_are_told),
		TEST(memory_beyond_the_cpu_is_told),
	};
	struct err err = ERR_INIT;

	if (engine_kvm.probe(GUEST_X86_64, &err) < 0) {
		printf("# the guests are skipped: %s\n", err.msg);
		return cmocka_run_group_tests(host, NULL, NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM when the kernel refuses, call by call; and what it asks of kernels that this host
 * has not. Each ioctl() of the engine comes by here, and goes on to /dev/kvm but where a test says
 * otherwise. Skipped where KVM cannot be used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "engine/engine.h"
#include "engine/kvm/kvm.h"
#include "mem/gmem.h"

enum { RAM_SIZE = 2 << 20, MSRS_MAX = 255 };

/* What the kernel is like. */
static struct {
	unsigned calls, refused; /* the call of this number is, 0: none; from 1 on */
	bool pmu;                /* it has one, and a way to do without */
	unsigned no_pmu, vcpus;  /* the numbers of those calls */
	unsigned tsc_khz;        /* that of the last KVM_SET_TSC_KHZ */
	unsigned more_msrs;      /* it lists so many more */
	unsigned largest;        /* of all lists of MSRs that it was given */
	unsigned clock_told;     /* calls of KVM_KVMCLOCK_CTRL */
	int run_fails;           /* KVM_RUN does, so; 0: see `exit` */
	struct kvm_run *run, exit;
} host;

/* A list of MSRs that is longer than this kernel's; KVM reads as zero what it has listed itself. */
static int list_msrs(int fd, struct kvm_msr_list *list)
{
	unsigned room = list->nmsrs;
	int res = (int)syscall(SYS_ioctl, fd, KVM_GET_MSR_INDEX_LIST, list);

	if (res < 0 && errno != E2BIG)
		return res;
	list->nmsrs += host.more_msrs;
	if (list->nmsrs > room) {
		errno = E2BIG;
		return -1;
	}
	for (unsigned i = list->nmsrs - host.more_msrs; i < list->nmsrs; i++)
		list->indices[i] = list->indices[0];
	return 0;
}

static int get_msrs(int fd, struct kvm_msrs *msrs)
{
	if (msrs->nmsrs > host.largest)
		host.largest = msrs->nmsrs;
	if (msrs->nmsrs > MSRS_MAX) {
		errno = E2BIG;
		return -1;
	}
	return (int)syscall(SYS_ioctl, fd, KVM_GET_MSRS, msrs);
}

static int run(void)
{
	if (host.run_fails) {
		errno = host.run_fails;
		return -1;
	}
	memcpy(&host.run->exit_reason, &host.exit.exit_reason, sizeof(host.exit.exit_reason));
	memcpy(&host.run->hw, &host.exit.hw, sizeof(host.exit) - offsetof(struct kvm_run, hw));
	return 0;
}

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (++host.calls == host.refused) {
		errno = EIO;
		return -1;
	}
	if (request == KVM_GET_MSR_INDEX_LIST && host.more_msrs)
		return list_msrs(fd, arg);
	if (request == KVM_GET_MSRS)
		return get_msrs(fd, arg);
	if (request == KVM_RUN)
		return run();
	host.clock_told += request == KVM_KVMCLOCK_CTRL;
	if (request == KVM_SET_TSC_KHZ)
		host.tsc_khz = host.calls;
	if (request == KVM_CREATE_VCPU && !host.vcpus)
		host.vcpus = host.calls;
	if (host.pmu && request == KVM_CHECK_EXTENSION && (uintptr_t)arg == KVM_CAP_PMU_CAPABILITY)
		return KVM_PMU_CAP_DISABLE;
	if (host.pmu && request == KVM_ENABLE_CAP) {
		const struct kvm_enable_cap *cap = arg;

		if (cap->cap == KVM_CAP_PMU_CAPABILITY && cap->args[0] == KVM_PMU_CAP_DISABLE)
			host.no_pmu = host.calls;
		return 0;
	}
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

struct rig {
	struct gmem *mem;
	struct bus *mmio, *pio;
	struct engine *engine;
	struct vcpu *cpu;
	struct log log;
	char logged[512];
};

static void keep_log(void *arg, enum log_level level, const char *who, const char *text)
{
	struct rig *r = arg;

	(void)level;
	snprintf(r->logged, sizeof(r->logged), "%s: %s", who, text);
}

/* A machine with one CPU, as far as it comes. */
static int make(struct rig *r, struct err *err)
{
	const struct vcpu_wiring wiring = { 0 };
	struct engine_irqchip chip = { 0 };
	struct irq_line line;
	int res;

	*r = (struct rig){ 0 };
	log_init(&r->log, LOG_WARN, keep_log, r);
	assert_int_equal(gmem_create(&r->mem, NULL), 0);
	assert_int_equal(gmem_add_ram(r->mem, 0, RAM_SIZE, NULL), 0);
	assert_int_equal(bus_create(&r->mmio, NULL), 0);
	assert_int_equal(bus_create(&r->pio, NULL), 0);
	const struct engine_config config = {
		.arch = GUEST_X86_64,
		.mem = r->mem,
		.mmio = r->mmio,
		.pio = r->pio,
		.log = &r->log,
		.n_vcpus = 1,
	};
	host.calls = host.vcpus = host.no_pmu = host.largest = 0;
	res = engine_kvm.create(&r->engine, &config, err);
	if (!res)
		res = engine_kvm.irqchip_create(r->engine, &chip, err);
	if (!res)
		res = engine_kvm.irq(r->engine, 4, true, &line, err);
	if (!res)
		res = engine_kvm.vcpu_create(r->engine, 0, &wiring, &r->cpu, err);
	if (!res)
		res = engine_kvm.map(r->engine, err);
	if (!res)
		res = engine_kvm.vcpu_init(r->cpu, err);
	if (!res)
		host.run = r->cpu->run;
	return res;
}

static void unmake(struct rig *r)
{
	host.refused = 0;
	if (r->cpu)
		engine_kvm.vcpu_destroy(r->cpu);
	if (r->engine)
		engine_kvm.destroy(r->engine);
	bus_destroy(r->pio);
	bus_destroy(r->mmio);
	gmem_destroy(r->mem);
	log_fini(&r->log);
}

/* A call that fails either does not matter, or makes an error with a sentence. */
static void each_call_may_fail(void **state)
{
	unsigned calls, fatal = 0;
	struct rig r;

	(void)state;
	assert_int_equal(make(&r, NULL), 0);
	calls = host.calls;
	unmake(&r);
	for (unsigned n = 1; n <= calls; n++) {
		struct err err = ERR_INIT;

		host.refused = n;
		int res = make(&r, &err);
		unmake(&r);
		if (res >= 0)
			continue;
		fatal++;
		assert_int_equal(err.code, res);
		if (strlen(err.msg) < 20)
			fail_msg("call %u of %u: '%s'", n, calls, err.msg);
	}
	assert_true(fatal > 20);
}

/* The same of a reset; what has failed is an error when the CPU runs next. */
static void each_call_of_a_reset_may_fail(void **state)
{
	enum vcpu_exit exit;
	struct rig r;
	unsigned calls, fatal = 0;

	(void)state;
	host.run_fails = EINTR;
	assert_int_equal(make(&r, NULL), 0);
	host.calls = 0;
	engine_kvm.vcpu_reset(r.cpu);
	calls = host.calls;
	unmake(&r);
	for (unsigned n = 1; n <= calls; n++) {
		assert_int_equal(make(&r, NULL), 0);
		host.calls = 0;
		host.refused = n;
		engine_kvm.vcpu_reset(r.cpu);
		host.refused = 0;
		if (engine_kvm.vcpu_run(r.cpu, &exit) < 0) {
			fatal++;
			assert_non_null(strstr(r.logged, "cannot be reset"));
		}
		unmake(&r);
	}
	assert_true(fatal >= 9);
}

static void a_kernel_with_many_msrs(void **state)
{
	enum vcpu_exit exit;
	struct rig r;

	(void)state;
	host.more_msrs = 2 * MSRS_MAX;
	assert_int_equal(make(&r, NULL), 0);
	engine_kvm.vcpu_reset(r.cpu);
	host.run_fails = EINTR;
	assert_int_equal(engine_kvm.vcpu_run(r.cpu, &exit), 0);
	assert_in_range(host.largest, 2, MSRS_MAX);
	unmake(&r);
	host.more_msrs = 0;
}

static void counters_are_switched_off(void **state)
{
	struct rig r;

	(void)state;
	host.pmu = true;
	assert_int_equal(make(&r, NULL), 0);
	assert_in_range(host.no_pmu, 1, host.vcpus - 1);
	unmake(&r);
	host.pmu = false;
}

/* KVM_RUN ends for a kick, or since the process was stopped. */
/* Linux may measure its TSC at any time, and a vCPU must get what it knows then. */
static void the_tsc_has_the_rate_of_now(void **state)
{
	struct rig r;

	(void)state;
	host = (typeof(host)){ 0 };
	assert_int_equal(make(&r, NULL), 0);
	assert_true(host.vcpus > 1 && host.tsc_khz == host.vcpus - 1);
	unmake(&r);
}

static void a_stop_is_no_kick(void **state)
{
	enum vcpu_exit exit;
	struct rig r;

	(void)state;
	assert_int_equal(make(&r, NULL), 0);
	host.run_fails = EINTR;
	host.clock_told = 0;
	engine_kvm.vcpu_kick(r.cpu);
	assert_int_equal(engine_kvm.vcpu_run(r.cpu, &exit), 0);
	assert_int_equal(host.clock_told, 0);
	assert_int_equal(engine_kvm.vcpu_run(r.cpu, &exit), 0);
	assert_int_equal(exit, VCPU_KICKED);
	assert_int_equal(host.clock_told, 1);
	unmake(&r);
}

/* What KVM_RUN returns with, and what is said of it. */
static void ends_of_a_run(void **state)
{
	static const struct {
		int fails;
		struct kvm_run exit;
		int res;
		const char *says;
	} ends[] = {
		{ EFAULT, { 0 }, -EFAULT, "memory cannot be had" },
		{ ENOMEM, { 0 }, -ENOMEM, "does not run" },
		{ 0, { .exit_reason = KVM_EXIT_UNKNOWN, .hw = { 0x63 } }, -EIO, "reason 0x63" },
		{ 0,
		  { .exit_reason = KVM_EXIT_FAIL_ENTRY,
		    .fail_entry = { .hardware_entry_failure_reason = 0x80000021 } },
		  -EIO,
		  "does not enter the guest (reason 0x80000021)" },
		{ 0,
		  { .exit_reason = KVM_EXIT_INTERNAL_ERROR, .internal = { 1, 2, { 1, 0x0f } } },
		  -EIO,
		  "no emulation" },
		{ 0,
		  { .exit_reason = KVM_EXIT_INTERNAL_ERROR, .internal = { 3, 1, { 0x80000b0e } } },
		  -EIO,
		  "cannot be delivered" },
		/* Kernels to come: a number, and more data than there is room for. */
		{ 0,
		  { .exit_reason = KVM_EXIT_INTERNAL_ERROR, .internal = { 77, 1000, { 5 } } },
		  -EIO,
		  "internal error 77" },
		{ 0, { .exit_reason = 200 }, -EIO, "unknown exit 200" },
		{ 0,
		  { .exit_reason = KVM_EXIT_SYSTEM_EVENT, .system_event = { .type = 99 } },
		  -EIO,
		  "unknown system event 99" },
	};
	enum vcpu_exit exit;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		assert_int_equal(make(&r, NULL), 0);
		host.run_fails = ends[i].fails;
		host.exit = ends[i].exit;
		assert_int_equal(engine_kvm.vcpu_run(r.cpu, &exit), ends[i].res);
		if (!strstr(r.logged, ends[i].says))
			fail_msg("'%s' is not in '%s'", ends[i].says, r.logged);
		unmake(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call_may_fail),
		cmocka_unit_test(each_call_of_a_reset_may_fail),
		cmocka_unit_test(a_kernel_with_many_msrs),
		cmocka_unit_test(counters_are_switched_off),
		cmocka_unit_test(the_tsc_has_the_rate_of_now),
		cmocka_unit_test(a_stop_is_no_kick),
		cmocka_unit_test(ends_of_a_run),
	};
	struct err err = ERR_INIT;

	if (engine_kvm.probe(GUEST_X86_64, &err) < 0) {
		printf("1..0 # SKIP %s\n", err.msg);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

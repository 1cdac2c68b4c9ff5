/* SPDX-License-Identifier: MIT */
/*
 * The boot timeline.
 */
#include "timing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "say.h"

enum { NS_PER_S = 1000000000 };

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static const struct {
	const char *name, *what;
} events[HAKO_N_EVENTS] = {
	[HAKO_EVENT_CREATE] = { "create", "the options are read: building the machine begins" },
	[HAKO_EVENT_CREATED] = { "created", "the machine is built, the kernel is in its memory" },
	[HAKO_EVENT_GUEST] = { "guest", "the guest's first instruction" },
	[HAKO_EVENT_FIRMWARE] = { "firmware", "its first call of the firmware" },
	[HAKO_EVENT_CONSOLE] = { "console", "its first byte on the serial port" },
	[HAKO_EVENT_VIRTIO] = { "virtio", "its first access to a virtio register" },
	[HAKO_EVENT_DRIVER_OK] = { "driver_ok", "its first virtio driver is ready (DRIVER_OK)" },
	[HAKO_EVENT_READ] = { "read", "its first read of a disk" },
	[HAKO_EVENT_WRITE] = { "write", "its first write to a disk" },
	[HAKO_EVENT_RESET] = { "reset", "it asks for a reset, for the first time" },
	[HAKO_EVENT_END] = { "end", "the run ends" },
};

static const char *const outcomes[] = {
	[HAKO_POWEROFF] = "poweroff",     [HAKO_RESET] = "reset",     [HAKO_STUCK] = "stuck",
	[HAKO_TIMEOUT] = "timeout",       [HAKO_STOPPED] = "stopped", [HAKO_FAILED] = "failed",
	[HAKO_DISK_ERROR] = "disk_error",
};

const char *outcome_name(enum hako_outcome outcome)
{
	return outcomes[outcome];
}

void timing_begin(struct timing *t)
{
	uint64_t used = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	t->exec = clock_ns(CLOCK_MONOTONIC) - used;
}

void timing_take(struct timing *t, const struct hako_vm *vm)
{
	for (enum hako_event e = 0; e < HAKO_N_EVENTS; e++)
		hako_vm_first(vm, e, &t->moments[e]);
	for (size_t n = 0; n < TIMING_COUNTERS_MAX; n++) {
		if (!hako_vm_counter(vm, (unsigned)n, &t->counters[n]))
			break;
		snprintf(t->names[n], sizeof(t->names[n]), "%s", t->counters[n].name);
		t->n_counters = n + 1;
	}
	snprintf(t->engine, sizeof(t->engine), "%s", hako_vm_engine(vm));
	snprintf(t->machine, sizeof(t->machine), "%s", hako_vm_machine(vm));
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

/* How long the guest has run, in seconds, and not 0. */
static double run_seconds(const struct timing *t)
{
	uint64_t from = t->moments[HAKO_EVENT_GUEST].at, to = t->moments[HAKO_EVENT_END].at;

	return from && to > from ? (double)(to - from) / NS_PER_S : 1e-9;
}

/* The most memory that the process has had, of the guest and its own, KiB. */
static long peak_memory(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) < 0 ? 0 : usage.ru_maxrss;
}

static void print_json(const struct timing *t, enum hako_outcome outcome)
{
	fprintf(stderr, "{\"engine\": \"%s\", \"machine\": \"%s\", \"outcome\": \"%s\"", t->engine,
		t->machine, outcomes[outcome]);
	fprintf(stderr, ", \"run_s\": %.6f, \"peak_memory_kib\": %ld, \"events\": {",
		run_seconds(t), peak_memory());
	for (enum hako_event e = 0; e < HAKO_N_EVENTS; e++) {
		const struct hako_moment *m = &t->moments[e];

		fprintf(stderr, "%s\"%s\": ", e ? ", " : "", events[e].name);
		if (m->at)
			fprintf(stderr, "{\"ms\": %.3f, \"cpu_ms\": %.3f}", ms(m->at - t->exec),
				ms(m->cpu));
		else
			fprintf(stderr, "null");
	}
	fprintf(stderr, "}, \"counters\": {");
	for (size_t i = 0; i < t->n_counters; i++)
		fprintf(stderr, "%s\"%s\": %" PRIu64, i ? ", " : "", t->names[i],
			t->counters[i].value);
	fprintf(stderr, "}}\n");
}

/* The event that comes next after one at `at`, in time; HAKO_N_EVENTS: none. */
static enum hako_event next_event(const struct timing *t, uint64_t at, enum hako_event after)
{
	enum hako_event found = HAKO_N_EVENTS;

	for (enum hako_event e = 0; e < HAKO_N_EVENTS; e++) {
		uint64_t when = t->moments[e].at;

		if (when && (when > at || (when == at && e > after)) &&
		    (found == HAKO_N_EVENTS || when < t->moments[found].at))
			found = e;
	}
	return found;
}

static void print_text(const struct timing *t)
{
	double seconds = run_seconds(t);
	enum hako_event e = next_event(t, 0, 0);

	say("        ms     CPU ms  since exec; machine %s, engine %s", t->machine, t->engine);
	for (; e < HAKO_N_EVENTS; e = next_event(t, t->moments[e].at, e))
		say("%10.3f %10.3f  %s", ms(t->moments[e].at - t->exec), ms(t->moments[e].cpu),
		    events[e].what);
	say("     count   a second  in the %.3f s that the guest ran", seconds);
	for (size_t i = 0; i < t->n_counters; i++)
		say("%10" PRIu64 " %10.0f  %s", t->counters[i].value,
		    (double)t->counters[i].value / seconds, t->names[i]);
	say("%10.1f MiB of memory were in use at most, with the guest's",
	    (double)peak_memory() / 1024);
}

void timing_print(const struct timing *t, enum hako_outcome outcome)
{
	if (t->json)
		print_json(t, outcome);
	else
		print_text(t);
}

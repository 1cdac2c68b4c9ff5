/* SPDX-License-Identifier: MIT */
/*
 * Traces of device accesses and interrupts: trace.h.
 */
#include "machine/trace.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "machine/debug.h"
#include "machine/vm.h"

enum { LAST = 16, TAPS_MAX = 64 };

/* An interrupt line with an ear on it. */
struct tap {
	struct trace *trace;
	struct irq_line line;
	char name[16];
	_Atomic bool level;
};

struct trace {
	struct hako_vm *vm;
	struct bus_tracer tracer;
	pthread_mutex_t lock; /* guards the two below */
	struct bus_access last[LAST];
	uint64_t n;
	struct tap taps[TAPS_MAX];
	unsigned n_taps;
};

static void describe(const struct bus_access *a, char *text, size_t size)
{
	char where[64];

	if (a->region)
		snprintf(where, sizeof(where), "0x%llx (%s+0x%llx)", ull(a->addr), a->region->name,
			 ull(a->addr - a->region->base));
	else
		snprintf(where, sizeof(where), "0x%llx", ull(a->addr));
	snprintf(text, size, "%s %u byte%s %s %s%s", a->write ? "write" : "read", a->size,
		 a->size == 1 ? "" : "s", a->write ? "to" : "from", where,
		 !a->refused ? ""
		 : a->region ? ": the device takes no such access"
			     : ": no device is there");
	if (a->write || !a->refused) {
		size_t len = strlen(text);
		snprintf(text + len, size - len, ": 0x%llx", ull(a->val));
	}
}

static void access(struct bus_tracer *tracer, const struct bus_access *a)
{
	struct trace *t = container_of(tracer, struct trace, tracer);
	char text[160];

	pthread_mutex_lock(&t->lock);
	t->last[t->n++ % LAST] = *a;
	pthread_mutex_unlock(&t->lock);
	if (!(t->vm->trace & HAKO_TRACE_MMIO))
		return;
	describe(a, text, sizeof(text));
	log_msg(&t->vm->log, LOG_TRACE, "mmio", "%s", text);
}

static void tapped(void *chip, unsigned pin, bool level)
{
	struct tap *tap = chip;

	(void)pin;
	if (atomic_exchange(&tap->level, level) != level)
		log_msg(&tap->trace->vm->log, LOG_TRACE, "irq", "%s, pin %u: %s", tap->name,
			tap->line.pin, level ? "raised" : "lowered");
	irq_set(&tap->line, level);
}

struct irq_line trace_irq(struct hako_vm *vm, struct irq_line line, const char *name)
{
	static const struct irq_ops ops = { .set = tapped };
	struct trace *t = vm->tracer;

	if (!t || !(vm->trace & HAKO_TRACE_IRQ) || !line.ops || t->n_taps == TAPS_MAX)
		return line;
	struct tap *tap = &t->taps[t->n_taps++];
	tap->trace = t;
	tap->line = line;
	snprintf(tap->name, sizeof(tap->name), "%s", name);
	return (struct irq_line){ .ops = &ops, .chip = tap, .pin = line.pin };
}

void trace_cpu_irq(struct hako_vm *vm, unsigned cpu, const char *input, bool level)
{
	if (unlikely(vm->trace & HAKO_TRACE_IRQ))
		log_msg(&vm->log, LOG_TRACE, "irq", "cpu%u, %s: %s", cpu, input,
			level ? "raised" : "lowered");
}

uint64_t trace_count(struct hako_vm *vm)
{
	struct trace *t = vm->tracer;
	uint64_t n = 0;

	if (t) {
		pthread_mutex_lock(&t->lock);
		n = t->n;
		pthread_mutex_unlock(&t->lock);
	}
	return n;
}

void trace_tell(struct hako_vm *vm, const char *who)
{
	struct trace *t = vm->tracer;
	struct bus_access last[LAST];
	char text[160];

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	uint64_t n = t->n;
	memcpy(last, t->last, sizeof(last));
	pthread_mutex_unlock(&t->lock);
	if (!n) {
		log_msg(&vm->log, LOG_TRACE, who, "  no device has been accessed");
		return;
	}
	log_msg(&vm->log, LOG_TRACE, who, "  the last device accesses, the latest at the end:");
	for (uint64_t i = n < LAST ? 0 : n - LAST; i < n; i++) {
		describe(&last[i % LAST], text, sizeof(text));
		log_msg(&vm->log, LOG_TRACE, who, "    %s", text);
	}
}

int trace_create(struct hako_vm *vm, struct err *err)
{
	if (!vm->report && !(vm->trace & (HAKO_TRACE_MMIO | HAKO_TRACE_IRQ)))
		return 0;
	struct trace *t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(err, -ENOMEM, "no memory for traces");
	t->vm = vm;
	t->tracer.access = access;
	pthread_mutex_init(&t->lock, NULL);
	vm->tracer = t;
	if (vm->report || (vm->trace & HAKO_TRACE_MMIO)) {
		bus_trace(vm->mmio, &t->tracer);
		if (vm->pio)
			bus_trace(vm->pio, &t->tracer);
	}
	return 0;
}

void trace_destroy(struct trace *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

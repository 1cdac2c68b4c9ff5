/* SPDX-License-Identifier: MIT */
/*
 * Traces of what a guest does with its devices: `--trace mmio` and `--trace irq` tell the log at
 * once, and reports (report.c) want the last accesses.
 *
 * Threads: created before the vCPUs run. Accesses and interrupts come on any thread.
 */
#ifndef HAKO_MACHINE_TRACE_H
#define HAKO_MACHINE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/irq.h"

struct err;
struct hako_vm;
struct trace;

/* By vm->trace, and for reports; nothing is created when neither wants anything. */
int trace_create(struct hako_vm *vm, struct err *err);
void trace_destroy(struct trace *trace);

/* The line to give a device: `line`, or one that tells of it too. The name is copied. */
struct irq_line trace_irq(struct hako_vm *vm, struct irq_line line, const char *name);
/* An interrupt input of a CPU changes. */
void trace_cpu_irq(struct hako_vm *vm, unsigned cpu, const char *input, bool level);

/* How many accesses there were, so that one can tell whether there are any. */
uint64_t trace_count(struct hako_vm *vm);
/* Tell the log of the last ones. */
void trace_tell(struct hako_vm *vm, const char *who);

#endif

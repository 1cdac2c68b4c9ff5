/* SPDX-License-Identifier: MIT */
/*
 * PLIC, the RISC-V platform-level interrupt controller (RISC-V PLIC specification 1.0.0), as
 * SiFive's cores and QEMU's `virt` machine have it: level-sensitive sources, and two contexts per
 * hart, 2 * hart for M mode and 2 * hart + 1 for S mode.
 *
 * Threads: register accesses come from vCPU threads, interrupt lines from any thread; one mutex
 * inside.
 */
#ifndef HAKO_DEVICE_PLIC_H
#define HAKO_DEVICE_PLIC_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/irq.h"

struct bus;
struct err;
struct log;
struct plic;

enum {
	PLIC_SIZE = 0x600000, /* room for more contexts than there are: they read as zero */
	PLIC_N_SOURCES = 96,  /* with source 0, which is none: the device tree's riscv,ndev is 95 */
	PLIC_MAX_CPUS = 16,
};

struct plic_config {
	struct bus *bus;
	uint64_t base;
	unsigned n_cpus; /* 1 to PLIC_MAX_CPUS */
	/* The external interrupt input of a hart, MEIP or SEIP; called with the PLIC's
	 * mutex held. */
	void (*cpu_irq)(void *arg, unsigned cpu, bool is_m, bool level);
	void *arg;
	struct log *log;
};

int plic_create(struct plic **plic, const struct plic_config *config, struct err *err);
void plic_destroy(struct plic *plic);
/* Registers to zero. The lines stay where the devices put them. */
void plic_reset(struct plic *plic);

/* The line of a source, 1 to PLIC_N_SOURCES - 1. */
struct irq_line plic_source(struct plic *plic, unsigned source);

/* Does any interrupt that a device could raise reach a hart at all? For telling a dead guest. */
bool plic_any_enabled(struct plic *plic);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * GICv3 interrupt controller (Arm IHI 0069): distributor, one redistributor per vCPU, and the
 * system-register CPU interface. Single security state (GICD_CTLR.DS = 1), no ITS, no LPIs.
 *
 * Threads: register accesses come from vCPU threads, interrupt lines from any thread; one mutex
 * inside.
 */
#ifndef HAKO_DEVICE_GICV3_H
#define HAKO_DEVICE_GICV3_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/irq.h"

struct bus;
struct err;
struct gicv3;
struct log;

enum {
	GICV3_DIST_SIZE = 0x10000,
	GICV3_REDIST_SIZE = 0x20000, /* RD_base and SGI_base frames, per vCPU */
	GICV3_N_SPIS = 256,
};

struct gicv3_config {
	struct bus *bus;
	uint64_t dist_base, redist_base;
	unsigned n_cpus; /* 1 to 16; vCPU n has affinity 0.0.0.n */
	/* The IRQ (group 1) and FIQ (group 0) inputs of a vCPU; called with the GIC's
	 * mutex held. */
	void (*cpu_irq)(void *arg, unsigned cpu, bool fiq, bool level);
	void *arg;
	struct log *log;
};

int gicv3_create(struct gicv3 **gic, const struct gicv3_config *config, struct err *err);
void gicv3_destroy(struct gicv3 *gic);
/* Registers to their reset values. The lines stay where the devices put them. */
void gicv3_reset(struct gicv3 *gic);

/* A shared interrupt: spi from 0 (INTID 32). */
struct irq_line gicv3_spi(struct gicv3 *gic, unsigned spi);
/* A private interrupt of one vCPU: INTID 16..31. */
void gicv3_ppi(struct gicv3 *gic, unsigned cpu, unsigned intid, bool level);

/* ICC_*_EL1, see struct vcpu_sysreg_ops in engine/engine.h: 0 or -ENOENT. `dev` is the GIC. */
int gicv3_icc_read(void *dev, unsigned cpu, uint32_t reg, uint64_t *val);
int gicv3_icc_write(void *dev, unsigned cpu, uint32_t reg, uint64_t val);

/* Does any interrupt that a device could raise reach a CPU at all? For telling a dead guest. */
bool gicv3_any_enabled(struct gicv3 *gic);

#endif

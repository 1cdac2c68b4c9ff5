/* SPDX-License-Identifier: MIT */
/*
 * The Generic Interrupt Controller, versions 3 (Arm IHI0069) and 2 (IHI0048), for one CPU. They
 * share the distributor, which knows the interrupts of devices; a CPU takes them by system
 * registers with version 3, and with version 2 by the registers of the CPU interface.
 */
#include "kernel.h"

#include "gic.h"

/* IHI0069 12.8 and 12.10: the distributor; GICR_WAKER of the redistributor. */
enum {
	GICD_CTLR = 0x0000,
	GICD_IGROUPR = 0x0080,
	GICD_ISENABLER = 0x0100,
	GICD_IPRIORITYR = 0x0400,
	GICD_ITARGETSR = 0x0800,
	GICD_IROUTER = 0x6000,
	GICR_WAKER = 0x0014,
	CTLR_ENABLE_GRP0 = 1 << 0, /* version 2, without security: the only group */
	CTLR_ENABLE_GRP1 = 1 << 1,
	CTLR_ARE = 1 << 4,
	WAKER_SLEEP = 1 << 1,
	WAKER_CHILDREN_ASLEEP = 1 << 2,
};

/* IHI0048 4.4: the CPU interface of version 2. */
enum { GICC_CTLR = 0x00, GICC_PMR = 0x04, GICC_IAR = 0x0c, GICC_EOIR = 0x10 };

enum { PRIORITY = 0x80, ALL_PRIORITIES = 0xff, FIRST_SPECIAL = 1020, AFFINITY = 0xffffff };

static bool is_v3;

static void gicd_set(uintptr_t reg, unsigned irq)
{
	uintptr_t at = GICD_BASE + reg + irq / 32 * 4;

	mmio_write(at, mmio_read(at) | 1u << irq % 32);
}

void gic_init(void)
{
	is_v3 = READ_SYSREG("id_aa64pfr0_el1") >> 24 & 15; /* GIC: has the system registers */
	if (!is_v3) {
		mmio_write(GICD_BASE + GICD_CTLR, CTLR_ENABLE_GRP0);
		mmio_write(GICC_BASE + GICC_PMR, ALL_PRIORITIES);
		mmio_write(GICC_BASE + GICC_CTLR, 1);
		return;
	}
	mmio_write(GICD_BASE + GICD_CTLR, CTLR_ARE);
	mmio_write(GICD_BASE + GICD_CTLR, CTLR_ARE | CTLR_ENABLE_GRP1);
	mmio_write(GICR_BASE + GICR_WAKER, mmio_read(GICR_BASE + GICR_WAKER) & ~(u32)WAKER_SLEEP);
	while (mmio_read(GICR_BASE + GICR_WAKER) & WAKER_CHILDREN_ASLEEP)
		;
	WRITE_SYSREG("s3_0_c12_c12_5", READ_SYSREG("s3_0_c12_c12_5") | 1); /* ICC_SRE_EL1.SRE */
	WRITE_SYSREG("s3_0_c4_c6_0", ALL_PRIORITIES);                      /* ICC_PMR_EL1 */
	WRITE_SYSREG("s3_0_c12_c12_7", 1);                                 /* ICC_IGRPEN1_EL1 */
}

void arch_irq_enable(unsigned irq)
{
	/* 8 bits for each interrupt, in registers of 32. */
	uintptr_t priority = GICD_BASE + GICD_IPRIORITYR + irq / 4 * 4;
	unsigned shift = irq % 4 * 8;
	mmio_write(priority, (mmio_read(priority) & ~(0xffu << shift)) | (u32)PRIORITY << shift);
	if (is_v3) {
		u64 affinity = READ_SYSREG("mpidr_el1") & AFFINITY;
		gicd_set(GICD_IGROUPR, irq);
		mmio_write(GICD_BASE + GICD_IROUTER + irq * 8, (u32)affinity);
		mmio_write(GICD_BASE + GICD_IROUTER + irq * 8 + 4, 0);
	} else {
		uintptr_t targets = GICD_BASE + GICD_ITARGETSR + irq / 4 * 4;
		mmio_write(targets, mmio_read(targets) | 1u << shift);
	}
	mmio_write(GICD_BASE + GICD_ISENABLER + irq / 32 * 4, 1u << irq % 32);
}

/* Reading IAR says which interrupt, and begins it; writing it to EOIR ends it. */
void gic_handle(void)
{
	for (;;) {
		u32 iar = is_v3 ? (u32)READ_SYSREG("s3_0_c12_c12_0") /* ICC_IAR1_EL1 */
				: mmio_read(GICC_BASE + GICC_IAR);
		u32 irq = iar & (is_v3 ? 0xffffff : 0x3ff);

		if (irq >= FIRST_SPECIAL)
			return;
		fence_all();
		handle_irq(irq);
		if (is_v3)
			WRITE_SYSREG("s3_0_c12_c12_1", iar); /* ICC_EOIR1_EL1 */
		else
			mmio_write(GICC_BASE + GICC_EOIR, iar);
	}
}

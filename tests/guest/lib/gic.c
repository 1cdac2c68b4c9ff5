/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guests: GICv3 with the system register interface (IHI 0069).
 */
#include "guest.h"

enum {
	GICD_CTLR = 0x0000,
	GICD_IROUTER = 0x6000,
	GICR_WAKER = 0x0014,
	GICR_SGI = 0x10000,
	/* The same in the distributor and in SGI_base of a redistributor */
	IGROUPR = 0x080,
	ISENABLER = 0x100,
	ICENABLER = 0x180,
	ISPENDR = 0x200,
	ISACTIVER = 0x300,
	IPRIORITYR = 0x400,
	ICFGR = 0xc00,
};

static u64 frame_of(unsigned intid)
{
	return intid < 32 ? GICR + GICR_STRIDE * this_cpu()->index + GICR_SGI : GICD;
}

u64 gic_reg(unsigned intid, unsigned base)
{
	return frame_of(intid) + base + intid / 32 * 4;
}

void gic_init_cpu(void)
{
	u64 rd = GICR + GICR_STRIDE * this_cpu()->index;

	write32(rd + GICR_WAKER, read32(rd + GICR_WAKER) & ~2u);
	while (read32(rd + GICR_WAKER) & 4)
		;
	write32(rd + GICR_SGI + IGROUPR, ~0u);
	write32(rd + GICR_SGI + ICENABLER, ~0u);
	WRITE_ICC(ICC_SRE, 7);
	WRITE_ICC(ICC_PMR, 0xff);
	WRITE_ICC(ICC_BPR1, 0);
	WRITE_ICC(ICC_CTLR, 0);
	WRITE_ICC(ICC_IGRPEN1, 1);
}

void gic_init(void)
{
	/* ARE and group 1; with DS = 1 these are bits 4 and 1. */
	write32(GICD + GICD_CTLR, BIT(4));
	write32(GICD + GICD_CTLR, BIT(4) | BIT(1));
	gic_init_cpu();
}

void gic_enable(unsigned intid, u8 prio, bool edge)
{
	u64 f = frame_of(intid);
	u64 cfg = f + ICFGR + intid / 16 * 4;
	u32 two = 2u << 2 * (intid % 16);

	write32(gic_reg(intid, ICENABLER), 1u << intid % 32);
	write32(gic_reg(intid, IGROUPR), read32(gic_reg(intid, IGROUPR)) | 1u << intid % 32);
	asm volatile("strb %w0, [%1]" ::"r"(prio), "r"(f + IPRIORITYR + intid) : "memory");
	if (intid >= 16)
		write32(cfg, edge ? read32(cfg) | two : read32(cfg) & ~two);
	if (intid >= 32)
		write64(GICD + GICD_IROUTER + 8 * intid, this_cpu()->index);
	write32(gic_reg(intid, ISENABLER), 1u << intid % 32);
	DSB();
}

void gic_disable(unsigned intid)
{
	write32(gic_reg(intid, ICENABLER), 1u << intid % 32);
	DSB();
}

bool gic_pending(unsigned intid)
{
	return read32(gic_reg(intid, ISPENDR)) >> intid % 32 & 1;
}

bool gic_active(unsigned intid)
{
	return read32(gic_reg(intid, ISACTIVER)) >> intid % 32 & 1;
}

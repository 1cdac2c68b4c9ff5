/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: GICv3 as one CPU sees it (IHI 0069): SGIs, priorities, preemption, both ways to
 * end an interrupt, group 0, and a level-sensitive SPI. Other CPUs are in smp.c.
 */
#include "guest.h"

enum {
	ISENABLER = 0x100,
	ICENABLER = 0x180,
	ISPENDR = 0x200,
	ICPENDR = 0x280,
	ISACTIVER = 0x300,
	ICACTIVER = 0x380,
	IGROUPR = 0x080,
	SPARE_SPI = 100,
	NONE = 1023
};

static volatile unsigned taken, order[16], vectors_seen[16], depth, max_depth;
/* What the handler does while the interrupt is active, once. */
static void (*volatile inside)(void);

static bool on_irq(struct frame *f)
{
	if ((f->vector & 3) != VEC_IRQ)
		return false;
	unsigned intid = (unsigned)READ_ICC(ICC_IAR1);
	void (*act)(void) = inside;

	if (intid >= 1020)
		return true;
	if (taken < ARRAY_LEN(order)) {
		order[taken] = intid;
		vectors_seen[taken] = (unsigned)f->vector;
	}
	taken++;
	if (++depth > max_depth)
		max_depth = depth;
	inside = 0;
	if (act)
		act();
	depth--;
	WRITE_ICC(ICC_EOIR1, intid);
	return true;
}

static void sgi(unsigned intid)
{
	DSB();
	WRITE_ICC(ICC_SGI1R, (u64)intid << 24 | 1);
	DSB();
	/* A pending interrupt need not be seen at once by the interface: read back. */
	(void)gic_pending(intid);
	ISB();
}

static void begin(void)
{
	taken = depth = max_depth = 0;
	inside = 0;
}

/* Let in whatever is pending. */
static void open(void)
{
	IRQ_ON();
	ISB();
	IRQ_OFF();
}

static void identification(void)
{
	check_eq(read32(GICD + 0xffe8) >> 4 & 15, 3, "GICD_PIDR2 says GICv3");
	check_eq(read32(GICR + 0xffe8) >> 4 & 15, 3, "GICR_PIDR2 says GICv3");
	check((read32(GICD + 4) & 31) >= 2, "GICD_TYPER: SPIs are there");
	check_eq(read64(GICR + 8) >> 32, 0, "GICR_TYPER: affinity of CPU 0");
	check_eq(READ_ICC(ICC_SRE) & 1, 1, "ICC_SRE_EL1.SRE");
	check(field(READ_ICC(ICC_CTLR), 10, 8) >= 3, "ICC_CTLR_EL1.PRIbits: 16 levels or more");
	check_eq(READ_ICC(ICC_RPR), 0xff, "ICC_RPR_EL1 when idle");
	check_eq(READ_ICC(ICC_IAR1), NONE, "ICC_IAR1_EL1 with nothing pending");
	check_eq(READ_ICC(ICC_HPPIR1), NONE, "ICC_HPPIR1_EL1 with nothing pending");
}

static void sgis(void)
{
	begin();
	gic_enable(3, 0x80, true);
	sgi(3);
	check(gic_pending(3), "an SGI to this CPU is pending");
	check_eq(READ_ICC(ICC_HPPIR1), 3, "ICC_HPPIR1_EL1 names it");
	check_eq(READ_REG(isr_el1) >> 7 & 1, 1, "ISR_EL1.I");
	check_eq(READ_ICC(ICC_IAR1), 3, "acknowledged");
	check(!gic_pending(3) && gic_active(3), "then active and not pending");
	check_eq(READ_ICC(ICC_RPR), 0x80, "ICC_RPR_EL1 has its priority");
	check_eq(READ_ICC(ICC_IAR1), NONE, "nothing more to acknowledge");
	sgi(3);
	check(gic_pending(3) && gic_active(3), "sent again: active and pending");
	check_eq(READ_REG(isr_el1) >> 7 & 1, 0, "... but not signalled");
	WRITE_ICC(ICC_EOIR1, 3);
	check(!gic_active(3), "EOIR deactivates");
	check_eq(READ_ICC(ICC_RPR), 0xff, "... and drops the priority");
	check_eq(READ_ICC(ICC_IAR1), 3, "now the second comes");
	WRITE_ICC(ICC_EOIR1, 3);
	check_eq(READ_ICC(ICC_IAR1), NONE, "and no third");

	sgi(3);
	check_eq(taken, 0, "masked by DAIF: not taken");
	open();
	check(taken == 1 && order[0] == 3, "taken when unmasked");
	begin();
	gic_disable(3);
	sgi(3);
	open();
	check(taken == 0 && gic_pending(3), "a disabled SGI waits");
	gic_enable(3, 0x80, true);
	open();
	check_eq(taken, 1, "... and comes when enabled");

	begin();
	sgi(3);
	sgi(3);
	open();
	check_eq(taken, 1, "an SGI that is pending already is one");
	begin();
	write32(gic_reg(4, ISPENDR), 1 << 4);
	gic_enable(4, 0x80, true);
	open();
	check(taken == 1 && order[0] == 4, "pending by GICR_ISPENDR0");
	begin();
	gic_disable(4);
	write32(gic_reg(4, ISPENDR), 1 << 4);
	write32(gic_reg(4, ICPENDR), 1 << 4);
	gic_enable(4, 0x80, true);
	open();
	check_eq(taken, 0, "and taken back by GICR_ICPENDR0");
	begin();
	write32(gic_reg(4, ISACTIVER), 1 << 4);
	sgi(4);
	open();
	check_eq(taken, 0, "an active one is not taken");
	write32(gic_reg(4, ICACTIVER), 1 << 4);
	DSB();
	open();
	check_eq(taken, 1, "... until GICR_ICACTIVER0");

	begin();
	WRITE_ICC(ICC_SGI1R, 3ULL << 24 | 2);              /* CPU 1's */
	WRITE_ICC(ICC_SGI1R, 3ULL << 24 | 1ULL << 16 | 1); /* another Aff1 */
	WRITE_ICC(ICC_SGI1R, 3ULL << 24 | 1ULL << 40);     /* all others */
	open();
	check_eq(taken, 0, "SGIs for others are not ours");
	begin();
	WRITE_ICC(ICC_IGRPEN1, 0);
	sgi(3);
	open();
	check_eq(taken, 0, "ICC_IGRPEN1_EL1 = 0: nothing");
	WRITE_ICC(ICC_IGRPEN1, 1);
	open();
	check_eq(taken, 1, "ICC_IGRPEN1_EL1 = 1: it comes");
}

static void priorities(void)
{
	begin();
	gic_enable(3, 0xa0, true);
	gic_enable(5, 0x40, true);
	gic_enable(6, 0x40, true);
	gic_enable(7, 0xc0, true);
	sgi(7);
	sgi(3);
	sgi(6);
	sgi(5);
	check_eq(READ_ICC(ICC_HPPIR1), 5, "of equal priority, the lowest INTID");
	open();
	check(taken == 4 && order[0] == 5 && order[1] == 6 && order[2] == 3 && order[3] == 7,
	      "in the order of priority");

	begin();
	WRITE_ICC(ICC_PMR, 0xa0);
	sgi(3);
	open();
	check_eq(taken, 0, "PMR equal to the priority masks");
	check_eq(READ_ICC(ICC_IAR1), NONE, "... for ICC_IAR1_EL1 too");
	WRITE_ICC(ICC_PMR, 0xa8);
	open();
	check_eq(taken, 1, "PMR one level above lets it in");
	begin();
	sgi(7);
	sgi(5);
	open();
	check(taken == 1 && order[0] == 5, "PMR lets in only what is above");
	WRITE_ICC(ICC_PMR, 0xff);
	open();
	check(taken == 2 && order[1] == 7, "... and the rest when it is opened");
	WRITE_ICC(ICC_PMR, 0xff);
	check((READ_ICC(ICC_PMR) & 0xf0) == 0xf0, "PMR reads back");
}

static void send5(void)
{
	sgi(5);
	open();
}
static void send6(void)
{
	sgi(6);
	open();
}
static void send7(void)
{
	sgi(7);
	open();
}
static unsigned rpr_inside;
static void send5_rpr(void)
{
	sgi(5);
	IRQ_ON();
	ISB();
	IRQ_OFF();
	rpr_inside = (unsigned)READ_ICC(ICC_RPR);
}

static void preemption(void)
{
	static const struct {
		const char *name;
		void (*act)(void);
		unsigned first, nested, bpr;
	} cases[] = {
		{ "a higher priority preempts", send5, 3, 1, 0 },
		{ "an equal priority does not", send6, 5, 0, 0 },
		{ "a lower priority does not", send7, 3, 0, 0 },
		{ "BPR1 7: within a group nothing preempts", send6, 8, 0, 7 },
		{ "BPR1 7: the other group does", send5, 3, 1, 7 },
	};
	gic_enable(8, 0x60, true);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		begin();
		WRITE_ICC(ICC_BPR1, cases[i].bpr);
		inside = cases[i].act;
		sgi(cases[i].first);
		open();
		check(taken == 2 && max_depth == 1 + cases[i].nested, "%s", cases[i].name);
		check_eq(READ_ICC(ICC_RPR), 0xff, "... idle afterwards");
	}
	WRITE_ICC(ICC_BPR1, 0);
	begin();
	inside = send5_rpr;
	sgi(3);
	open();
	check_eq(rpr_inside, 0xa0, "the running priority is the outer one's again");
	check(taken == 2 && order[0] == 3 && order[1] == 5, "outer, then inner");
}

static void eoi_mode(void)
{
	begin();
	WRITE_ICC(ICC_CTLR, 2);
	sgi(3);
	check_eq(READ_ICC(ICC_IAR1), 3, "EOImode 1: acknowledged");
	WRITE_ICC(ICC_EOIR1, 3);
	check(gic_active(3), "EOImode 1: EOIR leaves it active");
	check_eq(READ_ICC(ICC_RPR), 0xff, "EOImode 1: EOIR drops the priority");
	sgi(3);
	check_eq(READ_ICC(ICC_IAR1), NONE, "EOImode 1: active, it does not come again");
	sgi(7);
	check_eq(READ_ICC(ICC_IAR1), 7, "EOImode 1: another, of lower priority, does");
	WRITE_ICC(ICC_EOIR1, 7);
	WRITE_ICC(ICC_DIR, 7);
	WRITE_ICC(ICC_DIR, 3);
	check(!gic_active(3) && !gic_active(7), "EOImode 1: DIR deactivates");
	check_eq(READ_ICC(ICC_IAR1), 3, "EOImode 1: and the next comes");
	WRITE_ICC(ICC_EOIR1, 3);
	WRITE_ICC(ICC_DIR, 3);
	WRITE_ICC(ICC_CTLR, 0);
}

/* ---- group 0: FIQ ---- */

static volatile unsigned fiqs, fiq_vector, fiq_intid;
static bool on_fiq(struct frame *f)
{
	if ((f->vector & 3) != VEC_FIQ)
		return on_irq(f);
	fiq_vector = (unsigned)f->vector;
	fiq_intid = (unsigned)READ_ICC(S3_0_C12_C8_0);
	WRITE_ICC(S3_0_C12_C8_1, fiq_intid);
	fiqs++;
	return true;
}

static void group0(void)
{
	begin();
	this_cpu()->handler = on_fiq;
	write32(GICD, read32(GICD) | 1);
	WRITE_ICC(S3_0_C12_C12_6, 1);
	write32(gic_reg(9, IGROUPR), read32(gic_reg(9, IGROUPR)) & ~(1u << 9));
	asm volatile("strb %w0, [%1]" ::"r"(0x80), "r"(GICR + 0x10400ULL + 9) : "memory");
	write32(gic_reg(9, ISENABLER), 1 << 9);
	DSB();
	WRITE_ICC(S3_0_C12_C11_7, 9ULL << 24 | 1); /* ICC_SGI0R_EL1 */
	(void)gic_pending(9);
	check_eq(READ_REG(isr_el1) >> 6 & 3, 1, "group 0: ISR_EL1.F and not I");
	check_eq(READ_ICC(ICC_IAR1), NONE, "group 0 is not for ICC_IAR1_EL1");
	open();
	check_eq(fiqs, 0, "group 0: not with I unmasked");
	asm volatile("msr daifclr, #1\n\tisb\n\tmsr daifset, #1" ::: "memory");
	check(fiqs == 1 && fiq_intid == 9, "group 0: taken with F unmasked");
	check_eq(fiq_vector, VEC_EL1H + VEC_FIQ, "group 0: through the FIQ vector");
	this_cpu()->handler = on_irq;
}

/* ---- SPIs ---- */

static void spis(void)
{
	begin();
	gic_enable(SPARE_SPI, 0x80, true);
	write32(gic_reg(SPARE_SPI, ISPENDR), 1u << SPARE_SPI % 32);
	(void)gic_pending(SPARE_SPI);
	open();
	check(taken == 1 && order[0] == SPARE_SPI, "an SPI made pending by software");
	check(!gic_pending(SPARE_SPI) && !gic_active(SPARE_SPI), "... is over");
	begin();
	write64(GICD + 0x6000 + 8 * SPARE_SPI, 0x77);
	write32(gic_reg(SPARE_SPI, ISPENDR), 1u << SPARE_SPI % 32);
	(void)gic_pending(SPARE_SPI);
	open();
	check_eq(taken, 0, "an SPI routed to a CPU that is not there waits");
	write64(GICD + 0x6000 + 8 * SPARE_SPI, 0);
	(void)gic_pending(SPARE_SPI);
	open();
	check_eq(taken, 1, "... and comes when routed here");
	gic_disable(SPARE_SPI);

	/* The UART's transmit interrupt: a level. FIFOs off, it is there when a byte has left. */
	enum { LCR_H = 0x2c, IMSC = 0x38, RIS = 0x3c, ICR = 0x44, TX = 1 << 5, FEN = 1 << 4 };
	begin();
	write32(UART + LCR_H, read32(UART + LCR_H) & ~(u32)FEN);
	write32(UART + ICR, 0x7ff);
	note("a line to make the UART's transmit interrupt");
	for (unsigned i = 0; !(read32(UART + RIS) & TX) && i < 100000; i++)
		;
	check(read32(UART + RIS) & TX, "UARTRIS.TXRIS after a byte was sent");
	gic_enable(INTID_UART, 0x80, false);
	check(!gic_pending(INTID_UART), "the UART's line is low while UARTIMSC masks it");
	write32(UART + IMSC, TX);
	check(gic_pending(INTID_UART), "high with UARTIMSC.TXIM");
	check_eq(READ_ICC(ICC_IAR1), INTID_UART, "acknowledged");
	check(gic_pending(INTID_UART) && gic_active(INTID_UART),
	      "a level stays pending while active");
	WRITE_ICC(ICC_EOIR1, INTID_UART);
	check_eq(READ_ICC(ICC_IAR1), INTID_UART, "and comes again while it is high");
	write32(UART + IMSC, 0);
	WRITE_ICC(ICC_EOIR1, INTID_UART);
	check(!gic_pending(INTID_UART), "low again");
	check_eq(READ_ICC(ICC_IAR1), NONE, "and does not come");
	write32(UART + IMSC, TX);
	write32(UART + IMSC, 0);
	open();
	check_eq(taken, 0, "a level that went away before anybody looked");
	write32(gic_reg(INTID_UART, ISPENDR), 1u << INTID_UART % 32);
	check(gic_pending(INTID_UART), "a level-sensitive SPI made pending by software");
	open();
	check(taken == 1 && !gic_pending(INTID_UART), "... comes once");
	gic_disable(INTID_UART);
}

/* ---- where it comes from ---- */

EL0_CODE(el0_nop, "nop\n\tnop");

static bool leave_el0(struct frame *f)
{
	if ((f->vector & 3) != VEC_IRQ)
		return false;
	on_irq(f);
	f->vector = VEC_EL0 + VEC_SYNC;
	return false;
}

static void vectors_used(void)
{
	gic_enable(3, 0x80, true);
	begin();
	sgi(3);
	open();
	check_eq(vectors_seen[0], VEC_EL1H + VEC_IRQ, "an IRQ at EL1h: vector 0x280");
	begin();
	sgi(3);
	asm volatile("mov x0, sp\n\tmsr sp_el0, x0\n\tmsr spsel, #0\n\tmsr daifclr, #2\n\tisb\n\t"
		     "msr daifset, #2\n\tmsr spsel, #1" ::
			     : "x0", "memory");
	check(taken == 1 && vectors_seen[0] == VEC_EL1T + VEC_IRQ, "an IRQ at EL1t: vector 0x80");
	begin();
	mmu_on();
	this_cpu()->handler = leave_el0;
	sgi(3);
	el0(el0_nop, 0, 0, 0);
	check(taken == 1 && vectors_seen[0] == VEC_EL0 + VEC_IRQ, "an IRQ at EL0: vector 0x480");
	check_eq(last()->f.elr, (u64)el0_nop, "... before EL0's first instruction");
	this_cpu()->handler = on_irq;
	begin();
	sgi(3);
	const u64 args[4] = { 0 };
	el0_at((u64)el0_nop, 0, PSTATE_EL0T | PSTATE_I, args);
	check_el0_done("EL0 with I masked is not interrupted");
	check_eq(taken, 0, "... not at all");
	open();
	mmu_off();
}

void guest_main(void)
{
	gic_init();
	this_cpu()->handler = on_irq;
	identification();
	sgis();
	priorities();
	preemption();
	eoi_mode();
	group0();
	spis();
	vectors_used();
}

/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guest: the generic timer (DDI0487 D12), its interrupts, and WFI. Nothing here depends
 * on how fast the machine is: only on order.
 */
#include "guest.h"

enum { ENABLE = 1, IMASK = 2, ISTATUS = 4 };

/* The virtual and the physical timer alike. */
static const struct timer {
	const char *name;
	unsigned intid;
	bool phys;
} timers[] = {
	{ "virtual", INTID_TIMER_VIRT, false },
	{ "physical", INTID_TIMER_PHYS, true },
};

static u64 ctl(const struct timer *t)
{
	return t->phys ? READ_REG(cntp_ctl_el0) : READ_REG(cntv_ctl_el0);
}

static void set_ctl(const struct timer *t, u64 v)
{
	if (t->phys)
		WRITE_REG(cntp_ctl_el0, v);
	else
		WRITE_REG(cntv_ctl_el0, v);
	ISB();
}

static u64 cval(const struct timer *t)
{
	return t->phys ? READ_REG(cntp_cval_el0) : READ_REG(cntv_cval_el0);
}

static void set_cval(const struct timer *t, u64 v)
{
	if (t->phys)
		WRITE_REG(cntp_cval_el0, v);
	else
		WRITE_REG(cntv_cval_el0, v);
	ISB();
}

static u64 tval(const struct timer *t)
{
	return t->phys ? READ_REG(cntp_tval_el0) : READ_REG(cntv_tval_el0);
}

static void set_tval(const struct timer *t, u64 v)
{
	if (t->phys)
		WRITE_REG(cntp_tval_el0, v);
	else
		WRITE_REG(cntv_tval_el0, v);
	ISB();
}

static u64 now(void)
{
	ISB();
	return READ_REG(cntvct_el0);
}

static u64 ms(u64 n)
{
	return n * READ_REG(cntfrq_el0) / 1000;
}

/* ---- interrupts: what was taken, in order ---- */

static volatile unsigned taken, order[16];

static bool on_irq(struct frame *f)
{
	if ((f->vector & 3) != VEC_IRQ)
		return false;
	u64 intid = READ_ICC(ICC_IAR1);
	if (taken < ARRAY_LEN(order))
		order[taken] = (unsigned)intid;
	taken++;
	for (unsigned i = 0; i < ARRAY_LEN(timers); i++)
		if (intid == timers[i].intid)
			set_ctl(&timers[i], ENABLE | IMASK);
	DSB();
	WRITE_ICC(ICC_EOIR1, intid);
	return true;
}

static void counters(void)
{
	bool up = true, order_ok = true;
	u64 last_count = now();

	check(READ_REG(cntfrq_el0) >= 1000000, "a frequency of 1 MHz or more");
	for (unsigned i = 0; i < 10000; i++) {
		u64 v = now();

		up &= v >= last_count;
		last_count = v;
	}
	check(up, "CNTVCT_EL0 never goes back");
	for (unsigned i = 0; i < 1000; i++) {
		u64 a = now();
		ISB();
		u64 p = READ_REG(cntpct_el0);
		u64 b = now();

		order_ok &= a <= p && p <= b;
	}
	check(order_ok, "CNTPCT_EL0 and CNTVCT_EL0 are one counter");
	u64 start = now();
	while (now() == start)
		;
	check(true, "the counter counts");
	u32 rtc = read32(RTC);
	delay_us(1000);
	check(read32(RTC) - rtc < 2, "PL031 and the counter go at about one rate");
}

static void registers(const struct timer *t)
{
	set_ctl(t, 0);
	set_cval(t, 0x123456789abcdef0);
	check_eq(cval(t), 0x123456789abcdef0, "%s: CVAL keeps 64 bits", t->name);

	u64 a = now();
	set_tval(t, 1000000);
	u64 b = now();
	check(cval(t) >= a + 1000000 && cval(t) <= b + 1000000, "%s: TVAL sets CVAL ahead",
	      t->name);
	a = now();
	set_tval(t, 0xfffffffffffff000);
	b = now();
	check(cval(t) >= a - 4096 && cval(t) <= b - 4096, "%s: TVAL is signed", t->name);
	a = now();
	set_tval(t, 0x7fffffff);
	check(cval(t) >= a + 0x7fffffff, "%s: the largest TVAL", t->name);
	a = now();
	set_tval(t, 0x123ffffffff);
	b = now();
	check(cval(t) >= a - 1 && cval(t) <= b - 1, "%s: TVAL has 32 bits", t->name);
	set_cval(t, now() + 0x300000000);
	check(tval(t) >> 32 == 0, "%s: TVAL reads as 32 bits", t->name);
	a = now();
	set_cval(t, a + 50000000);
	u64 v = tval(t);
	b = now();
	check(v <= 50000000 && v >= 50000000 - (b - a), "%s: TVAL is what is left", t->name);
	set_cval(t, a - 1000);
	check((s64)(int32_t)tval(t) <= -1000, "%s: TVAL is negative afterwards", t->name);

	set_cval(t, 0);
	set_ctl(t, ENABLE);
	check_eq(ctl(t), ENABLE | ISTATUS, "%s: CVAL 0 is met", t->name);
	set_ctl(t, ENABLE | IMASK);
	check_eq(ctl(t), ENABLE | IMASK | ISTATUS, "%s: IMASK leaves ISTATUS", t->name);
	set_cval(t, ~0ULL);
	check_eq(ctl(t), ENABLE | IMASK, "%s: CVAL ~0 is not: the comparison is unsigned", t->name);
	set_ctl(t, 0xfffffff8);
	check_eq(ctl(t) & ~(u64)ISTATUS, 0, "%s: CTL has two bits that can be set", t->name);
	set_cval(t, now() + BIT(62));
	set_ctl(t, ENABLE);
	check_eq(ctl(t), ENABLE, "%s: a time far away", t->name);
	set_ctl(t, 0);
}

static void level(const struct timer *t)
{
	gic_enable(t->intid, 0x80, false);
	check(!gic_pending(t->intid), "%s: its interrupt is quiet when disabled", t->name);
	set_cval(t, 0);
	set_ctl(t, ENABLE);
	check(gic_pending(t->intid), "%s: pending when met", t->name);
	check_eq(READ_REG(isr_el1) >> 7 & 1, 1, "%s: ISR_EL1.I, though masked", t->name);
	set_ctl(t, ENABLE | IMASK);
	check(!gic_pending(t->intid), "%s: IMASK lowers the level", t->name);
	set_ctl(t, ENABLE);
	check(gic_pending(t->intid), "%s: and back", t->name);
	set_cval(t, ~0ULL);
	check(!gic_pending(t->intid), "%s: a new CVAL lowers the level", t->name);
	set_tval(t, 0);
	check(gic_pending(t->intid), "%s: TVAL 0 is met at once", t->name);
	set_ctl(t, 0);
	check(!gic_pending(t->intid), "%s: disabled, it is quiet", t->name);
	check_eq(READ_REG(isr_el1) >> 7 & 1, 0, "%s: nothing in ISR_EL1", t->name);
}

static void interrupts(const struct timer *t)
{
	taken = 0;
	set_tval(t, ms(1));
	set_ctl(t, ENABLE);
	IRQ_ON();
	u64 end = now() + ms(5000);
	while (!taken && now() < end)
		;
	IRQ_OFF();
	check(taken == 1 && order[0] == t->intid, "%s: interrupts a busy loop", t->name);

	taken = 0;
	set_cval(t, 0);
	set_ctl(t, ENABLE);
	IRQ_ON();
	ISB();
	IRQ_OFF();
	check_eq(taken, 1, "%s: one that is due is taken at once", t->name);

	/* Stays asserted: taken again and again until software does something about it. */
	taken = 0;
	for (unsigned i = 0; i < 3; i++) {
		set_tval(t, ms(1));
		set_ctl(t, ENABLE);
		IRQ_ON();
		for (u64 stop = now() + ms(5000); taken <= i && now() < stop;)
			asm volatile("wfi");
		IRQ_OFF();
	}
	check_eq(taken, 3, "%s: three in a row, with wfi", t->name);

	taken = 0;
	u64 due = now() + ms(2);
	set_cval(t, due);
	set_ctl(t, ENABLE);
	unsigned wakes = 0;
	while (!(ctl(t) & ISTATUS) && wakes < 1000) {
		asm volatile("wfi");
		wakes++;
	}
	check(now() >= due && taken == 0, "%s: wfi wakes with interrupts masked", t->name);
	asm volatile("wfi");
	check(true, "%s: wfi does not sleep while one is pending", t->name);
	/* Moved away while it is pending */
	set_tval(t, ms(100000));
	IRQ_ON();
	ISB();
	IRQ_OFF();
	check_eq(taken, 0, "%s: not taken after it was moved away", t->name);
	/* Moved nearer */
	set_tval(t, ms(1));
	IRQ_ON();
	for (u64 stop = now() + ms(5000); !taken && now() < stop;)
		asm volatile("wfi");
	IRQ_OFF();
	check_eq(taken, 1, "%s: moved nearer", t->name);
	set_ctl(t, 0);
}

static void both(void)
{
	u64 base = now();

	taken = 0;
	/* Far enough apart that a busy host does not sleep through both. */
	set_cval(&timers[0], base + ms(200));
	set_cval(&timers[1], base + ms(2));
	set_ctl(&timers[0], ENABLE);
	set_ctl(&timers[1], ENABLE);
	IRQ_ON();
	for (u64 stop = now() + ms(5000); taken < 2 && now() < stop;)
		asm volatile("wfi");
	IRQ_OFF();
	check(taken == 2 && order[0] == INTID_TIMER_PHYS && order[1] == INTID_TIMER_VIRT,
	      "two timers in the order of their times");
	set_ctl(&timers[0], 0);
	set_ctl(&timers[1], 0);
}

EL0_CODE(el0_spin, "1:\tadd x0, x0, #1\n\tcbnz x0, 1b");

static unsigned el0_vector;
static bool leave_el0(struct frame *f)
{
	if ((f->vector & 3) != VEC_IRQ)
		return false;
	el0_vector = (unsigned)f->vector;
	on_irq(f);
	/* As the recorder does for a synchronous one: back to who called el0(). */
	f->vector = VEC_EL0 + VEC_SYNC;
	return false;
}

static void from_el0(void)
{
	mmu_on();
	taken = 0;
	set_tval(&timers[0], ms(1));
	set_ctl(&timers[0], ENABLE);
	this_cpu()->handler = leave_el0;
	u64 count = el0(el0_spin, 1, 0, 0);
	check(taken == 1 && count > 1, "a loop at EL0 is interrupted");
	check_eq(el0_vector, VEC_EL0 + VEC_IRQ, "... through vector 0x480");
	set_ctl(&timers[0], 0);
	mmu_off();
}

void guest_main(void)
{
	counters();
	gic_init();
	this_cpu()->handler = on_irq;
	for (unsigned i = 0; i < ARRAY_LEN(timers); i++) {
		registers(&timers[i]);
		level(&timers[i]);
		interrupts(&timers[i]);
	}
	both();
	from_el0();
}

/* SPDX-License-Identifier: MIT */
/*
 * The generic timer (DDI0487 D12): the counter is the machine's clock, and the virtual and physical
 * EL1 timers compare with it. CNTVOFF is zero.
 *
 * Threads: all state belongs to the vCPU's thread. The clock's callback only asks it to look.
 */
#include "engine/soft/a64/sysreg.h"

enum { CTL_ENABLE = 1, CTL_IMASK = 2 };

uint64_t a64_counter(const struct a64_cpu *c)
{
	return clock_now(c->vcpu.engine->cfg.clock) >> A64_CNT_SHIFT;
}

/* Sets the line; returns the counter value to look again at, or ~0. */
static uint64_t evaluate(struct a64_cpu *c, enum vcpu_timer which, uint64_t ctl, uint64_t cval,
			 uint64_t now)
{
	const struct vcpu_wiring *w = &c->vcpu.wiring;
	bool met = now >= cval;
	bool level = (ctl & CTL_ENABLE) && !(ctl & CTL_IMASK) && met;
	if (w->timer_irq)
		w->timer_irq(w->timer_dev, c->vcpu.index, which, level);
	return (ctl & CTL_ENABLE) && !(ctl & CTL_IMASK) && !met ? cval : ~0ULL;
}

void a64_timer_update(struct a64_cpu *c)
{
	uint64_t now = a64_counter(c);
	uint64_t v = evaluate(c, VCPU_TIMER_VIRT, c->sys.cntv_ctl, c->sys.cntv_cval, now);
	uint64_t p = evaluate(c, VCPU_TIMER_PHYS, c->sys.cntp_ctl, c->sys.cntp_cval, now);
	uint64_t next = v < p ? v : p;
	struct clock *clock = c->vcpu.engine->cfg.clock;
	/* A deadline beyond what nanoseconds can say is 584 years away. */
	if (next >> (64 - A64_CNT_SHIFT))
		clock_cancel(clock, &c->vcpu.timer);
	else
		clock_arm(clock, &c->vcpu.timer, next << A64_CNT_SHIFT);
}

bool a64_timer_armed(const struct a64_cpu *c)
{
	uint64_t now = a64_counter(c);
	return ((c->sys.cntv_ctl & 3) == CTL_ENABLE && c->sys.cntv_cval > now) ||
	       ((c->sys.cntp_ctl & 3) == CTL_ENABLE && c->sys.cntp_cval > now);
}

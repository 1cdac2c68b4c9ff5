/* SPDX-License-Identifier: MIT */
/*
 * SBI's calls one by one, on two harts: what they return and what they do.
 */
#include "guest.h"

enum {
	BASE = 0x10,
	TIME = 0x54494d45,
	IPI = 0x735049,
	RFENCE = 0x52464e43,
	HSM = 0x48534d,
	SRST = 0x53525354,
	DBCN = 0x4442434e,
	NOT_SUPPORTED = -2,
	INVALID_PARAM = -3,
	INVALID_ADDRESS = -5,
	ALREADY_AVAILABLE = -6,
	SIP_SSIP = 1 << 1,
	SIP_STIP = 1 << 5,
};

static volatile xlen_t second_hart, second_opaque, second_counters, second_go;

static struct sbiret call(xlen_t eid, xlen_t fid, xlen_t a0, xlen_t a1)
{
	return sbi(eid, fid, a0, a1, 0, 0, 0);
}

static void check(bool good, const char *what)
{
	print("%s %s\n", good ? "good" : "BAD", what);
}

static void is(struct sbiret r, long error, xlen_t value, const char *what)
{
	if (r.error != error || (!error && r.value != value))
		print("returned %ld, %lx\n", r.error, r.value);
	check(r.error == error && (error || r.value == value), what);
}

static xlen_t sip(void)
{
	xlen_t v;

	__asm__ volatile("csrr %0, sip" : "=r"(v));
	return v;
}

/* What U-mode may read of cycle, time and instret. */
static xlen_t scounteren(void)
{
	xlen_t v;

	__asm__ volatile("csrr %0, scounteren" : "=r"(v));
	return v;
}

static uint64_t now(void)
{
#if __riscv_xlen == 64
	uint64_t v;

	__asm__ volatile("rdtime %0" : "=r"(v));
	return v;
#else
	uint32_t high, low, again;

	do
		__asm__ volatile("rdtimeh %0\n rdtime %1\n rdtimeh %2"
				 : "=r"(high), "=r"(low), "=r"(again));
	while (high != again);
	return (uint64_t)high << 32 | low;
#endif
}

static void set_timer(bool legacy, uint64_t at)
{
	call(legacy ? 0 : TIME, 0, (xlen_t)at, sizeof(xlen_t) == 4 ? (xlen_t)(at >> 32) : 0);
}

static void timers(bool legacy, const char *what)
{
	xlen_t sie = SIP_STIP;
	bool early;

	set_timer(legacy, ~0ULL);
	check(!(sip() & SIP_STIP), "a timer never set is not pending");
	set_timer(legacy, now() + 20000);
	early = sip() & SIP_STIP;
	__asm__ volatile("csrs sie, %0\n wfi\n csrc sie, %0" ::"r"(sie) : "memory");
	check(!early && (sip() & SIP_STIP), what);
	set_timer(legacy, ~0ULL);
}

void guest_second(xlen_t hart, xlen_t opaque)
{
	second_hart = hart;
	second_opaque = opaque;
	second_counters = scounteren();
	__atomic_store_n(&second_go, 1, __ATOMIC_SEQ_CST);
	while (!(sip() & SIP_SSIP))
		;
	__atomic_store_n(&second_go, 2, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&second_go, __ATOMIC_SEQ_CST) != 3)
		;
	call(HSM, 1, 0, 0);
	print("BAD a stopped hart goes on\n");
}

static void wait_for(xlen_t value)
{
	while (__atomic_load_n(&second_go, __ATOMIC_SEQ_CST) != value)
		;
}

/* A suspend that forgets registers: what it returns is our value, as the hart gets it again. */
xlen_t saved[14];
xlen_t suspend(xlen_t opaque);
__asm__(".macro each op\n"
	"	la	t0, saved\n"
	"	\\op	ra, 0*REG(t0)\n	\\op	sp, 1*REG(t0)\n"
	"	\\op	s0, 2*REG(t0)\n	\\op	s1, 3*REG(t0)\n"
	"	\\op	s2, 4*REG(t0)\n	\\op	s3, 5*REG(t0)\n"
	"	\\op	s4, 6*REG(t0)\n	\\op	s5, 7*REG(t0)\n"
	"	\\op	s6, 8*REG(t0)\n	\\op	s7, 9*REG(t0)\n"
	"	\\op	s8, 10*REG(t0)\n	\\op	s9, 11*REG(t0)\n"
	"	\\op	s10, 12*REG(t0)\n	\\op	s11, 13*REG(t0)\n"
	".endm\n"
#if __riscv_xlen == 64
	".set	REG, 8\n.macro store r, at\n	sd \\r, \\at\n.endm\n"
	".macro load r, at\n	ld \\r, \\at\n.endm\n"
#else
	".set	REG, 4\n.macro store r, at\n	sw \\r, \\at\n.endm\n"
	".macro load r, at\n	lw \\r, \\at\n.endm\n"
#endif
	".pushsection .text\n"
	".globl suspend\n"
	"suspend:\n"
	"	each	store\n"
	"	mv	a2, a0\n"
	"	li	a0, 0x80000000\n"
	"	la	a1, resumed\n"
	"	li	a6, 3\n"
	"	li	a7, 0x48534d\n"
	"	ecall\n"
	"	ret\n"
	"resumed:\n"
	"	each	load\n"
	"	add	a0, a0, a1\n" /* hart 0 */
	"	ret\n"
	".popsection\n");

static void harts(void)
{
	static const xlen_t nobody = 0, first = 1;
	xlen_t sie = SIP_STIP;
	struct sbiret r;

	is(call(HSM, 2, 0, 0), 0, 0, "the first hart is started");
	is(call(HSM, 2, 1, 0), 0, 1, "the second is stopped");
	is(call(HSM, 2, 2, 0), INVALID_PARAM, 0, "there is no third");
	is(sbi(HSM, 0, 1, 0x1000, 0, 0, 0), INVALID_ADDRESS, 0, "a hart does not start at nothing");
	is(sbi(HSM, 0, 2, (xlen_t)second_start, 0, 0, 0), INVALID_PARAM, 0, "nor one not there");
	is(sbi(HSM, 0, 0, (xlen_t)second_start, 0, 0, 0), ALREADY_AVAILABLE, 0, "nor the first");
	is(sbi(HSM, 0, 1, (xlen_t)second_start, 0x1234, 0, 0), 0, 0, "the second starts");
	wait_for(1);
	check(second_hart == 1 && second_opaque == 0x1234, "with its number and our value");
	check(second_counters == 7, "and counters that U-mode may read");
	is(call(HSM, 2, 1, 0), 0, 0, "and is started");
	is(call(IPI, 0, 4, 0), INVALID_PARAM, 0, "no IPI to a third");
	call(4, 0, (xlen_t)&nobody, 0);
	check(!(sip() & SIP_SSIP), "a legacy IPI to nobody");
	call(4, 0, (xlen_t)&first, 0);
	check((sip() & SIP_SSIP) && __atomic_load_n(&second_go, __ATOMIC_SEQ_CST) == 1,
	      "to the first, and not the second");
	call(3, 0, 0, 0);
	is(call(IPI, 0, 1, 1), 0, 0, "an IPI to the second, by its base");
	wait_for(2);
	is(call(RFENCE, 0, 3, 0), 0, 0, "FENCE.I at both");
	is(sbi(RFENCE, 1, 0, (xlen_t)-1, 0x1000, 0x3000, 0), 0, 0, "SFENCE.VMA at all");
	is(sbi(RFENCE, 2, 2, 0, 0, (xlen_t)-1, 1), 0, 0, "SFENCE.VMA with an ASID");
	is(call(RFENCE, 0, 1, 5), INVALID_PARAM, 0, "none at a sixth");
	is(call(RFENCE, 5, 1, 0), NOT_SUPPORTED, 0, "none of a hypervisor");
	__atomic_store_n(&second_go, 3, __ATOMIC_SEQ_CST);
	do
		r = call(HSM, 2, 1, 0);
	while (!r.error && r.value != 1);
	is(r, 0, 1, "the second has stopped");
	is(call(HSM, 3, 5, 0), INVALID_PARAM, 0, "a suspend of a kind not there");
	is(call(HSM, 3, 0x80000000, 0x1000), INVALID_ADDRESS, 0, "nor one that ends at nothing");
	__asm__ volatile("csrs sie, %0" ::"r"(sie));
	set_timer(false, now() + 20000);
	is(call(HSM, 3, 0, 0), 0, 0, "a suspend ends");
	check(sip() & SIP_STIP, "by an interrupt");
	set_timer(false, now() + 20000);
	check(suspend(0x4321) == 0x4321, "one that forgets ends elsewhere");
	check(sip() & SIP_STIP, "by an interrupt, too");
	set_timer(false, ~0ULL);
}

static void console(void)
{
	static const char text[] = "good DBCN writes\n";
	struct sbiret r = call(DBCN, 0, sizeof(text) - 1, (xlen_t)text);

	is(r, 0, sizeof(text) - 1, "all of it");
	is(call(DBCN, 0, 16, 0x1000), INVALID_PARAM, 0, "not from what is no memory");
	is(call(DBCN, 0, (xlen_t)-1, (xlen_t)text), INVALID_PARAM, 0,
	   "nor from more than there is");
	is(call(DBCN, 1, 16, 0x1000), INVALID_PARAM, 0, "nor read to there");
	is(call(DBCN, 2, '\n', 0), 0, 0, "DBCN writes a byte");
	check(call(2, 0, 0, 0).error == -1, "there is no input");
}

void guest_main(xlen_t hart, const uint8_t *dtb)
{
	static const xlen_t here[] = { 0, 1,    2,    3,   4,      5,   6,    7,
				       8, BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN };
	bool all = true;

	(void)hart;
	(void)dtb;
	check(scounteren() == 7, "U-mode may read the counters");
	is(call(BASE, 0, 0, 0), 0, 0x02000000, "version 2.0");
	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++)
		all = all && call(BASE, 3, here[i], 0).value == 1;
	check(all, "every extension is there");
	is(call(BASE, 3, 0x535441, 0), 0, 0, "another is not");
	is(call(BASE, 4, 0, 0), 0, 0, "mvendorid");
	is(call(BASE, 7, 0, 0), NOT_SUPPORTED, 0, "no further function");
	is(call(0x535441, 0, 0, 0), NOT_SUPPORTED, 0, "no other extension");
	is(call(TIME, 1, 0, 0), NOT_SUPPORTED, 0, "TIME has one function");
	timers(false, "the timer fires");
	timers(true, "and the legacy one");
	call(IPI, 0, 1, 0);
	check(sip() & SIP_SSIP, "an IPI to oneself");
	call(3, 0, 0, 0);
	check(!(sip() & SIP_SSIP), "cleared by the legacy call");
	harts();
	console();
	is(call(SRST, 0, 3, 0), INVALID_PARAM, 0, "no reset of a kind not there");
	is(call(SRST, 1, 0, 0), NOT_SUPPORTED, 0, "SRST has one function");
	print("end\n");
	call(SRST, 0, 1, 0);
	print("BAD a reset returns\n");
}

/* SPDX-License-Identifier: MIT */
/*
 * Bare-metal guests: output, checks, exceptions, PSCI. guest.h has the contracts.
 */
#include "guest.h"

#include <stddef.h>

_Static_assert(offsetof(struct cpu, frame) == 0 && offsetof(struct cpu, stack) == 8 &&
		       offsetof(struct cpu, main) == 16 && offsetof(struct cpu, el0_sp) == 24,
	       "start.S");
_Static_assert(offsetof(struct frame, sp_el0) == 248 && offsetof(struct frame, vector) == 296,
	       "start.S");

struct cpu cpus[MAX_CPUS];
extern char el0_left[];
void el0_enter(u64 pc, u64 sp, u64 spsr, const u64 args[4]);
void exception(struct frame *f);
_Noreturn void boot_main(void);

/* ---- what the compiler calls ---- */

void *memset(void *p, int v, unsigned long n);
void *memcpy(void *to, const void *from, unsigned long n);

void *memset(void *p, int v, unsigned long n)
{
	for (volatile u8 *q = p; n--; q++)
		*q = (u8)v;
	return p;
}

void *memcpy(void *to, const void *from, unsigned long n)
{
	volatile u8 *q = to;

	for (const u8 *f = from; n--;)
		*q++ = *f++;
	return to;
}

/* ---- output ---- */

enum { UARTDR = 0x00, UARTFR = 0x18, UARTFR_TXFF = 1 << 5 };

static void put(char c)
{
	while (read32(UART + UARTFR) & UARTFR_TXFF)
		;
	write32(UART + UARTDR, (u8)c);
}

struct out {
	char *p, *end; /* NULL: the UART */
};

static void emit(struct out *o, char c)
{
	if (!o->p)
		put(c);
	else if (o->p < o->end)
		*o->p++ = c;
}

static void emit_number(struct out *o, u64 v, unsigned base, unsigned width)
{
	char buf[24];
	unsigned n = 0;

	do {
		buf[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v || n < width);
	while (n)
		emit(o, buf[--n]);
}

/* %s %c %d %u %x with l, %p, and a width of one digit with leading zeros. */
static void vformat(struct out *o, const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		unsigned width = 0;
		bool wide = false;
		u64 v;

		if (*fmt != '%') {
			emit(o, *fmt);
			continue;
		}
		for (fmt++; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned)(*fmt - '0');
		for (; *fmt == 'l'; fmt++)
			wide = true;
		switch (*fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				emit(o, *s);
			break;
		case 'c': emit(o, (char)va_arg(ap, int)); break;
		case 'd':
			v = wide ? va_arg(ap, u64) : (u64)va_arg(ap, int);
			if ((s64)v < 0) {
				emit(o, '-');
				v = -v;
			}
			emit_number(o, v, 10, width);
			break;
		case 'u':
			v = wide ? va_arg(ap, u64) : va_arg(ap, unsigned);
			emit_number(o, v, 10, width);
			break;
		case 'x':
			v = wide ? va_arg(ap, u64) : va_arg(ap, unsigned);
			emit_number(o, v, 16, width);
			break;
		default: emit(o, *fmt);
		}
	}
}

void print(const char *fmt, ...)
{
	struct out uart = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vformat(&uart, fmt, ap);
	va_end(ap);
}

/* ---- checks ---- */

static unsigned n_checks;

static void report(bool ok, const char *fmt, va_list ap)
{
	struct out uart = { 0 };

	print("%sok %u - ", ok ? "" : "not ", ++n_checks);
	vformat(&uart, fmt, ap);
	put('\n');
}

#define REPORT(ok)                    \
	do {                          \
		va_list ap_;          \
		va_start(ap_, fmt);   \
		report(ok, fmt, ap_); \
		va_end(ap_);          \
	} while (0)

bool check(bool ok, const char *fmt, ...)
{
	REPORT(ok);
	return ok;
}

bool check_eq(u64 got, u64 want, const char *fmt, ...)
{
	REPORT(got == want);
	if (got != want)
		note("got 0x%lx, want 0x%lx", got, want);
	return got == want;
}

void skip(const char *why, const char *fmt, ...)
{
	struct out uart = { 0 };
	va_list ap;

	print("ok %u - ", ++n_checks);
	va_start(ap, fmt);
	vformat(&uart, fmt, ap);
	va_end(ap);
	print(" # SKIP %s\n", why);
}

static void note_exc(void)
{
	const struct exc *e = last();

	note("%u exceptions; esr %lx (ec %lx iss %lx) far %lx elr %lx spsr %lx vector %lu, pc %lx",
	     e->n, e->f.esr, field(e->f.esr, 31, 26), field(e->f.esr, 24, 0), e->f.far, e->f.elr,
	     e->f.spsr, e->f.vector, this_cpu()->pc);
}

bool check_none(const char *fmt, ...)
{
	bool ok = last()->n == 0;

	REPORT(ok);
	if (!ok)
		note_exc();
	return ok;
}

/* One exception, with IL set as for any A64 instruction, and its return address. */
static bool is_exc(u64 ec, u64 iss)
{
	const struct exc *e = last();

	return e->n == 1 && e->f.esr == (ec << 26 | BIT(25) | iss) &&
	       e->f.elr == this_cpu()->pc + (ec == EC_SVC ? 4 : 0);
}

bool check_exc(u64 ec, u64 iss, const char *fmt, ...)
{
	bool ok = is_exc(ec, iss);

	REPORT(ok);
	if (!ok) {
		note_exc();
		note("want ec %lx iss %lx", ec, iss);
	}
	return ok;
}

bool check_abort(u64 ec, u64 iss, u64 far, const char *fmt, ...)
{
	bool ok = is_exc(ec, iss) && last()->f.far == far;

	REPORT(ok);
	if (!ok) {
		note_exc();
		note("want ec %lx iss %lx far %lx", ec, iss, far);
	}
	return ok;
}

bool check_el0_done(const char *fmt, ...)
{
	const struct exc *e = last();
	bool ok = e->n == 1 && e->f.esr == ((u64)EC_SVC << 26 | BIT(25) | SVC_DONE);

	REPORT(ok);
	if (!ok)
		note_exc();
	return ok;
}

void note_plan(unsigned status)
{
	note("expect-status %u", status);
	print("1..%u\n", n_checks);
}

void bail(const char *why)
{
	print("Bail out! %s\n", why);
	note_exc();
	power_off();
}

/* ---- exceptions ---- */

void sctlr(u64 v)
{
	WRITE_REG(sctlr_el1, v);
	ISB();
}

void expect(void)
{
	struct cpu *c = this_cpu();

	c->exc.n = 0;
	c->exc.f = (struct frame){ 0 };
	c->expecting = true;
}

void expect_end(u64 pc)
{
	struct cpu *c = this_cpu();

	c->expecting = false;
	c->pc = pc;
}

static void unexpected(struct frame *f)
{
	print("Bail out! cpu %lu: unexpected exception, vector %lu esr %lx elr %lx far %lx spsr "
	      "%lx lr %lx\n",
	      this_cpu()->index, f->vector, f->esr, f->elr, f->far, f->spsr, f->x[30]);
	power_off();
}

/* Called by the vectors; what it leaves in *f is where execution goes on. */
void exception(struct frame *f)
{
	struct cpu *c = this_cpu();
	u64 ec = field(f->esr, 31, 26);
	u64 daif = READ_REG(daif), spsel = READ_REG(spsel), el = READ_REG(CurrentEL);
	u64 pan = field(READ_REG(id_aa64mmfr1_el1), 23, 20) ? READ_REG(S3_0_C4_C2_3) : 0;

	if (f >= (struct frame *)c->frames[FRAMES - 1])
		unexpected(f);
	if (c->handler && c->handler(f))
		return;
	if ((f->vector & 3) != VEC_SYNC || !(c->expecting || (c->in_el0 && f->vector >= VEC_EL0)))
		unexpected(f);
	if (c->exc.n > 1000)
		unexpected(f); /* it goes round in circles */
	if (c->exc.n++ == 0) {
		c->exc.f = *f;
		c->exc.daif = daif;
		c->exc.spsel = spsel;
		c->exc.pan = pan;
		c->exc.el = el;
	}
	if (f->vector >= VEC_EL0) {
		f->elr = (u64)el0_left;
		f->spsr = PSTATE_EL1H | PSTATE_DAIF;
		return;
	}
	switch (ec) {
	case EC_SVC: break;
	case EC_IABT:
	case EC_PC_ALIGN: f->elr = f->x[30]; break;
	case EC_ILLEGAL: f->spsr &= ~(u64)PSTATE_IL; break;
	default: f->elr += 4;
	}
}

u64 el0_at(u64 pc, u64 sp, u64 pstate, const u64 args[4])
{
	struct cpu *c = this_cpu();

	c->exc.n = 0;
	c->exc.f = (struct frame){ 0 };
	c->pc = pc;
	c->in_el0 = true;
	el0_enter(pc, sp, pstate, args);
	c->in_el0 = false;
	return c->exc.f.x[0];
}

u64 el0(const void *code, u64 x0, u64 x1, u64 x2)
{
	const u64 args[4] = { x0, x1, x2, 0 };

	return el0_at((u64)code, (u64)el0_stack + sizeof(el0_stack), PSTATE_EL0T, args);
}

/* ---- any instruction ---- */

u64 run_word(u32 word, unsigned el, u64 x0, u64 x1, u64 x2)
{
	/* Written where EL1 may write, run through an alias that both levels may execute. */
	const u64 at = RAM_END - BLOCK2M, alias = 0x80000000;
	const u32 ret = 0xd65f03c0, done = 0xd4000001 | SVC_DONE << 5;

	if (!(*pt_entry(flat_root, 1, alias, 3) & PT_VALID)) {
		pt_map(flat_root, 1, alias, at, 3, PT_MEM | PT_RO | PT_USER);
		DSB();
		ISB();
	}
	write32(at, word);
	write32(at + 4, el ? ret : done);
	asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %1\n\tdsb ish\n\tisb" ::"r"(at), "r"(alias)
		     : "memory");
	if (el == 0)
		return el0((void *)alias, x0, x1, x2);
	u64 v = TRY_IN("mov x0, %[x0]\n\tmov x1, %[x1]\n\tmov x2, %[x2]", "blr %[at]",
		       "", [x0] "r"(x0), [x1] "r"(x1), [x2] "r"(x2), [at] "r"(alias));
	this_cpu()->pc = alias;
	return v;
}

u32 sys_iss(u32 w)
{
	return (u32)(field(w, 20, 19) << 20 | field(w, 7, 5) << 17 | field(w, 18, 16) << 14 |
		     field(w, 15, 12) << 10 | field(w, 4, 0) << 5 | field(w, 11, 8) << 1 |
		     field(w, 21, 21));
}

/* ---- PSCI ---- */

s64 psci(u64 function, u64 a, u64 b, u64 c)
{
	register u64 x0 asm("x0") = function;
	register u64 x1 asm("x1") = a;
	register u64 x2 asm("x2") = b;
	register u64 x3 asm("x3") = c;

	asm volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"memory");
	return (s64)x0;
}

void power_off(void)
{
	psci(PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;)
		asm volatile("wfi");
}

void delay_us(u64 us)
{
	u64 end = READ_REG(cntvct_el0) + us * READ_REG(cntfrq_el0) / 1000000;

	while ((s64)(READ_REG(cntvct_el0) - end) < 0)
		ISB();
}

/* ---- start ---- */

void boot_main(void)
{
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		cpus[i].index = i;
		cpus[i].frame = (struct frame *)cpus[i].frames[0];
		cpus[i].stack = cpus[i].stack_memory + sizeof(cpus[i].stack_memory);
	}
	sctlr(SCTLR_PLAIN);
	guest_main();
	print("1..%u\n", n_checks);
	power_off();
}

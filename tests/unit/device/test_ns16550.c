/* SPDX-License-Identifier: MIT */
/*
 * 16550A by its registers, with the console on pipes: sending, receiving, interrupts and their
 * order, back-pressure both ways, loopback; the sequences of Linux's driver; register layouts;
 * accesses that no driver would make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "bus/irq.h"
#include "device/ns16550.h"
#include "host/console.h"
#include "host/loop.h"
#include "host/thread.h"

#define BASE 0x10000000ULL

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, DLL = RBR, DLM = IER, FCR = IIR };
enum { ERBFI = 1, ETBEI = 2, ELSI = 4, EDSSI = 8 };
enum { NONE = 1, MODEM = 0, THRE_INT = 2, RDA = 4, LINE = 6, TIMEOUT = 0xc, FIFOS = 0xc0 };
enum { ENABLE = 1, CLEAR_RX = 2, CLEAR_TX = 4, TRIGGER_8 = 0x80, TRIGGER_14 = 0xc0 };
enum { DR = 1, OE = 2, FE = 8, BI = 0x10, THRE = 0x20, TEMT = 0x40, FIFO_ERROR = 0x80 };
enum { DLAB = 0x80, WLS_8 = 3, BREAK = 0x40, LOOP = 0x10, IDLE = THRE | TEMT };

struct fixture {
	struct loop *loop;
	struct clock *clock;
	struct bus *bus;
	struct console *con;
	struct ns16550 *uart;
	int in[2], out[2]; /* the console has in[0] and out[1] */
	bool irq;
};

static void set_irq(void *chip, unsigned pin, bool level)
{
	struct fixture *f = chip;

	assert_int_equal(pin, 10);
	assert_true(f->irq != level);
	f->irq = level;
}

static const struct irq_ops irq_ops = { .set = set_irq };

static void turns(struct fixture *f, unsigned n)
{
	for (; n; n--) {
		loop_stop(f->loop);
		assert_int_equal(loop_run(f->loop), 0);
	}
}
/* Long enough for the UART to see that the guest listens. */
static void settle(struct fixture *f)
{
	poll(NULL, 0, 25);
	turns(f, 5);
}
static uint8_t rd(struct fixture *f, unsigned reg)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->bus, BASE + reg, 1, &val), 0);
	return (uint8_t)val;
}
static void wr(struct fixture *f, unsigned reg, unsigned val)
{
	assert_int_equal(bus_write(f->bus, BASE + reg, 1, val), 0);
}
static void type(struct fixture *f, const char *s)
{
	assert_int_equal(write(f->in[1], s, strlen(s)), strlen(s));
	turns(f, 4);
}
static void expect(struct fixture *f, const char *s)
{
	char buf[256];
	ssize_t n;

	turns(f, 3);
	n = read(f->out[0], buf, sizeof(buf));
	assert_int_equal(n, strlen(s));
	assert_memory_equal(buf, s, strlen(s));
}
static void receives(struct fixture *f, const char *s)
{
	for (; *s; s++)
		assert_int_equal(rd(f, RBR), *s);
}

static struct ns16550_config configure(struct fixture *f)
{
	return (struct ns16550_config){
		.bus = f->bus,
		.base = BASE,
		.max_access = 1,
		.irq = { .ops = &irq_ops, .chip = f, .pin = 10 },
		.con = f->con,
		.clock = f->clock,
	};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;
	struct console_config con;
	struct ns16550_config config;

	assert_non_null(f);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_create(&f->loop, &err), 0);
	assert_int_equal(clock_create(&f->clock, f->loop, &err), 0);
	assert_int_equal(bus_create(&f->bus, &err), 0);
	assert_int_equal(pipe(f->in), 0);
	assert_int_equal(pipe(f->out), 0);
	con = (struct console_config){ .loop = f->loop, .in_fd = f->in[0], .out_fd = f->out[1] };
	assert_int_equal(console_create(&f->con, &con, &err), 0);
	config = configure(f);
	assert_int_equal(ns16550_create(&f->uart, &config, &err), 0);
	turns(f, 2);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->out[0]);
	console_destroy(f->con);
	ns16550_destroy(f->uart);
	bus_destroy(f->bus);
	clock_destroy(f->clock);
	loop_destroy(f->loop);
	close(f->out[1]);
	close(f->in[0]);
	close(f->in[1]);
	free(f);
	return 0;
}

static void reset_values(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(rd(f, RBR), 0);
		assert_int_equal(rd(f, IER), 0);
		assert_int_equal(rd(f, IIR), NONE);
		assert_int_equal(rd(f, LCR), 0);
		assert_int_equal(rd(f, MCR), 0);
		assert_int_equal(rd(f, LSR), IDLE);
		assert_int_equal(rd(f, MSR), 0xb0); /* DCD, DSR, CTS: the other end is there */
		assert_int_equal(rd(f, SCR), 0);
		wr(f, LCR, DLAB);
		assert_true(rd(f, DLL) | rd(f, DLM)); /* some driver divides by it */
		wr(f, LCR, 0);

		/* Which bits of which registers are there; a reset brings all back. */
		wr(f, IER, 0xff);
		assert_int_equal(rd(f, IER), 0x0f);
		wr(f, FCR, 0xfe); /* nothing without the enable bit */
		assert_int_equal(rd(f, IIR) & FIFOS, 0);
		wr(f, FCR, 0xff);
		assert_int_equal(rd(f, IIR) & 0xf0, FIFOS);
		wr(f, MCR, 0xff);
		assert_int_equal(rd(f, MCR), 0x1f);
		wr(f, LSR, 0xff);
		assert_int_equal(rd(f, LSR), IDLE);
		wr(f, MSR, 0);
		assert_int_equal(rd(f, MSR) & 0xf0, 0xf0);
		wr(f, SCR, 0xa5);
		assert_int_equal(rd(f, SCR), 0xa5);
		wr(f, LCR, 0xff);
		assert_int_equal(rd(f, LCR), 0xff);
		wr(f, DLL, 0x12);
		wr(f, DLM, 0x34);
		assert_int_equal(rd(f, DLL), 0x12);
		assert_int_equal(rd(f, DLM), 0x34);
		wr(f, LCR, 0x7f);
		assert_int_equal(rd(f, IER), 0x0f);
		ns16550_reset(f->uart);
		assert_false(f->irq);
	}
}

/* What Linux does to find out what this is. */
static void identification(void **state)
{
	struct fixture *f = *state;

	wr(f, IER, 0);
	assert_int_equal(rd(f, IER), 0);
	wr(f, IER, 0x0f);
	assert_int_equal(rd(f, IER) & 0x0f, 0x0f);
	wr(f, IER, 0);
	rd(f, MSR);
	wr(f, MCR, LOOP | 0x0a); /* OUT2, RTS */
	assert_int_equal(rd(f, MSR) & 0xf0, 0x90);
	wr(f, MCR, 0);
	wr(f, LCR, 0xbf); /* enhanced features of other chips */
	wr(f, FCR, ENABLE);
	wr(f, LCR, 0);
	assert_int_equal(rd(f, IIR) >> 6, 3); /* FIFOs that work */
	wr(f, FCR, ENABLE | 0x20);
	assert_int_equal(rd(f, IIR) >> 5, 6); /* and are not 64 deep */
	/* How many fit. */
	wr(f, FCR, ENABLE | CLEAR_RX | CLEAR_TX);
	wr(f, MCR, LOOP);
	for (unsigned i = 0; i < 256; i++)
		wr(f, THR, i);
	for (unsigned i = 0; i < 16; i++) {
		assert_true(rd(f, LSR) & DR);
		assert_int_equal(rd(f, RBR), i);
	}
	assert_false(rd(f, LSR) & DR);
}

/* An early console: nothing set up, LSR polled, bytes written. */
static void early_console(void **state)
{
	struct fixture *f = *state;

	for (const char *s = "early\n"; *s; s++) {
		while ((rd(f, LSR) & IDLE) != IDLE) {
		}
		wr(f, THR, (uint8_t)*s);
	}
	expect(f, "early\n");
	assert_false(f->irq);
}

static void transmit_interrupt(void **state)
{
	struct fixture *f = *state;

	for (unsigned fifo = 0; fifo < 2; fifo++) {
		wr(f, FCR, fifo ? ENABLE : 0);
		/* Enabled while empty, it comes at once; every time. */
		for (unsigned i = 0; i < 2; i++) {
			wr(f, IER, ETBEI);
			assert_true(f->irq);
			assert_int_equal(rd(f, IIR) & 0xf, THRE_INT);
			assert_false(f->irq); /* told, and so gone */
			assert_int_equal(rd(f, IIR) & 0xf, NONE);
			wr(f, IER, ETBEI); /* no change */
			assert_false(f->irq);
			wr(f, IER, 0);
		}
		wr(f, IER, ETBEI);
		wr(f, THR, 'a'); /* gone down and up again */
		assert_true(f->irq);
		assert_int_equal(rd(f, IIR) & 0xf, THRE_INT);
		wr(f, THR, 'b');
		assert_true(f->irq);
		wr(f, IER, 0);
		assert_false(f->irq);
		expect(f, "ab");
	}
}

/* A driver that looks at LSR and never at IIR is not interrupted for ever, but each time. */
static void transmit_interrupt_seen_in_lsr(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE);
	wr(f, IER, ETBEI);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(f->irq);
		assert_int_equal(rd(f, LSR), IDLE);
		assert_false(f->irq);
		wr(f, THR, 'x');
	}
	assert_int_equal(rd(f, LSR), IDLE);
	assert_false(f->irq);
	assert_int_equal(rd(f, IIR), FIFOS | THRE_INT); /* still, until told here */
	assert_int_equal(rd(f, IIR), FIFOS | NONE);
	wr(f, IER, 0);
	wr(f, IER, ETBEI);
	assert_true(f->irq);
	expect(f, "xxx");
}

/* One that asks IIR once for each interrupt, and looks at LSR for another cause, is told of THRE by
 * a second interrupt. */
static void transmit_interrupt_behind_receive(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE);
	wr(f, IER, ERBFI | ETBEI);
	type(f, "a");
	settle(f);
	assert_true(f->irq);
	assert_int_equal(rd(f, IIR), FIFOS | RDA);
	assert_int_equal(rd(f, LSR), IDLE | DR);
	receives(f, "a");
	assert_int_equal(rd(f, LSR), IDLE);
	assert_true(f->irq);
	assert_int_equal(rd(f, IIR), FIFOS | THRE_INT);
	assert_false(f->irq);
}

/* The reader stops: ring full, then FIFO full, then no THRE; later all is there, in order. */
static void transmit_back_pressure(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0, got = 0;

	wr(f, FCR, ENABLE);
	while (rd(f, LSR) & THRE)
		for (unsigned i = 0; i < 16; i++)
			wr(f, THR, (uint8_t)(sent++ % 251));
	assert_int_equal(sent, 65536 + 16);
	assert_int_equal(rd(f, LSR) & (THRE | TEMT), 0);
	wr(f, THR, 'x'); /* lost, as the guest was told */
	wr(f, IER, ETBEI);
	assert_false(f->irq);
	for (unsigned i = 0; got < sent; i++) {
		uint8_t buf[4096];
		struct pollfd pfd = { .fd = f->out[0], .events = POLLIN };
		ssize_t n;

		turns(f, 5);
		if (!poll(&pfd, 1, 0)) {
			assert_true(i < 1000);
			continue;
		}
		n = read(f->out[0], buf, sizeof(buf));
		for (ssize_t k = 0; k < n; k++)
			assert_int_equal(buf[k], got++ % 251);
	}
	assert_true(f->irq);
	assert_int_equal(rd(f, IIR), FIFOS | THRE_INT);
	assert_int_equal(rd(f, LSR), IDLE);
	assert_int_equal(got, sent);
}

static void receive(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE | TRIGGER_8);
	wr(f, IER, ERBFI);
	type(f, "0123456");
	assert_false(f->irq);
	settle(f);
	assert_true(f->irq); /* below the trigger level, but time is over at once */
	assert_int_equal(rd(f, IIR), FIFOS | TIMEOUT);
	assert_int_equal(rd(f, LSR), IDLE | DR);
	type(f, "7");
	assert_int_equal(rd(f, IIR), FIFOS | RDA);
	wr(f, FCR, ENABLE | TRIGGER_14); /* empties nothing */
	assert_int_equal(rd(f, IIR), FIFOS | TIMEOUT);
	type(f, "89abcd");
	assert_int_equal(rd(f, IIR), FIFOS | RDA);
	receives(f, "0");
	assert_int_equal(rd(f, IIR), FIFOS | TIMEOUT);
	receives(f, "123456789abcd");
	assert_false(f->irq);
	assert_int_equal(rd(f, IIR), FIFOS | NONE);
	assert_int_equal(rd(f, LSR), IDLE);
	/* Without the interrupt, nothing comes from outside. */
	wr(f, IER, 0);
	type(f, "x");
	assert_int_equal(rd(f, LSR), IDLE);
	wr(f, IER, ERBFI); /* listened before: at once */
	turns(f, 4);
	assert_true(f->irq);
	/* Emptied; and switched over, which empties too. */
	wr(f, FCR, ENABLE | CLEAR_RX);
	assert_false(f->irq);
	assert_int_equal(rd(f, LSR), IDLE);
	type(f, "y");
	settle(f);
	assert_true(f->irq);
	wr(f, FCR, 0);
	assert_false(f->irq);
	assert_int_equal(rd(f, IIR), NONE);
}

static void receive_back_pressure(void **state)
{
	struct fixture *f = *state;
	char text[1001];

	for (unsigned i = 0; i < 1000; i++)
		text[i] = (char)('A' + i % 53);
	text[1000] = 0;
	wr(f, FCR, ENABLE);
	wr(f, IER, ERBFI);
	type(f, text);
	settle(f);
	for (unsigned i = 0; i < 500; i++) {
		unsigned lsr = rd(f, LSR);

		if (!(lsr & DR)) {
			turns(f, 4);
			lsr = rd(f, LSR);
		}
		assert_int_equal(lsr, IDLE | DR); /* no overrun */
		assert_int_equal(rd(f, RBR), text[i]);
	}
	/* One at a time without FIFOs. */
	while (rd(f, LSR) & DR)
		rd(f, RBR);
	wr(f, FCR, 0);
	settle(f);
	for (unsigned i = 0; i < 400; i++) {
		assert_true(f->irq);
		assert_int_equal(rd(f, IIR), RDA);
		assert_int_equal(rd(f, LSR), IDLE | DR);
		rd(f, RBR);
		assert_false(f->irq);
		turns(f, 4);
	}
}

/* Input waits for a driver that wants it: one that starts up throws away what it finds. */
static void input_waits(void **state)
{
	struct fixture *f = *state;

	type(f, "root\n");
	for (const char *s = "booting, and looking at LSR often"; *s; s++) {
		rd(f, LSR);
		wr(f, THR, (uint8_t)*s);
		rd(f, LSR);
		turns(f, 2);
	}
	/* Linux looks whether IER is there, then empties all, */
	wr(f, IER, 0x0f);
	turns(f, 2);
	wr(f, IER, 0);
	wr(f, FCR, ENABLE);
	wr(f, FCR, ENABLE | CLEAR_RX | CLEAR_TX);
	wr(f, FCR, 0);
	rd(f, LSR);
	rd(f, RBR);
	settle(f);
	/* and enables the interrupt before the FIFOs. */
	wr(f, LCR, WLS_8);
	wr(f, IER, ERBFI | ELSI);
	turns(f, 4);
	wr(f, LCR, WLS_8 | DLAB);
	wr(f, DLL, 1);
	wr(f, DLM, 0);
	wr(f, LCR, WLS_8);
	wr(f, FCR, ENABLE);
	wr(f, FCR, ENABLE | TRIGGER_8);
	turns(f, 4);
	assert_false(f->irq);
	settle(f);
	assert_true(f->irq);
	receives(f, "root\n");
	assert_false(f->irq);
	/* Its console prints with the interrupts off; nothing is lost by that. */
	wr(f, IER, 0);
	type(f, "x");
	wr(f, THR, '.');
	wr(f, IER, ERBFI | ELSI);
	turns(f, 4);
	assert_true(f->irq);
	receives(f, "x");
}

/* A guest without interrupts that only looks at LSR. */
static void polled_input(void **state)
{
	struct fixture *f = *state;
	unsigned looks = 0;

	type(f, "yes");
	for (const char *s = "yes"; *s; s++) {
		while (!(rd(f, LSR) & DR)) {
			turns(f, 2);
			assert_true(++looks < 100);
		}
		assert_int_equal(rd(f, RBR), *s);
		wr(f, THR, (uint8_t)*s); /* echo */
	}
	expect(f, "yes");
}

static void loopback(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE);
	wr(f, IER, EDSSI);
	assert_int_equal(rd(f, MSR), 0xb0);
	wr(f, MCR, LOOP);
	assert_true(f->irq);
	assert_int_equal(rd(f, IIR), FIFOS | MODEM);
	assert_int_equal(rd(f, MSR), 0x0b); /* CTS, DSR, DCD went */
	assert_false(f->irq);
	wr(f, MCR, LOOP | 0xf);
	assert_int_equal(rd(f, MSR), 0xfb); /* all came; of RI only the end counts */
	assert_int_equal(rd(f, MSR), 0xf0);
	wr(f, MCR, LOOP | 0xb);
	assert_int_equal(rd(f, MSR), 0xb4);
	wr(f, MCR, LOOP | 0x2);
	assert_int_equal(rd(f, MSR), 0x1a); /* RTS makes CTS */

	wr(f, IER, ERBFI | ELSI | ETBEI);
	type(f, "outside"); /* cut off */
	settle(f);
	for (unsigned i = 0; i < 16; i++)
		wr(f, THR, i);
	assert_int_equal(rd(f, LSR), IDLE | DR);
	wr(f, THR, 99); /* one too many; the order of the interrupts */
	assert_int_equal(rd(f, IIR), FIFOS | LINE);
	assert_int_equal(rd(f, LSR), IDLE | DR | OE);
	assert_int_equal(rd(f, LSR), IDLE | DR);
	assert_int_equal(rd(f, IIR), FIFOS | RDA);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(rd(f, RBR), i);
	assert_int_equal(rd(f, IIR), FIFOS | THRE_INT);
	assert_false(f->irq);

	/* A break shows when it is its turn. */
	wr(f, THR, 'a');
	wr(f, LCR, BREAK);
	assert_int_equal(rd(f, IIR), FIFOS | RDA);
	assert_int_equal(rd(f, LSR), IDLE | DR | FIFO_ERROR);
	assert_int_equal(rd(f, RBR), 'a');
	assert_int_equal(rd(f, IIR), FIFOS | LINE);
	assert_int_equal(rd(f, LSR), IDLE | DR | FIFO_ERROR | BI | FE);
	assert_int_equal(rd(f, LSR), IDLE | DR);
	assert_int_equal(rd(f, RBR), 0);
	wr(f, LCR, 0);

	/* Without FIFOs an overrun leaves the newest. */
	wr(f, FCR, 0);
	wr(f, THR, 'o');
	wr(f, THR, 'n');
	assert_int_equal(rd(f, LSR), IDLE | DR | OE);
	assert_int_equal(rd(f, RBR), 'n');

	/* Nothing of this went out, and what waited comes in afterwards. */
	wr(f, FCR, ENABLE);
	wr(f, MCR, 0);
	settle(f);
	receives(f, "outside");
	wr(f, THR, '.');
	expect(f, ".");
}

/* Registers apart, wide accesses, and what does not fit on the bus. */
static void layouts(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	struct ns16550_config config = configure(f);
	struct ns16550 *uart;
	uint64_t val;

	assert_int_equal(ns16550_create(&uart, &config, &err), -EEXIST);
	assert_int_equal(bus_read(f->bus, BASE, 2, &val), -EINVAL);
	assert_int_equal(bus_read(f->bus, BASE + 8, 1, &val), -ENXIO);
	config.base = BASE + 0x1000;
	config.reg_shift = 2;
	config.max_access = 4;
	config.irq = (struct irq_line){ 0 };
	assert_int_equal(ns16550_create(&uart, &config, &err), 0);
	assert_int_equal(bus_write(f->bus, config.base + 4 * SCR, 4, 0x12345678), 0);
	assert_int_equal(bus_read(f->bus, config.base + 4 * SCR, 4, &val), 0);
	assert_int_equal(val, 0x78);
	assert_int_equal(bus_read(f->bus, config.base + 4 * SCR, 1, &val), 0);
	assert_int_equal(val, 0x78);
	assert_int_equal(bus_write(f->bus, config.base + 4 * SCR + 1, 1, 0xff), 0);
	assert_int_equal(bus_read(f->bus, config.base + 4 * SCR + 2, 2, &val), 0);
	assert_int_equal(val, 0);
	assert_int_equal(bus_read(f->bus, config.base + 4 * SCR, 2, &val), 0);
	assert_int_equal(val, 0x78);
	assert_int_equal(bus_read(f->bus, config.base + 32, 4, &val), -ENXIO);
	ns16550_destroy(uart);
	/* The console still belongs to the last who came: give it back. */
	ns16550_destroy(f->uart);
	config = configure(f);
	assert_int_equal(ns16550_create(&f->uart, &config, &err), 0);
}

/*
 * All at once: somebody pipes text in, a guest on its own thread echoes it, somebody else reads
 * slowly. A wake-up lost anywhere hangs it; a byte lost or doubled is seen.
 */
enum { ECHO_BYTES = 120000 };

static void *feed(void *arg)
{
	struct fixture *f = arg;
	uint8_t buf[997];

	for (size_t n = 0; n < ECHO_BYTES;) {
		size_t len = ECHO_BYTES - n < sizeof(buf) ? ECHO_BYTES - n : sizeof(buf);

		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)((n + i) % 251);
		if (write(f->in[1], buf, len) != (ssize_t)len)
			return "short write";
		n += len;
	}
	return NULL;
}

static void *guest(void *arg)
{
	struct fixture *f = arg;

	for (size_t n = 0; n < ECHO_BYTES;) {
		if (rd(f, IIR) & NONE)
			continue;
		while (rd(f, LSR) & DR) {
			uint8_t c = rd(f, RBR);

			if (c != n++ % 251)
				return "wrong byte in";
			while (!(rd(f, LSR) & THRE)) {
			}
			wr(f, THR, c);
		}
	}
	return NULL;
}

static void *drink(void *arg)
{
	struct fixture *f = arg;
	const char *complaint = NULL;

	for (size_t n = 0; n < ECHO_BYTES && !complaint;) {
		uint8_t buf[3001];
		ssize_t len = read(f->out[0], buf, sizeof(buf));

		for (ssize_t i = 0; i < len; i++)
			if (buf[i] != n++ % 251)
				complaint = "wrong byte out";
		if (n / 20000 != (n - (size_t)len) / 20000)
			poll(NULL, 0, 50); /* long enough for the ring to fill */
	}
	loop_stop(f->loop);
	return (void *)complaint;
}

static void echo(void **state)
{
	void *(*const run[])(void *arg) = { feed, guest, drink };
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	pthread_t thread[3];
	void *complaint;

	wr(f, FCR, ENABLE);
	wr(f, IER, ERBFI);
	assert_true(fcntl(f->out[1], F_SETPIPE_SZ, 4096) >= 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(thread_create(&thread[i], "echo", run[i], f, &err), 0);
	assert_int_equal(loop_run(f->loop), 0);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(thread[i], &complaint);
		assert_null(complaint);
	}
}

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void random_accesses(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 4711;

	assert_int_equal(fcntl(f->in[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(f->out[0], F_SETFL, O_NONBLOCK), 0);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = random_next(&seed);
		char buf[4096] = { 0 };

		switch (r % 16) {
		case 0:
			if (write(f->in[1], buf, r / 1024 % 64) < 0)
				assert_int_equal(errno, EAGAIN);
			break;
		case 1:
			if (r & 256 && read(f->out[0], buf, sizeof(buf)) < 0)
				assert_int_equal(errno, EAGAIN);
			break;
		case 2: turns(f, 1); break;
		case 3:
			if (r / 16 % 256 == 0)
				ns16550_reset(f->uart);
			break;
		default:
			if (r & 512)
				rd(f, r / 1024 % 8);
			else
				wr(f, r / 1024 % 8, (uint8_t)(r >> 32));
		}
		if (f->irq) {
			assert_false(rd(f, IIR) & NONE);
		} else { /* THRE: LSR has told it */
			uint8_t cause = rd(f, IIR) & 0xf;

			assert_true(cause == NONE || cause == THRE_INT);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reset_values, setup, teardown),
		cmocka_unit_test_setup_teardown(identification, setup, teardown),
		cmocka_unit_test_setup_teardown(early_console, setup, teardown),
		cmocka_unit_test_setup_teardown(transmit_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(transmit_interrupt_seen_in_lsr, setup, teardown),
		cmocka_unit_test_setup_teardown(transmit_interrupt_behind_receive, setup, teardown),
		cmocka_unit_test_setup_teardown(transmit_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(receive, setup, teardown),
		cmocka_unit_test_setup_teardown(receive_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(input_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(polled_input, setup, teardown),
		cmocka_unit_test_setup_teardown(loopback, setup, teardown),
		cmocka_unit_test_setup_teardown(layouts, setup, teardown),
		cmocka_unit_test_setup_teardown(echo, setup, teardown),
		cmocka_unit_test_setup_teardown(random_accesses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

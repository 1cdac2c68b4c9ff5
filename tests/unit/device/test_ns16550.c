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
#include <poll.h>
#include <stdlib.h>

#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "device/ns16550.h"
#include "device/rig.h"

#define BASE 0x10000000ULL

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, DLL = RBR, DLM = IER, FCR = IIR };
enum { ERBFI = 1, ETBEI = 2, ELSI = 4, EDSSI = 8 };
enum { NONE = 1, MODEM = 0, THRE_INT = 2, RDA = 4, LINE = 6, TIMEOUT = 0xc, FIFOS = 0xc0 };
enum { ENABLE = 1, CLEAR_RX = 2, CLEAR_TX = 4, TRIGGER_8 = 0x80, TRIGGER_14 = 0xc0 };
enum { DR = 1, OE = 2, FE = 8, BI = 0x10, THRE = 0x20, TEMT = 0x40, FIFO_ERROR = 0x80 };
enum { DLAB = 0x80, WLS_8 = 3, BREAK = 0x40, LOOP = 0x10, IDLE = THRE | TEMT };

struct fixture {
	struct rig r;
	struct ns16550 *uart;
};

/* Long enough for the UART to see that the guest listens. */
static void settle(struct fixture *f)
{
	poll(NULL, 0, 25);
	rig_turns(&f->r, 5);
}
static uint8_t rd(struct fixture *f, unsigned reg)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->r.bus, BASE + reg, 1, &val), 0);
	return (uint8_t)val;
}
static void wr(struct fixture *f, unsigned reg, unsigned val)
{
	assert_int_equal(bus_write(f->r.bus, BASE + reg, 1, val), 0);
}
static void receives(struct fixture *f, const char *s)
{
	for (; *s; s++)
		assert_int_equal(rd(f, RBR), *s);
}

static struct ns16550_config configure(struct fixture *f)
{
	return (struct ns16550_config){
		.bus = f->r.bus,
		.base = BASE,
		.max_access = 1,
		.irq = rig_irq(&f->r, 10),
		.con = f->r.con,
		.clock = f->r.clock,
	};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;
	struct ns16550_config config;

	assert_non_null(f);
	rig_init_console(&f->r);
	config = configure(f);
	assert_int_equal(ns16550_create(&f->uart, &config, &err), 0);
	rig_turns(&f->r, 2);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rig_fini_console(&f->r);
	ns16550_destroy(f->uart);
	rig_fini(&f->r);
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
		assert_false(f->r.irq);
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
	rig_expect(&f->r, "early\n");
	assert_false(f->r.irq);
}

static void transmit_interrupt(void **state)
{
	struct fixture *f = *state;

	for (unsigned fifo = 0; fifo < 2; fifo++) {
		wr(f, FCR, fifo ? ENABLE : 0);
		/* Enabled while empty, it comes at once; every time. */
		for (unsigned i = 0; i < 2; i++) {
			wr(f, IER, ETBEI);
			assert_true(f->r.irq);
			assert_int_equal(rd(f, IIR) & 0xf, THRE_INT);
			assert_false(f->r.irq); /* told, and so gone */
			assert_int_equal(rd(f, IIR) & 0xf, NONE);
			wr(f, IER, ETBEI); /* no change */
			assert_false(f->r.irq);
			wr(f, IER, 0);
		}
		wr(f, IER, ETBEI);
		wr(f, THR, 'a'); /* gone down and up again */
		assert_true(f->r.irq);
		assert_int_equal(rd(f, IIR) & 0xf, THRE_INT);
		wr(f, THR, 'b');
		assert_true(f->r.irq);
		wr(f, IER, 0);
		assert_false(f->r.irq);
		rig_expect(&f->r, "ab");
	}
}

/* A driver that looks at LSR and never at IIR is not interrupted for ever, but each time. */
static void transmit_interrupt_seen_in_lsr(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE);
	wr(f, IER, ETBEI);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(f->r.irq);
		assert_int_equal(rd(f, LSR), IDLE);
		assert_false(f->r.irq);
		wr(f, THR, 'x');
	}
	assert_int_equal(rd(f, LSR), IDLE);
	assert_false(f->r.irq);
	assert_int_equal(rd(f, IIR), FIFOS | THRE_INT); /* still, until told here */
	assert_int_equal(rd(f, IIR), FIFOS | NONE);
	wr(f, IER, 0);
	wr(f, IER, ETBEI);
	assert_true(f->r.irq);
	rig_expect(&f->r, "xxx");
}

/* One that asks IIR once for each interrupt, and looks at LSR for another cause, is told of THRE by
 * a second interrupt. */
static void transmit_interrupt_behind_receive(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE);
	wr(f, IER, ERBFI | ETBEI);
	rig_type(&f->r, "a");
	settle(f);
	assert_true(f->r.irq);
	assert_int_equal(rd(f, IIR), FIFOS | RDA);
	assert_int_equal(rd(f, LSR), IDLE | DR);
	receives(f, "a");
	assert_int_equal(rd(f, LSR), IDLE);
	assert_true(f->r.irq);
	assert_int_equal(rd(f, IIR), FIFOS | THRE_INT);
	assert_false(f->r.irq);
}

/* The reader stops: ring full, then FIFO full, then no THRE; later all is there, in order. */
static void transmit_back_pressure(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0;

	wr(f, FCR, ENABLE);
	while (rd(f, LSR) & THRE)
		for (unsigned i = 0; i < 16; i++)
			wr(f, THR, rig_stream(sent++));
	assert_int_equal(sent, 65536 + 16);
	assert_int_equal(rd(f, LSR) & (THRE | TEMT), 0);
	wr(f, THR, 'x'); /* lost, as the guest was told */
	wr(f, IER, ETBEI);
	assert_false(f->r.irq);
	rig_read_stream(&f->r, sent);
	assert_true(f->r.irq);
	assert_int_equal(rd(f, IIR), FIFOS | THRE_INT);
	assert_int_equal(rd(f, LSR), IDLE);
}

static void receive(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE | TRIGGER_8);
	wr(f, IER, ERBFI);
	rig_type(&f->r, "0123456");
	assert_false(f->r.irq);
	settle(f);
	assert_true(f->r.irq); /* below the trigger level, but time is over at once */
	assert_int_equal(rd(f, IIR), FIFOS | TIMEOUT);
	assert_int_equal(rd(f, LSR), IDLE | DR);
	rig_type(&f->r, "7");
	assert_int_equal(rd(f, IIR), FIFOS | RDA);
	wr(f, FCR, ENABLE | TRIGGER_14); /* empties nothing */
	assert_int_equal(rd(f, IIR), FIFOS | TIMEOUT);
	rig_type(&f->r, "89abcd");
	assert_int_equal(rd(f, IIR), FIFOS | RDA);
	receives(f, "0");
	assert_int_equal(rd(f, IIR), FIFOS | TIMEOUT);
	receives(f, "123456789abcd");
	assert_false(f->r.irq);
	assert_int_equal(rd(f, IIR), FIFOS | NONE);
	assert_int_equal(rd(f, LSR), IDLE);
	/* Without the interrupt, nothing comes from outside. */
	wr(f, IER, 0);
	rig_type(&f->r, "x");
	assert_int_equal(rd(f, LSR), IDLE);
	wr(f, IER, ERBFI); /* listened before: at once */
	rig_turns(&f->r, 4);
	assert_true(f->r.irq);
	/* Emptied; and switched over, which empties too. */
	wr(f, FCR, ENABLE | CLEAR_RX);
	assert_false(f->r.irq);
	assert_int_equal(rd(f, LSR), IDLE);
	rig_type(&f->r, "y");
	settle(f);
	assert_true(f->r.irq);
	wr(f, FCR, 0);
	assert_false(f->r.irq);
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
	rig_type(&f->r, text);
	settle(f);
	for (unsigned i = 0; i < 500; i++) {
		unsigned lsr = rd(f, LSR);

		if (!(lsr & DR)) {
			rig_turns(&f->r, 4);
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
		assert_true(f->r.irq);
		assert_int_equal(rd(f, IIR), RDA);
		assert_int_equal(rd(f, LSR), IDLE | DR);
		rd(f, RBR);
		assert_false(f->r.irq);
		rig_turns(&f->r, 4);
	}
}

/* Input waits for a driver that wants it: one that starts up throws away what it finds. */
static void input_waits(void **state)
{
	struct fixture *f = *state;

	rig_type(&f->r, "root\n");
	for (const char *s = "booting, and looking at LSR often"; *s; s++) {
		rd(f, LSR);
		wr(f, THR, (uint8_t)*s);
		rd(f, LSR);
		rig_turns(&f->r, 2);
	}
	/* Linux looks whether IER is there, then empties all, */
	wr(f, IER, 0x0f);
	rig_turns(&f->r, 2);
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
	rig_turns(&f->r, 4);
	wr(f, LCR, WLS_8 | DLAB);
	wr(f, DLL, 1);
	wr(f, DLM, 0);
	wr(f, LCR, WLS_8);
	wr(f, FCR, ENABLE);
	wr(f, FCR, ENABLE | TRIGGER_8);
	rig_turns(&f->r, 4);
	assert_false(f->r.irq);
	settle(f);
	assert_true(f->r.irq);
	receives(f, "root\n");
	assert_false(f->r.irq);
	/* Its console prints with the interrupts off; nothing is lost by that. */
	wr(f, IER, 0);
	rig_type(&f->r, "x");
	wr(f, THR, '.');
	wr(f, IER, ERBFI | ELSI);
	rig_turns(&f->r, 4);
	assert_true(f->r.irq);
	receives(f, "x");
}

/* A guest without interrupts that only looks at LSR. */
static void polled_input(void **state)
{
	struct fixture *f = *state;
	unsigned looks = 0;

	rig_type(&f->r, "yes");
	for (const char *s = "yes"; *s; s++) {
		while (!(rd(f, LSR) & DR)) {
			rig_turns(&f->r, 2);
			assert_true(++looks < 100);
		}
		assert_int_equal(rd(f, RBR), *s);
		wr(f, THR, (uint8_t)*s); /* echo */
	}
	rig_expect(&f->r, "yes");
}

static void loopback(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE);
	wr(f, IER, EDSSI);
	assert_int_equal(rd(f, MSR), 0xb0);
	wr(f, MCR, LOOP);
	assert_true(f->r.irq);
	assert_int_equal(rd(f, IIR), FIFOS | MODEM);
	assert_int_equal(rd(f, MSR), 0x0b); /* CTS, DSR, DCD went */
	assert_false(f->r.irq);
	wr(f, MCR, LOOP | 0xf);
	assert_int_equal(rd(f, MSR), 0xfb); /* all came; of RI only the end counts */
	assert_int_equal(rd(f, MSR), 0xf0);
	wr(f, MCR, LOOP | 0xb);
	assert_int_equal(rd(f, MSR), 0xb4);
	wr(f, MCR, LOOP | 0x2);
	assert_int_equal(rd(f, MSR), 0x1a); /* RTS makes CTS */

	wr(f, IER, ERBFI | ELSI | ETBEI);
	rig_type(&f->r, "outside"); /* cut off */
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
	assert_false(f->r.irq);

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
	rig_expect(&f->r, ".");
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
	assert_int_equal(bus_read(f->r.bus, BASE, 2, &val), -EINVAL);
	assert_int_equal(bus_read(f->r.bus, BASE + 8, 1, &val), -ENXIO);
	config.base = BASE + 0x1000;
	config.reg_shift = 2;
	config.max_access = 4;
	config.irq = (struct irq_line){ 0 };
	assert_int_equal(ns16550_create(&uart, &config, &err), 0);
	assert_int_equal(bus_write(f->r.bus, config.base + 4 * SCR, 4, 0x12345678), 0);
	assert_int_equal(bus_read(f->r.bus, config.base + 4 * SCR, 4, &val), 0);
	assert_int_equal(val, 0x78);
	assert_int_equal(bus_read(f->r.bus, config.base + 4 * SCR, 1, &val), 0);
	assert_int_equal(val, 0x78);
	assert_int_equal(bus_write(f->r.bus, config.base + 4 * SCR + 1, 1, 0xff), 0);
	assert_int_equal(bus_read(f->r.bus, config.base + 4 * SCR + 2, 2, &val), 0);
	assert_int_equal(val, 0);
	assert_int_equal(bus_read(f->r.bus, config.base + 4 * SCR, 2, &val), 0);
	assert_int_equal(val, 0x78);
	assert_int_equal(bus_read(f->r.bus, config.base + 32, 4, &val), -ENXIO);
	ns16550_destroy(uart);
	/* The console still belongs to the last who came: give it back. */
	ns16550_destroy(f->uart);
	config = configure(f);
	assert_int_equal(ns16550_create(&f->uart, &config, &err), 0);
}

/* The guest of rig_echo(). */
static void *guest(void *arg)
{
	struct fixture *f = arg;

	for (size_t n = 0; n < RIG_ECHO_BYTES;) {
		if (rd(f, IIR) & NONE)
			continue;
		while (rd(f, LSR) & DR) {
			uint8_t c = rd(f, RBR);

			if (c != rig_stream(n++))
				return "wrong byte in";
			while (!(rd(f, LSR) & THRE)) {
			}
			wr(f, THR, c);
		}
	}
	return NULL;
}

static void echo(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, ENABLE);
	wr(f, IER, ERBFI);
	rig_echo(&f->r, guest, f);
}

static void random_accesses(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 4711;

	rig_nonblocking(&f->r);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = rig_random(&seed);

		if (rig_random_host(&f->r, r))
			;
		else if (r % 4096 == 3)
			ns16550_reset(f->uart);
		else if (r & 512)
			rd(f, r / 1024 % 8);
		else
			wr(f, r / 1024 % 8, (uint8_t)(r >> 32));
		if (f->r.irq) {
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

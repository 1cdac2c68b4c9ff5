/* SPDX-License-Identifier: MIT */
/*
 * PL011 by its registers, with the console on pipes: sending, receiving, interrupts, back-pressure
 * both ways, loopback; the sequence of Linux's driver; accesses that no driver would make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "device/pl011.h"
#include "device/rig.h"

#define BASE 0x09000000ULL

enum {
	DR = 0x00,
	RSR = 0x04,
	FR = 0x18,
	ILPR = 0x20,
	IBRD = 0x24,
	FBRD = 0x28,
	LCR_H = 0x2c,
	CR = 0x30,
	IFLS = 0x34,
	IMSC = 0x38,
	RIS = 0x3c,
	MIS = 0x40,
	ICR = 0x44,
	DMACR = 0x48,
};
enum { CTS = 1, BUSY = 8, RXFE = 0x10, TXFF = 0x20, RXFF = 0x40, TXFE = 0x80 };
enum { RX = 0x10, TX = 0x20, RT = 0x40, BE = 0x200, OE = 0x400 };
enum { FEN = 0x10, ENABLED = 0x301, LBE = 0x80 };

struct fixture {
	struct rig r;
	struct pl011 *uart;
};

static uint32_t rd(struct fixture *f, uint64_t off)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->r.bus, BASE + off, 4, &val), 0);
	return (uint32_t)val;
}
static void wr(struct fixture *f, uint64_t off, uint32_t val)
{
	assert_int_equal(bus_write(f->r.bus, BASE + off, 4, val), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;

	assert_non_null(f);
	rig_init_console(&f->r);
	assert_int_equal(pl011_create(&f->uart, f->r.bus, BASE, rig_irq(&f->r, 1), f->r.con,
				      f->r.clock, NULL, &err),
			 0);
	rig_turns(&f->r, 2);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rig_fini_console(&f->r);
	pl011_destroy(f->uart);
	rig_fini(&f->r);
	free(f);
	return 0;
}

static void reset_values(void **state)
{
	static const uint8_t id[] = { 0x11, 0x10, 0x34, 0, 0x0d, 0xf0, 0x05, 0xb1 };
	static const uint16_t zero[] = { RSR, ILPR, IBRD,  FBRD, LCR_H, IMSC,
					 RIS, MIS,  DMACR, 0x08, 0x80,  0xfdc };
	struct fixture *f = *state;

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(rd(f, 0xfe0 + 4 * i), id[i]);
	for (size_t i = 0; i < ARRAY_SIZE(zero); i++)
		assert_int_equal(rd(f, zero[i]), 0);
	assert_int_equal(rd(f, CR), 0x300);
	assert_int_equal(rd(f, IFLS), 0x12);
	assert_int_equal(rd(f, FR) & 0xf8, TXFE | RXFE);
	assert_int_equal(rd(f, FR) & CTS, CTS); /* else flow control would stop it */
	assert_int_equal(rd(f, DR), 0);

	/* Which bits of which registers are there; a reset brings all back. */
	for (unsigned off = ILPR; off <= DMACR; off += 4)
		wr(f, off, ~0u);
	assert_int_equal(rd(f, ILPR), 0xff);
	assert_int_equal(rd(f, IBRD), 0xffff);
	assert_int_equal(rd(f, FBRD), 0x3f);
	assert_int_equal(rd(f, LCR_H), 0xff);
	assert_int_equal(rd(f, CR), 0xff87);
	assert_int_equal(rd(f, IFLS), 0x3f);
	assert_int_equal(rd(f, IMSC), 0x7ff);
	assert_int_equal(rd(f, DMACR), 7);
	pl011_reset(f->uart);
	assert_false(f->r.irq);
	assert_int_equal(rd(f, CR), 0x300);
	assert_int_equal(rd(f, IMSC), 0);
	assert_int_equal(rd(f, IFLS), 0x12);
}

/* An early console: nothing set up, FR polled, bytes written. */
static void early_console(void **state)
{
	struct fixture *f = *state;

	for (const char *s = "early\n"; *s; s++) {
		while (rd(f, FR) & TXFF) {
		}
		assert_int_equal(bus_write(f->r.bus, BASE + DR, 1, (uint64_t)*s), 0);
		while (rd(f, FR) & BUSY) {
		}
	}
	rig_expect(&f->r, "early\n");
	assert_int_equal(rd(f, RIS), TX);
	assert_false(f->r.irq);
}

static void transmit_interrupt(void **state)
{
	struct fixture *f = *state;

	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	wr(f, IMSC, TX);
	assert_false(f->r.irq); /* an empty FIFO that was never filled is no event */
	wr(f, DR, 'a');
	assert_true(f->r.irq);
	assert_int_equal(rd(f, MIS), TX);
	wr(f, ICR, TX);
	assert_false(f->r.irq);
	assert_int_equal(rd(f, RIS), 0);
	wr(f, DR, 'b');
	assert_true(f->r.irq);
	wr(f, IMSC, 0);
	assert_false(f->r.irq);
	assert_int_equal(rd(f, RIS), TX);
	assert_int_equal(rd(f, MIS), 0);
	rig_expect(&f->r, "ab");
}

/* The reader stops: ring full, then FIFO full, then FR.TXFF; later TXRIS, and all is in order. */
static void transmit_back_pressure(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0;

	wr(f, LCR_H, FEN | 0x60);
	while (!(rd(f, FR) & TXFF))
		wr(f, DR, rig_stream(sent++));
	assert_int_equal(sent, 65536 + 32);
	assert_int_equal(rd(f, FR) & (TXFE | BUSY | TXFF), BUSY | TXFF);
	assert_int_equal(rd(f, RIS) & TX, 0);
	wr(f, DR, 'x'); /* lost, as the guest was told */
	wr(f, IMSC, TX);
	assert_false(f->r.irq);
	rig_read_stream(&f->r, sent);
	assert_true(f->r.irq);
	assert_int_equal(rd(f, FR) & (TXFE | BUSY | TXFF), TXFE);
}

static void receive(void **state)
{
	struct fixture *f = *state;

	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	wr(f, IMSC, RX);
	rig_type(&f->r, "hi");
	assert_false(f->r.irq); /* below the trigger level of 16 */
	assert_int_equal(rd(f, RIS), RT);
	assert_int_equal(rd(f, FR) & (RXFE | RXFF), 0);
	wr(f, IMSC, RX | RT);
	assert_true(f->r.irq);
	assert_int_equal(rd(f, DR), 'h');
	assert_true(f->r.irq);
	wr(f, ICR, RT);
	assert_false(f->r.irq);
	assert_int_equal(rd(f, DR), 'i');
	assert_false(f->r.irq);
	assert_int_equal(rd(f, FR) & RXFE, RXFE);
	assert_int_equal(rd(f, RIS), 0);
	/* The trigger level. */
	rig_type(&f->r, "0123456789abcde");
	assert_int_equal(rd(f, RIS), RT);
	rig_type(&f->r, "f");
	assert_int_equal(rd(f, RIS), RT | RX);
	assert_int_equal(rd(f, DR), '0');
	assert_int_equal(rd(f, RIS), RT);
	wr(f, IFLS, 0); /* 1/8 */
	assert_int_equal(rd(f, RIS), RT | RX);
	wr(f, IFLS, 4 << 3); /* 7/8 */
	assert_int_equal(rd(f, RIS), RT);
	wr(f, LCR_H, 0x60); /* FEN = 0 empties it */
	assert_int_equal(rd(f, FR) & RXFE, RXFE);
	assert_int_equal(rd(f, RIS), 0);
}

static void receive_back_pressure(void **state)
{
	struct fixture *f = *state;
	char text[1001];

	for (unsigned i = 0; i < 1000; i++)
		text[i] = (char)('A' + i % 53);
	text[1000] = 0;
	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	wr(f, IMSC, RX | RT);
	rig_type(&f->r, text);
	assert_int_equal(rd(f, FR) & (RXFE | RXFF), RXFF);
	for (unsigned i = 0; i < 500; i++) {
		if (rd(f, FR) & RXFE)
			rig_turns(&f->r, 4);
		assert_int_equal(rd(f, DR), text[i]); /* error bits clear: no overrun */
	}
	/* One at a time without FIFOs. */
	while (!(rd(f, FR) & RXFE))
		rd(f, DR);
	wr(f, LCR_H, 0x60);
	rig_turns(&f->r, 4);
	for (unsigned i = 0; i < 400; i++) {
		assert_int_equal(rd(f, FR) & (RXFE | RXFF), RXFF);
		assert_int_equal(rd(f, RIS), RX | RT);
		assert_true(f->r.irq);
		rd(f, DR);
		assert_false(f->r.irq);
		rig_turns(&f->r, 4);
	}
}

/* The order of Linux: the console's driver unmasks early, prints, drains, and then takes
 * interrupts. */
static void input_survives_linux(void **state)
{
	struct fixture *f = *state;

	rig_type(&f->r, "root\n");
	wr(f, IMSC, RX | RT);
	wr(f, LCR_H, FEN | 0x60);
	for (unsigned i = 0; i < 3; i++) { /* three messages */
		wr(f, CR, ENABLED);
		wr(f, DR, 'm');
		rig_turns(&f->r, 3);
		wr(f, CR, ENABLED & ~1u);
	}
	wr(f, CR, ENABLED);
	wr(f, ICR, 0x7ff);
	for (unsigned i = 0; i < 64 && !(rd(f, FR) & RXFE); i++)
		rd(f, DR);
	wr(f, IMSC, RX | RT);
	rig_turns(&f->r, 4);
	for (const char *c = "root\n"; *c; c++)
		assert_int_equal(rd(f, DR), *c);
}

/* A driver that unmasks first and enables then, and waits for its interrupt. */
static void unmask_then_enable(void **state)
{
	struct fixture *f = *state;

	wr(f, IMSC, RX | RT);
	wr(f, CR, ENABLED);
	rig_type(&f->r, "x");
	while (!f->r.irq) /* the UART waits a moment, in real time */
		rig_turns(&f->r, 1);
	assert_int_equal(rd(f, DR), 'x');
}

/* Input waits for a driver that wants it: one that starts up throws away what it finds. */
static void input_waits(void **state)
{
	struct fixture *f = *state;

	rig_type(&f->r, "root\n");
	for (const char *s = "booting, and looking at FR often"; *s; s++) {
		rd(f, FR);
		wr(f, DR, (uint32_t)*s);
		rd(f, FR);
		rig_turns(&f->r, 2);
	}
	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	rig_turns(&f->r, 2);
	wr(f, ICR, OE | BE | RT | RX);
	for (unsigned i = 0; i < 64 && !(rd(f, FR) & RXFE); i++)
		rd(f, DR);
	wr(f, IMSC, RX | RT);
	rig_turns(&f->r, 4);
	assert_true(f->r.irq);
	for (const char *s = "root\n"; *s; s++)
		assert_int_equal(rd(f, DR), *s);
	assert_false(f->r.irq);
	/* RXE = 0: nothing comes. */
	wr(f, CR, 0x101);
	rig_type(&f->r, "x");
	assert_int_equal(rd(f, RIS) & RT, 0);
	wr(f, CR, ENABLED);
	rig_turns(&f->r, 4);
	assert_int_equal(rd(f, DR), 'x');
}

/* A guest without interrupts that only looks at FR. */
static void polled_input(void **state)
{
	struct fixture *f = *state;
	unsigned looks = 0;

	rig_type(&f->r, "yes");
	for (const char *s = "yes"; *s; s++) {
		while (rd(f, FR) & RXFE) {
			rig_turns(&f->r, 2);
			assert_true(++looks < 100);
		}
		assert_int_equal(rd(f, DR), *s);
		wr(f, DR, (uint32_t)*s); /* echo */
	}
	rig_expect(&f->r, "yes");
}

static void loopback(void **state)
{
	struct fixture *f = *state;

	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED | LBE);
	assert_int_equal(rd(f, FR) & 0x107, 0);
	assert_int_equal(rd(f, RIS), 0xe); /* CTS, DCD, DSR went */
	wr(f, ICR, 0x7ff);
	wr(f, CR, ENABLED | LBE | 0x3c00); /* RTS, DTR, OUT1, OUT2 */
	assert_int_equal(rd(f, FR) & 0x107, 0x107);
	assert_int_equal(rd(f, RIS), 0xf);
	wr(f, ICR, 0x7ff);
	wr(f, IMSC, RX | RT | OE);
	rig_type(&f->r, "outside"); /* cut off */
	for (unsigned i = 0; i < 32; i++)
		wr(f, DR, i);
	assert_int_equal(rd(f, FR) & RXFF, RXFF);
	assert_int_equal(rd(f, RIS) & (RX | RT | OE), RX | RT);
	wr(f, DR, 99); /* one too many */
	assert_int_equal(rd(f, MIS), RX | RT | OE);
	assert_int_equal(rd(f, RSR), 8);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rd(f, DR), i);
	wr(f, DR, 100); /* this one tells of it */
	for (unsigned i = 2; i < 32; i++)
		assert_int_equal(rd(f, DR), i);
	assert_int_equal(rd(f, DR), 0x800 | 100);
	assert_int_equal(rd(f, RSR), 8);
	wr(f, DR, 101);
	assert_int_equal(rd(f, DR), 101);
	assert_int_equal(rd(f, RSR), 8); /* until it is cleared */
	wr(f, RSR, 0xff);
	assert_int_equal(rd(f, RSR), 0);
	wr(f, ICR, OE);
	assert_false(f->r.irq);
	/* A break. */
	wr(f, LCR_H, FEN | 0x61);
	assert_int_equal(rd(f, RIS) & BE, BE);
	assert_int_equal(rd(f, DR), 0x400);
	assert_int_equal(rd(f, RSR), 4);
	/* Nothing of this went out, and what waited comes in afterwards. */
	wr(f, CR, ENABLED);
	rig_turns(&f->r, 4);
	for (const char *s = "outside"; *s; s++)
		assert_int_equal(rd(f, DR), *s);
	wr(f, DR, '.');
	rig_expect(&f->r, ".");
}

static void widths(void **state)
{
	struct fixture *f = *state;
	uint64_t val;

	wr(f, IBRD, 0x1234);
	assert_int_equal(bus_read(f->r.bus, BASE + IBRD, 1, &val), 0);
	assert_int_equal(val, 0x34);
	assert_int_equal(bus_read(f->r.bus, BASE + IBRD, 2, &val), 0);
	assert_int_equal(val, 0x1234);
	assert_int_equal(bus_write(f->r.bus, BASE + IBRD, 1, 0xff77), 0);
	assert_int_equal(rd(f, IBRD), 0x77);
	assert_int_equal(bus_read(f->r.bus, BASE + IBRD, 8, &val), -EINVAL);
	assert_int_equal(bus_read(f->r.bus, BASE + FR + 1, 1, &val), 0);
	assert_int_equal(val, 0);
}

/* The guest of rig_echo(). */
static void *guest(void *arg)
{
	struct fixture *f = arg;

	for (size_t n = 0; n < RIG_ECHO_BYTES;) {
		if (!(rd(f, MIS) & (RX | RT)))
			continue;
		while (!(rd(f, FR) & RXFE)) {
			uint32_t c = rd(f, DR);

			if (c != rig_stream(n++))
				return "wrong byte in";
			while (rd(f, FR) & TXFF) {
			}
			wr(f, DR, c);
		}
	}
	return NULL;
}

static void echo(void **state)
{
	struct fixture *f = *state;

	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	wr(f, IMSC, RX | RT);
	rig_echo(&f->r, guest, f);
}

static void random_accesses(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 4711, val;

	rig_nonblocking(&f->r);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = rig_random(&seed);
		unsigned size = 1u << r / 16 % 3;
		uint64_t off = align_down((r >> 32) % (r & 128 ? 0x1000 : 0x4c), size);

		if (rig_random_host(&f->r, r))
			;
		else if (r & 512)
			bus_read(f->r.bus, BASE + off, size, &val);
		else
			bus_write(f->r.bus, BASE + off, size, rig_random(&seed));
		assert_int_equal(f->r.irq, rd(f, MIS) != 0);
	}
	for (unsigned size = 1; size <= 4; size *= 2)
		for (uint64_t off = 0; off < 0x1000; off += size) {
			bus_write(f->r.bus, BASE + off, size, rig_random(&seed));
			bus_read(f->r.bus, BASE + off, size, &val);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reset_values, setup, teardown),
		cmocka_unit_test_setup_teardown(early_console, setup, teardown),
		cmocka_unit_test_setup_teardown(transmit_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(transmit_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(receive, setup, teardown),
		cmocka_unit_test_setup_teardown(receive_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(input_survives_linux, setup, teardown),
		cmocka_unit_test_setup_teardown(unmask_then_enable, setup, teardown),
		cmocka_unit_test_setup_teardown(input_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(polled_input, setup, teardown),
		cmocka_unit_test_setup_teardown(loopback, setup, teardown),
		cmocka_unit_test_setup_teardown(widths, setup, teardown),
		cmocka_unit_test_setup_teardown(echo, setup, teardown),
		cmocka_unit_test_setup_teardown(random_accesses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

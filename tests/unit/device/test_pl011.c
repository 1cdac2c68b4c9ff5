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
#include "device/pl011.h"
#include "host/console.h"
#include "host/loop.h"
#include "host/thread.h"

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
	struct clock *clock;
	struct loop *loop;
	struct bus *bus;
	struct console *con;
	struct pl011 *uart;
	int in[2], out[2]; /* the console has in[0] and out[1] */
	bool irq;
	unsigned changes;
};

static void set_irq(void *chip, unsigned pin, bool level)
{
	struct fixture *f = chip;

	assert_int_equal(pin, 1);
	assert_true(f->irq != level);
	f->irq = level;
	f->changes++;
}

static const struct irq_ops irq_ops = { .set = set_irq };

static void turns(struct fixture *f, unsigned n)
{
	for (; n; n--) {
		loop_stop(f->loop);
		assert_int_equal(loop_run(f->loop), 0);
	}
}
static uint32_t rd(struct fixture *f, uint64_t off)
{
	uint64_t val = 0;

	assert_int_equal(bus_read(f->bus, BASE + off, 4, &val), 0);
	return (uint32_t)val;
}
static void wr(struct fixture *f, uint64_t off, uint32_t val)
{
	assert_int_equal(bus_write(f->bus, BASE + off, 4, val), 0);
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

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;
	struct console_config config;

	assert_non_null(f);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_create(&f->loop, &err), 0);
	assert_int_equal(clock_create(&f->clock, f->loop, &err), 0);
	assert_int_equal(bus_create(&f->bus, &err), 0);
	assert_int_equal(pipe(f->in), 0);
	assert_int_equal(pipe(f->out), 0);
	config = (struct console_config){ .loop = f->loop, .in_fd = f->in[0], .out_fd = f->out[1] };
	assert_int_equal(console_create(&f->con, &config, &err), 0);
	assert_int_equal(pl011_create(&f->uart, f->bus, BASE,
				      (struct irq_line){ .ops = &irq_ops, .chip = f, .pin = 1 },
				      f->con, f->clock, NULL, &err),
			 0);
	turns(f, 2);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->out[0]);
	console_destroy(f->con);
	pl011_destroy(f->uart);
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
	assert_false(f->irq);
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
		assert_int_equal(bus_write(f->bus, BASE + DR, 1, (uint64_t)*s), 0);
		while (rd(f, FR) & BUSY) {
		}
	}
	expect(f, "early\n");
	assert_int_equal(rd(f, RIS), TX);
	assert_false(f->irq);
}

static void transmit_interrupt(void **state)
{
	struct fixture *f = *state;

	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	wr(f, IMSC, TX);
	assert_false(f->irq); /* an empty FIFO that was never filled is no event */
	wr(f, DR, 'a');
	assert_true(f->irq);
	assert_int_equal(rd(f, MIS), TX);
	wr(f, ICR, TX);
	assert_false(f->irq);
	assert_int_equal(rd(f, RIS), 0);
	wr(f, DR, 'b');
	assert_true(f->irq);
	wr(f, IMSC, 0);
	assert_false(f->irq);
	assert_int_equal(rd(f, RIS), TX);
	assert_int_equal(rd(f, MIS), 0);
	expect(f, "ab");
}

/* The reader stops: ring full, then FIFO full, then FR.TXFF; later TXRIS, and all is in order. */
static void transmit_back_pressure(void **state)
{
	struct fixture *f = *state;
	size_t sent = 0, got = 0;

	wr(f, LCR_H, FEN | 0x60);
	while (!(rd(f, FR) & TXFF))
		wr(f, DR, (uint32_t)(sent++ % 251));
	assert_int_equal(sent, 65536 + 32);
	assert_int_equal(rd(f, FR) & (TXFE | BUSY | TXFF), BUSY | TXFF);
	assert_int_equal(rd(f, RIS) & TX, 0);
	wr(f, DR, 'x'); /* lost, as the guest was told */
	wr(f, IMSC, TX);
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
	assert_int_equal(rd(f, FR) & (TXFE | BUSY | TXFF), TXFE);
	assert_int_equal(got, sent);
}

static void receive(void **state)
{
	struct fixture *f = *state;

	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	wr(f, IMSC, RX);
	type(f, "hi");
	assert_false(f->irq); /* below the trigger level of 16 */
	assert_int_equal(rd(f, RIS), RT);
	assert_int_equal(rd(f, FR) & (RXFE | RXFF), 0);
	wr(f, IMSC, RX | RT);
	assert_true(f->irq);
	assert_int_equal(rd(f, DR), 'h');
	assert_true(f->irq);
	wr(f, ICR, RT);
	assert_false(f->irq);
	assert_int_equal(rd(f, DR), 'i');
	assert_false(f->irq);
	assert_int_equal(rd(f, FR) & RXFE, RXFE);
	assert_int_equal(rd(f, RIS), 0);
	/* The trigger level. */
	type(f, "0123456789abcde");
	assert_int_equal(rd(f, RIS), RT);
	type(f, "f");
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
	type(f, text);
	assert_int_equal(rd(f, FR) & (RXFE | RXFF), RXFF);
	for (unsigned i = 0; i < 500; i++) {
		if (rd(f, FR) & RXFE)
			turns(f, 4);
		assert_int_equal(rd(f, DR), text[i]); /* error bits clear: no overrun */
	}
	/* One at a time without FIFOs. */
	while (!(rd(f, FR) & RXFE))
		rd(f, DR);
	wr(f, LCR_H, 0x60);
	turns(f, 4);
	for (unsigned i = 0; i < 400; i++) {
		assert_int_equal(rd(f, FR) & (RXFE | RXFF), RXFF);
		assert_int_equal(rd(f, RIS), RX | RT);
		assert_true(f->irq);
		rd(f, DR);
		assert_false(f->irq);
		turns(f, 4);
	}
}

/* The order of Linux: the console's driver unmasks early, prints, drains, and then takes
 * interrupts. */
static void input_survives_linux(void **state)
{
	struct fixture *f = *state;

	type(f, "root\n");
	wr(f, IMSC, RX | RT);
	wr(f, LCR_H, FEN | 0x60);
	for (unsigned i = 0; i < 3; i++) { /* three messages */
		wr(f, CR, ENABLED);
		wr(f, DR, 'm');
		turns(f, 3);
		wr(f, CR, ENABLED & ~1u);
	}
	wr(f, CR, ENABLED);
	wr(f, ICR, 0x7ff);
	for (unsigned i = 0; i < 64 && !(rd(f, FR) & RXFE); i++)
		rd(f, DR);
	wr(f, IMSC, RX | RT);
	turns(f, 4);
	for (const char *c = "root\n"; *c; c++)
		assert_int_equal(rd(f, DR), *c);
}

/* A driver that unmasks first and enables then, and waits for its interrupt. */
static void unmask_then_enable(void **state)
{
	struct fixture *f = *state;

	wr(f, IMSC, RX | RT);
	wr(f, CR, ENABLED);
	type(f, "x");
	while (!f->irq) /* the UART waits a moment, in real time */
		turns(f, 1);
	assert_int_equal(rd(f, DR), 'x');
}

/* Input waits for a driver that wants it: one that starts up throws away what it finds. */
static void input_waits(void **state)
{
	struct fixture *f = *state;

	type(f, "root\n");
	for (const char *s = "booting, and looking at FR often"; *s; s++) {
		rd(f, FR);
		wr(f, DR, (uint32_t)*s);
		rd(f, FR);
		turns(f, 2);
	}
	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	turns(f, 2);
	wr(f, ICR, OE | BE | RT | RX);
	for (unsigned i = 0; i < 64 && !(rd(f, FR) & RXFE); i++)
		rd(f, DR);
	wr(f, IMSC, RX | RT);
	turns(f, 4);
	assert_true(f->irq);
	for (const char *s = "root\n"; *s; s++)
		assert_int_equal(rd(f, DR), *s);
	assert_false(f->irq);
	/* RXE = 0: nothing comes. */
	wr(f, CR, 0x101);
	type(f, "x");
	assert_int_equal(rd(f, RIS) & RT, 0);
	wr(f, CR, ENABLED);
	turns(f, 4);
	assert_int_equal(rd(f, DR), 'x');
}

/* A guest without interrupts that only looks at FR. */
static void polled_input(void **state)
{
	struct fixture *f = *state;
	unsigned looks = 0;

	type(f, "yes");
	for (const char *s = "yes"; *s; s++) {
		while (rd(f, FR) & RXFE) {
			turns(f, 2);
			assert_true(++looks < 100);
		}
		assert_int_equal(rd(f, DR), *s);
		wr(f, DR, (uint32_t)*s); /* echo */
	}
	expect(f, "yes");
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
	type(f, "outside"); /* cut off */
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
	assert_false(f->irq);
	/* A break. */
	wr(f, LCR_H, FEN | 0x61);
	assert_int_equal(rd(f, RIS) & BE, BE);
	assert_int_equal(rd(f, DR), 0x400);
	assert_int_equal(rd(f, RSR), 4);
	/* Nothing of this went out, and what waited comes in afterwards. */
	wr(f, CR, ENABLED);
	turns(f, 4);
	for (const char *s = "outside"; *s; s++)
		assert_int_equal(rd(f, DR), *s);
	wr(f, DR, '.');
	expect(f, ".");
}

static void widths(void **state)
{
	struct fixture *f = *state;
	uint64_t val;

	wr(f, IBRD, 0x1234);
	assert_int_equal(bus_read(f->bus, BASE + IBRD, 1, &val), 0);
	assert_int_equal(val, 0x34);
	assert_int_equal(bus_read(f->bus, BASE + IBRD, 2, &val), 0);
	assert_int_equal(val, 0x1234);
	assert_int_equal(bus_write(f->bus, BASE + IBRD, 1, 0xff77), 0);
	assert_int_equal(rd(f, IBRD), 0x77);
	assert_int_equal(bus_read(f->bus, BASE + IBRD, 8, &val), -EINVAL);
	assert_int_equal(bus_read(f->bus, BASE + FR + 1, 1, &val), 0);
	assert_int_equal(val, 0);
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
		if (!(rd(f, MIS) & (RX | RT)))
			continue;
		while (!(rd(f, FR) & RXFE)) {
			uint32_t c = rd(f, DR);

			if (c != n++ % 251)
				return "wrong byte in";
			while (rd(f, FR) & TXFF) {
			}
			wr(f, DR, c);
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

	wr(f, LCR_H, FEN | 0x60);
	wr(f, CR, ENABLED);
	wr(f, IMSC, RX | RT);
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
	uint64_t seed = 4711, val;

	assert_int_equal(fcntl(f->in[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(f->out[0], F_SETFL, O_NONBLOCK), 0);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = random_next(&seed);
		unsigned size = 1u << r / 16 % 3;
		uint64_t off = align_down((r >> 32) % (r & 128 ? 0x1000 : 0x4c), size);
		char buf[4096];

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
		default:
			if (r & 512)
				bus_read(f->bus, BASE + off, size, &val);
			else
				bus_write(f->bus, BASE + off, size, random_next(&seed));
		}
		assert_int_equal(f->irq, rd(f, MIS) != 0);
	}
	for (unsigned size = 1; size <= 4; size *= 2)
		for (uint64_t off = 0; off < 0x1000; off += size) {
			bus_write(f->bus, BASE + off, size, random_next(&seed));
			bus_read(f->bus, BASE + off, size, &val);
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

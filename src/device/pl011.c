/* SPDX-License-Identifier: MIT */
/*
 * PL011 UART, r1p5 (Arm DDI 0183G). Registers are cited by the manual's names less the "UART"
 * prefix.
 *
 * Time is not modelled: a character is sent as soon as the console takes it, and the receive
 * timeout, 32 bit periods without a character, is over at once. So the baud rate, the word length
 * and the like are only kept. While the console's ring is full, characters stay in the transmit
 * FIFO.
 *
 * Transmission does not ask for CR.UARTEN or CR.TXE: early consoles rely on the firmware to have
 * set them, and there is no firmware. Reception asks for CR.RXE, and for a guest that listens:
 * input stays with the host, where it is not lost, until the guest polls or takes receive
 * interrupts.
 *
 * A driver that starts up throws away what it finds in the FIFO, and Linux unmasks receive
 * interrupts well before that, with the UART still disabled but for the moments in which its
 * console prints. So interrupts count when they are unmasked while CR.UARTEN is set, or when it
 * stays set for LISTENING_NS after they were.
 */
#include "device/pl011.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "host/console.h"

/* DDI0183G table 3-1 */
enum pl011_reg {
	DR = 0x000,
	RSR = 0x004, /* written: ECR */
	FR = 0x018,
	ILPR = 0x020,
	IBRD = 0x024,
	FBRD = 0x028,
	LCR_H = 0x02c,
	CR = 0x030,
	IFLS = 0x034,
	IMSC = 0x038,
	RIS = 0x03c,
	MIS = 0x040,
	ICR = 0x044,
	DMACR = 0x048,
	PERIPH_ID0 = 0xfe0, /* to PCellID3 at 0xffc */
	PL011_SIZE = 0x1000,
};

enum {
	FIFO_DEPTH = 32,
	/* This many looks at FR in a row, with nothing to send, are a guest that polls
	 * for input. */
	POLLS_LISTENING = 16,
	LISTENING_NS = 20 * NS_PER_MS,

	/* DR 11:8, RSR 3:0 (DDI0183G 3.3.1, 3.3.2) */
	DR_ERR_SHIFT = 8,
	ERR_BE = 1 << 2,
	ERR_OE = 1 << 3,

	/* FR (3.3.3) */
	FR_CTS = 1 << 0,
	FR_DSR = 1 << 1,
	FR_DCD = 1 << 2,
	FR_BUSY = 1 << 3,
	FR_RXFE = 1 << 4,
	FR_TXFF = 1 << 5,
	FR_RXFF = 1 << 6,
	FR_TXFE = 1 << 7,
	FR_RI = 1 << 8,

	/* LCR_H (3.3.7) */
	LCR_H_BRK = 1 << 0,
	LCR_H_FEN = 1 << 4,

	/* CR (3.3.8) */
	CR_UARTEN = 1 << 0,
	CR_LBE = 1 << 7,
	CR_TXE = 1 << 8,
	CR_RXE = 1 << 9,
	CR_DTR = 1 << 10,
	CR_RTS = 1 << 11,
	CR_OUT1 = 1 << 12,
	CR_OUT2 = 1 << 13,
	CR_MASK = 0xff87, /* 6:3 are reserved */

	IFLS_RESET = 0x12, /* both FIFOs at one half (3.3.9) */

	/* IMSC, RIS, MIS, ICR (3.3.10 to 3.3.13) */
	INT_RI = 1 << 0,
	INT_CTS = 1 << 1,
	INT_DCD = 1 << 2,
	INT_DSR = 1 << 3,
	INT_RX = 1 << 4,
	INT_TX = 1 << 5,
	INT_RT = 1 << 6,
	INT_RECEIVE = INT_RX | INT_RT,
	INT_BE = 1 << 9,
	INT_OE = 1 << 10,
	INT_MASK = 0x7ff,
};

struct fifo {
	uint16_t data[FIFO_DEPTH]; /* DR's bits */
	uint32_t first, n;
};

/* What a snapshot saves. */
struct pl011_state {
	uint32_t rsr, ilpr, ibrd, fbrd, lcr_h, cr, ifls, imsc, ris, dmacr;
	uint32_t overrun; /* ERR_OE: the next character received tells of an overrun before it */
	bool armed;       /* receive interrupts are taken */
	uint32_t polls;   /* looks at FR since the last character sent, up to POLLS_LISTENING */
	struct fifo rx, tx;
};

struct pl011 {
	pthread_mutex_t lock; /* guards all below; taken before the console's and the GIC's */
	struct pl011_state s;
	bool line;     /* the interrupt output */
	bool had_room; /* pl011_rx_room() after the last change */

	struct bus *bus;
	struct bus_region region;
	struct irq_line irq;
	struct console *con;
	struct clock *clock;
	struct clock_timer listening; /* CR.UARTEN has been set for LISTENING_NS */
	struct log *log;
	struct log_limit limit;
};

/*
 * FIFOs. With the lock held, as all up to the bus's side.
 */

static void fifo_push(struct fifo *f, uint16_t val)
{
	f->data[(f->first + f->n++) % FIFO_DEPTH] = val;
}

static uint16_t fifo_pop(struct fifo *f)
{
	uint16_t val = f->data[f->first];

	f->first = (f->first + 1) % FIFO_DEPTH;
	f->n--;
	return val;
}

/* With LCR_H.FEN = 0 the FIFOs are holding registers for one character. */
static uint32_t pl011_depth(const struct pl011_state *s)
{
	return s->lcr_h & LCR_H_FEN ? FIFO_DEPTH : 1;
}

/* Trigger level in characters, of IFLS.TXIFLSEL or RXIFLSEL; reserved values act as the last. */
static uint32_t pl011_trigger(uint32_t sel)
{
	static const uint8_t eighths[8] = { 1, 2, 4, 6, 7, 7, 7, 7 };

	return FIFO_DEPTH * eighths[sel & 7] / 8u;
}

static uint32_t pl011_rx_trigger(const struct pl011_state *s)
{
	return s->lcr_h & LCR_H_FEN ? pl011_trigger(s->ifls >> 3) : 1;
}

static uint32_t pl011_tx_trigger(const struct pl011_state *s)
{
	return s->lcr_h & LCR_H_FEN ? pl011_trigger(s->ifls) : 0;
}

/*
 * Receiving.
 */

/* The level of the receive FIFO, or what it is measured by, changed. */
static void pl011_rx_level(struct pl011_state *s)
{
	if (s->rx.n >= pl011_rx_trigger(s))
		s->ris |= INT_RX;
	else
		s->ris &= ~(uint32_t)INT_RX;
	if (s->rx.n)
		s->ris |= INT_RT;
	else
		s->ris &= ~(uint32_t)INT_RT;
}

static void pl011_rx_push(struct pl011_state *s, uint8_t byte, uint32_t errors)
{
	if (s->rx.n >= pl011_depth(s)) {
		/* The FIFO keeps what it has, the character is lost (DDI0183G 3.3.1 OE). */
		s->overrun = ERR_OE;
		s->rsr |= ERR_OE;
		s->ris |= INT_OE;
		return;
	}
	fifo_push(&s->rx, (uint16_t)(byte | (errors | s->overrun) << DR_ERR_SHIFT));
	s->overrun = 0;
	if (errors & ERR_BE)
		s->ris |= INT_BE;
	pl011_rx_level(s);
}

static uint32_t pl011_rx_pop(struct pl011_state *s)
{
	uint32_t val;

	if (!s->rx.n)
		return 0;
	val = fifo_pop(&s->rx);
	/* The overrun stays until ECR is written; the others are of this character. */
	s->rsr = (s->rsr & ERR_OE) | val >> DR_ERR_SHIFT;
	pl011_rx_level(s);
	return val;
}

/* Characters that the other end may send now. */
static uint32_t pl011_rx_room(const struct pl011_state *s)
{
	bool listening = s->armed || s->polls >= POLLS_LISTENING;

	/* In loopback the pin is cut off. */
	if (!listening || !(s->cr & CR_RXE) || (s->cr & CR_LBE) || s->rx.n >= pl011_depth(s))
		return 0;
	return pl011_depth(s) - s->rx.n;
}

/*
 * Sending.
 */

/* Send as much as can be sent. */
static void pl011_tx_drain(struct pl011 *uart)
{
	struct pl011_state *s = &uart->s;

	while (s->tx.n) {
		uint8_t byte = (uint8_t)s->tx.data[s->tx.first];

		if (s->cr & CR_LBE)
			pl011_rx_push(s, byte, 0);
		else if (!console_put(uart->con, byte))
			break; /* pl011_writable() goes on */
		fifo_pop(&s->tx);
		/* Raised on the way down through the trigger level, not by the level itself
		 * (DDI0183G 2.8.2): a UART that never sent has no transmit interrupt. */
		if (s->tx.n <= pl011_tx_trigger(s))
			s->ris |= INT_TX;
	}
}

static void pl011_tx_push(struct pl011 *uart, uint8_t byte)
{
	struct pl011_state *s = &uart->s;

	s->polls = 0;
	if (s->tx.n >= pl011_depth(s))
		return; /* FR.TXFF said so */
	fifo_push(&s->tx, byte);
	if (s->tx.n > pl011_tx_trigger(s))
		s->ris &= ~(uint32_t)INT_TX;
	pl011_tx_drain(uart);
}

/*
 * Registers.
 */

/* FR's modem lines: the far end is there and ready, or in loopback our own outputs (3.3.8 LBE). */
static uint32_t pl011_modem(uint32_t cr)
{
	if (!(cr & CR_LBE))
		return FR_CTS | FR_DSR | FR_DCD;
	return (cr & CR_RTS ? FR_CTS : 0u) | (cr & CR_DTR ? FR_DSR : 0u) |
	       (cr & CR_OUT1 ? FR_DCD : 0u) | (cr & CR_OUT2 ? FR_RI : 0u);
}

static void pl011_write_cr(struct pl011 *uart, uint32_t val)
{
	struct pl011_state *s = &uart->s;
	uint32_t changed = pl011_modem(s->cr) ^ pl011_modem(val);

	if ((val & CR_UARTEN) && !(s->cr & CR_UARTEN) && (s->imsc & INT_RECEIVE))
		clock_arm(uart->clock, &uart->listening, clock_now(uart->clock) + LISTENING_NS);
	else if (!(val & CR_UARTEN))
		clock_cancel(uart->clock, &uart->listening);
	s->cr = val & CR_MASK;
	s->ris |= (changed & FR_RI ? INT_RI : 0u) | (changed & FR_CTS ? INT_CTS : 0u) |
		  (changed & FR_DCD ? INT_DCD : 0u) | (changed & FR_DSR ? INT_DSR : 0u);
	pl011_tx_drain(uart); /* loopback needs no console */
}

static void pl011_write_lcr_h(struct pl011_state *s, uint32_t val)
{
	uint32_t changed = s->lcr_h ^ val;

	s->lcr_h = val & 0xff;
	/* FEN = 0 flushes the FIFOs (3.3.8 note). */
	if ((changed & LCR_H_FEN) && !(val & LCR_H_FEN))
		s->rx.n = s->tx.n = 0;
	if (changed & LCR_H_FEN)
		pl011_rx_level(s);
	if ((changed & val & LCR_H_BRK) && (s->cr & CR_LBE))
		pl011_rx_push(s, 0, ERR_BE);
}

static uint32_t pl011_read_fr(struct pl011_state *s)
{
	uint32_t depth = pl011_depth(s), val = pl011_modem(s->cr);

	if (!s->rx.n && !s->tx.n && s->polls < POLLS_LISTENING)
		s->polls++;
	val |= s->tx.n ? FR_BUSY : FR_TXFE;
	if (s->tx.n >= depth)
		val |= FR_TXFF;
	if (!s->rx.n)
		val |= FR_RXFE;
	if (s->rx.n >= depth)
		val |= FR_RXFF;
	return val;
}

/* PeriphID0..3: part 0x011, designer Arm 0x41, revision 3 (r1p5, 32 deep FIFOs); PCellID0..3. */
static uint32_t pl011_id(uint64_t off)
{
	static const uint8_t id[] = { 0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	return id[(off - PERIPH_ID0) / 4];
}

static uint32_t pl011_reg_read(struct pl011 *uart, uint64_t off)
{
	struct pl011_state *s = &uart->s;

	switch (off) {
	case DR:
		if (!s->rx.n) /* nobody throws away nothing: this is a guest that polls */
			s->polls = POLLS_LISTENING;
		return pl011_rx_pop(s);
	case RSR: return s->rsr;
	case FR: return pl011_read_fr(s);
	case ILPR: return s->ilpr;
	case IBRD: return s->ibrd;
	case FBRD: return s->fbrd;
	case LCR_H: return s->lcr_h;
	case CR: return s->cr;
	case IFLS: return s->ifls;
	case IMSC: return s->imsc;
	case RIS: return s->ris;
	case MIS: return s->ris & s->imsc;
	case DMACR: return s->dmacr; /* no DMA controller is connected */
	}
	if (off >= PERIPH_ID0 && off % 4 == 0)
		return pl011_id(off);
	log_guest(uart->log, &uart->limit, LOG_DEBUG, "pl011",
		  "read at %#llx, where no register is", (unsigned long long)off);
	return 0;
}

static void pl011_reg_write(struct pl011 *uart, uint64_t off, uint32_t val)
{
	struct pl011_state *s = &uart->s;

	switch (off) {
	case DR: pl011_tx_push(uart, (uint8_t)val); break;
	case RSR: s->rsr = 0; break; /* ECR: any value */
	case ILPR: s->ilpr = val & 0xff; break;
	case IBRD: s->ibrd = val & 0xffff; break;
	case FBRD: s->fbrd = val & 0x3f; break;
	case LCR_H: pl011_write_lcr_h(s, val); break;
	case CR: pl011_write_cr(uart, val); break;
	case IFLS:
		s->ifls = val & 0x3f;
		pl011_rx_level(s);
		break;
	case IMSC:
		s->imsc = val & INT_MASK;
		s->armed = (s->cr & CR_UARTEN) && (s->imsc & INT_RECEIVE);
		break;
	case ICR: s->ris &= ~val; break;
	case DMACR: s->dmacr = val & 7; break;
	default:
		log_guest(uart->log, &uart->limit, LOG_DEBUG, "pl011",
			  "write of %#x at %#llx, where nothing can be written", val,
			  (unsigned long long)off);
	}
}

/* After every change: the interrupt line, and word to the console when room has come up. */
static void pl011_update(struct pl011 *uart)
{
	bool level = uart->s.ris & uart->s.imsc, room = pl011_rx_room(&uart->s);

	if (level != uart->line) {
		uart->line = level;
		irq_set(&uart->irq, level);
	}
	if (room && !uart->had_room)
		console_rx_ready(uart->con);
	uart->had_room = room;
}

/*
 * The bus's side. Registers are 16 bits wide or less; narrower accesses see their low part, wider
 * ones zeros above.
 */

static uint64_t pl011_read(void *dev, uint64_t off, unsigned size)
{
	struct pl011 *uart = dev;
	uint64_t val;

	pthread_mutex_lock(&uart->lock);
	val = pl011_reg_read(uart, off);
	pl011_update(uart);
	pthread_mutex_unlock(&uart->lock);
	return val & mask_low(8 * size);
}

static void pl011_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct pl011 *uart = dev;

	pthread_mutex_lock(&uart->lock);
	pl011_reg_write(uart, off, (uint32_t)(val & mask_low(8 * size)));
	pl011_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

static const struct bus_ops pl011_ops = { .read = pl011_read, .write = pl011_write };

/*
 * The console's side.
 */

static size_t pl011_room(void *dev)
{
	struct pl011 *uart = dev;
	size_t room;

	pthread_mutex_lock(&uart->lock);
	room = pl011_rx_room(&uart->s);
	pthread_mutex_unlock(&uart->lock);
	return room;
}

static void pl011_receive(void *dev, const uint8_t *data, size_t len)
{
	struct pl011 *uart = dev;

	pthread_mutex_lock(&uart->lock);
	for (size_t i = 0; i < len; i++)
		pl011_rx_push(&uart->s, data[i], 0);
	pl011_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

static void pl011_writable(void *dev)
{
	struct pl011 *uart = dev;

	pthread_mutex_lock(&uart->lock);
	pl011_tx_drain(uart);
	pl011_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

/*
 * Life.
 */

static void pl011_reset_state(struct pl011_state *s)
{
	*s = (struct pl011_state){ .cr = CR_TXE | CR_RXE, .ifls = IFLS_RESET };
}

/* The control loop's: the guest has left the UART enabled. */
static void pl011_listening(struct clock_timer *timer)
{
	struct pl011 *uart = container_of(timer, struct pl011, listening);

	pthread_mutex_lock(&uart->lock);
	uart->s.armed = (uart->s.cr & CR_UARTEN) && (uart->s.imsc & INT_RECEIVE);
	pl011_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

void pl011_reset(struct pl011 *uart)
{
	pthread_mutex_lock(&uart->lock);
	pl011_tx_drain(uart);
	pl011_reset_state(&uart->s);
	pl011_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

int pl011_create(struct pl011 **out, struct bus *bus, uint64_t base, struct irq_line irq,
		 struct console *con, struct clock *clock, struct log *log, struct err *err)
{
	struct pl011 *uart = calloc(1, sizeof(*uart));
	int ret;

	if (!uart)
		return err_set(err, -ENOMEM, "PL011: out of memory");
	pthread_mutex_init(&uart->lock, NULL);
	pl011_reset_state(&uart->s);
	uart->bus = bus;
	uart->irq = irq;
	uart->con = con;
	uart->clock = clock;
	uart->listening.fire = pl011_listening;
	uart->log = log;
	uart->region = (struct bus_region){
		.name = "PL011 UART",
		.base = base,
		.size = PL011_SIZE,
		.min_access = 1,
		.max_access = 4,
		.ops = &pl011_ops,
		.dev = uart,
	};
	ret = bus_add(bus, &uart->region, err);
	if (ret) {
		pthread_mutex_destroy(&uart->lock);
		free(uart);
		return ret;
	}
	console_attach(con, &(struct console_port){ .room = pl011_room,
						    .receive = pl011_receive,
						    .writable = pl011_writable,
						    .dev = uart });
	*out = uart;
	return 0;
}

void pl011_destroy(struct pl011 *uart)
{
	if (!uart)
		return;
	bus_del(uart->bus, &uart->region);
	clock_disarm(uart->clock, &uart->listening);
	pthread_mutex_destroy(&uart->lock);
	free(uart);
}

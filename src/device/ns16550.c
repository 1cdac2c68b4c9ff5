/* SPDX-License-Identifier: MIT */
/*
 * 16550A UART (TI PC16550D data sheet; sections cited are its 8, "Registers"). Registers and bits
 * have the data sheet's names.
 *
 * Time is not modelled: a character is sent as soon as the console takes it, and the receive
 * timeout, four character times without a character, is over at once. So the divisor, the word
 * length and the like are only kept. While the console's ring is full, characters stay in the
 * transmit FIFO.
 *
 * Input stays with the host, where it is not lost, until the guest listens. A driver that starts up
 * empties the receiver, and it may have enabled the receive interrupt before: Linux does so for an
 * instant to see whether IER is there, and once more just before it sets up the FIFOs. So the
 * interrupt counts when it has stayed enabled, and the receiver untouched, for LISTENING_NS; from
 * then on it counts at once, until the receiver is emptied again. A guest without interrupts
 * listens when it looks at LSR again and again with nothing to send.
 *
 * The THRE interrupt ends when IIR has told it, or THR is written (table IV). A driver that looks
 * for LSR.THRE instead and has nothing to send, such as xv6's, would be interrupted for ever; on
 * QEMU it is not, whose PLIC does not look at a line again. So the line goes down when LSR has told
 * it as well, until the THR is empty the next time; IIR still tells. But not if IIR was read since
 * the line went up: such a driver looks at LSR for another cause that IIR told, and comes again.
 */
#include "device/ns16550.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "host/console.h"

/* Register numbers (table II). */
enum ns16550_reg {
	RBR = 0, /* written: THR; with LCR.DLAB: DLL */
	IER = 1, /* with LCR.DLAB: DLM */
	IIR = 2, /* written: FCR */
	LCR = 3,
	MCR = 4,
	LSR = 5,
	MSR = 6,
	SCR = 7,
	N_REGS = 8,
};

enum {
	FIFO_DEPTH = 16,
	/* This many looks at LSR in a row, with nothing to send, are a guest that polls
	 * for input. */
	POLLS_LISTENING = 16,
	LISTENING_NS = 20 * NS_PER_MS,

	/* The divisor that makes 9600 baud of the usual 1.8432 MHz (table III). A reset leaves the
	 * divisor alone; but who reads it to learn the speed must not find zero. */
	DIVISOR_START = 12,

	/* IER (8.7) */
	IER_ERBFI = 1 << 0,
	IER_ETBEI = 1 << 1,
	IER_ELSI = 1 << 2,
	IER_EDSSI = 1 << 3,
	IER_MASK = 0x0f,

	/* IIR 3:0, best first (8.6 and table IV) */
	IIR_LINE_STATUS = 0x6,
	IIR_RX_DATA = 0x4,
	IIR_RX_TIMEOUT = 0xc,
	IIR_THRE = 0x2,
	IIR_MODEM_STATUS = 0x0,
	IIR_NONE = 0x1,
	IIR_FIFOS = 0xc0, /* the FIFOs are enabled */

	/* FCR (8.5) */
	FCR_ENABLE = 1 << 0,
	FCR_RX_RESET = 1 << 1,
	FCR_TX_RESET = 1 << 2,
	FCR_KEPT = 0xc9, /* enable, DMA mode, trigger level */

	/* LCR (8.1) */
	LCR_BREAK = 1 << 6,
	LCR_DLAB = 1 << 7,

	/* MCR (8.8) */
	MCR_DTR = 1 << 0,
	MCR_RTS = 1 << 1,
	MCR_OUT1 = 1 << 2,
	MCR_OUT2 = 1 << 3,
	MCR_LOOP = 1 << 4,
	MCR_MASK = 0x1f,

	/* LSR (8.4) */
	LSR_DR = 1 << 0,
	LSR_OE = 1 << 1,
	LSR_PE = 1 << 2,
	LSR_FE = 1 << 3,
	LSR_BI = 1 << 4,
	LSR_THRE = 1 << 5,
	LSR_TEMT = 1 << 6,
	LSR_FIFO_ERROR = 1 << 7,
	LSR_ERRORS = LSR_OE | LSR_PE | LSR_FE | LSR_BI,

	/* MSR (8.9): the changes in 3:0 are those of the lines four bits above */
	MSR_DCTS = 1 << 0,
	MSR_DDSR = 1 << 1,
	MSR_TERI = 1 << 2,
	MSR_DDCD = 1 << 3,
	MSR_CHANGES = 0x0f,
	MSR_CTS = 1 << 4,
	MSR_DSR = 1 << 5,
	MSR_RI = 1 << 6,
	MSR_DCD = 1 << 7,
};

/* A received character; its errors are LSR's bits. */
struct rx_char {
	uint8_t data, errors;
};

/* What a snapshot saves. */
struct ns16550_state {
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t errors;  /* LSR's OE, PE, FE, BI: those not read yet */
	uint8_t changes; /* MSR 3:0 */
	bool thre;       /* the THRE interrupt: up when the last character goes, down when told */
	bool thre_seen;  /* LSR has told it, so the line needs not */
	bool iir_read;   /* since the line went up */
	bool armed;      /* the receive interrupt has stayed enabled */
	uint32_t polls;  /* looks at LSR since the last character sent, up to POLLS_LISTENING */
	uint32_t rx_first, rx_n, tx_first, tx_n;
	struct rx_char rx[FIFO_DEPTH];
	uint8_t tx[FIFO_DEPTH];
};

struct ns16550 {
	pthread_mutex_t lock; /* guards all below; taken before the console's and the clock's */
	struct ns16550_state s;
	bool line;     /* the interrupt output */
	bool had_room; /* ns16550_rx_room() after the last change */
	struct clock_timer listening;
	uint64_t listen_at; /* when `armed` shall be set; UINT64_MAX: not so soon */

	struct ns16550_config config;
	struct bus_region region;
	struct log_limit limit;
};

/*
 * Receiving. With the lock held, as all up to the bus's side.
 */

/* Without FCR0 the FIFOs are holding registers for one character. */
static uint32_t ns16550_depth(const struct ns16550_state *s)
{
	return s->fcr & FCR_ENABLE ? FIFO_DEPTH : 1;
}

/* Characters at which the receive interrupt comes. FCR 7:6 (8.5). */
static uint32_t ns16550_trigger(const struct ns16550_state *s)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? level[s->fcr >> 6] : 1;
}

/* The errors of a character show when it is the next to be read (8.4, bits 2 to 4). */
static void ns16550_rx_show(struct ns16550_state *s)
{
	if (!s->rx_n)
		return;
	s->errors |= s->rx[s->rx_first].errors;
	s->rx[s->rx_first].errors = 0;
}

static void ns16550_rx_push(struct ns16550_state *s, uint8_t data, uint8_t errors)
{
	if (s->rx_n >= ns16550_depth(s)) {
		/* A full FIFO keeps what it has; the holding register gets the new (8.4, bit 1). */
		s->errors |= LSR_OE;
		if (s->fcr & FCR_ENABLE)
			return;
		s->rx_n = 0;
	}
	s->rx[(s->rx_first + s->rx_n++) % FIFO_DEPTH] = (struct rx_char){ data, errors };
	ns16550_rx_show(s);
}

static uint8_t ns16550_rx_pop(struct ns16550_state *s)
{
	uint8_t data;

	if (!s->rx_n)
		return 0;
	data = s->rx[s->rx_first].data;
	s->rx_first = (s->rx_first + 1) % FIFO_DEPTH;
	s->rx_n--;
	ns16550_rx_show(s);
	return data;
}

/* Characters that the other end may send now. */
static uint32_t ns16550_rx_room(const struct ns16550_state *s)
{
	bool listening = (s->armed && (s->ier & IER_ERBFI)) || s->polls >= POLLS_LISTENING;

	/* In loopback the pin is cut off (8.8, bit 4). */
	if (!listening || (s->mcr & MCR_LOOP) || s->rx_n >= ns16550_depth(s))
		return 0;
	return ns16550_depth(s) - s->rx_n;
}

/* See the top: the receive interrupt was turned on or off, or the receiver emptied. */
static void ns16550_listen_anew(struct ns16550 *uart)
{
	struct clock *clock = uart->config.clock;

	if (!uart->s.armed && (uart->s.ier & IER_ERBFI)) {
		uart->listen_at = clock_now(clock) + LISTENING_NS;
		clock_arm(clock, &uart->listening, uart->listen_at);
	} else {
		uart->listen_at = UINT64_MAX;
		clock_cancel(clock, &uart->listening);
	}
}

/*
 * Sending.
 */

static void ns16550_thr_empty(struct ns16550_state *s)
{
	s->thre = true;
	s->thre_seen = false;
}

/* Send as much as can be sent. */
static void ns16550_tx_drain(struct ns16550 *uart)
{
	struct ns16550_state *s = &uart->s;

	while (s->tx_n) {
		uint8_t data = s->tx[s->tx_first];

		if (s->mcr & MCR_LOOP)
			ns16550_rx_push(s, data, 0);
		else if (!console_put(uart->config.con, data))
			break; /* ns16550_writable() goes on */
		s->tx_first = (s->tx_first + 1) % FIFO_DEPTH;
		if (--s->tx_n == 0)
			ns16550_thr_empty(s);
	}
}

static void ns16550_tx_push(struct ns16550 *uart, uint8_t data)
{
	struct ns16550_state *s = &uart->s;

	s->polls = 0;
	s->thre = false;
	if (s->tx_n >= ns16550_depth(s))
		return; /* LSR.THRE said so */
	s->tx[(s->tx_first + s->tx_n++) % FIFO_DEPTH] = data;
	ns16550_tx_drain(uart);
}

/*
 * Registers.
 */

/* MSR's lines: the far end is there and ready, or in loopback our own outputs (8.8, bit 4). */
static uint8_t ns16550_modem(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
			 (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

/* IIR 3:0: the interrupt that counts most, of those that are enabled (table IV). */
static uint8_t ns16550_cause(const struct ns16550_state *s, bool thre)
{
	if ((s->ier & IER_ELSI) && s->errors)
		return IIR_LINE_STATUS;
	if ((s->ier & IER_ERBFI) && s->rx_n >= ns16550_trigger(s))
		return IIR_RX_DATA;
	if ((s->ier & IER_ERBFI) && s->rx_n)
		return IIR_RX_TIMEOUT;
	if ((s->ier & IER_ETBEI) && thre)
		return IIR_THRE;
	if ((s->ier & IER_EDSSI) && s->changes)
		return IIR_MODEM_STATUS;
	return IIR_NONE;
}

static uint8_t ns16550_read_iir(struct ns16550_state *s)
{
	uint8_t cause = ns16550_cause(s, s->thre);

	s->iir_read = true;
	if (cause == IIR_THRE)
		s->thre = false; /* told */
	return (uint8_t)(cause | (s->fcr & FCR_ENABLE ? IIR_FIFOS : 0));
}

static uint8_t ns16550_read_lsr(struct ns16550_state *s)
{
	uint8_t val = s->errors;

	if (!s->rx_n && !s->tx_n && s->polls < POLLS_LISTENING)
		s->polls++;
	if (s->rx_n)
		val |= LSR_DR;
	if (!s->tx_n) {
		val |= LSR_THRE | LSR_TEMT;
		s->thre_seen |= !s->iir_read;
	}
	if (s->fcr & FCR_ENABLE) {
		bool error = s->errors & (LSR_PE | LSR_FE | LSR_BI);

		for (uint32_t i = 0; i < s->rx_n; i++)
			error |= s->rx[(s->rx_first + i) % FIFO_DEPTH].errors;
		val |= (uint8_t)(error ? LSR_FIFO_ERROR : 0);
	}
	s->errors = 0;
	return val;
}

static void ns16550_write_ier(struct ns16550 *uart, uint8_t val)
{
	struct ns16550_state *s = &uart->s;
	uint8_t changed = s->ier ^ val;

	s->ier = val & IER_MASK;
	/* Enabled while there is nothing to send, it comes at once: drivers rely on it. */
	if ((changed & val & IER_ETBEI) && !s->tx_n)
		ns16550_thr_empty(s);
	if (changed & IER_ERBFI)
		ns16550_listen_anew(uart);
}

static void ns16550_write_fcr(struct ns16550 *uart, uint8_t val)
{
	struct ns16550_state *s = &uart->s;
	bool toggled = (s->fcr ^ val) & FCR_ENABLE;

	/* Nothing else is taken while FCR0 is zero, and its change empties both FIFOs (8.5). */
	s->fcr = val & FCR_ENABLE ? val & FCR_KEPT : 0;
	if (toggled || (s->fcr && (val & FCR_RX_RESET))) {
		s->rx_n = 0;
		s->armed = false;
		s->polls = 0;
		ns16550_listen_anew(uart);
	}
	if (s->tx_n && (toggled || (s->fcr && (val & FCR_TX_RESET)))) {
		s->tx_n = 0;
		ns16550_thr_empty(s);
	}
}

static void ns16550_write_lcr(struct ns16550_state *s, uint8_t val)
{
	uint8_t changed = s->lcr ^ val;

	s->lcr = val;
	/* A break is a zero without a stop bit (8.4, bit 4); only in loopback does anyone
	 * see it. */
	if ((changed & val & LCR_BREAK) && (s->mcr & MCR_LOOP))
		ns16550_rx_push(s, 0, LSR_BI | LSR_FE);
}

static void ns16550_write_mcr(struct ns16550 *uart, uint8_t val)
{
	struct ns16550_state *s = &uart->s;
	uint8_t before = ns16550_modem(s->mcr), after = ns16550_modem(val);
	uint8_t changed = before ^ after;

	s->mcr = val & MCR_MASK;
	s->changes |=
		(uint8_t)((changed & MSR_CTS ? MSR_DCTS : 0) | (changed & MSR_DSR ? MSR_DDSR : 0) |
			  (changed & before & MSR_RI ? MSR_TERI : 0) | /* its end */
			  (changed & MSR_DCD ? MSR_DDCD : 0));
	ns16550_tx_drain(uart); /* loopback needs no console */
}

static uint8_t ns16550_reg_read(struct ns16550 *uart, unsigned reg)
{
	struct ns16550_state *s = &uart->s;
	bool dlab = s->lcr & LCR_DLAB;
	uint8_t val;

	switch (reg) {
	case RBR: return dlab ? s->dll : ns16550_rx_pop(s);
	case IER: return dlab ? s->dlm : s->ier;
	case IIR: return ns16550_read_iir(s);
	case LCR: return s->lcr;
	case MCR: return s->mcr;
	case LSR: return ns16550_read_lsr(s);
	case MSR:
		val = s->changes | ns16550_modem(s->mcr);
		s->changes = 0;
		return val;
	default: return s->scr;
	}
}

static void ns16550_reg_write(struct ns16550 *uart, unsigned reg, uint8_t val)
{
	struct ns16550_state *s = &uart->s;
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case RBR:
		if (dlab)
			s->dll = val;
		else
			ns16550_tx_push(uart, val);
		break;
	case IER:
		if (dlab)
			s->dlm = val;
		else
			ns16550_write_ier(uart, val);
		break;
	case IIR: ns16550_write_fcr(uart, val); break;
	case LCR: ns16550_write_lcr(s, val); break;
	case MCR: ns16550_write_mcr(uart, val); break;
	case SCR: s->scr = val; break;
	default: /* LSR and MSR: writing is for the factory's tests (8.4) */
		log_guest(uart->config.log, &uart->limit, LOG_DEBUG, "ns16550",
			  "write of %#x to the read-only register %u", val, reg);
	}
}

/* After every change: the interrupt line, and word to the console when room has come up. */
static void ns16550_update(struct ns16550 *uart)
{
	struct ns16550_state *s = &uart->s;
	bool level = ns16550_cause(s, s->thre && !s->thre_seen) != IIR_NONE;
	bool room = ns16550_rx_room(s);

	if (level != uart->line) {
		uart->line = level;
		s->iir_read = false;
		irq_set(&uart->config.irq, level);
	}
	if (room && !uart->had_room)
		console_rx_ready(uart->config.con);
	uart->had_room = room;
}

/*
 * The bus's side. Between registers that are apart reads are zero, and writes ignored.
 */

static bool ns16550_at_register(const struct ns16550 *uart, uint64_t off)
{
	return !(off & mask_low(uart->config.reg_shift));
}

static uint64_t ns16550_read(void *dev, uint64_t off, unsigned size)
{
	struct ns16550 *uart = dev;
	uint64_t val;

	(void)size;
	if (!ns16550_at_register(uart, off))
		return 0;
	pthread_mutex_lock(&uart->lock);
	val = ns16550_reg_read(uart, (unsigned)(off >> uart->config.reg_shift));
	ns16550_update(uart);
	pthread_mutex_unlock(&uart->lock);
	return val;
}

static void ns16550_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct ns16550 *uart = dev;

	(void)size;
	if (!ns16550_at_register(uart, off))
		return;
	pthread_mutex_lock(&uart->lock);
	ns16550_reg_write(uart, (unsigned)(off >> uart->config.reg_shift), (uint8_t)val);
	ns16550_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

static const struct bus_ops ns16550_ops = { .read = ns16550_read, .write = ns16550_write };

/*
 * The control loop's side.
 */

static size_t ns16550_room(void *dev)
{
	struct ns16550 *uart = dev;
	size_t room;

	pthread_mutex_lock(&uart->lock);
	room = ns16550_rx_room(&uart->s);
	pthread_mutex_unlock(&uart->lock);
	return room;
}

static void ns16550_receive(void *dev, const uint8_t *data, size_t len)
{
	struct ns16550 *uart = dev;

	pthread_mutex_lock(&uart->lock);
	for (size_t i = 0; i < len; i++)
		ns16550_rx_push(&uart->s, data[i], 0);
	ns16550_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

static void ns16550_writable(void *dev)
{
	struct ns16550 *uart = dev;

	pthread_mutex_lock(&uart->lock);
	ns16550_tx_drain(uart);
	ns16550_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

static void ns16550_listening(struct clock_timer *timer)
{
	struct ns16550 *uart = container_of(timer, struct ns16550, listening);

	pthread_mutex_lock(&uart->lock);
	if (clock_now(uart->config.clock) >= uart->listen_at) /* else it was cancelled too late */
		uart->s.armed = true;
	ns16550_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

/*
 * Life.
 */

static void ns16550_reset_state(struct ns16550_state *s)
{
	*s = (struct ns16550_state){ .dll = DIVISOR_START };
}

void ns16550_reset(struct ns16550 *uart)
{
	pthread_mutex_lock(&uart->lock);
	ns16550_tx_drain(uart);
	ns16550_reset_state(&uart->s);
	ns16550_listen_anew(uart);
	ns16550_update(uart);
	pthread_mutex_unlock(&uart->lock);
}

int ns16550_create(struct ns16550 **out, const struct ns16550_config *config, struct err *err)
{
	struct ns16550 *uart = calloc(1, sizeof(*uart));
	int ret;

	if (!uart)
		return err_set(err, -ENOMEM, "16550 UART: out of memory");
	pthread_mutex_init(&uart->lock, NULL);
	ns16550_reset_state(&uart->s);
	uart->config = *config;
	uart->listening.fire = ns16550_listening;
	uart->listen_at = UINT64_MAX;
	uart->region = (struct bus_region){
		.name = "16550 UART",
		.base = config->base,
		.size = (uint64_t)N_REGS << config->reg_shift,
		.min_access = 1,
		.max_access = config->max_access,
		.ops = &ns16550_ops,
		.dev = uart,
	};
	ret = bus_add(config->bus, &uart->region, err);
	if (ret) {
		pthread_mutex_destroy(&uart->lock);
		free(uart);
		return ret;
	}
	console_attach(config->con, &(struct console_port){ .room = ns16550_room,
							    .receive = ns16550_receive,
							    .writable = ns16550_writable,
							    .dev = uart });
	*out = uart;
	return 0;
}

void ns16550_destroy(struct ns16550 *uart)
{
	if (!uart)
		return;
	bus_del(uart->config.bus, &uart->region);
	clock_disarm(uart->config.clock, &uart->listening);
	pthread_mutex_destroy(&uart->lock);
	free(uart);
}

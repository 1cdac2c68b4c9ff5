/* SPDX-License-Identifier: MIT */
/*
 * The rig of device tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "host/console.h"
#include "host/loop.h"
#include "host/thread.h"

void rig_init(struct rig *r)
{
	struct err err = ERR_INIT;

	assert_int_equal(loop_create(&r->loop, &err), 0);
	assert_int_equal(clock_create(&r->clock, r->loop, &err), 0);
	assert_int_equal(bus_create(&r->bus, &err), 0);
}

void rig_init_console(struct rig *r)
{
	struct console_config config;
	struct err err = ERR_INIT;

	rig_init(r);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(r->in), 0);
	assert_int_equal(pipe(r->out), 0);
	config = (struct console_config){ .loop = r->loop, .in_fd = r->in[0], .out_fd = r->out[1] };
	assert_int_equal(console_create(&r->con, &config, &err), 0);
}

static void set_irq(void *chip, unsigned pin, bool level)
{
	struct rig *r = chip;

	assert_int_equal(pin, r->pin);
	assert_true(r->irq != level);
	r->irq = level;
	r->changes++;
}

struct irq_line rig_irq(struct rig *r, unsigned pin)
{
	static const struct irq_ops ops = { .set = set_irq };

	r->pin = pin;
	return (struct irq_line){ .ops = &ops, .chip = r, .pin = pin };
}

void rig_fini_console(struct rig *r)
{
	close(r->out[0]);
	console_destroy(r->con);
	close(r->out[1]);
	close(r->in[0]);
	close(r->in[1]);
}

void rig_fini(struct rig *r)
{
	bus_destroy(r->bus);
	clock_destroy(r->clock);
	loop_destroy(r->loop);
}

void rig_turns(struct rig *r, unsigned n)
{
	for (; n; n--) {
		loop_stop(r->loop);
		assert_int_equal(loop_run(r->loop), 0);
	}
}

void rig_run_ms(struct rig *r, unsigned ms)
{
	for (unsigned i = 0; i < ms && !r->irq; i++) {
		poll(NULL, 0, 1);
		rig_turns(r, 1);
	}
}

void rig_type(struct rig *r, const char *text)
{
	assert_int_equal(write(r->in[1], text, strlen(text)), strlen(text));
	rig_turns(r, 4);
}

void rig_expect(struct rig *r, const char *text)
{
	char buf[256];
	ssize_t n;

	rig_turns(r, 3);
	n = read(r->out[0], buf, sizeof(buf));
	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

uint8_t rig_stream(size_t n)
{
	return (uint8_t)(n % 251);
}

void rig_read_stream(struct rig *r, size_t n)
{
	size_t got = 0;

	for (unsigned i = 0; got < n; i++) {
		uint8_t buf[4096];
		struct pollfd pfd = { .fd = r->out[0], .events = POLLIN };
		ssize_t len;

		rig_turns(r, 5);
		if (!poll(&pfd, 1, 0)) {
			assert_true(i < 1000);
			continue;
		}
		len = read(r->out[0], buf, sizeof(buf));
		for (ssize_t k = 0; k < len; k++)
			assert_int_equal(buf[k], rig_stream(got++));
	}
	assert_int_equal(got, n);
}

static void *feed(void *arg)
{
	const struct rig *r = arg;
	uint8_t buf[997];

	for (size_t n = 0; n < RIG_ECHO_BYTES;) {
		size_t len = RIG_ECHO_BYTES - n < sizeof(buf) ? RIG_ECHO_BYTES - n : sizeof(buf);

		for (size_t i = 0; i < len; i++)
			buf[i] = rig_stream(n + i);
		if (write(r->in[1], buf, len) != (ssize_t)len)
			return "short write";
		n += len;
	}
	return NULL;
}

static void *drink(void *arg)
{
	struct rig *r = arg;
	const char *complaint = NULL;

	for (size_t n = 0; n < RIG_ECHO_BYTES && !complaint;) {
		uint8_t buf[3001];
		ssize_t len = read(r->out[0], buf, sizeof(buf));

		for (ssize_t i = 0; i < len; i++)
			if (buf[i] != rig_stream(n++))
				complaint = "wrong byte out";
		if (n / 20000 != (n - (size_t)len) / 20000)
			poll(NULL, 0, 50); /* long enough for the ring to fill */
	}
	loop_stop(r->loop);
	return (void *)complaint;
}

void rig_echo(struct rig *r, void *(*guest)(void *arg), void *arg)
{
	const struct {
		void *(*run)(void *arg);
		void *arg;
	} parts[] = { { feed, r }, { guest, arg }, { drink, r } };
	struct err err = ERR_INIT;
	pthread_t thread[3];
	void *complaint;

	assert_true(fcntl(r->out[1], F_SETPIPE_SZ, 4096) >= 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
			thread_create(&thread[i], "echo", parts[i].run, parts[i].arg, &err), 0);
	assert_int_equal(loop_run(r->loop), 0);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(thread[i], &complaint);
		assert_null(complaint);
	}
}

uint64_t rig_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

void rig_nonblocking(struct rig *r)
{
	assert_int_equal(fcntl(r->in[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(r->out[0], F_SETFL, O_NONBLOCK), 0);
}

bool rig_random_host(struct rig *r, uint64_t random)
{
	char buf[4096] = { 0 };

	switch (random % 16) {
	case 0:
		if (write(r->in[1], buf, random / 1024 % 64) < 0)
			assert_int_equal(errno, EAGAIN);
		return true;
	case 1:
		if (random & 256 && read(r->out[0], buf, sizeof(buf)) < 0)
			assert_int_equal(errno, EAGAIN);
		return true;
	case 2: rig_turns(r, 1); return true;
	default: return false;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * The console on pipes, files and terminals: order, back-pressure, ends of input and output,
 * escapes. A turn of the loop is taken by hand, so each test knows what has happened.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/console.h"
#include "host/loop.h"
#include "host/thread.h"

enum { RING = 65536, GOT_MAX = 1 << 20 };

struct fixture {
	struct loop *loop;
	struct console *con;
	int in[2], out[2]; /* what the console has: in[0], out[1]; the test has the others */
	/* A port that takes `room` bytes. */
	size_t room, n_got, asked;
	uint8_t *got;
	unsigned writable;
	char keys[16];
};

static size_t port_room(void *dev)
{
	struct fixture *f = dev;

	f->asked++;
	return f->room;
}
static void port_receive(void *dev, const uint8_t *data, size_t len)
{
	struct fixture *f = dev;

	assert_in_range(len, 1, f->room);
	assert_true(f->n_got + len <= GOT_MAX);
	memcpy(f->got + f->n_got, data, len);
	f->n_got += len;
	f->room -= len;
}
static void port_writable(void *dev)
{
	struct fixture *f = dev;

	f->writable++;
}
static void key(void *arg, char c)
{
	struct fixture *f = arg;
	size_t n = strlen(f->keys);

	assert_true(n + 1 < sizeof(f->keys));
	f->keys[n] = c;
}

static void turns(struct fixture *f, unsigned n)
{
	for (; n; n--) {
		loop_stop(f->loop);
		assert_int_equal(loop_run(f->loop), 0);
	}
}

static void create(struct fixture *f, int in_fd, int out_fd, bool escape)
{
	struct err err = ERR_INIT;
	const struct console_config config = { .loop = f->loop,
					       .in_fd = in_fd,
					       .out_fd = out_fd,
					       .escape = escape,
					       .key = key,
					       .arg = f };
	const struct console_port port = {
		.room = port_room, .receive = port_receive, .writable = port_writable, .dev = f
	};

	assert_int_equal(console_create(&f->con, &config, &err), 0);
	console_attach(f->con, &port);
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = ERR_INIT;

	assert_non_null(f);
	f->got = malloc(GOT_MAX);
	assert_non_null(f->got);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_create(&f->loop, &err), 0);
	assert_int_equal(pipe(f->in), 0);
	assert_int_equal(pipe(f->out), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	console_destroy(f->con);
	loop_destroy(f->loop);
	for (int i = 0; i < 2; i++) {
		close_end(&f->in[i]);
		close_end(&f->out[i]);
	}
	free(f->got);
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *s)
{
	for (; *s; s++)
		assert_true(console_put(f->con, (uint8_t)*s));
}

/* Byte i of a long stream; a prime keeps it out of step with every buffer. */
static uint8_t stream(size_t i)
{
	return (uint8_t)(i % 251);
}

static void expect(int fd, const char *s)
{
	char buf[256];
	ssize_t n = read(fd, buf, sizeof(buf));

	assert_int_equal(n, strlen(s));
	assert_memory_equal(buf, s, strlen(s));
}

static void expect_got(struct fixture *f, const char *s)
{
	assert_int_equal(f->n_got, strlen(s));
	assert_memory_equal(f->got, s, strlen(s));
	f->n_got = 0;
}

static void type(struct fixture *f, const char *s)
{
	assert_int_equal(write(f->in[1], s, strlen(s)), strlen(s));
}

/* Output. */

static void out_in_order(void **state)
{
	struct fixture *f = *state;

	create(f, -1, f->out[1], false);
	put(f, "hello, ");
	put(f, "world\n");
	turns(f, 2);
	expect(f->out[0], "hello, world\n");
	put(f, "again");
	turns(f, 2);
	expect(f->out[0], "again");
	/* The flags of what others share are as they were. */
	assert_int_equal(fcntl(f->out[1], F_GETFL) & O_NONBLOCK, 0);
}

static void out_back_pressure(void **state)
{
	struct fixture *f = *state;
	size_t put_n = 0, read_n = 0;
	unsigned seen = 0;

	create(f, -1, f->out[1], false);
	assert_true(fcntl(f->out[1], F_SETPIPE_SZ, 8192) >= 0);
	while (console_put(f->con, stream(put_n)))
		put_n++;
	assert_int_equal(put_n, RING);
	turns(f, 8); /* as much as the pipe takes, then quiet: no turn blocks */
	assert_int_equal(f->writable, 0);
	while (read_n < 1000000) {
		uint8_t buf[5000];
		ssize_t n = read(f->out[0], buf, sizeof(buf));

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], stream(read_n++));
		turns(f, 1);
		if (f->writable == seen)
			continue;
		seen = f->writable; /* told, half a ring at a time: fill it again */
		while (put_n < 1000000 && console_put(f->con, stream(put_n)))
			put_n++;
	}
	assert_int_equal(put_n, 1000000);
	assert_in_range(f->writable, 1000000 / RING, 2 * 1000000 / RING + 1);
	turns(f, 2);
	assert_true(console_put(f->con, 'x'));
}

/* A socket cannot be opened anew, so this goes by poll(); input and output are one descriptor. */
static void socket_both_ways(void **state)
{
	struct fixture *f = *state;
	size_t put_n = 0, read_n = 0;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	f->room = 100;
	create(f, s[0], s[0], false);
	turns(f, 2);
	assert_int_equal(write(s[1], "typed", 5), 5);
	turns(f, 2);
	expect_got(f, "typed");
	while (read_n < 2000000) {
		uint8_t buf[5000];
		ssize_t n;

		while (put_n < 2000000 && console_put(f->con, stream(put_n)))
			put_n++;
		turns(f, 20); /* more than the socket holds */
		n = recv(s[1], buf, sizeof(buf), MSG_DONTWAIT);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], stream(read_n++));
	}
	assert_int_equal(fcntl(s[0], F_GETFL) & O_NONBLOCK, 0);
	console_destroy(f->con);
	f->con = NULL;
	assert_int_equal(close(s[0]), 0); /* still ours */
	assert_int_equal(close(s[1]), 0);
}

static void out_reader_gone(void **state)
{
	struct fixture *f = *state;

	create(f, -1, f->out[1], false);
	while (console_put(f->con, 'x')) {
	}
	close_end(&f->out[0]);
	turns(f, 4);
	assert_int_equal(f->writable, 1);
	for (unsigned i = 0; i < 3 * RING; i++)
		assert_true(console_put(f->con, 'x')); /* dropped, and the guest goes on */
	turns(f, 2);
}

static void out_none(void **state)
{
	struct fixture *f = *state;

	create(f, -1, -1, false);
	for (unsigned i = 0; i < 3 * RING; i++)
		assert_true(console_put(f->con, 'x'));
	turns(f, 2);
}

static void out_closed(void **state)
{
	struct fixture *f = *state;
	int fd = f->out[1];

	close_end(&f->out[1]);
	create(f, fd, fd, false);
	assert_true(console_put(f->con, 'x'));
	turns(f, 2);
}

static void out_file(void **state)
{
	struct fixture *f = *state;
	FILE *file = tmpfile();
	uint8_t *data;
	size_t n = 0;

	assert_non_null(file);
	create(f, -1, fileno(file), false);
	for (; n < 3 * RING; turns(f, 1))
		while (n < 3 * RING && console_put(f->con, stream(n)))
			n++;
	turns(f, 60);
	data = malloc(n + 1);
	assert_non_null(data);
	assert_int_equal(pread(fileno(file), data, n + 1, 0), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(data[i], stream(i));
	free(data);
	fclose(file);
}

static void destroy_flushes(void **state)
{
	struct fixture *f = *state;

	create(f, -1, f->out[1], false);
	put(f, "last words");
	console_destroy(f->con);
	f->con = NULL;
	expect(f->out[0], "last words");
}

static void *read_late(void *arg)
{
	struct fixture *f = arg;
	size_t read_n = 0;

	while (read_n < RING) {
		uint8_t buf[1000];

		poll(NULL, 0, 20); /* in all more than the second after which it gives up */
		ssize_t n = read(f->out[0], buf, sizeof(buf));

		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], stream(read_n++));
	}
	return NULL;
}

static void destroy_waits_for_a_slow_reader(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	pthread_t thread;

	create(f, -1, f->out[1], false);
	assert_true(fcntl(f->out[1], F_SETPIPE_SZ, 4096) >= 0);
	for (size_t i = 0; i < RING; i++)
		assert_true(console_put(f->con, stream(i)));
	assert_int_equal(thread_create(&thread, "reader", read_late, f, &err), 0);
	console_destroy(f->con);
	f->con = NULL;
	pthread_join(thread, NULL);
}

static void destroy_gives_up(void **state)
{
	struct fixture *f = *state;
	struct timespec a, b;

	create(f, -1, f->out[1], false);
	assert_true(fcntl(f->out[1], F_SETPIPE_SZ, 4096) >= 0);
	while (console_put(f->con, 'x')) {
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	console_destroy(f->con);
	clock_gettime(CLOCK_MONOTONIC, &b);
	f->con = NULL;
	assert_in_range(b.tv_sec - a.tv_sec, 0, 5);
}

/* Input. */

static void in_back_pressure(void **state)
{
	struct fixture *f = *state;
	size_t written = 0;

	create(f, f->in[0], -1, false);
	turns(f, 3);
	type(f, "0123456789");
	turns(f, 5);
	assert_int_equal(f->n_got, 0); /* no room yet */
	f->room = 4;
	console_rx_ready(f->con);
	turns(f, 5);
	expect_got(f, "0123");
	f->asked = 0;
	turns(f, 5);
	assert_int_equal(f->asked, 0); /* full: the loop does not turn for the rest */
	f->room = 32;
	console_rx_ready(f->con);
	turns(f, 5);
	expect_got(f, "456789");
	assert_int_equal(f->room, 26);
	type(f, "more");
	turns(f, 3);
	expect_got(f, "more");

	/* A lot, 32 at a time; the pipe is where the rest waits. */
	f->room = 0;
	assert_true(fcntl(f->in[1], F_SETFL, O_NONBLOCK) == 0);
	while (f->n_got < 300000) {
		uint8_t buf[777];
		ssize_t n;

		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = stream(written + i);
		n = write(f->in[1], buf, sizeof(buf));
		written += n > 0 ? (size_t)n : 0;
		f->room = 32;
		console_rx_ready(f->con);
		turns(f, 2);
	}
	for (size_t i = 0; i < f->n_got; i++)
		assert_int_equal(f->got[i], stream(i));
	assert_int_equal(fcntl(f->in[0], F_GETFL) & O_NONBLOCK, 0);
}

static void in_end(void **state)
{
	struct fixture *f = *state;

	create(f, f->in[0], f->out[1], false);
	type(f, "bye");
	close_end(&f->in[1]);
	turns(f, 3); /* hung up, but the guest has no room: what is left must not be lost */
	f->room = 2;
	console_rx_ready(f->con);
	turns(f, 4);
	expect_got(f, "by");
	f->room = 32;
	console_rx_ready(f->con);
	turns(f, 4);
	expect_got(f, "e");
	console_rx_ready(f->con);
	turns(f, 4);
	put(f, "still here"); /* only the input ended */
	turns(f, 3);
	expect(f->out[0], "still here");
}

static void in_file(void **state)
{
	struct fixture *f = *state;
	FILE *file = tmpfile();

	assert_non_null(file);
	for (size_t i = 0; i < 10000; i++)
		assert_int_not_equal(fputc(stream(i), file), EOF);
	rewind(file);
	f->room = 32;
	create(f, fileno(file), -1, false);
	while (f->n_got < 10000) {
		turns(f, 2);
		f->room = 32;
		console_rx_ready(f->con);
	}
	turns(f, 3);
	for (size_t i = 0; i < 10000; i++)
		assert_int_equal(f->got[i], stream(i));
	assert_int_equal(f->n_got, 10000);
	/* With room for all of it, nothing else has to happen. */
	rewind(file);
	console_destroy(f->con);
	f->n_got = 0;
	f->room = GOT_MAX;
	create(f, fileno(file), -1, false);
	turns(f, 10);
	assert_int_equal(f->n_got, 10000);
	fclose(file);
}

static void in_null(void **state)
{
	struct fixture *f = *state;
	int fd = open("/dev/null", O_RDWR);

	f->room = 32;
	create(f, fd, fd, false);
	put(f, "into the void");
	turns(f, 4);
	assert_int_equal(f->n_got, 0);
	assert_true(console_put(f->con, 'x'));
	close(fd);
}

/* Escapes. */

static void escapes(void **state)
{
	struct fixture *f = *state;

	f->room = 100;
	create(f, f->in[0], -1, true);
	turns(f, 2);
	type(f, "a\001xb\001hc");
	turns(f, 3);
	expect_got(f, "abc");
	assert_string_equal(f->keys, "xh");
	type(f, "\001\001-\001a-\001"); /* one Ctrl-A each; the last is half an escape */
	turns(f, 3);
	expect_got(f, "\001-\001-");
	type(f, "x.");
	turns(f, 3);
	expect_got(f, ".");
	assert_string_equal(f->keys, "xhx");
}

/* A guest that does not read must not keep the user from leaving. */
static void escape_when_stuck(void **state)
{
	struct fixture *f = *state;

	create(f, f->in[0], -1, true);
	turns(f, 2);
	type(f, "typed while it boots\001x and on");
	turns(f, 3);
	assert_string_equal(f->keys, "x");
	assert_int_equal(f->n_got, 0);
	f->room = 5;
	console_rx_ready(f->con);
	turns(f, 3);
	expect_got(f, "typed");
	close_end(&f->in[1]);
	turns(f, 3);
	f->room = 100;
	console_rx_ready(f->con);
	turns(f, 3);
	expect_got(f, " while it boots and on");
}

static void escape_back_pressure(void **state)
{
	struct fixture *f = *state;
	size_t written = 0;

	create(f, f->in[0], -1, true);
	assert_true(fcntl(f->in[1], F_SETFL, O_NONBLOCK) == 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t buf[500];
		ssize_t n;

		for (size_t k = 0; k < sizeof(buf); k++)
			buf[k] = (uint8_t)(2 + (written + k) % 249); /* no Ctrl-A */
		n = write(f->in[1], buf, sizeof(buf));
		written += n > 0 ? (size_t)n : 0;
		turns(f, 1);
	}
	while (f->n_got < written) {
		f->room = 32;
		console_rx_ready(f->con);
		turns(f, 2);
	}
	for (size_t i = 0; i < written; i++)
		assert_int_equal(f->got[i], 2 + i % 249);
}

/* Without `escape`, Ctrl-A is a byte like others. */
static void no_escapes(void **state)
{
	struct fixture *f = *state;

	f->room = 100;
	create(f, f->in[0], -1, false);
	turns(f, 2);
	type(f, "\001x");
	turns(f, 3);
	expect_got(f, "\001x");
	assert_string_equal(f->keys, "");
}

static void terminal(void **state)
{
	struct fixture *f = *state;
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	struct termios raw;
	size_t n_put = 0;

	if (master < 0 || grantpt(master) || unlockpt(master))
		skip();
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);

	f->room = 100;
	create(f, slave, slave, true);
	turns(f, 2);
	put(f, "login: ");
	turns(f, 2);
	expect(master, "login: ");
	assert_int_equal(write(master, "root\001x", 6), 6);
	for (unsigned i = 0; i < 100 && f->n_got < 4; i++) {
		poll(NULL, 0, 1);
		turns(f, 1);
	}
	expect_got(f, "root");
	assert_string_equal(f->keys, "x");
	/* A terminal that takes nothing more does not stop the loop. */
	for (unsigned i = 0; i < 50; i++) {
		while (console_put(f->con, 'x'))
			n_put++;
		turns(f, 1);
	}
	assert_true(n_put >= RING);
	assert_int_equal(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
	close(master); /* the window is closed */
	turns(f, 4);
	assert_true(console_put(f->con, 'x'));
	close(slave);
}

/* A guest that writes from its thread while the loop runs on this one. */
struct writer {
	struct fixture *f;
	struct loop_task stop;
	size_t n;
};

static void stop(struct loop_task *task)
{
	loop_stop(container_of(task, struct writer, stop)->f->loop);
}

static void *write_stream(void *arg)
{
	struct writer *w = arg;

	while (w->n < 400000) {
		if (console_put(w->f->con, stream(w->n)))
			w->n++;
		else
			poll(NULL, 0, 1);
		if (w->n % 1000 == 0)
			console_rx_ready(w->f->con);
	}
	loop_post(w->f->loop, &w->stop);
	return NULL;
}

static void *read_stream(void *arg)
{
	struct fixture *f = arg;
	size_t read_n = 0;

	while (read_n < 400000) {
		uint8_t buf[3000];
		ssize_t n = read(f->out[0], buf, sizeof(buf));

		if (n <= 0)
			return "short";
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != stream(read_n++))
				return "wrong";
	}
	return NULL;
}

static void threads(void **state)
{
	struct fixture *f = *state;
	struct writer w = { .f = f, .stop.run = stop };
	struct err err = ERR_INIT;
	pthread_t writer, reader;
	void *complaint;

	f->room = 100;
	create(f, f->in[0], f->out[1], false);
	assert_int_equal(thread_create(&writer, "writer", write_stream, &w, &err), 0);
	assert_int_equal(thread_create(&reader, "reader", read_stream, f, &err), 0);
	assert_int_equal(loop_run(f->loop), 0);
	pthread_join(writer, NULL);
	console_destroy(f->con); /* the rest */
	f->con = NULL;
	pthread_join(reader, &complaint);
	assert_null(complaint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(out_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(out_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(socket_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(out_reader_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(out_none, setup, teardown),
		cmocka_unit_test_setup_teardown(out_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(out_file, setup, teardown),
		cmocka_unit_test_setup_teardown(destroy_flushes, setup, teardown),
		cmocka_unit_test_setup_teardown(destroy_waits_for_a_slow_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(destroy_gives_up, setup, teardown),
		cmocka_unit_test_setup_teardown(in_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(in_end, setup, teardown),
		cmocka_unit_test_setup_teardown(in_file, setup, teardown),
		cmocka_unit_test_setup_teardown(in_null, setup, teardown),
		cmocka_unit_test_setup_teardown(escapes, setup, teardown),
		cmocka_unit_test_setup_teardown(escape_when_stuck, setup, teardown),
		cmocka_unit_test_setup_teardown(escape_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(no_escapes, setup, teardown),
		cmocka_unit_test_setup_teardown(terminal, setup, teardown),
		cmocka_unit_test_setup_teardown(threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Console on file descriptors.
 *
 * Never waiting for the terminal. The loop that serves the console also fires guest timers, so no
 * read or write here may block. O_NONBLOCK is a property of the open file, which standard input and
 * output share with the shell that started us and with whatever runs after us, so it must not be
 * set on them. Where the host lets us (a terminal or a pipe, by its /proc/self/fd link) we open the
 * same file once more for ourselves, with O_NONBLOCK. Where it does not, each transfer is preceded
 * by poll(2) and is no longer than PIPE_BUF, which is what a pipe that polls as writable takes
 * without blocking. Regular files, /dev/null and the like never block for long; epoll refuses them
 * with EPERM, and then they count as always ready.
 *
 * Output: console_put() appends to the ring and posts the output task unless `flushing` says that
 * the loop is at it already. The loop writes from the ring without the lock: bytes between tail and
 * head are nobody else's until tail moves.
 *
 * Input: bytes go to the port as far as it has room. Without escapes no more than that is read.
 * With escapes we read ahead into `held`, for Ctrl-A has to work also when the guest does not read.
 *
 * Locks: `lock` guards what vCPU threads and the loop share. The port is always called without it,
 * so a UART may call console_put() and console_rx_ready() with its own lock held.
 */
#include "host/console.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/mark.h"
#include "base/ns.h"
#include "host/loop.h"

enum {
	RING_SIZE = 65536, /* output; a power of two */
	HELD_SIZE = 65536, /* input read ahead; a paste fits */
	READ_MAX = 4096,   /* input per read(2) */
	FLUSH_MAX = 4,     /* write(2) calls before the loop's other work has its turn */
	STALL_MS = 1000,   /* console_destroy() gives up when nothing was taken for so long */

	CTRL_A = 0x01,
};

/* One direction's descriptor. */
struct channel {
	struct loop_source source; /* its fd is ours: opened anew, or a duplicate */
	bool nonblock;             /* opened anew, with O_NONBLOCK */
	bool direct;               /* cannot be polled: always ready */
	bool closed;               /* no descriptor, end of file, or the other side is gone */
};

struct console {
	struct console_config config;
	struct console_port port; /* zero until console_attach() */
	struct loop_task out_task, in_task;

	/* Loop thread only. */
	struct channel in, out;
	bool escaped; /* the last byte was Ctrl-A */
	uint8_t *held;
	size_t n_held;

	pthread_mutex_t lock;
	/* Under the lock. Output: */
	uint8_t *ring;
	uint32_t head, tail; /* appended and taken, counted without end; head - tail are held */
	bool flushing;       /* the output task is posted, or waits for the descriptor */
	bool refused;        /* console_put() had to say no: the port wants to know of room */
	bool gone;           /* nobody reads: output is dropped */
	/* Input: */
	bool starved; /* the port had no room: console_rx_ready() has to wake us */
};

/*
 * Descriptors.
 */

/* Open what `fd` has open once more, without blocking, for us alone. -1 when that cannot be. */
static int reopen(int fd, int flags)
{
	char path[64];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	/* Opening the master of a pseudo-terminal would make a new pair. Only masters have a
	 * slave's name. */
	if (!S_ISFIFO(st.st_mode) && !(isatty(fd) && ptsname_r(fd, path, sizeof(path)) != 0))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void channel_init(struct channel *ch, int fd, int flags, uint32_t events,
			 void (*ready)(struct loop_source *source, uint32_t events))
{
	int own = fd < 0 ? -1 : reopen(fd, flags);

	ch->nonblock = own >= 0;
	/* A duplicate, as epoll does not take a descriptor twice: input and output may be one. */
	if (own < 0 && fd >= 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	ch->closed = own < 0;
	ch->source.fd = own;
	ch->source.events = events;
	ch->source.ready = ready;
}

/* Have the loop tell when the descriptor is ready. False when it cannot: then it always is. */
static bool channel_watch(struct channel *ch, struct loop *loop)
{
	if (!ch->direct && loop_add(loop, &ch->source))
		ch->direct = true;
	return ch->source.watched;
}

static void channel_close(struct channel *ch, struct loop *loop)
{
	loop_del(loop, &ch->source);
	if (!ch->closed)
		close(ch->source.fd);
	ch->closed = true;
}

/* May we read or write now without blocking? Waits up to `ms`. */
static bool channel_ready(const struct channel *ch, int ms)
{
	struct pollfd pfd = {
		.fd = ch->source.fd,
		.events = ch->source.events == LOOP_IN ? POLLIN : POLLOUT,
	};

	return poll(&pfd, 1, ms) > 0;
}

static ssize_t channel_write(const struct channel *ch, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (!ch->nonblock) {
		if (!channel_ready(ch, 0))
			return -EAGAIN;
		len = len < PIPE_BUF ? len : PIPE_BUF;
	}
	do
		n = write(ch->source.fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t channel_read(const struct channel *ch, uint8_t *data, size_t len)
{
	ssize_t n;

	if (!ch->nonblock && !channel_ready(ch, 0))
		return -EAGAIN;
	do
		n = read(ch->source.fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/*
 * Output.
 */

bool console_put(struct console *con, uint8_t byte)
{
	bool taken = true, post = false;

	mark_hit(con->config.first);
	pthread_mutex_lock(&con->lock);
	if (con->gone) {
		/* dropped */
	} else if (con->head - con->tail == RING_SIZE) {
		con->refused = true;
		taken = false;
	} else {
		con->ring[con->head++ % RING_SIZE] = byte;
		post = !con->flushing;
		con->flushing = true;
	}
	pthread_mutex_unlock(&con->lock);
	if (post)
		loop_post(con->config.loop, &con->out_task);
	return taken;
}

/*
 * Write once from the ring. Bytes written; 0 when the ring is empty; -EAGAIN; or another negative
 * errno: the reader is gone, and from now on output is dropped.
 */
static ssize_t flush_some(struct console *con)
{
	uint32_t start, len;
	bool tell = false;
	ssize_t n;

	pthread_mutex_lock(&con->lock);
	start = con->tail % RING_SIZE;
	len = con->head - con->tail;
	/* Only an empty ring ends the flush, and with the lock held, so that the next byte posts
	 * the task again. */
	if (!len)
		con->flushing = false;
	pthread_mutex_unlock(&con->lock);
	if (!len)
		return 0;

	n = channel_write(&con->out, con->ring + start,
			  len < RING_SIZE - start ? len : RING_SIZE - start);
	if (n == 0 || n == -EAGAIN)
		return -EAGAIN;

	pthread_mutex_lock(&con->lock);
	if (n < 0) {
		con->gone = true;
		con->flushing = false;
		con->tail = con->head;
	} else {
		con->tail += (uint32_t)n;
	}
	/* Not for each byte: let the guest refill half the ring at a time. */
	if (con->refused && con->head - con->tail <= RING_SIZE / 2) {
		con->refused = false;
		tell = true;
	}
	pthread_mutex_unlock(&con->lock);
	if (tell && con->port.writable)
		con->port.writable(con->port.dev);
	return n;
}

static void flush(struct console *con)
{
	for (int i = 0; i < FLUSH_MAX; i++) {
		ssize_t n = flush_some(con);

		if (n > 0)
			continue;
		if (n == -EAGAIN && channel_watch(&con->out, con->config.loop))
			return; /* out_ready() goes on */
		if (n == -EAGAIN)
			break;
		if (n < 0)
			channel_close(&con->out, con->config.loop);
		else
			loop_del(con->config.loop, &con->out.source);
		return;
	}
	if (!con->out.source.watched)
		loop_post(con->config.loop, &con->out_task);
}

static void out_task(struct loop_task *task)
{
	flush(container_of(task, struct console, out_task));
}

static void out_ready(struct loop_source *source, uint32_t events)
{
	(void)events; /* with LOOP_HUP the write tells what happened */
	flush(container_of(source, struct console, out.source));
}

/*
 * Input.
 */

/* Hand over what the port has room for: n of len bytes. */
static size_t deliver(struct console *con, const uint8_t *data, size_t len)
{
	size_t room = con->port.room ? con->port.room(con->port.dev) : 0;

	if (len > room)
		len = room;
	if (len)
		con->port.receive(con->port.dev, data, len);
	return len;
}

static void deliver_held(struct console *con)
{
	while (con->n_held) {
		size_t n = deliver(con, con->held, con->n_held);

		if (!n)
			return;
		con->n_held -= n;
		memmove(con->held, con->held + n, con->n_held);
	}
}

/* Take the escapes out of what was read, in place. Bytes left for the guest. */
static size_t take_escapes(struct console *con, uint8_t *data, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = data[i];

		if (!con->escaped && c == CTRL_A) {
			con->escaped = true;
			continue;
		}
		if (con->escaped && c != CTRL_A && c != 'a') {
			if (con->config.key)
				con->config.key(con->config.arg, (char)c);
		} else {
			data[n++] = con->escaped ? CTRL_A : c;
		}
		con->escaped = false;
	}
	return n;
}

/* How many bytes may be read now? */
static size_t in_room(struct console *con)
{
	size_t room;

	if (con->config.escape)
		room = HELD_SIZE - con->n_held;
	else
		room = con->port.room ? con->port.room(con->port.dev) : 0;
	return room < READ_MAX ? room : READ_MAX;
}

/*
 * One read, and on to the port. Leaves the channel watched, closed, or waiting for
 * console_rx_ready(). `starved` is set before room() is asked the last time, and the port makes
 * room before it calls console_rx_ready(): one of the two sees the other.
 */
static void pump_input(struct console *con)
{
	uint8_t buf[READ_MAX];
	size_t room;
	ssize_t n;

	if (con->in.closed && !con->n_held)
		return;
	pthread_mutex_lock(&con->lock);
	con->starved = true;
	pthread_mutex_unlock(&con->lock);
	deliver_held(con);
	if (con->in.closed)
		return;
	room = in_room(con);
	if (!room) {
		loop_del(con->config.loop, &con->in.source);
		return;
	}
	if (!con->in.source.watched && channel_watch(&con->in, con->config.loop))
		return; /* readable: we are called again at once */

	n = channel_read(&con->in, buf, room);
	if (n == -EAGAIN)
		return;
	if (n <= 0) { /* end of file, or a terminal that hung up: the guest goes on */
		channel_close(&con->in, con->config.loop);
		return;
	}
	if (con->config.escape) {
		size_t len = take_escapes(con, buf, (size_t)n);

		memcpy(con->held + con->n_held, buf, len);
		con->n_held += len;
		deliver_held(con);
	} else {
		con->port.receive(con->port.dev, buf, (size_t)n);
	}
	/* What cannot be polled is asked again while there is room, or after console_rx_ready(). */
	if (con->in.direct && in_room(con))
		loop_post(con->config.loop, &con->in_task);
}

static void in_task(struct loop_task *task)
{
	pump_input(container_of(task, struct console, in_task));
}

static void in_ready(struct loop_source *source, uint32_t events)
{
	(void)events; /* after LOOP_HUP the read tells: first the rest, then end of file */
	pump_input(container_of(source, struct console, in.source));
}

void console_rx_ready(struct console *con)
{
	bool post;

	pthread_mutex_lock(&con->lock);
	post = con->starved;
	con->starved = false;
	pthread_mutex_unlock(&con->lock);
	if (post)
		loop_post(con->config.loop, &con->in_task);
}

void console_attach(struct console *con, const struct console_port *port)
{
	con->port = *port;
	loop_post(con->config.loop, &con->in_task);
}

/*
 * Life.
 */

int console_create(struct console **out, const struct console_config *config, struct err *err)
{
	struct console *con = calloc(1, sizeof(*con));

	if (con) {
		con->ring = malloc(RING_SIZE);
		con->held = config->escape ? malloc(HELD_SIZE) : NULL;
	}
	if (!con || !con->ring || (config->escape && !con->held)) {
		if (con) {
			free(con->ring);
			free(con->held);
		}
		free(con);
		return err_set(err, -ENOMEM, "console: out of memory");
	}
	con->config = *config;
	pthread_mutex_init(&con->lock, NULL);
	con->out_task.run = out_task;
	con->in_task.run = in_task;
	channel_init(&con->in, config->in_fd, O_RDONLY, LOOP_IN, in_ready);
	channel_init(&con->out, config->out_fd, O_WRONLY, LOOP_OUT, out_ready);
	con->gone = con->out.closed;
	*out = con;
	return 0;
}

void console_destroy(struct console *con)
{
	uint64_t deadline;
	ssize_t n;

	if (!con)
		return;
	deadline = host_ns() + STALL_MS * NS_PER_MS;
	con->refused = false; /* the port may be gone already */
	while ((n = flush_some(con)) != 0) {
		uint64_t now = host_ns();

		if (n > 0)
			deadline = now + STALL_MS * NS_PER_MS;
		else if (n != -EAGAIN || now >= deadline)
			break;
		else
			channel_ready(&con->out, (int)((deadline - now) / NS_PER_MS) + 1);
	}
	channel_close(&con->in, con->config.loop);
	channel_close(&con->out, con->config.loop);
	pthread_mutex_destroy(&con->lock);
	free(con->ring);
	free(con->held);
	free(con);
}

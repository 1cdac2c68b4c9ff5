/* SPDX-License-Identifier: MIT */
/*
 * The host side of a serial console: a UART's bytes to and from two file descriptors of the host.
 *
 * Output goes through a ring: a vCPU thread only appends, the control loop writes, so that a slow
 * terminal never stops a vCPU inside a store; when the ring is full the UART shows its transmit
 * FIFO as full. Input is read only while the UART has room, so that nothing piped in is lost. (With
 * escapes some is read ahead and kept, so that Ctrl-A works while the guest does not read.)
 *
 * The descriptors' flags stay as they are: they are shared with others. The end of the input, or a
 * reader of the output that is gone (the process must ignore SIGPIPE), does not disturb the guest.
 *
 * Threads: console_put and console_rx_ready from vCPU threads; everything else, and the callbacks,
 * on the control loop's thread.
 */
#ifndef HAKO_HOST_CONSOLE_H
#define HAKO_HOST_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console;
struct err;
struct loop;
struct mark;

/* The UART above. */
struct console_port {
	/* Bytes that receive() can take now. Loop thread. */
	size_t (*room)(void *dev);
	void (*receive)(void *dev, const uint8_t *data, size_t len);
	/* Output ring has room again after console_put() refused a byte. */
	void (*writable)(void *dev);
	void *dev;
};

struct console_config {
	struct loop *loop;
	int in_fd, out_fd; /* -1: none; may be equal. Not closed by the console. */
	bool escape;       /* the key after Ctrl-A is for key(), and not for the UART */
	void (*key)(void *arg, char key); /* the key after Ctrl-A, but for Ctrl-A itself */
	void *arg;
	struct mark *first; /* of the first byte out; or NULL */
};

int console_create(struct console **con, const struct console_config *config, struct err *err);
/*
 * Writes out what is left (giving up when the reader is gone or takes nothing for a second), then
 * frees. The loop has stopped and is not run again. Does not call the port.
 */
void console_destroy(struct console *con);
void console_attach(struct console *con, const struct console_port *port);

/* Append a byte; false when the ring is full. */
bool console_put(struct console *con, uint8_t byte);
/* The UART has room for input again. */
void console_rx_ready(struct console *con);

#endif

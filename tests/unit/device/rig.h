/* SPDX-License-Identifier: MIT */
/*
 * What tests of devices share: a bus, the machine's clock, a loop of which turns are taken by hand,
 * so that each test knows what has happened, and an interrupt line whose level the test sees. For
 * UARTs there is a console on pipes.
 */
#ifndef HAKO_TESTS_UNIT_DEVICE_RIG_H
#define HAKO_TESTS_UNIT_DEVICE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/irq.h"

struct rig {
	struct loop *loop;
	struct clock *clock;
	struct bus *bus;
	unsigned pin;
	bool irq;         /* the line's level. That it is set to what it is already is a failure */
	unsigned changes; /* of it */

	/* rig_init_console() */
	struct console *con;
	int in[2], out[2]; /* the console has in[0] and out[1] */
};

void rig_init(struct rig *rig);
void rig_init_console(struct rig *rig);
/* The device's line, whose pin has that number. There is one. */
struct irq_line rig_irq(struct rig *rig, unsigned pin);
/* The console first, which writes what is left, then the device, which is destroyed in between. */
void rig_fini_console(struct rig *rig);
void rig_fini(struct rig *rig);

void rig_turns(struct rig *rig, unsigned n);
/* Run the loop until the line is up, at most for `ms`. */
void rig_run_ms(struct rig *rig, unsigned ms);

/* Somebody types; the guest has printed this and no more. */
void rig_type(struct rig *rig, const char *text);
void rig_expect(struct rig *rig, const char *text);
/* Byte n of a stream in which it is seen when one is lost or doubled. */
uint8_t rig_stream(size_t n);
/* The reader, which had stopped, goes on: there are so many bytes of the stream. */
void rig_read_stream(struct rig *rig, size_t n);
/*
 * All at once: somebody pipes the stream in, a guest on its own thread echoes RIG_ECHO_BYTES of it,
 * somebody else reads slowly. A wake-up lost anywhere hangs it. The guest returns NULL, or what was
 * wrong.
 */
enum { RIG_ECHO_BYTES = 120000 };
void rig_echo(struct rig *rig, void *(*guest)(void *arg), void *arg);

/* For accesses that nobody would make: the same numbers each time. */
uint64_t rig_random(uint64_t *seed);
/* Neither end of the console waits for the other. */
void rig_nonblocking(struct rig *rig);
/* By the number: somebody types, reads, or the loop has a turn; false: none of these. */
bool rig_random_host(struct rig *rig, uint64_t random);

#endif

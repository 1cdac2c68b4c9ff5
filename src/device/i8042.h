/* SPDX-License-Identifier: MIT */
/*
 * The PC's keyboard controller (Intel 8042, as the IBM PC/AT has it) with nothing plugged in: ports
 * 0x60 and 0x64. What it is there for is its output pin that resets the machine. Drivers that look
 * for it get the answers of a controller that works.
 *
 * Threads: vCPU threads; one mutex inside.
 */
#ifndef HAKO_DEVICE_I8042_H
#define HAKO_DEVICE_I8042_H

struct bus;
struct err;
struct i8042;

struct i8042_config {
	struct bus *bus; /* of ports */
	/* On the vCPU's thread, inside its OUT: the machine shall be reset. */
	void (*reset)(void *arg);
	void *arg;
};

int i8042_create(struct i8042 **kbc, const struct i8042_config *config, struct err *err);
void i8042_destroy(struct i8042 *kbc);
void i8042_reset(struct i8042 *kbc);

#endif

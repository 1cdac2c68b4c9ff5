/* SPDX-License-Identifier: MIT */
/*
 * Keyboard controller. Registers, commands and answers are those of the IBM PC/AT Technical
 * Reference (1984), "Keyboard Controller", and for the second port of IBM's PS/2 Hardware Interface
 * Technical Reference, "Keyboard and Auxiliary Device Controller".
 *
 * It gives no interrupts: nothing that is plugged in ever sends, and the answers to commands are
 * there at once.
 */
#include "device/i8042.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "bus/bus.h"

enum {
	DATA = 0x60,
	COMMAND = 0x64, /* read: status */

	/* Status */
	OUTPUT_FULL = 1 << 0,
	SYSTEM = 1 << 2, /* the self-test was passed */
	LAST_WAS_COMMAND = 1 << 3,
	NOT_LOCKED = 1 << 4,
	TIMEOUT = 1 << 6, /* the device did not answer */

	/* Commands */
	READ_MODE = 0x20,
	WRITE_MODE = 0x60,
	AUX_DISABLE = 0xa7,
	AUX_ENABLE = 0xa8,
	AUX_TEST = 0xa9,
	SELF_TEST = 0xaa,
	KBD_TEST = 0xab,
	KBD_DISABLE = 0xad,
	KBD_ENABLE = 0xae,
	READ_INPUT = 0xc0,
	READ_OUTPUT = 0xd0,
	WRITE_OUTPUT = 0xd1,
	WRITE_KBD_OUTPUT = 0xd2,
	PULSE = 0xf0, /* of output bits 3:0: those that are 0 in bits 3:0 */

	SELF_TEST_PASSED = 0x55,
	KBD_TEST_PASSED = 0,
	AUX_TEST_FAILED = 0xff, /* there is no such port */
	NO_ANSWER = 0xfe,

	/* The mode ("command byte") */
	MODE_SYSTEM = 1 << 2,
	MODE_KBD_DISABLED = 1 << 4,
	MODE_AUX_DISABLED = 1 << 5,
	MODE_START = MODE_SYSTEM | MODE_AUX_DISABLED,

	/* The output port */
	OUT_NO_RESET = 1 << 0, /* 0 resets */
	OUT_A20 = 1 << 1,
};

struct i8042_state {
	uint8_t mode, output, data;
	uint8_t command; /* whose parameter comes at DATA, 0: none */
	bool full, last_was_command, timeout;
};

struct i8042 {
	pthread_mutex_t lock; /* guards the state */
	struct i8042_state s;

	struct i8042_config config;
	struct bus_region data, command;
};

static const struct i8042_state start = {
	.mode = MODE_START,
	.output = OUT_NO_RESET | OUT_A20,
};

static void answer(struct i8042_state *s, uint8_t data)
{
	s->data = data;
	s->full = true;
	s->timeout = false;
}

/* Commands and data; with the lock. True: the machine shall be reset. */
static bool command(struct i8042_state *s, uint8_t val)
{
	s->last_was_command = true;
	s->command = 0;
	switch (val) {
	case READ_MODE: answer(s, s->mode); break;
	case AUX_DISABLE: s->mode |= MODE_AUX_DISABLED; break;
	case AUX_ENABLE: break; /* no such port: it stays disabled, and so a driver sees it */
	case AUX_TEST: answer(s, AUX_TEST_FAILED); break;
	case SELF_TEST:
		s->mode = MODE_START;
		answer(s, SELF_TEST_PASSED);
		break;
	case KBD_TEST: answer(s, KBD_TEST_PASSED); break;
	case KBD_DISABLE: s->mode |= MODE_KBD_DISABLED; break;
	case KBD_ENABLE: s->mode &= (uint8_t)~MODE_KBD_DISABLED; break;
	case READ_INPUT: answer(s, 0); break;
	case READ_OUTPUT: answer(s, s->output); break;
	case WRITE_MODE:
	case WRITE_OUTPUT:
	case WRITE_KBD_OUTPUT: s->command = val; break;
	default: return val >= PULSE && !(val & OUT_NO_RESET);
	}
	return false;
}

static bool data(struct i8042_state *s, uint8_t val)
{
	uint8_t of = s->command;

	s->last_was_command = false;
	s->command = 0;
	switch (of) {
	case WRITE_MODE: s->mode = val | MODE_AUX_DISABLED; break;
	case WRITE_OUTPUT: s->output = val; return !(val & OUT_NO_RESET);
	case WRITE_KBD_OUTPUT: answer(s, val); break;
	default: /* for the keyboard, which is not there */ answer(s, NO_ANSWER); s->timeout = true;
	}
	return false;
}

static uint64_t i8042_data_read(void *dev, uint64_t off, unsigned size)
{
	struct i8042 *kbc = dev;
	uint64_t val;

	(void)off;
	(void)size; /* 1 */
	pthread_mutex_lock(&kbc->lock);
	val = kbc->s.data;
	kbc->s.full = false;
	kbc->s.timeout = false;
	pthread_mutex_unlock(&kbc->lock);
	return val;
}

static uint64_t i8042_status_read(void *dev, uint64_t off, unsigned size)
{
	struct i8042 *kbc = dev;
	const struct i8042_state *s = &kbc->s;
	uint64_t val;

	(void)off;
	(void)size;
	pthread_mutex_lock(&kbc->lock);
	val = NOT_LOCKED | (s->mode & MODE_SYSTEM ? SYSTEM : 0) | (s->full ? OUTPUT_FULL : 0) |
	      (s->last_was_command ? LAST_WAS_COMMAND : 0) | (s->timeout ? TIMEOUT : 0);
	pthread_mutex_unlock(&kbc->lock);
	return val;
}

static void written(struct i8042 *kbc, bool (*port)(struct i8042_state *, uint8_t), uint64_t val)
{
	bool reset;

	pthread_mutex_lock(&kbc->lock);
	reset = port(&kbc->s, (uint8_t)val);
	pthread_mutex_unlock(&kbc->lock);
	if (reset)
		kbc->config.reset(kbc->config.arg);
}

static void i8042_data_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	(void)off;
	(void)size;
	written(dev, data, val);
}

static void i8042_command_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	(void)off;
	(void)size;
	written(dev, command, val);
}

static const struct bus_ops data_ops = { i8042_data_read, i8042_data_write };
static const struct bus_ops command_ops = { i8042_status_read, i8042_command_write };

void i8042_reset(struct i8042 *kbc)
{
	pthread_mutex_lock(&kbc->lock);
	kbc->s = start;
	pthread_mutex_unlock(&kbc->lock);
}

static struct bus_region port(struct i8042 *kbc, uint64_t base, const struct bus_ops *ops)
{
	return (struct bus_region){
		.name = "keyboard controller",
		.base = base,
		.size = 1,
		.min_access = 1,
		.max_access = 1,
		.ops = ops,
		.dev = kbc,
	};
}

int i8042_create(struct i8042 **out, const struct i8042_config *config, struct err *err)
{
	struct i8042 *kbc = calloc(1, sizeof(*kbc));
	int ret;

	if (!kbc)
		return err_set(err, -ENOMEM, "keyboard controller: out of memory");
	pthread_mutex_init(&kbc->lock, NULL);
	kbc->s = start;
	kbc->config = *config;
	kbc->data = port(kbc, DATA, &data_ops);
	kbc->command = port(kbc, COMMAND, &command_ops);
	ret = bus_add(config->bus, &kbc->data, err);
	if (!ret) {
		ret = bus_add(config->bus, &kbc->command, err);
		if (ret)
			bus_del(config->bus, &kbc->data);
	}
	if (ret) {
		pthread_mutex_destroy(&kbc->lock);
		free(kbc);
		return ret;
	}
	*out = kbc;
	return 0;
}

void i8042_destroy(struct i8042 *kbc)
{
	if (!kbc)
		return;
	bus_del(kbc->config.bus, &kbc->data);
	bus_del(kbc->config.bus, &kbc->command);
	pthread_mutex_destroy(&kbc->lock);
	free(kbc);
}

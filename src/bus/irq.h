/* SPDX-License-Identifier: MIT */
/*
 * An interrupt line: what a device holds to raise an interrupt, without knowing the controller.
 *
 * Threads: irq_set may be called from any thread; the chip locks itself. Level-sensitive: the line
 * stays where it was put.
 */
#ifndef HAKO_BUS_IRQ_H
#define HAKO_BUS_IRQ_H

#include <stdbool.h>

struct irq_ops {
	void (*set)(void *chip, unsigned pin, bool level);
};

struct irq_line {
	const struct irq_ops *ops; /* NULL: not connected */
	void *chip;
	unsigned pin;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
	if (line->ops)
		line->ops->set(line->chip, line->pin, level);
}

#endif

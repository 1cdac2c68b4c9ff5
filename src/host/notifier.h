/* SPDX-License-Identifier: MIT */
/*
 * A wake-up that one thread sends and a loop (or KVM) receives: an eventfd on Linux, a pipe
 * elsewhere, hence two descriptors, which may be equal. Setting it twice before it is seen is seen
 * once.
 */
#ifndef HAKO_HOST_NOTIFIER_H
#define HAKO_HOST_NOTIFIER_H

#include <stdint.h>

#include "host/loop.h"

struct err;

struct notifier {
	int rfd, wfd;
};

int notifier_init(struct notifier *n, struct err *err);
/* On one that is not there, its descriptors -1, it does nothing. */
void notifier_fini(struct notifier *n);
/* Make one whose receiver is a loop: it calls ready(source), who clears it. */
int notifier_watch(struct notifier *n, struct loop *loop, struct loop_source *source,
		   void (*ready)(struct loop_source *source, uint32_t events), struct err *err);
/* Any thread, also from a signal handler. */
void notifier_set(struct notifier *n);
/* The receiver: take the wake-up back; how often was it set? */
uint64_t notifier_clear(struct notifier *n);

#endif

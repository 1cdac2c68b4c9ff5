/* SPDX-License-Identifier: MIT */
/*
 * Random bytes of the host, as seeds for a guest's own generators.
 */
#ifndef HAKO_BOOT_RANDOM_H
#define HAKO_BOOT_RANDOM_H

#include <stddef.h>

struct err;

/* At most 256. */
int random_bytes(void *dst, size_t len, struct err *err);

#endif

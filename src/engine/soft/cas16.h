/* SPDX-License-Identifier: MIT */
/*
 * Compare and swap of 16 aligned bytes: cas16.c where the host's CPU has it, else cas16_lock.c.
 */
#ifndef HAKO_ENGINE_SOFT_CAS16_H
#define HAKO_ENGINE_SOFT_CAS16_H

#include <stdbool.h>
#include <stdint.h>

struct engine;

/* If *p is old, store new; otherwise tell in old what it is. Sequentially consistent. Any vCPU. */
bool soft_compare_swap16(struct engine *engine, void *p, uint64_t old[2], const uint64_t new[2]);

#endif

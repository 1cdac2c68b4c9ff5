/* SPDX-License-Identifier: MIT */
/*
 * What a fuzz target is: one function that takes any bytes and must come back. libFuzzer calls it;
 * so does replay.c, over the seeds, in an ordinary test run.
 */
#ifndef HAKO_FUZZ_FUZZ_H
#define HAKO_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A finding: what must hold whatever the input. */
#define fuzz_check(cond)                                                                   \
	do {                                                                               \
		if (!(cond)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                           \
		}                                                                          \
	} while (0)

/* The input, eaten from the front; zeros once it has ended. */
struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint64_t input_take(struct input *in, unsigned bytes)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
		val |= (uint64_t)*in->at++ << (8 * i);
	return val;
}

#endif

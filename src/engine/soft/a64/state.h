/* SPDX-License-Identifier: MIT */
/*
 * struct a64_cpu. Include cpu.h instead.
 */
#ifndef HAKO_ENGINE_SOFT_A64_STATE_H
#define HAKO_ENGINE_SOFT_A64_STATE_H

#include <stdint.h>

struct a64_cpu {
	uint64_t x[A64_N_SLOTS];
	/* N is bit 63 of nf, Z is zf == 0, C and V are 0 or 1. */
	uint64_t nf, zf;
	uint32_t cf, vf;

	uint32_t fpcr; /* only the fields of A64_FPCR_* can be set */
	uint32_t fpsr; /* cumulative flags; NZCV of AArch32 are RES0 */
	union a64_vreg v[32];
};

#endif

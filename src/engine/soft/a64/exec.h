/* SPDX-License-Identifier: MIT */
/*
 * One function per line of the instruction tables: execute the instruction word `w`.
 *
 * The decoder has already matched the line, its fixed bits and its condition. FP and SIMD access
 * traps (CPACR_EL1.FPEN) have been checked for lines with @fp. The PC is advanced by the caller.
 */
#ifndef HAKO_ENGINE_SOFT_A64_EXEC_H
#define HAKO_ENGINE_SOFT_A64_EXEC_H

#include <stdint.h>

#include "a64_decode.h"
#include "engine/soft/a64/cpu.h"

#define X(name, attributes) void a64_exec_##name(struct a64_cpu *c, uint32_t w);
a64_INSNS(X)
#undef X

#endif

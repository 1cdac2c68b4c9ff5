/* SPDX-License-Identifier: MIT */
/*
 * Compressed instructions: a 16-bit one as the 32-bit one that it abbreviates.
 */
#ifndef HAKO_ENGINE_SOFT_RV_RVC_H
#define HAKO_ENGINE_SOFT_RV_RVC_H

#include <stdbool.h>
#include <stdint.h>

/* 0, which is no instruction, for what is reserved or not there in RV32 (RV64). */
uint32_t rvc_expand(uint16_t c, bool rv64);

#endif

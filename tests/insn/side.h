/* SPDX-License-Identifier: MIT */
/*
 * hako's side of the comparison: run a record on the software CPU.
 */
#ifndef HAKO_TESTS_INSN_SIDE_H
#define HAKO_TESTS_INSN_SIDE_H

#include "record.h"

struct side;

struct side *side_create(void);
void side_destroy(struct side *side);
void side_run(struct side *side, const struct insn_record *rec, struct insn_result *result);
/* The scratch memory after the last record. */
const uint8_t *side_scratch(const struct side *side);
#endif

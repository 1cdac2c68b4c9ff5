/* SPDX-License-Identifier: MIT */
/*
 * A watch that keeps what it is told, for tests of the software CPUs; mem/gmem.h.
 */
#ifndef HAKO_TESTS_TOLD_H
#define HAKO_TESTS_TOLD_H

#include "base/bits.h"
#include "mem/gmem.h"

struct told {
	struct gmem_watch watch;
	unsigned n;
	struct gmem_store of[4];
};

static inline void tell(struct gmem_watch *watch, const struct gmem_store *store)
{
	struct told *t = container_of(watch, struct told, watch);

	assert_true(t->n < ARRAY_SIZE(t->of));
	t->of[t->n++] = *store;
}

/* Two stores to what is watched, and what is between them: does it keep them apart? */
struct between {
	uint32_t insn;
	bool apart;
};

static inline void check_apart(const struct told *t, const struct between *b)
{
	if ((t->of[0].fences != t->of[1].fences) != b->apart)
		fail_msg("0x%08x %s counted", b->insn, b->apart ? "is not" : "is");
}

#endif

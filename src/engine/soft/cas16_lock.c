/* SPDX-License-Identifier: MIT */
/*
 * Compare and swap of 16 bytes on hosts without (RISC-V), half by half.
 *
 * A lock keeps such accesses apart from each other, which is all that guests use them with. No
 * store to one half is ever lost, since each half is swapped atomically; but who reads both halves
 * by other instructions while they are swapped may see the new one of the first and the old one of
 * the second.
 */
#include "engine/soft/access.h"
#include "engine/soft/cas16.h"
#include "engine/soft/soft.h"

bool soft_compare_swap16(struct engine *e, void *p, uint64_t old[2], const uint64_t new[2])
{
	uint64_t *half = p, was[2] = { old[0], old[1] };
	bool ok;

	pthread_mutex_lock(&e->pair_lock);
	ok = soft_compare_swap(&half[0], 8, &was[0], new[0]);
	if (!ok) {
		was[1] = soft_atomic_load(&half[1], 8);
	} else if (!soft_compare_swap(&half[1], 8, &was[1], new[1])) {
		uint64_t mine = new[0];

		/* If somebody has changed it meanwhile, then after the swap that did not happen. */
		soft_compare_swap(&half[0], 8, &mine, old[0]);
		ok = false;
	}
	pthread_mutex_unlock(&e->pair_lock);
	if (!ok) {
		old[0] = was[0];
		old[1] = was[1];
	}
	return ok;
}

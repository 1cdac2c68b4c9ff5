/* SPDX-License-Identifier: MIT */
/*
 * Compare and swap of 16 bytes, by one instruction of the host's.
 */
#include "engine/soft/cas16.h"

__extension__ typedef unsigned __int128 u128;

bool soft_compare_swap16(struct engine *engine, void *p, uint64_t old[2], const uint64_t new[2])
{
	u128 o = (u128)old[1] << 64 | old[0], n = (u128) new[1] << 64 | new[0];
	u128 was = __sync_val_compare_and_swap((u128 *)p, o, n);

	(void)engine;
	old[0] = (uint64_t)was;
	old[1] = (uint64_t)(was >> 64);
	return was == o;
}

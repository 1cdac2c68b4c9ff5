/* SPDX-License-Identifier: MIT */
/*
 * Translation tables of the micro-benchmarks (DDI0487 D8.3). Runs with the MMU off, so addresses
 * of variables are physical here, and built so that nothing is accessed unaligned.
 */
#include "micro.h"

#define ENTRIES 512
#define TABLE   3 /* a table at levels 1 and 2, a page at level 3 */
#define BLOCK   1
#define NORMAL  (1 << 2 | 3 << 8) /* attribute 1, inner shareable */
#define AF      (1 << 10)
#define NG      (1 << 11)
#define RO_EL0  (3 << 6)
#define PXN     (1ULL << 53)
#define UXN     (1ULL << 54)

typedef uint64_t table[ENTRIES] __attribute__((aligned(4096)));

static table root[2], image, pages, pages3[PAGES_SIZE >> 21], switched[2], switched3[2], user,
	user3;
uint64_t switched_ttbr[2];

static uint64_t to(table t)
{
	return (uint64_t)t | TABLE;
}

uint64_t mmu_tables(uint64_t base)
{
	for (int i = 0; i < 8; i++)
		image[i] = (base + ((uint64_t)i << 21)) | BLOCK | NORMAL | AF | UXN;
	for (int i = 0; i < PAGES_SIZE >> 21; i++) {
		pages[i] = to(pages3[i]);
		for (int j = 0; j < ENTRIES; j++)
			pages3[i][j] = (PAGES_RAM + ((uint64_t)i << 21) + ((uint64_t)j << 12)) |
				       TABLE | NORMAL | AF | UXN | PXN;
	}
	user[0] = to(user3);
	user3[0] = ((uint64_t)user_code & ~4095ULL) | TABLE | NORMAL | AF | NG | RO_EL0 | PXN;
	for (int i = 0; i < 2; i++) {
		root[i][0] = BLOCK | AF | UXN | PXN;
		root[i][1] = 0x40000000 | BLOCK | NORMAL | AF | UXN;
		root[i][2] = to(image);
		root[i][PAGES >> 30] = to(pages);
		root[i][SWITCHED >> 30] = to(switched[i]);
		root[i][USER_CODE >> 30] = to(user);
		switched[i][0] = to(switched3[i]);
		for (uint64_t j = 0; j < 16; j++)
			switched3[i][j] = (SWITCHED_RAM + (j << 13) + ((uint64_t)i << 12)) | TABLE |
					  NORMAL | AF | NG | UXN | PXN;
		switched_ttbr[i] = (uint64_t)root[i] | (uint64_t)(i + 1) << 48;
	}
	return switched_ttbr[0];
}

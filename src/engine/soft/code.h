/* SPDX-License-Identifier: MIT */
/*
 * Decoded instructions, by guest physical page.
 *
 * An op is a handler's number and its operands in 8 bytes; a page is an array of them, one for each
 * place where an instruction may begin, plus one behind the end that goes on with the next virtual
 * page. An op of all zeros means "not decoded yet", so a fresh or invalidated page costs nothing
 * until it runs. Ops know nothing of virtual addresses: every mapping of a page shares them.
 *
 * Each vCPU has its own cache, so running needs no lock. The page flag GMEM_PAGE_CODE tells writers
 * that somebody may hold decoded instructions; see soft.h for how writes reach every vCPU.
 */
#ifndef HAKO_ENGINE_SOFT_CODE_H
#define HAKO_ENGINE_SOFT_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"

/* What an op means belongs to the guest architecture; handler 0 decodes, whatever it is. */
struct op {
	uint16_t handler;
	uint8_t rd, rn;
	union {
		int32_t imm;
		uint32_t word; /* the instruction itself, for what is executed from its word */
		struct {
			uint8_t rm, ra;
			int16_t simm;
		};
	};
};
_Static_assert(sizeof(struct op) == 8, "an op is 8 bytes");

enum { CODE_HASH_SLOTS = 4096 };
#define CODE_CACHE_BYTES (16u << 20) /* at most; committed as it is used */

struct code_page {
	gpa_t gpa;
	uint8_t *host;   /* the page's bytes */
	bool live;       /* flagged GMEM_PAGE_CODE for us; else nothing is decoded */
	struct op ops[]; /* code_cache.page_ops of them, and one behind the end */
};

struct code_cache {
	char *pages; /* code_page after code_page, each `stride` bytes */
	size_t stride;
	unsigned used, max;   /* pages */
	unsigned page_ops;    /* places in a page where an instruction may begin, a power of two */
	uint16_t end_handler; /* the op behind the end of each page */
	uint16_t hash[CODE_HASH_SLOTS]; /* by page number, open addressing; index + 1, or 0 */
};

struct err;

int code_init(struct code_cache *cc, unsigned page_ops, uint16_t end_handler, struct err *err);
void code_fini(struct code_cache *cc);

/* The page's ops if it is in the cache. */
struct code_page *code_find(struct code_cache *cc, gpa_t gpa);
/* The same, adding it; NULL when the cache is full: flush it (and every pointer into it) first. */
struct code_page *code_add(struct code_cache *cc, gpa_t gpa, uint8_t *host);
void code_flush(struct code_cache *cc);
/* Bytes were written: forget the instructions decoded from them. */
void code_invalidate(struct code_cache *cc, gpa_t gpa, size_t len);

#endif

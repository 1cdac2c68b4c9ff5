/* SPDX-License-Identifier: MIT */
/*
 * The cache of decoded instructions.
 */
#include "engine/soft/code.h"

#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "host/file.h"

static const size_t pool_size = sizeof(struct code_page) * CODE_CACHE_PAGES;

int code_init(struct code_cache *cc, uint16_t end_handler, struct err *err)
{
	memset(cc, 0, sizeof(*cc));
	cc->end_handler = end_handler;
	cc->pages = host_map(pool_size, err);
	if (!cc->pages)
		return err->code;
	/* Pages come into use one by one: huge pages would commit what is never used. */
	madvise(cc->pages, pool_size, MADV_NOHUGEPAGE);
	return 0;
}

void code_fini(struct code_cache *cc)
{
	if (cc->pages)
		host_unmap(cc->pages, pool_size);
	cc->pages = NULL;
}

static unsigned hash_of(gpa_t gpa)
{
	return (unsigned)((gpa >> GMEM_PAGE_SHIFT) * 0x9e3779b97f4a7c15ULL >> 52) % CODE_HASH_SLOTS;
}

struct code_page *code_find(struct code_cache *cc, gpa_t gpa)
{
	for (unsigned i = hash_of(gpa); cc->hash[i]; i = (i + 1) % CODE_HASH_SLOTS) {
		struct code_page *p = &cc->pages[cc->hash[i] - 1];
		if (p->gpa == gpa)
			return p;
	}
	return NULL;
}

struct code_page *code_add(struct code_cache *cc, gpa_t gpa, uint8_t *host)
{
	if (cc->used == CODE_CACHE_PAGES)
		return NULL;
	struct code_page *p = &cc->pages[cc->used++];
	p->gpa = gpa;
	p->host = host;
	p->ops[CODE_PAGE_OPS].handler = cc->end_handler;
	unsigned i = hash_of(gpa);
	while (cc->hash[i])
		i = (i + 1) % CODE_HASH_SLOTS;
	cc->hash[i] = (uint16_t)cc->used;
	return p;
}

void code_flush(struct code_cache *cc)
{
	/* Give the memory back: it returns as zeros, that is, not decoded. */
	madvise(cc->pages, sizeof(struct code_page) * cc->used, MADV_DONTNEED);
	memset(cc->hash, 0, sizeof(cc->hash));
	cc->used = 0;
}

void code_invalidate(struct code_cache *cc, gpa_t gpa, size_t len)
{
	while (len) {
		size_t off = gpa % GMEM_PAGE_SIZE;
		size_t n = len < GMEM_PAGE_SIZE - off ? len : GMEM_PAGE_SIZE - off;
		struct code_page *p = code_find(cc, gpa - off);
		if (p) {
			/* One op more in front: an op may cover its successor too. */
			size_t first = off / 4 ? off / 4 - 1 : 0;
			size_t last = (off + n - 1) / 4;
			memset(&p->ops[first], 0, (last - first + 1) * sizeof(struct op));
		}
		gpa += n;
		len -= n;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * The cache of decoded instructions.
 */
#include "engine/soft/code.h"

#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "host/file.h"

int code_init(struct code_cache *cc, unsigned page_ops, uint16_t end_handler, struct err *err)
{
	memset(cc, 0, sizeof(*cc));
	cc->page_ops = page_ops;
	cc->end_handler = end_handler;
	cc->stride = sizeof(struct code_page) + (page_ops + 1) * sizeof(struct op);
	cc->max = (unsigned)(CODE_CACHE_BYTES / cc->stride);
	cc->pages = host_map(CODE_CACHE_BYTES, err);
	if (!cc->pages)
		return err->code;
	/* Pages come into use one by one: huge pages would commit what is never used. */
	madvise(cc->pages, CODE_CACHE_BYTES, MADV_NOHUGEPAGE);
	return 0;
}

void code_fini(struct code_cache *cc)
{
	if (cc->pages)
		host_unmap(cc->pages, CODE_CACHE_BYTES);
	cc->pages = NULL;
}

static struct code_page *page_at(const struct code_cache *cc, unsigned i)
{
	return (struct code_page *)(void *)(cc->pages + i * cc->stride);
}

static unsigned hash_of(gpa_t gpa)
{
	return (unsigned)((gpa >> GMEM_PAGE_SHIFT) * 0x9e3779b97f4a7c15ULL >> 52) % CODE_HASH_SLOTS;
}

struct code_page *code_find(struct code_cache *cc, gpa_t gpa)
{
	for (unsigned i = hash_of(gpa); cc->hash[i]; i = (i + 1) % CODE_HASH_SLOTS) {
		struct code_page *p = page_at(cc, cc->hash[i] - 1u);
		if (p->gpa == gpa)
			return p;
	}
	return NULL;
}

struct code_page *code_add(struct code_cache *cc, gpa_t gpa, uint8_t *host)
{
	if (cc->used == cc->max)
		return NULL;
	struct code_page *p = page_at(cc, cc->used++);
	p->gpa = gpa;
	p->host = host;
	p->ops[cc->page_ops].handler = cc->end_handler;
	unsigned i = hash_of(gpa);
	while (cc->hash[i])
		i = (i + 1) % CODE_HASH_SLOTS;
	cc->hash[i] = (uint16_t)cc->used;
	return p;
}

void code_flush(struct code_cache *cc)
{
	/* Give the memory back: it returns as zeros, that is, not decoded. */
	madvise(cc->pages, cc->stride * cc->used, MADV_DONTNEED);
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
			/* One op more in front: an instruction may begin a place before. */
			size_t size = GMEM_PAGE_SIZE / cc->page_ops;
			size_t first = off / size ? off / size - 1 : 0;
			size_t last = (off + n - 1) / size;
			memset(&p->ops[first], 0, (last - first + 1) * sizeof(struct op));
		}
		gpa += n;
		len -= n;
	}
}

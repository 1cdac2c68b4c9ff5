/* SPDX-License-Identifier: MIT */
/*
 * calloc() and free() of large blocks, for a target that makes and drops them with each input
 * (linked with --wrap). The address sanitizer maps and marks each of them anew, which takes it a
 * hundred times longer than most inputs take. Here they stay mapped, with a page at their end that
 * nobody may touch, and are handed out again with zeros in them.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { BIG = 1 << 20, PAGE = 4096, BLOCKS = 16 };

static struct block {
	uint8_t *map; /* NULL: none yet */
	size_t size;  /* without the page at the end */
	void *used;   /* what the caller has; NULL: nobody */
} blocks[BLOCKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void *__real_calloc(size_t n, size_t size);
void __real_free(void *p);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_free(void *p);

static void *take(struct block *b, size_t bytes)
{
	size_t size = (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);

	if (!b->map) {
		b->map = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (b->map == MAP_FAILED || mprotect(b->map + size, PAGE, PROT_NONE) < 0)
			abort();
		b->size = size;
	}
	b->used = b->map + (size - bytes); /* its end is the block's */
	return b->used;
}

void *__wrap_calloc(size_t n, size_t size)
{
	size_t bytes = n * size;
	void *p = NULL;

	if (n > SIZE_MAX / (size ? size : 1) || bytes < BIG || bytes % 16)
		return __real_calloc(n, size);
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < BLOCKS && !p; i++)
		if (!blocks[i].used && blocks[i].size - bytes < PAGE)
			p = take(&blocks[i], bytes);
	for (unsigned i = 0; i < BLOCKS && !p; i++)
		if (!blocks[i].map)
			p = take(&blocks[i], bytes);
	pthread_mutex_unlock(&lock);
	return p ? p : __real_calloc(n, size);
}

void __wrap_free(void *p)
{
	struct block *b = NULL;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < BLOCKS && p && !b; i++)
		if (blocks[i].used == p)
			b = &blocks[i];
	if (b) {
		madvise(b->map, b->size, MADV_DONTNEED);
		b->used = NULL;
	}
	pthread_mutex_unlock(&lock);
	if (!b)
		__real_free(p);
}

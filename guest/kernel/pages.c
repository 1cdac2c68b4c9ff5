/* SPDX-License-Identifier: MIT */
/*
 * Physical memory, in pages. Free memory is a list of runs of pages; the list lives in the free
 * pages themselves, a struct run at the start of each. The first run that is long enough gives
 * pages from its end, so that it need not move.
 */
#include "kernel.h"

struct run {
	struct run *next;
	size_t n;
};

static struct run *free_runs;

void pages_free(void *start, size_t n)
{
	struct run *run = start;

	if (!n)
		return;
	run->n = n;
	run->next = free_runs;
	free_runs = run;
}

void pages_init(uintptr_t start, uintptr_t end)
{
	start = ALIGN_UP(start, PAGE_SIZE);
	if (end > start)
		pages_free((void *)start, (end - start) / PAGE_SIZE);
}

void *pages_alloc(size_t n)
{
	for (struct run **link = &free_runs; *link; link = &(*link)->next) {
		struct run *run = *link;

		if (run->n < n)
			continue;
		run->n -= n;
		if (!run->n)
			*link = run->next;
		return memset((u8 *)run + run->n * PAGE_SIZE, 0, n * PAGE_SIZE);
	}
	panic("no %zu free pages in a row", n);
}

size_t pages_left(void)
{
	size_t n = 0;

	for (const struct run *run = free_runs; run; run = run->next)
		n += run->n;
	return n;
}

/* SPDX-License-Identifier: MIT */
/*
 * Guest physical memory.
 *
 * A machine has a handful of regions, so finding one is a short linear scan of an array that does
 * not change while anything runs: no locks. All range arithmetic is by offset into a region
 * (gpa - base), which cannot overflow, and never by the end of a range, which can.
 */
#include "mem/gmem.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/file.h"

struct gmem {
	size_t n;
	struct gmem_region regions[GMEM_REGION_MAX]; /* in order of address */
	struct gmem_observer *observers;
	pthread_mutex_t watch_lock; /* of what follows, and while watchers are told */
	struct gmem_watch *watches;
};

int gmem_create(struct gmem **mem, struct err *err)
{
	struct gmem *m = calloc(1, sizeof(*m));

	if (!m)
		return err_set(err, -ENOMEM, "cannot create guest memory: out of memory");
	pthread_mutex_init(&m->watch_lock, NULL);
	*mem = m;
	return 0;
}

void gmem_destroy(struct gmem *mem)
{
	if (!mem)
		return;
	for (size_t i = 0; i < mem->n; i++) {
		if (!mem->regions[i].foreign)
			host_unmap(mem->regions[i].host, (size_t)mem->regions[i].size);
		free((void *)mem->regions[i].flags);
	}
	pthread_mutex_destroy(&mem->watch_lock);
	free(mem);
}

/* Of regions of others: an even address in one has both its bytes there; see field16(). */
enum { GMEM_UNIT = 2 };

/* Where among the regions is the place of a new one? */
static int find_place(const struct gmem *mem, gpa_t base, uint64_t size, unsigned unit,
		      size_t *place, struct err *err)
{
	size_t at = 0;

	/* The last byte, not the end: a region may reach the top of the address space. */
	if (!size || (base | size) % unit || size - 1 > UINT64_MAX - base)
		return err_set(
			err, -EINVAL,
			"cannot place %#llx bytes of guest RAM at %#llx: address and size must "
			"be multiples of %u and fit the address space",
			(unsigned long long)size, (unsigned long long)base, unit);
	if (mem->n == GMEM_REGION_MAX)
		return err_set(err, -ENOSPC,
			       "cannot place guest RAM at %#llx: more than %d regions",
			       (unsigned long long)base, GMEM_REGION_MAX);
	for (size_t i = 0; i < mem->n; i++) {
		const struct gmem_region *o = &mem->regions[i];

		if (ranges_meet(base, size, o->base, o->size))
			return err_set(
				err, -EEXIST,
				"cannot place %#llx bytes of guest RAM at %#llx: they overlap "
				"the %#llx bytes at %#llx",
				(unsigned long long)size, (unsigned long long)base,
				(unsigned long long)o->size, (unsigned long long)o->base);
		if (o->base < base)
			at = i + 1;
	}
	*place = at;
	return 0;
}

static void put_region(struct gmem *mem, size_t at, const struct gmem_region *r)
{
	memmove(&mem->regions[at + 1], &mem->regions[at], (mem->n - at) * sizeof(mem->regions[0]));
	mem->regions[at] = *r;
	mem->n++;
}

int gmem_add_ram(struct gmem *mem, gpa_t base, uint64_t size, struct err *err)
{
	struct gmem_region r = { .base = base, .size = size };
	size_t at = 0;
	int code = find_place(mem, base, size, GMEM_PAGE_SIZE, &at, err);

	if (code)
		return code;
	r.host = host_map((size_t)size, err);
	if (!r.host)
		return -ENOMEM;
	r.flags = calloc((size_t)(size >> GMEM_PAGE_SHIFT), sizeof(*r.flags));
	if (!r.flags) {
		host_unmap(r.host, (size_t)size);
		return err_set(err, -ENOMEM, "cannot place %llu MiB of guest RAM: out of memory",
			       (unsigned long long)(size >> 20));
	}
	put_region(mem, at, &r);
	return 0;
}

int gmem_add_mapped(struct gmem *mem, gpa_t base, uint64_t size, void *host, struct err *err)
{
	const struct gmem_region r = { .base = base, .size = size, .host = host, .foreign = true };
	size_t at = 0;
	int code = find_place(mem, base, size, GMEM_UNIT, &at, err);

	if (!code)
		put_region(mem, at, &r);
	return code;
}

void gmem_remove(struct gmem *mem, gpa_t base)
{
	for (size_t i = 0; i < mem->n; i++) {
		struct gmem_region *r = &mem->regions[i];

		if (r->base != base || !r->foreign)
			continue;
		mem->n--;
		memmove(r, r + 1, (mem->n - i) * sizeof(*r));
		return;
	}
}

/* 0 for a page of zeros: whether the host has given it yet, as reading one may do, is all
 * the same. */
static uint64_t page_sum(const uint8_t *page)
{
	uint64_t sum = 0, v;

	for (size_t i = 0; i < GMEM_PAGE_SIZE; i += sizeof(v)) {
		memcpy(&v, page + i, sizeof(v));
		sum = (sum ^ v) *
		      0x9e3779b97f4a7c15; /* odd, of no pattern: 2^64 / the golden ratio */
		sum ^= sum >> 32;
	}
	return sum;
}

uint64_t gmem_sum(const struct gmem *mem)
{
	enum { AT_ONCE = 4096 /* pages */ };
	unsigned char present[AT_ONCE];
	uint64_t sum = 0;

	for (size_t r = 0; r < mem->n; r++) {
		const struct gmem_region *region = &mem->regions[r];
		for (uint64_t at = 0; at < region->size;) {
			uint64_t left = region->size - at, len = (uint64_t)AT_ONCE * GMEM_PAGE_SIZE;
			len = len < left ? len : left;
			/* Those that the host has not given are not to be taken by looking. */
			if (mincore(region->host + at, (size_t)len, present))
				memset(present, 1, sizeof(present));
			for (uint64_t i = 0; i < len / GMEM_PAGE_SIZE; i++, at += GMEM_PAGE_SIZE)
				if (present[i] & 1)
					sum += page_sum(region->host + at) *
					       (2 * (at + region->base) + 1);
		}
	}
	return sum;
}

void gmem_clear(struct gmem *mem)
{
	for (size_t i = 0; i < mem->n; i++) {
		const struct gmem_region *r = &mem->regions[i];

		host_clear(r->host, (size_t)r->size);
		for (uint64_t page = 0; r->flags && page < r->size >> GMEM_PAGE_SHIFT; page++)
			atomic_store_explicit(&r->flags[page], 0, memory_order_relaxed);
	}
}

size_t gmem_count(const struct gmem *mem)
{
	return mem->n;
}

const struct gmem_region *gmem_region(const struct gmem *mem, size_t i)
{
	return i < mem->n ? &mem->regions[i] : NULL;
}

const struct gmem_region *gmem_find(const struct gmem *mem, gpa_t gpa)
{
	for (size_t i = 0; i < mem->n; i++)
		/* Below the base the difference wraps and is too large: one comparison. */
		if (gpa - mem->regions[i].base < mem->regions[i].size)
			return &mem->regions[i];
	return NULL;
}

/* How many bytes from gpa on, at most len, lie in r, which holds gpa. */
static uint64_t part_in(const struct gmem_region *r, gpa_t gpa, uint64_t len)
{
	uint64_t room = r->size - (gpa - r->base);

	return len < room ? len : room;
}

static uint8_t *host_of(const struct gmem_region *r, gpa_t gpa)
{
	return r->host + (gpa - r->base);
}

/* Is all of a range RAM? It may cross from one region to its neighbour. */
static bool is_ram(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	while (len) {
		const struct gmem_region *r = gmem_find(mem, gpa);
		uint64_t part;

		if (!r)
			return false;
		part = part_in(r, gpa, len);
		len -= part;
		if (len && gpa > UINT64_MAX - part) /* it would go on at address 0 */
			return false;
		gpa += part;
	}
	return true;
}

int gmem_read(struct gmem *mem, gpa_t gpa, void *dst, size_t len)
{
	uint8_t *to = dst;

	if (!is_ram(mem, gpa, len))
		return -EFAULT;
	while (len) {
		const struct gmem_region *r = gmem_find(mem, gpa);
		size_t part = (size_t)part_in(r, gpa, len);

		memcpy(to, host_of(r, gpa), part);
		to += part;
		gpa += part;
		len -= part;
	}
	/* The guest may change the bytes now. The compiler must not read them again in place of the
	 * copy, even if it sees through this function. */
	atomic_signal_fence(memory_order_seq_cst);
	return 0;
}

int gmem_write(struct gmem *mem, gpa_t gpa, const void *src, size_t len)
{
	const uint8_t *from = src;

	if (!is_ram(mem, gpa, len))
		return -EFAULT;
	while (len) {
		const struct gmem_region *r = gmem_find(mem, gpa);
		size_t part = (size_t)part_in(r, gpa, len);

		memcpy(host_of(r, gpa), from, part);
		gmem_written(mem, gpa, part);
		from += part;
		gpa += part;
		len -= part;
	}
	return 0;
}

/* The host's address of an aligned 16-bit field; NULL if it is none. */
static _Atomic uint16_t *field16(struct gmem *mem, gpa_t gpa)
{
	/* Lengths are even, so an even address in a region has both its bytes there. */
	const struct gmem_region *r = gpa % 2 ? NULL : gmem_find(mem, gpa);

	return r ? (_Atomic uint16_t *)(void *)host_of(r, gpa) : NULL;
}

int gmem_load16(struct gmem *mem, gpa_t gpa, uint16_t *val)
{
	_Atomic uint16_t *p = field16(mem, gpa);

	if (!p)
		return -EFAULT;
	*val = le16toh(atomic_load_explicit(p, memory_order_acquire));
	return 0;
}

int gmem_store16(struct gmem *mem, gpa_t gpa, uint16_t val)
{
	_Atomic uint16_t *p = field16(mem, gpa);

	if (!p)
		return -EFAULT;
	atomic_store_explicit(p, htole16(val), memory_order_release);
	gmem_written(mem, gpa, sizeof(val));
	return 0;
}

int gmem_map(struct gmem *mem, gpa_t gpa, size_t len, enum gmem_access access, void **host)
{
	const struct gmem_region *r = gmem_find(mem, gpa);

	(void)access; /* all of RAM may be read and written; gmem_unmap() needs to know which */
	if (!r || !len || part_in(r, gpa, len) < len)
		return -EFAULT;
	*host = host_of(r, gpa);
	return 0;
}

void gmem_unmap(struct gmem *mem, gpa_t gpa, size_t len, enum gmem_access access)
{
	if (access & GMEM_WRITE)
		gmem_written(mem, gpa, len);
}

gpa_t gmem_gpa(const struct gmem *mem, const void *host)
{
	for (size_t i = 0; i < mem->n; i++) {
		const struct gmem_region *r = &mem->regions[i];
		uint64_t off = (uintptr_t)host - (uintptr_t)r->host;

		if (off < r->size)
			return r->base + off;
	}
	return 0;
}

void gmem_observe(struct gmem *mem, struct gmem_observer *obs)
{
	obs->next = mem->observers;
	mem->observers = obs;
}

bool gmem_observed(const struct gmem *mem)
{
	return mem->observers;
}

void gmem_unobserve(struct gmem *mem, struct gmem_observer *obs)
{
	struct gmem_observer **at = &mem->observers;

	while (*at && *at != obs)
		at = &(*at)->next;
	if (*at)
		*at = obs->next;
}

static bool has_code(const struct gmem_region *r, uint64_t page)
{
	return r->flags &&
	       (atomic_load_explicit(&r->flags[page], memory_order_relaxed) & GMEM_PAGE_CODE);
}

void gmem_written(struct gmem *mem, gpa_t gpa, size_t len)
{
	if (!mem->observers)
		return;
	/*
	 * The bytes are stored, the flags are loaded below. A CPU that decodes does it the other
	 * way round: it stores the flag, then loads the bytes. With a full barrier between the two
	 * steps on both sides, at least one of them sees the other's store. (In this form because
	 * gcc refuses the C11 fence under the thread sanitizer.)
	 */
	__sync_synchronize();

	while (len) {
		const struct gmem_region *r = gmem_find(mem, gpa);
		uint64_t off, part;
		bool code;

		if (!r) /* not RAM: nothing was written */
			return;
		off = gpa - r->base;
		part = align_down(off, GMEM_PAGE_SIZE) + GMEM_PAGE_SIZE - off;
		if (part > len)
			part = len;
		code = has_code(r, off >> GMEM_PAGE_SHIFT);
		for (struct gmem_observer *o = mem->observers; o; o = o->next)
			if (code || o->all)
				o->written(o, gpa, (size_t)part);
		len -= (size_t)part;
		if (gpa > UINT64_MAX - part)
			return;
		gpa += part;
	}
}

/* ---- watches ---- */

/* The lock is held: flag the pages of a range as the watches are. */
static void flag_pages(struct gmem *mem, const struct gmem_region *r, gpa_t gpa, uint64_t len)
{
	gpa_t first = align_down(gpa, GMEM_PAGE_SIZE);

	for (uint64_t off = 0; off < gpa - first + len; off += GMEM_PAGE_SIZE) {
		_Atomic uint8_t *flags = &r->flags[(first + off - r->base) >> GMEM_PAGE_SHIFT];
		const struct gmem_watch *w = mem->watches;

		while (w && !ranges_meet(w->gpa, w->len, first + off, GMEM_PAGE_SIZE))
			w = w->next;
		if (w)
			atomic_fetch_or(flags, GMEM_PAGE_WATCHED);
		else
			atomic_fetch_and(flags, (uint8_t)~GMEM_PAGE_WATCHED);
	}
}

bool gmem_watchable(const struct gmem *mem)
{
	const struct gmem_observer *o = mem->observers;

	while (o && !o->watched)
		o = o->next;
	return o;
}

int gmem_watch(struct gmem *mem, struct gmem_watch *watch)
{
	const struct gmem_region *r = gmem_find(mem, watch->gpa);

	if (!gmem_watchable(mem))
		return -ENOTSUP;
	if (!r || !r->flags || !watch->len || part_in(r, watch->gpa, watch->len) < watch->len)
		return -EFAULT;
	pthread_mutex_lock(&mem->watch_lock);
	watch->next = mem->watches;
	mem->watches = watch;
	flag_pages(mem, r, watch->gpa, watch->len);
	pthread_mutex_unlock(&mem->watch_lock);
	for (struct gmem_observer *o = mem->observers; o; o = o->next)
		if (o->watched)
			o->watched(o);
	return 0;
}

void gmem_unwatch(struct gmem *mem, struct gmem_watch *watch)
{
	struct gmem_watch **at = &mem->watches;

	pthread_mutex_lock(&mem->watch_lock);
	while (*at && *at != watch)
		at = &(*at)->next;
	if (*at) {
		*at = watch->next;
		flag_pages(mem, gmem_find(mem, watch->gpa), watch->gpa, watch->len);
	}
	pthread_mutex_unlock(&mem->watch_lock);
}

void gmem_stored(struct gmem *mem, const struct gmem_store *store)
{
	pthread_mutex_lock(&mem->watch_lock);
	for (struct gmem_watch *w = mem->watches; w; w = w->next)
		if (ranges_meet(w->gpa, w->len, store->gpa, store->len))
			w->stored(w, store);
	pthread_mutex_unlock(&mem->watch_lock);
}

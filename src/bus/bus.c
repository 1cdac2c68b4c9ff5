/* SPDX-License-Identifier: MIT */
/*
 * Address dispatch: an array of regions in order of address, searched by halving.
 *
 * The array does not change while vCPUs run, so they read it without a lock. Doorbells may: each
 * place has a list of them, changed and walked under the bus's lock; a region that has none costs
 * one load.
 */
#include "bus/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/notifier.h"

struct doorbell {
	struct doorbell *next;
	uint64_t off;
	uint32_t match;
	bool taken; /* by the engine */
	struct notifier *notifier;
};

struct place {
	struct bus_region *region;
	/* Changed under the lock. Read without it only to see whether there is any: a write that
	 * runs at the same time as bus_doorbell_add() may go either way. */
	struct doorbell *_Atomic bells;
};

struct bus {
	struct place *places; /* in order of address */
	size_t n, room;
	pthread_mutex_t lock;                /* guards the lists of doorbells */
	const struct bus_engine_ops *engine; /* NULL: the bus does all itself */
	void *engine_arg;
	struct bus_tracer *tracer; /* or NULL */
};

int bus_create(struct bus **bus, struct err *err)
{
	struct bus *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(err, -ENOMEM, "cannot create a bus: out of memory");
	pthread_mutex_init(&b->lock, NULL);
	*bus = b;
	return 0;
}

static void free_bell(struct bus *bus, const struct bus_region *region, struct doorbell *bell)
{
	if (bell && bell->taken)
		bus->engine->doorbell_del(bus->engine_arg, region->base + bell->off, bell->match,
					  bell->notifier);
	free(bell);
}

static void free_bells(struct bus *bus, struct place *place)
{
	struct doorbell *bell = place->bells, *next;

	for (; bell; bell = next) {
		next = bell->next;
		free_bell(bus, place->region, bell);
	}
}

void bus_destroy(struct bus *bus)
{
	if (!bus)
		return;
	for (size_t i = 0; i < bus->n; i++)
		free_bells(bus, &bus->places[i]);
	pthread_mutex_destroy(&bus->lock);
	free(bus->places);
	free(bus);
}

/* The number of places whose base is at or below addr. */
static size_t places_up_to(const struct bus *bus, uint64_t addr)
{
	size_t lo = 0, hi = bus->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (bus->places[mid].region->base <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_width(unsigned size)
{
	return is_pow2(size) && size <= 8;
}

static bool well_formed(const struct bus_region *r)
{
	return r->size && r->size - 1 <= UINT64_MAX - r->base && is_width(r->min_access) &&
	       is_width(r->max_access) && r->min_access <= r->max_access &&
	       /* so that an aligned address is an aligned offset */
	       r->base % r->max_access == 0 && r->ops && r->ops->read && r->ops->write;
}

int bus_add(struct bus *bus, struct bus_region *region, struct err *err)
{
	const struct bus_region *other = NULL;
	size_t at;

	if (!well_formed(region))
		return err_set(
			err, -EINVAL,
			"cannot place %s at %#llx: its size (%#llx), access widths (%u to %u) "
			"or functions do not make a region",
			region->name, (unsigned long long)region->base,
			(unsigned long long)region->size, region->min_access, region->max_access);

	at = places_up_to(bus, region->base);
	if (at > 0 &&
	    region->base - bus->places[at - 1].region->base < bus->places[at - 1].region->size)
		other = bus->places[at - 1].region;
	else if (at < bus->n && bus->places[at].region->base - region->base < region->size)
		other = bus->places[at].region;
	if (other)
		return err_set(err, -EEXIST,
			       "cannot place %s at %#llx: %s is there (%#llx, %#llx bytes)",
			       region->name, (unsigned long long)region->base, other->name,
			       (unsigned long long)other->base, (unsigned long long)other->size);

	if (bus->n == bus->room) {
		size_t room = bus->room ? bus->room * 2 : 16;
		struct place *places = realloc(bus->places, room * sizeof(*places));

		if (!places)
			return err_set(err, -ENOMEM, "cannot place %s on the bus: out of memory",
				       region->name);
		bus->places = places;
		bus->room = room;
	}
	memmove(&bus->places[at + 1], &bus->places[at], (bus->n - at) * sizeof(bus->places[0]));
	bus->places[at] = (struct place){ .region = region };
	bus->n++;
	return 0;
}

/* The place of a region that was added; NULL if it was not. */
static struct place *place_of(struct bus *bus, const struct bus_region *region)
{
	size_t at = places_up_to(bus, region->base);

	return at && bus->places[at - 1].region == region ? &bus->places[at - 1] : NULL;
}

void bus_del(struct bus *bus, struct bus_region *region)
{
	struct place *place = place_of(bus, region);

	if (!place)
		return;
	free_bells(bus, place);
	bus->n--;
	memmove(place, place + 1, (size_t)(bus->places + bus->n - place) * sizeof(bus->places[0]));
}

/* The place that takes an access, and the access's offset in it. */
static int find_place(struct bus *bus, uint64_t addr, unsigned size, struct place **place,
		      uint64_t *off)
{
	size_t at = places_up_to(bus, addr);
	const struct bus_region *r;

	if (!at)
		return -ENXIO;
	*place = &bus->places[at - 1];
	r = (*place)->region;
	*off = addr - r->base;
	if (!range_ok(*off, size, r->size))
		return -ENXIO;
	if (!is_width(size) || size < r->min_access || size > r->max_access || *off % size)
		return -EINVAL;
	return 0;
}

const struct bus_region *bus_find(struct bus *bus, uint64_t addr)
{
	size_t at = places_up_to(bus, addr);
	const struct bus_region *r = at ? bus->places[at - 1].region : NULL;

	return r && addr - r->base < r->size ? r : NULL;
}

void bus_trace(struct bus *bus, struct bus_tracer *tracer)
{
	bus->tracer = tracer;
}

static __attribute__((noinline, cold)) void trace(struct bus *bus, uint64_t addr, unsigned size,
						  bool write, int code, uint64_t val)
{
	bus->tracer->access(bus->tracer, &(struct bus_access){ .region = bus_find(bus, addr),
							       .addr = addr,
							       .val = val & mask_low(8 * size),
							       .size = (uint8_t)size,
							       .write = write,
							       .refused = code != 0 });
}

int bus_read_own(struct bus *bus, uint64_t addr, unsigned size, uint64_t *val)
{
	struct place *place;
	uint64_t off;
	int code = find_place(bus, addr, size, &place, &off);

	if (code)
		return code;
	*val = place->region->ops->read(place->region->dev, off, size) & mask_low(8 * size);
	return 0;
}

int bus_read(struct bus *bus, uint64_t addr, unsigned size, uint64_t *val)
{
	int code = bus_read_own(bus, addr, size, val);

	if (unlikely(bus->tracer))
		trace(bus, addr, size, false, code, code ? 0 : *val);
	return code;
}

/* Was the write a doorbell's? Then it has been rung. */
static bool ring(struct bus *bus, struct place *place, uint64_t off, uint64_t val)
{
	struct doorbell *bell;

	if (!atomic_load_explicit(&place->bells, memory_order_relaxed))
		return false;
	/* Set under the lock: once bus_doorbell_del() is back, nobody touches the notifier. */
	pthread_mutex_lock(&bus->lock);
	for (bell = place->bells; bell; bell = bell->next)
		if (bell->off == off && bell->match == val) {
			notifier_set(bell->notifier);
			break;
		}
	pthread_mutex_unlock(&bus->lock);
	return bell;
}

int bus_write_own(struct bus *bus, uint64_t addr, unsigned size, uint64_t val)
{
	struct place *place;
	uint64_t off;
	int code = find_place(bus, addr, size, &place, &off);

	if (code)
		return code;
	val &= mask_low(8 * size);
	if (!ring(bus, place, off, val))
		place->region->ops->write(place->region->dev, off, size, val);
	return 0;
}

int bus_write(struct bus *bus, uint64_t addr, unsigned size, uint64_t val)
{
	struct place *place;
	uint64_t off;

	if (unlikely(bus->tracer))
		trace(bus, addr, size, true, find_place(bus, addr, size, &place, &off), val);
	return bus_write_own(bus, addr, size, val);
}

int bus_doorbell_add(struct bus *bus, struct bus_region *region, uint64_t off, uint32_t match,
		     struct notifier *notifier)
{
	struct place *place = place_of(bus, region);
	struct doorbell *bell, *other;

	if (!place || off >= region->size)
		return -EINVAL;
	bell = calloc(1, sizeof(*bell));
	if (!bell)
		return -ENOMEM;
	*bell = (struct doorbell){ .off = off, .match = match, .notifier = notifier };

	pthread_mutex_lock(&bus->lock);
	for (other = place->bells; other; other = other->next)
		if (other->off == off && other->match == match)
			break;
	if (!other) {
		bell->taken = bus->engine && !bus->tracer &&
			      bus->engine->doorbell_add(bus->engine_arg, region->base + off, match,
							notifier) == 0;
		bell->next = place->bells;
		place->bells = bell;
	}
	pthread_mutex_unlock(&bus->lock);
	if (!other)
		return 0;
	free(bell);
	return -EEXIST;
}

void bus_doorbell_del(struct bus *bus, struct bus_region *region, uint64_t off, uint32_t match)
{
	struct place *place = place_of(bus, region);
	struct doorbell *bell, *before = NULL;

	if (!place)
		return;
	pthread_mutex_lock(&bus->lock);
	for (bell = place->bells; bell; before = bell, bell = bell->next)
		if (bell->off == off && bell->match == match)
			break;
	if (bell && before)
		before->next = bell->next;
	else if (bell)
		place->bells = bell->next;
	free_bell(bus, region, bell);
	pthread_mutex_unlock(&bus->lock);
}

/* Is what is in the page at `addr` all of one kind, and nothing on its edges? */
static bool one_kind(const struct bus *bus, uint64_t addr)
{
	const struct bus_ops *ops = NULL;

	for (size_t i = 0; i < bus->n; i++) {
		const struct bus_region *r = bus->places[i].region;

		if (r->base >= addr + BUS_MIRROR_SIZE || r->base + r->size <= addr)
			continue;
		if (r->base < addr || r->base + r->size > addr + BUS_MIRROR_SIZE ||
		    (ops && r->ops != ops))
			return false;
		ops = r->ops;
	}
	return ops != NULL;
}

int bus_mirror_add(struct bus *bus, uint64_t addr, const void *memory)
{
	if (addr % BUS_MIRROR_SIZE || !one_kind(bus, addr))
		return -EINVAL;
	if (!bus->engine || bus->tracer || !bus->engine->mirror_add)
		return -ENOTSUP;
	return bus->engine->mirror_add(bus->engine_arg, addr, memory);
}

void bus_mirror_del(struct bus *bus, uint64_t addr)
{
	bus->engine->mirror_del(bus->engine_arg, addr);
}

void bus_mirror_written(struct bus *bus, const void *at, size_t len)
{
	if (bus->engine && bus->engine->mirror_written)
		bus->engine->mirror_written(bus->engine_arg, at, len);
}

void bus_set_engine(struct bus *bus, const struct bus_engine_ops *ops, void *arg)
{
	bus->engine = ops;
	bus->engine_arg = arg;
}

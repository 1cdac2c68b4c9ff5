/* SPDX-License-Identifier: MIT */
/*
 * Reads of guest memory that the driver may change at any moment: each field is read once, into
 * memory of ours, and judged there. These marks around each such read do nothing; tests build the
 * queues and devices with another file of this name (tests/lib/flip/virtio/fetch.h), where what was
 * read is changed at once, so that a second read of it shows.
 */
#ifndef HAKO_VIRTIO_FETCH_H
#define HAKO_VIRTIO_FETCH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Until when the device may not read it again: the end of taking a chain and the like, or that of
 * the chain. _FLAGS: of a descriptor of a packed ring, of which the driver itself reads WRITE,
 * AVAIL and USED.
 */
enum fetch_life { FETCH_CALL, FETCH_CALL_FLAGS, FETCH_CHAIN };

static inline void fetch_begin(const volatile void *p, size_t len)
{
	(void)p;
	(void)len;
}

static inline void fetch_end(const volatile void *p, size_t len, enum fetch_life life)
{
	(void)p;
	(void)len;
	(void)life;
}

/* From here on, chains' reads are those of this one. */
static inline void fetch_chain(const void *vq, unsigned slot)
{
	(void)vq;
	(void)slot;
}

/* A chain is taken, or what else was asked for is done; `good`: and there was one. */
static inline void fetch_call_over(bool good)
{
	(void)good;
}

/* The chain is about to be given back. */
static inline void fetch_chain_over(const void *vq, unsigned slot)
{
	(void)vq;
	(void)slot;
}

#endif

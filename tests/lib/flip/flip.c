/* SPDX-License-Identifier: MIT */
/*
 * Guest memory that changes under the device's hands; see virtio/fetch.h beside this.
 *
 * The driver's thread may write such a field meanwhile (an index, flags): what it wrote stays, for
 * only what still is as we left it is put back, two bytes at a time as they are. Bits that the
 * driver reads too, WRITE, AVAIL and USED of a packed ring's descriptor (1, 7, 15), are left alone.
 *
 * Threads: reads of a call belong to its thread, those of a chain to whichever; one lock.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/fetch.h"

enum { PIECE = 16, MAX = 8192 };

struct piece {
	uint8_t *at;
	uint8_t len; /* 0: free */
	uint8_t was[PIECE];
	uint16_t bits; /* that are changed, of each 16 */
	enum fetch_life life;
	pthread_t thread; /* of a call */
	const void *vq;   /* of a chain */
	unsigned slot;
};

static struct {
	pthread_mutex_t lock;
	struct piece piece[MAX];
	unsigned n;
} flip = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local struct {
	bool twice; /* this call has read something again */
	const void *vq;
	unsigned slot;
} self;

/* If it is as it was left. */
static void swap16(uint8_t *at, uint16_t from, uint16_t to)
{
	__atomic_compare_exchange_n((uint16_t *)(void *)at, &from, to, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

static void put_back(struct piece *p)
{
	for (unsigned i = 0; i < p->len;) {
		if (!((uintptr_t)(p->at + i) & 1) && i + 1 < p->len) {
			uint16_t was;

			memcpy(&was, p->was + i, 2);
			swap16(p->at + i, was ^ p->bits, was);
			i += 2;
		} else {
			if ((p->at[i] ^ p->was[i]) == 0xff)
				p->at[i] = p->was[i];
			i++;
		}
	}
	p->len = 0;
}

static void change(struct piece *p)
{
	for (unsigned i = 0; i < p->len;) {
		if (!((uintptr_t)(p->at + i) & 1) && i + 1 < p->len) {
			uint16_t was =
				__atomic_load_n((uint16_t *)(void *)(p->at + i), __ATOMIC_SEQ_CST);

			memcpy(p->was + i, &was, 2);
			swap16(p->at + i, was, was ^ p->bits);
			i += 2;
		} else {
			p->was[i] = p->at[i];
			p->at[i] = (uint8_t)~p->was[i];
			i++;
		}
	}
}

/* Forget the free ones at the end. */
static void shrink(void)
{
	while (flip.n && !flip.piece[flip.n - 1].len)
		flip.n--;
}

void fetch_begin(const volatile void *at, size_t len)
{
	const uint8_t *from = (const uint8_t *)at;

	pthread_mutex_lock(&flip.lock);
	for (unsigned i = 0; i < flip.n; i++) {
		struct piece *p = &flip.piece[i];

		if (!p->len || p->at >= from + len || from >= p->at + p->len)
			continue;
		/* Chains in flight may share a buffer; a chain with itself may not. */
		if (p->life != FETCH_CHAIN ? pthread_equal(p->thread, pthread_self())
					   : p->vq == self.vq && p->slot == self.slot)
			self.twice = true;
		put_back(p);
	}
	shrink();
	pthread_mutex_unlock(&flip.lock);
}

void fetch_end(const volatile void *at, size_t len, enum fetch_life life)
{
	uint8_t *from = (uint8_t *)(uintptr_t)at;

	pthread_mutex_lock(&flip.lock);
	for (size_t done = 0; done < len; done += PIECE) {
		struct piece *p;

		if (flip.n == MAX) {
			fprintf(stderr, "flip: too many reads at once\n");
			abort();
		}
		p = &flip.piece[flip.n++];
		*p = (struct piece){ .at = from + done,
				     .len = (uint8_t)(len - done < PIECE ? len - done : PIECE),
				     .bits = life == FETCH_CALL_FLAGS ? 0x7f7d : 0xffff,
				     .life = life,
				     .thread = pthread_self(),
				     .vq = self.vq,
				     .slot = self.slot };
		change(p);
	}
	pthread_mutex_unlock(&flip.lock);
}

void fetch_chain(const void *vq, unsigned slot)
{
	self.vq = vq;
	self.slot = slot;
}

void fetch_call_over(bool good)
{
	if (self.twice && good) {
		fprintf(stderr, "flip: something was read twice from guest memory\n");
		abort();
	}
	self.twice = false;
	pthread_mutex_lock(&flip.lock);
	for (unsigned i = 0; i < flip.n; i++)
		if (flip.piece[i].len && flip.piece[i].life != FETCH_CHAIN &&
		    pthread_equal(flip.piece[i].thread, pthread_self()))
			put_back(&flip.piece[i]);
	shrink();
	pthread_mutex_unlock(&flip.lock);
}

void fetch_chain_over(const void *vq, unsigned slot)
{
	/* What the device read of it between vq_pop() and here counts too. */
	fetch_call_over(true);
	pthread_mutex_lock(&flip.lock);
	for (unsigned i = 0; i < flip.n; i++)
		if (flip.piece[i].len && flip.piece[i].life == FETCH_CHAIN &&
		    flip.piece[i].vq == vq && flip.piece[i].slot == slot)
			put_back(&flip.piece[i]);
	shrink();
	pthread_mutex_unlock(&flip.lock);
}

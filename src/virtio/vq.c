/* SPDX-License-Identifier: MIT */
/*
 * The split virtqueue (virtio 1.2, 2.7), with indirect descriptors and the event index.
 *
 * The rings are mapped once, at set-up: regions of guest RAM stay where they are for the life of
 * the VM. All that is read from them is read exactly once, into a local, and judged there.
 */
#include "virtio/vq.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"

/* 2.7.5: the descriptor as it lies in guest memory. Packed, since an indirect table has no
 * alignment (2.7.5.3 asks for none). */
struct wire_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
} __attribute__((packed));
_Static_assert(sizeof(struct wire_desc) == 16, "2.7.5");

enum { DESC_F_NEXT = 1, DESC_F_WRITE = 2, DESC_F_INDIRECT = 4 };

/* 2.7.6: used_event follows the ring. */
struct wire_avail {
	uint16_t flags, idx, ring[];
};
enum { AVAIL_F_NO_INTERRUPT = 1 };

/* 2.7.8: avail_event follows the ring. */
struct wire_used_elem {
	uint32_t id, len;
};
struct wire_used {
	uint16_t flags, idx;
	struct wire_used_elem ring[];
};
enum { USED_F_NO_NOTIFY = 1 };

/* 2.7: alignment of the three parts. */
enum { DESC_ALIGN = 16, AVAIL_ALIGN = 2, USED_ALIGN = 4 };

/* 2.7.5.2: no chain is longer than this. */
#define CHAIN_BYTES_MAX (1ULL << 32)

/* A descriptor, copied and in host byte order. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* What gmem_unmap() wants back, kept apart from the iovec, which the device may eat up. */
struct buf {
	gpa_t gpa;
	uint32_t len;
};

/* A chain in flight, by its head. Its buffers are row `head` of vq->iov and vq->buf. */
struct slot {
	bool in_flight;
	uint16_t n_out, n_in;
};

/* A row is longer than a queue, so that the rows of neighbouring heads do not fall on the same
 * cache sets (256 iovecs are exactly one page). */
enum { ROW = VQ_SIZE_MAX + 4 };

struct vq {
	struct gmem *mem;
	struct log *log;
	struct log_limit limit;
	char name[32];

	struct vq_state s;
	bool indirect, event_idx;
	uint16_t avail_idx; /* avail->idx when it was last read */
	unsigned in_flight;

	const void *desc; /* struct wire_desc[size] */
	const struct wire_avail *avail;
	struct wire_used *used;

	struct slot slot[VQ_SIZE_MAX];
	struct iovec *iov; /* [VQ_SIZE_MAX][ROW] */
	struct buf *buf;   /* [VQ_SIZE_MAX][ROW] */
};

/* Ring fields. Guest memory may change at any time: one access each, of the field's own width. */

static uint16_t load16(const uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static void store16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

/* Orders a store before it against a load after it. (In this form because gcc refuses the C11 fence
 * under the thread sanitizer.) */
static void full_barrier(void)
{
	__sync_synchronize();
}

/* The driver's; valid with the event index only. */
static const uint16_t *used_event(const struct vq *vq)
{
	return &vq->avail->ring[vq->s.size];
}

static uint16_t *avail_event(const struct vq *vq)
{
	return (uint16_t *)(void *)&vq->used->ring[vq->s.size];
}

static size_t desc_bytes(uint16_t size)
{
	return sizeof(struct wire_desc) * size;
}

/* Without the event index, the two bytes after each ring are not the queue's (2.7.10.2: some
 * drivers keep other things there). */
static size_t avail_bytes(uint16_t size, bool event_idx)
{
	return sizeof(struct wire_avail) + sizeof(uint16_t) * size + (event_idx ? 2 : 0);
}

static size_t used_bytes(uint16_t size, bool event_idx)
{
	return sizeof(struct wire_used) + sizeof(struct wire_used_elem) * size +
	       (event_idx ? 2 : 0);
}

/* Life */

int vq_create(struct vq **vq, struct gmem *mem, struct log *log, const char *name)
{
	struct vq *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	/* Zero pages until a chain touches them: a row costs memory only once it was that long. */
	q->iov = calloc((size_t)VQ_SIZE_MAX * ROW, sizeof(*q->iov));
	q->buf = calloc((size_t)VQ_SIZE_MAX * ROW, sizeof(*q->buf));
	if (!q->iov || !q->buf) {
		vq_destroy(q);
		return -ENOMEM;
	}
	q->mem = mem;
	q->log = log;
	snprintf(q->name, sizeof(q->name), "%s", name);
	*vq = q;
	return 0;
}

void vq_destroy(struct vq *vq)
{
	if (!vq)
		return;
	vq_reset(vq);
	free(vq->iov);
	free(vq->buf);
	free(vq);
}

/* Map one part of the ring. */
static int part_map(struct vq *vq, const char *what, gpa_t gpa, size_t len, unsigned align,
		    enum gmem_access access, void **host)
{
	if (gpa % align) {
		log_guest(vq->log, &vq->limit, LOG_WARN, vq->name,
			  "%s at 0x%llx is not aligned to %u (2.7.1)", what,
			  (unsigned long long)gpa, align);
		return -EINVAL;
	}
	if (gmem_map(vq->mem, gpa, len, access, host)) {
		log_guest(vq->log, &vq->limit, LOG_WARN, vq->name,
			  "%s at 0x%llx, %zu bytes, is not in RAM", what, (unsigned long long)gpa,
			  len);
		return -EINVAL;
	}
	return 0;
}

int vq_setup(struct vq *vq, const struct vq_state *state, uint64_t features)
{
	const bool event_idx = features & BIT(VIRTIO_F_EVENT_IDX);
	struct vq_state s = *state;
	void *desc, *avail, *used;

	vq_reset(vq);
	if (!is_pow2(s.size) || s.size > VQ_SIZE_MAX) {
		log_guest(vq->log, &vq->limit, LOG_WARN, vq->name,
			  "queue size %u is not a power of two up to %u (2.7)", s.size,
			  (unsigned)VQ_SIZE_MAX);
		return -EINVAL;
	}
	/* The used ring comes last: only what is mapped to be written must be unmapped. */
	if (part_map(vq, "descriptor table", s.desc, desc_bytes(s.size), DESC_ALIGN, GMEM_READ,
		     &desc) ||
	    part_map(vq, "available ring", s.avail, avail_bytes(s.size, event_idx), AVAIL_ALIGN,
		     GMEM_READ, &avail) ||
	    part_map(vq, "used ring", s.used, used_bytes(s.size, event_idx), USED_ALIGN, GMEM_WRITE,
		     &used))
		return -EINVAL;

	vq->s = s;
	vq->s.broken = 0;
	vq->indirect = features & BIT(VIRTIO_F_INDIRECT_DESC);
	vq->event_idx = event_idx;
	vq->avail_idx = s.next_avail;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	return 0;
}

static void slot_release(struct vq *vq, uint16_t head)
{
	struct slot *slot = &vq->slot[head];
	const struct buf *buf = &vq->buf[(size_t)head * ROW + slot->n_out];

	for (unsigned i = 0; i < slot->n_in; i++)
		gmem_unmap(vq->mem, buf[i].gpa, buf[i].len, GMEM_WRITE);
	slot->in_flight = false;
	vq->in_flight--;
}

void vq_reset(struct vq *vq)
{
	for (uint16_t i = 0; vq->in_flight && i < vq->s.size; i++)
		if (vq->slot[i].in_flight)
			slot_release(vq, i);
	if (vq->used)
		gmem_unmap(vq->mem, vq->s.used, used_bytes(vq->s.size, vq->event_idx), GMEM_WRITE);
	memset(&vq->s, 0, sizeof(vq->s));
	vq->desc = NULL;
	vq->avail = NULL;
	vq->used = NULL;
}

const struct vq_state *vq_state(const struct vq *vq)
{
	return &vq->s;
}

unsigned vq_in_flight(const struct vq *vq)
{
	return vq->in_flight;
}

/* Taking chains */

/* The ring is malformed: say why once, and never look at it again. Returns -EPROTO. */
static int broken(struct vq *vq, uint16_t head, const char *why)
{
	vq->s.broken = 1;
	log_guest(vq->log, &vq->limit, LOG_WARN, vq->name,
		  "malformed ring at available index %u, head %u: %s", vq->s.next_avail, head, why);
	return -EPROTO;
}

/* The one read of a descriptor: volatile, so that no later use of a field goes back to memory that
 * the guest may have changed in between. */
static struct desc desc_read(const void *table, size_t i)
{
	const volatile struct wire_desc *w = (const struct wire_desc *)table + i;

	return (struct desc){
		.addr = le64toh(w->addr),
		.len = le32toh(w->len),
		.flags = le16toh(w->flags),
		.next = le16toh(w->next),
	};
}

/* Does an INDIRECT descriptor keep the rules of 2.7.5.3.1? NULL, or the rule that it breaks. Its
 * WRITE flag is ignored (2.7.5.3.2). */
static const char *indirect_wrong(const struct vq *vq, const struct desc *d, bool nested)
{
	if (!vq->indirect)
		return "INDIRECT was not negotiated";
	if (nested)
		return "INDIRECT inside an indirect table";
	if (d->flags & DESC_F_NEXT)
		return "INDIRECT together with NEXT";
	if (!d->len || d->len % sizeof(struct wire_desc))
		return "the length of an indirect table is not a multiple of 16";
	return NULL;
}

/* The chain is no good after n buffers: let go of those that were mapped. Returns `why`. */
static const char *chain_drop(struct vq *vq, const struct vq_chain *c, unsigned n, const char *why)
{
	const struct buf *buf = &vq->buf[(size_t)c->head * ROW];

	for (unsigned i = c->n_out; i < n; i++)
		gmem_unmap(vq->mem, buf[i].gpa, buf[i].len, GMEM_WRITE);
	return why;
}

/*
 * Walk the chain at c->head and map its buffers into that row. Direct descriptors may come first
 * and end in one indirect table (2.7.5.3.2). NULL, or what is wrong with it; then nothing is
 * mapped.
 */
static const char *chain_read(struct vq *vq, struct vq_chain *c)
{
	struct iovec *iov = c->iov;
	struct buf *buf = &vq->buf[(size_t)c->head * ROW];
	const void *table = vq->desc;
	size_t entries = vq->s.size, i = c->head;
	bool in_table = false;
	const char *why;
	struct desc d;
	void *host;

	for (unsigned n = 0;;) {
		enum gmem_access access;

		if (i >= entries)
			return chain_drop(vq, c, n, "descriptor index beyond the table");
		d = desc_read(table, i);

		if (d.flags & DESC_F_INDIRECT) {
			why = indirect_wrong(vq, &d, in_table);
			if (why)
				return chain_drop(vq, c, n, why);
			if (gmem_map(vq->mem, d.addr, d.len, GMEM_READ, &host))
				return chain_drop(vq, c, n, "indirect table is not in RAM");
			/* It may be the ring's own table: told from it by the flag only. */
			table = host;
			in_table = true;
			entries = d.len / sizeof(struct wire_desc);
			i = 0;
			continue; /* at most once: a second one is nested */
		}

		/* 2.7.5.3.1: no chain is longer than the queue. This also ends loops. */
		if (n == vq->s.size)
			return chain_drop(vq, c, n, "chain loops or is longer than the queue");
		access = d.flags & DESC_F_WRITE ? GMEM_WRITE : GMEM_READ;
		if (access == GMEM_READ && c->n_in)
			return chain_drop(vq, c, n,
					  "device-readable after device-writable (2.7.4.2)");
		if (d.len > CHAIN_BYTES_MAX - c->out_len - c->in_len)
			return chain_drop(vq, c, n, "chain of more than 2^32 bytes (2.7.5.2)");
		if (!d.len || gmem_map(vq->mem, d.addr, d.len, access, &host))
			return chain_drop(vq, c, n, "buffer is empty or not in RAM");

		iov[n] = (struct iovec){ .iov_base = host, .iov_len = d.len };
		buf[n] = (struct buf){ .gpa = d.addr, .len = d.len };
		n++;
		if (access == GMEM_WRITE) {
			c->n_in++;
			c->in_len += d.len;
		} else {
			c->n_out++;
			c->out_len += d.len;
		}
		if (!(d.flags & DESC_F_NEXT))
			return NULL;
		i = d.next;
	}
}

int vq_pop(struct vq *vq, struct vq_chain *chain)
{
	const uint16_t mask = (uint16_t)(vq->s.size - 1);
	const char *why;
	uint16_t head;

	if (vq->s.broken || !vq->s.size)
		return vq->s.broken ? -EPROTO : 0;

	if (vq->avail_idx == vq->s.next_avail) {
		/*
		 * Acquire. The driver writes descriptors and ring entries, then idx. Were they
		 * loaded before idx, we could see the new idx and an entry from the lap before.
		 */
		uint16_t idx = le16toh(__atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE));

		if ((uint16_t)(idx - vq->s.next_avail) > vq->s.size)
			return broken(vq, 0, "available index more than the queue size ahead");
		vq->avail_idx = idx;
		if (idx == vq->s.next_avail)
			return 0;
	}

	head = load16(&vq->avail->ring[vq->s.next_avail & mask]);
	if (head >= vq->s.size)
		return broken(vq, head, "head beyond the descriptor table");
	if (vq->slot[head].in_flight)
		return broken(vq, head, "head is in flight already (3.3.1)");
	*chain = (struct vq_chain){ .head = head, .iov = &vq->iov[(size_t)head * ROW] };
	why = chain_read(vq, chain);
	if (why)
		return broken(vq, head, why);

	vq->slot[head] = (struct slot){ .in_flight = true, chain->n_out, chain->n_in };
	vq->in_flight++;
	vq->s.next_avail++;
	return 1;
}

/* Giving them back */

void vq_push(struct vq *vq, struct vq_chain *chain, uint32_t written)
{
	unsigned i = vq->s.next_used & (vq->s.size - 1U);
	struct wire_used_elem *e = &vq->used->ring[i];

	slot_release(vq, chain->head);
	__atomic_store_n(&e->id, htole32(chain->head), __ATOMIC_RELAXED);
	__atomic_store_n(&e->len, htole32(written), __ATOMIC_RELAXED);
	gmem_written(vq->mem, vq->s.used + sizeof(struct wire_used) + i * sizeof(*e), sizeof(*e));
	vq->s.next_used++;
}

void vq_reject(struct vq *vq, struct vq_chain *chain, const char *why)
{
	slot_release(vq, chain->head);
	broken(vq, chain->head, why);
}

bool vq_publish(struct vq *vq)
{
	uint16_t old = vq->s.signalled, new = vq->s.next_used;

	if (!vq->s.size || old == new)
		return false;
	/*
	 * Release. The driver reads idx, then the entries and the data. Were idx stored before
	 * them, the driver could take a length or data that is not there yet.
	 */
	__atomic_store_n(&vq->used->idx, htole16(new), __ATOMIC_RELEASE);
	gmem_written(vq->mem, vq->s.used, sizeof(struct wire_used));
	vq->s.signalled = new;

	/*
	 * Full barrier: store idx, then load used_event or flags. The driver does it the other way
	 * round: it asks for an interrupt (stores used_event or flags), then loads idx once more.
	 * Without a barrier on both sides both may load the old value: it sleeps without having
	 * seen our entry, and we do not wake it.
	 */
	full_barrier();
	if (!vq->event_idx)
		return !(load16(&vq->avail->flags) & AVAIL_F_NO_INTERRUPT);
	/* 2.7.7.2: has idx moved past used_event, from old (exclusive) to new? */
	return (uint16_t)(new - load16(used_event(vq)) - 1) < (uint16_t)(new - old);
}

bool vq_kicks(struct vq *vq, bool on)
{
	if (vq->s.broken || !vq->s.size)
		return false;
	if (!vq->event_idx) {
		store16(&vq->used->flags, on ? 0 : USED_F_NO_NOTIFY);
		gmem_written(vq->mem, vq->s.used, sizeof(struct wire_used));
	} else if (on) {
		/* flags stay 0 (2.7.10.2). While avail_event lies behind, the driver passes it
		 * without a kick: there is nothing to switch off. */
		store16(avail_event(vq), vq->s.next_avail);
		gmem_written(vq->mem, vq->s.used + used_bytes(vq->s.size, true) - sizeof(uint16_t),
			     sizeof(uint16_t));
	}
	if (!on)
		return false;
	/*
	 * Full barrier: store flags or avail_event, then load avail idx. The driver stores idx,
	 * then loads flags or avail_event. Without a barrier on both sides the driver may see kicks
	 * off while we see an empty ring: its buffer waits for ever.
	 */
	full_barrier();
	return load16(&vq->avail->idx) != vq->s.next_avail;
}

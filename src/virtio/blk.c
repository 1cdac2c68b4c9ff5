/* SPDX-License-Identifier: MIT */
/*
 * virtio block device (virtio 1.2, 5.2).
 *
 * A kick drains its ring: each chain becomes a request of its own, found by its slot, so there are
 * never more than the queue has descriptors. Requests are taken, begun and answered in batches, and
 * used entries are written and published and the interrupt decided once per batch.
 *
 * Everything below runs on the device's loop, except features, reset and config_*: they touch
 * `config`, which the loop changes under the transport's lock only, and `writeback`.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mark.h"
#include "block/blk.h"
#include "block/reqs.h"
#include "host/loop.h"
#include "virtio/blk_wire.h"
#include "virtio/fetch.h"
#include "virtio/lint.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"

enum { SEGMENTS_MAX = 16 }; /* in one request; any number would do */

#define FIELD(field, feature, late)                                                              \
	{                                                                                        \
		offsetof(struct config_space, field), sizeof(((struct config_space *)0)->field), \
			feature, late                                                            \
	}
static const struct virtio_config_field config_fields[] = {
	FIELD(capacity, 0, false),
	FIELD(size_max, VIRTIO_BLK_F_SIZE_MAX, false),
	FIELD(seg_max, VIRTIO_BLK_F_SEG_MAX, false),
	FIELD(blk_size, VIRTIO_BLK_F_BLK_SIZE, false),
	FIELD(topology.physical_block_exp, VIRTIO_BLK_F_TOPOLOGY, false),
	FIELD(topology.alignment_offset, VIRTIO_BLK_F_TOPOLOGY, false),
	FIELD(topology.min_io_size, VIRTIO_BLK_F_TOPOLOGY, false),
	FIELD(topology.opt_io_size, VIRTIO_BLK_F_TOPOLOGY, false),
	FIELD(writeback, VIRTIO_BLK_F_CONFIG_WCE, true), /* 5.2.5.1 */
	FIELD(num_queues, VIRTIO_BLK_F_MQ, false),
	FIELD(max_discard_sectors, VIRTIO_BLK_F_DISCARD, false),
	FIELD(max_discard_seg, VIRTIO_BLK_F_DISCARD, false),
	FIELD(discard_sector_alignment, VIRTIO_BLK_F_DISCARD, false),
	FIELD(max_write_zeroes_sectors, VIRTIO_BLK_F_WRITE_ZEROES, false),
	FIELD(max_write_zeroes_seg, VIRTIO_BLK_F_WRITE_ZEROES, false),
	FIELD(write_zeroes_may_unmap, VIRTIO_BLK_F_WRITE_ZEROES, false),
	FIELD(max_secure_erase_sectors, VIRTIO_BLK_F_SECURE_ERASE, false),
	FIELD(max_secure_erase_seg, VIRTIO_BLK_F_SECURE_ERASE, false),
	FIELD(secure_erase_sector_alignment, VIRTIO_BLK_F_SECURE_ERASE, false),
	{ 0, 0, 0, false },
};

/* 5.2.5.2 */
static const struct virtio_feature_need feature_needs[] = {
	{ VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH, true },
	{ 0, 0, false },
};

/* Entries that a queue should have, and requests taken at a time; one may have more. */
enum { QUEUE_SIZE = 256 };

struct vblk_queue;

/* What a driver asks for (5.2.6), in the slot that the queue gives its chain. `io` is what the
 * backend is asked for: the same, or of a request with segments, one after the other. */
struct vblk_request {
	struct blk_req io;
	/* Of the slot, for good */
	struct vblk_queue *q;
	struct vq_chain *chain;
	/* While it lasts */
	uint8_t *status;         /* in guest memory */
	unsigned next, segments; /* the segment to go on with, and how many are left */
};

struct vblk_queue {
	struct vblk *b;
	unsigned index;

	/* While it is started */
	struct vq *vq;
	unsigned judge_from; /* for the lint: chains of this many buffers or more have a shape to
				judge */
	bool judges;         /* there are such */
	unsigned in_flight;  /* requests that are taken, and neither given back nor given up */
	bool draining;       /* ends before a stop is reported */
	bool unpublished;    /* some are over; in the device's list of such queues */
	struct vblk_queue *next_unpublished;
	bool again_posted; /* the ring was not drained: `again` goes on */
	struct loop_task again;
	void (*stopped)(void *arg); /* not NULL: stopping */
	void *stopped_arg;

	struct vq_chain *answer[VQ_SIZE_MAX]; /* not given back yet, */
	unsigned n_answers;                   /* so many */
	/* By slot */
	struct vblk_request *req; /* [VQ_SIZE_MAX] */
	struct segment (*segment)[SEGMENTS_MAX];
};

struct vblk {
	struct virtio_dev dev;
	struct virtio_ops ops; /* vblk_ops, with as many queues as it has */
	char name[32];
	struct log *log;
	struct log_limit limit;
	struct blk *blk;
	uint64_t features;
	struct config_space config; /* all but `writeback` */
	bool wrote, flushed;        /* since the reset: a write was begun, a flush; for the lint */
	_Atomic uint8_t writeback;  /* as in the configuration; the driver may write it any time */
	uint8_t id[ID_BYTES];       /* padded with zeros, not terminated (5.2.6) */
	struct vblk_queue *queue;   /* [ops.n_queues] */
	struct vblk_queue *unpublished;
	struct reqs begun; /* for the backend */
	struct mark *read, *written;
	uint32_t block_size; /* bytes */
	uint16_t seg_max;    /* 0: as the queue allows */
	virtio_blk_failed_fn *failed;
	void *failed_arg;
};

static struct vblk *vblk(struct virtio_dev *dev)
{
	return container_of(dev, struct vblk, dev);
}

/* Buffers of a chain: eaten up from the front as the request is read. */

/* Copy `len` bytes from the front of *iov into dst; the caller has checked that they are there. The
 * one read of these bytes. */
static void iov_take(struct iovec **iov, unsigned *n, void *dst, size_t len)
{
	uint8_t *to = dst;

	while (len) {
		struct iovec *v = *iov;
		size_t part = len < v->iov_len ? len : v->iov_len;

		fetch_begin(v->iov_base, part);
		memcpy(to, v->iov_base, part);
		fetch_end(v->iov_base, part, FETCH_CHAIN);
		to += part;
		len -= part;
		v->iov_base = (uint8_t *)v->iov_base + part;
		v->iov_len -= part;
		if (!v->iov_len) {
			(*iov)++;
			(*n)--;
		}
	}
}

/* The same of the header, which is most often a buffer of its own. */
static inline void header_take(struct iovec **iov, unsigned *n, uint32_t *type, uint64_t *sector)
{
	const volatile struct req_header *w = (*iov)->iov_base;
	struct req_header h;

	if (unlikely((*iov)->iov_len != sizeof(h))) {
		iov_take(iov, n, &h, sizeof(h));
		*type = le32_get(h.type);
		*sector = le64_get(h.sector);
		return;
	}
	fetch_begin(w, sizeof(h));
	*type = le32toh(w->type.raw);
	*sector = le64toh(w->sector.raw);
	fetch_end(w, sizeof(h), FETCH_CHAIN);
	(*iov)++;
	(*n)--;
}

/* Copy up to `len` bytes into the buffers; how many there was room for. */
static uint32_t iov_put(const struct iovec *iov, unsigned n, const uint8_t *src, uint32_t len)
{
	uint32_t put = 0;

	for (unsigned i = 0; i < n && put < len; i++) {
		size_t part = len - put < iov[i].iov_len ? len - put : iov[i].iov_len;

		memcpy(iov[i].iov_base, src + put, part);
		put += (uint32_t)part;
	}
	return put;
}

/* Requests */

/*
 * When `data` bytes are written, from the first writable byte on: the used length is the prefix
 * that was written without a gap (2.7.8.2), so the status counts only when it follows the data at
 * once.
 */
static inline void will_write(struct vblk_request *r, uint64_t data)
{
	uint64_t room = r->chain->in_len - 1;

	r->chain->written = (uint32_t)(data == room ? data + 1 : data);
}

/* Answer it; what is written of it is told by now. */
static inline void request_over(struct vblk_request *r, uint8_t status, struct vq_chain **answer)
{
	*r->status = status;
	*answer = r->chain;
}

static void request_answer(struct vblk_request *r, uint8_t status, uint64_t data)
{
	will_write(r, data);
	request_over(r, status, &r->q->answer[r->q->n_answers++]);
}

/* Give the driver the answers so far. */
static void publish(struct vblk_queue *q)
{
	struct virtio_host *host = q->b->dev.host;

	if (!q->n_answers)
		return;
	vq_push(q->vq, q->answer, q->n_answers);
	q->in_flight -= q->n_answers;
	q->n_answers = 0;
	if (vq_publish(q->vq))
		host->ops->queue_irq(host, q->index);
}

/* The last thing that touches a stopping queue: the device may be gone when stopped() returns. */
static void stop_if_quiet(struct vblk_queue *q)
{
	void (*stopped)(void *) = q->stopped;

	if (!stopped || q->in_flight || q->again_posted || q->draining)
		return;
	q->stopped = NULL;
	q->vq = NULL;
	stopped(q->stopped_arg);
}

/* The end of a batch of answers, which may be to requests of several queues. */
static void publish_all(struct vblk *b)
{
	struct vblk_queue *q = b->unpublished, *next;

	b->unpublished = NULL;
	/* While there is a next one, its stop is not reported, so the device is not gone. */
	for (; q; q = next) {
		next = q->next_unpublished;
		q->unpublished = false;
		publish(q);
		stop_if_quiet(q);
	}
}

static const char *const op_name[] = {
	[BLK_READ] = "read",       [BLK_WRITE] = "write",         [BLK_FLUSH] = "flush",
	[BLK_DISCARD] = "discard", [BLK_ZERO] = "write of zeros", [BLK_ERASE] = "secure erase",
};

static bool segment_next(struct vblk_request *r);

/* True: somebody else is told, and nobody answers the driver. */
static bool request_failed(const struct vblk *b, const struct blk_req *io, int res)
{
	const struct virtio_blk_failure failure = {
		.what = op_name[io->op],
		.sector = io->off >> SECTOR_SHIFT,
		.bytes = io->len,
		.code = res,
	};

	if (!b->failed)
		return false;
	b->failed(b->failed_arg, &failure);
	return true;
}

/* The backend could not do it. */
static __attribute__((cold, noinline)) void request_bad(struct vblk *b, struct vblk_request *r)
{
	const struct blk_req *io = &r->io;

	log_guest(b->log, &b->limit, LOG_ERROR, b->name,
		  "%s of %llu bytes at sector %llu failed: %s", op_name[io->op],
		  (unsigned long long)io->len, (unsigned long long)io->off >> SECTOR_SHIFT,
		  strerror(-io->res));
	r->segments = 0;
	/* Of a read we do not know what was written: claim nothing. */
	if (request_failed(b, io, io->res))
		r->q->in_flight--;
	else
		request_answer(r, VIRTIO_BLK_S_IOERR, 0);
}

/* The backend could not do it, or there is more to it. */
static __attribute__((noinline)) void request_not_over(struct vblk *b, struct vblk_request *r)
{
	if (r->io.res)
		request_bad(b, r);
	else if (!segment_next(r))
		request_over(r, VIRTIO_BLK_S_OK, &r->q->answer[r->q->n_answers++]);
}

/* The backend is done with the requests that a list begins with and that are of one queue; where
 * the others begin. */
static inline struct blk_req *queue_answered(struct vblk *b, struct blk_req *req)
{
	struct vblk_queue *q = container_of(req, struct vblk_request, io)->q;
	unsigned n = q->n_answers;
	struct vblk_request *r;

	for (; req && (r = container_of(req, struct vblk_request, io))->q == q;) {
		req = req->next; /* before a next segment is begun */
		if (likely(!((unsigned)r->io.res | r->segments))) {
			request_over(r, VIRTIO_BLK_S_OK, &q->answer[n++]);
			continue;
		}
		q->n_answers = n;
		request_not_over(b, r);
		n = q->n_answers;
	}
	q->n_answers = n;
	if (!q->unpublished) {
		q->unpublished = true;
		q->next_unpublished = b->unpublished;
		b->unpublished = q;
	}
	return req;
}

/* For the boot timeline: has the first read come? */
static __attribute__((cold, noinline)) void mark_read(struct vblk *b, const struct blk_req *first)
{
	for (; first; first = first->next) {
		if (first->op != BLK_READ)
			continue;
		mark_hit(b->read);
		b->read = NULL;
		return;
	}
}

/* Give the backend what there is for it. A read by itself may be over at once: of that queue,
 * answers are to be published then. */
static inline void submit(struct vblk *b)
{
	struct blk_req *first = b->begun.first;
	struct vblk_request *r;

	if (!first)
		return;
	if (unlikely(b->read))
		mark_read(b, first);
	reqs_init(&b->begun);
	if (first->next || !blk_read_now(b->blk, first)) {
		blk_submit(b->blk, first);
		return;
	}
	r = container_of(first, struct vblk_request, io);
	request_over(r, VIRTIO_BLK_S_OK, &r->q->answer[r->q->n_answers++]);
}

static void answered(void *arg, struct blk_req *first)
{
	struct vblk *b = arg;

	while (first)
		first = queue_answered(b, first);
	submit(b); /* next segments, no reads */
	publish_all(b);
}

/*
 * 5.2.6.2: is a write to be on stable storage when it is answered? Without FLUSH and CONFIG_WCE,
 * always; with CONFIG_WCE, as the driver wants it at the time; otherwise FLUSH is what makes it so.
 */
static bool write_through(const struct vblk *b)
{
	if (b->dev.acked & BIT(VIRTIO_BLK_F_CONFIG_WCE))
		return !atomic_load_explicit(&b->writeback, memory_order_relaxed);
	return !(b->dev.acked & BIT(VIRTIO_BLK_F_FLUSH));
}

/* The length that is written, if all goes well, is told by now. */
static inline void request_begin(struct vblk *b, struct vblk_request *r, enum blk_op op,
				 uint64_t off, uint64_t len, struct iovec *iov, unsigned n)
{
	r->io.op = op;
	r->io.off = off;
	r->io.len = len;
	r->io.iov = iov;
	r->io.iovcnt = (int)n;
	reqs_add(&b->begun, &r->io);
}

/* All but reads. */
static void request_submit(struct vblk_request *r, enum blk_op op, uint64_t off, uint64_t len,
			   struct iovec *iov, unsigned n)
{
	struct vblk *b = r->q->b;

	r->io.durable = write_through(b);
	will_write(r, 0);
	request_begin(b, r, op, off, len, iov, n);
}

/* Are these whole sectors, all of them on the disk? Never computes a byte offset beyond it. */
static bool sectors_ok(const struct vblk *b, uint64_t sector, uint64_t len)
{
	return len % SECTOR == 0 &&
	       range_ok(sector, len >> SECTOR_SHIFT, le64_get(b->config.capacity));
}

/* For the lint: why sectors_ok() says no. */
static void sectors_wrong(const struct vblk_request *r, uint64_t sector, uint64_t len)
{
	const struct vblk *b = r->q->b;

	lint_report(b->dev.lint, len % SECTOR ? LINT_BLK_LENGTH : LINT_BLK_CAPACITY, r->q->index,
		    "queue %u: %llu bytes at sector %llu of %llu", r->q->index,
		    (unsigned long long)len, (unsigned long long)sector,
		    (unsigned long long)le64_get(b->config.capacity));
}

/*
 * Data that a request has, and that is device-readable where it should be -writable, or the other
 * way round. True: and none as it should be, so there is nothing to do, which the driver must not
 * take for done.
 */
static __attribute__((cold, noinline)) bool
direction_wrong(const struct vblk_request *r, const char *which, uint64_t wrong, uint64_t right)
{
	lint_report(r->q->b->dev.lint, LINT_BLK_DIRECTION, r->q->index,
		    "queue %u: a request with %llu bytes of device-%s data", r->q->index,
		    (unsigned long long)wrong, which);
	return !right;
}

/* Is that so bad that it is answered now? `n_out`: readable buffers behind the header. */
static __attribute__((cold, noinline)) bool read_wrong(struct vblk_request *r, uint64_t sector,
						       unsigned n_out)
{
	uint64_t len = r->chain->in_len - 1;

	if (!n_out ||
	    !direction_wrong(r, "readable", r->chain->out_len - sizeof(struct req_header), len)) {
		if (sectors_ok(r->q->b, sector, len))
			return false;
		sectors_wrong(r, sector, len);
	}
	request_answer(r, VIRTIO_BLK_S_IOERR, 0);
	return true;
}

/* `in`: the buffers to read into. */
static inline void request_read(struct vblk *b, struct vblk_request *r, struct vq_chain *chain,
				uint64_t sector, unsigned n_out, struct iovec *in, unsigned n)
{
	uint64_t len = chain->in_len - 1;

	if (unlikely(n_out || !sectors_ok(b, sector, len)) && read_wrong(r, sector, n_out))
		return;
	chain->written = (uint32_t)(len + 1); /* the status is right behind the data */
	request_begin(b, r, BLK_READ, sector << SECTOR_SHIFT, len, in, n);
}

static void request_write(struct vblk_request *r, uint64_t sector, struct iovec *out, unsigned n)
{
	uint64_t len = r->chain->out_len - sizeof(struct req_header), in = r->chain->in_len - 1;

	if (unlikely(in) && direction_wrong(r, "writable", in, len)) {
		request_answer(r, VIRTIO_BLK_S_IOERR, 0);
	} else if (!sectors_ok(r->q->b, sector, len)) {
		sectors_wrong(r, sector, len);
		request_answer(r, VIRTIO_BLK_S_IOERR, 0);
	} else if (blk_readonly(r->q->b->blk)) {
		request_answer(r, VIRTIO_BLK_S_IOERR, 0);
	} else {
		mark_hit(r->q->b->written);
		r->q->b->wrote = true;
		request_submit(r, BLK_WRITE, sector << SECTOR_SHIFT, len, out, n);
	}
}

static void request_flush(struct vblk_request *r, uint64_t sector)
{
	struct lint *lint = r->q->b->dev.lint;
	uint64_t data = r->chain->out_len - sizeof(struct req_header) + r->chain->in_len - 1;

	if (unlikely(sector))
		lint_report(lint, LINT_BLK_FLUSH_SECTOR, r->q->index, "FLUSH with sector %llu",
			    (unsigned long long)sector);
	if (unlikely(data))
		lint_report(lint, LINT_BLK_FLUSH_DATA, r->q->index, "FLUSH with %llu bytes of data",
			    (unsigned long long)data);
	r->q->b->flushed = true;
	request_submit(r, BLK_FLUSH, 0, 0, NULL, 0);
}

/* `in` has room for the status too: the identity must not run into it. */
static void request_get_id(struct vblk_request *r, struct iovec *in, unsigned n)
{
	uint64_t room = r->chain->in_len - 1;
	uint32_t put = iov_put(in, n, r->q->b->id, room < ID_BYTES ? (uint32_t)room : ID_BYTES);

	if (room != ID_BYTES)
		lint_report(r->q->b->dev.lint, LINT_BLK_GET_ID, r->q->index,
			    "GET_ID with room for %llu bytes", (unsigned long long)room);

	request_answer(r, VIRTIO_BLK_S_OK, put);
}

/* DISCARD, WRITE_ZEROES and SECURE_ERASE: one segment after the other. */

/* Begin the next segment that is not empty; false: there is none left. */
static bool segment_next(struct vblk_request *r)
{
	while (r->segments) {
		const struct segment *s = &r->q->segment[r->chain->slot][r->next++];
		uint64_t len = (uint64_t)le32_get(s->num_sectors) << SECTOR_SHIFT;

		r->segments--;
		if (!len)
			continue;
		r->io.may_unmap = le32_get(s->flags) & SEGMENT_UNMAP;
		request_submit(r, r->io.op, le64_get(s->sector) << SECTOR_SHIFT, len, NULL, 0);
		return true;
	}
	return false;
}

/* 5.2.6.2: what is wrong with a segment, as a status. */
static uint8_t segment_status(const struct vblk_queue *q, const struct segment *s, enum blk_op op)
{
	const struct vblk *b = q->b;
	const struct config_space *c = &b->config;
	uint32_t max = le32_get(op == BLK_DISCARD ? c->max_discard_sectors
				: op == BLK_ZERO  ? c->max_write_zeroes_sectors
						  : c->max_secure_erase_sectors);

	/* UNMAP is for WRITE_ZEROES only; others there are not. */
	if (le32_get(s->flags) & ~(op == BLK_ZERO ? (uint32_t)SEGMENT_UNMAP : 0)) {
		lint_report(b->dev.lint, LINT_BLK_SEGMENT_FLAGS, q->index, "%s with flags 0x%x",
			    op_name[op], le32_get(s->flags));
		return VIRTIO_BLK_S_UNSUPP;
	}
	if (le32_get(s->num_sectors) <= max &&
	    range_ok(le64_get(s->sector), le32_get(s->num_sectors), le64_get(c->capacity)))
		return VIRTIO_BLK_S_OK;
	lint_report(b->dev.lint,
		    le32_get(s->num_sectors) > max ? LINT_BLK_SEGMENT_LONG : LINT_BLK_CAPACITY,
		    q->index, "%s of %u sectors at %llu; at most %u in a segment, capacity %llu",
		    op_name[op], le32_get(s->num_sectors), (unsigned long long)le64_get(s->sector),
		    max, (unsigned long long)le64_get(c->capacity));
	return VIRTIO_BLK_S_IOERR;
}

static void request_segments(struct vblk_request *r, enum blk_op op, struct iovec *out, unsigned n)
{
	uint64_t len = r->chain->out_len - sizeof(struct req_header);
	unsigned feature = op == BLK_DISCARD ? VIRTIO_BLK_F_DISCARD
			   : op == BLK_ZERO  ? VIRTIO_BLK_F_WRITE_ZEROES
					     : VIRTIO_BLK_F_SECURE_ERASE;
	struct segment *segment = r->q->segment[r->chain->slot];
	uint8_t status = VIRTIO_BLK_S_OK;
	unsigned count;

	if (!(r->q->b->dev.acked & BIT(feature)) || len > SEGMENTS_MAX * sizeof(*segment)) {
		bool agreed = r->q->b->dev.acked & BIT(feature);

		lint_report(r->q->b->dev.lint, agreed ? LINT_BLK_SEGMENTS : LINT_BLK_NOT_AGREED,
			    r->q->index, "%s with %llu bytes of segments, feature %u%s agreed on",
			    op_name[op], (unsigned long long)len, feature, agreed ? "" : " not");
		request_answer(r, VIRTIO_BLK_S_UNSUPP, 0);
		return;
	}
	if (!len || len % sizeof(*segment)) {
		lint_report(r->q->b->dev.lint, LINT_BLK_SEGMENT_SIZE, r->q->index,
			    "%s with %llu bytes of segments", op_name[op], (unsigned long long)len);
		request_answer(r, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	iov_take(&out, &n, segment, len);
	count = (unsigned)(len / sizeof(*segment));
	for (unsigned i = 0; !status && i < count; i++)
		status = segment_status(r->q, &segment[i], op);
	r->io.op = op;
	r->next = 0;
	r->segments = count;
	if (status || !segment_next(r))
		request_answer(r, status, 0);
}

/* For the lint: does 5.2.6.4 apply? */
static bool fixed_layout(const struct virtio_dev *dev)
{
	return !(dev->acked & (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ANY_LAYOUT)));
}

/* What the lint looks at chains for: judge_from. Most are shorter. */
static unsigned judge_from(const struct virtio_dev *dev)
{
	if (!dev->lint)
		return UINT_MAX;
	if (fixed_layout(dev) || (dev->acked & BIT(VIRTIO_BLK_F_SIZE_MAX)))
		return 0;
	if (dev->acked & BIT(VIRTIO_BLK_F_SEG_MAX))
		return le32_get(container_of(dev, struct vblk, dev)->config.seg_max) + 1;
	return UINT_MAX;
}

/* 5.2.6.4: header and status are descriptors of their own. 5.2.3: segments are what holds data. */
static __attribute__((cold, noinline)) void judge_shape(const struct vblk_queue *q,
							const struct vq_chain *c)
{
	const struct vblk *b = q->b;
	unsigned n = (unsigned)c->n_out + c->n_in, segments = 0;
	size_t header = sizeof(struct req_header), longest = 0;

	if (fixed_layout(&b->dev) && (c->iov[0].iov_len != header || c->iov[n - 1].iov_len != 1))
		lint_report(b->dev.lint, LINT_LEGACY_LAYOUT, q->index,
			    "first descriptor of %zu bytes, last of %zu", c->iov[0].iov_len,
			    c->iov[n - 1].iov_len);
	for (unsigned i = 0; i < n; i++) {
		size_t len = c->iov[i].iov_len, not_data = len < header ? len : header;

		header -= not_data;
		len -= not_data + (i == n - 1);
		segments += len != 0;
		longest = len > longest ? len : longest;
	}
	if ((b->dev.acked & BIT(VIRTIO_BLK_F_SEG_MAX)) && segments > le32_get(b->config.seg_max))
		lint_report(b->dev.lint, LINT_BLK_SEG_MAX, q->index,
			    "queue %u: %u segments, seg_max is %u", q->index, segments,
			    le32_get(b->config.seg_max));
	if ((b->dev.acked & BIT(VIRTIO_BLK_F_SIZE_MAX)) && longest > le32_get(b->config.size_max))
		lint_report(b->dev.lint, LINT_BLK_SIZE_MAX, q->index,
			    "queue %u: a segment of %zu bytes, size_max is %u", q->index, longest,
			    le32_get(b->config.size_max));
}

/* The request of a slot that has its first chain. */
static __attribute__((noinline)) struct vblk_request *request_of(struct vblk_queue *q,
								 struct vq_chain *chain)
{
	struct vblk_request *r = &q->req[chain->slot];

	r->q = q;
	r->chain = chain;
	r->segments = 0;
	chain->owner = r;
	return r;
}

/* A chain that cannot be answered. */
static __attribute__((cold, noinline)) void chain_short(struct vblk_queue *q,
							struct vq_chain *chain)
{
	vq_reject(q->vq, chain, LINT_BLK_SHORT,
		  chain->out_len < sizeof(struct req_header)
			  ? "block request without a whole header (5.2.6)"
			  : "block request without room for a status (5.2.6)");
}

/* All but reads. `out`: the readable buffers behind the header; `n_in`: writable ones of data. */
static __attribute__((noinline)) void request_other(struct vblk_request *r, uint32_t type,
						    uint64_t sector, struct iovec *out,
						    unsigned n_out, unsigned n_in)
{
	struct iovec *in = r->chain->iov + r->chain->n_out;
	const struct virtio_dev *dev = &r->q->b->dev;

	switch (type) {
	case VIRTIO_BLK_T_OUT: request_write(r, sector, out, n_out); break;
	case VIRTIO_BLK_T_FLUSH: request_flush(r, sector); break;
	case VIRTIO_BLK_T_DISCARD: request_segments(r, BLK_DISCARD, out, n_out); break;
	case VIRTIO_BLK_T_WRITE_ZEROES: request_segments(r, BLK_ZERO, out, n_out); break;
	case VIRTIO_BLK_T_SECURE_ERASE: request_segments(r, BLK_ERASE, out, n_out); break;
	case VIRTIO_BLK_T_GET_ID: request_get_id(r, in, n_in); break;
	case VIRTIO_BLK_T_FLUSH_OUT: /* 5.2.6.3: another name, for drivers of old */
		if (!(dev->acked & BIT(VIRTIO_F_VERSION_1))) {
			request_flush(r, sector);
			break;
		}
		/* fall through */
	default:
		lint_report(dev->lint, LINT_BLK_TYPE, r->q->index, "request of type %u", type);
		request_answer(r, VIRTIO_BLK_S_UNSUPP, 0);
		break;
	}
}

/* Begin a request. False: the chain is no request that could be answered; the ring is broken. */
static inline bool request_start(struct vblk *b, struct vblk_queue *q, struct vq_chain *chain)
{
	struct vblk_request *r = chain->owner;
	struct iovec *out = chain->iov, *in = out + chain->n_out, *last;
	unsigned n_out = chain->n_out, n_in = chain->n_in;
	uint64_t sector;
	uint32_t type;

	if (unlikely(!r))
		r = request_of(q, chain);
	fetch_chain(q->vq, chain->slot);
	if (unlikely(chain->out_len < sizeof(struct req_header) || !n_in)) {
		chain_short(q, chain);
		return false;
	}
	if (unlikely(q->judges && n_out + n_in >= q->judge_from))
		judge_shape(q, chain);
	/* 2.7.4.1: the header may be cut into descriptors anywhere. */
	header_take(&out, &n_out, &type, &sector);

	/* The status is the last byte, and no data. */
	last = in + n_in - 1;
	n_in -= !--last->iov_len;
	r->status = (uint8_t *)last->iov_base + last->iov_len;
	if (likely(type == VIRTIO_BLK_T_IN))
		request_read(b, r, chain, sector, n_out, in, n_in);
	else
		request_other(r, type, sector, out, n_out, n_in);
	return true;
}

/* Begin those, or as many as are requests: what is none breaks the ring. Apart from drain() for the
 * sake of its registers. */
static __attribute__((noinline)) void start(struct vblk *b, struct vblk_queue *q,
					    struct vq_chain *const *chain, int n)
{
	struct vq_chain *const *const end = chain + n;

	q->in_flight += (unsigned)n;
	for (; chain < end; chain++) {
		if (likely(request_start(b, q, *chain)))
			continue;
		q->in_flight -= (unsigned)(end - chain);
		return;
	}
}

/*
 * Take what is available. At most a queue's worth at a time: a driver that makes requests available
 * as fast as they are answered must not keep the loop from its other work.
 */
static void drain(struct vblk_queue *q)
{
	struct vq_chain *chain[QUEUE_SIZE];
	struct vblk *b = q->b;
	int got, room = QUEUE_SIZE;

	q->draining = true;
	do {
		got = vq_pop(q->vq, chain, (unsigned)room);
		if (unlikely(got < 0))
			break;
		start(b, q, chain, got);
		room -= got;
	} while (likely(room) && vq_kicks(q->vq));
	if (unlikely(!room)) { /* kicks stay off until then */
		q->again_posted = true;
		loop_post(b->dev.loop, &q->again);
	}
	submit(b);
	publish(q); /* what is over by now */
	q->draining = false;
	if (unlikely(got < 0))
		b->dev.host->ops->needs_reset(b->dev.host);
}

static void drain_again(struct loop_task *task)
{
	struct vblk_queue *q = container_of(task, struct vblk_queue, again);

	q->again_posted = false;
	/* What another process had in flight is done before a stop: the ring's position is behind
	 * it. */
	if (!q->stopped || vq_resumed(q->vq))
		drain(q);
	stop_if_quiet(q);
}

/* virtio_ops */

static uint64_t vblk_features(struct virtio_dev *dev)
{
	return vblk(dev)->features;
}

enum { WRITEBACK = offsetof(struct config_space, writeback) };

static void vblk_config_read(struct virtio_dev *dev, uint32_t off, void *dst, size_t len)
{
	struct vblk *b = vblk(dev);

	memcpy(dst, (const uint8_t *)&b->config + off, len);
	if (off <= WRITEBACK && WRITEBACK - off < len)
		((uint8_t *)dst)[WRITEBACK - off] = b->writeback;
}

/* The one field that may be written is `writeback`, 0 or 1; whether it means anything is for
 * write_through() to say. */
static void vblk_config_write(struct virtio_dev *dev, uint32_t off, const void *src, size_t len)
{
	struct vblk *b = vblk(dev);

	if ((b->features & BIT(VIRTIO_BLK_F_CONFIG_WCE)) && off <= WRITEBACK &&
	    WRITEBACK - off < len) {
		uint8_t val = ((const uint8_t *)src)[WRITEBACK - off];

		if (val <= 1)
			b->writeback = val;
	}
}

/* Features are agreed on. */
static void vblk_agreed(struct virtio_dev *dev)
{
	struct vblk *b = vblk(dev);

	/* 5.2.5.2: a driver that cannot flush has its writes on the disk at once. */
	if ((dev->acked & BIT(VIRTIO_BLK_F_CONFIG_WCE)) && !(dev->acked & BIT(VIRTIO_BLK_F_FLUSH)))
		b->writeback = 0;
	if (b->features & BIT(VIRTIO_BLK_F_RO) & ~dev->acked)
		lint_report(dev->lint, LINT_BLK_RO, 0, "features 0x%llx, and RO offered",
			    (unsigned long long)dev->acked);
}

static void vblk_reset(struct virtio_dev *dev)
{
	struct vblk *b = vblk(dev);

	/* A driver that has asked for `writeback` knows of the cache. Then it is those who write
	 * that may not have asked for a flush, which is no mistake of the driver's. */
	if (lint_deep(dev->lint) && b->wrote && !b->flushed && !write_through(b) &&
	    !lint_config_was_read(dev->lint, WRITEBACK))
		lint_report(dev->lint, LINT_BLK_NEVER_FLUSHED, 0,
			    "writes, and not one FLUSH up to this reset");
	b->wrote = b->flushed = false;
	b->writeback = b->features & BIT(VIRTIO_BLK_F_CONFIG_WCE) ? 1 : 0;
}

static int vblk_start(struct virtio_dev *dev, unsigned q, struct vq *vq)
{
	struct vblk_queue *queue = &vblk(dev)->queue[q];

	queue->vq = vq;
	queue->judge_from = judge_from(dev);
	queue->judges = queue->judge_from != UINT_MAX;
	return 0;
}

static void vblk_kick(struct virtio_dev *dev, unsigned index)
{
	struct vblk_queue *q = &vblk(dev)->queue[index];

	if (!q->stopped && !q->again_posted)
		drain(q);
}

static void vblk_stop(struct virtio_dev *dev, unsigned index, void (*stopped)(void *arg), void *arg)
{
	struct vblk_queue *q = &vblk(dev)->queue[index];

	q->stopped = stopped;
	q->stopped_arg = arg;
	stop_if_quiet(q);
}

static const struct virtio_ops vblk_ops = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.queue_size_max = QUEUE_SIZE,
	.config_size = sizeof(struct config_space),
	.fields = config_fields,
	.needs = feature_needs,
	.features = vblk_features,
	.config_read = vblk_config_read,
	.config_write = vblk_config_write,
	.agreed = vblk_agreed,
	.reset = vblk_reset,
	.start = vblk_start,
	.kick = vblk_kick,
	.stop = vblk_stop,
};

/* Life */

static uint32_t sectors32(uint64_t bytes)
{
	uint64_t n = bytes >> SECTOR_SHIFT;

	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* In sectors: all whole blocks. */
static uint64_t capacity(const struct vblk *b)
{
	return align_down(blk_capacity(b->blk), b->block_size) >> SECTOR_SHIFT;
}

/* The blocks that the driver is told of. */
static int set_block_size(struct vblk *b, const struct virtio_blk_config *config, struct err *err)
{
	struct blk_limits l;

	blk_limits(b->blk, &l);
	b->block_size = config->block_size ? config->block_size : l.logical_block;
	if (blk_capacity(b->blk) % b->block_size == 0)
		return 0;
	return err_set(err, -EINVAL,
		       "the disk %s has %llu bytes, which is not a multiple of its blocks of %u "
		       "bytes; make it %llu bytes, or give it smaller blocks",
		       config->name, (unsigned long long)blk_capacity(b->blk), b->block_size,
		       (unsigned long long)align_up(blk_capacity(b->blk), b->block_size));
}

/* The configuration, and the features that go with it. */
static void config_init(struct vblk *b, uint32_t size_max)
{
	struct config_space *c = &b->config;
	struct blk_limits l;
	uint32_t block;

	blk_limits(b->blk, &l);
	block = b->block_size;
	b->features = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) |
		      BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH);
	c->capacity = le64(capacity(b));
	/* A chain may be as long as the queue; two buffers of it are the header and the status. */
	c->seg_max = le32(b->seg_max ? b->seg_max : VQ_CHAIN_MAX - 2);
	if (size_max) {
		b->features |= BIT(VIRTIO_BLK_F_SIZE_MAX);
		c->size_max = le32(size_max);
	}
	c->blk_size = le32(block);
	while (c->topology.physical_block_exp < 31 &&
	       (uint64_t)block << c->topology.physical_block_exp < l.physical_block)
		c->topology.physical_block_exp++;
	c->topology.alignment_offset = (uint8_t)(l.block_offset / block);
	c->topology.min_io_size =
		le16((uint16_t)(l.io_min / block <= UINT16_MAX ? l.io_min / block : 0));
	c->topology.opt_io_size = le32(l.io_opt / block);
	if (b->ops.n_queues > 1) {
		b->features |= BIT(VIRTIO_BLK_F_MQ);
		c->num_queues = le16(b->ops.n_queues);
	}
	if (blk_readonly(b->blk)) {
		b->features |= BIT(VIRTIO_BLK_F_RO);
		return;
	}
	b->features |= BIT(VIRTIO_BLK_F_CONFIG_WCE);
	b->writeback = 1;
	if (l.discard_max >= SECTOR) {
		b->features |= BIT(VIRTIO_BLK_F_DISCARD);
		c->max_discard_sectors = le32(sectors32(l.discard_max));
		c->max_discard_seg = le32(SEGMENTS_MAX);
		c->discard_sector_alignment = le32(sectors32(l.discard_align));
	}
	if (l.zero_max >= SECTOR) {
		b->features |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
		c->max_write_zeroes_sectors = le32(sectors32(l.zero_max));
		c->max_write_zeroes_seg = le32(SEGMENTS_MAX);
		c->write_zeroes_may_unmap = l.zero_may_unmap;
	}
	if (l.erase_max >= SECTOR) {
		b->features |= BIT(VIRTIO_BLK_F_SECURE_ERASE);
		c->max_secure_erase_sectors = le32(sectors32(l.erase_max));
		c->max_secure_erase_seg = le32(SEGMENTS_MAX);
		c->secure_erase_sector_alignment = le32(sectors32(l.discard_align));
	}
}

static void capacity_change(struct virtio_dev *dev)
{
	struct vblk *b = vblk(dev);

	b->config.capacity = le64(capacity(b));
}

bool virtio_blk_busy(const struct virtio_dev *dev)
{
	const struct vblk *b = container_of(dev, const struct vblk, dev);

	for (unsigned i = 0; i < b->ops.n_queues; i++)
		if (b->queue[i].in_flight || b->queue[i].again_posted)
			return true;
	return false;
}

int virtio_blk_resize(struct virtio_dev *dev)
{
	int changed = blk_refresh_capacity(vblk(dev)->blk);

	if (changed <= 0)
		return changed;
	if (dev->host)
		dev->host->ops->config_change(dev->host, capacity_change);
	else
		capacity_change(dev);
	return 1;
}

static int queues_create(struct vblk *b, uint16_t n)
{
	b->queue = calloc(n, sizeof(*b->queue));
	if (!b->queue)
		return -ENOMEM;
	b->ops.n_queues = n;
	for (uint16_t i = 0; i < n; i++) {
		struct vblk_queue *q = &b->queue[i];

		q->b = b;
		q->index = i;
		q->again.run = drain_again;
		/* Zero pages until requests touch them. */
		q->req = calloc(VQ_SIZE_MAX, sizeof(*q->req));
		q->segment = calloc(VQ_SIZE_MAX, sizeof(*q->segment));
		if (!q->req || !q->segment)
			return -ENOMEM;
	}
	return 0;
}

int virtio_blk_create(struct virtio_dev **dev, const struct virtio_blk_config *config,
		      struct err *err)
{
	const char *id = config->serial ? config->serial : config->name;
	uint16_t n = config->queues ? config->queues : 1;
	struct vblk *b;

	if (config->serial && strlen(config->serial) > ID_BYTES)
		return err_set(err, -EINVAL,
			       "the serial '%s' of disk %s is too long: %zu bytes; at most %d fit",
			       config->serial, config->name, strlen(config->serial), ID_BYTES);
	if (n > VIRTIO_BLK_QUEUES_MAX)
		return err_set(err, -EINVAL, "disk %s cannot have %u queues, only up to %d",
			       config->name, n, VIRTIO_BLK_QUEUES_MAX);
	b = calloc(1, sizeof(*b));
	if (b)
		b->ops = vblk_ops;
	if (!b || queues_create(b, n)) {
		if (b)
			virtio_blk_destroy(&b->dev);
		return err_set(err, -ENOMEM, "cannot create the disk %s: out of memory",
			       config->name);
	}
	b->dev.ops = &b->ops;
	b->dev.loop = config->loop;
	snprintf(b->name, sizeof(b->name), "%s", config->name);
	b->log = config->log;
	b->blk = config->blk;
	b->read = config->read;
	b->written = config->written;
	b->seg_max = config->seg_max;
	b->failed = config->failed;
	b->failed_arg = config->failed_arg;
	reqs_init(&b->begun);
	blk_answer_to(b->blk, answered, b);
	memcpy(b->id, id, strnlen(id, ID_BYTES));
	if (set_block_size(b, config, err)) {
		virtio_blk_destroy(&b->dev);
		return -EINVAL;
	}
	config_init(b, config->size_max);
	*dev = &b->dev;
	return 0;
}

void virtio_blk_destroy(struct virtio_dev *dev)
{
	struct vblk *b = dev ? vblk(dev) : NULL;

	if (!b)
		return;
	for (uint16_t i = 0; b->queue && i < b->ops.n_queues; i++) {
		free(b->queue[i].req);
		free(b->queue[i].segment);
	}
	free(b->queue);
	free(b);
}

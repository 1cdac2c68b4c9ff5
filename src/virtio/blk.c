/* SPDX-License-Identifier: MIT */
/*
 * virtio block device (virtio 1.2, 5.2).
 *
 * A kick drains the ring: each chain becomes a request of its own, found by its slot, so there are
 * never more than the queue has descriptors. Requests are answered in batches, and used entries are
 * published and the interrupt decided once per batch.
 *
 * Everything below runs on the device's loop, except features and config_*, which only read what
 * never changes.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/log.h"
#include "block/blk.h"
#include "host/loop.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"

/* 5.2.3 */
enum {
	VIRTIO_BLK_F_SEG_MAX = 2,
	VIRTIO_BLK_F_RO = 5,
	VIRTIO_BLK_F_BLK_SIZE = 6,
	VIRTIO_BLK_F_FLUSH = 9,
};

/* 5.2.6 */
enum {
	VIRTIO_BLK_T_IN = 0,
	VIRTIO_BLK_T_OUT = 1,
	VIRTIO_BLK_T_FLUSH = 4,
	VIRTIO_BLK_T_GET_ID = 8,
};
enum { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2 };

/* 5.2.6: what a request begins with. Its last writable byte is the status. */
struct req_header {
	le32_t type;
	le32_t reserved;
	le64_t sector;
};
_Static_assert(sizeof(struct req_header) == 16, "5.2.6");

enum { SECTOR_SHIFT = 9, SECTOR = 1 << SECTOR_SHIFT }; /* 5.2.4: whatever blk_size says */
enum { ID_BYTES = 20 };                                /* 5.2.6 */

/* 5.2.4. What we do not offer reads as zero. */
struct config_space {
	le64_t capacity; /* sectors of 512 bytes */
	le32_t size_max, seg_max;
	uint8_t geometry[4];
	le32_t blk_size;
	uint8_t topology[8];
	uint8_t writeback, unused0;
	le16_t num_queues;
	le32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	le32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
	le32_t max_secure_erase_sectors, max_secure_erase_seg, secure_erase_sector_alignment;
};
_Static_assert(sizeof(struct config_space) == 72, "5.2.4");

struct vblk;

struct request {
	struct blk_req io;
	struct vblk *blk;
	struct vq_chain chain;
	uint8_t *status; /* in guest memory */
};

struct vblk {
	struct virtio_dev dev;
	char name[32];
	struct log *log;
	struct log_limit limit;
	struct blk *blk;
	struct config_space config;
	uint8_t id[ID_BYTES]; /* padded with zeros, not terminated (5.2.6) */

	/* The queue, while it is started */
	struct vq *vq;
	bool write_through; /* the driver did not negotiate FLUSH (5.2.6.2) */
	unsigned in_flight; /* requests that the backend has */
	bool again_posted;  /* the ring was not drained: `again` goes on */
	struct loop_task again;
	void (*stopped)(void *arg); /* not NULL: stopping */
	void *stopped_arg;

	struct request req[VQ_SIZE_MAX]; /* by slot */
};

static struct vblk *vblk(struct virtio_dev *dev)
{
	return container_of(dev, struct vblk, dev);
}

/* Buffers of a chain: eaten up from the front as the request is read. */

/* Copy `len` bytes from the front of *iov into dst; the caller has checked that they are there. The
 * one read of these bytes. */
static void iov_take(struct iovec **iov, uint16_t *n, void *dst, size_t len)
{
	uint8_t *to = dst;

	while (len) {
		struct iovec *v = *iov;
		size_t part = len < v->iov_len ? len : v->iov_len;

		memcpy(to, v->iov_base, part);
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

/* Copy up to `len` bytes into the buffers; how many there was room for. */
static uint32_t iov_put(const struct iovec *iov, uint16_t n, const uint8_t *src, uint32_t len)
{
	uint32_t put = 0;

	for (uint16_t i = 0; i < n && put < len; i++) {
		size_t part = len - put < iov[i].iov_len ? len - put : iov[i].iov_len;

		memcpy(iov[i].iov_base, src + put, part);
		put += (uint32_t)part;
	}
	return put;
}

/* Requests */

/*
 * Answer a request of which `data` bytes were written, from the first writable byte on. The used
 * length is the prefix that was written without a gap (2.7.8.2), so the status counts only when it
 * follows the data at once.
 */
static void request_answer(struct request *r, uint8_t status, uint64_t data)
{
	uint64_t room = r->chain.in_len - 1;

	*r->status = status;
	vq_push(r->blk->vq, &r->chain, (uint32_t)(data == room ? data + 1 : data));
}

/* Tell the driver about the answers so far. */
static void publish(struct vblk *b)
{
	if (vq_publish(b->vq))
		b->dev.host->ops->queue_irq(b->dev.host, 0);
}

/* The last thing that touches a stopping device: it may be gone when stopped() returns. */
static void stop_if_quiet(struct vblk *b)
{
	void (*stopped)(void *) = b->stopped;

	if (!stopped || b->in_flight || b->again_posted)
		return;
	b->stopped = NULL;
	b->vq = NULL;
	stopped(b->stopped_arg);
}

static const char *const op_name[] = {
	[BLK_READ] = "read",
	[BLK_WRITE] = "write",
	[BLK_FLUSH] = "flush",
};

static void request_done(struct blk_req *io, int res, bool more)
{
	struct request *r = container_of(io, struct request, io);
	struct vblk *b = r->blk;
	bool in = io->op == BLK_READ;

	if (res)
		log_guest(b->log, &b->limit, LOG_ERROR, b->name,
			  "%s of %llu bytes at sector %llu failed: %s", op_name[io->op],
			  (unsigned long long)io->len, (unsigned long long)io->off >> SECTOR_SHIFT,
			  strerror(-res));
	/* Of a read that failed we do not know what was written: claim nothing. */
	request_answer(r, res ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK, in && !res ? io->len : 0);
	b->in_flight--;
	if (more)
		return;
	publish(b);
	stop_if_quiet(b);
}

static void request_submit(struct request *r, enum blk_op op, uint64_t off, uint64_t len,
			   struct iovec *iov, uint16_t n)
{
	struct vblk *b = r->blk;

	r->io.op = op;
	r->io.durable = b->write_through;
	r->io.off = off;
	r->io.len = len;
	r->io.iov = iov;
	r->io.iovcnt = n;
	r->io.done = request_done;
	b->in_flight++;
	blk_submit(b->blk, &r->io);
}

/* Are these whole sectors, all of them on the disk? Never computes a byte offset beyond it. */
static bool sectors_ok(const struct vblk *b, uint64_t sector, uint64_t len)
{
	return len % SECTOR == 0 &&
	       range_ok(sector, len >> SECTOR_SHIFT, le64_get(b->config.capacity));
}

static void request_read(struct request *r, uint64_t sector, struct iovec *in, uint16_t n)
{
	uint64_t len = r->chain.in_len - 1;

	if (!sectors_ok(r->blk, sector, len)) {
		request_answer(r, VIRTIO_BLK_S_IOERR, 0);
		return;
	}
	/* Leave the status, the last byte, out of the data. */
	if (--in[n - 1].iov_len == 0)
		n--;
	request_submit(r, BLK_READ, sector << SECTOR_SHIFT, len, in, n);
}

static void request_write(struct request *r, uint64_t sector, struct iovec *out, uint16_t n)
{
	uint64_t len = r->chain.out_len - sizeof(struct req_header);

	if (blk_readonly(r->blk->blk) || !sectors_ok(r->blk, sector, len))
		request_answer(r, VIRTIO_BLK_S_IOERR, 0);
	else
		request_submit(r, BLK_WRITE, sector << SECTOR_SHIFT, len, out, n);
}

/* `in` has room for the status too: the identity must not run into it. */
static void request_get_id(struct request *r, struct iovec *in, uint16_t n)
{
	uint64_t room = r->chain.in_len - 1;
	uint32_t put = iov_put(in, n, r->blk->id, room < ID_BYTES ? (uint32_t)room : ID_BYTES);

	request_answer(r, VIRTIO_BLK_S_OK, put);
}

/* Begin a request. False: the chain is no request that could be answered; the ring is broken. */
static bool request_start(struct vblk *b, struct vq_chain *chain)
{
	struct request *r = &b->req[chain->slot];
	struct iovec *out = chain->iov, *in = chain->iov + chain->n_out;
	uint16_t n_out = chain->n_out;
	struct req_header h;
	uint64_t sector;

	if (chain->out_len < sizeof(h)) {
		vq_reject(b->vq, chain, "block request without a whole header (5.2.6)");
		return false;
	}
	if (!chain->in_len) {
		vq_reject(b->vq, chain, "block request without room for a status (5.2.6)");
		return false;
	}
	/* 2.7.4.1: the header may be cut into descriptors anywhere. */
	iov_take(&out, &n_out, &h, sizeof(h));
	sector = le64_get(h.sector);

	r->blk = b;
	r->chain = *chain;
	r->status = (uint8_t *)in[chain->n_in - 1].iov_base + in[chain->n_in - 1].iov_len - 1;
	switch (le32_get(h.type)) {
	case VIRTIO_BLK_T_IN: request_read(r, sector, in, chain->n_in); break;
	case VIRTIO_BLK_T_OUT: request_write(r, sector, out, n_out); break;
	case VIRTIO_BLK_T_FLUSH: request_submit(r, BLK_FLUSH, 0, 0, NULL, 0); break;
	case VIRTIO_BLK_T_GET_ID: request_get_id(r, in, chain->n_in); break;
	default: request_answer(r, VIRTIO_BLK_S_UNSUPP, 0); break;
	}
	return true;
}

/*
 * Take what is available. At most a queue's worth at a time: a driver that makes requests available
 * as fast as they are answered must not keep the loop from its other work.
 */
static void drain(struct vblk *b)
{
	unsigned budget = VQ_SIZE_MAX;
	struct vq_chain chain;
	int got = 0;

	do {
		vq_kicks(b->vq, false);
		while (budget && (got = vq_pop(b->vq, &chain)) == 1 && request_start(b, &chain))
			budget--;
		if (got < 0 || vq_state(b->vq)->broken) {
			publish(b);
			b->dev.host->ops->needs_reset(b->dev.host);
			return;
		}
		if (!budget) {
			b->again_posted = true;
			loop_post(b->dev.loop, &b->again);
			break; /* kicks stay off until then */
		}
	} while (vq_kicks(b->vq, true));
	publish(b);
}

static void drain_again(struct loop_task *task)
{
	struct vblk *b = container_of(task, struct vblk, again);

	b->again_posted = false;
	if (b->stopped)
		stop_if_quiet(b);
	else
		drain(b);
}

/* virtio_ops */

static uint64_t vblk_features(struct virtio_dev *dev)
{
	const struct vblk *b = vblk(dev);

	return BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) |
	       (blk_readonly(b->blk) ? BIT(VIRTIO_BLK_F_RO) : 0);
}

static void vblk_config_read(struct virtio_dev *dev, uint32_t off, void *dst, size_t len)
{
	memcpy(dst, (const uint8_t *)&vblk(dev)->config + off, len);
}

/* No field that we offer may be written. */
static void vblk_config_write(struct virtio_dev *dev, uint32_t off, const void *src, size_t len)
{
	(void)dev;
	(void)off;
	(void)src;
	(void)len;
}

static int vblk_start(struct virtio_dev *dev, unsigned q, struct vq *vq)
{
	struct vblk *b = vblk(dev);

	(void)q;
	b->vq = vq;
	b->write_through = !(dev->acked & BIT(VIRTIO_BLK_F_FLUSH));
	return 0;
}

static void vblk_kick(struct virtio_dev *dev, unsigned q)
{
	struct vblk *b = vblk(dev);

	(void)q;
	if (!b->stopped && !b->again_posted)
		drain(b);
}

static void vblk_stop(struct virtio_dev *dev, unsigned q, void (*stopped)(void *arg), void *arg)
{
	struct vblk *b = vblk(dev);

	(void)q;
	b->stopped = stopped;
	b->stopped_arg = arg;
	stop_if_quiet(b);
}

static const struct virtio_ops vblk_ops = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.n_queues = 1,
	.queue_size_max = VQ_SIZE_MAX,
	.config_size = sizeof(struct config_space),
	.features = vblk_features,
	.config_read = vblk_config_read,
	.config_write = vblk_config_write,
	.start = vblk_start,
	.kick = vblk_kick,
	.stop = vblk_stop,
};

int virtio_blk_create(struct virtio_dev **dev, const struct virtio_blk_config *config,
		      struct err *err)
{
	const char *id = config->serial ? config->serial : config->name;
	struct vblk *b;

	if (config->serial && strlen(config->serial) > ID_BYTES)
		return err_set(err, -EINVAL,
			       "the serial '%s' of disk %s is too long: %zu bytes; at most %d fit",
			       config->serial, config->name, strlen(config->serial), ID_BYTES);
	b = calloc(1, sizeof(*b));
	if (!b)
		return err_set(err, -ENOMEM, "cannot create the disk %s: out of memory",
			       config->name);
	b->dev.ops = &vblk_ops;
	b->dev.loop = config->loop;
	snprintf(b->name, sizeof(b->name), "%s", config->name);
	b->log = config->log;
	b->blk = config->blk;
	b->again.run = drain_again;
	memcpy(b->id, id, strnlen(id, ID_BYTES));

	b->config.capacity = le64(blk_capacity(b->blk) >> SECTOR_SHIFT);
	/* A chain may be as long as the queue; two buffers of it are the header and the status. */
	b->config.seg_max = le32(VQ_SIZE_MAX - 2);
	b->config.blk_size = le32(SECTOR);
	*dev = &b->dev;
	return 0;
}

void virtio_blk_destroy(struct virtio_dev *dev)
{
	if (dev)
		free(vblk(dev));
}

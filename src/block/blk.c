/* SPDX-License-Identifier: MIT */
/*
 * The course of a request that is not over at once (blk_read_now()): begun on the ring or on a pool
 * thread, answered.
 *
 *	blk_submit --> queued --> begin() --> ring --> reaped ---------> done --> answer()
 *	                             |                   | the rest        ^
 *	                             |                   v                 |
 *	                             +---------------> pool ---------------+
 *
 * `queued` is what was submitted from inside of answered(), until that has returned. What is more
 * than the disk's rate allows waits in `held`. Everything here runs on the loop's thread.
 */
#include "block/blk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "block/pool.h"
#include "block/rate.h"
#include "block/raw.h"
#include "block/record.h"
#include "block/uring.h"
#include "host/file.h"
#include "host/loop.h"

enum { SECTOR = 512 };

/* Longest read that the loop's thread copies itself: some ten microseconds of its time. */
enum { INLINE_MAX = 128 * 1024 };

struct blk {
	struct raw raw;
	struct pool *pool;
	struct uring *ring;    /* NULL: the pool does it all */
	struct rate *rate;     /* NULL: no limit */
	struct record *record; /* NULL: nobody wants one */
	enum blk_cache cache;

	bool plain; /* nothing is in the way of reads: no rate, no record, no direct I/O */

	blk_answered_fn *answered;
	void *arg;
	unsigned in_flight; /* begun and not over */
	bool answering;
	struct blk_req *queued; /* submitted meanwhile */
	struct reqs held;       /* by the limit on the rate, in order */
	struct reqs done;       /* over, to be answered */

	/* Direct I/O: writes by the page cache have the disk for themselves; see may_change(). */
	struct reqs waiting;
	unsigned changing; /* writes under way */
	bool alone;        /* one, by the page cache */
};

/* ---- Beginning ---- */

static bool is_change(const struct blk_req *req)
{
	return req->op == BLK_WRITE || req->op == BLK_ZERO;
}

/*
 * May a write begin now? With direct I/O, one that is not aligned is merged into its pages by the
 * page cache, and a direct write to the same page meanwhile could be undone when that page is
 * written back. So it waits until no other is under way, and others wait for it, in order.
 */
static bool may_change(struct blk *b, const struct blk_req *req)
{
	bool alone = req->op == BLK_ZERO || !raw_aligned(&b->raw, req);

	if (b->alone || (alone && b->changing))
		return false;
	b->changing++;
	b->alone = alone;
	return true;
}

static void over(struct blk *b, struct blk_req *req, int res)
{
	req->res = res;
	reqs_add(&b->done, req);
	b->in_flight--;
}

static void to_pool(struct blk *b, struct blk_req *req)
{
	/* No thread can be had? Slow, but right: here. */
	if (!pool_submit(b->pool, req))
		over(b, req, raw_do(&b->raw, req));
}

static void begin_one(struct blk *b, struct blk_req *req)
{
	/* The ring begins at the beginning. */
	if (b->ring && !req->moved && raw_aligned(&b->raw, req) && uring_add(b->ring, req))
		return;
	to_pool(b, req);
}

/* The writes that wait, as far as they may. */
static void begin_waiting(struct blk *b)
{
	while (b->waiting.first && may_change(b, b->waiting.first))
		begin_one(b, reqs_take(&b->waiting));
}

/* Copy what the page cache has, here; true: that was all of it. */
static bool read_here(struct blk *b, struct blk_req *req)
{
	return req->op == BLK_READ && b->raw.nowait && req->len <= INLINE_MAX &&
	       raw_read_cached(&b->raw, req);
}

static void begin_req(struct blk *b, struct blk_req *req)
{
	/* Without a ring to give them to together. A single one was tried already, which is little
	 * beside the time of a disk. */
	if (!b->ring && read_here(b, req))
		over(b, req, 0);
	else if (b->raw.direct && is_change(req) && (b->waiting.first || !may_change(b, req)))
		reqs_add(&b->waiting, req);
	else
		begin_one(b, req);
}

/* One that was just submitted. */
static void begin_new(struct blk *b, struct blk_req *req)
{
	req->moved = 0;
	if (req->op != BLK_READ && b->cache == BLK_CACHE_WRITETHROUGH)
		req->durable = true;
	else if (req->op != BLK_READ && b->cache == BLK_CACHE_UNSAFE)
		req->durable = false;
	if (unlikely(b->record))
		record_begins(b->record, req);
	b->in_flight++;
	if ((b->raw.readonly && req->op != BLK_READ) ||
	    (b->cache == BLK_CACHE_UNSAFE && req->op == BLK_FLUSH))
		over(b, req, req->op == BLK_FLUSH ? 0 : -EROFS);
	else if (b->rate && req->op != BLK_FLUSH && (b->held.first || !rate_take(b->rate, req)))
		reqs_add(&b->held, req);
	else
		begin_req(b, req);
}

static void begin_all(struct blk *b, struct blk_req *first)
{
	while (first) {
		struct blk_req *req;

		if (b->plain && b->ring)
			b->in_flight += uring_add_reads(b->ring, &first);
		req = first;
		if (!req)
			return;
		first = req->next;
		begin_new(b, req);
	}
}

/* ---- Answering ---- */

/* Changes that are over make room for those that wait, and are written down. */
static __attribute__((noinline)) void settle(struct blk *b, const struct blk_req *first)
{
	for (const struct blk_req *req = first; req; req = req->next) {
		if (b->record)
			record_ends(b->record, req, req->res);
		if (!b->raw.direct || b->raw.readonly || !is_change(req))
			continue;
		b->changing--;
		b->alone = false;
	}
	begin_waiting(b);
	if (b->ring)
		uring_submit(b->ring);
}

/* Give all that is over back, which may submit more. */
static inline void answer(struct blk *b)
{
	struct blk_req *first = b->done.first;

	reqs_init(&b->done);
	if (!b->plain)
		settle(b, first);
	b->answering = true;
	b->answered(b->arg, first);
	b->answering = false;
}

/* Submit what the ring was given, and see what of it is over. */
static __attribute__((noinline)) void serve_ring(struct blk *b)
{
	struct blk_req *req;
	struct reqs rest;

	reqs_init(&rest);
	uring_submit(b->ring);
	b->in_flight -= uring_reap(b->ring, &b->done, &rest);
	while ((req = reqs_take(&rest)))
		to_pool(b, req);
}

/* Begin these, which may be none, and answer all that is over; until nothing is left to do at
 * once. */
static void serve(struct blk *b, struct blk_req *first)
{
	for (;;) {
		if (first)
			begin_all(b, first);
		if (b->in_flight && b->ring)
			serve_ring(b);
		if (!b->done.first)
			break;
		answer(b);
		first = b->queued;
		b->queued = NULL;
	}
}

static void ring_ready(void *arg)
{
	serve(arg, NULL);
}

static void rate_ready(void *arg)
{
	struct blk *b = arg;

	while (b->held.first && rate_take(b->rate, b->held.first))
		begin_req(b, reqs_take(&b->held));
	serve(b, NULL);
}

static void pool_finished(void *arg, struct reqs *batch)
{
	struct blk *b = arg;

	for (const struct blk_req *req = batch->first; req; req = req->next)
		b->in_flight--;
	reqs_join(&b->done, batch);
	serve(b, NULL);
}

static int pool_work(void *arg, struct blk_req *req)
{
	return raw_do(&((struct blk *)arg)->raw, req);
}

/* ---- blk.h ---- */

void blk_answer_to(struct blk *blk, blk_answered_fn *answered, void *arg)
{
	blk->answered = answered;
	blk->arg = arg;
}

/*
 * Measured on Linux 6.18, 4 KiB, CPU time of user and kernel for each: preadv2() 680 ns; a ring 950
 * ns for one, 735 ns each for 32. So for one, preadv2() it is. For more, a ring costs little where
 * system calls are cheap, as they were there, and saves them where they are not; and what is not
 * cached is asked of the disk at once.
 */
bool blk_read_now(struct blk *blk, struct blk_req *req)
{
	return blk->plain && read_here(blk, req);
}

void blk_submit(struct blk *blk, struct blk_req *first)
{
	struct blk_req **end = &blk->queued;

	if (!blk->answering) {
		serve(blk, first);
		return;
	}
	while (*end) /* more than once */
		end = &(*end)->next;
	*end = first;
}

/* The ring, if it is wanted and there is one. */
static int open_ring(struct blk *b, const struct blk_config *config, struct err *err)
{
	const struct uring_config ring = {
		.fd = b->raw.fd,
		.loop = config->loop,
		.ready = ring_ready,
		.arg = b,
	};
	struct err why = ERR_INIT;
	int res;

	if (config->aio == BLK_AIO_THREADS)
		return 0;
	res = uring_create(&b->ring, &ring, &why);
	if (res && config->aio == BLK_AIO_IO_URING)
		return err_set(err, res, "aio=io_uring for '%s': %s; use aio=threads", config->path,
			       why.msg);
	if (res)
		log_msg(config->log, LOG_DEBUG, config->name, "uses threads: %s", why.msg);
	else
		log_msg(config->log, LOG_DEBUG, config->name, "uses io_uring");
	return 0;
}

static int open_rate(struct blk *b, const struct blk_config *config, struct err *err)
{
	const struct rate_config rate = {
		.iops = config->iops,
		.bps = config->bps,
		.burst_ms = config->burst_ms,
		.loop = config->loop,
		.ready = rate_ready,
		.arg = b,
	};

	return config->iops || config->bps ? rate_create(&b->rate, &rate, err) : 0;
}

int blk_open_raw(struct blk **blk, const struct blk_config *config, struct err *err)
{
	struct blk *b = calloc(1, sizeof(*b));
	const struct pool_config pool = {
		.loop = config->loop,
		.work = pool_work,
		.finished = pool_finished,
		.arg = b,
	};
	int code;

	if (!b)
		return err_set(err, -ENOMEM, "cannot open '%s': out of memory", config->path);
	b->cache = config->cache;
	reqs_init(&b->held);
	reqs_init(&b->done);
	reqs_init(&b->waiting);
	code = raw_open(&b->raw, config, err);
	if (code)
		goto fail;
	code = open_ring(b, config, err);
	if (code)
		goto fail_raw;
	code = open_rate(b, config, err);
	if (code)
		goto fail_ring;
	code = config->record
		       ? record_open(&b->record, config->record, config->name, config->log, err)
		       : 0;
	if (code)
		goto fail_rate;
	code = pool_create(&b->pool, &pool, err);
	if (code)
		goto fail_record;
	b->plain = !b->rate && !b->record && !b->raw.direct;
	*blk = b;
	return 0;

fail_record:
	record_close(b->record);
fail_rate:
	rate_destroy(b->rate);
fail_ring:
	uring_destroy(b->ring);
fail_raw:
	raw_close(&b->raw);
fail:
	free(b);
	return code;
}

void blk_close(struct blk *blk)
{
	if (!blk)
		return;
	assert(!blk->in_flight);
	pool_destroy(blk->pool);
	record_close(blk->record);
	uring_destroy(blk->ring);
	rate_destroy(blk->rate);
	raw_close(&blk->raw);
	free(blk);
}

uint64_t blk_capacity(const struct blk *blk)
{
	return align_up(blk->raw.size, SECTOR);
}

int blk_refresh_capacity(struct blk *blk)
{
	uint64_t before = blk_capacity(blk);
	int64_t size = file_size(blk->raw.cached_fd);

	if (size < 0)
		return (int)size;
	blk->raw.size = (uint64_t)size;
	return blk_capacity(blk) != before;
}

bool blk_readonly(const struct blk *blk)
{
	return blk->raw.readonly;
}

enum blk_cache blk_cache(const struct blk *blk)
{
	return blk->cache;
}

void blk_limits(const struct blk *blk, struct blk_limits *limits)
{
	*limits = blk->raw.limits;
}

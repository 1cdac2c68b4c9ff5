/* SPDX-License-Identifier: MIT */
/*
 * Raw images: a file or block device of which each byte is the disk's byte of the same number.
 *
 * A read is tried on the loop's thread first, for what the page cache holds (RWF_NOWAIT never
 * sleeps on the disk). The rest goes to the thread pool. The file is never mapped: one that is
 * truncated underneath us is then an error of a request, not a SIGBUS.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "block/blk.h"
#include "block/pool.h"
#include "host/file.h"

enum { SECTOR = 512 };

/* Longest read that the loop's thread copies itself: some ten microseconds of its time. */
enum { INLINE_MAX = 128 * 1024 };

/* Buffers given to one system call once a transfer has stopped short (at most IOV_MAX, 1024). */
enum { IOV_BATCH = 64 };

struct blk {
	int fd;
	bool readonly;
	bool nowait;   /* the file system takes RWF_NOWAIT; the loop's thread only */
	uint64_t size; /* bytes in the file when it was opened */
	struct pool *pool;
};

/* The buffers of req from byte `moved` on, at most IOV_BATCH of them. */
static int iov_rest(const struct blk_req *req, struct iovec *rest)
{
	uint64_t skip = req->moved;
	int n = 0;

	for (int i = 0; i < req->iovcnt && n < IOV_BATCH; i++) {
		const struct iovec *v = &req->iov[i];

		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		rest[n++] = (struct iovec){ (uint8_t *)v->iov_base + skip, v->iov_len - skip };
		skip = 0;
	}
	return n;
}

static void iov_zero_rest(const struct blk_req *req)
{
	uint64_t skip = req->moved;

	for (int i = 0; i < req->iovcnt; i++) {
		const struct iovec *v = &req->iov[i];

		if (skip >= v->iov_len) {
			skip -= v->iov_len;
			continue;
		}
		memset((uint8_t *)v->iov_base + skip, 0, v->iov_len - skip);
		skip = 0;
	}
}

/* Go on from `moved` to the end, however short each transfer is. On a pool thread. */
static int transfer(struct blk *blk, struct blk_req *req)
{
	while (req->moved < req->len) {
		struct iovec rest[IOV_BATCH];
		const struct iovec *iov = req->iov;
		int n = req->iovcnt;
		off_t at = (off_t)(req->off + req->moved);
		ssize_t r;

		if (req->moved) {
			iov = rest;
			n = iov_rest(req, rest);
		}
		r = req->op == BLK_READ ? preadv(blk->fd, iov, n, at)
					: pwritev(blk->fd, iov, n, at);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0) {
			/* End of file. Beyond what was there at the start, it is the rest of the
			 * last sector; before, somebody has cut the file. */
			if (req->op != BLK_READ || (uint64_t)at < blk->size)
				return -EIO;
			iov_zero_rest(req);
			return 0;
		}
		req->moved += (uint64_t)r;
	}
	return 0;
}

static int raw_work(void *arg, struct blk_req *req)
{
	struct blk *blk = arg;
	int res = 0;

	if (req->op != BLK_FLUSH)
		res = transfer(blk, req);
	if (!res && (req->op == BLK_FLUSH || (req->op == BLK_WRITE && req->durable)))
		res = fdatasync(blk->fd) < 0 ? -errno : 0;
	return res;
}

/* What the page cache has, now. */
static void read_cached(struct blk *blk, struct blk_req *req)
{
	ssize_t r = preadv2(blk->fd, req->iov, req->iovcnt, (off_t)req->off, RWF_NOWAIT);

	if (r > 0)
		req->moved = (uint64_t)r;
	else if (r < 0 && errno == EOPNOTSUPP)
		blk->nowait = false;
}

void blk_submit(struct blk *blk, struct blk_req *req)
{
	req->moved = 0;
	if (blk->readonly && req->op != BLK_READ) {
		pool_complete(blk->pool, req, req->op == BLK_FLUSH ? 0 : -EROFS);
		return;
	}
	if (req->op == BLK_READ && blk->nowait && req->len <= INLINE_MAX)
		read_cached(blk, req);
	if (req->op != BLK_FLUSH && req->moved == req->len)
		pool_complete(blk->pool, req, 0);
	else
		pool_submit(blk->pool, req);
}

/* Open a file for writing; if that is what fails, say how to do without. */
static int raw_open_file(struct blk *blk, const struct blk_config *config, struct err *err)
{
	struct err why = ERR_INIT;
	const char *hint = "";
	int code = file_open(config->path, !config->readonly, &blk->fd, &blk->size, &why);

	if (!code)
		return 0;
	if (!config->readonly && (code == -EACCES || code == -EROFS || code == -EPERM))
		hint = "; add ,ro to use it read-only";
	return err_set(err, code, "%s%s", why.msg, hint);
}

int blk_open_raw(struct blk **blk, const struct blk_config *config, struct err *err)
{
	struct blk *b = calloc(1, sizeof(*b));
	int code;

	if (!b)
		return err_set(err, -ENOMEM, "cannot open '%s': out of memory", config->path);
	b->readonly = config->readonly;
	b->nowait = true;
	code = raw_open_file(b, config, err);
	if (code)
		goto fail;
	code = file_lock(b->fd, !config->readonly, config->path, err);
	if (code)
		goto fail_fd;
	code = pool_create(&b->pool, config->loop, raw_work, b, err);
	if (code)
		goto fail_fd;
	*blk = b;
	return 0;

fail_fd:
	close(b->fd);
fail:
	free(b);
	return code;
}

uint64_t blk_capacity(const struct blk *blk)
{
	return align_up(blk->size, SECTOR);
}

bool blk_readonly(const struct blk *blk)
{
	return blk->readonly;
}

void blk_drain(struct blk *blk, void (*idle)(void *arg), void *arg)
{
	pool_drain(blk->pool, idle, arg);
}

void blk_close(struct blk *blk)
{
	if (!blk)
		return;
	pool_destroy(blk->pool);
	close(blk->fd);
	free(blk);
}

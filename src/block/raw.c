/* SPDX-License-Identifier: MIT */
/*
 * Raw images: a file or block device of which each byte is the disk's byte of the same number.
 *
 * A read is tried on the loop's thread first, for what the page cache holds (RWF_NOWAIT never
 * sleeps on the disk). The rest goes to the thread pool. The file is never mapped: one that is
 * truncated underneath us is then an error of a request, not a SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
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

/* Longest requests. Where the file system cannot free or zero blocks by itself, zeros are written:
 * that must not take long. */
#define DISCARD_MAX (1ULL << 30)
#define ZERO_MAX    (64ULL << 20)

struct blk {
	int fd;
	bool readonly;
	bool device;           /* a block device, not a regular file */
	bool nowait;           /* the file system takes RWF_NOWAIT; the loop's thread only */
	_Atomic uint64_t size; /* bytes in the file when it was opened or looked at again */
	struct blk_limits limits;
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

/* Did a way of freeing or zeroing blocks fail because there is no such way here? -EINVAL is what a
 * device says to a range that is not of its own blocks. */
static bool no_such_way(int code)
{
	return code == -EOPNOTSUPP || code == -ENOSYS || code == -EINVAL || code == -ENOTTY;
}

static int change_blocks(struct blk *blk, const struct blk_req *req, int mode)
{
	int r;

	do {
		r = fallocate(blk->fd, mode, (off_t)req->off, (off_t)req->len);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int discard(struct blk *blk, const struct blk_req *req)
{
	uint64_t range[2] = { req->off, req->len };
	int r;

	if (!req->len)
		return 0;
	/* On a device, punching a hole means zeroing it, which is more than was asked for. */
	if (blk->device)
		r = ioctl(blk->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	else
		r = change_blocks(blk, req, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	return no_such_way(r) ? 0 : r;
}

static int write_zeros(struct blk *blk, struct blk_req *req)
{
	static const uint8_t zeros[64 * 1024];

	while (req->moved < req->len) {
		uint64_t left = req->len - req->moved;
		ssize_t r = pwrite(blk->fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros),
				   (off_t)(req->off + req->moved));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		req->moved += (uint64_t)r;
	}
	return 0;
}

static int zero(struct blk *blk, struct blk_req *req)
{
	int r = -EOPNOTSUPP;

	if (!req->len)
		return 0;
	if (req->may_unmap)
		r = change_blocks(blk, req, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	if (no_such_way(r))
		r = change_blocks(blk, req, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	if (no_such_way(r))
		r = write_zeros(blk, req);
	return r;
}

static int raw_work(void *arg, struct blk_req *req)
{
	struct blk *blk = arg;
	int res = 0;

	switch (req->op) {
	case BLK_READ: return transfer(blk, req);
	case BLK_WRITE: res = transfer(blk, req); break;
	case BLK_FLUSH: break;
	case BLK_DISCARD: res = discard(blk, req); break;
	case BLK_ZERO: res = zero(blk, req); break;
	}
	if (!res && (req->op == BLK_FLUSH || req->durable))
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
	if (req->op <= BLK_WRITE && req->moved == req->len)
		pool_complete(blk->pool, req, 0);
	else
		pool_submit(blk->pool, req);
}

void blk_plug(struct blk *blk)
{
	(void)blk;
}

void blk_unplug(struct blk *blk)
{
	(void)blk;
}

/* A power of two from what the host says, which may be nothing. */
static uint32_t block_size(uint64_t said, uint32_t least)
{
	return is_pow2(said) && said >= least && said <= 1 << 20 ? (uint32_t)said : least;
}

static void raw_limits_device(struct blk *blk)
{
	struct blk_limits *l = &blk->limits;
	int logical = 0, offset = 0;
	unsigned physical = 0, io_min = 0, io_opt = 0;

	/* What a device does not tell stays 0. */
	ioctl(blk->fd, BLKSSZGET, &logical);
	ioctl(blk->fd, BLKPBSZGET, &physical);
	ioctl(blk->fd, BLKALIGNOFF, &offset);
	ioctl(blk->fd, BLKIOMIN, &io_min);
	ioctl(blk->fd, BLKIOOPT, &io_opt);
	l->logical_block = block_size(logical > 0 ? (uint64_t)logical : 0, SECTOR);
	l->physical_block = block_size(physical, l->logical_block);
	l->block_offset = offset > 0 ? (uint32_t)offset & (l->physical_block - 1) : 0;
	l->io_min = io_min;
	l->io_opt = io_opt;
}

static int raw_limits(struct blk *blk)
{
	struct blk_limits *l = &blk->limits;
	struct stat st;

	if (fstat(blk->fd, &st) < 0)
		return -errno;
	blk->device = S_ISBLK(st.st_mode);
	if (blk->device) {
		raw_limits_device(blk);
	} else {
		l->logical_block = SECTOR;
		l->physical_block = block_size((uint64_t)st.st_blksize, SECTOR);
		l->io_min = l->physical_block;
	}
	l->discard_align = l->physical_block;
	if (blk->readonly)
		return 0;
	l->discard_max = DISCARD_MAX;
	l->zero_max = ZERO_MAX;
	l->zero_may_unmap = true;
	return 0;
}

/* Open a file for writing; if that is what fails, say how to do without. */
static int raw_open_file(struct blk *blk, const struct blk_config *config, struct err *err)
{
	struct err why = ERR_INIT;
	const char *hint = "";
	uint64_t size;
	int code = file_open(config->path, !config->readonly, &blk->fd, &size, &why);

	if (!code) {
		blk->size = size;
		return 0;
	}
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
	code = raw_limits(b);
	if (code) {
		err_set(err, code, "cannot look at '%s': %s", config->path, strerror(-code));
		goto fail_fd;
	}
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

int blk_refresh_capacity(struct blk *blk)
{
	uint64_t before = blk_capacity(blk);
	int64_t size = file_size(blk->fd);

	if (size < 0)
		return (int)size;
	blk->size = (uint64_t)size;
	return blk_capacity(blk) != before;
}

void blk_limits(const struct blk *blk, struct blk_limits *limits)
{
	*limits = blk->limits;
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

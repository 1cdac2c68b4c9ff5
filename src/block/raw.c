/* SPDX-License-Identifier: MIT */
/*
 * Raw images on Linux.
 *
 * The file is never mapped: one that is truncated underneath us is then an error of a request, not
 * a SIGBUS.
 *
 * Direct I/O (cache=none) wants offsets, lengths and buffers that are aligned, open(2). What is not
 * goes through the page cache, by a second descriptor: the kernel then does the reading around and
 * the merging, writes its dirty pages before a direct read of them, and drops its pages when a
 * direct write passes. Only a cached and a direct write of the same page at the same time do not
 * go together; blk.c sees to that.
 */
#include "block/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/file.h"

enum { SECTOR = 512 };

/* Buffers given to one system call once a transfer has stopped short (at most IOV_MAX, 1024). */
enum { IOV_BATCH = 64 };

/* For direct I/O, where the kernel does not tell: no disk's blocks are larger in practice. */
enum { DIRECT_ALIGN = 4096 };

/* Longest requests. Where the file system cannot free or zero blocks by itself, zeros are written:
 * that must not take long. */
#define DISCARD_MAX (1ULL << 30)
#define ZERO_MAX    (64ULL << 20)

/* ---- Reading and writing ---- */

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

bool raw_aligned(const struct raw *raw, const struct blk_req *req)
{
	if (!raw->direct)
		return true;
	if ((req->off | req->len) & (raw->off_align - 1))
		return false;
	for (int i = 0; i < req->iovcnt; i++) {
		const struct iovec *v = &req->iov[i];

		if (((uintptr_t)v->iov_base | v->iov_len) & (raw->mem_align - 1))
			return false;
	}
	return true;
}

/* Go on from `moved` to the end, however short each transfer is. */
static int transfer(struct raw *raw, struct blk_req *req)
{
	/*
	 * A direct write that stopped short goes on direct, from the last block's beginning: what
	 * is written twice is the same. A read may go on by the cache.
	 */
	bool direct = raw->direct && raw_aligned(raw, req) && (req->op == BLK_WRITE || !req->moved);
	int fd = direct ? raw->fd : raw->cached_fd;

	if (direct)
		req->moved = align_down(req->moved, raw->off_align);
	while (req->moved < req->len) {
		struct iovec rest[IOV_BATCH];
		const struct iovec *iov = req->iov;
		int n = req->iovcnt;
		off_t at = (off_t)(req->off + req->moved);
		uint64_t before = req->moved;
		ssize_t r;

		if (req->moved) {
			iov = rest;
			n = iov_rest(req, rest);
		}
		r = req->op == BLK_READ ? preadv(fd, iov, n, at) : pwritev(fd, iov, n, at);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0) {
			/* End of file. Beyond what was there at the start, it is the rest of the
			 * last sector; before, somebody has cut the file. */
			if (req->op != BLK_READ || (uint64_t)at < raw->size)
				return -EIO;
			iov_zero_rest(req);
			return 0;
		}
		req->moved += (uint64_t)r;
		if (!direct || req->moved == req->len)
			continue;
		if (req->op == BLK_READ)
			fd = raw->cached_fd;
		else if ((req->moved = align_down(req->moved, raw->off_align)) == before)
			return -EIO;
	}
	return 0;
}

bool raw_read_cached(struct raw *raw, struct blk_req *req)
{
	/* preadv2(), but for being a point of cancellation, which costs more than all else of it
	 * where there are threads. The offset is in two longs, of which the first one holds all. */
	long r = syscall(SYS_preadv2, raw->fd, req->iov, (long)req->iovcnt, (long)req->off, 0L,
			 (long)RWF_NOWAIT);

	if (likely(r == (long)req->len))
		return true;
	req->moved = r > 0 ? (uint64_t)r : 0;
	if (r < 0 && errno == EOPNOTSUPP)
		raw->nowait = false;
	return false;
}

/* ---- Freeing and zeroing ---- */

/* Did a way of freeing or zeroing blocks fail because there is no such way here? -EINVAL is what a
 * device says to a range that is not of its own blocks. */
static bool no_such_way(int code)
{
	return code == -EOPNOTSUPP || code == -ENOSYS || code == -EINVAL || code == -ENOTTY;
}

static int change_blocks(struct raw *raw, const struct blk_req *req, int mode)
{
	int r;

	do {
		r = fallocate(raw->fd, mode, (off_t)req->off, (off_t)req->len);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int discard(struct raw *raw, const struct blk_req *req)
{
	uint64_t range[2] = { req->off, req->len };
	int r;

	if (!req->len)
		return 0;
	/* On a device, punching a hole means zeroing it, which is more than was asked for. */
	if (raw->device)
		r = ioctl(raw->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	else
		r = change_blocks(raw, req, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	return no_such_way(r) ? 0 : r;
}

static int write_zeros(struct raw *raw, struct blk_req *req)
{
	static const uint8_t zeros[64 * 1024];

	while (req->moved < req->len) {
		uint64_t left = req->len - req->moved;
		ssize_t r =
			pwrite(raw->cached_fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros),
			       (off_t)(req->off + req->moved));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		req->moved += (uint64_t)r;
	}
	return 0;
}

static int zero(struct raw *raw, struct blk_req *req)
{
	int r = -EOPNOTSUPP;

	if (!req->len)
		return 0;
	if (req->may_unmap)
		r = change_blocks(raw, req, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	if (no_such_way(r))
		r = change_blocks(raw, req, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	if (no_such_way(r))
		r = write_zeros(raw, req);
	return r;
}

static int erase(struct raw *raw, const struct blk_req *req)
{
	uint64_t range[2] = { req->off, req->len };

	return req->len && ioctl(raw->fd, BLKSECDISCARD, range) < 0 ? -errno : 0;
}

int raw_do(struct raw *raw, struct blk_req *req)
{
	int res = 0;

	switch (req->op) {
	case BLK_READ: return transfer(raw, req);
	case BLK_WRITE: res = transfer(raw, req); break;
	case BLK_FLUSH: break;
	case BLK_DISCARD: res = discard(raw, req); break;
	case BLK_ZERO: res = zero(raw, req); break;
	case BLK_ERASE: res = erase(raw, req); break;
	}
	if (!res && (req->op == BLK_FLUSH || req->durable))
		res = fdatasync(raw->fd) < 0 ? -errno : 0;
	return res;
}

/* ---- Opening ---- */

/* A power of two from what the host says, which may be nothing. */
static uint32_t block_size(uint64_t said, uint32_t least)
{
	return is_pow2(said) && said >= least && said <= 1 << 20 ? (uint32_t)said : least;
}

static void limits_of_device(struct raw *raw)
{
	struct blk_limits *l = &raw->limits;
	int logical = 0, offset = 0;
	unsigned physical = 0, io_min = 0, io_opt = 0;

	/* What a device does not tell stays 0. */
	ioctl(raw->fd, BLKSSZGET, &logical);
	ioctl(raw->fd, BLKPBSZGET, &physical);
	ioctl(raw->fd, BLKALIGNOFF, &offset);
	ioctl(raw->fd, BLKIOMIN, &io_min);
	ioctl(raw->fd, BLKIOOPT, &io_opt);
	l->logical_block = block_size(logical > 0 ? (uint64_t)logical : 0, SECTOR);
	l->physical_block = block_size(physical, l->logical_block);
	l->block_offset = offset > 0 ? (uint32_t)offset & (l->physical_block - 1) : 0;
	l->io_min = io_min;
	l->io_opt = io_opt;
}

/* Linux tells it by the error for a range that cannot be (block/ioctl.c): -EOPNOTSUPP comes before
 * -EINVAL. Only a device can: of a file, the host's file system may have copies elsewhere. */
static bool can_erase(int fd)
{
	uint64_t nonsense[2] = { 1, 1 };

	return ioctl(fd, BLKSECDISCARD, nonsense) < 0 && errno == EINVAL;
}

static void set_limits(struct raw *raw, const struct stat *st)
{
	struct blk_limits *l = &raw->limits;

	if (raw->device) {
		limits_of_device(raw);
	} else {
		l->logical_block = SECTOR;
		l->physical_block = block_size((uint64_t)st->st_blksize, SECTOR);
		l->io_min = l->physical_block;
	}
	l->discard_align = l->physical_block;
	if (raw->readonly)
		return;
	l->discard_max = DISCARD_MAX;
	l->zero_max = ZERO_MAX;
	l->erase_max = raw->device && can_erase(raw->fd) ? DISCARD_MAX : 0;
	l->zero_may_unmap = true;
}

/* Open a file for writing; if that is what fails, say how to do without. */
static int open_file(struct raw *raw, const struct blk_config *config, struct err *err)
{
	struct err why = ERR_INIT;
	const char *hint = "";
	uint64_t size;
	int code = file_open(config->path, !config->readonly, &raw->fd, &size, &why);

	if (!code) {
		raw->size = size;
		return 0;
	}
	if (!config->readonly && (code == -EACCES || code == -EROFS || code == -EPERM))
		hint = ", with ,ro behind its name";
	return err_set(err, code, "%s%s", why.msg, hint);
}

/* What direct I/O wants here; statx(2). Kernels before 6.1 do not tell. */
static void set_alignment(struct raw *raw)
{
	struct statx x;

	raw->mem_align = raw->off_align = DIRECT_ALIGN;
	if (statx(raw->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 &&
	    (x.stx_mask & STATX_DIOALIGN) && is_pow2(x.stx_dio_mem_align) &&
	    is_pow2(x.stx_dio_offset_align)) {
		raw->mem_align = x.stx_dio_mem_align;
		raw->off_align = x.stx_dio_offset_align;
	}
}

/* Open the file that is open already once more, for direct I/O. */
static int open_direct(struct raw *raw, const struct blk_config *config, const struct stat *st,
		       struct err *err)
{
	int flags = (config->readonly ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC | O_NOCTTY;
	struct stat now;
	int fd;

	do {
		fd = open(config->path, flags | O_NONBLOCK);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0 && errno == EINVAL)
		return err_set(err, -EINVAL,
			       "the file system of '%s' cannot do without the page cache; use "
			       "cache=writeback",
			       config->path);
	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s' for direct I/O: %s", config->path,
			       strerror(errno));
	if (fstat(fd, &now) < 0 || now.st_dev != st->st_dev || now.st_ino != st->st_ino ||
	    fcntl(fd, F_SETFL, O_DIRECT) < 0) {
		close(fd);
		return err_set(err, -EAGAIN, "the file '%s' was replaced while it was opened",
			       config->path);
	}
	raw->fd = fd;
	raw->direct = true;
	set_alignment(raw);
	return 0;
}

int raw_open(struct raw *raw, const struct blk_config *config, struct err *err)
{
	struct stat st;
	int code;

	memset(raw, 0, sizeof(*raw));
	raw->readonly = config->readonly;
	code = open_file(raw, config, err);
	if (code)
		return code;
	raw->cached_fd = raw->fd;
	code = file_lock(raw->fd, !config->readonly, config->path, err);
	if (code)
		goto fail;
	if (fstat(raw->fd, &st) < 0) {
		code = err_set(err, -errno, "cannot look at '%s': %s", config->path,
			       strerror(errno));
		goto fail;
	}
	raw->device = S_ISBLK(st.st_mode);
	set_limits(raw, &st);
	if (config->cache == BLK_CACHE_NONE)
		code = open_direct(raw, config, &st, err);
	if (code)
		goto fail;
	raw->nowait = !raw->direct;
	return 0;

fail:
	close(raw->cached_fd);
	return code;
}

void raw_close(struct raw *raw)
{
	/* What a ring did last may hold the file a little longer, but the lock ends now. */
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(raw->cached_fd, F_OFD_SETLK, &lock);
	if (raw->direct)
		close(raw->fd);
	close(raw->cached_fd);
}

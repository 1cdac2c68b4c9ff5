/* SPDX-License-Identifier: MIT */
/*
 * A block backend: where a disk's bytes live. Requests are asynchronous; each is answered exactly
 * once, on the loop's thread. They are submitted and answered as lists, linked by `next`: what is
 * done once for all of a list costs each little.
 *
 * Threads: open and close on the set-up thread; the rest on the loop's thread.
 */
#ifndef HAKO_BLOCK_BLK_H
#define HAKO_BLOCK_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct err;
struct log;
struct loop;

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	/* Covers every write that was answered before it was submitted: it is answered when those
	 * are on stable storage. */
	BLK_FLUSH,
	/* Of [off, off + len), no buffers: */
	BLK_DISCARD, /* the bytes may be anything from now on; where that cannot be had, nothing */
	BLK_ZERO,    /* the bytes read as zeros from now on */
	BLK_ERASE,   /* nobody can find the bytes on the medium any more */
};

/* Embedded in its owner, who keeps it, its iovec and its buffers in place until it is answered. */
struct blk_req {
	struct blk_req *next; /* NULL: the last of its list */
	enum blk_op op;
	bool durable;   /* all but READ: answer when the effect is on stable storage */
	bool may_unmap; /* ZERO: the host may free the room that the bytes take */
	uint64_t off;   /* bytes; the caller has checked off + len against blk_capacity() */
	uint64_t len;   /* bytes, the sum of iov where there is one */
	const struct iovec *iov;
	int iovcnt;
	int res; /* the answer: 0 or a negative errno */

	/* The backend's */
	uint64_t moved; /* bytes read or written so far */
	uint64_t record_id;
};

/* The requests of a list are over, with their `res` set, and the owner's again. */
typedef void blk_answered_fn(void *arg, struct blk_req *first);

struct blk;

/* When a write is on stable storage, and where bytes are on their way. */
enum blk_cache {
	BLK_CACHE_WRITEBACK,    /* after a flush, or when the request is `durable` */
	BLK_CACHE_WRITETHROUGH, /* when it is answered: each is taken as `durable` */
	BLK_CACHE_NONE,         /* as writeback, and past the host's page cache (O_DIRECT) */
	BLK_CACHE_UNSAFE,       /* when the host likes; FLUSH and `durable` mean nothing */
};

/* Who does the work. */
enum blk_aio {
	BLK_AIO_AUTO, /* an io_uring if the host lets us have one, else threads */
	BLK_AIO_IO_URING,
	BLK_AIO_THREADS,
};

struct blk_config {
	const char *path;
	bool readonly;
	enum blk_cache cache;
	enum blk_aio aio;
	/* At most so many requests and bytes a second, 0: no limit; and after a pause, as many at
	 * once as in burst_ms. Flushes do not count. */
	uint64_t iops, bps;
	uint64_t burst_ms;
	const char *record; /* write down there all that changes the disk (record.h), or NULL */
	struct loop *loop;
	const char *name; /* for the log; may be NULL if `log` is */
	struct log *log;  /* may be NULL */
};

/* A raw image file or block device. Locks it: exclusive when writable, shared when read-only. */
int blk_open_raw(struct blk **blk, const struct blk_config *config, struct err *err);

/*
 * Bytes the guest sees: the file's length rounded up to 512. The tail beyond the file's end reads
 * as zeros and a write into it extends the file to the whole sector at most.
 */
uint64_t blk_capacity(const struct blk *blk);
/*
 * Look at the file's length again, which somebody may have changed: 1 if blk_capacity() is another
 * now, 0 if not, or a negative errno.
 */
int blk_refresh_capacity(struct blk *blk);
bool blk_readonly(const struct blk *blk);
enum blk_cache blk_cache(const struct blk *blk);

/* What suits the backend. All bytes; sizes of blocks are powers of two. It does not change. */
struct blk_limits {
	uint32_t logical_block;  /* what the host's medium can address; 512 for a file */
	uint32_t physical_block; /* a write of less is a read, a change and a write to it */
	uint32_t block_offset;   /* where the first physical block begins; below physical_block */
	uint32_t io_min, io_opt; /* lengths of transfers that suit it; 0: nothing is known */

	/* The longest request, so that none takes long; a multiple of 512; 0: not for this disk,
	 * which is read-only. BLK_DISCARD of whole units of discard_align frees most. */
	uint64_t discard_max, zero_max;
	uint64_t erase_max; /* the same; 0 also: there is no such way */
	uint32_t discard_align;
	bool zero_may_unmap; /* BLK_ZERO with may_unmap may free room */
};
void blk_limits(const struct blk *blk, struct blk_limits *limits);

/* Who is told of answers; before the first request. */
void blk_answer_to(struct blk *blk, blk_answered_fn *answered, void *arg);
/*
 * Do a READ at once, if it is short, the host has its bytes in the page cache, and nothing is in
 * the way: true, and that was it, without an answer. False: it is to be submitted. For one that
 * comes by itself; of several, blk_submit() does all at the price of one.
 */
bool blk_read_now(struct blk *blk, struct blk_req *req);
/*
 * Begin the requests of a list, together. Some may be answered before this returns. What is
 * submitted from inside answered() is begun when that has returned.
 */
void blk_submit(struct blk *blk, struct blk_req *first);
/* No request in flight; the loop's thread has ended or this is it. */
void blk_close(struct blk *blk);

#endif

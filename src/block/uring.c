/* SPDX-License-Identifier: MIT */
/*
 * io_uring through liburing; io_uring(7), io_uring_setup(2), io_uring_enter(2).
 *
 * The kernel completes what it can at once (the page cache's bytes) inside the system call that
 * submits. The rest completes later: the ring's descriptor becomes readable, which the loop sees.
 * What the kernel still has to do for those, it does when the loop's thread is in the kernel
 * anyway, and interrupts nobody (IORING_SETUP_COOP_TASKRUN, since Linux 5.19). To put it off
 * further, until we ask (IORING_SETUP_DEFER_TASKRUN), does not go with waiting by epoll: Linux 6.18
 * was seen not to wake it up.
 *
 * The file is not registered with the ring (IORING_REGISTER_FILES), which would save some 45 ns for
 * each request: the kernel takes a ring apart some time after its process has ended, and the file
 * would stay open and locked until then, to a hako begun at once or a file system to be unmounted.
 */
#include "block/uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/loop.h"

enum {
	ENTRIES = 256,           /* submitted by one call at most */
	IN_FLIGHT = 2 * ENTRIES, /* as many as the completion queue holds; io_uring_setup(2) */
};

/* Longest request: the kernel moves no more than 2 GiB by one operation; read(2). */
#define LEN_MAX (1ULL << 30)

struct uring {
	struct uring_config config;
	struct io_uring ring;
	struct loop_source source;
	struct loop_task retry; /* the kernel would not take what was added */
	bool retry_posted;
	unsigned added;     /* not submitted yet */
	unsigned in_flight; /* these and those submitted */
};

static void uring_retry(struct loop_task *task)
{
	struct uring *u = container_of(task, struct uring, retry);

	u->retry_posted = false;
	uring_submit(u);
	u->config.ready(u->config.arg);
}

static void uring_ready(struct loop_source *source, uint32_t events)
{
	struct uring *u = container_of(source, struct uring, source);

	(void)events;
	u->config.ready(u->config.arg);
}

/* Does this kernel know the operations that we use? */
static int check_operations(struct uring *u)
{
	static const uint8_t ops[] = { IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV,
				       IORING_OP_WRITEV, IORING_OP_FSYNC };
	struct io_uring_probe *probe = io_uring_get_probe_ring(&u->ring);
	int res = 0;

	if (!probe)
		return -ENOSYS;
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++)
		if (!io_uring_opcode_supported(probe, ops[i]))
			res = -ENOSYS;
	io_uring_free_probe(probe);
	return res;
}

static const char *why_not(int code)
{
	switch (code) {
	case -ENOSYS: return "; this kernel has none, or too old a one";
	case -EPERM: return "; it is switched off (sysctl kernel.io_uring_disabled), or filtered";
	case -ENOMEM: return "; raise the limit of locked memory (ulimit -l)";
	default: return "";
	}
}

int uring_create(struct uring **uring, const struct uring_config *config, struct err *err)
{
	struct uring *u = calloc(1, sizeof(*u));
	int res;

	if (!u)
		return err_set(err, -ENOMEM, "cannot create an io_uring: out of memory");
	u->config = *config;
	res = io_uring_queue_init(ENTRIES, &u->ring, IORING_SETUP_COOP_TASKRUN);
	if (res == -EINVAL) /* an older kernel */
		res = io_uring_queue_init(ENTRIES, &u->ring, 0);
	if (res) {
		free(u);
		return err_set(err, res, "cannot create an io_uring: %s%s", strerror(-res),
			       why_not(res));
	}
	res = check_operations(u);
	if (res) {
		io_uring_queue_exit(&u->ring);
		free(u);
		return err_set(err, res, "cannot use an io_uring: %s%s", strerror(-res),
			       why_not(res));
	}
	for (unsigned i = 0; i < ENTRIES; i++)
		u->ring.sq.sqes[i] = (struct io_uring_sqe){ .fd = config->fd };
	u->source = (struct loop_source){ .fd = u->ring.ring_fd,
					  .events = LOOP_IN,
					  .ready = uring_ready };
	u->retry.run = uring_retry;
	*uring = u;
	return 0;
}

void uring_destroy(struct uring *uring)
{
	if (!uring)
		return;
	loop_del(uring->config.loop, &uring->source);
	io_uring_queue_exit(&uring->ring);
	free(uring);
}

/* How many more may be added: what the queue holds, and no more than complete before we reap. */
static unsigned room(const struct uring *u)
{
	unsigned sq = ENTRIES - u->added, cq = IN_FLIGHT - u->in_flight;

	return sq < cq ? sq : cq;
}

/* Fill in an entry. What is the same in all of them was set with the ring: the file, and zeros. */
static inline void sqe_fill(struct io_uring_sqe *sqe, uint8_t opcode, const void *addr,
			    uint32_t len, int flags, const struct blk_req *req)
{
	sqe->opcode = opcode;
	sqe->off = req->off;
	sqe->addr = (uintptr_t)addr;
	sqe->len = len;
	sqe->rw_flags = flags;
	sqe->user_data = (uintptr_t)req;
}

/* A READ or WRITE. One buffer or a vector of them is told apart by the opcode. */
static inline void sqe_fill_rw(struct io_uring_sqe *sqe, uint8_t one, uint8_t vector, int flags,
			       const struct blk_req *req)
{
	const struct iovec *iov = req->iov;

	if (likely(req->iovcnt == 1))
		sqe_fill(sqe, one, iov->iov_base, (uint32_t)iov->iov_len, flags, req);
	else
		sqe_fill(sqe, vector, iov, (uint32_t)req->iovcnt, flags, req);
}

bool uring_add(struct uring *uring, struct blk_req *req)
{
	struct io_uring_sq *const sq = &uring->ring.sq;
	struct io_uring_sqe *sqe;

	if (req->op > BLK_FLUSH || req->len > LEN_MAX)
		return false;
	/* Watching the ring is the loop's thread's to do. */
	if (unlikely(!uring->source.watched) && loop_add(uring->config.loop, &uring->source))
		return false;
	if (!room(uring))
		uring_submit(uring);
	if (!room(uring))
		return false;
	sqe = &sq->sqes[sq->sqe_tail++ % ENTRIES];
	if (req->op == BLK_FLUSH)
		sqe_fill(sqe, IORING_OP_FSYNC, NULL, 0, IORING_FSYNC_DATASYNC, req);
	else if (req->op == BLK_READ)
		sqe_fill_rw(sqe, IORING_OP_READ, IORING_OP_READV, 0, req);
	else
		sqe_fill_rw(sqe, IORING_OP_WRITE, IORING_OP_WRITEV, req->durable ? RWF_DSYNC : 0,
			    req);
	uring->added++;
	uring->in_flight++;
	return true;
}

unsigned uring_add_reads(struct uring *uring, struct blk_req **list)
{
	struct io_uring_sq *const sq = &uring->ring.sq;
	struct io_uring_sqe *const sqes = sq->sqes;
	const unsigned begin = sq->sqe_tail,
		       end = begin + (uring->source.watched ? room(uring) : 0);
	struct blk_req *req = *list;
	unsigned at = begin;

	/* However long: what the kernel leaves out is done elsewhere. */
	for (; req && at != end && req->op == BLK_READ; req = req->next)
		sqe_fill_rw(&sqes[at++ % ENTRIES], IORING_OP_READ, IORING_OP_READV, 0, req);
	*list = req;
	sq->sqe_tail = at;
	uring->added += at - begin;
	uring->in_flight += at - begin;
	return at - begin;
}

void uring_submit(struct uring *uring)
{
	while (uring->added && !uring->retry_posted) {
		int n = io_uring_submit(&uring->ring);

		if (n == -EINTR)
			continue;
		if (n <= 0) {
			/* No memory, or too much not reaped: in a while, it goes. */
			uring->retry_posted = true;
			loop_post(uring->config.loop, &uring->retry);
			return;
		}
		uring->added -= (unsigned)n;
	}
}

/* Is this, which did not end well on the ring, worth another try elsewhere? What is short is. */
static bool for_others(const struct blk_req *req)
{
	return !req->res || req->res == -EINTR || req->res == -EAGAIN || req->res == -EOPNOTSUPP ||
	       req->res == -EINVAL;
}

unsigned uring_reap(struct uring *uring, struct reqs *done, struct reqs *rest)
{
	const struct io_uring_cq *const cq = &uring->ring.cq;
	const struct io_uring_cqe *const cqes = cq->cqes;
	const unsigned n = io_uring_cq_ready(&uring->ring), head = *cq->khead;
	struct blk_req **last = done->last; /* kept here, since each store might change it there */
	unsigned others = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct io_uring_cqe *cqe = &cqes[(head + i) % IN_FLIGHT];
		struct blk_req *req = io_uring_cqe_get_data(cqe);

		if (unlikely(cqe->res != (int64_t)req->len)) { /* for a flush, both are 0 */
			/* Short, and maybe not for good: the end of the file. */
			req->moved = cqe->res < 0 ? 0 : (uint64_t)cqe->res;
			req->res = cqe->res < 0 ? cqe->res : 0;
			if (for_others(req)) {
				reqs_add(rest, req);
				others++;
				continue;
			}
		} else {
			req->res = 0;
		}
		*last = req;
		last = &req->next;
	}
	*last = NULL;
	done->last = last;
	io_uring_cq_advance(&uring->ring, n);
	uring->in_flight -= n;
	return n - others;
}

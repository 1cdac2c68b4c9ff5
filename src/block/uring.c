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
	bool started, retry_posted;
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
	u->source = (struct loop_source){ u->ring.ring_fd, LOOP_IN, uring_ready };
	u->retry.run = uring_retry;
	*uring = u;
	return 0;
}

void uring_destroy(struct uring *uring)
{
	if (!uring)
		return;
	if (uring->started)
		loop_del(uring->config.loop, &uring->source);
	io_uring_queue_exit(&uring->ring);
	free(uring);
}

/* Watch the ring, which is the loop's thread's to do; and see to room for another request. */
static __attribute__((noinline)) struct io_uring_sqe *sqe_first(struct uring *u)
{
	if (!u->started && loop_add(u->config.loop, &u->source))
		return NULL;
	u->started = true;
	uring_submit(u); /* as many as the queue holds */
	return io_uring_get_sqe(&u->ring);
}

/* One operation. A buffer or a vector of them is told apart by the opcode. */
static inline void sqe_fill(struct io_uring_sqe *sqe, uint8_t opcode, const struct uring *u,
			    const void *addr, uint32_t len, const struct blk_req *req)
{
	*sqe = (struct io_uring_sqe){
		.opcode = opcode,
		.fd = u->config.fd,
		.off = req->off,
		.addr = (uintptr_t)addr,
		.len = len,
		.user_data = (uintptr_t)req,
	};
}

bool uring_add(struct uring *uring, struct blk_req *req)
{
	const struct iovec *iov = req->iov;
	uint32_t n = (uint32_t)req->iovcnt;
	struct io_uring_sqe *sqe;

	if (unlikely(req->op > BLK_FLUSH || req->len > LEN_MAX || uring->in_flight == IN_FLIGHT))
		return false;
	sqe = likely(uring->started) ? io_uring_get_sqe(&uring->ring) : NULL;
	if (unlikely(!sqe)) {
		sqe = sqe_first(uring);
		if (!sqe)
			return false;
	}
	if (req->op == BLK_FLUSH) {
		*sqe = (struct io_uring_sqe){
			.opcode = IORING_OP_FSYNC,
			.fd = uring->config.fd,
			.fsync_flags = IORING_FSYNC_DATASYNC,
			.user_data = (uintptr_t)req,
		};
	} else {
		bool in = req->op == BLK_READ;

		if (n == 1)
			sqe_fill(sqe, in ? IORING_OP_READ : IORING_OP_WRITE, uring, iov->iov_base,
				 (uint32_t)iov->iov_len, req);
		else
			sqe_fill(sqe, in ? IORING_OP_READV : IORING_OP_WRITEV, uring, iov, n, req);
		if (!in && req->durable)
			sqe->rw_flags = RWF_DSYNC;
	}
	uring->added++;
	uring->in_flight++;
	return true;
}

bool uring_busy(const struct uring *uring)
{
	return uring->in_flight;
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

void uring_reap(struct uring *uring, struct reqs *done, struct reqs *rest)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&uring->ring, head, cqe)
	{
		struct blk_req *req = io_uring_cqe_get_data(cqe);

		n++;
		if (likely(cqe->res == (int64_t)req->len)) { /* for a flush, both are 0 */
			req->res = 0;
			reqs_add(done, req);
			continue;
		}
		if (cqe->res >= 0) /* short, and not always for good: the end of the file */
			req->moved = (uint64_t)cqe->res;
		req->res = cqe->res < 0 ? cqe->res : 0;
		reqs_add(for_others(req) ? rest : done, req);
	}
	io_uring_cq_advance(&uring->ring, n);
	uring->in_flight -= n;
}

/* SPDX-License-Identifier: MIT */
/*
 * Reads, writes and flushes of one file through an io_uring: begun together by one system call, and
 * over when the ring says so.
 *
 * Threads: uring_create and uring_destroy on the set-up thread, the rest on the loop's.
 */
#ifndef HAKO_BLOCK_URING_H
#define HAKO_BLOCK_URING_H

#include "block/reqs.h"

struct err;
struct loop;
struct uring;

struct uring_config {
	int fd;
	struct loop *loop;
	void (*ready)(void *arg); /* something may be over: uring_reap() */
	void *arg;
};

/* -ENOSYS, -EPERM and so on where the host has no io_uring or does not let us. */
int uring_create(struct uring **uring, const struct uring_config *config, struct err *err);
/* No request in flight; the loop's thread has ended or this is it. */
void uring_destroy(struct uring *uring);

/* Begin a READ, WRITE or FLUSH at the next uring_submit(). False: not with this ring, or not now,
 * since it is full. */
bool uring_add(struct uring *uring, struct blk_req *req);
/* The same of the READs that a list begins with, as far as there is room: they are taken off it,
 * and counted. */
unsigned uring_add_reads(struct uring *uring, struct blk_req **list);
/* Begin what was added, if anything was. */
void uring_submit(struct uring *uring);
/*
 * What is over goes to `done`, with its `res` set; how many. What the ring could not do or not to
 * its end is the caller's again and goes to `rest`: it is to be continued from `moved` on.
 */
unsigned uring_reap(struct uring *uring, struct reqs *done, struct reqs *rest);

#endif

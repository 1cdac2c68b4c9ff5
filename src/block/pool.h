/* SPDX-License-Identifier: MIT */
/*
 * Threads that do block requests which may sleep, and the way back to the loop: what is finished is
 * gathered and given back in one batch per wake-up.
 *
 * Threads: everything on the loop's thread, except pool_create and pool_destroy.
 */
#ifndef HAKO_BLOCK_POOL_H
#define HAKO_BLOCK_POOL_H

#include "block/reqs.h"

struct err;
struct loop;
struct pool;

struct pool_config {
	struct loop *loop;
	/* On a pool thread: do the request; 0 or a negative errno. */
	int (*work)(void *arg, struct blk_req *req);
	/* On the loop's thread: these are over, with their `res` set. Takes them all. */
	void (*finished)(void *arg, struct reqs *batch);
	void *arg;
};

int pool_create(struct pool **pool, const struct pool_config *config, struct err *err);
/* No request in flight; the loop's thread has ended or this is it. */
void pool_destroy(struct pool *pool);

/* Do the request on a thread. They are begun in this order, and may end in any. False: it cannot
 * be, there is no thread at all; the request is the caller's again. */
bool pool_submit(struct pool *pool, struct blk_req *req);

#endif

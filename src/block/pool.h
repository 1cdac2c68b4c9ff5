/* SPDX-License-Identifier: MIT */
/*
 * Threads that do block requests which may sleep, and the way back to the loop: answers are
 * gathered and given in one batch per wake-up.
 *
 * Threads: everything on the loop's thread, except pool_create and pool_destroy.
 */
#ifndef HAKO_BLOCK_POOL_H
#define HAKO_BLOCK_POOL_H

struct blk_req;
struct err;
struct loop;
struct pool;

/* work() runs on a pool thread and returns 0 or a negative errno: what done() is given. */
int pool_create(struct pool **pool, struct loop *loop, int (*work)(void *arg, struct blk_req *req),
		void *arg, struct err *err);
/* No request in flight; the loop's thread has ended or this is it. */
void pool_destroy(struct pool *pool);

/* Do the request on a thread. They are begun in this order, and may end in any. */
void pool_submit(struct pool *pool, struct blk_req *req);
/* The request is done already; let its owner know, later. */
void pool_complete(struct pool *pool, struct blk_req *req, int res);

/* See blk_drain(). */
void pool_drain(struct pool *pool, void (*idle)(void *arg), void *arg);

#endif

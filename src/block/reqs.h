/* SPDX-License-Identifier: MIT */
/*
 * A list of block requests, linked by their `next`, first in, first out.
 */
#ifndef HAKO_BLOCK_REQS_H
#define HAKO_BLOCK_REQS_H

#include <stddef.h>

#include "block/blk.h"

struct reqs {
	struct blk_req *first, **last;
};

static inline void reqs_init(struct reqs *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static inline void reqs_add(struct reqs *l, struct blk_req *req)
{
	req->next = NULL;
	*l->last = req;
	l->last = &req->next;
}

static inline struct blk_req *reqs_take(struct reqs *l)
{
	struct blk_req *req = l->first;

	if (!req)
		return NULL;
	l->first = req->next;
	if (!l->first)
		l->last = &l->first;
	return req;
}

/* Move all of `from` to the end of `to`. */
static inline void reqs_join(struct reqs *to, struct reqs *from)
{
	if (!from->first)
		return;
	*to->last = from->first;
	to->last = from->last;
	reqs_init(from);
}

#endif

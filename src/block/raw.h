/* SPDX-License-Identifier: MIT */
/*
 * Raw images: a file or block device of which each byte is the disk's byte of the same number. Here
 * is how one is opened and what is done to it; blk.c decides when and on which thread.
 */
#ifndef HAKO_BLOCK_RAW_H
#define HAKO_BLOCK_RAW_H

#include <stdatomic.h>

#include "block/blk.h"

struct raw {
	int fd;             /* what the fast paths use; with `direct`, opened with O_DIRECT */
	int cached_fd;      /* through the page cache; without `direct`, the same as fd */
	bool direct;        /* cache=none */
	uint32_t mem_align; /* of buffers, when direct */
	uint32_t off_align; /* of offsets and lengths, when direct */
	bool readonly;
	bool device;           /* a block device, not a regular file */
	bool nowait;           /* it takes RWF_NOWAIT; the loop's thread only */
	_Atomic uint64_t size; /* bytes in the file when it was opened or looked at again */
	struct blk_limits limits;
};

int raw_open(struct raw *raw, const struct blk_config *config, struct err *err);
void raw_close(struct raw *raw);

/* May it be done on `fd` as it is, READ or WRITE? */
bool raw_aligned(const struct raw *raw, const struct blk_req *req);

/* Do the request, or what is left of it from `moved` on; may sleep. 0 or a negative errno. */
int raw_do(struct raw *raw, struct blk_req *req);
/* Read what the page cache has, from the beginning, without sleeping. True: all of it. False:
 * `moved` is how much that was. */
bool raw_read_cached(struct raw *raw, struct blk_req *req);

#endif

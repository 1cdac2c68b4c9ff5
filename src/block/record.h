/* SPDX-License-Identifier: MIT */
/*
 * A record of all that changes a disk, and of when it was durable: what could be on the disk after
 * a power cut at any moment follows from it (tests/linux/test_crash.py).
 *
 * A file of entries, each in the order in which things happened on the loop: a struct record_entry,
 * and behind that of a write its `len` bytes. Numbers are little-endian.
 *
 *	begins   a request was submitted. A flush makes durable, when it is over, every write that
 *		 was over when it began.
 *	ends     it was answered. If it is `durable`, it is durable from then on.
 *
 * Threads: open and close as the backend; the rest on the loop.
 */
#ifndef HAKO_BLOCK_RECORD_H
#define HAKO_BLOCK_RECORD_H

#include "base/endian.h"
#include "block/blk.h"

struct err;
struct log;
struct record;

enum record_kind {
	RECORD_WRITE = 'W',
	RECORD_FLUSH = 'F',
	RECORD_DISCARD = 'D',
	RECORD_ZERO = 'Z',
	RECORD_ERASE = 'S',
	RECORD_END = 'E', /* of the request `id`, off is 0 or the errno that it failed with */
};

struct record_entry {
	le32_t kind;
	le32_t durable;  /* 0 or 1 */
	le64_t id;       /* of the request */
	le64_t ns;       /* CLOCK_MONOTONIC */
	le64_t off, len; /* bytes */
};
_Static_assert(sizeof(struct record_entry) == 40, "no padding");

/* What the file begins with; 16 bytes. */
#define RECORD_MAGIC "hako-record-v1\n"

int record_open(struct record **record, const char *path, const char *name, struct log *log,
		struct err *err);
void record_close(struct record *record);
void record_begins(struct record *record, struct blk_req *req);
void record_ends(struct record *record, const struct blk_req *req, int res);

#endif

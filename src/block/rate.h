/* SPDX-License-Identifier: MIT */
/*
 * A limit on how much is asked of a disk: requests a second, bytes a second.
 *
 * Threads: rate_create and rate_destroy on the set-up thread, the rest on the loop's.
 */
#ifndef HAKO_BLOCK_RATE_H
#define HAKO_BLOCK_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct blk_req;
struct err;
struct loop;
struct rate;

struct rate_config {
	uint64_t iops, bps; /* 0: no limit */
	uint64_t burst_ms;  /* after a pause, as much at once as is allowed in this time */
	struct loop *loop;
	void (*ready)(void *arg); /* what was refused may be tried again */
	void *arg;
};

int rate_create(struct rate **rate, const struct rate_config *config, struct err *err);
void rate_destroy(struct rate *rate);

/* May this request begin now? If not, ready() will be called when it may. */
bool rate_take(struct rate *rate, const struct blk_req *req);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * No io_uring: this hako was built without liburing.
 */
#include <errno.h>

#include "base/err.h"
#include "block/uring.h"

int uring_create(struct uring **uring, const struct uring_config *config, struct err *err)
{
	(void)uring;
	(void)config;
	return err_set(err, -ENOSYS,
		       "cannot create an io_uring: this hako was built without liburing");
}

/* There is none that these could be called with. */

void uring_destroy(struct uring *uring)
{
	(void)uring;
}

bool uring_add(struct uring *uring, struct blk_req *req)
{
	(void)uring;
	(void)req;
	return false;
}

unsigned uring_add_reads(struct uring *uring, struct blk_req **list)
{
	(void)uring;
	(void)list;
	return 0;
}

void uring_submit(struct uring *uring)
{
	(void)uring;
}

unsigned uring_reap(struct uring *uring, struct reqs *done, struct reqs *rest)
{
	(void)uring;
	(void)done;
	(void)rest;
	return 0;
}

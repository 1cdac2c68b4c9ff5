/* SPDX-License-Identifier: MIT */
/*
 * A token bucket, kept as one moment in time: when it would be full again. Each request moves that
 * moment on by the time that it is worth, and may begin while the moment is no more than a bucket's
 * filling away. So one that is larger than the bucket begins too, and the next ones pay for it.
 */
#include "block/rate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"
#include "block/blk.h"
#include "host/loop.h"

struct rate {
	struct rate_config config;
	uint64_t ops_full, bytes_full; /* the moments, CLOCK_MONOTONIC ns */
	struct loop_source source;     /* the timer */
};

static void rate_ready(struct loop_source *source, uint32_t events)
{
	struct rate *r = container_of(source, struct rate, source);
	uint64_t times;

	(void)events;
	if (read(source->fd, &times, sizeof(times)) < 0)
		return; /* it was set anew meanwhile */
	r->config.ready(r->config.arg);
}

int rate_create(struct rate **rate, const struct rate_config *config, struct err *err)
{
	struct rate *r = calloc(1, sizeof(*r));
	int code;

	if (!r)
		return err_set(err, -ENOMEM, "cannot limit a disk's rate: out of memory");
	r->config = *config;
	r->source.events = LOOP_IN;
	r->source.ready = rate_ready;
	r->source.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (r->source.fd < 0) {
		code = err_set(err, -errno, "cannot create a timer: %s", strerror(errno));
		free(r);
		return code;
	}
	*rate = r;
	return 0;
}

void rate_destroy(struct rate *rate)
{
	if (!rate)
		return;
	loop_del(rate->config.loop, &rate->source);
	close(rate->source.fd);
	free(rate);
}

/* What `amount` is worth in time, at `per_s`. */
static uint64_t cost_ns(uint64_t amount, uint64_t per_s)
{
	uint64_t s = amount / per_s;

	if (s > INT32_MAX)
		return INT32_MAX * NS_PER_S;
	/* The remainder is below per_s: a double has more than enough digits for it. */
	return s * NS_PER_S +
	       (uint64_t)((double)(amount % per_s) / (double)per_s * (double)NS_PER_S);
}

bool rate_take(struct rate *rate, const struct blk_req *req)
{
	const struct rate_config *c = &rate->config;
	uint64_t now = host_ns(), most = now + c->burst_ms * NS_PER_MS;
	uint64_t full = rate->ops_full > rate->bytes_full ? rate->ops_full : rate->bytes_full;

	if (full > most) {
		/* When it is a bucket's filling away. */
		uint64_t at = now + (full - most);
		const struct itimerspec timer = {
			.it_value = { (time_t)(at / NS_PER_S), (long)(at % NS_PER_S) },
		};

		/* Without a timer, better too fast than never. */
		if (!loop_add(c->loop, &rate->source) &&
		    !timerfd_settime(rate->source.fd, TFD_TIMER_ABSTIME, &timer, NULL))
			return false;
	}
	if (c->iops)
		rate->ops_full =
			(rate->ops_full > now ? rate->ops_full : now) + cost_ns(1, c->iops);
	if (c->bps && (req->op == BLK_READ || req->op == BLK_WRITE))
		rate->bytes_full = (rate->bytes_full > now ? rate->bytes_full : now) +
				   cost_ns(req->len, c->bps);
	return true;
}

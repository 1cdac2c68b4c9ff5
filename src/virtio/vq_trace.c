/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder of a queue; see vq_trace.h.
 */
#include "virtio/vq_trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ns.h"

enum { EVENTS = 1024 }; /* a power of two: some hundred requests */

struct vq_trace {
	uint64_t n, start_ns; /* events ever; when it was made */
	struct vq_event event[EVENTS];
};

struct vq_trace *vq_trace_create(void)
{
	struct vq_trace *t = calloc(1, sizeof(*t));

	if (t)
		t->start_ns = host_ns();
	return t;
}

void vq_trace_destroy(struct vq_trace *t)
{
	free(t);
}

void vq_trace_add(struct vq_trace *t, struct vq_event event)
{
	event.ns = host_ns();
	t->event[t->n++ % EVENTS] = event;
}

static void print(const struct vq_event *e, char *text, size_t size)
{
	switch ((enum vq_event_kind)e->kind) {
	case VQ_EV_SETUP:
		snprintf(text, size, "set up with %u entries, features 0x%" PRIx64, e->pos, e->a);
		break;
	case VQ_EV_RESET: snprintf(text, size, "stopped"); break;
	case VQ_EV_KICK:
		snprintf(text, size, e->a == 1 ? "notified" : "notified %" PRIu64 " times", e->a);
		break;
	case VQ_EV_HEAD:
		snprintf(text, size,
			 "took head %u at %u: to read %" PRIu64 " bytes in %u buffers, to write "
			 "%" PRIu64 " in %u",
			 e->slot, e->pos, e->a, e->n_out, e->b, e->n_in);
		break;
	case VQ_EV_BUFFER:
		snprintf(text, size, "  %s 0x%" PRIx64 ", %" PRIu64 " bytes",
			 e->flag ? "write" : "read ", e->a, e->b);
		break;
	case VQ_EV_MORE: snprintf(text, size, "  and %" PRIu64 " more buffers", e->a); break;
	case VQ_EV_BROKEN: snprintf(text, size, "malformed at %u", e->pos); break;
	case VQ_EV_DONE:
		snprintf(text, size, "head %u done, used.len %" PRIu64, e->slot, e->a);
		break;
	case VQ_EV_PUBLISH:
		snprintf(text, size, "used entries up to %u shown, %s", e->pos,
			 e->flag ? "an interrupt is wanted" : "no interrupt is wanted");
		break;
	case VQ_EV_KICKS:
		snprintf(text, size,
			 e->flag ? "wants to be notified from %u on" : "wants no notification",
			 e->pos);
		break;
	case VQ_EV_IRQ: snprintf(text, size, "interrupt raised"); break;
	}
}

void vq_trace_dump(const struct vq_trace *t, vq_line_fn *line, void *arg)
{
	char text[160], whole[200];

	if (t->n > EVENTS) {
		snprintf(whole, sizeof(whole), "%" PRIu64 " older events are forgotten",
			 t->n - EVENTS);
		line(arg, whole);
	}
	for (uint64_t i = t->n > EVENTS ? t->n - EVENTS : 0; i < t->n; i++) {
		const struct vq_event *e = &t->event[i % EVENTS];
		uint64_t us = (e->ns - t->start_ns) / 1000;

		print(e, text, sizeof(text));
		snprintf(whole, sizeof(whole), "%5" PRIu64 ".%06" PRIu64 " %s", us / 1000000,
			 us % 1000000, text);
		line(arg, whole);
	}
}

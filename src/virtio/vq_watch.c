/* SPDX-License-Identifier: MIT */
/*
 * Looking on while a queue works: notes for the flight recorder and the deep lint, and whose turn
 * it is.
 */
#include "virtio/vq_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "virtio/vq_order.h"
#include "virtio/vq_ring.h"
#include "virtio/vq_shadow.h"
#include "virtio/vq_trace.h"

enum { BUFFERS_SHOWN = 8 }; /* of one chain */

int vq_watch(struct vq *vq, unsigned what)
{
	struct vq_watch *w = vq->watch = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	if (what & VQ_WATCH_TRACE)
		w->trace = vq_trace_create();
	if (what & VQ_WATCH_DEEP) {
		w->shadow = vq_shadow_create();
		w->order = vq_order_create();
	}
	/* What was made goes with the queue. */
	return ((what & VQ_WATCH_TRACE) && !w->trace) ||
			       ((what & VQ_WATCH_DEEP) && (!w->shadow || !w->order))
		       ? -ENOMEM
		       : 0;
}

void vq_watch_kicks_by(struct vq *vq, vq_take_kicks_fn *take, void *arg)
{
	vq->watch->take = take;
	vq->watch->take_arg = arg;
}

void vq_watch_free(struct vq *vq)
{
	if (!vq->watch)
		return;
	vq_trace_destroy(vq->watch->trace);
	vq_shadow_destroy(vq->watch->shadow);
	vq_order_destroy(vq->watch->order);
	free(vq->watch);
	vq->watch = NULL;
}

static void note(struct vq *vq, struct vq_event event)
{
	vq->watch->events++;
	if (vq->watch->trace)
		vq_trace_add(vq->watch->trace, event);
}

/* A position as the driver counts it: split: an index; packed: without the wrap counter. */
static uint16_t position(const struct vq *vq, uint16_t pos)
{
	return vq->ring == &vq_packed ? pos & 0x7fff : pos;
}

/* ---- What vq.c tells ---- */

void vq_watch_setup(struct vq *vq, uint64_t features)
{
	/* Nothing written into the ring asks for no notifications. */
	vq->watch->kicks_on = true;
	vq->watch->avail = vq->s.next_avail;
	vq->watch->used = vq->s.next_used;
	if (vq->watch->shadow)
		vq_shadow_setup(vq);
	if (vq->watch->order)
		vq_order_setup(vq);
	note(vq, (struct vq_event){ .kind = VQ_EV_SETUP, .a = features, .pos = vq->s.size });
}

void vq_watch_reset(struct vq *vq)
{
	if (vq->watch->order)
		vq_order_reset(vq);
	note(vq, (struct vq_event){ .kind = VQ_EV_RESET });
}

/* A chain was taken. */
static void taken(struct vq *vq, const struct vq_chain *c)
{
	unsigned n;

	note(vq, (struct vq_event){
			 .kind = VQ_EV_HEAD,
			 .slot = c->slot,
			 .pos = position(vq, vq->watch->avail),
			 .n_out = c->n_out,
			 .n_in = c->n_in,
			 .a = c->out_len,
			 .b = c->in_len,
		 });
	/* One that is taken again (vq_resume()) is not where the device was. */
	if (vq->watch->shadow)
		vq_shadow_pop(vq, c, vq->watch->avail, vq->s.next_avail == vq->watch->avail);
	vq->watch->avail = vq->s.next_avail;
	n = (unsigned)c->n_out + c->n_in;
	for (unsigned i = 0; i < n && i < BUFFERS_SHOWN; i++) {
		const struct vq_buf *b = &vq_bufs_of(vq, c)[i];

		note(vq, (struct vq_event){ .kind = VQ_EV_BUFFER,
					    .a = b->gpa,
					    .b = b->len,
					    .flag = i >= c->n_out });
	}
	if (n > BUFFERS_SHOWN)
		note(vq, (struct vq_event){ .kind = VQ_EV_MORE, .a = n - BUFFERS_SHOWN });
}

/* One after the other, to see where each was. */
int vq_watch_pop(struct vq *vq, struct vq_chain **c, unsigned max)
{
	unsigned n = 0;
	int got = 0;

	while (n < max && (got = vq->ring->pop(vq, &c[n], 1)) == 1)
		taken(vq, c[n++]);
	if (got < 0)
		note(vq, (struct vq_event){ .kind = VQ_EV_BROKEN,
					    .pos = position(vq, vq->s.next_avail) });
	return n ? (int)n : got;
}

void vq_watch_push(struct vq *vq, const struct vq_chain *c)
{
	if (vq->watch->shadow)
		vq_shadow_push(vq, c);
	note(vq, (struct vq_event){ .kind = VQ_EV_DONE, .slot = c->slot, .a = c->written });
}

bool vq_watch_publish(struct vq *vq)
{
	bool irq = vq->ring->publish(vq);

	if (vq->watch->used == vq->s.next_used)
		return irq;
	vq->watch->used = vq->s.next_used;
	note(vq, (struct vq_event){ .kind = VQ_EV_PUBLISH,
				    .pos = position(vq, vq->s.next_used),
				    .flag = irq });
	return irq;
}

/* Those that have come. */
static uint64_t take_kicks(struct vq *vq)
{
	uint64_t n = vq->watch->take ? vq->watch->take(vq->watch->take_arg) : 0;

	if (n)
		note(vq, (struct vq_event){ .kind = VQ_EV_KICK, .a = n });
	return n;
}

bool vq_watch_kicks(struct vq *vq, bool on)
{
	bool more;

	/* Taken before they are asked for again: the look at the ring, which comes after, sees what
	 * they were for. */
	if (vq->watch->shadow && on)
		vq_shadow_kicks_on(vq, take_kicks(vq));
	more = vq->ring->kicks(vq, on);
	/* Taken after they are not wanted any more: the device is about to look. */
	if (vq->watch->shadow && !on) {
		take_kicks(vq);
		vq_shadow_kicks_off(vq);
	}
	vq->watch->kicks_on = on && !more;
	note(vq, (struct vq_event){
			 .kind = VQ_EV_KICKS, .pos = position(vq, vq->s.next_avail), .flag = on });
	return more;
}

/* ---- What the transport tells and asks ---- */

void vq_kicked(struct vq *vq, uint64_t n)
{
	if (vq->watch)
		note(vq, (struct vq_event){ .kind = VQ_EV_KICK, .a = n });
}

void vq_interrupted(struct vq *vq)
{
	if (vq->watch)
		note(vq, (struct vq_event){ .kind = VQ_EV_IRQ });
}

uint64_t vq_events(const struct vq *vq)
{
	return vq->watch ? vq->watch->events : 0;
}

void vq_dump(const struct vq *vq, vq_line_fn *line, void *arg)
{
	if (vq->watch && vq->watch->trace)
		vq_trace_dump(vq->watch->trace, line, arg);
}

void vq_stalled(struct vq *vq, struct vq_outside outside)
{
	struct vq_look look;
	char why[240];

	if (!vq->watch || !vq->watch->shadow || !vq->ring || vq->s.broken)
		return;
	vq->ring->look(vq, &look);
	if (look.available && vq->watch->kicks_on && !outside.kicked) {
		vq_turn(vq, outside, why, sizeof(why));
		lint_report(vq->lint, LINT_KICK_MISSING, vq->index, "queue %u: %s", vq->index, why);
	}
}

/* Something is available. */
static enum vq_turn turn_to_take(const struct vq *vq, const struct vq_look *look,
				 struct vq_outside outside, char *why, size_t size)
{
	char where[80], asked[40];

	if (vq->ring == &vq_packed)
		snprintf(where, sizeof(where), "descriptor %u is available", look->driver);
	else
		snprintf(where, sizeof(where), "idx is %u, taken are those up to %u", look->driver,
			 vq->s.next_avail);
	if (vq->event_idx)
		snprintf(asked, sizeof(asked), "avail_event %u", look->kick_event);
	else
		snprintf(asked, sizeof(asked), "flags 0");
	if (outside.kicked || !vq->watch || !vq->watch->kicks_on) {
		snprintf(why, size, "%s, %s: the device's turn, 2.7.13", where,
			 outside.kicked ? "the notification has come"
					: "and the device wants no notification while it is busy");
		return VQ_TURN_DEVICES;
	}
	snprintf(why, size,
		 "%s, %s asks for a notification, and none has come: the driver's turn, %s", where,
		 asked, vq->ring == &vq_packed ? "2.8.21.2" : "2.7.10.1");
	return VQ_TURN_DRIVERS;
}

enum vq_turn vq_turn(struct vq *vq, struct vq_outside outside, char *why, size_t size)
{
	struct vq_look look;
	uint16_t used = position(vq, vq->s.next_used);

	if (!vq->ring) {
		snprintf(why, size, "the queue is not in use");
		return VQ_TURN_NOBODYS;
	}
	if (vq->s.broken) {
		snprintf(why, size,
			 "the ring is malformed at %u: the driver's turn, to reset the device, "
			 "2.1.2",
			 position(vq, vq->s.next_avail));
		return VQ_TURN_DRIVERS;
	}
	vq->ring->look(vq, &look);
	if (look.available)
		return turn_to_take(vq, &look, outside, why, size);
	if (vq->in_flight) {
		snprintf(why, size,
			 "%u requests are taken and not answered: the device's turn, 2.7.14",
			 vq->in_flight);
		return VQ_TURN_DEVICES;
	}
	if (outside.irq) {
		snprintf(why, size,
			 "all is answered, up to %u, and the interrupt not acknowledged: the "
			 "driver's turn, 4.2.3.4.1",
			 used);
		return VQ_TURN_DRIVERS;
	}
	/* Who has accepted all that was offered may not know that it is. */
	const char *which =
		vq->ring == &vq_packed ? " of the packed ring, as RING_PACKED has it" : "";
	if (vq->event_idx)
		snprintf(why, size,
			 "all is answered, up to %u%s; the driver wants an interrupt from %u on",
			 used, which, look.irq_event);
	else
		snprintf(why, size, "all is answered, up to %u%s; the driver wants %s", used, which,
			 look.irqs_off ? "no interrupts" : "interrupts");
	return VQ_TURN_NOBODYS;
}

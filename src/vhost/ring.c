/* SPDX-License-Identifier: MIT */
/*
 * The rings of a session: kicks, waiting awake for the next, start and rest.
 */
#include "vhost/ring.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/err.h"

/* Waiting awake; see ring_work(). A look takes some 50 ns, so about 50 us at a time: an idle CPU
 * takes half of that to wake up a front end, which then needs its own. */
enum { SPIN_LOOKS = 1000, SPIN_YIELD = 100, SPIN_ROUNDS = 64, SPIN_RARE = 64 };

/* ---- Kicks and calls ---- */

static __attribute__((noinline)) bool has_room(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) > 0;
}

static void signal_fd(int fd, bool waits)
{
	static const uint64_t one = 1;
	long n;

	if (fd < 0 || (unlikely(waits) && !has_room(fd)))
		return;
	n = syscall(SYS_write, fd, &one, sizeof(one)); /* no point of cancellation, as in loop.c */
	(void)n;
}

void vhost_ring_signal(int fd, bool waits)
{
	signal_fd(fd, waits);
}

void vhost_ring_queue_irq(struct virtio_host *host, unsigned q)
{
	const struct ring *r = &container_of(host, struct vhost_session, host)->ring[q];

	signal_fd(r->call_fd, r->call_waits);
}

/* Is it the device's, and to stay so? */
static bool serves(const struct ring *r)
{
	return r->running && !r->stopping;
}

static bool in_flight(const struct vhost_session *s)
{
	for (unsigned i = 0; i < s->n_used; i++)
		if (serves(&s->ring[i]) && vq_in_flight(s->ring[i].vq))
			return true;
	return false;
}

/* The next ring after this one, in turn, that has something available. */
static struct ring *next_available(struct ring *r)
{
	struct ring *const first = r->s->ring, *const end = first + r->s->n_used, *it = r;

	do {
		it = it + 1 == end ? first : it + 1;
		if (serves(it) && vq_available(it->vq))
			return it;
	} while (it != r);
	return NULL;
}

/*
 * The ring in which something is made available while we look so often, or NULL. A function of its
 * own, so that what it costs can be told from work (bench/run). On a busy host the front end may
 * have been woken up on this very CPU: it is let in once.
 */
static __attribute__((noinline)) struct ring *comes_soon(struct ring *r)
{
	for (unsigned i = 0; i < SPIN_LOOKS; i++) {
		struct ring *next = next_available(r);

		if (next)
			return next;
		if (unlikely(i == SPIN_YIELD))
			sched_yield();
		cpu_relax();
	}
	return NULL;
}

static void set_awake(struct vhost_session *s, bool awake)
{
	for (unsigned i = 0; i < s->n_used; i++)
		if (serves(&s->ring[i]) && vq_awake(s->ring[i].vq, awake))
			s->dev->ops->kick(s->dev, i);
}

/* Serve the ring, and what comes close after, in this one or another, unless there is something
 * else to wait for. */
static __attribute__((noinline)) void work_awake(struct ring *r)
{
	struct vhost_session *s = r->s;

	if (in_flight(s)) {
		s->dev->ops->kick(s->dev, r->index);
		return;
	}
	set_awake(s, true);
	for (unsigned i = 0; i < SPIN_ROUNDS; i++) {
		s->dev->ops->kick(s->dev, r->index);
		if (!serves(r) || in_flight(s))
			break;
		r = comes_soon(r);
		if (!r) {
			s->spin_pause = s->spin_pause ? s->spin_pause : 1;
			s->spin_wait = s->spin_pause;
			if (s->spin_pause < SPIN_RARE)
				s->spin_pause *= 2;
			break;
		}
		s->spin_pause = 0;
	}
	set_awake(s, false);
}

/* Is it worth a try? */
static bool try_awake(struct vhost_session *s)
{
	if (s->alone)
		return false;
	if (s->spin_wait) {
		s->spin_wait--;
		return false;
	}
	return true;
}

/*
 * To be woken up takes longer than a read of what is cached. So where requests come one close after
 * the other, wait awake for the next, which then needs no kick; but not while something is in
 * flight, whose answer this thread has to give, not for long, and not on the only CPU that there
 * is. Whether it is worth it shows by trying: each time that it was in vain makes the next tries
 * rarer, up to one in SPIN_RARE kicks; without kicks, there are none.
 */
static void ring_work(struct ring *r)
{
	struct vhost_session *s = r->s;

	if (try_awake(s))
		work_awake(r);
	else
		s->dev->ops->kick(s->dev, r->index);
	check_memory(s);
}

static void ring_kicked(struct loop_source *source, uint32_t events)
{
	struct ring *r = container_of(source, struct ring, source);

	(void)events;
	if (serves(r))
		ring_work(r);
}

/* VHOST_VRING_NOFD: the front end will not kick. */
static void ring_poll(struct loop_task *task)
{
	struct ring *r = container_of(task, struct ring, poll);

	r->poll_posted = false;
	if (!serves(r))
		return;
	ring_work(r);
	/* That may have sent the front end away: the session is gone before a task comes to run
	 * that is posted after its end is. */
	if (!serves(r))
		return;
	r->poll_posted = true;
	loop_post(r->s->loop, &r->poll);
}

/* ---- Start and rest ---- */

/* Where the used ring is also logged (VHOST_VRING_F_LOG). */
static void ring_log(struct ring *r, gpa_t used)
{
	uint64_t len = packed(r->s) ? 0 : 6 + 8ULL * r->state.size; /* virtio 1.2, 2.7 */
	bool apart = (r->addr.flags & VHOST_VRING_F_LOG) && r->addr.log != used;

	vhost_memory_log_used(&r->s->memory, r->index, used, apart ? len : 0, r->addr.log);
}

static int ring_place(struct ring *r, uint64_t user, const char *what, gpa_t *gpa, struct err *err)
{
	if (vhost_memory_find(&r->s->memory, user, gpa))
		return 0;
	return err_set(err, -EFAULT,
		       "the %s of queue %u, at user address %#llx, is in none of its memory "
		       "regions",
		       what, r->index, (unsigned long long)user);
}

/* Its part of the area for what is in flight, or NULL. */
static int ring_area(struct ring *r, void **area, struct err *err)
{
	const struct vhost_session *s = r->s;
	size_t bytes = vq_inflight_bytes(s->inflight_queue_size, packed(s));

	*area = NULL;
	if (!s->inflight.data || r->index >= s->inflight_queues)
		return 0;
	if (r->state.size > s->inflight_queue_size || bytes * (r->index + 1) > s->inflight_size)
		return err_set(err, -EINVAL,
			       "queue %u has %u entries, but the area for what is in flight is for "
			       "%u; with QEMU, give the device queue-size=%u",
			       r->index, r->state.size, s->inflight_queue_size, r->state.size);
	*area = s->inflight.data + bytes * r->index;
	return 0;
}

bool vhost_ring_may_run(const struct ring *r)
{
	bool enabled = r->enabled || !(r->s->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES));

	return r->kicked && enabled && r->has_addr && r->state.size;
}

int vhost_ring_start(struct ring *r, struct err *err)
{
	struct vhost_session *s = r->s;
	void *area;
	int code = ring_place(r, r->addr.desc, "descriptor table", &r->state.desc, err);

	if (!code)
		code = ring_place(r, r->addr.avail, "available ring", &r->state.avail, err);
	if (!code)
		code = ring_place(r, r->addr.used, "used ring", &r->state.used, err);
	if (!code)
		code = ring_area(r, &area, err);
	if (code)
		return code;
	vq_resume(r->vq, area);
	if (vq_setup(r->vq, &r->state, s->dev->acked))
		return err_set(err, -EINVAL, "queue %u cannot be: the message before says why",
			       r->index);
	ring_log(r, r->state.used);
	if (vq_resumed(r->vq))
		said(s, LOG_INFO, "queue %u: %u requests were in flight, and are done again",
		     r->index, vq_resumed(r->vq));
	if (r->kick_fd >= 0) {
		r->source.fd = r->kick_fd;
		code = loop_add(s->loop, &r->source);
		if (code)
			return err_set(err, code, "cannot watch the kick of queue %u: %s", r->index,
				       strerror(-code));
	} else if (!r->poll_posted) {
		r->poll_posted = true;
		loop_post(s->loop, &r->poll);
	}
	code = s->dev->ops->start(s->dev, r->index, r->vq);
	if (code) {
		loop_del(r->s->loop, &r->source);
		return err_set(err, code, "cannot start queue %u: %s", r->index, strerror(-code));
	}
	r->running = true;
	if (s->n_used <= r->index)
		s->n_used = r->index + 1;
	r->err_told = false;
	log_msg(s->log, LOG_INFO, s->name, "queue %u runs, with %u entries", r->index,
		r->state.size);
	/* Whoever served the ring before may have published answers and ended before telling. */
	signal_fd(r->call_fd, r->call_waits);
	s->dev->ops->kick(s->dev, r->index);
	return 0;
}

static void ring_stopped(void *arg)
{
	struct ring *r = arg;
	struct vhost_session *s = r->s;

	r->running = r->stopping = false;
	r->state = *vq_state(r->vq);
	vq_reset(r->vq);
	vhost_memory_log_used(&s->memory, r->index, 0, 0, 0);
	if (--s->n_stopping == 0 && s->resting)
		loop_post(s->loop, &s->rested);
}

bool vhost_rings_rest(struct vhost_session *s, struct ring *r, unsigned n)
{
	for (; n; n--, r++) {
		if (!serves(r))
			continue;
		r->stopping = true;
		s->n_stopping++;
		loop_del(r->s->loop, &r->source);
		s->dev->ops->stop(s->dev, r->index, ring_stopped, r);
	}
	return !s->n_stopping;
}

/* ---- Life ---- */

int vhost_ring_init(struct ring *r, struct vhost_session *s, unsigned index, struct err *err)
{
	char name[32];

	r->s = s;
	r->index = index;
	r->kick_fd = r->call_fd = r->err_fd = -1;
	r->source = (struct loop_source){ .fd = -1,
					  .events = LOOP_IN | LOOP_EDGE,
					  .ready = ring_kicked };
	r->poll.run = ring_poll;
	snprintf(name, sizeof(name), "%s.q%u", s->name, index);
	if (vq_create(&r->vq, s->memory.gmem, s->log, name))
		return err_set(err, -ENOMEM, "cannot serve a front end: out of memory");
	return 0;
}

void vhost_ring_fini(struct ring *r)
{
	loop_del(r->s->loop, &r->source);
	vq_destroy(r->vq);
	close_fd(&r->kick_fd);
	close_fd(&r->call_fd);
	close_fd(&r->err_fd);
}

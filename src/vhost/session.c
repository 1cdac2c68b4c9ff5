/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user session (QEMU, docs/interop/vhost-user.rst). What a front end sends is hostile: each
 * message is judged by its line in the table below, then its fields by its handler. What cannot be
 * ends the session with a sentence.
 */
#include "vhost/session.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "vhost/ring.h"

#define PROTOCOL_FEATURES                                                            \
	(BIT(VHOST_PROTOCOL_F_MQ) | BIT(VHOST_PROTOCOL_F_LOG_SHMFD) |                \
	 BIT(VHOST_PROTOCOL_F_REPLY_ACK) | BIT(VHOST_PROTOCOL_F_BACKEND_REQ) |       \
	 BIT(VHOST_PROTOCOL_F_CONFIG) | BIT(VHOST_PROTOCOL_F_BACKEND_SEND_FD) |      \
	 BIT(VHOST_PROTOCOL_F_INFLIGHT_SHMFD) | BIT(VHOST_PROTOCOL_F_RESET_DEVICE) | \
	 BIT(VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS) | BIT(VHOST_PROTOCOL_F_STATUS))

static struct vhost_session *session_of(struct virtio_host *host)
{
	return container_of(host, struct vhost_session, host);
}

/* ---- What the device asks for ---- */

static void tell_config_change(struct vhost_session *s)
{
	int code;

	if (s->backend_fd < 0 || !(s->protocol & BIT(VHOST_PROTOCOL_F_CONFIG)))
		return;
	code = vhost_send(s->backend_fd, VHOST_BACKEND_CONFIG_CHANGE_MSG);
	if (code)
		said(s, LOG_WARN, "cannot tell the front end of another configuration: %s",
		     strerror(-code));
}

static void host_config_change(struct virtio_host *host, void (*change)(struct virtio_dev *dev))
{
	struct vhost_session *s = session_of(host);

	if (change)
		change(s->dev);
	tell_config_change(s);
}

static void host_needs_reset(struct virtio_host *host)
{
	struct vhost_session *s = session_of(host);

	for (unsigned i = 0; i < s->n_rings; i++) {
		struct ring *r = &s->ring[i];

		if (r->running && !r->err_told && vq_state(r->vq)->broken) {
			r->err_told = true;
			vhost_ring_signal(r->err_fd, true);
		}
	}
	s->status |= VIRTIO_STATUS_NEEDS_RESET;
	if (s->protocol & BIT(VHOST_PROTOCOL_F_STATUS))
		tell_config_change(s); /* virtio 1.2, 2.1.2 */
}

static const struct virtio_host_ops host_ops = {
	.queue_irq = vhost_ring_queue_irq,
	.config_change = host_config_change,
	.needs_reset = host_needs_reset,
};

/* ---- Messages ---- */

static struct vhost_msg *msg_of(struct vhost_session *s)
{
	return &s->ch.in;
}

static int reply_u64(struct vhost_session *s, uint64_t val)
{
	s->reply.u64 = val;
	s->reply_size = sizeof(val);
	return 0;
}

static uint64_t offered(const struct vhost_session *s)
{
	uint64_t features = s->dev->ops->features(s->dev) | VQ_FEATURES | BIT(VIRTIO_F_VERSION_1);

	return (features & ~s->without) | BIT(VHOST_F_LOG_ALL) |
	       BIT(VHOST_USER_F_PROTOCOL_FEATURES);
}

static int get_features(struct vhost_session *s, struct err *err)
{
	(void)err;
	return reply_u64(s, offered(s));
}

static int check_offered(uint64_t set, uint64_t allowed, const char *what, struct err *err)
{
	if (!(set & ~allowed))
		return 0;
	return err_set(err, -EINVAL, "it sets %s %#llx, of which %#llx are not offered", what,
		       (unsigned long long)set, (unsigned long long)(set & ~allowed));
}

static int set_features(struct vhost_session *s, struct err *err)
{
	const uint64_t vhosts = BIT(VHOST_F_LOG_ALL) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	uint64_t set = msg_of(s)->p.u64;
	int code = check_offered(set, offered(s), "features", err);

	if (code)
		return code;
	for (unsigned i = 0; i < s->n_rings; i++)
		if (vhost_ring_may_run(&s->ring[i]) &&
		    ((set ^ s->features) & ~BIT(VHOST_F_LOG_ALL)))
			return err_set(err, -EBUSY,
				       "it changes features from %#llx to %#llx while queue %u "
				       "runs",
				       (unsigned long long)s->features, (unsigned long long)set, i);
	s->features = set;
	if (s->dev->acked != (set & ~vhosts)) {
		s->dev->acked = set & ~vhosts;
		if (s->dev->ops->agreed)
			s->dev->ops->agreed(s->dev);
	}
	vhost_memory_log_on(&s->memory, set & BIT(VHOST_F_LOG_ALL));
	return 0;
}

static int get_protocol_features(struct vhost_session *s, struct err *err)
{
	(void)err;
	return reply_u64(s, PROTOCOL_FEATURES);
}

static int set_protocol_features(struct vhost_session *s, struct err *err)
{
	uint64_t set = msg_of(s)->p.u64;
	int code = check_offered(set, PROTOCOL_FEATURES, "protocol features", err);

	if (!code)
		s->protocol = set;
	return code;
}

static int set_owner(struct vhost_session *s, struct err *err)
{
	(void)s; /* who connects is the owner */
	(void)err;
	return 0;
}

static void disable(struct vhost_session *s)
{
	for (unsigned i = 0; i < s->n_rings; i++)
		s->ring[i].kicked = s->ring[i].enabled = false;
}

static int reset_owner(struct vhost_session *s, struct err *err)
{
	(void)err;
	disable(s);
	return 0;
}

static int reset_device(struct vhost_session *s, struct err *err)
{
	(void)err;
	disable(s);
	s->status = 0;
	if (s->dev->ops->reset)
		s->dev->ops->reset(s->dev);
	return 0;
}

/*
 * Status 0 comes whenever the front end stops the device, also to go on later, and it does not tell
 * again then what the guest has written to the configuration. So that stays; RESET_DEVICE is the
 * message that takes it back.
 */
static int set_status(struct vhost_session *s, struct err *err)
{
	uint64_t status = msg_of(s)->p.u64;

	if (status > UINT8_MAX)
		return err_set(err, -EINVAL, "it sets the status to %#llx, which has eight bits",
			       (unsigned long long)status);
	s->status = (uint8_t)status;
	if (!status)
		disable(s);
	return 0;
}

static int get_status(struct vhost_session *s, struct err *err)
{
	(void)err;
	return reply_u64(s, s->status);
}

static int set_mem_table(struct vhost_session *s, struct err *err)
{
	struct vhost_msg *m = msg_of(s);
	const struct vhost_mem_table *t = &m->p.table;
	size_t want = offsetof(struct vhost_mem_table, region) + t->n * sizeof(t->region[0]);
	int code = 0;

	if (t->n > VHOST_TABLE_REGIONS || m->h.size != want || m->n_fds != t->n)
		return err_set(err, -EINVAL,
			       "SET_MEM_TABLE of %u regions with %u bytes and %u file descriptors",
			       t->n, m->h.size, m->n_fds);
	vhost_memory_clear(&s->memory);
	for (unsigned i = 0; i < t->n && !code; i++)
		code = vhost_memory_add(&s->memory, &t->region[i], m->fd[i], err);
	return code;
}

static int get_max_mem_slots(struct vhost_session *s, struct err *err)
{
	(void)err;
	return reply_u64(s, VHOST_SLOTS);
}

static int add_mem_reg(struct vhost_session *s, struct err *err)
{
	return vhost_memory_add(&s->memory, &msg_of(s)->p.reg.region, msg_of(s)->fd[0], err);
}

static int rem_mem_reg(struct vhost_session *s, struct err *err)
{
	return vhost_memory_remove(&s->memory, &msg_of(s)->p.reg.region, err);
}

static int set_log_base(struct vhost_session *s, struct err *err)
{
	int code = vhost_memory_log_set(&s->memory, &msg_of(s)->p.log, msg_of(s)->fd[0], err);

	return code ? code : reply_u64(s, 0);
}

/* To be told of changes of the log is for front ends that wait for them; none has to be. */
static int set_log_fd(struct vhost_session *s, struct err *err)
{
	(void)s;
	(void)err;
	return 0;
}

static int set_vring_num(struct vhost_session *s, struct err *err)
{
	const struct vhost_vring_state *v = &msg_of(s)->p.state;

	if (!v->num || v->num > VQ_SIZE_MAX || (!packed(s) && !is_pow2(v->num)))
		return err_set(err, -EINVAL,
			       "queue %u cannot have %u entries: from 1 to %d, of a split ring a "
			       "power of two (virtio 1.2, 2.7, 2.8.10)",
			       v->index, v->num, VQ_SIZE_MAX);
	s->ring[v->index].state.size = (uint16_t)v->num;
	return 0;
}

static int set_vring_addr(struct vhost_session *s, struct err *err)
{
	const struct vhost_vring_addr *a = &msg_of(s)->p.addr;

	if (a->flags & ~(uint32_t)VHOST_VRING_F_LOG)
		return err_set(err, -EINVAL, "the addresses of queue %u have unknown flags %#x",
			       a->index, a->flags);
	s->ring[a->index].addr = *a;
	s->ring[a->index].has_addr = true;
	return 0;
}

/*
 * Split: the next available index. Packed: bits 15:0 the position of the next available, bits 31:16
 * of the next used descriptor, each with its wrap counter in the highest bit, which vq_state has
 * the other way round. Front ends that leave the second half out mean the same for both.
 */
static int set_vring_base(struct vhost_session *s, struct err *err)
{
	const struct vhost_vring_state *v = &msg_of(s)->p.state;
	struct vq_state *state = &s->ring[v->index].state;
	uint16_t avail = (uint16_t)v->num, used = (uint16_t)(v->num >> 16);

	if (!packed(s) && used)
		return err_set(err, -EINVAL, "queue %u cannot go on at index %u, of 16 bits",
			       v->index, v->num);
	if (packed(s)) {
		state->next_used = (used ? used : avail) ^ (1U << 15);
		state->next_avail = avail ^ (1U << 15);
	} else {
		state->next_used = state->next_avail = avail;
	}
	return 0;
}

static int get_vring_base(struct vhost_session *s, struct err *err)
{
	uint32_t index = msg_of(s)->p.state.index;
	struct ring *r = &s->ring[index];

	(void)err;
	s->reply.state = (struct vhost_vring_state){ index, r->state.next_avail };
	if (packed(s))
		s->reply.state.num = (uint32_t)(r->state.next_avail ^ (1U << 15)) |
				     (uint32_t)(r->state.next_used ^ (1U << 15)) << 16;
	s->reply_size = sizeof(s->reply.state);
	r->kicked = false;
	close_fd(&r->kick_fd);
	return 0;
}

/* The descriptor of a SET_VRING_KICK, _CALL or _ERR, an eventfd; or -1 in *fd, if there is none. */
static int take_eventfd(struct vhost_session *s, const char *what, struct ring **ring, int *fd,
			struct err *err)
{
	struct vhost_msg *m = msg_of(s);
	uint64_t v = m->p.u64;
	struct stat st;

	*ring = &s->ring[v & VHOST_VRING_INDEX_MASK];
	if (v & ~(uint64_t)(VHOST_VRING_INDEX_MASK | VHOST_VRING_NOFD))
		return err_set(err, -EINVAL, "the %s of queue %u has unknown flags %#llx", what,
			       (*ring)->index, (unsigned long long)v);
	if (m->n_fds != !(v & VHOST_VRING_NOFD))
		return err_set(err, -EINVAL, "the %s of queue %u comes with %u file descriptors",
			       what, (*ring)->index, m->n_fds);
	*fd = -1;
	if (v & VHOST_VRING_NOFD)
		return 0;
	/* What is no file has no type: eventfd(2). Reading and writing others could wait. */
	if (fstat(m->fd[0], &st) < 0 || (st.st_mode & S_IFMT))
		return err_set(err, -EINVAL, "the %s of queue %u is not an eventfd", what,
			       (*ring)->index);
	*fd = vhost_msg_fd(m);
	return 0;
}

static int set_vring_kick(struct vhost_session *s, struct err *err)
{
	struct ring *r;
	int fd, code = take_eventfd(s, "kick", &r, &fd, err);

	if (code)
		return code;
	close_fd(&r->kick_fd);
	r->kick_fd = fd;
	r->kicked = true;
	return 0;
}

static void replace_eventfd(struct ring *r, int *which, int fd)
{
	vhost_relief_set(r->s->relief, 2 * r->index + (which == &r->err_fd), fd);
	close_fd(which);
	*which = fd;
}

static int set_vring_call(struct vhost_session *s, struct err *err)
{
	struct ring *r;
	int fd = -1, code = take_eventfd(s, "call", &r, &fd, err);

	if (code)
		return code;
	replace_eventfd(r, &r->call_fd, fd);
	r->call_waits = fd >= 0 && !(fcntl(fd, F_GETFL) & O_NONBLOCK);
	if (r->running) /* an answer may have been told to the one before */
		vhost_ring_signal(fd, r->call_waits);
	return 0;
}

static int set_vring_err(struct vhost_session *s, struct err *err)
{
	struct ring *r;
	int fd, code = take_eventfd(s, "error", &r, &fd, err);

	if (code)
		return code;
	replace_eventfd(r, &r->err_fd, fd);
	return 0;
}

static int set_vring_enable(struct vhost_session *s, struct err *err)
{
	const struct vhost_vring_state *v = &msg_of(s)->p.state;

	if (v->num > 1)
		return err_set(err, -EINVAL, "queue %u can be enabled (1) or not (0), not %u",
			       v->index, v->num);
	s->ring[v->index].enabled = v->num;
	return 0;
}

static int get_queue_num(struct vhost_session *s, struct err *err)
{
	(void)err;
	return reply_u64(s, s->n_rings);
}

static int set_backend_req_fd(struct vhost_session *s, struct err *err)
{
	struct stat st;

	if (fstat(msg_of(s)->fd[0], &st) < 0 || !S_ISSOCK(st.st_mode))
		return err_set(err, -EINVAL,
			       "the descriptor for requests to the front end is not a socket");
	close_fd(&s->backend_fd);
	s->backend_fd = vhost_msg_fd(msg_of(s));
	return 0;
}

enum { CONFIG_HEAD = offsetof(struct vhost_config, bytes) };

static int check_config(struct vhost_session *s, struct err *err)
{
	const struct vhost_config *c = &msg_of(s)->p.config;

	if (c->size > VHOST_CONFIG_MAX || msg_of(s)->h.size != CONFIG_HEAD + c->size)
		return err_set(err, -EINVAL, "%u bytes of configuration in a message of %u bytes",
			       c->size, msg_of(s)->h.size);
	return 0;
}

/* What the device does not have reads as zeros: a front end may know of more than we. */
static int get_config(struct vhost_session *s, struct err *err)
{
	const struct vhost_config *c = &msg_of(s)->p.config;
	uint8_t all[VHOST_CONFIG_MAX] = { 0 };
	int code = check_config(s, err);

	if (code)
		return code;
	if (!range_ok(c->offset, c->size, VHOST_CONFIG_MAX))
		return 0; /* an empty reply says that it cannot be had */
	s->dev->ops->config_read(s->dev, 0, all, s->dev->ops->config_size);
	s->reply.config = (struct vhost_config){ c->offset, c->size, c->flags, { 0 } };
	memcpy(s->reply.config.bytes, all + c->offset, c->size);
	s->reply_size = CONFIG_HEAD + c->size;
	return 0;
}

/* All but what the guest may write has its value from us: it can only be set to what it is, unless
 * to migrate. */
static int set_config(struct vhost_session *s, struct err *err)
{
	const struct vhost_config *c = &msg_of(s)->p.config;
	uint8_t now[VHOST_CONFIG_MAX];
	int code = check_config(s, err);

	if (code)
		return code;
	if (!range_ok(c->offset, c->size, s->dev->ops->config_size) ||
	    c->flags > VHOST_CONFIG_MIGRATION)
		return err_set(err, -EINVAL,
			       "%u bytes at %u cannot be written to the configuration, with flags "
			       "%#x",
			       c->size, c->offset, c->flags);
	s->dev->ops->config_write(s->dev, c->offset, c->bytes, c->size);
	s->dev->ops->config_read(s->dev, c->offset, now, c->size);
	if (c->flags != VHOST_CONFIG_MIGRATION && memcmp(now, c->bytes, c->size))
		return err_set(err, -EPERM,
			       "%u bytes at %u of the configuration cannot be written like that",
			       c->size, c->offset);
	return 0;
}

static int check_inflight(const struct vhost_session *s, const struct vhost_inflight *i,
			  struct err *err)
{
	if (i->n_queues && i->n_queues <= s->n_rings && i->queue_size &&
	    i->queue_size <= VQ_SIZE_MAX)
		return 0;
	return err_set(err, -EINVAL,
		       "an area for what %u queues of %u have in flight; there are %u, of up to %d",
		       i->n_queues, i->queue_size, s->n_rings, VQ_SIZE_MAX);
}

static int get_inflight_fd(struct vhost_session *s, struct err *err)
{
	const struct vhost_inflight *i = &msg_of(s)->p.inflight;
	int code = check_inflight(s, i, err);
	uint64_t size;

	if (code)
		return code;
	size = (uint64_t)i->n_queues * vq_inflight_bytes(i->queue_size, packed(s));
	s->reply_fd = memfd_create("hako in flight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (s->reply_fd < 0 || ftruncate(s->reply_fd, (off_t)size) < 0 ||
	    fcntl(s->reply_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_set(err, -errno, "cannot make an area for what is in flight: %s",
			       strerror(errno));
	s->reply.inflight = (struct vhost_inflight){ size, 0, i->n_queues, i->queue_size, 0 };
	s->reply_size = msg_of(s)->h.size; /* with or without the padding, as it was asked */
	return 0;
}

static int set_inflight_fd(struct vhost_session *s, struct err *err)
{
	const struct vhost_inflight *i = &msg_of(s)->p.inflight;
	int code = check_inflight(s, i, err);

	if (code)
		return code;
	if (i->size < (uint64_t)i->n_queues * vq_inflight_bytes(i->queue_size, packed(s)))
		return err_set(err, -EINVAL,
			       "%#llx bytes are too few for what %u queues of %u have in flight",
			       (unsigned long long)i->size, i->n_queues, i->queue_size);
	if (i->offset % sizeof(uint64_t))
		return err_set(err, -EINVAL,
			       "the area for what is in flight begins at %#llx of its file, which "
			       "must be a multiple of 8",
			       (unsigned long long)i->offset);
	vhost_unmap(&s->inflight);
	code = vhost_map(&s->inflight, msg_of(s)->fd[0], i->offset, i->size,
			 "the area for what is in flight", err);
	s->inflight_size = i->size;
	s->inflight_queues = i->n_queues;
	s->inflight_queue_size = i->queue_size;
	return code;
}

/* What comes to rest before a message is handled. */
enum scope { SCOPE_NONE, SCOPE_RING, SCOPE_ALL };

struct message {
	const char *name;
	int (*handle)(struct vhost_session *s, struct err *err);
	uint16_t min, max; /* bytes of payload */
	uint8_t fd_min, fd_max;
	enum scope scope;
	/* The payload begins with the number of a ring: 32 bits of it, or the low 8. */
	enum { RING_NONE, RING_32, RING_8 } ring;
	uint64_t needs; /* a protocol feature */
	bool replies;   /* always, with what handle() has left in s->reply */
	bool may_fail;  /* a front end that asks whether it went well can live with "no" */
};

#define NOTHING             .max = 0
#define BYTES(type)         .min = sizeof(type), .max = sizeof(type)
#define UPTO(least, type)   .min = least, .max = sizeof(type)
#define FDS(least, most)    .fd_min = (least), .fd_max = (most)
#define NEEDS(feature)      .needs = BIT(VHOST_PROTOCOL_F_##feature)
#define LINE(id, func, ...) [VHOST_##id] = { .name = #id, .handle = func, __VA_ARGS__ }

static const struct message messages[VHOST_MESSAGES] = {
	LINE(GET_FEATURES, get_features, NOTHING, .replies = true),
	LINE(SET_FEATURES, set_features, BYTES(uint64_t), .scope = SCOPE_ALL),
	LINE(SET_OWNER, set_owner, NOTHING),
	LINE(RESET_OWNER, reset_owner, NOTHING, .scope = SCOPE_ALL),
	LINE(SET_MEM_TABLE, set_mem_table, UPTO(8, struct vhost_mem_table),
	     FDS(0, VHOST_TABLE_REGIONS), .scope = SCOPE_ALL),
	LINE(SET_LOG_BASE, set_log_base, BYTES(struct vhost_log_base), FDS(1, 1), NEEDS(LOG_SHMFD),
	     .replies = true),
	LINE(SET_LOG_FD, set_log_fd, UPTO(0, uint64_t), FDS(0, 1)),
	LINE(SET_VRING_NUM, set_vring_num, BYTES(struct vhost_vring_state), .scope = SCOPE_RING,
	     .ring = RING_32),
	LINE(SET_VRING_ADDR, set_vring_addr, BYTES(struct vhost_vring_addr), .scope = SCOPE_RING,
	     .ring = RING_32),
	LINE(SET_VRING_BASE, set_vring_base, BYTES(struct vhost_vring_state), .scope = SCOPE_RING,
	     .ring = RING_32),
	LINE(GET_VRING_BASE, get_vring_base, BYTES(struct vhost_vring_state), .scope = SCOPE_RING,
	     .ring = RING_32, .replies = true),
	LINE(SET_VRING_KICK, set_vring_kick, BYTES(uint64_t), FDS(0, 1), .scope = SCOPE_RING,
	     .ring = RING_8),
	LINE(SET_VRING_CALL, set_vring_call, BYTES(uint64_t), FDS(0, 1), .ring = RING_8),
	LINE(SET_VRING_ERR, set_vring_err, BYTES(uint64_t), FDS(0, 1), .ring = RING_8),
	LINE(GET_PROTOCOL_FEATURES, get_protocol_features, NOTHING, .replies = true),
	LINE(SET_PROTOCOL_FEATURES, set_protocol_features, BYTES(uint64_t)),
	LINE(GET_QUEUE_NUM, get_queue_num, NOTHING, .replies = true),
	LINE(SET_VRING_ENABLE, set_vring_enable, BYTES(struct vhost_vring_state),
	     .scope = SCOPE_RING, .ring = RING_32),
	LINE(SET_BACKEND_REQ_FD, set_backend_req_fd, UPTO(0, uint64_t), FDS(1, 1),
	     NEEDS(BACKEND_REQ)),
	LINE(GET_CONFIG, get_config, UPTO(CONFIG_HEAD, struct vhost_config), NEEDS(CONFIG),
	     .replies = true),
	LINE(SET_CONFIG, set_config, UPTO(CONFIG_HEAD, struct vhost_config), NEEDS(CONFIG),
	     .may_fail = true),
	LINE(GET_INFLIGHT_FD, get_inflight_fd, UPTO(20, struct vhost_inflight),
	     NEEDS(INFLIGHT_SHMFD), .replies = true),
	LINE(SET_INFLIGHT_FD, set_inflight_fd, UPTO(20, struct vhost_inflight), FDS(1, 1),
	     .scope = SCOPE_ALL, NEEDS(INFLIGHT_SHMFD)),
	LINE(RESET_DEVICE, reset_device, NOTHING, .scope = SCOPE_ALL, NEEDS(RESET_DEVICE)),
	LINE(GET_MAX_MEM_SLOTS, get_max_mem_slots, NOTHING, NEEDS(CONFIGURE_MEM_SLOTS),
	     .replies = true),
	LINE(ADD_MEM_REG, add_mem_reg, BYTES(struct vhost_mem_reg), FDS(1, 1),
	     NEEDS(CONFIGURE_MEM_SLOTS), .may_fail = true),
	LINE(REM_MEM_REG, rem_mem_reg, BYTES(struct vhost_mem_reg), FDS(0, 1), .scope = SCOPE_ALL,
	     NEEDS(CONFIGURE_MEM_SLOTS), .may_fail = true),
	LINE(SET_STATUS, set_status, BYTES(uint64_t), .scope = SCOPE_ALL, NEEDS(STATUS)),
	LINE(GET_STATUS, get_status, NOTHING, NEEDS(STATUS), .replies = true),
};

/* Close the connection, and say why. */
static void refuse(struct vhost_session *s, const struct err *err)
{
	if (err->code == -ECONNRESET)
		said(s, LOG_INFO, "the front end has gone");
	else
		said(s, LOG_ERROR, "the front end's connection is closed: %s", err->msg);
	vhost_session_end(s);
}

/* What can be told without looking at the fields. */
static int judge(struct vhost_session *s, struct ring **ring, struct err *err)
{
	const struct vhost_msg *m = msg_of(s);
	const struct message *t = m->h.request < VHOST_MESSAGES ? &messages[m->h.request] : NULL;
	uint32_t index = 0;

	if ((m->h.flags & 3) != VHOST_FLAG_VERSION || (m->h.flags & VHOST_FLAG_REPLY))
		return err_set(err, -EPROTO, "message %u has flags %#x: no request of version %d",
			       m->h.request, m->h.flags, VHOST_FLAG_VERSION);
	if (!t || !t->name)
		return err_set(err, -EPROTO, "message %u is none that hako knows", m->h.request);
	if (m->h.size < t->min || m->h.size > t->max)
		return err_set(err, -EPROTO, "%s with %u bytes of payload, which has from %u to %u",
			       t->name, m->h.size, t->min, t->max);
	if (m->n_fds < t->fd_min || m->n_fds > t->fd_max)
		return err_set(err, -EPROTO, "%s with %u file descriptors, which has from %u to %u",
			       t->name, m->n_fds, t->fd_min, t->fd_max);
	if (t->needs & ~s->protocol)
		return err_set(err, -EPROTO,
			       "%s, for which protocol feature %#llx would have to be set", t->name,
			       (unsigned long long)t->needs);
	if (t->ring == RING_32)
		index = m->p.state.index;
	else if (t->ring == RING_8)
		index = m->p.u64 & VHOST_VRING_INDEX_MASK;
	if (index >= s->n_rings)
		return err_set(err, -EPROTO, "%s for queue %u; there are %u", t->name, index,
			       s->n_rings);
	s->message = t;
	*ring = &s->ring[index];
	return 0;
}

static int start_rings(struct vhost_session *s, struct err *err)
{
	int code = 0;

	for (unsigned i = 0; i < s->n_rings && !code; i++)
		if (!s->ring[i].running && vhost_ring_may_run(&s->ring[i]))
			code = vhost_ring_start(&s->ring[i], err);
	return code;
}

/* The rings that the message concerns are at rest. */
static void handle(struct vhost_session *s)
{
	const struct message *t = s->message;
	const struct vhost_header *h = &msg_of(s)->h;
	bool ack = !t->replies && (h->flags & VHOST_FLAG_NEED_REPLY) &&
		   (s->protocol & BIT(VHOST_PROTOCOL_F_REPLY_ACK));
	struct err err = ERR_INIT;
	int code, sent = 0;

	s->reply_size = 0;
	s->reply_fd = -1;
	code = t->handle(s, &err);
	if (code && t->may_fail && ack) {
		said(s, LOG_WARN, "%s is refused: %s", t->name, err.msg);
		err = (struct err)ERR_INIT;
		reply_u64(s, 1);
		code = start_rings(s, &err);
	} else if (!code) {
		if (ack)
			reply_u64(s, 0);
		code = start_rings(s, &err);
	}
	if (code && ack)
		reply_u64(s, 1);
	if (ack || (t->replies && !code))
		sent = vhost_channel_reply(&s->ch, h, &s->reply, s->reply_size, s->reply_fd, &err);
	close_fd(&s->reply_fd);
	if (code || sent)
		refuse(s, &err);
	check_memory(s);
}

static void session_ready(struct loop_source *source, uint32_t events)
{
	struct vhost_session *s = container_of(source, struct vhost_session, source);
	struct err err = ERR_INIT;
	struct ring *ring = NULL;
	int r = vhost_channel_read(&s->ch, &err);

	(void)events;
	if (r == 0)
		return;
	if (r == 1)
		r = judge(s, &ring, &err);
	if (r < 0) {
		err.code = r;
		refuse(s, &err);
		return;
	}
	if (s->message->scope == SCOPE_NONE ||
	    vhost_rings_rest(s, s->message->scope == SCOPE_ALL ? s->ring : ring,
			     s->message->scope == SCOPE_ALL ? s->n_rings : 1)) {
		handle(s);
		return;
	}
	s->resting = true;
	loop_del(s->loop, &s->source);
}

static void rested(struct loop_task *task)
{
	struct vhost_session *s = container_of(task, struct vhost_session, rested);

	if (s->n_stopping) /* more has to come to rest meanwhile */
		return;
	s->resting = false;
	if (s->ending) {
		/* Of rings that were set up and could not be started: to let go of one is noted in
		 * the log, and from ended() on a fault there finds no session any more. */
		for (unsigned i = 0; i < s->n_rings; i++)
			vq_reset(s->ring[i].vq);
		s->ended(s->arg);
		return;
	}
	loop_add(s->loop, &s->source);
	handle(s);
}

/* ---- Life ---- */

static bool one_cpu(void)
{
	cpu_set_t cpus;

	return !sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_COUNT(&cpus) == 1;
}

int vhost_session_create(struct vhost_session **session, const struct vhost_session_config *config,
			 struct err *err)
{
	unsigned n = config->dev->ops->n_queues;
	struct vhost_session *s = calloc(1, sizeof(*s) + n * sizeof(s->ring[0]));
	int code;

	if (!s) {
		close(config->fd);
		return err_set(err, -ENOMEM, "cannot serve a front end: out of memory");
	}
	s->host.ops = &host_ops;
	s->dev = config->dev;
	s->loop = config->dev->loop;
	s->log = config->log;
	s->limit = config->limit;
	s->name = config->name;
	s->without = config->without;
	s->ended = config->ended;
	s->arg = config->arg;
	s->alone = one_cpu();
	s->backend_fd = s->reply_fd = -1;
	s->rested.run = rested;
	vhost_channel_init(&s->ch, config->fd);
	s->relief = config->relief;
	vhost_relief_attach(s->relief, config->fd);
	code = vhost_memory_init(&s->memory, err);
	for (; !code && s->n_rings < n; s->n_rings++)
		code = vhost_ring_init(&s->ring[s->n_rings], s, s->n_rings, err);
	s->source =
		(struct loop_source){ .fd = config->fd, .events = LOOP_IN, .ready = session_ready };
	if (!code) {
		if (loop_add(s->loop, &s->source))
			code = err_set(err, -ENOMEM, "cannot watch a front end's socket");
	}
	s->dev->host = &s->host;
	s->dev->acked = 0;
	if (code) {
		vhost_session_destroy(s);
		return code;
	}
	said(s, LOG_INFO, "a front end is connected");
	*session = s;
	return 0;
}

void vhost_session_end(struct vhost_session *s)
{
	if (s->ending)
		return;
	s->ending = true;
	vhost_relief_begin(s->relief);
	loop_del(s->loop, &s->source);
	s->resting = true;
	if (vhost_rings_rest(s, s->ring, s->n_rings))
		loop_post(s->loop, &s->rested);
}

void vhost_session_destroy(struct vhost_session *s)
{
	if (!s)
		return;
	s->dev->host = NULL;
	loop_del(s->loop, &s->source);
	vhost_relief_detach(s->relief);
	for (unsigned i = 0; i < s->n_rings; i++)
		vhost_ring_fini(&s->ring[i]);
	vhost_channel_fini(&s->ch);
	close_fd(&s->backend_fd);
	vhost_unmap(&s->inflight);
	vhost_memory_fini(&s->memory);
	free(s);
}

bool vhost_session_fault(struct vhost_session *s, void *addr)
{
	if (!vhost_map_fault(&s->inflight, addr) && !vhost_memory_fault(&s->memory, addr))
		return false;
	s->shrunk = true;
	return true;
}

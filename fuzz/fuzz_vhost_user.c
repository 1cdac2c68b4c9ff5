/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user session with a virtio-blk behind it and a front end that sends anything: messages
 * that are nearly right, with descriptors of several kinds or none, memory of any contents, kicks
 * that it has or has not set up. The input is a sequence of operations, see operate().
 *
 * All of it runs on one thread: a turn of the loop after each operation. The disk, its threads and
 * the memory are made once.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "block/blk.h"
#include "host/loop.h"
#include "vfront.h"
#include "vhost/channel.h"
#include "vhost/relief.h"
#include "vhost/session.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"

enum { RAM_SIZE = 1 << 20, DISK_SIZE = 64 << 10, OPS_MAX = 64, QUEUES = 2, RING = 8 };

struct target {
	struct loop *loop;
	struct log log;
	struct blk *blk;
	struct virtio_dev *dev;
	struct vhost_relief *relief;
	struct vhost_session *session; /* NULL: it has ended */
	struct vfront front;
	int null, disk; /* descriptors that are no memory and no eventfd; the disk's file */
	struct vd_queue q;
};

static void silent(void *arg, enum log_level level, const char *who, const char *text)
{
	(void)arg;
	(void)level;
	(void)who;
	(void)text;
}

static void ended(void *arg)
{
	struct target *t = arg;

	vhost_session_destroy(t->session);
	t->session = NULL;
}

static void turn(struct target *t)
{
	loop_stop(t->loop);
	fuzz_check(!loop_run(t->loop));
}

/* What the session has said is of no interest, but it must have room to say it. */
static void hear(struct target *t)
{
	uint8_t bytes[4096];

	while (t->front.sock >= 0 && recv(t->front.sock, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* The front end goes: the session ends with the last of what was begun. The session may have a copy
 * of the front end's own socket, sent as some descriptor, so closing it would not be enough. */
static void leave(struct target *t)
{
	shutdown(t->front.sock, SHUT_RDWR);
	vf_disconnect(&t->front);
	for (unsigned i = 0; i < 10000000 && t->session; i++) {
		turn(t);
		sched_yield();
	}
	fuzz_check(!t->session);
}

static void connect_again(struct target *t)
{
	struct vhost_session_config config = { .dev = t->dev,
					       .log = &t->log,
					       .name = "vhost",
					       .relief = t->relief,
					       .ended = ended,
					       .arg = t };
	struct err err = ERR_INIT;
	int pair[2];

	leave(t);
	fuzz_check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	t->front.sock = pair[0];
	config.fd = pair[1];
	fuzz_check(!vhost_session_create(&t->session, &config, &err));
}

/* The session reads nothing while its rings come to rest, which may take longer than there
 * is room. */
static void wait_for_room(struct target *t)
{
	struct pollfd room = { .fd = t->front.sock, .events = POLLOUT };

	while (poll(&room, 1, 0) == 0) {
		turn(t);
		sched_yield();
	}
}

static void message(struct target *t, uint32_t request, uint32_t flags, const void *payload,
		    size_t size, int fd, unsigned n)
{
	int fds[VHOST_FDS_MAX + 1];

	for (unsigned i = 0; i < n && i < ARRAY_SIZE(fds); i++)
		fds[i] = fd;
	if (t->front.sock >= 0) {
		wait_for_room(t);
		vf_send(&t->front, request, flags, payload, size, fds, n);
	}
	turn(t);
	hear(t);
}

static int some_fd(struct target *t, unsigned kind)
{
	switch (kind % 6) {
	case 0: return t->front.memfd;
	case 1: return t->front.kick[0];
	case 2: return t->front.call[1];
	case 3: return t->null;
	case 4: return t->front.inflight_fd;
	default: return t->front.sock;
	}
}

/* Everything that a good one would send, with these features. */
static void set_up(struct target *t, struct input *in)
{
	uint64_t choice = input_take(in, 2), protocol = ~0ULL & 0x1b62b;
	uint64_t features = (choice & 0x7fff) << 24 | BIT(VIRTIO_F_VERSION_1) |
			    BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	const struct vhost_mem_table m = { .n = 1, .region = { vf_region(&t->front) } };
	const struct vhost_vring_state num = { 0, RING }, on = { 0, 1 };
	struct vhost_vring_state base = { 0,
					  features & BIT(VIRTIO_F_RING_PACKED) ? 0x80008000 : 0 };
	struct vhost_vring_addr addr = { .flags = (uint32_t)(choice >> 15) };
	struct vhost_inflight area = { 4096, 0, QUEUES, RING, 0 };
	uint64_t index = 0;

	features &= ~(BIT(37) | BIT(36) | BIT(33) | BIT(24) | BIT(25) | BIT(27) | BIT(31));
	t->front.driver.next = VF_GUEST;
	t->front.driver.features = features;
	message(t, VHOST_SET_PROTOCOL_FEATURES, 1, &protocol, 8, -1, 0);
	message(t, VHOST_SET_FEATURES, 1, &features, 8, -1, 0);
	message(t, VHOST_SET_MEM_TABLE, 1, &m, 40, t->front.memfd, 1);
	if (input_take(in, 1) & 1)
		message(t, VHOST_SET_INFLIGHT_FD, 1, &area, sizeof(area), t->front.inflight_fd, 1);
	vd_queue_layout(&t->front.driver, &t->q, 0, RING);
	addr.desc = t->q.desc - VF_GUEST + VF_USER;
	addr.avail = t->q.avail - VF_GUEST + VF_USER;
	addr.used = t->q.used - VF_GUEST + VF_USER;
	message(t, VHOST_SET_VRING_NUM, 1, &num, 8, -1, 0);
	message(t, VHOST_SET_VRING_BASE, 1, &base, 8, -1, 0);
	message(t, VHOST_SET_VRING_ADDR, 1, &addr, sizeof(addr), -1, 0);
	message(t, VHOST_SET_VRING_CALL, 1, &index, 8, t->front.call[0], 1);
	message(t, VHOST_SET_VRING_KICK, 1, &index, 8, t->front.kick[0], 1);
	message(t, VHOST_SET_VRING_ENABLE, 1, &on, 8, -1, 0);
}

/* What a good front end sends with each: bytes of payload, descriptors. */
static const struct shape {
	uint8_t size, fds;
} shapes[] = {
	[VHOST_SET_FEATURES] = { 8, 0 },     [VHOST_SET_MEM_TABLE] = { 40, 1 },
	[VHOST_SET_LOG_BASE] = { 16, 1 },    [VHOST_SET_LOG_FD] = { 8, 1 },
	[VHOST_SET_VRING_NUM] = { 8, 0 },    [VHOST_SET_VRING_ADDR] = { 40, 0 },
	[VHOST_SET_VRING_BASE] = { 8, 0 },   [VHOST_GET_VRING_BASE] = { 8, 0 },
	[VHOST_SET_VRING_KICK] = { 8, 1 },   [VHOST_SET_VRING_CALL] = { 8, 1 },
	[VHOST_SET_VRING_ERR] = { 8, 1 },    [VHOST_SET_PROTOCOL_FEATURES] = { 8, 0 },
	[VHOST_SET_VRING_ENABLE] = { 8, 0 }, [VHOST_SET_BACKEND_REQ_FD] = { 0, 1 },
	[VHOST_GET_CONFIG] = { 12, 0 },      [VHOST_SET_CONFIG] = { 12, 0 },
	[VHOST_GET_INFLIGHT_FD] = { 24, 0 }, [VHOST_SET_INFLIGHT_FD] = { 24, 1 },
	[VHOST_ADD_MEM_REG] = { 40, 1 },     [VHOST_REM_MEM_REG] = { 40, 0 },
	[VHOST_SET_STATUS] = { 8, 0 },       [43] = { 0, 0 },
};

/* A message of any kind; its fields are small numbers, near addresses, or anything. With bit 7 of
 * its second byte it has the shape that such messages have. */
static void any_message(struct target *t, struct input *in)
{
	uint32_t request = (uint32_t)input_take(in, 1) % ARRAY_SIZE(shapes);
	unsigned shape = (unsigned)input_take(in, 1), size = (unsigned)input_take(in, 1) % 80;
	unsigned n = shape & 7;
	uint64_t word[10];

	for (unsigned i = 0; i < ARRAY_SIZE(word); i++) {
		unsigned how = (unsigned)input_take(in, 1);

		word[i] = how < 60    ? how
			  : how < 64  ? VHOST_VRING_NOFD | (how & 3)
			  : how < 128 ? VF_USER + 64 * input_take(in, 2)
			  : how < 160 ? VF_GUEST + 4096 * input_take(in, 1)
			  : how < 192 ? input_take(in, 2) << 32 | input_take(in, 1)
			  : how < 224 ? 4096 * input_take(in, 1)
				      : input_take(in, 8);
	}
	if (shape & 0x80) {
		size = shapes[request].size;
		n = shapes[request].fds;
		if (request == VHOST_GET_CONFIG || request == VHOST_SET_CONFIG)
			size += (unsigned)(word[0] >> 32) % 64; /* vhost_config.size */
		else if (request != VHOST_SET_MEM_TABLE && (word[0] & VHOST_VRING_NOFD) &&
			 size == 8)
			n = 0;
	}
	message(t, request, shape & 0xc0 ? 1 | (shape & 8) : shape, word, size,
		some_fd(t, (shape >> 3) & 7), n);
}

/* The disk has another length: whoever wants to know is told. */
static void resize(struct target *t, struct input *in)
{
	fuzz_check(!ftruncate(t->disk, (off_t)(512 * input_take(in, 1))));
	fuzz_check(virtio_blk_resize(t->dev) >= 0);
}

static void request(struct target *t, struct input *in)
{
	const uint64_t one = 1;
	struct vd_buf b = { VF_GUEST + RAM_SIZE / 2 + 512 * input_take(in, 1),
			    512U * (uint32_t)(input_take(in, 1) % 8) };
	uint32_t type = (uint32_t)input_take(in, 1) % 16;
	struct vd_blk r;

	if (!t->q.size || t->front.driver.next > VF_GUEST + RAM_SIZE / 2)
		return;
	vd_blk_init(&t->front.driver, &r);
	vd_blk_add(&t->q, &r, type, input_take(in, 1), &b, b.len ? 1 : 0, type & 1);
	vd_publish(&t->q);
	fuzz_check(write(t->front.kick[0], &one, sizeof(one)) == sizeof(one));
	turn(t);
	hear(t);
}

static void poke(uint8_t *at, uint64_t size, struct input *in)
{
	uint64_t off = input_take(in, 2) % (size - 16);
	unsigned len = 1 + (unsigned)input_take(in, 1) % 16;

	for (unsigned i = 0; i < len; i++)
		at[off + i] = (uint8_t)input_take(in, 1);
}

static void operate(struct target *t, struct input *in)
{
	const uint64_t one = 1;
	uint8_t bytes[32];
	uint8_t *area;

	switch (input_take(in, 1) % 11) {
	case 0: connect_again(t); break;
	case 1: set_up(t, in); break;
	case 2:
	case 3:
	case 4: any_message(t, in); break;
	case 5:
	case 6: request(t, in); break;
	case 7: poke((uint8_t *)t->front.map + VF_OFFSET, 1 << 16, in); break;
	case 8:
		area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, t->front.inflight_fd,
			    0);
		fuzz_check(area != MAP_FAILED);
		poke(area, 512, in);
		munmap(area, 4096);
		fuzz_check(write(t->front.kick[0], &one, sizeof(one)) == sizeof(one));
		break;
	case 9: resize(t, in); break;
	default: /* bytes that are no message */
		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)input_take(in, 1);
		if (t->front.sock >= 0)
			send(t->front.sock, bytes, 1 + input_take(in, 1) % sizeof(bytes),
			     MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	}
	turn(t);
}

/* What is the same for all inputs: a disk with its threads, memory, descriptors. */
static void make(struct target *t)
{
	char path[32];
	struct err err = ERR_INIT;
	/* Threads and no ring: there are limits to how many rings a process may make. */
	struct blk_config blk = { .path = path, .aio = BLK_AIO_THREADS };
	struct virtio_blk_config dev = { .name = "disk", .queues = QUEUES, .seg_max = 126 };

	log_init(&t->log, LOG_DEBUG, silent, NULL);
	fuzz_check(!loop_create(&t->loop, &err));
	t->disk = memfd_create("disk", MFD_CLOEXEC); /* flushed in no time */
	fuzz_check(t->disk >= 0 && !ftruncate(t->disk, DISK_SIZE));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->disk);
	blk.loop = dev.loop = t->loop;
	fuzz_check(!blk_open_raw(&t->blk, &blk, &err));
	dev.blk = t->blk;
	dev.log = &t->log;
	fuzz_check(!virtio_blk_create(&t->dev, &dev, &err));
	fuzz_check(!vhost_relief_create(&t->relief, -1, &err));
	vf_init(&t->front, RAM_SIZE);
	t->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	t->front.inflight_fd = memfd_create("area", MFD_CLOEXEC);
	fuzz_check(t->null >= 0 && !ftruncate(t->front.inflight_fd, 4096));
}

/* As if it were new: what an input has found must not depend on those before it. */
static void begin(struct target *t)
{
	static const uint8_t zeros[4096];
	uint64_t n;

	vd_init(&t->front.driver, t->front.gmem, NULL, 0, VF_GUEST, RAM_SIZE);
	memset(&t->q, 0, sizeof(t->q));
	memset(t->front.map, 0, VF_OFFSET + RAM_SIZE);
	fuzz_check(pwrite(t->front.inflight_fd, zeros, sizeof(zeros), 0) == sizeof(zeros));
	fuzz_check(!ftruncate(t->disk, 0) && !ftruncate(t->disk, DISK_SIZE));
	fuzz_check(virtio_blk_resize(t->dev) >= 0);
	for (unsigned i = 0; i < VF_QUEUES; i++)
		while (read(t->front.kick[i], &n, sizeof(n)) > 0 ||
		       read(t->front.call[i], &n, sizeof(n)) > 0)
			;
	t->dev->ops->reset(t->dev);
	connect_again(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target t; /* making it takes much longer than most inputs do */
	struct input in = { data, size };

	if (!t.loop)
		make(&t);
	begin(&t);
	for (unsigned i = 0; i < OPS_MAX && in.left; i++)
		operate(&t, &in);
	leave(&t);
	return 0;
}

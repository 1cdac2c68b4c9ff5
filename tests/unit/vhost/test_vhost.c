/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user server, asked by a front end of ours: what a good one gets, and that a bad one
 * loses its connection, with a sentence, and nobody else anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "vback.h"
#include "vfront.h"
#include "vhost/server.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"

enum { DISK = 1 << 20, RAM = 4 << 20, SECTOR = 512 };

#define ALL           (~0ULL & ~BIT(VHOST_F_LOG_ALL) & ~BIT(VIRTIO_F_RING_PACKED) & ~BIT(VIRTIO_F_IN_ORDER))
#define ALL_PACKED    (ALL | BIT(VIRTIO_F_RING_PACKED))
#define EVERY_FEATURE ~0ULL

struct fixture {
	struct vback back;
	struct vfront front;
	struct vd_queue q;
};

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	vback_init(&t->back, DISK, VF_QUEUES);
	vf_init(&t->front, RAM);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;
	struct stat st;

	vf_fini(&t->front);
	vback_fini(&t->back);
	assert_int_equal(stat(t->back.path, &st), -1); /* the socket is removed */
	free(t);
	return 0;
}

/* Connect, agree, and start queue 0. */
static void begin(struct fixture *t, uint64_t features)
{
	assert_int_equal(vf_connect(&t->front, t->back.path), 0);
	assert_int_equal(vf_begin(&t->front, features, EVERY_FEATURE), 0);
	assert_int_equal(vf_queue(&t->front, &t->q, 0, 16), 0);
}

/* The server serves: read a sector, and compare it. */
static void read_works(struct fixture *t, struct vd_queue *q, uint64_t sector)
{
	struct vdriver *d = &t->front.driver;
	struct vd_buf buf = { vd_alloc(d, SECTOR, SECTOR), SECTOR };
	struct vd_blk r;
	uint64_t word;
	uint32_t len;

	vd_blk_init(d, &r);
	assert_int_equal(vd_blk_do(q, &r, VD_BLK_IN, sector, &buf, 1, &len), 0);
	assert_int_equal(len, SECTOR + 1);
	memcpy(&word, vd_ptr(d, buf.gpa, 8), 8);
	assert_true(word == vrig_pattern(sector * SECTOR));
}

/* ---- What a good front end gets ---- */

static void write_and_flush(struct fixture *t)
{
	struct vdriver *d = &t->front.driver;
	struct vd_buf buf = { vd_alloc(d, SECTOR, SECTOR), SECTOR };
	char back[SECTOR];
	struct vd_blk r;
	int fd;

	memset(vd_ptr(d, buf.gpa, SECTOR), 0x5a, SECTOR);
	vd_blk_init(d, &r);
	assert_int_equal(vd_blk_do(&t->q, &r, VD_BLK_OUT, 7, &buf, 1, NULL), 0);
	assert_int_equal(vd_blk_do(&t->q, &r, VD_BLK_FLUSH, 0, NULL, 0, NULL), 0);
	fd = open(t->back.disk, O_RDONLY);
	assert_int_equal(pread(fd, back, SECTOR, 7 * SECTOR), SECTOR);
	assert_memory_equal(back, vd_ptr(d, buf.gpa, SECTOR), SECTOR);
	close(fd);
}

static void reads_and_writes(void **state)
{
	struct fixture *t = *state;

	begin(t, ALL);
	for (uint64_t s = 0; s < 40; s++)
		read_works(t, &t->q, s);
	write_and_flush(t);
}

static void reads_and_writes_packed(void **state)
{
	struct fixture *t = *state;

	begin(t, ALL_PACKED);
	assert_true(t->q.packed);
	for (uint64_t s = 0; s < 40; s++)
		read_works(t, &t->q, s);
	write_and_flush(t);
}

static void queues_are_apart(void **state)
{
	struct fixture *t = *state;
	struct vd_queue q[VF_QUEUES];
	uint64_t n;

	begin(t, ALL);
	assert_int_equal(vf_get(&t->front, VHOST_GET_QUEUE_NUM, &n), 0);
	assert_int_equal(n, VF_QUEUES);
	for (unsigned i = 1; i < VF_QUEUES; i++)
		assert_int_equal(vf_queue(&t->front, &q[i], i, 8), 0);
	for (unsigned i = 1; i < VF_QUEUES; i++)
		read_works(t, &q[i], i);
}

/* A stopped ring goes on where it was, here or in another session. */
static void stops_and_goes_on(void **state)
{
	struct fixture *t = *state;

	for (unsigned packed = 0; packed < 2; packed++) {
		uint32_t base;

		begin(t, packed ? ALL_PACKED : ALL);
		for (uint64_t s = 0; s < 21; s++)
			read_works(t, &t->q, s);
		assert_int_equal(vf_stop(&t->front, 0, &base), 0);
		if (packed) /* 3 descriptors each, 16 in the ring: 3 laps and 15 */
			assert_int_equal(base, 0x000f000f);
		else
			assert_int_equal(base, 21);
		/* Stopped is stopped. */
		vd_kick_always(&t->q);
		assert_int_equal(vf_start(&t->front, &t->q, base), 0);
		read_works(t, &t->q, 1);
		assert_int_equal(vf_stop(&t->front, 0, &base), 0);

		assert_int_equal(vf_connect(&t->front, t->back.path), 0);
		assert_int_equal(vf_begin(&t->front, packed ? ALL_PACKED : ALL, EVERY_FEATURE), 0);
		assert_int_equal(vf_start(&t->front, &t->q, base), 0);
		read_works(t, &t->q, 2);
		vf_disconnect(&t->front);
	}
}

static void disabled_is_not_served(void **state)
{
	struct fixture *t = *state;
	struct vhost_vring_state s = { 0, 0 };
	struct vd_blk r;
	uint16_t head;
	uint32_t len;

	begin(t, ALL);
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_ENABLE, &s, sizeof(s), NULL, 0), 0);
	vd_blk_init(&t->front.driver, &r);
	assert_true(vd_blk_add(&t->q, &r, VD_BLK_FLUSH, 0, NULL, 0, false) >= 0);
	vd_publish(&t->q);
	vd_kick_always(&t->q);
	/* A message later, it would have been served. */
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_ENABLE, &s, sizeof(s), NULL, 0), 0);
	assert_false(vd_used(&t->q, &head, &len));
	s.num = 1;
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_ENABLE, &s, sizeof(s), NULL, 0), 0);
	assert_int_equal(vd_wait(&t->q, &head, &len), 0);
}

/* VHOST_VRING_NOFD: nobody kicks, nobody is called. */
static void polls(void **state)
{
	struct fixture *t = *state;
	uint64_t nofd = VHOST_VRING_NOFD;
	uint16_t head;
	uint32_t len;
	struct vd_blk r;

	begin(t, ALL);
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_CALL, &nofd, 8, NULL, 0), 0);
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_KICK, &nofd, 8, NULL, 0), 0);
	vd_blk_init(&t->front.driver, &r);
	assert_true(vd_blk_add(&t->q, &r, VD_BLK_FLUSH, 0, NULL, 0, false) >= 0);
	vd_publish(&t->q); /* and no kick */
	assert_int_equal(vd_wait(&t->q, &head, &len), 0);
}

static void calls(void **state)
{
	struct fixture *t = *state;
	struct pollfd p;
	uint64_t n;

	begin(t, ALL);
	p = (struct pollfd){ t->front.call[0], POLLIN, 0 };
	while (read(t->front.call[0], &n, sizeof(n)) > 0)
		;
	vd_interrupts(&t->q, true);
	read_works(t, &t->q, 3);
	assert_int_equal(poll(&p, 1, VD_PATIENCE_S * 1000), 1);
}

static void configuration(void **state)
{
	struct fixture *t = *state;
	struct vhost_config c = { .offset = 0, .size = 60 }, got = { 0 };
	uint64_t capacity;

	begin(t, ALL);
	assert_int_equal(vf_send(&t->front, VHOST_GET_CONFIG, 1, &c, 12 + 60, NULL, 0), 0);
	assert_int_equal(vf_reply(&t->front, VHOST_GET_CONFIG, &got, sizeof(got), NULL), 12 + 60);
	memcpy(&capacity, got.bytes, 8);
	assert_int_equal(capacity, DISK / SECTOR);
	/* More than there is: zeros */
	c.size = 128;
	assert_int_equal(vf_send(&t->front, VHOST_GET_CONFIG, 1, &c, 12 + 128, NULL, 0), 0);
	assert_int_equal(vf_reply(&t->front, VHOST_GET_CONFIG, &got, sizeof(got), NULL), 12 + 128);
	assert_int_equal(got.bytes[127], 0);
	/* Beyond what any has: an empty reply */
	c.offset = 200;
	c.size = 57;
	assert_int_equal(vf_send(&t->front, VHOST_GET_CONFIG, 1, &c, 12 + 57, NULL, 0), 0);
	assert_int_equal(vf_reply(&t->front, VHOST_GET_CONFIG, &got, sizeof(got), NULL), 0);

	/* 5.2.4: writeback, at 32, can be written; capacity cannot, and that ends nothing. */
	c = (struct vhost_config){ .offset = 32, .size = 1, .bytes = { 0 } };
	assert_int_equal(vf_call(&t->front, VHOST_SET_CONFIG, &c, 13, NULL, 0), 0);
	c = (struct vhost_config){ .offset = 32, .size = 1 };
	assert_int_equal(vf_send(&t->front, VHOST_GET_CONFIG, 1, &c, 13, NULL, 0), 0);
	assert_int_equal(vf_reply(&t->front, VHOST_GET_CONFIG, &got, sizeof(got), NULL), 13);
	assert_int_equal(got.bytes[0], 0);
	c = (struct vhost_config){ .offset = 0, .size = 1, .bytes = { 1 } };
	assert_int_equal(vf_call(&t->front, VHOST_SET_CONFIG, &c, 13, NULL, 0), -EREMOTEIO);
	c.flags = 7;
	assert_int_equal(vf_call(&t->front, VHOST_SET_CONFIG, &c, 13, NULL, 0), -EREMOTEIO);
	read_works(t, &t->q, 0);
}

static void look_again(void *arg)
{
	struct vback *b = arg;

	virtio_blk_resize(b->dev);
}

static void other_size(void **state)
{
	struct fixture *t = *state;
	struct vhost_config c = { .size = 8 };
	struct vhost_header h;
	struct pollfd p;
	uint64_t capacity;
	int pair[2];

	begin(t, ALL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(vf_call(&t->front, VHOST_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	assert_int_equal(truncate(t->back.disk, 2 * DISK), 0);
	vback_on_loop(&t->back, look_again);
	p = (struct pollfd){ pair[0], POLLIN, 0 };
	assert_int_equal(poll(&p, 1, VD_PATIENCE_S * 1000), 1);
	assert_int_equal(read(pair[0], &h, sizeof(h)), sizeof(h));
	assert_int_equal(h.request, VHOST_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(h.flags, VHOST_FLAG_VERSION);
	assert_int_equal(h.size, 0);
	assert_int_equal(vf_send(&t->front, VHOST_GET_CONFIG, 1, &c, 20, NULL, 0), 0);
	assert_int_equal(vf_reply(&t->front, VHOST_GET_CONFIG, &c, sizeof(c), NULL), 20);
	memcpy(&capacity, c.bytes, 8);
	assert_int_equal(capacity, 2 * DISK / SECTOR);
	close(pair[0]); /* nobody listens: no harm */
	assert_int_equal(truncate(t->back.disk, DISK), 0);
	vback_on_loop(&t->back, look_again);
	read_works(t, &t->q, 0);
	close(pair[1]);
}

static void resets(void **state)
{
	struct fixture *t = *state;
	struct vhost_config c = { .offset = 32, .size = 1, .bytes = { 0 } };
	uint64_t status = 15;

	begin(t, ALL);
	assert_int_equal(vf_call(&t->front, VHOST_SET_STATUS, &status, 8, NULL, 0), 0);
	assert_int_equal(vf_get(&t->front, VHOST_GET_STATUS, &status), 0);
	assert_int_equal(status, 15);
	read_works(t, &t->q, 3);
	assert_int_equal(vf_call(&t->front, VHOST_SET_CONFIG, &c, 13, NULL, 0), 0);
	assert_int_equal(vf_call(&t->front, VHOST_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	assert_int_equal(vf_get(&t->front, VHOST_GET_STATUS, &status), 0);
	assert_int_equal(status, 0);
	assert_int_equal(vf_send(&t->front, VHOST_GET_CONFIG, 1, &c, 13, NULL, 0), 0);
	assert_int_equal(vf_reply(&t->front, VHOST_GET_CONFIG, &c, sizeof(c), NULL), 13);
	assert_int_equal(c.bytes[0], 1);
	assert_int_equal(vf_queue(&t->front, &t->q, 0, 16), 0);
	read_works(t, &t->q, 3);
	assert_int_equal(vf_call(&t->front, VHOST_RESET_OWNER, NULL, 0, NULL, 0), 0);
	assert_int_equal(vf_queue(&t->front, &t->q, 0, 16), 0);
	read_works(t, &t->q, 3);
}

/* ---- Memory ---- */

static void memory_comes_and_goes(void **state)
{
	struct fixture *t = *state;
	struct vhost_mem_reg more = { .region = { VF_GUEST + (1ULL << 40), 8192,
						  VF_USER + (1 << 28), 4096 } };
	struct vd_buf buf = { VF_GUEST + (1ULL << 40) + 512, SECTOR };
	int fd = memfd_create("more", MFD_CLOEXEC), status;
	struct vd_blk r;
	uint64_t slots;
	uint8_t *p;

	assert_int_equal(ftruncate(fd, 16384), 0);
	p = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	begin(t, ALL);
	assert_int_equal(vf_get(&t->front, VHOST_GET_MAX_MEM_SLOTS, &slots), 0);
	assert_true(slots >= 8);
	vd_blk_init(&t->front.driver, &r);
	assert_int_equal(vf_call(&t->front, VHOST_ADD_MEM_REG, &more, sizeof(more), &fd, 1), 0);
	assert_int_equal(vd_blk_do(&t->q, &r, VD_BLK_IN, 5, &buf, 1, NULL), 0);
	assert_true(*(uint64_t *)(void *)(p + 4096 + 512) == vrig_pattern(5 * SECTOR));
	/* Twice there, or too much: refused, and it goes on. */
	assert_int_equal(vf_call(&t->front, VHOST_ADD_MEM_REG, &more, sizeof(more), &fd, 1),
			 -EREMOTEIO);
	more.region.guest += 1 << 20;
	more.region.user += 1 << 20;
	more.region.size = 16384;
	assert_int_equal(vf_call(&t->front, VHOST_ADD_MEM_REG, &more, sizeof(more), &fd, 1),
			 -EREMOTEIO);
	assert_int_equal(vf_call(&t->front, VHOST_REM_MEM_REG, &more, sizeof(more), NULL, 0),
			 -EREMOTEIO);
	more.region.guest -= 1 << 20;
	more.region.user -= 1 << 20;
	more.region.size = 8192;
	assert_int_equal(vf_call(&t->front, VHOST_REM_MEM_REG, &more, sizeof(more), &fd, 1), 0);
	read_works(t, &t->q, 9);
	/* It is gone: a buffer there breaks the ring, whose front end is told. */
	assert_int_equal(vd_blk_add(&t->q, &r, VD_BLK_IN, 5, &buf, 1, false) < 0, 0);
	vd_kick(&t->q);
	assert_true(vback_said(&t->back, "not in RAM"));
	munmap(p, 16384);
	close(fd);
	(void)status;
}

/* A table that is sent while queues run: they go on in the new memory. */
static void table_changes(void **state)
{
	struct fixture *t = *state;
	struct vhost_mem_table m = { .n = 1 };

	begin(t, ALL);
	read_works(t, &t->q, 1);
	m.region[0] = vf_region(&t->front);
	assert_int_equal(vf_call(&t->front, VHOST_SET_MEM_TABLE, &m, 40, &t->front.memfd, 1), 0);
	read_works(t, &t->q, 2);
}

static void dirty_log(void **state)
{
	struct fixture *t = *state;
	const uint64_t features = ALL | BIT(VHOST_F_LOG_ALL);
	struct vhost_log_base log = { .size = (VF_GUEST + RAM) / 4096 / 8, .offset = 4096 };
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct vd_buf buf;
	struct vd_blk r;
	uint64_t val;
	uint8_t *bits;

	assert_int_equal(ftruncate(fd, (off_t)(log.offset + log.size)), 0);
	bits = mmap(NULL, log.offset + log.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	bits += log.offset;
#define DIRTY(gpa) (bits[(gpa) / 4096 / 8] >> (gpa) / 4096 % 8 & 1)
	begin(t, ALL);
	buf = (struct vd_buf){ vd_alloc(&t->front.driver, 3 * 4096, 4096), 2 * 4096 };
	vd_blk_init(&t->front.driver, &r);
	assert_int_equal(vf_send(&t->front, VHOST_SET_LOG_BASE, 1, &log, sizeof(log), &fd, 1), 0);
	assert_int_equal(vf_reply(&t->front, VHOST_SET_LOG_BASE, &val, 8, NULL), 8);
	read_works(t, &t->q, 0);
	assert_false(DIRTY(t->q.used)); /* not asked for yet */
	val = t->front.features | (features & BIT(VHOST_F_LOG_ALL));
	assert_int_equal(vf_call(&t->front, VHOST_SET_FEATURES, &val, 8, NULL, 0), 0);
	assert_int_equal(vd_blk_do(&t->q, &r, VD_BLK_IN, 0, &buf, 1, NULL), 0);
	assert_true(DIRTY(t->q.used));
	assert_true(DIRTY(buf.gpa));
	assert_true(DIRTY(buf.gpa + 4096));
	assert_false(DIRTY(buf.gpa + 2 * 4096));
	assert_true(DIRTY(r.status));
	/* The used ring at another address */
	assert_false(DIRTY(0x5000));
	{
		const struct vhost_vring_addr addr = {
			.flags = VHOST_VRING_F_LOG,
			.desc = t->q.desc - VF_GUEST + VF_USER,
			.used = t->q.used - VF_GUEST + VF_USER,
			.avail = t->q.avail - VF_GUEST + VF_USER,
			.log = 0x5000,
		};

		assert_int_equal(
			vf_call(&t->front, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	}
	assert_int_equal(vd_blk_do(&t->q, &r, VD_BLK_IN, 0, &buf, 1, NULL), 0);
	assert_true(DIRTY(0x5000));
	/* And no longer */
	val = t->front.features;
	assert_int_equal(vf_call(&t->front, VHOST_SET_FEATURES, &val, 8, NULL, 0), 0);
	memset(bits, 0, log.size);
	assert_int_equal(vd_blk_do(&t->q, &r, VD_BLK_IN, 0, &buf, 1, NULL), 0);
	for (uint64_t i = 0; i < log.size; i++)
		assert_int_equal(bits[i], 0);
	close(fd);
}

/* ---- What is in flight ---- */

/* vhost-user, "Inflight I/O tracking": split */
struct split_area {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct {
		uint8_t inflight, padding[5];
		uint16_t next;
		uint64_t counter;
	} desc[];
};

static void *area_map(struct vfront *f)
{
	return mmap(NULL, f->inflight.size, PROT_READ | PROT_WRITE, MAP_SHARED, f->inflight_fd, 0);
}

/* As if a server had taken three requests and ended: with the first of them, which is request 0,
 * and the last in flight, and the one between published but not yet struck out. */
static void taken_up_again(void **state)
{
	struct fixture *t = *state;
	struct vdriver *d = &t->front.driver;
	struct split_area *a;
	struct vd_blk r[3];
	struct vd_buf id;
	uint16_t head;
	uint32_t len, base;
	int h[3];

	begin(t, ALL);
	assert_int_equal(vf_stop(&t->front, 0, &base), 0);
	assert_int_equal(vf_track(&t->front, 1, 16), 0);
	assert_int_equal(t->front.inflight.size % 64, 0);
	a = area_map(&t->front);
	id = (struct vd_buf){ vd_alloc(d, 20, 4), 20 };
	for (unsigned i = 0; i < 3; i++) {
		vd_blk_init(d, &r[i]);
		/* answered at once, so in the order in which they are taken */
		h[i] = vd_blk_add(&t->q, &r[i], VD_BLK_GET_ID, 0, &id, 1, false);
		assert_true(h[i] >= 0);
		a->desc[h[i]].inflight = 1;
		a->desc[h[i]].counter = 100 - i; /* in another order */
	}
	assert_int_equal(h[0], 0);
	vd_publish(&t->q);
	a->version = 1;
	a->desc_num = 16;
	a->last_batch_head = (uint16_t)h[1];
	/* The used ring has the one between. */
	memcpy(vd_ptr(d, t->q.used + 4, 8), (uint32_t[]){ (uint32_t)h[1], 1 }, 8);
	__atomic_store_n((uint16_t *)vd_ptr(d, t->q.used + 2, 2), 1, __ATOMIC_RELEASE);
	*(uint8_t *)vd_ptr(d, r[1].status, 1) = 0;

	/* The base is wrong, as that of a front end which has not kept count. */
	assert_int_equal(vf_start(&t->front, &t->q, 0), 0);
	assert_int_equal(vd_wait(&t->q, &head, &len), 0);
	assert_int_equal(head, h[1]);
	assert_int_equal(vd_wait(&t->q, &head, &len), 0);
	assert_int_equal(head, h[2]); /* by its counter */
	assert_int_equal(vd_wait(&t->q, &head, &len), 0);
	assert_int_equal(head, h[0]);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vd_blk_status(d, &r[i]), 0);
	read_works(t, &t->q, 4);
	assert_int_equal(vf_stop(&t->front, 0, &base), 0);
	assert_int_equal(base, 4);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(a->desc[i].inflight, 0);
	assert_int_equal(a->used_idx, 4);
	munmap(a, t->front.inflight.size);
}

static void tracked(void **state, uint64_t features)
{
	struct fixture *t = *state;
	uint32_t base;

	assert_int_equal(vf_connect(&t->front, t->back.path), 0);
	assert_int_equal(vf_begin(&t->front, features, EVERY_FEATURE), 0);
	assert_int_equal(vf_track(&t->front, 2, 16), 0);
	assert_int_equal(vf_queue(&t->front, &t->q, 0, 16), 0);
	for (uint64_t s = 0; s < 50; s++)
		read_works(t, &t->q, s);
	/* Without a stop, and with any base: the area tells. */
	assert_int_equal(vf_connect(&t->front, t->back.path), 0);
	assert_int_equal(vf_begin(&t->front, features, EVERY_FEATURE), 0);
	assert_int_equal(vf_track(&t->front, 2, 16), 0);
	assert_int_equal(vf_start(&t->front, &t->q, t->q.packed ? 0x80008000 : 7), 0);
	for (uint64_t s = 0; s < 50; s++)
		read_works(t, &t->q, s);
	assert_int_equal(vf_stop(&t->front, 0, &base), 0);
}

static void tracked_split(void **state)
{
	tracked(state, ALL);
}

static void tracked_packed(void **state)
{
	tracked(state, ALL_PACKED);
}

/* More of them than the device takes in a turn, and the front end wants the ring back at once: what
 * is in the area only is done before, for the base is behind it. */
static void taken_up_whole(void **state)
{
	enum { SIZE = 1024, N = 1000 };
	struct fixture *t = *state;
	struct vdriver *d = &t->front.driver;
	struct vd_queue q = { .d = d, .size = SIZE };
	const struct vhost_vring_state num = { 0, SIZE }, on = { 0, 1 };
	const uint64_t index = 0;
	struct vhost_vring_addr addr = { .index = 0 };
	struct vhost_vring_state base;
	struct {
		struct vhost_header h;
		struct vhost_vring_state s;
	} two[2] = {
		{ { VHOST_SET_VRING_ENABLE, VHOST_FLAG_VERSION, sizeof(on) }, on },
		{ { VHOST_GET_VRING_BASE, VHOST_FLAG_VERSION, sizeof(on) }, { 0, 0 } },
	};
	struct split_area *a;
	struct vd_blk r;
	gpa_t table, id;

	assert_int_equal(vf_connect(&t->front, t->back.path), 0);
	assert_int_equal(vf_begin(&t->front, ALL, EVERY_FEATURE), 0);
	assert_int_equal(vf_track(&t->front, 1, SIZE), 0);
	/* All of them are the same request. */
	vd_blk_init(d, &r);
	vd_put(d, r.header, (uint32_t[]){ VD_BLK_GET_ID, 0, 0, 0 }, 16);
	id = vd_alloc(d, 20, 4);
	table = vd_alloc(d, 3 * 16, 16);
	vd_desc_set(d, table, 0, r.header, 16, VD_NEXT, 1);
	vd_desc_set(d, table, 1, id, 20, VD_WRITE | VD_NEXT, 2);
	vd_desc_set(d, table, 2, r.status, 1, VD_WRITE, 0);
	q.desc = vd_alloc(d, 16 * SIZE, 16);
	q.avail = vd_alloc(d, 6 + 2 * SIZE, 2);
	q.used = vd_alloc(d, 6 + 8 * SIZE, 4);
	a = area_map(&t->front);
	for (uint16_t i = 0; i < N; i++) {
		vd_desc_set(d, q.desc, i, table, 3 * 16, VD_INDIRECT, 0);
		vd_avail_set(&q, i, i);
		a->desc[i].inflight = 1;
		a->desc[i].counter = i;
	}
	vd_avail_idx_set(&q, N);
	a->version = 1;
	a->desc_num = SIZE;

	addr.desc = q.desc - VF_GUEST + VF_USER;
	addr.used = q.used - VF_GUEST + VF_USER;
	addr.avail = q.avail - VF_GUEST + VF_USER;
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_NUM, &num, sizeof(num), NULL, 0), 0);
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_KICK, &index, 8, &t->front.kick[0], 1),
			 0);
	assert_int_equal(vd_used_idx(&q), 0);
	/* Both are there when the first is read. */
	assert_int_equal(send(t->front.sock, two, sizeof(two), 0), sizeof(two));
	assert_int_equal(vf_reply(&t->front, VHOST_GET_VRING_BASE, &base, sizeof(base), NULL),
			 sizeof(base));
	assert_int_equal(base.num, N);
	assert_int_equal(vd_used_idx(&q), N);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(a->desc[i].inflight, 0);
	munmap(a, t->front.inflight.size);
}

/* ---- What a bad one loses ---- */

/* The server has closed the connection, with a sentence, and serves the next. */
static void is_sent_away(struct fixture *t, const char *sentence)
{
	uint64_t val;

	assert_true(vback_said(&t->back, sentence));
	assert_int_equal(vf_reply(&t->front, 0, &val, 8, NULL), -ECONNRESET);
	t->front.driver.next = VF_GUEST;
	begin(t, ALL);
	read_works(t, &t->q, 11);
}

/* Whoever comes next is served. */
static void is_served_anew(struct fixture *t)
{
	vf_disconnect(&t->front);
	t->front.driver.next = VF_GUEST;
	if (t->front.inflight_fd >= 0)
		close(t->front.inflight_fd);
	t->front.inflight_fd = -1;
	begin(t, ALL);
	read_works(t, &t->q, 11);
}

struct bad {
	const char *sentence;
	uint32_t request, flags;
	uint32_t size;
	uint64_t payload[8];
	unsigned fds; /* so many of the memory's */
};

static const struct bad bad[] = {
	{ "no request of version 1", VHOST_SET_OWNER, 0, 0, { 0 }, 0 },
	{ "no request of version 1", VHOST_SET_OWNER, 5, 0, { 0 }, 0 },
	{ "message 0 is none", 0, 1, 0, { 0 }, 0 },
	{ "message 63 is none", 63, 1, 0, { 0 }, 0 },
	{ "message 4294967295 is none", UINT32_MAX, 1, 0, { 0 }, 0 },
	{ "SET_OWNER with 8 bytes", VHOST_SET_OWNER, 1, 8, { 0 }, 0 },
	{ "SET_OWNER with 1 file", VHOST_SET_OWNER, 1, 0, { 0 }, 1 },
	{ "more than 16 file descriptors", VHOST_SET_OWNER, 1, 0, { 0 }, 17 },
	{ "SET_FEATURES with 4 bytes", VHOST_SET_FEATURES, 1, 4, { 0 }, 0 },
	{ "are not offered", VHOST_SET_FEATURES, 1, 8, { BIT(63) }, 0 },
	{ "while queue 0 runs", VHOST_SET_FEATURES, 1, 8, { BIT(32) }, 0 },
	{ "are not offered", VHOST_SET_PROTOCOL_FEATURES, 1, 8, { BIT(8) }, 0 },
	{ "for queue 4; there are 4", VHOST_SET_VRING_NUM, 1, 8, { 4 | 16ULL << 32 }, 0 },
	{ "for queue 4294967295", VHOST_GET_VRING_BASE, 1, 8, { UINT32_MAX }, 0 },
	{ "for queue 255", VHOST_SET_VRING_CALL, 1, 8, { 0x1ff }, 0 },
	{ "cannot have 0 entries", VHOST_SET_VRING_NUM, 1, 8, { 0 }, 0 },
	{ "cannot have 12 entries", VHOST_SET_VRING_NUM, 1, 8, { 12ULL << 32 }, 0 },
	{ "cannot have 2048 entries", VHOST_SET_VRING_NUM, 1, 8, { 2048ULL << 32 }, 0 },
	{ "cannot have 65552 entries", VHOST_SET_VRING_NUM, 1, 8, { 65552ULL << 32 }, 0 },
	{ "unknown flags 0x2", VHOST_SET_VRING_ADDR, 1, 40, { 2ULL << 32 }, 0 },
	{ "in none of its memory regions", VHOST_SET_VRING_ADDR, 1, 40, { 0, 1, 2, 3 }, 0 },
	{ "in none of its memory regions",
	  VHOST_SET_VRING_ADDR,
	  1,
	  40,
	  { 0, VF_USER, VF_USER + RAM, VF_USER },
	  0 },
	{ "cannot be: the message before", /* the end is out of it */
	  VHOST_SET_VRING_ADDR,
	  1,
	  40,
	  { 0, VF_USER + RAM - 16, VF_USER, VF_USER },
	  0 },
	{ "is not aligned", VHOST_SET_VRING_ADDR, 1, 40, { 0, VF_USER + 1, VF_USER, VF_USER }, 0 },
	{ "cannot go on at index 65536", VHOST_SET_VRING_BASE, 1, 8, { 65536ULL << 32 }, 0 },
	{ "available index more than", VHOST_SET_VRING_BASE, 1, 8, { 999ULL << 32 }, 0 },
	{ "kick of queue 0 has unknown flags", VHOST_SET_VRING_KICK, 1, 8, { 0x200 }, 0 },
	{ "kick of queue 0 comes with 0", VHOST_SET_VRING_KICK, 1, 8, { 0 }, 0 },
	{ "kick of queue 0 comes with 1", VHOST_SET_VRING_KICK, 1, 8, { 0x100 }, 1 },
	{ "kick of queue 0 is not an eventfd", VHOST_SET_VRING_KICK, 1, 8, { 0 }, 1 },
	{ "call of queue 0 is not an eventfd", VHOST_SET_VRING_CALL, 1, 8, { 0 }, 1 },
	{ "error of queue 0 is not an eventfd", VHOST_SET_VRING_ERR, 1, 8, { 0 }, 1 },
	{ "can be enabled (1) or not (0)", VHOST_SET_VRING_ENABLE, 1, 8, { 2ULL << 32 }, 0 },
	{ "SET_MEM_TABLE of 9 regions", VHOST_SET_MEM_TABLE, 1, 8, { 9 }, 0 },
	{ "SET_MEM_TABLE of 1 regions", VHOST_SET_MEM_TABLE, 1, 8, { 1 }, 1 },
	{ "SET_MEM_TABLE of 1 regions", VHOST_SET_MEM_TABLE, 1, 40, { 1, 0, 4096, 0, 0 }, 2 },
	{ "of a file of only", VHOST_SET_MEM_TABLE, 1, 40, { 1, 0, RAM, 0, 1ULL << 40 }, 1 },
	{ "of a file of only", VHOST_SET_MEM_TABLE, 1, 40, { 1, 0, ~0xfffULL, 0, 0x2000 }, 1 },
	{ "multiples of 2", VHOST_SET_MEM_TABLE, 1, 40, { 1, 0, 5001, 0, 0 }, 1 },
	{ "multiples of 2", VHOST_SET_MEM_TABLE, 1, 40, { 1, 0x801, 4096, 0, 0x801 }, 1 },
	{ "must be alike to 16", VHOST_SET_MEM_TABLE, 1, 40, { 1, 0, 4096, 0, 2 }, 1 },
	{ "has 0 bytes", VHOST_SET_MEM_TABLE, 1, 40, { 1, 0, 0, 0, 0 }, 1 },
	{ "has 0x2000 bytes at user", VHOST_SET_MEM_TABLE, 1, 40, { 1, 0, 8192, ~0xfffULL, 0 }, 1 },
	{ "in none of its memory regions", VHOST_SET_MEM_TABLE, 1, 8, { 0 }, 0 },
	{ "of a file of only", VHOST_SET_LOG_BASE, 1, 16, { 1ULL << 40, 0 }, 1 },
	{ "SET_LOG_BASE with 0 file", VHOST_SET_LOG_BASE, 1, 16, { 4096, 0 }, 0 },
	{ "the log is empty", VHOST_SET_LOG_BASE, 1, 16, { 0, 0 }, 1 },
	{ "is not a socket", VHOST_SET_BACKEND_REQ_FD, 1, 0, { 0 }, 1 },
	{ "GET_CONFIG with 4 bytes", VHOST_GET_CONFIG, 1, 4, { 0 }, 0 },
	{ "8 bytes of configuration in", VHOST_GET_CONFIG, 1, 16, { 8ULL << 32 }, 0 },
	{ "257 bytes of configuration in", VHOST_GET_CONFIG, 1, 16, { 257ULL << 32 }, 0 },
	{ "there are 4, of up to", VHOST_GET_INFLIGHT_FD, 1, 24, { 0, 0, 5 | 16 << 16 }, 0 },
	{ "there are 4, of up to", VHOST_GET_INFLIGHT_FD, 1, 24, { 0, 0, 1 | 2048 << 16 }, 0 },
	{ "there are 4, of up to", VHOST_GET_INFLIGHT_FD, 1, 24, { 0, 0, 16 << 16 }, 0 },
	{ "too few for what 4 queues", VHOST_SET_INFLIGHT_FD, 1, 24, { 64, 0, 4 | 16 << 16 }, 1 },
	{ "must be a multiple of 8", VHOST_SET_INFLIGHT_FD, 1, 24, { 8192, 1, 4 | 16 << 16 }, 1 },
	{ "of a file of only", VHOST_SET_INFLIGHT_FD, 1, 24, { 1ULL << 40, 0, 4 | 16 << 16 }, 1 },
	{ "is for 8; with QEMU", VHOST_SET_INFLIGHT_FD, 1, 24, { 8192, 0, 4 | 8 << 16 }, 1 },
	{ "the status to 0x100", VHOST_SET_STATUS, 1, 8, { 0x100 }, 0 },
};

static void bad_messages(void **state)
{
	struct fixture *t = *state;

	begin(t, ALL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct bad *b = &bad[i];
		int fds[32];

		for (unsigned f = 0; f < b->fds; f++)
			fds[f] = t->front.memfd;
		assert_int_equal(
			vf_send(&t->front, b->request, b->flags, b->payload, b->size, fds, b->fds),
			0);
		if (b->request == VHOST_SET_VRING_BASE && b->payload[0] == 999ULL << 32) {
			/* only this ring is broken, when there is something in it */
			assert_true(vback_said(&t->back, b->sentence));
			vf_disconnect(&t->front);
			t->front.driver.next = VF_GUEST;
			begin(t, ALL);
			continue;
		}
		is_sent_away(t, b->sentence);
	}
}

/* What needs a protocol feature cannot be had without. */
static void not_agreed(void **state)
{
	struct fixture *t = *state;
	const uint32_t requests[] = { VHOST_GET_MAX_MEM_SLOTS, VHOST_GET_STATUS,
				      VHOST_RESET_DEVICE };

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		assert_int_equal(vf_connect(&t->front, t->back.path), 0);
		assert_int_equal(vf_begin(&t->front, ALL, BIT(VHOST_PROTOCOL_F_REPLY_ACK)), 0);
		assert_int_equal(vf_send(&t->front, requests[i], 1, NULL, 0, NULL, 0), 0);
		is_sent_away(t, "would have to be set");
		vf_disconnect(&t->front);
		t->front.driver.next = VF_GUEST;
	}
}

/* In pieces, cut off, or with a length that is none. */
static void bad_bytes(void **state)
{
	struct fixture *t = *state;
	struct vhost_header h = { VHOST_GET_FEATURES, 1, 0 };
	uint64_t val;

	begin(t, ALL);
	for (size_t i = 0; i < sizeof(h); i++)
		assert_int_equal(send(t->front.sock, (uint8_t *)&h + i, 1, 0), 1);
	assert_int_equal(vf_reply(&t->front, VHOST_GET_FEATURES, &val, 8, NULL), 8);
	assert_int_equal(send(t->front.sock, &h, 5, 0), 5);
	vf_disconnect(&t->front);
	assert_true(vback_said(&t->back, "ended within a message"));
	t->front.driver.next = VF_GUEST;
	begin(t, ALL);
	h.size = 1 << 20;
	assert_int_equal(send(t->front.sock, &h, sizeof(h), 0), sizeof(h));
	is_sent_away(t, "none has more than");
	/* It dies: the next one is served. */
	vf_disconnect(&t->front);
	assert_true(vback_said(&t->back, "the front end has gone"));
	t->front.driver.next = VF_GUEST;
	begin(t, ALL);
	read_works(t, &t->q, 0);
}

/* A ring that is no ring: that queue stops, its error descriptor says so. */
static void broken_ring(void **state)
{
	struct fixture *t = *state;
	uint64_t index = 0, n;
	int err = eventfd(0, EFD_NONBLOCK);
	struct pollfd p = { err, POLLIN, 0 };
	struct vd_queue q1;

	begin(t, ALL);
	assert_int_equal(vf_queue(&t->front, &q1, 1, 8), 0);
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_ERR, &index, 8, &err, 1), 0);
	vd_add_malformed(&t->q);
	vd_kick(&t->q);
	assert_int_equal(poll(&p, 1, VD_PATIENCE_S * 1000), 1);
	assert_true(vback_said(&t->back, "head beyond the descriptor table"));
	assert_int_equal(vf_get(&t->front, VHOST_GET_STATUS, &n), 0);
	assert_int_equal(n & VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET);
	read_works(t, &q1, 2);
	close(err);
}

/* A head that comes again before anybody could know that it was answered: with an area for what is
 * in flight that would be in a batch twice. */
static void answered_and_not_told(void **state)
{
	struct fixture *t = *state;
	struct vdriver *d = &t->front.driver;
	struct vd_buf id = { vd_alloc(d, 20, 4), 20 };
	uint32_t base;
	struct vd_blk r;
	uint16_t *avail;
	int head;

	begin(t, ALL);
	assert_int_equal(vf_stop(&t->front, 0, &base), 0);
	assert_int_equal(vf_track(&t->front, 1, 16), 0);
	vd_blk_init(d, &r);
	head = vd_blk_add(&t->q, &r, VD_BLK_GET_ID, 0, &id, 1, false); /* answered at once */
	avail = vd_ptr(d, t->q.avail, 6 + 2 * 16);
	for (unsigned i = 0; i < 16; i++)
		avail[2 + i] = (uint16_t)head;
	__atomic_store_n(&avail[1], 16, __ATOMIC_RELEASE);
	assert_int_equal(vf_start(&t->front, &t->q, 0), 0);
	assert_true(vback_said(&t->back, "head is in flight already"));
	is_served_anew(t);
}

/* Has the server wait in a call: the front end's own eventfd is full, and somebody else still has
 * it. */
static void make_it_wait(struct fixture *t)
{
	struct vdriver *d = &t->front.driver;
	const uint64_t full = UINT64_MAX - 1;
	int fd = t->front.call[0];
	struct vd_buf id;
	uint16_t head;
	struct vd_blk r;
	uint32_t len;
	uint64_t n;

	begin(t, ALL);
	read_works(t, &t->q, 0);
	while (read(fd, &n, sizeof(n)) > 0)
		;
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	id = (struct vd_buf){ vd_alloc(d, 20, 4), 20 };
	vd_blk_init(d, &r);
	vd_interrupts(&t->q, true);
	assert_true(vd_blk_add(&t->q, &r, VD_BLK_GET_ID, 0, &id, 1, false) >= 0);
	vd_publish(&t->q);
	vd_kick_always(&t->q);
	assert_int_equal(vd_wait(&t->q, &head, &len), 0); /* published, and then: the call */
}

/* The next one is served. */
static void full_and_gone(void **state)
{
	struct fixture *t = *state;
	struct pollfd p;

	make_it_wait(t);
	assert_int_equal(vf_send(&t->front, VHOST_GET_FEATURES, 1, NULL, 0, NULL, 0), 0);
	p = (struct pollfd){ t->front.sock, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 100), 0); /* it does wait */
	vf_disconnect(&t->front);
	fcntl(t->front.call[0], F_SETFL, O_NONBLOCK);
	t->front.driver.next = VF_GUEST;
	begin(t, ALL);
	read_works(t, &t->q, 0);
}

/* The server ends when it is to, although the front end stays. */
static void full_and_stopped(void **state)
{
	struct fixture *t = *state;

	make_it_wait(t);
	notifier_set(&t->back.stop);
	pthread_join(t->back.thread, NULL);
	t->back.ended = true;
}

/* ---- Memory that is taken away ---- */

static struct vhost_server *faulty;

static void on_bus_error(int signo, siginfo_t *info, void *context)
{
	(void)context;
	if (vhost_server_fault(faulty, info->si_addr))
		return;
	signal(signo, SIG_DFL);
	raise(signo);
}

static void catch_bus_errors(struct fixture *t, struct sigaction *old)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	faulty = t->back.server;
	action.sa_sigaction = on_bus_error;
	sigaction(SIGBUS, &action, old);
}

/* A file that cannot be sealed, under a ring that is polled. */
static void shrinks_under_a_poll(void **state)
{
	struct fixture *t = *state;
	struct vhost_mem_table m = { .n = 1, .region = { vf_region(&t->front) } };
	uint64_t nofd = VHOST_VRING_NOFD;
	struct sigaction old;

	catch_bus_errors(t, &old);
	for (unsigned i = 0; i < 3; i++) {
		int fd = memfd_create("shrinks", MFD_CLOEXEC);

		begin(t, ALL);
		assert_int_equal(ftruncate(fd, (off_t)(VF_OFFSET + RAM)), 0);
		assert_int_equal(vf_call(&t->front, VHOST_SET_MEM_TABLE, &m, 40, &fd, 1), 0);
		assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_KICK, &nofd, 8, NULL, 0), 0);
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_true(vback_said(&t->back, "shared memory shorter"));
		close(fd);
		t->front.driver.next = VF_GUEST;
	}
	is_served_anew(t);
	sigaction(SIGBUS, &old, NULL);
}

/* The log is gone when a ring is let go of that could not be started: epoll(7) takes no chain of
 * its own descriptors that is so long. */
static void log_shrinks(void **state)
{
	struct fixture *t = *state;
	struct vhost_log_base log = { .size = (VF_GUEST + RAM) / 4096 / 8 };
	int fd = memfd_create("log", MFD_CLOEXEC), chain[16];
	unsigned n = 0;
	struct epoll_event ev = { .events = EPOLLIN };
	uint64_t val, queue = 0;
	struct sigaction old;
	uint32_t base;

	do { /* until it is one too long */
		assert_true(n < ARRAY_SIZE(chain));
		chain[n] = epoll_create1(EPOLL_CLOEXEC);
	} while (!epoll_ctl(chain[n], EPOLL_CTL_ADD, n ? chain[n - 1] : t->front.kick[1], &ev) &&
		 ++n);
	close(chain[n]);
	assert_int_equal(ftruncate(fd, (off_t)log.size), 0);
	catch_bus_errors(t, &old);
	begin(t, ALL);
	assert_int_equal(vf_stop(&t->front, 0, &base), 0);
	assert_int_equal(vf_send(&t->front, VHOST_SET_LOG_BASE, 1, &log, sizeof(log), &fd, 1), 0);
	assert_int_equal(vf_reply(&t->front, VHOST_SET_LOG_BASE, &val, 8, NULL), 8);
	val = t->front.features | BIT(VHOST_F_LOG_ALL);
	assert_int_equal(vf_call(&t->front, VHOST_SET_FEATURES, &val, 8, NULL, 0), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(vf_call(&t->front, VHOST_SET_VRING_KICK, &queue, 8, &chain[n - 1], 1),
			 -EREMOTEIO);
	assert_true(vback_said(&t->back, "cannot watch the kick"));
	is_served_anew(t);
	while (n)
		close(chain[--n]);
	close(fd);
	sigaction(SIGBUS, &old, NULL);
}

/* ---- Sockets ---- */

static void paths(void **state)
{
	struct fixture *t = *state;
	struct vhost_server_config c = {
		.dev = t->back.dev, .log = &t->back.log, .name = "x", .stop_fd = -1
	};
	struct vhost_server *s;
	struct err err = ERR_INIT;
	char longer[200];

	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	c.path = longer;
	assert_int_equal(vhost_server_create(&s, &c, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "199 bytes long"));
	err = (struct err)ERR_INIT;
	c.path = t->back.path;
	assert_int_equal(vhost_server_create(&s, &c, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "another program serves"));
	err = (struct err)ERR_INIT;
	c.path = t->back.disk;
	assert_int_equal(vhost_server_create(&s, &c, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "not a socket"));
	err = (struct err)ERR_INIT;
	c.path = "/nowhere/at/all.sock";
	assert_int_equal(vhost_server_create(&s, &c, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "check that its directory exists"));
	/* The one that is served is as it was. */
	begin(t, ALL);
	read_works(t, &t->q, 0);
}

/* Out of descriptors: said once, and who waits is served when there are some. */
static void none_left(void **state)
{
	const struct timespec nap = { .tv_nsec = 300000000 };
	struct fixture *t = *state;
	struct rlimit before, few;
	int fd = dup(0);

	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)fd + 1; /* one, and that is our end's */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(vf_connect(&t->front, t->back.path), 0);
	assert_true(vback_said(&t->back, "cannot accept a front end"));
	nanosleep(&nap, NULL); /* for some more tries */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(vf_begin(&t->front, ALL, EVERY_FEATURE), 0);
	assert_null(strstr(t->back.said, "cannot accept"));
	assert_int_equal(vf_queue(&t->front, &t->q, 0, 16), 0);
	read_works(t, &t->q, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(reads_and_writes),
		T(reads_and_writes_packed),
		T(queues_are_apart),
		T(stops_and_goes_on),
		T(disabled_is_not_served),
		T(polls),
		T(calls),
		T(configuration),
		T(other_size),
		T(resets),
		T(memory_comes_and_goes),
		T(table_changes),
		T(dirty_log),
		T(taken_up_again),
		T(tracked_split),
		T(tracked_packed),
		T(taken_up_whole),
		T(bad_messages),
		T(not_agreed),
		T(bad_bytes),
		T(broken_ring),
		T(answered_and_not_told),
		T(full_and_gone),
		T(full_and_stopped),
		T(shrinks_under_a_poll),
		T(log_shrinks),
		T(paths),
		T(none_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user-blk front end that does nothing but read, to measure servers with: any, not only
 * ours.
 *
 *	vhostblk SOCKET DEPTH N
 *
 * reads N times 4 KiB at random places of the disk, DEPTH requests at a time, each by an indirect
 * table as Linux does, and prints the microseconds of wall time for one. It sleeps until it is
 * called whenever nothing is answered, as a guest does that has nothing else to do.
 */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vhost/proto.h"

enum { BLOCK = 4096, SECTOR = 512, QUEUE = 128, RAM = 4 << 20 };

/* virtio 1.2, 2.7 */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };
struct avail {
	uint16_t flags, idx, ring[QUEUE], used_event;
};
struct used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[QUEUE];
	uint16_t avail_event;
};

/* All of guest memory, whose guest addresses begin at 0. */
struct ram {
	struct desc desc[QUEUE];
	struct avail avail;
	struct used used __attribute__((aligned(64)));
	struct {
		struct desc table[3];
		struct {
			uint32_t type, reserved;
			uint64_t sector;
		} header;
		uint8_t status;
	} request[QUEUE] __attribute__((aligned(64)));
	uint8_t data[QUEUE][BLOCK] __attribute__((aligned(BLOCK)));
};
_Static_assert(sizeof(struct ram) <= RAM, "all of it fits");

#define GUEST(field) ((uint64_t)offsetof(struct ram, field))

static void fail(const char *what)
{
	fprintf(stderr, "vhostblk: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void send_msg(int sock, uint32_t request, const void *payload, uint32_t size, int fd)
{
	struct vhost_header h = { request, VHOST_FLAG_VERSION, size };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)payload, size } };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };

	if (fd >= 0) {
		struct cmsghdr *c;

		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(sock, &mh, MSG_NOSIGNAL) != (ssize_t)(sizeof(h) + size))
		fail("cannot send a message");
}

static void reply(int sock, void *payload, size_t size)
{
	struct vhost_header h;

	if (recv(sock, &h, sizeof(h), MSG_WAITALL) != sizeof(h) || h.size != size ||
	    recv(sock, payload, size, MSG_WAITALL) != (ssize_t)size)
		fail("no reply, or none of the length that it should have");
}

static uint64_t get(int sock, uint32_t request)
{
	uint64_t val;

	send_msg(sock, request, NULL, 0, -1);
	reply(sock, &val, sizeof(val));
	return val;
}

static void set(int sock, uint32_t request, uint64_t val, int fd)
{
	send_msg(sock, request, &val, sizeof(val), fd);
}

static void set_vring(int sock, uint32_t request, uint32_t num)
{
	const struct vhost_vring_state s = { 0, num };

	send_msg(sock, request, &s, sizeof(s), -1);
}

/* 28: INDIRECT_DESC, 29: EVENT_IDX, 32: VERSION_1, 9: FLUSH (virtio 1.2, 6, 5.2.3) */
#define FEATURES \
	(1ULL << 28 | 1ULL << 29 | 1ULL << 32 | 1ULL << 9 | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES)

/* Share the memory and start queue 0; the disk's length in bytes. */
static uint64_t begin(int sock, struct ram *ram, int memfd, int kick, int call)
{
	const uint64_t user = (uint64_t)(uintptr_t)ram;
	const struct vhost_mem_table t = { .n = 1, .region = { { 0, RAM, user, 0 } } };
	const struct vhost_vring_addr addr = {
		.desc = user + GUEST(desc),
		.used = user + GUEST(used),
		.avail = user + GUEST(avail),
	};
	struct vhost_config c = { .size = 8 };
	uint64_t sectors;

	set(sock, VHOST_SET_FEATURES, get(sock, VHOST_GET_FEATURES) & FEATURES, -1);
	set(sock, VHOST_SET_PROTOCOL_FEATURES,
	    get(sock, VHOST_GET_PROTOCOL_FEATURES) & 1ULL << VHOST_PROTOCOL_F_CONFIG, -1);
	send_msg(sock, VHOST_SET_OWNER, NULL, 0, -1);
	send_msg(sock, VHOST_GET_CONFIG, &c, 12 + 8, -1);
	reply(sock, &c, 12 + 8);
	memcpy(&sectors, c.bytes, 8);
	send_msg(sock, VHOST_SET_MEM_TABLE, &t, 8 + sizeof(t.region[0]), memfd);
	set_vring(sock, VHOST_SET_VRING_NUM, QUEUE);
	set_vring(sock, VHOST_SET_VRING_BASE, 0);
	send_msg(sock, VHOST_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	set(sock, VHOST_SET_VRING_CALL, 0, call);
	set(sock, VHOST_SET_VRING_KICK, 0, kick);
	set_vring(sock, VHOST_SET_VRING_ENABLE, 1);
	return le64toh(sectors) * SECTOR;
}

static void prepare(struct ram *ram, unsigned i)
{
	const struct desc table = { GUEST(request[0]) + i * sizeof(ram->request[0]),
				    sizeof(ram->request[i].table), INDIRECT, 0 };
	const uint64_t request = table.addr;

	ram->desc[i] = table;
	ram->request[i].table[0] =
		(struct desc){ request + GUEST(request[0].header) - GUEST(request[0]), 16, NEXT,
			       1 };
	ram->request[i].table[1] =
		(struct desc){ GUEST(data) + (uint64_t)i * BLOCK, BLOCK, NEXT | WRITE, 2 };
	ram->request[i].table[2] =
		(struct desc){ request + GUEST(request[0].status) - GUEST(request[0]), 1, WRITE,
			       0 };
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* Did an index that moved from `old` to `new` pass `event`? virtio 1.2, 2.7.7.2 */
static bool passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

struct state {
	struct ram *ram;
	int kick, call, epoll;
	uint64_t blocks, seed;
	uint16_t idx, told, used;
};

static void add(struct state *s, unsigned i)
{
	s->seed = s->seed * 6364136223846793005 + 1442695040888963407; /* Knuth's MMIX */
	s->ram->request[i].header.sector = (s->seed >> 24) % s->blocks * (BLOCK / SECTOR);
	s->ram->request[i].status = 0xff;
	s->ram->avail.ring[s->idx++ % QUEUE] = (uint16_t)i;
}

static void publish(struct state *s)
{
	const uint64_t one = 1;
	uint16_t old = s->told;

	if (s->idx == old)
		return;
	__atomic_store_n(&s->ram->avail.idx, s->idx, __ATOMIC_RELEASE);
	s->told = s->idx;
	__sync_synchronize();
	if (passed(__atomic_load_n(&s->ram->used.avail_event, __ATOMIC_RELAXED), s->idx, old) &&
	    write(s->kick, &one, sizeof(one)) != sizeof(one))
		fail("cannot kick");
}

/* Sleep until something is answered. */
static void wait_used(struct state *s)
{
	struct epoll_event event;

	for (;;) {
		__atomic_store_n(&s->ram->avail.used_event, s->used, __ATOMIC_RELAXED);
		__sync_synchronize();
		if (__atomic_load_n(&s->ram->used.idx, __ATOMIC_ACQUIRE) != s->used)
			return;
		if (epoll_wait(s->epoll, &event, 1, -1) < 0)
			fail("cannot wait for a call");
	}
}

static double measure(struct state *s, unsigned depth, unsigned long n)
{
	unsigned long added = 0, done = 0;
	double start = now_us();

	for (unsigned i = 0; i < depth && added < n; i++, added++)
		add(s, i);
	while (done < n) {
		uint16_t until;

		publish(s);
		wait_used(s);
		until = __atomic_load_n(&s->ram->used.idx, __ATOMIC_ACQUIRE);
		for (; s->used != until; s->used++, done++) {
			unsigned i = s->ram->used.ring[s->used % QUEUE].id;

			if (i >= depth || s->ram->request[i].status) {
				fprintf(stderr, "vhostblk: request %u failed: %u\n", i,
					i < depth ? s->ram->request[i].status : 0);
				exit(1);
			}
			if (added < n) {
				add(s, i);
				added++;
			}
		}
	}
	return (now_us() - start) / (double)n;
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct epoll_event event = { .events = EPOLLIN | EPOLLET }; /* it is never read */
	struct state s = { .seed = 1 };
	unsigned depth;
	unsigned long n;
	int sock, memfd;

	if (argc != 4 || strlen(argv[1]) >= sizeof(addr.sun_path)) {
		fprintf(stderr, "usage: vhostblk SOCKET DEPTH N\n");
		return 2;
	}
	depth = (unsigned)strtoul(argv[2], NULL, 10);
	n = strtoul(argv[3], NULL, 10);
	if (!depth || depth > QUEUE || !n) {
		fprintf(stderr, "vhostblk: DEPTH is from 1 to %d, and N not 0\n", QUEUE);
		return 2;
	}
	memcpy(addr.sun_path, argv[1], strlen(argv[1]));
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (unsigned i = 0; connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0; i++) {
		if (i == 100) /* 10 seconds: a server under valgrind takes long to begin */
			fail("cannot connect");
		usleep(100000);
	}
	memfd = memfd_create("ram", MFD_CLOEXEC);
	s.kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.call, &event) < 0 || memfd < 0 || s.kick < 0 ||
	    s.call < 0 || ftruncate(memfd, RAM) < 0)
		fail("cannot make memory");
	s.ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (s.ram == MAP_FAILED)
		fail("cannot map memory");
	for (unsigned i = 0; i < QUEUE; i++)
		prepare(s.ram, i);
	s.blocks = begin(sock, s.ram, memfd, s.kick, s.call) / BLOCK;
	measure(&s, depth, n < 1000 ? n : 1000); /* what is done only once */
	printf("%.3f\n", measure(&s, depth, n));
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Shared memory; memfd_create(2), fcntl(2) on seals, mmap(2).
 */
#include "vhost/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"

/* ---- Mappings ---- */

/* Is the file long enough, and does it stay so as far as we can see to it? */
static int check_file(int fd, uint64_t offset, uint64_t size, uint64_t *block, const char *what,
		      struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot look at the file of %s: %s", what,
			       strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "the descriptor of %s is not one of shared memory",
			       what);
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK); /* before its length is looked at, for good */
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "cannot look at the file of %s: %s", what,
			       strerror(errno));
	if (!range_ok(offset, size, (uint64_t)st.st_size))
		return err_set(err, -EINVAL,
			       "%s is %#llx bytes at %#llx of a file of only %#llx bytes", what,
			       (unsigned long long)size, (unsigned long long)offset,
			       (unsigned long long)st.st_size);
	*block = is_pow2((uint64_t)st.st_blksize) ? (uint64_t)st.st_blksize : 0;
	return 0;
}

int vhost_map(struct vhost_map *map, int fd, uint64_t offset, uint64_t size, const char *what,
	      struct err *err)
{
	uint64_t align = (uint64_t)sysconf(_SC_PAGESIZE), block = 0, front;
	void *base;
	int code = check_file(fd, offset, size, &block, what, err);

	if (code)
		return code;
	if (!size)
		return err_set(err, -EINVAL, "%s is empty", what);
	/* What is mapped begins and ends with a page, which may be a huge one: the block size of a
	 * file in hugetlbfs. */
	if (block > align && block <= 1 << 30)
		align = block;
	front = offset & (align - 1);
	base = mmap(NULL, align_up(front + size, align), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE, fd, (off_t)(offset - front));
	if (base == MAP_FAILED)
		return err_set(err, -errno, "cannot map %s: %s%s", what, strerror(errno),
			       errno == EACCES ? "; its descriptor must be open for writing" : "");
	map->length = align_up(front + size, align);
	map->data = (uint8_t *)base + front;
	/* Last: a fault elsewhere must not be taken for one in here by an old length. */
	atomic_signal_fence(memory_order_seq_cst);
	map->base = base;
	return 0;
}

void vhost_unmap(struct vhost_map *map)
{
	void *base = map->base;

	/* First: vhost_memory_fault() must not put anything where another mapping may be
	 * by then. */
	map->base = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	if (base)
		munmap(base, map->length);
	map->data = NULL;
}

bool vhost_map_fault(struct vhost_map *map, void *addr)
{
	if (!map->base || (size_t)((uint8_t *)addr - (uint8_t *)map->base) >= map->length)
		return false;
	return mmap(map->base, map->length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

bool vhost_memory_fault(struct vhost_memory *m, void *addr)
{
	bool done = vhost_map_fault(&m->log, addr);

	for (unsigned i = 0; i < VHOST_SLOTS && !done; i++)
		done = vhost_map_fault(&m->slot[i].map, addr);
	return done;
}

/* ---- The log ---- */

/* One bit; more threads and processes than ours set theirs. */
static void mark(struct vhost_memory *m, uint64_t page)
{
	_Atomic uint8_t *byte;
	uint8_t bit_of_page = (uint8_t)(1U << page % 8);

	if (page / 8 >= m->log_size)
		return;
	byte = (_Atomic uint8_t *)(m->log.data + page / 8);
	if (!(atomic_load_explicit(byte, memory_order_relaxed) & bit_of_page))
		atomic_fetch_or(byte, bit_of_page);
}

static void mark_range(struct vhost_memory *m, gpa_t gpa, uint64_t len)
{
	uint64_t last = len - 1 > UINT64_MAX - gpa ? UINT64_MAX : gpa + len - 1;

	for (uint64_t page = gpa / VHOST_LOG_PAGE; page <= last / VHOST_LOG_PAGE; page++)
		mark(m, page);
}

static void log_written(struct gmem_observer *obs, gpa_t gpa, size_t len)
{
	struct vhost_memory *m = container_of(obs, struct vhost_memory, observer);

	if (!len || !m->log.data)
		return;
	mark_range(m, gpa, len);
	for (unsigned i = 0; i < VHOST_LOGGED_RINGS; i++) {
		const struct vhost_used *u = &m->used[i];

		if (gpa - u->at < u->len)
			mark_range(m, u->log + (gpa - u->at), len);
	}
}

int vhost_memory_log_set(struct vhost_memory *m, const struct vhost_log_base *log, int fd,
			 struct err *err)
{
	vhost_unmap(&m->log);
	m->log_size = 0;
	if (!log)
		return 0;
	m->log_size = log->size;
	return vhost_map(&m->log, fd, log->offset, log->size, "the log", err);
}

void vhost_memory_log_on(struct vhost_memory *m, bool on)
{
	if (on == m->logging)
		return;
	m->logging = on;
	if (on)
		gmem_observe(m->gmem, &m->observer);
	else
		gmem_unobserve(m->gmem, &m->observer);
}

void vhost_memory_log_used(struct vhost_memory *m, unsigned ring, gpa_t at, uint64_t len, gpa_t log)
{
	if (ring < VHOST_LOGGED_RINGS)
		m->used[ring] = (struct vhost_used){ at, log, len };
}

/* ---- Regions ---- */

int vhost_memory_init(struct vhost_memory *m, struct err *err)
{
	memset(m, 0, sizeof(*m));
	m->observer.written = log_written;
	m->observer.all = true;
	return gmem_create(&m->gmem, err);
}

void vhost_memory_fini(struct vhost_memory *m)
{
	vhost_memory_clear(m);
	vhost_memory_log_on(m, false);
	vhost_unmap(&m->log);
	gmem_destroy(m->gmem);
}

int vhost_memory_add(struct vhost_memory *m, const struct vhost_region *r, int fd, struct err *err)
{
	struct vhost_slot *free = NULL;
	struct err why = ERR_INIT;
	char what[64];
	int code;

	snprintf(what, sizeof(what), "the memory region at guest address %#llx",
		 (unsigned long long)r->guest);
	if (!r->size || r->size - 1 > UINT64_MAX - r->user)
		return err_set(err, -EINVAL, "%s has %#llx bytes at user address %#llx", what,
			       (unsigned long long)r->size, (unsigned long long)r->user);
	/* What is aligned in the guest's memory, a descriptor at most (virtio 1.2, 2.7), is taken
	 * to be so in ours. */
	if ((r->guest - r->offset) % 16)
		return err_set(err, -EINVAL,
			       "%s begins at %#llx of its file: these two must be alike to 16 "
			       "bytes",
			       what, (unsigned long long)r->offset);
	for (unsigned i = 0; i < VHOST_SLOTS; i++) {
		struct vhost_slot *s = &m->slot[i];

		if (!s->r.size)
			free = free ? free : s;
		else if (ranges_meet(r->user, r->size, s->r.user, s->r.size))
			return err_set(err, -EEXIST,
				       "%s and the one at %#llx overlap in user addresses", what,
				       (unsigned long long)s->r.guest);
	}
	if (!free)
		return err_set(err, -ENOSPC, "%s is one too many, there can be %d", what,
			       VHOST_SLOTS);
	code = vhost_map(&free->map, fd, r->offset, r->size, what, err);
	if (code)
		return code;
	code = gmem_add_mapped(m->gmem, r->guest, r->size, free->map.data, &why);
	if (code) {
		vhost_unmap(&free->map);
		return err_set(err, code, "%s", why.msg);
	}
	free->r = *r;
	return 0;
}

static void drop(struct vhost_memory *m, struct vhost_slot *s)
{
	if (!s->r.size)
		return;
	gmem_remove(m->gmem, s->r.guest);
	vhost_unmap(&s->map);
	s->r.size = 0;
}

int vhost_memory_remove(struct vhost_memory *m, const struct vhost_region *r, struct err *err)
{
	for (unsigned i = 0; i < VHOST_SLOTS; i++) {
		struct vhost_slot *s = &m->slot[i];

		if (r->size && s->r.size == r->size && s->r.guest == r->guest &&
		    s->r.user == r->user) {
			drop(m, s);
			return 0;
		}
	}
	return err_set(err, -ENOENT,
		       "there is no memory region of %#llx bytes at guest address %#llx, user "
		       "address %#llx to remove",
		       (unsigned long long)r->size, (unsigned long long)r->guest,
		       (unsigned long long)r->user);
}

void vhost_memory_clear(struct vhost_memory *m)
{
	for (unsigned i = 0; i < VHOST_SLOTS; i++)
		drop(m, &m->slot[i]);
}

bool vhost_memory_find(const struct vhost_memory *m, uint64_t user, gpa_t *gpa)
{
	for (unsigned i = 0; i < VHOST_SLOTS; i++) {
		const struct vhost_region *r = &m->slot[i].r;

		if (user - r->user < r->size) {
			*gpa = r->guest + (user - r->user);
			return true;
		}
	}
	return false;
}

/* SPDX-License-Identifier: MIT */
/*
 * Files and memory of the host, Linux.
 */
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"

/* Why a file of this kind cannot be a disk or an image; NULL if it can. */
static const char *refused_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFBLK: return NULL;
	case S_IFDIR: return "a directory";
	case S_IFIFO: return "a FIFO, such as a pipe or <(...)";
	case S_IFSOCK: return "a socket";
	case S_IFCHR: return "a character device";
	default: return "no file";
	}
}

static const char *open_hint(int code, bool writable)
{
	switch (code) {
	case -ENOENT: return "; check the path";
	case -EACCES:
	case -EPERM:
		return writable ? "; check its permissions, or open it read-only"
				: "; check its permissions and those of its directories";
	case -EROFS: return "; copy it elsewhere, or open it read-only";
	case -ETXTBSY:
	case -EBUSY: return "; another program is using it";
	case -EMFILE: return "; raise the limit of open files (ulimit -n)";
	default: return "";
	}
}

static int open_failed(const char *path, bool writable, int code, struct err *err)
{
	return err_set(err, code, "cannot open '%s' for %s: %s%s", path,
		       writable ? "writing" : "reading", strerror(-code),
		       open_hint(code, writable));
}

static int check_kind(const char *path, const struct stat *st, struct err *err)
{
	const char *kind = refused_kind(st->st_mode);

	if (!kind)
		return 0;
	return err_set(err, S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL,
		       "cannot use '%s': it is %s; name a regular file or a block device", path,
		       kind);
}

int file_open(const char *path, bool writable, int *fd, uint64_t *size, struct err *err)
{
	struct stat st;
	int64_t bytes;
	int code, f, flags;

	/* Looked at before it is opened: opening a device of another kind can have effects. */
	if (stat(path, &st) < 0)
		return open_failed(path, writable, -errno, err);
	code = check_kind(path, &st, err);
	if (code)
		return code;

	/* O_NONBLOCK: the file may have become a FIFO since; do not wait for its other end. */
	do {
		f = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	} while (f < 0 && errno == EINTR);
	if (f < 0)
		return open_failed(path, writable, -errno, err);

	if (fstat(f, &st) < 0) {
		code = open_failed(path, writable, -errno, err);
		goto fail;
	}
	code = check_kind(path, &st, err);
	if (code)
		goto fail;
	flags = fcntl(f, F_GETFL);
	if (flags < 0 || fcntl(f, F_SETFL, flags & ~O_NONBLOCK) < 0) {
		code = open_failed(path, writable, -errno, err);
		goto fail;
	}
	bytes = file_size(f);
	if (bytes < 0) {
		code = err_set(err, (int)bytes, "cannot find the size of '%s': %s", path,
			       strerror((int)-bytes));
		goto fail;
	}
	*fd = f;
	*size = (uint64_t)bytes;
	return 0;

fail:
	close(f);
	return code;
}

int64_t file_size(int fd)
{
	struct stat st;
	uint64_t bytes;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode))
		return st.st_size;
	if (!S_ISBLK(st.st_mode))
		return -EINVAL;
	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return -errno;
	return bytes <= INT64_MAX ? (int64_t)bytes : -EFBIG;
}

/*
 * A process that was killed is gone before its io_uring is: the kernel takes that down in a worker
 * of its own, and until then it holds the files of requests in flight, and so their locks. That
 * takes milliseconds, and whoever starts the next process at once shall not fail by them.
 */
enum { LOCK_TRIES = 50 };
static const struct timespec lock_pause = { .tv_nsec = 10 * NS_PER_MS };

int file_lock(int fd, bool exclusive, const char *path, struct err *err)
{
	/* Start 0 and length 0 mean the whole file, also what it may grow to; fcntl(2). */
	struct flock lock = { .l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };
	const char *hint = exclusive ? "is using it; stop that, or open the file read-only in both"
				     : "has it open for writing; stop that first";
	int code = -EAGAIN;

	for (unsigned i = 0; i < LOCK_TRIES && (code == -EAGAIN || code == -EACCES); i++) {
		if (i)
			nanosleep(&lock_pause, NULL);
		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return 0;
		code = -errno;
	}
	if (code != -EAGAIN && code != -EACCES)
		return err_set(err, code, "cannot lock '%s': %s", path, strerror(-code));

	/* Who? The kernel names a process for a POSIX lock, and -1 for a lock like ours. */
	if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
		return err_set(err, -EAGAIN, "cannot lock '%s': process %ld %s", path,
			       (long)lock.l_pid, hint);
	return err_set(err, -EAGAIN, "cannot lock '%s': another program or disk %s", path, hint);
}

int file_read_at(int fd, void *dst, size_t len, uint64_t off)
{
	uint8_t *to = dst;

	if (!range_ok(off, len, INT64_MAX))
		return -EINVAL;
	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		to += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

enum { HUGE_PAGE_SIZE = 2 << 20 }; /* what one page-directory entry maps with 4 KiB pages */

void *host_map(size_t size, struct err *err)
{
	/* Large maps begin on a huge page, so that all of their whole ones can be huge. */
	size_t slack = size >= HUGE_PAGE_SIZE ? HUGE_PAGE_SIZE : 0;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t whole, head;
	uint8_t *p;

	if (!size || size > SIZE_MAX - slack - page) {
		err_set(err, -EINVAL, "cannot map %zu bytes of memory: no such size", size);
		return NULL;
	}
	whole = (size_t)align_up(size, page);
	p = mmap(NULL, whole + slack, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		err_set(err, -errno,
			"cannot map %zu MiB of memory: %s; ask for less, or raise the "
			"limit of address space (ulimit -v)",
			size >> 20, strerror(errno));
		return NULL;
	}
	if (slack) {
		head = (size_t)(align_up((uintptr_t)p, HUGE_PAGE_SIZE) - (uintptr_t)p);
		if (head)
			munmap(p, head);
		if (slack - head)
			munmap(p + head + whole, slack - head);
		p += head;
		madvise(p, whole, MADV_HUGEPAGE); /* a wish: a host without them is fine */
	}
	return p;
}

void *host_map_sparse(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_NOHUGEPAGE); /* a host that has none says so: fine */
	return p;
}

void host_unmap(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

void host_clear(void *p, size_t size)
{
	/* The host drops the pages and gives fresh ones on the next touch. */
	if (madvise(p, size, MADV_DONTNEED))
		memset(p, 0, size);
}

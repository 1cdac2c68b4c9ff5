/* SPDX-License-Identifier: MIT */
/*
 * Files: what is refused and how it is said, locks, reads at their limits; memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "host/file.h"

struct place {
	char dir[64], file[96];
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	int fd;

	snprintf(p->dir, sizeof(p->dir), "%s/hako-file-XXXXXX", P_tmpdir);
	if (!mkdtemp(p->dir))
		return -1;
	snprintf(p->file, sizeof(p->file), "%s/disk.img", p->dir);
	fd = open(p->file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "0123456789", 10) != 10)
		return -1;
	close(fd);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;

	unlink(p->file);
	rmdir(p->dir);
	free(p);
	return 0;
}

static int opened(const char *path, bool writable)
{
	struct err e = ERR_INIT;
	uint64_t size;
	int fd = -1;

	assert_int_equal(file_open(path, writable, &fd, &size, &e), 0);
	assert_int_equal(e.code, 0);
	return fd;
}

/* Opening fails with `code`, and the sentence has the path and `word` in it. */
static void refused(const char *path, bool writable, int code, const char *word)
{
	struct err e = ERR_INIT;
	uint64_t size = 77;
	int fd = 77;

	assert_int_equal(file_open(path, writable, &fd, &size, &e), code);
	assert_int_equal(e.code, code);
	assert_non_null(strstr(e.msg, path));
	assert_non_null(strstr(e.msg, word));
	assert_int_equal(fd, 77);
}

static void opens_a_file(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	uint64_t size = 0;
	int fd = -1;

	assert_int_equal(file_open(p->file, false, &fd, &size, &e), 0);
	assert_int_equal(size, 10);
	assert_int_equal(file_size(fd), 10);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	fd = opened(p->file, true);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	close(fd);
}

static void refuses_what_is_no_disk(void **state)
{
	struct place *p = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char path[96];
	int s;

	refused(p->dir, false, -EISDIR, "a directory");
	refused(p->dir, true, -EISDIR, "a directory");
	refused("/dev/null", false, -EINVAL, "a character device");

	snprintf(path, sizeof(path), "%s/none", p->dir);
	refused(path, false, -ENOENT, "check the path");

	snprintf(path, sizeof(path), "%s/fifo", p->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(path, false, -EINVAL, "a FIFO");
	refused(path, true, -EINVAL, "a FIFO");
	unlink(path);

	snprintf(path, sizeof(path), "%s/sock", p->dir);
	strcpy(addr.sun_path, path);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s, (struct sockaddr *)&addr, sizeof(addr)), 0);
	refused(path, false, -EINVAL, "a socket");
	close(s);
	unlink(path);
}

static void says_what_to_do_without_permission(void **state)
{
	enum { NOBODY = 65534 }; /* root may open everything, so it becomes somebody else */
	struct place *p = *state;
	uid_t me = geteuid();

	chmod(p->dir, 0711);
	chmod(p->file, 0444);
	if (me || seteuid(NOBODY) == 0)
		refused(p->file, true, -EACCES, "read-only");
	if (!me)
		assert_int_equal(seteuid(me), 0);
	chmod(p->file, 0600);
}

static void size_of_what_has_none(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(file_size(fds[0]), -EINVAL);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(file_size(-1), -EBADF);
}

static void locks(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	int a = opened(p->file, true), b = opened(p->file, true), r = opened(p->file, false);

	/* Opens of one process exclude each other too. */
	assert_int_equal(file_lock(a, true, p->file, &e), 0);
	assert_int_equal(file_lock(b, true, p->file, &e), -EAGAIN);
	assert_non_null(strstr(e.msg, p->file));
	assert_non_null(strstr(e.msg, "another"));
	assert_int_equal(file_lock(r, false, p->file, NULL), -EAGAIN);
	/* The lock goes with its descriptor. */
	close(a);
	assert_int_equal(file_lock(r, false, p->file, NULL), 0);
	assert_int_equal(file_lock(b, false, p->file, NULL), 0);
	assert_int_equal(file_lock(b, true, p->file, NULL), -EAGAIN);
	close(r);
	assert_int_equal(file_lock(b, true, p->file, NULL), 0);
	close(b);
	assert_int_equal(file_lock(-1, true, p->file, NULL), -EBADF);
}

/* A POSIX lock of another process: its pid is told. */
static void lock_names_the_holder(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	int up[2], down[2], fd;
	char c, pid[32];
	pid_t child;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		int f = open(p->file, O_RDWR | O_CLOEXEC);

		c = fcntl(f, F_SETLK, &l) ? 'n' : 'y';
		close(down[1]);
		if (write(up[1], &c, 1) == 1 && read(down[0], &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(down[0]);
	assert_int_equal(read(up[0], &c, 1), 1);
	assert_int_equal(c, 'y');
	fd = opened(p->file, true);
	assert_int_equal(file_lock(fd, true, p->file, &e), -EAGAIN);
	snprintf(pid, sizeof(pid), "process %ld ", (long)child);
	assert_non_null(strstr(e.msg, pid));
	close(fd);
	close(down[1]);
	waitpid(child, NULL, 0);
	close(up[0]);
	close(up[1]);
}

static void reads(void **state)
{
	struct place *p = *state;
	int fd = opened(p->file, false);
	char buf[16] = "";

	assert_int_equal(file_read_at(fd, buf, 4, 6), 0);
	assert_memory_equal(buf, "6789", 4);
	assert_int_equal(file_read_at(fd, buf, 0, 0), 0);
	assert_int_equal(file_read_at(fd, buf, 5, 6), -EIO);
	assert_int_equal(file_read_at(fd, buf, 1, 10), -EIO);
	assert_int_equal(file_read_at(fd, buf, 1, INT64_MAX - 1), -EIO);
	assert_int_equal(file_read_at(fd, buf, 1, INT64_MAX), -EINVAL);
	assert_int_equal(file_read_at(fd, buf, 8, UINT64_MAX - 3), -EINVAL);
	close(fd);
	assert_int_equal(file_read_at(-1, buf, 1, 0), -EBADF);
}

static void maps(void **state)
{
	struct err e = ERR_INIT;
	uint8_t *p;

	(void)state;
	p = host_map(12345, &e);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % 4096, 0);
	p[0] = p[12344] = 1;
	host_unmap(p, 12345);

	p = host_map((64 << 20) + 4096, &e);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % (2 << 20), 0);
	assert_int_equal(p[0] | p[64 << 20], 0);
	p[0] = p[(64 << 20) + 4095] = 1;
	host_unmap(p, (64 << 20) + 4096);
	host_unmap(NULL, 4096);

	p = host_map_sparse(4 << 20);
	assert_non_null(p);
	assert_int_equal(p[0] | p[(4 << 20) - 1], 0);
	p[0] = p[(4 << 20) - 1] = 1;
	host_unmap(p, 4 << 20);
	assert_null(host_map_sparse((size_t)1 << 62));

	assert_null(host_map(0, &e));
	assert_int_equal(e.code, -EINVAL);
	assert_null(host_map(SIZE_MAX, NULL));
	e.code = 0;
	assert_null(host_map((size_t)1 << 62, &e));
	assert_int_equal(e.code, -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_a_file),
		cmocka_unit_test(refuses_what_is_no_disk),
		cmocka_unit_test(says_what_to_do_without_permission),
		cmocka_unit_test(size_of_what_has_none),
		cmocka_unit_test(locks),
		cmocka_unit_test(lock_names_the_holder),
		cmocka_unit_test(reads),
		cmocka_unit_test(maps),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

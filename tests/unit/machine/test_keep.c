/* SPDX-License-Identifier: MIT */
/*
 * What `hako disk test` keeps of a disk (machine/disk_keep.h) is the only copy while the disk has
 * the test's own pattern: it may go when it was not written to its end, and never because the host
 * cannot read it just now.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "machine/disk_keep.h"

static bool disk_fails;

/* The program's own, in front of the C library's: a host's disk that fails. */
ssize_t pread(int fd, void *to, size_t len, off_t at)
{
	if (disk_fails) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, to, len, at);
}

static struct disk_keep keep, again;

static void save(void **state)
{
	char *image = *state;
	struct err err = ERR_INIT;

	assert_int_equal(keep_init(&keep, image, &err), 0);
	keep.off = 4096;
	keep.len = 512;
	memset(keep.data, 7, keep.len);
	assert_int_equal(keep_save(&keep, &err), 0);
	assert_int_equal(keep_init(&again, image, &err), 0);
}

static void done(void)
{
	keep_drop(&keep);
	keep_fini(&keep);
	keep_fini(&again);
}

static void test_back(void **state)
{
	struct err err = ERR_INIT;

	save(state);
	assert_int_equal(keep_load(&again, &err), 1);
	assert_int_equal(again.seed, keep.seed);
	assert_int_equal(again.off, keep.off);
	assert_int_equal(again.len, keep.len);
	assert_memory_equal(again.data, keep.data, keep.len);
	done();
}

static void test_unreadable(void **state)
{
	struct err err = ERR_INIT;

	save(state);
	disk_fails = true;
	assert_int_equal(keep_load(&again, &err), -EIO);
	assert_non_null(strstr(err.msg, keep.path));
	disk_fails = false;
	assert_int_equal(keep_load(&again, &err), 1);
	done();
}

static void test_cut(void **state)
{
	struct err err = ERR_INIT;

	save(state);
	assert_int_equal(truncate(keep.path, 1000), 0);
	assert_int_equal(keep_load(&again, &err), 0);
	assert_int_equal(access(keep.path, F_OK), -1);
	done();
}

static int make_image(void **state)
{
	static char image[] = "/tmp/hako-keep-XXXXXX";
	int fd = mkstemp(image);

	*state = image;
	return fd < 0 ? -1 : close(fd);
}

static int remove_image(void **state)
{
	return unlink(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, make_image, remove_image);
}

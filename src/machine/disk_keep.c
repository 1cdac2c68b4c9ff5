/* SPDX-License-Identifier: MIT */
/*
 * What was on a disk before a test; see disk_keep.h.
 */
#include "machine/disk_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "host/file.h"

/* Of this host only, so numbers are as they are in memory. */
struct keep_file {
	char magic[16];
	uint64_t seed, off, len;
	uint64_t sum;
	uint8_t data[KEEP_MAX];
};
static const char magic[16] = "hako-disk-test1";

int keep_init(struct disk_keep *keep, const char *path, struct err *err)
{
	struct stat st;
	int n;

	memset(keep, 0, sizeof(*keep));
	if (stat(path, &st) < 0)
		return err_set(err, -errno, "cannot look at '%s': %s", path, strerror(errno));
	if (S_ISBLK(st.st_mode))
		n = asprintf(&keep->path, "/var/tmp/hako-test-%u-%u", major(st.st_rdev),
			     minor(st.st_rdev));
	else
		n = asprintf(&keep->path, "%s.hako-test", path);
	if (n < 0 || getrandom(&keep->seed, sizeof(keep->seed), 0) != sizeof(keep->seed)) {
		if (n < 0)
			keep->path = NULL;
		return err_set(err, -ENOMEM, "cannot test '%s': out of memory", path);
	}
	return 0;
}

void keep_fini(struct disk_keep *keep)
{
	free(keep->path);
}

/* FNV-1a. A file that was cut short by a crash must not be believed. */
static uint64_t sum_of(const struct keep_file *f)
{
	const uint8_t *p = (const uint8_t *)f;
	uint64_t sum = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < sizeof(*f); i++) {
		if (i >= offsetof(struct keep_file, sum) && i < offsetof(struct keep_file, data))
			continue;
		sum = (sum ^ p[i]) * 0x100000001b3ULL;
	}
	return sum;
}

int keep_load(struct disk_keep *keep, struct err *err)
{
	struct keep_file *f;
	struct stat st;
	bool cut;
	int fd = open(keep->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), res;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s', left by an earlier test: %s",
			       keep->path, strerror(errno));
	f = calloc(1, sizeof(*f));
	res = !f ? -ENOMEM : fstat(fd, &st) < 0 ? -errno : 0;
	/* Anybody may write to /var/tmp; what others put there is not ours to believe. */
	if (!res && (!S_ISREG(st.st_mode) || st.st_uid != geteuid()))
		res = -EPERM;
	cut = !res && st.st_size != sizeof(*f);
	if (!res && !cut)
		res = file_read_at(fd, f, sizeof(*f), 0);
	cut |= !res && (memcmp(f->magic, magic, sizeof(magic)) != 0 || f->sum != sum_of(f) ||
			f->len > KEEP_MAX);
	close(fd);
	if (cut) {
		/* It was not written to its end, hence the disk was not written to. One that the
		 * host cannot read is another matter: there is nothing else to put back from. */
		keep_drop(keep);
	} else if (res) {
		err_set(err, res, "cannot read '%s', left by an earlier test: %s", keep->path,
			strerror(-res));
	} else {
		keep->seed = f->seed;
		keep->off = f->off;
		keep->len = (uint32_t)f->len;
		memcpy(keep->data, f->data, sizeof(keep->data));
		res = 1;
	}
	free(f);
	return res;
}

/* The file's name, too, is to be there after a power cut. */
static int sync_folder(const char *path)
{
	char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
	int fd, res = 0;

	if (!folder)
		return -ENOMEM;
	if (slash)
		slash[slash == folder] = 0;
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		res = -errno;
	if (fd >= 0)
		close(fd);
	free(folder);
	return res;
}

int keep_save(const struct disk_keep *keep, struct err *err)
{
	struct keep_file *f = calloc(1, sizeof(*f));
	int fd = -1, res = f ? 0 : -ENOMEM;
	ssize_t n;

	if (!res) {
		memcpy(f->magic, magic, sizeof(magic));
		f->seed = keep->seed;
		f->off = keep->off;
		f->len = keep->len;
		memcpy(f->data, keep->data, keep->len);
		f->sum = sum_of(f);
		fd = open(keep->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			res = -errno;
	}
	if (!res) {
		n = write(fd, f, sizeof(*f));
		res = n < 0 ? -errno : (size_t)n != sizeof(*f) ? -ENOSPC : 0;
		if (!res && fsync(fd) < 0)
			res = -errno;
		if (!res)
			res = sync_folder(keep->path);
	}
	if (fd >= 0)
		close(fd);
	if (res && fd >= 0)
		keep_drop(keep);
	free(f);
	return res ? err_set(err, res,
			     "cannot keep in '%s' what is on the disk, so nothing was written: %s",
			     keep->path, strerror(-res))
		   : 0;
}

void keep_drop(const struct disk_keep *keep)
{
	unlink(keep->path);
}

/* The splitmix64 generator (Steele, Lea, Flood 2014), started for each sector. */
void keep_pattern(const struct disk_keep *keep, uint64_t off, uint8_t sector[512])
{
	uint64_t state = keep->seed ^ (off * 0x9e3779b97f4a7c15ULL);

	for (unsigned i = 0; i < 512; i += 8) {
		uint64_t v = state += 0x9e3779b97f4a7c15ULL;

		v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9ULL;
		v = (v ^ (v >> 27)) * 0x94d049bb133111ebULL;
		v ^= v >> 31;
		memcpy(sector + i, &v, 8);
	}
}

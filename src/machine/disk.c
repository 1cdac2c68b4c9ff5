/* SPDX-License-Identifier: MIT */
/*
 * Disk images: making empty ones and looking at any.
 */
#include "hako/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/file.h"
#include "machine/public.h"

/* ---- Create ---- */

static int write_failed(const char *path, uint64_t size, int code, struct err *err)
{
	const char *hint = code == -ENOSPC || code == -EDQUOT ? "; make room, or take a smaller one"
			   : code == -EFBIG ? "; the host's file system takes no file of that size"
					    : "";

	return err_set(err, code, "cannot give the image '%s' its %llu bytes: %s%s", path,
		       (unsigned long long)size, strerror(-code), hint);
}

/* Zeros in [off, off + len), on the host's disk: reserved where it can do that, else written. */
static int fill(int fd, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[64 << 10];

	do {
		if (fallocate(fd, 0, (off_t)off, (off_t)len) == 0)
			return 0;
	} while (errno == EINTR);
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	while (len) {
		size_t want = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);
		ssize_t n = pwrite(fd, zeros, want, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Give the new file its length, and its room where that is asked for. */
static int make_room(int fd, const struct hako_disk_create_options *o, struct err *err)
{
	const uint64_t step = 16 << 20;
	int r;

	if (ftruncate(fd, (off_t)o->size) < 0)
		return write_failed(o->path, o->size, -errno, err);
	for (uint64_t done = 0; o->preallocate && done < o->size;) {
		uint64_t n = o->size - done < step ? o->size - done : step;

		r = fill(fd, done, n);
		if (r < 0)
			return write_failed(o->path, o->size, r, err);
		done += n;
		if (o->progress && o->progress(o->arg, done, o->size))
			return err_set(err, -ECANCELED, "given up: the image '%s' was not made",
				       o->path);
	}
	if (fsync(fd) < 0)
		return write_failed(o->path, o->size, -errno, err);
	return 0;
}

/*
 * May what is at path be replaced? A symbolic link stays and its file is replaced: *real is that
 * file's path, on the heap. 0 and NULL when there is nothing.
 */
static int check_replace(const struct hako_disk_create_options *o, char **real, struct err *err)
{
	uint64_t size;
	struct stat st;
	int fd, r;

	*real = NULL;
	if (lstat(o->path, &st) < 0)
		return errno == ENOENT ? 0
				       : err_set(err, -errno, "cannot make the image '%s': %s",
						 o->path, strerror(errno));
	if (!o->overwrite)
		return err_set(err, -EEXIST,
			       "'%s' exists; take another name, or --force to replace it and lose "
			       "what it holds",
			       o->path);
	if (stat(o->path, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "'%s' is not a regular file and cannot be replaced",
			       o->path);
	/* The lock is let go again before the rename: this finds mistakes, it does not forbid
	 * races. */
	r = file_open(o->path, true, &fd, &size, err);
	if (r < 0)
		return r;
	r = file_lock(fd, true, o->path, err);
	close(fd);
	if (r < 0)
		return r;
	*real = realpath(o->path, NULL);
	if (!*real)
		return err_set(err, -errno, "cannot find the file behind '%s': %s", o->path,
			       strerror(errno));
	return 0;
}

/* A new file beside `path`, whose name *temp is the caller's to free. Its descriptor or -errno. */
static int open_beside(const char *path, char **temp, struct err *err)
{
	int fd = -EEXIST;

	*temp = NULL;
	for (unsigned i = 0; fd == -EEXIST && i < 100; i++) {
		free(*temp);
		if (asprintf(temp, "%s.%ld-%u.new", path, (long)getpid(), i) < 0) {
			*temp = NULL;
			return err_set(err, -ENOMEM, "cannot make the image '%s': out of memory",
				       path);
		}
		fd = open(*temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0)
			fd = -errno;
	}
	if (fd < 0) {
		free(*temp);
		*temp = NULL;
		err_set(err, fd, "cannot make the image '%s': %s%s", path, strerror(-fd),
			fd == -ENOENT   ? "; check that its directory exists"
			: fd == -EACCES ? "; check that you may write to its directory"
					: "");
	}
	return fd;
}

int hako_disk_create(const struct hako_disk_create_options *o, struct hako_err *public_err)
{
	struct err *err = err_of(public_err);
	char *real, *temp;
	int fd, r;

	if (!o->path || !*o->path)
		return err_set(err, -EINVAL, "the image needs a file name");
	if (o->size == 0 || o->size % HAKO_SECTOR_SIZE)
		return err_set(err, -EINVAL,
			       "an image cannot have %llu bytes: it needs a multiple of %d, and at "
			       "least one",
			       (unsigned long long)o->size, HAKO_SECTOR_SIZE);
	if (o->size > INT64_MAX)
		return err_set(err, -EINVAL, "an image cannot have %llu bytes: no file can",
			       (unsigned long long)o->size);
	r = check_replace(o, &real, err);
	if (r < 0)
		return r;
	fd = open_beside(real ? real : o->path, &temp, err);
	if (fd < 0) {
		free(real);
		return fd;
	}

	r = make_room(fd, o, err);
	/* link() and not rename(), where nothing was: what came into being meanwhile stays. */
	if (!r && (real ? rename(temp, real) : link(temp, o->path)) < 0) {
		r = -errno;
		if (!real && (r == -EPERM || r == -EOPNOTSUPP)) /* no links on this file system */
			r = rename(temp, o->path) < 0 ? -errno : 0;
		if (r < 0)
			err_set(err, r, "cannot make the image '%s': %s", o->path, strerror(-r));
	}
	if (r < 0 || !real)
		unlink(temp); /* after a rename there is nothing of that name */
	close(fd);
	free(temp);
	free(real);
	return r;
}

/* ---- Inspect ---- */

struct content {
	uint32_t off;
	uint8_t len;
	const char *magic;
	const char *name;
	const char *warning; /* NULL: fit to be a disk */
};

#define M(off, magic) off, sizeof(magic) - 1, magic
#define CONTAINER                                                                               \
	"hako serves its bytes as they are, so a guest sees the container and not the disk in " \
	"it; convert it with 'qemu-img convert -O raw'"
#define PACKED "hako serves its bytes as they are, so a guest sees packed data; unpack it first"

/* The first that fits. Places and magics as the tools that make them write them. */
static const struct content contents[] = {
	{ M(0, "QFI\xfb"), "qcow2 disk image", CONTAINER },
	{ M(0, "KDMV"), "VMDK disk image", CONTAINER },
	{ M(0, "# Disk DescriptorFile"), "VMDK disk description", CONTAINER },
	{ M(0, "QED\0"), "QED disk image", CONTAINER },
	{ M(0, "vhdxfile"), "VHDX disk image", CONTAINER },
	{ M(0, "conectix"), "VHD disk image", CONTAINER },
	{ M(0x40, "\x7f\x10\xda\xbe"), "VDI disk image", CONTAINER },
	{ M(0, "\x1f\x8b"), "gzip'd data", PACKED },
	{ M(0, "\xfd"
	       "7zXZ\0"),
	  "xz-compressed data", PACKED },
	{ M(0, "\x28\xb5\x2f\xfd"), "zstd-compressed data", PACKED },
	{ M(0, "BZh"), "bzip2-compressed data", PACKED },
	{ M(0, "\x04\x22\x4d\x18"), "lz4-compressed data", PACKED },
	{ M(0, "PK\3\4"), "zip archive", PACKED },
	{ M(0, "7z\xbc\xaf\x27\x1c"), "7-Zip archive", PACKED },
	{ M(0x101, "ustar"), "tar archive", NULL },
	{ M(0, "hsqs"), "squashfs file system", NULL },
	{ M(0, "XFSB"), "XFS file system", NULL },
	{ M(0, "LUKS\xba\xbe"), "LUKS encrypted volume", NULL },
	{ M(0x10040, "_BHRfS_M"), "btrfs file system", NULL },
	{ M(0x400, "\x10\x20\xf5\xf2"), "F2FS file system", NULL },
	{ M(0x400, "\xe2\xe1\xf5\xe0"), "EROFS file system", NULL },
	{ M(0x8001, "CD001"), "ISO 9660 file system", NULL },
	{ M(0x200, "EFI PART"), "GPT partition table", NULL },
	{ M(0x200, "LABELONE"), "LVM physical volume", NULL },
	{ M(0xff6, "SWAPSPACE2"), "swap space", NULL },
	{ M(0x36, "FAT"), "FAT file system", NULL },
	{ M(0x52, "FAT32"), "FAT file system", NULL },
	{ M(0x1fe, "\x55\xaa"), "MBR partition table", NULL },
};

enum { LOOK = 0x10048 }; /* what the furthest magic needs */

/* The superblock at 1024 says which of the three (Linux, Documentation/filesystems/ext4). */
static const char *ext_name(const uint8_t *head)
{
	const uint8_t *sb = head + 1024;
	uint32_t compat = sb[0x5c], incompat = sb[0x60];

	if (incompat & 0x40) /* extents */
		return "ext4 file system";
	return compat & 0x04 ? "ext3 file system" : "ext2 file system"; /* a journal, or not */
}

static void name_contents(struct hako_disk_details *d, const uint8_t *head, size_t n)
{
	const char *name = "unknown data", *warning = "";
	bool found = false;

	if (n >= 2048 && memcmp(head + 0x438, "\x53\xef", 2) == 0) {
		name = ext_name(head);
		found = true;
	}
	for (size_t i = 0; !found && i < ARRAY_SIZE(contents); i++) {
		const struct content *c = &contents[i];

		if (range_ok(c->off, c->len, n) && memcmp(head + c->off, c->magic, c->len) == 0) {
			name = c->name;
			warning = c->warning ? c->warning : "";
			found = true;
		}
	}
	if (!found) {
		size_t i = 0;

		while (i < n && !head[i])
			i++;
		if (i == n)
			name = n == d->bytes ? "all zeros" : "zeros, as far as looked at";
	}
	snprintf(d->contents, sizeof(d->contents), "%s", name);
	snprintf(d->warning, sizeof(d->warning), "%s", warning);
	d->container = *warning;
}

int hako_disk_inspect(const char *path, struct hako_disk_details *d, struct hako_err *public_err)
{
	struct err *err = err_of(public_err);
	struct stat st;
	uint8_t *head;
	size_t n;
	int fd, r;

	memset(d, 0, sizeof(*d));
	r = file_open(path, false, &fd, &d->bytes, err);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0) {
		r = err_set(err, -errno, "cannot look at '%s': %s", path, strerror(errno));
		close(fd);
		return r;
	}
	d->block_device = S_ISBLK(st.st_mode);
	d->sectors = d->bytes / HAKO_SECTOR_SIZE + !!(d->bytes % HAKO_SECTOR_SIZE);
	/* st_blocks counts 512 bytes each, whatever the file system's blocks are; stat(3type). */
	d->allocated = d->block_device ? d->bytes : (uint64_t)st.st_blocks * 512;

	n = d->bytes < LOOK ? (size_t)d->bytes : LOOK;
	head = malloc(n ? n : 1);
	r = head ? file_read_at(fd, head, n, 0) : -ENOMEM;
	if (r < 0)
		err_set(err, r, "cannot read '%s': %s", path, strerror(-r));
	else if (n)
		name_contents(d, head, n);
	else
		snprintf(d->contents, sizeof(d->contents), "nothing");
	free(head);
	close(fd);
	if (r < 0)
		return r;

	if (!d->warning[0] && !d->bytes)
		snprintf(d->warning, sizeof(d->warning),
			 "it is empty, and a disk of no sectors is of no use");
	else if (!d->warning[0] && d->bytes % HAKO_SECTOR_SIZE)
		snprintf(d->warning, sizeof(d->warning),
			 "its last sector is not complete: a guest reads zeros for the missing %u "
			 "bytes",
			 (unsigned)(HAKO_SECTOR_SIZE - d->bytes % HAKO_SECTOR_SIZE));
	return 0;
}

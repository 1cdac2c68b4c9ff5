/* SPDX-License-Identifier: MIT */
/*
 * The initial RAM disk.
 */
#include "boot/initrd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "host/file.h"

/* The magic of an arm64 Image: somebody mixed up the two options. booting.rst, section 4. */
enum { IMAGE_MAGIC_OFFSET = 56, IMAGE_MAGIC_LEN = 4 };
static const char image_magic[] = "ARM\x64";

int initrd_open(struct initrd *initrd, const char *path, struct err *err)
{
	char magic[IMAGE_MAGIC_LEN];
	int r;

	initrd->path = path;
	r = file_open(path, false, &initrd->fd, &initrd->size, err);
	if (r < 0)
		return r;
	if (initrd->size == 0)
		r = err_set(err, -EINVAL, "the initrd '%s' is empty; check the file", path);
	else if (file_read_at(initrd->fd, magic, sizeof(magic), IMAGE_MAGIC_OFFSET) == 0 &&
		 memcmp(magic, image_magic, IMAGE_MAGIC_LEN) == 0)
		r = err_set(err, -EINVAL,
			    "the initrd '%s' is an arm64 kernel; give it as the kernel", path);
	if (r < 0)
		initrd_close(initrd);
	return r;
}

void initrd_close(struct initrd *initrd)
{
	if (initrd->fd >= 0)
		close(initrd->fd);
	initrd->fd = -1;
}

int initrd_load(const struct initrd *initrd, struct gmem *mem, gpa_t gpa, struct err *err)
{
	void *dst;
	int r;

	r = gmem_map(mem, gpa, initrd->size, GMEM_WRITE, &dst);
	if (r < 0)
		return err_set(err, r,
			       "the initrd '%s' does not fit: no %llu bytes of memory at "
			       "%#llx",
			       initrd->path, (unsigned long long)initrd->size,
			       (unsigned long long)gpa);
	r = file_read_at(initrd->fd, dst, initrd->size, 0);
	gmem_unmap(mem, gpa, initrd->size, GMEM_WRITE);
	if (r < 0)
		return err_set(err, r, "cannot read the initrd '%s': %s", initrd->path,
			       r == -EIO ? "the host cannot read it, or it became shorter meanwhile"
					 : strerror(-r));
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The initial RAM disk.
 */
#include "boot/initrd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/bzimage.h"
#include "host/file.h"

/* Kernels, of which somebody mixed up the two options. See kernel.h for what has these magics. */
static const struct {
	uint16_t off;
	const char *magic; /* of 4 bytes */
	const char *what;
} kernels[] = {
	{ 56, "ARM\x64", "an arm64 kernel" },
	{ 56, "RSC\x05", "a RISC-V kernel" },
	{ BZIMAGE_MAGIC, "HdrS", "an x86 kernel" },
};

static const char *kernel_name(const struct initrd *initrd)
{
	char magic[4];

	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++)
		if (range_ok(kernels[i].off, sizeof(magic), initrd->size) &&
		    file_read_at(initrd->fd, magic, sizeof(magic), kernels[i].off) == 0 &&
		    memcmp(magic, kernels[i].magic, sizeof(magic)) == 0)
			return kernels[i].what;
	return NULL;
}

int initrd_open(struct initrd *initrd, const char *path, struct err *err)
{
	int r;

	initrd->path = path;
	r = file_open(path, false, &initrd->fd, &initrd->size, err);
	if (r < 0)
		return r;
	if (initrd->size == 0)
		r = err_set(err, -EINVAL, "the initrd '%s' is empty; check the file", path);
	else if (kernel_name(initrd))
		r = err_set(err, -EINVAL, "the initrd '%s' is %s; give it as the kernel", path,
			    kernel_name(initrd));
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

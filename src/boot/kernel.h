/* SPDX-License-Identifier: MIT */
/*
 * Kernel images: what a file is, and where it wants to be in memory.
 *
 * An arm64 Image has a 64-byte header (Linux, Documentation/arch/arm64/booting.rst): text_offset,
 * image_size, flags, magic "ARM\x64". It may be gzip'd, or wrapped as a gzip'd EFI program (zboot).
 * Anything else is refused with its name and, where there is one, the way to an Image.
 *
 * A kernel is not read into memory of hako's own: kernel_load() reads or unpacks it straight into
 * the guest's. Kernel files are untrusted: nothing of a header is believed beyond what is checked.
 *
 * Threads: one at a time.
 */
#ifndef HAKO_BOOT_KERNEL_H
#define HAKO_BOOT_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"

struct err;

struct kernel {
	const char *path;     /* for messages; the caller's, or "the kernel" for bytes */
	int fd;               /* the file, or -1 */
	uint8_t *data;        /* or the bytes, a copy */
	bool gzip;            /* what follows is packed */
	uint64_t off, len;    /* where the Image, or the packed stream, is in file or bytes */
	uint64_t text_offset; /* from a 2 MiB-aligned base */
	uint64_t image_size;  /* bytes in memory, bss included; nothing beyond them is written */
	uint64_t bss_slack;   /* to be left free behind image_size, for images that do not say */
	uint32_t page_size;   /* 4096, 16384, 65536 as the header announces it, 0: it does not */
};

/*
 * Open, recognise, check; nothing is loaded yet. -EINVAL or -ENOEXEC with a sentence for what is
 * not an arm64 kernel. On failure there is nothing to close.
 */
int kernel_open_arm64(struct kernel *k, const char *path, struct err *err);
/* The same from bytes in memory, which are copied. */
int kernel_from_bytes_arm64(struct kernel *k, const void *data, size_t len, struct err *err);
void kernel_close(struct kernel *k);

/* Copy to gpa. The layout has seen to it that image_size bytes from there are RAM. */
int kernel_load(const struct kernel *k, struct gmem *mem, gpa_t gpa, struct err *err);

#endif

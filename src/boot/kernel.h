/* SPDX-License-Identifier: MIT */
/*
 * Kernel images: what a file is, and where it wants to be in memory.
 *
 * An arm64 Image has a 64-byte header (Linux, Documentation/arch/arm64/booting.rst): text_offset,
 * image_size, flags, magic "ARM\x64". It may be gzip'd. Anything else is refused with its name.
 */
#ifndef HAKO_BOOT_KERNEL_H
#define HAKO_BOOT_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/gmem.h"

struct err;

/* A kernel ready to be copied into RAM; owns its file or bytes until kernel_close(). */
struct kernel {
	const char *path;     /* for messages; the caller's */
	int fd;               /* the file when it is loaded straight from it, or -1 */
	uint8_t *data;        /* the bytes when they had to be unpacked, or NULL */
	uint64_t file_size;   /* bytes to load */
	uint64_t text_offset; /* from a 2 MiB-aligned base */
	uint64_t image_size;  /* bytes in memory, bss included; at least file_size */
	bool anywhere;        /* flags bit 3: may be anywhere in RAM */
};

/* Open, recognise, check; nothing is loaded yet. */
int kernel_open_arm64(struct kernel *k, const char *path, struct err *err);
/* The same from bytes in memory, which are copied. */
int kernel_from_bytes_arm64(struct kernel *k, const void *data, size_t len, struct err *err);
void kernel_close(struct kernel *k);
/* Copy to gpa; the whole of image_size was checked to be RAM by the layout. */
int kernel_load(const struct kernel *k, struct gmem *mem, gpa_t gpa, struct err *err);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * bzImages: x86 kernels that unpack themselves, whatever they are packed with (Linux,
 * Documentation/arch/x86/boot.rst). hako loads the part behind the real-mode setup to where it
 * prefers to be, and enters it at its 64-bit entry.
 */
#ifndef HAKO_BOOT_BZIMAGE_H
#define HAKO_BOOT_BZIMAGE_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct kernel;

enum { BZIMAGE_MAGIC = 0x202 }; /* where "HdrS" is */

/*
 * `k` has its source, and `head` is the first n bytes of it, with the magic: fill in arch, place,
 * size and what is in k->bzimage.
 */
int bzimage_open(struct kernel *k, const uint8_t *head, size_t n, struct err *err);

#endif

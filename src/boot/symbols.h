/* SPDX-License-Identifier: MIT */
/*
 * Names for addresses of a kernel: the symbol table of an ELF file (gABI, chapter 4). The file is
 * as hostile as a kernel is.
 *
 * Threads: read-only once opened.
 */
#ifndef HAKO_BOOT_SYMBOLS_H
#define HAKO_BOOT_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct symbols;

/* -ENOEXEC with a sentence when the file is no ELF file, or has no symbols. */
int symbols_open(struct symbols **symbols, const char *path, struct err *err);
void symbols_close(struct symbols *symbols);

/*
 * " name+0x1c" for a virtual address, or a physical one of the file's segments; "" when there is no
 * name near it. `symbols` may be NULL.
 */
void symbols_name(const struct symbols *symbols, uint64_t addr, char *text, size_t size);

#endif

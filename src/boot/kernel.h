/* SPDX-License-Identifier: MIT */
/*
 * Kernel images: what a file is, which machine it is for, and where it wants to be in memory.
 *
 * An Image has a 64-byte header (Linux, Documentation/arch/arm64/booting.rst and
 * arch/riscv/boot-image-header.rst): text_offset, image_size, flags, magic "ARM\x64" or "RSC\x05".
 * It may be gzip'd, or wrapped as a gzip'd EFI program (zboot). An x86 kernel is a bzImage, which
 * unpacks itself (arch/x86/boot.rst). Or it is an ELF file, for any of them. Anything else is
 * refused with its name and, where there is one, the way to a kernel that would do.
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

/* What a kernel is for; also as a set of those that would do. */
enum kernel_arch {
	KERNEL_ARM64 = 1,
	KERNEL_RV64 = 2,
	KERNEL_RV32 = 4,
	KERNEL_X86_64 = 8,
	KERNEL_RISCV = KERNEL_RV64 | KERNEL_RV32,
	KERNEL_ANY = KERNEL_ARM64 | KERNEL_RISCV | KERNEL_X86_64,
};

/* A part of the setup header, which is copied into the zero page (boot.rst, "The Real-Mode Kernel
 * Header"): from its first field, at this place in both. */
enum { BZIMAGE_HEADER = 0x1f1, BZIMAGE_HEADER_END = 0x290 };

/* What a bzImage says of itself. */
struct kernel_bzimage {
	uint8_t header[BZIMAGE_HEADER_END - BZIMAGE_HEADER];
	size_t header_len;    /* 0: the kernel is no bzImage */
	uint32_t cmdline_max; /* characters, without the final NUL */
	gpa_t initrd_max;     /* the last address that the initrd may have */
};

/* A part of an ELF file that is loaded, at a place of its own. */
struct kernel_segment {
	gpa_t addr;
	uint64_t size;      /* bytes in memory, not 0 */
	uint64_t off, copy; /* how many of them come from the file, and from where in it */
	uint64_t headers; /* how many of those, the first ones, are the file's headers and zeros */
};
enum { KERNEL_SEGMENTS_MAX = 16 };

struct kernel {
	const char *path; /* for messages; the caller's, or "the kernel" for bytes */
	int fd;           /* the file, or -1 */
	uint8_t *data;    /* or the bytes, a copy */
	unsigned wanted;  /* set of enum kernel_arch */
	enum kernel_arch arch;
	bool gzip;            /* what follows is packed */
	uint64_t off, len;    /* where the Image, or the packed stream, is in file or bytes */
	uint64_t text_offset; /* from a 2 MiB-aligned base; of a bzImage, its address */
	uint64_t image_size;  /* bytes in memory, bss included; nothing beyond them is written */
	uint64_t bss_slack;   /* to be left free behind image_size, for images that do not say */
	uint32_t page_size;   /* 4096, 16384, 65536 as the header announces it, 0: it does not */

	/* An ELF file: sorted by address, apart from each other; the fields above from text_offset
	 * on mean nothing. 0: another format. */
	unsigned n_segments;
	struct kernel_segment segments[KERNEL_SEGMENTS_MAX];
	gpa_t entry;

	/* x86. The 64-bit entry of a bzImage is BZIMAGE_ENTRY_64 from where it is loaded. */
	struct kernel_bzimage bzimage;
	bool pvh; /* the entry is a 32-bit one, as Xen's PVH has it, and not Linux's 64-bit one */
};
enum { BZIMAGE_ENTRY_64 = 0x200 };

/*
 * Open, recognise, check; nothing is loaded yet. `wanted` is the set of enum kernel_arch that the
 * machine can be. -EINVAL or -ENOEXEC with a sentence for what is none of them. On failure there is
 * nothing to close.
 */
int kernel_open(struct kernel *k, const char *path, unsigned wanted, struct err *err);
/* The same from bytes in memory, which are copied. */
int kernel_from_bytes(struct kernel *k, const void *data, size_t len, unsigned wanted,
		      struct err *err);
/*
 * Firmware of a RISC-V machine: an ELF file, or else bytes that go where the machine starts; for
 * those, `wanted` has to name one machine.
 */
int kernel_open_firmware(struct kernel *k, const char *path, unsigned wanted, struct err *err);
void kernel_close(struct kernel *k);

/*
 * Copy to gpa; an ELF file goes where it says. The layout has seen to it that image_size bytes from
 * there, or the segments, are RAM.
 */
int kernel_load(const struct kernel *k, struct gmem *mem, gpa_t gpa, struct err *err);

/*
 * Where an ELF file's memory begins below `start` and is nothing but its headers there, leave them
 * out: a linker that is told where the text goes (-Ttext=) puts them in front of it, and where that
 * is the start of RAM, there is none for them. Before the layout.
 */
void kernel_cut_headers(struct kernel *k, gpa_t start);

/* Are these bytes in what an ELF file loads? -errno when it cannot be read. */
int kernel_elf_contains(const struct kernel *k, const void *what, size_t len);

/* The first and the last address plus one of an ELF file's segments. */
static inline gpa_t kernel_elf_start(const struct kernel *k)
{
	return k->segments[0].addr;
}
static inline gpa_t kernel_elf_end(const struct kernel *k)
{
	return k->segments[k->n_segments - 1].addr + k->segments[k->n_segments - 1].size;
}

/* Exactly `len` bytes at `off` of the file, which holds them; with a sentence. For the room. */
int kernel_read(const struct kernel *k, void *dst, size_t len, uint64_t off, struct err *err);

#endif

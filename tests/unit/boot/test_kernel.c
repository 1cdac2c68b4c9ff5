/* SPDX-License-Identifier: MIT */
/*
 * Kernels: what is taken, where it lands, and that everything else is refused by its name; initrds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "mem/gmem.h"

#define RAM      0x40000000ULL
#define RAM_SIZE (16ULL << 20)

enum { FILE_SIZE = 9000, MEM_SIZE = 16384 }; /* of the Image most tests use */

static void put(uint8_t *at, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)(v >> 8 * i);
}

/* An Image of `size` bytes, the body different at each place. On the heap. */
static uint8_t *make_image(size_t size, uint64_t text_offset, uint64_t image_size, uint64_t flags)
{
	uint8_t *image = malloc(size);

	assert_non_null(image);
	for (size_t i = 0; i < size; i++)
		image[i] = (uint8_t)(i * 7 + (i >> 8));
	memset(image, 0, 64);
	put(image, 0x14000010, 4); /* b . + 64 */
	put(image + 8, text_offset, 8);
	put(image + 16, image_size, 8);
	put(image + 24, flags, 8);
	memcpy(image + 56, "ARM\x64", 4);
	return image;
}

/* `data` gzip'd, on the heap. */
static uint8_t *make_gzip(const uint8_t *data, size_t size, size_t *packed_size)
{
	z_stream z = { 0 };
	size_t cap = size + 1024;
	uint8_t *packed = malloc(cap);

	assert_non_null(packed);
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
			 Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)size;
	z.next_out = packed;
	z.avail_out = (uInt)cap;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	*packed_size = cap - z.avail_out;
	deflateEnd(&z);
	return packed;
}

static struct gmem *make_mem(void)
{
	struct gmem *mem;

	assert_int_equal(gmem_create(&mem, NULL), 0);
	assert_int_equal(gmem_add_ram(mem, RAM, RAM_SIZE, NULL), 0);
	return mem;
}

/* Open and load from bytes; the first failure's code, the sentence in *err. */
static int boot(const uint8_t *data, size_t size, struct gmem *mem, struct err *err)
{
	struct kernel k;
	int r = kernel_from_bytes(&k, data, size, KERNEL_ARM64, err);

	if (r < 0)
		return r;
	r = kernel_load(&k, mem, RAM + k.text_offset, err);
	kernel_close(&k);
	return r;
}

static void check_loaded(struct gmem *mem, gpa_t at, const uint8_t *image, size_t size)
{
	uint8_t *seen = malloc(size + 1);

	assert_non_null(seen);
	assert_int_equal(gmem_read(mem, at, seen, size + 1), 0);
	assert_memory_equal(seen, image, size);
	assert_int_equal(seen[size], 0); /* nothing behind it */
	free(seen);
}

/* ---- What is taken ---- */

static void plain_image(void **state)
{
	uint8_t *image = make_image(FILE_SIZE, 0x10000, MEM_SIZE, 1 << 1);
	struct gmem *mem = make_mem();
	struct err err = ERR_INIT;
	struct kernel k;

	(void)state;
	assert_int_equal(kernel_from_bytes(&k, image, FILE_SIZE, KERNEL_ARM64, &err), 0);
	assert_int_equal(k.text_offset, 0x10000);
	assert_int_equal(k.image_size, MEM_SIZE);
	assert_int_equal(k.page_size, 4096);
	assert_int_equal(k.bss_slack, 0);
	assert_int_equal(kernel_load(&k, mem, RAM + 0x10000, &err), 0);
	check_loaded(mem, RAM + 0x10000, image, FILE_SIZE);
	/* As for a second boot of the same machine. */
	assert_int_equal(kernel_load(&k, mem, RAM + 0x40000, &err), 0);
	check_loaded(mem, RAM + 0x40000, image, FILE_SIZE);
	kernel_close(&k);
	gmem_destroy(mem);
	free(image);
}

static void page_sizes(void **state)
{
	static const uint32_t sizes[] = { 0, 4096, 16384, 65536 };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint8_t *image = make_image(FILE_SIZE, 0, MEM_SIZE, i << 1);
		struct kernel k;

		assert_int_equal(kernel_from_bytes(&k, image, FILE_SIZE, KERNEL_ARM64, NULL), 0);
		assert_int_equal(k.page_size, sizes[i]);
		kernel_close(&k);
		free(image);
	}
}

static void old_image(void **state)
{
	uint8_t *image = make_image(FILE_SIZE, 0xdead, 0, 0);
	struct gmem *mem = make_mem();
	uint8_t *packed;
	size_t n;
	struct kernel k;

	(void)state;
	assert_int_equal(kernel_from_bytes(&k, image, FILE_SIZE, KERNEL_ARM64, NULL), 0);
	assert_int_equal(k.text_offset, 0x80000); /* its own may have the wrong byte order */
	assert_int_equal(k.image_size, FILE_SIZE);
	assert_true(k.bss_slack > 0);
	kernel_close(&k);

	packed = make_gzip(image, FILE_SIZE, &n);
	assert_int_equal(kernel_from_bytes(&k, packed, n, KERNEL_ARM64, NULL), 0);
	assert_int_equal(k.text_offset, 0x80000);
	assert_int_equal(k.image_size, FILE_SIZE);
	assert_int_equal(kernel_load(&k, mem, RAM + 0x80000, NULL), 0);
	check_loaded(mem, RAM + 0x80000, image, FILE_SIZE);
	kernel_close(&k);
	gmem_destroy(mem);
	free(packed);
	free(image);
}

static void gzip_image(void **state)
{
	/* The sizes around the unpacked size, where full and ended must not be mixed up. */
	static const uint64_t sizes[] = { FILE_SIZE, FILE_SIZE + 1, MEM_SIZE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint8_t *image = make_image(FILE_SIZE, 0, sizes[i], 0);
		struct gmem *mem = make_mem();
		struct err err = ERR_INIT;
		size_t n;
		uint8_t *packed = make_gzip(image, FILE_SIZE, &n);

		assert_int_equal(boot(packed, n, mem, &err), 0);
		check_loaded(mem, RAM, image, FILE_SIZE);
		gmem_destroy(mem);
		free(packed);
		free(image);
	}
}

/* More than one chunk of input and output, which cannot be packed well. */
static void gzip_large(void **state)
{
	const size_t size = 3 << 20;
	uint8_t *image = make_image(size, 0, 4 << 20, 0), *packed;
	struct gmem *mem = make_mem();
	uint64_t x = 88172645463325252ULL;
	size_t n;

	(void)state;
	for (size_t i = 64; i < size; i++) { /* xorshift */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		image[i] = (uint8_t)x;
	}
	packed = make_gzip(image, size, &n);
	assert_true(n > 1 << 20);
	assert_int_equal(boot(packed, n, mem, NULL), 0);
	check_loaded(mem, RAM, image, size);
	gmem_destroy(mem);
	free(packed);
	free(image);
}

static void gzip_more_than_announced(void **state)
{
	uint8_t *image = make_image(FILE_SIZE, 0, FILE_SIZE - 1, 0);
	struct gmem *mem = make_mem();
	struct err err = ERR_INIT;
	uint8_t byte, *packed;
	size_t n;

	(void)state;
	packed = make_gzip(image, FILE_SIZE, &n);
	assert_int_equal(boot(packed, n, mem, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "8999"));
	assert_int_equal(gmem_read(mem, RAM + FILE_SIZE - 1, &byte, 1), 0);
	assert_int_equal(byte, 0);
	gmem_destroy(mem);
	free(packed);
	free(image);
}

/* What follows the memory image, such as a signature, is not loaded. */
static void longer_file(void **state)
{
	uint8_t *image = make_image(FILE_SIZE, 0, 8192, 0);
	struct gmem *mem = make_mem();

	(void)state;
	assert_int_equal(boot(image, FILE_SIZE, mem, NULL), 0);
	check_loaded(mem, RAM, image, 8192);
	gmem_destroy(mem);
	free(image);
}

static void zboot(void **state)
{
	uint8_t *image = make_image(FILE_SIZE, 0, MEM_SIZE, 0), *packed, *efi;
	struct gmem *mem = make_mem();
	struct err err = ERR_INIT;
	size_t n;

	(void)state;
	packed = make_gzip(image, FILE_SIZE, &n);
	efi = calloc(1, 512 + n);
	assert_non_null(efi);
	memcpy(efi, "MZ\0\0zimg", 8);
	put(efi + 8, 512, 4);
	put(efi + 12, n, 4);
	memcpy(efi + 24, "gzip", 5);
	memcpy(efi + 512, packed, n);
	assert_int_equal(boot(efi, 512 + n, mem, &err), 0);
	check_loaded(mem, RAM, image, FILE_SIZE);

	assert_int_equal(boot(efi, 512, mem, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "cut off"));
	err = (struct err)ERR_INIT;
	memcpy(efi + 24, "zstd", 5);
	assert_int_equal(boot(efi, 512 + n, mem, &err), -ENOEXEC);
	assert_non_null(strstr(err.msg, "zstd"));
	gmem_destroy(mem);
	free(efi);
	free(packed);
	free(image);
}

/* ---- What is refused ---- */

static void check_refused(const uint8_t *data, size_t n, const char *name)
{
	struct err err = ERR_INIT;
	struct kernel k;

	assert_true(kernel_from_bytes(&k, data, n, KERNEL_ARM64, &err) < 0);
	if (!strstr(err.msg, name))
		fail_msg("'%s' does not say '%s'", err.msg, name);
}

static void refused_by_name(void **state)
{
	static const struct {
		size_t off;
		const char *magic;
		size_t len;
		const char *name;
	} cases[] = {
#define CASE(off, magic, name) { off, magic, sizeof(magic) - 1, name }
		CASE(0, "\x27\x05\x19\x56", "uImage"),
		CASE(0, "\x28\xb5\x2f\xfd", "zstd"),
		CASE(0,
		     "\xfd"
		     "7zXZ\0",
		     "xz"),
		CASE(0, "\x02\x21\x4c\x18", "lz4"),
		CASE(0, "\x04\x22\x4d\x18", "lz4"),
		CASE(0, "BZh9", "bzip2"),
		CASE(0, "\x5d\0\0\x80", "lzma"),
		CASE(0, "070701", "initramfs"),
		CASE(0, "QFI\xfb", "qcow2"),
		CASE(0, "PK\3\4", "zip archive"),
		CASE(0, "7z\xbc\xaf\x27\x1c", "7-Zip"),
		CASE(0x101, "ustar", "tar archive"),
		CASE(0, "KDMV", "VMDK"),
		CASE(0, "vhdxfile", "VHDX"),
		CASE(0, "conectix", "VHD disk"),
		CASE(0x40, "\x7f\x10\xda\xbe", "VDI"),
		CASE(0, "hsqs", "squashfs"),
		CASE(0, "MZ", "EFI program"),
		CASE(0, "\xd0\x0d\xfe\xed", "a device tree"),
		CASE(0, "!<arch>\n", "Debian package"),
		CASE(0x24, "\x18\x28\x6f\x01", "zImage"),
		CASE(0x30, "RISCV\0\0\0", "RISC-V"),
		CASE(0x438, "\x53\xef", "ext4"),
		CASE(0x200, "EFI PART", "GPT"),
		CASE(0x1fe, "\x55\xaa", "MBR"),
		CASE(0x202, "HdrS", "bzImage"),
		CASE(0x100, "hello", "no format that hako knows"),
		CASE(0, "", "zeros"),
#undef CASE
	};
	static uint8_t iso[0x9000] = { [0x8000] = 1, 'C', 'D', '0', '0', '1' };
	uint8_t data[8192], *packed;
	size_t n;

	(void)state;
	check_refused(iso, sizeof(iso), "ISO 9660");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(data, 0, sizeof(data));
		memcpy(data + cases[i].off, cases[i].magic, cases[i].len);
		check_refused(data, sizeof(data), cases[i].name);
		/* The same, packed: it is what is inside that counts. */
		packed = make_gzip(data, sizeof(data), &n);
		check_refused(packed, n, cases[i].name);
		check_refused(packed, n, "gzip'd");
		free(packed);
	}
}

static void refused_fit(void **state)
{
	static const char head[] = "\xd0\x0d\xfe\xed somewhere \0\0\0\1images\0";
	uint8_t data[4096] = { 0 };

	(void)state;
	memcpy(data, head, sizeof(head));
	check_refused(data, sizeof(data), "FIT");
}

static void refused_bzimage_version(void **state)
{
	uint8_t data[4096] = { 0 };

	(void)state;
	memcpy(data + 0x202, "HdrS", 4);
	put(data + 0x20e, 0x400, 2);
	memcpy(data + 0x600, "6.1.0-50-amd64 (somebody)", 26);
	check_refused(data, sizeof(data), "version 6.1.0-50-amd64)");
	/* A place outside the file, and text that is no text. */
	put(data + 0x20e, 0xffff, 2);
	check_refused(data, sizeof(data), "bzImage)");
	put(data + 0x20e, 0xdf0, 2);
	memset(data + 0xff0, 0xff, 16);
	check_refused(data, sizeof(data), "bzImage)");
}

static void refused_elf(void **state)
{
	static const struct {
		uint16_t machine;
		const char *name;
	} cases[] = { { EM_X86_64, "x86-64" },
		      { EM_386, "32-bit x86" },
		      { EM_RISCV, "RISC-V" },
		      { 4711, "machine 4711" } };
	uint8_t data[4096] = { 0 };

	(void)state;
	memcpy(data, ELFMAG, SELFMAG);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		data[EI_DATA] = ELFDATA2LSB;
		put(data + 18, cases[i].machine, 2);
		check_refused(data, sizeof(data), cases[i].name);
	}
	data[EI_DATA] = ELFDATA2MSB;
	data[18] = 0;
	data[19] = EM_S390;
	check_refused(data, sizeof(data), "s390");
	check_refused(data, 10, "ELF");
}

/* An ELF file with one segment, linked to run high and to be loaded low. */
struct elf {
	Elf64_Ehdr e;
	Elf64_Phdr p;
	uint8_t data[4096];
};

static struct elf make_elf(void)
{
	struct elf f = {
		.e = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB },
		       .e_type = ET_EXEC,
		       .e_machine = EM_AARCH64,
		       .e_entry = 0xffff000000080010,
		       .e_phoff = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 1 },
		.p = { .p_type = PT_LOAD,
		       .p_offset = offsetof(struct elf, data),
		       .p_vaddr = 0xffff000000080000,
		       .p_paddr = RAM + 0x80000,
		       .p_filesz = sizeof(f.data),
		       .p_memsz = 2 * sizeof(f.data) },
	};

	memset(f.data, 0xa5, sizeof(f.data));
	return f;
}

static void elf_for_arm64(void **state)
{
	struct elf f = make_elf();
	uint8_t seen[2 * sizeof(f.data)];
	struct gmem *mem = make_mem();
	struct kernel k;

	(void)state;
	assert_int_equal(kernel_from_bytes(&k, &f, sizeof(f), KERNEL_ANY, NULL), 0);
	assert_int_equal(k.arch, KERNEL_ARM64);
	assert_int_equal(k.n_segments, 1);
	assert_int_equal(k.entry, RAM + 0x80010);
	assert_int_equal(kernel_load(&k, mem, 0, NULL), 0);
	assert_int_equal(gmem_read(mem, RAM + 0x80000, seen, sizeof(seen)), 0);
	assert_memory_equal(seen, f.data, sizeof(f.data));
	assert_int_equal(seen[sizeof(f.data)], 0);
	kernel_close(&k);
	gmem_destroy(mem);

	f.p.p_paddr = f.p.p_vaddr; /* as Linux's vmlinux */
	check_refused((uint8_t *)&f, sizeof(f), "objcopy -O binary");
	f = make_elf();
	f.e.e_entry += 2;
	check_refused((uint8_t *)&f, sizeof(f), "no instruction can be");
	f = make_elf();
	f.e.e_type = ET_REL;
	check_refused((uint8_t *)&f, sizeof(f), "ELF file for arm64 that is not linked");
	Elf32_Ehdr narrow = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB },
		.e_type = ET_EXEC,
		.e_machine = EM_AARCH64,
	};
	check_refused((uint8_t *)&narrow, sizeof(narrow), "ILP32");
}

/* Linked with -Ttext= the start of memory: the file's headers are in front of it. */
static void elf_headers_before_memory(void **state)
{
	enum { PAGE = 4096 };
	struct elf_at {
		struct elf elf;
		uint8_t more[PAGE];
	} f = { .elf = make_elf() };
	uint8_t seen[sizeof(f)], *text = (uint8_t *)&f + PAGE;
	struct gmem *mem = make_mem();
	struct kernel k;

	(void)state;
	memset((uint8_t *)&f + sizeof(f.elf.e) + sizeof(f.elf.p), 0,
	       PAGE - sizeof(f.elf.e) - sizeof(f.elf.p));
	memset(text, 0x42, sizeof(f) - PAGE);
	f.elf.e.e_entry = RAM + 8;
	f.elf.p.p_offset = 0;
	f.elf.p.p_vaddr = f.elf.p.p_paddr = RAM - PAGE;
	f.elf.p.p_filesz = f.elf.p.p_memsz = sizeof(f);

	assert_int_equal(kernel_from_bytes(&k, &f, sizeof(f), KERNEL_ANY, NULL), 0);
	kernel_cut_headers(&k, RAM - PAGE); /* nothing is before that */
	assert_int_equal(kernel_elf_start(&k), RAM - PAGE);
	kernel_cut_headers(&k, RAM + 4); /* that is text */
	assert_int_equal(kernel_elf_start(&k), RAM - PAGE);
	kernel_cut_headers(&k, RAM);
	assert_int_equal(kernel_elf_start(&k), RAM);
	assert_int_equal(kernel_elf_end(&k), RAM + sizeof(f) - PAGE);
	assert_int_equal(kernel_load(&k, mem, 0, NULL), 0);
	assert_int_equal(gmem_read(mem, RAM, seen, sizeof(f) - PAGE), 0);
	assert_memory_equal(seen, text, sizeof(f) - PAGE);
	kernel_close(&k);

	f.elf.e.e_entry = RAM - 8; /* it begins there */
	assert_int_equal(kernel_from_bytes(&k, &f, sizeof(f), KERNEL_ANY, NULL), 0);
	kernel_cut_headers(&k, RAM);
	assert_int_equal(kernel_elf_start(&k), RAM - PAGE);
	kernel_close(&k);
	f.elf.e.e_entry = RAM + 8;
	text[-1] = 1; /* something else is there */
	assert_int_equal(kernel_from_bytes(&k, &f, sizeof(f), KERNEL_ANY, NULL), 0);
	kernel_cut_headers(&k, RAM);
	assert_int_equal(kernel_elf_start(&k), RAM - PAGE);
	kernel_close(&k);
	gmem_destroy(mem);
}

static void refused_headers(void **state)
{
	static const struct {
		uint64_t text_offset, image_size, flags;
		const char *name;
	} cases[] = {
		{ 0, MEM_SIZE, 1, "big-endian" },   { 0, 63, 0, "damaged" },
		{ 0, 1ULL << 40, 0, "damaged" },    { 0, UINT64_MAX, 0, "damaged" },
		{ UINT64_MAX, 4096, 0, "damaged" }, { 1ULL << 31, 4096, 0, "damaged" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *image = make_image(FILE_SIZE, cases[i].text_offset, cases[i].image_size,
					    cases[i].flags);

		check_refused(image, FILE_SIZE, cases[i].name);
		free(image);
	}
}

/* A PE section table, as arm64 Images with an EFI stub have it, tells how long the file must be. */
static void refused_truncated(void **state)
{
	uint8_t *image = make_image(FILE_SIZE, 0, MEM_SIZE, 0);
	struct gmem *mem = make_mem();

	(void)state;
	memset(image + 64, 0, 512);
	put(image + 60, 64, 4);
	memcpy(image + 64, "PE\0\0", 4);
	put(image + 70, 2, 2);          /* sections */
	put(image + 84, 160, 2);        /* optional header */
	put(image + 248 + 16, 4096, 4); /* .text: raw size and place */
	put(image + 248 + 20, 1024, 4);
	put(image + 288 + 16, FILE_SIZE - 5120, 4);
	put(image + 288 + 20, 5120, 4);
	assert_int_equal(boot(image, FILE_SIZE, mem, NULL), 0);
	check_refused(image, FILE_SIZE - 1, "should have 9000");
	/* Every length: refused or, where the table itself is cut, taken; never a crash. */
	for (size_t n = 0; n < FILE_SIZE; n += n < 512 ? 1 : 97) {
		uint8_t *cut = malloc(n + 1);

		assert_non_null(cut);
		memcpy(cut, image, n);
		if (n >= 328)
			check_refused(cut, n, "cut off");
		else
			boot(cut, n, mem, NULL);
		free(cut);
	}
	/* A table of nonsense. */
	memset(image + 60, 0xff, 4);
	boot(image, FILE_SIZE, mem, NULL);
	put(image + 60, 4096 - 24, 4);
	memcpy(image + 4096 - 24, "PE\0\0\x64\xaa\xff\xff", 8);
	boot(image, FILE_SIZE, mem, NULL);
	gmem_destroy(mem);
	free(image);
}

/* Cut at every length and changed at every byte, a gzip'd kernel is refused and nothing breaks. */
static void gzip_hostile(void **state)
{
	uint8_t *image = make_image(FILE_SIZE, 0, MEM_SIZE, 0), *packed;
	struct gmem *mem = make_mem();
	size_t n, taken = 0;

	(void)state;
	packed = make_gzip(image, FILE_SIZE, &n);
	for (size_t len = 0; len < n; len++) {
		uint8_t *cut = malloc(len + 1);

		assert_non_null(cut);
		memcpy(cut, packed, len);
		assert_true(boot(cut, len, mem, NULL) < 0);
		free(cut);
	}
	for (size_t i = 0; i < n; i++) {
		packed[i] ^= 0x55;
		taken += boot(packed, n, mem, NULL) == 0;
		packed[i] ^= 0x55;
	}
	/* Time stamp, system and extra flags of the gzip header are not protected. */
	assert_true(taken <= 8);
	gmem_destroy(mem);
	free(packed);
	free(image);
}

static void no_memory_for_it(void **state)
{
	uint8_t *image = make_image(FILE_SIZE, 0, RAM_SIZE + 1, 0);
	struct gmem *mem = make_mem();
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(boot(image, FILE_SIZE, mem, &err), -EFAULT);
	assert_non_null(strstr(err.msg, "does not fit"));
	gmem_destroy(mem);
	free(image);
}

/* ---- Files ---- */

static void files(void **state)
{
	char dir[] = "/tmp/hako-test.XXXXXX", path[64];
	uint8_t *image = make_image(FILE_SIZE, 0, MEM_SIZE, 0);
	struct gmem *mem = make_mem();
	struct err err = ERR_INIT;
	struct initrd initrd;
	struct kernel k;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/Image", dir);

	assert_int_equal(kernel_open(&k, path, KERNEL_ARM64, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
	err = (struct err)ERR_INIT;
	assert_int_equal(kernel_open(&k, dir, KERNEL_ARM64, &err), -EISDIR);
	assert_non_null(strstr(err.msg, "directory"));

	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
	err = (struct err)ERR_INIT;
	assert_int_equal(kernel_open(&k, path, KERNEL_ARM64, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "empty"));
	err = (struct err)ERR_INIT;
	assert_int_equal(initrd_open(&initrd, path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "empty"));

	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(image, 1, FILE_SIZE, f), FILE_SIZE);
	fclose(f);
	assert_int_equal(kernel_open(&k, path, KERNEL_ARM64, NULL), 0);
	assert_int_equal(kernel_load(&k, mem, RAM, NULL), 0);
	check_loaded(mem, RAM, image, FILE_SIZE);
	/* It becomes shorter between open and load. */
	assert_int_equal(truncate(path, 100), 0);
	err = (struct err)ERR_INIT;
	assert_int_equal(kernel_load(&k, mem, RAM, &err), -EIO);
	assert_non_null(strstr(err.msg, path));
	kernel_close(&k);

	err = (struct err)ERR_INIT;
	assert_int_equal(initrd_open(&initrd, path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "kernel"));
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite("abc", 1, 3, f), 3);
	fclose(f);
	assert_int_equal(initrd_open(&initrd, path, NULL), 0);
	assert_int_equal(initrd.size, 3);
	assert_int_equal(initrd_load(&initrd, mem, RAM + 0x100000, NULL), 0);
	check_loaded(mem, RAM + 0x100000, (const uint8_t *)"abc", 3);
	assert_int_equal(truncate(path, 1), 0);
	assert_int_equal(initrd_load(&initrd, mem, RAM, NULL), -EIO);
	initrd_close(&initrd);

	unlink(path);
	rmdir(dir);
	gmem_destroy(mem);
	free(image);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_image),
		cmocka_unit_test(page_sizes),
		cmocka_unit_test(old_image),
		cmocka_unit_test(gzip_image),
		cmocka_unit_test(gzip_large),
		cmocka_unit_test(gzip_more_than_announced),
		cmocka_unit_test(longer_file),
		cmocka_unit_test(zboot),
		cmocka_unit_test(refused_by_name),
		cmocka_unit_test(refused_fit),
		cmocka_unit_test(refused_bzimage_version),
		cmocka_unit_test(refused_elf),
		cmocka_unit_test(elf_for_arm64),
		cmocka_unit_test(elf_headers_before_memory),
		cmocka_unit_test(refused_headers),
		cmocka_unit_test(refused_truncated),
		cmocka_unit_test(gzip_hostile),
		cmocka_unit_test(no_memory_for_it),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

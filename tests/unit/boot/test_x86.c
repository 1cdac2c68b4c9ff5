/* SPDX-License-Identifier: MIT */
/*
 * x86 kernels: bzImages and ELF files, good and bad; where they go; what they find there.
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

#include "base/bits.h"
#include "base/err.h"
#include "boot/kernel.h"
#include "boot/layout.h"
#include "boot/mptable.h"
#include "boot/x86.h"
#include "mem/gmem.h"

#define MIB (1ULL << 20)

static void put(uint8_t *at, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get(const uint8_t *at, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)at[i] << 8 * i;
	return v;
}

static uint64_t get_at(struct gmem *mem, gpa_t at, size_t n)
{
	uint8_t bytes[8];

	assert_int_equal(gmem_read(mem, at, bytes, n), 0);
	return get(bytes, n);
}

/* ---- bzImages ---- */

enum {
	SECTS = 3,
	SETUP = (SECTS + 1) * 512,
	CODE = 4096, /* bytes behind the setup */
	BZ_SIZE = SETUP + CODE,
	INIT_SIZE = 3 << 20,
};

static void make_bzimage(uint8_t image[BZ_SIZE])
{
	memset(image, 0, BZ_SIZE);
	image[0x1f1] = SECTS;
	put(image + 0x1f4, CODE / 16, 4);
	put(image + 0x1fe, 0xaa55, 2);
	image[0x200] = 0xeb; /* jump over the header */
	image[0x201] = 0x6a;
	memcpy(image + 0x202, "HdrS", 4);
	put(image + 0x206, 0x20f, 2);
	image[0x211] = 1;
	put(image + 0x22c, 0x7fffffff, 4);
	put(image + 0x230, 2 << 20, 4);
	image[0x234] = 1;
	put(image + 0x236, 1, 2);
	put(image + 0x238, 2047, 4);
	put(image + 0x258, 16 << 20, 8);
	put(image + 0x260, INIT_SIZE, 4);
	memset(image + 0x26c, 0xee, SETUP - 0x26c); /* behind the header: no part of it */
	for (size_t i = 0; i < CODE; i++)
		image[SETUP + i] = (uint8_t)(i * 7 + (i >> 8));
}

static int open_bytes(struct kernel *k, const void *data, size_t n, struct err *err)
{
	*err = (struct err)ERR_INIT;
	return kernel_from_bytes(k, data, n, KERNEL_ANY, err);
}

static struct gmem *make_mem(uint64_t size)
{
	struct gmem *mem;

	assert_int_equal(gmem_create(&mem, NULL), 0);
	assert_int_equal(gmem_add_ram(mem, 0, size, NULL), 0);
	return mem;
}

static void bzimage_loads(void **state)
{
	struct gmem *mem = make_mem(32 * MIB);
	uint8_t image[BZ_SIZE], seen[CODE + 1];
	struct err err;
	struct kernel k;

	(void)state;
	make_bzimage(image);
	assert_int_equal(open_bytes(&k, image, BZ_SIZE, &err), 0);
	assert_int_equal(k.arch, KERNEL_X86_64);
	assert_int_equal(k.text_offset, 16 << 20);
	assert_int_equal(k.image_size, INIT_SIZE);
	assert_int_equal(k.bzimage.header_len, 0x26c - 0x1f1);
	assert_memory_equal(k.bzimage.header, image + 0x1f1, 0x26c - 0x1f1);
	assert_int_equal(k.bzimage.cmdline_max, 2047);
	assert_int_equal(k.bzimage.initrd_max, 0x7fffffff);
	assert_false(k.pvh);
	assert_int_equal(kernel_load(&k, mem, 16 * MIB, &err), 0);
	assert_int_equal(gmem_read(mem, 16 * MIB, seen, sizeof(seen)), 0);
	assert_memory_equal(seen, image + SETUP, CODE);
	assert_int_equal(seen[CODE], 0);
	kernel_close(&k);

	/* Four sectors when it says none, and what follows the code is no part of it. */
	image[0x1f1] = 0;
	put(image + 0x1f4, (CODE - 1024) / 16, 4);
	assert_int_equal(open_bytes(&k, image, BZ_SIZE, &err), 0);
	assert_int_equal(k.off, 5 * 512);
	assert_int_equal(k.len, CODE - 1024);
	kernel_close(&k);
	gmem_destroy(mem);
}

static void bad_bzimage(void **state)
{
	static const struct {
		unsigned at, n;
		uint64_t val;
		int code;
		const char *says;
	} cases[] = {
		{ 0x206, 2, 0x20b, -ENOEXEC, "older than Linux 3.8" },
		{ 0x236, 2, 0x2, -ENOEXEC, "32 bits" },
		{ 0x236, 2, 0xfffe, -ENOEXEC, "32 bits" },
		{ 0x1f1, 1, 255, -EINVAL, "cut off" },
		{ 0x1f4, 4, CODE / 16 + 1, -EINVAL, "cut off" },
		{ 0x1f4, 4, 0xffffffff, -EINVAL, "cut off" },
		{ 0x1f4, 4, 0, -EINVAL, "damaged" },
		{ 0x1f4, 4, 0x200 / 16, -EINVAL, "damaged" }, /* ends at the entry */
		{ 0x260, 4, CODE - 1, -EINVAL, "damaged" },
		{ 0x260, 4, 0xffffffff, -EINVAL, "damaged" },
		{ 0x258, 8, 0, -EINVAL, "damaged" },
		{ 0x258, 8, UINT64_MAX, -EINVAL, "damaged" },
		{ 0x258, 8, 1ULL << 33, -EINVAL, "damaged" },
		{ 0x258, 8, (16 << 20) + 1, -EINVAL, "damaged" },
	};
	uint8_t image[BZ_SIZE];
	struct err err;
	struct kernel k;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_bzimage(image);
		put(image + cases[i].at, cases[i].val, cases[i].n);
		assert_int_equal(open_bytes(&k, image, BZ_SIZE, &err), cases[i].code);
		if (!strstr(err.msg, cases[i].says))
			fail_msg("'%s' does not say '%s'", err.msg, cases[i].says);
	}
	/* Cut at every length; whatever the jump says, no more than the header is taken. */
	make_bzimage(image);
	for (size_t n = 0; n < BZ_SIZE; n++) {
		uint8_t *cut = malloc(n + 1);

		assert_non_null(cut);
		memcpy(cut, image, n);
		assert_true(open_bytes(&k, cut, n, &err) < 0);
		if (n >= 0x206)
			assert_non_null(strstr(err.msg, "cut off"));
		free(cut);
	}
	for (unsigned jump = 0; jump < 256; jump++) {
		image[0x201] = (uint8_t)jump;
		assert_int_equal(open_bytes(&k, image, BZ_SIZE, &err), 0);
		assert_in_range(k.bzimage.header_len, 0x264 - 0x1f1, 0x290 - 0x1f1);
		kernel_close(&k);
	}
	/* For another machine. */
	make_bzimage(image);
	assert_int_equal(kernel_from_bytes(&k, image, BZ_SIZE, KERNEL_ARM64, &err), -ENOEXEC);
	assert_non_null(strstr(err.msg, "x86"));
}

/* ---- ELF files ---- */

enum { ELF_SIZE = 4096, NOTE_AT = 0x300, TEXT_AT = 0x400 };
#define PHYS 0x1000000ULL
#define VIRT 0xffffffff81000000ULL

/* A vmlinux: text that is linked high, and a segment of notes. */
struct vmlinux {
	Elf64_Ehdr e;
	Elf64_Phdr p[2];
	uint8_t rest[ELF_SIZE - sizeof(Elf64_Ehdr) - 2 * sizeof(Elf64_Phdr)];
};

static uint8_t *at(struct vmlinux *f, size_t off)
{
	return (uint8_t *)f + off;
}

/* Behind those that are there; the new end. */
static size_t put_note(struct vmlinux *f, size_t off, const char *name, uint32_t type,
		       uint64_t desc, size_t desc_size, size_t align)
{
	size_t name_size = strlen(name) + 1;

	put(at(f, off), name_size, 4);
	put(at(f, off + 4), desc_size, 4);
	put(at(f, off + 8), type, 4);
	memcpy(at(f, off + 12), name, name_size);
	off = align_up(off + 12 + name_size, align);
	put(at(f, off), desc, desc_size < 8 ? desc_size : 8);
	off = align_up(off + desc_size, align);
	f->p[1].p_filesz = f->p[1].p_memsz = off - NOTE_AT;
	return off;
}

static struct vmlinux make_vmlinux(void)
{
	struct vmlinux f = {
		.e = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = PHYS + 0x10, /* as Linux has it: physical, beside virtual ones */
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2,
		},
		.p = {
			{ PT_LOAD, PF_R | PF_X, TEXT_AT, VIRT, PHYS, 0x800, 0x2000, 0x1000 },
			{ PT_NOTE, PF_R, NOTE_AT, 0, 0, 0, 0, 4 },
		},
	};

	memset(at(&f, TEXT_AT), 0x90, 0x800);
	memcpy(at(&f, TEXT_AT + 0x700), "LNRO0005", 8);
	return f;
}

static void elf_64bit(void **state)
{
	struct vmlinux f = make_vmlinux();
	struct err err;
	struct kernel k;

	(void)state;
	put_note(&f, NOTE_AT, "GNU", 3, 0x1234, 20, 4); /* of other kinds */
	assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), 0);
	assert_int_equal(k.arch, KERNEL_X86_64);
	assert_false(k.pvh);
	assert_int_equal(k.entry, PHYS + 0x10);
	assert_int_equal(k.n_segments, 1);
	assert_int_equal(k.bzimage.header_len, 0);
	assert_int_equal(kernel_elf_contains(&k, "LNRO0005", 8), 1);
	assert_int_equal(kernel_elf_contains(&k, "LNRO0006", 8), 0);
	kernel_close(&k);
	f.e.e_entry = VIRT + 0x20;
	assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), 0);
	assert_int_equal(k.entry, PHYS + 0x20);
	kernel_close(&k);
	f.e.e_entry = 0;
	assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), -EINVAL);
	assert_non_null(strstr(err.msg, "nothing loaded"));
}

/* Found wherever it is, with either width and alignment; what only resembles it is not. */
static void elf_pvh(void **state)
{
	struct err err;
	struct kernel k;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct vmlinux f = make_vmlinux();
		size_t align = i & 1 ? 8 : 4, off = NOTE_AT, width = i & 2 ? 8 : 4;

		f.p[1].p_align = align;
		off = put_note(&f, off, "Xen", 5, 0x1111, 4, align);
		off = put_note(&f, off, "Linux", 18, 0x2222, 8, align);
		off = put_note(&f, off, "Xen", 18, PHYS + 0x123, width, align);
		put_note(&f, off, "Xenon", 18, 0x3333, 8, align);
		f.e.e_entry = 0; /* does not count */
		assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), 0);
		assert_true(k.pvh);
		assert_int_equal(k.entry, PHYS + 0x123);
		kernel_close(&k);
	}
	struct vmlinux f = make_vmlinux();
	put_note(&f, NOTE_AT, "Xen", 18, PHYS + 0x2000, 4, 4);
	assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), -EINVAL);
	assert_non_null(strstr(err.msg, "nothing loaded"));
}

static void hostile_notes(void **state)
{
	struct err err;
	struct kernel k;

	(void)state;
	/* Any value in any of the three words, and a segment cut at any length. */
	for (size_t word = 0; word < 3; word++) {
		static const uint32_t vals[] = { 0,          1,          2,          3,
						 5,          0x7ffffffd, 0x7fffffff, 0x80000000,
						 0xfffffff0, 0xfffffffc, 0xffffffff };
		for (size_t i = 0; i < ARRAY_SIZE(vals); i++) {
			struct vmlinux f = make_vmlinux();

			put_note(&f, NOTE_AT, "Xen", 18, PHYS, 4, 4);
			put(at(&f, NOTE_AT + 4 * word), vals[i], 4);
			assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), 0);
			assert_false(k.pvh);
			kernel_close(&k);
		}
	}
	for (size_t n = 0; n < 20; n++) {
		struct vmlinux f = make_vmlinux();

		put_note(&f, NOTE_AT, "Xen", 18, PHYS, 4, 4);
		f.p[1].p_filesz = n;
		assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), 0);
		assert_false(k.pvh);
		kernel_close(&k);
	}
	struct vmlinux f = make_vmlinux();
	f.p[1].p_offset = UINT64_MAX - 3;
	f.p[1].p_filesz = 8;
	assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), -EINVAL);
	assert_non_null(strstr(err.msg, "cut off"));
}

/* 32 bits are good for the 32-bit entry and for no other. */
static void elf_32bit(void **state)
{
	struct {
		Elf32_Ehdr e;
		Elf32_Phdr p[2];
		uint32_t note[5];
		uint8_t text[256];
	} f = {
		.e = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_386,
			.e_entry = 0x100000,
			.e_phoff = sizeof(Elf32_Ehdr),
			.e_phentsize = sizeof(Elf32_Phdr),
			.e_phnum = 2,
		},
		.p = {
			{ PT_LOAD, 0, 0x100000, 0x100000, sizeof(f.text), sizeof(f.text), 7, 4 },
			{ PT_NOTE, 0, 0, 0, sizeof(f.note), sizeof(f.note), 4, 4 },
		},
		.note = { 4, 4, 18, 0x006e6558, 0x100080 },
	};
	struct err err;
	struct kernel k;

	(void)state;
	f.p[0].p_offset = (uint32_t)((uint8_t *)f.text - (uint8_t *)&f);
	f.p[1].p_offset = (uint32_t)((uint8_t *)f.note - (uint8_t *)&f);
	assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), 0);
	assert_true(k.pvh);
	assert_int_equal(k.arch, KERNEL_X86_64);
	assert_int_equal(k.entry, 0x100080);
	kernel_close(&k);
	f.e.e_phnum = 1;
	assert_int_equal(open_bytes(&k, &f, sizeof(f), &err), -ENOEXEC);
	assert_non_null(strstr(err.msg, "PVH"));
	assert_int_equal(kernel_from_bytes(&k, &f, sizeof(f), KERNEL_RISCV, &err), -ENOEXEC);
}

/* ---- Layout ---- */

static const struct kernel bz = {
	.path = "k",
	.text_offset = 16 << 20,
	.image_size = 40 << 20,
	.bzimage = { .header_len = 1, .initrd_max = 0x7fffffff },
};

static void layout(void **state)
{
	static const struct {
		uint64_t ram, initrd;
		int code;
		gpa_t at; /* of the initrd */
		const char *says;
	} cases[] = {
		{ 512 * MIB, 0, 0, 0, NULL },
		{ 512 * MIB, 1, 0, 512 * MIB - 4096, NULL },
		{ 512 * MIB, 4097, 0, 512 * MIB - 8192, NULL },
		{ 512 * MIB, 456 * MIB, 0, 56 * MIB, NULL },
		{ 512 * MIB, 456 * MIB + 1, -ENOMEM, 0, "at least 514 MiB" },
		{ 56 * MIB, 0, 0, 0, NULL },
		{ 54 * MIB, 0, -ENOMEM, 0, "at least 56 MiB" },
		{ 56 * MIB, 1, -ENOMEM, 0, "at least 58 MiB" },
		{ 0xd0000000, 2 * MIB, 0, 0x7fe00000, NULL },
		{ 0xd0000000, 0x80000000 - 56 * MIB, 0, 56 * MIB, NULL },
		{ 0xd0000000, 0x80000000, -EFBIG, 0, "below 2048 MiB" },
		{ 512 * MIB, UINT64_MAX, -ENOMEM, 0, "do not fit" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct layout_config c = {
			.ram_size = cases[i].ram,
			.kernel = &bz,
			.initrd_size = cases[i].initrd,
			.tables = X86_TABLES_END,
		};
		struct err err = ERR_INIT;
		struct layout l;

		assert_int_equal(layout_x86(&l, &c, &err), cases[i].code);
		if (cases[i].code) {
			if (!strstr(err.msg, cases[i].says))
				fail_msg("'%s' does not say '%s'", err.msg, cases[i].says);
			continue;
		}
		assert_int_equal(l.kernel, 16 * MIB);
		assert_int_equal(l.initrd, cases[i].at);
	}
}

static void layout_elf(void **state)
{
	struct kernel k = {
		.path = "k",
		.n_segments = 1,
		.segments = { { .addr = MIB, .size = MIB } },
		.entry = MIB + 8,
	};
	const struct layout_config c = {
		.ram_size = 16 * MIB,
		.kernel = &k,
		.initrd_size = 4096,
		.tables = X86_TABLES_END,
	};
	static const gpa_t bad[] = { 0, MIB - 1, 15 * MIB + 1, 16 * MIB, 1ULL << 32, ~0ULL - MIB };
	struct err err = ERR_INIT;
	struct layout l;

	(void)state;
	assert_int_equal(layout_x86(&l, &c, &err), 0);
	assert_int_equal(l.kernel, MIB + 8);
	assert_int_equal(l.initrd, 16 * MIB - 4096);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err = (struct err)ERR_INIT;
		k.segments[0].addr = bad[i];
		assert_int_equal(layout_x86(&l, &c, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "from 0x100000 to 0xffffff"));
	}
}

/* ---- What the kernel finds ---- */

static void check_tables(struct gmem *mem)
{
	/* Every 2 MiB of the first 4 GiB, walked as the CPU does. */
	for (uint64_t va = 0; va < 1ULL << 32; va += 2 * MIB) {
		uint64_t pml4e = get_at(mem, X86_PAGE_TABLES + 8 * (va >> 39), 8);
		uint64_t pdpte = get_at(mem, align_down(pml4e, 4096) + 8 * (va >> 30 & 511), 8);
		uint64_t pde = get_at(mem, align_down(pdpte, 4096) + 8 * (va >> 21 & 511), 8);

		assert_int_equal(pml4e & 0xfff, 3);
		assert_int_equal(pdpte & 0xfff, 3);
		assert_int_equal(pde, va | 0x83);
	}
	assert_true(X86_PAGE_TABLES + 6 * 4096 <= X86_CMDLINE);
}

static const struct {
	uint64_t start, size, type;
} map_want[] = {
	{ 0, 0x9fc00, 1 },    { 0x9fc00, 0x400, 2 },         { 0xe0000, 0x20000, 2 },
	{ MIB, 31 * MIB, 1 }, { 1ULL << 32, 2048 * MIB, 1 },
};

static void zero_page(void **state)
{
	uint8_t image[BZ_SIZE];
	struct err err;
	struct kernel k;

	(void)state;
	make_bzimage(image);
	for (unsigned bzimage = 0; bzimage < 2; bzimage++) {
		struct gmem *mem = make_mem(32 * MIB);
		struct x86_boot_config c = {
			.ram_low = 32 * MIB,
			.ram_high = bzimage ? 2048 * MIB : 0,
			.kernel = &k,
			.cmdline = "console=ttyS0",
			.initrd = 20 * MIB,
			.initrd_size = 12345,
			.rsdp = X86_ACPI,
		};
		struct vmlinux f = make_vmlinux();
		char line[14];

		assert_int_equal(bzimage ? open_bytes(&k, image, BZ_SIZE, &err)
					 : open_bytes(&k, &f, sizeof(f), &err),
				 0);
		assert_int_equal(x86_boot_load(&c, mem, &err), 0);
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x070, 8), X86_ACPI);
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x1fe, 2), 0xaa55);
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x202, 4), 0x53726448); /* HdrS */
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x210, 1), 0xff);
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x218, 4), 20 * MIB);
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x21c, 4), 12345);
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x228, 4), X86_CMDLINE);
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x250, 8), X86_SETUP_DATA);
		assert_int_equal(get_at(mem, X86_SETUP_DATA, 8), 0);
		assert_int_equal(get_at(mem, X86_SETUP_DATA + 8, 4), 9);
		assert_int_equal(get_at(mem, X86_SETUP_DATA + 12, 4), 64);
		assert_int_not_equal(get_at(mem, X86_SETUP_DATA + 16, 8), 0);
		assert_int_not_equal(get_at(mem, X86_SETUP_DATA + 16, 8),
				     get_at(mem, X86_SETUP_DATA + 16 + 56, 8));
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x258, 8), bzimage ? 16 * MIB : 0);
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x26c, 8), 0); /* no more of it */
		assert_int_equal(get_at(mem, X86_ZERO_PAGE + 0x1e8, 1), bzimage ? 5 : 4);
		for (unsigned i = 0; i < (bzimage ? 5 : 4); i++) {
			gpa_t e = X86_ZERO_PAGE + 0x2d0 + 20 * i;

			assert_int_equal(get_at(mem, e, 8), map_want[i].start);
			assert_int_equal(get_at(mem, e + 8, 8), map_want[i].size);
			assert_int_equal(get_at(mem, e + 16, 4), map_want[i].type);
		}
		assert_int_equal(gmem_read(mem, X86_CMDLINE, line, sizeof(line)), 0);
		assert_string_equal(line, "console=ttyS0");
		/* Flat code of 64 bits, flat data, at the selectors that boot.rst names. */
		assert_int_equal(get_at(mem, X86_GDT + 0x10, 8) >> 32 & 0xffff00, 0xaf9b00);
		assert_int_equal(get_at(mem, X86_GDT + 0x18, 8) >> 32 & 0xffff00, 0xcf9300);
		assert_int_equal(get_at(mem, X86_RESET, 4), 0x64e6feb0); /* OUT to 0x64 */
		check_tables(mem);
		kernel_close(&k);
		gmem_destroy(mem);
	}
}

static void start_info(void **state)
{
	const struct kernel k = { .pvh = true };

	(void)state;
	for (unsigned has_initrd = 0; has_initrd < 2; has_initrd++) {
		struct gmem *mem = make_mem(32 * MIB);
		const struct x86_boot_config c = {
			.ram_low = 32 * MIB,
			.ram_high = 2048 * MIB,
			.kernel = &k,
			.cmdline = "x",
			.initrd = has_initrd ? 20 * MIB : 0,
			.initrd_size = has_initrd ? 12345 : 0,
			.rsdp = X86_ACPI,
		};
		gpa_t info = X86_START_INFO, mods, map;

		assert_int_equal(x86_boot_load(&c, mem, NULL), 0);
		assert_int_equal(get_at(mem, info, 4), 0x336ec578);
		assert_int_equal(get_at(mem, info + 4, 4), 1);
		assert_int_equal(get_at(mem, info + 12, 4), has_initrd);
		mods = get_at(mem, info + 16, 8);
		assert_int_equal(get_at(mem, info + 24, 8), X86_CMDLINE);
		assert_int_equal(get_at(mem, info + 32, 8), X86_ACPI);
		map = get_at(mem, info + 40, 8);
		assert_int_equal(get_at(mem, info + 48, 4), 5);
		if (has_initrd) {
			assert_int_equal(get_at(mem, mods, 8), 20 * MIB);
			assert_int_equal(get_at(mem, mods + 8, 8), 12345);
		} else {
			assert_int_equal(mods, 0);
		}
		for (unsigned i = 0; i < 5; i++) {
			assert_int_equal(get_at(mem, map + 24 * i, 8), map_want[i].start);
			assert_int_equal(get_at(mem, map + 24 * i + 8, 8), map_want[i].size);
			assert_int_equal(get_at(mem, map + 24 * i + 16, 4), map_want[i].type);
		}
		assert_int_equal(get_at(mem, X86_GDT + 0x10, 8) >> 32 & 0xffff00, 0xcf9b00);
		assert_true(map + sizeof(map_want) < X86_ZERO_PAGE);
		gmem_destroy(mem);
	}
}

/* ---- MP table ---- */

static uint8_t sum(struct gmem *mem, gpa_t at_, size_t n)
{
	uint8_t total = 0;

	while (n--)
		total = (uint8_t)(total + get_at(mem, at_ + n, 1));
	return total;
}

static void mptable(void **state)
{
	static const uint8_t sizes[] = { 20, 8, 8, 8, 8 };
	struct gmem *mem = make_mem(2 * MIB);
	struct mptable_config c = {
		.base = X86_MPTABLE,
		.size_max = X86_BASE_MEMORY_END - X86_MPTABLE,
		.n_cpus = 8,
		.lapic = 0xfee00000,
		.ioapic = 0xfec00000,
		.ioapic_pins = 24,
	};
	unsigned counts[5] = { 0 }, boot = 0, n;
	struct err err = ERR_INIT;
	gpa_t head, e;

	(void)state;
	assert_int_equal(mptable_load(&c, mem, &err), 0);
	assert_int_equal(get_at(mem, c.base, 4), 0x5f504d5f); /* _MP_ */
	assert_int_equal(sum(mem, c.base, 16), 0);
	head = get_at(mem, c.base + 4, 4);
	assert_int_equal(get_at(mem, head, 4), 0x504d4350); /* PCMP */
	assert_int_equal(sum(mem, head, get_at(mem, head + 4, 2)), 0);
	assert_int_equal(get_at(mem, head + 36, 4), 0xfee00000);
	n = (unsigned)get_at(mem, head + 34, 2);
	e = head + 44;
	for (unsigned i = 0; i < n; i++) {
		unsigned type = (unsigned)get_at(mem, e, 1);

		assert_true(type < 5);
		counts[type]++;
		if (type == 0)
			boot += get_at(mem, e + 3, 1) & 2 ? 1 : 0;
		if (type == 2)
			assert_int_equal(get_at(mem, e + 4, 4), 0xfec00000);
		if (type == 3)
			assert_int_equal(get_at(mem, e + 5, 1), get_at(mem, e + 7, 1));
		e += sizes[type];
	}
	assert_int_equal(e, head + get_at(mem, head + 4, 2));
	assert_int_equal(boot, 1);
	assert_int_equal(counts[0], 8);
	assert_int_equal(counts[3], 24);
	assert_true(e <= X86_BASE_MEMORY_END);

	c.n_cpus = 60;
	assert_int_equal(mptable_load(&c, mem, &err), -E2BIG);
	c.n_cpus = 1;
	c.base = 2 * MIB;
	err = (struct err)ERR_INIT;
	assert_int_equal(mptable_load(&c, mem, &err), -EFAULT);
	gmem_destroy(mem);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bzimage_loads), cmocka_unit_test(bad_bzimage),
		cmocka_unit_test(elf_64bit),     cmocka_unit_test(elf_pvh),
		cmocka_unit_test(hostile_notes), cmocka_unit_test(elf_32bit),
		cmocka_unit_test(layout),        cmocka_unit_test(layout_elf),
		cmocka_unit_test(zero_page),     cmocka_unit_test(start_info),
		cmocka_unit_test(mptable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

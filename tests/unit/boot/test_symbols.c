/* SPDX-License-Identifier: MIT */
/*
 * Names for addresses: from ELF files of both classes, made here byte by byte, and from files that
 * are none, cut off, or lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/symbols.h"

static const char names[] = "\0main\0helper\0data\0$x\0bad\033name\0";
enum { MAIN = 1, HELPER = 6, DATA = 13, MAPPING = 18, BAD = 21 };

static const Elf64_Sym table[] = {
	{ 0 },
	{ .st_name = MAIN,
	  .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
	  .st_shndx = 1,
	  .st_value = 0x1000,
	  .st_size = 0x20 },
	{ .st_name = HELPER,
	  .st_info = ELF64_ST_INFO(STB_LOCAL, STT_NOTYPE),
	  .st_shndx = 1,
	  .st_value = 0x1020 },
	{ .st_name = MAPPING,
	  .st_info = ELF64_ST_INFO(STB_LOCAL, STT_NOTYPE),
	  .st_shndx = 1,
	  .st_value = 0x1020 },
	{ .st_name = DATA,
	  .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
	  .st_shndx = 1,
	  .st_value = 0x2000,
	  .st_size = 8 },
	{ .st_name = BAD,
	  .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
	  .st_shndx = 1,
	  .st_value = 0x3000,
	  .st_size = 8 },
	{ .st_name = 0xffffff,
	  .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
	  .st_shndx = 1,
	  .st_value = 0x4000,
	  .st_size = 8 },
	{ .st_name = MAIN, .st_shndx = SHN_UNDEF, .st_value = 0x5000 },
};

struct file {
	unsigned char bytes[4096];
	size_t size;
	char path[64];
};

static void put(struct file *f, size_t at, const void *from, size_t len)
{
	memcpy(f->bytes + at, from, len);
	f->size = at + len > f->size ? at + len : f->size;
}

/* A file of 64 bits: header, one segment at 0x100000 (physical 0x200000), three sections. */
static void make64(struct file *f)
{
	enum { STRINGS = 0x200, SYMBOLS = 0x300, SECTIONS = 0x600 };
	Elf64_Ehdr h = {
		.e_type = ET_EXEC, .e_phoff = 0x80, .e_phnum = 1, .e_shoff = SECTIONS, .e_shnum = 3
	};
	const Elf64_Phdr p = {
		.p_type = PT_LOAD, .p_vaddr = 0x1000, .p_paddr = 0x200000, .p_memsz = 0x1000
	};
	const Elf64_Shdr s[3] = {
		{ 0 },
		{ .sh_type = SHT_SYMTAB,
		  .sh_offset = SYMBOLS,
		  .sh_size = sizeof(table),
		  .sh_link = 2 },
		{ .sh_type = SHT_STRTAB, .sh_offset = STRINGS, .sh_size = sizeof(names) },
	};

	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	put(f, 0, &h, sizeof(h));
	put(f, 0x80, &p, sizeof(p));
	put(f, STRINGS, names, sizeof(names));
	put(f, SYMBOLS, table, sizeof(table));
	put(f, SECTIONS, s, sizeof(s));
}

static void make32(struct file *f)
{
	enum { STRINGS = 0x200, SYMBOLS = 0x300, SECTIONS = 0x600 };
	Elf32_Ehdr h = { .e_type = ET_EXEC, .e_shoff = SECTIONS, .e_shnum = 3 };
	const Elf32_Shdr s[3] = {
		{ 0 },
		{ .sh_type = SHT_SYMTAB,
		  .sh_offset = SYMBOLS,
		  .sh_size = sizeof(Elf32_Sym) * 2,
		  .sh_link = 2 },
		{ .sh_type = SHT_STRTAB, .sh_offset = STRINGS, .sh_size = sizeof(names) },
	};
	const Elf32_Sym y[2] = { { 0 },
				 { .st_name = MAIN,
				   .st_info = ELF32_ST_INFO(STB_GLOBAL, STT_FUNC),
				   .st_shndx = 1,
				   .st_value = 0x80001000,
				   .st_size = 4 } };

	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS32;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	put(f, 0, &h, sizeof(h));
	put(f, STRINGS, names, sizeof(names));
	put(f, SYMBOLS, y, sizeof(y));
	put(f, SECTIONS, s, sizeof(s));
}

static int open_bytes(struct file *f, struct symbols **y, struct err *err)
{
	int fd = memfd_create("symbols", MFD_CLOEXEC);
	assert_true(fd >= 0);
	snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", fd);
	assert_true(write(fd, f->bytes, f->size) == (ssize_t)f->size);
	*err = (struct err)ERR_INIT;
	int res = symbols_open(y, f->path, err);
	close(fd);
	return res;
}

static void expect(const struct symbols *y, uint64_t addr, const char *name)
{
	char text[96];
	symbols_name(y, addr, text, sizeof(text));
	assert_string_equal(text, name);
}

static void names64(void **state)
{
	struct file f = { .size = 0 };
	struct symbols *y;
	struct err err;

	(void)state;
	make64(&f);
	assert_int_equal(open_bytes(&f, &y, &err), 0);
	expect(y, 0x1000, " main");
	expect(y, 0x101f, " main+0x1f");
	expect(y, 0x1020, " helper"); /* not the assembler's mark there */
	expect(y, 0x1fff, " helper+0xfdf");
	expect(y, 0x2004, " data+0x4");
	expect(y, 0x2008, "");
	expect(y, 0xfff, "");
	expect(y, 0x3000, " bad?name");
	expect(y, 0x4000, "");            /* its name is nowhere */
	expect(y, 0x200004, " main+0x4"); /* a physical address */
	expect(y, 0x201000, "");
	expect(y, UINT64_MAX, "");
	expect(NULL, 0x1000, "");
	symbols_close(y);
}

static void names32(void **state)
{
	struct file f = { .size = 0 };
	struct symbols *y;
	struct err err;

	(void)state;
	make32(&f);
	assert_int_equal(open_bytes(&f, &y, &err), 0);
	expect(y, 0x80001002, " main+0x2");
	symbols_close(y);
}

static void refused(void **state)
{
	struct file f = { .size = 0 };
	struct symbols *y = NULL;
	struct err err;

	(void)state;
	put(&f, 0, "#!/bin/sh\n", 10);
	assert_true(open_bytes(&f, &y, &err) < 0);
	assert_non_null(strstr(err.msg, "no ELF file"));
	f.size = 0;
	assert_true(open_bytes(&f, &y, &err) < 0);
	make64(&f);
	((Elf64_Shdr *)(void *)(f.bytes + 0x600))[1].sh_type = SHT_PROGBITS;
	assert_true(open_bytes(&f, &y, &err) < 0);
	assert_non_null(strstr(err.msg, "stripped"));
	assert_true(symbols_open(&y, "/nowhere/vmlinux", &err) < 0);
}

/* Every length, and every field of every header at its worst: refused or harmless. */
static void damaged(void **state)
{
	static const uint64_t worst[] = { 0, 1, 0x7fff, 0xffffffff, 0x7fffffffffffffff, ~0ULL };
	struct symbols *y;
	struct err err;
	struct file f;
	char text[96];

	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		struct file good = { .size = 0 };
		(wide ? make64 : make32)(&good);
		for (size_t n = 0; n < good.size; n += 61) {
			f = good;
			f.size = n;
			if (open_bytes(&f, &y, &err) == 0)
				symbols_close(y);
			else
				assert_true(*err.msg);
		}
		for (size_t at = 16; at + 8 < good.size; at += 4)
			for (size_t k = 0; k < ARRAY_SIZE(worst); k++) {
				if (at == 0x100)
					at = 0x600; /* between them are names and symbols */
				f = good;
				memcpy(f.bytes + at, &worst[k], wide ? 8 : 4);
				if (open_bytes(&f, &y, &err) == 0) {
					symbols_name(y, 0x1004, text, sizeof(text));
					symbols_close(y);
				}
			}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names64),
		cmocka_unit_test(names32),
		cmocka_unit_test(refused),
		cmocka_unit_test(damaged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

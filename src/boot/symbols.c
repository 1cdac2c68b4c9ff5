/* SPDX-License-Identifier: MIT */
/*
 * ELF symbols, both classes, sorted by address. symbols.h has the contract.
 */
#include "boot/symbols.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "host/file.h"

/* No kernel has more: Linux, with all its modules built in, has a tenth of each. */
enum { TABLE_MAX = 256 << 20, SECTIONS_MAX = 65536, SEGMENTS_MAX = 16 };

struct symbol {
	uint64_t addr, size; /* size 0: up to the next */
	uint32_t name;       /* in `names` */
	uint8_t rank;        /* of several at one place, the one that says most is best */
};

struct symbols {
	char *names;
	size_t names_size; /* ends with a NUL that is ours */
	struct symbol *table;
	size_t n;
	struct {
		uint64_t virt, phys, size;
	} segments[SEGMENTS_MAX];
	unsigned n_segments;
};

struct source {
	const char *path;
	int fd;
	uint64_t size;
	bool wide; /* 64 bits */
};

static int damaged(const struct source *s, struct err *err)
{
	return err_set(err, -ENOEXEC,
		       "'%s' has no symbols that make sense: it is damaged or cut off", s->path);
}

/* Bytes of the file, in memory that the caller frees; `extra` zeros behind them. */
static void *bytes_at(const struct source *s, uint64_t off, uint64_t len, size_t extra)
{
	if (!range_ok(off, len, s->size) || len > TABLE_MAX)
		return NULL;
	char *p = malloc((size_t)len + extra + 1);
	if (p && file_read_at(s->fd, p, (size_t)len, off) < 0) {
		free(p);
		return NULL;
	}
	if (p)
		memset(p + len, 0, extra + 1);
	return p;
}

static Elf64_Shdr section(const struct source *s, const void *table, size_t i)
{
	if (s->wide) {
		Elf64_Shdr h;
		memcpy(&h, (const char *)table + i * sizeof(h), sizeof(h));
		return (Elf64_Shdr){ .sh_type = le32toh(h.sh_type),
				     .sh_offset = le64toh(h.sh_offset),
				     .sh_size = le64toh(h.sh_size),
				     .sh_link = le32toh(h.sh_link) };
	}
	Elf32_Shdr h;
	memcpy(&h, (const char *)table + i * sizeof(h), sizeof(h));
	return (Elf64_Shdr){ .sh_type = le32toh(h.sh_type),
			     .sh_offset = le32toh(h.sh_offset),
			     .sh_size = le32toh(h.sh_size),
			     .sh_link = le32toh(h.sh_link) };
}

static Elf64_Sym symbol(const struct source *s, const void *table, size_t i)
{
	if (s->wide) {
		Elf64_Sym y;
		memcpy(&y, (const char *)table + i * sizeof(y), sizeof(y));
		y.st_name = le32toh(y.st_name);
		y.st_shndx = le16toh(y.st_shndx);
		y.st_value = le64toh(y.st_value);
		y.st_size = le64toh(y.st_size);
		return y;
	}
	Elf32_Sym y;
	memcpy(&y, (const char *)table + i * sizeof(y), sizeof(y));
	return (Elf64_Sym){ .st_name = le32toh(y.st_name),
			    .st_info = y.st_info,
			    .st_shndx = le16toh(y.st_shndx),
			    .st_value = le32toh(y.st_value),
			    .st_size = le32toh(y.st_size) };
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Functions and labels of code and data; compilers' and assemblers' own labels say nothing. */
static void take(struct symbols *y, const struct source *s, const void *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		Elf64_Sym sym = symbol(s, table, i);
		unsigned type = ELF64_ST_TYPE(sym.st_info);
		const char *name = sym.st_name < y->names_size ? y->names + sym.st_name : "";

		if (sym.st_shndx == SHN_UNDEF || sym.st_shndx == SHN_ABS || type > STT_FUNC ||
		    !*name || *name == '$' || strncmp(name, ".L", 2) == 0)
			continue;
		y->table[y->n++] = (struct symbol){
			.addr = sym.st_value,
			.size = sym.st_size,
			.name = sym.st_name,
			.rank = (uint8_t)((type == STT_FUNC) * 2 +
					  (ELF64_ST_BIND(sym.st_info) == STB_GLOBAL)),
		};
	}
	qsort(y->table, y->n, sizeof(*y->table), by_address);
}

static int read_symbols(struct symbols *y, const struct source *s, uint64_t off, size_t n,
			struct err *err)
{
	size_t width = s->wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	size_t each = s->wide ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	void *sections = n <= SECTIONS_MAX ? bytes_at(s, off, n * width, 0) : NULL;
	int res = -ENOENT;

	if (!sections)
		return damaged(s, err);
	for (size_t i = 0; i < n && res == -ENOENT; i++) {
		Elf64_Shdr h = section(s, sections, i);
		if (h.sh_type != SHT_SYMTAB)
			continue;
		Elf64_Shdr strings = { 0 };
		if (h.sh_link < n)
			strings = section(s, sections, h.sh_link);
		void *table = bytes_at(s, h.sh_offset, h.sh_size, 0);
		y->names = bytes_at(s, strings.sh_offset, strings.sh_size, 1);
		y->names_size = (size_t)strings.sh_size + 1;
		size_t count = (size_t)h.sh_size / each;
		/* Only now that as much is in the file: a size is anything. */
		if (table && y->names)
			y->table = calloc(count + 1, sizeof(*y->table));
		res = table && y->names && y->table ? 0 : damaged(s, err);
		if (!res)
			take(y, s, table, count);
		free(table);
	}
	free(sections);
	if (res == -ENOENT || (!res && !y->n))
		return err_set(err, -ENOEXEC,
			       "'%s' has no symbols: it was stripped; give the file as the linker "
			       "made it",
			       s->path);
	return res;
}

/* Where the segments are, so that an address can be physical. None is no mistake. */
static void read_segments(struct symbols *y, const struct source *s, uint64_t off, size_t n)
{
	size_t each = s->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	char *table = bytes_at(s, off, n * each, 0);

	for (size_t i = 0; table && i < n && y->n_segments < SEGMENTS_MAX; i++) {
		Elf64_Phdr p;
		Elf32_Phdr narrow;
		if (s->wide) {
			memcpy(&p, table + i * each, each);
			p.p_type = le32toh(p.p_type);
			p.p_vaddr = le64toh(p.p_vaddr);
			p.p_paddr = le64toh(p.p_paddr);
			p.p_memsz = le64toh(p.p_memsz);
		} else {
			memcpy(&narrow, table + i * each, each);
			p.p_type = le32toh(narrow.p_type);
			p.p_vaddr = le32toh(narrow.p_vaddr);
			p.p_paddr = le32toh(narrow.p_paddr);
			p.p_memsz = le32toh(narrow.p_memsz);
		}
		if (p.p_type != PT_LOAD || p.p_vaddr == p.p_paddr)
			continue;
		y->segments[y->n_segments].virt = p.p_vaddr;
		y->segments[y->n_segments].phys = p.p_paddr;
		y->segments[y->n_segments++].size = p.p_memsz;
	}
	free(table);
}

static int read_file(struct symbols *y, struct source *s, struct err *err)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} u = { 0 };
	size_t head = s->size < sizeof(u) ? (size_t)s->size : sizeof(u);

	if (file_read_at(s->fd, &u, head, 0) < 0 || head < sizeof(u.e32) ||
	    memcmp(u.ident, ELFMAG, SELFMAG) != 0 || u.ident[EI_DATA] != ELFDATA2LSB ||
	    (u.ident[EI_CLASS] != ELFCLASS32 && u.ident[EI_CLASS] != ELFCLASS64))
		return err_set(err, -ENOEXEC,
			       "'%s' is no ELF file, so there are no symbols in it; of Linux, that "
			       "is the file 'vmlinux'",
			       s->path);
	s->wide = u.ident[EI_CLASS] == ELFCLASS64;
	if (s->wide && head < sizeof(u.e64))
		return damaged(s, err);
	if (s->wide) {
		read_segments(y, s, le64toh(u.e64.e_phoff), le16toh(u.e64.e_phnum));
		return read_symbols(y, s, le64toh(u.e64.e_shoff), le16toh(u.e64.e_shnum), err);
	}
	read_segments(y, s, le32toh(u.e32.e_phoff), le16toh(u.e32.e_phnum));
	return read_symbols(y, s, le32toh(u.e32.e_shoff), le16toh(u.e32.e_shnum), err);
}

int symbols_open(struct symbols **out, const char *path, struct err *err)
{
	struct source s = { .path = path };
	int res = file_open(path, false, &s.fd, &s.size, err);

	if (res)
		return res;
	struct symbols *y = calloc(1, sizeof(*y));
	res = y ? read_file(y, &s, err) : err_set(err, -ENOMEM, "no memory for symbols");
	close(s.fd);
	if (res) {
		symbols_close(y);
		return res;
	}
	*out = y;
	return 0;
}

void symbols_close(struct symbols *y)
{
	if (!y)
		return;
	free(y->names);
	free(y->table);
	free(y);
}

/* The last symbol at or below the address, if it reaches that far. */
static const struct symbol *find(const struct symbols *y, uint64_t addr)
{
	enum { FAR = 1 << 20 }; /* beyond it, "+0x..." tells nothing any more */
	size_t lo = 0, hi = y->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (y->table[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	const struct symbol *s = &y->table[lo - 1];
	return addr - s->addr < (s->size ? s->size : FAR) ? s : NULL;
}

void symbols_name(const struct symbols *y, uint64_t addr, char *text, size_t size)
{
	const struct symbol *s = y ? find(y, addr) : NULL;

	for (unsigned i = 0; y && !s && i < y->n_segments; i++)
		if (addr - y->segments[i].phys < y->segments[i].size) {
			addr += y->segments[i].virt - y->segments[i].phys;
			s = find(y, addr);
		}
	*text = 0;
	if (!s)
		return;
	if (addr == s->addr)
		snprintf(text, size, " %.80s", y->names + s->name);
	else
		snprintf(text, size, " %.80s+%#llx", y->names + s->name,
			 (unsigned long long)(addr - s->addr));
	/* Names are the file's: nothing in them may talk to a terminal. */
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

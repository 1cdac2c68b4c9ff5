/* SPDX-License-Identifier: MIT */
/*
 * ELF files. Both classes are read into the wider one's form, so that there is one check for both.
 */
#include "boot/elf_file.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"

/* No kernel is larger, and none has more program headers. */
#define SEGMENT_SIZE_MAX (1ULL << 30)
enum { HEADERS_MAX = 64 };

static unsigned long long ull(uint64_t v)
{
	return v;
}

static int refuse(const struct kernel *k, const char *why, struct err *err)
{
	return err_set(err, -ENOEXEC, "cannot boot '%s': it is an ELF file for %s %s", k->path,
		       k->arch & KERNEL_X86_64  ? "x86"
		       : k->arch & KERNEL_ARM64 ? "arm64"
						: "RISC-V",
		       why);
}

static int cut_off(const struct kernel *k, uint64_t need, struct err *err)
{
	return err_set(err, -EINVAL,
		       "'%s' is cut off: it has %llu bytes and should have %llu; copy or build it "
		       "again",
		       k->path, ull(k->len), ull(need));
}

struct header {
	bool wide; /* ELFCLASS64 */
	uint16_t type, n;
	uint64_t entry, table;
};

static int read_ehdr(struct kernel *k, struct header *h, struct err *err)
{
	union {
		unsigned char ident[EI_NIDENT];
		Elf32_Ehdr e32;
		Elf64_Ehdr e64;
	} u;
	uint16_t phentsize;
	size_t size;
	int r = kernel_read(k, &u, sizeof(u.e32), 0, err);

	if (r < 0)
		return r;
	h->wide = u.ident[EI_CLASS] == ELFCLASS64;
	if (!h->wide && u.ident[EI_CLASS] != ELFCLASS32)
		return refuse(k, "that is neither 32-bit nor 64-bit; it is damaged", err);
	if (h->wide) {
		size = sizeof(u.e64);
		if (k->len < size)
			return cut_off(k, size, err);
		r = kernel_read(k, &u, size, 0, err);
		if (r < 0)
			return r;
		h->type = le16toh(u.e64.e_type);
		h->n = le16toh(u.e64.e_phnum);
		h->entry = le64toh(u.e64.e_entry);
		h->table = le64toh(u.e64.e_phoff);
		phentsize = le16toh(u.e64.e_phentsize);
		size = sizeof(Elf64_Phdr);
	} else {
		h->type = le16toh(u.e32.e_type);
		h->n = le16toh(u.e32.e_phnum);
		h->entry = le32toh(u.e32.e_entry);
		h->table = le32toh(u.e32.e_phoff);
		phentsize = le16toh(u.e32.e_phentsize);
		size = sizeof(Elf32_Phdr);
	}
	if (k->arch == KERNEL_RISCV && h->wide && !(k->wanted & KERNEL_RV64))
		return refuse(k,
			      "of 64 bits, and the machine has 32; use the machine riscv64, or "
			      "give a 32-bit one",
			      err);
	if (k->arch == KERNEL_RISCV && !h->wide && !(k->wanted & KERNEL_RV32))
		return refuse(k,
			      "of 32 bits, and the machine has 64; use the machine riscv32, or "
			      "give a 64-bit one",
			      err);
	if (k->arch == KERNEL_ARM64 && !h->wide)
		return refuse(k, "of 32 bits (ILP32); give a 64-bit one", err);
	if (h->type == ET_REL)
		return refuse(k, "that is not linked yet (an object file); link it", err);
	if (h->type != ET_EXEC && h->type != ET_DYN)
		return refuse(k, "that is no program", err);
	if (h->n == 0)
		return refuse(k, "without program headers: nothing of it is to be loaded", err);
	if (h->n > HEADERS_MAX || phentsize != size)
		return refuse(k, "with program headers that make no sense; it is damaged", err);
	if (!range_ok(h->table, h->n * (uint64_t)size, k->len))
		return cut_off(k, h->table + h->n * (uint64_t)size, err);
	return 0;
}

static int read_phdr(const struct kernel *k, const struct header *h, unsigned i, Elf64_Phdr *p,
		     struct err *err)
{
	Elf32_Phdr narrow;
	int r;

	if (h->wide) {
		r = kernel_read(k, p, sizeof(*p), h->table + i * sizeof(*p), err);
		if (r < 0)
			return r;
		*p = (Elf64_Phdr){
			.p_type = le32toh(p->p_type),
			.p_offset = le64toh(p->p_offset),
			.p_vaddr = le64toh(p->p_vaddr),
			.p_paddr = le64toh(p->p_paddr),
			.p_filesz = le64toh(p->p_filesz),
			.p_memsz = le64toh(p->p_memsz),
			.p_align = le64toh(p->p_align),
		};
		return 0;
	}
	r = kernel_read(k, &narrow, sizeof(narrow), h->table + i * sizeof(narrow), err);
	if (r < 0)
		return r;
	*p = (Elf64_Phdr){
		.p_type = le32toh(narrow.p_type),
		.p_offset = le32toh(narrow.p_offset),
		.p_vaddr = le32toh(narrow.p_vaddr),
		.p_paddr = le32toh(narrow.p_paddr),
		.p_filesz = le32toh(narrow.p_filesz),
		.p_memsz = le32toh(narrow.p_memsz),
		.p_align = le32toh(narrow.p_align),
	};
	return 0;
}

/* arm64: no physical address has more bits than this (Arm ARM, ID_AA64MMFR0_EL1.PARange). */
enum { ARM64_PA_BITS = 52 };

static int add_segment(struct kernel *k, const Elf64_Phdr *p, struct err *err)
{
	if (p->p_filesz > p->p_memsz)
		return refuse(k, "with a segment larger in the file than in memory; it is damaged",
			      err);
	if (k->arch == KERNEL_ARM64 && p->p_paddr >> ARM64_PA_BITS)
		return refuse(k,
			      "that does not say where it goes, as Linux's vmlinux; give the Image "
			      "made from it (arch/arm64/boot/Image, or objcopy -O binary vmlinux "
			      "Image)",
			      err);
	if (p->p_paddr > UINT64_MAX - p->p_memsz)
		return err_set(
			err, -EINVAL,
			"cannot boot '%s': its segment at %#llx is %#llx bytes long, which is "
			"more than there are addresses; look at it with readelf -l",
			k->path, ull(p->p_paddr), ull(p->p_memsz));
	if (p->p_memsz > SEGMENT_SIZE_MAX)
		return err_set(err, -EINVAL,
			       "cannot boot '%s': its segment at %#llx wants %llu MiB of memory; "
			       "look at it with readelf -l",
			       k->path, ull(p->p_paddr), ull(p->p_memsz >> 20));
	if (!range_ok(p->p_offset, p->p_filesz, k->len))
		return cut_off(k,
			       p->p_offset > UINT64_MAX - p->p_filesz ? UINT64_MAX
								      : p->p_offset + p->p_filesz,
			       err);
	if (k->n_segments == KERNEL_SEGMENTS_MAX)
		return refuse(k, "with more than 16 segments; link it into fewer", err);
	k->segments[k->n_segments++] = (struct kernel_segment){
		.addr = p->p_paddr,
		.size = p->p_memsz,
		.off = p->p_offset,
		.copy = p->p_filesz,
	};
	return 0;
}

/*
 * How much of the segments' beginning is the file's headers, if that is where one begins in the
 * file, with what follows of zeros. Linkers pad them to a page, of 64 KiB at most.
 */
static int find_headers(struct kernel *k, const struct header *h, struct err *err)
{
	enum { PAGE_MAX = 64 << 10 };
	uint64_t size = h->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	uint64_t end = h->table + h->n * size; /* in the file; read_ehdr() */

	for (unsigned i = 0; i < k->n_segments; i++) {
		struct kernel_segment *s = &k->segments[i];
		uint64_t len = s->copy < PAGE_MAX ? s->copy : PAGE_MAX;
		uint8_t *bytes;
		int r;

		if (s->off || end > len)
			continue;
		bytes = malloc(len);
		if (!bytes)
			return err_set(err, -ENOMEM, "cannot look at '%s': out of memory", k->path);
		r = kernel_read(k, bytes, len, 0, err);
		while (!r && end < len && !bytes[end])
			end++;
		s->headers = end;
		free(bytes);
		return r;
	}
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct kernel_segment *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static int check_apart(struct kernel *k, struct err *err)
{
	qsort(k->segments, k->n_segments, sizeof(k->segments[0]), by_address);
	for (unsigned i = 1; i < k->n_segments; i++) {
		const struct kernel_segment *a = &k->segments[i - 1], *b = a + 1;

		if (a->addr + a->size > b->addr)
			return err_set(err, -EINVAL,
				       "cannot boot '%s': its segment at %#llx reaches up to %#llx "
				       "and into the one at %#llx; mend the linker script",
				       k->path, ull(a->addr), ull(a->addr + a->size - 1),
				       ull(b->addr));
	}
	return 0;
}

/*
 * The entry that a PT_NOTE segment names, if one does. A note is three words, its name and its
 * descriptor, each padded to 4 bytes, or to 8 in segments that are so aligned (gABI, "Note
 * Section").
 */
static int find_pvh(struct kernel *k, const Elf64_Phdr *p, struct err *err)
{
	enum { NOTES_MAX = 64 << 10, PHYS32_ENTRY = 18 };
	static const char name[] = "Xen";
	uint64_t align = p->p_align == 8 ? 8 : 4, size = p->p_filesz, at = 0;
	Elf64_Nhdr note; /* of three words in both classes */
	uint8_t *notes;
	int r;

	if (!range_ok(p->p_offset, size, k->len))
		return cut_off(k, p->p_offset > UINT64_MAX - size ? UINT64_MAX : p->p_offset + size,
			       err);
	if (size > NOTES_MAX)
		return 0;
	notes = malloc(size ? size : 1);
	if (!notes)
		return err_set(err, -ENOMEM, "cannot look at '%s': out of memory", k->path);
	r = kernel_read(k, notes, size, p->p_offset, err);
	while (!r && range_ok(at, sizeof(note), size)) {
		memcpy(&note, notes + at, sizeof(note));
		uint64_t name_at = at + sizeof(note), name_len = le32toh(note.n_namesz);
		uint64_t desc_at = align_up(name_at + name_len, align);
		uint64_t desc_len = le32toh(note.n_descsz);
		uint64_t entry = 0;

		at = align_up(desc_at + desc_len, align);
		if (!range_ok(name_at, name_len, size) || !range_ok(desc_at, desc_len, size))
			break;
		if (name_len != sizeof(name) || memcmp(notes + name_at, name, sizeof(name)) != 0 ||
		    le32toh(note.n_type) != PHYS32_ENTRY || (desc_len != 4 && desc_len != 8))
			continue;
		memcpy(&entry, notes + desc_at, desc_len);
		k->entry = le64toh(entry);
		k->pvh = true;
	}
	free(notes);
	return r;
}

static bool is_loaded(const struct kernel *k, gpa_t addr)
{
	for (unsigned i = 0; i < k->n_segments; i++)
		if (addr - k->segments[i].addr < k->segments[i].size)
			return true;
	return false;
}

/*
 * Where the first CPU begins; all headers have been seen. Linked to virtual addresses, e_entry is
 * one too, and `entry` what it is physically; or e_entry is physical all the same.
 */
static int check_entry(struct kernel *k, const struct header *h, gpa_t entry, struct err *err)
{
	/* Instructions of RISC-V are of 2 or 4 bytes, those of A64 of 4. */
	unsigned align = k->arch == KERNEL_ARM64 ? 4 : k->arch & KERNEL_RISCV ? 2 : 1;
	bool misaligned;

	if (!k->pvh)
		k->entry = is_loaded(k, entry) ? entry : h->entry;
	misaligned = k->entry % align;
	if (!is_loaded(k, k->entry) || misaligned)
		return err_set(err, -EINVAL,
			       "cannot boot '%s': it begins at %#llx, where %s; set ENTRY() in its "
			       "linker script",
			       k->path, ull(k->pvh ? k->entry : h->entry),
			       misaligned ? "no instruction can be" : "it has nothing loaded");
	if (!h->wide && !k->pvh && k->arch == KERNEL_X86_64)
		return refuse(k,
			      "of 32 bits, without the note that names a PVH entry; give a 64-bit "
			      "one, or one built with CONFIG_PVH",
			      err);
	return 0;
}

int elf_file_open(struct kernel *k, unsigned arch, struct err *err)
{
	gpa_t entry = UINT64_MAX;
	struct header h = { 0 };
	Elf64_Phdr p;
	int r;

	k->arch = arch;
	r = read_ehdr(k, &h, err);
	for (unsigned i = 0; !r && i < h.n; i++) {
		r = read_phdr(k, &h, i, &p, err);
		if (!r && p.p_type == PT_INTERP)
			r = refuse(k,
				   "that an operating system has to run (PT_INTERP); give a kernel",
				   err);
		if (!r && p.p_type == PT_NOTE && arch == KERNEL_X86_64)
			r = find_pvh(k, &p, err);
		if (r || p.p_type != PT_LOAD || !p.p_memsz)
			continue;
		r = add_segment(k, &p, err);
		if (entry == UINT64_MAX && h.entry >= p.p_vaddr && h.entry - p.p_vaddr < p.p_memsz)
			entry = p.p_paddr + (h.entry - p.p_vaddr);
	}
	if (!r && !k->n_segments)
		r = refuse(k, "in which nothing is to be loaded (no PT_LOAD segment)", err);
	if (!r)
		r = find_headers(k, &h, err);
	if (!r)
		r = check_apart(k, err);
	if (!r)
		r = check_entry(k, &h, entry, err);
	if (arch == KERNEL_RISCV)
		k->arch = h.wide ? KERNEL_RV64 : KERNEL_RV32;
	return r;
}

int elf_file_load(const struct kernel *k, struct gmem *mem, struct err *err)
{
	for (unsigned i = 0; i < k->n_segments; i++) {
		const struct kernel_segment *s = &k->segments[i];
		void *dst;
		int r;

		if (!s->copy)
			continue; /* memory is zero already */
		r = gmem_map(mem, s->addr, s->copy, GMEM_WRITE, &dst);
		if (r < 0)
			return err_set(err, r,
				       "'%s' does not fit: no %llu bytes of memory at %#llx",
				       k->path, ull(s->copy), ull(s->addr));
		r = kernel_read(k, dst, s->copy, s->off, err);
		gmem_unmap(mem, s->addr, s->copy, GMEM_WRITE);
		if (r < 0)
			return r;
	}
	return 0;
}

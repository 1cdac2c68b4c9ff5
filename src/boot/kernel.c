/* SPDX-License-Identifier: MIT */
/*
 * Recognising and loading kernels.
 */
#include "boot/kernel.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "boot/bzimage.h"
#include "boot/elf_file.h"
#include "host/file.h"

/* The head of an Image; booting.rst, section 4. RISC-V has the same, but for magic and flags. */
struct image_header {
	le32_t code0, code1;
	le64_t text_offset;
	le64_t image_size; /* 0 before Linux 3.17 */
	le64_t flags;
	le64_t res2, res3, res4;
	uint8_t magic[4];
	le32_t pe_offset; /* of the EFI program's header, when there is one */
};

enum {
	FLAG_BIG_ENDIAN = 1 << 0,
	FLAG_PAGE_SIZE_LO = 1,
	FLAG_PAGE_SIZE_HI = 2,
};

/* What booting.rst says to assume when image_size is 0. */
#define OLD_TEXT_OFFSET 0x80000
/* Nobody knows the bss of such a kernel; those of that age have less than a quarter of this. */
#define OLD_BSS_SLACK (8ULL << 20)

/* No kernel is larger. Bounds what is believed of a header and unpacked from an old image. */
#define IMAGE_SIZE_MAX (1ULL << 30)

/* As much of a file as its recognition looks at. */
enum { HEAD_SIZE = 4096 };

/* ---- The bytes behind a kernel: a file or memory ---- */

static uint64_t source_end(const struct kernel *k)
{
	return k->off + k->len;
}

/* Exactly `len` bytes at `off`, which the caller has checked against source_end(). */
static int source_read(const struct kernel *k, void *dst, size_t len, uint64_t off)
{
	if (k->fd >= 0)
		return file_read_at(k->fd, dst, len, off);
	memcpy(dst, k->data + off, len);
	return 0;
}

static int read_failed(const struct kernel *k, int code, struct err *err)
{
	return err_set(err, code, "cannot read the kernel '%s': %s", k->path,
		       code == -EIO ? "the host cannot read it, or it became shorter meanwhile"
				    : strerror(-code));
}

int kernel_read(const struct kernel *k, void *dst, size_t len, uint64_t off, struct err *err)
{
	int r = source_read(k, dst, len, off);

	return r < 0 ? read_failed(k, r, err) : 0;
}

/* ---- What is not a kernel for the machine, by name ---- */

struct format {
	uint16_t off;
	uint8_t len;
	const char *magic;
	const char *what; /* "it is ..." */
	const char *todo; /* NULL: see wrong_cpu() */
};

#define M(off, magic)        off, sizeof(magic) - 1, magic
#define UNPACK(tool, suffix) "unpack it first (" tool " -d < FILE > Image" suffix ")"
#define WRONG_CPU            NULL
#define UNWRAP               "convert it (qemu-img convert -O raw) and give it as a disk, with a kernel"
/* Taken, but for being packed. */
#define UNPACK_GZIP "unpack it first (gzip -dc < FILE > kernel)"

/* Looked up in order: the first that fits names the file. */
static const struct format formats[] = {
	{ M(0x38, "ARM\x64"), "an arm64 kernel", WRONG_CPU },
	{ M(0x30, "RISCV\0\0\0"), "a RISC-V kernel", WRONG_CPU },
	/* arch/arm/boot/compressed/head.S: 0x016f2818 behind eight instructions and a branch */
	{ M(0x24, "\x18\x28\x6f\x01"), "a 32-bit arm kernel (zImage)", WRONG_CPU },
	{ M(0, "\x27\x05\x19\x56"), "a U-Boot image (uImage)",
	  "take the payload out (dumpimage -p 0 -o Image FILE)" },
	{ M(0, "\x28\xb5\x2f\xfd"), "compressed with zstd", UNPACK("zstd", "") },
	{ M(0, "\xfd"
	       "7zXZ\0"),
	  "compressed with xz", UNPACK("xz", "") },
	{ M(0, "\x04\x22\x4d\x18"), "compressed with lz4", UNPACK("lz4", "") },
	{ M(0, "\x02\x21\x4c\x18"), "compressed with lz4", UNPACK("lz4", "") },
	{ M(0, "BZh"), "compressed with bzip2", UNPACK("bzip2", "") },
	{ M(0, "\x5d\0\0"), "compressed with lzma", UNPACK("lzma", "") },
	{ M(0, "\x89LZO"), "compressed with lzop", UNPACK("lzop", "") },
	{ M(0, "\x1f\x8b"), "gzip'd more than once", UNPACK("gzip", ".gz") },
	{ M(0, "070701"), "an initramfs (cpio archive)", "give it as the initrd, with a kernel" },
	{ M(0, "!<arch>\n"), "a Debian package or archive",
	  "unpack it (dpkg -x) and give the file boot/vmlinuz-* in it" },
	{ M(0, "PK\3\4"), "a zip archive", "unpack it first (unzip FILE)" },
	{ M(0, "7z\xbc\xaf\x27\x1c"), "a 7-Zip archive", "unpack it first (7z x FILE)" },
	{ M(0x101, "ustar"), "a tar archive", "unpack it first (tar -xf FILE)" },
	{ M(0, "QFI\xfb"), "a qcow2 disk image", UNWRAP },
	{ M(0, "KDMV"), "a VMDK disk image", UNWRAP },
	{ M(0, "vhdxfile"), "a VHDX disk image", UNWRAP },
	{ M(0, "conectix"), "a VHD disk image", UNWRAP },
	{ M(0x40, "\x7f\x10\xda\xbe"), "a VDI disk image", UNWRAP },
	{ M(0, "hsqs"), "a squashfs file system", "give it as a disk, with a kernel" },
	{ M(0x438, "\x53\xef"), "an ext4 file system", "give it as a disk, with a kernel" },
	{ M(0x200, "EFI PART"), "a disk with a GPT", "give it as a disk, with a kernel" },
	{ M(0x1fe, "\x55\xaa"), "a disk with an MBR", "give it as a disk, with a kernel" },
	{ M(0, "#!"), "a script", WRONG_CPU },
};

static const struct {
	uint16_t machine;
	const char *name;
} elf_machines[] = {
	{ EM_386, "32-bit x86" },
	{ EM_X86_64, "x86-64" },
	{ EM_ARM, "32-bit arm" },
	{ EM_AARCH64, "arm64" },
	{ EM_RISCV, "RISC-V" },
	{ EM_PPC64, "64-bit PowerPC" },
	{ EM_S390, "s390" },
	{ EM_MIPS, "MIPS" },
	{ EM_LOONGARCH, "LoongArch" },
	{ EM_PPC, "PowerPC" },
	{ EM_SPARCV9, "64-bit SPARC" },
};

static bool has(const uint8_t *head, size_t n, size_t off, const void *magic, size_t len)
{
	return off + len <= n && memcmp(head + off, magic, len) == 0;
}

static uint16_t head16(const uint8_t *head, size_t off, bool big)
{
	return (uint16_t)(big ? head[off] << 8 | head[off + 1] : head[off + 1] << 8 | head[off]);
}

static uint32_t head32(const uint8_t *head, size_t off)
{
	return (uint32_t)head16(head, off, false) | (uint32_t)head16(head, off + 2, false) << 16;
}

/* The set of architectures that an ELF file may be for: of those that may be ELF files. */
static unsigned elf_arch(const uint8_t *head, size_t n)
{
	if (n < sizeof(Elf32_Ehdr) || !has(head, n, 0, ELFMAG, SELFMAG) ||
	    head[EI_DATA] != ELFDATA2LSB)
		return 0;
	switch (head16(head, offsetof(Elf32_Ehdr, e_machine), false)) {
	case EM_AARCH64: return KERNEL_ARM64;
	case EM_RISCV: return KERNEL_RISCV;
	case EM_X86_64:
	case EM_386: return KERNEL_X86_64;
	default: return 0;
	}
}

/* What would do, by the set of what is wanted. */
static const char *wrong_cpu(const struct kernel *k)
{
	switch (k->wanted) {
	case KERNEL_ARM64: return "give an Image or ELF file built for arm64";
	case KERNEL_X86_64: return "give a bzImage or ELF file built for x86-64";
	case KERNEL_RV32: return "give an Image or ELF file built for 32-bit RISC-V";
	case KERNEL_RV64:
	case KERNEL_RISCV: return "give an Image or ELF file built for RISC-V";
	default: return "give a kernel built for arm64, RISC-V or x86-64";
	}
}

static int refuse(const struct kernel *k, const char *what, const char *todo, struct err *err)
{
	if (!todo)
		todo = wrong_cpu(k);
	return err_set(err, -ENOEXEC, "cannot boot the kernel '%s': it is %s%s; %s", k->path,
		       k->gzip ? "gzip'd, and inside " : "", what, todo);
}

static int refuse_elf(const struct kernel *k, const uint8_t *head, size_t n, struct err *err)
{
	char what[64];
	uint16_t machine;

	if (n <= EI_CLASS ||
	    n < (head[EI_CLASS] == ELFCLASS32 ? sizeof(Elf32_Ehdr) : sizeof(Elf64_Ehdr)))
		return refuse(k, "the beginning of an ELF file", "copy the file again", err);
	/* e_ident and e_machine are at the same place in both classes (gABI, chapter 4). */
	machine = head16(head, offsetof(Elf64_Ehdr, e_machine), head[EI_DATA] == ELFDATA2MSB);
	snprintf(what, sizeof(what), "an ELF file for machine %u", machine);
	for (size_t i = 0; i < ARRAY_SIZE(elf_machines); i++)
		if (elf_machines[i].machine == machine)
			snprintf(what, sizeof(what), "an ELF file for %s", elf_machines[i].name);
	return refuse(k, what, elf_arch(head, n) & k->wanted ? UNPACK_GZIP : WRONG_CPU, err);
}

/* A bzImage tells its version (Linux, Documentation/arch/x86/boot.rst, kernel_version). */
static int refuse_bzimage(const struct kernel *k, const uint8_t *head, size_t n, struct err *err)
{
	char what[128], version[65] = "";
	size_t off, len = 0;

	if (n >= 0x210) {
		off = (size_t)head16(head, 0x20e, false) + 0x200;
		if (!k->gzip && off > 0x200 && off < source_end(k)) {
			len = (size_t)(source_end(k) - off);
			len = len < sizeof(version) - 1 ? len : sizeof(version) - 1;
			if (source_read(k, version, len, off) < 0)
				version[0] = 0;
		}
	}
	/* The first word of it; it comes from the file, so only what can be printed. */
	for (len = 0; version[len] > ' ' && version[len] <= '~'; len++)
		;
	version[len] = 0;
	snprintf(what, sizeof(what), "an x86 kernel (bzImage%s%s)", len ? ", version " : "",
		 version);
	return refuse(k, what, k->wanted & KERNEL_X86_64 ? UNPACK_GZIP : WRONG_CPU, err);
}

/* An EFI program other than an arm64 Image: PE machine types as the PE/COFF specification
 * has them. */
static int refuse_pe(const struct kernel *k, const uint8_t *head, size_t n, struct err *err)
{
	uint32_t pe = n >= 0x40 ? head32(head, 0x3c) : 0;
	const char *what = "a DOS or EFI program";

	if (pe && pe < n && has(head, n, pe, "PE\0\0", 4) && n - pe >= 6) {
		switch (head16(head, pe + 4, false)) {
		case 0x8664: what = "an EFI program for x86-64"; break;
		case 0x014c: what = "an EFI program for 32-bit x86"; break;
		case 0xaa64: what = "an EFI program for arm64, but no Linux Image"; break;
		case 0x5064: what = "an EFI program for RISC-V"; break;
		}
	}
	return refuse(k, what, WRONG_CPU, err);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* `head` holds the first n bytes and is no kernel for the machine: say what it is. */
static int refuse_by_name(const struct kernel *k, const uint8_t *head, size_t n, struct err *err)
{
	uint8_t iso[5];

	if (has(head, n, 0, ELFMAG, SELFMAG))
		return refuse_elf(k, head, n, err);
	if (has(head, n, BZIMAGE_MAGIC, "HdrS", 4))
		return refuse_bzimage(k, head, n, err);
	if (has(head, n, 0, "\xd0\x0d\xfe\xed", 4)) {
		/* A FIT is a device tree with a node /images, early in it. */
		if (memmem(head, n, "\0\0\0\1images", 11))
			return refuse(
				k, "a U-Boot FIT image",
				"take the kernel out (dumpimage -T flat_dt -p 0 -o Image FILE)",
				err);
		return refuse(k, "a device tree", "give it as the device tree, with a kernel", err);
	}
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (has(head, n, formats[i].off, formats[i].magic, formats[i].len))
			return refuse(k, formats[i].what, formats[i].todo, err);
	if (has(head, n, 0, "MZ", 2))
		return refuse_pe(k, head, n, err);
	if (n < sizeof(struct image_header))
		return refuse(k, "too short to be a kernel", "check the file", err);
	/* The first 32 KiB of these are often zeros (ECMA-119, 6.2.1 and 8.1.2). */
	if (!k->gzip && source_end(k) > 0x8006 && source_read(k, iso, sizeof(iso), 0x8001) == 0 &&
	    memcmp(iso, "CD001", sizeof(iso)) == 0)
		return refuse(k, "an ISO 9660 image",
			      "take the kernel out of it (7z x FILE), or give it as a disk", err);
	if (is_zero(head, n))
		return refuse(k, "all zeros, as far as looked at",
			      "check that it was copied completely", err);
	return refuse(
		k, "in no format that hako knows",
		k->wanted == KERNEL_ARM64
			? "give an arm64 Image, gzip'd or not (arch/arm64/boot/Image), or an ELF "
			  "file"
		: k->wanted == KERNEL_X86_64
			? "give a bzImage (arch/x86/boot/bzImage) or an ELF file (vmlinux)"
		: k->wanted & ~(unsigned)KERNEL_RISCV
			? "give an Image for arm64 or RISC-V, a bzImage for x86-64, or an ELF file"
			: "give an Image, gzip'd or not (arch/riscv/boot/Image), or an ELF file",
		err);
}

/* ---- gzip ---- */

static int unpack_failed(const struct kernel *k, int zr, const char *why, struct err *err)
{
	switch (zr) {
	case Z_MEM_ERROR:
		return err_set(err, -ENOMEM, "cannot unpack the kernel '%s': out of memory",
			       k->path);
	case Z_BUF_ERROR:
		return err_set(
			err, -EINVAL,
			"the kernel '%s' is cut off: its gzip'd data ends too early; copy or "
			"download it again",
			k->path);
	default:
		return err_set(err, -EINVAL,
			       "the kernel '%s' is damaged: its gzip'd data does not unpack (%s); "
			       "copy or download it again",
			       k->path, why ? why : "bad data");
	}
}

/*
 * Unpack the stream into dst[0..cap), or into nothing when dst is NULL; *out is how much came. 1
 * when the stream ended there, 0 when there is more of it than cap.
 */
static int gunzip(const struct kernel *k, uint8_t *dst, uint64_t cap, uint64_t *out,
		  struct err *err)
{
	enum { CHUNK = 256 << 10 };
	enum { GZIP_BITS = 16 + MAX_WBITS }; /* zlib.h: expect a gzip header and trailer */
	z_stream z = { 0 };
	uint64_t off = k->off, left = k->len, done = 0;
	uint8_t *in, *nowhere;
	bool more = false;
	int r = 0, zr = Z_OK;

	*out = 0;
	in = malloc(2 * CHUNK);
	if (!in || inflateInit2(&z, GZIP_BITS) != Z_OK) {
		free(in);
		return unpack_failed(k, Z_MEM_ERROR, NULL, err);
	}
	nowhere = in + CHUNK;

	while (zr != Z_STREAM_END) {
		/* With cap reached, room for one byte more tells a trailer from more data. */
		bool full = done == cap;
		uint64_t room = full ? 1 : cap - done < CHUNK ? cap - done : CHUNK;

		if (z.avail_in == 0 && left) {
			size_t n = left < CHUNK ? (size_t)left : CHUNK;

			r = source_read(k, in, n, off);
			if (r < 0) {
				read_failed(k, r, err);
				break;
			}
			z.next_in = in;
			z.avail_in = (uInt)n;
			off += n;
			left -= n;
		}
		z.next_out = full || !dst ? nowhere : dst + done;
		z.avail_out = (uInt)room;
		zr = inflate(&z, Z_NO_FLUSH);
		room -= z.avail_out;
		if (full && room) {
			more = true;
			break;
		}
		done += room;
		/* A buffer error only says that nothing moved: the next round brings more. */
		if (zr == Z_BUF_ERROR && left)
			zr = Z_OK;
		if (zr != Z_OK && zr != Z_STREAM_END) {
			r = unpack_failed(k, zr, z.msg, err);
			break;
		}
	}
	inflateEnd(&z);
	free(in);
	*out = done;
	return r < 0 ? r : !more;
}

/* ---- The Image header ---- */

/*
 * An Image that is also an EFI program says how long its file must be: its sections have places in
 * the file (PE/COFF specification, "Section Table"). Without that nothing tells a truncated Image.
 */
static uint64_t pe_file_size(const uint8_t *head, size_t n)
{
	enum { COFF_SIZE = 24, SECTION_SIZE = 40 }; /* signature included */
	uint32_t pe = head32(head, 0x3c);
	uint64_t end = 0, table;
	unsigned sections;

	if (!pe || pe > n - COFF_SIZE || !has(head, n, pe, "PE\0\0", 4))
		return 0;
	sections = head16(head, pe + 6, false);
	table = (uint64_t)pe + COFF_SIZE + head16(head, pe + 20, false);
	for (unsigned i = 0; i < sections; i++, table += SECTION_SIZE) {
		uint64_t raw_end;

		if (table + SECTION_SIZE > n)
			break;
		raw_end = (uint64_t)head32(head, (size_t)table + 16) +
			  head32(head, (size_t)table + 20);
		if (raw_end > end)
			end = raw_end;
	}
	return end;
}

/*
 * An Image for RISC-V does not say for how many bits. What it says is its place, and that is 2 MiB
 * for 64 bits and 4 MiB for 32 (Linux, arch/riscv/kernel/head.S).
 */
static enum kernel_arch riscv_width(const struct kernel *k, uint64_t text_offset)
{
	if ((k->wanted & KERNEL_RISCV) != KERNEL_RISCV)
		return k->wanted & KERNEL_RV32 ? KERNEL_RV32 : KERNEL_RV64;
	return text_offset == 4 << 20 ? KERNEL_RV32 : KERNEL_RV64;
}

/* `head` holds the first n bytes of the Image itself. */
static int read_header(struct kernel *k, const uint8_t *head, size_t n, struct err *err)
{
	static const uint32_t page_sizes[] = { 0, 4096, 16384, 65536 };
	size_t magic = offsetof(struct image_header, magic);
	struct image_header h;
	uint64_t flags, need, unpacked;
	int r;

	if (!k->gzip && (elf_arch(head, n) & k->wanted))
		return elf_file_open(k, elf_arch(head, n), err);
	if (!k->gzip && (k->wanted & KERNEL_X86_64) && has(head, n, BZIMAGE_MAGIC, "HdrS", 4))
		return bzimage_open(k, head, n, err);
	if ((k->wanted & KERNEL_ARM64) && has(head, n, magic, "ARM\x64", 4))
		k->arch = KERNEL_ARM64;
	else if ((k->wanted & KERNEL_RISCV) && has(head, n, magic, "RSC\x05", 4))
		k->arch = KERNEL_RISCV;
	if (!k->arch || n < sizeof(h))
		return refuse_by_name(k, head, n, err);
	memcpy(&h, head, sizeof(h));

	flags = le64_get(h.flags);
	k->text_offset = le64_get(h.text_offset);
	k->image_size = le64_get(h.image_size);
	if (k->arch == KERNEL_RISCV)
		k->arch = riscv_width(k, k->text_offset);
	if (flags & FLAG_BIG_ENDIAN)
		return refuse(k,
			      k->arch == KERNEL_ARM64 ? "a big-endian arm64 kernel"
						      : "a big-endian RISC-V kernel",
			      "give one built with CONFIG_CPU_LITTLE_ENDIAN", err);
	if (k->arch == KERNEL_ARM64)
		k->page_size = page_sizes[bits(flags, FLAG_PAGE_SIZE_HI, FLAG_PAGE_SIZE_LO)];

	need = pe_file_size(head, n);
	if (!k->gzip && k->len < need)
		return err_set(err, -EINVAL,
			       "the kernel '%s' is cut off: it has %llu bytes and should have "
			       "%llu; copy or download it again",
			       k->path, (unsigned long long)k->len, (unsigned long long)need);

	if (k->image_size == 0 && k->arch == KERNEL_ARM64) {
		k->text_offset = OLD_TEXT_OFFSET;
		k->bss_slack = OLD_BSS_SLACK;
		k->image_size = k->len;
		if (k->gzip) {
			r = gunzip(k, NULL, IMAGE_SIZE_MAX + 1, &unpacked, err);
			if (r < 0)
				return r;
			k->image_size = unpacked;
		}
	}
	if (k->image_size < sizeof(h) || k->image_size > IMAGE_SIZE_MAX ||
	    k->text_offset > IMAGE_SIZE_MAX ||
	    (k->arch != KERNEL_ARM64 && k->text_offset % GMEM_PAGE_SIZE))
		return err_set(err, -EINVAL,
			       "the kernel '%s' is damaged: its header asks for %llu bytes at "
			       "offset %#llx; copy or download it again",
			       k->path, (unsigned long long)k->image_size,
			       (unsigned long long)k->text_offset);
	return 0;
}

/*
 * An EFI program that unpacks a kernel (Linux, drivers/firmware/efi/libstub/zboot-header.S): the
 * payload's place, size and packing are at 8, 12 and 24. 1: gzip'd, and `k` now stands for the
 * payload.
 */
static int open_zboot(struct kernel *k, const uint8_t *head, size_t n, struct err *err)
{
	char what[80], packing[9] = "";
	uint32_t off;

	if (!has(head, n, 0, "MZ", 2) || !has(head, n, 4, "zimg", 4) || n < 0x40)
		return 0;
	memcpy(packing, head + 24, sizeof(packing) - 1);
	for (char *c = packing; *c; c++)
		if (*c <= ' ' || *c > '~')
			*c = '?';
	if (strcmp(packing, "gzip") != 0) {
		snprintf(what, sizeof(what), "an EFI zboot image compressed with %s", packing);
		return refuse(k, what,
			      "give the Image that is inside (arch/*/boot/Image of the build), "
			      "or a gzip'd one",
			      err);
	}
	off = head32(head, 8);
	if (off < 0x40 || off >= k->len)
		return err_set(err, -EINVAL,
			       "the kernel '%s' is cut off: its packed part begins at byte %u of "
			       "%llu; copy or download it again",
			       k->path, off, (unsigned long long)k->len);
	/* The stream knows its own end; the payload size may or may not count the trailer. */
	k->off = off;
	k->len -= off;
	return 1;
}

/* `k` has its source, path and len; recognise it. */
static int recognise(struct kernel *k, struct err *err)
{
	uint8_t *head;
	uint64_t n;
	int r;

	if (k->len == 0)
		return err_set(err, -EINVAL, "the kernel '%s' is empty; check the file", k->path);
	head = malloc(HEAD_SIZE);
	if (!head)
		return err_set(err, -ENOMEM, "cannot look at the kernel '%s': out of memory",
			       k->path);
	n = k->len < HEAD_SIZE ? k->len : HEAD_SIZE;
	r = source_read(k, head, (size_t)n, 0);
	if (r < 0) {
		read_failed(k, r, err);
		goto out;
	}
	r = open_zboot(k, head, (size_t)n, err);
	if (r < 0)
		goto out;
	k->gzip = r == 1 || has(head, (size_t)n, 0, "\x1f\x8b", 2);
	if (k->gzip) {
		r = gunzip(k, head, HEAD_SIZE, &n, err);
		if (r < 0)
			goto out;
	}
	r = read_header(k, head, (size_t)n, err);
out:
	free(head);
	return r;
}

/* ---- Interface ---- */

static int open_file(struct kernel *k, const char *path, unsigned wanted, struct err *err)
{
	memset(k, 0, sizeof(*k));
	k->path = path;
	k->wanted = wanted;
	k->fd = -1;
	return file_open(path, false, &k->fd, &k->len, err);
}

int kernel_open(struct kernel *k, const char *path, unsigned wanted, struct err *err)
{
	int r = open_file(k, path, wanted, err);

	if (r < 0)
		return r;
	r = recognise(k, err);
	if (r < 0)
		kernel_close(k);
	return r;
}

int kernel_from_bytes(struct kernel *k, const void *data, size_t len, unsigned wanted,
		      struct err *err)
{
	int r;

	memset(k, 0, sizeof(*k));
	k->path = "from memory";
	k->wanted = wanted;
	k->fd = -1;
	k->len = len;
	if (len) {
		k->data = malloc(len);
		if (!k->data)
			return err_set(err, -ENOMEM,
				       "cannot keep a kernel of %zu bytes: out of "
				       "memory",
				       len);
		memcpy(k->data, data, len);
	}
	r = recognise(k, err);
	if (r < 0)
		kernel_close(k);
	return r;
}

/* Bytes without a header can be anything; what is surely something else is told. */
static int recognise_firmware(struct kernel *k, struct err *err)
{
	uint8_t head[64] = { 0 };
	size_t n = k->len < sizeof(head) ? (size_t)k->len : sizeof(head);
	int r;

	if (k->len == 0)
		return err_set(err, -EINVAL, "the firmware '%s' is empty; check the file", k->path);
	if (k->len > IMAGE_SIZE_MAX)
		return err_set(err, -EFBIG, "the firmware '%s' is too large: it has %llu MiB",
			       k->path, (unsigned long long)k->len >> 20);
	r = kernel_read(k, head, n, 0, err);
	if (r < 0)
		return r;
	if (elf_arch(head, n) & KERNEL_RISCV)
		return elf_file_open(k, KERNEL_RISCV, err);
	if (has(head, n, 0, ELFMAG, SELFMAG) || has(head, n, 0, "\x1f\x8b", 2) ||
	    has(head, n, 0x38, "RSC\x05", 4))
		return err_set(err, -ENOEXEC, "cannot start the firmware '%s': it is %s", k->path,
			       head[0] == 0x1f ? "gzip'd; unpack it first (gzip -d)"
			       : head[0] == ELFMAG[0]
				       ? "an ELF file for another CPU; give one for RISC-V"
				       : "a kernel; give it as the kernel");
	if ((k->wanted & KERNEL_RISCV) == KERNEL_RISCV)
		return err_set(err, -EINVAL,
			       "the firmware '%s' does not say which machine it is for, riscv64 or "
			       "riscv32; name the machine, or give the ELF file it was made from",
			       k->path);
	k->arch = k->wanted & KERNEL_RV64 ? KERNEL_RV64 : KERNEL_RV32;
	k->image_size = k->len;
	return 0;
}

int kernel_open_firmware(struct kernel *k, const char *path, unsigned wanted, struct err *err)
{
	int r = open_file(k, path, wanted, err);

	if (r < 0)
		return r;
	r = recognise_firmware(k, err);
	if (r < 0)
		kernel_close(k);
	return r;
}

void kernel_close(struct kernel *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
	free(k->data);
	k->data = NULL;
}

void kernel_cut_headers(struct kernel *k, gpa_t start)
{
	struct kernel_segment *s = k->segments;
	uint64_t cut = start - s->addr;

	if (!k->n_segments || s->addr >= start || cut > s->headers || cut >= s->size ||
	    k->entry < start)
		return;
	s->addr += cut;
	s->size -= cut;
	s->off += cut;
	s->copy -= cut;
	s->headers -= cut;
}

int kernel_elf_contains(const struct kernel *k, const void *what, size_t len)
{
	enum { CHUNK = 1 << 20 };
	uint8_t *chunk = malloc(CHUNK);
	int r = chunk ? 0 : -ENOMEM;

	for (unsigned i = 0; i < k->n_segments && r == 0; i++) {
		const struct kernel_segment *s = &k->segments[i];

		/* Chunks overlap by what a match may have in the one before. */
		for (uint64_t at = 0, n; r == 0 && at + len <= s->copy; at += n - len + 1) {
			n = s->copy - at < CHUNK ? s->copy - at : CHUNK;
			r = source_read(k, chunk, (size_t)n, s->off + at);
			if (r == 0)
				r = memmem(chunk, (size_t)n, what, len) != NULL;
		}
	}
	free(chunk);
	return r;
}

int kernel_load(const struct kernel *k, struct gmem *mem, gpa_t gpa, struct err *err)
{
	uint64_t len;
	void *dst;
	int r;

	if (k->n_segments)
		return elf_file_load(k, mem, err);
	r = gmem_map(mem, gpa, k->image_size, GMEM_WRITE, &dst);
	if (r < 0)
		return err_set(err, r,
			       "the kernel '%s' does not fit: no %llu bytes of memory at "
			       "%#llx",
			       k->path, (unsigned long long)k->image_size, (unsigned long long)gpa);
	if (k->gzip) {
		r = gunzip(k, dst, k->image_size, &len, err);
		if (r == 0)
			r = err_set(err, -EINVAL,
				    "the kernel '%s' is damaged: it unpacks to more than the %llu "
				    "bytes that its header announces",
				    k->path, (unsigned long long)k->image_size);
		else if (r > 0)
			r = 0;
	} else {
		/* What may follow, such as a signature, is not part of the kernel in memory. */
		len = k->len < k->image_size ? k->len : k->image_size;
		r = source_read(k, dst, (size_t)len, k->off);
		if (r < 0)
			read_failed(k, r, err);
	}
	gmem_unmap(mem, gpa, k->image_size, GMEM_WRITE);
	return r;
}

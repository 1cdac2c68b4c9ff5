/* SPDX-License-Identifier: MIT */
/*
 * Zero page, start info and the first CPU's tables.
 */
#include "boot/x86.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "boot/kernel.h"
#include "boot/random.h"

/* ---- Memory map: the same kinds of ranges in both ---- */

enum range_type { RANGE_RAM = 1, RANGE_RESERVED = 2 }; /* ACPI 6.4, table 15.3 */

struct range {
	uint64_t start, size;
	enum range_type type;
};
enum { RANGES_MAX = 5 };

static unsigned memory_map(const struct x86_boot_config *c, struct range r[RANGES_MAX])
{
	unsigned n = 0;

	r[n++] = (struct range){ 0, X86_MPTABLE, RANGE_RAM };
	r[n++] = (struct range){ X86_MPTABLE, X86_BASE_MEMORY_END - X86_MPTABLE, RANGE_RESERVED };
	r[n++] = (struct range){ X86_ACPI, X86_TABLES_END - X86_ACPI, RANGE_RESERVED };
	r[n++] = (struct range){ X86_TABLES_END, c->ram_low - X86_TABLES_END, RANGE_RAM };
	if (c->ram_high)
		r[n++] = (struct range){ 1ULL << 32, c->ram_high, RANGE_RAM };
	return n;
}

static int put(struct gmem *mem, gpa_t gpa, const void *data, size_t len, struct err *err)
{
	if (gmem_write(mem, gpa, data, len))
		return err_set(err, -EFAULT, "there is no memory at %#llx for the boot tables",
			       (unsigned long long)gpa);
	return 0;
}

/* ---- Zero page ---- */

/* Places in it (zero-page.rst), and in the setup header in it (boot.rst). */
enum {
	ACPI_RSDP_ADDR = 0x070,
	E820_ENTRIES = 0x1e8,
	BOOT_FLAG = 0x1fe,
	HEADER = 0x202,
	VERSION = 0x206,
	TYPE_OF_LOADER = 0x210,
	RAMDISK_IMAGE = 0x218,
	RAMDISK_SIZE = 0x21c,
	CMD_LINE_PTR = 0x228,
	KERNEL_ALIGNMENT = 0x230,
	SETUP_DATA = 0x250,
	E820_TABLE = 0x2d0,
	ZERO_PAGE_SIZE = 4096,

	LOADER_UNDEFINED = 0xff, /* boot.rst, type_of_loader */
};

struct e820_entry {
	le64_t addr, size;
	le32_t type;
} __attribute__((packed));

static void put16(uint8_t *page, size_t at, uint16_t val)
{
	const le16_t v = le16(val);

	memcpy(page + at, &v, sizeof(v));
}

static void put32(uint8_t *page, size_t at, uint32_t val)
{
	const le32_t v = le32(val);

	memcpy(page + at, &v, sizeof(v));
}

static void put64(uint8_t *page, size_t at, uint64_t val)
{
	const le64_t v = le64(val);

	memcpy(page + at, &v, sizeof(v));
}

/* A vmlinux has no setup header: the least that the kernel looks at. */
static void default_header(uint8_t *page)
{
	put16(page, BOOT_FLAG, 0xaa55);
	memcpy(page + HEADER, "HdrS", 4);
	put16(page, VERSION, 0x20c);
	put32(page, KERNEL_ALIGNMENT, 2 << 20);
}

/* A list of more data begins in the setup header (boot.rst, setup_data); ours has one entry. */
struct setup_data {
	le64_t next;
	le32_t type, len;
	uint8_t data[64];
};
enum { SETUP_RNG_SEED = 9 };

static int load_seed(struct gmem *mem, struct err *err)
{
	struct setup_data seed = {
		.type = le32(SETUP_RNG_SEED),
		.len = le32(sizeof(seed.data)),
	};
	int res = random_bytes(seed.data, sizeof(seed.data), err);

	return res ? res : put(mem, X86_SETUP_DATA, &seed, sizeof(seed), err);
}

static int load_zero_page(const struct x86_boot_config *c, struct gmem *mem, struct err *err)
{
	const struct kernel_bzimage *bz = &c->kernel->bzimage;
	uint8_t page[ZERO_PAGE_SIZE] = { 0 };
	struct range ranges[RANGES_MAX];
	unsigned n = memory_map(c, ranges);

	if (bz->header_len)
		memcpy(page + BZIMAGE_HEADER, bz->header, bz->header_len);
	else
		default_header(page);
	page[TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put32(page, CMD_LINE_PTR, X86_CMDLINE);
	put32(page, RAMDISK_IMAGE, (uint32_t)c->initrd);
	put32(page, RAMDISK_SIZE, c->initrd ? (uint32_t)c->initrd_size : 0);
	put64(page, SETUP_DATA, X86_SETUP_DATA);
	put64(page, ACPI_RSDP_ADDR, c->rsdp);
	page[E820_ENTRIES] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		const struct e820_entry e = {
			.addr = le64(ranges[i].start),
			.size = le64(ranges[i].size),
			.type = le32(ranges[i].type),
		};
		memcpy(page + E820_TABLE + i * sizeof(e), &e, sizeof(e));
	}
	return put(mem, X86_ZERO_PAGE, page, sizeof(page), err);
}

/* ---- Start info ---- */

enum { START_INFO_MAGIC = 0x336ec578, START_INFO_VERSION = 1 };

struct start_info {
	le32_t magic, version, flags, nr_modules;
	le64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
	le64_t memmap_paddr; /* from version 1 on */
	le32_t memmap_entries, reserved;
};
_Static_assert(sizeof(struct start_info) == 56, "struct hvm_start_info");

struct modlist_entry {
	le64_t paddr, size, cmdline_paddr, reserved;
};

struct memmap_entry {
	le64_t addr, size;
	le32_t type, reserved;
};

static int load_start_info(const struct x86_boot_config *c, struct gmem *mem, struct err *err)
{
	struct range ranges[RANGES_MAX];
	unsigned n = memory_map(c, ranges);
	struct {
		struct start_info info;
		struct modlist_entry initrd;
		struct memmap_entry map[RANGES_MAX];
	} all = {
		.info = {
			.magic = le32(START_INFO_MAGIC),
			.version = le32(START_INFO_VERSION),
			.nr_modules = le32(c->initrd ? 1 : 0),
			.modlist_paddr = le64(c->initrd ? X86_START_INFO +
				offsetof(__typeof__(all), initrd) : 0),
			.cmdline_paddr = le64(X86_CMDLINE),
			.rsdp_paddr = le64(c->rsdp),
			.memmap_paddr = le64(X86_START_INFO + offsetof(__typeof__(all), map)),
			.memmap_entries = le32(n),
		},
		.initrd = { .paddr = le64(c->initrd), .size = le64(c->initrd_size) },
	};

	for (unsigned i = 0; i < n; i++)
		all.map[i] = (struct memmap_entry){
			.addr = le64(ranges[i].start),
			.size = le64(ranges[i].size),
			.type = le32(ranges[i].type),
		};
	return put(mem, X86_START_INFO, &all, sizeof(all), err);
}

/* ---- The first CPU's tables (Intel SDM volume 3A) ---- */

/* Segment descriptors, flat: 3.4.5. Accessed, so that the CPU need not write there. */
#define GDT_CODE_64 0x00af9b000000ffffULL
#define GDT_CODE_32 0x00cf9b000000ffffULL
#define GDT_DATA    0x00cf93000000ffffULL

/* Entries of page tables: 4.5.4. */
enum { PTE_PRESENT = 1 << 0, PTE_WRITE = 1 << 1, PTE_LARGE = 1 << 7, PTES = 512 };

static int load_gdt(bool pvh, struct gmem *mem, struct err *err)
{
	const le64_t gdt[X86_GDT_SIZE / 8] = {
		[X86_BOOT_CS / 8] = le64(pvh ? GDT_CODE_32 : GDT_CODE_64),
		[X86_BOOT_DS / 8] = le64(GDT_DATA),
	};

	return put(mem, X86_GDT, gdt, sizeof(gdt), err);
}

/* PML4, PDPT, and a page directory for each GiB of the first four, in pages of 2 MiB. */
static int load_page_tables(struct gmem *mem, struct err *err)
{
	enum { PML4, PDPT, PD, PDS = 4 };
	le64_t table[PTES] = { le64((X86_PAGE_TABLES + PDPT * GMEM_PAGE_SIZE) | PTE_PRESENT |
				    PTE_WRITE) };
	int res = put(mem, X86_PAGE_TABLES + PML4 * GMEM_PAGE_SIZE, table, sizeof(table), err);

	for (unsigned i = 0; i < PDS; i++)
		table[i] = le64((X86_PAGE_TABLES + (PD + i) * GMEM_PAGE_SIZE) | PTE_PRESENT |
				PTE_WRITE);
	if (!res)
		res = put(mem, X86_PAGE_TABLES + PDPT * GMEM_PAGE_SIZE, table, sizeof(table), err);
	for (unsigned pd = 0; pd < PDS && !res; pd++) {
		for (unsigned i = 0; i < PTES; i++)
			table[i] = le64((uint64_t)(pd * PTES + i) << 21 | PTE_PRESENT | PTE_WRITE |
					PTE_LARGE);
		res = put(mem, X86_PAGE_TABLES + (PD + pd) * (gpa_t)GMEM_PAGE_SIZE, table,
			  sizeof(table), err);
	}
	return res;
}

static int load_reset(struct gmem *mem, struct err *err)
{
	static const uint8_t code[] = {
		0xb0, 0xfe, /* mov al, 0xfe: pulse the reset line */
		0xe6, 0x64, /* out 0x64, al */
		0xf4,       /* hlt */
		0xeb, 0xfd, /* jmp to the hlt */
	};

	return put(mem, X86_RESET, code, sizeof(code), err);
}

int x86_boot_load(const struct x86_boot_config *c, struct gmem *mem, struct err *err)
{
	bool pvh = c->kernel->pvh;
	int res = put(mem, X86_CMDLINE, c->cmdline, strlen(c->cmdline) + 1, err);

	if (!res)
		res = load_reset(mem, err);
	if (!res)
		res = load_gdt(pvh, mem, err);
	if (!res)
		res = pvh ? load_start_info(c, mem, err) : load_zero_page(c, mem, err);
	if (!res && !pvh)
		res = load_seed(mem, err);
	return res || pvh ? res : load_page_tables(mem, err);
}

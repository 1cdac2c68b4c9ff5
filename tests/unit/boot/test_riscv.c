/* SPDX-License-Identifier: MIT */
/*
 * What boots on RISC-V machines: Images, ELF files and firmware, where everything goes, and the
 * device tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/dtb.h"
#include "boot/kernel.h"
#include "boot/layout.h"
#include "mem/gmem.h"

#define RAM      0x80000000ULL
#define RAM_SIZE (16ULL << 20)
#define MIB      (1ULL << 20)

/* ---- ELF files ---- */

enum { ELF_SIZE = 8192, N_SEGMENTS = 3 };

struct elf64 {
	Elf64_Ehdr e;
	Elf64_Phdr p[N_SEGMENTS];
	uint8_t data[ELF_SIZE - sizeof(Elf64_Ehdr) - N_SEGMENTS * sizeof(Elf64_Phdr)];
};
struct elf32 {
	Elf32_Ehdr e;
	Elf32_Phdr p[N_SEGMENTS];
	uint8_t data[ELF_SIZE - sizeof(Elf32_Ehdr) - N_SEGMENTS * sizeof(Elf32_Phdr)];
};

/* Text and data out of order, linked to virtual addresses, and a segment that is not loaded. */
#define FILL(f, class, virt)                                 \
	do {                                                 \
		memset(&(f), 0x5a, sizeof(f));               \
		memset(&(f).e, 0, sizeof((f).e));            \
		memset((f).p, 0, sizeof((f).p));             \
		memcpy((f).e.e_ident, ELFMAG, SELFMAG);      \
		(f).e.e_ident[EI_CLASS] = (class);           \
		(f).e.e_ident[EI_DATA] = ELFDATA2LSB;        \
		(f).e.e_type = ET_EXEC;                      \
		(f).e.e_machine = EM_RISCV;                  \
		(f).e.e_entry = (virt) + 0x200010;           \
		(f).e.e_phoff = sizeof((f).e);               \
		(f).e.e_phentsize = sizeof((f).p[0]);        \
		(f).e.e_phnum = N_SEGMENTS;                  \
		(f).p[0].p_type = PT_LOAD;                   \
		(f).p[0].p_offset = 4096;                    \
		(f).p[0].p_vaddr = (virt) + 0x204000;        \
		(f).p[0].p_paddr = 0x80204000;               \
		(f).p[0].p_filesz = 100;                     \
		(f).p[0].p_memsz = 0x3000;                   \
		(f).p[1] = (f).p[0];                         \
		(f).p[1].p_offset = 2048;                    \
		(f).p[1].p_vaddr = (virt) + 0x200000;        \
		(f).p[1].p_paddr = 0x80200000;               \
		(f).p[1].p_filesz = (f).p[1].p_memsz = 2000; \
		(f).p[2].p_type = PT_NOTE;                   \
		(f).p[2].p_memsz = 1 << 30;                  \
	} while (0)

static struct elf64 make64(void)
{
	struct elf64 f;

	FILL(f, ELFCLASS64, 0xffffffff80000000ULL);
	return f;
}

static int open_elf(struct kernel *k, const struct elf64 *f, struct err *err)
{
	return kernel_from_bytes(k, f, sizeof(*f), KERNEL_ANY, err);
}

static void elf_loads(void **state)
{
	struct elf64 wide = make64();
	struct elf32 narrow;

	(void)state;
	FILL(narrow, ELFCLASS32, 0xc0000000);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t seen[4096], want[2000];
		struct gmem *mem;
		struct kernel k;

		assert_int_equal(gmem_create(&mem, NULL), 0);
		assert_int_equal(gmem_add_ram(mem, RAM, RAM_SIZE, NULL), 0);
		assert_int_equal(kernel_from_bytes(&k, i ? (void *)&wide : (void *)&narrow,
						   ELF_SIZE, KERNEL_RISCV, NULL),
				 0);
		assert_int_equal(k.arch, i ? KERNEL_RV64 : KERNEL_RV32);
		assert_int_equal(k.n_segments, 2);
		assert_int_equal(kernel_elf_start(&k), 0x80200000);
		assert_int_equal(kernel_elf_end(&k), 0x80207000);
		assert_int_equal(k.entry, 0x80200010);
		assert_int_equal(kernel_load(&k, mem, 0, NULL), 0);
		memset(want, 0x5a, sizeof(want));
		assert_int_equal(gmem_read(mem, 0x80200000, seen, sizeof(seen)), 0);
		assert_memory_equal(seen, want, 2000);
		assert_int_equal(seen[2000], 0);
		assert_int_equal(gmem_read(mem, 0x80204000, seen, sizeof(seen)), 0);
		assert_memory_equal(seen, want, 100);
		assert_int_equal(seen[100], 0);
		kernel_close(&k);
		gmem_destroy(mem);
	}
}

/* One change to a good file each, and a word of what is said. */
static void bad_elf(void **state)
{
#define CASE(change, code, says)                                \
	do {                                                    \
		struct elf64 f = make64();                      \
		struct err err = ERR_INIT;                      \
		struct kernel k;                                \
		change;                                         \
		assert_int_equal(open_elf(&k, &f, &err), code); \
		assert_non_null(strstr(err.msg, says));         \
	} while (0)

	(void)state;
	CASE(f.e.e_ident[EI_CLASS] = 3, -ENOEXEC, "neither");
	CASE(f.e.e_ident[EI_DATA] = ELFDATA2MSB, -ENOEXEC, "ELF");
	CASE(f.e.e_machine = EM_S390, -ENOEXEC, "s390");
	CASE(f.e.e_type = ET_REL, -ENOEXEC, "not linked");
	CASE(f.e.e_type = ET_CORE, -ENOEXEC, "no program");
	CASE(f.e.e_phnum = 0, -ENOEXEC, "without program headers");
	CASE(f.e.e_phnum = 0xffff, -ENOEXEC, "make no sense");
	CASE(f.e.e_phentsize = 1, -ENOEXEC, "make no sense");
	CASE(f.e.e_phoff = ELF_SIZE - 1, -EINVAL, "cut off");
	CASE(f.e.e_phoff = UINT64_MAX, -EINVAL, "cut off");
	CASE(f.p[0].p_offset = ELF_SIZE - 99, -EINVAL, "cut off");
	CASE(f.p[0].p_offset = UINT64_MAX - 50, -EINVAL, "cut off");
	CASE(f.p[0].p_filesz = 0x3001, -ENOEXEC, "larger in the file");
	CASE(f.p[0].p_memsz = 2ULL << 30, -EINVAL, "2048 MiB");
	CASE(f.p[0].p_memsz = UINT64_MAX, -EINVAL, "more than there are addresses");
	CASE(f.p[0].p_paddr = UINT64_MAX - 100, -EINVAL, "more than there are addresses");
	CASE(f.p[0].p_paddr = 0x80200000 + 1999, -EINVAL, "reaches up to 0x802007cf");
	CASE(f.p[0].p_paddr = 0x80200000 - 1, -EINVAL, "into the one at 0x80200000");
	CASE(f.e.e_entry = 0xffffffff80203000ULL, -EINVAL, "nothing loaded");
	CASE(f.e.e_entry += 1, -EINVAL, "no instruction");
	CASE(f.p[0].p_type = f.p[1].p_type = PT_NOTE, -ENOEXEC, "nothing is to be loaded");
	CASE(f.p[2].p_type = PT_INTERP, -ENOEXEC, "an operating system has to run");
#undef CASE
	/* Cut anywhere: refused or whole, and never read beyond. */
	for (size_t len = 1; len < 4096 + 100; len += 7) {
		struct elf64 f = make64();
		uint8_t *cut = malloc(len);
		struct err err = ERR_INIT;
		struct kernel k;

		assert_non_null(cut);
		memcpy(cut, &f, len);
		assert_true(kernel_from_bytes(&k, cut, len, KERNEL_RISCV, &err) < 0);
		assert_true(err.msg[0]);
		if (len >= SELFMAG && len < sizeof(f.e))
			assert_true(strstr(err.msg, "beginning of") || strstr(err.msg, "cut off"));
		free(cut);
	}
}

static void wrong_width(void **state)
{
	struct elf64 wide = make64();
	struct elf32 narrow;
	struct err err = ERR_INIT;
	struct kernel k;

	(void)state;
	FILL(narrow, ELFCLASS32, 0x80000000);
	assert_int_equal(kernel_from_bytes(&k, &wide, sizeof(wide), KERNEL_RV32, &err), -ENOEXEC);
	assert_non_null(strstr(err.msg, "of 64 bits, and the machine has 32"));
	err = (struct err)ERR_INIT;
	assert_int_equal(kernel_from_bytes(&k, &narrow, sizeof(narrow), KERNEL_RV64, &err),
			 -ENOEXEC);
	assert_non_null(strstr(err.msg, "of 32 bits, and the machine has 64"));
	err = (struct err)ERR_INIT;
	assert_int_equal(kernel_from_bytes(&k, &wide, sizeof(wide), KERNEL_ARM64, &err), -ENOEXEC);
	assert_non_null(strstr(err.msg, "ELF file for RISC-V"));
}

/* ---- Images ---- */

static void make_image(uint8_t image[8192], uint64_t text_offset, uint64_t size, uint64_t flags)
{
	memset(image, 0, 8192);
	memcpy(image + 8, &text_offset, 8);
	memcpy(image + 16, &size, 8);
	memcpy(image + 24, &flags, 8);
	memcpy(image + 48, "RISCV\0\0\0RSC\x05", 12);
}

static void images(void **state)
{
	static const struct {
		uint64_t text_offset, size, flags;
		unsigned wanted;
		int code;
		enum kernel_arch arch;
	} cases[] = {
		{ 2 * MIB, 9000, 0, KERNEL_ANY, 0, KERNEL_RV64 },
		{ 4 * MIB, 9000, 0, KERNEL_ANY, 0, KERNEL_RV32 },
		{ 4 * MIB, 9000, 0, KERNEL_RV64, 0, KERNEL_RV64 },
		{ 0, 9000, 0, KERNEL_RV32, 0, KERNEL_RV32 },
		{ 2 * MIB, 9000, 0, KERNEL_ARM64, -ENOEXEC, 0 },
		{ 2 * MIB, 9000, 1, KERNEL_ANY, -ENOEXEC, 0 },
		{ 2 * MIB, 0, 0, KERNEL_ANY, -EINVAL, 0 },
		{ 2 * MIB + 1, 9000, 0, KERNEL_ANY, -EINVAL, 0 },
		{ UINT64_MAX - 4095, 9000, 0, KERNEL_ANY, -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = ERR_INIT;
		uint8_t image[8192];
		struct kernel k;

		make_image(image, cases[i].text_offset, cases[i].size, cases[i].flags);
		assert_int_equal(kernel_from_bytes(&k, image, sizeof(image), cases[i].wanted, &err),
				 cases[i].code);
		if (cases[i].code) {
			assert_true(err.msg[0]);
			continue;
		}
		assert_int_equal(k.arch, cases[i].arch);
		assert_int_equal(k.text_offset, cases[i].text_offset);
		kernel_close(&k);
	}
}

static void firmware_files(void **state)
{
	char path[] = "/tmp/hako-firmware-XXXXXX";
	int fd = mkstemp(path);
	struct elf64 f = make64();
	struct err err = ERR_INIT;
	uint8_t image[8192];
	struct kernel k;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(kernel_open_firmware(&k, path, KERNEL_RV64, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "empty"));
	memset(image, 0x13, sizeof(image));
	assert_int_equal(pwrite(fd, image, sizeof(image), 0), sizeof(image));
	assert_int_equal(kernel_open_firmware(&k, path, KERNEL_RV64, NULL), 0);
	assert_int_equal(k.image_size, sizeof(image));
	assert_int_equal(k.n_segments, 0);
	kernel_close(&k);
	err = (struct err)ERR_INIT;
	assert_int_equal(kernel_open_firmware(&k, path, KERNEL_RISCV, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "riscv64 or riscv32"));
	assert_int_equal(pwrite(fd, &f, sizeof(f), 0), sizeof(f));
	assert_int_equal(kernel_open_firmware(&k, path, KERNEL_RV64, NULL), 0);
	assert_int_equal(k.n_segments, 2);
	kernel_close(&k);
	make_image(image, 2 * MIB, 9000, 0);
	assert_int_equal(pwrite(fd, image, sizeof(image), 0), sizeof(image));
	err = (struct err)ERR_INIT;
	assert_int_equal(kernel_open_firmware(&k, path, KERNEL_RV64, &err), -ENOEXEC);
	assert_non_null(strstr(err.msg, "give it as the kernel"));
	close(fd);
	unlink(path);
}

/* ---- Layout ---- */

static void check_layout(const struct layout_config *c, const struct layout *l)
{
	const uint64_t at[] = { l->kernel, l->dtb, l->initrd, l->firmware, l->firmware_page };
	const uint64_t size[] = { c->kernel->image_size, c->dtb_size, c->initrd_size,
				  c->firmware ? c->firmware->image_size : 0,
				  c->firmware ? GMEM_PAGE_SIZE : 0 };

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		if (!size[i])
			continue;
		assert_true(at[i] >= c->ram_base);
		assert_true(range_ok(at[i] - c->ram_base, size[i], c->ram_size));
		for (size_t j = 0; j < i; j++)
			assert_true(!size[j] || at[i] + size[i] <= at[j] ||
				    at[j] + size[j] <= at[i]);
	}
}

static void layouts(void **state)
{
	static const uint64_t sizes[] = { 64,       4096,    MIB,       2 * MIB,   27 * MIB,
					  64 * MIB, 1 << 30, INT64_MAX, UINT64_MAX };
	static const uint64_t rams[] = { 16 * MIB, 64 * MIB, 512 * MIB, 2048 * MIB };
	static const uint64_t trees[] = { 0, RAM + 40 * MIB, RAM + 16 * MIB - DTB_SIZE_MAX, RAM };
	size_t fits = 0, refused = 0;

	(void)state;
	for (unsigned r = 0; r < ARRAY_SIZE(rams) * ARRAY_SIZE(trees); r++)
		for (unsigned i = 0; i < ARRAY_SIZE(sizes) * 7; i++)
			for (unsigned fw = 0; fw < 3; fw++)
				for (unsigned wide = 0; wide < 2; wide++) {
					struct kernel firmware = { .path = "fw",
								   .image_size = fw * 3 * MIB };
					struct kernel kernel = {
						.path = "kernel",
						.arch = wide ? KERNEL_RV64 : KERNEL_RV32,
						.text_offset = (wide ? 2 : 4) * MIB,
						.image_size = sizes[i % 7],
					};
					struct layout_config c = {
						.ram_base = RAM,
						.ram_size = rams[r / ARRAY_SIZE(trees)],
						.kernel = &kernel,
						.firmware = fw ? &firmware : NULL,
						.initrd_size = i < 7 ? 0 : sizes[i / 7],
						.dtb_size = DTB_SIZE_MAX,
						.dtb_addr = trees[r % ARRAY_SIZE(trees)],
					};
					struct err err = ERR_INIT;
					struct layout l;

					if (layout_riscv(&l, &c, &err)) {
						assert_true(err.msg[0]);
						refused++;
						continue;
					}
					fits++;
					check_layout(&c, &l);
					if (fw == 1) /* a 4 MiB-aligned place for 32 bits */
						assert_int_equal(l.kernel, RAM + 4 * MIB);
				}
	assert_true(fits > 300 && refused > 300);
}

static void elf_layouts(void **state)
{
	struct elf64 f = make64();
	struct kernel fw = { .path = "fw", .image_size = MIB };
	struct err err = ERR_INIT;
	struct layout l;
	struct kernel k;

	(void)state;
	assert_int_equal(open_elf(&k, &f, NULL), 0);
	struct layout_config c = {
		.ram_base = RAM, .ram_size = RAM_SIZE, .kernel = &k, .dtb_size = DTB_SIZE_MAX
	};
	assert_int_equal(layout_riscv(&l, &c, NULL), 0);
	assert_int_equal(l.kernel, 0x80200010);
	assert_int_equal(l.dtb, RAM + RAM_SIZE - DTB_SIZE_MAX);
	c.firmware = &fw;
	assert_int_equal(layout_riscv(&l, &c, NULL), 0);
	fw.image_size = 2 * MIB + 1;
	assert_int_equal(layout_riscv(&l, &c, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "where the firmware 'fw' is"));
	kernel_close(&k);

	c.firmware = NULL;
	for (unsigned i = 0; i < 4; i++) {
		static const uint64_t outside[] = { 0, 0x1000, RAM - 0x1000,
						    RAM + RAM_SIZE - 0x2000 };

		f = make64();
		f.p[0].p_paddr = outside[i];
		err = (struct err)ERR_INIT;
		assert_int_equal(open_elf(&k, &f, NULL), 0);
		assert_int_equal(layout_riscv(&l, &c, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "outside the memory"));
		kernel_close(&k);
	}
}

/* ---- The device tree ---- */

static void check_string(const void *blob, const char *path, const char *name, const char *want)
{
	const char *s = fdt_getprop(blob, fdt_path_offset(blob, path), name, NULL);

	assert_non_null(s);
	assert_string_equal(s, want);
}

static void check_u32(const void *blob, const char *path, const char *name, unsigned i,
		      uint32_t want)
{
	int len = 0;
	const fdt32_t *v = fdt_getprop(blob, fdt_path_offset(blob, path), name, &len);

	assert_non_null(v);
	assert_true((unsigned)len >= 4 * (i + 1));
	assert_int_equal(fdt32_to_cpu(v[i]), want);
}

static void check_list(const void *blob, const char *path, const char *name, int i,
		       const char *want)
{
	const char *s = fdt_stringlist_get(blob, fdt_path_offset(blob, path), name, i, NULL);

	assert_non_null(s);
	assert_string_equal(s, want);
}

static void tree(void **state)
{
	struct dtb_riscv_config c = {
		.ram_base = RAM,
		.ram_size = 512 * MIB,
		.n_cpus = 8,
		.timebase = 10000000,
		.machine_mode = true,
		.clint = { 0x2000000, 0x10000, 0 },
		.plic = { 0xc000000, 0x600000, 0 },
		.plic_sources = 95,
		.uart = { 0x10000000, 0x100, 10 },
		.rtc = { 0x101000, 0x1000, 11 },
		.test = { 0x100000, 0x1000, 0 },
		.virtio = { 0x10001000, 0x1000, 1 },
		.n_virtio = 8,
		.chosen = { .bootargs = "console=ttyS0", .rng_seed = true },
	};

	(void)state;
	for (unsigned wide = 0; wide < 2; wide++) {
		void *blob;
		size_t size;
		int len;

		c.rv64 = wide;
		c.isa = wide ? "rv64imafdc_zicboz_sstc_svpbmt" : "rv32imac_zicboz_sstc";
		c.mmu = wide ? "riscv,sv48" : "riscv,sv32";
		c.cboz_block = 64;
		assert_int_equal(dtb_riscv(&c, &blob, &size, NULL), 0);
		assert_int_equal(fdt_check_full(blob, size), 0);
		check_string(blob, "/", "compatible", "riscv-virtio");
		check_u32(blob, "/cpus", "timebase-frequency", 0, 10000000);
		check_string(blob, "/cpus/cpu@7", "mmu-type", wide ? "riscv,sv48" : "riscv,sv32");
		check_string(blob, "/cpus/cpu@7", "riscv,isa-base", wide ? "rv64i" : "rv32i");
		assert_int_equal(fdt_path_offset(blob, "/cpus/cpu@8"), -FDT_ERR_NOTFOUND);
		check_string(blob, "/cpus/cpu@0", "riscv,isa", c.isa);
		check_u32(blob, "/cpus/cpu@0", "riscv,cboz-block-size", 0, 64);
		assert_null(fdt_getprop(blob, fdt_path_offset(blob, "/cpus/cpu@0"),
					"riscv,cbom-block-size", NULL));
		check_list(blob, "/cpus/cpu@0", "riscv,isa-extensions", 0, "i");
		check_list(blob, "/cpus/cpu@0", "riscv,isa-extensions", wide ? 5 : 3, "c");
		check_list(blob, "/cpus/cpu@0", "riscv,isa-extensions", wide ? 7 : 5, "sstc");
		assert_int_equal(fdt_stringlist_search(blob, fdt_path_offset(blob, "/cpus/cpu@0"),
						       "riscv,isa-extensions", "svpbmt") >= 0,
				 wide);
		fdt_getprop(blob, fdt_path_offset(blob, "/soc/plic@c000000"), "interrupts-extended",
			    &len);
		assert_int_equal(len, 8 * 4 * 4);
		check_u32(blob, "/soc/plic@c000000", "interrupts-extended", 1, 11);
		check_u32(blob, "/soc/plic@c000000", "interrupts-extended", 3, 9);
		check_u32(blob, "/soc/plic@c000000", "interrupts-extended", 0,
			  fdt_get_phandle(
				  blob, fdt_path_offset(blob, "/cpus/cpu@0/interrupt-controller")));
		check_u32(blob, "/soc/clint@2000000", "interrupts-extended", 31, 7);
		check_u32(blob, "/soc/serial@10000000", "interrupts", 0, 10);
		check_u32(blob, "/soc/virtio_mmio@10008000", "interrupts", 0, 8);
		check_u32(blob, "/poweroff", "value", 0, 0x5555);
		check_u32(blob, "/reboot", "regmap", 0,
			  fdt_get_phandle(blob, fdt_path_offset(blob, "/soc/test@100000")));
		check_string(blob, "/chosen", "stdout-path", "/soc/serial@10000000");
		check_string(blob, "/chosen", "bootargs", "console=ttyS0");
		free(blob);
	}
}

/* Harts that only a hypervisor's guest has: no M-mode, so nothing that is made for it. */
static void tree_without_machine_mode(void **state)
{
	const struct dtb_riscv_config c = {
		.ram_base = RAM,
		.ram_size = 512 * MIB,
		.n_cpus = 2,
		.rv64 = true,
		.isa = "rv64imac",
		.timebase = 24000000,
		.plic = { 0xc000000, 0x600000, 0 },
		.plic_sources = 95,
		.uart = { 0x10000000, 0x100, 10 },
		.rtc = { 0x101000, 0x1000, 11 },
		.test = { 0x100000, 0x1000, 0 },
	};
	void *blob;
	size_t size;

	(void)state;
	assert_int_equal(dtb_riscv(&c, &blob, &size, NULL), 0);
	assert_int_equal(fdt_check_full(blob, size), 0);
	check_u32(blob, "/cpus", "timebase-frequency", 0, 24000000);
	assert_null(fdt_getprop(blob, fdt_path_offset(blob, "/cpus/cpu@0"), "mmu-type", NULL));
	check_u32(blob, "/soc/plic@c000000", "interrupts-extended", 1, UINT32_MAX);
	check_u32(blob, "/soc/plic@c000000", "interrupts-extended", 3, 9);
	int node;
	fdt_for_each_subnode(node, blob, fdt_path_offset(blob, "/soc"))
		assert_null(strstr(fdt_get_name(blob, node, NULL), "clint"));
	free(blob);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(elf_loads),      cmocka_unit_test(bad_elf),
		cmocka_unit_test(wrong_width),    cmocka_unit_test(images),
		cmocka_unit_test(layouts),        cmocka_unit_test(elf_layouts),
		cmocka_unit_test(tree),           cmocka_unit_test(tree_without_machine_mode),
		cmocka_unit_test(firmware_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

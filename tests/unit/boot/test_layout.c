/* SPDX-License-Identifier: MIT */
/*
 * Layout and command line: nothing overlaps whatever the sizes, and what does not fit is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/cmdline.h"
#include "boot/kernel.h"
#include "boot/layout.h"

#define RAM 0x40000000ULL
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static void check_apart(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	assert_true(a + a_size <= b || b + b_size <= a);
}

/* 0 when it fits, and then every rule is checked. */
static int lay_out(const struct layout_config *c, struct err *err)
{
	const struct kernel *k = c->kernel;
	uint64_t end = c->ram_base + c->ram_size;
	struct layout l;
	int r = layout_arm64(&l, c, err);

	if (r < 0)
		return r;
	assert_int_equal(l.kernel, c->ram_base + k->text_offset);
	assert_true(l.kernel + k->image_size + k->bss_slack <= end);

	assert_int_equal(l.dtb % 8, 0);
	assert_int_equal(l.dtb >> 21, (l.dtb + c->dtb_size - 1) >> 21);
	assert_true(l.dtb >= c->ram_base && l.dtb + c->dtb_size <= end);
	check_apart(l.kernel, k->image_size + k->bss_slack, l.dtb, c->dtb_size);
	if (c->dtb_addr)
		assert_int_equal(l.dtb, c->dtb_addr);

	if (!c->initrd_size) {
		assert_int_equal(l.initrd, 0);
		return 0;
	}
	assert_int_equal(l.initrd % GMEM_PAGE_SIZE, 0);
	assert_true(l.initrd >= c->ram_base && l.initrd + c->initrd_size <= end);
	check_apart(l.kernel, k->image_size + k->bss_slack, l.initrd, c->initrd_size);
	check_apart(l.dtb, c->dtb_size, l.initrd, c->initrd_size);
	assert_true(l.initrd + c->initrd_size <= align_down(l.kernel, GIB) + 32 * GIB);
	return 0;
}

static void every_size(void **state)
{
	static const uint64_t sizes[] = { 64,      4096,        MIB - 1,   MIB,       2 * MIB - 1,
					  2 * MIB, 2 * MIB + 1, 27 * MIB,  64 * MIB,  GIB - 1,
					  GIB,     33 * GIB,    INT64_MAX, UINT64_MAX };
	static const uint64_t offsets[] = { 0, 0x80000, 0x1ff000, 0x200000 };
	static const uint64_t rams[] = { 2 * MIB, 16 * MIB, 64 * MIB, 512 * MIB,
					 2 * GIB, 64 * GIB, 255 * GIB };
	static const uint64_t trees[] = { 1, 0x5000, DTB_SIZE_MAX };
	size_t fits = 0, refused = 0;

	(void)state;
	for (size_t r = 0; r < ARRAY_SIZE(rams); r++)
		for (size_t o = 0; o < ARRAY_SIZE(offsets); o++)
			for (size_t k = 0; k < 11; k++)
				for (size_t i = 0; i <= ARRAY_SIZE(sizes); i++)
					for (size_t t = 0; t < ARRAY_SIZE(trees); t++) {
						struct kernel kernel = {
							.text_offset = offsets[o],
							.image_size = sizes[k],
							.bss_slack = k % 2 ? 8 * MIB : 0,
						};
						struct layout_config c = {
							.ram_base = RAM,
							.ram_size = rams[r],
							.kernel = &kernel,
							.initrd_size = i ? sizes[i - 1] : 0,
							.dtb_size = trees[t],
						};
						struct err err = ERR_INIT;

						if (lay_out(&c, &err) == 0)
							fits++;
						else
							refused++;
						assert_int_equal(!err.code, !err.msg[0]);
					}
	assert_true(fits > 500 && refused > 500);
}

/* What is said to be enough is enough. */
static void told_memory_is_enough(void **state)
{
	struct kernel kernel = { .image_size = 27 * MIB };
	struct layout_config c = { .ram_base = RAM,
				   .ram_size = 32 * MIB,
				   .kernel = &kernel,
				   .initrd_size = 40 * MIB + 123,
				   .dtb_size = DTB_SIZE_MAX };
	struct err err = ERR_INIT;
	const char *told;

	(void)state;
	assert_int_equal(lay_out(&c, &err), -ENOMEM);
	assert_non_null(strstr(err.msg, "41 MiB"));
	assert_non_null(strstr(err.msg, "32 MiB of memory"));
	told = strstr(err.msg, "at least ");
	assert_non_null(told);
	c.ram_size = strtoull(told + 9, NULL, 10) * MIB;
	assert_int_equal(lay_out(&c, NULL), 0);
}

static void tree_where_asked(void **state)
{
	struct kernel kernel = { .image_size = 27 * MIB };
	struct layout_config c = {
		.ram_base = RAM, .ram_size = 256 * MIB, .kernel = &kernel, .dtb_size = 0x5000
	};
	static const struct {
		uint64_t addr;
		int code;
	} cases[] = {
		{ RAM + 64 * MIB, 0 },
		{ RAM + 64 * MIB + 4, -EINVAL },
		{ RAM + 64 * MIB - 8, -EINVAL },
		{ RAM, -EINVAL },
		{ RAM - 8, -EINVAL },
		{ RAM + 27 * MIB - 8, -EINVAL },
		{ RAM + 27 * MIB, 0 },
		{ RAM + 256 * MIB - 0x5000, 0 },
		{ RAM + 256 * MIB - 0x4ff8, -EINVAL },
		{ UINT64_MAX - 7, -EINVAL },
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		c.dtb_addr = cases[i].addr;
		c.initrd_size = 0;
		err = (struct err)ERR_INIT;
		assert_int_equal(lay_out(&c, &err), cases[i].code);
		/* In front of the tree, or behind it. */
		c.initrd_size = 30 * MIB;
		assert_int_equal(lay_out(&c, &err), cases[i].code);
		c.initrd_size = 100 * MIB;
		assert_int_equal(lay_out(&c, &err), cases[i].code);
	}
}

/* ---- Command line ---- */

static void check_line(const struct cmdline_config *config, const char *want)
{
	struct cmdline_config c = *config;
	char *line;

	c.console = "ttyAMA0";
	c.size = CMDLINE_SIZE_ARM64;
	assert_int_equal(cmdline_make(&line, &c, NULL), 0);
	assert_string_equal(line, want);
	free(line);
}

static void command_lines(void **state)
{
	(void)state;
	check_line(&(struct cmdline_config){ 0 }, "console=ttyAMA0 cryptomgr.notests");
	check_line(&(struct cmdline_config){ .root = "/dev/vda" },
		   "console=ttyAMA0 root=/dev/vda rw cryptomgr.notests");
	check_line(&(struct cmdline_config){ .root = "/dev/vdb", .root_readonly = true },
		   "console=ttyAMA0 root=/dev/vdb ro cryptomgr.notests");
	check_line(&(struct cmdline_config){ .no_reboot = true, .append = "quiet" },
		   "console=ttyAMA0 cryptomgr.notests panic=-1 quiet");
	check_line(&(struct cmdline_config){ .root = "PARTUUID=1-2",
					     .no_reboot = true,
					     .append = "quiet" },
		   "console=ttyAMA0 root=PARTUUID=1-2 rw cryptomgr.notests panic=-1 quiet");
	check_line(&(struct cmdline_config){ .base = "", .root = "/dev/vda" }, "");
	check_line(&(struct cmdline_config){ .base = "root=/dev/vda",
					     .root = "/dev/vdb",
					     .root_always = true,
					     .no_reboot = true,
					     .append = "c" },
		   "root=/dev/vda root=/dev/vdb rw c");
	check_line(&(struct cmdline_config){ .base = "a", .root_always = true }, "a");
	check_line(&(struct cmdline_config){ .base = "a=b", .append = "c" }, "a=b c");
	check_line(&(struct cmdline_config){ .base = "a=b", .append = "" }, "a=b");
}

static void command_line_length(void **state)
{
	char text[CMDLINE_SIZE_ARM64 + 1];
	struct cmdline_config c = { .base = text, .size = CMDLINE_SIZE_ARM64 };
	struct err err = ERR_INIT;
	char *line;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[CMDLINE_SIZE_ARM64 - 1] = 0;
	check_line(&c, text);
	text[CMDLINE_SIZE_ARM64 - 1] = 'x';
	text[CMDLINE_SIZE_ARM64] = 0;
	assert_int_equal(cmdline_make(&line, &c, &err), -E2BIG);
	assert_null(line);
	assert_non_null(strstr(err.msg, "2048"));
	assert_non_null(strstr(err.msg, "2047"));
}

/* The tree of an ELF file is at the start of RAM, if there is room for it before the kernel. */
static void elf_tree(void **state)
{
	static const struct {
		uint64_t at, tree, room; /* offsets of the kernel and the tree */
	} cases[] = {
		{ 0, 4 * MIB, DTB_SIZE_MAX },      { 0xf000, 4 * MIB, DTB_SIZE_MAX },
		{ 0x10000, 0, 0x10000 },           { 0x80000, 0, 0x80000 },
		{ DTB_SIZE_MAX, 0, DTB_SIZE_MAX }, { 5 * MIB + 4096, 0, DTB_SIZE_MAX },
		{ 13 * MIB, 0, DTB_SIZE_MAX },
	};
	struct kernel k = { .path = "elf", .n_segments = 1 };
	struct layout_config c = {
		.ram_base = RAM,
		.ram_size = 16 * MIB,
		.kernel = &k,
		.dtb_size = DTB_SIZE_MAX,
	};
	struct err err = ERR_INIT;
	struct layout l;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = RAM + cases[i].at;

		k.segments[0] = (struct kernel_segment){ .addr = at, .size = 2 * MIB + 4096 };
		k.entry = at + 16;
		c.initrd_size = 4096;
		assert_int_equal(layout_arm64(&l, &c, NULL), cases[i].at < 13 * MIB ? 0 : -ENOMEM);
		c.initrd_size = 0;
		assert_int_equal(layout_arm64(&l, &c, NULL), 0);
		assert_int_equal(l.kernel, at + 16);
		assert_int_equal(l.dtb, RAM + cases[i].tree);
		assert_int_equal(l.dtb_size, cases[i].room);
		check_apart(l.dtb, l.dtb_size, at, 2 * MIB + 4096);
	}
	k.segments[0].addr = RAM + 15 * MIB;
	assert_int_equal(layout_arm64(&l, &c, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "outside the memory"));
	k.segments[0].addr = RAM + 4 * MIB;
	c.dtb_addr = RAM + 2 * MIB;
	assert_int_equal(layout_arm64(&l, &c, NULL), 0);
	assert_int_equal(l.dtb, c.dtb_addr);
	c.dtb_addr = RAM + 4 * MIB;
	err = (struct err)ERR_INIT;
	assert_int_equal(layout_arm64(&l, &c, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "the kernel is there"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size),
		cmocka_unit_test(elf_tree),
		cmocka_unit_test(told_memory_is_enough),
		cmocka_unit_test(tree_where_asked),
		cmocka_unit_test(command_lines),
		cmocka_unit_test(command_line_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

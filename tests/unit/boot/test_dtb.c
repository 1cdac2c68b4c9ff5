/* SPDX-License-Identifier: MIT */
/*
 * Device trees: what libfdt reads back from ours, and what is done to others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/dtb.h"
#include "boot/layout.h"

static const struct dtb_arm64_config machine = {
	.ram_base = 0x40000000,
	.ram_size = 0x123400000,
	.n_cpus = 3,
	.gicd_base = 0x08000000,
	.gicd_size = 0x10000,
	.gic_version = 3,
	.gic_cpu_base = 0x080a0000,
	.gic_cpu_size = 0x60000,
	.ppi_secure = 13,
	.ppi_phys = 14,
	.ppi_virt = 11,
	.ppi_hyp = 10,
	.uart = { 0x09000000, 0x1000, 1 },
	.rtc = { 0x09010000, 0x1000, 2 },
	.virtio = { 0x0a000000, 0x200, 16 },
	.n_virtio = 32,
	.chosen = { .bootargs = "console=ttyAMA0 root=/dev/vda rw",
		    .initrd_start = 0x148000000,
		    .initrd_end = 0x148000123,
		    .rng_seed = true,
		    .kaslr_seed = true },
};

static void *build(const struct dtb_arm64_config *c)
{
	struct err err = ERR_INIT;
	void *blob;
	size_t size;

	assert_int_equal(dtb_arm64(c, &blob, &size, &err), 0);
	assert_int_equal(fdt_check_full(blob, size), 0);
	assert_true(size <= DTB_SIZE_MAX);
	return blob;
}

static int node(const void *blob, const char *path)
{
	int off = fdt_path_offset(blob, path);

	if (off < 0)
		fail_msg("no node %s", path);
	return off;
}

/* The cells of a property must be these. */
static void check_cells(const void *blob, const char *path, const char *name, size_t n, ...)
{
	int len;
	const fdt32_t *cells = fdt_getprop(blob, node(blob, path), name, &len);
	va_list args;

	if (!cells || (size_t)len != 4 * n)
		fail_msg("%s has no %s of %zu cells", path, name, n);
	va_start(args, n);
	for (size_t i = 0; i < n; i++) {
		uint32_t want = va_arg(args, uint32_t);

		if (fdt32_to_cpu(cells[i]) != want)
			fail_msg("%s %s: cell %zu is %#x and not %#x", path, name, i,
				 fdt32_to_cpu(cells[i]), want);
	}
	va_end(args);
}

static void check_string(const void *blob, const char *path, const char *name, const char *want)
{
	int len;
	const char *got = fdt_getprop(blob, node(blob, path), name, &len);

	if (!got)
		fail_msg("%s has no %s", path, name);
	assert_int_equal(len, strlen(want) + 1);
	assert_string_equal(got, want);
}

static bool has_prop(const void *blob, const char *path, const char *name)
{
	return fdt_getprop(blob, node(blob, path), name, NULL) != NULL;
}

static void our_tree(void **state)
{
	void *blob = build(&machine);
	uint32_t gic, clock;
	char path[64];
	int len;

	(void)state;
	check_string(blob, "/", "compatible", "linux,dummy-virt");
	check_cells(blob, "/", "#address-cells", 1, 2);
	check_cells(blob, "/", "#size-cells", 1, 2);
	gic = fdt_get_phandle(blob, node(blob, "/intc@8000000"));
	assert_true(gic);
	check_cells(blob, "/", "interrupt-parent", 1, gic);

	assert_int_equal(
		fdt_stringlist_search(blob, node(blob, "/psci"), "compatible", "arm,psci-1.0"), 0);
	assert_int_equal(
		fdt_stringlist_search(blob, node(blob, "/psci"), "compatible", "arm,psci-0.2"), 1);
	check_string(blob, "/psci", "method", "hvc");

	for (unsigned i = 0; i < machine.n_cpus; i++) {
		snprintf(path, sizeof(path), "/cpus/cpu@%u", i);
		check_string(blob, path, "device_type", "cpu");
		check_string(blob, path, "compatible", "arm,armv8");
		check_string(blob, path, "enable-method", "psci");
		check_cells(blob, path, "reg", 1, i);
	}
	assert_true(fdt_path_offset(blob, "/cpus/cpu@3") < 0);

	check_string(blob, "/memory@40000000", "device_type", "memory");
	check_cells(blob, "/memory@40000000", "reg", 4, 0, 0x40000000, 1, 0x23400000);

	check_string(blob, "/intc@8000000", "compatible", "arm,gic-v3");
	check_cells(blob, "/intc@8000000", "#interrupt-cells", 1, 3);
	check_cells(blob, "/intc@8000000", "reg", 8, 0, 0x08000000, 0, 0x10000, 0, 0x080a0000, 0,
		    0x60000);
	assert_true(has_prop(blob, "/intc@8000000", "interrupt-controller"));

	check_string(blob, "/timer", "compatible", "arm,armv8-timer");
	check_cells(blob, "/timer", "interrupts", 12, 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
	assert_true(has_prop(blob, "/timer", "always-on"));

	clock = fdt_get_phandle(blob, node(blob, "/apb-pclk"));
	assert_true(clock && clock != gic);
	check_cells(blob, "/apb-pclk", "clock-frequency", 1, 24000000);
	check_cells(blob, "/pl011@9000000", "reg", 4, 0, 0x09000000, 0, 0x1000);
	check_cells(blob, "/pl011@9000000", "interrupts", 3, 0, 1, 4);
	check_cells(blob, "/pl011@9000000", "clocks", 2, clock, clock);
	assert_int_equal(fdt_stringlist_search(blob, node(blob, "/pl011@9000000"), "compatible",
					       "arm,primecell"),
			 1);
	assert_int_equal(
		fdt_stringlist_search(blob, node(blob, "/pl011@9000000"), "clock-names", "uartclk"),
		0);
	check_cells(blob, "/pl031@9010000", "interrupts", 3, 0, 2, 4);

	for (unsigned i = 0; i < machine.n_virtio; i++) {
		snprintf(path, sizeof(path), "/virtio_mmio@%x", 0x0a000000 + 0x200 * i);
		check_string(blob, path, "compatible", "virtio,mmio");
		check_cells(blob, path, "reg", 4, 0, 0x0a000000 + 0x200 * i, 0, 0x200);
		check_cells(blob, path, "interrupts", 3, 0, 16 + i, 1);
		assert_true(has_prop(blob, path, "dma-coherent"));
	}

	check_string(blob, "/chosen", "bootargs", machine.chosen.bootargs);
	check_string(blob, "/chosen", "stdout-path", "/pl011@9000000");
	check_cells(blob, "/chosen", "linux,initrd-start", 2, 1, 0x48000000);
	check_cells(blob, "/chosen", "linux,initrd-end", 2, 1, 0x48000123);
	fdt_getprop(blob, node(blob, "/chosen"), "rng-seed", &len);
	assert_in_range(len, 32, 64);
	fdt_getprop(blob, node(blob, "/chosen"), "kaslr-seed", &len);
	assert_int_equal(len, 8);
	free(blob);
}

/* A host whose KVM has no GICv3. */
static void gicv2_tree(void **state)
{
	struct dtb_arm64_config config = machine;

	(void)state;
	config.gic_version = 2;
	config.gicd_size = 0x1000;
	config.gic_cpu_base = 0x08010000;
	config.gic_cpu_size = 0x2000;
	void *blob = build(&config);
	check_string(blob, "/intc@8000000", "compatible", "arm,cortex-a15-gic");
	check_cells(blob, "/intc@8000000", "reg", 8, 0, 0x08000000, 0, 0x1000, 0, 0x08010000, 0,
		    0x2000);
	assert_false(has_prop(blob, "/intc@8000000", "#redistributor-regions"));
	/* Three CPUs have the private interrupts (arm,gic.yaml: bits 15:8 of the flags). */
	check_cells(blob, "/timer", "interrupts", 12, 1, 13, 0x704, 1, 14, 0x704, 1, 11, 0x704, 1,
		    10, 0x704);
	free(blob);
}

static void bare_tree(void **state)
{
	struct dtb_arm64_config c = machine;
	void *blob;

	(void)state;
	c.n_cpus = 1;
	memset(&c.chosen, 0, sizeof(c.chosen));
	blob = build(&c);
	assert_false(has_prop(blob, "/chosen", "bootargs"));
	assert_false(has_prop(blob, "/chosen", "linux,initrd-start"));
	assert_false(has_prop(blob, "/chosen", "rng-seed"));
	assert_false(has_prop(blob, "/chosen", "kaslr-seed"));
	free(blob);
}

/* Larger than the first try of the builder. */
static void large_tree(void **state)
{
	struct dtb_arm64_config c = machine;
	char *line = malloc(100000);
	void *blob;

	(void)state;
	assert_non_null(line);
	memset(line, 'x', 100000);
	line[99999] = 0;
	c.chosen.bootargs = line;
	blob = build(&c);
	check_string(blob, "/chosen", "bootargs", line);
	free(blob);
	free(line);
}

static void seeds_differ(void **state)
{
	void *a = build(&machine), *b = build(&machine);
	int len;
	const void *x = fdt_getprop(a, node(a, "/chosen"), "rng-seed", &len);
	const void *y = fdt_getprop(b, node(b, "/chosen"), "rng-seed", &len);

	(void)state;
	assert_memory_not_equal(x, y, (size_t)len);
	free(a);
	free(b);
}

/* ---- Other people's trees ---- */

static void *foreign(const char *bootargs, size_t *size)
{
	void *blob = malloc(1024);

	assert_non_null(blob);
	assert_int_equal(fdt_create_empty_tree(blob, 1024), 0);
	assert_int_equal(fdt_setprop(blob, 0, "compatible", "somebody,board", 15), 0);
	if (bootargs) {
		int chosen = fdt_add_subnode(blob, 0, "chosen");

		assert_true(chosen > 0);
		assert_int_equal(
			fdt_setprop(blob, chosen, "bootargs", bootargs, (int)strlen(bootargs) + 1),
			0);
		assert_int_equal(fdt_setprop_u32(blob, chosen, "linux,initrd-start", 1), 0);
		assert_int_equal(fdt_setprop_u32(blob, chosen, "linux,initrd-end", 2), 0);
	}
	assert_int_equal(fdt_pack(blob), 0);
	*size = fdt_totalsize(blob);
	return blob;
}

static void updates(void **state)
{
	struct dtb_chosen chosen = machine.chosen;
	size_t size;
	void *blob;

	(void)state;
	/* No /chosen: everything comes in. */
	blob = foreign(NULL, &size);
	assert_int_equal(dtb_chosen_update(&blob, &size, &chosen, false, NULL), 0);
	assert_int_equal(fdt_check_full(blob, size), 0);
	check_string(blob, "/", "compatible", "somebody,board");
	check_string(blob, "/chosen", "bootargs", chosen.bootargs);
	check_cells(blob, "/chosen", "linux,initrd-end", 2, 1, 0x48000123);
	assert_true(has_prop(blob, "/chosen", "rng-seed"));
	free(blob);

	/* Its own command line stays, its own idea of an initrd does not. */
	blob = foreign("mine", &size);
	assert_int_equal(dtb_chosen_update(&blob, &size, &chosen, false, NULL), 0);
	check_string(blob, "/chosen", "bootargs", "mine");
	check_cells(blob, "/chosen", "linux,initrd-start", 2, 1, 0x48000000);
	assert_int_equal(dtb_chosen_update(&blob, &size, &chosen, true, NULL), 0);
	check_string(blob, "/chosen", "bootargs", chosen.bootargs);
	chosen.initrd_start = chosen.initrd_end = 0;
	assert_int_equal(dtb_chosen_update(&blob, &size, &chosen, false, NULL), 0);
	assert_false(has_prop(blob, "/chosen", "linux,initrd-start"));
	assert_false(has_prop(blob, "/chosen", "linux,initrd-end"));
	assert_int_equal(fdt_check_full(blob, size), 0);
	free(blob);
}

static void check_file(const char *path, const void *data, size_t n, int code, const char *says)
{
	struct err err = ERR_INIT;
	FILE *f = fopen(path, "w");
	size_t size;
	void *blob;

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	fclose(f);
	assert_int_equal(dtb_file(path, &blob, &size, &err), code);
	if (says && (!strstr(err.msg, says) || !strstr(err.msg, path)))
		fail_msg("'%s' does not say '%s' and '%s'", err.msg, path, says);
	if (!code)
		assert_int_equal(size, fdt_totalsize(blob));
	free(blob);
}

static void files(void **state)
{
	char path[] = "/tmp/hako-test.XXXXXX";
	int fd = mkstemp(path);
	size_t size, bad = 0;
	uint8_t *blob = foreign("mine", &size);
	uint8_t *large;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	check_file(path, blob, size, 0, NULL);
	check_file(path, "", 0, -EINVAL, "empty");
	check_file(path, "/dts-v1/;\n/ { };\n                                     ", 50, -EINVAL,
		   "dtc");
	check_file(path, "this is not a device tree, by no means at all", 46, -EINVAL,
		   "something else");
	large = calloc(1, DTB_SIZE_MAX + 1);
	assert_non_null(large);
	check_file(path, large, DTB_SIZE_MAX + 1, -EFBIG, "2097153");
	free(large);

	/* Every truncation is refused; a changed byte may be, and breaks nothing. */
	for (size_t n = 0; n < size; n++)
		check_file(path, blob, n, -EINVAL, path);
	for (size_t i = 0; i < size; i++) {
		struct dtb_chosen chosen = machine.chosen;
		struct err err = ERR_INIT;
		FILE *f = fopen(path, "w");
		void *copy;
		size_t n;

		assert_non_null(f);
		blob[i] ^= 0xff;
		assert_int_equal(fwrite(blob, 1, size, f), size);
		fclose(f);
		blob[i] ^= 0xff;
		if (dtb_file(path, &copy, &n, &err) < 0) {
			bad++;
			continue;
		}
		dtb_chosen_update(&copy, &n, &chosen, true, &err);
		free(copy);
	}
	assert_true(bad > 40); /* the header at least */
	unlink(path);
	free(blob);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(our_tree),     cmocka_unit_test(gicv2_tree),
		cmocka_unit_test(bare_tree),    cmocka_unit_test(large_tree),
		cmocka_unit_test(seeds_differ), cmocka_unit_test(updates),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

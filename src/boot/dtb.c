/* SPDX-License-Identifier: MIT */
/*
 * The device tree.
 */
#include "boot/dtb.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/layout.h"
#include "host/file.h"

/* The first two cells of an interrupt specifier, and the third (arm,gic-v3.yaml). */
enum { GIC_SPI = 0, GIC_PPI = 1 };
enum { IRQ_LEVEL_HIGH = 4 };

/* What nodes call each other by. */
enum { PHANDLE_GIC = 1, PHANDLE_CLOCK = 2 };

/* The PL011's and PL031's clock; any rate from which common baud rates can be divided down. */
enum { APB_CLOCK_HZ = 24000000 };

enum { RNG_SEED_SIZE = 64 };

enum { TREE_SIZE_FIRST = 16 << 10 };

static int tree_failed(const char *doing, int fdt_code, struct err *err)
{
	return err_set(err, fdt_code == -FDT_ERR_NOSPACE ? -ENOMEM : -EINVAL, "cannot %s: %s",
		       doing, fdt_strerror(fdt_code));
}

/* ---- Writing, front to back; the first failure sticks ---- */

struct writer {
	void *blob;
	int code; /* 0 or libfdt's error */
};

static void begin(struct writer *w, const char *name)
{
	if (!w->code)
		w->code = fdt_begin_node(w->blob, name);
}

/* name@address, as the specification wants it for nodes with registers (2.2.1.1) */
static void begin_at(struct writer *w, const char *name, uint64_t addr)
{
	char full[64];

	snprintf(full, sizeof(full), "%s@%llx", name, (unsigned long long)addr);
	begin(w, full);
}

static void end(struct writer *w)
{
	if (!w->code)
		w->code = fdt_end_node(w->blob);
}

static void prop(struct writer *w, const char *name, const void *val, size_t len)
{
	if (!w->code)
		w->code = fdt_property(w->blob, name, val, (int)len);
}

static void prop_empty(struct writer *w, const char *name)
{
	prop(w, name, NULL, 0);
}

static void prop_string(struct writer *w, const char *name, const char *val)
{
	prop(w, name, val, strlen(val) + 1);
}

/* A list of strings: a literal with a NUL between each two. */
#define prop_strings(w, name, literal) prop(w, name, literal, sizeof(literal))

static void prop_cells(struct writer *w, const char *name, const uint32_t *cells, size_t n)
{
	fdt32_t be[16];

	for (size_t i = 0; i < n; i++)
		be[i] = cpu_to_fdt32(cells[i]);
	prop(w, name, be, n * sizeof(be[0]));
}

#define prop_u32s(w, name, ...)                                \
	prop_cells(w, name, (const uint32_t[]){ __VA_ARGS__ }, \
		   sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

static void prop_u64(struct writer *w, const char *name, uint64_t val)
{
	fdt64_t be = cpu_to_fdt64(val);

	prop(w, name, &be, sizeof(be));
}

/* Pairs of address and size, two cells each. */
static void prop_reg(struct writer *w, const uint64_t *pairs, size_t n)
{
	fdt64_t be[4];

	for (size_t i = 0; i < 2 * n; i++)
		be[i] = cpu_to_fdt64(pairs[i]);
	prop(w, "reg", be, 2 * n * sizeof(be[0]));
}

/* ---- /chosen ---- */

static int random_bytes(void *dst, size_t len, struct err *err)
{
	ssize_t n;

	/* Up to 256 bytes come whole or not at all, getrandom(2). */
	do {
		n = getrandom(dst, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(err, -errno, "cannot get random bytes for the guest: %s",
			       strerror(errno));
	return 0;
}

struct seeds {
	uint8_t rng[RNG_SEED_SIZE];
	uint64_t kaslr;
};

static void write_chosen(struct writer *w, const struct dtb_chosen *c, const struct seeds *seeds,
			 const char *stdout_path)
{
	begin(w, "chosen");
	if (c->bootargs)
		prop_string(w, "bootargs", c->bootargs);
	prop_string(w, "stdout-path", stdout_path);
	if (c->initrd_end > c->initrd_start) {
		prop_u64(w, "linux,initrd-start", c->initrd_start);
		prop_u64(w, "linux,initrd-end", c->initrd_end);
	}
	if (c->rng_seed)
		prop(w, "rng-seed", seeds->rng, sizeof(seeds->rng));
	if (c->kaslr_seed)
		prop_u64(w, "kaslr-seed", seeds->kaslr);
	end(w);
}

/* ---- The arm64 machine ---- */

static void write_cpus(struct writer *w, const struct dtb_arm64_config *c)
{
	begin(w, "cpus");
	prop_u32s(w, "#address-cells", 1);
	prop_u32s(w, "#size-cells", 0);
	for (unsigned i = 0; i < c->n_cpus; i++) {
		begin_at(w, "cpu", i);
		prop_string(w, "device_type", "cpu");
		prop_string(w, "compatible", "arm,armv8");
		prop_u32s(w, "reg", i); /* MPIDR_EL1.Aff0 */
		prop_string(w, "enable-method", "psci");
		end(w);
	}
	end(w);
}

static void write_gic(struct writer *w, const struct dtb_arm64_config *c)
{
	const uint64_t reg[] = { c->gicd_base, c->gicd_size, c->gicr_base, c->gicr_size };

	begin_at(w, "intc", c->gicd_base);
	prop_string(w, "compatible", "arm,gic-v3");
	prop_empty(w, "interrupt-controller");
	prop_u32s(w, "#interrupt-cells", 3);
	prop_u32s(w, "#address-cells", 2);
	prop_u32s(w, "#size-cells", 2);
	prop_empty(w, "ranges");
	prop_reg(w, reg, 2);
	prop_u32s(w, "#redistributor-regions", 1);
	prop_u32s(w, "phandle", PHANDLE_GIC);
	end(w);
}

static void write_timer(struct writer *w, const struct dtb_arm64_config *c)
{
	begin(w, "timer");
	prop_string(w, "compatible", "arm,armv8-timer");
	/* The order of arm,arch_timer.yaml. */
	prop_u32s(w, "interrupts", GIC_PPI, c->ppi_secure, IRQ_LEVEL_HIGH, GIC_PPI, c->ppi_phys,
		  IRQ_LEVEL_HIGH, GIC_PPI, c->ppi_virt, IRQ_LEVEL_HIGH, GIC_PPI, c->ppi_hyp,
		  IRQ_LEVEL_HIGH);
	prop_empty(w, "always-on");
	end(w);
}

static void write_device(struct writer *w, const char *name, const struct dtb_device *d)
{
	const uint64_t reg[] = { d->base, d->size };

	begin_at(w, name, d->base);
	prop_reg(w, reg, 1);
	prop_u32s(w, "interrupts", GIC_SPI, d->spi, IRQ_LEVEL_HIGH);
}

static void write_apb(struct writer *w, const struct dtb_arm64_config *c)
{
	begin(w, "apb-pclk");
	prop_string(w, "compatible", "fixed-clock");
	prop_u32s(w, "#clock-cells", 0);
	prop_u32s(w, "clock-frequency", APB_CLOCK_HZ);
	prop_string(w, "clock-output-names", "clk24mhz");
	prop_u32s(w, "phandle", PHANDLE_CLOCK);
	end(w);

	write_device(w, "pl011", &c->uart);
	prop_strings(w, "compatible", "arm,pl011\0arm,primecell");
	prop_u32s(w, "clocks", PHANDLE_CLOCK, PHANDLE_CLOCK);
	prop_strings(w, "clock-names", "uartclk\0apb_pclk");
	end(w);

	write_device(w, "pl031", &c->rtc);
	prop_strings(w, "compatible", "arm,pl031\0arm,primecell");
	prop_u32s(w, "clocks", PHANDLE_CLOCK);
	prop_string(w, "clock-names", "apb_pclk");
	end(w);
}

/* Linux names disks in the order of the nodes, so they ascend. */
static void write_virtio(struct writer *w, const struct dtb_arm64_config *c)
{
	for (unsigned i = 0; i < c->n_virtio; i++) {
		struct dtb_device slot = c->virtio;

		slot.base += i * slot.size;
		slot.spi += i;
		write_device(w, "virtio_mmio", &slot);
		prop_string(w, "compatible", "virtio,mmio");
		prop_empty(w, "dma-coherent");
		end(w);
	}
}

/* All of it, once; libfdt's error code. */
static int write_tree(void *blob, size_t cap, const struct dtb_arm64_config *c,
		      const struct seeds *seeds)
{
	const uint64_t ram[] = { c->ram_base, c->ram_size };
	struct writer w = { .blob = blob };
	char uart[64];

	snprintf(uart, sizeof(uart), "/pl011@%llx", (unsigned long long)c->uart.base);

	w.code = fdt_create(blob, (int)cap);
	if (!w.code)
		w.code = fdt_finish_reservemap(blob);

	begin(&w, "");
	prop_string(&w, "compatible", "linux,dummy-virt");
	prop_string(&w, "model", "hako arm64");
	prop_u32s(&w, "#address-cells", 2);
	prop_u32s(&w, "#size-cells", 2);
	prop_u32s(&w, "interrupt-parent", PHANDLE_GIC);
	write_chosen(&w, &c->chosen, seeds, uart);
	begin(&w, "aliases");
	prop_string(&w, "serial0", uart);
	end(&w);
	begin(&w, "psci");
	prop_strings(&w, "compatible", "arm,psci-1.0\0arm,psci-0.2");
	prop_string(&w, "method", "hvc");
	end(&w);
	write_cpus(&w, c);
	begin_at(&w, "memory", c->ram_base);
	prop_string(&w, "device_type", "memory");
	prop_reg(&w, ram, 1);
	end(&w);
	write_gic(&w, c);
	write_timer(&w, c);
	write_apb(&w, c);
	write_virtio(&w, c);
	end(&w);

	return w.code ? w.code : fdt_finish(blob);
}

int dtb_arm64(const struct dtb_arm64_config *c, void **blob, size_t *size, struct err *err)
{
	struct seeds seeds;
	void *tree = NULL;
	int r;

	*blob = NULL;
	r = random_bytes(&seeds, sizeof(seeds), err);
	if (r < 0)
		return r;
	for (size_t cap = TREE_SIZE_FIRST; cap <= DTB_SIZE_MAX; cap *= 2) {
		free(tree);
		tree = calloc(1, cap);
		if (!tree)
			return err_set(err, -ENOMEM, "cannot build the device tree: out of memory");
		r = write_tree(tree, cap, c, &seeds);
		if (r != -FDT_ERR_NOSPACE)
			break;
	}
	if (r < 0) {
		free(tree);
		return tree_failed("build the device tree", r, err);
	}
	*blob = tree;
	*size = fdt_totalsize(tree);
	return 0;
}

/* ---- Somebody else's tree ---- */

static int not_a_tree(const char *path, const uint8_t *data, size_t size, int fdt_code,
		      struct err *err)
{
	const char *why = "it is damaged";

	if (size == 0)
		why = "it is empty";
	else if (fdt_code == -FDT_ERR_TRUNCATED)
		why = "it is cut off; copy it again";
	else if (fdt_code == -FDT_ERR_BADVERSION)
		why = "its version is not one that libfdt knows";
	else if (memmem(data, size, "/dts-v1/", 8))
		why = "it is a source; compile it (dtc -I dts -O dtb -o FILE.dtb FILE.dts)";
	else if (fdt_code == -FDT_ERR_BADMAGIC)
		why = "it is something else; give a compiled tree (.dtb)";
	return err_set(err, -EINVAL, "cannot use the device tree '%s': %s", path, why);
}

int dtb_file(const char *path, void **blob, size_t *size, struct err *err)
{
	uint64_t len;
	void *data;
	int fd, r;

	*blob = NULL;
	r = file_open(path, false, &fd, &len, err);
	if (r < 0)
		return r;
	if (len > DTB_SIZE_MAX) {
		close(fd);
		return err_set(err, -EFBIG,
			       "cannot use the device tree '%s': it has %llu bytes, and a kernel "
			       "takes at most %d",
			       path, (unsigned long long)len, DTB_SIZE_MAX);
	}
	data = malloc(len ? (size_t)len : 1);
	r = data ? file_read_at(fd, data, (size_t)len, 0) : -ENOMEM;
	close(fd);
	if (r < 0) {
		free(data);
		return err_set(err, r, "cannot read the device tree '%s': %s", path, strerror(-r));
	}
	/* Checks header, structure and every string against the size. */
	r = fdt_check_full(data, (size_t)len);
	if (r < 0) {
		not_a_tree(path, data, (size_t)len, r, err);
		free(data);
		return -EINVAL;
	}
	*blob = data;
	*size = fdt_totalsize(data);
	return 0;
}

static int update_chosen(void *tree, const struct dtb_chosen *c, bool replace,
			 const struct seeds *seeds)
{
	int node = fdt_path_offset(tree, "/chosen");
	int r = 0;

	if (node == -FDT_ERR_NOTFOUND)
		node = fdt_add_subnode(tree, 0, "chosen");
	if (node < 0)
		return node;
#define WANTED(name) (!r && (replace || !fdt_getprop(tree, node, name, NULL)))
	if (c->bootargs && WANTED("bootargs"))
		r = fdt_setprop(tree, node, "bootargs", c->bootargs, (int)strlen(c->bootargs) + 1);
	if (c->rng_seed && WANTED("rng-seed"))
		r = fdt_setprop(tree, node, "rng-seed", seeds->rng, sizeof(seeds->rng));
	if (c->kaslr_seed && WANTED("kaslr-seed"))
		r = fdt_setprop_u64(tree, node, "kaslr-seed", seeds->kaslr);
#undef WANTED
	/* Where the initrd is, only hako knows; and where none is, the tree must not say one. */
	if (c->initrd_end > c->initrd_start) {
		if (!r)
			r = fdt_setprop_u64(tree, node, "linux,initrd-start", c->initrd_start);
		if (!r)
			r = fdt_setprop_u64(tree, node, "linux,initrd-end", c->initrd_end);
	} else {
		fdt_delprop(tree, node, "linux,initrd-start");
		fdt_delprop(tree, node, "linux,initrd-end");
	}
	return r;
}

int dtb_chosen_update(void **blob, size_t *size, const struct dtb_chosen *chosen, bool replace,
		      struct err *err)
{
	/* Every property that may come in, with names and padding. */
	size_t room = 1024 + (chosen->bootargs ? strlen(chosen->bootargs) : 0);
	size_t cap = fdt_totalsize(*blob) + room;
	struct seeds seeds;
	void *tree;
	int r;

	r = random_bytes(&seeds, sizeof(seeds), err);
	if (r < 0)
		return r;
	tree = malloc(cap);
	if (!tree)
		return err_set(err, -ENOMEM, "cannot change the device tree: out of memory");
	r = fdt_open_into(*blob, tree, (int)cap);
	if (!r)
		r = update_chosen(tree, chosen, replace, &seeds);
	if (!r)
		r = fdt_pack(tree);
	if (!r && fdt_totalsize(tree) > DTB_SIZE_MAX)
		r = -FDT_ERR_NOSPACE;
	if (r < 0) {
		free(tree);
		return tree_failed("change the device tree", r, err);
	}
	free(*blob);
	*blob = tree;
	*size = fdt_totalsize(tree);
	return 0;
}

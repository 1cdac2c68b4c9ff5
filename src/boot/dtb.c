/* SPDX-License-Identifier: MIT */
/*
 * The device tree.
 */
#include "boot/dtb.h"

#include <assert.h>
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/layout.h"
#include "boot/random.h"
#include "host/file.h"

/*
 * The first two cells of an interrupt specifier, and the third, in which GICv2 has the CPUs of a
 * PPI too (arm,gic-v3.yaml, arm,gic.yaml).
 */
enum { GIC_SPI = 0, GIC_PPI = 1 };
enum { IRQ_EDGE_RISING = 1, IRQ_LEVEL_HIGH = 4, PPI_CPUS_SHIFT = 8 };

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

/* name@address, as nodes with registers are named (Devicetree Specification 0.4, 2.2.1.1) */
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
	fdt32_t be[32];

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
	const uint64_t reg[] = { c->gicd_base, c->gicd_size, c->gic_cpu_base, c->gic_cpu_size };

	begin_at(w, "intc", c->gicd_base);
	prop_string(w, "compatible", c->gic_version == 3 ? "arm,gic-v3" : "arm,cortex-a15-gic");
	prop_empty(w, "interrupt-controller");
	prop_u32s(w, "#interrupt-cells", 3);
	prop_u32s(w, "#address-cells", 2);
	prop_u32s(w, "#size-cells", 2);
	prop_empty(w, "ranges");
	prop_reg(w, reg, 2);
	if (c->gic_version == 3)
		prop_u32s(w, "#redistributor-regions", 1);
	prop_u32s(w, "phandle", PHANDLE_GIC);
	end(w);
}

static void write_timer(struct writer *w, const struct dtb_arm64_config *c)
{
	uint32_t cpus = c->gic_version == 3 ? 0 : (1U << c->n_cpus) - 1;
	uint32_t flags = IRQ_LEVEL_HIGH | cpus << PPI_CPUS_SHIFT;

	begin(w, "timer");
	prop_string(w, "compatible", "arm,armv8-timer");
	/* The order of arm,arch_timer.yaml. */
	prop_u32s(w, "interrupts", GIC_PPI, c->ppi_secure, flags, GIC_PPI, c->ppi_phys, flags,
		  GIC_PPI, c->ppi_virt, flags, GIC_PPI, c->ppi_hyp, flags);
	prop_empty(w, "always-on");
	end(w);
}

static void write_device(struct writer *w, const char *name, const struct dtb_device *d,
			 uint32_t trigger)
{
	const uint64_t reg[] = { d->base, d->size };

	begin_at(w, name, d->base);
	prop_reg(w, reg, 1);
	prop_u32s(w, "interrupts", GIC_SPI, d->irq, trigger);
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

	write_device(w, "pl011", &c->uart, IRQ_LEVEL_HIGH);
	prop_strings(w, "compatible", "arm,pl011\0arm,primecell");
	prop_u32s(w, "clocks", PHANDLE_CLOCK, PHANDLE_CLOCK);
	prop_strings(w, "clock-names", "uartclk\0apb_pclk");
	end(w);

	write_device(w, "pl031", &c->rtc, IRQ_LEVEL_HIGH);
	prop_strings(w, "compatible", "arm,pl031\0arm,primecell");
	prop_u32s(w, "clocks", PHANDLE_CLOCK);
	prop_string(w, "clock-names", "apb_pclk");
	end(w);
}

/*
 * Linux names disks in the order of the nodes, so they ascend. The lines are levels, and work for a
 * guest that takes them as such; but to see an edge is enough for a driver that acknowledges what
 * it has read, and with hardware virtualization an edge costs no exit when the guest is done with
 * it. QEMU's tree says the same.
 */
static void write_virtio(struct writer *w, const struct dtb_arm64_config *c)
{
	for (unsigned i = 0; i < c->n_virtio; i++) {
		struct dtb_device slot = c->virtio;

		slot.base += i * slot.size;
		slot.irq += i;
		write_device(w, "virtio_mmio", &slot, IRQ_EDGE_RISING);
		prop_string(w, "compatible", "virtio,mmio");
		prop_empty(w, "dma-coherent");
		end(w);
	}
}

/* All of it, once; libfdt's error code. */
static int write_arm64(void *blob, size_t cap, const void *config, const struct seeds *seeds)
{
	const struct dtb_arm64_config *c = config;
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

/* ---- The RISC-V machine: the nodes of QEMU's, by which kernels find things ---- */

/* Interrupts of a hart (the numbers of mip's bits), as the controllers below it name them. */
enum { HART_SSI = 1, HART_MSI = 3, HART_MTI = 7, HART_SEI = 9, HART_MEI = 11 };
#define HART_NONE UINT32_MAX /* of a context that nothing is behind (sifive,plic-1.0.0.yaml) */

/* What the harts call their interrupt controllers, and others the rest. */
enum { PHANDLE_PLIC = 1, PHANDLE_TEST = 2, PHANDLE_HART = 0x10 };

/* The registers of sifive_test, and what is written to them
 * (QEMU, include/hw/misc/sifive_test.h) */
enum { TEST_PASS = 0x5555, TEST_RESET = 0x7777 };

/* The UART's clock, from which 115200 baud divides down (1.8432 MHz, doubled). */
enum { UART_CLOCK_HZ = 3686400 };

/*
 * riscv,isa is one string: base, extensions of one letter, and the others with an underscore before
 * each. The newer riscv,isa-extensions lists them all.
 */
static void prop_isa(struct writer *w, const char *isa)
{
	const size_t base = strlen("rv64");
	char list[2 * DTB_ISA_MAX]; /* a letter becomes two bytes */
	size_t n = 0;

	assert(strlen(isa) < DTB_ISA_MAX);
	prop_string(w, "riscv,isa", isa);
	snprintf(list, sizeof(list), "%.*si", (int)base, isa);
	prop_string(w, "riscv,isa-base", list);
	for (const char *at = isa + base; *at;) {
		size_t len = *at == '_' ? strcspn(++at, "_") : 1;

		n += (size_t)snprintf(list + n, sizeof(list) - n, "%.*s", (int)len, at) + 1;
		at += len;
	}
	prop(w, "riscv,isa-extensions", list, n);
}

static void write_hart(struct writer *w, const struct dtb_riscv_config *c, unsigned i)
{
	begin_at(w, "cpu", i);
	prop_string(w, "device_type", "cpu");
	prop_u32s(w, "reg", i);
	prop_string(w, "status", "okay");
	prop_string(w, "compatible", "riscv");
	prop_isa(w, c->isa);
	if (c->cbom_block)
		prop_u32s(w, "riscv,cbom-block-size", c->cbom_block);
	if (c->cboz_block)
		prop_u32s(w, "riscv,cboz-block-size", c->cboz_block);
	if (c->mmu)
		prop_string(w, "mmu-type", c->mmu);
	begin(w, "interrupt-controller");
	prop_u32s(w, "#interrupt-cells", 1);
	prop_empty(w, "interrupt-controller");
	prop_string(w, "compatible", "riscv,cpu-intc");
	prop_u32s(w, "phandle", PHANDLE_HART + i);
	end(w);
	end(w);
}

static void write_harts(struct writer *w, const struct dtb_riscv_config *c)
{
	begin(w, "cpus");
	prop_u32s(w, "#address-cells", 1);
	prop_u32s(w, "#size-cells", 0);
	prop_u32s(w, "timebase-frequency", c->timebase);
	for (unsigned i = 0; i < c->n_cpus; i++)
		write_hart(w, c, i);
	end(w);
}

/* `interrupts-extended`: two interrupts of each hart. */
static void prop_harts(struct writer *w, const struct dtb_riscv_config *c, unsigned a, unsigned b)
{
	uint32_t cells[32];
	size_t n = 0;

	for (unsigned i = 0; i < c->n_cpus && n + 4 <= ARRAY_SIZE(cells); i++) {
		cells[n++] = PHANDLE_HART + i;
		cells[n++] = a;
		cells[n++] = PHANDLE_HART + i;
		cells[n++] = b;
	}
	prop_cells(w, "interrupts-extended", cells, n);
}

/* A node with registers, left open. */
static void begin_device(struct writer *w, const char *name, const struct dtb_device *d)
{
	const uint64_t reg[] = { d->base, d->size };

	begin_at(w, name, d->base);
	prop_reg(w, reg, 1);
	if (d->irq) {
		prop_u32s(w, "interrupts", d->irq);
		prop_u32s(w, "interrupt-parent", PHANDLE_PLIC);
	}
}

static void write_soc(struct writer *w, const struct dtb_riscv_config *c)
{
	begin(w, "soc");
	prop_u32s(w, "#address-cells", 2);
	prop_u32s(w, "#size-cells", 2);
	prop_string(w, "compatible", "simple-bus");
	prop_empty(w, "ranges");

	begin_device(w, "test", &c->test);
	prop_strings(w, "compatible", "sifive,test1\0sifive,test0\0syscon");
	prop_u32s(w, "phandle", PHANDLE_TEST);
	end(w);

	begin_device(w, "rtc", &c->rtc);
	prop_string(w, "compatible", "google,goldfish-rtc");
	end(w);

	begin_device(w, "serial", &c->uart);
	prop_string(w, "compatible", "ns16550a");
	prop_u32s(w, "clock-frequency", UART_CLOCK_HZ);
	end(w);

	/* Linux names disks in the order of the nodes, so they ascend. */
	for (unsigned i = 0; i < c->n_virtio; i++) {
		struct dtb_device slot = c->virtio;

		slot.base += i * slot.size;
		slot.irq += i;
		begin_device(w, "virtio_mmio", &slot);
		prop_string(w, "compatible", "virtio,mmio");
		end(w);
	}

	begin_device(w, "plic", &c->plic);
	prop_strings(w, "compatible", "sifive,plic-1.0.0\0riscv,plic0");
	prop_empty(w, "interrupt-controller");
	prop_u32s(w, "#interrupt-cells", 1);
	prop_u32s(w, "#address-cells", 0);
	prop_harts(w, c, c->machine_mode ? HART_MEI : HART_NONE, HART_SEI);
	prop_u32s(w, "riscv,ndev", c->plic_sources);
	prop_u32s(w, "phandle", PHANDLE_PLIC);
	end(w);

	if (c->clint.size) {
		begin_device(w, "clint", &c->clint);
		prop_strings(w, "compatible", "sifive,clint0\0riscv,clint0");
		prop_harts(w, c, HART_MSI, HART_MTI);
		end(w);
	}
	end(w);
}

/* For kernels that end the machine by themselves: a value written to the test device. */
static void write_syscon(struct writer *w, const char *name, unsigned value)
{
	char compatible[32];

	snprintf(compatible, sizeof(compatible), "syscon-%s", name);
	begin(w, name);
	prop_string(w, "compatible", compatible);
	prop_u32s(w, "regmap", PHANDLE_TEST);
	prop_u32s(w, "offset", 0);
	prop_u32s(w, "value", value);
	end(w);
}

static int write_riscv(void *blob, size_t cap, const void *config, const struct seeds *seeds)
{
	const struct dtb_riscv_config *c = config;
	const uint64_t ram[] = { c->ram_base, c->ram_size };
	struct writer w = { .blob = blob };
	char uart[64];

	snprintf(uart, sizeof(uart), "/soc/serial@%llx", (unsigned long long)c->uart.base);
	w.code = fdt_create(blob, (int)cap);
	if (!w.code)
		w.code = fdt_finish_reservemap(blob);

	begin(&w, "");
	prop_string(&w, "compatible", "riscv-virtio");
	prop_string(&w, "model", c->rv64 ? "hako riscv64" : "hako riscv32");
	prop_u32s(&w, "#address-cells", 2);
	prop_u32s(&w, "#size-cells", 2);
	write_chosen(&w, &c->chosen, seeds, uart);
	begin(&w, "aliases");
	prop_string(&w, "serial0", uart);
	end(&w);
	write_harts(&w, c);
	begin_at(&w, "memory", c->ram_base);
	prop_string(&w, "device_type", "memory");
	prop_reg(&w, ram, 1);
	end(&w);
	write_syscon(&w, "poweroff", TEST_PASS);
	write_syscon(&w, "reboot", TEST_RESET);
	write_soc(&w, c);
	end(&w);

	return w.code ? w.code : fdt_finish(blob);
}

/* ---- Building ---- */

static int build(int (*write)(void *blob, size_t cap, const void *config,
			      const struct seeds *seeds),
		 const void *config, void **blob, size_t *size, struct err *err)
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
		r = write(tree, cap, config, &seeds);
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

int dtb_arm64(const struct dtb_arm64_config *c, void **blob, size_t *size, struct err *err)
{
	return build(write_arm64, c, blob, size, err);
}

int dtb_riscv(const struct dtb_riscv_config *c, void **blob, size_t *size, struct err *err)
{
	return build(write_riscv, c, blob, size, err);
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

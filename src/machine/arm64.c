/* SPDX-License-Identifier: MIT */
/*
 * The board of arm64 guests: the memory map of QEMU's "virt" machine, so that kernels made for that
 * one run here unchanged.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/dtb.h"
#include "boot/layout.h"
#include "device/gicv3.h"
#include "device/pl011.h"
#include "device/pl031.h"
#include "host/console.h"
#include "machine/trace.h"
#include "machine/tree.h"
#include "machine/vm.h"
#include "virtio/mmio.h"

/* The memory map, and interrupts as SPI numbers (INTID - 32). */
enum {
	GICD_BASE = 0x08000000,
	GICC_BASE = 0x08010000, /* GICv2, which only KVM may have */
	GICR_BASE = 0x080a0000, /* GICv3 */
	UART_BASE = 0x09000000,
	UART_SPI = 1,
	RTC_BASE = 0x09010000,
	RTC_SPI = 2,
	VIRTIO_BASE = 0x0a000000,
	VIRTIO_SPI = 16,
	VIRTIO_SLOTS = 32,
	RAM_BASE = 0x40000000,
	DEVICE_SIZE = 0x1000,
	GICV2_DIST_SIZE = 0x1000, /* arm,gic.yaml */
	GICV2_CPU_SIZE = 0x2000,
};

/* Private interrupts of the generic timers (DEN 0094, Base System Architecture): INTID - 16. */
enum { PPI_SECURE = 13, PPI_PHYS = 14, PPI_VIRT = 11, PPI_HYP = 10, PPI_INTID = 16 };

_Static_assert((int)VIRTIO_SLOTS >= (int)HAKO_DISKS_MAX, "a slot for each disk");

struct board {
	struct gicv3 *gic;    /* NULL: the engine has its own */
	unsigned gic_version; /* 3, or 2 */
	struct pl011 *uart;
	struct pl031 *rtc;
	struct virtio_mmio *virtio[VIRTIO_SLOTS];
	struct layout layout;
};

/* ---- wiring ---- */

static void cpu_irq(void *arg, unsigned cpu, bool fiq, bool level)
{
	struct hako_vm *vm = arg;

	trace_cpu_irq(vm, cpu, fiq ? "FIQ" : "IRQ", level);
	if (vm->cpus[cpu].vcpu)
		vm->engine_ops->vcpu_irq(vm->cpus[cpu].vcpu, fiq ? VCPU_FIQ : VCPU_IRQ, level);
}

static void timer_irq(void *dev, unsigned cpu, enum vcpu_timer timer, bool level)
{
	static const unsigned ppi[VCPU_N_TIMERS] = {
		[VCPU_TIMER_VIRT] = PPI_VIRT,
		[VCPU_TIMER_PHYS] = PPI_PHYS,
	};

	gicv3_ppi(dev, cpu, PPI_INTID + ppi[timer], level);
}

static struct vcpu_wiring arm64_wiring(struct hako_vm *vm, unsigned index)
{
	static const struct vcpu_sysreg_ops icc = {
		.read = gicv3_icc_read,
		.write = gicv3_icc_write,
	};

	(void)index;
	if (!vm->board->gic)
		return (struct vcpu_wiring){ 0 };
	return (struct vcpu_wiring){
		.icc = &icc,
		.icc_dev = vm->board->gic,
		.timer_irq = timer_irq,
		.timer_dev = vm->board->gic,
	};
}

/* ---- devices ---- */

/* The engine's interrupt controller if it has one, else ours: the guest sees the same. */
static int create_gic(struct hako_vm *vm, struct err *err)
{
	const struct gicv3_config config = {
		.bus = vm->mmio,
		.dist_base = GICD_BASE,
		.redist_base = GICR_BASE,
		.n_cpus = vm->n_cpus,
		.cpu_irq = cpu_irq,
		.arg = vm,
		.log = &vm->log,
	};
	struct engine_irqchip chip = {
		.gicd_base = GICD_BASE,
		.gicr_base = GICR_BASE,
		.gicc_base = GICC_BASE,
		.n_spis = GICV3_N_SPIS,
		.gic_version = 3,
	};
	int res;

	if (vm->engine_ops->irqchip_create)
		res = vm->engine_ops->irqchip_create(vm->engine, &chip, err);
	else
		res = gicv3_create(&vm->board->gic, &config, err);
	vm->board->gic_version = chip.gic_version;
	return res;
}

/* A line into it; `edge`: the device tree says so. */
static int spi_line(struct hako_vm *vm, unsigned spi, bool edge, struct irq_line *line,
		    struct err *err)
{
	if (!vm->board->gic)
		return vm->engine_ops->irq(vm->engine, spi, edge, line, err);
	*line = gicv3_spi(vm->board->gic, spi);
	return 0;
}

static int create_devices(struct hako_vm *vm, struct err *err)
{
	struct board *b = vm->board;
	struct irq_line line;
	int res = spi_line(vm, UART_SPI, false, &line, err);

	if (!res)
		res = pl011_create(&b->uart, vm->mmio, UART_BASE, trace_irq(vm, line, "uart"),
				   vm->console, vm->clock, &vm->log, err);
	if (!res)
		res = spi_line(vm, RTC_SPI, false, &line, err);
	if (!res)
		res = pl031_create(&b->rtc, vm->mmio, RTC_BASE, trace_irq(vm, line, "rtc"),
				   vm->clock, err);
	for (unsigned i = 0; i < VIRTIO_SLOTS && !res; i++) {
		res = spi_line(vm, VIRTIO_SPI + i, i < vm->n_disks, &line, err);
		if (!res)
			res = vm_create_slot(vm, i, VIRTIO_BASE + i * (uint64_t)VIRTIO_MMIO_SIZE,
					     line, &b->virtio[i], err);
	}
	return res;
}

static void arm64_destroy(struct hako_vm *vm)
{
	struct board *b = vm->board;

	if (!b)
		return;
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		virtio_mmio_destroy(b->virtio[i]);
	pl031_destroy(b->rtc);
	pl011_destroy(b->uart);
	gicv3_destroy(b->gic);
	free(b);
	vm->board = NULL;
}

static int arm64_create(struct hako_vm *vm, struct err *err)
{
	int res;

	vm->board = calloc(1, sizeof(*vm->board));
	if (!vm->board)
		return err_set(err, -ENOMEM, "no memory for the machine");
	res = gmem_add_ram(vm->mem, RAM_BASE, vm->mem_size, err);
	if (!res)
		res = create_gic(vm, err);
	if (!res)
		res = create_devices(vm, err);
	if (res)
		arm64_destroy(vm);
	return res;
}

static void arm64_reset(struct hako_vm *vm)
{
	struct board *b = vm->board;

	/* Disks first: nothing may write to RAM that is about to be cleared. */
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		virtio_mmio_reset(b->virtio[i]);
	pl011_reset(b->uart);
	pl031_reset(b->rtc);
	if (b->gic)
		gicv3_reset(b->gic);
}

static bool arm64_wakeable(struct hako_vm *vm)
{
	return vm->board->gic ? gicv3_any_enabled(vm->board->gic) : vm_wakeable(vm);
}

/* ---- boot ---- */

static int build_dtb(struct hako_vm *vm, const struct dtb_chosen *chosen, struct err *err)
{
	bool v3 = vm->board->gic_version == 3;
	const struct dtb_arm64_config config = {
		.ram_base = RAM_BASE,
		.ram_size = vm->mem_size,
		.n_cpus = vm->n_cpus,
		.gic_version = vm->board->gic_version,
		.gicd_base = GICD_BASE,
		.gicd_size = v3 ? (int)GICV3_DIST_SIZE : (int)GICV2_DIST_SIZE,
		.gic_cpu_base = v3 ? GICR_BASE : GICC_BASE,
		.gic_cpu_size = v3 ? (uint64_t)GICV3_REDIST_SIZE * vm->n_cpus : GICV2_CPU_SIZE,
		.ppi_secure = PPI_SECURE,
		.ppi_phys = PPI_PHYS,
		.ppi_virt = PPI_VIRT,
		.ppi_hyp = PPI_HYP,
		.uart = { UART_BASE, DEVICE_SIZE, UART_SPI },
		.rtc = { RTC_BASE, DEVICE_SIZE, RTC_SPI },
		.virtio = { VIRTIO_BASE, VIRTIO_MMIO_SIZE, VIRTIO_SPI },
		.n_virtio = VIRTIO_SLOTS,
		.chosen = *chosen,
	};

	return dtb_arm64(&config, &vm->dtb, &vm->dtb_size, err);
}

static int arm64_prepare(struct hako_vm *vm, struct err *err)
{
	struct layout *l = &vm->board->layout;
	const struct layout_config config = {
		.ram_base = RAM_BASE,
		.ram_size = vm->mem_size,
		.kernel = &vm->kernel,
		.initrd_size = vm->has_initrd ? vm->initrd.size : 0,
		.dtb_size = DTB_SIZE_MAX,
		.dtb_addr = vm->dtb_addr,
	};
	int res;

	/* The software CPU, which has our GIC, has the 4 KiB granule only; such a kernel would stop
	 * without a word. */
	if (vm->board->gic && vm->kernel.page_size > 4096)
		return err_set(
			err, -EINVAL,
			"the kernel '%s' uses pages of %u KiB, and this machine's CPU has 4 KiB "
			"pages only; build it with CONFIG_ARM64_4K_PAGES",
			vm->kernel.path, vm->kernel.page_size >> 10);
	kernel_cut_headers(&vm->kernel, RAM_BASE);
	res = layout_arm64(l, &config, err);
	return res ? res : tree_make(vm, l, build_dtb, err);
}

static int arm64_load(struct hako_vm *vm, struct err *err)
{
	const struct layout *l = &vm->board->layout;
	int res = kernel_load(&vm->kernel, vm->mem, l->kernel, err);

	if (!res)
		res = tree_load(vm, l, err);
	if (res)
		return res;
	/* booting.rst: x0 is the tree, x1 to x3 are zero, which a reset made them. */
	cpu_set(&vm->cpus[0], VCPU_REG_X0, l->dtb);
	cpu_set(&vm->cpus[0], VCPU_REG_PC, vm->entry ? vm->entry : l->kernel);
	return 0;
}

const struct board_ops board_arm64 = {
	.name = "arm64",
	.code_align = 4,
	.has_dtb = true,
	.create = arm64_create,
	.destroy = arm64_destroy,
	.wiring = arm64_wiring,
	.prepare = arm64_prepare,
	.load = arm64_load,
	.reset = arm64_reset,
	.call = psci_call,
	.wakeable = arm64_wakeable,
};

/* SPDX-License-Identifier: MIT */
/*
 * The board of x86-64 guests: a PC without PCI, firmware or graphics. What is on it is told by ACPI
 * tables, and for kernels without ACPI by an MP table and the command line.
 *
 * The engine brings the interrupt controllers and the timers (struct engine_irqchip).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/acpi.h"
#include "boot/cmdline.h"
#include "boot/layout.h"
#include "boot/mptable.h"
#include "boot/x86.h"
#include "device/acpi_pm.h"
#include "device/cmos.h"
#include "device/i8042.h"
#include "device/ns16550.h"
#include "host/console.h"
#include "machine/vm.h"
#include "virtio/mmio.h"

/* The memory map. RAM is from 0 to the hole, and goes on at 4 GiB. */
#define RAM_HOLE    0xd0000000U
#define RAM_HIGH    (1ULL << 32)
#define VIRTIO_BASE RAM_HOLE
#define IOAPIC_BASE 0xfec00000U
#define LAPIC_BASE  0xfee00000U
enum { VIRTIO_STRIDE = 0x1000 };

/* Ports, and the I/O APIC's pins. */
enum {
	UART_PORT = 0x3f8,
	UART_GSI = 4,
	RTC_GSI = 8,
	ACPI_PORT = 0x600,
	IOAPIC_PINS = 24,
};

/*
 * The pins that are left for virtio slots: not those of timer, keyboard, cascade, serial ports,
 * real-time clock, mouse and FPU, which kernels may take as given.
 */
static const uint8_t virtio_gsi[] = {
	5, 6, 7, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
};
enum { VIRTIO_SLOTS = ARRAY_SIZE(virtio_gsi) };

struct board {
	struct ns16550 *uart;
	struct cmos *cmos;
	struct i8042 *kbc;
	struct acpi_pm *pm;
	struct virtio_mmio *virtio[VIRTIO_SLOTS];
	struct layout layout;
	char *cmdline; /* vm->cmdline, and the slots where the kernel needs it */
	void *acpi;
	size_t acpi_size;
};

static uint64_t ram_low(const struct hako_vm *vm)
{
	return vm->mem_size < RAM_HOLE ? vm->mem_size : RAM_HOLE;
}

static struct vcpu_wiring x86_wiring(struct hako_vm *vm, unsigned index)
{
	(void)vm;
	(void)index;
	return (struct vcpu_wiring){ 0 };
}

/* ---- devices ---- */

/* Both in the middle of a vCPU's OUT; the control thread stops the vCPUs before it acts. */
static void ended(void *arg, enum acpi_pm_end end)
{
	vm_request(arg, end == ACPI_PM_END_RESET ? VM_RESET : VM_POWEROFF);
}

static void reset_pulsed(void *arg)
{
	vm_request(arg, VM_RESET);
}

static void x86_destroy(struct hako_vm *vm)
{
	struct board *b = vm->board;

	if (!b)
		return;
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		virtio_mmio_destroy(b->virtio[i]);
	acpi_pm_destroy(b->pm);
	i8042_destroy(b->kbc);
	cmos_destroy(b->cmos);
	ns16550_destroy(b->uart);
	free(b->acpi);
	free(b->cmdline);
	free(b);
	vm->board = NULL;
}

static int create_virtio(struct hako_vm *vm, struct err *err)
{
	const struct engine_ops *engine = vm->engine_ops;
	int res = 0;

	for (unsigned i = 0; i < vm->n_disks && !res; i++) {
		struct irq_line irq;

		res = engine->irq(vm->engine, virtio_gsi[i], true, &irq, err);
		if (!res)
			res = vm_create_slot(vm, i, VIRTIO_BASE + i * (uint64_t)VIRTIO_STRIDE, irq,
					     &vm->board->virtio[i], err);
	}
	return res;
}

static int create_devices(struct hako_vm *vm, struct err *err)
{
	const struct engine_ops *engine = vm->engine_ops;
	struct board *b = vm->board;
	struct engine_irqchip chip = { 0 };
	struct ns16550_config uart = {
		.bus = vm->pio,
		.base = UART_PORT,
		.max_access = 1,
		.con = vm->console,
		.clock = vm->clock,
		.log = &vm->log,
	};
	const struct i8042_config kbc = { .bus = vm->pio, .reset = reset_pulsed, .arg = vm };
	const struct acpi_pm_config pm = {
		.bus = vm->pio,
		.base = ACPI_PORT,
		.end = ended,
		.arg = vm,
		.log = &vm->log,
	};
	struct irq_line rtc;
	int res = engine->irqchip_create(vm->engine, &chip, err);

	if (!res)
		res = engine->irq(vm->engine, UART_GSI, true, &uart.irq, err);
	if (!res)
		res = engine->irq(vm->engine, RTC_GSI, true, &rtc, err);
	if (!res)
		res = ns16550_create(&b->uart, &uart, err);
	if (!res)
		res = cmos_create(&b->cmos, vm->pio, rtc, vm->clock, err);
	if (!res)
		res = i8042_create(&b->kbc, &kbc, err);
	if (!res)
		res = acpi_pm_create(&b->pm, &pm, err);
	return res ? res : create_virtio(vm, err);
}

static int x86_create(struct hako_vm *vm, struct err *err)
{
	int res;

	if (!vm->engine_ops->irqchip_create || !vm->engine_ops->irq)
		return err_set(err, -ENOTSUP,
			       "the engine '%s' has no interrupt controller for an x86 machine",
			       vm->engine_ops->name);
	if (vm->n_disks > VIRTIO_SLOTS)
		return err_set(err, -EINVAL,
			       "an x86 machine cannot have %zu disks; it can have up to %d, an "
			       "interrupt each",
			       vm->n_disks, (int)VIRTIO_SLOTS);
	vm->board = calloc(1, sizeof(*vm->board));
	if (!vm->board)
		return err_set(err, -ENOMEM, "no memory for the machine");
	res = gmem_add_ram(vm->mem, 0, ram_low(vm), err);
	if (!res && vm->mem_size > RAM_HOLE)
		res = gmem_add_ram(vm->mem, RAM_HIGH, vm->mem_size - RAM_HOLE, err);
	if (!res)
		res = create_devices(vm, err);
	if (res)
		x86_destroy(vm);
	return res;
}

static void x86_reset(struct hako_vm *vm)
{
	struct board *b = vm->board;

	/* Disks first: nothing may write to RAM that is about to be cleared. */
	for (unsigned i = 0; i < vm->n_disks; i++)
		virtio_mmio_reset(b->virtio[i]);
	ns16550_reset(b->uart);
	i8042_reset(b->kbc);
	cmos_reset(b->cmos);
}

/* A vCPU that takes no interrupts is asleep for good, and no other is (vcpu_stuck). */
static bool x86_wakeable(struct hako_vm *vm)
{
	(void)vm;
	return false;
}

/* ---- boot ---- */

static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = line; (at = strstr(at, word)); at += n)
		if ((at == line || at[-1] == ' ') && (!at[n] || at[n] == ' '))
			return true;
	return false;
}

/*
 * Does the kernel not find its disks by ACPI? Not with acpi=off; nor a vmlinux built without ACPI,
 * which then does not have the signature that ACPI is looked for by. What is packed in a bzImage
 * cannot be told: all that are commonly built have ACPI. A kernel that finds a slot by both ways
 * complains, so it is told one way.
 */
static bool needs_parameters(struct hako_vm *vm)
{
	static const char parameter[] = "virtio_mmio.device=", signature[] = "RSD PTR ";

	if (!vm->n_disks || strstr(vm->cmdline, parameter))
		return false;
	if (has_word(vm->cmdline, "acpi=off"))
		return true;
	return vm->kernel.n_segments &&
	       kernel_elf_contains(&vm->kernel, signature, sizeof(signature) - 1) == 0;
}

/*
 * Where ACPI's hardware is reduced, Linux drives no 8259 and no 8254. What does without the APICs
 * is then without interrupts: it ends in a panic or in silence, and neither says why. Command lines
 * for Firecracker have such words, from when it had no ACPI.
 */
static void check_cmdline(struct hako_vm *vm)
{
	static const char *const words[] = { "noapic", "nolapic", "disableapic" };

	if (has_word(vm->cmdline, "acpi=off"))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (has_word(vm->cmdline, words[i]))
			log_msg(&vm->log, LOG_WARN, "machine",
				"'%s' on the kernel command line leaves Linux without interrupts: "
				"by its ACPI tables, this machine has no others than the APICs'; "
				"take the word out",
				words[i]);
}

/* The kernel's last words on it (kernel-parameters.txt, "virtio_mmio.device="). */
static int make_cmdline(struct hako_vm *vm, struct err *err)
{
	size_t max = vm->kernel.bzimage.header_len ? vm->kernel.bzimage.cmdline_max : SIZE_MAX;
	size_t room = strlen(vm->cmdline) + VIRTIO_SLOTS * 48 + 1, len;
	char *line = malloc(room);

	if (!line)
		return err_set(err, -ENOMEM, "no memory for the command line");
	vm->board->cmdline = line;
	len = (size_t)snprintf(line, room, "%s", vm->cmdline);
	if (needs_parameters(vm))
		for (unsigned i = 0; i < vm->n_disks; i++)
			len += (size_t)snprintf(line + len, room - len,
						" virtio_mmio.device=4K@%#x:%u",
						VIRTIO_BASE + i * VIRTIO_STRIDE, virtio_gsi[i]);
	if (len >= CMDLINE_SIZE_X86 || len > max)
		return err_set(err, -E2BIG,
			       "the kernel command line has %zu characters, and the kernel takes "
			       "at most %zu; shorten it",
			       len, max < CMDLINE_SIZE_X86 ? max : (size_t)CMDLINE_SIZE_X86 - 1);
	return 0;
}

static int make_acpi(struct hako_vm *vm, struct err *err)
{
	struct acpi_virtio virtio[VIRTIO_SLOTS];
	const struct acpi_config config = {
		.base = X86_ACPI,
		.size_max = X86_ACPI_END - X86_ACPI,
		.n_cpus = vm->n_cpus,
		.lapic = LAPIC_BASE,
		.ioapic = IOAPIC_BASE,
		.uart_port = UART_PORT,
		.uart_gsi = UART_GSI,
		.rtc_port = CMOS_PORT,
		.rtc_gsi = RTC_GSI,
		.sleep_control = ACPI_PORT + ACPI_PM_SLEEP_CONTROL,
		.sleep_status = ACPI_PORT + ACPI_PM_SLEEP_STATUS,
		.reset = ACPI_PORT + ACPI_PM_RESET,
		.reset_value = ACPI_PM_RESET_VALUE,
		.s5 = ACPI_PM_S5,
		.virtio = virtio,
		.n_virtio = vm->n_disks,
	};

	for (unsigned i = 0; i < vm->n_disks; i++)
		virtio[i] = (struct acpi_virtio){
			.base = VIRTIO_BASE + i * VIRTIO_STRIDE,
			.size = VIRTIO_STRIDE,
			.gsi = virtio_gsi[i],
		};
	return acpi_tables(&config, &vm->board->acpi, &vm->board->acpi_size, err);
}

static int x86_prepare(struct hako_vm *vm, struct err *err)
{
	const struct layout_config config = {
		.ram_size = ram_low(vm),
		.kernel = &vm->kernel,
		.initrd_size = vm->has_initrd ? vm->initrd.size : 0,
		.tables = X86_TABLES_END,
	};
	int res;

	kernel_cut_headers(&vm->kernel, X86_TABLES_END);
	res = layout_x86(&vm->board->layout, &config, err);
	if (!res)
		check_cmdline(vm);
	if (!res)
		res = make_cmdline(vm, err);
	return res ? res : make_acpi(vm, err);
}

static int load_tables(struct hako_vm *vm, struct err *err)
{
	const struct board *b = vm->board;
	const struct x86_boot_config boot = {
		.ram_low = ram_low(vm),
		.ram_high = vm->mem_size - ram_low(vm),
		.kernel = &vm->kernel,
		.cmdline = b->cmdline,
		.initrd = b->layout.initrd,
		.initrd_size = vm->has_initrd ? vm->initrd.size : 0,
		.rsdp = X86_ACPI,
	};
	const struct mptable_config mptable = {
		.base = X86_MPTABLE,
		.size_max = X86_BASE_MEMORY_END - X86_MPTABLE,
		.n_cpus = vm->n_cpus,
		.lapic = LAPIC_BASE,
		.ioapic = IOAPIC_BASE,
		.ioapic_pins = IOAPIC_PINS,
	};
	int res = x86_boot_load(&boot, vm->mem, err);

	if (!res)
		res = mptable_load(&mptable, vm->mem, err);
	if (!res && gmem_write(vm->mem, X86_ACPI, b->acpi, b->acpi_size))
		res = err_set(err, -EFAULT, "the ACPI tables do not fit into memory");
	return res;
}

struct start_reg {
	unsigned reg;
	uint64_t val;
};

/* Intel SDM volume 3A, 2.5 and 2.2.1. */
enum {
	CR0_PE = 1 << 0,
	CR0_ET = 1 << 4,
	CR0_NE = 1 << 5,
	CR4_PAE = 1 << 5,
	EFER_LME = 1 << 8,
	EFER_LMA = 1 << 10,
	RFLAGS_FIXED = 1 << 1,
};
#define CR0_PG (1ULL << 31)

/* The first CPU, as boot/x86.h tells. The others wait for it to start them. */
static void start_cpu(struct hako_vm *vm, gpa_t entry)
{
	static const struct start_reg common[] = {
		{ VCPU_REG_X86_GDTR_BASE, X86_GDT },
		{ VCPU_REG_X86_GDTR_LIMIT, X86_GDT_SIZE - 1 },
		{ VCPU_REG_X86_RFLAGS, RFLAGS_FIXED },
	};
	static const struct start_reg long_mode[] = {
		{ VCPU_REG_X86_CR3, X86_PAGE_TABLES },
		{ VCPU_REG_X86_CR4, CR4_PAE },
		{ VCPU_REG_X86_EFER, EFER_LME | EFER_LMA },
		{ VCPU_REG_X86_CR0, CR0_PE | CR0_ET | CR0_NE | CR0_PG },
		{ VCPU_REG_X86_RSI, X86_ZERO_PAGE },
	};
	static const struct start_reg protected_mode[] = {
		{ VCPU_REG_X86_CR0, CR0_PE | CR0_ET },
		{ VCPU_REG_X86_RBX, X86_START_INFO },
	};
	static const struct start_reg segments[] = {
		{ VCPU_REG_X86_CS, X86_BOOT_CS }, { VCPU_REG_X86_DS, X86_BOOT_DS },
		{ VCPU_REG_X86_ES, X86_BOOT_DS }, { VCPU_REG_X86_SS, X86_BOOT_DS },
		{ VCPU_REG_X86_FS, X86_BOOT_DS }, { VCPU_REG_X86_GS, X86_BOOT_DS },
	};
	bool pvh = vm->kernel.pvh;
	const struct {
		const struct start_reg *regs;
		size_t n;
	} steps[] = {
		{ common, ARRAY_SIZE(common) },
		{ pvh ? protected_mode : long_mode,
		  pvh ? ARRAY_SIZE(protected_mode) : ARRAY_SIZE(long_mode) },
		{ segments, ARRAY_SIZE(segments) },
	};

	for (size_t s = 0; s < ARRAY_SIZE(steps); s++)
		for (size_t i = 0; i < steps[s].n; i++)
			cpu_set(&vm->cpus[0], steps[s].regs[i].reg, steps[s].regs[i].val);
	cpu_set(&vm->cpus[0], VCPU_REG_X86_RIP, entry);
}

static int x86_load(struct hako_vm *vm, struct err *err)
{
	const struct layout *l = &vm->board->layout;
	gpa_t entry = l->kernel + (vm->kernel.bzimage.header_len ? BZIMAGE_ENTRY_64 : 0);
	int res = kernel_load(&vm->kernel, vm->mem, l->kernel, err);

	if (!res && vm->has_initrd)
		res = initrd_load(&vm->initrd, vm->mem, l->initrd, err);
	if (!res)
		res = load_tables(vm, err);
	if (!res)
		start_cpu(vm, vm->entry ? vm->entry : entry);
	return res;
}

const struct board_ops board_x86 = {
	.name = "x86",
	.code_align = 1,
	.has_ports = true,
	.create = x86_create,
	.destroy = x86_destroy,
	.wiring = x86_wiring,
	.prepare = x86_prepare,
	.load = x86_load,
	.reset = x86_reset,
	.wakeable = x86_wakeable,
};

/* SPDX-License-Identifier: MIT */
/*
 * The board of RISC-V guests, 32 and 64 bits: the memory map of QEMU's "virt" machine, so that
 * kernels made for that one run here unchanged.
 *
 * Who is the firmware? hako itself (sbi.c), and then harts begin in S-mode; or a file, or the
 * kernel is its own, and then all harts begin in M-mode at once; or the engine, in the host's
 * kernel (KVM), which leaves only SBI's console to sbi.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "boot/dtb.h"
#include "boot/layout.h"
#include "device/aclint.h"
#include "device/finisher.h"
#include "device/goldfish_rtc.h"
#include "device/ns16550.h"
#include "device/plic.h"
#include "engine/soft/rv/cpu.h"
#include "host/console.h"
#include "machine/riscv.h"
#include "machine/trace.h"
#include "machine/tree.h"
#include "machine/vm.h"
#include "virtio/mmio.h"

/* The memory map (QEMU, docs/system/riscv/virt.rst), and the PLIC's sources. */
enum {
	FINISHER_BASE = 0x100000,
	RTC_BASE = 0x101000,
	RTC_IRQ = 11,
	ACLINT_BASE = 0x2000000,
	PLIC_BASE = 0xc000000,
	UART_IRQ = 10,
	VIRTIO_BASE = 0x10001000,
	VIRTIO_STRIDE = 0x1000,
	VIRTIO_IRQ = 1,
	VIRTIO_SLOTS = 8,
	UART_SIZE = 0x100,
};
#define RAM_BASE 0x80000000ULL

/* Untranslated, an address of a 32-bit hart has 32 bits. */
#define RAM_MAX_RV32 (2ULL << 30)

/* `time` shows mtime (volume II, where it tells of mcounteren), and the tree has one rate
 * for both. */
_Static_assert((int)ACLINT_TIMEBASE == (int)RV_TIMEBASE, "a tick of MTIME is one of `time`");

struct board {
	struct plic *plic;
	struct aclint *aclint; /* NULL: there is no M-mode */
	struct ns16550 *uart;
	struct goldfish_rtc *rtc;
	struct finisher *finisher;
	struct virtio_mmio *virtio[VIRTIO_SLOTS];
	struct layout layout;
};

/* Firmware is here: hako, or the engine. */
static bool has_sbi(const struct hako_vm *vm)
{
	return !vm->has_firmware && !vm->no_firmware;
}

/* The engine is the firmware, in the host's kernel: harts have no M-mode, nor what serves it. */
static bool kernel_sbi(const struct hako_vm *vm)
{
	return vm->engine_ops->starts_cpus;
}

/* ---- wiring ---- */

static void raise(struct hako_vm *vm, unsigned cpu, enum vcpu_irq irq, bool level)
{
	static const char *const names[] = {
		[VCPU_SSI] = "supervisor software", [VCPU_MSI] = "machine software",
		[VCPU_MTI] = "machine timer",       [VCPU_SEI] = "supervisor external",
		[VCPU_MEI] = "machine external",
	};

	trace_cpu_irq(vm, cpu, names[irq], level);
	if (vm->cpus[cpu].vcpu)
		vm->engine_ops->vcpu_irq(vm->cpus[cpu].vcpu, irq, level);
}

static void external_irq(void *arg, unsigned cpu, bool is_m, bool level)
{
	raise(arg, cpu, is_m ? VCPU_MEI : VCPU_SEI, level);
}

static void software_irq(void *arg, unsigned cpu, bool level)
{
	raise(arg, cpu, VCPU_MSI, level);
}

static void timer_irq(void *arg, unsigned cpu, bool level)
{
	raise(arg, cpu, VCPU_MTI, level);
}

static void time_set(void *arg, uint64_t ahead)
{
	struct hako_vm *vm = arg;

	if (vm->engine_ops->time_ahead)
		vm->engine_ops->time_ahead(vm->engine, ahead);
}

static struct vcpu_wiring riscv_wiring(struct hako_vm *vm, unsigned index)
{
	(void)index;
	return (struct vcpu_wiring){ .sbi = has_sbi(vm) };
}

/* ---- devices ---- */

/* In the middle of a hart's store; the control thread stops the harts before it acts. */
static void finished(void *arg, enum finisher_end end, unsigned code)
{
	struct hako_vm *vm = arg;

	if (end == FINISHER_FAIL)
		vm_request_failure(vm, code);
	else
		vm_request(vm, end == FINISHER_RESET ? VM_RESET : VM_POWEROFF);
}

static int create_virtio(struct hako_vm *vm, struct err *err)
{
	int res = 0;

	for (unsigned i = 0; i < VIRTIO_SLOTS && !res; i++)
		res = vm_create_slot(vm, i, VIRTIO_BASE + i * (uint64_t)VIRTIO_STRIDE,
				     plic_source(vm->board->plic, VIRTIO_IRQ + i),
				     &vm->board->virtio[i], err);
	return res;
}

static void riscv_destroy(struct hako_vm *vm)
{
	struct board *b = vm->board;

	if (!b)
		return;
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		virtio_mmio_destroy(b->virtio[i]);
	finisher_destroy(b->finisher);
	goldfish_rtc_destroy(b->rtc);
	ns16550_destroy(b->uart);
	aclint_destroy(b->aclint);
	plic_destroy(b->plic);
	free(b);
	vm->board = NULL;
}

static int check_size(const struct hako_vm *vm, struct err *err)
{
	if (vm->n_disks > VIRTIO_SLOTS)
		return err_set(err, -EINVAL,
			       "a RISC-V machine cannot have %zu disks; it can have up to %d",
			       vm->n_disks, VIRTIO_SLOTS);
	if (vm->kernel.arch == KERNEL_RV32 && vm->mem_size > RAM_MAX_RV32)
		return err_set(
			err, -EINVAL,
			"a 32-bit RISC-V machine cannot have %llu MiB of memory; it can have "
			"up to %llu MiB",
			(unsigned long long)vm->mem_size >> 20, RAM_MAX_RV32 >> 20);
	return 0;
}

static int create_devices(struct hako_vm *vm, struct err *err)
{
	struct board *b = vm->board;
	const struct plic_config plic = {
		.bus = vm->mmio,
		.base = PLIC_BASE,
		.n_cpus = vm->n_cpus,
		.cpu_irq = external_irq,
		.arg = vm,
		.log = &vm->log,
	};
	const struct aclint_config aclint = {
		.bus = vm->mmio,
		.base = ACLINT_BASE,
		.n_cpus = vm->n_cpus,
		.clock = vm->clock,
		.msip = software_irq,
		.mtip = timer_irq,
		.time_set = time_set,
		.arg = vm,
		.log = &vm->log,
	};
	struct ns16550_config uart = {
		.bus = vm->mmio,
		.base = RISCV_UART_BASE,
		.max_access = 1,
		.con = vm->console,
		.clock = vm->clock,
		.log = &vm->log,
	};
	const struct finisher_config finisher = {
		.bus = vm->mmio,
		.base = FINISHER_BASE,
		.end = finished,
		.arg = vm,
		.log = &vm->log,
	};
	int res = plic_create(&b->plic, &plic, err);

	if (!res && !kernel_sbi(vm))
		res = aclint_create(&b->aclint, &aclint, err);
	if (!res) {
		uart.irq = trace_irq(vm, plic_source(b->plic, UART_IRQ), "uart");
		res = ns16550_create(&b->uart, &uart, err);
	}
	if (!res)
		res = goldfish_rtc_create(&b->rtc, vm->mmio, RTC_BASE,
					  trace_irq(vm, plic_source(b->plic, RTC_IRQ), "rtc"),
					  vm->clock, err);
	if (!res)
		res = finisher_create(&b->finisher, &finisher, err);
	return res ? res : create_virtio(vm, err);
}

static int riscv_create(struct hako_vm *vm, struct err *err)
{
	int res = check_size(vm, err);

	if (res)
		return res;
	vm->board = calloc(1, sizeof(*vm->board));
	if (!vm->board)
		return err_set(err, -ENOMEM, "no memory for the machine");
	res = gmem_add_ram(vm->mem, RAM_BASE, vm->mem_size, err);
	if (!res)
		res = create_devices(vm, err);
	if (res)
		riscv_destroy(vm);
	return res;
}

static void riscv_reset(struct hako_vm *vm)
{
	struct board *b = vm->board;

	/* Disks first: nothing may write to RAM that is about to be cleared. */
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		virtio_mmio_reset(b->virtio[i]);
	ns16550_reset(b->uart);
	goldfish_rtc_reset(b->rtc);
	if (b->aclint)
		aclint_reset(b->aclint);
	plic_reset(b->plic);
	for (unsigned i = 0; i < vm->n_cpus; i++)
		raise(vm, i, VCPU_SSI, false);
}

static bool riscv_wakeable(struct hako_vm *vm)
{
	const struct board *b = vm->board;

	return plic_any_enabled(b->plic) ||
	       (b->aclint ? aclint_any_armed(b->aclint) : vm_wakeable(vm));
}

/* ---- boot ---- */

static int build_dtb(struct hako_vm *vm, const struct dtb_chosen *chosen, struct err *err)
{
	struct vcpu_hart hart = { .isa = "" };
	int res = vm->engine_ops->vcpu_hart(vm->cpus[0].vcpu, &hart, err);
	const struct dtb_riscv_config config = {
		.ram_base = RAM_BASE,
		.ram_size = vm->mem_size,
		.n_cpus = vm->n_cpus,
		.rv64 = vm->kernel.arch == KERNEL_RV64,
		.isa = hart.isa,
		.mmu = hart.mmu,
		.cbom_block = hart.cbom_block,
		.cboz_block = hart.cboz_block,
		.timebase = hart.timebase,
		.machine_mode = !kernel_sbi(vm),
		.clint = { ACLINT_BASE, vm->board->aclint ? ACLINT_SIZE : 0, 0 },
		.plic = { PLIC_BASE, PLIC_SIZE, 0 },
		.plic_sources = PLIC_N_SOURCES - 1,
		.uart = { RISCV_UART_BASE, UART_SIZE, UART_IRQ },
		.rtc = { RTC_BASE, GOLDFISH_RTC_SIZE, RTC_IRQ },
		.test = { FINISHER_BASE, FINISHER_SIZE, 0 },
		.virtio = { VIRTIO_BASE, VIRTIO_STRIDE, VIRTIO_IRQ },
		.n_virtio = VIRTIO_SLOTS,
		.chosen = *chosen,
	};

	return res ? res : dtb_riscv(&config, &vm->dtb, &vm->dtb_size, err);
}

static int riscv_prepare(struct hako_vm *vm, struct err *err)
{
	struct layout *l = &vm->board->layout;
	const struct layout_config config = {
		.ram_base = RAM_BASE,
		.ram_size = vm->mem_size,
		.kernel = &vm->kernel,
		.firmware = vm->has_firmware ? &vm->firmware : NULL,
		.initrd_size = vm->has_initrd ? vm->initrd.size : 0,
		.dtb_size = DTB_SIZE_MAX,
		.dtb_addr = vm->dtb_addr,
	};
	int res;

	kernel_cut_headers(&vm->kernel, RAM_BASE);
	if (vm->has_firmware)
		kernel_cut_headers(&vm->firmware, RAM_BASE);
	res = layout_riscv(l, &config, err);
	return res ? res : tree_make(vm, l, build_dtb, err);
}

/*
 * What OpenSBI's fw_dynamic is told in a2 (include/sbi/fw_dynamic.h): fields as wide as a register.
 * Other firmware does not look.
 */
static int load_dynamic_info(struct hako_vm *vm, struct err *err)
{
	enum { MAGIC = 0x4942534f, VERSION = 2, S_MODE = 1 };
	const struct layout *l = &vm->board->layout;
	const uint64_t fields[] = { MAGIC, VERSION, l->kernel, S_MODE, 0, 0 /* boot hart */ };
	size_t width = vm->kernel.arch == KERNEL_RV64 ? 8 : 4;
	uint8_t bytes[sizeof(fields)];

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		le64_t field = le64(fields[i]);
		memcpy(bytes + i * width, &field, width);
	}
	if (gmem_write(vm->mem, l->firmware_page, bytes, ARRAY_SIZE(fields) * width))
		return err_set(err, -EFAULT, "the firmware's page does not fit into memory");
	return 0;
}

/* boot.rst, "Register state": a0 is the hart, a1 the tree. */
static void start_hart(struct hako_vm *vm, struct vm_cpu *cpu, gpa_t pc)
{
	enum { A0 = 10 };
	const struct layout *l = &vm->board->layout;

	cpu_set(cpu, VCPU_REG_X0 + A0, cpu->index);
	cpu_set(cpu, VCPU_REG_X0 + A0 + 1, l->dtb);
	cpu_set(cpu, VCPU_REG_X0 + A0 + 2, vm->has_firmware ? l->firmware_page : 0);
	cpu_set(cpu, VCPU_REG_PC, pc);
	pthread_mutex_lock(&vm->lock);
	cpu->state = CPU_ON;
	pthread_mutex_unlock(&vm->lock);
}

static int riscv_load(struct hako_vm *vm, struct err *err)
{
	const struct layout *l = &vm->board->layout;
	gpa_t start = vm->has_firmware ? l->firmware : l->kernel;
	int res = kernel_load(&vm->kernel, vm->mem, l->kernel, err);

	if (!res && vm->has_firmware)
		res = kernel_load(&vm->firmware, vm->mem, l->firmware, err);
	if (!res && vm->has_firmware)
		res = load_dynamic_info(vm, err);
	if (!res)
		res = tree_load(vm, l, err);
	if (res)
		return res;
	if (vm->entry)
		start = vm->entry;
	/* SBI's HSM starts the others; without it they all start. */
	for (unsigned i = 0; i < (has_sbi(vm) ? 1 : vm->n_cpus); i++)
		start_hart(vm, &vm->cpus[i], start);
	return 0;
}

const struct board_ops board_riscv = {
	.name = "riscv",
	.code_align = 2,
	.has_dtb = true,
	.takes_firmware = true,
	.create = riscv_create,
	.destroy = riscv_destroy,
	.wiring = riscv_wiring,
	.prepare = riscv_prepare,
	.load = riscv_load,
	.reset = riscv_reset,
	.call = sbi_call,
	.wakeable = riscv_wakeable,
};

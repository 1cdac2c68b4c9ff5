/* SPDX-License-Identifier: MIT */
/*
 * Firmware calls of RISC-V guests for which no firmware was given: the Supervisor Binary Interface,
 * version 2.0. The extensions are Base, Timer, IPI, RFENCE, HSM, System Reset and Debug Console,
 * and the calls of version 0.1 ("legacy").
 *
 * Threads: on the calling hart's thread.
 */
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/ns.h"
#include "bus/bus.h"
#include "machine/riscv.h"
#include "machine/vm.h"
#include "machine/walk.h"

/* Extension ids (a7) and their functions (a6), by the specification's chapters. */
enum {
	LEGACY_SET_TIMER,
	LEGACY_CONSOLE_PUTCHAR,
	LEGACY_CONSOLE_GETCHAR,
	LEGACY_CLEAR_IPI,
	LEGACY_SEND_IPI,
	LEGACY_REMOTE_FENCE_I,
	LEGACY_REMOTE_SFENCE_VMA,
	LEGACY_REMOTE_SFENCE_VMA_ASID,
	LEGACY_SHUTDOWN,
	LEGACY_END,

	EID_BASE = 0x10,
	EID_TIME = 0x54494d45,
	EID_IPI = 0x735049,
	EID_RFENCE = 0x52464e43,
	EID_HSM = 0x48534d,
	EID_SRST = 0x53525354,
	EID_DBCN = 0x4442434e,

	BASE_GET_SPEC_VERSION = 0,
	BASE_GET_IMPL_ID,
	BASE_GET_IMPL_VERSION,
	BASE_PROBE_EXTENSION,
	BASE_GET_MVENDORID,
	BASE_GET_MARCHID,
	BASE_GET_MIMPID,

	RFENCE_FENCE_I = 0,
	RFENCE_SFENCE_VMA,
	RFENCE_SFENCE_VMA_ASID,

	HSM_HART_START = 0,
	HSM_HART_STOP,
	HSM_HART_GET_STATUS,
	HSM_HART_SUSPEND,

	SRST_SHUTDOWN = 0,
	SRST_COLD_REBOOT,
	SRST_WARM_REBOOT,

	DBCN_WRITE = 0,
	DBCN_READ,
	DBCN_WRITE_BYTE,
};

/* Error codes (table 1) */
enum {
	SBI_SUCCESS = 0,
	SBI_ERR_FAILED = -1,
	SBI_ERR_NOT_SUPPORTED = -2,
	SBI_ERR_INVALID_PARAM = -3,
	SBI_ERR_INVALID_ADDRESS = -5,
	SBI_ERR_ALREADY_AVAILABLE = -6,
};

enum {
	SPEC_VERSION = 2 << 24, /* 2.0 */
	IMPL_ID = 0x68616b6f,   /* "hako": none of the ids given out so far */
	IMPL_VERSION = 1,
};

enum { A0 = VCPU_REG_X0 + 10 };

/* What a call returns: a0, and a1 unless it is a legacy call. */
struct ret {
	int64_t error;
	uint64_t value;
};

#define ERROR(code) ((struct ret){ .error = (code) })
#define VALUE(v)    ((struct ret){ .error = SBI_SUCCESS, .value = (v) })

static bool is_rv64(const struct hako_vm *vm)
{
	return vm->kernel.arch == KERNEL_RV64;
}

/* An argument; a 32-bit hart's registers are kept sign-extended. */
static uint64_t arg(struct vm_cpu *cpu, unsigned n)
{
	uint64_t v = cpu_get(cpu, A0 + n);

	return is_rv64(cpu->vm) ? v : (uint32_t)v;
}

/* ---- console: the UART, driven as a 16550 ---- */

enum { UART_DATA = 0, UART_LSR = 5, LSR_DR = 1 << 0, LSR_THRE = 1 << 5 };

static bool uart_has(struct hako_vm *vm, unsigned status)
{
	uint64_t lsr;

	return bus_read_own(vm->mmio, RISCV_UART_BASE + UART_LSR, 1, &lsr) == 0 && (lsr & status);
}

/* False: no room for it now. */
static bool uart_put(struct hako_vm *vm, uint8_t c)
{
	return uart_has(vm, LSR_THRE) && bus_write_own(vm->mmio, RISCV_UART_BASE, 1, c) == 0;
}

/* -1: nothing there. */
static int uart_get(struct hako_vm *vm)
{
	uint64_t c;

	if (!uart_has(vm, LSR_DR) || bus_read_own(vm->mmio, RISCV_UART_BASE, 1, &c))
		return -1;
	return (uint8_t)c;
}

/* Wait for room. False: there was none yet, and whoever holds the machine does not wait for a slow
 * reader. */
static bool uart_put_wait(struct hako_vm *vm, uint8_t c)
{
	static const struct timespec pause = { .tv_nsec = NS_PER_MS / 10 };
	bool over = false;

	while (!uart_put(vm, c)) {
		if (over)
			return false;
		nanosleep(&pause, NULL);
		pthread_mutex_lock(&vm->lock);
		over = vm->hold || vm->quit;
		pthread_mutex_unlock(&vm->lock);
	}
	return true;
}

/* How much of a buffer is moved at once; the caller asks again for the rest (12.1, 12.2). */
enum { DBCN_CHUNK = 256 };

static struct ret console_write(struct hako_vm *vm, uint64_t len, gpa_t at)
{
	uint8_t chunk[DBCN_CHUNK];
	size_t n = len < sizeof(chunk) ? (size_t)len : sizeof(chunk), done = 0;

	/* All of it must be memory, not only what is taken this time. */
	const struct gmem_region *r = gmem_find(vm->mem, at);
	if (len && (!r || !range_ok(at - r->base, len, r->size)))
		return ERROR(SBI_ERR_INVALID_PARAM);
	if (gmem_read(vm->mem, at, chunk, n))
		return ERROR(SBI_ERR_INVALID_PARAM);
	while (done < n && uart_put(vm, chunk[done]))
		done++;
	return VALUE(done);
}

static struct ret console_read(struct hako_vm *vm, uint64_t len, gpa_t at)
{
	const struct gmem_region *r = gmem_find(vm->mem, at);
	uint8_t chunk[DBCN_CHUNK];
	size_t n = 0;
	int c;

	if (len && (!r || !range_ok(at - r->base, len, r->size)))
		return ERROR(SBI_ERR_INVALID_PARAM);
	while (n < len && n < sizeof(chunk) && (c = uart_get(vm)) >= 0)
		chunk[n++] = (uint8_t)c;
	return gmem_write(vm->mem, at, chunk, n) ? ERROR(SBI_ERR_INVALID_PARAM) : VALUE(n);
}

static struct ret debug_console(struct hako_vm *vm, struct vm_cpu *cpu, uint64_t function)
{
	gpa_t at = arg(cpu, 1);

	/* The address is in two halves of a register each. */
	if (!is_rv64(vm))
		at |= arg(cpu, 2) << 32;
	else if (function != DBCN_WRITE_BYTE && arg(cpu, 2))
		return ERROR(SBI_ERR_INVALID_PARAM);
	switch (function) {
	case DBCN_WRITE: return console_write(vm, arg(cpu, 0), at);
	case DBCN_READ: return console_read(vm, arg(cpu, 0), at);
	case DBCN_WRITE_BYTE: return VALUE(0); /* written: sbi_call() */
	default: return ERROR(SBI_ERR_NOT_SUPPORTED);
	}
}

/* ---- timer, IPI, fences ---- */

static void set_timer(struct hako_vm *vm, struct vm_cpu *cpu)
{
	cpu_set(cpu, VCPU_REG_RV_STIMECMP,
		is_rv64(vm) ? arg(cpu, 0) : arg(cpu, 1) << 32 | arg(cpu, 0));
}

/* The harts that a mask from a base names (3.1); false when one of them is not there. */
static bool hart_mask(const struct hako_vm *vm, uint64_t mask, uint64_t base, uint64_t *harts)
{
	uint64_t all = mask_low(vm->n_cpus);
	uint64_t every = is_rv64(vm) ? ~0ULL : 0xffffffff;

	*harts = base == every ? all : base < 64 ? mask << base : 0;
	if (base == every)
		return true;
	return !(*harts & ~all) && *harts >> base == mask && base < vm->n_cpus;
}

static void send_ipi(struct hako_vm *vm, uint64_t harts)
{
	for (unsigned i = 0; i < vm->n_cpus; i++)
		if (bit(harts, i))
			vm->engine_ops->vcpu_irq(vm->cpus[i].vcpu, VCPU_SSI, true);
}

/* Pages that [start, start + size) touches: the whole of the address space is 0. */
static void fence_range(const struct hako_vm *vm, struct vcpu_fence *f, uint64_t start,
			uint64_t size)
{
	uint64_t max = is_rv64(vm) ? ~0ULL : 0xffffffff;

	f->va = align_down(start, GMEM_PAGE_SIZE);
	if ((start == 0 && size == 0) || size == max || size > max - start)
		f->pages = 0;
	else
		f->pages = (start - f->va + size + GMEM_PAGE_SIZE - 1) / GMEM_PAGE_SIZE;
}

static struct ret remote_fence(struct hako_vm *vm, struct vm_cpu *cpu, uint64_t function)
{
	struct vcpu_fence f = { .code = function == RFENCE_FENCE_I, .asid = ~0u };
	uint64_t harts;

	/* Those above are for guests of the hypervisor extension. */
	if (function > RFENCE_SFENCE_VMA_ASID)
		return ERROR(SBI_ERR_NOT_SUPPORTED);
	if (!hart_mask(vm, arg(cpu, 0), arg(cpu, 1), &harts))
		return ERROR(SBI_ERR_INVALID_PARAM);
	if (!f.code)
		fence_range(vm, &f, arg(cpu, 2), arg(cpu, 3));
	if (function == RFENCE_SFENCE_VMA_ASID)
		f.asid = (uint32_t)arg(cpu, 4) & (is_rv64(vm) ? 0xffff : 0x1ff);
	vm->engine_ops->vcpu_fence(cpu->vcpu, harts, &f);
	return VALUE(0);
}

static struct ret ipi(struct hako_vm *vm, struct vm_cpu *cpu, uint64_t function)
{
	uint64_t harts;

	if (function != 0)
		return ERROR(SBI_ERR_NOT_SUPPORTED);
	if (!hart_mask(vm, arg(cpu, 0), arg(cpu, 1), &harts))
		return ERROR(SBI_ERR_INVALID_PARAM);
	send_ipi(vm, harts);
	return VALUE(0);
}

/* ---- HSM ---- */

static struct ret hart_start(struct hako_vm *vm, uint64_t hart, uint64_t entry, uint64_t opaque)
{
	struct vm_cpu *cpu = hart < vm->n_cpus ? &vm->cpus[hart] : NULL;

	if (!cpu)
		return ERROR(SBI_ERR_INVALID_PARAM);
	if (entry % 2 || !gmem_find(vm->mem, entry))
		return ERROR(SBI_ERR_INVALID_ADDRESS);
	const struct cpu_reg regs[] = { { VCPU_REG_PC, entry }, { A0, hart }, { A0 + 1, opaque } };

	return vm_cpu_start(cpu, regs, ARRAY_SIZE(regs)) ? VALUE(0)
							 : ERROR(SBI_ERR_ALREADY_AVAILABLE);
}

static struct ret hart_status(struct hako_vm *vm, uint64_t hart)
{
	enum { STARTED = 0, STOPPED = 1, STOP_PENDING = 3 };

	if (hart >= vm->n_cpus)
		return ERROR(SBI_ERR_INVALID_PARAM);
	const struct vm_cpu *cpu = &vm->cpus[hart];
	pthread_mutex_lock(&vm->lock);
	uint64_t status = cpu->state == CPU_ON ? STARTED : cpu->parked ? STOPPED : STOP_PENDING;
	pthread_mutex_unlock(&vm->lock);
	return VALUE(status);
}

/*
 * Until an interrupt that is enabled in sie is pending (9.4). Nothing is lost in either kind of
 * sleep, but after a non-retentive one the hart goes on as one that was started does (table 32):
 * false then, it does not come back from the call.
 */
static bool hart_suspend(struct hako_vm *vm, struct vm_cpu *cpu, struct ret *ret)
{
	enum { SSTATUS_SIE = 1 << 1 };
	static const uint32_t RETENTIVE = 0, NON_RETENTIVE = 0x80000000;
	uint32_t type = (uint32_t)arg(cpu, 0);
	uint64_t resume = arg(cpu, 1), opaque = arg(cpu, 2);

	*ret = VALUE(0);
	if (type != RETENTIVE && type != NON_RETENTIVE)
		*ret = ERROR(SBI_ERR_INVALID_PARAM);
	else if (type == NON_RETENTIVE && (resume % 2 || !gmem_find(vm->mem, resume)))
		*ret = ERROR(SBI_ERR_INVALID_ADDRESS);
	if (ret->error)
		return true;
	cpu_set(cpu, VCPU_REG_RV_WFI, 1);
	if (type == RETENTIVE)
		return true;
	cpu_set(cpu, VCPU_REG_RV_SATP, 0);
	cpu_set(cpu, VCPU_REG_RV_SSTATUS,
		cpu_get(cpu, VCPU_REG_RV_SSTATUS) & ~(uint64_t)SSTATUS_SIE);
	cpu_set(cpu, VCPU_REG_PC, resume);
	cpu_set(cpu, A0, cpu->index);
	cpu_set(cpu, A0 + 1, opaque);
	return false;
}

/* False: the hart does not come back from this. */
static bool hsm(struct hako_vm *vm, struct vm_cpu *cpu, uint64_t function, struct ret *ret)
{
	switch (function) {
	case HSM_HART_START: *ret = hart_start(vm, arg(cpu, 0), arg(cpu, 1), arg(cpu, 2)); break;
	case HSM_HART_STOP: vm_cpu_stop(cpu); return false;
	case HSM_HART_GET_STATUS: *ret = hart_status(vm, arg(cpu, 0)); break;
	case HSM_HART_SUSPEND: return hart_suspend(vm, cpu, ret);
	default: *ret = ERROR(SBI_ERR_NOT_SUPPORTED);
	}
	return true;
}

/* ---- the rest ---- */

static struct ret base(struct hako_vm *vm, struct vm_cpu *cpu, uint64_t function)
{
	uint64_t id = arg(cpu, 0);

	(void)vm;
	switch (function) {
	case BASE_GET_SPEC_VERSION: return VALUE(SPEC_VERSION);
	case BASE_GET_IMPL_ID: return VALUE(IMPL_ID);
	case BASE_GET_IMPL_VERSION: return VALUE(IMPL_VERSION);
	case BASE_PROBE_EXTENSION:
		return VALUE(id < LEGACY_END || id == EID_BASE || id == EID_TIME || id == EID_IPI ||
			     id == EID_RFENCE || id == EID_HSM || id == EID_SRST || id == EID_DBCN);
	/* What the CSRs say (csr.c). */
	case BASE_GET_MVENDORID:
	case BASE_GET_MARCHID:
	case BASE_GET_MIMPID: return VALUE(0);
	default: return ERROR(SBI_ERR_NOT_SUPPORTED);
	}
}

/* False: the machine ends or resets. */
static bool system_reset(struct hako_vm *vm, struct vm_cpu *cpu, uint64_t function, struct ret *ret)
{
	enum { SYSTEM_FAILURE = 1 };
	uint64_t type = arg(cpu, 0), reason = arg(cpu, 1);

	*ret = ERROR(SBI_ERR_INVALID_PARAM);
	if (function != 0)
		*ret = ERROR(SBI_ERR_NOT_SUPPORTED);
	else if (type <= SRST_WARM_REBOOT && reason <= SYSTEM_FAILURE)
		return vm_request(vm, type == SRST_SHUTDOWN ? VM_POWEROFF : VM_RESET), false;
	return true;
}

/*
 * The harts of a legacy call: a mask at a virtual address of the guest's, or all of them where
 * there is none (5.5). Also when it cannot be read: an IPI too many does no harm.
 */
static uint64_t legacy_harts(struct hako_vm *vm, struct vm_cpu *cpu)
{
	uint64_t all = mask_low(vm->n_cpus);
	const struct walk_access a = { .va = arg(cpu, 0), .access = DEBUG_READ, .level = 1 };
	size_t size = is_rv64(vm) ? 8 : 4;
	uint8_t bytes[8] = { 0 };
	struct walk w;
	le64_t mask;

	if (!a.va || !vm->engine_ops->debug)
		return all;
	/* Aligned as a long is, so it is in one page. */
	walk_va(cpu, &a, &w);
	if (a.va % size || !w.ok || gmem_read(vm->mem, w.pa, bytes, size))
		return all;
	memcpy(&mask, bytes, sizeof(mask));
	return le64_get(mask) & all;
}

static bool legacy(struct hako_vm *vm, struct vm_cpu *cpu, uint64_t id, int64_t *result)
{
	struct vcpu_fence f = { .code = id == LEGACY_REMOTE_FENCE_I, .asid = ~0u };

	*result = 0;
	switch (id) {
	case LEGACY_SET_TIMER: set_timer(vm, cpu); break;
	case LEGACY_CONSOLE_PUTCHAR: break; /* put: sbi_call() */
	case LEGACY_CONSOLE_GETCHAR: *result = uart_get(vm); break;
	case LEGACY_CLEAR_IPI: vm->engine_ops->vcpu_irq(cpu->vcpu, VCPU_SSI, false); break;
	case LEGACY_SEND_IPI: send_ipi(vm, legacy_harts(vm, cpu)); break;
	case LEGACY_REMOTE_FENCE_I:
	case LEGACY_REMOTE_SFENCE_VMA:
	case LEGACY_REMOTE_SFENCE_VMA_ASID:
		if (id == LEGACY_REMOTE_SFENCE_VMA_ASID)
			f.asid = (uint32_t)arg(cpu, 3) & (is_rv64(vm) ? 0xffff : 0x1ff);
		if (!f.code)
			fence_range(vm, &f, arg(cpu, 1), arg(cpu, 2));
		vm->engine_ops->vcpu_fence(cpu->vcpu, legacy_harts(vm, cpu), &f);
		break;
	case LEGACY_SHUTDOWN: vm_request(vm, VM_POWEROFF); return false;
	default: return false;
	}
	return true;
}

/* These wait until there is room for their character. */
static bool puts_one(uint64_t id, uint64_t function)
{
	return id == LEGACY_CONSOLE_PUTCHAR || (id == EID_DBCN && function == DBCN_WRITE_BYTE);
}

void sbi_call(struct hako_vm *vm, struct vm_cpu *cpu)
{
	uint64_t id = arg(cpu, 7), function = arg(cpu, 6);
	struct ret ret = ERROR(SBI_ERR_NOT_SUPPORTED);
	int64_t result;

	if (puts_one(id, function) && !uart_put_wait(vm, (uint8_t)arg(cpu, 0))) {
		cpu->in_call = true;
		return;
	}
	if (id < LEGACY_END) {
		if (legacy(vm, cpu, id, &result))
			cpu_set(cpu, A0, (uint64_t)result);
		return;
	}
	switch (id) {
	case EID_BASE: ret = base(vm, cpu, function); break;
	case EID_TIME:
		if (function == 0) {
			set_timer(vm, cpu);
			ret = VALUE(0);
		}
		break;
	case EID_IPI: ret = ipi(vm, cpu, function); break;
	case EID_RFENCE: ret = remote_fence(vm, cpu, function); break;
	case EID_HSM:
		if (!hsm(vm, cpu, function, &ret))
			return;
		break;
	case EID_SRST:
		if (!system_reset(vm, cpu, function, &ret))
			return;
		break;
	case EID_DBCN: ret = debug_console(vm, cpu, function); break;
	}
	cpu_set(cpu, A0, (uint64_t)ret.error);
	cpu_set(cpu, A0 + 1, ret.value);
}

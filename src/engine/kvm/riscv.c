/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM on RISC-V hosts: SBI and the timer in the kernel, registers, what a hart has.
 *
 * The interface: Linux, Documentation/virt/kvm/api.rst, "4.68 KVM_SET_ONE_REG" on, and
 * arch/riscv/include/uapi/asm/kvm.h.
 *
 * The interrupt controller is the board's PLIC. Its line into a hart is KVM_INTERRUPT, which any
 * thread may call at any time; it wakes the hart. The kernel sends IPIs and has the timer, and is
 * the firmware: harts begin in S-mode, all but the first stopped, and hart_start is the kernel's.
 * What it passes on, SBI's console, becomes VCPU_CALL.
 *
 * A call is over when KVM_RUN is entered again: only then the kernel puts run->riscv_sbi.ret into
 * a0 and a1 and steps behind the ECALL. So a0 and a1 that are set during a call go there.
 *
 * Reset in place: there is no call for it before Linux 6.15. The registers of a new vCPU are read,
 * and written again.
 *
 * An access that no device takes reads as ones, or is lost: there is no way to have KVM raise an
 * access fault.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "engine/kvm/kvm.h"

enum { A0 = VCPU_REG_X0 + 10 };

struct kvm_arch_vcpu {
	struct kvm_reg_list *regs; /* those that a reset writes, */
	uint8_t *at_start;         /* and their values, one after the other */
	bool in_call;              /* of run->riscv_sbi */
};

const enum guest_arch kvm_arch_guest = GUEST_RV64;
const char *const kvm_arch_name = "riscv64";
const unsigned kvm_arch_pc = VCPU_REG_PC;
const bool kvm_arch_trigger_is_guests = false; /* there are no such lines */

const char *kvm_arch_slow(void)
{
	return NULL;
}

const struct kvm_need kvm_arch_needs[] = {
	{ KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG", "5.16" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "5.16" },
	{ 0, NULL, NULL },
};

/* ---- the VM ---- */

unsigned long kvm_arch_vm_type(int kvm)
{
	(void)kvm;
	return 0;
}

unsigned kvm_arch_address_bits(const struct engine *e)
{
	int bits = kvm_cap(e, KVM_CAP_VM_GPA_BITS);

	return bits > 0 ? (unsigned)bits : 64;
}

int kvm_arch_create(struct engine *e, struct err *err)
{
	(void)e;
	(void)err;
	return 0;
}

void kvm_arch_destroy(struct engine *e)
{
	(void)e;
}

/* KVM has an AIA on some hosts; boards have a PLIC. */
int kvm_arch_irqchip_create(struct engine *e, struct engine_irqchip *chip, struct err *err)
{
	(void)e;
	(void)chip;
	return err_set(err, -ENOTSUP, "KVM on RISC-V hosts has no interrupt controller for this");
}

uint32_t kvm_arch_irq_line(unsigned pin)
{
	return pin;
}

int kvm_arch_reset(struct engine *e, struct err *err)
{
	(void)e;
	(void)err;
	return 0;
}

void kvm_arch_vcpu_irq(struct vcpu *v, enum vcpu_irq irq, bool level)
{
	struct kvm_interrupt arg = { .irq = level ? KVM_INTERRUPT_SET : KVM_INTERRUPT_UNSET };

	/* Nothing is behind the PLIC's lines into M-mode, and IPIs are the kernel's. */
	if (irq == VCPU_SEI)
		kvm_ioctl(v->fd, KVM_INTERRUPT, &arg);
}

/* ---- registers ---- */

#define ULONG_REG(kind, index) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | (kind) | (index))
#define CONFIG(name)           ULONG_REG(KVM_REG_RISCV_CONFIG, KVM_REG_RISCV_CONFIG_REG(name))
#define CSR(name)              ULONG_REG(KVM_REG_RISCV_CSR, KVM_REG_RISCV_CSR_REG(name))
#define TIMER(name)            ULONG_REG(KVM_REG_RISCV_TIMER, KVM_REG_RISCV_TIMER_REG(name))
#define ISA_EXT(id)            ULONG_REG(KVM_REG_RISCV_ISA_EXT, id)
#define SBI_EXT(id)            ULONG_REG(KVM_REG_RISCV_SBI_EXT, id)

static int one_reg(struct vcpu *v, unsigned long request, uint64_t id, void *val)
{
	struct kvm_one_reg arg = { .id = id, .addr = (uintptr_t)val };

	return kvm_ioctl(v->fd, request, &arg);
}

/* KVM's name of a register; 0: there is no such register. */
static uint64_t reg_id(unsigned reg)
{
	/* pc has the place of x0 */
	if (reg > VCPU_REG_X0 && reg < VCPU_REG_PC)
		return ULONG_REG(KVM_REG_RISCV_CORE, KVM_REG_RISCV_CORE_REG(regs.ra) + reg - 1);
	switch (reg) {
	case VCPU_REG_PC: return ULONG_REG(KVM_REG_RISCV_CORE, KVM_REG_RISCV_CORE_REG(regs.pc));
	case VCPU_REG_RV_STIMECMP: return TIMER(compare);
	case VCPU_REG_RV_SATP: return CSR(satp);
	case VCPU_REG_RV_SSTATUS: return CSR(sstatus);
	default: return 0;
	}
}

static void access_reg(struct vcpu *v, unsigned long request, unsigned reg, uint64_t *val)
{
	uint64_t id = reg_id(reg);
	int res = id ? one_reg(v, request, id, val) : -EINVAL;

	if (res && !v->failed)
		v->failed = res;
}

uint64_t kvm_arch_get(struct vcpu *v, unsigned reg)
{
	uint64_t val = 0;

	if (reg != VCPU_REG_X0)
		access_reg(v, KVM_GET_ONE_REG, reg, &val);
	return val;
}

void kvm_arch_set(struct vcpu *v, unsigned reg, uint64_t val)
{
	if (v->arch->in_call && (reg == A0 || reg == A0 + 1))
		v->run->riscv_sbi.ret[reg - A0] = val;
	else if (reg != VCPU_REG_X0)
		access_reg(v, KVM_SET_ONE_REG, reg, &val);
}

/* ---- what a hart has ---- */

/*
 * Extensions by KVM's number (enum KVM_RISCV_ISA_EXT_ID, which only grows; these are Linux 6.12's,
 * and of newer ones guests are not told), with the names of device trees (extensions.yaml). An
 * empty name: guests have it not. That is the hypervisor extension; Svpbmt, by which a guest would
 * look past the host's caches at a mirror (kvm.c); AIA's CSRs, which would make it look for AIA's
 * controllers; and the seed CSR, which KVM would leave to us.
 */
static const char extensions[][12] = {
	"a",        "c",       "d",         "f",           "",       "i",        "m",
	"",         "sstc",    "svinval",   "zihintpause", "zicbom", "zicboz",   "zbb",
	"",         "v",       "svnapot",   "zba",         "zbs",    "zicntr",   "zicsr",
	"zifencei", "zihpm",   "smstateen", "zicond",      "zbc",    "zbkb",     "zbkc",
	"zbkx",     "zknd",    "zkne",      "zknh",        "",       "zksed",    "zksh",
	"zkt",      "zvbb",    "zvbc",      "zvkb",        "zvkg",   "zvkned",   "zvknha",
	"zvknhb",   "zvksed",  "zvksh",     "zvkt",        "zfh",    "zfhmin",   "zihintntl",
	"zvfh",     "zvfhmin", "zfa",       "ztso",        "zacas",  "sscofpmf", "zimop",
	"zca",      "zcb",     "zcd",       "zcf",         "zcmop",  "zawrs",
};

/* Does the vCPU have it? */
static bool has_extension(struct vcpu *v, unsigned number)
{
	uint64_t on = 0;

	return one_reg(v, KVM_GET_ONE_REG, ISA_EXT(number), &on) == 0 && on;
}

static void hide_extensions(struct vcpu *v)
{
	uint64_t off = 0;

	/* Where KVM has no such thing, or no way to hide it, guests are not told of it. */
	for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++)
		if (!extensions[i][0])
			one_reg(v, KVM_SET_ONE_REG, ISA_EXT(i), &off);
}

/* Those of one letter in the order of the manual (volume I, table 74), then the others. */
static void tell_isa(struct vcpu *v, char *isa, size_t size)
{
	size_t n = (size_t)snprintf(isa, size, "rv64");

	for (const char *letter = "imafdcv"; *letter; letter++)
		for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++)
			if (extensions[i][0] == *letter && !extensions[i][1] && has_extension(v, i))
				n += (size_t)snprintf(isa + n, size - n, "%c", *letter);
	for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++)
		if (extensions[i][0] && extensions[i][1] && has_extension(v, i))
			n += (size_t)snprintf(isa + n, size - n, "_%s", extensions[i]);
}

_Static_assert(sizeof("rv64") + sizeof(extensions) < VCPU_ISA_MAX, "each name fits into its row");

/* A number that not every host has: 0 there. */
static uint64_t number(struct vcpu *v, uint64_t id)
{
	uint64_t val = 0;

	return one_reg(v, KVM_GET_ONE_REG, id, &val) ? 0 : val;
}

int kvm_arch_vcpu_hart(struct vcpu *v, struct vcpu_hart *hart, struct err *err)
{
	/* satp.MODE (volume II, table 34) */
	static const char *const modes[] = {
		[8] = "riscv,sv39", [9] = "riscv,sv48", [10] = "riscv,sv57"
	};
	uint64_t frequency = 0, mode = number(v, CONFIG(satp_mode));
	int res = one_reg(v, KVM_GET_ONE_REG, TIMER(frequency), &frequency);

	if (res)
		return err_set(err, res, "KVM cannot tell how fast the guest's clock runs: %s",
			       strerror(-res));
	tell_isa(v, hart->isa, sizeof(hart->isa));
	hart->mmu = mode < ARRAY_SIZE(modes) ? modes[mode] : NULL;
	hart->timebase = (uint32_t)frequency;
	hart->cbom_block = (uint32_t)number(v, CONFIG(zicbom_block_size));
	hart->cboz_block = (uint32_t)number(v, CONFIG(zicboz_block_size));
	return 0;
}

/* ---- reset ---- */

static size_t reg_size(uint64_t id)
{
	return (size_t)1 << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
}

/* Does a reset write it? The timer is more than its registers, and the rest is how a vCPU
 * is made. */
static bool is_state(uint64_t id)
{
	switch (id & KVM_REG_RISCV_TYPE_MASK) {
	case KVM_REG_RISCV_CORE:
	case KVM_REG_RISCV_CSR:
	case KVM_REG_RISCV_FP_F:
	case KVM_REG_RISCV_FP_D:
	case KVM_REG_RISCV_VECTOR: return true;
	default: return false;
	}
}

/* The vCPU is new: remember its registers. */
static int note_start(struct vcpu *v, struct err *err)
{
	struct kvm_arch_vcpu *a = v->arch;
	struct kvm_reg_list count = { 0 };
	size_t size = 0, n = 0;
	uint8_t *at;
	int res = kvm_ioctl(v->fd, KVM_GET_REG_LIST, &count);

	if (res != -E2BIG) /* which tells how many there are */
		return err_set(
			err, -ENODEV,
			"the host's KVM cannot list a CPU's registers, which Linux can since "
			"6.6; a newer kernel on the host will do");
	a->regs = calloc(1, sizeof(*a->regs) + count.n * sizeof(a->regs->reg[0]));
	if (!a->regs)
		return err_set(err, -ENOMEM, "no memory for CPU %u", v->index);
	a->regs->n = count.n;
	res = kvm_do(v->fd, KVM_GET_REG_LIST, a->regs, "list a CPU's registers", err);
	if (res)
		return res;
	for (size_t i = 0; i < a->regs->n; i++) {
		if (!is_state(a->regs->reg[i]))
			continue;
		a->regs->reg[n++] = a->regs->reg[i];
		size += reg_size(a->regs->reg[i]);
	}
	a->regs->n = n;
	at = a->at_start = calloc(1, size);
	if (!at)
		return err_set(err, -ENOMEM, "no memory for CPU %u", v->index);
	for (size_t i = 0; i < n && !res; at += reg_size(a->regs->reg[i++]))
		res = one_reg(v, KVM_GET_ONE_REG, a->regs->reg[i], at);
	return res ? err_set(err, res, "KVM cannot read a CPU's registers: %s", strerror(-res)) : 0;
}

int kvm_arch_vcpu_reset(struct vcpu *v)
{
	struct kvm_mp_state state = { v->index ? KVM_MP_STATE_STOPPED : KVM_MP_STATE_RUNNABLE };
	struct kvm_arch_vcpu *a = v->arch;
	uint64_t off = KVM_RISCV_TIMER_STATE_OFF, never = UINT64_MAX;
	const uint8_t *at = a->at_start;
	int res = 0;

	/* A call that has not come back never does. */
	v->run->exit_reason = KVM_EXIT_UNKNOWN;
	a->in_call = false;
	for (size_t i = 0; i < a->regs->n && !res; at += reg_size(a->regs->reg[i++]))
		res = one_reg(v, KVM_SET_ONE_REG, a->regs->reg[i], (void *)(uintptr_t)at);
	/* It may be off already, which is an error to KVM. */
	one_reg(v, KVM_SET_ONE_REG, TIMER(state), &off);
	if (!res)
		res = one_reg(v, KVM_SET_ONE_REG, TIMER(compare), &never);
	return res ? res : kvm_ioctl(v->fd, KVM_SET_MP_STATE, &state);
}

/* ---- vCPUs ---- */

void kvm_arch_vcpu_prepare(struct engine *e)
{
	(void)e;
}

int kvm_arch_vcpu_create(struct vcpu *v, struct err *err)
{
	uint64_t on = 1;
	int res;

	v->arch = calloc(1, sizeof(*v->arch));
	if (!v->arch)
		return err_set(err, -ENOMEM, "no memory for CPU %u", v->index);
	hide_extensions(v);
	/* The debug console, since 6.8; before that guests have the old one alone. */
	one_reg(v, KVM_SET_ONE_REG, SBI_EXT(KVM_RISCV_SBI_EXT_DBCN), &on);
	res = note_start(v, err);
	if (res)
		return res;
	res = kvm_arch_vcpu_reset(v);
	return res ? err_set(err, res, "KVM cannot set up CPU %u: %s", v->index, strerror(-res))
		   : 0;
}

void kvm_arch_vcpu_destroy(struct vcpu *v)
{
	if (!v->arch)
		return;
	free(v->arch->regs);
	free(v->arch->at_start);
	free(v->arch);
	v->arch = NULL;
}

int kvm_arch_enter(struct vcpu *v)
{
	v->arch->in_call = false;
	return 0;
}

/* Guests have no memory types (Svpbmt), so what they see is what was stored. */
void kvm_arch_written(const void *at, size_t len)
{
	(void)at;
	(void)len;
}

void kvm_arch_bad_access(struct vcpu *v)
{
	(void)v;
}

int kvm_arch_exit(struct vcpu *v, enum vcpu_exit *exit)
{
	struct kvm_run *run = v->run;

	if (run->exit_reason != KVM_EXIT_RISCV_SBI)
		return -ENOSYS;
	kvm_count(v, COUNT_CALL);
	/* The oldest calls leave a1 alone (SBI, chapter 5). */
	run->riscv_sbi.ret[1] = run->riscv_sbi.args[1];
	v->arch->in_call = true;
	*exit = VCPU_CALL;
	return 0;
}

/* Off, by SBI's hart_stop. Of WFI it is known that it sleeps (KVM_STAT_BLOCKING). */
bool kvm_arch_asleep(struct vcpu *v)
{
	struct kvm_mp_state state = { 0 };

	return kvm_ioctl(v->fd, KVM_GET_MP_STATE, &state) == 0 &&
	       state.mp_state == KVM_MP_STATE_STOPPED;
}

const bool kvm_arch_asks_wakeable = true;

/* By a timer, or what is pending already, if it is enabled. Of the PLIC, the board knows. */
bool kvm_arch_wakeable(struct engine *e)
{
	enum { STIE = 5 }; /* in sie (volume II, 12.1.3) */

	for (struct vcpu *v = e->vcpus; v; v = v->next) {
		uint64_t sie = number(v, CSR(sie));

		if ((sie & number(v, CSR(sip))) ||
		    (bit(sie, STIE) && number(v, TIMER(compare)) != UINT64_MAX))
			return true;
	}
	return false;
}

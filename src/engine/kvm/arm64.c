/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM on arm64 hosts: the GIC and PSCI in the kernel, registers, external aborts.
 *
 * The interface: Linux, Documentation/virt/kvm/api.rst, devices/arm-vgic-v3.rst and arm-vgic.rst.
 * Registers of the GIC have the names and offsets of IHI0069 (version 3) and IHI0048 (version 2).
 *
 * Caches: what is loaded has to be in memory, past them, for a guest whose MMU is off (Linux,
 * Documentation/arm64/booting.rst), and not be stale in caches of instructions. Linux sees to both
 * when a vCPU first touches a page (user_mem_abort() in arch/arm64/kvm/mmu.c), and
 * KVM_ARM_VCPU_INIT of a vCPU that has run takes all pages away from the guest; or, where the CPU
 * has FEAT_S2FWB, which makes the guest's accesses go by the caches, and so needs the first no
 * more, empties the caches of instructions (kvm_arch_vcpu_ioctl_vcpu_init() in arm.c). So whoever
 * loads before that or right after it has nothing to do; a debugger who writes code later has
 * (debug.c).
 *
 * Reset in place: KVM_ARM_VCPU_INIT again is a CPU's reset. A GIC has no such call: its registers
 * are written, one by one, to what the software CPU's GIC has after a reset. That is zero, but in
 * the CPU interface, which differs among hosts: there it is what was read before the guest ran.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "engine/kvm/kvm.h"

/* What 40 bits reach holds the machine, and it is all that hosts before 4.20 have. */
enum { ADDRESS_BITS = 40 };

enum { CPU_REGS_MAX = 15 }; /* registers of a GIC's CPU interface */

struct kvm_arch_vm {
	unsigned address_bits;
	bool can_abort; /* KVM_CAP_ARM_INJECT_EXT_DABT, since 5.5 */
	struct kvm_vcpu_init vcpu_init;
	int gic;
	unsigned gic_version;
	unsigned n_intids;
	uint64_t cpu_regs[CPU_REGS_MAX]; /* of gic_v3_cpu or gic_v2_cpu, before the guest ran */
	uint32_t has_cpu_reg;            /* bit i: this host's GIC has it */
};

const enum guest_arch kvm_arch_guest = GUEST_A64;
const char *const kvm_arch_name = "arm64";
const unsigned kvm_arch_pc = VCPU_REG_PC;
/* GICD_ICFGR: all SPIs are levels until the guest says otherwise. */
const bool kvm_arch_trigger_is_guests = true;

const char *kvm_arch_slow(void)
{
	return NULL;
}

const struct kvm_need kvm_arch_needs[] = {
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "2.6.20" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "2.6.32" },
	{ KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG", "3.6" },
	{ KVM_CAP_DEVICE_CTRL, "KVM_CAP_DEVICE_CTRL", "3.10" },
	{ KVM_CAP_ARM_PSCI_0_2, "KVM_CAP_ARM_PSCI_0_2", "3.16" },
	{ 0, NULL, NULL },
};

/* ---- the VM ---- */

/* How many bits an address may have is the host's choice since 4.20; before, it was 40. */
static unsigned address_bits(int kvm)
{
	int limit = kvm_ioctl(kvm, KVM_CHECK_EXTENSION, (void *)KVM_CAP_ARM_VM_IPA_SIZE);

	return limit > 0 && limit < ADDRESS_BITS ? (unsigned)limit : ADDRESS_BITS;
}

unsigned long kvm_arch_vm_type(int kvm)
{
	unsigned bits = address_bits(kvm);

	return bits == ADDRESS_BITS ? 0 : KVM_VM_TYPE_ARM_IPA_SIZE(bits);
}

unsigned kvm_arch_address_bits(const struct engine *e)
{
	return e->arch->address_bits;
}

int kvm_arch_create(struct engine *e, struct err *err)
{
	struct kvm_enable_cap nisv = { .cap = KVM_CAP_ARM_NISV_TO_USER };
	struct kvm_arch_vm *a = e->arch = calloc(1, sizeof(*a));
	int res;

	if (!a)
		return err_set(err, -ENOMEM, "no memory for the engine KVM");
	a->gic = -1;
	a->address_bits = address_bits(e->kvm);
	a->can_abort = kvm_cap(e, KVM_CAP_ARM_INJECT_EXT_DABT) > 0;
	if (kvm_cap(e, KVM_CAP_ARM_NISV_TO_USER) > 0)
		kvm_ioctl(e->vm, KVM_ENABLE_CAP, &nisv);
	res = kvm_do(e->vm, KVM_ARM_PREFERRED_TARGET, &a->vcpu_init, "tell the host's CPU", err);
	if (res < 0)
		return res;
	/* Nothing that the board's software CPU or device tree have not: no PMU, SVE, PAC. */
	a->vcpu_init.features[0] = 1U << KVM_ARM_VCPU_PSCI_0_2;
	return 0;
}

void kvm_arch_destroy(struct engine *e)
{
	if (!e->arch)
		return;
	if (e->arch->gic >= 0)
		close(e->arch->gic);
	free(e->arch);
	e->arch = NULL;
}

/* ---- the GIC ---- */

static int gic_attr(const struct kvm_arch_vm *a, unsigned long request, uint32_t group,
		    uint64_t attr, void *val)
{
	struct kvm_device_attr arg = { .group = group, .attr = attr, .addr = (uintptr_t)val };

	return kvm_ioctl(a->gic, request, &arg);
}

static int gic_set(const struct kvm_arch_vm *a, uint32_t group, uint64_t attr, void *val,
		   const char *what, struct err *err)
{
	int res = gic_attr(a, KVM_SET_DEVICE_ATTR, group, attr, val);

	if (res < 0)
		err_set(err, res, "KVM's interrupt controller does not take %s: %s", what,
			strerror(-res));
	return res;
}

static int gic_create(struct engine *e, uint32_t type)
{
	struct kvm_create_device device = { .type = type };
	int res = kvm_ioctl(e->vm, KVM_CREATE_DEVICE, &device);

	if (!res)
		e->arch->gic = (int)device.fd;
	return res;
}

int kvm_arch_irqchip_create(struct engine *e, struct engine_irqchip *chip, struct err *err)
{
	struct kvm_arch_vm *a = e->arch;
	uint32_t n_intids = a->n_intids = chip->n_spis + 32;
	int res = gic_create(e, KVM_DEV_TYPE_ARM_VGIC_V3);

	a->gic_version = 3;
	if (res == -ENODEV) {
		res = gic_create(e, KVM_DEV_TYPE_ARM_VGIC_V2);
		a->gic_version = 2;
	}
	if (res)
		return err_set(err, res,
			       "KVM on this host has no interrupt controller for guests, neither "
			       "GICv3 nor GICv2: %s; take the engine soft",
			       strerror(-res));
	chip->gic_version = a->gic_version;
	res = gic_set(a, KVM_DEV_ARM_VGIC_GRP_ADDR,
		      a->gic_version == 3 ? KVM_VGIC_V3_ADDR_TYPE_DIST : KVM_VGIC_V2_ADDR_TYPE_DIST,
		      &chip->gicd_base, "its distributor's address", err);
	if (!res && a->gic_version == 3)
		res = gic_set(a, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST,
			      &chip->gicr_base, "its redistributors' address", err);
	else if (!res)
		res = gic_set(a, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V2_ADDR_TYPE_CPU,
			      &chip->gicc_base, "its CPU interface's address", err);
	if (!res)
		res = gic_set(a, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &n_intids,
			      "its number of interrupts", err);
	return res;
}

uint32_t kvm_arch_irq_line(unsigned pin)
{
	return (uint32_t)KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (pin + 32);
}

/*
 * What a guest can change of each INTID: of those from 32 on in the distributor, of the first 32,
 * which each CPU has of its own, in the redistributor (version 2: in the distributor, banked).
 * Version 3 ignores GICD_ICPENDR here, and takes zeroes in GICD_ISPENDR instead.
 */
static const struct gic_bank {
	uint16_t offset, clear; /* of the register, and of the one that clears its bits, or 0 */
	uint8_t bits;           /* for each INTID */
	bool v2, v3;
	bool shared_only; /* INTIDs from 32 on */
	bool at_start;    /* KVM begins with something else than zero */
} gic_banks[] = {
	{ 0x0080, 0, 1, true, true, false, true },       /* IGROUPR: version 3 has ones */
	{ 0x0100, 0x0180, 1, true, true, false, false }, /* ISENABLER, ICENABLER */
	{ 0x0200, 0x0280, 1, true, true, false, false }, /* ISPENDR, ICPENDR */
	{ 0x0300, 0x0380, 1, true, true, false, false }, /* ISACTIVER, ICACTIVER */
	{ 0x0400, 0, 8, true, true, false, false },      /* IPRIORITYR */
	{ 0x0c00, 0, 2, true, true, false, true },       /* ICFGR: SPIs are edges */
	{ 0x0800, 0, 8, true, false, true, false },      /* ITARGETSR */
	{ 0x6000, 0, 64, false, true, true, false },     /* IROUTER */
};

enum {
	GICD_CTLR = 0,
	GICD_CPENDSGIR = 0xf10, /* version 2, a byte for each of 16 SGIs */
	GICR_SGI_BASE = 0x10000,
};

/* The CPU interface. Version 2: GICC_CTLR, PMR, BPR, ABPR and APR0 to 3. */
static const uint16_t gic_v2_cpu[] = { 0x00, 0x04, 0x08, 0x1c, 0xd0, 0xd4, 0xd8, 0xdc };

/* Version 3: op0, op1, CRn, CRm and op2 as MRS has them. ICC_AP*R1 to 3 are not everywhere. */
#define ICC(crn, crm, op2) (3 << 14 | (crn) << 7 | (crm) << 3 | (op2))
static const uint16_t gic_v3_cpu[] = {
	ICC(12, 12, 5),                                               /* ICC_SRE_EL1 */
	ICC(12, 12, 4), ICC(4, 6, 0),                                 /* CTLR, PMR */
	ICC(12, 8, 3),  ICC(12, 12, 3),                               /* BPR0, BPR1 */
	ICC(12, 12, 6), ICC(12, 12, 7),                               /* IGRPEN0, IGRPEN1 */
	ICC(12, 8, 4),  ICC(12, 8, 5),  ICC(12, 8, 6), ICC(12, 8, 7), /* AP0R0 to 3 */
	ICC(12, 9, 0),  ICC(12, 9, 1),  ICC(12, 9, 2), ICC(12, 9, 3), /* AP1R0 to 3 */
};

_Static_assert(ARRAY_SIZE(gic_v3_cpu) <= CPU_REGS_MAX, "room for version 3");
_Static_assert(ARRAY_SIZE(gic_v2_cpu) <= CPU_REGS_MAX, "room for version 2");

/* Where the kernel has the registers: of the distributor; and those that a CPU has of its own. */
static const struct gic_map {
	uint32_t cpu_banks, cpu_regs; /* groups */
	uint32_t banks_base;
	const uint16_t *regs;
	size_t n_regs;
} gic_maps[] = {
	[2] = { KVM_DEV_ARM_VGIC_GRP_DIST_REGS, KVM_DEV_ARM_VGIC_GRP_CPU_REGS, 0, gic_v2_cpu,
		ARRAY_SIZE(gic_v2_cpu) },
	[3] = { KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, GICR_SGI_BASE,
		gic_v3_cpu, ARRAY_SIZE(gic_v3_cpu) },
};

static int gic_write(struct kvm_arch_vm *a, uint32_t group, uint64_t attr, uint64_t val,
		     struct err *err)
{
	return gic_set(a, group, attr, &val, "a register's reset", err);
}

/* Zero the registers of INTIDs `first` to `end` - 1; `base` is what goes before an offset. */
static int gic_reset_banks(struct kvm_arch_vm *a, uint32_t group, uint64_t base, unsigned first,
			   unsigned end, bool at_start, struct err *err)
{
	int res = 0;

	for (size_t i = 0; i < ARRAY_SIZE(gic_banks) && !res; i++) {
		const struct gic_bank *b = &gic_banks[i];

		if (!(a->gic_version == 3 ? b->v3 : b->v2) || (b->shared_only && first == 0) ||
		    (at_start && !b->at_start))
			continue;
		for (unsigned at = first * b->bits / 8; at < end * b->bits / 8 && !res; at += 4) {
			if (b->clear)
				res = gic_write(a, group, base + b->clear + at, UINT32_MAX, err);
			if (!res)
				res = gic_write(a, group, base + b->offset + at, 0, err);
		}
	}
	return res;
}

static int gic_reset_cpu(struct kvm_arch_vm *a, unsigned index, bool at_start, struct err *err)
{
	const struct gic_map *map = &gic_maps[a->gic_version];
	uint64_t cpu = (uint64_t)index << 32; /* version 3: MPIDR_EL1's affinity */
	int res = gic_reset_banks(a, map->cpu_banks, cpu + map->banks_base, 0, 32, at_start, err);

	if (at_start)
		return res;
	for (unsigned at = 0; at < 16 && a->gic_version == 2 && !res; at += 4)
		res = gic_write(a, map->cpu_banks, cpu + GICD_CPENDSGIR + at, UINT32_MAX, err);
	for (size_t i = 0; i < map->n_regs && !res; i++)
		if (bit(a->has_cpu_reg, (unsigned)i))
			res = gic_write(a, map->cpu_regs, cpu + map->regs[i], a->cpu_regs[i], err);
	return res;
}

static int gic_reset(struct engine *e, bool at_start, struct err *err)
{
	struct kvm_arch_vm *a = e->arch;
	int res = gic_write(a, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, GICD_CTLR, 0, err);

	if (!res)
		res = gic_reset_banks(a, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, 0, 32, a->n_intids,
				      at_start, err);
	for (unsigned i = 0; i < e->cfg.n_vcpus && !res; i++)
		res = gic_reset_cpu(a, i, at_start, err);
	return res;
}

/* The GIC is complete when all CPUs are there. */
static int gic_init(struct engine *e, struct err *err)
{
	struct kvm_arch_vm *a = e->arch;
	const struct gic_map *map = &gic_maps[a->gic_version];
	int res = gic_set(a, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL,
			  "its set-up", err);

	/* Those of CPU 0 are those of all. */
	for (size_t i = 0; i < map->n_regs; i++)
		if (gic_attr(a, KVM_GET_DEVICE_ATTR, map->cpu_regs, map->regs[i],
			     &a->cpu_regs[i]) == 0)
			a->has_cpu_reg |= 1U << i;
	return res ? res : gic_reset(e, true, err);
}

int kvm_arch_reset(struct engine *e, struct err *err)
{
	return e->arch->gic >= 0 ? gic_reset(e, false, err) : 0;
}

/* ---- vCPUs ---- */

int kvm_arch_vcpu_reset(struct vcpu *v)
{
	struct kvm_vcpu_init init = v->engine->arch->vcpu_init;

	/* The others wait for PSCI's CPU_ON. */
	if (v->index > 0)
		init.features[0] |= 1U << KVM_ARM_VCPU_POWER_OFF;
	return kvm_ioctl(v->fd, KVM_ARM_VCPU_INIT, &init);
}

void kvm_arch_vcpu_prepare(struct engine *e)
{
	(void)e;
}

int kvm_arch_vcpu_create(struct vcpu *v, struct err *err)
{
	int res = kvm_arch_vcpu_reset(v);

	if (res)
		return err_set(err, res, "KVM cannot set up CPU %u: %s", v->index, strerror(-res));
	if (v->index + 1 == v->engine->cfg.n_vcpus && v->engine->arch->gic >= 0)
		res = gic_init(v->engine, err);
	return res;
}

void kvm_arch_vcpu_destroy(struct vcpu *v)
{
	(void)v;
}

#define CORE(name) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(name))

uint64_t kvm_arch_reg_id(struct vcpu *v, unsigned reg)
{
	if (reg < VCPU_REG_SP)
		return CORE(regs.regs[0]) + reg * (KVM_REG_ARM_CORE_REG(regs.regs[1]) -
						   KVM_REG_ARM_CORE_REG(regs.regs[0]));
	switch (reg) {
	case VCPU_REG_PC: return CORE(regs.pc);
	case VCPU_REG_PSTATE: return CORE(regs.pstate);
	case VCPU_REG_SP:
		/* The one that is in use: PSTATE.SP. */
		return kvm_arch_get(v, VCPU_REG_PSTATE) & 1 ? CORE(sp_el1) : CORE(regs.sp);
	default: return 0;
	}
}

static void one_reg(struct vcpu *v, unsigned long request, unsigned reg, uint64_t *val)
{
	struct kvm_one_reg arg = { .id = kvm_arch_reg_id(v, reg), .addr = (uintptr_t)val };
	int res = arg.id ? kvm_ioctl(v->fd, request, &arg) : -EINVAL;

	if (res && !v->failed)
		v->failed = res;
}

uint64_t kvm_arch_get(struct vcpu *v, unsigned reg)
{
	uint64_t val = 0;

	one_reg(v, KVM_GET_ONE_REG, reg, &val);
	return val;
}

void kvm_arch_set(struct vcpu *v, unsigned reg, uint64_t val)
{
	one_reg(v, KVM_SET_ONE_REG, reg, &val);
}

uint64_t kvm_arch_sys_reg(struct vcpu *v, uint64_t id)
{
	uint64_t val = 0;
	struct kvm_one_reg arg = { .id = id, .addr = (uintptr_t)&val };
	int res = kvm_ioctl(v->fd, KVM_GET_ONE_REG, &arg);

	if (res && !v->failed)
		v->failed = res;
	return val;
}

void kvm_arch_set_sys_reg(struct vcpu *v, uint64_t id, uint64_t val)
{
	struct kvm_one_reg arg = { .id = id, .addr = (uintptr_t)&val };
	int res = kvm_ioctl(v->fd, KVM_SET_ONE_REG, &arg);

	if (res && !v->failed)
		v->failed = res;
}

/* D1.3.1: the exception is synchronous, and goes to EL1. */
void kvm_arch_take_brk(struct vcpu *v, uint32_t esr)
{
	enum { SCTLR_SPAN = 23, PSTATE_PAN = 22, EL1H = 5, DAIF = 15 << 6 };
	enum { FROM_EL1_SP0 = 0, FROM_EL1_SP1 = 0x200, FROM_EL0 = 0x400 };
	uint64_t pstate = kvm_arch_get(v, VCPU_REG_PSTATE), mode = bits(pstate, 3, 0);
	uint64_t vbar = kvm_arch_sys_reg(v, ARM64_SYS_REG(3, 0, 12, 0, 0));
	uint64_t pan = pstate & BIT(PSTATE_PAN);

	if (!bit(kvm_arch_sys_reg(v, ARM64_SYS_REG(3, 0, 1, 0, 0)), SCTLR_SPAN))
		pan = BIT(PSTATE_PAN);
	kvm_arch_set_sys_reg(v, CORE(elr_el1), kvm_arch_get(v, VCPU_REG_PC));
	kvm_arch_set_sys_reg(v, CORE(spsr[KVM_SPSR_EL1]), pstate);
	kvm_arch_set_sys_reg(v, ARM64_SYS_REG(3, 0, 5, 2, 0), esr); /* ESR_EL1 */
	kvm_arch_set(v, VCPU_REG_PSTATE, EL1H | DAIF | pan);
	kvm_arch_set(v, VCPU_REG_PC,
		     vbar + (mode == 0      ? FROM_EL0
			     : mode == EL1H ? FROM_EL1_SP1
					    : FROM_EL1_SP0));
}

int kvm_arch_enter(struct vcpu *v)
{
	(void)v;
	return 0;
}

/*
 * The guest gets a synchronous external abort at the access that has just come back. Linux that
 * does not have 6.13's "Don't retire aborted MMIO instruction", which stable kernels took over,
 * warns in its log and takes the guest to a wrong vector; there is no way around that from here.
 */
static void external_abort(struct vcpu *v)
{
	struct kvm_vcpu_events events = { .exception.ext_dabt_pending = 1 };

	if (v->engine->arch->can_abort)
		kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events);
}

void kvm_arch_bad_access(struct vcpu *v)
{
	external_abort(v);
}

int kvm_arch_exit(struct vcpu *v, enum vcpu_exit *exit)
{
	const struct kvm_run *run = v->run;

	(void)exit;
	if (run->exit_reason != KVM_EXIT_ARM_NISV)
		return -ENOSYS;
	/* The CPU describes plain loads and stores of one register (DDI0487, ESR_ELx, ISV). */
	log_guest(
		v->engine->cfg.log, &v->limit, LOG_WARN, "cpu",
		"CPU %u: an instruction accesses %#llx, where there is no RAM, in a way that KVM "
		"cannot do for a device (a pair, a vector, write-back): the guest gets an external "
		"abort; use plain loads and stores for devices, or the engine soft",
		v->index, (unsigned long long)run->arm_nisv.fault_ipa);
	external_abort(v);
	return 0;
}

/*
 * To the guest it is Device memory, and its reads pass the caches by, but on CPUs with FEAT_S2FWB.
 * So what is in them goes to memory (DDI0487, B2.8: mismatched attributes, and DC CVAC), which
 * Linux lets programs do.
 */
void kvm_arch_written(const void *at, size_t len)
{
	uint64_t ctr, line;

	__asm__("mrs %0, ctr_el0" : "=r"(ctr));
	line = 4UL << bits(ctr, 19, 16); /* DminLine, in words */
	for (uintptr_t a = align_down((uintptr_t)at, line); a < (uintptr_t)at + len; a += line)
		__asm__ volatile("dc cvac, %0" : : "r"(a) : "memory");
	__asm__ volatile("dsb sy" : : : "memory");
}

/* ---- sleep ---- */

const bool kvm_arch_asks_wakeable = true;

static bool timer_armed(struct vcpu *v, uint64_t ctl)
{
	enum { ENABLE = 0, IMASK = 1 }; /* CNTV_CTL_EL0, CNTP_CTL_EL0 */
	uint64_t val = 0;
	struct kvm_one_reg arg = { .id = ctl, .addr = (uintptr_t)&val };

	/* Older hosts do not tell of the physical timer; then it is as if there were none. */
	return kvm_ioctl(v->fd, KVM_GET_ONE_REG, &arg) == 0 && bit(val, ENABLE) && !bit(val, IMASK);
}

/* Of SPIs, not whether their priority would do: those that are enabled can wake. */
bool kvm_arch_wakeable(struct engine *e)
{
	enum { GICD_ISENABLER = 0x100 };
	struct kvm_arch_vm *a = e->arch;

	for (struct vcpu *v = e->vcpus; v; v = v->next)
		if (timer_armed(v, KVM_REG_ARM_TIMER_CTL) || timer_armed(v, KVM_REG_ARM_PTIMER_CTL))
			return true;
	for (unsigned at = 32 / 8; at < a->n_intids / 8; at += 4) {
		uint32_t enabled = 0;

		if (gic_attr(a, KVM_GET_DEVICE_ATTR, KVM_DEV_ARM_VGIC_GRP_DIST_REGS,
			     GICD_ISENABLER + at, &enabled) ||
		    enabled)
			return true;
	}
	return false;
}

/* Off, by PSCI. Of WFI it is known that it sleeps (KVM_STAT_BLOCKING), and not whether it will. */
bool kvm_arch_asleep(struct vcpu *v)
{
	struct kvm_mp_state state = { 0 };

	return kvm_ioctl(v->fd, KVM_GET_MP_STATE, &state) == 0 &&
	       state.mp_state == KVM_MP_STATE_STOPPED;
}

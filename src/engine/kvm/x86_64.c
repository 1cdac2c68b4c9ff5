/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM on x86-64 hosts: the PC's interrupt controllers and timers, CPUID, registers,
 * reset, ports.
 *
 * A reset puts back what was there when a thing had just been made: each vCPU's whole state is
 * saved once, when it has been created, and so are the state of the 8259s, the IOAPIC and the 8254.
 * So no reset value is written down here twice, and what KVM adds in future comes along.
 *
 * Numbers of CPUID leaves, registers and descriptors are those of Intel's Software Developer's
 * Manual (SDM) and AMD's Architecture Programmer's Manual (APM).
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "bus/bus.h"
#include "engine/kvm/kvm.h"
#include "mem/gmem.h"

const enum guest_arch kvm_arch_guest = GUEST_X86_64;
const char *const kvm_arch_name = "x86-64";
const unsigned kvm_arch_pc = VCPU_REG_X86_RIP;
/* It tells the IOAPIC, which for a short level makes an interrupt as for an edge. */
const bool kvm_arch_trigger_is_guests = false;

const struct kvm_need kvm_arch_needs[] = {
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "2.6.20" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "2.6.32" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "2.6.26" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", "2.6.25" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR", "2.6.32" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2", "2.6.31" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "2.6.26" },
	{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "2.6.33" },
	{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "2.6.36" },
	{ KVM_CAP_XCRS, "KVM_CAP_XCRS", "2.6.36" },
	{ KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "2.6.35" },
	{ 0, NULL, NULL },
};

/* There are modules for KVM that do with less, and take over much of what a guest does. */
const char *kvm_arch_slow(void)
{
	enum { VMX = 1 << 5, SVM = 1 << 2 }; /* leaf 1 (SDM 2, CPUID), leaf 0x80000001 (APM 3) */
	unsigned eax, ebx, ecx, edx;

	if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & VMX)
		return NULL;
	if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) && ecx & SVM)
		return NULL;
	return "this CPU shows neither VT-x nor AMD-V, and KVM does without them: guests are slow, "
	       "and large ones may not start; in a virtual machine, nested virtualization helps";
}

/*
 * Four pages below 4 GiB, for Intel CPUs that cannot run real mode: KVM puts an identity map into
 * the first, and a TSS into the others. No board has anything there.
 */
enum { IDENTITY_MAP = 0xfffbc000, TSS = 0xfffbd000 };

enum { CPUID_ENTRIES_MAX = 256 };

/* MSRs (SDM 4, table 2-2). */
enum {
	MSR_IA32_TSC = 0x10,
	MSR_IA32_MISC_ENABLE = 0x1a0,
	MISC_ENABLE_FAST_STRINGS = 1 << 0,
	MSR_IA32_MTRR_PHYSBASE0 = 0x200,
	MSR_IA32_MTRR_PHYSMASK7 = 0x20f,
	MSR_IA32_MTRR_FIX64K_00000 = 0x250,
	MSR_IA32_MTRR_FIX16K_80000 = 0x258,
	MSR_IA32_MTRR_FIX16K_A0000 = 0x259,
	MSR_IA32_MTRR_FIX4K_C0000 = 0x268,
	MSR_IA32_MTRR_FIX4K_F8000 = 0x26f,
	MSR_IA32_MTRR_DEF_TYPE = 0x2ff,
	MTRR_DEF_TYPE_ENABLE = 1 << 11,
	MTRR_TYPE_WB = 6,
	/* Hyper-V's: KVM lists them, and no guest of hako is told of them. */
	MSR_HYPERV_FIRST = 0x40000000,
	MSR_HYPERV_LAST = 0x40000fff,
};

/* The local APIC's registers by address (SDM 3A, table 11-1). */
enum {
	APIC_LVT_LINT0 = 0x350,
	APIC_LVT_LINT1 = 0x360,
	APIC_DELIVER_NMI = 4 << 8,
	APIC_DELIVER_EXTINT = 7 << 8,
};

enum { CR0_PG = 1U << 31, EFER_LME = 1 << 8, EFER_LMA = 1 << 10 };

struct kvm_arch_vm {
	bool has_irqchip;
	struct kvm_irqchip chips[3]; /* both 8259s, the IOAPIC: as they were when new */
	struct kvm_pit_state2 pit;
};

struct kvm_arch_vcpu {
	/* Registers as last read, or as they shall be: see load(), kvm_arch_enter(). */
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	bool regs_valid, regs_dirty, sregs_valid, sregs_dirty;

	/* The state of a new vCPU. */
	struct {
		struct kvm_regs regs;
		struct kvm_sregs sregs;
		/* struct kvm_xsave, which could be larger for features that are asked for */
		_Alignas(8) uint8_t xsave[sizeof(struct kvm_xsave)];
		struct kvm_xcrs xcrs;
		struct kvm_debugregs debug;
		struct kvm_lapic_state lapic;
		struct kvm_mp_state mp;
		struct kvm_msrs *msrs;
	} fresh;
	struct kvm_msrs *msrs; /* room for as many */
};

/* ---- the VM ---- */

unsigned long kvm_arch_vm_type(int kvm)
{
	(void)kvm;
	return 0;
}

int kvm_arch_create(struct engine *e, struct err *err)
{
	struct kvm_enable_cap no_pmu = { .cap = KVM_CAP_PMU_CAPABILITY,
					 .args = { KVM_PMU_CAP_DISABLE } };
	uint64_t map = IDENTITY_MAP;
	int res;

	e->arch = calloc(1, sizeof(*e->arch));
	if (!e->arch)
		return err_set(err, -ENOMEM, "no memory for the engine KVM");
	res = kvm_do(e->vm, KVM_SET_IDENTITY_MAP_ADDR, &map, "place its identity map", err);
	if (res >= 0)
		res = kvm_do(e->vm, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS, "place its TSS", err);
	/* No performance counters, for the reason that cpuid_hidden gives: the four that each CPU
	 * of AMD's has are not in CPUID, and guests find them. Before the first vCPU;
	 * since 5.18. */
	if (res >= 0 && (kvm_cap(e, KVM_CAP_PMU_CAPABILITY) & KVM_PMU_CAP_DISABLE))
		kvm_ioctl(e->vm, KVM_ENABLE_CAP, &no_pmu);
	return res;
}

/*
 * 0: the vCPU's TSC has the rate that the host's has, as far as Linux knows now. Without an
 * invariant TSC, Linux takes what it knew when KVM was loaded. It measures once more a second
 * later; when the two differ by 250 ppm and the CPU cannot scale, vCPUs are left with a scale of 0
 * (set_tsc_khz() in x86.c, Linux 6.1). KVM then takes the guest's TSC for 0 all the time, and a
 * deadline for an interval: each tick comes after twice the time of the one before. So this is the
 * last thing before each vCPU is made. Linux before 5.16 refuses, and goes on with what it has.
 */
void kvm_arch_vcpu_prepare(struct engine *e)
{
	kvm_ioctl(e->vm, KVM_SET_TSC_KHZ, NULL);
}

void kvm_arch_destroy(struct engine *e)
{
	free(e->arch);
}

/* What KVM supports, to be freed; NULL with a sentence. */
static struct kvm_cpuid2 *supported_cpuid(const struct engine *e, struct err *err)
{
	struct kvm_cpuid2 *c =
		calloc(1, sizeof(*c) + CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));

	if (!c) {
		err_set(err, -ENOMEM, "no memory for CPUID");
		return NULL;
	}
	c->nent = CPUID_ENTRIES_MAX;
	if (kvm_do(e->kvm, KVM_GET_SUPPORTED_CPUID, c, "tell what CPUs it supports", err) < 0) {
		free(c);
		return NULL;
	}
	return c;
}

static struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *c, uint32_t leaf)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf)
			return &c->entries[i];
	return NULL;
}

unsigned kvm_arch_address_bits(const struct engine *e)
{
	struct kvm_cpuid2 *c = supported_cpuid(e, NULL);
	struct kvm_cpuid_entry2 *sizes = c ? cpuid_find(c, 0x80000008) : NULL;
	unsigned bits = sizes ? sizes->eax & 0xff : 36;

	free(c);
	return bits;
}

/* ---- interrupt controllers and the 8254 ---- */

int kvm_arch_irqchip_create(struct engine *e, struct engine_irqchip *chip, struct err *err)
{
	/* Port 0x61 belongs to the 8254's gate and output. */
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int res = kvm_do(e->vm, KVM_CREATE_IRQCHIP, NULL, "create interrupt controllers", err);

	(void)chip;
	if (res >= 0)
		res = kvm_do(e->vm, KVM_CREATE_PIT2, &pit, "create the 8254", err);
	for (unsigned i = 0; i < ARRAY_SIZE(e->arch->chips) && res >= 0; i++) {
		e->arch->chips[i].chip_id = i;
		res = kvm_do(e->vm, KVM_GET_IRQCHIP, &e->arch->chips[i],
			     "save the interrupt controllers", err);
	}
	if (res >= 0)
		res = kvm_do(e->vm, KVM_GET_PIT2, &e->arch->pit, "save the 8254", err);
	e->arch->has_irqchip = res >= 0;
	return res;
}

uint32_t kvm_arch_irq_line(unsigned pin)
{
	return pin;
}

int kvm_arch_reset(struct engine *e, struct err *err)
{
	int res = 0;

	if (!e->arch->has_irqchip)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(e->arch->chips) && res >= 0; i++)
		res = kvm_do(e->vm, KVM_SET_IRQCHIP, &e->arch->chips[i],
			     "reset the interrupt controllers", err);
	if (res >= 0)
		res = kvm_do(e->vm, KVM_SET_PIT2, &e->arch->pit, "reset the 8254", err);
	return res;
}

/* ---- CPUID ---- */

/* CPUID bits that KVM may offer, and a guest of hako shall not see. */
static const struct {
	uint32_t leaf, index;
	uint32_t eax, ebx, ecx, edx;
} cpuid_hidden[] = {
	/* VMX and SVM: a reset could not take back a guest's guest. PDCM: see 0xa. */
	{ 0x1, 0, .ecx = 1U << 5 | 1U << 15 },
	{ 0x80000001, 0, .ecx = 1U << 2 | 1U << 23 | 1U << 24 },
	{ 0x8000000a, 0, ~0U, ~0U, ~0U, ~0U },
	/* SGX: needs memory of its own. Processor trace. */
	{ 0x7, 0, .ebx = 1U << 2 | 1U << 25, .ecx = 1U << 30 },
	{ 0x12, 0, ~0U, ~0U, ~0U, ~0U },
	{ 0x12, 1, ~0U, ~0U, ~0U, ~0U },
	{ 0x14, 0, ~0U, ~0U, ~0U, ~0U },
	/* Performance counters: a guest's NMI watchdog would keep one running, at an exit for each
	 * of its interrupts. */
	{ 0xa, 0, ~0U, ~0U, ~0U, ~0U },
	{ 0x80000022, 0, ~0U, ~0U, ~0U, ~0U },
	/* AMX: a process has to ask Linux for room for its registers, which hako does not. */
	{ 0x7, 0, .edx = 1U << 22 | 1U << 24 | 1U << 25 },
	{ 0x7, 1, .eax = 1U << 21, .edx = 1U << 8 },
	{ 0x1d, 0, ~0U, ~0U, ~0U, ~0U },
	{ 0x1d, 1, ~0U, ~0U, ~0U, ~0U },
	{ 0x1e, 0, ~0U, ~0U, ~0U, ~0U },
	{ 0x1e, 1, ~0U, ~0U, ~0U, ~0U },
	/* Memory encryption: of the host's guests, and this is not one of them. */
	{ 0x8000001f, 0, ~0U, ~0U, ~0U, ~0U },
	/* KVM: hypercalls for which it would ask hako, and migration. */
	{ 0x40000001, 0, .eax = 1U << 16 | 1U << 17 },
};

static void hide(struct kvm_cpuid_entry2 *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(cpuid_hidden); i++) {
		if (cpuid_hidden[i].leaf != l->function || cpuid_hidden[i].index != l->index)
			continue;
		l->eax &= ~cpuid_hidden[i].eax;
		l->ebx &= ~cpuid_hidden[i].ebx;
		l->ecx &= ~cpuid_hidden[i].ecx;
		l->edx &= ~cpuid_hidden[i].edx;
	}
}

static uint32_t put_field(uint32_t word, unsigned hi, unsigned lo, uint32_t val)
{
	uint32_t mask = (uint32_t)(mask_low(hi - lo + 1) << lo);

	return (word & ~mask) | (val << lo & mask);
}

/*
 * Topology: each vCPU is a core of one thread, all in one package, and its APIC ID is its number.
 * Caches below level 3 are a core's own.
 */
static void topology(struct kvm_cpuid_entry2 *l, const struct vcpu *v)
{
	unsigned n = v->engine->cfg.n_vcpus, shift = 0;
	uint32_t level, shared;

	while ((1U << shift) < n)
		shift++;
	switch (l->function) {
	case 0x1:
		l->ebx = put_field(l->ebx, 31, 24, v->index);
		l->ebx = put_field(l->ebx, 23, 16, 1U << shift);
		l->edx = put_field(l->edx, 28, 28, n > 1); /* HTT: the field before is valid */
		break;
	case 0x4:        /* Intel's caches */
	case 0x8000001d: /* AMD's */
		level = (uint32_t)bits(l->eax, 7, 5);
		shared = level >= 3 ? (1U << shift) - 1 : 0;
		if (bits(l->eax, 4, 0) == 0) /* no more caches */
			break;
		l->eax = put_field(l->eax, 25, 14, shared);
		if (l->function == 0x4)
			l->eax = put_field(l->eax, 31, 26, (1U << shift) - 1); /* cores - 1 */
		break;
	case 0xb: /* one entry for each of its levels: see cpuid_make() */
		l->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		l->eax = l->index == 1 ? shift : 0;
		l->ebx = l->index == 1 ? n : l->index == 0;
		l->ecx = l->index | (l->index == 0 ? 1U << 8 : l->index == 1 ? 2U << 8 : 0);
		l->edx = v->index;
		break;
	case 0x80000001:
		l->ecx = put_field(l->ecx, 1, 1, n > 1); /* CmpLegacy: cores, not threads */
		break;
	case 0x80000008:
		l->ecx = put_field(l->ecx, 7, 0, n - 1);
		l->ecx = put_field(l->ecx, 15, 12, shift);
		break;
	case 0x8000001e:
		l->eax = v->index;
		l->ebx = v->index; /* core, of one thread */
		l->ecx = 0;        /* node 0, the only one */
		break;
	}
}

static int cpuid_make(struct vcpu *v, struct err *err)
{
	enum { TSC_DEADLINE = 24, HYPERVISOR = 31, TOPOLOGY_LEVELS = 3 };
	struct engine *e = v->engine;
	struct kvm_cpuid2 *c = supported_cpuid(e, err);
	struct kvm_cpuid_entry2 *l;
	unsigned n = 0;
	int res;

	if (!c)
		return err ? err->code : -EIO;
	/* KVM's own answers for the levels of topology are the host's, or none. */
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function != 0xb && c->entries[i].function != 0x1f)
			c->entries[n++] = c->entries[i];
	c->nent = n;
	l = cpuid_find(c, 0);
	if (l && l->eax >= 0xb)
		for (uint32_t i = 0; i < TOPOLOGY_LEVELS && c->nent < CPUID_ENTRIES_MAX; i++)
			c->entries[c->nent++] =
				(struct kvm_cpuid_entry2){ .function = 0xb, .index = i };
	for (unsigned i = 0; i < c->nent; i++) {
		hide(&c->entries[i]);
		topology(&c->entries[i], v);
	}
	l = cpuid_find(c, 1);
	if (l) {
		l->ecx |= 1U << HYPERVISOR;
		/* The APIC is KVM's, so whether its timer has this mode is not the CPU's matter. */
		l->ecx = put_field(l->ecx, TSC_DEADLINE, TSC_DEADLINE,
				   kvm_cap(e, KVM_CAP_TSC_DEADLINE_TIMER) > 0);
	}
	res = kvm_do(v->fd, KVM_SET_CPUID2, c, "give a CPU its features", err);
	free(c);
	return res;
}

/* ---- MSRs ---- */

static struct kvm_msrs *msrs_alloc(unsigned n)
{
	return calloc(1, sizeof(struct kvm_msrs) + n * sizeof(struct kvm_msr_entry));
}

/* KVM keeps these for a vCPU too, and does not list them. */
static const struct {
	uint32_t first, last;
} msrs_unlisted[] = {
	{ MSR_IA32_MTRR_PHYSBASE0, MSR_IA32_MTRR_PHYSMASK7 },
	{ MSR_IA32_MTRR_FIX64K_00000, MSR_IA32_MTRR_FIX64K_00000 },
	{ MSR_IA32_MTRR_FIX16K_80000, MSR_IA32_MTRR_FIX16K_A0000 },
	{ MSR_IA32_MTRR_FIX4K_C0000, MSR_IA32_MTRR_FIX4K_F8000 },
	{ MSR_IA32_MTRR_DEF_TYPE, MSR_IA32_MTRR_DEF_TYPE },
};

static unsigned msrs_unlisted_n(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(msrs_unlisted); i++)
		n += msrs_unlisted[i].last - msrs_unlisted[i].first + 1;
	return n;
}

/* All that KVM knows of, but for Hyper-V's; values are zero. NULL with a sentence. */
static struct kvm_msrs *msrs_list(const struct engine *e, struct err *err)
{
	struct kvm_msr_list size = { 0 }, *list;
	struct kvm_msrs *msrs = NULL;

	/* Asked with too little room, it tells how much it needs. */
	kvm_ioctl(e->kvm, KVM_GET_MSR_INDEX_LIST, &size);
	list = calloc(1, sizeof(*list) + size.nmsrs * sizeof(list->indices[0]));
	if (list) {
		list->nmsrs = size.nmsrs;
		msrs = msrs_alloc(size.nmsrs + msrs_unlisted_n());
	}
	if (!msrs)
		err_set(err, -ENOMEM, "no memory for MSRs");
	else if (kvm_do(e->kvm, KVM_GET_MSR_INDEX_LIST, list, "list its MSRs", err) < 0)
		free(msrs), msrs = NULL;
	for (unsigned i = 0; msrs && i < list->nmsrs; i++) {
		uint32_t index = list->indices[i];

		if (index < MSR_HYPERV_FIRST || index > MSR_HYPERV_LAST)
			msrs->entries[msrs->nmsrs++].index = index;
	}
	for (size_t i = 0; msrs && i < ARRAY_SIZE(msrs_unlisted); i++)
		for (uint32_t index = msrs_unlisted[i].first; index <= msrs_unlisted[i].last;
		     index++)
			msrs->entries[msrs->nmsrs++].index = index;
	free(list);
	return msrs;
}

/*
 * KVM takes up to 255 at once, and a CPU may come to have more than that. It reads up to the first
 * that this CPU has not: that one is dropped, and the rest read.
 */
static int msrs_get(const struct vcpu *v, struct kvm_msrs *msrs)
{
	enum { AT_ONCE = 64 };
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + AT_ONCE * sizeof(struct kvm_msr_entry)];
	} some = { 0 };
	const size_t size = sizeof(msrs->entries[0]);
	unsigned kept = 0, at = 0;

	while (at < msrs->nmsrs) {
		unsigned left = msrs->nmsrs - at;
		int n;

		some.msrs.nmsrs = left < AT_ONCE ? left : AT_ONCE;
		memcpy(some.msrs.entries, &msrs->entries[at], some.msrs.nmsrs * size);
		n = kvm_ioctl(v->fd, KVM_GET_MSRS, &some.msrs);
		if (n < 0)
			return n;
		memcpy(&msrs->entries[kept], some.msrs.entries, (unsigned)n * size);
		kept += (unsigned)n;
		at += (unsigned)n + ((unsigned)n < some.msrs.nmsrs);
	}
	msrs->nmsrs = kept;
	return 0;
}

static int msr_set(const struct vcpu *v, uint32_t index, uint64_t val)
{
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} one = { .msrs.nmsrs = 1 };
	int n;

	one.msrs.entries[0] = (struct kvm_msr_entry){ .index = index, .data = val };
	n = kvm_ioctl(v->fd, KVM_SET_MSRS, &one);
	return n < 0 ? n : n == 1 ? 0 : -EINVAL;
}

/* Those that differ from the new vCPU's get its values back. */
static int msrs_reset(struct vcpu *v)
{
	const struct kvm_msrs *fresh = v->arch->fresh.msrs;
	struct kvm_msrs *now = v->arch->msrs;
	int res;

	memcpy(now, fresh, sizeof(*fresh) + fresh->nmsrs * sizeof(fresh->entries[0]));
	res = msrs_get(v, now);
	if (res)
		log_msg(v->engine->cfg.log, LOG_ERROR, "kvm",
			"CPU %u: MSRs cannot be reset: KVM does not tell them: %s", v->index,
			strerror(-res));
	for (unsigned i = 0, j = 0; i < fresh->nmsrs && !res; i++) {
		const struct kvm_msr_entry *f = &fresh->entries[i];

		while (j < now->nmsrs && now->entries[j].index != f->index)
			j++;
		/* The TSC runs on: 0 stands for the time since the VM was made, on every vCPU the
		 * same, whatever the guest has made of it. */
		if (f->index == MSR_IA32_TSC)
			res = msr_set(v, f->index, 0);
		else if (j < now->nmsrs && now->entries[j].data != f->data)
			res = msr_set(v, f->index, f->data);
		if (res)
			log_msg(v->engine->cfg.log, LOG_ERROR, "kvm",
				"CPU %u: MSR %#x cannot be reset: %s", v->index, f->index,
				strerror(-res));
		if (j == now->nmsrs)
			j = 0;
	}
	return res;
}

/* ---- vCPUs ---- */

static uint32_t *lapic_reg(struct kvm_lapic_state *lapic, unsigned off)
{
	return (uint32_t *)(void *)&lapic->regs[off];
}

/* What a PC's firmware has set when it starts a system, and every system expects. */
static int as_firmware_leaves_it(struct vcpu *v, struct err *err)
{
	struct kvm_lapic_state lapic;
	int res = kvm_do(v->fd, KVM_GET_LAPIC, &lapic, "read the local APIC", err);

	/* Virtual wire mode: the 8259s are at LINT0 of each APIC, NMI at LINT1 (MultiProcessor
	 * Specification 1.4, 3.6.2.2). */
	if (res >= 0) {
		*lapic_reg(&lapic, APIC_LVT_LINT0) = APIC_DELIVER_EXTINT;
		*lapic_reg(&lapic, APIC_LVT_LINT1) = APIC_DELIVER_NMI;
		res = kvm_do(v->fd, KVM_SET_LAPIC, &lapic, "set up the local APIC", err);
	}
	/* Memory is cacheable unless a page table says otherwise. These two are a wish: a CPU
	 * without the one has not the other's trouble. */
	msr_set(v, MSR_IA32_MTRR_DEF_TYPE, MTRR_DEF_TYPE_ENABLE | MTRR_TYPE_WB);
	msr_set(v, MSR_IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRINGS);
	return res;
}

static int save_fresh(struct vcpu *v, struct err *err)
{
	struct kvm_arch_vcpu *a = v->arch;
	const struct {
		unsigned long request;
		void *to;
	} parts[] = {
		{ KVM_GET_REGS, &a->fresh.regs },       { KVM_GET_SREGS, &a->fresh.sregs },
		{ KVM_GET_XSAVE, a->fresh.xsave },      { KVM_GET_XCRS, &a->fresh.xcrs },
		{ KVM_GET_DEBUGREGS, &a->fresh.debug }, { KVM_GET_LAPIC, &a->fresh.lapic },
		{ KVM_GET_MP_STATE, &a->fresh.mp },
	};
	int res = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && res >= 0; i++)
		res = kvm_do(v->fd, parts[i].request, parts[i].to, "tell a CPU's state", err);
	if (res < 0)
		return res;
	a->fresh.msrs = msrs_list(v->engine, err);
	if (!a->fresh.msrs)
		return err ? err->code : -ENOMEM;
	res = msrs_get(v, a->fresh.msrs);
	if (res)
		return err_set(err, res, "KVM cannot tell a CPU's MSRs: %s", strerror(-res));
	a->msrs = msrs_alloc(a->fresh.msrs->nmsrs);
	return a->msrs ? 0 : err_set(err, -ENOMEM, "no memory for MSRs");
}

int kvm_arch_vcpu_create(struct vcpu *v, struct err *err)
{
	int res;

	v->arch = calloc(1, sizeof(*v->arch));
	if (!v->arch)
		return err_set(err, -ENOMEM, "no memory for CPU %u", v->index);
	if (!v->engine->arch->has_irqchip)
		return err_set(err, -EINVAL, "with KVM, interrupt controllers come before CPUs");
	res = cpuid_make(v, err);
	if (res >= 0)
		res = as_firmware_leaves_it(v, err);
	if (res >= 0)
		res = save_fresh(v, err);
	return res;
}

void kvm_arch_vcpu_destroy(struct vcpu *v)
{
	if (!v->arch)
		return;
	free(v->arch->fresh.msrs);
	free(v->arch->msrs);
	free(v->arch);
}

int kvm_arch_vcpu_reset(struct vcpu *v)
{
	struct kvm_arch_vcpu *a = v->arch;
	struct kvm_vcpu_events events = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
			 KVM_VCPUEVENT_VALID_SMM,
	};
	struct kvm_mp_state mp;
	const struct {
		unsigned long request;
		void *from;
	} parts[] = {
		/* Asking for it lets an INIT or SIPI happen that was on its way: it would start the
		 * vCPU after the reset. */
		{ KVM_GET_MP_STATE, &mp },
		{ KVM_SET_SREGS, &a->fresh.sregs }, /* with the APIC's mode, before the APIC */
		{ KVM_SET_REGS, &a->fresh.regs },
		{ KVM_SET_XCRS, &a->fresh.xcrs },
		{ KVM_SET_XSAVE, a->fresh.xsave },
		{ KVM_SET_DEBUGREGS, &a->fresh.debug },
		{ KVM_SET_LAPIC, &a->fresh.lapic },
		{ KVM_SET_VCPU_EVENTS, &events },
		{ KVM_SET_MP_STATE, &a->fresh.mp },
	};
	int res = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && res >= 0; i++)
		res = kvm_ioctl(v->fd, parts[i].request, parts[i].from);
	if (res >= 0)
		res = msrs_reset(v); /* after the APIC, of which its timer's deadline is one */
	else
		log_msg(v->engine->cfg.log, LOG_ERROR, "kvm", "CPU %u cannot be reset: %s",
			v->index, strerror(-res));
	a->regs_valid = a->regs_dirty = a->sregs_valid = a->sregs_dirty = false;
	return res;
}

/* ---- registers ---- */

/* General registers as instructions number them, from RAX on; RIP and RFLAGS follow. */
static __u64 *general(struct kvm_regs *r, unsigned reg)
{
	__u64 *const regs[] = {
		&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp, &r->rsi, &r->rdi, &r->r8,
		&r->r9,  &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15, &r->rip, &r->rflags,
	};
	unsigned n = reg - VCPU_REG_X86_RAX;

	return reg >= VCPU_REG_X86_RAX && n < ARRAY_SIZE(regs) ? regs[n] : NULL;
}

static __u64 *special(struct kvm_sregs *s, unsigned reg)
{
	switch (reg) {
	case VCPU_REG_X86_CR0: return &s->cr0;
	case VCPU_REG_X86_CR2: return &s->cr2;
	case VCPU_REG_X86_CR3: return &s->cr3;
	case VCPU_REG_X86_CR4: return &s->cr4;
	case VCPU_REG_X86_EFER: return &s->efer;
	case VCPU_REG_X86_GDTR_BASE: return &s->gdt.base;
	case VCPU_REG_X86_IDTR_BASE: return &s->idt.base;
	}
	return NULL;
}

static __u16 *limit(struct kvm_sregs *s, unsigned reg)
{
	return reg == VCPU_REG_X86_GDTR_LIMIT   ? &s->gdt.limit
	       : reg == VCPU_REG_X86_IDTR_LIMIT ? &s->idt.limit
						: NULL;
}

static struct kvm_segment *segment(struct kvm_sregs *s, unsigned reg)
{
	struct kvm_segment *const segments[] = { &s->es, &s->cs, &s->ss, &s->ds,
						 &s->fs, &s->gs, &s->tr, &s->ldt };
	unsigned n = reg - VCPU_REG_X86_ES;

	return reg >= VCPU_REG_X86_ES && n < ARRAY_SIZE(segments) ? segments[n] : NULL;
}

/* Have the registers here that `reg` is one of. */
static void load(struct vcpu *v, unsigned reg)
{
	struct kvm_arch_vcpu *a = v->arch;
	bool general_one = general(&a->regs, reg) != NULL;
	bool *valid = general_one ? &a->regs_valid : &a->sregs_valid;
	int res;

	if (*valid)
		return;
	res = general_one ? kvm_ioctl(v->fd, KVM_GET_REGS, &a->regs)
			  : kvm_ioctl(v->fd, KVM_GET_SREGS, &a->sregs);
	if (res < 0 && !v->failed)
		v->failed = res;
	*valid = true;
}

/* Load a segment register from the GDT (SDM 3A, 3.4.5; a TSS or LDT in long mode: 7.2.3). */
static void load_segment(struct vcpu *v, struct kvm_segment *s, uint16_t selector)
{
	enum { TSS_AVAILABLE = 9, TSS_BUSY = 11, ACCESSED = 1 };
	const struct kvm_sregs *sregs = &v->arch->sregs;
	uint64_t d[2] = { 0 };
	unsigned off = selector & ~7U;
	bool wide;

	*s = (struct kvm_segment){ .selector = selector, .unusable = 1 };
	if (!off)
		return;
	if (off + 7 > sregs->gdt.limit ||
	    gmem_read(v->engine->cfg.mem, sregs->gdt.base + off, d, sizeof(d[0]))) {
		log_msg(v->engine->cfg.log, LOG_ERROR, "kvm",
			"CPU %u: the selector %#x is not in the GDT", v->index, selector);
		if (!v->failed)
			v->failed = -EFAULT;
		return;
	}
	s->unusable = 0;
	s->base = bits(d[0], 39, 16) | bits(d[0], 63, 56) << 24;
	s->limit = (uint32_t)(bits(d[0], 15, 0) | bits(d[0], 51, 48) << 16);
	s->type = (uint8_t)bits(d[0], 43, 40);
	s->s = (uint8_t)bit(d[0], 44);
	s->dpl = (uint8_t)bits(d[0], 46, 45);
	s->present = (uint8_t)bit(d[0], 47);
	s->avl = (uint8_t)bit(d[0], 52);
	s->l = (uint8_t)bit(d[0], 53);
	s->db = (uint8_t)bit(d[0], 54);
	s->g = (uint8_t)bit(d[0], 55);
	if (s->g)
		s->limit = s->limit << 12 | 0xfff;
	/* As loading does. */
	if (s->s)
		s->type |= ACCESSED;
	else if (s->type == TSS_AVAILABLE)
		s->type = TSS_BUSY;
	wide = !s->s && (sregs->efer & EFER_LME) && off + 15 <= sregs->gdt.limit;
	if (wide && !gmem_read(v->engine->cfg.mem, sregs->gdt.base + off + 8, &d[1], sizeof(d[1])))
		s->base |= d[1] << 32;
}

uint64_t kvm_arch_get(struct vcpu *v, unsigned reg)
{
	struct kvm_arch_vcpu *a = v->arch;
	const __u64 *r = general(&a->regs, reg), *s = special(&a->sregs, reg);
	const __u16 *l = limit(&a->sregs, reg);
	const struct kvm_segment *seg = segment(&a->sregs, reg);

	load(v, reg);
	return r ? *r : s ? *s : l ? *l : seg ? seg->selector : 0;
}

void kvm_arch_set(struct vcpu *v, unsigned reg, uint64_t val)
{
	struct kvm_arch_vcpu *a = v->arch;
	__u64 *r = general(&a->regs, reg), *s = special(&a->sregs, reg);
	__u16 *l = limit(&a->sregs, reg);
	struct kvm_segment *seg = segment(&a->sregs, reg);

	load(v, reg);
	if (r) {
		*r = val;
		a->regs_dirty = true;
		return;
	}
	if (s)
		*s = val;
	else if (l)
		*l = (uint16_t)val;
	else if (seg)
		load_segment(v, seg, (uint16_t)val);
	if ((a->sregs.efer & EFER_LME) && (a->sregs.cr0 & CR0_PG))
		a->sregs.efer |= EFER_LMA;
	a->sregs_dirty = true;
}

int kvm_arch_enter(struct vcpu *v)
{
	struct kvm_arch_vcpu *a = v->arch;
	int res = 0;

	if (a->sregs_dirty)
		res = kvm_ioctl(v->fd, KVM_SET_SREGS, &a->sregs);
	if (a->regs_dirty && res >= 0)
		res = kvm_ioctl(v->fd, KVM_SET_REGS, &a->regs);
	a->regs_valid = a->regs_dirty = a->sregs_valid = a->sregs_dirty = false;
	if (res < 0)
		log_msg(v->engine->cfg.log, LOG_ERROR, "kvm",
			"CPU %u: KVM does not take the registers: %s", v->index, strerror(-res));
	return res;
}

/* ---- exits ---- */

/* IN and OUT, or INS and OUTS with a count. A port without a device reads as all ones. */
static void port(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;
	struct bus *bus = v->engine->cfg.pio;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint64_t val = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&val, data, size);
			bus_write(bus, run->io.port, size, val);
		} else {
			if (bus_read(bus, run->io.port, size, &val))
				val = UINT64_MAX;
			memcpy(data, &val, size);
		}
	}
}

int kvm_arch_exit(struct vcpu *v, enum vcpu_exit *exit)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		kvm_count(v, COUNT_PORT);
		port(v);
		return 0;
	case KVM_EXIT_SHUTDOWN: /* what is meant as a reset, or the end of a guest that
				 * says nothing */
		kvm_count(v, COUNT_SYSTEM);
		log_guest(v->engine->cfg.log, &v->limit, LOG_WARN, "kvm",
			  "CPU %u: triple fault, which is a reset: an exception found no handler "
			  "that can be entered",
			  v->index);
		*exit = VCPU_RESET;
		return 0;
	}
	return -ENOSYS;
}

bool kvm_arch_asleep(struct vcpu *v)
{
	enum { RFLAGS_IF = 1 << 9 };
	struct kvm_mp_state mp;

	if (kvm_ioctl(v->fd, KVM_GET_MP_STATE, &mp) < 0)
		return false;
	return mp.mp_state == KVM_MP_STATE_UNINITIALIZED ||
	       (mp.mp_state == KVM_MP_STATE_HALTED &&
		!(kvm_arch_get(v, VCPU_REG_X86_RFLAGS) & RFLAGS_IF));
}

void kvm_arch_bad_access(struct vcpu *v)
{
	(void)v;
}

/* HLT with interrupts off tells it all: see kvm_arch_asleep(). */
const bool kvm_arch_asks_wakeable = false;

bool kvm_arch_wakeable(struct engine *e)
{
	(void)e;
	return true;
}

/* Caches are coherent, whatever the type of memory. */
void kvm_arch_written(const void *at, size_t len)
{
	(void)at;
	(void)len;
}

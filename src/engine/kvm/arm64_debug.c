/* SPDX-License-Identifier: MIT */
/*
 * Debugging arm64 guests: registers by name, the CPU's breakpoints and watchpoints, BRK.
 *
 * Features and names of the first registers are those that gdb's documentation asks for (appendix
 * G.5.1, "AArch64 Features"); the system registers behind them have the manual's. Numbers of
 * sections and fields are DDI0487's. The interface: Linux, Documentation/virt/kvm/api.rst.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "engine/kvm/kvm.h"

const struct kvm_brk kvm_arch_brk = { 4, { 0x00, 0x00, 0x20, 0xd4 } }; /* BRK #0 */
const bool kvm_arch_watches_reads = true;

/* ESR_ELx.EC of debug exceptions that a hypervisor takes from below (D17.2.37). */
enum { EC_BREAKPOINT = 0x30, EC_STEP = 0x32, EC_WATCHPOINT = 0x34, EC_BRK = 0x3c };

int kvm_arch_debug_probe(struct engine *e, struct err *err)
{
	if (kvm_cap(e, KVM_CAP_SET_GUEST_DEBUG) > 0)
		return 0;
	return err_set(err, -ENOTSUP,
		       "the host's KVM cannot debug guests (KVM_CAP_SET_GUEST_DEBUG, which Linux "
		       "has on arm64 since 4.3); use --engine soft");
}

/* KVM's names of core registers. */
#define CORE64(name) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(name))
#define CORE32(name) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U32 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(name))

/* ---- points ---- */

void kvm_arch_debug_limits(struct engine *e, unsigned *breaks, unsigned *watches, bool *shared)
{
	*breaks = (unsigned)kvm_cap(e, KVM_CAP_GUEST_DEBUG_HW_BPS);
	*watches = (unsigned)kvm_cap(e, KVM_CAP_GUEST_DEBUG_HW_WPS);
	*shared = false;
}

/* DBGBCR<n>_EL1, DBGWCR<n>_EL1 (D17.3.2, D17.3.12): at EL1 and EL0. */
void kvm_arch_debug_fill(const struct engine *e, struct kvm_guest_debug *to)
{
	const struct kvm_debug *d = &e->debug;
	enum { E = 1 << 0, PMC = 3 << 1, BAS_INSN = 15 << 5, PAC = 3 << 1, LSC = 3, BAS = 5 };

	if (d->n_breaks || d->n_watches)
		to->control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW;
	for (unsigned i = 0; i < d->n_breaks; i++) {
		to->arch.dbg_bvr[i] = d->breaks[i].va;
		to->arch.dbg_bcr[i] = E | PMC | BAS_INSN;
	}
	for (unsigned i = 0; i < d->n_watches; i++) {
		const struct kvm_hw_point *p = &d->watches[i];
		/* A byte of the eight for each bit; loads are 1, stores 2, as in debug.h. */
		uint64_t bytes = mask_low(p->len) << p->va % 8;

		to->arch.dbg_wvr[i] = align_down(p->va, 8);
		to->arch.dbg_wcr[i] = E | PAC | (uint64_t)p->access << LSC | bytes << BAS;
	}
}

/* The one that the CPU means: it tells an address that the instruction accesses. */
static void watch_hit(const struct kvm_debug *d, uint64_t far, struct debug_stop *stop)
{
	const struct kvm_hw_point *nearest = NULL;
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < d->n_watches; i++) {
		const struct kvm_hw_point *p = &d->watches[i];
		uint64_t off = far < p->va            ? p->va - far
			       : far - p->va < p->len ? 0
						      : far - p->va - p->len + 1;

		if (off < least) {
			least = off;
			nearest = p;
		}
	}
	if (!nearest)
		return;
	stop->addr = far > nearest->va && !least ? far : nearest->va;
	stop->access = (enum debug_access)nearest->access;
}

bool kvm_arch_debug_why(struct vcpu *v, struct debug_stop *stop)
{
	const struct kvm_debug_exit_arch *why = &v->run->debug.arch;

	*stop = (struct debug_stop){ .why = DEBUG_STEPPED };
	switch (bits(why->hsr, 31, 26)) {
	case EC_BREAKPOINT: stop->why = DEBUG_BREAKPOINT; return true;
	case EC_WATCHPOINT:
		stop->why = DEBUG_WATCHPOINT;
		watch_hit(&v->engine->debug, why->far, stop);
		return true;
	case EC_BRK:
		stop->why = DEBUG_BREAKPOINT;
		if (kvm_debug_patch(v->engine, kvm_arch_get(v, VCPU_REG_PC)))
			return true;
		kvm_arch_take_brk(v, why->hsr);
		return false;
	default: return true;
	}
}

/* ---- steps ---- */

enum { PSTATE_IF = 3 << 6, VECTORS = 0x800 };

/* Does it neither read nor change PSTATE, so that a mask goes unseen? Exceptions and system
 * instructions may (C4.1.95), and so do exception returns (C6.2.121). */
static bool blind(uint32_t insn)
{
	uint32_t top = insn >> 24;

	return insn && top != 0xd4 && top != 0xd5 && (insn & 0xfffff000) != 0xd69f0000;
}

/*
 * KVM has no way to keep interrupts from a step, and after a halt there is always one, a timer's.
 * So they are masked in PSTATE, unless the instruction would see that.
 */
void kvm_arch_step_begin(struct vcpu *v)
{
	struct kvm_debug_vcpu *d = &v->debug;
	uint64_t pstate = kvm_arch_get(v, VCPU_REG_PSTATE);

	d->masked = blind(d->insn) && (pstate & PSTATE_IF) != PSTATE_IF;
	if (!d->masked)
		return;
	d->masked_pc = kvm_arch_get(v, VCPU_REG_PC);
	d->unmasked = pstate & PSTATE_IF;
	kvm_arch_set(v, VCPU_REG_PSTATE, pstate | PSTATE_IF);
}

void kvm_arch_step_end(struct vcpu *v)
{
	struct kvm_debug_vcpu *d = &v->debug;
	const uint64_t vbar = ARM64_SYS_REG(3, 0, 12, 0, 0), spsr = CORE64(spsr[KVM_SPSR_EL1]);
	uint64_t pc, val;

	if (!d->masked)
		return;
	d->masked = false;
	pc = kvm_arch_get(v, VCPU_REG_PC);
	/* An exception has taken the mask along, and has set its own. */
	if (pc != d->masked_pc && align_down(pc, VECTORS) == kvm_arch_sys_reg(v, vbar) &&
	    kvm_arch_sys_reg(v, CORE64(elr_el1)) == d->masked_pc) {
		val = kvm_arch_sys_reg(v, spsr);
		kvm_arch_set_sys_reg(v, spsr, (val & ~(uint64_t)PSTATE_IF) | d->unmasked);
		return;
	}
	val = kvm_arch_get(v, VCPU_REG_PSTATE);
	kvm_arch_set(v, VCPU_REG_PSTATE, (val & ~(uint64_t)PSTATE_IF) | d->unmasked);
}

/* ---- time ---- */

static int counter(struct engine *e, unsigned long request)
{
	struct kvm_one_reg arg = { .id = KVM_REG_ARM_TIMER_CNT,
				   .addr = (uintptr_t)&e->debug.counter };

	return kvm_ioctl(e->vcpus->fd, request, &arg);
}

/* CNTVCT_EL0, whose offset all vCPUs share. The physical counter is the host's, and goes on. */
bool kvm_arch_time_stop(struct engine *e)
{
	return counter(e, KVM_GET_ONE_REG) == 0;
}

void kvm_arch_time_go(struct engine *e)
{
	counter(e, KVM_SET_ONE_REG);
}

/* ---- registers ---- */

enum {
	SP = 31,
	PC,
	CPSR,
	V0,
	FPSR = V0 + 32,
	FPCR,
	FIRST_SYS,
};

static const char names[FIRST_SYS][5] = {
	"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",   "x7",   "x8",  "x9",   "x10", "x11",
	"x12", "x13", "x14", "x15", "x16", "x17", "x18",  "x19",  "x20", "x21",  "x22", "x23",
	"x24", "x25", "x26", "x27", "x28", "x29", "x30",  "sp",   "pc",  "cpsr", "v0",  "v1",
	"v2",  "v3",  "v4",  "v5",  "v6",  "v7",  "v8",   "v9",   "v10", "v11",  "v12", "v13",
	"v14", "v15", "v16", "v17", "v18", "v19", "v20",  "v21",  "v22", "v23",  "v24", "v25",
	"v26", "v27", "v28", "v29", "v30", "v31", "fpsr", "fpcr",
};

static const struct {
	const char *name;
	uint64_t id;
} system_regs[] = {
	{ "SP_EL0", CORE64(regs.sp) },
	{ "SP_EL1", CORE64(sp_el1) },
	{ "ELR_EL1", CORE64(elr_el1) },
	{ "SPSR_EL1", CORE64(spsr[KVM_SPSR_EL1]) },
	{ "MIDR_EL1", ARM64_SYS_REG(3, 0, 0, 0, 0) },
	{ "MPIDR_EL1", ARM64_SYS_REG(3, 0, 0, 0, 5) },
	{ "SCTLR_EL1", ARM64_SYS_REG(3, 0, 1, 0, 0) },
	{ "CPACR_EL1", ARM64_SYS_REG(3, 0, 1, 0, 2) },
	{ "TTBR0_EL1", ARM64_SYS_REG(3, 0, 2, 0, 0) },
	{ "TTBR1_EL1", ARM64_SYS_REG(3, 0, 2, 0, 1) },
	{ "TCR_EL1", ARM64_SYS_REG(3, 0, 2, 0, 2) },
	{ "AFSR0_EL1", ARM64_SYS_REG(3, 0, 5, 1, 0) },
	{ "AFSR1_EL1", ARM64_SYS_REG(3, 0, 5, 1, 1) },
	{ "ESR_EL1", ARM64_SYS_REG(3, 0, 5, 2, 0) },
	{ "FAR_EL1", ARM64_SYS_REG(3, 0, 6, 0, 0) },
	{ "PAR_EL1", ARM64_SYS_REG(3, 0, 7, 4, 0) },
	{ "MAIR_EL1", ARM64_SYS_REG(3, 0, 10, 2, 0) },
	{ "AMAIR_EL1", ARM64_SYS_REG(3, 0, 10, 3, 0) },
	{ "VBAR_EL1", ARM64_SYS_REG(3, 0, 12, 0, 0) },
	{ "CONTEXTIDR_EL1", ARM64_SYS_REG(3, 0, 13, 0, 1) },
	{ "TPIDR_EL1", ARM64_SYS_REG(3, 0, 13, 0, 4) },
	{ "CNTKCTL_EL1", ARM64_SYS_REG(3, 0, 14, 1, 0) },
	{ "TPIDR_EL0", ARM64_SYS_REG(3, 3, 13, 0, 2) },
	{ "TPIDRRO_EL0", ARM64_SYS_REG(3, 3, 13, 0, 3) },
	{ "CNTV_CTL_EL0", KVM_REG_ARM_TIMER_CTL },
	{ "CNTVCT_EL0", KVM_REG_ARM_TIMER_CNT },
	{ "CNTV_CVAL_EL0", KVM_REG_ARM_TIMER_CVAL },
};

bool kvm_arch_reg(struct engine *e, size_t n, struct debug_reg *reg)
{
	(void)e;
	if (n >= FIRST_SYS + ARRAY_SIZE(system_regs))
		return false;
	*reg = (struct debug_reg){ .bits = 64, .feature = "org.gnu.gdb.aarch64.core" };
	if (n >= FIRST_SYS) {
		reg->name = system_regs[n - FIRST_SYS].name;
		reg->feature = "org.hako.aarch64.system";
		reg->system = true;
		return true;
	}
	reg->name = names[n];
	if (n >= V0) {
		reg->feature = "org.gnu.gdb.aarch64.fpu";
		reg->bits = n < FPSR ? 128 : 32;
		reg->type = n < FPSR ? "vector" : NULL;
	} else if (n == CPSR) {
		reg->bits = 32;
	} else if (n >= SP) {
		reg->type = n == PC ? "code_ptr" : "data_ptr";
	}
	return true;
}

/* KVM's name for it. */
static uint64_t id(struct vcpu *v, size_t n)
{
	const uint64_t v0 = KVM_REG_ARM64 | KVM_REG_SIZE_U128 | KVM_REG_ARM_CORE |
			    KVM_REG_ARM_CORE_REG(fp_regs.vregs[0]);

	if (n >= FIRST_SYS)
		return system_regs[n - FIRST_SYS].id;
	switch (n) {
	case CPSR: return kvm_arch_reg_id(v, VCPU_REG_PSTATE);
	case FPSR: return CORE32(fp_regs.fpsr);
	case FPCR: return CORE32(fp_regs.fpcr);
	}
	if (n >= V0)
		return v0 + (n - V0) * (KVM_REG_ARM_CORE_REG(fp_regs.vregs[1]) -
					KVM_REG_ARM_CORE_REG(fp_regs.vregs[0]));
	return kvm_arch_reg_id(v, (unsigned)n); /* engine.h's numbers are the same */
}

static bool one_reg(struct vcpu *v, unsigned long request, size_t n, void *val)
{
	struct kvm_one_reg arg = { .id = id(v, n), .addr = (uintptr_t)val };
	struct kvm_debug *d = &v->engine->debug;

	if (arg.id == KVM_REG_ARM_TIMER_CNT && d->time_stopped) {
		if (request == KVM_GET_ONE_REG)
			memcpy(val, &d->counter, sizeof(d->counter));
		else
			memcpy(&d->counter, val, sizeof(d->counter));
		return true;
	}
	return arg.id && kvm_ioctl(v->fd, request, &arg) == 0;
}

bool kvm_arch_reg_get(struct vcpu *v, size_t n, void *val)
{
	struct debug_reg reg;
	uint64_t words[2];

	/* PSTATE is 64 bits to KVM. */
	if (!kvm_arch_reg(v->engine, n, &reg) || !one_reg(v, KVM_GET_ONE_REG, n, words))
		return false;
	memcpy(val, words, reg.bits / 8);
	return true;
}

bool kvm_arch_reg_set(struct vcpu *v, size_t n, const void *val)
{
	struct debug_reg reg;
	uint64_t words[2] = { 0 };

	if (!kvm_arch_reg(v->engine, n, &reg))
		return false;
	memcpy(words, val, reg.bits / 8);
	return one_reg(v, KVM_SET_ONE_REG, n, words);
}

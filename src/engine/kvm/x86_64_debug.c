/* SPDX-License-Identifier: MIT */
/*
 * Debugging x86-64 guests: registers by name, the four debug registers, INT3.
 *
 * Features, names and order of the first registers are those that gdb's documentation asks for
 * (appendix G.5.7, "i386 Features"). The debug registers: SDM 3B, 18.2.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "engine/kvm/kvm.h"

const struct kvm_brk kvm_arch_brk = { 1, { 0xcc } };
const bool kvm_arch_watches_reads = false; /* writes, or both */

enum { DEBUG_REGISTERS = 4, DR6_BS = 14 };

int kvm_arch_debug_probe(struct engine *e, struct err *err)
{
	if (kvm_cap(e, KVM_CAP_SET_GUEST_DEBUG) > 0)
		return 0;
	return err_set(err, -ENOTSUP,
		       "the host's KVM cannot debug guests "
		       "(KVM_CAP_SET_GUEST_DEBUG, which Linux has since 2.6.30)");
}

/* ---- points ---- */

void kvm_arch_debug_limits(struct engine *e, unsigned *breaks, unsigned *watches, bool *shared)
{
	(void)e;
	*breaks = *watches = DEBUG_REGISTERS;
	*shared = true;
}

static void fill(const struct kvm_hw_point *p, unsigned n, struct kvm_guest_debug *to)
{
	/* R/Wn and LENn of DR7 */
	const uint64_t type = p->access == DEBUG_EXEC ? 0 : p->access == DEBUG_WRITE ? 1 : 3;
	const uint64_t len = p->len == 8 ? 2 : p->len - 1U;

	to->control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	to->arch.debugreg[n] = p->va;
	to->arch.debugreg[7] |= 2ULL << (2 * n) | type << (16 + 4 * n) | len << (18 + 4 * n);
}

/* The watchpoints are in the first registers. */
void kvm_arch_debug_fill(const struct engine *e, struct kvm_guest_debug *to)
{
	enum { DR7_ONE = 1 << 10, DR7_GE = 1 << 9 };
	const struct kvm_debug *d = &e->debug;

	to->arch.debugreg[7] = DR7_ONE | DR7_GE;
	for (unsigned i = 0; i < d->n_watches; i++)
		fill(&d->watches[i], i, to);
	for (unsigned i = 0; i < d->n_breaks; i++)
		fill(&d->breaks[i], d->n_watches + i, to);
	/* Since Linux 5.15. Without it, a step may end in the handler of an interrupt. */
	if ((to->control & KVM_GUESTDBG_SINGLESTEP) &&
	    (kvm_cap(e, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ))
		to->control |= KVM_GUESTDBG_BLOCKIRQ;
}

/* KVM_GUESTDBG_BLOCKIRQ does it. */
void kvm_arch_step_begin(struct vcpu *v)
{
	(void)v;
}

void kvm_arch_step_end(struct vcpu *v)
{
	(void)v;
}

/* Which of the debug registers has stopped it? */
static bool hit(const struct kvm_debug *d, uint64_t dr6, struct debug_stop *stop)
{
	const struct kvm_hw_point *found = NULL;

	for (unsigned i = d->n_watches + d->n_breaks; i--;)
		if (bit(dr6, i))
			found = i < d->n_watches ? &d->watches[i] : &d->breaks[i - d->n_watches];
	if (!found)
		return false;
	stop->why = found->access == DEBUG_EXEC ? DEBUG_BREAKPOINT : DEBUG_WATCHPOINT;
	stop->addr = d->points[found->point].va;
	stop->access = (enum debug_access)found->access;
	return true;
}

bool kvm_arch_debug_why(struct vcpu *v, struct debug_stop *stop)
{
	const struct kvm_debug_exit_arch *why = &v->run->debug.arch;

	*stop = (struct debug_stop){ .why = DEBUG_STEPPED };
	if (why->exception == BP_VECTOR) {
		stop->why = DEBUG_BREAKPOINT;
		if (kvm_debug_patch(v->engine, why->pc))
			return true;
		v->debug.inject = KVM_GUESTDBG_INJECT_BP;
		return false;
	}
	if (hit(&v->engine->debug, why->dr6, stop))
		return true;
	if (v->debug.step && bit(why->dr6, DR6_BS))
		return true;
	v->debug.inject = KVM_GUESTDBG_INJECT_DB;
	return false;
}

/* ---- registers ---- */

enum {
	RAX,
	RIP = 16,
	EFLAGS,
	CS,
	ST0 = CS + 6,
	FCTRL = ST0 + 8,
	FSTAT,
	FTAG,
	FISEG,
	FIOFF,
	FOSEG,
	FOOFF,
	FOP,
	XMM0,
	MXCSR = XMM0 + 16,
	FS_BASE,
	GS_BASE,
	CR0,
	CR2,
	CR3,
	CR4,
	CR8,
	EFER,
	GDTR,
	IDTR,
	TR,
	LDTR,
	N_REGS,
};

static const char names[N_REGS][8] = {
	"rax",   "rbx",   "rcx",   "rdx",   "rsi",   "rdi",   "rbp",   "rsp",     "r8",      "r9",
	"r10",   "r11",   "r12",   "r13",   "r14",   "r15",   "rip",   "eflags",  "cs",      "ss",
	"ds",    "es",    "fs",    "gs",    "st0",   "st1",   "st2",   "st3",     "st4",     "st5",
	"st6",   "st7",   "fctrl", "fstat", "ftag",  "fiseg", "fioff", "foseg",   "fooff",   "fop",
	"xmm0",  "xmm1",  "xmm2",  "xmm3",  "xmm4",  "xmm5",  "xmm6",  "xmm7",    "xmm8",    "xmm9",
	"xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "mxcsr", "fs_base", "gs_base", "cr0",
	"cr2",   "cr3",   "cr4",   "cr8",   "efer",  "gdtr",  "idtr",  "tr",      "ldtr",
};

bool kvm_arch_reg(struct engine *e, size_t n, struct debug_reg *reg)
{
	(void)e;
	if (n >= N_REGS)
		return false;
	*reg = (struct debug_reg){ .name = names[n], .bits = 64 };
	if (n >= CR0) {
		reg->feature = "org.hako.i386.system";
		reg->system = true;
	} else if (n >= FS_BASE) {
		reg->feature = "org.gnu.gdb.i386.segments";
	} else if (n >= XMM0) {
		reg->feature = "org.gnu.gdb.i386.sse";
		reg->bits = n < MXCSR ? 128 : 32;
		reg->type = n < MXCSR ? "vec128" : "i386_mxcsr";
	} else {
		reg->feature = "org.gnu.gdb.i386.core";
	}
	if (n == RIP)
		reg->type = "code_ptr";
	else if (n == RAX + 6 || n == RAX + 7)
		reg->type = "data_ptr"; /* rbp, rsp */
	else if (n == EFLAGS)
		reg->type = "i386_eflags";
	else if (n >= ST0 && n < FCTRL)
		reg->type = "i387_ext";
	if (n >= ST0 && n < FCTRL)
		reg->bits = 80;
	else if ((n >= EFLAGS && n < ST0) || (n >= FCTRL && n < XMM0))
		reg->bits = 32;
	return true;
}

/* engine.h's number of those that have one; 0: none. */
static unsigned number(size_t n)
{
	/* As gdb orders them, by their numbers in instructions. */
	static const uint8_t general[] = { 0, 3, 1, 2, 6, 7, 5, 4 };
	static const unsigned segments[] = { VCPU_REG_X86_CS, VCPU_REG_X86_SS, VCPU_REG_X86_DS,
					     VCPU_REG_X86_ES, VCPU_REG_X86_FS, VCPU_REG_X86_GS };

	if (n < RIP)
		return VCPU_REG_X86_RAX + (n < ARRAY_SIZE(general) ? general[n] : (unsigned)n);
	if (n >= CS && n < ST0)
		return segments[n - CS];
	switch (n) {
	case RIP: return VCPU_REG_X86_RIP;
	case EFLAGS: return VCPU_REG_X86_RFLAGS;
	case CR0: return VCPU_REG_X86_CR0;
	case CR2: return VCPU_REG_X86_CR2;
	case CR3: return VCPU_REG_X86_CR3;
	case CR4: return VCPU_REG_X86_CR4;
	case EFER: return VCPU_REG_X86_EFER;
	case GDTR: return VCPU_REG_X86_GDTR_BASE;
	case IDTR: return VCPU_REG_X86_IDTR_BASE;
	case TR: return VCPU_REG_X86_TR;
	case LDTR: return VCPU_REG_X86_LDTR;
	default: return 0;
	}
}

/* Where a register of the FPU is in what FXSAVE writes (SDM 1, table 10-2), which is how the area
 * begins that XSAVE writes; and how long it is there. False: it is not, KVM has no segments. */
static bool place(size_t n, size_t *at, size_t *size)
{
	static const uint8_t control[][2] = {
		[FCTRL - FCTRL] = { 0, 2 }, [FSTAT - FCTRL] = { 2, 2 }, [FTAG - FCTRL] = { 4, 1 },
		[FOP - FCTRL] = { 6, 2 },   [FIOFF - FCTRL] = { 8, 4 }, [FOOFF - FCTRL] = { 16, 4 },
	};

	if (n < FCTRL)
		*at = 32 + 16 * (n - ST0), *size = 10;
	else if (n < XMM0)
		*at = control[n - FCTRL][0], *size = control[n - FCTRL][1];
	else if (n < MXCSR)
		*at = 160 + 16 * (n - XMM0), *size = 16;
	else
		*at = 24, *size = 4;
	return *size;
}

/* FXSAVE has a bit for each register that is not empty; FSTENV, and gdb, two: 3 is empty, and what
 * else there is may be worked out from the value (SDM 1, 8.1.7). */
static uint16_t tags(uint8_t used)
{
	unsigned word = 0;

	for (unsigned i = 0; i < 8; i++)
		word |= bit(used, i) ? 0 : 3U << (2 * i);
	return (uint16_t)word;
}

static uint8_t used(uint16_t tags)
{
	unsigned byte = 0;

	for (unsigned i = 0; i < 8; i++)
		byte |= (tags >> (2 * i) & 3) == 3 ? 0 : 1U << i;
	return (uint8_t)byte;
}

/* KVM_GET_FPU would do, but for MXCSR. */
union fpu {
	struct kvm_xsave xsave;
	uint8_t bytes[sizeof(struct kvm_xsave)];
};

static bool get_fpu(struct vcpu *v, size_t n, size_t len, void *val)
{
	union fpu fpu;
	size_t at, size;

	memset(val, 0, len);
	if (kvm_ioctl(v->fd, KVM_GET_XSAVE, &fpu) < 0)
		return false;
	if (place(n, &at, &size))
		memcpy(val, fpu.bytes + at, size);
	if (n == FTAG) {
		uint16_t word = tags(fpu.bytes[at]);
		memcpy(val, &word, sizeof(word));
	}
	return true;
}

static bool set_fpu(struct vcpu *v, size_t n, const void *val)
{
	enum { XSTATE_BV = 512, X87_AND_SSE = 3 };
	union fpu fpu;
	size_t at, size;

	if (!place(n, &at, &size) || kvm_ioctl(v->fd, KVM_GET_XSAVE, &fpu) < 0)
		return false;
	memcpy(fpu.bytes + at, val, size);
	if (n == FTAG) {
		uint16_t word;
		memcpy(&word, val, sizeof(word));
		fpu.bytes[at] = used(word);
	}
	fpu.bytes[XSTATE_BV] |= X87_AND_SSE; /* not in their initial state, as if they were */
	return kvm_ioctl(v->fd, KVM_SET_XSAVE, &fpu) >= 0;
}

/* Of KVM's special registers, those that engine.h does not have. */
static __u64 *special(struct kvm_sregs *s, size_t n)
{
	return n == FS_BASE ? &s->fs.base : n == GS_BASE ? &s->gs.base : &s->cr8;
}

bool kvm_arch_reg_get(struct vcpu *v, size_t n, void *val)
{
	struct debug_reg reg;
	struct kvm_sregs sregs;
	uint64_t word;

	if (!kvm_arch_reg(v->engine, n, &reg))
		return false;
	if (n >= ST0 && n <= MXCSR)
		return get_fpu(v, n, reg.bits / 8, val);
	if (number(n)) {
		word = kvm_arch_get(v, number(n));
	} else {
		if (kvm_ioctl(v->fd, KVM_GET_SREGS, &sregs) < 0)
			return false;
		word = *special(&sregs, n);
	}
	memcpy(val, &word, reg.bits / 8);
	return true;
}

bool kvm_arch_reg_set(struct vcpu *v, size_t n, const void *val)
{
	struct debug_reg reg;
	struct kvm_sregs sregs;
	uint64_t word = 0;

	if (!kvm_arch_reg(v->engine, n, &reg))
		return false;
	if (n >= ST0 && n <= MXCSR)
		return set_fpu(v, n, val);
	memcpy(&word, val, reg.bits / 8);
	if (n == FS_BASE || n == GS_BASE || n == CR8) {
		/* Those that were set before, and wait for the vCPU to run, go first. */
		if (kvm_arch_enter(v) || kvm_ioctl(v->fd, KVM_GET_SREGS, &sregs) < 0)
			return false;
		*special(&sregs, n) = word;
		return kvm_ioctl(v->fd, KVM_SET_SREGS, &sregs) >= 0;
	}
	/* A selector alone makes no segment; KVM would refuse much else, when the vCPU runs. */
	if (n > EFLAGS && n != CR2)
		return kvm_arch_get(v, number(n)) == word;
	kvm_arch_set(v, number(n), word);
	return true;
}

/* ---- time ---- */

static int get_tsc(struct vcpu *v, uint64_t *tsc)
{
	enum { IA32_TSC = 0x10 };
	union {
		struct kvm_msrs msrs;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} one = { .msrs.nmsrs = 1 };
	int n;

	one.msrs.entries[0].index = IA32_TSC;
	n = kvm_ioctl(v->fd, KVM_GET_MSRS, &one);
	*tsc = one.msrs.entries[0].data;
	return n < 0 ? n : n == 1 ? 0 : -EINVAL;
}

/* Linux, Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET: since 5.16. To write the TSC
 * would not do: KVM takes a value that is less than a second off for what it should be. */
static int tsc_offset(struct vcpu *v, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr arg = { .group = KVM_VCPU_TSC_CTRL,
				       .attr = KVM_VCPU_TSC_OFFSET,
				       .addr = (uintptr_t)offset };

	return kvm_ioctl(v->fd, request, &arg);
}

bool kvm_arch_time_stop(struct engine *e)
{
	struct kvm_clock_data clock = { 0 };

	if (kvm_ioctl(e->vm, KVM_GET_CLOCK, &clock) < 0 || get_tsc(e->vcpus, &e->debug.counter))
		return false;
	e->debug.clock = clock.clock;
	return true;
}

/* A timer that was due meanwhile has fired, once: what a guest does then is to look at
 * its clock. */
void kvm_arch_time_go(struct engine *e)
{
	struct kvm_clock_data clock = { .clock = e->debug.clock };
	struct kvm_pit_state2 pit;
	uint64_t tsc, offset;

	/* Its ticks, KVM would make up for all of them: setting it forgets what is due. */
	if (kvm_ioctl(e->vm, KVM_GET_PIT2, &pit) >= 0)
		kvm_ioctl(e->vm, KVM_SET_PIT2, &pit);
	if (get_tsc(e->vcpus, &tsc) == 0)
		for (struct vcpu *v = e->vcpus; v; v = v->next) {
			if (tsc_offset(v, KVM_GET_DEVICE_ATTR, &offset))
				break;
			offset -= tsc - e->debug.counter;
			tsc_offset(v, KVM_SET_DEVICE_ATTR, &offset);
		}
	kvm_ioctl(e->vm, KVM_SET_CLOCK, &clock); /* last: it has vCPUs look at their TSC again */
}

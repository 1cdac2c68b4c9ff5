/* SPDX-License-Identifier: MIT */
/*
 * Debugging guests under KVM: debug.c, which knows points and stops, and ARCH_debug.c, which knows
 * registers and what the CPU has for debuggers.
 *
 * A breakpoint takes one of the CPU's few debug registers, which the guest does not see, or else
 * an instruction in memory is replaced by one that stops (a patch), which the guest would see if it
 * looked; while the guest is halted, there are none (debug_ops.writes_memory). While there are
 * points or a vCPU is stepped, the guest's own use of the debug registers has no effect.
 *
 * Threads: points are set while all vCPUs are parked; a vCPU's own part is its thread's, or the
 * machine's while it is parked.
 */
#ifndef HAKO_ENGINE_KVM_DEBUG_H
#define HAKO_ENGINE_KVM_DEBUG_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/debug.h"

struct err;

enum { KVM_HW_MAX = 16, KVM_BRK_MAX = 4 };

/* What a debug register holds: bytes, a power of 2 up to 8, aligned; and whose point that is. */
struct kvm_hw_point {
	uint64_t va;
	uint8_t len, access, point;
};

struct kvm_debug {
	struct debug_point points[DEBUG_POINTS_MAX];
	size_t n;
	struct kvm_hw_point breaks[KVM_HW_MAX], watches[KVM_HW_MAX];
	unsigned n_breaks, n_watches;
	unsigned n_patches;
	struct {
		bool in;
		uint8_t was[KVM_BRK_MAX];
	} patches[DEBUG_POINTS_MAX]; /* by point */
	unsigned version;            /* of all that */
	/* Memory was loaded anew: the patches are not there. Under the lock; false is
	 * seen without. */
	atomic_bool lost;
	pthread_mutex_t lock;
	/* What the guest's time was when it was stopped: arm64: CNTVCT; x86: the TSC, and kvmclock
	 * in ns. */
	bool time_stopped;
	uint64_t counter, clock;
};

struct kvm_debug_vcpu {
	bool step, stepping; /* asked for; and kvm_arch_step_begin() was called */
	uint32_t insn;       /* that is stepped, 0: unknown */
	/* arm64: interrupts are masked for the step from this pc, and were not: PSTATE's I and F */
	bool masked;
	uint64_t masked_pc, unmasked;
	unsigned version; /* what KVM was told last: that version of kvm_debug, */
	bool told_step;   /* and this */
	uint32_t inject;  /* KVM_GUESTDBG_INJECT_*, to be told once */
	struct debug_stop stop;
};

/* debug.c. kvm_debug_enter(): before KVM_RUN; 0 or a negative errno. */
void kvm_debug_init(struct kvm_debug *debug);
void kvm_debug_fini(struct kvm_debug *debug);
void kvm_debug_reset(struct engine *engine);
int kvm_debug_enter(struct vcpu *vcpu);
/* KVM_EXIT_DEBUG: true: it has stopped (VCPU_DEBUG); false: it goes on. */
bool kvm_debug_exit(struct vcpu *vcpu);
/* KVM cannot go on. Because of a patch? Where it emulates the guest's CPU, it may not know the
 * instruction, and gives up instead of saying so. Then it has stopped. */
bool kvm_debug_at_patch(struct vcpu *vcpu);
/* The patch at this address, or NULL. */
const struct debug_point *kvm_debug_patch(struct engine *engine, uint64_t va);

/* ---- the architecture ---- */

/* The instruction that stops. */
extern const struct kvm_brk {
	uint8_t len, bytes[KVM_BRK_MAX];
} kvm_arch_brk;

/* -ENOTSUP and a sentence where this host's KVM cannot. */
int kvm_arch_debug_probe(struct engine *engine, struct err *err);
/* How many debug registers there are; `shared`: they are the same ones. */
void kvm_arch_debug_limits(struct engine *engine, unsigned *breaks, unsigned *watches,
			   bool *shared);
/* A watchpoint for reads only: the CPU has that. */
extern const bool kvm_arch_watches_reads;
/* breaks[] and watches[] into what KVM wants; `control` has the flags of the others. */
void kvm_arch_debug_fill(const struct engine *engine, struct kvm_guest_debug *to);
/*
 * Why run->debug came: true, and *stop says it; false: not for us, and what is to be done about it
 * has been done: the guest gets its exception.
 */
bool kvm_arch_debug_why(struct vcpu *vcpu, struct debug_stop *stop);

/* Keep interrupts away from a step; and when it is over, or will not be made. */
void kvm_arch_step_begin(struct vcpu *vcpu);
void kvm_arch_step_end(struct vcpu *vcpu);

/* debug_ops.time_stop and time_go: remember what the time is, false: KVM does not tell; and have it
 * so again. */
bool kvm_arch_time_stop(struct engine *engine);
void kvm_arch_time_go(struct engine *engine);

/* arm64.c's, for arm64_debug.c: KVM's name of a register of engine.h, 0: there is none; the
 * guest's own BRK, which KVM has taken for ours; and registers by KVM's names. */
uint64_t kvm_arch_reg_id(struct vcpu *vcpu, unsigned reg);
void kvm_arch_take_brk(struct vcpu *vcpu, uint32_t esr);
uint64_t kvm_arch_sys_reg(struct vcpu *vcpu, uint64_t id);
void kvm_arch_set_sys_reg(struct vcpu *vcpu, uint64_t id, uint64_t val);

/* debug_ops. */
bool kvm_arch_reg(struct engine *engine, size_t n, struct debug_reg *reg);
bool kvm_arch_reg_get(struct vcpu *vcpu, size_t reg, void *val);
bool kvm_arch_reg_set(struct vcpu *vcpu, size_t reg, const void *val);

extern const struct debug_ops kvm_debug_ops;

#endif

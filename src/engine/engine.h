/* SPDX-License-Identifier: MIT */
/*
 * An engine runs vCPUs: hako's software CPU, KVM, Apple's Hypervisor.framework. A machine is the
 * same under each of them; only speed changes.
 *
 * Device accesses never surface here: the engine calls the bus. What surfaces is what a machine
 * must decide: enum vcpu_exit.
 *
 * Threads: an engine is created, given memory and vCPUs, and destroyed on one thread (the
 * machine's). vcpu_run is called on the vCPU's own thread, which called vcpu_init first. vcpu_kick
 * and vcpu_irq may be called from any thread.
 */
#ifndef HAKO_ENGINE_ENGINE_H
#define HAKO_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

struct bus;
struct clock;
struct engine;
struct err;
struct gmem;
struct log;
struct vcpu;

enum vcpu_exit {
	VCPU_KICKED, /* vcpu_kick: look at what changed, run again */
	VCPU_CALL,   /* a firmware call (HVC, ECALL) is in the registers; run again after it */
};

/* Interrupt inputs of a vCPU: A64's, and RISC-V's, which are numbered as the bits of mip. */
enum vcpu_irq {
	VCPU_IRQ,
	VCPU_FIQ,
	VCPU_SSI = 1,
	VCPU_MSI = 3,
	VCPU_MTI = 7,
	VCPU_SEI = 9,
	VCPU_MEI = 11,
};

/* Registers by kind and number, as the guest architecture's manual names them. */
enum vcpu_reg {
	VCPU_REG_X0 = 0 /* .. X30 */,
	VCPU_REG_SP = 31,
	VCPU_REG_PC = 32,
	VCPU_REG_PSTATE = 33,
	/* RISC-V: x0 to x31 are 0 to 31 */
	VCPU_REG_RV_STIMECMP = 64,
	VCPU_REG_RV_SATP,
	VCPU_REG_RV_WFI, /* set to 1: wait as WFI does when run next */
};

/* What RISC-V harts shall forget of address translation, for SBI's remote fences. */
struct vcpu_fence {
	bool code;          /* instructions only: FENCE.I */
	uint64_t va, pages; /* pages 0: every address */
	uint32_t asid;      /* ~0: every address space */
};

/* The part of the interrupt controller that a CPU reaches by system registers (GICv3 ICC_*_EL1). */
struct vcpu_sysreg_ops {
	/* `reg` is op0:op1:CRn:CRm:op2 packed as A64_SYSREG() does. 0, or -ENOENT: undefined. */
	int (*read)(void *dev, unsigned cpu, uint32_t reg, uint64_t *val);
	int (*write)(void *dev, unsigned cpu, uint32_t reg, uint64_t val);
};

/* Where the vCPU's own timers raise their interrupts: irq_set-like, by timer. */
enum vcpu_timer { VCPU_TIMER_VIRT, VCPU_TIMER_PHYS, VCPU_N_TIMERS };

/* The guest's instruction set. */
enum guest_arch { GUEST_A64, GUEST_RV32, GUEST_RV64 };

struct engine_config {
	enum guest_arch arch;
	struct gmem *mem;
	struct bus *mmio;
	struct clock *clock;
	struct log *log;
	unsigned n_vcpus;
};

/* What a machine connects to a vCPU before it runs. */
struct vcpu_wiring {
	bool sbi; /* RISC-V: hako is the firmware, the hart starts in S mode and ECALL is VCPU_CALL
		   */
	const struct vcpu_sysreg_ops *icc; /* GIC CPU interface */
	void *icc_dev;
	void (*timer_irq)(void *dev, unsigned cpu, enum vcpu_timer timer, bool level);
	void *timer_dev;
};

struct engine_ops {
	const char *name;
	/* Can this engine run here? -errno and a sentence with what to do when not. */
	int (*probe)(struct err *err);
	int (*create)(struct engine **engine, const struct engine_config *config, struct err *err);
	void (*destroy)(struct engine *engine);

	int (*vcpu_create)(struct engine *engine, unsigned index, const struct vcpu_wiring *wiring,
			   struct vcpu **vcpu, struct err *err);
	/* On the vCPU's thread, once, before vcpu_run. */
	int (*vcpu_init)(struct vcpu *vcpu, struct err *err);
	void (*vcpu_destroy)(struct vcpu *vcpu);

	/* Put every register into its reset state: EL1h, interrupts masked, MMU off. vCPU not
	 * running. */
	void (*vcpu_reset)(struct vcpu *vcpu);
	uint64_t (*vcpu_get)(struct vcpu *vcpu, unsigned reg);
	void (*vcpu_set)(struct vcpu *vcpu, unsigned reg, uint64_t val);

	int (*vcpu_run)(struct vcpu *vcpu, enum vcpu_exit *exit);
	/* Make vcpu_run return VCPU_KICKED soon; sticky: also when it is not running yet. */
	void (*vcpu_kick)(struct vcpu *vcpu);
	void (*vcpu_irq)(struct vcpu *vcpu, enum vcpu_irq irq, bool level);

	/*
	 * On the vCPU's thread, in between vcpu_run: fence at the vCPUs of the mask, itself perhaps
	 * included. Done when it returns. NULL where nothing needs it (arm64).
	 */
	void (*vcpu_fence)(struct vcpu *vcpu, uint64_t mask, const struct vcpu_fence *fence);

	/*
	 * Is the vCPU asleep in WFI with no timer armed, so that only an interrupt from outside can
	 * wake it? May be stale at once; the machine asks under its own rules (see watch() in
	 * machine/vm.c).
	 */
	bool (*vcpu_stuck)(struct vcpu *vcpu);
};

extern const struct engine_ops engine_soft;

#endif

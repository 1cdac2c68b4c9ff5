/* SPDX-License-Identifier: MIT */
/*
 * An engine runs vCPUs: hako's software CPU, KVM, Apple's Hypervisor.framework. A machine is the
 * same under each of them; only speed changes.
 *
 * Device accesses never surface here: the engine calls the bus. What surfaces is what a machine
 * must decide: enum vcpu_exit.
 *
 * An engine may bring an interrupt controller, a firmware and doorbells of its own, in the host's
 * kernel: irqchip_create, starts_cpus, and what it does with bus_engine_ops (bus/bus.h). A board
 * uses them where they are, and has its own devices where they are not.
 *
 * Order: create, irqchip_create, irq, vcpu_create for each, map (all RAM is in place), then the
 * vCPUs' registers and their threads. destroy comes after all vCPUs, and after every irq_line of
 * irq() was used for the last time.
 *
 * Threads: an engine is created, given memory and vCPUs, and destroyed on one thread (the
 * machine's). vcpu_run is called on the vCPU's own thread, which called vcpu_init first. vcpu_kick
 * and vcpu_irq may be called from any thread.
 */
#ifndef HAKO_ENGINE_ENGINE_H
#define HAKO_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/debug.h"

struct bus;
struct clock;
struct engine;
struct err;
struct gmem;
struct irq_line;
struct log;
struct loop;
struct vcpu;

enum vcpu_exit {
	VCPU_KICKED, /* vcpu_kick: look at what changed, run again */
	VCPU_DEBUG,  /* engine_ops.debug: it stopped as it was asked to */
	VCPU_CALL,   /* a firmware call (HVC, ECALL) is in the registers; run again after it */
	VCPU_OFF,    /* the engine's own firmware powers the machine off (PSCI, SBI in KVM) */
	VCPU_RESET,  /* it resets the machine, or the CPU does so: an x86 triple fault */
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
	VCPU_REG_RV_SSTATUS,
	VCPU_REG_RV_WFI, /* set to 1: wait as WFI does when run next */
	/* x86: general registers as instructions number them (SDM 2A, table 3-1) */
	VCPU_REG_X86_RAX = 128,
	VCPU_REG_X86_RCX,
	VCPU_REG_X86_RDX,
	VCPU_REG_X86_RBX,
	VCPU_REG_X86_RSP,
	VCPU_REG_X86_RBP,
	VCPU_REG_X86_RSI,
	VCPU_REG_X86_RDI,
	VCPU_REG_X86_R8 /* .. R15 */,
	VCPU_REG_X86_RIP = VCPU_REG_X86_R8 + 8,
	VCPU_REG_X86_RFLAGS,
	VCPU_REG_X86_CR0,
	VCPU_REG_X86_CR2,
	VCPU_REG_X86_CR3,
	VCPU_REG_X86_CR4,
	VCPU_REG_X86_EFER, /* LMA is set with it, where LME and CR0.PG are */
	VCPU_REG_X86_GDTR_BASE,
	VCPU_REG_X86_GDTR_LIMIT,
	VCPU_REG_X86_IDTR_BASE,
	VCPU_REG_X86_IDTR_LIMIT,
	/* Selectors. Setting one loads the whole register from the GDT in guest memory, as the CPU
	 * does in protected mode: GDTR comes first, and the table must be there. 0 in all but CS
	 * and SS makes the register unusable. */
	VCPU_REG_X86_ES,
	VCPU_REG_X86_CS,
	VCPU_REG_X86_SS,
	VCPU_REG_X86_DS,
	VCPU_REG_X86_FS,
	VCPU_REG_X86_GS,
	VCPU_REG_X86_TR,
	VCPU_REG_X86_LDTR,
};

/* What RISC-V harts shall forget of address translation, for SBI's remote fences. */
struct vcpu_fence {
	bool code;          /* instructions only: FENCE.I */
	uint64_t va, pages; /* pages 0: every address */
	uint32_t asid;      /* ~0: every address space */
};

/* What a RISC-V hart is, in the words of device trees (Linux, riscv/cpus.yaml, extensions.yaml). */
enum { VCPU_ISA_MAX = 1024 };
struct vcpu_hart {
	char isa[VCPU_ISA_MAX];          /* "rv64imafdc_zicbom_sstc" */
	const char *mmu;                 /* mmu-type, or NULL: it cannot be told */
	uint32_t timebase;               /* ticks of `time` in a second */
	uint32_t cbom_block, cboz_block; /* bytes, where isa has zicbom, zicboz */
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
enum guest_arch { GUEST_A64, GUEST_RV32, GUEST_RV64, GUEST_X86_64, GUEST_N_ARCHS };

struct engine_config {
	enum guest_arch arch;
	struct gmem *mem;
	struct bus *mmio;
	struct bus *pio; /* x86: the ports, addresses 0 to 0xffff; NULL elsewhere */
	struct clock *clock;
	struct loop *loop; /* of the thread that creates it; NULL: level lines only, where that
			      matters */
	struct log *log;
	unsigned n_vcpus;
};

/* What a machine connects to a vCPU before it runs. */
struct vcpu_wiring {
	bool sbi; /* RISC-V: hako is the firmware, the hart starts in S mode and ECALL
		   * is VCPU_CALL */
	const struct vcpu_sysreg_ops *icc; /* GIC CPU interface */
	void *icc_dev;
	void (*timer_irq)(void *dev, unsigned cpu, enum vcpu_timer timer, bool level);
	void *timer_dev;
};

/*
 * An interrupt controller of the engine's own. x86: both 8259s, an IOAPIC of 24 pins at 0xfec00000,
 * a local APIC at 0xfee00000 in each vCPU, and the 8254 with its gate at port 0x61. arm64: a GIC
 * where the fields say.
 */
struct engine_irqchip {
	uint64_t gicd_base;
	uint64_t gicr_base;   /* of GICv3: the redistributors, one behind the other */
	uint64_t gicc_base;   /* of GICv2: the CPU interface */
	unsigned n_spis;      /* a multiple of 32 */
	unsigned gic_version; /* out: 3, or 2 where the host has no v3 */
};

struct engine_ops {
	const char *name;
	/*
	 * The engine starts and stops vCPUs itself, as the guest asks (PSCI or SBI in the kernel,
	 * INIT and SIPI): each vCPU's thread enters vcpu_run at once, and VCPU_CALL is only what
	 * such firmware leaves to the machine: SBI's console.
	 */
	bool starts_cpus;
	/*
	 * Can this engine run such a guest here? If not, a negative errno and a sentence with what
	 * to do: -ENOTSUP when it never can on a host of this kind. For those who only want to
	 * know: create asks the same, and KVM makes a VM for the answer.
	 */
	int (*probe)(enum guest_arch arch, struct err *err);
	/* NULL, or the host's user should know, in a sentence, why guests are slow here; NULL:
	 * never. */
	const char *(*slow)(void);
	int (*create)(struct engine **engine, const struct engine_config *config, struct err *err);
	void (*destroy)(struct engine *engine);

	/* NULL: needs no telling. Guest RAM is in place in gmem, and stays as it is. */
	int (*map)(struct engine *engine, struct err *err);

	/*
	 * The dirty log of RAM, for what shall copy a guest's memory while it runs; nothing does so
	 * yet. NULL: the engine has none (soft).
	 *
	 * dirty_log: from now on, note which pages of gmem_region(region) vCPUs write, or do so no
	 * more. dirty_fetch: those noted since then or since the last fetch, and forget them. A bit
	 * for each of the host's pages (sysconf(_SC_PAGESIZE)), from bit 0 of dirty[0] on, in whole
	 * words; -ENOENT: the log is off.
	 *
	 * After map, by one thread at a time. vCPUs may run: a page that one writes meanwhile is in
	 * this bitmap or in the next. Of what hako writes, through gmem, the engine does not know:
	 * a gmem_observer of `all` does, and whoever wants every write merges the two.
	 */
	int (*dirty_log)(struct engine *engine, size_t region, bool on, struct err *err);
	int (*dirty_fetch)(struct engine *engine, size_t region, uint64_t *dirty, struct err *err);

	/*
	 * Both NULL: the engine has no interrupt controller. Before vCPUs are created. RISC-V
	 * boards have their own in any case, and do not ask.
	 */
	int (*irqchip_create)(struct engine *engine, struct engine_irqchip *chip, struct err *err);
	/*
	 * A line into it: on arm64 `pin` is an SPI (INTID - 32), on x86 a GSI. `edge`: each
	 * irq_set(true) is one interrupt and irq_set(false) none, by the cheapest way that the
	 * engine has (irqfd); a guest must be told that the interrupt is edge-triggered, and on
	 * arm64, where it need not listen, has a level if it does not. The line is the engine's,
	 * and valid until destroy.
	 */
	int (*irq)(struct engine *engine, unsigned pin, bool edge, struct irq_line *line,
		   struct err *err);

	/*
	 * NULL: none needed. The machine is being reset, all vCPUs are parked: what the engine has
	 * beside vCPUs goes to its reset state. vcpu_reset for each vCPU comes after it.
	 */
	int (*reset)(struct engine *engine, struct err *err);

	int (*vcpu_create)(struct engine *engine, unsigned index, const struct vcpu_wiring *wiring,
			   struct vcpu **vcpu, struct err *err);
	/* On the vCPU's thread, once, before vcpu_run. */
	int (*vcpu_init)(struct vcpu *vcpu, struct err *err);
	void (*vcpu_destroy)(struct vcpu *vcpu);

	/*
	 * Put every register into its reset state, as after vcpu_create: EL1h, interrupts masked,
	 * MMU off; x86: real mode at the reset vector, and vCPUs but the first wait for SIPI. vCPU
	 * not running.
	 */
	void (*vcpu_reset)(struct vcpu *vcpu);
	/* Of a vCPU that is not running, or the calling thread's own. */
	uint64_t (*vcpu_get)(struct vcpu *vcpu, unsigned reg);
	void (*vcpu_set)(struct vcpu *vcpu, unsigned reg, uint64_t val);

	/* RISC-V: for the device tree. Before the vCPU has run. */
	int (*vcpu_hart)(struct vcpu *vcpu, struct vcpu_hart *hart, struct err *err);

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
	 * wake it; or, with an interrupt controller of the engine's own, asleep or off so that none
	 * can, and only another vCPU may start it; or, with `wakeable`, asleep in any way? May be
	 * stale at once; the machine asks under its own rules (see watch() in machine/vm.c).
	 */
	bool (*vcpu_stuck)(struct vcpu *vcpu);

	/*
	 * Every vCPU has been stuck, and is parked now: has one run in between, or is there an
	 * interrupt or a timer that could wake one? Parking has woken those that slept.
	 */
	bool (*wakeable)(struct engine *engine);

	/*
	 * NULL: nothing is counted. Why this vCPU left the guest, and how often so far: count() is
	 * called once for each reason, in the same order each time. Any thread, also while the vCPU
	 * runs: then the numbers are of about now.
	 */
	void (*vcpu_stats)(struct vcpu *vcpu,
			   void (*count)(void *arg, const char *reason, uint64_t n), void *arg);

	/*
	 * RISC-V: `time` of all harts is so many ticks (modulo 2^64) ahead of the machine's clock
	 * from now on. Any thread. NULL: it cannot be.
	 */
	void (*time_ahead)(struct engine *engine, uint64_t ticks);

	const struct debug_ops *debug; /* NULL: this engine has none */
};

extern const struct engine_ops engine_kvm, engine_soft;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM from the inside: what kvm.c, which is the same on every host, and the file of the
 * host's architecture (x86_64.c, arm64.c, riscv.c; the build takes one) know of each other.
 *
 * Everything that need not come back to hako stays in the host's kernel: the interrupt controller,
 * timers, INIT and SIPI, PSCI or SBI, doorbells (ioeventfd) and edge interrupts (irqfd). What does
 * come back is an access that no memory answers, which goes to the bus, and the end of the machine.
 *
 * The interface of the kernel: Linux, Documentation/virt/kvm/api.rst. "Since" in comments is the
 * version of Linux that brought something.
 *
 * Threads: see engine.h. A vCPU's ioctls are made by its own thread while it runs, by the machine's
 * while it is parked. What others touch at any time: `run->immediate_exit`, `thread`, `counts`.
 */
#ifndef HAKO_ENGINE_KVM_KVM_H
#define HAKO_ENGINE_KVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/kvm/debug.h"

struct kvm_arch_vcpu;
struct kvm_arch_vm;
struct kvm_line;

/* Why vCPUs come back to hako; names in kvm.c. */
enum kvm_count {
	COUNT_MMIO,   /* an address that is not RAM */
	COUNT_PORT,   /* x86: IN, OUT; once for a whole string instruction */
	COUNT_KICK,   /* vcpu_kick */
	COUNT_SYSTEM, /* power-off, reset, triple fault */
	COUNT_DEBUG,  /* for a debugger */
	COUNT_CALL,   /* RISC-V: an SBI call that the kernel passes on */
	COUNT_N,
};

/* KVM's own counters (stats.c). */
enum { KVM_STAT_EXITS, KVM_STAT_BLOCKING, KVM_STATS_MAX = 16 };
struct kvm_stats {
	int fd;                     /* -1: this kernel has none */
	uint64_t at[KVM_STATS_MAX]; /* where each is in the file, 0: not there */
};

enum { KVM_MIRRORS_MAX = 32 }; /* pages whose reads are answered by memory */

struct engine {
	struct engine_config cfg;
	int kvm, vm; /* descriptors, -1: none */
	size_t run_size;
	unsigned n_slots;
	struct vcpu *vcpus;   /* all that were created */
	unsigned wait, waits; /* kvm_wakeable()'s: so many looks to pass over, and the next time */
	struct kvm_line *lines;
	bool attached; /* their irqfds are KVM's */
	pthread_mutex_t mirrors_lock;
	uint64_t mirrors[KVM_MIRRORS_MAX]; /* where they are, 0: none */
	struct kvm_debug debug;
	struct kvm_arch_vm *arch; /* the architecture's own, or NULL */
};

struct vcpu {
	struct engine *engine;
	struct vcpu *next;
	unsigned index;
	int fd;
	struct kvm_run *run; /* shared with the kernel */
	pthread_t thread;
	atomic_bool has_thread; /* `thread` is set: it can be sent a signal */
	/* What went wrong where no error can be returned (registers, reset): vcpu_run
	 * reports it. */
	int failed;
	/* Only the vCPU's thread writes them, so a store is enough; anyone may read. */
	_Atomic uint64_t counts[COUNT_N];
	struct kvm_stats stats;
	uint64_t exits_seen;        /* kvm_vcpu_stuck()'s */
	atomic_bool must_look;      /* what it asks of the vCPU's thread, */
	_Atomic uint64_t looked_at; /* and the answer: at so many exits */
	atomic_bool asleep;
	struct log_limit limit;
	struct kvm_debug_vcpu debug;
	struct kvm_arch_vcpu *arch;
};

/* An extension that hako cannot do without. */
struct kvm_need {
	int cap;
	const char *name;
	const char *since;
};

/*
 * Open and check `path`, which is KVM's device: the descriptor, or -errno and a sentence on what is
 * missing and how to get it.
 */
int kvm_open(const char *path, struct err *err);

/* ioctl() that is done again when a signal breaks it off; 0 or more, or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
/* The same, with a sentence on failure: "KVM cannot WHAT: ...". */
int kvm_do(int fd, unsigned long request, void *arg, const char *what, struct err *err);

/* KVM_CHECK_EXTENSION of this VM: 0 where there is no such thing. */
int kvm_cap(const struct engine *engine, int cap);

/* On the vCPU's thread. */
void kvm_count(struct vcpu *vcpu, enum kvm_count which);

void kvm_stats_open(struct kvm_stats *stats, int vcpu);
void kvm_stats_close(struct kvm_stats *stats);
/* Any thread; false: there is no such counter. */
bool kvm_stats_get(const struct kvm_stats *stats, unsigned which, uint64_t *n);
void kvm_stats_say(const struct kvm_stats *stats,
		   void (*say)(void *arg, const char *reason, uint64_t n), void *arg);

/* ---- the architecture ---- */

extern const enum guest_arch kvm_arch_guest;
extern const char *const kvm_arch_name;        /* of such guests, for messages */
const char *kvm_arch_slow(void);               /* engine_ops.slow */
extern const unsigned kvm_arch_pc;             /* the register that tells where a vCPU is */
extern const struct kvm_need kvm_arch_needs[]; /* ends with a name of NULL */
/* It is the guest who tells the interrupt controller what is an edge and what a level, and it need
 * not listen to what firmware says. */
extern const bool kvm_arch_trigger_is_guests;

/* The argument of KVM_CREATE_VM. */
unsigned long kvm_arch_vm_type(int kvm);
/* engine->vm is open; what it takes before anything else is made. */
int kvm_arch_create(struct engine *engine, struct err *err);
void kvm_arch_destroy(struct engine *engine);
/* How many bits a guest physical address has here. */
unsigned kvm_arch_address_bits(const struct engine *engine);

int kvm_arch_irqchip_create(struct engine *engine, struct engine_irqchip *chip, struct err *err);
/* What KVM_IRQ_LINE calls the input `pin`. irqfds call it `pin`. */
uint32_t kvm_arch_irq_line(unsigned pin);
/* engine_ops.reset. */
int kvm_arch_reset(struct engine *engine, struct err *err);

/* Before the next vCPU is made. */
void kvm_arch_vcpu_prepare(struct engine *engine);
/* vcpu->fd and ->run are there. */
int kvm_arch_vcpu_create(struct vcpu *vcpu, struct err *err);
void kvm_arch_vcpu_destroy(struct vcpu *vcpu);
int kvm_arch_vcpu_reset(struct vcpu *vcpu);
uint64_t kvm_arch_get(struct vcpu *vcpu, unsigned reg);
void kvm_arch_set(struct vcpu *vcpu, unsigned reg, uint64_t val);

/* engine_ops.vcpu_irq: not called where the kernel has the interrupt controller (irqchip.c). */
void kvm_arch_vcpu_irq(struct vcpu *vcpu, enum vcpu_irq irq, bool level);
/* engine_ops.vcpu_hart */
int kvm_arch_vcpu_hart(struct vcpu *vcpu, struct vcpu_hart *hart, struct err *err);

/* Before the vCPU runs: registers that were set go to KVM, and those that were read grow stale. */
int kvm_arch_enter(struct vcpu *vcpu);
/*
 * An exit that kvm.c does not know. 0, then *exit is set or left at VCPU_KICKED, which means: run
 * on; -ENOSYS: nobody knows it.
 */
int kvm_arch_exit(struct vcpu *vcpu, enum vcpu_exit *exit);
/*
 * On the vCPU's thread, out of KVM_RUN: does the vCPU sleep so that no interrupt can wake it, or is
 * it off? Only another vCPU could then.
 */
bool kvm_arch_asleep(struct vcpu *vcpu);
/*
 * All vCPUs are out of KVM_RUN, after a sleep: has one a timer, or is an interrupt enabled that a
 * device could raise? Where the architecture's sleep is one that ends without an interrupt that is
 * taken, and kvm_arch_asleep() cannot tell.
 */
bool kvm_arch_wakeable(struct engine *engine);
extern const bool kvm_arch_asks_wakeable;
/* What was just stored at `at`, the guest shall see as a device's register, past its caches. */
void kvm_arch_written(const void *at, size_t len);
/* The access in run->mmio reached no device; of a read, all ones are the result so far. */
void kvm_arch_bad_access(struct vcpu *vcpu);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The inside of a VM: what hako_vm_create() builds, shared by the VM's life (vm.c), its board
 * (arm64.c, riscv.c, x86.c) and its firmware calls (psci.c, sbi.c).
 *
 * Threads. hako_vm_run() makes its caller the control thread: it runs the control loop (console,
 * timers, requests to end or reset). One I/O thread runs the disks. Each vCPU has a thread, which
 * runs guest code, waits while the vCPU is off, and parks while the machine is being reset. `lock`
 * guards the states of the vCPUs and the pending action; everything else is set up before the
 * threads start, or belongs to one of them.
 */
#ifndef HAKO_MACHINE_VM_H
#define HAKO_MACHINE_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mark.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "bus/clock.h"
#include "bus/irq.h"
#include "engine/engine.h"
#include "hako/vm.h"
#include "host/loop.h"
#include "host/notifier.h"
#include "machine/disk_dev.h"
#include "mem/gmem.h"
#include "virtio/lint.h"

struct board;
struct console;
struct err;
struct hako_vm;
struct virtio_mmio;

/*
 * Why a vCPU's thread is not in the engine. It looks at these under vm->lock before it runs the
 * vCPU (wait_to_run()), and waits there, `parked`, while one of them says so:
 *
 *	state CPU_OFF	 the guest: PSCI, SBI HSM, until another vCPU starts it; vm_cpu_start()
 *	vm->hold	 all of them. Set by a vCPU that asks for something (vm->action), or has
 *			 stopped for a debugger; by the control thread for a look or a reset
 *	cpu->frozen	 a debugger, which lets others run; until it says otherwise
 *	vm->quit	 the run is over: it does not wait but ends
 *
 * The control thread lets go of `hold` (release_cpus()) unless somebody still has to be heard:
 *
 *	vm->action	 a vCPU or disk has asked for it: act() does it
 *	cpu->stopped	 the engine stopped this one for a debugger: debug_look() tells
 *	vm->paused	 vm_pause(), by a debugger or for a look, and the clock stands still; until
 *			 vm_resume()
 */

/* Power state of a vCPU (PSCI, SBI HSM). Under vm->lock. */
enum cpu_state { CPU_OFF, CPU_ON };

struct vm_cpu {
	struct hako_vm *vm;
	unsigned index;
	struct vcpu *vcpu;
	pthread_t thread;
	enum cpu_state state;
	bool parked;  /* the thread is out of the engine, and waits; see above, as for these */
	bool frozen;  /* a debugger lets the others run, but not this one */
	bool stopped; /* the engine has stopped it for a debugger, who has not looked yet */
	bool has_thread;
	/* Of the firmware; the thread's, and others' while it is parked. */
	bool in_call;   /* the last one is not over: it is made again, before the guest goes on */
	uint64_t calls; /* made so far */
};

/* What a vCPU, or a disk, asks of the control thread; the first wins, but a disk always. */
enum vm_action { VM_NONE, VM_POWEROFF, VM_RESET, VM_FAILURE, VM_DISK_FAILURE };

struct vm_disk {
	struct disk_dev d;
	struct hako_vm *vm;
	char name[16]; /* "blk0" */
	char *path;
	bool legacy;              /* virtio-mmio version 1 */
	uint64_t without;         /* features of queues that are not offered */
	struct virtio_mmio *slot; /* the board's; NULL: not there yet */
};

struct hako_vm {
	struct log log;
	hako_log_fn *log_fn;
	void *log_arg;

	/* The part of the configuration that is needed after hako_vm_create(). */
	uint64_t mem_size;
	unsigned n_cpus;
	size_t n_disks;
	bool no_reboot;
	uint64_t timeout_ms;
	uint64_t entry, dtb_addr; /* 0: the board's choice */

	struct gmem *mem;
	struct bus *mmio, *pio; /* pio: x86 ports, NULL on boards without */
	struct loop *control;
	struct clock *clock;      /* the machine's: stands still while `paused` */
	struct clock *host_clock; /* of `timeout` and `watch`: never does */
	struct console *console;
	struct hako_console console_config; /* whom Ctrl-A keys go to */
	const struct engine_ops *engine_ops;
	struct engine *engine;
	const struct board_ops *board_ops;
	struct board *board;

	struct loop *io;
	pthread_t io_thread;
	bool has_io_thread;
	struct vm_disk disks[HAKO_DISKS_MAX];
	struct notifier refresh; /* hako_vm_refresh_disks() */
	struct loop_source refresh_source;
	char disk_error[512]; /* under lock: the sentence for VM_DISK_FAILURE */

	struct kernel kernel, firmware;
	struct initrd initrd;
	bool has_kernel, has_firmware, has_initrd;
	bool no_firmware;   /* RISC-V: the kernel is its own, and starts in M-mode */
	bool virtio_legacy; /* virtio-mmio version 1, where the disk does not say */
	enum lint_level lint;
	bool lint_deep;
	unsigned trace; /* HAKO_TRACE_* */
	char *cmdline;
	char *dtb_path; /* the user's tree, NULL: the board builds one */
	bool cmdline_given;
	void *dtb; /* the tree that the guest gets */
	size_t dtb_size;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* a state, the action, `quit` or `hold` */
	struct vm_cpu cpus[HAKO_CPUS_MAX];
	enum vm_action action;
	bool hold;   /* vCPU threads must park */
	bool paused; /* control thread: by a debugger; so nobody else's release_cpus() counts */
	bool quit;   /* vCPU threads must end */

	struct notifier stop, act, dump; /* hako_vm_stop(); a vCPU set `action`; hako_vm_dump() */
	struct loop_source stop_source, act_source, dump_source;
	struct clock_timer timeout, watch;
	unsigned seen_stuck;
	uint64_t look_at; /* when `watch` looks at the disks next */
	enum hako_outcome outcome;
	unsigned failure; /* under lock: the guest's code for VM_FAILURE */
	int failed;       /* negative errno when hako itself failed while running */
	struct err *run_err;

	/* NULL: not asked for (machine/debug.h) */
	struct gdb *gdb;
	struct report *report;
	struct trace *tracer;
	struct symbols *symbols;
	bool told_nested; /* report_nested() has said it */

	struct mark marks[HAKO_N_EVENTS]; /* by enum hako_event; never go back, not at a reset */
};

/*
 * A board: the memory map, the devices, and what its firmware does. One per guest architecture.
 */
struct board_ops {
	const char *name;
	bool has_ports;      /* x86: there is vm->pio */
	bool has_dtb;        /* else it has ACPI tables */
	bool takes_firmware; /* there is a privilege level below the kernel, for it */
	unsigned code_align; /* instructions are at multiples of it */
	/* RAM and devices; the engine exists, its vCPUs do not. Leaves nothing behind
	 * on failure. */
	int (*create)(struct hako_vm *vm, struct err *err);
	void (*destroy)(struct hako_vm *vm);
	/* How vCPU `index` is wired. */
	struct vcpu_wiring (*wiring)(struct hako_vm *vm, unsigned index);
	/* Decide where things go, and make the device tree. Once. */
	int (*prepare)(struct hako_vm *vm, struct err *err);
	/* Load everything into cleared RAM and point vCPU 0 at it. At start and after
	 * each reset. */
	int (*load)(struct hako_vm *vm, struct err *err);
	/* Every device to its reset state. vCPUs parked, loops running. */
	void (*reset)(struct hako_vm *vm);
	/* A firmware call of a vCPU, on its thread. If it waits for something when all are to be
	 * held, it changes no register and sets in_call. */
	void (*call)(struct hako_vm *vm, struct vm_cpu *cpu);
	/* All vCPUs are off or asleep: could any interrupt still reach one? As the engine's. */
	bool (*wakeable)(struct hako_vm *vm);
};

extern const struct board_ops board_arm64, board_riscv, board_x86;

/* On a vCPU's thread, or the I/O thread: the machine shall power off, reset, or end because of a
 * disk. Returns; a vCPU is then stopped. */
void vm_request(struct hako_vm *vm, enum vm_action action);
/* The same for a guest that powers off and says that it failed. */
void vm_request_failure(struct hako_vm *vm, unsigned code);

/* Control thread, every vCPU parked: reset state everywhere, all loaded anew. */
int vm_power_cycle(struct hako_vm *vm, struct err *err);
/* Control thread: park every vCPU, and keep them so until vm_resume(); the clock stands still. */
void vm_pause(struct hako_vm *vm);
void vm_resume(struct hako_vm *vm);
/* No vCPU runs, and none will before vm_resume(): all that tells them the time stands still. */
void vm_time_stop(struct hako_vm *vm);
/* For board_ops.wakeable, where the engine has what could wake a vCPU: engine_ops.wakeable. */
bool vm_wakeable(struct hako_vm *vm);

/*
 * The board's virtio-mmio slot `i` at `base`: the i-th disk is behind it, or nothing. The slot is
 * the board's to destroy.
 */
int vm_create_slot(struct hako_vm *vm, unsigned i, uint64_t base, struct irq_line irq,
		   struct virtio_mmio **slot, struct err *err);

/*
 * Power states, for the firmware; on a vCPU's thread. Start another vCPU that is off: from its
 * reset state, but for these registers. False: it is on. And stop the calling thread's own, which
 * parks when the call is over.
 */
struct cpu_reg {
	unsigned reg; /* enum vcpu_reg */
	uint64_t val;
};
bool vm_cpu_start(struct vm_cpu *cpu, const struct cpu_reg *regs, size_t n);
void vm_cpu_stop(struct vm_cpu *cpu);

/* Registers of a vCPU that is not running, or of the calling thread's. */
static inline uint64_t cpu_get(struct vm_cpu *cpu, unsigned reg)
{
	return cpu->vm->engine_ops->vcpu_get(cpu->vcpu, reg);
}
static inline void cpu_set(struct vm_cpu *cpu, unsigned reg, uint64_t val)
{
	cpu->vm->engine_ops->vcpu_set(cpu->vcpu, reg, val);
}

/* The function that an HVC of this vCPU asked for: PSCI 1.1 and SMCCC 1.1 (psci.c). */
void psci_call(struct hako_vm *vm, struct vm_cpu *cpu);
/* The function that an ECALL of this hart asked for: SBI 2.0 (sbi.c). */
void sbi_call(struct hako_vm *vm, struct vm_cpu *cpu);

#endif

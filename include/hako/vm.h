/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: describe it, create it, run it, destroy it.
 *
 *	struct hako_vm_config config;
 *	struct hako_disk disk = { .path = "root.ext4" };
 *	struct hako_err err = { 0 };
 *	enum hako_outcome outcome;
 *	struct hako_vm *vm;
 *
 *	hako_vm_config_init(&config);
 *	config.kernel = "Image";
 *	config.disks = &disk;
 *	config.n_disks = 1;
 *	config.console.in_fd = 0;
 *	config.console.out_fd = 1;
 *	if (hako_vm_create(&vm, &config, &err) < 0)
 *		... err.msg says why
 *	if (hako_vm_run(vm, &outcome, &err) < 0)
 *		...
 *	hako_vm_destroy(vm);
 *
 * A VM is an object: any number may live in one process. The library installs no signal handlers,
 * changes no terminal settings and never exits. With the engine kvm it sends SIGRTMAX to threads of
 * its own, so a program should not send that signal to itself.
 *
 * Threads: create, run and destroy are called by one thread at a time. hako_vm_stop(),
 * hako_vm_refresh_disks() and hako_vm_dump() may be called by any thread and from a signal handler.
 * The callbacks are called on threads of the library; they may call these three and nothing else of
 * this header.
 */
#ifndef HAKO_VM_H
#define HAKO_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hako/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct hako_vm;

enum {
	HAKO_CPUS_MAX = 8,
	HAKO_DISKS_MAX = 32,  /* one virtio-mmio slot each */
	HAKO_SERIAL_MAX = 20, /* bytes (virtio 1.2, 5.2.6) */
	HAKO_QUEUES_MAX = 64, /* of a disk */
	HAKO_BLOCK_SIZE_MIN = 512,
	HAKO_BLOCK_SIZE_MAX = 4096,
};

/* Guest memory, bytes. */
#define HAKO_MEM_MIN     (16ULL << 20)
#define HAKO_MEM_DEFAULT (512ULL << 20)
#define HAKO_MEM_MAX     (255ULL << 30) /* with devices below it, what 38 address bits reach */
#define HAKO_MEM_UNIT    (2ULL << 20)

/* How a run ended. */
enum hako_outcome {
	HAKO_POWEROFF, /* the guest powered off */
	HAKO_RESET,    /* the guest asked for a reset and no_reboot was set */
	HAKO_STUCK,    /* all CPUs are off, wait for what cannot come, or are lost (debug_guest) */
	HAKO_TIMEOUT,  /* timeout_ms ran out */
	HAKO_STOPPED,  /* hako_vm_stop() was called */
	HAKO_FAILED,   /* the guest powered off and said that it failed: hako_vm_failure() */
	HAKO_DISK_ERROR, /* a disk failed, whose on_error is to stop: hako_vm_disk_error() */
};

/* HAKO_LOG_TRACE is what config.trace or hako_vm_dump() asked for: it is never dropped. */
enum hako_log_level {
	HAKO_LOG_TRACE = -1,
	HAKO_LOG_ERROR,
	HAKO_LOG_WARN,
	HAKO_LOG_INFO,
	HAKO_LOG_DEBUG
};

/*
 * One message, a whole line without newline. `who` is the speaker: "blk0", "cpu1". Any thread, one
 * message at a time.
 */
typedef void hako_log_fn(void *arg, enum hako_log_level level, const char *who, const char *text);

/* When what a guest writes is safe, and whether by the host's page cache. */
enum hako_cache {
	HAKO_CACHE_WRITEBACK,    /* once the guest has flushed it; a power cut loses the rest */
	HAKO_CACHE_WRITETHROUGH, /* each write at once, whether the guest flushes or not */
	HAKO_CACHE_NONE,         /* as writeback, past the host's page cache (O_DIRECT) */
	HAKO_CACHE_UNSAFE,       /* when the host likes: for guests that may be lost */
};

/* How the host's disk is asked. */
enum hako_aio {
	HAKO_AIO_AUTO, /* io_uring where the host lets hako use it, else threads */
	HAKO_AIO_IO_URING,
	HAKO_AIO_THREADS,
};

/* The version of virtio-mmio's registers that drivers find. */
enum hako_virtio_mmio {
	/* The machine's; and of a machine modern, but for a 32-bit ELF kernel, which expects QEMU's
	 * default. */
	HAKO_VIRTIO_MMIO_AUTO,
	HAKO_VIRTIO_MMIO_MODERN, /* version 2, virtio 1.0 and later */
	HAKO_VIRTIO_MMIO_LEGACY, /* version 1 */
};

/* What becomes of a request that the host could not do, such as a write to a full disk. */
enum hako_on_error {
	HAKO_ON_ERROR_REPORT, /* the guest gets an I/O error */
	HAKO_ON_ERROR_STOP,   /* the run ends as HAKO_DISK_ERROR, before the guest learns of it */
};

/* A raw image file or block device, served as a virtio-blk disk: the first is the guest's vda. */
struct hako_disk {
	const char *path;
	bool readonly;
	const char *serial; /* at most HAKO_SERIAL_MAX bytes; NULL: a name of hako's */
	enum hako_cache cache;
	enum hako_aio aio;
	/* Requests and bytes a second that the guest gets at most, 0: no limit; and after a pause,
	 * at once as many as in burst_ms, 0: one second. Flushes do not count. */
	uint32_t iops;
	uint64_t bps;
	uint32_t burst_ms;
	enum hako_virtio_mmio transport;
	unsigned queues; /* at most HAKO_QUEUES_MAX; 0: one for each CPU */
	enum hako_on_error on_error;
	/* Bytes in a block, as the guest is told: a power of two from HAKO_BLOCK_SIZE_MIN to
	 * HAKO_BLOCK_SIZE_MAX; 0: as the file's or device's own. */
	uint32_t block_size;
	/* Features of queues that the guest is not offered: the packed ring, event indices,
	 * indirect descriptors. */
	bool no_packed, no_event_idx, no_indirect;
	/* Write down in this new file, which is NULL for none, all that changes the disk and when
	 * it was durable. Its format is told in src/block/record.h. */
	const char *record;
	/*
	 * The kernel is told to take its root from this disk, whatever else the command line says;
	 * of one disk at most. No disk: it is told so of the first, by the default command line.
	 */
	bool root;
	const char *partuuid; /* of the partition on it that is meant, NULL: the whole disk */
};

/* The serial port. */
struct hako_console {
	/*
	 * Descriptors that guest input is read from and output written to; -1: none. They stay the
	 * caller's, who has set a terminal into raw mode, and are open until hako_vm_destroy().
	 */
	int in_fd, out_fd;
	/*
	 * When set, Ctrl-A in the input is an escape: Ctrl-A twice sends one to the guest, any
	 * other key after it goes to this function and not to the guest. NULL: all input is the
	 * guest's.
	 */
	void (*key)(void *arg, char key);
	void *arg;
};

/* What is done when a virtio driver of the guest breaks a rule of the standard (hako/lint.h). */
enum hako_lint {
	HAKO_LINT_OFF,
	HAKO_LINT_WARN,   /* the log says which rule, what was seen, and what would be right */
	HAKO_LINT_STRICT, /* and after a broken MUST the device stops, and asks for a reset */
};

/* What is traced, to the log. */
enum {
	/* Virtio queues: a record of what happened last in each, told by hako_vm_dump(), when the
	 * guest is stuck or its time is over, and when nothing happens in a queue for two seconds
	 * although the driver or the device has something to do. */
	HAKO_TRACE_VIRTIO = 1,
	HAKO_TRACE_MMIO = 2, /* each access of a device's registers, as it happens */
	HAKO_TRACE_IRQ = 4,  /* each change of an interrupt line, of a device or to a CPU */
	/* The last 100 instructions of each CPU, told by hako_vm_dump() and at the end of the run.
	 * The guest runs one at a time, so it is slow. */
	HAKO_TRACE_INSN = 8,
	HAKO_TRACE_ALL = HAKO_TRACE_VIRTIO | HAKO_TRACE_MMIO | HAKO_TRACE_IRQ | HAKO_TRACE_INSN,
};

/*
 * What hako_vm_create() builds. hako_vm_config_init() sets every default; change what differs.
 * Everything pointed to is read during hako_vm_create() and may go afterwards.
 */
struct hako_vm_config {
	const char *machine; /* as hako_machines(), or "riscv"; NULL: what the kernel is for */
	/* NULL, "auto": the fastest that runs the kernel on this host (hako/doctor.h) */
	const char *engine;
	uint64_t mem;  /* guest memory, bytes: a multiple of HAKO_MEM_UNIT */
	unsigned cpus; /* 1 to HAKO_CPUS_MAX */

	/*
	 * Kernel: a file, or bytes when kernel is NULL. An Image, gzip'd or not or in an EFI zboot
	 * image; for x86-64 a bzImage; or an ELF file, loaded by physical addresses.
	 */
	const char *kernel;
	const void *kernel_data;
	size_t kernel_size;
	uint64_t entry;     /* first instruction, guest physical; 0: the image's own start */
	const char *initrd; /* file, NULL: none */
	/*
	 * RISC-V: a file that starts in M-mode and starts the kernel, such as OpenSBI; with the
	 * kernel "none" it is all that runs. NULL: hako is the firmware, and the kernel starts in
	 * S-mode. "none": the kernel itself starts in M-mode.
	 */
	const char *firmware;

	/* Command line: the base (NULL: a default that suits the disks), then `append`. */
	const char *cmdline;
	const char *append;

	/* Not for x86, which has no device tree: there, these are -EINVAL. */
	const char *dtb;      /* use the device tree in this file; NULL: build one */
	uint64_t dtb_addr;    /* where the tree goes, guest physical; 0: hako's choice */
	const char *dump_dtb; /* write the tree that the guest gets to this file; NULL: do not */

	const struct hako_disk *disks;
	size_t n_disks; /* at most HAKO_DISKS_MAX; RISC-V: 8, x86: 16 */
	enum hako_virtio_mmio virtio_mmio;
	enum hako_lint lint;
	bool lint_deep; /* with a lint: keep account of each request, which takes time */
	unsigned trace; /* HAKO_TRACE_*, or'd */

	struct hako_console console;

	/*
	 * A server for gdb: a TCP port of the loopback interface, or the path of a socket, with a
	 * slash in it. The guest waits at its first instruction for what gdb says. NULL: none.
	 */
	const char *gdb;

	/*
	 * Tell the log when the guest has lost its way: traps without a handler or without an end,
	 * jumps to nowhere, CPUs that wait or loop for ever. With pc, registers, the translation
	 * step by step and the last device accesses.
	 */
	bool debug_guest;
	const char *symbols; /* an ELF file with names for addresses; NULL: the kernel's own */

	bool no_reboot;      /* a reset ends the run instead of booting again */
	uint64_t timeout_ms; /* real time that hako_vm_run() may take; 0: no limit */

	hako_log_fn *log; /* NULL: standard error */
	void *log_arg;
	enum hako_log_level log_level; /* messages above it are dropped */
};

/* Defaults: HAKO_MEM_DEFAULT, one CPU, no kernel, no disks, no console, warnings and errors. */
void hako_vm_config_init(struct hako_vm_config *config);

/*
 * Check every value, without opening any of the files: -EINVAL for one that cannot be, -ENODEV for
 * an engine that cannot be used here.
 */
int hako_vm_config_check(const struct hako_vm_config *config, struct hako_err *err);

/*
 * Check the configuration, open every file, build the machine and load the kernel. Nothing of the
 * guest runs yet, and no disk has been changed. -EINVAL for a value that cannot be, -ENODEV when no
 * engine here can run the kernel, -ENOTSUP for debugging that the engine cannot do, -EAGAIN for a
 * disk image in use, -ENOENT and so on for files. *vm is NULL on failure.
 */
int hako_vm_create(struct hako_vm **vm, const struct hako_vm_config *config, struct hako_err *err);

/*
 * Run until the guest ends it, the time is over or hako_vm_stop(); says how in *outcome. A negative
 * errno means that hako itself failed. Disks hold everything that the guest has flushed. A VM runs
 * once: to run it again, create it again.
 */
int hako_vm_run(struct hako_vm *vm, enum hako_outcome *outcome, struct hako_err *err);

/* After HAKO_FAILED: the code that the guest gave. RISC-V's test device takes one. */
unsigned hako_vm_failure(const struct hako_vm *vm);

/* After HAKO_DISK_ERROR: a sentence about which disk and how. It lives as long as the VM. */
const char *hako_vm_disk_error(const struct hako_vm *vm);

/*
 * How the run went. All of this is asked between hako_vm_run() and hako_vm_destroy(); strings live
 * as long as the VM.
 */

/* What is worth knowing the time of. A reset forgets nothing: the first of all is meant. */
enum hako_event {
	HAKO_EVENT_CREATE,    /* hako_vm_create() begins, the configuration is good */
	HAKO_EVENT_CREATED,   /* the machine is built, the kernel is in its memory */
	HAKO_EVENT_GUEST,     /* CPU 0 is about to execute the guest's first instruction */
	HAKO_EVENT_FIRMWARE,  /* the guest calls hako as its firmware (PSCI, SBI) */
	HAKO_EVENT_CONSOLE,   /* it sends a byte to the serial port */
	HAKO_EVENT_VIRTIO,    /* it accesses a register of a virtio slot */
	HAKO_EVENT_DRIVER_OK, /* a driver has a virtio device ready */
	HAKO_EVENT_READ,      /* a disk is read */
	HAKO_EVENT_WRITE,     /* a disk is written */
	HAKO_EVENT_RESET,     /* the guest asks for a reset */
	HAKO_EVENT_END,       /* the run ends: the guest asks for it, or another reason is there */
	HAKO_N_EVENTS
};

struct hako_moment {
	uint64_t at;  /* CLOCK_MONOTONIC, ns */
	uint64_t cpu; /* CPU time that the process had used by then, all threads, ns */
};

/* When `event` was first; false: it was not, and the moment is zeros. */
bool hako_vm_first(const struct hako_vm *vm, enum hako_event event, struct hako_moment *moment);

/* What the engine counted, of all CPUs: exits by reason, and the like. */
struct hako_counter {
	const char *name; /* a word, [a-z0-9_] */
	uint64_t value;
};

/* Counter number n, from 0, or false: there are no more. */
bool hako_vm_counter(const struct hako_vm *vm, unsigned n, struct hako_counter *counter);

/* What the VM was built from: as hako/doctor.h names them. Any time. */
const char *hako_vm_engine(const struct hako_vm *vm);
const char *hako_vm_machine(const struct hako_vm *vm);

/*
 * Files of disks may have another size now: look, and tell the guest of those that have. Begins
 * soon, and goes on while the VM runs or is about to.
 */
void hako_vm_refresh_disks(struct hako_vm *vm);

/* End the run soon. Sticky: a run that has not begun yet ends at once. */
void hako_vm_stop(struct hako_vm *vm);

/*
 * Tell the log, soon, what the traces of config.trace that keep a record have in it, and how things
 * stand. Any thread, and signal handlers.
 */
void hako_vm_dump(struct hako_vm *vm);

/* Not while hako_vm_run() is under way. NULL is allowed. */
void hako_vm_destroy(struct hako_vm *vm);

/*
 * All of it in one call: boot the kernel file `kernel` with `cmdline` (NULL: the default) and the
 * device tree at `dtb_addr` (0: hako's choice) on a machine with default memory, its console on the
 * standard input and output, and run it until it ends. Errors are those of hako_vm_create() and
 * hako_vm_run().
 */
int hako_boot_linux(const char *kernel, const char *cmdline, uint64_t dtb_addr,
		    enum hako_outcome *outcome, struct hako_err *err);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The life of a VM: build it, run its threads, reset it in place, end it. vm.h says which thread
 * does what.
 */
#include "machine/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"
#include "boot/symbols.h"
#include "bus/bus.h"
#include "hako/doctor.h"
#include "host/console.h"
#include "host/thread.h"
#include "machine/config.h"
#include "machine/debug.h"
#include "machine/engines.h"
#include "machine/public.h"
#include "machine/trace.h"
#include "machine/vm_disks.h"

/* How often the control thread looks at the disks' queues, ns: virtio_mmio_look(). */
#define LOOK_NS (500 * NS_PER_MS)

/* How often it looks whether the guest can still run, ns; more often for those who are to
 * be told. */
static uint64_t watch_interval(const struct hako_vm *vm)
{
	return vm->report ? 200 * NS_PER_MS : LOOK_NS;
}

/* ---- vCPU threads ---- */

static void request(struct hako_vm *vm, enum vm_action action, unsigned code)
{
	/* A reset that --no-reboot turns into the end is both. */
	if (action == VM_RESET)
		mark_hit(&vm->marks[HAKO_EVENT_RESET]);
	if (action != VM_RESET || vm->no_reboot)
		mark_hit(&vm->marks[HAKO_EVENT_END]);
	pthread_mutex_lock(&vm->lock);
	if (vm->action == VM_NONE || action == VM_DISK_FAILURE) {
		vm->action = action;
		vm->failure = code;
	}
	/* The caller must not execute on: it parks until the control thread has acted. */
	vm->hold = true;
	pthread_mutex_unlock(&vm->lock);
	notifier_set(&vm->act);
}

void vm_request(struct hako_vm *vm, enum vm_action action)
{
	request(vm, action, 0);
}

void vm_request_failure(struct hako_vm *vm, unsigned code)
{
	request(vm, VM_FAILURE, code);
}

unsigned hako_vm_failure(const struct hako_vm *vm)
{
	return vm->failure;
}

/* Wait, parked, until this vCPU may run; false: the VM ends. */
static bool wait_to_run(struct vm_cpu *cpu)
{
	struct hako_vm *vm = cpu->vm;

	pthread_mutex_lock(&vm->lock);
	while (!vm->quit && (vm->hold || cpu->frozen || cpu->state == CPU_OFF)) {
		if (!cpu->parked) {
			cpu->parked = true;
			pthread_cond_broadcast(&vm->changed);
		}
		pthread_cond_wait(&vm->changed, &vm->lock);
	}
	cpu->parked = vm->quit;
	bool run = !vm->quit;
	pthread_mutex_unlock(&vm->lock);
	return run;
}

bool vm_cpu_start(struct vm_cpu *cpu, const struct cpu_reg *regs, size_t n)
{
	struct hako_vm *vm = cpu->vm;
	bool off;

	pthread_mutex_lock(&vm->lock);
	/* Off, but its thread not yet out of its own call: it will be at once, also while all are
	 * to be held. Then its registers may be set from here. */
	while (cpu->state == CPU_OFF && !cpu->parked && !vm->quit)
		pthread_cond_wait(&vm->changed, &vm->lock);
	off = cpu->state == CPU_OFF && cpu->parked;
	if (off) {
		vm->engine_ops->vcpu_reset(cpu->vcpu);
		for (size_t i = 0; i < n; i++)
			cpu_set(cpu, regs[i].reg, regs[i].val);
		cpu->state = CPU_ON;
		pthread_cond_broadcast(&vm->changed);
	}
	pthread_mutex_unlock(&vm->lock);
	return off;
}

void vm_cpu_stop(struct vm_cpu *cpu)
{
	pthread_mutex_lock(&cpu->vm->lock);
	cpu->state = CPU_OFF;
	pthread_cond_broadcast(&cpu->vm->changed);
	pthread_mutex_unlock(&cpu->vm->lock);
}

static void *cpu_thread(void *arg)
{
	struct vm_cpu *cpu = arg;
	struct hako_vm *vm = cpu->vm;
	const struct engine_ops *ops = vm->engine_ops;
	struct err err = ERR_INIT;
	int res = ops->vcpu_init(cpu->vcpu, &err);

	while (!res && wait_to_run(cpu)) {
		enum vcpu_exit exit = cpu->in_call ? VCPU_CALL : VCPU_KICKED;
		if (cpu->index == 0)
			mark_hit(&vm->marks[HAKO_EVENT_GUEST]);
		if (!cpu->in_call)
			res = ops->vcpu_run(cpu->vcpu, &exit);
		if (res)
			break;
		switch (exit) {
		case VCPU_KICKED: break;
		case VCPU_DEBUG: debug_stopped(cpu); break;
		case VCPU_CALL:
			mark_hit(&vm->marks[HAKO_EVENT_FIRMWARE]);
			cpu->calls++;
			cpu->in_call = false;
			vm->board_ops->call(vm, cpu);
			break;
		case VCPU_OFF: vm_request(vm, VM_POWEROFF); break;
		case VCPU_RESET: vm_request(vm, VM_RESET); break;
		}
	}
	if (res) {
		pthread_mutex_lock(&vm->lock);
		if (!vm->failed) {
			vm->failed = res;
			err_set(vm->run_err, res, "CPU %u failed: %s", cpu->index,
				err.code ? err.msg : strerror(-res));
		}
		pthread_cond_broadcast(&vm->changed);
		pthread_mutex_unlock(&vm->lock);
		loop_stop(vm->control);
	}
	return NULL;
}

/* Park every vCPU thread (control thread). */
static void hold_cpus(struct hako_vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->hold = true;
	pthread_cond_broadcast(&vm->changed);
	for (unsigned i = 0; i < vm->n_cpus; i++)
		vm->engine_ops->vcpu_kick(vm->cpus[i].vcpu);
	for (unsigned i = 0; i < vm->n_cpus; i++)
		while (!vm->cpus[i].parked && !vm->failed)
			pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

static void release_cpus(struct hako_vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	/* Not while somebody's request waits to be acted on: see request(), debug_stopped(). */
	vm->hold = vm->paused || vm->action != VM_NONE;
	for (unsigned i = 0; i < vm->n_cpus; i++)
		vm->hold |= vm->cpus[i].stopped;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

void vm_time_stop(struct hako_vm *vm)
{
	const struct debug_ops *ops = vm->engine_ops->debug;

	clock_stop(vm->clock);
	if (ops && ops->time_stop)
		ops->time_stop(vm->engine);
}

void vm_pause(struct hako_vm *vm)
{
	vm->paused = true;
	hold_cpus(vm);
	vm_time_stop(vm);
}

void vm_resume(struct hako_vm *vm)
{
	const struct debug_ops *ops = vm->engine_ops->debug;

	vm->paused = false;
	if (ops && ops->time_go)
		ops->time_go(vm->engine);
	clock_go(vm->clock);
	release_cpus(vm);
}

/* All vCPUs have to stand still for the engine's look at them. What is seen then is seen at one
 * moment: once is enough, and as good as twice. */
bool vm_wakeable(struct hako_vm *vm)
{
	bool may_wake;

	hold_cpus(vm);
	may_wake = vm->engine_ops->wakeable(vm->engine);
	release_cpus(vm);
	if (!may_wake)
		vm->seen_stuck = 1;
	return may_wake;
}

/* ---- the control thread ---- */

static void finish(struct hako_vm *vm, enum hako_outcome outcome)
{
	mark_hit(&vm->marks[HAKO_EVENT_END]);
	vm->outcome = outcome;
	loop_stop(vm->control);
}

static void fail(struct hako_vm *vm, int res)
{
	pthread_mutex_lock(&vm->lock);
	if (!vm->failed)
		vm->failed = res;
	pthread_mutex_unlock(&vm->lock);
	loop_stop(vm->control);
}

/* Is this vCPU on after a reset? Where the engine starts vCPUs, all are as far as hako knows. */
static enum cpu_state reset_state(const struct hako_vm *vm, unsigned i)
{
	return i == 0 || vm->engine_ops->starts_cpus ? CPU_ON : CPU_OFF;
}

/* Reset state everywhere, fresh RAM, everything loaded: as if the VM had just been created. */
int vm_power_cycle(struct hako_vm *vm, struct err *err)
{
	vm->board_ops->reset(vm);
	gmem_clear(vm->mem);
	int res = vm->engine_ops->reset ? vm->engine_ops->reset(vm->engine, err) : 0;
	if (res)
		return res;
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		vm->engine_ops->vcpu_reset(vm->cpus[i].vcpu);
		pthread_mutex_lock(&vm->lock);
		vm->cpus[i].state = reset_state(vm, i);
		/* Where it stopped is no more, and nobody would look: see release_cpus(). */
		vm->cpus[i].stopped = false;
		vm->cpus[i].in_call = false;
		pthread_mutex_unlock(&vm->lock);
	}
	return vm->board_ops->load(vm, err);
}

static void act(struct loop_source *source, uint32_t events)
{
	/* What a guest asks for itself. */
	static const char *const ends[VM_DISK_FAILURE + 1] = {
		[VM_POWEROFF] = "the guest powers off",
		[VM_RESET] = "the guest resets",
		[VM_FAILURE] = "the guest says that it failed",
	};
	struct hako_vm *vm = container_of(source, struct hako_vm, act_source);

	(void)events;
	notifier_clear(&vm->act);
	hold_cpus(vm);
	pthread_mutex_lock(&vm->lock);
	enum vm_action action = vm->action;
	vm->action = VM_NONE;
	pthread_mutex_unlock(&vm->lock);
	if (vm->report && ends[action])
		report_ended(vm->report, ends[action]);
	if (action == VM_POWEROFF) {
		finish(vm, HAKO_POWEROFF);
	} else if (action == VM_FAILURE) {
		finish(vm, HAKO_FAILED);
	} else if (action == VM_DISK_FAILURE) {
		finish(vm, HAKO_DISK_ERROR);
	} else if (action == VM_RESET && vm->no_reboot) {
		finish(vm, HAKO_RESET);
	} else if (action == VM_RESET) {
		int res = vm_power_cycle(vm, vm->run_err);
		if (res)
			fail(vm, res);
		else
			release_cpus(vm);
	} else if (debug_look(vm)) {
		finish(vm, HAKO_STUCK);
	} else {
		/* A debugger keeps them; or a second vCPU asked, and the first one's request was
		 * served meanwhile. */
		release_cpus(vm);
	}
}

static void dump_asked(struct loop_source *source, uint32_t events)
{
	struct hako_vm *vm = container_of(source, struct hako_vm, dump_source);

	(void)events;
	notifier_clear(&vm->dump);
	if (vm->trace & HAKO_TRACE_INSN) {
		hold_cpus(vm);
		debug_tell_insns(vm);
		release_cpus(vm);
	}
	if (!(vm->trace & (HAKO_TRACE_VIRTIO | HAKO_TRACE_INSN)))
		log_msg(&vm->log, LOG_TRACE, "vm", "there is no trace that keeps a record");
	vm_disks_look(vm, true);
}

static void stop_asked(struct loop_source *source, uint32_t events)
{
	(void)events;
	finish(container_of(source, struct hako_vm, stop_source), HAKO_STOPPED);
}

static void timed_out(struct clock_timer *timer)
{
	struct hako_vm *vm = container_of(timer, struct hako_vm, timeout);

	vm_disks_look(vm, true);
	finish(vm, HAKO_TIMEOUT);
}

/*
 * Can the guest ever run again? Not when every vCPU is off or sleeps in WFI without a timer, and no
 * interrupt of a device would reach one. Seen twice in a row, because each vCPU is looked at in
 * turn.
 */
static void watch(struct clock_timer *timer)
{
	struct hako_vm *vm = container_of(timer, struct hako_vm, watch);
	bool stuck = true, any_on = false, held;

	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; i < vm->n_cpus && stuck; i++) {
		struct vm_cpu *cpu = &vm->cpus[i];
		if (cpu->state == CPU_OFF)
			stuck = cpu->parked;
		else
			any_on = true, stuck = vm->engine_ops->vcpu_stuck(cpu->vcpu);
	}
	held = vm->hold;
	stuck = stuck && !held;
	pthread_mutex_unlock(&vm->lock);
	if (stuck && any_on)
		stuck = !vm->board_ops->wakeable(vm);
	vm->seen_stuck = stuck ? vm->seen_stuck + 1 : 0;
	bool over = vm->seen_stuck == 2;
	uint64_t now = clock_now(vm->host_clock);
	/* While they are held, the guest stands still because we let it. */
	if (!held && (over || now >= vm->look_at)) {
		vm_disks_look(vm, over);
		vm->look_at = now + LOOK_NS;
	}
	if (over && vm->report)
		report_stuck(vm->report);
	else if (vm->report)
		over = report_look(vm->report);
	if (over)
		finish(vm, HAKO_STUCK);
	else
		clock_arm(vm->host_clock, timer, clock_now(vm->host_clock) + watch_interval(vm));
}

static void *io_thread(void *arg)
{
	loop_run(((struct hako_vm *)arg)->io);
	return NULL;
}

static void stop_threads(struct hako_vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->quit = true;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		if (!vm->cpus[i].has_thread)
			continue;
		vm->engine_ops->vcpu_kick(vm->cpus[i].vcpu);
		pthread_join(vm->cpus[i].thread, NULL);
		vm->cpus[i].has_thread = false;
	}
}

int hako_vm_run(struct hako_vm *vm, enum hako_outcome *outcome, struct hako_err *public_err)
{
	struct err *err = vm->run_err = err_of(public_err);
	int res = 0;

	vm->outcome = HAKO_STOPPED;
	if (vm->timeout_ms)
		clock_arm(vm->host_clock, &vm->timeout,
			  clock_now(vm->host_clock) + vm->timeout_ms * NS_PER_MS);
	clock_arm(vm->host_clock, &vm->watch, clock_now(vm->host_clock) + watch_interval(vm));

	for (unsigned i = 0; i < vm->n_cpus && !res; i++) {
		char name[16];
		snprintf(name, sizeof(name), "cpu%u", i);
		res = thread_create(&vm->cpus[i].thread, name, cpu_thread, &vm->cpus[i], err);
		vm->cpus[i].has_thread = !res;
	}
	if (!res) {
		res = loop_run(vm->control);
		if (res)
			err_set(err, res, "the event loop failed: %s", strerror(-res));
	}
	stop_threads(vm);
	if (vm->trace & HAKO_TRACE_INSN)
		debug_tell_insns(vm);
	if (vm->gdb)
		gdb_ended(vm->gdb, vm->outcome == HAKO_POWEROFF ? 0 : 1);
	vm_disks_end(vm);
	clock_disarm(vm->host_clock, &vm->timeout);
	clock_disarm(vm->host_clock, &vm->watch);
	*outcome = vm->outcome;
	return res ? res : vm->failed;
}

void hako_vm_stop(struct hako_vm *vm)
{
	notifier_set(&vm->stop);
}

void hako_vm_dump(struct hako_vm *vm)
{
	notifier_set(&vm->dump);
}

/* ---- building ---- */

static void log_out(void *arg, enum log_level level, const char *who, const char *text)
{
	struct hako_vm *vm = arg;
	vm->log_fn(vm->log_arg, (enum hako_log_level)level, who, text);
}

static void console_key(void *arg, char key)
{
	struct hako_console *c = arg;
	c->key(c->arg, key);
}

/* What a machine does not have, and was asked for. */
static int check_board(const struct hako_vm *vm, const struct hako_vm_config *config,
		       struct err *err)
{
	const char *name = config_machine_name(vm->kernel.arch);

	if (config->firmware && !vm->board_ops->takes_firmware)
		return err_set(err, -EINVAL,
			       "the machine %s starts no firmware such as '%s'; leave out "
			       "--firmware",
			       name, config->firmware);
	if (!vm->board_ops->has_dtb && (config->dtb || config->dump_dtb || config->dtb_addr))
		return err_set(err, -EINVAL,
			       "the machine %s has no device tree but ACPI tables; leave out --dtb "
			       "and --dump-dtb",
			       name);
	if (config->entry % vm->board_ops->code_align)
		return err_set(err, -EINVAL,
			       "no instruction can be at %#llx; on the machine %s it must be a "
			       "multiple of %u",
			       (unsigned long long)config->entry, name, vm->board_ops->code_align);
	return 0;
}

static int check_entry(const struct hako_vm *vm, struct err *err)
{
	if (!vm->entry || gmem_find(vm->mem, vm->entry))
		return 0;
	return err_set(err, -EINVAL,
		       "no instruction can be at %#llx: that is outside the guest's memory, which "
		       "begins at %#llx",
		       (unsigned long long)vm->entry,
		       (unsigned long long)gmem_region(vm->mem, 0)->base);
}

/* The machine that the kernel is for. */
static int choose_board(struct hako_vm *vm, const struct hako_vm_config *config, struct err *err)
{
	int res = config_cmdline(config, vm->kernel.arch, &vm->cmdline, err);

	vm->board_ops = vm->kernel.arch == KERNEL_ARM64    ? &board_arm64
			: vm->kernel.arch == KERNEL_X86_64 ? &board_x86
							   : &board_riscv;
	/* What QEMU has unless told otherwise, and drivers of one's own are written for. */
	vm->virtio_legacy = config->virtio_mmio == HAKO_VIRTIO_MMIO_LEGACY ||
			    (config->virtio_mmio == HAKO_VIRTIO_MMIO_AUTO &&
			     vm->kernel.arch == KERNEL_RV32 && vm->kernel.n_segments);
	if (!res)
		res = check_board(vm, config, err);
	if (res || !config->firmware)
		return res;
	if (strcmp(config->firmware, "none") == 0 || config_firmware_alone(config)) {
		vm->no_firmware = true;
		return 0;
	}
	res = kernel_open_firmware(&vm->firmware, config->firmware, vm->kernel.arch, err);
	vm->has_firmware = !res;
	return res;
}

static enum guest_arch guest_arch(const struct hako_vm *vm)
{
	switch (vm->kernel.arch) {
	case KERNEL_ARM64: return GUEST_A64;
	case KERNEL_X86_64: return GUEST_X86_64;
	case KERNEL_RV64: return GUEST_RV64;
	default: return GUEST_RV32;
	}
}

/* As with QEMU's -bios and no -kernel: the file is all that runs, in M-mode. */
static int open_firmware_alone(struct hako_vm *vm, const struct hako_vm_config *config,
			       struct err *err)
{
	unsigned wanted = config_arch(config) & KERNEL_RISCV;

	if (!wanted)
		return err_set(err, -EINVAL,
			       "there is no kernel to boot; the machine %s starts no firmware such "
			       "as '%s'",
			       config->machine, config->firmware);
	return kernel_open_firmware(&vm->kernel, config->firmware, wanted, err);
}

static int open_files(struct hako_vm *vm, const struct hako_vm_config *config, struct err *err)
{
	int res;

	if (config_firmware_alone(config))
		res = open_firmware_alone(vm, config, err);
	else if (config->kernel)
		res = kernel_open(&vm->kernel, config->kernel, config_arch(config), err);
	else
		res = kernel_from_bytes(&vm->kernel, config->kernel_data, config->kernel_size,
					config_arch(config), err);
	vm->has_kernel = !res;
	if (!res)
		res = choose_board(vm, config, err);
	if (!res && config->initrd) {
		res = initrd_open(&vm->initrd, config->initrd, err);
		vm->has_initrd = !res;
	}
	return res ? res : vm_disks_open(vm, config, err);
}

static int create_cpus(struct hako_vm *vm, struct err *err)
{
	for (unsigned i = 0; i < vm->n_cpus; i++) {
		struct vm_cpu *cpu = &vm->cpus[i];
		const struct vcpu_wiring wiring = vm->board_ops->wiring(vm, i);
		int res = vm->engine_ops->vcpu_create(vm->engine, i, &wiring, &cpu->vcpu, err);
		if (res)
			return res;
		cpu->vm = vm;
		cpu->index = i;
		cpu->state = reset_state(vm, i);
	}
	return 0;
}

static int dump_dtb(const struct hako_vm *vm, const char *path, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	ssize_t n = fd < 0 ? -1 : write(fd, vm->dtb, vm->dtb_size);
	int res = 0;

	if (n < 0 || (size_t)n != vm->dtb_size)
		res = err_set(err, n < 0 ? -errno : -ENOSPC,
			      "the device tree cannot be written to '%s': %s; name another file",
			      path, n < 0 ? strerror(errno) : "no space left");
	if (fd >= 0)
		close(fd);
	return res;
}

/* Guest memory becomes the host's only as it is used, so more than there is begins well. */
static void compare_memory(struct hako_vm *vm)
{
	uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	if (vm->mem_size > host)
		log_msg(&vm->log, LOG_WARN, "memory",
			"the guest is promised %llu MiB and this host has %llu MiB: if it uses "
			"them, the host's kernel may end hako; give it less",
			(unsigned long long)(vm->mem_size >> 20), (unsigned long long)(host >> 20));
}

static int build(struct hako_vm *vm, const struct hako_vm_config *config, struct err *err)
{
	int res = loop_create(&vm->control, err);

	if (!res)
		res = loop_create(&vm->io, err);
	if (!res)
		res = notifier_watch(&vm->stop, vm->control, &vm->stop_source, stop_asked, err);
	if (!res)
		res = notifier_watch(&vm->act, vm->control, &vm->act_source, act, err);
	if (!res)
		res = notifier_watch(&vm->dump, vm->control, &vm->dump_source, dump_asked, err);
	if (!res)
		res = clock_create(&vm->clock, vm->control, err);
	if (!res)
		res = clock_create(&vm->host_clock, vm->control, err);
	vm->timeout.fire = timed_out;
	vm->watch.fire = watch;
	if (!res)
		res = gmem_create(&vm->mem, err);
	if (!res)
		res = bus_create(&vm->mmio, err);
	if (!res && config->dtb && !(vm->dtb_path = strdup(config->dtb)))
		res = err_set(err, -ENOMEM, "no memory for the machine");
	if (!res)
		res = open_files(vm, config, err);
	if (!res && vm->board_ops->has_ports)
		res = bus_create(&vm->pio, err);
	if (!res) {
		const struct console_config console = {
			.loop = vm->control,
			.in_fd = config->console.in_fd,
			.out_fd = config->console.out_fd,
			.escape = config->console.key,
			.key = console_key,
			.arg = &vm->console_config,
			.first = &vm->marks[HAKO_EVENT_CONSOLE],
		};
		res = console_create(&vm->console, &console, err);
	}
	if (!res) {
		const struct engine_config engine = {
			.arch = guest_arch(vm),
			.mem = vm->mem,
			.mmio = vm->mmio,
			.pio = vm->pio,
			.clock = vm->clock,
			.loop = vm->control,
			.log = &vm->log,
			.n_vcpus = vm->n_cpus,
		};
		res = engines_create(&vm->engine_ops, &vm->engine, config->engine,
				     vm->has_firmware || vm->no_firmware, &engine, err);
	}
	if (!res && vm->lint != LINT_OFF && vm->lint_deep && !gmem_watchable(vm->mem))
		log_msg(&vm->log, LOG_INFO, "lint",
			"missing barriers (%s) are found by the software CPU only: --engine soft",
			lint_rules[LINT_NO_BARRIER].id);
	if (!res && config->debug_guest)
		res = report_create(&vm->report, vm, err);
	if (!res)
		res = debug_symbols(vm, config->symbols, err);
	if (!res)
		res = trace_create(vm, err);
	if (!res)
		res = vm->board_ops->create(vm, err);
	if (!res)
		res = check_entry(vm, err);
	if (!res)
		res = create_cpus(vm, err);
	if (!res && vm->report)
		report_begin(vm->report);
	if (!res && (vm->trace & HAKO_TRACE_INSN))
		res = debug_trace_insns(vm, err);
	if (!res && vm->engine_ops->map)
		res = vm->engine_ops->map(vm->engine, err);
	if (!res)
		res = vm->board_ops->prepare(vm, err);
	if (!res && config->dump_dtb)
		res = dump_dtb(vm, config->dump_dtb, err);
	if (!res)
		res = vm->board_ops->load(vm, err);
	if (!res && config->gdb && !config->dump_dtb)
		res = gdb_create(&vm->gdb, vm, config->gdb, err);
	if (!res) {
		res = thread_create(&vm->io_thread, "io", io_thread, vm, err);
		vm->has_io_thread = !res;
	}
	return res;
}

int hako_vm_create(struct hako_vm **out, const struct hako_vm_config *config,
		   struct hako_err *public_err)
{
	struct err *err = err_of(public_err);
	int res = hako_vm_config_check(config, public_err);

	*out = NULL;
	if (res)
		return res;
	struct hako_vm *vm = calloc(1, sizeof(*vm));
	if (!vm)
		return err_set(err, -ENOMEM, "no memory for a VM");
	mark_hit(&vm->marks[HAKO_EVENT_CREATE]);
	vm->log_fn = config->log;
	vm->log_arg = config->log_arg;
	log_init(&vm->log, (enum log_level)config->log_level, config->log ? log_out : NULL, vm);
	vm->mem_size = config->mem;
	vm->n_cpus = config->cpus;
	vm->n_disks = config->n_disks;
	vm->no_reboot = config->no_reboot;
	vm->lint = (enum lint_level)config->lint;
	vm->lint_deep = config->lint_deep;
	vm->trace = config->trace;
	vm->timeout_ms = config->timeout_ms;
	vm->entry = config->entry;
	vm->dtb_addr = config->dtb_addr;
	vm->cmdline_given = config->cmdline || config->append;
	vm->console_config = config->console;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	vm->stop = vm->act = vm->dump = vm->refresh = (struct notifier){ -1, -1 };

	compare_memory(vm);
	res = build(vm, config, err);
	if (res) {
		hako_vm_destroy(vm);
		return res;
	}
	mark_hit(&vm->marks[HAKO_EVENT_CREATED]);
	*out = vm;
	return 0;
}

bool hako_vm_first(const struct hako_vm *vm, enum hako_event event, struct hako_moment *moment)
{
	const struct mark *mark = &vm->marks[event];

	*moment = (struct hako_moment){ .at = atomic_load(&mark->at), .cpu = mark->cpu };
	return moment->at;
}

/* Reason number `n` of all vCPUs; `at` is the one that comes next. */
struct counting {
	unsigned n, at;
	struct hako_counter sum;
};

static void count(void *arg, const char *reason, uint64_t value)
{
	struct counting *c = arg;

	if (c->at++ != c->n)
		return;
	c->sum.name = reason;
	c->sum.value += value;
}

bool hako_vm_counter(const struct hako_vm *vm, unsigned n, struct hako_counter *counter)
{
	struct counting c = { .n = n };

	for (unsigned i = 0; vm->engine_ops->vcpu_stats && i < vm->n_cpus; i++) {
		c.at = 0;
		vm->engine_ops->vcpu_stats(vm->cpus[i].vcpu, count, &c);
	}
	*counter = c.sum;
	return c.sum.name;
}

const char *hako_vm_engine(const struct hako_vm *vm)
{
	return vm->engine_ops->name;
}

const char *hako_vm_machine(const struct hako_vm *vm)
{
	return config_machine_name(vm->kernel.arch);
}

void hako_vm_destroy(struct hako_vm *vm)
{
	if (!vm)
		return;
	gdb_destroy(vm->gdb);
	pthread_mutex_lock(&vm->lock);
	vm->quit = true; /* for a VM that never ran; see look_again() */
	pthread_mutex_unlock(&vm->lock);
	/* Devices first, while their loop still runs: they finish what is in flight. */
	if (vm->board_ops)
		vm->board_ops->destroy(vm);
	if (vm->has_io_thread) {
		loop_stop(vm->io);
		pthread_join(vm->io_thread, NULL);
	}
	vm_disks_close(vm);
	for (unsigned i = 0; i < vm->n_cpus; i++)
		if (vm->cpus[i].vcpu)
			vm->engine_ops->vcpu_destroy(vm->cpus[i].vcpu);
	if (vm->engine)
		vm->engine_ops->destroy(vm->engine);
	report_destroy(vm->report);
	symbols_close(vm->symbols);
	console_destroy(vm->console);
	if (vm->has_initrd)
		initrd_close(&vm->initrd);
	if (vm->has_firmware)
		kernel_close(&vm->firmware);
	if (vm->has_kernel)
		kernel_close(&vm->kernel);
	free(vm->dtb);
	free(vm->dtb_path);
	free(vm->cmdline);
	bus_destroy(vm->pio);
	bus_destroy(vm->mmio);
	gmem_destroy(vm->mem);
	trace_destroy(vm->tracer);
	clock_destroy(vm->clock);
	clock_destroy(vm->host_clock);
	loop_destroy(vm->io);
	loop_destroy(vm->control);
	notifier_fini(&vm->act);
	notifier_fini(&vm->dump);
	notifier_fini(&vm->stop);
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	log_fini(&vm->log);
	free(vm);
}

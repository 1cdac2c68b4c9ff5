/* SPDX-License-Identifier: MIT */
/*
 * hako run: describe a VM by options, run it, and tell by the exit status how it ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "config_file.h"
#include "disk_opt.h"
#include "hako/vm.h"
#include "lint_report.h"
#include "say.h"
#include "timing.h"
#include "tty.h"

/* Beyond those of say.h. */
enum {
	EXIT_RESET = 10,
	EXIT_STUCK = 11,
	EXIT_TIMEOUT = 12,
	EXIT_GUEST = 13,
	EXIT_DISK = 14,
	EXIT_SIGNAL = 128, /* plus the signal, as shells tell it */
};

struct run {
	struct hako_vm_config config;
	struct hako_disk disks[HAKO_DISKS_MAX];
	char *disk_text[HAKO_DISKS_MAX]; /* what the disks' strings point into */
	struct config_file *file;        /* of --config, or NULL */
	size_t n_file_disks;             /* those that it described, the first of all */
	struct timing timing;
	struct lint_report report;
	bool quiet;
	unsigned verbose;
};

/* The VM that signals and keys stop. */
static struct hako_vm *_Atomic running;

static void refresh_disks(void)
{
	struct hako_vm *vm = atomic_load(&running);

	if (vm)
		hako_vm_refresh_disks(vm);
}

static void stop_running(void)
{
	struct hako_vm *vm = atomic_load(&running);

	if (vm)
		hako_vm_stop(vm);
}

static void dump_running(void)
{
	struct hako_vm *vm = atomic_load(&running);

	if (vm)
		hako_vm_dump(vm);
}

/* ---- What options set ---- */

static int set_config(void *target, const char *path)
{
	struct run *run = target;
	const struct config_file_target fill = { .config = &run->config,
						 .disks = run->disks,
						 .opts = command_run.opts,
						 .opts_target = run };
	int res = config_file_load(&run->file, path, &fill);

	run->n_file_disks = run->config.n_disks;
	return res;
}

/* The command line says what the root is, not the file. */
static void forget_root(struct run *run)
{
	for (size_t i = 0; i < run->n_file_disks; i++)
		run->disks[i].root = false;
}

static int set_cmdline(void *target, const char *text)
{
	struct run *run = target;

	forget_root(run);
	run->config.cmdline = text;
	return 0;
}

static int set_disk(void *target, const char *text)
{
	struct run *run = target;
	size_t n = run->config.n_disks;

	if (n == HAKO_DISKS_MAX)
		return say_usage("--disk %s is one disk too many; a machine can have %d", text,
				 HAKO_DISKS_MAX);
	run->config.n_disks++;
	if (disk_opt_parse(text, &run->disks[n], &run->disk_text[n]) < 0)
		return -1;
	if (run->disks[n].root)
		forget_root(run);
	return 0;
}

static int set_gdb(void *target, const char *text)
{
	((struct run *)target)->config.gdb = text ? text : "1234";
	return 0;
}

static int set_timeout(void *target, const char *text)
{
	struct run *run = target;
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || v == 0 || v > UINT32_MAX)
		return say_usage("--timeout takes whole seconds, 1 or more, not '%s'", text);
	run->config.timeout_ms = (uint64_t)v * 1000;
	return 0;
}

static int set_mem(void *target, const char *text)
{
	struct run *run = target;
	const char *why;
	uint64_t mem;

	if (parse_size(text, &mem, &why) < 0)
		return say_usage("--mem cannot be '%s': %s", text, why);
	if (mem > 0 && mem < 1 << 16) /* "--mem 512" */
		return say_usage("--mem %s is %" PRIu64 " bytes; did you mean --mem %" PRIu64 "M?",
				 text, mem, mem);
	run->config.mem = mem;
	return 0;
}

static int set_virtio_mmio(void *target, const char *text)
{
	struct run *run = target;

	if (strcmp(text, "modern") == 0)
		run->config.virtio_mmio = HAKO_VIRTIO_MMIO_MODERN;
	else if (strcmp(text, "legacy") == 0)
		run->config.virtio_mmio = HAKO_VIRTIO_MMIO_LEGACY;
	else
		return say_usage("--virtio-mmio is modern or legacy, not '%s'", text);
	return 0;
}

static int set_lint(void *target, const char *text)
{
	static const struct {
		const char *name;
		enum hako_lint lint;
		bool deep;
	} modes[] = {
		{ "off", HAKO_LINT_OFF, false },           { "warn", HAKO_LINT_WARN, false },
		{ "strict", HAKO_LINT_STRICT, false },     { "deep", HAKO_LINT_WARN, true },
		{ "strict,deep", HAKO_LINT_STRICT, true },
	};
	struct run *run = target;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(text, modes[i].name) == 0) {
			run->config.lint = modes[i].lint;
			run->config.lint_deep = modes[i].deep;
			return 0;
		}
	}
	return say_usage("--lint is off, warn, strict, deep or strict,deep, not '%s'", text);
}

/* By bits of HAKO_TRACE_ALL. */
static const struct trace_name {
	const char *name;
	unsigned bit;
} trace_names[] = {
	{ "virtio", HAKO_TRACE_VIRTIO },
	{ "mmio", HAKO_TRACE_MMIO },
	{ "irq", HAKO_TRACE_IRQ },
	{ "insn", HAKO_TRACE_INSN },
};
enum { N_TRACES = sizeof(trace_names) / sizeof(trace_names[0]) };

static int unknown_trace(const char *name, size_t len)
{
	char all[80], word[32];
	const char *near;

	snprintf(word, sizeof(word), "%.*s", (int)len, name);
	near = nearest(word, &trace_names[0].name, N_TRACES, sizeof(trace_names[0]));
	if (near)
		return say_usage("--trace has no '%s'; did you mean '%s'?", word, near);
	return say_usage("--trace has no '%s'; it takes a list of: %s", word,
			 word_list(all, sizeof(all), &trace_names[0].name, N_TRACES,
				   sizeof(trace_names[0]), ", "));
}

static int set_trace(void *target, const char *text)
{
	struct run *run = target;

	for (;;) {
		size_t len = strcspn(text, ","), i = 0;

		while (i < N_TRACES && (strlen(trace_names[i].name) != len ||
					strncmp(text, trace_names[i].name, len) != 0))
			i++;
		if (i == N_TRACES)
			return unknown_trace(text, len);
		run->config.trace |= trace_names[i].bit;
		if (!text[len])
			return 0;
		text += len + 1;
	}
}

static int set_timing(void *target, const char *text)
{
	struct run *run = target;

	if (text && strcmp(text, "json") != 0)
		return say_usage("--timing has no value or json, and not '%s'", text);
	run->timing.wanted = true;
	run->timing.json = text;
	return 0;
}

/* ---- The options ---- */

#define AT(field)  .off = offsetof(struct run, field)
#define VM(field)  .off = offsetof(struct run, config.field)
#define CALL(func) .kind = OPT_CALL, .set = (func)

static const struct opt run_opts[] = {
	{ .group = "What is booted",
	  .name = "config",
	  .arg = "FILE",
	  .help = "take all of it from a JSON file as Firecracker has it; other\n"
		  "options go over what it says, and --disk adds to its drives",
	  CALL(set_config),
	  .first = true },
	{ .name = "kernel",
	  .letter = 'k',
	  .arg = "FILE",
	  .help = "Linux Image for arm64 or RISC-V, gzip'd or not, a bzImage\n"
		  "for x86-64, or an ELF file; needed",
	  .kind = OPT_STRING,
	  VM(kernel) },
	{ .name = "initrd",
	  .letter = 'i',
	  .arg = "FILE",
	  .help = "initial RAM disk",
	  .kind = OPT_STRING,
	  VM(initrd) },
	{ .name = "firmware",
	  .arg = "FILE",
	  .help = "RISC-V: start FILE (raw or ELF, such as OpenSBI) in M-mode and\n"
		  "let it start the kernel, if that is not 'none'; FILE 'none'\n"
		  "starts the kernel in M-mode.\n"
		  "Default: hako is the firmware",
	  .kind = OPT_STRING,
	  VM(firmware) },
	{ .name = "append",
	  .letter = 'a',
	  .arg = "TEXT",
	  .help = "add TEXT to the kernel command line",
	  .kind = OPT_STRING,
	  VM(append) },
	{ .name = "cmdline",
	  .arg = "TEXT",
	  .help = "use TEXT in place of the default command line, which is\n"
		  "console=ttyAMA0 (RISC-V, x86-64: ttyS0), with a disk also\n"
		  "root=/dev/vda rw (ro for a read-only one), then\n"
		  "cryptomgr.notests, with --no-reboot also panic=-1",
	  CALL(set_cmdline) },
	{ .group = "Machine",
	  .name = "disk",
	  .letter = 'd',
	  .arg = DISK_OPT_ARG,
	  .help = "disk from a raw image or block device; the first is\n"
		  "/dev/vda, the next /dev/vdb.\n" DISK_OPT_HELP,
	  CALL(set_disk),
	  .many = true },
	{ .name = "mem",
	  .letter = 'm',
	  .arg = "SIZE",
	  .help = "memory, such as 1G; default 512M",
	  CALL(set_mem) },
	{ .name = "cpus",
	  .letter = 'c',
	  .arg = "N",
	  .help = "CPUs, 1 to 8; default 1",
	  .kind = OPT_NUMBER,
	  VM(cpus) },
	{ .name = "machine",
	  .arg = "NAME",
	  .help = "kind of machine: arm64, riscv64, riscv32 or x86; default: what\n"
		  "the kernel is for",
	  .kind = OPT_STRING,
	  VM(machine) },
	{ .name = "virtio-mmio",
	  .arg = "VERSION",
	  .help = "modern or legacy registers of virtio devices; default: modern,\n"
		  "but legacy for a 32-bit ELF kernel",
	  CALL(set_virtio_mmio) },
	{ .name = "lint",
	  .arg = "MODE",
	  .help = "watch the guest's virtio drivers: off, warn (the default) tells\n"
		  "which rule one breaks, strict also stops the device, deep also\n"
		  "watches each request, slower; or strict,deep\n"
		  "('hako lint list' has the rules)",
	  CALL(set_lint) },
	{ .name = "lint-report",
	  .arg = "FILE",
	  .help = "write what the lint found to FILE at the end, as JSON; as\n"
		  "SARIF 2.1.0 where its name ends in .sarif",
	  .kind = OPT_STRING,
	  AT(report.path) },
	{ .name = "engine",
	  .arg = "NAME",
	  .help = "what runs the CPUs ('hako doctor' lists them);\n"
		  "default: the fastest that works here",
	  .kind = OPT_STRING,
	  VM(engine) },
	{ .name = "dtb",
	  .arg = "FILE",
	  .help = "use the device tree in FILE and not one of hako's making",
	  .kind = OPT_STRING,
	  VM(dtb) },
	{ .name = "dump-dtb",
	  .arg = "FILE",
	  .help = "write the device tree to FILE and end without a run",
	  .kind = OPT_STRING,
	  VM(dump_dtb) },
	{ .group = "Debug",
	  .name = "debug-guest",
	  .help = "tell when the guest has lost its way, and how: traps without\n"
		  "a handler or an end, jumps to nowhere, endless waits and loops",
	  .kind = OPT_FLAG,
	  VM(debug_guest) },
	{ .name = "symbols",
	  .arg = "FILE",
	  .help = "names for addresses, from an ELF file such as vmlinux;\n"
		  "default: those of the kernel, if it is one",
	  .kind = OPT_STRING,
	  VM(symbols) },
	{ .name = "gdb",
	  .arg = "PORT",
	  .optional = true,
	  .help = "halt at the first instruction and wait for gdb or lldb, at a\n"
		  "port of this host (default: 1234) or at a socket (a path with\n"
		  "a slash)",
	  CALL(set_gdb) },
	{ .name = "trace",
	  .arg = "LIST",
	  .help = "tell what happens inside, a list of: virtio (what each queue\n"
		  "did last; told on SIGUSR1, and when nothing happens any more),\n"
		  "mmio (accesses of devices' registers), irq (interrupt lines),\n"
		  "insn (the last 100 instructions, at the end; slow)",
	  CALL(set_trace) },
	{ .group = "Run",
	  .name = "no-reboot",
	  .help = "end when the guest asks for a reset (status 10)",
	  .kind = OPT_FLAG,
	  VM(no_reboot) },
	{ .name = "timeout",
	  .arg = "SECONDS",
	  .help = "end after that time (status 12)",
	  CALL(set_timeout) },
	{ .name = "timing",
	  .arg = "json",
	  .help = "tell at the end what happened when, and how often the guest\n"
		  "was left for what; as JSON, on one line",
	  CALL(set_timing),
	  .optional = true },
	{ .name = "quiet",
	  .letter = 'q',
	  .help = "say nothing but errors",
	  .kind = OPT_FLAG,
	  AT(quiet) },
	{ .name = "verbose",
	  .letter = 'v',
	  .help = "say more; twice, even more",
	  .kind = OPT_COUNT,
	  AT(verbose) },
	OPT_END,
};

/* ---- The run ---- */

static void on_key(void *arg, char key)
{
	(void)arg;
	switch (key) {
	case 'x':
	case 'X': stop_running(); break;
	case 'h':
	case '?':
		say_newline();
		say("Ctrl-A x  quits: as if the power had been cut");
		say("Ctrl-A h  prints this help");
		say("Ctrl-A Ctrl-A  sends one Ctrl-A to the guest");
		break;
	default: break;
	}
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int finish(const struct run *run, enum hako_outcome outcome, unsigned failure,
		  const char *disk_error)
{
	int signo = tty_signal(), status = EXIT_FAILED;
	char line[600] = "the run ended in a way that this version does not know";

	switch (outcome) {
	case HAKO_POWEROFF:
		snprintf(line, sizeof(line), "the guest powered off");
		status = EXIT_OK;
		break;
	case HAKO_FAILED:
		snprintf(line, sizeof(line),
			 "the guest powered off and said that it failed, with "
			 "code %u",
			 failure);
		status = EXIT_GUEST;
		break;
	case HAKO_DISK_ERROR:
		snprintf(line, sizeof(line), "%s", disk_error);
		status = EXIT_DISK;
		break;
	case HAKO_RESET:
		snprintf(line, sizeof(line), "the guest asked for a reset");
		status = EXIT_RESET;
		break;
	case HAKO_STUCK:
		/* A report has told why. */
		snprintf(line, sizeof(line), "the guest can never run again%s",
			 run->config.debug_guest ? ""
						 : ": every CPU is off, or waits with nothing "
						   "that could wake it");
		status = EXIT_STUCK;
		break;
	case HAKO_TIMEOUT:
		snprintf(line, sizeof(line), "the time is over: the guest ran for %" PRIu64 " s",
			 run->config.timeout_ms / 1000);
		status = EXIT_TIMEOUT;
		break;
	case HAKO_STOPPED:
		if (signo) {
			snprintf(line, sizeof(line), "stopped by SIG%s", sigabbrev_np(signo));
			status = EXIT_SIGNAL + signo;
		} else {
			snprintf(line, sizeof(line), "stopped from the console%s",
				 run->config.gdb ? ", or by gdb" : "");
			status = EXIT_OK;
		}
		break;
	}
	if (!run->quiet || outcome == HAKO_DISK_ERROR) {
		if (outcome == HAKO_STOPPED && isatty(STDIN_FILENO))
			say_newline();
		say("%s", line);
	}
	return status;
}

static int run_vm(struct run *run)
{
	struct hako_vm_config *config = &run->config;
	struct hako_err err = { 0 };
	enum hako_outcome outcome = HAKO_STOPPED;
	struct hako_vm *vm;
	char disk_error[512];
	unsigned failure;
	int reported;
	bool terminal;
	int r;

	if (hako_vm_config_check(config, &err) < 0) {
		say("%s", err.msg);
		return err.code == -ENODEV ? EXIT_FAILED : EXIT_USAGE;
	}
	terminal = isatty(STDIN_FILENO) && !config->dump_dtb;
	if (is_open(STDIN_FILENO))
		config->console.in_fd = STDIN_FILENO;
	if (is_open(STDOUT_FILENO))
		config->console.out_fd = STDOUT_FILENO;
	if (terminal)
		config->console.key = on_key;
	config->log = say_log;
	config->log_level = say_level(run->quiet, run->verbose);

	if (run->report.path && config->lint == HAKO_LINT_OFF) {
		say_usage("--lint-report has nothing to tell with --lint=off");
		return EXIT_USAGE;
	}
	if (lint_report_open(&run->report) < 0)
		return EXIT_FAILED;
	if (hako_vm_create(&vm, config, &err) < 0) {
		say("%s", err.msg);
		lint_report_close(&run->report);
		return EXIT_FAILED;
	}
	if (config->dump_dtb) {
		lint_report_close(&run->report);
		if (!run->quiet)
			say("the device tree is in '%s'", config->dump_dtb);
		hako_vm_destroy(vm);
		return EXIT_OK;
	}

	atomic_store(&running, vm);
	tty_signals(stop_running, refresh_disks, dump_running);
	/* The kernel stops who would change the terminal from there, and a shell says no more. */
	if (terminal && !run->quiet && tty_is_anothers(STDIN_FILENO))
		say("the terminal is another job's: hako waits until it is in the foreground (fg); "
		    "with </dev/null it runs in the background, too");
	if (terminal && (r = tty_raw(STDIN_FILENO)) < 0)
		say("the terminal cannot be made raw (%s); the guest gets whole lines",
		    strerror(-r));
	if (terminal && !run->quiet)
		say("the terminal is the guest's; Ctrl-A x quits, Ctrl-A h helps");
	r = hako_vm_run(vm, &outcome, &err);
	atomic_store(&running, NULL);
	failure = hako_vm_failure(vm);
	snprintf(disk_error, sizeof(disk_error), "%s", hako_vm_disk_error(vm));
	timing_take(&run->timing, vm);
	reported = lint_report_write(&run->report, vm, r < 0 ? "failed" : outcome_name(outcome));
	/* Destroyed first: it writes out what the guest has printed last. */
	hako_vm_destroy(vm);
	tty_restore();
	if (r < 0) {
		say("%s", err.msg);
		return EXIT_FAILED;
	}
	r = finish(run, outcome, failure, disk_error);
	if (reported < 0 && r == EXIT_OK)
		r = EXIT_FAILED;
	if (run->timing.wanted)
		timing_print(&run->timing, outcome);
	return r;
}

static int run_run(const struct command *command, int argc, char **argv)
{
	struct run *run = calloc(1, sizeof(*run));
	int status;

	if (!run) {
		say("out of memory");
		return EXIT_FAILED;
	}
	timing_begin(&run->timing);
	hako_vm_config_init(&run->config);
	run->config.disks = run->disks;
	if (!command_parse(command, run, &argc, argv, &status)) {
		if (argc > 0) {
			say_usage("unexpected argument '%s'; did you mean %s %s?", argv[0],
				  run->config.kernel ? "--disk" : "--kernel", argv[0]);
			status = EXIT_USAGE;
		} else if (!run->config.kernel && run->config.firmware) {
			say_usage("there is no kernel for the firmware '%s' to start; name one "
				  "with --kernel FILE, or say --kernel none if the firmware is all "
				  "that runs",
				  run->config.firmware);
			status = EXIT_USAGE;
		} else if (!run->config.kernel) {
			say_usage("there is no kernel to boot; name one with --kernel FILE");
			status = EXIT_USAGE;
		} else {
			if (run->file && !run->quiet)
				config_file_say_notes(run->file);
			status = run_vm(run);
		}
	}
	for (size_t i = 0; i < run->config.n_disks; i++)
		free(run->disk_text[i]);
	config_file_free(run->file);
	free(run);
	return status;
}

const struct command command_run = {
	.name = "run",
	.summary = "boot a kernel on a virtual machine",
	.usage = "hako run --kernel FILE [--initrd FILE] [--disk FILE]... [OPTION...]\n"
		 "       hako run --config FILE [OPTION...]",
	.about =
		"Boots a kernel. The guest's serial port is the standard input and output. On a\n"
		"terminal, Ctrl-A x quits and Ctrl-A h helps; with the input from a file or pipe,\n"
		"all of it goes to the guest.\n\n"
		"Exit status: 0 the guest powered off, or Ctrl-A x; 1 hako failed; 2 wrong usage;\n"
		"10 the guest asked for a reset (--no-reboot); 11 the guest can never run again;\n"
		"12 the time is over (--timeout); 13 the guest says that it failed;\n"
		"14 a disk failed (on-error=stop); 128 + N signal N ended the run.\n\n"
		"SIGHUP has the sizes of disks looked at again, and the guest told; SIGUSR1 has\n"
		"--trace tell what it keeps a record of.",
	.opts = run_opts,
	.run = run_run,
};

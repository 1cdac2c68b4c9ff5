/* SPDX-License-Identifier: MIT */
/*
 * The configuration of a VM: its defaults, its check, and the one-call boot that is made of the
 * defaults.
 */
#include "machine/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "boot/cmdline.h"
#include "boot/kernel.h"
#include "hako/doctor.h"
#include "machine/debug.h"
#include "machine/disk_dev.h"
#include "machine/engines.h"
#include "machine/public.h"

void hako_vm_config_init(struct hako_vm_config *config)
{
	memset(config, 0, sizeof(*config));
	config->mem = HAKO_MEM_DEFAULT;
	config->cpus = 1;
	config->console.in_fd = -1;
	config->console.out_fd = -1;
	config->log_level = HAKO_LOG_WARN;
	config->lint = HAKO_LINT_WARN;
}

static int check_mem(uint64_t mem, struct err *err)
{
	bool mib = mem && mem % (1 << 20) == 0;
	char size[40];

	snprintf(size, sizeof(size), "%llu %s", (unsigned long long)(mib ? mem >> 20 : mem),
		 mib ? "MiB" : "bytes");
	if (mem > HAKO_MEM_MAX)
		return err_set(err, -EINVAL,
			       "a machine cannot have %s of memory; it can have up to %llu GiB",
			       size, HAKO_MEM_MAX >> 30);
	if (mem < HAKO_MEM_MIN)
		return err_set(err, -EINVAL,
			       "a machine cannot do with %s of memory; give it %llu MiB or more",
			       size, HAKO_MEM_MIN >> 20);
	if (mem % HAKO_MEM_UNIT)
		return err_set(err, -EINVAL,
			       "a machine cannot have %s of memory: it must be a multiple of %llu "
			       "MiB, such as %llu MiB",
			       size, HAKO_MEM_UNIT >> 20,
			       (unsigned long long)(align_up(mem, HAKO_MEM_UNIT) >> 20));
	return 0;
}

/* The names that a user may give, and what they stand for. */
static const struct {
	const char *name;
	unsigned arch;
} machines[] = {
	{ "arm64", KERNEL_ARM64 }, { "riscv64", KERNEL_RV64 }, { "riscv32", KERNEL_RV32 },
	{ "riscv", KERNEL_RISCV }, { "x86", KERNEL_X86_64 },   { "x86_64", KERNEL_X86_64 },
};

unsigned config_arch(const struct hako_vm_config *config)
{
	for (size_t i = 0; config->machine && i < ARRAY_SIZE(machines); i++)
		if (strcmp(config->machine, machines[i].name) == 0)
			return machines[i].arch;
	return KERNEL_ANY;
}

bool config_firmware_alone(const struct hako_vm_config *config)
{
	return config->kernel && strcmp(config->kernel, "none") == 0 && config->firmware &&
	       strcmp(config->firmware, "none") != 0;
}

const char *config_machine_name(enum kernel_arch arch)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (machines[i].arch == arch)
			return machines[i].name;
	return "";
}

static int check_machine(const char *name, struct err *err)
{
	char names[80] = "";
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (!name || strcmp(name, machines[i].name) == 0)
			return 0;
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
					machines[i].name);
	}
	return err_set(err, -EINVAL, "there is no machine '%s'; there are: %s", name, names);
}

enum { PARTUUID_MAX = 64 };

/* One word of the command line: a UUID, or what MBR disks have in its place. */
static bool partuuid_ok(const char *text)
{
	size_t len = strspn(text, "0123456789abcdefABCDEF-");

	return len && !text[len] && len <= PARTUUID_MAX;
}

static int check_root(const struct hako_vm_config *config, struct err *err)
{
	const struct hako_disk *root = NULL;

	for (size_t i = 0; i < config->n_disks; i++) {
		const struct hako_disk *disk = &config->disks[i];

		if (disk->partuuid && !partuuid_ok(disk->partuuid))
			return err_set(err, -EINVAL,
				       "'%s' cannot be the PARTUUID of a partition on disk '%s': "
				       "it has hexadecimal digits and '-' only",
				       disk->partuuid, disk->path);
		if (disk->root && root)
			return err_set(err, -EINVAL,
				       "only one disk can be the root, and '%s' and '%s' are both "
				       "marked",
				       root->path, disk->path);
		if (disk->root)
			root = disk;
	}
	return 0;
}

static int check_disks(const struct hako_vm_config *config, struct err *err)
{
	if (config->n_disks > HAKO_DISKS_MAX)
		return err_set(err, -EINVAL,
			       "a machine cannot have %zu disks; it can have up to %d",
			       config->n_disks, HAKO_DISKS_MAX);
	for (size_t i = 0; i < config->n_disks; i++) {
		const struct hako_disk *disk = &config->disks[i];

		if (!disk->path || !*disk->path)
			return err_set(err, -EINVAL, "disk %zu has no file name", i + 1);
		if (disk_dev_check(disk, err))
			return -EINVAL;
	}
	return check_root(config, err);
}

/* What Linux calls virtio disk number i: vda to vdz, vdaa and so on. */
static void disk_name(size_t i, char *text, size_t size)
{
	char name[8] = "";
	size_t at = sizeof(name) - 1;

	for (i++; i && at; i = (i - 1) / 26)
		name[--at] = (char)('a' + (i - 1) % 26);
	snprintf(text, size, "/dev/vd%s", name + at);
}

int config_cmdline(const struct hako_vm_config *config, unsigned arch, char **out, struct err *err)
{
	bool arm64 = arch & KERNEL_ARM64, x86 = arch == KERNEL_X86_64;
	struct cmdline_config cmdline = {
		.base = config->cmdline,
		.append = config->append,
		.no_reboot = config->no_reboot,
		/* The PL011, or the 16550. */
		.console = arm64 ? "ttyAMA0" : "ttyS0",
		.size = arm64 ? CMDLINE_SIZE_ARM64
			: x86 ? CMDLINE_SIZE_X86
			      : CMDLINE_SIZE_RISCV,
	};
	const struct hako_disk *root = config->disks;
	char name[sizeof("PARTUUID=") + PARTUUID_MAX];

	for (size_t i = 0; i < config->n_disks && !cmdline.root_always; i++) {
		cmdline.root_always = config->disks[i].root;
		if (cmdline.root_always)
			root = &config->disks[i];
	}
	if (config->n_disks) {
		if (root->partuuid)
			snprintf(name, sizeof(name), "PARTUUID=%s", root->partuuid);
		else
			disk_name((size_t)(root - config->disks), name, sizeof(name));
		cmdline.root = name;
		cmdline.root_readonly = root->readonly;
	}
	return cmdline_make(out, &cmdline, err);
}

int hako_vm_config_check(const struct hako_vm_config *config, struct hako_err *public_err)
{
	struct err *err = err_of(public_err);
	char *cmdline = NULL;
	int r;

	if (config->cpus < 1 || config->cpus > HAKO_CPUS_MAX)
		return err_set(err, -EINVAL, "a machine cannot have %u CPUs; it can have 1 to %d",
			       config->cpus, HAKO_CPUS_MAX);
	if (!config->kernel && !config->kernel_data && config->firmware)
		return err_set(err, -EINVAL,
			       "there is no kernel for the firmware '%s' to start; name one, or "
			       "'none' if the firmware is all that runs",
			       config->firmware);
	if (!config->kernel && !config->kernel_data)
		return err_set(err, -EINVAL, "there is no kernel to boot; name one");
	if ((unsigned)config->lint > HAKO_LINT_STRICT)
		return err_set(err, -EINVAL, "there is no such lint as %d", (int)config->lint);
	if (config->trace & ~(unsigned)HAKO_TRACE_ALL)
		return err_set(err, -EINVAL, "there are no such traces as 0x%x",
			       config->trace & ~(unsigned)HAKO_TRACE_ALL);
	r = config->gdb ? gdb_check(config->gdb, err) : 0;
	if (!r)
		r = check_mem(config->mem, err);
	if (!r)
		r = check_machine(config->machine, err);
	if (!r)
		r = engines_check(config->engine, err);
	if (!r)
		r = check_disks(config, err);
	if (!r) {
		r = config_cmdline(config, config_arch(config), &cmdline, err);
		free(cmdline);
	}
	return r;
}

int hako_boot_linux(const char *kernel, const char *cmdline, uint64_t dtb_addr,
		    enum hako_outcome *outcome, struct hako_err *err)
{
	struct hako_vm_config config;
	struct hako_vm *vm;
	int r;

	hako_vm_config_init(&config);
	config.kernel = kernel;
	config.cmdline = cmdline;
	config.dtb_addr = dtb_addr;
	config.console.in_fd = STDIN_FILENO;
	config.console.out_fd = STDOUT_FILENO;

	r = hako_vm_create(&vm, &config, err);
	if (r < 0)
		return r;
	r = hako_vm_run(vm, outcome, err);
	hako_vm_destroy(vm);
	return r;
}

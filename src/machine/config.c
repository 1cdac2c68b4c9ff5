/* SPDX-License-Identifier: MIT */
/*
 * The defaults of a VM, and the one-call boot that is made of them.
 */
#include <string.h>
#include <unistd.h>

#include "machine/public.h"

void hako_vm_config_init(struct hako_vm_config *config)
{
	memset(config, 0, sizeof(*config));
	config->mem = HAKO_MEM_DEFAULT;
	config->cpus = 1;
	config->console.in_fd = -1;
	config->console.out_fd = -1;
	config->log_level = HAKO_LOG_WARN;
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

/* SPDX-License-Identifier: MIT */
/*
 * The library in one page: boot a kernel from a disk, on the terminal this is started from.
 *
 *	cc -o boot boot.c $(pkg-config --cflags --libs --static hako)
 *	./boot Image root.ext4 initrd.gz
 *
 * hako/vm.h says what else can be configured. The terminal stays as it is: what is typed reaches
 * the guest line by line, and Ctrl-C ends the program. (`hako run` makes the terminal raw.)
 */
#include <stdio.h>
#include <unistd.h>

#include "hako/vm.h"

int main(int argc, char **argv)
{
	struct hako_vm_config config;
	struct hako_disk disk = { .path = argv[argc < 3 ? 0 : 2] };
	struct hako_err err = { 0 };
	enum hako_outcome outcome;
	struct hako_vm *vm;
	int res;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: boot KERNEL DISK [INITRD]\n");
		return 2;
	}
	hako_vm_config_init(&config);
	config.kernel = argv[1];
	config.disks = &disk;
	config.n_disks = 1;
	config.initrd = argc > 3 ? argv[3] : NULL;
	config.console.in_fd = STDIN_FILENO;
	config.console.out_fd = STDOUT_FILENO;

	res = hako_vm_create(&vm, &config, &err);
	if (!res) {
		res = hako_vm_run(vm, &outcome, &err);
		hako_vm_destroy(vm);
	}
	if (res < 0) {
		fprintf(stderr, "boot: %s\n", err.msg);
		return 1;
	}
	return outcome == HAKO_POWEROFF ? 0 : 1;
}

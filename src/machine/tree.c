/* SPDX-License-Identifier: MIT */
/*
 * The device tree of a VM, and its initrd.
 */
#include "machine/tree.h"

#include <errno.h>

#include "base/err.h"
#include "boot/dtb.h"
#include "boot/layout.h"
#include "machine/vm.h"

int tree_make(struct hako_vm *vm, const struct layout *l, tree_build_fn *build, struct err *err)
{
	const struct dtb_chosen chosen = {
		.bootargs = vm->cmdline,
		.initrd_start = l->initrd,
		.initrd_end = l->initrd + (vm->has_initrd ? vm->initrd.size : 0),
		.rng_seed = true,
		.kaslr_seed = true,
	};
	int res;

	if (!vm->dtb_path) {
		res = build(vm, &chosen, err);
	} else {
		res = dtb_file(vm->dtb_path, &vm->dtb, &vm->dtb_size, err);
		if (!res)
			res = dtb_chosen_update(&vm->dtb, &vm->dtb_size, &chosen, vm->cmdline_given,
						err);
	}
	if (!res && vm->dtb_size > l->dtb_size)
		res = err_set(err, -E2BIG,
			      "the device tree is %zu bytes; the kernel takes %llu at most",
			      vm->dtb_size, (unsigned long long)l->dtb_size);
	return res;
}

int tree_load(struct hako_vm *vm, const struct layout *l, struct err *err)
{
	int res = vm->has_initrd ? initrd_load(&vm->initrd, vm->mem, l->initrd, err) : 0;

	if (!res && gmem_write(vm->mem, l->dtb, vm->dtb, vm->dtb_size))
		res = err_set(err, -EFAULT, "the device tree does not fit into memory");
	return res;
}

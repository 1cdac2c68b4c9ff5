/* SPDX-License-Identifier: MIT */
/*
 * The VM object: not built yet.
 */
#include <errno.h>

#include "machine/public.h"

int hako_vm_create(struct hako_vm **vm, const struct hako_vm_config *config, struct hako_err *err)
{
	(void)config;
	*vm = NULL;
	return err_set(err_of(err), -ENOSYS, "this version cannot run a VM yet");
}

int hako_vm_run(struct hako_vm *vm, enum hako_outcome *outcome, struct hako_err *err)
{
	(void)vm;
	(void)outcome;
	return err_set(err_of(err), -ENOSYS, "this version cannot run a VM yet");
}

void hako_vm_stop(struct hako_vm *vm)
{
	(void)vm;
}

void hako_vm_destroy(struct hako_vm *vm)
{
	(void)vm;
}

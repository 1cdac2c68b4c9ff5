/* SPDX-License-Identifier: MIT */
/*
 * The disks of a VM: opened, put behind slots, looked at again, closed.
 *
 * Threads: open and close as hako_vm_create() and hako_vm_destroy(); the rest on the I/O loop, by
 * itself.
 */
#ifndef HAKO_MACHINE_VM_DISKS_H
#define HAKO_MACHINE_VM_DISKS_H

#include <stdbool.h>

struct err;
struct hako_vm;
struct hako_vm_config;

/* The board is chosen. What was opened before a failure is for vm_disks_close(). */
int vm_disks_open(struct hako_vm *vm, const struct hako_vm_config *config, struct err *err);
/* virtio_mmio_look() at each of them. Control thread. */
void vm_disks_look(struct hako_vm *vm, bool dump);
/* Is a request in flight at any of them? Control thread; it asks the I/O thread. */
bool vm_disks_busy(struct hako_vm *vm);
/* The guest is over: the devices come to rest, and the lint can judge all of it. Control thread. */
void vm_disks_end(struct hako_vm *vm);
/* The slots are gone. */
void vm_disks_close(struct hako_vm *vm);

#endif

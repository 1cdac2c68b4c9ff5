/* SPDX-License-Identifier: MIT */
/*
 * The disks of a VM.
 */
#include "machine/vm_disks.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "block/blk.h"
#include "boot/symbols.h"
#include "machine/trace.h"
#include "machine/vm.h"
#include "virtio/blk.h"
#include "virtio/mmio.h"

/*
 * on_error HAKO_ON_ERROR_STOP, on the I/O thread. The driver is not told, so that what it does next
 * does not build on the loss: what is on the disk is as after a power cut.
 */
static void disk_failed(void *arg, const struct virtio_blk_failure *f)
{
	struct vm_disk *d = arg;
	struct hako_vm *vm = d->vm;

	pthread_mutex_lock(&vm->lock);
	if (!vm->disk_error[0] && !vm->quit) /* it may be read from then on */
		snprintf(vm->disk_error, sizeof(vm->disk_error),
			 "disk '%s' (%s): %s of %" PRIu64 " bytes at sector %" PRIu64
			 " failed: %s; the guest was stopped before it was told",
			 d->path, d->name, f->what, f->bytes, f->sector, strerror(-f->code));
	pthread_mutex_unlock(&vm->lock);
	vm_request(vm, VM_DISK_FAILURE);
}

const char *hako_vm_disk_error(const struct hako_vm *vm)
{
	return vm->disk_error;
}

/* ---- Other sizes ---- */

/* On the I/O thread: somebody says that files may have other lengths now. */
static void look_again(struct loop_source *source, uint32_t events)
{
	struct hako_vm *vm = container_of(source, struct hako_vm, refresh_source);

	(void)events;
	notifier_clear(&vm->refresh);
	/* While the lock is held, nobody begins to take the slots away. */
	pthread_mutex_lock(&vm->lock);
	for (size_t i = 0; i < vm->n_disks && !vm->quit; i++) {
		struct vm_disk *d = &vm->disks[i];
		uint64_t before = blk_capacity(d->d.blk);
		int res = virtio_blk_resize(d->d.dev);

		if (res < 0)
			log_msg(&vm->log, LOG_ERROR, d->name, "cannot look at the size of '%s': %s",
				d->path, strerror(-res));
		else if (res > 0)
			log_msg(&vm->log, LOG_INFO, d->name,
				"'%s' has %" PRIu64 " bytes now, %" PRIu64 " before", d->path,
				blk_capacity(d->d.blk), before);
	}
	pthread_mutex_unlock(&vm->lock);
}

void hako_vm_refresh_disks(struct hako_vm *vm)
{
	notifier_set(&vm->refresh);
}

/* ---- Their queues ---- */

void vm_disks_look(struct hako_vm *vm, bool dump)
{
	for (size_t i = 0; i < vm->n_disks; i++)
		if (vm->disks[i].slot)
			virtio_mmio_look(vm->disks[i].slot, dump);
}

struct busy {
	struct loop_task task;
	struct hako_vm *vm;
	sem_t done;
	bool any;
};

static void busy_run(struct loop_task *task)
{
	struct busy *b = container_of(task, struct busy, task);

	for (size_t i = 0; i < b->vm->n_disks; i++)
		b->any |= virtio_blk_busy(b->vm->disks[i].d.dev);
	sem_post(&b->done);
}

bool vm_disks_busy(struct hako_vm *vm)
{
	struct busy b = { .task.run = busy_run, .vm = vm };

	sem_init(&b.done, 0, 0);
	loop_post(vm->io, &b.task);
	while (sem_wait(&b.done) && errno == EINTR)
		;
	sem_destroy(&b.done);
	return b.any;
}

void vm_disks_end(struct hako_vm *vm)
{
	for (size_t i = 0; i < vm->n_disks; i++)
		if (vm->disks[i].slot)
			virtio_mmio_reset(vm->disks[i].slot);
}

/* ---- Life ---- */

static int open_one(struct hako_vm *vm, unsigned i, const struct hako_disk *disk, struct err *err)
{
	struct vm_disk *d = &vm->disks[i];
	const struct disk_dev_config config = {
		.disk = disk,
		.name = d->name,
		/* A queue for each vCPU: they then never wait for each other's ring. */
		.queues = vm->n_cpus,
		.loop = vm->io,
		.log = &vm->log,
		.failed = disk_failed,
		.failed_arg = d,
		.read = &vm->marks[HAKO_EVENT_READ],
		.written = &vm->marks[HAKO_EVENT_WRITE],
	};

	snprintf(d->name, sizeof(d->name), "blk%u", i);
	d->vm = vm;
	d->legacy = disk->transport == HAKO_VIRTIO_MMIO_LEGACY ||
		    (disk->transport == HAKO_VIRTIO_MMIO_AUTO && vm->virtio_legacy);
	d->without = disk_dev_without(disk);
	d->path = strdup(disk->path);
	if (!d->path)
		return err_set(err, -ENOMEM, "no memory for the disk '%s'", disk->path);
	return disk_dev_open(&d->d, &config, err);
}

int vm_disks_open(struct hako_vm *vm, const struct hako_vm_config *config, struct err *err)
{
	int res = notifier_watch(&vm->refresh, vm->io, &vm->refresh_source, look_again, err);

	for (unsigned i = 0; i < config->n_disks && !res; i++)
		res = open_one(vm, i, &config->disks[i], err);
	return res;
}

void vm_disks_close(struct hako_vm *vm)
{
	for (size_t i = 0; i < vm->n_disks; i++) {
		disk_dev_close(&vm->disks[i].d);
		free(vm->disks[i].path);
	}
	notifier_fini(&vm->refresh);
}

/* lint_name_fn */
static void name_pc(void *arg, uint64_t pc, char *text, size_t size)
{
	const struct hako_vm *vm = arg;

	symbols_name(vm->symbols, pc, text, size);
}

int vm_create_slot(struct hako_vm *vm, unsigned i, uint64_t base, struct irq_line irq,
		   struct virtio_mmio **slot, struct err *err)
{
	struct vm_disk *disk = i < vm->n_disks ? &vm->disks[i] : NULL;
	char name[16];
	int res;

	if (disk)
		snprintf(name, sizeof(name), "%s", disk->name);
	else
		snprintf(name, sizeof(name), "slot%u", i);
	const struct virtio_mmio_config config = {
		.name = name,
		.base = base,
		.irq = trace_irq(vm, irq, name),
		.bus = vm->mmio,
		.mem = vm->mem,
		.log = &vm->log,
		.legacy = disk ? disk->legacy : vm->virtio_legacy,
		.without = disk ? disk->without : 0,
		.lint = vm->lint,
		.lint_deep = vm->lint_deep,
		.name_pc = name_pc,
		.name_arg = vm,
		.trace = vm->trace & HAKO_TRACE_VIRTIO,
		.touched = &vm->marks[HAKO_EVENT_VIRTIO],
		.driver_ok = &vm->marks[HAKO_EVENT_DRIVER_OK],
	};

	res = virtio_mmio_create(slot, &config, disk ? disk->d.dev : NULL, err);
	if (!res && disk)
		disk->slot = *slot;
	return res;
}

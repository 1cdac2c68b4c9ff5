/* SPDX-License-Identifier: MIT */
/*
 * Points, steps and stops of guests under KVM: debug.h. The interface: Linux,
 * Documentation/virt/kvm/api.rst, KVM_SET_GUEST_DEBUG.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "engine/kvm/kvm.h"
#include "mem/gmem.h"

void kvm_debug_init(struct kvm_debug *d)
{
	pthread_mutex_init(&d->lock, NULL);
}

void kvm_debug_fini(struct kvm_debug *d)
{
	pthread_mutex_destroy(&d->lock);
}

/* ---- patches ---- */

/*
 * KVM makes caches right for what is loaded before a vCPU runs, or is reset: arm64.c. Later it is
 * up to who writes: the bytes go to memory, for a guest whose MMU is off, and out of the caches of
 * instructions.
 */
static int write_code(struct engine *e, uint64_t pa, const void *bytes, size_t len)
{
	const struct gmem_region *r = gmem_find(e->cfg.mem, pa);
	int res = r ? gmem_write(e->cfg.mem, pa, bytes, len) : -EFAULT;

	if (res)
		return res;
	char *at = (char *)r->host + (pa - r->base);
	kvm_arch_written(at, len);
	__builtin___clear_cache(at, at + len);
	return 0;
}

static bool put_in(struct engine *e, size_t i)
{
	struct kvm_debug *d = &e->debug;
	uint64_t pa = d->points[i].pa;
	size_t len = kvm_arch_brk.len;

	return !gmem_read(e->cfg.mem, pa, d->patches[i].was, len) &&
	       !write_code(e, pa, kvm_arch_brk.bytes, len);
}

/* What the guest has written there meanwhile stays. */
static void take_out(struct engine *e, size_t i)
{
	struct kvm_debug *d = &e->debug;
	uint8_t now[KVM_BRK_MAX];

	if (!gmem_read(e->cfg.mem, d->points[i].pa, now, kvm_arch_brk.len) &&
	    memcmp(now, kvm_arch_brk.bytes, kvm_arch_brk.len) == 0)
		write_code(e, d->points[i].pa, d->patches[i].was, kvm_arch_brk.len);
}

void kvm_debug_reset(struct engine *e)
{
	if (e->debug.n_patches)
		atomic_store(&e->debug.lost, true);
}

/* All is loaded again: they come back before the first vCPU runs. */
static void find_again(struct engine *e)
{
	struct kvm_debug *d = &e->debug;

	if (!atomic_load_explicit(&d->lost, memory_order_acquire))
		return;
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < d->n && d->lost; i++)
		if (d->patches[i].in)
			put_in(e, i);
	atomic_store_explicit(&d->lost, false, memory_order_release);
	pthread_mutex_unlock(&d->lock);
}

const struct debug_point *kvm_debug_patch(struct engine *e, uint64_t va)
{
	const struct kvm_debug *d = &e->debug;

	for (size_t i = 0; i < d->n; i++)
		if (d->patches[i].in && d->points[i].va == va)
			return &d->points[i];
	return NULL;
}

/* ---- points ---- */

/* In pieces that a debug register takes. False: there are too few. */
static bool take_watch(struct kvm_debug *d, size_t point, unsigned limit)
{
	const struct debug_point *p = &d->points[point];
	uint64_t va = p->va, left = p->len;

	while (left) {
		uint8_t len = 8;

		while (va % len || len > left)
			len /= 2;
		if (d->n_watches == limit)
			return false;
		d->watches[d->n_watches++] =
			(struct kvm_hw_point){ va, len, p->access, (uint8_t)point };
		va += len;
		left -= len;
	}
	return true;
}

/*
 * Debug registers for the watchpoints, then for breakpoints that cannot be patches, then for others
 * while there are some.
 */
static int share_out(struct engine *e)
{
	struct kvm_debug *d = &e->debug;
	unsigned breaks, watches;
	bool shared;

	kvm_arch_debug_limits(e, &breaks, &watches, &shared);
	breaks = breaks < KVM_HW_MAX ? breaks : KVM_HW_MAX;
	watches = watches < KVM_HW_MAX ? watches : KVM_HW_MAX;
	for (size_t i = 0; i < d->n; i++) {
		if (d->points[i].access & DEBUG_EXEC)
			continue;
		if (d->points[i].access == DEBUG_READ && !kvm_arch_watches_reads)
			return -ENOTSUP;
		if (!take_watch(d, i, watches))
			return -ENOSPC;
	}
	if (shared)
		breaks -= d->n_watches;
	for (int mapped = 0; mapped < 2; mapped++)
		for (size_t i = 0; i < d->n; i++) {
			const struct debug_point *p = &d->points[i];

			if (!(p->access & DEBUG_EXEC) || p->mapped != mapped)
				continue;
			if (d->n_breaks < breaks)
				d->breaks[d->n_breaks++] =
					(struct kvm_hw_point){ p->va, 1, DEBUG_EXEC, (uint8_t)i };
			else if (mapped && put_in(e, i))
				d->patches[i].in = true, d->n_patches++;
			else
				return -ENOSPC;
		}
	return 0;
}

static void no_points(struct engine *e)
{
	struct kvm_debug *d = &e->debug;

	for (size_t i = 0; i < d->n; i++)
		if (d->patches[i].in)
			take_out(e, i);
	d->n = 0;
	d->n_breaks = d->n_watches = d->n_patches = 0;
	memset(d->patches, 0, sizeof(d->patches));
	d->lost = false;
	d->version++;
}

static int set_points(struct engine *e, const struct debug_point *points, size_t n)
{
	struct kvm_debug *d = &e->debug;
	int res;

	no_points(e);
	if (n > DEBUG_POINTS_MAX)
		return -ENOSPC;
	if (n)
		memcpy(d->points, points, n * sizeof(*points));
	d->n = n;
	res = share_out(e);
	if (res)
		no_points(e);
	return res;
}

/* ---- running ---- */

static void end_step(struct vcpu *v)
{
	if (v->debug.stepping)
		kvm_arch_step_end(v);
	v->debug.step = v->debug.stepping = false;
}

int kvm_debug_enter(struct vcpu *v)
{
	const struct kvm_debug *d = &v->engine->debug;
	struct kvm_debug_vcpu *mine = &v->debug;
	struct kvm_guest_debug arg = { .control = mine->inject };
	int res;

	find_again(v->engine);
	if (mine->step && !mine->stepping)
		kvm_arch_step_begin(v);
	mine->stepping = mine->step;
	if (mine->version == d->version && mine->told_step == mine->step && !mine->inject)
		return 0;
	if (mine->step)
		arg.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
	if (d->n_patches)
		arg.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
	kvm_arch_debug_fill(v->engine, &arg);
	res = kvm_ioctl(v->fd, KVM_SET_GUEST_DEBUG, &arg);
	if (res < 0) {
		log_msg(v->engine->cfg.log, LOG_ERROR, "kvm",
			"CPU %u: KVM does not take what the debugger wants: %s", v->index,
			strerror(-res));
		return res;
	}
	mine->version = d->version;
	mine->told_step = mine->step;
	mine->inject = 0;
	return 0;
}

bool kvm_debug_exit(struct vcpu *v)
{
	struct kvm_debug_vcpu *mine = &v->debug;

	if (!kvm_arch_debug_why(v, &mine->stop))
		return false;
	end_step(v);
	return true;
}

bool kvm_debug_at_patch(struct vcpu *v)
{
	if (!v->engine->debug.n_patches ||
	    !kvm_debug_patch(v->engine, kvm_arch_get(v, kvm_arch_pc)))
		return false;
	v->debug.stop = (struct debug_stop){ .why = DEBUG_BREAKPOINT };
	end_step(v);
	return true;
}

/* ---- time ---- */

static void time_stop(struct engine *e)
{
	if (!e->debug.time_stopped && e->vcpus)
		e->debug.time_stopped = kvm_arch_time_stop(e);
}

static void time_go(struct engine *e)
{
	if (e->debug.time_stopped)
		kvm_arch_time_go(e);
	e->debug.time_stopped = false;
}

/* ---- debug_ops ---- */

static void step(struct vcpu *v, bool on, uint32_t insn)
{
	end_step(v); /* of one that will not be made */
	v->debug.step = on;
	v->debug.insn = insn;
}

static struct debug_stop stopped(struct vcpu *v)
{
	return v->debug.stop;
}

const struct debug_ops kvm_debug_ops = {
	.probe = kvm_arch_debug_probe,
	.writes_memory = true,
	.reg = kvm_arch_reg,
	.reg_get = kvm_arch_reg_get,
	.reg_set = kvm_arch_reg_set,
	.set_points = set_points,
	.write = write_code,
	.time_stop = time_stop,
	.time_go = time_go,
	.step = step,
	.stopped = stopped,
};

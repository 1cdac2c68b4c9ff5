/* SPDX-License-Identifier: MIT */
/*
 * No debugging of guests under KVM, in the place of debug.c: on RISC-V hosts KVM stops at EBREAK,
 * but steps no guest and has no watchpoints.
 */
#include <errno.h>

#include "base/err.h"
#include "engine/kvm/kvm.h"

void kvm_debug_init(struct kvm_debug *d)
{
	(void)d;
}

void kvm_debug_fini(struct kvm_debug *d)
{
	(void)d;
}

void kvm_debug_reset(struct engine *e)
{
	(void)e;
}

int kvm_debug_enter(struct vcpu *v)
{
	(void)v;
	return 0;
}

bool kvm_debug_exit(struct vcpu *v)
{
	(void)v;
	return false;
}

bool kvm_debug_at_patch(struct vcpu *v)
{
	(void)v;
	return false;
}

static int probe(struct engine *e, struct err *err)
{
	(void)e;
	return err_set(err, -ENOTSUP,
		       "KVM on RISC-V hosts does not step guests; use --engine soft");
}

static bool reg(struct engine *e, size_t n, struct debug_reg *out)
{
	(void)e;
	(void)n;
	(void)out;
	return false;
}

static bool reg_get(struct vcpu *v, size_t n, void *val)
{
	(void)v;
	(void)n;
	(void)val;
	return false;
}

const struct debug_ops kvm_debug_ops = { .probe = probe, .reg = reg, .reg_get = reg_get };

/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM where the host's kernel has the interrupt controller, which is all but RISC-V: no
 * interrupt reaches a vCPU but through it. And the vCPUs are no harts.
 */
#include <errno.h>

#include "base/err.h"
#include "engine/kvm/kvm.h"

void kvm_arch_vcpu_irq(struct vcpu *v, enum vcpu_irq irq, bool level)
{
	(void)v;
	(void)irq;
	(void)level;
}

int kvm_arch_vcpu_hart(struct vcpu *v, struct vcpu_hart *hart, struct err *err)
{
	(void)v;
	(void)hart;
	return err_set(err, -ENOTSUP, "KVM on this host has no RISC-V harts");
}

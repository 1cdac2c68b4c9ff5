/* SPDX-License-Identifier: MIT */
/*
 * Firmware calls of arm64 guests: PSCI 1.1 (Arm DEN 0022) over HVC, and what the SMC Calling
 * Convention (DEN 0028) asks of any firmware.
 *
 * Threads: on the calling vCPU's thread.
 */
#include "base/bits.h"
#include "machine/vm.h"

/* Function identifiers: bit 30 set for the 64-bit convention. */
enum {
	SMCCC_VERSION = 0x80000000,
	SMCCC_ARCH_FEATURES = 0x80000001,
	SMCCC_ARCH_WORKAROUND_1 = 0x80008000,
	SMCCC_ARCH_WORKAROUND_2 = 0x80007fff,
	SMCCC_ARCH_WORKAROUND_3 = 0x80003fff,
	PSCI_VERSION = 0x84000000,
	PSCI_CPU_SUSPEND = 0x84000001,
	PSCI_CPU_OFF = 0x84000002,
	PSCI_CPU_ON = 0x84000003,
	PSCI_AFFINITY_INFO = 0x84000004,
	PSCI_MIGRATE_INFO_TYPE = 0x84000006,
	PSCI_SYSTEM_OFF = 0x84000008,
	PSCI_SYSTEM_RESET = 0x84000009,
	PSCI_FEATURES = 0x8400000a,
	PSCI_SYSTEM_RESET2 = 0x84000012,
	CALL_64 = 0x40000000,
};

/* Return values (DEN 0022, 5.2.2) */
enum {
	PSCI_SUCCESS = 0,
	PSCI_NOT_SUPPORTED = -1,
	PSCI_INVALID_PARAMETERS = -2,
	PSCI_ALREADY_ON = -4,
	PSCI_INVALID_ADDRESS = -9,
};

/* The vCPU that an MPIDR names: Aff0 is the index, all other affinities are 0. */
static struct vm_cpu *target(struct hako_vm *vm, uint64_t mpidr)
{
	return mpidr < vm->n_cpus ? &vm->cpus[mpidr] : NULL;
}

static int64_t cpu_on(struct hako_vm *vm, uint64_t mpidr, uint64_t entry, uint64_t context)
{
	struct vm_cpu *cpu = target(vm, mpidr);

	if (!cpu)
		return PSCI_INVALID_PARAMETERS;
	if (entry % 4 || !gmem_find(vm->mem, entry))
		return PSCI_INVALID_ADDRESS;
	const struct cpu_reg regs[] = { { VCPU_REG_PC, entry }, { VCPU_REG_X0, context } };

	return vm_cpu_start(cpu, regs, ARRAY_SIZE(regs)) ? PSCI_SUCCESS : PSCI_ALREADY_ON;
}

static int64_t affinity_info(struct hako_vm *vm, uint64_t mpidr, uint64_t level)
{
	struct vm_cpu *cpu = target(vm, mpidr);

	if (!cpu || level != 0)
		return PSCI_INVALID_PARAMETERS;
	pthread_mutex_lock(&vm->lock);
	int64_t res = cpu->state == CPU_ON ? 0 : 1;
	pthread_mutex_unlock(&vm->lock);
	return res;
}

static int64_t features(uint32_t function)
{
	switch (function) {
	case SMCCC_VERSION:
	case PSCI_VERSION:
	case PSCI_CPU_OFF:
	case PSCI_FEATURES:
	case PSCI_MIGRATE_INFO_TYPE:
	case PSCI_SYSTEM_OFF:
	case PSCI_SYSTEM_RESET:
	case PSCI_CPU_SUSPEND:
	case PSCI_CPU_SUSPEND | CALL_64:
	case PSCI_CPU_ON:
	case PSCI_CPU_ON | CALL_64:
	case PSCI_AFFINITY_INFO:
	case PSCI_AFFINITY_INFO | CALL_64:
	case PSCI_SYSTEM_RESET2:
	case PSCI_SYSTEM_RESET2 | CALL_64: return PSCI_SUCCESS;
	default: return PSCI_NOT_SUPPORTED;
	}
}

/* An interpreter speculates nothing: no CPU needs a workaround (DEN 0028, 7.5 to 7.7). */
static int64_t arch_features(uint32_t function)
{
	enum { UNAFFECTED = 1, NOT_REQUIRED = -2 };

	switch (function) {
	case SMCCC_VERSION:
	case SMCCC_ARCH_FEATURES: return 0;
	case SMCCC_ARCH_WORKAROUND_1:
	case SMCCC_ARCH_WORKAROUND_3: return UNAFFECTED;
	case SMCCC_ARCH_WORKAROUND_2: return NOT_REQUIRED;
	default: return PSCI_NOT_SUPPORTED;
	}
}

void psci_call(struct hako_vm *vm, struct vm_cpu *cpu)
{
	uint32_t function = (uint32_t)cpu_get(cpu, VCPU_REG_X0);
	/* In the 32-bit convention only the lower halves of the arguments count. */
	uint64_t mask = function & CALL_64 ? ~0ULL : 0xffffffff;
	uint64_t arg[3];
	int64_t res;

	for (unsigned i = 0; i < 3; i++)
		arg[i] = cpu_get(cpu, VCPU_REG_X0 + 1 + i) & mask;

	switch (function) {
	case SMCCC_VERSION: res = 0x10001; break;
	case SMCCC_ARCH_FEATURES: res = arch_features((uint32_t)arg[0]); break;
	/* Calling a workaround that is not needed does nothing. */
	case SMCCC_ARCH_WORKAROUND_1:
	case SMCCC_ARCH_WORKAROUND_2:
	case SMCCC_ARCH_WORKAROUND_3: return;
	case PSCI_VERSION: res = 0x10001; break;
	/* A standby state may end at any time: it ends at once. No deeper state exists (5.4.2). */
	case PSCI_CPU_SUSPEND:
	case PSCI_CPU_SUSPEND | CALL_64: res = PSCI_SUCCESS; break;
	case PSCI_CPU_OFF: vm_cpu_stop(cpu); return;
	case PSCI_CPU_ON:
	case PSCI_CPU_ON | CALL_64: res = cpu_on(vm, arg[0], arg[1], arg[2]); break;
	case PSCI_AFFINITY_INFO:
	case PSCI_AFFINITY_INFO | CALL_64: res = affinity_info(vm, arg[0], arg[1]); break;
	case PSCI_MIGRATE_INFO_TYPE: res = 2; break; /* no Trusted OS to migrate */
	case PSCI_SYSTEM_OFF: vm_request(vm, VM_POWEROFF); return;
	case PSCI_SYSTEM_RESET: vm_request(vm, VM_RESET); return;
	case PSCI_SYSTEM_RESET2:
	case PSCI_SYSTEM_RESET2 | CALL_64:
		/* Type 0 is the one that the architecture defines: a warm reset. */
		if (arg[0] == 0) {
			vm_request(vm, VM_RESET);
			return;
		}
		res = PSCI_INVALID_PARAMETERS;
		break;
	case PSCI_FEATURES: res = features((uint32_t)arg[0]); break;
	default: res = PSCI_NOT_SUPPORTED; break;
	}
	cpu_set(cpu, VCPU_REG_X0, (uint64_t)res);
}

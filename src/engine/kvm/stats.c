/* SPDX-License-Identifier: MIT */
/*
 * KVM's own counters of a vCPU (api.rst, "KVM_GET_STATS_FD", since 5.14): a file of a header,
 * descriptors with names, and the numbers, which may be read at any time.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "engine/kvm/kvm.h"

/*
 * Those that tell most, by KVM's names and ours; each host has those of its architecture. Exits are
 * all exits, also those that the kernel deals with.
 */
static const struct {
	const char *kernel, *name;
} known[KVM_STATS_MAX] = {
	[KVM_STAT_EXITS] = { "exits", "kvm_exits" },
	[KVM_STAT_BLOCKING] = { "blocking", NULL }, /* it sleeps, 0 or 1 */
	{ "halt_exits", "kvm_halt_exits" },
	{ "wfi_exit_stat", "kvm_wfi_exits" },
	{ "wfe_exit_stat", "kvm_wfe_exits" },
	{ "irq_exits", "kvm_irq_exits" },
	{ "irq_window_exits", "kvm_irq_window_exits" },
	{ "irq_injections", "kvm_irq_injections" },
	{ "signal_exits", "kvm_signal_exits" },
	{ "hypercalls", "kvm_hypercalls" },
	{ "hvc_exit_stat", "kvm_hvc_exits" },
	{ "ecall_exit_stat", "kvm_ecall_exits" },
	{ "mmio_exit_kernel", "kvm_mmio_in_kernel" },
	{ "insn_emulation", "kvm_insn_emulation" },
	{ "pf_fixed", "kvm_pages_mapped" },
};

static void find(struct kvm_stats *s, const struct kvm_stats_header *h, const uint8_t *descs)
{
	size_t each = sizeof(struct kvm_stats_desc) + h->name_size;

	for (uint32_t i = 0; i < h->num_desc; i++) {
		const struct kvm_stats_desc *d = (const void *)(descs + each * i);

		for (size_t k = 0; k < ARRAY_SIZE(known) && known[k].kernel; k++)
			if (strncmp(d->name, known[k].kernel, h->name_size) == 0)
				s->at[k] = h->data_offset + d->offset;
	}
}

void kvm_stats_open(struct kvm_stats *s, int vcpu)
{
	struct kvm_stats_header h;
	uint8_t *descs;
	size_t size;

	s->fd = kvm_ioctl(vcpu, KVM_GET_STATS_FD, NULL);
	if (s->fd < 0 || pread(s->fd, &h, sizeof(h), 0) != sizeof(h))
		return;
	size = (sizeof(struct kvm_stats_desc) + h.name_size) * h.num_desc;
	descs = malloc(size ? size : 1);
	if (descs && pread(s->fd, descs, size, h.desc_offset) == (ssize_t)size)
		find(s, &h, descs);
	free(descs);
}

void kvm_stats_close(struct kvm_stats *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

bool kvm_stats_get(const struct kvm_stats *s, unsigned which, uint64_t *n)
{
	return s->at[which] && pread(s->fd, n, sizeof(*n), (off_t)s->at[which]) == sizeof(*n);
}

void kvm_stats_say(const struct kvm_stats *s,
		   void (*say)(void *arg, const char *reason, uint64_t n), void *arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		uint64_t n;

		if (known[i].name && kvm_stats_get(s, i, &n))
			say(arg, known[i].name, n);
	}
}

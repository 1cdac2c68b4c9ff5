/* SPDX-License-Identifier: MIT */
/*
 * The lint's rules and findings under their public names.
 */
#include "hako/lint.h"

#include <stdio.h>

#include "machine/vm.h"
#include "virtio/lint.h"
#include "virtio/mmio.h"

static void rule_of(enum lint_id id, struct hako_lint_rule *rule)
{
	const struct lint_rule *r = &lint_rules[id];

	*rule = (struct hako_lint_rule){
		.id = r->id,
		.must = r->must,
		.section = r->section,
		.what = r->what,
		.in_linux = r->in_linux,
		.deep = r->deep,
	};
}

bool hako_lint_rule(size_t n, struct hako_lint_rule *rule)
{
	if (n >= LINT_RULES)
		return false;
	rule_of((enum lint_id)n, rule);
	return true;
}

bool hako_vm_lint_finding(const struct hako_vm *vm, size_t n, struct hako_lint_finding *finding)
{
	for (size_t i = 0; i < vm->n_disks; i++) {
		struct virtio_mmio *slot = vm->disks[i].slot;
		struct lint *lint = slot ? virtio_mmio_lint(slot) : NULL;
		struct lint_finding f;

		for (size_t k = 0; lint_finding(lint, k, &f); k++) {
			if (n--)
				continue;
			*finding = (struct hako_lint_finding){ .number = f.rule,
							       .queue = f.queue,
							       .count = f.count };
			rule_of(f.rule, &finding->rule);
			snprintf(finding->device, sizeof(finding->device), "%s", vm->disks[i].name);
			snprintf(finding->saw, sizeof(finding->saw), "%s", f.saw);
			return true;
		}
	}
	return false;
}

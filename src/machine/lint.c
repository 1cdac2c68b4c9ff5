/* SPDX-License-Identifier: MIT */
/*
 * The lint's rules under their public name.
 */
#include "hako/lint.h"

#include "virtio/lint.h"

bool hako_lint_rule(size_t n, struct hako_lint_rule *rule)
{
	const struct lint_rule *r;

	if (n >= LINT_RULES)
		return false;
	r = &lint_rules[n];
	*rule = (struct hako_lint_rule){
		.id = r->id,
		.must = r->must,
		.section = r->section,
		.what = r->what,
		.in_linux = r->in_linux,
		.deep = r->deep,
	};
	return true;
}

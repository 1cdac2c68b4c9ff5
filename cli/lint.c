/* SPDX-License-Identifier: MIT */
/*
 * hako lint: the rules of virtio that hako watches a guest's drivers by.
 */
#include "hako/lint.h"

#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "say.h"

static const char *const groups[] = {
	NULL,    "status and features", "registers and configuration", "queues", "rings",
	"block", "legacy devices",
};

static void print_rules(void)
{
	struct hako_lint_rule rule;
	char group = 0;

	for (size_t n = 0; hako_lint_rule(n, &rule); n++) {
		if (rule.id[1] != group) {
			printf("%s%s\n", group ? "\n" : "", groups[rule.id[1] - '0']);
			group = rule.id[1];
		}
		printf("  %s  %-6s  %-18s  %s%s\n", rule.id, rule.must ? "MUST" : "SHOULD",
		       rule.section, rule.what, rule.deep ? " (deep)" : "");
		printf("%36sLinux: %s\n", "", rule.in_linux);
	}
}

static int run_lint(const struct command *command, int argc, char **argv)
{
	int status;

	if (command_parse(command, NULL, &argc, argv, &status))
		return status;
	if (argc != 1 || strcmp(argv[0], "list") != 0) {
		say_usage(argc ? "'hako lint' takes only 'list', not '%s'"
			       : "'hako lint' needs to be told what to do: hako lint list%s",
			  argc > 1   ? argv[1]
			  : argc > 0 ? argv[0]
				     : "");
		return EXIT_USAGE;
	}
	print_rules();
	return EXIT_OK;
}

static const struct opt lint_opts[] = { OPT_END };

const struct command command_lint = {
	.name = "lint",
	.summary = "list the rules that virtio drivers are watched by",
	.usage = "hako lint list",
	.about =
		"Lists the rules of virtio 1.2 that 'hako run --lint' watches the guest's drivers\n"
		"by: number, MUST or SHOULD, section, what a driver has to do, and how Linux's "
		"does\n"
		"it. Those marked (deep) are watched with --lint=deep only.",
	.opts = lint_opts,
	.run = run_lint,
};

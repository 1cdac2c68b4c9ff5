/* SPDX-License-Identifier: MIT */
/*
 * hako run --lint-report: what the lint found, as JSON for programs; hako(1) has its form. A file
 * whose name ends in .sarif gets SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format),
 * which code review tools read.
 */
#ifndef HAKO_CLI_LINT_REPORT_H
#define HAKO_CLI_LINT_REPORT_H

#include <stdio.h>

#include "hako/vm.h"

struct lint_report {
	const char *path; /* NULL: none is wanted */
	FILE *file;       /* open since before the run, so that a path of no use is told then */
};

/* 0, or -1 after telling why it cannot be written. */
int lint_report_open(struct lint_report *report);
/* After the run, while the VM is there, and closes it. The same. */
int lint_report_write(struct lint_report *report, const struct hako_vm *vm, const char *outcome);
/* There was no run. */
void lint_report_close(struct lint_report *report);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The rules of virtio that hako watches drivers by, and what a run has found. Strings that are
 * pointed to are constants.
 */
#ifndef HAKO_LINT_H
#define HAKO_LINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hako_lint_rule {
	const char *id;       /* "V101" */
	bool must;            /* MUST, else SHOULD */
	const char *section;  /* of virtio 1.2 */
	const char *what;     /* what a driver has to do */
	const char *in_linux; /* how Linux does it */
	bool deep;            /* watched with lint_deep only */
};

/* Rule number n, from 0, or false when there are no more. Any thread. */
bool hako_lint_rule(size_t n, struct hako_lint_rule *rule);

struct hako_vm;

/* A rule that a driver has broken, at one place. */
struct hako_lint_finding {
	struct hako_lint_rule rule;
	size_t number;   /* of the rule, as hako_lint_rule() has it */
	char device[16]; /* "blk0" */
	int queue;       /* -1: not at a queue */
	uint64_t count;  /* how often */
	char saw[256];   /* what was seen, the first time */
};

/*
 * Between hako_vm_run() and hako_vm_destroy(), by the thread that calls these: finding number n,
 * from 0, disk by disk, in the order in which they were first found. False when there are no more.
 */
bool hako_vm_lint_finding(const struct hako_vm *vm, size_t n, struct hako_lint_finding *finding);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The rules of virtio that hako watches drivers by.
 */
#ifndef HAKO_LINT_H
#define HAKO_LINT_H

#include <stdbool.h>
#include <stddef.h>

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

/* Rule number n, or false when there are no more. The strings stay. */
bool hako_lint_rule(size_t n, struct hako_lint_rule *rule);

#ifdef __cplusplus
}
#endif

#endif

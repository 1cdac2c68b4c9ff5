/* SPDX-License-Identifier: MIT */
/*
 * What this host offers: which engines can run a guest here, and what to do about those that
 * cannot. Any thread may ask. All strings that are pointed to are constants.
 */
#ifndef HAKO_DOCTOR_H
#define HAKO_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hako_engine {
	const char *name; /* as struct hako_vm_config and --engine take it */
	bool available;
	char note[600]; /* what it is, or why it is missing and what to do */
};

/*
 * Fill in up to `max` engines, fastest first, and return how many there are, which may be more than
 * `max`. Probing opens devices
 * and changes nothing.
 */
size_t hako_engines(struct hako_engine *engines, size_t max);

/* Machines that can be built, NULL-terminated. */
const char *const *hako_machines(void);

/* "0.1.0" */
const char *hako_version(void);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What hako says to its user, on standard error, one line each. Lines end in CR LF while the
 * terminal is raw.
 */
#ifndef HAKO_CLI_SAY_H
#define HAKO_CLI_SAY_H

#include <stdbool.h>

#include "hako/vm.h"

/* Exit statuses of every command; `hako run` has more (run.c). */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* For what answers a key: the guest has left the cursor behind a prompt, most likely. */
void say_newline(void);
/* "hako: TEXT" */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same about a mistake in the command line; returns -1. */
int say_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/*
 * The mistakes that follow are at this place, such as a key of a file, which is told with each:
 * "PLACE: TEXT". NULL: in the command line again. Not copied, so it may change meanwhile; at
 * most 1024 bytes.
 */
void say_where(const char *place);

/* A hako_log_fn: what hako itself has to tell. */
void say_log(void *arg, enum hako_log_level level, const char *who, const char *text);
/* How much of it --quiet and some --verbose ask for. */
enum hako_log_level say_level(bool quiet, unsigned verbose);

#endif

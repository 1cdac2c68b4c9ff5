/* SPDX-License-Identifier: MIT */
/*
 * The commands of hako: each takes what follows its name and returns the exit status.
 */
#ifndef HAKO_CLI_COMMANDS_H
#define HAKO_CLI_COMMANDS_H

#include "opt.h"

struct command {
	const char *name;
	const char *summary; /* one line, for the list of commands */
	const char *usage;   /* the lines after "usage:" */
	const char *about;   /* the rest of its help */
	const struct opt *opts;
	int (*run)(const struct command *command, int argc, char **argv);
};

extern const struct command command_run, command_disk, command_lint, command_doctor, command_vhost;

/*
 * Parse as opt_parse() does; on --help, print the command's help. True when the command is done,
 * with *status its exit status.
 */
bool command_parse(const struct command *command, void *target, int *argc, char **argv,
		   int *status);

#endif

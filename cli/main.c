/* SPDX-License-Identifier: MIT */
/*
 * hako: boot Linux from a disk image, on a virtual machine of its own. hako(1).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "hako/doctor.h"
#include "say.h"

static int run_help(const struct command *command, int argc, char **argv);
static int run_version(const struct command *command, int argc, char **argv);

static const struct opt no_opts[] = { OPT_END };

static const struct command command_help = {
	.name = "help",
	.summary = "explain hako or one of its commands",
	.usage = "hako help [COMMAND]",
	.about = "",
	.opts = no_opts,
	.run = run_help,
};

static const struct command command_version = {
	.name = "version",
	.summary = "print the version",
	.usage = "hako version",
	.about = "",
	.opts = no_opts,
	.run = run_version,
};

static const struct command *const commands[] = {
	&command_run,    &command_disk, &command_lint,    &command_vhost,
	&command_doctor, &command_help, &command_version,
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_commands(FILE *out)
{
	fprintf(out, "usage: hako COMMAND [OPTION...]\n\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-14s  %s\n", commands[i]->name, commands[i]->summary);
	fprintf(out, "\nBoot a kernel with a root file system on a disk image:\n\n"
		     "  hako run --kernel Image --initrd initrd.gz --disk root.ext4\n\n"
		     "'hako help COMMAND' explains a command; the manual is hako(1).\n");
}

static const struct command *find_command(const char *name)
{
	const char *names[N_COMMANDS], *near;

	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
		names[i] = commands[i]->name;
	}
	near = nearest(name, names, N_COMMANDS, sizeof(names[0]));
	if (near)
		say_usage("unknown command '%s'; did you mean '%s'?", name, near);
	else
		say_usage("unknown command '%s'; 'hako help' lists them", name);
	return NULL;
}

static void print_help(const struct command *command)
{
	printf("usage: %s\n", command->usage);
	if (*command->about)
		printf("\n%s\n", command->about);
	opt_help(command->opts);
}

bool command_parse(const struct command *command, void *target, int *argc, char **argv, int *status)
{
	bool help;
	int n = opt_parse(command->opts, target, *argc, argv, &help);

	if (n < 0) {
		*status = EXIT_USAGE;
		return true;
	}
	if (help) {
		print_help(command);
		*status = EXIT_OK;
		return true;
	}
	*argc = n;
	return false;
}

static int run_help(const struct command *command, int argc, char **argv)
{
	int status;

	if (command_parse(command, NULL, &argc, argv, &status))
		return status;
	if (argc == 0) {
		print_commands(stdout);
		return EXIT_OK;
	}
	command = find_command(argv[0]);
	if (!command)
		return EXIT_USAGE;
	print_help(command);
	return EXIT_OK;
}

static int run_version(const struct command *command, int argc, char **argv)
{
	int status;

	if (command_parse(command, NULL, &argc, argv, &status))
		return status;
	if (argc > 0) {
		say_usage("'hako version' takes no argument, such as '%s'", argv[0]);
		return EXIT_USAGE;
	}
	printf("hako %s\n", hako_version());
	return EXIT_OK;
}

static int dispatch(int argc, char **argv)
{
	const struct command *command;
	const char *name;

	if (argc < 2) {
		print_commands(stderr);
		return EXIT_USAGE;
	}
	name = argv[1];
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
		name = "version";
	else if (name[0] == '-') {
		say_usage("the command comes before the options, as in 'hako run %s'", name);
		return EXIT_USAGE;
	}
	command = find_command(name);
	return command ? command->run(command, argc - 2, argv + 2) : EXIT_USAGE;
}

/* A file opened later must not become the standard input or output by being the lowest free. */
static int fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

/* Who reads the pipe has seen enough, as head(1) does: nobody wants to be told. */
static bool reader_is_gone(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

int main(int argc, char **argv)
{
	int status;

	if (fill_standard_fds() < 0)
		return EXIT_FAILED;
	status = dispatch(argc, argv);
	if (fflush(stdout) || ferror(stdout)) {
		if (!reader_is_gone())
			say("cannot write to the standard output");
		if (status == EXIT_OK)
			status = EXIT_FAILED;
	}
	return status;
}

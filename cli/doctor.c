/* SPDX-License-Identifier: MIT */
/*
 * hako doctor: what this host offers.
 */
#include "hako/doctor.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "commands.h"
#include "say.h"

enum { ENGINES_MAX = 16 };

static int run_doctor(const struct command *command, int argc, char **argv)
{
	struct hako_engine engines[ENGINES_MAX];
	bool any = false;
	struct utsname host;
	size_t n;
	int status;

	if (command_parse(command, NULL, &argc, argv, &status))
		return status;
	if (argc > 0) {
		say_usage("'hako doctor' takes no argument, such as '%s'", argv[0]);
		return EXIT_USAGE;
	}
	printf("hako %s", hako_version());
	if (uname(&host) == 0)
		printf(" on %s %s", host.sysname, host.machine);
	printf(", %ld CPUs, %.1f GiB of memory\n", sysconf(_SC_NPROCESSORS_ONLN),
	       (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30));

	printf("\nengines, the fastest first:\n");
	n = hako_engines(engines, ENGINES_MAX);
	for (size_t i = 0; i < n && i < ENGINES_MAX; i++) {
		any |= engines[i].available;
		printf("  %-6s %-4s %s\n", engines[i].name, engines[i].available ? "yes" : "no",
		       engines[i].note);
	}
	printf("\nmachines:");
	for (const char *const *m = hako_machines(); *m; m++)
		printf(" %s", *m);
	if (any)
		printf("\n'hako run' uses the first engine that can run the kernel.\n");
	else
		printf("\n'hako run' cannot work here: there is no engine.\n");
	return any ? EXIT_OK : EXIT_FAILED;
}

static const struct opt doctor_opts[] = { OPT_END };

const struct command command_doctor = {
	.name = "doctor",
	.summary = "tell what this host offers, and what to do about what is missing",
	.usage = "hako doctor",
	.about = "Lists the engines that can run a guest's CPUs, and why one cannot be used here.\n"
		 "Changes nothing. Exit status 0: there is an engine that works.",
	.opts = doctor_opts,
	.run = run_doctor,
};

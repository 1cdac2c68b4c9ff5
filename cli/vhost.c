/* SPDX-License-Identifier: MIT */
/*
 * hako vhost-user-blk: serve a disk image to other virtual machine monitors.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "disk_opt.h"
#include "hako/vhost.h"
#include "say.h"
#include "tty.h"

struct serve {
	struct hako_vhost_blk_config config;
	char *disk_text; /* what the disk's strings point into; NULL: none was given */
	unsigned queues;
	bool quiet;
	unsigned verbose;
};

/* The server that signals are for. */
static struct hako_vhost_blk *_Atomic serving;

static void stop_serving(void)
{
	struct hako_vhost_blk *server = atomic_load(&serving);

	if (server)
		hako_vhost_blk_stop(server);
}

static void look_again(void)
{
	struct hako_vhost_blk *server = atomic_load(&serving);

	if (server)
		hako_vhost_blk_resize(server);
}

/* A front end's memory, or a fault of ours: then the signal ends the process, as it would have. */
static void on_bus_error(int signo, siginfo_t *info, void *context)
{
	struct hako_vhost_blk *server = atomic_load(&serving);

	(void)context;
	if (server && hako_vhost_blk_fault(server, info->si_addr))
		return;
	signal(signo, SIG_DFL);
	raise(signo);
}

static void catch_bus_errors(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_bus_error;
	action.sa_flags = SA_SIGINFO;
	sigfillset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}

/* ---- Options ---- */

static int set_disk(void *target, const char *text)
{
	struct serve *serve = target;

	return disk_opt_parse(text, &serve->config.disk, &serve->disk_text);
}

#define AT(field) .off = offsetof(struct serve, field)

static const struct opt serve_opts[] = {
	{ .group = "What is served",
	  .name = "socket",
	  .letter = 's',
	  .arg = "PATH",
	  .help = "Unix socket that front ends connect to; it is made, and\n"
		  "removed at the end; needed",
	  .kind = OPT_STRING,
	  AT(config.socket) },
	{ .name = "disk",
	  .letter = 'd',
	  .arg = DISK_OPT_ARG,
	  .help = "raw image or block device; needed\n" DISK_OPT_HELP,
	  .kind = OPT_CALL,
	  .set = set_disk },
	{ .name = "queues",
	  .arg = "N",
	  .help = "queues that a front end may use, 1 to 64; default 16",
	  .kind = OPT_NUMBER,
	  AT(queues) },
	{ .group = "Run",
	  .name = "once",
	  .help = "end when the first front end has gone",
	  .kind = OPT_FLAG,
	  AT(config.once) },
	{ .name = "quiet",
	  .letter = 'q',
	  .help = "say nothing but errors",
	  .kind = OPT_FLAG,
	  AT(quiet) },
	{ .name = "verbose",
	  .letter = 'v',
	  .help = "say more; twice, even more",
	  .kind = OPT_COUNT,
	  AT(verbose) },
	OPT_END,
};

/* ---- The server ---- */

static int serve(struct serve *s)
{
	struct hako_vhost_blk_config *config = &s->config;
	struct hako_err err = { 0 };
	struct hako_vhost_blk *server;
	int r;

	config->log = say_log;
	config->log_level = say_level(s->quiet, s->verbose);
	if (hako_vhost_blk_create(&server, config, &err) < 0) {
		say("%s", err.msg);
		return err.code == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
	}
	atomic_store(&serving, server);
	tty_signals(stop_serving, look_again, NULL);
	catch_bus_errors();
	if (!s->quiet)
		say("'%s' is served at '%s'", config->disk.path, config->socket);
	r = hako_vhost_blk_run(server, &err);
	atomic_store(&serving, NULL);
	hako_vhost_blk_destroy(server);
	if (r < 0) {
		say("%s", err.msg);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static int run_vhost(const struct command *command, int argc, char **argv)
{
	struct serve s = { 0 };
	int status = EXIT_USAGE;

	if (!command_parse(command, &s, &argc, argv, &status)) {
		struct hako_disk *disk = &s.config.disk;

		status = EXIT_USAGE;
		if (argc > 0)
			say_usage("unexpected argument '%s'; did you mean --disk %s?", argv[0],
				  argv[0]);
		else if (!s.disk_text)
			say_usage("there is no disk to serve; name its image with --disk FILE");
		else if (!s.config.socket)
			say_usage("there is no socket to serve it at; name one with --socket PATH");
		else if (s.queues && disk->queues && s.queues != disk->queues)
			say_usage("--queues %u and queues=%u of the disk are not the same",
				  s.queues, disk->queues);
		else {
			disk->queues = s.queues ? s.queues : disk->queues;
			status = serve(&s);
		}
	}
	free(s.disk_text);
	return status;
}

const struct command command_vhost = {
	.name = "vhost-user-blk",
	.summary = "serve a disk to QEMU and others",
	.usage = "hako vhost-user-blk --socket PATH --disk FILE[,OPTION...] [OPTION...]",
	.about = "Serves a disk image to the guest of another virtual machine monitor, over the\n"
		 "vhost-user protocol. With QEMU, whose guest's memory must be shared:\n\n"
		 "  -object memory-backend-memfd,id=mem,size=1G,share=on -m 1G\n"
		 "  -machine ...,memory-backend=mem\n"
		 "  -chardev socket,id=disk,path=PATH,reconnect=1\n"
		 "  -device vhost-user-blk-pci,chardev=disk\n\n"
		 "One front end is served at a time, and the next when it has gone. SIGHUP looks\n"
		 "whether the image has another length now; SIGTERM ends.\n\n"
		 "Exit status: 0 it was stopped, or served --once; 1 it failed; 2 wrong usage.",
	.opts = serve_opts,
	.run = run_vhost,
};

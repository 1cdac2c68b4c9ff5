/* SPDX-License-Identifier: MIT */
/*
 * --disk FILE[,OPTION...]: a disk, as text. Every command that has disks takes them this way.
 */
#ifndef HAKO_CLI_DISK_OPT_H
#define HAKO_CLI_DISK_OPT_H

#include <stdbool.h>

#include "hako/vm.h"

/* For a table of options: how --disk's value is called, and what it may be. */
#define DISK_OPT_ARG "FILE[,OPTION...]"
#define DISK_OPT_HELP                                         \
	"Options: ro (read-only), serial=TEXT, format=raw,\n" \
	"cache=writeback|writethrough|none|unsafe,\n"         \
	"aio=auto|io_uring|threads, on-error=report|stop,\n"  \
	"iops=N, bps=SIZE, burst=SECONDS, queues=N,\n"        \
	"transport=auto|modern|legacy, block-size=BYTES,\n"   \
	"packed=on|off, event-idx=on|off, indirect=on|off,\n" \
	"root, partuuid=UUID, record=FILE.\n"                 \
	"A comma in FILE or TEXT is written ',,'"

/*
 * Describe a disk: *disk has what `text` says, and zeros, which are the defaults. Its strings are
 * in *keep, on the heap, which the caller frees when the disk is of no use any more, also after a
 * failure. 0, or -1 after telling why not.
 */
int disk_opt_parse(const char *text, struct hako_disk *disk, char **keep);

/*
 * One option of it: `name`, and `value` or NULL, which lives as long as the disk. For those who
 * have them apart. 0, or -1 after telling why not.
 */
int disk_opt_set(struct hako_disk *disk, const char *name, const char *value);

/* The same for those who have true and false: what is on or off, and what is given or not. */
int disk_opt_set_bool(struct hako_disk *disk, const char *name, bool value);

#endif

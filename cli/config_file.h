/* SPDX-License-Identifier: MIT */
/*
 * A VM from a file: the JSON that Firecracker and ToyVMM take with their command lines.
 *
 *	{ "boot-source": { "kernel_image_path": "Image", "boot_args": "console=ttyAMA0" },
 *	  "drives": [ { "drive_id": "root", "path_on_host": "root.ext4",
 *	                "is_root_device": true, "is_read_only": false,
 *	                "hako": { "cache": "none" } } ],
 *	  "machine-config": { "vcpu_count": 2, "mem_size_mib": 1024 },
 *	  "hako": { "lint": "strict" } }
 *
 * Every key of theirs is honoured, or ignored with a note where the guest can do without, or
 * refused with a sentence; what is a key of nobody is refused too. What only hako has is in "hako":
 * options of the command by their names, and for a drive those of --disk. Null is as if the key
 * were not there. Paths are relative to the working directory, as there.
 *
 * Key names: Firecracker's API description, src/firecracker/swagger/firecracker.yaml, and its
 * struct VmmConfig, src/vmm/src/resources.rs; ToyVMM's src/vmm/src/vmm_config/.
 */
#ifndef HAKO_CLI_CONFIG_FILE_H
#define HAKO_CLI_CONFIG_FILE_H

#include <stddef.h>

#include "hako/vm.h"
#include "opt.h"

struct config_file;

/* What is filled in. */
struct config_file_target {
	struct hako_vm_config *config; /* with config->disks = disks */
	struct hako_disk *disks;       /* [HAKO_DISKS_MAX]; those of the file are added */
	const struct opt *opts;        /* hako's own settings */
	void *opts_target;
};

/*
 * Load the file, or `text`, which is called `name`. 0, or -1 after telling in one line what is
 * wrong and where; what was set until then stays. Strings in the target live until
 * config_file_free(*file), which is due after a failure too.
 */
int config_file_load(struct config_file **file, const char *path,
		     const struct config_file_target *target);
int config_file_parse(struct config_file **file, const char *name, const char *text, size_t size,
		      const struct config_file_target *target);

/* Say what was ignored, a line each. */
void config_file_say_notes(const struct config_file *file);

/* NULL is allowed. */
void config_file_free(struct config_file *file);

#endif

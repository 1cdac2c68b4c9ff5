/* SPDX-License-Identifier: MIT */
/*
 * What follows from a VM's configuration.
 */
#ifndef HAKO_MACHINE_CONFIG_H
#define HAKO_MACHINE_CONFIG_H

#include "boot/kernel.h"

struct err;
struct hako_vm_config;

/* What the machine's kernel may be for: a set of enum kernel_arch. The name has been checked. */
unsigned config_arch(const struct hako_vm_config *config);

/* What the machine for a kernel of this architecture is called. */
const char *config_machine_name(enum kernel_arch arch);
/* Is the firmware all that runs? */
bool config_firmware_alone(const struct hako_vm_config *config);

/* The command line of a kernel for one of `arch`; *out is the caller's to free. */
int config_cmdline(const struct hako_vm_config *config, unsigned arch, char **out, struct err *err);

#endif

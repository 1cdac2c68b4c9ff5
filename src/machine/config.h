/* SPDX-License-Identifier: MIT */
/*
 * What follows from a VM's configuration.
 */
#ifndef HAKO_MACHINE_CONFIG_H
#define HAKO_MACHINE_CONFIG_H

struct err;
struct hako_vm_config;

/* The kernel command line; *out is the caller's to free. */
int config_cmdline(const struct hako_vm_config *config, char **out, struct err *err);

#endif

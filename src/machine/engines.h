/* SPDX-License-Identifier: MIT */
/*
 * The engines that there are, and which of them runs a guest. Where the VM is built.
 */
#ifndef HAKO_MACHINE_ENGINES_H
#define HAKO_MACHINE_ENGINES_H

#include "engine/engine.h"

struct err;

/*
 * Create the engine `name`, or with NULL or "auto" the fastest that can run such guests on this
 * host, with machine_mode those that begin in RISC-V's M-mode. None is probed before: KVM would
 * make a VM for that, and throw it away, which takes longer than all else before a guest begins.
 * Says in the log which it is, and why it is not a faster one. A negative errno with a sentence
 * when there is none; *engine is then as it was.
 */
int engines_create(const struct engine_ops **ops, struct engine **engine, const char *name,
		   bool machine_mode, const struct engine_config *config, struct err *err);

/* 0 when there is such an engine; NULL and "auto" are good. Whether it runs here is not asked: to
 * probe is dear, KVM makes a VM for it. */
int engines_check(const char *name, struct err *err);

#endif

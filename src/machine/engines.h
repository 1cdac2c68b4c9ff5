/* SPDX-License-Identifier: MIT */
/*
 * The engines that there are, and which of them runs a guest.
 */
#ifndef HAKO_MACHINE_ENGINES_H
#define HAKO_MACHINE_ENGINES_H

#include "engine/engine.h"

struct err;
struct log;

/*
 * The engine `name`, or with NULL or "auto" the fastest that can run guests of `arch` on this host,
 * with machine_mode those that begin in RISC-V's M-mode.
 * Says in the log which it is, and why it is not a faster one. -ENODEV or -ENOTSUP with a sentence
 * when there is none.
 */
int engines_choose(const struct engine_ops **ops, const char *name, enum guest_arch arch,
		   bool machine_mode, struct log *log, struct err *err);

/* 0 when there is such an engine; NULL and "auto" are good. Whether it runs here is not asked: to
 * probe is dear, KVM makes a VM for it. */
int engines_check(const char *name, struct err *err);

/* "arm64", ... */
const char *guest_arch_name(enum guest_arch arch);

#endif

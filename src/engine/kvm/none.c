/* SPDX-License-Identifier: MIT */
/*
 * The engine KVM on a host for which there is none: it says so.
 */
#include <errno.h>

#include "base/err.h"
#include "engine/engine.h"

static int none_probe(enum guest_arch arch, struct err *err)
{
	(void)arch;
	return err_set(err, -ENOTSUP,
		       "this build of hako has no KVM engine for the host's CPU; use soft");
}

static int none_create(struct engine **engine, const struct engine_config *config, struct err *err)
{
	(void)engine;
	return none_probe(config->arch, err);
}

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.probe = none_probe,
	.create = none_create,
};

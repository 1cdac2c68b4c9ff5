/* SPDX-License-Identifier: MIT */
/*
 * The engines, what they can do on this host, and the choice of one.
 */
#include "machine/engines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "hako/doctor.h"

/* Fastest first. */
static const struct {
	const struct engine_ops *ops;
	const char *about;
} engines[] = {
	{ &engine_kvm, "the host's own CPU, by KVM" },
	{ &engine_soft, "hako's own CPU in software" },
};

static const char *arch_name(enum guest_arch arch)
{
	static const char *const names[GUEST_N_ARCHS] = {
		[GUEST_A64] = "arm64",
		[GUEST_RV32] = "riscv32",
		[GUEST_RV64] = "riscv64",
		[GUEST_X86_64] = "x86-64",
	};

	return names[arch];
}

/*
 * Which guests does the engine run here? Their names, or why none: what is wrong with this host
 * tells more than what the engine never does.
 */
static bool probe_all(const struct engine_ops *ops, char *names, size_t size, struct err *why)
{
	size_t len = 0;

	for (enum guest_arch arch = 0; arch < GUEST_N_ARCHS; arch++) {
		struct err err = ERR_INIT;

		if (ops->probe(arch, &err) == 0)
			len += (size_t)snprintf(names + len, size - len, "%s%s", len ? ", " : "",
						arch_name(arch));
		else if (!why->code || why->code == -ENOTSUP)
			*why = err;
	}
	return len > 0;
}

static const char *slow_here(const struct engine_ops *ops)
{
	return ops->slow ? ops->slow() : NULL;
}

size_t hako_engines(struct hako_engine *out, size_t max)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines) && i < max; i++) {
		struct err why = ERR_INIT;
		char names[64];

		out[i].name = engines[i].ops->name;
		out[i].available = probe_all(engines[i].ops, names, sizeof(names), &why);
		const char *slow = out[i].available ? slow_here(engines[i].ops) : NULL;
		snprintf(out[i].note, sizeof(out[i].note), "%s: %s%s%s%s", engines[i].about,
			 out[i].available ? names : why.msg, out[i].available ? " guests" : "",
			 slow ? "; " : "", slow ? slow : "");
	}
	return ARRAY_SIZE(engines);
}

static bool is_auto(const char *name)
{
	return !name || strcmp(name, "auto") == 0;
}

static const struct engine_ops *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (strcmp(name, engines[i].ops->name) == 0)
			return engines[i].ops;
	return NULL;
}

int engines_check(const char *name, struct err *err)
{
	if (is_auto(name) || find(name))
		return 0;
	return err_set(err, -EINVAL, "there is no engine '%s'; ask 'hako doctor' which there are",
		       name);
}

/* What brings firmware of its own has no mode for another's. */
static int can_run(const struct engine_ops *ops, enum guest_arch arch, bool machine_mode,
		   struct err *err)
{
	int res = ops->probe(arch, err);

	if (res || !machine_mode || !ops->starts_cpus)
		return res;
	return err_set(err, -ENOTSUP,
		       "with --firmware harts begin in M-mode, which only the software CPU has");
}

/* The engine, if it runs such a guest here. */
static int create(const struct engine_ops *ops, const struct engine_config *config,
		  bool machine_mode, struct engine **engine, struct err *err)
{
	if (machine_mode && ops->starts_cpus)
		return can_run(ops, config->arch, machine_mode, err);
	return ops->create(engine, config, err);
}

int engines_create(const struct engine_ops **ops, struct engine **engine, const char *name,
		   bool machine_mode, const struct engine_config *config, struct err *err)
{
	const char *arch = arch_name(config->arch);
	struct err first = ERR_INIT;
	int res;

	if (!is_auto(name)) {
		struct err why = ERR_INIT;
		const char *other = NULL;

		*ops = find(name);
		res = *ops ? create(*ops, config, machine_mode, engine, &why) : -EINVAL;
		if (!res) {
			log_msg(config->log, LOG_INFO, "engine", "%s runs the CPUs, as asked for",
				name);
			return 0;
		}
		for (size_t i = 0; i < ARRAY_SIZE(engines) && !other; i++)
			if (engines[i].ops != *ops &&
			    can_run(engines[i].ops, config->arch, machine_mode, NULL) == 0)
				other = engines[i].ops->name;
		return err_set(err, res,
			       "the engine '%s' cannot run this kernel, which is for %s: %s%s%s%s",
			       name, arch, why.msg, other ? "; the engine '" : "",
			       other ? other : "", other ? "' can" : "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		struct err why = ERR_INIT;

		if (create(engines[i].ops, config, machine_mode, engine, &why) == 0) {
			const char *slow = slow_here(engines[i].ops);
			const char *why_slow = slow ? slow : first.msg;
			/* It is worth a line that it could be much faster, and what is missing. */
			bool warn = slow || (first.code && first.code != -ENOTSUP);

			*ops = engines[i].ops;
			log_msg(config->log, warn ? LOG_WARN : LOG_INFO, "engine",
				"%s runs the CPUs%s%s%s", (*ops)->name, *why_slow ? " (" : "",
				why_slow, *why_slow ? ")" : "");
			return 0;
		}
		if (!first.code)
			first = why;
	}
	return err_set(err, -ENODEV, "no engine here can run the kernel, which is for %s: %s", arch,
		       first.msg);
}

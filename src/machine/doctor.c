/* SPDX-License-Identifier: MIT */
/*
 * What this version of hako has. Its engines are in engines.c.
 */
#include "hako/doctor.h"

const char *const *hako_machines(void)
{
	static const char *const machines[] = { "arm64", "riscv64", "riscv32", "x86", NULL };

	return machines;
}

const char *hako_version(void)
{
	return HAKO_VERSION;
}

/* SPDX-License-Identifier: MIT */
/*
 * Where the public API meets the house: the same values under their public and their inner names.
 */
#ifndef HAKO_MACHINE_PUBLIC_H
#define HAKO_MACHINE_PUBLIC_H

#include <stddef.h>

#include "base/err.h"
#include "base/log.h"
#include "hako/err.h"
#include "hako/vm.h"
#include "virtio/lint.h"

_Static_assert(sizeof(struct hako_err) == sizeof(struct err) &&
		       offsetof(struct hako_err, code) == offsetof(struct err, code) &&
		       offsetof(struct hako_err, msg) == offsetof(struct err, msg),
	       "struct hako_err is struct err under its public name");
_Static_assert((int)HAKO_LOG_ERROR == (int)LOG_ERROR && (int)HAKO_LOG_WARN == (int)LOG_WARN &&
		       (int)HAKO_LOG_INFO == (int)LOG_INFO && (int)HAKO_LOG_DEBUG == (int)LOG_DEBUG,
	       "enum hako_log_level is enum log_level under its public name");

_Static_assert((int)HAKO_LINT_OFF == (int)LINT_OFF && (int)HAKO_LINT_WARN == (int)LINT_WARN &&
		       (int)HAKO_LINT_STRICT == (int)LINT_STRICT,
	       "enum hako_lint is enum lint_level under its public name");

static inline struct err *err_of(struct hako_err *err)
{
	return (struct err *)(void *)err;
}

#endif

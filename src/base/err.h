/* SPDX-License-Identifier: MIT */
/*
 * Errors.
 *
 * Every function that can fail returns 0 or a negative errno. Functions that set something up also
 * take a `struct err` and leave in it one sentence that a user can act on: what was being done,
 * with which file or value, why it failed, what to try. The first failure wins, so that cleaning up
 * after it cannot hide it.
 *
 * Threads: a struct err belongs to the caller; it is never shared. It owns nothing and needs no
 * teardown.
 */
#ifndef HAKO_BASE_ERR_H
#define HAKO_BASE_ERR_H

struct err {
	int code;      /* 0, or the negative errno of the first failure */
	char msg[512]; /* the sentence, without a final newline; cut off if longer */
};

#define ERR_INIT                     \
	{                            \
		.code = 0, .msg = "" \
	}

/*
 * Record a failure: `code` is a negative errno, the rest a printf format. Keeps an earlier failure.
 * `e` may be NULL for callers that want only the code. Returns `code`, so that callers can write
 * `return err_set(e, -EINVAL, "...")`.
 */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Errors of the public functions.
 *
 * A function that can fail returns 0 or a negative errno, and leaves in its `struct hako_err` one
 * sentence that a user can act on: what was being done, with which file or value, why it failed and
 * what to try. Zero-initialise it. The first failure wins, so an error in use must be cleared
 * before it is used again. Every `err` parameter may be NULL. It is the caller's and owns nothing;
 * until the function has returned, other threads of the library may write it.
 */
#ifndef HAKO_ERR_H
#define HAKO_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

struct hako_err {
	int code;      /* 0, or the negative errno of the first failure */
	char msg[512]; /* the sentence, without a final newline */
};

#ifdef __cplusplus
}
#endif

#endif

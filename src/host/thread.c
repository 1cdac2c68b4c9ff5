/* SPDX-License-Identifier: MIT */
/*
 * Threads with a name and without signals.
 */
#include "host/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"

enum { THREAD_NAME_MAX = 16 }; /* pthread_setname_np(3), with the final zero */

/* What a thread's own fault raises: blocked, it would kill without a word to a handler. */
static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };

int thread_create(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg,
		  struct err *err)
{
	char cut[THREAD_NAME_MAX];
	sigset_t block, old;
	int code;

	sigfillset(&block);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&block, faults[i]);

	/* A new thread inherits the mask, so there is no moment in which it takes a signal. */
	pthread_sigmask(SIG_SETMASK, &block, &old);
	code = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (code)
		return err_set(err, -code, "cannot start the thread '%s': %s", name,
			       strerror(code));

	snprintf(cut, sizeof(cut), "%s", name);
	pthread_setname_np(*thread, cut); /* for ps and gdb only: failing is no failure */
	return 0;
}

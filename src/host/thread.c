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

/*
 * No call chain of ours takes a tenth of it. With the 8 MiB that are common, a host that gives huge
 * pages unasked would give one to most stacks, 2 MiB for a few KiB; so a stack is less than that.
 */
enum { THREAD_STACK_SIZE = 512 << 10 };

/* What a thread's own fault raises: blocked, it would kill without a word to a handler. */
static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };

int thread_create(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg,
		  struct err *err)
{
	char cut[THREAD_NAME_MAX];
	sigset_t block, old;
	pthread_attr_t attr;
	int code;

	sigfillset(&block);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&block, faults[i]);

	code = pthread_attr_init(&attr);
	if (!code)
		code = pthread_attr_setstacksize(&attr, THREAD_STACK_SIZE);
	if (!code) {
		/* A new thread inherits the mask, so there is no moment in which it takes a
		 * signal. */
		pthread_sigmask(SIG_SETMASK, &block, &old);
		code = pthread_create(thread, &attr, run, arg);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		pthread_attr_destroy(&attr);
	}
	if (code)
		return err_set(err, -code, "cannot start the thread '%s': %s", name,
			       strerror(code));

	snprintf(cut, sizeof(cut), "%s", name);
	pthread_setname_np(*thread, cut); /* for ps and gdb only: failing is no failure */
	return 0;
}

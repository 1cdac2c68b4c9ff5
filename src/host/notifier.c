/* SPDX-License-Identifier: MIT */
/*
 * Notifier on Linux: one eventfd(2). Its counter is the wake-up; reading takes it back to zero.
 */
#include "host/notifier.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"

int notifier_init(struct notifier *n, struct err *err)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	n->rfd = n->wfd = fd;
	if (fd < 0) {
		int code = -errno;

		return err_set(err, code, "cannot create an eventfd: %s%s", strerror(-code),
			       code == -EMFILE ? "; raise the limit of open files (ulimit -n)"
					       : "");
	}
	return 0;
}

int notifier_watch(struct notifier *n, struct loop *loop, struct loop_source *source,
		   void (*ready)(struct loop_source *source, uint32_t events), struct err *err)
{
	int code = notifier_init(n, err);

	if (code)
		return code;
	*source = (struct loop_source){ .fd = n->rfd, .events = LOOP_IN, .ready = ready };
	code = loop_add(loop, source);
	if (code)
		err_set(err, code, "the event loop takes no eventfd: %s", strerror(-code));
	return code;
}

void notifier_fini(struct notifier *n)
{
	if (n->rfd >= 0)
		close(n->rfd);
	n->rfd = n->wfd = -1;
}

void notifier_set(struct notifier *n)
{
	const uint64_t one = 1;
	int saved = errno; /* a signal handler must leave it alone */

	/* EAGAIN: the counter is full, hence not zero, hence set. */
	while (write(n->wfd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	errno = saved;
}

uint64_t notifier_clear(struct notifier *n)
{
	uint64_t count;
	ssize_t got;

	do {
		got = read(n->rfd, &count, sizeof(count));
	} while (got < 0 && errno == EINTR);
	return got == sizeof(count) ? count : 0;
}

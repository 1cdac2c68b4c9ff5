/* SPDX-License-Identifier: MIT */
/*
 * Random bytes of the host.
 */
#include "boot/random.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"

int random_bytes(void *dst, size_t len, struct err *err)
{
	ssize_t n;

	/* Up to 256 bytes come whole or not at all, getrandom(2). */
	do {
		n = getrandom(dst, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(err, -errno, "cannot get random bytes for the guest: %s",
			       strerror(errno));
	return 0;
}

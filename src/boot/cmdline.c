/* SPDX-License-Identifier: MIT */
/*
 * The kernel command line.
 */
#include "boot/cmdline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

int cmdline_make(char **out, const struct cmdline_config *c, struct err *err)
{
	const char *append = c->append && *c->append ? c->append : NULL;
	const bool add_root = c->root && (!c->base || c->root_always);
	size_t len;
	char *line;
	int n;

	*out = NULL;
	/*
	 * Of two root= the kernel takes the last. The rest is from kernel-parameters.txt. Tests of
	 * the kernel's own ciphers, which distributions turn on, are half of a boot:
	 * "cryptomgr.notests" is for machines that live for a short time. After a panic Linux would
	 * spin for ever; when a reset ends the run, let it reset at once, "panic=-1".
	 */
	n = asprintf(&line, "%s%s%s%s%s%s%s%s%s",
		     c->base ? c->base : "console=", c->base ? "" : c->console,
		     add_root ? " root=" : "", add_root ? c->root : "",
		     !add_root          ? ""
		     : c->root_readonly ? " ro"
					: " rw",
		     c->base ? "" : " cryptomgr.notests",
		     !c->base && c->no_reboot ? " panic=-1" : "", append ? " " : "",
		     append ? append : "");
	if (n < 0)
		return err_set(err, -ENOMEM, "cannot make the command line: out of memory");
	len = (size_t)n;
	if (len >= c->size) {
		free(line);
		return err_set(
			err, -E2BIG,
			"the kernel command line has %zu characters, and the kernel takes at "
			"most %zu; shorten it",
			len, c->size - 1);
	}
	*out = line;
	return 0;
}

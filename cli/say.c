/* SPDX-License-Identifier: MIT */
/*
 * Lines on standard error.
 */
#include "say.h"

#include <stdarg.h>
#include <stdio.h>

#include "tty.h"

static void say_line(const char *fmt, va_list args)
{
	char text[1024];

	/* One write, so that lines of several programs do not mix. */
	vsnprintf(text, sizeof(text), fmt, args);
	fprintf(stderr, "hako: %s%s", text, tty_is_raw() ? "\r\n" : "\n");
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_line(fmt, args);
	va_end(args);
}

int say_usage(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_line(fmt, args);
	va_end(args);
	return -1;
}

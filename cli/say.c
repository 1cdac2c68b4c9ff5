/* SPDX-License-Identifier: MIT */
/*
 * Lines on standard error.
 */
#include "say.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "tty.h"

static const char *where;

void say_where(const char *place)
{
	where = place;
}

static void say_line(const char *place, const char *fmt, va_list args)
{
	char text[1536];
	int n = snprintf(text, sizeof(text), "%s%s", place ? place : "", place ? ": " : "");

	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, args);
	/* Names come from files and guests: they must not move the cursor, or make lines. */
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	/* One write, so that lines of several programs do not mix. */
	fprintf(stderr, "hako: %s%s", text, tty_is_raw() ? "\r\n" : "\n");
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_line(NULL, fmt, args);
	va_end(args);
}

void say_newline(void)
{
	if (isatty(STDERR_FILENO))
		fputs(tty_is_raw() ? "\r\n" : "\n", stderr);
}

int say_usage(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_line(where, fmt, args);
	va_end(args);
	return -1;
}

void say_log(void *arg, enum hako_log_level level, const char *who, const char *text)
{
	(void)arg;
	say("%s%s: %s", level == HAKO_LOG_ERROR ? "error: " : "", who, text);
}

enum hako_log_level say_level(bool quiet, unsigned verbose)
{
	if (quiet)
		return HAKO_LOG_ERROR;
	return verbose == 0 ? HAKO_LOG_WARN : verbose == 1 ? HAKO_LOG_INFO : HAKO_LOG_DEBUG;
}

/* SPDX-License-Identifier: MIT */
/*
 * Log messages: format, keep them harmless, hand them to the sink one at a time.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/ns.h"

enum { LOG_TEXT_MAX = 1024 }; /* longer messages are cut */

static void to_stderr(void *arg, enum log_level level, const char *who, const char *text)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "hako: %s: %s\n", who, text);
}

void log_init(struct log *log, enum log_level level, log_sink *sink, void *arg)
{
	log->level = level;
	log->sink = sink ? sink : to_stderr;
	log->arg = arg;
	pthread_mutex_init(&log->lock, NULL);
}

void log_fini(struct log *log)
{
	pthread_mutex_destroy(&log->lock);
}

static bool wanted(const struct log *log, enum log_level level)
{
	return log && level <= log->level;
}

/*
 * A message may quote what a guest or a file name says: control bytes are shown as '?', so that
 * one message stays one line and none can drive the terminal that shows it.
 */
static void make_printable(char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f)
			*text = '?';
	}
}

/* The log's lock is held. */
static void say(struct log *log, enum log_level level, const char *who, char *text)
{
	make_printable(text);
	log->sink(log->arg, level, who, text);
}

void log_msg(struct log *log, enum log_level level, const char *who, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX];
	va_list ap;

	if (!wanted(log, level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&log->lock);
	say(log, level, who, text);
	pthread_mutex_unlock(&log->lock);
}

/* May this message be said? If so, *held is how many were not since the last one that was. */
static bool limit_pass(struct log_limit *limit, uint64_t now, unsigned *held)
{
	if (now - limit->window_ns >= LOG_LIMIT_NS) {
		limit->window_ns = now;
		limit->said = 0;
	}
	if (limit->said >= LOG_LIMIT_BURST) {
		limit->held++;
		return false;
	}
	limit->said++;
	*held = limit->held;
	limit->held = 0;
	return true;
}

void log_guest(struct log *log, struct log_limit *limit, enum log_level level, const char *who,
	       const char *fmt, ...)
{
	/* Room beyond the text for the count of those held back. */
	char text[LOG_TEXT_MAX + 48];
	unsigned held = 0;

	if (!wanted(log, level))
		return;
	pthread_mutex_lock(&log->lock);
	/* Judged before formatting: a message held back costs a guest's host next to nothing. */
	if (limit_pass(limit, host_ns(), &held)) {
		va_list ap;
		int n;

		va_start(ap, fmt);
		n = vsnprintf(text, LOG_TEXT_MAX, fmt, ap);
		va_end(ap);
		if (held) {
			size_t end = n < 0 ? 0 : n < LOG_TEXT_MAX ? (size_t)n : LOG_TEXT_MAX - 1;

			snprintf(text + end, sizeof(text) - end, " (%u more were held back)", held);
		}
		say(log, level, who, text);
	}
	pthread_mutex_unlock(&log->lock);
}

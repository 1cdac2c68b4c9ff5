/* SPDX-License-Identifier: MIT */
/*
 * Log messages.
 *
 * A log belongs to one VM (or one tool) and hands each message to its sink as a whole line, without
 * newline. What a guest can trigger goes through log_guest(), which is rate-limited, so that a
 * guest cannot flood its host.
 *
 * Threads: any thread may log. The sink is called under the log's mutex, one message at a time.
 */
#ifndef HAKO_BASE_LOG_H
#define HAKO_BASE_LOG_H

#include <pthread.h>
#include <stdint.h>

/* LOG_TRACE is what the user has asked for by name: it is never dropped. */
enum log_level { LOG_TRACE = -1, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

typedef void log_sink(void *arg, enum log_level level, const char *who, const char *text);

struct log {
	enum log_level level; /* messages above it are dropped; set before threads start */
	log_sink *sink;
	void *arg;
	pthread_mutex_t lock;
};

/* A sink of NULL writes `hako: WHO: TEXT` to standard error. */
void log_init(struct log *log, enum log_level level, log_sink *sink, void *arg);
void log_fini(struct log *log);

/* `who` names the speaker: "blk0", "cpu1", "uart". `log` may be NULL: then nothing is said. */
void log_msg(struct log *log, enum log_level level, const char *who, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* At most LOG_LIMIT_BURST messages in LOG_LIMIT_NS, counted per struct; zero-initialised. */
enum { LOG_LIMIT_BURST = 8 };
#define LOG_LIMIT_NS 5000000000ULL

struct log_limit {
	uint64_t window_ns; /* when the current window began, CLOCK_MONOTONIC */
	unsigned said, held;
};

/* Like log_msg, for what a guest can cause. Says how many were held back when the next gets
 * through. */
void log_guest(struct log *log, struct log_limit *limit, enum log_level level, const char *who,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif

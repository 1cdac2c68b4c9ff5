/* SPDX-License-Identifier: MIT */
/*
 * The terminal: raw while a guest uses it, as it was whenever hako ends or stops, whichever way.
 *
 * One terminal, one process: this has state of its own, since signal handlers can reach nothing
 * else.
 */
#ifndef HAKO_CLI_TTY_H
#define HAKO_CLI_TTY_H

#include <stdbool.h>

/*
 * Handle signals for a run. SIGTERM, SIGINT and SIGHUP call stop(), which may be NULL, once;
 * another one, a second later or more, ends the process at once. Signals that end the process
 * restore the terminal first. SIGPIPE and SIGXFSZ are ignored.
 *
 * With a refresh(), a SIGHUP calls that, unless it says that the terminal is gone. With a dump(),
 * SIGUSR1 calls that.
 */
void tty_signals(void (*stop)(void), void (*refresh)(void), void (*dump)(void));
/* The signal that called stop(), or 0. */
int tty_signal(void);

/* Is this process in the background of it? Then tty_raw() waits, stopped, until it no longer is. */
bool tty_is_anothers(int fd);
/* Make the terminal on `fd` raw until tty_restore() or the end of the process. 0 or -errno. */
int tty_raw(int fd);
/* Any time, also from a signal handler. */
void tty_restore(void);
bool tty_is_raw(void);

#endif

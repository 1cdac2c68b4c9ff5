/* SPDX-License-Identifier: MIT */
/*
 * The terminal.
 *
 * clock_gettime(), tcsetattr(), sigaction(), raise() and _exit() may be called in signal handlers,
 * signal-safety(7).
 */
#include "tty.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static struct {
	int fd;
	struct termios before, raw;
	volatile sig_atomic_t is_raw;
	volatile sig_atomic_t signal;
	struct timespec asked; /* when that came */
	void (*stop)(void), (*refresh)(void), (*dump)(void);
	int controlling; /* the terminal that the process was begun on, -1: none */
} tty = { .fd = -1, .controlling = -1 };

/* Without SIGTTOU, with which the kernel stops a background process that does this. */
static void set_attributes(const struct termios *attributes)
{
	sigset_t block, before;

	sigemptyset(&block);
	sigaddset(&block, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &block, &before);
	tcsetattr(tty.fd, TCSANOW, attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void tty_restore(void)
{
	if (!tty.is_raw)
		return;
	tty.is_raw = 0;
	set_attributes(&tty.before);
}

bool tty_is_raw(void)
{
	return tty.is_raw;
}

/* ---- Signals ---- */

static void install(int signo, void (*handler)(int), int flags)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	action.sa_flags = flags;
	sigfillset(&action.sa_mask);
	sigaction(signo, &action, NULL);
}

static void install_info(int signo, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = handler;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	sigfillset(&action.sa_mask);
	sigaction(signo, &action, NULL);
}

/* Signals for the end that come so close together are one: timeout(1), for example, sends one to
 * the process and another one to its group. */
enum { ONE_SIGNAL_MS = 1000 };

static bool is_the_same(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - tty.asked.tv_sec) * 1000 +
		       (now.tv_nsec - tty.asked.tv_nsec) / 1000000 <
	       ONE_SIGNAL_MS;
}

static void on_stop(int signo)
{
	int saved = errno;

	if (tty.signal && is_the_same())
		return;
	if (tty.signal) { /* asked before: do not wait for the end of the run */
		tty_restore();
		install(signo, SIG_DFL, 0);
		raise(signo);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &tty.asked);
	tty.signal = signo;
	if (tty.stop)
		tty.stop();
	errno = saved;
}

static void on_dump(int signo)
{
	int saved = errno;

	(void)signo;
	tty.dump();
	errno = saved;
}

/*
 * The terminal is gone, or somebody asks for a refresh? The kernel sends the signal itself when a
 * terminal hangs up; a shell passes it on to its jobs, and by then every use of the terminal fails.
 */
static void on_hangup(int signo, siginfo_t *info, void *context)
{
	int saved = errno;
	struct termios attributes;
	bool gone = tty.controlling >= 0 && tcgetattr(tty.controlling, &attributes) < 0;

	(void)context;
	if (info->si_code == SI_KERNEL || gone)
		on_stop(signo);
	else
		tty.refresh();
	errno = saved;
}

/*
 * Restore, then end as if the signal had not been handled: SA_RESETHAND has put the default back,
 * and the signal, blocked in here, is delivered on return.
 */
static void on_fatal(int signo)
{
	tty_restore();
	raise(signo);
}

/* Stop with the terminal as it was; the process goes on in here, raw again if it was. */
static void on_tstp(int signo)
{
	int saved = errno, was_raw = tty.is_raw;
	sigset_t unblock;

	tty_restore();
	install(signo, SIG_DFL, 0);
	raise(signo);
	sigemptyset(&unblock);
	sigaddset(&unblock, signo);
	pthread_sigmask(SIG_UNBLOCK, &unblock, NULL); /* stopped here */
	install(signo, on_tstp, SA_RESTART);
	if (was_raw) {
		set_attributes(&tty.raw);
		tty.is_raw = 1;
	}
	errno = saved;
}

/* nohup and shells ignore signals for their children; so be it. */
static bool is_ignored(int signo)
{
	struct sigaction old;

	return sigaction(signo, NULL, &old) == 0 && old.sa_handler == SIG_IGN;
}

void tty_signals(void (*stop)(void), void (*refresh)(void), void (*dump)(void))
{
	static const int stopping[] = { SIGTERM, SIGINT, SIGHUP };
	static const int fatal[] = { SIGQUIT, SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,    SIGABRT, SIGSYS,
				     SIGXCPU, SIGUSR2, SIGALRM, SIGTRAP, SIGVTALRM, SIGPROF };

	tty.stop = stop;
	tty.refresh = refresh;
	if (refresh && tty.controlling < 0)
		tty.controlling = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	tty.dump = dump;
	for (size_t i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++) {
		if (is_ignored(stopping[i]))
			continue;
		if (refresh && stopping[i] == SIGHUP)
			install_info(SIGHUP, on_hangup);
		else
			install(stopping[i], on_stop, 0);
	}
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		if (!is_ignored(fatal[i]))
			install(fatal[i], on_fatal, (int)SA_RESETHAND);
	install(SIGTSTP, on_tstp, SA_RESTART);
	if (dump)
		install(SIGUSR1, on_dump, SA_RESTART);
	/* A write that fails is told by its result: a reader that went, a limit of file sizes. */
	install(SIGPIPE, SIG_IGN, 0);
	install(SIGXFSZ, SIG_IGN, 0);
}

bool tty_is_anothers(int fd)
{
	pid_t foreground = tcgetpgrp(fd);

	return foreground > 0 && foreground != getpgrp();
}

int tty_signal(void)
{
	return tty.signal;
}

/* ---- Raw mode ---- */

int tty_raw(int fd)
{
	if (tcgetattr(fd, &tty.before) < 0)
		return -errno;
	tty.fd = fd;
	tty.raw = tty.before;
	/* Nothing is edited, echoed, translated or made into a signal: all of it is the guest's. */
	cfmakeraw(&tty.raw);
	tty.raw.c_cc[VMIN] = 1;
	tty.raw.c_cc[VTIME] = 0;
	if (atexit(tty_restore))
		return -ENOMEM;
	tty.is_raw = 1; /* first: a signal in between restores what has not changed */
	if (tcsetattr(fd, TCSANOW, &tty.raw) < 0) {
		int code = -errno;

		tty_restore();
		return code;
	}
	return 0;
}

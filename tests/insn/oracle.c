/* SPDX-License-Identifier: MIT */
/*
 * See oracle.h.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"

/* For a batch, which takes milliseconds: the code under test may have run away. */
enum { PATIENCE_MS = 10000 };

void oracle_start(struct oracle *o)
{
	int to[2], from[2];

	signal(SIGPIPE, SIG_IGN);
	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		err(2, "pipe");
	o->pid = fork();
	if (o->pid < 0)
		err(2, "fork");
	if (o->pid == 0) {
		if (dup2(to[0], 0) < 0 || dup2(from[1], 1) < 0)
			_exit(127);
		execl(o->qemu, o->qemu, "-cpu", o->cpu, o->runner, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	o->to = to[1];
	o->from = from[0];
}

void oracle_stop(struct oracle *o)
{
	int status;

	if (!o->pid)
		return;
	close(o->to);
	close(o->from);
	while (waitpid(o->pid, &status, 0) < 0 && errno == EINTR)
		;
	o->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		errx(2, "cannot run %s", o->qemu);
}

static bool put(int fd, const void *buf, size_t len)
{
	for (const uint8_t *p = buf; len;) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool get(int fd, void *buf, size_t len)
{
	for (uint8_t *p = buf; len;) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&ready, 1, PATIENCE_MS) == 0)
			return false;
		n = read(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool died(struct oracle *o)
{
	kill(o->pid, SIGKILL); /* unless it is gone already */
	oracle_stop(o);
	oracle_start(o);
	return false;
}

bool oracle_send(struct oracle *o, const struct insn_record *recs, unsigned n, bool mem)
{
	struct insn_batch batch = { n, mem ? INSN_BATCH_MEM : 0 };

	if (put(o->to, &batch, sizeof(batch)) && put(o->to, recs, n * sizeof(recs[0])))
		return true;
	return died(o);
}

bool oracle_take(struct oracle *o, struct insn_result *results, unsigned n, void *mem)
{
	if (get(o->from, results, n * sizeof(results[0])) &&
	    (!mem || get(o->from, mem, SCRATCH_SIZE)))
		return true;
	return died(o);
}

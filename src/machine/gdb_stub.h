/* SPDX-License-Identifier: MIT */
/*
 * gdb's remote serial protocol (gdb's documentation, appendix E), the server's end of it: packets
 * in, packets out. What they are about is behind `struct gdb_target`; there is no socket here and
 * no machine. Every byte that comes in is hostile.
 *
 *	$QStartNoAckMode#b0  ->             a packet: data between $ and #, then a checksum
 *	                     <-  +$OK#9a    each is acknowledged, until that packet says otherwise
 *	$vCont;c#a8          ->             run; no answer until it stops
 *	                     <-  $T05thread:1;#d7
 *
 * Threads: one at a time; target functions are called from within gdb_stub_input().
 */
#ifndef HAKO_MACHINE_GDB_STUB_H
#define HAKO_MACHINE_GDB_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/debug.h"

/* A thread is a CPU; numbered from 0 here, from 1 in packets. */
enum gdb_action { GDB_STAY, GDB_GO, GDB_STEP };

/* The signals that gdb knows by these numbers (include/gdb/signals.def of gdb) */
enum gdb_signal { GDB_SIGNAL_INT = 2, GDB_SIGNAL_TRAP = 5, GDB_SIGNAL_SEGV = 11 };

struct gdb_target {
	unsigned n_threads;       /* 1 to GDB_THREADS_MAX */
	const char *xml;          /* the target description */
	size_t n_regs, n_general; /* registers; those of the `g` packet */
	bool watch_after;         /* a watchpoint stops behind the access, not before it */

	/* Called while the target is halted only. */
	bool (*reg_get)(void *arg, unsigned thread, size_t reg, uint8_t *val, size_t *size);
	size_t (*reg_size)(void *arg, size_t reg);
	bool (*reg_set)(void *arg, unsigned thread, size_t reg, const uint8_t *val);
	/* At the thread's virtual addresses: all of it, or false. */
	bool (*mem_read)(void *arg, unsigned thread, uint64_t va, void *buf, size_t len);
	bool (*mem_write)(void *arg, unsigned thread, uint64_t va, const void *buf, size_t len);
	/* 0; -ENOSPC; -ENOTSUP. Removing what is not there is no mistake; points of another `type`
	 * (the digit behind Z) are others, wherever they are. */
	int (*point)(void *arg, bool add, unsigned type, const struct debug_point *point);
	/* n_threads actions. gdb_stub_stopped() is called later. */
	void (*resume)(void *arg, const enum gdb_action *actions);
	/* "monitor" commands: text for the user, NUL-terminated. */
	void (*monitor)(void *arg, const char *command, char *answer, size_t size);

	/* At any time. */
	void (*interrupt)(void *arg);
	void (*thread_info)(void *arg, unsigned thread, char *text, size_t size);
	/* The client goes, and the target shall run on, or end. Nothing is sent after it. */
	void (*detach)(void *arg);
	void (*kill)(void *arg);

	void (*send)(void *arg, const void *bytes, size_t len);
};

enum { GDB_THREADS_MAX = 64, GDB_PACKET_MAX = 16384, GDB_REG_MAX = 16 /* bytes */ };

struct gdb_stub {
	const struct gdb_target *target;
	void *arg;
	bool halted; /* what has been told the client */
	bool no_ack, no_ack_next;
	bool gone; /* detached or killed */
	unsigned stop_thread;
	char stop[80];               /* the reason of the last stop, as it was sent */
	unsigned thread_g, thread_c; /* of Hg; of Hc, or GDB_THREADS_MAX: all */
	unsigned listing;            /* next for qsThreadInfo */

	/* Where the input is: outside a packet, in it, in its checksum. */
	enum { GDB_OUTSIDE, GDB_INSIDE, GDB_CHECK_1, GDB_CHECK_2 } state;
	size_t len;
	uint8_t sum, check;
	bool too_long;
	char in[GDB_PACKET_MAX + 1];
	char last[2 * GDB_PACKET_MAX +
		  8]; /* the last packet sent, for when it is asked for again */
	size_t last_len;
};

/* A new client. The target is halted, for no reason that is worth telling. */
void gdb_stub_init(struct gdb_stub *stub, const struct gdb_target *target, void *arg);
void gdb_stub_input(struct gdb_stub *stub, const void *bytes, size_t len);
/* The target runs no more: `thread` stopped because of this. */
void gdb_stub_stopped(struct gdb_stub *stub, unsigned thread, enum gdb_signal signal,
		      const struct debug_stop *stop);
/* It never will again: like a program's end, with this status. */
void gdb_stub_exited(struct gdb_stub *stub, uint8_t status);

#endif

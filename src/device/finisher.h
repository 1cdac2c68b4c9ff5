/* SPDX-License-Identifier: MIT */
/*
 * SiFive's test finisher: one register whose writes end the machine's run, as QEMU's `virt` machine
 * has it ("sifive,test1", "sifive,test0" and "syscon" in the device tree).
 *
 * Threads: vCPU threads. It keeps nothing, and has no lock.
 */
#ifndef HAKO_DEVICE_FINISHER_H
#define HAKO_DEVICE_FINISHER_H

#include <stdint.h>

struct bus;
struct err;
struct finisher;
struct log;

/* Bits 15:0 of what is written; anything else is ignored. */
enum finisher_end {
	FINISHER_FAIL = 0x3333, /* power off; the run failed with a code, bits 31:16 */
	FINISHER_PASS = 0x5555, /* power off */
	FINISHER_RESET = 0x7777,
};

enum { FINISHER_SIZE = 0x1000 };

struct finisher_config {
	struct bus *bus;
	uint64_t base;
	/* On the vCPU's thread, inside its store. `code` is 0 but for FINISHER_FAIL. */
	void (*end)(void *arg, enum finisher_end end, unsigned code);
	void *arg;
	struct log *log;
};

int finisher_create(struct finisher **finisher, const struct finisher_config *config,
		    struct err *err);
void finisher_destroy(struct finisher *finisher);

#endif

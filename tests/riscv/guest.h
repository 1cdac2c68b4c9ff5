/* SPDX-License-Identifier: MIT */
/*
 * What the bare-metal RISC-V guests share: entry, console, the ways into the firmware and out of
 * the machine. Compiled for 32 and 64 bits; with M_MODE there is no firmware, and the guest drives
 * the machine itself.
 */
#ifndef HAKO_TESTS_RISCV_GUEST_H
#define HAKO_TESTS_RISCV_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uintptr_t xlen_t;

struct sbiret {
	long error;
	xlen_t value;
};

/* The guest's own, and where the first hart (and only that one) gets to. */
void guest_main(xlen_t hart, const uint8_t *dtb);
/* Where hart_start() in guest.c brings another. */
void guest_second(xlen_t hart, xlen_t opaque);
extern char second_start[];

struct sbiret sbi(xlen_t eid, xlen_t fid, xlen_t a0, xlen_t a1, xlen_t a2, xlen_t a3, xlen_t a4);

void put(char c);
/* %d %u %x %s %c, with l for what is as wide as a register; nothing between. */
void print(const char *format, ...);
_Noreturn void power_off(void);

void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The table of Intel's MultiProcessor Specification 1.4, for kernels without ACPI: CPUs, one I/O
 * APIC, and its pins as an ISA bus's interrupts of the same numbers.
 */
#ifndef HAKO_BOOT_MPTABLE_H
#define HAKO_BOOT_MPTABLE_H

#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"

struct err;

struct mptable_config {
	gpa_t base;      /* where it goes; a multiple of 16 */
	size_t size_max; /* bytes free there */
	unsigned n_cpus;
	uint32_t lapic, ioapic; /* addresses */
	unsigned ioapic_pins;
};

/* Write it into memory. -E2BIG when it does not fit. */
int mptable_load(const struct mptable_config *config, struct gmem *mem, struct err *err);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables of an x86 machine (ACPI 6.4): hardware-reduced, so that there is nothing of ACPI but
 * three registers for sleep and reset, and a DSDT that names the devices.
 *
 *	RSDP -> XSDT -> FADT -> DSDT    LNRO0005 for each virtio-mmio slot, PNP0501, PNP0B00, _S5
 *	             -> MADT            local APICs, one I/O APIC
 */
#ifndef HAKO_BOOT_ACPI_H
#define HAKO_BOOT_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"

struct err;

struct acpi_virtio {
	uint32_t base, size; /* guest physical */
	uint32_t gsi;        /* edge-triggered */
};

struct acpi_config {
	gpa_t base;      /* where the tables go; a multiple of 16 */
	size_t size_max; /* bytes free there */
	unsigned n_cpus;
	uint32_t lapic, ioapic; /* addresses; the I/O APIC's first GSI is 0 */
	uint16_t uart_port;     /* a 16550 */
	uint32_t uart_gsi;      /* edge-triggered */
	uint16_t rtc_port;      /* index and data of an MC146818 */
	uint32_t rtc_gsi;       /* edge-triggered */
	/* Ports of one byte: where to write which sleep, its status, and what resets. */
	uint16_t sleep_control, sleep_status, reset;
	uint8_t reset_value;
	uint8_t s5; /* the sleep type that powers off */
	const struct acpi_virtio *virtio;
	size_t n_virtio;
};

/* The RSDP is first. *tables is the caller's to free. -E2BIG when they do not fit. */
int acpi_tables(const struct acpi_config *config, void **tables, size_t *size, struct err *err);

#endif

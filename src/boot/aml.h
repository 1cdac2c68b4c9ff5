/* SPDX-License-Identifier: MIT */
/*
 * A builder of ACPI Machine Language: the few terms that describe devices without methods (ACPI
 * 6.4, chapter 20; resources: 6.4).
 *
 *	aml_scope(a, "_SB_");
 *	aml_device(a, "COM1");
 *	aml_name_eisaid(a, "_HID", "PNP0501");
 *	aml_name_int(a, "_UID", 0);
 *	aml_crs(a);
 *	aml_crs_io(a, 0x3f8, 8);
 *	aml_crs_irq(a, 4);
 *	aml_end(a);	ends the _CRS
 *	aml_end(a);	ends the device
 *	aml_end(a);	ends the scope
 *
 * What does not fit any more is left out and remembered: ask aml_ok() at the end.
 */
#ifndef HAKO_BOOT_AML_H
#define HAKO_BOOT_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_SIZE_MAX = 16 << 10, AML_DEPTH_MAX = 4 };

struct aml {
	uint8_t bytes[AML_SIZE_MAX];
	size_t len;
	bool failed; /* too long, or too deep */
	unsigned depth;
	struct {
		size_t length; /* where the package's length is */
		size_t buffer; /* where a resource template's size is; 0: it is none */
	} open[AML_DEPTH_MAX];
};

void aml_init(struct aml *aml);
/* All opened is ended, and nothing was left out. */
bool aml_ok(const struct aml *aml);

/* Names are of 4 characters, below the root or in what is open. */
void aml_scope(struct aml *aml, const char *name);
void aml_device(struct aml *aml, const char *name);
void aml_name_int(struct aml *aml, const char *name, uint32_t val);
void aml_name_string(struct aml *aml, const char *name, const char *val);
/* An ID of three capitals and four hexadecimal digits, packed into a number. */
void aml_name_eisaid(struct aml *aml, const char *name, const char *id);
/* A package of up to 255 small numbers. */
void aml_name_package(struct aml *aml, const char *name, const uint8_t *vals, uint8_t n);

/* Name(_CRS, ResourceTemplate () {...}), up to its aml_end(). */
void aml_crs(struct aml *aml);
void aml_crs_memory(struct aml *aml, uint32_t base, uint32_t size);
void aml_crs_io(struct aml *aml, uint16_t port, uint8_t n);
/* Edge-triggered, active high, not shared. */
void aml_crs_irq(struct aml *aml, uint32_t gsi);

/* Ends the scope, device or template opened last. */
void aml_end(struct aml *aml);

#endif

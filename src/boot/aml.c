/* SPDX-License-Identifier: MIT */
/*
 * Bytes of ACPI Machine Language. Sections are those of ACPI 6.4.
 */
#include "boot/aml.h"

#include <assert.h>
#include <string.h>

/* Opcodes (20.2) */
enum {
	NAME_OP = 0x08,
	BYTE_PREFIX = 0x0a,
	WORD_PREFIX = 0x0b,
	DWORD_PREFIX = 0x0c,
	STRING_PREFIX = 0x0d,
	SCOPE_OP = 0x10,
	BUFFER_OP = 0x11,
	PACKAGE_OP = 0x12,
	ROOT_CHAR = 0x5c,
	EXT_OP_PREFIX = 0x5b,
	DEVICE_OP = 0x82, /* behind EXT_OP_PREFIX */
};

/* Tags of resource descriptors: small ones with their length in them (6.4.2), large ones (6.4.3) */
enum {
	TAG_IO = 0x47,
	TAG_END = 0x79,
	TAG_MEMORY32_FIXED = 0x86,
	TAG_EXTENDED_IRQ = 0x89,
};

enum { NAME_LEN = 4, LENGTH_LEN = 3 };

static void put(struct aml *aml, const void *data, size_t n)
{
	if (n > sizeof(aml->bytes) - aml->len) {
		aml->failed = true;
		return;
	}
	memcpy(aml->bytes + aml->len, data, n);
	aml->len += n;
}

/* The n low bytes of val, lowest first. */
static void put_int(struct aml *aml, uint64_t val, size_t n)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(val >> 8 * i);
	put(aml, bytes, n);
}

static void put_name(struct aml *aml, const char *name)
{
	assert(strlen(name) == NAME_LEN);
	put(aml, name, NAME_LEN);
}

/* PkgLength (20.2.4) in its form of three bytes, whatever the length: it comes later. */
static void begin(struct aml *aml)
{
	if (aml->depth == AML_DEPTH_MAX) {
		aml->failed = true;
		return;
	}
	aml->open[aml->depth].length = aml->len;
	aml->open[aml->depth].buffer = 0;
	aml->depth++;
	put_int(aml, 0, LENGTH_LEN);
}

void aml_end(struct aml *aml)
{
	if (!aml->depth) {
		aml->failed = true;
		return;
	}
	size_t buffer = aml->open[aml->depth - 1].buffer, at = aml->open[aml->depth - 1].length;

	if (buffer) {
		put_int(aml, TAG_END, 2); /* its checksum 0: not to be checked (6.4.2.9) */
		if (!aml->failed) {
			size_t size = aml->len - buffer - 2;
			aml->bytes[buffer] = (uint8_t)size;
			aml->bytes[buffer + 1] = (uint8_t)(size >> 8);
		}
	}
	aml->depth--;
	if (aml->failed)
		return;
	/* It counts itself. Bits 7:6: bytes that follow; 3:0: the length's lowest bits. */
	size_t len = aml->len - at;
	aml->bytes[at] = (uint8_t)((LENGTH_LEN - 1) << 6 | (len & 0xf));
	aml->bytes[at + 1] = (uint8_t)(len >> 4);
	aml->bytes[at + 2] = (uint8_t)(len >> 12);
}

void aml_init(struct aml *aml)
{
	memset(aml, 0, sizeof(*aml));
}

bool aml_ok(const struct aml *aml)
{
	return !aml->failed && !aml->depth;
}

void aml_scope(struct aml *aml, const char *name)
{
	put_int(aml, SCOPE_OP, 1);
	begin(aml);
	if (aml->depth == 1)
		put_int(aml, ROOT_CHAR, 1);
	put_name(aml, name);
}

void aml_device(struct aml *aml, const char *name)
{
	put_int(aml, EXT_OP_PREFIX | DEVICE_OP << 8, 2);
	begin(aml);
	put_name(aml, name);
}

/* A number in its shortest form that is no opcode of its own. */
static void put_const(struct aml *aml, uint32_t val)
{
	size_t n = val <= UINT8_MAX ? 1 : val <= UINT16_MAX ? 2 : 4;

	put_int(aml, n == 1 ? BYTE_PREFIX : n == 2 ? WORD_PREFIX : DWORD_PREFIX, 1);
	put_int(aml, val, n);
}

static void name(struct aml *aml, const char *what)
{
	put_int(aml, NAME_OP, 1);
	put_name(aml, what);
}

void aml_name_int(struct aml *aml, const char *what, uint32_t val)
{
	name(aml, what);
	put_const(aml, val);
}

void aml_name_string(struct aml *aml, const char *what, const char *val)
{
	name(aml, what);
	put_int(aml, STRING_PREFIX, 1);
	put(aml, val, strlen(val) + 1);
}

static uint32_t hex_digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* EISAID() (19.6.37): letters in five bits each, then the digits; the highest byte first. */
void aml_name_eisaid(struct aml *aml, const char *what, const char *id)
{
	uint32_t val = 0;

	assert(strlen(id) == 7);
	for (int i = 0; i < 3; i++)
		val = val << 5 | (uint32_t)(id[i] - '@');
	for (int i = 3; i < 7; i++)
		val = val << 4 | hex_digit(id[i]);
	aml_name_int(aml, what, __builtin_bswap32(val));
}

void aml_name_package(struct aml *aml, const char *what, const uint8_t *vals, uint8_t n)
{
	name(aml, what);
	put_int(aml, PACKAGE_OP, 1);
	begin(aml);
	put_int(aml, n, 1);
	for (unsigned i = 0; i < n; i++)
		put_const(aml, vals[i]);
	aml_end(aml);
}

void aml_crs(struct aml *aml)
{
	name(aml, "_CRS");
	put_int(aml, BUFFER_OP, 1);
	begin(aml);
	put_int(aml, WORD_PREFIX, 1);
	if (aml->depth)
		aml->open[aml->depth - 1].buffer = aml->len;
	put_int(aml, 0, 2);
}

/* 6.4.3.4 */
void aml_crs_memory(struct aml *aml, uint32_t base, uint32_t size)
{
	enum { LENGTH = 9, READ_WRITE = 1 };

	put_int(aml, TAG_MEMORY32_FIXED, 1);
	put_int(aml, LENGTH, 2);
	put_int(aml, READ_WRITE, 1);
	put_int(aml, base, 4);
	put_int(aml, size, 4);
}

/* 6.4.2.5 */
void aml_crs_io(struct aml *aml, uint16_t port, uint8_t n)
{
	enum { DECODE_16 = 1, ALIGNMENT = 1 };

	put_int(aml, TAG_IO, 1);
	put_int(aml, DECODE_16, 1);
	put_int(aml, port, 2); /* the lowest and the highest it could be at */
	put_int(aml, port, 2);
	put_int(aml, ALIGNMENT, 1);
	put_int(aml, n, 1);
}

/* 6.4.3.6 */
void aml_crs_irq(struct aml *aml, uint32_t gsi)
{
	enum { LENGTH = 6, CONSUMER = 1 << 0, EDGE = 1 << 1, COUNT = 1 };

	put_int(aml, TAG_EXTENDED_IRQ, 1);
	put_int(aml, LENGTH, 2);
	put_int(aml, CONSUMER | EDGE, 1);
	put_int(aml, COUNT, 1);
	put_int(aml, gsi, 4);
}

/* SPDX-License-Identifier: MIT */
/*
 * Little-endian wire types that cannot be mixed up with integers: a field of type le32_t must be
 * read with le32_get() and written with le32().
 */
#ifndef HAKO_BASE_ENDIAN_H
#define HAKO_BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>

typedef struct {
	uint16_t raw;
} le16_t;
typedef struct {
	uint32_t raw;
} le32_t;
typedef struct {
	uint64_t raw;
} le64_t;

static inline le16_t le16(uint16_t v)
{
	return (le16_t){ htole16(v) };
}
static inline le32_t le32(uint32_t v)
{
	return (le32_t){ htole32(v) };
}
static inline le64_t le64(uint64_t v)
{
	return (le64_t){ htole64(v) };
}
static inline uint16_t le16_get(le16_t v)
{
	return le16toh(v.raw);
}
static inline uint32_t le32_get(le32_t v)
{
	return le32toh(v.raw);
}
static inline uint64_t le64_get(le64_t v)
{
	return le64toh(v.raw);
}

#endif

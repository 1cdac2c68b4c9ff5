/* SPDX-License-Identifier: MIT */
/*
 * What a C library would have. A compiler may call memset, memcpy and memcmp on its own, whether
 * the program does or not (GCC's manual, "Language Standards Supported by GCC"; clang does the
 * same), so that every kernel needs them.
 */
#include "kernel.h"

void *memset(void *to, int byte, size_t n)
{
	u8 *t = to;

	while (n--)
		*t++ = (u8)byte;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	u8 *t = to;
	const u8 *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x < *y ? -1 : 1;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}

void copy_string(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);

	if (n > size - 1)
		n = size - 1;
	memcpy(to, from, n);
	to[n] = 0;
}

/* Long division, as on paper but in binary. */
u64 divide(u64 n, u32 by, u32 *rest)
{
	u64 quotient = 0, left = 0;

	for (int bit = 0; bit < 64; bit++) {
		left = left << 1 | n >> 63;
		n <<= 1;
		quotient <<= 1;
		if (left >= by) {
			left -= by;
			quotient |= 1;
		}
	}
	if (rest)
		*rest = (u32)left;
	return quotient;
}

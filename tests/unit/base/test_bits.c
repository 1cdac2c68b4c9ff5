/* SPDX-License-Identifier: MIT */
/*
 * Bit fields, alignment, checked ranges and wire types, at their limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bits.h"
#include "base/endian.h"

static void fields(void **state)
{
	(void)state;
	assert_true(mask_low(0) == 0);
	assert_true(mask_low(1) == 1);
	assert_true(mask_low(63) == UINT64_MAX >> 1);
	assert_true(mask_low(64) == UINT64_MAX);
	assert_true(bits(0xabcd, 11, 4) == 0xbc);
	assert_true(bits(UINT64_MAX, 63, 0) == UINT64_MAX);
	assert_int_equal(bit(1ULL << 63, 63), 1);
	assert_int_equal(bit(1ULL << 63, 62), 0);
}

static void signs(void **state)
{
	(void)state;
	assert_true(sign_extend(1, 1) == -1);
	assert_true(sign_extend(0x80, 8) == -128);
	assert_true(sign_extend(0xff7f, 8) == 127);
	assert_true(sign_extend(UINT64_MAX, 64) == -1);
}

static void alignment(void **state)
{
	(void)state;
	assert_false(is_pow2(0));
	assert_true(is_pow2(1));
	assert_true(is_pow2(1ULL << 63));
	assert_false(is_pow2(UINT64_MAX));
	assert_true(align_down(0x1fff, 0x1000) == 0x1000);
	assert_true(align_up(0x1001, 0x1000) == 0x2000);
	assert_true(align_up(0x1000, 0x1000) == 0x1000);
}

static void ranges(void **state)
{
	(void)state;
	assert_true(range_ok(0, 0, 0));
	assert_true(range_ok(8, 8, 16));
	assert_true(range_ok(16, 0, 16));
	assert_false(range_ok(17, 0, 16));
	assert_false(range_ok(9, 8, 16));
	assert_false(range_ok(UINT64_MAX, 1, 16));
	assert_false(range_ok(8, UINT64_MAX - 4, 16)); /* the sum would wrap to 3 */
	assert_true(range_ok(0, UINT64_MAX, UINT64_MAX));

	assert_true(ranges_meet(8, 8, 8, 8));
	assert_true(ranges_meet(8, 8, 15, 1));
	assert_true(ranges_meet(15, 1, 8, 8));
	assert_true(ranges_meet(0, 32, 8, 8));
	assert_false(ranges_meet(8, 8, 16, 8));
	assert_false(ranges_meet(16, 8, 8, 8));
	assert_false(ranges_meet(8, 0, 8, 8)); /* what is empty meets nothing */
	assert_false(ranges_meet(12, 8, 12, 0));
	assert_true(ranges_meet(UINT64_MAX - 7, 8, UINT64_MAX, 1));
	assert_false(ranges_meet(UINT64_MAX - 7, 8, 0, 8));
}

static void wire(void **state)
{
	const uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	le16_t a;
	le32_t b;
	le64_t c;

	(void)state;
	memcpy(&a, bytes, sizeof(a));
	memcpy(&b, bytes, sizeof(b));
	memcpy(&c, bytes, sizeof(c));
	assert_int_equal(le16_get(a), 0x0201);
	assert_int_equal(le32_get(b), 0x04030201);
	assert_true(le64_get(c) == 0x0807060504030201ULL);
	a = le16(0x0201);
	b = le32(0x04030201);
	c = le64(0x0807060504030201ULL);
	assert_memory_equal(&a, bytes, sizeof(a));
	assert_memory_equal(&b, bytes, sizeof(b));
	assert_memory_equal(&c, bytes, sizeof(c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields), cmocka_unit_test(signs), cmocka_unit_test(alignment),
		cmocka_unit_test(ranges), cmocka_unit_test(wire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

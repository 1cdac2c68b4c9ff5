/* SPDX-License-Identifier: MIT */
/*
 * The table of AArch64 system registers: in order, each found, and no more than the ID registers
 * say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/soft/a64/sysreg.h"

static void in_order_and_found(void **state)
{
	unsigned n;
	const struct a64_sysreg *table = a64_sysreg_table(&n);

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		if (i)
			assert_true(table[i - 1].encoding < table[i].encoding);
		assert_ptr_equal(a64_sysreg_find(table[i].encoding), &table[i]);
		/* A register has a value, a place, or functions; and somebody may access it. */
		assert_true(table[i].access);
		assert_true(table[i].offset == A64_NO_STATE ||
			    table[i].offset + sizeof(uint64_t) <= sizeof(struct a64_sys));
		assert_non_null(table[i].name);
	}
	assert_true(n > 80);
}

static void absent(void **state)
{
	(void)state;
	/* ID space reads as zero where it says nothing; nothing else is there by accident. */
	assert_non_null(a64_sysreg_find(A64_SYSREG(3, 0, 0, 7, 7)));
	assert_null(a64_sysreg_find(A64_SYSREG(3, 0, 0, 8, 0)));
	assert_null(a64_sysreg_find(A64_SYSREG(3, 4, 1, 1, 0)));  /* HCR_EL2 */
	assert_null(a64_sysreg_find(A64_SYSREG(3, 3, 9, 12, 0))); /* PMCR_EL0 */
	assert_null(a64_sysreg_find(0));
	assert_null(a64_sysreg_find(0xffff));
}

static uint64_t id(unsigned crm, unsigned op2)
{
	const struct a64_sysreg *r = a64_sysreg_find((unsigned)A64_SYSREG(3, 0, 0, crm, op2));

	assert_non_null(r);
	assert_null(r->read);
	return r->value;
}

/* What is announced, field by field (DDI0487 D17.2); all other fields are zero. */
static void announced(void **state)
{
	static const struct {
		unsigned crm, op2, lsb, value;
	} fields[] = {
		{ 4, 0, 0, 1 },  /* EL0: AArch64 only */
		{ 4, 0, 4, 1 },  /* EL1: AArch64 only */
		{ 4, 0, 24, 1 }, /* GIC system registers */
		{ 4, 0, 56, 1 }, /* CSV2 */
		{ 4, 0, 60, 1 }, /* CSV3 */
		{ 5, 0, 0, 6 },  /* Armv8 debug */
		{ 5, 0, 12, A64_N_BRPS - 1 },
		{ 5, 0, 20, A64_N_WRPS - 1 },
		{ 5, 0, 28, A64_N_CTX_BRPS - 1 },
		{ 6, 0, 4, 2 },   /* AES and PMULL */
		{ 6, 0, 8, 1 },   /* SHA1 */
		{ 6, 0, 12, 1 },  /* SHA256 */
		{ 6, 0, 16, 1 },  /* CRC32 */
		{ 6, 0, 20, 2 },  /* LSE */
		{ 6, 0, 28, 1 },  /* RDM */
		{ 6, 0, 44, 1 },  /* DotProd */
		{ 6, 0, 52, 1 },  /* FlagM */
		{ 6, 0, 56, 2 },  /* TLBI ranges */
		{ 6, 0, 60, 1 },  /* RNDR */
		{ 6, 1, 20, 1 },  /* LRCPC */
		{ 7, 0, 0, 2 },   /* 40 bits of physical address */
		{ 7, 0, 4, 2 },   /* 16-bit ASIDs */
		{ 7, 0, 24, 15 }, /* no 64 KiB granule */
		{ 7, 1, 0, 2 },   /* HAFDBS */
		{ 7, 1, 20, 1 },  /* PAN */
		{ 7, 2, 60, 1 },  /* E0PD */
	};
	uint64_t want[8][8] = { 0 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		want[fields[i].crm][fields[i].op2] |= (uint64_t)fields[i].value << fields[i].lsb;
	for (unsigned crm = 1; crm < 8; crm++)
		for (unsigned op2 = 0; op2 < 8; op2++)
			assert_int_equal(id(crm, op2), want[crm][op2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_and_found),
		cmocka_unit_test(absent),
		cmocka_unit_test(announced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What a comparison with QEMU's user mode leaves out, each with its reason. Nothing is tolerated
 * that is not listed here. A word matches a row when (word & mask) == value; the first row that
 * matches counts, and one without a reason ends the search with "not listed".
 */
#include <stddef.h>

#include "arch_rv.h"
#include "base/bits.h"

struct row {
	uint32_t mask, value;
	const char *why;
};

#define CSR_MASK    0xfff0007fu
#define CSR(number) ((uint32_t)(number) << 20 | 0x73)

static const struct row never_run[] = {
	{ 0xffffffff, 0x00000073, "ECALL: a system call of the oracle's kernel" },
	/* volume I, 19.7: QEMU 7.2 knows no cache block operations */
	{ 0x0000707f, 0x0000200f, "Zicbom, Zicboz: the oracle does not have them" },
	{ 0xfe00507f, 0x0e005033, "Zicond: the oracle does not have it" },
	/* the bits of funct3 that make it a move of a CSR */
	{ 0x0000707f, 0x00000073, NULL },
	{ 0x0000707f, 0x00004073, NULL },
	{ CSR_MASK, CSR(0x001), NULL }, /* fflags */
	{ CSR_MASK, CSR(0x002), NULL }, /* frm */
	{ CSR_MASK, CSR(0x003), NULL }, /* fcsr */
	{ CSR_MASK, CSR(0xc00), "cycle: mcounteren and scounteren decide" },
	{ CSR_MASK, CSR(0xc01), "time: mcounteren and scounteren decide" },
	{ CSR_MASK, CSR(0xc02), "instret: mcounteren and scounteren decide" },
	{ CSR_MASK, CSR(0xc80), "cycleh: mcounteren and scounteren decide" },
	{ CSR_MASK, CSR(0xc81), "timeh: mcounteren and scounteren decide" },
	{ CSR_MASK, CSR(0xc82), "instreth: mcounteren and scounteren decide" },
};

static const struct row excluded[] = {
	{ 0xffffffff, 0x00100073, NULL }, /* EBREAK */
	{ 0x0000707f, 0x00000073, "privileged" },
};

/* QEMU 7.2 looks for the lowest bit of all 64. */
bool quirk_needs_low_bit(uint32_t w)
{
	return rv_is_64 && (w & 0xfff0707f) == 0x6010101b; /* CTZW */
}

/* What the oracle executes and hako rightly does not, and the other way round. */
static const struct row hidden[] = {
	{ 0, 1, NULL },
};
static const struct row missing[] = {
	{ 0, 1, NULL },
};

static const char *find(const struct row *rows, size_t n, uint32_t w)
{
	for (size_t i = 0; i < n; i++)
		if ((w & rows[i].mask) == rows[i].value)
			return rows[i].why;
	return NULL;
}

const char *quirk_never_run(uint32_t w)
{
	return find(never_run, ARRAY_SIZE(never_run), w);
}

const char *quirk_excluded(uint32_t w)
{
	const char *why = quirk_never_run(w);

	return why ? why : find(excluded, ARRAY_SIZE(excluded), w);
}

const char *arch_hidden(uint32_t w)
{
	return find(hidden, ARRAY_SIZE(hidden), w);
}

const char *arch_missing(uint32_t w)
{
	return find(missing, ARRAY_SIZE(missing), w);
}

/* SPDX-License-Identifier: MIT */
/*
 * See quirks.h. Tables of words: a word matches a row when (word & mask) == value, and the first
 * row that matches counts; a row without a reason ends the search with "not listed".
 */
#include <stddef.h>

#include "base/bits.h"
#include "quirks.h"

struct row {
	uint32_t mask, value;
	const char *why;
};

/* System register moves, MSR (L = 0) and MRS: any, one of the two, by op0:op1:CRn:CRm:op2. */
#define SYSREG(op0, op1, crn, crm, op2) \
	(0xd5000000u | (op0) << 19 | (op1) << 16 | (crn) << 12 | (crm) << 8 | (op2) << 5)
#define SYSREG_MASK     0xffdfffe0u
#define SYSREG_DIR_MASK 0xffffffe0u
#define MRS_BIT         (1u << 21)

static const struct row never_run[] = {
	{ 0xffe0001f, 0xd4000001, "SVC: a system call of the oracle's kernel" },
	{ 0xffe0001f, 0xd4400000, "HLT: semihosting of the oracle" },
	{ 0xffffffff, 0xd503205f, "WFE: may sleep" },
	{ 0xffffffff, 0xd503207f, "WFI: may sleep" },
	{ 0x8ffefc00, 0x0ef8f800, "unallocated part of FEAT_FP16: the oracle aborts" },
	/* MRS, op0:op1:CRn = 3:0:0, as in Linux's Documentation/arm64/cpu-feature-registers */
	{ 0xfffff000, 0xd5380000, "ID register: trapped, but the oracle's kernel emulates it" },
	{ SYSREG_DIR_MASK, SYSREG(3, 3, 9, 14, 0) | MRS_BIT, "PMUSERENR_EL0: hako has no PMU" },
	{ SYSREG_DIR_MASK, SYSREG(2, 3, 0, 1, 0) | MRS_BIT, "MDCCSR_EL0: Linux traps it (TDCC)" },
};

static const struct row excluded[] = {
	{ SYSREG_MASK, SYSREG(3, 3, 4, 2, 0), NULL },               /* NZCV */
	{ SYSREG_MASK, SYSREG(3, 3, 4, 4, 0), NULL },               /* FPCR */
	{ SYSREG_MASK, SYSREG(3, 3, 4, 4, 1), NULL },               /* FPSR */
	{ SYSREG_MASK, SYSREG(3, 3, 13, 0, 2), NULL },              /* TPIDR_EL0 */
	{ SYSREG_DIR_MASK, SYSREG(3, 3, 0, 0, 7) | MRS_BIT, NULL }, /* DCZID_EL0 */
	{ 0xffd00000, 0xd5100000, "system register: user mode has few, with values of its own" },
	{ 0xfff8001f, 0xd508001f, "IC and DC with XZR: address 0, see unchecked_address" },
	{ SYSREG_DIR_MASK, SYSREG(1, 3, 7, 4, 1), NULL },  /* DC ZVA */
	{ SYSREG_DIR_MASK, SYSREG(1, 3, 7, 5, 1), NULL },  /* IC IVAU */
	{ SYSREG_DIR_MASK, SYSREG(1, 3, 7, 10, 1), NULL }, /* DC CVAC */
	{ SYSREG_DIR_MASK, SYSREG(1, 3, 7, 11, 1), NULL }, /* DC CVAU */
	{ SYSREG_DIR_MASK, SYSREG(1, 3, 7, 14, 1), NULL }, /* DC CIVAC */
	{ 0xffd80000, 0xd5080000, "SYS: privileged, or not modelled by the oracle" },
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

uint32_t quirk_system_word(unsigned n)
{
	static const uint32_t words[] = {
		SYSREG(3, 3, 4, 2, 0),
		SYSREG(3, 3, 4, 4, 0),
		SYSREG(3, 3, 4, 4, 1),
		SYSREG(3, 3, 13, 0, 2),
		SYSREG(3, 3, 0, 0, 7) | MRS_BIT,
		SYSREG(3, 3, 4, 2, 0) | MRS_BIT,
		SYSREG(3, 3, 4, 4, 0) | MRS_BIT,
		SYSREG(3, 3, 4, 4, 1) | MRS_BIT,
		SYSREG(3, 3, 13, 0, 2) | MRS_BIT,
		SYSREG(1, 3, 7, 4, 1),
		SYSREG(1, 3, 7, 5, 1),
		SYSREG(1, 3, 7, 10, 1),
		SYSREG(1, 3, 7, 11, 1),
		SYSREG(1, 3, 7, 14, 1),
	};

	return words[n % ARRAY_SIZE(words)];
}

const char *quirk_unpredictable(uint32_t w)
{
	unsigned t = w & 31, n = (unsigned)bits(w, 9, 5), t2 = (unsigned)bits(w, 14, 10);
	unsigned s = (unsigned)bits(w, 20, 16);
	bool v = bit(w, 26), load = bit(w, 22);

	if ((w & 0xfffff0ff) == 0xd500401f && bits(w, 11, 8))
		return "CFINV with CRm != 0";

	/* Pairs (C4.1.94): mode<0> is write-back. */
	if ((w & 0x3a000000) == 0x28000000) {
		if (load && t == t2)
			return "LDP with Rt == Rt2";
		if (!v && bit(w, 23) && n != 31 && (t == n || t2 == n))
			return "pair with write-back to a transferred register";
	}
	/* Single register, post- and pre-index */
	if ((w & 0x3b200400) == 0x38000400 && !v && n != 31 && t == n)
		return "write-back to the transferred register";
	/* Exclusives; o2 (bit 23) and o1 (bit 21) */
	if ((w & 0x3f800000) == 0x08000000) {
		bool pair = bit(w, 21) && bit(w, 31);

		if (bit(w, 21) && !pair)
			return NULL; /* CASP */
		if (load && pair && t == t2)
			return "LDXP with Rt == Rt2";
		if (!load && (s == t || (s == n && n != 31) || (pair && s == t2)))
			return "STXR with a status register that is used";
	}
	return NULL;
}

/*
 * The oracle's CPU, Neoverse N1, and hako present the same instructions but for these. FEAT_FP16:
 * nothing that a distribution ships uses it.
 */
static const struct row hidden[] = {
	/* C4.1.96: ftype = 3 */
	{ 0x5ec00000, 0x1ec00000, "FEAT_FP16: scalar" },
	{ 0x9f60c400, 0x0e400400, "FEAT_FP16: vector, three same" },
	{ 0xdf60c400, 0x5e400400, "FEAT_FP16: scalar, three same" },
	{ 0x9f7e0c00, 0x0e780800, "FEAT_FP16: vector, two registers" },
	{ 0xdf7e0c00, 0x5e780800, "FEAT_FP16: scalar, two registers" },
	{ 0xbf3e0c00, 0x0e300800, "FEAT_FP16: across lanes" },
	{ 0xff3e0c00, 0x5e300800, "FEAT_FP16: pairwise" },
	{ 0x9fc00400, 0x0f000000, "FEAT_FP16: vector by element" },
	{ 0xdfc00400, 0x5f000000, "FEAT_FP16: scalar by element" },
	{ 0xbff8fc00, 0x0f00fc00, "FEAT_FP16: FMOV, vector, immediate" },
	/* not even an instruction (C4.1.96): the oracle does not look at op */
	{ 0xbff8fc00, 0x2f00fc00, "FMOV, vector, immediate with o2 and op" },
	{ 0x9ff0fc00, 0x0f10e400, "FEAT_FP16: vector from fixed" },
	{ 0xdff0fc00, 0x5f10e400, "FEAT_FP16: scalar from fixed" },
	{ 0x9ff0fc00, 0x0f10fc00, "FEAT_FP16: vector to fixed" },
	{ 0xdff0fc00, 0x5f10fc00, "FEAT_FP16: scalar to fixed" },
	{ 0x3fa08000, 0x08800000, "FEAT_LOR: LDLAR, STLLR" },
	{ 0xfffff0ff, 0xd503403f, "FEAT_SSBS: MSR SSBS, immediate" },
	{ SYSREG_MASK, SYSREG(3, 3, 4, 2, 6), "FEAT_SSBS: SSBS" },
};

static const struct row missing[] = {
	{ 0xfffff0ff, 0xd500401f, "CFINV with CRm != 0: bits that should be zero" },
	{ 0xffffffc0, SYSREG(3, 3, 2, 4, 0) | MRS_BIT, "FEAT_RNG: RNDR, RNDRRS" },
};

static const struct row unchecked_address[] = {
	/* AccType_ORDERED without FEAT_LSE2: B2.5.2. QEMU 8.1 and later check it. */
	{ 0x3ffffc00, 0x38bfc000, "LDAPR: alignment" },
	/* Cache maintenance at EL0 needs read permission (D7.5.9); to QEMU's user mode it is
	   nothing. */
	{ SYSREG_DIR_MASK, SYSREG(1, 3, 7, 4, 1), NULL }, /* but for DC ZVA */
	{ 0xfff80000, 0xd5080000, "IC and DC by address" },
};

const char *quirk_unchecked_address(uint32_t w)
{
	return find(unchecked_address, ARRAY_SIZE(unchecked_address), w);
}

const char *quirk_hidden(uint32_t w)
{
	return find(hidden, ARRAY_SIZE(hidden), w);
}

const char *quirk_missing(uint32_t w)
{
	return find(missing, ARRAY_SIZE(missing), w);
}

bool quirk_needs_max(uint32_t w)
{
	return (w & 0xfffff0ff) == 0xd500401f || /* CFINV */
	       (w & 0xffe07c10) == 0xba000400 || /* RMIF */
	       (w & 0xffffbc1f) == 0x3a00080d;   /* SETF8, SETF16 */
}

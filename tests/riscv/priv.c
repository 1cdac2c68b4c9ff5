/* SPDX-License-Identifier: MIT */
/*
 * Privilege and translation, from M-mode: what instructions of each level do under each setting, as
 * a list of numbers that is the same on hako and on QEMU (test_riscv.py compares). Volume II.
 *
 * enter() runs a few instructions at another level, until something traps to M-mode: an ecall, if
 * nothing else. What is printed of it: mcause, the value that was loaded, mtval.
 */
#include "guest.h"

enum { U, S, M = 3 };
enum { V = 1, R = 2, W = 4, X = 8, USER = 16, G = 32, A = 64, D = 128 };
enum { PAGE = 4096, ENTRIES = PAGE / sizeof(xlen_t), INDEX_BITS = sizeof(xlen_t) == 8 ? 9 : 10 };

#define MPP  ((xlen_t)3 << 11)
#define MPRV ((xlen_t)1 << 17)
#define SUM  ((xlen_t)1 << 18)
#define MXR  ((xlen_t)1 << 19)
#define TVM  ((xlen_t)1 << 20)
#define TW   ((xlen_t)1 << 21)
#define TSR  ((xlen_t)1 << 22)
#define SIE  ((xlen_t)1 << 1)

#define csr_write(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"((xlen_t)(v)) : "memory")
#define csr_set(csr, v)   __asm__ volatile("csrs " #csr ", %0" ::"r"((xlen_t)(v)) : "memory")
#define csr_clear(csr, v) __asm__ volatile("csrc " #csr ", %0" ::"r"((xlen_t)(v)) : "memory")
#define csr_read(csr)                                                       \
	({                                                                  \
		xlen_t v_;                                                  \
		__asm__ volatile("csrr %0, " #csr : "=r"(v_) : : "memory"); \
		v_;                                                         \
	})

struct result {
	xlen_t cause, tval, epc, status, a0;
};
struct result enter(xlen_t pc, unsigned level, xlen_t a0, xlen_t a1);
struct result result;
xlen_t saved[14];

#if __riscv_xlen == 64
#define SX(n, at) "sd " #n ", 8*" #at "(t0)\n"
#define LX(n, at) "ld " #n ", 8*" #at "(t0)\n"
#else
#define SX(n, at) "sw " #n ", 4*" #at "(t0)\n"
#define LX(n, at) "lw " #n ", 4*" #at "(t0)\n"
#endif
/* clang-format off */
#define ALL(OP) \
	OP(ra, 0) OP(sp, 1) OP(s0, 2) OP(s1, 3) OP(s2, 4) OP(s3, 5) OP(s4, 6) OP(s5, 7) \
	OP(s6, 8) OP(s7, 9) OP(s8, 10) OP(s9, 11) OP(s10, 12) OP(s11, 13)

void enter_asm(xlen_t a0, xlen_t a1);
void back(void);
__asm__(".pushsection .text\n"
	".balign 4\n"
	"enter_asm:\n"
	"	la	t0, saved\n"
		ALL(SX)
	"	mret\n"
	".balign 4\n"
	"back:	la	t0, result\n"
		SX(a0, 4)
	"	la	t0, saved\n"
		ALL(LX)
	"	ret\n"
	".popsection\n");
/* clang-format on */

struct result enter(xlen_t pc, unsigned level, xlen_t a0, xlen_t a1)
{
	csr_write(mtvec, back);
	csr_write(mepc, pc);
	csr_clear(mstatus, MPP);
	csr_set(mstatus, (xlen_t)level << 11);
	enter_asm(a0, a1);
	result.cause = csr_read(mcause);
	result.tval = csr_read(mtval);
	result.epc = csr_read(mepc);
	result.status = csr_read(mstatus) & MPP;
	return result;
}

/* What is run at other levels: 4-byte instructions, on a page of their own. */
#define CODE(name, text) "	.balign 16, 0\n" #name ":	" text "\n	ecall\n"
/* clang-format off */
#define CODES(C) \
	C(load, "lw a0, (a0)") C(store, "sw a1, (a0)") C(go, "jr a0") \
	C(lr, "lr.w a0, (a0)") C(amo, "amoadd.w a0, a1, (a0)") \
	C(nothing, "nop") C(illegal, ".word 0") C(brk, "ebreak") \
	C(c_sret, "sret") C(c_mret, "mret") C(c_sfence, "sfence.vma") \
	C(get_satp, "csrr a0, satp") C(get_mstatus, "csrr a0, mstatus") \
	C(get_sepc, "csrr a0, sepc") C(get_time, "csrr zero, time") \
	C(get_cycle, "csrr zero, cycle") C(set_cycle, "csrw cycle, zero") \
	C(get_mhartid, "csrr a0, mhartid") C(get_fcsr, "csrr a0, fcsr") \
	C(get_none, "csrr a0, 0x8ff") C(in_s, "csrr a0, scause; csrr a1, stval")
#define DECLARE(name, text) extern char name[];
CODES(DECLARE)
extern char code[];
__asm__(".pushsection .data.code, \"aw\"\n"
	".option push\n"
	".option norvc\n"
	".balign 4096, 0\n"
	"code:\n"
		CODES(CODE)
	".balign 4096, 0\n"
	".option pop\n"
	".popsection\n");
/* clang-format on */

/* Tables: one for each level, and what they lead to. A data page, and one behind it. */
static xlen_t table[4][ENTRIES] __attribute__((aligned(PAGE)));
static char data[2 * PAGE] __attribute__((aligned(PAGE)));
static unsigned levels;

/* Addresses: by their last index, code is at 1 for S and at 2 for U, and data at 3. */
#define AT(page, name) ((xlen_t)(page)*PAGE + (xlen_t)((name)-code))
#define CODE_S(name)   AT(1, name)
#define CODE_U(name)   AT(2, name)
#define DATA_VA        ((xlen_t)3 * PAGE)

static xlen_t leaf(const void *at, unsigned flags)
{
	return ((uintptr_t)at >> 12) << 10 | flags;
}

/* What was translated is forgotten. */
static void sfence(void)
{
	__asm__ volatile("sfence.vma" ::: "memory");
}

static void tables(unsigned n, unsigned mode)
{
	levels = n;
	memset(table, 0, sizeof(table));
	for (unsigned level = 0; level + 1 < n; level++)
		table[level][0] = leaf(table[level + 1], V);
	table[n - 1][1] = leaf(code, V | R | X | A | D);
	table[n - 1][2] = leaf(code, V | R | X | A | D | USER);
	table[n - 1][3] = leaf(data, V | R | W | X | A | D);
	csr_write(satp, (xlen_t)mode << (sizeof(xlen_t) == 8 ? 60 : 31) | (uintptr_t)table >> 12);
	sfence();
}

static struct result at_level(unsigned level, char *name, xlen_t a0)
{
	return enter(level == U ? CODE_U(name) : CODE_S(name), level, a0, 0);
}

static void tell(const char *what, struct result r)
{
	print("%s: %lx %lx %lx from %lx\n", what, r.cause, r.a0, r.tval, r.status >> 11);
}

/* Each kind of access, with each value of the low bits of the entry: a digit for each. */
static void leaves(const char *what, unsigned level)
{
	static char *const access[] = { load, store, go, lr, amo };

	for (unsigned k = 0; k < 5; k++) {
		print("%s %u: ", what, k);
		for (unsigned flags = 0; flags < 256; flags++) {
			xlen_t *pte = &table[levels - 1][3];
			struct result r;

			*pte = leaf(data, flags);
			sfence();
			r = at_level(level, access[k], DATA_VA);
			/* the cause, and what became of A and D */
			print("%lx%c", r.cause, "0adb"[(*pte ^ flags) >> 6 & 3]);
		}
		print("\n");
	}
	table[levels - 1][3] = leaf(data, V | R | W | X | A | D);
	sfence();
}

/* Entries further up, and addresses that no entry has. */
static void walks(void)
{
	xlen_t last = table[levels - 1][3];

	for (unsigned level = 0; level + 1 < levels; level++) {
		xlen_t keep = table[level][0];
		static const unsigned bad[] = {
			0, V | A, V | D, V | USER, V | G, V | W, V | W | X
		};

		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			table[level][0] = (keep & ~(xlen_t)0xff) | bad[i];
			sfence();
			print("level %u, %x: ", level, bad[i]);
			tell("", at_level(S, load, DATA_VA));
		}
		table[level][0] = keep;
		/* A leaf that is large, of what is aligned to it, and of what is not. */
		table[level][5] = leaf((void *)(uintptr_t)0x80000000, V | R | A);
		table[level][6] = leaf(data, V | R | A);
		sfence();
		for (unsigned i = 5; i < 7; i++)
			if (level > 0 || levels == 2) {
				xlen_t va = (xlen_t)i << (12 + (levels - 1 - level) * INDEX_BITS);
				struct result r = at_level(S, load, va);
				print("large %u at level %u: %lx %lx\n", i, level, r.cause, r.tval);
			}
	}
	/* Nothing there; and across the end of a page. */
	tell("no entry", at_level(S, load, (xlen_t)9 * PAGE));
	tell("across", at_level(S, load, DATA_VA + PAGE - 2));
	tell("across, stored", at_level(S, store, DATA_VA + PAGE - 2));
	table[levels - 1][3] = leaf((void *)(uintptr_t)0x8000000, V | R | W | X | A | D);
	sfence();
	tell("no memory", at_level(S, load, DATA_VA));
	tell("no memory, stored", at_level(S, store, DATA_VA));
	tell("no memory, run", at_level(S, go, DATA_VA));
	table[levels - 1][3] = last;
#if __riscv_xlen == 64
	for (unsigned bit = 54; bit < 64; bit++) {
		table[levels - 1][3] = last | (xlen_t)1 << bit;
		sfence();
		print("bit %u: ", bit);
		tell("", at_level(S, load, DATA_VA));
	}
	table[levels - 1][3] = last;
	sfence();
	for (unsigned bit = 38; bit < 64; bit++)
		tell("high", at_level(S, load, DATA_VA | (xlen_t)1 << bit));
#endif
	/* M-mode by the translation of another level */
	for (unsigned level = U; level <= S; level++)
		for (unsigned user = 0; user < 2; user++) {
			table[levels - 1][3] = last | (user ? USER : 0);
			sfence();
			csr_clear(mstatus, MPP);
			csr_set(mstatus, (xlen_t)level << 11);
			csr_write(mtvec, back);
			result.a0 = 0;
			__asm__ volatile(
				"la ra, 1f\n la t0, saved\n" ALL(
					SX) "csrw mcause, zero\n csrs mstatus, %0\n lbu a0, (%1)\n"
					    "1: csrc mstatus, %0"
				:
				: "r"(MPRV), "r"(DATA_VA)
				: "t0", "a0", "ra", "memory");
			print("MPRV %u %u: %lx\n", level, user, csr_read(mcause));
		}
	table[levels - 1][3] = last;
	sfence();
}

static void instructions(void)
{
	static const struct {
		const char *name;
		char *at;
	} all[] = {
		{ "nop", nothing },      { "0", illegal },           { "ebreak", brk },
		{ "sret", c_sret },      { "mret", c_mret },         { "sfence", c_sfence },
		{ "satp", get_satp },    { "mstatus", get_mstatus }, { "sepc", get_sepc },
		{ "time", get_time },    { "cycle", get_cycle },     { "cycle=", set_cycle },
		{ "hart", get_mhartid }, { "fcsr", get_fcsr },       { "no CSR", get_none },
	};
	static const xlen_t settings[] = { 0, TVM, TSR, TW, TVM | TSR | TW };

	for (unsigned s = 0; s < sizeof(settings) / sizeof(settings[0]); s++) {
		csr_set(mstatus, settings[s]);
		for (unsigned level = U; level <= S; level++)
			for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
				struct result r;

				/* sret: to the next instruction, in U-mode, which S's page is not
				 * for */
				csr_write(sepc, CODE_U(nothing));
				csr_clear(mstatus, (xlen_t)1 << 8);
				r = at_level(level, all[i].at, 0);
				print("%u %u %s: %lx at %lx, from %lx\n", s, level, all[i].name,
				      r.cause, r.epc, r.status >> 11);
			}
		csr_clear(mstatus, settings[s]);
	}
	for (unsigned counters = 0; counters < 4; counters++) {
		csr_write(mcounteren, counters & 1 ? 7 : 0);
		csr_write(scounteren, counters & 2 ? 7 : 0);
		print("counters %u: %lx %lx\n", counters, at_level(S, get_time, 0).cause,
		      at_level(U, get_time, 0).cause);
	}
}

/* What is delegated ends in S-mode's handler, whose ecall ends here: cause 9, with scause. */
static void delegation(void)
{
	static char *const what[] = { nothing, illegal, brk, load, store, go };

	csr_write(stvec, CODE_S(in_s));
	for (unsigned bit = 0; bit < 16; bit++) {
		/* 9: its own ecall would never get here; 10, 11: QEMU keeps bits of no meaning */
		if (bit >= 9 && bit <= 11)
			continue;
		csr_write(medeleg, (xlen_t)1 << bit);
		print("medeleg %lx:", csr_read(medeleg));
		for (unsigned level = U; level <= S; level++)
			for (unsigned i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
				struct result r = at_level(level, what[i], (xlen_t)9 * PAGE);
				print(" %lx/%lx", r.cause, r.cause == 9 ? r.a0 : 0);
			}
		print("\n");
	}
	csr_write(medeleg, 0);
}

/* Interrupts that are pending by software: which is taken, and at which level. */
static void interrupts(void)
{
	enum { SSI = 1 << 1, STI = 1 << 5, SEI = 1 << 9, ALL_S = SSI | STI | SEI };

	csr_write(mie, ALL_S);
	for (unsigned delegated = 0; delegated < 8; delegated++)
		/* Not SEI and others: QEMU, without AIA, takes the lowest number first. */
		for (unsigned pending = 1; pending < 5; pending++)
			for (unsigned level = U; level <= S; level++)
				for (unsigned enabled = 0; enabled < 2; enabled++) {
					static const xlen_t bits[8] = { 0,         SSI,  STI,
									SSI | STI, SEI,  SSI | SEI,
									STI | SEI, ALL_S };
					struct result r;

					csr_write(mideleg, bits[delegated]);
					csr_write(mip, bits[pending]);
					csr_clear(mstatus, SIE);
					csr_set(mstatus, enabled ? SIE : 0);
					r = at_level(level, nothing, 0);
					csr_write(mip, 0);
					print("%lx/%lx ", r.cause << 1 >> 1, r.a0 << 1 >> 1);
				}
	print("\n");
	csr_write(mie, 0);
	csr_write(mideleg, 0);
	csr_clear(mstatus, SIE);
}

/* PMP entry 0 over 16 bytes of the data page, or over 4, in each way, before the one for all. */
static void protection(void)
{
	static char *const access[] = { load, store, go };
	static const unsigned rights[] = { 0, 1, 3, 4, 5, 7 };
	const xlen_t at = (uintptr_t)data + 64;

	for (unsigned kind = 1; kind < 4; kind++)
		for (unsigned i = 0; i < 6; i++) {
			const xlen_t first = kind == 1   ? (at + 16) >> 2
					     : kind == 2 ? at >> 2
							 : at >> 2 | 1;
			csr_write(pmpaddr0, kind == 1 ? at >> 2 : 0);
			csr_write(pmpaddr1, first);
			csr_write(pmpaddr2, ~(xlen_t)0);
			csr_write(pmpcfg0, 0x1f0000 | (kind << 3 | rights[i]) << 8);
			sfence();
			print("PMP %u %u:", kind, rights[i]);
			for (xlen_t off = 56; off < 88; off += 4)
				for (unsigned k = 0; k < 3; k++)
					print(" %lx", at_level(S, access[k], DATA_VA + off).cause);
			print("\n");
		}
	csr_write(pmpaddr0, ~(xlen_t)0);
	csr_write(pmpcfg0, 0x1f);
	sfence();
}

void guest_main(xlen_t hart, const uint8_t *dtb)
{
	(void)hart;
	(void)dtb;
	/* Memory is for all; A and D are the hardware's (Svadu), as QEMU has them always. */
	csr_write(pmpaddr0, ~(xlen_t)0);
	csr_write(pmpcfg0, 0x1f);
#if __riscv_xlen == 64
	csr_write(0x30a, (xlen_t)1 << 61); /* menvcfg.ADUE */
#else
	csr_write(0x31a, (xlen_t)1 << 29); /* menvcfgh.ADUE */
#endif
	for (unsigned i = 0; i < sizeof(data); i += 4)
		*(volatile uint32_t *)&data[i] = 0x00000073; /* ecall */
	for (unsigned n = sizeof(xlen_t) == 8 ? 3 : 2; n <= (sizeof(xlen_t) == 8 ? 4 : 2); n++) {
		print("levels %u\n", n);
		tables(n, sizeof(xlen_t) == 4 ? 1 : n == 3 ? 8 : 9);
		leaves("S", S);
		leaves("U", U);
		csr_set(mstatus, SUM);
		leaves("S, SUM", S);
		csr_set(mstatus, MXR);
		leaves("S, SUM, MXR", S);
		csr_clear(mstatus, SUM);
		leaves("S, MXR", S);
		csr_clear(mstatus, MXR);
		walks();
	}
	instructions();
	delegation();
	interrupts();
	protection();
	print("end\n");
}

void guest_second(xlen_t hart, xlen_t opaque)
{
	(void)hart;
	(void)opaque;
}

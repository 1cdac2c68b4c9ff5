/* SPDX-License-Identifier: MIT */
/*
 * What the micro-benchmarks' C and assembler files share: addresses and system register values.
 * DDI0487 is the Arm Architecture Reference Manual.
 */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

/* D17.2.97 MAIR_EL1: attribute 0 is Device-nGnRnE, 1 is Normal write-back */
#define MAIR 0xff00
/* D17.2.131 TCR_EL1: 39-bit addresses from TTBR0 only (EPD1), 4 KiB pages, write-back shareable
 * walks, 40-bit physical addresses, 16-bit ASIDs */
#define TCR (25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32 | 1 << 36)
/* D17.2.118 SCTLR_EL1: M, C, I and the bits that are RES1 in Armv8.0 */
#define SCTLR 0x30d01805

/*
 * Virtual addresses. The first 2 GiB are as in physical memory: devices, then RAM. The image is
 * where image.ld puts it.
 */
#define UART       0x09000000 /* PL011 */
#define PAGES      0xc0000000 /* PAGES_SIZE bytes in pages of 4 KiB */
#define PAGES_SIZE (64 << 20)
#define SWITCHED   0x100000000 /* 16 pages that differ between the two ASIDs */
#define USER_CODE  0x140000000 /* the page with user_code, as EL0 sees it */
#define UNMAPPED   0x700000000

/* Physical addresses for PAGES and SWITCHED, in the RAM that both machines have here */
#define PAGES_RAM    0x50000000
#define SWITCHED_RAM 0x54000000

#ifndef __ASSEMBLER__
#include <stdint.h>

/* A benchmark does its loop n times. */
typedef void bench_fn(uint64_t n, void *arg);

/* loops.S and start.S */
bench_fn b_mix, b_alu, b_flags, b_mul, b_div, b_nottaken, b_taken, b_call, b_call_far, b_indirect,
	b_indirect_far, b_dispatch, b_chase, b_load, b_store, b_copy, b_copy_neon, b_set, b_zva,
	b_pages, b_svc, b_abort, b_mmio, b_cntvct, b_sysreg, b_daif, b_exclusive, b_ldadd, b_asid,
	b_tlbi, b_newcode, b_fadd, b_fmul, b_fmadd, b_fdiv, b_fcvt, b_neon_int, b_neon_fp,
	b_neon_mix, b_aes;
extern char user_code[];
extern uint64_t switched_ttbr[2];
void power_off(void) __attribute__((noreturn));

/* programs.c */
bench_fn p_crc, p_sort, p_hash, p_sha256, p_records, p_text, p_bytecode, p_matrix;

/* mmu.c: fills the tables for an image loaded at base and returns TTBR0_EL1. */
uint64_t mmu_tables(uint64_t base);

/* micro.c */
void main(void);
void report_exception(uint64_t esr, uint64_t elr, uint64_t far) __attribute__((noreturn));

#endif
#endif

/* SPDX-License-Identifier: MIT */
/*
 * One RISC-V hart of the software engine, RV32 or RV64.
 *
 * Registers of an RV32 hart are kept sign-extended to 64 bits, so that most instructions are the
 * same code for both; exec.inc and handlers.inc are compiled twice, with XLEN 32 and 64.
 *
 * As in AArch64, an instruction that cannot complete leaves by longjmp to the run loop, which has
 * taken the trap; it changes no register before its last possible fault.
 *
 * Volume I and II: The RISC-V Instruction Set Manual, version 20240411.
 *
 * Threads: everything belongs to the hart's thread, except what soft.h says is shared.
 */
#ifndef HAKO_ENGINE_SOFT_RV_CPU_H
#define HAKO_ENGINE_SOFT_RV_CPU_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/ns.h"
#include "engine/soft/soft.h"
#include "engine/soft/tlb.h"

/* Places in a page where an instruction may begin: they are 2 or 4 bytes. */
enum { RV_PAGE_OPS = GMEM_PAGE_SIZE / 2 };

enum { RV_SINK = 32, RV_N_SLOTS }; /* x[0] stays zero; writes to x0 go to the sink */

/* Privilege levels (volume II, 1.2) */
enum { RV_U = 0, RV_S = 1, RV_M = 3 };

/* mcause, scause: exceptions (volume II, table 14) */
enum rv_cause {
	RV_INSN_MISALIGNED = 0,
	RV_INSN_ACCESS = 1,
	RV_ILLEGAL = 2,
	RV_BREAKPOINT = 3,
	RV_LOAD_MISALIGNED = 4,
	RV_LOAD_ACCESS = 5,
	RV_STORE_MISALIGNED = 6,
	RV_STORE_ACCESS = 7,
	RV_ECALL_U = 8,
	RV_ECALL_S = 9,
	RV_ECALL_M = 11,
	RV_INSN_PAGE = 12,
	RV_LOAD_PAGE = 13,
	RV_STORE_PAGE = 15,
};

/* Interrupts: bit numbers of mip and mie, and of vcpu.irq_lines for those that come from outside */
enum { RV_SSI = 1, RV_MSI = 3, RV_STI = 5, RV_MTI = 7, RV_SEI = 9, RV_MEI = 11 };

/* mstatus (volume II, 3.1.6); SD is the top bit of XLEN */
#define RV_SIE  BIT(1)
#define RV_MIE  BIT(3)
#define RV_SPIE BIT(5)
#define RV_MPIE BIT(7)
#define RV_SPP  BIT(8)
#define RV_MPP  (3ULL << 11)
#define RV_FS   (3ULL << 13)
#define RV_MPRV BIT(17)
#define RV_SUM  BIT(18)
#define RV_MXR  BIT(19)
#define RV_TVM  BIT(20)
#define RV_TW   BIT(21)
#define RV_TSR  BIT(22)

/* menvcfg, senvcfg (3.1.18, 4.1.10) */
#define RV_ENVCFG_FIOM  BIT(0)
#define RV_ENVCFG_CBIE  (3ULL << 4)
#define RV_ENVCFG_CBCFE BIT(6)
#define RV_ENVCFG_CBZE  BIT(7)
#define RV_ENVCFG_ADUE  BIT(61)
#define RV_ENVCFG_PBMTE BIT(62)
#define RV_ENVCFG_STCE  BIT(63)

/* Numbers of CSRs that are spoken of beside the table in csr.c (volume II, 2.2). */
enum {
	RV_CSR_SSTATUS = 0x100,
	RV_CSR_STIMECMP = 0x14d,
	RV_CSR_STIMECMPH = 0x15d,
	RV_CSR_SATP = 0x180,
	RV_CSR_MSTATUSH = 0x310,
	RV_CSR_MENVCFGH = 0x31a,
	RV_CSR_MIP = 0x344,
	RV_CSR_PMPCFG0 = 0x3a0,
	RV_CSR_PMPADDR0 = 0x3b0,
};

enum { RV_N_PMP = 16, RV_N_ASIDS = 8 };

/*
 * TLB contexts: M mode (and anything untranslated that PMP treats as M); S mode with mstatus.SUM
 * clear and set, since what may be accessed differs; U mode, one for each of the address spaces
 * used last.
 */
enum { RV_CTX_M, RV_CTX_S, RV_CTX_S_SUM, RV_CTX_U, RV_N_CTXS = RV_CTX_U + RV_N_ASIDS };

struct rv_csrs {
	uint64_t mstatus, mtvec, medeleg, mideleg, mie, mip, mepc, mcause, mtval, mscratch;
	uint64_t mcounteren, mcountinhibit, menvcfg;
	uint64_t cycle_zero, instret_zero; /* when the counter was 0, by the machine's clock */
	uint64_t stvec, sepc, scause, stval, sscratch, scounteren, senvcfg, satp, stimecmp;
	uint64_t pmpaddr[RV_N_PMP];
	uint8_t pmpcfg[RV_N_PMP];
};

struct rv_cpu {
	/* ---- hot ---- */
	uint64_t x[RV_N_SLOTS];
	struct tlb *tlb;   /* data accesses now: follows MPRV */
	struct tlb *tlb_x; /* execution now */
	uint64_t page_va;
	const struct op *page;
	const struct op *cur; /* the op being executed, wherever something may fault */

	uint64_t f[32];  /* single precision is NaN-boxed */
	uint32_t fflags; /* NV DZ OF UF NX, bits 4..0 */
	uint8_t frm;

	uint64_t pc;
	uint64_t fetch_pc; /* of the instruction being fetched, should that fault */
	uint8_t priv;
	bool xlen64;

	bool resv_valid; /* LR's reservation: address and the value read */
	uint8_t resv_size;
	uint64_t resv_va, resv_val;

	struct rv_csrs csr;
	bool sbi; /* S-mode's ECALL is hako's: no firmware runs in M-mode */

	enum vcpu_exit exit;
	bool leave, wait;

	jmp_buf unwind;
	struct vcpu vcpu;

	/* An instruction that is decoded anew each time: of 4 bytes, and the second half is in the
	 * next page; or in a page that PMP cuts through. */
	struct op cross[3];
	uint32_t ctx_asid[RV_N_ASIDS], ctx_used[RV_N_ASIDS];
	uint32_t ctx_clock, ctx_now;
	struct tlb ctx[RV_N_CTXS];
};

/* ---- traps (trap.c) ---- */

/* The instruction at c->cur traps; never returns. */
_Noreturn void rv_raise(struct rv_cpu *c, enum rv_cause cause, uint64_t tval);
_Noreturn void rv_raise_at(struct rv_cpu *c, enum rv_cause cause, uint64_t tval, uint64_t pc);
_Noreturn void rv_illegal(struct rv_cpu *c);
/* Interrupts that can be taken now? Takes the first in order of priority. */
bool rv_take_interrupt(struct rv_cpu *c);
void rv_check_interrupts(struct rv_cpu *c);
/* Pending interrupts: what mip reads. */
uint64_t rv_mip(const struct rv_cpu *c);
void rv_mret(struct rv_cpu *c);
void rv_sret(struct rv_cpu *c);
/* Privilege, mstatus, satp or PMP changed: choose the TLB contexts. */
void rv_state_changed(struct rv_cpu *c);

/* ---- CSRs (csr.c) ---- */

uint64_t rv_csr_read(struct rv_cpu *c, unsigned csr, bool will_write);
void rv_csr_write(struct rv_cpu *c, unsigned csr, uint64_t v);
/* What setting and clearing bits of a CSR that reads as v starts from. */
uint64_t rv_csr_rmw(const struct rv_cpu *c, unsigned csr, uint64_t v);
void rv_csr_reset(struct rv_cpu *c);
/* The machine's clock in ticks of the timebase. */
enum { RV_TIMEBASE = 10000000 /* Hz */, RV_NS_PER_TICK = NS_PER_S / RV_TIMEBASE };
uint64_t rv_time(const struct rv_cpu *c);
void rv_timer_update(struct rv_cpu *c);

/* The CSRs of the table, for debuggers: number and name of the i-th, false behind the last one. */
bool rv_csr_at(unsigned i, bool xlen64, unsigned *number, const char **name);
/* Without the checks of the current privilege. */
uint64_t rv_csr_peek(struct rv_cpu *c, unsigned csr);

/* ---- registers for debuggers (regs.c), as soft_arch has them ---- */

bool rv_reg(const struct engine *engine, size_t n, struct debug_reg *reg);
bool rv_reg_get(struct vcpu *vcpu, size_t reg, void *val);
bool rv_reg_set(struct vcpu *vcpu, size_t reg, const void *val);

/* ---- memory (mmu.c) ---- */

uint64_t rv_load_slow(struct rv_cpu *c, uint64_t va, unsigned size);
void rv_store_slow(struct rv_cpu *c, uint64_t va, unsigned size, uint64_t v);
void *rv_atomic_host(struct rv_cpu *c, uint64_t va, unsigned size, bool load_only, gpa_t *gpa);
void rv_atomic_done(struct rv_cpu *c, gpa_t gpa, unsigned size);
/* Fetch: the ops for va; never returns on a fault. */
const struct op *rv_fetch(struct rv_cpu *c, uint64_t va);
/* The 16 bits at va, for the second half of an instruction that crosses into another page. */
uint16_t rv_fetch16(struct rv_cpu *c, uint64_t va);
/* An instruction into c->cross, where c->page is; page_va is its address. (make_op.c) */
const struct op *rv_decode_alone(struct rv_cpu *c, uint32_t w);
/* Zicbom, Zicboz */
enum { RV_BLOCK_SIZE = 64 };
void rv_zero_block(struct rv_cpu *c, uint64_t va);
void rv_probe_block(struct rv_cpu *c, uint64_t va);

/* SFENCE.VMA: pages 0: every address; asid ~0: every address space. */
struct rv_fence {
	uint64_t va, pages;
	uint32_t asid;
};
void rv_fence_here(struct rv_cpu *c, const struct rv_fence *f);
void rv_satp_changed(struct rv_cpu *c);
void rv_flush_all_tlbs(struct rv_cpu *c);

static inline uint64_t rv_op_va(const struct rv_cpu *c, const struct op *op)
{
	return c->page_va + (uint64_t)(op - c->page) * 2;
}

static inline uint64_t rv_wrap(const struct rv_cpu *c, uint64_t v)
{
	return c->xlen64 ? v : (uint64_t)(int64_t)(int32_t)v;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * One AArch64 vCPU of the software engine: its registers, and what executing instructions may use.
 * Hot fields first; translated code may address them later.
 *
 * An instruction that cannot complete never returns to its caller: a64_undefined(), the memory
 * accessors and the other raise functions leave by longjmp to the run loop, which takes the
 * exception with the PC of the instruction that is being executed. So an instruction changes no
 * register before its last possible fault.
 *
 * Threads: everything here belongs to the vCPU's thread, except what soft.h says is shared.
 */
#ifndef HAKO_ENGINE_SOFT_A64_CPU_H
#define HAKO_ENGINE_SOFT_A64_CPU_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "engine/soft/fp.h"
#include "engine/soft/soft.h"
#include "engine/soft/tlb.h"

/* A vector register: V0..V31, element 0 at the least significant end (hosts are little-endian). */
union a64_vreg {
	uint8_t b[16];
	uint16_t h[8];
	uint32_t s[4];
	uint64_t d[2];
} __attribute__((aligned(16)));

/* Slots of x[] beyond X0..X30. Decoding picks the slot, so executing never asks "is it register
 * 31?". */
enum {
	A64_ZR = 31,   /* reads as zero; never written */
	A64_SP = 32,   /* the current stack pointer */
	A64_SINK = 33, /* takes writes to the zero register */
	A64_N_SLOTS
};

/* Instructions in a page: they are 4 bytes each. */
enum { A64_PAGE_OPS = GMEM_PAGE_SIZE / 4 };

enum { A64_N_ASIDS = 8, A64_N_BRPS = 6, A64_N_CTX_BRPS = 2, A64_N_WRPS = 4 };

/*
 * TLB contexts. EL1 has one for PSTATE.PAN = 1 and one for PAN = 0, since what may be accessed
 * differs; EL0 has one for each of the address spaces used last.
 */
enum { A64_CTX_EL1_PAN, A64_CTX_EL1, A64_CTX_EL0, A64_N_CTXS = A64_CTX_EL0 + A64_N_ASIDS };

/* System registers that hold a value (DDI0487 D17.2), by their manual names. */
struct a64_sys {
	uint64_t sctlr_el1, actlr_el1, cpacr_el1;
	uint64_t ttbr0_el1, ttbr1_el1, tcr_el1, mair_el1, amair_el1, contextidr_el1;
	uint64_t afsr0_el1, afsr1_el1, esr_el1, far_el1, par_el1, vbar_el1;
	uint64_t elr_el1, spsr_el1;
	uint64_t sp_bank[2]; /* SP_EL0, SP_EL1; the current one lives in x[A64_SP] */
	uint64_t tpidr_el0, tpidrro_el0, tpidr_el1;
	uint64_t cntkctl_el1;
	uint64_t cntfrq;
	uint64_t cntv_ctl, cntv_cval, cntp_ctl, cntp_cval;
	uint64_t mdscr_el1, mdccint_el1, osdlr_el1, oslsr, osdtrrx_el1, osdtrtx_el1, oseccr_el1;
	uint64_t dbgbvr[A64_N_BRPS], dbgbcr[A64_N_BRPS], dbgwvr[A64_N_WRPS], dbgwcr[A64_N_WRPS];
	uint64_t dbgclaim, csselr_el1;
};

struct a64_cpu {
	/* ---- hot: what every instruction touches ---- */
	uint64_t x[A64_N_SLOTS];
	/* N is bit 63 of nf, Z is zf == 0, C and V are 0 or 1. */
	uint64_t nf, zf;
	uint32_t cf, vf;
	struct tlb *tlb;       /* data accesses and execution now */
	uint64_t page_va;      /* virtual page being executed */
	const struct op *page; /* its ops */
	const struct op *cur;  /* the op being executed, wherever something may fault */
	uint64_t sp_mask;      /* 15 when SP alignment is checked (SCTLR_EL1.SA, SA0), or 0 */
	bool fp_trapped;       /* CPACR_EL1.FPEN traps FP and SIMD now */

	uint32_t fpcr; /* only the fields of FPCR_* can be set */
	uint32_t fpsr; /* cumulative flags; NZCV of AArch32 are RES0 */
	union a64_vreg v[32];

	/* ---- PSTATE ---- */
	uint64_t pc;   /* valid between instructions that left the fast path */
	uint32_t daif; /* bits 9..6, as in SPSR */
	uint8_t el;    /* 0 or 1 */
	uint8_t spsel; /* PSTATE.SP */
	bool pan, il, ss;

	bool one_by_one;   /* software step or a breakpoint is set up */
	bool in_step;      /* PSTATE.SS was set for the instruction that runs now */
	uint32_t step_iss; /* ISS of the step exception, if that is what comes next */
	bool watching;     /* a watchpoint is */

	/* ---- exclusive monitor: the value that LDXR saw, compared by STXR ---- */
	bool excl_valid;
	uint8_t excl_size;
	uint64_t excl_va, excl_lo, excl_hi;

	struct a64_sys sys;

	enum vcpu_exit exit; /* meaningful when leaving */
	bool leave;          /* vcpu_run returns */
	enum {
		A64_NO_WAIT,
		A64_WAIT_INTERRUPT,
		A64_WAIT_EVENT
	} wait;            /* what the run loop does next */
	unsigned wfe_idle; /* WFEs in a row without an event */

	jmp_buf unwind; /* where an instruction that faults goes */
	struct vcpu vcpu;

	uint32_t ctx_asid[A64_N_ASIDS]; /* which ASID an EL0 context is for, ~0 for none */
	uint32_t ctx_used[A64_N_ASIDS];
	uint32_t ctx_clock, ctx_now; /* ctx_now: index of the EL0 context of the current ASID */
	struct tlb ctx[A64_N_CTXS];
};

/* Read or write a general register by instruction field; 31 is the zero register. */
static inline uint64_t a64_xr(const struct a64_cpu *c, unsigned r)
{
	return c->x[r];
}
static inline void a64_xw(struct a64_cpu *c, unsigned r, uint64_t v)
{
	c->x[r == 31 ? A64_SINK : r] = v;
}
/* The same where 31 is the stack pointer. */
static inline uint64_t a64_xr_sp(const struct a64_cpu *c, unsigned r)
{
	return c->x[r == 31 ? A64_SP : r];
}
static inline void a64_xw_sp(struct a64_cpu *c, unsigned r, uint64_t v)
{
	c->x[r == 31 ? A64_SP : r] = v;
}

/* PSTATE.<N,Z,C,V>, bit 3 to 0. */
static inline unsigned a64_nzcv(const struct a64_cpu *c)
{
	return (unsigned)(c->nf >> 63) << 3 | (unsigned)(c->zf == 0) << 2 | c->cf << 1 | c->vf;
}
static inline void a64_set_nzcv(struct a64_cpu *c, unsigned nzcv)
{
	c->nf = (uint64_t)nzcv >> 3 << 63;
	c->zf = !bit(nzcv, 2);
	c->cf = bit(nzcv, 1);
	c->vf = bit(nzcv, 0);
}
/* ConditionHolds() (DDI0487 shared pseudocode), cond from 0 to 15. */
bool a64_cond(const struct a64_cpu *c, unsigned cond);

/* ---- exceptions (except.c) ---- */

/* ESR_ELx.EC (D17.2.37) */
enum a64_ec {
	A64_EC_UNKNOWN = 0x00,
	A64_EC_WFX = 0x01,
	A64_EC_FP_ACCESS = 0x07,
	A64_EC_ILLEGAL_STATE = 0x0e,
	A64_EC_SVC = 0x15,
	A64_EC_SYSREG = 0x18,
	A64_EC_IABT_LOWER = 0x20,
	A64_EC_IABT_SAME = 0x21,
	A64_EC_PC_ALIGN = 0x22,
	A64_EC_DABT_LOWER = 0x24,
	A64_EC_DABT_SAME = 0x25,
	A64_EC_SP_ALIGN = 0x26,
	A64_EC_BREAKPOINT_LOWER = 0x30,
	A64_EC_BREAKPOINT_SAME = 0x31,
	A64_EC_STEP_LOWER = 0x32,
	A64_EC_STEP_SAME = 0x33,
	A64_EC_WATCHPOINT_LOWER = 0x34,
	A64_EC_WATCHPOINT_SAME = 0x35,
	A64_EC_BRK = 0x3c,
};

/* The instruction at c->cur takes a synchronous exception: never returns. */
_Noreturn void a64_raise(struct a64_cpu *c, enum a64_ec ec, uint32_t iss);
/* The same with a return address of the caller's choice (fetch faults, SVC). */
_Noreturn void a64_raise_at(struct a64_cpu *c, enum a64_ec ec, uint32_t iss, uint64_t pc);
/* The instruction is UNDEFINED in this state. */
_Noreturn void a64_undefined(struct a64_cpu *c);
/* Exception return; c->pc is the target. */
void a64_eret(struct a64_cpu *c);
/* Interrupts that can be taken now? Takes one. */
bool a64_take_interrupt(struct a64_cpu *c);
/* PSTATE, irq_lines or MDSCR_EL1 changed: look up soon if an interrupt or a step can be taken. */
void a64_check_interrupts(struct a64_cpu *c);

/* SPSR format (C5.2.18) of PSTATE, and back (legal values only). */
uint64_t a64_pstate(const struct a64_cpu *c);
void a64_set_pstate(struct a64_cpu *c, uint64_t spsr);
/* After EL, SP selection or a control register changed: bring what is derived up to date. */
void a64_state_changed(struct a64_cpu *c);

/* The virtual address of an op of the page being executed. */
static inline uint64_t a64_op_va(const struct a64_cpu *c, const struct op *op)
{
	return c->page_va + (uint64_t)(op - c->page) * 4;
}

/* ---- registers for debuggers (regs.c), as soft_arch has them ---- */

bool a64_reg(const struct engine *engine, size_t n, struct debug_reg *reg);
bool a64_reg_get(struct vcpu *vcpu, size_t reg, void *val);
bool a64_reg_set(struct vcpu *vcpu, size_t reg, const void *val);

/* ---- debug (debug.c) ---- */

/* MDSCR_EL1, the OS lock, a breakpoint or a watchpoint changed. */
void a64_debug_changed(struct a64_cpu *c);
/* Must instructions run one at a time now, with a64_debug_before() in front of each? */
bool a64_debug_one_by_one(const struct a64_cpu *c);
/* DebugExceptionReturnSS(): does this exception return take PSTATE.SS from `spsr`? */
bool a64_debug_return_ss(const struct a64_cpu *c, uint64_t spsr);
/* The instruction at c->pc is next: takes the step or breakpoint exception that is due. */
void a64_debug_before(struct a64_cpu *c);
/* That instruction, `word`, is complete and took no exception. */
void a64_debug_after(struct a64_cpu *c, uint32_t word);
/* While c->watching: is something in this page watched? Then accesses to it go
 * through a64_watch(), */
bool a64_watched_page(const struct a64_cpu *c, uint64_t page);
/* which takes the watchpoint exception for an access, after it was translated and before it is
 * made. */
void a64_watch(struct a64_cpu *c, uint64_t va, unsigned len, unsigned el, bool write);

/* ---- memory (mmu.c) ---- */

/*
 * Data accesses at the current exception level, little-endian, any alignment. They return, or the
 * instruction faults. `va` may be tagged (TBI). mmu.h has those of one register.
 *
 * len from 1 to 64: all bytes can be read (written), or the instruction faults before any is. align
 * is the size of the instruction's elements: what SCTLR_EL1.A and Device memory ask for.
 */
void a64_ld(struct a64_cpu *c, uint64_t va, void *dst, unsigned len, unsigned align);
void a64_st(struct a64_cpu *c, uint64_t va, const void *src, unsigned len, unsigned align);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The support library of the bare-metal guests in tests/guest.
 *
 * A guest is one program: guest_main() runs on CPU 0 at EL1 with the MMU off and DAIF masked, makes
 * its checks, and returns; then the plan is printed and PSCI SYSTEM_OFF ends the machine. Each
 * check prints one TAP line on the UART ("ok 12 - stxr fails after clrex"), and lines of "# ..."
 * with what was seen when it fails. An exception that nobody expects ends the guest with "Bail
 * out!".
 *
 * Guests run at 0x40200000, see image.ld. RAM from SCRATCH on belongs to the test.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define BIT(n)       (1ULL << (n))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE         4096ULL
#define BLOCK2M      (2ULL << 20)

enum {
	RAM_BASE = 0x40000000,
	TABLES = 0x44800000,  /* page tables come from here */
	SCRATCH = 0x45000000, /* 2 MiB aligned, to RAM_END */
	RAM_END = 0x48000000, /* the runner gives 128 MiB */
	GICD = 0x08000000,
	GICR = 0x080a0000,
	GICR_STRIDE = 0x20000,
	UART = 0x09000000,
	RTC = 0x09010000,
	VIRTIO = 0x0a000000,
	VIRTIO_STRIDE = 0x200,
	VIRTIO_SLOTS = 32,
	/* Nothing answers there, in either machine. */
	NOWHERE = 0x0b000000,
	INTID_UART = 33,
	INTID_RTC = 34,
	INTID_VIRTIO = 48,
	INTID_TIMER_VIRT = 27,
	INTID_TIMER_PHYS = 30,
};

/* ---- registers ---- */

#define READ_REG(name)                                               \
	({                                                           \
		u64 v_;                                              \
		asm volatile("mrs %0, " #name : "=r"(v_)::"memory"); \
		v_;                                                  \
	})
#define WRITE_REG(name, v) asm volatile("msr " #name ", %0" ::"r"((u64)(v)) : "memory")
#define ISB()              asm volatile("isb" ::: "memory")
#define DSB()              asm volatile("dsb sy" ::: "memory")
#define DMB()              asm volatile("dmb ish" ::: "memory")

static inline u32 read32(u64 a)
{
	u32 v;
	asm volatile("ldr %w0, [%1]" : "=r"(v) : "r"(a) : "memory");
	return v;
}
static inline void write32(u64 a, u32 v)
{
	asm volatile("str %w0, [%1]" ::"r"(v), "r"(a) : "memory");
}
static inline u64 read64(u64 a)
{
	u64 v;
	asm volatile("ldr %0, [%1]" : "=r"(v) : "r"(a) : "memory");
	return v;
}
static inline void write64(u64 a, u64 v)
{
	asm volatile("str %0, [%1]" ::"r"(v), "r"(a) : "memory");
}

/* An unsigned field of a register. */
static inline u64 field(u64 v, unsigned hi, unsigned lo)
{
	return v >> lo & (~0ULL >> (63 - (hi - lo)));
}

/* SCTLR_EL1 (D17.2.118) */
enum {
	SCTLR_M = 1 << 0,
	SCTLR_A = 1 << 1,
	SCTLR_C = 1 << 2,
	SCTLR_SA = 1 << 3,
	SCTLR_SA0 = 1 << 4,
	SCTLR_UMA = 1 << 9,
	SCTLR_I = 1 << 12,
	SCTLR_DZE = 1 << 14,
	SCTLR_UCT = 1 << 15,
	SCTLR_NTWI = 1 << 16,
	SCTLR_NTWE = 1 << 18,
	SCTLR_WXN = 1 << 19,
	SCTLR_SPAN = 1 << 23,
	SCTLR_UCI = 1 << 26,
};
/* What guests run with: RES1 bits, no traps of EL0, PAN left alone by exceptions, MMU off. */
#define SCTLR_PLAIN                                                                        \
	(BIT(7) | BIT(8) | BIT(11) | BIT(20) | BIT(22) | BIT(28) | BIT(29) | SCTLR_SPAN |  \
	 SCTLR_UCI | SCTLR_NTWE | SCTLR_NTWI | SCTLR_UCT | SCTLR_DZE | SCTLR_I | SCTLR_C | \
	 SCTLR_SA | SCTLR_SA0)
void sctlr(u64 v); /* write, then ISB */

/* PSTATE in SPSR's form (C5.2.18) */
enum {
	PSTATE_EL0T = 0,
	PSTATE_EL1T = 4,
	PSTATE_EL1H = 5,
	PSTATE_F = 1 << 6,
	PSTATE_I = 1 << 7,
	PSTATE_A = 1 << 8,
	PSTATE_D = 1 << 9,
	PSTATE_DAIF = 0xf << 6,
	PSTATE_IL = 1 << 20,
	PSTATE_SS = 1 << 21,
	PSTATE_PAN = 1 << 22,
};

/* ---- exceptions ---- */

/* ESR_EL1.EC (D17.2.37) */
enum {
	EC_UNKNOWN = 0x00,
	EC_WFX = 0x01,
	EC_FP = 0x07,
	EC_ILLEGAL = 0x0e,
	EC_SVC = 0x15,
	EC_SYSREG = 0x18,
	EC_IABT_LOWER = 0x20,
	EC_IABT = 0x21,
	EC_PC_ALIGN = 0x22,
	EC_DABT_LOWER = 0x24,
	EC_DABT = 0x25,
	EC_SP_ALIGN = 0x26,
	EC_STEP_LOWER = 0x32,
	EC_STEP = 0x33,
	EC_BRK = 0x3c,
};
/* Fault status codes; the level is added. */
enum {
	FSC_SIZE = 0x00,
	FSC_TRANS = 0x04,
	FSC_AF = 0x08,
	FSC_PERM = 0x0c,
	FSC_EXT = 0x10,
	FSC_EXT_WALK = 0x14,
	FSC_ALIGN = 0x21,
	ISS_WNR = 1 << 6,
	ISS_CM = 1 << 8,
};
/* Vector numbers, by offset from VBAR / 0x80. */
enum {
	VEC_EL1T = 0,
	VEC_EL1H = 4,
	VEC_EL0 = 8,
	VEC_SYNC = 0,
	VEC_IRQ = 1,
	VEC_FIQ = 2,
	VEC_SERROR = 3,
};

struct frame {
	u64 x[31];
	u64 sp_el0, sp_el1, elr, spsr, esr, far, vector;
};

/* What the recorder keeps of the first exception since expect(). */
struct exc {
	unsigned n; /* how many there were */
	struct frame f;
	u64 daif, spsel, pan, el; /* PSTATE as the handler found it */
};

#define FRAMES 7
struct cpu {
	/* start.S knows these four. */
	struct frame *frame; /* for the next exception */
	void *stack;
	void (*main)(void);
	u64 el0_sp;

	u64 index;
	bool expecting; /* the recorder is on for EL1 */
	bool in_el0;
	u64 pc; /* of the instruction under test */
	struct exc exc;
	/* Before the recorder: returns true when it dealt with the exception. */
	bool (*handler)(struct frame *f);
	/* smp.c */
	void (*work)(u64);
	u64 work_arg;
	unsigned volatile working;
	/* The rest is memory for frames and a stack. */
	u8 frames[FRAMES][PAGE] __attribute__((aligned(4096)));
	u8 stack_memory[4 * PAGE];
};
#define MAX_CPUS 4
extern struct cpu cpus[MAX_CPUS];

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;
	asm("mrs %0, tpidr_el1" : "=r"(c));
	return c;
}
static inline struct exc *last(void)
{
	return &this_cpu()->exc;
}

/* Start recording (exceptions from EL1 skip the instruction), and end it. */
void expect(void);
void expect_end(u64 pc);

/*
 * Run one instruction of assembler text at EL1, recorded, with `pre` in front of it and `post`
 * behind. Inputs are named operands: TRY("ldr x0, [%[a]]", [a] "r"(addr)). The value is x0
 * afterwards; x0 to x3 may be used, and x0 is ~0 before.
 */
#define TRY_IN(pre, text, post, ...)                                                             \
	({                                                                                       \
		u64 pc_, out_;                                                                   \
		expect();                                                                        \
		asm volatile("adr %[pc_], 88f\n\tmov x0, #-1\n\t" pre "\n88:\t" text "\n\t" post \
			     "\n\tmov %[out_], x0"                                               \
			     : [pc_] "=&r"(pc_), [out_] "=&r"(out_)                              \
			     : __VA_ARGS__                                                       \
			     : "x0", "x1", "x2", "x3", "x30", "memory", "cc");                   \
		expect_end(pc_);                                                                 \
		out_;                                                                            \
	})
#define TRY(text, ...) TRY_IN("", text, "", ##__VA_ARGS__)
/* Call code that may not be there: a fault of the fetch returns to behind the call. */
#define TRY_CALL(addr)                                    \
	({                                                \
		u64 to_ = (addr);                         \
		u64 out_ = TRY("blr %[a]", [a] "r"(to_)); \
		this_cpu()->pc = to_;                     \
		out_;                                     \
	})

/* Code for EL0, in pages that it may execute; ends with EL0_DONE to return. */
#define EL0_CODE(name, text)                                                              \
	extern const u32 name[];                                                          \
	asm(".pushsection .el0, \"ax\"\n\t.balign 4\n" #name ":\n\t" text "\n\t" EL0_DONE \
	    "\n\t.popsection")
#define EL0_DONE "svc #0xfff"
#define SVC_DONE 0xfff
/* Memory that EL0 may read and write. */
extern u8 el0_stack[4096], el0_data[4 * 4096];
extern char el0_start[], el0_end[], el0_data_start[], el0_data_end[], image_start[], image_end[];
/* Run at EL0 until the first exception, which is in last(); the value is x0 then, DAIF masked. */
u64 el0(const void *code, u64 x0, u64 x1, u64 x2);
/* The same with a stack pointer and a PSTATE. */
u64 el0_at(u64 pc, u64 sp, u64 pstate, const u64 args[4]);

/*
 * Run this one instruction word at EL1 or EL0, with x0 to x2 set; the value is x0 then. At EL0 it
 * is followed by EL0_DONE. The MMU must be on with the flat tree.
 */
u64 run_word(u32 word, unsigned el, u64 x0, u64 x1, u64 x2);
/* System instructions, op0 0 to 3; and ISS when an access to a register or SYS operation traps. */
#define SYS_WORD(l, op0, op1, crn, crm, op2, rt)                                               \
	(0xd5000000u | (u32)(l) << 21 | (op0) << 19 | (op1) << 16 | (crn) << 12 | (crm) << 8 | \
	 (op2) << 5 | (rt))
u32 sys_iss(u32 word);

/* ---- TAP ---- */

__attribute__((format(printf, 1, 2))) void print(const char *fmt, ...);
__attribute__((format(printf, 2, 3))) bool check(bool ok, const char *fmt, ...);
__attribute__((format(printf, 3, 4))) bool check_eq(u64 got, u64 want, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void skip(const char *why, const char *fmt, ...);
/* The last recording: no exception at all. */
__attribute__((format(printf, 1, 2))) bool check_none(const char *fmt, ...);
/* The last recording: exactly one, with this class and syndrome, at the instruction under test. */
__attribute__((format(printf, 3, 4))) bool check_exc(u64 ec, u64 iss, const char *fmt, ...);
/* The same and FAR. */
__attribute__((format(printf, 4, 5))) bool check_abort(u64 ec, u64 iss, u64 far, const char *fmt,
						       ...);
/* The last el0() run: it came to EL0_DONE. */
__attribute__((format(printf, 1, 2))) bool check_el0_done(const char *fmt, ...);
_Noreturn void bail(const char *why);
/* For guests that end otherwise than by SYSTEM_OFF: the plan, and with which status hako
 * must end. */
void note_plan(unsigned status);
/* Comments: what a failed check saw, and the like. */
#define note(fmt, ...) print("# " fmt "\n", ##__VA_ARGS__)

void guest_main(void);

/* ---- PSCI ---- */

enum {
	PSCI_VERSION = 0x84000000,
	PSCI_CPU_OFF = 0x84000002,
	PSCI_CPU_ON = 0xc4000003,
	PSCI_AFFINITY_INFO = 0xc4000004,
	PSCI_MIGRATE_INFO_TYPE = 0x84000006,
	PSCI_SYSTEM_OFF = 0x84000008,
	PSCI_SYSTEM_RESET = 0x84000009,
	PSCI_FEATURES = 0x8400000a,
};
s64 psci(u64 function, u64 a, u64 b, u64 c);
_Noreturn void power_off(void);

/* ---- MMU (mmu.c) ---- */

enum {
	/* Descriptors (D8.3) */
	PT_VALID = 1 << 0,
	PT_TABLE = 1 << 1, /* also: a page at level 3 */
	PT_NORMAL = 0 << 2,
	PT_DEVICE = 1 << 2, /* Device-nGnRE */
	PT_NC = 2 << 2,
	PT_USER = 1 << 6, /* AP[1] */
	PT_RO = 1 << 7,   /* AP[2] */
	PT_ISH = 3 << 8,
	PT_AF = 1 << 10,
	PT_NG = 1 << 11,
};
#define PT_DBM       BIT(51)
#define PT_CONT      BIT(52)
#define PT_PXN       BIT(53)
#define PT_UXN       BIT(54)
#define PT_TABLE_PXN BIT(59)
#define PT_TABLE_UXN BIT(60)
#define PT_TABLE_AP0 BIT(61)
#define PT_TABLE_AP1 BIT(62)
#define PT_ADDR      0x0000fffffffff000ULL
/* Normal memory with AF set, and what EL1 and EL0 may do with it. */
#define PT_MEM (PT_VALID | PT_NORMAL | PT_ISH | PT_AF)
#define PT_KRW (PT_MEM | PT_PXN | PT_UXN)
#define PT_URW (PT_MEM | PT_USER | PT_PXN | PT_UXN)

/* TCR_EL1: 4 KiB granules, walks through cacheable memory, 40-bit PA, 16-bit ASIDs */
#define TCR_PLAIN                                                                                  \
	(1ULL << 8 | 1ULL << 10 | 3ULL << 12 | 1ULL << 24 | 1ULL << 26 | 3ULL << 28 | 2ULL << 30 | \
	 2ULL << 32 | BIT(36))
#define TCR_T0SZ(n) ((u64)(n))
#define TCR_T1SZ(n) ((u64)(n) << 16)
enum {
	TCR_EPD0 = 7,
	TCR_A1 = 22,
	TCR_EPD1 = 23,
	TCR_TBI0 = 37,
	TCR_TBI1 = 38,
	TCR_HA = 39,
	TCR_HD = 40
};

/* A zeroed page for tables. */
u64 *pt_page(void);
/* The descriptor for va at `level`, in the tree whose root is of level `start`; tables come
 * to be. */
u64 *pt_entry(u64 *root, int start, u64 va, int level);
/* Map one page or block, as `level` says; attr has PT_VALID and the rest. */
void pt_map(u64 *root, int start, u64 va, u64 pa, int level, u64 attr);
/* The level where tables for this T0SZ or T1SZ begin. */
int pt_start(unsigned tsz);

/* The tree (of level 1, T0SZ 25) that maps this program, devices and scratch memory flat. */
extern u64 *flat_root;
/* MMU on with the flat tree below and nothing above. */
void mmu_on(void);
/* MMU on with these, or off; TLB flushed either way. */
void mmu_set(u64 tcr, u64 ttbr0, u64 ttbr1);
void mmu_off(void);
void tlbi_all(void);
void tlbi_va(u64 va);

/* ---- GICv3 (gic.c) ---- */

void gic_init(void);     /* distributor and this CPU's parts; group 1 on, PMR open */
void gic_init_cpu(void); /* this CPU's parts only */
void gic_enable(unsigned intid, u8 prio, bool edge);
void gic_disable(unsigned intid);
bool gic_pending(unsigned intid);
bool gic_active(unsigned intid);
u64 gic_reg(unsigned intid, unsigned base); /* address of the 1-bit register that has intid */
#define ICC_PMR         S3_0_C4_C6_0
#define ICC_IAR1        S3_0_C12_C12_0
#define ICC_EOIR1       S3_0_C12_C12_1
#define ICC_HPPIR1      S3_0_C12_C12_2
#define ICC_BPR1        S3_0_C12_C12_3
#define ICC_CTLR        S3_0_C12_C12_4
#define ICC_SRE         S3_0_C12_C12_5
#define ICC_IGRPEN1     S3_0_C12_C12_7
#define ICC_DIR         S3_0_C12_C11_1
#define ICC_RPR         S3_0_C12_C11_3
#define ICC_SGI1R       S3_0_C12_C11_5
#define READ_ICC(r)     READ_ICC_(r)
#define READ_ICC_(r)    READ_REG(r)
#define WRITE_ICC(r, v) WRITE_ICC_(r, v)
#define WRITE_ICC_(r, v)         \
	do {                     \
		WRITE_REG(r, v); \
		ISB();           \
	} while (0)

#define IRQ_ON()  asm volatile("msr daifclr, #2" ::: "memory")
#define IRQ_OFF() asm volatile("msr daifset, #2" ::: "memory")

/* ---- more CPUs (smp.c) ---- */

unsigned cpu_count(void); /* as PSCI AFFINITY_INFO tells, at most MAX_CPUS */
void smp_start(void);     /* every other CPU on, with the flat MMU tree, waiting for work */
void smp_run(unsigned cpu, void (*work)(u64), u64 arg); /* starts it there */
void smp_wait(unsigned cpu);                            /* until it is done */
void smp_all(void (*work)(u64)); /* on each CPU, this one too, with its index; waits */

/* Roughly this many microseconds. */
void delay_us(u64 us);

#endif

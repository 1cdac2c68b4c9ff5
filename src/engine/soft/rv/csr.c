/* SPDX-License-Identifier: MIT */
/*
 * RISC-V control and status registers (volume II, chapters 2, 3 and 10).
 *
 * Most are a row of the table: number, name, where it lives, which bits can be written. The others
 * have a function. Bits 9:8 of a number say who may access it and bits 11:10 whether it can be
 * written.
 */
#include "engine/soft/rv/cpu.h"

typedef struct rv_cpu C;

struct csr {
	uint16_t number;
	const char *name;
	uint16_t offset; /* in struct rv_csrs, or NO_STATE */
	uint64_t mask;   /* bits that can be written; without state: the value read */
	uint64_t (*read)(C *c);
	void (*write)(C *c, uint64_t v);
};
enum { NO_STATE = 0xffff };
#define FIELD(f) offsetof(struct rv_csrs, f)

#define MISA_EXTENSIONS                                                                       \
	(BIT('I' - 'A') | BIT('M' - 'A') | BIT('A' - 'A') | BIT('F' - 'A') | BIT('D' - 'A') | \
	 BIT('C' - 'A') | BIT('S' - 'A') | BIT('U' - 'A'))
#define S_INTERRUPTS (BIT(RV_SSI) | BIT(RV_STI) | BIT(RV_SEI))
#define INTERRUPTS   (S_INTERRUPTS | BIT(RV_MSI) | BIT(RV_MTI) | BIT(RV_MEI))
/* Exceptions that may be delegated: all but ECALL from M */
#define EXCEPTIONS 0xb3ffULL
#define MSTATUS_SET                                                                         \
	(RV_SIE | RV_MIE | RV_SPIE | RV_MPIE | RV_SPP | RV_MPP | RV_FS | RV_MPRV | RV_SUM | \
	 RV_MXR | RV_TVM | RV_TW | RV_TSR)
#define SSTATUS_SET (RV_SIE | RV_SPIE | RV_SPP | RV_FS | RV_SUM | RV_MXR)

/* ---- time ---- */

uint64_t rv_time(const struct rv_cpu *c)
{
	return clock_now(c->vcpu.engine->cfg.clock) / RV_NS_PER_TICK +
	       atomic_load_explicit(&c->vcpu.engine->time_ahead, memory_order_relaxed);
}

void rv_timer_update(struct rv_cpu *c)
{
	struct clock *clock = c->vcpu.engine->cfg.clock;
	bool on = c->csr.menvcfg & RV_ENVCFG_STCE;
	uint64_t at = c->csr.stimecmp - atomic_load(&c->vcpu.engine->time_ahead);

	if (!on || at > ~0ULL / RV_NS_PER_TICK || rv_time(c) >= c->csr.stimecmp)
		clock_cancel(clock, &c->vcpu.timer);
	else
		clock_arm(clock, &c->vcpu.timer, at * RV_NS_PER_TICK);
	rv_check_interrupts(c);
}

static uint64_t read_time(C *c)
{
	return rv_time(c);
}
static uint64_t read_timeh(C *c)
{
	return rv_time(c) >> 32;
}
/*
 * Cycles and instructions (3.1.10): one a nanosecond, since an interpreter has no cycles to speak
 * of. Each counter has what the clock said when it was zero. count() is its value; and so, of a
 * value, the zero that makes it that now.
 */
static uint64_t count(const C *c, uint64_t zero)
{
	return clock_now(c->vcpu.engine->cfg.clock) - zero;
}
#define COUNTER(name)                                                              \
	static uint64_t read_##name(C *c)                                          \
	{                                                                          \
		return count(c, c->csr.name##_zero);                               \
	}                                                                          \
	static uint64_t read_##name##h(C *c)                                       \
	{                                                                          \
		return read_##name(c) >> 32;                                       \
	}                                                                          \
	static void write_##name(C *c, uint64_t v)                                 \
	{                                                                          \
		if (!c->xlen64)                                                    \
			v |= read_##name(c) & ~0xffffffffULL;                      \
		c->csr.name##_zero = count(c, v);                                  \
	}                                                                          \
	static void write_##name##h(C *c, uint64_t v)                              \
	{                                                                          \
		c->csr.name##_zero = count(c, v << 32 | (uint32_t)read_##name(c)); \
	}
COUNTER(cycle)
COUNTER(instret)

static uint64_t read_stimecmp(C *c)
{
	return c->csr.stimecmp;
}
static uint64_t read_stimecmph(C *c)
{
	return c->csr.stimecmp >> 32;
}
static void write_stimecmp(C *c, uint64_t v)
{
	c->csr.stimecmp = c->xlen64 ? v : (c->csr.stimecmp & ~0xffffffffULL) | (uint32_t)v;
	rv_timer_update(c);
}
static void write_stimecmph(C *c, uint64_t v)
{
	c->csr.stimecmp = v << 32 | (uint32_t)c->csr.stimecmp;
	rv_timer_update(c);
}

/* ---- floating point ---- */

static uint64_t read_fflags(C *c)
{
	return c->fflags;
}
static void dirty_fs(C *c)
{
	c->csr.mstatus |= RV_FS;
}
static void write_fflags(C *c, uint64_t v)
{
	c->fflags = v & 0x1f;
	dirty_fs(c);
}
static uint64_t read_frm(C *c)
{
	return c->frm;
}
static void write_frm(C *c, uint64_t v)
{
	c->frm = v & 7;
	dirty_fs(c);
}
static uint64_t read_fcsr(C *c)
{
	return (uint64_t)c->frm << 5 | c->fflags;
}
static void write_fcsr(C *c, uint64_t v)
{
	c->frm = v >> 5 & 7;
	c->fflags = v & 0x1f;
	dirty_fs(c);
}

/* ---- status ---- */

/* SD summarises FS; UXL and SXL say 64 in RV64 and cannot change. */
static uint64_t status(C *c, uint64_t v)
{
	if ((v & RV_FS) == RV_FS)
		v |= c->xlen64 ? BIT(63) : BIT(31);
	return v;
}
static uint64_t read_mstatus(C *c)
{
	return status(c, c->csr.mstatus | (c->xlen64 ? 0xaULL << 32 : 0));
}
static void set_mstatus(C *c, uint64_t v)
{
	uint64_t was = c->csr.mstatus;
	if ((v & RV_MPP) == 2ULL << 11) /* there is no level 2 */
		v = (v & ~RV_MPP) | (was & RV_MPP);
	c->csr.mstatus = v;
	if ((was ^ v) & RV_MXR)
		rv_flush_all_tlbs(c);
	rv_state_changed(c);
	rv_check_interrupts(c);
}
static void write_mstatus(C *c, uint64_t v)
{
	set_mstatus(c, (c->csr.mstatus & ~MSTATUS_SET) | (v & MSTATUS_SET));
}
static uint64_t read_sstatus(C *c)
{
	return status(c, (c->csr.mstatus & SSTATUS_SET) | (c->xlen64 ? 2ULL << 32 : 0));
}
static void write_sstatus(C *c, uint64_t v)
{
	set_mstatus(c, (c->csr.mstatus & ~SSTATUS_SET) | (v & SSTATUS_SET));
}

static uint64_t read_misa(C *c)
{
	return (c->xlen64 ? 2ULL << 62 : 1ULL << 30) | MISA_EXTENSIONS;
}
static uint64_t read_mhartid(C *c)
{
	return c->vcpu.index;
}

/* ---- interrupts ---- */

static uint64_t read_mip(C *c)
{
	return rv_mip(c);
}
static void write_mip(C *c, uint64_t v)
{
	/* MEIP, MTIP, MSIP come from outside; STIP too when Sstc has it. */
	uint64_t mask = S_INTERRUPTS;
	if (c->csr.menvcfg & RV_ENVCFG_STCE)
		mask &= ~BIT(RV_STI);
	c->csr.mip = (c->csr.mip & ~mask) | (v & mask);
	rv_check_interrupts(c);
}
static uint64_t read_sip(C *c)
{
	return rv_mip(c) & c->csr.mideleg & S_INTERRUPTS;
}
static void write_sip(C *c, uint64_t v)
{
	uint64_t mask = c->csr.mideleg & BIT(RV_SSI);
	c->csr.mip = (c->csr.mip & ~mask) | (v & mask);
	/* SBI's IPI came by the line; clearing SSIP takes it back. */
	if (mask && !(v & mask))
		atomic_fetch_and(&c->vcpu.irq_lines, ~(uint32_t)BIT(RV_SSI));
	rv_check_interrupts(c);
}
static void write_mie(C *c, uint64_t v)
{
	c->csr.mie = v & INTERRUPTS;
	rv_check_interrupts(c);
}
static void write_mideleg(C *c, uint64_t v)
{
	c->csr.mideleg = v & S_INTERRUPTS;
	rv_check_interrupts(c);
}
static uint64_t read_sie(C *c)
{
	return c->csr.mie & c->csr.mideleg;
}
static void write_sie(C *c, uint64_t v)
{
	uint64_t mask = c->csr.mideleg & S_INTERRUPTS;
	write_mie(c, (c->csr.mie & ~mask) | (v & mask));
}

/* ---- translation and protection ---- */

static void write_satp(C *c, uint64_t v)
{
	/* A mode that is not there: the write has no effect (10.1.11). */
	if (c->xlen64) {
		unsigned mode = (unsigned)(v >> 60);
		if (mode != 0 && mode != 8 && mode != 9)
			return;
	}
	uint64_t was = c->csr.satp;
	c->csr.satp = v;
	c->vcpu.debug.remapped = rv_op_va(c, c->cur) + 4;
	/* Entries are tagged by ASID; a change of mode changes what they mean. */
	if ((c->xlen64 ? (was ^ v) >> 60 : (was ^ v) >> 31 & 1))
		rv_flush_all_tlbs(c);
	rv_satp_changed(c);
}

static void write_menvcfg(C *c, uint64_t v)
{
	c->csr.menvcfg = v & (RV_ENVCFG_FIOM | RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE |
			      RV_ENVCFG_ADUE | RV_ENVCFG_PBMTE | RV_ENVCFG_STCE);
	rv_flush_all_tlbs(c);
	rv_timer_update(c);
}
static uint64_t read_menvcfg(C *c)
{
	return c->csr.menvcfg;
}
static void write_menvcfg_low(C *c, uint64_t v)
{
	write_menvcfg(c, c->xlen64 ? v : (c->csr.menvcfg & ~0xffffffffULL) | (uint32_t)v);
}
static uint64_t read_menvcfgh(C *c)
{
	return c->csr.menvcfg >> 32;
}
static void write_menvcfgh(C *c, uint64_t v)
{
	write_menvcfg(c, v << 32 | (uint32_t)c->csr.menvcfg);
}

/* pmpcfg registers hold one byte an entry, pmpaddr 54 bits of address >> 2 (3.7.1) */
static uint64_t read_pmpcfg(C *c, unsigned n)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < (c->xlen64 ? 8u : 4u); i++)
		v |= (uint64_t)c->csr.pmpcfg[n * 4 + i] << (8 * i);
	return v;
}
static void write_pmpcfg(C *c, unsigned n, uint64_t v)
{
	for (unsigned i = 0; i < (c->xlen64 ? 8u : 4u); i++) {
		uint8_t *cfg = &c->csr.pmpcfg[n * 4 + i], b = (uint8_t)(v >> (8 * i) & 0x9f);
		if ((b & 3) == 2) /* W without R is reserved */
			b &= (uint8_t)~2;
		if (!(*cfg & 0x80))
			*cfg = b;
	}
	rv_flush_all_tlbs(c);
}
static void write_pmpaddr(C *c, unsigned n, uint64_t v)
{
	const uint8_t *cfg = c->csr.pmpcfg;
	bool next_tor = n + 1 < RV_N_PMP && (cfg[n + 1] & 0x98) == 0x88;
	if ((cfg[n] & 0x80) || next_tor)
		return;
	c->csr.pmpaddr[n] = v & (c->xlen64 ? mask_low(54) : mask_low(32));
	rv_flush_all_tlbs(c);
}

/* ---- the table, by number ---- */

#define STATE(n, name, f, mask)                     \
	{                                           \
		n, name, FIELD(f), mask, NULL, NULL \
	}
#define CONST(n, name, value)                        \
	{                                            \
		n, name, NO_STATE, value, NULL, NULL \
	}
#define FUNC(n, name, rd, wr)                \
	{                                    \
		n, name, NO_STATE, 0, rd, wr \
	}
#define WRITTEN(n, name, f, wr)                \
	{                                      \
		n, name, FIELD(f), 0, NULL, wr \
	}

static const struct csr table[] = {
	FUNC(0x001, "fflags", read_fflags, write_fflags),
	FUNC(0x002, "frm", read_frm, write_frm),
	FUNC(0x003, "fcsr", read_fcsr, write_fcsr),
	FUNC(0x100, "sstatus", read_sstatus, write_sstatus),
	FUNC(0x104, "sie", read_sie, write_sie),
	STATE(0x105, "stvec", stvec, ~2ULL),
	STATE(0x106, "scounteren", scounteren, 7),
	STATE(0x10a, "senvcfg", senvcfg,
	      RV_ENVCFG_FIOM | RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE),
	STATE(0x140, "sscratch", sscratch, ~0ULL),
	STATE(0x141, "sepc", sepc, ~1ULL),
	STATE(0x142, "scause", scause, ~0ULL),
	STATE(0x143, "stval", stval, ~0ULL),
	FUNC(0x144, "sip", read_sip, write_sip),
	FUNC(0x14d, "stimecmp", read_stimecmp, write_stimecmp),
	FUNC(0x15d, "stimecmph", read_stimecmph, write_stimecmph),
	WRITTEN(0x180, "satp", satp, write_satp),
	FUNC(0x300, "mstatus", read_mstatus, write_mstatus),
	FUNC(0x301, "misa", read_misa, NULL),
	STATE(0x302, "medeleg", medeleg, EXCEPTIONS),
	WRITTEN(0x303, "mideleg", mideleg, write_mideleg),
	WRITTEN(0x304, "mie", mie, write_mie),
	STATE(0x305, "mtvec", mtvec, ~2ULL),
	STATE(0x306, "mcounteren", mcounteren, 7),
	FUNC(0x30a, "menvcfg", read_menvcfg, write_menvcfg_low),
	CONST(0x310, "mstatush", 0),
	FUNC(0x31a, "menvcfgh", read_menvcfgh, write_menvcfgh),
	STATE(0x320, "mcountinhibit", mcountinhibit, 0),
	STATE(0x340, "mscratch", mscratch, ~0ULL),
	STATE(0x341, "mepc", mepc, ~1ULL),
	STATE(0x342, "mcause", mcause, ~0ULL),
	STATE(0x343, "mtval", mtval, ~0ULL),
	FUNC(0x344, "mip", read_mip, write_mip),
	FUNC(0xb00, "mcycle", read_cycle, write_cycle),
	FUNC(0xb02, "minstret", read_instret, write_instret),
	FUNC(0xb80, "mcycleh", read_cycleh, write_cycleh),
	FUNC(0xb82, "minstreth", read_instreth, write_instreth),
	FUNC(0xc00, "cycle", read_cycle, NULL),
	FUNC(0xc01, "time", read_time, NULL),
	FUNC(0xc02, "instret", read_instret, NULL),
	FUNC(0xc80, "cycleh", read_cycleh, NULL),
	FUNC(0xc81, "timeh", read_timeh, NULL),
	FUNC(0xc82, "instreth", read_instreth, NULL),
	CONST(0xf11, "mvendorid", 0),
	CONST(0xf12, "marchid", 0),
	CONST(0xf13, "mimpid", 0),
	FUNC(0xf14, "mhartid", read_mhartid, NULL),
	CONST(0xf15, "mconfigptr", 0),
};

static const struct csr *find(unsigned number)
{
	size_t lo = 0, hi = ARRAY_SIZE(table);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (table[mid].number == number)
			return &table[mid];
		if (table[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The upper half of a register that RV64 has in one. */
static bool is_upper(unsigned n)
{
	/* and of counters: mcycleh to mhpmcounter31h, cycleh to hpmcounter31h */
	return n == RV_CSR_STIMECMPH || n == RV_CSR_MSTATUSH || n == RV_CSR_MENVCFGH ||
	       (n & 0xf80) == 0xb80 || (n & 0xf80) == 0xc80;
}

/* Is the number there at all, and may this level use it now? */
static void check(C *c, unsigned n, bool write)
{
	if (c->priv < (n >> 8 & 3) || (write && n >> 10 == 3))
		rv_illegal(c);
	if (is_upper(n) && c->xlen64)
		rv_illegal(c);
	if (n >= 1 && n <= 3 && !(c->csr.mstatus & RV_FS))
		rv_illegal(c);
	if (n == RV_CSR_SATP && c->priv == RV_S && (c->csr.mstatus & RV_TVM))
		rv_illegal(c);
	if ((n == RV_CSR_STIMECMP || n == RV_CSR_STIMECMPH) && c->priv == RV_S &&
	    !((c->csr.menvcfg & RV_ENVCFG_STCE) && (c->csr.mcounteren & 2)))
		rv_illegal(c);
	if ((n & 0xf60) == 0xc00) { /* cycle to hpmcounter31, and their upper halves */
		unsigned which = n & 31;
		if ((c->priv < RV_M && !bit(c->csr.mcounteren, which)) ||
		    (c->priv == RV_U && !bit(c->csr.scounteren, which)))
			rv_illegal(c);
	}
}

static uint64_t *slot(C *c, const struct csr *r)
{
	return (uint64_t *)(void *)((char *)&c->csr + r->offset);
}

/* False: there is none of this number. */
static bool read_any(C *c, unsigned n, uint64_t *out)
{
	uint64_t v;
	const struct csr *r = find(n);
	if (n >= RV_CSR_PMPCFG0 && n < RV_CSR_PMPCFG0 + RV_N_PMP / 4 && !(c->xlen64 && n & 1)) {
		v = read_pmpcfg(c, n - RV_CSR_PMPCFG0);
	} else if (n >= RV_CSR_PMPADDR0 && n < RV_CSR_PMPADDR0 + RV_N_PMP) {
		v = c->csr.pmpaddr[n - RV_CSR_PMPADDR0];
	} else if (!r) {
		/* Counters and events that count nothing read as zero (3.1.10) */
		bool hpm = (n & 0xfe0) == 0xb00 || (n & 0xfe0) == 0x320 ||
			   (!c->xlen64 && (n & 0xfe0) == 0xb80);
		if (!hpm || (n & 31) < 3)
			return false;
		v = 0;
	} else if (r->read) {
		v = r->read(c);
	} else {
		v = r->offset == NO_STATE ? r->mask : *slot(c, r);
	}
	*out = rv_wrap(c, v);
	return true;
}

uint64_t rv_csr_read(struct rv_cpu *c, unsigned n, bool will_write)
{
	uint64_t v;
	check(c, n, will_write);
	if (!read_any(c, n, &v))
		rv_illegal(c);
	return v;
}

uint64_t rv_csr_peek(struct rv_cpu *c, unsigned n)
{
	uint64_t v = 0;
	read_any(c, n, &v);
	return v;
}

bool rv_csr_at(unsigned i, bool xlen64, unsigned *number, const char **name)
{
	static const char pmp[][10] = { "pmpcfg0",   "pmpcfg1",   "pmpcfg2",   "pmpcfg3",
					"pmpaddr0",  "pmpaddr1",  "pmpaddr2",  "pmpaddr3",
					"pmpaddr4",  "pmpaddr5",  "pmpaddr6",  "pmpaddr7",
					"pmpaddr8",  "pmpaddr9",  "pmpaddr10", "pmpaddr11",
					"pmpaddr12", "pmpaddr13", "pmpaddr14", "pmpaddr15" };
	for (size_t k = 0; k < ARRAY_SIZE(table); k++) {
		if (xlen64 && is_upper(table[k].number))
			continue;
		*number = table[k].number;
		*name = table[k].name;
		if (i-- == 0)
			return true;
	}
	for (unsigned k = 0; k < ARRAY_SIZE(pmp); k++) {
		if (xlen64 && k < 4 && k & 1)
			continue;
		*number = k < 4 ? RV_CSR_PMPCFG0 + k : RV_CSR_PMPADDR0 + (k - 4);
		*name = pmp[k];
		if (i-- == 0)
			return true;
	}
	return false;
}

uint64_t rv_csr_rmw(const struct rv_cpu *c, unsigned n, uint64_t v)
{
	/* SEIP's other half, the interrupt controller's line, must not be written back (3.1.9). */
	return n == RV_CSR_MIP ? (v & ~BIT(RV_SEI)) | (c->csr.mip & BIT(RV_SEI)) : v;
}

void rv_csr_write(struct rv_cpu *c, unsigned n, uint64_t v)
{
	const struct csr *r = find(n);
	if (!c->xlen64)
		v = (uint32_t)v;
	if (n >= RV_CSR_PMPCFG0 && n < RV_CSR_PMPCFG0 + RV_N_PMP / 4)
		write_pmpcfg(c, n - RV_CSR_PMPCFG0, v);
	else if (n >= RV_CSR_PMPADDR0 && n < RV_CSR_PMPADDR0 + RV_N_PMP)
		write_pmpaddr(c, n - RV_CSR_PMPADDR0, v);
	else if (r && r->write)
		r->write(c, v);
	else if (r && r->offset != NO_STATE)
		*slot(c, r) = rv_wrap(c, v & r->mask);
}

void rv_csr_reset(struct rv_cpu *c)
{
	c->csr = (struct rv_csrs){ 0 };
	c->csr.stimecmp = ~0ULL;
	/* As QEMU: firmware older than these leaves them, and kernels take them as given. */
	c->csr.menvcfg = RV_ENVCFG_ADUE | RV_ENVCFG_PBMTE;
	if (c->sbi) {
		/* What firmware sets up before it enters S mode. */
		c->csr.mideleg = S_INTERRUPTS;
		c->csr.medeleg = EXCEPTIONS;
		c->csr.mcounteren = 7;
		/* And as OpenSBI has it: Linux leaves it so, its vDSO reads `time` in U-mode. */
		c->csr.scounteren = 7;
		c->csr.menvcfg = RV_ENVCFG_STCE | RV_ENVCFG_ADUE | RV_ENVCFG_PBMTE |
				 RV_ENVCFG_CBZE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBIE;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * The registers of a vCPU by name, for debuggers (engine/debug.h). Features, names and types of the
 * first ones are those that gdb's documentation asks for (appendix G.5.1, "AArch64 Features");
 * behind them come the rows of the table of system registers that have a value of their own, and
 * the timers'.
 */
#include <string.h>

#include "engine/soft/a64/sysreg.h"

enum {
	SP = 31,
	PC,
	CPSR,
	FIRST_V,
	FPSR = FIRST_V + 32,
	FPCR,
	SP_EL0,
	SP_EL1,
	FIRST_SYS,
};

static const char names[][7] = {
	"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",   "x7",   "x8",     "x9",     "x10", "x11",
	"x12", "x13", "x14", "x15", "x16", "x17", "x18",  "x19",  "x20",    "x21",    "x22", "x23",
	"x24", "x25", "x26", "x27", "x28", "x29", "x30",  "sp",   "pc",     "cpsr",   "v0",  "v1",
	"v2",  "v3",  "v4",  "v5",  "v6",  "v7",  "v8",   "v9",   "v10",    "v11",    "v12", "v13",
	"v14", "v15", "v16", "v17", "v18", "v19", "v20",  "v21",  "v22",    "v23",    "v24", "v25",
	"v26", "v27", "v28", "v29", "v30", "v31", "fpsr", "fpcr", "SP_EL0", "SP_EL1",
};
_Static_assert(ARRAY_SIZE(names) == FIRST_SYS, "a name for each");

/* What can be set in it: sysreg.c */
#define FPCR_SET (3u << FPCR_RMODE_SHIFT | FPCR_FZ | FPCR_DN | FPCR_AHP)

/* The i-th row that is shown, or NULL. */
static const struct a64_sysreg *row(size_t i)
{
	unsigned n;
	const struct a64_sysreg *table = a64_sysreg_table(&n);

	for (unsigned k = 0; k < n; k++)
		if ((table[k].offset != A64_NO_STATE || (table[k].access & A64_SHOWN)) && i-- == 0)
			return &table[k];
	return NULL;
}

bool a64_reg(const struct engine *e, size_t n, struct debug_reg *reg)
{
	(void)e;
	*reg = (struct debug_reg){ .bits = 64, .feature = "org.gnu.gdb.aarch64.core" };
	if (n >= FIRST_SYS) {
		const struct a64_sysreg *r = row(n - FIRST_SYS);
		reg->name = r ? r->name : NULL;
	} else {
		reg->name = names[n];
	}
	if (n >= SP_EL0) {
		reg->feature = "org.hako.aarch64.system";
		reg->system = true;
	} else if (n >= FIRST_V) {
		reg->feature = "org.gnu.gdb.aarch64.fpu";
		reg->bits = n < FPSR ? 128 : 32;
		reg->type = n < FPSR ? "vector" : NULL;
	} else if (n == CPSR) {
		reg->bits = 32;
	} else if (n >= SP) {
		reg->type = n == PC ? "code_ptr" : "data_ptr";
	}
	return reg->name;
}

/* A row's function, for a debugger: with EL1's rights, else it might raise an exception. */
static uint64_t read_row(struct a64_cpu *c, const struct a64_sysreg *r)
{
	uint8_t el = c->el;

	c->el = 1;
	uint64_t value = r->read(c, r);
	c->el = el;
	return value;
}

static void write_row(struct a64_cpu *c, const struct a64_sysreg *r, uint64_t value)
{
	uint8_t el = c->el;

	c->el = 1;
	r->write(c, r, value);
	c->el = el;
	a64_state_changed(c); /* it may have looked at the level */
}

/* Where SP_EL0 or SP_EL1 is now: one of them is in use. */
static uint64_t *stack_pointer(struct a64_cpu *c, unsigned el)
{
	return el == (unsigned)(c->el && c->spsel) ? &c->x[A64_SP] : &c->sys.sp_bank[el];
}

bool a64_reg_get(struct vcpu *v, size_t n, void *val)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	struct debug_reg reg;
	uint64_t value;

	if (!a64_reg(v->engine, n, &reg))
		return false;
	if (n >= FIRST_V && n < FPSR) {
		memcpy(val, &c->v[n - FIRST_V], 16);
		return true;
	}
	switch (n) {
	case SP: value = c->x[A64_SP]; break;
	case PC: value = c->pc; break;
	case CPSR: value = a64_pstate(c); break;
	case FPSR: value = c->fpsr; break;
	case FPCR: value = c->fpcr; break;
	case SP_EL0:
	case SP_EL1: value = *stack_pointer(c, n == SP_EL1); break;
	default: {
		const struct a64_sysreg *r = n < SP ? NULL : row(n - FIRST_SYS);
		if (!r)
			value = c->x[n];
		else if (r->offset == A64_NO_STATE)
			value = read_row(c, r);
		else
			value = *(uint64_t *)(void *)((char *)&c->sys + r->offset);
	}
	}
	memcpy(val, &value, reg.bits / 8);
	return true;
}

bool a64_reg_set(struct vcpu *v, size_t n, const void *val)
{
	struct a64_cpu *c = container_of(v, struct a64_cpu, vcpu);
	struct debug_reg reg;
	uint64_t value = 0;

	if (!a64_reg(v->engine, n, &reg))
		return false;
	if (n >= FIRST_V && n < FPSR) {
		memcpy(&c->v[n - FIRST_V], val, 16);
		return true;
	}
	memcpy(&value, val, reg.bits / 8);
	switch (n) {
	case SP: c->x[A64_SP] = value; break;
	case PC: c->pc = value & ~3ULL; break;
	case CPSR:
		/* Levels and modes that are not there (C5.2.18) */
		if (bits(value, 4, 0) != 0 && bits(value, 4, 0) != 4 && bits(value, 4, 0) != 5)
			return false;
		a64_set_pstate(c, value);
		break;
	case FPSR: c->fpsr = (uint32_t)value & (FPSR_QC | FPSR_IDC | 0x1f); break;
	case FPCR: c->fpcr = (uint32_t)value & FPCR_SET; break;
	case SP_EL0:
	case SP_EL1: *stack_pointer(c, n == SP_EL1) = value; break;
	default: {
		const struct a64_sysreg *r = n < SP ? NULL : row(n - FIRST_SYS);
		if (!r)
			c->x[n] = value;
		else if (r->write)
			write_row(c, r, value);
		else if (r->offset == A64_NO_STATE)
			break; /* read-only */
		else
			*(uint64_t *)(void *)((char *)&c->sys + r->offset) = value & r->value;
	}
	}
	return true;
}

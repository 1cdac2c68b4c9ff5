/* SPDX-License-Identifier: MIT */
/*
 * The registers of a hart by name, for debuggers (engine/debug.h). Features, names and types are
 * those that gdb's documentation asks for (appendix G.5.11, "RISC-V Features").
 */
#include <string.h>

#include "engine/soft/rv/cpu.h"

enum { FIRST_X = 0, PC = 32, FIRST_F, FIRST_CSR = FIRST_F + 32 };

/* Not a register of the manual: the privilege, 0 to 3. It comes behind the CSRs. */
static const char priv_name[] = "priv";

static const char names[][5] = {
	"zero", "ra",  "sp",  "gp",  "tp",   "t0",   "t1",  "t2",  "fp",   "s1",   "a0",
	"a1",   "a2",  "a3",  "a4",  "a5",   "a6",   "a7",  "s2",  "s3",   "s4",   "s5",
	"s6",   "s7",  "s8",  "s9",  "s10",  "s11",  "t3",  "t4",  "t5",   "t6",   "pc",
	"ft0",  "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1",  "fa0",
	"fa1",  "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4",  "fs5",
	"fs6",  "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};
_Static_assert(ARRAY_SIZE(names) == FIRST_CSR, "a name for each");

enum { X_SP = 2, X_FP = 8, X_RA = 1 };

static uint16_t xlen(const struct engine *e)
{
	return e->cfg.arch == GUEST_RV64 ? 64 : 32;
}

/* The number of the CSR that is register n; false: it is `priv`, or nothing. */
static bool csr_of(const struct engine *e, size_t n, unsigned *csr, const char **name)
{
	return n >= FIRST_CSR && n < 1000 &&
	       rv_csr_at((unsigned)n - FIRST_CSR, xlen(e) == 64, csr, name);
}

bool rv_reg(const struct engine *e, size_t n, struct debug_reg *reg)
{
	unsigned csr;

	*reg = (struct debug_reg){ .bits = xlen(e) };
	if (n < FIRST_CSR) {
		bool f = n >= FIRST_F;
		reg->name = names[n];
		reg->feature = f ? "org.gnu.gdb.riscv.fpu" : "org.gnu.gdb.riscv.cpu";
		reg->bits = f ? 64 : xlen(e);
		reg->type = f                        ? "ieee_double"
			    : n == PC || n == X_RA   ? "code_ptr"
			    : n == X_SP || n == X_FP ? "data_ptr"
						     : NULL;
		return true;
	}
	if (csr_of(e, n, &csr, &reg->name)) {
		reg->feature = "org.gnu.gdb.riscv.csr";
		reg->system = true;
		return true;
	}
	reg->name = priv_name;
	reg->feature = "org.gnu.gdb.riscv.virtual";
	return n == FIRST_CSR || csr_of(e, n - 1, &csr, &(const char *){ NULL });
}

bool rv_reg_get(struct vcpu *v, size_t n, void *val)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	struct debug_reg reg;
	const char *name;
	unsigned csr;

	if (!rv_reg(v->engine, n, &reg))
		return false;
	uint64_t value = n < PC                              ? c->x[n]
			 : n == PC                           ? c->pc
			 : n < FIRST_CSR                     ? c->f[n - FIRST_F]
			 : csr_of(v->engine, n, &csr, &name) ? rv_csr_peek(c, csr)
							     : c->priv;
	memcpy(val, &value, reg.bits / 8);
	return true;
}

bool rv_reg_set(struct vcpu *v, size_t n, const void *val)
{
	struct rv_cpu *c = container_of(v, struct rv_cpu, vcpu);
	struct debug_reg reg;
	const char *name;
	uint64_t value = 0;
	unsigned csr;

	if (!rv_reg(v->engine, n, &reg))
		return false;
	memcpy(&value, val, reg.bits / 8);
	if (n == 0)
		return value == 0;
	if (n < PC) {
		c->x[n] = rv_wrap(c, value);
	} else if (n == PC) {
		c->pc = rv_wrap(c, value) & ~1ULL;
	} else if (n < FIRST_CSR) {
		c->f[n - FIRST_F] = value;
		c->csr.mstatus |= RV_FS;
	} else if (csr_of(v->engine, n, &csr, &name)) {
		rv_csr_write(c, csr, value);
	} else {
		if (value != RV_U && value != RV_S && value != RV_M)
			return false;
		c->priv = (uint8_t)value;
		rv_state_changed(c);
	}
	return true;
}

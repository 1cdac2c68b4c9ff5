/* SPDX-License-Identifier: MIT */
/*
 * Kernel files: recognised, laid out, loaded.
 *
 *      byte 0          the set of enum kernel_arch that is wanted
 *      byte 1          MiB of RAM, modulo 64; and bit 7: there is an initrd
 *      the rest        the file
 */
#include "fuzz.h"

#include "base/bits.h"
#include "base/err.h"
#include "boot/kernel.h"
#include "boot/layout.h"
#include "boot/x86.h"
#include "mem/gmem.h"

#define MIB  (1ULL << 20)
#define HIGH 0x80000000ULL /* RAM of all but x86 */

/* What the layout has promised. */
static void check_apart(const struct layout_config *c, const struct layout *l)
{
	gpa_t end = c->ram_base + c->ram_size;

	if (!l->initrd)
		return;
	fuzz_check(l->initrd >= c->ram_base + c->tables &&
		   range_ok(l->initrd - c->ram_base, c->initrd_size, c->ram_size));
	for (unsigned i = 0; i < c->kernel->n_segments; i++) {
		const struct kernel_segment *s = &c->kernel->segments[i];

		fuzz_check(s->addr >= c->ram_base + c->tables && s->size <= end - s->addr);
		fuzz_check(s->addr >= l->initrd + c->initrd_size || s->addr + s->size <= l->initrd);
	}
	if (!c->kernel->n_segments)
		fuzz_check(l->kernel >= l->initrd + c->initrd_size ||
			   l->kernel + c->kernel->image_size <= l->initrd);
}

static void load(struct gmem *mem, const struct kernel *k, uint64_t ram, uint64_t initrd)
{
	bool x86 = k->arch == KERNEL_X86_64;
	const struct layout_config c = {
		.ram_base = x86 ? 0 : HIGH,
		.ram_size = ram,
		.kernel = k,
		.initrd_size = initrd,
		.dtb_size = x86 ? 0 : 4096,
		.tables = x86 ? X86_TABLES_END : 0,
	};
	struct err err = ERR_INIT;
	struct layout l = { 0 };
	int res = x86                       ? layout_x86(&l, &c, &err)
		  : k->arch == KERNEL_ARM64 ? layout_arm64(&l, &c, &err)
					    : layout_riscv(&l, &c, &err);

	fuzz_check(!res == !err.msg[0]);
	if (res)
		return;
	check_apart(&c, &l);
	res = kernel_load(k, mem, l.kernel, &err);
	fuzz_check(!res == !err.msg[0]);
	if (res || !x86)
		return;
	kernel_elf_contains(k, "LNRO0005", 8);
	const struct x86_boot_config boot = {
		.ram_low = ram,
		.kernel = k,
		.cmdline = "",
		.initrd = l.initrd,
		.initrd_size = initrd,
	};
	fuzz_check(!x86_boot_load(&boot, mem, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gmem *mem; /* what is left in it by the input before matters to nobody */
	struct input in = { data, size };
	unsigned wanted = (unsigned)input_take(&in, 1) & KERNEL_ANY;
	unsigned ram = (unsigned)input_take(&in, 1);
	struct err err = ERR_INIT;
	struct kernel k;
	int res;

	if (!mem) {
		fuzz_check(!gmem_create(&mem, NULL));
		fuzz_check(!gmem_add_ram(mem, 0, 64 * MIB, NULL));
		fuzz_check(!gmem_add_ram(mem, HIGH, 64 * MIB, NULL));
	}
	if (!wanted)
		wanted = KERNEL_ANY;
	res = kernel_from_bytes(&k, in.at, in.left, wanted, &err);
	fuzz_check(!res == !err.msg[0]);
	if (res)
		return 0;
	fuzz_check(is_pow2(k.arch) && (k.arch & wanted));
	load(mem, &k, (ram % 63 + 2) * MIB, ram & 0x80 ? 5000 : 0);
	kernel_close(&k);
	return 0;
}

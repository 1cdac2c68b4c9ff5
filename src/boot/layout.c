/* SPDX-License-Identifier: MIT */
/*
 * Places for kernel, initrd and device tree. arm64: booting.rst sections 2 to 4.
 */
#include "boot/layout.h"

#include <errno.h>

#include "base/bits.h"
#include "base/err.h"
#include "boot/kernel.h"

#define BLOCK  (2ULL << 20) /* what the kernel's early page tables map with one entry */
#define MIB(n) ((unsigned long long)(((n) + (1ULL << 20) - 1) >> 20)) /* rounded up */

/* The kernel and its initrd lie in one 1 GiB-aligned window of this size. */
#define WINDOW       (32ULL << 30)
#define WINDOW_ALIGN (1ULL << 30)

struct range {
	uint64_t start, end; /* offsets from the start of RAM */
};

/*
 * The lowest `align`ed place for `size` bytes in [from, ram_size) that stays clear of `taken`;
 * UINT64_MAX when there is none.
 */
static uint64_t place(uint64_t from, uint64_t size, uint64_t align, const struct range *taken,
		      uint64_t ram_size)
{
	uint64_t at = align_up(from, align);

	if (at < taken->end && at + size > taken->start)
		at = align_up(taken->end, align);
	return range_ok(at, size, ram_size) ? at : UINT64_MAX;
}

static int too_small(const struct layout_config *c, uint64_t kernel_end, struct err *err)
{
	uint64_t need = align_up(kernel_end, BLOCK) + align_up(c->dtb_size, BLOCK) +
			align_up(c->initrd_size, BLOCK) + (c->firmware ? BLOCK : 0);
	uint64_t kernel_size = c->kernel->image_size;

	if (c->kernel->n_segments)
		kernel_size = kernel_elf_end(c->kernel) - kernel_elf_start(c->kernel);
	if (c->initrd_size)
		return err_set(err, -ENOMEM,
			       "kernel (%llu MiB) and initrd (%llu MiB) do not fit into %llu MiB "
			       "of memory; give the machine at least %llu MiB",
			       MIB(kernel_size), MIB(c->initrd_size), MIB(c->ram_size), MIB(need));
	return err_set(err, -ENOMEM,
		       "the kernel (%llu MiB) does not fit into %llu MiB of memory; give the "
		       "machine at least %llu MiB",
		       MIB(kernel_size), MIB(c->ram_size), MIB(need));
}

/* All of what an ELF file loads lies in RAM that is free? */
static int check_segments(const struct layout_config *c, const struct kernel *k, struct err *err)
{
	gpa_t start = c->ram_base + c->tables, end = c->ram_base + c->ram_size;

	for (unsigned i = 0; i < k->n_segments; i++) {
		const struct kernel_segment *s = &k->segments[i];

		if (s->addr >= start && range_ok(s->addr - start, s->size, end - start))
			continue;
		return err_set(err, -EINVAL,
			       "cannot boot '%s': its segment from %#llx to %#llx is outside the "
			       "memory%s, which is from %#llx to %#llx; link it to addresses in "
			       "it, or give the machine more",
			       k->path, (unsigned long long)s->addr,
			       (unsigned long long)(s->addr + s->size - 1),
			       c->tables ? " for it" : "", (unsigned long long)start,
			       (unsigned long long)(end - 1));
	}
	return 0;
}

/* Place one of kernel or firmware: its first offset in RAM when it has the choice, and its end. */
static int place_code(const struct layout_config *c, const struct kernel *k, uint64_t from,
		      struct range *at, struct err *err)
{
	if (k->n_segments) {
		int r = check_segments(c, k, err);

		if (r)
			return r;
		at->start = kernel_elf_start(k) - c->ram_base;
		at->end = kernel_elf_end(k) - c->ram_base;
		return 0;
	}
	at->start = k->text_offset > from ? k->text_offset : from;
	at->end = at->start + k->image_size;
	return 0;
}

/* The user's choice of a place for the tree. */
static int check_dtb_addr(const struct layout_config *c, const struct range *kernel,
			  struct err *err)
{
	uint64_t at = c->dtb_addr - c->ram_base;

	if (c->dtb_addr < c->ram_base || !range_ok(at, c->dtb_size, c->ram_size))
		return err_set(err, -EINVAL,
			       "the device tree cannot be at %#llx: memory is from %#llx to "
			       "%#llx",
			       (unsigned long long)c->dtb_addr, (unsigned long long)c->ram_base,
			       (unsigned long long)(c->ram_base + c->ram_size - 1));
	if (c->dtb_addr % 8 || c->dtb_addr / BLOCK != (c->dtb_addr + c->dtb_size - 1) / BLOCK)
		return err_set(err, -EINVAL,
			       "the device tree cannot be at %#llx: it must begin at a "
			       "multiple of 8 and lie within one block of 2 MiB",
			       (unsigned long long)c->dtb_addr);
	if (at < kernel->end && at + c->dtb_size > kernel->start)
		return err_set(err, -EINVAL,
			       "the device tree cannot be at %#llx: the kernel is there, up "
			       "to %#llx",
			       (unsigned long long)c->dtb_addr,
			       (unsigned long long)(c->ram_base + kernel->end - 1));
	return 0;
}

/* ---- arm64 ---- */

/* Room that is enough for a tree of hako's. */
#define TREE_MIN (64ULL << 10)

int layout_arm64(struct layout *l, const struct layout_config *c, struct err *err)
{
	const struct kernel *k = c->kernel;
	/* kernel.h bounds both; sums below cannot overflow with sizes that files can have. */
	struct range kernel = { 0, k->text_offset + k->image_size + k->bss_slack }, tree;
	uint64_t initrd = 0;
	int r = 0;

	if (c->initrd_size > INT64_MAX || c->ram_size > INT64_MAX)
		return too_small(c, kernel.end, err);
	if (k->n_segments)
		r = place_code(c, k, 0, &kernel, err);
	if (!r && kernel.end > c->ram_size)
		r = too_small(c, kernel.end, err);
	if (!r && c->dtb_addr)
		r = check_dtb_addr(c, &kernel, err);
	if (r)
		return r;

	if (c->dtb_addr)
		tree.start = c->dtb_addr - c->ram_base;
	else
		tree.start = kernel.start >= TREE_MIN ? 0 : align_up(kernel.end, BLOCK);
	tree.end = tree.start + c->dtb_size;
	if (tree.start < kernel.start && tree.end > kernel.start)
		tree.end = kernel.start;
	if (tree.end > c->ram_size)
		return too_small(c, kernel.end, err);

	/* Before a tree behind the kernel there would be less than 2 MiB, and the kernel's end is
	 * not a place to be tight at. */
	if (c->initrd_size) {
		initrd = place(align_up(kernel.end, BLOCK), c->initrd_size, GMEM_PAGE_SIZE, &tree,
			       c->ram_size);
		if (initrd == UINT64_MAX)
			return too_small(c, kernel.end, err);
		if (c->ram_base + initrd + c->initrd_size >
		    align_down(c->ram_base, WINDOW_ALIGN) + WINDOW)
			return err_set(err, -EFBIG,
				       "the initrd (%llu MiB) is too large: Linux takes kernel and "
				       "initrd only within %llu GiB",
				       MIB(c->initrd_size), WINDOW >> 30);
	}

	l->kernel = k->n_segments ? k->entry : c->ram_base + k->text_offset;
	l->dtb = c->ram_base + tree.start;
	l->dtb_size = tree.end - tree.start;
	l->initrd = initrd ? c->ram_base + initrd : 0;
	return 0;
}

/* ---- RISC-V ---- */

/* The highest `align`ed place for `size` bytes below `limit` that stays clear of `taken`. */
static uint64_t place_high(uint64_t size, uint64_t align, const struct range *taken, uint64_t limit)
{
	uint64_t at = size > limit ? UINT64_MAX : align_down(limit - size, align);

	if (at != UINT64_MAX && at < taken->end && at + size > taken->start)
		at = size > taken->start ? UINT64_MAX : align_down(taken->start - size, align);
	return at;
}

int layout_riscv(struct layout *l, const struct layout_config *c, struct err *err)
{
	const struct kernel *k = c->kernel, *fw = c->firmware;
	bool rv32 = k->arch == KERNEL_RV32;
	/* A 32-bit Linux reaches the first GiB without further ado. */
	uint64_t limit = rv32 && c->ram_size > 1ULL << 30 ? 1ULL << 30 : c->ram_size;
	/* Linux maps itself in blocks of 2 MiB, or 4 MiB on 32 bits (boot.rst,
	 * "Kernel location"). */
	uint64_t block = rv32 ? 2 * BLOCK : BLOCK;
	struct range firmware = { 0 }, kernel = { 0 }, tree;
	uint64_t initrd = 0, page;
	int r = 0;

	if (c->initrd_size > INT64_MAX || c->ram_size > INT64_MAX)
		return too_small(c, 0, err);
	if (fw)
		r = place_code(c, fw, 0, &firmware, err);
	if (!r && firmware.end > c->ram_size)
		r = err_set(err, -ENOMEM, "the firmware '%s' does not fit into %llu MiB of memory",
			    fw->path, MIB(c->ram_size));
	if (!r)
		r = place_code(c, k, align_up(firmware.end, block), &kernel, err);
	if (r)
		return r;
	if (kernel.start < firmware.end && firmware.start < kernel.end)
		return err_set(err, -EINVAL,
			       "the kernel '%s' begins at %#llx, where the firmware '%s' is, up to "
			       "%#llx; link it to a higher address",
			       k->path, (unsigned long long)(c->ram_base + kernel.start), fw->path,
			       (unsigned long long)(c->ram_base + firmware.end - 1));
	if (kernel.end > c->ram_size)
		return too_small(c, kernel.end, err);

	if (c->dtb_addr) {
		const struct range taken = { 0, kernel.end };

		r = check_dtb_addr(c, &taken, err);
		if (r)
			return r;
		tree.start = c->dtb_addr - c->ram_base;
	} else {
		const struct range nothing = { 0 };
		tree.start = place_high(c->dtb_size, BLOCK, &nothing, limit);
	}
	tree.end = tree.start + c->dtb_size;
	if (tree.start == UINT64_MAX || tree.start < kernel.end)
		return too_small(c, kernel.end, err);
	page = fw ? place_high(GMEM_PAGE_SIZE, GMEM_PAGE_SIZE, &tree, limit) : tree.start;
	if (page == UINT64_MAX || page < kernel.end)
		return too_small(c, kernel.end, err);
	if (c->initrd_size) {
		/* The page is next to the tree, whichever comes first. */
		const struct range above = {
			tree.start < page ? tree.start : page,
			tree.start < page ? page + GMEM_PAGE_SIZE : tree.end,
		};
		initrd = place_high(c->initrd_size, GMEM_PAGE_SIZE, &above, limit);
		if (initrd == UINT64_MAX || initrd < kernel.end)
			return too_small(c, kernel.end, err);
	}

	l->kernel = k->n_segments ? k->entry : c->ram_base + kernel.start;
	l->firmware = fw ? fw->n_segments ? fw->entry : c->ram_base + firmware.start : 0;
	l->firmware_page = fw ? c->ram_base + page : 0;
	l->dtb = c->ram_base + tree.start;
	l->dtb_size = c->dtb_size;
	l->initrd = initrd ? c->ram_base + initrd : 0;
	return 0;
}

/* ---- x86 ---- */

/* A kernel that does not say takes an initrd up to here (boot.rst, initrd_addr_max). */
#define INITRD_MAX 0x37ffffffULL

int layout_x86(struct layout *l, const struct layout_config *c, struct err *err)
{
	const struct kernel *k = c->kernel;
	const struct range nothing = { 0 };
	uint64_t limit = k->bzimage.header_len ? k->bzimage.initrd_max : INITRD_MAX, initrd;
	struct range kernel;
	int r;

	*l = (struct layout){ 0 };
	if (c->initrd_size > INT64_MAX || c->ram_size > INT64_MAX)
		return too_small(c, 0, err);
	r = place_code(c, k, c->tables, &kernel, err);
	if (r)
		return r;
	if (kernel.end > c->ram_size)
		return too_small(c, kernel.end, err);
	l->kernel = k->n_segments ? k->entry : kernel.start;
	if (!c->initrd_size)
		return 0;

	limit = limit < c->ram_size ? limit + 1 : c->ram_size;
	initrd = place_high(c->initrd_size, GMEM_PAGE_SIZE, &nothing, limit);
	if (initrd != UINT64_MAX && initrd >= kernel.end) {
		l->initrd = initrd;
		return 0;
	}
	if (limit == c->ram_size)
		return too_small(c, kernel.end, err);
	return err_set(
		err, -EFBIG,
		"the initrd (%llu MiB) is too large: the kernel ends at %llu MiB and takes an "
		"initrd only below %llu MiB",
		MIB(c->initrd_size), MIB(kernel.end), MIB(limit));
}

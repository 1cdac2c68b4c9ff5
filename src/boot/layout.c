/* SPDX-License-Identifier: MIT */
/*
 * Places for kernel, initrd and device tree on arm64; booting.rst sections 2 to 4.
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
			align_up(c->initrd_size, BLOCK);

	if (c->initrd_size)
		return err_set(err, -ENOMEM,
			       "kernel (%llu MiB) and initrd (%llu MiB) do not fit into %llu MiB "
			       "of memory; give the machine at least %llu MiB",
			       MIB(c->kernel->image_size), MIB(c->initrd_size), MIB(c->ram_size),
			       MIB(need));
	return err_set(err, -ENOMEM,
		       "the kernel (%llu MiB) does not fit into %llu MiB of memory; give the "
		       "machine at least %llu MiB",
		       MIB(c->kernel->image_size), MIB(c->ram_size), MIB(need));
}

int layout_arm64(struct layout *l, const struct layout_config *c, struct err *err)
{
	const struct kernel *k = c->kernel;
	struct range tree;
	uint64_t kernel_end, initrd;

	/* kernel.h bounds both; sums below cannot overflow with sizes that files can have. */
	kernel_end = k->text_offset + k->image_size + k->bss_slack;
	if (c->initrd_size > INT64_MAX || c->ram_size > INT64_MAX || kernel_end > c->ram_size)
		return too_small(c, kernel_end, err);

	if (c->dtb_addr) {
		if (c->dtb_addr < c->ram_base ||
		    !range_ok(c->dtb_addr - c->ram_base, c->dtb_size, c->ram_size))
			return err_set(
				err, -EINVAL,
				"the device tree cannot be at %#llx: memory is from %#llx to "
				"%#llx",
				(unsigned long long)c->dtb_addr, (unsigned long long)c->ram_base,
				(unsigned long long)(c->ram_base + c->ram_size - 1));
		if (c->dtb_addr % 8 ||
		    c->dtb_addr / BLOCK != (c->dtb_addr + c->dtb_size - 1) / BLOCK)
			return err_set(err, -EINVAL,
				       "the device tree cannot be at %#llx: it must begin at a "
				       "multiple of 8 and lie within one block of 2 MiB",
				       (unsigned long long)c->dtb_addr);
		tree.start = c->dtb_addr - c->ram_base;
		if (tree.start < kernel_end)
			return err_set(
				err, -EINVAL,
				"the device tree cannot be at %#llx: the kernel is there, up "
				"to %#llx",
				(unsigned long long)c->dtb_addr,
				(unsigned long long)(c->ram_base + kernel_end - 1));
	} else {
		tree.start = align_up(kernel_end, BLOCK);
		if (!range_ok(tree.start, c->dtb_size, c->ram_size))
			return too_small(c, kernel_end, err);
	}
	tree.end = tree.start + c->dtb_size;

	/*
	 * A tree of hako's choosing is followed by the initrd; in front of it there would be less
	 * than 2 MiB, and the kernel's end is not a place to be tight at.
	 */
	initrd = 0;
	if (c->initrd_size) {
		initrd = place(c->dtb_addr ? align_up(kernel_end, BLOCK) : tree.end, c->initrd_size,
			       GMEM_PAGE_SIZE, &tree, c->ram_size);
		if (initrd == UINT64_MAX)
			return too_small(c, kernel_end, err);
		if (c->ram_base + initrd + c->initrd_size >
		    align_down(c->ram_base, WINDOW_ALIGN) + WINDOW)
			return err_set(err, -EFBIG,
				       "the initrd (%llu MiB) is too large: Linux takes kernel and "
				       "initrd only within %llu GiB",
				       MIB(c->initrd_size), WINDOW >> 30);
	}

	l->kernel = c->ram_base + k->text_offset;
	l->dtb = c->ram_base + tree.start;
	l->initrd = initrd ? c->ram_base + initrd : 0;
	return 0;
}

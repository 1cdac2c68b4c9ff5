/* SPDX-License-Identifier: MIT */
/*
 * The device tree, in which the machine tells what it is made of (Devicetree Specification 0.4,
 * chapter 5, "Flattened Devicetree Format"). It is a stream of big-endian words: "a node begins",
 * its name; "a property", its length and where its name is; "the node ends".
 *
 * The kernel asks only for what differs from run to run: the memory, the command line and the speed
 * of the clock. Where the devices are it knows: each machine.h has the memory map of QEMU's "virt"
 * machine, which hako has too. So the console works before anything else does, and a broken tree
 * can be complained of.
 */
#include "kernel.h"

/* 5.2, struct fdt_header, and 5.4.1: the tokens. */
enum {
	MAGIC = 0xd00dfeed,
	TOTALSIZE = 4,
	OFF_DT_STRUCT = 8,
	OFF_DT_STRINGS = 12,
	BEGIN_NODE = 1,
	END_NODE = 2,
	PROP = 3,
	NOP = 4,
	SIZE_MAX_TREE = 1 << 21,
};

struct reader {
	const u8 *tree;
	u32 size;
	u32 at;
};

static u32 word(const struct reader *r, u32 at)
{
	const u8 *p = r->tree + at;

	if (at > r->size - 4)
		return 0;
	return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

static u32 next_word(struct reader *r)
{
	r->at += 4;
	return word(r, r->at - 4);
}

/* A string that ends inside the tree, or an empty one. */
static const char *string(const struct reader *r, u32 at)
{
	for (u32 end = at; end < r->size; end++)
		if (!r->tree[end])
			return (const char *)r->tree + at;
	return "";
}

/* An address or a size has as many words as the parent node says (2.3.5). */
static u64 cells(const struct reader *r, u32 at, u32 n)
{
	u64 value = 0;

	for (u32 i = 0; i < n; i++)
		value = value << 32 | word(r, at + i * 4);
	return value;
}

static bool starts(const char *s, const char *with)
{
	for (; *with; s++, with++)
		if (*s != *with)
			return false;
	return true;
}

static void set_ram(struct boot_info *info, u64 base, u64 size)
{
	/* The last page of the address space stays out, so that the end is an address too. */
	u64 top = (u64)(uintptr_t)-PAGE_SIZE;

	info->ram_start = (uintptr_t)base;
	info->ram_end = (uintptr_t)(base + size < top ? base + size : top);
}

bool tree_read(struct boot_info *info, const void *tree)
{
	struct reader r = { .tree = tree, .size = 8 };
	u32 depth = 0, address_cells = 2, size_cells = 1;
	const char *node = "";

	if (!tree || word(&r, 0) != MAGIC)
		return false;
	r.size = word(&r, TOTALSIZE);
	if (r.size < 40 || r.size > SIZE_MAX_TREE)
		return false;
	r.at = word(&r, OFF_DT_STRUCT);
	u32 strings = word(&r, OFF_DT_STRINGS);
	while (r.at < r.size) {
		u32 token = next_word(&r);

		if (token == BEGIN_NODE) {
			const char *name = string(&r, r.at);
			depth++;
			/* Of a path only the part below the root matters here. */
			if (depth == 2)
				node = name;
			r.at = (u32)ALIGN_UP(r.at + strlen(name) + 1, 4);
		} else if (token == END_NODE) {
			depth--;
		} else if (token == PROP) {
			u32 length = next_word(&r);
			const char *name = string(&r, strings + next_word(&r));
			u32 value = r.at;

			if (value > r.size || length > r.size - value)
				return false;
			r.at = (u32)ALIGN_UP(value + length, 4);
			if (depth == 1 && !strcmp(name, "#address-cells"))
				address_cells = word(&r, value);
			if (depth == 1 && !strcmp(name, "#size-cells"))
				size_cells = word(&r, value);
			if (depth != 2)
				continue;
			/* 3.4: a machine may have several; the kernel takes the first. */
			if (starts(node, "memory@") && !strcmp(name, "reg") && !info->ram_end)
				set_ram(info, cells(&r, value, address_cells),
					cells(&r, value + address_cells * 4, size_cells));
			if (!strcmp(node, "cpus") && !strcmp(name, "timebase-frequency"))
				info->timebase = word(&r, value);
			if (!strcmp(node, "chosen") && !strcmp(name, "bootargs"))
				copy_string(info->args, sizeof(info->args), string(&r, value));
		} else if (token != NOP) {
			break;
		}
	}
	return info->ram_end > info->ram_start;
}

bool has_arg(const struct boot_info *info, const char *arg)
{
	size_t n = strlen(arg);

	for (const char *at = info->args; *at;) {
		if (starts(at, arg) && (!at[n] || at[n] == ' '))
			return true;
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	return false;
}

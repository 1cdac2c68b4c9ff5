/* SPDX-License-Identifier: MIT */
/*
 * What the boards with a device tree share, arm64.c and riscv.c: the tree's making, and what is
 * loaded beside the kernel. On the control thread, when no vCPU runs.
 */
#ifndef HAKO_MACHINE_TREE_H
#define HAKO_MACHINE_TREE_H

struct dtb_chosen;
struct err;
struct hako_vm;
struct layout;

/* Make the board's own tree: vm->dtb, vm->dtb_size. */
typedef int tree_build_fn(struct hako_vm *vm, const struct dtb_chosen *chosen, struct err *err);

/*
 * The tree that the guest gets: the user's, with what hako decides put into it, or else the board's
 * own. -E2BIG when that is more than there is room for.
 */
int tree_make(struct hako_vm *vm, const struct layout *l, tree_build_fn *build, struct err *err);
/* The initrd, if there is one, and the tree, to their places in RAM. */
int tree_load(struct hako_vm *vm, const struct layout *l, struct err *err);

#endif

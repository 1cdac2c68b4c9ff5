/* SPDX-License-Identifier: MIT */
/*
 * The device tree that tells a guest what its machine is made of: built, or read from a file.
 *
 * Bindings: Devicetree Specification 0.4, and Documentation/devicetree/bindings of Linux, by the
 * name of each `compatible`.
 *
 * Trees are blobs on the heap: the caller frees them.
 */
#ifndef HAKO_BOOT_DTB_H
#define HAKO_BOOT_DTB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"

struct err;

/* What /chosen says. */
struct dtb_chosen {
	const char *bootargs;           /* NULL: none */
	gpa_t initrd_start, initrd_end; /* equal: none */
	bool rng_seed;                  /* 64 random bytes for the kernel's generator */
	bool kaslr_seed; /* a random place in virtual memory. Makes Linux isolate its page tables */
};

/*
 * A device with registers and one interrupt: the number of an SPI (0 is interrupt 32 of the GIC),
 * or of a source of the PLIC.
 */
struct dtb_device {
	gpa_t base;
	uint64_t size;
	unsigned irq;
};

/* The machine's memory map; the addresses are the machine's to choose. */
struct dtb_arm64_config {
	gpa_t ram_base;
	uint64_t ram_size;
	unsigned n_cpus;
	unsigned gic_version; /* 3 or 2 */
	gpa_t gicd_base;      /* distributor */
	uint64_t gicd_size;
	/* GICv3: the redistributors of all CPUs, one after the other; GICv2: the CPU interface. */
	gpa_t gic_cpu_base;
	uint64_t gic_cpu_size;
	/* PPIs of the generic timers, by number (0 is interrupt 16). */
	unsigned ppi_secure, ppi_phys, ppi_virt, ppi_hyp;
	struct dtb_device uart, rtc;
	struct dtb_device virtio; /* the first slot; the others follow, in address and SPI */
	unsigned n_virtio;
	struct dtb_chosen chosen;
};

int dtb_arm64(const struct dtb_arm64_config *config, void **blob, size_t *size, struct err *err);

enum { DTB_ISA_MAX = 1024 };

struct dtb_riscv_config {
	gpa_t ram_base;
	uint64_t ram_size;
	unsigned n_cpus;
	bool rv64;
	const char *isa;                 /* "rv64imac_zicbom", shorter than DTB_ISA_MAX */
	const char *mmu;                 /* mmu-type, or NULL: not told */
	unsigned cbom_block, cboz_block; /* bytes, 0: not told */
	unsigned timebase;               /* Hz */
	bool machine_mode;               /* harts have it: the PLIC interrupts it too */
	struct dtb_device clint, plic, uart, rtc, test; /* clint.size 0: there is none */
	unsigned plic_sources;                          /* the highest number of one */
	struct dtb_device virtio;                       /* as above */
	unsigned n_virtio;
	struct dtb_chosen chosen;
};

int dtb_riscv(const struct dtb_riscv_config *config, void **blob, size_t *size, struct err *err);

/*
 * Read and check a compiled device tree: at most DTB_SIZE_MAX bytes, every node and string in
 * bounds. A source (.dts) is refused by name.
 */
int dtb_file(const char *path, void **blob, size_t *size, struct err *err);

/*
 * Put what hako decides into /chosen of somebody else's tree, which may move: the initrd always;
 * bootargs and seeds where the tree has none, or all the same when `replace`.
 */
int dtb_chosen_update(void **blob, size_t *size, const struct dtb_chosen *chosen, bool replace,
		      struct err *err);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a disk read costs in hako itself, without a CPU: the real virtio-blk over a real file,
 * driven by tests/lib.
 *
 *	blkcost IMAGE N
 *
 * reads N times 4 KiB at random places, one after the other with an interrupt for each, and prints
 * the nanoseconds for one. Under valgrind --tool=callgrind --separate-threads=yes, the instructions
 * of all threads but the first, which is the driver, are the device's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bits.h"
#include "virtio/virtio.h"
#include "vrig.h"

enum { BLOCK = 4096, SECTOR = 512, RAM = 16 << 20 };

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int measure(struct vrig *rig, unsigned long n)
{
	const uint64_t want =
		BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX);
	struct vdriver *d = &rig->driver;
	struct vd_queue q;
	struct vd_blk request;
	struct vd_buf buf = { .len = BLOCK };
	uint64_t blocks, seed = 1;
	double start;

	if (vd_begin(d, want) || vd_queue_init(d, &q, 0, 128))
		return 1;
	vd_go(d);
	vd_interrupts(&q, true);
	vd_blk_init(d, &request);
	buf.gpa = vd_alloc(d, BLOCK, BLOCK);
	blocks = vd_config(d, 0, 8) * SECTOR / BLOCK; /* 5.2.4: capacity */

	start = now_ns();
	for (unsigned long i = 0; i < n; i++) {
		uint16_t head;
		uint32_t len;

		seed = seed * 6364136223846793005 + 1442695040888963407; /* Knuth's MMIX */
		if (vd_blk_add(&q, &request, VD_BLK_IN, (seed >> 24) % blocks * (BLOCK / SECTOR),
			       &buf, 1, true) < 0)
			return 1;
		vd_kick(&q);
		if (vd_wait_irq(&rig->irq))
			return 1;
		vd_set(d, VD_INTERRUPT_ACK, vd_get(d, VD_INTERRUPT_STATUS));
		if (!vd_used(&q, &head, &len) || vd_blk_status(d, &request))
			return 1;
		vd_interrupts(&q, true);
	}
	printf("%.0f\n", (now_ns() - start) / (double)n);
	return 0;
}

int main(int argc, char **argv)
{
	struct vrig rig;
	struct err err = ERR_INIT;
	unsigned long n = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	int status;

	if (!n) {
		fprintf(stderr, "usage: blkcost IMAGE N\n");
		return 2;
	}
	vrig_init(&rig, RAM);
	rig.lint = LINT_WARN; /* as hako run */
	if (vrig_disk(&rig, argv[1], true, &err)) {
		fprintf(stderr, "blkcost: %s\n", err.msg);
		return 1;
	}
	status = measure(&rig, n);
	if (status)
		fprintf(stderr, "blkcost: the device did not do as it should\n");
	vrig_fini(&rig);
	return status;
}

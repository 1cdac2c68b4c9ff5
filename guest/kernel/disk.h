/* SPDX-License-Identifier: MIT */
/* Disks: the virtio block devices of the machine, in the order of their slots. */
#ifndef DISK_H
#define DISK_H

#include "virtio.h"

enum { QUEUE_SIZE = 32, REQUESTS = 8, CHUNK_SECTORS = 64 };

/* What became of a request: 5.2.6, the device's answer, and what the driver adds to it. */
enum disk_result {
	DISK_OK = 0,
	DISK_IO_ERROR = 1,
	DISK_UNSUPPORTED = 2,
	DISK_BROKEN,       /* the device needs a reset, or does what it must not */
	DISK_OUT_OF_RANGE, /* beyond the capacity */
	DISK_READ_ONLY,
	DISK_TIMEOUT,
};

/* 5.2.6, struct virtio_blk_req, without the data, which stays where the caller has it. */
struct disk_request {
	u32 type;
	u32 reserved;
	u64 sector;
	volatile u8 status; /* the device writes it */
	bool in_flight;
};

struct disk {
	struct virtio virtio;
	struct virtq queue;
	struct disk_request requests[REQUESTS];
	unsigned n_in_flight;
	unsigned depth; /* how many may be in flight: REQUESTS, or less */
	bool polling;
	bool broken;
	enum disk_result error; /* the first one of those in flight */
	u64 sectors;
	bool read_only;
	bool can_flush;
	char name[8];
};

void disks_init(void);
struct disk *disk_get(unsigned index); /* NULL: there are not so many */
void disk_irq(unsigned irq);

enum disk_result disk_read(struct disk *d, u64 sector, void *to, u64 sectors);
enum disk_result disk_write(struct disk *d, u64 sector, const void *from, u64 sectors);
/* All that was written is on the disk, and survives a power cut. */
enum disk_result disk_flush(struct disk *d);
const char *disk_result_text(enum disk_result result);

#endif

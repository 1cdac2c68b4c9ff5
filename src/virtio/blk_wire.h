/* SPDX-License-Identifier: MIT */
/*
 * What goes between a virtio block device and its driver, for both of them: virtio 1.2, 5.2.
 */
#ifndef HAKO_VIRTIO_BLK_WIRE_H
#define HAKO_VIRTIO_BLK_WIRE_H

#include <stdint.h>

#include "base/endian.h"

/* 5.2.3 */
enum {
	VIRTIO_BLK_F_SIZE_MAX = 1,
	VIRTIO_BLK_F_SEG_MAX = 2,
	VIRTIO_BLK_F_RO = 5,
	VIRTIO_BLK_F_BLK_SIZE = 6,
	VIRTIO_BLK_F_FLUSH = 9,
	VIRTIO_BLK_F_TOPOLOGY = 10,
	VIRTIO_BLK_F_CONFIG_WCE = 11,
	VIRTIO_BLK_F_MQ = 12,
	VIRTIO_BLK_F_DISCARD = 13,
	VIRTIO_BLK_F_WRITE_ZEROES = 14,
	VIRTIO_BLK_F_SECURE_ERASE = 16,
};

/* 5.2.6 */
enum {
	VIRTIO_BLK_T_IN = 0,
	VIRTIO_BLK_T_OUT = 1,
	VIRTIO_BLK_T_FLUSH = 4,
	VIRTIO_BLK_T_FLUSH_OUT = 5,
	VIRTIO_BLK_T_GET_ID = 8,
	VIRTIO_BLK_T_DISCARD = 11,
	VIRTIO_BLK_T_WRITE_ZEROES = 13,
	VIRTIO_BLK_T_SECURE_ERASE = 14,
};
enum { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2 };

/* 5.2.6: what a request begins with. Its last writable byte is the status. */
struct req_header {
	le32_t type;
	le32_t reserved;
	le64_t sector;
} __attribute__((packed)); /* it may be at any address */
_Static_assert(sizeof(struct req_header) == 16, "5.2.6");

/* 5.2.6: what DISCARD, WRITE_ZEROES and SECURE_ERASE carry, one or more. */
struct segment {
	le64_t sector;
	le32_t num_sectors;
	le32_t flags;
};
_Static_assert(sizeof(struct segment) == 16, "5.2.6");
enum { SEGMENT_UNMAP = 1 };

enum { SECTOR_SHIFT = 9, SECTOR = 1 << SECTOR_SHIFT }; /* 5.2.4: whatever blk_size says */
enum { ID_BYTES = 20 };                                /* 5.2.6 */

/* 5.2.4. What we do not offer reads as zero. */
struct config_space {
	le64_t capacity; /* sectors of 512 bytes */
	le32_t size_max, seg_max;
	uint8_t geometry[4];
	le32_t blk_size;
	struct {
		uint8_t physical_block_exp; /* log2 of logical blocks in a physical one */
		uint8_t alignment_offset;   /* logical blocks before the first physical one */
		le16_t min_io_size;         /* logical blocks */
		le32_t opt_io_size;         /* the same */
	} topology;
	uint8_t writeback, unused0;
	le16_t num_queues;
	le32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	le32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
	le32_t max_secure_erase_sectors, max_secure_erase_seg, secure_erase_sector_alignment;
};
_Static_assert(sizeof(struct config_space) == 72, "5.2.4");

#endif

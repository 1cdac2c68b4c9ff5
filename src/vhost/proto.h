/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user protocol (QEMU, docs/interop/vhost-user.rst): numbers and payloads, all in the
 * machine's own byte order. Names are the document's, without VHOST_USER_ in front.
 */
#ifndef HAKO_VHOST_PROTO_H
#define HAKO_VHOST_PROTO_H

#include <stdint.h>

/* "Header" */
struct vhost_header {
	uint32_t request;
	uint32_t flags; /* VHOST_FLAG_* */
	uint32_t size;  /* bytes of payload that follow */
};
enum {
	VHOST_FLAG_VERSION = 1, /* the low two bits, 3 */
	VHOST_FLAG_REPLY = 1 << 2,
	VHOST_FLAG_NEED_REPLY = 1 << 3,
};

/* "Front-end message types" */
enum {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_LOG_BASE = 6,
	VHOST_SET_LOG_FD = 7,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_SET_BACKEND_REQ_FD = 21,
	VHOST_GET_CONFIG = 24,
	VHOST_SET_CONFIG = 25,
	VHOST_GET_INFLIGHT_FD = 31,
	VHOST_SET_INFLIGHT_FD = 32,
	VHOST_RESET_DEVICE = 34,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
	VHOST_REM_MEM_REG = 38,
	VHOST_SET_STATUS = 39,
	VHOST_GET_STATUS = 40,
	VHOST_MESSAGES = 64, /* above all of them */
};

/* "Back-end message types" */
enum { VHOST_BACKEND_CONFIG_CHANGE_MSG = 2 };

/* Feature bits that are vhost's and not virtio's ("Communication", "Migration") */
enum { VHOST_F_LOG_ALL = 26, VHOST_USER_F_PROTOCOL_FEATURES = 30 };

/* "Protocol features" */
enum {
	VHOST_PROTOCOL_F_MQ = 0,
	VHOST_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_PROTOCOL_F_CONFIG = 9,
	VHOST_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VHOST_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_PROTOCOL_F_STATUS = 16,
};

/* "A vring state description" */
struct vhost_vring_state {
	uint32_t index, num;
};

/* "A vring address description": rings by user addresses */
struct vhost_vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail;
	uint64_t log; /* guest address that writes to the used ring are logged at */
};
enum { VHOST_VRING_F_LOG = 1 };

/* SET_VRING_KICK, _CALL, _ERR: bits 7:0 are the ring's number. */
enum { VHOST_VRING_INDEX_MASK = 0xff, VHOST_VRING_NOFD = 1 << 8 };

/* "Memory regions description" */
struct vhost_region {
	uint64_t guest, size; /* guest physical */
	uint64_t user;        /* where the front end has it, which is how rings are told */
	uint64_t offset;      /* of its first byte in the descriptor's file */
};
enum { VHOST_TABLE_REGIONS = 8 }; /* in one message */
struct vhost_mem_table {
	uint32_t n, padding;
	struct vhost_region region[VHOST_TABLE_REGIONS];
};
struct vhost_mem_reg {
	uint64_t padding;
	struct vhost_region region;
};

/* "Log description": one bit for each page of this size */
enum { VHOST_LOG_PAGE = 0x1000 };
struct vhost_log_base {
	uint64_t size, offset;
};

/* "Virtio device config space" */
enum { VHOST_CONFIG_MAX = 256 };
struct vhost_config {
	uint32_t offset, size, flags;
	uint8_t bytes[VHOST_CONFIG_MAX];
};
enum { VHOST_CONFIG_WRITABLE = 0, VHOST_CONFIG_MIGRATION = 1 };

/* "Inflight description" */
struct vhost_inflight {
	uint64_t size, offset;
	uint16_t n_queues, queue_size;
	uint32_t padding; /* some front ends leave it out */
};

union vhost_payload {
	uint64_t u64;
	struct vhost_vring_state state;
	struct vhost_vring_addr addr;
	struct vhost_mem_table table;
	struct vhost_mem_reg reg;
	struct vhost_log_base log;
	struct vhost_config config;
	struct vhost_inflight inflight;
};

#endif

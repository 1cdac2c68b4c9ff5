/* SPDX-License-Identifier: MIT */
/*
 * The lint: tells the author of a driver which rule of virtio 1.2 the driver breaks, what was seen,
 * what would be right, and how Linux does it.
 *
 * Rules are a table (lint.c). A rule is here only if a device can be sure: what a correct driver
 * might also do is no finding. Most findings are made where the device notices an error anyway and
 * needs no lint for it (lint_report()); the rest by hooks, named for what the driver did, which
 * watch the order of its register accesses. With the lint off the pointer is NULL and nothing is
 * watched; what the device refuses it still logs, in fewer words.
 *
 *      register hooks    mmio.c, mmio_modern.c, mmio_legacy.c      the transport's lock held
 *      rings, requests   vq*.c, blk.c                              the device's loop
 *
 * What only shows when somebody remembers each request is the deep tier: vq_shadow.c, for whoever
 * asks for it. A finding is said once per rule and place (a queue, or a register) in the life of
 * the device, and counted; a summary comes at reset and at the end.
 *
 * Threads: the hooks of one device are called under its transport's lock, lint_report() and
 * lint_interrupt() on any thread.
 */
#ifndef HAKO_VIRTIO_LINT_H
#define HAKO_VIRTIO_LINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lint;
struct log;
struct virtio_dev;

enum lint_level {
	LINT_OFF,
	LINT_WARN,   /* say it */
	LINT_STRICT, /* and after a broken MUST the device needs a reset (2.1.2) and takes
		      * no more */
};

/* In the order of the table. */
enum lint_id {
	/* status and features */
	LINT_STATUS_CLEARED,
	LINT_NOT_RESET,
	LINT_RESET_NOT_AWAITED,
	LINT_STEP_SKIPPED,
	LINT_ON_AFTER_FAILED,
	LINT_FEATURES_LATE,
	LINT_FEATURE_NOT_OFFERED,
	LINT_NO_VERSION_1,
	LINT_FEATURES_OK_NOT_READ,
	LINT_NO_FEATURES_OK,
	LINT_EARLY_KICK,
	LINT_FEATURES_IGNORED,
	LINT_EARLY_CONFIG_WRITE,
	LINT_FEATURE_NEEDS,
	/* registers and configuration */
	LINT_IDENTITY_NOT_READ,
	LINT_EMPTY_SLOT,
	LINT_REG_WIDTH,
	LINT_REG_NONE,
	LINT_REG_DIRECTION,
	LINT_FEATURES_SEL,
	LINT_CONFIG_WIDTH,
	LINT_CONFIG_FEATURE,
	LINT_CONFIG_GENERATION,
	LINT_CONFIG_EARLY,
	LINT_ACK_UNDEFINED,
	LINT_ACK_NOT_RAISED,
	LINT_NEVER_ACKED,
	/* queues */
	LINT_QUEUE_TOO_LARGE,
	LINT_QUEUE_MAX_NOT_READ,
	LINT_QUEUE_IN_USE,
	LINT_QUEUE_STOP_NOT_READ,
	LINT_QUEUE_NONE,
	LINT_QUEUE_SIZE,
	LINT_QUEUE_ALIGN,
	LINT_QUEUE_NOT_RAM,
	LINT_QUEUE_OVERLAP,
	LINT_QUEUE_RESET,
	LINT_KICK_NONE,
	LINT_QUEUE_RESET_NOT_READ,
	/* rings */
	LINT_IDX_JUMPS,
	LINT_HEAD,
	LINT_NEXT,
	LINT_CHAIN_LONG,
	LINT_CHAIN_BYTES,
	LINT_IN_FLIGHT,
	LINT_WRITABLE_FIRST,
	LINT_BUFFER,
	LINT_INDIRECT_NOT_AGREED,
	LINT_INDIRECT_NESTED,
	LINT_INDIRECT_NEXT,
	LINT_INDIRECT_LENGTH,
	LINT_AVAIL_FLAGS,
	LINT_LIST_LONG,
	LINT_RING_NOT_CLEARED,
	LINT_EVENT_FLAGS,
	LINT_TAIL_LATE,
	LINT_KICK_EMPTY,
	/* rings, deep */
	LINT_KICK_SUPPRESSED,
	LINT_KICK_MISSING,
	LINT_IDX_EARLY,
	LINT_DESC_CHANGED,
	LINT_HEADER_CHANGED,
	LINT_ID_REUSED,
	LINT_TABLE_FLAGS,
	LINT_NEXT_ORDER,
	LINT_BUFFER_IN_RING,
	LINT_NO_BARRIER,
	/* block */
	LINT_BLK_SHORT,
	LINT_BLK_CAPACITY,
	LINT_BLK_LENGTH,
	LINT_BLK_TYPE,
	LINT_BLK_FLUSH_SECTOR,
	LINT_BLK_FLUSH_DATA,
	LINT_BLK_GET_ID,
	LINT_BLK_SEGMENT_SIZE,
	LINT_BLK_SEGMENTS,
	LINT_BLK_SEGMENT_LONG,
	LINT_BLK_SEGMENT_FLAGS,
	LINT_BLK_NOT_AGREED,
	LINT_BLK_SIZE_MAX,
	LINT_BLK_SEG_MAX,
	LINT_BLK_RO,
	LINT_BLK_NEVER_FLUSHED,
	LINT_BLK_DIRECTION,
	/* legacy */
	LINT_LEGACY_PAGE_SIZE,
	LINT_LEGACY_PAGE_SIZE_ODD,
	LINT_LEGACY_ALIGN,
	LINT_LEGACY_ALIGN_ODD,
	LINT_LEGACY_LAYOUT,
	LINT_LEGACY_FEATURES_OK,
	LINT_RULES,
};

struct lint_rule {
	const char *id;       /* "V101": its first digit is the part of the list above */
	bool must;            /* MUST, else SHOULD */
	bool deep;            /* watched by a deep lint only */
	const char *section;  /* of virtio 1.2 */
	const char *what;     /* what a driver has to do */
	const char *in_linux; /* how Linux's driver does it */
};
extern const struct lint_rule lint_rules[LINT_RULES];

/* `level` is not LINT_OFF. `deep`: also what takes an account of each request. `name` is copied,
 * `log` may be NULL. *tripped becomes true when a MUST is broken and the lint strict, and false
 * with each reset. NULL: out of memory. */
struct lint *lint_create(enum lint_level level, bool deep, bool legacy, const char *name,
			 struct log *log, atomic_bool *tripped);
/* Summary of what was not summed up yet. NULL is allowed. */
void lint_destroy(struct lint *lint);

/* All that follow do nothing when `lint` is NULL. */

/* The rule is broken. `place`: number of the queue, or offset of the register; the format says what
 * was seen. */
void lint_report(struct lint *lint, enum lint_id rule, unsigned place, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* How often the rule was broken so far. */
unsigned lint_count(struct lint *lint, enum lint_id rule);
/* Is it there, and deep? */
bool lint_deep(const struct lint *lint);

/* Who knows names for addresses of the guest's code: " name+0x1c", or "". NULL, as at first:
 * nobody.
 */
typedef void lint_name_fn(void *arg, uint64_t pc, char *text, size_t size);
void lint_names(struct lint *lint, lint_name_fn *name, void *arg);
/* An address of the guest's code in words. */
void lint_pc(struct lint *lint, uint64_t pc, char *text, size_t size);

/* A rule broken at a place. */
struct lint_finding {
	enum lint_id rule;
	int queue;      /* -1: not at a queue */
	unsigned count; /* how often */
	char saw[256];  /* the first time */
};
/* The n-th in the order in which they were first found; false: there are no more. */
bool lint_finding(struct lint *lint, size_t n, struct lint_finding *finding);

/* What the driver did. */
enum { LINT_READ_MAGIC = 1, LINT_READ_VERSION = 2, LINT_READ_DEVICE_ID = 4 };
void lint_identity_read(struct lint *lint, unsigned which);
void lint_features_sel(struct lint *lint, bool drivers);
void lint_features_read(struct lint *lint);
void lint_features_write(struct lint *lint);
void lint_status_read(struct lint *lint, uint8_t status);
/* Before it takes effect. `val` is not 0. */
void lint_status_write(struct lint *lint, uint8_t status, uint8_t val);
/* Status := 0, or (`power`) the machine's reset. */
void lint_reset(struct lint *lint, bool power);
void lint_config_read(struct lint *lint, struct virtio_dev *dev, uint64_t offered, uint8_t status,
		      uint32_t off, unsigned size);
/* Since the reset: has the driver read the byte at `off` of the configuration, one of the
 * first 64? */
bool lint_config_was_read(const struct lint *lint, uint32_t off);
void lint_config_write(struct lint *lint, uint8_t status, uint32_t off);
void lint_generation_read(struct lint *lint);
void lint_interrupt_ack(struct lint *lint, uint32_t val, uint32_t raised, uint8_t status);
/* An interrupt while the one before was not acknowledged. */
void lint_interrupt(struct lint *lint);
void lint_queue_sel(struct lint *lint);
void lint_queue_max_read(struct lint *lint, unsigned q);
void lint_queue_size(struct lint *lint, unsigned q, uint32_t size);
void lint_queue_stopped(struct lint *lint, unsigned q);
void lint_queue_ready_read(struct lint *lint);
void lint_queue_reset(struct lint *lint, unsigned q);
void lint_queue_reset_read(struct lint *lint);
void lint_queue_started(struct lint *lint);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A virtio device, apart from its transport (virtio 1.2, chapter 2). Below: the device's own code,
 * virtio_ops. Above: the transport, virtio_host_ops.
 *
 * Life of a device: the transport offers features, the driver accepts some, sets up queues and says
 * DRIVER_OK; then start() hands each ready queue to the device on its loop. A kick is always
 * asynchronous: the transport's doorbell wakes the loop, which calls kick(). Reset or a queue going
 * away calls stop(), which finishes what is in flight and then says so; until then the transport
 * keeps the driver waiting (2.4.1).
 *
 * Threads: features, reset and config_* are called on vCPU threads under the transport's mutex, so
 * they must not call the host ops. config_change() calls change() under it too, on the loop. start,
 * kick and stop are called on the device's loop thread. The host ops are called on the loop thread
 * only.
 */
#ifndef HAKO_VIRTIO_VIRTIO_H
#define HAKO_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lint;
struct loop;
struct virtio_dev;
struct virtio_host;
struct vq;

/* Device status (2.1) */
enum {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

/* Feature bits that are not a device's own (6) */
enum {
	VIRTIO_F_ANY_LAYOUT = 27, /* legacy only */
	VIRTIO_F_INDIRECT_DESC = 28,
	VIRTIO_F_EVENT_IDX = 29,
	VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_RING_PACKED = 34,
	VIRTIO_F_IN_ORDER = 35,
	VIRTIO_F_NOTIFICATION_DATA = 38,
	VIRTIO_F_RING_RESET = 40,
};

enum { VIRTIO_ID_BLOCK = 2 };

/* A field of the configuration (2.5), for the lint. */
struct virtio_config_field {
	uint16_t off;
	uint8_t width;   /* bytes; 0 ends the list */
	uint8_t feature; /* that it belongs to, 0: none */
	bool late;       /* not to be read before FEATURES_OK */
};

/* A feature that makes no sense without another (2.2.1, 2.2.2). */
struct virtio_feature_need {
	uint8_t feature; /* 0 ends the list, so feature 0 needs none */
	uint8_t needs;
	bool offer_only; /* is not offered without it, but may be accepted without it */
};

struct virtio_ops {
	const char *name;
	uint16_t id, n_queues, queue_size_max;
	size_t config_size;                       /* bytes; the transport keeps accesses inside */
	const struct virtio_config_field *fields; /* or NULL */
	const struct virtio_feature_need *needs;  /* or NULL; those that others need come first */
	/* The device's own (5): what queues and transport can do is theirs to offer. */
	uint64_t (*features)(struct virtio_dev *dev);
	void (*config_read)(struct virtio_dev *dev, uint32_t off, void *dst, size_t len);
	void (*config_write)(struct virtio_dev *dev, uint32_t off, const void *src, size_t len);
	/* NULL, or: the driver has set FEATURES_OK, and `acked` are the features. Not over the
	 * legacy transport, which has no such moment. Called like config_*. */
	void (*agreed)(struct virtio_dev *dev);
	/* NULL, or: the device was reset (2.4), its queues are at rest; `acked` are the features
	 * until now. Called like config_*. */
	void (*reset)(struct virtio_dev *dev);
	/* `dev->acked` holds the accepted features. vq stays valid until stop() has reported. 0, or
	 * a negative errno: the transport then says NEEDS_RESET. A kick() follows at once, for what
	 * was made available before. */
	int (*start)(struct virtio_dev *dev, unsigned q, struct vq *vq);
	void (*kick)(struct virtio_dev *dev, unsigned q);
	/* Take no more chains; when those in flight are pushed, call stopped(arg), once, on the
	 * loop. The device may be gone when it returns. */
	void (*stop)(struct virtio_dev *dev, unsigned q, void (*stopped)(void *arg), void *arg);
};

struct virtio_host_ops {
	/* Used buffers were published and the driver wants to know: vq_publish() said so. */
	void (*queue_irq)(struct virtio_host *host, unsigned q);
	/* Have the device change its configuration by change(dev), NULL: it has not, while nobody
	 * reads it, and tell the driver (2.5.1). */
	void (*config_change)(struct virtio_host *host, void (*change)(struct virtio_dev *dev));
	/* The device met an error it cannot recover from (2.1.2). */
	void (*needs_reset)(struct virtio_host *host);
};

struct virtio_host {
	const struct virtio_host_ops *ops;
};

struct virtio_dev {
	const struct virtio_ops *ops;
	struct virtio_host *host; /* set by the transport */
	struct loop *loop;        /* set by the device's creator */
	uint64_t acked;           /* features both sides agreed on; set by the transport */
	struct lint *lint;        /* the transport's, or NULL: there is none */
};

#endif

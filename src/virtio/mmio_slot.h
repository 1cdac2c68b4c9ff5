/* SPDX-License-Identifier: MIT */
/*
 * Inside virtio over MMIO: the slot, as its core and the two versions of its registers share it.
 *
 *      mmio.c          the slot, its queues and their life on the loop, interrupts, what both
 *                      versions' registers have in common
 *      mmio_modern.c   version 2 (virtio 1.2, 4.2.2)
 *      mmio_legacy.c   version 1, from before virtio 1.0 (4.2.4)
 *
 * Everything here is called on a vCPU thread with the slot's lock held, unless it says otherwise.
 */
#ifndef HAKO_VIRTIO_MMIO_SLOT_H
#define HAKO_VIRTIO_MMIO_SLOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mark.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "host/loop.h"
#include "host/notifier.h"
#include "virtio/mmio.h"
#include "virtio/mmio_regs.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"

#define MMIO_VENDOR_VALUE \
	0x554d4551U /* "QEMU": there are drivers that take no other, such as xv6's */

/* What the driver may set in Status (2.1); NEEDS_RESET is the device's. */
enum {
	STATUS_DRIVERS = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
			 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FAILED,
};

/* A register. NULL: not readable, not writable. `empty`: also there when the slot is empty. */
struct mmio_reg {
	const char *name;
	uint32_t (*read)(struct virtio_mmio *m);
	void (*write)(struct virtio_mmio *m, uint32_t val);
	bool empty;
};

/* One version of the transport. */
struct mmio_version {
	uint32_t number;             /* as the register Version reads */
	uint64_t features;           /* that it offers beside the device's and the queues' */
	uint64_t possible;           /* features that can be had over it at all */
	const struct mmio_reg *regs; /* [CONFIG / 4]: its own, beside the common ones */
	/* The driver sets these bits of Status (STATUS_DRIVERS), which were clear. */
	void (*status_set)(struct virtio_mmio *m, uint8_t set);
};

struct mmio_queue {
	struct virtio_mmio *mmio;
	unsigned index;
	struct vq *vq;

	/* Under the lock. The registers as the driver wrote them; frozen while ready. */
	struct vq_state regs;
	uint32_t pfn, align; /* legacy; align 0: not written */
	bool active;         /* vq is the loop's */
	bool unkicked;       /* when it became so, and the loop's: it was not kicked since */

	/* The loop's, while active. */
	bool started;
	struct notifier kick;
	struct loop_source source;
	struct loop_task start, stop;
	uint64_t events; /* vq_events() at the last look, */
	unsigned still;  /* and how many looks have found no others since */
};

struct mmio_page;

struct virtio_mmio {
	struct virtio_host host; /* what the device sees */
	const struct mmio_version *version;
	uint64_t without; /* features not to be offered */
	char name[32];
	struct virtio_dev *dev; /* NULL: an empty slot */
	struct bus *bus;
	struct gmem *mem;
	struct log *log;
	struct irq_line irq;
	struct bus_region region;

	pthread_mutex_t lock;
	pthread_cond_t quiet;   /* a queue has come to rest, or a stop is over */
	bool stopping;          /* a vCPU waits for queues to come to rest */
	struct log_limit limit; /* the messages about what the driver does */
	struct lint *lint;      /* NULL: off */
	struct mark *touched, *driver_ok;
	unsigned watch;      /* who looks on at the queues: VQ_WATCH_* */
	atomic_bool tripped; /* a strict lint has found what it does not let pass */
	uint8_t status;
	uint32_t device_features_sel, driver_features_sel;
	uint64_t driver_features;
	bool driver_features_high; /* the driver asked for a bit above 63 */
	uint32_t queue_sel;
	/* Legacy: GuestPageSize, 0: not written. A driver may write it once and then reset the
	 * device, as Linux does: it is a fact about the guest and outlives Status=0. */
	uint32_t page_size;
	uint32_t generation;

	pthread_mutex_t irq_lock;
	_Atomic uint32_t interrupt_status; /* written under irq_lock, read without */

	/* mmio_mirror.c */
	struct mmio_page *page; /* that the slot is in, or NULL: not to be mirrored */
	uint8_t *mirror;        /* the slot's part of it, once it was needed; under irq_lock */
	bool shown;             /* what is there is right */

	unsigned n_queues;
	struct mmio_queue queue[];
};

/* The driver breaks a rule of the lint, at a queue or register: say what was seen. */
#define driver_wrong(m, rule, place, ...)                             \
	((m)->lint ? lint_report((m)->lint, rule, place, __VA_ARGS__) \
		   : log_guest((m)->log, &(m)->limit, LOG_WARN, (m)->name, __VA_ARGS__))

extern const struct mmio_version mmio_modern, mmio_legacy;

/* Features offered to the driver. */
uint64_t mmio_offered(const struct virtio_mmio *m);
/* Are these features the driver's to accept, each with those that it needs? If not, *lacks says
 * which is wrong. */
bool mmio_complete(const struct virtio_mmio *m, uint64_t features,
		   const struct virtio_feature_need **lacks);
/* The queue that QueueSel selects, or NULL: there is none of that number. */
struct mmio_queue *mmio_selected(struct virtio_mmio *m);

/* DeviceFeatures, as DeviceFeaturesSel selects. */
uint32_t mmio_features_word(const struct virtio_mmio *m);

/* The slot is on the bus, or about to go. */
int mmio_mirror_init(struct virtio_mmio *m, struct err *err);
void mmio_mirror_fini(struct virtio_mmio *m);
/* The driver wrote InterruptACK. */
void mmio_mirror_acknowledged(struct virtio_mmio *m);
/* The driver read another register than InterruptStatus. */
void mmio_mirror_read(struct virtio_mmio *m);
/* It writes one; or the device, then on the loop's thread, is about to change what can be read. */
void mmio_mirror_off(struct virtio_mmio *m);
/* InterruptStatus has changed. Any of the two threads, under irq_lock and not always the other. */
void mmio_mirror_interrupt(struct virtio_mmio *m);

/* Was the queue kicked, and nobody has taken note? Any thread, no lock. */
bool mmio_kicked(const struct mmio_queue *q);

/* Hand a queue with the configuration in its regs to the device. Does not wait. */
void mmio_queue_activate(struct virtio_mmio *m, struct mmio_queue *q);
/* Bring n queues to rest and wait for it; they keep where they are. */
void mmio_queues_pause(struct virtio_mmio *m, struct mmio_queue *q, unsigned n);
/* The same, and they forget it: not ready, rings at their beginning. */
void mmio_queues_stop(struct virtio_mmio *m, struct mmio_queue *q, unsigned n);

#endif

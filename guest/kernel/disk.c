/* SPDX-License-Identifier: MIT */
/*
 * The driver of virtio block devices (virtio 1.2, 5.2).
 *
 * A request is a chain of three descriptors (5.2.6): the header, which the device reads; the data,
 * which it reads or writes; and a byte for its answer, which it writes.
 *
 *    requests[i]  ->  desc[3i]: type, sector  ->  desc[3i+1]: data  ->  desc[3i+2]: status
 *
 * Each request has its own three descriptors for good, so that there are none to be looked for,
 * and the number that the device gives back tells which request it was.
 *
 * A long transfer is cut into chunks, as many of which as there are requests are in flight at a
 * time; they may end in any order. The driver waits either by looking at the used ring again and
 * again, or asleep until the device interrupts (struct disk, polling).
 */
#include "disk.h"

/* 5.2.3 and 5.2.4. */
enum { VIRTIO_BLK_F_RO = 5, VIRTIO_BLK_F_FLUSH = 9, CONFIG_CAPACITY = 0 };
/* 5.2.6. */
enum { VIRTIO_BLK_T_IN = 0, VIRTIO_BLK_T_OUT = 1, VIRTIO_BLK_T_FLUSH = 4 };

enum { MAX_DISKS = 4, PATIENCE_SECONDS = 30 };

static struct disk disks[MAX_DISKS];
static unsigned n_disks;

const char *disk_result_text(enum disk_result result)
{
	switch (result) {
	case DISK_OK: return "success";
	case DISK_IO_ERROR: return "the device reports an I/O error";
	case DISK_UNSUPPORTED: return "the device does not know this request";
	case DISK_BROKEN: return "the device is broken";
	case DISK_OUT_OF_RANGE: return "that is beyond the end of the disk";
	case DISK_READ_ONLY: return "the disk is read-only";
	case DISK_TIMEOUT: return "the device does not answer";
	}
	return "the device gave an answer that the specification does not know";
}

/* ---- Setting up ---- */

static bool set_up(struct disk *d, unsigned slot)
{
	struct virtio *dev = &d->virtio;

	if (!virtio_begin(dev, 1ULL << VIRTIO_BLK_F_RO | 1ULL << VIRTIO_BLK_F_FLUSH) ||
	    !virtq_init(&d->queue, dev, 0, QUEUE_SIZE) || d->queue.size < 3) {
		virtio_fail(dev);
		return false;
	}
	dev->irq = VIRTIO_IRQ + slot;
	d->depth = d->queue.size / 3u < REQUESTS ? d->queue.size / 3u : REQUESTS;
	d->sectors = virtio_config64(dev, CONFIG_CAPACITY); /* in 512 bytes, always */
	d->read_only = virtio_has(dev, VIRTIO_BLK_F_RO);
	d->can_flush = virtio_has(dev, VIRTIO_BLK_F_FLUSH);
	return virtio_driver_ok(dev);
}

void disks_init(void)
{
	for (unsigned slot = 0; slot < VIRTIO_SLOTS && n_disks < MAX_DISKS; slot++) {
		struct disk *d = &disks[n_disks];

		if (!virtio_find(&d->virtio, VIRTIO_BASE + slot * VIRTIO_STRIDE, VIRTIO_ID_BLOCK))
			continue;
		copy_string(d->name, sizeof(d->name), "vda");
		d->name[2] = (char)('a' + n_disks);
		if (!set_up(d, slot)) {
			printf("%s: slot %u has a disk that does not work with this driver\n",
			       d->name, slot);
			continue;
		}
		n_disks++;
		arch_irq_enable(d->virtio.irq);
	}
}

struct disk *disk_get(unsigned index)
{
	return index < n_disks ? &disks[index] : NULL;
}

/* ---- Requests ---- */

static struct disk_request *free_request(struct disk *d)
{
	for (unsigned i = 0; i < d->depth; i++)
		if (!d->requests[i].in_flight)
			return &d->requests[i];
	return NULL;
}

/* Fills in the request's chain and hands it over. Without data (a flush) it has two descriptors. */
static void submit(struct disk *d, struct disk_request *r, u32 type, u64 sector, void *data,
		   u32 len)
{
	enum { ANY_STATUS = 0xff };
	u16 head = (u16)(3 * (r - d->requests));
	volatile struct virtq_desc *header = &d->queue.desc[head];
	volatile struct virtq_desc *middle = &d->queue.desc[head + 1];
	volatile struct virtq_desc *status = &d->queue.desc[head + 2];

	r->type = type;
	r->sector = sector;
	r->status = ANY_STATUS;
	r->in_flight = true;

	header->addr = (uintptr_t)r;
	header->len = offsetof(struct disk_request, status);
	header->flags = VIRTQ_DESC_F_NEXT;
	header->next = len ? head + 1 : head + 2;
	middle->addr = (uintptr_t)data;
	middle->len = len;
	/* The device writes what we read. */
	middle->flags = VIRTQ_DESC_F_NEXT | (type == VIRTIO_BLK_T_IN ? VIRTQ_DESC_F_WRITE : 0);
	middle->next = head + 2;
	status->addr = (uintptr_t)&r->status;
	status->len = 1;
	status->flags = VIRTQ_DESC_F_WRITE;

	virtq_add(&d->queue, head);
	d->n_in_flight++;
}

static void fail(struct disk *d, enum disk_result result)
{
	if (!d->error)
		d->error = result;
}

/* A device that cannot be trusted is reset: only then does it stop writing to our memory. */
static void give_up(struct disk *d, enum disk_result why)
{
	fail(d, why);
	virtio_reset(&d->virtio);
	d->broken = true;
	d->n_in_flight = 0;
	for (unsigned i = 0; i < REQUESTS; i++)
		d->requests[i].in_flight = false;
}

/* Takes back what the device is done with. */
static void reap(struct disk *d)
{
	struct virtq_used_elem elem;

	while (d->n_in_flight && virtq_take(&d->queue, &elem)) {
		struct disk_request *r = elem.id % 3 ? NULL : &d->requests[elem.id / 3];

		if (!r || elem.id / 3 >= d->depth || !r->in_flight) {
			printf("%s: %u came back, which was not under way\n", d->name, elem.id);
			give_up(d, DISK_BROKEN);
			return;
		}
		r->in_flight = false;
		d->n_in_flight--;
		if (r->status != DISK_OK)
			fail(d, r->status);
	}
}

void disk_irq(unsigned irq)
{
	for (unsigned i = 0; i < n_disks; i++) {
		struct disk *d = &disks[i];

		if (d->virtio.irq != irq)
			continue;
		/* 4.2.3.3. First, so that what ends while we look interrupts anew. */
		u32 why = virtio_read(&d->virtio, INTERRUPT_STATUS);
		if (!why)
			continue;
		virtio_write(&d->virtio, INTERRUPT_ACK, why);
		fence_all();
		if (why & INTERRUPT_USED)
			reap(d);
		if (why & INTERRUPT_CONFIG && virtio_is_broken(&d->virtio))
			give_up(d, DISK_BROKEN);
	}
}

/* Until at least one request is done. */
static void wait(struct disk *d)
{
	enum { LOOKS = 65536 };
	unsigned before = d->n_in_flight, looks = 0;
	u64 start = arch_ticks();

	for (;;) {
		reap(d);
		if (d->n_in_flight < before)
			return;
		if (!d->polling) {
			arch_wait();
			continue;
		}
		if (++looks % LOOKS)
			continue;
		if (virtio_is_broken(&d->virtio))
			give_up(d, DISK_BROKEN);
		else if (arch_ticks() - start > (u64)PATIENCE_SECONDS * arch_ticks_per_second())
			give_up(d, DISK_TIMEOUT);
	}
}

static enum disk_result finish(struct disk *d)
{
	while (d->n_in_flight)
		wait(d);
	return d->error;
}

static enum disk_result transfer(struct disk *d, u32 type, u64 sector, u8 *data, u64 sectors)
{
	if (d->broken)
		return DISK_BROKEN;
	if (sector > d->sectors || sectors > d->sectors - sector)
		return DISK_OUT_OF_RANGE;
	d->error = DISK_OK;
	virtq_interrupts(&d->queue, !d->polling);
	while (sectors && !d->error) {
		struct disk_request *r;

		while (sectors && (r = free_request(d))) {
			u32 n = sectors < CHUNK_SECTORS ? (u32)sectors : CHUNK_SECTORS;

			submit(d, r, type, sector, data, n * SECTOR);
			sector += n;
			data += n * SECTOR;
			sectors -= n;
		}
		virtq_notify(&d->queue);
		wait(d);
	}
	return finish(d);
}

enum disk_result disk_read(struct disk *d, u64 sector, void *to, u64 sectors)
{
	return transfer(d, VIRTIO_BLK_T_IN, sector, to, sectors);
}

enum disk_result disk_write(struct disk *d, u64 sector, const void *from, u64 sectors)
{
	/* 5.2.6.1: a driver must not even try. */
	if (d->read_only)
		return DISK_READ_ONLY;
	return transfer(d, VIRTIO_BLK_T_OUT, sector, (u8 *)(uintptr_t)from, sectors);
}

enum disk_result disk_flush(struct disk *d)
{
	if (d->broken)
		return DISK_BROKEN;
	/* 5.2.6.2: a device without the feature has no cache that could lose anything. */
	if (!d->can_flush)
		return DISK_OK;
	d->error = DISK_OK;
	virtq_interrupts(&d->queue, !d->polling);
	submit(d, free_request(d), VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
	virtq_notify(&d->queue);
	return finish(d);
}

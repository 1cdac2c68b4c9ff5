/* SPDX-License-Identifier: MIT */
/*
 * From struct hako_disk to a device.
 */
#include "machine/disk_dev.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "block/blk.h"
#include "hako/disk.h"
#include "hako/vm.h"
#include "virtio/virtio.h"

_Static_assert((int)HAKO_QUEUES_MAX == (int)VIRTIO_BLK_QUEUES_MAX, "one limit, two names");

int disk_dev_check(const struct hako_disk *disk, struct err *err)
{
	if ((unsigned)disk->cache > HAKO_CACHE_UNSAFE)
		return err_set(err, -EINVAL, "disk '%s' has no such cache mode as %d", disk->path,
			       (int)disk->cache);
	if ((unsigned)disk->aio > HAKO_AIO_THREADS)
		return err_set(err, -EINVAL, "disk '%s' cannot be asked in way %d", disk->path,
			       (int)disk->aio);
	if ((unsigned)disk->transport > HAKO_VIRTIO_MMIO_LEGACY)
		return err_set(err, -EINVAL, "disk '%s' has no such transport as %d", disk->path,
			       (int)disk->transport);
	if ((unsigned)disk->on_error > HAKO_ON_ERROR_STOP)
		return err_set(err, -EINVAL, "disk '%s' cannot treat errors in way %d", disk->path,
			       (int)disk->on_error);
	if (disk->queues > HAKO_QUEUES_MAX)
		return err_set(err, -EINVAL, "disk '%s' cannot have %u queues; it can have 1 to %d",
			       disk->path, disk->queues, HAKO_QUEUES_MAX);
	if (disk->block_size &&
	    (!is_pow2(disk->block_size) || disk->block_size < HAKO_BLOCK_SIZE_MIN ||
	     disk->block_size > HAKO_BLOCK_SIZE_MAX))
		return err_set(err, -EINVAL,
			       "disk '%s' cannot have blocks of %u bytes, but of a power of two "
			       "from %d to %d",
			       disk->path, disk->block_size, HAKO_BLOCK_SIZE_MIN,
			       HAKO_BLOCK_SIZE_MAX);
	if (disk->serial && strlen(disk->serial) > HAKO_SERIAL_MAX)
		return err_set(err, -EINVAL,
			       "the serial '%s' of disk '%s' is too long; it can have %d "
			       "characters",
			       disk->serial, disk->path, HAKO_SERIAL_MAX);
	return 0;
}

static int open_blk(struct blk **blk, const struct disk_dev_config *config, struct err *err)
{
	static const enum blk_cache caches[] = {
		[HAKO_CACHE_WRITEBACK] = BLK_CACHE_WRITEBACK,
		[HAKO_CACHE_WRITETHROUGH] = BLK_CACHE_WRITETHROUGH,
		[HAKO_CACHE_NONE] = BLK_CACHE_NONE,
		[HAKO_CACHE_UNSAFE] = BLK_CACHE_UNSAFE,
	};
	static const enum blk_aio aios[] = {
		[HAKO_AIO_AUTO] = BLK_AIO_AUTO,
		[HAKO_AIO_IO_URING] = BLK_AIO_IO_URING,
		[HAKO_AIO_THREADS] = BLK_AIO_THREADS,
	};
	const struct hako_disk *disk = config->disk;
	const struct blk_config backend = {
		.path = disk->path,
		.readonly = disk->readonly,
		.cache = caches[disk->cache],
		.aio = aios[disk->aio],
		.iops = disk->iops,
		.bps = disk->bps,
		.burst_ms = disk->burst_ms ? disk->burst_ms : 1000,
		.record = disk->record,
		.loop = config->loop,
		.name = config->name,
		.log = config->log,
	};

	return blk_open_raw(blk, &backend, err);
}

/* An image in a format of its own is served as it is: say so before the guest finds no disk
 * in it. */
static void warn_of_format(const struct disk_dev_config *config)
{
	const char *path = config->disk->path;
	struct hako_disk_details d;

	if (hako_disk_inspect(path, &d, NULL) < 0)
		return;
	/* A length that is rounded up needs no warning: zeros are served. */
	if (d.container)
		log_msg(config->log, LOG_WARN, config->name, "'%s': %s: %s", path, d.contents,
			d.warning);
	else if (!d.bytes)
		log_msg(config->log, LOG_WARN, config->name,
			"'%s' is empty: the guest has a disk of no sectors; 'hako disk create' "
			"makes one that has some",
			path);
}

int disk_dev_open(struct disk_dev *d, const struct disk_dev_config *config, struct err *err)
{
	const struct hako_disk *disk = config->disk;
	struct virtio_blk_config dev = {
		.name = config->name,
		.serial = disk->serial,
		.loop = config->loop,
		.log = config->log,
		.queues = (uint16_t)(disk->queues ? disk->queues : config->queues),
		.block_size = disk->block_size,
		.seg_max = config->seg_max,
		.read = config->read,
		.written = config->written,
	};
	struct err why = ERR_INIT;
	int res;

	*d = (struct disk_dev){ 0 };
	if (disk->on_error == HAKO_ON_ERROR_STOP) {
		dev.failed = config->failed;
		dev.failed_arg = config->failed_arg;
	}
	res = open_blk(&d->blk, config, err);
	if (res)
		return res;
	dev.blk = d->blk;
	res = virtio_blk_create(&d->dev, &dev, &why);
	if (res) {
		err_set(err, res, "cannot use '%s': %s", disk->path, why.msg);
		blk_close(d->blk);
		d->blk = NULL;
		return res;
	}
	warn_of_format(config);
	return 0;
}

void disk_dev_close(struct disk_dev *d)
{
	virtio_blk_destroy(d->dev);
	blk_close(d->blk);
	*d = (struct disk_dev){ 0 };
}

uint64_t disk_dev_without(const struct hako_disk *disk)
{
	return (disk->no_packed ? BIT(VIRTIO_F_RING_PACKED) : 0) |
	       (disk->no_event_idx ? BIT(VIRTIO_F_EVENT_IDX) : 0) |
	       (disk->no_indirect ? BIT(VIRTIO_F_INDIRECT_DESC) : 0);
}

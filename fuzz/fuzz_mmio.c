/* SPDX-License-Identifier: MIT */
/*
 * A virtio-blk behind virtio-mmio, with its loop, its threads and a real file, driven by a guest
 * that does anything: register accesses of any kind, memory of any contents, and well-formed
 * requests between them to get somewhere. The input is a sequence of operations, see operate(); bit
 * 7 of its first byte says that the transport is the legacy one, bit 6 that the deep lint and the
 * flight recorder look on.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "bus/bus.h"
#include "virtio/virtio.h"
#include "vrig.h"

enum { RAM_SIZE = 1 << 20, DISK_SIZE = 32 << 10, QUEUE = 16, OPS_MAX = 64 };

struct target {
	struct vrig rig;
	struct vdriver *d;
	struct vd_queue q;
	bool set_up; /* q is laid out */
	int fd;      /* the disk's file */
};

static void nothing(void *arg)
{
	(void)arg;
}

static void set_up(struct target *t, struct input *in)
{
	uint64_t choice = input_take(in, 1);
	uint64_t features = (choice & 0xf8) << 24 | input_take(in, 2) | BIT(VIRTIO_F_VERSION_1) |
			    (choice & 1 ? BIT(VIRTIO_F_RING_PACKED) : 0) |
			    (choice & 2 ? BIT(VIRTIO_F_IN_ORDER) : 0) |
			    (choice & 4 ? BIT(VIRTIO_F_RING_RESET) : 0);

	t->d->next = VRIG_RAM;
	t->set_up = !vd_begin(t->d, features) &&
		    !vd_queue_init(t->d, &t->q, 0, (uint16_t)(1U << input_take(in, 1) % 5));
	if (t->set_up)
		vd_go(t->d);
}

/* A block request of which only some fields are odd. */
static void request(struct target *t, struct input *in)
{
	struct vd_buf b[4];
	uint32_t type = (uint32_t)input_take(in, 1);
	uint64_t sector = input_take(in, 1);
	unsigned shape = (unsigned)input_take(in, 1), n = shape & 3;
	struct vd_blk r;

	if (!t->set_up || t->d->next > VRIG_RAM + RAM_SIZE / 2)
		return;
	if (shape & 0x10)
		sector = sector << 56 | sector;
	if (shape & 0x20)
		type <<= 24;
	vd_blk_init(t->d, &r);
	for (unsigned i = 0; i < n; i++)
		b[i] = (struct vd_buf){ VRIG_RAM + RAM_SIZE / 2 + 512 * input_take(in, 1),
					512U * (uint32_t)input_take(in, 1) };
	if (n && (shape & 0x40))
		b[0].len += 1;
	vd_blk_add(&t->q, &r, type, sector, b, n, shape & 4);
	if (shape & 8)
		vd_kick(&t->q);
}

/* Any bytes anywhere in guest memory, or in the ring. */
static void poke(struct target *t, struct input *in, gpa_t from)
{
	uint64_t off = input_take(in, 2);
	unsigned len = 1 + (unsigned)input_take(in, 1) % 16;
	uint8_t bytes[16];

	for (unsigned i = 0; i < len; i++)
		bytes[i] = (uint8_t)input_take(in, 1);
	if (range_ok(from - VRIG_RAM + off, len, RAM_SIZE))
		vd_put(t->d, from + off, bytes, len);
}

static void operate(struct target *t, struct input *in)
{
	uint64_t off, val;
	unsigned size;

	switch (input_take(in, 1) % 64 % 13) {
	case 0: set_up(t, in); break;
	case 1:
	case 2: request(t, in); break;
	case 3:
		off = 4 * input_take(in, 1) % VIRTIO_MMIO_SIZE;
		bus_write(t->rig.bus, VRIG_SLOT + off, 4, input_take(in, 4));
		break;
	case 4:
		off = 4 * input_take(in, 1) % VIRTIO_MMIO_SIZE;
		bus_read(t->rig.bus, VRIG_SLOT + off, 4, &val);
		break;
	case 5: /* any width, any place */
		off = input_take(in, 2) % VIRTIO_MMIO_SIZE;
		size = 1U << input_take(in, 1) % 4;
		bus_read(t->rig.bus, VRIG_SLOT + off, size, &val);
		bus_write(t->rig.bus, VRIG_SLOT + off, size, input_take(in, size));
		break;
	case 6: poke(t, in, VRIG_RAM); break;
	case 7: poke(t, in, t->set_up ? t->q.desc : VRIG_RAM); break;
	case 8:
		val = input_take(in, 2);
		if (t->set_up)
			vd_avail_idx_set(&t->q, (uint16_t)(t->q.avail_idx + val));
		break;
	case 9:
		off = input_take(in, 1);
		size = (unsigned)input_take(in, 4);
		val = input_take(in, 4);
		if (t->set_up)
			vd_desc_set(
				t->d, t->q.desc, (unsigned)off % t->q.size, VRIG_RAM + (size >> 8),
				(uint32_t)val, (uint16_t)(size & 7),
				(uint16_t)((size >> 3 & 31) |
					   (t->q.packed ? vd_packed_avail(&t->q, t->q.next) : 0)));
		break;
	case 10: vd_set(t->d, VD_QUEUE_NOTIFY, (uint32_t)input_take(in, 1) & 3); break;
	case 11: vrig_on_loop(&t->rig, nothing, NULL); break;
	case 12: virtio_mmio_look(t->rig.mmio, input_take(in, 1) & 1); break;
	}
}

static void target_init(struct target *t, bool legacy, bool watched)
{
	char path[VRIG_PATH_MAX];

	vrig_init(&t->rig, RAM_SIZE);
	t->rig.legacy = legacy;
	t->rig.lint = LINT_WARN;
	t->rig.lint_deep = t->rig.trace = watched;
	t->rig.notification_data = true;
	t->d = &t->rig.driver;
	t->d->racy = true;
	vrig_file(path, DISK_SIZE);
	t->fd = open(path, O_RDONLY | O_CLOEXEC);
	fuzz_check(t->fd >= 0);
	fuzz_check(!vrig_disk(&t->rig, path, false, NULL));
	unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target
		targets[4]; /* created once; a reset makes them new (virtio 1.2, 2.4.1) */
	bool legacy = size && data[0] & 0x80, watched = size && data[0] & 0x40;
	struct target *t = &targets[legacy + 2 * watched];
	struct input in = { data, size };
	struct stat st;

	if (!t->d)
		target_init(t, legacy, watched);
	t->set_up = false;
	memset(gmem_region(t->rig.mem, 0)->host, 0, RAM_SIZE);
	for (unsigned i = 0; i < OPS_MAX && in.left; i++)
		operate(t, &in);

	vrig_on_loop(&t->rig, nothing, NULL);
	virtio_mmio_reset(t->rig.mmio);
	fuzz_check(vd_get(t->d, VD_STATUS) == 0);
	fuzz_check(vd_get(t->d, VD_INTERRUPT_STATUS) == 0 && !t->rig.irq.level);
	fuzz_check(vd_get(t->d, VD_MAGIC) == 0x74726976);
	fuzz_check(vd_config(t->d, 0, 8) == DISK_SIZE / 512);
	fuzz_check(!fstat(t->fd, &st) && st.st_size == DISK_SIZE);
	return 0;
}

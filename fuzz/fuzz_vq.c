/* SPDX-License-Identifier: MIT */
/*
 * The rings in a guest memory that is nothing but input.
 *
 *      byte 0          log2 of the queue size (modulo 5)
 *      byte 1          bit 0 indirect descriptors, bit 1 event index, bit 2 packed ring,
 *                      bit 3 in order, bit 4 the deep lint and the flight recorder look on
 *      bytes 2 to 3    index to begin at
 *      byte 4          n, number of steps
 *      n bytes         steps, see step()
 *      the rest        guest memory from address 0: descriptors at 0, available ring (driver area)
 *                      at AVAIL, used ring (device area) at USED, and whatever they point to
 */
#include "fuzz.h"

#include <errno.h>

#include "base/bits.h"
#include "mem/gmem.h"
#include "virtio/lint.h"
#include "virtio/vq.h"

enum { RAM_SIZE = 64 << 10, SIZE_MAX_LOG2 = 4, AVAIL = 0x100, USED = 0x140 };

struct target {
	struct gmem *mem;
	struct vq *plain, *watched; /* queues over it, */
	struct vq *vq;              /* and the one of this input */
	struct lint *lint;
	atomic_bool tripped;
	uint8_t *ram;
	struct vq_chain *chain[1 << SIZE_MAX_LOG2]; /* in flight */
	unsigned n;
	bool packed;
};

/* The device uses all that it was given. */
static void use_chain(struct target *t, struct vq_chain *c)
{
	unsigned size = vq_state(t->vq)->size;
	uint64_t out = 0, in = 0;
	volatile uint8_t sum = 0;

	fuzz_check(c->slot < size);
	fuzz_check(c->n_out + c->n_in >= 1 && c->n_out + c->n_in <= (int)size);
	for (unsigned i = 0; i < (unsigned)c->n_out + c->n_in; i++) {
		uint8_t *p = c->iov[i].iov_base;
		size_t len = c->iov[i].iov_len;

		fuzz_check(p >= t->ram && len >= 1 &&
			   range_ok((uint64_t)(p - t->ram), len, RAM_SIZE));
		if (i < c->n_out) {
			out += len;
			sum = (uint8_t)(sum + p[0] + p[len - 1]);
		} else {
			in += len;
			p[0] = p[len - 1] = sum;
		}
	}
	fuzz_check(out == c->out_len && in == c->in_len && out + in <= 1ULL << 32);
}

static void line(void *arg, const char *text)
{
	*(size_t *)arg += strlen(text);
}

/* Questions of those who look on, which change nothing. */
static void ask(struct target *t, uint8_t op)
{
	const struct vq_outside outside = { .kicked = op & 8, .irq = op & 16 };
	char why[240];
	size_t bytes = 0;

	fuzz_check(vq_turn(t->vq, outside, why, sizeof(why)) <= VQ_TURN_DEVICES && *why);
	vq_stalled(t->vq, outside);
	vq_dump(t->vq, line, &bytes);
	fuzz_check(t->vq == t->plain || bytes);
	vq_interrupted(t->vq);
}

static void step(struct target *t, uint8_t op, struct input *in)
{
	unsigned max;
	int got;

	switch (op & 7) {
	case 0:
	case 1:
		max = 1 + (op >> 3);
		if (max > ARRAY_SIZE(t->chain) - t->n)
			max = (unsigned)ARRAY_SIZE(t->chain) - t->n;
		got = vq_pop(t->vq, &t->chain[t->n], max);
		fuzz_check(got >= 0 ? (unsigned)got <= max : got == -EPROTO);
		fuzz_check(got >= 0 || vq_state(t->vq)->broken);
		for (; got > 0; got--)
			use_chain(t, t->chain[t->n++]);
		fuzz_check(t->n <= vq_state(t->vq)->size);
		break;
	case 2:
		if (!t->n)
			break;
		/* Any of those in flight. */
		got = (op >> 3) % (int)t->n;
		t->chain[got]->written = (uint32_t)t->chain[got]->in_len;
		vq_push(t->vq, &t->chain[got], 1);
		t->chain[got] = t->chain[--t->n];
		break;
	case 3: vq_publish(t->vq); break;
	case 4: vq_kicks(t->vq); break;
	case 5: /* the driver writes while the device works */
		if (t->packed)
			t->ram[16 * (vq_state(t->vq)->next_avail & 0x7fff) + 15] ^= 0x80;
		else
			t->ram[AVAIL + 2] = (uint8_t)(t->ram[AVAIL + 2] + (op >> 3));
		break;
	case 6: t->ram[(op >> 3) * 16U + input_take(in, 1)] ^= 0xff; break;
	case 7:
		if (op < 0x80)
			vq_kicked(t->vq, op >> 3);
		else if (op < 0xc0)
			ask(t, op);
		if (!t->n || op < 0xf0)
			break;
		vq_reject(t->vq, t->chain[--t->n], LINT_BLK_SHORT, "by the fuzzer");
		break;
	}
	fuzz_check(vq_in_flight(t->vq) == t->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target t; /* memory and queue live on; their contents do not */
	struct input in = { data, size };
	struct vq_state s = { .ready = 1, .desc = 0, .avail = AVAIL, .used = USED };
	static const uint8_t bit_of[] = { VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX,
					  VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER };
	uint64_t features = 0;
	uint8_t steps[255];
	unsigned flags, n;

	if (!t.mem) {
		fuzz_check(!gmem_create(&t.mem, NULL));
		fuzz_check(!gmem_add_ram(t.mem, 0, RAM_SIZE, NULL));
		fuzz_check(!vq_create(&t.plain, t.mem, NULL, "plain"));
		fuzz_check(!vq_create(&t.watched, t.mem, NULL, "watched"));
		t.lint = lint_create(LINT_WARN, true, false, "fuzz", NULL, &t.tripped);
		fuzz_check(t.lint && !vq_watch(t.watched, VQ_WATCH_TRACE | VQ_WATCH_DEEP));
		vq_lint(t.watched, t.lint, 0);
		t.ram = gmem_region(t.mem, 0)->host;
	}
	t.n = 0;
	s.size = (uint16_t)(1U << input_take(&in, 1) % (SIZE_MAX_LOG2 + 1));
	flags = (unsigned)input_take(&in, 1);
	s.next_avail = s.next_used = s.signalled = (uint16_t)input_take(&in, 2);
	n = (unsigned)input_take(&in, 1);
	for (unsigned i = 0; i < n; i++)
		steps[i] = (uint8_t)input_take(&in, 1);
	memset(t.ram, 0, RAM_SIZE);
	if (in.left)
		memcpy(t.ram, in.at, in.left < RAM_SIZE ? in.left : RAM_SIZE);

	for (unsigned i = 0; i < ARRAY_SIZE(bit_of); i++)
		if (flags & 1U << i)
			features |= BIT(bit_of[i]);
	t.vq = flags & 16 ? t.watched : t.plain;
	t.packed = flags & 4;
	if (t.packed) { /* positions are inside the ring */
		s.next_avail =
			(uint16_t)((s.next_avail & 0x8000) | (s.next_avail & 0x7fff) % s.size);
		s.next_used = s.next_avail;
	}
	fuzz_check(!vq_setup(t.vq, &s, features));
	for (unsigned i = 0; i < n; i++)
		step(&t, steps[i], &in);
	vq_reset(t.vq);
	fuzz_check(vq_in_flight(t.vq) == 0);
	return 0;
}

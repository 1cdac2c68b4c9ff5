/* SPDX-License-Identifier: MIT */
/*
 * Lost wake-ups (virtio 1.2, 2.7.7, 2.7.10 and 2.8.14). Driver and device each sleep unless the
 * other says, by the event index or the flags, that it need not be told. Each stores what it wants
 * and then looks whether there is something to do: a processor may look before its store is seen by
 * the other, and without a full barrier in between both may sleep in the end.
 *
 * Nothing is left to luck here. The queue's code is compiled with calls at each of its accesses to
 * memory, those that ThreadSanitizer would answer, and this program answers them. The device's
 * stores into the ring are held back, as in the store buffer of a processor, until it comes to a
 * full barrier; and the driver does its part between any two of the device's accesses, at each in
 * turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "vdriver.h"
#include "virtio/virtio.h"
#include "virtio/vq.h"
#include "vqrig.h"

#define RAM 0x80000000ULL
enum { RAM_SIZE = 1 << 20, SIZE = 8, STEPS = 2, POINTS_MAX = 64, HELD_MAX = 32 };

/* ---- The device's processor ---- */

static struct {
	uintptr_t ram; /* where the guest's memory is; 0: stores are done at once */
	bool barriers; /* there are any */
	struct {
		uintptr_t at;
		unsigned size;
		uint64_t val;
	} held[HELD_MAX]; /* stores, the oldest first */
	unsigned n_held;

	unsigned point; /* accesses that there were */
	unsigned at[STEPS], done;
	void (*step)(void *arg, unsigned i); /* the driver's turn: what it does at point at[i] */
	void *arg;
} cpu;

static void let_go(void)
{
	for (unsigned i = 0; i < cpu.n_held; i++)
		memcpy((void *)cpu.held[i].at, &cpu.held[i].val, cpu.held[i].size);
	cpu.n_held = 0;
}

static bool in_ram(const volatile void *p)
{
	return cpu.ram && (uintptr_t)p - cpu.ram < RAM_SIZE;
}

/* The device is about to access the ring. */
static void point(void)
{
	while (cpu.done < STEPS && cpu.at[cpu.done] == cpu.point)
		cpu.step(cpu.arg, cpu.done++);
	cpu.point++;
}

static uint64_t load(const volatile void *p, unsigned size)
{
	uint64_t val = 0;

	if (in_ram(p))
		point();
	memcpy(&val, (const void *)p, size);
	for (unsigned i = 0; i < cpu.n_held; i++) {
		if (cpu.held[i].at == (uintptr_t)p && cpu.held[i].size == size)
			val = cpu.held[i].val;
		else /* a part of what was stored: not made for that */
			assert_false((uintptr_t)p < cpu.held[i].at + cpu.held[i].size &&
				     cpu.held[i].at < (uintptr_t)p + size);
	}
	return val;
}

static void store(volatile void *p, unsigned size, uint64_t val)
{
	if (!in_ram(p)) {
		memcpy((void *)p, &val, size);
		return;
	}
	point();
	assert_true(cpu.n_held < HELD_MAX);
	cpu.held[cpu.n_held].at = (uintptr_t)p;
	cpu.held[cpu.n_held].size = size;
	cpu.held[cpu.n_held++].val = val;
}

/* What compilers call with -fsanitize=thread (gcc/tsan.cc, llvm's ThreadSanitizer.cpp). */
void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
	(void)pc;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

/* Before a plain access, which the code does itself: those to the ring are reads. */
#define PLAIN(name)              \
	void name(void *p);      \
	void name(void *p)       \
	{                        \
		if (in_ram(p))   \
			point(); \
	}
#define PLAIN_SIZES(bytes)                   \
	PLAIN(__tsan_read##bytes)            \
	PLAIN(__tsan_write##bytes)           \
	PLAIN(__tsan_unaligned_read##bytes)  \
	PLAIN(__tsan_unaligned_write##bytes) \
	PLAIN(__tsan_volatile_read##bytes)   \
	PLAIN(__tsan_volatile_write##bytes)  \
	PLAIN(__tsan_read_write##bytes)      \
	PLAIN(__tsan_unaligned_read_write##bytes)
PLAIN_SIZES(1)
PLAIN_SIZES(2)
PLAIN_SIZES(4)
PLAIN_SIZES(8)
PLAIN_SIZES(16)

#define RANGE(name)                             \
	void name(void *p, unsigned long size); \
	void name(void *p, unsigned long size)  \
	{                                       \
		(void)size;                     \
		if (in_ram(p))                  \
			point();                \
	}
RANGE(__tsan_read_range)
RANGE(__tsan_write_range)

void *__tsan_memcpy(void *to, const void *from, unsigned long size);
void *__tsan_memcpy(void *to, const void *from, unsigned long size)
{
	return memcpy(to, from, size);
}

void *__tsan_memset(void *to, int byte, unsigned long size);
void *__tsan_memset(void *to, int byte, unsigned long size)
{
	return memset(to, byte, size);
}

#define ATOMIC(bits)                                                                       \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile void *p, int order);      \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile void *p, int order)       \
	{                                                                                  \
		(void)order;                                                               \
		return (uint##bits##_t)load(p, bits / 8);                                  \
	}                                                                                  \
	void __tsan_atomic##bits##_store(volatile void *p, uint##bits##_t val, int order); \
	void __tsan_atomic##bits##_store(volatile void *p, uint##bits##_t val, int order)  \
	{                                                                                  \
		(void)order;                                                               \
		store(p, bits / 8, val);                                                   \
	}
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
	(void)order;
	if (cpu.ram && cpu.barriers)
		let_go();
}

/* ---- Driver and device ---- */

struct t {
	struct gmem *mem;
	struct vdriver d;
	struct vd_queue q;
	struct vq *vq;
	struct vd_buf b;
	bool told; /* the driver kicks, or sees what was used: nothing is lost */
};

static void setup(struct t *t, uint64_t features)
{
	struct vq_state s = { .size = SIZE };

	memset(t, 0, sizeof(*t));
	assert_int_equal(gmem_create(&t->mem, NULL), 0);
	assert_int_equal(gmem_add_ram(t->mem, RAM, RAM_SIZE, NULL), 0);
	vd_init(&t->d, t->mem, NULL, 0, RAM, RAM_SIZE);
	t->d.features = features;
	vd_queue_layout(&t->d, &t->q, 0, SIZE);
	t->b = (struct vd_buf){ vd_alloc(&t->d, 64, 64), 64 };
	assert_int_equal(vq_create(&t->vq, t->mem, NULL, "q"), 0);
	s.desc = t->q.desc;
	s.avail = t->q.avail;
	s.used = t->q.used;
	assert_int_equal(vq_setup(t->vq, &s, features), 0);
}

static void teardown(struct t *t)
{
	vq_destroy(t->vq);
	gmem_destroy(t->mem);
}

static void add(struct t *t)
{
	assert_true(vd_add(&t->q, &t->b, 0, 1, false) >= 0);
}

/* As many chains there and back, to begin at any place of the ring. */
static void turn(struct t *t, unsigned chains)
{
	struct vq_chain *c;
	uint16_t head;
	uint32_t len;

	while (chains--) {
		add(t);
		vd_wants_kick(&t->q);
		assert_int_equal(vq_pop(t->vq, &c, 1), 1);
		vqrig_push(t->vq, c, 0);
		vq_publish(t->vq);
		assert_true(vd_used(&t->q, &head, &len));
	}
}

static void begin(struct t *t, void (*step)(void *arg, unsigned i), unsigned first, unsigned second)
{
	cpu.step = step;
	cpu.arg = t;
	cpu.at[0] = first;
	cpu.at[1] = second;
	cpu.point = cpu.done = 0;
	cpu.ram = (uintptr_t)vd_ptr(&t->d, RAM, 1);
}

/* The device goes on to something else, and its last stores are not out yet. */
static void end(void)
{
	cpu.ram = 0;
	while (cpu.done < STEPS)
		cpu.step(cpu.arg, cpu.done++);
	let_go();
	assert_true(cpu.point < POINTS_MAX);
}

/* The device goes to sleep while the driver hands over a chain. Does it sleep over it? */
static void hand_over(void *arg, unsigned i)
{
	struct t *t = arg;

	if (i == 0) {
		add(t);
		vd_publish(&t->q);
	} else {
		t->told = vd_wants_kick(&t->q);
	}
}

static bool kick_lost(struct t *t, unsigned first, unsigned second)
{
	bool more;

	vqrig_begin(t->vq);
	begin(t, hand_over, first, second);
	more = vq_kicks(t->vq);
	end();
	return !more && !t->told;
}

/* The driver goes to sleep while the device hands back a chain. */
static void fall_asleep(void *arg, unsigned i)
{
	struct t *t = arg;

	if (i == 0)
		t->told = vd_interrupts(&t->q, true);
}

static bool irq_lost(struct t *t, unsigned first, unsigned second)
{
	struct vq_chain *c;
	bool irq;

	vd_interrupts(&t->q, false);
	add(t);
	vd_wants_kick(&t->q);
	assert_int_equal(vq_pop(t->vq, &c, 1), 1);
	begin(t, fall_asleep, first, second);
	vqrig_push(t->vq, c, 0);
	irq = vq_publish(t->vq);
	end();
	return !irq && !t->told;
}

/* How often something is lost, with the driver's steps at all points and from all places. */
static unsigned lost(uint64_t features,
		     bool (*attempt)(struct t *t, unsigned first, unsigned second), bool barriers)
{
	unsigned n = 0;

	cpu.barriers = barriers;
	for (unsigned chains = 0; chains <= 2 * SIZE + 1; chains++) {
		unsigned points = 0;

		for (unsigned first = 0; first <= points; first++) {
			for (unsigned second = first; second <= points; second++) {
				struct t t;

				setup(&t, features);
				/* Its wish from before, which the turns fulfil. */
				vq_kicks(t.vq);
				turn(&t, chains);
				n += attempt(&t, first, second);
				points = cpu.point;
				teardown(&t);
			}
		}
		assert_true(points > 1);
	}
	return n;
}

static void check(uint64_t features)
{
	assert_int_equal(lost(features, kick_lost, true), 0);
	assert_int_equal(lost(features, irq_lost, true), 0);
	/* And it would be seen. */
	assert_true(lost(features, kick_lost, false) > 0);
	assert_true(lost(features, irq_lost, false) > 0);
}

static void test_event_idx(void **state)
{
	(void)state;
	check(BIT(VIRTIO_F_EVENT_IDX));
}

static void test_flags(void **state)
{
	(void)state;
	check(0);
}

static void test_packed_event_idx(void **state)
{
	(void)state;
	check(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_EVENT_IDX));
}

static void test_packed_flags(void **state)
{
	(void)state;
	check(BIT(VIRTIO_F_RING_PACKED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_idx),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_packed_event_idx),
		cmocka_unit_test(test_packed_flags),
	};

	return cmocka_run_group_tests_name("vq race", tests, NULL, NULL);
}

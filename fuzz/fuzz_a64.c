/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: any instructions on the AArch64 software CPU, in any state, at EL1.
 *
 * Input: 8 bytes that choose the registers, then instruction words, run as a guest's code with no
 * translation, a device page that answers every access, and vectors that call the firmware.
 * Whatever the words do, hako must not crash, hang, or touch memory that is not the guest's.
 */
#include "fuzz.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/err.h"
#include "bus/bus.h"
#include "bus/clock.h"
#include "engine/engine.h"
#include "host/loop.h"
#include "mem/gmem.h"

/* RAM is where VBAR_EL1 points after a reset: its first page holds the vectors. */
enum { RAM = 0, RAM_SIZE = 0x20000, CODE = 0x1000, DEVICE = 0x100000, WORDS = 64 };
enum { HVC = 0xd4000002, BRANCH_BACK = 0x17ffffff }; /* hvc #0; b .-4 */

static struct {
	struct gmem *mem;
	struct bus *bus;
	struct loop *loop;
	struct clock *clock;
	struct engine *engine;
	struct vcpu *vcpu;
	_Atomic unsigned running; /* odd while the vCPU runs */
} f;

static uint64_t device_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev;
	return off * 0x0101010101010101 + size;
}

static void device_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	(void)dev;
	(void)off;
	(void)size;
	(void)val;
}

/* Ends what would not end: a loop, or a sleep. */
static void *watchdog(void *arg)
{
	const struct timespec tick = { .tv_nsec = 2000000 };
	unsigned seen = 0;

	(void)arg;
	for (;;) {
		nanosleep(&tick, NULL);
		unsigned now = atomic_load(&f.running);
		if ((now & 1) && now == seen)
			engine_soft.vcpu_kick(f.vcpu);
		seen = now;
	}
	return NULL;
}

static void set_up(void)
{
	static const struct bus_ops ops = { device_read, device_write };
	static struct bus_region device = { "device", DEVICE, 0x1000, 1, 8, &ops, NULL };
	struct err err = ERR_INIT;
	pthread_t thread;

	fuzz_check(!gmem_create(&f.mem, &err) && !gmem_add_ram(f.mem, RAM, RAM_SIZE, &err));
	fuzz_check(!bus_create(&f.bus, &err) && !bus_add(f.bus, &device, &err));
	fuzz_check(!loop_create(&f.loop, &err) && !clock_create(&f.clock, f.loop, &err));
	const struct engine_config config = {
		.arch = GUEST_A64, .mem = f.mem, .mmio = f.bus, .clock = f.clock, .n_vcpus = 1
	};
	const struct vcpu_wiring wiring = { .icc = NULL };
	fuzz_check(!engine_soft.create(&f.engine, &config, &err));
	fuzz_check(!engine_soft.vcpu_create(f.engine, 0, &wiring, &f.vcpu, &err));
	fuzz_check(!pthread_create(&thread, NULL, watchdog, NULL));
}

/* Registers that lead somewhere: RAM, its ends, the device, code, small numbers, anything. */
static uint64_t interesting(uint64_t r)
{
	switch (r >> 60 & 7) {
	case 0: return RAM + r % RAM_SIZE;
	case 1: return RAM + RAM_SIZE - r % 64;
	case 2: return DEVICE + r % 0x1000;
	case 3: return RAM + CODE + r % (4 * WORDS);
	case 4: return r % 128;
	case 5: return 0 - r % 128;
	default: return r;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seed = 0x2545f4914f6cdd1d;
	uint32_t word = HVC;

	if (!f.mem)
		set_up();
	if (size < 12)
		return 0;
	memcpy(&seed, data, 8);
	seed |= 1;
	data += 8;
	size = (size - 8) / 4 < WORDS ? (size - 8) / 4 : WORDS;

	gmem_clear(f.mem);
	for (unsigned v = 0; v < 0x800; v += 0x80)
		gmem_write(f.mem, RAM + v, &word, 4);
	gmem_write(f.mem, RAM + CODE, data, size * 4);
	gmem_write(f.mem, RAM + CODE + size * 4, &word, 4);
	word = BRANCH_BACK;
	gmem_write(f.mem, RAM + CODE + size * 4 + 4, &word, 4);

	/* Each word begins a run of its own, so that one that jumps away does not hide
	 * the others. */
	for (unsigned i = 0; i < size; i++) {
		enum vcpu_exit exit = VCPU_KICKED;

		engine_soft.vcpu_reset(f.vcpu);
		for (unsigned r = 0; r < 32; r++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			engine_soft.vcpu_set(f.vcpu, r, interesting(seed));
		}
		engine_soft.vcpu_set(f.vcpu, VCPU_REG_PC, RAM + CODE + i * 4);
		engine_soft.vcpu_set(f.vcpu, VCPU_REG_PSTATE, (seed >> 32 & 0xf0000000) | 0x3c5);
		atomic_fetch_add(&f.running, 1);
		fuzz_check(!engine_soft.vcpu_run(f.vcpu, &exit));
		atomic_fetch_add(&f.running, 1);
	}
	return 0;
}

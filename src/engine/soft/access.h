/* SPDX-License-Identifier: MIT */
/*
 * The host side of a guest's plain loads and stores.
 *
 * Guest memory is shared with other vCPUs and I/O threads. A plain access of the natural width is
 * what the guest's own plain access is; ordering is made by its barrier instructions.
 * ThreadSanitizer cannot know that, so it does not look at these.
 */
#ifndef HAKO_ENGINE_SOFT_ACCESS_H
#define HAKO_ENGINE_SOFT_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define SOFT_RACY __attribute__((no_sanitize("thread"), noinline, unused))
#else
#define SOFT_RACY inline
#endif

/* Any alignment; on x86-64 these are single moves. */
typedef struct {
	uint16_t v;
} __attribute__((packed, may_alias)) soft_mem16;
typedef struct {
	uint32_t v;
} __attribute__((packed, may_alias)) soft_mem32;
typedef struct {
	uint64_t v;
} __attribute__((packed, may_alias)) soft_mem64;

/*
 * RISC-V's compilers put these together from bytes. What is aligned must be one move all the same.
 */
#if defined(__riscv)
enum { SOFT_SPLIT = 1 };
#else
enum { SOFT_SPLIT = 0 };
#endif

static SOFT_RACY uint64_t soft_load(const void *p, unsigned size)
{
	bool whole = SOFT_SPLIT && (uintptr_t)p % size == 0;

	switch (size) {
	case 1: return *(const volatile uint8_t *)p;
	case 2: return whole ? *(const volatile uint16_t *)p : ((const volatile soft_mem16 *)p)->v;
	case 4: return whole ? *(const volatile uint32_t *)p : ((const volatile soft_mem32 *)p)->v;
	default: return whole ? *(const volatile uint64_t *)p : ((const volatile soft_mem64 *)p)->v;
	}
}

static SOFT_RACY void soft_store(void *p, unsigned size, uint64_t v)
{
	if (SOFT_SPLIT && (uintptr_t)p % size == 0) {
		switch (size) {
		case 2: *(volatile uint16_t *)p = (uint16_t)v; return;
		case 4: *(volatile uint32_t *)p = (uint32_t)v; return;
		case 8: *(volatile uint64_t *)p = v; return;
		}
	}
	switch (size) {
	case 1: *(volatile uint8_t *)p = (uint8_t)v; break;
	case 2: ((volatile soft_mem16 *)p)->v = (uint16_t)v; break;
	case 4: ((volatile soft_mem32 *)p)->v = (uint32_t)v; break;
	default: ((volatile soft_mem64 *)p)->v = v; break;
	}
}

/* Atomic accesses, 1 to 8 bytes, aligned; sequentially consistent. */
static inline uint64_t soft_atomic_load(void *p, unsigned size)
{
	switch (size) {
	case 1: return __atomic_load_n((uint8_t *)p, __ATOMIC_SEQ_CST);
	case 2: return __atomic_load_n((uint16_t *)p, __ATOMIC_SEQ_CST);
	case 4: return __atomic_load_n((uint32_t *)p, __ATOMIC_SEQ_CST);
	default: return __atomic_load_n((uint64_t *)p, __ATOMIC_SEQ_CST);
	}
}

/* If *p is *old, store new; otherwise tell in *old what it is. */
static inline bool soft_compare_swap(void *p, unsigned size, uint64_t *old, uint64_t new)
{
	bool ok;
	switch (size) {
#define CASE(bytes, type)                                                             \
	case bytes: {                                                                 \
		type o = (type)*old;                                                  \
		ok = __atomic_compare_exchange_n((type *)p, &o, (type) new, false,    \
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
		*old = o;                                                             \
		return ok;                                                            \
	}
		CASE(1, uint8_t)
		CASE(2, uint16_t)
		CASE(4, uint32_t)
	default: CASE(8, uint64_t)
#undef CASE
	}
}

#endif

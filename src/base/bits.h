/* SPDX-License-Identifier: MIT */
/*
 * Bit fields, alignment and checked arithmetic on 64-bit values.
 */
#ifndef HAKO_BASE_BITS_H
#define HAKO_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)

/* The struct that holds `ptr` as its member. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define BIT(n) (1ULL << (n))

/* n low bits set, n from 0 to 64 */
static inline uint64_t mask_low(unsigned n)
{
	return n >= 64 ? ~0ULL : (1ULL << n) - 1;
}
/* bits hi..lo of v, as the manuals write v<hi:lo> */
static inline uint64_t bits(uint64_t v, unsigned hi, unsigned lo)
{
	return (v >> lo) & mask_low(hi - lo + 1);
}
static inline unsigned bit(uint64_t v, unsigned n)
{
	return (unsigned)((v >> n) & 1);
}
/* the low n bits of v as a signed number, n from 1 to 64 */
static inline int64_t sign_extend(uint64_t v, unsigned n)
{
	return (int64_t)(v << (64 - n)) >> (64 - n);
}
static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}
/* `a` is a power of two */
static inline uint64_t align_down(uint64_t v, uint64_t a)
{
	return v & ~(a - 1);
}
static inline uint64_t align_up(uint64_t v, uint64_t a)
{
	return (v + a - 1) & ~(a - 1);
}
/* Is [off, off + len) inside [0, size), without overflow? */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return len <= size && off <= size - len;
}
/* Do two ranges have anything in common? Then neither is empty, and one begins inside the other. */
static inline bool ranges_meet(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a_len && b_len && (a - b < b_len || b - a < a_len);
}

/* To the CPU: this is a loop that waits. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#elif defined(__riscv)
	__asm__ volatile(
		".4byte 0x0100000f"); /* PAUSE (Zihintpause), elsewhere a fence of nothing */
#endif
}

#endif

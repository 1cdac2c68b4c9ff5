/* SPDX-License-Identifier: MIT */
/*
 * Measures each benchmark with the guest's own counter and prints a line for each on the UART:
 *
 *	NAME MINIMUM MEDIAN        picoseconds for one operation
 *	NAME -                     this CPU has no such instruction
 *
 * between the lines "micro: begin" and "micro: end"; then powers off. The minimum is what counts on
 * a busy host: it is the sample in which nothing else ran.
 */
#include <stdbool.h>
#include <stddef.h>

#include "micro.h"

#define SAMPLES   9
#define SAMPLE_US 6000

static uint64_t scratch[1024] __attribute__((aligned(4096)));
static void *ring[64] __attribute__((aligned(64)));

static bool has_atomics(void)
{
	uint64_t isar0;

	__asm__("mrs %0, id_aa64isar0_el1" : "=r"(isar0));
	return isar0 >> 20 & 15; /* D17.2.61: Atomic */
}

static bool has_aes(void)
{
	uint64_t isar0;

	__asm__("mrs %0, id_aa64isar0_el1" : "=r"(isar0));
	return isar0 >> 4 & 15; /* D17.2.61: AES */
}

static const struct benchmark {
	const char *name;
	bench_fn *fn;
	unsigned ops; /* operations in a turn of the loop */
	void *arg;
	bool (*present)(void);
} benchmarks[] = {
	{ "mix", b_mix, 30, scratch, NULL },
	{ "alu", b_alu, 34, NULL, NULL },
	{ "flags", b_flags, 34, NULL, NULL },
	{ "mul", b_mul, 18, NULL, NULL },
	{ "div", b_div, 18, NULL, NULL },
	{ "nottaken", b_nottaken, 18, NULL, NULL },
	{ "taken", b_taken, 17, NULL, NULL },
	{ "call", b_call, 8, NULL, NULL },
	{ "call_far", b_call_far, 8, NULL, NULL },
	{ "indirect", b_indirect, 16, NULL, NULL },
	{ "indirect_far", b_indirect_far, 8, NULL, NULL },
	{ "dispatch", b_dispatch, 32, NULL, NULL },
	{ "chase", b_chase, 16, ring, NULL },
	{ "load", b_load, 16, scratch, NULL },
	{ "store", b_store, 16, scratch, NULL },
	{ "copy", b_copy, 1, scratch, NULL },
	{ "copy_neon", b_copy_neon, 1, scratch, NULL },
	{ "set", b_set, 1, scratch, NULL },
	{ "zva", b_zva, 1, scratch, NULL },
	{ "pages", b_pages, PAGES_SIZE / 4096, NULL, NULL },
	{ "svc", b_svc, 1, NULL, NULL },
	{ "abort", b_abort, 1, NULL, NULL },
	{ "mmio", b_mmio, 4, NULL, NULL },
	{ "cntvct", b_cntvct, 8, NULL, NULL },
	{ "sysreg", b_sysreg, 8, NULL, NULL },
	{ "daif", b_daif, 8, NULL, NULL },
	{ "exclusive", b_exclusive, 8, scratch, NULL },
	{ "ldadd", b_ldadd, 8, scratch, has_atomics },
	{ "asid", b_asid, 2, NULL, NULL },
	{ "tlbi", b_tlbi, 1, NULL, NULL },
	{ "newcode", b_newcode, 1, NULL, NULL },
	{ "fadd", b_fadd, 16, NULL, NULL },
	{ "fmul", b_fmul, 16, NULL, NULL },
	{ "fmadd", b_fmadd, 16, NULL, NULL },
	{ "fdiv", b_fdiv, 16, NULL, NULL },
	{ "fcvt", b_fcvt, 16, NULL, NULL },
	{ "neon_int", b_neon_int, 16, NULL, NULL },
	{ "neon_fp", b_neon_fp, 16, NULL, NULL },
	{ "neon_mix", b_neon_mix, 16, NULL, NULL },
	{ "aes", b_aes, 16, NULL, has_aes },
	{ "crc", p_crc, 1, NULL, NULL },
	{ "sort", p_sort, 1, NULL, NULL },
	{ "hash", p_hash, 1, NULL, NULL },
	{ "sha256", p_sha256, 1, NULL, NULL },
	{ "records", p_records, 1, NULL, NULL },
	{ "text", p_text, 1, NULL, NULL },
	{ "bytecode", p_bytecode, 1, NULL, NULL },
	{ "matrix", p_matrix, 1, NULL, NULL },
};

static void put(char c)
{
	volatile uint32_t *uart = (volatile uint32_t *)UART;

	while (uart[0x18 / 4] & 1 << 5) /* UARTFR.TXFF */
		;
	uart[0] = (uint8_t)c;
}

static void puts(const char *s)
{
	while (*s)
		put(*s++);
}

static void put_number(uint64_t v, unsigned base)
{
	char text[24], *p = text + sizeof(text);

	*--p = '\0';
	do {
		*--p = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	puts(p);
}

void report_exception(uint64_t esr, uint64_t elr, uint64_t far)
{
	puts("\r\nmicro: unexpected exception: ESR_EL1 ");
	put_number(esr, 16);
	puts(" ELR_EL1 ");
	put_number(elr, 16);
	puts(" FAR_EL1 ");
	put_number(far, 16);
	puts("\r\n");
	power_off();
}

/* The compiler may want these. */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int c, size_t n)
{
	char *t = to;

	while (n--)
		*t++ = (char)c;
	return to;
}

static uint64_t now(void)
{
	uint64_t ticks;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks)::"memory");
	return ticks;
}

/* Ticks that n turns take */
static uint64_t sample(const struct benchmark *b, uint64_t n)
{
	uint64_t start = now();

	b->fn(n, b->arg);
	return now() - start;
}

static void measure(const struct benchmark *b, uint64_t frequency)
{
	uint64_t wanted = frequency * SAMPLE_US / 1000000, ticks, n = 1;
	uint64_t samples[SAMPLES];

	/* The first run warms up; those after it find out how many turns a sample needs. */
	sample(b, 1);
	while ((ticks = sample(b, n)) < wanted / 2 && n < 1ULL << 40)
		n *= 2;
	n = n * wanted / (ticks ? ticks : 1) + 1;
	for (int i = 0, j; i < SAMPLES; i++) {
		ticks = sample(b, n);
		for (j = i; j > 0 && samples[j - 1] > ticks; j--)
			samples[j] = samples[j - 1];
		samples[j] = ticks;
	}
	put(' ');
	put_number(samples[0] * (1000000000 / (frequency / 1000)) / (n * b->ops), 10);
	put(' ');
	put_number(samples[SAMPLES / 2] * (1000000000 / (frequency / 1000)) / (n * b->ops), 10);
}

void main(void)
{
	uint64_t frequency;

	for (int i = 0; i < 64; i++)
		ring[i] = &ring[(i + 13) % 64];
	__asm__("mrs %0, cntfrq_el0" : "=r"(frequency));
	/* FPSR.IXC: some earlier operation was inexact, as in nearly every program */
	__asm__ volatile("msr fpsr, %0" ::"r"(0x10UL));
	puts("micro: begin\r\n");
	for (size_t i = 0; i < sizeof(benchmarks) / sizeof(benchmarks[0]); i++) {
		const struct benchmark *b = &benchmarks[i];

		puts(b->name);
		if (!b->present || b->present())
			measure(b, frequency);
		else
			puts(" -");
		puts("\r\n");
	}
	puts("micro: end\r\n");
}

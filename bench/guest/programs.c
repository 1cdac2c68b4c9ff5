/* SPDX-License-Identifier: MIT */
/*
 * Small programs as compilers make them of plain C, for the micro-benchmarks: a turn of each does
 * about the work that micro.c says. Each leaves a result in `sink`, so that none is optimised away.
 */
#include <stddef.h>

#include "micro.h"

#define SIZE 4096

static volatile uint64_t sink;
static uint8_t bytes[SIZE];

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223; /* Numerical Recipes' constants */
	return *seed >> 8;
}

static void fill_bytes(void)
{
	uint32_t seed = 1;

	for (int i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)next_random(&seed);
}

/* CRC-32 (IEEE 802.3, reflected), a byte at a time by table */
void p_crc(uint64_t n, void *arg)
{
	static uint32_t crc_table[256];

	(void)arg;
	fill_bytes();
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int j = 0; j < 8; j++)
			c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
		crc_table[i] = c;
	}
	while (n--) {
		uint32_t c = ~0U;

		for (int i = 0; i < SIZE; i++)
			c = crc_table[(c ^ bytes[i]) & 0xff] ^ c >> 8;
		sink = ~c;
	}
}

/* Quicksort, and insertion for what is short */
static void sort(uint32_t *a, size_t n)
{
	while (n > 12) {
		uint32_t pivot = a[n / 2];
		size_t lo = 0, hi = n - 1;

		for (;; lo++, hi--) {
			while (a[lo] < pivot)
				lo++;
			while (a[hi] > pivot)
				hi--;
			if (lo >= hi)
				break;
			uint32_t t = a[lo];
			a[lo] = a[hi];
			a[hi] = t;
		}
		sort(a, hi + 1);
		a += hi + 1;
		n -= hi + 1;
	}
	for (size_t i = 1; i < n; i++) {
		uint32_t v = a[i];
		size_t j = i;

		for (; j > 0 && a[j - 1] > v; j--)
			a[j] = a[j - 1];
		a[j] = v;
	}
}

void p_sort(uint64_t n, void *arg)
{
	static uint32_t a[1024];
	uint32_t seed = 2;

	(void)arg;
	while (n--) {
		for (int i = 0; i < 1024; i++)
			a[i] = next_random(&seed);
		sort(a, 1024);
		sink = a[512];
	}
}

/* A hash table with chains: 512 insertions, 1024 look-ups */
struct node {
	struct node *next;
	uint32_t key, value;
};

void p_hash(uint64_t n, void *arg)
{
	static struct node nodes[512], *heads[256];
	uint64_t found;

	(void)arg;
	while (n--) {
		uint32_t seed = 3;

		found = 0;
		for (int i = 0; i < 256; i++)
			heads[i] = NULL;
		for (uint32_t i = 0; i < 512; i++) {
			uint32_t key = next_random(&seed);
			struct node **head = &heads[key * 2654435761U >> 24];

			nodes[i] = (struct node){ *head, key, i };
			*head = &nodes[i];
		}
		seed = 3;
		for (int i = 0; i < 1024; i++) {
			uint32_t key = next_random(&seed);
			struct node *e = heads[key * 2654435761U >> 24];

			while (e && e->key != key)
				e = e->next;
			if (e)
				found += e->value;
		}
		sink = found;
	}
}

/* SHA-256 (FIPS 180-4); the constants are computed as its section 4.2.2 defines them */
static uint32_t ror32(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* The first 32 bits of the fraction of p's square (n = 2) or cube (n = 3) root */
static uint32_t root_fraction(uint32_t p, int n)
{
	uint64_t lo = 0, hi = 1ULL << 37; /* the root, times 2^32; below 2^5 for all these */

	while (hi - lo > 1) {
		uint64_t mid = (lo + hi) / 2;
		unsigned __int128 power = (unsigned __int128)mid * mid * (n == 3 ? mid : 1);

		if (power <= (unsigned __int128)p << 32 * n)
			lo = mid;
		else
			hi = mid;
	}
	return (uint32_t)lo;
}

void p_sha256(uint64_t n, void *arg)
{
	static uint32_t k[64], initial[8];
	uint32_t w[64], h[8], v[8];
	int count = 0;

	(void)arg;
	fill_bytes();
	for (uint32_t p = 2; count < 64; p++) {
		uint32_t d = 2;

		while (d * d <= p && p % d)
			d++;
		if (d * d <= p)
			continue;
		if (count < 8)
			initial[count] = root_fraction(p, 2);
		k[count++] = root_fraction(p, 3);
	}
	while (n--) {
		for (int i = 0; i < 8; i++)
			h[i] = initial[i];
		for (int block = 0; block < SIZE; block += 64) {
			for (int i = 0; i < 16; i++) {
				const uint8_t *b = &bytes[block + 4 * i];

				w[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
				       (uint32_t)b[2] << 8 | b[3];
			}
			for (int i = 16; i < 64; i++) {
				uint32_t a = w[i - 15], b = w[i - 2];

				w[i] = w[i - 16] + w[i - 7] +
				       (ror32(a, 7) ^ ror32(a, 18) ^ a >> 3) +
				       (ror32(b, 17) ^ ror32(b, 19) ^ b >> 10);
			}
			for (int i = 0; i < 8; i++)
				v[i] = h[i];
			for (int i = 0; i < 64; i++) {
				uint32_t a = v[0], e = v[4];
				uint32_t t1 = v[7] + (ror32(e, 6) ^ ror32(e, 11) ^ ror32(e, 25)) +
					      ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
				uint32_t t2 = (ror32(a, 2) ^ ror32(a, 13) ^ ror32(a, 22)) +
					      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));

				v[7] = v[6], v[6] = v[5], v[5] = v[4];
				v[4] = v[3] + t1;
				v[3] = v[2], v[2] = v[1], v[1] = v[0];
				v[0] = t1 + t2;
			}
			for (int i = 0; i < 8; i++)
				h[i] += v[i];
		}
		sink = h[0];
	}
}

/* Records, calls through pointers and strings, as a program that keeps books: 64 records a turn */
struct record {
	char name[24];
	int32_t kind, amount;
	struct record *next;
};

static int compare(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a - *b;
}

__attribute__((noinline)) static int32_t add_amount(int32_t total, const struct record *r)
{
	return total + r->amount;
}

__attribute__((noinline)) static int32_t scale_amount(int32_t total, const struct record *r)
{
	return total * 3 / (r->kind + 2) + (r->amount & 15);
}

__attribute__((noinline)) static int32_t ignore(int32_t total, const struct record *r)
{
	return r->next ? total : -total;
}

void p_records(uint64_t n, void *arg)
{
	static int32_t (*volatile handlers[3])(int32_t, const struct record *);
	static struct record records[64];
	static const char words[4][24] = { "account, ordinary", "account, special", "accrual",
					   "balance" };

	(void)arg;
	handlers[0] = add_amount, handlers[1] = scale_amount, handlers[2] = ignore;
	while (n--) {
		struct record *list = NULL;
		int32_t total = 0;

		for (int i = 0; i < 64; i++) {
			struct record *r = &records[i];

			for (int j = 0; j < 24; j++)
				r->name[j] = words[i & 3][j];
			r->kind = i % 3;
			r->amount = i * 7 - 100;
			r->next = list;
			list = r;
		}
		for (struct record *r = list; r; r = r->next) {
			struct record copy = *r;

			if (compare(copy.name, words[1]) > 0)
				copy.amount++;
			switch (copy.name[3] & 3) {
			case 0: total++; break;
			case 2: total -= copy.kind; break;
			case 3: total ^= 1; break;
			default: break;
			}
			total = handlers[copy.kind](total, &copy);
		}
		sink = (uint64_t)total;
	}
}

/* Numbers to text and back: 64 a turn */
void p_text(uint64_t n, void *arg)
{
	char text[24];

	(void)arg;
	while (n--) {
		uint32_t seed = 4;
		uint64_t sum = 0;

		for (int i = 0; i < 64; i++) {
			uint64_t v = (uint64_t)next_random(&seed) * next_random(&seed);
			char *p = text + sizeof(text);

			*--p = '\0';
			do {
				*--p = (char)('0' + v % 10);
				v /= 10;
			} while (v);
			while (*p >= '0' && *p <= '9')
				v = v * 10 + (uint64_t)(*p++ - '0');
			sum += v;
		}
		sink = sum;
	}
}

/* An interpreter of a made-up machine: its program sums up the Collatz lengths of 1 to 16 */
enum { LOAD, COPY, ADDI, ADD, HALVE, TRIPLE, ODD, JUMP, JNZ, JEQ1, END };

struct step {
	uint8_t op, a, b;
	int8_t n;
};

void p_bytecode(uint64_t n, void *arg)
{
	static const struct step program[] = {
		{ LOAD, 0, 0, 16 },  { COPY, 1, 0, 0 }, { JEQ1, 1, 0, 7 },  { ADDI, 2, 0, 1 },
		{ ODD, 3, 1, 0 },    { JNZ, 3, 0, 3 },  { HALVE, 1, 0, 0 }, { JUMP, 0, 0, -5 },
		{ TRIPLE, 1, 0, 0 }, { ADD, 4, 2, 0 },  { LOAD, 2, 0, 0 },  { ADDI, 0, 0, -1 },
		{ JNZ, 0, 0, -11 },  { END, 0, 0, 0 },
	};

	(void)arg;
	while (n--) {
		int64_t r[5] = { 0 };
		const struct step *pc = program;

		for (;; pc++) {
			switch (pc->op) {
			case LOAD: r[pc->a] = pc->n; continue;
			case COPY: r[pc->a] = r[pc->b]; continue;
			case ADDI: r[pc->a] += pc->n; continue;
			case ADD: r[pc->a] += r[pc->b]; continue;
			case HALVE: r[pc->a] /= 2; continue;
			case TRIPLE:
				r[pc->a] = 3 * r[pc->a] + 1;
				pc -= 7;
				continue;
			case ODD: r[pc->a] = r[pc->b] & 1; continue;
			case JUMP: pc += pc->n - 1; continue;
			case JNZ:
				if (r[pc->a])
					pc += pc->n - 1;
				continue;
			case JEQ1:
				if (r[pc->a] == 1)
					pc += pc->n - 1;
				continue;
			default: break;
			}
			break;
		}
		sink = (uint64_t)r[4];
	}
}

/* Two matrices of 16 x 16 doubles, multiplied */
void p_matrix(uint64_t n, void *arg)
{
	static double a[16][16], b[16][16], c[16][16];

	(void)arg;
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 16; j++) {
			a[i][j] = i + j * 0.5;
			b[i][j] = i == j ? 1.0 : 0.25;
		}
	while (n--) {
		for (int i = 0; i < 16; i++)
			for (int j = 0; j < 16; j++) {
				double sum = 0;

				for (int k = 0; k < 16; k++)
					sum += a[i][k] * b[k][j];
				c[i][j] = sum;
			}
		sink = (uint64_t)c[3][5];
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * The cryptographic extension on the examples of the standards: AES of FIPS-197, SHA-1 and SHA-256
 * of FIPS 180-4, each computed as a guest would with these instructions; polynomial products.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/soft/a64/exec.h"

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct a64_cpu));
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

/* The instruction with its register fields filled in. */
#define OP2(c, NAME, D, N)    a64_exec_##NAME(c, encode(a64_##NAME, D, N, 0))
#define OP3(c, NAME, D, N, M) a64_exec_##NAME(c, encode(a64_##NAME, D, N, M))

static uint32_t encode(enum a64_insn insn, unsigned d, unsigned n, unsigned m)
{
	uint32_t w = a64_info[insn].value | m << 16 | n << 5 | d;

	assert_int_equal(a64_decode(w), insn);
	return w;
}

static union a64_vreg words(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	return (union a64_vreg){ .s = { a, b, c, d } };
}

/* ---- AES ---- */

/* SubWord(): with a zero key, a word in all columns, ShiftRows changes nothing. */
static uint32_t sub_word(struct a64_cpu *c, uint32_t x)
{
	c->v[0] = words(x, x, x, x);
	c->v[1] = words(0, 0, 0, 0);
	OP2(c, AESE, 0, 1);
	return c->v[0].s[3];
}

/* FIPS-197 5.2, words in memory order; returns the number of rounds. */
static unsigned expand_key(struct a64_cpu *c, const uint8_t *key, unsigned nk,
			   union a64_vreg schedule[15])
{
	uint32_t w[60], rcon = 1;
	unsigned rounds = nk + 6;

	memcpy(w, key, 4 * nk);
	for (unsigned i = nk; i < 4 * (rounds + 1); i++) {
		uint32_t t = w[i - 1];

		if (i % nk == 0) {
			t = sub_word(c, t >> 8 | t << 24) ^ rcon;
			rcon = rcon << 1 ^ (rcon & 0x80 ? 0x11b : 0);
		} else if (nk > 6 && i % nk == 4) {
			t = sub_word(c, t);
		}
		w[i] = w[i - nk] ^ t;
	}
	memcpy(schedule, w, 16 * (rounds + 1));
	return rounds;
}

static void aes(struct a64_cpu *c, unsigned nk, const uint8_t cipher[16])
{
	uint8_t key[32], plain[16];
	union a64_vreg schedule[15];
	unsigned rounds;

	for (unsigned i = 0; i < 32; i++)
		key[i] = (uint8_t)i;
	for (unsigned i = 0; i < 16; i++)
		plain[i] = (uint8_t)(i * 0x11);
	rounds = expand_key(c, key, nk, schedule);

	memcpy(&c->v[0], plain, 16);
	for (unsigned i = 0; i < rounds; i++) {
		c->v[1] = schedule[i];
		OP2(c, AESE, 0, 1);
		if (i < rounds - 1)
			OP2(c, AESMC, 0, 0);
	}
	for (unsigned i = 0; i < 2; i++)
		c->v[0].d[i] ^= schedule[rounds].d[i];
	assert_memory_equal(&c->v[0], cipher, 16);

	/* The equivalent inverse cipher, 5.3.5: inner round keys go through InvMixColumns. */
	for (unsigned i = rounds; i > 0; i--) {
		c->v[1] = schedule[i];
		if (i < rounds)
			OP2(c, AESIMC, 1, 1);
		OP2(c, AESD, 0, 1);
		if (i > 1)
			OP2(c, AESIMC, 0, 0);
	}
	for (unsigned i = 0; i < 2; i++)
		c->v[0].d[i] ^= schedule[0].d[i];
	assert_memory_equal(&c->v[0], plain, 16);
}

/* FIPS-197 appendix C.1 */
static void aes_128(void **state)
{
	static const uint8_t cipher[16] = { 0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30,
					    0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a };

	aes(*state, 4, cipher);
}

/* C.2 */
static void aes_192(void **state)
{
	static const uint8_t cipher[16] = { 0xdd, 0xa9, 0x7c, 0xa4, 0x86, 0x4c, 0xdf, 0xe0,
					    0x6e, 0xaf, 0x70, 0xa0, 0xec, 0x0d, 0x71, 0x91 };

	aes(*state, 6, cipher);
}

/* C.3 */
static void aes_256(void **state)
{
	static const uint8_t cipher[16] = { 0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf,
					    0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60, 0x89 };

	aes(*state, 8, cipher);
}

/* ---- SHA: the block of the message "abc" ---- */

static const union a64_vreg abc[4] = {
	{ .s = { 0x61626380, 0, 0, 0 } },
	{ .s = { 0, 0, 0, 0 } },
	{ .s = { 0, 0, 0, 0 } },
	{ .s = { 0, 0, 0, 24 } },
};

/* v[4..7] are 16 words of the schedule; v[4] takes the next four. */
static void sha1_schedule(struct a64_cpu *c)
{
	union a64_vreg next;

	OP3(c, SHA1SU0, 4, 5, 6);
	OP2(c, SHA1SU1, 4, 7);
	next = c->v[4];
	memmove(&c->v[4], &c->v[5], 3 * sizeof(c->v[4]));
	c->v[7] = next;
}

static void sha1(void **state)
{
	static const uint32_t k[] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
	static const uint32_t digest[] = { 0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c,
					   0x9cd0d89d };
	const union a64_vreg start = words(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476);
	struct a64_cpu *c = *state;

	memcpy(&c->v[4], abc, sizeof(abc));
	c->v[0] = start;
	c->v[1] = words(0xc3d2e1f0, ~0u, ~0u, ~0u);
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned j = 0; j < 4; j++)
			c->v[3].s[j] = c->v[4].s[j] + k[i / 5];
		/* The next e is a, rotated. */
		OP2(c, SHA1H, 2, 0);
		if (i < 5)
			OP3(c, SHA1C, 0, 1, 3);
		else if (i < 10 || i >= 15)
			OP3(c, SHA1P, 0, 1, 3);
		else
			OP3(c, SHA1M, 0, 1, 3);
		c->v[1] = c->v[2];
		assert_int_equal(c->v[1].d[1], 0);
		sha1_schedule(c);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(c->v[0].s[i] + start.s[i], digest[i]);
	assert_int_equal(c->v[1].s[0] + 0xc3d2e1f0, digest[4]);
}

/* FIPS 180-4 4.2.2 */
static const uint32_t sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static void sha256(void **state)
{
	static const uint32_t digest[] = { 0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
					   0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad };
	const union a64_vreg start[2] = {
		words(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a),
		words(0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19),
	};
	struct a64_cpu *c = *state;

	memcpy(&c->v[4], abc, sizeof(abc));
	c->v[0] = start[0];
	c->v[1] = start[1];
	for (unsigned i = 0; i < 16; i++) {
		union a64_vreg next;

		for (unsigned j = 0; j < 4; j++)
			c->v[3].s[j] = c->v[4].s[j] + sha256_k[4 * i + j];
		c->v[2] = c->v[0];
		OP3(c, SHA256H, 0, 1, 3);
		OP3(c, SHA256H2, 1, 2, 3);

		OP2(c, SHA256SU0, 4, 5);
		OP3(c, SHA256SU1, 4, 6, 7);
		next = c->v[4];
		memmove(&c->v[4], &c->v[5], 3 * sizeof(next));
		c->v[7] = next;
	}
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(c->v[i / 4].s[i % 4] + start[i / 4].s[i % 4], digest[i]);
}

/* ---- polynomials ---- */

static void pmull(void **state)
{
	struct a64_cpu *c = *state;

	/* A square spreads the bits. */
	c->v[1] = (union a64_vreg){ .d = { ~UINT64_C(0), 0x8000000000000003 } };
	OP3(c, PMULL_64, 0, 1, 1);
	assert_int_equal(c->v[0].d[0], 0x5555555555555555);
	assert_int_equal(c->v[0].d[1], 0x5555555555555555);
	a64_exec_PMULL_64(c, encode(a64_PMULL_64, 1, 1, 1) | 1 << 30); /* PMULL2 */
	assert_int_equal(c->v[1].d[0], 5);
	assert_int_equal(c->v[1].d[1], 0x4000000000000000);
	c->v[1].d[0] = 0xfedcba9876543210;
	c->v[2].d[0] = UINT64_C(1) << 60;
	OP3(c, PMULL_64, 2, 1, 2);
	assert_int_equal(c->v[2].d[0], 0);
	assert_int_equal(c->v[2].d[1], 0x0fedcba987654321);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aes_128), cmocka_unit_test(aes_192), cmocka_unit_test(aes_256),
		cmocka_unit_test(sha1),    cmocka_unit_test(sha256),  cmocka_unit_test(pmull),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

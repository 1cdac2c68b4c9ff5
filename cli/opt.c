/* SPDX-License-Identifier: MIT */
/*
 * Options from a table.
 */
#include "opt.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "say.h"

/* ---- Words that are nearly right ---- */

enum { WORD_MAX = 32 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/*
 * How many characters must be inserted, removed, changed or swapped with their neighbour to make a
 * into b: the optimal string alignment distance.
 */
static unsigned distance(const char *a, const char *b)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];
	size_t la = strnlen(a, WORD_MAX + 1), lb = strnlen(b, WORD_MAX + 1);

	if (la > WORD_MAX || lb > WORD_MAX)
		return WORD_MAX;
	for (size_t i = 0; i <= la; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		for (size_t j = 1; j <= lb; j++) {
			unsigned differ = tolower((unsigned char)a[i - 1]) !=
					  tolower((unsigned char)b[j - 1]);

			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + differ);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	}
	return d[la][lb];
}

const char *nearest(const char *word, const void *names, size_t n, size_t stride)
{
	size_t len = strlen(word);
	/* Of every three characters one may be wrong: more would be guessing. */
	unsigned best = (unsigned)(len < 3 ? 1 : len / 3) + 1;
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *name = *(const char *const *)((const char *)names + i * stride);
		unsigned d = distance(word, name);

		/* The beginning of a name is near it, however long the rest: "init" for "initrd".
		 */
		if (len >= 2 && strncasecmp(name, word, len) == 0)
			d = d ? 1 : 0;
		if (d < best) {
			best = d;
			found = name;
		}
	}
	return found;
}

/* ---- Values ---- */

int parse_size(const char *text, uint64_t *bytes, const char **why)
{
	static const char suffixes[] = "KMGT";
	unsigned shift = 0;
	unsigned long long v;
	const char *suffix;
	char *end;

	*why = "write a number with K, M, G or T behind it (powers of 1024), such as 64M";
	if (!isdigit((unsigned char)*text))
		return -1;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno == ERANGE) {
		*why = "that is more than any machine has";
		return -1;
	}
	if (*end) {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix || (end[1] && strcmp(end + 1, "iB") != 0))
			return -1;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (v > UINT64_MAX >> shift) {
		*why = "that is more than any machine has";
		return -1;
	}
	*bytes = (uint64_t)v << shift;
	return 0;
}

static int parse_number(const char *text, int base, uint64_t max, uint64_t *v)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -1;
	errno = 0;
	*v = strtoull(text, &end, base);
	return *end || errno || *v > max ? -1 : 0;
}

/* ---- Parsing ---- */

static size_t count(const struct opt *opts)
{
	size_t n = 0;

	while (opts[n].name)
		n++;
	return n;
}

static const struct opt *find_name(const struct opt *opts, const char *name, size_t len)
{
	for (; opts->name; opts++)
		if (strlen(opts->name) == len && memcmp(opts->name, name, len) == 0)
			return opts;
	return NULL;
}

static const struct opt *find_letter(const struct opt *opts, char letter)
{
	for (; opts->name; opts++)
		if (opts->letter && opts->letter == letter)
			return opts;
	return NULL;
}

static bool is_option(const struct opt *opts, const char *word)
{
	return strncmp(word, "--", 2) == 0 &&
	       find_name(opts, word + 2, strcspn(word + 2, "=")) != NULL;
}

static int set_value(const struct opt *o, void *target, const char *value)
{
	void *field = (char *)target + o->off;
	const char *why;
	uint64_t v;

	switch (o->kind) {
	case OPT_FLAG: *(bool *)field = true; return 0;
	case OPT_COUNT: ++*(unsigned *)field; return 0;
	case OPT_STRING: *(const char **)field = value; return 0;
	case OPT_CALL: return o->set(target, value);
	case OPT_NUMBER:
		if (parse_number(value, 10, UINT32_MAX, &v) < 0)
			return say_usage("--%s takes a whole number, not '%s'", o->name, value);
		*(unsigned *)field = (unsigned)v;
		return 0;
	case OPT_ADDR:
		if (parse_number(value, 0, UINT64_MAX, &v) < 0)
			return say_usage("--%s takes an address such as 0x44000000, not '%s'",
					 o->name, value);
		*(uint64_t *)field = v;
		return 0;
	case OPT_SIZE:
		if (parse_size(value, &v, &why) < 0)
			return say_usage("--%s cannot be '%s': %s", o->name, value, why);
		*(uint64_t *)field = v;
		return 0;
	}
	return -1;
}

static int unknown(const struct opt *opts, const char *word, size_t len)
{
	const char *near;
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)(len < 60 ? len : 60), word);
	near = nearest(name, &opts->name, count(opts), sizeof(*opts));
	if (near)
		return say_usage("unknown option '--%s'; did you mean '--%s'?", name, near);
	return say_usage("unknown option '--%s'; --help lists them", name);
}

int opt_parse(const struct opt *opts, void *target, int argc, char **argv, bool *help)
{
	uint64_t seen = 0;
	int n_args = 0;

	*help = false;
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *value = NULL;
		const struct opt *o;
		uint64_t once;

		if (word[0] != '-' || !word[1]) {
			argv[n_args++] = argv[i];
			continue;
		}
		if (strcmp(word, "--") == 0) {
			while (++i < argc)
				argv[n_args++] = argv[i];
			break;
		}
		if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			*help = true;
			return 0;
		}
		if (word[1] == '-') {
			size_t len = strcspn(word + 2, "=");

			o = find_name(opts, word + 2, len);
			if (!o)
				return unknown(opts, word + 2, len);
			if (word[2 + len])
				value = word + 3 + len;
		} else {
			o = find_letter(opts, word[1]);
			/* "-kernel": a habit from elsewhere. */
			if (!o || (word[2] && find_name(opts, word + 1, strcspn(word + 1, "=")))) {
				const char *near = word[2] ? nearest(word + 1, &opts->name,
								     count(opts), sizeof(*opts))
							   : NULL;

				if (near)
					return say_usage(
						"unknown option '%s'; did you mean '--%s'?", word,
						near);
				return say_usage("unknown option '%s'; --help lists them", word);
			}
			if (word[2] && o->arg)
				value = word + 2;
			else if (word[2]) {
				/* -vq: the rest are flags too; take one, leave the rest. */
				argv[i]++;
				argv[i][0] = '-';
				i--;
			}
		}
		if (value && !o->arg)
			return say_usage("--%s takes no value", o->name);
		if (!value && o->arg) {
			if (i + 1 >= argc)
				return say_usage("--%s needs a value: %s", o->name, o->arg);
			if (is_option(opts, argv[i + 1]))
				return say_usage("--%s needs a value (%s), and '%s' is an option; "
						 "--%s=%s if it is meant as the value",
						 o->name, o->arg, argv[i + 1], o->name,
						 argv[i + 1]);
			value = argv[++i];
		}
		once = 1ULL << (o - opts);
		if (o->arg && !o->many && (seen & once))
			return say_usage("--%s is given twice", o->name);
		seen |= once;
		if (set_value(o, target, value) < 0)
			return -1;
	}
	return n_args;
}

void opt_help(const struct opt *opts)
{
	for (; opts->name; opts++) {
		char left[64];
		int n = 0;

		if (opts->group)
			printf("\n%s:\n", opts->group);
		if (opts->letter)
			n = snprintf(left, sizeof(left), "-%c, ", opts->letter);
		else
			n = snprintf(left, sizeof(left), "    ");
		snprintf(left + n, sizeof(left) - (size_t)n, "--%s%s%s", opts->name,
			 opts->arg ? " " : "", opts->arg ? opts->arg : "");
		printf("  %-28s ", left);
		/* Further lines of a help text are indented as the first. */
		for (const char *c = opts->help; *c; c++)
			if (*c == '\n')
				printf("\n%31s", "");
			else
				putchar(*c);
		putchar('\n');
	}
}

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

		/* The beginning of a name is near it, however long the rest: "init"
		 * for "initrd". */
		if (len >= 2 && strncasecmp(name, word, len) == 0)
			d = d ? 1 : 0;
		if (d < best) {
			best = d;
			found = name;
		}
	}
	return found;
}

const char *word_list(char *text, size_t size, const void *names, size_t n, size_t stride,
		      const char *last)
{
	size_t len = 0;

	*text = 0;
	for (size_t i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s",
					i == 0      ? ""
					: i + 1 < n ? ", "
						    : last,
					*(const char *const *)((const char *)names + i * stride));
	return text;
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

static const struct opt *find_name(const struct opt *opts, const char *name, size_t len)
{
	for (; opts->name; opts++)
		if (strlen(opts->name) == len && memcmp(opts->name, name, len) == 0)
			return opts;
	return NULL;
}

const struct opt *opt_find(const struct opt *opts, const char *name)
{
	return find_name(opts, name, strlen(name));
}

size_t opt_count(const struct opt *opts)
{
	size_t n = 0;

	while (opts[n].name)
		n++;
	return n;
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

int opt_set(const struct opt *o, void *target, const char *value)
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
	near = nearest(name, &opts->name, opt_count(opts), sizeof(*opts));
	if (near)
		return say_usage("unknown option '--%s'; did you mean '--%s'?", name, near);
	return say_usage("unknown option '--%s'; --help lists them", name);
}

/* Where in argv a parse is. */
struct cursor {
	const struct opt *opts;
	int argc, at;
	char **argv;
	const char *flags; /* the rest of "-vq": what comes next in it, or NULL */
	bool no_more;      /* "--" was there: all that follows are arguments */
};

enum found { FOUND_END, FOUND_ARGUMENT, FOUND_OPTION, FOUND_HELP, FOUND_WRONG };

/* What is wrong has been told. */
static enum found wrong(int told)
{
	(void)told;
	return FOUND_WRONG;
}

static enum found wrong_letter(const struct opt *opts, const char *word)
{
	const char *near =
		word[2] ? nearest(word + 1, &opts->name, opt_count(opts), sizeof(*opts)) : NULL;

	if (near)
		return wrong(say_usage("unknown option '%s'; did you mean '--%s'?", word, near));
	return wrong(say_usage("unknown option '%s'; --help lists them", word));
}

/* The value of *o, which `given` is, or which is the next word. */
static enum found take_value(struct cursor *c, const struct opt *o, const char *given,
			     const char **value)
{
	*value = given;
	if (given && !o->arg)
		return wrong(say_usage("--%s takes no value", o->name));
	if (given || !o->arg || o->optional)
		return FOUND_OPTION;
	if (c->at >= c->argc)
		return wrong(say_usage("--%s needs a value: %s", o->name, o->arg));
	if (is_option(c->opts, c->argv[c->at]))
		return wrong(say_usage(
			"--%s needs a value (%s), and '%s' is an option; --%s=%s if it is meant as "
			"the value",
			o->name, o->arg, c->argv[c->at], o->name, c->argv[c->at]));
	*value = c->argv[c->at++];
	return FOUND_OPTION;
}

/* What comes next: an option and its value, if it has one, or an argument, in *value. */
static enum found next(struct cursor *c, const struct opt **o, const char **value)
{
	const char *word;
	size_t len;

	*o = NULL;
	if (!c->flags) {
		if (c->at >= c->argc)
			return FOUND_END;
		word = *value = c->argv[c->at++];
		if (c->no_more || word[0] != '-' || !word[1])
			return FOUND_ARGUMENT;
		if (strcmp(word, "--") == 0) {
			c->no_more = true;
			return next(c, o, value);
		}
		if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
			return FOUND_HELP;
		if (word[1] == '-') {
			len = strcspn(word + 2, "=");
			*o = find_name(c->opts, word + 2, len);
			if (!*o)
				return wrong(unknown(c->opts, word + 2, len));
			return take_value(c, *o, word[2 + len] ? word + 3 + len : NULL, value);
		}
		/* "-kernel": a habit from elsewhere. */
		if (word[2] && find_name(c->opts, word + 1, strcspn(word + 1, "=")))
			return wrong_letter(c->opts, word);
		c->flags = word + 1;
	}
	word = c->argv[c->at - 1];
	*o = find_letter(c->opts, *c->flags);
	if (!*o)
		return wrong_letter(c->opts, word);
	/* -vq: the rest are letters too; -kImage: the rest is the value. */
	c->flags++;
	if (!(*o)->arg || !*c->flags) {
		c->flags = *c->flags ? c->flags : NULL;
		return take_value(c, *o, NULL, value);
	}
	word = c->flags;
	c->flags = NULL;
	return take_value(c, *o, word, value);
}

enum way {
	WAY_CHECK, /* set nothing */
	WAY_FIRST, /* set what is `first` */
	WAY_REST,  /* set the rest, and move the arguments to the front */
};

/* Once through argv. */
static int go(struct cursor c, void *target, enum way way, int *n_args, bool *help)
{
	const struct opt *o, *before = NULL; /* the one before, if it was given without a value */
	const char *value;
	uint64_t seen = 0;

	*n_args = 0;
	for (;;) {
		switch (next(&c, &o, &value)) {
		case FOUND_END: return 0;
		case FOUND_WRONG: return -1;
		case FOUND_HELP: *help = true; return 0;
		case FOUND_ARGUMENT:
			/* "--gdb 1234": the value of such an option is never the next word. */
			if (before && before->optional)
				return say_usage("unexpected argument '%s'; if it is the value of "
						 "--%s, write --%s=%s",
						 value, before->name, before->name, value);
			if (way == WAY_REST)
				c.argv[*n_args] = c.argv[c.at - 1];
			++*n_args;
			break;
		case FOUND_OPTION:
			if (o->arg && !o->many && (seen >> (o - c.opts) & 1))
				return say_usage("--%s is given twice", o->name);
			seen |= 1ULL << (o - c.opts);
			if (way == (o->first ? WAY_FIRST : WAY_REST) &&
			    opt_set(o, target, value) < 0)
				return -1;
			before = value ? NULL : o;
			break;
		}
	}
}

int opt_parse(const struct opt *opts, void *target, int argc, char **argv, bool *help)
{
	const struct cursor start = { .opts = opts, .argc = argc, .argv = argv };
	int n_args = 0;

	*help = false;
	for (enum way way = WAY_CHECK; way <= WAY_REST && !*help; way++)
		if (go(start, target, way, &n_args, help) < 0)
			return -1;
	return *help ? 0 : n_args;
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
		snprintf(left + n, sizeof(left) - (size_t)n,
			 opts->optional ? "--%s[=%s%s]" : "--%s%s%s", opts->name,
			 opts->arg && !opts->optional ? " " : "", opts->arg ? opts->arg : "");
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

/* SPDX-License-Identifier: MIT */
/*
 * Options, from a table: the table is parsed by, helped from and listed in one place.
 *
 * An option is written --name VALUE, --name=VALUE, -l VALUE or -lVALUE, and a flag --name or -l.
 * Options and arguments may be mixed; after -- everything is an argument. What cannot be
 * understood is told on standard error, with the nearest thing that could.
 */
#ifndef HAKO_CLI_OPT_H
#define HAKO_CLI_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opt_kind {
	OPT_FLAG,   /* bool */
	OPT_COUNT,  /* unsigned, one more each time it is given */
	OPT_STRING, /* const char * */
	OPT_NUMBER, /* unsigned */
	OPT_SIZE,   /* uint64_t, bytes */
	OPT_ADDR,   /* uint64_t, guest physical, 0x allowed */
	OPT_CALL,   /* set(target, value): 0, or -1 after telling why not */
};

struct opt {
	const char *group; /* heading in the help; NULL: as the one before */
	const char *name;
	char letter;     /* 0: none */
	const char *arg; /* what its value is called, "FILE"; NULL for flags */
	const char *help;
	enum opt_kind kind;
	size_t off; /* in the target; not for OPT_CALL */
	int (*set)(void *target, const char *value);
	bool many;     /* has a value and may be given more than once */
	bool optional; /* may do without its value, which only comes as --name=VALUE; OPT_CALL gets
			  NULL */
	bool first;    /* is done before all others, which go over what it has set */
};

#define OPT_END              \
	{                    \
		.name = NULL \
	}

/*
 * Parse argv[0..argc) into `target`. Arguments that are no options are moved to the front of argv;
 * returns how many, or -1 after telling what is wrong. --help sets *help and ends the parse. An
 * option with a value may be given once, unless its table says `many`.
 */
int opt_parse(const struct opt *opts, void *target, int argc, char **argv, bool *help);
/* Set one option, as the command line would: value is NULL for flags. 0, or -1 after telling. */
int opt_set(const struct opt *opt, void *target, const char *value);
/* NULL: there is no such option. */
const struct opt *opt_find(const struct opt *opts, const char *name);
size_t opt_count(const struct opt *opts);
/* The table as text on standard output. */
void opt_help(const struct opt *opts);

/*
 * The candidate nearest to `word`, or NULL when none is near: `names` are n strings, `stride` bytes
 * apart.
 */
const char *nearest(const char *word, const void *names, size_t n, size_t stride);
/* "a, b and c", in text, of such names; `last` goes before the last one, " and ". Returns text. */
const char *word_list(char *text, size_t size, const void *names, size_t n, size_t stride,
		      const char *last);

/*
 * "64M": a number, then nothing, K, M, G or T, powers of 1024, with "iB" or not. 0, or -1 when it
 * is not that, *why a sentence about it.
 */
int parse_size(const char *text, uint64_t *bytes, const char **why);

#endif

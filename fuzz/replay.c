/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target without a fuzzer: run each file of the directories or files named, and a few
 * hundred simple mutations of each, the same ones every time.
 *
 *      replay PATH...
 */
#include "fuzz.h"

#include <dirent.h>
#include <limits.h>

enum { INPUT_MAX = 4096, MUTANTS = 200 };

static uint64_t xorshift(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static int run_file(const char *path)
{
	static uint8_t data[INPUT_MAX], mutant[INPUT_MAX];
	uint64_t seed = 0x9e3779b97f4a7c15ULL;
	FILE *f = fopen(path, "rb");
	size_t size;

	if (!f) {
		perror(path);
		return 1;
	}
	size = fread(data, 1, sizeof(data), f);
	fclose(f);
	LLVMFuzzerTestOneInput(data, size);
	for (unsigned i = 0; i < MUTANTS && size; i++) {
		unsigned changes = 1 + xorshift(&seed) % 4;

		memcpy(mutant, data, size);
		while (changes--)
			mutant[xorshift(&seed) % size] = (uint8_t)xorshift(&seed);
		LLVMFuzzerTestOneInput(mutant, i % 8 ? size : xorshift(&seed) % size);
	}
	return 0;
}

static int run(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int bad = 0;

	if (!dir)
		return run_file(path);
	while ((e = readdir(dir))) {
		char file[PATH_MAX];

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		bad |= run_file(file);
	}
	closedir(dir);
	return bad;
}

int main(int argc, char **argv)
{
	int bad = 0;

	LLVMFuzzerTestOneInput(NULL, 0);
	for (int i = 1; i < argc; i++)
		bad |= run(argv[i]);
	return bad;
}

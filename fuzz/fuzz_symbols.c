/* SPDX-License-Identifier: MIT */
/*
 * Symbols of ELF files: read, and looked for.
 *
 *      bytes 0 to 7    an address to find a name for
 *      the rest        the file
 */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "boot/symbols.h"

static int fd = -1;
static char path[32];

/* The same file each time: one in memory, which has a path of its own in /proc. */
static void put(const void *bytes, size_t size)
{
	if (fd < 0) {
		fd = memfd_create("symbols", MFD_CLOEXEC);
		fuzz_check(fd >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	fuzz_check(!ftruncate(fd, 0));
	fuzz_check(pwrite(fd, bytes, size, 0) == (ssize_t)size);
}

static void find(const struct symbols *symbols, uint64_t addr)
{
	/* As the reports have it, and too small for most. */
	char text[96], little[8], again[96];

	memset(text, 'x', sizeof(text));
	symbols_name(symbols, addr, text, sizeof(text));
	size_t len = strnlen(text, sizeof(text));
	fuzz_check(len < sizeof(text) && (!len || (text[0] == ' ' && len > 1)));
	for (size_t i = 0; i < len; i++)
		fuzz_check(text[i] >= ' ' && text[i] <= '~');
	symbols_name(symbols, addr, again, sizeof(again));
	fuzz_check(strcmp(text, again) == 0);
	symbols_name(symbols, addr, little, sizeof(little));
	fuzz_check(strncmp(text, little, sizeof(little) - 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint64_t addr = input_take(&in, 8);
	struct symbols *symbols = NULL;
	struct err err = ERR_INIT;

	put(in.at, in.left);
	int res = symbols_open(&symbols, path, &err);
	fuzz_check(!res == !err.msg[0] && !res == !!symbols);
	if (res)
		return 0;
	find(symbols, addr);
	for (unsigned i = 0; i < 64; i += 3) {
		find(symbols, addr ^ 1ULL << i);
		find(symbols, 1ULL << i);
	}
	find(symbols, 0);
	find(symbols, UINT64_MAX);
	symbols_close(symbols);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The shell: a line at a time, cut into words, the first of which is a command.
 */
#include "disk.h"
#include "kernel.h"
#include "tarfs.h"

enum { LINE_MAX = 1024 };

/* Four pages, for what comes from disks. */
static u8 buffer[32 * SECTOR] __attribute__((aligned(16)));

/* Cuts a word off the front of a line. */
static char *next_word(char **line)
{
	char *word = *line;

	while (*word == ' ')
		word++;
	char *at = word;
	while (*at && *at != ' ')
		at++;
	if (*at)
		*at++ = 0;
	*line = at;
	return word;
}

/* ---- Files ---- */

static void ls(char *args)
{
	const struct tar_file *f;

	(void)args;
	for (unsigned i = 0; (f = tarfs_get(i)); i++) {
		printf("%10llu %c ", f->size, f->type == '5' ? 'd' : f->type == '0' ? '-' : '?');
		print_text(f->name, strlen(f->name));
		printf("\n");
	}
}

static void cat(char *args)
{
	const char *name = next_word(&args);
	const struct tar_file *f = tarfs_find(name);

	if (!*name) {
		printf("cat what? Say: cat FILE\n");
		return;
	}
	if (!f) {
		printf("%s: no such file\n", name);
		return;
	}
	for (u64 at = 0; at < f->size; at += sizeof(buffer)) {
		u64 n = f->size - at < sizeof(buffer) ? f->size - at : sizeof(buffer);
		enum disk_result result = tarfs_read(f, at, buffer, (size_t)n);

		if (result) {
			printf("%s: %s\n", name, disk_result_text(result));
			return;
		}
		print_text((const char *)buffer, (size_t)n);
	}
}

static void write(char *args)
{
	const char *name = next_word(&args);
	size_t n = strlen(args);

	if (!*name) {
		printf("write what? Say: write FILE TEXT\n");
		return;
	}
	args[n] = '\n'; /* in place of the NUL, for which the line has room */
	if (tarfs_write(name, args, n + 1))
		printf("%zu bytes written\n", n + 1);
}

/* ---- Disks ---- */

static void lsblk(char *args)
{
	const struct disk *d;

	(void)args;
	printf("NAME    SECTORS        BYTES RO FLUSH QUEUE VIRTIO\n");
	for (unsigned i = 0; (d = disk_get(i)); i++)
		printf("%-4s %10llu %12llu %2d %5d %5u %s\n", d->name, d->sectors,
		       d->sectors * SECTOR, d->read_only, d->can_flush, d->queue.size,
		       d->virtio.legacy ? "legacy" : "modern");
}

/* Reads for half a second, a piece at a time, and tells how fast that was. */
static bool measure(struct disk *d, u32 sectors, void *memory)
{
	u64 start = arch_ticks(), limit = arch_ticks_per_second() / 2, ticks;
	u64 done = 0, at = 0;

	do {
		enum disk_result result = disk_read(d, at, memory, sectors);

		if (result) {
			printf("%s: %s\n", d->name, disk_result_text(result));
			return false;
		}
		done++;
		at += sectors;
		if (at + sectors > d->sectors)
			at = 0;
		ticks = arch_ticks() - start;
	} while (ticks < limit);
	/* Milliseconds fit into 32 bits, by which divide() divides. */
	u32 ms = (u32)divide(ticks * 1000, arch_ticks_per_second(), NULL);
	printf("%4u KiB, %-10s %8llu reads/s %8llu KiB/s\n", sectors / 2,
	       d->polling ? "polling" : "interrupts", divide(done * 1000, ms, NULL),
	       divide(done * sectors * 500, ms, NULL));
	return true;
}

static void bench(char *args)
{
	enum { MANY = REQUESTS * CHUNK_SECTORS, PAGES = MANY * SECTOR / PAGE_SIZE };
	struct disk *d = disk_get(0);

	(void)args;
	if (!d) {
		printf("there is no disk\n");
		return;
	}
	void *memory = pages_alloc(PAGES);
	bool was_polling = d->polling, ok = true;
	for (int polling = 0; polling < 2 && ok; polling++) {
		d->polling = polling;
		ok = d->sectors < 8 || measure(d, 8, memory);
		if (ok && d->sectors >= MANY)
			ok = measure(d, MANY, memory);
	}
	d->polling = was_polling;
	/* A device that was given up has been reset, and no longer writes there. */
	pages_free(memory, PAGES);
}

static void set_polling(char *args)
{
	const char *how = next_word(&args);
	bool on = !strcmp(how, "on");
	struct disk *d;

	if (!on && strcmp(how, "off")) {
		printf("poll how? Say: poll on, or poll off\n");
		return;
	}
	for (unsigned i = 0; (d = disk_get(i)); i++)
		d->polling = on;
	printf("the driver %s\n", on ? "polls" : "waits for interrupts");
}

/*
 * A disk without any file system: the first sector is text. It is read, shown, and overwritten with
 * another text; the file on the host that is the disk then begins with that.
 */
void story(void)
{
	static const char hello[] = "hello from kernel!!!\n";
	struct disk *d = disk_get(0);

	if (!d) {
		printf("there is no disk\n");
		return;
	}
	printf("virtio-blk: capacity is %llu bytes\n", d->sectors * SECTOR);
	enum disk_result result = disk_read(d, 0, buffer, 1);
	if (!result) {
		size_t n = 0;
		while (n < SECTOR && buffer[n])
			n++;
		printf("first sector: ");
		print_text((const char *)buffer, n);
		printf("\n");
		memcpy(buffer, hello, sizeof(hello) - 1);
		result = disk_write(d, 0, buffer, 1);
	}
	if (!result)
		result = disk_flush(d);
	if (!result)
		result = disk_read(d, 0, buffer, 1);
	if (!result && memcmp(buffer, hello, sizeof(hello) - 1))
		printf("the disk does not keep what is written\n");
	else
		printf("write: %s\n", disk_result_text(result));
}

static void run_story(char *args)
{
	(void)args;
	story();
}

/* ---- The rest ---- */

/* Deeper than the stack; what it returns keeps the compiler from making a loop of it. */
static unsigned __attribute__((noinline)) recurse(volatile unsigned *n)
{
	volatile unsigned here = *n + 1;

	return here ? recurse(&here) + here : 0;
}

static void crash(char *args)
{
	const char *how = next_word(&args);
	unsigned n = 0;

	if (!strcmp(how, "null"))
		*(volatile int *)(uintptr_t)8 = 1;
	else if (!strcmp(how, "stack"))
		recurse(&n);
	else if (!strcmp(how, "text"))
		*(volatile int *)(uintptr_t)text_start = 1;
	else if (!strcmp(how, "jump"))
		((void (*)(void))(uintptr_t)buffer)();
	else
		printf("crash how? null, stack, text or jump\n");
}

static void halt(char *args)
{
	(void)args;
	printf("bye\n");
	arch_off();
}

static void reboot(char *args)
{
	(void)args;
	printf("again\n");
	arch_restart();
}

static void help(char *args);

static const struct command {
	const char *name;
	void (*run)(char *args);
	const char *usage;
} commands[] = {
	{ "help", help, "help               this list" },
	{ "ls", ls, "ls                 the files of the first disk" },
	{ "cat", cat, "cat FILE           show a file" },
	{ "write", write, "write FILE TEXT    make TEXT the contents of a file" },
	{ "lsblk", lsblk, "lsblk              the disks" },
	{ "bench", bench, "bench              how fast the first disk is" },
	{ "poll", set_polling, "poll on|off        how the disk driver waits" },
	{ "story", run_story, "story              show the first sector and write to it" },
	{ "crash", crash, "crash HOW          what a panic looks like" },
	{ "halt", halt, "halt               switch the machine off" },
	{ "reboot", reboot, "reboot             start it again" },
};

static void help(char *args)
{
	(void)args;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("%s\n", commands[i].usage);
}

/* A line without its end, in `line`, which has room for LINE_MAX characters and a NUL. */
static void read_line(char *line)
{
	enum { BACKSPACE = 8, DELETE = 127 };
	size_t n = 0;

	for (;;) {
		char c = read_char();

		if (c == '\r' || c == '\n')
			break;
		if ((c == BACKSPACE || c == DELETE) && n) {
			n--;
			printf("\b \b");
		} else if (c >= ' ' && c < DELETE && n < LINE_MAX) {
			line[n++] = c;
			print_text(&c, 1);
		}
	}
	line[n] = 0;
	printf("\n");
}

_Noreturn void shell(void)
{
	static char line[LINE_MAX + 1];

	for (;;) {
		printf("> ");
		read_line(line);
		char *args = line;
		const char *name = next_word(&args);
		size_t i = 0;

		while (i < ARRAY_SIZE(commands) && strcmp(commands[i].name, name) != 0)
			i++;
		if (i < ARRAY_SIZE(commands))
			commands[i].run(args);
		else if (*name)
			printf("%s: no such command; try help\n", name);
	}
}

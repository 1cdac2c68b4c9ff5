/* SPDX-License-Identifier: MIT */
/*
 * A tar archive as a file system (POSIX.1-2017, "pax", "ustar Interchange Format"). An archive is a
 * row of members: a header of one sector, then the contents, filled up to whole sectors. Two
 * sectors of zeros end it. So any tape archiver makes disks for this kernel, and looks at them
 * afterwards.
 *
 * The archive is read once, header by header, into a table. A file is written where it is, if it
 * takes as many sectors as before; otherwise it becomes a new member at the end, and the last
 * member of a name is the one that counts, as it is for "tar --append". Contents are written and
 * flushed before the header that tells of them: a power cut leaves the new file or the old one,
 * except where the old one's sectors are used again.
 */
#include "tarfs.h"

enum { MAX_FILES = 128 };

struct header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char chksum[8];
	char typeflag;
	char linkname[100];
	char magic[6];
	char version[2];
	char uname[32];
	char gname[32];
	char devmajor[8];
	char devminor[8];
	char prefix[155];
	char pad[12];
};
_Static_assert(sizeof(struct header) == SECTOR, "a header is a sector");

static struct disk *disk;
static struct tar_file files[MAX_FILES];
static unsigned n_files;
static u64 end; /* the sector of the zeros */

static u64 sectors_of(u64 bytes)
{
	return (bytes + SECTOR - 1) / SECTOR;
}

/* ---- Headers ---- */

/* Octal digits, up to a space or NUL. */
static u64 get_octal(const char *field, size_t n)
{
	u64 value = 0;

	while (n && *field == ' ')
		field++, n--;
	for (; n && *field >= '0' && *field <= '7'; field++, n--)
		value = value << 3 | (u64)(*field - '0');
	return value;
}

static void put_octal(char *field, size_t n, u64 value)
{
	field[--n] = 0;
	for (; n; value >>= 3)
		field[--n] = (char)('0' + (value & 7));
}

/* The sum of the header's bytes, with its own field taken as spaces. */
static u32 checksum(const struct header *h)
{
	const u8 *byte = (const u8 *)h;
	u32 sum = 0;

	for (size_t i = 0; i < sizeof(*h); i++) {
		size_t in_field = i - offsetof(struct header, chksum);
		sum += in_field < sizeof(h->chksum) ? ' ' : byte[i];
	}
	return sum;
}

static size_t length(const char *field, size_t n)
{
	size_t i = 0;

	while (i < n && field[i])
		i++;
	return i;
}

/* Fields that are full have no NUL. */
static void get_name(char *name, const struct header *h)
{
	size_t n = 0;

	/* GNU's tar writes another magic, and something else where ustar has the prefix. */
	if (!memcmp(h->magic, "ustar", 6) && h->prefix[0]) {
		n = length(h->prefix, sizeof(h->prefix));
		memcpy(name, h->prefix, n);
		name[n++] = '/';
	}
	size_t rest = length(h->name, sizeof(h->name));
	memcpy(name + n, h->name, rest);
	name[n + rest] = 0;
}

static bool is_zero(const struct header *h)
{
	const u8 *byte = (const u8 *)h;

	for (size_t i = 0; i < sizeof(*h); i++)
		if (byte[i])
			return false;
	return true;
}

/* ---- Looking ---- */

/* "./a" is "a", and a directory's name may end in a slash or not. */
static bool same_name(const char *a, const char *b)
{
	size_t n, m;

	if (a[0] == '.' && a[1] == '/')
		a += 2;
	if (b[0] == '.' && b[1] == '/')
		b += 2;
	n = strlen(a);
	m = strlen(b);
	if (n && a[n - 1] == '/')
		n--;
	if (m && b[m - 1] == '/')
		m--;
	return n == m && !memcmp(a, b, n);
}

static struct tar_file *find(const char *name)
{
	for (unsigned i = 0; i < n_files; i++)
		if (same_name(files[i].name, name))
			return &files[i];
	return NULL;
}

/* In the table a later member takes the place of an earlier one. */
static bool remember(const struct header *h, u64 at, u64 size)
{
	char name[NAME_MAX + 1];

	get_name(name, h);
	struct tar_file *f = find(name);
	if (!f && n_files == MAX_FILES)
		return false;
	if (!f)
		f = &files[n_files++];
	copy_string(f->name, sizeof(f->name), name);
	f->type = h->typeflag ? h->typeflag : '0';
	f->size = size;
	f->header = at;
	return true;
}

void tarfs_mount(struct disk *d)
{
	static struct header h;
	u64 at = 0;

	end = d->sectors; /* behind something that is not understood, nothing is added */
	while (at < d->sectors) {
		enum disk_result result = disk_read(d, at, &h, 1);

		if (result) {
			printf("%s: cannot read sector %llu: %s\n", d->name, at,
			       disk_result_text(result));
			break;
		}
		if (is_zero(&h)) {
			end = at;
			break;
		}
		if (memcmp(h.magic, "ustar", 5) ||
		    get_octal(h.chksum, sizeof(h.chksum)) != checksum(&h)) {
			printf("%s: no tar header in sector %llu\n", d->name, at);
			break;
		}
		u64 size = h.typeflag == '5' ? 0 : get_octal(h.size, sizeof(h.size));
		if (sectors_of(size) > d->sectors - at - 1) {
			printf("%s: the file of sector %llu is longer than the disk\n", d->name,
			       at);
			break;
		}
		/* Records for other archivers ('x', 'g': pax; 'L': GNU) are not files. */
		if (h.typeflag != 'x' && h.typeflag != 'g' && h.typeflag != 'L' &&
		    !remember(&h, at, size)) {
			printf("%s: more than %d files\n", d->name, MAX_FILES);
			break;
		}
		at += 1 + sectors_of(size);
	}
	if (n_files || end < d->sectors)
		disk = d;
}

const struct tar_file *tarfs_get(unsigned index)
{
	return index < n_files ? &files[index] : NULL;
}

const struct tar_file *tarfs_find(const char *name)
{
	return find(name);
}

enum disk_result tarfs_read(const struct tar_file *f, u64 offset, void *to, size_t size)
{
	if (offset >= f->size)
		return DISK_OUT_OF_RANGE;
	if (size > f->size - offset)
		size = (size_t)(f->size - offset);
	return disk_read(disk, f->header + 1 + offset / SECTOR, to, sectors_of(size));
}

/* ---- Writing ---- */

static void fill_header(struct header *h, const char *name, size_t size)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->name, name, strlen(name));
	put_octal(h->mode, sizeof(h->mode), 0644);
	put_octal(h->uid, sizeof(h->uid), 0);
	put_octal(h->gid, sizeof(h->gid), 0);
	put_octal(h->mtime, sizeof(h->mtime), 0);
	put_octal(h->devmajor, sizeof(h->devmajor), 0);
	put_octal(h->devminor, sizeof(h->devminor), 0);
	h->typeflag = '0';
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	put_octal(h->size, sizeof(h->size), size);
}

static enum disk_result write_contents(u64 sector, const char *contents, size_t size)
{
	u8 last[SECTOR] = { 0 };
	size_t whole = size / SECTOR;
	enum disk_result result = disk_write(disk, sector, contents, whole);

	if (result || size == whole * SECTOR)
		return result;
	memcpy(last, contents + whole * SECTOR, size - whole * SECTOR);
	return disk_write(disk, sector + whole, last, 1);
}

/* Contents, then the new end if there is one, then the header. */
static enum disk_result write_member(struct header *h, u64 at, const char *contents, size_t size,
				     bool is_new)
{
	static const u8 zeros[2 * SECTOR];
	enum disk_result result = write_contents(at + 1, contents, size);

	if (!result && is_new)
		result = disk_write(disk, at + 1 + sectors_of(size), zeros, 2);
	if (!result)
		result = disk_flush(disk);
	put_octal(h->size, sizeof(h->size), size);
	put_octal(h->chksum, sizeof(h->chksum) - 1, checksum(h));
	h->chksum[sizeof(h->chksum) - 1] = ' ';
	if (!result)
		result = disk_write(disk, at, h, 1);
	return result ? result : disk_flush(disk);
}

bool tarfs_write(const char *name, const char *contents, size_t size)
{
	struct header h;
	struct tar_file *f = find(name);
	enum disk_result result = DISK_OK;

	if (!disk) {
		printf("there is no tar archive to write to\n");
		return false;
	}
	if (f && f->type != '0') {
		printf("%s: not a file\n", name);
		return false;
	}
	/* In place only if it takes as many sectors: the next header must stay where it is. */
	bool is_new = !f || sectors_of(size) != sectors_of(f->size);
	u64 at = is_new ? end : f->header;
	if (strlen(name) > sizeof(h.name) || (!f && n_files == MAX_FILES)) {
		printf("%s: the name is too long, or there are too many files\n", name);
		return false;
	}
	if (is_new && at + 1 + sectors_of(size) + 2 > disk->sectors) {
		printf("%s: the disk is full\n", name);
		return false;
	}
	if (is_new)
		fill_header(&h, name, size);
	else
		result = disk_read(disk, at, &h, 1);
	if (!result)
		result = write_member(&h, at, contents, size, is_new);
	if (result) {
		printf("%s: %s\n", name, disk_result_text(result));
		return false;
	}
	if (is_new)
		end = at + 1 + sectors_of(size);
	return remember(&h, at, size);
}

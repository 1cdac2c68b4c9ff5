/* SPDX-License-Identifier: MIT */
/*
 * A record of all that changes a disk; see record.h.
 */
#include "block/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/ns.h"

struct record {
	FILE *file;
	char name[32];
	struct log *log;
	uint64_t next_id;
	bool failed; /* told; nothing is recorded from then on */
};

int record_open(struct record **record, const char *path, const char *name, struct log *log,
		struct err *err)
{
	struct record *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(err, -ENOMEM, "cannot record to '%s': out of memory", path);
	r->log = log;
	snprintf(r->name, sizeof(r->name), "%s", name ? name : "");
	r->file = fopen(path, "wxe");
	if (!r->file || fwrite(RECORD_MAGIC, 16, 1, r->file) != 1) {
		int code = -errno;

		err_set(err, code, "cannot record to '%s': %s%s", path, strerror(-code),
			code == -EEXIST ? "; remove it, or name another file" : "");
		if (r->file)
			fclose(r->file);
		free(r);
		return code;
	}
	*record = r;
	return 0;
}

static void put(struct record *r, const void *data, size_t len)
{
	if (r->failed || fwrite(data, 1, len, r->file) == len)
		return;
	r->failed = true;
	log_msg(r->log, LOG_ERROR, r->name, "the record of the disk ends here: %s",
		strerror(errno));
}

static void put_entry(struct record *r, uint32_t kind, bool durable, uint64_t id, uint64_t off,
		      uint64_t len)
{
	struct record_entry e = { .kind = le32(kind),
				  .durable = le32(durable),
				  .id = le64(id),
				  .off = le64(off),
				  .len = le64(len),
				  .ns = le64(host_ns()) };

	put(r, &e, sizeof(e));
}

void record_begins(struct record *r, struct blk_req *req)
{
	static const uint32_t kinds[] = {
		[BLK_WRITE] = RECORD_WRITE,     [BLK_FLUSH] = RECORD_FLUSH,
		[BLK_DISCARD] = RECORD_DISCARD, [BLK_ZERO] = RECORD_ZERO,
		[BLK_ERASE] = RECORD_ERASE,
	};

	req->record_id = r->next_id++;
	if (req->op == BLK_READ)
		return;
	put_entry(r, kinds[req->op], req->durable, req->record_id, req->off, req->len);
	for (int i = 0; req->op == BLK_WRITE && i < req->iovcnt; i++)
		put(r, req->iov[i].iov_base, req->iov[i].iov_len);
}

void record_ends(struct record *r, const struct blk_req *req, int res)
{
	if (req->op != BLK_READ)
		put_entry(r, RECORD_END, req->durable, req->record_id, (uint64_t)-res, 0);
}

void record_close(struct record *r)
{
	if (!r)
		return;
	if (fclose(r->file) && !r->failed)
		log_msg(r->log, LOG_ERROR, r->name, "the end of the record is missing: %s",
			strerror(errno));
	free(r);
}

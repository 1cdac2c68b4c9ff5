/* SPDX-License-Identifier: MIT */
/*
 * The lint: its rules, and the state that the order of register accesses is judged by; see lint.h.
 * Numbers of sections are those of virtio 1.2.
 */
#include "virtio/lint.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "virtio/virtio.h"

/* must, deep */
#define MUST        true, false
#define SHOULD      false, false
#define MUST_DEEP   true, true
#define SHOULD_DEEP false, true

/* Sections are those of the driver's requirements, where there are any, else of the definition. */
const struct lint_rule lint_rules[LINT_RULES] = {
	[LINT_STATUS_CLEARED] = { "V101", MUST, "2.1.1",
				  "set bits of Status one after the other, each time with all that "
				  "are set already",
				  "writes the value read, with one bit more" },
	[LINT_NOT_RESET] = { "V102", MUST, "3.1.1", "write 0 to Status before anything else",
			     "resets every device before it looks for a driver" },
	[LINT_RESET_NOT_AWAITED] = { "V103", SHOULD, "2.4.2",
				     "after a reset, read Status until it is 0 before going on",
				     "reads Status before it sets ACKNOWLEDGE" },
	[LINT_STEP_SKIPPED] = { "V104", MUST, "3.1.1",
				"set ACKNOWLEDGE, then DRIVER, then the others",
				"sets ACKNOWLEDGE when it finds the device and DRIVER when a "
				"driver takes it" },
	[LINT_ON_AFTER_FAILED] = { "V105", MUST, "2.1.1",
				   "reset the device before trying again after FAILED",
				   "resets the device whenever a driver is tried" },
	[LINT_FEATURES_LATE] = { "V106", MUST, "3.1.1",
				 "write features before FEATURES_OK, never after",
				 "writes both halves, then sets FEATURES_OK" },
	[LINT_FEATURE_NOT_OFFERED] = { "V107", MUST, "2.2.1",
				       "accept only features that the device offers",
				       "accepts offered & known" },
	[LINT_NO_VERSION_1] = { "V108", MUST, "6.1",
				"accept VERSION_1 (bit 32) where it is offered",
				"refuses a version 2 device without it" },
	[LINT_FEATURES_OK_NOT_READ] = { "V109", MUST, "3.1.1",
					"read Status after setting FEATURES_OK: only if the bit "
					"stayed, the device agrees",
					"reads it and gives up with an error if the bit is gone" },
	[LINT_NO_FEATURES_OK] = { "V110", MUST, "3.1.1",
				  "have the features agreed on before DRIVER_OK",
				  "does not probe a device that refused FEATURES_OK" },
	[LINT_EARLY_KICK] = { "V111", MUST, "3.1.1", "write QueueNotify after DRIVER_OK only",
			      "calls virtio_device_ready() before the first request" },
	[LINT_FEATURES_IGNORED] = { "V112", MUST, "3.1.1",
				    "read the features that are offered and write those to be "
				    "used, be it none",
				    "does so for every device" },
	[LINT_EARLY_CONFIG_WRITE] = { "V113", MUST, "3.1.1",
				      "write the configuration after FEATURES_OK only",
				      "writes it when asked to, long after" },

	[LINT_FEATURE_NEEDS] = { "V114", MUST, "2.2.1",
				 "accept a feature only together with those that it needs",
				 "tells each driver only of what it asked for" },

	[LINT_IDENTITY_NOT_READ] = { "V201", MUST, "4.2.3.1.1",
				     "check MagicValue, Version and DeviceID first",
				     "reads all three before it registers the device" },
	[LINT_EMPTY_SLOT] = { "V202", MUST, "4.2.3.1.1",
			      "touch nothing more where DeviceID is 0: there is no device",
			      "leaves the slot alone" },
	[LINT_REG_WIDTH] = { "V203", MUST, "4.2.2.2", "access registers in 32 bits, aligned",
			     "uses readl() and writel()" },
	[LINT_REG_NONE] = { "V204", MUST, "4.2.2.2",
			    "access only what the register table and the configuration have",
			    "reads fields by their offset in struct virtio_blk_config" },
	[LINT_REG_DIRECTION] = { "V205", MUST, "4.2.2.2",
				 "read no write-only register and write no read-only one",
				 "keeps a copy where it needs one" },
	[LINT_FEATURES_SEL] = { "V206", MUST, "4.2.2.2",
				"write DeviceFeaturesSel before DeviceFeatures is read, and "
				"DriverFeaturesSel before "
				"DriverFeatures is written",
				"selects 1, then 0, each time" },
	[LINT_CONFIG_WIDTH] = { "V207", MUST, "4.2.2.2",
				"access a field of the configuration aligned and in its own width, "
				"64-bit ones in two "
				"halves",
				"has an accessor per width" },
	[LINT_CONFIG_FEATURE] = { "V208", MUST, "2.5.1",
				  "read a field that belongs to a feature only if that is offered",
				  "uses virtio_cread_feature()" },
	[LINT_CONFIG_GENERATION] = { "V209", SHOULD, "2.5.1",
				     "read ConfigGeneration before and after a 64-bit field, and "
				     "again until both agree",
				     "does so in virtio_cread64()" },
	[LINT_CONFIG_EARLY] = { "V210", MUST, "5.2.5.1", "read writeback after FEATURES_OK only",
				"reads it in probe(), which comes after" },
	[LINT_ACK_UNDEFINED] = { "V211", MUST, "4.2.2.2",
				 "write bits 0 and 1 to InterruptACK and no others",
				 "writes back what InterruptStatus said" },
	[LINT_ACK_NOT_RAISED] = { "V212", MUST, "4.2.2.2",
				  "acknowledge what InterruptStatus shows, nothing else",
				  "writes back what InterruptStatus said" },
	[LINT_NEVER_ACKED] = { "V213", MUST, "4.2.3.4.1",
			       "write to InterruptACK what was handled (a driver that polls turns "
			       "interrupts off in the "
			       "ring)",
			       "does so first thing in its handler" },

	[LINT_QUEUE_TOO_LARGE] = { "V301", MUST, "4.2.2.2",
				   "write a QueueNum of at most QueueNumMax",
				   "starts from QueueNumMax and goes down" },
	[LINT_QUEUE_MAX_NOT_READ] = { "V302", SHOULD, "4.2.3.2",
				      "read QueueNumMax before QueueNum is written; 0 means that "
				      "there is no such queue",
				      "reads it for each queue" },
	[LINT_QUEUE_IN_USE] = { "V303", MUST, "4.2.2.2",
				"leave a queue's registers alone while it is in use",
				"gives up with an error if QueueReady (legacy: QueuePFN) is not "
				"0" },
	[LINT_QUEUE_STOP_NOT_READ] = { "V304", MUST, "4.2.2.2",
				       "read QueueReady back after writing 0 to it",
				       "reads it and warns if it is not 0" },
	[LINT_QUEUE_NONE] = { "V305", MUST, "4.2.3.2",
			      "set up only queues whose QueueNumMax is not 0",
			      "gives up on a queue where it is" },
	[LINT_QUEUE_SIZE] = { "V306", MUST, "2.7, 2.8",
			      "give a queue a size from 1 to QueueNumMax, in the split ring a "
			      "power of two",
			      "takes QueueNumMax, halved until memory is found" },
	[LINT_QUEUE_ALIGN] = { "V307", MUST, "2.7.1, 2.8.11",
			       "align descriptors to 16, the available ring to 2, the used ring to "
			       "4 (packed: the event "
			       "structures to 4)",
			       "gives rings pages of their own" },
	[LINT_QUEUE_NOT_RAM] = { "V308", MUST, "2.7, 2.8",
				 "place rings in RAM, by physical address",
				 "takes them from the DMA allocator" },
	[LINT_QUEUE_OVERLAP] = { "V309", MUST, "2.7, 2.8",
				 "place the parts of a queue apart from each other",
				 "computes their places by their sizes" },
	[LINT_QUEUE_RESET] = { "V310", MUST, "2.6.1",
			       "use QueueReset only after RING_RESET was agreed on",
			       "does not use it over MMIO" },
	[LINT_KICK_NONE] = { "V311", MUST, "4.2.3.3",
			     "notify queues that exist and are ready, by their number",
			     "writes the number it set the queue up by" },
	[LINT_QUEUE_RESET_NOT_READ] = { "V312", MUST, "4.2.2.2",
					"after writing 1 to QueueReset, read it until it is 0",
					"does not use it over MMIO" },

	[LINT_IDX_JUMPS] = { "V401", MUST, "2.7.6.1",
			     "move idx of the available ring forward only, by one for each buffer",
			     "counts in 16 bits and never takes back" },
	[LINT_HEAD] = { "V402", MUST, "2.7.6",
			"put numbers of descriptors into the available ring, below the queue's "
			"size",
			"takes them from its free list" },
	[LINT_NEXT] = { "V403", MUST, "2.7.5", "link to descriptors inside the table",
			"links them once, when it sets the queue up" },
	[LINT_CHAIN_LONG] = { "V404", MUST, "2.7.5.3.1, 2.8.17",
			      "make chains of at most as many descriptors as the queue has, "
			      "without loops",
			      "limits segments to seg_max" },
	[LINT_CHAIN_BYTES] = { "V405", MUST, "2.7.5.2", "make chains of at most 2^32 bytes",
			       "is limited by the block layer" },
	[LINT_IN_FLIGHT] = { "V406", MUST, "3.3.1, 2.8.16",
			     "leave a descriptor alone until its chain comes back in the used ring",
			     "frees descriptors when it takes used entries" },
	[LINT_WRITABLE_FIRST] = { "V407", MUST, "2.7.4.2, 2.8.17",
				  "place what the device writes after all that it reads",
				  "takes two lists, and chains the readable one first" },
	[LINT_BUFFER] = { "V408", MUST, "2.7.5, 2.8.4",
			  "give buffers by physical address and length, all of it in RAM and not "
			  "empty",
			  "maps each by the DMA interface" },
	[LINT_INDIRECT_NOT_AGREED] = { "V409", MUST, "2.7.5.3.1, 2.8.19",
				       "use INDIRECT only after INDIRECT_DESC was agreed on",
				       "looks at the feature for each request" },
	[LINT_INDIRECT_NESTED] = { "V410", MUST, "2.7.5.3.1",
				   "put no INDIRECT into an indirect table",
				   "uses one table per request" },
	[LINT_INDIRECT_NEXT] = { "V411", MUST, "2.7.5.3.1, 2.8.19",
				 "never set INDIRECT and NEXT together",
				 "uses one descriptor for an indirect request" },
	[LINT_INDIRECT_LENGTH] = { "V412", MUST, "2.7.5.3, 2.8.7",
				   "make an indirect table a multiple of 16 bytes long, and not "
				   "empty",
				   "computes it from the number of entries" },
	[LINT_AVAIL_FLAGS] = { "V413", MUST, "2.7.7.1",
			       "set flags of the available ring to 0 or 1, with EVENT_IDX to 0",
			       "with EVENT_IDX moves used_event instead" },
	[LINT_LIST_LONG] = { "V414", MUST, "2.8.17",
			     "make available only what there is room for in the ring",
			     "counts the free descriptors" },
	[LINT_RING_NOT_CLEARED] = { "V415", MUST, "2.7.10.1",
				    "clear flags of the used ring before the queue is handed over",
				    "gets its rings zeroed" },
	[LINT_EVENT_FLAGS] = { "V416", MUST, "2.8.10",
			       "set flags of the driver area to 0 or 1, with EVENT_IDX also to 2",
			       "sets 0 or 1, or with EVENT_IDX 1 or 2" },
	[LINT_TAIL_LATE] = { "V417", MUST, "2.8.17",
			     "make the first descriptor of a list available after all others",
			     "writes the flags of the first one last, after a barrier" },
	[LINT_KICK_EMPTY] = { "V418", SHOULD, "2.7.13, 2.8.21",
			      "notify after something was made available, in a ring of the kind "
			      "that was agreed on",
			      "accepts RING_PACKED only where it has packed rings" },
	[LINT_KICK_SUPPRESSED] = { "V421", SHOULD_DEEP, "2.7.10.1",
				   "send no notification while flags is 1, or with EVENT_IDX "
				   "unless avail_event is passed",
				   "asks virtqueue_kick_prepare()" },
	[LINT_KICK_MISSING] = { "V422", MUST_DEEP, "2.7.10.1, 2.8.21.2",
				"notify where flags is 0, or with EVENT_IDX when avail_event is "
				"passed",
				"has a full barrier between idx and that question" },
	[LINT_IDX_EARLY] = { "V423", MUST_DEEP, "2.7.13.3.1",
			     "write the entry, then a barrier, then idx",
			     "has virtio_wmb() between them" },
	[LINT_DESC_CHANGED] = { "V424", MUST_DEEP, "3.3.1, 2.8.16",
				"leave descriptors and indirect tables alone until their chain is "
				"used",
				"frees them when it takes used entries" },
	[LINT_HEADER_CHANGED] = { "V425", SHOULD_DEEP, "3.3.1",
				  "leave headers and segments alone until their chain is used",
				  "has a header in each request" },
	[LINT_ID_REUSED] = { "V426", MUST_DEEP, "2.8.21.1",
			     "give each list in flight a buffer id of its own",
			     "takes ids from a free list" },
	[LINT_TABLE_FLAGS] = { "V427", MUST_DEEP, "2.8.19",
			       "set no flag but WRITE in an indirect table", "sets WRITE or none" },
	[LINT_NEXT_ORDER] = { "V428", MUST_DEEP, "2.7.5.2, 2.7.5.3.1",
			      "with IN_ORDER, chain each descriptor to the one behind it",
			      "does not accept IN_ORDER" },
	[LINT_BUFFER_IN_RING] = { "V429", MUST_DEEP, "2.7, 2.8",
				  "keep buffers that the device writes apart from the ring",
				  "takes them from different allocators" },
	[LINT_NO_BARRIER] = { "V430", MUST_DEEP, "2.7.13.3.1, 2.8.21.1.1",
			      "have a barrier between what is made available and idx (packed: "
			      "flags of the first descriptor): RISC-V: fence w, w; arm64: dmb "
			      "ishst",
			      "has virtio_wmb() there" },

	[LINT_BLK_SHORT] = { "V501", MUST, "5.2.6",
			     "begin a request with a header of 16 readable bytes and end it with a "
			     "writable one",
			     "has a descriptor each for header, data and status" },
	[LINT_BLK_CAPACITY] = { "V502", MUST, "5.2.6.1",
				"stay within the capacity, in sectors of 512 bytes whatever "
				"blk_size is",
				"the block layer knows the capacity" },
	[LINT_BLK_LENGTH] = { "V503", MUST, "5.2.6.1", "read and write multiples of 512 bytes",
			      "the block layer knows no less than a sector" },
	[LINT_BLK_TYPE] = { "V504", MUST, "5.2.6", "use types that the device knows",
			    "sends those whose feature it negotiated" },
	[LINT_BLK_FLUSH_SECTOR] = { "V505", MUST, "5.2.6.1", "set sector to 0 in a FLUSH",
				    "clears it for all but reads and writes" },
	[LINT_BLK_FLUSH_DATA] = { "V506", SHOULD, "5.2.6.1", "send a FLUSH without data",
				  "sends header and status" },
	[LINT_BLK_GET_ID] = { "V507", MUST, "5.2.6.1", "give GET_ID 20 bytes for data",
			      "has a buffer of VIRTIO_BLK_ID_BYTES" },
	[LINT_BLK_SEGMENT_SIZE] = { "V508", MUST, "5.2.6.1",
				    "give DISCARD, WRITE_ZEROES and SECURE_ERASE whole segments of "
				    "16 bytes, one or more",
				    "allocates an array of them" },
	[LINT_BLK_SEGMENTS] = { "V509", MUST, "5.2.6.1",
				"send at most max_discard_seg, max_write_zeroes_seg or "
				"max_secure_erase_seg segments",
				"hands the limits to the block layer" },
	[LINT_BLK_SEGMENT_LONG] = { "V510", MUST, "5.2.5",
				    "put at most max_discard_sectors, max_write_zeroes_sectors or "
				    "max_secure_erase_sectors into a segment",
				    "hands the limits to the block layer" },
	[LINT_BLK_SEGMENT_FLAGS] = { "V511", MUST, "5.2.6.1",
				     "set no flag in a segment but unmap, and that in WRITE_ZEROES "
				     "only",
				     "sets unmap unless told not to, in WRITE_ZEROES only" },
	[LINT_BLK_NOT_AGREED] = { "V512", MUST, "5.2.3",
				  "send requests only if their feature was agreed on",
				  "tells the block layer only then that it can" },
	[LINT_BLK_SIZE_MAX] = { "V513", MUST, "5.2.3",
				"with SIZE_MAX, make no segment longer than size_max",
				"hands the limit to the block layer" },
	[LINT_BLK_SEG_MAX] = { "V514", MUST, "5.2.3",
			       "with SEG_MAX, put at most seg_max segments into a request",
			       "hands the limit to the block layer" },
	[LINT_BLK_RO] = { "V515", SHOULD, "5.2.6.1",
			  "accept RO where it is offered, and write nothing then",
			  "makes the disk read-only" },
	[LINT_BLK_NEVER_FLUSHED] = { "V516", SHOULD_DEEP, "5.2.5.1",
				     "accept FLUSH only if it is used: what was written is safe "
				     "only after one",
				     "reads writeback, and where there is a cache flushes it for "
				     "file systems and fsync()" },
	[LINT_BLK_DIRECTION] = { "V517", MUST, "5.2.6",
				 "make the data of a read device-writable, and that of a write "
				 "device-readable",
				 "maps the data of a request by its direction" },

	[LINT_LEGACY_PAGE_SIZE] = { "V601", MUST, "4.2.4", "write GuestPageSize before QueuePFN",
				    "writes it when it finds a version 1 device" },
	[LINT_LEGACY_PAGE_SIZE_ODD] = { "V602", MUST, "4.2.4",
					"write a power of two to GuestPageSize",
					"writes PAGE_SIZE" },
	[LINT_LEGACY_ALIGN] = { "V603", SHOULD, "4.2.4",
				"write QueueAlign before QueuePFN: it places the used ring",
				"writes PAGE_SIZE" },
	[LINT_LEGACY_ALIGN_ODD] = { "V604", MUST, "4.2.4", "write a power of two to QueueAlign",
				    "writes PAGE_SIZE" },
	[LINT_LEGACY_LAYOUT] = { "V605", MUST, "5.2.6.4",
				 "without ANY_LAYOUT, use one descriptor of 16 bytes for the "
				 "header and one of 1 byte for "
				 "the status",
				 "has a descriptor each for header, data and status" },
	[LINT_LEGACY_FEATURES_OK] = { "V606", SHOULD, "3.1.2",
				      "not set FEATURES_OK on a legacy device, which does not know "
				      "it",
				      "sets it only with VERSION_1" },
};

enum { PLACES = 64 }; /* queues, or registers by number; those beyond share */

struct lint {
	enum lint_level level;
	bool deep, legacy;
	char name[32];
	struct log *log;
	lint_name_fn *name_pc; /* NULL: nobody knows names */
	void *name_arg;

	pthread_mutex_t lock;        /* what lint_report() touches */
	unsigned count[LINT_RULES];  /* findings */
	unsigned summed[LINT_RULES]; /* of them, in a summary */
	uint64_t said[LINT_RULES];   /* places that have been told about */
	struct lint_finding *found;  /* [n_found], in order; room for a power of two */
	size_t n_found;
	struct log_limit limit; /* summaries */
	atomic_bool *tripped;

	/* Since the machine was switched on */
	unsigned identity; /* LINT_READ_* */
	bool was_reset;

	/* Since the last reset */
	bool zero_read;        /* Status was read, and was 0 */
	bool features_ok_read; /* Status was read after FEATURES_OK was written */
	bool device_sel, driver_sel, features_read, features_written;
	bool generation_before; /* ConfigGeneration was read, and no whole 64-bit field since */
	bool generation_owed;   /* a 64-bit field was read, and not ConfigGeneration since */
	unsigned halves;        /* of the 64-bit field at `wide` that were read */
	uint32_t wide;
	uint64_t config_read; /* of its first 64 bytes, a bit each */
	uint64_t max_read;    /* queues whose QueueNumMax was read */
	unsigned stopped;     /* 1 + the queue that was stopped and not read back */
	unsigned resetted;    /* 1 + the queue that was reset and not read back */
	atomic_uint acks, unacked;
};

/* Findings */

struct lint *lint_create(enum lint_level level, bool deep, bool legacy, const char *name,
			 struct log *log, atomic_bool *tripped)
{
	struct lint *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->level = level;
	l->deep = deep;
	l->legacy = legacy;
	l->log = log;
	l->tripped = tripped;
	snprintf(l->name, sizeof(l->name), "%s", name);
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

/* Is the place of such a finding a queue? */
static bool at_queue(enum lint_id id)
{
	return id >= LINT_QUEUE_TOO_LARGE && id < LINT_LEGACY_PAGE_SIZE && id != LINT_QUEUE_NONE &&
	       id != LINT_KICK_NONE && id != LINT_QUEUE_RESET && id != LINT_BLK_RO &&
	       id != LINT_BLK_NEVER_FLUSHED;
}

/* The lock is held. What there is no memory for is counted by its rule, and not here. */
static void remember(struct lint *l, enum lint_id id, unsigned place, const char *saw)
{
	const int queue = at_queue(id) ? (int)(place % PLACES) : -1;
	struct lint_finding *f;

	for (size_t i = 0; i < l->n_found; i++) {
		f = &l->found[i];
		if (f->rule == id && f->queue == queue) {
			f->count++;
			return;
		}
	}
	if (!(l->n_found & (l->n_found - 1))) {
		size_t room = l->n_found ? 2 * l->n_found : 1;

		f = realloc(l->found, room * sizeof(*f));
		if (!f)
			return;
		l->found = f;
	}
	f = &l->found[l->n_found++];
	*f = (struct lint_finding){ .rule = id, .queue = queue, .count = 1 };
	snprintf(f->saw, sizeof(f->saw), "%s", saw);
}

void lint_report(struct lint *l, enum lint_id id, unsigned place, const char *fmt, ...)
{
	const struct lint_rule *rule = &lint_rules[id];
	char saw[256];
	bool first;
	va_list ap;

	if (!l)
		return;
	va_start(ap, fmt);
	vsnprintf(saw, sizeof(saw), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&l->lock);
	l->count[id]++;
	first = !(l->said[id] & BIT(place % PLACES));
	l->said[id] |= BIT(place % PLACES);
	remember(l, id, place, saw);
	pthread_mutex_unlock(&l->lock);
	/* Not log_guest(): once per rule and place is limit enough. */
	if (first)
		log_msg(l->log, LOG_WARN, l->name, "lint %s %s %s: saw %s; right: %s; Linux: %s",
			rule->id, rule->must ? "MUST" : "SHOULD", rule->section, saw, rule->what,
			rule->in_linux);
	if (rule->must && l->level == LINT_STRICT)
		atomic_store(l->tripped, true);
}

unsigned lint_count(struct lint *l, enum lint_id id)
{
	unsigned n;

	if (!l)
		return 0;
	pthread_mutex_lock(&l->lock);
	n = l->count[id];
	pthread_mutex_unlock(&l->lock);
	return n;
}

bool lint_deep(const struct lint *l)
{
	return l && l->deep;
}

void lint_names(struct lint *l, lint_name_fn *name, void *arg)
{
	l->name_pc = name;
	l->name_arg = arg;
}

void lint_pc(struct lint *l, uint64_t pc, char *text, size_t size)
{
	char name[64] = "";

	if (l && l->name_pc)
		l->name_pc(l->name_arg, pc, name, sizeof(name));
	snprintf(text, size, "0x%llx%s", (unsigned long long)pc, name);
}

bool lint_finding(struct lint *l, size_t n, struct lint_finding *finding)
{
	bool there;

	if (!l)
		return false;
	pthread_mutex_lock(&l->lock);
	there = n < l->n_found;
	if (there)
		*finding = l->found[n];
	pthread_mutex_unlock(&l->lock);
	return there;
}

/* What is new since the last summary, in one line. */
static void sum_up(struct lint *l)
{
	char list[512] = "";
	size_t len = 0;
	unsigned rules = 0;

	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < LINT_RULES; i++) {
		unsigned n = l->count[i] - l->summed[i];

		if (!n)
			continue;
		l->summed[i] = l->count[i];
		rules++;
		if (len < sizeof(list))
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s %u times",
						len ? ", " : "", lint_rules[i].id, n);
	}
	pthread_mutex_unlock(&l->lock);
	if (rules)
		log_guest(l->log, &l->limit, LOG_WARN, l->name, "lint: %u rule%s broken: %s", rules,
			  rules == 1 ? "" : "s", list);
}

/* 4.2.3.4.1: interrupts came, were still up when the next one came, and none was acknowledged. */
static void judge_acks(struct lint *l)
{
	unsigned n = atomic_load(&l->unacked);

	if (n && !atomic_load(&l->acks))
		lint_report(l, LINT_NEVER_ACKED, 0, "%u interrupts and no write to InterruptACK",
			    n + 1);
}

void lint_destroy(struct lint *l)
{
	if (!l)
		return;
	judge_acks(l);
	sum_up(l);
	pthread_mutex_destroy(&l->lock);
	free(l->found);
	free(l);
}

/* Status, features */

void lint_reset(struct lint *l, bool power)
{
	if (!l)
		return;
	judge_acks(l);
	sum_up(l);
	l->was_reset = !power;
	if (power)
		l->identity = 0;
	l->zero_read = l->features_ok_read = false;
	l->device_sel = l->driver_sel = l->features_read = l->features_written = false;
	l->generation_before = l->generation_owed = false;
	l->halves = 0;
	l->config_read = 0;
	l->max_read = 0;
	l->stopped = l->resetted = 0;
	atomic_store(&l->acks, 0);
	atomic_store(&l->unacked, 0);
	atomic_store(l->tripped, false);
}

void lint_identity_read(struct lint *l, unsigned which)
{
	if (l)
		l->identity |= which;
}

void lint_status_read(struct lint *l, uint8_t status)
{
	if (!l)
		return;
	l->zero_read |= !status;
	l->features_ok_read = true;
}

/* 3.1.1: each bit of these has those before it set, at the latest with it. */
static void judge_steps(struct lint *l, uint8_t status, uint8_t val)
{
	uint8_t needed = 0, all = status | val;

	if (val & (VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK))
		needed |= VIRTIO_STATUS_ACKNOWLEDGE;
	if (val & (VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK))
		needed |= VIRTIO_STATUS_DRIVER;
	if (needed & ~all)
		lint_report(l, LINT_STEP_SKIPPED, 0, "Status 0x%x written over 0x%x", val, status);
}

/* The driver begins. */
static void judge_beginning(struct lint *l, uint8_t val)
{
	if ((l->identity & 7) != (LINT_READ_MAGIC | LINT_READ_VERSION | LINT_READ_DEVICE_ID))
		lint_report(l, LINT_IDENTITY_NOT_READ, 0,
			    "Status 0x%x, and before it no read of%s%s%s", val,
			    l->identity & LINT_READ_MAGIC ? "" : " MagicValue",
			    l->identity & LINT_READ_VERSION ? "" : " Version",
			    l->identity & LINT_READ_DEVICE_ID ? "" : " DeviceID");
	if (!l->was_reset)
		lint_report(l, LINT_NOT_RESET, 0, "Status 0x%x on a device never reset", val);
	else if (!l->zero_read)
		lint_report(l, LINT_RESET_NOT_AWAITED, 0,
			    "Status 0x%x after 0, and no read between them", val);
}

/* The driver has done with the configuration, for now. */
static void judge_generation(struct lint *l)
{
	if (l->generation_owed)
		lint_report(l, LINT_CONFIG_GENERATION, PLACES - 1,
			    "the field at 0x%x read, and no ConfigGeneration after it", l->wide);
	l->generation_owed = false;
}

void lint_status_write(struct lint *l, uint8_t status, uint8_t val)
{
	uint8_t set = val & (uint8_t)~status;

	if (!l)
		return;
	if (!status)
		judge_beginning(l, val);
	judge_steps(l, status, val);
	judge_generation(l);
	if ((status & VIRTIO_STATUS_FAILED) && set)
		lint_report(l, LINT_ON_AFTER_FAILED, 0, "Status 0x%x written over 0x%x", val,
			    status);
	if ((set & (l->legacy ? VIRTIO_STATUS_DRIVER_OK : VIRTIO_STATUS_FEATURES_OK)) &&
	    !(l->features_read && l->features_written))
		lint_report(l, LINT_FEATURES_IGNORED, 0, "Status 0x%x, with the features not %s",
			    val,
			    l->features_read      ? "written"
			    : l->features_written ? "read"
						  : "read and not written");
	if (set & VIRTIO_STATUS_FEATURES_OK)
		l->features_ok_read = false;
	/* One that was refused is told otherwise. */
	if (!l->legacy && (set & VIRTIO_STATUS_DRIVER_OK) &&
	    ((status | set) & VIRTIO_STATUS_FEATURES_OK) && !l->features_ok_read)
		lint_report(l, LINT_FEATURES_OK_NOT_READ, 0,
			    "Status 0x%x, and no read of it since FEATURES_OK", val);
}

void lint_features_sel(struct lint *l, bool drivers)
{
	if (l && drivers)
		l->driver_sel = true;
	else if (l)
		l->device_sel = true;
}

void lint_features_read(struct lint *l)
{
	if (!l)
		return;
	if (!l->device_sel)
		lint_report(l, LINT_FEATURES_SEL, 0,
			    "DeviceFeatures read, and DeviceFeaturesSel never written");
	l->features_read = true;
}

void lint_features_write(struct lint *l)
{
	if (!l)
		return;
	if (!l->driver_sel)
		lint_report(l, LINT_FEATURES_SEL, 1,
			    "DriverFeatures written, and DriverFeaturesSel never");
	l->features_written = true;
}

/* Configuration */

static const struct virtio_config_field *field_at(const struct virtio_dev *dev, uint32_t off)
{
	const struct virtio_config_field *f = dev->ops->fields;

	for (; f && f->width; f++)
		if (off >= f->off && off < (uint32_t)f->off + f->width)
			return f;
	return NULL;
}

/* A 64-bit field takes two accesses, between which it may change. */
static void wide_read(struct lint *l, const struct virtio_config_field *f, uint32_t off)
{
	if (l->wide != f->off)
		l->halves = 0;
	l->wide = f->off;
	l->halves |= off == f->off ? 1 : 2;
	if (l->halves != 3)
		return;
	l->halves = 0;
	if (!l->generation_before)
		lint_report(l, LINT_CONFIG_GENERATION, f->off,
			    "both halves of the field at 0x%x read, without ConfigGeneration "
			    "before",
			    f->off);
	l->generation_before = false;
	l->generation_owed = true;
}

void lint_config_read(struct lint *l, struct virtio_dev *dev, uint64_t offered, uint8_t status,
		      uint32_t off, unsigned size)
{
	const struct virtio_config_field *f;

	if (!l)
		return;
	for (uint32_t i = off; i < off + size && i < PLACES; i++)
		l->config_read |= BIT(i);
	f = field_at(dev, off);
	if (!f)
		return;
	if (f->feature && !(offered & BIT(f->feature)))
		lint_report(l, LINT_CONFIG_FEATURE, f->off,
			    "a read at 0x%x, which belongs to feature %u", off, f->feature);
	/* The rest is not asked of drivers from before virtio 1.0. */
	if (l->legacy || size > 4)
		return;
	if (size != (f->width > 4 ? 4U : f->width) || (off - f->off) % size || off % size)
		lint_report(l, LINT_CONFIG_WIDTH, f->off, "%u bytes at 0x%x of a field of %u bytes",
			    size, off, f->width);
	else if (f->width > 4)
		wide_read(l, f, off);
	if (f->late && !(status & VIRTIO_STATUS_FEATURES_OK))
		lint_report(l, LINT_CONFIG_EARLY, f->off, "a read at 0x%x with Status 0x%x", off,
			    status);
}

bool lint_config_was_read(const struct lint *l, uint32_t off)
{
	return l && off < PLACES && (l->config_read & BIT(off));
}

void lint_config_write(struct lint *l, uint8_t status, uint32_t off)
{
	if (l && !l->legacy && !(status & VIRTIO_STATUS_FEATURES_OK))
		lint_report(l, LINT_EARLY_CONFIG_WRITE, off, "a write at 0x%x with Status 0x%x",
			    off, status);
}

void lint_generation_read(struct lint *l)
{
	if (!l)
		return;
	/* That after one field may be that before the next. */
	l->generation_before = true;
	l->generation_owed = false;
}

/* Interrupts */

/* InterruptACK bits that exist (4.2.2) */
enum { ACK_BITS = 3 };

void lint_interrupt_ack(struct lint *l, uint32_t val, uint32_t raised, uint8_t status)
{
	if (!l)
		return;
	atomic_fetch_add(&l->acks, 1);
	if (val & ~(uint32_t)ACK_BITS)
		lint_report(l, LINT_ACK_UNDEFINED, 0, "InterruptACK 0x%x", val);
	/* While Status is 0, it may be the end of a handler that a reset has overtaken. */
	if (status && (val & ACK_BITS & ~raised))
		lint_report(l, LINT_ACK_NOT_RAISED, 0, "InterruptACK 0x%x, InterruptStatus 0x%x",
			    val, raised);
}

void lint_interrupt(struct lint *l)
{
	if (l)
		atomic_fetch_add_explicit(&l->unacked, 1, memory_order_relaxed);
}

/* Queues */

/* Of a queue that was stopped, QueueReady should have been read by now, or QueueReset. */
static void judge_stop(struct lint *l)
{
	if (l->stopped)
		lint_report(l, LINT_QUEUE_STOP_NOT_READ, l->stopped - 1,
			    "queue %u stopped, and QueueReady not read", l->stopped - 1);
	l->stopped = 0;
	if (l->resetted)
		lint_report(l, LINT_QUEUE_RESET_NOT_READ, l->resetted - 1,
			    "queue %u reset, and QueueReset not read", l->resetted - 1);
	l->resetted = 0;
}

void lint_queue_sel(struct lint *l)
{
	if (l)
		judge_stop(l);
}

void lint_queue_max_read(struct lint *l, unsigned q)
{
	if (l)
		l->max_read |= BIT(q % PLACES);
}

void lint_queue_size(struct lint *l, unsigned q, uint32_t size)
{
	if (l && !(l->max_read & BIT(q % PLACES)))
		lint_report(l, LINT_QUEUE_MAX_NOT_READ, q,
			    "QueueNum %u for queue %u, whose QueueNumMax was not read", size, q);
}

void lint_queue_stopped(struct lint *l, unsigned q)
{
	if (l)
		l->stopped = q + 1;
}

void lint_queue_ready_read(struct lint *l)
{
	if (l)
		l->stopped = 0;
}

void lint_queue_reset(struct lint *l, unsigned q)
{
	if (l)
		l->resetted = q + 1;
}

void lint_queue_reset_read(struct lint *l)
{
	if (l)
		l->resetted = 0;
}

void lint_queue_started(struct lint *l)
{
	if (!l)
		return;
	judge_stop(l);
	judge_generation(l);
}

/* SPDX-License-Identifier: MIT */
/*
 * The software engine, as far as it does not depend on the guest's architecture: vCPUs as host
 * threads, how they are interrupted, and how what one does reaches the others.
 *
 * A vCPU looks up from guest code when its `attention` is set, which it checks at every taken
 * branch. Whoever sets it first puts the reason where the run loop finds it: soft_do_jobs(),
 * irq_lines, kicked, timer_due.
 *
 * Writes to code. Pages with decoded instructions carry GMEM_PAGE_CODE in guest memory's page
 * flags, and no TLB gains a write tag for them. What can go wrong, and why it does not:
 *  - A vCPU decodes a page for which another holds a write tag, and that one stores unseen. The
 *    decoder sets the flag, then the other's `new_code`, then reads the bytes. The other drops its
 *    write tags for flagged pages when it looks up, at DSB, and before it drops a tag for any other
 *    reason (soft_protect); for each it reports the whole page as written. So a store before a DSB
 *    is either seen by the decoder or reported.
 *  - A store without a tag, or a DMA write, comes between the decoder's flag and its reading: they
 *    look at the flag after they have stored.
 *  - Reported stores reach every vCPU as a job, to forget the decoded instructions, and so does
 *    TLB invalidation. It does them before it executes anything after a context synchronisation
 *    event: ISB, exception entry and return look at `attention`; and the writer's DSB waits until
 *    each running vCPU has done them.
 *  - A code page that is stored to again and again, or overwritten by DMA, becomes data again
 *    (release() in soft.c): FRESH is cleared, every vCPU is asked to drop the page, and unless
 *    decoding began meanwhile, which sets FRESH, the flag goes. Whoever had decoded it has the
 *    job, and `attention` set, before anyone can gain a write tag.
 *
 * Watched stores (gmem_watch()). A page with GMEM_PAGE_WATCHED gets no write tags either, so that
 * soft_stored() sees each store to it. What keeps stores apart from later ones is counted by an op
 * of its own, which decoding puts in front of such an instruction once anything is watched
 * (soft_counts_fences()): until then nobody pays for it. When something begins to be watched, each
 * vCPU forgets all tags and all that it has decoded (`watches`). A vCPU that has not done so yet
 * tells nothing: it might not have counted a fence.
 */
#ifndef HAKO_ENGINE_SOFT_SOFT_H
#define HAKO_ENGINE_SOFT_SOFT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "bus/clock.h"
#include "engine/engine.h"
#include "engine/soft/code.h"
#include "engine/soft/debug.h"
#include "mem/gmem.h"

enum { SOFT_MAX_VCPUS = 8, SOFT_MAX_JOBS = 64, SOFT_HEAT_SLOTS = 64 };

struct soft_arch;
struct tlb;

/* Something one vCPU must do for another, or for a DMA write. */
struct soft_job {
	void (*run)(struct vcpu *vcpu, const struct soft_job *job);
	uint64_t a, b, c;
	bool code; /* about decoded instructions; else about translations */
};

struct engine {
	struct engine_config cfg;
	const struct soft_arch *arch;
	struct gmem_observer observer; /* of writes to code pages */
	struct vcpu *vcpus[SOFT_MAX_VCPUS];
	struct soft_points points;
	_Atomic uint64_t time_ahead; /* RISC-V: ticks of `time` beyond the clock's */
	_Atomic bool releasing;      /* somebody is in release(), soft.c */
	_Atomic uint32_t watches;    /* gmem_watch() was called so often */
	pthread_mutex_t pair_lock;   /* cas16_lock.c's, where the host needs it */
};

/* What is counted: the slow paths, each on the vCPU's own thread. */
enum soft_count {
	SOFT_COUNT_MMIO_READ,
	SOFT_COUNT_MMIO_WRITE,
	SOFT_COUNT_SLEEP, /* in WFI or WFE, waiting for something to happen */
	SOFT_COUNT_CALL,  /* firmware calls that the machine answers */
	SOFT_COUNT_KICK,  /* returns to the machine because it asked */
	SOFT_COUNT_PAGE,  /* pages of which decoding began */
	SOFT_N_COUNTS
};

enum vcpu_state { VCPU_STOPPED, VCPU_RUNNING, VCPU_ASLEEP };

/* The common part of a vCPU, embedded in the architecture's. */
struct vcpu {
	struct engine *engine;
	unsigned index;
	struct vcpu_wiring wiring;

	_Atomic uint32_t attention; /* look up from guest code */
	_Atomic uint32_t irq_lines; /* levels, bit per enum vcpu_irq */
	_Atomic uint32_t kicked;    /* vcpu_kick was called */
	_Atomic uint32_t timer_due; /* the clock fired: look at the timers */
	_Atomic uint32_t events;    /* SEV: the event register */
	_Atomic uint32_t state;     /* enum vcpu_state; changes only on the vCPU's thread */
	_Atomic uint32_t for_ever;  /* asleep, and none of its own timers will wake it */
	struct clock_timer timer;   /* the earliest of the guest's timers */

	/* Asleep in WFI or WFE: the vCPU waits on `wake` under `lock`. */
	pthread_mutex_t lock;
	pthread_cond_t wake;

	_Atomic uint32_t new_code; /* pages were flagged as code: soft_protect() is due */

	/*
	 * Jobs, under `lock`. When there are too many, the vCPU forgets all translations, or
	 * all that it has decoded, instead.
	 */
	struct soft_job jobs[SOFT_MAX_JOBS];
	unsigned n_jobs;
	bool tlb_overflow, code_overflow;
	_Atomic uint64_t posted, done; /* jobs ever; done <= posted */
	bool owes_dsb;                 /* own thread: broadcast something since the last DSB */

	/* Of watched stores, own thread. `watches`: the engine's when this vCPU has forgotten what
	 * it had from before. */
	uint32_t watches;
	uint64_t stores, fences; /* counted since then */

	struct soft_debug debug;
	struct code_cache code;
	uint8_t heat[SOFT_HEAT_SLOTS]; /* stores to code pages since a release, by page number */

	_Atomic uint64_t counts[SOFT_N_COUNTS]; /* written on the own thread only: soft_count() */
};

/* What the guest architecture supplies. */
struct soft_arch {
	int (*create)(struct engine *engine, unsigned index, const struct vcpu_wiring *wiring,
		      struct vcpu **vcpu, struct err *err);
	void (*destroy)(struct vcpu *vcpu);
	void (*reset)(struct vcpu *vcpu);
	uint64_t (*get)(struct vcpu *vcpu, unsigned reg);
	void (*set)(struct vcpu *vcpu, unsigned reg, uint64_t val);
	int (*run)(struct vcpu *vcpu, enum vcpu_exit *exit);
	/* NULL: none, and the next too. */
	int (*hart)(struct vcpu *vcpu, struct vcpu_hart *hart, struct err *err);
	void (*fence)(struct vcpu *vcpu, uint64_t mask, const struct vcpu_fence *fence);
	/* Forget every translation; that and every decoded instruction. */
	void (*flush_tlbs)(struct vcpu *vcpu);
	void (*forget)(struct vcpu *vcpu);
	/* soft_protect_tlb() for each TLB. */
	void (*protect)(struct vcpu *vcpu);
	/* tlb_unmap_code() for each TLB. */
	void (*unmap_code)(struct vcpu *vcpu, const struct code_page *page);
	/* The address of the instruction that is under way. */
	uint64_t (*pc)(const struct vcpu *vcpu);
	/* Is the instruction that is under way in this page? */
	bool (*executes)(const struct vcpu *vcpu, const struct code_page *page);
	/* As in debug_ops. */
	bool (*reg)(const struct engine *engine, size_t n, struct debug_reg *reg);
	bool (*reg_get)(struct vcpu *vcpu, size_t reg, void *val);
	bool (*reg_set)(struct vcpu *vcpu, size_t reg, const void *val);
	/* "?" for what is none. */
	const char *(*insn_name)(const struct engine *engine, uint32_t word);
};

extern const struct soft_arch soft_a64, soft_rv;

int soft_vcpu_init(struct vcpu *v, struct engine *engine, unsigned index,
		   const struct vcpu_wiring *wiring, unsigned page_ops, uint16_t end_handler,
		   struct err *err);
void soft_vcpu_fini(struct vcpu *v);

static inline void soft_count(struct vcpu *v, enum soft_count what)
{
	/* There is no other writer, so this needs no locked instruction. */
	uint64_t n = atomic_load_explicit(&v->counts[what], memory_order_relaxed);

	atomic_store_explicit(&v->counts[what], n + 1, memory_order_relaxed);
}

/* Any thread: make the vCPU look up, and wake it if it sleeps. The reason is in place already. */
void soft_attend(struct vcpu *v);

/* Own thread, attention seen: do the jobs. The caller looks at irq_lines, kicked and timer_due. */
void soft_do_jobs(struct vcpu *v);

/*
 * Own thread: sleep until attention, at most `ns` (0: no limit). for_ever: no timer of the vCPU's
 * own is going to end it.
 */
void soft_sleep(struct vcpu *v, uint64_t ns, bool for_ever);

/* Own thread: ask every other vCPU to do something. soft_dsb() waits until the running
 * ones have. */
void soft_broadcast(struct vcpu *v, const struct soft_job *job);
/* The same for those of the others that are in the mask. */
void soft_ask(struct vcpu *v, uint64_t mask, const struct soft_job *job);
void soft_dsb(struct vcpu *v);

/* Own thread: bytes of a flagged page were stored by this vCPU. */
void soft_code_written(struct vcpu *v, gpa_t gpa, size_t len);
/*
 * Own thread, filling a TLB entry for a page of RAM: may it have a write tag? When it may, the page
 * is marked as having had one, so that whoever decodes it knows to ask.
 */
bool soft_may_tag_writes(_Atomic uint8_t *flags);
/*
 * Own thread: bytes were stored without a write tag, inside one page. Looks whether they hit code,
 * or what is watched. `rest`: of a store whose beginning is in another page.
 */
void soft_stored(struct vcpu *v, gpa_t gpa, size_t len, bool rest);
/* Decoding: is anything watched, so that vcpu.fences must be counted? */
static inline bool soft_counts_fences(const struct vcpu *v)
{
	return unlikely(atomic_load_explicit(&v->engine->watches, memory_order_relaxed));
}
/* Own thread, for soft_arch.protect: drop this TLB's write tags for code pages, and report each. */
void soft_protect_tlb(struct vcpu *v, struct tlb *tlb);
/* Own thread: call this before write tags are dropped. */
void soft_protect(struct vcpu *v);
/* Own thread: the decoded page at gpa, flagged and protected against writes; flushes when full. */
struct code_page *soft_code_page(struct vcpu *v, gpa_t gpa, uint8_t *host, _Atomic uint8_t *flags);

#endif

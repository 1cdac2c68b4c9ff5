/* SPDX-License-Identifier: MIT */
/*
 * The software engine: vCPU threads and what passes between them. soft.h has the rules.
 */
#include "engine/soft/soft.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/ns.h"
#include "engine/soft/tlb.h"

/* ---- between threads ---- */

void soft_attend(struct vcpu *v)
{
	atomic_store(&v->attention, 1);
	/*
	 * Sequential consistency makes this sound: the sleeper sets its state, then looks at
	 * attention; we set attention, then look at the state. One of us sees the other.
	 */
	if (atomic_load(&v->state) == VCPU_ASLEEP) {
		pthread_mutex_lock(&v->lock);
		pthread_cond_signal(&v->wake);
		pthread_mutex_unlock(&v->lock);
	}
}

void soft_sleep(struct vcpu *v, uint64_t ns, bool for_ever)
{
	uint64_t end = host_ns() + ns;
	struct timespec until = { .tv_sec = (time_t)(end / NS_PER_S),
				  .tv_nsec = (long)(end % NS_PER_S) };

	soft_count(v, SOFT_COUNT_SLEEP);
	pthread_mutex_lock(&v->lock);
	atomic_store(&v->for_ever, for_ever);
	atomic_store(&v->state, VCPU_ASLEEP);
	int res = 0;
	while (!atomic_load(&v->attention) && res == 0)
		res = ns ? pthread_cond_timedwait(&v->wake, &v->lock, &until)
			 : pthread_cond_wait(&v->wake, &v->lock);
	atomic_store(&v->state, VCPU_RUNNING);
	pthread_mutex_unlock(&v->lock);
}

static void post(struct vcpu *v, const struct soft_job *job)
{
	pthread_mutex_lock(&v->lock);
	if (v->n_jobs < SOFT_MAX_JOBS)
		v->jobs[v->n_jobs++] = *job;
	else
		*(job->code ? &v->code_overflow : &v->tlb_overflow) = true;
	atomic_fetch_add(&v->posted, 1);
	pthread_mutex_unlock(&v->lock);
	/* A sleeper need not wake for this: it does its jobs before it executes anything. */
	atomic_store(&v->attention, 1);
}

static void post_all(struct engine *e, const struct soft_job *job)
{
	for (unsigned i = 0; i < e->cfg.n_vcpus; i++)
		if (e->vcpus[i])
			post(e->vcpus[i], job);
}

/* Something is watched since a moment ago: the note in soft.h. */
static void begin_to_tell(struct vcpu *v, uint32_t watches)
{
	v->engine->arch->forget(v);
	v->watches = watches;
}

void soft_do_jobs(struct vcpu *v)
{
	uint32_t watches = atomic_load(&v->engine->watches);

	soft_protect(v);
	if (unlikely(v->watches != watches))
		begin_to_tell(v, watches);
	if (atomic_load(&v->done) == atomic_load(&v->posted))
		return;
	struct soft_job todo[SOFT_MAX_JOBS];
	pthread_mutex_lock(&v->lock);
	unsigned n = v->n_jobs;
	bool tlb_overflow = v->tlb_overflow, code_overflow = v->code_overflow;
	uint64_t posted = atomic_load(&v->posted);
	memcpy(todo, v->jobs, n * sizeof(todo[0]));
	v->n_jobs = 0;
	v->tlb_overflow = v->code_overflow = false;
	pthread_mutex_unlock(&v->lock);

	if (code_overflow)
		v->engine->arch->forget(v);
	else if (tlb_overflow)
		v->engine->arch->flush_tlbs(v);
	for (unsigned i = 0; i < n; i++)
		todo[i].run(v, &todo[i]);
	atomic_store(&v->done, posted);
}

void soft_ask(struct vcpu *v, uint64_t mask, const struct soft_job *job)
{
	for (unsigned i = 0; i < v->engine->cfg.n_vcpus; i++) {
		struct vcpu *other = v->engine->vcpus[i];
		if (other && other != v && bit(mask, i)) {
			post(other, job);
			v->owes_dsb = true;
		}
	}
}

void soft_broadcast(struct vcpu *v, const struct soft_job *job)
{
	soft_ask(v, ~0ULL, job);
}

void soft_dsb(struct vcpu *v)
{
	/* Stores that others must be told of may become known only here. */
	soft_do_jobs(v);
	if (!v->owes_dsb)
		return;
	v->owes_dsb = false;
	for (unsigned i = 0; i < v->engine->cfg.n_vcpus; i++) {
		struct vcpu *other = v->engine->vcpus[i];
		if (!other || other == v)
			continue;
		uint64_t until = atomic_load(&other->posted);
		/* A vCPU that is not running does its jobs before it executes anything. */
		for (unsigned spins = 0; atomic_load(&other->state) == VCPU_RUNNING &&
					 atomic_load(&other->done) < until;
		     spins++) {
			/* It may be waiting for us in its own DSB. */
			soft_do_jobs(v);
			if (spins > 100)
				sched_yield();
		}
	}
}

/* ---- writes to code ---- */

static void run_code_written(struct vcpu *v, const struct soft_job *job)
{
	code_invalidate(&v->code, job->a, (size_t)job->b);
}

static void run_code_drop(struct vcpu *v, const struct soft_job *job)
{
	struct code_page *p = code_find(&v->code, job->a);
	if (!p || !p->live)
		return;
	code_invalidate(&v->code, p->gpa, GMEM_PAGE_SIZE);
	p->live = false;
	v->engine->arch->unmap_code(v, p);
}

/*
 * A code page becomes data again: soft.h. `v` is the vCPU whose thread this is, or NULL. False:
 * somebody else is at it, perhaps with another page; nothing was done.
 */
static bool release(struct engine *e, struct vcpu *v, gpa_t page)
{
	const struct gmem_region *r = gmem_find(e->cfg.mem, page);
	_Atomic uint8_t *flags = &r->flags[(page - r->base) >> GMEM_PAGE_SHIFT];
	const struct soft_job drop = { .run = run_code_drop, .code = true, .a = page };

	if (atomic_exchange(&e->releasing, true))
		return false;
	atomic_fetch_and(flags, (uint8_t)~GMEM_PAGE_FRESH);
	if (v) {
		run_code_drop(v, &drop);
		soft_broadcast(v, &drop);
	} else {
		post_all(e, &drop);
	}
	uint8_t f = atomic_load(flags);
	while (!(f & GMEM_PAGE_FRESH) &&
	       !atomic_compare_exchange_weak(flags, &f, (uint8_t)(f & ~GMEM_PAGE_CODE)))
		;
	atomic_store(&e->releasing, false);
	return true;
}

void soft_code_written(struct vcpu *v, gpa_t gpa, size_t len)
{
	enum { OFTEN = 32 };
	const gpa_t page = align_down(gpa, GMEM_PAGE_SIZE);
	uint8_t *heat = &v->heat[(page >> GMEM_PAGE_SHIFT) % SOFT_HEAT_SLOTS];

	if (++*heat >= OFTEN) {
		const struct code_page *p = code_find(&v->code, page);
		*heat = 0;
		if (!(p && v->engine->arch->executes(v, p)) && release(v->engine, v, page))
			return;
	}
	code_invalidate(&v->code, gpa, len);
	soft_broadcast(
		v, &(struct soft_job){ .run = run_code_written, .code = true, .a = gpa, .b = len });
}

/* DMA into a code page, on whatever thread did it. */
static void dma_written(struct gmem_observer *obs, gpa_t gpa, size_t len)
{
	struct engine *e = container_of(obs, struct engine, observer);

	if (len < GMEM_PAGE_SIZE || !release(e, NULL, gpa))
		post_all(e, &(struct soft_job){
				    .run = run_code_written, .code = true, .a = gpa, .b = len });
}

static void watched(struct gmem_observer *obs)
{
	struct engine *e = container_of(obs, struct engine, observer);

	atomic_fetch_add(&e->watches, 1);
	for (unsigned i = 0; i < e->cfg.n_vcpus; i++)
		if (e->vcpus[i])
			atomic_store(&e->vcpus[i]->attention, 1);
}

bool soft_may_tag_writes(_Atomic uint8_t *flags)
{
	uint8_t f = atomic_load(flags);
	/* Of this and the decoder's marking the page as code, the later sees the earlier. */
	if (!(f & GMEM_PAGE_TAGGED))
		f = atomic_fetch_or(flags, GMEM_PAGE_TAGGED);
	return !(f & (GMEM_PAGE_CODE | GMEM_PAGE_WATCHED));
}

static void tell_stored(struct vcpu *v, gpa_t gpa, size_t len, bool rest)
{
	if (!v->watches)
		return;
	v->stores += !rest;
	gmem_stored(v->engine->cfg.mem, &(struct gmem_store){
						.gpa = gpa,
						.len = len,
						.cpu = v->index,
						.pc = v->engine->arch->pc(v),
						.nth = v->stores,
						.fences = v->fences,
					});
}

void soft_stored(struct vcpu *v, gpa_t gpa, size_t len, bool rest)
{
	const struct gmem_region *r = gmem_find(v->engine->cfg.mem, gpa);
	uint8_t f;

	/* The flags are looked at after the bytes were stored: see soft.h. */
	atomic_thread_fence(memory_order_seq_cst);
	f = atomic_load(&r->flags[(gpa - r->base) >> GMEM_PAGE_SHIFT]);
	if (f & GMEM_PAGE_CODE)
		soft_code_written(v, gpa, len);
	if (unlikely(f & GMEM_PAGE_WATCHED))
		tell_stored(v, gpa, len, rest);
}

/* This vCPU had a write tag for what is a code page now: it may have stored anywhere in it. */
static void stored_unseen(struct vcpu *v, gpa_t page)
{
	soft_broadcast(
		v, &(struct soft_job){
			   .run = run_code_written, .code = true, .a = page, .b = GMEM_PAGE_SIZE });
}

void soft_protect_tlb(struct vcpu *v, struct tlb *tlb)
{
	struct gmem *mem = v->engine->cfg.mem;

	for (unsigned i = 0; i < TLB_D_ENTRIES; i++) {
		struct tlb_entry *e = &tlb->d[i];
		for (size_t k = 0; e->w != TLB_NO_TAG && k < gmem_count(mem); k++) {
			const struct gmem_region *r = gmem_region(mem, k);
			uintptr_t off = e->w + e->addend - (uintptr_t)r->host;
			if (off < r->size &&
			    (atomic_load(&r->flags[off >> GMEM_PAGE_SHIFT]) & GMEM_PAGE_CODE)) {
				e->w = TLB_NO_TAG;
				stored_unseen(v, r->base + off);
			}
		}
	}
}

void soft_protect(struct vcpu *v)
{
	if (v->engine->cfg.n_vcpus == 1)
		return;
	/* Our stores before this, the decoder's flag before its reading: see soft.h. */
	atomic_thread_fence(memory_order_seq_cst);
	if (unlikely(atomic_load(&v->new_code))) {
		atomic_store(&v->new_code, 0);
		v->engine->arch->protect(v);
	}
}

struct code_page *soft_code_page(struct vcpu *v, gpa_t gpa, uint8_t *host, _Atomic uint8_t *flags)
{
	struct code_page *p = code_find(&v->code, gpa);
	if (p && p->live)
		return p;
	if (!p)
		p = code_add(&v->code, gpa, host);
	if (!p) {
		v->engine->arch->forget(v);
		p = code_add(&v->code, gpa, host);
	}
	p->live = true;
	soft_count(v, SOFT_COUNT_PAGE);
	/*
	 * The flag, then whoever may store to the page, then the bytes: see soft.h. Not only when
	 * the flag is new: the vCPU that set it may not have asked the others yet.
	 */
	uint8_t was = atomic_fetch_or(flags, GMEM_PAGE_CODE | GMEM_PAGE_FRESH);
	if (!(was & GMEM_PAGE_TAGGED))
		return p;
	v->engine->arch->protect(v);
	for (unsigned i = 0; i < v->engine->cfg.n_vcpus; i++) {
		struct vcpu *other = v->engine->vcpus[i];
		if (other && other != v) {
			atomic_store(&other->new_code, 1);
			atomic_store(&other->attention, 1);
		}
	}
	return p;
}

/* ---- engine ---- */

static const struct soft_arch *const archs[GUEST_N_ARCHS] = {
	[GUEST_A64] = &soft_a64,
	[GUEST_RV32] = &soft_rv,
	[GUEST_RV64] = &soft_rv,
};

static int soft_probe(enum guest_arch arch, struct err *err)
{
	if (!archs[arch])
		return err_set(err, -ENOTSUP,
			       "hako's software CPU does arm64 and RISC-V, not x86-64");
	return 0;
}

static int soft_create(struct engine **engine, const struct engine_config *cfg, struct err *err)
{
	int res = soft_probe(cfg->arch, err);

	if (res)
		return res;
	if (cfg->n_vcpus < 1 || cfg->n_vcpus > SOFT_MAX_VCPUS)
		return err_set(err, -EINVAL, "the software engine has 1 to %d CPUs, not %u",
			       SOFT_MAX_VCPUS, cfg->n_vcpus);
	struct engine *e = calloc(1, sizeof(*e));
	if (!e)
		return err_set(err, -ENOMEM, "no memory for the software engine");
	e->cfg = *cfg;
	e->arch = archs[cfg->arch];
	pthread_mutex_init(&e->pair_lock, NULL);
	e->observer.written = dma_written;
	e->observer.watched = watched;
	gmem_observe(cfg->mem, &e->observer);
	*engine = e;
	return 0;
}

static void soft_destroy(struct engine *e)
{
	pthread_mutex_destroy(&e->pair_lock);
	free(e);
}

static void timer_fired(struct clock_timer *timer)
{
	struct vcpu *v = container_of(timer, struct vcpu, timer);
	atomic_store(&v->timer_due, 1);
	soft_attend(v);
}

int soft_vcpu_init(struct vcpu *v, struct engine *engine, unsigned index,
		   const struct vcpu_wiring *wiring, unsigned page_ops, uint16_t end_handler,
		   struct err *err)
{
	v->engine = engine;
	v->index = index;
	v->debug.remapped = 1; /* nowhere: no instruction is at an odd address */
	v->wiring = *wiring;
	v->timer.fire = timer_fired;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&v->lock, NULL);
	return code_init(&v->code, page_ops, end_handler, err);
}

void soft_vcpu_fini(struct vcpu *v)
{
	clock_disarm(v->engine->cfg.clock, &v->timer);
	v->engine->vcpus[v->index] = NULL;
	soft_debug_fini(v);
	code_fini(&v->code);
	pthread_cond_destroy(&v->wake);
	pthread_mutex_destroy(&v->lock);
}

static int soft_vcpu_create(struct engine *engine, unsigned index, const struct vcpu_wiring *wiring,
			    struct vcpu **vcpu, struct err *err)
{
	int res = engine->arch->create(engine, index, wiring, vcpu, err);
	if (!res)
		engine->vcpus[index] = *vcpu;
	return res;
}

static int soft_vcpu_thread_init(struct vcpu *v, struct err *err)
{
	(void)v;
	(void)err;
	return 0;
}

static void soft_vcpu_destroy(struct vcpu *v)
{
	v->engine->arch->destroy(v);
}

static void soft_vcpu_reset(struct vcpu *v)
{
	v->engine->arch->reset(v);
	v->debug.nested = 0; /* a fault of before opens nothing any more */
}

static uint64_t soft_vcpu_get(struct vcpu *v, unsigned reg)
{
	return v->engine->arch->get(v, reg);
}

static void soft_vcpu_set(struct vcpu *v, unsigned reg, uint64_t val)
{
	v->engine->arch->set(v, reg, val);
}

static int soft_vcpu_hart(struct vcpu *v, struct vcpu_hart *hart, struct err *err)
{
	return v->engine->arch->hart(v, hart, err);
}

static int soft_vcpu_run(struct vcpu *v, enum vcpu_exit *exit)
{
	atomic_store(&v->state, VCPU_RUNNING);
	int res = v->engine->arch->run(v, exit);
	atomic_store(&v->state, VCPU_STOPPED);
	soft_count(v, *exit == VCPU_CALL ? SOFT_COUNT_CALL : SOFT_COUNT_KICK);
	return res;
}

static void soft_vcpu_kick(struct vcpu *v)
{
	atomic_store(&v->kicked, 1);
	soft_attend(v);
}

static void soft_vcpu_irq(struct vcpu *v, enum vcpu_irq irq, bool level)
{
	uint32_t line = 1u << irq;
	if (!level) {
		atomic_fetch_and(&v->irq_lines, ~line);
	} else if (!(atomic_fetch_or(&v->irq_lines, line) & line)) {
		soft_attend(v);
	}
}

static void soft_vcpu_fence(struct vcpu *v, uint64_t mask, const struct vcpu_fence *fence)
{
	v->engine->arch->fence(v, mask, fence);
}

static bool soft_vcpu_stuck(struct vcpu *v)
{
	/* Not `attention`: a job is no reason to wake. */
	return atomic_load(&v->state) == VCPU_ASLEEP && atomic_load(&v->for_ever) &&
	       !atomic_load(&v->irq_lines) && !atomic_load(&v->kicked) &&
	       !atomic_load(&v->timer_due);
}

static void soft_vcpu_stats(struct vcpu *v,
			    void (*count)(void *arg, const char *reason, uint64_t n), void *arg)
{
	static const char *const names[SOFT_N_COUNTS] = {
		[SOFT_COUNT_MMIO_READ] = "mmio_read", [SOFT_COUNT_MMIO_WRITE] = "mmio_write",
		[SOFT_COUNT_SLEEP] = "sleep",         [SOFT_COUNT_CALL] = "firmware_call",
		[SOFT_COUNT_KICK] = "kick",           [SOFT_COUNT_PAGE] = "decoded_page",
	};

	for (unsigned i = 0; i < SOFT_N_COUNTS; i++)
		count(arg, names[i], atomic_load_explicit(&v->counts[i], memory_order_relaxed));
}

static void soft_time_ahead(struct engine *e, uint64_t ticks)
{
	atomic_store(&e->time_ahead, ticks);
	/* What is armed was computed with the time of before. */
	for (unsigned i = 0; i < e->cfg.n_vcpus; i++)
		if (e->vcpus[i])
			timer_fired(&e->vcpus[i]->timer);
}

const struct engine_ops engine_soft = {
	.name = "soft",
	.probe = soft_probe,
	.create = soft_create,
	.destroy = soft_destroy,
	.vcpu_create = soft_vcpu_create,
	.vcpu_init = soft_vcpu_thread_init,
	.vcpu_destroy = soft_vcpu_destroy,
	.vcpu_reset = soft_vcpu_reset,
	.vcpu_get = soft_vcpu_get,
	.vcpu_set = soft_vcpu_set,
	.vcpu_hart = soft_vcpu_hart,
	.vcpu_run = soft_vcpu_run,
	.vcpu_kick = soft_vcpu_kick,
	.vcpu_irq = soft_vcpu_irq,
	.vcpu_fence = soft_vcpu_fence,
	.vcpu_stuck = soft_vcpu_stuck,
	.vcpu_stats = soft_vcpu_stats,
	.time_ahead = soft_time_ahead,
	.debug = &soft_debug_ops,
};

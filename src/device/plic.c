/* SPDX-License-Identifier: MIT */
/*
 * PLIC (RISC-V Platform-Level Interrupt Controller specification 1.0.0; its chapters are cited by
 * their titles).
 *
 * How an interrupt travels: each source has a gateway, which turns the high level of its line into
 * one request at a time: the source's pending bit. A context (a hart in one privilege mode) is
 * interrupted while a source is pending, enabled for it, and of a priority above its threshold. The
 * hart claims the best one, which takes its pending bit away, serves it and completes it, which
 * opens the gateway again. A request stays when the line falls before it is claimed ("Interrupt
 * Gateways").
 */
#include "device/plic.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"

/* Memory map ("Memory Map"). */
enum {
	PRIORITY = 0x000000, /* + 4 * source */
	PENDING = 0x001000,  /* + 4 * word: a bit per source */
	ENABLE = 0x002000,   /* + 0x80 * context + 4 * word */
	ENABLE_STRIDE = 0x80,
	CONTEXT = 0x200000, /* + 0x1000 * context */
	CONTEXT_STRIDE = 0x1000,
	CONTEXT_THRESHOLD = 0,
	CONTEXT_CLAIM = 4, /* read: claim; written: complete */
};

enum {
	N_WORDS = PLIC_N_SOURCES / 32,
	N_CONTEXTS = 2 * PLIC_MAX_CPUS,
	PRIORITY_MASK = 7, /* priorities 1 to 7; 0 never interrupts */
};

/* What a snapshot saves. In the bitmaps, source s is bit s % 32 of word s / 32. */
struct plic_state {
	uint32_t line[N_WORDS];    /* levels of the inputs */
	uint32_t pending[N_WORDS]; /* requests not yet claimed */
	uint32_t claimed[N_WORDS]; /* gateways closed until completion */
	uint8_t priority[PLIC_N_SOURCES];
	struct {
		uint32_t enabled[N_WORDS];
		uint32_t threshold;
	} context[N_CONTEXTS];
};

struct plic {
	pthread_mutex_t lock; /* guards all below */
	struct plic_state s;
	bool out[N_CONTEXTS]; /* the harts' inputs */

	struct plic_config config;
	unsigned n_contexts;
	struct bus_region region;
	struct log_limit limit;
};

/*
 * The model. With the lock held.
 */

/* The pending and enabled source of the highest priority, among equals the lowest; 0 for none. */
static unsigned plic_best(const struct plic_state *s, unsigned context)
{
	unsigned best = 0;

	for (unsigned w = 0; w < N_WORDS; w++) {
		uint32_t candidates = s->pending[w] & s->context[context].enabled[w];

		for (; candidates; candidates &= candidates - 1) {
			unsigned source = 32 * w + (unsigned)__builtin_ctz(candidates);

			/* priority[0] is 0: what never interrupts is not better than none */
			if (s->priority[source] > s->priority[best])
				best = source;
		}
	}
	return best;
}

/* After every change: gateways forward what they can, and the harts' inputs follow. */
static void plic_update(struct plic *plic)
{
	struct plic_state *s = &plic->s;

	for (unsigned w = 0; w < N_WORDS; w++)
		s->pending[w] |= s->line[w] & ~s->claimed[w];
	for (unsigned i = 0; i < plic->n_contexts; i++) {
		bool level = s->priority[plic_best(s, i)] > s->context[i].threshold;

		if (level == plic->out[i])
			continue;
		plic->out[i] = level;
		plic->config.cpu_irq(plic->config.arg, i / 2, i % 2 == 0, level);
	}
}

/* The threshold holds back interrupts, not claims ("Interrupt Claim Process"). */
static uint32_t plic_claim(struct plic_state *s, unsigned context)
{
	unsigned source = plic_best(s, context);
	uint32_t mask = (uint32_t)BIT(source % 32);

	if (source) {
		s->pending[source / 32] &= ~mask;
		s->claimed[source / 32] |= mask;
	}
	return source;
}

/* Not asked: who claimed it. Ignored: what is not enabled for the context
 * ("Interrupt Completion"). */
static void plic_complete(struct plic_state *s, unsigned context, uint32_t source)
{
	if (source < PLIC_N_SOURCES)
		s->claimed[source / 32] &=
			~(s->context[context].enabled[source / 32] & (uint32_t)BIT(source % 32));
}

static void plic_set(void *chip, unsigned source, bool level)
{
	struct plic *plic = chip;
	uint32_t *line = &plic->s.line[source / 32];
	uint32_t mask = (uint32_t)BIT(source % 32);

	pthread_mutex_lock(&plic->lock);
	*line = level ? *line | mask : *line & ~mask;
	if (level)
		plic_update(plic); /* a line that falls changes nothing else */
	pthread_mutex_unlock(&plic->lock);
}

static const struct irq_ops plic_irq_ops = { .set = plic_set };

struct irq_line plic_source(struct plic *plic, unsigned source)
{
	if (!source || source >= PLIC_N_SOURCES)
		return (struct irq_line){ 0 };
	return (struct irq_line){ .ops = &plic_irq_ops, .chip = plic, .pin = source };
}

bool plic_any_enabled(struct plic *plic)
{
	bool any = false;

	pthread_mutex_lock(&plic->lock);
	for (unsigned i = 0; i < plic->n_contexts; i++)
		for (unsigned source = 1; source < PLIC_N_SOURCES; source++)
			any |= bit(plic->s.context[i].enabled[source / 32], source % 32) &&
			       plic->s.priority[source] > plic->s.context[i].threshold;
	pthread_mutex_unlock(&plic->lock);
	return any;
}

/*
 * Registers.
 */

/* A word of enable bits; NULL when there is none at this offset. */
static uint32_t *plic_enable_word(struct plic *plic, uint64_t off)
{
	uint64_t context = (off - ENABLE) / ENABLE_STRIDE;
	uint64_t word = off % ENABLE_STRIDE / 4;

	if (off < ENABLE || context >= plic->n_contexts || word >= N_WORDS)
		return NULL;
	return &plic->s.context[context].enabled[word];
}

/* Reads as zero, ignored when written: a place that has no register here. */
static void plic_nothing(struct plic *plic, const char *what, uint64_t off)
{
	log_guest(plic->config.log, &plic->limit, LOG_DEBUG, "plic",
		  "%s at %#llx, where no register is", what, (unsigned long long)off);
}

static uint32_t plic_reg_read(struct plic *plic, uint64_t off)
{
	uint64_t context = (off - CONTEXT) / CONTEXT_STRIDE;
	const uint32_t *word = plic_enable_word(plic, off);

	if (off < PRIORITY + 4 * PLIC_N_SOURCES)
		return plic->s.priority[off / 4];
	if (off >= PENDING && off < PENDING + 4 * N_WORDS)
		return plic->s.pending[(off - PENDING) / 4];
	if (word)
		return *word;
	if (off >= CONTEXT && context < plic->n_contexts) {
		switch (off % CONTEXT_STRIDE) {
		case CONTEXT_THRESHOLD: return plic->s.context[context].threshold;
		case CONTEXT_CLAIM: return plic_claim(&plic->s, (unsigned)context);
		}
	}
	plic_nothing(plic, "read", off);
	return 0;
}

static void plic_reg_write(struct plic *plic, uint64_t off, uint32_t val)
{
	uint64_t context = (off - CONTEXT) / CONTEXT_STRIDE;
	uint32_t *word = plic_enable_word(plic, off);

	if (off < PRIORITY + 4 * PLIC_N_SOURCES) {
		if (off) /* source 0 is none */
			plic->s.priority[off / 4] = val & PRIORITY_MASK;
		return;
	}
	if (word) {
		*word = off % ENABLE_STRIDE ? val : val & ~1u;
		return;
	}
	if (off >= CONTEXT && context < plic->n_contexts) {
		switch (off % CONTEXT_STRIDE) {
		case CONTEXT_THRESHOLD:
			plic->s.context[context].threshold = val & PRIORITY_MASK;
			return;
		case CONTEXT_CLAIM: plic_complete(&plic->s, (unsigned)context, val); return;
		}
	}
	plic_nothing(plic, "write", off);
}

static uint64_t plic_read(void *dev, uint64_t off, unsigned size)
{
	struct plic *plic = dev;
	uint64_t val;

	(void)size; /* 4 */
	pthread_mutex_lock(&plic->lock);
	val = plic_reg_read(plic, off);
	plic_update(plic);
	pthread_mutex_unlock(&plic->lock);
	return val;
}

static void plic_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct plic *plic = dev;

	(void)size;
	pthread_mutex_lock(&plic->lock);
	plic_reg_write(plic, off, (uint32_t)val);
	plic_update(plic);
	pthread_mutex_unlock(&plic->lock);
}

static const struct bus_ops plic_ops = { .read = plic_read, .write = plic_write };

/*
 * Life.
 */

void plic_reset(struct plic *plic)
{
	struct plic_state fresh = { 0 };

	pthread_mutex_lock(&plic->lock);
	for (unsigned w = 0; w < N_WORDS; w++)
		fresh.line[w] = plic->s.line[w];
	plic->s = fresh;
	plic_update(plic);
	pthread_mutex_unlock(&plic->lock);
}

int plic_create(struct plic **out, const struct plic_config *config, struct err *err)
{
	struct plic *plic;
	int ret;

	if (!config->n_cpus || config->n_cpus > PLIC_MAX_CPUS)
		return err_set(err, -EINVAL, "PLIC: %u CPUs: it serves 1 to %d", config->n_cpus,
			       PLIC_MAX_CPUS);
	plic = calloc(1, sizeof(*plic));
	if (!plic)
		return err_set(err, -ENOMEM, "PLIC: out of memory");
	pthread_mutex_init(&plic->lock, NULL);
	plic->config = *config;
	plic->n_contexts = 2 * config->n_cpus;
	plic->region = (struct bus_region){
		.name = "PLIC",
		.base = config->base,
		.size = PLIC_SIZE,
		.min_access = 4,
		.max_access = 4,
		.ops = &plic_ops,
		.dev = plic,
	};
	ret = bus_add(config->bus, &plic->region, err);
	if (ret) {
		pthread_mutex_destroy(&plic->lock);
		free(plic);
		return ret;
	}
	*out = plic;
	return 0;
}

void plic_destroy(struct plic *plic)
{
	if (!plic)
		return;
	bus_del(plic->config.bus, &plic->region);
	pthread_mutex_destroy(&plic->lock);
	free(plic);
}

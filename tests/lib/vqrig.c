/* SPDX-License-Identifier: MIT */
/*
 * A queue without a transport; see vqrig.h.
 */
#include "vqrig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "the queue rig: %s\n", what);
	abort();
}

static void note(void *arg, enum log_level level, const char *who, const char *text)
{
	struct vqrig *rig = arg;

	(void)level;
	(void)who;
	snprintf(rig->last, sizeof(rig->last), "%s", text);
	rig->said++;
}

static uint64_t take_kicks(void *arg)
{
	return atomic_exchange((atomic_uint *)arg, 0);
}

void vqrig_init(struct vqrig *rig, unsigned watch)
{
	memset(rig, 0, sizeof(*rig));
	log_init(&rig->log, LOG_WARN, note, rig);
	must(!gmem_create(&rig->mem, NULL) &&
		     !gmem_add_ram(rig->mem, VQRIG_RAM, VQRIG_RAM_SIZE, NULL),
	     "no memory for the guest");
	vd_init(&rig->d, rig->mem, NULL, 0, VQRIG_RAM, VQRIG_RAM_SIZE);
	must(!vq_create(&rig->vq, rig->mem, &rig->log, "q") &&
		     (!watch || !vq_watch(rig->vq, watch)),
	     "no memory for the queue");
	if (watch & VQ_WATCH_DEEP) {
		rig->lint = lint_create(LINT_WARN, true, false, "q", &rig->log, &rig->tripped);
		must(rig->lint, "no memory for the lint");
		vq_lint(rig->vq, rig->lint, 0);
		vq_watch_kicks_by(rig->vq, take_kicks, &rig->kicks);
	}
	rig->buf = vd_alloc(&rig->d, PAGE, PAGE);
}

struct vq_state vqrig_state(const struct vd_queue *q)
{
	return (struct vq_state){
		.size = q->size, .ready = 1, .desc = q->desc, .avail = q->avail, .used = q->used
	};
}

void vqrig_setup(struct vqrig *rig, uint16_t size, uint64_t features)
{
	struct vq_state s;

	rig->d.features = features;
	vd_queue_layout(&rig->d, &rig->q, 0, size);
	s = vqrig_state(&rig->q);
	must(!vq_setup(rig->vq, &s, features), "the queue is not acceptable");
}

void vqrig_fini(struct vqrig *rig)
{
	vq_destroy(rig->vq);
	lint_destroy(rig->lint);
	gmem_destroy(rig->mem);
	log_fini(&rig->log);
}

uint16_t vqrig_offer(struct vqrig *rig, uint32_t in, bool indirect)
{
	const struct vd_buf buf[] = { { rig->buf, 16 }, { rig->buf + 16, in } };
	int head = vd_add(&rig->q, buf, 1, in ? 1 : 0, indirect);

	must(head >= 0, "no descriptors left");
	vd_publish(&rig->q);
	return (uint16_t)head;
}

void vqrig_take(struct vqrig *rig, struct vq_chain **chain)
{
	must(vq_pop(rig->vq, chain, 1) == 1, "nothing is available");
}

void vqrig_answer(struct vqrig *rig, struct vq_chain *chain)
{
	vqrig_push(rig->vq, chain, (uint32_t)chain->in_len);
	vq_publish(rig->vq);
}

bool vqrig_use(struct vqrig *rig, unsigned n)
{
	struct vd_buf b = { rig->buf, 16 };

	for (unsigned i = 0; i < n; i++) {
		must(vd_add(&rig->q, &b, 0, 1, false) >= 0, "no descriptors left");
		vd_publish(&rig->q);
		vqrig_take(rig, &rig->c);
		vqrig_push(rig->vq, rig->c, 0);
	}
	return vq_publish(rig->vq);
}

void vqrig_take_used(struct vqrig *rig)
{
	while (vd_used(&rig->q, &(uint16_t){ 0 }, &(uint32_t){ 0 }))
		;
}

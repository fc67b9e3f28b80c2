// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A trace as steps of single pages, and what they cost under a policy; paging.h says what
 * counts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "paging.h"

const struct paging_policy *const paging_policies[] = {
	&paging_lru, &paging_mru, &paging_lfu, &paging_random, &paging_arc, &paging_s3fifo, NULL,
};

/* -------------------------------------------------------------------- the steps */

struct builder {
	struct paging *p;
	const struct gm_replay_trace *trace;
	uint64_t *first; /* of each object: where its pages begin in number */
	uint32_t
		*number; /* of each page of all objects: less 1, its own; 0: no device touches it */
	uint8_t *dropped; /* bytes of it were, so far */
	uint64_t pages, room;
};

static bool is_drop(const struct gm_replay_op *op)
{
	return op->kind == GM_REPLAY_UNMAP ||
	       (op->kind == GM_REPLAY_HINT && op->advice == GM_DONTNEED);
}

/* What the host is told to take. */
static bool is_home(const struct gm_replay_op *op)
{
	return op->kind == GM_REPLAY_HINT && op->advice == GM_PREFETCH && op->dev == GM_REPLAY_CPU;
}

static int number_pages(struct builder *b)
{
	uint32_t *seen[GM_REPLAY_DEVS] = { NULL };
	int err = 0;

	for (uint64_t i = 0; i < b->trace->nr_ops && !err; i++) {
		const struct gm_replay_op *op = &b->trace->ops[i];
		uint64_t at = b->first[op->object] + op->page;
		uint32_t **s;

		if (op->kind != GM_REPLAY_ACCESS)
			continue;
		s = &seen[op->dev - 1];
		if (!*s)
			*s = calloc(b->pages / 32 + 1, sizeof(**s));
		if (!*s) {
			err = -ENOMEM;
			break;
		}
		for (; at < b->first[op->object] + op->page + op->n; at++) {
			if (!b->number[at])
				b->number[at] = ++b->p->nr_pages;
			if (!((*s)[at / 32] >> at % 32 & 1))
				b->p->touched[op->dev - 1]++;
			(*s)[at / 32] |= 1U << at % 32;
		}
		b->p->touches += op->n;
	}
	for (unsigned int i = 0; i < GM_REPLAY_DEVS; i++)
		free(seen[i]);
	return err;
}

static int step(struct builder *b, uint64_t at, uint8_t what)
{
	struct paging *p = b->p;

	if (!b->number[at])
		return 0;
	if (p->nr_steps == b->room) {
		uint64_t room = b->room ? 2 * b->room : 4096;
		uint32_t *page = realloc(p->page, room * sizeof(*page));
		uint8_t *to = page ? realloc(p->what, room) : NULL;

		if (page)
			p->page = page;
		if (!to)
			return -ENOMEM;
		p->what = to;
		b->room = room;
	}
	if (p->nr_steps == PAGING_DROPPED)
		return -EFBIG;
	p->page[p->nr_steps] = b->number[at] - 1;
	p->what[p->nr_steps++] = what;
	return 0;
}

static int steps(struct builder *b, uint32_t object, uint64_t page, uint64_t end, uint8_t what)
{
	uint64_t size = b->trace->objects[object].pages;
	int err = 0;

	end = end < size ? end : size;
	for (; page < end && !err; page++) {
		uint64_t before = b->p->nr_steps;

		err = step(b, b->first[object] + page, what);
		if (what == PAGING_HOME && b->p->nr_steps > before)
			what = PAGING_ALONG;
	}
	return err;
}

/* What is in host backing before a device comes there, as the replay host has it (run.c). */
static int fill_early(struct builder *b)
{
	int err = 0;

	for (uint64_t i = 0; i < b->trace->nr_ops && !err; i++) {
		const struct gm_replay_op *op = &b->trace->ops[i];
		uint64_t at = b->first[op->object] + op->page;

		for (uint64_t end = at + op->n; at < end && !err; at++) {
			if (is_drop(op))
				b->dropped[at] = 1;
			else if (op->kind == GM_REPLAY_PRESENT && !b->dropped[at])
				err = step(b, at, PAGING_FILL);
			else if (op->kind != GM_REPLAY_PRESENT)
				break;
		}
	}
	return err;
}

static int step_op(struct builder *b, const struct gm_replay_op *op, uint32_t granule)
{
	uint64_t page = op->page, end = page + op->n;

	if (is_drop(op))
		return steps(b, op->object, page, end, PAGING_DROP);
	if (is_home(op))
		return steps(b, op->object, page, end, PAGING_HOME);
	switch (op->kind) {
	case GM_REPLAY_ACCESS:
		return steps(b, op->object, page, end, op->dev);
	case GM_REPLAY_PRESENT:
		return steps(b, op->object, page, end, PAGING_FILL);
	case GM_REPLAY_CPU_FAULT:
		page = page / granule * granule;
		return steps(b, op->object, page, page + granule, PAGING_HOME);
	default:
		return 0;
	}
}

/* Which touch of a page comes next, from the end to the begin. */
static int look_ahead(struct paging *p)
{
	uint32_t *next = malloc((p->nr_pages + 1ULL) * sizeof(*next));
	uint8_t *who = calloc(p->nr_pages + 1ULL, 1);
	int err = -ENOMEM;

	p->next = malloc((p->nr_steps + 1) * sizeof(*p->next));
	if (!next || !who || !p->next)
		goto out;
	for (uint32_t i = 0; i < p->nr_pages; i++)
		next[i] = PAGING_NEVER;
	for (uint64_t i = p->nr_steps; i--;) {
		uint32_t page = p->page[i];
		uint8_t what = p->what[i];

		if (what == PAGING_FILL)
			continue;
		/* Another device's touch takes the page away. */
		p->next[i] = next[page] < PAGING_DROPPED && who[page] != what ? PAGING_NEVER
									      : next[page];
		who[page] = what;
		next[page] = what == PAGING_DROP			   ? PAGING_DROPPED
			     : what == PAGING_HOME || what == PAGING_ALONG ? PAGING_NEVER
									   : (uint32_t)i;
	}
	err = 0;
out:
	free(next);
	free(who);
	return err;
}

int paging_build(const struct gm_replay_trace *trace, uint32_t cpu_granule, struct paging *p)
{
	struct builder b = { .p = p, .trace = trace };
	int err = -ENOMEM;

	*p = (struct paging){ .nr_devs = trace->nr_devs };
	b.first = calloc(trace->nr_objects + 1ULL, sizeof(*b.first));
	for (uint32_t i = 0; b.first && i < trace->nr_objects; i++) {
		b.first[i] = b.pages;
		b.pages += trace->objects[i].pages;
	}
	b.number = calloc(b.pages + 1, sizeof(*b.number));
	b.dropped = calloc(b.pages + 1, 1);
	if (b.first && b.number && b.dropped)
		err = number_pages(&b);
	if (!err)
		err = fill_early(&b);
	for (uint64_t i = 0; i < trace->nr_ops && !err; i++)
		err = step_op(&b, &trace->ops[i], cpu_granule);
	if (!err)
		err = look_ahead(p);
	free(b.first);
	free(b.number);
	free(b.dropped);
	if (err)
		paging_release(p);
	return err;
}

void paging_release(struct paging *p)
{
	free(p->page);
	free(p->what);
	free(p->next);
	*p = (struct paging){ 0 };
}

/* ---------------------------------------------------------------------- a run */

struct pager {
	const struct paging *p;
	const struct paging_policy *policy;
	struct paging_result *result;
	void *dev[GM_REPLAY_DEVS];
	uint8_t *at;	/* of each page: on which device; 0: on none */
	uint8_t *bytes; /* it has any */
	bool homing;	/* something went home with the page before */
};

static void leave(struct pager *pager, uint32_t page, bool copied)
{
	uint8_t at = pager->at[page];

	if (!at)
		return;
	pager->policy->leave(pager->dev[at - 1], page);
	pager->at[page] = 0;
	pager->result->out += copied;
}

static void touch(struct pager *pager, uint32_t page, uint8_t dev, uint32_t now)
{
	struct paging_result *r = pager->result;
	void *state = pager->dev[dev - 1];
	uint32_t victim;

	if (pager->at[page] == dev) {
		pager->policy->hit(state, page, now);
		return;
	}
	leave(pager, page, true);
	victim = pager->policy->miss(state, page, now);
	if (victim != PAGING_NONE) {
		pager->at[victim] = 0;
		r->evicted++;
		r->out++;
	}
	pager->at[page] = dev;
	r->misses++;
	r->in += pager->bytes[page];
	r->zeroed += !pager->bytes[page];
	pager->bytes[page] = 1;
}

static void go_home(struct pager *pager, uint32_t page)
{
	if (pager->at[page] && !pager->homing) {
		pager->homing = true;
		pager->result->homes++;
	}
	leave(pager, page, true);
	pager->bytes[page] = 1;
}

static void take_step(struct pager *pager, uint32_t page, uint8_t what, uint32_t now)
{
	switch (what) {
	case PAGING_HOME:
		pager->homing = false;
		go_home(pager, page);
		break;
	case PAGING_ALONG:
		go_home(pager, page);
		break;
	case PAGING_DROP:
		leave(pager, page, false);
		pager->bytes[page] = 0;
		break;
	case PAGING_FILL:
		pager->bytes[page] = 1;
		break;
	default:
		touch(pager, page, what, now);
		break;
	}
}

int paging_run(const struct paging *p, const uint64_t *frames, const struct paging_policy *policy,
	       struct paging_result *result)
{
	struct pager pager = { .p = p, .policy = policy, .result = result };
	int err = 0;

	*result = (struct paging_result){ 0 };
	pager.at = calloc(p->nr_pages + 1ULL, 1);
	pager.bytes = calloc(p->nr_pages + 1ULL, 1);
	if (!pager.at || !pager.bytes)
		err = -ENOMEM;
	for (uint32_t i = 0; i < p->nr_devs && !err; i++) {
		/* More frames than pages are never used. */
		uint64_t use = frames[i] < p->nr_pages ? frames[i] : p->nr_pages + 1ULL;

		pager.dev[i] = policy->create(p, (uint32_t)use);
		if (!pager.dev[i])
			err = -ENOMEM;
	}
	for (uint64_t i = 0; i < p->nr_steps && !err; i++)
		take_step(&pager, p->page[i], p->what[i], (uint32_t)i);
	for (uint32_t i = 0; i < p->nr_devs; i++)
		if (pager.dev[i])
			policy->destroy(pager.dev[i]);
	free(pager.at);
	free(pager.bytes);
	return err;
}

uint64_t paging_ns(const struct paging_result *r, const struct gm_replay_costs *costs)
{
	double copy = (double)costs->latency_ns +
		      (double)GM_PAGE_SIZE * 1e9 / (double)costs->bandwidth;
	double zero = (double)costs->latency_ns +
		      (double)GM_PAGE_SIZE * 1e9 / (double)costs->zero_bandwidth;

	return (uint64_t)((double)r->in * copy + (double)r->zeroed * zero +
			  (double)r->out * (copy + (double)costs->invl_ns) +
			  (double)r->misses * (double)costs->dev_fault_ns +
			  (double)r->homes * (double)costs->cpu_fault_ns);
}

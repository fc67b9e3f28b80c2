// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The policies of paging that hardly need explaining, and Belady's.
 *
 * optimum: what is touched again last goes (L. A. Belady, "A study of replacement algorithms
 * for a virtual-storage computer", IBM Systems Journal 5, 1966). Misses can not be fewer with
 * pages that come on demand. What the CPU or another device takes away before the next touch
 * is as good as never touched again.
 */
#include <stdlib.h>
#include <string.h>

#include "paging_lists.h"

/* ------------------------------------------------------------- in order of use */

struct order {
	struct lists lists;
	uint32_t frames;
};

static void order_destroy(void *state)
{
	struct order *o = state;

	lists_free(&o->lists);
	free(o);
}

static void *order_create(const struct paging *p, uint32_t frames)
{
	struct order *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->frames = frames;
	if (lists_init(&o->lists, p->nr_pages))
		return o;
	order_destroy(o);
	return NULL;
}

static void order_hit(void *state, uint32_t page, uint32_t now)
{
	struct order *o = state;

	(void)now;
	lists_del(&o->lists, page);
	lists_add(&o->lists, 0, page);
}

static void order_leave(void *state, uint32_t page)
{
	lists_del(&((struct order *)state)->lists, page);
}

static uint32_t lru_miss(void *state, uint32_t page, uint32_t now)
{
	struct order *o = state;
	uint32_t victim = PAGING_NONE;

	(void)now;
	if (o->lists.len[0] == o->frames)
		victim = lists_pop(&o->lists, 0);
	lists_add(&o->lists, 0, page);
	return victim;
}

static uint32_t mru_miss(void *state, uint32_t page, uint32_t now)
{
	struct order *o = state;
	uint32_t victim = PAGING_NONE;

	(void)now;
	if (o->lists.len[0] == o->frames) {
		victim = o->lists.young[0];
		lists_del(&o->lists, victim);
	}
	lists_add(&o->lists, 0, page);
	return victim;
}

const struct paging_policy paging_lru = {
	.name = "lru",
	.text = "the least recently used page goes",
	.create = order_create,
	.destroy = order_destroy,
	.hit = order_hit,
	.miss = lru_miss,
	.leave = order_leave,
};

const struct paging_policy paging_mru = {
	.name = "mru",
	.text = "the most recently used page goes",
	.create = order_create,
	.destroy = order_destroy,
	.hit = order_hit,
	.miss = mru_miss,
	.leave = order_leave,
};

/* ---------------------------------------------------------------- by a key */

struct ranked {
	struct heap heap;
	const struct paging *p;
	uint32_t *count; /* how often each page was touched so far */
	uint32_t frames;
};

static void ranked_destroy(void *state)
{
	struct ranked *r = state;

	heap_free(&r->heap);
	free(r->count);
	free(r);
}

static void *ranked_create(const struct paging *p, uint32_t frames)
{
	struct ranked *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->p = p;
	r->frames = frames;
	r->count = calloc(p->nr_pages + 1ULL, sizeof(*r->count));
	if (heap_init(&r->heap, p->nr_pages, frames) && r->count)
		return r;
	ranked_destroy(r);
	return NULL;
}

static void ranked_leave(void *state, uint32_t page)
{
	heap_del(&((struct ranked *)state)->heap, page);
}

static void optimum_hit(void *state, uint32_t page, uint32_t now)
{
	struct ranked *r = state;

	heap_set(&r->heap, page, r->p->next[now]);
}

static uint32_t optimum_miss(void *state, uint32_t page, uint32_t now)
{
	struct ranked *r = state;
	uint32_t victim = r->heap.n == r->frames ? heap_pop(&r->heap) : PAGING_NONE;

	optimum_hit(r, page, now);
	return victim;
}

const struct paging_policy paging_optimum = {
	.name = "optimum",
	.text = "the page that is touched again last goes (Belady)",
	.create = ranked_create,
	.destroy = ranked_destroy,
	.hit = optimum_hit,
	.miss = optimum_miss,
	.leave = ranked_leave,
};

/* Counts outlive evictions: they are of the whole past. Among equals the oldest goes. */
static void lfu_hit(void *state, uint32_t page, uint32_t now)
{
	struct ranked *r = state;

	heap_set(&r->heap, page, ~((uint64_t)++r->count[page] << 32 | now));
}

static uint32_t lfu_miss(void *state, uint32_t page, uint32_t now)
{
	struct ranked *r = state;
	uint32_t victim = r->heap.n == r->frames ? heap_pop(&r->heap) : PAGING_NONE;

	lfu_hit(r, page, now);
	return victim;
}

const struct paging_policy paging_lfu = {
	.name = "lfu",
	.text = "the page that was touched least often so far goes",
	.create = ranked_create,
	.destroy = ranked_destroy,
	.hit = lfu_hit,
	.miss = lfu_miss,
	.leave = ranked_leave,
};

/* -------------------------------------------------------------------- at random */

struct lottery {
	uint32_t *page; /* those that are here */
	uint32_t *pos;	/* of each page: where in that */
	uint32_t n, frames;
	uint64_t x;
};

static void lottery_destroy(void *state)
{
	struct lottery *l = state;

	free(l->page);
	free(l->pos);
	free(l);
}

static void *lottery_create(const struct paging *p, uint32_t frames)
{
	struct lottery *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->frames = frames;
	l->page = calloc(frames + 1ULL, sizeof(*l->page));
	l->pos = calloc(p->nr_pages + 1ULL, sizeof(*l->pos));
	if (l->page && l->pos)
		return l;
	lottery_destroy(l);
	return NULL;
}

static void lottery_hit(void *state, uint32_t page, uint32_t now)
{
	(void)state;
	(void)page;
	(void)now;
}

static void lottery_leave(void *state, uint32_t page)
{
	struct lottery *l = state;
	uint32_t last = l->page[--l->n];

	l->page[l->pos[page]] = last;
	l->pos[last] = l->pos[page];
}

static uint32_t lottery_miss(void *state, uint32_t page, uint32_t now)
{
	struct lottery *l = state;
	uint32_t victim = PAGING_NONE;

	(void)now;
	if (l->n == l->frames) {
		l->x = l->x * 6364136223846793005ULL + 1442695040888963407ULL;
		victim = l->page[(l->x >> 32) * l->n >> 32];
		lottery_leave(l, victim);
	}
	l->pos[page] = l->n;
	l->page[l->n++] = page;
	return victim;
}

const struct paging_policy paging_random = {
	.name = "random",
	.text = "any page goes, always the same ones",
	.create = lottery_create,
	.destroy = lottery_destroy,
	.hit = lottery_hit,
	.miss = lottery_miss,
	.leave = lottery_leave,
};

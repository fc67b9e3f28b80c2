// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Two policies of paging that resist scans, after the papers that describe them.
 *
 * arc: N. Megiddo, D. S. Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003.
 * Pages touched once and pages touched again are two lists; each remembers as ghosts what it has
 * lost, and a miss that is a ghost makes its list's share larger.
 *
 * s3-fifo: J. Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023. New
 * pages go through a small queue, which only those leave for the main one that were touched
 * again meanwhile; ghosts go to the main one at once.
 *
 * Both are told of pages that leave by themselves: they are forgotten, and are no ghosts.
 */
#include <stdlib.h>

#include "paging_lists.h"

static uint32_t max(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static uint32_t min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

struct adaptive {
	struct lists lists;
	uint32_t frames;
	uint32_t target; /* arc: of ONCE */
	uint8_t *freq;	 /* s3-fifo: touches of each page while it is here, 3 at most */
};

static void adaptive_destroy(void *state)
{
	struct adaptive *a = state;

	lists_free(&a->lists);
	free(a->freq);
	free(a);
}

static void *adaptive_create(const struct paging *p, uint32_t frames)
{
	struct adaptive *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->frames = frames;
	a->freq = calloc(p->nr_pages + 1ULL, 1);
	if (lists_init(&a->lists, p->nr_pages) && a->freq)
		return a;
	adaptive_destroy(a);
	return NULL;
}

static void adaptive_leave(void *state, uint32_t page)
{
	lists_del(&((struct adaptive *)state)->lists, page);
}

/* --------------------------------------------------------------------------- arc */

/* T1, T2, B1 and B2 of the paper. */
enum { ONCE, AGAIN, ONCE_GHOST, AGAIN_GHOST };

static void arc_hit(void *state, uint32_t page, uint32_t now)
{
	struct adaptive *a = state;

	(void)now;
	lists_del(&a->lists, page);
	lists_add(&a->lists, AGAIN, page);
}

/* If there is no room: one goes, and becomes a ghost. */
static uint32_t arc_replace(struct adaptive *a, bool again_ghost)
{
	struct lists *l = &a->lists;
	uint32_t victim, once = l->len[ONCE];
	bool from_once = once && (once > a->target || (again_ghost && once == a->target));

	if (l->len[ONCE] + l->len[AGAIN] < a->frames)
		return PAGING_NONE;
	if (!l->len[AGAIN])
		from_once = true;
	victim = lists_pop(l, from_once ? ONCE : AGAIN);
	lists_add(l, from_once ? ONCE_GHOST : AGAIN_GHOST, victim);
	return victim;
}

/* The miss of a page that is no ghost. */
static uint32_t arc_new(struct adaptive *a)
{
	struct lists *l = &a->lists;
	uint32_t once = l->len[ONCE] + l->len[ONCE_GHOST];
	uint32_t again = l->len[AGAIN] + l->len[AGAIN_GHOST];

	if (once == a->frames && l->len[ONCE] == a->frames)
		return lists_pop(l, ONCE);
	if (once == a->frames)
		lists_pop(l, ONCE_GHOST);
	else if (once + again == 2 * a->frames)
		lists_pop(l, AGAIN_GHOST);
	return arc_replace(a, false);
}

static uint32_t arc_miss(void *state, uint32_t page, uint32_t now)
{
	struct adaptive *a = state;
	struct lists *l = &a->lists;
	uint32_t b1 = l->len[ONCE_GHOST], b2 = l->len[AGAIN_GHOST], victim;

	(void)now;
	if (lists_has(l, ONCE_GHOST, page)) {
		a->target = min(a->frames, a->target + max(1, b2 / b1));
		victim = arc_replace(a, false);
	} else if (lists_has(l, AGAIN_GHOST, page)) {
		a->target -= min(a->target, max(1, b1 / b2));
		victim = arc_replace(a, true);
	} else {
		victim = arc_new(a);
		lists_add(l, ONCE, page);
		return victim;
	}
	lists_del(l, page);
	lists_add(l, AGAIN, page);
	return victim;
}

const struct paging_policy paging_arc = {
	.name = "arc",
	.text = "ARC (Megiddo and Modha, 2003)",
	.create = adaptive_create,
	.destroy = adaptive_destroy,
	.hit = arc_hit,
	.miss = arc_miss,
	.leave = adaptive_leave,
};

/* ----------------------------------------------------------------------- s3-fifo */

enum { SMALL, MAIN, GHOST };

static void s3_hit(void *state, uint32_t page, uint32_t now)
{
	struct adaptive *a = state;

	(void)now;
	a->freq[page] = (uint8_t)min(3, a->freq[page] + 1U);
}

static uint32_t s3_from_main(struct adaptive *a)
{
	uint32_t page = lists_pop(&a->lists, MAIN);

	while (a->freq[page]) {
		a->freq[page]--;
		lists_add(&a->lists, MAIN, page);
		page = lists_pop(&a->lists, MAIN);
	}
	return page;
}

/* PAGING_NONE: all of it has gone to the main queue. */
static uint32_t s3_from_small(struct adaptive *a, uint32_t room)
{
	struct lists *l = &a->lists;

	while (l->len[SMALL]) {
		uint32_t page = lists_pop(l, SMALL);

		if (a->freq[page] <= 1) {
			if (l->len[GHOST] == room)
				lists_pop(l, GHOST);
			lists_add(l, GHOST, page);
			return page;
		}
		a->freq[page] = 0;
		lists_add(l, MAIN, page);
		if (l->len[MAIN] > room)
			return s3_from_main(a);
	}
	return PAGING_NONE;
}

static uint32_t s3_miss(void *state, uint32_t page, uint32_t now)
{
	struct adaptive *a = state;
	struct lists *l = &a->lists;
	uint32_t small = max(1, a->frames / 10), room = max(1, a->frames - small);
	uint32_t victim = PAGING_NONE;
	bool ghost = lists_has(l, GHOST, page);

	(void)now;
	if (ghost)
		lists_del(l, page);
	if (l->len[SMALL] + l->len[MAIN] == a->frames) {
		if (l->len[SMALL] >= small)
			victim = s3_from_small(a, room);
		if (victim == PAGING_NONE)
			victim = s3_from_main(a);
	}
	a->freq[page] = 0;
	lists_add(l, ghost ? MAIN : SMALL, page);
	return victim;
}

const struct paging_policy paging_s3fifo = {
	.name = "s3-fifo",
	.text = "S3-FIFO (Yang and others, 2023)",
	.create = adaptive_create,
	.destroy = adaptive_destroy,
	.hit = s3_hit,
	.miss = s3_miss,
	.leave = adaptive_leave,
};

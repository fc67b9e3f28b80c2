/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What policies of paging are made of: queues that a page is in one of at most, and a heap.
 * Both are arrays over the numbers of pages, so nothing is allocated once they are made.
 */
#ifndef GMEM_TOOL_PAGING_LISTS_H
#define GMEM_TOOL_PAGING_LISTS_H

#include "paging.h"

#define LISTS_MAX 4U

struct lists {
	uint32_t *prev, *next;			   /* of each page */
	uint8_t *in;				   /* which list, from 1 on; 0: none */
	uint32_t old[LISTS_MAX], young[LISTS_MAX]; /* ends of each list, or PAGING_NONE */
	uint32_t len[LISTS_MAX];
};

bool lists_init(struct lists *l, uint32_t pages);
void lists_free(struct lists *l);
void lists_add(struct lists *l, unsigned int list, uint32_t page); /* the youngest */
void lists_del(struct lists *l, uint32_t page);

static inline bool lists_has(const struct lists *l, unsigned int list, uint32_t page)
{
	return l->in[page] == list + 1;
}

/* Take the oldest out, which there is. */
static inline uint32_t lists_pop(struct lists *l, unsigned int list)
{
	uint32_t page = l->old[list];

	lists_del(l, page);
	return page;
}

/* Pages by a key; the largest is on top. */
struct heap {
	uint64_t *key;	/* of each page that is in it */
	uint32_t *page; /* a heap */
	uint32_t *pos;	/* of each page: where; PAGING_NONE: it is not in it */
	uint32_t n;
};

bool heap_init(struct heap *h, uint32_t pages, uint32_t max);
void heap_free(struct heap *h);
void heap_set(struct heap *h, uint32_t page, uint64_t key); /* in it or not */
void heap_del(struct heap *h, uint32_t page);		    /* in it */

static inline uint32_t heap_pop(struct heap *h)
{
	uint32_t page = h->page[0];

	heap_del(h, page);
	return page;
}

#endif

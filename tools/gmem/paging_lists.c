// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Queues and a heap of pages, see paging_lists.h. */
#include <stdlib.h>
#include <string.h>

#include "paging_lists.h"

bool lists_init(struct lists *l, uint32_t pages)
{
	l->prev = calloc(pages + 1ULL, sizeof(*l->prev));
	l->next = calloc(pages + 1ULL, sizeof(*l->next));
	l->in = calloc(pages + 1ULL, 1);
	for (unsigned int i = 0; i < LISTS_MAX; i++) {
		l->old[i] = l->young[i] = PAGING_NONE;
		l->len[i] = 0;
	}
	return l->prev && l->next && l->in;
}

void lists_free(struct lists *l)
{
	free(l->prev);
	free(l->next);
	free(l->in);
}

void lists_add(struct lists *l, unsigned int list, uint32_t page)
{
	l->in[page] = (uint8_t)(list + 1);
	l->prev[page] = l->young[list];
	l->next[page] = PAGING_NONE;
	if (l->young[list] == PAGING_NONE)
		l->old[list] = page;
	else
		l->next[l->young[list]] = page;
	l->young[list] = page;
	l->len[list]++;
}

void lists_del(struct lists *l, uint32_t page)
{
	unsigned int list = l->in[page] - 1U;
	uint32_t prev = l->prev[page], next = l->next[page];

	if (prev == PAGING_NONE)
		l->old[list] = next;
	else
		l->next[prev] = next;
	if (next == PAGING_NONE)
		l->young[list] = prev;
	else
		l->prev[next] = prev;
	l->in[page] = 0;
	l->len[list]--;
}

/* ---------------------------------------------------------------------- heap */

bool heap_init(struct heap *h, uint32_t pages, uint32_t max)
{
	h->n = 0;
	h->key = calloc(pages + 1ULL, sizeof(*h->key));
	h->pos = malloc((pages + 1ULL) * sizeof(*h->pos));
	h->page = calloc(max + 1ULL, sizeof(*h->page));
	if (h->pos)
		memset(h->pos, 0xff, (pages + 1ULL) * sizeof(*h->pos)); /* PAGING_NONE each */
	return h->key && h->pos && h->page;
}

void heap_free(struct heap *h)
{
	free(h->key);
	free(h->pos);
	free(h->page);
}

static void place(struct heap *h, uint32_t pos, uint32_t page)
{
	h->page[pos] = page;
	h->pos[page] = pos;
}

static void rise(struct heap *h, uint32_t pos, uint32_t page)
{
	while (pos && h->key[h->page[(pos - 1) / 2]] < h->key[page]) {
		place(h, pos, h->page[(pos - 1) / 2]);
		pos = (pos - 1) / 2;
	}
	place(h, pos, page);
}

static void sink(struct heap *h, uint32_t pos, uint32_t page)
{
	uint64_t child;

	while ((child = 2ULL * pos + 1) < h->n) {
		if (child + 1 < h->n && h->key[h->page[child + 1]] > h->key[h->page[child]])
			child++;
		if (h->key[h->page[child]] <= h->key[page])
			break;
		place(h, pos, h->page[child]);
		pos = (uint32_t)child;
	}
	place(h, pos, page);
}

void heap_set(struct heap *h, uint32_t page, uint64_t key)
{
	uint32_t pos = h->pos[page];
	bool up = pos == PAGING_NONE || key > h->key[page];

	if (pos == PAGING_NONE)
		pos = h->n++;
	h->key[page] = key;
	if (up)
		rise(h, pos, page);
	else
		sink(h, pos, page);
}

void heap_del(struct heap *h, uint32_t page)
{
	uint32_t pos = h->pos[page], last = h->page[--h->n];

	h->pos[page] = PAGING_NONE;
	if (last == page)
		return;
	if (h->key[last] > h->key[page])
		rise(h, pos, last);
	else
		sink(h, pos, last);
}

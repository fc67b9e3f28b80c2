/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef GM_CORE_BUDDY_H
#define GM_CORE_BUDDY_H

#include "core/util.h"

#define GM_MAX_ORDER 18U /* 4 KiB << 18 = 1 GiB */

/* A set of bits with summaries: level 0 holds the bits, level n+1 which words of n are not 0. */
#define GM_BITSET_LEVELS 6U
struct gm_bitset {
	uint64_t *level[GM_BITSET_LEVELS];
	uint32_t levels;
	uint64_t bits;
	uint64_t count; /* bits that are set */
};

struct gm_buddy {
	uint64_t base;	     /* pfn of bit 0: the range's begin rounded down to 1 GiB */
	uint64_t begin, end; /* pfns that are managed */
	uint64_t free;	     /* frames */
	struct gm_bitset
		order[GM_MAX_ORDER + 1]; /* free extents that are not part of a larger one */
	void *memory;
	uint64_t memory_size;
};

int gm_buddy_init(struct gm_buddy *b, uint64_t begin, uint64_t end); /* pfns; -ENOMEM */
void gm_buddy_destroy(struct gm_buddy *b);
/* An aligned extent of 1 << order frames; false: there is none. */
bool gm_buddy_alloc(struct gm_buddy *b, unsigned int order, uint64_t *pfn);
/*
 * The same, @at frames from the begin of a free, aligned extent of 1 << in; both multiples of 1 <<
 * order.
 */
bool gm_buddy_alloc_in(struct gm_buddy *b, unsigned int order, unsigned int in, uint64_t at,
		       uint64_t *pfn);
/* The aligned extent of 1 << order frames at @pfn; false: not all of it is free, or managed. */
bool gm_buddy_alloc_at(struct gm_buddy *b, unsigned int order, uint64_t pfn);
/* Any n frames from pfn on, however they were allocated. */
void gm_buddy_free(struct gm_buddy *b, uint64_t pfn, uint64_t n);
/* Take one frame out of the free extent it lies in; false: it is not free. */
bool gm_buddy_take(struct gm_buddy *b, uint64_t pfn);
bool gm_buddy_is_free(const struct gm_buddy *b, uint64_t pfn); /* for checkers */

#endif

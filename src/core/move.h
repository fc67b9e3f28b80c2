/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What those who move pages share: migrate.c, home.c. */
#ifndef GM_CORE_MOVE_H
#define GM_CORE_MOVE_H

#include "core/core.h"
#include "core/peer.h"
#include "core/trace.h"

static inline uint64_t gm_page_off(const struct gm_block *block, unsigned int page)
{
	return (block->index << GM_BLOCK_SHIFT) + ((uint64_t)page << GM_PAGE_SHIFT);
}

static inline uint64_t gm_page_bytes(unsigned int n)
{
	return (uint64_t)n << GM_PAGE_SHIFT;
}

/* Give host frames back. Huge ones go only as a whole, with the object or by gm_discard(). */
static inline void gm_free_backing(struct gm_block *block, unsigned int page, unsigned int n)
{
	if (block->obj->granule == GM_PAGE_SIZE)
		gm_os_backing_free(block->obj, gm_page_off(block, page), gm_page_bytes(n));
}

/* A change of a part of a block needs an array; a change of the whole does not. */
static inline int gm_prepare_change(struct gm_block *block, unsigned int n)
{
	return n == GM_BLOCK_PAGES ? 0 : gm_block_split(block);
}

/* Pages of [first, end) have moved from one node to another, or could not. */
static inline void gm_trace_move(const struct gm_block *block, unsigned int first, unsigned int end,
				 struct gm_event *ev, uint64_t begin, int err)
{
	ev->kind = GM_EVENT_MIGRATE;
	ev->obj = block->obj;
	ev->offset = gm_page_off(block, first);
	ev->len = gm_page_bytes(end - first);
	if (err)
		ev->bytes = 0;
	gm_trace_end_at(ev, begin, err);
}

/* Frames of @dev for the pages from @page on, see migrate.c; and room for them in @block itself. */
int gm_extent_alloc(struct gm_dev *dev, const struct gm_block *block, unsigned int page,
		    unsigned int n, unsigned int in_hand, enum gm_why why, struct gm_run *run);
int gm_evict_rest(struct gm_block *block, unsigned int first, unsigned int n, struct gm_dev *dev,
		  struct gm_as *as);

/* replica.c */
int gm_bring_home(struct gm_block *block, unsigned int first, unsigned int n,
		  const struct gm_dev *dev, struct gm_as *as, enum gm_why why);

/* What goes home from @dev of [first, end). An error: some may be home. home.c */
int gm_home_from(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
		 unsigned int first, unsigned int end);

#endif

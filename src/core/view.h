/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Views: what a context sees of a block, and where; shared by those who work on page
 * tables of devices (view.c, leaf.c, in_place.c, unmap.c, window.c).
 */
#ifndef GM_CORE_VIEW_H
#define GM_CORE_VIEW_H

#include "core/core.h"

/*
 * What a region and a window of a context have in common: a piece of the object that lies
 * at one piece of the device's addresses, in whole base pages of the device's. No leaf reaches
 * beyond it.
 */
struct gm_view {
	struct gm_context *ctx;
	const struct gm_region *region;
	uint64_t lo, hi; /* offsets in the object */
	uint64_t delta;	 /* the device's address less the offset, modulo 2^64 */
	enum gm_mode mode;
};

/*
 * The next view that @ctx has of [lo, hi) of the region's object; *i: the window to look at, 0
 * first.
 */
bool gm_view_next(struct gm_context *ctx, const struct gm_region *r, uint64_t lo, uint64_t hi,
		  uint32_t *i, struct gm_view *view);

void gm_view_clip(const struct gm_view *v, uint64_t lo, uint64_t hi, uint64_t *dva, uint64_t *end);

/* Pages [first, first+n) of a block, in the object. */
static inline uint64_t gm_view_off(const struct gm_block *block, unsigned int first)
{
	return (block->index << GM_BLOCK_SHIFT) + ((uint64_t)first << GM_PAGE_SHIFT);
}

/* The page of the block that lies at @dva of the view. */
static inline unsigned int gm_view_page(const struct gm_view *v, const struct gm_block *block,
					uint64_t dva)
{
	return (unsigned int)((dva - v->delta - (block->index << GM_BLOCK_SHIFT)) >> GM_PAGE_SHIFT);
}

/* --------------------------------------------------------- invalidations, gathered */

#define GM_GATHER_FEW 16U

struct gm_gather {
	struct gm_context *ctx;
	unsigned int n, max;
	bool cut; /* a leaf was, and its rest is not entered yet */
	struct gm_tlb_range *range;
	struct gm_tlb_range few[GM_GATHER_FEW];
};

void gm_gather_init(struct gm_gather *g);
int gm_gather_flush(struct gm_gather *g);
int gm_gather_add(struct gm_gather *g, struct gm_context *ctx, uint64_t dva, uint64_t size);

/* ------------------------------------------------------------------ walking views */

/*
 * Call @fn with [dva, end), the device's addresses of what @view shows of pages
 * [first, first+n) of the block, for each view that a context of @dev, or of a device that may
 * read them where @dev has them, has of these pages; @dev NULL: for each in mode GM_REPLICATE,
 * or of a device that maps host memory of the block otherwise. maps_lock and the contexts' locks
 * are held for reading meanwhile. Regions of one address space that follow one another in the
 * object's list share one hold of its lock, and one flush of @g.
 */
typedef int gm_view_fn(const struct gm_view *view, struct gm_block *block, uint64_t dva,
		       uint64_t end, struct gm_gather *g);
int gm_for_views(struct gm_block *block, const struct gm_dev *dev, unsigned int first,
		 unsigned int n, gm_view_fn *fn, struct gm_gather *g);

/* ---------------------------------------------------------------- leaf.c, in_place.c */

uint64_t gm_leaf_of(const struct gm_view *v, const struct gm_block *block, uint64_t dva,
		    uint64_t barrier);
int gm_leaf_enter(const struct gm_view *v, const struct gm_block *block, uint64_t dva, uint64_t end,
		  uint64_t barrier);
void gm_leaf_round(const struct gm_view *v, const struct gm_block *block, uint64_t *dva,
		   uint64_t *end);
int gm_leaf_release(const struct gm_view *v, const struct gm_block *block, uint64_t dva,
		    uint64_t end, struct gm_gather *g);
int gm_leaf_cut(const struct gm_view *v, const struct gm_block *block, uint64_t dva);

#endif

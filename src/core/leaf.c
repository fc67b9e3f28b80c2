// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Leaves: which size maps what, and how a leaf is cut.
 *
 * Theory. A pmap maps with the largest leaf that fits the page's surroundings: same view
 * (region and window), same block, one contiguous extent, aligned in the device's address
 * and in the frame. So a leaf never reaches beyond its block (whose lock we hold) nor its
 * view, and which leaf there is need not be remembered: it follows from the block's entries.
 * When a part of it must go the whole leaf is released, and what stays is entered again in
 * smaller leaves: drivers never see a cut leaf. When a block becomes uniform and contiguous the
 * next entering of any page of it enters the leaf that fits now. What is larger than a block
 * is span.c's: it is asked when a block that may be part of such a leaf is entered as a whole,
 * and before anything of it is released.
 *
 * Locking. Block locked. The view stays: as->lock or ctx_lock held.
 */
#include "core/span.h"

/* May [dva, dva+leaf), aligned, be mapped by one leaf? */
static bool leaf_fits(const struct gm_view *v, const struct gm_block *block, uint64_t dva,
		      uint64_t leaf, uint64_t barrier)
{
	uint64_t base = block->index << GM_BLOCK_SHIFT, entry, pfn;
	uint64_t lo = GM_MAX(v->lo, base), hi = GM_MIN(v->hi, base + GM_BLOCK_SIZE);
	unsigned int page, n = (unsigned int)(leaf >> GM_PAGE_SHIFT), i = 0, got, dev;

	/* Sizes, not ends: either may be at the end of the device's addresses. */
	if (dva - v->delta < lo || dva - v->delta > hi || hi - (dva - v->delta) < leaf)
		return false;
	if (dva < barrier && barrier < dva + leaf)
		return false;
	page = gm_view_page(v, block, dva);
	entry = gm_block_entry(block, page);
	pfn = gm_entry_pfn(entry);
	dev = gm_entry_dev(entry);
	if (gm_entry_state(entry) != GM_DEV || dev != v->ctx->dev->index || !gm_aligned(pfn, n))
		return false; /* what another device has is mapped by small leaves */
	if (!block->pages)
		return true;
	for (; i < n; i += got) { /* flags may differ */
		uint64_t e;

		got = gm_block_run(block, page + i, page + n, &e);
		if (gm_entry_state(e) != GM_DEV || gm_entry_dev(e) != dev ||
		    gm_entry_pfn(e) != pfn + i)
			return false;
	}
	return true;
}

/* The leaf that maps @dva, or would: its size; the base page if nothing larger fits. */
uint64_t gm_leaf_of(const struct gm_view *v, const struct gm_block *block, uint64_t dva,
		    uint64_t barrier)
{
	uint64_t sizes = v->ctx->dev->mmu->pgsize_bitmap & (2 * GM_BLOCK_SIZE - 1);
	uint64_t base = gm_unit_bytes(v->ctx->dev);

	while (sizes > base) {
		uint64_t leaf = 1ULL << gm_log2(sizes);

		if (leaf_fits(v, block, gm_round_down(dva, leaf), leaf, barrier))
			return leaf;
		sizes &= ~leaf;
	}
	return base;
}

static bool is_on(const struct gm_dev *dev, uint64_t e)
{
	return gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index;
}

/* Is the block at @dva whole, so that a leaf larger than a block may map it? Where it lies. */
static bool in_span(const struct gm_view *v, const struct gm_block *block, uint64_t dva,
		    uint64_t barrier, uint64_t *at, uint64_t *pa)
{
	uint64_t e;

	*at = gm_round_down(dva, GM_BLOCK_SIZE);
	if (!v->ctx->spans || !leaf_fits(v, block, *at, GM_BLOCK_SIZE, barrier))
		return false;
	e = gm_block_entry(block, 0);
	*pa = gm_entry_pfn(e) << GM_PAGE_SHIFT;
	return is_on(v->ctx->dev, e) && gm_span_may(v->ctx->spans, *at, *pa);
}

/*
 * Enter what [dva, end) of the view has on the context's device, rounded out to
 * leaves; none of them crosses @barrier.
 */
int gm_leaf_enter(const struct gm_view *v, const struct gm_block *block, uint64_t dva, uint64_t end,
		  uint64_t barrier)
{
	const struct gm_dev *dev = v->ctx->dev;
	int err = 0;

	gm_lock_check_may_sleep();
	while (dva < end && !err) {
		unsigned int page = gm_view_page(v, block, dva);
		uint64_t entry = gm_block_entry(block, page), leaf, size, at, pa;

		if (!is_on(dev, entry)) {
			dva += GM_PAGE_SIZE;
			continue;
		}
		if (in_span(v, block, dva, barrier, &at, &pa)) {
			err = gm_span_enter(v, at, pa);
			dva = at + GM_BLOCK_SIZE;
			continue;
		}
		leaf = gm_leaf_of(v, block, dva, barrier);
		dva = gm_round_down(dva, leaf);
		page = gm_view_page(v, block, dva);
		entry = gm_block_entry(block, page);
		/* As many leaves of this size as follow in the same extent go in at once. */
		for (size = leaf; dva + size < end; size += leaf) {
			unsigned int n = (unsigned int)(size >> GM_PAGE_SHIFT);
			uint64_t next = gm_block_entry(block, page + n);

			if (!is_on(dev, next) || gm_entry_pfn(next) != gm_entry_pfn(entry) + n ||
			    gm_leaf_of(v, block, dva + size, barrier) != leaf)
				break;
		}
		err = dev->mmu->pmap_enter(v->ctx->pmap, dva, gm_entry_pfn(entry) << GM_PAGE_SHIFT,
					   size, leaf, v->region->prot);
		dva += size;
	}
	return err;
}

/* Map the device's pages among [first, first+n) for @ctx in @region. */
int gm_map_dev(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
	       unsigned int first, unsigned int n)
{
	uint64_t lo = gm_view_off(block, first), hi = gm_view_off(block, first + n);
	uint64_t dva, end;
	struct gm_view v;
	uint32_t i = 0;
	int err = 0;

	while (!err && gm_view_next(ctx, region, lo, hi, &i, &v)) {
		gm_view_clip(&v, lo, hi, &dva, &end);
		err = gm_leaf_enter(&v, block, dva, end, 0);
	}
	return err;
}

/* Map for @ctx, for reading, what @peer has of [first, first+n): see struct gm_mmu. */
int gm_map_peer(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		struct gm_dev *peer, unsigned int first, unsigned int n)
{
	uint64_t lo = gm_view_off(block, first), hi = gm_view_off(block, first + n);
	struct gm_view v;
	uint32_t i = 0;
	int err = gm_block_add_reader(block, ctx->dev); /* from the first mapping on: I3 */

	gm_lock_check_may_sleep();
	while (!err && gm_view_next(ctx, region, lo, hi, &i, &v)) {
		uint64_t off = GM_MAX(lo, v.lo), end = GM_MIN(hi, v.hi), got, e;

		for (; off < end && !err; off += got) {
			unsigned int page = gm_view_page(&v, block, off + v.delta);
			unsigned int left = (unsigned int)((end - off) >> GM_PAGE_SHIFT);

			got = (uint64_t)gm_block_run(block, page, page + left, &e) << GM_PAGE_SHIFT;
			if (is_on(peer, e))
				err = ctx->dev->mmu->pmap_enter_peer(
					ctx->pmap, off + v.delta, peer,
					gm_entry_pfn(e) << GM_PAGE_SHIFT, got);
		}
	}
	return err;
}

/* --------------------------------------------------------------------- and out of it */

/* The whole leaves around [*dva, *end), which is in one block; of what is in a span, the block. */
void gm_leaf_round(const struct gm_view *v, const struct gm_block *block, uint64_t *dva,
		   uint64_t *end)
{
	uint64_t last, at, pa;

	if (in_span(v, block, *dva, 0, &at, &pa)) {
		*dva = at;
		*end = at + GM_BLOCK_SIZE;
		return;
	}
	last = gm_leaf_of(v, block, *end - GM_PAGE_SIZE, 0);
	*dva = gm_round_down(*dva, gm_leaf_of(v, block, *dva, 0));
	*end = gm_round_down(*end - GM_PAGE_SIZE, last) + last;
}

/* Release [dva, end), and the rest of the leaves that it cuts; they are gathered. */
int gm_leaf_release(const struct gm_view *v, const struct gm_block *block, uint64_t dva,
		    uint64_t end, struct gm_gather *g)
{
	uint64_t lo = dva, hi = end, at, pa;
	bool torn = false;
	int err = 0;

	gm_leaf_round(v, block, &lo, &hi);
	if (in_span(v, block, dva, 0, &at, &pa))
		err = gm_span_leave(v, at, pa, &torn);
	if (err)
		return err;
	g->cut |= lo < dva || end < hi;
	if (torn)
		return 0;
	gm_lock_check_may_sleep();
	err = v->ctx->dev->mmu->pmap_release(v->ctx->pmap, lo, hi - lo);
	return err ? err : gm_gather_add(g, v->ctx, lo, hi - lo);
}

static int release_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
			struct gm_gather *g)
{
	return gm_leaf_release(v, block, dva, end, g);
}

/* Enter the rest of the leaves that release_view() has cut; should that fail, the device faults. */
static int enter_rest(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		      struct gm_gather *g)
{
	uint64_t lo = dva, hi = end;

	(void)g;
	gm_leaf_round(v, block, &lo, &hi);
	if (lo < dva)
		(void)gm_leaf_enter(v, block, lo, dva, dva);
	if (end < hi)
		(void)gm_leaf_enter(v, block, end, hi, end);
	return 0;
}

/*
 * Release [first, first+n) from all pmaps of @dev, and of who reads there what @dev has, and
 * invalidate. An error: some may still map it. Does not look at other devices' pages.
 */
int gm_unmap_dev(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n)
{
	struct gm_gather g gm_uninitialized;
	int err;

	gm_gather_init(&g);
	err = gm_for_views(block, dev, first, n, release_view, &g);
	/* No leaf is entered over one whose translations may be alive. */
	if (!err && g.cut)
		err = gm_for_views(block, dev, first, n, enter_rest, &g);
	return err;
}

static int enter_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		      struct gm_gather *g)
{
	(void)g;
	(void)gm_leaf_enter(v, block, dva, end, 0);
	return 0;
}

/* After gm_unmap_dev(), if nothing has moved: enter it again, to spare the device the faults. */
void gm_remap_dev(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n)
{
	struct gm_gather g gm_uninitialized;

	gm_gather_init(&g);
	gm_for_views(block, dev, first, n, enter_view, &g);
}

/* See to it that no leaf reaches across @dva, an address of the view that is in the block. */
int gm_leaf_cut(const struct gm_view *v, const struct gm_block *block, uint64_t dva)
{
	uint64_t lo = dva, hi = dva + GM_PAGE_SIZE, at, pa;
	struct gm_gather g gm_uninitialized;
	int err;

	if (in_span(v, block, dva, 0, &at, &pa) && at == dva)
		return gm_span_cut(v, dva, pa);
	gm_leaf_round(v, block, &lo, &hi);
	if (lo == dva)
		return 0;
	gm_gather_init(&g);
	err = gm_leaf_release(v, block, lo, hi, &g);
	if (!err)
		err = gm_gather_flush(&g);
	if (!err) /* should it fail, the device will fault for it */
		(void)gm_leaf_enter(v, block, lo, hi, dva);
	return err;
}

/*
 * See to it that no leaf of any context reaches across @va, which is in @block. Address
 * space locked for writing, block locked.
 */
int gm_split_leaf(struct gm_region *region, struct gm_block *block, uint64_t va)
{
	uint64_t off = va - region->va + region->offset;
	int err = 0;

	for (struct gm_context *ctx = region->as->contexts; ctx && !err; ctx = ctx->next) {
		struct gm_view v;
		uint32_t i = 0;

		if (!gm_view_next(ctx, region, off, off + GM_PAGE_SIZE, &i, &v))
			continue;
		if (gm_aligned(off, gm_unit_bytes(ctx->dev)))
			err = gm_leaf_cut(&v, block, off + v.delta);
		else
			err = gm_unit_cut(block, ctx->dev, gm_view_page(&v, block, off + v.delta));
	}
	return err;
}

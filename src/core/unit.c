// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Units: devices whose base page is larger than a page.
 *
 * Theory. State is kept a page of 4 KiB at a time, but a device maps no less than its base
 * page: its unit, which is the lowest bit of the driver's pgsize_bitmap, up to a block. So a
 * device holds pages in whole units: aligned in the object's offset, in frames that follow
 * one another and are aligned alike. Whatever moves or drops pages of a device rounds out to
 * its units: to the device in gm_migrate_to_dev(), from it in gm_home_from(). Who takes a
 * part of a unit elsewhere (another device, nowhere, BAD) has the unit brought home first,
 * gm_units_cut(). gm_check_block() sees that nobody forgot.
 *
 * Frames need no more than that: they come in extents of whole units and go as units, so
 * what is free is made of units too, and the buddy allocator never has less to give.
 *
 * Pins are what was asked for, a page each; the unit around a pinned page stays, so all of it
 * counts as pinned. A unit with a BAD page cannot be on the device, one that a view shows in
 * part, or out of step with the object, is not in that view (gm_view_next()).
 *
 * Addresses that the host chooses, and lengths of gm_alloc(), are such that every unit fits for
 * the devices there are at the time.
 *
 * With units of one page, all of this comes to nothing and costs a comparison.
 *
 * Locking: block locked. A unit never changes.
 */
#include "core/move.h"
#include "core/view.h"

/* -------------------------------------------------------------------- addresses */

/* A device has come or gone: gm_core.lock held. */
void gm_units_changed(void)
{
	uint32_t unit = 1;

	for (unsigned int i = 0; i < GM_MAX_DEVS; i++)
		if (gm_core.dev[i])
			unit = GM_MAX(unit, gm_core.dev[i]->unit);
	gm_store(&gm_core.unit, unit);
}

static uint64_t largest(void)
{
	return GM_MAX((uint64_t)gm_load(&gm_core.unit) << GM_PAGE_SHIFT, GM_PAGE_SIZE);
}

uint64_t gm_units_complete(uint64_t len)
{
	return gm_round_up(len, largest());
}

uint64_t gm_map_align(const struct gm_region *region)
{
	uint64_t leaf = GM_BLOCK_SIZE;

	if (region->len < leaf)
		return largest();
	while (leaf < 1ULL << 30 && 2 * leaf <= region->len) /* the largest that devices have */
		leaf *= 2;
	return leaf;
}

/* ------------------------------------------------------------------------ pages */

/* What comes home with @page at least: the unit of the device that has it, in pages. */
unsigned int gm_unit_at(const struct gm_block *block, unsigned int page)
{
	uint64_t e = gm_block_entry(block, page);

	for (const struct gm_resident *res = block->residents; res; res = res->next)
		if (gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == res->dev->index)
			return res->dev->unit;
	return 1;
}

/* Is a page of the unit around @page, on @dev, pinned? */
static bool unit_pinned(const struct gm_block *block, const struct gm_dev *dev, unsigned int page)
{
	unsigned int first = page, n = 1, len;
	uint64_t e;

	gm_unit_round(dev, &first, &n);
	for (unsigned int i = first; i < first + n; i += len) {
		len = gm_block_run(block, i, first + n, &e);
		if (e & GM_E_PINNED)
			return true;
	}
	return false;
}

/*
 * Of @n pages from @page on, which are on @dev and alike: how many are in pinned units, or are
 * not, as the first is; which of the two, *pinned says.
 */
unsigned int gm_unit_run(const struct gm_block *block, const struct gm_dev *dev, unsigned int page,
			 unsigned int n, bool *pinned)
{
	unsigned int at = page, end = page + n;

	*pinned = unit_pinned(block, dev, page);
	do
		at = (at & ~(dev->unit - 1)) + dev->unit;
	while (at < end && unit_pinned(block, dev, at) == *pinned);
	return GM_MIN(at, end) - page;
}

/* Pages of the block that are on @dev in units of which a page is pinned. */
unsigned int gm_units_pinned(const struct gm_block *block, const struct gm_dev *dev)
{
	unsigned int count = 0, n;
	uint64_t e;

	if (!block->pages)
		return (block->uniform & GM_E_PINNED) && gm_entry_state(block->uniform) == GM_DEV &&
				       gm_entry_dev(block->uniform) == dev->index
			       ? GM_BLOCK_PAGES
			       : 0;
	for (unsigned int page = 0; page < GM_BLOCK_PAGES; page += n) {
		n = dev->unit;
		e = gm_block_entry(block, page);
		if (gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index &&
		    unit_pinned(block, dev, page))
			count += n;
	}
	return count;
}

/* Has the unit of @dev around @page a page whose bytes are lost? */
bool gm_unit_bad(const struct gm_block *block, const struct gm_dev *dev, unsigned int page)
{
	unsigned int n = 1;

	gm_unit_round(dev, &page, &n);
	return gm_good_run(block, page, page + n) < n;
}

/*
 * The units of @ctx's device that have a page of [*first, *first + *n) of block @index, and of
 * which a view shows every page where the device's page table can have it (view.c); of several
 * views the first. False: there is none.
 */
bool gm_unit_clip(struct gm_context *ctx, const struct gm_region *region, uint64_t index,
		  unsigned int *first, unsigned int *n)
{
	uint64_t base = index << GM_BLOCK_SHIFT, lo, hi;
	struct gm_view v;
	uint32_t i = 0;

	gm_unit_round(ctx->dev, first, n);
	lo = base + gm_page_bytes(*first);
	hi = base + gm_page_bytes(*first + *n);
	if (!gm_view_next(ctx, region, lo, hi, &i, &v))
		return false;
	lo = GM_MAX(lo, v.lo);
	hi = GM_MIN(hi, v.hi);
	*first = (unsigned int)((lo - base) >> GM_PAGE_SHIFT);
	*n = (unsigned int)((hi - lo) >> GM_PAGE_SHIFT);
	return true;
}

/* Can all of [first, first+n), pages of one region and one window, be mapped on @ctx's device? */
bool gm_unit_fits(struct gm_context *ctx, const struct gm_region *region, uint64_t index,
		  unsigned int first, unsigned int n)
{
	unsigned int lo = first, len = n;

	if (ctx->dev->unit == 1)
		return true;
	return gm_unit_clip(ctx, region, index, &lo, &len) && lo <= first && first + n <= lo + len;
}

/* A unit of @dev that begins before @page and ends behind it goes home; of replicas, it goes. */
int gm_unit_cut(struct gm_block *block, struct gm_dev *dev, unsigned int page)
{
	struct gm_home how = { .dev = dev, .why = GM_WHY_DRAIN };
	int err;

	if (!(page & (dev->unit - 1)))
		return 0;
	err = gm_replica_drop(block, dev, page, 1);
	return err ? err : gm_home_from(block, dev, &how, page, page + 1);
}

/*
 * Units that have pages in [first, first+n) and outside of it go home, but for those of @but:
 * what is in there can then go its own way. An error: some may be home.
 */
int gm_units_cut(struct gm_block *block, unsigned int first, unsigned int n,
		 const struct gm_dev *but)
{
	int err = 0;

	for (struct gm_resident *res = block->residents; res && !err; res = res->next) {
		if (res->dev->unit == 1 || res->dev == but)
			continue;
		err = gm_unit_cut(block, res->dev, first);
		if (!err)
			err = gm_unit_cut(block, res->dev, first + n);
	}
	return err;
}

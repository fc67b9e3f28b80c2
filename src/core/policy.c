// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policy: how much to move for one fault.
 *
 * A fault moves the aligned granule around the page. For a device it moves the
 * largest aligned power of two of which more than half would be resident with that
 * granule: the density tree of NVIDIA's UVM. Dense use of a block soon moves it
 * whole; sparse use keeps paying for what it touches.
 *
 * Pure functions of a locked block; they decide and change nothing.
 */
#include "core/core.h"

/* Narrow pages of a block to what the region maps of it; rounded to the object's granule. */
void gm_clip(const struct gm_region *region, uint64_t index, unsigned int *first, unsigned int *n)
{
	uint64_t base = index << GM_BLOCK_SHIFT;
	uint64_t lo = base + ((uint64_t)*first << GM_PAGE_SHIFT);
	uint64_t hi = lo + ((uint64_t)*n << GM_PAGE_SHIFT);

	lo = GM_MAX(gm_round_down(lo, region->obj->granule), region->offset);
	hi = GM_MIN(gm_round_up(hi, region->obj->granule), region->offset + region->len);
	gm_assert(lo < hi);
	*first = (unsigned int)((lo - base) >> GM_PAGE_SHIFT);
	*n = (unsigned int)((hi - lo) >> GM_PAGE_SHIFT);
}

static void granule_around(unsigned int page, unsigned int granule, unsigned int *first,
			   unsigned int *n)
{
	*first = page & ~(granule - 1);
	*n = granule;
}

void gm_policy_cpu(const struct gm_as *as, const struct gm_block *block, unsigned int page,
		   unsigned int *first, unsigned int *n)
{
	unsigned int end;

	granule_around(page, GM_MAX(as->cpu_granule, gm_unit_at(block, page)), first, n);
	/* It is mapped in one piece, so it does not reach across a bad page. */
	end = *first + *n;
	for (unsigned int good; (good = *first + gm_good_run(block, *first, end)) <= page;)
		*first = good + 1;
	*n = gm_good_run(block, page, end) + page - *first;
}

/* Pages of [first, first+n) that are on @dev, or have replicas there. */
static unsigned int resident(const struct gm_dev *dev, const struct gm_block *block,
			     unsigned int first, unsigned int n)
{
	unsigned int count = 0, len;
	uint64_t e;

	for (unsigned int page = first; page < first + n; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		if (gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index)
			count += len;
	}
	return count + gm_replicas(block, dev, first, n);
}

void gm_policy_dev(const struct gm_dev *dev, const struct gm_block *block, unsigned int page,
		   unsigned int *first, unsigned int *n)
{
	unsigned int size = gm_load(&dev->granule), would = size;

	granule_around(page, size, first, n);
	if (gm_load(&dev->no_grow) || !block->nr_dev)
		return;
	for (; size < GM_BLOCK_PAGES; size *= 2) {
		unsigned int around = page & ~(size - 1);

		would += resident(dev, block, around ^ size, size);
		if (would <= size)
			continue; /* half or less of the doubled piece; an even larger one may do */
		granule_around(page, 2 * size, first, n);
		would = 2 * size;
	}
}

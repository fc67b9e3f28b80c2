/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Hints that stay with addresses: attr.c, for those who service faults. */
#ifndef GM_CORE_ATTR_H
#define GM_CORE_ATTR_H

#include "core/core.h"

#define GM_PREFER_NONE 0U
#define GM_PREFER_HOST 1U
#define GM_PREFER_DEV 2U /* and the device's index */

/* What was said of addresses; all 0: nothing. */
struct gm_range_hint {
	uint64_t accessed;    /* ACCESSED_BY: a bit for the index of each device */
	uint32_t prefer;      /* PREFERRED_LOCATION: GM_PREFER_* */
	uint32_t read_mostly; /* READ_MOSTLY: 1 */
};

/* Bytes [lo, hi) of the object, which the region maps. */
struct gm_attr_range {
	uint64_t lo, hi;
	struct gm_range_hint hint;
};

/* Of a region: sorted, none is empty, and none could be one with the next. */
struct gm_attrs {
	struct gm_attrs *next, *old; /* attr.c's own, while they are not the region's yet */
	struct gm_region *region;    /* alike */
	uint32_t nr, max;
	struct gm_attr_range range[];
};

const struct gm_range_hint *gm_attr_find(const struct gm_region *region, uint64_t off);
void gm_attr_narrow(const struct gm_region *region, uint64_t index, unsigned int page,
		    unsigned int *first, unsigned int *n);
uint64_t gm_attr_end(const struct gm_region *region, uint64_t va);

/* What was said of a page of block @index, or NULL. */
static inline const struct gm_range_hint *gm_attr_at(const struct gm_region *region, uint64_t index,
						     unsigned int page)
{
	if (!region->attrs)
		return NULL;
	return gm_attr_find(region, (index << GM_BLOCK_SHIFT) + ((uint64_t)page << GM_PAGE_SHIFT));
}

/* Narrow [*first, *first + *n), which has @page, to the pages of which the same was said. */
static inline void gm_attr_clip(const struct gm_region *region, uint64_t index, unsigned int page,
				unsigned int *first, unsigned int *n)
{
	if (region->attrs)
		gm_attr_narrow(region, index, page, first, n);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Groups of 16 pages, 64 KiB: 32 in a block, a bit of a word for each. */
#ifndef GM_CORE_POLICY_GROUP_H
#define GM_CORE_POLICY_GROUP_H

#include "core/policy.h"

#define GM_GROUP_PAGES 16U
#define GM_GROUPS (GM_POLICY_PAGES / GM_GROUP_PAGES)

/* The groups that have a page of the set. */
static inline uint32_t gm_groups_of(const struct gm_mask *m)
{
	uint32_t groups = 0;

	for (unsigned int g = 0; g < GM_GROUPS; g++)
		if (m->word[g / 4] >> g % 4 * GM_GROUP_PAGES & 0xffff)
			groups |= 1U << g;
	return groups;
}

/* Those that have one of [first, first+n). */
static inline uint32_t gm_groups_in(unsigned int first, unsigned int n)
{
	unsigned int lo = first / GM_GROUP_PAGES, hi = (first + n - 1) / GM_GROUP_PAGES;

	return (uint32_t)((2ULL << hi) - (1ULL << lo));
}

/* All pages of the groups. */
static inline void gm_groups_pages(uint32_t groups, struct gm_mask *m)
{
	for (unsigned int g = 0; g < GM_GROUPS; g++)
		if (groups >> g & 1)
			m->word[g / 4] |= 0xffffULL << g % 4 * GM_GROUP_PAGES;
}

#endif

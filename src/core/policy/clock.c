// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * clock: groups of 64 KiB with a reference bit each get a second chance.
 *
 * Corbató's CLOCK ("A Paging Experiment with the Multics System", 1968). The hand is the
 * mechanism's list, which gives it block after block and takes back what it passes over at the
 * other end; the bits are the block's word. What came, was faulted on, or has its accessed bit set
 * was referenced. Of a device without accessed bits the groups that get a second
 * chance are unmapped: if they are used, a fault that moves nothing says so.
 */
#include "core/policy/group.h"

static void came(void *state, struct gm_policy_block *block, unsigned int first, unsigned int n,
		 enum gm_policy_why why)
{
	(void)state;
	(void)why;
	block->word |= gm_groups_in(first, n);
}

static void used(void *state, struct gm_policy_block *block, const struct gm_mask *pages,
		 uint64_t times)
{
	(void)state;
	(void)times;
	block->word |= gm_groups_of(pages);
}

static void evict(void *state, struct gm_policy_block *block, uint64_t want, unsigned int pressure,
		  struct gm_policy_victims *victims)
{
	uint32_t referenced = block->word | gm_groups_of(&block->used);

	(void)state;
	(void)want;
	(void)pressure;
	block->word = 0;
	gm_groups_pages(~referenced, &victims->go);
	if (!block->aged)
		gm_groups_pages(referenced, &victims->probe);
}

const struct gm_evict_policy gm_evict_clock = {
	.size = sizeof(gm_evict_clock),
	.name = "clock",
	.text = "groups of 64 KiB that were not used since the hand last came by",
	.flags = GM_EVICT_AGE,
	.came = came,
	.used = used,
	.evict = evict,
};

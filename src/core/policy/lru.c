// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * lru-2m: the block of 2 MiB whose last fault was longest ago, as a whole.
 *
 * What NVIDIA's UVM driver does. The order is the mechanism's list; there is nothing to remember.
 */
#include "core/policy.h"

static void evict(void *state, struct gm_policy_block *block, uint64_t want, unsigned int pressure,
		  struct gm_policy_victims *victims)
{
	(void)state;
	(void)want;
	(void)pressure;
	victims->go = block->here;
}

const struct gm_evict_policy gm_evict_lru = {
	.size = sizeof(gm_evict_lru),
	.name = "lru-2m",
	.text = "the block of 2 MiB whose last fault was longest ago",
	.evict = evict,
};

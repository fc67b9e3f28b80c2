// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * density: the largest aligned power of two around the page of which more than half would be there
 * with the granule.
 *
 * The density tree of NVIDIA's UVM driver. Dense use of a block soon moves it whole; sparse use
 * keeps paying for what it touches. It has no memory: all that it knows is what is there.
 */
#include "core/policy.h"

static void fault(void *state, struct gm_policy_block *block, const struct gm_policy_fault *fault,
		  struct gm_policy_move *move)
{
	unsigned int size = fault->granule, would = size;

	(void)state;
	for (; size < GM_POLICY_PAGES; size *= 2) {
		unsigned int around = fault->page & ~(size - 1);

		would += gm_mask_count(&block->here, around ^ size, size);
		if (would <= size)
			continue; /* half or less of the doubled piece; an even larger one may do */
		move->first = fault->page & ~(2 * size - 1);
		move->n = 2 * size;
		would = 2 * size;
	}
}

const struct gm_move_policy gm_move_density = {
	.size = sizeof(gm_move_density),
	.name = "density",
	.text = "the largest aligned piece of which more than half would be there",
	.fault = fault,
};

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * auto: much while there is room, little where there is none, and nothing where it would only push out
 * what is used.
 *
 * While an eighth of the device is free what comes in vain costs little: the density tree. Then
 * each page that comes makes another go, and so only single pages come (a sixteenth of the
 * granule that was tuned), with windows ahead of streams. And where the device can use the bytes where
 * they are, over a link, they come only if the eviction policy finds something that is
 * colder: moving a page that is used once costs two pages of traffic, using it there a few lines.
 * What it uses there often comes when the device's access counters say so.
 */
#include "core/policy/stream.h"

#define SCARCE 8U
#define SMALLER 16U

static int start(void *state)
{
	return gm_move_stream.start(state);
}

static void fault(void *state, struct gm_policy_block *block, const struct gm_policy_fault *fault,
		  struct gm_policy_move *move)
{
	struct gm_policy_fault small = *fault;

	if (block->free > block->frames / SCARCE) {
		gm_move_density.fault(NULL, block, fault, move);
		return;
	}
	small.granule = fault->granule > SMALLER ? fault->granule / SMALLER : 1;
	gm_move_stream.fault(state, block, &small, move);
	if (fault->flags & GM_FAULT_STAYS)
		move->how = GM_MOVE_IF_COLD;
}

const struct gm_move_policy gm_move_auto = {
	.size = sizeof(gm_move_auto),
	.name = "auto",
	.text = "density while there is room, then pages and streams, or the link",
	.state_size = sizeof(struct gm_stream_state),
	.start = start,
	.fault = fault,
};

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * auto: much while there is room, and little where there is none.
 *
 * While an eighth of the device is free what comes in vain costs little: the density tree. Then
 * each page that comes makes another go, and so only single pages come (a sixteenth of the
 * granule that was tuned), with windows ahead of streams.
 *
 * A device that counts its uses of host memory in place leaves pages there then: many are used
 * once, and little of them. What has been counted comes, but only where room is to be had for
 * nothing, or something has gone cold: what is in use is worth no less than what has just been.
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
	if (fault->flags & GM_FAULT_COUNTED) {
		*move = (struct gm_policy_move){ .first = fault->page, .n = 1, .modest = 1 };
		return;
	}
	if (fault->flags & GM_FAULT_IN_PLACE) {
		move->in_place = 1;
		return;
	}
	small.granule = fault->granule > SMALLER ? fault->granule / SMALLER : 1;
	gm_move_stream.fault(state, block, &small, move);
}

const struct gm_move_policy gm_move_auto = {
	.size = sizeof(gm_move_auto),
	.name = "auto",
	.text = "density while there is room, then pages and streams",
	.state_size = sizeof(struct gm_stream_state),
	.start = start,
	.fault = fault,
};

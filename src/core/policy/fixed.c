// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * fixed: the granule around the page, as tuned (gm_dev_tune()), from 4 KiB to 2 MiB.
 *
 * What a page of a fixed size would do; to compare others with.
 */
#include "core/policy.h"

static void fault(void *state, struct gm_policy_block *block, const struct gm_policy_fault *fault,
		  struct gm_policy_move *move)
{
	(void)state;
	(void)block;
	move->first = fault->page & ~(fault->granule - 1);
	move->n = fault->granule;
}

const struct gm_move_policy gm_move_fixed = {
	.size = sizeof(gm_move_fixed),
	.name = "fixed",
	.text = "the granule around the page, as tuned",
	.fault = fault,
};

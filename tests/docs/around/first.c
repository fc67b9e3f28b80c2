// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* gmem(7): the first example. */
#include <stdint.h>
#include <stdio.h>
#include <gmem/sim.h>

static void increment(struct gm_sim_lane *lane, void *counter)
{
	gm_sim_add64(lane, counter, 1);
}

int main(void)
{
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct gm_as *as;
	void *mem;

#include "example.h"
	return *(uint64_t *)mem != 42 || gm_as_destroy(as) || gm_sim_destroy(sim);
}

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* hmadvise(3), gm_job(3): hints for work on a device. */
#include <stdint.h>
#include <string.h>
#include <gmem/sim.h>

static void work(struct gm_sim_lane *lane, void *arg)
{
	gm_sim_add64(lane, arg, 1);
}

int main(void)
{
	const size_t len = 4 << 20;
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct gm_as *as;
	uint64_t first;
	void *mem;
	int err, hnode;

	if (gm_sim_create(NULL, &sim) || gm_as_create(NULL, &as) || gm_sim_attach(sim, as, &ctx) ||
	    gm_alloc(as, len, 0, &mem))
		return 1;
	hnode = gm_dev_hnode(gm_sim_dev(sim));
	memset(mem, 0, len);
#include "example.h"
	memcpy(&first, mem, sizeof(first));
	if (err || first != gm_sim_lanes(sim))
		return 1;
	return gm_as_destroy(as) || gm_sim_destroy(sim);
}

// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* gm_record(3): a recording. */
#include <stdint.h>
#include <sys/stat.h>
#include <gmem/sim.h>

static void kernel(struct gm_sim_lane *lane, void *arg)
{
	gm_sim_add64(lane, arg, 1);
}

int main(void)
{
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct gm_as *as;
	struct stat st;
	void *arg;
	int err;

	if (gm_sim_create(NULL, &sim) || gm_as_create(NULL, &as) || gm_sim_attach(sim, as, &ctx) ||
	    gm_alloc(as, GM_PAGE_SIZE, 0, &arg))
		return 1;
#include "example.h"
	if (err || stat("run.gmt", &st) || !st.st_size || *(uint64_t *)arg != gm_sim_lanes(sim))
		return 1;
	return gm_as_destroy(as) || gm_sim_destroy(sim);
}
